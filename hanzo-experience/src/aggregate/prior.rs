use super::Fixed;
use crate::{Error, Result};

/// Advantages of the elements of a [schema](super::Schema); elements may be absent, which is not zero.
///
/// Bytes: `HXP1`, schema as eight bytes, number of elements and number of those present as four bytes each, then index
/// (four bytes, ascending) and value (eight bytes) of each one present; all integers big-endian.
///
/// ```
/// use hanzo_experience::aggregate::{Fixed, Prior};
///
/// let prior = Prior::new(7, 1_000, [(3, Fixed::from_f64(0.5)?), (900, Fixed::from_f64(-0.25)?)])?;
/// assert_eq!(Prior::from_bytes(&prior.to_bytes())?, prior);
/// assert_eq!(prior.get(4), None);
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prior {
    schema: u64,
    dimension: u32,
    indices: Vec<u32>,
    values: Vec<Fixed>,
}

impl Prior {
    /// Largest number of elements: 2^24.
    pub const MAX_DIMENSION: u32 = 1 << 24;

    /// A prior of `dimension` elements, those present given by strictly ascending index.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless `1 <= dimension <= 2^24`; [`Error::IndexOutOfRange`], [`Error::IndexOrder`].
    pub fn new(schema: u64, dimension: u32, present: impl IntoIterator<Item = (u32, Fixed)>) -> Result<Self> {
        check_dimension(dimension)?;
        let (indices, values): (Vec<u32>, Vec<Fixed>) = present.into_iter().unzip();
        if indices.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Error::IndexOrder);
        }
        match indices.last() {
            Some(&last) if last >= dimension => {
                Err(Error::IndexOutOfRange { index: last.into(), size: dimension.into() })
            }
            _ => Ok(Self { schema, dimension, indices, values }),
        }
    }

    /// A prior with every element present.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless it has 1..=2^24 elements.
    pub fn dense(schema: u64, values: Vec<Fixed>) -> Result<Self> {
        let dimension = u32::try_from(values.len()).map_err(|_| Error::OutOfRange { field: "dimension" })?;
        check_dimension(dimension)?;
        Ok(Self { schema, dimension, indices: (0..dimension).collect(), values })
    }

    /// Reads the bytes of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`Error::MalformedPrior`] for another magic, a length that does not fit, or indices out of order or range.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let read = || {
            let (magic, rest) = bytes.split_first_chunk::<4>()?;
            let (schema, rest) = rest.split_first_chunk()?;
            let (dimension, rest) = rest.split_first_chunk()?;
            let (count, rest) = rest.split_first_chunk()?;
            let (pairs, tail) = rest.as_chunks::<12>();
            let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
            if magic != MAGIC || !tail.is_empty() || pairs.len() != count {
                return None;
            }
            let present = pairs.iter().filter_map(|pair| {
                let (index, rest) = pair.split_first_chunk()?;
                let (value, _) = rest.split_first_chunk()?;
                Some((u32::from_be_bytes(*index), Fixed::from_raw(i64::from_be_bytes(*value))))
            });
            Self::new(u64::from_be_bytes(*schema), u32::from_be_bytes(*dimension), present).ok()
        };
        read().ok_or(Error::MalformedPrior)
    }

    /// The bytes that a registry entry names by CID.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(20 + 12 * self.indices.len());
        bytes.extend(MAGIC);
        bytes.extend(self.schema.to_be_bytes());
        bytes.extend(self.dimension.to_be_bytes());
        // At most 2^24.
        bytes.extend((self.indices.len() as u32).to_be_bytes());
        for (index, value) in self.iter() {
            bytes.extend(index.to_be_bytes());
            bytes.extend(value.to_raw().to_be_bytes());
        }
        bytes
    }

    /// The schema.
    pub fn schema(&self) -> u64 {
        self.schema
    }

    /// Number of elements, present or not.
    pub fn dimension(&self) -> u32 {
        self.dimension
    }

    /// Number of elements present.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether no element is present.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Whether every element is present.
    pub fn is_dense(&self) -> bool {
        self.indices.len() == self.dimension as usize
    }

    /// The value of an element, if present.
    pub fn get(&self, index: u32) -> Option<Fixed> {
        self.indices.binary_search(&index).ok().map(|place| self.values[place])
    }

    /// Elements present, by ascending index.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Fixed)> {
        self.indices.iter().copied().zip(self.values.iter().copied())
    }

    /// Indices and values of the elements present.
    pub(super) fn parts(&self) -> (&[u32], &[Fixed]) {
        (&self.indices, &self.values)
    }
}

fn check_dimension(dimension: u32) -> Result<()> {
    if (1..=Prior::MAX_DIMENSION).contains(&dimension) { Ok(()) } else { Err(Error::OutOfRange { field: "dimension" }) }
}

const MAGIC: &[u8; 4] = b"HXP1";
