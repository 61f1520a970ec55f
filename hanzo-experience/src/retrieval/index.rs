use std::collections::BTreeMap;

use super::kernel::{LANES, dot, dots};
use super::{Hit, Search};
use crate::{Error, ExperienceId, Result};

/// Finds near vectors: the seam for approximate indexes (HNSW, IVF, ScaNN), whose candidates a library scores exactly
/// ([`Library::retrieve_from`](crate::Library::retrieve_from)).
///
/// # Guarantees
/// Ids are distinct. They may be of vectors that were removed since, and near ones may be missing.
pub trait Index {
    /// About `k` ids near to the query, with scores of its own.
    ///
    /// # Errors
    /// Those of the query: [`Error::DimensionMismatch`], [`Error::NonFinite`], [`Error::ZeroNorm`].
    fn nearest(&self, query: &[f32], k: usize) -> Result<Vec<Hit>>;

    /// The encoder of its vectors.
    fn encoder_id(&self) -> &str;
}

/// Exact nearest neighbours by cosine, over unit vectors of one encoder.
///
/// Rows are checked and scaled once. A dot product sums 16 lanes and then a fixed tree, so that the same rows give the
/// same bits in any order of insertion and on any processor. A search costs O(n d).
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

    /// The nearest ids: cosine descending (by [`f32::total_cmp`]), then id ascending; with diversity, in the order of
    /// choice.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], [`Error::NonFinite`], [`Error::ZeroNorm`] for the query; [`Error::OutOfRange`] for
    /// a floor that is not finite, or a diversity or quality weight outside 0..=1.
    pub fn search(&self, query: &[f32], search: &Search) -> Result<Vec<Hit>> {
        let query = self.unit(query)?;
        search.check()?;
        let floor = search.min_similarity.unwrap_or(f32::MIN);
        let hits = self.top(&query, search.pool(), floor);
        Ok(search.choose(hits, |id| self.row(id)))
    }

    /// The `count` nearest rows of at least `floor`.
    fn top(&self, query: &[f32], count: usize, mut floor: f32) -> Vec<Hit> {
        if count == 0 {
            return Vec::new();
        }
        let nearer =
            |a: &(f32, usize), b: &(f32, usize)| b.0.total_cmp(&a.0).then_with(|| self.ids[a.1].cmp(&self.ids[b.1]));
        // What may still be among the nearest; cut back whenever it has doubled, which raises the floor.
        let room = count.min(self.ids.len()).saturating_mul(2).max(64);
        let mut kept: Vec<(f32, usize)> = Vec::with_capacity(room);
        let mut offer = |score: f32, place: usize| {
            if score >= floor {
                kept.push((score, place));
                if kept.len() == room {
                    let (_, last, _) = kept.select_nth_unstable_by(count - 1, nearer);
                    floor = last.0;
                    kept.truncate(count);
                }
            }
        };
        let mut scores = [0.0; TOGETHER];
        for (block, rows) in self.rows.chunks(TOGETHER * query.len()).enumerate() {
            let scores = &mut scores[..rows.len() / query.len()];
            dots(query, rows, scores);
            scores.iter().enumerate().for_each(|(at, score)| offer(*score, block * TOGETHER + at));
        }
        kept.sort_unstable_by(nearer);
        kept.truncate(count);
        kept.into_iter().map(|(score, place)| Hit { id: self.ids[place], score }).collect()
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

impl Index for VectorIndex {
    fn nearest(&self, query: &[f32], k: usize) -> Result<Vec<Hit>> {
        self.search(query, &Search::new(k))
    }

    fn encoder_id(&self) -> &str {
        &self.encoder
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

/// Rows whose scores are computed before they are looked at.
const TOGETHER: usize = 64;
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
