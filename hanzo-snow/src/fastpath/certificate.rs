//! Acknowledgements of vertices, and the certificates made of them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::vertex::MAX_TXS;
use crate::checkpoint::Hash;
use crate::committee::{Committee, MAX_VALIDATORS, MessageError, Signers, VerifyAll, verify_one, verify_quorum};
use crate::settlement::write_signatures;
use crate::wire::{Decoder, Encoder, Signature, WireError};

/// A validator holds a vertex, and these of its transactions were free of conflict.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ack {
    /// The vertex.
    pub vertex: Hash,
    /// Its round.
    pub round: u64,
    /// Bit `i % 8` of byte `i / 8`: whether all keys of transaction `i` were free or its own. One byte for eight transactions.
    pub bitmap: Arc<[u8]>,
    /// Position of the validator.
    pub acker: u32,
    /// Its signature.
    pub signature: Signature,
}

impl Ack {
    /// What is signed: "ack" | vertex | round | bitmap.
    #[must_use]
    pub fn signed_bytes(committee: &Committee, vertex: &Hash, round: u64, bitmap: &[u8]) -> Vec<u8> {
        let mut encoder = committee.encoder("ack");
        encoder.hash(vertex);
        encoder.u64(round);
        encoder.bytes(bitmap);
        encoder.finish()
    }

    /// Whether a transaction's bit is set.
    #[must_use]
    pub fn has(&self, index: u32) -> bool {
        has(&self.bitmap, index)
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`MessageError::UnknownValidator`], [`MessageError::Signature`].
    pub fn verify(&self, committee: &Committee, keys: &impl VerifyAll) -> Result<(), MessageError> {
        let bytes = Self::signed_bytes(committee, &self.vertex, self.round, &self.bitmap);
        verify_one(committee, keys, self.acker, &bytes, &self.signature)
    }

    pub(crate) fn write(&self, encoder: &mut Encoder) {
        encoder.hash(&self.vertex);
        encoder.u64(self.round);
        encoder.bytes(&self.bitmap);
        encoder.u32(self.acker);
        encoder.bytes(&self.signature);
    }

    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, WireError> {
        Ok(Self {
            vertex: decoder.hash("vertex")?,
            round: decoder.u64("round")?,
            bitmap: decoder.bytes(MAX_TXS / 8, "bitmap")?.into(),
            acker: decoder.u32("acker")?,
            signature: decoder.signature()?,
        })
    }
}

fn has(bitmap: &[u8], index: u32) -> bool {
    bitmap.get(index as usize / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

/// Whether a bitmap is of `count` bits, with none set beyond.
pub(super) fn fits(bitmap: &[u8], count: usize) -> bool {
    bitmap.len() == count.div_ceil(8)
        && (count.is_multiple_of(8) || bitmap.last().is_none_or(|last| last >> (count % 8) == 0))
}

/// Acknowledgements of a quorum on one vertex.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// The vertex.
    pub vertex: Hash,
    /// Its round.
    pub round: u64,
    /// Position of its author.
    pub author: u32,
    /// Who acknowledged it.
    pub signers: Signers,
    /// The bitmap of each, in the same order.
    pub bitmaps: Arc<[Arc<[u8]>]>,
    /// Their signatures, in the same order.
    pub signatures: Arc<[Signature]>,
}

impl Certificate {
    /// From acknowledgements of one vertex, ascending by validator, none twice: that is not checked here, and
    /// [`verify`](Self::verify) refuses what is otherwise. `None` for none.
    #[must_use]
    pub fn new<'a>(author: u32, acks: impl Iterator<Item = &'a Ack> + Clone) -> Option<Self> {
        let first = acks.clone().next()?;
        Some(Self {
            vertex: first.vertex,
            round: first.round,
            author,
            signers: Signers::new(acks.clone().map(|ack| ack.acker)),
            bitmaps: acks.clone().map(|ack| ack.bitmap.clone()).collect(),
            signatures: acks.map(|ack| ack.signature.clone()).collect(),
        })
    }

    /// SHA-256("certificate" | vertex | round | author | signers | bitmaps).
    #[must_use]
    pub fn id(&self, committee: &Committee) -> Hash {
        let mut encoder = committee.encoder("certificate");
        self.write_unsigned(&mut encoder);
        encoder.digest()
    }

    /// Checks the quorum and its signatures, not that the vertex is what it says. One signature a signer.
    ///
    /// # Errors
    /// [`MessageError::Quorum`] for too little stake or a signer that is no validator, [`MessageError::Malformed`] where signers,
    /// bitmaps and signatures do not fit each other, [`MessageError::Signature`].
    pub fn verify(&self, committee: &Committee, keys: &impl VerifyAll) -> Result<(), MessageError> {
        if self.bitmaps.len() != self.signers.len() {
            return Err(MessageError::Malformed { field: "bitmaps" });
        }
        // Neighbours have mostly signed the same.
        let mut last: Option<(&[u8], Arc<[u8]>)> = None;
        verify_quorum(committee, keys, &self.signers, &self.signatures, |at| {
            let bitmap = self.bitmaps.get(at).map_or(&[][..], |bitmap| bitmap);
            match &last {
                Some((same, message)) if *same == bitmap => message.clone(),
                _ => {
                    let message: Arc<[u8]> = Ack::signed_bytes(committee, &self.vertex, self.round, bitmap).into();
                    last.insert((bitmap, message)).1.clone()
                }
            }
        })
    }

    /// Which of the vertex's `count` transactions are certified, ascending. O(count + signers) where all bitmaps are equal,
    /// O(count * signers) at worst.
    #[must_use]
    pub fn certified(&self, committee: &Committee, count: usize) -> Vec<u32> {
        // Beyond the longest bitmap nobody has acknowledged anything.
        let longest = self.bitmaps.iter().map(|bitmap| 8 * bitmap.len()).max().unwrap_or(0);
        let mut stakes = alloc::vec![0_u64; count.min(longest)];
        // Equal bitmaps, by far the most, are added once.
        let mut groups: Vec<(&[u8], u64)> = Vec::new();
        for (signer, bitmap) in self.signers.iter().zip(self.bitmaps.iter()) {
            let stake = committee.stake(signer);
            match groups.iter_mut().find(|(other, _)| **other == **bitmap) {
                Some((_, sum)) => *sum += stake,
                None => groups.push((bitmap, stake)),
            }
        }
        for (bitmap, stake) in groups {
            for (index, sum) in (0..).zip(stakes.iter_mut()) {
                if has(bitmap, index) {
                    *sum += stake;
                }
            }
        }
        let quorum = committee.quorum();
        (0..).zip(stakes).filter(|(_, stake)| quorum.is_reached(*stake)).map(|(index, _)| index).collect()
    }

    /// The acknowledgement of one signer.
    #[must_use]
    pub fn ack(&self, signer: u32) -> Option<Ack> {
        let at = self.signers.iter().position(|other| other == signer)?;
        let (bitmap, signature) = (self.bitmaps.get(at)?.clone(), self.signatures.get(at)?.clone());
        Some(Ack { vertex: self.vertex, round: self.round, bitmap, acker: signer, signature })
    }

    fn write_unsigned(&self, encoder: &mut Encoder) {
        encoder.hash(&self.vertex);
        encoder.u64(self.round);
        encoder.u32(self.author);
        self.signers.write(encoder);
        encoder.length(self.bitmaps.len());
        for bitmap in self.bitmaps.iter() {
            encoder.bytes(bitmap);
        }
    }

    pub(crate) fn write(&self, encoder: &mut Encoder) {
        self.write_unsigned(encoder);
        write_signatures(encoder, &self.signatures);
    }

    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, WireError> {
        Ok(Self {
            vertex: decoder.hash("vertex")?,
            round: decoder.u64("round")?,
            author: decoder.u32("author")?,
            signers: Signers::read(decoder)?,
            bitmaps: decoder
                .list(MAX_VALIDATORS, 4, "bitmaps", |decoder| decoder.bytes(MAX_TXS / 8, "bitmaps").map(Into::into))?
                .into(),
            signatures: decoder.signatures(MAX_VALIDATORS)?,
        })
    }
}
