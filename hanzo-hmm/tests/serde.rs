//! Serialised models come back bit for bit, and bad ones are refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(feature = "serde")]

use hanzo_hmm::{
    BaumWelch, Categorical, Emission, Expectations, FilterState, GaussianDiag, GaussianFull, GaussianMixture,
    GaussianSpherical, GaussianTied, HiddenMarkovModel, Hmm, Initial, Observations, OnlineEm, Poisson, Product, Rows,
    Transitions,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    let back: T = serde_json::from_str(&text).unwrap();
    assert_eq!(&back, value);
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
}

fn dice() -> HiddenMarkovModel<String, u8> {
    HiddenMarkovModel::new(
        vec!["fair".into(), "loaded".into()],
        vec![1, 2, 3],
        vec![0.1 + 0.2, 0.7],
        vec![vec![0.7, 0.3], vec![0.4, 0.6]],
        vec![vec![1.0 / 3.0; 3], vec![0.1, 0.1, 0.8]],
    )
    .unwrap()
    .with_seed(9)
}

#[test]
fn models_round_trip() {
    let mut labelled = dice();
    round_trip(&labelled);
    let sequences = [labelled.generate(300).into_iter().map(|(_, o)| o).collect::<Vec<_>>()];
    labelled.baum_welch(&sequences, 7, 0.0).unwrap();
    round_trip(&labelled);
    round_trip(labelled.model());

    let mut gaussian = Hmm::new(
        Initial::Fixed(vec![1.0, 0.0]),
        Transitions::new(vec![vec![0.9, 0.1], vec![0.0, 1.0]]).unwrap(),
        GaussianDiag::new(vec![vec![0.1, 1e-300], vec![-1e300, 2.0]], vec![vec![1e-200, 3.0], vec![1.0, 1e300]])
            .unwrap(),
    )
    .unwrap();
    round_trip(&gaussian);
    let data = [0.0, 0.1, 0.2, 0.0, -0.3, 0.1];
    gaussian = Hmm::new(
        gaussian.initial().clone(),
        gaussian.transitions().clone(),
        GaussianDiag::new(vec![vec![0.0, 0.0], vec![1.0, 1.0]], vec![vec![1.0, 1.0]; 2]).unwrap(),
    )
    .unwrap();
    BaumWelch::new().max_iters(3).fit(&mut gaussian, &[Rows::new(&data, 2).unwrap()]).unwrap();
    round_trip(&gaussian);
}

#[test]
fn filters_round_trip_and_go_on_equally() {
    // Left-right, so that a state fades without becoming impossible.
    let model = Hmm::new(
        Initial::Free(vec![1.0, 0.0]),
        Transitions::new(vec![vec![0.5, 0.5], vec![0.0, 1.0]]).unwrap(),
        Categorical::new(vec![vec![0.25, 0.75], vec![0.75, 0.25]]).unwrap(),
    )
    .unwrap();
    let mut filter = model.filter();
    for step in 0..600 {
        if step % 100 == 0 {
            round_trip(&filter);
            let text = serde_json::to_string(&filter).unwrap();
            let mut twin: FilterState = serde_json::from_str(&text).unwrap();
            let mut own = filter.clone();
            assert_eq!(model.update(&mut own, Some(1)), model.update(&mut twin, Some(1)));
            assert_eq!(own, twin);
        }
        model.update(&mut filter, Some(0)).unwrap();
    }
}

#[test]
fn bad_bytes_are_refused() {
    let good = serde_json::to_string(&dice()).unwrap();
    for (from, to, message) in [
        ("[0.7,0.3]", "[0.7,0.4]", "sums to"),
        ("[0.7,0.3]", "[1.7,-0.7]", "not a probability"),
        ("[0.7,0.3]", "[0.7,0.3,0.0]", "expected length"),
        ("\"loaded\"", "\"fair\"", "repeats"),
        ("[1,2,3]", "[1,2,1]", "repeats"),
        ("[1,2,3]", "[1,2]", "expected length"),
        ("\"free\"", "\"loose\"", "unknown variant"),
        ("\"seed\"", "\"sead\"", "unknown field"),
    ] {
        assert!(good.contains(from), "{good}");
        let error = serde_json::from_str::<HiddenMarkovModel<String, u8>>(&good.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    let error = serde_json::from_str::<GaussianDiag>(r#"{"means":[[0.0]],"variances":[[0.0]]}"#).unwrap_err();
    assert!(error.to_string().contains("variance of state 0"), "{error}");
    assert!(serde_json::from_str::<Transitions>("[]").is_err());
    for bad in [
        r#"{"belief":[0.5,0.6],"log_belief":null,"log_likelihood":0.0,"steps":1}"#,
        r#"{"belief":[0.5,0.5],"log_belief":[null],"log_likelihood":0.0,"steps":1}"#,
        r#"{"belief":[0.5,0.5],"log_belief":[null,null],"log_likelihood":0.0,"steps":1}"#,
        r#"{"belief":[0.5,0.5],"log_belief":[0.0,null],"log_likelihood":0.0,"steps":1}"#,
        r#"{"belief":[0.5,0.5],"log_belief":[1.0,null],"log_likelihood":0.0,"steps":1}"#,
        r#"{"belief":[],"log_belief":null,"log_likelihood":0.0,"steps":1}"#,
    ] {
        assert!(serde_json::from_str::<FilterState>(bad).is_err(), "{bad}");
    }
}

#[test]
fn every_family_round_trips() {
    let means = vec![vec![0.1, -2.0], vec![1.0 / 3.0, 4.0]];
    let table = vec![vec![2.0, 0.3], vec![0.3, 0.7]];
    round_trip(&GaussianSpherical::new(means.clone(), vec![0.1, 1e-30]).unwrap());
    round_trip(&GaussianFull::new(means.clone(), vec![table.clone(); 2]).unwrap());
    round_trip(&GaussianTied::new(means.clone(), table.clone()).unwrap());
    let weights = vec![vec![0.1, 0.9], vec![1.0, 0.0]];
    let both = vec![means.clone(), means.clone()];
    round_trip(&GaussianMixture::diag(weights.clone(), both.clone(), vec![vec![vec![0.1, 2.0]; 2]; 2]).unwrap());
    round_trip(&GaussianMixture::full(weights, both, vec![vec![table; 2]; 2]).unwrap());
    let rates = Poisson::new(vec![vec![0.1], vec![7.0]]).unwrap();
    round_trip(&Product::new(GaussianSpherical::new(means, vec![1.0, 2.0]).unwrap(), rates.clone()).unwrap());
    let transitions = Transitions::new(vec![vec![0.9, 0.1], vec![0.3, 0.7]]).unwrap();
    round_trip(&Hmm::new(Initial::Stationary, transitions, rates).unwrap());
    for bad in [
        r#"{"initial":"stationary","transitions":[[1.0,0.0],[0.5,0.5]],"emission":[[1.0],[2.0]]}"#,
        r#"{"initial":"stationary","transitions":[[0.5,0.5],[0.5,0.5]],"emission":[[1.0],[0.0]]}"#,
        r#"{"initial":"stationary","transitions":[[0.5,0.5],[0.5,0.5]],"emission":[[1.0]]}"#,
    ] {
        assert!(serde_json::from_str::<Hmm<Poisson>>(bad).is_err(), "{bad}");
    }
    let bad = r#"{"means":[[0.0,0.0]],"covariances":[[[1.0,2.0],[2.0,1.0]]]}"#;
    let error = serde_json::from_str::<GaussianFull>(bad).unwrap_err();
    assert!(error.to_string().contains("positive definite"), "{error}");
    let bad = r#"{"weights":[[1.0]],"means":[[[0.0]]]}"#;
    assert!(serde_json::from_str::<GaussianMixture>(bad).is_err());
}

/// Statistics travel: parts that were sent and read back train the same model, and damaged ones are refused.
#[test]
fn expectations_travel() {
    let model = Hmm::new(
        Initial::Free(vec![0.5, 0.5]),
        Transitions::new(vec![vec![0.9, 0.1], vec![0.3, 0.7]]).unwrap(),
        GaussianFull::new(vec![vec![0.0, 0.0], vec![3.0, 1.0]], vec![vec![vec![1.0, 0.0], vec![0.0, 1.0]]; 2]).unwrap(),
    )
    .unwrap();
    let data = [0.0, 0.1, 0.2, 0.0, -0.3, 0.1, 3.0, 1.5, 2.5, 0.5, 3.3, 1.1];
    let training = BaumWelch::new();
    let part = training.expect(&model, &[Rows::new(&data, 2).unwrap()]).unwrap();
    let text = serde_json::to_string(&part).unwrap();
    let back: Expectations<GaussianFull> = serde_json::from_str(&text).unwrap();
    assert_eq!(back, part);
    let (mut one, mut other) = (model.clone(), model.clone());
    training.maximize(&mut one, &part).unwrap();
    training.maximize(&mut other, &back).unwrap();
    assert_eq!(one, other);
    for (from, to) in
        [("\"mass\":[", "\"mass\":[-1.0,"), ("\"initial\":[", "\"initial\":[1.0,"), ("\"dim\":2", "\"dim\":0")]
    {
        assert!(text.contains(from), "{text}");
        assert!(serde_json::from_str::<Expectations<GaussianFull>>(&text.replacen(from, to, 1)).is_err(), "{from}");
    }
    // Those of another model are sound by themselves.
    let wide = Hmm::new(
        Initial::Free(vec![1.0]),
        Transitions::new(vec![vec![1.0]]).unwrap(),
        GaussianFull::new(vec![vec![0.0, 0.0]], vec![vec![vec![1.0, 0.0], vec![0.0, 1.0]]]).unwrap(),
    )
    .unwrap();
    let strange = training.expect(&wide, &[Rows::new(&data, 2).unwrap()]).unwrap();
    let strange = serde_json::from_str(&serde_json::to_string(&strange).unwrap()).unwrap();
    let mut all = Expectations::new(&model);
    let empty = all.clone();
    assert!(all.merge(&model, &strange).is_err());
    assert_eq!(all, empty);
    assert!(training.maximize(&mut one, &strange).is_err());
    assert_eq!(one, other);
}

/// The statistics of every family come back equal, and no number that cannot be one gets in.
#[test]
fn statistics_are_checked_as_they_are_read() {
    fn check<'a, E, Q>(emission: E, data: Q, damages: &[(&str, &str)])
    where
        E: Emission + Clone,
        E::Stats: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
        Q: Observations<E::Obs<'a>>,
    {
        let transitions = Transitions::new(vec![vec![0.9, 0.1], vec![0.3, 0.7]]).unwrap();
        let model = Hmm::new(Initial::Free(vec![0.5, 0.5]), transitions, emission).unwrap();
        let part = BaumWelch::new().expect(&model, &[data]).unwrap();
        round_trip(part.emissions());
        let text = serde_json::to_string(&part).unwrap();
        let own = [
            ("\"initial\":[", "\"initial\":[1.0,"),
            ("\"transitions\":[", "\"transitions\":[-1.0,"),
            ("\"log_likelihood\":", "\"log_likelihood\":null,\"x\":"),
        ];
        for (from, to) in own.iter().chain(damages) {
            assert!(text.contains(from), "{from} in {text}");
            assert!(serde_json::from_str::<Expectations<E>>(&text.replacen(from, to, 1)).is_err(), "{from}");
        }
    }
    let numbers = [0.5, 1.0, -2.0, 3.5, 0.25, 4.0];
    let means = vec![vec![0.0], vec![2.0]];
    let one = vec![vec![vec![1.0]]; 2];
    let rows = Rows::new(&numbers, 1).unwrap();
    let masses = [("\"mass\":[", "\"mass\":[1.0,"), ("\"mass\":[", "\"mass\":[-1e9,"), ("\"dim\":1", "\"dim\":0")];
    check(GaussianDiag::new(means.clone(), vec![vec![1.0]; 2]).unwrap(), rows, &masses);
    check(GaussianFull::new(means, one.clone()).unwrap(), rows, &masses);
    let mixture = GaussianMixture::diag(vec![vec![1.0]; 2], one.clone(), one).unwrap();
    check(mixture, rows, &[("\"mass\":[", "\"mass\":[-1.0,"), ("\"diag\":", "\"round\":")]);
    let counts = [1, 2, 0, 5];
    check(Poisson::new(vec![vec![1.0], vec![3.0]]).unwrap(), Rows::new(&counts, 1).unwrap(), &masses);
    let damages = [("\"n_states\":2", "\"n_states\":0"), ("\"counts\":[", "\"counts\":[-1.0,0.0,")];
    check(Categorical::new(vec![vec![0.5, 0.5]; 2]).unwrap(), [0_usize, 1, 1], &damages);
}

/// A learner that was stored goes on as if it had not been, and a damaged one is refused.
#[test]
fn online_learners_travel() {
    let start = Hmm::new(
        Initial::Free(vec![0.5, 0.5]),
        Transitions::new(vec![vec![0.8, 0.2], vec![0.3, 0.7]]).unwrap(),
        GaussianDiag::new(vec![vec![-1.0], vec![1.0]], vec![vec![1.0]; 2]).unwrap(),
    )
    .unwrap();
    let mut learner = OnlineEm::new(start).with_pseudocount(0.01).unwrap();
    for t in 0..60 {
        learner.update((t % 9 > 0).then_some(&[f64::from(t % 5)])).unwrap();
    }
    round_trip(&learner);
    let text = serde_json::to_string(&learner).unwrap();
    let mut back: OnlineEm<GaussianDiag> = serde_json::from_str(&text).unwrap();
    for t in 0..60 {
        let x = [f64::from(t % 7)];
        assert_eq!(learner.update(Some(&x)), back.update(Some(&x)));
    }
    assert_eq!(learner, back);
    for (from, to) in [
        ("\"pseudocount\":0.01", "\"pseudocount\":-0.01"),
        ("\"belief\":[", "\"belief\":[0.5,"),
        ("\"belief\":[", "\"belief\":[7.0,"),
        ("\"moves\":[", "\"moves\":[1.0,"),
        ("\"moves\":[", "\"moves\":[null,"),
        ("\"stats\":[", "\"stats\":[],\"x\":["),
        ("\"variances\":[[", "\"variances\":[[-1.0,"),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        assert!(serde_json::from_str::<OnlineEm<GaussianDiag>>(&text.replacen(from, to, 1)).is_err(), "{from}");
    }
}
