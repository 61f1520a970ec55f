//! The elliptic curve beside ML-KEM, and the expansion of a suite's seed into the two secrets.

use alloc::vec::Vec;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::backend::KemBackend;
use crate::error::{Error, Result};
use crate::suite::{Combiner, HybridSuite};

/// A suite's secret for the curve; each variant wipes itself.
pub(crate) enum Curve<B: KemBackend> {
    None,
    X25519(B::Dh),
    #[cfg(feature = "p384")]
    P384(super::p384::Secret),
}

impl<B: KemBackend> Curve<B> {
    /// From the curve's part of the expanded seed.
    pub(crate) fn from_seed(suite: HybridSuite, seed: &[u8]) -> Result<Self> {
        Ok(match suite.combiner() {
            Combiner::Plain => Self::None,
            #[cfg(feature = "hybrid")]
            Combiner::Hkdf | Combiner::XWing => {
                Self::X25519(B::dh_from_bytes(seed.try_into().map_err(|_| Error::InvalidKey)?)?)
            }
            #[cfg(feature = "p384")]
            Combiner::P384 => Self::P384(super::p384::Secret::from_seed(seed)?),
        })
    }

    /// An ephemeral secret: 32 bytes from `rng` for X25519, 48 for P-384, none without a curve.
    pub(crate) fn ephemeral<R: CryptoRng + ?Sized>(suite: HybridSuite, rng: &mut R) -> Result<Self> {
        #[cfg(feature = "hybrid")]
        let mut draw = |len: usize| {
            let mut bytes = Zeroizing::new(alloc::vec![0; len]);
            rng.fill_bytes(&mut bytes);
            Self::from_seed(suite, &bytes)
        };
        match suite.combiner() {
            Combiner::Plain => Ok(Self::None),
            #[cfg(feature = "hybrid")]
            Combiner::Hkdf | Combiner::XWing => draw(32),
            #[cfg(feature = "p384")]
            Combiner::P384 => draw(super::p384::SEED_LEN),
        }
    }

    /// Appends the public point.
    #[cfg_attr(not(feature = "hybrid"), allow(clippy::ptr_arg, reason = "no suite has a curve"))]
    pub(crate) fn put_public(&self, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::None => {}
            #[cfg(feature = "hybrid")]
            Self::X25519(secret) => out.extend_from_slice(&B::dh_public(secret)?),
            #[cfg(not(feature = "hybrid"))]
            Self::X25519(_) => {}
            #[cfg(feature = "p384")]
            Self::P384(secret) => out.extend_from_slice(&secret.public()),
        }
        Ok(())
    }

    /// The shared secret with the other side's point; `None` without a curve.
    #[cfg(feature = "hybrid")]
    pub(crate) fn agree(&self, point: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
        Ok(match self {
            Self::None => None,
            Self::X25519(secret) => {
                let point = point.try_into().map_err(|_| Error::InvalidKey)?;
                Some(Zeroizing::new(B::dh(secret, point)?.to_vec()))
            }
            #[cfg(feature = "p384")]
            Self::P384(secret) => Some(secret.agree(point)?),
        })
    }
}

/// d ‖ z for ML-KEM, then what the curve takes.
pub(crate) fn expand_seed(suite: HybridSuite, seed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    if seed.len() != suite.seed_len() {
        return Err(Error::InvalidLength { what: "secret seed", expected: suite.seed_len(), actual: seed.len() });
    }
    Ok(match suite.combiner() {
        Combiner::Plain => Zeroizing::new(seed.to_vec()),
        #[cfg(feature = "hybrid")]
        Combiner::Hkdf => Zeroizing::new(seed.to_vec()),
        #[cfg(feature = "hybrid")]
        Combiner::XWing => shake256(seed, 96),
        #[cfg(feature = "p384")]
        Combiner::P384 => shake256(seed, 64 + super::p384::SEED_LEN),
    })
}

#[cfg(feature = "hybrid")]
fn shake256(seed: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
    use shake::{ExtendableOutput, Update, XofReader};
    let mut out = Zeroizing::new(alloc::vec![0; len]);
    let mut hash = shake::Shake256::default();
    hash.update(seed);
    hash.finalize_xof().read(&mut out);
    out
}
