//! `exp` of numbers that are not positive, in a form that compilers turn into vectors.

/// `exp(x)` for `x <= 0`, within two units in the last place; 0 below -708, where the true value is below 1e-307.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2` (Cody and Waite), then the Taylor polynomial of degree 13 and a shift of the
/// exponent. Without branches, so that a loop over it becomes vectors, and without fused operations, so that it gives
/// the same bits on every processor.
#[inline(always)]
pub(super) fn exp_not_positive(x: f64) -> f64 {
    // Adding it leaves the nearest integer in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let shifted = x * core::f64::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut sum = COEFFICIENTS[0];
    for coefficient in &COEFFICIENTS[1..] {
        sum = sum * r + coefficient;
    }
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1_023) << 52);
    if x < -708.0 { 0.0 } else { sum * power }
}

/// 1/13!, .., 1/1!, 1/0!.
const COEFFICIENTS: [f64; 14] = {
    let mut coefficients = [1.0; 14];
    let (mut factorial, mut k) = (1.0, 1);
    while k < 14 {
        factorial *= k as f64;
        coefficients[13 - k] = 1.0 / factorial;
        k += 1;
    }
    coefficients
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Against `libm`, whose error is below one unit.
    #[test]
    fn it_is_the_exponential() {
        let mut worst = 0.0f64;
        let mut check = |x: f64| {
            let (got, want) = (exp_not_positive(x), libm::exp(x));
            worst = worst.max((got - want).abs() / want);
        };
        for n in 0..200_000 {
            check(-f64::from(n) * 708.0 / 200_000.0);
            check(-f64::from(n) * 1e-9);
            // Around the halves of ln 2, where the rounding turns.
            check(-core::f64::consts::LN_2 * (f64::from(n % 1_000) + 0.5) + f64::from(n) * 1e-16);
        }
        assert!(worst < 4.5e-16, "{worst:e}");
        assert_eq!(exp_not_positive(0.0), 1.0);
        assert_eq!(exp_not_positive(-0.0), 1.0);
        for far in [-708.000_1, -1e4, -6.9e38, f64::MIN] {
            assert_eq!(exp_not_positive(far), 0.0, "{far}");
        }
    }
}
