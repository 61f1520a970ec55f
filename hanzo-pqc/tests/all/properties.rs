//! Laws that hold for every input.

use std::collections::HashMap;

use crate::support::world::{TIER, World, item, policy, time};
use hanzo_pqc::attestation::{Claims, Evidence, EvidenceKind, SoftwareClaims};
use hanzo_pqc::kbs::{
    Challenge, EvidenceMessage, Facts, KbsError, Policy, Receipt, Refusal, Release, Request, SessionId,
};
use hanzo_pqc::rand_core::SeedableRng;
use hanzo_pqc::{
    DecapsulationKey, Dek, EncapsulationKey, Envelope, EnvelopeHeader, Error, HybridSuite, KeyId, PrivacyTier, VaultKey,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use rand_chacha::ChaCha12Rng;

fn tier() -> impl Strategy<Value = PrivacyTier> {
    proptest::sample::select(PrivacyTier::ALL.to_vec())
}

fn suite() -> impl Strategy<Value = HybridSuite> {
    proptest::sample::select(HybridSuite::ALL.to_vec())
}

fn key_id() -> impl Strategy<Value = KeyId> {
    vec(any::<u8>(), 1..=255).prop_map(|bytes| KeyId::new(bytes).unwrap())
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A parser and a printer of one format, as functions on bytes.
type Format = (&'static str, fn(&[u8]) -> Result<Vec<u8>, Error>);

const FORMATS: [Format; 8] = [
    ("envelope", |b| Envelope::from_bytes(b).map(|x| x.to_bytes())),
    ("request", |b| Request::from_bytes(b).map(|x| x.to_bytes())),
    ("challenge", |b| Challenge::from_bytes(b).map(|x| x.to_bytes())),
    ("evidence item", |b| Evidence::from_bytes(b).map(|x| x.to_bytes())),
    ("evidence", |b| EvidenceMessage::from_bytes(b).map(|x| x.to_bytes())),
    ("release", |b| Release::from_bytes(b).map(|x| x.to_bytes())),
    ("receipt", |b| Receipt::from_bytes(b).map(|x| x.to_bytes())),
    ("policy", |b| Policy::from_bytes(b).map(|x| x.to_bytes())),
];

/// One valid encoding of each format, from one real session.
fn encodings() -> [Vec<u8>; 8] {
    let mut world = World::new(1, 2);
    let mut session = world.session(time(0));
    let challenge = session.challenge().clone();
    let message = session.evidence(vec![item(&session.binding().report_data)]).unwrap();
    let release = world.broker.release(time(1), &message, &mut world.rng).unwrap();
    [
        release.envelopes()[0].to_bytes(),
        world.recipient().request().to_bytes(),
        challenge.to_bytes(),
        message.items()[0].to_bytes(),
        message.to_bytes(),
        release.to_bytes(),
        release.receipt().to_bytes(),
        policy().to_bytes(),
    ]
}

#[test]
fn every_prefix_and_every_extension_of_a_message_is_refused() {
    for ((name, reprint), bytes) in FORMATS.into_iter().zip(encodings()) {
        assert_eq!(reprint(&bytes).as_ref(), Ok(&bytes), "{name}");
        for len in 0..bytes.len() {
            let prefix = &bytes[..len];
            // A policy's fields are optional: a prefix that ends with a field is a policy of its own, and must read back as itself.
            match reprint(prefix) {
                Ok(same) => assert!(name == "policy" && same == prefix, "{name} cut at {len}"),
                Err(error) => assert!(matches!(error, Error::Malformed { .. }), "{name} cut at {len}: {error}"),
            }
        }
        for tail in [&[0][..], &[1], &[0xFF; 40]] {
            let longer = [&bytes, tail].concat();
            assert!(reprint(&longer).is_err(), "{name} with {} more", tail.len());
        }
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn parsers_accept_only_what_printers_print(
        noise in vec(any::<u8>(), 0..300),
        which in 0..FORMATS.len(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        // The encodings are the same in every case: make them once.
        static ENCODINGS: std::sync::OnceLock<[Vec<u8>; 8]> = std::sync::OnceLock::new();
        let mut bytes = ENCODINGS.get_or_init(encodings)[which].clone();
        for (place, value) in edits {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        for input in [bytes, noise] {
            for (name, reprint) in FORMATS {
                if let Ok(printed) = reprint(&input) {
                    prop_assert_eq!(&printed, &input, "{}", name);
                }
            }
        }
    }

    #[test]
    fn requests_round_trip(
        tier in tier(),
        suites in vec(suite(), 1..=16),
        keys in btree_set(key_id(), 1..=16),
    ) {
        let request = Request::new(tier, &suites, keys.into_iter().collect()).unwrap();
        prop_assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
    }

    #[test]
    fn evidence_messages_round_trip(
        session in any::<[u8; 16]>(),
        key in vec(any::<u8>(), 0..100),
        items in vec((0..5_usize, vec(any::<u8>(), 0..100), vec(any::<u8>(), 0..100)), 0..=17),
    ) {
        let items = items
            .into_iter()
            .map(|(kind, report, chain)| Evidence::new(EvidenceKind::ALL[kind], &report, &chain).unwrap())
            .collect();
        let message = EvidenceMessage::new(SessionId::from_bytes(session), &key, items).unwrap();
        prop_assert_eq!(EvidenceMessage::from_bytes(&message.to_bytes()), Ok(message));
    }

    #[test]
    fn policies_round_trip_and_differ_in_digest(
        name in proptest::option::of("[a-z]{0,64}"),
        tiers in proptest::option::of(vec(tier(), 0..5)),
        suites in proptest::option::of(vec(suite(), 0..5)),
        recipients in proptest::option::of(vec(any::<[u8; 32]>(), 0..5)),
        any_key in any::<bool>(),
    ) {
        let mut builder = Policy::builder();
        if let Some(name) = &name { builder = builder.name(name); }
        if let Some(tiers) = tiers { builder = builder.tiers(tiers); }
        if let Some(suites) = suites { builder = builder.suites(suites); }
        if let Some(recipients) = recipients { builder = builder.recipient_digests(recipients); }
        let plain = builder.clone().build().unwrap();
        if any_key { builder = builder.dangerous_any_software_key(); }
        let policy = builder.build().unwrap();
        prop_assert_eq!(Policy::from_bytes(&policy.to_bytes()), Ok(policy.clone()));
        prop_assert_eq!(policy.digest() == plain.digest(), policy == plain);
    }

    /// Adding an entry to a list never denies more; so removing one never allows more.
    #[test]
    fn allow_lists_are_monotonic(
        tier in tier(), suite in suite(), recipient in 0..4_u8, key in 0..4_u8, measurement in 0..4_u8, evidence in any::<bool>(),
        tiers in vec(tier(), 0..3), suites in vec(suite(), 0..3),
        lists in vec(vec(0..4_u8, 0..3), 3),
        extra in (tier(), 0..4_u8),
        list in 0..5,
    ) {
        let claims = [Claims::Software(SoftwareClaims { report_data: [0; 64], measurement: [measurement; 32], key_digest: [key; 32] })];
        let now = time(0);
        let facts = Facts { now, tier, suite, recipient: [recipient; 32], claims: &claims[..usize::from(evidence)] };
        let digests = |i: usize| lists[i].iter().map(|byte| [*byte; 32]).collect::<Vec<_>>();
        let narrow = Policy::builder()
            .tiers(tiers)
            .suites(suites)
            .recipient_digests(digests(0))
            .software_keys(digests(1))
            .software_measurements(digests(2));
        let (extra_tier, byte) = extra;
        let wide = match list {
            0 => narrow.clone().tiers([extra_tier]),
            1 => narrow.clone().suites([suite]),
            2 => narrow.clone().recipient_digests([[byte; 32]]),
            3 => narrow.clone().software_keys([[byte; 32]]),
            _ => narrow.clone().software_measurements([[byte; 32]]),
        };
        let (narrow, wide) = (narrow.build().unwrap(), wide.build().unwrap());
        prop_assert!(narrow.evaluate(&facts).is_err() || wide.evaluate(&facts).is_ok());
        prop_assert!(Policy::default().evaluate(&facts).is_err(), "an empty policy denies");
    }
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn envelopes_open_for_their_key_only(
        seed in any::<u64>(),
        tier in tier(),
        suite in suite(),
        id in key_id(),
        dek in vec(any::<u8>(), 1..200),
        digests in any::<[[u8; 32]; 2]>(),
    ) {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let dek = Dek::new(&dek).unwrap();
        let header = match EnvelopeHeader::new(tier, suite, id.clone()) {
            Ok(header) => header,
            Err(error) => {
                let mismatch = matches!(error, Error::TierMismatch { .. });
                prop_assert!(mismatch && suite.kem() < tier.kem());
                return Ok(());
            }
        };
        let header = header.with_policy_digest(digests[0]).with_context_digest(digests[1]);
        let dk = DecapsulationKey::generate(suite, &mut rng);
        let other = DecapsulationKey::generate(suite, &mut rng);
        let envelope = Envelope::seal(header, dk.encapsulation_key(), &dek, &mut rng).unwrap();
        prop_assert_eq!(Envelope::from_bytes(&envelope.to_bytes()), Ok(envelope.clone()));
        prop_assert!(envelope.open(&dk).unwrap().ct_eq(&dek));
        prop_assert_eq!(envelope.open(&other).unwrap_err(), Error::Decrypt);
        prop_assert_eq!(envelope.open_vault(&VaultKey::from_bytes(&[0; 32])).unwrap_err(), Error::Decrypt);

        let vault = VaultKey::generate(&mut rng);
        let header = EnvelopeHeader::vault(tier, id);
        let stored = Envelope::seal_vault(header, &vault, &dek, &mut rng).unwrap();
        prop_assert_eq!(Envelope::from_bytes(&stored.to_bytes()), Ok(stored.clone()));
        prop_assert!(stored.open_vault(&vault).unwrap().ct_eq(&dek));
        prop_assert_eq!(stored.open(&dk).unwrap_err(), Error::Decrypt);
    }

    /// The key of a hybrid depends on suite, key pair, both halves of the ciphertext and the context.
    #[test]
    fn secrets_depend_on_everything(
        seed in any::<u64>(),
        suite in suite(),
        ctx in vec(any::<u8>(), 0..40),
        place in any::<prop::sample::Index>(),
    ) {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let dk = DecapsulationKey::generate(suite, &mut rng);
        let ctx = if suite.takes_context() { ctx } else { vec![] };
        let (ct, sent) = dk.encapsulation_key().encapsulate(&ctx, &mut rng).unwrap();
        prop_assert!(dk.decapsulate(&ct, &ctx).unwrap().ct_eq(&sent));

        let mut wrong = ct.as_bytes().to_vec();
        // Bit 7 of the last byte of an X25519 point is not part of it: the combiner binds it all the same.
        let at = place.index(wrong.len());
        wrong[at] ^= 0x80;
        let wrong = hanzo_pqc::Ciphertext::from_bytes(suite, &wrong).unwrap();
        prop_assert!(dk.decapsulate(&wrong, &ctx).map_or(true, |got| !got.ct_eq(&sent)));

        if suite.takes_context() {
            let longer = [&ctx[..], &[0]].concat();
            prop_assert!(!dk.decapsulate(&ct, &longer).unwrap().ct_eq(&sent));
        }
        let other = DecapsulationKey::generate(suite, &mut rng);
        prop_assert!(!other.decapsulate(&ct, &ctx).unwrap().ct_eq(&sent));
        let seed = dk.expose_seed().unwrap();
        let again = DecapsulationKey::from_seed(suite, seed).unwrap();
        prop_assert_eq!(again.encapsulation_key(), dk.encapsulation_key());
        let read = EncapsulationKey::from_bytes(suite, dk.encapsulation_key().as_bytes()).unwrap();
        prop_assert_eq!(&read, dk.encapsulation_key());
    }
}

#[test]
fn every_bit_of_an_envelope_counts() {
    let mut rng = ChaCha12Rng::seed_from_u64(5);
    let dek = Dek::new(b"k").unwrap();
    let id = || KeyId::new("id").unwrap();
    let suite = HybridSuite::MlKem768X25519;
    let dk = DecapsulationKey::generate(suite, &mut rng);
    let header = EnvelopeHeader::new(TIER, suite, id()).unwrap();
    let sealed = Envelope::seal(header, dk.encapsulation_key(), &dek, &mut rng).unwrap();
    let vault = VaultKey::generate(&mut rng);
    let header = EnvelopeHeader::vault(TIER, id());
    let stored = Envelope::seal_vault(header, &vault, &dek, &mut rng).unwrap();
    for bytes in [sealed.to_bytes(), stored.to_bytes()] {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(envelope) = Envelope::from_bytes(&flipped) {
                assert_eq!(envelope.open(&dk).unwrap_err(), Error::Decrypt, "bit {bit}");
                assert_eq!(envelope.open_vault(&vault).unwrap_err(), Error::Decrypt, "bit {bit}");
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Challenge,
    Release { session: usize, good: bool },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Challenge),
        5 => (0..6_usize, any::<bool>()).prop_map(|(session, good)| Step::Release { session, good }),
        2 => (0..45_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(config(48))]

    /// The broker against a small reference: who is live, who is consumed, who has expired, in any interleaving.
    #[test]
    fn a_challenge_yields_at_most_one_release(steps in vec(step(), 1..16)) {
        const TTL: u64 = 60;
        let mut world = World::new(9, 1);
        let mut messages = Vec::new();
        // Session index -> (end, consumed); an entry goes away at the first challenge after its end.
        let mut model: HashMap<usize, (u64, bool)> = HashMap::new();
        let mut releases: HashMap<usize, u32> = HashMap::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Wait(seconds) => now += seconds,
                Step::Challenge => {
                    let mut session = world.session(time(now));
                    let report_data = session.binding().report_data;
                    let good = session.evidence(vec![item(&report_data)]).unwrap();
                    let bad = session.evidence(vec![item(&[0; 64])]).unwrap();
                    model.retain(|_, (end, _)| *end > now);
                    model.insert(messages.len(), (now + TTL, false));
                    messages.push((good, bad));
                }
                Step::Release { session, good } => {
                    let Some((good_message, bad_message)) = messages.get(session) else { continue };
                    let message = if good { good_message } else { bad_message };
                    let got = world.broker.release(time(now), message, &mut world.rng);
                    let expected = match model.get_mut(&session) {
                        None => Err(Refusal::ChallengeUnknown),
                        Some((_, true)) => Err(Refusal::ReplayedNonce),
                        Some((end, consumed)) => {
                            *consumed = true;
                            if now >= *end {
                                Err(Refusal::ChallengeExpired)
                            } else if good {
                                Ok(())
                            } else {
                                Err(Refusal::Denied)
                            }
                        }
                    };
                    if got.is_ok() {
                        *releases.entry(session).or_default() += 1;
                    }
                    prop_assert_eq!(got.map(|_| ()).map_err(|error| error.refusal()), expected);
                }
            }
        }
        prop_assert!(releases.values().all(|count| *count == 1));
    }
}

/// No session's evidence is accepted in another, whichever part of the exchange differs.
#[test]
fn evidence_is_bound_to_request_challenge_and_key() {
    let mut world = World::new(3, 1);
    let foreign: Vec<_> = (0..3).map(|i| world.session(time(i)).binding().report_data).collect();
    for report_data in foreign {
        let mut session = world.session(time(5));
        assert_ne!(session.binding().report_data, report_data);
        let message = session.evidence(vec![item(&report_data)]).unwrap();
        let got = world.broker.release(time(5), &message, &mut world.rng);
        assert_eq!(got.unwrap_err(), KbsError::ReportDataMismatch);
    }
}
