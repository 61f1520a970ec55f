//! The market layer of `hanzo-hmm`.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hanzo_hmm::market::{
    Classes, ConstantProduct, Curve, EfeWorkspace, Featuriser, Gain, GenerativeModel, HashedText, Integrator,
    Likelihood, ModelSpec, Outcome, PhaseSpace, QuoteRequest, RegimeModel, Reserves, RouteOptions, RoutingDecision,
    Suzuki4, TodaWells, Verlet, WeightedProduct, Yoshida4,
};
use hanzo_hmm::{Config, MarketMaker, RoutingRequest};
use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};

fn rng() -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(1)
}

fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Text of `len` bytes in words of three to ten letters.
fn text(len: usize, rng: &mut impl Rng) -> String {
    let mut out = String::with_capacity(len + 16);
    while out.len() < len {
        for _ in 0..3 + rng.next_u64() % 8 {
            out.push(char::from(b'a' + (rng.next_u64() % 26) as u8));
        }
        out.push(' ');
    }
    out.truncate(len);
    out
}

fn models(n: usize) -> Vec<ModelSpec> {
    (0..n)
        .map(|i| ModelSpec {
            quality: 0.5 + 0.4 * i as f64 / n as f64,
            ..ModelSpec::new(format!("model {i}"), 0.0001 * (i + 1) as f64)
        })
        .collect()
}

fn request(rng: &mut impl Rng) -> RoutingRequest {
    RoutingRequest { input: text(400, rng), observations: vec![0.5, 0.1, 0.02, 0.1], ..RoutingRequest::default() }
}

/// A market that has learned from 200 requests.
fn market(n: usize, buckets: usize) -> MarketMaker {
    let config = Config::default().models(models(n)).buckets(buckets).max_decisions(1_024);
    let market = MarketMaker::builder(config).build().expect("a valid configuration");
    let mut rng = rng();
    for seed in 0..200 {
        let options = RouteOptions { seed: Some(seed), ..RouteOptions::default() };
        let d = market.route("tenant", &request(&mut rng), &options).expect("an eligible model");
        let score = unit(&mut rng);
        market.record_outcome(d.id, &Outcome::success(score, 300, 0.0)).expect("a first outcome");
    }
    market
}

fn route(c: &mut Criterion) {
    let mut group = c.benchmark_group("market::route");
    for buckets in [64, 256] {
        for n in [6, 20] {
            let market = market(n, buckets);
            let request = request(&mut rng());
            let id = format!("models={n} buckets={buckets}");
            group.bench_function(BenchmarkId::from_parameter(id), |b| {
                b.iter(|| market.route("tenant", black_box(&request), &RouteOptions::default()));
            });
        }
    }
    group.finish();

    let market = market(20, 256);
    let request = request(&mut rng());
    c.bench_function("market::record_outcome/models=20 buckets=256", |b| {
        b.iter_batched(
            || market.route("tenant", &request, &RouteOptions::default()).expect("an eligible model").id,
            |id| market.record_outcome(id, &Outcome::success(0.5, 300, 0.0)),
            BatchSize::NumIterations(64),
        );
    });
}

/// Twenty models, four regimes, twelve classes: filters, explanation, no allocation.
fn route_categorical(c: &mut Criterion) {
    let mut group = c.benchmark_group("market::route_into");
    for (name, classes) in [("given", Classes::Given(12)), ("found", Classes::Found(12))] {
        let market = MarketMaker::builder(Config::default().max_decisions(1_024))
            .models(models(20))
            .likelihood(Likelihood::Categorical(classes))
            .build()
            .expect("a valid configuration");
        let request = request(&mut rng());
        let mut decision = RoutingDecision::default();
        let mut turn = 0;
        let mut next = |decision: &mut RoutingDecision| {
            turn += 1;
            let options = RouteOptions { class: turn % 12, ..RouteOptions::default() };
            market.route_into("tenant", black_box(&request), &options, decision).expect("an eligible model");
        };
        for _ in 0..2_000 {
            next(&mut decision);
            market.record_outcome(decision.id, &Outcome::success(0.5, 300, 0.0)).expect("a first outcome");
        }
        group.bench_function(format!("categorical models=20 classes={name}"), |b| b.iter(|| next(&mut decision)));
    }
    group.finish();
}

/// What a horizon costs, and a search for neighbours among a thousand outcomes.
fn route_further(c: &mut Criterion) {
    let mut group = c.benchmark_group("market::route_into");
    for (name, likelihood, neighbours) in [
        ("categorical", Likelihood::Categorical(Classes::Given(12)), 0),
        ("linear", Likelihood::Linear, 0),
        ("linear", Likelihood::Linear, 1_000),
    ] {
        let config = Config::default().max_decisions(1_024).neighbours(neighbours);
        let market = MarketMaker::builder(config).models(models(20)).likelihood(likelihood).build();
        let market = market.expect("a valid configuration");
        let mut rng = rng();
        let requests: Vec<RoutingRequest> = (0..64).map(|_| request(&mut rng)).collect();
        let mut decision = RoutingDecision::default();
        let mut turn = 0;
        let mut next = |horizon: usize, decision: &mut RoutingDecision| {
            turn += 1;
            let options = RouteOptions { class: turn % 12, horizon, ..RouteOptions::default() };
            market.route_into("tenant", black_box(&requests[turn % 64]), &options, decision).expect("eligible");
        };
        for _ in 0..1_000 {
            next(1, &mut decision);
            market.record_outcome(decision.id, &Outcome::success(0.5, 300, 0.0)).expect("a first outcome");
        }
        for horizon in [1, 4, 16] {
            let id = format!("{name} models=20 neighbours={neighbours} horizon={horizon}");
            group.bench_function(id, |b| b.iter(|| next(horizon, &mut decision)));
        }
    }
    group.finish();
}

/// Four regimes and eight models, three modalities of 3, 3 and 4 outcomes.
fn free_energy(c: &mut Criterion) {
    let mut rng = rng();
    let mut column = |n: usize| -> Vec<f64> {
        let raw: Vec<f64> = (0..n).map(|_| 0.05 + unit(&mut rng)).collect();
        let sum: f64 = raw.iter().sum();
        raw.into_iter().map(|v| v / sum).collect()
    };
    let outcomes = [3, 3, 4];
    let likelihoods = outcomes.map(|n| {
        let columns: Vec<Vec<f64>> = (0..32).map(|_| column(n)).collect();
        (0..n).flat_map(|o| columns.iter().map(move |c| c[o])).collect::<Vec<f64>>()
    });
    // Regimes move by themselves; the choice is the next state of the second factor.
    let regimes = (0..16).map(|i| if i % 5 == 0 { 0.94 } else { 0.02 }).collect();
    let choice = (0..512).map(|i| f64::from(u8::from(i / 64 == i % 8))).collect();
    let preferences = outcomes.map(|n| (0..n).map(|o| o as f64).collect::<Vec<f64>>());
    let beliefs = vec![vec![0.25; 4], vec![0.125; 8]];
    let model = GenerativeModel::new(&[4, 8], likelihoods.to_vec(), vec![regimes, choice], &preferences, beliefs)
        .expect("a valid model");
    let actions: Vec<Vec<usize>> = (0..8).map(|u| vec![0, u]).collect();
    let mut workspace = EfeWorkspace::default();
    let mut group = c.benchmark_group("market::efe");
    for steps in 1..=3 {
        for (name, gain) in [("joint", Gain::Joint), ("per_modality", Gain::PerModality)] {
            group.bench_function(format!("{name} h={steps}"), |b| {
                b.iter(|| model.plan(black_box(&actions), steps, gain, None, &mut workspace));
            });
        }
    }
    group.finish();
}

fn featurise(c: &mut Criterion) {
    let mut group = c.benchmark_group("market::featurise");
    let featuriser = HashedText::default();
    let mut x = vec![0.0; featuriser.dim()];
    for len in [200, 4_096] {
        let text = text(len, &mut rng());
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("len={len}")), |b| {
            b.iter(|| featuriser.features_into(black_box(&text), &mut x));
        });
    }
    group.finish();
}

fn filter(c: &mut Criterion) {
    let model = RegimeModel::standard(0.15).expect("a valid threshold");
    let mut filter = model.filter();
    c.bench_function("market::regime/states=4 dim=4", |b| {
        b.iter(|| model.update(&mut filter, black_box(&[0.5, 0.1, 0.02, 0.1])));
    });
}

fn integrators(c: &mut Criterion) {
    let mut group = c.benchmark_group("market::integrator");
    for n in [1, 20] {
        let mut rng = rng();
        let mut weights = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..i {
                let w = unit(&mut rng) / n as f64;
                (weights[i * n + j], weights[j * n + i]) = (w, w);
            }
        }
        let anchors: Vec<f64> = (0..n).map(|_| unit(&mut rng) - 0.5).collect();
        let wells = TodaWells::new(vec![1.0; n], anchors).and_then(|w| w.coupled(0.1, weights)).expect("valid wells");
        let start: Vec<f64> = (0..n).map(|_| unit(&mut rng) - 0.5).collect();
        let state = PhaseSpace::new(start, vec![0.1; n], vec![1.0; n]).expect("a valid state");
        let mut s = state.clone();
        group.bench_function(format!("verlet n={n}"), |b| b.iter(|| Verlet::default().step(&mut s, &wells, 0.01)));
        let mut s = state.clone();
        group.bench_function(format!("verlet n={n} steps=100"), |b| {
            b.iter(|| Verlet::default().advance(&mut s, &wells, 0.01, 100, 0.0));
        });
        let mut s = state.clone();
        group.bench_function(format!("yoshida4 n={n}"), |b| b.iter(|| Yoshida4::default().step(&mut s, &wells, 0.01)));
        let mut s = state.clone();
        group.bench_function(format!("suzuki4 n={n}"), |b| b.iter(|| Suzuki4::default().step(&mut s, &wells, 0.01)));
    }
    group.finish();
}

fn trade(c: &mut Criterion) {
    let curve = ConstantProduct::default();
    let r = Reserves::new(5_000_000_000_000_000, 1_000_000_000_000_000);
    c.bench_function("market::curve/constant_product out", |b| {
        b.iter(|| curve.amount_out(black_box(&r), black_box(123_456_789)));
    });

    let weighted = WeightedProduct::new(4, 1, 30, 10_000).expect("valid weights");
    c.bench_function("market::curve/weighted_product out", |b| {
        b.iter(|| weighted.amount_out(black_box(&r), black_box(123_456_789)));
    });

    let market = market(6, 16);
    let ask = QuoteRequest { model: "model 3".into(), units: 200, worker: 1 };
    c.bench_function("market::quote", |b| b.iter(|| market.quote(black_box(&ask), 1)));
    c.bench_function("market::swap", |b| {
        b.iter_batched(
            || market.quote(&ask, 1).expect("liquidity"),
            |quote| market.swap(&quote, 1, u128::MAX),
            BatchSize::NumIterations(16),
        );
    });
}

criterion_group!(benches, route, route_categorical, route_further, free_energy, featurise, filter, integrators, trade);
criterion_main!(benches);
