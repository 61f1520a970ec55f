//! How many multiply-adds this processor does: what a kernel can reach at best.
#![allow(unsafe_code, reason = "calling code for an instruction set that the processor was found to have")]

use std::hint::black_box;

/// Multiply-adds of `f64` a nanosecond, from independent sums in registers; `seconds` is the clock.
pub fn multiply_adds_per_nanosecond(seconds: impl Fn() -> f64) -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..50 {
        let start = seconds();
        let done = burst();
        best = best.max(done / ((seconds() - start) * 1e9));
    }
    best
}

#[cfg(target_arch = "x86_64")]
fn burst() -> f64 {
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has AVX-512 F.
        unsafe { burst_avx512() }
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has AVX2 and FMA.
        unsafe { burst_avx2() }
    } else {
        sums::<2, 8, false>()
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn burst() -> f64 {
    sums::<2, 8, false>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn burst_avx512() -> f64 {
    sums::<8, 12, true>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn burst_avx2() -> f64 {
    sums::<4, 12, true>()
}

/// `LANES * WAYS` sums of many terms; the number of multiply-adds.
#[inline(always)]
fn sums<const LANES: usize, const WAYS: usize, const FUSED: bool>() -> f64 {
    let (factor, term) = (black_box([0.5; LANES]), black_box([1.0; LANES]));
    let mut sums = [[1.0_f64; LANES]; WAYS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            for k in 0..LANES {
                sum[k] = if FUSED { sum[k].mul_add(factor[k], term[k]) } else { sum[k] * factor[k] + term[k] };
            }
        }
    }
    black_box(sums);
    (ROUNDS * LANES * WAYS) as f64
}

const ROUNDS: usize = 100_000;
