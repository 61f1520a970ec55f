//! Priors that travel as 1-bit increments, and their aggregate.

#![expect(clippy::unwrap_used, reason = "a helper that unwraps fails the test that called it")]

use hanzo::bitdelta::{ErrorFeedback, Granularity, OnlineDelta, PackOptions};
use hanzo::experience::aggregate::{Aggregator, Fixed, Prior, Weighted, WeightedMedian};
use hanzo::glue::{PriorError, prior_of, push_prior};
use proptest::prelude::*;

const SCHEMA: u64 = 7;

fn fixed(x: f64) -> Fixed {
    Fixed::from_f64(x).unwrap()
}

fn options() -> PackOptions {
    PackOptions::new().granularity(Granularity::Row)
}

/// Three honest streams and a liar's: what arrives after some rounds is near what was meant, and the liar does not move it.
#[test]
fn streams_aggregate() {
    let meant = |element: u32, who: u32| f64::from(element % 5) / 4.0 - 0.5 + f64::from(who) / 1_000.0;
    let rounds = 64;
    let mut priors = Vec::new();
    for who in 0..4 {
        let (mut sent, mut received) = (ErrorFeedback::new(4, 16).unwrap(), OnlineDelta::new(4, 16).unwrap());
        for _ in 0..rounds {
            let value = |element| if who == 3 { fixed(1e6) } else { fixed(meant(element, who)) };
            let prior = Prior::dense(SCHEMA, (0..64).map(value).collect()).unwrap();
            received.absorb(&push_prior(&mut sent, &prior, &options()).unwrap()).unwrap();
        }
        priors.push(prior_of(SCHEMA, &received).unwrap());
    }
    let names = ["a", "b", "c", "liar"].map(|name| name.parse().unwrap());
    let weights = [20, 20, 20, 59];
    let submissions: Vec<Weighted<'_>> =
        (0..4).map(|who| Weighted { submitter: &names[who], prior: &priors[who], weight: weights[who] }).collect();
    let aggregate = WeightedMedian::default().aggregate(&submissions).unwrap();
    for (element, value) in (0..).zip(aggregate.values()) {
        let mean = value.unwrap().to_f64() / f64::from(rounds);
        assert!((mean - meant(element, 1)).abs() < 0.05, "element {element}: {mean}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut stream = ErrorFeedback::new(2, 2).unwrap();
    let five = Prior::dense(SCHEMA, vec![Fixed::ZERO; 5]).unwrap();
    assert_eq!(push_prior(&mut stream, &five, &options()), Err(PriorError::Elements { got: 5, want: 4 }));
    assert_eq!(stream, ErrorFeedback::new(2, 2).unwrap());
    let mut sum = OnlineDelta::new(1, 1).unwrap();
    let one = [2_147_483_648.0_f32];
    sum.update(hanzo::bitdelta::MatRef::new(&one, 1, 1).unwrap(), 1.0).unwrap();
    let out = hanzo::experience::Error::OutOfRange { field: "fixed" };
    assert_eq!(prior_of(SCHEMA, &sum), Err(PriorError::Prior(out)));
}

proptest! {
    /// What was received and what is held back are what was put in; absent elements add nothing.
    #[test]
    fn nothing_is_lost(priors in prop::collection::vec(prop::collection::btree_map(0_u32..12, -1_000..1_000_i32, 0..12), 1..8)) {
        let (mut sent, mut received) = (ErrorFeedback::new(3, 4).unwrap(), OnlineDelta::new(3, 4).unwrap());
        let mut sums = [0.0_f64; 12];
        for values in &priors {
            let present = values.iter().map(|(index, value)| (*index, fixed(f64::from(*value) / 64.0)));
            let prior = Prior::new(SCHEMA, 12, present).unwrap();
            prior.iter().for_each(|(index, value)| sums[index as usize] += value.to_f64());
            received.absorb(&push_prior(&mut sent, &prior, &options()).unwrap()).unwrap();
        }
        let got = prior_of(SCHEMA, &received).unwrap();
        prop_assert!(got.is_dense());
        for ((value, held), sum) in got.iter().map(|(_, value)| value).zip(sent.residual()).zip(sums) {
            prop_assert!((value.to_f64() + f64::from(*held) - sum).abs() < 1e-2, "{} {} {}", value, held, sum);
        }
    }
}
