use std::collections::BTreeMap;

use crate::{Error, ExperienceId, Result};

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

/// What to look for.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    k: usize,
    min_similarity: Option<f32>,
}

impl Search {
    /// The `k` nearest; all if there are fewer.
    pub fn new(k: usize) -> Self {
        Self { k, min_similarity: None }
    }

    /// Only hits of at least this cosine. Default: no floor.
    pub fn min_similarity(mut self, cosine: f32) -> Self {
        self.min_similarity = Some(cosine);
        self
    }
}

/// An experience found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its id.
    pub id: ExperienceId,
    /// Cosine to the query.
    pub score: f32,
}

/// Exact nearest neighbours by cosine, over unit vectors of one encoder.
///
/// Rows are checked and scaled once. A dot product sums 16 lanes and then a fixed tree, so that the same rows give the
/// same bits in any order of insertion. A search costs O(n d).
///
/// ```
/// use hanzo_experience::{ExperienceId, Search, VectorIndex};
///
/// let id = |byte| ExperienceId::from_bytes([byte; 32]);
/// let mut index = VectorIndex::new("toy-2d", 2)?;
/// index.insert(id(1), &[3.0, 0.0])?;
/// index.insert(id(2), &[1.0, 1.0])?;
/// let hits = index.search(&[2.0, 0.1], &Search::new(1))?;
/// assert_eq!(hits[0].id, id(1));
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct VectorIndex {
    encoder: String,
    dimension: usize,
    /// Row of each id.
    places: BTreeMap<ExperienceId, usize>,
    /// Id of each row.
    ids: Vec<ExperienceId>,
    /// Unit rows, each padded with zeros to a multiple of the lanes.
    rows: Vec<f32>,
}

impl VectorIndex {
    /// An empty index for vectors of this encoder and dimension.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless `1 <= dimension <= 65,536`.
    pub fn new(encoder: impl Into<String>, dimension: usize) -> Result<Self> {
        if !(1..=MAX_DIMENSION).contains(&dimension) {
            return Err(Error::OutOfRange { field: "dimension" });
        }
        Ok(Self { encoder: encoder.into(), dimension, places: BTreeMap::new(), ids: Vec::new(), rows: Vec::new() })
    }

    /// Sets the vector of `id`, replacing an earlier one.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], [`Error::NonFinite`], [`Error::ZeroNorm`].
    pub fn insert(&mut self, id: ExperienceId, vector: &[f32]) -> Result<()> {
        let row = self.unit(vector)?;
        self.insert_row(id, &row);
        Ok(())
    }

    /// Removes the vector of `id`; whether there was one.
    pub fn remove(&mut self, id: &ExperienceId) -> bool {
        self.take_row(id).is_some()
    }

    /// The nearest ids: cosine descending (by [`f32::total_cmp`]), then id ascending.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], [`Error::NonFinite`], [`Error::ZeroNorm`] for the query; [`Error::OutOfRange`] if
    /// the least similarity is not finite.
    pub fn search(&self, query: &[f32], search: &Search) -> Result<Vec<Hit>> {
        let query = self.unit(query)?;
        let floor = search.min_similarity.unwrap_or(f32::MIN);
        if !floor.is_finite() {
            return Err(Error::OutOfRange { field: "min_similarity" });
        }
        if search.k == 0 {
            return Ok(Vec::new());
        }
        let rows = self.rows.chunks_exact(query.len());
        let scored = self.ids.iter().zip(rows).map(|(id, row)| Hit { id: *id, score: dot(&query, row) });
        let mut hits: Vec<Hit> = scored.filter(|hit| hit.score >= floor).collect();
        let nearer = |a: &Hit, b: &Hit| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id));
        if search.k < hits.len() {
            hits.select_nth_unstable_by(search.k, nearer);
            hits.truncate(search.k);
        }
        hits.sort_unstable_by(nearer);
        Ok(hits)
    }

    /// Cosine of two stored vectors, if both are there.
    pub fn cosine(&self, a: &ExperienceId, b: &ExperienceId) -> Option<f32> {
        Some(dot(self.row(a)?, self.row(b)?))
    }

    /// The encoder.
    pub fn encoder_id(&self) -> &str {
        &self.encoder
    }

    /// Components of a vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether `id` has a vector.
    pub fn contains(&self, id: &ExperienceId) -> bool {
        self.places.contains_key(id)
    }

    /// The stored row of `id`.
    pub(crate) fn row(&self, id: &ExperienceId) -> Option<&[f32]> {
        let width = self.width();
        let start = self.places.get(id)? * width;
        self.rows.get(start..start + width)
    }

    /// The row of `vector`: checked, scaled to norm 1, padded.
    pub(crate) fn unit(&self, vector: &[f32]) -> Result<Vec<f32>> {
        if vector.len() != self.dimension {
            return Err(Error::DimensionMismatch { got: vector.len(), want: self.dimension });
        }
        if let Some(index) = vector.iter().position(|x| !x.is_finite()) {
            return Err(Error::NonFinite { index });
        }
        // Squares of f32 neither overflow nor underflow in f64.
        let norm = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        if norm == 0.0 {
            return Err(Error::ZeroNorm);
        }
        let mut row: Vec<f32> = vector.iter().map(|x| (f64::from(*x) / norm) as f32).collect();
        row.resize(self.width(), 0.0);
        Ok(row)
    }

    /// Sets a row that [`unit`](Self::unit) made.
    pub(crate) fn insert_row(&mut self, id: ExperienceId, row: &[f32]) {
        match self.places.get(&id) {
            Some(place) => {
                let start = place * self.width();
                self.rows[start..start + row.len()].copy_from_slice(row);
            }
            None => {
                self.places.insert(id, self.ids.len());
                self.ids.push(id);
                self.rows.extend_from_slice(row);
            }
        }
    }

    /// Removes and returns a row; the last row takes its place.
    pub(crate) fn take_row(&mut self, id: &ExperienceId) -> Option<Vec<f32>> {
        let place = self.places.remove(id)?;
        let width = self.width();
        let (start, last) = (place * width, self.rows.len() - width);
        let row = self.rows[start..start + width].to_vec();
        self.rows.copy_within(last.., start);
        self.rows.truncate(last);
        self.ids.swap_remove(place);
        if let Some(moved) = self.ids.get(place) {
            self.places.insert(*moved, place);
        }
        Some(row)
    }

    fn width(&self) -> usize {
        self.dimension.next_multiple_of(LANES)
    }
}

/// Equal encoders and equal vectors per id; the order of insertion does not count.
impl PartialEq for VectorIndex {
    fn eq(&self, other: &Self) -> bool {
        self.encoder == other.encoder
            && self.dimension == other.dimension
            && self.ids.len() == other.ids.len()
            && self.ids.iter().all(|id| self.row(id) == other.row(id))
    }
}

/// Dot product of rows whose length is a multiple of the lanes: 16 running sums, then a fixed tree.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a, _) = a.as_chunks::<LANES>();
    let (b, _) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0]
}

const LANES: usize = 16;
const MAX_DIMENSION: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ExperienceId {
        ExperienceId::from_bytes([byte; 32])
    }

    #[test]
    fn removal_keeps_the_other_rows() {
        let mut index = VectorIndex::new("e", 3).unwrap();
        for byte in 0..5 {
            index.insert(id(byte), &[f32::from(byte), 1.0, 0.5]).unwrap();
        }
        let before = index.clone();
        let row = index.take_row(&id(1)).unwrap();
        assert!(!index.remove(&id(1)));
        assert_eq!(index.len(), 4);
        for byte in [0, 2, 3, 4] {
            assert_eq!(index.row(&id(byte)), before.row(&id(byte)));
        }
        assert_ne!(index, before);
        index.insert_row(id(1), &row);
        assert_eq!(index, before);
        assert!(index.take_row(&id(1)).is_some() && index.row(&id(1)).is_none());
    }

    #[test]
    fn extreme_vectors_have_finite_rows() {
        let index = VectorIndex::new("e", 2).unwrap();
        for vector in [[f32::MAX, f32::MAX], [1e-45, 0.0], [f32::MAX, 1e-45]] {
            let row = index.unit(&vector).unwrap();
            assert!((dot(&row, &row) - 1.0).abs() < 1e-6, "{vector:?}");
        }
        assert_eq!(index.unit(&[0.0, -0.0]), Err(Error::ZeroNorm));
        assert_eq!(index.unit(&[0.0, f32::NAN]), Err(Error::NonFinite { index: 1 }));
    }
}
