//! The recorded reports of real machines, from the test data.
#![allow(dead_code, reason = "shared by several test programs, none of which uses all of it")]

use std::{env, fs, path::PathBuf};

use hanzo_pqc::attestation::UnixTime;

/// When every SNP certificate of the samples is good: 2025-02-01.
pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_738_368_000);
pub(crate) const YEAR: u64 = 366 * 86_400;

pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) report: Vec<u8>,
    pub(crate) endorsement: Vec<u8>,
}

/// A file under `pqc/attest`; `None`, with a line that says so, where no test data is set.
pub(crate) fn file(name: &str) -> Option<Vec<u8>> {
    let Some(root) = env::var_os("HANZO_TEST_DATA") else {
        eprintln!("skipped: pqc/attest/{name}; set HANZO_TEST_DATA to the folder of the SDK's test data");
        return None;
    };
    let path = PathBuf::from(root).join("pqc/attest").join(name);
    Some(fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

pub(crate) const SNP: [(&str, &str, &str); 4] = [
    ("milan_v2", "snp/milan_v2.report.bin", "snp/milan_v2.vcek.der"),
    ("milan_v3", "snp/milan_v3.report.bin", "snp/milan_v3.vcek.der"),
    ("genoa_v3", "snp/genoa_v3.report.bin", "snp/genoa_v3.vcek.der"),
    ("milan_v3_vlek", "snp/milan_v3_vlek.report.bin", "snp/milan_v3_vlek.vlek.der"),
];

pub(crate) fn snp() -> Vec<Sample> {
    let read =
        |(name, report, endorsement)| Some(Sample { name, report: file(report)?, endorsement: file(endorsement)? });
    SNP.into_iter().filter_map(read).collect()
}

pub(crate) const HOPPER: [(&str, &str, &str); 2] = [
    ("hopper_a", "nvidia/hopper_a.report.hex", "nvidia/hopper_a.chain.pem"),
    ("hopper_b", "nvidia/hopper_b.report.hex", "nvidia/hopper_b.chain.pem"),
];

pub(crate) fn hopper() -> Vec<Sample> {
    let read = |(name, report, endorsement)| {
        let text = String::from_utf8(file(report)?).unwrap();
        Some(Sample { name, report: hex::decode(text.trim()).unwrap(), endorsement: file(endorsement)? })
    };
    HOPPER.into_iter().filter_map(read).collect()
}

/// Where bit flips are tried: every bit of `len` bytes, or each `step`th of them, from a place that moves through all eight.
pub(crate) fn bits(len: usize, step: usize) -> impl Iterator<Item = (usize, u8)> {
    (0..len * 8).step_by(step).map(|bit| (bit / 8, 1 << (bit % 8)))
}
