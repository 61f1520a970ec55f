//! From a request's text to numbers.

use crate::{Error, Result};

/// Turns the text of a request into a fixed number of features.
///
/// # Guarantees
/// An implementation must be pure, never change its number of features, write every entry, and write only finite values of size at most 10^6 (what is
/// not, is refused where it is used).
pub trait Featuriser {
    /// Number of features.
    fn dim(&self) -> usize;

    /// Writes the features of `text` into `out`.
    ///
    /// # Errors
    /// `DimensionMismatch` if `out` has not [`dim`](Self::dim) entries.
    fn features_into(&self, text: &str, out: &mut [f64]) -> Result<()>;

    /// Place of a feature that is always 1, if there is one; its coefficient gets a wider prior.
    fn bias(&self) -> Option<usize> {
        None
    }
}

/// A hashed bag of words and word pairs, followed by eight dense numbers.
///
/// Of the first 4,096 bytes, in ASCII lower case, the tokens are the maximal runs of letters, digits and bytes from 128 on, and every other
/// visible byte alone. Each token and each pair of neighbours (joined by one space) is hashed with FNV-1a (64 bits) into bucket
/// `(h >> 32) mod buckets`, where `ln(1 + count)` is added if `h` is odd and taken off if it is even; the buckets are then divided by
/// their Euclidean length (+ 1e-12). The dense numbers are
/// `1, ln(1 + bytes) / 8, ln(1 + words) / 8, 4 digits / n, ln(1 + newlines) / 4, 4 upper / n, 4 punctuation / n` and `0.5` if there is
/// a question mark, with `n` the bytes kept, `bytes` all bytes of the text, and counts taken before lower-casing.
///
/// ```
/// use hanzo_hmm::market::{Featuriser, HashedText};
///
/// let text = HashedText::new(64)?;
/// let mut x = vec![0.0; text.dim()];
/// text.features_into("What is a lattice?", &mut x)?;
/// assert_eq!((x.len(), x[64], x[71]), (72, 1.0, 0.5));
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashedText {
    buckets: usize,
}

impl HashedText {
    /// Dense numbers after the buckets.
    pub const DENSE: usize = 8;

    /// A featuriser with a power of two of buckets, at most 65,536.
    ///
    /// # Errors
    /// `InvalidConfig { field: "buckets" }`.
    pub fn new(buckets: usize) -> Result<Self> {
        if buckets.is_power_of_two() && buckets <= 1 << 16 {
            Ok(Self { buckets })
        } else {
            Err(Error::InvalidConfig { field: "buckets" })
        }
    }

    /// Number of buckets.
    pub fn buckets(&self) -> usize {
        self.buckets
    }
}

impl Default for HashedText {
    /// 256 buckets.
    fn default() -> Self {
        Self { buckets: 256 }
    }
}

impl Featuriser for HashedText {
    fn dim(&self) -> usize {
        self.buckets + Self::DENSE
    }

    fn bias(&self) -> Option<usize> {
        Some(self.buckets)
    }

    fn features_into(&self, text: &str, out: &mut [f64]) -> Result<()> {
        if out.len() != self.dim() {
            return Err(Error::DimensionMismatch { what: "features", expected: self.dim(), found: out.len() });
        }
        let bytes = text.as_bytes();
        let kept = &bytes[..bytes.len().min(KEPT_BYTES)];
        let (buckets, dense) = out.split_at_mut(self.buckets);

        buckets.fill(0.0);
        // At most two grams a byte, and no memory that is cleared in vain.
        match kept.len() {
            0..=256 => fill(kept, &mut [0; 512], buckets),
            257..=1_024 => fill(kept, &mut [0; 2_048], buckets),
            _ => fill(kept, &mut [0; 2 * KEPT_BYTES], buckets),
        }
        let norm = buckets.iter().map(|v| v * v).sum::<f64>().sqrt() + 1e-12;
        for v in buckets {
            *v /= norm;
        }

        let n = kept.len().max(1) as f64;
        let Counts { words, digits, newlines, upper, punctuation, questions } = Counts::of(kept);
        dense.copy_from_slice(&[
            1.0,
            (bytes.len() as f64).ln_1p() / 8.0,
            words.ln_1p() / 8.0,
            4.0 * digits / n,
            newlines.ln_1p() / 4.0,
            4.0 * upper / n,
            4.0 * punctuation / n,
            if questions > 0.0 { 0.5 } else { 0.0 },
        ]);
        Ok(())
    }
}

/// Adds the signed counts of the grams of a text to the buckets, whose number is a power of two.
fn fill(text: &[u8], memory: &mut [u64], buckets: &mut [f64]) {
    let n = grams(text, memory);
    let grams = &mut memory[..n];
    // Equal grams become runs; the order of the sum is that of the hashes, so it is always the same.
    grams.sort_unstable();
    for run in grams.chunk_by(|a, b| a == b) {
        let hash = run[0];
        let value = if run.len() == 1 { std::f64::consts::LN_2 } else { (run.len() as f64).ln_1p() };
        let bucket = (hash >> 32) as usize & (buckets.len() - 1);
        buckets[bucket] += if hash & 1 == 1 { value } else { -value };
    }
}

/// Writes the hashes of all tokens and of all pairs of neighbouring tokens, in order of appearance, and returns their number: at most twice that of
/// the bytes.
fn grams(text: &[u8], out: &mut [u64]) -> usize {
    let mut n = 0;
    let mut previous: Option<u64> = None;
    let mut at = 0;
    while at < text.len() {
        let first = text[at];
        // FNV-1a runs byte by byte, so a pair goes on from where the earlier token stopped, and both are hashed at once.
        let mut single = FNV_OFFSET;
        let mut pair = previous.map_or(0, |earlier| fnv(earlier, b' '));
        if is_word(first) {
            while at < text.len() && is_word(text[at]) {
                let lower = text[at].to_ascii_lowercase();
                (single, pair) = (fnv(single, lower), fnv(pair, lower));
                at += 1;
            }
        } else {
            at += 1;
            if !(33..=126).contains(&first) {
                continue;
            }
            (single, pair) = (fnv(single, first), fnv(pair, first));
        }
        out[n] = single;
        n += 1;
        if previous.is_some() {
            out[n] = pair;
            n += 1;
        }
        previous = Some(single);
    }
    n
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b >= 128
}

pub(super) fn fnv(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
}

/// How many bytes of each kind there are, and how many runs of bytes that are not white space (space, tab, line feed, vertical tab, form feed,
/// return).
struct Counts {
    words: f64,
    digits: f64,
    newlines: f64,
    upper: f64,
    punctuation: f64,
    questions: f64,
}

impl Counts {
    /// Of at most [`KEPT_BYTES`].
    fn of(text: &[u8]) -> Self {
        let (mut sums, mut words, mut before) = (0u128, 0u32, true);
        for &b in text {
            let kinds = KINDS[usize::from(b)];
            sums += u128::from(kinds & !SPACE);
            let space = kinds & SPACE != 0;
            words += u32::from(before && !space);
            before = space;
        }
        let sum = |kind: u64| ((sums / u128::from(kind)) as u64 % (1 << LANE)) as f64;
        Self {
            words: f64::from(words),
            digits: sum(DIGIT),
            newlines: sum(NEWLINE),
            upper: sum(UPPER),
            punctuation: sum(PUNCTUATION),
            questions: sum(QUESTION),
        }
    }
}

/// One lane of 13 bits for each kind of byte: up to 4,096 of them add up without touching the next lane. White space is not added up.
const LANE: u32 = 13;
const DIGIT: u64 = 1;
const NEWLINE: u64 = 1 << 13;
const UPPER: u64 = 1 << 26;
const PUNCTUATION: u64 = 1 << 39;
const QUESTION: u64 = 1 << 52;
const SPACE: u64 = 1 << 63;
const KINDS: [u64; 256] = {
    let mut out = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        let kinds = [
            (b.is_ascii_digit(), DIGIT),
            (b == b'\n', NEWLINE),
            (b.is_ascii_uppercase(), UPPER),
            (b.is_ascii_punctuation(), PUNCTUATION),
            (b == b'?', QUESTION),
            (matches!(b, b' ' | 9..=13), SPACE),
        ];
        let mut k = 0;
        while k < kinds.len() {
            if kinds[k].0 {
                out[i] |= kinds[k].1;
            }
            k += 1;
        }
        i += 1;
    }
    out
};

const KEPT_BYTES: usize = 4_096;
pub(super) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_fnv_values() {
        let hash = |text: &str| text.bytes().fold(FNV_OFFSET, fnv);
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn counts_are_those_of_the_definitions() {
        let mut rng = crate::market::SplitMix64::new(1);
        for n in [0, 1, 100, 4_096] {
            let random: Vec<u8> = (0..n).map(|_| rng.below(256) as u8).collect();
            for text in [random, vec![b' '; n], vec![b'?'; n], vec![b'7'; n], vec![b'\n'; n], vec![b'A'; n]] {
                let found = Counts::of(&text);
                let count = |f: fn(&u8) -> bool| text.iter().filter(|b| f(b)).count() as f64;
                let space = |b: &u8| matches!(b, b' ' | 9..=13);
                assert_eq!(found.words, text.split(space).filter(|word| !word.is_empty()).count() as f64);
                assert_eq!(found.digits, count(u8::is_ascii_digit));
                assert_eq!(found.newlines, count(|b| *b == b'\n'));
                assert_eq!(found.upper, count(u8::is_ascii_uppercase));
                assert_eq!(found.punctuation, count(u8::is_ascii_punctuation));
                assert_eq!(found.questions, count(|b| *b == b'?'));
            }
        }
    }

    #[test]
    fn tokens_and_pairs() {
        let hash = |text: &str| text.bytes().fold(FNV_OFFSET, fnv);
        let mut out = [0; 32];
        let n = grams("Hello, w\u{f6}rld".as_bytes(), &mut out);
        assert_eq!(out[..n], [hash("hello"), hash(","), hash("hello ,"), hash("w\u{f6}rld"), hash(", w\u{f6}rld")]);
        assert_eq!(grams(b" \n\t\x01", &mut out), 0);
    }

    #[test]
    fn empty_text_has_only_the_bias() {
        let mut x = vec![9.0; 72];
        HashedText::new(64).unwrap().features_into("", &mut x).unwrap();
        assert!(x.iter().enumerate().all(|(i, &v)| v == if i == 64 { 1.0 } else { 0.0 }));
    }

    #[test]
    fn buckets_must_be_a_power_of_two() {
        for buckets in [0, 3, 100, 1 << 17] {
            assert_eq!(HashedText::new(buckets), Err(Error::InvalidConfig { field: "buckets" }));
        }
    }
}
