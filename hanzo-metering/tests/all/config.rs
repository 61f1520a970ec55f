//! The configuration file of the source document.

use hanzo_metering::*;

fn read(json: &str) -> Result<RuntimeConfig, serde_json::Error> {
    serde_json::from_str(json)
}

#[test]
fn what_is_left_out_is_as_in_the_document() {
    let all = r#"{
        "runtime": {
            "default_type": "docker", "max_concurrent_deployments": 100,
            "docker": { "socket": "/var/run/docker.sock", "enable_gpu": true },
            "kubernetes": { "kubeconfig": "~/.kube/config", "namespace": "hanzo" },
            "wasm": { "engine": "wasmtime", "cache_size_mb": 512 }
        },
        "metering": {
            "compute_unit_formula": "cpu*10 + mem_gb*5 + gpu*100", "billing_interval_blocks": 100,
            "token_mining_rate": 10.0, "validator_commission": 0.10
        }
    }"#;
    let config = read(all).unwrap();
    assert_eq!(config, RuntimeConfig::default());
    assert_eq!(read("{}").unwrap(), config);
    assert_eq!(config.metering.tariff(7).unwrap(), Tariff::hanzo(7));
    assert_eq!(config.metering.schedule().unwrap(), FeeSchedule::hanzo());
    assert_eq!(config.runtime.capacity(Resources::default()).slots, 100);
    let written = serde_json::to_string(&config).unwrap();
    assert_eq!(read(&written).unwrap(), config);
}

#[test]
fn unknown_keys_and_words_are_refused() {
    for bad in [
        r#"{ "meterings": {} }"#,
        r#"{ "metering": { "interval": 3 } }"#,
        r#"{ "runtime": { "default_type": "wasmedge" } }"#,
        r#"{ "runtime": { "wasm": { "engin": "x" } } }"#,
        r#"{ "runtime": { "max_concurrent_deployments": -1 } }"#,
        r#"{ "metering": { "token_mining_rate": -1 } }"#,
        r#"{ "metering": { "token_mining_rate": "1e3" } }"#,
        r#"{ "metering": { "token_mining_rate": "" } }"#,
        r#"{ "metering": { "token_mining_rate": "0.0000000001" } }"#,
        r#"{ "metering": { "validator_commission": 0.12345 } }"#,
        r#"{ "metering": { "validator_commission": 1e300 } }"#,
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn decimals_are_exact() {
    let commission = |text: &str| {
        let config = read(&format!(r#"{{ "metering": {{ "validator_commission": {text} }} }}"#)).unwrap();
        config.metering
    };
    assert_eq!(commission("0.1").validator_commission.nano(), 100_000_000);
    assert_eq!(commission("0.3").validator_commission.nano(), 300_000_000);
    assert_eq!(commission("0.1000000005").validator_commission.nano(), 100_000_000);
    assert_eq!(commission("\"0.123456789\"").validator_commission.nano(), 123_456_789);
    assert_eq!(commission("1").schedule().unwrap().split(9), [0, 9]);
    assert_eq!(commission("\"0.123456789\"").schedule(), Err(UnitError::NotExact.into()));
    assert_eq!(commission("2").schedule(), Err(FeeError::BadSchedule { sum: 20_000 }.into()));
    assert_eq!(commission("0.0001").schedule().unwrap().split(10_000), [9_999, 1]);
    assert_eq!(Decimal::from_nano(1_500_000_000).to_string(), "1.500000000");
}

#[test]
fn formulas_are_sums_of_names_times_numbers() {
    let weights = |f: &str| Weights::from_formula(f).map(|w| w.milli_cu());
    assert_eq!(weights("gpu*0.5"), Ok([0, 0, 500]));
    assert_eq!(weights(" cpu * 1.250+mem_gb*00.1 "), Ok([1_250, 100, 0]));
    for bad in [
        "",
        "cpu",
        "cpu*",
        "*1",
        "cpu*1+",
        "cpu*1 + gp",
        "cpu*1 cpu*1",
        "cpu*1+cpu*2",
        "disk*1",
        "cpu*-1",
        "cpu*1.2.3",
        "cpu*1e3",
        "cpu*.",
        "cpu*10 - gpu*1",
        "CPU*1",
        "cpu**2",
        "cpu*\u{0661}",
    ] {
        assert_eq!(weights(bad), Err(UnitError::BadFormula), "{bad}");
    }
    assert_eq!(weights("cpu*0.0001"), Err(UnitError::NotExact));
    assert_eq!(weights("cpu*99999999999"), Err(UnitError::NotExact));
    assert_eq!(weights("cpu*0"), Err(UnitError::ZeroWeights));
}
