//! Baseline routers that look at the features of a request.

use super::baseline::{Choice, Context, Feedback, Means, Router, best, certain, chance, is_arm, unit_interval};
use super::linear::{axpy, dot, quadratic, symmetric_times, triangle};
use super::splitmix::SplitMix64;

/// Ridge regression of one arm's scores less 1/2, updated by Sherman-Morrison; the covariance is a triangle.
#[derive(Debug, Clone, PartialEq)]
struct Ridge {
    covariance: Vec<f64>,
    moment: Vec<f64>,
    coefficients: Vec<f64>,
    gain: Vec<f64>,
}

impl Ridge {
    fn new(d: usize, precision: f64) -> Self {
        let mut covariance = vec![0.0; triangle(d)];
        for i in 0..d {
            covariance[triangle(i) + i] = 1.0 / precision;
        }
        Self { covariance, moment: vec![0.0; d], coefficients: vec![0.0; d], gain: vec![0.0; d] }
    }

    fn update(&mut self, x: &[f64], target: f64) {
        symmetric_times(&self.covariance, x, &mut self.gain);
        let scale = 1.0 / (1.0 + dot(x, &self.gain));
        for (i, &g) in self.gain.iter().enumerate() {
            let row = triangle(i);
            axpy(-scale * g, &self.gain[..=i], &mut self.covariance[row..=row + i]);
        }
        axpy(target, x, &mut self.moment);
        symmetric_times(&self.covariance, &self.moment, &mut self.coefficients);
    }
}

/// One [`Ridge`] an arm, made when features of some length are first seen.
#[derive(Debug, Clone, PartialEq)]
struct Ridges {
    precision: f64,
    arms: Vec<Ridge>,
}

impl Ridges {
    fn grow(&mut self, n: usize, d: usize) {
        if self.arms.first().is_some_and(|r| r.moment.len() != d) {
            self.arms.clear();
        }
        if self.arms.len() < n {
            self.arms.resize(n, Ridge::new(d, self.precision));
        }
    }

    /// Mean less cost, and width, of every arm.
    fn judge<'a>(&'a self, context: &'a Context<'a>) -> impl Iterator<Item = (f64, f64)> + 'a {
        self.arms.iter().zip(context.costs).map(|(r, c)| {
            let width = quadratic(&r.covariance, context.features).max(0.0).sqrt();
            (dot(&r.coefficients, context.features) - c, width)
        })
    }

    fn update(&mut self, feedback: &Feedback<'_>) {
        if !is_arm(feedback.arm, self.arms.len()) {
            return;
        }
        self.grow(feedback.arm + 1, feedback.features.len());
        self.arms[feedback.arm].update(feedback.features, feedback.score - 0.5);
    }
}

/// Linear upper confidence bounds, one ridge regression an arm (Li et al., 2010). `O(M d^2)` a choice, `O(d^2)` an update.
///
/// Features of another length than before start it afresh.
///
/// ```
/// use hanzo_hmm::market::{Context, Feedback, LinUcb, Router};
///
/// let mut router = LinUcb::new(0.02, 1.0);
/// for i in 0..100 {
///     let x = [1.0, if i % 2 == 0 { 1.0 } else { -1.0 }];
///     for arm in 0..2 {
///         let score = 0.5 + 0.4 * x[1] * if arm == 0 { 1.0 } else { -1.0 };
///         router.update(&Feedback { arm, features: &x, observations: &[], score });
///     }
/// }
/// let ask = |x: &[f64]| router.clone().choose(&Context { features: x, observations: &[], costs: &[0.0, 0.0] }).arm;
/// assert_eq!((ask(&[1.0, 1.0]), ask(&[1.0, -1.0])), (0, 1));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LinUcb {
    width: f64,
    ridges: Ridges,
}

impl LinUcb {
    /// With the width of the bound in noise units, and the prior precision (at least 1e-9) of every coefficient.
    pub fn new(width: f64, precision: f64) -> Self {
        Self { width, ridges: Ridges { precision: precision.max(LEAST_PRECISION), arms: Vec::new() } }
    }
}

impl Router for LinUcb {
    fn choose(&mut self, context: &Context<'_>) -> Choice {
        self.ridges.grow(context.costs.len(), context.features.len());
        certain(best(self.ridges.judge(context).map(|(mean, width)| mean + self.width * width)))
    }

    fn update(&mut self, feedback: &Feedback<'_>) {
        self.ridges.update(feedback);
    }
}

/// Thompson sampling on one ridge regression an arm: a normal number of the arm's mean and scaled width (Agrawal and Goyal, 2013).
///
/// ```
/// use hanzo_hmm::market::{Context, Feedback, LinThompson, Router};
///
/// let mut router = LinThompson::new(0.1, 1.0, 7);
/// for _ in 0..100 {
///     router.update(&Feedback { arm: 0, features: &[1.0], observations: &[], score: 0.1 });
///     router.update(&Feedback { arm: 1, features: &[1.0], observations: &[], score: 0.9 });
/// }
/// assert_eq!(router.choose(&Context { features: &[1.0], observations: &[], costs: &[0.0, 0.0] }).arm, 1);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LinThompson {
    width: f64,
    rng: SplitMix64,
    ridges: Ridges,
}

impl LinThompson {
    /// With the width of the draws in noise units, the prior precision (at least 1e-9), and a seed.
    pub fn new(width: f64, precision: f64, seed: u64) -> Self {
        let ridges = Ridges { precision: precision.max(LEAST_PRECISION), arms: Vec::new() };
        Self { width, rng: SplitMix64::new(seed), ridges }
    }
}

impl Router for LinThompson {
    fn choose(&mut self, context: &Context<'_>) -> Choice {
        self.ridges.grow(context.costs.len(), context.features.len());
        let Self { width, rng, ridges } = self;
        let arm = best(ridges.judge(context).map(|(mean, w)| mean + *width * w * rng.normal()));
        Choice { arm, probability: None }
    }

    fn update(&mut self, feedback: &Feedback<'_>) {
        self.ridges.update(feedback);
    }
}

/// Mean score of each arm among the `50 M` past requests most like this one (by dot product), shrunk by five pseudo-counts to the arm's mean;
/// any arm with probability `epsilon`. It remembers the last 16,384 outcomes, `8 D + 16` bytes each for `D` features (35 MB at 264),
/// or as many as [`remember`](Self::remember) says: `O(n d)` a choice. Features of another length than before start it afresh.
///
/// ```
/// use hanzo_hmm::market::{Context, Feedback, Knn, Router};
///
/// let mut router = Knn::new(0.0, 1);
/// for _ in 0..60 {
///     for (arm, score) in [(0, 0.2), (1, 0.8)] {
///         router.update(&Feedback { arm, features: &[1.0], observations: &[], score });
///     }
/// }
/// assert_eq!(router.choose(&Context { features: &[1.0], observations: &[], costs: &[0.0, 0.0] }).arm, 1);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Knn {
    epsilon: f64,
    rng: SplitMix64,
    means: Means,
    dim: usize,
    most: usize,
    /// Rows of features and what came of them, a ring of at most `most`.
    features: Vec<f64>,
    past: Vec<(usize, f64)>,
    /// Place of the oldest once the ring is full.
    oldest: usize,
    near: Vec<(f64, usize)>,
}

impl Knn {
    /// With a probability (taken into [0, 1]) and a seed.
    pub fn new(epsilon: f64, seed: u64) -> Self {
        Self {
            epsilon: unit_interval(epsilon),
            rng: SplitMix64::new(seed),
            means: Means::default(),
            dim: 0,
            most: REMEMBERED,
            features: Vec::new(),
            past: Vec::new(),
            oldest: 0,
            near: Vec::new(),
        }
    }

    /// Most outcomes to remember, at least one.
    #[must_use]
    pub fn remember(mut self, outcomes: usize) -> Self {
        self.most = outcomes.max(1);
        self
    }

    /// Outcomes remembered.
    pub fn remembered(&self) -> usize {
        self.past.len()
    }
}

impl Router for Knn {
    fn choose(&mut self, context: &Context<'_>) -> Choice {
        let n = context.costs.len();
        self.means.grow(n);
        if n == 0 {
            return certain(0);
        }
        if let Some(arm) = self.means.untried(n) {
            return certain(arm);
        }
        let random = self.rng.unit() < self.epsilon;
        self.near.clear();
        if context.features.len() == self.dim {
            let rows = self.features.chunks_exact(self.dim.max(1)).enumerate();
            self.near.extend(rows.map(|(i, x)| (dot(x, context.features), i)));
        }
        let k = NEIGHBOURS * n;
        // The most similar first, the earliest among equals.
        if self.near.len() > k {
            let (oldest, held) = (self.oldest, self.past.len());
            let age = |i: usize| if i < oldest { i + held } else { i };
            self.near.select_nth_unstable_by(k - 1, |a, b| b.0.total_cmp(&a.0).then(age(a.1).cmp(&age(b.1))));
            self.near.truncate(k);
        }
        let (mut count, mut sum) = (vec![0.0; n], vec![0.0; n]);
        for &(_, i) in &self.near {
            if let Some(&(arm, score)) = self.past.get(i).filter(|(arm, _)| *arm < n) {
                count[arm] += 1.0;
                sum[arm] += score;
            }
        }
        let local = |u: usize| (sum[u] + SHRINK * self.means.mean(u)) / (count[u] + SHRINK);
        let greedy = best(context.costs.iter().enumerate().map(|(u, c)| local(u) - c));
        let arm = if random { self.rng.below(n) } else { greedy };
        let chance = chance(self.epsilon, n, arm == greedy);
        Choice { arm, probability: Some(chance) }
    }

    fn update(&mut self, feedback: &Feedback<'_>) {
        if !self.means.add(feedback) {
            return;
        }
        let outcome = (feedback.arm, feedback.score);
        if feedback.features.len() != self.dim {
            (self.dim, self.oldest) = (feedback.features.len(), 0);
            self.features.clear();
            self.past.clear();
        }
        if self.past.len() < self.most {
            self.features.extend(feedback.features);
            self.past.push(outcome);
        } else {
            let at = self.oldest;
            self.features[at * self.dim..][..self.dim].copy_from_slice(feedback.features);
            self.past[at] = outcome;
            self.oldest = (at + 1) % self.most;
        }
    }
}

const LEAST_PRECISION: f64 = 1e-9;
const NEIGHBOURS: usize = 50;
const SHRINK: f64 = 5.0;
/// Outcomes that neighbours are looked for in.
const REMEMBERED: usize = 16_384;
