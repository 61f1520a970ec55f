//! What goes into the fast path and what comes out.

use alloc::vec::Vec;
use core::time::Duration;

use super::certificate::{Ack, Certificate};
use super::vertex::{Tx, Vertex};
use crate::checkpoint::Hash;
use crate::committee::NodeId;
use crate::evidence::Evidence;
use crate::store::Record;
use crate::wire::{Decoder, Encoder, WireError};

/// Most certificates asked for or sent at once.
pub const MAX_GET: usize = 64;

/// Settings of the fast path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FastConfig {
    pub(super) own: NodeId,
    pub(super) round_interval: Duration,
    pub(super) round_timeout: Duration,
    pub(super) idle_interval: Duration,
    pub(crate) resend: Duration,
    pub(super) ahead: u64,
    pub(super) max_pool: usize,
    pub(super) max_txs: usize,
    pub(super) max_locks: usize,
}

impl FastConfig {
    /// The validator `own`: a round no sooner than 20 ms after the one before, 100 ms for the own vertex to be certified once a
    /// quorum's are, a round a second where there is nothing to do, messages sent again after 500 ms, acknowledgements up to two
    /// rounds ahead, 16,384 transactions waiting, 1,024 in a vertex, and 2^22 locked keys an epoch.
    #[must_use]
    pub const fn new(own: NodeId) -> Self {
        Self {
            own,
            round_interval: Duration::from_millis(20),
            round_timeout: Duration::from_millis(100),
            idle_interval: Duration::from_secs(1),
            resend: Duration::from_millis(500),
            ahead: 2,
            max_pool: 16_384,
            max_txs: super::MAX_TXS,
            max_locks: 1 << 22,
        }
    }

    /// The least time between rounds. A round costs signatures and a durable record for every validator, however little there is to
    /// certify: over short links this, not the links, bounds what is spent.
    #[must_use]
    pub const fn round_interval(mut self, interval: Duration) -> Self {
        self.round_interval = interval;
        self
    }

    /// How long a round waits for the own vertex once a quorum's are certified. Where that is too short, as for a validator far
    /// from the others, the wait doubles with each round that ends before, to sixteen times this at most, and shrinks again.
    #[must_use]
    pub const fn round_timeout(mut self, timeout: Duration) -> Self {
        self.round_timeout = timeout;
        self
    }

    /// The time between rounds where no transaction waits or is unsettled; at least 1 ms: a shorter one is taken as that.
    #[must_use]
    pub fn idle_interval(mut self, interval: Duration) -> Self {
        self.idle_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// After how long an unanswered message is sent again; at least 1 ms: a shorter one is taken as that.
    #[must_use]
    pub fn resend(mut self, interval: Duration) -> Self {
        self.resend = interval.max(Duration::from_millis(1));
        self
    }

    /// Transactions that may wait for a vertex; more are refused.
    #[must_use]
    pub const fn max_pool(mut self, txs: usize) -> Self {
        self.max_pool = txs;
        self
    }

    /// Transactions of one vertex; more than [`MAX_TXS`](super::MAX_TXS) are taken as that. With 0 the node certifies for others
    /// only.
    #[must_use]
    pub fn max_txs(mut self, txs: usize) -> Self {
        self.max_txs = txs.min(super::MAX_TXS);
        self
    }

    /// Keys that may be locked in an epoch, each with its rows in hash maps until the epoch ends; beyond it no transaction with
    /// a new key is acknowledged, and [`DualTrack`](crate::DualTrack) closes the epoch.
    #[must_use]
    pub const fn max_locks(mut self, keys: usize) -> Self {
        self.max_locks = keys;
        self
    }
}

/// What validators say to each other on the fast path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FastMessage {
    /// A vertex, from its author.
    Vertex(Vertex),
    /// An acknowledgement, to the author.
    Ack(Ack),
    /// A certificate, from the author.
    Certificate(Certificate),
    /// Asks for certificates by id; at most [`MAX_GET`].
    Get(Vec<Hash>),
    /// Certificates with their vertices; at most [`MAX_GET`].
    Certificates(Vec<(Certificate, Vertex)>),
}

impl FastMessage {
    /// As bytes.
    #[must_use]
    pub fn encode(&self, chain: &Hash, epoch: u64) -> Vec<u8> {
        let mut encoder = Encoder::new("fastpath", chain, epoch);
        self.write(&mut encoder);
        encoder.finish()
    }

    /// From bytes, with the chain and the epoch. That the chain is the own one is the caller's to see to.
    ///
    /// # Errors
    /// [`WireError`] for anything that [`encode`](Self::encode) would not have written.
    pub fn decode(bytes: &[u8]) -> Result<(Hash, u64, Self), WireError> {
        let (kind, chain, epoch, mut decoder) = Decoder::open(bytes)?;
        if kind != b"fastpath" {
            return Err(WireError::Malformed { field: "kind" });
        }
        let message = Self::read(&mut decoder, &chain, epoch)?;
        decoder.end()?;
        Ok((chain, epoch, message))
    }

    pub(crate) fn write(&self, encoder: &mut Encoder) {
        match self {
            Self::Vertex(vertex) => {
                encoder.u8(0);
                vertex.write(encoder);
            }
            Self::Ack(ack) => {
                encoder.u8(1);
                ack.write(encoder);
            }
            Self::Certificate(certificate) => {
                encoder.u8(2);
                certificate.write(encoder);
            }
            Self::Get(ids) => {
                encoder.u8(3);
                encoder.hashes(ids);
            }
            Self::Certificates(certificates) => {
                encoder.u8(4);
                encoder.length(certificates.len());
                for (certificate, vertex) in certificates {
                    certificate.write(encoder);
                    vertex.write(encoder);
                }
            }
        }
    }

    pub(crate) fn read(decoder: &mut Decoder<'_>, chain: &Hash, epoch: u64) -> Result<Self, WireError> {
        Ok(match decoder.u8("message")? {
            0 => Self::Vertex(Vertex::read(decoder, chain, epoch)?),
            1 => Self::Ack(Ack::read(decoder)?),
            2 => Self::Certificate(Certificate::read(decoder)?),
            3 => Self::Get(decoder.hashes(MAX_GET, "ids")?),
            4 => Self::Certificates(decoder.list(MAX_GET, 80, "certificates", |decoder| {
                Ok((Certificate::read(decoder)?, Vertex::read(decoder, chain, epoch)?))
            })?),
            _ => return Err(WireError::Malformed { field: "message" }),
        })
    }
}

/// What happens to the fast path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FastInput {
    /// A message of a validator of this epoch, whose link is authenticated.
    Message {
        /// Position of the sender.
        from: u32,
        /// The message.
        message: FastMessage,
    },
    /// A transaction for the next vertex. Until it is in one it is in memory only.
    Submit(Tx),
    /// All records up to this token are durable.
    Persisted(u64),
    /// Time has passed.
    Tick,
}

/// A transaction and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TxPlace {
    /// Id of the transaction.
    pub id: Hash,
    /// The round of its vertex.
    pub round: u64,
    /// Position of the vertex's author.
    pub author: u32,
    /// Its place in the vertex.
    pub index: u32,
    /// The transaction.
    pub tx: Tx,
}

/// What the fast path wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "taken and given one at a time, never kept in numbers")]
pub enum FastOutput {
    /// Send to one validator.
    Send {
        /// Its position.
        to: u32,
        /// The message.
        message: FastMessage,
    },
    /// Send to all other validators.
    Broadcast(FastMessage),
    /// Keep these records, then say [`FastInput::Persisted`]. Tokens ascend.
    Persist {
        /// The number to give back.
        token: u64,
        /// What to keep, all or nothing.
        records: Vec<Record<Hash>>,
    },
    /// The own vertex is certified, and these of its transactions: no conflicting one can be in this epoch. No finality.
    CertificateFormed {
        /// Id of the certificate.
        id: Hash,
        /// Its round.
        round: u64,
        /// Transactions certified, by place in the vertex.
        certified: Vec<u32>,
    },
    /// First level: a quorum holds the certificate, so the transaction will settle. Good for operations on its own keys.
    Certified(TxPlace),
    /// A validator has contradicted itself. Told once for each offender, kind and round.
    Evidence(Evidence),
}
