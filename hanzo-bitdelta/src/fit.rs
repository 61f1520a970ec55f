//! Scales and signs from calibration inputs: what the layer's outputs lose counts, not what its weights do.
//!
//! For inputs `X` (`T x m`, the layer's inputs on some calibration data) the squared error of the outputs of a row `d` that is
//! packed as `q` is `(d - q)^T G (d - q)` with the Gram matrix `G = X^T X`. [`closed_form`] keeps the signs and takes the
//! scales that make it least; [`error_feedback`] chooses the signs, too. No gradient of the model is needed.
//!
//! ```
//! use hanzo_bitdelta::fit::{Gram, SignOptions, error_feedback, output_error};
//! use hanzo_bitdelta::{Granularity, MatRef, PackOptions, PackedDelta};
//! let delta: Vec<f32> = (0..16 * 32).map(|i| (i as f32 * 0.7).sin()).collect();
//! let inputs: Vec<f32> = (0..200 * 32).map(|i| (i as f32 * 0.11).sin() + (i as f32 * 0.013).cos()).collect();
//! let delta = MatRef::new(&delta, 16, 32)?;
//! let gram = Gram::from_inputs(MatRef::new(&inputs, 200, 32)?)?;
//!
//! let options = PackOptions::new().granularity(Granularity::Row);
//! let mean = PackedDelta::from_delta(delta, &options)?;
//! let fitted = error_feedback(delta, &gram, &options, &SignOptions::new())?;
//! assert!(output_error(&fitted, delta, &gram)? < 0.5 * output_error(&mean, delta, &gram)?);
//! # Ok::<(), hanzo_bitdelta::Error>(())
//! ```

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use crate::delta::PackedDelta;
use crate::error::{Error, Extent, Result};
use crate::matrix::MatRef;

mod basis;
mod linear;
mod scales;
mod signs;

pub use scales::{Kept, ScaleAccumulator, closed_form, keep_if_better};
pub use signs::{SignOptions, error_feedback};

/// The Gram matrix `X^T X` of calibration inputs, `m x m` in `f64`: `8 m^2` bytes.
#[derive(Clone, PartialEq)]
pub struct Gram {
    cols: usize,
    samples: u64,
    /// Row-major; only `j <= i` is kept up to date while inputs are pushed.
    data: Vec<f64>,
}

impl Gram {
    /// The Gram matrix of no inputs with so many columns.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when memory does not hold it.
    pub fn new(cols: usize) -> Result<Self> {
        let too_large =
            Error::TooLarge { what: "columns of a Gram matrix", value: cols as u64, limit: u64::from(u32::MAX) };
        let Some(size) = cols.checked_mul(cols) else { return Err(too_large) };
        let mut data = Vec::new();
        data.try_reserve_exact(size).map_err(|_| too_large)?;
        data.resize(size, 0.0);
        Ok(Self { cols, samples: 0, data })
    }

    /// The Gram matrix of these inputs, one sample a row. `O(T m^2)`.
    ///
    /// # Errors
    /// [`Error::InvalidOptions`] when there are no samples; else as for [`new`](Self::new) and [`push`](Self::push).
    pub fn from_inputs(inputs: MatRef<'_, f32>) -> Result<Self> {
        if inputs.rows() == 0 {
            return Err(Error::InvalidOptions { what: "calibration samples", value: 0.0 });
        }
        let mut gram = Self::new(inputs.cols())?;
        gram.push(inputs)?;
        Ok(gram)
    }

    /// The identity: all columns count alike, and a closed-form scale is the mean magnitude.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn identity(cols: usize) -> Result<Self> {
        let mut gram = Self::new(cols)?;
        for j in 0..cols {
            gram.data[j * cols + j] = 1.0;
        }
        gram.samples = 1;
        Ok(gram)
    }

    /// Adds samples, one a row. `O(T m^2)`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the samples have another number of columns; [`Error::NonFinite`]. Nothing is added then.
    pub fn push(&mut self, inputs: MatRef<'_, f32>) -> Result<()> {
        Extent::check(&[inputs.rows(), self.cols], &[inputs.rows(), inputs.cols()])?;
        check_finite("inputs", inputs)?;
        let cols = self.cols;
        // Columns of a few samples side by side, so that a row of the matrix is loaded once for all of them.
        let mut wide = vec![0.0; SAMPLES * cols];
        for first in (0..inputs.rows()).step_by(SAMPLES) {
            let count = SAMPLES.min(inputs.rows() - first);
            for (t, wide) in wide.chunks_exact_mut(cols.max(1)).enumerate() {
                let row = if t < count { inputs.row(first + t) } else { &[] };
                wide.fill(0.0);
                wide.iter_mut().zip(row).for_each(|(wide, &x)| *wide = f64::from(x));
            }
            for i in 0..cols {
                let sums = &mut self.data[i * cols..][..=i];
                for sample in wide.chunks_exact(cols).take(count) {
                    let weight = sample[i];
                    if weight != 0.0 {
                        sums.iter_mut().zip(sample).for_each(|(sum, x)| *sum += weight * x);
                    }
                }
            }
        }
        for i in 0..cols {
            for j in 0..i {
                self.data[j * cols + i] = self.data[i * cols + j];
            }
        }
        self.samples += inputs.rows() as u64;
        Ok(())
    }

    /// Number of columns `m`.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Number of samples.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Entry `(i, j)`, or 0 outside the matrix.
    #[must_use]
    pub fn get(&self, i: usize, j: usize) -> f64 {
        if i < self.cols && j < self.cols { self.data[i * self.cols + j] } else { 0.0 }
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.cols..][..self.cols]
    }

    fn mean_diagonal(&self) -> f64 {
        let trace: f64 = (0..self.cols).map(|j| self.data[j * self.cols + j]).sum();
        trace / self.cols.max(1) as f64
    }

    fn check(&self, delta: MatRef<'_, f32>) -> Result<()> {
        Extent::check(&[delta.rows(), delta.cols()], &[delta.rows(), self.cols])?;
        if self.samples == 0 {
            return Err(Error::InvalidOptions { what: "calibration samples", value: 0.0 });
        }
        check_finite("delta", delta)
    }
}

impl core::fmt::Debug for Gram {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Gram").field("cols", &self.cols).field("samples", &self.samples).finish_non_exhaustive()
    }
}

/// Squared error of the outputs on the calibration inputs: the sum over rows of `(d - q)^T G (d - q)`. `O(n m^2)`.
///
/// # Errors
/// [`Error::ShapeMismatch`]; [`Error::NonFinite`]; [`Error::InvalidOptions`] when the Gram matrix has no samples.
pub fn output_error(packed: &PackedDelta, delta: MatRef<'_, f32>, gram: &Gram) -> Result<f64> {
    Extent::check(&[packed.rows(), packed.cols()], &[delta.rows(), delta.cols()])?;
    gram.check(delta)?;
    let mut q = vec![0.0; packed.cols()];
    let mut sum = 0.0;
    for i in packed.row_indices() {
        packed.row_into(i, &mut q);
        let residual: Vec<f64> = delta.row(i).iter().zip(&q).map(|(&d, &q)| f64::from(d) - f64::from(q)).collect();
        for (j, r) in residual.iter().enumerate().filter(|(_, r)| **r != 0.0) {
            sum += r * linear::dot(gram.row(j), &residual);
        }
    }
    Ok(sum)
}

fn check_finite(tensor: &str, matrix: MatRef<'_, f32>) -> Result<()> {
    let rows = if matrix.cols() == 0 { 0 } else { matrix.rows() };
    for row in 0..rows {
        if let Some(col) = matrix.row(row).iter().position(|value| !value.is_finite()) {
            return Err(Error::NonFinite { tensor: tensor.to_string(), row, col });
        }
    }
    Ok(())
}

/// Samples that share a pass over the matrix.
const SAMPLES: usize = 16;
