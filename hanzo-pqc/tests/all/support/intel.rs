//! The quotes of real Intel machines inside the package of `dcap-qvl`, each with its collateral and a time when both are good.
#![allow(dead_code, reason = "shared by a test program and a bench, none of which uses all of it")]

use hanzo_pqc::attestation::UnixTime;

#[path = "package.rs"]
pub(crate) mod package;

pub(crate) struct Quote {
    pub(crate) quote: Vec<u8>,
    pub(crate) collateral: Vec<u8>,
    pub(crate) now: UnixTime,
}

pub(crate) fn quote(name: &str, now: u64) -> Quote {
    let folder = package::folder("dcap-qvl", &["tdx"]).join("sample");
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
