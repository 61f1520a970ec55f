//! Whole releases a second, by kind of evidence and backend: verify, policy, wrap, receipt. And the broker without any cryptography of keys.
//!
//! `cargo bench -p hanzo-pqc --features software-evidence,snp,nvidia[,tdx][,aws-lc] --bench release` prints one line a case, the median of seven rounds. Reports of
//! real machines come from the SDK's test data (`HANZO_TEST_DATA`); each is verified whole, every time, and then taken as if it had been made for the session.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hanzo_pqc::attestation::{
    AttestationError, Binding, Claims, Evidence, EvidenceKind, EvidenceVerifier, NvidiaClaims, NvidiaVerifier,
    SnpClaims, SnpVerifier, SoftwareAttester, SoftwareVerifier, UnixTime,
};
#[cfg(feature = "tdx")]
use hanzo_pqc::attestation::{TdxClaims, TdxVerifier};
use hanzo_pqc::backend::{DsaBackend, KemBackend, RustCrypto};
use hanzo_pqc::kbs::{
    Broker, EvidenceMessage, KbsConfig, MemoryChallengeStore, MemoryKeyStore, Policy, Recipient, Request,
};
use hanzo_pqc::rand_core::SeedableRng;
use hanzo_pqc::{
    DecapsulationKey, Dek, EncapsulationKey, KeyId, PrivacyTier, SignatureAlgorithm, SigningKey, VaultKey, VerifyingKey,
};
use rand_chacha::ChaCha12Rng;

#[cfg(feature = "tdx")]
#[path = "../tests/all/support/intel.rs"]
mod intel;

/// 2025-02-01, when every certificate of the samples is good.
const NOW: UnixTime = UnixTime::from_seconds(1_738_368_000);
/// The broker's default.
const TTL_S: u64 = 60;
const ROUND: Duration = Duration::from_millis(300);

type Verify = Box<dyn Fn(&Evidence, &Binding, UnixTime) -> Result<Claims, AttestationError>>;

fn main() {
    bookkeeping();
    releases::<RustCrypto>("RustCrypto");
    #[cfg(feature = "aws-lc")]
    releases::<hanzo_pqc::backend::AwsLc>("AwsLc");
}

/// Seconds a call, the median over rounds of the mean of a round; `prepare` is not timed.
fn time<T, U>(mut prepare: impl FnMut() -> T, mut run: impl FnMut(T) -> U) -> f64 {
    let mut rounds: Vec<f64> = (0..7)
        .map(|_| {
            let (mut spent, mut calls) = (Duration::ZERO, 0_u32);
            while spent < ROUND {
                let batch: Vec<T> = (0..16).map(|_| prepare()).collect();
                let start = Instant::now();
                for input in batch {
                    black_box(run(input));
                    calls += 1;
                }
                spent += start.elapsed();
            }
            spent.as_secs_f64() / f64::from(calls)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

struct World<B: DsaBackend + KemBackend> {
    broker: Broker<Verify, MemoryKeyStore, MemoryChallengeStore, B>,
    recipient: Recipient,
    now: UnixTime,
    rng: ChaCha12Rng,
}

fn world<B: DsaBackend + KemBackend>(tier: PrivacyTier, verify: Verify, policy: Policy) -> World<B> {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let signer = SigningKey::<B>::generate_in(tier.dsa(), &mut rng).expect("a backend");
    let pinned = VerifyingKey::from_bytes(tier.dsa(), signer.verifying_key().as_bytes()).expect("the same key");
    let mut keys = MemoryKeyStore::new(VaultKey::generate(&mut rng));
    let key = KeyId::new("tenant-7/model").expect("a short name");
    keys.put(key.clone(), &Dek::generate(&mut rng), policy, &mut rng).expect("a new key");
    let config = KbsConfig::new().software_evidence(true);
    let sessions = MemoryChallengeStore::with_limit(usize::MAX);
    let broker = Broker::new(config, signer, verify, keys, sessions).expect("a strong key");
    let request = Request::new(tier, &[tier.suite()], vec![key]).expect("one key");
    World { broker, recipient: Recipient::new(request, pinned).expect("a strong key"), now: NOW, rng }
}

impl<B: DsaBackend + KemBackend> World<B> {
    fn message(&mut self, items: impl FnOnce(&Binding, &mut ChaCha12Rng) -> Vec<Evidence>) -> EvidenceMessage {
        let challenge =
            self.broker.challenge(self.now, self.recipient.request(), &mut self.rng).expect("an open broker");
        let mut session = self.recipient.on_challenge(self.now, &challenge, &mut self.rng).expect("its challenge");
        let items = items(session.binding(), &mut self.rng);
        session.evidence(items).expect("few items")
    }
}

/// Times releases whose evidence is `items`.
fn case<B: DsaBackend + KemBackend>(
    backend: &str,
    what: &str,
    world: World<B>,
    items: impl Fn(&Binding, &mut ChaCha12Rng) -> Vec<Evidence>,
) {
    let world = std::cell::RefCell::new(world);
    let seconds = time(
        || world.borrow_mut().message(&items),
        |message| {
            let World { broker, now, rng, .. } = &mut *world.borrow_mut();
            broker.release(*now, &message, rng).expect("an admitted machine")
        },
    );
    println!("release  {backend:<10} {what:<44} {:>8.0} us {:>8.0} /s", seconds * 1e6, 1.0 / seconds);
}

fn base(tier: PrivacyTier) -> hanzo_pqc::kbs::PolicyBuilder {
    Policy::builder().tiers([tier]).suites([tier.suite()])
}

fn releases<B: DsaBackend + KemBackend>(backend: &str) {
    let mut rng = ChaCha12Rng::seed_from_u64(2);
    let attester = SoftwareAttester::new(SigningKey::generate(SignatureAlgorithm::MlDsa65, &mut rng), [4; 32]);
    let attester = attester.expect("a strong key");
    let tier = PrivacyTier::AtRest;
    let policy = base(tier).software_keys([attester.key_digest()]).software_measurements([[4; 32]]);
    let verify: Verify = Box::new(|evidence, bound, now| SoftwareVerifier.verify(evidence, bound, now));
    case::<B>(backend, "tier 1, software", world(tier, verify, policy.build().expect("a policy")), |bound, rng| {
        vec![attester.attest(bound, rng).expect("a key")]
    });
    let Some(samples) = Samples::load() else { return };
    wrap_and_receipt::<B>(backend, &samples);
    for fresh in [true, false] {
        let cache = if fresh { "certificates new" } else { "certificates known" };
        let tier = PrivacyTier::CpuTee;
        case::<B>(
            backend,
            &format!("tier 2, SEV-SNP, {cache}"),
            world(tier, samples.verify(fresh), samples.policy(tier)),
            |_, _| vec![samples.snp.clone()],
        );
        let tier = PrivacyTier::GpuCc;
        case::<B>(
            backend,
            &format!("tier 3, SEV-SNP and H100, {cache}"),
            world(tier, samples.verify(fresh), samples.policy(tier)),
            |_, _| vec![samples.snp.clone(), samples.gpu.clone()],
        );
        if backend == "RustCrypto" {
            let verify = samples.verify(fresh);
            for (name, evidence) in [("SEV-SNP", &samples.snp), ("H100", &samples.gpu)] {
                let bound = Binding { report_data: [0; 64], gpu_nonce: [0; 32] };
                let seconds = time(|| (), |()| verify(evidence, &bound, NOW).expect("a good report"));
                println!("verify   {name:<10} {cache:<44} {:>8.0} us {:>8.0} /s", seconds * 1e6, 1.0 / seconds);
            }
        }
    }
    #[cfg(feature = "tdx")]
    quotes::<B>(backend);
}

/// Releases whose evidence was verified before, beside the two operations they cannot do without: one encapsulation and one signature.
fn wrap_and_receipt<B: DsaBackend + KemBackend>(backend: &str, samples: &Samples) {
    let tier = PrivacyTier::CpuTee;
    let known = SnpVerifier::new().verify_report(samples.snp.report(), samples.snp.endorsement(), NOW).expect("good");
    let verify: Verify = Box::new(move |_, bound, _| {
        Ok(Claims::Snp(Box::new(SnpClaims { report_data: bound.report_data, ..known.clone() })))
    });
    case::<B>(backend, "tier 2, evidence known", world(tier, verify, samples.policy(tier)), |_, _| {
        vec![samples.snp.clone()]
    });
    let mut rng = ChaCha12Rng::seed_from_u64(3);
    let recipient = DecapsulationKey::generate(tier.suite(), &mut rng);
    let recipient = EncapsulationKey::<B>::from_bytes_in(tier.suite(), recipient.encapsulation_key().as_bytes());
    let recipient = recipient.expect("a good key");
    let signer = SigningKey::<B>::generate_in(tier.dsa(), &mut rng).expect("a backend");
    let mut message = 0_u64;
    let seconds = time(
        || (),
        |()| {
            message += 1;
            let secret = recipient.encapsulate(b"", &mut rng).expect("no context");
            (secret, signer.sign(&message.to_be_bytes(), &mut rng).expect("a key"))
        },
    );
    println!("         {backend:<10} {:<44} {:>8.0} us", "its encapsulation and signature alone", seconds * 1e6);
}

/// Releases against quotes of real Intel machines; their verifier remembers no certificates.
#[cfg(feature = "tdx")]
fn quotes<B: DsaBackend + KemBackend>(backend: &str) {
    for (name, sample) in [("TDX, quote v4", intel::v4()), ("TDX, quote v5", intel::v5())] {
        let checked = TdxVerifier::new().verify_quote(&sample.quote, &sample.collateral, sample.now).expect("good");
        let Claims::Tdx(good) = checked else { unreachable!("a TDX quote") };
        let tier = PrivacyTier::CpuTee;
        let [rtmr0, rtmr1, rtmr2, rtmr3] = good.rtmr;
        let policy = base(tier).tdx_mrtd([good.mr_td]);
        let policy = policy.tdx_rtmr0([rtmr0]).tdx_rtmr1([rtmr1]).tdx_rtmr2([rtmr2]).tdx_rtmr3([rtmr3]);
        let evidence = Evidence::new(EvidenceKind::Tdx, &sample.quote, &sample.collateral).expect("short");
        let verify: Verify = Box::new(|evidence, bound, now| {
            match TdxVerifier::new().verify_quote(evidence.report(), evidence.endorsement(), now)? {
                Claims::Tdx(claims) => {
                    Ok(Claims::Tdx(Box::new(TdxClaims { report_data: bound.report_data, ..*claims })))
                }
                _ => Err(AttestationError::Unsupported { kind: evidence.kind() }),
            }
        });
        if backend == "RustCrypto" {
            let bound = Binding { report_data: [0; 64], gpu_nonce: [0; 32] };
            let seconds = time(|| (), |()| verify(&evidence, &bound, sample.now).expect("a good quote"));
            println!("verify   {name:<55} {:>8.0} us {:>8.0} /s", seconds * 1e6, 1.0 / seconds);
        }
        let world = World { now: sample.now, ..world(tier, verify, policy.build().expect("a policy")) };
        case::<B>(backend, &format!("tier 2, {name}"), world, |_, _| vec![evidence.clone()]);
    }
}

/// What the broker does besides: sessions, digests, policies. Challenges, then consumptions that end at a key of no length. The clock goes on so that as many
/// sessions are forgotten as are made: `live` of them are remembered at any time.
fn bookkeeping() {
    for live in [1, 65_536] {
        let verify: Verify = Box::new(|evidence, _, _| Err(AttestationError::Unsupported { kind: evidence.kind() }));
        let tier = PrivacyTier::AtRest;
        let mut world = world::<RustCrypto>(tier, verify, base(tier).build().expect("a policy"));
        let World { broker, recipient, rng, .. } = &mut world;
        let request = recipient.request();
        // The k-th challenge comes at 60 k / live seconds, and lives for 60.
        let mut made = 0_u64;
        let mut now = || {
            made += 1;
            UnixTime::from_seconds(NOW.as_seconds() + made * TTL_S / live)
        };
        for _ in 0..live {
            broker.challenge(now(), request, rng).expect("an open broker");
        }
        let seconds = time(|| (), |()| broker.challenge(now(), request, rng).expect("an open broker"));
        println!("broker   challenge, {live:<5} live sessions {:>41.2} us", seconds * 1e6);
        let broker = std::cell::RefCell::new((broker, rng));
        let seconds = time(
            || {
                let (broker, rng) = &mut *broker.borrow_mut();
                let challenge = broker.challenge(now(), request, *rng).expect("an open broker");
                (challenge.issued_at(), EvidenceMessage::new(challenge.session(), &[0; 3], vec![]).expect("no items"))
            },
            |(now, message)| {
                let (broker, rng) = &mut *broker.borrow_mut();
                broker.release(now, &message, *rng).expect_err("no key")
            },
        );
        println!("broker   consumption and denial, {live:<5} live sessions {:>28.2} us", seconds * 1e6);
    }
}

struct Samples {
    snp: Evidence,
    gpu: Evidence,
}

impl Samples {
    fn load() -> Option<Self> {
        let Some(root) = std::env::var_os("HANZO_TEST_DATA") else {
            eprintln!("skipped: reports of real machines; set HANZO_TEST_DATA to the folder of the SDK's test data");
            return None;
        };
        let folder = PathBuf::from(root).join("pqc/attest");
        let read = |name: &str| std::fs::read(folder.join(name)).expect("a file of the test data");
        let text = String::from_utf8(read("nvidia/hopper_a.report.hex")).expect("hex is text");
        let report = hex::decode(text.trim()).expect("hex");
        let snp = Evidence::new(EvidenceKind::Snp, &read("snp/milan_v3.report.bin"), &read("snp/milan_v3.vcek.der"));
        let gpu = Evidence::new(EvidenceKind::NvidiaGpu, &report, &read("nvidia/hopper_a.chain.pem"));
        Some(Self { snp: snp.expect("short"), gpu: gpu.expect("short") })
    }

    fn policy(&self, tier: PrivacyTier) -> Policy {
        let snp = SnpVerifier::new().verify_report(self.snp.report(), self.snp.endorsement(), NOW).expect("good");
        let gpu = NvidiaVerifier::new().verify_report(self.gpu.report(), self.gpu.endorsement(), NOW).expect("good");
        let policy = base(tier)
            .snp_measurements([snp.measurement])
            .snp_minimum_tcb(snp.product, snp.reported_tcb)
            .gpu_driver_versions([&gpu.driver_version])
            .gpu_vbios_versions([&gpu.vbios_version]);
        let measured = (1..).zip(gpu.measurements.iter()).filter(|(_, value)| **value != [0; 48]);
        measured
            .fold(policy, |policy, (index, value)| policy.gpu_measurement(index, [*value]))
            .build()
            .expect("a policy")
    }

    /// Verifiers that remember certificates, or new ones for each report.
    fn verify(&self, fresh: bool) -> Verify {
        let known = (SnpVerifier::new(), NvidiaVerifier::new());
        Box::new(move |evidence, bound, now| {
            let new;
            let (snp, nvidia) = if fresh {
                new = (SnpVerifier::new(), NvidiaVerifier::new());
                (&new.0, &new.1)
            } else {
                (&known.0, &known.1)
            };
            match evidence.kind() {
                EvidenceKind::Snp => {
                    let claims = snp.verify_report(evidence.report(), evidence.endorsement(), now)?;
                    Ok(Claims::Snp(Box::new(SnpClaims { report_data: bound.report_data, ..claims })))
                }
                EvidenceKind::NvidiaGpu => {
                    let claims = nvidia.verify_report(evidence.report(), evidence.endorsement(), now)?;
                    Ok(Claims::NvidiaGpu(Box::new(NvidiaClaims { nonce: bound.gpu_nonce, ..claims })))
                }
                kind => Err(AttestationError::Unsupported { kind }),
            }
        })
    }
}
