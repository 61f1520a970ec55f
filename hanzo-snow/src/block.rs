//! Block ids as strings of bits, and a block's place in the chain.

use core::hash::Hash;

/// An id whose bits order the choices of a [`Tree`](crate::Tree).
///
/// Implemented for byte arrays; bit `i` is `(byte[i / 8] >> (i % 8)) & 1`.
///
/// # Guarantees
/// Two ids are equal exactly if their [`BITS`](Self::BITS) bits are equal, `Ord` and `Hash` agree with equality, and
/// `first_difference` agrees with `bit`. An implementation that breaks this may make an instance undecided for ever,
/// never unsound in memory.
pub trait BlockId: Copy + Ord + Hash {
    /// Number of bits.
    const BITS: u32;

    /// Bit `i`, for `i < BITS`; false beyond.
    fn bit(&self, i: u32) -> bool;

    /// The first position in `from..to` at which the two ids differ.
    fn first_difference(&self, other: &Self, from: u32, to: u32) -> Option<u32> {
        (from..to.min(Self::BITS)).find(|&i| self.bit(i) != other.bit(i))
    }
}

impl<const N: usize> BlockId for [u8; N] {
    const BITS: u32 = 8 * N as u32;

    fn bit(&self, i: u32) -> bool {
        self.get((i / 8) as usize).is_some_and(|byte| byte >> (i % 8) & 1 == 1)
    }

    fn first_difference(&self, other: &Self, from: u32, to: u32) -> Option<u32> {
        let to = to.min(Self::BITS);
        let mut keep = 0xff_u8.checked_shl(from % 8).unwrap_or(0);
        for at in (from / 8) as usize..to.div_ceil(8) as usize {
            let difference = (self[at] ^ other[at]) & keep;
            if difference != 0 {
                let found = 8 * at as u32 + difference.trailing_zeros();
                return (found < to).then_some(found);
            }
            keep = 0xff;
        }
        None
    }
}

/// A block as consensus sees it: its id, its parent's id and its height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockRef<Id> {
    /// Id of the block.
    pub id: Id,
    /// Id of the block below.
    pub parent: Id,
    /// Height; the parent's plus one.
    pub height: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_agree_with_the_bits() {
        let a = [0b0000_0101_u8, 0x80, 0];
        let b = [0b0001_0101_u8, 0x00, 1];
        for from in 0..=25 {
            for to in 0..=25 {
                let plain = (from..to.min(24)).find(|&i| a.bit(i) != b.bit(i));
                assert_eq!(a.first_difference(&b, from, to), plain, "{from}..{to}");
            }
        }
        assert_eq!(a.first_difference(&b, 0, 24), Some(4));
        assert_eq!(a.first_difference(&b, 5, 24), Some(15));
        assert_eq!(a.first_difference(&b, 16, 24), Some(16));
    }
}
