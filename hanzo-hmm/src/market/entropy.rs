//! Entropies of many outcomes at once.

use crate::kernel::{Arch, Level, Task};

/// `-sum p ln p` of numbers in `[0, 1]`, with 0 for `p = 0`.
///
/// Eight partial sums in a fixed order, no fused operations: the same bytes on every processor.
#[inline]
pub(super) fn entropy(p: &[f64]) -> f64 {
    Level::best().run(Entropy(p))
}

struct Entropy<'a>(&'a [f64]);

impl Task for Entropy<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) -> f64 {
        total(self.0)
    }
}

/// `H[q]` of the mixture `q = sum_s weights[s] rows[s]`, which is left in `mixture`; its length has to be a multiple of 8 and divide `rows` into as
/// many rows as there are weights.
#[inline]
pub(super) fn mixture_entropy(weights: &[(usize, f64)], rows: &[f64], mixture: &mut [f64]) -> f64 {
    Level::best().run(Mixture { weights, rows, mixture })
}

struct Mixture<'a> {
    weights: &'a [(usize, f64)],
    rows: &'a [f64],
    mixture: &'a mut [f64],
}

impl Task for Mixture<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) -> f64 {
        let Self { weights, rows, mixture } = self;
        let n = mixture.len();
        mixture.fill(0.0);
        for &(s, q) in weights {
            let Some(row) = rows.get(s * n..(s + 1) * n) else { continue };
            let (out, _) = mixture.as_chunks_mut::<8>();
            let (row, _) = row.as_chunks::<8>();
            for (out, row) in out.iter_mut().zip(row) {
                for (o, p) in out.iter_mut().zip(row) {
                    *o += q * p;
                }
            }
        }
        total(mixture)
    }
}

#[inline(always)]
pub(super) fn total(p: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (chunks, rest) = p.as_chunks::<8>();
    for chunk in chunks {
        for (lane, &p) in lanes.iter_mut().zip(chunk) {
            *lane -= p * ln(p);
        }
    }
    if !rest.is_empty() {
        let mut last = [0.0; 8];
        last[..rest.len()].copy_from_slice(rest);
        for (lane, p) in lanes.iter_mut().zip(last) {
            *lane -= p * ln(p);
        }
    }
    ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]))
}

/// The natural logarithm of `max(x, 2^-1022)` to within one unit in the last place, without a branch: the reduction and polynomial of
/// FreeBSD's `e_log.c` (Sun Microsystems, 1993).
#[inline(always)]
fn ln(x: f64) -> f64 {
    // x = 2^k m with m in [sqrt(1/2), sqrt(2)).
    let bits = x.max(f64::MIN_POSITIVE).to_bits().wrapping_add(ONE - SQRT_HALF);
    // The exponent, put into the low bits of 2^52, is read as a number.
    let k = f64::from_bits(TWO_52 | (bits >> 52)) - (4_503_599_627_370_496.0 + 1_023.0);
    let m = f64::from_bits((bits & ((1 << 52) - 1)) + SQRT_HALF);
    let f = m - 1.0;
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (LN[1] + w * (LN[3] + w * LN[5]));
    let odd = z * (LN[0] + w * (LN[2] + w * (LN[4] + w * LN[6])));
    s * (half_square + (even + odd)) + k * LN_2_LOW - half_square + f + k * LN_2_HIGH
}

const ONE: u64 = 0x3ff0_0000_0000_0000;
const SQRT_HALF: u64 = 0x3fe6_a09e_0000_0000;
const TWO_52: u64 = 0x4330_0000_0000_0000;
/// `ln 2` in two parts, the first with a short mantissa, so that its multiples are exact.
const LN_2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN_2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
const LN: [f64; 7] = [
    f64::from_bits(0x3fe5_5555_5555_5593),
    f64::from_bits(0x3fd9_9999_9997_fa04),
    f64::from_bits(0x3fd2_4924_9422_9359),
    f64::from_bits(0x3fcc_71c5_1d8e_78af),
    f64::from_bits(0x3fc7_4664_96cb_03de),
    f64::from_bits(0x3fc3_9a09_d078_c69f),
    f64::from_bits(0x3fc2_f112_df3e_5244),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::SplitMix64;

    #[test]
    fn logarithms_are_within_two_units() {
        let mut rng = SplitMix64::new(1);
        for i in 0..200_000 {
            let x = if i % 2 == 0 { rng.unit() } else { f64::exp(-700.0 * rng.unit()) }.max(f64::MIN_POSITIVE);
            let (found, wanted) = (ln(x), x.ln());
            assert!((found - wanted).abs() <= 2.0 * f64::EPSILON * wanted.abs(), "{x}: {found} {wanted}");
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn entropies_are_the_same_on_every_processor() {
        let mut rng = SplitMix64::new(2);
        for n in 0..40 {
            let p: Vec<f64> = (0..n).map(|i| if i % 5 == 3 { 0.0 } else { rng.unit() }).collect();
            let wanted: f64 = p.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
            assert!((entropy(&p) - wanted).abs() < 1e-14 * (1.0 + n as f64));
            for level in Level::all() {
                assert_eq!(level.run(Entropy(&p)).to_bits(), entropy(&p).to_bits());
            }
        }
        let rows: Vec<f64> = (0..48).map(|_| rng.unit() / 16.0).collect();
        let weights = [(0, 0.3), (2, 0.7)];
        let mut mixed = [0.0; 16];
        let found = mixture_entropy(&weights, &rows, &mut mixed);
        for (i, m) in mixed.iter().enumerate() {
            assert!((m - (0.3 * rows[i] + 0.7 * rows[32 + i])).abs() < 1e-16);
        }
        assert_eq!(found.to_bits(), entropy(&mixed).to_bits());
        assert_eq!(entropy(&[]), 0.0);
        assert_eq!(entropy(&[1.0, 0.0]), 0.0);
    }
}
