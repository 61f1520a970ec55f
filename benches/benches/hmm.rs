//! Hidden Markov models beside the `bio` crate: likelihood, decoding, posteriors, one training iteration, the filter.
//!
//! Ids are `hmm::op/S=.. M=.. T=..`; divide a time by T for the cost of a step.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::time::Duration;

use bio::stats::LogProb;
use bio::stats::hmm::{self as bio_hmm, Model, State, StateIter, StateTransitionIter};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hanzo_hmm::{
    BaumWelch, Categorical, GaussianDiag, Hmm, Initial, Observations, Path, Posterior, Rows, Transitions, Workspace,
};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Shapes S, M, T.
const SHAPES: [(usize, usize, usize); 3] = [(4, 16, 100_000), (16, 64, 100_000), (64, 256, 20_000)];

fn distribution(rng: &mut Xoshiro256PlusPlus, n: usize) -> Vec<f64> {
    let row: Vec<f64> = (0..n).map(|_| rng.random::<f64>() + 0.01).collect();
    let sum: f64 = row.iter().sum();
    row.into_iter().map(|x| x / sum).collect()
}

fn rows(rng: &mut Xoshiro256PlusPlus, n: usize, width: usize) -> Vec<Vec<f64>> {
    (0..n).map(|_| distribution(rng, width)).collect()
}

fn categorical(criterion: &mut Criterion) {
    for (s, m, t) in SHAPES {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
        let (initial, moves, symbols) = (distribution(rng, s), rows(rng, s, s), rows(rng, s, m));
        let peer = Peer::new(&initial, &moves, &symbols);
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
        criterion.bench_function(&id("log_likelihood_bio"), |b| b.iter(|| bio_hmm::forward(&peer, black_box(&data)).1));
        criterion.bench_function(&id("viterbi"), |b| {
            b.iter(|| hmm.viterbi_with(&mut workspace, black_box(&data), &mut path).expect("possible"));
        });
        criterion.bench_function(&id("viterbi_bio"), |b| b.iter(|| bio_hmm::viterbi(&peer, black_box(&data))));
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

/// A model for `bio`, on plain tables of log-probabilities.
struct Peer {
    initial: Vec<LogProb>,
    moves: Vec<Vec<LogProb>>,
    symbols: Vec<Vec<LogProb>>,
}

impl Peer {
    fn new(initial: &[f64], moves: &[Vec<f64>], symbols: &[Vec<f64>]) -> Self {
        let logs = |row: &[f64]| row.iter().map(|p| LogProb(p.ln())).collect::<Vec<_>>();
        let table = |rows: &[Vec<f64>]| rows.iter().map(|row| logs(row)).collect();
        Self { initial: logs(initial), moves: table(moves), symbols: table(symbols) }
    }
}

impl Model<usize> for Peer {
    fn num_states(&self) -> usize {
        self.initial.len()
    }

    fn states(&self) -> StateIter {
        StateIter::new(self.initial.len())
    }

    fn transitions(&self) -> StateTransitionIter {
        StateTransitionIter::new(self.initial.len())
    }

    fn transition_prob(&self, from: State, to: State) -> LogProb {
        self.moves[*from][*to]
    }

    fn initial_prob(&self, state: State) -> LogProb {
        self.initial[*state]
    }

    fn observation_prob(&self, state: State, symbol: &usize) -> LogProb {
        self.symbols[*state][*symbol]
    }

    fn end_prob(&self, _state: State) -> LogProb {
        LogProb(0.0)
    }
}

fn gaussian(criterion: &mut Criterion) {
    let (s, d, t) = (4, 4, 100_000);
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(2);
    let means = (0..s).map(|_| (0..d).map(|_| rng.random_range(-3.0..3.0)).collect()).collect();
    let hmm = Hmm::new(
        Initial::Free(distribution(rng, s)),
        Transitions::new(rows(rng, s, s)).expect("rows are distributions"),
        GaussianDiag::new(means, vec![vec![1.0; d]; s]).expect("variances are positive"),
    )
    .expect("the parts fit");
    let data: Vec<f64> = hmm.sample(rng, t).into_iter().flat_map(|(_, x)| x).collect();
    let data = Rows::new(&data, d).expect("whole rows");
    let mut workspace = Workspace::new();
    let mut path = Path::default();
    let mut posterior = Posterior::default();
    let id = |op: &str| format!("hmm::{op}/S={s} D={d} T={t}");

    criterion.bench_function(&id("log_likelihood_gaussian"), |b| {
        b.iter(|| hmm.log_likelihood_with(&mut workspace, black_box(data)).expect("numbers are finite"));
    });
    criterion.bench_function(&id("viterbi_gaussian"), |b| {
        b.iter(|| hmm.viterbi_with(&mut workspace, black_box(data), &mut path).expect("possible"));
    });
    criterion.bench_function(&id("posterior_gaussian"), |b| {
        b.iter(|| hmm.posterior_with(&mut workspace, black_box(data), &mut posterior).expect("possible"));
    });
    let training = BaumWelch::new().max_iters(1);
    criterion.bench_function(&id("em_iteration_gaussian"), |b| {
        b.iter_batched_ref(
            || hmm.clone(),
            |model| training.fit(model, black_box(&[data])).expect("possible"),
            BatchSize::LargeInput,
        );
    });
    criterion.bench_function("hmm::filter_update/S=4 D=4", |b| {
        let mut filter = hmm.filter();
        let mut step = 0;
        b.iter(|| {
            step = (step + 1) % t;
            hmm.update(&mut filter, black_box(data).get(step)).expect("possible")
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(2));
    targets = categorical, gaussian
}
criterion_main!(benches);
