//! The recursions. Nothing but [`weights`] knows the family of the emissions, so the rest is compiled once.

mod aligned;
pub(crate) mod arith;
pub(crate) mod dense;
pub(crate) mod dispatch;
mod lattice;
pub(crate) mod log;
pub(crate) mod scaled;
pub(crate) mod viterbi;
pub(crate) mod weights;
mod width;
mod workspace;

pub(crate) use aligned::Aligned;
pub use lattice::Lattice;
pub(crate) use workspace::resize;
pub use workspace::{Kernel, Strategy, Workspace};

pub(crate) use dispatch::{Arch, Level, Task};
pub(crate) use weights::{Block, Live, Weighted};
pub(crate) use width::{Fixed, Width, product};

use crate::model::{Emission, Hmm, Transitions};

/// The part of a model that the recursions need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain<'m> {
    pub(crate) initial: &'m [f64],
    pub(crate) log_initial: &'m [f64],
    pub(crate) transitions: &'m Transitions,
}

impl<'m> Chain<'m> {
    pub(crate) fn of<E: Emission>(model: &'m Hmm<E>) -> Self {
        Self {
            initial: model.initial_probabilities(),
            log_initial: model.log_initial(),
            transitions: model.transitions(),
        }
    }

    pub(crate) fn n_states(&self) -> usize {
        self.transitions.n_states()
    }
}

/// Log-densities of a run of steps, compiled for several instruction sets. Families do not fuse products and sums, so
/// that the densities are the same with all of them.
pub(crate) struct LogProbRun<'r, 'o, E: Emission> {
    pub(crate) family: &'r E,
    pub(crate) run: &'r [Option<E::Obs<'o>>],
    pub(crate) out: &'r mut [f64],
}

impl<E: Emission> Task for LogProbRun<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) {
        for (o, out) in self.run.iter().zip(self.out.chunks_exact_mut(self.family.n_states().max(1))) {
            match *o {
                Some(o) => self.family.log_prob_into(o, out),
                None => out.fill(0.0),
            }
        }
    }
}
