use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Challenge, History, Listing, Status, Submission};
use crate::content::check_printable;
use crate::effect::Effects;
use crate::merkle::{Hash, Log, leaf_hash};
use crate::wide::ceil_bps;
use crate::{Account, Effect, Error, Result};

/// Rules of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    bond: u128,
    challenger_bond: u128,
    slash_bps: u16,
    min_quality: u16,
    fetch_quality: u16,
    min_voters: usize,
    challenge_period: u64,
    withdraw_lock: u64,
}

impl RegistryConfig {
    /// Defaults where a token has so many base units: bonds of 25 tokens, half burned when slashed, challenges below
    /// quality 300, files fetched from quality 500, active from three voters, a week for a verdict, a week before a bond
    /// can be taken back.
    pub fn new(units_per_token: u128) -> Self {
        let bond = units_per_token.saturating_mul(25);
        Self {
            bond,
            challenger_bond: bond,
            slash_bps: 5_000,
            min_quality: 300,
            fetch_quality: 500,
            min_voters: 3,
            challenge_period: WEEK,
            withdraw_lock: WEEK,
        }
    }

    /// Sets the least bonds of submitters and challengers, in base units.
    pub fn bonds(mut self, submitter: u128, challenger: u128) -> Self {
        (self.bond, self.challenger_bond) = (submitter, challenger);
        self
    }

    /// Sets the burned share of a lost bond, in basis points.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] above 10,000.
    pub fn slash_bps(mut self, bps: u16) -> Result<Self> {
        if bps > 10_000 {
            return Err(Error::OutOfRange { field: "slash_bps" });
        }
        self.slash_bps = bps;
        Ok(self)
    }

    /// Sets the quality below which an entry can be challenged, and from which its file is fetched; 0..=1000.
    pub fn qualities(mut self, min: u16, fetch: u16) -> Self {
        (self.min_quality, self.fetch_quality) = (min, fetch);
        self
    }

    /// Sets how many must vote before an entry is active.
    pub fn min_voters(mut self, voters: usize) -> Self {
        self.min_voters = voters;
        self
    }

    /// Sets the seconds for a verdict, and before a withdrawal.
    pub fn periods(mut self, challenge: u64, withdraw: u64) -> Self {
        (self.challenge_period, self.withdraw_lock) = (challenge, withdraw);
        self
    }
}

/// What happens to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A new entry. Its number is [`Registry::len`] before it.
    Submit(Submission),
    /// Someone other than the submitter scores an entry; the latest vote counts.
    Vote {
        /// Number of the entry.
        entry: u64,
        /// Who votes.
        voter: Account,
        /// 0..=1000.
        score: u16,
        /// Weight, more than 0.
        stake: u128,
    },
    /// Someone says that an active entry of low quality does harm.
    Challenge {
        /// Number of the entry.
        entry: u64,
        /// Who challenges.
        challenger: Account,
        /// Base units.
        bond: u128,
        /// Digest of the evidence.
        evidence: [u8; 32],
    },
    /// A verdict from outside, before the deadline.
    Resolve {
        /// Number of the entry.
        entry: u64,
        /// Whether the challenger is right.
        upheld: bool,
    },
    /// The deadline of a challenge passed without verdict.
    Expire {
        /// Number of the entry.
        entry: u64,
    },
    /// The submitter takes an entry and its bond back.
    Withdraw {
        /// Number of the entry.
        entry: u64,
        /// Who asks.
        by: Account,
    },
}

/// Entries whose priors are to be aggregated, with weights that the registry vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The schema of all of them.
    pub schema: u64,
    /// The entries by number.
    pub entries: Vec<Selected>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Its number.
    pub entry: u64,
    /// Who submitted it.
    pub submitter: Account,
    /// Bond times quality.
    pub weight: u128,
}

/// All entries, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    config: RegistryConfig,
    entries: Vec<Listing>,
    /// Entries that are not final, by commitment and schema.
    live: BTreeMap<(Hash, u64), u64>,
    /// Time of the last event.
    now: u64,
}

impl Registry {
    /// No entries.
    pub fn new(config: RegistryConfig) -> Self {
        Self { config, entries: Vec::new(), live: BTreeMap::new(), now: 0 }
    }

    /// Takes an event at `now`, in Unix seconds, which never goes back.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a time before the last event, a score above 1000, a stake of 0 or a bad CID text;
    /// [`Error::InsufficientBond`]; [`Error::RootMismatch`] for a state that is not the commitment's;
    /// [`Error::AlreadyLive`]; [`Error::UnknownEntry`]; [`Error::WrongState`]; [`Error::SelfVote`];
    /// [`Error::QualityBound`]; [`Error::EvidenceRefused`]; [`Error::VotingClosed`] for a late verdict;
    /// [`Error::TooEarly`]; [`Error::NotSubmitter`]; [`Error::Overflow`]. Nothing has changed then.
    pub fn on(&mut self, now: u64, event: Event) -> Result<Vec<Effect>> {
        if now < self.now {
            return Err(Error::OutOfRange { field: "now" });
        }
        let effects = match event {
            Event::Submit(submission) => self.submit(now, submission),
            Event::Vote { entry, voter, score, stake } => self.vote(entry, voter, score, stake),
            Event::Challenge { entry, challenger, bond, evidence } => {
                self.challenge(now, entry, challenger, bond, evidence)
            }
            Event::Resolve { entry, upheld } => self.resolve(now, entry, upheld),
            Event::Expire { entry } => self.expire(now, entry),
            Event::Withdraw { entry, by } => self.withdraw(now, entry, &by),
        }?;
        self.now = now;
        Ok(effects)
    }

    /// An entry by number.
    pub fn entry(&self, number: u64) -> Option<&Listing> {
        usize::try_from(number).ok().and_then(|number| self.entries.get(number))
    }

    /// How many entries there ever were.
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Active entries whose files are good enough to fetch: the best first, then by number.
    pub fn to_fetch(&self) -> Vec<u64> {
        let good = (0..).zip(&self.entries).filter_map(|(number, entry): (u64, _)| {
            let quality = entry.quality.filter(|quality| *quality >= self.config.fetch_quality)?;
            (entry.status == Status::Active).then_some((core::cmp::Reverse(quality), number))
        });
        let mut good: Vec<_> = good.collect();
        good.sort_unstable();
        good.into_iter().map(|(_, number)| number).collect()
    }

    /// What a submitter has done so far.
    pub fn history(&self, submitter: &Account) -> History {
        let own = || self.entries.iter().filter(|entry| entry.submission.submitter == *submitter);
        let qualities: Vec<u64> = own().filter_map(|entry| entry.quality).map(u64::from).collect();
        let mean = qualities.iter().sum::<u64>().checked_div(qualities.len() as u64);
        History {
            entries: own().count() as u64,
            slashed: own().filter(|entry| entry.status == Status::Slashed).count() as u64,
            // A mean of numbers up to 1000.
            mean_quality: mean.map(|mean| mean as u16),
        }
    }

    /// Weights for an aggregate over entries, each counted once: bond times quality, as the registry knows them.
    ///
    /// # Errors
    /// [`Error::NoWeight`] for no entries; [`Error::UnknownEntry`]; [`Error::WrongState`] unless active;
    /// [`Error::QualityBound`] below the least quality; [`Error::SchemaMismatch`]; [`Error::Overflow`].
    pub fn aggregate(&self, numbers: &[u64]) -> Result<Selection> {
        let numbers: BTreeSet<u64> = numbers.iter().copied().collect();
        let mut schema = None;
        let mut entries = Vec::new();
        for number in numbers {
            let entry = self.entry(number).ok_or(Error::UnknownEntry { number })?;
            if entry.status != Status::Active {
                return Err(Error::WrongState { state: entry.status.as_str() });
            }
            let quality = entry.quality.unwrap_or(0);
            if quality < self.config.min_quality {
                return Err(Error::QualityBound { quality });
            }
            if *schema.get_or_insert(entry.submission.schema) != entry.submission.schema {
                return Err(Error::SchemaMismatch);
            }
            let weight = entry.submission.bond.checked_mul(quality.into()).ok_or(Error::Overflow)?;
            entries.push(Selected { entry: number, submitter: entry.submission.submitter.clone(), weight });
        }
        Ok(Selection { schema: schema.ok_or(Error::NoWeight)?, entries })
    }

    fn submit(&mut self, now: u64, submission: Submission) -> Result<Vec<Effect>> {
        if submission.bond < self.config.bond {
            return Err(Error::InsufficientBond { got: submission.bond, want: self.config.bond });
        }
        check_printable("cid", &submission.cid, 1)?;
        if submission.state.commitment() != submission.commitment {
            return Err(Error::RootMismatch);
        }
        let name = (submission.commitment, submission.schema);
        if let Some(number) = self.live.get(&name) {
            return Err(Error::AlreadyLive { number: *number });
        }
        let number = self.len();
        let effects = Effects::new(bond_key(number)).lock(&submission.submitter, submission.bond);
        let effects = effects.event(&submission.submitter, "submitted");
        self.live.insert(name, number);
        self.entries.push(Listing {
            submission,
            status: Status::Pending,
            submitted: now,
            votes: BTreeMap::new(),
            quality: None,
            challenge: None,
            challenges: 0,
            refused: BTreeSet::new(),
        });
        Ok(effects.finish())
    }

    fn vote(&mut self, number: u64, voter: Account, score: u16, stake: u128) -> Result<Vec<Effect>> {
        let min_voters = self.config.min_voters;
        let entry = self.in_state(number, &[Status::Pending, Status::Active])?;
        if voter == entry.submission.submitter {
            return Err(Error::SelfVote);
        }
        if score > 1_000 {
            return Err(Error::OutOfRange { field: "score" });
        }
        if stake == 0 {
            return Err(Error::OutOfRange { field: "stake" });
        }
        let before = entry.votes.get(&voter).map_or(0, |(_, stake)| *stake);
        let others: u128 = entry.votes.values().map(|(_, stake)| stake).sum::<u128>() - before;
        others.checked_add(stake).ok_or(Error::Overflow)?;
        let effects = Effects::new(bond_key(number)).event(&voter, "voted");
        entry.votes.insert(voter, (score, stake));
        entry.quality = weighted_median(&entry.votes);
        let ready = entry.status == Status::Pending && entry.votes.len() >= min_voters;
        let effects = match ready {
            true => {
                entry.status = Status::Active;
                effects.event(&entry.submission.submitter, "active")
            }
            false => effects,
        };
        Ok(effects.finish())
    }

    fn challenge(
        &mut self,
        now: u64,
        number: u64,
        challenger: Account,
        bond: u128,
        evidence: [u8; 32],
    ) -> Result<Vec<Effect>> {
        let RegistryConfig { min_quality, challenger_bond, challenge_period, .. } = self.config;
        let entry = self.in_state(number, &[Status::Active])?;
        if challenger == entry.submission.submitter {
            return Err(Error::SelfVote);
        }
        if let Some(quality) = entry.quality.filter(|quality| *quality >= min_quality) {
            return Err(Error::QualityBound { quality });
        }
        if bond < challenger_bond {
            return Err(Error::InsufficientBond { got: bond, want: challenger_bond });
        }
        if entry.refused.contains(&evidence) {
            return Err(Error::EvidenceRefused);
        }
        let deadline = now.checked_add(challenge_period).ok_or(Error::Overflow)?;
        let effects = Effects::new(challenge_key(number, entry.challenges)).lock(&challenger, bond);
        let effects = effects.event(&challenger, "challenged");
        entry.challenge = Some(Challenge { challenger, bond, evidence, deadline });
        entry.status = Status::Challenged;
        Ok(effects.finish())
    }

    fn resolve(&mut self, now: u64, number: u64, upheld: bool) -> Result<Vec<Effect>> {
        let slash_bps = self.config.slash_bps;
        let entry = self.in_state(number, &[Status::Challenged])?;
        let challenge = entry.challenge.clone().ok_or(Error::WrongState { state: "active" })?;
        if now >= challenge.deadline {
            return Err(Error::VotingClosed);
        }
        let Challenge { challenger, bond: stake, evidence, .. } = challenge;
        let own = challenge_key(number, entry.challenges);
        let Submission { submitter, bond, commitment, schema, .. } = &entry.submission;
        let effects = if upheld {
            let burn = ceil_bps(*bond, slash_bps)?;
            let effects = Effects::new(bond_key(number)).burn(submitter, burn).pay(&challenger, bond - burn);
            let effects = effects.event(submitter, "slashed").under(own).release(&challenger, stake);
            entry.status = Status::Slashed;
            let name = (*commitment, *schema);
            entry.challenges += 1;
            entry.challenge = None;
            self.live.remove(&name);
            effects
        } else {
            let burn = ceil_bps(stake, slash_bps)?;
            entry.status = Status::Active;
            entry.refused.insert(evidence);
            entry.challenges += 1;
            entry.challenge = None;
            let effects = Effects::new(own).burn(&challenger, burn).release(&challenger, stake - burn);
            effects.event(&challenger, "challenge refused")
        };
        Ok(effects.finish())
    }

    fn expire(&mut self, now: u64, number: u64) -> Result<Vec<Effect>> {
        let entry = self.in_state(number, &[Status::Challenged])?;
        let Challenge { challenger, bond, deadline, .. } =
            entry.challenge.clone().ok_or(Error::WrongState { state: "active" })?;
        if now < deadline {
            return Err(Error::TooEarly { until: deadline });
        }
        let effects = Effects::new(challenge_key(number, entry.challenges)).release(&challenger, bond);
        entry.status = Status::Active;
        entry.challenge = None;
        entry.challenges += 1;
        Ok(effects.event(&challenger, "challenge expired").finish())
    }

    fn withdraw(&mut self, now: u64, number: u64, by: &Account) -> Result<Vec<Effect>> {
        let RegistryConfig { min_quality, withdraw_lock, .. } = self.config;
        let entry = self.in_state(number, &[Status::Pending, Status::Active])?;
        if *by != entry.submission.submitter {
            return Err(Error::NotSubmitter);
        }
        let until = entry.submitted.saturating_add(withdraw_lock);
        if now < until {
            return Err(Error::TooEarly { until });
        }
        let low = entry.quality.filter(|quality| entry.status == Status::Active && *quality < min_quality);
        if let Some(quality) = low {
            return Err(Error::QualityBound { quality });
        }
        entry.status = Status::Withdrawn;
        let Submission { commitment, schema, bond, .. } = entry.submission;
        self.live.remove(&(commitment, schema));
        Ok(Effects::new(bond_key(number)).release(by, bond).event(by, "withdrawn").finish())
    }

    fn in_state(&mut self, number: u64, states: &[Status]) -> Result<&mut Listing> {
        let entry = usize::try_from(number).ok().and_then(|index| self.entries.get_mut(index));
        let entry = entry.ok_or(Error::UnknownEntry { number })?;
        if states.contains(&entry.status) { Ok(entry) } else { Err(Error::WrongState { state: entry.status.as_str() }) }
    }
}

/// Root over the elements of an aggregate, some of them absent: the RFC 9162 root, in order of index, of the leaves
/// `HXA1` || schema || index || 1 || value, or 0 and a value of 0 where absent, integers as eight bytes big-endian.
pub fn aggregate_root(schema: u64, values: impl IntoIterator<Item = Option<i64>>) -> Hash {
    let leaf = |(index, value): (u64, Option<i64>)| {
        let mut data = b"HXA1".to_vec();
        data.extend(schema.to_be_bytes());
        data.extend(index.to_be_bytes());
        data.push(value.is_some().into());
        data.extend(value.unwrap_or(0).to_be_bytes());
        leaf_hash(&data)
    };
    Log::from_leaves((0..).zip(values).map(leaf).collect()).root()
}

/// The least score with at least half of the stake at or below it.
fn weighted_median(votes: &BTreeMap<Account, (u16, u128)>) -> Option<u16> {
    let mut sorted: Vec<(u16, u128)> = votes.values().copied().collect();
    sorted.sort_unstable();
    let total: u128 = sorted.iter().map(|(_, stake)| stake).sum();
    let mut below = 0;
    let median = sorted.iter().find(|(_, stake)| {
        below += stake;
        // 2 below >= total, without the factor.
        below >= total - below
    });
    median.map(|(score, _)| *score)
}

fn bond_key(number: u64) -> String {
    format!("entry/{number}")
}

fn challenge_key(number: u64, challenge: u64) -> String {
    format!("challenge/{number}/{challenge}")
}

const WEEK: u64 = 604_800;
