//! A filter update does not allocate, and neither does a repeated operation in a workspace.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "a global allocator that counts has to implement an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use hanzo_hmm::{Categorical, GaussianDiag, Hmm, Initial, Lattice, Path, Posterior, Rows, Transitions, Workspace};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system allocator unchanged; the counter is a plain thread-local number.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, that is, from the system allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    run();
    ALLOCATIONS.with(Cell::get) - before
}

fn transitions(n: usize, zeros: bool) -> Transitions {
    let row = |i: usize| {
        let mut row = vec![1.0 / n as f64; n];
        if zeros {
            row.fill(0.0);
            row[i] = 0.5;
            row[(i + 1) % n] += 0.5;
        }
        row
    };
    Transitions::new((0..n).map(row).collect()).unwrap()
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8; 10]))), 1);
}

#[test]
fn operations_reuse_their_memory() {
    for n in [2, 4, 5, 12, 70] {
        for zeros in [false, true] {
            let initial = Initial::Free(vec![1.0 / n as f64; n]);
            let means = (0..n).map(|i| vec![i as f64, -(i as f64)]).collect();
            let gaussian = GaussianDiag::new(means, vec![vec![1.0, 2.0]; n]).unwrap();
            let gaussian = Hmm::new(initial.clone(), transitions(n, zeros), gaussian).unwrap();
            let rows = (0..n).map(|i| (0..3).map(|o| if (o + i) % 3 == 0 { 0.5 } else { 0.25 }).collect()).collect();
            let categorical = Hmm::new(initial, transitions(n, zeros), Categorical::new(rows).unwrap()).unwrap();

            let mut filter = gaussian.filter();
            let count = allocations(|| {
                for t in 0..100 {
                    let x = [f64::from(t % 7), 0.5];
                    gaussian.update(&mut filter, (t % 5 > 0).then_some(&x[..])).unwrap();
                }
            });
            assert_eq!(count, 0, "gaussian filter, {n} states, zeros {zeros}");
            let mut filter = categorical.filter();
            let count = allocations(|| {
                for t in 0..100 {
                    categorical.update(&mut filter, Some(t % 3)).unwrap();
                }
            });
            assert_eq!(count, 0, "categorical filter, {n} states, zeros {zeros}");

            let start = gaussian.filter();
            let data: Vec<f64> = (0..150).map(|t| f64::from(t % 11)).collect();
            let data = Rows::new(&data, 2).unwrap();
            let (mut workspace, mut posterior, mut path) = (Workspace::new(), Posterior::default(), Path::default());
            let (mut paths, mut states, mut drawn, mut values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            let (mut lattice, mut ahead) = (Lattice::default(), Vec::new());
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
            let mut run = || {
                gaussian.k_best_with(&mut workspace, data, 5, &mut paths).unwrap();
                gaussian.posterior_decode_with(&mut workspace, data, &mut states).unwrap();
                gaussian.sample_posterior_with(&mut workspace, data, &mut rng, &mut drawn).unwrap();
                gaussian.log_predictive_with(&mut workspace, data, &mut values).unwrap();
                gaussian.backward_with(&mut workspace, data, &mut lattice).unwrap();
                gaussian.predict_with(&mut workspace, &start, 3, &mut ahead).unwrap();
                gaussian.log_likelihood_with(&mut workspace, data).unwrap();
                gaussian.posterior_with(&mut workspace, data, &mut posterior).unwrap();
                gaussian.viterbi_with(&mut workspace, data, &mut path).unwrap();
            };
            // The workspace and the results exchange their memory, so all have to grow.
            for _ in 0..5 {
                run();
            }
            assert_eq!(allocations(run), 0, "workspace, {n} states, zeros {zeros}");
        }
    }
}

/// An iteration of training allocates for the model, not for the steps.
#[test]
#[cfg(not(feature = "rayon"))]
fn training_allocates_no_more_for_a_longer_sequence() {
    use hanzo_hmm::BaumWelch;

    let gaussian = GaussianDiag::new(vec![vec![0.0, 1.0], vec![5.0, 7.0]], vec![vec![4.0, 4.0]; 2]).unwrap();
    let model = Hmm::new(Initial::Free(vec![0.5; 2]), transitions(2, false), gaussian).unwrap();
    let iteration = |steps: u32| {
        let data: Vec<f64> = (0..2 * steps).map(|t| f64::from(t * t % 11)).collect();
        let rows = Rows::new(&data, 2).unwrap();
        let fit = |iterations| {
            let (mut model, training) = (model.clone(), BaumWelch::new().max_iters(iterations).total_tolerance(0.0));
            allocations(|| assert_eq!(training.fit(&mut model, &[rows]).unwrap().iterations, iterations))
        };
        fit(6) - fit(5)
    };
    let short = iteration(300);
    assert!(short > 0 && short < 60, "{short}");
    assert_eq!(iteration(30_000), short);
}
