use core::fmt;
use core::str::FromStr;

use base64ct::{Base64, Encoding};

use super::hash::commitment;
use super::{
    ConsistencyProof, Hash, InclusionProof, MultiProof, empty_root, verify_consistency, verify_inclusion, verify_multi,
};
use crate::{Error, Result};

/// The name of a log: 1..=255 bytes without white space, control characters or `+`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

impl Origin {
    /// Largest number of bytes.
    pub const MAX_BYTES: usize = 255;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// # Errors
/// [`Error::OutOfRange`] if empty, [`Error::TooManyBytes`], [`Error::ForbiddenChar`].
impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::OutOfRange { field: "origin" });
        }
        if text.len() > Self::MAX_BYTES {
            return Err(Error::TooManyBytes { got: text.len(), max: Self::MAX_BYTES });
        }
        let forbidden = |ch: &char| ch.is_whitespace() || ch.is_control() || *ch == '+';
        match text.chars().find(forbidden) {
            Some(ch) => Err(Error::ForbiddenChar { ch }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a log says of itself: origin, size and root, bound together.
///
/// The text is a [C2SP tlog-checkpoint](https://c2sp.org/tlog-checkpoint) body without extension lines:
/// `origin LF size LF base64(root) LF`. Only that exact form parses.
///
/// ```
/// use hanzo_experience::merkle::{Checkpoint, Log};
///
/// let text = "example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
/// let checkpoint: Checkpoint = text.parse()?;
/// assert_eq!(checkpoint, Log::new().checkpoint(&"example.com/log".parse()?));
/// assert_eq!(checkpoint.to_string(), text);
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: Origin,
    size: u64,
    root: Hash,
}

impl Checkpoint {
    /// A checkpoint received by other means than its text.
    ///
    /// # Errors
    /// [`Error::RootMismatch`] if the size is 0 and the root is not that of the empty tree.
    pub fn new(origin: Origin, size: u64, root: Hash) -> Result<Self> {
        if size == 0 && root != empty_root() {
            return Err(Error::RootMismatch);
        }
        Ok(Self { origin, size, root })
    }

    pub(super) fn trusted(origin: Origin, size: u64, root: Hash) -> Self {
        Self { origin, size, root }
    }

    /// The log.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root over the leaves.
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// 32 bytes that stand for size and root: SHA-256(02 || size, 8 bytes big-endian || root).
    pub fn commitment(&self) -> Hash {
        commitment(2, self.size, &self.root)
    }

    /// Checks that `leaf` stands at `index` under this checkpoint.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`], [`Error::ProofLength`], [`Error::RootMismatch`].
    pub fn verify_inclusion(&self, index: u64, leaf: &Hash, proof: &InclusionProof) -> Result<()> {
        verify_inclusion(index, self.size, leaf, proof, &self.root)
    }

    /// Checks that `leaves[i]` stands at `indices[i]` under this checkpoint, for all i.
    ///
    /// # Errors
    /// Those of [`verify_multi`].
    pub fn verify_many(&self, indices: &[u64], leaves: &[Hash], proof: &MultiProof) -> Result<()> {
        verify_multi(indices, leaves, self.size, proof, &self.root)
    }

    /// Checks that this checkpoint only appended to `old`.
    ///
    /// # Errors
    /// [`Error::WrongOrigin`]; [`Error::Fork`] for one size and two roots, whatever the proof says;
    /// [`Error::EmptyOldTree`], [`Error::SizeOrder`], [`Error::ProofLength`], [`Error::RootMismatch`].
    pub fn verify_extends(&self, old: &Self, proof: &ConsistencyProof) -> Result<()> {
        if self.origin != old.origin {
            return Err(Error::WrongOrigin);
        }
        if self.size == old.size && self.root != old.root {
            return Err(Error::Fork { size: self.size });
        }
        verify_consistency(old.size, &old.root, self.size, &self.root, proof)
    }
}

/// The body, with its final line feed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = Base64::encode_string(self.root.as_bytes());
        write!(f, "{}\n{}\n{root}\n", self.origin, self.size)
    }
}

/// # Errors
/// [`Error::MalformedCheckpoint`] with the line that is wrong.
impl FromStr for Checkpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = |line| Error::MalformedCheckpoint { line };
        let mut lines = text.split('\n');
        let mut next = |line| lines.next().ok_or(malformed(line));
        let origin: Origin = next(1)?.parse().map_err(|_| malformed(1))?;
        let digits = next(2)?;
        let size: u64 = digits.parse().map_err(|_| malformed(2))?;
        let base64 = next(3)?;
        let mut root = [0; Hash::LEN];
        let decoded = Base64::decode(base64, &mut root).map_err(|_| malformed(3))?;
        if decoded.len() != Hash::LEN {
            return Err(malformed(3));
        }
        if !next(4)?.is_empty() || lines.next().is_some() {
            return Err(malformed(4));
        }
        let checkpoint = Self::new(origin, size, root.into()).map_err(|_| malformed(3))?;
        // One text per value: a sign or zero before the size, or loose base64, would print otherwise.
        if size.to_string() != digits {
            return Err(malformed(2));
        }
        if Base64::encode_string(&root) != base64 {
            return Err(malformed(3));
        }
        Ok(checkpoint)
    }
}
