//! Reports of two H100: what they prove, and that nothing else passes for them.

use crate::support::samples;

use crate::support::samples::{NOW, Sample, YEAR};
use base64ct::{Base64, Encoding};
use hanzo_pqc::attestation::{
    AttestationError, Binding, Evidence, EvidenceKind, EvidenceVerifier, GpuArchitecture, GpuSwitch, NvidiaClaims,
    NvidiaVerifier, UnixTime,
};

const CERTIFICATES: usize = 5;

fn verify(sample: &Sample) -> Result<NvidiaClaims, AttestationError> {
    NvidiaVerifier::new().verify_report(&sample.report, &sample.endorsement, NOW)
}

/// The certificates in DER.
fn ders(pem: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8(pem.to_vec()).unwrap();
    let bodies = text.split("-----BEGIN CERTIFICATE-----").skip(1);
    bodies
        .map(|body| {
            let body = body.split("-----END").next().unwrap();
            Base64::decode_vec(&body.split_whitespace().collect::<String>()).unwrap()
        })
        .collect()
}

fn pem(ders: &[Vec<u8>]) -> Vec<u8> {
    let mut out = String::new();
    for der in ders {
        out += "-----BEGIN CERTIFICATE-----\n";
        for line in Base64::encode_string(der).as_bytes().chunks(64) {
            out += std::str::from_utf8(line).unwrap();
            out += "\n";
        }
        out += "-----END CERTIFICATE-----\n";
    }
    out.into_bytes()
}

/// Where the signature begins.
fn signed_len(report: &[u8]) -> usize {
    let record = usize::from(report[42]) | usize::from(report[43]) << 8 | usize::from(report[44]) << 16;
    let at = 45 + record + 32;
    at + 2 + usize::from(u16::from_le_bytes([report[at], report[at + 1]]))
}

#[test]
fn what_the_samples_prove() {
    for sample in samples::hopper() {
        let claims = verify(&sample).unwrap_or_else(|e| panic!("{}: {e}", sample.name));
        assert_eq!(claims.architecture, GpuArchitecture::Hopper);
        assert_eq!(claims.nonce, sample.report[4..36]);
        let (driver, vbios, trailing) = match sample.name {
            "hopper_a" => ("550.90.07", "96.00.9f.00.01", 0),
            _ => ("580.95.05", "96.00.74.00.1a", 1),
        };
        assert_eq!((&*claims.driver_version, &*claims.vbios_version, claims.trailing), (driver, vbios, trailing));
        assert_eq!((claims.nvdec0, claims.protected_pcie), (GpuSwitch::Off, GpuSwitch::Off));
        assert_eq!((claims.feature_flag, claims.tee_io, claims.measurements.len()), (0, false, 64));
    }
}

/// Another project's reading of the first sample.
#[test]
fn the_same_values_as_another_reader() {
    let (Some(text), Some(sample)) =
        (samples::file("nvidia/hopper_a.claims.json"), samples::hopper().into_iter().next())
    else {
        return;
    };
    let other: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let claims = verify(&sample).unwrap();
    assert_eq!(other["config"]["driver_version"], *claims.driver_version);
    assert_eq!(other["config"]["vbios_version"], *claims.vbios_version);
    assert_eq!(other["config"]["fwid"], hex::encode(claims.fwid));
    for (i, value) in claims.measurements.iter().enumerate() {
        assert_eq!(other["measurements"][(i + 1).to_string()], hex::encode(value), "measurement {}", i + 1);
    }
}

#[test]
fn as_evidence_bound_to_a_session() {
    for sample in samples::hopper() {
        let bound = Binding { report_data: [0; 64], gpu_nonce: sample.report[4..36].try_into().unwrap() };
        let evidence = Evidence::new(EvidenceKind::NvidiaGpu, &sample.report, &sample.endorsement).unwrap();
        let verifier = NvidiaVerifier::new();
        assert!(verifier.verify(&evidence, &bound, NOW).unwrap().carry(&bound));
        let mut other = bound;
        other.gpu_nonce[0] ^= 1;
        assert_eq!(verifier.verify(&evidence, &other, NOW), Err(AttestationError::Binding));
        let kind = EvidenceKind::Snp;
        let foreign = Evidence::new(kind, &sample.report, &sample.endorsement).unwrap();
        assert_eq!(verifier.verify(&foreign, &bound, NOW), Err(AttestationError::Unsupported { kind }));
    }
}

/// NVIDIA's chains have no end ("99991231"): what makes a report old is its nonce. Before they begin, they prove nothing.
#[test]
fn certificates_have_dates() {
    for sample in samples::hopper() {
        let verifier = NvidiaVerifier::new();
        let at = |seconds| {
            let now = UnixTime::from_seconds(seconds);
            verifier.verify_report(&sample.report, &sample.endorsement, now).map(|claims| claims.trailing)
        };
        assert!(at(NOW.as_seconds() + YEAR).is_ok());
        assert_eq!(at(1_600_000_000), Err(AttestationError::Expired));
        assert_eq!(at(1_640_000_000), Err(AttestationError::Expired), "an intermediate of 2022");
    }
}

#[test]
fn chains_that_are_none() {
    let all = samples::hopper();
    let [a, b] = all.as_slice() else { return };
    let against =
        |chain: &[u8]| NvidiaVerifier::new().verify_report(&a.report, chain, NOW).map(|claims| claims.trailing);
    assert_eq!(against(&b.endorsement), Err(AttestationError::FwidMismatch));
    let missing = samples::file("nvidia/hopper_a.chain_missing_intermediate.pem").unwrap();
    assert_eq!(against(&missing), Err(AttestationError::Chain));
    let missing = samples::file("nvidia/hopper_a.chain_missing_leaf.pem").unwrap();
    assert_eq!(against(&missing), Err(AttestationError::Endorsement));
    let chain = ders(&a.endorsement);
    assert_eq!(chain.len(), CERTIFICATES);
    assert_eq!(against(&pem(&chain)), Ok(0));
    assert_eq!(against(&pem(&chain[..4])), Err(AttestationError::UntrustedRoot));
    assert_eq!(against(&pem(&chain[3..])), Err(AttestationError::Endorsement));
    assert_eq!(against(b""), Err(AttestationError::Endorsement));
    let reversed: Vec<_> = chain.iter().rev().cloned().collect();
    assert_eq!(against(&pem(&reversed)), Err(AttestationError::UntrustedRoot));
    // The issuer's own key in place of the leaf: a CA signs no reports.
    assert_eq!(against(&pem(&chain[1..])), Err(AttestationError::Endorsement));
    let long: Vec<_> = chain.iter().chain(&chain).cloned().collect();
    assert_eq!(against(&pem(&long)), Err(AttestationError::Endorsement));
    let note = [&a.endorsement[..], b"note"].concat();
    assert_eq!(against(&note), Err(AttestationError::Endorsement));
}

#[test]
fn revoked_serial_numbers() {
    for sample in samples::hopper() {
        let leaf = verify(&sample).unwrap().leaf_serial;
        let intermediate =
            [0x4C, 0x25, 0x5E, 0xDE, 0x3B, 0xD0, 0x01, 0xBF, 0x3F, 0x4A, 0x3B, 0x60, 0x5F, 0xCA, 0x89, 0x8A];
        for serial in [&*leaf, &intermediate] {
            let verifier = NvidiaVerifier::new().revoked_serials([serial]);
            let got = verifier.verify_report(&sample.report, &sample.endorsement, NOW);
            assert_eq!(got, Err(AttestationError::Revoked));
        }
    }
}

#[test]
fn other_forms() {
    for sample in samples::hopper() {
        let with = |report: &[u8]| {
            NvidiaVerifier::new().verify_report(report, &sample.endorsement, NOW).map(|claims| claims.trailing)
        };
        let end = signed_len(&sample.report) + 96;
        for len in (0..end).step_by(13).chain([end - 1]) {
            assert!(matches!(with(&sample.report[..len]), Err(AttestationError::Malformed { .. })), "{len}");
        }
        let mut long = sample.report[..end].to_vec();
        long.resize(end + NvidiaVerifier::MAX_TRAILING, 0);
        assert_eq!(with(&long), Ok(16));
        long.push(0);
        assert_eq!(with(&long), Err(AttestationError::Malformed { offset: end }));
        let changed = |at: usize, value: u8| {
            let mut report = sample.report.clone();
            report[at] = value;
            with(&report)
        };
        let malformed = |offset| Err(AttestationError::Malformed { offset });
        assert_eq!(changed(0, 0x12), malformed(0));
        assert_eq!(changed(2, 0), malformed(2));
        assert_eq!(changed(41, 63), malformed(41));
        assert_eq!(changed(45, 2), malformed(45));
        assert_eq!(changed(45 + 55, 1), malformed(45 + 55));
        // A second field of a type that stands already: type 14 after type 6.
        let opaque = 45 + 3520 + 34;
        assert_eq!(changed(opaque + 12, 6), malformed(opaque + 12));
        assert_eq!(changed(end - 1, sample.report[end - 1] ^ 1), Err(AttestationError::Signature));
    }
}

/// Flips bits of the signed bytes, request included, with the chain known to the verifier; returns how many were tried.
fn flip_report(step: usize) -> usize {
    let mut tried = 0;
    for sample in samples::hopper() {
        let verifier = NvidiaVerifier::new();
        verifier.verify_report(&sample.report, &sample.endorsement, NOW).unwrap();
        let mut report = sample.report.clone();
        for (at, bit) in samples::bits(signed_len(&sample.report), step) {
            report[at] ^= bit;
            let got = verifier.verify_report(&report, &sample.endorsement, NOW);
            assert!(got.is_err(), "{} accepted with bit {bit} of byte {at} changed", sample.name);
            report[at] ^= bit;
            tried += 1;
        }
    }
    tried
}

/// Flips bits of every certificate, in DER.
fn flip_chain(step: usize) -> usize {
    let mut tried = 0;
    for sample in samples::hopper() {
        let chain = ders(&sample.endorsement);
        for i in 0..chain.len() {
            for (at, bit) in samples::bits(chain[i].len(), step) {
                let mut changed = chain.clone();
                changed[i][at] ^= bit;
                let got = NvidiaVerifier::new().verify_report(&sample.report, &pem(&changed), NOW);
                assert!(
                    got.is_err(),
                    "{} accepted with bit {bit} of byte {at} of certificate {i} changed",
                    sample.name
                );
                tried += 1;
            }
        }
    }
    tried
}

#[test]
fn one_bit_in_many_changed() {
    println!("{} changes of reports, {} of certificates: none accepted", flip_report(101), flip_chain(101));
}

#[test]
#[ignore = "minutes: cargo test --release -p hanzo-pqc --features nvidia --test all nvidia:: -- --ignored --nocapture"]
fn every_bit_changed_slow_() {
    let (reports, certificates) = (flip_report(1), flip_chain(1));
    println!("{reports} changes of reports, {certificates} of certificates: none accepted");
    let bits: usize = samples::hopper().iter().map(|sample| signed_len(&sample.report) * 8).sum();
    assert_eq!(reports, bits);
}
