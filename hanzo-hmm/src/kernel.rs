//! The recursions. Nothing but [`weights`] knows the family of the emissions, so the rest is compiled once.

pub(crate) mod arith;
mod lattice;
pub(crate) mod log;
pub(crate) mod scaled;
pub(crate) mod viterbi;
pub(crate) mod weights;
mod width;
mod workspace;

pub use lattice::Lattice;
pub use workspace::{Kernel, Workspace};

pub(crate) use weights::{Block, Live};
pub(crate) use width::product;

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
