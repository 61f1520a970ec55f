//! Real reports of CPU and GPU through the broker, at tiers 2 to 4, and what their policies deny.

use crate::support::samples;

use crate::support::samples::NOW;
use hanzo_pqc::attestation::{
    AttestationError, Binding, Claims, Evidence, EvidenceKind, EvidenceVerifier, NvidiaClaims, NvidiaVerifier,
    SnpClaims, SnpProduct, SnpTcb, SnpVerifier, UnixTime,
};
use hanzo_pqc::kbs::{
    Broker, Facts, KbsConfig, KbsError, MemoryChallengeStore, MemoryKeyStore, Policy, PolicyBuilder, Recipient,
    Refusal, Request,
};
use hanzo_pqc::rand_core::SeedableRng;
use hanzo_pqc::{Dek, KeyId, PrivacyTier, SignatureAlgorithm, SigningKey, VaultKey};
use rand_chacha::ChaCha12Rng;

struct Samples {
    snp: Evidence,
    gpu: Evidence,
}

fn samples() -> Option<Samples> {
    let snp = samples::snp().into_iter().find(|sample| sample.name == "milan_v3")?;
    let gpu = samples::hopper().into_iter().next()?;
    Some(Samples {
        snp: Evidence::new(EvidenceKind::Snp, &snp.report, &snp.endorsement).unwrap(),
        gpu: Evidence::new(EvidenceKind::NvidiaGpu, &gpu.report, &gpu.endorsement).unwrap(),
    })
}

fn snp_claims(samples: &Samples) -> SnpClaims {
    SnpVerifier::new().verify_report(samples.snp.report(), samples.snp.endorsement(), NOW).unwrap()
}

fn gpu_claims(samples: &Samples) -> NvidiaClaims {
    NvidiaVerifier::new().verify_report(samples.gpu.report(), samples.gpu.endorsement(), NOW).unwrap()
}

/// The real verifiers over recorded reports. A recorded report speaks of a session long gone, so what it carries is replaced by what this session asks for, in
/// those kinds that `rebind` names, after everything else was verified.
fn recorded(rebind: &'static [EvidenceKind], tee_io: bool) -> impl EvidenceVerifier {
    let (snp, nvidia) = (SnpVerifier::new(), NvidiaVerifier::new());
    move |evidence: &Evidence, bound: &Binding, now: UnixTime| {
        let mut claims = match evidence.kind() {
            EvidenceKind::Snp => {
                Claims::Snp(Box::new(snp.verify_report(evidence.report(), evidence.endorsement(), now)?))
            }
            EvidenceKind::NvidiaGpu => {
                Claims::NvidiaGpu(Box::new(nvidia.verify_report(evidence.report(), evidence.endorsement(), now)?))
            }
            kind => return Err(AttestationError::Unsupported { kind }),
        };
        let rebind = rebind.contains(&evidence.kind());
        match &mut claims {
            Claims::Snp(claims) if rebind => claims.report_data = bound.report_data,
            Claims::NvidiaGpu(claims) => {
                claims.tee_io = tee_io;
                if rebind {
                    claims.nonce = bound.gpu_nonce;
                }
            }
            _ => {}
        }
        Ok(claims)
    }
}

const BOTH: &[EvidenceKind] = &[EvidenceKind::Snp, EvidenceKind::NvidiaGpu];

fn policy(samples: &Samples) -> PolicyBuilder {
    let (snp, gpu) = (snp_claims(samples), gpu_claims(samples));
    let tiers = [PrivacyTier::CpuTee, PrivacyTier::GpuCc, PrivacyTier::GpuTeeIo];
    let measured = (1..).zip(gpu.measurements.iter().copied()).filter(|(_, value)| *value != [0; 48]);
    let base = Policy::builder()
        .tiers(tiers)
        .suites(tiers.map(PrivacyTier::suite))
        .snp_measurements([snp.measurement])
        .snp_minimum_tcb(SnpProduct::Milan, snp.reported_tcb)
        .gpu_driver_versions([&gpu.driver_version])
        .gpu_vbios_versions([&gpu.vbios_version]);
    measured.fold(base, |policy, (index, value)| policy.gpu_measurement(index, [value]))
}

/// One session at a tier with this evidence: the released key opened, or why not.
fn run(
    tier: PrivacyTier,
    verifier: impl EvidenceVerifier,
    policy: Policy,
    items: &[&Evidence],
) -> Result<(), KbsError> {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let signer = SigningKey::generate(SignatureAlgorithm::MlDsa87, &mut rng);
    let pinned = signer.verifying_key().clone();
    let mut keys = MemoryKeyStore::new(VaultKey::generate(&mut rng));
    let (key, dek) = (KeyId::new("tenant-7/model").unwrap(), Dek::generate(&mut rng));
    keys.put(key.clone(), &dek, policy, &mut rng).unwrap();
    let config = KbsConfig::new().tee_io_enabled(true);
    let mut broker = Broker::new(config, signer, verifier, keys, MemoryChallengeStore::new()).unwrap();
    let recipient = Recipient::new(Request::new(tier, &[tier.suite()], vec![key]).unwrap(), pinned).unwrap();
    let challenge = broker.challenge(NOW, recipient.request(), &mut rng).unwrap();
    let mut session = recipient.on_challenge(NOW, &challenge, &mut rng).unwrap();
    let message = session.evidence(items.iter().map(|item| (*item).clone()).collect()).unwrap();
    let answer = broker.release(NOW, &message, &mut rng);
    if let Err(error) = &answer {
        assert_eq!(error.refusal(), Refusal::Denied);
    }
    let opened = session.open(&answer?).unwrap();
    assert!(opened[0].1.ct_eq(&dek));
    Ok(())
}

#[test]
fn tiers_two_and_three_under_one_nonce() {
    let Some(samples) = samples() else { return };
    let policy = || policy(&samples).build().unwrap();
    let (cpu, gpu) = (&samples.snp, &samples.gpu);
    use PrivacyTier::{CpuTee, GpuCc};
    assert_eq!(run(CpuTee, recorded(BOTH, false), policy(), &[cpu]), Ok(()));
    assert_eq!(run(GpuCc, recorded(BOTH, false), policy(), &[cpu, gpu]), Ok(()));
    assert_eq!(run(GpuCc, recorded(BOTH, false), policy(), &[gpu, gpu, cpu]), Ok(()));
    // Either half of another session.
    for rebind in [&BOTH[..1], &BOTH[1..], &[]] {
        let got = run(GpuCc, recorded(rebind, false), policy(), &[cpu, gpu]);
        assert_eq!(got, Err(KbsError::ReportDataMismatch));
    }
    let genuine = || (SnpVerifier::new(), NvidiaVerifier::new());
    assert_eq!(run(CpuTee, genuine(), policy(), &[cpu]), Err(KbsError::ReportDataMismatch));
    assert_eq!(run(GpuCc, genuine(), policy(), &[cpu, gpu]), Err(KbsError::ReportDataMismatch));
    assert_eq!(run(GpuCc, recorded(BOTH, false), policy(), &[cpu]), Err(KbsError::EvidenceMissing));
    assert_eq!(run(GpuCc, recorded(BOTH, false), policy(), &[gpu]), Err(KbsError::EvidenceMissing));
    let kind = EvidenceKind::NvidiaGpu;
    let got = run(CpuTee, recorded(BOTH, false), policy(), &[cpu, gpu]);
    assert_eq!(got, Err(KbsError::UnexpectedEvidence { kind }));
    let kind = EvidenceKind::Snp;
    let got = run(GpuCc, recorded(BOTH, false), policy(), &[cpu, cpu, gpu]);
    assert_eq!(got, Err(KbsError::UnexpectedEvidence { kind }));
    // A pair of verifiers asks the second where the first knows nothing.
    let swapped = (NvidiaVerifier::new(), SnpVerifier::new());
    assert_eq!(run(CpuTee, swapped, policy(), &[cpu]), Err(KbsError::ReportDataMismatch));
    let got = run(CpuTee, NvidiaVerifier::new(), policy(), &[cpu]);
    assert_eq!(got, Err(KbsError::Evidence(AttestationError::Unsupported { kind })));
}

#[test]
fn tier_four_needs_a_verifier_that_proves_tee_io() {
    let Some(samples) = samples() else { return };
    let policy = || policy(&samples).build().unwrap();
    let items = [&samples.snp, &samples.gpu];
    let got = run(PrivacyTier::GpuTeeIo, recorded(BOTH, false), policy(), &items);
    assert_eq!(got, Err(KbsError::TeeIoNotProven));
    assert_eq!(run(PrivacyTier::GpuTeeIo, recorded(BOTH, true), policy(), &items), Ok(()));
}

/// The tag at which a policy denies claims; `None` where it allows.
fn denied(policy: PolicyBuilder, claims: &[Claims]) -> Option<u8> {
    let tier = PrivacyTier::GpuCc;
    let facts = Facts { now: NOW, tier, suite: tier.suite(), recipient: [0; 32], claims };
    policy.build().unwrap().evaluate(&facts).err().map(|no| no.tag)
}

#[test]
fn policies_over_snp_claims() {
    let Some(samples) = samples() else { return };
    let snp = snp_claims(&samples);
    let of = |claims: SnpClaims| [Claims::Snp(Box::new(claims))];
    let claims = of(snp.clone());
    let good = || policy(&samples);
    let base = || Policy::builder().tiers([PrivacyTier::GpuCc]).suites([PrivacyTier::GpuCc.suite()]);
    let measured = || base().snp_measurements([snp.measurement]);
    assert_eq!(denied(good(), &claims), None);
    assert_eq!(denied(base(), &claims), Some(33));
    assert_eq!(denied(base().snp_measurements([[0; 48]]), &claims), Some(33));
    assert_eq!(denied(measured(), &claims), Some(34));
    assert_eq!(denied(measured().dangerous_any_snp_tcb(), &claims), None);
    let newer = SnpTcb { microcode: snp.reported_tcb.microcode + 1, ..snp.reported_tcb };
    assert_eq!(denied(measured().snp_minimum_tcb(SnpProduct::Milan, newer), &claims), Some(34));
    assert_eq!(denied(measured().snp_minimum_tcb(SnpProduct::Genoa, SnpTcb::default()), &claims), Some(34));
    assert_eq!(denied(good().snp_vmpl([1]), &claims), Some(36));
    assert_eq!(denied(good(), &of(SnpClaims { vmpl: 1, ..snp.clone() })), Some(36));
    assert_eq!(denied(good().snp_host_data([[9; 32]]), &claims), Some(37));
    assert_eq!(denied(good().snp_id_key_digests([[9; 48]]), &claims), Some(38));
    assert_eq!(denied(good().snp_author_key_digests([[9; 48]]), &claims), Some(39));
    assert_eq!(denied(good().snp_minimum_guest_svn(snp.guest_svn), &claims), None);
    assert_eq!(denied(good().snp_minimum_guest_svn(snp.guest_svn + 1), &claims), Some(40));
    assert_eq!(denied(good().snp_forbidden_policy_bits(1 << 16), &claims), Some(41), "this guest allows SMT");
    assert_eq!(denied(good(), &of(SnpClaims { policy: snp.policy | 1 << 18, ..snp.clone() })), Some(41));
    let debug = of(SnpClaims { policy: snp.policy | 1 << 19, ..snp.clone() });
    assert_eq!(denied(good().snp_forbidden_policy_bits(0), &debug), Some(41), "debug has no override");
    assert_eq!(denied(good().snp_platform_info(1, 0), &claims), None);
    assert_eq!(denied(good().snp_platform_info(0, 1), &claims), Some(42));
    assert_eq!(denied(good().snp_chip_ids([snp.chip_id.unwrap()]), &claims), None);
    assert_eq!(denied(good().snp_chip_ids([[9; 64]]), &claims), Some(43));
    let masked = of(SnpClaims { chip_id: None, ..snp.clone() });
    assert_eq!(denied(good().snp_chip_ids([[0; 64]]), &masked), Some(43), "a masked chip is none");
    let vlek = hanzo_pqc::attestation::SnpSigner::Vlek { csp_id: "CN=cloud".into() };
    let vlek = of(SnpClaims { signer: vlek, ..snp });
    assert_eq!(denied(good(), &vlek), Some(35));
    assert_eq!(denied(good().snp_vlek_providers(["CN=other"]), &vlek), Some(44));
    assert_eq!(denied(good().snp_vlek_providers(["CN=cloud"]), &vlek), None);
}

#[test]
fn policies_over_gpu_claims() {
    use hanzo_pqc::attestation::GpuSwitch;
    let Some(samples) = samples() else { return };
    let gpu = gpu_claims(&samples);
    let cpu = Claims::Snp(Box::new(snp_claims(&samples)));
    let of = |claims: NvidiaClaims| [cpu.clone(), Claims::NvidiaGpu(Box::new(claims))];
    let claims = of(gpu.clone());
    let good = || policy(&samples);
    assert_eq!(denied(good(), &claims), None);
    let bare = || {
        let tier = PrivacyTier::GpuCc;
        let cpu = Policy::builder().tiers([tier]).suites([tier.suite()]);
        cpu.dangerous_any_snp_measurement().dangerous_any_snp_tcb()
    };
    assert_eq!(denied(bare(), &claims), Some(48));
    assert_eq!(denied(bare().gpu_driver_versions(["1.2"]), &claims), Some(48));
    assert_eq!(denied(bare().dangerous_any_gpu_driver(), &claims), Some(49));
    let versions = || bare().dangerous_any_gpu_driver().gpu_vbios_versions([&gpu.vbios_version]);
    assert_eq!(denied(versions(), &claims), Some(50));
    assert_eq!(denied(versions().dangerous_any_gpu_measurement(), &claims), None);
    assert_eq!(denied(versions().gpu_measurement(2, [[9; 48]]), &claims), Some(50));
    assert_eq!(denied(versions().gpu_measurement(2, [[9; 48], gpu.measurements[1]]), &claims), None);
    // Index 36 counts only where decoder 0 is on, which it is not here, unless the policy says otherwise.
    assert_eq!(gpu.nvdec0, GpuSwitch::Off);
    let decoder = || versions().gpu_measurement(36, [[9; 48]]);
    assert_eq!(denied(decoder(), &claims), None);
    assert_eq!(denied(decoder().gpu_nvdec0_rule(false), &claims), Some(50));
    assert_eq!(denied(decoder(), &of(NvidiaClaims { nvdec0: GpuSwitch::On, ..gpu.clone() })), Some(50));
    assert_eq!(denied(good(), &of(NvidiaClaims { feature_flag: 1, ..gpu.clone() })), Some(51));
    assert_eq!(denied(good(), &of(NvidiaClaims { feature_flag: 256, ..gpu.clone() })), Some(51));
    assert_eq!(denied(good().gpu_feature_flags([1, 2]), &claims), Some(51));
    assert_eq!(denied(good().gpu_fwids([[9; 48]]), &claims), Some(52));
    assert_eq!(denied(good().gpu_leaf_serials([&gpu.leaf_serial]), &claims), None);
    assert_eq!(denied(good().gpu_leaf_serials([[9; 20]]), &claims), Some(53));
}
