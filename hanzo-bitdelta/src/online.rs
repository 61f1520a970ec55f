//! Deltas that grow while they are in use: one bit cannot hold a small step, so that the sum stays in `f32`.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use crate::delta::{MAX_WEIGHTS, PackedDelta};
use crate::error::{Error, Extent, Result};
use crate::matrix::{MatMut, MatRef};
use crate::options::PackOptions;

/// The running sum of small updates to a matrix, packed when it is asked for (an adapter that learns from decisions). `4 n m`
/// bytes.
///
/// ```
/// use hanzo_bitdelta::{Granularity, MatRef, OnlineDelta, PackOptions};
/// let mut delta = OnlineDelta::new(2, 2)?;
/// for _ in 0..100 {
///     delta.update(MatRef::new(&[1.0, -1.0, 0.5, 0.5], 2, 2)?, 0.01)?;
/// }
/// delta.decay(0.5)?;
/// let adapter = delta.snapshot(&PackOptions::new().granularity(Granularity::Row))?;
/// assert!((adapter.scales()[0] - 0.5).abs() < 1e-5);
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct OnlineDelta {
    rows: usize,
    cols: usize,
    sum: Vec<f32>,
}

impl OnlineDelta {
    /// All zeros.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when memory does not hold the matrix.
    pub fn new(rows: usize, cols: usize) -> Result<Self> {
        let weights = rows.checked_mul(cols).filter(|&weights| weights as u64 <= MAX_WEIGHTS);
        let value = (rows as u64).saturating_mul(cols as u64);
        let too_large = Error::TooLarge { what: "rows * cols", value, limit: MAX_WEIGHTS };
        let Some(weights) = weights else { return Err(too_large) };
        let mut sum = Vec::new();
        sum.try_reserve_exact(weights).map_err(|_| too_large)?;
        sum.resize(weights, 0.0);
        Ok(Self { rows, cols, sum })
    }

    /// Starts from a packed delta, such as a snapshot that was stored.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn from_packed(packed: &PackedDelta) -> Result<Self> {
        let mut online = Self::new(packed.rows(), packed.cols())?;
        online.absorb(packed)?;
        Ok(online)
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

    /// The sum, row-major.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.sum
    }

    /// `sum += rate * g`, rounded after each operation.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::NonFinite`] for a value of `g` or a rate that is not finite; [`Error::Overflow`] when
    /// a sum would be. Nothing changes then.
    pub fn update(&mut self, g: MatRef<'_, f32>, rate: f32) -> Result<()> {
        if !rate.is_finite() {
            return Err(Error::NonFinite { tensor: "rate".to_string(), row: 0, col: 0 });
        }
        add_scaled(&mut self.sum, self.rows, self.cols, "update", g, rate)
    }

    /// Adds a packed increment, such as one of another party's [`ErrorFeedback`].
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::Overflow`] when a sum would be. Nothing changes then.
    pub fn absorb(&mut self, increment: &PackedDelta) -> Result<()> {
        increment.apply_to(MatMut::new(&mut self.sum, self.rows, self.cols)?)
    }

    /// `sum *= 1 - share`, for a share from 0 (nothing is forgotten) to 1 (everything is).
    ///
    /// # Errors
    /// [`Error::InvalidOptions`] for a share outside of that.
    pub fn decay(&mut self, share: f32) -> Result<()> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::InvalidOptions { what: "share to forget (0 to 1)", value: f64::from(share) });
        }
        self.sum.iter_mut().for_each(|value| *value *= 1.0 - share);
        Ok(())
    }

    /// The packed sum.
    ///
    /// # Errors
    /// As for [`PackedDelta::from_delta`].
    pub fn snapshot(&self, options: &PackOptions) -> Result<PackedDelta> {
        PackedDelta::from_delta(MatRef::new(&self.sum, self.rows, self.cols)?, options)
    }
}

/// A stream of packed increments that together add up to what was put in: what one increment rounds away is put into the
/// next (error feedback, arXiv 1901.09847). The receiver adds them up with [`OnlineDelta::absorb`].
///
/// After any number of increments, their sum plus [`residual`](Self::residual) is the sum of all inputs, up to the rounding of
/// `f32`.
///
/// ```
/// use hanzo_bitdelta::{ErrorFeedback, Granularity, MatRef, OnlineDelta, PackOptions};
/// let options = PackOptions::new().granularity(Granularity::Tensor);
/// let (mut sender, mut receiver) = (ErrorFeedback::new(1, 2)?, OnlineDelta::new(1, 2)?);
/// for _ in 0..50 {
///     receiver.absorb(&sender.push(MatRef::new(&[1.0, 0.25], 1, 2)?, &options)?)?;
/// }
/// // One bit and one scale cannot say (1, 0.25); fifty of them can say (50, 12.5), up to what is still held back.
/// assert!((receiver.as_slice()[1] + sender.residual()[1] - 12.5).abs() < 1e-4);
/// assert!(sender.residual()[1].abs() < 1.5);
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorFeedback {
    held: OnlineDelta,
}

impl ErrorFeedback {
    /// Nothing held back yet.
    ///
    /// # Errors
    /// As for [`OnlineDelta::new`].
    pub fn new(rows: usize, cols: usize) -> Result<Self> {
        Ok(Self { held: OnlineDelta::new(rows, cols)? })
    }

    /// What was put in and is not part of an increment yet, row-major.
    #[must_use]
    pub fn residual(&self) -> &[f32] {
        &self.held.sum
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.held.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.held.cols
    }

    /// Puts `g` in, to be part of a later increment.
    ///
    /// # Errors
    /// As for [`OnlineDelta::update`].
    pub fn add(&mut self, g: MatRef<'_, f32>) -> Result<()> {
        self.held.update(g, 1.0)
    }

    /// The next increment: packs what is held back, and holds back what the packed form misses.
    ///
    /// # Errors
    /// As for [`PackedDelta::from_delta`], and [`Error::Overflow`] when what is missed leaves `f32`. Nothing changes then.
    pub fn emit(&mut self, options: &PackOptions) -> Result<PackedDelta> {
        let packed = self.held.snapshot(options)?;
        let mut next = self.held.sum.clone();
        let mut row = vec![0.0; packed.cols()];
        for i in packed.row_indices() {
            packed.row_into(i, &mut row);
            let own = &mut next[i * packed.cols()..][..packed.cols()];
            own.iter_mut().zip(&row).for_each(|(held, q)| *held -= q);
            if !own.iter().all(|held| held.is_finite()) {
                return Err(Error::Overflow { what: "difference" });
            }
        }
        self.held.sum = next;
        Ok(packed)
    }

    /// [`add`](Self::add), then [`emit`](Self::emit).
    ///
    /// # Errors
    /// Those of the two. What was put in is taken out again when the second fails.
    pub fn push(&mut self, g: MatRef<'_, f32>, options: &PackOptions) -> Result<PackedDelta> {
        let before = self.held.sum.clone();
        self.add(g)?;
        self.emit(options).inspect_err(|_| self.held.sum = before)
    }
}

/// `sum += rate * g`; checks everything before it changes anything.
fn add_scaled(sum: &mut [f32], rows: usize, cols: usize, name: &str, g: MatRef<'_, f32>, rate: f32) -> Result<()> {
    Extent::check(&[rows, cols], &[g.rows(), g.cols()])?;
    if cols == 0 {
        return Ok(());
    }
    for (row, own) in sum.chunks_exact(cols).enumerate() {
        let mut finite = true;
        own.iter().zip(g.row(row)).for_each(|(sum, g)| finite &= (sum + rate * g).is_finite());
        if !finite {
            return Err(match g.row(row).iter().position(|g| !g.is_finite()) {
                Some(col) => Error::NonFinite { tensor: name.to_string(), row, col },
                None => Error::Overflow { what: "sum" },
            });
        }
    }
    for (row, own) in sum.chunks_exact_mut(cols).enumerate() {
        own.iter_mut().zip(g.row(row)).for_each(|(sum, g)| *sum += rate * g);
    }
    Ok(())
}
