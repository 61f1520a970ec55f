//! Projection fingerprints of hidden states: 32 bytes for each window of 32 tokens.

use alloc::vec::Vec;

use super::half::{f16_to_f32, f32_to_f16};
use super::{Comparator, Observation, Score};
use crate::error::{Error, Result};
use crate::hash::{Hash, Seed, Tag};

/// Random projections of the final hidden state of the last token of each window (Johnson and Lindenstrauss
/// 1984, with signs as in Achlioptas 2003): `y_j = d^-1/2 sum_i s_ji x_i`, `j < 16`, where `s_ji` is +1 for
/// bit `i` of the stream `K(D("fingerprint", seed), window || j || block)`. Sums are f32, in pairs split at
/// the largest power of two below the length; `y` is kept as f16, rounded to nearest even and saturating.
///
/// ```
/// use hanzo_poai::{Fingerprint, JobId};
///
/// let seed = JobId::new([7; 32]).seed();
/// let hidden = vec![0.5f32; 2 * 64]; // two windows of width 64
/// let print = Fingerprint::new(&seed, &hidden, 64)?;
/// assert_eq!(print.encode().len(), 64);
/// assert_eq!(Fingerprint::decode(&print.encode())?, print);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    windows: Vec<[u16; PROJECTIONS]>,
}

impl Fingerprint {
    /// Tokens of a window. The last one may be shorter; its last token counts.
    pub const WINDOW: usize = 32;

    /// The fingerprint of the hidden states of the last token of each window, `width` values each, from
    /// window 0 on. `O(width)` a window, and `width / 256` hashes for each of 16 projections.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for a width of 0 or a state that is not full; [`Error::NonFinite`].
    pub fn new(seed: &Seed, hidden: &[f32], width: usize) -> Result<Self> {
        if width == 0 || !hidden.len().is_multiple_of(width) {
            return Err(Error::ShapeMismatch { want: width as u64, got: hidden.len() as u64 });
        }
        if hidden.iter().any(|x| !x.is_finite()) {
            return Err(Error::NonFinite);
        }
        let signs = Signs::new(seed);
        let scale = 1.0 / libm::sqrtf(width as f32);
        let mut signed = alloc::vec![0.0f32; width];
        let windows = hidden
            .chunks_exact(width)
            .zip(0u32..)
            .map(|(x, window)| {
                let mut y = [0u16; PROJECTIONS];
                for (slot, j) in y.iter_mut().zip(0u32..) {
                    signs.apply(window, j, x, &mut signed);
                    *slot = f32_to_f16(pairwise(&signed) * scale);
                }
                y
            })
            .collect();
        Ok(Self { windows })
    }

    /// Number of windows.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether there is no window.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// The projections of a window.
    pub fn projections(&self, window: usize) -> Option<[f32; 16]> {
        self.windows.get(window).map(|y| y.map(f16_to_f32))
    }

    /// Body of [`EvidenceItem::Fingerprint`](crate::EvidenceItem::Fingerprint): 16 big-endian f16 a window.
    pub fn encode(&self) -> Vec<u8> {
        self.windows.iter().flatten().flat_map(|half| half.to_be_bytes()).collect()
    }

    /// Strict decoding of [`Fingerprint::encode`].
    ///
    /// # Errors
    /// [`Error::Length`] for part of a window; [`Error::NonFinite`] for NaN or infinity.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (rows, rest) = bytes.as_chunks::<{ 2 * PROJECTIONS }>();
        if !rest.is_empty() {
            return Err(Error::Length { want: (bytes.len() - rest.len()) as u64, got: bytes.len() as u64 });
        }
        let windows: Vec<[u16; PROJECTIONS]> = rows
            .iter()
            .map(|row| {
                let mut y = [0u16; PROJECTIONS];
                for (slot, pair) in y.iter_mut().zip(row.as_chunks::<2>().0) {
                    *slot = u16::from_be_bytes(*pair);
                }
                y
            })
            .collect();
        if windows.iter().flatten().any(|half| half & 0x7c00 == 0x7c00) {
            return Err(Error::NonFinite);
        }
        Ok(Self { windows })
    }
}

/// `||y - y'|| / ||y'||` of each window, `y'` the reference; the score is the largest over the windows, and
/// its place is [`Score::first`]. The expected value does not depend on the width of the state, but the
/// largest rises with the number of windows: calibrate with the same number.
///
/// ```
/// use hanzo_poai::{Comparator, Fingerprint, FingerprintDistance, JobId, Observation};
///
/// let seed = JobId::new([7; 32]).seed();
/// let hidden: Vec<f32> = (0..256).map(|i| (i as f32).sin()).collect();
/// let near: Vec<f32> = hidden.iter().map(|x| 1.01 * x).collect();
/// let (a, b) = (Fingerprint::new(&seed, &hidden, 256)?, Fingerprint::new(&seed, &near, 256)?);
/// let score = FingerprintDistance.compare(&Observation::Fingerprint(&a), &Observation::Fingerprint(&b))?;
/// assert!((score.value() - 0.01).abs() < 0.002);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FingerprintDistance;

impl Comparator for FingerprintDistance {
    fn compare(&self, reference: &Observation<'_>, claimed: &Observation<'_>) -> Result<Score> {
        let shape = Error::ShapeMismatch { want: reference.len(), got: claimed.len() };
        let (Observation::Fingerprint(a), Observation::Fingerprint(b)) = (reference, claimed) else {
            return Err(shape);
        };
        if a.len() != b.len() {
            return Err(shape);
        }
        if a.is_empty() {
            return Err(Error::TooFewTokens { need: 1, got: 0 });
        }
        let mut score = Score { value: 0.0, violations: 0, first: None };
        for ((want, got), index) in a.windows.iter().zip(&b.windows).zip(0u64..) {
            let distance = distance(want, got);
            if distance > score.value {
                score = Score { value: distance, violations: 0, first: Some(index) };
            }
        }
        Ok(score)
    }
}

fn distance(want: &[u16; PROJECTIONS], got: &[u16; PROJECTIONS]) -> f64 {
    let (mut off, mut norm) = (0.0f64, 0.0f64);
    for (want, got) in want.iter().zip(got) {
        let (want, got) = (f64::from(f16_to_f32(*want)), f64::from(f16_to_f32(*got)));
        off += (want - got) * (want - got);
        norm += want * want;
    }
    // Both zero are equal; a claim beside a zero reference is as far off as can be.
    if off == 0.0 { 0.0 } else { libm::sqrt(off) / libm::sqrt(norm) }
}

/// The stream of signs of a job.
#[derive(Debug)]
struct Signs {
    key: Tag,
}

impl Signs {
    fn new(seed: &Seed) -> Self {
        let key: Hash = Tag::new("fingerprint").hash(&[seed.as_bytes()]);
        Self { key: Tag::keyed(&key) }
    }

    /// Writes `s_ji x_i`: 256 signs a hash, least significant bit of each byte first.
    fn apply(&self, window: u32, j: u32, x: &[f32], out: &mut [f32]) {
        for ((x, out), block) in x.chunks(256).zip(out.chunks_mut(256)).zip(0u32..) {
            let bits = self.key.hash(&[&window.to_be_bytes(), &j.to_be_bytes(), &block.to_be_bytes()]);
            for ((x, out), byte) in x.chunks(8).zip(out.chunks_mut(8)).zip(bits) {
                for ((x, out), bit) in x.iter().zip(out).zip(0..8) {
                    // A clear bit flips the sign.
                    *out = f32::from_bits(x.to_bits() ^ (u32::from(!byte >> bit & 1) << 31));
                }
            }
        }
    }
}

/// Sum in pairs, split at the largest power of two below the length.
fn pairwise(x: &[f32]) -> f32 {
    match x {
        [] => 0.0,
        [one] => *one,
        [a, b] => a + b,
        _ => {
            let (left, right) = x.split_at(1 << (x.len() - 1).ilog2());
            pairwise(left) + pairwise(right)
        }
    }
}

const PROJECTIONS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::JobId;

    #[test]
    fn distances_estimate_those_of_the_states() {
        // The relative distance of two states shows in the projections, whatever the width.
        let seed = JobId::new([1; 32]).seed();
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 40) as f32) / 16_777_216.0 - 0.5
        };
        for width in [24, 256, 1_000] {
            let windows = 50;
            let x: Vec<f32> = (0..windows * width).map(|_| next()).collect();
            let near: Vec<f32> = x.iter().map(|x| x + 0.01 * next()).collect();
            let (a, b) = (Fingerprint::new(&seed, &x, width).unwrap(), Fingerprint::new(&seed, &near, width).unwrap());
            let mean: f64 = a.windows.iter().zip(&b.windows).map(|(a, b)| distance(a, b)).sum::<f64>() / 50.0;
            assert!((0.006..0.016).contains(&mean), "width {width}: {mean}");
            let worst =
                FingerprintDistance.compare(&Observation::Fingerprint(&a), &Observation::Fingerprint(&b)).unwrap();
            assert!(worst.value() >= mean && worst.first().is_some());
        }
    }

    #[test]
    fn edges() {
        let seed = JobId::new([1; 32]).seed();
        assert!(Fingerprint::new(&seed, &[1.0; 5], 2).is_err());
        assert!(Fingerprint::new(&seed, &[1.0; 5], 0).is_err());
        assert_eq!(Fingerprint::new(&seed, &[f32::NAN], 1), Err(Error::NonFinite));
        let zero = Fingerprint::new(&seed, &[0.0; 4], 4).unwrap();
        let one = Fingerprint::new(&seed, &[1.0; 4], 4).unwrap();
        assert_eq!(distance(&zero.windows[0], &zero.windows[0]), 0.0);
        assert_eq!(distance(&zero.windows[0], &one.windows[0]), f64::INFINITY);
        // Huge states saturate instead of turning into infinity.
        let huge = Fingerprint::new(&seed, &[f32::MAX / 8.0; 4], 4).unwrap();
        assert!(huge.projections(0).unwrap().iter().all(|y| y.is_finite()));
        assert_eq!(Fingerprint::decode(&[0; 31]), Err(Error::Length { want: 0, got: 31 }));
        assert_eq!(Fingerprint::decode(&[0x7c; 32]), Err(Error::NonFinite));
        assert!(Fingerprint::decode(&[]).unwrap().is_empty());
        assert_eq!(pairwise(&[1.0, 2.0, 3.0, 4.0, 5.0]), 15.0);
    }
}
