use super::column::{Column, Weight};
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
/// up to v. O(n) time an element, whatever the values.
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
        match batch.narrow() {
            Some(weights) => batch.by_element(&weights, |column| Ok(median(column, self.tie))),
            None => batch.by_element(&batch.weights, |column| Ok(median(column, self.tie))),
        }
    }
}

fn median<W: Weight>(column: Column<'_, W>, tie: Tie) -> Option<Fixed> {
    let Column { cells, total } = column;
    let value = lower_median(cells, total)?;
    if tie == Tie::Lower {
        return Some(value);
    }
    let (mut through, mut next) = (W::default(), None);
    for (other, weight) in &*cells {
        if *other <= value {
            through += *weight;
        } else {
            next = Some(next.map_or(*other, |next: Fixed| next.min(*other)));
        }
    }
    match next {
        Some(next) if through == total - through => Some(value.midpoint(next)),
        _ => Some(value),
    }
}

/// The smallest value such that the weight up to it is at least half of the total. Reorders the cells.
fn lower_median<W: Weight>(cells: &mut [(Fixed, W)], total: W) -> Option<Fixed> {
    // Whether a weight is at least half of the total; it is never more than the total.
    let half = |weight: W| weight >= total - weight;
    // The median is in `part`; what is less and not in it weighs `below`.
    let (mut part, mut below) = (cells, W::default());
    while part.len() > 1 {
        let middle = part.len() / 2;
        part.select_nth_unstable_by_key(middle, |(value, _)| *value);
        let mut through = part[..middle].iter().fold(below, |sum, (_, weight)| sum + *weight);
        // Where weights are not far apart it is among the next few; else the part is halved again.
        if half(through) {
            part = &mut part[..middle];
            for _ in 0..STEPS {
                let (at, greatest) = extreme(part, |other, greatest| other > greatest)?;
                through = through - part[at].1;
                if !half(through) {
                    return Some(greatest);
                }
                let last = part.len() - 1;
                part.swap(at, last);
                part = &mut part[..last];
            }
        } else {
            below = through;
            part = &mut part[middle..];
            for _ in 0..STEPS {
                let (at, least) = extreme(part, |other, least| other < least)?;
                below += part[at].1;
                if half(below) {
                    return Some(least);
                }
                part.swap(at, 0);
                part = &mut part[1..];
            }
        }
    }
    part.first().map(|(value, _)| *value)
}

/// Place and value of the cell that no other is beyond.
fn extreme<W>(part: &[(Fixed, W)], beyond: impl Fn(Fixed, Fixed) -> bool) -> Option<(usize, Fixed)> {
    let mut most = (0, part.first()?.0);
    for (place, (value, _)) in part.iter().enumerate() {
        if beyond(*value, most.1) {
            most = (place, *value);
        }
    }
    Some(most)
}

/// Cells that are looked at one by one.
const STEPS: usize = 10;
