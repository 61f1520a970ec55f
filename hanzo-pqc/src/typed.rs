//! Suites as types, for code that is generic over the traits of the crate `kem`.
//!
//! Keys and ciphertexts of this crate carry their suite as a value, because a wire format names it at run time. Where the suite is known
//! when the program is written, these types implement [`kem::Kem`], [`kem::Encapsulate`] and [`kem::TryDecapsulate`] over the default
//! backend, without a context. (MLKEM1024-P384 has none: the sizes of those traits stop at multiples of 32.)
//!
//! ```
//! use hanzo_pqc::typed::kem::{Decapsulator, Encapsulate, Generate, Kem, TryDecapsulate};
//! use hanzo_pqc::typed::MlKem768X25519;
//!
//! /// What some other crate wrote, for any KEM.
//! fn handshake<K: Kem>(rng: &mut impl rand_core::CryptoRng) -> bool {
//!     let key = K::DecapsulationKey::generate_from_rng(rng);
//!     let (ciphertext, sent) = key.encapsulation_key().encapsulate_with_rng(rng);
//!     key.try_decapsulate(&ciphertext).is_ok_and(|received| received == sent)
//! }
//!
//! # use hanzo_pqc::rand_core;
//! # #[cfg(feature = "getrandom")]
//! assert!(handshake::<MlKem768X25519>(&mut hanzo_pqc::OsRng));
//! ```

pub use ::kem;

use core::fmt;
use core::marker::PhantomData;

use kem::common::array::sizes;
use kem::common::array::{Array, ArraySize};
use kem::{
    Decapsulator, Encapsulate, Generate, InvalidKey, Kem, Key, KeyExport, KeySizeUser, TryDecapsulate, TryKeyInit,
};
use rand_core::{CryptoRng, TryCryptoRng};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::error::{Error, Result};
use crate::hybrid;
use crate::suite::HybridSuite;

/// A suite as a type.
pub trait Suite: Kem<SharedKeySize = sizes::U32> {
    /// The suite as a value.
    const SUITE: HybridSuite;
    /// Length of an encapsulation key.
    type EncapsulationKeySize: ArraySize;
}

macro_rules! suites {
    ($($(#[$attribute:meta])* $name:ident: $key:ident, $ciphertext:ident;)*) => {$(
        $(#[$attribute])*
        #[doc = concat!("The suite [`HybridSuite::", stringify!($name), "`] as a type.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
        pub struct $name;

        $(#[$attribute])*
        impl Kem for $name {
            type DecapsulationKey = DecapsulationKey<Self>;
            type EncapsulationKey = EncapsulationKey<Self>;
            type SharedKeySize = sizes::U32;
            type CiphertextSize = sizes::$ciphertext;
        }

        $(#[$attribute])*
        impl Suite for $name {
            const SUITE: HybridSuite = HybridSuite::$name;
            type EncapsulationKeySize = sizes::$key;
        }
    )*};
}

suites! {
    MlKem512: U800, U768;
    MlKem768: U1184, U1088;
    MlKem1024: U1568, U1568;
    #[cfg(feature = "hybrid")]
    XWing: U1216, U1120;
    #[cfg(feature = "hybrid")]
    MlKem512X25519: U832, U800;
    #[cfg(feature = "hybrid")]
    MlKem768X25519: U1216, U1120;
    #[cfg(feature = "hybrid")]
    MlKem1024X25519: U1600, U1600;
}

/// A [`crate::DecapsulationKey`] whose suite is `S`.
///
/// Secret: wiped on drop, `Debug` shows the suite only. The shared keys that `kem`'s traits return are plain arrays: wipe them.
///
/// ```
/// use hanzo_pqc::HybridSuite;
/// use hanzo_pqc::typed::{DecapsulationKey, MlKem768};
///
/// let key = hanzo_pqc::DecapsulationKey::from_seed(HybridSuite::MlKem768, &[7; 64])?;
/// let typed = DecapsulationKey::<MlKem768>::new(key)?;
/// assert_eq!(typed.inner().suite(), HybridSuite::MlKem768);
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
pub struct DecapsulationKey<S: Suite> {
    key: hybrid::DecapsulationKey,
    encapsulation_key: EncapsulationKey<S>,
}

impl<S: Suite> DecapsulationKey<S> {
    /// Takes a key of this suite.
    ///
    /// # Errors
    ///
    /// [`Error::SuiteMismatch`] for a key of another suite.
    pub fn new(key: hybrid::DecapsulationKey) -> Result<Self> {
        let encapsulation_key = EncapsulationKey::new(key.encapsulation_key().clone())?;
        Ok(Self { key, encapsulation_key })
    }

    /// The key with its suite as a value.
    #[must_use]
    pub const fn inner(&self) -> &hybrid::DecapsulationKey {
        &self.key
    }
}

impl<S: Suite> fmt::Debug for DecapsulationKey<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl<S: Suite> ZeroizeOnDrop for DecapsulationKey<S> {}

/// Draws the seed in one call.
impl<S: Suite> Generate for DecapsulationKey<S> {
    fn try_generate_from_rng<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, R::Error> {
        let mut seed = Zeroizing::new(alloc::vec![0; S::SUITE.seed_len()]);
        // Every seed of the right length is a key in these suites: this passes the first time.
        loop {
            rng.try_fill_bytes(&mut seed)?;
            if let Ok(key) = hybrid::DecapsulationKey::from_seed(S::SUITE, &seed).and_then(Self::new) {
                return Ok(key);
            }
        }
    }
}

impl<S: Suite<EncapsulationKey = EncapsulationKey<S>>> Decapsulator for DecapsulationKey<S> {
    type Kem = S;

    fn encapsulation_key(&self) -> &EncapsulationKey<S> {
        &self.encapsulation_key
    }
}

impl<S: Suite<EncapsulationKey = EncapsulationKey<S>>> TryDecapsulate for DecapsulationKey<S> {
    type Error = Error;

    fn try_decapsulate(&self, ciphertext: &kem::Ciphertext<S>) -> Result<kem::SharedKey<S>> {
        let ciphertext = hybrid::Ciphertext::from_bytes(S::SUITE, ciphertext)?;
        Ok(Array::from(*self.key.decapsulate(&ciphertext, &[])?.expose_bytes()))
    }
}

/// A [`crate::EncapsulationKey`] whose suite is `S`. Its X25519 point is checked at construction, because encapsulation through
/// the trait cannot fail.
pub struct EncapsulationKey<S: Suite> {
    key: hybrid::EncapsulationKey,
    suite: PhantomData<S>,
}

impl<S: Suite> EncapsulationKey<S> {
    /// Takes a key of this suite.
    ///
    /// # Errors
    ///
    /// [`Error::SuiteMismatch`] for a key of another suite, [`Error::NonContributory`] for an X25519 point of small order.
    pub fn new(key: hybrid::EncapsulationKey) -> Result<Self> {
        S::SUITE.check_same(key.suite())?;
        #[cfg(feature = "hybrid")]
        if key.suite().is_hybrid() {
            key.check_point()?;
        }
        Ok(Self { key, suite: PhantomData })
    }

    /// The key with its suite as a value.
    #[must_use]
    pub const fn inner(&self) -> &hybrid::EncapsulationKey {
        &self.key
    }
}

impl<S: Suite> Clone for EncapsulationKey<S> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), suite: PhantomData }
    }
}

impl<S: Suite> PartialEq for EncapsulationKey<S> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<S: Suite> Eq for EncapsulationKey<S> {}

impl<S: Suite> fmt::Debug for EncapsulationKey<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl<S: Suite> KeySizeUser for EncapsulationKey<S> {
    type KeySize = S::EncapsulationKeySize;
}

impl<S: Suite> TryKeyInit for EncapsulationKey<S> {
    fn new(key: &Key<Self>) -> Result<Self, InvalidKey> {
        hybrid::EncapsulationKey::from_bytes(S::SUITE, key).and_then(Self::new).map_err(|_| InvalidKey)
    }
}

impl<S: Suite> KeyExport for EncapsulationKey<S> {
    fn to_bytes(&self) -> Key<Self> {
        let mut out = Key::<Self>::default();
        out.copy_from_slice(self.key.as_bytes());
        out
    }
}

impl<S: Suite> Encapsulate for EncapsulationKey<S> {
    type Kem = S;

    fn encapsulate_with_rng<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> (kem::Ciphertext<S>, kem::SharedKey<S>) {
        // A checked key and no context leave nothing that fails: this passes the first time.
        loop {
            if let Ok((ciphertext, shared)) = self.key.encapsulate(&[], rng) {
                let mut out = kem::Ciphertext::<S>::default();
                out.copy_from_slice(ciphertext.as_bytes());
                return (out, Array::from(*shared.expose_bytes()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::rustcrypto::ZeroRnd;

    fn agree<S: Suite<EncapsulationKey = EncapsulationKey<S>, DecapsulationKey = DecapsulationKey<S>>>() {
        let key = DecapsulationKey::<S>::generate_from_rng(&mut ZeroRnd);
        let (ciphertext, sent) = key.encapsulation_key().encapsulate_with_rng(&mut ZeroRnd);
        assert_eq!(key.try_decapsulate(&ciphertext), Ok(sent));
        let untyped = hybrid::Ciphertext::from_bytes(S::SUITE, &ciphertext).unwrap();
        assert_eq!(key.inner().decapsulate(&untyped, &[]).unwrap().expose_bytes()[..], sent[..]);
        let read = <EncapsulationKey<S> as TryKeyInit>::new(&key.encapsulation_key().to_bytes()).unwrap();
        assert_eq!(&read, key.encapsulation_key());
    }

    #[test]
    fn every_suite_of_the_traits_agrees_with_itself_and_with_the_untyped_keys() {
        agree::<MlKem512>();
        agree::<MlKem768>();
        agree::<MlKem1024>();
        #[cfg(feature = "hybrid")]
        {
            agree::<XWing>();
            agree::<MlKem512X25519>();
            agree::<MlKem768X25519>();
            agree::<MlKem1024X25519>();
        }
    }

    #[cfg(feature = "hybrid")]
    #[test]
    fn a_key_that_could_not_encapsulate_is_not_taken() {
        let key = hybrid::DecapsulationKey::from_seed(HybridSuite::XWing, &[1; 32]).unwrap();
        let mut bytes = key.encapsulation_key().as_bytes().to_vec();
        let at = bytes.len() - 32;
        bytes[at..].fill(0);
        assert!(EncapsulationKey::<XWing>::new_from_slice(&bytes).is_err());
        let untyped = hybrid::EncapsulationKey::from_bytes(HybridSuite::XWing, &bytes).unwrap();
        assert_eq!(EncapsulationKey::<XWing>::new(untyped), Err(Error::NonContributory));
        let mismatch = Error::SuiteMismatch { expected: "ML-KEM-768", found: "X-Wing" };
        assert_eq!(EncapsulationKey::<MlKem768>::new(key.encapsulation_key().clone()), Err(mismatch));
    }
}
