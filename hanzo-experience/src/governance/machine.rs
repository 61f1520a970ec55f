use std::collections::BTreeMap;

use super::proposal::{Choice, Parameter, PowerSnapshot, Proposal, ProposalKind, Status, Tally};
use crate::effect::Effects;
use crate::merkle::StateRoot;
use crate::rewards::largest_remainder;
use crate::wide::{ceil_bps, compare, div_rem};
use crate::{Account, Effect, Error, Operation, Result, Text};

/// What becomes of the stake of a rejected proposal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RejectPolicy {
    /// It goes back.
    #[default]
    Refund,
    /// It is burned.
    Burn,
    /// It goes to those who voted no, by power.
    Redistribute,
}

/// Rules of governance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GovernanceConfig {
    period: u64,
    quorum_bps: u16,
    approval_bps: u16,
    experience_stake: u128,
    other_stake: u128,
    slash_bps: u16,
    challenge_window: u64,
    reject_policy: RejectPolicy,
    max_words: u32,
    max_items: u32,
}

impl GovernanceConfig {
    /// Defaults where a KEEPER, the token of the Zoo network, has so many base units: a week of voting, a quorum of 10 % of the supply, approval by
    /// 66 % of yes and no (which is not two thirds), stakes of 100 KEEPER for experiences and 1000 for anything else,
    /// half of which a malicious proposal loses, found within a week; rejected stakes go back; 32 words, 1000 items.
    pub fn new(units_per_keeper: u128) -> Self {
        Self {
            period: WEEK,
            quorum_bps: 1_000,
            approval_bps: 6_600,
            experience_stake: units_per_keeper.saturating_mul(100),
            other_stake: units_per_keeper.saturating_mul(1_000),
            slash_bps: 5_000,
            challenge_window: WEEK,
            reject_policy: RejectPolicy::Refund,
            max_words: Text::MAX_WORDS as u32,
            max_items: 1_000,
        }
    }

    /// Sets the stakes for experiences and for other proposals, in base units.
    pub fn stakes(mut self, experience: u128, other: u128) -> Self {
        (self.experience_stake, self.other_stake) = (experience, other);
        self
    }

    /// Sets what becomes of rejected stakes.
    pub fn reject_policy(mut self, policy: RejectPolicy) -> Self {
        self.reject_policy = policy;
        self
    }

    /// Sets a parameter.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a value that the parameter cannot have.
    pub fn set(mut self, parameter: Parameter, value: u64) -> Result<Self> {
        let out_of_range = Error::OutOfRange { field: "parameter" };
        let bps = u16::try_from(value).ok().filter(|bps| *bps <= 10_000);
        let small = u32::try_from(value).ok().filter(|value| *value > 0);
        match parameter {
            Parameter::Period if value > 0 => self.period = value,
            Parameter::Period => return Err(out_of_range),
            Parameter::Quorum => self.quorum_bps = bps.ok_or(out_of_range)?,
            Parameter::Approval => self.approval_bps = bps.ok_or(out_of_range)?,
            Parameter::Slash => self.slash_bps = bps.ok_or(out_of_range)?,
            Parameter::ChallengeWindow => self.challenge_window = value,
            Parameter::MaxWords => {
                let words = small.filter(|words| *words as usize <= Text::MAX_WORDS);
                self.max_words = words.ok_or(out_of_range)?;
            }
            Parameter::MaxItems => self.max_items = small.ok_or(out_of_range)?,
        }
        Ok(self)
    }

    /// A parameter.
    pub fn get(&self, parameter: Parameter) -> u64 {
        match parameter {
            Parameter::Period => self.period,
            Parameter::Quorum => self.quorum_bps.into(),
            Parameter::Approval => self.approval_bps.into(),
            Parameter::Slash => self.slash_bps.into(),
            Parameter::ChallengeWindow => self.challenge_window,
            Parameter::MaxWords => self.max_words.into(),
            Parameter::MaxItems => self.max_items.into(),
        }
    }
}

/// What happens to governance.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A proposal, with its stake, is made. Its number is [`Governance::len`] before it.
    Propose {
        /// Who makes it.
        proposer: Account,
        /// What it would do.
        kind: ProposalKind,
        /// First second of voting, not before now.
        start: u64,
        /// Power of all voters, fixed for this proposal.
        power: PowerSnapshot,
    },
    /// An account votes; its later vote replaces its earlier one.
    Vote {
        /// Number of the proposal.
        proposal: u64,
        /// Who votes.
        voter: Account,
        /// How.
        choice: Choice,
    },
    /// The votes are counted, once voting has ended.
    Finalize {
        /// Number of the proposal.
        proposal: u64,
    },
    /// An approved proposal is done; for an experience, its operations are now to be applied.
    Execute {
        /// Number of the proposal.
        proposal: u64,
        /// The library's state, which must be the base of an experience; not looked at for other kinds.
        state: Option<StateRoot>,
    },
    /// A verdict from outside: an approved proposal does harm.
    FindMalicious {
        /// Number of the proposal.
        proposal: u64,
    },
    /// The challenge window has ended: the stake of an approved or executed proposal goes back.
    Settle {
        /// Number of the proposal.
        proposal: u64,
    },
}

/// All proposals, by number.
#[derive(Debug, Clone, PartialEq)]
pub struct Governance {
    config: GovernanceConfig,
    proposals: Vec<Proposal>,
    /// Time of the last event.
    now: u64,
}

impl Governance {
    /// No proposals.
    pub fn new(config: GovernanceConfig) -> Self {
        Self { config, proposals: Vec::new(), now: 0 }
    }

    /// Takes an event at `now`, in Unix seconds, which never goes back.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a time before the last event, a start before now, a proposal without operations or a
    /// value that a parameter cannot have; [`Error::TooManyWords`]; [`Error::UnknownProposal`]; [`Error::StaleBase`]; [`Error::VotingClosed`] for a vote before the
    /// start or from the end on; [`Error::TooEarly`] to finalize or settle; [`Error::NoVotingPower`];
    /// [`Error::WrongState`]; [`Error::Overflow`]. Nothing has changed then.
    pub fn on(&mut self, now: u64, event: Event) -> Result<Vec<Effect>> {
        if now < self.now {
            return Err(Error::OutOfRange { field: "now" });
        }
        let effects = match event {
            Event::Propose { proposer, kind, start, power } => self.propose(now, proposer, kind, start, power),
            Event::Vote { proposal, voter, choice } => self.vote(now, proposal, voter, choice),
            Event::Finalize { proposal } => self.finalize(now, proposal),
            Event::Execute { proposal, state } => self.execute(proposal, state),
            Event::FindMalicious { proposal } => self.find_malicious(now, proposal),
            Event::Settle { proposal } => self.settle(now, proposal),
        }?;
        self.now = now;
        Ok(effects)
    }

    /// The rules as of now.
    pub fn config(&self) -> &GovernanceConfig {
        &self.config
    }

    /// A proposal by number.
    pub fn proposal(&self, number: u64) -> Option<&Proposal> {
        usize::try_from(number).ok().and_then(|number| self.proposals.get(number))
    }

    /// How many proposals were made.
    pub fn len(&self) -> u64 {
        self.proposals.len() as u64
    }

    /// Whether none was made.
    pub fn is_empty(&self) -> bool {
        self.proposals.is_empty()
    }

    fn propose(
        &mut self,
        now: u64,
        proposer: Account,
        kind: ProposalKind,
        start: u64,
        power: PowerSnapshot,
    ) -> Result<Vec<Effect>> {
        if start < now {
            return Err(Error::OutOfRange { field: "start" });
        }
        match &kind {
            ProposalKind::Experience { operations, .. } if operations.is_empty() => {
                return Err(Error::OutOfRange { field: "operations" });
            }
            ProposalKind::Experience { operations, .. } => {
                let max = self.config.max_words as usize;
                operations.iter().filter_map(Operation::draft).try_for_each(|draft| {
                    let got = draft.text.as_str().split(' ').count();
                    if got > max { Err(Error::TooManyWords { got, max }) } else { Ok(()) }
                })?;
            }
            ProposalKind::Parameter { parameter, value } => {
                self.config.clone().set(*parameter, *value)?;
            }
            _ => {}
        }
        let end = start.checked_add(self.config.period).ok_or(Error::Overflow)?;
        let stake = match kind {
            ProposalKind::Experience { .. } => self.config.experience_stake,
            _ => self.config.other_stake,
        };
        let effects = Effects::new(key(self.len())).lock(&proposer, stake).event(&proposer, "proposed");
        self.proposals.push(Proposal {
            proposer,
            kind,
            start,
            end,
            stake,
            rules: self.config.clone(),
            power,
            votes: BTreeMap::new(),
            status: Status::Voting,
            tally: Tally::default(),
            decided: 0,
            held: true,
        });
        Ok(effects.finish())
    }

    fn vote(&mut self, now: u64, number: u64, voter: Account, choice: Choice) -> Result<Vec<Effect>> {
        let proposal = self.in_state(number, &[Status::Voting])?;
        if now < proposal.start || now >= proposal.end {
            return Err(Error::VotingClosed);
        }
        let power = proposal.power.of(&voter);
        if power == 0 {
            return Err(Error::NoVotingPower);
        }
        let effects = Effects::new(key(number)).event(&voter, "voted");
        if let Some(before) = proposal.votes.insert(voter, choice) {
            *proposal.tally.side(before) -= power;
        }
        *proposal.tally.side(choice) += power;
        let cast = proposal.tally.yes + proposal.tally.no + proposal.tally.abstain;
        let (turnout, _) = div_rem(cast, 10_000, proposal.power.supply)?;
        // At most 10,000, since the power does not exceed the supply.
        proposal.tally.turnout_bps = turnout as u16;
        Ok(effects.finish())
    }

    fn finalize(&mut self, now: u64, number: u64) -> Result<Vec<Effect>> {
        let proposal = self.in_state(number, &[Status::Voting])?;
        let GovernanceConfig { quorum_bps, approval_bps, reject_policy, .. } = proposal.rules;
        if now < proposal.end {
            return Err(Error::TooEarly { until: proposal.end });
        }
        let status = outcome(&proposal.tally, proposal.power.supply, quorum_bps, approval_bps);
        let (proposer, stake) = (&proposal.proposer, proposal.stake);
        let effects = Effects::new(key(number)).event(proposer, status.as_str());
        let effects = match (status, reject_policy) {
            (Status::Approved, _) => effects,
            (Status::Rejected, RejectPolicy::Burn) => effects.burn(proposer, stake),
            (Status::Rejected, RejectPolicy::Redistribute) => {
                let against = proposal.votes.iter().filter(|(_, choice)| **choice == Choice::No);
                let (accounts, power): (Vec<&Account>, Vec<u128>) =
                    against.map(|(account, _)| (account, proposal.power.of(account))).unzip();
                let shares = largest_remainder(stake, &power)?;
                accounts.into_iter().zip(shares).fold(effects, |effects, (account, share)| effects.pay(account, share))
            }
            _ => effects.release(proposer, stake),
        };
        proposal.held = status == Status::Approved;
        (proposal.status, proposal.decided) = (status, now);
        Ok(effects.finish())
    }

    fn execute(&mut self, number: u64, state: Option<StateRoot>) -> Result<Vec<Effect>> {
        let config = self.config.clone();
        let proposal = self.in_state(number, &[Status::Approved])?;
        let effects = Effects::new(key(number)).event(&proposal.proposer, "executed");
        let (config, effects) = match &proposal.kind {
            ProposalKind::Parameter { parameter, value } => (config.set(*parameter, *value)?, effects),
            ProposalKind::Treasury { to, amount } => {
                (config, effects.under(format!("treasury/{number}")).pay(to, *amount))
            }
            ProposalKind::Experience { base, .. } if state != Some(*base) => return Err(Error::StaleBase),
            ProposalKind::Experience { .. } | ProposalKind::Upgrade { .. } => (config, effects),
        };
        proposal.status = Status::Executed;
        self.config = config;
        Ok(effects.finish())
    }

    fn find_malicious(&mut self, now: u64, number: u64) -> Result<Vec<Effect>> {
        let proposal = self.in_state(number, &[Status::Approved, Status::Executed])?;
        let GovernanceConfig { challenge_window, slash_bps, .. } = proposal.rules;
        if !proposal.held {
            return Err(Error::WrongState { state: "settled" });
        }
        if now >= proposal.decided.saturating_add(challenge_window) {
            return Err(Error::VotingClosed);
        }
        let burn = ceil_bps(proposal.stake, slash_bps)?;
        let effects = Effects::new(key(number)).event(&proposal.proposer, "malicious");
        let effects = effects.burn(&proposal.proposer, burn).release(&proposal.proposer, proposal.stake - burn);
        (proposal.status, proposal.held) = (Status::Malicious, false);
        Ok(effects.finish())
    }

    fn settle(&mut self, now: u64, number: u64) -> Result<Vec<Effect>> {
        let proposal = self.in_state(number, &[Status::Approved, Status::Executed])?;
        if !proposal.held {
            return Err(Error::WrongState { state: "settled" });
        }
        let until = proposal.decided.saturating_add(proposal.rules.challenge_window);
        if now < until {
            return Err(Error::TooEarly { until });
        }
        proposal.held = false;
        Ok(Effects::new(key(number)).release(&proposal.proposer, proposal.stake).finish())
    }

    fn in_state(&mut self, number: u64, states: &[Status]) -> Result<&mut Proposal> {
        let proposal = usize::try_from(number).ok().and_then(|index| self.proposals.get_mut(index));
        let proposal = proposal.ok_or(Error::UnknownProposal { number })?;
        if states.contains(&proposal.status) {
            Ok(proposal)
        } else {
            Err(Error::WrongState { state: proposal.status.as_str() })
        }
    }
}

impl Tally {
    fn side(&mut self, choice: Choice) -> &mut u128 {
        match choice {
            Choice::Yes => &mut self.yes,
            Choice::No => &mut self.no,
            Choice::Abstain => &mut self.abstain,
        }
    }
}

/// Boundaries pass: exactly the quorum is quorate, exactly the approval approves.
fn outcome(tally: &Tally, supply: u128, quorum_bps: u16, approval_bps: u16) -> Status {
    // Each sum is at most the supply.
    let decided = tally.yes + tally.no;
    let cast = decided + tally.abstain;
    if decided == 0 || compare(cast, 10_000, quorum_bps.into(), supply).is_lt() {
        Status::NotQuorate
    } else if compare(tally.yes, 10_000, approval_bps.into(), decided).is_ge() {
        Status::Approved
    } else {
        Status::Rejected
    }
}

fn key(number: u64) -> String {
    format!("proposal/{number}")
}

const WEEK: u64 = 604_800;
