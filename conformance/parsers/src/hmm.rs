//! Serialised models, used for everything once they are read, and what the market maker takes.

use hanzo_hmm::{
    BaumWelch, Categorical, Config, Emission, FilterState, GaussianDiag, GaussianFull, HiddenMarkovModel, Hmm, Initial,
    Observations, Poisson, Transitions,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Parser, json, market};

pub(crate) const PARSERS: &[Parser] = &[
    Parser {
        name: "hmm/categorical",
        samples: categorical,
        read: |b| model::<Categorical, _>(b, &[0, 1, 0][..]),
        memory: 512,
    },
    Parser { name: "hmm/gaussian", samples: gaussian, read: |b| model::<GaussianDiag, _>(b, &ROWS[..]), memory: 512 },
    Parser { name: "hmm/gaussian_full", samples: full, read: |b| model::<GaussianFull, _>(b, &ROWS[..]), memory: 512 },
    Parser { name: "hmm/poisson", samples: poisson, read: |b| model::<Poisson, _>(b, &COUNTS[..]), memory: 512 },
    Parser { name: "hmm/labelled", samples: labelled, read: json::<HiddenMarkovModel<String, u8>>, memory: 512 },
    Parser { name: "hmm/filter", samples: filter, read: json::<FilterState>, memory: 512 },
    Parser { name: "hmm/quote", samples: market::quotes, read: market::quote, memory: 64 },
    Parser { name: "hmm/snapshot", samples: market::snapshots, read: market::snapshot, memory: 64 },
    Parser { name: "hmm/sign_table", samples: market::signs, read: market::sign_table, memory: 64 },
    Parser { name: "hmm/route_call", samples: market::calls, read: market::call, memory: 512 },
    Parser { name: "hmm/market_config", samples: market::configs, read: json::<Config>, memory: 512 },
    Parser { name: "hmm/labelled_outcome", samples: market::labelled, read: market::label, memory: 512 },
    Parser { name: "hmm/trade", samples: market::trades, read: market::trade, memory: 64 },
    Parser { name: "hmm/text", samples: market::texts, read: market::features, memory: 64 },
];

const ROWS: [&[f64]; 3] = [&[0.1, -2.0], &[1e12, 0.5], &[0.2, -1.9]];
const COUNTS: [&[u64]; 3] = [&[0, 7], &[1 << 40, 3], &[2, 5]];

fn two<E: Emission>(emission: hanzo_hmm::Result<E>) -> Hmm<E> {
    let transitions = Transitions::new(vec![vec![0.9, 0.1], vec![0.0, 1.0]]).expect("rows that sum to 1");
    let emission = emission.expect("valid parameters");
    Hmm::new(Initial::Fixed(vec![0.5, 0.5]), transitions, emission).expect("parts of two states")
}

fn text<T: Serialize>(value: &T) -> Vec<Vec<u8>> {
    vec![serde_json::to_vec(value).expect("a model can be written")]
}

fn categorical() -> Vec<Vec<u8>> {
    text(&two(Categorical::new(vec![vec![0.25, 0.75], vec![1.0, 0.0]])))
}

fn gaussian() -> Vec<Vec<u8>> {
    text(&two(GaussianDiag::new(vec![vec![0.0, -2.0], vec![3.0, 1e-9]], vec![vec![1.0, 0.5]; 2])))
}

fn full() -> Vec<Vec<u8>> {
    let covariance = vec![vec![1.0, 0.25], vec![0.25, 2.0]];
    text(&two(GaussianFull::new(vec![vec![0.0, -2.0], vec![3.0, 1.0]], vec![covariance; 2])))
}

fn poisson() -> Vec<Vec<u8>> {
    text(&two(Poisson::new(vec![vec![0.5, 7.0], vec![12.0, 3.0]])))
}

fn labelled() -> Vec<Vec<u8>> {
    let states = vec!["fair".to_owned(), "loaded".to_owned()];
    let rows = vec![vec![0.5, 0.5]; 2];
    text(&HiddenMarkovModel::new(states, vec![1u8, 2], vec![0.5, 0.5], rows.clone(), rows).expect("valid rows"))
}

fn filter() -> Vec<Vec<u8>> {
    let model = two(Categorical::new(vec![vec![0.25, 0.75], vec![1.0, 0.0]]));
    let mut state = model.filter();
    model.update(&mut state, Some(1)).expect("a known symbol");
    text(&state)
}

/// A model that was accepted answers or refuses every question, and never with a NaN.
fn model<'a, E, Q>(bytes: &[u8], sequence: &'a Q) -> bool
where
    E: Emission + Clone + PartialEq + Serialize + DeserializeOwned,
    Q: Observations<E::Obs<'a>> + ?Sized,
{
    if !json::<Hmm<E>>(bytes) {
        return false;
    }
    let Ok(mut model) = serde_json::from_slice::<Hmm<E>>(bytes) else { return false };
    let _ = model.log_likelihood(sequence).map(|value| assert!(!value.is_nan(), "a likelihood is NaN"));
    let _ = model.viterbi(sequence).map(|path| assert!(!path.log_prob.is_nan(), "a path has no probability"));
    let _ = model.k_best(sequence, 3);
    let _ = model.posterior(sequence).map(|posterior| {
        let gamma = posterior.gamma.as_slice();
        assert!(gamma.iter().all(|p| (0.0..=1.0 + 1e-9).contains(p)), "a posterior is no probability");
    });
    if BaumWelch::new().max_iters(2).fit(&mut model, &[sequence]).is_ok() {
        let after = serde_json::to_vec(&model).expect("a model can be written");
        assert!(serde_json::from_slice::<Hmm<E>>(&after).is_ok(), "training made an invalid model");
    }
    true
}
