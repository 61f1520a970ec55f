//! What is signed, and how a signature travels. Generic over the `signature` traits.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use signature::{SignatureEncoding, Signer, Verifier};

use crate::encoding::Reader;
use crate::error::{Error, Result};
use crate::hash::{Hash, PartyId};
use crate::suite::Suite;

/// Which kind of message a signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum SignedKind {
    /// An [`Attestation`](crate::Attestation).
    Attestation = 1,
    /// A [`BatchHeader`](crate::BatchHeader).
    Batch = 2,
    /// A [`DisputeMessage`](crate::DisputeMessage).
    DisputeMessage = 3,
    /// A [`Verdict`](crate::Verdict).
    Verdict = 4,
    /// A [`Contribution`](crate::Contribution) to the beacon.
    Contribution = 5,
    /// A [`TaskReport`](crate::TaskReport).
    TaskReport = 6,
}

/// A body with a canonical encoding that parties sign.
pub trait Signable: Sized {
    /// Its kind.
    const KIND: SignedKind;

    /// The tagged hash that is signed.
    fn signing_hash(&self) -> Hash;

    /// The canonical bytes.
    fn to_bytes(&self) -> Vec<u8>;

    /// Strict decoding of [`Signable::to_bytes`].
    ///
    /// # Errors
    /// Whatever is wrong with the bytes.
    fn from_bytes(bytes: &[u8]) -> Result<Self>;
}

/// The 52 bytes a signature covers: `hanzo-poai v1 sign`, 0, kind, hash.
pub fn signed_message(kind: SignedKind, hash: &Hash) -> [u8; 52] {
    let mut message = [0; 52];
    message[..18].copy_from_slice(b"hanzo-poai v1 sign");
    message[19] = kind as u8;
    message[20..].copy_from_slice(hash);
    message
}

/// A body and a signature over it. Holding one says nothing: call [`Signed::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<T, S> {
    body: T,
    signature: S,
}

impl<T: Signable, S> Signed<T, S> {
    /// Signs `body`.
    ///
    /// # Errors
    /// [`Error::BadSignature`] when the key fails to sign.
    pub fn sign(body: T, key: &impl Signer<S>) -> Result<Self> {
        let message = signed_message(T::KIND, &body.signing_hash());
        let signature = key.try_sign(&message).map_err(|_| Error::BadSignature)?;
        Ok(Self { body, signature })
    }

    /// Joins a body with a signature made elsewhere.
    pub const fn from_parts(body: T, signature: S) -> Self {
        Self { body, signature }
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`Error::BadSignature`].
    pub fn verify(&self, key: &impl Verifier<S>) -> Result<()> {
        verify_hash(T::KIND, &self.body.signing_hash(), &self.signature, key)
    }

    /// The body.
    pub const fn body(&self) -> &T {
        &self.body
    }

    /// The signature.
    pub const fn signature(&self) -> &S {
        &self.signature
    }

    /// The body without its signature.
    pub fn into_body(self) -> T {
        self.body
    }
}

impl<T: Signable, S: SignatureEncoding> Signed<T, S> {
    /// Wire form: u32 length and body, then u32 length and signature.
    ///
    /// # Errors
    /// [`Error::Length`] for a signature or body outside its range.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let body = self.body.to_bytes();
        let len = u32::try_from(body.len()).map_err(|_| Error::Overflow)?;
        let mut out = len.to_be_bytes().to_vec();
        out.extend_from_slice(&body);
        out.extend_from_slice(&encode_signature(&self.signature)?);
        Ok(out)
    }

    /// Strict decoding of [`Signed::encode`].
    ///
    /// # Errors
    /// Whatever is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let len = reader.u32()? as usize;
        let body = T::from_bytes(reader.slice(len)?)?;
        let signature = decode_signature(reader.slice(reader.remaining())?)?;
        Ok(Self { body, signature })
    }
}

/// Wire form of a signature: u32 length (1 to 65,536), then its bytes.
///
/// # Errors
/// [`Error::Length`] for a length outside that range.
pub fn encode_signature<S: SignatureEncoding>(signature: &S) -> Result<Vec<u8>> {
    let bytes = signature.to_bytes();
    let len = check_signature_len(bytes.as_ref().len())?;
    let mut out = len.to_be_bytes().to_vec();
    out.extend_from_slice(bytes.as_ref());
    Ok(out)
}

/// Strict decoding of [`encode_signature`].
///
/// # Errors
/// [`Error::Length`] for a wrong length, [`Error::BadSignature`] for bytes the scheme refuses.
pub fn decode_signature<S: SignatureEncoding>(bytes: &[u8]) -> Result<S> {
    let mut reader = Reader::new(bytes);
    let len = reader.u32()? as usize;
    check_signature_len(len)?;
    let body = reader.slice(len)?;
    reader.finish()?;
    S::try_from(body).map_err(|_| Error::BadSignature)
}

/// Where verifying keys are found.
///
/// # Guarantees
/// An implementor returns the key that `party` registered for `suite`, the same one for every caller.
pub trait KeyDirectory<V> {
    /// The key of a party under a suite.
    fn verifier(&self, party: &PartyId, suite: Suite) -> Option<&V>;
}

impl<V> KeyDirectory<V> for BTreeMap<(PartyId, Suite), V> {
    fn verifier(&self, party: &PartyId, suite: Suite) -> Option<&V> {
        self.get(&(*party, suite))
    }
}

pub(crate) fn verify_hash<S>(kind: SignedKind, hash: &Hash, signature: &S, key: &impl Verifier<S>) -> Result<()> {
    key.verify(&signed_message(kind, hash), signature).map_err(|_| Error::BadSignature)
}

fn check_signature_len(len: usize) -> Result<u32> {
    match u32::try_from(len) {
        Ok(len @ 1..=MAX_SIGNATURE) => Ok(len),
        _ => Err(Error::Length { want: u64::from(MAX_SIGNATURE), got: len as u64 }),
    }
}

const MAX_SIGNATURE: u32 = 65_536;
