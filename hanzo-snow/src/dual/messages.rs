//! What goes into a node of both tracks and what comes out.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::ledger::SettledRecord;
use super::payload::CloseReport;
use crate::checkpoint::{Checkpoint, Hash, Leaf};
use crate::committee::{Committee, NodeId};
use crate::engine::Failure;
use crate::evidence::Evidence;
use crate::fastpath::{FastConfig, FastMessage, Tx, TxPlace};
use crate::settlement::{Message, ReplicaConfig, ReplicaStall};
use crate::store::Record;
use crate::wire::{Decoder, Encoder, WireError};

/// How many rounds a checkpoint closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CheckpointPolicy(u64);

impl CheckpointPolicy {
    /// 100 rounds, as the paper 003, section 4.4, has it: at 200 ms a round it adds up to 20 s to settlement.
    pub const SEED: Self = Self(100);

    /// A checkpoint every `rounds` rounds; 0 is taken as 1.
    #[must_use]
    pub const fn every(rounds: u64) -> Self {
        Self(if rounds == 0 { 1 } else { rounds })
    }

    /// The period in rounds.
    #[must_use]
    pub const fn period(&self) -> u64 {
        self.0
    }
}

impl Default for CheckpointPolicy {
    /// 10 rounds.
    fn default() -> Self {
        Self(10)
    }
}

/// Settings of a node of both tracks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DualConfig {
    pub(super) own: NodeId,
    pub(super) replica: ReplicaConfig,
    pub(super) fast: FastConfig,
    pub(super) policy: CheckpointPolicy,
    pub(super) unlock_after: Duration,
    pub(super) keep_rounds: u64,
    pub(super) min_epoch_blocks: u64,
    pub(super) max_orders: usize,
}

impl DualConfig {
    /// The validator `own`, with the default settings of both tracks, a checkpoint every 10 rounds, locks released after 10 s,
    /// settled rounds kept for those who are up to 100 rounds behind, an unlock no sooner than 20 blocks into an epoch, and 1,024
    /// orders waiting.
    #[must_use]
    pub fn new(own: NodeId) -> Self {
        Self {
            own,
            replica: ReplicaConfig::new(own),
            fast: FastConfig::new(own),
            policy: CheckpointPolicy::default(),
            unlock_after: Duration::from_secs(10),
            keep_rounds: 100,
            min_epoch_blocks: 20,
            max_orders: 1_024,
        }
    }

    /// Settings of settlement; the node stays the one given to [`new`](Self::new).
    #[must_use]
    pub fn settlement(mut self, change: impl FnOnce(ReplicaConfig) -> ReplicaConfig) -> Self {
        self.replica = change(self.replica);
        self
    }

    /// Settings of the fast path.
    #[must_use]
    pub fn fast_path(mut self, change: impl FnOnce(FastConfig) -> FastConfig) -> Self {
        self.fast = change(self.fast);
        self
    }

    /// How often a checkpoint is made.
    #[must_use]
    pub const fn checkpoints(mut self, policy: CheckpointPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// How long a key may stay locked without certificate before the epoch is closed; at least 8 ms: a shorter time is taken as
    /// that.
    #[must_use]
    pub fn unlock_after(mut self, time: Duration) -> Self {
        self.unlock_after = time.max(Duration::from_millis(8));
        self
    }

    /// Settled rounds whose certificates are kept; fewer than 64 are taken as 64.
    #[must_use]
    pub fn keep_rounds(mut self, rounds: u64) -> Self {
        self.keep_rounds = rounds.max(64);
        self
    }

    /// The least blocks of an epoch before it is closed to release locks. The same for all validators.
    #[must_use]
    pub const fn min_epoch_blocks(mut self, blocks: u64) -> Self {
        self.min_epoch_blocks = blocks;
        self
    }
}

/// What nodes say to each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DualMessage {
    /// Of settlement.
    Settlement(Message),
    /// Of the fast path.
    Fast(FastMessage),
    /// What a validator has not seen settled, at the close of an epoch.
    Report(CloseReport),
    /// Asks for a settled checkpoint of the message's epoch.
    GetSettled {
        /// Its sequence.
        sequence: u64,
    },
    /// A settled checkpoint, which its receiver has committed and lacks the certificates of.
    Settled(SettledRecord),
}

impl DualMessage {
    /// As bytes.
    #[must_use]
    pub fn encode(&self, chain: &Hash, epoch: u64) -> Vec<u8> {
        match self {
            Self::Settlement(message) => message.encode(chain, epoch),
            Self::Fast(message) => message.encode(chain, epoch),
            Self::Report(report) => {
                let mut encoder = Encoder::new("report", chain, epoch);
                report.write(&mut encoder);
                encoder.finish()
            }
            Self::GetSettled { sequence } => {
                let mut encoder = Encoder::new("get-settled", chain, epoch);
                encoder.u64(*sequence);
                encoder.finish()
            }
            Self::Settled(record) => {
                let mut encoder = Encoder::new("settled", chain, epoch);
                record.write(&mut encoder);
                encoder.finish()
            }
        }
    }

    /// From bytes, with the chain and the epoch. That the chain is the own one is the caller's to see to, before the message goes
    /// to [`DualInput::Message`].
    ///
    /// # Errors
    /// [`WireError`] for anything that [`encode`](Self::encode) would not have written.
    pub fn decode(bytes: &[u8]) -> Result<(Hash, u64, Self), WireError> {
        let (kind, chain, epoch, mut decoder) = Decoder::open(bytes)?;
        let message = match kind {
            b"settlement" => Self::Settlement(Message::read(&mut decoder)?),
            b"fastpath" => Self::Fast(FastMessage::read(&mut decoder, &chain, epoch)?),
            b"report" => Self::Report(CloseReport::read(&mut decoder)?),
            b"get-settled" => Self::GetSettled { sequence: decoder.u64("sequence")? },
            b"settled" => Self::Settled(SettledRecord::read(&mut decoder, chain, epoch)?),
            _ => return Err(WireError::Malformed { field: "kind" }),
        };
        decoder.end()?;
        Ok((chain, epoch, message))
    }
}

/// What happens to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "taken and given one at a time, never kept in numbers")]
pub enum DualInput {
    /// A message to this chain over an authenticated link. A node that is no validator may send too: it is given what it lacks.
    Message {
        /// Who sent it.
        from: NodeId,
        /// The epoch it is of.
        epoch: u64,
        /// The message.
        message: DualMessage,
    },
    /// A transaction for the fast path. A node that is no validator keeps it until it is one. Until it is in an own vertex it is in
    /// memory only: after a restart give again what was neither certified nor settled.
    Submit(Tx),
    /// Something for the total order of settlement alone, at most 1 MiB. It is not checked there: whoever reads it decides.
    ///
    /// It goes into a block that this node leads, one a block, and into no other: it is lost where that block is not committed, and
    /// with a restart. Give it again where no [`DualOutput::Ordered`] comes; whoever carries orders out must bear one that comes
    /// twice.
    Order(Arc<[u8]>),
    /// The validators of the next epoch with their stakes: this one shall end. Give the same, in the same order, to all validators,
    /// and again to one that begins again before the epoch has ended; they vote for no other set. Refused unless it makes a
    /// [`ValidatorSet`](crate::ValidatorSet) of at most [`MAX_VALIDATORS`](crate::MAX_VALIDATORS).
    Next(Arc<[(NodeId, u64)]>),
    /// All records up to this token are durable.
    Persisted(u64),
    /// The application or the store has failed: nothing further is safe.
    Failed(Failure),
    /// Time has passed.
    Tick,
}

/// A settled checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its leaves, in the order in which they settle.
    pub leaves: Vec<Leaf>,
    /// Their transactions, in the same order.
    pub txs: Vec<Tx>,
    /// The settlement block.
    pub block: Hash,
    /// Its height.
    pub height: u64,
}

/// What a node wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DualOutput {
    /// Send to one validator.
    Send {
        /// To whom.
        to: NodeId,
        /// The epoch it is of.
        epoch: u64,
        /// The message.
        message: DualMessage,
    },
    /// Send to all other validators.
    Broadcast {
        /// The epoch it is of.
        epoch: u64,
        /// The message.
        message: DualMessage,
    },
    /// Keep these records, then say [`DualInput::Persisted`]. Tokens ascend.
    Persist {
        /// The number to give back.
        token: u64,
        /// What to keep, all or nothing.
        records: Vec<Record<Hash>>,
    },
    /// The own vertex is certified. No finality.
    CertificateFormed {
        /// Id of the certificate.
        id: Hash,
        /// Its round.
        round: u64,
        /// Transactions certified, by place in the vertex.
        certified: Vec<u32>,
    },
    /// First level: will settle. Good for operations on the transaction's own keys.
    Certified(TxPlace),
    /// Second level: settled, in total order. Good for everything.
    Settled(Settled),
    /// An order has its place in the total order.
    Ordered {
        /// Height of its block.
        height: u64,
        /// The order.
        bytes: Arc<[u8]>,
    },
    /// An epoch has begun: all locks of the one before are released, and own transactions that had not settled go into vertices of
    /// the new one.
    Epoch(Committee),
    /// A peer asks for settlement blocks that are no longer in memory: send it what
    /// [`chain_from_store`](crate::settlement::chain_from_store) finds, if anything, as [`DualMessage::Settlement`] of that epoch.
    Serve {
        /// Who asks.
        to: NodeId,
        /// The epoch of the blocks.
        epoch: u64,
        /// The height above which.
        after: u64,
    },
    /// A peer asks for a settled checkpoint: send it what [`settled_from_store`](crate::settled_from_store) finds, if anything, as a
    /// message of that epoch.
    ServeSettled {
        /// Who asks.
        to: NodeId,
        /// The epoch.
        epoch: u64,
        /// The checkpoint's sequence.
        sequence: u64,
    },
    /// A validator has contradicted itself, in the epoch of [`DualTrack::committee`](crate::DualTrack::committee) or of
    /// [`Replica::committee`](crate::settlement::Replica::committee), which may be the next one already.
    Evidence(Evidence),
    /// Settlement does not get on.
    Stalled(ReplicaStall),
}
