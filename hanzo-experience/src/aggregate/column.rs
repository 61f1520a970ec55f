//! Elements one by one: the values present at each, with the weights of those who sent them.

use core::cmp::Ordering;

use super::submission::Batch;
use super::{Aggregate, Fixed};
use crate::Result;
use crate::wide::compare;

/// The values present at one element, in no order, each with its place in the batch.
pub(super) struct Column<'a> {
    pub(super) cells: &'a mut [(Fixed, u32)],
    /// Weights of the batch.
    pub(super) weights: &'a [u128],
    /// Sum of the weights present.
    pub(super) total: u128,
}

impl Column<'_> {
    pub(super) fn weight(&self, place: u32) -> u128 {
        self.weights[place as usize]
    }
}

impl Batch<'_> {
    /// The value of `rule` at every element where enough weight takes part. O(n d) time beside the rule's, O(n + d) space.
    pub(super) fn by_element(&self, mut rule: impl FnMut(Column<'_>) -> Result<Option<Fixed>>) -> Result<Aggregate> {
        let dimension = self.dimension as usize;
        let mut values = Vec::with_capacity(dimension);
        // Where each prior goes on.
        let mut cursors = vec![0_usize; self.priors.len()];
        let mut block: Vec<Vec<(Fixed, u32)>> = vec![Vec::with_capacity(self.priors.len()); BLOCK.min(dimension)];
        for start in (0..self.dimension).step_by(BLOCK) {
            let end = start.saturating_add(BLOCK as u32).min(self.dimension);
            block.iter_mut().for_each(Vec::clear);
            for (place, (prior, cursor)) in (0..).zip(self.priors.iter().zip(&mut cursors)) {
                let (indices, present) = prior.parts();
                let rest = &indices[*cursor..];
                let count = if rest.len() >= BLOCK && rest[BLOCK - 1] == start + (BLOCK - 1) as u32 {
                    BLOCK
                } else {
                    rest.iter().take(BLOCK).take_while(|index| **index < end).count()
                };
                let here = *cursor..*cursor + count;
                for (index, value) in indices[here.clone()].iter().zip(&present[here]) {
                    block[(index - start) as usize].push((*value, place));
                }
                *cursor += count;
            }
            for cells in block.iter_mut().take((end - start) as usize) {
                let all = cells.len() == self.priors.len();
                let present = cells.iter().map(|(_, place)| self.weights[*place as usize]);
                let total = if all { self.total } else { present.sum() };
                let enough = compare(total, 10_000, self.total, self.min_participation_bps.into()) != Ordering::Less;
                let value =
                    if total > 0 && enough { rule(Column { cells, weights: &self.weights, total })? } else { None };
                values.push(value);
            }
        }
        Ok(Aggregate { schema: self.schema, values })
    }
}

/// Elements that are gathered at once, so that each prior is read in stretches.
const BLOCK: usize = 64;
