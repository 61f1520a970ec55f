use serde::Serialize;

use crate::json::{self, MAX_INTEGER};
use crate::merkle::{Origin, hex_byte};
use crate::{Error, ExperienceId, Result};

/// A vote on an experience.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vote {
    /// It harms.
    Down,
    /// No opinion; takes an earlier vote back.
    #[default]
    Abstain,
    /// It helps.
    Up,
}

impl Vote {
    /// -1, 0 or 1.
    pub const fn value(self) -> i8 {
        match self {
            Self::Down => -1,
            Self::Abstain => 0,
            Self::Up => 1,
        }
    }

    fn of(value: i8) -> Self {
        match value {
            1 => Self::Up,
            0 => Self::Abstain,
            _ => Self::Down,
        }
    }
}

/// A vote as it travels: with the voter's logical time, and a signature over [`vote_message`].
///
/// Of two votes of one voter the greater counts, by logical time, then value, then signature bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignedVote {
    lamport: u64,
    value: Vote,
    signature: Vec<u8>,
}

impl SignedVote {
    /// Largest number of bytes of a signature.
    pub const MAX_SIGNATURE: usize = 16_384;

    /// A vote at a logical time of the voter, at most 2^53 - 1, that must grow from vote to vote on one experience.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for the time; [`Error::TooManyBytes`] for the signature.
    pub fn new(lamport: u64, value: Vote, signature: Vec<u8>) -> Result<Self> {
        if lamport > MAX_INTEGER {
            return Err(Error::OutOfRange { field: "lamport" });
        }
        if signature.len() > Self::MAX_SIGNATURE {
            return Err(Error::TooManyBytes { got: signature.len(), max: Self::MAX_SIGNATURE });
        }
        Ok(Self { lamport, value, signature })
    }

    /// Logical time of the voter.
    pub fn lamport(&self) -> u64 {
        self.lamport
    }

    /// The vote.
    pub fn value(&self) -> Vote {
        self.value
    }

    /// Signature bytes; empty for a vote that never leaves its library.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// The bytes that a voter signs: `hanzo.experience.vote.v1`, a zero byte, the origin of the library with its length as
/// two bytes, the id, the logical time as eight bytes, the value as one byte in two's complement; big-endian.
pub fn vote_message(origin: &Origin, id: &ExperienceId, lamport: u64, vote: Vote) -> Vec<u8> {
    let mut message = b"hanzo.experience.vote.v1\0".to_vec();
    // An origin has at most 255 bytes.
    message.extend((origin.as_str().len() as u16).to_be_bytes());
    message.extend(origin.as_str().bytes());
    message.extend(id.as_bytes());
    message.extend(lamport.to_be_bytes());
    message.extend(vote.value().to_be_bytes());
    message
}

/// Decides whether a vote is of the voter that it names. Any `Fn(voter, message, signature) -> bool` is one.
///
/// # Guarantees
/// The same answer for the same arguments on every replica, or replicas do not converge.
pub trait VoteVerifier {
    /// Whether `signature` is the voter's over `message`, which is a [`vote_message`].
    fn verify(&self, voter: &str, message: &[u8], signature: &[u8]) -> bool;
}

impl<F: Fn(&str, &[u8], &[u8]) -> bool> VoteVerifier for F {
    fn verify(&self, voter: &str, message: &[u8], signature: &[u8]) -> bool {
        self(voter, message, signature)
    }
}

/// A voter signed two different votes on one experience at one logical time. The greater of the two counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivocation {
    /// The experience.
    pub id: ExperienceId,
    /// The voter.
    pub voter: String,
    /// Both votes, the lesser first.
    pub votes: [SignedVote; 2],
}

/// As the members `lamport`, `sig` (hex) and `value`.
impl Serialize for SignedVote {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Declared in RFC 8785 order.
        #[derive(Serialize)]
        struct Canonical {
            lamport: u64,
            sig: String,
            value: i8,
        }
        let digits = self.signature.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let sig = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
        Canonical { lamport: self.lamport, sig, value: self.value.value() }.serialize(serializer)
    }
}

json::shape! {
    pub(super) struct VoteMembers {
        lamport: u64,
        sig: String,
        value: i8,
    }
}

impl VoteMembers {
    pub(super) fn check(self) -> Result<SignedVote> {
        let (pairs, odd) = self.sig.as_bytes().as_chunks::<2>();
        if !odd.is_empty() {
            return Err(Error::OutOfRange { field: "sig" });
        }
        let bytes: Option<Vec<u8>> = pairs.iter().map(|pair| hex_byte(*pair)).collect();
        let signature = bytes.ok_or(Error::OutOfRange { field: "sig" })?;
        SignedVote::new(self.lamport, Vote::of(self.value), signature)
    }
}
