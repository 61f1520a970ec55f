//! Snapshots and stores: one byte form, nothing half-written is served. `crash.rs` kills processes that write.

#[cfg(feature = "redb")]
use hanzo_experience::merkle::Origin;
use hanzo_experience::store::{Change, Durable, FileStore, MemoryStore, Store, StoreError};
use hanzo_experience::{Error, Library, LibraryConfig, Mode, Operation, Snapshot, Stamp};

use crate::support::history::{Folder, config, history, step};

#[test]
fn snapshots_hold_everything() {
    for n in [0, 1, 30] {
        let library = history(n);
        let bytes = library.snapshot().to_bytes();
        let read = Snapshot::from_bytes(&bytes).unwrap();
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!(read.state_root(), library.state_root());
        let mut again = Library::from_snapshot(config(), &read).unwrap();
        assert_eq!(again, library);
        // It goes on as the first would.
        let mut first = library.clone();
        step(&mut first, n).unwrap();
        step(&mut again, n).unwrap();
        assert_eq!(again, first);
        if n == 30 {
            assert!(!read.archived().is_empty() && read.records().len() > read.contents().len());
            let cid = read.cid().unwrap();
            cid.verify(&bytes).unwrap();
        }
    }
    let other = LibraryConfig::new("example.com/other".parse().unwrap());
    assert_eq!(Library::from_snapshot(other, &history(2).snapshot()), Err(Error::WrongOrigin));
}

/// The first bytes of a file are pinned: any change of the format shows here.
#[test]
fn pinned_snapshot() {
    let mut library = Library::new(config()).unwrap();
    step(&mut library, 1).unwrap();
    let text = String::from_utf8(library.snapshot().to_bytes()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5);
    assert!(lines[0].starts_with(r#"{"archived":0,"checkpoint":"example.com/stored\n1\n"#), "{}", lines[0]);
    assert!(lines[0].ends_with(
        r#""contents":1,"entries":1,"first":0,"frontier":[],"records":1,"t":"hanzo.experience.snapshot","v":1}"#
    ));
    assert_eq!(
        library.snapshot().cid().unwrap().to_string(),
        "bafkreifcd6i34x7442kcg6fvwnprz67uql4oworawnugkaepf7arn5sg3i"
    );
}

#[test]
fn the_end_of_a_log_can_be_checked() {
    let library = history(25);
    let size = library.log().size();
    for first in [0, 1, 7, size] {
        let snapshot = Snapshot::since(&library, first).unwrap();
        let read = Snapshot::from_bytes(&snapshot.to_bytes()).unwrap();
        assert_eq!((read.first(), read.entries().len() as u64), (first, size - first));
        assert_eq!(read, snapshot);
        let expected = if first == 0 { Ok(library.clone()) } else { Err(Error::PartialLog { first }) };
        assert_eq!(Library::from_snapshot(config(), &read), expected);
    }
    assert_eq!(Snapshot::since(&library, size + 1), Err(Error::SizeOrder { old: size + 1, new: size }));
}

#[test]
fn spoiled_snapshots_are_refused() {
    let library = history(8);
    let good = library.snapshot().to_bytes();
    for end in 0..good.len() {
        assert!(matches!(Snapshot::from_bytes(&good[..end]), Err(Error::MalformedSnapshot { .. })), "cut at {end}");
    }
    for at in 0..good.len() {
        let mut spoiled = good.clone();
        spoiled[at] ^= 1;
        assert!(matches!(Snapshot::from_bytes(&spoiled), Err(Error::MalformedSnapshot { .. })), "byte {at}");
    }
    let longer = [&good[..], b"\n"].concat();
    assert!(Snapshot::from_bytes(&longer).is_err());

    // Lines moved, dropped or doubled under a right digest are refused for what they say.
    let text = String::from_utf8(good).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let sealed = |lines: &[&str]| {
        use sha2::{Digest, Sha256};
        let body: String = lines.iter().flat_map(|line| [*line, "\n"]).collect();
        let digest = hex::encode(Sha256::digest(&body));
        format!("{body}{{\"sha256\":\"{digest}\",\"t\":\"hanzo.experience.end\"}}\n").into_bytes()
    };
    let body = &lines[..lines.len() - 1];
    assert!(Snapshot::from_bytes(&sealed(body)).is_ok());
    for at in 1..body.len() {
        let mut dropped = body.to_vec();
        dropped.remove(at);
        assert!(Snapshot::from_bytes(&sealed(&dropped)).is_err(), "without line {at}");
        let mut doubled = body.to_vec();
        doubled.insert(at, body[at]);
        assert!(Snapshot::from_bytes(&sealed(&doubled)).is_err(), "line {at} twice");
        let mut swapped = body.to_vec();
        swapped.swap(at, at - 1);
        assert!(Snapshot::from_bytes(&sealed(&swapped)).is_err(), "line {at} before its turn");
    }
    for (from, to) in [
        (r#""v":1"#, r#""v":2"#),
        ("snapshot", "snapshop"),
        (r#""first":0"#, r#""first":1"#),
        (r#""contents":6"#, r#""contents":5"#),
        (r#""contents":6"#, r#""contents":9007199254740991"#),
        (r#"{"archived""#, r#"{ "archived""#),
    ] {
        let mut header = body.to_vec();
        let line = header[0].replacen(from, to, 1);
        assert_ne!(line, header[0], "{from}");
        header[0] = &line;
        assert!(Snapshot::from_bytes(&sealed(&header)).is_err(), "{from} -> {to}");
    }
}

/// A store that fails at its third commit.
struct Failing(MemoryStore, u32);

impl Store for Failing {
    type Error = &'static str;

    fn load(&mut self) -> Result<Option<Snapshot>, StoreError<&'static str>> {
        Ok(self.0.load().unwrap())
    }

    fn commit(&mut self, change: &Change<'_>) -> Result<(), &'static str> {
        self.1 += 1;
        if self.1 == 3 { Err("disk full") } else { self.0.commit(change).map_err(|never| match never {}) }
    }
}

#[test]
fn a_change_that_is_not_kept_did_not_happen() {
    let mut durable = Durable::open(config(), Failing(MemoryStore::new(), 0)).unwrap();
    for n in 0..2 {
        durable.update(|library| step(library, n)).unwrap();
    }
    let before = durable.library().clone();
    assert_eq!(durable.update(|library| step(library, 2)), Err(StoreError::Store("disk full")));
    assert_eq!(*durable.library(), before);
    let late = Stamp::new(0, "tester");
    let refused = durable.update(|library| library.apply(&late, Mode::Atomic, &[]));
    assert_eq!(refused.map(|_| ()), Err(StoreError::Refused(Error::OutOfRange { field: "at" })));
    // What changes nothing is not written.
    let stamp = Stamp::new(5_000, "tester");
    durable.update(|library| library.apply(&stamp, Mode::Atomic, &[Operation::Keep])).unwrap();
    durable.update(|library| step(library, 2)).unwrap();
    let again = Durable::open(config(), durable.into_store()).unwrap();
    assert_eq!(*again.library(), history(3));
}

#[test]
fn a_file_is_replaced_whole() {
    let folder = Folder::new("file");
    let path = folder.file("library.hxs");
    let mut durable = Durable::open(config(), FileStore::open(&path).unwrap()).unwrap();
    for n in 0..10 {
        durable.update(|library| step(library, n)).unwrap();
    }
    let second = FileStore::open(&path).unwrap_err();
    assert_eq!(second.kind(), std::io::ErrorKind::WouldBlock);
    drop(durable);

    // A crash while the next version is written leaves any part of it in the temporary file.
    let next = history(11).snapshot().to_bytes();
    let temporary = folder.file("library.hxs.tmp");
    for end in (0..=next.len()).step_by(97) {
        std::fs::write(&temporary, &next[..end]).unwrap();
        let durable = Durable::open(config(), FileStore::open(&path).unwrap()).unwrap();
        assert_eq!(*durable.library(), history(10));
    }
    // The rename is the change.
    std::fs::write(&temporary, &next).unwrap();
    std::fs::rename(&temporary, &path).unwrap();
    let durable = Durable::open(config(), FileStore::open(&path).unwrap()).unwrap();
    assert_eq!(*durable.library(), history(11));
    drop(durable);
    // A file that something else cut is refused, not served in part.
    for end in (0..next.len()).step_by(97) {
        std::fs::write(&path, &next[..end]).unwrap();
        let opened = Durable::open(config(), FileStore::open(&path).unwrap());
        assert!(matches!(opened, Err(StoreError::Refused(Error::MalformedSnapshot { .. }))));
    }
    let nowhere = folder.file("missing").join("library.hxs");
    assert!(FileStore::open(nowhere).is_err());
}

#[cfg(feature = "redb")]
#[test]
fn a_database_holds_one_library() {
    use hanzo_experience::store::RedbStore;

    let folder = Folder::new("redb");
    let path = folder.file("library.redb");
    let mut durable = Durable::open(config(), RedbStore::open(&path).unwrap()).unwrap();
    for n in 0..20 {
        durable.update(|library| step(library, n)).unwrap();
    }
    assert!(RedbStore::open(&path).is_err());
    drop(durable);
    let origin: Origin = "example.com/other".parse().unwrap();
    let other = Durable::open(LibraryConfig::new(origin), RedbStore::open(&path).unwrap());
    assert!(matches!(other, Err(StoreError::Refused(Error::WrongOrigin))));
    let again = Durable::open(config(), RedbStore::open(&path).unwrap()).unwrap();
    assert_eq!(*again.library(), history(20));
    std::fs::write(folder.file("not.redb"), b"not a database").unwrap();
    assert!(RedbStore::open(folder.file("not.redb")).is_err());
}

#[cfg(feature = "cid")]
#[test]
fn manifests_have_one_form() {
    use hanzo_experience::{Cid, Manifest};

    let library = history(9);
    let manifest = Manifest::of(&library);
    let bytes = manifest.to_dag_cbor().unwrap();
    assert_eq!(Manifest::from_dag_cbor(&bytes), Ok(manifest.clone()));
    assert_eq!(manifest.cid(), Ok(Cid::of(Cid::DAG_CBOR, &bytes)));
    let (links, contents) = (manifest.contents().iter(), library.iter());
    assert_eq!(links.len(), library.len());
    links.zip(contents).for_each(|(cid, (_, content))| cid.verify(&content.to_canonical()).unwrap());

    // By hand: a map of three, the keys by length; a CID is tag 42 over a zero byte and its 36 bytes or more.
    let empty = Library::new(config()).unwrap();
    let text = empty.checkpoint().to_string();
    let mut expected = b"\xa3\x61v\x01\x68contents\x80\x6acheckpoint\x78".to_vec();
    expected.push(text.len() as u8);
    expected.extend(text.bytes());
    assert_eq!(Manifest::of(&empty).to_dag_cbor(), Ok(expected.clone()));

    let refused = |bytes: &[u8]| Manifest::from_dag_cbor(bytes).unwrap_err();
    for end in 0..bytes.len() {
        assert_eq!(refused(&bytes[..end]), Error::NotCanonical);
    }
    assert_eq!(refused(&[&bytes[..], &[0]].concat()), Error::NotCanonical);
    let with = |from: &[u8], to: &[u8]| {
        let at = expected.windows(from.len()).position(|window| window == from).unwrap();
        [&expected[..at], to, &expected[at + from.len()..]].concat()
    };
    assert_eq!(refused(&with(b"\x61v\x01", b"\x61v\x02")), Error::NotCanonical);
    assert_eq!(refused(&with(b"\x61v\x01", b"\x61v\x18\x01")), Error::NotCanonical);
    assert_eq!(refused(&with(b"\x61v", b"\x61w")), Error::NotCanonical);
    assert_eq!(refused(&with(b"\x80", b"\x81\x01")), Error::NotCanonical);
    assert_eq!(refused(&with(b"stored\n0", b"stored\nx")), Error::MalformedCheckpoint { line: 2 });
    let large = vec![0; Cid::MAX_BLOCK + 1];
    assert_eq!(refused(&large), Error::TooManyBytes { got: Cid::MAX_BLOCK + 1, max: Cid::MAX_BLOCK });
    for at in 0..bytes.len() {
        let mut spoiled = bytes.clone();
        spoiled[at] ^= 1;
        // Another digest or root is another manifest; anything else is none.
        if let Ok(other) = Manifest::from_dag_cbor(&spoiled) {
            assert_eq!(other.to_dag_cbor(), Ok(spoiled));
        }
    }
}
