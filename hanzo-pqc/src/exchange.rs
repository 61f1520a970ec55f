//! One encapsulation as a pair of JSON messages: a key goes out, a ciphertext and the proof of the secret come back.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use base64ct::{Base64, Encoding};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::hybrid::{Ciphertext, DecapsulationKey, EncapsulationKey, SharedSecret};
use crate::suite::HybridSuite;
use crate::tier::PrivacyTier;

/// Asks the other side to encapsulate to a key: `{"encapsulation_key": base64, "algorithm": name, "privacy_tier": 0..4}`.
///
/// `algorithm` is a suite's name ([`HybridSuite::name`]), at least as strong as the tier demands. Keys that the format does not have are refused.
///
/// ```
/// # #[cfg(feature = "getrandom")] {
/// use hanzo_pqc::{DecapsulationKey, EncapsulateRequest, EncapsulateResponse, OsRng, PrivacyTier};
///
/// let key = DecapsulationKey::generate(PrivacyTier::CpuTee.suite(), &mut OsRng);
/// let request = EncapsulateRequest::new(key.encapsulation_key().clone(), PrivacyTier::CpuTee)?.to_json();
///
/// let (response, sent) = EncapsulateRequest::from_json(&request)?.encapsulate(&mut OsRng)?;
///
/// let received = EncapsulateResponse::from_json(key.suite(), &response.to_json())?.open(&key)?;
/// assert!(received.ct_eq(&sent));
/// # }
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncapsulateRequest {
    key: EncapsulationKey,
    tier: PrivacyTier,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestText {
    encapsulation_key: String,
    algorithm: String,
    privacy_tier: u8,
}

impl EncapsulateRequest {
    /// Asks for an encapsulation to `key`.
    ///
    /// # Errors
    ///
    /// [`Error::TierMismatch`] where the key's suite is weaker than the tier demands.
    pub fn new(key: EncapsulationKey, tier: PrivacyTier) -> Result<Self> {
        tier.check_suite(key.suite())?;
        Ok(Self { key, tier })
    }

    /// The key.
    #[must_use]
    pub const fn encapsulation_key(&self) -> &EncapsulationKey {
        &self.key
    }

    /// The tier.
    #[must_use]
    pub const fn tier(&self) -> PrivacyTier {
        self.tier
    }

    /// Answers: a fresh secret, its ciphertext, and the proof of it. Takes from `rng` what [`EncapsulationKey::encapsulate`] takes.
    ///
    /// # Errors
    ///
    /// As [`EncapsulationKey::encapsulate`].
    pub fn encapsulate<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> Result<(EncapsulateResponse, SharedSecret)> {
        let (ciphertext, shared) = self.key.encapsulate(&[], rng)?;
        let key_confirmation = shared.key_confirmation(&self.key, &ciphertext)?;
        Ok((EncapsulateResponse { ciphertext, key_confirmation }, shared))
    }

    /// The JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        print(&RequestText {
            encapsulation_key: Base64::encode_string(self.key.as_bytes()),
            algorithm: self.key.suite().name().to_string(),
            privacy_tier: self.tier.code(),
        })
    }

    /// Reads the JSON text, of at most [`MAX_JSON_LEN`] bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] and [`Error::TooLong`] for other text, [`Error::UnknownName`] for an algorithm, [`Error::UnknownTier`],
    /// [`Error::TierMismatch`] where the algorithm is weaker than the tier demands, and as [`EncapsulationKey::from_bytes`].
    pub fn from_json(text: &str) -> Result<Self> {
        let text: RequestText = parse("encapsulate request", text)?;
        let tier = PrivacyTier::try_from(text.privacy_tier)?;
        let suite = HybridSuite::from_name(&text.algorithm)?;
        tier.check_suite(suite)?;
        let key = decode("encapsulate request", &text.encapsulation_key)?;
        Self::new(EncapsulationKey::from_bytes(suite, &key)?, tier)
    }
}

/// The answer: `{"ciphertext": base64, "key_confirmation": base64}`.
///
/// ```
/// use hanzo_pqc::{EncapsulateResponse, Error, HybridSuite};
///
/// let text = r#"{"ciphertext": "", "key_confirmation": "", "shared_secret_hash": ""}"#;
/// assert!(matches!(EncapsulateResponse::from_json(HybridSuite::XWing, text), Err(Error::Malformed { .. })));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncapsulateResponse {
    ciphertext: Ciphertext,
    key_confirmation: [u8; 32],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResponseText {
    ciphertext: String,
    key_confirmation: String,
}

impl EncapsulateResponse {
    /// Recovers the secret and checks that the other side has it.
    ///
    /// # Errors
    ///
    /// [`Error::ConfirmationMismatch`] where it has not, so for every changed bit of either field; and as [`DecapsulationKey::decapsulate`].
    pub fn open(&self, key: &DecapsulationKey) -> Result<SharedSecret> {
        let shared = key.decapsulate(&self.ciphertext, &[])?;
        shared.check_confirmation(key.encapsulation_key(), &self.ciphertext, &self.key_confirmation)?;
        Ok(shared)
    }

    /// The ciphertext.
    #[must_use]
    pub const fn ciphertext(&self) -> &Ciphertext {
        &self.ciphertext
    }

    /// The JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        print(&ResponseText {
            ciphertext: Base64::encode_string(self.ciphertext.as_bytes()),
            key_confirmation: Base64::encode_string(&self.key_confirmation),
        })
    }

    /// Reads the JSON text, of at most [`MAX_JSON_LEN`] bytes, that answers a request of this suite.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], [`Error::TooLong`] and [`Error::InvalidLength`].
    pub fn from_json(suite: HybridSuite, text: &str) -> Result<Self> {
        const WHAT: &str = "encapsulate response";
        let text: ResponseText = parse(WHAT, text)?;
        let ciphertext = Ciphertext::from_bytes(suite, &decode(WHAT, &text.ciphertext)?)?;
        let confirmation = decode(WHAT, &text.key_confirmation)?;
        let key_confirmation = confirmation.try_into().map_err(|wrong: Vec<u8>| Error::InvalidLength {
            what: "key confirmation",
            expected: 32,
            actual: wrong.len(),
        })?;
        Ok(Self { ciphertext, key_confirmation })
    }
}

fn print(text: &impl Serialize) -> String {
    // Structs of strings and numbers have no form that JSON lacks.
    serde_json::to_string(text).unwrap_or_default()
}

fn parse<'a, T: Deserialize<'a>>(what: &'static str, text: &'a str) -> Result<T> {
    if text.len() > MAX_JSON_LEN {
        return Err(Error::TooLong { what, limit: MAX_JSON_LEN });
    }
    serde_json::from_str(text).map_err(|error| {
        let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        Error::Malformed { what, offset: before + error.column().saturating_sub(1) }
    })
}

fn decode(what: &'static str, text: &str) -> Result<Vec<u8>> {
    Base64::decode_vec(text).map_err(|_| Error::Malformed { what, offset: 0 })
}

/// The longest JSON text of an exchange: several times what the largest suite needs.
pub const MAX_JSON_LEN: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::rustcrypto::ZeroRnd;
    use alloc::format;

    fn world() -> (DecapsulationKey, String) {
        let key = DecapsulationKey::from_seed(HybridSuite::MlKem768X25519, &[1; 96]).unwrap();
        let request = EncapsulateRequest::new(key.encapsulation_key().clone(), PrivacyTier::CpuTee);
        (key, request.unwrap().to_json())
    }

    #[test]
    fn every_character_of_an_answer_counts() {
        let (key, request) = world();
        let (response, _) = EncapsulateRequest::from_json(&request).unwrap().encapsulate(&mut ZeroRnd).unwrap();
        let text = response.to_json();
        assert!(EncapsulateResponse::from_json(key.suite(), &text).unwrap().open(&key).is_ok());
        for at in 0..text.len() {
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            let got = EncapsulateResponse::from_json(key.suite(), &changed).and_then(|response| response.open(&key));
            assert!(got.is_err(), "character {at}");
        }
    }

    #[test]
    fn requests_that_contradict_themselves() {
        let (_, request) = world();
        let with = |from: &str, to: &str| EncapsulateRequest::from_json(&request.replace(from, to)).err();
        assert!(matches!(with(":2", ":3"), Some(Error::TierMismatch { minimum: "ML-KEM-1024", .. })));
        assert_eq!(with(":2", ":5"), Some(Error::UnknownTier(5)));
        assert!(matches!(with("MLKEM768-X25519-HKDF-SHA256", "RSA"), Some(Error::UnknownName { .. })));
        assert!(matches!(
            with("MLKEM768-X25519-HKDF-SHA256", "ML-KEM-768"),
            Some(Error::InvalidLength { expected: 1184, .. })
        ));
        assert!(matches!(with("}", ",\"x\":1}"), Some(Error::Malformed { .. })));
        assert!(matches!(with(":2", ":-1"), Some(Error::Malformed { .. })));
        let long = " ".repeat(MAX_JSON_LEN + 1);
        assert!(matches!(EncapsulateRequest::from_json(&long), Err(Error::TooLong { .. })));
    }
}
