//! AMD SEV-SNP reports beside the crate `sev`, on the report of a Milan machine that lies in its package. What hanzo-pqc accepts, `sev` accepts; the reverse does not
//! hold: `sev` reads a report into a struct and verifies what it writes back, so that signed bytes its struct does not hold can be changed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;

use hanzo_pqc::attestation::{SnpVerifier, UnixTime};
use sev::certs::snp::builtin::milan;
use sev::certs::snp::{Certificate, Chain, Verifiable, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

#[path = "../../hanzo-pqc/tests/all/support/package.rs"]
mod package;

/// 2025-02-01, when the certificate is good.
const NOW: UnixTime = UnixTime::from_seconds(1_738_368_000);
const SIGNED: usize = 0x2A0;

struct Sample {
    report: Vec<u8>,
    vcek: Vec<u8>,
}

fn sample() -> Sample {
    let folder = package::folder("sev", &[]).join("tests/certs_data");
    let report = hex::decode(std::fs::read(folder.join("report_milan.hex")).unwrap()).unwrap();
    Sample { report, vcek: std::fs::read(folder.join("vcek_milan.der")).unwrap() }
}

fn sev_accepts(report: &[u8], vcek: &[u8]) -> bool {
    let ca = ca::Chain { ark: milan::ark().unwrap(), ask: milan::ask().unwrap() };
    let Ok(vek) = Certificate::from_der(vcek) else { return false };
    AttestationReport::from_bytes(report).is_ok_and(|report| (&Chain { ca, vek }, &report).verify().is_ok())
}

fn accepts(report: &[u8], vcek: &[u8]) -> bool {
    SnpVerifier::new().verify_report(report, vcek, NOW).is_ok()
}

#[test]
fn a_milan_report_and_what_sev_reads_in_it() {
    let Sample { report, vcek } = sample();
    assert!(sev_accepts(&report, &vcek));
    let claims = SnpVerifier::new().verify_report(&report, &vcek, NOW).unwrap();
    let theirs = AttestationReport::from_bytes(&report).unwrap();
    assert_eq!(claims.measurement[..], theirs.measurement[..]);
    assert_eq!(claims.report_data[..], theirs.report_data[..]);
    assert_eq!(claims.host_data[..], theirs.host_data[..]);
    assert_eq!(claims.chip_id.unwrap()[..], theirs.chip_id[..]);
    assert_eq!((claims.guest_svn, claims.vmpl), (theirs.guest_svn, theirs.vmpl));
}

/// One bit of every signed byte, and of every eleventh byte of the certificate.
#[test]
fn what_we_accept_sev_accepts_and_not_the_reverse() {
    let Sample { mut report, mut vcek } = sample();
    let mut unsigned = BTreeSet::new();
    for at in 0..SIGNED {
        report[at] ^= 1;
        assert!(!accepts(&report, &vcek), "accepted with byte {at:#x} changed");
        if sev_accepts(&report, &vcek) {
            unsigned.insert(at);
        }
        report[at] ^= 1;
    }
    println!("of {SIGNED} signed bytes sev lets {} be changed: {unsigned:x?}", unsigned.len());
    for at in (0..vcek.len()).step_by(11) {
        vcek[at] ^= 1;
        assert!(!accepts(&report, &vcek), "accepted with byte {at:#x} of the certificate changed");
        vcek[at] ^= 1;
    }
    assert!(!unsigned.is_empty(), "sev verifies the bytes as received: say so in the documentation");
}
