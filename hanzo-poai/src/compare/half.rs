//! Half precision, by hand: one conversion each way.

/// Rounds to the nearest half, ties to even; saturates at the largest finite one. The value is not NaN.
pub(super) const fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    // 65,520 and above round past the largest finite half.
    if magnitude >= 0x477f_f000 {
        return sign | 0x7bff;
    }
    if magnitude >= 0x3880_0000 {
        // Normal: shift the exponent's bias by 112, then drop 13 bits.
        let rebased = magnitude - (112 << 23);
        let rounded = rebased + 0x0fff + (rebased >> 13 & 1);
        return sign | (rounded >> 13) as u16;
    }
    // Subnormal: units of 2^-24. Below 2^-25 everything is zero; the tie at 2^-25 goes to even, which is zero.
    let exponent = magnitude >> 23;
    if exponent < 102 {
        return sign;
    }
    let mantissa = magnitude & 0x007f_ffff | 0x0080_0000;
    let shift = 126 - exponent;
    let (kept, rest, half) = (mantissa >> shift, mantissa & ((1 << shift) - 1), 1 << (shift - 1));
    let up = rest > half || (rest == half && kept & 1 == 1);
    sign | (kept + up as u32) as u16
}

/// The value of a finite half, exactly.
pub(super) const fn f16_to_f32(half: u16) -> f32 {
    let sign = (half as u32 & 0x8000) << 16;
    let (exponent, mantissa) = (half >> 10 & 0x1f, half as u32 & 0x3ff);
    if exponent == 0 {
        let value = mantissa as f32 * (1.0 / 16_777_216.0);
        return f32::from_bits(value.to_bits() | sign);
    }
    f32::from_bits(sign | (exponent as u32 + 112) << 23 | mantissa << 13)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_comes_back_and_every_midpoint_goes_to_even() {
        for half in 0..0x7c00u16 {
            let value = f16_to_f32(half);
            assert_eq!(f32_to_f16(value), half);
            assert_eq!(f32_to_f16(-value), half | 0x8000);
            if half < 0x7bff {
                let middle = (value + f16_to_f32(half + 1)) / 2.0;
                let even = if half % 2 == 0 { half } else { half + 1 };
                assert_eq!(f32_to_f16(middle), even);
                assert_eq!(f32_to_f16(middle.next_down()), half);
                assert_eq!(f32_to_f16(middle.next_up()), half + 1);
            }
        }
        for big in [65_504.0, 65_519.9, 65_520.0, 1e30, f32::INFINITY] {
            assert_eq!(f32_to_f16(big), 0x7bff);
        }
        assert_eq!(f32_to_f16(f32::MIN_POSITIVE), 0);
    }
}
