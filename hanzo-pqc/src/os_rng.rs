//! The operating system's generator as a `rand_core` generator.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng, UnwrapErr};

/// The operating system's random generator, in the form every function of this crate takes.
///
/// # Panics
///
/// Drawing bytes panics where the operating system has none to give, which current systems only do before their pool is first filled: a key
/// made without entropy would be worse than none. Code that must handle that case passes a generator of its own, seeded through a call that may fail.
///
/// ```
/// use hanzo_pqc::{OsRng, SignatureAlgorithm, SigningKey};
///
/// let key = SigningKey::generate(SignatureAlgorithm::MlDsa65, &mut OsRng);
/// let signature = key.sign(b"receipt", &mut OsRng)?;
/// key.verifying_key().verify(b"receipt", &signature)?;
/// # Ok::<(), hanzo_pqc::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRng;

impl TryRng for OsRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        UnwrapErr(getrandom::SysRng).try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        UnwrapErr(getrandom::SysRng).try_next_u64()
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        UnwrapErr(getrandom::SysRng).try_fill_bytes(dst)
    }
}

impl TryCryptoRng for OsRng {}
