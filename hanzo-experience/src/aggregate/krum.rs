use super::submission::Batch;
use super::{Aggregate, Aggregator, Fixed, Limits, Weighted};
use crate::{Error, Result};

/// The submission nearest to its n - f - 2 nearest others, by squared Euclidean distance (ties to the lower submitter).
/// Every submitter counts one, whatever its weight. O(n^2 d).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Krum {
    f: usize,
}

impl Krum {
    /// Withstands `f` submitters.
    pub fn new(f: usize) -> Self {
        Self { f }
    }
}

/// # Errors
/// As [`MultiKrum`].
impl Aggregator for Krum {
    fn aggregate(&self, submissions: &[Weighted<'_>]) -> Result<Aggregate> {
        MultiKrum::new(self.f, 1)?.aggregate(submissions)
    }
}

/// The mean, rounded half to even, of the `m` submissions with the lowest scores: the sum of the squared distances to the
/// n - f - 2 nearest others. Every submitter counts one, whatever its weight. O(n^2 d).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultiKrum {
    f: usize,
    m: usize,
}

impl MultiKrum {
    /// Withstands `f` submitters, and takes the mean of `m`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for m = 0.
    pub fn new(f: usize, m: usize) -> Result<Self> {
        if m == 0 { Err(Error::OutOfRange { field: "m" }) } else { Ok(Self { f, m }) }
    }

    /// The score of each submission, by ascending submitter, in units of 2^-64; `u128::MAX` where it is as great or
    /// greater.
    ///
    /// # Errors
    /// As [`aggregate`](Aggregator::aggregate), but for `Overflow`.
    pub fn scores(&self, submissions: &[Weighted<'_>]) -> Result<Vec<u128>> {
        self.check(&Batch::counted(submissions, Limits::default())?)
    }

    fn check(&self, batch: &Batch<'_>) -> Result<Vec<u128>> {
        // n >= 2f + 3 and m <= n - 2f - 2.
        let need = self.f.checked_mul(2).and_then(|both| both.checked_add(2 + self.m)).ok_or(Error::Overflow)?;
        batch.need(need)?;
        if batch.priors.iter().any(|prior| !prior.is_dense()) {
            return Err(Error::NotDense);
        }
        let n = batch.priors.len();
        let near = n - self.f - 2;
        let values: Vec<&[Fixed]> = batch.priors.iter().map(|prior| prior.parts().1).collect();
        let mut distances = vec![0_u128; n * n];
        for (a, own) in values.iter().enumerate() {
            for (b, other) in values[..a].iter().enumerate() {
                let distance = squared_distance(own, other);
                distances[a * n + b] = distance;
                distances[b * n + a] = distance;
            }
        }
        let score = |(own, row): (usize, &[u128])| {
            let mut row = row.to_vec();
            row.swap_remove(own);
            row.sort_unstable();
            row.iter().take(near).fold(0_u128, |sum, distance| sum.saturating_add(*distance))
        };
        Ok(distances.chunks_exact(n).enumerate().map(score).collect())
    }
}

/// # Errors
/// [`Error::TooFew`] unless n >= 2f + 3 and n >= 2f + 2 + m; [`Error::NotDense`]; [`Error::SchemaMismatch`],
/// [`Error::DuplicateSubmitter`]; [`Error::Overflow`] if one of the `m` lowest scores is beyond 128 bits. Scores of
/// others may be: no submitter can stop the rule by sending extremes.
impl Aggregator for MultiKrum {
    fn aggregate(&self, submissions: &[Weighted<'_>]) -> Result<Aggregate> {
        let batch = Batch::counted(submissions, Limits::default())?;
        let scores = self.check(&batch)?;
        let mut order: Vec<usize> = (0..scores.len()).collect();
        // Stable, and the batch is in the order of submitters.
        order.sort_by_key(|place| scores[*place]);
        order.truncate(self.m);
        if order.iter().any(|place| scores[*place] == u128::MAX) {
            return Err(Error::Overflow);
        }
        let chosen: Vec<&[Fixed]> = order.iter().map(|place| batch.priors[*place].parts().1).collect();
        let mean = |element: usize| {
            let sum = chosen.iter().map(|values| i128::from(values[element].to_raw())).sum();
            Fixed::mean(sum, chosen.len() as u128).map(Some)
        };
        let values = (0..batch.dimension as usize).map(mean).collect::<Result<_>>()?;
        Ok(Aggregate { schema: batch.schema, values })
    }
}

/// In units of 2^-64, or `u128::MAX` where it is as great or greater.
fn squared_distance(a: &[Fixed], b: &[Fixed]) -> u128 {
    a.iter().zip(b).fold(0_u128, |sum, (a, b)| {
        let difference = u128::from(a.to_raw().abs_diff(b.to_raw()));
        sum.saturating_add(difference * difference)
    })
}
