//! Tariffs, formulas, journals and snapshots.

use hanzo_metering::{
    AccountFlag, AccountId, Books, BooksConfig, Effect, FeeSchedule, Frame, Journal, Journaled, Ledger, Machine,
    MemoryStore, NewAccount, Tariff, Timestamp, Transfer, TransferId, TreasuryConfig, Weights, recover,
};

use crate::{Parser, canonical, text};

pub(crate) const PARSERS: &[Parser] = &[
    Parser { name: "metering/tariff", samples: tariffs, read: tariff, memory: 64 },
    Parser { name: "metering/formula", samples: formulas, read: formula, memory: 64 },
    Parser { name: "metering/journal", samples: journals, read: journal, memory: 64 },
    Parser { name: "metering/frames", samples: journals, read: frames, memory: 64 },
    Parser { name: "metering/ledger_snapshot", samples: ledger_snapshots, read: ledger_snapshot, memory: 64 },
    Parser { name: "metering/books_snapshot", samples: books_snapshots, read: books_snapshot, memory: 64 },
];

fn tariffs() -> Vec<Vec<u8>> {
    vec![Tariff::hanzo(1_250_000).to_bytes().to_vec()]
}

fn tariff(bytes: &[u8]) -> bool {
    canonical(bytes, Tariff::from_bytes(bytes), |tariff| tariff.to_bytes().to_vec())
}

fn formulas() -> Vec<Vec<u8>> {
    ["cpu*10.0 + mem_gb*5.0 + gpu*100.0", "gpu*1", " mem_gb * .125+cpu*4294967.295 "].map(|f| f.into()).into()
}

fn formula(bytes: &[u8]) -> bool {
    Weights::from_formula(&text(bytes)).is_ok()
}

const NOW: Timestamp = Timestamp::from_nanos(5);

/// A ledger with every kind of frame behind it.
fn ledger() -> Journaled<Ledger, MemoryStore> {
    let mut ledger = Journaled::new(Ledger::new(), MemoryStore::default());
    let (bank, ann) = (AccountId::new(1), AccountId::new(2));
    let id = TransferId::new;
    ledger.open(NOW, NewAccount::new(bank, 1)).expect("a new account");
    let wallet = NewAccount { flag: AccountFlag::DebitsLeCredits, ..NewAccount::new(ann, 1) };
    ledger.open(NOW, wallet).expect("a new account");
    ledger.apply(NOW, &Transfer::new(id(1), bank, ann, 100)).expect("the bank has no limit");
    ledger.apply(NOW, &Transfer::new(id(2), ann, bank, 101)).expect_err("a wallet has one");
    let chain = [Transfer::pending(id(3), ann, bank, 40, 10), Transfer::pending(id(4), ann, bank, 20, 0)];
    ledger.apply_linked(NOW, &chain).expect("there is cover for both");
    ledger.hold(NOW, id(4)).expect("it is open");
    ledger.advance(Timestamp::from_nanos(20)).expect("time goes on");
    let now = Timestamp::from_nanos(21);
    ledger.release_hold(now, id(4)).expect("it is held");
    ledger.apply(now, &Transfer::post(id(5), id(4), Some(7))).expect("it is open again");
    ledger
}

fn journals() -> Vec<Vec<u8>> {
    vec![ledger().store().bytes().to_vec(), Vec::new()]
}

/// What is recovered is a journal again, of the same state.
fn journal(bytes: &[u8]) -> bool {
    let store = MemoryStore::from_bytes(bytes.to_vec(), None);
    let Ok((recovered, torn)) = Journaled::recover(Ledger::new(), store) else { return false };
    let kept = recovered.store().bytes();
    assert_eq!(kept, &bytes[..bytes.len() - torn], "another journal was recovered");
    recovered.state().audit().expect("a ledger that was replayed balances");
    let again = Journaled::recover(Ledger::new(), MemoryStore::from_bytes(kept.to_vec(), None));
    let (again, torn) = again.expect("what was recovered can be recovered");
    assert_eq!((again.state().snapshot(), torn), (recovered.state().snapshot(), 0));
    true
}

/// The same without the hashes that keep damage from the frames.
fn frames(bytes: &[u8]) -> bool {
    let (mut ledger, mut rest, mut open) = (Ledger::new(), bytes, Vec::new());
    while let Ok((frame, len)) = Frame::decode(rest) {
        let mut encoded = Vec::new();
        frame.encode(&mut encoded);
        assert_eq!(encoded, rest[..len], "a frame comes out otherwise");
        rest = &rest[len..];
        if frame.kind != hanzo_metering::FrameKind::Commit {
            open.push(frame);
        } else if ledger.replay(&open).is_ok() {
            ledger.audit().expect("a ledger that was replayed balances");
            open.clear();
        } else {
            return false;
        }
    }
    // An unfinished commit at the end is no error to the reader of a journal.
    let found = recover(bytes, &mut Journal::new(), |_| Ok(()));
    rest.is_empty() && open.is_empty() && found.is_ok()
}

fn ledger_snapshots() -> Vec<Vec<u8>> {
    vec![ledger().state().snapshot(), Ledger::new().snapshot()]
}

fn ledger_snapshot(bytes: &[u8]) -> bool {
    let Ok(ledger) = Ledger::new().restore(bytes) else { return false };
    ledger.audit().expect("a ledger that was restored balances");
    let again = Ledger::new().restore(&ledger.snapshot()).expect("its snapshot can be restored");
    assert_eq!(again.snapshot(), ledger.snapshot());
    true
}

fn books() -> Books {
    Books::new(BooksConfig::new(TreasuryConfig::new(1, [FeeSchedule::hanzo()]))).expect("a sound configuration")
}

fn books_snapshots() -> Vec<Vec<u8>> {
    let mut live = Journaled::new(books(), MemoryStore::default());
    let ann = live.open_party(NOW, &[1; 32]).expect("a new party").get();
    live.apply(NOW, &Effect::Mint { id: 1, to: ann, amount: 900 }).expect("no cap");
    live.apply(NOW, &Effect::Lock { id: 2, from: ann, amount: 500, timeout_ns: 0 }).expect("there is cover");
    vec![live.state().snapshot(), books().snapshot()]
}

fn books_snapshot(bytes: &[u8]) -> bool {
    let Ok(read) = books().restore(bytes) else { return false };
    let again = books().restore(&read.snapshot()).expect("its snapshot can be restored");
    assert_eq!(again.snapshot(), read.snapshot());
    true
}
