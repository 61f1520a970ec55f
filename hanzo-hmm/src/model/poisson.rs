//! Poisson emissions: counts.

use std::sync::OnceLock;

use rand_core::Rng;
use rand_distr::Distribution;

#[cfg(feature = "serde")]
use super::check_counts;
use super::{Emission, NO_MASS, Observations};
use crate::kernel::{Arch, Level, LogProbRun, Task};
use crate::model::flatten;
use crate::{Error, Result};

/// Each state emits a vector of `D` independent counts, with its own rates: ln P(x) is the sum of
/// `x ln(rate) - rate - ln x!`. Counts above 2^53 are taken as the nearest `f64`.
///
/// ```
/// use hanzo_hmm::{BaumWelch, Hmm, Initial, Poisson, Rows, Transitions};
///
/// let mut hmm = Hmm::new(
///     Initial::Free(vec![0.5, 0.5]),
///     Transitions::new(vec![vec![0.9, 0.1], vec![0.1, 0.9]])?,
///     Poisson::new(vec![vec![2.0], vec![10.0]])?,
/// )?;
/// let counts = [1, 3, 2, 0, 12, 9, 11, 14, 2, 1];
/// let rows = Rows::new(&counts, 1)?;
/// BaumWelch::new().fit(&mut hmm, &[rows])?;
/// assert!(hmm.emission().rates()[0] < 3.0 && hmm.emission().rates()[1] > 8.0);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Poisson {
    n_states: usize,
    dim: usize,
    rates: Vec<f64>,
    /// ln of the rates, `D x S`: states are neighbours.
    logs: Vec<f64>,
    /// Sum of the rates of each state.
    totals: Vec<f64>,
}

impl Poisson {
    /// The family with one row of `D` rates (mean counts a step) a state.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyModel`] without states or coordinates; [`Error::DimensionMismatch`] for jagged rows;
    /// [`Error::InvalidParameter`] for a rate that is not positive, or above `f64::MAX / D`.
    pub fn new(rates: Vec<Vec<f64>>) -> Result<Self> {
        let dim = rates.first().map_or(0, Vec::len);
        if dim == 0 {
            return Err(Error::EmptyModel);
        }
        Self::from_tables(flatten("rates", rates, dim)?, dim)
    }

    /// Number of coordinates `D` of an observation.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rates, row-major `S x D`.
    #[must_use]
    pub fn rates(&self) -> &[f64] {
        &self.rates
    }

    fn from_tables(rates: Vec<f64>, dim: usize) -> Result<Self> {
        // The sum of a state's rates must stay finite.
        if let Some(at) = rates.iter().position(|r| !(*r > 0.0 && *r <= f64::MAX / dim as f64)) {
            return Err(Error::InvalidParameter { what: "rate", state: at / dim });
        }
        let totals = rates.chunks_exact(dim).map(|row| row.iter().sum()).collect();
        let logs = (0..dim).flat_map(|d| rates.iter().skip(d).step_by(dim).map(|r| r.ln())).collect();
        Ok(Self { n_states: rates.len() / dim, dim, rates, logs, totals })
    }

    #[inline(always)]
    fn log_prob_fixed<const S: usize>(&self, o: &[u64], out: &mut [f64]) {
        let (Some(totals), Some(out)) = (self.totals.first_chunk::<S>(), out.first_chunk_mut::<S>()) else {
            return;
        };
        let constant: f64 = o.iter().map(|x| log_factorial(*x)).sum();
        let mut sums = [0.0; S];
        for (&x, logs) in o.iter().zip(self.logs.as_chunks::<S>().0) {
            let x = x as f64;
            for s in 0..S {
                sums[s] += x * logs[s];
            }
        }
        for s in 0..S {
            out[s] = sums[s] - totals[s] - constant;
        }
    }
}

impl Emission for Poisson {
    type Obs<'a> = &'a [u64];
    type Owned = Vec<u64>;
    type Stats = PoissonStats;
    type Prior = PoissonPrior;

    fn n_states(&self) -> usize {
        self.n_states
    }

    #[inline]
    fn check(&self, o: &[u64], _position: usize, _partial: bool) -> Result<()> {
        if o.len() == self.dim {
            Ok(())
        } else {
            Err(Error::DimensionMismatch { what: "observation", expected: self.dim, found: o.len() })
        }
    }

    #[inline(always)]
    fn log_prob_into(&self, o: &[u64], out: &mut [f64]) {
        match out.len() {
            1 => return self.log_prob_fixed::<1>(o, out),
            2 => return self.log_prob_fixed::<2>(o, out),
            3 => return self.log_prob_fixed::<3>(o, out),
            4 => return self.log_prob_fixed::<4>(o, out),
            _ => {}
        }
        let constant: f64 = o.iter().map(|x| log_factorial(*x)).sum();
        out.fill(0.0);
        for (&x, logs) in o.iter().zip(self.logs.chunks_exact(self.n_states)) {
            out.iter_mut().zip(logs).for_each(|(out, log)| *out += x as f64 * log);
        }
        out.iter_mut().zip(&self.totals).for_each(|(out, total)| *out = *out - total - constant);
    }

    fn log_prob_run(&self, run: &[Option<&[u64]>], out: &mut [f64]) {
        Level::best().run(PoissonRun { family: self, run, out });
    }

    fn mid_cdf_into(&self, o: &[u64], out: &mut [f64]) -> bool {
        for (out, rate) in out.iter_mut().zip(&self.rates) {
            *out = o.first().map_or(0.5, |x| mid_cdf(*x, *rate));
        }
        self.dim == 1
    }

    fn sample<R: Rng + ?Sized>(&self, state: usize, rng: &mut R) -> Vec<u64> {
        let rates = self.rates.chunks_exact(self.dim).nth(state).unwrap_or_default();
        // Beyond the range of the sampler the relative spread is below 1e-9, and beyond 2^64 counts saturate.
        let draw = |rate: &f64| rand_distr::Poisson::new(*rate).map_or(*rate, |family| family.sample(rng)) as u64;
        rates.iter().map(draw).collect()
    }

    /// Rates at evenly spaced quantiles, each off by a random part of a quantile.
    fn randomise<'a, Q, R>(&mut self, sequences: &[Q], rng: &mut R) -> Result<()>
    where
        Q: Observations<&'a [u64]>,
        R: Rng + ?Sized,
    {
        let mut rates = self.rates.clone();
        for d in 0..self.dim {
            let steps = sequences.iter().flat_map(|s| (0..s.len()).filter_map(|t| s.get(t)));
            let mut values: Vec<u64> = steps.filter_map(|o| o.get(d).copied()).collect();
            values.sort_unstable();
            for (i, rate) in rates.iter_mut().skip(d).step_by(self.dim).enumerate() {
                let u = (rng.next_u64() >> 11) as f64 * 2f64.powi(-53);
                let place = (i as f64 + u) / self.n_states as f64 * values.len() as f64;
                if let Some(value) = values.as_slice().get((place as usize).min(values.len().saturating_sub(1))) {
                    *rate = *value as f64 + 0.5;
                }
            }
        }
        *self = Self::from_tables(rates, self.dim)?;
        Ok(())
    }

    fn new_stats(&self) -> PoissonStats {
        PoissonStats { dim: self.dim, mass: vec![0.0; self.n_states], sum: vec![0.0; self.rates.len()] }
    }

    fn fits(&self, stats: &PoissonStats) -> bool {
        stats.dim == self.dim
            && stats.mass.len() == self.n_states
            && stats.sum.len() == self.rates.len()
            && stats.mass.iter().chain(&stats.sum).all(|x| x.is_finite() && *x >= 0.0)
    }

    fn accumulate(&self, stats: &mut PoissonStats, o: &[u64], gamma: &[f64]) {
        for ((mass, sums), g) in stats.mass.iter_mut().zip(stats.sum.chunks_exact_mut(self.dim)).zip(gamma) {
            *mass += g;
            sums.iter_mut().zip(o).for_each(|(sum, x)| *sum += g * *x as f64);
        }
    }

    fn accumulate_run(&self, stats: &mut PoissonStats, run: &[Option<&[u64]>], gamma: &[f64]) {
        Level::best().run(AddRun { stats, run, gamma });
    }

    fn merge(into: &mut PoissonStats, from: &PoissonStats) {
        into.mass.iter_mut().zip(&from.mass).for_each(|(a, b)| *a += b);
        into.sum.iter_mut().zip(&from.sum).for_each(|(a, b)| *a += b);
    }

    fn scale(stats: &mut PoissonStats, factor: f64) {
        stats.mass.iter_mut().chain(&mut stats.sum).for_each(|x| *x *= factor);
    }

    fn maximize(&mut self, stats: &PoissonStats, prior: &PoissonPrior) -> Result<bool> {
        let mut rates = self.rates.clone();
        let mut floored = false;
        for (k, rate) in rates.iter_mut().enumerate() {
            let mass = stats.mass[k / self.dim];
            if mass > NO_MASS {
                let new = stats.sum[k] / mass;
                floored |= new < prior.floor;
                *rate = new.max(prior.floor);
            }
        }
        *self = Self::from_tables(rates, self.dim)?;
        Ok(floored)
    }

    fn n_free_parameters(&self) -> usize {
        self.rates.len()
    }
}

/// Expected masses and sums of counts of every state, for [`Poisson`] to read.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct PoissonStats {
    dim: usize,
    mass: Vec<f64>,
    sum: Vec<f64>,
}

/// Log-probabilities of a run of steps, compiled for several instruction sets.
struct PoissonRun<'r, 'o> {
    family: &'r Poisson,
    run: &'r [Option<&'o [u64]>],
    out: &'r mut [f64],
}

impl Task for PoissonRun<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self, arch: A) {
        match (self.family.n_states, self.family.dim) {
            (2, 1) => self.fixed::<2>(),
            (3, 1) => self.fixed::<3>(),
            (4, 1) => self.fixed::<4>(),
            _ => LogProbRun { family: self.family, run: self.run, out: self.out }.run(arch),
        }
    }
}

impl PoissonRun<'_, '_> {
    /// One coordinate: the parameters stay in registers.
    #[inline(always)]
    fn fixed<const S: usize>(self) {
        let (Some(logs), Some(totals)) = (self.family.logs.first_chunk::<S>(), self.family.totals.first_chunk::<S>())
        else {
            return;
        };
        let (logs, totals, factorials) = (*logs, *totals, small_log_factorials());
        for (o, out) in self.run.iter().zip(self.out.as_chunks_mut::<S>().0) {
            let Some(&x) = o.and_then(|o| o.first()) else {
                *out = [0.0; S];
                continue;
            };
            let constant = match usize::try_from(x).ok().and_then(|x| factorials.get(x)) {
                Some(value) => *value,
                None => log_factorial(x),
            };
            let x = x as f64;
            for s in 0..S {
                out[s] = x * logs[s] - totals[s] - constant;
            }
        }
    }
}

/// Sums over a run, compiled for several instruction sets; none of them is fused.
struct AddRun<'r, 'o> {
    stats: &'r mut PoissonStats,
    run: &'r [Option<&'o [u64]>],
    gamma: &'r [f64],
}

impl Task for AddRun<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) {
        let Self { stats, run, gamma } = self;
        let rows = stats.mass.len();
        let mut first = 0;
        while rows - first >= 4 {
            stats.add_tile::<4>(run, gamma, first);
            first += 4;
        }
        match rows - first {
            3 => stats.add_tile::<3>(run, gamma, first),
            2 => stats.add_tile::<2>(run, gamma, first),
            1 => stats.add_tile::<1>(run, gamma, first),
            _ => {}
        }
    }
}

#[cfg(feature = "serde")]
crate::raw::checked_on_load!(PoissonStats { dim: usize, mass: Vec<f64>, sum: Vec<f64> });

impl PoissonStats {
    #[cfg(feature = "serde")]
    fn check(&self) -> Result<()> {
        if self.dim == 0 || Some(self.sum.len()) != self.mass.len().checked_mul(self.dim) {
            let (expected, found) = (self.mass.len(), self.sum.len());
            return Err(Error::DimensionMismatch { what: "sums of counts", expected, found });
        }
        check_counts("masses", &self.mass)?;
        check_counts("sums of counts", &self.sum)
    }

    /// Adds `T` states from `first` on.
    #[inline(always)]
    fn add_tile<const T: usize>(&mut self, run: &[Option<&[u64]>], gamma: &[f64], first: usize) {
        let rows = self.mass.len();
        let steps = || {
            run.iter()
                .zip(gamma.chunks_exact(rows))
                .filter_map(|(o, gamma)| Some(((*o)?, gamma.get(first..)?.first_chunk::<T>()?)))
        };
        let mut mass = [0.0; T];
        for (_, gamma) in steps() {
            for t in 0..T {
                mass[t] += gamma[t];
            }
        }
        for (total, mass) in self.mass.iter_mut().skip(first).zip(mass) {
            *total += mass;
        }
        for d in 0..self.dim {
            let mut sums = [0.0; T];
            for (o, gamma) in steps() {
                let x = o.get(d).map_or(0.0, |x| *x as f64);
                for t in 0..T {
                    sums[t] += gamma[t] * x;
                }
            }
            for (sum, part) in self.sum.iter_mut().skip(first * self.dim + d).step_by(self.dim).zip(sums) {
                *sum += part;
            }
        }
    }
}

/// The smallest rate that training may choose, 1e-10 by default: at 0 a state could never emit a count again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoissonPrior {
    floor: f64,
}

impl PoissonPrior {
    /// The floor of the rates.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] when it is not positive and finite.
    pub fn new(floor: f64) -> Result<Self> {
        if floor.is_finite() && floor > 0.0 {
            Ok(Self { floor })
        } else {
            Err(Error::InvalidOption { name: "rate floor" })
        }
    }
}

impl Default for PoissonPrior {
    fn default() -> Self {
        Self { floor: 1e-10 }
    }
}

/// ln x!
fn log_factorial(x: u64) -> f64 {
    match usize::try_from(x).ok().and_then(|x| small_log_factorials().get(x)) {
        Some(value) => *value,
        None => libm::lgamma(x as f64 + 1.0),
    }
}

/// ln x! of the numbers below [`TABLE`].
fn small_log_factorials() -> &'static [f64] {
    static SMALL: OnceLock<Vec<f64>> = OnceLock::new();
    SMALL.get_or_init(|| (0..TABLE).map(|x| libm::lgamma(x as f64 + 1.0)).collect())
}

/// P(X < x) + P(X = x) / 2: the terms of the smaller tail, from the largest on.
fn mid_cdf(x: u64, rate: f64) -> f64 {
    let count = x as f64;
    let own = (count * rate.ln() - rate - log_factorial(x)).exp();
    let (mut sum, mut term, mut k) = (0.5 * own, own, count);
    let below = count <= rate;
    while term > sum * 1e-17 {
        term *= if below { k / rate } else { rate / (k + 1.0) };
        k += if below { -1.0 } else { 1.0 };
        sum += term;
        // Counts beyond 2^53 do not move by 1.
        if !(0.0..9e15).contains(&k) {
            break;
        }
    }
    let sum = sum.clamp(0.0, 1.0);
    if below { sum } else { 1.0 - sum }
}

/// Factorials that are kept.
const TABLE: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_are_the_poisson_ones() {
        let rates: Vec<Vec<f64>> = (1..=6).map(|i| vec![f64::from(i), 0.5]).collect();
        for n in 1..=6 {
            let family = Poisson::new(rates[..n].to_vec()).unwrap();
            let mut out = vec![0.0; n];
            family.log_prob_into(&[3, 1], &mut out);
            for (i, log) in out.iter().enumerate() {
                let rate = (i + 1) as f64;
                let expected = (rate.powi(3) * (-rate).exp() / 6.0 * 0.5 * (-0.5_f64).exp()).ln();
                assert!((log - expected).abs() < 1e-13, "{log} {expected}");
            }
        }
        let family = Poisson::new(vec![vec![1e-300], vec![1e300]]).unwrap();
        let mut out = [0.0; 2];
        for x in [0, 1, 1 << 40, u64::MAX] {
            family.log_prob_into(&[x], &mut out);
            assert!(out.iter().all(|l| l.is_finite()), "{x} {out:?}");
        }
    }

    #[test]
    fn cdf_adds_up() {
        for rate in [0.3, 7.0, 140.0] {
            let mut below = 0.0;
            for x in 0..400 {
                let own = (x as f64 * f64::ln(rate) - rate - log_factorial(x)).exp();
                assert!((mid_cdf(x, rate) - (below + 0.5 * own)).abs() < 1e-12, "{rate} {x}");
                below += own;
            }
        }
        assert!((mid_cdf(1 << 60, 1e10) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn refuses_bad_rates_and_meets_the_floor() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(
                Poisson::new(vec![vec![1.0], vec![bad]]),
                Err(Error::InvalidParameter { what: "rate", state: 1 })
            );
            assert!(PoissonPrior::new(bad).is_err());
        }
        assert_eq!(Poisson::new(vec![]), Err(Error::EmptyModel));
        let mut family = Poisson::new(vec![vec![1.0]]).unwrap();
        let mut stats = family.new_stats();
        family.accumulate(&mut stats, &[0], &[1.0]);
        assert!(family.maximize(&stats, &PoissonPrior::default()).unwrap());
        assert_eq!(family.rates(), [1e-10]);
    }
}
