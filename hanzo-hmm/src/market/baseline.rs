//! The trait of routers, and those that do not look at the request.

use super::splitmix::SplitMix64;

/// What a router knows before it chooses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Context<'a> {
    /// Features of the request, observations included.
    pub features: &'a [f64],
    /// The last features that are observations of the market; empty where there are none.
    pub observations: &'a [f64],
    /// Cost of every arm in units of score; at least one arm.
    pub costs: &'a [f64],
}

/// What a router chose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Place of the model in the costs.
    pub arm: usize,
    /// Probability with which it was chosen: 1 where nothing is random, `None` where it has no closed form.
    pub probability: Option<f64>,
}

/// What came of a choice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Feedback<'a> {
    /// The chosen model.
    pub arm: usize,
    /// Features of the request, as they were in the [`Context`].
    pub features: &'a [f64],
    /// The last features that are observations of the market, as there.
    pub observations: &'a [f64],
    /// Score in [0, 1].
    pub score: f64,
}

/// Something that sends requests to models and learns from the scores.
///
/// # Guarantees
/// `choose` returns an arm below the number of costs (0 where there are none), for any finite features; the same seed and calls give the same
/// choices. Several choices may be made before their feedback comes, some feedback may never come, and there may be feedback for arms that were not
/// chosen. The routers of this crate let feedback go that is for an arm from 1,024 on and beyond all that were ever offered.
pub trait Router {
    /// Chooses an arm.
    fn choose(&mut self, context: &Context<'_>) -> Choice;

    /// Learns from an outcome.
    fn update(&mut self, feedback: &Feedback<'_>);
}

/// Any arm with equal probability.
///
/// ```
/// use hanzo_hmm::market::{Context, Random, Router};
///
/// let context = Context { features: &[], observations: &[], costs: &[0.1, 0.2] };
/// let choice = Random::new(1).choose(&context);
/// assert!(choice.arm < 2 && choice.probability == Some(0.5));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Random {
    rng: SplitMix64,
}

impl Random {
    /// With a seed.
    pub fn new(seed: u64) -> Self {
        Self { rng: SplitMix64::new(seed) }
    }
}

impl Router for Random {
    fn choose(&mut self, context: &Context<'_>) -> Choice {
        let n = context.costs.len();
        Choice { arm: self.rng.below(n), probability: Some(1.0 / n.max(1) as f64) }
    }

    fn update(&mut self, _: &Feedback<'_>) {}
}

/// The arm of least cost, the first among equals.
///
/// ```
/// use hanzo_hmm::market::{Cheapest, Context, Router};
///
/// let context = Context { features: &[], observations: &[], costs: &[0.3, 0.2, 0.2] };
/// assert_eq!(Cheapest.choose(&context).arm, 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cheapest;

impl Router for Cheapest {
    fn choose(&mut self, context: &Context<'_>) -> Choice {
        certain(best(context.costs.iter().map(|c| -c)))
    }

    fn update(&mut self, _: &Feedback<'_>) {}
}

/// Always the same arm, or the last if there are fewer.
///
/// ```
/// use hanzo_hmm::market::{Context, Fixed, Router};
///
/// let context = Context { features: &[], observations: &[], costs: &[0.3, 0.2, 0.2] };
/// assert_eq!(Fixed(2).choose(&context).arm, 2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed(
    /// The arm.
    pub usize,
);

impl Router for Fixed {
    fn choose(&mut self, context: &Context<'_>) -> Choice {
        certain(self.0.min(context.costs.len().saturating_sub(1)))
    }

    fn update(&mut self, _: &Feedback<'_>) {}
}

/// Counts and sums of scores.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Means {
    pub(super) count: Vec<f64>,
    pub(super) sum: Vec<f64>,
    pub(super) steps: f64,
}

impl Means {
    pub(super) fn grow(&mut self, n: usize) {
        if self.count.len() < n {
            self.count.resize(n, 0.0);
            self.sum.resize(n, 0.0);
        }
    }

    pub(super) fn untried(&self, n: usize) -> Option<usize> {
        self.count[..n].iter().position(|&c| c == 0.0)
    }

    pub(super) fn mean(&self, arm: usize) -> f64 {
        self.sum[arm] / self.count[arm]
    }

    /// Takes a score in; false where there is no such arm.
    pub(super) fn add(&mut self, feedback: &Feedback<'_>) -> bool {
        if !is_arm(feedback.arm, self.count.len()) {
            return false;
        }
        self.grow(feedback.arm + 1);
        self.count[feedback.arm] += 1.0;
        self.sum[feedback.arm] += feedback.score;
        true
    }
}

/// The best arm by mean utility, but any arm with probability `epsilon`; arms never tried come first.
///
/// ```
/// use hanzo_hmm::market::{Context, EpsilonGreedy, Feedback, Router};
///
/// let context = Context { features: &[], observations: &[], costs: &[0.0, 0.0] };
/// let mut router = EpsilonGreedy::new(0.0, 1);
/// for score in [0.2, 0.9] {
///     let arm = router.choose(&context).arm;
///     router.update(&Feedback { arm, features: &[], observations: &[], score });
/// }
/// assert_eq!(router.choose(&context).arm, 1);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct EpsilonGreedy {
    epsilon: f64,
    rng: SplitMix64,
    means: Means,
}

impl EpsilonGreedy {
    /// With a probability (taken into [0, 1]) and a seed.
    pub fn new(epsilon: f64, seed: u64) -> Self {
        Self { epsilon: unit_interval(epsilon), rng: SplitMix64::new(seed), means: Means::default() }
    }
}

impl Router for EpsilonGreedy {
    fn choose(&mut self, context: &Context<'_>) -> Choice {
        let n = context.costs.len();
        self.means.grow(n);
        if let Some(arm) = self.means.untried(n) {
            return certain(arm);
        }
        let greedy = best(context.costs.iter().enumerate().map(|(u, c)| self.means.mean(u) - c));
        let arm = if self.rng.unit() < self.epsilon { self.rng.below(n) } else { greedy };
        let chance = chance(self.epsilon, n, arm == greedy);
        Choice { arm, probability: Some(chance) }
    }

    fn update(&mut self, feedback: &Feedback<'_>) {
        let _ = self.means.add(feedback);
    }
}

/// The arm of the highest upper confidence bound, `mean - cost + c sqrt(ln t / n)` after `t` choices and `n` scores of the arm (Auer, Cesa-Bianchi
/// and Fischer, Machine Learning 47:235, 2002, with `c = sqrt 2`); arms never tried come first.
///
/// ```
/// use hanzo_hmm::market::{Context, Feedback, Router, Ucb1};
///
/// let context = Context { features: &[], observations: &[], costs: &[0.0, 0.0] };
/// let mut router = Ucb1::new(0.2);
/// for score in [0.2, 0.9] {
///     let arm = router.choose(&context).arm;
///     router.update(&Feedback { arm, features: &[], observations: &[], score });
/// }
/// assert_eq!(router.choose(&context).arm, 1);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ucb1 {
    width: f64,
    means: Means,
}

impl Ucb1 {
    /// With the width `c` of the bound.
    pub fn new(width: f64) -> Self {
        Self { width, means: Means::default() }
    }
}

impl Router for Ucb1 {
    fn choose(&mut self, context: &Context<'_>) -> Choice {
        let n = context.costs.len();
        self.means.grow(n);
        self.means.steps += 1.0;
        if let Some(arm) = self.means.untried(n) {
            return certain(arm);
        }
        let m = &self.means;
        let bound = |u: usize| m.mean(u) + self.width * (m.steps.ln() / m.count[u]).sqrt();
        certain(best(context.costs.iter().enumerate().map(|(u, c)| bound(u) - c)))
    }

    fn update(&mut self, feedback: &Feedback<'_>) {
        let _ = self.means.add(feedback);
    }
}

/// The best arm under qualities drawn from beta posteriors (Thompson, Biometrika 25:285, 1933), with discounted evidence if asked. A score counts
/// as that part of a success.
///
/// ```
/// use hanzo_hmm::market::{Context, Feedback, Router, Thompson};
///
/// let context = Context { features: &[], observations: &[], costs: &[0.0, 0.0] };
/// let mut router = Thompson::new(1.0, 3);
/// for _ in 0..200 {
///     router.update(&Feedback { arm: 0, features: &[], observations: &[], score: 0.1 });
///     router.update(&Feedback { arm: 1, features: &[], observations: &[], score: 0.9 });
/// }
/// assert_eq!(router.choose(&context).arm, 1);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Thompson {
    discount: f64,
    rng: SplitMix64,
    good: Vec<f64>,
    bad: Vec<f64>,
}

impl Thompson {
    /// Evidence of all arms is multiplied by `discount` (taken into [0, 1]; 1 forgets nothing) before each outcome is added.
    pub fn new(discount: f64, seed: u64) -> Self {
        Self { discount: unit_interval(discount), rng: SplitMix64::new(seed), good: Vec::new(), bad: Vec::new() }
    }

    fn grow(&mut self, n: usize) {
        if self.good.len() < n {
            self.good.resize(n, 1.0);
            self.bad.resize(n, 1.0);
        }
    }
}

impl Router for Thompson {
    fn choose(&mut self, context: &Context<'_>) -> Choice {
        self.grow(context.costs.len());
        let Self { rng, good, bad, .. } = self;
        let arm = best(context.costs.iter().enumerate().map(|(u, c)| rng.beta(good[u], bad[u]) - c));
        Choice { arm, probability: None }
    }

    fn update(&mut self, feedback: &Feedback<'_>) {
        if !is_arm(feedback.arm, self.good.len()) {
            return;
        }
        self.grow(feedback.arm + 1);
        if self.discount < 1.0 {
            for v in self.good.iter_mut().chain(&mut self.bad) {
                *v = 1.0 + (*v - 1.0) * self.discount;
            }
        }
        self.good[feedback.arm] += feedback.score;
        self.bad[feedback.arm] += 1.0 - feedback.score;
    }
}

pub(super) fn certain(arm: usize) -> Choice {
    Choice { arm, probability: Some(1.0) }
}

/// Probability of an arm out of `n` where any is taken with probability `epsilon`, else the greedy one.
pub(super) fn chance(epsilon: f64, n: usize, greedy: bool) -> f64 {
    epsilon / n.max(1) as f64 + if greedy { 1.0 - epsilon } else { 0.0 }
}

/// Whether feedback may be for this arm, when so many have been seen: a wrong number must not take memory without end.
pub(super) fn is_arm(arm: usize, seen: usize) -> bool {
    arm < seen.max(MOST_ARMS)
}

/// Place of the largest value, the first among equals; 0 for none.
pub(super) fn best(values: impl Iterator<Item = f64>) -> usize {
    let mut top = (0, f64::NEG_INFINITY);
    for (i, v) in values.enumerate() {
        if v > top.1 {
            top = (i, v);
        }
    }
    top.0
}

pub(super) fn unit_interval(v: f64) -> f64 {
    if v.is_nan() { 0.0 } else { v.clamp(0.0, 1.0) }
}

/// Arms for which feedback is taken before they were ever offered; as many as a catalogue may hold.
const MOST_ARMS: usize = 1_024;
