//! A [`Network`] over links with latency, poll by poll.

use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;

use hashbrown::HashMap;

use super::links::Latency;
use super::{Id, Network, Node, SimulateError, Strategy, fewest};
use crate::poll::answers_needed;
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

/// A poll under way.
#[derive(Debug)]
struct Open {
    node: u32,
    /// By arrival.
    answers: Vec<Answer>,
    /// Answers taken, and what they name.
    taken: usize,
    votes: Vec<(Tip, u32)>,
    /// When it is looked at next.
    look: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Answer {
    arrival: u64,
    /// When the question arrived.
    asked: u64,
    /// Who answers; [`NOBODY`] for one that is too late.
    peer: u32,
}

const NOBODY: u32 = u32::MAX;

/// A block that some node preferred, by number.
type Tip = u32;

/// What every honest node preferred when.
#[derive(Debug)]
struct Preferences {
    tips: Vec<Id>,
    by_id: HashMap<Id, Tip, foldhash::fast::FixedState>,
    /// The preference of each node and since when.
    now: Vec<(u64, Tip)>,
    /// Those before, ascending by time; few nodes have many.
    before: Vec<Vec<(u64, Tip)>>,
}

impl Preferences {
    fn new(nodes: &[Node]) -> Self {
        let mut preferences = Self {
            tips: Vec::new(),
            by_id: HashMap::with_hasher(foldhash::fast::FixedState::default()),
            now: alloc::vec![(0, 0); nodes.len()],
            before: alloc::vec![Vec::new(); nodes.len()],
        };
        for (at, node) in nodes.iter().enumerate() {
            if let Node::Honest(chain) = node {
                preferences.now[at].1 = preferences.tip(chain.preference());
            }
        }
        preferences
    }

    fn tip(&mut self, id: Id) -> Tip {
        let tips = &mut self.tips;
        *self.by_id.entry(id).or_insert_with(|| {
            tips.push(id);
            tips.len() as Tip - 1
        })
    }

    fn set(&mut self, node: usize, time: u64, id: Id) {
        let (since, tip) = self.now[node];
        if self.tips[tip as usize] != id {
            self.before[node].push((since, tip));
            self.now[node] = (time, self.tip(id));
        }
    }

    fn at(&self, node: usize, time: u64) -> Tip {
        let (since, tip) = self.now[node];
        if since <= time {
            return tip;
        }
        let before = self.before[node].iter().rev().find(|(since, _)| *since <= time);
        before.map_or(tip, |(_, tip)| *tip)
    }
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
        let mut preferences = Preferences::new(&self.nodes);
        let mut queue: BinaryHeap<Reverse<(u64, u32)>> = BinaryHeap::new();
        let mut open: Vec<Open> = Vec::new();
        let mut times = Vec::new();
        let mut undecided = 0;
        let minority_voters = self.nodes.iter().any(|node| matches!(node, Node::Byzantine(Strategy::VoteMinority)));
        let mut minority = (0, if minority_voters { self.minority_of(&mut preferences) } else { None });
        let first_look = usize::from(self.params.conditions()[0].alpha_confidence);
        let repolls = usize::from(self.params.concurrent_repolls());
        let mut polls = 0;
        for node in 0..self.nodes.len() {
            let waits = matches!(&self.nodes[node], Node::Honest(chain) if chain.processing_len() > 0);
            undecided += usize::from(waits);
            for _ in 0..if waits { repolls } else { 0 } {
                let mut poll = Open { node: node as u32, answers: Vec::new(), taken: 0, votes: Vec::new(), look: 0 };
                self.begin(&mut poll, 0, latency, timeout)?;
                poll.look_after(first_look);
                queue.push(Reverse((poll.look, open.len() as u32)));
                open.push(poll);
            }
        }
        let mut now = 0;
        let mut votes = VoteBag::new();
        while undecided > 0 {
            let Some(Reverse((at, slot))) = queue.pop().filter(|Reverse((at, _))| *at <= max_time) else {
                let rounds = u32::try_from(polls / self.honest.max(1) as u64).unwrap_or(u32::MAX);
                return Err(SimulateError::NotFinal { rounds, undecided });
            };
            now = at;
            if minority_voters && now - minority.0 >= VIEW {
                minority = (now, self.minority_of(&mut preferences));
            }
            let slot = slot as usize;
            let poll = &mut open[slot];
            let node = poll.node as usize;
            let Node::Honest(chain) = &self.nodes[node] else { continue };
            // It may have been told to look earlier meanwhile.
            if poll.look != now || chain.processing_len() == 0 {
                continue;
            }
            while let Some(answer) = poll.answers.get(poll.taken).filter(|answer| answer.arrival <= now) {
                poll.taken += 1;
                let vote = match self.nodes.get(answer.peer as usize) {
                    Some(Node::Honest(_)) => Some(preferences.at(answer.peer as usize, answer.asked)),
                    Some(Node::Byzantine(Strategy::VoteMinority)) => minority.1,
                    Some(Node::Byzantine(Strategy::Silent)) | None => None,
                };
                if let Some(vote) = vote {
                    match poll.votes.iter_mut().find(|(tip, _)| *tip == vote) {
                        Some((_, count)) => *count += 1,
                        None => poll.votes.push((vote, 1)),
                    }
                }
            }
            votes.clear();
            for &(tip, count) in &poll.votes {
                votes.add(preferences.tips[tip as usize], count);
            }
            let outstanding = (poll.answers.len() - poll.taken) as u32;
            let needed = answers_needed(&self.params, &votes, outstanding, &**chain);
            if needed > 0 {
                poll.look_after(poll.taken + needed as usize);
                queue.push(Reverse((poll.look, slot as u32)));
                continue;
            }
            polls += 1;
            // Rounds of a timed run are its milliseconds.
            self.round = now / 1_000_000;
            let Node::Honest(chain) = &mut self.nodes[node] else { continue };
            // A sample holds k units, so the bag is never too large.
            let _ = chain.record_poll(&votes, &mut self.decisions);
            preferences.set(node, now, chain.preference());
            let decided = chain.processing_len() == 0;
            let mut decisions = core::mem::take(&mut self.decisions);
            if !decisions.is_empty() && !decided {
                // With another last accepted block the node's other polls may need less.
                let first = slot - slot % repolls;
                for other in (first..first + repolls).filter(|other| *other != slot) {
                    let poll = &mut open[other];
                    poll.look_after(poll.taken + 1);
                    poll.look = poll.look.max(now);
                    queue.push(Reverse((poll.look, other as u32)));
                }
            }
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
                open[slot].look_after(first_look);
                queue.push(Reverse((open[slot].look, slot as u32)));
            }
        }
        debug_assert!(times.is_sorted() && times.last().is_none_or(|last| *last == now));
        self.prune();
        let accepted = self.accepted[before..self.everywhere].iter().enumerate();
        let accepted = accepted.map(|(i, block)| (block.id, self.height_at(before + i))).collect();
        Ok(TimedFinality { times, accepted, polls })
    }

    /// The block that a minority voter names, by what the nodes prefer now. O(nodes).
    fn minority_of(&self, preferences: &mut Preferences) -> Option<Tip> {
        let (height, siblings) = self.contested()?;
        let mut nodes = alloc::vec![0_usize; preferences.tips.len()];
        for (node, (_, tip)) in self.nodes.iter().zip(&preferences.now) {
            nodes[*tip as usize] += usize::from(matches!(node, Node::Honest(_)));
        }
        let parents: BTreeMap<Id, Id> = self
            .children
            .range((height, [0; 32])..)
            .flat_map(|((_, parent), ids)| ids.iter().map(move |id| (*id, *parent)))
            .collect();
        let mut counts = alloc::vec![0; siblings.len()];
        for (tip, count) in preferences.tips.iter().zip(nodes) {
            let mut at = *tip;
            while let Some(parent) = parents.get(&at) {
                at = *parent;
            }
            if let Some(place) = siblings.iter().position(|id| *id == at) {
                counts[place] += count;
            }
        }
        fewest(siblings, &counts).map(|id| preferences.tip(id))
    }

    /// Samples and sends the questions.
    fn begin(&mut self, poll: &mut Open, now: u64, latency: &Latency, timeout: u64) -> Result<(), SimulateError> {
        let node = poll.node as usize;
        let own = (!self.include_self).then_some(node);
        self.sampler.sample_positions(self.params.k(), own, &mut self.sampling, &mut self.positions)?;
        poll.taken = 0;
        poll.votes.clear();
        poll.answers.clear();
        for &peer in &self.positions {
            let late = now.saturating_add(timeout);
            let silent = matches!(self.nodes[peer], Node::Byzantine(Strategy::Silent));
            let asked = now.saturating_add(latency.draw(node, peer, &mut self.delivery));
            let arrival = asked.saturating_add(latency.draw(peer, node, &mut self.delivery));
            let answers = !silent && arrival < late;
            let (arrival, peer) = if answers { (arrival, peer as u32) } else { (late, NOBODY) };
            poll.answers.push(Answer { arrival, asked, peer });
        }
        poll.answers.sort_unstable();
        Ok(())
    }
}

impl Open {
    /// Looks at it when so many answers are there, or all.
    fn look_after(&mut self, answers: usize) {
        let at = answers.min(self.answers.len()).saturating_sub(1);
        self.look = self.answers.get(at).map_or(self.look, |answer| answer.arrival);
    }
}
