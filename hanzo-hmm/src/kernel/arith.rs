//! Small numeric pieces that the kernels share.

use super::dispatch::{Arch, Baseline};

/// `a * b + c`, fused where the code is compiled for it (elsewhere it would be a library call).
#[inline(always)]
pub(crate) fn mul_add<A: Arch>(a: f64, b: f64, c: f64) -> f64 {
    if A::FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Binary exponent of a positive number; -1023 for zero and subnormal ones, 1024 for infinity.
#[inline(always)]
pub(crate) fn exponent(x: f64) -> i32 {
    // The field has 11 bits.
    ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

/// `2^e`, for `e` clamped to the normal range -1022..=1023.
#[inline(always)]
pub(crate) fn pow2(e: i32) -> f64 {
    f64::from_bits(((e.clamp(-1022, 1023) + 1023) as u64) << 52)
}

/// `e^x` for `x <= 0`, at most 2 ulp off, without a branch, so that loops over it vectorise.
///
/// Cody-Waite reduction by ln 2 and a Taylor polynomial of degree 13 on `|r| <= ln 2 / 2`, whose remainder is below
/// 5e-18. Results below the normal range round twice; `-inf` gives 0.
#[inline(always)]
pub(crate) fn exp_nonpositive(x: f64) -> f64 {
    exp_on::<Baseline>(x)
}

/// [`exp_nonpositive`] for an instruction set.
#[inline(always)]
pub(crate) fn exp_on<A: Arch>(x: f64) -> f64 {
    // Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits.
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    let x = if x > -750.0 { x } else { -750.0 };
    let rounded = x * std::f64::consts::LOG2_E + MAGIC;
    let n = rounded - MAGIC;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    // In pairs of terms, which do not wait for each other (Estrin's scheme).
    let (r2, pair) = (r * r, |even: f64, odd: f64| mul_add::<A>(r, odd, even));
    let (r4, r8) = (r2 * r2, (r2 * r2) * (r2 * r2));
    let low = mul_add::<A>(pair(1.0 / 24.0, 1.0 / 120.0), r2, pair(0.5, 1.0 / 6.0));
    let middle = mul_add::<A>(pair(1.0 / 40_320.0, 1.0 / 362_880.0), r2, pair(1.0 / 720.0, 1.0 / 5_040.0));
    let high = pair(1.0 / 3_628_800.0, 1.0 / 39_916_800.0);
    let high = mul_add::<A>(pair(1.0 / 479_001_600.0, 1.0 / 6_227_020_800.0), r2, high);
    let p = mul_add::<A>(high, r8, mul_add::<A>(middle, r4, low));
    let p = mul_add::<A>(p, r2, r) + 1.0;
    // 2^n as two factors, because n goes down to -1082.
    let bits = rounded.to_bits().wrapping_sub(MAGIC.to_bits());
    let half = (bits as i64 >> 1) as u64;
    let rest = bits.wrapping_sub(half);
    let scale = |k: u64| f64::from_bits(k.wrapping_add(1023) << 52);
    p * scale(half) * scale(rest)
}

/// All values in one, by halves, so that no value waits for all before it.
#[inline(always)]
pub(crate) fn folded<const N: usize>(mut values: [f64; N], f: impl Fn(f64, f64) -> f64) -> f64 {
    let mut width = N;
    while width > 1 {
        let half = width.div_ceil(2);
        for k in 0..width / 2 {
            values[k] = f(values[k], values[k + half]);
        }
        width = half;
    }
    values[0]
}

/// ln of the sum of exponentials, the maximum taken out; `-inf` for no term or none above `-inf`.
pub(crate) fn log_sum_exp(terms: &[f64]) -> f64 {
    let max = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return max;
    }
    max + terms.iter().map(|term| exp_nonpositive(term - max)).sum::<f64>().ln()
}

/// A sum with Neumaier's compensation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    pub(crate) fn add(&mut self, x: f64) {
        let total = self.sum + x;
        self.lost += if self.sum.abs() >= x.abs() { (self.sum - total) + x } else { (x - total) + self.sum };
        self.sum = total;
    }

    /// The sum; one beyond the range of the numbers is infinite, not NaN.
    pub(crate) fn value(self) -> f64 {
        if self.sum.is_finite() { self.sum + self.lost } else { self.sum }
    }
}

/// `y = x M` for a row-major `x.len() x y.len()` matrix, rows added in order.
pub(crate) fn vecmat(x: &[f64], matrix: &[f64], y: &mut [f64]) {
    y.fill(0.0);
    if y.is_empty() {
        return;
    }
    for (&x, row) in x.iter().zip(matrix.chunks_exact(y.len())) {
        for (y, m) in y.iter_mut().zip(row) {
            *y = mul_add::<Baseline>(x, *m, *y);
        }
    }
}

/// ln 2 in two parts, the first short enough that its product with an integer below 2^21 is exact.
pub(crate) const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
/// What [`LN2_HIGH`] leaves.
pub(crate) const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_within_two_units() {
        let mut x = 0.0;
        while x > -745.0 {
            let (ours, exact) = (exp_nonpositive(x), x.exp());
            let units = (ours.to_bits() as i64 - exact.to_bits() as i64).abs();
            assert!(units <= 2, "exp({x}): {ours} against {exact}");
            x -= 0.003_717;
        }
        assert_eq!(exp_nonpositive(0.0), 1.0);
        assert_eq!(exp_nonpositive(-0.0), 1.0);
        assert_eq!(exp_nonpositive(-746.0), 0.0);
        assert_eq!(exp_nonpositive(f64::NEG_INFINITY), 0.0);
    }

    #[test]
    fn powers_and_exponents_agree() {
        for e in [-1022, -600, -1, 0, 1, 1023] {
            assert_eq!(exponent(pow2(e)), e);
            assert_eq!(pow2(e), 2f64.powi(e));
        }
        assert_eq!(exponent(1.999), 0);
        assert_eq!(exponent(0.0), -1023);
    }

    #[test]
    fn log_sum_keeps_infinities() {
        assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
        assert_eq!(log_sum_exp(&[f64::NEG_INFINITY; 2]), f64::NEG_INFINITY);
        assert!((log_sum_exp(&[-1000.0, -1000.0]) - (2f64.ln() - 1000.0)).abs() < 1e-12);
    }

    #[test]
    fn compensated_sum_keeps_small_terms() {
        let mut sum = Sum::default();
        for x in [1e16, 1.0, -1e16] {
            sum.add(x);
        }
        assert_eq!(sum.value(), 1.0);
        sum.add(-f64::MAX);
        sum.add(-f64::MAX);
        assert_eq!(sum.value(), f64::NEG_INFINITY);
    }
}
