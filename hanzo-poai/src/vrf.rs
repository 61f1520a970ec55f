//! Outputs of a verifiable random function as outside randomness for a beacon.

use vrf_rfc9381::ec::edwards25519::EdVrfProof;
use vrf_rfc9381::ec::edwards25519::elligator2::EdVrfEdwards25519Ell2PublicKey;
use vrf_rfc9381::ec::edwards25519::tai::EdVrfEdwards25519TaiPublicKey;
use vrf_rfc9381::{Proof as _, Verifier};

use crate::error::{Error, Result};
use crate::hash::{ChainId, Hash, sha256};
use crate::units::Epoch;

/// Ciphersuite of a [`VrfKey`] (RFC 9381 section 5.5). Both use edwards25519 and SHA-512, and differ in how an input
/// becomes a point of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum VrfSuite {
    /// ECVRF-EDWARDS25519-SHA512-TAI: try and increment.
    Edwards25519Tai,
    /// ECVRF-EDWARDS25519-SHA512-ELL2: Elligator 2.
    Edwards25519Ell2,
}

/// The key of a party that proves outputs of a verifiable random function (RFC 9381). Proofs are checked by `vrf-rfc9381`;
/// that is not post-quantum, so an output is mixed in beside the reveals of the parties and never alone.
///
/// For each input there is one output that the key can prove, so its holder cannot choose; it can stay silent, which counts
/// like one more party that withholds ([`theory::bias_bound`](crate::theory::bias_bound)). That needs a key which was
/// fixed before the input is known, so take inputs from [`epoch_input`](Self::epoch_input) and let keys join only for
/// epochs to come.
///
/// ```
/// use hanzo_poai::{ChainId, Epoch, VrfKey, VrfSuite};
/// # use hanzo_poai::Error;
/// # fn hex<const N: usize>(text: &str) -> [u8; N] {
/// #     let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
/// #     std::array::from_fn(byte)
/// # }
/// // RFC 9381, example 16: the input is empty.
/// let key = VrfKey::new(VrfSuite::Edwards25519Tai, hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"))?;
/// let proof = hex("8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f26f8a57ccaed74ee1b190bed1f479d9727d2d0f9b005a6e456a35d4fb0daab1268a1b0db10836d9826a528ca76567805");
/// let external = key.verify(&[], &proof)?;
/// assert_eq!(key.verify(b"another", &proof), Err(Error::BadProof));
/// # let _ = external; // Commitments::close(finality, Some(external), 3)
///
/// let input = VrfKey::epoch_input(&ChainId::new([7; 32]), Epoch::new(9));
/// assert_eq!(key.verify(&input, &proof), Err(Error::BadProof));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VrfKey {
    suite: VrfSuite,
    key: [u8; 32],
}

impl VrfKey {
    /// Bytes of a proof: a point, a challenge of 16 bytes and a scalar.
    pub const PROOF_LEN: usize = 80;

    /// A key of 32 bytes.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for bytes that are no point of the curve, or one of small order (RFC 9381 section 5.4.5).
    pub fn new(suite: VrfSuite, key: [u8; 32]) -> Result<Self> {
        EdVrfEdwards25519TaiPublicKey::from_slice(&key).map_err(|_| Error::InvalidField("key"))?;
        Ok(Self { suite, key })
    }

    /// The input of an epoch: chain and epoch, 40 bytes.
    pub fn epoch_input(chain: &ChainId, epoch: Epoch) -> [u8; 40] {
        let mut input = [0; 40];
        input[..32].copy_from_slice(chain.as_bytes());
        input[32..].copy_from_slice(&epoch.get().to_be_bytes());
        input
    }

    /// Checks a proof for an input and gives SHA-256 of the 64-byte output: the `external` of
    /// [`Commitments::close`](crate::Commitments::close).
    ///
    /// # Errors
    /// [`Error::BadProof`], also for a proof that is not in its one encoding.
    pub fn verify(&self, input: &[u8], proof: &[u8; Self::PROOF_LEN]) -> Result<Hash> {
        let decoded = EdVrfProof::decode_pi(proof).map_err(|_| Error::BadProof)?;
        // A scalar of the group's order or more, or a point with a coordinate that is not reduced, is a second encoding.
        if decoded.encode_to_pi() != proof {
            return Err(Error::BadProof);
        }
        let output = match self.suite {
            VrfSuite::Edwards25519Tai => output::<EdVrfEdwards25519TaiPublicKey>(&self.key, input, decoded),
            VrfSuite::Edwards25519Ell2 => output::<EdVrfEdwards25519Ell2PublicKey>(&self.key, input, decoded),
        };
        output.ok_or(Error::BadProof)
    }
}

fn output<V: Verifier<sha2::Sha512, Proof = EdVrfProof>>(key: &[u8], input: &[u8], proof: EdVrfProof) -> Option<Hash> {
    let output = V::from_slice(key).ok()?.verify(input, proof).ok()?;
    Some(sha256(&output))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use vrf_rfc9381::Prover as _;
    use vrf_rfc9381::ec::edwards25519::tai::EdVrfEdwards25519TaiSecretKey;

    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// RFC 9381, appendices B.3 (examples 16 and 17) and B.4 (example 19): suite, key, input, proof, output.
    const EXAMPLES: [(VrfSuite, &str, &str, &str, &str); 3] = [
        (
            VrfSuite::Edwards25519Tai,
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f26f8a57ccaed74ee1b190bed1f479d9727d2d0f9b005a6e456a35d4fb0daab1268a1b0db10836d9826a528ca76567805",
            "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff66b71dda49d2de59d03450451af026798e8f81cd2e333de5cdf4f3e140fdd8ae",
        ),
        (
            VrfSuite::Edwards25519Tai,
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed5933bf0864a62558b3ed7f2fea45c92a465301b3bbf5e3e54ddf2d935be3b67926da3ef39226bbc355bdc9850112c8f4b02",
            "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb5e33821bc613efb94db5e5b54c70a848a0bef4553a41befc57663b56373a5031",
        ),
        (
            VrfSuite::Edwards25519Ell2,
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "7d9c633ffeee27349264cf5c667579fc583b4bda63ab71d001f89c10003ab46f14adf9a3cd8b8412d9038531e865c341cafa73589b023d14311c331a9ad15ff2fb37831e00f0acaa6d73bc9997b06501",
            "9d574bf9b8302ec0fc1e21c3ec5368269527b87b462ce36dab2d14ccf80c53cccf6758f058c5b1c856b116388152bbe509ee3b9ecfe63d93c3b4346c1fbc6c54",
        ),
    ];

    #[test]
    fn examples_of_the_rfc() {
        for (suite, key, input, proof, output) in EXAMPLES {
            let key = VrfKey::new(suite, bytes(key)).unwrap();
            let (input, proof) = (hex::decode(input).unwrap(), bytes(proof));
            assert_eq!(key.verify(&input, &proof), Ok(sha256(&bytes::<64>(output))), "{suite:?}");
            let other = match suite {
                VrfSuite::Edwards25519Tai => VrfSuite::Edwards25519Ell2,
                VrfSuite::Edwards25519Ell2 => VrfSuite::Edwards25519Tai,
            };
            assert_eq!(VrfKey::new(other, key.key).unwrap().verify(&input, &proof), Err(Error::BadProof));
            for at in 0..VrfKey::PROOF_LEN {
                let mut damaged = proof;
                damaged[at] ^= 1;
                assert_eq!(key.verify(&input, &damaged), Err(Error::BadProof), "byte {at}");
            }
        }
    }

    #[test]
    fn an_output_has_one_proof_encoding() {
        let (suite, key, _, proof, _) = EXAMPLES[0];
        let key = VrfKey::new(suite, bytes(key)).unwrap();
        let mut shifted: [u8; 80] = bytes(proof);
        // Adds the order of the group, 2^252 + 27742317777372353535851937790883648493, to the scalar.
        let order: [u8; 32] = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let mut carry = 0;
        for (byte, add) in shifted[48..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert!(EdVrfProof::decode_pi(&shifted).is_ok(), "the crate alone takes it");
        assert_eq!(key.verify(&[], &shifted), Err(Error::BadProof));
    }

    #[test]
    fn keys_that_are_none() {
        let bad = |key| VrfKey::new(VrfSuite::Edwards25519Tai, key);
        // The neutral element, a point of order 8, and no point at all.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let eight = bytes("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
        let none: Vec<[u8; 32]> = (0..=u8::MAX).map(|n| [n; 32]).filter(|key| bad(*key).is_err()).collect();
        assert!(none.len() > 64, "about half of all bytes are no point");
        for key in [neutral, eight, [0; 32]] {
            assert_eq!(bad(key), Err(Error::InvalidField("key")));
        }
    }

    #[test]
    fn an_epochs_output_feeds_its_beacon() {
        // The secret key of the first example.
        let secret: [u8; 32] = bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let secret = EdVrfEdwards25519TaiSecretKey::from_slice(&secret).unwrap();
        let (chain, epoch) = (ChainId::new([7; 32]), Epoch::new(9));
        let input = VrfKey::epoch_input(&chain, epoch);
        let proof: [u8; 80] = secret.prove(&input).unwrap().encode_to_pi().try_into().unwrap();
        let key = VrfKey::new(VrfSuite::Edwards25519Tai, bytes(EXAMPLES[0].1)).unwrap();
        let external = key.verify(&input, &proof).unwrap();
        assert_ne!(external, [0; 32]);
        assert!(key.verify(&VrfKey::epoch_input(&chain, Epoch::new(10)), &proof).is_err());
        assert!(key.verify(&VrfKey::epoch_input(&ChainId::new([8; 32]), epoch), &proof).is_err());
    }
}
