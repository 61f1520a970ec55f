//! What goes into a replica and what comes out.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::block::{Block, Proposal, Root};
use super::certificates::{QuorumCertificate, Timeout, TimeoutCertificate, Vote};
use super::leader::LeaderRule;
use super::safety::Safety;
use crate::checkpoint::Hash;
use crate::committee::{Committee, MessageError, NodeId};
use crate::engine::Failure;
use crate::evidence::Evidence;
use crate::store::{Entry, EntryKind};
use crate::wire::{Decoder, Encoder, WireError};

/// Most blocks of one [`Message::Chain`].
pub const MAX_CHAIN: usize = 32;

/// Settings of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReplicaConfig {
    pub(super) own: NodeId,
    pub(super) rule: LeaderRule,
    pub(super) base_timeout: Duration,
    pub(super) block_interval: Duration,
    pub(super) window: u64,
}

impl ReplicaConfig {
    /// The validator `own`: leaders by reputation, a first timeout of 1 s, empty blocks 500 ms apart, 256 blocks kept for those
    /// who are behind.
    #[must_use]
    pub const fn new(own: NodeId) -> Self {
        Self {
            own,
            rule: LeaderRule::Reputation,
            base_timeout: Duration::from_secs(1),
            block_interval: Duration::from_millis(500),
            window: 256,
        }
    }

    /// How leaders rotate.
    #[must_use]
    pub const fn leaders(mut self, rule: LeaderRule) -> Self {
        self.rule = rule;
        self
    }

    /// The time a view has, doubled after every three views given up since the last commit, five times at most; at least 1 ms: a
    /// shorter one is taken as that.
    #[must_use]
    pub fn base_timeout(mut self, timeout: Duration) -> Self {
        self.base_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// The time between blocks where nothing waits to be settled; keep it below half the base timeout.
    #[must_use]
    pub const fn block_interval(mut self, interval: Duration) -> Self {
        self.block_interval = interval;
        self
    }

    /// Committed blocks kept in memory for replicas that are behind, who are given older ones from the store; at least 1: 0 is
    /// taken as that.
    #[must_use]
    pub fn window(mut self, blocks: u64) -> Self {
        self.window = blocks.max(1);
        self
    }
}

/// What replicas say to each other; [`encode`](Self::encode) adds chain and epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Message {
    /// The leader's block of a view.
    Proposal(Proposal),
    /// A vote, to the next leader.
    Vote(Vote),
    /// A view is given up.
    Timeout(Timeout),
    /// Asks for the certified chain above a height.
    Request {
        /// The height.
        after: u64,
    },
    /// A certified chain, lowest block first, and the certificate of the last; at most [`MAX_CHAIN`] blocks.
    Chain {
        /// The blocks.
        blocks: Vec<Block>,
        /// The certificate of the last.
        certificate: QuorumCertificate,
    },
}

impl Message {
    /// As bytes.
    #[must_use]
    pub fn encode(&self, chain: &Hash, epoch: u64) -> Vec<u8> {
        let mut encoder = Encoder::new("settlement", chain, epoch);
        self.write(&mut encoder);
        encoder.finish()
    }

    /// From bytes, with the chain and the epoch. That the chain is the own one is the caller's to see to.
    ///
    /// # Errors
    /// [`WireError`] for anything that [`encode`](Self::encode) would not have written.
    pub fn decode(bytes: &[u8]) -> Result<(Hash, u64, Self), WireError> {
        let (kind, chain, epoch, mut decoder) = Decoder::open(bytes)?;
        if kind != b"settlement" {
            return Err(WireError::Malformed { field: "kind" });
        }
        let message = Self::read(&mut decoder)?;
        decoder.end()?;
        Ok((chain, epoch, message))
    }

    pub(crate) fn write(&self, encoder: &mut Encoder) {
        match self {
            Self::Proposal(proposal) => {
                encoder.u8(0);
                proposal.block.write(encoder);
                encoder.bytes(&proposal.signature);
            }
            Self::Vote(vote) => {
                encoder.u8(1);
                vote.write(encoder);
            }
            Self::Timeout(timeout) => {
                encoder.u8(2);
                timeout.write(encoder);
            }
            Self::Request { after } => {
                encoder.u8(3);
                encoder.u64(*after);
            }
            Self::Chain { blocks, certificate } => {
                encoder.u8(4);
                encoder.length(blocks.len());
                for block in blocks {
                    block.write(encoder);
                }
                certificate.write(encoder);
            }
        }
    }

    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, WireError> {
        Ok(match decoder.u8("message")? {
            0 => Self::Proposal(Proposal { block: Block::read(decoder)?, signature: decoder.signature()? }),
            1 => Self::Vote(Vote::read(decoder)?),
            2 => Self::Timeout(Timeout::read(decoder)?),
            3 => Self::Request { after: decoder.u64("after")? },
            4 => Self::Chain {
                // A block takes at least 78 bytes.
                blocks: decoder.list(MAX_CHAIN, 78, "blocks", Block::read)?,
                certificate: QuorumCertificate::read(decoder)?,
            },
            _ => return Err(WireError::Malformed { field: "message" }),
        })
    }
}

/// What happens to a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "taken and given one at a time, never kept in numbers")]
pub enum Input {
    /// A message of a validator, whose link is authenticated.
    Message {
        /// Who sent it.
        from: NodeId,
        /// The epoch it is of.
        epoch: u64,
        /// The message.
        message: Message,
    },
    /// The application has looked at a block's payload.
    Validated {
        /// The block.
        block: Hash,
        /// Whether it may be settled.
        ok: bool,
    },
    /// Whether something waits to be settled, so that a leader should not wait for the block interval.
    Pending(bool),
    /// The answer to [`Output::Build`]. A payload is taken back by nobody: where its view ends without certificate, the block
    /// is lost, and what it carried has to be given again.
    Payload {
        /// The view asked for.
        view: u64,
        /// What to settle, at most [`MAX_PAYLOAD`](super::MAX_PAYLOAD) bytes; may be empty.
        payload: Arc<[u8]>,
        /// The next epoch's validators, to close this one.
        next: Option<Arc<[(NodeId, u64)]>>,
    },
    /// All entries up to this token are durable.
    Persisted(u64),
    /// The application or the store has failed: nothing further is safe.
    Failed(Failure),
    /// Time has passed.
    Tick,
}

/// What a replica wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send to one validator.
    Send {
        /// To whom.
        to: NodeId,
        /// The epoch it is of.
        epoch: u64,
        /// The message.
        message: Message,
    },
    /// Send to all other validators.
    Broadcast {
        /// The epoch it is of.
        epoch: u64,
        /// The message.
        message: Message,
    },
    /// Look at a block's payload ([`Replica::block`](super::Replica::block)), then say [`Input::Validated`].
    Validate {
        /// The block.
        block: Hash,
    },
    /// This replica leads: say what to settle, with [`Input::Payload`].
    Build {
        /// The view.
        view: u64,
        /// The block to build on.
        parent: Hash,
    },
    /// Keep these entries, then say [`Input::Persisted`]. Tokens ascend.
    Persist {
        /// The number to give back.
        token: u64,
        /// What to keep, all or nothing.
        entries: Vec<Entry>,
    },
    /// A block is committed for good, and durable. Heights ascend by one. Told at most once: see
    /// [`Replica`](super::Replica) for what a restart has left untold.
    Committed {
        /// Its id.
        id: Hash,
        /// The block.
        block: Block,
    },
    /// An epoch has begun.
    Epoch(Committee),
    /// A peer asks for blocks that are no longer in memory: send it what [`chain_from_store`](super::chain_from_store) finds.
    Serve {
        /// Who asks.
        to: NodeId,
        /// The epoch of the blocks.
        epoch: u64,
        /// The height above which.
        after: u64,
    },
    /// A validator has contradicted itself. Told once for each offender, kind, and view, but for restarts.
    Evidence(Evidence),
    /// Four deadlines or more in a row have passed without a commit. Told at each further one.
    Stalled(ReplicaStall),
}

/// Deadlines pass without a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaStall {
    /// The view now.
    pub view: u64,
    /// The committed height.
    pub height: u64,
    /// Deadlines in a row that passed without a commit.
    pub given_up: u32,
    /// Stake heard to give up the present view or a later one.
    pub heard_stake: u64,
    /// Stake needed.
    pub quorum: u64,
}

/// What a replica remembers besides blocks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VoteState {
    /// The epoch.
    pub epoch: u64,
    /// Where the epoch began.
    pub root: Root,
    /// Last vote and timeout.
    pub safety: Safety,
    /// View of the last own proposal; 0 for none.
    pub last_proposed: u64,
    /// The highest certificate.
    pub high: QuorumCertificate,
    /// The timeout certificate by which the view was entered, if it was.
    pub entry: Option<TimeoutCertificate>,
    /// The last committed block.
    pub committed: Root,
    /// The last epoch in which the replica takes no part, because it lost its store; `None` where it never did.
    pub lost: Option<u64>,
}

impl VoteState {
    pub(super) fn entry(&self, chain: &Hash) -> Entry {
        let mut encoder = Encoder::new("state", chain, self.epoch);
        for root in [&self.root, &self.committed] {
            encoder.hash(&root.id);
            encoder.u64(root.height);
        }
        encoder.u64(self.safety.last_voted());
        encoder.u64(self.safety.last_timeout());
        encoder.u64(self.last_proposed);
        self.high.write(&mut encoder);
        encoder.u8(u8::from(self.entry.is_some()));
        if let Some(entry) = &self.entry {
            entry.write(&mut encoder);
        }
        encoder.u8(u8::from(self.lost.is_some()));
        if let Some(epoch) = self.lost {
            encoder.u64(epoch);
        }
        Entry { kind: EntryKind::VoteState, number: 0, id: [0; 32], bytes: encoder.finish().into() }
    }

    /// From the bytes of a kept [`EntryKind::VoteState`] entry.
    ///
    /// # Errors
    /// [`WireError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (kind, _, epoch, mut decoder) = Decoder::open(bytes)?;
        if kind != b"state" {
            return Err(WireError::Malformed { field: "kind" });
        }
        let mut root = || Ok::<_, WireError>(Root { id: decoder.hash("root")?, height: decoder.u64("root")? });
        let (root, committed) = (root()?, root()?);
        let safety = Safety::new(decoder.u64("last voted")?, decoder.u64("last timeout")?);
        let last_proposed = decoder.u64("last proposed")?;
        let high = QuorumCertificate::read(&mut decoder)?;
        let entry = if decoder.flag("entry")? { Some(TimeoutCertificate::read(&mut decoder)?) } else { None };
        let lost = if decoder.flag("lost")? { Some(decoder.u64("lost")?) } else { None };
        decoder.end()?;
        Ok(Self { epoch, root, safety, last_proposed, high, entry, committed, lost })
    }
}

/// Why a replica or a node of both tracks refused a call. What was refused has changed nothing; of a message that carries
/// several blocks or certificates, those before it are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The replica was told of a failure, could not sign, or saw more faulty stake than it can bear, and does nothing further.
    #[error("poisoned")]
    Poisoned,
    /// A message was refused; or a payload, transaction or order given here, with [`MessageError::TooLarge`],
    /// [`MessageError::Malformed`] or [`MessageError::Busy`].
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A payload for a view in which none was asked for.
    #[error("no payload was asked for in view {view}")]
    NotBuilding {
        /// The view.
        view: u64,
    },
    /// What a replica should begin with again contradicts itself.
    #[error("stored state: {0}")]
    Stored(#[from] WireError),
    /// A stored block is missing, or is of another chain or epoch.
    #[error("stored block at height {height} does not fit")]
    StoredBlock {
        /// Its height.
        height: u64,
    },
}
