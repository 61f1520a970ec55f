//! Rounds of a drand network as outside randomness for a beacon.

use drand_verify::{G1Pubkey, G2PubkeyRfc, Pubkey as _, derive_randomness};

use crate::error::{Error, Result};
use crate::hash::Hash;

/// A drand network whose key is known from elsewhere. Signatures are BLS on BLS12-381, checked by `drand-verify`; that is
/// not post-quantum, so a round is mixed in beside the reveals of the parties and never alone.
///
/// Which round belongs to which epoch has to be fixed before the round is out, for instance the first one after the
/// commitments close ([`DrandNetwork::round_after`]).
///
/// ```
/// use hanzo_poai::DrandNetwork;
///
/// # fn hex(text: &str) -> Vec<u8> {
/// #     text.as_bytes().chunks(2).map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap()).collect()
/// # }
/// let quicknet = DrandNetwork::quicknet()?;
/// // Round 123 as the network published it.
/// let signature = hex("b75c69d0b72a5d906e854e808ba7e2accb1542ac355ae486d591aa9d43765482e26cd02df835d3546d23c4b13e0dfc92");
/// let external = quicknet.verify(123, &[], &signature)?;
/// assert!(quicknet.verify(124, &[], &signature).is_err());
/// # let _ = external; // Commitments::close(finality, Some(external), 3)
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrandNetwork {
    key: Key,
    genesis_s: u64,
    period_s: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    /// Key on G1, signatures on G2, chained or not.
    Classic([u8; 48]),
    /// Key on G2, signatures on G1 with the domain of RFC 9380, not chained.
    Short([u8; 96]),
}

impl DrandNetwork {
    /// A network of scheme `pedersen-bls-chained` or `pedersen-bls-unchained`: key of 48 bytes, time of round 1 and
    /// seconds between rounds.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for a key that is no point of the curve's group, or a period of 0.
    pub fn classic(key: [u8; 48], genesis_s: u64, period_s: u64) -> Result<Self> {
        G1Pubkey::from_fixed(key).map_err(|_| Error::InvalidField("key"))?;
        Self::new(Key::Classic(key), genesis_s, period_s)
    }

    /// A network of scheme `bls-unchained-g1-rfc9380`: key of 96 bytes.
    ///
    /// # Errors
    /// As [`DrandNetwork::classic`].
    pub fn short(key: [u8; 96], genesis_s: u64, period_s: u64) -> Result<Self> {
        G2PubkeyRfc::from_fixed(key).map_err(|_| Error::InvalidField("key"))?;
        Self::new(Key::Short(key), genesis_s, period_s)
    }

    /// The League of Entropy's quicknet: a round every 3 seconds since 2023-08-23.
    ///
    /// # Errors
    /// None that its constants can meet.
    pub fn quicknet() -> Result<Self> {
        Self::short(QUICKNET, 1_692_803_367, 3)
    }

    /// Checks a round and gives its randomness, SHA-256 of the signature: the `external` of
    /// [`Commitments::close`](crate::Commitments::close). `previous` is the signature of the round before in a chained
    /// network, empty in another.
    ///
    /// # Errors
    /// [`Error::BadSignature`].
    pub fn verify(&self, round: u64, previous: &[u8], signature: &[u8]) -> Result<Hash> {
        let holds = match &self.key {
            Key::Classic(key) => G1Pubkey::from_fixed(*key).map(|key| key.verify(round, previous, signature)),
            // Bytes before an unchained round would be signed over too; they have no place there.
            Key::Short(_) if !previous.is_empty() => return Err(Error::BadSignature),
            Key::Short(key) => G2PubkeyRfc::from_fixed(*key).map(|key| key.verify(round, previous, signature)),
        };
        match holds {
            Ok(Ok(true)) => Ok(derive_randomness(signature)),
            _ => Err(Error::BadSignature),
        }
    }

    /// The first round that comes out after a time, in seconds since 1970.
    pub const fn round_after(&self, unix_s: u64) -> u64 {
        match unix_s.checked_sub(self.genesis_s) {
            // Round 1 comes at genesis itself.
            Some(since) => (since / self.period_s).saturating_add(2),
            None => 1,
        }
    }

    const fn new(key: Key, genesis_s: u64, period_s: u64) -> Result<Self> {
        if period_s == 0 {
            return Err(Error::InvalidField("period_s"));
        }
        Ok(Self { key, genesis_s, period_s })
    }
}

const QUICKNET: [u8; 96] = [
    0x83, 0xcf, 0x0f, 0x28, 0x96, 0xad, 0xee, 0x7e, 0xb8, 0xb5, 0xf0, 0x1f, 0xca, 0xd3, 0x91, 0x22, 0x12, 0xc4, 0x37,
    0xe0, 0x07, 0x3e, 0x91, 0x1f, 0xb9, 0x00, 0x22, 0xd3, 0xe7, 0x60, 0x18, 0x3c, 0x8c, 0x4b, 0x45, 0x0b, 0x6a, 0x0a,
    0x6c, 0x3a, 0xc6, 0xa5, 0x77, 0x6a, 0x2d, 0x10, 0x64, 0x51, 0x0d, 0x1f, 0xec, 0x75, 0x8c, 0x92, 0x1c, 0xc2, 0x2b,
    0x0e, 0x17, 0xe6, 0x3a, 0xaf, 0x4b, 0xcb, 0x5e, 0xd6, 0x63, 0x04, 0xde, 0x9c, 0xf8, 0x09, 0xbd, 0x27, 0x4c, 0xa7,
    0x3b, 0xab, 0x4a, 0xf5, 0xa6, 0xe9, 0xc7, 0x6a, 0x4b, 0xc0, 0x9e, 0x76, 0xea, 0xe8, 0x99, 0x1e, 0xf5, 0xec, 0xe4,
    0x5a,
];

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// League of Entropy mainnet, round 72785, as drand.cloudflare.com published it.
    const MAINNET: &str =
        "868f005eb8e6e4ca0a47c8a77ceaa5309a47978a7c71bc5cce96366b5d7a569937c529eeda66c7293784a9402801af31";
    const PREVIOUS: &str = "a609e19a03c2fcc559e8dae14900aaefe517cb55c840f6e69bc8e4f66c8d18e8a609685d9917efbfb0c37f058c2de88f13d297c7e19e0ab24813079efe57a182554ff054c7638153f9b26a60e7111f71a0ff63d9571704905d3ca6df0b031747";
    const SIGNATURE: &str = "82f5d3d2de4db19d40a6980e8aa37842a0e55d1df06bd68bddc8d60002e8e959eb9cfa368b3c1b77d18f02a54fe047b80f0989315f83b12a74fd8679c4f12aae86eaf6ab5690b34f1fddd50ee3cc6f6cdf59e95526d5a5d82aaa84fa6f181e42";

    #[test]
    fn rounds_of_the_mainnet() {
        let key: [u8; 48] = bytes(MAINNET).try_into().unwrap();
        let mainnet = DrandNetwork::classic(key, 1_595_431_050, 30).unwrap();
        let (previous, signature) = (bytes(PREVIOUS), bytes(SIGNATURE));
        assert_eq!(mainnet.verify(72_785, &previous, &signature), Ok(crate::hash::sha256(&signature)));
        assert_eq!(mainnet.verify(72_786, &previous, &signature), Err(Error::BadSignature));
        assert_eq!(mainnet.verify(72_785, &[], &signature), Err(Error::BadSignature));
        assert_eq!(mainnet.verify(72_785, &previous, &signature[1..]), Err(Error::BadSignature));
        assert_eq!(mainnet.verify(72_785, &previous, &[]), Err(Error::BadSignature));
        assert_eq!(DrandNetwork::classic([0; 48], 0, 30), Err(Error::InvalidField("key")));
        assert_eq!(DrandNetwork::classic(key, 0, 0), Err(Error::InvalidField("period_s")));
    }

    #[test]
    fn rounds_follow_the_clock() {
        let quicknet = DrandNetwork::quicknet().unwrap();
        let genesis = 1_692_803_367;
        let rounds = [genesis - 1, genesis, genesis + 2, genesis + 3].map(|s| quicknet.round_after(s));
        assert_eq!(rounds, [1, 2, 2, 3]);
        assert_eq!(quicknet.verify(1, &[1], &[0; 48]), Err(Error::BadSignature));
    }
}
