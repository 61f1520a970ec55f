//! Weight element types: `f32` and two 16-bit floats.

use crate::dtype::Dtype;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for super::F16 {}
    impl Sealed for super::Bf16 {}
    #[cfg(feature = "half")]
    impl Sealed for half::f16 {}
    #[cfg(feature = "half")]
    impl Sealed for half::bf16 {}
}

/// Type of a weight: `f32`, [`F16`] or [`Bf16`]; with the feature `half` also `half::f16` and `half::bf16`. Sealed.
///
/// Every value widens to `f32` exactly; arithmetic is done in `f32`.
pub trait Element: Copy + Send + Sync + PartialEq + core::fmt::Debug + Default + sealed::Sealed + 'static {
    /// The type's name in files.
    const DTYPE: Dtype;

    /// The same value as an `f32`.
    fn to_f32(self) -> f32;

    /// The nearest value of this type, ties to even; beyond the largest finite value, an infinity.
    fn from_f32(value: f32) -> Self;

    /// The same slice, when the type is `f32`.
    #[doc(hidden)]
    #[inline(always)]
    fn as_f32(_: &[Self]) -> Option<&[f32]> {
        None
    }

    /// The same slice to be written, when the type is `f32`.
    #[doc(hidden)]
    #[inline(always)]
    fn as_f32_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn as_f32(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }

    #[inline(always)]
    fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]> {
        Some(values)
    }
}

/// IEEE 754 binary16, as its bits.
///
/// ```
/// use hanzo_bitdelta::{Element, F16};
/// assert_eq!(F16::from_bits(0x3c01).to_f32(), 1.0009765625);
/// assert_eq!(F16::from_f32(65520.0).to_f32(), f32::INFINITY);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct F16(u16);

impl F16 {
    /// The value with these bits.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The bits of the value.
    #[must_use]
    pub const fn to_bits(self) -> u16 {
        self.0
    }
}

impl Element for F16 {
    const DTYPE: Dtype = Dtype::F16;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        let bits = u32::from(self.0);
        // The 15 bits, moved into the f32 fields, are the value times 2^-112; the product is exact, subnormals included.
        let magnitude = f32::from_bits((bits & 0x7fff) << 13) * TWO_POW_112;
        let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
        f32::from_bits(magnitude.to_bits() | special | (bits & 0x8000) << 16)
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        let sign = (bits >> 16) as u16 & 0x8000;
        let magnitude = bits & 0x7fff_ffff;
        let rounded = if magnitude > 0x7f80_0000 {
            // Keep the upper payload and make sure that the result is still a NaN.
            0x7e00 | (magnitude >> 13) as u16 & 0x03ff
        } else if magnitude >= 0x477f_f000 {
            // 65520 and above: nearer to 65536 than to the largest value, 65504.
            0x7c00
        } else if magnitude >= 0x3880_0000 {
            let even = (magnitude >> 13) & 1;
            ((magnitude - 0x3800_0000 + 0xfff + even) >> 13) as u16
        } else {
            // Adding 0.5 puts the last bit of the result at 2^-24: the hardware does the rounding.
            (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5_f32.to_bits()) as u16
        };
        Self(sign | rounded)
    }
}

/// bfloat16, the upper 16 bits of an `f32`, as its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// The value with these bits.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The bits of the value.
    #[must_use]
    pub const fn to_bits(self) -> u16 {
        self.0
    }
}

impl Element for Bf16 {
    const DTYPE: Dtype = Dtype::Bf16;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        if bits & 0x7fff_ffff > 0x7f80_0000 {
            return Self((bits >> 16) as u16 | 0x0040);
        }
        let even = (bits >> 16) & 1;
        Self(((bits + 0x7fff + even) >> 16) as u16)
    }
}

#[cfg(feature = "half")]
#[cfg_attr(docsrs, doc(cfg(feature = "half")))]
impl Element for half::f16 {
    const DTYPE: Dtype = Dtype::F16;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        F16(self.to_bits()).to_f32()
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        Self::from_bits(F16::from_f32(value).0)
    }
}

#[cfg(feature = "half")]
#[cfg_attr(docsrs, doc(cfg(feature = "half")))]
impl Element for half::bf16 {
    const DTYPE: Dtype = Dtype::Bf16;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        Bf16(self.to_bits()).to_f32()
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        Self::from_bits(Bf16::from_f32(value).0)
    }
}

const TWO_POW_112: f32 = f32::from_bits((112 + 127) << 23);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_widens_and_returns_as_half_does() {
        for bits in 0..=u16::MAX {
            let ours = F16(bits).to_f32();
            let oracle = half::f16::from_bits(bits);
            if oracle.is_nan() {
                assert!(ours.is_nan() && half::f16::from_bits(F16::from_f32(ours).0).is_nan());
            } else {
                assert_eq!(ours.to_bits(), oracle.to_f32().to_bits());
                assert_eq!(F16::from_f32(ours).0, bits);
            }
        }
    }

    #[test]
    fn every_bf16_returns() {
        for bits in 0..=u16::MAX {
            let value = Bf16(bits).to_f32();
            if !value.is_nan() {
                assert_eq!(value.to_bits(), half::bf16::from_bits(bits).to_f32().to_bits());
                assert_eq!(Bf16::from_f32(value).0, bits);
            }
        }
    }

    #[test]
    fn narrowing_rounds_as_half_does() {
        // A full-period walk over f32 bit patterns, plus every tie between neighbouring f16 values.
        let mut bits = 0x1234_5678_u32;
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            check(f32::from_bits(bits));
            check(f32::from_bits(0x3300_0000 + bits % 0x1500_0000));
        }
        for f16 in 0..0x7bff_u16 {
            let (low, high) = (F16(f16).to_f32(), F16(f16 + 1).to_f32());
            let tie = low + (high - low) / 2.0;
            for bits in [tie.to_bits() - 1, tie.to_bits(), tie.to_bits() + 1] {
                check(f32::from_bits(bits));
            }
        }

        fn check(value: f32) {
            if value.is_nan() {
                assert!(F16::from_f32(value).to_f32().is_nan() && Bf16::from_f32(value).to_f32().is_nan());
                return;
            }
            assert_eq!(F16::from_f32(value).0, half::f16::from_f32(value).to_bits(), "{value:e}");
            assert_eq!(Bf16::from_f32(value).0, half::bf16::from_f32(value).to_bits(), "{value:e}");
        }
    }
}
