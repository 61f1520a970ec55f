use core::fmt;
use core::str::FromStr;

use base64ct::{Base64, Encoding};
use signature::{SignatureEncoding, Signer, Verifier};

use super::{Checkpoint, Origin};
use crate::{Error, Result};

/// A checkpoint with signatures over its body, as a [C2SP signed note](https://c2sp.org/signed-note).
///
/// Signatures come from any [`Signer`]; key ids come from the caller, since their rule depends on the algorithm. The
/// checkpoint is reached only through [`verify`](Self::verify) or, knowingly, [`unverified`](Self::unverified).
///
/// ```
/// use hanzo_experience::merkle::{Log, SignedCheckpoint};
/// use hanzo_experience::signature::Keypair;
/// use ml_dsa::{MlDsa65, Signature, SigningKey};
///
/// let key = SigningKey::<MlDsa65>::from_seed(&[7; 32].into());
/// let mut signed = SignedCheckpoint::new(Log::new().checkpoint(&"example.com/log".parse()?));
/// signed.sign::<Signature<MlDsa65>, _>(&"example.com/log".parse()?, 0x1234_5678, &key)?;
///
/// let note: SignedCheckpoint = signed.to_string().parse()?;
/// let name = "example.com/log".parse()?;
/// let checkpoint = note.verify::<Signature<MlDsa65>, _>(&name, 0x1234_5678, &key.verifying_key())?;
/// assert_eq!(checkpoint.size(), 0);
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    signatures: Vec<NoteSignature>,
}

/// One signature line of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: Origin,
    key_id: u32,
    signature: Vec<u8>,
}

impl NoteSignature {
    /// Name of the key, under the same rule as an origin.
    pub fn name(&self) -> &Origin {
        &self.name
    }

    /// Key id.
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// Signature bytes, not yet checked.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

impl SignedCheckpoint {
    /// The most signatures that a note may carry.
    pub const MAX_SIGNATURES: usize = 100;

    /// A checkpoint without signatures so far.
    pub fn new(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, signatures: Vec::new() }
    }

    /// Signs the body and adds the line.
    ///
    /// # Errors
    /// [`Error::SigningFailed`]; [`Error::OutOfRange`] at 100 signatures.
    pub fn sign<S, K>(&mut self, name: &Origin, key_id: u32, key: &K) -> Result<()>
    where
        S: SignatureEncoding,
        K: Signer<S> + ?Sized,
    {
        if self.signatures.len() >= Self::MAX_SIGNATURES {
            return Err(Error::OutOfRange { field: "signatures" });
        }
        let body = self.checkpoint.to_string();
        let signature = key.try_sign(body.as_bytes()).map_err(|_| Error::SigningFailed)?;
        let bytes: S::Repr = signature.try_into().map_err(|_| Error::SigningFailed)?;
        if bytes.as_ref().is_empty() {
            return Err(Error::SigningFailed);
        }
        self.signatures.push(NoteSignature { name: name.clone(), key_id, signature: bytes.as_ref().to_vec() });
        Ok(())
    }

    /// The checkpoint, if the signature of this name and key id verifies.
    ///
    /// # Errors
    /// [`Error::UnknownSigner`] if there is none, [`Error::BadSignature`] if one of them does not verify.
    pub fn verify<S, K>(&self, name: &Origin, key_id: u32, key: &K) -> Result<&Checkpoint>
    where
        S: SignatureEncoding,
        K: Verifier<S> + ?Sized,
    {
        let body = self.checkpoint.to_string();
        let mut found = false;
        for line in &self.signatures {
            if line.key_id == key_id && line.name == *name {
                let signature = S::try_from(&line.signature).map_err(|_| Error::BadSignature { key_id })?;
                key.verify(body.as_bytes(), &signature).map_err(|_| Error::BadSignature { key_id })?;
                found = true;
            }
        }
        if found { Ok(&self.checkpoint) } else { Err(Error::UnknownSigner { key_id }) }
    }

    /// The checkpoint, whoever wrote it.
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signature lines.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }
}

/// The note: body, empty line, signature lines.
impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.checkpoint)?;
        for line in &self.signatures {
            let mut bytes = line.key_id.to_be_bytes().to_vec();
            bytes.extend_from_slice(&line.signature);
            writeln!(f, "{PREFIX}{} {}", line.name, Base64::encode_string(&bytes))?;
        }
        Ok(())
    }
}

/// # Errors
/// [`Error::MalformedCheckpoint`] for the body, [`Error::MalformedNote`] for the rest.
impl FromStr for SignedCheckpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        const BODY_LINES: usize = 3;
        let malformed = |line| Error::MalformedNote { line };
        let end = text.find("\n\n").ok_or(malformed(BODY_LINES + 1))? + 1;
        let mut signed = Self::new(text[..end].parse()?);
        let lines = text[end + 1..].strip_suffix('\n').ok_or(malformed(BODY_LINES + 2))?;
        for (index, line) in lines.split('\n').enumerate() {
            let malformed = || malformed(BODY_LINES + 2 + index);
            let (name, base64) =
                line.strip_prefix(PREFIX).and_then(|line| line.split_once(' ')).ok_or_else(malformed)?;
            let bytes = Base64::decode_vec(base64).map_err(|_| malformed())?;
            let (key_id, signature) = bytes.split_first_chunk().ok_or_else(malformed)?;
            let canonical = Base64::encode_string(&bytes) == base64;
            if signature.is_empty() || !canonical || index >= Self::MAX_SIGNATURES {
                return Err(malformed());
            }
            signed.signatures.push(NoteSignature {
                name: name.parse().map_err(|_| malformed())?,
                key_id: u32::from_be_bytes(*key_id),
                signature: signature.to_vec(),
            });
        }
        Ok(signed)
    }
}

/// Begin of a signature line: em dash and space.
const PREFIX: &str = "\u{2014} ";
