//! Serialised forms. Everything that comes in goes through the same checks as in the constructors.

use std::fmt::Debug;
use std::hash::Hash;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::hmm_core::HiddenMarkovModel;
use crate::inference::FilterState;
use crate::kernel::arith::log_sum_exp;
use crate::learning::{Expectations, OnlineEm};
use crate::model::{
    Categorical, Emission, GaussianDiag, GaussianFull, GaussianMixture, GaussianSpherical, GaussianTied, Hmm, Initial,
    Poisson, Product, Transitions, check_distribution,
};
use crate::{Error, Result};

/// The rows of a row-major table.
fn rows(values: &[f64], width: usize) -> Vec<Vec<f64>> {
    values.chunks_exact(width).map(<[f64]>::to_vec).collect()
}

/// Reads a raw form and checks it.
fn checked<'de, R: Deserialize<'de>, T, D: Deserializer<'de>>(
    deserializer: D,
    check: impl FnOnce(R) -> Result<T>,
) -> Result<T, D::Error> {
    check(R::deserialize(deserializer)?).map_err(de::Error::custom)
}

/// Reads a struct whose fields have these names and types, and calls its `check`.
macro_rules! checked_on_load {
    ($name:ident { $($field:ident: $kind:ty),* }) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Raw {
                    $($field: $kind),*
                }
                let Raw { $($field),* } = Raw::deserialize(deserializer)?;
                let value = $name { $($field),* };
                value.check().map_err(serde::de::Error::custom)?;
                Ok(value)
            }
        }
    };
}
pub(crate) use checked_on_load;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpectations<S> {
    initial: Vec<f64>,
    transitions: Vec<f64>,
    emissions: S,
    log_likelihood: f64,
    observed: u64,
    sequences: u64,
}

impl<'de, E: Emission> Deserialize<'de> for Expectations<E>
where
    E::Stats: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, |raw: RawExpectations<E::Stats>| {
            let parts = (raw.initial, raw.transitions, raw.emissions);
            let expectations = Self::from_parts(parts, raw.log_likelihood, raw.observed, raw.sequences);
            expectations.check_numbers().map(|()| expectations)
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "E: Emission + Deserialize<'de>, E::Stats: Deserialize<'de>"))]
struct RawOnlineEm<E: Emission> {
    model: Hmm<E>,
    pseudocount: f64,
    steps: u64,
    log_likelihood: f64,
    belief: Vec<f64>,
    moves: Vec<f64>,
    stats: Vec<E::Stats>,
}

impl<'de, E: Emission + Clone + Deserialize<'de>> Deserialize<'de> for OnlineEm<E>
where
    E::Stats: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, |raw: RawOnlineEm<E>| {
            let averages = (raw.belief, raw.moves, raw.stats);
            Self::from_parts((raw.model, raw.pseudocount), (raw.steps, raw.log_likelihood), averages)
        })
    }
}

impl Serialize for Transitions {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        rows(self.probabilities(), self.n_states()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Transitions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, Self::new)
    }
}

impl Serialize for Categorical {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        rows(self.probabilities(), self.n_symbols()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Categorical {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, Self::new)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGaussianDiag {
    means: Vec<Vec<f64>>,
    variances: Vec<Vec<f64>>,
}

impl Serialize for GaussianDiag {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let (means, variances) = (rows(self.means(), self.dim()), rows(self.variances(), self.dim()));
        RawGaussianDiag { means, variances }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GaussianDiag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, |raw: RawGaussianDiag| Self::new(raw.means, raw.variances))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGaussianSpherical {
    means: Vec<Vec<f64>>,
    variances: Vec<f64>,
}

impl Serialize for GaussianSpherical {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let (means, variances) = (rows(self.means(), self.dim()), self.variances().to_vec());
        RawGaussianSpherical { means, variances }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GaussianSpherical {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, |raw: RawGaussianSpherical| Self::new(raw.means, raw.variances))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGaussianFull {
    means: Vec<Vec<f64>>,
    covariances: Vec<Vec<Vec<f64>>>,
}

impl Serialize for GaussianFull {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let dim = self.dim();
        let covariances = rows(self.covariances(), dim * dim).iter().map(|table| rows(table, dim)).collect();
        RawGaussianFull { means: rows(self.means(), dim), covariances }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GaussianFull {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, |raw: RawGaussianFull| Self::new(raw.means, raw.covariances))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGaussianTied {
    means: Vec<Vec<f64>>,
    covariance: Vec<Vec<f64>>,
}

impl Serialize for GaussianTied {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let (means, covariance) = (rows(self.means(), self.dim()), rows(self.covariance(), self.dim()));
        RawGaussianTied { means, covariance }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GaussianTied {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, |raw: RawGaussianTied| Self::new(raw.means, raw.covariance))
    }
}

/// Exactly one of `variances` and `covariances` is there.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMixture {
    weights: Vec<Vec<f64>>,
    means: Vec<Vec<Vec<f64>>>,
    #[serde(default)]
    variances: Option<Vec<Vec<Vec<f64>>>>,
    #[serde(default)]
    covariances: Option<Vec<Vec<Vec<Vec<f64>>>>>,
}

impl Serialize for GaussianMixture {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let (dim, k) = (self.dim(), self.n_components());
        let by_state = |table: &[f64]| rows(table, k * dim).iter().map(|state| rows(state, dim)).collect::<Vec<_>>();
        let full = || -> Vec<Vec<Vec<Vec<f64>>>> {
            let matrices = |state: &Vec<f64>| rows(state, dim * dim).iter().map(|table| rows(table, dim)).collect();
            rows(self.covariances(), k * dim * dim).iter().map(matrices).collect()
        };
        RawMixture {
            weights: rows(self.weights(), k),
            means: by_state(self.means()),
            variances: (!self.is_full()).then(|| by_state(self.covariances())),
            covariances: self.is_full().then(full),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GaussianMixture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, |raw: RawMixture| match (raw.variances, raw.covariances) {
            (Some(variances), None) => Self::diag(raw.weights, raw.means, variances),
            (None, Some(covariances)) => Self::full(raw.weights, raw.means, covariances),
            (variances, _) => {
                let found = if variances.is_some() { 2 } else { 0 };
                Err(Error::DimensionMismatch { what: "kinds of covariances", expected: 1, found })
            }
        })
    }
}

impl Serialize for Poisson {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        rows(self.rates(), self.dim()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Poisson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, Self::new)
    }
}

impl<A: Emission + Serialize, B: Emission + Serialize> Serialize for Product<A, B> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        (self.first(), self.second()).serialize(serializer)
    }
}

impl<'de, A: Emission + Deserialize<'de>, B: Emission + Deserialize<'de>> Deserialize<'de> for Product<A, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, |(first, second): (A, B)| Self::new(first, second))
    }
}

#[derive(Serialize)]
struct RawHmmRef<'a, E> {
    initial: &'a Initial,
    transitions: &'a Transitions,
    emission: &'a E,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHmm<E> {
    initial: Initial,
    transitions: Transitions,
    emission: E,
}

impl<E: Emission + Serialize> Serialize for Hmm<E> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let (initial, transitions, emission) = (self.initial(), self.transitions(), self.emission());
        RawHmmRef { initial, transitions, emission }.serialize(serializer)
    }
}

impl<'de, E: Emission + Deserialize<'de>> Deserialize<'de> for Hmm<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, |raw: RawHmm<E>| Self::new(raw.initial, raw.transitions, raw.emission))
    }
}

#[derive(Serialize)]
struct RawLabelledRef<'a, S, O> {
    states: &'a [S],
    observations: &'a [O],
    model: &'a Hmm<Categorical>,
    seed: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLabelled<S, O> {
    states: Vec<S>,
    observations: Vec<O>,
    model: Hmm<Categorical>,
    seed: u64,
}

impl<S, O> Serialize for HiddenMarkovModel<S, O>
where
    S: Clone + Eq + Hash + Debug + Serialize,
    O: Clone + Eq + Hash + Debug + Serialize,
{
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let (states, observations) = (self.states(), self.observations());
        RawLabelledRef { states, observations, model: self.model(), seed: self.seed() }.serialize(serializer)
    }
}

impl<'de, S, O> Deserialize<'de> for HiddenMarkovModel<S, O>
where
    S: Clone + Eq + Hash + Debug + Deserialize<'de>,
    O: Clone + Eq + Hash + Debug + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, |raw: RawLabelled<S, O>| {
            Ok(Self::from_model(raw.states, raw.observations, raw.model)?.with_seed(raw.seed))
        })
    }
}

/// `None` stands for a log of 0, which many formats cannot write.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFilterState {
    belief: Vec<f64>,
    log_belief: Option<Vec<Option<f64>>>,
    log_likelihood: f64,
    steps: u64,
}

impl Serialize for FilterState {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let log = |l: &f64| l.is_finite().then_some(*l);
        RawFilterState {
            belief: self.belief().to_vec(),
            log_belief: self.log_belief().map(|logs| logs.iter().map(log).collect()),
            log_likelihood: self.log_likelihood(),
            steps: self.steps(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FilterState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, filter_state)
    }
}

fn filter_state(raw: RawFilterState) -> Result<FilterState> {
    let RawFilterState { mut belief, log_belief, log_likelihood, steps } = raw;
    check_distribution("belief", 0, &mut belief)?;
    if !log_likelihood.is_finite() {
        return Err(Error::NotFinite { what: "log-likelihood" });
    }
    let logs = log_belief.map(|logs| logs.into_iter().map(|l| l.unwrap_or(f64::NEG_INFINITY)).collect::<Vec<_>>());
    if let Some(logs) = &logs {
        if logs.len() != belief.len() {
            let (expected, found) = (belief.len(), logs.len());
            return Err(Error::DimensionMismatch { what: "log belief", expected, found });
        }
        if let Some(at) = logs.iter().position(|l| l.is_nan() || *l > 1e-6) {
            return Err(Error::NotAProbability { what: "log belief", row: 0, col: at, value: logs[at] });
        }
        let sum = log_sum_exp(logs).exp();
        let agree = belief.iter().zip(logs).all(|(p, l)| (p - l.exp()).abs() <= 1e-6);
        if !agree || (sum - 1.0).abs() > 1e-6 {
            return Err(Error::RowSum { what: "log belief", row: 0, sum });
        }
    }
    Ok(FilterState::from_checked(belief, logs, log_likelihood, steps))
}
