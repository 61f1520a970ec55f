use sha2::{Digest, Sha256};

use super::{Fixed, Prior};
use crate::{Error, Result};

/// What the elements of a [`Prior`] stand for: ranges of tokens, or the neighbourhoods of centroids.
///
/// ```
/// use hanzo_experience::aggregate::{Fixed, Schema};
///
/// let schema = Schema::token_bins(vec![0, 100, 200])?;
/// let prior = schema.decompose_tokens([(5, 1.0), (7, 0.0), (250, -1.0)])?;
/// assert_eq!(prior.get(0), Some(Fixed::from_f64(0.5)?));
/// assert_eq!(prior.get(1), None);
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Schema(Kind);

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// First token of each bin, ascending; a bin ends where the next begins.
    TokenBins(Vec<u32>),
    /// Unit rows, one after the other.
    Centroids { dimension: usize, rows: Vec<f32> },
}

impl Schema {
    /// Bins of tokens by their first ids, strictly ascending; tokens below the first bin are in none.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless there are 1..=2^24 bins; [`Error::IndexOrder`].
    pub fn token_bins(first: Vec<u32>) -> Result<Self> {
        check_len(first.len())?;
        if first.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Error::IndexOrder);
        }
        Ok(Self(Kind::TokenBins(first)))
    }

    /// Neighbourhoods of centroids, which are scaled to unit length.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless there are 1..=2^24 of 1..=65,536 dimensions; [`Error::DimensionMismatch`],
    /// [`Error::NonFinite`], [`Error::ZeroNorm`].
    pub fn centroids(centroids: &[Vec<f32>]) -> Result<Self> {
        check_len(centroids.len())?;
        let dimension = centroids[0].len();
        if !(1..=MAX_VECTOR).contains(&dimension) {
            return Err(Error::OutOfRange { field: "dimension" });
        }
        let mut rows = Vec::with_capacity(dimension * centroids.len());
        for centroid in centroids {
            check_vector(centroid, dimension)?;
            let norm = dot(centroid, centroid).sqrt();
            if norm == 0.0 {
                return Err(Error::ZeroNorm);
            }
            rows.extend(centroid.iter().map(|x| (f64::from(*x) / norm) as f32));
        }
        Ok(Self(Kind::Centroids { dimension, rows }))
    }

    /// The number that names this schema: the first eight bytes of SHA-256 over `hanzo.experience.schema.v1`, 00, and
    /// either 00 and the first tokens, or 01, the dimension and the unit rows; numbers as four bytes each, big-endian.
    pub fn id(&self) -> u64 {
        let mut hasher = Sha256::new().chain_update(b"hanzo.experience.schema.v1\0");
        match &self.0 {
            Kind::TokenBins(first) => {
                hasher.update([0]);
                first.iter().for_each(|token| hasher.update(token.to_be_bytes()));
            }
            Kind::Centroids { dimension, rows } => {
                hasher.update([1]);
                // At most 65,536.
                hasher.update((*dimension as u32).to_be_bytes());
                rows.iter().for_each(|x| hasher.update(x.to_be_bytes()));
            }
        }
        let digest: [u8; 32] = hasher.finalize().into();
        digest.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte))
    }

    /// Number of elements.
    pub fn dimension(&self) -> u32 {
        let elements = match &self.0 {
            Kind::TokenBins(first) => first.len(),
            Kind::Centroids { dimension, rows } => rows.len() / dimension,
        };
        // At most 2^24.
        elements as u32
    }

    /// The bin of a token; none below the first bin, or for centroids.
    pub fn element_of_token(&self, token: u32) -> Option<u32> {
        match &self.0 {
            Kind::TokenBins(first) => {
                first.partition_point(|start| *start <= token).checked_sub(1).map(|bin| bin as u32)
            }
            Kind::Centroids { .. } => None,
        }
    }

    /// The centroid with the greatest dot product with a vector (ties to the lowest index), in `f64` with a fixed order
    /// of summation.
    ///
    /// # Errors
    /// [`Error::SchemaMismatch`] for token bins; [`Error::DimensionMismatch`], [`Error::NonFinite`].
    pub fn element_of_vector(&self, vector: &[f32]) -> Result<u32> {
        let Kind::Centroids { dimension, rows } = &self.0 else {
            return Err(Error::SchemaMismatch);
        };
        check_vector(vector, *dimension)?;
        let mut best = (0, f64::NEG_INFINITY);
        for (index, row) in (0..).zip(rows.chunks_exact(*dimension)) {
            let score = dot(row, vector);
            if score > best.1 {
                best = (index, score);
            }
        }
        Ok(best.0)
    }

    /// The prior of advantages by token: the mean of each bin, rounded half to even; bins without token are absent.
    ///
    /// # Errors
    /// [`Error::SchemaMismatch`] for centroids; those of [`Fixed::from_f64`].
    pub fn decompose_tokens(&self, advantages: impl IntoIterator<Item = (u32, f64)>) -> Result<Prior> {
        if !matches!(self.0, Kind::TokenBins(_)) {
            return Err(Error::SchemaMismatch);
        }
        self.means(advantages.into_iter().map(|(token, advantage)| Ok((self.element_of_token(token), advantage))))
    }

    /// The prior of advantages by vector: the mean of each neighbourhood, rounded half to even; empty ones are absent.
    ///
    /// # Errors
    /// Those of [`element_of_vector`](Self::element_of_vector) and [`Fixed::from_f64`].
    pub fn decompose_vectors<'a>(&self, advantages: impl IntoIterator<Item = (&'a [f32], f64)>) -> Result<Prior> {
        self.means(
            advantages.into_iter().map(|(vector, advantage)| Ok((Some(self.element_of_vector(vector)?), advantage))),
        )
    }

    fn means(&self, parts: impl Iterator<Item = Result<(Option<u32>, f64)>>) -> Result<Prior> {
        let mut sums = vec![(0_i128, 0_u128); self.dimension() as usize];
        for part in parts {
            let (element, advantage) = part?;
            let advantage = Fixed::from_f64(advantage)?;
            if let Some(element) = element {
                let (sum, count) = &mut sums[element as usize];
                *sum += i128::from(advantage.to_raw());
                *count += 1;
            }
        }
        let means = (0..).zip(sums).filter(|(_, (_, count))| *count > 0);
        let means: Vec<(u32, Fixed)> =
            means.map(|(element, (sum, count))| Ok((element, Fixed::mean(sum, count)?))).collect::<Result<_>>()?;
        Prior::new(self.id(), self.dimension(), means)
    }
}

fn check_len(len: usize) -> Result<()> {
    if (1..=Prior::MAX_DIMENSION as usize).contains(&len) { Ok(()) } else { Err(Error::OutOfRange { field: "schema" }) }
}

fn check_vector(vector: &[f32], dimension: usize) -> Result<()> {
    if vector.len() != dimension {
        return Err(Error::DimensionMismatch { got: vector.len(), want: dimension });
    }
    match vector.iter().position(|x| !x.is_finite()) {
        Some(index) => Err(Error::NonFinite { index }),
        None => Ok(()),
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

const MAX_VECTOR: usize = 65_536;
