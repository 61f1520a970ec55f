//! A discrete generative model and the exact expected free energy of its policies.

use super::dirichlet::dirichlet_novelty;
use super::entropy::{entropy, mixture_entropy};
use super::free_energy::Efe;
use crate::{Error, Result};

/// Hidden factors, outcome modalities, transitions, preferences and beliefs: everything a policy is judged by.
///
/// `F` factors with `S_f` states, of which some follow a control, and `M` modalities with `O_m` outcomes that are independent once
/// the states are known. Tables are row major, in the layout of pymdp: `A_m[o, s_0, .., s_{F-1}]`, `B_f[next, now, u]`, `C_m[o]` log
/// preferences up to a constant, `D_f[s]` beliefs before the first action. Beliefs of different factors are kept
/// independent, as there.
///
/// ```
/// use hanzo_hmm::market::{EfeWorkspace, Gain, GenerativeModel, Policies};
///
/// let model = GenerativeModel::new(
///     &[2],                                                          // one factor of two states
///     vec![vec![0.9, 0.2, 0.1, 0.8]],                                // P(o | s)
///     vec![vec![0.9, 0.5, 0.3, 0.1, 0.1, 0.5, 0.7, 0.9]],            // P(next | now, u)
///     &[vec![1.0, -1.0]],
///     vec![vec![0.5, 0.5]],
/// )?;
/// let policies = Policies::enumerate(&[vec![0], vec![1]], 1)?;
/// let found = model.evaluate(&policies, Gain::Joint, &mut EfeWorkspace::default())?;
/// assert!((found.efe[0].total - 0.618074638).abs() < 1e-9);
/// assert!((found.probabilities[0] - 0.999362184).abs() < 1e-9);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GenerativeModel {
    states: Vec<usize>,
    controls: Vec<usize>,
    outcomes: Vec<usize>,
    /// `P(o | s)` with the outcomes of one joint state side by side.
    likelihood: Vec<Vec<f64>>,
    /// `prod_m P(o_m | s)`, the outcomes of one joint state side by side and padded with zeros to a multiple of 8; empty where that takes too much
    /// memory.
    joint: Vec<f64>,
    /// `P(next | now, u)` as `[u][next][now]`.
    transition: Vec<Vec<f64>>,
    belief: Vec<Vec<f64>>,
    /// `sum_m H[P(o_m | s)]` of every joint state.
    entropy: Vec<f64>,
    /// `sum_m E[ln P~(o_m) | s]` of every joint state.
    preference: Vec<f64>,
    /// Weighted information about the likelihood itself, of every joint state.
    novelty: Vec<f64>,
    gamma: f64,
}

/// Which information gain a free energy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gain {
    /// That of the whole outcome: `I(s; o_1, .., o_M)`.
    #[default]
    Joint,
    /// The gains of the modalities one by one, added up: an upper bound of [`Joint`](Self::Joint), as pymdp computes it.
    PerModality,
}

/// Courses of action, all of one length: one control a factor and step.
#[derive(Debug, Clone, PartialEq)]
pub struct Policies {
    controls: Vec<usize>,
    factors: usize,
    steps: usize,
    log_habit: Option<Vec<f64>>,
}

/// What [`GenerativeModel::evaluate`] found, policy by policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Expected free energies in nats, summed over the steps.
    pub efe: Vec<Efe>,
    /// `q(pi) = softmax(ln E - gamma G)`.
    pub probabilities: Vec<f64>,
}

/// Memory that [`GenerativeModel::evaluate`] and [`GenerativeModel::plan`] use again and again.
#[derive(Debug, Clone, Default)]
pub struct EfeWorkspace {
    pub(super) beliefs: Vec<Vec<f64>>,
    pub(super) next: Vec<f64>,
    support: Vec<(usize, f64)>,
    spare: Vec<(usize, f64)>,
    joint: Vec<f64>,
    weights: Vec<f64>,
}

impl Policies {
    /// Policies of `steps` steps: `controls[policy][step][factor]`, flat.
    ///
    /// # Errors
    /// `InvalidConfig` (`policies`) unless there is at least one policy, step and factor, and the length is a multiple of `factors * steps`.
    pub fn new(controls: Vec<usize>, factors: usize, steps: usize) -> Result<Self> {
        let size = factors.checked_mul(steps).filter(|&size| size > 0);
        match size {
            Some(size) if !controls.is_empty() && controls.len().is_multiple_of(size) => {
                Ok(Self { controls, factors, steps, log_habit: None })
            }
            _ => Err(Error::InvalidConfig { field: "policies" }),
        }
    }

    /// All sequences of `steps` of the given actions, the last step varying fastest. An action is one control a factor.
    ///
    /// # Errors
    /// `InvalidConfig` for no actions, actions of different lengths or of none, no steps, more than a million policies, or more than 2^26 controls
    /// in all.
    pub fn enumerate(actions: &[Vec<usize>], steps: usize) -> Result<Self> {
        let bad = Error::InvalidConfig { field: "policies" };
        let factors = actions.first().map_or(0, Vec::len);
        let count = u32::try_from(steps).ok().and_then(|s| actions.len().checked_pow(s)).filter(|&n| n <= MAX_POLICIES);
        let size = |count: usize| count.checked_mul(steps)?.checked_mul(factors);
        let count = count.filter(|&n| size(n).is_some_and(|size| (1..=MAX_CONTROLS).contains(&size)));
        let (Some(count), false) = (count, actions.iter().any(|a| a.len() != factors)) else { return Err(bad) };
        let mut controls = Vec::with_capacity(count * steps * factors);
        for policy in 0..count {
            for step in (0..steps as u32).rev() {
                controls.extend(&actions[policy / actions.len().pow(step) % actions.len()]);
            }
        }
        Self::new(controls, factors, steps)
    }

    /// Prior probabilities `E` of the policies, up to a factor. Without them all are equally likely.
    ///
    /// # Errors
    /// `DimensionMismatch`, `NotFinite`, and `OutOfRange` for a negative or an all-zero habit.
    pub fn habit(mut self, habit: &[f64]) -> Result<Self> {
        super::hamiltonian::same_length("habit", self.len(), habit)?;
        super::hamiltonian::all_finite("habit", habit)?;
        if habit.iter().any(|&e| e < 0.0) || habit.iter().all(|&e| e == 0.0) {
            return Err(Error::OutOfRange { what: "habit" });
        }
        self.log_habit = Some(habit.iter().map(|e| e.ln()).collect());
        Ok(self)
    }

    /// Number of policies.
    pub fn len(&self) -> usize {
        self.controls.len() / (self.factors * self.steps)
    }

    /// Never true: there is at least one policy.
    pub fn is_empty(&self) -> bool {
        self.controls.is_empty()
    }

    /// Steps of every policy.
    pub fn steps(&self) -> usize {
        self.steps
    }
}

impl GenerativeModel {
    /// A model from its tables; `states[f]` is the number of states of factor `f`. `gamma` is 16, novelty is not counted.
    ///
    /// The numbers of outcomes and controls follow from the lengths. Distributions may be off by 1e-6 and are renormalised.
    ///
    /// # Errors
    /// `InvalidConfig` for no factors, no modalities, empty tables or more than 2^24 joint states or outcomes, `DimensionMismatch`,
    /// `NotAProbability`, `RowSum`, and for preferences `NotFinite`, or `OutOfRange` beyond 10^100.
    pub fn new(states: &[usize], a: Vec<Vec<f64>>, b: Vec<Vec<f64>>, c: &[Vec<f64>], d: Vec<Vec<f64>>) -> Result<Self> {
        let joint = product(states).ok_or(Error::InvalidConfig { field: "states" })?;
        if a.is_empty() {
            return Err(Error::InvalidConfig { field: "modalities" });
        }
        for (what, expected, found) in [
            ("transitions", states.len(), b.len()),
            ("beliefs", states.len(), d.len()),
            ("preferences", a.len(), c.len()),
        ] {
            if expected != found {
                return Err(Error::DimensionMismatch { what, expected, found });
            }
        }
        let outcomes: Vec<usize> = c.iter().map(Vec::len).collect();
        product(&outcomes).ok_or(Error::InvalidConfig { field: "outcomes" })?;
        let mut model = Self {
            states: states.to_vec(),
            controls: Vec::new(),
            likelihood: Vec::new(),
            joint: Vec::new(),
            transition: Vec::new(),
            belief: Vec::new(),
            entropy: vec![0.0; joint],
            preference: vec![0.0; joint],
            novelty: vec![0.0; joint],
            gamma: 16.0,
            outcomes,
        };
        for (mut table, log_preference) in a.into_iter().zip(c) {
            super::hamiltonian::same_length("likelihood", log_preference.len() * joint, &table)?;
            super::hamiltonian::all_finite("preference", log_preference)?;
            if log_preference.iter().any(|c| c.abs() > MAX_NATS) {
                return Err(Error::OutOfRange { what: "preference" });
            }
            table = transpose(&table, joint);
            let log_preference = log_softmax(log_preference);
            for (s, row) in table.chunks_exact_mut(log_preference.len()).enumerate() {
                normalise("likelihood", s, row)?;
                model.entropy[s] += row.iter().map(|&p| surprise(p)).sum::<f64>();
                model.preference[s] += row.iter().zip(&log_preference).map(|(p, c)| p * c).sum::<f64>();
            }
            model.likelihood.push(table);
        }
        for ((&n, table), mut belief) in states.iter().zip(b).zip(d) {
            let controls = table.len() / (n * n);
            if controls == 0 || table.len() != controls * n * n {
                return Err(Error::DimensionMismatch {
                    what: "transition",
                    expected: controls.max(1) * n * n,
                    found: table.len(),
                });
            }
            super::hamiltonian::same_length("belief", n, &belief)?;
            normalise("belief", model.belief.len(), &mut belief)?;
            // [next][now][u] -> [u][now][next], normalise, -> [u][next][now]
            let mut out = vec![0.0; table.len()];
            for u in 0..controls {
                for now in 0..n {
                    let mut column: Vec<f64> = (0..n).map(|next| table[(next * n + now) * controls + u]).collect();
                    normalise("transition", now, &mut column)?;
                    for (next, p) in column.into_iter().enumerate() {
                        out[(u * n + next) * n + now] = p;
                    }
                }
            }
            model.transition.push(out);
            model.controls.push(controls);
            model.belief.push(belief);
        }
        model.tabulate();
        Ok(model)
    }

    /// Another precision of the choice, in (0, 10^100]: `q(pi)` is proportional to `E exp(-gamma G)`.
    ///
    /// # Errors
    /// `InvalidConfig` (`gamma`).
    pub fn gamma(mut self, gamma: f64) -> Result<Self> {
        if !(gamma > 0.0 && gamma <= MAX_NATS) {
            return Err(Error::InvalidConfig { field: "gamma" });
        }
        self.gamma = gamma;
        Ok(self)
    }

    /// Counts what is to be learned about the likelihood: `weight` times [`dirichlet_novelty`] of the counts of every joint state.
    /// `counts[m]` has the layout of `A_m`.
    ///
    /// # Errors
    /// `DimensionMismatch`, `NotFinite`, `OutOfRange` for a count that is not positive, or a weight that is negative or beyond 10^100.
    pub fn novelty(mut self, weight: f64, counts: &[Vec<f64>]) -> Result<Self> {
        if super::hamiltonian::non_negative("novelty weight", weight)? > MAX_NATS {
            return Err(Error::OutOfRange { what: "novelty weight" });
        }
        if counts.len() != self.outcomes.len() {
            let (expected, found) = (self.outcomes.len(), counts.len());
            return Err(Error::DimensionMismatch { what: "counts", expected, found });
        }
        let joint = self.entropy.len();
        let mut novelty = vec![0.0; joint];
        for (table, &n) in counts.iter().zip(&self.outcomes) {
            super::hamiltonian::same_length("counts", n * joint, table)?;
            for (sum, row) in novelty.iter_mut().zip(transpose(table, joint).chunks_exact(n)) {
                *sum += weight * dirichlet_novelty(row)?;
            }
        }
        self.novelty = novelty;
        Ok(self)
    }

    /// Replaces the beliefs about one factor before the first action, a distribution over its states.
    ///
    /// # Errors
    /// `OutOfRange` for an unknown factor, `DimensionMismatch`, `NotAProbability`, `RowSum`; the beliefs are unchanged then.
    pub fn set_belief(&mut self, factor: usize, belief: &[f64]) -> Result<()> {
        let Some(old) = self.belief.get_mut(factor) else { return Err(Error::OutOfRange { what: "factor" }) };
        super::hamiltonian::same_length("belief", old.len(), belief)?;
        let mut new = belief.to_vec();
        normalise("belief", factor, &mut new)?;
        *old = new;
        Ok(())
    }

    /// The expected free energy of every policy, with its parts, and their posterior.
    ///
    /// Under [`Gain::Joint`] `risk` is the divergence of the joint outcome from the preferred one, under [`Gain::PerModality`] the sum of
    /// the modalities' own; in both `risk + ambiguity = -(pragmatic + epistemic)`. `O(P T S O)` time for `P` policies of `T` steps, `S` joint
    /// states with probability and `O` joint outcomes (their sum under [`Gain::PerModality`]).
    ///
    /// # Errors
    /// `DimensionMismatch` for policies of another number of factors, `OutOfRange` for a control that does not exist.
    pub fn evaluate(&self, policies: &Policies, gain: Gain, workspace: &mut EfeWorkspace) -> Result<Evaluation> {
        let factors = self.states.len();
        if policies.factors != factors {
            return Err(Error::DimensionMismatch { what: "policy", expected: factors, found: policies.factors });
        }
        for action in policies.controls.chunks_exact(factors) {
            self.check_action(action)?;
        }
        let mut efe = Vec::with_capacity(policies.len());
        for policy in policies.controls.chunks_exact(factors * policies.steps) {
            self.start(workspace);
            let mut sum = Efe::ZERO;
            for action in policy.chunks_exact(factors) {
                for (factor, &control) in action.iter().enumerate() {
                    self.advance(factor, control, workspace);
                }
                sum += self.judge(gain, workspace);
            }
            efe.push(sum);
        }
        let mut probabilities: Vec<f64> = (efe.iter().enumerate())
            .map(|(i, g)| policies.log_habit.as_ref().map_or(0.0, |e| e[i]) - self.gamma * g.total)
            .collect();
        softmax(&mut probabilities);
        Ok(Evaluation { efe, probabilities })
    }

    pub(super) fn check_action(&self, action: &[usize]) -> Result<()> {
        if action.len() != self.states.len() {
            return Err(Error::DimensionMismatch { what: "action", expected: self.states.len(), found: action.len() });
        }
        if action.iter().zip(&self.controls).any(|(u, n)| u >= n) {
            return Err(Error::OutOfRange { what: "control" });
        }
        Ok(())
    }

    pub(super) fn precision(&self) -> f64 {
        self.gamma
    }

    /// Whether the next belief of a factor depends on the control alone, or on no control at all.
    pub(super) fn forgets(&self, factor: usize) -> bool {
        let n = self.states[factor];
        self.controls[factor] == 1
            || self.transition[factor].chunks_exact(n).all(|row| row.iter().all(|p| *p == row[0]))
    }

    /// Whether a factor follows no control.
    pub(super) fn is_exogenous(&self, factor: usize) -> bool {
        self.controls[factor] == 1
    }

    pub(super) fn start(&self, workspace: &mut EfeWorkspace) {
        workspace.beliefs.resize_with(self.belief.len(), Vec::new);
        for (now, start) in workspace.beliefs.iter_mut().zip(&self.belief) {
            now.clear();
            now.extend(start);
        }
    }

    /// One step of a factor under a control.
    pub(super) fn advance(&self, factor: usize, control: usize, workspace: &mut EfeWorkspace) {
        let n = self.states[factor];
        let table = &self.transition[factor][control * n * n..(control + 1) * n * n];
        let now = &mut workspace.beliefs[factor];
        workspace.next.clear();
        workspace.next.extend(table.chunks_exact(n).map(|row| row.iter().zip(&*now).map(|(p, q)| p * q).sum::<f64>()));
        std::mem::swap(now, &mut workspace.next);
    }

    /// The free energy of one step at the beliefs in the workspace.
    pub(super) fn judge(&self, gain: Gain, workspace: &mut EfeWorkspace) -> Efe {
        let EfeWorkspace { beliefs, support, spare, joint, weights, .. } = workspace;
        // Joint states with a probability.
        support.clear();
        support.push((0, 1.0));
        for (belief, &n) in beliefs.iter().zip(&self.states) {
            spare.clear();
            for &(s, q) in support.iter() {
                spare.extend(belief.iter().enumerate().filter(|(_, p)| **p > 0.0).map(|(i, p)| (s * n + i, q * p)));
            }
            std::mem::swap(support, spare);
        }
        let expect = |of: &[f64]| -> f64 { support.iter().map(|&(s, q)| q * of[s]).sum() };
        let (ambiguity, pragmatic, novelty) = (expect(&self.entropy), expect(&self.preference), expect(&self.novelty));
        let entropy = match gain {
            Gain::PerModality => (self.likelihood.iter().zip(&self.outcomes))
                .map(|(table, &n)| {
                    mix(table, n, support, joint);
                    entropy(joint)
                })
                .sum::<f64>(),
            Gain::Joint if !self.joint.is_empty() => {
                joint.resize(self.joint.len() / self.entropy.len(), 0.0);
                mixture_entropy(support, &self.joint, joint)
            }
            Gain::Joint => {
                self.mix_joint(support, joint, weights);
                entropy(joint)
            }
        };
        // Both are divergences; rounding may carry them a hair below 0.
        let epistemic = (entropy - ambiguity).max(0.0);
        let risk = (-pragmatic - entropy).max(0.0);
        Efe { total: -pragmatic - epistemic - novelty, risk, ambiguity, epistemic, pragmatic, novelty }
    }

    /// Fills the table of joint outcomes if it is small.
    fn tabulate(&mut self) {
        let states = self.entropy.len();
        let size: usize = self.outcomes.iter().product();
        let padded = size.next_multiple_of(8);
        if states.saturating_mul(padded) > MAX_TABULATED {
            return;
        }
        let mut table = vec![0.0; states * padded];
        let (mut row, mut weights) = (Vec::new(), Vec::new());
        for (s, out) in table.chunks_exact_mut(padded).enumerate() {
            self.mix_joint(&[(s, 1.0)], &mut row, &mut weights);
            out[..size].copy_from_slice(&row);
        }
        self.joint = table;
    }

    /// `q(o_1, .., o_M) = sum_s q(s) prod_m P(o_m | s)`.
    fn mix_joint(&self, support: &[(usize, f64)], joint: &mut Vec<f64>, weights: &mut Vec<f64>) {
        let Some((last_table, heads)) = self.likelihood.split_last() else { return };
        let last = self.outcomes[self.outcomes.len() - 1];
        let size: usize = self.outcomes.iter().product();
        joint.clear();
        joint.resize(size, 0.0);
        for &(s, q) in support {
            // The outer product of all modalities but the last, grown in place from the back.
            weights.clear();
            weights.push(q);
            for (table, &n) in heads.iter().zip(&self.outcomes) {
                let row = &table[s * n..(s + 1) * n];
                let have = weights.len();
                weights.resize(have * n, 0.0);
                for i in (0..have).rev() {
                    let w = weights[i];
                    for (o, p) in row.iter().enumerate() {
                        weights[i * n + o] = w * p;
                    }
                }
            }
            let row = &last_table[s * last..(s + 1) * last];
            for (out, &w) in joint.chunks_exact_mut(last).zip(weights.iter()) {
                for (o, p) in out.iter_mut().zip(row) {
                    *o += w * p;
                }
            }
        }
    }
}

/// `q(o) = sum_s q(s) P(o | s)` of one modality.
fn mix(table: &[f64], n: usize, support: &[(usize, f64)], out: &mut Vec<f64>) {
    out.clear();
    out.resize(n, 0.0);
    for &(s, q) in support {
        for (o, p) in out.iter_mut().zip(&table[s * n..(s + 1) * n]) {
            *o += q * p;
        }
    }
}

/// `[o][s] -> [s][o]`.
fn transpose(table: &[f64], joint: usize) -> Vec<f64> {
    let n = table.len() / joint;
    (0..joint).flat_map(|s| (0..n).map(move |o| table[o * joint + s])).collect()
}

fn product(sizes: &[usize]) -> Option<usize> {
    if sizes.is_empty() {
        return None;
    }
    sizes.iter().try_fold(1usize, |a, &n| a.checked_mul(n).filter(|p| (1..=MAX_TABLE).contains(p)))
}

fn normalise(what: &'static str, row: usize, p: &mut [f64]) -> Result<()> {
    for (col, &value) in p.iter().enumerate() {
        if !(value >= 0.0 && value.is_finite()) {
            return Err(Error::NotAProbability { what, row, col, value });
        }
    }
    let sum: f64 = p.iter().sum();
    if (sum - 1.0).abs() > 1e-6 {
        return Err(Error::RowSum { what, row, sum });
    }
    // Sums that are 1 up to rounding are left alone, so that exact tables stay exact.
    if (sum - 1.0).abs() > 1e-14 {
        for v in p {
            *v /= sum;
        }
    }
    Ok(())
}

fn log_softmax(c: &[f64]) -> Vec<f64> {
    let top = c.iter().fold(f64::NEG_INFINITY, |a, &v| a.max(v));
    let z = c.iter().map(|v| (v - top).exp()).sum::<f64>().ln();
    c.iter().map(|v| v - top - z).collect()
}

/// Turns log weights into probabilities; weights of 0 (a log of minus infinity) stay 0.
pub(super) fn softmax(logs: &mut [f64]) {
    let top = logs.iter().fold(f64::NEG_INFINITY, |a, &v| a.max(v));
    for v in logs.iter_mut() {
        *v = (*v - top).exp();
    }
    let sum: f64 = logs.iter().sum();
    for v in logs {
        *v /= sum;
    }
}

/// `-p ln p`, exactly 0 at 0.
fn surprise(p: f64) -> f64 {
    if p > 0.0 { -p * p.ln() } else { 0.0 }
}

const MAX_POLICIES: usize = 1_000_000;
/// Half a gigabyte.
const MAX_CONTROLS: usize = 1 << 26;
/// Of preferences, weights and precisions: no sum or product of them leaves the range of a double.
const MAX_NATS: f64 = 1e100;
const MAX_TABLE: usize = 1 << 24;
/// Two megabytes.
const MAX_TABULATED: usize = 1 << 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_policies_are_refused_before_they_take_memory() {
        let bad = Err(Error::InvalidConfig { field: "policies" });
        assert_eq!(Policies::enumerate(&[vec![0]], u32::MAX as usize), bad);
        assert_eq!(Policies::enumerate(&[vec![0; 1 << 20]], 1 << 20), bad);
        assert_eq!(Policies::enumerate(&[vec![]], u32::MAX as usize), bad);
        assert_eq!(Policies::enumerate(&[vec![0], vec![1]], 3).map(|p| p.len()), Ok(8));
    }

    #[test]
    fn numbers_that_would_leave_a_double_are_refused() {
        let model = |c: f64| {
            let (a, b) = (vec![vec![1.0, 0.0, 0.0, 1.0]], vec![vec![1.0, 0.0, 0.0, 1.0]]);
            GenerativeModel::new(&[2], a, b, &[vec![c, -c]], vec![vec![1.0, 0.0]])
        };
        assert_eq!(model(f64::MAX), Err(Error::OutOfRange { what: "preference" }));
        let sound = model(1e100).unwrap();
        assert!(sound.clone().gamma(f64::MAX).is_err());
        assert!(sound.clone().novelty(f64::MAX, &[vec![1.0; 4]]).is_err());
        let policies = Policies::enumerate(&[vec![0]], 5).unwrap();
        let sound = sound.gamma(1e100).unwrap().novelty(1e100, &[vec![1.0; 4]]).unwrap();
        for gain in [Gain::Joint, Gain::PerModality] {
            let found = sound.evaluate(&policies, gain, &mut EfeWorkspace::default()).unwrap();
            assert!(found.efe[0].total.is_finite() && found.probabilities == [1.0]);
        }
    }
}
