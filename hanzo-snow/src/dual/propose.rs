//! What a block may settle: payloads that are made, and those of others that are checked.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::payload::{Close, CloseReport, Payload};
use super::{DualTrack, NextSet};
use crate::checkpoint::Hash;
use crate::committee::{Sign, VerifyAll};
use crate::settlement::{Block, Input, Root};

impl<A: Sign + VerifyAll + Clone> DualTrack<A> {
    pub(super) fn has_pending(&self) -> bool {
        if !self.steps.is_empty() {
            return false;
        }
        if self.ledger.closing().is_some() {
            return self.ledger.reported_stake() >= self.ledger.committee().quorum().stake();
        }
        !self.orders.is_empty() || self.next.is_some() || self.stuck || self.checkpoint_due().is_some()
    }

    fn checkpoint_due(&self) -> Option<u64> {
        let full = self.fast.dag().last_full_round();
        let due = self.ledger.first_round().saturating_add(self.config.policy.period().saturating_sub(1));
        (full >= due).then_some(full)
    }

    /// Gives settlement the payload it waits for, once what is committed is durable; whether it has.
    pub(super) fn build(&mut self) -> bool {
        if self.building.is_none() {
            return false;
        }
        // What waits for certificates may wait long: a block without payload goes on at once.
        let ready = !self.steps.is_empty() || self.has_executed();
        let Some((view, parent)) = self.building.take_if(|_| ready) else { return false };
        let (payload, next) = self.payload_on(&parent);
        // Refused only if the view is over by now.
        let _ = self.replica.handle(self.now, Input::Payload { view, payload, next });
        true
    }

    /// What to settle on a block.
    fn payload_on(&mut self, parent: &Hash) -> (Arc<[u8]>, Option<NextSet>) {
        let empty = || (Arc::from([]), None);
        if !self.may_carry(parent) {
            return empty();
        }
        let mut payload = Payload::default();
        let mut next = None;
        if let Some(opened) = self.ledger.closing().cloned() {
            let held = |id: &Hash| self.fast.dag().get(id).is_some();
            let Some(reports) = self.ledger.ready_reports(held) else { return empty() };
            let Ok(plan) = self.ledger.plan_close(self.fast.dag(), &reports) else { return empty() };
            payload.close = Some(Close::Final { reports, checkpoint: plan.checkpoint });
            next = Some(opened);
        } else if self.wants_to_close() {
            let set = self.next.clone().unwrap_or_else(|| self.ledger.validators());
            payload.close = Some(Close::Open { next: set });
        } else if let Some(last_round) = self.checkpoint_due() {
            payload.checkpoint = self.ledger.propose(self.fast.dag(), last_round).map(Box::new);
        }
        if next.is_none() {
            payload.order = self.orders.pop_front();
        }
        if payload == Payload::default() {
            return empty();
        }
        (payload.encode(self.ledger.committee()).into(), next)
    }

    fn wants_to_close(&self) -> bool {
        let old_enough =
            self.replica.committed().height.saturating_sub(self.ledger.root_height()) >= self.config.min_epoch_blocks;
        self.next.is_some() || self.stuck && old_enough
    }

    /// Whether a block on this one may carry a payload: the chain itself commits every payload below, and all are carried out here.
    /// So what a payload must fit follows from the chain under it, and is the same for all who hold that.
    fn may_carry(&self, parent: &Hash) -> bool {
        self.has_executed()
            && self.replica.shows_commits(parent)
            && self.replica.uncommitted(parent).is_some_and(|path| path.iter().all(|block| block.payload.is_empty()))
    }

    /// Whether every committed payload is carried out. Settlement tells of a commit only once that is durable.
    fn has_executed(&self) -> bool {
        if !self.steps.is_empty() || self.ledger.committee().epoch() != self.replica.committee().epoch() {
            return false;
        }
        let mut at = self.replica.committed();
        while at.height > self.executed.height {
            match self.replica.block(&at.id) {
                Some(block) if block.payload.is_empty() => {
                    at = Root { id: block.justify.block, height: at.height - 1 };
                }
                _ => return false,
            }
        }
        true
    }

    /// Answers what settlement asks, where the answer is known; whether any was given.
    pub(super) fn validate(&mut self) -> bool {
        let mut answered = false;
        for id in core::mem::take(&mut self.validating) {
            let Some(block) = self.replica.block(&id).cloned() else { continue };
            if !self.has_executed() || self.still_lacks(&id, block.proposer) {
                self.validating.push(id);
                continue;
            }
            match self.check(&id, &block) {
                Ok(ok) => {
                    answered = true;
                    let _ = self.replica.handle(self.now, Input::Validated { block: id, ok });
                }
                Err(missing) => {
                    self.want_all(id, missing, block.proposer);
                    self.validating.push(id);
                }
            }
        }
        // One block of each proposer is enough to wait for.
        let excess = self.validating.len().saturating_sub(self.ledger.committee().len());
        for id in self.validating.drain(..excess) {
            self.lacking.remove(&id);
        }
        answered
    }

    /// Whether a certificate for which a block had to wait is not here yet: until it is, nothing that depends on it need be tried again.
    pub(super) fn still_lacks(&mut self, block: &Hash, proposer: u32) -> bool {
        let dag = self.fast.dag();
        let missing = self.lacking.get(block).and_then(|ids| ids.iter().find(|id| dag.get(id).is_none()).copied());
        match missing {
            // Not all may have been wanted at once.
            Some(id) => self.fast.want(id, u64::MAX, proposer),
            None => {
                self.lacking.remove(block);
            }
        }
        missing.is_some()
    }

    /// Wants what a block has to wait for.
    pub(super) fn want_all(&mut self, block: Hash, missing: Vec<Hash>, proposer: u32) {
        for id in &missing {
            self.fast.want(*id, u64::MAX, proposer);
        }
        // Of blocks that nobody asks for any more, nothing need be known.
        if self.lacking.len() > 2 * self.ledger.committee().len() {
            self.lacking.clear();
        }
        self.lacking.insert(block, missing);
    }

    /// Whether a block's payload may be settled.
    ///
    /// # Errors
    /// Certificates that are missing to say so.
    fn check(&mut self, id: &Hash, block: &Block) -> Result<bool, Vec<Hash>> {
        let committee = self.ledger.committee();
        if !self.may_carry(&block.justify.block) {
            return Ok(false);
        }
        let Ok(payload) = Payload::decode(&block.payload, committee) else { return Ok(false) };
        let closes = matches!(payload.close, Some(Close::Final { .. }));
        if closes != block.next.is_some() {
            return Ok(false);
        }
        let closing = self.ledger.closing();
        match &payload.close {
            None if closing.is_some() => return Ok(payload.checkpoint.is_none()),
            None => {}
            Some(Close::Open { next }) => {
                let asked_for = self.next.as_ref() == Some(next);
                let height = block.height.saturating_sub(self.ledger.root_height());
                let unlock = *next == self.ledger.validators() && height >= self.config.min_epoch_blocks;
                return Ok(closing.is_none() && payload.checkpoint.is_none() && (asked_for || unlock));
            }
            Some(Close::Final { reports, checkpoint }) => {
                if closing != block.next.as_ref() || payload.checkpoint.is_some() {
                    return Ok(false);
                }
                let stake = |report: &CloseReport| committee.stake(report.reporter);
                let different: BTreeSet<u32> = reports.iter().map(|report| report.reporter).collect();
                let enough = committee.quorum().is_reached(reports.iter().map(stake).sum());
                let signed = || reports.iter().all(|report| report.verify(committee, &self.authority).is_ok());
                if different.len() != reports.len() || !enough || !signed() {
                    return Ok(false);
                }
                return match self.ledger.plan_close(self.fast.dag(), reports) {
                    Ok(plan) => Ok(plan.checkpoint == *checkpoint),
                    Err(missing) => Err(missing),
                };
            }
        }
        match &payload.checkpoint {
            None => Ok(true),
            Some(body) => {
                let plan = self.ledger.plan(self.fast.dag(), body)?;
                let fits = plan.is_some();
                self.planned = plan.map(|plan| (*id, plan));
                Ok(fits)
            }
        }
    }
}
