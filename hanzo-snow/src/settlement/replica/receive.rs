//! What other replicas say.

use alloc::vec::Vec;

use super::{AHEAD, Replica, wrong_epoch};
use crate::checkpoint::Hash;
use crate::committee::{MessageError, NodeId, Sign, Signers, VerifyAll};
use crate::evidence::Evidence;
use crate::settlement::block::{Block, Proposal};
use crate::settlement::certificates::{QuorumCertificate, Timeout, TimeoutCertificate, Vote};
use crate::settlement::messages::Message;

impl<A: Sign + VerifyAll> Replica<A> {
    pub(super) fn receive(
        &mut self,
        from: NodeId,
        sender: Option<u32>,
        epoch: u64,
        message: Message,
    ) -> Result<(), MessageError> {
        let expected = self.committee.epoch();
        if let Message::Request { after } = message {
            self.serve(from, epoch, after);
            return Ok(());
        }
        if epoch > expected {
            // A later epoch: somebody there has the end of this one.
            if sender.is_some() && !self.later_epoch {
                self.later_epoch = true;
                self.ask(sender);
            }
            return Err(wrong_epoch(expected, epoch));
        }
        if epoch < expected {
            return Err(wrong_epoch(expected, epoch));
        }
        match message {
            Message::Proposal(proposal) => self.on_proposal(sender, proposal),
            Message::Vote(vote) => self.on_vote(vote),
            Message::Timeout(timeout) => self.on_timeout(sender, timeout),
            Message::Chain { blocks, certificate } => self.on_chain(sender, blocks, &certificate),
            Message::Request { .. } => Ok(()),
        }
    }

    fn check_certificate(&self, certificate: &QuorumCertificate) -> Result<(), MessageError> {
        if *certificate == self.high {
            return Ok(());
        }
        certificate.verify(&self.committee, &self.tree.root().id, &self.authority)
    }

    fn check_entry(&self, entry: Option<&TimeoutCertificate>) -> Result<(), MessageError> {
        match entry {
            Some(entry) if self.entry.as_ref() != Some(entry) => entry.verify(&self.committee, &self.authority),
            _ => Ok(()),
        }
    }

    fn on_proposal(&mut self, sender: Option<u32>, proposal: Proposal) -> Result<(), MessageError> {
        let block = &proposal.block;
        block.check_shape()?;
        let committed = *self.tree.committed();
        if block.height <= committed.height || block.view.saturating_add(AHEAD) < self.view {
            return Err(MessageError::Stale { found: block.view, current: self.view });
        }
        proposal.verify(&self.committee, &self.authority)?;
        self.check_certificate(&block.justify)?;
        self.check_entry(block.entry.as_ref())?;
        let leads = self.tree.leader(&self.committee, block.view, &block.justify.block);
        if leads.is_some_and(|leader| leader != block.proposer) {
            return Err(MessageError::NotLeader { view: block.view, proposer: block.proposer });
        }
        let header = block.header();
        let id = header.id(&self.committee);
        let key = (block.view, block.proposer);
        match self.proposals.get(&key) {
            Some(first) if first.0 != header => {
                let second = (header, proposal.signature);
                self.accuse(Evidence::Proposals { first: first.clone(), second });
            }
            Some(_) => {}
            None => {
                self.proposals.insert(key, (header, proposal.signature));
            }
        }
        let (justify, entry) = (proposal.block.justify.clone(), proposal.block.entry.clone());
        let epoch = self.committee.epoch();
        self.on_certificate(&justify);
        if self.committee.epoch() != epoch {
            // The certificate has closed the epoch, and the block with it.
            return Ok(());
        }
        if let Some(entry) = entry {
            self.on_timeout_certificate(entry);
        }
        if self.tree.get(&justify.block).is_none() {
            self.orphans.insert(proposal.block.proposer, proposal.block);
            self.ask(sender);
            return Ok(());
        }
        self.take(id, proposal.block)
    }

    /// Takes a block whose parent is there, and what was waiting for it.
    pub(super) fn take(&mut self, id: Hash, block: Block) -> Result<(), MessageError> {
        if !self.tree.insert(&self.committee, id, block) {
            return Err(MessageError::Malformed { field: "block" });
        }
        let epoch = self.committee.epoch();
        if let Some(missing) = self.missing.take_if(|missing| missing.block == id) {
            self.on_certificate(&missing);
        }
        if self.committee.epoch() != epoch {
            return Ok(());
        }
        self.consider(&id);
        // Voting with oneself may certify a block, and commit the close of the epoch.
        if self.committee.epoch() != epoch {
            return Ok(());
        }
        let orphan = self.orphans.values().find(|orphan| orphan.justify.block == id).map(|orphan| orphan.proposer);
        if let Some(orphan) = orphan.and_then(|proposer| self.orphans.remove(&proposer)) {
            let leads = self.tree.leader(&self.committee, orphan.view, &id);
            if leads == Some(orphan.proposer) {
                self.on_certificate(&orphan.justify);
                if self.committee.epoch() != epoch {
                    return Ok(());
                }
                let orphan_id = orphan.id(&self.committee);
                let _ = self.take(orphan_id, orphan);
            }
        }
        Ok(())
    }

    fn on_vote(&mut self, vote: Vote) -> Result<(), MessageError> {
        if vote.view.saturating_add(1) < self.view || vote.view <= self.high.view {
            return Err(MessageError::Stale { found: vote.view, current: self.view });
        }
        if vote.view > self.view.saturating_add(AHEAD) {
            return Err(MessageError::TooFarAhead { found: vote.view, current: self.view });
        }
        if self.votes.get(&(vote.view, vote.voter)) == Some(&vote) {
            return Ok(());
        }
        vote.verify(&self.committee, &self.authority)?;
        self.take_vote(vote);
        Ok(())
    }

    /// Counts a vote whose signature is checked.
    fn take_vote(&mut self, vote: Vote) {
        let key = (vote.view, vote.voter);
        if let Some(first) = self.votes.get(&key) {
            if first.block != vote.block {
                self.accuse(Evidence::Votes { first: first.clone(), second: vote });
            }
            return;
        }
        self.votes.insert(key, vote.clone());
        self.check_contradiction(vote.voter);
        let of_view = || self.votes.range((vote.view, 0)..=(vote.view, u32::MAX)).map(|(_, vote)| vote);
        let same: Vec<&Vote> = of_view().filter(|other| other.block == vote.block).collect();
        let stake: u64 = same.iter().map(|vote| self.committee.stake(vote.voter)).sum();
        if !self.committee.quorum().is_reached(stake) {
            return;
        }
        let certificate = QuorumCertificate {
            view: vote.view,
            block: vote.block,
            signers: Signers::new(same.iter().map(|vote| vote.voter)),
            signatures: same.iter().map(|vote| vote.signature.clone()).collect(),
        };
        self.on_certificate(&certificate);
    }

    fn on_timeout(&mut self, sender: Option<u32>, timeout: Timeout) -> Result<(), MessageError> {
        let known = self.timeouts.get(&timeout.voter);
        let newer = known.is_none_or(|known| (known.view, known.high.view) < (timeout.view, timeout.high.view));
        if timeout.view < self.view || !newer {
            return Err(MessageError::Stale { found: timeout.view, current: self.view });
        }
        // Proof that the view was entered.
        let high = timeout.high.view;
        let follows = high.checked_add(1) == Some(timeout.view);
        let recovers = timeout.entry.as_ref().is_some_and(|entry| entry.view.checked_add(1) == Some(timeout.view));
        if high >= timeout.view || !(follows || recovers) {
            return Err(MessageError::Malformed { field: "timeout" });
        }
        timeout.verify(&self.committee, &self.authority)?;
        self.check_certificate(&timeout.high)?;
        self.check_entry(timeout.entry.as_ref())?;
        let vote = timeout
            .vote
            .clone()
            .filter(|vote| vote.voter == timeout.voter && vote.view == timeout.view && vote.view > self.high.view);
        if let Some(vote) = vote.as_ref().filter(|vote| self.votes.get(&(vote.view, vote.voter)) != Some(vote)) {
            vote.verify(&self.committee, &self.authority)?;
        }
        let epoch = self.committee.epoch();
        self.on_certificate(&timeout.high);
        if self.committee.epoch() != epoch {
            return Ok(());
        }
        if let Some(entry) = timeout.entry.clone() {
            self.on_timeout_certificate(entry);
        }
        let voter = timeout.voter;
        if timeout.view >= self.view {
            self.timeouts.insert(voter, timeout);
            self.check_contradiction(voter);
        }
        if let Some(vote) = vote {
            self.take_vote(vote);
        }
        if self.missing.is_some() {
            self.ask(sender);
        }
        self.try_timeouts();
        Ok(())
    }

    /// Joins and counts the timeouts of the present view.
    pub(super) fn try_timeouts(&mut self) {
        let quorum = self.committee.quorum();
        let stake = |least: u64| -> u64 {
            let heard = self.timeouts.values().filter(|timeout| timeout.view >= least);
            heard.map(|timeout| self.committee.stake(timeout.voter)).sum()
        };
        if stake(self.view) >= quorum.one_honest() && self.own_timeout.is_none() {
            self.give_up();
        }
        let here: Vec<&Timeout> = self.timeouts.values().filter(|timeout| timeout.view == self.view).collect();
        let stake: u64 = here.iter().map(|timeout| self.committee.stake(timeout.voter)).sum();
        if quorum.is_reached(stake) {
            // Ascending by voter, as the map is.
            let certificate = TimeoutCertificate {
                view: self.view,
                signers: Signers::new(here.iter().map(|timeout| timeout.voter)),
                high_views: here.iter().map(|timeout| timeout.high.view).collect(),
                signatures: here.iter().map(|timeout| timeout.signature.clone()).collect(),
            };
            self.on_timeout_certificate(certificate);
        }
    }

    fn on_timeout_certificate(&mut self, certificate: TimeoutCertificate) {
        if certificate.view >= self.view {
            self.enter(certificate.view.saturating_add(1), Some(certificate));
        }
    }

    /// Follows a certificate that is checked.
    pub(super) fn on_certificate(&mut self, certificate: &QuorumCertificate) {
        let Some(node) = self.tree.get(&certificate.block) else {
            if certificate.view > self.high.view {
                if self.missing.as_ref().is_none_or(|missing| missing.view < certificate.view) {
                    self.missing = Some(certificate.clone());
                }
                self.ask(None);
                self.enter(certificate.view.saturating_add(1), None);
            }
            return;
        };
        if node.view != certificate.view {
            return;
        }
        let parent = node.parent;
        let follows = self.tree.get(&parent).filter(|parent| parent.view + 1 == certificate.view);
        let commits = follows.is_some_and(|parent| parent.height > self.tree.committed().height);
        if certificate.view > self.high.view {
            self.high = certificate.clone();
        }
        let epoch = self.committee.epoch();
        if commits {
            self.commit(&parent, certificate);
        }
        if self.committee.epoch() == epoch {
            self.enter(certificate.view.saturating_add(1), None);
            // The view may have been entered before the certificate was known.
            self.try_propose();
        }
    }

    /// Looks for a vote of this validator that its timeout forbids.
    fn check_contradiction(&mut self, voter: u32) {
        let Some(timeout) = self.timeouts.get(&voter) else { return };
        let found =
            self.votes.values().filter(|vote| vote.voter == voter && vote.view <= timeout.view).find_map(|vote| {
                let block = self.tree.get(&vote.block)?.block.as_ref()?;
                (block.view == vote.view && block.justify.view > timeout.high.view).then(|| {
                    Evidence::VoteAgainstTimeout {
                        vote: vote.clone(),
                        header: block.header(),
                        timeout_view: timeout.view,
                        high_view: timeout.high.view,
                        signature: timeout.signature.clone(),
                    }
                })
            });
        if let Some(evidence) = found {
            self.accuse(evidence);
        }
    }
}
