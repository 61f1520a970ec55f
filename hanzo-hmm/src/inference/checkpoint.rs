//! Posteriors and expected transitions in the memory of `sqrt(T)` steps.
//!
//! The forward pass keeps its state at the start of every block of about `sqrt(T)` steps. The backward pass goes
//! through the blocks last first and computes the forward values of each again.

use super::forward_backward::{Expected, scaled_value};
use crate::kernel::{Chain, Kernel, Live, Workspace, log, scaled};
use crate::model::{Emission, Hmm, Observations};
use crate::{Error, Result};

/// Hands the posteriors of a checked, non-empty sequence to `sink` block by block, last block first, as the first step
/// of the block and `S` numbers a step; adds the expected transitions to `expected` and returns the log-likelihood.
///
/// `sink` gets `None` when a kernel starts: what came before is then void.
pub(crate) fn smooth_in_blocks<'a, E, Q>(
    model: &Hmm<E>,
    workspace: &mut Workspace,
    observations: &Q,
    expected: &mut Expected,
    mut sink: impl FnMut(Option<(usize, &[f64])>),
) -> Result<f64>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    if workspace.kernel != Kernel::Log {
        sink(None);
        if let Ok(value) = in_scaled(model, workspace, observations, expected, &mut sink) {
            return Ok(value);
        }
    }
    sink(None);
    in_logs(model, workspace, observations, expected, &mut sink)
}

fn in_scaled<'a, E, Q>(
    model: &Hmm<E>,
    workspace: &mut Workspace,
    observations: &Q,
    expected: &mut Expected,
    sink: &mut impl FnMut(Option<(usize, &[f64])>),
) -> Result<f64, scaled::Lost>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    let (chain, n_states, level) = (Chain::of(model), model.n_states(), workspace.level());
    let (steps, length) = (observations.len(), block_length(observations.len()));
    let mut checkpoints: Vec<(scaled::Carry, Live)> = Vec::with_capacity(steps.div_ceil(length));
    workspace.weights.begin();
    workspace.carry.begin(chain);
    for start in (0..steps).step_by(length) {
        checkpoints.push((workspace.carry.clone(), workspace.weights.live().clone()));
        workspace.weights.fill(level, model, observations, start..steps.min(start + length))?;
        let block = workspace.weights.block(model.emission().table());
        scaled::forward(level, chain, &mut workspace.carry, block, None)?;
    }
    let value = scaled_value(workspace, steps);
    if !value.is_finite() {
        return Err(scaled::Lost);
    }
    let Workspace { weights, lattice, exponents, back, .. } = workspace;
    back.begin(chain);
    expected.pairs.fill(0.0);
    for (at, (mut carry, live)) in checkpoints.into_iter().enumerate().rev() {
        let start = at * length;
        let range = start..steps.min(start + length);
        lattice.resize(range.len() * n_states, 0.0);
        exponents.resize(range.len(), 0);
        weights.resume(&live);
        weights.fill(level, model, observations, range)?;
        let block = weights.block(model.emission().table());
        scaled::forward(level, chain, &mut carry, block, Some((lattice, exponents)))?;
        scaled::backward(level, chain, block, (lattice, exponents), back, Some(&mut expected.pairs))?;
        sink(Some((start, lattice)));
    }
    back.finish(&mut expected.pairs);
    expected.add_pairs(chain.transitions.probabilities());
    Ok(value)
}

fn in_logs<'a, E, Q>(
    model: &Hmm<E>,
    workspace: &mut Workspace,
    observations: &Q,
    expected: &mut Expected,
    sink: &mut impl FnMut(Option<(usize, &[f64])>),
) -> Result<f64>
where
    E: Emission,
    Q: Observations<E::Obs<'a>>,
{
    let (chain, n_states) = (Chain::of(model), model.n_states());
    let (steps, length) = (observations.len(), block_length(observations.len()));
    let Workspace { weights, log_carry, lattice, .. } = workspace;
    let mut checkpoints: Vec<log::Carry> = Vec::with_capacity(steps.div_ceil(length));
    log_carry.begin();
    for start in (0..steps).step_by(length) {
        checkpoints.push(log_carry.clone());
        weights.fill_logs(model, observations, start..steps.min(start + length));
        let block = weights.log_block(model.emission().table());
        log::forward(chain, log_carry, block, |_| {})
            .map_err(|log::Dead(position)| Error::ImpossibleSequence { sequence: 0, position: start + position })?;
    }
    let value = log_carry.log_likelihood();
    let mut back = log::Back::default();
    let mut counts = vec![0.0; n_states * n_states];
    for (at, mut carry) in checkpoints.into_iter().enumerate().rev() {
        let start = at * length;
        weights.fill_logs(model, observations, start..steps.min(start + length));
        let block = weights.log_block(model.emission().table());
        lattice.clear();
        log::forward(chain, &mut carry, block, |values| lattice.extend_from_slice(values))
            .map_err(|log::Dead(position)| Error::ImpossibleSequence { sequence: 0, position: start + position })?;
        log::backward_block(chain, block, lattice, value, &mut back, &mut counts);
        sink(Some((start, lattice)));
    }
    expected.transitions.iter_mut().zip(&counts).for_each(|(a, b)| *a += b);
    Ok(value)
}

/// About the square root, and not so few steps that switching blocks costs more than the steps.
fn block_length(steps: usize) -> usize {
    steps.isqrt().max(64)
}
