//! How a delta is packed.

use core::num::NonZeroU32;

use crate::dtype::ScaleDtype;
use crate::error::{Error, Result};

/// Which entries of the delta share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Granularity {
    /// One scale for the matrix, as in BitDelta (arXiv 2402.10193, equation 2).
    Tensor,
    /// One scale a row (an output).
    Row,
    /// One scale a column (an input).
    Col,
    /// The product of a row scale and a column scale: a rank-1 model of the magnitudes.
    #[default]
    RowCol,
    /// One scale for each run of so many columns of a row; a multiple of 32. The last run of a row may be short.
    Block(NonZeroU32),
}

impl Granularity {
    /// A [`Block`](Self::Block) of `columns` columns.
    ///
    /// # Errors
    /// [`Error::InvalidOptions`] when `columns` is 0 or not a multiple of 32.
    pub fn block(columns: u32) -> Result<Self> {
        match NonZeroU32::new(columns) {
            Some(g) if columns.is_multiple_of(32) => Ok(Self::Block(g)),
            _ => Err(invalid_block(columns)),
        }
    }

    /// Number of scales in one plane of a `rows x cols` matrix; `None` when it does not fit.
    pub(crate) fn scales(self, rows: usize, cols: usize) -> Option<usize> {
        match self {
            Self::Tensor => Some(1),
            Self::Row => Some(rows),
            Self::Col => Some(cols),
            Self::RowCol => rows.checked_add(cols),
            Self::Block(_) => rows.checked_mul(cols.div_ceil(self.block_cols(cols))),
        }
    }

    /// Columns of one block; the whole row where there are no blocks, and never 0.
    pub(crate) fn block_cols(self, cols: usize) -> usize {
        match self {
            Self::Block(g) => usize::try_from(g.get()).unwrap_or(usize::MAX),
            _ => cols.max(1),
        }
    }

    pub(crate) fn check(self) -> Result<()> {
        match self {
            Self::Block(g) if !g.get().is_multiple_of(32) => Err(invalid_block(g.get())),
            _ => Ok(()),
        }
    }
}

/// Sign that stands for a difference of zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SignZero {
    /// Zero packs to -1 (bit 0): the rule of the paper.
    #[default]
    Negative,
    /// Zero packs to +1 (bit 1): the rule of the published code.
    Positive,
}

/// How the signs and scales of two or more planes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum PlaneFit {
    /// Each plane packs what the planes before it left over.
    Greedy,
    /// Starts from the greedy planes and refits all signs and scales of a group together, by alternating least squares.
    /// [`Granularity::RowCol`] stays greedy.
    #[default]
    LeastSquares,
}

/// Options of [`PackedDelta::compress`](crate::PackedDelta::compress); the default is one plane, one row scale times one
/// column scale, `f32` scales, zero packs to -1.
///
/// ```
/// use hanzo_bitdelta::{Granularity, PackOptions, ScaleDtype};
/// let options = PackOptions::new().granularity(Granularity::Row).planes(2).scale_dtype(ScaleDtype::F16);
/// assert_eq!(PackOptions::default(), PackOptions::new().granularity(Granularity::RowCol).planes(1));
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct PackOptions {
    pub(crate) granularity: Granularity,
    pub(crate) planes: usize,
    pub(crate) plane_fit: PlaneFit,
    pub(crate) sign_zero: SignZero,
    pub(crate) scale_dtype: ScaleDtype,
}

impl PackOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self {
            granularity: Granularity::default(),
            planes: 1,
            plane_fit: PlaneFit::default(),
            sign_zero: SignZero::default(),
            scale_dtype: ScaleDtype::default(),
        }
    }

    /// Sets which entries share a scale.
    #[must_use]
    pub fn granularity(mut self, granularity: Granularity) -> Self {
        self.granularity = granularity;
        self
    }

    /// Sets the number of planes, that is of sign bits a weight: 1 to 4, checked when packing.
    #[must_use]
    pub fn planes(mut self, planes: usize) -> Self {
        self.planes = planes;
        self
    }

    /// Sets how two or more planes are fitted.
    #[must_use]
    pub fn plane_fit(mut self, fit: PlaneFit) -> Self {
        self.plane_fit = fit;
        self
    }

    /// Sets the sign that stands for zero.
    #[must_use]
    pub fn sign_zero(mut self, sign: SignZero) -> Self {
        self.sign_zero = sign;
        self
    }

    /// Sets the type in which scales are stored.
    #[must_use]
    pub fn scale_dtype(mut self, dtype: ScaleDtype) -> Self {
        self.scale_dtype = dtype;
        self
    }
}

impl Default for PackOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Checks a number of planes.
pub(crate) fn check_planes(planes: usize) -> Result<()> {
    if (1..=MAX_PLANES).contains(&planes) {
        return Ok(());
    }
    Err(Error::InvalidOptions { what: "planes (1 to 4)", value: planes as f64 })
}

pub(crate) const MAX_PLANES: usize = 4;

fn invalid_block(columns: u32) -> Error {
    Error::InvalidOptions { what: "block (a positive multiple of 32)", value: f64::from(columns) }
}
