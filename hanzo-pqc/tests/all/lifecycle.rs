//! Versions of keys, revocation, vault rotation, the audit log and admission.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Arc, Mutex};

use crate::support::world::{TIER, World, item, policy, time};
use hanzo_pqc::kbs::{
    AuditEvent, AuditKind, AuditLog, AuditRecord, KbsConfig, KbsError, KeyRateLimit, KeyStore, MemoryChallengeStore,
    MemoryKeyStore, Recipient, Refusal, Request,
};
use hanzo_pqc::rand_core::SeedableRng;
use hanzo_pqc::{Dek, Error, KeyId, VaultKey};
use proptest::prelude::*;
use rand_chacha::ChaCha12Rng;

fn name(text: &str) -> KeyId {
    KeyId::new(text).unwrap()
}

/// Asks the world's broker for a key by name.
fn ask(world: &mut World, key: &str, at: u64) -> Result<Dek, KbsError> {
    let request = Request::new(TIER, &[TIER.suite()], vec![name(key)]).unwrap();
    let recipient = Recipient::new(request, world.pinned.clone()).unwrap();
    let challenge = world.broker.challenge(time(at), recipient.request(), &mut world.rng)?;
    let mut session = recipient.on_challenge(time(at), &challenge, &mut world.rng).unwrap();
    let statement = item(&session.binding().report_data);
    let message = session.evidence(vec![statement]).unwrap();
    let release = world.broker.release(time(at), &message, &mut world.rng)?;
    Ok(session.open(&release).unwrap().remove(0).1)
}

#[test]
fn versions_retire_and_are_revoked() {
    let mut world = World::new(1, 1);
    let key = world.keys[0].clone();
    let second = Dek::generate(&mut world.rng);
    let store = world.broker.keys_mut();
    assert_eq!(store.rotate(&key, &second, time(100), &mut ChaCha12Rng::seed_from_u64(9)), Ok(2));
    let first = Dek::new(world.deks[0].expose_bytes()).unwrap();
    let is = |got: Result<Dek, KbsError>, want: &Dek| got.is_ok_and(|dek| dek.ct_eq(want));
    assert!(is(ask(&mut world, "tenant-7/model-0", 0), &second));
    assert!(is(ask(&mut world, "tenant-7/model-0@2", 0), &second));
    assert!(is(ask(&mut world, "tenant-7/model-0@1", 99), &first));
    for missing in ["tenant-7/model-0@1", "tenant-7/model-0@3", "tenant-7/model-0@4294967295"] {
        let got = ask(&mut world, missing, 100).map(|_| ());
        assert_eq!(got, Err(KbsError::KeyNotFound { key: name(missing) }));
    }
    // Not a version: another name, which has no policy.
    for other in ["tenant-7/model-0@01", "tenant-7/model-0@", "tenant-7/model-0@4294967296", "@1"] {
        let got = ask(&mut world, other, 100).map(|_| ());
        assert_eq!(got, Err(KbsError::PolicyDenied { key: name(other), tag: 0 }));
    }
    let third = Dek::generate(&mut world.rng);
    let store = world.broker.keys_mut();
    assert_eq!(store.rotate(&key, &third, time(1000), &mut ChaCha12Rng::seed_from_u64(9)), Ok(3));
    store.revoke_version(&key, 2).unwrap();
    assert_eq!(store.revoke_version(&key, 9), Err(KbsError::KeyNotFound { key: key.clone() }));
    let got = ask(&mut world, "tenant-7/model-0@2", 100).map(|_| ()).unwrap_err();
    assert!(matches!(got, KbsError::KeyRevoked { .. }) && got.refusal() == Refusal::Denied);
    assert!(is(ask(&mut world, "tenant-7/model-0", 100), &third));
}

#[test]
fn revocation_binds_challenges_issued_before_it_and_leaves_a_tombstone() {
    let mut world = World::new(1, 1);
    let key = world.keys[0].clone();
    let mut session = world.session(time(0));
    let statement = item(&session.binding().report_data);
    let message = session.evidence(vec![statement]).unwrap();
    world.broker.keys_mut().revoke(&key).unwrap();
    let revoked = KbsError::KeyRevoked { key: key.clone() };
    assert_eq!(world.broker.release(time(0), &message, &mut world.rng).unwrap_err(), revoked);
    let dek = Dek::generate(&mut world.rng);
    let mut rng = ChaCha12Rng::seed_from_u64(9);
    let store = world.broker.keys_mut();
    assert_eq!(store.put(key.clone(), &dek, policy(), &mut rng), Err(revoked.clone()));
    assert_eq!(store.rotate(&key, &dek, time(0), &mut rng), Err(revoked.clone()));
    assert_eq!(store.set_policy(&key, policy()), Err(revoked.clone()));
    assert_eq!(store.revoke(&key), Err(revoked));
    assert_eq!(store.wrapped(&key), Ok(None));
}

#[test]
fn names_that_look_like_versions() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let mut store = MemoryKeyStore::new(VaultKey::generate(&mut rng));
    let dek = Dek::generate(&mut rng);
    for key in ["a@1", &"a".repeat(245)] {
        let key = name(key);
        assert_eq!(store.put(key.clone(), &dek, policy(), &mut rng), Err(KbsError::ReservedKeyId { key }));
    }
    for key in ["a@0", "a@b", "@", &"a".repeat(244)] {
        assert_eq!(store.put(name(key), &dek, policy(), &mut rng), Ok(()));
        assert!(store.data_key(&name(key), time(0)).unwrap().unwrap().ct_eq(&dek));
    }
}

#[test]
fn a_new_vault_key_while_keys_are_released() {
    let mut world = World::new(1, 5);
    let (new, newer) = (VaultKey::generate(&mut world.rng), VaultKey::generate(&mut world.rng));
    let before: Vec<_> = world.keys.iter().map(|key| world.broker.keys().wrapped(key).unwrap()).collect();
    world.broker.keys_mut().rotate_vault(new).unwrap();
    let (error, newer) = world.broker.keys_mut().rotate_vault(newer).unwrap_err();
    assert_eq!(error, KbsError::Busy);
    let mut rng = ChaCha12Rng::seed_from_u64(3);
    assert_eq!(world.broker.keys_mut().rewrap(3, &mut rng), Ok(false));
    for key in ["tenant-7/model-0", "tenant-7/model-4"] {
        assert!(ask(&mut world, key, 0).is_ok(), "{key} half way");
    }
    assert_eq!(world.broker.keys_mut().rewrap(3, &mut rng), Ok(true));
    assert_eq!(world.broker.keys_mut().rewrap(3, &mut rng), Ok(true));
    for (i, key) in world.keys.clone().iter().enumerate() {
        assert_ne!(world.broker.keys().wrapped(key).unwrap(), before[i]);
        let text = format!("tenant-7/model-{i}");
        assert!(ask(&mut world, &text, 0).unwrap().ct_eq(&world.deks[i]));
    }
    assert!(world.broker.keys_mut().rotate_vault(newer).is_ok());
}

/// A log whose records can be looked at.
fn log() -> (AuditLog, Arc<Mutex<Vec<AuditRecord>>>) {
    let records = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&records);
    let log = AuditLog::new(move |record: &AuditRecord| {
        sink.lock().unwrap().push(record.clone());
        Ok(())
    });
    (log, records)
}

#[test]
fn every_answer_is_recorded_before_it_is_given() {
    let mut world = World::new(1, 1);
    let (log, records) = log();
    world.broker = world.broker.with_audit(log);
    assert!(ask(&mut world, "tenant-7/model-0", 0).is_ok());
    assert!(ask(&mut world, "unknown", 1).is_err());
    let event = AuditEvent::of_keys(Revoke, world.keys.clone());
    world.broker.audit_mut().unwrap().append(time(2), event).unwrap();
    let records = records.lock().unwrap().clone();
    let kinds: Vec<_> = records.iter().map(|record| record.event().kind).collect();
    use AuditKind::{Challenge, Denial, Release, Revoke};
    assert_eq!(kinds, [Challenge, Release, Challenge, Denial, Revoke]);
    assert_eq!(records[1].event().digests.len(), 3);
    assert_eq!(&*records[3].event().detail, "policy of unknown denies at tag 0, no policy");
    assert_eq!(records[3].event().session, records[2].event().session);
    assert_eq!((records[3].sequence(), records[3].at()), (3, time(1)));
    let head = *world.broker.audit_mut().unwrap().head();
    assert_eq!(AuditLog::verify(&records), Ok(head));
    for record in &records {
        let bytes = record.to_bytes();
        assert_eq!(AuditRecord::from_bytes(&bytes).as_ref(), Ok(record));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(AuditRecord::from_bytes(&changed).map_or(true, |changed| changed.digest() != record.digest()));
        }
    }
    for gone in 0..records.len() {
        let mut cut = records.clone();
        cut.remove(gone);
        let got = AuditLog::verify(&cut);
        assert!(got.is_err() || got != Ok(head), "record {gone} removed");
        assert_eq!(got.is_ok(), gone + 1 == records.len());
    }
    let mut resumed = AuditLog::resume(&records[4], |_: &AuditRecord| Ok(()));
    assert_eq!(*resumed.head(), head);
    assert!(resumed.append(time(3), AuditEvent::of_keys(AuditKind::Put, vec![])).is_ok());
    let many = AuditEvent::of_keys(AuditKind::Put, vec![name("k"); 17]);
    assert!(matches!(resumed.append(time(3), many), Err(KbsError::Crypto(Error::TooLong { .. }))));
}

#[test]
fn without_its_record_nothing_is_released() {
    let mut world = World::new(1, 1);
    let mut left = 1;
    world.broker = world.broker.with_audit(AuditLog::new(move |_: &AuditRecord| {
        left -= 1;
        if left >= 0 { Ok(()) } else { Err(KbsError::StoreUnavailable) }
    }));
    assert_eq!(ask(&mut world, "tenant-7/model-0", 0).map(|_| ()), Err(KbsError::StoreUnavailable));
}

#[test]
fn a_request_over_the_rate_is_busy() {
    let limit = || KeyRateLimit::new(NonZeroU32::new(2).unwrap(), NonZeroU64::new(10).unwrap());
    let mut world = World::new(1, 2);
    world.broker = world.broker.with_admission(limit());
    let key = |i: usize| ["tenant-7/model-0", "tenant-7/model-1"][i];
    assert!(ask(&mut world, key(0), 0).is_ok() && ask(&mut world, key(0), 0).is_ok());
    assert_eq!(ask(&mut world, key(0), 9).map(|_| ()), Err(KbsError::Busy));
    assert!(ask(&mut world, key(1), 9).is_ok(), "another key has its own");
    assert!(ask(&mut world, key(0), 10).is_ok());
    // Both keys together need both buckets, and a no takes from none.
    let both = Request::new(TIER, &[TIER.suite()], world.keys.clone()).unwrap();
    assert_eq!(world.broker.challenge(time(10), &both, &mut world.rng), Err(KbsError::Busy));
    assert!(ask(&mut world, key(1), 10).is_ok());
    let mut shut = World::with(1, 1, KbsConfig::new(), MemoryChallengeStore::new());
    shut.broker = shut.broker.with_admission(|_: &Request, _| false);
    assert_eq!(ask(&mut shut, key(0), 0).map(|_| ()), Err(KbsError::Busy));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// In any order of rotations, revocations and time, a version is released exactly while a plain list says so.
    #[test]
    fn versions_against_a_list(steps in proptest::collection::vec((0..4_u8, 1..6_u32, 0..40_u64), 1..25)) {
        let mut rng = ChaCha12Rng::seed_from_u64(5);
        let mut store = MemoryKeyStore::new(VaultKey::generate(&mut rng));
        let key = name("k");
        let mut deks = vec![Dek::generate(&mut rng)];
        store.put(key.clone(), &deks[0], policy(), &mut rng).unwrap();
        // For each version: until when it is released; `None` once revoked.
        let mut model = vec![Some(u64::MAX)];
        let mut dead = false;
        for (step, number, at) in steps {
            match step {
                0 => {
                    let dek = Dek::generate(&mut rng);
                    let got = store.rotate(&key, &dek, time(at), &mut rng);
                    prop_assert_eq!(got.is_ok(), !dead);
                    if !dead {
                        for until in model.iter_mut().flatten().filter(|until| **until == u64::MAX) {
                            *until = at;
                        }
                        model.push(Some(u64::MAX));
                        deks.push(dek);
                    }
                }
                1 => {
                    let got = store.revoke_version(&key, number);
                    let known = model.len() >= number as usize;
                    prop_assert_eq!(got.is_ok(), known && !dead);
                    if known {
                        model[number as usize - 1] = None;
                    }
                }
                2 if number == 5 && at < 8 => {
                    dead = store.revoke(&key).is_ok() || dead;
                }
                _ => {}
            }
            for (i, until) in model.iter().enumerate() {
                let got = store.data_key(&name(&format!("k@{}", i + 1)), time(at));
                let open = !dead && until.is_some_and(|until| at < until);
                prop_assert_eq!(got.as_ref().is_ok_and(|dek| dek.as_ref().is_some_and(|dek| dek.ct_eq(&deks[i]))), open);
            }
            let bare = store.data_key(&key, time(at));
            let active = model.iter().rposition(|until| *until == Some(u64::MAX)).filter(|_| !dead);
            let got = bare.ok().flatten().map(|dek| deks.iter().position(|other| other.ct_eq(&dek)).unwrap());
            prop_assert_eq!(got, active);
        }
    }
}
