//! What the outcomes of all models have taught.

use super::aging::Aging;
use super::linear::{BayesianLinear, Information, dot};
use super::snapshot::{Reader, Writer};
use crate::Result;

/// One regression a model, and what they have in common.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Coefficients {
    own: Vec<BayesianLinear>,
    /// On the first numbers of a request, from the outcomes of all models; the models' own regressions are of what is left.
    shared: Option<BayesianLinear>,
    aging: Aging,
    regimes: usize,
    prior: Vec<f64>,
    /// Weight of outcomes by which older ones are still to age.
    pending: Vec<f64>,
    /// What the outcomes of each regime add up to, where they age apart.
    parts: Vec<Information>,
}

/// A score, as the regressions see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Example<'a> {
    pub(crate) model: usize,
    pub(crate) z: &'a [f64],
    pub(crate) regime: &'a [f64],
    pub(crate) target: f64,
    pub(crate) weight: f64,
}

/// Is handed one example after the other.
pub(crate) type Visitor<'a> = dyn FnMut(&Example<'_>) + 'a;

impl Coefficients {
    /// For so many models, with prior precisions of their own coefficients and of the shared ones (none: nothing is shared).
    pub(crate) fn new(models: usize, regimes: usize, prior: Vec<f64>, shared: &[f64], aging: Aging) -> Result<Self> {
        let shared = if shared.is_empty() { None } else { Some(BayesianLinear::new(shared)?) };
        let parts = if aging.is_by_regime() { models * regimes } else { 0 };
        Ok(Self {
            own: vec![BayesianLinear::new(&prior)?; models],
            shared,
            aging,
            regimes,
            pending: vec![0.0; aging.places(models, regimes)],
            parts: vec![Information::none(prior.len()); parts],
            prior,
        })
    }

    pub(crate) fn models(&self) -> usize {
        self.own.len()
    }

    /// The regression of one model.
    pub(crate) fn own(&self, model: usize) -> &BayesianLinear {
        &self.own[model]
    }

    /// What all models have in common for a request.
    pub(crate) fn common(&self, z: &[f64]) -> f64 {
        self.shared.as_ref().map_or(0.0, |shared| dot(shared.coefficients(), &z[..shared.dim()]))
    }

    /// Learns one score.
    ///
    /// # Errors
    /// Those of [`BayesianLinear::update`].
    pub(crate) fn learn(&mut self, e: &Example<'_>) -> Result<()> {
        let target = e.target - self.common(e.z);
        let learned = self.own[e.model].learn(e.z, target, e.weight)?;
        if let Some(shared) = &mut self.shared {
            shared.update(&e.z[..shared.dim()], e.target, e.weight)?;
        }
        if !self.aging.is_on() {
            return Ok(());
        }
        let mut due = false;
        for (at, part) in self.aging.shares(e.model, e.regime) {
            self.pending[at] += e.weight * part;
            if self.aging.is_by_regime() {
                self.parts[at].add(e.z, learned, e.weight * part);
            }
            due |= self.pending[at] >= AGING;
        }
        if due {
            self.age(e.model);
        }
        Ok(())
    }

    fn age(&mut self, model: usize) {
        if !self.aging.is_by_regime() {
            let keep = self.aging.keep(std::mem::take(&mut self.pending[model]));
            self.own[model].forget(keep, &self.prior);
            return;
        }
        let of = model * self.regimes..(model + 1) * self.regimes;
        for (part, pending) in self.parts[of.clone()].iter_mut().zip(&mut self.pending[of.clone()]) {
            if *pending >= AGING {
                part.scale(self.aging.keep(std::mem::take(pending)));
            }
        }
        self.own[model].rebuild(&self.prior, &self.parts[of]);
    }

    /// Nothing learned but how noisy scores are.
    pub(crate) fn restarted(mut self, shared_prior: &[f64]) -> Self {
        self.own.iter_mut().for_each(|own| own.restart(&self.prior));
        if let Some(shared) = &mut self.shared {
            shared.restart(shared_prior);
        }
        self.parts.iter_mut().for_each(Information::clear);
        self.pending.fill(0.0);
        self
    }

    pub(crate) fn same_noise(&mut self, other: &Self) {
        for (new, old) in self.own.iter_mut().chain(&mut self.shared).zip(other.own.iter().chain(&other.shared)) {
            new.same_noise(old);
        }
    }

    /// Notes that these outcomes are in it unaged.
    pub(crate) fn postpone<'a>(&mut self, outcomes: impl Iterator<Item = (usize, &'a [f64], f64)>) {
        for (model, regime, weight) in outcomes {
            for (at, part) in self.aging.shares(model, regime) {
                self.pending[at] += weight * part;
            }
        }
    }

    /// Learns many outcomes at once, each aged by those after it where `aged`. `each` hands every outcome on, the same at every call.
    pub(crate) fn absorb(&mut self, aged: bool, each: &mut dyn FnMut(&mut Visitor<'_>)) {
        if let Some(shared) = &mut self.shared {
            let d = shared.dim();
            each(&mut |e| shared.absorb(&e.z[..d], e.target, e.weight));
            shared.refresh();
        }
        let aging = self.aging;
        let mut later = vec![0.0; self.pending.len()];
        if aged && aging.is_on() {
            each(&mut |e| aging.shares(e.model, e.regime).for_each(|(at, part)| later[at] += e.weight * part));
        }
        each(&mut |e| {
            let target = e.target - self.common(e.z);
            for (at, part) in aging.shares(e.model, e.regime) {
                let weight = e.weight * part;
                later[at] -= weight;
                let kept = aging.keep(later[at].max(0.0)) * weight;
                if aging.is_by_regime() {
                    self.parts[at].add(e.z, target, kept);
                } else {
                    self.own[e.model].absorb(e.z, target, kept);
                }
            }
        });
        for (model, own) in self.own.iter_mut().enumerate() {
            if aging.is_by_regime() {
                own.rebuild(&self.prior, &self.parts[model * self.regimes..(model + 1) * self.regimes]);
            } else {
                own.refresh();
            }
        }
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        self.own.iter().chain(&self.shared).for_each(|r| r.save(w));
        w.f64s(&self.pending);
        self.parts.iter().for_each(|part| part.save(w));
    }

    /// Takes over a saved state of the same size.
    pub(crate) fn load(&mut self, r: &mut Reader<'_>) -> Result<()> {
        self.own.iter_mut().chain(&mut self.shared).try_for_each(|own| own.load(r))?;
        r.amounts(&mut self.pending)?;
        self.parts.iter_mut().try_for_each(|part| part.load(r))
    }

    /// What two states must have in common for one to take over the other.
    pub(crate) fn layout(&self) -> u64 {
        u64::from(self.shared.is_some()) | u64::from(self.aging.is_by_regime()) << 1
    }
}

/// Outcomes of a model after which its older ones age together.
const AGING: f64 = 32.0;
