//! The verifiers of hanzo-pqc beside the crates for the same evidence, and beside the signatures that they cannot do without. A *cold* verifier has seen no
//! certificate, a *warm* one has this one.
//!
//! `cargo bench -p hanzo-benches --bench pqc_attestation --features attestation [-- TURNS]`
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;

use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::verify::QuoteVerifier;
use hanzo_benches::turns::Turns;
use hanzo_pqc::attestation::{NvidiaVerifier, SnpVerifier, TdxVerifier, UnixTime};
use p384::ecdsa::signature::{Signer, Verifier};
use p384::ecdsa::{Signature, SigningKey, VerifyingKey};
use sev::certs::snp::builtin::milan;
use sev::certs::snp::{Certificate, Chain, Verifiable, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

#[path = "../../hanzo-pqc/tests/all/support/intel.rs"]
mod intel;
#[path = "../../hanzo-pqc/tests/all/support/samples.rs"]
mod samples;

fn main() {
    let turns = Turns::from_arguments(100);
    println!("{}", Turns::HEADER);
    snp(&turns);
    nvidia(&turns);
    intel(&turns);
}

/// One verification of a P-384 signature, its key decoded as from a certificate.
fn p384() -> impl FnMut() {
    let signer = SigningKey::from_slice(&[7; 48]).unwrap();
    let signature: Signature = signer.sign(&[1; 0x2A0]);
    let key = VerifyingKey::from(&signer).to_sec1_point(false);
    move || {
        let key = VerifyingKey::from_sec1_bytes(key.as_bytes()).unwrap();
        key.verify(black_box(&[1; 0x2A0]), &signature).unwrap();
    }
}

fn snp(turns: &Turns) {
    let folder = intel::package::folder("sev", &["attestation"]).join("tests/certs_data");
    let report = hex::decode(std::fs::read(folder.join("report_milan.hex")).unwrap()).unwrap();
    let vcek = std::fs::read(folder.join("vcek_milan.der")).unwrap();
    turns.compare(
        "SEV-SNP Milan, cold / sev",
        0.75,
        || SnpVerifier::new().verify_report(&report, &vcek, samples::NOW).unwrap(),
        || {
            let ca = ca::Chain { ark: milan::ark().unwrap(), ask: milan::ask().unwrap() };
            let chain = Chain { ca, vek: Certificate::from_der(&vcek).unwrap() };
            let report = AttestationReport::from_bytes(&report).unwrap();
            (&chain, &report).verify().unwrap();
        },
    );
    let warm = SnpVerifier::new();
    turns.compare(
        "SEV-SNP Milan, warm / one P-384 verification",
        1.15,
        || warm.verify_report(&report, &vcek, samples::NOW).unwrap(),
        p384(),
    );
}

fn nvidia(turns: &Turns) {
    let Some(sample) = samples::hopper().into_iter().next() else { return };
    let mut once = p384();
    turns.compare(
        "H100, cold / five P-384 verifications (4 links, 1 report)",
        1.10,
        || NvidiaVerifier::new().verify_report(&sample.report, &sample.endorsement, samples::NOW).unwrap(),
        || (0..5).for_each(|_| once()),
    );
    let warm = NvidiaVerifier::new();
    turns.compare(
        "H100, warm / one P-384 verification",
        1.15,
        || warm.verify_report(&sample.report, &sample.endorsement, samples::NOW).unwrap(),
        p384(),
    );
}

fn intel(turns: &Turns) {
    for (name, quote) in [("TDX v4 / dcap-qvl", intel::v4()), ("TDX v5 / dcap-qvl", intel::v5())] {
        let now: UnixTime = quote.now;
        turns.compare(
            name,
            1.05,
            || TdxVerifier::new().verify_quote(&quote.quote, &quote.collateral, now).unwrap(),
            || {
                let collateral: QuoteCollateralV3 = serde_json::from_slice(&quote.collateral).unwrap();
                QuoteVerifier::new_prod().verify(&quote.quote, &collateral, now.as_seconds()).unwrap()
            },
        );
    }
}
