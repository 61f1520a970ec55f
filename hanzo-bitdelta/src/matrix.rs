//! Borrowed row-major matrices.

use crate::error::{Extent, Result};

/// A borrowed row-major matrix; rows may lie apart by more than their length.
///
/// ```
/// use hanzo_bitdelta::MatRef;
/// let m = MatRef::new(&[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3)?;
/// assert_eq!(m.row(1), [4.0, 5.0, 6.0]);
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatRef<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a, T> MatRef<'a, T> {
    /// A matrix whose rows follow each other.
    ///
    /// # Errors
    /// [`ShapeMismatch`](crate::Error::ShapeMismatch) when `data` is shorter than `rows * cols`.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Result<Self> {
        Self::with_stride(data, rows, cols, cols)
    }

    /// A matrix whose row `i` starts at `data[i * stride]`.
    ///
    /// # Errors
    /// [`ShapeMismatch`](crate::Error::ShapeMismatch) when `stride < cols` or `data` ends before the last row does.
    pub fn with_stride(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Result<Self> {
        check(data.len(), rows, cols, stride)?;
        Ok(Self { data, rows, cols, stride })
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `i`, or an empty slice when there is none.
    #[must_use]
    pub fn row(&self, i: usize) -> &'a [T] {
        if i < self.rows { &self.data[i * self.stride..][..self.cols] } else { &[] }
    }
}

/// A mutably borrowed row-major matrix; rows may lie apart by more than their length.
#[derive(Debug, PartialEq)]
pub struct MatMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a, T> MatMut<'a, T> {
    /// A matrix whose rows follow each other.
    ///
    /// # Errors
    /// [`ShapeMismatch`](crate::Error::ShapeMismatch) when `data` is shorter than `rows * cols`.
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self> {
        Self::with_stride(data, rows, cols, cols)
    }

    /// A matrix whose row `i` starts at `data[i * stride]`.
    ///
    /// # Errors
    /// [`ShapeMismatch`](crate::Error::ShapeMismatch) when `stride < cols` or `data` ends before the last row does.
    pub fn with_stride(data: &'a mut [T], rows: usize, cols: usize, stride: usize) -> Result<Self> {
        check(data.len(), rows, cols, stride)?;
        Ok(Self { data, rows, cols, stride })
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `i`, or an empty slice when there is none.
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        if i < self.rows { &mut self.data[i * self.stride..][..self.cols] } else { &mut [] }
    }

    /// The same matrix, read only.
    #[must_use]
    pub fn as_ref(&self) -> MatRef<'_, T> {
        MatRef { data: self.data, rows: self.rows, cols: self.cols, stride: self.stride }
    }
}

fn check(len: usize, rows: usize, cols: usize, stride: usize) -> Result<()> {
    if stride < cols {
        return Err(Extent::mismatch(&[rows, cols], &[rows, stride]));
    }
    // An empty matrix needs no data; otherwise the last row has to end inside it.
    let needed = match rows.checked_sub(1) {
        Some(last) if cols > 0 => last.checked_mul(stride).and_then(|start| start.checked_add(cols)),
        _ => Some(0),
    };
    match needed {
        Some(needed) if needed <= len => Ok(()),
        _ => Err(Extent::mismatch(&[rows, cols], &[len])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_never_reaches_past_its_data() {
        let data = [0_u8; 12];
        assert!(MatRef::new(&data, 3, 4).is_ok());
        assert!(MatRef::new(&data, 3, 5).is_err());
        assert!(MatRef::with_stride(&data, 3, 2, 5).is_ok());
        assert!(MatRef::with_stride(&data, 3, 3, 5).is_err());
        assert!(MatRef::with_stride(&data, 3, 3, 2).is_err());
        assert!(MatRef::new(&data, usize::MAX, 2).is_err());
        let empty = MatRef::new(&data, usize::MAX, 0);
        assert_eq!(empty.map(|m| m.row(usize::MAX - 1).len()), Ok(0));
    }
}
