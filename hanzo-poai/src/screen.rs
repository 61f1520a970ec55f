//! A cheap look at every job: how far its metrics lie from those of its peers. All integers.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::attestation::Attestation;
use crate::error::{Error, Result};
use crate::hash::{Hash, ModelHash};

/// Scores attestations by robust deviation. Those of one model and environment form a group; for each of
/// time, operations, energy and traffic a token, the deviation is `|x - median| / max(MAD, median / 64)`, and
/// the score is the largest of them. Median and median absolute deviation do not move while fewer than half
/// of a group lie, do not depend on order, and are integers, so anybody replays the scores from the
/// attestations alone.
///
/// A screen says nothing about guilt. It decides what is audited first
/// ([`Exposure::screen`](crate::Exposure::screen)).
///
/// ```
/// use hanzo_poai::Screen;
///
/// let screen = Screen::default();
/// assert_eq!(screen.deviations(&[100, 101, 99, 100, 102, 98, 100, 900])[7] >> 32, 800);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Screen {
    threshold_q32: u64,
    least_group: usize,
}

impl Screen {
    /// Flags scores above `threshold_q32` (Q32.32, in deviations) in groups of at least `least_group`.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for a group below 3, of which the median says nothing.
    pub const fn new(threshold_q32: u64, least_group: usize) -> Result<Self> {
        if least_group < 3 {
            return Err(Error::InvalidField("least_group"));
        }
        Ok(Self { threshold_q32, least_group })
    }

    /// One score an attestation, in the order given; `None` where it is not flagged. `O(n log n)`.
    pub fn flags(&self, attestations: &[Attestation]) -> Vec<Option<u64>> {
        let mut groups: BTreeMap<(ModelHash, Hash), Vec<usize>> = BTreeMap::new();
        for (at, att) in attestations.iter().enumerate() {
            groups.entry((att.model(), att.environment())).or_default().push(at);
        }
        let mut scores = alloc::vec![0u64; attestations.len()];
        for members in groups.values().filter(|members| members.len() >= self.least_group) {
            let of = |metric: fn(&Attestation) -> u128| -> Vec<u128> {
                members.iter().filter_map(|at| attestations.get(*at)).map(|att| per_token(att, metric)).collect()
            };
            let metrics = [
                of(|att| att.duration_us().into()),
                of(Attestation::flops),
                of(|att| att.energy_mj().into()),
                of(|att| att.net_bytes().into()),
            ];
            for values in metrics {
                for (at, score) in members.iter().zip(self.deviations(&values)) {
                    if let Some(slot) = scores.get_mut(*at) {
                        *slot = score.max(*slot);
                    }
                }
            }
        }
        scores.into_iter().map(|score| (score > self.threshold_q32).then_some(score)).collect()
    }

    /// Robust deviations of one metric in one group, Q32.32, saturating.
    pub fn deviations(&self, values: &[u128]) -> Vec<u64> {
        let centre = median(values.to_vec());
        let spread = median(values.iter().map(|value| value.abs_diff(centre)).collect());
        let scale = spread.max(centre / 64).max(1);
        values
            .iter()
            .map(|value| {
                let off = value.abs_diff(centre);
                let whole = off / scale;
                if whole >= 1 << 32 {
                    return u64::MAX;
                }
                // off % scale < scale < 2^118, so the fraction is taken in two steps of 16 bits where it fits.
                let part = fraction(off % scale, scale);
                (whole as u64) << 32 | part
            })
            .collect()
    }
}

impl Default for Screen {
    /// More than 6 deviations, in groups of 8 or more.
    fn default() -> Self {
        Self { threshold_q32: 6 << 32, least_group: 8 }
    }
}

/// The metric for each token, Q.16; values past 2^100 count as 2^100.
fn per_token(att: &Attestation, metric: fn(&Attestation) -> u128) -> u128 {
    let tokens = u128::from(att.tokens_in()) + u128::from(att.tokens_out());
    (metric(att).min(1 << 100) << 16) / tokens.max(1)
}

/// The lower median.
fn median(mut values: Vec<u128>) -> u128 {
    if values.is_empty() {
        return 0;
    }
    let middle = (values.len() - 1) / 2;
    *values.select_nth_unstable(middle).1
}

/// `floor(rest 2^32 / scale)` for rest < scale, bit by bit: no shift can overflow.
fn fraction(rest: u128, scale: u128) -> u64 {
    let (mut rest, mut out) = (rest, 0u64);
    for _ in 0..32 {
        let carry = rest >> 127 != 0;
        rest <<= 1;
        out <<= 1;
        if carry || rest >= scale {
            rest = rest.wrapping_sub(scale);
            out |= 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_of_small_groups() {
        let screen = Screen::default();
        assert!(screen.deviations(&[]).is_empty());
        assert_eq!(screen.deviations(&[5]), [0]);
        // Median 10, deviations 9, 1, 0, 1, 90; MAD 1.
        let got = screen.deviations(&[1, 9, 10, 11, 100]);
        assert_eq!(got, [9, 1, 0, 1, 90].map(|whole: u64| whole << 32));
        // No spread at all: a 64th of the median is the scale.
        assert_eq!(screen.deviations(&[640, 640, 640, 645, 660]), [0, 0, 0, 1 << 31, 2 << 32]);
        assert_eq!(screen.deviations(&[0, 0, 0, u128::MAX]), [0, 0, 0, u64::MAX]);
        assert_eq!(fraction(1, 3), 0x5555_5555);
        assert_eq!(fraction(u128::MAX - 1, u128::MAX), u64::from(u32::MAX));
    }

    #[test]
    fn order_does_not_matter_and_a_minority_cannot_move_the_centre() {
        let screen = Screen::default();
        let mut values: Vec<u128> = (1_000..1_060).collect();
        values.extend([u128::MAX; 40]);
        let score = |values: &[u128]| -> u64 { screen.deviations(values)[0] };
        let forward = score(&values);
        assert!(forward < 3 << 32, "{forward}");
        let first = values[0];
        values.reverse();
        let at = values.iter().position(|value| *value == first).unwrap();
        assert_eq!(screen.deviations(&values)[at], forward);
        assert!(Screen::new(0, 2).is_err());
    }
}
