//! The market: what it sees, what it offers, and what every other choice would have been worth.

use hanzo::hmm::market::{
    DecisionId, Featuriser as _, HashedText, Load, ModelSpec, Outcome, Quote, QuoteRequest, Regime, RouteOptions,
    RoutingDecision, RoutingRequest, UserPreferences,
};
use hanzo::hmm::{Config, Error, MarketMaker};

use crate::Result;
use crate::network::LEVELS;

/// Quality that one dollar is worth to the clients: the exchange rate between the two halves of a request's value.
pub(crate) const QUALITY_PER_USD: f64 = 40.0;
/// Seconds over which load is averaged.
const LOAD_MEMORY_S: f64 = 20.0;
/// Buckets of the text features; the texts are short.
const BUCKETS: usize = 64;

/// The market maker and the observations it is fed.
#[derive(Debug)]
pub(crate) struct Market {
    maker: MarketMaker,
    last_ms: u64,
    latency_fast: f64,
    latency_slow: f64,
    errors: f64,
    /// Mean utilisation of each level.
    loads: [f64; LEVELS.len()],
    /// The observation of the last request: load, latency deviation, error rate, price pressure.
    observation: [f64; 4],
}

/// How busy the machines are when a request comes in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fleet {
    /// Machines that are in service.
    pub(crate) machines: usize,
    /// How many of them are busy, by the level they serve.
    pub(crate) busy: [usize; LEVELS.len()],
}

/// A request as the market sees it.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    /// Who asks.
    pub(crate) tenant: &'a str,
    /// What the router reads.
    pub(crate) text: &'a str,
    /// What the library knows about such requests, sent along.
    pub(crate) lessons: Vec<String>,
    /// The level a lesson recommends.
    pub(crate) recommended: Option<usize>,
    /// Billed tokens.
    pub(crate) units: u64,
    /// When, in milliseconds.
    pub(crate) at_ms: u64,
}

impl Market {
    /// A market for the levels, each listed with the quality that was measured over all tenants beforehand.
    pub(crate) fn new(quality: [f64; LEVELS.len()]) -> Result<Self> {
        let models = LEVELS
            .iter()
            .zip(quality)
            .map(|(level, quality)| ModelSpec {
                // Billed tokens are counted by `units`, input included.
                input_usd_per_1k: 0.0,
                tokens_per_second: level.tokens_per_second,
                latency_ms: 3_000.0,
                quality,
                context_tokens: 1 << 20,
                ..ModelSpec::new(level.name, level.usd_per_1k)
            })
            .collect();
        let config = Config::default()
            .models(models)
            .buckets(BUCKETS)
            .usd_weight(QUALITY_PER_USD)
            // What the library recommends weighs as much as four nats of habit.
            .preference_bonus(4.0)
            .default_latency_ms(60_000)
            .latency_weight(0.1)
            // Outcomes are known when an epoch has settled.
            .max_lag(4_096);
        let maker = MarketMaker::builder(config).build()?;
        Ok(Self {
            maker,
            last_ms: 0,
            latency_fast: 0.0,
            latency_slow: 0.0,
            errors: 0.0,
            // Prices start at rest, which is half load.
            loads: [0.5; LEVELS.len()],
            observation: [0.0; 4],
        })
    }

    /// Lets prices move up to the time of a request, under the load the fleet shows.
    pub(crate) fn advance(&mut self, fleet: &Fleet, at_ms: u64) -> Result<()> {
        let machines = fleet.machines.max(1) as f64;
        let busy = fleet.busy.iter().sum::<usize>() as f64 / machines;
        let seconds = (at_ms.saturating_sub(self.last_ms) as f64 / 1_000.0).min(60.0);
        self.last_ms = at_ms;
        // A level is at its capacity when the machines that serve it are half of all; prices answer to its mean over some seconds.
        let kept = (-seconds / LOAD_MEMORY_S).exp();
        for (load, busy) in self.loads.iter_mut().zip(fleet.busy) {
            let now = (2.0 * busy as f64 / machines).min(1.0);
            *load = now + kept * (*load - now);
        }
        self.maker.tick(seconds, &self.loads.map(Load::new))?;
        let pressure = self.multipliers().iter().map(|m| m.ln()).sum::<f64>() / LEVELS.len() as f64;
        let deviation = if self.latency_slow > 0.0 { self.latency_fast / self.latency_slow - 1.0 } else { 0.0 };
        self.observation = [busy.min(1.0), deviation.clamp(-1.0, 2.0), self.errors, pressure.clamp(-1.0, 1.0)];
        Ok(())
    }

    /// Picks a level for a request; `None` if no level is eligible.
    pub(crate) fn route(&self, ask: &Ask<'_>) -> Result<Option<RoutingDecision>> {
        let request = RoutingRequest {
            input: ask.text.to_owned(),
            context: ask.lessons.clone(),
            preferences: UserPreferences {
                preferred_models: ask.recommended.map(|level| LEVELS[level].name.to_owned()).into_iter().collect(),
                ..UserPreferences::default()
            },
            observations: self.observation.to_vec(),
            ..RoutingRequest::default()
        };
        let options =
            RouteOptions { expected_output_tokens: ask.units as f64, now: Some(ask.at_ms), ..RouteOptions::default() };
        match self.maker.route(ask.tenant, &request, &options) {
            Ok(decision) => Ok(Some(decision)),
            Err(Error::NoEligibleModel { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Quotes the routed level for a worker.
    pub(crate) fn quote(&self, level: usize, units: u64, worker: usize, at_ms: u64) -> Result<Quote> {
        let request = QuoteRequest { model: LEVELS[level].name.to_owned(), units: units.into(), worker: worker as u64 };
        Ok(self.maker.quote(&request, at_ms)?)
    }

    /// Takes a quote at once; the quoted price is what is paid.
    pub(crate) fn take(&self, quote: &Quote) -> Result<()> {
        let receipt = self.maker.swap(quote, quote.issued_at, quote.price)?;
        if receipt.paid == quote.price { Ok(()) } else { Err("a quote was executed at another price".into()) }
    }

    /// A finished job's time, for the observations.
    pub(crate) fn observe_latency(&mut self, latency_ms: u64) {
        let latency = latency_ms as f64;
        if self.latency_slow == 0.0 {
            (self.latency_fast, self.latency_slow) = (latency, latency);
        }
        self.latency_fast += 0.10 * (latency - self.latency_fast);
        self.latency_slow += 0.005 * (latency - self.latency_slow);
    }

    /// Tells the router what came of a decision.
    pub(crate) fn learn(&mut self, id: DecisionId, outcome: &Outcome) -> Result<()> {
        self.errors += 0.02 * (f64::from(u8::from(outcome.score.is_none())) - self.errors);
        Ok(self.maker.record_outcome(id, outcome)?)
    }

    /// Published dollars for 1,000 billed tokens of each level.
    pub(crate) fn prices(&self) -> [f64; LEVELS.len()] {
        let prices = self.maker.prices();
        std::array::from_fn(|level| prices[level])
    }

    /// Published prices over catalogue prices.
    pub(crate) fn multipliers(&self) -> [f64; LEVELS.len()] {
        let prices = self.prices();
        std::array::from_fn(|level| prices[level] / LEVELS[level].usd_per_1k)
    }

    /// Regime of the market as a whole.
    pub(crate) fn regime(&self) -> Regime {
        self.maker.regime().0
    }
}

/// Features of a text, for search: those the router reads.
pub(crate) fn embed(text: &str) -> Result<Vec<f32>> {
    let featuriser = HashedText::new(BUCKETS)?;
    let mut x = vec![0.0; featuriser.dim()];
    featuriser.features_into(text, &mut x)?;
    Ok(x.into_iter().map(|v| v as f32).collect())
}

/// Length of [`embed`]'s vectors.
pub(crate) const EMBEDDING: usize = BUCKETS + HashedText::DENSE;

/// What one way of choosing levels costs and yields, over all served requests, at published prices.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub(crate) struct Policy {
    /// Dollars.
    pub(crate) usd: f64,
    /// Sum of the scores.
    pub(crate) quality: f64,
}

impl Policy {
    /// Adds a request.
    pub(crate) fn add(&mut self, usd: f64, score: f64) {
        self.usd += usd;
        self.quality += score;
    }

    /// Value in units of quality.
    pub(crate) fn value(&self) -> f64 {
        self.quality - QUALITY_PER_USD * self.usd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_moves_prices_and_a_quote_is_paid_as_quoted() {
        let mut market = Market::new([0.7; 4]).unwrap();
        let before = market.prices();
        let fleet = Fleet { machines: 8, busy: [3, 3, 3, 3] };
        for second in 1..=60 {
            market.advance(&fleet, second * 1_000).unwrap();
        }
        let after = market.prices();
        assert!(after.iter().zip(&before).all(|(a, b)| a > b), "{before:?} {after:?}");
        let quote = market.quote(2, 500, 3, 60_000).unwrap();
        market.take(&quote).unwrap();
        assert!(market.take(&quote).is_err(), "once only");
        assert_eq!((quote.units, quote.worker), (500, 3));
        assert!(quote.price > 0);
    }

    #[test]
    fn the_router_learns_which_level_a_tenant_needs() {
        let mut market = Market::new([0.7; 4]).unwrap();
        let fleet = Fleet { machines: 8, busy: [0; 4] };
        let mut last = [0; 2];
        for i in 0..400_u64 {
            let tenant = (i % 2) as usize;
            let (name, text) = [("even", "even asks"), ("odd", "odd asks")][tenant];
            market.advance(&fleet, i * 1_000).unwrap();
            let ask = Ask { tenant: name, text, lessons: vec![], recommended: None, units: 200, at_ms: i * 1_000 };
            let decision = market.route(&ask).unwrap().unwrap();
            let level = LEVELS.iter().position(|l| l.name == decision.model).unwrap();
            last[tenant] = level;
            let score = if tenant == 0 || level == 3 { 1.0 } else { 0.2 };
            market.learn(decision.id, &Outcome::success(score, 1_000, decision.estimated_cost_usd)).unwrap();
        }
        assert!(last[0] < 3 && last[1] == 3, "{last:?}");
    }
}
