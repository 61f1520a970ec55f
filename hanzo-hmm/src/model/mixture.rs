//! Mixtures of Gaussians.

use rand_core::Rng;

#[cfg(feature = "serde")]
use super::check_counts;
use super::{
    Emission, GaussianDiag, GaussianDiagStats, GaussianFull, GaussianFullStats, NO_MASS, Observations, VarianceFloor,
    check_distribution, draw, flatten, normalise_counts,
};
use crate::kernel::arith::log_sum_exp;
use crate::{Error, Result};

/// Each state emits from its own mixture of `K` Gaussians, with diagonal or full covariances.
///
/// Diagonal components integrate the NaN coordinates of [`Rows::with_missing`](crate::Rows::with_missing) out; with full
/// ones these are an error.
///
/// ```
/// use hanzo_hmm::{Emission, GaussianMixture};
///
/// // Two states of two components each, one coordinate.
/// let family = GaussianMixture::diag(
///     vec![vec![0.5, 0.5], vec![0.9, 0.1]],
///     vec![vec![vec![-1.0], vec![1.0]], vec![vec![5.0], vec![9.0]]],
///     vec![vec![vec![1.0], vec![1.0]], vec![vec![0.5], vec![2.0]]],
/// )?;
/// assert_eq!((family.n_states(), family.n_components(), family.dim()), (2, 2, 1));
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianMixture {
    n_components: usize,
    weights: Vec<f64>,
    log_weights: Vec<f64>,
    parts: Parts,
}

/// The components of all states: component `k` of state `i` is number `i K + k`.
#[derive(Debug, Clone, PartialEq)]
enum Parts {
    Diag(GaussianDiag),
    Full(GaussianFull),
}

impl GaussianMixture {
    /// Components with diagonal covariances: weights `S x K`, means and variances `S x K x D`.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyModel`], [`Error::DimensionMismatch`], [`Error::NotAProbability`] and [`Error::RowSum`] for weights
    /// that are no distribution, and those of [`GaussianDiag::new`], which count states as `i K + k`.
    pub fn diag(weights: Vec<Vec<f64>>, means: Vec<Vec<Vec<f64>>>, variances: Vec<Vec<Vec<f64>>>) -> Result<Self> {
        let (weights, n_components) = check_weights(weights)?;
        let means = join("means", means, weights.len() / n_components, n_components)?;
        let variances = join("variances", variances, weights.len() / n_components, n_components)?;
        Ok(Self::from_parts(weights, n_components, Parts::Diag(GaussianDiag::new(means, variances)?)))
    }

    /// Components with full covariances: weights `S x K`, means `S x K x D`, covariances `S x K x D x D`.
    ///
    /// # Errors
    ///
    /// As for [`diag`](Self::diag), and those of [`GaussianFull::new`].
    pub fn full(
        weights: Vec<Vec<f64>>,
        means: Vec<Vec<Vec<f64>>>,
        covariances: Vec<Vec<Vec<Vec<f64>>>>,
    ) -> Result<Self> {
        let (weights, n_components) = check_weights(weights)?;
        let means = join("means", means, weights.len() / n_components, n_components)?;
        let covariances = join("covariances", covariances, weights.len() / n_components, n_components)?;
        Ok(Self::from_parts(weights, n_components, Parts::Full(GaussianFull::new(means, covariances)?)))
    }

    /// Number of components `K` of each state.
    #[must_use]
    pub fn n_components(&self) -> usize {
        self.n_components
    }

    /// Number of coordinates `D` of an observation.
    #[must_use]
    pub fn dim(&self) -> usize {
        match &self.parts {
            Parts::Diag(parts) => parts.dim(),
            Parts::Full(parts) => parts.dim(),
        }
    }

    /// Weights of the components, row-major `S x K`.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Means, row-major `S x K x D`.
    #[must_use]
    pub fn means(&self) -> &[f64] {
        match &self.parts {
            Parts::Diag(parts) => parts.means(),
            Parts::Full(parts) => parts.means(),
        }
    }

    /// Variances (`S x K x D`) or covariances (`S x K x D x D`), row-major.
    #[must_use]
    pub fn covariances(&self) -> &[f64] {
        match &self.parts {
            Parts::Diag(parts) => parts.variances(),
            Parts::Full(parts) => parts.covariances(),
        }
    }

    /// Whether the components have full covariances.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.parts, Parts::Full(_))
    }

    fn from_parts(weights: Vec<f64>, n_components: usize, parts: Parts) -> Self {
        let log_weights = weights.iter().map(|w| w.ln()).collect();
        Self { n_components, weights, log_weights, parts }
    }

    /// Log-probabilities of the components, weights included.
    fn components(&self, o: &[f64], out: &mut [f64]) {
        match &self.parts {
            Parts::Diag(parts) => parts.log_prob_into(o, out),
            Parts::Full(parts) => parts.log_prob_into(o, out),
        }
        out.iter_mut().zip(&self.log_weights).for_each(|(l, w)| *l += w);
    }

    /// Runs `f` on scratch memory with one number a component, on the stack where it fits.
    fn with_scratch<T>(&self, f: impl FnOnce(&mut [f64]) -> T) -> T {
        let mut small = [0.0; 128];
        match small.get_mut(..self.weights.len()) {
            Some(scratch) => f(scratch),
            None => f(&mut vec![0.0; self.weights.len()]),
        }
    }
}

impl Emission for GaussianMixture {
    type Obs<'a> = &'a [f64];
    type Owned = Vec<f64>;
    type Stats = MixtureStats;
    type Prior = MixturePrior;

    fn n_states(&self) -> usize {
        self.weights.len() / self.n_components
    }

    #[inline]
    fn check(&self, o: &[f64], position: usize, partial: bool) -> Result<()> {
        match &self.parts {
            Parts::Diag(parts) => parts.check(o, position, partial),
            Parts::Full(parts) => parts.check(o, position, partial),
        }
    }

    fn log_prob_into(&self, o: &[f64], out: &mut [f64]) {
        self.with_scratch(|scratch| {
            self.components(o, scratch);
            for (out, components) in out.iter_mut().zip(scratch.chunks_exact(self.n_components)) {
                *out = log_sum_exp(components);
            }
        });
    }

    fn mid_cdf_into(&self, o: &[f64], out: &mut [f64]) -> bool {
        self.with_scratch(|scratch| {
            let able = match &self.parts {
                Parts::Diag(parts) => parts.mid_cdf_into(o, scratch),
                Parts::Full(parts) => parts.mid_cdf_into(o, scratch),
            };
            scratch.iter_mut().zip(&self.weights).for_each(|(p, w)| *p *= w);
            for (out, components) in out.iter_mut().zip(scratch.chunks_exact(self.n_components)) {
                *out = components.iter().sum();
            }
            able
        })
    }

    fn sample<R: Rng + ?Sized>(&self, state: usize, rng: &mut R) -> Vec<f64> {
        let weights = self.weights.chunks_exact(self.n_components).nth(state).unwrap_or_default();
        let component = state * self.n_components + draw(weights, rng);
        match &self.parts {
            Parts::Diag(parts) => parts.sample(component, rng),
            Parts::Full(parts) => parts.sample(component, rng),
        }
    }

    fn randomise<'a, Q, R>(&mut self, sequences: &[Q], rng: &mut R) -> Result<()>
    where
        Q: Observations<&'a [f64]>,
        R: Rng + ?Sized,
    {
        match &mut self.parts {
            Parts::Diag(parts) => parts.randomise(sequences, rng)?,
            Parts::Full(parts) => parts.randomise(sequences, rng)?,
        }
        let even = |w: &f64| if *w > 0.0 { 1.0 } else { 0.0 };
        let counts: Vec<f64> = self.weights.iter().map(even).collect();
        for (row, counts) in
            self.weights.chunks_exact_mut(self.n_components).zip(counts.chunks_exact(self.n_components))
        {
            normalise_counts(row, counts, 0.0);
        }
        self.log_weights = self.weights.iter().map(|w| w.ln()).collect();
        Ok(())
    }

    fn new_stats(&self) -> MixtureStats {
        let parts = match &self.parts {
            Parts::Diag(parts) => PartStats::Diag(parts.new_stats()),
            Parts::Full(parts) => PartStats::Full(parts.new_stats()),
        };
        MixtureStats { mass: vec![0.0; self.weights.len()], parts }
    }

    fn fits(&self, stats: &MixtureStats) -> bool {
        stats.mass.len() == self.weights.len()
            && stats.mass.iter().all(|m| m.is_finite() && *m >= 0.0)
            && match (&self.parts, &stats.parts) {
                (Parts::Diag(parts), PartStats::Diag(stats)) => parts.fits(stats),
                (Parts::Full(parts), PartStats::Full(stats)) => parts.fits(stats),
                _ => false,
            }
    }

    fn accumulate(&self, stats: &mut MixtureStats, o: &[f64], gamma: &[f64]) {
        self.accumulate_run(stats, &[Some(o)], gamma);
    }

    fn accumulate_run(&self, stats: &mut MixtureStats, run: &[Option<&[f64]>], gamma: &[f64]) {
        let (size, n_states) = (self.weights.len(), self.n_states());
        let mut shares = vec![0.0; run.len() * size];
        let steps = shares.chunks_exact_mut(size).zip(run).zip(gamma.chunks_exact(n_states));
        for ((shares, o), gamma) in steps {
            let Some(o) = o else { continue };
            self.components(o, shares);
            for (shares, g) in shares.chunks_exact_mut(self.n_components).zip(gamma) {
                let total = log_sum_exp(shares);
                for share in shares.iter_mut() {
                    *share = if total > f64::NEG_INFINITY { g * (*share - total).exp() } else { 0.0 };
                }
            }
            stats.mass.iter_mut().zip(&*shares).for_each(|(mass, share)| *mass += share);
        }
        match (&self.parts, &mut stats.parts) {
            (Parts::Diag(parts), PartStats::Diag(stats)) => parts.accumulate_run(stats, run, &shares),
            (Parts::Full(parts), PartStats::Full(stats)) => parts.accumulate_run(stats, run, &shares),
            _ => {}
        }
    }

    fn merge(into: &mut MixtureStats, from: &MixtureStats) {
        into.mass.iter_mut().zip(&from.mass).for_each(|(a, b)| *a += b);
        match (&mut into.parts, &from.parts) {
            (PartStats::Diag(a), PartStats::Diag(b)) => GaussianDiag::merge(a, b),
            (PartStats::Full(a), PartStats::Full(b)) => GaussianFull::merge(a, b),
            _ => {}
        }
    }

    fn scale(stats: &mut MixtureStats, factor: f64) {
        stats.mass.iter_mut().for_each(|mass| *mass *= factor);
        match &mut stats.parts {
            PartStats::Diag(stats) => GaussianDiag::scale(stats, factor),
            PartStats::Full(stats) => GaussianFull::scale(stats, factor),
        }
    }

    fn maximize(&mut self, stats: &MixtureStats, prior: &MixturePrior) -> Result<bool> {
        let mut weights = self.weights.clone();
        for (row, counts) in weights.chunks_exact_mut(self.n_components).zip(stats.mass.chunks_exact(self.n_components))
        {
            if counts.iter().sum::<f64>() > NO_MASS {
                normalise_counts(row, counts, prior.pseudocount);
            }
        }
        let mut parts = self.parts.clone();
        let floored = match (&mut parts, &stats.parts) {
            (Parts::Diag(parts), PartStats::Diag(stats)) => parts.maximize(stats, &prior.floor)?,
            (Parts::Full(parts), PartStats::Full(stats)) => parts.maximize(stats, &prior.floor)?,
            _ => false,
        };
        *self = Self::from_parts(weights, self.n_components, parts);
        Ok(floored)
    }

    fn log_prior(&self, prior: &MixturePrior) -> f64 {
        if prior.pseudocount == 0.0 {
            return 0.0;
        }
        prior.pseudocount * self.log_weights.iter().filter(|l| l.is_finite()).sum::<f64>()
    }

    fn n_free_parameters(&self) -> usize {
        let free = |row: &[f64]| row.iter().filter(|w| **w > 0.0).count().saturating_sub(1);
        let parts = match &self.parts {
            Parts::Diag(parts) => parts.n_free_parameters(),
            Parts::Full(parts) => parts.n_free_parameters(),
        };
        parts + self.weights.chunks_exact(self.n_components).map(free).sum::<usize>()
    }
}

/// Expected masses of the components, and the statistics of their Gaussians, for [`GaussianMixture`] to read.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct MixtureStats {
    mass: Vec<f64>,
    parts: PartStats,
}

#[cfg(feature = "serde")]
crate::raw::checked_on_load!(MixtureStats { mass: Vec<f64>, parts: PartStats });

#[cfg(feature = "serde")]
impl MixtureStats {
    /// The statistics of the Gaussians are checked as they are read.
    fn check(&self) -> Result<()> {
        check_counts("masses of components", &self.mass)
    }
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
enum PartStats {
    Diag(GaussianDiagStats),
    Full(GaussianFullStats),
}

/// Pseudocount of the weights (0 by default) and floor of the variances.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MixturePrior {
    pseudocount: f64,
    floor: VarianceFloor,
}

impl MixturePrior {
    /// The prior with this pseudocount a component and this floor.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] when the pseudocount is negative or not finite.
    pub fn new(pseudocount: f64, floor: VarianceFloor) -> Result<Self> {
        if !(pseudocount.is_finite() && pseudocount >= 0.0) {
            return Err(Error::InvalidOption { name: "pseudocount" });
        }
        Ok(Self { pseudocount, floor })
    }
}

/// The weights as one checked table, and the number of components.
fn check_weights(weights: Vec<Vec<f64>>) -> Result<(Vec<f64>, usize)> {
    let n_components = weights.first().map_or(0, Vec::len);
    if n_components == 0 {
        return Err(Error::EmptyModel);
    }
    let mut flat = flatten("weights", weights, n_components)?;
    for (i, row) in flat.chunks_exact_mut(n_components).enumerate() {
        check_distribution("weights", i, row)?;
    }
    Ok((flat, n_components))
}

/// One list over all components of all states.
fn join<T>(what: &'static str, table: Vec<Vec<T>>, n_states: usize, n_components: usize) -> Result<Vec<T>> {
    if table.len() != n_states {
        return Err(Error::DimensionMismatch { what, expected: n_states, found: table.len() });
    }
    if let Some(row) = table.iter().find(|row| row.len() != n_components) {
        return Err(Error::DimensionMismatch { what, expected: n_components, found: row.len() });
    }
    Ok(table.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn density_is_the_weighted_sum() {
        let weights = vec![vec![0.25, 0.75], vec![1.0, 0.0]];
        let means = vec![vec![vec![0.0], vec![2.0]], vec![vec![1.0], vec![7.0]]];
        let variances = vec![vec![vec![1.0], vec![4.0]], vec![vec![0.5], vec![1.0]]];
        let diag = GaussianMixture::diag(weights.clone(), means.clone(), variances.clone()).unwrap();
        let matrices =
            variances.iter().map(|s| s.iter().map(|v| vec![v.clone()]).collect()).collect::<Vec<Vec<Vec<Vec<f64>>>>>();
        let full = GaussianMixture::full(weights, means, matrices).unwrap();
        let normal = |x: f64, m: f64, v: f64| (-(x - m).powi(2) / (2.0 * v)).exp() / (std::f64::consts::TAU * v).sqrt();
        let expected = [0.25 * normal(1.5, 0.0, 1.0) + 0.75 * normal(1.5, 2.0, 4.0), normal(1.5, 1.0, 0.5)];
        for family in [diag, full] {
            let mut out = [0.0; 2];
            family.log_prob_into(&[1.5], &mut out);
            for (log, p) in out.iter().zip(expected) {
                assert!((log - p.ln()).abs() < 1e-14);
            }
            assert_eq!(family.n_free_parameters(), 1 + 4 + 4);
            let mut other = family.clone();
            let mut stats = family.new_stats();
            family.accumulate(&mut stats, &[1.5], &[0.5, 0.5]);
            assert!(family.fits(&stats));
            other.maximize(&stats, &MixturePrior::default()).unwrap();
            assert_eq!(other.weights()[2..], [1.0, 0.0]);
        }
    }

    #[test]
    fn refuses_bad_tables() {
        let one = || vec![vec![vec![0.0]]];
        assert!(matches!(GaussianMixture::diag(vec![vec![0.9]], one(), one()), Err(Error::RowSum { .. })));
        assert!(matches!(GaussianMixture::diag(vec![], one(), one()), Err(Error::EmptyModel)));
        assert!(matches!(
            GaussianMixture::diag(vec![vec![0.5; 2]], one(), one()),
            Err(Error::DimensionMismatch { .. })
        ));
        assert!(matches!(GaussianMixture::diag(vec![vec![1.0]], one(), one()), Err(Error::InvalidParameter { .. })));
        assert!(MixturePrior::new(-1.0, VarianceFloor::default()).is_err());
    }
}
