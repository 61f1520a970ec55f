//! The prices of all models as one damped mechanical system, driven by load and regime.

use super::hamiltonian::{PhaseSpace, Potential, TodaWells, all_finite};
use super::integrator::Integration;
use super::quote::BASIS_POINTS;
use super::regime::Regime;
use super::snapshot::{Reader, Writer};
use crate::{Error, Result};

/// Constants of the price dynamics in one regime, each up to 10^6 unless it is said otherwise, blended by the probabilities of the regimes.
///
/// A log price `x = ln(price / catalogue price)` moves in a well of [`TodaWells`] about
/// `ln(cost ratio) + eta ln((utilisation + 0.05) / (1.05 - utilisation))`, held in [-5, 5].
///
/// ```
/// use hanzo_hmm::market::{Regime, RegimeConstants};
/// use hanzo_hmm::{Config, MarketMaker};
///
/// let calm = RegimeConstants::of(Regime::Exploitation);
/// let rush = RegimeConstants { load_gain: 0.8, band_bps: 120.0, ..calm };
/// let market = MarketMaker::builder(Config::default().num_regimes(2)).regime_constants(vec![calm, rush]).build()?;
/// assert_eq!(market.regime().1.len(), 2);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct RegimeConstants {
    /// Stiffness `k` of the wells, positive.
    pub stiffness: f64,
    /// Coupling `c` between substitutes, not negative.
    pub coupling: f64,
    /// Gain `eta` of utilisation on the anchor, not negative.
    pub load_gain: f64,
    /// Damping, a second, not negative.
    pub damping: f64,
    /// Band below the middle price in which the curve may undercut it, in basis points up to 10,000.
    pub band_bps: f64,
}

impl RegimeConstants {
    const ZERO: Self = Self { stiffness: 0.0, coupling: 0.0, load_gain: 0.0, damping: 0.0, band_bps: 0.0 };

    /// The defaults of a regime, those of exploitation for a numbered one; guesses, to be calibrated on real load.
    pub fn of(regime: Regime) -> Self {
        let [stiffness, coupling, load_gain, damping, band_bps] = match regime {
            Regime::Exploration => [1.0, 0.1, 0.3, 0.5, 30.0],
            Regime::Exploitation | Regime::Numbered(_) => [1.0, 0.1, 0.2, 1.0, 10.0],
            Regime::Crisis => [4.0, 0.3, 1.0, 2.0, 200.0],
            Regime::Transition => [2.0, 0.2, 0.5, 1.0, 60.0],
        };
        Self { stiffness, coupling, load_gain, damping, band_bps }
    }

    /// Those of the named regimes where there are four, otherwise in equal steps from exploitation to crisis.
    pub(crate) fn defaults(regimes: usize) -> Vec<Self> {
        if regimes == Regime::COUNT {
            return Regime::ALL.map(Self::of).to_vec();
        }
        let (calm, crisis) = (Self::of(Regime::Exploitation), Self::of(Regime::Crisis));
        let last = regimes.saturating_sub(1).max(1) as f64;
        (0..regimes).map(|i| Self::ZERO.plus(1.0 - i as f64 / last, &calm).plus(i as f64 / last, &crisis)).collect()
    }

    /// # Errors
    /// `InvalidConfig`.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { stiffness, coupling, load_gain, damping, band_bps } = *self;
        let small = [stiffness, coupling, load_gain, damping].iter().all(|v| (0.0..=MAX_CONSTANT).contains(v));
        let band = (0.0..=f64::from(BASIS_POINTS)).contains(&band_bps);
        if small && band && stiffness > 0.0 { Ok(()) } else { Err(Error::InvalidConfig { field: "regime_constants" }) }
    }

    /// The constants weighted by a posterior over regimes, so that a change of regime never jumps.
    fn blend(of: &[Self], posterior: &[f64]) -> Self {
        of.iter().zip(posterior).fold(Self::ZERO, |sum, (c, &q)| sum.plus(q, c))
    }

    fn plus(self, q: f64, c: &Self) -> Self {
        Self {
            stiffness: self.stiffness + q * c.stiffness,
            coupling: self.coupling + q * c.coupling,
            load_gain: self.load_gain + q * c.load_gain,
            damping: self.damping + q * c.damping,
            band_bps: self.band_bps + q * c.band_bps,
        }
    }
}

/// What one model feels during a tick.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Load {
    /// Part of the model's capacity in use, in [0, 1].
    pub utilisation: f64,
    /// Marginal cost over the catalogue price, positive.
    pub cost_ratio: f64,
    /// Impulse on the momentum of the log price at the start of the tick, in [-100, 100]; the inertia is 1. It is not repeated by later ticks.
    pub shock: f64,
}

impl Load {
    /// A utilisation, with the marginal cost at the catalogue price and no shock.
    pub fn new(utilisation: f64) -> Self {
        Self { utilisation, cost_ratio: 1.0, shock: 0.0 }
    }
}

impl Default for Load {
    /// Half utilised: the anchor is the catalogue price.
    fn default() -> Self {
        Self::new(0.5)
    }
}

/// The energy ledger: `energy - work + heat` stays at its initial value up to the integrator's error. Energies have no unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnergyReport {
    /// `H` now.
    pub energy: f64,
    /// Work done so far by shocks and by moving anchors and constants.
    pub work: f64,
    /// Heat taken out so far by damping.
    pub heat: f64,
    /// `energy - work + heat`: the error of the integration so far, as the market starts at rest with energy 0.
    pub imbalance: f64,
    /// Steps of the last tick.
    pub steps: u64,
}

/// Log prices `x` of all models and the ledger of their energy.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PriceDynamics {
    state: PhaseSpace,
    wells: TodaWells,
    loads: Vec<Load>,
    /// Of every regime.
    regimes: Vec<RegimeConstants>,
    /// What the wells were made with.
    constants: RegimeConstants,
    energy_scale: f64,
    substitutability: Vec<f64>,
    integrator: Integration,
    work: f64,
    heat: f64,
}

impl PriceDynamics {
    /// All prices at rest at their reference, under beliefs about the regime.
    pub(crate) fn new(
        substitutability: Vec<f64>,
        models: usize,
        energy_scale: f64,
        regimes: Vec<RegimeConstants>,
        posterior: &[f64],
    ) -> Result<Self> {
        let loads = vec![Load::default(); models];
        let constants = RegimeConstants::blend(&regimes, posterior);
        let wells = wells(&loads, &constants, energy_scale, &substitutability)?;
        Ok(Self {
            state: PhaseSpace::at_rest(models),
            wells,
            loads,
            regimes,
            constants,
            energy_scale,
            substitutability,
            integrator: Integration::default(),
            work: 0.0,
            heat: 0.0,
        })
    }

    /// Another integrator.
    pub(crate) fn integrated_by(self, integrator: Integration) -> Self {
        Self { integrator, ..self }
    }

    /// Moves on by `dt` market seconds under new loads (none: the old ones, without shocks).
    pub(crate) fn tick(&mut self, dt: f64, loads: &[Load], posterior: &[f64]) -> Result<EnergyReport> {
        if !dt.is_finite() {
            return Err(Error::NotFinite { what: "dt" });
        }
        if dt < 0.0 {
            return Err(Error::OutOfRange { what: "dt" });
        }
        if !loads.is_empty() && loads.len() != self.loads.len() {
            return Err(Error::DimensionMismatch { what: "loads", expected: self.loads.len(), found: loads.len() });
        }
        for load in loads {
            check(load)?;
        }
        let mut next = self.clone();
        if !loads.is_empty() {
            next.loads = loads.iter().map(|load| Load { shock: 0.0, ..*load }).collect();
        }
        let constants = RegimeConstants::blend(&self.regimes, posterior);
        next.constants = constants;
        next.wells = wells(&next.loads, &constants, self.energy_scale, &self.substitutability)?;
        next.work += next.state.energy(&next.wells)? - self.state.energy(&self.wells)?;
        for (i, load) in loads.iter().enumerate() {
            next.work += next.state.kick(i, load.shock)?;
        }
        // The energy only falls during a damped run, so the bound at its start holds to its end.
        let frequency = next.wells.max_frequency(next.state.masses(), next.state.energy(&next.wells)?);
        let wanted = (dt * frequency).ceil().max(1.0);
        if wanted > MAX_STEPS as f64 {
            return Err(Error::StepTooLarge { h: dt, max: MAX_STEPS as f64 / frequency });
        }
        // One more step keeps rounding of `dt / steps` below the bound.
        let steps = wanted as u64 + 1;
        next.heat +=
            self.integrator.advance(&mut next.state, &next.wells, dt / steps as f64, steps, constants.damping)?;
        let energy = next.state.energy(&next.wells)?;
        all_finite("energy", &[energy, next.work, next.heat])?;
        if next.state.positions().iter().any(|x| x.abs() > MAX_LOG_PRICE) {
            return Err(Error::Diverged { energy_error: f64::INFINITY });
        }
        *self = next;
        Ok(EnergyReport { energy, work: self.work, heat: self.heat, imbalance: energy - self.work + self.heat, steps })
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        w.f64s(self.state.positions());
        w.f64s(self.state.momenta());
        for load in &self.loads {
            w.f64s(&[load.utilisation, load.cost_ratio]);
        }
        let c = &self.constants;
        w.f64s(&[c.stiffness, c.coupling, c.load_gain, c.damping, c.band_bps, self.state.time, self.work, self.heat]);
    }

    /// Takes over a saved state of as many models.
    pub(crate) fn load(&mut self, r: &mut Reader<'_>) -> Result<()> {
        r.f64s(&mut self.state.x)?;
        r.f64s(&mut self.state.p)?;
        for load in &mut self.loads {
            *load = Load { utilisation: r.amount()?, cost_ratio: r.amount()?, shock: 0.0 };
            check(load)?;
        }
        let mut c = [0.0; 5];
        r.amounts(&mut c)?;
        let [stiffness, coupling, load_gain, damping, band_bps] = c;
        self.constants = RegimeConstants { stiffness, coupling, load_gain, damping, band_bps };
        (self.state.time, self.work, self.heat) = (r.f64()?, r.f64()?, r.f64()?);
        self.wells = wells(&self.loads, &self.constants, self.energy_scale, &self.substitutability)?;
        all_finite("energy", &[self.state.energy(&self.wells)?])
    }

    /// Band below the middle price under the beliefs of the last tick, in basis points.
    pub(crate) fn band_bps(&self) -> u32 {
        self.constants.band_bps.round() as u32
    }

    /// `ln(price / reference)` of every model.
    pub(crate) fn log_prices(&self) -> &[f64] {
        self.state.positions()
    }
}

fn check(load: &Load) -> Result<()> {
    all_finite("utilisation", &[load.utilisation])?;
    all_finite("cost ratio", &[load.cost_ratio])?;
    all_finite("shock", &[load.shock])?;
    if !(0.0..=1.0).contains(&load.utilisation) {
        return Err(Error::OutOfRange { what: "utilisation" });
    }
    if load.cost_ratio <= 0.0 {
        return Err(Error::OutOfRange { what: "cost ratio" });
    }
    if load.shock.abs() > MAX_SHOCK {
        return Err(Error::OutOfRange { what: "shock" });
    }
    Ok(())
}

fn wells(loads: &[Load], constants: &RegimeConstants, scale: f64, weights: &[f64]) -> Result<TodaWells> {
    let anchors = loads.iter().map(|load| anchor(load, constants.load_gain)).collect();
    TodaWells::new(vec![constants.stiffness; loads.len()], anchors)?
        .scale(scale)?
        .coupled(constants.coupling, weights.to_vec())
}

/// `ln(cost ratio) + eta ln((util + u0) / (1 - util + u0))`, clamped to [-5, 5].
fn anchor(load: &Load, load_gain: f64) -> f64 {
    let odds = (load.utilisation + UTILISATION_FLOOR) / (1.0 - load.utilisation + UTILISATION_FLOOR);
    (load.cost_ratio.ln() + load_gain * odds.ln()).clamp(-MAX_ANCHOR, MAX_ANCHOR)
}

const UTILISATION_FLOOR: f64 = 0.05;
const MAX_ANCHOR: f64 = 5.0;
/// Of stiffness, coupling, gain and damping.
const MAX_CONSTANT: f64 = 1e6;
const MAX_SHOCK: f64 = 100.0;
/// Beyond this `exp(x)` would leave the finite numbers.
pub(crate) const MAX_LOG_PRICE: f64 = 600.0;
const MAX_STEPS: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::super::integrator::{Suzuki4, Verlet, Yoshida4};
    use super::*;

    const CALM: [f64; 4] = [0.0, 1.0, 0.0, 0.0];
    const CRISIS: [f64; 4] = [0.0, 0.0, 1.0, 0.0];

    fn market(n: usize) -> PriceDynamics {
        market_with(vec![0.3; n * n], n)
    }

    fn market_with(substitutability: Vec<f64>, n: usize) -> PriceDynamics {
        PriceDynamics::new(substitutability, n, 1.0, RegimeConstants::defaults(4), &CALM).unwrap()
    }

    /// Constants of any number of regimes; with one of them certain, and with a mixture.
    #[test]
    fn constants_of_any_number_of_regimes_are_blended() {
        assert_eq!(RegimeConstants::defaults(4), Regime::ALL.map(RegimeConstants::of));
        assert_eq!(RegimeConstants::defaults(1), [RegimeConstants::of(Regime::Exploitation)]);
        let three = RegimeConstants::defaults(3);
        assert_eq!(
            (three[0], three[2]),
            (RegimeConstants::of(Regime::Exploitation), RegimeConstants::of(Regime::Crisis))
        );
        assert_eq!((three[1].stiffness, three[1].band_bps), (2.5, 105.0));
        let mut m = PriceDynamics::new(vec![0.0], 1, 1.0, three, &[1.0, 0.0, 0.0]).unwrap();
        assert_eq!(m.band_bps(), 10);
        for _ in 0..100 {
            m.tick(1.0, &[Load::new(0.9)], &[0.0, 0.5, 0.5]).unwrap();
        }
        assert_eq!(m.band_bps(), 153);
        assert!((m.log_prices()[0] - anchor(&Load::new(0.9), 0.8)).abs() < 1e-6);
    }

    #[test]
    fn bad_constants_are_refused() {
        let good = RegimeConstants::of(Regime::Crisis);
        good.check().unwrap();
        for bad in [
            RegimeConstants { stiffness: 0.0, ..good },
            RegimeConstants { coupling: -1.0, ..good },
            RegimeConstants { load_gain: f64::NAN, ..good },
            RegimeConstants { damping: f64::INFINITY, ..good },
            RegimeConstants { band_bps: 10_001.0, ..good },
        ] {
            assert_eq!(bad.check(), Err(Error::InvalidConfig { field: "regime_constants" }));
        }
    }

    #[test]
    fn prices_settle_at_their_anchor() {
        let mut m = market_with(vec![0.0; 4], 2);
        let loads = [Load::new(0.9), Load::new(0.2)];
        for _ in 0..200 {
            m.tick(1.0, &loads, &CRISIS).unwrap();
        }
        for (x, load) in m.log_prices().iter().zip(&loads) {
            assert!((x - anchor(load, 1.0)).abs() < 1e-6, "{x}");
        }
        assert!(m.log_prices()[0] > 1.0 && m.log_prices()[1] < -0.5);
    }

    #[test]
    fn the_ledger_balances() {
        for integrator in [Verlet::default().into(), Yoshida4::default().into(), Suzuki4::default().into()] {
            ledger(market(5).integrated_by(integrator));
        }
    }

    fn ledger(mut m: PriceDynamics) {
        let mut loads: Vec<Load> = (0..5).map(|i| Load::new(0.2 * i as f64)).collect();
        for step in 0..400 {
            loads[step % 5].shock = if step % 7 == 0 { 0.5 } else { 0.0 };
            let q = if step / 50 % 2 == 0 { CALM } else { CRISIS };
            let report = m.tick(0.05, &loads, &q).unwrap();
            assert!(report.imbalance.abs() < 0.02 * (1.0 + report.work.abs()), "{report:?}");
        }
    }

    #[test]
    fn a_market_at_rest_does_no_work() {
        let report = market(3).tick(10.0, &[], &CALM).unwrap();
        assert_eq!((report.energy, report.work, report.heat), (0.0, 0.0, 0.0));
    }

    #[test]
    fn bad_loads_leave_the_market() {
        let mut m = market(2);
        m.tick(1.0, &[Load::new(0.7), Load::new(0.1)], &CALM).unwrap();
        let before = m.clone();
        let half = Load::default();
        for (dt, loads) in [
            (f64::NAN, vec![]),
            (-1.0, vec![]),
            (1e30, vec![]),
            (1.0, vec![half]),
            (1.0, vec![half, Load::new(1.1)]),
            (1.0, vec![half, Load::new(f64::NAN)]),
            (1.0, vec![half, Load { cost_ratio: 0.0, ..half }]),
            (1.0, vec![half, Load { shock: 1e9, ..half }]),
        ] {
            assert!(m.tick(dt, &loads, &CALM).is_err());
            assert_eq!(m, before);
        }
    }
}
