//! Rows of logits, and the top of them as it travels in evidence.

use alloc::vec::Vec;

use crate::encoding::Reader;
use crate::error::{Error, Result};

/// Logits of consecutive positions, row by row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logits<'a> {
    values: &'a [f32],
    vocabulary: usize,
}

impl<'a> Logits<'a> {
    /// Rows of `vocabulary` values each.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for an empty vocabulary or a row that is not full.
    pub const fn new(values: &'a [f32], vocabulary: usize) -> Result<Self> {
        if vocabulary == 0 || !values.len().is_multiple_of(vocabulary) {
            return Err(Error::ShapeMismatch { want: vocabulary as u64, got: values.len() as u64 });
        }
        Ok(Self { values, vocabulary })
    }

    /// Values of one row.
    pub const fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The rows.
    pub fn rows(&self) -> core::slice::ChunksExact<'a, f32> {
        self.values.chunks_exact(self.vocabulary)
    }

    pub(super) const fn len(&self) -> u64 {
        self.values.len() as u64
    }
}

/// The `k` likeliest tokens of each position with their log-probabilities, in descending order.
#[derive(Debug, Clone, PartialEq)]
pub struct TopK {
    k: usize,
    entries: Vec<(u32, f32)>,
}

impl TopK {
    /// The top `k` of each row; among equal logits the lower token.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for a `k` of 0, above the vocabulary or above 65,535; [`Error::NonFinite`].
    pub fn from_logits(logits: &Logits<'_>, k: usize) -> Result<Self> {
        if k == 0 || k > logits.vocabulary() || u16::try_from(k).is_err() {
            return Err(Error::InvalidField("k"));
        }
        let mut entries = Vec::with_capacity(k * logits.rows().len());
        for row in logits.rows() {
            if row.iter().any(|logit| !logit.is_finite()) {
                return Err(Error::NonFinite);
            }
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f64 = row.iter().map(|logit| libm::exp(f64::from(logit - top))).sum();
            let shift = f64::from(top) + libm::log(total);
            let mut all: Vec<(u32, f32)> = (0u32..).zip(row.iter().copied()).collect();
            all.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            all.truncate(k);
            entries.extend(all.into_iter().map(|(token, logit)| (token, (f64::from(logit) - shift) as f32)));
        }
        Ok(Self { k, entries })
    }

    /// The entries of each position.
    pub fn rows(&self) -> core::slice::ChunksExact<'_, (u32, f32)> {
        self.entries.chunks_exact(self.k)
    }

    /// Body of [`EvidenceItem::TopK`](crate::EvidenceItem::TopK): `k` u16, then for each entry the token u32
    /// and the log-probability f32, big-endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 + 8 * self.entries.len());
        out.extend_from_slice(&(self.k as u16).to_be_bytes());
        for (token, ln_p) in &self.entries {
            out.extend_from_slice(&token.to_be_bytes());
            out.extend_from_slice(&ln_p.to_be_bytes());
        }
        out
    }

    /// Strict decoding of [`TopK::encode`]: whole rows, log-probabilities finite, at most 0 and descending,
    /// no token twice in a row.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::InvalidField`], [`Error::NonFinite`], [`Error::Duplicate`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let k = usize::from(reader.u16()?);
        let rest = reader.remaining();
        if k == 0 {
            return Err(Error::InvalidField("k"));
        }
        if !rest.is_multiple_of(8 * k) {
            return Err(Error::Length { want: (2 + rest - rest % (8 * k)) as u64, got: bytes.len() as u64 });
        }
        let mut entries = Vec::with_capacity(rest / 8);
        let mut seen = Vec::with_capacity(k);
        for _ in 0..rest / (8 * k) {
            let mut last = 0.0f32;
            seen.clear();
            for _ in 0..k {
                let (token, ln_p) = (reader.u32()?, f32::from_bits(reader.u32()?));
                if !ln_p.is_finite() {
                    return Err(Error::NonFinite);
                }
                if ln_p > last || (ln_p == 0.0 && ln_p.is_sign_negative()) {
                    return Err(Error::InvalidField("log-probability"));
                }
                last = ln_p;
                seen.push(token);
                entries.push((token, ln_p));
            }
            seen.sort_unstable();
            if seen.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
                return Err(Error::Duplicate("token"));
            }
        }
        Ok(Self { k, entries })
    }
}

/// The largest value of a row, -0 counting as +0, or none where a value is not finite; minus infinity for an empty row.
/// On keys that order like the floats, and in one pass without an early end, so that it becomes vectors.
pub(super) fn largest_finite(row: &[f32]) -> Option<f32> {
    let key = |x: &f32| {
        let bits = (x + 0.0).to_bits() as i32;
        bits ^ ((bits >> 31) as u32 >> 1) as i32
    };
    let (bad, top) = row.iter().fold((false, i32::MIN), |(bad, top), x| (bad | is_bad(x), top.max(key(x))));
    let largest = if top == i32::MIN {
        f32::NEG_INFINITY
    } else {
        f32::from_bits((top ^ ((top >> 31) as u32 >> 1) as i32) as u32)
    };
    (!bad).then_some(largest)
}

fn is_bad(x: &f32) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    x.to_bits() & EXPONENT == EXPONENT
}

/// Whether all values are finite. On the bits and without an early end, so that it becomes vectors.
pub(super) fn all_finite(row: &[f32]) -> bool {
    !row.iter().fold(false, |bad, x| bad | is_bad(x))
}

/// Whether all values are finite, and if they are, whether one is above the threshold.
pub(super) fn any_above(row: &[f32], threshold: f32) -> Option<bool> {
    let (bad, above) = row.iter().fold((false, false), |(bad, above), x| (bad | is_bad(x), above | (*x > threshold)));
    (!bad).then_some(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_rows_agree_with_one_value_at_a_time() {
        assert_eq!(largest_finite(&[]), Some(f32::NEG_INFINITY));
        for row in [[-3.0f32, -1.5, -2.0], [-0.0, 0.0, -1.0], [f32::MAX, 1.0, f32::MIN], [1e-40, -1e-40, 0.0]] {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(largest_finite(&row), Some(largest));
            assert_eq!(any_above(&row, largest), Some(false));
            assert_eq!(any_above(&row, largest.next_down()), Some(true));
            assert!(all_finite(&row));
        }
        assert_eq!(largest_finite(&[-0.0; 40]).map(f32::to_bits), Some(0));
        for len in 1..70 {
            for at in 0..len {
                let mut row: Vec<f32> = (0..len as u16).map(|n| -f32::from(n) - 1.0).collect();
                row[at] = -0.5;
                assert!(largest_finite(&row) == Some(-0.5) && all_finite(&row));
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    row[at] = bad;
                    assert!(!all_finite(&row), "{bad} at {at} of {len}");
                    assert_eq!((largest_finite(&row), any_above(&row, 0.0)), (None, None));
                }
            }
        }
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!all_finite(&[1.0, bad, 2.0]));
        }
    }
}
