//! The market's regime, filtered from observations.

use std::fmt;

use super::beliefs::Beliefs;
use super::hamiltonian::{all_finite, non_negative, same_length};
use super::snapshot::{Reader, Writer};
use crate::{Emission, Error, GaussianDiag, Hmm, Initial, Result, Transitions};

/// State of a market or of a tenant's traffic.
///
/// Models of four regimes have the named ones, in the order of [`ALL`](Self::ALL); those of another number are numbered, and a [`RegimeModel`] may
/// give them [labels](RegimeModel::with_labels).
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
    /// The regime at this place of a model that has another number of regimes than four.
    Numbered(u8),
}

impl Regime {
    /// Number of named regimes.
    pub const COUNT: usize = 4;

    /// Most regimes of a model.
    pub const MOST: usize = 252;

    /// The named regimes in the order of their indices.
    pub const ALL: [Self; Self::COUNT] = [Self::Exploration, Self::Exploitation, Self::Crisis, Self::Transition];

    /// Place in its model, and so in every posterior.
    pub fn index(self) -> usize {
        match self {
            Self::Exploration => 0,
            Self::Exploitation => 1,
            Self::Crisis => 2,
            Self::Transition => 3,
            Self::Numbered(place) => usize::from(place),
        }
    }

    /// The named regime at a place of [`ALL`](Self::ALL).
    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }

    /// The regime at a place of a model of `regimes` regimes; `None` beyond them, or beyond [`MOST`](Self::MOST).
    ///
    /// ```
    /// use hanzo_hmm::market::Regime;
    ///
    /// assert_eq!(Regime::of(4, 2), Some(Regime::Crisis));
    /// assert_eq!(Regime::of(3, 2), Some(Regime::Numbered(2)));
    /// assert_eq!(Regime::of(3, 3), None);
    /// ```
    pub fn of(regimes: usize, place: usize) -> Option<Self> {
        if place >= regimes || regimes > Self::MOST {
            return None;
        }
        Self::from_index(place).filter(|_| regimes == Self::COUNT).or(u8::try_from(place).ok().map(Self::Numbered))
    }

    /// One byte: the named regimes by their index, then the numbered ones.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Numbered(place) => place.saturating_add(Self::COUNT as u8),
            named => named.index() as u8,
        }
    }

    /// The regime of a byte.
    pub(crate) fn from_code(code: u8) -> Self {
        let place = code.saturating_sub(Self::COUNT as u8);
        Self::from_index(usize::from(code)).unwrap_or(Self::Numbered(place))
    }
}

impl fmt::Display for Regime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered(place) => write!(f, "regime {place}"),
            named => fmt::Debug::fmt(named, f),
        }
    }
}

/// What a filter believes about the regime, and which one it reports.
///
/// Made by [`RegimeModel::filter`], moved on by [`RegimeModel::update`].
#[derive(Debug, Clone, PartialEq)]
pub struct RegimeFilter {
    posterior: Beliefs,
    regime: Regime,
    outlier: bool,
    started: bool,
    observed: bool,
}

impl RegimeFilter {
    /// Probability of each regime, in the order of its model.
    pub fn posterior(&self) -> &[f64] {
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

    /// Whether any observation that was no outlier has told the regimes apart. Before that they are names for nothing: outcomes alone would confirm
    /// whatever difference between them was learned by chance, so the market maker does not take outcomes for evidence of the regime until then.
    pub fn observed(&self) -> bool {
        self.observed
    }

    pub(crate) fn beliefs(&self) -> &Beliefs {
        &self.posterior
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        w.f64s(&self.posterior);
        w.u64(self.regime.index() as u64);
        w.u64(u64::from(self.outlier));
        w.u64(u64::from(self.started));
        w.u64(u64::from(self.observed));
    }

    /// Reads the filter of a model of so many regimes.
    pub(crate) fn load(r: &mut Reader<'_>, regimes: usize) -> Result<Self> {
        let mut posterior = Beliefs::filled(regimes, 0.0);
        r.distribution(&mut posterior)?;
        let regime = Regime::of(regimes, r.index(regimes)?).ok_or(Error::BadSnapshot { what: "regime" })?;
        Ok(Self { posterior, regime, outlier: r.flag()?, started: r.flag()?, observed: r.flag()? })
    }
}

/// A hidden Markov model over regimes with Gaussian observations, and the hysteresis of the reported regime.
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
///
/// Of other regimes, under names of yours:
///
/// ```
/// use hanzo_hmm::market::{Regime, RegimeModel};
/// use hanzo_hmm::{GaussianDiag, Hmm, Initial, Transitions};
///
/// let hmm = Hmm::new(
///     Initial::Free(vec![1.0, 0.0]),
///     Transitions::new(vec![vec![0.99, 0.01], vec![0.05, 0.95]])?,
///     GaussianDiag::new(vec![vec![0.4], vec![2.0]], vec![vec![0.1], vec![0.3]])?,
/// )?;
/// let model = RegimeModel::new(hmm, 0.15)?.with_labels(vec!["day".into(), "rush".into()])?;
/// let mut filter = model.filter();
/// model.update(&mut filter, &[0.5])?;
/// model.update(&mut filter, &[2.1])?;
/// assert_eq!(filter.regime(), Regime::Numbered(1));
/// assert_eq!(model.label(filter.regime()), Some("rush"));
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RegimeModel {
    hmm: Hmm<GaussianDiag>,
    threshold: f64,
    labels: Vec<String>,
}

impl RegimeModel {
    /// A model with one state a regime, 1 to [`Regime::MOST`] of them; four are those of [`Regime::ALL`], in that order. `threshold` in [0, 1].
    ///
    /// # Errors
    /// `InvalidConfig` (`num_regimes`, `transition_threshold`).
    pub fn new(hmm: Hmm<GaussianDiag>, threshold: f64) -> Result<Self> {
        let n = hmm.n_states();
        if n == 0 || n > Regime::MOST {
            return Err(Error::InvalidConfig { field: "num_regimes" });
        }
        if non_negative("transition threshold", threshold).is_err() || threshold > 1.0 {
            return Err(Error::InvalidConfig { field: "transition_threshold" });
        }
        let labels = (0..n).filter_map(|i| Regime::of(n, i)).map(|regime| regime.to_string()).collect();
        Ok(Self { hmm, threshold, labels })
    }

    /// Four observations: load (part of the capacity in use), latency deviation (relative to the usual), error rate, price pressure. Regimes last
    /// 1 / 0.06 steps in the mean; means (.3, .2, .05, .3), (.5, 0, .02, 0), (.9, 1, .3, .8), (.6, .5, .1, .5) in the order of [`Regime::ALL`] and
    /// standard deviations (.2, .3, .08, .3) are guesses to be replaced.
    ///
    /// # Errors
    /// `InvalidConfig` for a threshold outside [0, 1].
    pub fn standard(threshold: f64) -> Result<Self> {
        Self::of_means(STANDARD_MEANS.map(|mean| mean.to_vec()).to_vec(), threshold)
    }

    /// The [standard](Self::standard) model where there are to be four regimes; otherwise so many of the same observations, with means in equal
    /// steps from those of exploitation (or that one alone) to those of crisis.
    ///
    /// # Errors
    /// `InvalidConfig` (`num_regimes`, `transition_threshold`).
    pub fn with_regimes(regimes: usize, threshold: f64) -> Result<Self> {
        if regimes == Regime::COUNT {
            return Self::standard(threshold);
        }
        if regimes == 0 || regimes > Regime::MOST {
            return Err(Error::InvalidConfig { field: "num_regimes" });
        }
        let [_, calm, crisis, _] = STANDARD_MEANS;
        let between = |part: f64| calm.iter().zip(&crisis).map(|(a, b)| a + part * (b - a)).collect();
        let last = (regimes - 1).max(1) as f64;
        Self::of_means((0..regimes).map(|i| between(i as f64 / last)).collect(), threshold)
    }

    fn of_means(means: Vec<Vec<f64>>, threshold: f64) -> Result<Self> {
        let n = means.len();
        let leave = if n == 1 { 0.0 } else { LEAVE };
        let row = |i| (0..n).map(|j| if i == j { 1.0 - leave } else { leave / (n - 1) as f64 }).collect();
        let transitions = (0..n).map(row).collect();
        let variances = STANDARD_DEVIATIONS.map(|sd| sd * sd).to_vec();
        let emission = GaussianDiag::new(means, vec![variances; n])?;
        let initial = Initial::Free(vec![1.0 / n as f64; n]);
        Self::new(Hmm::new(initial, Transitions::new(transitions)?, emission)?, threshold)
    }

    /// The same with names of yours for the regimes, in their order.
    ///
    /// # Errors
    /// `DimensionMismatch`.
    pub fn with_labels(self, labels: Vec<String>) -> Result<Self> {
        if labels.len() != self.regimes() {
            let (expected, found) = (self.regimes(), labels.len());
            return Err(Error::DimensionMismatch { what: "regime labels", expected, found });
        }
        Ok(Self { labels, ..self })
    }

    /// The same with other transitions, row by row.
    pub(crate) fn with_transitions(&self, rows: &[f64]) -> Result<Self> {
        let transitions = Transitions::new(rows.chunks(self.regimes()).map(<[f64]>::to_vec).collect())?;
        let initial = Initial::Free(self.hmm.initial_probabilities().to_vec());
        self.with_hmm(Hmm::new(initial, transitions, self.hmm.emission().clone())?)
    }

    /// The same with another hidden Markov model of as many states.
    pub(crate) fn with_hmm(&self, hmm: Hmm<GaussianDiag>) -> Result<Self> {
        Self::new(hmm, self.threshold)?.with_labels(self.labels.clone())
    }

    /// Number of regimes.
    pub fn regimes(&self) -> usize {
        self.hmm.n_states()
    }

    /// The name of a regime of this model; `None` of one it does not have.
    pub fn label(&self, regime: Regime) -> Option<&str> {
        let place = regime.index();
        self.labels.get(place).filter(|_| Regime::of(self.regimes(), place) == Some(regime)).map(String::as_str)
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
        let mut filter = RegimeFilter {
            posterior: Beliefs::of(self.hmm.initial_probabilities()),
            regime: self.at(0),
            outlier: false,
            started: false,
            observed: false,
        };
        self.report(&mut filter);
        filter
    }

    /// One step: `f' = A' f`, times the densities of the observation, normalised. An empty observation is a missing one. The first update does not
    /// move the initial probabilities. `O(S^2 + S D)` time for `S` regimes and `D` observations.
    ///
    /// # Errors
    /// `DimensionMismatch`, also for a filter of a model with another number of regimes, `NotFinite`; the filter is unchanged then.
    pub fn update(&self, filter: &mut RegimeFilter, observation: &[f64]) -> Result<()> {
        let n = self.regimes();
        same_length("regimes", n, &filter.posterior)?;
        let mut log_density = Beliefs::filled(n, 0.0);
        if !observation.is_empty() {
            same_length("observations", self.dim(), observation)?;
            all_finite("observation", observation)?;
            self.hmm.emission().log_prob_into(observation, &mut log_density);
        }
        let top = log_density.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let outlier = top <= SMALLEST_LOG_DENSITY;

        let mut next = if filter.started { self.next(&filter.posterior) } else { filter.posterior.clone() };
        if !outlier {
            for (q, l) in next.iter_mut().zip(&*log_density) {
                *q *= (l - top).exp();
            }
        }
        filter.started = true;
        filter.outlier = outlier;
        filter.observed |= !outlier && !observation.is_empty();
        self.settle(filter, next);
        Ok(())
    }

    /// Beliefs one step later, without an observation: `A' f`.
    pub(crate) fn next(&self, beliefs: &Beliefs) -> Beliefs {
        let n = self.regimes();
        let mut next = Beliefs::filled(n, 0.0);
        for (row, from) in self.hmm.transitions().probabilities().chunks_exact(n).zip(&**beliefs) {
            for (to, a) in next.iter_mut().zip(row) {
                *to += from * a;
            }
        }
        next
    }

    /// Multiplies the beliefs by the likelihood of some other evidence in each regime, without a step in time.
    ///
    /// # Errors
    /// `DimensionMismatch`, `NotFinite`, `OutOfRange` for a negative likelihood; the filter is unchanged then. Evidence that is impossible in every
    /// regime, or so likely that its sum overflows, changes nothing.
    pub fn weigh(&self, filter: &mut RegimeFilter, likelihood: &[f64]) -> Result<()> {
        same_length("regimes", self.regimes(), &filter.posterior)?;
        same_length("likelihood", self.regimes(), likelihood)?;
        for &l in likelihood {
            non_negative("likelihood", l)?;
        }
        let mut next = filter.posterior.clone();
        for (q, l) in next.iter_mut().zip(likelihood) {
            *q *= l;
        }
        self.settle(filter, next);
        Ok(())
    }

    /// Normalises new beliefs and takes them over, unless none is left or their sum is not finite.
    fn settle(&self, filter: &mut RegimeFilter, mut next: Beliefs) {
        let sum: f64 = next.iter().sum();
        if sum >= f64::MIN_POSITIVE && sum.is_finite() {
            for q in next.iter_mut() {
                *q /= sum;
            }
            filter.posterior = next;
            self.report(filter);
        }
    }

    fn report(&self, filter: &mut RegimeFilter) {
        let q = &filter.posterior;
        let now = filter.regime.index();
        let lead = (0..q.len()).fold(now, |best, r| if q[r] > q[best] { r } else { best });
        if q[lead] - q[now] > self.threshold {
            filter.regime = self.at(lead);
        }
    }

    /// The regime at a place that exists.
    fn at(&self, place: usize) -> Regime {
        Regime::of(self.regimes(), place).unwrap_or(Regime::Numbered(0))
    }
}

const STANDARD_MEANS: [[f64; 4]; Regime::COUNT] =
    [[0.3, 0.2, 0.05, 0.3], [0.5, 0.0, 0.02, 0.0], [0.9, 1.0, 0.3, 0.8], [0.6, 0.5, 0.1, 0.5]];
const STANDARD_DEVIATIONS: [f64; 4] = [0.2, 0.3, 0.08, 0.3];
/// Probability of another regime in the next step.
const LEAVE: f64 = 0.06;
/// Logarithm of the smallest positive number: below it a density is 0.
const SMALLEST_LOG_DENSITY: f64 = -745.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// One regime, two, four of the standard ones, and more than fit without allocation: the filter is that of the core.
    #[test]
    fn any_number_of_regimes_is_filtered() {
        for n in [1, 2, 3, 5, 9, 40] {
            let model = RegimeModel::with_regimes(n, 0.15).unwrap();
            assert_eq!((model.regimes(), model.dim()), (n, 4));
            let mut filter = model.filter();
            let mut reference = model.hmm().filter();
            assert_eq!(filter.regime(), Regime::Numbered(0));
            for o in [[0.5, 0.0, 0.02, 0.0], [0.8, 0.9, 0.25, 0.6], [0.9, 1.0, 0.3, 0.8]] {
                model.update(&mut filter, &o).unwrap();
                model.hmm().update(&mut reference, Some(&o)).unwrap();
                for (a, b) in filter.posterior().iter().zip(reference.belief()) {
                    assert!((a - b).abs() < 1e-12);
                }
            }
            let last = Regime::Numbered(n as u8 - 1);
            assert_eq!(model.label(last), Some(format!("regime {}", n - 1).as_str()));
            if n <= 3 {
                assert_eq!(filter.regime(), last, "the last observation is that of the last regime");
            }
            assert_eq!(model.label(Regime::Crisis), None);
        }
        assert_eq!(RegimeModel::with_regimes(4, 0.15), RegimeModel::standard(0.15));
        for bad in [0, Regime::MOST + 1] {
            assert_eq!(RegimeModel::with_regimes(bad, 0.1), Err(Error::InvalidConfig { field: "num_regimes" }));
        }
        let two = RegimeModel::with_regimes(2, 0.1).unwrap();
        assert!(two.clone().with_labels(vec!["one".into()]).is_err());
        // A filter of another model is refused as it is.
        let mut stranger = RegimeModel::standard(0.1).unwrap().filter();
        let before = stranger.clone();
        assert!(two.update(&mut stranger, &[]).is_err() && two.weigh(&mut stranger, &[1.0, 1.0]).is_err());
        assert!(two.weigh(&mut two.filter(), &[1.0; 4]).is_err());
        assert_eq!(stranger, before);
    }

    #[test]
    fn every_regime_has_a_code_of_its_own() {
        for code in 0..=u8::MAX {
            assert_eq!(Regime::from_code(code).code(), code);
        }
        for n in [1, 4, 5, Regime::MOST] {
            for (place, regime) in (0..n).map(|i| (i, Regime::of(n, i).unwrap())) {
                assert_eq!((regime.index(), Regime::from_code(regime.code())), (place, regime));
            }
        }
        assert_eq!(Regime::of(Regime::MOST + 1, 0), None);
    }

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
        let mut missing = filter.clone();
        model.update(&mut missing, &[]).unwrap();
        for far in [30.0, 1e200] {
            let mut outlying = filter.clone();
            model.update(&mut outlying, &[far, 0.0, 0.0, 0.0]).unwrap();
            assert!(outlying.outlier());
            assert_eq!(outlying.posterior(), missing.posterior());
        }
    }

    #[test]
    fn bad_observations_leave_the_filter() {
        let model = RegimeModel::standard(0.15).unwrap();
        let mut filter = model.filter();
        let before = filter.clone();
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
