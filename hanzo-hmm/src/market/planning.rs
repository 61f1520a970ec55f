//! Horizons that fall apart into steps, and what it costs to switch between them.

use super::free_energy::Efe;
use super::generative::{EfeWorkspace, Gain, GenerativeModel, softmax};
use crate::{Error, Result};

/// What changing the action costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SwitchCost {
    /// Nats for an action that differs from the one before.
    pub nats: f64,
    /// The action in force before the first step: its place in the list of actions; `None` if the first is free.
    pub last: Option<usize>,
}

/// The best course over a horizon, with the free energy of every action at every step.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Place of the best action at every step.
    pub actions: Vec<usize>,
    /// Free energy of that course, switch costs included.
    pub total: f64,
    /// Posterior of the first action under all courses: `sum over courses of softmax(-gamma (G + switch costs))`.
    pub first: Vec<f64>,
    /// `G_t(u)`: step by step, one entry an action.
    pub steps: Vec<Vec<Efe>>,
}

impl GenerativeModel {
    /// Finds the best of all `M^T` courses of `steps` of the given actions without listing them.
    ///
    /// Where every factor either follows no control or forgets its past under each (so that the control decides its state
    /// alone), `G` of a course is the sum of `G_t(u_t)`; with a switch cost the courses form a chain. Time is `O(T M)` free energies, and `O(T M^2)`
    /// steps for the chain (min-sum for the course, sum-product for the posterior), instead of `O(T M^T)`. Equal courses: the first
    /// action of the list wins.
    ///
    /// # Errors
    /// `NotSeparable { factor }` where the model is not of this kind; `InvalidConfig` for no actions, no steps or more than 10,000;
    /// `DimensionMismatch`, `OutOfRange` for actions that do not fit, a negative cost or an unknown last action; `NotFinite`.
    ///
    /// ```
    /// use hanzo_hmm::market::{EfeWorkspace, Gain, GenerativeModel, SwitchCost};
    ///
    /// // Which of two models serves: the state is the choice itself, the first gives the good outcome more often.
    /// let model = GenerativeModel::new(
    ///     &[2],
    ///     vec![vec![0.7, 0.6, 0.3, 0.4]],
    ///     vec![vec![1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]],
    ///     &[vec![2.0, 0.0]],
    ///     vec![vec![1.0, 0.0]],
    /// )?;
    /// let mut ws = EfeWorkspace::default();
    /// let actions = [vec![0], vec![1]];
    /// let free = model.plan(&actions, 3, Gain::Joint, None, &mut ws)?;
    /// assert_eq!(free.actions, [0, 0, 0]);
    /// let tied = SwitchCost { nats: 1.0, last: Some(1) }; // the session sits on the other model
    /// assert_eq!(model.plan(&actions, 3, Gain::Joint, Some(tied), &mut ws)?.actions, [1, 1, 1]);
    /// # Ok::<(), hanzo_hmm::Error>(())
    /// ```
    pub fn plan(
        &self,
        actions: &[Vec<usize>],
        steps: usize,
        gain: Gain,
        switch: Option<SwitchCost>,
        workspace: &mut EfeWorkspace,
    ) -> Result<Plan> {
        if actions.is_empty() || steps == 0 || steps > MAX_STEPS {
            return Err(Error::InvalidConfig { field: "plan" });
        }
        for action in actions {
            self.check_action(action)?;
        }
        if let Some(factor) = (0..actions[0].len()).find(|&f| !self.forgets(f)) {
            return Err(Error::NotSeparable { factor });
        }
        if let Some(s) = switch {
            super::hamiltonian::non_negative("switch cost", s.nats)?;
            if s.last.is_some_and(|last| last >= actions.len()) {
                return Err(Error::OutOfRange { what: "last action" });
            }
        }
        self.start(workspace);
        let mut table = Vec::with_capacity(steps);
        for _ in 0..steps {
            // A factor that forgets takes any action from any belief, so one action's belief serves all of them as their past.
            let mut row = Vec::with_capacity(actions.len());
            for (i, action) in actions.iter().enumerate() {
                for (factor, &control) in action.iter().enumerate() {
                    // Factors without a control move once a step.
                    if i == 0 || !self.is_exogenous(factor) {
                        self.advance(factor, control, workspace);
                    }
                }
                row.push(self.judge(gain, workspace));
            }
            table.push(row);
        }
        let costs: Vec<Vec<f64>> = table.iter().map(|row| row.iter().map(|g| g.total).collect()).collect();
        let (actions, total, first) = chain(&costs, switch, self.precision());
        Ok(Plan { actions, total, first, steps: table })
    }
}

/// What the rest of a chain costs after one action.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Ahead {
    /// On the best course.
    pub(crate) least: f64,
    /// Free energy of all courses, `-ln(sum exp(-gamma G)) / gamma`.
    pub(crate) free: f64,
}

/// Goes one step back: `ahead` of the actions at one step, whose costs are `now`, becomes that of the actions before it, from each of which a
/// change costs `nats`. Min-sum and sum-product; the best successor of an action is the action itself or the best of all, so this takes `O(M)`.
pub(crate) fn step_back(ahead: &mut [Ahead], now: &[f64], nats: f64, gamma: f64) {
    let (mut least, mut free) = (f64::INFINITY, f64::INFINITY);
    for (a, g) in ahead.iter_mut().zip(now) {
        a.least += g;
        a.free += g;
        least = least.min(a.least);
        free = free.min(a.free);
    }
    let weight = |a: &Ahead| (-gamma * (a.free - free)).exp();
    let all: f64 = ahead.iter().map(weight).sum();
    let change = (-gamma * nats).exp();
    for a in ahead {
        a.free = free - (change * all + (1.0 - change) * weight(a)).ln() / gamma;
        a.least = a.least.min(least + nats);
    }
}

/// The course of least cost, its cost, and the posterior of the first action under all courses.
fn chain(costs: &[Vec<f64>], switch: Option<SwitchCost>, gamma: f64) -> (Vec<usize>, f64, Vec<f64>) {
    let nats = switch.map_or(0.0, |s| s.nats);
    let mut before = switch.and_then(|s| s.last);
    // Of the actions at every step.
    let mut ahead = vec![vec![Ahead::default(); costs[0].len()]; costs.len()];
    for t in (1..costs.len()).rev() {
        let mut row = ahead[t].clone();
        step_back(&mut row, &costs[t], nats, gamma);
        ahead[t - 1] = row;
    }
    let leaving = |before: Option<usize>, u: usize| if before.is_some_and(|b| b != u) { nats } else { 0.0 };
    let mut first: Vec<f64> = (costs[0].iter().zip(&ahead[0]).enumerate())
        .map(|(u, (g, a))| -gamma * (g + a.free + leaving(before, u)))
        .collect();
    softmax(&mut first);
    let (mut course, mut total) = (Vec::with_capacity(costs.len()), 0.0);
    for (row, ahead) in costs.iter().zip(&ahead) {
        let values: Vec<f64> =
            (row.iter().zip(ahead).enumerate()).map(|(u, (g, a))| g + a.least + leaving(before, u)).collect();
        let u = least(&values);
        total += row[u] + leaving(before, u);
        before = Some(u);
        course.push(u);
    }
    (course, total, first)
}

/// Place of the least value, the first among equals.
fn least(values: &[f64]) -> usize {
    values.iter().enumerate().fold(0, |best, (i, v)| if *v < values[best] { i } else { best })
}

const MAX_STEPS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn brute(costs: &[Vec<f64>], s: Option<SwitchCost>, gamma: f64) -> (f64, Vec<f64>) {
        let m = costs[0].len();
        let mut best = f64::INFINITY;
        let mut first = vec![0.0; m];
        for code in 0..m.pow(costs.len() as u32) {
            let (mut rest, mut g, mut before) = (code, 0.0, s.and_then(|s| s.last));
            let start = code % m;
            for row in costs {
                let u = rest % m;
                rest /= m;
                g += row[u] + if before.is_some_and(|b| b != u) { s.map_or(0.0, |s| s.nats) } else { 0.0 };
                before = Some(u);
            }
            best = best.min(g);
            first[start] += (-gamma * g).exp();
        }
        let sum: f64 = first.iter().sum();
        (best, first.iter().map(|w| w / sum).collect())
    }

    #[test]
    fn the_chain_equals_all_courses() {
        let wave = |i: usize| ((i * i + 3 * i) as f64 * 0.731).sin();
        for case in 0..60 {
            let costs: Vec<Vec<f64>> = (0..4).map(|t| (0..5).map(|u| wave(case * 31 + t * 5 + u)).collect()).collect();
            for s in [
                None,
                Some(SwitchCost { nats: 0.0, last: Some(1) }),
                Some(SwitchCost { nats: 0.4, last: None }),
                Some(SwitchCost { nats: 0.4, last: Some(case % 5) }),
                Some(SwitchCost { nats: 9.0, last: Some(2) }),
            ] {
                let (best, first) = brute(&costs, s, 2.0);
                let (course, total, found) = chain(&costs, s, 2.0);
                assert!((best - total).abs() < 1e-12);
                let mut again = 0.0;
                let mut before = s.and_then(|s| s.last);
                for (row, &u) in costs.iter().zip(&course) {
                    again += row[u] + if before.is_some_and(|b| b != u) { s.map_or(0.0, |s| s.nats) } else { 0.0 };
                    before = Some(u);
                }
                assert!((again - total).abs() < 1e-12);
                for (a, b) in found.iter().zip(&first) {
                    assert!((a - b).abs() < 1e-12);
                }
            }
        }
    }
}
