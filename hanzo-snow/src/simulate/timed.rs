//! A [`Network`] over links with latency, poll by poll.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::links::Latency;
use super::{Id, Network, Node, SimulateError, Strategy};
use crate::votes::VoteBag;

/// How a run over links came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedFinality {
    /// Nanoseconds at which each honest node had nothing left to decide, ascending.
    pub times: Vec<u64>,
    /// Id and height of each block that became accepted by all honest nodes, in order of height.
    pub accepted: Vec<(Id, u64)>,
    /// Polls that ended.
    pub polls: u64,
}

/// A poll under way: answers by arrival.
struct Open {
    node: u32,
    /// When it began.
    began: u64,
    /// Arrival of the answer, arrival of the question, and who answers in time.
    answers: Vec<(u64, u64, Option<u32>)>,
    /// Answers taken.
    taken: usize,
}

impl Network {
    /// Runs until no honest node has anything left to decide, each with
    /// [`concurrent_repolls`](crate::Params::concurrent_repolls) polls under way, over links with latency.
    ///
    /// A node answers with the preference it has when the question arrives. A poll ends as a
    /// [`PollSet`](crate::PollSet) ends it, looked at from its
    /// `alpha_confidence`-th answer on, or at the query timeout;
    /// its votes count at that moment. What minority voters name is found anew every 25 milliseconds.
    ///
    /// # Errors
    /// [`SimulateError::Latency`] for a latency that does not fit, [`SimulateError::NotFinal`] after `max_time` nanoseconds,
    /// [`SimulateError::Disagreement`] as in [`step`](Self::step).
    pub fn run_over(&mut self, latency: &Latency, max_time: u64) -> Result<TimedFinality, SimulateError> {
        const VIEW: u64 = 25_000_000;
        latency.check(self.nodes.len())?;
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let before = self.everywhere;
        let timeout = u64::try_from(self.params.query_timeout().as_nanos()).unwrap_or(u64::MAX);
        // Preferences since the start, one entry a change.
        let mut history: Vec<Vec<(u64, Id)>> = self
            .nodes
            .iter()
            .map(|node| match node {
                Node::Honest(chain) => alloc::vec![(0, chain.preference())],
                Node::Byzantine(_) => Vec::new(),
            })
            .collect();
        let mut queue: BinaryHeap<Reverse<(u64, u64, usize)>> = BinaryHeap::new();
        let mut open: Vec<Open> = Vec::new();
        let mut sequence = 0;
        let mut times = Vec::new();
        let mut undecided = 0;
        let minority_voters = self.nodes.iter().any(|node| matches!(node, Node::Byzantine(Strategy::VoteMinority)));
        let mut minority = (0, self.minority());
        let first_look = self.params.conditions()[0].alpha_confidence;
        let mut polls = 0;
        for node in 0..self.nodes.len() {
            let waits = matches!(&self.nodes[node], Node::Honest(chain) if chain.processing_len() > 0);
            undecided += usize::from(waits);
            for _ in 0..if waits { self.params.concurrent_repolls() } else { 0 } {
                let slot = open.len();
                open.push(Open { node: node as u32, began: 0, answers: Vec::new(), taken: 0 });
                self.begin(&mut open[slot], 0, latency, timeout)?;
                queue.push(Reverse((open[slot].due(first_look), sequence, slot)));
                sequence += 1;
            }
        }
        let mut now = 0;
        let mut votes = VoteBag::new();
        while undecided > 0 {
            let Some(Reverse((at, _, slot))) = queue.pop().filter(|Reverse((at, ..))| *at <= max_time) else {
                let rounds = u32::try_from(polls / self.honest.max(1) as u64).unwrap_or(u32::MAX);
                return Err(SimulateError::NotFinal { rounds, undecided });
            };
            now = at;
            if minority_voters && now - minority.0 >= VIEW {
                minority = (now, self.minority());
            }
            let poll = &mut open[slot];
            let node = poll.node as usize;
            let Node::Honest(chain) = &self.nodes[node] else { continue };
            if chain.processing_len() == 0 {
                continue;
            }
            // Everything that has arrived.
            poll.taken = poll.answers.partition_point(|(arrival, ..)| *arrival <= now);
            votes.clear();
            for &(_, asked, peer) in &poll.answers[..poll.taken] {
                let Some(peer) = peer else { continue };
                let vote = match &self.nodes[peer as usize] {
                    Node::Honest(_) => {
                        history[peer as usize].iter().rev().find(|(since, _)| *since <= asked).map(|(_, id)| *id)
                    }
                    Node::Byzantine(Strategy::Silent) => None,
                    Node::Byzantine(Strategy::VoteMinority) => minority.1,
                };
                if let Some(vote) = vote {
                    votes.add(vote, 1);
                }
            }
            let outstanding = (poll.answers.len() - poll.taken) as u32;
            if outstanding > 0 && !crate::poll::is_decided(&self.params, &votes, outstanding, &**chain) {
                let next = poll.answers[poll.taken].0;
                queue.push(Reverse((next, sequence, slot)));
                sequence += 1;
                continue;
            }
            polls += 1;
            // Rounds of a timed run are its milliseconds.
            self.round = now / 1_000_000;
            let Node::Honest(chain) = &mut self.nodes[node] else { continue };
            // A sample holds k units, so the bag is never too large.
            let _ = chain.record_poll(&votes, &mut self.decisions);
            let preference = chain.preference();
            let decided = chain.processing_len() == 0;
            if history[node].last().is_some_and(|(_, last)| *last != preference) {
                history[node].push((now, preference));
            }
            let mut decisions = core::mem::take(&mut self.decisions);
            for decision in decisions.drain(..) {
                self.note(node, decision);
            }
            self.decisions = decisions;
            if let Some(broken) = self.broken {
                return Err(broken);
            }
            if decided {
                undecided -= 1;
                times.push(now);
            } else {
                self.begin(&mut open[slot], now, latency, timeout)?;
                queue.push(Reverse((open[slot].due(first_look), sequence, slot)));
                sequence += 1;
            }
        }
        debug_assert!(times.is_sorted() && times.last().is_none_or(|last| *last == now));
        self.prune();
        let accepted = self.accepted[before..self.everywhere].iter().enumerate();
        let accepted = accepted.map(|(i, block)| (block.id, self.height_at(before + i))).collect();
        Ok(TimedFinality { times, accepted, polls })
    }

    /// Samples and sends the questions.
    fn begin(&mut self, poll: &mut Open, now: u64, latency: &Latency, timeout: u64) -> Result<(), SimulateError> {
        let node = poll.node as usize;
        let own = (!self.include_self).then_some(node);
        self.sampler.sample_positions(self.params.k(), own, &mut self.sampling, &mut self.positions)?;
        poll.began = now;
        poll.taken = 0;
        poll.answers.clear();
        for &peer in &self.positions {
            let late = now.saturating_add(timeout);
            let silent = matches!(self.nodes[peer], Node::Byzantine(Strategy::Silent));
            let asked = now.saturating_add(latency.draw(node, peer, &mut self.delivery));
            let arrival = asked.saturating_add(latency.draw(peer, node, &mut self.delivery));
            let answers = !silent && arrival < late;
            poll.answers.push((if answers { arrival } else { late }, asked, answers.then_some(peer as u32)));
        }
        poll.answers.sort_unstable();
        Ok(())
    }
}

impl Open {
    /// When the poll is looked at first.
    fn due(&self, first_look: u16) -> u64 {
        let at = usize::from(first_look).min(self.answers.len()).saturating_sub(1);
        self.answers.get(at).map_or(self.began, |(arrival, ..)| *arrival)
    }
}
