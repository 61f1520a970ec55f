//! Claims about hidden Markov models, prices and routing, answered by `hanzo-hmm`.

use hanzo::hmm::market::{
    ConstantProduct, ContextPool, Efe, EfeWorkspace, Gain, GenerativeModel, Integrator as _, PhaseSpace, Policies,
    QuoteRequest, RegimeModel, RouteOptions, SignTable, TenantAdapter as _, TodaWells, Verlet,
};
use hanzo::hmm::{Config, HiddenMarkovModel, MarketMaker, RoutingRequest};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::Result;
use crate::row::{Row, Setting, Verdict, at_least, at_most, equal, grouped, microseconds, near};

pub(crate) fn rows(setting: Setting) -> Result<Vec<Row>> {
    Ok(vec![
        forward(setting)?,
        exact()?,
        baum_welch(setting)?,
        conservation(setting)?,
        context_invariant(setting)?,
        epistemic_sign()?,
        routing_latency(setting)?,
        matches(setting)?,
        cost_reduction()?,
    ])
}

type Casino = HiddenMarkovModel<&'static str, u8>;

/// The model of seed 001.
fn casino(setting: Setting) -> Result<Casino> {
    let emissions = vec![vec![1.0 / 6.0; 6], vec![0.1, 0.1, 0.1, 0.1, 0.1, 0.5]];
    let transitions = vec![vec![0.7, 0.3], vec![0.4, 0.6]];
    let states = vec!["Fair", "Loaded"];
    let model = HiddenMarkovModel::new(states, (1..=6).collect(), vec![0.5, 0.5], transitions, emissions)?;
    Ok(model.with_seed(setting.seed))
}

fn drawn(model: &Casino, steps: usize) -> Vec<u8> {
    model.generate(steps).into_iter().map(|(_, symbol)| symbol).collect()
}

fn forward(setting: Setting) -> Result<Row> {
    let model = casino(setting)?;
    let (short, long) = (drawn(&model, 200), drawn(&model, 100_000));
    let (p_short, p_long) = (model.forward(&short)?, model.forward(&long)?);
    let log = model.log_likelihood(&long)?;
    Ok(Row::new(
        "001 usage",
        "forward(&observed) is P(observations | model)",
        format!(
            "200 steps: {p_short:.2e}; {} steps: {p_long:e} as a probability, {log:.1} as a logarithm",
            grouped(long.len() as f64)
        ),
        Verdict::Corrected("nothing that can be told: the logarithm is not finite either".into()),
    )
    .when([at_least(p_short, f64::MIN_POSITIVE), at_least(p_long, f64::MIN_POSITIVE)], Verdict::Holds)
    .when(
        [at_least(p_short, f64::MIN_POSITIVE), at_least(log, f64::MIN)],
        Verdict::Under(
            "sequences of some hundred steps; below 1e-308 a probability is 0 as f64, and `log_likelihood`, which stays \
             finite, is to be used"
                .into(),
        ),
    ))
}

/// The snippet of seed 001 against all paths.
fn exact() -> Result<Row> {
    let model = casino(Setting { quick: true, seed: 0 })?;
    let observed = [6, 6, 6, 1, 2];
    let inner = model.model();
    let symbols = model.encode(&observed)?;
    // Every path of two states, by the bits of a number, with its joint probability.
    let joint = |path: usize| {
        let at = |t: usize| path >> t & 1;
        let initial = [0.5, 0.5];
        let transitions = [[0.7, 0.3], [0.4, 0.6]];
        let emits =
            |state: usize, symbol: usize| if state == 0 { 1.0 / 6.0 } else { [0.1, 0.5][usize::from(symbol == 5)] };
        (1..symbols.len()).fold(initial[at(0)] * emits(at(0), symbols[0]), |p: f64, t| {
            p * transitions[at(t - 1)][at(t)] * emits(at(t), symbols[t])
        })
    };
    let paths = 1_usize << symbols.len();
    let total: f64 = (0..paths).map(joint).sum();
    let best = (0..paths).map(joint).fold(0.0, f64::max);
    let found = inner.viterbi(&symbols)?;
    let (p, path) = (model.forward(&observed)?, joint(found.states.iter().enumerate().map(|(t, s)| s << t).sum()));
    Ok(Row::new(
        "001 algorithms",
        "viterbi is the most likely state sequence, forward P(observations | model) (the README's model and throws)",
        format!(
            "path {:?} of probability {path:.6e}, forward {p:.6e}; by adding up all {paths} paths the best is {best:.6e} \
             and the sum {total:.6e}",
            model.viterbi(&observed)?
        ),
        Verdict::Corrected(format!("the best path has {best:.6e}")),
    )
    .when([near(path, best, 1e-15), near(p, total, 1e-15)], Verdict::Holds))
}

fn baum_welch(setting: Setting) -> Result<Row> {
    let truth = casino(setting)?;
    let data = vec![drawn(&truth, setting.pick(5_000, 500))];
    let uneven = vec![vec![0.2, 0.2, 0.2, 0.15, 0.15, 0.1], vec![0.1, 0.15, 0.15, 0.2, 0.2, 0.2]];
    let mut model: Casino = HiddenMarkovModel::new(
        vec!["Fair", "Loaded"],
        (1..=6).collect(),
        vec![0.5, 0.5],
        vec![vec![0.6, 0.4], vec![0.4, 0.6]],
        uneven,
    )?;
    let rounds = setting.pick(60, 20);
    let first = model.log_likelihood(&data[0])?;
    let (mut last, mut least) = (first, f64::INFINITY);
    for _ in 0..rounds {
        model.baum_welch(&data, 1, 0.0)?;
        let now = model.log_likelihood(&data[0])?;
        least = least.min(now - last);
        last = now;
    }
    Ok(Row::new(
        "001 algorithms",
        "Baum-Welch: parameter learning from observation sequences",
        format!(
            "{} drawn throws, {rounds} iterations one by one: log-likelihood from {first:.2} to {last:.2}, least gain of an \
             iteration {least:.1e}; the model that drew them has {:.2}",
            grouped(data[0].len() as f64),
            truth.log_likelihood(&data[0])?
        ),
        Verdict::Corrected("the likelihood falls".into()),
    )
    // A gain of 0 may be a rounding error below it.
    .when([at_least(least, -1e-9 * first.abs()), at_least(last - first, 0.0)], Verdict::Holds))
}

/// Amplitude early and late, and the largest change of energy.
fn swing(damping: f64, steps: u32) -> Result<[f64; 3]> {
    const STEP: f64 = 0.05;
    let wells = TodaWells::new(vec![1.0], vec![0.0])?;
    let mut state = PhaseSpace::new(vec![0.5], vec![0.0], vec![1.0])?;
    let start = state.energy(&wells)?;
    let (mut amplitude, mut change) = ([0.0_f64; 2], 0.0_f64);
    for step in 0..steps {
        Verlet::default().advance(&mut state, &wells, STEP, 1, damping)?;
        let x = state.positions()[0].abs();
        if step < steps / 10 {
            amplitude[0] = amplitude[0].max(x);
        } else if step >= steps / 10 * 9 {
            amplitude[1] = amplitude[1].max(x);
        }
        change = change.max((state.energy(&wells)? - start).abs() / start);
    }
    Ok([amplitude[0], amplitude[1], change])
}

fn conservation(setting: Setting) -> Result<Row> {
    let steps = setting.pick(1_000_000, 50_000);
    let [before, after, change] = swing(0.0, steps)?;
    // A hundred units of time.
    let [_, damped, _] = swing(0.5, 2_000)?;
    let kept = after / before;
    Ok(Row::new(
        "000 3.1.2",
        "Hamiltonian dynamics of prices ensures energy conservation and prevents pricing instabilities",
        format!(
            "a log price released at 0.5, {} Verlet steps: energy stays within {:.3} %, the last tenth swings {:.1} % as far \
             as the first; with damping 2,000 steps bring it to {damped:.0e}",
            grouped(f64::from(steps)),
            100.0 * change,
            100.0 * kept
        ),
        Verdict::Corrected("the integration drifts".into()),
    )
    .when([at_most(change, 0.01), at_most(kept, 0.1)], Verdict::Holds)
    .when(
        [at_most(change, 0.01), at_most(damped, 1e-6)],
        Verdict::Corrected(format!(
            "energy is conserved, and that is why the price swings for ever ({:.0} % of its amplitude is left); damping, \
             which takes energy out, settles it",
            100.0 * kept
        )),
    ))
}

fn context_invariant(setting: Setting) -> Result<Row> {
    let mut pool = ContextPool::new(ConstantProduct::new(0, 10_000)?)?;
    pool.mint(1_000_000_000_000, 1_000_000_000_000)?;
    let start = pool.kappa();
    let h = pool.hamiltonian();
    let mut rng = ChaCha8Rng::seed_from_u64(setting.seed);
    let trades = setting.pick(20_000, 2_000);
    let mut fell = 0_u32;
    for _ in 0..trades {
        let before = pool.kappa();
        let amount = u128::from(rng.next_u64() % 1_000_000_000 + 1);
        if rng.next_u64() & 1 == 0 {
            pool.buy_context(amount, u128::MAX)?;
        } else {
            pool.sell_context(amount, 0)?;
        }
        fell += u32::from(pool.kappa() < before);
    }
    let moved = (pool.context() as f64 / 1e12 - 1.0).abs();
    let grown = (pool.hamiltonian() - h).exp_m1();
    Ok(Row::new(
        "004 4.1",
        "Psi * Theta = kappa: as context expands, uncertainty decreases, and the product is conserved",
        format!(
            "{} trades of a pool without fee, which moved its context by {:.1} %: kappa fell {fell} times and grew by \
             {grown:.1e} in all, by rounding",
            grouped(f64::from(trades)),
            100.0 * moved
        ),
        Verdict::Corrected("the invariant of the pool is not kept".into()),
    )
    .when(
        [equal(f64::from(fell), 0.0), at_most(grown, 1e-6), at_least(f64::from(u8::from(pool.kappa() >= start)), 1.0)],
        Verdict::Under(
            "as a definition, the invariant of a pool of context tokens and credits, to the unit; that a model's uncertainty \
             falls as context grows follows from no equation"
                .into(),
        ),
    ))
}

/// Two policies that earn the same: look, which tells the state, and do not look.
fn look_or_not() -> Result<[Efe; 2]> {
    // A[o, state, place]: at place 0 the outcome tells the state, at place 1 it is a coin's.
    let likelihood = vec![1.0, 0.5, 0.0, 0.5, 0.0, 0.5, 1.0, 0.5];
    let stays = vec![1.0, 0.0, 0.0, 1.0];
    // B[next, now, u]: the control is the place.
    let goes = vec![1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0];
    let model = GenerativeModel::new(
        &[2, 2],
        vec![likelihood],
        vec![stays, goes],
        &[vec![0.0, 0.0]],
        vec![vec![0.5, 0.5], vec![0.0, 1.0]],
    )?;
    let policies = Policies::new(vec![0, 0, 0, 1], 2, 1)?;
    let found = model.evaluate(&policies, Gain::Joint, &mut EfeWorkspace::default())?.efe;
    Ok([found[0], found[1]])
}

fn epistemic_sign() -> Result<Row> {
    let [look, not] = look_or_not()?;
    let printed = |efe: &Efe| efe.epistemic - efe.pragmatic;
    let by_definition = |efe: &Efe| -efe.epistemic - efe.pragmatic;
    Ok(Row::new(
        "000 eq. 7",
        "G = epistemic value - pragmatic value, to be minimised",
        format!(
            "two policies that earn the same, one learns {:.3} nats: eq. 6 gives {:.3} and {:.3} (risk + ambiguity), eq. 7 \
             as printed {:.3} and {:.3}",
            look.epistemic,
            look.risk + look.ambiguity,
            not.risk + not.ambiguity,
            printed(&look),
            printed(&not)
        ),
        Verdict::Corrected("neither sign agrees with eq. 6".into()),
    )
    .when(
        [near(look.total, printed(&look), 1e-9), near(not.total, printed(&not), 1e-9)],
        Verdict::Holds,
    )
    .when(
        [near(look.total, by_definition(&look), 1e-9), near(not.total, by_definition(&not), 1e-9)],
        Verdict::Corrected(
            "G = -(epistemic) - (pragmatic) = risk + ambiguity; with the printed sign the router would shun information".into(),
        ),
    ))
}

fn market() -> Result<MarketMaker> {
    Ok(MarketMaker::builder(Config::default()).build()?)
}

fn request() -> RoutingRequest {
    RoutingRequest {
        input: "Explain quantum computing to a reader who knows linear algebra".into(),
        observations: vec![0.5, 0.1, 0.02, 0.1],
        ..RoutingRequest::default()
    }
}

fn routing_latency(setting: Setting) -> Result<Row> {
    let (rounds, batch) = (setting.pick(20, 5), setting.pick(500, 100));
    let model = RegimeModel::standard(0.15)?;
    let mut filter = model.filter();
    let regime = microseconds(rounds, batch, |_| model.update(&mut filter, &[0.5, 0.1, 0.02, 0.1]));
    let market = market()?;
    let table = SignTable::new(12, market.models().len(), 100)?;
    table.learn("tenant", 0, 0, &vec![0.1; market.models().len()])?;
    let mut habit = vec![0.0; market.models().len()];
    let adapter = microseconds(rounds, batch, |_| table.adjust("tenant", &[1.0, 0.0, 0.0, 0.0], 0, &mut habit));
    let request = request();
    let route = microseconds(rounds, batch, |_| market.route("tenant", &request, &RouteOptions::default()));
    Ok(Row::new(
        "000 table 6, 13",
        "routing overhead 2.8 ms: regime 0.8 ms, adapter 0.3 ms, EFE 1.2 ms, selection 0.5 ms",
        format!(
            "a whole decision over {} models (regime, adapter, EFE of each, filters, explanation) {route:.1} us; of it the \
             regime filter {regime:.2} us, the adapter {adapter:.2} us",
            market.models().len()
        ),
        Verdict::Corrected(format!("{route:.0} us for a decision on this machine")),
    )
    .when(
        // The whole decision bounds each of its parts.
        [at_most(regime, 800.0), at_most(adapter, 300.0), at_most(route, 2_800.0), at_most(route, 1_200.0)],
        Verdict::Under("as an upper bound: in memory, with text features, without any call to a model".into()),
    )
    .timed())
}

/// Quotes that are taken, one by one.
fn matches(setting: Setting) -> Result<Row> {
    let market = market()?;
    let model = market.models()[0].id.clone();
    let ask = QuoteRequest { model, units: 200, worker: 1 };
    let batch = setting.pick(2_000, 500);
    let mut failed = 0;
    let us = microseconds(setting.pick(5, 2), batch, |_| {
        let done = market.quote(&ask, 1).and_then(|quote| market.swap(&quote, 1, u128::MAX));
        failed += u32::from(done.is_err());
        done
    });
    if failed > 0 {
        return Err(format!("{failed} quotes were not taken").into());
    }
    let rate = 1e6 / us;
    Ok(Row::new(
        "003 abstract, table 7",
        "12,000 job matches per second",
        format!("quotes given and taken by one market maker on one core: {} a second", grouped(rate)),
        Verdict::Corrected(format!("{} a second on this machine, before any agreement", grouped(rate))),
    )
    .when(
        [at_least(rate, 12_000.0)],
        Verdict::Under("matching alone, in one process; agreement of 100 validators on each match is not in it".into()),
    )
    .timed())
}

fn cost_reduction() -> Result<Row> {
    let market = market()?;
    let decision = market.route("tenant", &request(), &RouteOptions { seed: Some(1), ..RouteOptions::default() })?;
    let costs: Vec<f64> = decision.fallbacks.iter().map(|other| other.estimated_cost_usd).collect();
    let all: Vec<f64> = costs.iter().copied().chain([decision.estimated_cost_usd]).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let least = all.iter().copied().fold(f64::INFINITY, f64::min);
    let (cheapest, chosen) = (1.0 - least / mean, 1.0 - decision.estimated_cost_usd / mean);
    Ok(Row::new(
        "000 12.1.3",
        "15-30% cost reduction via optimal model selection (against random selection)",
        format!(
            "default catalogue, {} eligible models: always the cheapest costs {:.0} % less than a random one, the router's \
             first choice ({}) {:.0} % less",
            all.len(),
            100.0 * cheapest,
            decision.model,
            100.0 * chosen
        ),
        Verdict::Corrected(format!("no choice saves more than {:.0} % here", 100.0 * cheapest)),
    )
    .when(
        [at_least(cheapest, 0.3)],
        Verdict::Untestable(
            "a saving says nothing without the quality that is kept, the source names none, and the catalogue's qualities are \
             guesses; `route_models` measures both on a table of real outcomes"
                .into(),
        ),
    ))
}
