//! The journal of a ledger: fixed bytes, cuts and changes anywhere, snapshots, replay.

use hanzo_metering::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

type Live = Journaled<Ledger, MemoryStore>;

fn t(ns: u64) -> Timestamp {
    Timestamp::from_nanos(ns)
}

/// One random call; every kind of call, errors included.
fn step(live: &mut Live, rng: &mut SmallRng, now: Timestamp) {
    let account = |rng: &mut SmallRng| AccountId::new(rng.random_range(1..9));
    let mode = live.state().id_mode();
    let id = |live: &Live, rng: &mut SmallRng| match mode {
        IdMode::Any => TransferId::new(rng.random_range(1..1 << 40)),
        IdMode::Sequenced => {
            let source = rng.random_range(0..2);
            let used = |&n: &u64| {
                let id = TransferId::sequenced(source, n);
                live.state().transfer(id).is_some() || live.state().is_refused(id)
            };
            let next = (1..).find(|n| !used(n)).unwrap();
            // Now and then one that is known, or leaves a gap.
            TransferId::sequenced(
                source,
                if rng.random_range(0..9) == 0 { rng.random_range(1..next + 3) } else { next },
            )
        }
    };
    let known = |live: &Live, rng: &mut SmallRng| {
        let all = live.state().len();
        let at = rng.random_range(all.saturating_sub(30)..all.max(1));
        live.state().transfers().nth(at).map_or(TransferId::new(77), |e| e.transfer.id)
    };
    let one = |live: &Live, rng: &mut SmallRng| {
        let new = id(live, rng);
        let (a, b, amount) = (account(rng), account(rng), rng.random_range(0..90));
        match rng.random_range(0..6) {
            0..2 => Transfer::new(new, a, b, amount).with_code(3),
            2 => Transfer::new(new, a, b, amount).balancing(),
            3 => Transfer::pending(new, a, b, amount, rng.random_range(0..60)),
            4 => Transfer::post(new, known(live, rng), (amount > 30).then_some(amount / 3)),
            _ => Transfer::void(new, known(live, rng)),
        }
    };
    match rng.random_range(0..20) {
        0 => drop(live.open(now, NewAccount::new(account(rng), 1))),
        1 => {
            let flag = AccountFlag::DebitsLeCredits;
            drop(live.open(now, NewAccount { flag, credit_limit: 40, ..NewAccount::new(account(rng), 1) }));
        }
        2 => drop(live.hold(now, known(live, rng))),
        3 => drop(live.release_hold(now, known(live, rng))),
        4 => {
            let state = [AccountState::Active, AccountState::Active, AccountState::Frozen][rng.random_range(0..3)];
            drop(live.set_state(now, account(rng), state));
        }
        5 => drop(live.advance(now)),
        6 => {
            let legs: Vec<Transfer> = (0..rng.random_range(1..5)).map(|_| one(live, rng)).collect();
            drop(live.apply_linked(now, &legs));
        }
        7 => {
            let batch: Vec<Transfer> = (0..rng.random_range(1..5)).map(|_| one(live, rng)).collect();
            live.apply_batch(now, &batch, &mut Vec::new()).unwrap();
        }
        _ => drop(live.apply(now, &one(live, rng))),
    }
}

fn history(seed: u64, steps: usize, mode: IdMode) -> (Live, Timestamp) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut live = Journaled::new(Ledger::with_ids(mode, 1), MemoryStore::default());
    let mut now = 0;
    for _ in 0..steps {
        now += rng.random_range(0..4);
        step(&mut live, &mut rng, t(now));
    }
    (live, t(now))
}

fn again(mode: IdMode, store: MemoryStore) -> Result<(Live, usize), RecoverError<std::convert::Infallible>> {
    Journaled::recover(Ledger::with_ids(mode, 2), store)
}

#[test]
fn replay_is_the_live_state() {
    for (seed, mode) in [(1, IdMode::Any), (2, IdMode::Sequenced), (3, IdMode::Any), (4, IdMode::Sequenced)] {
        let (mut live, now) = history(seed, 4_000, mode);
        live.advance(now).unwrap();
        let (mut replayed, torn) = again(mode, live.store().clone()).unwrap();
        assert_eq!(torn, 0);
        assert!(replayed.state().now() <= live.state().now());
        replayed.advance(now).unwrap();
        assert_eq!(replayed.state().snapshot(), live.state().snapshot(), "seed {seed}");
        assert_eq!(replayed.hash(), live.hash());
        assert_eq!(replayed.state().audit(), live.state().audit());
        assert!(replayed.state().transfers().len() > 300, "seed {seed}: {}", replayed.state().len());
        // And both go on alike.
        let (mut a, mut b) = (SmallRng::seed_from_u64(99), SmallRng::seed_from_u64(99));
        for i in 1..500 {
            step(&mut live, &mut a, t(now.as_nanos() + i));
            step(&mut replayed, &mut b, t(now.as_nanos() + i));
        }
        assert_eq!(replayed.hash(), live.hash());
    }
}

#[test]
fn a_snapshot_and_the_tail_are_replay_of_everything() {
    for mode in [IdMode::Any, IdMode::Sequenced] {
        let mut rng = SmallRng::seed_from_u64(5);
        let mut live = Journaled::new(Ledger::with_ids(mode, 1), MemoryStore::default());
        for i in 0..3_000 {
            if i % 700 == 699 {
                live.checkpoint().unwrap();
            }
            step(&mut live, &mut rng, t(i));
        }
        live.advance(t(3_000)).unwrap();
        let bytes = live.store().bytes().to_vec();
        let snapshot = live.store().snapshot().unwrap().to_vec();
        let mut whole = again(mode, MemoryStore::from_bytes(bytes.clone(), None)).unwrap().0;
        let mut short = again(mode, MemoryStore::from_bytes(bytes, Some(snapshot.clone()))).unwrap().0;
        for other in [&mut whole, &mut short] {
            other.advance(t(3_000)).unwrap();
            assert_eq!(other.state().snapshot(), live.state().snapshot());
            assert_eq!(other.hash(), live.hash());
        }
        // Another mode of ids cannot read it as its own unless every id happens to fit.
        let mut bad = snapshot.clone();
        for at in [0, 5, 20, 60, snapshot.len() / 2, snapshot.len() - 1] {
            bad[at] ^= 1;
            let store = MemoryStore::from_bytes(Vec::new(), Some(bad.clone()));
            assert!(matches!(again(mode, store), Err(RecoverError::Journal(_))), "byte {at}");
            bad[at] ^= 1;
        }
        for len in [0, 3, 5, 40, 77, snapshot.len() - 1] {
            let store = MemoryStore::from_bytes(Vec::new(), Some(snapshot[..len].to_vec()));
            assert!(matches!(again(mode, store), Err(RecoverError::Journal(_))), "{len} bytes");
        }
    }
}

/// State after each commit, by the length of the journal then.
fn prefixes(seed: u64, steps: u64) -> (Vec<u8>, Vec<(usize, Vec<u8>)>) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut live = Journaled::new(Ledger::new(), MemoryStore::default());
    let mut states = vec![(0, live.state().snapshot())];
    for i in 0..steps {
        step(&mut live, &mut rng, t(i));
        if live.store().bytes().len() > states[states.len() - 1].0 {
            states.push((live.store().bytes().len(), live.state().snapshot()));
        }
    }
    (live.store().bytes().to_vec(), states)
}

/// Without ledger time, which a call that changed nothing may have moved on.
fn timeless(snapshot: &[u8]) -> &[u8] {
    &snapshot[8..]
}

#[test]
fn a_crash_at_any_byte_leaves_a_prefix_of_history() {
    let (bytes, states) = prefixes(6, 120);
    for cut in 0..=bytes.len() {
        let (mut live, torn) = again(IdMode::Any, MemoryStore::from_bytes(bytes[..cut].to_vec(), None)).unwrap();
        let (len, state) = states.iter().rev().find(|s| s.0 <= cut).unwrap();
        assert_eq!(torn, cut - len);
        assert_eq!(timeless(&live.state().snapshot()), timeless(state), "cut at {cut}");
        // The torn bytes are gone, so what is written next can be read.
        live.open(t(200), NewAccount::new(AccountId::new(700), 1)).unwrap();
        let (after, torn) = again(IdMode::Any, live.into_store()).unwrap();
        assert!(torn == 0 && after.state().handle(AccountId::new(700)).is_some(), "cut at {cut}");
    }
}

#[test]
fn no_change_of_a_byte_goes_unnoticed() {
    let (bytes, states) = prefixes(7, 60);
    let last_two = states[states.len() - 2].0;
    let whole = MemoryStore::from_bytes(bytes.clone(), None);
    for at in 0..bytes.len() {
        for bit in [1, 0x80] {
            let mut bad = bytes.clone();
            bad[at] ^= bit;
            match again(IdMode::Any, MemoryStore::from_bytes(bad, None)) {
                // Only the last commit can pass for one that was torn, and is then left out.
                Ok((live, 0)) => {
                    // The time of a commit says when it was written, and nothing else.
                    let commit = states.iter().any(|s| s.0 > at && (37..=44).contains(&(s.0 - at)));
                    assert!(commit, "byte {at}");
                    assert_eq!(
                        live.state().snapshot(),
                        again(IdMode::Any, whole.clone()).unwrap().0.state().snapshot()
                    );
                }
                Ok((live, _)) => {
                    assert!(at >= last_two, "byte {at}");
                    assert_eq!(timeless(&live.state().snapshot()), timeless(&states[states.len() - 2].1));
                }
                Err(RecoverError::Journal(JournalError::Corrupt { .. })) => {}
                Err(e) => panic!("byte {at}: {e}"),
            }
        }
    }
    // A commit left out, or two in another order.
    let [a, b, c] = [10, 11, 12].map(|i: usize| states[i].0);
    let left_out = [&bytes[..a], &bytes[b..]].concat();
    let swapped = [&bytes[..a], &bytes[b..c], &bytes[a..b], &bytes[c..]].concat();
    for bad in [left_out, swapped] {
        let result = again(IdMode::Any, MemoryStore::from_bytes(bad, None));
        assert!(matches!(result, Err(RecoverError::Journal(JournalError::Corrupt { .. }))));
    }
}

#[test]
fn a_journal_of_another_ledger_diverges() {
    let (bytes, _) = prefixes(8, 200);
    // The hash chain is whole, but this ledger starts with an account that the journal opens otherwise.
    let mut other = Ledger::new();
    for id in 1..9 {
        let flag = AccountFlag::CreditsLeDebits;
        other.open(t(0), NewAccount { flag, ..NewAccount::new(AccountId::new(id), 1) }).unwrap();
    }
    let result = Journaled::recover(other, MemoryStore::from_bytes(bytes, None));
    assert!(matches!(result, Err(RecoverError::Journal(JournalError::Diverged { .. }))));
}

#[test]
fn random_bytes_do_no_harm() {
    let mut rng = SmallRng::seed_from_u64(11);
    let (bytes, _) = prefixes(9, 30);
    for _ in 0..2_000 {
        let mut bad: Vec<u8> = (0..rng.random_range(0..200)).map(|_| rng.random()).collect();
        if rng.random() {
            let from = rng.random_range(0..bytes.len());
            bad.extend_from_slice(&bytes[from..]);
        }
        let _ = Frame::decode(&bad);
        let _ = again(IdMode::Sequenced, MemoryStore::from_bytes(bad.clone(), None));
        let _ = again(IdMode::Any, MemoryStore::from_bytes(Vec::new(), Some(bad.clone())));
        let _ = Ledger::new().restore(&bad);
    }
    // A body that claims to be longer than any.
    let huge = [255, 255, 255, 255, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(Frame::decode(&huge), Err(JournalError::TooLong { len: u32::MAX as usize }));
    assert_eq!(Frame::decode(&huge[..23]), Err(JournalError::Length));
    let frame = |kind, version, zero| {
        let mut bytes = [0; 24];
        bytes[4..8].copy_from_slice(&[kind, version, zero, 0]);
        Frame::decode(&bytes).err()
    };
    assert_eq!(frame(200, 1, 0), Some(JournalError::UnknownKind { kind: 200 }));
    assert_eq!(frame(2, 2, 0), Some(JournalError::UnknownVersion { version: 2 }));
    assert_eq!(frame(2, 1, 1), Some(JournalError::Corrupt { seq: 0 }));
}

/// A store that fails, and one that fails after it has written a part.
#[derive(Debug, Default)]
struct Failing {
    bytes: Vec<u8>,
    left: usize,
}

impl JournalStore for Failing {
    type Error = &'static str;
    fn append(&mut self, commit: &[u8]) -> Result<(), Self::Error> {
        let len = commit.len().min(self.left);
        self.left -= len;
        self.bytes.extend_from_slice(&commit[..len]);
        if len == commit.len() { Ok(()) } else { Err("disk full") }
    }
    fn read_from(&self, _: u64) -> Result<Vec<u8>, Self::Error> {
        Ok(self.bytes.clone())
    }
    fn truncate(&mut self, _: u64) -> Result<(), Self::Error> {
        Ok(())
    }
    fn put_snapshot(&mut self, _: &[u8]) -> Result<(), Self::Error> {
        Err("no room")
    }
    fn latest_snapshot(&self) -> Result<Option<Vec<u8>>, Self::Error> {
        Ok(None)
    }
}

#[test]
fn what_could_not_be_stored_is_not_acknowledged() {
    let mut live = Journaled::new(Ledger::new(), Failing { bytes: Vec::new(), left: 400 });
    let mut opened = 0;
    let error = loop {
        match live.open(t(1), NewAccount::new(AccountId::new(opened + 1), 1)) {
            Ok(_) => opened += 1,
            Err(e) => break e,
        }
    };
    assert_eq!(error, JournaledError::Store("disk full"));
    assert_eq!(live.advance(t(2)), Err(JournaledError::Poisoned));
    assert_eq!(live.checkpoint(), Err(JournaledError::Poisoned));
    let (live, torn) = Journaled::recover(Ledger::new(), live.into_store()).unwrap();
    assert_eq!(live.state().accounts().count() as u128, opened);
    assert!(torn > 0);
}

/// What is left of a torn commit goes before the next is written, whatever the numbers in it say.
#[test]
fn a_damaged_tail_is_cut_off_the_store() {
    let mut live = Live::new(Ledger::new(), MemoryStore::default());
    for id in 1..5 {
        live.open(t(1), NewAccount::new(AccountId::new(id), 1)).unwrap();
    }
    let whole = live.store().bytes().to_vec();
    let second = {
        let first = Frame::decode(&whole).unwrap().1;
        first + Frame::decode(&whole[first..]).unwrap().1
    };
    let last = whole.len() - second;
    // The number of the last commit's first frame is that of the first commit, or higher than any; or it is cut in half.
    for number in [0, 3, u64::MAX - 1] {
        for end in [whole.len(), whole.len() - 1, last + Frame::HEADER + 80] {
            let mut bytes = whole[..end].to_vec();
            bytes[last + 8..last + 16].copy_from_slice(&u64::to_be_bytes(number));
            let (mut recovered, torn) = Live::recover(Ledger::new(), MemoryStore::from_bytes(bytes, None)).unwrap();
            assert_eq!(torn, end - last, "number {number}, {end} bytes");
            assert_eq!(recovered.store().bytes(), &whole[..last]);
            recovered.open(t(2), NewAccount::new(AccountId::new(9), 1)).unwrap();
            let again = MemoryStore::from_bytes(recovered.store().bytes().to_vec(), None);
            assert_eq!(Live::recover(Ledger::new(), again).unwrap().0.state().accounts().count(), 4);
        }
    }
}
