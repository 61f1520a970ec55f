//! The store on disk.

use hanzo_metering::*;

#[test]
fn a_ledger_survives_its_process() {
    let folder = std::env::temp_dir().join(format!("hanzo-metering-redb-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("ledger.redb");
    let (now, a, b) = (Timestamp::from_nanos(1), AccountId::new(1), AccountId::new(2));
    let open = || Journaled::recover(Ledger::new(), RedbStore::open(&file).unwrap()).unwrap();
    let hash = {
        let (mut ledger, torn) = open();
        assert_eq!((torn, ledger.state().len()), (0, 0));
        ledger.open(now, NewAccount::new(a, 1)).unwrap();
        ledger.open(now, NewAccount::new(b, 1)).unwrap();
        for id in 1..50 {
            if id == 30 {
                ledger.checkpoint().unwrap();
            }
            ledger.apply(now, &Transfer::new(TransferId::new(id), a, b, id)).unwrap();
        }
        ledger.hash()
    };
    let (mut ledger, torn) = open();
    assert_eq!((ledger.hash(), torn), (hash, 0));
    assert_eq!(ledger.state().balance_of(b).unwrap().credits_posted, 49 * 50 / 2);
    // Known from before.
    let again = ledger.apply(now, &Transfer::new(TransferId::new(7), a, b, 7)).unwrap();
    assert_eq!(again.status, Status::Existing);
    ledger.apply(now, &Transfer::new(TransferId::new(50), a, b, 1)).unwrap();
    // From the first commit on, without the snapshot: the same.
    let mut all = MemoryStore::default();
    all.append(&ledger.store().read_from(0).unwrap()).unwrap();
    let (replayed, _) = Journaled::recover(Ledger::new(), all).unwrap();
    assert_eq!(replayed.hash(), ledger.hash());
    assert_eq!(replayed.state().snapshot(), ledger.state().snapshot());
    drop(ledger);
    // No store: an error, no panic.
    std::fs::write(folder.join("other"), b"not a database, but long enough to be looked at").unwrap();
    assert!(RedbStore::open(folder.join("other")).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}
