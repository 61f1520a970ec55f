//! Bad behaviour towards broker and recipient, row by row: what is refused, and that nothing else changed.

use crate::support::world;

use std::num::NonZeroU64;

use crate::support::world::{TIER, Verifier, World, believe, item, policy, time};
use hanzo_pqc::attestation::{AttestationError, Evidence, EvidenceKind, EvidenceVerifier, NoEvidence};
use hanzo_pqc::kbs::{
    Broker, Challenge, EvidenceMessage, KbsConfig, KbsError, MemoryChallengeStore, MemoryKeyStore, Policy, Receipt,
    Recipient, Refusal, Release, Request, SessionId,
};
use hanzo_pqc::rand_core::SeedableRng;
use hanzo_pqc::{
    DecapsulationKey, Dek, Envelope, EnvelopeHeader, Error, HybridSuite, KeyId, PrivacyTier, SignatureAlgorithm,
    SigningKey, VaultKey,
};
use rand_chacha::ChaCha12Rng;

/// One session, up to its message.
fn message(world: &mut World, items: impl FnOnce(&[u8; 64]) -> Vec<Evidence>) -> EvidenceMessage {
    let mut session = world.session(time(0));
    let items = items(&session.binding().report_data.clone());
    session.evidence(items).unwrap()
}

#[test]
fn a_challenge_is_good_once_and_until_its_end() {
    let mut world = World::new(1, 1);
    let good = message(&mut world, |data| vec![item(data)]);
    assert!(world.broker.release(time(59), &good, &mut world.rng).is_ok());
    let replay = world.broker.release(time(59), &good, &mut world.rng);
    assert_eq!(replay.unwrap_err(), KbsError::ReplayedNonce);

    let mut world = World::new(1, 1);
    let late = message(&mut world, |data| vec![item(data)]);
    let got = world.broker.release(time(60), &late, &mut world.rng);
    assert_eq!(got.unwrap_err(), KbsError::ChallengeExpired);
    // The attempt burnt it, and the clock does not go back.
    let got = world.broker.release(time(0), &late, &mut world.rng);
    assert_eq!(got.unwrap_err(), KbsError::ReplayedNonce);
    let challenge = world.session(time(0)).challenge().issued_at();
    assert_eq!(challenge, time(60));
}

#[test]
fn an_unknown_session() {
    let mut world = World::new(1, 1);
    let good = message(&mut world, |data| vec![item(data)]);
    let session = SessionId::from_bytes([0xEE; 16]);
    let stray = EvidenceMessage::new(session, good.encapsulation_key(), vec![]).unwrap();
    let got = world.broker.release(time(0), &stray, &mut world.rng);
    assert_eq!(got.unwrap_err(), KbsError::ChallengeUnknown);
    assert!(world.broker.release(time(0), &good, &mut world.rng).is_ok());
}

#[test]
fn bad_evidence_burns_the_challenge_and_is_denied_alike() {
    let snp = || Evidence::new(EvidenceKind::Snp, b"report", b"").unwrap();
    let gpu = || Evidence::new(EvidenceKind::NvidiaGpu, b"report", b"").unwrap();
    let short = || Evidence::new(EvidenceKind::Software, b"report", b"").unwrap();
    let unsupported = AttestationError::Unsupported { kind: EvidenceKind::Snp };
    let unexpected = |kind| KbsError::UnexpectedEvidence { kind };
    type Items = Box<dyn Fn(&[u8; 64]) -> Vec<Evidence>>;
    let rows: Vec<(Items, KbsError)> = vec![
        (Box::new(|_| vec![]), KbsError::EvidenceMissing),
        (Box::new(move |_| vec![snp()]), KbsError::Evidence(unsupported)),
        (Box::new(move |_| vec![short()]), KbsError::Evidence(AttestationError::Malformed { offset: 0 })),
        (Box::new(move |data| vec![item(data), gpu()]), unexpected(EvidenceKind::NvidiaGpu)),
        (Box::new(|data| vec![item(data), item(data)]), unexpected(EvidenceKind::Software)),
        (Box::new(|_| vec![item(&[0; 64])]), KbsError::ReportDataMismatch),
        (
            Box::new(|data| {
                let mut data = *data;
                data[63] ^= 1;
                vec![item(&data)]
            }),
            KbsError::ReportDataMismatch,
        ),
    ];
    for (items, expected) in rows {
        let mut world = World::new(1, 1);
        let bad = message(&mut world, items);
        let got = world.broker.release(time(1), &bad, &mut world.rng).unwrap_err();
        assert_eq!(got, expected);
        assert_eq!(got.refusal(), Refusal::Denied);
        let again = world.broker.release(time(1), &bad, &mut world.rng);
        assert_eq!(again.unwrap_err(), KbsError::ReplayedNonce);
    }
}

#[test]
fn a_key_of_the_wrong_suite_or_another_key() {
    let mut world = World::new(1, 1);
    let good = message(&mut world, |data| vec![item(data)]);
    let short = &good.encapsulation_key()[1..];
    let wrong = EvidenceMessage::new(good.session(), short, good.items().to_vec()).unwrap();
    let got = world.broker.release(time(0), &wrong, &mut world.rng).unwrap_err();
    assert!(matches!(got, KbsError::Crypto(Error::InvalidLength { expected: 1216, .. })));
    assert_eq!(got.refusal(), Refusal::Denied);

    // A valid key that the evidence does not speak of: the man in the middle.
    let good = message(&mut world, |data| vec![item(data)]);
    let thief = DecapsulationKey::generate(TIER.suite(), &mut world.rng);
    let ek = thief.encapsulation_key().as_bytes();
    let stolen = EvidenceMessage::new(good.session(), ek, good.items().to_vec()).unwrap();
    let got = world.broker.release(time(0), &stolen, &mut world.rng);
    assert_eq!(got.unwrap_err(), KbsError::ReportDataMismatch);
}

#[test]
fn policies_decide_at_release_and_for_every_key() {
    let deny = |policy: Policy, tag| {
        let mut world = World::new(1, 2);
        let good = message(&mut world, |data| vec![item(data)]);
        // Changed after the challenge was issued, and on the second key only.
        let key = world.keys[1].clone();
        world.broker.keys_mut().set_policy(&key, policy).unwrap();
        let got = world.broker.release(time(0), &good, &mut world.rng).unwrap_err();
        assert_eq!(got, KbsError::PolicyDenied { key, tag });
        assert_eq!(got.refusal(), Refusal::Denied);
    };
    deny(Policy::default(), 2);
    let base = || Policy::builder().tiers([TIER]).suites([TIER.suite()]);
    deny(Policy::builder().tiers([PrivacyTier::CpuTee]).build().unwrap(), 2);
    deny(Policy::builder().tiers([TIER]).build().unwrap(), 3);
    deny(base().build().unwrap(), 64);
    deny(base().software_keys([[0; 32]]).build().unwrap(), 64);
    deny(base().dangerous_any_software_key().build().unwrap(), 65);
    let wrong = base().dangerous_any_software_key().software_measurements([[0; 32]]);
    deny(wrong.build().unwrap(), 65);
    let other = base().dangerous_any_software_key().dangerous_any_software_measurement().recipient_digests([[0; 32]]);
    deny(other.build().unwrap(), 5);
}

/// Challenges are alike whether a key exists; the difference shows only to the operator, after the challenge is burnt.
#[test]
fn unknown_keys_are_answered_alike() {
    let answer = |name: &str| {
        let mut world = World::new(1, 1);
        let request = Request::new(TIER, &[TIER.suite()], vec![KeyId::new(name).unwrap()]).unwrap();
        let recipient = Recipient::new(request, world.pinned.clone()).unwrap();
        let challenge = world.broker.challenge(time(0), recipient.request(), &mut world.rng).unwrap();
        let mut session = recipient.on_challenge(time(0), &challenge, &mut world.rng).unwrap();
        // The wrong measurement: denied for the known key too.
        let mut report = session.binding().report_data.to_vec();
        report.extend([0; 32]);
        let bad = Evidence::new(EvidenceKind::Software, &report, b"").unwrap();
        let message = session.evidence(vec![bad]).unwrap();
        let error = world.broker.release(time(0), &message, &mut world.rng).unwrap_err();
        let mut bytes = challenge.to_bytes();
        let digest = bytes.len() - 32;
        bytes.truncate(digest);
        (bytes, error.refusal(), error)
    };
    let (known, unknown) = (answer("tenant-7/model-0"), answer("tenant-7/model-9"));
    assert_eq!((&known.0, known.1), (&unknown.0, unknown.1));
    assert!(matches!(known.2, KbsError::PolicyDenied { tag: 65, .. }));
    assert!(matches!(unknown.2, KbsError::PolicyDenied { tag: 0, .. }));
}

#[test]
fn tiers_and_suites_that_are_not_offered() {
    let challenge = |config: KbsConfig, tier, suites: &[HybridSuite]| {
        let mut world = World::with(1, 1, config, MemoryChallengeStore::new());
        let request = Request::new(tier, suites, world.keys.clone()).unwrap();
        world.broker.challenge(time(0), &request, &mut world.rng)
    };
    let strong = HybridSuite::MlKem1024X25519;
    // ML-DSA-65 signs receipts up to tier 2.
    let got = challenge(KbsConfig::new(), PrivacyTier::GpuCc, &[strong]);
    assert_eq!(got, Err(KbsError::TierNotOffered));
    let got = challenge(KbsConfig::new(), TIER, &[HybridSuite::MlKem1024]);
    assert_eq!(got, Err(KbsError::SuiteNotOffered));
    let got = challenge(KbsConfig::new(), TIER, &[HybridSuite::MlKem512X25519]).unwrap_err();
    assert!(matches!(got, KbsError::Crypto(Error::TierMismatch { .. })));
    // Beside a weak one there is one that would do: it is the broker that does not offer it.
    let got = challenge(KbsConfig::new(), TIER, &[HybridSuite::MlKem512X25519, HybridSuite::MlKem1024]);
    assert_eq!(got, Err(KbsError::SuiteNotOffered));
    let got = challenge(KbsConfig::new(), TIER, &[HybridSuite::MlKem512X25519, strong]);
    assert_eq!(got.unwrap().suite(), strong);

    let broker = |config| {
        let signer = SigningKey::from_seed(SignatureAlgorithm::MlDsa87, &[1; 32]).unwrap();
        let keys = MemoryKeyStore::new(VaultKey::from_bytes(&[0; 32]));
        Broker::new(config, signer, NoEvidence, keys, MemoryChallengeStore::new()).unwrap()
    };
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let mut ask = |config: KbsConfig, tier| {
        let request = Request::new(tier, &[strong], vec![KeyId::new("k").unwrap()]).unwrap();
        broker(config).challenge(time(0), &request, &mut rng)
    };
    let granted = ask(KbsConfig::new(), PrivacyTier::GpuCc).unwrap();
    assert_eq!(granted.gpu_minimum(), 1);
    assert_eq!(granted.cpu_evidence().bits(), 0b011, "TDX or SNP, not SGX");
    let refused = Err(KbsError::TierNotOffered);
    assert_eq!(ask(KbsConfig::new(), PrivacyTier::GpuTeeIo), refused);
    assert_eq!(ask(KbsConfig::new().gpu_cc_enabled(false), PrivacyTier::GpuCc), refused);
    let no_cc = KbsConfig::new().gpu_cc_enabled(false).tee_io_enabled(true);
    assert_eq!(ask(no_cc, PrivacyTier::GpuTeeIo), refused);
    assert!(ask(KbsConfig::new().tee_io_enabled(true), PrivacyTier::GpuTeeIo).is_ok());
    let two = ask(KbsConfig::new().attestation_required(false), PrivacyTier::CpuTee).unwrap();
    assert_eq!(two.cpu_evidence().bits(), 0b111, "tier 2 needs evidence whatever the setting");
    let one = ask(KbsConfig::new(), PrivacyTier::AtRest).unwrap();
    assert_eq!(one.cpu_evidence().bits(), 0b111, "software is off unless turned on");
    let one = ask(KbsConfig::new().software_evidence(true), PrivacyTier::AtRest).unwrap();
    assert_eq!(one.cpu_evidence().bits(), 0b1000_0111);
    let zero = ask(KbsConfig::new(), PrivacyTier::Open).unwrap();
    assert!(zero.cpu_evidence().is_empty());
}

#[test]
fn software_evidence_reaches_no_tier_above_one() {
    let any = Policy::builder()
        .dangerous_any_tier()
        .dangerous_any_suite()
        .dangerous_any_recipient()
        .dangerous_any_software_key()
        .dangerous_any_software_measurement()
        .build()
        .unwrap();
    let mut world = World::new(1, 1);
    let key = world.keys[0].clone();
    world.broker.keys_mut().set_policy(&key, any).unwrap();
    let suite = HybridSuite::MlKem768X25519;
    let request = Request::new(PrivacyTier::CpuTee, &[suite], vec![key]).unwrap();
    let recipient = Recipient::new(request, world.pinned.clone()).unwrap();
    let challenge = world.broker.challenge(time(0), recipient.request(), &mut world.rng).unwrap();
    let mut session = recipient.on_challenge(time(0), &challenge, &mut world.rng).unwrap();
    let statement = item(&session.binding().report_data);
    let message = session.evidence(vec![statement]).unwrap();
    let got = world.broker.release(time(0), &message, &mut world.rng);
    let kind = EvidenceKind::Software;
    assert_eq!(got.unwrap_err(), KbsError::UnexpectedEvidence { kind });
}

/// A verifier that answers with claims of another kind than it was shown is not believed.
#[test]
fn claims_of_another_kind() {
    let confused: Verifier = |evidence, bound, now| {
        let statement = Evidence::new(EvidenceKind::Software, evidence.report(), b"");
        believe(&statement.map_err(|_| AttestationError::Signature)?, bound, now)
    };
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let signer = SigningKey::generate(SignatureAlgorithm::MlDsa65, &mut rng);
    let pinned = signer.verifying_key().clone();
    let mut keys = MemoryKeyStore::new(VaultKey::generate(&mut rng));
    let key = KeyId::new("k").unwrap();
    keys.put(key.clone(), &Dek::generate(&mut rng), policy(), &mut rng).unwrap();
    let sessions = MemoryChallengeStore::new();
    let mut broker = Broker::new(KbsConfig::new(), signer, confused, keys, sessions).unwrap();
    let recipient = Recipient::new(Request::new(TIER, &[TIER.suite()], vec![key]).unwrap(), pinned);
    let recipient = recipient.unwrap();
    let challenge = broker.challenge(time(0), recipient.request(), &mut rng).unwrap();
    let mut session = recipient.on_challenge(time(0), &challenge, &mut rng).unwrap();
    let good = item(&session.binding().report_data);
    let dressed = Evidence::new(EvidenceKind::Tdx, good.report(), b"").unwrap();
    let message = session.evidence(vec![dressed]).unwrap();
    let got = broker.release(time(0), &message, &mut rng);
    let kind = EvidenceKind::Software;
    assert_eq!(got.unwrap_err(), KbsError::UnexpectedEvidence { kind });
}

#[test]
fn stores_are_bounded_and_recover() {
    let config = KbsConfig::new().software_evidence(true).ttl_s(NonZeroU64::new(10).unwrap());
    let mut world = World::with(1, 1, config, MemoryChallengeStore::with_limit(2));
    let request = world.recipient().request().clone();
    let ask = |world: &mut World, at| world.broker.challenge(time(at), &request, &mut world.rng);
    let first = ask(&mut world, 0).unwrap();
    assert_eq!(first.expires_at(), time(10));
    assert!(ask(&mut world, 1).is_ok());
    assert_eq!(ask(&mut world, 2), Err(KbsError::Busy));
    assert_eq!(ask(&mut world, 9), Err(KbsError::Busy));
    assert!(ask(&mut world, 10).is_ok(), "the first has ended");
    assert_eq!(ask(&mut world, 10), Err(KbsError::Busy));
    // A generator that repeats itself cannot revive a session.
    let mut world = World::new(1, 1);
    let mut repeating = ChaCha12Rng::seed_from_u64(4);
    assert!(world.broker.challenge(time(0), &request, &mut repeating.clone()).is_ok());
    let again = world.broker.challenge(time(0), &request, &mut repeating);
    assert_eq!(again, Err(KbsError::Busy));
    let end = hanzo_pqc::attestation::UnixTime::from_seconds(u64::MAX);
    let got = world.broker.challenge(end, &request, &mut world.rng);
    assert_eq!(got, Err(KbsError::ClockOutOfRange));
    assert!(ask(&mut world, 0).is_ok(), "a failed call does not move the clock");
}

#[test]
fn a_recipient_refuses_challenges_that_do_not_fit() {
    let mut world = World::new(1, 2);
    let recipient = world.recipient();
    let good = world.broker.challenge(time(0), recipient.request(), &mut world.rng).unwrap();
    let what = |got: Result<_, KbsError>| match got.map(|_: hanzo_pqc::kbs::Challenged| ()) {
        Err(KbsError::ChallengeMismatch { what }) => what,
        other => panic!("{other:?}"),
    };
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let changed = |at: usize, bytes: &[u8]| {
        let mut raw = good.to_bytes();
        raw[at..at + bytes.len()].copy_from_slice(bytes);
        Challenge::from_bytes(&raw).unwrap()
    };
    let mut on = |now, challenge: &Challenge| recipient.on_challenge(now, challenge, &mut rng);
    assert_eq!(what(on(time(0), &changed(75, &[0xEE; 32]))), "request digest");
    assert_eq!(what(on(time(0), &changed(69, &[0]))), "tier");
    assert_eq!(what(on(time(0), &changed(70, &[0xF0, 3]))), "suite");
    assert_eq!(on(time(60), &good).unwrap_err(), KbsError::ChallengeExpired);
    assert!(on(time(59), &good).is_ok());
    let slow = |seconds| hanzo_pqc::attestation::UnixTime::from_seconds(world::START - seconds);
    assert!(on(slow(60), &good).is_ok());
    assert_eq!(what(on(slow(61), &good)), "issue time");
    let other = DecapsulationKey::from_seed(HybridSuite::MlKem768, &[1; 64]).unwrap();
    let got = recipient.on_challenge_with_key(time(0), &good, other);
    assert_eq!(what(got), "suite of the recipient's key");

    let weak = SigningKey::from_seed(SignatureAlgorithm::MlDsa44, &[1; 32]).unwrap();
    let got = Recipient::new(recipient.request().clone(), weak.verifying_key().clone());
    assert!(matches!(got, Err(KbsError::Crypto(Error::TierMismatch { .. }))));
}

#[test]
fn a_recipient_opens_its_own_release_only() {
    let run = |tamper: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let mut world = World::new(1, 2);
        let mut session = world.session(time(0));
        let statement = item(&session.binding().report_data);
        let message = session.evidence(vec![statement]).unwrap();
        let release = world.broker.release(time(0), &message, &mut world.rng).unwrap();
        let release = Release::from_bytes(&tamper(release.to_bytes())).unwrap();
        session.open(&release).map(|keys| keys.len())
    };
    assert_eq!(run(&|bytes| bytes), Ok(2));
    let mismatch = |what| Err(KbsError::ReceiptMismatch { what });
    let flip = |at: usize| {
        move |mut bytes: Vec<u8>| {
            bytes[at] ^= 1;
            bytes
        }
    };
    assert_eq!(run(&flip(5)), mismatch("session"));
    // The last byte of the message is in the signature; the first envelope's last byte is its tag.
    let len = {
        let mut world = World::new(1, 2);
        let good = message(&mut world, |data| vec![item(data)]);
        world.broker.release(time(0), &good, &mut world.rng).unwrap().to_bytes().len()
    };
    assert_eq!(run(&flip(len - 1)), mismatch("broker signature"));
    assert_eq!(run(&flip(26 + 1000)), mismatch("envelope digest"));
    let policy_digest = 26 + 12 + 16 + 3;
    assert_eq!(run(&flip(policy_digest)), mismatch("policy digest"));
    let swap = |bytes: Vec<u8>| {
        let size = u32::from_be_bytes(bytes[22..26].try_into().unwrap()) as usize + 4;
        let (a, b) = (bytes[22..22 + size].to_vec(), bytes[22 + size..22 + 2 * size].to_vec());
        [&bytes[..22], &b, &a, &bytes[22 + 2 * size..]].concat()
    };
    assert_eq!(run(&swap), mismatch("key id"));

    // Two sessions of one recipient: the release of the one does not open in the other.
    let mut world = World::new(1, 1);
    let (mut one, mut two) = (world.session(time(0)), world.session(time(0)));
    let statement = item(&one.binding().report_data);
    let message = one.evidence(vec![statement.clone()]).unwrap();
    two.evidence(vec![statement]).unwrap();
    let release = world.broker.release(time(0), &message, &mut world.rng).unwrap();
    assert_eq!(two.open(&release).map(|keys| keys.len()), mismatch("session"));
    assert_eq!(one.open(&release).unwrap().len(), 1);

    // Evidence that was swapped on the way shows in the receipt.
    let mut session = world.session(time(0));
    let statement = item(&session.binding().report_data);
    let sent = session.evidence(vec![statement]).unwrap();
    let release = world.broker.release(time(0), &sent, &mut world.rng).unwrap();
    session.evidence(vec![]).unwrap();
    assert_eq!(session.open(&release).map(|keys| keys.len()), mismatch("evidence digest"));
}

#[test]
fn receipts_of_another_broker() {
    let mut world = World::new(1, 1);
    let good = message(&mut world, |data| vec![item(data)]);
    let release = world.broker.release(time(0), &good, &mut world.rng).unwrap();
    let receipt = release.receipt();
    assert_eq!(receipt.verify(&world.pinned), Ok(()));
    let other = World::new(2, 1).pinned;
    assert_eq!(receipt.verify(&other), Err(Error::InvalidSignature));
    let bytes = receipt.to_bytes();
    for at in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let refused = Receipt::from_bytes(&changed).and_then(|receipt| receipt.verify(&world.pinned));
        assert!(refused.is_err(), "byte {at}");
    }
}

#[test]
fn a_vault_entry_that_does_not_open() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let (vault, other) = (VaultKey::generate(&mut rng), VaultKey::generate(&mut rng));
    let key = KeyId::new("k").unwrap();
    let header = EnvelopeHeader::vault(TIER, key.clone());
    let dek = Dek::generate(&mut rng);
    let foreign = Envelope::seal_vault(header.clone(), &other, &dek, &mut rng).unwrap();
    let own = Envelope::seal_vault(header, &vault, &dek, &mut rng).unwrap();
    let mut store = MemoryKeyStore::new(vault);
    let got = store.put_wrapped(foreign, policy());
    assert_eq!(got, Err(KbsError::Crypto(Error::Decrypt)));
    assert_eq!(store.wrapped(&key), Ok(None));
    store.put_wrapped(own.clone(), policy()).unwrap();
    assert_eq!(store.wrapped(&key), Ok(Some(own)));
    assert_eq!((store.remove(&key), store.remove(&key)), (Ok(true), Ok(false)));
    let missing = store.set_policy(&key, policy());
    assert_eq!(missing, Err(KbsError::KeyNotFound { key }));
}

#[test]
fn without_evidence_only_listed_recipients() {
    let config = || KbsConfig::new().attestation_required(false);
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let listed = DecapsulationKey::generate(TIER.suite(), &mut rng);
    let policy = Policy::builder()
        .tiers([TIER])
        .suites([TIER.suite()])
        .recipients([listed.encapsulation_key()])
        .build()
        .unwrap();
    let mut world = World::with(1, 1, config(), MemoryChallengeStore::new());
    let key = world.keys[0].clone();
    world.broker.keys_mut().set_policy(&key, policy).unwrap();
    let recipient = world.recipient();

    let challenge = world.broker.challenge(time(0), recipient.request(), &mut world.rng).unwrap();
    let mut stranger = recipient.on_challenge(time(0), &challenge, &mut world.rng).unwrap();
    let message = stranger.evidence(vec![]).unwrap();
    let got = world.broker.release(time(0), &message, &mut world.rng);
    assert_eq!(got.unwrap_err(), KbsError::PolicyDenied { key, tag: 5 });

    let challenge = world.broker.challenge(time(0), recipient.request(), &mut world.rng).unwrap();
    let mut friend = recipient.on_challenge_with_key(time(0), &challenge, listed).unwrap();
    let message = friend.evidence(vec![]).unwrap();
    let release = world.broker.release(time(0), &message, &mut world.rng).unwrap();
    assert!(friend.open(&release).unwrap()[0].1.ct_eq(&world.deks[0]));
}

#[test]
fn the_verifier_of_nothing_refuses_every_kind() {
    let bound = hanzo_pqc::attestation::Binding { report_data: [0; 64], gpu_nonce: [0; 32] };
    for kind in EvidenceKind::ALL {
        let evidence = Evidence::new(kind, b"", b"").unwrap();
        let got = NoEvidence.verify(&evidence, &bound, time(0));
        assert_eq!(got, Err(AttestationError::Unsupported { kind }));
        assert_eq!(EvidenceKind::from_code(kind.code()), Some(kind));
    }
    assert_eq!(EvidenceKind::from_code(5), None);
}
