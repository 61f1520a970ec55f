//! The routers with the settings they were tuned to, and a small made-up table for a first look.

use hanzo::hmm::market::{
    Cheapest, Choice, Context, EfeRouter, EpsilonGreedy, Feedback, Knn, LinThompson, LinUcb, OutcomeTable, Random,
    RegimeModel, Router, Scenario, SplitMix64, Thompson, Trial, Ucb1,
};
use hanzo::hmm::{GaussianDiag, Hmm, Initial, Transitions};

use crate::Failure;
use crate::table::Outcomes;

/// A router with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The comparison of the others: prior precision 5, width 0.2.
    LinUcb,
    LinUcbUnit,
    LinUcbStiff,
    /// The first one, told of the sizes of the models as [`Efe`](Self::Efe) is.
    LinUcbSizes,
    LinThompson,
    Random,
    Cheapest,
    EpsilonGreedy,
    Ucb1,
    Thompson,
    DiscountedThompson,
    Knn,
    /// Not told of the sizes of the models.
    EfeBlind,
    Efe,
}

impl Kind {
    pub(crate) const ALL: [Self; 14] = [
        Self::LinUcb,
        Self::LinUcbUnit,
        Self::LinUcbStiff,
        Self::LinUcbSizes,
        Self::LinThompson,
        Self::Random,
        Self::Cheapest,
        Self::EpsilonGreedy,
        Self::Ucb1,
        Self::Thompson,
        Self::DiscountedThompson,
        Self::Knn,
        Self::EfeBlind,
        Self::Efe,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LinUcb => "LinUCB p 5 a .2",
            Self::LinUcbUnit => "LinUCB p 1 a .02",
            Self::LinUcbStiff => "LinUCB p 20 a .02",
            Self::LinUcbSizes => "LinUCB p 5, sizes",
            Self::LinThompson => "LinTS p 1 a .1",
            Self::Random => "random",
            Self::Cheapest => "cheapest",
            Self::EpsilonGreedy => "eps-greedy .02",
            Self::Ucb1 => "UCB1 .2",
            Self::Thompson => "Thompson",
            Self::DiscountedThompson => "Thompson .995",
            Self::Knn => "kNN eps .02",
            Self::EfeBlind => "EFE, no sizes",
            Self::Efe => "EFE",
        }
    }

    /// Whether it draws random numbers.
    pub(crate) fn is_random(self) -> bool {
        matches!(
            self,
            Self::Random
                | Self::LinThompson
                | Self::EpsilonGreedy
                | Self::Thompson
                | Self::DiscountedThompson
                | Self::Knn
        )
    }

    pub(crate) fn in_aiq(self) -> bool {
        !matches!(self, Self::Random | Self::Cheapest | Self::Knn)
    }
}

/// What the EFE routers are asked to learn besides.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Learning {
    pub(crate) neighbours: usize,
    pub(crate) shared: bool,
}

/// A fresh router; those that draw do so from seeds of their own.
pub(crate) fn build(
    kind: Kind,
    trial: &Trial,
    bias: usize,
    priors: &[f64],
    learning: Learning,
) -> Result<Box<dyn Router>, Failure> {
    let seed = |id: u64| trial.seed.wrapping_add(id << 32);
    Ok(match kind {
        Kind::LinUcb => Box::new(LinUcb::new(0.2, 5.0)),
        Kind::LinUcbUnit => Box::new(LinUcb::new(0.02, 1.0)),
        Kind::LinUcbStiff => Box::new(LinUcb::new(0.02, 20.0)),
        Kind::LinUcbSizes => {
            Box::new(Told { router: LinUcb::new(0.2, 5.0), priors: priors.to_vec(), costs: Vec::new() })
        }
        Kind::LinThompson => Box::new(LinThompson::new(0.1, 1.0, seed(5))),
        Kind::Random => Box::new(Random::new(seed(1))),
        Kind::Cheapest => Box::new(Cheapest),
        Kind::EpsilonGreedy => Box::new(EpsilonGreedy::new(0.02, seed(2))),
        Kind::Ucb1 => Box::new(Ucb1::new(0.2)),
        Kind::Thompson => Box::new(Thompson::new(1.0, seed(3))),
        Kind::DiscountedThompson => Box::new(Thompson::new(0.995, seed(4))),
        Kind::Knn => Box::new(Knn::new(0.02, seed(6))),
        Kind::EfeBlind | Kind::Efe => {
            let told = if kind == Kind::Efe { priors } else { &[] };
            let router = EfeRouter::new().bias(bias).priors(told);
            let router = router.neighbours(learning.neighbours).shared_quality(learning.shared);
            Box::new(if trial.scenario == Scenario::Telemetry { router.regimes(two_states()?) } else { router })
        }
    })
}

/// A router that is told what to expect of each arm: it sees scores less that, plus one half.
struct Told<R> {
    router: R,
    priors: Vec<f64>,
    costs: Vec<f64>,
}

impl<R: Router> Router for Told<R> {
    fn choose(&mut self, context: &Context<'_>) -> Choice {
        self.costs.clear();
        self.costs.extend(context.costs.iter().zip(&self.priors).map(|(c, q)| c - (q - 0.5)));
        self.router.choose(&Context { costs: &self.costs, ..*context })
    }

    fn update(&mut self, feedback: &Feedback<'_>) {
        self.router.update(&Feedback { score: feedback.score - (self.priors[feedback.arm] - 0.5), ..*feedback });
    }
}

/// The two states of the telemetry as an operator who has calibrated the filter knows them.
fn two_states() -> Result<RegimeModel, Failure> {
    let fail = |e: hanzo::hmm::Error| Failure::Market(e.to_string());
    let (calm, down) = (vec![0.3, 0.0, 0.02, 0.0], vec![0.7, 1.0, 0.2, 0.5]);
    let (fall, rise) = (1.0 / 400.0, 1.0 / 200.0);
    let transitions = Transitions::new(vec![vec![1.0 - fall, fall], vec![rise, 1.0 - rise]]).map_err(fail)?;
    let emission = GaussianDiag::new(vec![calm, down], vec![vec![0.25; 4]; 2]).map_err(fail)?;
    let hmm = Hmm::new(Initial::Free(vec![1.0, 0.0]), transitions, emission).map_err(fail)?;
    RegimeModel::new(hmm, 0.15).map_err(fail)
}

/// 400 requests of two kinds for three models: a cheap one, one good at the first kind, one good at the second.
pub(crate) fn made_up() -> Result<Outcomes, Failure> {
    let mut rng = SplitMix64::new(1);
    let (mut scores, mut features) = (Vec::new(), Vec::new());
    for _ in 0..400 {
        let first = rng.unit() < 0.5;
        features.extend([1.0, if first { 1.0 } else { -1.0 }]);
        for chance in [0.5, if first { 0.9 } else { 0.3 }, if first { 0.3 } else { 0.9 }] {
            scores.push(if rng.unit() < chance { 1.0 } else { 0.0 });
        }
    }
    let usd = [1e-4, 3e-4, 3e-4].repeat(400);
    let table = OutcomeTable::new(3, 2, scores, usd, features).map_err(|e| Failure::Market(e.to_string()))?;
    Ok(Outcomes { priors: vec![0.5; 3], models: ["cheap", "first", "second"].map(str::to_owned).to_vec(), table })
}
