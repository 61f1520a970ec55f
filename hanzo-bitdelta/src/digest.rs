//! Names that follow from content: of base models and of adapters.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::dtype::Dtype;
use crate::error::{Error, Extent, Result};

/// BLAKE3 digest of the base tensors that an adapter changes; see [`base_digest`]. Its text is `blake3:` and 64 lower-case
/// hexadecimal digits.
///
/// ```
/// use hanzo_bitdelta::BaseDigest;
/// let digest = BaseDigest::from_bytes([0xab; 32]);
/// assert_eq!(digest.to_string(), format!("blake3:{}", "ab".repeat(32)));
/// assert_eq!(digest.to_string().parse(), Ok(digest));
/// assert!("".parse::<BaseDigest>().is_err() && "AB".repeat(32).parse::<BaseDigest>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BaseDigest([u8; 32]);

/// BLAKE3 digest of an adapter's canonical header, and through it of all its tensors. Its text is 64 lower-case hexadecimal
/// digits.
///
/// ```
/// use hanzo_bitdelta::AdapterId;
/// let id = AdapterId::from_bytes([0xab; 32]);
/// assert_eq!((id.to_string(), "ab".repeat(32).parse()), ("ab".repeat(32), Ok(id)));
/// assert!("AB".repeat(32).parse::<AdapterId>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdapterId([u8; 32]);

impl BaseDigest {
    /// The digest with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl AdapterId {
    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of the adapter with this header, which has no trailing spaces.
    pub(crate) fn of_header(header: &[u8]) -> Self {
        Self(blake3::derive_key(ADAPTER_CONTEXT, header))
    }
}

impl fmt::Display for BaseDigest {
    /// `blake3:` and 64 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BASE_PREFIX}{}", Hex(&self.0))
    }
}

impl fmt::Display for AdapterId {
    /// 64 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl FromStr for BaseDigest {
    type Err = Error;

    /// # Errors
    /// [`Error::Malformed`] for text that `Display` does not give.
    fn from_str(text: &str) -> Result<Self> {
        parse_base(text).flatten().ok_or(Error::Malformed { reason: "the base digest is no digest" })
    }
}

impl FromStr for AdapterId {
    type Err = Error;

    /// # Errors
    /// [`Error::Malformed`] for text that `Display` does not give.
    fn from_str(text: &str) -> Result<Self> {
        parse_hex(text).map(Self).ok_or(Error::Malformed { reason: "the adapter id is not 64 lower-case digits" })
    }
}

/// A named tensor as little-endian row-major bytes, such as one read from a safetensors file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorView<'a> {
    name: &'a str,
    dtype: Dtype,
    shape: &'a [usize],
    data: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// A view of a tensor.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when `data` is not as long as the shape and the type say.
    pub fn new(name: &'a str, dtype: Dtype, shape: &'a [usize], data: &'a [u8]) -> Result<Self> {
        check_len(dtype, shape, data)?;
        Ok(Self { name, dtype, shape, data })
    }

    /// Name of the tensor.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Shape.
    #[must_use]
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// Little-endian row-major bytes.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        self.data
    }
}

/// Digest of the base tensors that an adapter changes (its packed and zero entries), in any order: BLAKE3 in
/// key-derivation mode over their sorted names, types, shapes and the BLAKE3 of their bytes.
///
/// # Errors
/// [`Error::DuplicateTensor`] when two tensors have one name; [`Error::TooLarge`] for a name of 4 GiB or a rank above 255.
pub fn base_digest(tensors: &[TensorView<'_>]) -> Result<BaseDigest> {
    let mut sorted: Vec<&TensorView<'_>> = tensors.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(b.name));
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Error::DuplicateTensor(pair[0].name.to_string()));
    }
    let mut hasher = blake3::Hasher::new_derive_key(BASE_CONTEXT);
    for tensor in sorted {
        let too_large = |what, value: usize, limit| Error::TooLarge { what, value: value as u64, limit };
        let name = tensor.name.as_bytes();
        let len = u32::try_from(name.len());
        let len = len.map_err(|_| too_large("length of a name", name.len(), u64::from(u32::MAX)))?;
        hasher.update(&len.to_le_bytes()).update(name);
        let word = tensor.dtype.word().as_bytes();
        // All words are shorter than ten bytes.
        hasher.update(&[word.len() as u8]).update(word);
        let rank = u8::try_from(tensor.shape.len());
        hasher.update(&[rank.map_err(|_| too_large("rank", tensor.shape.len(), u64::from(u8::MAX)))?]);
        for &dim in tensor.shape {
            hasher.update(&(dim as u64).to_le_bytes());
        }
        hasher.update(blake3::hash(tensor.data).as_bytes());
    }
    Ok(BaseDigest(*hasher.finalize().as_bytes()))
}

/// Checks that bytes are as long as the shape and the type say.
pub(crate) fn check_len(dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<()> {
    let expected = shape.iter().try_fold(dtype.size(), |product, &dim| product.checked_mul(dim));
    if expected == Some(data.len()) {
        return Ok(());
    }
    let expected = Extent { dtype: Some(dtype), dims: shape.to_vec() };
    let found = Extent { dtype: Some(Dtype::U8), dims: alloc::vec![data.len()] };
    Err(Error::ShapeMismatch { expected, found })
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8; 32]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The 32 bytes of 64 lower-case hexadecimal digits.
pub(crate) fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

/// The base digest that a file states: `None` for text that is none, `Some(None)` for a file without one.
pub(crate) fn parse_base(text: &str) -> Option<Option<BaseDigest>> {
    if text.is_empty() {
        return Some(None);
    }
    parse_hex(text.strip_prefix(BASE_PREFIX)?).map(|bytes| Some(BaseDigest(bytes)))
}

const BASE_PREFIX: &str = "blake3:";
const BASE_CONTEXT: &str = "hanzo-bitdelta v1 base";
const ADAPTER_CONTEXT: &str = "hanzo-bitdelta v1 adapter";
