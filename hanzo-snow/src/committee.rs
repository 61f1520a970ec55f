//! The validators of one epoch, who signed what, and the seam to signatures.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use signature::{SignatureEncoding, Signer, Verifier};

use crate::checkpoint::Hash;
use crate::quorum::{Quorum, QuorumError};
use crate::sampler::{SetError, ValidatorSet};
use crate::wire::{Decoder, Encoder, Signature, WireError};

/// A validator's name: any 32 bytes, such as the hash of its public key.
pub type NodeId = [u8; 32];

/// Most validators of a committee.
pub const MAX_VALIDATORS: usize = 4_096;

/// The validators of one epoch of one chain. Messages and certificates name a validator by its position here.
///
/// ```
/// use hanzo_snow::{Committee, ValidatorSet};
///
/// let validators = ValidatorSet::new((0..4).map(|n| ([n; 32], 25)))?;
/// let committee = Committee::new([9; 32], 0, validators)?;
/// assert_eq!(committee.quorum().stake(), 67);
/// # Ok::<(), hanzo_snow::SetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committee {
    chain: Hash,
    epoch: u64,
    validators: ValidatorSet<NodeId>,
    quorum: Quorum,
}

impl Committee {
    /// The committee of an epoch.
    ///
    /// # Errors
    /// [`SetError::TooMany`] above [`MAX_VALIDATORS`].
    pub fn new(chain: Hash, epoch: u64, validators: ValidatorSet<NodeId>) -> Result<Self, SetError> {
        if validators.len() > MAX_VALIDATORS {
            return Err(SetError::TooMany { limit: MAX_VALIDATORS });
        }
        let quorum = validators.quorum();
        Ok(Self { chain, epoch, validators, quorum })
    }

    /// The same with another quorum, which is unsafe unless it is larger: to see what a wrong quorum does.
    #[cfg(feature = "simulate")]
    #[must_use]
    pub(crate) const fn with_quorum(mut self, stake: u64) -> Self {
        self.quorum = Quorum::weakened(self.validators.total_stake(), stake);
        self
    }

    /// The chain.
    #[must_use]
    pub const fn chain(&self) -> &Hash {
        &self.chain
    }

    /// The epoch.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The validators, in the order of their positions.
    #[must_use]
    pub const fn validators(&self) -> &ValidatorSet<NodeId> {
        &self.validators
    }

    /// The quorum.
    #[must_use]
    pub const fn quorum(&self) -> Quorum {
        self.quorum
    }

    /// Number of validators.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub const fn len(&self) -> usize {
        self.validators.len()
    }

    /// Position of a validator.
    #[must_use]
    pub fn position(&self, node: &NodeId) -> Option<u32> {
        self.validators.position(node).and_then(|at| u32::try_from(at).ok())
    }

    /// The validator at a position.
    #[must_use]
    pub fn node(&self, position: u32) -> Option<&NodeId> {
        self.validators.nodes().get(position as usize)
    }

    /// Stake of the validator at a position; 0 for none.
    #[must_use]
    pub fn stake(&self, position: u32) -> u64 {
        self.validators.stakes().get(position as usize).copied().unwrap_or(0)
    }

    /// Checks that signers are members with a quorum of stake.
    pub(crate) fn check(&self, signers: &Signers) -> Result<(), QuorumError> {
        let mut stake = 0;
        for (index, position) in signers.iter().enumerate() {
            if position as usize >= self.len() {
                return Err(QuorumError::UnknownSigner { index });
            }
            stake += self.stake(position);
        }
        if self.quorum.is_reached(stake) {
            Ok(())
        } else {
            Err(QuorumError::TooLittleStake { stake, quorum: self.quorum.stake() })
        }
    }

    pub(crate) fn encoder(&self, kind: &str) -> Encoder {
        Encoder::new(kind, &self.chain, self.epoch)
    }
}

/// Positions of those who signed, one bit each: ascending and without repetition by form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Signers(Arc<[u8]>);

impl Signers {
    /// From positions in any order. Repeated ones count once; those from [`MAX_VALIDATORS`] on are left out.
    #[must_use]
    pub fn new(positions: impl IntoIterator<Item = u32>) -> Self {
        let mut bytes: Vec<u8> = Vec::new();
        for position in positions {
            let at = position as usize / 8;
            if at >= MAX_VALIDATORS / 8 {
                continue;
            }
            if at >= bytes.len() {
                bytes.resize(at + 1, 0);
            }
            bytes[at] |= 1 << (position % 8);
        }
        Self(bytes.into())
    }

    /// The positions, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        (0_u32..)
            .zip(self.0.iter())
            .flat_map(|(at, &byte)| (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| 8 * at + bit))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// Whether nobody signed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a position signed.
    #[must_use]
    pub fn contains(&self, position: u32) -> bool {
        self.0.get(position as usize / 8).is_some_and(|byte| byte >> (position % 8) & 1 == 1)
    }

    pub(crate) fn write(&self, encoder: &mut Encoder) {
        encoder.bytes(&self.0);
    }

    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, WireError> {
        let bytes = decoder.bytes(MAX_VALIDATORS / 8, "signers")?;
        // One form only: no zero byte at the end.
        if bytes.last() == Some(&0) {
            return Err(WireError::Malformed { field: "signers" });
        }
        Ok(Self(bytes.into()))
    }
}

impl fmt::Debug for Signers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Signs for one validator.
pub trait Sign {
    /// The signature of a message, at most [`MAX_SIGNATURE`](crate::MAX_SIGNATURE) bytes: nobody reads a longer one.
    ///
    /// # Errors
    /// [`SignatureError`] where the signer fails, such as a device that is gone. A [`Replica`](crate::settlement::Replica) that
    /// cannot sign stops for good; the fast path tries again.
    fn sign(&self, message: &[u8]) -> Result<Signature, SignatureError>;
}

/// Checks signatures of validators.
///
/// # Guarantees
/// `Ok` means that every item (validator, message, signature) is valid. A scheme with batch verification does better than
/// one by one.
pub trait VerifyAll {
    /// Checks all items.
    ///
    /// # Errors
    /// [`SignatureError`] if one is not valid or its validator is unknown.
    fn verify_all(&self, items: &[(NodeId, &[u8], &[u8])]) -> Result<(), SignatureError>;
}

/// A signature was refused or could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("signature refused")]
pub struct SignatureError;

/// A signing key and a directory of verifying keys of one scheme of the `signature` traits.
///
/// ```
/// use hanzo_snow::{Keys, Sign, VerifyAll};
/// # use signature::{Error, SignatureEncoding, Signer, Verifier};
/// # #[derive(Clone)]
/// # struct Tag([u8; 4]);
/// # impl TryFrom<&[u8]> for Tag {
/// #     type Error = Error;
/// #     fn try_from(bytes: &[u8]) -> Result<Self, Error> { bytes.try_into().map(Tag).map_err(|_| Error::new()) }
/// # }
/// # impl From<Tag> for [u8; 4] { fn from(tag: Tag) -> Self { tag.0 } }
/// # impl SignatureEncoding for Tag { type Repr = [u8; 4]; }
/// # struct Toy(u8);
/// # impl Toy { fn tag(&self, m: &[u8]) -> [u8; 4] { [self.0, m.len() as u8, m[0], m[m.len() - 1]] } }
/// # impl Signer<Tag> for Toy { fn try_sign(&self, m: &[u8]) -> Result<Tag, Error> { Ok(Tag(self.tag(m))) } }
/// # impl Verifier<Tag> for Toy {
/// #     fn verify(&self, m: &[u8], s: &Tag) -> Result<(), Error> {
/// #         if s.0 == self.tag(m) { Ok(()) } else { Err(Error::new()) }
/// #     }
/// # }
/// // `Toy` is a `Signer<Tag>` and a `Verifier<Tag>`, as the keys of any scheme are.
/// let keys = Keys::new(Toy(7), [([1; 32], Toy(7)), ([2; 32], Toy(8))]);
/// let signature = keys.sign(b"yes")?;
/// assert!(keys.verify_all(&[([1; 32], b"yes", &signature)]).is_ok());
/// assert!(keys.verify_all(&[([2; 32], b"yes", &signature)]).is_err());
/// # Ok::<(), hanzo_snow::SignatureError>(())
/// ```
pub struct Keys<K, V, S> {
    signer: K,
    directory: BTreeMap<NodeId, V>,
    scheme: PhantomData<fn() -> S>,
}

impl<K, V, S> Keys<K, V, S> {
    /// Signs with `signer`, verifies with the keys of `directory`.
    pub fn new(signer: K, directory: impl IntoIterator<Item = (NodeId, V)>) -> Self {
        Self { signer, directory: directory.into_iter().collect(), scheme: PhantomData }
    }
}

impl<K, V, S> fmt::Debug for Keys<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("directory", &self.directory.len()).finish_non_exhaustive()
    }
}

impl<K: Signer<S>, V, S: SignatureEncoding> Sign for Keys<K, V, S> {
    fn sign(&self, message: &[u8]) -> Result<Signature, SignatureError> {
        let signature = self.signer.try_sign(message).map_err(|_| SignatureError)?;
        Ok(signature.to_bytes().as_ref().into())
    }
}

impl<K, V: Verifier<S>, S: SignatureEncoding> VerifyAll for Keys<K, V, S> {
    fn verify_all(&self, items: &[(NodeId, &[u8], &[u8])]) -> Result<(), SignatureError> {
        for (node, message, signature) in items {
            let key = self.directory.get(node).ok_or(SignatureError)?;
            let signature = S::try_from(signature).map_err(|_| SignatureError)?;
            key.verify(message, &signature).map_err(|_| SignatureError)?;
        }
        Ok(())
    }
}

impl<T: Sign + ?Sized> Sign for Arc<T> {
    fn sign(&self, message: &[u8]) -> Result<Signature, SignatureError> {
        (**self).sign(message)
    }
}

impl<T: VerifyAll + ?Sized> VerifyAll for Arc<T> {
    fn verify_all(&self, items: &[(NodeId, &[u8], &[u8])]) -> Result<(), SignatureError> {
        (**self).verify_all(items)
    }
}

/// Checks one signature of a member.
pub(crate) fn verify_one(
    committee: &Committee,
    keys: &impl VerifyAll,
    position: u32,
    message: &[u8],
    signature: &[u8],
) -> Result<(), MessageError> {
    let node = committee.node(position).ok_or(MessageError::UnknownValidator { position })?;
    keys.verify_all(&[(*node, message, signature)]).map_err(|_| MessageError::Signature)
}

/// Checks a quorum's signatures, each on its message, which may be shared with others.
pub(crate) fn verify_quorum(
    committee: &Committee,
    keys: &impl VerifyAll,
    signers: &Signers,
    signatures: &[Signature],
    mut message: impl FnMut(usize) -> Arc<[u8]>,
) -> Result<(), MessageError> {
    committee.check(signers)?;
    if signers.len() != signatures.len() {
        return Err(MessageError::Malformed { field: "signatures" });
    }
    let messages: Vec<Arc<[u8]>> = (0..signatures.len()).map(&mut message).collect();
    let mut items = Vec::with_capacity(signatures.len());
    for ((position, message), signature) in signers.iter().zip(&messages).zip(signatures) {
        let node = committee.node(position).ok_or(MessageError::UnknownValidator { position })?;
        items.push((*node, &message[..], &signature[..]));
    }
    keys.verify_all(&items).map_err(|_| MessageError::Signature)
}

/// Why a message was refused. What was refused has changed nothing; of a message that carries several certificates or blocks,
/// those before it are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// A signature is not valid.
    #[error("a signature is not valid")]
    Signature,
    /// The message is of another chain.
    #[error("message of another chain")]
    WrongChain,
    /// The message is of another epoch.
    #[error("message of epoch {found}, not {expected}")]
    WrongEpoch {
        /// The epoch here.
        expected: u64,
        /// The message's.
        found: u64,
    },
    /// The message is of a view or round that is over.
    #[error("message of {found}, now at {current}")]
    Stale {
        /// View or round of the message.
        found: u64,
        /// View or round here.
        current: u64,
    },
    /// The message is of a view or round too far ahead.
    #[error("message of {found}, now at {current}")]
    TooFarAhead {
        /// View or round of the message.
        found: u64,
        /// View or round here.
        current: u64,
    },
    /// A field does not fit the others.
    #[error("malformed {field}")]
    Malformed {
        /// The field.
        field: &'static str,
    },
    /// A field holds too much.
    #[error("{field} is too large")]
    TooLarge {
        /// The field.
        field: &'static str,
    },
    /// A position without validator; `u32::MAX` for a sender that is none.
    #[error("no validator at position {position}")]
    UnknownValidator {
        /// The position.
        position: u32,
    },
    /// The proposer is not the leader of the view.
    #[error("validator {proposer} does not lead view {view}")]
    NotLeader {
        /// The view.
        view: u64,
        /// Who proposed.
        proposer: u32,
    },
    /// A queue is full.
    #[error("busy")]
    Busy,
    /// A quorum was not reached.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
}
