//! How the outcomes of the past lose their weight.

/// Whose outcomes make older ones count less where [`Config::forgetting`](crate::Config::forgetting) is below 1.
///
/// ```
/// use hanzo_hmm::market::Discount;
/// use hanzo_hmm::{Config, MarketMaker};
///
/// // What is known of a crisis stays as it is while there is none.
/// let config = Config::default().forgetting(0.995).discount(Discount::Regime);
/// let market = MarketMaker::builder(config).build()?;
/// # assert_eq!(market.prices().len(), 6);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Discount {
    /// Those of the same model and regime: an outcome counts for each regime as far as that regime is held responsible for it, and ages by the
    /// later ones of that regime. Where nothing tells the regimes apart, every one of `R` has a part of each outcome, and memory is `R` times as
    /// long.
    #[default]
    Regime,
    /// All of the same model, whatever their regime.
    All,
}

/// The rule by which the outcomes of a model age.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Aging {
    factor: f64,
    by_regime: bool,
}

impl Aging {
    pub(crate) fn new(factor: f64, discount: Discount, regimes: usize) -> Self {
        Self { factor, by_regime: factor < 1.0 && discount == Discount::Regime && regimes > 1 }
    }

    /// Whether anything ages.
    pub(crate) fn is_on(self) -> bool {
        self.factor < 1.0
    }

    /// Whether the outcomes of each regime age apart from the others.
    pub(crate) fn is_by_regime(self) -> bool {
        self.by_regime
    }

    /// What is left of an outcome after later ones of this weight.
    pub(crate) fn keep(self, later: f64) -> f64 {
        self.factor.powf(later)
    }

    /// Ages to follow.
    pub(crate) fn places(self, models: usize, regimes: usize) -> usize {
        if self.by_regime { models * regimes } else { models }
    }

    /// Where an outcome ages, and with which part of it.
    pub(crate) fn shares(self, model: usize, regime: &[f64]) -> impl Iterator<Item = (usize, f64)> + '_ {
        let of = if self.by_regime { regime } else { &[1.0] };
        of.iter().enumerate().map(move |(r, &part)| (model * of.len() + r, part))
    }
}
