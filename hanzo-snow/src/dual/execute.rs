//! Committed blocks that are carried out: checkpoints settle, epochs begin.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::ledger::{Ledger, Plan, SettledRecord};
use super::messages::{DualMessage, DualOutput, Settled};
use super::payload::{Close, CloseReport, MAX_REPORTED, Payload};
use super::{DualTrack, Owner, Step};
use crate::checkpoint::Hash;
use crate::committee::{Committee, NodeId, Sign, VerifyAll};
use crate::fastpath::{FastInput, FastPath};
use crate::settlement::Root;
use crate::store::{EntryKind, Record};

impl<A: Sign + VerifyAll + Clone> DualTrack<A> {
    /// Carries out committed blocks, as far as their certificates are here; whether any was.
    pub(super) fn execute(&mut self) -> bool {
        let mut any = false;
        while let Some(step) = self.steps.front().cloned() {
            let (id, block) = match step {
                Step::Block(id, block) => (id, block),
                Step::Epoch(committee) => {
                    self.steps.pop_front();
                    self.begin(committee);
                    any = true;
                    continue;
                }
            };
            if self.still_lacks(&id, block.proposer) {
                break;
            }
            let committee = self.ledger.committee().clone();
            let payload = if block.payload.is_empty() {
                Ok(Payload::default())
            } else {
                Payload::decode(&block.payload, &committee)
            };
            // A quorum has found the payload valid.
            let payload = payload.unwrap_or_default();
            let plan = match (&payload.checkpoint, &payload.close) {
                (Some(body), _) => match self.planned.take_if(|(of, _)| *of == id) {
                    Some((_, plan)) => Ok(Some(plan)),
                    None => self.ledger.plan(self.fast.dag(), body),
                },
                (None, Some(Close::Final { reports, .. })) => {
                    self.ledger.plan_close(self.fast.dag(), reports).map(Some)
                }
                _ => Ok(None),
            };
            let plan = match plan {
                Ok(plan) => plan,
                Err(missing) => {
                    self.want_all(id, missing, block.proposer);
                    break;
                }
            };
            self.steps.pop_front();
            any = true;
            self.executed = Root { id, height: block.height };
            if let Some(bytes) = payload.order {
                self.outputs.push_back(DualOutput::Ordered { height: block.height, bytes });
            }
            if let Some(plan) = plan {
                self.settle_plan(plan, id, block.height);
            }
            if let Some(Close::Open { next }) = payload.close {
                self.fast.close();
                self.ledger.open_close(next);
                self.send_report();
            }
        }
        any
    }

    /// Asks a peer for the checkpoint that could not be carried out since the last time.
    pub(super) fn ask_settled(&mut self) {
        let waits = core::mem::replace(&mut self.waits, self.steps.front().map(|step| step.height()));
        let committee = self.ledger.committee();
        if waits.is_none() || waits != self.waits {
            return;
        }
        let n = committee.len() as u32;
        let others = (1..=n).map(|step| (self.ask_next + step) % n);
        let other = others.filter_map(|at| Some((at, *committee.node(at)?))).find(|(_, to)| *to != self.config.own);
        if let Some((at, to)) = other {
            self.ask_next = at;
            self.send_get_settled(to);
        }
    }

    /// Asks who has given a settled checkpoint for the next, if that cannot be carried out either: a node that is behind by many catches up by
    /// one a round trip, faster than new ones are settled.
    pub(super) fn ask_for_more(&mut self) {
        if let Some(to) = self.served_by.take().filter(|_| matches!(self.steps.front(), Some(Step::Block(..)))) {
            self.send_get_settled(to);
        }
    }

    fn send_get_settled(&mut self, to: NodeId) {
        let (epoch, sequence) = (self.ledger.committee().epoch(), self.ledger.sequence());
        self.outputs.push_back(DualOutput::Send { to, epoch, message: DualMessage::GetSettled { sequence } });
    }

    /// Takes a settled checkpoint from a peer, if it is the one to be carried out next.
    pub(super) fn take_settled(&mut self, record: SettledRecord, from: NodeId) {
        let Some(Step::Block(id, block)) = self.steps.front().cloned() else { return };
        let Ok(payload) = Payload::decode(&block.payload, self.ledger.committee()) else { return };
        let committed = match (&payload.checkpoint, &payload.close) {
            (Some(body), _) => body.checkpoint,
            (None, Some(Close::Final { checkpoint, .. })) => *checkpoint,
            _ => return,
        };
        if !self.ledger.check(&record, &committed) {
            return;
        }
        self.served_by = Some(from);
        self.lacking.remove(&id);
        self.steps.pop_front();
        self.executed = Root { id, height: block.height };
        if let Some(bytes) = payload.order {
            self.outputs.push_back(DualOutput::Ordered { height: block.height, bytes });
        }
        let record = SettledRecord { height: block.height, ..record };
        self.settle(record, &BTreeSet::new(), id);
    }

    /// Settles a plan with the transactions of its certificates.
    fn settle_plan(&mut self, plan: Plan, block: Hash, height: u64) {
        let Plan { checkpoint, leaves, txs, history } = plan;
        self.settle(SettledRecord { checkpoint, height, leaves, txs }, &history, block);
    }

    fn settle(&mut self, settled: SettledRecord, history: &BTreeSet<Hash>, block: Hash) {
        // What another block would settle is no longer the same.
        self.planned = None;
        let record = self.ledger.settle(&settled, history);
        let SettledRecord { checkpoint, height, leaves, txs } = settled;
        let floor = self.ledger.floor(self.config.keep_rounds);
        self.fast.settle(history, &leaves, checkpoint.last_round, floor);
        // The block that settles is durable. Told before the record is, it will be told again where that is lost.
        self.outputs.push_back(DualOutput::Settled(Settled { checkpoint, leaves, txs, block, height }));
        let forget = |kind| Record::Forget { kind, below: floor + 1 };
        let records = alloc::vec![Record::Entry(record), forget(EntryKind::Certificate)];
        self.token(Owner::Ledger, records, Vec::new());
    }

    pub(super) fn send_report(&mut self) {
        let committee = self.ledger.committee();
        let Some(own) = committee.position(&self.config.own).filter(|_| !self.follows) else { return };
        let mut certificates = self.fast.dag().unsettled();
        certificates.truncate(MAX_REPORTED);
        let bytes = CloseReport::signed_bytes(committee, own, &certificates);
        let Ok(signature) = self.authority.sign(&bytes) else { return };
        let report = CloseReport { reporter: own, certificates: certificates.into(), signature };
        let epoch = committee.epoch();
        self.ledger.report(report.clone());
        let broadcast = DualOutput::Broadcast { epoch, message: DualMessage::Report(report) };
        // Everything it names must be durable before.
        self.token(Owner::Ledger, Vec::new(), alloc::vec![broadcast]);
    }

    /// Begins an epoch.
    fn begin(&mut self, committee: Committee) {
        let (pool, contested) = self.fast.take_pool();
        let settled = self.ledger.clone();
        let now = self.fast.now().max(self.now);
        // What the old fast path still had to say is of no use, but what it had to keep keeps the order of tokens.
        self.owners.iter_mut().for_each(|(_, owner, _)| {
            if matches!(owner, Owner::Fast(_)) {
                *owner = Owner::Ledger;
            }
        });
        let epoch = committee.epoch();
        self.fast = FastPath::new(self.config.fast.clone(), committee.clone(), self.authority.clone(), self.seed, now);
        self.ledger = Ledger::new(&committee, self.executed, self.seed);
        let validators = self.ledger.validators();
        self.next.take_if(|next| *next == validators);
        self.follows = self.replica.follows_in(epoch);
        if self.follows {
            self.fast.close();
        }
        self.stuck = false;
        self.validating.clear();
        self.lacking.clear();
        self.planned = None;
        for tx in contested.into_iter().filter(|tx| !settled.has_settled(tx)) {
            self.fast.retry(tx);
        }
        for tx in pool.into_iter().filter(|tx| !settled.has_settled(tx)) {
            // There is room: it comes from a pool of the same size.
            let _ = self.fast.handle(self.now, FastInput::Submit(tx));
        }
        let forget = |kind, below| Record::Forget { kind, below };
        let records = alloc::vec![
            forget(EntryKind::Ack, u64::MAX),
            forget(EntryKind::Certificate, u64::MAX),
            forget(EntryKind::Committee, epoch),
        ];
        self.outputs.push_back(DualOutput::Epoch(committee));
        self.token(Owner::Ledger, records, Vec::new());
    }
}
