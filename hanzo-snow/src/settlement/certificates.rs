//! Votes, timeouts, and the certificates made of them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::checkpoint::Hash;
use crate::committee::{Committee, MAX_VALIDATORS, MessageError, Signers, VerifyAll, verify_one, verify_quorum};
use crate::wire::{Decoder, Encoder, Signature, WireError};

/// A vote for a block in its view.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Vote {
    /// The view.
    pub view: u64,
    /// The block.
    pub block: Hash,
    /// Position of the voter.
    pub voter: u32,
    /// Its signature.
    pub signature: Signature,
}

impl Vote {
    /// What is signed: "vote" | view | block.
    #[must_use]
    pub fn signed_bytes(committee: &Committee, view: u64, block: &Hash) -> Vec<u8> {
        let mut encoder = committee.encoder("vote");
        encoder.u64(view);
        encoder.hash(block);
        encoder.finish()
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`MessageError::UnknownValidator`], [`MessageError::Signature`].
    pub fn verify(&self, committee: &Committee, keys: &impl VerifyAll) -> Result<(), MessageError> {
        let bytes = Self::signed_bytes(committee, self.view, &self.block);
        verify_one(committee, keys, self.voter, &bytes, &self.signature)
    }

    pub(crate) fn write(&self, encoder: &mut Encoder) {
        encoder.u64(self.view);
        encoder.hash(&self.block);
        encoder.u32(self.voter);
        encoder.bytes(&self.signature);
    }

    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, WireError> {
        Ok(Self {
            view: decoder.u64("view")?,
            block: decoder.hash("block")?,
            voter: decoder.u32("voter")?,
            signature: decoder.signature()?,
        })
    }
}

/// Votes of a quorum for one block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QuorumCertificate {
    /// The view; 0 for the root of an epoch, which needs no votes.
    pub view: u64,
    /// The block.
    pub block: Hash,
    /// Who voted.
    pub signers: Signers,
    /// Their signatures, in the same order.
    pub signatures: Arc<[Signature]>,
}

impl QuorumCertificate {
    /// The certificate of an epoch's root.
    #[must_use]
    pub fn root(block: Hash) -> Self {
        Self { view: 0, block, signers: Signers::default(), signatures: Arc::from([]) }
    }

    /// Checks the quorum and its signatures; a certificate of view 0 must be the one of `root`. One signature a signer.
    ///
    /// # Errors
    /// [`MessageError::Quorum`] for too little stake or a signer that is no validator, [`MessageError::Malformed`] where signers
    /// and signatures do not fit each other or `root`, [`MessageError::Signature`].
    pub fn verify(&self, committee: &Committee, root: &Hash, keys: &impl VerifyAll) -> Result<(), MessageError> {
        if self.view == 0 {
            let is_root = self.block == *root && self.signers.is_empty() && self.signatures.is_empty();
            return if is_root { Ok(()) } else { Err(MessageError::Malformed { field: "root certificate" }) };
        }
        let message: Arc<[u8]> = Vote::signed_bytes(committee, self.view, &self.block).into();
        verify_quorum(committee, keys, &self.signers, &self.signatures, |_| message.clone())
    }

    pub(crate) fn write(&self, encoder: &mut Encoder) {
        encoder.u64(self.view);
        encoder.hash(&self.block);
        self.signers.write(encoder);
        write_signatures(encoder, &self.signatures);
    }

    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, WireError> {
        Ok(Self {
            view: decoder.u64("view")?,
            block: decoder.hash("block")?,
            signers: Signers::read(decoder)?,
            signatures: decoder.signatures(MAX_VALIDATORS)?,
        })
    }
}

/// A replica gives a view up, and says what is the highest certificate it knows.
///
/// Signed: "timeout" | view | view of that certificate. The rest speaks for itself: the certificate; the timeout certificate
/// by which the view was entered, if it was; and the vote given in the view, so that its certificate is not lost with the
/// next leader.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Timeout {
    /// The view given up.
    pub view: u64,
    /// The highest certificate known.
    pub high: QuorumCertificate,
    /// How the view was entered, unless by a certificate of the view before.
    pub entry: Option<TimeoutCertificate>,
    /// The vote given in the view.
    pub vote: Option<Vote>,
    /// Position of the replica.
    pub voter: u32,
    /// Its signature.
    pub signature: Signature,
}

impl Timeout {
    /// What is signed.
    #[must_use]
    pub fn signed_bytes(committee: &Committee, view: u64, high: u64) -> Vec<u8> {
        let mut encoder = committee.encoder("timeout");
        encoder.u64(view);
        encoder.u64(high);
        encoder.finish()
    }

    /// Checks the replica's own signature, not what is attached.
    ///
    /// # Errors
    /// [`MessageError::UnknownValidator`], [`MessageError::Signature`].
    pub fn verify(&self, committee: &Committee, keys: &impl VerifyAll) -> Result<(), MessageError> {
        let bytes = Self::signed_bytes(committee, self.view, self.high.view);
        verify_one(committee, keys, self.voter, &bytes, &self.signature)
    }

    pub(crate) fn write(&self, encoder: &mut Encoder) {
        encoder.u64(self.view);
        self.high.write(encoder);
        encoder.u8(u8::from(self.entry.is_some()));
        if let Some(entry) = &self.entry {
            entry.write(encoder);
        }
        encoder.u8(u8::from(self.vote.is_some()));
        if let Some(vote) = &self.vote {
            vote.write(encoder);
        }
        encoder.u32(self.voter);
        encoder.bytes(&self.signature);
    }

    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, WireError> {
        let view = decoder.u64("view")?;
        let high = QuorumCertificate::read(decoder)?;
        let entry = if decoder.flag("entry")? { Some(TimeoutCertificate::read(decoder)?) } else { None };
        let vote = if decoder.flag("vote")? { Some(Vote::read(decoder)?) } else { None };
        Ok(Self { view, high, entry, vote, voter: decoder.u32("voter")?, signature: decoder.signature()? })
    }
}

/// Timeouts of a quorum in one view.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TimeoutCertificate {
    /// The view given up.
    pub view: u64,
    /// Who gave it up.
    pub signers: Signers,
    /// The view of the highest certificate of each, in the same order.
    pub high_views: Arc<[u64]>,
    /// Their signatures, in the same order.
    pub signatures: Arc<[Signature]>,
}

impl TimeoutCertificate {
    /// The highest view of a certificate that a signer has reported.
    #[must_use]
    pub fn high_view(&self) -> u64 {
        self.high_views.iter().copied().max().unwrap_or(0)
    }

    /// Checks the quorum and its signatures. One signature a signer.
    ///
    /// # Errors
    /// [`MessageError::Quorum`] for too little stake or a signer that is no validator, [`MessageError::Malformed`] where signers,
    /// views and signatures do not fit each other, [`MessageError::Signature`].
    pub fn verify(&self, committee: &Committee, keys: &impl VerifyAll) -> Result<(), MessageError> {
        let fits = self.high_views.len() == self.signers.len() && self.high_view() < self.view;
        if !fits {
            return Err(MessageError::Malformed { field: "timeout certificate" });
        }
        verify_quorum(committee, keys, &self.signers, &self.signatures, |at| {
            Timeout::signed_bytes(committee, self.view, self.high_views.get(at).copied().unwrap_or(0)).into()
        })
    }

    pub(crate) fn write(&self, encoder: &mut Encoder) {
        encoder.u64(self.view);
        self.signers.write(encoder);
        encoder.length(self.high_views.len());
        for view in self.high_views.iter() {
            encoder.u64(*view);
        }
        write_signatures(encoder, &self.signatures);
    }

    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, WireError> {
        Ok(Self {
            view: decoder.u64("view")?,
            signers: Signers::read(decoder)?,
            high_views: decoder.list(MAX_VALIDATORS, 8, "high views", |decoder| decoder.u64("high views"))?.into(),
            signatures: decoder.signatures(MAX_VALIDATORS)?,
        })
    }
}

pub(crate) fn write_signatures(encoder: &mut Encoder, signatures: &[Signature]) {
    encoder.length(signatures.len());
    for signature in signatures {
        encoder.bytes(signature);
    }
}
