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
    /// `NotSeparable { factor }` where the model is not of this kind; `InvalidConfig` for no actions or steps; `DimensionMismatch`,
    /// `OutOfRange` for actions that do not fit, a negative cost or an unknown last action; `NotFinite`.
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
        let (actions, total) = cheapest_course(&costs, switch);
        let first = first_posterior(&costs, switch, self.precision());
        Ok(Plan { actions, total, first, steps: table })
    }
}

/// Min-sum over a chain in which a change costs the same everywhere.
///
/// The best predecessor of an action is either the action itself or the best of all, so a step costs `O(M)`.
pub(super) fn cheapest_course(costs: &[Vec<f64>], switch: Option<SwitchCost>) -> (Vec<usize>, f64) {
    let nats = switch.map_or(0.0, |s| s.nats);
    let last = switch.and_then(|s| s.last);
    let mut back: Vec<Vec<usize>> = Vec::with_capacity(costs.len());
    let mut value: Vec<f64> = Vec::new();
    for (t, row) in costs.iter().enumerate() {
        if t == 0 {
            value = row
                .iter()
                .enumerate()
                .map(|(u, g)| g + if last.is_some_and(|l| l != u) { nats } else { 0.0 })
                .collect();
            continue;
        }
        let best = least(&value);
        let from: Vec<usize> = (0..row.len())
            .map(|u| if value[u] <= value[best] + nats && (nats > 0.0 || u == best) { u } else { best })
            .collect();
        value =
            (row.iter().enumerate()).map(|(u, g)| value[from[u]] + g + if from[u] == u { 0.0 } else { nats }).collect();
        back.push(from);
    }
    let mut at = least(&value);
    let total = value[at];
    let mut course = vec![at];
    for from in back.iter().rev() {
        at = from[at];
        course.push(at);
    }
    course.reverse();
    (course, total)
}

/// The marginal of the first action, by sum-product from the end.
fn first_posterior(costs: &[Vec<f64>], switch: Option<SwitchCost>, gamma: f64) -> Vec<f64> {
    let nats = switch.map_or(0.0, |s| s.nats);
    let last = switch.and_then(|s| s.last);
    let change = (-gamma * nats).exp();
    // Log message from the steps behind.
    let mut message = vec![0.0; costs[0].len()];
    for row in costs[1..].iter().rev() {
        let logs: Vec<f64> = row.iter().zip(&message).map(|(g, m)| m - gamma * g).collect();
        let top = logs.iter().fold(f64::NEG_INFINITY, |a, &v| a.max(v));
        let weights: Vec<f64> = logs.iter().map(|v| (v - top).exp()).collect();
        let all: f64 = weights.iter().sum();
        message = weights.iter().map(|w| top + (change * all + (1.0 - change) * w).ln()).collect();
    }
    let mut out: Vec<f64> = (costs[0].iter().zip(&message).enumerate())
        .map(|(u, (g, m))| m - gamma * (g + if last.is_some_and(|l| l != u) { nats } else { 0.0 }))
        .collect();
    softmax(&mut out);
    out
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
                let (course, total) = cheapest_course(&costs, s);
                assert!((best - total).abs() < 1e-12);
                let mut again = 0.0;
                let mut before = s.and_then(|s| s.last);
                for (row, &u) in costs.iter().zip(&course) {
                    again += row[u] + if before.is_some_and(|b| b != u) { s.map_or(0.0, |s| s.nats) } else { 0.0 };
                    before = Some(u);
                }
                assert!((again - total).abs() < 1e-12);
                for (a, b) in first_posterior(&costs, s, 2.0).iter().zip(&first) {
                    assert!((a - b).abs() < 1e-12);
                }
            }
        }
    }
}
