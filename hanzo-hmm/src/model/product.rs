//! Several emission families at once.

use std::marker::PhantomData;

use rand_core::Rng;

use super::{Emission, Labels, Observations};
use crate::{Error, Result};

/// Two families whose observations are independent given the state, such as a latency and a count of errors.
///
/// An observation is a pair, either side of which may be missing. Products of products hold more than two.
///
/// ```
/// use hanzo_hmm::{GaussianDiag, Hmm, Initial, Pairs, Poisson, Product, Rows, Transitions};
///
/// let hmm = Hmm::new(
///     Initial::Free(vec![0.5, 0.5]),
///     Transitions::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]])?,
///     Product::new(
///         GaussianDiag::new(vec![vec![120.0], vec![900.0]], vec![vec![400.0], vec![90_000.0]])?,
///         Poisson::new(vec![vec![0.1], vec![4.0]])?,
///     )?,
/// )?;
/// let (latency, errors) = ([118.0, 131.0, 140.0, 700.0], [0, 0, 5, 6]);
/// let steps = Pairs::new(Rows::new(&latency, 1)?, Rows::new(&errors, 1)?);
/// assert_eq!(hmm.viterbi(steps)?.states, [0, 0, 1, 1]);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Product<A, B> {
    first: A,
    second: B,
}

impl<A: Emission, B: Emission> Product<A, B> {
    /// The product of two families.
    ///
    /// # Errors
    ///
    /// [`Error::DimensionMismatch`] when they disagree on the number of states.
    pub fn new(first: A, second: B) -> Result<Self> {
        if first.n_states() != second.n_states() {
            let (expected, found) = (first.n_states(), second.n_states());
            return Err(Error::DimensionMismatch { what: "emission states", expected, found });
        }
        Ok(Self { first, second })
    }

    /// The first family.
    #[must_use]
    pub fn first(&self) -> &A {
        &self.first
    }

    /// The second family.
    #[must_use]
    pub fn second(&self) -> &B {
        &self.second
    }
}

impl<A: Emission + Clone, B: Emission + Clone> Emission for Product<A, B> {
    type Obs<'a> = (Option<A::Obs<'a>>, Option<B::Obs<'a>>);
    type Owned = (A::Owned, B::Owned);
    type Stats = (A::Stats, B::Stats);
    type Prior = (A::Prior, B::Prior);

    fn n_states(&self) -> usize {
        self.first.n_states()
    }

    fn check(&self, o: Self::Obs<'_>, position: usize, partial: bool) -> Result<()> {
        o.0.map_or(Ok(()), |o| self.first.check(o, position, partial))?;
        o.1.map_or(Ok(()), |o| self.second.check(o, position, partial))
    }

    fn log_prob_into(&self, o: Self::Obs<'_>, out: &mut [f64]) {
        match o.0 {
            Some(o) => self.first.log_prob_into(o, out),
            None => out.fill(0.0),
        }
        let Some(o) = o.1 else { return };
        let mut add = |scratch: &mut [f64]| {
            self.second.log_prob_into(o, scratch);
            out.iter_mut().zip(scratch).for_each(|(out, l)| *out += *l);
        };
        let mut small = [0.0; 64];
        match small.get_mut(..self.n_states()) {
            Some(scratch) => add(scratch),
            None => add(&mut vec![0.0; self.n_states()]),
        }
    }

    fn sample<R: Rng + ?Sized>(&self, state: usize, rng: &mut R) -> Self::Owned {
        (self.first.sample(state, rng), self.second.sample(state, rng))
    }

    fn randomise<'a, Q, R>(&mut self, sequences: &[Q], rng: &mut R) -> Result<()>
    where
        Q: Observations<Self::Obs<'a>>,
        R: Rng + ?Sized,
    {
        let (mut first, mut second) = (self.first.clone(), self.second.clone());
        let left: Vec<First<'_, Q, B::Obs<'a>>> = sequences.iter().map(|q| First(q, PhantomData)).collect();
        first.randomise(&left, rng)?;
        let right: Vec<Second<'_, Q, A::Obs<'a>>> = sequences.iter().map(|q| Second(q, PhantomData)).collect();
        second.randomise(&right, rng)?;
        *self = Self { first, second };
        Ok(())
    }

    fn new_stats(&self) -> Self::Stats {
        (self.first.new_stats(), self.second.new_stats())
    }

    fn fits(&self, stats: &Self::Stats) -> bool {
        self.first.fits(&stats.0) && self.second.fits(&stats.1)
    }

    fn accumulate(&self, stats: &mut Self::Stats, o: Self::Obs<'_>, gamma: &[f64]) {
        if let Some(o) = o.0 {
            self.first.accumulate(&mut stats.0, o, gamma);
        }
        if let Some(o) = o.1 {
            self.second.accumulate(&mut stats.1, o, gamma);
        }
    }

    fn accumulate_run(&self, stats: &mut Self::Stats, run: &[Option<Self::Obs<'_>>], gamma: &[f64]) {
        let first: Vec<_> = run.iter().map(|o| o.and_then(|o| o.0)).collect();
        self.first.accumulate_run(&mut stats.0, &first, gamma);
        let second: Vec<_> = run.iter().map(|o| o.and_then(|o| o.1)).collect();
        self.second.accumulate_run(&mut stats.1, &second, gamma);
    }

    fn merge(into: &mut Self::Stats, from: &Self::Stats) {
        A::merge(&mut into.0, &from.0);
        B::merge(&mut into.1, &from.1);
    }

    fn scale(stats: &mut Self::Stats, factor: f64) {
        A::scale(&mut stats.0, factor);
        B::scale(&mut stats.1, factor);
    }

    fn maximize(&mut self, stats: &Self::Stats, prior: &Self::Prior) -> Result<bool> {
        let (mut first, mut second) = (self.first.clone(), self.second.clone());
        let floored = first.maximize(&stats.0, &prior.0)? | second.maximize(&stats.1, &prior.1)?;
        *self = Self { first, second };
        Ok(floored)
    }

    fn pseudocount(pseudocount: f64) -> Self::Prior {
        (A::pseudocount(pseudocount), B::pseudocount(pseudocount))
    }

    fn log_prior(&self, prior: &Self::Prior) -> f64 {
        self.first.log_prior(&prior.0) + self.second.log_prior(&prior.1)
    }

    fn n_free_parameters(&self) -> usize {
        self.first.n_free_parameters() + self.second.n_free_parameters()
    }
}

/// Two sequences side by side, for a [`Product`]. A step is missing where both are; labels come from the first that
/// has some.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pairs<P, Q> {
    first: P,
    second: Q,
}

impl<P, Q> Pairs<P, Q> {
    /// The two sequences; the shorter one counts as missing beyond its end.
    #[must_use]
    pub fn new(first: P, second: Q) -> Self {
        Self { first, second }
    }
}

impl<A, B, P, Q> Observations<(Option<A>, Option<B>)> for Pairs<P, Q>
where
    P: Observations<A>,
    Q: Observations<B>,
{
    fn len(&self) -> usize {
        self.first.len().max(self.second.len())
    }

    fn get(&self, t: usize) -> Option<(Option<A>, Option<B>)> {
        let first = if t < self.first.len() { self.first.get(t) } else { None };
        let second = if t < self.second.len() { self.second.get(t) } else { None };
        (first.is_some() || second.is_some()).then_some((first, second))
    }

    fn is_partial(&self) -> bool {
        self.first.is_partial() || self.second.is_partial()
    }

    fn labels(&self) -> Option<&Labels> {
        self.first.labels().or_else(|| self.second.labels())
    }
}

/// The first side of a sequence of pairs.
struct First<'q, Q, B>(&'q Q, PhantomData<fn() -> B>);

impl<A, B, Q: Observations<(Option<A>, Option<B>)>> Observations<A> for First<'_, Q, B> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, t: usize) -> Option<A> {
        self.0.get(t).and_then(|pair| pair.0)
    }
}

/// The second side of a sequence of pairs.
struct Second<'q, Q, A>(&'q Q, PhantomData<fn() -> A>);

impl<A, B, Q: Observations<(Option<A>, Option<B>)>> Observations<B> for Second<'_, Q, A> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, t: usize) -> Option<B> {
        self.0.get(t).and_then(|pair| pair.1)
    }
}
