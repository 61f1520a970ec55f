//! Hidden Markov models beside the `bio` crate: likelihood, decoding, posteriors, one training iteration, the filter.
//!
//! Ids are `hmm::op/S=.. M=.. T=..`; divide a time by T for the cost of a step.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::time::Duration;

use bio::stats::hmm as bio_hmm;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hanzo_benches::bio_model::{BioModel, distribution, rows};
use hanzo_hmm::{
    BaumWelch, Categorical, Emission, GaussianDiag, GaussianFull, Hmm, Initial, Kernel, Memory, Observations, OnlineEm,
    Path, Poisson, Posterior, Rows, Transitions, Workspace,
};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Shapes S, M, T.
const SHAPES: [(usize, usize, usize); 3] = [(4, 16, 100_000), (16, 64, 100_000), (64, 256, 20_000)];

fn categorical(criterion: &mut Criterion) {
    for (s, m, t) in SHAPES {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
        let (initial, moves, symbols) = (distribution(rng, s), rows(rng, s, s), rows(rng, s, m));
        let peer = BioModel::new(&initial, &moves, &symbols);
        let hmm = Hmm::new(
            Initial::Free(initial),
            Transitions::new(moves).expect("rows are distributions"),
            Categorical::new(symbols).expect("rows are distributions"),
        )
        .expect("the parts fit");
        let data: Vec<usize> = hmm.sample(rng, t).into_iter().map(|(_, o)| o).collect();
        let mut workspace = Workspace::new();
        let mut path = Path::default();
        let mut posterior = Posterior::default();
        let id = |op: &str| format!("hmm::{op}/S={s} M={m} T={t}");

        criterion.bench_function(&id("log_likelihood"), |b| {
            b.iter(|| hmm.log_likelihood_with(&mut workspace, black_box(&data)).expect("symbols are in range"));
        });
        criterion.bench_function(&(id("log_likelihood") + " impl=bio"), |b| {
            b.iter(|| bio_hmm::forward(&peer, black_box(&data)).1)
        });
        criterion.bench_function(&id("viterbi"), |b| {
            b.iter(|| hmm.viterbi_with(&mut workspace, black_box(&data), &mut path).expect("possible"));
        });
        criterion
            .bench_function(&(id("viterbi") + " impl=bio"), |b| b.iter(|| bio_hmm::viterbi(&peer, black_box(&data))));
        criterion.bench_function(&id("posterior"), |b| {
            b.iter(|| hmm.posterior_with(&mut workspace, black_box(&data), &mut posterior).expect("possible"));
        });
        let training = BaumWelch::new().max_iters(1);
        criterion.bench_function(&id("em_iteration"), |b| {
            b.iter_batched_ref(
                || hmm.clone(),
                |model| training.fit(model, black_box(&[&data])).expect("possible"),
                BatchSize::LargeInput,
            );
        });
    }
}

/// The four operations on any family.
fn operations<'a, E, Q>(criterion: &mut Criterion, name: &str, shape: &str, hmm: &Hmm<E>, data: Q)
where
    E: Emission + Clone,
    Q: Observations<E::Obs<'a>> + Copy,
{
    let mut workspace = Workspace::new();
    let mut path = Path::default();
    let mut posterior = Posterior::default();
    let id = |op: &str| format!("hmm::{op}_{name}/{shape}");
    criterion.bench_function(&id("log_likelihood"), |b| {
        b.iter(|| hmm.log_likelihood_with(&mut workspace, black_box(data)).expect("valid"));
    });
    criterion.bench_function(&id("viterbi"), |b| {
        b.iter(|| hmm.viterbi_with(&mut workspace, black_box(data), &mut path).expect("possible"));
    });
    criterion.bench_function(&id("posterior"), |b| {
        b.iter(|| hmm.posterior_with(&mut workspace, black_box(data), &mut posterior).expect("possible"));
    });
    let training = BaumWelch::new().max_iters(1);
    criterion.bench_function(&id("em_iteration"), |b| {
        b.iter_batched_ref(
            || hmm.clone(),
            |model| training.fit(model, black_box(&[data])).expect("possible"),
            BatchSize::LargeInput,
        );
    });
}

fn families(criterion: &mut Criterion) {
    let (s, d, t) = (4, 4, 100_000);
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(2);
    let means: Vec<Vec<f64>> = (0..s).map(|_| (0..d).map(|_| rng.random_range(-3.0..3.0)).collect()).collect();
    let (initial, moves) = (distribution(rng, s), rows(rng, s, s));
    let start = || (Initial::Free(initial.clone()), Transitions::new(moves.clone()).expect("rows are distributions"));
    let (free, transitions) = start();
    let emission = GaussianDiag::new(means.clone(), vec![vec![1.0; d]; s]).expect("variances are positive");
    let hmm = Hmm::new(free, transitions, emission).expect("the parts fit");
    let data: Vec<f64> = hmm.sample(rng, t).into_iter().flat_map(|(_, x)| x).collect();
    let data = Rows::new(&data, d).expect("whole rows");
    operations(criterion, "gaussian_diag", &format!("S={s} D={d} T={t}"), &hmm, data);
    criterion.bench_function("hmm::filter_update/S=4 D=4", |b| {
        let mut filter = hmm.filter();
        let mut step = 0;
        b.iter(|| {
            step = (step + 1) % t;
            hmm.update(&mut filter, black_box(data).get(step)).expect("possible")
        });
    });
    criterion.bench_function("hmm::fixed_lag/S=4 D=4 L=16", |b| {
        let mut smoother = hmm.fixed_lag(16);
        let (mut step, mut out) = (0, [0.0; 4]);
        b.iter(|| {
            step = (step + 1) % t;
            smoother.push_into(black_box(data).get(step), &mut out).expect("possible")
        });
    });
    let identity = (0..d).map(|i| (0..d).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    let (free, transitions) = start();
    let emission = GaussianFull::new(means, vec![identity; s]).expect("positive definite");
    let hmm = Hmm::new(free, transitions, emission).expect("the parts fit");
    operations(criterion, "gaussian_full", &format!("S={s} D={d} T={t}"), &hmm, data);
    let (free, transitions) = start();
    let emission = Poisson::new(vec![vec![3.0], vec![7.0], vec![9.0], vec![14.0]]).expect("rates are positive");
    let hmm = Hmm::new(free, transitions, emission).expect("the parts fit");
    let counts: Vec<u64> = hmm.sample(rng, t).into_iter().flat_map(|(_, x)| x).collect();
    let counts = Rows::new(&counts, 1).expect("whole rows");
    operations(criterion, "poisson", &format!("S={s} D=1 T={t}"), &hmm, counts);
}

/// What the other rows do not cover: kernels, sparse models, several paths, learning online and in little memory.
fn others(criterion: &mut Criterion) {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(3);
    let model = |rng: &mut Xoshiro256PlusPlus, s: usize, m: usize, moves: Vec<Vec<f64>>| {
        Hmm::new(
            Initial::Free(distribution(rng, s)),
            Transitions::new(moves).expect("rows are distributions"),
            Categorical::new(rows(rng, s, m)).expect("rows are distributions"),
        )
        .expect("the parts fit")
    };
    let (s, m, t) = (64, 32, 20_000);
    let left_right = (0..s).map(|i| (0..s).map(|j| if j == i || j == (i + 1) % s { 0.5 } else { 0.0 }).collect());
    let sparse = model(rng, s, m, left_right.collect());
    let moves = rows(rng, s, s);
    let dense = model(rng, s, m, moves);
    let data: Vec<usize> = (0..t).map(|_| rng.random_range(0..m)).collect();
    for (name, hmm, kernel) in [
        ("sparse", &sparse, Kernel::Auto),
        ("dense", &dense, Kernel::Auto),
        ("dense_portable", &dense, Kernel::Portable),
        ("dense_log", &dense, Kernel::Log),
    ] {
        let mut workspace = Workspace::with_kernel(kernel);
        criterion.bench_function(&format!("hmm::log_likelihood_{name}/S={s} M={m} T={t}"), |b| {
            b.iter(|| hmm.log_likelihood_with(&mut workspace, black_box(&data)).expect("symbols are in range"));
        });
    }
    let moves = rows(rng, 4, 4);
    let small = model(rng, 4, 16, moves);
    let data: Vec<usize> = small.sample(rng, 100_000).into_iter().map(|step| step.1).collect();
    criterion.bench_function("hmm::k_best/S=4 M=16 T=100000 k=10", |b| {
        b.iter(|| small.k_best(black_box(&data), 10).expect("possible"));
    });
    for (name, memory) in [("linear", Memory::Linear), ("square_root", Memory::SquareRoot)] {
        let training = BaumWelch::new().memory(memory);
        criterion.bench_function(&format!("hmm::expect_{name}/S=4 M=16 T=100000"), |b| {
            b.iter(|| training.expect(&small, black_box(&[&data])).expect("possible"));
        });
    }
    let many: Vec<&[usize]> = data.chunks(100).collect();
    criterion.bench_function("hmm::expect/S=4 M=16 T=100 sequences=1000", |b| {
        let training = BaumWelch::new();
        b.iter(|| training.expect(&small, black_box(&many)).expect("possible"));
    });
    criterion.bench_function("hmm::online_em/S=4 M=16", |b| {
        let mut learner = OnlineEm::new(small.clone());
        let mut step = 0;
        b.iter(|| {
            step = (step + 1) % data.len();
            learner.update(Some(black_box(data[step]))).expect("possible")
        });
    });
}

/// Everything on one thread, as the peers do.
fn alone(_: &mut Criterion) {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("nothing has used the pool yet");
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(2));
    targets = alone, categorical, families, others
}
criterion_main!(benches);
