//! Distillation: scales that make the student's outputs those of the teacher, by gradient descent on the caller's loss.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::adapter::{Adapter, Entry};
use crate::delta::PackedDelta;
use crate::error::{Error, Extent, Result};
use crate::matrix::MatRef;
use crate::options::Granularity;

/// The scales of all packed entries of an adapter, or the gradient of a loss with respect to them: under each name the
/// values of [`PackedDelta::scales`].
#[derive(Debug, Clone, PartialEq)]
pub struct Scales {
    /// In the order of the adapter's names.
    tensors: Vec<(String, Vec<f64>)>,
}

impl Scales {
    /// Those of an adapter's packed entries.
    ///
    /// # Errors
    /// As for [`Adapter::verify`].
    pub fn of(adapter: &Adapter) -> Result<Self> {
        let mut tensors = Vec::new();
        for name in adapter.names() {
            if let Entry::Packed(delta) = adapter.get(name)? {
                tensors.push((name.to_string(), delta.scales().iter().map(|&scale| f64::from(scale)).collect()));
            }
        }
        Ok(Self { tensors })
    }

    /// Names, in byte order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|(name, _)| name.as_str())
    }

    /// The values under a name.
    ///
    /// # Errors
    /// [`Error::MissingTensor`].
    pub fn get(&self, name: &str) -> Result<&[f64]> {
        let found = self.tensors.binary_search_by(|(own, _)| own.as_str().cmp(name));
        found.map(|index| &*self.tensors[index].1).map_err(|_| Error::MissingTensor(name.to_string()))
    }

    /// The values under a name, to be written.
    ///
    /// # Errors
    /// [`Error::MissingTensor`].
    pub fn get_mut(&mut self, name: &str) -> Result<&mut [f64]> {
        let found = self.tensors.binary_search_by(|(own, _)| own.as_str().cmp(name));
        found.map(|index| &mut *self.tensors[index].1).map_err(|_| Error::MissingTensor(name.to_string()))
    }

    /// The delta of this name with these scales instead of its own, rounded to `f32`.
    ///
    /// # Errors
    /// [`Error::MissingTensor`]; those of [`PackedDelta::with_scales`].
    pub fn apply(&self, name: &str, delta: &PackedDelta) -> Result<PackedDelta> {
        delta.with_scales(&self.get(name)?.iter().map(|&scale| scale as f32).collect::<Vec<_>>())
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.tensors.iter().flat_map(|(_, values)| values.iter().copied())
    }

    fn values_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.tensors.iter_mut().flat_map(|(_, values)| values)
    }
}

/// Who knows how good scales are. The caller runs the model; [`PackedDelta::scale_gradient`] turns the gradient of a weight
/// matrix into that of its scales, and [`mean_squared_error`] is the usual loss.
pub trait Teacher {
    /// The loss on training data, with its gradient by every scale written to `grad` (all zeros before).
    ///
    /// # Errors
    /// Whatever goes wrong; it ends the distillation.
    fn loss_and_grad(&mut self, scales: &Scales, grad: &mut Scales) -> Result<f64>;

    /// The loss on data that is not trained on.
    ///
    /// # Errors
    /// Whatever goes wrong; it ends the distillation.
    fn held_out_loss(&mut self, scales: &Scales) -> Result<f64>;
}

/// A [`Teacher`] made of two closures.
///
/// ```
/// use hanzo_bitdelta::{Adapter, DistillOptions, Granularity, MatRef, PackOptions, PackedDelta, TeacherFn, distill};
/// let options = PackOptions::new().granularity(Granularity::Tensor);
/// let delta = PackedDelta::from_delta(MatRef::new(&[1.0_f32, -1.0], 1, 2)?, &options)?;
/// let adapter = Adapter::builder().entry("w", delta).build()?;
/// // The scale should be 3.
/// let loss = |scales: &hanzo_bitdelta::Scales| Ok((scales.get("w")?[0] - 3.0).powi(2));
/// let mut teacher = TeacherFn::new(
///     |scales: &hanzo_bitdelta::Scales, grad: &mut hanzo_bitdelta::Scales| {
///         grad.get_mut("w")?[0] = 2.0 * (scales.get("w")?[0] - 3.0);
///         loss(scales)
///     },
///     loss,
/// );
/// let (better, report) = distill(&adapter, &mut teacher, &DistillOptions::new())?;
/// assert!(report.held_out() < 1e-3 && report.held_out() < report.held_out_before());
/// assert_eq!(report.first_loss(), Some(4.0));
/// assert_eq!(distill(&adapter, &mut teacher, &DistillOptions::new().steps(0))?.1.first_loss(), None);
/// # let _ = better;
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Debug)]
pub struct TeacherFn<G, H> {
    gradient: G,
    held_out: H,
}

impl<G, H> TeacherFn<G, H>
where
    G: FnMut(&Scales, &mut Scales) -> Result<f64>,
    H: FnMut(&Scales) -> Result<f64>,
{
    /// A teacher of a loss with its gradient, and a loss on held-out data.
    pub fn new(loss_and_grad: G, held_out_loss: H) -> Self {
        Self { gradient: loss_and_grad, held_out: held_out_loss }
    }
}

impl<G, H> Teacher for TeacherFn<G, H>
where
    G: FnMut(&Scales, &mut Scales) -> Result<f64>,
    H: FnMut(&Scales) -> Result<f64>,
{
    fn loss_and_grad(&mut self, scales: &Scales, grad: &mut Scales) -> Result<f64> {
        (self.gradient)(scales, grad)
    }

    fn held_out_loss(&mut self, scales: &Scales) -> Result<f64> {
        (self.held_out)(scales)
    }
}

/// Options of [`distill`]: Adam with `beta` 0.9 and 0.999 on the logarithms of the scales; the default is 200 steps of a
/// learning rate of 0.02 that falls as a cosine, with the held-out loss looked at after every step.
///
/// ```
/// use hanzo_bitdelta::DistillOptions;
/// let options = DistillOptions::new().steps(50).learning_rate(0.05).held_out_every(5);
/// assert_ne!(options, DistillOptions::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct DistillOptions {
    steps: u32,
    learning_rate: f64,
    held_out_every: u32,
}

impl DistillOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self { steps: 200, learning_rate: 2e-2, held_out_every: 1 }
    }

    /// Sets the number of steps `T`.
    #[must_use]
    pub fn steps(mut self, steps: u32) -> Self {
        self.steps = steps;
        self
    }

    /// Sets the learning rate of the first step; step `t` has `rate * (1 + cos(pi t / T)) / 2`. Positive, checked at the start.
    #[must_use]
    pub fn learning_rate(mut self, rate: f64) -> Self {
        self.learning_rate = rate;
        self
    }

    /// Looks at the held-out loss after every so many steps, and after the last one; 0 counts as 1.
    #[must_use]
    pub fn held_out_every(mut self, steps: u32) -> Self {
        self.held_out_every = steps;
        self
    }
}

impl Default for DistillOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// How a distillation went.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DistillReport {
    best_step: u32,
    held_out_before: f64,
    held_out: f64,
    first_loss: Option<f64>,
    last_loss: Option<f64>,
}

impl DistillReport {
    /// The step whose scales were kept; 0 for those at the start.
    #[must_use]
    pub fn best_step(&self) -> u32 {
        self.best_step
    }

    /// Held-out loss at the start, in the measure of the caller's `held_out_loss`.
    #[must_use]
    pub fn held_out_before(&self) -> f64 {
        self.held_out_before
    }

    /// Held-out loss of what was kept, in the same measure; never above that at the start.
    #[must_use]
    pub fn held_out(&self) -> f64 {
        self.held_out
    }

    /// Training loss before the first step; `None` when there was none.
    #[must_use]
    pub fn first_loss(&self) -> Option<f64> {
        self.first_loss
    }

    /// Training loss before the last step; `None` when there was none.
    #[must_use]
    pub fn last_loss(&self) -> Option<f64> {
        self.last_loss
    }
}

/// The same signs with distilled scales: of all steps, the start included, the one with the least held-out loss. Scales that
/// are zero stay zero.
///
/// The teacher sees scales that are values of `f32`: what it judges is what is stored, unless scales are stored in 16 bits.
///
/// # Errors
/// [`Error::InvalidOptions`] for a learning rate that is not positive and finite; [`Error::Diverged`] when a loss or a gradient
/// is not finite; those of the teacher, of [`Adapter::verify`] and of [`PackedDelta::with_scales`].
pub fn distill(
    adapter: &Adapter,
    teacher: &mut impl Teacher,
    options: &DistillOptions,
) -> Result<(Adapter, DistillReport)> {
    let rate = options.learning_rate;
    if !(rate > 0.0 && rate.is_finite()) {
        return Err(Error::InvalidOptions { what: "learning rate (above 0)", value: rate });
    }
    let start = Scales::of(adapter)?;
    let mut scales = start.clone();
    // Zero scales have no logarithm: they stay.
    let mut logs: Vec<f64> = start.values().map(f64::ln).collect();
    let (mut first, mut second) = (vec![0.0; logs.len()], vec![0.0; logs.len()]);
    let mut grad = start.clone();
    let finite = |loss: f64, step: u32| if loss.is_finite() { Ok(loss) } else { Err(Error::Diverged { step }) };

    let held_out_before = finite(teacher.held_out_loss(&scales)?, 0)?;
    let mut report =
        DistillReport { best_step: 0, held_out_before, held_out: held_out_before, first_loss: None, last_loss: None };
    let mut best = start;
    for step in 0..options.steps {
        grad.values_mut().for_each(|value| *value = 0.0);
        let loss = finite(teacher.loss_and_grad(&scales, &mut grad)?, step)?;
        if step == 0 {
            report.first_loss = Some(loss);
        }
        report.last_loss = Some(loss);
        let t = f64::from(step);
        let rate = rate * (1.0 + (core::f64::consts::PI * t / f64::from(options.steps)).cos()) / 2.0;
        let (bias1, bias2) = (1.0 - BETA1.powf(t + 1.0), 1.0 - BETA2.powf(t + 1.0));
        for (k, (scale, grad)) in scales.values_mut().zip(grad.values()).enumerate() {
            if *scale == 0.0 {
                continue;
            }
            let g = finite(grad * *scale, step)?;
            first[k] = BETA1 * first[k] + (1.0 - BETA1) * g;
            second[k] = BETA2 * second[k] + (1.0 - BETA2) * g * g;
            logs[k] -= rate * (first[k] / bias1) / ((second[k] / bias2).sqrt() + EPSILON);
            let next = logs[k].exp() as f32;
            // Out of the range of f32: hold on to the last scale that was in it.
            if next > 0.0 && next.is_finite() {
                *scale = f64::from(next);
            }
        }
        if (step + 1).is_multiple_of(options.held_out_every.max(1)) || step + 1 == options.steps {
            let held_out = finite(teacher.held_out_loss(&scales)?, step + 1)?;
            if held_out < report.held_out {
                (report.best_step, report.held_out) = (step + 1, held_out);
                best.clone_from(&scales);
            }
        }
    }
    let adapter = adapter.map_packed(|name, delta| best.apply(name, delta))?;
    Ok((adapter, report))
}

/// Mean over all values of the squared difference, the loss of the published BitDelta code on logits; its gradient by the
/// student's values is written to `grad`. 0 when there are none.
///
/// # Errors
/// [`Error::ShapeMismatch`] when the lengths differ.
///
/// ```
/// let mut grad = [0.0; 2];
/// assert_eq!(hanzo_bitdelta::mean_squared_error(&[1.0, 5.0], &[1.0, 3.0], &mut grad)?, 2.0);
/// assert_eq!(grad, [0.0, 2.0]);
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
pub fn mean_squared_error(student: &[f32], teacher: &[f32], grad: &mut [f32]) -> Result<f64> {
    Extent::check(&[student.len()], &[teacher.len()])?;
    Extent::check(&[student.len()], &[grad.len()])?;
    let count = student.len().max(1) as f64;
    let mut sum = 0.0;
    for ((grad, &student), &teacher) in grad.iter_mut().zip(student).zip(teacher) {
        let difference = f64::from(student) - f64::from(teacher);
        sum += difference * difference;
        *grad = (2.0 * difference / count) as f32;
    }
    Ok(sum / count)
}

impl PackedDelta {
    /// From the gradient of a loss by the dense delta (or, what is the same, by the weights it is added to) to that by the
    /// scales, which is added to `grad`: each scale gets the sum of the entries it multiplies, times their signs. With row and column
    /// scales it depends on the scales: ask the delta with the scales at which `dense` was taken ([`Scales::apply`]).
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when `dense` is not `rows x cols` or `grad` not as long as [`scales`](Self::scales).
    ///
    /// ```
    /// use hanzo_bitdelta::{Granularity, MatRef, PackOptions, PackedDelta};
    /// let delta = MatRef::new(&[1.0_f32, -1.0, 2.0, 2.0], 2, 2)?;
    /// let packed = PackedDelta::from_delta(delta, &PackOptions::new().granularity(Granularity::Row))?;
    /// let mut grad = [0.0; 2];
    /// packed.scale_gradient(MatRef::new(&[10.0, 4.0, 1.0, 2.0], 2, 2)?, &mut grad)?;
    /// assert_eq!(grad, [6.0, 3.0]);
    /// # Ok::<(), hanzo_bitdelta::Error>(())
    /// ```
    pub fn scale_gradient(&self, dense: MatRef<'_, f32>, grad: &mut [f64]) -> Result<()> {
        Extent::check(&[self.rows(), self.cols()], &[dense.rows(), dense.cols()])?;
        Extent::check(&[self.scales().len()], &[grad.len()])?;
        let (rows, cols, count) = (self.rows(), self.cols(), self.scales().len() / self.planes());
        let (block, blocks) = (self.granularity().block_cols(cols), self.blocks());
        for plane in 0..self.planes() {
            let (grid, tiles, scales) = (self.grid(), self.plane(plane), self.plane_scales(plane));
            let grad = &mut grad[plane * count..][..count];
            for i in self.row_indices() {
                let mut sum = 0.0;
                for (j, &g) in dense.row(i).iter().enumerate() {
                    let bit = grid.word(tiles, i, j / 32) >> (j % 32) & 1;
                    let g = if bit == 1 { f64::from(g) } else { -f64::from(g) };
                    match self.granularity() {
                        Granularity::Tensor | Granularity::Row => sum += g,
                        Granularity::Col => grad[j] += g,
                        Granularity::Block(_) => grad[i * blocks + j / block] += g,
                        Granularity::RowCol => {
                            sum += g * f64::from(scales[rows + j]);
                            grad[rows + j] += g * f64::from(scales[i]);
                        }
                    }
                }
                match self.granularity() {
                    Granularity::Tensor => grad[0] += sum,
                    Granularity::Row | Granularity::RowCol => grad[i] += sum,
                    Granularity::Col | Granularity::Block(_) => {}
                }
            }
        }
        Ok(())
    }
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
