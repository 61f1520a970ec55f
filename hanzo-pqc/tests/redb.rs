//! Stores that outlive the process: a crash between consumption and release never releases twice, and the file holds no key.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![cfg(feature = "redb")]

#[path = "support/world.rs"]
mod world;

use std::path::{Path, PathBuf};

use hanzo_pqc::attestation::UnixTime;
use hanzo_pqc::kbs::{
    Broker, ChallengeStore, Challenged, EvidenceMessage, KbsConfig, KbsError, KeyStore, Policy, Recipient,
    RedbChallengeStore, RedbFile, RedbTable, Release, Request, Session, SessionId, Taken, VaultKeyStore,
};
use hanzo_pqc::rand_core::SeedableRng;
use hanzo_pqc::{Dek, KeyId, SignatureAlgorithm, SigningKey, VaultKey};
use proptest::prelude::*;
use rand_chacha::ChaCha12Rng;
use world::{TIER, Verifier, believe, item, policy, time};

/// A file that is removed with its name.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("hanzo-pqc-{}-{name}.redb", std::process::id())));
        let _ = std::fs::remove_file(&file.0);
        file
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A key store in which the machine goes down as soon as a data key is asked for: after the consumption, before the release.
struct Crash<K> {
    store: K,
    armed: bool,
}

impl<K: KeyStore> KeyStore for Crash<K> {
    fn policy(&self, key: &KeyId) -> Result<Option<Policy>, KbsError> {
        self.store.policy(key)
    }

    fn data_key(&self, key: &KeyId, now: UnixTime) -> Result<Option<Dek>, KbsError> {
        if self.armed {
            std::panic::panic_any("power");
        }
        self.store.data_key(key, now)
    }
}

type Machine = Broker<Verifier, Crash<VaultKeyStore<RedbTable>>, RedbChallengeStore>;

fn vault() -> VaultKey {
    VaultKey::from_bytes(&[0xC5; 32])
}

/// Starts a broker over a file, as after a restart.
fn start(path: &Path, armed: bool) -> Machine {
    let database = RedbFile::open(path).unwrap();
    let store = VaultKeyStore::open(RedbTable::new(&database).unwrap(), vault());
    let sessions = RedbChallengeStore::new(&database, 1000).unwrap();
    let signer = SigningKey::from_seed(SignatureAlgorithm::MlDsa65, &[7; 32]).unwrap();
    let config = KbsConfig::new().software_evidence(true);
    Broker::new(config, signer, believe as Verifier, Crash { store, armed }, sessions).unwrap()
}

fn session(machine: &mut Machine, rng: &mut ChaCha12Rng) -> (Challenged, EvidenceMessage) {
    let request = Request::new(TIER, &[TIER.suite()], vec![KeyId::new("model").unwrap()]).unwrap();
    let recipient = Recipient::new(request, machine.verifying_key().clone()).unwrap();
    let challenge = machine.challenge(time(0), recipient.request(), rng).unwrap();
    let mut session = recipient.on_challenge(time(0), &challenge, rng).unwrap();
    let statement = item(&session.binding().report_data);
    let message = session.evidence(vec![statement]).unwrap();
    (session, message)
}

#[test]
fn a_crash_between_consumption_and_release_never_releases_twice() {
    let file = File::new("crash");
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let dek = Dek::new(&[0x5A; 32]).unwrap();
    let mut machine = start(&file.0, false);
    machine.keys_mut().store.put(KeyId::new("model").unwrap(), &dek, policy(), &mut rng).unwrap();
    let (burnt, first) = session(&mut machine, &mut rng);
    let (opened, second) = session(&mut machine, &mut rng);
    drop(machine);

    // It goes down in the middle of the first release.
    let mut machine = start(&file.0, true);
    let mut lost = rng.clone();
    let crash = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.release(time(1), &first, &mut lost)));
    assert_eq!(*crash.unwrap_err().downcast::<&str>().unwrap(), "power");
    drop(machine);

    // After the restart the first challenge is burnt, the second still good, once, over another restart too.
    let mut machine = start(&file.0, false);
    assert_eq!(machine.release(time(1), &first, &mut rng).unwrap_err(), KbsError::ReplayedNonce);
    let release: Release = machine.release(time(1), &second, &mut rng).unwrap();
    assert!(opened.open(&release).unwrap()[0].1.ct_eq(&dek));
    assert!(burnt.open(&release).is_err());
    drop(machine);
    let mut machine = start(&file.0, false);
    for message in [&first, &second] {
        assert_eq!(machine.release(time(1), message, &mut rng).unwrap_err(), KbsError::ReplayedNonce);
    }
}

/// The file as it lay on disk the moment the crash came, byte for byte, on another machine.
#[test]
fn a_copy_of_the_file_in_the_moment_of_the_crash() {
    let (file, copy) = (File::new("original"), File::new("copy"));
    let mut rng = ChaCha12Rng::seed_from_u64(2);
    let dek = Dek::new(&[0x5A; 32]).unwrap();
    let mut machine = start(&file.0, false);
    machine.keys_mut().store.put(KeyId::new("model").unwrap(), &dek, policy(), &mut rng).unwrap();
    let (_, message) = session(&mut machine, &mut rng);
    drop(machine);
    let mut machine = start(&file.0, true);
    let mut lost = rng.clone();
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.release(time(1), &message, &mut lost)));
    // Neither closed nor told: the database is still open here.
    std::fs::copy(&file.0, &copy.0).unwrap();
    let mut other = start(&copy.0, false);
    assert_eq!(other.release(time(1), &message, &mut rng).unwrap_err(), KbsError::ReplayedNonce);
}

#[test]
fn the_file_holds_no_key() {
    let file = File::new("secrets");
    let mut rng = ChaCha12Rng::seed_from_u64(3);
    let secret = *b"a data key of thirty-two bytes!!";
    let key = KeyId::new("model").unwrap();
    let mut machine = start(&file.0, false);
    let store = &mut machine.keys_mut().store;
    store.put(key.clone(), &Dek::new(&secret).unwrap(), policy(), &mut rng).unwrap();
    store.rotate(&key, &Dek::new(&secret).unwrap(), time(9), &mut rng).unwrap();
    drop(machine);
    let bytes = std::fs::read(&file.0).unwrap();
    assert!(bytes.windows(5).any(|window| window == b"model"), "names stand there");
    for needle in [&secret[..], &secret[..16], &[0xC5; 32]] {
        assert!(!bytes.windows(needle.len()).any(|window| window == needle));
    }
    // Another vault key opens nothing, and what was stored is there after a restart.
    let database = RedbFile::open(&file.0).unwrap();
    let table = RedbTable::new(&database).unwrap();
    let wrong = VaultKeyStore::open(table.clone(), VaultKey::from_bytes(&[0; 32]));
    assert!(wrong.data_key(&key, time(0)).is_err());
    let right = VaultKeyStore::open(table, vault());
    assert_eq!(right.data_key(&key, time(0)).unwrap().unwrap().expose_bytes(), secret);
}

#[test]
fn full_and_forgotten_sessions() {
    let file = File::new("full");
    let database = RedbFile::open(&file.0).unwrap();
    let mut rng = ChaCha12Rng::seed_from_u64(4);
    let signer = SigningKey::from_seed(SignatureAlgorithm::MlDsa65, &[7; 32]).unwrap();
    let store = VaultKeyStore::open(RedbTable::new(&database).unwrap(), vault());
    let sessions = RedbChallengeStore::new(&database, 2).unwrap();
    let config = KbsConfig::new().software_evidence(true);
    let mut machine =
        Broker::new(config, signer, believe as Verifier, Crash { store, armed: false }, sessions).unwrap();
    let request = Request::new(TIER, &[TIER.suite()], vec![KeyId::new("model").unwrap()]).unwrap();
    assert!(machine.challenge(time(0), &request, &mut rng).is_ok());
    assert!(machine.challenge(time(1), &request, &mut rng).is_ok());
    assert_eq!(machine.challenge(time(59), &request, &mut rng), Err(KbsError::Busy));
    assert!(machine.challenge(time(60), &request, &mut rng).is_ok());
    assert_eq!(machine.challenge(time(60), &request, &mut rng), Err(KbsError::Busy));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    /// Over any order of insertions, consumptions and restarts, the durable store answers as the one in memory.
    #[test]
    fn as_the_store_in_memory(steps in proptest::collection::vec((0..3_u8, 0..4_u8, 0..3_u64), 1..20), seed in any::<u64>()) {
        let file = File::new(&format!("model-{seed:x}"));
        let open = || RedbChallengeStore::new(&RedbFile::open(&file.0).unwrap(), 3).unwrap();
        let mut durable = Some(open());
        let mut memory = hanzo_pqc::kbs::MemoryChallengeStore::with_limit(3);
        let mut world = world::World::new(1, 1);
        let recipient = world.recipient();
        let issued: Vec<_> = (0..4)
            .map(|i| world.broker.challenge(time(i), recipient.request(), &mut world.rng).unwrap())
            .collect();
        let mut now = 0;
        for (step, which, later) in steps {
            now += later * 20;
            let challenge = &issued[usize::from(which)];
            let store = durable.as_mut().unwrap();
            match step {
                0 => {
                    let session = Session { request: recipient.request().clone(), challenge: challenge.clone() };
                    prop_assert_eq!(store.insert(time(now), session.clone()), memory.insert(time(now), session));
                }
                1 => {
                    let unknown = SessionId::from_bytes([0xEE; 16]);
                    prop_assert_eq!(store.take(unknown), Ok(Taken::Unknown));
                    prop_assert_eq!(store.take(challenge.session()), memory.take(challenge.session()));
                }
                _ => {
                    // The file is closed before it is opened again.
                    drop(durable.take());
                    durable = Some(open());
                }
            }
        }
    }
}
