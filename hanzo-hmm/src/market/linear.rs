//! Bayesian linear regression, one observation at a time.

use super::snapshot::{Reader, Writer, bad};
use crate::kernel::{Arch, Level, Task};
use crate::{Error, Result};

/// Linear regression with a Gaussian prior, kept exact by rank-one updates.
///
/// Precisions and covariances are in noise units: the covariance of the coefficients is `P * noise variance`. Updating by
/// weight `w` adds `w z z'` to the precision and changes `P` by Sherman-Morrison; both are stored as triangles, so they cannot lose their
/// symmetry. Residuals beyond three predictive standard deviations are clipped (Huber), the noise variance is the running mean of
/// the clipped residuals. Every 1,024 updates, or when a variance is no longer positive, `P` is computed afresh from the precision
/// by a Cholesky factorisation. `O(d^2)` time an update, `d^2` numbers of memory.
///
/// ```
/// use hanzo_hmm::market::BayesianLinear;
///
/// let mut line = BayesianLinear::new(&[1e-6, 1e-6])?;
/// for t in 0..20 {
///     let x = t as f64 / 20.0;
///     line.update(&[1.0, x], 0.25 + 0.5 * x, 1.0)?;
/// }
/// assert!((line.mean(&[1.0, 0.5])? - 0.5).abs() < 1e-4);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BayesianLinear {
    /// Of the prior and all observations.
    information: Information,
    /// Lower triangle by rows.
    covariance: Vec<f64>,
    coefficients: Vec<f64>,
    gain: Vec<f64>,
    noise_sum: f64,
    noise_weight: f64,
    updates: u32,
}

impl BayesianLinear {
    /// No data, coefficients 0 with independent priors of the given precisions.
    ///
    /// # Errors
    /// `NotFinite`, and `OutOfRange` for a precision that is not positive.
    pub fn new(prior_precision: &[f64]) -> Result<Self> {
        let d = prior_precision.len();
        let mut covariance = vec![0.0; triangle(d)];
        for (i, &prior) in prior_precision.iter().enumerate() {
            if !prior.is_finite() {
                return Err(Error::NotFinite { what: "prior precision" });
            }
            if prior <= 0.0 || !(1.0 / prior).is_finite() {
                return Err(Error::OutOfRange { what: "prior precision" });
            }
            covariance[triangle(i) + i] = 1.0 / prior;
        }
        let mut information = Information::none(d);
        information.add_prior(prior_precision, 1.0);
        Ok(Self {
            information,
            covariance,
            coefficients: vec![0.0; d],
            gain: vec![0.0; d],
            noise_sum: NOISE_PRIOR * NOISE_PRIOR_WEIGHT,
            noise_weight: NOISE_PRIOR_WEIGHT,
            updates: 0,
        })
    }

    /// Learns that features `z` came with `target`, with a weight in `[0, 10^6]`; weight 0 changes nothing.
    ///
    /// # Errors
    /// `DimensionMismatch`, `NotFinite`, `OutOfRange` (weight, or a feature beyond 10^6); nothing is learned then.
    pub fn update(&mut self, z: &[f64], target: f64, weight: f64) -> Result<()> {
        self.learn(z, target, weight).map(|_| ())
    }

    /// [`update`](Self::update) that gives the target as it was learned, clipped.
    pub(crate) fn learn(&mut self, z: &[f64], target: f64, weight: f64) -> Result<f64> {
        self.check(z)?;
        if !(target.is_finite() && weight.is_finite()) {
            return Err(Error::NotFinite { what: "target or weight" });
        }
        if !(0.0..=MAX_SIZE).contains(&weight) {
            return Err(Error::OutOfRange { what: "weight" });
        }
        if weight == 0.0 {
            return Ok(target);
        }
        symmetric_times(&self.covariance, z, &mut self.gain);
        let leverage = dot(z, &self.gain).max(0.0);
        let predicted = dot(z, &self.coefficients);
        let bound = HUBER * (self.noise_variance() * (1.0 + leverage)).sqrt();
        let residual = (target - predicted).clamp(-bound, bound);
        let scale = weight / (1.0 + weight * leverage);
        if !(residual.is_finite() && scale.is_finite()) {
            return Err(Error::OutOfRange { what: "target" });
        }
        for (i, &g) in self.gain.iter().enumerate() {
            let row = triangle(i);
            axpy(-scale * g, &self.gain[..=i], &mut self.covariance[row..=row + i]);
        }
        self.information.add(z, predicted + residual, weight);
        axpy(scale * residual, &self.gain, &mut self.coefficients);
        self.noise_sum += weight * residual * residual / (1.0 + leverage);
        self.noise_weight += weight;
        self.updates += 1;
        let sound = (0..z.len()).all(|i| self.covariance[triangle(i) + i] > 0.0);
        if self.updates >= REFRESH || !sound {
            self.refresh();
        }
        Ok(predicted + residual)
    }

    /// Leaves a part of what was learned, towards the prior of these precisions: `L0 + keep (L - L0)`. `O(d^3)`.
    pub(crate) fn forget(&mut self, keep: f64, prior_precision: &[f64]) {
        self.information.scale(keep);
        self.information.add_prior(prior_precision, 1.0 - keep);
        self.refresh();
    }

    /// Forgets all observations, but not how noisy they were.
    pub(crate) fn restart(&mut self, prior_precision: &[f64]) {
        self.information.clear();
        self.information.add_prior(prior_precision, 1.0);
    }

    /// Takes these parts for all its observations. `O(d^3)`.
    pub(crate) fn rebuild(&mut self, prior_precision: &[f64], parts: &[Information]) {
        self.restart(prior_precision);
        parts.iter().for_each(|part| self.information.merge(part));
        self.refresh();
    }

    /// Takes over how noisy the observations of another regression were.
    pub(crate) fn same_noise(&mut self, other: &Self) {
        (self.noise_sum, self.noise_weight) = (other.noise_sum, other.noise_weight);
    }

    /// Adds an observation whose effect shows after [`refresh`](Self::refresh): many of them cost `O(d^2)` each and one
    /// factorisation.
    pub(crate) fn absorb(&mut self, z: &[f64], target: f64, weight: f64) {
        self.information.add(z, target, weight);
    }

    /// `E[y | z]`, the coefficients times `z`.
    ///
    /// # Errors
    /// `DimensionMismatch`, `NotFinite`, `OutOfRange`.
    pub fn mean(&self, z: &[f64]) -> Result<f64> {
        self.check(z)?;
        Ok(dot(z, &self.coefficients))
    }

    /// `z' P z`: the variance of `coefficients . z` in noise units.
    ///
    /// # Errors
    /// `DimensionMismatch`, `NotFinite`, `OutOfRange`.
    pub fn leverage(&self, z: &[f64]) -> Result<f64> {
        self.check(z)?;
        Ok(quadratic(&self.covariance, z).max(0.0))
    }

    /// [`leverage`](Self::leverage) of features known to be sound.
    pub(crate) fn width(&self, z: &[f64]) -> f64 {
        quadratic(&self.covariance, z).max(0.0)
    }

    /// Running estimate of the noise variance; starts at 1/4, the largest variance of a score in [0, 1], and never goes below 10^-6.
    pub fn noise_variance(&self) -> f64 {
        (self.noise_sum / self.noise_weight).max(NOISE_FLOOR)
    }

    /// The posterior mean of the coefficients.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// Number of features.
    pub fn dim(&self) -> usize {
        self.coefficients.len()
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        self.information.save(w);
        w.f64s(&self.covariance);
        w.f64s(&self.coefficients);
        w.f64s(&[self.noise_sum, self.noise_weight]);
        w.u64(u64::from(self.updates));
    }

    /// Takes over a saved state of the same size.
    pub(crate) fn load(&mut self, r: &mut Reader<'_>) -> Result<()> {
        self.information.load(r)?;
        r.f64s(&mut self.covariance)?;
        r.f64s(&mut self.coefficients)?;
        (self.noise_sum, self.noise_weight) = (r.amount()?, r.amount()?);
        self.updates = r.index(REFRESH as usize)? as u32;
        let positive = (0..self.dim()).all(|i| self.covariance[triangle(i) + i] > 0.0);
        if positive && self.noise_weight > 0.0 { Ok(()) } else { bad("covariance") }
    }

    fn check(&self, z: &[f64]) -> Result<()> {
        if z.len() != self.dim() {
            return Err(Error::DimensionMismatch { what: "features", expected: self.dim(), found: z.len() });
        }
        check_features(z)
    }

    /// Recomputes covariance and coefficients from the precision. A precision that is no longer positive definite in floating point
    /// leaves them as they are, with variances held above 0.
    pub(crate) fn refresh(&mut self) {
        self.updates = 0;
        match invert(&self.information.precision, self.dim()) {
            Some(covariance) => {
                self.covariance = covariance;
                symmetric_times(&self.covariance, &self.information.moment, &mut self.coefficients);
            }
            None => {
                for i in 0..self.dim() {
                    let v = &mut self.covariance[triangle(i) + i];
                    *v = v.max(f64::MIN_POSITIVE);
                }
            }
        }
    }
}

/// What observations add to a regression: their precision `sum w z z'` and moment `sum w z y`, which add up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Information {
    /// Lower triangle by rows.
    precision: Vec<f64>,
    moment: Vec<f64>,
}

impl Information {
    pub(crate) fn none(d: usize) -> Self {
        Self { precision: vec![0.0; triangle(d)], moment: vec![0.0; d] }
    }

    pub(crate) fn add(&mut self, z: &[f64], target: f64, weight: f64) {
        for (i, &zi) in z.iter().enumerate().filter(|(_, zi)| **zi != 0.0) {
            let row = triangle(i);
            axpy(weight * zi, &z[..=i], &mut self.precision[row..=row + i]);
        }
        axpy(weight * target, z, &mut self.moment);
    }

    pub(crate) fn scale(&mut self, keep: f64) {
        self.precision.iter_mut().chain(&mut self.moment).for_each(|v| *v *= keep);
    }

    pub(crate) fn clear(&mut self) {
        self.precision.fill(0.0);
        self.moment.fill(0.0);
    }

    fn merge(&mut self, other: &Self) {
        axpy(1.0, &other.precision, &mut self.precision);
        axpy(1.0, &other.moment, &mut self.moment);
    }

    fn add_prior(&mut self, precision: &[f64], part: f64) {
        for (i, prior) in precision.iter().enumerate() {
            self.precision[triangle(i) + i] += part * prior;
        }
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        w.f64s(&self.precision);
        w.f64s(&self.moment);
    }

    pub(crate) fn load(&mut self, r: &mut Reader<'_>) -> Result<()> {
        r.f64s(&mut self.precision)?;
        r.f64s(&mut self.moment)
    }
}

/// Every feature finite and at most 10^6 in size.
pub(crate) fn check_features(z: &[f64]) -> Result<()> {
    if z.iter().any(|v| !v.is_finite()) {
        return Err(Error::NotFinite { what: "feature" });
    }
    if z.iter().any(|v| v.abs() > MAX_SIZE) {
        return Err(Error::OutOfRange { what: "feature" });
    }
    Ok(())
}

/// Offset of row `i` of a lower triangle, which is also the size of one of `i` rows.
pub(super) fn triangle(i: usize) -> usize {
    i * (i + 1) / 2
}

/// Eight partial sums, added in a fixed order: the same bytes whatever the vector width.
#[inline(always)]
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    for (x, y) in a8.iter().zip(b8) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += x * y;
        }
    }
    let tail: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7])) + tail
}

pub(super) fn axpy(a: f64, x: &[f64], y: &mut [f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// `z' A z` for a symmetric `A` stored as its lower triangle.
pub(super) fn quadratic(a: &[f64], z: &[f64]) -> f64 {
    Level::best().run(Quadratic(a, z))
}

/// Nothing is fused, so every instruction set gives the same bytes.
struct Quadratic<'a>(&'a [f64], &'a [f64]);

impl Task for Quadratic<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) -> f64 {
        let Self(a, z) = self;
        let mut sum = 0.0;
        for (i, &zi) in z.iter().enumerate() {
            if zi != 0.0 {
                let row = &a[triangle(i)..=triangle(i) + i];
                sum += zi * (2.0 * dot(&row[..i], &z[..i]) + row[i] * zi);
            }
        }
        sum
    }
}

/// `out = A z` for a symmetric `A` stored as its lower triangle.
pub(super) fn symmetric_times(a: &[f64], z: &[f64], out: &mut [f64]) {
    out.fill(0.0);
    for (i, &zi) in z.iter().enumerate() {
        let row = &a[triangle(i)..=triangle(i) + i];
        if zi != 0.0 {
            axpy(zi, &row[..i], &mut out[..i]);
        }
        out[i] += dot(&row[..i], &z[..i]) + row[i] * zi;
    }
}

/// The inverse of a positive definite matrix, both as lower triangles; `None` if a pivot is not positive.
fn invert(a: &[f64], d: usize) -> Option<Vec<f64>> {
    // a = L L'
    let mut l = a.to_vec();
    for i in 0..d {
        for j in 0..=i {
            let (ri, rj) = (triangle(i), triangle(j));
            let sum = l[ri + j] - dot(&l[ri..ri + j], &l[rj..rj + j]);
            if i == j {
                if !(sum > 0.0 && sum.is_finite()) {
                    return None;
                }
                l[ri + i] = sum.sqrt();
            } else {
                l[ri + j] = sum / l[rj + j];
            }
        }
    }
    // Columns of L^-1, kept as rows of its transpose so that the dot products run over contiguous numbers.
    let mut columns = vec![0.0; d * d];
    for c in 0..d {
        let column = &mut columns[c * d..(c + 1) * d];
        for i in c..d {
            let row = triangle(i);
            let unit = if i == c { 1.0 } else { 0.0 };
            column[i] = (unit - dot(&l[row + c..row + i], &column[c..i])) / l[row + i];
        }
    }
    // a^-1 = L^-T L^-1
    let mut out = vec![0.0; triangle(d)];
    for i in 0..d {
        for j in 0..=i {
            out[triangle(i) + j] = dot(&columns[i * d + i..(i + 1) * d], &columns[j * d + i..(j + 1) * d]);
        }
    }
    Some(out)
}

const HUBER: f64 = 3.0;
const REFRESH: u32 = 1_024;
const MAX_SIZE: f64 = 1e6;
const NOISE_PRIOR: f64 = 0.25;
const NOISE_PRIOR_WEIGHT: f64 = 4.0;
const NOISE_FLOOR: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    /// A fixed pseudo-random sequence in [-1, 1].
    fn numbers(n: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * i + 7 * i) as f64 * 0.737).sin()).collect()
    }

    #[test]
    fn inverse_times_matrix_is_the_identity() {
        let d = 13;
        let mut model = BayesianLinear::new(&vec![0.5; d]).unwrap();
        let z = numbers(d * 40);
        for row in z.chunks(d) {
            model.update(row, row[0] * 0.3, 0.7).unwrap();
        }
        let inverse = invert(&model.information.precision, d).unwrap();
        for i in 0..d {
            let mut unit = vec![0.0; d];
            unit[i] = 1.0;
            let (mut column, mut back) = (vec![0.0; d], vec![0.0; d]);
            symmetric_times(&inverse, &unit, &mut column);
            symmetric_times(&model.information.precision, &column, &mut back);
            for (j, v) in back.iter().enumerate() {
                assert!((v - if i == j { 1.0 } else { 0.0 }).abs() < 1e-12);
            }
        }
        for (fast, exact) in model.covariance.iter().zip(&inverse) {
            assert!((fast - exact).abs() < 1e-12);
        }
    }

    #[test]
    fn a_refresh_changes_nothing_but_rounding() {
        let d = 6;
        let mut model = BayesianLinear::new(&vec![1.0; d]).unwrap();
        for row in numbers(d * 300).chunks(d) {
            model.update(row, row[1] - 0.5 * row[4], 1.0).unwrap();
        }
        let before = model.clone();
        model.refresh();
        for (a, b) in model.coefficients.iter().zip(&before.coefficients) {
            assert!((a - b).abs() < 1e-12);
        }
    }

    #[test]
    fn outliers_are_clipped() {
        let mut model = BayesianLinear::new(&[0.5]).unwrap();
        for _ in 0..500 {
            model.update(&[1.0], 0.6, 1.0).unwrap();
        }
        let before = model.mean(&[1.0]).unwrap();
        model.update(&[1.0], 1e9, 1.0).unwrap();
        assert!((model.mean(&[1.0]).unwrap() - before).abs() < 1e-2);
    }

    #[test]
    fn bad_arguments_teach_nothing() {
        let mut model = BayesianLinear::new(&[1.0, 1.0]).unwrap();
        let before = model.clone();
        for (z, y, w) in [
            (&[1.0][..], 0.5, 1.0),
            (&[f64::NAN, 0.0], 0.5, 1.0),
            (&[1e7, 0.0], 0.5, 1.0),
            (&[1.0, 0.0], f64::INFINITY, 1.0),
            (&[1.0, 0.0], 0.5, -1.0),
            (&[1.0, 0.0], 0.5, f64::NAN),
        ] {
            assert!(model.update(z, y, w).is_err());
            assert_eq!(model, before);
        }
        assert!(BayesianLinear::new(&[0.0]).is_err());
        assert!(BayesianLinear::new(&[f64::INFINITY]).is_err());
    }
}
