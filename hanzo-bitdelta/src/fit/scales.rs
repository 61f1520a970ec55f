//! Least-squares scales for given signs.

use alloc::vec;
use alloc::vec::Vec;

use super::{Gram, basis, linear};
use crate::delta::PackedDelta;
use crate::error::{Error, Extent, Result};
use crate::matrix::MatRef;
use crate::options::Granularity;
use crate::workspace::Workspace;

/// The same signs with the scales that make the error of the outputs on the calibration inputs least, clamped at 0.
///
/// A row's scale is `s^T G d / s^T G s`; the scale of a tensor sums numerator and denominator over rows; blocks, columns and
/// several planes solve their normal equations with a ridge of `1e-6` times their mean diagonal. With row and column scales
/// the column scales stay and the row scales are fitted. `O(n m^2)` time a plane; columns `O(m^3)`.
///
/// Fitted layer by layer, a scale of a whole tensor can make the model worse: see [`keep_if_better`].
///
/// # Errors
/// [`Error::ShapeMismatch`]; [`Error::NonFinite`]; [`Error::InvalidOptions`] when the Gram matrix has no samples;
/// [`Error::InvalidScale`] when a scale does not fit its stored type.
///
/// ```
/// use hanzo_bitdelta::fit::{Gram, closed_form};
/// use hanzo_bitdelta::{Granularity, MatRef, PackOptions, PackedDelta};
/// let delta = MatRef::new(&[1.0_f32, 3.0, -2.0, 4.0], 2, 2)?;
/// let packed = PackedDelta::from_delta(delta, &PackOptions::new().granularity(Granularity::Row))?;
/// // Only the first input is ever used: its weights come out exact.
/// let gram = Gram::from_inputs(MatRef::new(&[1.0, 0.0], 1, 2)?)?;
/// assert_eq!(closed_form(&packed, delta, &gram)?.scales(), [1.0, 2.0]);
/// assert_eq!(closed_form(&packed, delta, &Gram::identity(2)?)?.scales(), packed.scales());
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
pub fn closed_form(packed: &PackedDelta, delta: MatRef<'_, f32>, gram: &Gram) -> Result<PackedDelta> {
    Extent::check(&[packed.rows(), packed.cols()], &[delta.rows(), delta.cols()])?;
    gram.check(delta)?;
    let mut scales = packed.scales().to_vec();
    if packed.is_empty() {
        return Ok(packed.clone());
    }
    // Tensor and column scales belong to all rows: one system. Else every row has its own.
    let shared = matches!(packed.granularity(), Granularity::Tensor | Granularity::Col);
    let mut system = System::default();
    for i in packed.row_indices() {
        let d: Vec<f64> = delta.row(i).iter().map(|&d| f64::from(d)).collect();
        system.add_row(&basis::of_row(packed, i), &d, gram);
        if !shared {
            system.solve_into(&mut scales);
            system = System::default();
        }
    }
    if shared {
        system.solve_into(&mut scales);
    }
    packed.with_scales(&scales)
}

/// Normal equations over some scales.
#[derive(Debug, Default)]
struct System {
    scales: Vec<usize>,
    matrix: Vec<f64>,
    right: Vec<f64>,
}

impl System {
    fn add_row(&mut self, vectors: &[basis::Vector], d: &[f64], gram: &Gram) {
        let n = vectors.len();
        if self.scales.is_empty() {
            self.scales = vectors.iter().map(|z| z.scale).collect();
            (self.matrix, self.right) = (vec![0.0; n * n], vec![0.0; n]);
        }
        let mut products = vec![0.0; d.len()];
        for (a, z) in vectors.iter().enumerate() {
            // G z, then its products with d and with the vectors before.
            if z.cols.len() == 1 {
                let (j, weight) = (z.cols.start, z.values[0]);
                products.iter_mut().zip(gram.row(j)).for_each(|(p, g)| *p = weight * g);
            } else {
                for (k, p) in products.iter_mut().enumerate() {
                    *p = linear::dot(&gram.row(k)[z.cols.clone()], &z.values);
                }
            }
            self.right[a] += linear::dot(&products, d);
            for (b, other) in vectors.iter().enumerate().take(a + 1) {
                self.matrix[a * n + b] += linear::dot(&products[other.cols.clone()], &other.values);
            }
        }
    }

    /// Writes the solution to its places among all scales.
    fn solve_into(&mut self, scales: &mut [f32]) {
        let n = self.right.len();
        let solution = if n == 1 {
            vec![if self.matrix[0] > 0.0 { self.right[0] / self.matrix[0] } else { 0.0 }]
        } else {
            let mean = (0..n).map(|a| self.matrix[a * n + a]).sum::<f64>() / n as f64;
            (0..n).for_each(|a| self.matrix[a * n + a] += RIDGE * mean);
            // Not even with a ridge: there is nothing to fit to.
            linear::solve(&mut self.matrix, &self.right).unwrap_or_else(|| vec![0.0; n])
        };
        for (&index, value) in self.scales.iter().zip(solution) {
            // Not `max`: that may keep -0.0, which is no scale.
            scales[index] = if value > 0.0 { value as f32 } else { 0.0 };
        }
    }
}

/// Which of two candidates was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The scales as they were, such as means.
    Mean,
    /// The fitted ones.
    Fitted,
}

/// The fitted delta when the loss on held-out data falls, else the one before. The loss may be that of the whole model, or
/// [`output_error`](super::output_error) with another Gram matrix.
///
/// # Errors
/// Those of the loss; [`Error::Diverged`] when the loss before is not finite.
///
/// ```
/// use hanzo_bitdelta::fit::{Gram, Kept, closed_form, keep_if_better, output_error};
/// use hanzo_bitdelta::{MatRef, PackOptions, PackedDelta};
/// let delta = MatRef::new(&[1.0_f32, 3.0], 1, 2)?;
/// let mean = PackedDelta::from_delta(delta, &PackOptions::new())?;
/// let fitted = closed_form(&mean, delta, &Gram::from_inputs(MatRef::new(&[1.0, -1.0], 1, 2)?)?)?;
/// // On other inputs the fit is of no use.
/// let held_out = Gram::from_inputs(MatRef::new(&[1.0, 1.0], 1, 2)?)?;
/// let (_, kept) = keep_if_better(&mean, fitted, |delta_| output_error(delta_, delta, &held_out))?;
/// assert_eq!(kept, Kept::Mean);
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
pub fn keep_if_better(
    mean: &PackedDelta,
    fitted: PackedDelta,
    mut held_out_loss: impl FnMut(&PackedDelta) -> Result<f64>,
) -> Result<(PackedDelta, Kept)> {
    let before = held_out_loss(mean)?;
    if !before.is_finite() {
        return Err(Error::Diverged { step: 0 });
    }
    // A loss that is not finite is not below.
    if held_out_loss(&fitted)? < before { Ok((fitted, Kept::Fitted)) } else { Ok((mean.clone(), Kept::Mean)) }
}

/// Closed-form scales from a stream of samples, with sums only and no `m x m` matrix: for one plane with a scale for the
/// tensor or each row (with column scales, these stay).
///
/// With `u = S x` (the signs times an input that the student sees) and `target = W_fine x_teacher - W_base x_student`, the
/// scale is `sum u target / sum u^2`, clamped at 0. Fed layer by layer with the student's own inputs, later layers make up
/// for the errors of the ones before ("sequential").
///
/// ```
/// use hanzo_bitdelta::fit::ScaleAccumulator;
/// use hanzo_bitdelta::{Granularity, MatRef, PackOptions, PackedDelta, Workspace};
/// let delta = MatRef::new(&[1.0_f32, 3.0], 1, 2)?;
/// let packed = PackedDelta::from_delta(delta, &PackOptions::new().granularity(Granularity::Row))?;
/// let mut sums = ScaleAccumulator::new(&packed)?;
/// sums.push(&[1.0, 0.0], &[1.0], &mut Workspace::new())?;
/// assert_eq!(sums.finish()?.scales(), [1.0]);
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ScaleAccumulator {
    packed: PackedDelta,
    /// The same signs with scales of 1.
    unit: PackedDelta,
    products: Vec<f64>,
    squares: Vec<f64>,
    samples: u64,
}

impl ScaleAccumulator {
    /// No samples yet, for the signs of this delta.
    ///
    /// # Errors
    /// [`Error::InvalidOptions`] when it has several planes, or scales by column or block.
    pub fn new(packed: &PackedDelta) -> Result<Self> {
        let rows = match packed.granularity() {
            _ if packed.planes() != 1 => None,
            Granularity::Tensor => Some(1),
            Granularity::Row | Granularity::RowCol => Some(packed.rows()),
            _ => None,
        };
        let rows = rows.ok_or(Error::InvalidOptions {
            what: "planes of a scale accumulator (1, with a scale for the tensor or each row)",
            value: packed.planes() as f64,
        })?;
        let mut scales = packed.scales().to_vec();
        scales[..rows].fill(1.0);
        let unit = packed.with_scales(&scales)?;
        Ok(Self { packed: packed.clone(), unit, products: vec![0.0; rows], squares: vec![0.0; rows], samples: 0 })
    }

    /// Adds a sample: an input of the student, and what the delta should add to the student's output.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::NonFinite`]; those of [`PackedDelta::matvec_acc`]. Nothing is added then.
    pub fn push(&mut self, x: &[f32], target: &[f32], ws: &mut Workspace) -> Result<()> {
        let mut u = vec![0.0; self.packed.rows()];
        self.unit.matvec_acc(x, &mut u, ws)?;
        self.push_sums(&u, target)
    }

    /// Adds a sample whose sign sums `u = S x` the caller has.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::NonFinite`]. Nothing is added then.
    pub fn push_sums(&mut self, u: &[f32], target: &[f32]) -> Result<()> {
        let rows = self.packed.rows();
        for (name, values) in [("u", u), ("target", target)] {
            Extent::check(&[rows], &[values.len()])?;
            super::check_finite(name, MatRef::new(values, 1, rows)?)?;
        }
        let last = self.products.len() - 1;
        for (i, (&u, &target)) in u.iter().zip(target).enumerate() {
            let (u, target) = (f64::from(u), f64::from(target));
            self.products[i.min(last)] += u * target;
            self.squares[i.min(last)] += u * u;
        }
        self.samples += 1;
        Ok(())
    }

    /// Number of samples.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The delta with the fitted scales; 0 where no sample had anything to say.
    ///
    /// # Errors
    /// [`Error::InvalidOptions`] when there were no samples; [`Error::InvalidScale`] when a scale does not fit its type.
    pub fn finish(&self) -> Result<PackedDelta> {
        if self.samples == 0 {
            return Err(Error::InvalidOptions { what: "calibration samples", value: 0.0 });
        }
        let mut scales = self.packed.scales().to_vec();
        for ((scale, &product), &square) in scales.iter_mut().zip(&self.products).zip(&self.squares) {
            *scale = if product > 0.0 && square > 0.0 { (product / square) as f32 } else { 0.0 };
        }
        self.packed.with_scales(&scales)
    }
}

const RIDGE: f64 = 1e-6;
