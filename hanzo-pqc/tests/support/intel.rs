//! The quotes of real Intel machines inside the package of `dcap-qvl`, each with its collateral and a time when both are good.
#![allow(dead_code, reason = "shared by a test program and a bench, none of which uses all of it")]

use std::path::PathBuf;
use std::process::Command;

use hanzo_pqc::attestation::UnixTime;

/// The folder `sample` of the package; a missing package fails the test.
fn package() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let arguments = ["metadata", "--format-version", "1", "--locked", "--features", "tdx"];
    let output = Command::new(cargo).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let manifest = packages.iter().find(|package| package["name"] == "dcap-qvl").unwrap()["manifest_path"].as_str();
    PathBuf::from(manifest.unwrap()).with_file_name("sample")
}

pub(crate) struct Quote {
    pub(crate) quote: Vec<u8>,
    pub(crate) collateral: Vec<u8>,
    pub(crate) now: UnixTime,
}

pub(crate) fn quote(name: &str, now: u64) -> Quote {
    let folder = package();
    let read = |name: String| std::fs::read(folder.join(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    Quote {
        quote: read(name.into()),
        collateral: read(format!("{name}_collateral.json")),
        now: UnixTime::from_seconds(now),
    }
}

pub(crate) fn v4() -> Quote {
    quote("tdx_quote", 1_750_377_600)
}

pub(crate) fn v5() -> Quote {
    quote("tdx_quote_td15ex", 1_791_504_000)
}

pub(crate) fn sgx() -> Quote {
    quote("sgx_quote", 1_750_377_600)
}
