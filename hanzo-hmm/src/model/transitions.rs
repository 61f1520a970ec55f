//! The transition matrix, with what the kernels derive from it.

use super::{check_distribution, flatten};
use crate::kernel::Aligned;
use crate::kernel::arith::exponent;
use crate::{Error, Result};

/// Transition probabilities: row `i` is the distribution of the next state after state `i`.
///
/// Zeros are structural: training keeps them, and the kernels skip them where they are many.
///
/// ```
/// use hanzo_hmm::Transitions;
///
/// let left_right = Transitions::new(vec![vec![0.9, 0.1], vec![0.0, 1.0]])?;
/// assert_eq!(left_right.row(1), [0.0, 1.0]);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Transitions {
    n_states: usize,
    probabilities: Aligned,
    transposed: Aligned,
    logs: Aligned,
    logs_transposed: Vec<f64>,
    shape: Shape,
}

/// How the scaled kernel may treat the matrix.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// Every entry is at least 2^-600: states whose mass underflows are refilled at the next step.
    Dense {
        /// Steps between two rescalings.
        period: usize,
    },
    /// Some entries are zero or tiny.
    Guarded {
        /// The non-zero entries by row, when they are fewer than half.
        sparse: Option<SparseRows>,
        /// Bit sets of the successors of every state.
        successors: Vec<u64>,
        /// The smallest entry that is not zero.
        smallest: f64,
    },
}

/// Compressed rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SparseRows {
    /// Row `i` holds the entries `starts[i]..starts[i + 1]`.
    starts: Vec<usize>,
    entries: Vec<(usize, f64)>,
}

impl Transitions {
    /// The square matrix with these rows.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyModel`] without rows; [`Error::DimensionMismatch`] when it is not square;
    /// [`Error::NotAProbability`] and [`Error::RowSum`] for a row that is not a distribution. A sum off by at most 1e-6
    /// is normalised, one off by rounding alone is left as it is.
    pub fn new(rows: Vec<Vec<f64>>) -> Result<Self> {
        let n_states = rows.len();
        if n_states == 0 {
            return Err(Error::EmptyModel);
        }
        let mut probabilities = flatten(WHAT, rows, n_states)?;
        for (i, row) in probabilities.chunks_exact_mut(n_states).enumerate() {
            check_distribution(WHAT, i, row)?;
        }
        Ok(Self::from_checked(probabilities, n_states))
    }

    /// Number of states.
    #[must_use]
    pub fn n_states(&self) -> usize {
        self.n_states
    }

    /// The probabilities, row-major `S x S`.
    #[must_use]
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// The distribution after state `i`, empty when there is no such state.
    #[must_use]
    pub fn row(&self, i: usize) -> &[f64] {
        self.probabilities.chunks_exact(self.n_states).nth(i).unwrap_or_default()
    }

    /// The matrix of rows already known to be distributions.
    pub(crate) fn from_checked(probabilities: Vec<f64>, n_states: usize) -> Self {
        let transpose = |matrix: &[f64]| {
            let column = |j| matrix.iter().skip(j).step_by(n_states).copied();
            (0..n_states).flat_map(column).collect::<Vec<_>>()
        };
        let logs: Vec<f64> = probabilities.iter().map(|p| p.ln()).collect();
        Self {
            n_states,
            transposed: Aligned::from(&*transpose(&probabilities)),
            logs_transposed: transpose(&logs),
            logs: Aligned::from(&*logs),
            shape: Shape::of(&probabilities, n_states),
            probabilities: Aligned::from(&*probabilities),
        }
    }

    pub(crate) fn transposed(&self) -> &[f64] {
        &self.transposed
    }

    pub(crate) fn logs(&self) -> &[f64] {
        &self.logs
    }

    pub(crate) fn logs_transposed(&self) -> &[f64] {
        &self.logs_transposed
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }
}

impl Shape {
    fn of(probabilities: &[f64], n_states: usize) -> Self {
        let smallest = probabilities.iter().copied().fold(f64::INFINITY, f64::min);
        if smallest >= DENSE {
            // The largest forward value shrinks at most by `smallest` a step, and so does the backward one; their
            // product has to stay a normal number.
            let bits = -exponent(smallest);
            let period =
                if bits <= 0 { MAX_PERIOD } else { (HEADROOM / bits.unsigned_abs() as usize).clamp(1, MAX_PERIOD) };
            return Self::Dense { period };
        }
        let words = n_states.div_ceil(64);
        let mut successors = vec![0_u64; n_states * words];
        for (bits, row) in successors.chunks_exact_mut(words).zip(probabilities.chunks_exact(n_states)) {
            for (j, _) in row.iter().enumerate().filter(|(_, p)| **p > 0.0) {
                bits[j / 64] |= 1 << (j % 64);
            }
        }
        let non_zero = probabilities.iter().filter(|p| **p > 0.0).count();
        let sparse = (non_zero * 2 < probabilities.len()).then(|| SparseRows::new(probabilities, n_states));
        let smallest = probabilities.iter().copied().filter(|p| *p > 0.0).fold(f64::INFINITY, f64::min);
        Self::Guarded { sparse, successors, smallest }
    }
}

impl SparseRows {
    fn new(matrix: &[f64], width: usize) -> Self {
        let mut rows = Self { starts: vec![0], entries: Vec::new() };
        for row in matrix.chunks_exact(width) {
            rows.entries.extend(row.iter().copied().enumerate().filter(|(_, p)| *p > 0.0));
            rows.starts.push(rows.entries.len());
        }
        rows
    }

    /// The columns and values of the non-zero entries, row by row.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[(usize, f64)]> {
        self.starts.windows(2).map(|ends| &self.entries[ends[0]..ends[1]])
    }
}

const WHAT: &str = "transitions";
/// Smallest entry of a dense matrix, 2^-600.
const DENSE: f64 = 2.409_919_865_102_884e-181;
/// Binary digits that the forward and the backward values may each lose between two rescalings.
const HEADROOM: usize = 300;
const MAX_PERIOD: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_follows_the_entries() {
        let dense = Transitions::new(vec![vec![0.5, 0.5], vec![0.001, 0.999]]).unwrap();
        assert_eq!(dense.shape(), &Shape::Dense { period: 16 });
        let tiny = Transitions::new(vec![vec![1.0, 1e-300], vec![0.5, 0.5]]).unwrap();
        assert!(matches!(tiny.shape(), Shape::Guarded { sparse: None, smallest: 1e-300, .. }));
        let ring = Transitions::new(vec![vec![0.0, 1.0, 0.0], vec![0.0, 0.0, 1.0], vec![1.0, 0.0, 0.0]]).unwrap();
        let Shape::Guarded { sparse: Some(rows), successors, .. } = ring.shape() else { panic!("not sparse") };
        assert_eq!(rows.rows().collect::<Vec<_>>(), [&[(1, 1.0)], &[(2, 1.0)], &[(0, 1.0)]]);
        assert_eq!(successors, &[0b010, 0b100, 0b001]);
        assert_eq!(DENSE, 2f64.powi(-600));
    }

    #[test]
    fn refuses_what_is_not_square() {
        assert_eq!(Transitions::new(vec![]), Err(Error::EmptyModel));
        assert!(matches!(
            Transitions::new(vec![vec![1.0], vec![1.0]]),
            Err(Error::DimensionMismatch { expected: 2, found: 1, .. })
        ));
        assert!(matches!(Transitions::new(vec![vec![f64::NAN]]), Err(Error::NotAProbability { .. })));
    }
}
