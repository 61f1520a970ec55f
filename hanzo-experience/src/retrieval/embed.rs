use sha2::{Digest, Sha256};

use crate::merkle::Hash;
use crate::{Error, Result};

/// Turns text into vectors. Deterministic for a given encoder id, or retrieval is not.
pub trait Embedder {
    /// Why embedding failed.
    type Error;

    /// The vector of `text`: as many components as the encoder has, finite, not all zero.
    ///
    /// # Errors
    /// Whatever the encoder reports.
    fn embed(&self, text: &str) -> Result<Vec<f32>, Self::Error>;

    /// Name of the encoder, down to its version: vectors of different encoders are never compared.
    fn encoder_id(&self) -> &str;
}

/// An [`Embedder`] from a closure.
///
/// ```
/// use hanzo_experience::{Embedder, FnEmbedder};
///
/// let counts = |text: &str| Ok::<_, ()>(vec![text.len() as f32, text.split(' ').count() as f32]);
/// let embedder = FnEmbedder::new("counts-v1", counts);
/// assert_eq!(embedder.embed("check the units"), Ok(vec![15.0, 3.0]));
/// assert_eq!(embedder.encoder_id(), "counts-v1");
/// ```
#[derive(Debug, Clone)]
pub struct FnEmbedder<F> {
    encoder: String,
    embed: F,
}

impl<F> FnEmbedder<F> {
    /// An embedder of this name.
    pub fn new(encoder: impl Into<String>, embed: F) -> Self {
        Self { encoder: encoder.into(), embed }
    }
}

impl<E, F: Fn(&str) -> Result<Vec<f32>, E>> Embedder for FnEmbedder<F> {
    type Error = E;

    fn embed(&self, text: &str) -> Result<Vec<f32>, E> {
        (self.embed)(text)
    }

    fn encoder_id(&self) -> &str {
        &self.encoder
    }
}

/// Failure of an [`Embedder`], or of what its vector was for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError<E> {
    /// The embedder failed.
    #[error("embedder failed")]
    Embedder(E),
    /// The vector was refused.
    #[error(transparent)]
    Refused(#[from] Error),
}

/// Digest of a vector and the encoder that made it, to bind a vector that travels beside its content: SHA-256 of
/// `hanzo.experience.embedding.v1`, a zero byte, the encoder id with its length as two bytes big-endian, the dimension
/// as four, and the components as `f32` little-endian.
///
/// # Errors
/// [`Error::TooManyBytes`] for an encoder id of 64 KiB or more; [`Error::OutOfRange`] for a dimension above 2^32 - 1.
pub fn embedding_digest(encoder: &str, vector: &[f32]) -> Result<Hash> {
    let max = usize::from(u16::MAX);
    let length = u16::try_from(encoder.len()).map_err(|_| Error::TooManyBytes { got: encoder.len(), max })?;
    let dimension = u32::try_from(vector.len()).map_err(|_| Error::OutOfRange { field: "dimension" })?;
    let mut hasher = Sha256::new_with_prefix(b"hanzo.experience.embedding.v1\0");
    hasher.update(length.to_be_bytes());
    hasher.update(encoder);
    hasher.update(dimension.to_be_bytes());
    for x in vector {
        hasher.update(x.to_le_bytes());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    Ok(digest.into())
}
