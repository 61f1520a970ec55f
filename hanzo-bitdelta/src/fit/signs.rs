//! Signs chosen one column after the other, each making up for the errors of the ones before.

use alloc::vec;
use alloc::vec::Vec;

use super::scales::closed_form;
use super::{Gram, linear};
use crate::delta::PackedDelta;
use crate::error::{Error, Result};
use crate::layout::TILE_COLS;
use crate::matrix::MatRef;
use crate::options::{PackOptions, SignZero};

/// Options of [`error_feedback`]; the default is a damping of 0.05, columns in order, one round.
///
/// ```
/// use hanzo_bitdelta::fit::SignOptions;
/// let options = SignOptions::new().damping(0.01).activation_order(true).rounds(2);
/// assert_ne!(options, SignOptions::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct SignOptions {
    damping: f64,
    activation_order: bool,
    rounds: u32,
}

impl SignOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self { damping: 0.05, activation_order: false, rounds: 1 }
    }

    /// Sets what is added to the diagonal of the Gram matrix, as a share of its mean; not negative. Checked when signs are
    /// chosen.
    #[must_use]
    pub fn damping(mut self, share: f64) -> Self {
        self.damping = share;
        self
    }

    /// Chooses the signs of the strongest inputs first, while all other columns can still make up for their errors.
    #[must_use]
    pub fn activation_order(mut self, on: bool) -> Self {
        self.activation_order = on;
        self
    }

    /// Sets how often signs and then scales are chosen, each time from the scales of the round before; 0 counts as 1.
    #[must_use]
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = rounds;
        self
    }
}

impl Default for SignOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Packs a delta with signs chosen under the Gram matrix, one column after the other: what a sign gets wrong is handed on to
/// the columns that follow, as GPTQ does for rounding (arXiv 2210.17323). Then the scales are those of [`closed_form`].
///
/// With `G' = G + damping * mean(diag G) * 1` and `inverse(G') = U^T U` (`U` upper triangular), column `j` of a row `w`, first
/// `w = d`: `s_j` is the sign of `w_j`, `e = (w_j - a_j s_j) / U_jj`, `w_k -= e U_jk` for all `k >= j`. The scales `a` while signs
/// are chosen are those of [`PackedDelta::from_delta`]. `O(m^3 + n m^2)` time, `O(m^2)` space.
///
/// # Errors
/// [`Error::InvalidOptions`] for more than one plane, a damping that is negative or not finite, or a Gram matrix without
/// samples; [`Error::NotPositiveDefinite`] when the damped Gram matrix is not; those of [`PackedDelta::from_delta`].
pub fn error_feedback(
    delta: MatRef<'_, f32>,
    gram: &Gram,
    options: &PackOptions,
    signs: &SignOptions,
) -> Result<PackedDelta> {
    if options.planes != 1 {
        return Err(Error::InvalidOptions { what: "planes under error feedback (1)", value: options.planes as f64 });
    }
    if !(signs.damping >= 0.0 && signs.damping.is_finite()) {
        return Err(Error::InvalidOptions { what: "damping (0 or more)", value: signs.damping });
    }
    gram.check(delta)?;
    let mut packed = PackedDelta::from_delta(delta, options)?;
    if packed.is_empty() || packed.is_zero() {
        return Ok(packed);
    }
    let cols = gram.cols();
    let mut order: Vec<usize> = (0..cols).collect();
    if signs.activation_order {
        // Stable: equal columns keep their order.
        order.sort_by(|&a, &b| gram.get(b, b).total_cmp(&gram.get(a, a)));
    }
    let mut damped: Vec<f64> = order.iter().flat_map(|&i| order.iter().map(move |&j| gram.get(i, j))).collect();
    let damping = signs.damping * gram.mean_diagonal();
    (0..cols).for_each(|j| damped[j * cols + j] += damping);
    let factor = linear::inverse_factor(&damped, cols).ok_or(Error::NotPositiveDefinite)?;
    for _ in 0..signs.rounds.max(1) {
        let chosen = choose(&packed, delta, &factor, &order, options.sign_zero);
        packed = PackedDelta::from_tiled16(chosen.as_flattened(), packed.spec(), packed.scales())?;
        packed = closed_form(&packed, delta, gram)?;
    }
    Ok(packed)
}

/// The tiles of the signs for the scales of `packed`.
fn choose(
    packed: &PackedDelta,
    delta: MatRef<'_, f32>,
    factor: &[f64],
    order: &[usize],
    zero: SignZero,
) -> Vec<crate::layout::Tile> {
    let (grid, cols) = (packed.grid(), packed.cols());
    let mut tiles = vec![[0; crate::layout::TILE_ROWS]; grid.tiles()];
    let bands = tiles.chunks_exact_mut(grid.words()).enumerate();
    let run = |(index, tiles): (usize, &mut [crate::layout::Tile])| {
        let first = index * crate::layout::TILE_ROWS;
        let rows = crate::layout::TILE_ROWS.min(packed.rows() - first);
        // The rows of a band side by side, so that a row of the factor is loaded once for all.
        let (mut w, mut scales) = (vec![0.0; rows * cols], vec![0.0; rows * cols]);
        let mut row = vec![0.0_f32; cols];
        for r in 0..rows {
            packed.row_into(first + r, &mut row);
            for (k, &j) in order.iter().enumerate() {
                w[r * cols + k] = f64::from(delta.row(first + r)[j]);
                scales[r * cols + k] = f64::from(row[j].abs());
            }
        }
        for (k, &j) in order.iter().enumerate() {
            let factor = &factor[k * cols..][k..cols];
            for r in 0..rows {
                let w = &mut w[r * cols..][k..cols];
                let positive = if zero == SignZero::Positive { w[0] >= 0.0 } else { w[0] > 0.0 };
                let sign = if positive { 1.0 } else { -1.0 };
                let error = (w[0] - scales[r * cols + k] * sign) / factor[0];
                w.iter_mut().zip(factor).for_each(|(w, u)| *w -= error * u);
                tiles[j / TILE_COLS][r] |= u32::from(positive) << (j % TILE_COLS);
            }
        }
    };
    #[cfg(feature = "rayon")]
    {
        use rayon::prelude::*;
        let bands: Vec<_> = bands.collect();
        bands.into_par_iter().for_each(run);
    }
    #[cfg(not(feature = "rayon"))]
    bands.for_each(run);
    tiles
}
