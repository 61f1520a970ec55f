//! A party's share in the beacon.

use alloc::vec::Vec;

use crate::encoding::{Reader, Writer};
use crate::error::Result;
use crate::hash::{ChainId, Hash, PartyId, tagged};
use crate::signing::{Signable, SignedKind};
use crate::units::Epoch;

/// The commitment a party publishes to 32 secret bytes, and signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Contribution {
    /// The network.
    pub chain: ChainId,
    /// The epoch whose beacon it feeds.
    pub epoch: Epoch,
    /// The party.
    pub party: PartyId,
    /// Commitment to the secret.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_forms::hex32"))]
    pub commitment: Hash,
}

impl Contribution {
    /// The contribution of `party` with the secret `opening`, 32 fresh random bytes.
    pub fn new(chain: ChainId, epoch: Epoch, party: PartyId, opening: &[u8; 32]) -> Self {
        let commitment = commitment(&chain, epoch, &party, opening);
        Self { chain, epoch, party, commitment }
    }

    /// Whether `opening` is what was committed to.
    pub fn opens_to(&self, opening: &[u8; 32]) -> bool {
        commitment(&self.chain, self.epoch, &self.party, opening) == self.commitment
    }
}

/// The signed hash is the commitment itself, which binds chain, epoch and party once it is opened.
impl Signable for Contribution {
    const KIND: SignedKind = SignedKind::Contribution;

    fn signing_hash(&self) -> Hash {
        self.commitment
    }

    fn to_bytes(&self) -> Vec<u8> {
        Writer::<104>::new()
            .put(self.chain.as_bytes())
            .u64(self.epoch.get())
            .put(self.party.as_bytes())
            .put(&self.commitment)
            .finish()
            .to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::exact(bytes, 104)?;
        Ok(Self {
            chain: reader.hash()?,
            epoch: Epoch::new(reader.u64()?),
            party: reader.hash()?,
            commitment: reader.array()?,
        })
    }
}

fn commitment(chain: &ChainId, epoch: Epoch, party: &PartyId, opening: &[u8; 32]) -> Hash {
    let epoch = epoch.get().to_be_bytes();
    tagged("contribution", &[chain.as_bytes(), &epoch, party.as_bytes(), opening])
}
