//! Element types as the safetensors format names them.

use core::fmt;

use crate::element::{Bf16, Element, F16};

/// Type of a stored element; its [`word`](Dtype::word) is the one safetensors uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Dtype {
    /// `BOOL`, one byte.
    Bool,
    /// `U8`.
    U8,
    /// `I8`.
    I8,
    /// `F8_E5M2`.
    F8E5M2,
    /// `F8_E4M3`.
    F8E4M3,
    /// `F8_E8M0`.
    F8E8M0,
    /// `I16`.
    I16,
    /// `U16`.
    U16,
    /// `F16`, IEEE 754 binary16.
    F16,
    /// `BF16`, the upper half of an `F32`.
    Bf16,
    /// `I32`.
    I32,
    /// `U32`.
    U32,
    /// `F32`.
    F32,
    /// `C64`, two `F32`.
    C64,
    /// `F64`.
    F64,
    /// `I64`.
    I64,
    /// `U64`.
    U64,
}

impl Dtype {
    /// Size of one element in bytes: 1, 2, 4 or 8.
    #[must_use]
    pub fn size(self) -> usize {
        TABLE.iter().find(|row| row.0 == self).map_or(1, |row| row.2)
    }

    /// The word that stands for this type in a safetensors header.
    #[must_use]
    pub fn word(self) -> &'static str {
        TABLE.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// The type a safetensors word stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == word).map(|row| row.0)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Type in which scales are stored; in memory they are always the `f32` of the stored value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ScaleDtype {
    /// 4 bytes, nothing is rounded.
    #[default]
    F32,
    /// 2 bytes; a non-zero scale has to be within `2^-14 ..= 65504`.
    F16,
    /// 2 bytes, the range of `f32` with 8 bits of precision.
    Bf16,
}

impl ScaleDtype {
    /// The same type as a [`Dtype`].
    #[must_use]
    pub fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::Bf16,
        }
    }

    pub(crate) fn from_dtype(dtype: Dtype) -> Option<Self> {
        [Self::F32, Self::F16, Self::Bf16].into_iter().find(|s| s.dtype() == dtype)
    }

    /// The nearest stored value of a finite scale that is not negative, or `None` where the type cannot hold it.
    pub(crate) fn round(self, scale: f32) -> Option<f32> {
        let stored = match self {
            Self::F32 => scale,
            Self::F16 if scale != 0.0 && scale < F16_MIN_NORMAL => return None,
            Self::F16 => F16::from_f32(scale).to_f32(),
            Self::Bf16 => Bf16::from_f32(scale).to_f32(),
        };
        stored.is_finite().then_some(stored)
    }
}

const F16_MIN_NORMAL: f32 = 1.0 / 16384.0;

const TABLE: [(Dtype, &str, usize); 17] = [
    (Dtype::F32, "F32", 4),
    (Dtype::F16, "F16", 2),
    (Dtype::Bf16, "BF16", 2),
    (Dtype::U32, "U32", 4),
    (Dtype::U64, "U64", 8),
    (Dtype::F64, "F64", 8),
    (Dtype::I64, "I64", 8),
    (Dtype::I32, "I32", 4),
    (Dtype::I16, "I16", 2),
    (Dtype::U16, "U16", 2),
    (Dtype::I8, "I8", 1),
    (Dtype::U8, "U8", 1),
    (Dtype::Bool, "BOOL", 1),
    (Dtype::F8E5M2, "F8_E5M2", 1),
    (Dtype::F8E4M3, "F8_E4M3", 1),
    (Dtype::F8E8M0, "F8_E8M0", 1),
    (Dtype::C64, "C64", 8),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_their_own_inverse() {
        for (dtype, word, size) in TABLE {
            assert_eq!(Dtype::from_word(word), Some(dtype));
            assert_eq!((dtype.word(), dtype.size()), (word, size));
        }
        assert_eq!(Dtype::from_word("f32"), None);
    }

    #[test]
    fn half_scales_keep_their_range() {
        assert_eq!(ScaleDtype::F16.round(F16_MIN_NORMAL), Some(F16_MIN_NORMAL));
        assert_eq!(ScaleDtype::F16.round(F16_MIN_NORMAL * 0.999), None);
        assert_eq!(ScaleDtype::F16.round(65504.0), Some(65504.0));
        assert_eq!(ScaleDtype::F16.round(65520.0), None);
        assert_eq!(ScaleDtype::F16.round(0.0), Some(0.0));
        assert_eq!(ScaleDtype::Bf16.round(f32::MAX), None);
        assert_eq!(ScaleDtype::F32.round(1e-45), Some(1e-45));
    }
}
