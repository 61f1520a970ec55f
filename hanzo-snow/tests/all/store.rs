//! The durable store: what was appended is there after a restart, all or nothing, and a node begins again from it.

use std::path::PathBuf;

use hanzo_snow::settlement::{Input, Memory, Output, Replica, ReplicaConfig, Root, VoteState};
use hanzo_snow::{
    Block, BlockRef, BlockStore, Committee, Entry, EntryKind, MemoryStore, Record, RedbStore, Sign, Signature,
    SignatureError, Timestamp, ValidatorSet, VerifyAll,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A file of its own, gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("hanzo-snow-{name}-{}.redb", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn entry(kind: EntryKind, number: u64, id: u8) -> Entry {
    Entry { kind, number, id: [id; 32], bytes: vec![id; 5].into() }
}

fn records() -> Vec<Record<[u8; 32]>> {
    let header = BlockRef { id: [7; 32], parent: [6; 32], height: 3 };
    let mut records = vec![Record::Block(Block { header, bytes: vec![1, 2, 3].into() }), Record::Tip(header)];
    for number in 0..6 {
        records.push(Record::Entry(entry(EntryKind::Certificate, number, number as u8)));
        records.push(Record::Entry(entry(EntryKind::Ack, number, 9)));
    }
    records.push(Record::Forget { kind: EntryKind::Certificate, below: 3 });
    records
}

#[test]
fn the_file_says_what_memory_says_also_after_reopening() -> Outcome {
    let scratch = Scratch::new("same");
    let mut memory = MemoryStore::default();
    memory.append(&records())?;
    {
        let mut file = RedbStore::open(&scratch.0)?;
        assert_eq!((file.tip()?, file.entries()?), (None, Vec::new()));
        file.append(&records())?;
        file.sync()?;
    }
    let mut file = RedbStore::open(&scratch.0)?;
    assert_eq!(file.entries()?, memory.entries()?);
    assert_eq!(file.entries()?.len(), 9);
    assert_eq!(file.tip()?, memory.tip()?);
    assert_eq!(file.get(&[7; 32])?.as_deref(), memory.get(&[7; 32])?);
    assert_eq!(file.get(&[8; 32])?, None);
    let next = BlockRef { id: [8; 32], parent: [7; 32], height: 4 };
    for store in [&mut file as &mut dyn Tips, &mut memory] {
        assert!(!store.set(None, next) && !store.set(Some([1; 32]), next));
        assert!(store.set(Some([7; 32]), next));
    }
    assert_eq!(file.tip()?, Some(next));
    Ok(())
}

trait Tips {
    fn set(&mut self, old: Option<[u8; 32]>, new: BlockRef<[u8; 32]>) -> bool;
}

impl<S: BlockStore<[u8; 32], Error: std::fmt::Debug>> Tips for S {
    fn set(&mut self, old: Option<[u8; 32]>, new: BlockRef<[u8; 32]>) -> bool {
        self.compare_and_set_tip(old, new).expect("the store works")
    }
}

#[test]
fn a_file_that_is_no_store_is_an_error() -> Outcome {
    let scratch = Scratch::new("bad");
    std::fs::write(&scratch.0, b"no database at all, but long enough to look at".repeat(200))?;
    assert!(RedbStore::open(&scratch.0).is_err());
    Ok(())
}

#[derive(Debug, Clone)]
struct Alone;

impl Sign for Alone {
    fn sign(&self, _: &[u8]) -> Result<Signature, SignatureError> {
        Ok(Signature::from([]))
    }
}

impl VerifyAll for Alone {
    fn verify_all(&self, _: &[([u8; 32], &[u8], &[u8])]) -> Result<(), SignatureError> {
        Ok(())
    }
}

/// Stops after every number of commits in turn, begins again from the file, and goes on: no height comes twice with another
/// block, none is left out, and no view is voted in twice.
#[test]
fn a_replica_stopped_at_any_commit_goes_on_from_its_file() -> Outcome {
    let scratch = Scratch::new("replica");
    let committee = || Committee::new([9; 32], 0, ValidatorSet::new([([1; 32], 1)]).expect("one has stake"));
    let mut heights: Vec<[u8; 32]> = Vec::new();
    let mut last_voted = 0;
    for stop in 1..30 {
        let mut store = RedbStore::open(&scratch.0)?;
        let entries = store.entries()?;
        let memory = if entries.is_empty() { Memory::Fresh(Root::default()) } else { Memory::Stored(entries) };
        let mut now = Timestamp::from_nanos(0);
        let mut replica = Replica::new(ReplicaConfig::new([1; 32]), committee()?, Alone, memory, now)?;
        assert!(replica.vote_state().safety.last_voted() >= last_voted, "a vote is forgotten");
        replica.handle(now, Input::Pending(true))?;
        let mut commits = 0;
        'life: for _ in 0..200 {
            while let Some(output) = replica.poll_output() {
                match output {
                    Output::Persist { token, entries } => {
                        if commits == stop {
                            // The power fails before the commit.
                            break 'life;
                        }
                        let kept = entries.iter().find(|entry| entry.kind == EntryKind::VoteState).expect("it is kept");
                        last_voted = VoteState::decode(&kept.bytes)?.safety.last_voted();
                        store.append(&entries.into_iter().map(Record::Entry).collect::<Vec<_>>())?;
                        commits += 1;
                        replica.handle(now, Input::Persisted(token))?;
                    }
                    Output::Build { view, .. } => {
                        let payload = format!("{stop} {view}").into_bytes().into();
                        replica.handle(now, Input::Payload { view, payload, next: None })?;
                    }
                    Output::Validate { block } => replica.handle(now, Input::Validated { block, ok: true })?,
                    Output::Committed { id, block } => match heights.get(block.height as usize - 1) {
                        Some(known) => assert_eq!(*known, id, "height {}", block.height),
                        None => {
                            assert_eq!(block.height as usize, heights.len() + 1);
                            heights.push(id);
                        }
                    },
                    _ => {}
                }
            }
            now = replica.poll_timeout().expect("it always waits");
            replica.handle(now, Input::Tick)?;
        }
    }
    assert!(heights.len() > 20, "{}", heights.len());
    Ok(())
}
