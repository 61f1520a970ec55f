//! Sequences of observations.

use super::Labels;
use crate::{Error, Result};

/// A sequence of observations of type `O`, some of which may be missing.
///
/// Slices, vectors and arrays of `O` are sequences without gaps; those of `Option<O>` have a missing step at every
/// `None`. Vectors of numbers come as [`Rows`]. A reference to a sequence is a sequence.
///
/// A missing step contributes no emission probability and no emission statistics; the chain moves on all the same.
pub trait Observations<O>: Sync {
    /// Number of steps.
    fn len(&self) -> usize;

    /// The observation at step `t` (below [`len`](Self::len)), or `None` where it is missing.
    fn get(&self, t: usize) -> Option<O>;

    /// Whether there is no step.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a NaN coordinate stands for a missing one, which is integrated out, and is not an error.
    fn is_partial(&self) -> bool {
        false
    }

    /// The states that the steps allow, for sequences that are partly labelled; see [`Labelled`](crate::Labelled).
    fn labels(&self) -> Option<&Labels> {
        None
    }
}

impl<O: Copy + Sync> Observations<O> for [O] {
    fn len(&self) -> usize {
        <[O]>::len(self)
    }

    fn get(&self, t: usize) -> Option<O> {
        <[O]>::get(self, t).copied()
    }
}

impl<O: Copy + Sync> Observations<O> for [Option<O>] {
    fn len(&self) -> usize {
        <[Option<O>]>::len(self)
    }

    fn get(&self, t: usize) -> Option<O> {
        <[Option<O>]>::get(self, t).copied().flatten()
    }
}

impl<O: Copy, T: Sync> Observations<O> for Vec<T>
where
    [T]: Observations<O>,
{
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn get(&self, t: usize) -> Option<O> {
        Observations::get(self.as_slice(), t)
    }
}

impl<O: Copy, T: Sync, const N: usize> Observations<O> for [T; N]
where
    [T]: Observations<O>,
{
    fn len(&self) -> usize {
        N
    }

    fn get(&self, t: usize) -> Option<O> {
        Observations::get(self.as_slice(), t)
    }
}

impl<O, Q: Observations<O> + ?Sized> Observations<O> for &Q {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn get(&self, t: usize) -> Option<O> {
        (**self).get(t)
    }

    fn is_partial(&self) -> bool {
        (**self).is_partial()
    }

    fn labels(&self) -> Option<&Labels> {
        (**self).labels()
    }
}

/// Vector-valued observations: the rows of a row-major `T x dim` table, of `f64` for Gaussians, of `u64` for counts.
///
/// ```
/// use hanzo_hmm::{Observations, Rows};
///
/// let rows = Rows::new(&[1.0, 2.0, 3.0, 4.0], 2)?;
/// assert_eq!(rows.len(), 2);
/// assert_eq!(rows.get(1), Some(&[3.0, 4.0][..]));
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rows<'a, T = f64> {
    data: &'a [T],
    dim: usize,
    partial: bool,
}

impl<'a, T> Rows<'a, T> {
    /// The rows of `data`, `dim` numbers each.
    ///
    /// # Errors
    ///
    /// [`Error::DimensionMismatch`] when `dim` is 0 or does not divide the length of `data`.
    pub fn new(data: &'a [T], dim: usize) -> Result<Self> {
        if dim == 0 || !data.len().is_multiple_of(dim) {
            let found = if dim == 0 { 0 } else { data.len() % dim };
            return Err(Error::DimensionMismatch { what: "observation row", expected: dim.max(1), found });
        }
        Ok(Self { data, dim, partial: false })
    }
}

impl Rows<'_> {
    /// The same rows, where NaN now stands for a missing coordinate.
    ///
    /// Families whose coordinates are independent given the state integrate it out; for full and tied covariances it
    /// stays [`Error::NonFiniteObservation`], and so do infinite numbers for all.
    #[must_use]
    pub fn with_missing(self) -> Self {
        Self { partial: true, ..self }
    }
}

impl<'a, T: Sync> Observations<&'a [T]> for Rows<'a, T> {
    fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    fn get(&self, t: usize) -> Option<&'a [T]> {
        let start = t.checked_mul(self.dim)?;
        self.data.get(start..start.checked_add(self.dim)?)
    }

    fn is_partial(&self) -> bool {
        self.partial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps<O, Q: Observations<O>>(sequence: Q) -> Vec<Option<O>> {
        (0..sequence.len()).map(|t| sequence.get(t)).collect()
    }

    #[test]
    fn every_form_reads_the_same() {
        let expected = vec![Some(4_usize), Some(2)];
        let vector = vec![4_usize, 2];
        assert_eq!(steps(vector.as_slice()), expected);
        assert_eq!(steps(&vector), expected);
        assert_eq!(steps(vector), expected);
        assert_eq!(steps([4_usize, 2]), expected);
        assert_eq!(steps::<usize, _>([Some(4_usize), None]), vec![Some(4), None]);
    }

    #[test]
    fn rows_refuse_a_ragged_table() {
        assert!(Rows::new(&[1.0, 2.0, 3.0], 2).is_err());
        assert!(Rows::<f64>::new(&[], 0).is_err());
        assert!(Rows::<f64>::new(&[], 3).unwrap().is_empty());
        assert!(Rows::new(&[1.0], 1).unwrap().with_missing().is_partial());
    }
}
