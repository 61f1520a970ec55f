//! FOCUS files: columns, values, sums. Set `FOCUS_OUT` to a folder to have the files written there, for the validators.

use hanzo_metering::*;
use num_bigint::BigInt;
use std::collections::BTreeMap;

type Rows = Vec<BTreeMap<String, String>>;

/// 2026-01-01T00:00:00Z.
const NEW_YEAR: u64 = 1_767_225_600;

fn t(seconds: u64) -> Timestamp {
    Timestamp::from_nanos((NEW_YEAR + seconds) * 1_000_000_000)
}

fn data(name: &str) -> Option<Rows> {
    let Some(root) = std::env::var_os("HANZO_TEST_DATA") else {
        eprintln!("skipped: metering/{name}; set HANZO_TEST_DATA to the folder of the SDK's test data");
        return None;
    };
    let path = std::path::PathBuf::from(root).join("metering").join(name);
    Some(rows(&std::fs::read(path).unwrap()))
}

fn rows(file: &[u8]) -> Rows {
    let mut reader = csv::Reader::from_reader(file);
    reader.deserialize().map(Result::unwrap).collect()
}

fn header(file: &[u8]) -> Vec<String> {
    csv::Reader::from_reader(file).headers().unwrap().iter().map(Into::into).collect()
}

/// A number of at most 9 decimals, in billionths.
fn nano(text: &str) -> i128 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let nano: i128 = format!("{}{part:0<9}", whole.trim_start_matches('-')).parse().unwrap();
    if text.starts_with('-') { -nano } else { nano }
}

struct Export {
    config: FocusConfig,
    invoices: Vec<Invoice>,
    credits: Vec<FocusCredit>,
}

/// The rows of the sample: four usages, a correction, a credit.
fn sample() -> Export {
    let mut config = FocusConfig::new("USD", (1, 1)).unwrap();
    let account = AccountId::new(42);
    config.accounts.insert(account, "Example".into());
    let r = |millicores, gib: u64, gpus: u64| Resources::new(millicores, gib << 30, gpus * 1_000).unwrap();
    let hour = 3_600;
    let mut invoices = Vec::new();
    for (n, rate, runtime, tee, from, to) in [
        (0u8, r(2_000, 4, 0), RuntimeKind::Docker, TeeKind::None, 0, hour),
        (1, r(2_000, 4, 0), RuntimeKind::Firecracker, TeeKind::Cpu, 0, hour),
        (2, r(8_000, 64, 1), RuntimeKind::Kubernetes, TeeKind::GpuConfidential, 0, hour),
        (3, r(2_000, 4, 0), RuntimeKind::Docker, TeeKind::None, hour, hour + 200),
    ] {
        let tariff = Tariff::hanzo(1_250_000);
        let mut meter = Meter::new(MeterConfig::default(), t(from));
        let read = |meter: &mut Meter, id: &[u8], at: u64, rate| {
            meter.record(t(to), Reading { source: b"n", id, at: t(at), value: Value::Reserved(rate) }).unwrap();
        };
        read(&mut meter, b"1", from, rate);
        let mut biller = Biller::new(100, 0).unwrap();
        biller.add([n; 32], Deployment { account, tariff, runtime, tee, meter }).unwrap();
        config.deployments.insert([n; 32], FocusDeployment::new(tariff, runtime, tee));
        invoices.extend(biller.bill_through(100, t(to)).unwrap().1);
        if n == 0 {
            // It had stopped 3 minutes before: 2 CU-hours less, and nothing since.
            read(biller.meter(&[0; 32]).unwrap(), b"2", to - 180, r(0, 0, 0));
            invoices.extend(biller.bill_through(200, t(to + 200)).unwrap().1);
        }
    }
    // In the sample's order: usages, the correction, the credit.
    let late = invoices.remove(1);
    assert_eq!(late.lines.len(), 2);
    invoices.push(Invoice { lines: vec![late.lines[1]], ..late });
    let tariff = Tariff::hanzo(1_250_000);
    config.deployments.insert([4; 32], FocusDeployment::new(tariff, RuntimeKind::Docker, TeeKind::None));
    let credits = vec![FocusCredit {
        account,
        deployment: [4; 32],
        invoice: invoices[0].id,
        amount: 5_000_000,
        description: "goodwill credit".into(),
        from: t(0),
        to: t(hour),
    }];
    Export { config, invoices, credits }
}

fn write(version: FocusVersion, export: &Export) -> Vec<u8> {
    let mut file = Vec::new();
    write_focus(&mut file, version, &export.config, &export.invoices, &export.credits).unwrap();
    file
}

#[test]
fn the_sample_files_value_by_value() {
    let mut export = sample();
    export.config.token_columns = false;
    for (version, name) in
        [(FocusVersion::V1_0, "focus_1_0_minimal.csv"), (FocusVersion::V1_2, "focus_1_2_minimal.csv")]
    {
        let Some(want) = data(name) else { return };
        let file = write(version, &export);
        let got = rows(&file);
        assert_eq!(header(&file).len(), if version == FocusVersion::V1_0 { 48 } else { 57 });
        assert_eq!(got.len(), 6);
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
            for (column, want) in want {
                match &column[..] {
                    "BillingAccountId" => assert_eq!(got[column], format!("acct-{:032x}", 42)),
                    "InvoiceId" => assert!(got[column].starts_with("inv-")),
                    "ResourceId" | "ResourceID" => {
                        // `dep-3` is the deployment of 32 bytes of 3.
                        assert_eq!(got[column], format!("dep-{}", format!("0{}", &want[4..]).repeat(32)));
                    }
                    "ChargeDescription" if i < 4 => {}
                    _ => assert_eq!(&got[column], want, "row {i}, {column}"),
                }
            }
        }
    }
}

/// A file of so many rows, with names that need care.
fn many(count: usize) -> Export {
    let mut config = FocusConfig::new("EUR", (7, 3)).unwrap();
    let names = ["=1+1", "a \"quoted\" name", "two\nlines", "42", "comma, comma", "-5", "Zürich", "plain"];
    let mut invoices = Vec::new();
    for n in 0..count {
        let account = AccountId::new(100 + (n % 5) as u128);
        config.accounts.insert(account, names[n % 5].into());
        let runtimes = [RuntimeKind::Docker, RuntimeKind::Kubernetes, RuntimeKind::Wasm, RuntimeKind::Firecracker];
        let (runtime, tee) = (runtimes[n % 4], [TeeKind::None, TeeKind::Cpu, TeeKind::CpuAndGpu][n % 3]);
        let tariff = Tariff::hanzo(1_000_003 + n as u128);
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(n as u64).to_be_bytes());
        let mut meter = Meter::new(MeterConfig::default(), t(n as u64 * 60));
        let rate = Resources::new(500 + n as u64, (n as u64) << 20, 0).unwrap();
        let value = Value::Reserved(rate);
        let at = t(n as u64 * 60);
        meter.record(at, Reading { source: b"n", id: b"1", at, value }).unwrap();
        let mut biller = Biller::new(100, 0).unwrap();
        biller.add(id, Deployment { account, tariff, runtime, tee, meter }).unwrap();
        let deployment = FocusDeployment {
            name: Some(names[n % 8].into()),
            namespace: (n % 2 == 0).then(|| names[(n + 2) % 8].into()),
            ..FocusDeployment::new(tariff, runtime, tee)
        };
        config.deployments.insert(id, deployment);
        invoices.extend(biller.bill_through(100, t(n as u64 * 60 + 200)).unwrap().1);
    }
    Export { config, invoices, credits: Vec::new() }
}

#[test]
fn costs_are_quantity_times_price_and_sum_to_the_whole() {
    for count in [1, 2, 3, 6, 1_000] {
        let export = many(count);
        let whole: i128 = export.invoices.iter().map(|i| i.total).sum();
        for version in [FocusVersion::V1_0, FocusVersion::V1_2] {
            let file = write(version, &export);
            let rows = rows(&file);
            assert_eq!(rows.len(), count);
            let mut sum = BigInt::from(0);
            for row in &rows {
                let (cost, quantity, price) =
                    (nano(&row["BilledCost"]), nano(&row["PricingQuantity"]), nano(&row["ListUnitPrice"]));
                sum += cost;
                // Both factors were rounded down by less than a billionth, and the cost by a base unit and a billionth.
                let product = quantity * price / 1_000_000_000;
                let bound = (quantity + price) / 1_000_000_000 + 5;
                assert!((cost - product).abs() <= bound, "{cost} is not {quantity} x {price}");
                assert!(cost > 0 && quantity > 0);
                for same in ["EffectiveCost", "ListCost", "ContractedCost"] {
                    assert_eq!(row[same], row["BilledCost"]);
                }
            }
            assert_eq!(sum, BigInt::from(whole) * 7 / 3);
            if let Some(folder) = std::env::var_os("FOCUS_OUT") {
                let name = format!("focus_{}_{count}.csv", version.name());
                std::fs::write(std::path::PathBuf::from(folder).join(name), file).unwrap();
            }
        }
    }
    if let Some(folder) = std::env::var_os("FOCUS_OUT") {
        for version in [FocusVersion::V1_0, FocusVersion::V1_2] {
            let name = format!("focus_{}_sample.csv", version.name());
            std::fs::write(std::path::PathBuf::from(&folder).join(name), write(version, &sample())).unwrap();
        }
    }
}

#[test]
fn names_come_back_whole_and_do_no_harm() {
    let rows = rows(&write(FocusVersion::V1_2, &many(40)));
    let names: std::collections::BTreeSet<&str> = rows.iter().map(|r| &r["ResourceName"][..]).collect();
    let want = ["'=1+1", "a \"quoted\" name", "two\nlines", "'42", "comma, comma", "'-5", "Z\\u{fc}rich", "plain"];
    assert_eq!(names, want.into());
    assert!(rows.iter().any(|r| r["SubAccountName"] == "ns-two\nlines" && r["SubAccountType"] == "Namespace"));
    assert!(rows.iter().any(|r| r["SubAccountName"].is_empty() && r["SubAccountType"].is_empty()));
}

#[test]
fn token_amounts_and_heights_follow() {
    let export = sample();
    let rows = rows(&write(FocusVersion::V1_2, &export));
    assert_eq!(header(&write(FocusVersion::V1_0, &export)).len(), 53);
    let column = |name: &str| rows.iter().map(|r| r[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("x_AmountBaseUnits"), ["50000000", "57500000", "687500000", "2777777", "-2500000", "-5000000"]);
    assert_eq!(column("x_ToHeight"), ["100", "100", "100", "100", "200", ""]);
    assert_eq!(column("x_Basis"), ["reserved", "reserved", "reserved", "reserved", "reserved", ""]);
}

#[test]
fn bad_input_is_refused() {
    for code in ["KEEPER", "ZOO", "AI", "usd", "", "US", "USD ", "EUR USD"] {
        assert_eq!(FocusConfig::new(code, (1, 1)).err(), Some(BillingError::NotIso4217), "{code}");
    }
    let mut export = sample();
    let fails = |e: &Export| write_focus(Vec::new(), FocusVersion::V1_2, &e.config, &e.invoices, &e.credits).err();
    export.config.rate = (1, 0);
    assert_eq!(fails(&export), Some(UnitError::Overflow.into()));
    export.config.rate = (u128::MAX, 1);
    assert_eq!(fails(&export), Some(UnitError::Overflow.into()));
    export.config.rate = (1, 1);
    export.credits[0].amount = u128::MAX;
    assert_eq!(fails(&export), Some(UnitError::Overflow.into()));
    export.credits.clear();
    assert_eq!(fails(&export), None);
    export.config.deployments.remove(&[2; 32]);
    assert_eq!(fails(&export), Some(BillingError::UnknownDeployment));

    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let e = sample();
    assert_eq!(write_focus(Full, FocusVersion::V1_0, &e.config, &e.invoices, &e.credits), Err(BillingError::Write));
}
