//! Decoding: the best path, and the best state at each step.

use super::forward_backward::{blocks, check_all, smooth};
use super::scan;
use crate::kernel::{Chain, Strategy, Workspace, viterbi};
use crate::model::{Emission, Hmm, Observations};
use crate::{Error, Result};

/// A path through the states and its probability together with the observations.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Path {
    /// The state at every step.
    pub states: Vec<usize>,
    /// ln P(states, observations).
    pub log_prob: f64,
}

impl<E: Emission> Hmm<E> {
    /// The most likely path (Viterbi 1967). Among equally likely predecessors, at every step the lowest index wins.
    ///
    /// O(T S^2) time, O(T S) space: a byte a step and state for up to 8 and for 16 states, else 8.
    ///
    /// # Errors
    ///
    /// The family's error for a bad observation; [`Error::ImpossibleSequence`] for a sequence of probability 0.
    pub fn viterbi<'a, Q: Observations<E::Obs<'a>>>(&self, observations: Q) -> Result<Path> {
        let mut path = Path::default();
        self.viterbi_with(&mut Workspace::new(), observations, &mut path)?;
        Ok(path)
    }

    /// [`viterbi`](Self::viterbi) in the memory of `workspace` and into `out`, whose memory the workspace takes in
    /// exchange.
    ///
    /// # Errors
    ///
    /// As for [`viterbi`](Self::viterbi); `out` is then unchanged.
    pub fn viterbi_with<'a, Q>(&self, workspace: &mut Workspace, observations: Q, out: &mut Path) -> Result<()>
    where
        Q: Observations<E::Obs<'a>>,
    {
        check_all(self, &observations)?;
        let (chain, level) = (Chain::of(self), workspace.level());
        if let Strategy::Scan { chunk } = workspace.strategy
            && observations.len() > chunk.get()
            && let Some(path) = scan::best_path(self, level, &observations, chunk)
        {
            *out = path;
            return Ok(());
        }
        let Workspace { weights, backward, lattice, before, path, .. } = workspace;
        if viterbi::is_few(self.n_states()) {
            backward.clear();
            before.clear();
            before.reserve(observations.len() * self.n_states());
            for range in blocks(observations.len()) {
                let start = range.start;
                weights.fill_logs(self, &observations, range);
                let block = weights.log_block(self.emission().table());
                viterbi::few_forward(level, chain, backward, block, before)
                    .map_err(|at| Error::ImpossibleSequence { sequence: 0, position: start + at })?;
            }
            out.log_prob = viterbi::few_trace_back(backward, before, path);
            std::mem::swap(&mut out.states, path);
            return Ok(());
        }
        lattice.clear();
        lattice.reserve(observations.len() * self.n_states());
        for range in blocks(observations.len()) {
            weights.fill_logs(self, &observations, range);
            let block = weights.log_block(self.emission().table());
            viterbi::forward(level, chain, backward, block, lattice)?;
        }
        out.log_prob = viterbi::trace_back(level, chain, lattice, path)
            .map_err(|position| Error::ImpossibleSequence { sequence: 0, position })?;
        std::mem::swap(&mut out.states, path);
        Ok(())
    }

    /// The most likely state of each step by itself, lowest index first. Such a path makes the fewest errors on
    /// average, yet may have probability 0 as a whole.
    ///
    /// # Errors
    ///
    /// As for [`posterior`](Self::posterior).
    pub fn posterior_decode<'a, Q: Observations<E::Obs<'a>>>(&self, observations: Q) -> Result<Vec<usize>> {
        let mut states = Vec::new();
        self.posterior_decode_with(&mut Workspace::new(), observations, &mut states)?;
        Ok(states)
    }

    /// [`posterior_decode`](Self::posterior_decode) in the memory of `workspace` and of `out`.
    ///
    /// # Errors
    ///
    /// As for [`posterior`](Self::posterior); `out` is then unchanged.
    pub fn posterior_decode_with<'a, Q>(
        &self,
        workspace: &mut Workspace,
        observations: Q,
        out: &mut Vec<usize>,
    ) -> Result<()>
    where
        Q: Observations<E::Obs<'a>>,
    {
        check_all(self, &observations)?;
        smooth(self, workspace, &observations, None)?;
        out.clear();
        out.extend(workspace.gamma().chunks_exact(self.n_states()).map(|row| viterbi::largest(row.iter().copied()).0));
        Ok(())
    }
}
