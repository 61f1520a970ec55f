//! What a settlement block carries.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::checkpoint::{Checkpoint, Hash};
use crate::committee::{Committee, MAX_VALIDATORS, MessageError, NodeId, VerifyAll, verify_one};
use crate::wire::{Decoder, Encoder, Signature, WireError};

/// Most certificates of a close report.
pub const MAX_REPORTED: usize = 65_536;
/// Most bytes of an order.
pub(super) const MAX_ORDER: usize = 1 << 20;

/// A checkpoint with the certificates it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CheckpointBody {
    /// Certificates of the last round with a quorum of stake, one an author, ascending by id.
    pub anchors: Vec<Hash>,
    /// Certificates of that or earlier rounds that no anchor stands on, ascending by id.
    pub late: Vec<Hash>,
    /// The checkpoint over what they certify.
    pub checkpoint: Checkpoint,
}

/// A validator's unsettled certificates, at the close of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CloseReport {
    /// Position of the validator.
    pub reporter: u32,
    /// Ids of the certificates, ascending.
    pub certificates: Arc<[Hash]>,
    /// Its signature.
    pub signature: Signature,
}

impl CloseReport {
    /// What is signed: "close" | reporter | certificates.
    #[must_use]
    pub fn signed_bytes(committee: &Committee, reporter: u32, certificates: &[Hash]) -> Vec<u8> {
        let mut encoder = committee.encoder("close");
        encoder.u32(reporter);
        encoder.hashes(certificates);
        encoder.finish()
    }

    /// Checks the number of certificates and the signature.
    ///
    /// # Errors
    /// [`MessageError::TooLarge`] above [`MAX_REPORTED`], [`MessageError::UnknownValidator`], [`MessageError::Signature`].
    pub fn verify(&self, committee: &Committee, keys: &impl VerifyAll) -> Result<(), MessageError> {
        if self.certificates.len() > MAX_REPORTED {
            return Err(MessageError::TooLarge { field: "certificates" });
        }
        let bytes = Self::signed_bytes(committee, self.reporter, &self.certificates);
        verify_one(committee, keys, self.reporter, &bytes, &self.signature)
    }

    pub(super) fn write(&self, encoder: &mut Encoder) {
        encoder.u32(self.reporter);
        encoder.hashes(&self.certificates);
        encoder.bytes(&self.signature);
    }

    pub(super) fn read(decoder: &mut Decoder<'_>) -> Result<Self, WireError> {
        Ok(Self {
            reporter: decoder.u32("reporter")?,
            certificates: decoder.hashes(MAX_REPORTED, "certificates")?.into(),
            signature: decoder.signature()?,
        })
    }
}

/// A step of the close of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Close {
    /// From here on nobody acknowledges; reports are due.
    Open {
        /// The next epoch's validators.
        next: Arc<[(NodeId, u64)]>,
    },
    /// Settles what the reports name, and releases every other lock.
    Final {
        /// Reports of a quorum.
        reports: Vec<CloseReport>,
        /// The checkpoint over what they certify.
        checkpoint: Checkpoint,
    },
}

/// What a settlement block carries: at most one checkpoint, one step of the close, one order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Payload {
    /// Settles what the fast path has certified.
    pub checkpoint: Option<Box<CheckpointBody>>,
    /// Closes the epoch.
    pub close: Option<Close>,
    /// Anything else that wants a place in the total order, at most 1 MiB.
    pub order: Option<Arc<[u8]>>,
}

impl Payload {
    /// As bytes.
    #[must_use]
    pub fn encode(&self, committee: &Committee) -> Vec<u8> {
        let mut encoder = committee.encoder("payload");
        encoder.u8(u8::from(self.checkpoint.is_some()));
        if let Some(body) = &self.checkpoint {
            encoder.hashes(&body.anchors);
            encoder.hashes(&body.late);
            write_checkpoint(&mut encoder, &body.checkpoint);
        }
        match &self.close {
            None => encoder.u8(0),
            Some(Close::Open { next }) => {
                encoder.u8(1);
                encoder.length(next.len());
                for (node, stake) in next.iter() {
                    encoder.hash(node);
                    encoder.u64(*stake);
                }
            }
            Some(Close::Final { reports, checkpoint }) => {
                encoder.u8(2);
                encoder.length(reports.len());
                for report in reports {
                    report.write(&mut encoder);
                }
                write_checkpoint(&mut encoder, checkpoint);
            }
        }
        encoder.u8(u8::from(self.order.is_some()));
        if let Some(order) = &self.order {
            encoder.bytes(order);
        }
        encoder.finish()
    }

    /// From bytes of this chain and epoch.
    ///
    /// # Errors
    /// [`WireError`] for anything that [`encode`](Self::encode) would not have written.
    pub fn decode(bytes: &[u8], committee: &Committee) -> Result<Self, WireError> {
        let (kind, chain, epoch, mut decoder) = Decoder::open(bytes)?;
        if kind != b"payload" || chain != *committee.chain() || epoch != committee.epoch() {
            return Err(WireError::Malformed { field: "kind" });
        }
        let checkpoint = if decoder.flag("checkpoint")? {
            Some(Box::new(CheckpointBody {
                anchors: decoder.hashes(MAX_VALIDATORS, "anchors")?,
                late: decoder.hashes(MAX_REPORTED, "late")?,
                checkpoint: read_checkpoint(&mut decoder, chain, epoch)?,
            }))
        } else {
            None
        };
        let close = match decoder.u8("close")? {
            0 => None,
            1 => {
                let validator = |decoder: &mut Decoder<'_>| Ok((decoder.hash("next")?, decoder.u64("next")?));
                Some(Close::Open { next: decoder.list(MAX_VALIDATORS, 40, "next", validator)?.into() })
            }
            2 => Some(Close::Final {
                reports: decoder.list(MAX_VALIDATORS, 12, "reports", CloseReport::read)?,
                checkpoint: read_checkpoint(&mut decoder, chain, epoch)?,
            }),
            _ => return Err(WireError::Malformed { field: "close" }),
        };
        let order = if decoder.flag("order")? { Some(decoder.bytes(MAX_ORDER, "order")?.into()) } else { None };
        decoder.end()?;
        Ok(Self { checkpoint, close, order })
    }
}

/// All but chain and epoch, which the surrounding bytes say.
pub(super) fn write_checkpoint(encoder: &mut Encoder, checkpoint: &Checkpoint) {
    encoder.u64(checkpoint.sequence);
    encoder.u64(checkpoint.first_round);
    encoder.u64(checkpoint.last_round);
    encoder.u64(checkpoint.leaf_count);
    encoder.hash(&checkpoint.root);
    encoder.hash(&checkpoint.previous);
}

pub(super) fn read_checkpoint(decoder: &mut Decoder<'_>, chain: Hash, epoch: u64) -> Result<Checkpoint, WireError> {
    Ok(Checkpoint {
        chain,
        epoch,
        sequence: decoder.u64("sequence")?,
        first_round: decoder.u64("first round")?,
        last_round: decoder.u64("last round")?,
        leaf_count: decoder.u64("leaf count")?,
        root: decoder.hash("root")?,
        previous: decoder.hash("previous")?,
    })
}
