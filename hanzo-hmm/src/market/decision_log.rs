//! Decisions that still wait for their outcome.

use std::collections::VecDeque;

use super::beliefs::Beliefs;
use super::quote::Millis;
use super::snapshot::{Reader, Writer, bad};
use crate::{Error, Result};

/// What has to be remembered of a decision until its outcome comes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OpenDecision {
    pub(crate) tenant: usize,
    pub(crate) model: usize,
    pub(crate) features: Vec<f64>,
    pub(crate) class: usize,
    /// Class that the caller gave.
    pub(crate) given_class: usize,
    pub(crate) regime: Beliefs,
    pub(crate) limit_ms: f64,
    /// Expected cost in dollars.
    pub(crate) usd: f64,
    /// Expected quality.
    pub(crate) quality: f64,
    pub(crate) made_at: Millis,
    /// What an [`Admission`](super::Admission) has set aside for it.
    pub(crate) reservation: Option<u64>,
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

    /// Adds a decision; also returns one that is forgotten for it without an outcome.
    pub(crate) fn push(&mut self, decision: OpenDecision) -> (u64, Option<OpenDecision>) {
        let id = self.next_id();
        let mut forgotten = None;
        if self.kept.len() >= self.capacity {
            forgotten = self.kept.pop_front().flatten();
            self.first += 1;
        }
        self.kept.push_back(Some(decision));
        (id, forgotten)
    }

    pub(crate) fn get(&self, id: u64) -> Result<&OpenDecision> {
        let place = self.place(id).ok_or(Error::UnknownDecision { id })?;
        match self.kept.get(place) {
            Some(Some(decision)) => Ok(decision),
            Some(None) => Err(Error::DuplicateOutcome { id }),
            None => Err(Error::UnknownDecision { id }),
        }
    }

    /// Closes a decision.
    pub(crate) fn take(&mut self, id: u64) -> Option<OpenDecision> {
        self.place(id).and_then(|place| self.kept.get_mut(place))?.take()
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        w.u64(self.first);
        w.u64(self.kept.len() as u64);
        for slot in &self.kept {
            w.u64(u64::from(slot.is_some()));
            if let Some(d) = slot {
                w.u64(d.tenant as u64);
                w.u64(d.model as u64);
                w.f64s(&d.features);
                w.f64s(&d.regime);
                w.u64(d.class as u64);
                w.u64(d.given_class as u64);
                w.f64s(&[d.limit_ms, d.usd, d.quality]);
                w.u64(d.made_at);
                w.u64(u64::from(d.reservation.is_some()));
                w.u64(d.reservation.unwrap_or(0));
            }
        }
    }

    /// Takes over a saved log of decisions with `dim` features, of so many tenants, models, classes and regimes.
    pub(crate) fn load(
        &mut self,
        r: &mut Reader<'_>,
        dim: usize,
        [tenants, models, classes, regimes]: [usize; 4],
    ) -> Result<()> {
        self.first = r.u64()?;
        let n = r.count(8)?;
        if n > self.capacity || self.first > MOST_FORGOTTEN {
            return bad("decisions");
        }
        self.kept.clear();
        for _ in 0..n {
            if !r.flag()? {
                self.kept.push_back(None);
                continue;
            }
            let (tenant, model) = (r.index(tenants)?, r.index(models)?);
            let mut features = vec![0.0; dim];
            r.f64s(&mut features)?;
            super::linear::check_features(&features)?;
            let mut regime = Beliefs::filled(regimes, 0.0);
            r.distribution(&mut regime)?;
            let (class, given_class) = (r.index(classes)?, r.index(usize::MAX)?);
            let (limit_ms, usd, quality, made_at) = (r.amount()?, r.amount()?, r.amount()?, r.u64()?);
            if quality > 1.0 {
                return bad("quality");
            }
            let (reserved, number) = (r.flag()?, r.u64()?);
            if number != 0 && !reserved {
                return bad("reservation");
            }
            let reservation = reserved.then_some(number);
            let decision = OpenDecision {
                tenant,
                model,
                features,
                class,
                given_class,
                regime,
                limit_ms,
                usd,
                quality,
                made_at,
                reservation,
            };
            self.kept.push_back(Some(decision));
        }
        Ok(())
    }

    fn place(&self, id: u64) -> Option<usize> {
        usize::try_from(id.checked_sub(self.first)?).ok()
    }
}

/// So that numbers of decisions never end.
const MOST_FORGOTTEN: u64 = u64::MAX / 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(model: usize) -> OpenDecision {
        OpenDecision {
            tenant: 0,
            model,
            features: Vec::new(),
            class: 0,
            given_class: 0,
            regime: Beliefs::filled(4, 0.25),
            limit_ms: 1.0,
            usd: 0.0,
            quality: 0.5,
            made_at: 0,
            reservation: Some(7),
        }
    }

    #[test]
    fn old_decisions_are_forgotten_and_closed_ones_are_known_as_such() {
        let mut log = DecisionLog::new(3);
        for model in 0..5 {
            let forgotten = (model >= 3).then(|| decision(model - 3));
            assert_eq!(log.push(decision(model)), (model as u64, forgotten));
        }
        assert_eq!(log.get(1), Err(Error::UnknownDecision { id: 1 }));
        assert_eq!(log.get(5), Err(Error::UnknownDecision { id: 5 }));
        assert_eq!(log.get(3).unwrap().model, 3);
        assert_eq!(log.take(3), Some(decision(3)));
        assert_eq!(log.get(3), Err(Error::DuplicateOutcome { id: 3 }));
        assert_eq!((log.take(3), log.take(99)), (None, None));
        assert_eq!(log.next_id(), 5);
    }
}
