use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Bound, Frame, Hello, Range, RangeKind};
use crate::crdt::Record;
use crate::merkle::{Hash, Log};
use crate::{Content, Delta, Error, ExperienceId, Library, Result};

/// One side of one exchange between two replicas.
#[derive(Debug, Clone)]
pub struct Session<'a> {
    library: &'a Library,
    /// Id and digest of each own record, ascending.
    items: Vec<(ExperienceId, Hash)>,
    /// Upper bounds of ranges whose items the peer was sent.
    listed: BTreeSet<Bound>,
    /// Batches of wanted contents that the peer has not answered yet.
    wanted: VecDeque<Vec<ExperienceId>>,
    /// Every id ever wanted.
    asked: BTreeSet<ExperienceId>,
    /// Contents already sent.
    sent: BTreeSet<ExperienceId>,
    received: Delta,
    peer: Option<Hello>,
    greeted: bool,
    /// Whether the peer owes an answer about ranges.
    awaiting: bool,
    done: bool,
    peer_done: bool,
}

impl<'a> Session<'a> {
    /// A session over the library as it is. O(n) hashes.
    pub fn new(library: &'a Library) -> Self {
        Self {
            library,
            items: library.records().map(|record| (*record.id(), record.digest())).collect(),
            listed: BTreeSet::new(),
            wanted: VecDeque::new(),
            asked: BTreeSet::new(),
            sent: BTreeSet::new(),
            received: Delta::new(),
            peer: None,
            greeted: false,
            awaiting: true,
            done: false,
            peer_done: false,
        }
    }

    /// The first frames of the side that begins; the other side only answers.
    pub fn start(&mut self) -> Vec<Vec<u8>> {
        let whole = Range { bound: Bound::END, kind: self.fingerprint(0, self.items.len()) };
        self.greeted = true;
        // Neither comes near the limit of a frame.
        [self.hello(), Frame::Ranges(vec![whole])].iter().filter_map(|frame| frame.to_bytes().ok()).collect()
    }

    /// Takes a frame of the peer and returns the frames to send to it, in order.
    ///
    /// # Errors
    /// [`Error::MalformedFrame`] for bytes that are no frame, contents that were not wanted and frames before the
    /// peer's hello; [`Error::WrongOrigin`] for another library; those of [`Content::from_canonical`] and
    /// [`Record::from_canonical`]; [`Error::TooManyBytes`] and [`Error::OutOfRange`] where the answer to ranges fits no
    /// frame, as can happen from some 40,000 records on. The frame is refused whole then, and the session can be given up
    /// or go on.
    pub fn on_frame(&mut self, frame: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut replies = Vec::new();
        match Frame::from_bytes(frame)? {
            Frame::Hello(hello) => {
                if hello.origin != *self.library.config().origin() {
                    return Err(Error::WrongOrigin);
                }
                self.peer = Some(hello);
                if !self.greeted {
                    self.greeted = true;
                    replies.push(self.hello());
                }
                // Contents that an earlier session lost.
                let known: Vec<&Record> = self.library.records().collect();
                self.want(known, &mut replies);
            }
            _ if self.peer.is_none() => return Err(Error::MalformedFrame),
            Frame::Ranges(ranges) => self.on_ranges(&ranges, &mut replies)?,
            Frame::Want(ids) => replies.push(self.contents(&ids)),
            Frame::Contents(list) => self.on_contents(&list)?,
            Frame::Records(list) => self.on_records(&list, &mut replies)?,
            Frame::Done => {
                self.peer_done = true;
                self.awaiting = false;
            }
        }
        if self.peer.is_some() && !self.awaiting && self.wanted.is_empty() && !self.done {
            self.done = true;
            replies.push(Frame::Done);
        }
        replies.iter().map(Frame::to_bytes).collect()
    }

    /// Whether both sides have all they need.
    pub fn is_finished(&self) -> bool {
        self.done && self.peer_done && self.wanted.is_empty()
    }

    /// What the peer said of itself.
    pub fn peer(&self) -> Option<&Hello> {
        self.peer.as_ref()
    }

    /// What was received, for [`Library::merge`].
    pub fn finish(self) -> Delta {
        self.received
    }

    fn hello(&self) -> Frame {
        let state = self.library.state_root();
        Frame::Hello(Hello {
            origin: self.library.config().origin().clone(),
            log_size: self.library.log().size(),
            log_root: self.library.log().root(),
            // A state beyond 2^32 does not fit in memory.
            state_size: u32::try_from(state.size()).unwrap_or(u32::MAX),
            state_root: *state.root(),
        })
    }

    /// Answers ranges: settles equal ones, splits or lists others, sends records that lists show to be missing.
    fn on_ranges(&mut self, ranges: &[Range], replies: &mut Vec<Frame>) -> Result<()> {
        let mut answer = Vec::new();
        let mut missing = Vec::new();
        let mut start = 0;
        for range in ranges {
            let end = start + self.items[start..].partition_point(|(id, _)| range.bound.holds(id));
            let own = &self.items[start..end];
            match &range.kind {
                RangeKind::Skip => push(&mut answer, range.bound, RangeKind::Skip),
                RangeKind::Fingerprint { .. } if self.fingerprint(start, end) == range.kind => {
                    push(&mut answer, range.bound, RangeKind::Skip);
                }
                RangeKind::Fingerprint { .. } if own.len() <= LIST => {
                    push(&mut answer, range.bound, RangeKind::Items(own.to_vec()));
                }
                RangeKind::Fingerprint { .. } => {
                    for part in 0..SPLIT {
                        let from = start + own.len() * part / SPLIT;
                        let to = start + own.len() * (part + 1) / SPLIT;
                        let last = part + 1 == SPLIT;
                        let bound = if last { range.bound } else { Bound(self.items[to].0) };
                        push(&mut answer, bound, self.fingerprint(from, to));
                    }
                }
                RangeKind::Items(theirs) => {
                    let theirs: BTreeMap<_, _> = theirs.iter().copied().collect();
                    let newer = |(id, digest): &&(ExperienceId, Hash)| theirs.get(id) != Some(digest);
                    missing.extend(own.iter().filter(newer).map(|(id, _)| *id));
                    let own: BTreeMap<_, _> = own.iter().copied().collect();
                    let needed = theirs.iter().any(|(id, digest)| own.get(id) != Some(digest));
                    let kind = if needed && !self.listed.contains(&range.bound) {
                        RangeKind::Items(own.into_iter().collect())
                    } else {
                        RangeKind::Skip
                    };
                    push(&mut answer, range.bound, kind);
                }
            }
            start = end;
        }
        let lists = answer.iter().filter(|range| matches!(range.kind, RangeKind::Items(_)));
        let listed: Vec<Bound> = lists.map(|range| range.bound).collect();
        let open = answer.iter().any(|range| range.kind != RangeKind::Skip);
        let answer = Frame::Ranges(answer);
        if open {
            answer.to_bytes()?;
        }
        self.listed.extend(listed);
        self.send_records(&missing, replies);
        self.awaiting = open;
        if open {
            replies.push(answer);
        }
        Ok(())
    }

    /// Records in the order of quality, then id, in as many frames as they need.
    fn send_records(&self, ids: &[ExperienceId], replies: &mut Vec<Frame>) {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for id in self.by_quality(ids) {
            let Some(record) = self.library.record(&id).map(Record::to_canonical) else { continue };
            if bytes + record.len() + 8 > Frame::MAX_BODY && !batch.is_empty() {
                replies.push(Frame::Records(core::mem::take(&mut batch)));
                bytes = 0;
            }
            bytes += record.len() + 4;
            batch.push(record);
        }
        if !batch.is_empty() {
            replies.push(Frame::Records(batch));
        }
    }

    fn by_quality(&self, ids: &[ExperienceId]) -> Vec<ExperienceId> {
        let most = self.library.max_usage();
        let quality = |id| core::cmp::Reverse(self.library.quality_among(id, most).ok());
        let mut order: Vec<_> = ids.iter().map(|id| (quality(id), *id)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, id)| id).collect()
    }

    /// The contents among these that are known and were not sent yet.
    fn contents(&mut self, ids: &[ExperienceId]) -> Frame {
        let mut list = Vec::new();
        for id in self.by_quality(&ids[..ids.len().min(WANT)]) {
            let content = self.library.get(&id).or_else(|| self.library.archived(&id));
            if let (Some(content), true) = (content, self.sent.insert(id)) {
                list.push(content.to_canonical());
            }
        }
        Frame::Contents(list)
    }

    fn on_contents(&mut self, list: &[Vec<u8>]) -> Result<()> {
        let wanted = self.wanted.front().ok_or(Error::MalformedFrame)?;
        let mut contents = BTreeMap::new();
        for bytes in list {
            let content = Content::from_canonical(bytes)?;
            let id = content.id();
            if wanted.binary_search(&id).is_err() || contents.insert(id, content).is_some() {
                return Err(Error::MalformedFrame);
            }
        }
        self.wanted.pop_front();
        self.received.contents.extend(contents);
        Ok(())
    }

    fn on_records(&mut self, list: &[Vec<u8>], replies: &mut Vec<Frame>) -> Result<()> {
        let records: Vec<Record> = list.iter().map(|bytes| Record::from_canonical(bytes)).collect::<Result<_>>()?;
        self.want(&records, replies);
        records.into_iter().for_each(|record| self.received.join(record));
        Ok(())
    }

    /// Asks for the contents of present experiences that are not known.
    fn want<'r>(&mut self, records: impl IntoIterator<Item = &'r Record>, replies: &mut Vec<Frame>) {
        let known = |id: &ExperienceId| self.library.get(id).or_else(|| self.library.archived(id)).is_some();
        let mut lacking: Vec<ExperienceId> = Vec::new();
        for record in records {
            let id = *record.id();
            if !record.presence().is_removed() && !known(&id) && self.asked.insert(id) {
                lacking.push(id);
            }
        }
        for batch in lacking.chunks(WANT) {
            let mut batch = batch.to_vec();
            batch.sort_unstable();
            self.wanted.push_back(batch.clone());
            replies.push(Frame::Want(batch));
        }
    }

    fn fingerprint(&self, from: usize, to: usize) -> RangeKind {
        let digests: Vec<Hash> = self.items[from..to].iter().map(|(_, digest)| *digest).collect();
        // A count beyond 2^32 does not fit in memory.
        RangeKind::Fingerprint { n: digests.len() as u32, root: Log::from_leaves(digests).root() }
    }
}

/// Adds a range; settled neighbours are one.
fn push(ranges: &mut Vec<Range>, bound: Bound, kind: RangeKind) {
    match ranges.last_mut() {
        Some(last) if last.kind == RangeKind::Skip && kind == RangeKind::Skip => last.bound = bound,
        _ => ranges.push(Range { bound, kind }),
    }
}

/// Parts of a range whose fingerprint differs.
const SPLIT: usize = 16;
/// The most records of a range that is listed.
const LIST: usize = 16;
/// The most contents wanted at once: a content has at most 40 KiB, so that one frame holds the answer.
const WANT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LibraryConfig;

    #[test]
    fn an_answer_that_fits_no_frame_changes_nothing() {
        let library = Library::new(LibraryConfig::new("example.com/large".parse().unwrap())).unwrap();
        let mut session = Session::new(&library);
        let id =
            |i: u32| ExperienceId::from_bytes(core::array::from_fn(|at| i.to_be_bytes().get(at).map_or(0, |b| *b)));
        session.items = (0..70_000).map(|i| (id(i), Hash::from_bytes([0; 32]))).collect();
        session.on_frame(&session.hello().to_bytes().unwrap()).unwrap();

        // A peer that differs everywhere, in ranges short enough to be listed.
        let kind = RangeKind::Fingerprint { n: 1, root: Hash::from_bytes([0; 32]) };
        let ends = (1..4_375).map(|part| Bound(id(part * 16))).chain([Bound::END]);
        let ranges: Vec<Range> = ends.map(|bound| Range { bound, kind: kind.clone() }).collect();
        let all = Frame::Ranges(ranges.clone()).to_bytes().unwrap();
        assert!(matches!(session.on_frame(&all), Err(Error::TooManyBytes { .. })));
        assert!(session.listed.is_empty() && session.awaiting);

        // The session still answers what fits.
        let few = ranges[..9].iter().cloned().chain([Range { bound: Bound::END, kind: RangeKind::Skip }]);
        assert_eq!(session.on_frame(&Frame::Ranges(few.collect()).to_bytes().unwrap()).unwrap().len(), 1);
    }
}
