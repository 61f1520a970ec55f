use core::fmt;
use core::str::FromStr;

use serde::{Serialize, Serializer};

use crate::merkle::Hash;
use crate::{Error, Result};

/// The id of an experience: the RFC 9162 leaf hash of its canonical content.
///
/// Its text is `exp_` and 64 lower-case hex digits; nothing else parses.
///
/// ```
/// use hanzo_experience::ExperienceId;
///
/// let id = ExperienceId::from_bytes([7; 32]);
/// assert_eq!(id.to_string().parse(), Ok(id));
/// assert!("EXP_07".parse::<ExperienceId>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExperienceId(Hash);

impl ExperienceId {
    /// An id from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Hash::from_bytes(bytes))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The id as a leaf hash of a tree.
    pub const fn as_hash(&self) -> &Hash {
        &self.0
    }
}

impl From<Hash> for ExperienceId {
    fn from(hash: Hash) -> Self {
        Self(hash)
    }
}

impl fmt::Display for ExperienceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("exp_")?;
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ExperienceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ExperienceId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.strip_prefix("exp_").ok_or(Error::MalformedId)?;
        digits.parse().map(Self)
    }
}

/// As its text.
impl Serialize for ExperienceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_parses() {
        let text = ExperienceId::from_bytes([0xab; 32]).to_string();
        assert_eq!(text.len(), 68);
        assert!(text.parse::<ExperienceId>().is_ok());
        for bad in [
            text.to_uppercase(),
            text[..67].into(),
            format!("{text}0"),
            format!(" {text}"),
            text.replacen("exp_", "EXP_", 1),
            text.replace('a', "A"),
            text.replace('a', "g"),
            "exp_".into(),
            String::new(),
            format!("exp_{}", "é".repeat(32)),
        ] {
            assert_eq!(bad.parse::<ExperienceId>(), Err(Error::MalformedId), "{bad}");
        }
    }
}
