//! SEV-SNP reports of real machines: what they prove, and that nothing else passes for them.

use crate::support::samples;

use crate::support::samples::{NOW, Sample, YEAR};
use hanzo_pqc::attestation::{
    AttestationError, Binding, Evidence, EvidenceKind, EvidenceVerifier, SnpClaims, SnpProduct, SnpSigner, SnpTcb,
    SnpVerifier, UnixTime,
};

fn verify(sample: &Sample) -> Result<SnpClaims, AttestationError> {
    SnpVerifier::new().verify_report(&sample.report, &sample.endorsement, NOW)
}

#[test]
fn what_the_samples_prove() {
    for sample in samples::snp() {
        let claims = verify(&sample).unwrap_or_else(|e| panic!("{}: {e}", sample.name));
        let tcb = |bootloader, snp, microcode| SnpTcb { bootloader, snp, microcode, ..SnpTcb::default() };
        let (version, product, reported) = match sample.name {
            "milan_v2" => (2, SnpProduct::Milan, tcb(3, 8, 0x73)),
            "milan_v3" => (3, SnpProduct::Milan, tcb(4, 0x18, 0xDB)),
            "genoa_v3" => (3, SnpProduct::Genoa, tcb(10, 0x17, 0x54)),
            _ => (3, SnpProduct::Milan, tcb(4, 0x18, 0xD9)),
        };
        assert_eq!((claims.version, claims.product, claims.reported_tcb), (version, product, reported));
        assert_eq!(claims.measurement, sample.report[0x90..0xC0]);
        assert_eq!(claims.report_data, sample.report[0x50..0x90]);
        assert_eq!(claims.mitigations, None);
        if sample.name == "milan_v3_vlek" {
            assert_eq!(claims.signer, SnpSigner::Vlek { csp_id: "CN=cc-us-east-2.amazonaws.com".into() });
            assert_eq!((claims.chip_id, claims.vmpl), (None, 1));
        } else {
            assert_eq!(claims.signer, SnpSigner::Vcek);
            assert_eq!(claims.chip_id.unwrap(), sample.report[0x1A0..0x1E0]);
        }
    }
}

#[test]
fn as_evidence_bound_to_a_session() {
    for sample in samples::snp() {
        let bound = Binding { report_data: sample.report[0x50..0x90].try_into().unwrap(), gpu_nonce: [0; 32] };
        let evidence = Evidence::new(EvidenceKind::Snp, &sample.report, &sample.endorsement).unwrap();
        let verifier = SnpVerifier::new();
        assert!(verifier.verify(&evidence, &bound, NOW).unwrap().carry(&bound));
        let mut other = bound;
        other.report_data[63] ^= 1;
        assert_eq!(verifier.verify(&evidence, &other, NOW), Err(AttestationError::Binding));
        let kind = EvidenceKind::Tdx;
        let foreign = Evidence::new(kind, &sample.report, &sample.endorsement).unwrap();
        assert_eq!(verifier.verify(&foreign, &bound, NOW), Err(AttestationError::Unsupported { kind }));
    }
}

/// A VLEK lives one year and a VCEK seven: after that, and before they begin, they prove nothing, remembered or not.
#[test]
fn certificates_have_dates() {
    for sample in samples::snp() {
        let verifier = SnpVerifier::new();
        let at = |seconds| {
            verifier
                .verify_report(&sample.report, &sample.endorsement, UnixTime::from_seconds(seconds))
                .map(|claims| claims.version)
        };
        assert!(at(NOW.as_seconds()).is_ok());
        let year = at(NOW.as_seconds() + YEAR);
        let expected = if sample.name == "milan_v3_vlek" { Err(AttestationError::Expired) } else { Ok(0) };
        assert_eq!(year.map(|_| 0), expected, "{}", sample.name);
        assert_eq!(at(NOW.as_seconds() + 8 * YEAR), Err(AttestationError::Expired));
        assert_eq!(at(1_600_000_000), Err(AttestationError::Expired));
    }
}

#[test]
fn certificates_of_others() {
    let all = samples::snp();
    for (i, report) in all.iter().enumerate() {
        for (j, certificate) in all.iter().enumerate().filter(|(j, _)| *j != i) {
            let got = SnpVerifier::new().verify_report(&report.report, &certificate.endorsement, NOW);
            let expected = match (report.name, certificate.name) {
                (_, "milan_v3_vlek") | ("milan_v3_vlek", _) => AttestationError::KeyKindMismatch,
                ("milan_v3", "genoa_v3") | ("genoa_v3", _) => AttestationError::ProductMismatch,
                _ => AttestationError::Signature,
            };
            assert_eq!(got, Err(expected), "{i} {j}");
        }
    }
    for name in ["snp/invalid_hwid_raw.vcek.der", "snp/invalid_hwid_octet_string.vcek.der"] {
        let (Some(forged), Some(report)) = (samples::file(name), all.first()) else { return };
        let got = SnpVerifier::new().verify_report(&report.report, &forged, NOW);
        assert!(matches!(got, Err(AttestationError::Chain | AttestationError::UntrustedRoot)), "{got:?}");
    }
}

#[test]
fn revoked_keys() {
    use x509_cert::der::{Decode, Encode};
    let Some(sample) = samples::snp().into_iter().next() else { return };
    let certificate = x509_cert::Certificate::from_der(&sample.endorsement).unwrap();
    let spki = certificate.tbs_certificate().subject_public_key_info().to_der().unwrap();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(spki).into();
    let verifier = SnpVerifier::new().revoked_keys([digest]);
    let got = verifier.verify_report(&sample.report, &sample.endorsement, NOW);
    assert_eq!(got, Err(AttestationError::Revoked));
}

#[test]
fn debug_and_other_forms() {
    for sample in samples::snp() {
        let changed = |at: usize, value: u8| {
            let mut report = sample.report.clone();
            report[at] = value;
            SnpVerifier::new().verify_report(&report, &sample.endorsement, NOW)
        };
        assert_eq!(changed(0x0A, sample.report[0x0A] | 8), Err(AttestationError::Debug));
        assert_eq!(changed(0x0A, sample.report[0x0A] & !2), Err(AttestationError::Malformed { offset: 0x0A }));
        for version in [0, 1, 6, 255] {
            assert_eq!(changed(0, version), Err(AttestationError::Malformed { offset: 0 }));
        }
        assert_eq!(changed(0x34, 2), Err(AttestationError::Malformed { offset: 0x34 }));
        for offset in [0x4C, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x1F8, 0x208, 0x29F, 0x2D0, 0x2E7, 0x318, 0x49F] {
            assert_eq!(changed(offset, 1), Err(AttestationError::ReservedNonZero { offset }), "{offset:#x}");
        }
        assert_eq!(changed(0x48, 7 << 2), Err(AttestationError::KeyKindMismatch));
        assert_eq!(changed(0x2A0, sample.report[0x2A0] ^ 1), Err(AttestationError::Signature));
        for len in [0, 4, 1183] {
            let got = SnpVerifier::new().verify_report(&sample.report[..len], &sample.endorsement, NOW);
            assert_eq!(got, Err(AttestationError::Malformed { offset: len }));
        }
        let mut long = sample.report.clone();
        long.push(0);
        assert!(SnpVerifier::new().verify_report(&long, &sample.endorsement, NOW).is_err());
        let mut tail = sample.endorsement.clone();
        tail.push(0);
        let got = SnpVerifier::new().verify_report(&sample.report, &tail, NOW);
        assert_eq!(got, Err(AttestationError::Endorsement));
    }
}

/// Flips bits of the signed bytes, with the certificate known to the verifier; returns how many were tried. None may be accepted.
fn flip_report(step: usize) -> usize {
    let mut tried = 0;
    for sample in samples::snp() {
        let verifier = SnpVerifier::new();
        verifier.verify_report(&sample.report, &sample.endorsement, NOW).unwrap();
        let mut report = sample.report.clone();
        for (at, bit) in samples::bits(0x2A0, step) {
            report[at] ^= bit;
            let got = verifier.verify_report(&report, &sample.endorsement, NOW);
            assert!(got.is_err(), "{} accepted with bit {bit} of byte {at:#x} changed", sample.name);
            report[at] ^= bit;
            tried += 1;
        }
        assert_eq!(report, sample.report);
    }
    tried
}

/// Flips bits of the certificate: every byte of it is signed, is the signature or says where those are.
fn flip_certificate(step: usize) -> usize {
    let mut tried = 0;
    for sample in samples::snp() {
        let mut certificate = sample.endorsement.clone();
        for (at, bit) in samples::bits(certificate.len(), step) {
            certificate[at] ^= bit;
            let got = SnpVerifier::new().verify_report(&sample.report, &certificate, NOW);
            assert!(got.is_err(), "{} accepted with bit {bit} of byte {at:#x} of its certificate changed", sample.name);
            certificate[at] ^= bit;
            tried += 1;
        }
    }
    tried
}

#[test]
fn one_bit_in_twenty_three_changed() {
    println!("{} changes of reports, {} of certificates: none accepted", flip_report(23), flip_certificate(23));
}

#[test]
#[ignore = "minutes: cargo test --release -p hanzo-pqc --features snp --test all snp:: -- --ignored --nocapture"]
fn every_bit_changed_slow_() {
    let (reports, certificates) = (flip_report(1), flip_certificate(1));
    println!("{reports} changes of reports, {certificates} of certificates: none accepted");
    let samples = samples::snp().len();
    assert_eq!(reports, samples * 0x2A0 * 8);
}
