use crate::merkle::{Hash, Origin};
use crate::{Error, ExperienceId, Result};

/// A message between two sessions.
///
/// The bytes are `HXS1`, a type byte, the length of the body as four bytes, and the body; integers are big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// Type 1: who is there.
    Hello(Hello),
    /// Type 2: what is known of each range of ids. Ranges ascend, the first begins at zero, the last ends the ids.
    Ranges(Vec<Range>),
    /// Type 3: ids of contents to send, strictly ascending.
    Want(Vec<ExperienceId>),
    /// Type 4: canonical bytes of contents that were wanted.
    Contents(Vec<Vec<u8>>),
    /// Type 5: canonical bytes of records.
    Records(Vec<Vec<u8>>),
    /// Type 6: nothing more is needed.
    Done,
}

/// State of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The library.
    pub origin: Origin,
    /// Entries of the replica's own log.
    pub log_size: u64,
    /// Root of that log.
    pub log_root: Hash,
    /// Active experiences.
    pub state_size: u32,
    /// Root over them.
    pub state_root: Hash,
}

/// A range of ids: from the bound of the range before up to its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Where it ends.
    pub bound: Bound,
    /// What is said of it.
    pub kind: RangeKind,
}

/// Upper bound of a range: 32 bytes, exclusive, but `FF` 32 times, which no range exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bound(pub ExperienceId);

impl Bound {
    /// The end of all ids.
    pub const END: Self = Self(ExperienceId::from_bytes([0xff; 32]));

    /// Whether an id lies below.
    pub fn holds(&self, id: &ExperienceId) -> bool {
        *self == Self::END || *id < self.0
    }
}

/// What is said of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeKind {
    /// Mode 0: nothing, it is settled.
    Skip,
    /// Mode 1: the RFC 9162 root over the digests of its records, in order of their ids.
    Fingerprint {
        /// Number of records.
        n: u32,
        /// The root.
        root: Hash,
    },
    /// Mode 2: id and digest of every record, strictly ascending.
    Items(Vec<(ExperienceId, Hash)>),
}

impl Frame {
    /// The most bytes of a body.
    pub const MAX_BODY: usize = 4 << 20;
    const HEAD: usize = 9;

    /// The bytes.
    ///
    /// # Errors
    /// [`Error::TooManyBytes`] for a body above 4 MiB; [`Error::OutOfRange`] for more than 65,535 ranges.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        let kind = match self {
            Self::Hello(hello) => {
                // An origin has at most 255 bytes.
                body.extend((hello.origin.as_str().len() as u16).to_be_bytes());
                body.extend(hello.origin.as_str().bytes());
                body.extend(hello.log_size.to_be_bytes());
                body.extend(hello.log_root.as_bytes());
                body.extend(hello.state_size.to_be_bytes());
                body.extend(hello.state_root.as_bytes());
                1
            }
            Self::Ranges(ranges) => {
                let count = u16::try_from(ranges.len()).map_err(|_| Error::OutOfRange { field: "ranges" })?;
                body.extend(count.to_be_bytes());
                ranges.iter().try_for_each(|range| write_range(&mut body, range))?;
                2
            }
            Self::Want(ids) => {
                write_count(&mut body, ids.len())?;
                body.extend(ids.iter().flat_map(ExperienceId::as_bytes));
                3
            }
            Self::Contents(list) | Self::Records(list) => {
                write_count(&mut body, list.len())?;
                for bytes in list {
                    write_count(&mut body, bytes.len())?;
                    body.extend(bytes);
                }
                if matches!(self, Self::Contents(_)) { 4 } else { 5 }
            }
            Self::Done => 6,
        };
        if body.len() > Self::MAX_BODY {
            return Err(Error::TooManyBytes { got: body.len(), max: Self::MAX_BODY });
        }
        let mut bytes = MAGIC.to_vec();
        bytes.push(kind);
        write_count(&mut bytes, body.len())?;
        bytes.extend(body);
        Ok(bytes)
    }

    /// A frame from exactly its bytes. Memory stays within a small multiple of theirs.
    ///
    /// # Errors
    /// [`Error::MalformedFrame`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut head = Reader(bytes);
        if head.take(MAGIC.len())? != MAGIC {
            return Err(Error::MalformedFrame);
        }
        let [kind] = head.array()?;
        let length = head.length()?;
        if length > Self::MAX_BODY || length != bytes.len() - Self::HEAD {
            return Err(Error::MalformedFrame);
        }
        let mut body = head;
        let frame = match kind {
            1 => {
                let length = u16::from_be_bytes(body.array()?);
                let origin = core::str::from_utf8(body.take(length.into())?).map_err(|_| Error::MalformedFrame)?;
                Self::Hello(Hello {
                    origin: origin.parse().map_err(|_| Error::MalformedFrame)?,
                    log_size: u64::from_be_bytes(body.array()?),
                    log_root: body.array()?.into(),
                    state_size: u32::from_be_bytes(body.array()?),
                    state_root: body.array()?.into(),
                })
            }
            2 => Self::Ranges(read_ranges(&mut body)?),
            3 => {
                let n = body.length()?;
                let ids = body.list(n, |body| Ok(ExperienceId::from_bytes(body.array()?)))?;
                if !ids.is_sorted_by(|a, b| a < b) {
                    return Err(Error::MalformedFrame);
                }
                Self::Want(ids)
            }
            4 | 5 => {
                let n = body.length()?;
                let list = body.list(n, |body| {
                    let length = body.length()?;
                    body.take(length).map(<[u8]>::to_vec)
                })?;
                if kind == 4 { Self::Contents(list) } else { Self::Records(list) }
            }
            6 => Self::Done,
            _ => return Err(Error::MalformedFrame),
        };
        if body.0.is_empty() { Ok(frame) } else { Err(Error::MalformedFrame) }
    }
}

const MAGIC: &[u8] = b"HXS1";

fn write_count(out: &mut Vec<u8>, n: usize) -> Result<()> {
    let n = u32::try_from(n).map_err(|_| Error::TooManyBytes { got: n, max: u32::MAX as usize })?;
    out.extend(n.to_be_bytes());
    Ok(())
}

fn write_range(out: &mut Vec<u8>, range: &Range) -> Result<()> {
    out.extend(range.bound.0.as_bytes());
    match &range.kind {
        RangeKind::Skip => out.push(0),
        RangeKind::Fingerprint { n, root } => {
            out.push(1);
            out.extend(n.to_be_bytes());
            out.extend(root.as_bytes());
        }
        RangeKind::Items(items) => {
            out.push(2);
            write_count(out, items.len())?;
            for (id, digest) in items {
                out.extend(id.as_bytes());
                out.extend(digest.as_bytes());
            }
        }
    }
    Ok(())
}

fn read_ranges(body: &mut Reader<'_>) -> Result<Vec<Range>> {
    let n = u16::from_be_bytes(body.array()?);
    let mut ranges: Vec<Range> = Vec::new();
    for _ in 0..n {
        let bound = Bound(ExperienceId::from_bytes(body.array()?));
        let before = ranges.last().map(|range| range.bound);
        if before.is_some_and(|before| before >= bound) {
            return Err(Error::MalformedFrame);
        }
        let [mode] = body.array()?;
        let kind = match mode {
            0 => RangeKind::Skip,
            1 => RangeKind::Fingerprint { n: u32::from_be_bytes(body.array()?), root: body.array()?.into() },
            2 => {
                let n = body.length()?;
                let items = body.list(n, |body| Ok((ExperienceId::from_bytes(body.array()?), body.array()?.into())))?;
                let inside =
                    |(id, _): &(ExperienceId, Hash)| bound.holds(id) && before.is_none_or(|before| !before.holds(id));
                if !items.iter().all(inside) || !items.is_sorted_by(|a, b| a.0 < b.0) {
                    return Err(Error::MalformedFrame);
                }
                RangeKind::Items(items)
            }
            _ => return Err(Error::MalformedFrame),
        };
        ranges.push(Range { bound, kind });
    }
    if ranges.last().is_some_and(|range| range.bound == Bound::END) { Ok(ranges) } else { Err(Error::MalformedFrame) }
}

/// What is left of a body.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Error::MalformedFrame)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Error::MalformedFrame)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn length(&mut self) -> Result<usize> {
        Ok(u32::from_be_bytes(self.array()?) as usize)
    }

    /// `n` values, each of at least one byte, so that nothing is reserved for what is not there.
    fn list<T>(&mut self, n: usize, mut read: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut list = Vec::new();
        for _ in 0..n {
            list.push(read(self)?);
        }
        Ok(list)
    }
}
