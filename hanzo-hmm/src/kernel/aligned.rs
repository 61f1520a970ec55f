//! Numbers that start where a cache line does.

use std::ops::{Deref, DerefMut};

/// A vector of numbers whose first one lies at a multiple of 64 bytes.
///
/// An allocator promises 16. A vector register of 64 bytes that is loaded from elsewhere takes two cache lines, and the
/// time of two loads, so that a product with a matrix that lies badly takes twice the time.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    /// The numbers are those from `start` on.
    values: Vec<f64>,
    start: usize,
}

impl Aligned {
    pub(crate) fn new(n: usize, value: f64) -> Self {
        let mut aligned = Self::default();
        aligned.reset(n, value);
        aligned
    }

    /// Makes it `n` copies of `value`, in the same memory where that is large enough.
    pub(crate) fn reset(&mut self, n: usize, value: f64) {
        self.values.clear();
        self.values.reserve(n + LINE);
        let start = self.values.as_ptr().align_offset(LINE * size_of::<f64>());
        // Within the line, or there is no telling where a line starts.
        self.start = if start < LINE { start } else { 0 };
        self.values.resize(self.start + n, value);
    }
}

impl From<&[f64]> for Aligned {
    fn from(values: &[f64]) -> Self {
        let mut aligned = Self::new(values.len(), 0.0);
        aligned.copy_from_slice(values);
        aligned
    }
}

/// A copy lies elsewhere, so that its first number may have another place in the vector.
impl Clone for Aligned {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl PartialEq for Aligned {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Deref for Aligned {
    type Target = [f64];

    #[inline]
    fn deref(&self) -> &[f64] {
        self.values.get(self.start..).unwrap_or_default()
    }
}

impl DerefMut for Aligned {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f64] {
        self.values.get_mut(self.start..).unwrap_or_default()
    }
}

/// Numbers of a cache line.
const LINE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_line_whatever_is_done_with_it() {
        let on_line = |values: &Aligned| values.as_ptr().addr().is_multiple_of(64);
        let mut values = Aligned::default();
        for n in [0, 1, 7, 8, 100, 3, 4096] {
            values.reset(n, 2.5);
            let copy = values.clone();
            assert!(values.len() == n && values.iter().all(|x| *x == 2.5));
            assert!(copy == values && (n == 0 || on_line(&copy) && on_line(&values)), "{n}");
            let capacity = values.values.capacity();
            values.reset(n / 2, 1.0);
            assert!(values.len() == n / 2 && values.values.capacity() == capacity);
        }
        let from = Aligned::from(&[1.0, 2.0, 3.0][..]);
        assert_eq!(*from, [1.0, 2.0, 3.0]);
        assert_ne!(from, Aligned::new(3, 1.0));
    }
}
