use super::column::Column;
use super::submission::Batch;
use super::{Aggregate, Aggregator, Fixed, Limits, Weighted};
use crate::Result;

/// What a median is where exactly half of the weight is on either side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tie {
    /// The lower value.
    #[default]
    Lower,
    /// Half of the sum of both values, rounded down.
    Midpoint,
}

/// The weighted median of each element: the smallest value v such that at least half of the weight present is on values
/// up to v. O(n) time an element.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WeightedMedian {
    tie: Tie,
    limits: Limits,
}

impl WeightedMedian {
    /// A median with this treatment of ties.
    pub fn new(tie: Tie) -> Self {
        Self { tie, limits: Limits::default() }
    }

    /// Sets participation and the cut of weights.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// # Errors
/// [`Error::TooFew`](crate::Error::TooFew) for no submission; [`Error::SchemaMismatch`](crate::Error::SchemaMismatch),
/// [`Error::DuplicateSubmitter`](crate::Error::DuplicateSubmitter), [`Error::NoWeight`](crate::Error::NoWeight);
/// [`Error::Overflow`](crate::Error::Overflow) if weights sum to 2^128 or more.
impl Aggregator for WeightedMedian {
    fn aggregate(&self, submissions: &[Weighted<'_>]) -> Result<Aggregate> {
        let batch = Batch::weighted(submissions, self.limits)?;
        batch.by_element(|column| Ok(median(column, self.tie)))
    }
}

fn median(column: Column<'_>, tie: Tie) -> Option<Fixed> {
    let total = column.total;
    // Whether a weight is at least half of the total; it is never more than the total.
    let half = |below: u128| below >= total - below;
    // The median is in `from..to`; everything before it is not greater, everything after it not less.
    let (mut from, mut to, mut below) = (0, column.cells.len(), 0);
    while to - from > 1 {
        let middle = (to - from) / 2;
        let part = &mut column.cells[from..to];
        part.select_nth_unstable_by_key(middle, |(value, _)| *value);
        let left: u128 = part[..middle].iter().map(|(_, place)| column.weights[*place as usize]).sum();
        if half(below + left) {
            to = from + middle;
        } else {
            below += left;
            from += middle;
        }
    }
    let (value, place) = *column.cells.get(from)?;
    let through = below + column.weight(place);
    let next = column.cells[from + 1..].iter().map(|(value, _)| *value).min();
    match (tie, next) {
        (Tie::Midpoint, Some(next)) if through == total - through => Some(value.midpoint(next)),
        _ => Some(value),
    }
}
