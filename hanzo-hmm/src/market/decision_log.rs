//! Decisions that still wait for their outcome.

use std::collections::VecDeque;

use super::quote::Millis;
use super::regime::Regime;
use crate::{Error, Result};

/// What has to be remembered of a decision until its outcome comes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OpenDecision {
    pub(crate) tenant: usize,
    pub(crate) model: usize,
    pub(crate) features: Box<[f64]>,
    pub(crate) regime: [f64; Regime::COUNT],
    pub(crate) limit_ms: f64,
    pub(crate) made_at: Millis,
}

/// The last decisions, by number. A decision with an outcome keeps its number only.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DecisionLog {
    kept: VecDeque<Option<OpenDecision>>,
    /// Number of the oldest decision kept.
    first: u64,
    capacity: usize,
}

impl DecisionLog {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { kept: VecDeque::new(), first: 0, capacity }
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    pub(crate) fn push(&mut self, decision: OpenDecision) -> u64 {
        let id = self.next_id();
        self.kept.push_back(Some(decision));
        if self.kept.len() > self.capacity {
            self.kept.pop_front();
            self.first += 1;
        }
        id
    }

    pub(crate) fn get(&self, id: u64) -> Result<&OpenDecision> {
        let place = self.place(id).ok_or(Error::UnknownDecision { id })?;
        match self.kept.get(place) {
            Some(Some(decision)) => Ok(decision),
            Some(None) => Err(Error::DuplicateOutcome { id }),
            None => Err(Error::UnknownDecision { id }),
        }
    }

    pub(crate) fn close(&mut self, id: u64) {
        if let Some(slot) = self.place(id).and_then(|place| self.kept.get_mut(place)) {
            *slot = None;
        }
    }

    fn place(&self, id: u64) -> Option<usize> {
        usize::try_from(id.checked_sub(self.first)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(model: usize) -> OpenDecision {
        OpenDecision { tenant: 0, model, features: Box::new([]), regime: [0.25; 4], limit_ms: 1.0, made_at: 0 }
    }

    #[test]
    fn old_decisions_are_forgotten_and_closed_ones_are_known_as_such() {
        let mut log = DecisionLog::new(3);
        for model in 0..5 {
            assert_eq!(log.push(decision(model)), model as u64);
        }
        assert_eq!(log.get(1), Err(Error::UnknownDecision { id: 1 }));
        assert_eq!(log.get(5), Err(Error::UnknownDecision { id: 5 }));
        assert_eq!(log.get(3).unwrap().model, 3);
        log.close(3);
        assert_eq!(log.get(3), Err(Error::DuplicateOutcome { id: 3 }));
        log.close(99);
        assert_eq!(log.next_id(), 5);
    }
}
