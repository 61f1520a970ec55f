//! The secret of one encapsulation, and the proof of having it.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

#[cfg(feature = "hybrid")]
use super::{Ciphertext, EncapsulationKey};
#[cfg(feature = "hybrid")]
use crate::backend::KemBackend;
#[cfg(feature = "hybrid")]
use crate::error::{Error, Result};
#[cfg(feature = "hybrid")]
use crate::kdf;

/// The 32-byte secret of one encapsulation.
///
/// Secret: wiped on drop, `Debug` shows nothing, no `PartialEq` but [`ct_eq`](Self::ct_eq), no serialisation.
///
/// ```
/// # #[cfg(feature = "getrandom")] {
/// use hanzo_pqc::{DecapsulationKey, Error, HybridSuite, OsRng};
///
/// let key = DecapsulationKey::generate(HybridSuite::XWing, &mut OsRng);
/// let (ek, (ciphertext, sent)) = (key.encapsulation_key(), key.encapsulation_key().encapsulate(&[], &mut OsRng)?);
/// let received = key.decapsulate(&ciphertext, &[])?;
/// // The receiver proves that it has the secret; a wrong proof says no more than that.
/// let proof = received.key_confirmation(ek, &ciphertext)?;
/// sent.check_confirmation(ek, &ciphertext, &proof)?;
/// assert_eq!(sent.check_confirmation(ek, &ciphertext, &[0; 32]), Err(Error::ConfirmationMismatch));
/// # }
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
///
/// ```compile_fail,E0277
/// fn comparable<T: PartialEq>() {}
/// comparable::<hanzo_pqc::SharedSecret>();
/// ```
///
/// ```compile_fail,E0277
/// fn serialised(secret: &hanzo_pqc::SharedSecret) -> String {
///     serde_json::to_string(secret).unwrap()
/// }
/// ```
pub struct SharedSecret(pub(super) Zeroizing<[u8; 32]>);

impl SharedSecret {
    /// The secret bytes.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }

    /// A value that proves knowledge of the secret to the other side without giving it away:
    /// HKDF(salt `hanzo-pqc/v1/confirm`, secret, suite ‖ H(ek) ‖ H(ct)), with H the suite's hash.
    ///
    /// # Errors
    ///
    /// [`Error::SuiteMismatch`] where key and ciphertext are of different suites.
    #[cfg(feature = "hybrid")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
    pub fn key_confirmation<B: KemBackend>(
        &self,
        encapsulation_key: &EncapsulationKey<B>,
        ciphertext: &Ciphertext,
    ) -> Result<[u8; 32]> {
        let suite = encapsulation_key.suite();
        suite.check_same(ciphertext.suite())?;
        kdf::confirm::<B>(suite, &self.0, encapsulation_key.as_bytes(), ciphertext.as_bytes()).map(|value| *value)
    }

    /// Checks the other side's key confirmation, in constant time.
    ///
    /// # Errors
    ///
    /// [`Error::ConfirmationMismatch`], and as [`Self::key_confirmation`].
    #[cfg(feature = "hybrid")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hybrid")))]
    pub fn check_confirmation<B: KemBackend>(
        &self,
        encapsulation_key: &EncapsulationKey<B>,
        ciphertext: &Ciphertext,
        confirmation: &[u8; 32],
    ) -> Result<()> {
        let expected = self.key_confirmation(encapsulation_key, ciphertext)?;
        if expected.ct_eq(confirmation).into() { Ok(()) } else { Err(Error::ConfirmationMismatch) }
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret([redacted])")
    }
}

impl ZeroizeOnDrop for SharedSecret {}
