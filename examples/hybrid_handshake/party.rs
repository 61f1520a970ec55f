//! The two parties and their three messages.
//!
//! ```text
//! hello  = "HHS1" ‖ tier ‖ u16 suite ‖ nonce 32 ‖ encapsulation key            client -> server
//! reply  = ciphertext ‖ key confirmation 32 ‖ signature over "reply" ‖ H(hello) ‖ ciphertext ‖ confirmation
//! finish = proof 32                                                          client -> server
//! ```
//!
//! The hash of hello and of the server's key is the context of the encapsulation, so that the shared secret itself depends on every
//! byte that was sent; the session keys and the client's proof are derived from it under the hash of the whole transcript.

use hanzo::pqc::rand_core::CryptoRng;
use hanzo::pqc::{
    Ciphertext, DecapsulationKey, EncapsulationKey, Error, HybridSuite, KdfHash, PrivacyTier, Result, SharedSecret,
    Signature, SigningKey, VerifyingKey, derive,
};
use sha2::{Digest, Sha256};

/// What a finished handshake gives each side: equal on both, one key a direction.
#[derive(PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) to_server: [u8; 32],
    pub(crate) to_client: [u8; 32],
    proof: [u8; 32],
}

impl Session {
    fn new(secret: &SharedSecret, transcript: &[u8; 32]) -> Result<Self> {
        let key = |label: &[u8]| {
            let mut out = [0; 32];
            let info: [&[u8]; 2] = [label, transcript];
            derive(KdfHash::Sha256, Some(b"hybrid_handshake/v1"), &[secret.expose_bytes()], &info, &mut out)?;
            Ok::<_, Error>(out)
        };
        Ok(Self { to_server: key(b"to server")?, to_client: key(b"to client")?, proof: key(b"client finished")? })
    }
}

/// The client after its hello: it knows the server's verifying key beforehand.
pub(crate) struct Client {
    key: DecapsulationKey,
    server: VerifyingKey,
    pub(crate) hello: Vec<u8>,
}

impl Client {
    pub(crate) fn hello<R: CryptoRng>(tier: PrivacyTier, server: VerifyingKey, rng: &mut R) -> Result<Self> {
        tier.check_signature_algorithm(server.algorithm())?;
        let key = DecapsulationKey::generate(tier.suite(), rng);
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        let suite = tier.suite().code().to_be_bytes();
        let hello = [MAGIC, &[tier.code()], &suite, &nonce, key.encapsulation_key().as_bytes()].concat();
        Ok(Self { key, server, hello })
    }

    /// Checks the reply; gives the last message and the session.
    pub(crate) fn finish(&self, reply: &[u8]) -> Result<([u8; 32], Session)> {
        let suite = self.key.suite();
        let malformed = Error::Malformed { what: "reply", offset: 0 };
        let (signed, signature) = reply.split_at_checked(suite.ciphertext_len() + 32).ok_or(malformed)?;
        self.server.verify(&signed_part(&self.hello, signed), &Signature::from_bytes(signature)?)?;
        let (ciphertext, confirmation) = signed.split_last_chunk::<32>().ok_or(malformed)?;
        let ciphertext = Ciphertext::from_bytes(suite, ciphertext)?;
        let secret = self.key.decapsulate(&ciphertext, &binding(&self.hello, &self.server))?;
        secret.check_confirmation(self.key.encapsulation_key(), &ciphertext, confirmation)?;
        let session = Session::new(&secret, &transcript(&self.hello, reply))?;
        Ok((session.proof, session))
    }
}

/// The server after its reply; it has a session once the client has proved that it has one.
pub(crate) struct Accepted {
    session: Session,
    pub(crate) reply: Vec<u8>,
}

impl Accepted {
    /// Answers a hello, at the tier that this server serves.
    pub(crate) fn reply<R: CryptoRng>(
        tier: PrivacyTier,
        signer: &SigningKey,
        hello: &[u8],
        rng: &mut R,
    ) -> Result<Self> {
        let malformed = Error::Malformed { what: "hello", offset: 0 };
        let rest = hello.strip_prefix(MAGIC).ok_or(malformed)?;
        let ([asked, high, low], rest) = rest.split_first_chunk::<3>().ok_or(malformed)?;
        if PrivacyTier::try_from(*asked)? != tier {
            return Err(malformed);
        }
        let suite = HybridSuite::from_code(u16::from_be_bytes([*high, *low]))?;
        if suite != tier.suite() {
            return Err(malformed);
        }
        let (_nonce, key) = rest.split_first_chunk::<32>().ok_or(malformed)?;
        let key: EncapsulationKey = EncapsulationKey::from_bytes(suite, key)?;
        let (ciphertext, secret) = key.encapsulate(&binding(hello, signer.verifying_key()), rng)?;
        let mut reply = ciphertext.as_bytes().to_vec();
        reply.extend_from_slice(&secret.key_confirmation(&key, &ciphertext)?);
        let signature = signer.sign(&signed_part(hello, &reply), rng)?;
        reply.extend_from_slice(signature.as_bytes());
        Ok(Self { session: Session::new(&secret, &transcript(hello, &reply))?, reply })
    }

    /// Takes the client's proof; only then is there a session.
    pub(crate) fn finished(self, proof: &[u8]) -> Result<Session> {
        self.check(proof)?;
        Ok(self.session)
    }

    /// Checks the client's proof, in constant time.
    pub(crate) fn check(&self, proof: &[u8]) -> Result<()> {
        let difference = self.session.proof.iter().zip(proof).fold(0, |sum, (a, b)| sum | (a ^ b));
        if difference == 0 && proof.len() == 32 { Ok(()) } else { Err(Error::ConfirmationMismatch) }
    }
}

/// The context of the encapsulation: what was said before it, and to whom.
fn binding(hello: &[u8], server: &VerifyingKey) -> [u8; 32] {
    Sha256::new().chain_update(Sha256::digest(hello)).chain_update(Sha256::digest(server.as_bytes())).finalize().into()
}

fn signed_part(hello: &[u8], reply: &[u8]) -> Vec<u8> {
    [b"hybrid_handshake/v1/reply", &Sha256::digest(hello)[..], reply].concat()
}

fn transcript(hello: &[u8], reply: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(Sha256::digest(hello)).chain_update(Sha256::digest(reply)).finalize().into()
}

const MAGIC: &[u8] = b"HHS1";
