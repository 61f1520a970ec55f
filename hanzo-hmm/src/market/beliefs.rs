//! A few numbers, one a regime, that are copied without allocation.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// One number a regime. Up to [`FEW`] regimes take no memory of their own.
#[derive(Clone)]
pub(crate) enum Beliefs {
    Few { n: u8, values: [f64; FEW] },
    Many(Box<[f64]>),
}

impl Beliefs {
    /// `n` times the same number.
    pub(crate) fn filled(n: usize, value: f64) -> Self {
        match u8::try_from(n) {
            Ok(few) if n <= FEW => Self::Few { n: few, values: [value; FEW] },
            _ => Self::Many(vec![value; n].into()),
        }
    }

    pub(crate) fn of(from: &[f64]) -> Self {
        let mut out = Self::filled(from.len(), 0.0);
        out.copy_from_slice(from);
        out
    }
}

impl Deref for Beliefs {
    type Target = [f64];

    #[inline]
    fn deref(&self) -> &[f64] {
        match self {
            Self::Few { n, values } => &values[..usize::from(*n)],
            Self::Many(values) => values,
        }
    }
}

impl DerefMut for Beliefs {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f64] {
        match self {
            Self::Few { n, values } => &mut values[..usize::from(*n)],
            Self::Many(values) => values,
        }
    }
}

impl PartialEq for Beliefs {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Beliefs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Regimes that need no allocation.
const FEW: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_hold_the_same() {
        for n in [1, 4, FEW, FEW + 1, 252] {
            let numbers: Vec<f64> = (0..n).map(|i| i as f64).collect();
            let mut held = Beliefs::of(&numbers);
            assert_eq!((&*held, matches!(held, Beliefs::Few { .. })), (&numbers[..], n <= FEW));
            held[n - 1] = -1.0;
            assert_eq!(held.iter().sum::<f64>(), numbers[..n - 1].iter().sum::<f64>() - 1.0);
            assert_ne!(held, Beliefs::of(&numbers));
            assert_eq!(Beliefs::filled(n, 2.0).to_vec(), vec![2.0; n]);
        }
        assert_ne!(Beliefs::filled(3, 1.0), Beliefs::filled(4, 1.0));
    }
}
