//! The market's regime, filtered from observations.

use std::fmt;

use super::hamiltonian::{all_finite, non_negative};
use super::snapshot::{Reader, Writer};
use crate::{Emission, Error, GaussianDiag, Hmm, Initial, Result, Transitions};

/// State of a market or of a tenant's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Regime {
    /// Low load, prices and quality still being found out.
    Exploration,
    /// Steady load on known ground.
    Exploitation,
    /// High load, errors and latency.
    Crisis,
    /// On the way from one to another.
    Transition,
}

impl Regime {
    /// Number of regimes.
    pub const COUNT: usize = 4;

    /// All regimes in the order of their indices.
    pub const ALL: [Self; Self::COUNT] = [Self::Exploration, Self::Exploitation, Self::Crisis, Self::Transition];

    /// Place in [`ALL`](Self::ALL) and in every posterior.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The regime at a place of [`ALL`](Self::ALL).
    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }
}

impl fmt::Display for Regime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a filter believes about the regime, and which one it reports.
///
/// Made by [`RegimeModel::filter`], moved on by [`RegimeModel::update`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegimeFilter {
    posterior: [f64; Regime::COUNT],
    regime: Regime,
    outlier: bool,
    started: bool,
}

impl RegimeFilter {
    /// Probability of each regime, in the order of [`Regime::ALL`].
    pub fn posterior(&self) -> &[f64; Regime::COUNT] {
        &self.posterior
    }

    /// The reported regime: it changes only when another one leads it by more than the model's threshold.
    pub fn regime(&self) -> Regime {
        self.regime
    }

    /// Whether the last observation was so far from every regime that its density underflowed in all of them; it then counts as missing.
    pub fn outlier(&self) -> bool {
        self.outlier
    }
}

impl RegimeFilter {
    pub(crate) fn save(&self, w: &mut Writer) {
        w.f64s(&self.posterior);
        w.u64(self.regime.index() as u64);
        w.u64(u64::from(self.outlier));
        w.u64(u64::from(self.started));
    }

    pub(crate) fn load(r: &mut Reader<'_>) -> Result<Self> {
        let mut posterior = [0.0; Regime::COUNT];
        r.distribution(&mut posterior)?;
        Ok(Self { posterior, regime: Regime::ALL[r.index(Regime::COUNT)?], outlier: r.flag()?, started: r.flag()? })
    }
}

/// A hidden Markov model over the four regimes with Gaussian observations, and the hysteresis of the reported regime.
///
/// ```
/// use hanzo_hmm::market::{Regime, RegimeModel};
///
/// let model = RegimeModel::standard(0.15)?;
/// let mut filter = model.filter();
/// for _ in 0..3 {
///     model.update(&mut filter, &[0.92, 1.1, 0.3, 0.8])?; // load, latency deviation, error rate, price pressure
/// }
/// assert_eq!(filter.regime(), Regime::Crisis);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RegimeModel {
    hmm: Hmm<GaussianDiag>,
    threshold: f64,
}

impl RegimeModel {
    /// A model with one state a regime, in the order of [`Regime::ALL`]; `threshold` in [0, 1].
    ///
    /// # Errors
    /// `InvalidConfig` (`num_regimes`, `transition_threshold`).
    pub fn new(hmm: Hmm<GaussianDiag>, threshold: f64) -> Result<Self> {
        if hmm.n_states() != Regime::COUNT {
            return Err(Error::InvalidConfig { field: "num_regimes" });
        }
        if non_negative("transition threshold", threshold).is_err() || threshold > 1.0 {
            return Err(Error::InvalidConfig { field: "transition_threshold" });
        }
        Ok(Self { hmm, threshold })
    }

    /// Four observations: load, latency deviation, error rate, price pressure. Regimes last 1 / 0.06 steps in the mean; means and
    /// deviations are guesses to be replaced.
    ///
    /// # Errors
    /// `InvalidConfig` for a threshold outside [0, 1].
    pub fn standard(threshold: f64) -> Result<Self> {
        let transitions = (0..Regime::COUNT)
            .map(|i| (0..Regime::COUNT).map(|j| if i == j { 0.94 } else { 0.02 }).collect())
            .collect();
        let variances = STANDARD_DEVIATIONS.map(|sd| sd * sd).to_vec();
        let emission =
            GaussianDiag::new(STANDARD_MEANS.map(|mean| mean.to_vec()).to_vec(), vec![variances; Regime::COUNT])?;
        let initial = Initial::Free(vec![0.25; Regime::COUNT]);
        Self::new(Hmm::new(initial, Transitions::new(transitions)?, emission)?, threshold)
    }

    /// The same with other transitions, row by row.
    pub(crate) fn with_transitions(&self, rows: &[f64]) -> Result<Self> {
        let transitions = Transitions::new(rows.chunks(Regime::COUNT).map(<[f64]>::to_vec).collect())?;
        let initial = Initial::Free(self.hmm.initial_probabilities().to_vec());
        Self::new(Hmm::new(initial, transitions, self.hmm.emission().clone())?, self.threshold)
    }

    /// The same with another hidden Markov model.
    pub(crate) fn with_hmm(&self, hmm: Hmm<GaussianDiag>) -> Result<Self> {
        Self::new(hmm, self.threshold)
    }

    /// Length of an observation.
    pub fn dim(&self) -> usize {
        self.hmm.emission().dim()
    }

    /// The hidden Markov model.
    pub fn hmm(&self) -> &Hmm<GaussianDiag> {
        &self.hmm
    }

    /// A filter that has seen nothing.
    pub fn filter(&self) -> RegimeFilter {
        let mut posterior = [0.0; Regime::COUNT];
        posterior.copy_from_slice(self.hmm.initial_probabilities());
        let mut filter = RegimeFilter { posterior, regime: Regime::Exploration, outlier: false, started: false };
        self.report(&mut filter);
        filter
    }

    /// One step: `f' = A' f`, times the densities of the observation. An empty observation is a missing one.
    ///
    /// # Errors
    /// `DimensionMismatch`, `NotFinite`; the filter is unchanged then.
    pub fn update(&self, filter: &mut RegimeFilter, observation: &[f64]) -> Result<()> {
        let mut log_density = [0.0; Regime::COUNT];
        if !observation.is_empty() {
            if observation.len() != self.dim() {
                return Err(Error::DimensionMismatch {
                    what: "observations",
                    expected: self.dim(),
                    found: observation.len(),
                });
            }
            all_finite("observation", observation)?;
            self.hmm.emission().log_prob_into(observation, &mut log_density);
        }
        let top = log_density.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let outlier = top <= SMALLEST_LOG_DENSITY;

        let mut next = filter.posterior;
        if filter.started {
            next = [0.0; Regime::COUNT];
            for (row, from) in self.hmm.transitions().probabilities().chunks_exact(Regime::COUNT).zip(filter.posterior)
            {
                for (to, a) in next.iter_mut().zip(row) {
                    *to += from * a;
                }
            }
        }
        if !outlier {
            for (q, l) in next.iter_mut().zip(log_density) {
                *q *= (l - top).exp();
            }
        }
        filter.started = true;
        filter.outlier = outlier;
        self.settle(filter, next);
        Ok(())
    }

    /// Multiplies the beliefs by the likelihood of some other evidence in each regime, without a step in time.
    ///
    /// # Errors
    /// `NotFinite`, `OutOfRange` for a negative likelihood; the filter is unchanged then. Evidence that is impossible in every
    /// regime changes nothing.
    pub fn weigh(&self, filter: &mut RegimeFilter, likelihood: &[f64; Regime::COUNT]) -> Result<()> {
        for &l in likelihood {
            non_negative("likelihood", l)?;
        }
        let mut next = filter.posterior;
        for (q, l) in next.iter_mut().zip(likelihood) {
            *q *= l;
        }
        self.settle(filter, next);
        Ok(())
    }

    /// Normalises new beliefs and takes them over, unless none is left or their sum is not finite.
    fn settle(&self, filter: &mut RegimeFilter, mut next: [f64; Regime::COUNT]) {
        let sum: f64 = next.iter().sum();
        if sum >= f64::MIN_POSITIVE && sum.is_finite() {
            for q in &mut next {
                *q /= sum;
            }
            filter.posterior = next;
            self.report(filter);
        }
    }

    fn report(&self, filter: &mut RegimeFilter) {
        let q = &filter.posterior;
        let lead = Regime::ALL
            .into_iter()
            .fold(filter.regime, |best, r| if q[r.index()] > q[best.index()] { r } else { best });
        if q[lead.index()] - q[filter.regime.index()] > self.threshold {
            filter.regime = lead;
        }
    }
}

const STANDARD_MEANS: [[f64; 4]; Regime::COUNT] =
    [[0.3, 0.2, 0.05, 0.3], [0.5, 0.0, 0.02, 0.0], [0.9, 1.0, 0.3, 0.8], [0.6, 0.5, 0.1, 0.5]];
const STANDARD_DEVIATIONS: [f64; 4] = [0.2, 0.3, 0.08, 0.3];
/// Logarithm of the smallest positive number: below it a density is 0.
const SMALLEST_LOG_DENSITY: f64 = -745.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_core_filter() {
        let model = RegimeModel::standard(0.15).unwrap();
        let mut filter = model.filter();
        let mut reference = model.hmm().filter();
        let observations: [&[f64]; 6] = [
            &[0.3, 0.2, 0.1, 0.2],
            &[0.9, 0.8, 0.3, 0.9],
            &[],
            &[2.0, -1.0, 0.5, 3.0],
            &[0.5, 0.0, 0.0, 0.1],
            &[0.6, 0.5, 0.1, 0.4],
        ];
        for o in observations {
            model.update(&mut filter, o).unwrap();
            model.hmm().update(&mut reference, (!o.is_empty()).then_some(o)).unwrap();
            for (a, b) in filter.posterior().iter().zip(reference.belief()) {
                assert!((a - b).abs() < 1e-12);
            }
            assert!(!filter.outlier());
        }
    }

    #[test]
    fn hysteresis_holds_the_reported_regime() {
        let model = RegimeModel::standard(0.15).unwrap();
        let mut filter = model.filter();
        assert_eq!(filter.regime(), Regime::Exploration);
        model.weigh(&mut filter, &[1.0, 1.4, 1.0, 1.0]).unwrap(); // leads by 0.09
        assert_eq!(filter.regime(), Regime::Exploration);
        model.weigh(&mut filter, &[1.0, 1.4, 1.0, 1.0]).unwrap(); // leads by 0.19
        assert_eq!(filter.regime(), Regime::Exploitation);
        model.weigh(&mut filter, &[2.2, 1.0, 1.0, 1.0]).unwrap(); // Exploration ahead by less than 0.15
        assert!(filter.posterior()[0] > filter.posterior()[1]);
        assert_eq!(filter.regime(), Regime::Exploitation);
    }

    #[test]
    fn an_outlier_counts_as_missing() {
        let model = RegimeModel::standard(0.15).unwrap();
        let mut filter = model.filter();
        model.update(&mut filter, &[0.5, 0.0, 0.02, 0.0]).unwrap();
        let mut missing = filter;
        model.update(&mut missing, &[]).unwrap();
        for far in [30.0, 1e200] {
            let mut outlying = filter;
            model.update(&mut outlying, &[far, 0.0, 0.0, 0.0]).unwrap();
            assert!(outlying.outlier());
            assert_eq!(outlying.posterior(), missing.posterior());
        }
    }

    #[test]
    fn bad_observations_leave_the_filter() {
        let model = RegimeModel::standard(0.15).unwrap();
        let mut filter = model.filter();
        let before = filter;
        assert_eq!(
            model.update(&mut filter, &[0.1; 5]),
            Err(Error::DimensionMismatch { what: "observations", expected: 4, found: 5 })
        );
        assert_eq!(
            model.update(&mut filter, &[0.1, f64::NAN, 0.0, 0.0]),
            Err(Error::NotFinite { what: "observation" })
        );
        assert!(model.weigh(&mut filter, &[-1.0, 1.0, 1.0, 1.0]).is_err());
        model.weigh(&mut filter, &[0.0; 4]).unwrap();
        assert_eq!(filter, before);
    }

    #[test]
    fn thresholds_outside_the_unit_interval_are_refused() {
        for bad in [-0.1, 1.1, f64::NAN] {
            assert_eq!(RegimeModel::standard(bad), Err(Error::InvalidConfig { field: "transition_threshold" }));
        }
    }
}
