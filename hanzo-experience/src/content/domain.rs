use core::fmt;
use core::str::FromStr;

use crate::{Error, Result};

/// A domain such as `math.algebra`: labels `[a-z0-9][a-z0-9_-]*` joined by `.`, 1..=128 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

impl Domain {
    /// Largest number of bytes.
    pub const MAX_BYTES: usize = 128;

    /// The domain.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// # Errors
/// [`Error::TooManyBytes`]; [`Error::ForbiddenChar`]; [`Error::OutOfRange`] for an empty domain or label, or a label
/// that starts with `_` or `-`.
impl FromStr for Domain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > Self::MAX_BYTES {
            return Err(Error::TooManyBytes { got: text.len(), max: Self::MAX_BYTES });
        }
        let allowed = |ch: &char| matches!(ch, 'a'..='z' | '0'..='9' | '_' | '-' | '.');
        if let Some(ch) = text.chars().find(|ch| !allowed(ch)) {
            return Err(Error::ForbiddenChar { ch });
        }
        let starts_well = |label: &str| label.starts_with(|ch: char| ch.is_ascii_alphanumeric());
        if !text.split('.').all(starts_well) {
            return Err(Error::OutOfRange { field: "domain" });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for good in ["a", "0", "math.algebra", "a-b_c.0-", &"a".repeat(128)] {
            assert_eq!(good.parse::<Domain>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "a.", ".a", "a..b", "-a", "_a", "a.-b"] {
            let got = bad.parse::<Domain>();
            assert_eq!(got, Err(Error::OutOfRange { field: "domain" }), "{bad}");
        }
        assert_eq!("A".parse::<Domain>(), Err(Error::ForbiddenChar { ch: 'A' }));
        assert_eq!("a".repeat(129).parse::<Domain>(), Err(Error::TooManyBytes { got: 129, max: 128 }));
    }
}
