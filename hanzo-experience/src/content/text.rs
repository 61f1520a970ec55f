use core::fmt;

use crate::{Error, Result};

/// The text of an experience: 1..=32 words in at most 1024 bytes, joined by single spaces.
///
/// Control characters and bidirectional overrides (U+202A..202E, U+2066..2069) are refused. Words are those of
/// [`str::split_whitespace`]; bytes are kept as given, without Unicode normalisation.
///
/// ```
/// use hanzo_experience::{Error, Text};
///
/// assert_eq!(Text::new("check the units")?.as_str(), "check the units");
/// assert_eq!(Text::new("check  the units"), Err(Error::NotNormalized));
/// assert_eq!(Text::normalize(" check\tthe\nunits ")?.as_str(), "check the units");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(String);

impl Text {
    /// Largest number of words.
    pub const MAX_WORDS: usize = 32;
    /// Largest number of bytes.
    pub const MAX_BYTES: usize = 1024;

    /// Takes a text that is already normal.
    ///
    /// # Errors
    /// The first that applies of [`Error::EmptyText`], [`Error::TooManyBytes`], [`Error::ForbiddenChar`],
    /// [`Error::NotNormalized`], [`Error::TooManyWords`].
    pub fn new(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::EmptyText);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(Error::TooManyBytes { got: text.len(), max: Self::MAX_BYTES });
        }
        let forbidden = |ch: &char| ch.is_control() || matches!(ch, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if let Some(ch) = text.chars().find(forbidden) {
            return Err(Error::ForbiddenChar { ch });
        }
        // Splitting at single spaces gives the same words exactly when the text is its words joined by them.
        if !text.split(' ').eq(text.split_whitespace()) {
            return Err(Error::NotNormalized);
        }
        let words = text.split_whitespace().count();
        if words > Self::MAX_WORDS {
            return Err(Error::TooManyWords { got: words, max: Self::MAX_WORDS });
        }
        Ok(Self(text.to_owned()))
    }

    /// Folds every run of white space to one space, then checks; for model output and imports.
    ///
    /// # Errors
    /// Those of [`new`](Self::new) but `NotNormalized`.
    pub fn normalize(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        Self::new(&words.join(" "))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_come_in_order() {
        assert_eq!(Text::new(""), Err(Error::EmptyText));
        let long = "\u{0} ".repeat(600);
        assert_eq!(Text::new(&long), Err(Error::TooManyBytes { got: 1200, max: 1024 }));
        assert_eq!(Text::new("a  \u{202e}"), Err(Error::ForbiddenChar { ch: '\u{202e}' }));
        assert_eq!(Text::new(&"a  ".repeat(40)), Err(Error::NotNormalized));
        assert_eq!(Text::new(&["a"; 33].join(" ")), Err(Error::TooManyWords { got: 33, max: 32 }));
        assert_eq!(Text::normalize(" \t\n"), Err(Error::EmptyText));
    }
}
