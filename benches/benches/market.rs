//! The market layer of `hanzo-hmm`.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hanzo_hmm::market::{
    ConstantProduct, Curve, Featuriser, HashedText, Integrator, ModelSpec, Outcome, PhaseSpace, QuoteRequest,
    RegimeModel, Reserves, RouteOptions, Suzuki4, TodaWells, Verlet, Yoshida4,
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

criterion_group!(benches, route, featurise, filter, integrators, trade);
criterion_main!(benches);
