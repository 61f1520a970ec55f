//! Elements one by one: the values present at each, with the weights of those who sent them.

use core::cmp::Ordering;
use core::ops::{Add, AddAssign, Sub};

use super::submission::Batch;
use super::{Aggregate, Fixed};
use crate::Result;
use crate::wide::compare;

/// A weight, in as many bits as the sum of all needs.
pub(super) trait Weight: Copy + Default + Ord + Add<Output = Self> + AddAssign + Sub<Output = Self> {
    /// The same number.
    fn wide(self) -> u128;
}

impl Weight for u64 {
    fn wide(self) -> u128 {
        self.into()
    }
}

impl Weight for u128 {
    fn wide(self) -> u128 {
        self
    }
}

/// The values present at one element, in no order, each with its weight.
pub(super) struct Column<'a, W> {
    pub(super) cells: &'a mut [(Fixed, W)],
    /// Sum of the weights present.
    pub(super) total: W,
}

impl Batch<'_> {
    /// The weights in 64 bits, if their sum has no more.
    pub(super) fn narrow(&self) -> Option<Vec<u64>> {
        u64::try_from(self.total).ok()?;
        self.weights.iter().map(|weight| u64::try_from(*weight).ok()).collect()
    }

    /// The value of `rule` at every element where enough weight takes part. `weights` are those of the batch. O(n d) time
    /// beside the rule's, O(n + d) space.
    pub(super) fn by_element<W: Weight>(
        &self,
        weights: &[W],
        mut rule: impl FnMut(Column<'_, W>) -> Result<Option<Fixed>>,
    ) -> Result<Aggregate> {
        let (rows, dimension) = (self.priors.len(), self.dimension as usize);
        let mut values = Vec::with_capacity(dimension);
        let all = weights.iter().fold(W::default(), |sum, weight| sum + *weight);
        // Where each prior goes on.
        let mut cursors = vec![0_usize; rows];
        let mut cells = vec![(Fixed::ZERO, W::default()); rows * BLOCK];
        for start in (0..dimension).step_by(BLOCK) {
            let end = (start + BLOCK).min(dimension);
            let mut counts = [0_usize; BLOCK];
            for ((prior, weight), cursor) in self.priors.iter().zip(weights).zip(&mut cursors) {
                let (indices, present) = prior.parts();
                let mut put = |column: usize, value: Fixed| {
                    cells[column * rows + counts[column]] = (value, *weight);
                    counts[column] += 1;
                };
                if prior.is_dense() {
                    present[start..end].iter().enumerate().for_each(|(column, value)| put(column, *value));
                    continue;
                }
                let rest = indices[*cursor..].iter().zip(&present[*cursor..]);
                for (index, value) in rest.take_while(|(index, _)| (**index as usize) < end) {
                    put(*index as usize - start, *value);
                    *cursor += 1;
                }
            }
            for (column, count) in counts.into_iter().take(end - start).enumerate() {
                let cells = &mut cells[column * rows..][..count];
                let total =
                    if count == rows { all } else { cells.iter().fold(W::default(), |sum, (_, weight)| sum + *weight) };
                let enough = count == rows || self.takes_part(total.wide());
                let value = if total > W::default() && enough { rule(Column { cells, total })? } else { None };
                values.push(value);
            }
        }
        Ok(Aggregate { schema: self.schema, values })
    }

    fn takes_part(&self, total: u128) -> bool {
        compare(total, 10_000, self.total, self.min_participation_bps.into()) != Ordering::Less
    }
}

/// Elements that are gathered at once, so that each prior is read in stretches and what is gathered stays in the nearest
/// cache.
const BLOCK: usize = 16;
