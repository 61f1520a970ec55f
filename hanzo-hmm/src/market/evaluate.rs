//! Routers on a table of known outcomes: the evaluation protocol, its scores, and off-policy estimates.

use super::baseline::{Context, Feedback, Router};
use super::splitmix::SplitMix64;
use crate::{Error, Result};

/// Scores and prices of every model for every request, with the features that a router may see.
///
/// ```
/// use hanzo_hmm::market::{Cheapest, OutcomeTable, Scenario, Trial};
///
/// // Two models, three requests, one feature.
/// let table = OutcomeTable::new(2, 1, vec![0.2, 0.9, 0.8, 0.9, 0.1, 0.9], vec![1e-4, 2e-4].repeat(3), vec![1.0; 3])?;
/// let run = Trial { scenario: Scenario::File, seed: 0, lambda: 200.0 }.run(&table, &mut Cheapest)?;
/// assert!((run.quality - 1.1 / 3.0).abs() < 1e-12 && (run.usd - 1e-4).abs() < 1e-12);
/// assert!((run.best_fixed - (0.9 - 0.04)).abs() < 1e-12);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeTable {
    models: usize,
    dim: usize,
    scores: Vec<f64>,
    usd: Vec<f64>,
    features: Vec<f64>,
}

impl OutcomeTable {
    /// A table of `N` requests: `scores` and `usd` are `N x models`, `features` is `N x dim`, all row major.
    ///
    /// # Errors
    /// `InvalidConfig` (`table`) for no models or no requests or more features than there can be, `DimensionMismatch`, `NotFinite`, `OutOfRange`
    /// for a score outside [0, 1].
    pub fn new(models: usize, dim: usize, scores: Vec<f64>, usd: Vec<f64>, features: Vec<f64>) -> Result<Self> {
        if models == 0 || scores.is_empty() || !scores.len().is_multiple_of(models) {
            return Err(Error::InvalidConfig { field: "table" });
        }
        let rows = scores.len() / models;
        super::hamiltonian::same_length("usd", scores.len(), &usd)?;
        let size = rows.checked_mul(dim).ok_or(Error::InvalidConfig { field: "table" })?;
        super::hamiltonian::same_length("features", size, &features)?;
        super::hamiltonian::all_finite("score", &scores)?;
        super::hamiltonian::all_finite("usd", &usd)?;
        super::hamiltonian::all_finite("features", &features)?;
        if scores.iter().any(|s| !(0.0..=1.0).contains(s)) {
            return Err(Error::OutOfRange { what: "score" });
        }
        Ok(Self { models, dim, scores, usd, features })
    }

    /// Requests.
    pub fn len(&self) -> usize {
        self.scores.len() / self.models
    }

    /// Never true: there is at least one request.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// Models.
    pub fn models(&self) -> usize {
        self.models
    }

    /// The requests with `keep(index)`, in their order.
    ///
    /// # Errors
    /// `InvalidConfig` if none is kept.
    pub fn filter(&self, keep: impl Fn(usize) -> bool) -> Result<Self> {
        let rows: Vec<usize> = (0..self.len()).filter(|&i| keep(i)).collect();
        let pick = |of: &[f64], n: usize| rows.iter().flat_map(|&i| of[i * n..(i + 1) * n].to_vec()).collect();
        let (scores, usd) = (pick(&self.scores, self.models), pick(&self.usd, self.models));
        Self::new(self.models, self.dim, scores, usd, pick(&self.features, self.dim))
    }

    /// Mean score and mean dollars of every model.
    pub fn means(&self) -> Vec<(f64, f64)> {
        let n = self.len() as f64;
        (0..self.models)
            .map(|u| (column(&self.scores, self.models, u) / n, column(&self.usd, self.models, u) / n))
            .collect()
    }

    /// Mean (dollars, score) of the cheapest model of each request.
    pub fn cheapest(&self) -> (f64, f64) {
        let n = self.len() as f64;
        let rows = self.usd.chunks_exact(self.models).zip(self.scores.chunks_exact(self.models));
        let sum = rows.fold((0.0, 0.0), |(c, q), (usd, scores)| {
            let u = (1..usd.len()).fold(0, |b, u| if usd[u] < usd[b] { u } else { b });
            (c + usd[u], q + scores[u])
        });
        (sum.0 / n, sum.1 / n)
    }
}

/// What happens to outcomes and orders in a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Shuffled requests, nothing known before.
    Cold,
    /// Shuffled; the first 600 requests show the scores of all models and are not counted.
    Warm,
    /// Requests in the order of the table.
    File,
    /// Shuffled; the model with the highest mean utility over the whole table gives 30 % of its score in hidden stretches that begin with
    /// probability 1/400 and end with 1/200 a request.
    Outage,
    /// [`Outage`](Self::Outage) with four noisy observations of the hidden state before each choice.
    Telemetry,
    /// Shuffled; outcomes come 50 requests late, 20 % never, 5 % turned around.
    Feedback,
}

impl Scenario {
    /// All six.
    pub const ALL: [Self; 6] = [Self::Cold, Self::Warm, Self::File, Self::Outage, Self::Telemetry, Self::Feedback];

    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::File => "file",
            Self::Outage => "outage",
            Self::Telemetry => "telemetry",
            Self::Feedback => "feedback",
        }
    }

    fn hidden(self) -> bool {
        matches!(self, Self::Outage | Self::Telemetry)
    }
}

/// One pass of a router over a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// What happens.
    pub scenario: Scenario,
    /// Seed of the order and of everything hidden; the same for every router.
    pub seed: u64,
    /// Score that a dollar is worth, finite.
    pub lambda: f64,
}

/// What came of a trial. Regrets are differences to [`utility`](Self::utility).
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Mean of score less `lambda` times dollars.
    pub utility: f64,
    /// Mean score.
    pub quality: f64,
    /// Mean dollars a request.
    pub usd: f64,
    /// Mean utility of the best single model in hindsight.
    pub best_fixed: f64,
    /// Mean utility of the best model of each request.
    pub oracle: f64,
    /// Mean utility of the best single model of each hidden state, where there is one.
    pub regime_fixed: Option<f64>,
    /// Requests counted.
    pub counted: usize,
    /// Cumulative regret against `best_fixed` after each of 50 equal parts of the counted requests, or after each request where there are fewer.
    pub regret_curve: Vec<f64>,
}

impl Trial {
    /// Plays the trial.
    ///
    /// # Errors
    /// `OutOfRange` if the router names a model that does not exist; `InvalidConfig` (`table`) for a table too short for the scenario; `NotFinite`
    /// for `lambda`, or where it makes a price infinite.
    pub fn run<R: Router + ?Sized>(&self, table: &OutcomeTable, router: &mut R) -> Result<Run> {
        let (n, m) = (table.len(), table.models);
        let warm = if self.scenario == Scenario::Warm { WARM } else { 0 };
        if n <= warm {
            return Err(Error::InvalidConfig { field: "table" });
        }
        super::hamiltonian::all_finite("lambda", &[self.lambda])?;
        if table.usd.iter().any(|usd| !(self.lambda * usd).is_finite()) {
            return Err(Error::NotFinite { what: "cost" });
        }
        let world = self.world(table);
        let width = table.dim + world.observations.first().map_or(0, |_| OBSERVATIONS);
        let mut queue: Vec<Option<(usize, usize, f64)>> = Vec::new();
        let mut losses =
            (self.scenario == Scenario::Feedback).then(|| SplitMix64::new(self.seed.wrapping_add(1 << 41)));
        let mut features = vec![0.0; width];
        let mut costs = vec![0.0; m];
        let mut arms = Vec::with_capacity(n - warm);
        for (t, &row) in world.order.iter().enumerate() {
            world.features(table, t, row, &mut features);
            if t < warm {
                for arm in 0..m {
                    router.update(&Feedback {
                        arm,
                        features: &features,
                        observations: &features[table.dim..],
                        score: world.scores[t * m + arm],
                    });
                }
                continue;
            }
            for (c, usd) in costs.iter_mut().zip(&table.usd[row * m..]) {
                *c = self.lambda * usd;
            }
            let context = Context { features: &features, observations: &features[table.dim..], costs: &costs };
            let arm = router.choose(&context).arm;
            if arm >= m {
                return Err(Error::OutOfRange { what: "arm" });
            }
            arms.push(arm);
            let score = world.scores[t * m + arm];
            match &mut losses {
                None => {
                    router.update(&Feedback { arm, features: &features, observations: &features[table.dim..], score })
                }
                Some(rng) => {
                    let (lost, turned) = (rng.unit() < 0.2, rng.unit() < 0.05);
                    queue.push((!lost).then_some((t, arm, if turned { 1.0 - score } else { score })));
                    if let Some(Some((then, arm, score))) = queue.len().checked_sub(DELAY + 1).map(|i| queue[i]) {
                        world.features(table, then, world.order[then], &mut features);
                        router.update(&Feedback {
                            arm,
                            features: &features,
                            observations: &features[table.dim..],
                            score,
                        });
                    }
                }
            }
        }
        Ok(self.report(table, &world, warm, &arms))
    }

    fn world(&self, table: &OutcomeTable) -> World {
        let (n, m) = (table.len(), table.models);
        let order = match self.scenario {
            Scenario::File => (0..n).collect(),
            _ => SplitMix64::new(self.seed).permutation(n),
        };
        let mut scores: Vec<f64> =
            order.iter().flat_map(|&i| table.scores[i * m..(i + 1) * m].iter().copied()).collect();
        let (mut hidden, mut observations) = (Vec::new(), Vec::new());
        if self.scenario.hidden() {
            let means = table.means();
            let top = (0..m)
                .fold(0, |b, u| if utility(means[u], TOP_LAMBDA) > utility(means[b], TOP_LAMBDA) { u } else { b });
            let mut rng = SplitMix64::new(self.seed.wrapping_add(1 << 40));
            let mut down = false;
            for t in 0..n {
                let u = rng.unit();
                down = if down { u >= 1.0 / 200.0 } else { u < 1.0 / 400.0 };
                hidden.push(down);
                if down {
                    scores[t * m + top] *= 0.3;
                }
                if self.scenario == Scenario::Telemetry {
                    observations.push(OBSERVED[usize::from(down)].map(|mu| mu + 0.5 * rng.normal()));
                }
            }
        }
        World { order, scores, hidden, observations }
    }

    fn report(&self, table: &OutcomeTable, world: &World, warm: usize, arms: &[usize]) -> Run {
        let m = table.models;
        let count = arms.len() as f64;
        let at = |t: usize, u: usize| {
            let (score, usd) = (world.scores[t * m + u], table.usd[world.order[t] * m + u]);
            (score, usd, score - self.lambda * usd)
        };
        let times = || warm..world.order.len();
        let total =
            |u: usize, keep: &dyn Fn(usize) -> bool| times().filter(|&t| keep(t)).map(|t| at(t, u).2).sum::<f64>();
        let top = |keep: &dyn Fn(usize) -> bool| (0..m).map(|u| total(u, keep)).fold(f64::NEG_INFINITY, f64::max);
        let best_fixed = top(&|_| true) / count;
        let regime_fixed = self.scenario.hidden().then(|| {
            let of = |state: bool| {
                if world.hidden.contains(&state) { top(&|t| world.hidden[t] == state) } else { 0.0 }
            };
            (of(false) + of(true)) / count
        });
        let oracle = times().map(|t| (0..m).map(|u| at(t, u).2).fold(f64::NEG_INFINITY, f64::max)).sum::<f64>() / count;
        let fixed = (0..m).fold(0, |b, u| if total(u, &|_| true) > total(b, &|_| true) { u } else { b });
        let (mut quality, mut usd, mut gained, mut regret) = (0.0, 0.0, 0.0, 0.0);
        let mut regret_curve = Vec::with_capacity(PARTS);
        for (i, (t, &arm)) in times().zip(arms).enumerate() {
            let (s, c, v) = at(t, arm);
            quality += s;
            usd += c;
            gained += v;
            regret += at(t, fixed).2 - v;
            if (i + 1) * PARTS / arms.len() > regret_curve.len() {
                regret_curve.push(regret);
            }
        }
        Run {
            utility: gained / count,
            quality: quality / count,
            usd: usd / count,
            best_fixed,
            oracle,
            regime_fixed,
            counted: arms.len(),
            regret_curve,
        }
    }
}

/// A trial's hidden course, drawn before the router moves.
#[derive(Debug, Clone)]
struct World {
    order: Vec<usize>,
    /// `N x M` in the order of the trial.
    scores: Vec<f64>,
    hidden: Vec<bool>,
    observations: Vec<[f64; OBSERVATIONS]>,
}

impl World {
    fn features(&self, table: &OutcomeTable, t: usize, row: usize, out: &mut [f64]) {
        let (text, observed) = out.split_at_mut(table.dim);
        text.copy_from_slice(&table.features[row * table.dim..(row + 1) * table.dim]);
        if let Some(o) = self.observations.get(t) {
            observed.copy_from_slice(o);
        }
    }
}

/// Mean and standard error of paired differences `a_i - b_i`, as many as the shorter list has. For finite numbers: the error of fewer than two
/// pairs, and the mean of none, is 0.
///
/// ```
/// let (mean, error) = hanzo_hmm::market::paired_difference(&[3.0, 5.0], &[1.0, 2.0]);
/// assert_eq!((mean, error), (2.5, 0.5));
/// ```
pub fn paired_difference(a: &[f64], b: &[f64]) -> (f64, f64) {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let n = differences.len() as f64;
    if differences.is_empty() {
        return (0.0, 0.0);
    }
    let mean = differences.iter().sum::<f64>() / n;
    if differences.len() < 2 {
        return (mean, 0.0);
    }
    let variance = differences.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// Average improvement in quality (RouterBench): mean height, over the costs in `[low, high]`, of the upper concave hull of
/// (dollars, quality) points, flat to the right of the last and 0 to the left of the first. `O(n log n)` time. Points that are not finite are left
/// out; 0 for no points, or a range that is empty or not finite.
///
/// ```
/// let hull = hanzo_hmm::market::average_improvement(&[(0.0, 0.0), (1.0, 1.0), (0.5, 0.1)], 0.0, 2.0);
/// assert!((hull - 0.75).abs() < 1e-12);
/// ```
pub fn average_improvement(points: &[(f64, f64)], low: f64, high: f64) -> f64 {
    let mut sorted: Vec<_> = points.iter().copied().filter(|p| p.0.is_finite() && p.1.is_finite()).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let mut hull: Vec<(f64, f64)> = Vec::new();
    let mut top = f64::NEG_INFINITY;
    for p in sorted {
        if p.1 <= top {
            continue;
        }
        top = p.1;
        while let [.., a, b] = hull[..] {
            if (b.1 - a.1) * (p.0 - a.0) <= (p.1 - a.1) * (b.0 - a.0) {
                hull.pop();
            } else {
                break;
            }
        }
        hull.push(p);
    }
    let Some(&last) = hull.last() else { return 0.0 };
    if !(high - low).is_finite() || high <= low {
        return 0.0;
    }
    hull.push((high.max(last.0), last.1));
    let area: f64 = hull
        .windows(2)
        .map(|w| {
            let ((c0, q0), (c1, q1)) = (w[0], w[1]);
            let (a, b) = (c0.max(low), c1.min(high));
            let f = |c: f64| q0 + (q1 - q0) * (c - c0) / (c1 - c0);
            if b > a { 0.5 * (f(a) + f(b)) * (b - a) } else { 0.0 }
        })
        .sum();
    area / (high - low)
}

/// Arena score of RouterArena for mean quality and mean dollars a request: a harmonic mean that weighs quality `1 / 0.1` times as much as
/// cheapness on a log scale between 0.0044 and 200 dollars for 1,000 requests, beyond which nothing changes. In [0, 1]; a quality above 1 counts as
/// 1, and the score is 0 for a quality that is not positive and for dollars that are negative or no number.
///
/// ```
/// assert!((hanzo_hmm::market::arena_score(0.6165136707596593, 0.0002511309061886052) - 0.61709).abs() < 1e-5);
/// ```
pub fn arena_score(quality: f64, usd: f64) -> f64 {
    let (top, bottom) = (200f64.log2(), 0.0044f64.log2());
    let (quality, c) = (quality.min(1.0), ((top - (1_000.0 * usd).log2()) / (top - bottom)).clamp(0.0, 1.0));
    if quality.is_nan() || c.is_nan() || quality <= 0.0 || c <= 0.0 {
        0.0
    } else {
        (1.0 + ARENA) * quality * c / (ARENA * quality + c)
    }
}

/// One logged choice for off-policy estimates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logged {
    /// Probability in (0, 1] with which the logging router chose the arm it chose.
    pub propensity: f64,
    /// Probability in [0, 1] with which the judged router would have chosen that arm.
    pub target: f64,
    /// What was gained.
    pub reward: f64,
    /// What a model of rewards predicts for the chosen arm; 0 for plain inverse propensity weighting.
    pub predicted: f64,
    /// What that model predicts for the judged router, its choice averaged out; 0 for plain inverse propensity weighting.
    pub predicted_target: f64,
}

/// Doubly robust estimate of the judged router's mean reward, with its standard error; with predictions of 0 it is inverse propensity weighting.
///
/// `mean(predicted_target + target / propensity * (reward - predicted))`: unbiased if the propensities are right.
///
/// # Errors
/// `NoData`; `OutOfRange` for a propensity that is not in (0, 1] or a target that is not in [0, 1]; `NotFinite`.
///
/// ```
/// use hanzo_hmm::market::{Logged, off_policy_value};
///
/// let log = |reward, target| Logged { propensity: 0.5, target, reward, predicted: 0.0, predicted_target: 0.0 };
/// let (value, error) = off_policy_value(&[log(1.0, 1.0), log(0.0, 0.0), log(1.0, 1.0), log(0.2, 0.0)])?;
/// assert!(value == 1.0 && error > 0.0);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
pub fn off_policy_value(log: &[Logged]) -> Result<(f64, f64)> {
    if log.is_empty() {
        return Err(Error::NoData);
    }
    let mut values = Vec::with_capacity(log.len());
    for l in log {
        if !(l.propensity > 0.0 && l.propensity <= 1.0) {
            return Err(Error::OutOfRange { what: "propensity" });
        }
        if !(0.0..=1.0).contains(&l.target) {
            return Err(Error::OutOfRange { what: "target" });
        }
        values.push(l.predicted_target + l.target / l.propensity * (l.reward - l.predicted));
    }
    super::hamiltonian::all_finite("logged choice", &values)?;
    Ok(paired_difference(&values, &vec![0.0; values.len()]))
}

fn utility((score, usd): (f64, f64), lambda: f64) -> f64 {
    score - lambda * usd
}

fn column(of: &[f64], width: usize, u: usize) -> f64 {
    of.iter().skip(u).step_by(width).sum()
}

const WARM: usize = 600;
const DELAY: usize = 50;
const PARTS: usize = 50;
const OBSERVATIONS: usize = 4;
const OBSERVED: [[f64; OBSERVATIONS]; 2] = [[0.3, 0.0, 0.02, 0.0], [0.7, 1.0, 0.2, 0.5]];
/// The protocol fixes the model that fails by its utility at this price of a dollar.
const TOP_LAMBDA: f64 = 200.0;
const ARENA: f64 = 0.1;
