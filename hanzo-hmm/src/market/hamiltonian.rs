//! Phase space and potential of the log prices.
//!
//! `H(x, p) = sum p_i^2 / (2 m_i) + V(x)`, with `x_i = ln(price_i / reference_i)` and `p_i` the pressure on that price.

use super::linear::dot;
use crate::{Error, Result};

/// A potential energy over log prices.
///
/// # Guarantees
/// An implementation must keep, for every finite `x` of length [`dim`](Self::dim):
/// - `gradient_into` writes the gradient of `value`;
/// - both are pure and add up in a fixed order;
/// - `max_frequency` is not below `sqrt` of the largest eigenvalue of `M^-1 Hess V` at any point with `V <= energy`.
pub trait Potential {
    /// Number of coordinates.
    fn dim(&self) -> usize;

    /// `V(x, t)`.
    fn value(&self, x: &[f64], t: f64) -> f64;

    /// `dV/dx` into `out`.
    fn gradient_into(&self, x: &[f64], t: f64, out: &mut [f64]);

    /// An upper bound of the local angular frequency wherever the potential energy is at most `energy`.
    fn max_frequency(&self, mass: &[f64], energy: f64) -> f64;
}

/// Positions and momenta of all models, with their inertia.
///
/// ```
/// use hanzo_hmm::market::{Integrator, PhaseSpace, TodaWells, Verlet};
///
/// let wells = TodaWells::new(vec![1.0], vec![0.0])?;
/// let mut state = PhaseSpace::new(vec![0.5], vec![0.0], vec![1.0])?;
/// let before = state.energy(&wells)?;
/// for _ in 0..1_000 {
///     Verlet::default().step(&mut state, &wells, 0.05)?;
/// }
/// assert!((state.energy(&wells)? - before).abs() < 1e-3);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PhaseSpace {
    pub(super) x: Vec<f64>,
    pub(super) p: Vec<f64>,
    pub(super) mass: Vec<f64>,
    pub(super) time: f64,
    /// Work space of the integrators, so that a step allocates nothing.
    pub(super) trial_x: Vec<f64>,
    pub(super) trial_p: Vec<f64>,
    pub(super) gradient: Vec<f64>,
}

impl PhaseSpace {
    /// Positions `x`, momenta `p` and inertia `mass`, of one length.
    ///
    /// # Errors
    /// `DimensionMismatch`, `NotFinite`, and `OutOfRange` for a mass that is not positive.
    pub fn new(x: Vec<f64>, p: Vec<f64>, mass: Vec<f64>) -> Result<Self> {
        let n = x.len();
        same_length("momenta", n, &p)?;
        same_length("masses", n, &mass)?;
        all_finite("position", &x)?;
        all_finite("momentum", &p)?;
        all_finite("mass", &mass)?;
        if mass.iter().any(|&m| m <= 0.0) {
            return Err(Error::OutOfRange { what: "mass" });
        }
        Ok(Self { trial_x: vec![0.0; n], trial_p: vec![0.0; n], gradient: vec![0.0; n], x, p, mass, time: 0.0 })
    }

    /// `n` unit masses at rest at 0.
    pub fn at_rest(n: usize) -> Self {
        let zero = vec![0.0; n];
        Self {
            x: zero.clone(),
            p: zero.clone(),
            mass: vec![1.0; n],
            time: 0.0,
            trial_x: zero.clone(),
            trial_p: zero.clone(),
            gradient: zero,
        }
    }

    /// Adds `impulse` to the momentum of coordinate `i` and returns the work done, `(2 p J + J^2) / (2 m)`.
    ///
    /// # Errors
    /// `NotFinite`, and `OutOfRange` for an index or an impulse that leaves the finite numbers.
    pub fn kick(&mut self, i: usize, impulse: f64) -> Result<f64> {
        if !impulse.is_finite() {
            return Err(Error::NotFinite { what: "impulse" });
        }
        let (Some(p), Some(m)) = (self.p.get_mut(i), self.mass.get(i)) else {
            return Err(Error::OutOfRange { what: "coordinate" });
        };
        let work = (2.0 * *p * impulse + impulse * impulse) / (2.0 * m);
        if !(work.is_finite() && (*p + impulse).is_finite()) {
            return Err(Error::OutOfRange { what: "impulse" });
        }
        *p += impulse;
        Ok(work)
    }

    /// `sum p_i^2 / (2 m_i)`; infinite where a square leaves the finite numbers.
    pub fn kinetic_energy(&self) -> f64 {
        kinetic(&self.p, &self.mass)
    }

    /// `H`, kinetic plus potential energy.
    ///
    /// # Errors
    /// `DimensionMismatch` if the potential has another dimension, `Diverged` if the energy is not a finite number.
    pub fn energy<P: Potential + ?Sized>(&self, v: &P) -> Result<f64> {
        same_length("phase space", v.dim(), &self.x)?;
        let energy = self.kinetic_energy() + v.value(&self.x, self.time);
        if energy.is_finite() { Ok(energy) } else { Err(Error::Diverged { energy_error: f64::INFINITY }) }
    }

    /// Log prices relative to the reference.
    pub fn positions(&self) -> &[f64] {
        &self.x
    }

    /// Momenta.
    pub fn momenta(&self) -> &[f64] {
        &self.p
    }

    /// Inertia.
    pub fn masses(&self) -> &[f64] {
        &self.mass
    }

    /// Market seconds since the start.
    pub fn time(&self) -> f64 {
        self.time
    }

    /// The state that runs backwards: all momenta with the other sign.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        for p in &mut self.p {
            *p = -*p;
        }
        self
    }
}

impl PartialEq for PhaseSpace {
    fn eq(&self, other: &Self) -> bool {
        (&self.x, &self.p, &self.mass, self.time) == (&other.x, &other.p, &other.mass, other.time)
    }
}

/// Toda wells (the potential of Toda's lattice, J. Phys. Soc. Jpn. 22:431, 1967) about an anchor each, coupled by substitution.
///
/// `V = scale [ sum k_i (exp(-a d_i) + a d_i - 1) / a^2 + (c / 2) sum_{i<j} W_ij (x_i - x_j)^2 ]`, `d_i = x_i - anchor_i`:
/// stiff against collapse of a price, linear for spikes. For `a -> 0` a well becomes `k d^2 / 2`.
#[derive(Debug, Clone, PartialEq)]
pub struct TodaWells {
    stiffness: Vec<f64>,
    anchors: Vec<f64>,
    asymmetry: f64,
    scale: f64,
    coupling: f64,
    /// `W`, row major, symmetric, zero diagonal.
    weights: Vec<f64>,
    row_sums: Vec<f64>,
}

impl TodaWells {
    /// Uncoupled wells of stiffness `k_i >= 0` about `anchors`, with `a = 1` and `scale = 1`.
    ///
    /// # Errors
    /// `DimensionMismatch`, `NotFinite`, and `OutOfRange` for a negative stiffness.
    pub fn new(stiffness: Vec<f64>, anchors: Vec<f64>) -> Result<Self> {
        let n = stiffness.len();
        same_length("anchors", n, &anchors)?;
        all_finite("anchor", &anchors)?;
        all_finite("stiffness", &stiffness)?;
        if stiffness.iter().any(|&k| k < 0.0) {
            return Err(Error::OutOfRange { what: "stiffness" });
        }
        Ok(Self {
            stiffness,
            anchors,
            asymmetry: 1.0,
            scale: 1.0,
            coupling: 0.0,
            weights: vec![0.0; n * n],
            row_sums: vec![0.0; n],
        })
    }

    /// Sets `a >= 0`.
    ///
    /// # Errors
    /// `NotFinite`, `OutOfRange`.
    pub fn asymmetry(mut self, a: f64) -> Result<Self> {
        self.asymmetry = non_negative("asymmetry", a)?;
        Ok(self)
    }

    /// Sets the energy scale, `>= 0`.
    ///
    /// # Errors
    /// `NotFinite`, `OutOfRange`.
    pub fn scale(mut self, scale: f64) -> Result<Self> {
        self.scale = non_negative("energy scale", scale)?;
        Ok(self)
    }

    /// Couples the wells with strength `c >= 0` and substitutability `weights` (`n x n`, row major, symmetric, `>= 0`;
    /// the diagonal has no effect).
    ///
    /// # Errors
    /// `DimensionMismatch`, `NotFinite`, and `OutOfRange` for a negative or asymmetric entry.
    pub fn coupled(mut self, c: f64, weights: Vec<f64>) -> Result<Self> {
        let n = self.stiffness.len();
        same_length("substitutability", n * n, &weights)?;
        all_finite("substitutability", &weights)?;
        for i in 0..n {
            for j in 0..n {
                let w = weights[i * n + j];
                if w < 0.0 || w != weights[j * n + i] {
                    return Err(Error::OutOfRange { what: "substitutability" });
                }
            }
        }
        self.coupling = non_negative("coupling", c)?;
        self.weights = weights;
        for i in 0..n {
            self.weights[i * n + i] = 0.0;
            self.row_sums[i] = self.weights[i * n..(i + 1) * n].iter().sum();
        }
        Ok(self)
    }

    fn well(&self, k: f64, d: f64) -> f64 {
        if self.asymmetry < HARMONIC_BELOW {
            return 0.5 * k * d * d;
        }
        k * exp_excess(-self.asymmetry * d) / (self.asymmetry * self.asymmetry)
    }

    fn well_slope(&self, k: f64, d: f64) -> f64 {
        if self.asymmetry < HARMONIC_BELOW {
            return k * d;
        }
        -k * (-self.asymmetry * d).exp_m1() / self.asymmetry
    }
}

impl Potential for TodaWells {
    fn dim(&self) -> usize {
        self.stiffness.len()
    }

    fn value(&self, x: &[f64], _t: f64) -> f64 {
        let n = self.dim();
        let mut wells = 0.0;
        let mut springs = 0.0;
        for (i, (&xi, (&k, &anchor))) in x.iter().zip(self.stiffness.iter().zip(&self.anchors)).enumerate() {
            wells += self.well(k, xi - anchor);
            if self.coupling > 0.0 {
                for (&w, &xj) in self.weights[i * n + i + 1..(i + 1) * n].iter().zip(&x[i + 1..]) {
                    springs += w * (xi - xj) * (xi - xj);
                }
            }
        }
        self.scale * (wells + 0.5 * self.coupling * springs)
    }

    fn gradient_into(&self, x: &[f64], _t: f64, out: &mut [f64]) {
        let n = self.dim();
        for (i, (out, &xi)) in out.iter_mut().zip(x).enumerate().take(n) {
            let mut slope = self.well_slope(self.stiffness[i], xi - self.anchors[i]);
            if self.coupling > 0.0 {
                // sum_j W_ij (x_i - x_j)
                let pull = xi * self.row_sums[i] - dot(&self.weights[i * n..(i + 1) * n], x);
                slope += self.coupling * pull;
            }
            *out = self.scale * slope;
        }
    }

    /// Row sums of `M^-1 Hess V` (Gershgorin).
    ///
    /// Where the well energy is at most `E`, with `e = E a^2 / k`: `exp(-a d) <= min(exp(sqrt(2 e)), 2 (1 + e))`,
    /// because `exp(u) - u - 1` is at least `u^2 / 2` and at least `exp(u) / 2 - 1` for `u >= 0`.
    fn max_frequency(&self, mass: &[f64], energy: f64) -> f64 {
        let energy = energy.max(0.0);
        let mut largest = 0.0f64;
        for (i, (&k, &m)) in self.stiffness.iter().zip(mass).enumerate() {
            let depth = self.scale * k;
            let well = if depth == 0.0 {
                0.0
            } else if self.asymmetry < HARMONIC_BELOW {
                depth
            } else {
                let e = energy * self.asymmetry * self.asymmetry / depth;
                depth * (2.0 * e).sqrt().exp().min(2.0 * (1.0 + e))
            };
            let springs = 2.0 * self.scale * self.coupling * self.row_sums[i];
            largest = largest.max((well + springs) / m);
        }
        largest.sqrt()
    }
}

pub(super) fn kinetic(p: &[f64], mass: &[f64]) -> f64 {
    p.iter().zip(mass).map(|(p, m)| p * p / (2.0 * m)).sum()
}

pub(super) fn same_length(what: &'static str, expected: usize, values: &[f64]) -> Result<()> {
    if values.len() == expected {
        Ok(())
    } else {
        Err(Error::DimensionMismatch { what, expected, found: values.len() })
    }
}

pub(super) fn all_finite(what: &'static str, values: &[f64]) -> Result<()> {
    if values.iter().all(|v| v.is_finite()) { Ok(()) } else { Err(Error::NotFinite { what }) }
}

pub(super) fn non_negative(what: &'static str, value: f64) -> Result<f64> {
    if !value.is_finite() {
        Err(Error::NotFinite { what })
    } else if value < 0.0 {
        Err(Error::OutOfRange { what })
    } else {
        Ok(value)
    }
}

/// `exp(u) - 1 - u` without the cancellation near 0.
fn exp_excess(u: f64) -> f64 {
    if u.abs() >= 0.5 {
        return u.exp_m1() - u;
    }
    // Taylor series in Horner form; the first term left out is below 2^-60 of the sum.
    let mut sum = 0.0;
    for k in (2..=15).rev() {
        sum = (1.0 + sum) * u / f64::from(k);
    }
    sum * u
}

/// Below this asymmetry a well is taken as harmonic.
const HARMONIC_BELOW: f64 = 1e-8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_excess_agrees_with_the_direct_form_and_is_accurate_near_zero() {
        for u in [-3.0, -0.6, -0.499, -0.1, 0.2, 0.499, 0.6, 2.0] {
            let direct = f64::exp(u) - 1.0 - u;
            assert!((exp_excess(u) - direct).abs() <= 4e-16 * (1.0 + direct.abs()), "{u}");
        }
        for u in [1e-3, -1e-6, 1e-9] {
            let series = u * u / 2.0 * (1.0 + u / 3.0 * (1.0 + u / 4.0 * (1.0 + u / 5.0)));
            assert!((exp_excess(u) / series - 1.0).abs() < 1e-12, "{u}");
        }
    }

    #[test]
    fn the_gradient_is_the_derivative_of_the_value() {
        let w = vec![0.0, 0.4, 0.1, 0.4, 0.0, 0.9, 0.1, 0.9, 0.0];
        for a in [0.0, 1e-9, 1e-3, 1.0, 2.5] {
            let wells = TodaWells::new(vec![1.0, 2.0, 0.5], vec![0.1, -0.3, 0.0])
                .unwrap()
                .asymmetry(a)
                .unwrap()
                .scale(1.5)
                .unwrap()
                .coupled(0.7, w.clone())
                .unwrap();
            let x = [0.4, -0.9, 0.2];
            let mut gradient = [0.0; 3];
            wells.gradient_into(&x, 0.0, &mut gradient);
            for i in 0..3 {
                let (mut up, mut down) = (x, x);
                up[i] += 1e-5;
                down[i] -= 1e-5;
                let slope = (wells.value(&up, 0.0) - wells.value(&down, 0.0)) / 2e-5;
                assert!((slope - gradient[i]).abs() < 1e-8, "a={a} i={i}: {slope} {}", gradient[i]);
            }
        }
    }

    #[test]
    fn the_frequency_bound_holds_on_the_energy_surface() {
        let wells = TodaWells::new(vec![1.3], vec![0.2]).unwrap().asymmetry(1.7).unwrap();
        for d in [-4.0, -2.0, -1.0, -0.1, 0.5] {
            let energy = wells.value(&[0.2 + d], 0.0);
            let local = (1.3 * f64::exp(-1.7 * d)).sqrt();
            let bound = wells.max_frequency(&[1.0], energy);
            assert!(bound >= local, "d={d}: {bound} < {local}");
            assert!(d > 0.0 || bound <= 2.0 * local, "d={d}: {bound} is far above {local}");
        }
    }

    #[test]
    fn energies_are_numbers_and_short_slices_no_panic() {
        let wells = TodaWells::new(vec![1.0], vec![0.0]).unwrap().asymmetry(1e300).unwrap();
        let s = PhaseSpace::new(vec![-1e300], vec![0.0], vec![1.0]).unwrap();
        assert_eq!(s.energy(&wells), Err(Error::Diverged { energy_error: f64::INFINITY }));
        let two = TodaWells::new(vec![1.0; 2], vec![0.0; 2]).unwrap().coupled(1.0, vec![1.0; 4]).unwrap();
        let mut out = [9.0; 2];
        two.gradient_into(&[], 0.0, &mut out);
        assert_eq!((out, two.value(&[], 0.0)), ([9.0; 2], 0.0));
    }

    #[test]
    fn kick_returns_the_change_of_kinetic_energy() {
        let mut s = PhaseSpace::new(vec![0.0; 2], vec![0.3, -0.2], vec![1.0, 2.0]).unwrap();
        let before = s.kinetic_energy();
        let work = s.kick(1, 0.7).unwrap();
        assert!((s.kinetic_energy() - before - work).abs() < 1e-15);
        assert_eq!(s.kick(2, 0.1), Err(Error::OutOfRange { what: "coordinate" }));
        assert_eq!(s.kick(0, f64::NAN), Err(Error::NotFinite { what: "impulse" }));
    }
}
