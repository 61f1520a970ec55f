use unicode_normalization::UnicodeNormalization;

use crate::{Content, Error, Result};

/// When a new experience counts as a copy of one that is there: same domain, token sets alike, and, where both have
/// vectors, a high cosine.
///
/// ```
/// use hanzo_experience::{Dedup, TokenSet};
///
/// let gate = Dedup::new(600_000, 0.9)?;
/// let (a, b) = (TokenSet::new("Test both ends of the bound"), TokenSet::new("test both ends of a bound"));
/// assert_eq!(a.overlap(&b), (5, 7));
/// assert!(gate.alike(&a, &b) && !Dedup::default().alike(&a, &b));
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dedup {
    jaccard_ppm: u32,
    cosine: f32,
    auto_merge: bool,
}

impl Dedup {
    /// A gate at Jaccard similarity of `jaccard_ppm` or more and cosine above `cosine`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless `1 <= jaccard_ppm <= 1,000,000` and `-1 <= cosine <= 1`.
    pub fn new(jaccard_ppm: u32, cosine: f32) -> Result<Self> {
        if !(1..=1_000_000).contains(&jaccard_ppm) {
            return Err(Error::OutOfRange { field: "jaccard_ppm" });
        }
        if !(-1.0..=1.0).contains(&cosine) {
            return Err(Error::OutOfRange { field: "cosine" });
        }
        Ok(Self { jaccard_ppm, cosine, auto_merge: true })
    }

    /// Whether a copy is merged with what is there (default) or skipped.
    pub fn auto_merge(mut self, merge: bool) -> Self {
        self.auto_merge = merge;
        self
    }

    pub(crate) fn merges(&self) -> bool {
        self.auto_merge
    }

    /// Whether these token sets pass the first gate: `intersection * 10^6 >= jaccard_ppm * union`, union not empty.
    pub fn alike(&self, a: &TokenSet, b: &TokenSet) -> bool {
        let (both, either) = a.overlap(b);
        either > 0 && both as u128 * 1_000_000 >= u128::from(self.jaccard_ppm) * either as u128
    }

    /// Whether this cosine passes the second gate.
    pub fn close(&self, cosine: f32) -> bool {
        cosine > self.cosine
    }
}

/// Jaccard 0.85 and cosine 0.9, merging.
impl Default for Dedup {
    fn default() -> Self {
        Self { jaccard_ppm: 850_000, cosine: 0.9, auto_merge: true }
    }
}

/// Says of two experiences of one domain, whose vectors are close, whether they teach the same; a model may. Any
/// `Fn(&Content, &Content) -> bool` is one.
///
/// # Guarantees
/// The same answer for the same contents, or libraries cannot be built again.
pub trait Merger {
    /// Whether `new` teaches what `known` does.
    fn same(&self, known: &Content, new: &Content) -> bool;
}

impl<F: Fn(&Content, &Content) -> bool> Merger for F {
    fn same(&self, known: &Content, new: &Content) -> bool {
        self(known, new)
    }
}

/// The distinct tokens of a text: maximal runs of alphanumeric characters of its lower-cased NFC form.
///
/// ```
/// use hanzo_experience::TokenSet;
///
/// let (a, b) = (TokenSet::new("Check both ENDS, both!"), TokenSet::new("check ends first"));
/// assert_eq!(a.overlap(&b), (2, 4));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSet(Vec<String>);

impl TokenSet {
    /// The tokens of `text`.
    pub fn new(text: &str) -> Self {
        let folded = text.nfc().collect::<String>().to_lowercase();
        let runs = folded.split(|ch: char| !ch.is_alphanumeric());
        let mut tokens: Vec<String> = runs.filter(|run| !run.is_empty()).map(str::to_owned).collect();
        tokens.sort_unstable();
        tokens.dedup();
        Self(tokens)
    }

    /// Sizes of intersection and union.
    pub fn overlap(&self, other: &Self) -> (usize, usize) {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = 0;
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            let order = a.cmp(b);
            if order.is_le() {
                left.next();
            }
            if order.is_ge() {
                right.next();
            }
            both += usize::from(order.is_eq());
        }
        (both, self.0.len() + other.0.len() - both)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tokens_are_never_alike() {
        let none = TokenSet::new("+ - !");
        assert_eq!(none.overlap(&none), (0, 0));
        assert!(!Dedup::default().alike(&none, &none));
    }

    #[test]
    fn thresholds_are_checked() {
        assert!(Dedup::new(0, 0.5).is_err());
        assert!(Dedup::new(1_000_001, 0.5).is_err());
        assert!(Dedup::new(1, f32::NAN).is_err());
        assert!(!Dedup::new(1, 0.5).unwrap().close(0.5));
    }
}
