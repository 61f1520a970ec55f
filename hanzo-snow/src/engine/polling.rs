//! Polls of one node: whom it asks, what the answers say, and when they are late.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use rand_core::Rng;

use super::Engine;
use super::messages::{Outcome, Output, Reason, Timestamp};
use crate::block::BlockId;
use crate::poll::PollId;
use crate::sampler::ValidatorSampler;
use crate::votes::VoteBag;

/// A poll whose result was not taken.
#[derive(Debug, Clone)]
pub(super) struct OpenPoll<Id, N> {
    pub(super) deadline: Timestamp,
    /// Everybody asked, once.
    voters: Vec<N>,
    /// Votes for blocks that are not in the chain: what each voter prefers and has accepted.
    pub(super) held: BTreeMap<N, (Id, Id)>,
}

impl<Id: BlockId, N: Clone + Ord, R: Rng> Engine<Id, N, R> {
    /// Polls looked at in a stall report.
    const LAST_POLLS: usize = 8;

    pub(super) fn vote(&mut self, poll: PollId, from: &N, preferred: Id, accepted: Id) -> Outcome {
        let held = self.open.get(&poll.to_u64()).is_some_and(|open| open.held.contains_key(from));
        if held || !self.polls.awaits(poll, from) {
            return Outcome::Ignored(Reason::UnexpectedVote);
        }
        if self.is_decidable(&preferred) {
            self.polls.vote(poll, from, preferred, &self.chain);
        } else if self.blocks.get(&preferred).is_some() || self.fetch(preferred, from) {
            if let Some(open) = self.open.get_mut(&poll.to_u64()) {
                open.held.insert(from.clone(), (preferred, accepted));
            }
        } else {
            self.count(poll, from, self.nearest_known(&preferred, &accepted));
        }
        Outcome::Taken
    }

    /// Counts a vote, or its loss.
    fn count(&mut self, poll: PollId, from: &N, vote: Option<Id>) {
        match vote {
            Some(id) => self.polls.vote(poll, from, id, &self.chain),
            None => self.polls.drop_voter(poll, from, &self.chain),
        };
    }

    pub(super) fn lose_voter(&mut self, poll: PollId, from: &N) -> Outcome {
        let held = self.open.get(&poll.to_u64()).is_some_and(|open| open.held.contains_key(from));
        if held || !self.polls.awaits(poll, from) {
            return Outcome::Ignored(Reason::UnexpectedVote);
        }
        self.polls.drop_voter(poll, from, &self.chain);
        Outcome::Taken
    }

    /// A peer is gone: it answers no open poll. What it has said counts.
    pub(super) fn lose_everywhere(&mut self, node: &N) {
        let polls: Vec<u64> = self.open.keys().copied().collect();
        for poll in polls {
            self.lose_voter(PollId::from_u64(poll), node);
        }
    }

    /// Counts the votes that wait for a block, or for the nearest one below it that is known.
    pub(super) fn release_votes(&mut self, id: &Id) {
        let mut due = Vec::new();
        for (&poll, open) in &mut self.open {
            for (node, &(preferred, accepted)) in &open.held {
                if preferred == *id {
                    due.push((poll, node.clone(), accepted));
                }
            }
            open.held.retain(|_, (preferred, _)| preferred != id);
        }
        for (poll, node, accepted) in due {
            self.count(PollId::from_u64(poll), &node, self.nearest_known(id, &accepted));
        }
    }

    pub(super) fn expire_polls(&mut self) {
        let now = self.now;
        let late: Vec<u64> =
            self.open.iter().filter(|(_, open)| open.deadline.is_due(now)).map(|(poll, _)| *poll).collect();
        for poll in late {
            let Some(open) = self.open.get_mut(&poll) else { continue };
            let (held, voters) = (core::mem::take(&mut open.held), open.voters.clone());
            let poll = PollId::from_u64(poll);
            for (node, (preferred, accepted)) in held {
                self.count(poll, &node, self.nearest_known(&preferred, &accepted));
            }
            for node in voters.iter().filter(|node| self.polls.awaits(poll, node)).cloned().collect::<Vec<_>>() {
                self.polls.drop_voter(poll, &node, &self.chain);
            }
        }
    }

    /// The most votes of a poll that stand behind one child of the last accepted block.
    pub(super) fn leading(&self, votes: &VoteBag<Id>) -> u32 {
        let (accepted, _) = self.chain.last_accepted();
        let mut behind = VoteBag::new();
        for (id, count) in votes.iter() {
            let mut at = id;
            while let Some(parent) = self.chain.parent(&at) {
                if parent == accepted {
                    behind.add(at, count);
                }
                at = parent;
            }
        }
        behind.mode().map_or(0, |(_, count)| count)
    }

    /// Takes results and opens polls until neither is left to do.
    pub(super) fn run_polls(&mut self) {
        if self.retry_at.is_some_and(|at| at.is_due(self.now)) {
            self.retry_at = None;
        }
        loop {
            let mut any = false;
            while let Some(result) = self.polls.next_result() {
                any = true;
                self.open.remove(&result.poll.to_u64());
                if self.frozen {
                    continue;
                }
                // A sample holds k units, so the bag is never too large.
                let _ = self.chain.record_poll(&result.votes, &mut self.decisions);
                if self.last_polls.len() == Self::LAST_POLLS {
                    self.last_polls.pop_front();
                }
                self.last_polls.push_back(result.votes);
                self.apply_decisions();
            }
            any |= self.open_polls();
            if !any {
                return;
            }
        }
    }

    /// Opens polls up to the limit, and one for an own block that nobody has seen; whether one was opened.
    fn open_polls(&mut self) -> bool {
        let params = self.config.params;
        let most = u64::from(params.max_outstanding());
        let mut any = false;
        while self.chain.processing_len() > 0
            && !self.frozen
            && self.retry_at.is_none()
            // An own block is sent at once.
            && (self.polls.len() < usize::from(params.concurrent_repolls())
                || self.blocks.is_unsent(&self.chain.preference()))
            && (self.persisting.len() as u64) < most
        {
            let mut sample = Vec::new();
            // The stake was counted when the validators came, so neither fails.
            if self.sampler.sample(params.k(), &mut self.rng, &mut sample).is_err() {
                return any;
            }
            let Ok(poll) = self.polls.open(sample.iter().cloned()) else { return any };
            any = true;
            sample.sort_unstable();
            sample.dedup();
            let deadline = self.now.after(params.query_timeout());
            self.open.insert(poll.to_u64(), OpenPoll { deadline, voters: sample.clone(), held: BTreeMap::new() });
            let block = self.chain.preference();
            let push = self.blocks.take_unsent(&block);
            let mut sent = false;
            for node in sample {
                if node == self.config.own {
                    self.polls.vote(poll, &node, block, &self.chain);
                } else if self.connected.contains(&node) {
                    sent = true;
                    self.outputs.push_back(Output::Query { poll, to: node, block, push: push.clone() });
                } else {
                    self.polls.drop_voter(poll, &node, &self.chain);
                }
            }
            let own_decides = self.polls.is_finished(poll) == Some(true)
                && self.polls.votes_of(poll) >= u32::from(params.alpha_preference());
            if !sent && !own_decides {
                // Nobody to ask: not again before an answer could have come.
                self.retry_at = Some(deadline);
            }
        }
        any
    }
}
