//! Symplectic integrators: compositions of kick-drift-kick steps, with exact damping.

use super::hamiltonian::{PhaseSpace, Potential, kinetic, non_negative};
use crate::{Error, Result};

/// A symmetric composition of kick-drift-kick steps.
///
/// Damping is split off conformally: `p *= exp(-damping h / 2)` before and after the composition, so the phase-space volume shrinks by
/// exactly `exp(-n damping h)` a step for `n` coordinates. Sums run in a fixed order: equal inputs give equal bytes.
///
/// # Guarantees
/// An implementation must keep `weights` palindromic with sum 1.
pub trait Integrator {
    /// Order of convergence.
    const ORDER: u32;

    /// Lengths of the kick-drift-kick steps as parts of `h`.
    fn weights(&self) -> &[f64];

    /// Largest change of energy that an undamped run may show, relative to `1 + |H|`.
    fn max_energy_error(&self) -> f64;

    /// One undamped step of size `h`, in the seconds of the phase space; negative `h` runs backwards.
    ///
    /// # Errors
    /// Those of [`advance`](Self::advance).
    fn step<P: Potential + ?Sized>(&self, s: &mut PhaseSpace, v: &P, h: f64) -> Result<()> {
        self.advance(s, v, h, 1, 0.0).map(|_| ())
    }

    /// `steps` steps of size `h` with `damping >= 0` a second. Returns the heat: kinetic energy taken out by the damping (put in, for a negative
    /// `h`). One gradient a weight and step; nothing is allocated.
    ///
    /// # Errors
    /// The state is as it was after `NotFinite`, `DimensionMismatch`, `OutOfRange` (damping), `StepTooLarge` when `|h|` times the
    /// potential's [frequency bound](Potential::max_frequency) at the present energy is above 1, and `Diverged` when a
    /// coordinate leaves the finite numbers or the energy of an undamped run changes by more than allowed.
    fn advance<P: Potential + ?Sized>(
        &self,
        s: &mut PhaseSpace,
        v: &P,
        h: f64,
        steps: u64,
        damping: f64,
    ) -> Result<f64> {
        if !h.is_finite() {
            return Err(Error::NotFinite { what: "time step" });
        }
        let damping = non_negative("damping", damping)?;
        let before = s.energy(v)?;
        let frequency = v.max_frequency(&s.mass, before);
        if !frequency.is_finite() {
            return Err(Error::Diverged { energy_error: f64::INFINITY });
        }
        if h.abs() * frequency > 1.0 {
            return Err(Error::StepTooLarge { h, max: 1.0 / frequency });
        }

        let shrink = (-0.5 * damping * h).exp();
        let mut heat = 0.0;
        s.trial_x.copy_from_slice(&s.x);
        s.trial_p.copy_from_slice(&s.p);
        let mut time = s.time;
        v.gradient_into(&s.trial_x, time, &mut s.gradient);
        for _ in 0..steps {
            heat += damp(s, shrink);
            let mut passed = 0.0;
            for &part in self.weights() {
                kick(s, 0.5 * part * h);
                for ((x, p), m) in s.trial_x.iter_mut().zip(&s.trial_p).zip(&s.mass) {
                    *x += part * h * (p / m);
                }
                passed += part;
                v.gradient_into(&s.trial_x, time + passed * h, &mut s.gradient);
                kick(s, 0.5 * part * h);
            }
            heat += damp(s, shrink);
            time += h;
        }

        let after = kinetic(&s.trial_p, &s.mass) + v.value(&s.trial_x, time);
        let coordinates = s.trial_x.iter().chain(&s.trial_p).all(|c| c.is_finite());
        if !(coordinates && after.is_finite() && time.is_finite() && heat.is_finite()) {
            return Err(Error::Diverged { energy_error: f64::INFINITY });
        }
        let energy_error = (after - before).abs();
        if damping == 0.0 && energy_error > self.max_energy_error() * (1.0 + before.abs()) {
            return Err(Error::Diverged { energy_error });
        }
        std::mem::swap(&mut s.x, &mut s.trial_x);
        std::mem::swap(&mut s.p, &mut s.trial_p);
        s.time = time;
        Ok(heat)
    }
}

macro_rules! integrator {
    ($(#[$doc:meta])* $name:ident, $order:literal, $weights:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct $name {
            max_energy_error: f64,
        }

        impl $name {
            /// The integrator with another bound on the energy error, relative to `1 + |H|`.
            ///
            /// # Errors
            /// `NotFinite`, `OutOfRange` for a negative bound.
            pub fn with_max_energy_error(bound: f64) -> Result<Self> {
                Ok(Self { max_energy_error: non_negative("energy bound", bound)? })
            }
        }

        impl Default for $name {
            /// An energy bound of one half: far above the error of any admissible step of a smooth potential.
            fn default() -> Self {
                Self { max_energy_error: 0.5 }
            }
        }

        impl Integrator for $name {
            const ORDER: u32 = $order;

            fn weights(&self) -> &[f64] {
                &$weights
            }

            fn max_energy_error(&self) -> f64 {
                self.max_energy_error
            }
        }
    };
}

integrator! {
    /// Velocity Verlet (leapfrog), order 2, one gradient a step (Verlet, Phys. Rev. 159:98, 1967).
    ///
    /// On a harmonic well its relative energy error stays within about `(h omega)^2 / 4` for all times.
    Verlet, 2, [1.0]
}

integrator! {
    /// Yoshida's triple jump, order 4, three gradients a step (Phys. Lett. A 150:262, 1990).
    Yoshida4, 4, [YOSHIDA_OUTER, YOSHIDA_INNER, YOSHIDA_OUTER]
}

integrator! {
    /// Suzuki's fractal composition, order 4, five gradients a step and the smallest error constant (Phys. Lett. A 146:319, 1990).
    Suzuki4, 4, [SUZUKI_OUTER, SUZUKI_OUTER, SUZUKI_INNER, SUZUKI_OUTER, SUZUKI_OUTER]
}

/// The integrator of a [`MarketMaker`](crate::MarketMaker)'s prices.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Integration {
    /// Order 2.
    Verlet(Verlet),
    /// Order 4, three gradients a step.
    Yoshida4(Yoshida4),
    /// Order 4, five gradients a step.
    Suzuki4(Suzuki4),
}

impl Default for Integration {
    /// Velocity Verlet.
    fn default() -> Self {
        Self::Verlet(Verlet::default())
    }
}

macro_rules! integration {
    ($($name:ident),*) => {
        $(
            impl From<$name> for Integration {
                fn from(integrator: $name) -> Self {
                    Self::$name(integrator)
                }
            }
        )*

        impl Integration {
            /// As [`Integrator::advance`].
            pub(crate) fn advance<P: Potential + ?Sized>(
                &self,
                s: &mut PhaseSpace,
                v: &P,
                h: f64,
                steps: u64,
                damping: f64,
            ) -> Result<f64> {
                match self {
                    $(Self::$name(integrator) => integrator.advance(s, v, h, steps, damping),)*
                }
            }
        }
    };
}

integration!(Verlet, Yoshida4, Suzuki4);

fn kick(s: &mut PhaseSpace, h: f64) {
    for (p, g) in s.trial_p.iter_mut().zip(&s.gradient) {
        *p -= h * g;
    }
}

/// Shrinks the momenta and returns the kinetic energy taken out.
fn damp(s: &mut PhaseSpace, shrink: f64) -> f64 {
    if shrink == 1.0 {
        return 0.0;
    }
    let before = kinetic(&s.trial_p, &s.mass);
    for p in &mut s.trial_p {
        *p *= shrink;
    }
    before - kinetic(&s.trial_p, &s.mass)
}

/// `1 / (2 - 2^(1/3))`.
const YOSHIDA_OUTER: f64 = 1.351_207_191_959_657_8;
/// `1 - 2 YOSHIDA_OUTER`.
const YOSHIDA_INNER: f64 = -1.702_414_383_919_315_3;
/// `1 / (4 - 4^(1/3))`.
const SUZUKI_OUTER: f64 = 0.414_490_771_794_375_7;
/// `1 - 4 SUZUKI_OUTER`.
const SUZUKI_INNER: f64 = -0.657_963_087_177_502_8;

#[cfg(test)]
mod tests {
    use super::super::hamiltonian::TodaWells;
    use super::*;

    #[test]
    fn composition_constants() {
        assert!((YOSHIDA_OUTER - 1.0 / (2.0 - f64::powf(2.0, 1.0 / 3.0))).abs() < 1e-15);
        assert!((SUZUKI_OUTER - 1.0 / (4.0 - f64::powf(4.0, 1.0 / 3.0))).abs() < 1e-15);
        assert!((2.0 * YOSHIDA_OUTER + YOSHIDA_INNER - 1.0).abs() < 1e-15);
        assert!((4.0 * SUZUKI_OUTER + SUZUKI_INNER - 1.0).abs() < 1e-15);
    }

    #[test]
    fn a_large_step_is_refused_with_the_largest_admissible_one() {
        let wells = TodaWells::new(vec![4.0], vec![0.0]).unwrap().asymmetry(0.0).unwrap();
        let mut s = PhaseSpace::new(vec![1.0], vec![0.0], vec![1.0]).unwrap();
        let before = s.clone();
        assert_eq!(Verlet::default().step(&mut s, &wells, 0.51), Err(Error::StepTooLarge { h: 0.51, max: 0.5 }));
        assert_eq!(s, before);
        Verlet::default().step(&mut s, &wells, 0.5).unwrap();
    }

    #[test]
    fn a_broken_bound_diverges_and_leaves_the_state() {
        let wells = TodaWells::new(vec![1.0], vec![0.0]).unwrap().asymmetry(0.0).unwrap();
        let mut s = PhaseSpace::new(vec![1.0], vec![0.4], vec![1.0]).unwrap();
        let before = s.clone();
        let strict = Verlet::with_max_energy_error(1e-9).unwrap();
        assert!(
            matches!(strict.step(&mut s, &wells, 0.9), Err(Error::Diverged { energy_error }) if energy_error > 1e-9)
        );
        assert_eq!(s, before);
    }

    /// Largest relative energy errors over `t = 1000` at `h = 0.1`; the published maxima are 2.5e-3, 7.7e-6 and 7.2e-7.
    #[test]
    fn harmonic_energy_errors_stay_at_their_known_size() {
        fn worst<I: Integrator>(integrator: I) -> f64 {
            let wells = TodaWells::new(vec![1.0], vec![0.0]).unwrap().asymmetry(0.0).unwrap();
            let mut s = PhaseSpace::new(vec![1.0], vec![0.0], vec![1.0]).unwrap();
            let start = s.energy(&wells).unwrap();
            let mut worst = 0.0f64;
            for _ in 0..10_000 {
                integrator.step(&mut s, &wells, 0.1).unwrap();
                worst = worst.max((s.energy(&wells).unwrap() / start - 1.0).abs());
            }
            worst
        }
        for (found, known) in [
            (worst(Verlet::default()), 2.5e-3),
            (worst(Yoshida4::default()), 7.7e-6),
            (worst(Suzuki4::default()), 7.2e-7),
        ] {
            assert!((found / known - 1.0).abs() < 0.05, "{found} is not {known}");
        }
    }
}
