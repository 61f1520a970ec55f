//! The random value that decides who is audited: commit, close, reveal.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::contribution::Contribution;
use crate::error::{Error, Result};
use crate::hash::{ChainId, Hash, PartyId, Tag};
use crate::units::Epoch;

/// The revealed random value of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beacon {
    epoch: Epoch,
    value: Hash,
}

impl Beacon {
    /// A beacon whose value was agreed on elsewhere, for instance read back from a settled block.
    pub const fn new(epoch: Epoch, value: Hash) -> Self {
        Self { epoch, value }
    }

    /// Its epoch.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its 32 bytes.
    pub const fn value(&self) -> &Hash {
        &self.value
    }
}

/// First phase of a beacon: contributions are committed to.
///
/// ```
/// use hanzo_poai::{ChainId, Commitments, Contribution, Epoch, PartyId};
///
/// let (chain, epoch) = (ChainId::new([1; 32]), Epoch::new(7));
/// let party = |i: u8| PartyId::new([i; 32]);
/// let secret = |i: u8| [100 + i; 32]; // 32 fresh random bytes
///
/// let mut commitments = Commitments::new(chain, epoch);
/// for i in 0..4 {
///     commitments.commit(Contribution::new(chain, epoch, party(i), &secret(i)))?;
/// }
/// let mut round = commitments.close([9; 32], None, 3)?;
/// for i in 0..3 {
///     round.reveal(&party(i), &secret(i))?;
/// }
/// let outcome = round.finish()?; // three of four are enough
/// assert_eq!(outcome.beacon().epoch(), epoch);
/// assert_eq!(outcome.withheld()[0].party, party(3));
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitments {
    chain: ChainId,
    epoch: Epoch,
    parties: BTreeMap<PartyId, Contribution>,
}

impl Commitments {
    /// An empty round for an epoch.
    pub const fn new(chain: ChainId, epoch: Epoch) -> Self {
        Self { chain, epoch, parties: BTreeMap::new() }
    }

    /// Takes a contribution whose signature the caller has checked.
    ///
    /// # Errors
    /// [`Error::WrongChain`], [`Error::Epoch`], or [`Error::Duplicate`] for a second one of a party.
    pub fn commit(&mut self, contribution: Contribution) -> Result<()> {
        if contribution.chain != self.chain {
            return Err(Error::WrongChain);
        }
        if contribution.epoch != self.epoch {
            let (epoch, now) = (contribution.epoch.get(), self.epoch.get());
            return Err(Error::Epoch { epoch, earliest: now, latest: now });
        }
        if self.parties.contains_key(&contribution.party) {
            return Err(Error::Duplicate("contribution"));
        }
        self.parties.insert(contribution.party, contribution);
        Ok(())
    }

    /// Closes the commitments. `finality` is the hash of a block that is final before any reveal and
    /// lists the commitments; `external` is the hash of an outside random value the caller has checked
    /// (never the only source). At least `min_reveals` parties must reveal, 2 or more; 3 is a start.
    ///
    /// # Errors
    /// [`Error::TooFewReveals`] when `min_reveals` is below 2 or above the number of commitments.
    pub fn close(self, finality: Hash, external: Option<Hash>, min_reveals: u32) -> Result<BeaconRound> {
        let (need, got) = (u64::from(min_reveals.max(2)), self.parties.len() as u64);
        if min_reveals < 2 || got < need {
            return Err(Error::TooFewReveals { need, got });
        }
        let parties = self.parties.into_iter().map(|(party, c)| (party, (c, None))).collect();
        let external = external.unwrap_or([0; 32]);
        Ok(BeaconRound { chain: self.chain, epoch: self.epoch, finality, external, min_reveals, parties })
    }
}

/// Second phase of a beacon: secrets are revealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeaconRound {
    chain: ChainId,
    epoch: Epoch,
    finality: Hash,
    external: Hash,
    min_reveals: u32,
    parties: BTreeMap<PartyId, (Contribution, Option<[u8; 32]>)>,
}

impl BeaconRound {
    /// Takes the secret of a party. A repeated reveal changes nothing.
    ///
    /// # Errors
    /// [`Error::BadReveal`] when the party did not commit to this secret.
    pub fn reveal(&mut self, party: &PartyId, opening: &[u8; 32]) -> Result<()> {
        match self.parties.get_mut(party) {
            Some((contribution, slot)) if contribution.opens_to(opening) => {
                *slot = Some(*opening);
                Ok(())
            }
            _ => Err(Error::BadReveal),
        }
    }

    /// Ends the reveals and mixes the beacon. Each of `b` colluding parties that reveal last may choose
    /// to withhold, so they lift an event of probability `q` to at most `min(1, 2^b q)`
    /// ([`theory::bias_bound`](crate::theory::bias_bound)).
    ///
    /// # Errors
    /// [`Error::TooFewReveals`]; the round stays open.
    pub fn finish(&self) -> Result<BeaconOutcome> {
        let withheld: Vec<Contribution> =
            self.parties.values().filter(|(_, opening)| opening.is_none()).map(|p| p.0).collect();
        let got = (self.parties.len() - withheld.len()) as u64;
        let need = u64::from(self.min_reveals);
        if got < need {
            return Err(Error::TooFewReveals { need, got });
        }
        let mut body = Vec::with_capacity(self.parties.len() * 65);
        for (party, (_, opening)) in &self.parties {
            body.extend_from_slice(party.as_bytes());
            body.push(opening.is_some().into());
            body.extend_from_slice(&opening.unwrap_or([0; 32]));
        }
        let value = Tag::new("beacon").hash(&[
            self.chain.as_bytes(),
            &self.epoch.get().to_be_bytes(),
            &self.finality,
            &self.external,
            &(self.parties.len() as u32).to_be_bytes(),
            &body,
        ]);
        Ok(BeaconOutcome { beacon: Beacon { epoch: self.epoch, value }, withheld })
    }
}

/// A mixed beacon and who withheld.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeaconOutcome {
    beacon: Beacon,
    withheld: Vec<Contribution>,
}

impl BeaconOutcome {
    /// The beacon.
    pub const fn beacon(&self) -> &Beacon {
        &self.beacon
    }

    /// Contributions that were committed to and not revealed, by party.
    pub fn withheld(&self) -> &[Contribution] {
        &self.withheld
    }
}
