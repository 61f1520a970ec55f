//! The error of every fallible call.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::digest::BaseDigest;
use crate::dtype::Dtype;
use crate::kernel::Backend;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Everything that can go wrong, with the numbers a caller needs.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An input holds a NaN or an infinity. Vectors are rows: their `row` is the token.
    #[error("`{tensor}` is not finite at row {row}, column {col}")]
    NonFinite {
        /// Name of the tensor, or of the argument where it has no name.
        tensor: String,
        /// Row of the first such element.
        row: usize,
        /// Column of the first such element.
        col: usize,
    },
    /// The inputs are finite, but a result would not be, or could not be proven to be.
    #[error("the magnitudes are too large for f32: a {what} would overflow")]
    Overflow {
        /// What would overflow.
        what: &'static str,
    },
    /// Shapes, lengths or element types differ.
    #[error("expected {expected}, found {found}")]
    ShapeMismatch {
        /// What the call needs.
        expected: Extent,
        /// What it was given.
        found: Extent,
    },
    /// An option has a value outside its range.
    #[error("invalid option: {what} is {value}")]
    InvalidOptions {
        /// The option and its rule.
        what: &'static str,
        /// The value given; whole numbers above 2^53 are rounded.
        value: f64,
    },
    /// A scale is negative, `-0.0`, not finite, or does not fit the stored type.
    #[error("scale {index} is {value}, which cannot be stored")]
    InvalidScale {
        /// Index among all scales, plane by plane.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A tensor that has to be there is not.
    #[error("tensor `{0}` is missing")]
    MissingTensor(String),
    /// Two entries, or the tensors they are stored in, share a name.
    #[error("tensor `{0}` is there twice")]
    DuplicateTensor(String),
    /// The entry of this name has no packed delta to multiply with.
    #[error("tensor `{0}` is not packed")]
    NotPacked(String),
    /// The bytes are not an adapter file, or break a rule of the format.
    #[error("malformed adapter: {reason}")]
    Malformed {
        /// The rule that is broken.
        reason: &'static str,
    },
    /// A size is above the limit of the format, or of this machine.
    #[error("{what} is {value}, above the limit of {limit}")]
    TooLarge {
        /// The size that is too large.
        what: &'static str,
        /// Its value; `u64::MAX` where the true value does not fit.
        value: u64,
        /// The largest value allowed.
        limit: u64,
    },
    /// The file is of another version of the format.
    #[error("format version `{found}` is not supported")]
    UnsupportedVersion {
        /// The version the file states.
        found: String,
    },
    /// The header says the right thing in other bytes than the canonical ones.
    #[error("the header is not canonical: it differs at byte {at} of the file")]
    NonCanonical {
        /// Offset of the first byte that differs.
        at: usize,
    },
    /// The stored bytes of a tensor do not have the digest that the manifest states.
    #[error("the bytes of tensor `{tensor}` do not match their digest")]
    Checksum {
        /// Name of the stored tensor.
        tensor: String,
    },
    /// The adapter was made for another base model.
    #[error("the adapter belongs to base {expected}, not to {found}")]
    BaseMismatch {
        /// The base the adapter states.
        expected: BaseDigest,
        /// The base the caller has.
        found: BaseDigest,
    },
    /// The adapter does not say which base it belongs to.
    #[error("the adapter is not bound to a base model")]
    Unbound,
    /// This machine or build cannot run the backend.
    #[error("backend {0:?} cannot run here")]
    Unavailable(Backend),
    /// A Gram matrix, damped, is not positive definite: more damping or more samples are needed.
    #[error("the damped Gram matrix is not positive definite")]
    NotPositiveDefinite,
    /// A loss or a gradient is not finite.
    #[error("the loss is not finite at step {step}")]
    Diverged {
        /// The step; 0 before the first.
        step: u32,
    },
    /// A store has no adapter of this name, for this base and generation.
    #[error("adapter `{0}` is not in the store")]
    MissingAdapter(String),
    /// Pinned adapters would take more than the cache may hold.
    #[error("pinning needs {needed} bytes, of which the cache may hold {limit}")]
    CacheFull {
        /// Bytes of all pinned adapters with the new one.
        needed: u64,
        /// Bytes that the cache may hold.
        limit: u64,
    },
    /// A file could not be read, or not be written.
    #[cfg(feature = "std")]
    #[cfg_attr(docsrs, doc(cfg(feature = "std")))]
    #[error("the file could not be read or written: {kind}")]
    Io {
        /// What the operating system reported.
        kind: std::io::ErrorKind,
    },
}

/// The size of a matrix, vector or tensor in an error, with its element type where that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Element type, where types were compared.
    pub dtype: Option<Dtype>,
    /// Number of elements along each dimension.
    pub dims: Vec<usize>,
}

impl Extent {
    /// Reports that `found` is not `expected`, sizes only.
    pub(crate) fn mismatch(expected: &[usize], found: &[usize]) -> Error {
        Error::ShapeMismatch { expected: expected.into(), found: found.into() }
    }

    /// Checks that two sizes are equal.
    pub(crate) fn check(expected: &[usize], found: &[usize]) -> Result<()> {
        if expected == found { Ok(()) } else { Err(Self::mismatch(expected, found)) }
    }
}

impl From<&[usize]> for Extent {
    fn from(dims: &[usize]) -> Self {
        Self { dtype: None, dims: dims.into() }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(dtype) = self.dtype {
            write!(f, "{dtype} ")?;
        }
        write!(f, "{:?}", self.dims)
    }
}
