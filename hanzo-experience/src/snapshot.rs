//! Snapshot files (`.hxs`): a library as JSON Lines, every byte determined by what it holds.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::crdt::Record;
use crate::json;
use crate::merkle::{Checkpoint, CompactRange, Hash, StateRoot, StateTree};
use crate::{Cid, Content, Entry, Error, ExperienceId, Library, Result};

/// A library at one moment, checked: contents, log entries and records that fit the checkpoint.
///
/// The file is JSON Lines, each line canonical and ended by one line feed: a header with counts, checkpoint and
/// `frontier` (the roots of the perfect subtrees before the first entry, largest first); active contents by ascending
/// id; archived contents by ascending id; log entries; records by ascending id; a trailer with the SHA-256 of all bytes
/// before it. Vectors are not part of it.
///
/// ```
/// use hanzo_experience::{Draft, Library, LibraryConfig, Mode, Operation, Snapshot, Stamp, Text};
///
/// let config = LibraryConfig::new("example.com/library".parse()?);
/// let mut library = Library::new(config.clone())?;
/// let draft = Draft::new(Text::new("check the units")?, "physics".parse()?, "alice", 7);
/// library.apply(&Stamp::new(7, "alice"), Mode::Atomic, &[Operation::Add(draft)])?;
///
/// let bytes = library.snapshot().to_bytes();
/// let read = Snapshot::from_bytes(&bytes)?;
/// assert_eq!(read.checkpoint(), &library.checkpoint());
/// assert_eq!(Library::from_snapshot(config, &read)?, library);
/// assert!(Snapshot::from_bytes(&bytes[..bytes.len() - 1]).is_err());
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    checkpoint: Checkpoint,
    first: u64,
    frontier: Vec<Hash>,
    contents: Vec<Content>,
    archived: Vec<Content>,
    entries: Vec<Entry>,
    records: Vec<Record>,
}

impl Snapshot {
    /// A library with its log from entry `first` on; anyone with the checkpoint can still check it, but only a snapshot
    /// from entry 0 can become a library again.
    ///
    /// # Errors
    /// [`Error::SizeOrder`] if there are fewer entries.
    pub fn since(library: &Library, first: u64) -> Result<Self> {
        let leaves = library.log().leaves();
        let before = usize::try_from(first).ok().and_then(|first| leaves.get(..first));
        let before = before.ok_or(Error::SizeOrder { old: first, new: library.log().size() })?;
        let mut range = CompactRange::new();
        before.iter().for_each(|leaf| range.append(*leaf));
        Ok(Self {
            first,
            frontier: range.peaks().to_vec(),
            entries: library.entries()[before.len()..].to_vec(),
            ..Self::whole(library)
        })
    }

    pub(crate) fn whole(library: &Library) -> Self {
        Self {
            checkpoint: library.checkpoint(),
            first: 0,
            frontier: Vec::new(),
            contents: library.iter().map(|(_, content)| content.clone()).collect(),
            archived: library.archive().map(|(_, content)| content.clone()).collect(),
            entries: library.entries().to_vec(),
            records: library.records().cloned().collect(),
        }
    }

    /// A snapshot of what a database holds: the log tells which contents are active.
    #[cfg(feature = "redb")]
    pub(crate) fn of_parts(
        origin: crate::merkle::Origin,
        mut contents: std::collections::BTreeMap<ExperienceId, Content>,
        entries: Vec<Entry>,
        records: Vec<Record>,
    ) -> Result<Self> {
        let log = crate::merkle::Log::from_leaves(entries.iter().map(Entry::leaf).collect());
        let mut active = std::collections::BTreeSet::new();
        for entry in &entries {
            for id in entry.removed() {
                active.remove(id);
            }
            active.extend(entry.added());
        }
        let state = StateTree::new(active.iter().copied()).root();
        if entries.last().is_some_and(|last| *last.state() != state) {
            return Err(Error::RootMismatch);
        }
        let content = |id: &ExperienceId| contents.remove(id).ok_or(Error::UnknownId { id: *id });
        Ok(Self {
            checkpoint: log.checkpoint(&origin),
            first: 0,
            frontier: Vec::new(),
            contents: active.iter().map(content).collect::<Result<_>>()?,
            archived: contents.into_values().collect(),
            entries,
            records,
        })
    }

    /// The bytes of the file. O(n).
    pub fn to_bytes(&self) -> Vec<u8> {
        // Declared in RFC 8785 order.
        #[derive(Serialize)]
        struct Header<'a> {
            archived: usize,
            checkpoint: String,
            contents: usize,
            entries: usize,
            first: u64,
            frontier: Vec<String>,
            records: usize,
            t: &'a str,
            v: u8,
        }
        let mut bytes = Vec::new();
        json::write(
            &mut bytes,
            &Header {
                archived: self.archived.len(),
                checkpoint: self.checkpoint.to_string(),
                contents: self.contents.len(),
                entries: self.entries.len(),
                first: self.first,
                frontier: self.frontier.iter().map(Hash::to_string).collect(),
                records: self.records.len(),
                t: TYPE,
                v: 1,
            },
        );
        bytes.push(b'\n');
        for content in self.contents.iter().chain(&self.archived) {
            content.write_canonical(&mut bytes);
            bytes.push(b'\n');
        }
        let entries = self.entries.iter().map(Entry::to_canonical);
        for line in entries.chain(self.records.iter().map(Record::to_canonical)) {
            bytes.extend(line);
            bytes.push(b'\n');
        }
        let trailer = trailer(&bytes);
        bytes.extend(trailer.as_bytes());
        bytes
    }

    /// A snapshot from the bytes of a file and no others. O(n), with memory in proportion to the bytes.
    ///
    /// Checked: every line is canonical; counts, order and distinctness; the log leads from the frontier to the
    /// checkpoint; active contents are those of the last entry's state; digest in the trailer. Signatures are not: take
    /// the checkpoint from whom you trust, or verify its note.
    ///
    /// # Errors
    /// [`Error::MalformedSnapshot`] with the first line that is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let end = |line| Error::MalformedSnapshot { line };
        let mut lines = Lines { rest: bytes, line: 0 };
        let header: HeaderMembers = lines.read(json::read)?;
        let checkpoint: Checkpoint = header.checkpoint.parse().map_err(|_| end(1))?;
        let frontier = header.frontier.iter().map(|hash| hash.parse()).collect::<Result<Vec<Hash>>>();
        let frontier = frontier.map_err(|_| end(1))?;
        if header.t != TYPE || header.v != 1 {
            return Err(end(1));
        }
        let mut range = CompactRange::from_peaks(header.first, frontier.clone()).map_err(|_| end(1))?;

        let contents = lines.ascending(header.contents, Content::from_canonical, Content::id)?;
        let archived = lines.ascending(header.archived, Content::from_canonical, Content::id)?;
        let ids: Vec<ExperienceId> = contents.iter().map(Content::id).collect();
        if archived.iter().any(|content| ids.binary_search(&content.id()).is_ok()) {
            return Err(end(lines.line));
        }
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..header.entries {
            let entry = lines.read(Entry::from_canonical)?;
            if entries.last().is_some_and(|last| entry.at() < last.at()) {
                return Err(end(lines.line));
            }
            range.append(entry.leaf());
            entries.push(entry);
        }
        if range.size() != checkpoint.size() || range.root() != *checkpoint.root() {
            return Err(end(lines.line));
        }
        let state = entries.last().map(|last| *last.state());
        let state = state.or_else(|| (header.first == 0).then(|| StateTree::default().root()));
        if state.is_some_and(|state: StateRoot| state != StateTree::new(ids).root()) {
            return Err(end(lines.line));
        }
        let records = lines.ascending(header.records, Record::from_canonical, |record| *record.id())?;

        let body = &bytes[..bytes.len() - lines.rest.len()];
        if lines.rest != trailer(body).as_bytes() {
            return Err(end(lines.line + 1));
        }
        let snapshot = Self { checkpoint, first: header.first, frontier, contents, archived, entries, records };
        // Every other line is canonical on its own.
        if snapshot.to_bytes() == bytes { Ok(snapshot) } else { Err(end(1)) }
    }

    /// The CID of the file (codec `raw`), if it fits one block of 1 MiB.
    pub fn cid(&self) -> Option<Cid> {
        let bytes = self.to_bytes();
        (bytes.len() <= Cid::MAX_BLOCK).then(|| Cid::raw(&bytes))
    }

    /// The log's statement of its size and root.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Index of the first entry that is there.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Active contents by ascending id.
    pub fn contents(&self) -> &[Content] {
        &self.contents
    }

    /// Archived contents by ascending id.
    pub fn archived(&self) -> &[Content] {
        &self.archived
    }

    /// Log entries from [`first`](Self::first) on.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Records by ascending id.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Size and root over the active contents.
    pub fn state_root(&self) -> StateRoot {
        StateTree::new(self.contents.iter().map(Content::id)).root()
    }
}

const TYPE: &str = "hanzo.experience.snapshot";

/// The last line.
fn trailer(body: &[u8]) -> String {
    let digest = Hash::from_bytes(Sha256::digest(body).into());
    format!("{{\"sha256\":\"{digest}\",\"t\":\"hanzo.experience.end\"}}\n")
}

/// The lines not read yet.
struct Lines<'a> {
    rest: &'a [u8],
    /// Number of the line last read, from 1.
    line: usize,
}

impl Lines<'_> {
    fn read<T>(&mut self, parse: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        self.line += 1;
        let malformed = Error::MalformedSnapshot { line: self.line };
        let end = self.rest.iter().position(|byte| *byte == b'\n').ok_or(malformed.clone())?;
        let (line, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        parse(line).map_err(|_| malformed)
    }

    fn ascending<T>(
        &mut self,
        count: u64,
        parse: impl Fn(&[u8]) -> Result<T>,
        id: impl Fn(&T) -> ExperienceId,
    ) -> Result<Vec<T>> {
        let mut list = Vec::new();
        let mut last = None;
        for _ in 0..count {
            let item = self.read(&parse)?;
            let this = Some(id(&item));
            if last >= this {
                return Err(Error::MalformedSnapshot { line: self.line });
            }
            last = this;
            list.push(item);
        }
        Ok(list)
    }
}

json::shape! {
    struct HeaderMembers {
        archived: u64,
        checkpoint: String,
        contents: u64,
        entries: u64,
        first: u64,
        frontier: Vec<String>,
        records: u64,
        t: String,
        v: u64,
    }
}
