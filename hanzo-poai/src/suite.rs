//! Signature suites named on the wire.

use crate::error::{Error, Result};

/// Code of a signature scheme, for the key directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Suite(u16);

impl Suite {
    /// Ed25519.
    pub const ED25519: Self = Self(1);
    /// ML-DSA-65 (FIPS 204).
    pub const ML_DSA_65: Self = Self(2);
    /// Ed25519 and ML-DSA-65, both.
    pub const COMPOSITE: Self = Self(3);

    /// The suite of that code: 1, 2, 3, or private from 0x8000 on.
    ///
    /// # Errors
    /// [`Error::UnknownSuite`] for any other code.
    pub const fn new(code: u16) -> Result<Self> {
        match code {
            1..=3 | 0x8000.. => Ok(Self(code)),
            other => Err(Error::UnknownSuite(other)),
        }
    }

    /// Its code.
    pub const fn code(self) -> u16 {
        self.0
    }
}
