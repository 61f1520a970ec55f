//! Stores that outlive the process: a crash between consumption and release never releases twice, and the file holds no key.

use crate::support::world;

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::support::world::{TIER, Verifier, believe, item, policy, time};
use hanzo_pqc::attestation::UnixTime;
use hanzo_pqc::kbs::{
    Broker, ChallengeStore, Challenged, EvidenceMessage, KbsConfig, KbsError, KeyStore, Policy, Recipient,
    RedbChallengeStore, RedbFile, RedbTable, Refusal, Release, Request, Session, SessionId, Taken, VaultKeyStore,
};
use hanzo_pqc::rand_core::SeedableRng;
use hanzo_pqc::{Dek, KeyId, SignatureAlgorithm, SigningKey, VaultKey};
use proptest::prelude::*;
use rand_chacha::ChaCha12Rng;

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

/// Opens a file that may just have been closed: while another test of this program starts a process, that one holds what was open here.
fn open_file(path: &Path) -> RedbFile {
    let mut tries = (0..200).map(|_| RedbFile::open(path).inspect_err(|_| sleep(Duration::from_millis(10))));
    tries.find_map(Result::ok).expect("nobody else has it open")
}

fn vault() -> VaultKey {
    VaultKey::from_bytes(&[0xC5; 32])
}

/// Starts a broker over a file, as after a restart.
fn start(path: &Path, armed: bool) -> Machine {
    let database = open_file(path);
    let store = VaultKeyStore::open(RedbTable::new(&database).unwrap(), vault());
    let sessions = RedbChallengeStore::new(&database, 1000).unwrap();
    let signer = SigningKey::from_seed(SignatureAlgorithm::MlDsa65, &[7; 32]).unwrap();
    let config = KbsConfig::new().software_evidence(true);
    Broker::new(config, signer, believe as Verifier, Crash { store, armed }, sessions).unwrap()
}

fn session(machine: &mut Machine, rng: &mut ChaCha12Rng) -> (Challenged, EvidenceMessage) {
    session_at(machine, rng, 0, 0)
}

/// A session between a broker whose clock says `clock` and a recipient whose clock says `now`.
fn session_at(machine: &mut Machine, rng: &mut ChaCha12Rng, clock: u64, now: u64) -> (Challenged, EvidenceMessage) {
    let request = Request::new(TIER, &[TIER.suite()], vec![KeyId::new("model").unwrap()]).unwrap();
    let recipient = Recipient::new(request, machine.verifying_key().clone()).unwrap();
    let challenge = machine.challenge(time(clock), recipient.request(), rng).unwrap();
    let mut session = recipient.on_challenge(time(now), &challenge, rng).unwrap();
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

#[test]
fn a_clock_set_back_over_a_restart_revives_nothing() {
    let file = File::new("clock");
    let mut rng = ChaCha12Rng::seed_from_u64(3);
    let mut machine = start(&file.0, false);
    let dek = Dek::new(&[0x5A; 32]).unwrap();
    machine.keys_mut().store.put(KeyId::new("model").unwrap(), &dek, policy(), &mut rng).unwrap();
    let (_, early) = session_at(&mut machine, &mut rng, 0, 0);
    let (_, late) = session_at(&mut machine, &mut rng, 30, 30);
    machine.release(time(65), &late, &mut rng).unwrap();
    drop(machine);
    let mut machine = start(&file.0, false);
    assert_eq!(machine.release(time(10), &early, &mut rng).unwrap_err(), KbsError::ChallengeExpired);
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
    let database = open_file(&file.0);
    let table = RedbTable::new(&database).unwrap();
    let wrong = VaultKeyStore::open(table.clone(), VaultKey::from_bytes(&[0; 32]));
    assert!(wrong.data_key(&key, time(0)).is_err());
    let right = VaultKeyStore::open(table, vault());
    assert_eq!(right.data_key(&key, time(0)).unwrap().unwrap().expose_bytes(), secret);
}

#[test]
fn full_and_forgotten_sessions() {
    let file = File::new("full");
    let database = open_file(&file.0);
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
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Over any order of insertions, consumptions and restarts, the durable store answers as the one in memory.
    #[test]
    fn as_the_store_in_memory(steps in proptest::collection::vec((0..3_u8, 0..4_u8, 0..3_u64), 1..20), seed in any::<u64>()) {
        let file = File::new(&format!("model-{seed:x}"));
        let open = || RedbChallengeStore::new(&open_file(&file.0), 3).unwrap();
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
                    prop_assert_eq!(store.take(time(now), unknown), Ok(Taken::Unknown));
                    prop_assert_eq!(store.take(time(now), challenge.session()), memory.take(time(now), challenge.session()));
                }
                _ => {
                    // The file is closed before it is opened again.
                    drop(durable.take());
                    durable = Some(open());
                }
            }
            prop_assert_eq!(durable.as_ref().unwrap().latest(), memory.latest());
        }
    }

    /// A broker over a file against a small reference, in any order of challenges, answers, replays, restarts, crashes in the middle of a release, changes of the policy and
    /// jumps of the clock, forward and back: a key comes out only for the one answer to a live challenge, while the policy admits it, and never twice.
    #[test]
    fn whatever_happens_a_challenge_yields_at_most_one_release(
        steps in proptest::collection::vec(step(), 1..24),
        seed in any::<u64>(),
    ) {
        const TTL: u64 = 60;
        let file = File::new(&format!("story-{seed:x}"));
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let key = KeyId::new("model").unwrap();
        let dek = Dek::new(&[0x5A; 32]).unwrap();
        let mut machine = start(&file.0, false);
        machine.keys_mut().store.put(key.clone(), &dek, policy(), &mut rng).unwrap();
        let mut issued: Vec<Issued> = Vec::new();
        let (mut clock, mut latest, mut admits) = (0_u64, 0_u64, true);
        for step in steps {
            match step {
                Step::Clock(by) => clock = clock.saturating_add_signed(by),
                Step::Policy(on) => {
                    let new = if on { policy() } else { Policy::builder().build().unwrap() };
                    prop_assert!(machine.keys_mut().store.set_policy(&key, new).is_ok());
                    admits = on;
                }
                Step::Restart => {
                    drop(machine);
                    machine = start(&file.0, false);
                }
                Step::Challenge => {
                    let now = latest.max(clock);
                    let (challenged, good) = session_at(&mut machine, &mut rng, clock, now);
                    let bad = EvidenceMessage::new(good.session(), good.encapsulation_key(), vec![item(&[0; 64])]);
                    latest = now;
                    for old in &mut issued {
                        old.forgotten |= old.end <= now;
                    }
                    let end = now + TTL;
                    issued.push(Issued {
                        challenged: Some(challenged), good, bad: bad.unwrap(), end, used: false, forgotten: false,
                    });
                }
                Step::Answer { which, good, crash } => {
                    let Some(session) = issued.get_mut(which) else { continue };
                    let message = if good { &session.good } else { &session.bad };
                    let now = latest.max(clock);
                    let live = !session.forgotten && !session.used;
                    machine.keys_mut().armed = crash;
                    let got = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        machine.release(time(clock), message, &mut rng)
                    }));
                    machine.keys_mut().armed = false;
                    if live {
                        session.used = true;
                        latest = now;
                    }
                    let released = live && now < session.end && good && admits;
                    match got {
                        Ok(Ok(release)) => {
                            prop_assert!(released && !crash);
                            let opened = session.challenged.take().unwrap().open(&release).unwrap();
                            prop_assert!(opened[0].1.ct_eq(&dek));
                        }
                        Ok(Err(error)) => {
                            prop_assert!(!released);
                            let expected = match (session.forgotten, live, now < session.end) {
                                (true, ..) => Refusal::ChallengeUnknown,
                                (_, false, _) => Refusal::ReplayedNonce,
                                (_, _, false) => Refusal::ChallengeExpired,
                                _ => Refusal::Denied,
                            };
                            prop_assert_eq!(error.refusal(), expected);
                        }
                        Err(_) => {
                            prop_assert!(released && crash);
                            drop(machine);
                            machine = start(&file.0, false);
                        }
                    }
                }
            }
        }
    }
}

/// A challenge of the story, its good and its bad answer, and what became of it.
struct Issued {
    /// Until its release was opened.
    challenged: Option<Challenged>,
    good: EvidenceMessage,
    bad: EvidenceMessage,
    end: u64,
    used: bool,
    forgotten: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Challenge,
    Answer { which: usize, good: bool, crash: bool },
    Restart,
    Policy(bool),
    Clock(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Challenge),
        6 => (0..6_usize, prop::bool::weighted(0.8), prop::bool::weighted(0.2))
            .prop_map(|(which, good, crash)| Step::Answer { which, good, crash }),
        2 => Just(Step::Restart),
        1 => any::<bool>().prop_map(Step::Policy),
        3 => (-90..90_i64).prop_map(Step::Clock),
    ]
}
