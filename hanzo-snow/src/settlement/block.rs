//! Blocks of the settlement chain.

use alloc::sync::Arc;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use super::certificates::{QuorumCertificate, TimeoutCertificate};
use crate::checkpoint::Hash;
use crate::committee::{Committee, MAX_VALIDATORS, MessageError, NodeId, VerifyAll, verify_one};
use crate::sampler::ValidatorSet;
use crate::wire::{Decoder, Encoder, Signature, WireError};

/// Most bytes of a settlement block's payload: 4 MiB.
pub const MAX_PAYLOAD: usize = 4 << 20;

/// Where an epoch begins: the block that closed the one before, or genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Root {
    /// Id of the block.
    pub id: Hash,
    /// Its height.
    pub height: u64,
}

/// What the id of a block commits to, signatures left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// The view it is proposed in.
    pub view: u64,
    /// Its height.
    pub height: u64,
    /// The block below, which its certificate certifies.
    pub parent: Hash,
    /// Position of the proposer.
    pub proposer: u32,
    /// View of the parent's certificate.
    pub justify_view: u64,
    /// View of the timeout certificate; 0 for none.
    pub entry_view: u64,
    /// SHA-256 of the payload.
    pub payload: Hash,
    /// Whether the block closes the epoch.
    pub closes: bool,
    /// SHA-256 of the next epoch's validators; zeros unless the block closes the epoch.
    pub next: Hash,
}

impl Header {
    fn encode(&self, committee: &Committee) -> Encoder {
        let mut encoder = committee.encoder("proposal");
        self.write(&mut encoder);
        encoder
    }

    /// What the proposer signs: "proposal" | the fields in order.
    #[must_use]
    pub fn signed_bytes(&self, committee: &Committee) -> Vec<u8> {
        self.encode(committee).finish()
    }

    /// SHA-256 of the signed bytes.
    #[must_use]
    pub fn id(&self, committee: &Committee) -> Hash {
        self.encode(committee).digest()
    }

    fn write(&self, encoder: &mut Encoder) {
        encoder.u64(self.view);
        encoder.u64(self.height);
        encoder.hash(&self.parent);
        encoder.u32(self.proposer);
        encoder.u64(self.justify_view);
        encoder.u64(self.entry_view);
        encoder.hash(&self.payload);
        encoder.u8(u8::from(self.closes));
        encoder.hash(&self.next);
    }
}

/// A block of the settlement chain. Cheap to clone: its parts are shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Block {
    /// The view it is proposed in.
    pub view: u64,
    /// Its height, the parent's plus one.
    pub height: u64,
    /// Position of the proposer.
    pub proposer: u32,
    /// The certificate of its parent.
    pub justify: QuorumCertificate,
    /// How the view was entered, unless by a certificate of the view before.
    pub entry: Option<TimeoutCertificate>,
    /// What it settles; the application's.
    pub payload: Arc<[u8]>,
    /// The validators of the next epoch, if this block closes the epoch.
    pub next: Option<Arc<[(NodeId, u64)]>>,
}

impl Block {
    /// What its id commits to.
    #[must_use]
    pub fn header(&self) -> Header {
        let next = self.next.as_ref().map_or([0; 32], |next| {
            let mut hash = Sha256::new();
            for (node, stake) in next.iter() {
                hash.update(node);
                hash.update(stake.to_be_bytes());
            }
            hash.finalize().into()
        });
        Header {
            view: self.view,
            height: self.height,
            parent: self.justify.block,
            proposer: self.proposer,
            justify_view: self.justify.view,
            entry_view: self.entry.as_ref().map_or(0, |entry| entry.view),
            payload: Sha256::digest(&self.payload).into(),
            closes: self.next.is_some(),
            next,
        }
    }

    /// Its id. O(payload).
    #[must_use]
    pub fn id(&self, committee: &Committee) -> Hash {
        self.header().id(committee)
    }

    /// What can be checked without the parent: fields, certificates, the next validators; not the proposer's signature. Up to
    /// twice as many signatures as there are validators.
    ///
    /// # Errors
    /// [`MessageError::Malformed`] and [`MessageError::TooLarge`] for the fields, and those of
    /// [`QuorumCertificate::verify`] and [`TimeoutCertificate::verify`].
    pub fn verify(&self, committee: &Committee, root: &Hash, keys: &impl VerifyAll) -> Result<(), MessageError> {
        self.check_shape()?;
        self.justify.verify(committee, root, keys)?;
        self.entry.as_ref().map_or(Ok(()), |entry| entry.verify(committee, keys))
    }

    pub(crate) fn check_shape(&self) -> Result<(), MessageError> {
        let malformed = |field| Err(MessageError::Malformed { field });
        if self.view == 0 || self.justify.view >= self.view {
            return malformed("view");
        }
        if self.height == 0 {
            return malformed("height");
        }
        if self.payload.len() > MAX_PAYLOAD {
            return Err(MessageError::TooLarge { field: "payload" });
        }
        // One reason to be in the view, and one only, so that a block has one form.
        let follows = self.justify.view + 1 == self.view;
        let fits =
            self.entry.as_ref().map_or(follows, |entry| !follows && entry.view.checked_add(1) == Some(self.view));
        if !fits {
            return malformed("entry");
        }
        match &self.next {
            Some(next) if next.len() > MAX_VALIDATORS || ValidatorSet::new(next.iter().copied()).is_err() => {
                malformed("next validators")
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn write(&self, encoder: &mut Encoder) {
        encoder.u64(self.view);
        encoder.u64(self.height);
        encoder.u32(self.proposer);
        self.justify.write(encoder);
        encoder.u8(u8::from(self.entry.is_some()));
        if let Some(entry) = &self.entry {
            entry.write(encoder);
        }
        encoder.bytes(&self.payload);
        encoder.u8(u8::from(self.next.is_some()));
        if let Some(next) = &self.next {
            encoder.length(next.len());
            for (node, stake) in next.iter() {
                encoder.hash(node);
                encoder.u64(*stake);
            }
        }
    }

    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, WireError> {
        let view = decoder.u64("view")?;
        let height = decoder.u64("height")?;
        let proposer = decoder.u32("proposer")?;
        let justify = QuorumCertificate::read(decoder)?;
        let entry = if decoder.flag("entry")? { Some(TimeoutCertificate::read(decoder)?) } else { None };
        let payload = decoder.bytes(MAX_PAYLOAD, "payload")?.into();
        let next = if decoder.flag("next")? {
            let validator = |decoder: &mut Decoder<'_>| Ok((decoder.hash("next")?, decoder.u64("next")?));
            Some(decoder.list(MAX_VALIDATORS, 40, "next", validator)?.into())
        } else {
            None
        };
        Ok(Self { view, height, proposer, justify, entry, payload, next })
    }
}

/// A block signed by its proposer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// The block.
    pub block: Block,
    /// Signature of its proposer on the header.
    pub signature: Signature,
}

impl Proposal {
    /// Checks the proposer's signature, not the block.
    ///
    /// # Errors
    /// [`MessageError::UnknownValidator`], [`MessageError::Signature`].
    pub fn verify(&self, committee: &Committee, keys: &impl VerifyAll) -> Result<(), MessageError> {
        let bytes = self.block.header().signed_bytes(committee);
        verify_one(committee, keys, self.block.proposer, &bytes, &self.signature)
    }
}
