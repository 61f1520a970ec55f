//! Every kind of bad input gives its error, and a refused call changes nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hanzo_hmm::{
    BaumWelch, Categorical, CategoricalPrior, Error, GaussianDiag, HiddenMarkovModel, Hmm, Initial, Kernel, Lattice,
    Learn, Path, Posterior, Rows, SymbolTable, Transitions, VarianceFloor, Workspace,
};

fn dice() -> Hmm<Categorical> {
    Hmm::new(
        Initial::Free(vec![0.5, 0.5]),
        Transitions::new(vec![vec![0.7, 0.3], vec![0.4, 0.6]]).unwrap(),
        Categorical::new(vec![vec![0.5, 0.5, 0.0], vec![0.1, 0.9, 0.0]]).unwrap(),
    )
    .unwrap()
}

fn plane() -> Hmm<GaussianDiag> {
    Hmm::new(
        Initial::Free(vec![0.5, 0.5]),
        Transitions::new(vec![vec![0.7, 0.3], vec![0.4, 0.6]]).unwrap(),
        GaussianDiag::new(vec![vec![0.0, 0.0], vec![3.0, 1.0]], vec![vec![1.0, 1.0]; 2]).unwrap(),
    )
    .unwrap()
}

type Labelled = Result<HiddenMarkovModel<&'static str, u32>, Error>;

/// A labelled model of two states and two symbols with one part replaced.
fn labelled(change: impl FnOnce(&mut Parts)) -> Labelled {
    let mut parts = Parts {
        states: vec!["a", "b"],
        symbols: vec![1, 2],
        initial: vec![0.5, 0.5],
        transitions: vec![vec![0.7, 0.3], vec![0.4, 0.6]],
        emissions: vec![vec![0.9, 0.1], vec![0.2, 0.8]],
    };
    change(&mut parts);
    HiddenMarkovModel::new(parts.states, parts.symbols, parts.initial, parts.transitions, parts.emissions)
}

struct Parts {
    states: Vec<&'static str>,
    symbols: Vec<u32>,
    initial: Vec<f64>,
    transitions: Vec<Vec<f64>>,
    emissions: Vec<Vec<f64>>,
}

#[test]
fn no_states_or_no_symbols() {
    assert_eq!(labelled(|p| p.states.clear()).err(), Some(Error::EmptyModel));
    assert_eq!(labelled(|p| p.symbols.clear()).err(), Some(Error::EmptyModel));
    assert_eq!(Transitions::new(vec![]), Err(Error::EmptyModel));
    assert_eq!(Categorical::new(vec![vec![]]), Err(Error::EmptyModel));
    assert_eq!(GaussianDiag::new(vec![], vec![]), Err(Error::EmptyModel));
    assert_eq!(SymbolTable::new(&[], 1, 0), Err(Error::EmptyModel));
    assert_eq!(Lattice::new(vec![], 0), Err(Error::EmptyModel));
}

#[test]
fn wrong_lengths() {
    let mismatch = |result: Labelled, expected, found| match result {
        Err(Error::DimensionMismatch { expected: e, found: f, .. }) => assert_eq!((e, f), (expected, found)),
        other => panic!("{other:?}"),
    };
    mismatch(labelled(|p| p.initial.push(0.0)), 2, 3);
    mismatch(labelled(|p| p.transitions.truncate(1)), 2, 1);
    mismatch(labelled(|p| p.transitions[1].truncate(1)), 2, 1);
    mismatch(labelled(|p| p.emissions.truncate(1)), 2, 1);
    mismatch(labelled(|p| p.emissions[1].push(0.0)), 2, 3);
    mismatch(labelled(|p| p.emissions.iter_mut().for_each(|row| row.push(0.0))), 2, 3);
    let one = GaussianDiag::new(vec![vec![0.0]], vec![vec![1.0]]).unwrap();
    let two = Transitions::new(vec![vec![0.5, 0.5]; 2]).unwrap();
    assert!(matches!(
        Hmm::new(Initial::Free(vec![0.5, 0.5]), two, one),
        Err(Error::DimensionMismatch { expected: 2, found: 1, .. })
    ));
    assert!(matches!(
        plane().log_likelihood(Rows::new(&[1.0, 2.0, 3.0], 3).unwrap()),
        Err(Error::DimensionMismatch { expected: 2, found: 3, .. })
    ));
    assert!(matches!(
        HiddenMarkovModel::from_model(vec!['a'], vec![0, 1, 2], dice()),
        Err(Error::DimensionMismatch { expected: 2, found: 1, .. })
    ));
    assert!(matches!(SymbolTable::new(&[1.0; 3], 2, 2), Err(Error::DimensionMismatch { expected: 4, found: 3, .. })));
    assert!(matches!(Lattice::new(vec![1.0; 3], 2), Err(Error::DimensionMismatch { .. })));
    assert!(Rows::new(&[1.0; 3], 2).is_err());
    // A filter of another model.
    let small = Hmm::new(
        Initial::Free(vec![1.0]),
        Transitions::new(vec![vec![1.0]]).unwrap(),
        Categorical::new(vec![vec![0.5, 0.5]]).unwrap(),
    )
    .unwrap();
    let mut filter = small.filter();
    assert!(matches!(dice().update(&mut filter, Some(0)), Err(Error::DimensionMismatch { expected: 2, found: 1, .. })));
    assert!(dice().predict(&filter, 1).is_err());
    assert_eq!(filter, small.filter());
}

#[test]
fn what_is_not_a_probability() {
    for bad in [-0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let expect = |result: Labelled, what: &str, row: usize, col: usize| match result {
            Err(Error::NotAProbability { what: w, row: r, col: c, value }) => {
                assert_eq!((w, r, c), (what, row, col));
                assert!(value == bad || value.is_nan() && bad.is_nan());
            }
            other => panic!("{other:?}"),
        };
        expect(labelled(|p| p.initial[1] = bad), "initial", 0, 1);
        expect(labelled(|p| p.transitions[1][0] = bad), "transitions", 1, 0);
        expect(labelled(|p| p.emissions[0][1] = bad), "emissions", 0, 1);
        assert!(SymbolTable::new(&[bad], 1, 1).is_err());
    }
}

#[test]
fn row_sums() {
    for off in [2e-6, -2e-6, 0.5] {
        assert!(matches!(labelled(|p| p.initial[0] += off), Err(Error::RowSum { what: "initial", row: 0, .. })));
        assert!(matches!(labelled(|p| p.transitions[1][0] += off.abs()), Err(Error::RowSum { row: 1, .. })));
        assert!(matches!(labelled(|p| p.emissions[1][1] += off), Err(Error::RowSum { row: 1, .. })));
    }
    // Below 1e-6 the row is normalised, and rounding alone is left as it is.
    let near = labelled(|p| p.initial[0] += 5e-7).unwrap();
    assert!((near.model().initial_probabilities().iter().sum::<f64>() - 1.0).abs() < 1e-15);
    let exact = labelled(|p| p.initial = vec![0.1 + 0.2, 0.7]).unwrap();
    assert_eq!(exact.model().initial_probabilities(), [0.1 + 0.2, 0.7]);
}

#[test]
fn duplicate_labels() {
    assert_eq!(labelled(|p| p.states[1] = "a").err(), Some(Error::DuplicateLabel { what: "state", index: 1 }));
    assert_eq!(labelled(|p| p.symbols[1] = 1).err(), Some(Error::DuplicateLabel { what: "symbol", index: 1 }));
}

#[test]
fn unknown_observations() {
    let unknown = |position| Error::UnknownObservation { position };
    let mut model = labelled(|_| {}).unwrap();
    let before = model.clone();
    assert_eq!(model.viterbi(&[1, 2, 7]).err(), Some(unknown(2)));
    assert_eq!(model.forward(&[9]).err(), Some(unknown(0)));
    assert_eq!(model.backward(&[1, 9]).err(), Some(unknown(1)));
    assert_eq!(model.baum_welch(&[vec![1], vec![2, 3]], 5, 0.1).err(), Some(unknown(1)));
    assert_eq!(model, before);
    let dice = dice();
    for far in [3, usize::MAX] {
        assert_eq!(dice.log_likelihood([0, far]), Err(unknown(1)));
        assert_eq!(dice.viterbi([Some(far)]), Err(unknown(0)));
        assert_eq!(dice.posterior([0, 0, far]), Err(unknown(2)));
        assert_eq!(dice.log_predictive([0, far]), Err(unknown(1)));
        assert_eq!(dice.backward_log([far]), Err(unknown(0)));
    }
    let mut filter = dice.filter();
    dice.update(&mut filter, Some(0)).unwrap();
    let before = filter.clone();
    assert_eq!(dice.update(&mut filter, Some(3)), Err(unknown(1)));
    assert_eq!(filter, before);
}

#[test]
fn numbers_that_are_not_finite() {
    let plane = plane();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let data = [0.0, 1.0, 0.5, bad];
        let rows = Rows::new(&data, 2).unwrap();
        let error = Err(Error::NonFiniteObservation { position: 1 });
        assert_eq!(plane.log_likelihood(rows), error);
        assert_eq!(plane.viterbi(rows).map(|_| 0.0), error);
        assert_eq!(plane.posterior(rows).map(|_| 0.0), error);
        assert_eq!(plane.log_likelihood(rows.with_missing()).is_ok(), bad.is_nan());
        let mut filter = plane.filter();
        assert_eq!(plane.update(&mut filter, Some(&data[2..])), Err(Error::NonFiniteObservation { position: 0 }));
        assert_eq!(plane.update_partial(&mut filter, &data[2..]).is_ok(), bad.is_nan());
        let mut model = plane.clone();
        assert_eq!(BaumWelch::new().fit(&mut model, &[rows]).map(|_| 0.0), error);
        assert_eq!(model, plane);
    }
}

#[test]
fn parameters_of_gaussians() {
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(
            GaussianDiag::new(vec![vec![0.0], vec![0.0]], vec![vec![1.0], vec![bad]]),
            Err(Error::InvalidParameter { what: "variance", state: 1 })
        );
    }
    assert_eq!(
        GaussianDiag::new(vec![vec![0.0], vec![f64::NAN]], vec![vec![1.0], vec![1.0]]),
        Err(Error::InvalidParameter { what: "mean", state: 1 })
    );
}

#[test]
fn impossible_sequences() {
    let dice = dice();
    for kernel in [Kernel::Auto, Kernel::Log] {
        let workspace = &mut Workspace::with_kernel(kernel);
        assert_eq!(dice.log_likelihood_with(workspace, [0, 1, 2, 0]), Ok(f64::NEG_INFINITY));
        let error = Error::ImpossibleSequence { sequence: 0, position: 2 };
        let mut posterior = dice.posterior([0]).unwrap();
        let before = posterior.clone();
        assert_eq!(dice.posterior_with(workspace, [0, 1, 2, 0], &mut posterior), Err(error.clone()));
        assert_eq!(posterior, before);
        let mut path = Path { states: vec![1], log_prob: -1.0 };
        assert_eq!(dice.viterbi_with(workspace, [0, 1, 2, 0], &mut path), Err(error.clone()));
        assert_eq!(path, Path { states: vec![1], log_prob: -1.0 });
        let mut model = dice.clone();
        let fit = BaumWelch::new().kernel(kernel).fit(&mut model, &[vec![0, 1], vec![], vec![1, 2]]);
        assert_eq!(fit, Err(Error::ImpossibleSequence { sequence: 2, position: 1 }));
        assert_eq!(model, dice);
    }
    let mut filter = dice.filter();
    dice.update(&mut filter, Some(1)).unwrap();
    let before = filter.clone();
    assert_eq!(dice.update(&mut filter, Some(2)), Err(Error::ImpossibleSequence { sequence: 0, position: 1 }));
    assert_eq!(filter, before);
    // A density that is 0 in floating point.
    let far = Rows::new(&[1e200, 0.0], 2).unwrap();
    assert_eq!(plane().log_likelihood(far), Ok(f64::NEG_INFINITY));
    assert!(matches!(plane().viterbi(far), Err(Error::ImpossibleSequence { position: 0, .. })));
    // Sixty-five sequences: the index counts across the chunks of training.
    let mut many = vec![vec![0, 1]; 64];
    many.push(vec![1, 1, 2]);
    let fit = BaumWelch::new().fit(&mut dice.clone(), &many);
    assert_eq!(fit, Err(Error::ImpossibleSequence { sequence: 64, position: 2 }));
    // Seed behaviour: forward of an impossible sequence is 0.
    let model = labelled(|p| p.emissions = vec![vec![1.0, 0.0], vec![1.0, 0.0]]).unwrap();
    assert_eq!(model.forward(&[1, 2]), Ok(0.0));
    assert_eq!(model.log_likelihood(&[1, 2]), Ok(f64::NEG_INFINITY));
    assert_eq!(model.backward(&[1, 2]).unwrap().as_slice(), [0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn nothing_to_learn_from() {
    let mut model = dice();
    assert_eq!(BaumWelch::new().fit(&mut model, &[] as &[Vec<usize>]), Err(Error::NoData));
    assert_eq!(BaumWelch::new().fit(&mut model, &[vec![], Vec::<usize>::new()]), Err(Error::NoData));
    assert_eq!(BaumWelch::new().fit(&mut model, &[vec![None::<usize>, None]]), Err(Error::NoData));
    assert_eq!(model.aic(&[Vec::<usize>::new()]), Err(Error::NoData));
    assert_eq!(model, dice());
    let mut labelled = labelled(|_| {}).unwrap();
    assert_eq!(labelled.baum_welch(&[vec![]], 5, 0.1), Err(Error::NoData));
}

#[test]
fn options_out_of_range() {
    let mut model = dice();
    for bad in [-1e-9, f64::NAN, f64::INFINITY] {
        let invalid = |name| Err(Error::InvalidOption { name });
        assert_eq!(BaumWelch::new().tolerance(bad).fit(&mut model, &[vec![0]]), invalid("tolerance"));
        assert_eq!(BaumWelch::new().total_tolerance(bad).fit(&mut model, &[vec![0]]), invalid("tolerance"));
        assert_eq!(BaumWelch::new().pseudocount(bad).fit(&mut model, &[vec![0]]), invalid("pseudocount"));
        assert_eq!(CategoricalPrior::new(bad), Err(Error::InvalidOption { name: "pseudocount" }));
        assert!(VarianceFloor::new(bad, 0.0).is_err() && VarianceFloor::new(0.0, bad).is_err());
        assert_eq!(labelled(|_| {}).unwrap().baum_welch(&[vec![1]], 5, bad), invalid("tolerance"));
    }
    assert_eq!(model, dice());
}

#[test]
fn empty_input() {
    let mut model = labelled(|_| {}).unwrap();
    assert_eq!(model.viterbi(&[]), Ok(vec![]));
    assert_eq!(model.forward(&[]), Ok(1.0));
    assert_eq!(model.log_likelihood(&[]), Ok(0.0));
    let beta = model.backward(&[]).unwrap();
    assert_eq!((beta.n_states(), beta.len()), (2, 0));
    assert_eq!(model.generate(0), vec![]);
    let before = model.clone();
    let fit = model.baum_welch(&[vec![1, 2]], 0, 0.1).unwrap();
    assert_eq!((fit.iterations, fit.converged, fit.log_likelihoods.len()), (0, false, 0));
    assert_eq!(model, before);
    let dice = dice();
    let none: &[usize] = &[];
    for kernel in [Kernel::Auto, Kernel::Log] {
        let workspace = &mut Workspace::with_kernel(kernel);
        assert_eq!(dice.log_likelihood_with(workspace, none), Ok(0.0));
        let mut posterior = Posterior::default();
        dice.posterior_with(workspace, none, &mut posterior).unwrap();
        assert_eq!((posterior.gamma.len(), posterior.log_likelihood), (0, 0.0));
    }
    assert_eq!(dice.log_predictive(none), Ok(vec![]));
    assert_eq!(dice.posterior_decode(none), Ok(vec![]));
    assert_eq!(dice.log_likelihood([None::<usize>; 3]).map(|ll| ll.abs() < 1e-15), Ok(true));
}

#[test]
fn what_is_not_learned_stays() {
    let start = dice();
    let sequences = [vec![0, 1, 1, 0, 0, 1], vec![1, 1]];
    let train = |learn| {
        let mut model = start.clone();
        BaumWelch::new().max_iters(3).learn(learn).fit(&mut model, &sequences).unwrap();
        model
    };
    let changed = |model: &Hmm<Categorical>| {
        (
            model.initial() != start.initial(),
            model.transitions() != start.transitions(),
            model.emission() != start.emission(),
        )
    };
    assert_eq!(changed(&train(Learn::ALL)), (true, true, true));
    assert_eq!(changed(&train(Learn::ALL.keep_initial())), (false, true, true));
    assert_eq!(changed(&train(Learn::ALL.keep_transitions())), (true, false, true));
    assert_eq!(changed(&train(Learn::ALL.keep_emissions())), (true, true, false));
    let mut fixed =
        Hmm::new(Initial::Fixed(vec![0.5, 0.5]), start.transitions().clone(), start.emission().clone()).unwrap();
    assert_eq!(fixed.n_free_parameters() + 1, start.n_free_parameters());
    BaumWelch::new().max_iters(3).fit(&mut fixed, &sequences).unwrap();
    assert_eq!(fixed.initial(), &Initial::Fixed(vec![0.5, 0.5]));
    assert_ne!(fixed.transitions(), start.transitions());
}

#[test]
fn information_criteria() {
    let dice = dice();
    // One free initial entry, two transitions, and one symbol a state: the third one is a structural zero.
    assert_eq!(dice.n_free_parameters(), 1 + 2 + 2);
    let sequences = [vec![Some(0), None, Some(1)], vec![Some(1)]];
    let ll: f64 = sequences.iter().map(|s| dice.log_likelihood(s).unwrap()).sum();
    assert!((dice.aic(&sequences).unwrap() - (10.0 - 2.0 * ll)).abs() < 1e-12);
    assert!((dice.bic(&sequences).unwrap() - (5.0 * 3f64.ln() - 2.0 * ll)).abs() < 1e-12);
    assert_eq!(plane().n_free_parameters(), 1 + 2 + 8);
}

#[test]
fn errors_cross_threads() {
    fn sound<T: Send + Sync + 'static>() {}
    sound::<Error>();
    sound::<Hmm<Categorical>>();
    sound::<Workspace>();
    sound::<HiddenMarkovModel<String, char>>();
}

#[test]
fn generated_steps_repeat_and_avoid_zeros() {
    let model = labelled(|p| {
        p.transitions = vec![vec![0.0, 1.0], vec![1.0, 0.0]];
        p.emissions = vec![vec![1.0, 0.0], vec![0.0, 1.0]];
        p.initial = vec![1.0, 0.0];
    })
    .unwrap();
    let steps = model.generate(6);
    assert_eq!(steps, [("a", 1), ("b", 2), ("a", 1), ("b", 2), ("a", 1), ("b", 2)]);
    let free = labelled(|_| {}).unwrap();
    assert_eq!(free.generate(50), free.generate(50));
    assert_ne!(free.generate(50), free.clone().with_seed(1).generate(50));
    assert_eq!(free.generate(50)[..20], free.generate(20));
}

/// Every width of the kernels, scores that are small integers times ln 2: ties at almost every step.
#[test]
fn ties_go_to_the_lowest_index_at_every_width() {
    let uniform = |n: usize| vec![1.0 / n as f64; n];
    for n in (1_usize..=10).chain([16, 17, 32, 33]) {
        // Only powers of two are equal to the last bit.
        if n.is_power_of_two() {
            let flat = Hmm::new(
                Initial::Free(uniform(n)),
                Transitions::new(vec![uniform(n); n]).unwrap(),
                Categorical::new(vec![vec![0.5, 0.5]; n]).unwrap(),
            )
            .unwrap();
            assert_eq!(flat.viterbi([0, 1, 1, 0, 1]).unwrap().states, [0; 5], "{n} states");
        }
        let row = |i: usize, width: usize| -> Vec<f64> {
            let mut row: Vec<f64> = (0..width).map(|j| 0.5_f64.powi(((i * 7 + j * 5) % 3 + 6) as i32)).collect();
            row[i % width] += 1.0 - row.iter().sum::<f64>();
            row
        };
        let model = Hmm::new(
            Initial::Free(row(0, n)),
            Transitions::new((0..n).map(|i| row(i, n)).collect()).unwrap(),
            Categorical::new((0..n).map(|i| row(i, 4)).collect()).unwrap(),
        )
        .unwrap();
        let data: Vec<usize> = (0..700).map(|t| t * t % 13 % 4).collect();
        let path = model.viterbi(&data).unwrap();
        // Worked out step by step.
        let (mut scores, mut before) = (vec![Vec::new()], vec![vec![]]);
        for (t, o) in data.iter().enumerate() {
            let arrive = |j: usize| -> (f64, usize) {
                let from = |i: usize| scores[t][i] + model.transitions().row(i)[j].ln();
                let first = model.initial_probabilities()[j].ln();
                let best = if t == 0 {
                    (first, 0)
                } else {
                    (0..n).fold(
                        (f64::NEG_INFINITY, 0),
                        |best: (f64, usize), i| {
                            if from(i) > best.0 { (from(i), i) } else { best }
                        },
                    )
                };
                (best.0 + model.emission().row(j)[*o].ln(), best.1)
            };
            let (now, back): (Vec<f64>, Vec<usize>) = (0..n).map(arrive).unzip();
            scores.push(now);
            before.push(back);
        }
        let last = &scores[data.len()];
        let mut state = (0..n).fold(0, |best, j| if last[j] > last[best] { j } else { best });
        assert_eq!(path.log_prob, last[state], "{n} states");
        for t in (0..data.len()).rev() {
            assert_eq!(path.states[t], state, "{n} states, step {t}");
            state = before[t + 1][state];
        }
    }
}

#[test]
fn an_impossible_step_is_named_at_every_width() {
    for n in [2, 4, 8, 9, 16, 20] {
        let model = Hmm::new(
            Initial::Free(vec![1.0 / n as f64; n]),
            Transitions::new(vec![vec![1.0 / n as f64; n]; n]).unwrap(),
            Categorical::new(vec![vec![0.5, 0.5, 0.0]; n]).unwrap(),
        )
        .unwrap();
        for position in [0, 1, 255, 256, 257, 600] {
            let mut data = vec![1; 601];
            data[position] = 2;
            let dead = Error::ImpossibleSequence { sequence: 0, position };
            assert_eq!(model.viterbi(&data), Err(dead.clone()), "{n} states");
            assert_eq!(model.k_best(&data, 3), Err(dead), "{n} states");
        }
    }
}

#[test]
fn viterbi_breaks_ties_towards_the_lowest_index() {
    let even = Hmm::new(
        Initial::Free(vec![0.25; 4]),
        Transitions::new(vec![vec![0.25; 4]; 4]).unwrap(),
        Categorical::new(vec![vec![1.0]; 4]).unwrap(),
    )
    .unwrap();
    assert_eq!(even.viterbi([0; 9]).unwrap().states, [0; 9]);
    assert_eq!(even.posterior_decode([0; 3]).unwrap(), [0; 3]);
}
