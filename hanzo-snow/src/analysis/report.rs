//! What the closed forms say about one setting.

use alloc::vec::Vec;
use core::fmt;

use super::{AnalysisError, Probability, expected_polls, poll_success_exact, union_bound, window_failure};
use crate::params::{Condition, Params};

/// The calculator's answer for `nodes` of equal stake, `byzantine` of them faulty. Its `Display` is a table.
///
/// Where polls draw units of stake, give the units for the nodes: a validator of more than one unit may be drawn again.
/// Every figure holds the supporting share fixed: drift of preferences is not in it.
///
/// ```
/// use hanzo_snow::Params;
/// use hanzo_snow::analysis::Report;
///
/// let report = Report::new(&Params::AVALANCHE, 1_000, 250, 1_000_000)?;
/// assert!(report.expected_polls.expect("finite") > 40_000.0, "a silent quarter stalls 15 of 20");
/// assert!(!report.consistency_proven);
/// # Ok::<(), hanzo_snow::analysis::AnalysisError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The setting.
    pub params: Params,
    /// Nodes in all.
    pub nodes: u64,
    /// Faulty ones.
    pub byzantine: u64,
    /// Polls of each node that the network's bound counts.
    pub polls: u64,
    /// Liveness by each condition alone.
    pub conditions: Vec<ConditionReport>,
    /// The least of the conditions' expected polls; `None` for infinity. An upper bound, as any condition ends it.
    pub expected_polls: Option<f64>,
    /// Safety, by how many honest nodes prefer the other choice.
    pub safety: Vec<SafetyRow>,
    /// Whether less than a fifth is faulty: where consistency is proven (arXiv:2404.14250).
    pub consistency_proven: bool,
    /// Whether no more than the square root of the nodes is faulty: where liveness without a second module is known.
    pub liveness_known: bool,
}

/// One termination condition where all honest nodes agree and the faulty ones are silent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConditionReport {
    /// The condition.
    pub condition: Condition,
    /// P[a poll reaches its `alpha_confidence`].
    pub success: Probability,
    /// Expected polls to its `beta` in a row; `None` for infinity.
    pub expected_polls: Option<f64>,
}

/// Where a share of the honest nodes and all faulty ones support a choice that must not win.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SafetyRow {
    /// That share of the honest nodes, in per cent.
    pub minority_percent: u32,
    /// Nodes that support the choice, of `nodes - 1` others.
    pub support: u64,
    /// P[a poll finds `alpha_preference` for it].
    pub moves: Probability,
    /// P[one node decides for it in a given window of polls], summed over the conditions.
    pub window: Probability,
    /// The same for any honest node in any of `polls` windows, by the union bound.
    pub network: Probability,
}

impl Report {
    /// Computes the report. O(k * conditions).
    ///
    /// # Errors
    /// [`AnalysisError::Population`] unless `byzantine < nodes` and `k < nodes`.
    pub fn new(params: &Params, nodes: u64, byzantine: u64, polls: u64) -> Result<Self, AnalysisError> {
        let k = params.k();
        let others = nodes.saturating_sub(1);
        let honest = nodes.checked_sub(byzantine).filter(|&honest| honest > 0 && u64::from(k) <= others);
        let honest = honest.ok_or(AnalysisError::Population {
            population: others,
            support: others.saturating_sub(byzantine),
            k,
        })?;
        let mut conditions = Vec::new();
        for &condition in params.conditions() {
            let success = poll_success_exact(k, condition.alpha_confidence, others, honest - 1)?;
            let expected_polls = expected_polls(&success, condition.beta)?;
            conditions.push(ConditionReport { condition, success, expected_polls });
        }
        let least = conditions.iter().filter_map(|condition| condition.expected_polls).reduce(f64::min);
        let mut safety = Vec::new();
        for minority_percent in [0, 10, 20, 30, 40, 50] {
            let minority = (u128::from(honest) * u128::from(minority_percent) / 100) as u64;
            let support = (byzantine + minority).min(others);
            let mut window = Probability::ZERO;
            for condition in params.conditions() {
                let success = poll_success_exact(k, condition.alpha_confidence, others, support)?;
                window = window.or_at_most(&window_failure(&success, condition.beta));
            }
            let moves = poll_success_exact(k, params.alpha_preference(), others, support)?;
            let network = union_bound(&window, honest, polls);
            safety.push(SafetyRow { minority_percent, support, moves, window, network });
        }
        Ok(Self {
            params: *params,
            nodes,
            byzantine,
            polls,
            conditions,
            expected_polls: least,
            safety,
            consistency_proven: u128::from(byzantine) * 5 < u128::from(nodes),
            liveness_known: u128::from(byzantine) * u128::from(byzantine) <= u128::from(nodes),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { params, nodes, byzantine, .. } = self;
        writeln!(
            f,
            "k {}, alpha_preference {}, {nodes} nodes, {byzantine} faulty",
            params.k(),
            params.alpha_preference()
        )?;
        writeln!(f, "\nliveness: all honest nodes agree, the faulty ones are silent")?;
        writeln!(f, "  alpha  beta   P[poll succeeds]   expected polls to finality")?;
        for ConditionReport { condition, success, expected_polls } in &self.conditions {
            write!(f, "  {:5} {:5} {:18.9}   ", condition.alpha_confidence, condition.beta, success.value())?;
            Count(*expected_polls).fmt(f)?;
            writeln!(f)?;
        }
        writeln!(f, "\nsafety: log10 of the probability that the minority's choice is decided")?;
        writeln!(
            f,
            "  honest minority   support   a poll moves   one node's window   {} polls of each node",
            self.polls
        )?;
        for row in &self.safety {
            write!(f, "  {:13} % {:9}   ", row.minority_percent, row.support)?;
            for (width, p) in [(12, &row.moves), (17, &row.window), (17, &row.network)] {
                match p.log10() {
                    Some(log) => write!(f, "{:>width$.2}   ", if log > -0.005 { 0.0 } else { log })?,
                    None => write!(f, "{:>width$}   ", "impossible")?,
                }
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "\ntheory: consistency is {}proven here (faulty < n/5), liveness without a second module {} (faulty <= sqrt(n))",
            if self.consistency_proven { "" } else { "NOT " },
            if self.liveness_known { "known" } else { "NOT known" },
        )?;
        write!(f, "every figure holds the supporting share fixed; drift of preferences is not in it")
    }
}

/// A number of polls, rounded for people.
struct Count(Option<f64>);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("infinite"),
            Some(polls) if polls < 1e6 => write!(f, "{polls:.1}"),
            Some(polls) => write!(f, "{polls:.3e}"),
        }
    }
}
