//! Quotes of real Intel machines: those inside the package of `dcap-qvl`, and two of the test data without collateral.

use crate::support::samples;

use hanzo_pqc::PrivacyTier;
use hanzo_pqc::attestation::{
    AttestationError, Binding, Claims, Evidence, EvidenceKind, EvidenceVerifier, IntelPlatform, TcbStatus, TdxVerifier,
    UnixTime,
};
use hanzo_pqc::kbs::{Facts, Policy, PolicyBuilder};

use crate::support::intel::{Quote, quote, sgx, v4, v5};

fn verify(quote: &Quote) -> Result<Claims, AttestationError> {
    TdxVerifier::new().verify_quote(&quote.quote, &quote.collateral, quote.now)
}

fn platform(claims: &Claims) -> &IntelPlatform {
    match claims {
        Claims::Tdx(claims) => &claims.platform,
        Claims::Sgx(claims) => &claims.platform,
        other => panic!("{other:?}"),
    }
}

/// Where the body of a quote stands.
fn body(quote: &[u8]) -> usize {
    if quote[0] == 5 { 54 } else { 48 }
}

#[test]
fn what_the_samples_prove() {
    for quote in [v4(), v5()] {
        let claims = verify(&quote).unwrap();
        let Claims::Tdx(tdx) = &claims else { panic!("{claims:?}") };
        assert_eq!(platform(&claims).status, TcbStatus::UpToDate);
        let at = body(&quote.quote);
        assert_eq!(tdx.mr_td, quote.quote[at + 136..at + 184]);
        assert_eq!(tdx.rtmr[3], quote.quote[at + 472..at + 520]);
        assert_eq!(tdx.report_data, quote.quote[at + 520..at + 584]);
        assert_eq!(tdx.attributes & 1, 0);
        let issued = platform(&claims).collateral_issued;
        assert!(issued < quote.now && issued.checked_add(30 * 86_400).unwrap() > quote.now);
    }
    let claims = verify(&sgx()).unwrap();
    assert_eq!(platform(&claims).status, TcbStatus::ConfigurationAndSwHardeningNeeded);
    assert!(!platform(&claims).advisories.is_empty());
}

fn policy_of(claims: &Claims) -> PolicyBuilder {
    let base = Policy::builder().tiers([PrivacyTier::CpuTee]).suites([PrivacyTier::CpuTee.suite()]);
    match claims {
        Claims::Tdx(tdx) => base
            .tdx_mrtd([tdx.mr_td])
            .tdx_rtmr0([tdx.rtmr[0]])
            .tdx_rtmr1([tdx.rtmr[1]])
            .tdx_rtmr2([tdx.rtmr[2]])
            .tdx_rtmr3([tdx.rtmr[3]]),
        Claims::Sgx(sgx) => base.sgx_mrenclave([sgx.mr_enclave]),
        other => panic!("{other:?}"),
    }
}

/// `None` where the policy allows, else the tag that denies.
fn denied(policy: PolicyBuilder, claims: &Claims, now: UnixTime) -> Option<u8> {
    let tier = PrivacyTier::CpuTee;
    let claims = core::slice::from_ref(claims);
    let facts = Facts { now, tier, suite: tier.suite(), recipient: [0; 32], claims };
    policy.build().unwrap().evaluate(&facts).err().map(|no| no.tag)
}

#[test]
fn policies_over_intel_claims() {
    let quote = v5();
    let claims = verify(&quote).unwrap();
    let good = || policy_of(&claims);
    assert_eq!(denied(good(), &claims, quote.now), None);
    assert_eq!(denied(good().maximum_collateral_age_s(1), &claims, quote.now), Some(4));
    assert_eq!(denied(good().tdx_mrseam([[0; 48]]), &claims, quote.now), Some(24));
    assert_eq!(denied(good().tdx_mrowner([[0; 48]]), &claims, quote.now), None);
    let base = Policy::builder().tiers([PrivacyTier::CpuTee]).suites([PrivacyTier::CpuTee.suite()]);
    assert_eq!(denied(base.clone(), &claims, quote.now), Some(17));
    assert_eq!(denied(base.clone().tdx_mrtd([[0; 48]]), &claims, quote.now), Some(17));
    assert_eq!(denied(base.dangerous_any_tdx_mrtd(), &claims, quote.now), Some(18), "all four registers are needed");

    let quote = sgx();
    let claims = verify(&quote).unwrap();
    let good = || policy_of(&claims);
    assert_eq!(denied(good(), &claims, quote.now), Some(16), "its status is not up to date");
    let status = TcbStatus::ConfigurationAndSwHardeningNeeded;
    assert_eq!(denied(good().tcb_statuses([status]), &claims, quote.now), None);
    let Claims::Sgx(sgx) = &claims else { panic!() };
    let advisory = &sgx.platform.advisories[0];
    assert_eq!(denied(good().tcb_statuses([status]).refused_advisories([advisory]), &claims, quote.now), Some(25));
    let newer = good().tcb_statuses([status]).sgx_minimum_svn(sgx.svn + 1);
    assert_eq!(denied(newer, &claims, quote.now), Some(28));
    let signer = good().tcb_statuses([status]).sgx_mrsigner_product([(sgx.mr_signer, sgx.product_id + 1)]);
    assert_eq!(denied(signer, &claims, quote.now), Some(27));
    let neither = Policy::builder().tiers([PrivacyTier::CpuTee]).suites([PrivacyTier::CpuTee.suite()]);
    assert_eq!(denied(neither.tcb_statuses([status]), &claims, quote.now), Some(26));
}

#[test]
fn outdated_expired_and_bound_elsewhere() {
    let outdated = quote("tdx_quote_outdated", 1_750_377_600);
    assert!(verify(&outdated).is_err());
    for mut quote in [v4(), v5(), sgx()] {
        let claims = verify(&quote).unwrap();
        let kind = claims.kind();
        let data = match &claims {
            Claims::Tdx(claims) => claims.report_data,
            Claims::Sgx(claims) => claims.report_data,
            other => panic!("{other:?}"),
        };
        let bound = Binding { report_data: data, gpu_nonce: [0; 32] };
        let evidence = |kind| Evidence::new(kind, &quote.quote, &quote.collateral).unwrap();
        let verifier = TdxVerifier::new();
        assert!(verifier.verify(&evidence(kind), &bound, quote.now).is_ok());
        let mut other = bound;
        other.report_data[0] ^= 1;
        assert_eq!(verifier.verify(&evidence(kind), &other, quote.now), Err(AttestationError::Binding));
        let wrong = if kind == EvidenceKind::Tdx { EvidenceKind::Sgx } else { EvidenceKind::Tdx };
        assert_eq!(verifier.verify(&evidence(wrong), &bound, quote.now), Err(AttestationError::KeyKindMismatch));
        let own = TdxVerifier::new().with_collateral(&quote.collateral);
        let bare = Evidence::new(kind, &quote.quote, b"").unwrap();
        assert!(own.verify(&bare, &bound, quote.now).is_ok());
        assert_eq!(verifier.verify(&bare, &bound, quote.now), Err(AttestationError::Endorsement));
        quote.now = quote.now.checked_add(400 * 86_400).unwrap();
        assert_eq!(verify(&quote), Err(AttestationError::CollateralExpired));
        quote.now = UnixTime::from_seconds(1_600_000_000);
        assert!(verify(&quote).is_err());
    }
}

#[test]
fn quotes_without_collateral() {
    let debug = samples::file("tdx/tdx_quote_4.dat");
    let plain = samples::file("tdx/tdx_quote_5.dat");
    let (Some(debug), Some(plain)) = (debug, plain) else { return };
    let now = UnixTime::from_seconds(1_750_377_600);
    let verify = |quote: &[u8]| TdxVerifier::new().verify_quote(quote, b"", now);
    assert_eq!(verify(&debug), Err(AttestationError::Debug));
    assert_eq!(verify(&plain), Err(AttestationError::ServiceDomain), "a migration service is bound to it");
    for len in (0..plain.len()).step_by(97) {
        assert!(verify(&plain[..len]).is_err());
    }
}

/// Flips bits of header and body; returns how many were tried. None may be accepted.
fn flip(step: usize) -> usize {
    let mut tried = 0;
    for mut quote in [v4(), v5(), sgx()] {
        let kind = verify(&quote).unwrap().kind();
        let signed = body(&quote.quote)
            + if quote.quote[0] == 5 {
                usize::from(quote.quote[50]) | usize::from(quote.quote[51]) << 8
            } else if kind == EvidenceKind::Tdx {
                584
            } else {
                384
            };
        for (at, bit) in samples::bits(signed, step) {
            quote.quote[at] ^= bit;
            assert!(verify(&quote).is_err(), "accepted with bit {bit} of byte {at} changed");
            quote.quote[at] ^= bit;
            tried += 1;
        }
    }
    tried
}

#[test]
fn one_bit_in_many_changed() {
    println!("{} changes: none accepted", flip(211));
}

#[test]
#[ignore = "minutes: cargo test --release -p hanzo-pqc --features tdx --test all tdx:: -- --ignored --nocapture"]
fn every_bit_changed_slow_() {
    println!("{} changes: none accepted", flip(1));
}
