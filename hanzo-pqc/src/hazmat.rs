//! Operations with randomness of the caller's choice, on the default backend: for test vectors and for derandomized protocols that know
//! what they do. Randomness that is used twice or can be guessed gives the secret away.

use rand_core::{TryCryptoRng, TryRng};

use crate::dsa::{Context, Signature, SigningKey};
#[cfg(feature = "hybrid")]
use crate::envelope::{Dek, Envelope, EnvelopeHeader};
use crate::error::{Error, Result};
use crate::hybrid::{Ciphertext, EncapsulationKey, SharedSecret};
use crate::suite::HybridSuite;

impl HybridSuite {
    /// Length of the randomness of one encapsulation, in bytes: ML-KEM's m (32), then the curve's ephemeral secret (32 for X25519, 48 for
    /// P-384).
    #[must_use]
    pub const fn encapsulation_randomness_len(self) -> usize {
        let point = self.ciphertext_len() - self.kem().ciphertext_len();
        // A P-384 scalar is half of the coordinates of an uncompressed point.
        32 + if point == 97 { 48 } else { point }
    }
}

impl EncapsulationKey {
    /// [`Self::encapsulate`] from given randomness: FIPS 203 algorithm 17, and the `eseed` of X-Wing.
    ///
    /// ```
    /// use hanzo_pqc::{DecapsulationKey, HybridSuite};
    ///
    /// let key = DecapsulationKey::from_seed(HybridSuite::MlKem768, &[7; 64])?;
    /// let (first, _) = key.encapsulation_key().encapsulate_derandomized(&[], &[1; 32])?;
    /// let (second, _) = key.encapsulation_key().encapsulate_derandomized(&[], &[1; 32])?;
    /// assert_eq!(first, second);
    /// # Ok::<(), hanzo_pqc::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLength`] for randomness of any length but [`HybridSuite::encapsulation_randomness_len`], and as
    /// [`Self::encapsulate`].
    pub fn encapsulate_derandomized(&self, ctx: &[u8], randomness: &[u8]) -> Result<(Ciphertext, SharedSecret)> {
        self.encapsulate(ctx, &mut Given::new(self.suite(), randomness)?)
    }
}

impl SigningKey {
    /// [`Self::sign_with_context`] with a given rnd (FIPS 204 algorithm 2, line 5).
    ///
    /// # Errors
    ///
    /// As [`Self::sign`].
    pub fn sign_with_rnd(&self, message: &[u8], context: &Context<'_>, rnd: &[u8; 32]) -> Result<Signature> {
        self.sign_with_context(message, context, &mut Given(rnd))
    }
}

#[cfg(feature = "hybrid")]
impl Envelope {
    /// [`Self::seal`] with given randomness of its encapsulation.
    ///
    /// # Errors
    ///
    /// As [`Self::seal`] and [`EncapsulationKey::encapsulate_derandomized`]; [`Error::Unsupported`] for AES-256-GCM, whose nonce is the
    /// module's.
    pub fn seal_derandomized(
        header: EnvelopeHeader,
        key: &EncapsulationKey,
        dek: &Dek,
        randomness: &[u8],
    ) -> Result<Self> {
        if header.aead().code() == 3 {
            return Err(Error::Unsupported { what: "a given nonce" });
        }
        Self::seal(header, key, dek, &mut Given::new(key.suite(), randomness)?)
    }
}

/// Hands out bytes from the front. Each operation above draws as many as it was given.
struct Given<'a>(&'a [u8]);

impl<'a> Given<'a> {
    fn new(suite: HybridSuite, bytes: &'a [u8]) -> Result<Self> {
        let expected = suite.encapsulation_randomness_len();
        if bytes.len() != expected {
            return Err(Error::InvalidLength { what: "randomness", expected, actual: bytes.len() });
        }
        Ok(Self(bytes))
    }
}

impl TryRng for Given<'_> {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        debug_assert!(dst.len() <= self.0.len());
        let (now, later) = self.0.split_at(dst.len().min(self.0.len()));
        dst[..now.len()].copy_from_slice(now);
        self.0 = later;
        Ok(())
    }
}

impl TryCryptoRng for Given<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::rustcrypto::ZeroRnd;
    use crate::hybrid::DecapsulationKey;
    use crate::suite::HybridSuite;

    #[test]
    fn given_randomness_is_what_a_generator_would_draw() {
        for suite in HybridSuite::ALL.iter().copied() {
            let seed = alloc::vec![7; suite.seed_len()];
            let key = DecapsulationKey::from_seed(suite, &seed).unwrap();
            let len = suite.encapsulation_randomness_len();
            let ek = key.encapsulation_key();
            // P-384 has no ephemeral secret of zero.
            let (mut bytes, mut given) = (alloc::vec![0; len], alloc::vec![0; len]);
            if let Ok((ct, _)) = ek.encapsulate(&[], &mut ZeroRnd) {
                assert_eq!(ek.encapsulate_derandomized(&[], &bytes).unwrap().0, ct);
            } else {
                assert_eq!(len, 80);
                assert_eq!(ek.encapsulate_derandomized(&[], &bytes).err(), Some(Error::InvalidKey));
            }
            // Every byte is used.
            bytes[len - 1] = 9;
            given[len - 1] = 9;
            let (ct, sent) = ek.encapsulate_derandomized(&[], &bytes).unwrap();
            assert!(key.decapsulate(&ct, &[]).unwrap().ct_eq(&sent));
            assert_eq!(ek.encapsulate_derandomized(&[], &given).unwrap().0, ct);
            for at in [0, 31, len - 2] {
                given[at] ^= 8;
                assert_ne!(ek.encapsulate_derandomized(&[], &given).unwrap().0, ct, "{suite}: byte {at}");
                given[at] ^= 8;
            }
            for wrong in [len - 1, len + 1] {
                let got = ek.encapsulate_derandomized(&[], &alloc::vec![1; wrong]).err();
                assert!(matches!(got, Some(Error::InvalidLength { expected, .. }) if expected == len));
            }
        }
    }

    #[test]
    fn rnd_of_zero_is_the_deterministic_variant() {
        let key = SigningKey::from_seed(crate::SignatureAlgorithm::MlDsa44, &[1; 32]).unwrap();
        let context = Context::new(b"c").unwrap();
        let given = key.sign_with_rnd(b"m", &context, &[0; 32]).unwrap();
        assert_eq!(given, key.sign_deterministic_with_context(b"m", &context).unwrap());
        assert_ne!(given, key.sign_with_rnd(b"m", &context, &[1; 32]).unwrap());
    }

    #[cfg(feature = "hybrid")]
    #[test]
    fn an_envelope_from_given_randomness_opens() {
        use crate::{KeyId, PrivacyTier};
        let suite = HybridSuite::MlKem768X25519;
        let key = DecapsulationKey::from_seed(suite, &[7; 96]).unwrap();
        let header = || EnvelopeHeader::new(PrivacyTier::Open, suite, KeyId::new("k").unwrap()).unwrap();
        let dek = Dek::new(&[5; 32]).unwrap();
        let seal = |randomness: &[u8]| Envelope::seal_derandomized(header(), key.encapsulation_key(), &dek, randomness);
        let sealed = seal(&[1; 64]).unwrap();
        assert_eq!(seal(&[1; 64]), Ok(sealed.clone()));
        assert!(sealed.open(&key).unwrap().ct_eq(&dek));
        assert!(matches!(seal(&[1; 63]), Err(Error::InvalidLength { .. })));
    }
}
