//! Who loses how many basis points. Balances live elsewhere: an order is applied by whoever holds the stakes.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::evidence::{Evidence, EvidenceKind};
use crate::hash::{EvidenceHash, PartyId};
use crate::units::{BasisPoints, Epoch};

/// Family of an offence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[repr(u8)]
#[non_exhaustive]
pub enum Family {
    /// A wrong output.
    WrongOutput = 0,
    /// Two bodies at one place of a chain.
    Equivocation = 1,
    /// One operator under several names.
    Sybil = 2,
    /// A signed attestation that cannot be true.
    InvalidAttestation = 3,
    /// An accepted job that was not delivered.
    Timeout = 4,
    /// A validator's double vote, proposal, vertex or acknowledgement.
    Consensus = 5,
    /// Quality below its threshold.
    Quality = 6,
    /// A verifier's wrong verdict.
    Verdict = 7,
    /// A withheld share of the beacon.
    Beacon = 8,
    /// A verdict that was not revealed.
    VerdictWithheld = 9,
}

#[cfg(feature = "serde")]
impl Family {
    /// All families, in their order.
    pub(crate) const ALL: [Self; FAMILIES] = [
        Self::WrongOutput,
        Self::Equivocation,
        Self::Sybil,
        Self::InvalidAttestation,
        Self::Timeout,
        Self::Consensus,
        Self::Quality,
        Self::Verdict,
        Self::Beacon,
        Self::VerdictWithheld,
    ];
}

/// Basis points by family, and what follows from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlashPolicy {
    bps: [BasisPoints; FAMILIES],
    pub(crate) reward: BasisPoints,
    pub(crate) free_timeouts: u32,
    pub(crate) contest_ms: u64,
}

impl SlashPolicy {
    /// Other basis points for a family.
    #[must_use]
    pub fn with(mut self, family: Family, bps: BasisPoints) -> Self {
        if let Some(slot) = self.bps.get_mut(family as usize) {
            *slot = bps;
        }
        self
    }

    /// The reporter's share of what is slashed. Below 100 %, so that reporting oneself always costs.
    ///
    /// # Errors
    /// [`Error::AboveLimit`] for 10,000.
    pub fn reward(mut self, reward: BasisPoints) -> Result<Self> {
        if reward == BasisPoints::ALL {
            return Err(Error::AboveLimit { amount: 10_000, limit: 9_999 });
        }
        self.reward = reward;
        Ok(self)
    }

    /// Timeouts that cost nothing, for each party and epoch: censorship must not slash.
    #[must_use]
    pub const fn free_timeouts(mut self, free_timeouts: u32) -> Self {
        self.free_timeouts = free_timeouts;
        self
    }

    /// How long a statistical conviction may be contested before its order is applied.
    #[must_use]
    pub const fn contest_ms(mut self, contest_ms: u64) -> Self {
        self.contest_ms = contest_ms;
        self
    }

    /// Basis points of a family.
    pub fn bps(&self, family: Family) -> BasisPoints {
        self.bps.get(family as usize).copied().unwrap_or_default()
    }
}

impl Default for SlashPolicy {
    /// Wrong output, equivocation, sybil and consensus 10,000; invalid attestation and verdict 5,000;
    /// timeout and beacon 1,000; quality 500; withheld verdict 100. Reward 5,000, one free timeout, 24
    /// hours to contest.
    fn default() -> Self {
        let bps = [10_000, 10_000, 10_000, 5_000, 1_000, 10_000, 500, 5_000, 1_000, 100];
        Self {
            bps: bps.map(BasisPoints::capped),
            reward: BasisPoints::capped(5_000),
            free_timeouts: 1,
            contest_ms: 86_400_000,
        }
    }
}

/// What to take from a party's stake at the start of an epoch, bonded and unbonding.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct SlashOrder {
    /// Who is slashed.
    pub party: PartyId,
    /// The epoch of the offence, whose opening stake the basis points refer to.
    pub epoch: Epoch,
    /// Family of the offence.
    pub family: Family,
    /// How much more than before; may be 0.
    pub bps: BasisPoints,
    /// Hash of the evidence.
    pub evidence: EvidenceHash,
    /// Who submitted it.
    pub reporter: PartyId,
    /// The reporter's share of the amount slashed.
    pub reward_bps: BasisPoints,
    /// Milliseconds the order waits while it may be contested: 0 for a proof, more for a statistical
    /// conviction, which suspends the party at once all the same.
    pub contest_ms: u64,
}

/// All offences known, by party and epoch.
///
/// ```
/// use hanzo_poai::{Epoch, Evidence, Family, PartyId, Registry, SlashPolicy};
///
/// let validator = PartyId::new([7; 32]);
/// let double_vote = Evidence::outside(
///     Family::Consensus, validator, Epoch::new(3), b"two votes", |_, _, proof| proof == b"two votes",
/// )?;
/// let mut registry = Registry::new(SlashPolicy::default());
/// let order = registry.submit(&double_vote, PartyId::new([8; 32]))?;
/// assert_eq!(order.bps.get(), 10_000);
/// assert!(registry.submit(&double_vote, PartyId::new([9; 32])).is_err());
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    policy: SlashPolicy,
    seen: BTreeSet<EvidenceHash>,
    ledger: BTreeMap<(PartyId, Epoch), Charges>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Charges {
    /// Basis points of each piece of evidence, by family; the largest of a family counts.
    by_family: BTreeMap<Family, BTreeMap<EvidenceHash, BasisPoints>>,
    timeouts: u32,
}

impl Charges {
    fn total(&self) -> BasisPoints {
        let largest =
            |bps: &BTreeMap<EvidenceHash, BasisPoints>| bps.values().max().map_or(0, |bps| u32::from(bps.get()));
        BasisPoints::capped(self.by_family.values().map(largest).sum())
    }
}

impl Registry {
    /// An empty registry.
    pub const fn new(policy: SlashPolicy) -> Self {
        Self { policy, seen: BTreeSet::new(), ledger: BTreeMap::new() }
    }

    /// Takes evidence and says what more it costs. For each party and epoch the largest basis points of a
    /// family count, and families add up to at most 10,000; the totals do not depend on the order of
    /// submission.
    ///
    /// # Errors
    /// [`Error::DuplicateEvidence`].
    pub fn submit(&mut self, evidence: &Evidence, reporter: PartyId) -> Result<SlashOrder> {
        let (party, epoch, family) = (*evidence.party(), evidence.epoch(), evidence.family());
        let hash = evidence.hash();
        let free = family == Family::Timeout && self.timeouts(&party, epoch) < self.policy.free_timeouts;
        let charge = if free { BasisPoints::ZERO } else { self.policy.bps(family) };
        let bps = self.charge(party, epoch, family, charge, hash)?;
        let statistical = evidence.kind() == EvidenceKind::Conviction;
        Ok(SlashOrder {
            party,
            epoch,
            family,
            bps,
            evidence: hash,
            reporter,
            reward_bps: self.policy.reward,
            contest_ms: if statistical { self.policy.contest_ms } else { 0 },
        })
    }

    /// Takes back the charge of a conviction whose contest was won, and says how much less the party loses. The
    /// evidence is not taken again.
    ///
    /// # Errors
    /// [`Error::NoOffence`] for evidence that charged this party nothing in this epoch.
    pub fn void(&mut self, party: &PartyId, epoch: Epoch, evidence: &EvidenceHash) -> Result<BasisPoints> {
        let charges = self.ledger.get_mut(&(*party, epoch)).ok_or(Error::NoOffence)?;
        let before = charges.total();
        let found = charges.by_family.values_mut().find_map(|family| family.remove(evidence));
        found.ok_or(Error::NoOffence)?;
        BasisPoints::new(before.get() - charges.total().get())
    }

    /// Basis points a party has lost for an epoch.
    pub fn total(&self, party: &PartyId, epoch: Epoch) -> BasisPoints {
        self.ledger.get(&(*party, epoch)).map(Charges::total).unwrap_or_default()
    }

    fn timeouts(&self, party: &PartyId, epoch: Epoch) -> u32 {
        self.ledger.get(&(*party, epoch)).map_or(0, |charges| charges.timeouts)
    }

    /// Books a charge and returns the increase of the total.
    fn charge(
        &mut self,
        party: PartyId,
        epoch: Epoch,
        family: Family,
        bps: BasisPoints,
        evidence: EvidenceHash,
    ) -> Result<BasisPoints> {
        if !self.seen.insert(evidence) {
            return Err(Error::DuplicateEvidence);
        }
        let charges = self.ledger.entry((party, epoch)).or_default();
        let before = charges.total();
        charges.by_family.entry(family).or_default().insert(evidence, bps);
        charges.timeouts = charges.timeouts.saturating_add((family == Family::Timeout).into());
        let increase = charges.total().get() - before.get();
        Ok(BasisPoints::capped(increase.into()))
    }
}

const FAMILIES: usize = 10;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn bps(value: u64) -> BasisPoints {
        BasisPoints::new(value as u16).unwrap()
    }

    /// The shared vectors give basis points for each piece of evidence, so they drive the ledger inside.
    #[test]
    fn shared_registry_vectors() {
        let Ok(data) = std::env::var("HANZO_TEST_DATA") else {
            eprintln!("skipped: slash registry vectors; set HANZO_TEST_DATA to the folder of the SDK's test data");
            return;
        };
        let path = std::format!("{data}/poai/computed/verdict_effects.json");
        let text = std::fs::read_to_string(path).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        for sequence in json["slash_registry"].as_array().unwrap() {
            let mut registry = Registry::new(SlashPolicy::default());
            for row in sequence.as_array().unwrap() {
                let mut party = [0; 32];
                party[0] = row["party"].as_str().unwrap().as_bytes()[0];
                let family = match row["family"].as_str().unwrap() {
                    "wrong_output" => Family::WrongOutput,
                    "equivocation" => Family::Equivocation,
                    "sybil" => Family::Sybil,
                    "invalid_attestation" => Family::InvalidAttestation,
                    "timeout" => Family::Timeout,
                    "quality" => Family::Quality,
                    "verdict" => Family::Verdict,
                    other => panic!("family {other}"),
                };
                let hash = hex::decode(row["evidence"].as_str().unwrap()).unwrap();
                let hash: [u8; 32] = hash.try_into().unwrap();
                let order = registry.charge(
                    party.into(),
                    Epoch::new(row["epoch"].as_u64().unwrap()),
                    family,
                    bps(row["bps"].as_u64().unwrap()),
                    hash.into(),
                );
                if row["duplicate"].as_bool().unwrap() {
                    assert_eq!(order, Err(Error::DuplicateEvidence));
                } else {
                    assert_eq!(order, Ok(bps(row["order_bps"].as_u64().unwrap())), "{row}");
                }
            }
        }
    }

    #[test]
    fn totals_do_not_depend_on_order() {
        let charges: Vec<(Family, u64)> = [
            (Family::Quality, 500),
            (Family::Timeout, 1_000),
            (Family::Verdict, 5_000),
            (Family::Verdict, 2_000),
            (Family::InvalidAttestation, 5_000),
        ]
        .to_vec();
        for shift in 0..charges.len() {
            let mut registry = Registry::new(SlashPolicy::default());
            let mut sum = 0;
            for (i, (family, value)) in charges.iter().cycle().skip(shift).take(5).enumerate() {
                let hash = EvidenceHash::new([i as u8; 32]);
                let (party, epoch) = (PartyId::new([1; 32]), Epoch::new(1));
                sum += registry.charge(party, epoch, *family, bps(*value), hash).unwrap().get();
            }
            assert_eq!(sum, 10_000);
            assert_eq!(registry.total(&PartyId::new([1; 32]), Epoch::new(1)), BasisPoints::ALL);
        }
    }
}
