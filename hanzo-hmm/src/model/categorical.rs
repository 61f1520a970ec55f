//! Categorical emissions: finitely many symbols.

use rand_core::Rng;
use rand_distr::{Distribution, Exp1};

#[cfg(feature = "serde")]
use super::check_counts;
use super::{Emission, Observations, SymbolTable, check_distribution, draw, flatten, normalise_counts, update_row};
use crate::{Error, Result};

/// Each state emits one of `M` symbols, `0..M`, from its own distribution.
///
/// ```
/// use hanzo_hmm::Categorical;
///
/// let dice = Categorical::new(vec![vec![1.0 / 6.0; 6], vec![0.1, 0.1, 0.1, 0.1, 0.1, 0.5]])?;
/// assert_eq!(dice.n_symbols(), 6);
/// assert_eq!(dice.row(1)[5], 0.5);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Categorical {
    n_symbols: usize,
    probabilities: Vec<f64>,
    table: SymbolTable,
}

impl Categorical {
    /// The family with one row of symbol probabilities a state.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyModel`] without states or symbols; [`Error::DimensionMismatch`] for jagged rows;
    /// [`Error::NotAProbability`] and [`Error::RowSum`] for a row that is not a distribution. A sum off by at most 1e-6
    /// is normalised, one off by rounding alone is left as it is.
    pub fn new(rows: Vec<Vec<f64>>) -> Result<Self> {
        let n_symbols = rows.first().map_or(0, Vec::len);
        if n_symbols == 0 {
            return Err(Error::EmptyModel);
        }
        let mut probabilities = flatten(WHAT, rows, n_symbols)?;
        for (i, row) in probabilities.chunks_exact_mut(n_symbols).enumerate() {
            check_distribution(WHAT, i, row)?;
        }
        Self::from_checked(probabilities, n_symbols)
    }

    /// Number of symbols.
    #[must_use]
    pub fn n_symbols(&self) -> usize {
        self.n_symbols
    }

    /// The symbol probabilities, row-major `S x M`.
    #[must_use]
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// The symbol probabilities of `state`, empty when there is no such state.
    #[must_use]
    pub fn row(&self, state: usize) -> &[f64] {
        self.probabilities.chunks_exact(self.n_symbols).nth(state).unwrap_or_default()
    }

    fn from_checked(probabilities: Vec<f64>, n_symbols: usize) -> Result<Self> {
        let table = SymbolTable::new(&probabilities, probabilities.len() / n_symbols, n_symbols)?;
        Ok(Self { n_symbols, probabilities, table })
    }
}

impl Emission for Categorical {
    type Obs<'a> = usize;
    type Owned = usize;
    type Stats = CategoricalStats;
    type Prior = CategoricalPrior;

    fn n_states(&self) -> usize {
        self.table.n_states()
    }

    #[inline]
    fn check(&self, o: usize, position: usize, _partial: bool) -> Result<()> {
        if o < self.n_symbols { Ok(()) } else { Err(Error::UnknownObservation { position }) }
    }

    fn log_prob_into(&self, o: usize, out: &mut [f64]) {
        match self.table.log_row(o) {
            Ok(row) => out.copy_from_slice(row),
            Err(_) => out.fill(f64::NEG_INFINITY),
        }
    }

    fn table(&self) -> Option<&SymbolTable> {
        Some(&self.table)
    }

    fn symbol(&self, o: usize) -> usize {
        o
    }

    fn sample<R: Rng + ?Sized>(&self, state: usize, rng: &mut R) -> usize {
        draw(self.row(state), rng)
    }

    fn mid_cdf_into(&self, o: usize, out: &mut [f64]) -> bool {
        for (out, row) in out.iter_mut().zip(self.probabilities.chunks_exact(self.n_symbols)) {
            let below: f64 = row.iter().take(o).sum();
            *out = below + 0.5 * row.get(o).copied().unwrap_or(0.0);
        }
        true
    }

    /// A draw from the flat Dirichlet distribution over the symbols that are not impossible.
    fn randomise<'a, Q, R>(&mut self, _sequences: &[Q], rng: &mut R) -> Result<()>
    where
        Q: Observations<Self::Obs<'a>>,
        R: Rng + ?Sized,
    {
        let mut probabilities = self.probabilities.clone();
        for row in probabilities.chunks_exact_mut(self.n_symbols) {
            let counts: Vec<f64> = row.iter().map(|_| Exp1.sample(rng)).collect();
            normalise_counts(row, &counts, 0.0);
        }
        *self = Self::from_checked(probabilities, self.n_symbols)?;
        Ok(())
    }

    fn new_stats(&self) -> CategoricalStats {
        CategoricalStats { n_states: self.n_states(), counts: vec![0.0; self.probabilities.len()] }
    }

    fn fits(&self, stats: &CategoricalStats) -> bool {
        stats.n_states == self.n_states()
            && stats.counts.len() == self.probabilities.len()
            && stats.counts.iter().all(|count| count.is_finite() && *count >= 0.0)
    }

    fn accumulate(&self, stats: &mut CategoricalStats, o: usize, gamma: &[f64]) {
        if let Some(counts) = stats.counts.get_mut(o * stats.n_states..(o + 1) * stats.n_states) {
            for (count, g) in counts.iter_mut().zip(gamma) {
                *count += g;
            }
        }
    }

    fn accumulate_run(&self, stats: &mut CategoricalStats, run: &[Option<usize>], gamma: &[f64]) {
        match stats.n_states {
            2 => stats.add::<2>(run, gamma),
            3 => stats.add::<3>(run, gamma),
            4 => stats.add::<4>(run, gamma),
            8 => stats.add::<8>(run, gamma),
            16 => stats.add::<16>(run, gamma),
            n => {
                for (o, gamma) in run.iter().zip(gamma.chunks_exact(n)) {
                    if let Some(o) = *o {
                        self.accumulate(stats, o, gamma);
                    }
                }
            }
        }
    }

    fn merge(into: &mut CategoricalStats, from: &CategoricalStats) {
        for (a, b) in into.counts.iter_mut().zip(&from.counts) {
            *a += b;
        }
    }

    fn scale(stats: &mut CategoricalStats, factor: f64) {
        stats.counts.iter_mut().for_each(|count| *count *= factor);
    }

    fn pseudocount(pseudocount: f64) -> CategoricalPrior {
        CategoricalPrior { pseudocount, everywhere: false }
    }

    fn maximize(&mut self, stats: &CategoricalStats, prior: &CategoricalPrior) -> Result<bool> {
        let mut probabilities = self.probabilities.clone();
        let mut counts = vec![0.0; self.n_symbols];
        for (i, row) in probabilities.chunks_exact_mut(self.n_symbols).enumerate() {
            for (count, column) in counts.iter_mut().zip(stats.counts.chunks_exact(stats.n_states)) {
                *count = column[i];
            }
            update_row(row, &counts, prior.pseudocount, prior.everywhere, None);
        }
        *self = Self::from_checked(probabilities, self.n_symbols)?;
        Ok(false)
    }

    fn log_prior(&self, prior: &CategoricalPrior) -> f64 {
        if prior.pseudocount == 0.0 {
            return 0.0;
        }
        let counted = self.probabilities.iter().filter(|p| prior.everywhere || **p > 0.0);
        prior.pseudocount * counted.map(|p| p.ln()).sum::<f64>()
    }

    fn n_free_parameters(&self) -> usize {
        let free = |row: &[f64]| row.iter().filter(|p| **p > 0.0).count().saturating_sub(1);
        self.probabilities.chunks_exact(self.n_symbols).map(free).sum()
    }
}

/// Expected symbol counts of every state, for [`Categorical`] to read.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct CategoricalStats {
    n_states: usize,
    /// `M x S`, so that one observation touches neighbours.
    counts: Vec<f64>,
}

#[cfg(feature = "serde")]
crate::raw::checked_on_load!(CategoricalStats { n_states: usize, counts: Vec<f64> });

impl CategoricalStats {
    #[cfg(feature = "serde")]
    fn check(&self) -> Result<()> {
        if self.n_states == 0 || !self.counts.len().is_multiple_of(self.n_states) {
            let (expected, found) = (self.n_states, self.counts.len());
            return Err(Error::DimensionMismatch { what: "symbol counts", expected, found });
        }
        check_counts("symbol counts", &self.counts)
    }

    fn add<const S: usize>(&mut self, run: &[Option<usize>], gamma: &[f64]) {
        let counts = self.counts.as_chunks_mut::<S>().0;
        for (o, gamma) in run.iter().zip(gamma.as_chunks::<S>().0) {
            if let Some(counts) = o.and_then(|o| counts.get_mut(o)) {
                for s in 0..S {
                    counts[s] += gamma[s];
                }
            }
        }
    }
}

/// A symmetric Dirichlet prior on every row: `pseudocount` is added to the expected count of each symbol whose
/// probability is not zero. The default, 0, is maximum likelihood.
///
/// ```
/// use hanzo_hmm::{BaumWelch, Categorical, CategoricalPrior, Hmm, Initial, Transitions};
///
/// let mut hmm = Hmm::new(
///     Initial::Free(vec![1.0]),
///     Transitions::new(vec![vec![1.0]])?,
///     Categorical::new(vec![vec![0.5, 0.5, 0.0]])?,
/// )?;
/// BaumWelch::new().emission_prior(CategoricalPrior::new(1.0)?).fit(&mut hmm, &[[0, 0, 0]])?;
/// assert_eq!(hmm.emission().row(0), [0.8, 0.2, 0.0]); // 3 + 1 and 0 + 1; the impossible symbol stays so
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CategoricalPrior {
    pseudocount: f64,
    everywhere: bool,
}

impl CategoricalPrior {
    /// The prior with this pseudocount.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] when it is negative or not finite.
    pub fn new(pseudocount: f64) -> Result<Self> {
        if !(pseudocount.is_finite() && pseudocount >= 0.0) {
            return Err(Error::InvalidOption { name: "pseudocount" });
        }
        Ok(Self { pseudocount, everywhere: false })
    }

    /// The same for every symbol: structural zeros come alive, too.
    #[must_use]
    pub fn everywhere(self) -> Self {
        Self { everywhere: true, ..self }
    }
}

const WHAT: &str = "emissions";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_a_distribution() {
        assert_eq!(Categorical::new(vec![]), Err(Error::EmptyModel));
        assert_eq!(Categorical::new(vec![vec![]]), Err(Error::EmptyModel));
        assert!(matches!(
            Categorical::new(vec![vec![1.0, 0.0], vec![1.0]]),
            Err(Error::DimensionMismatch { expected: 2, found: 1, .. })
        ));
        assert!(matches!(Categorical::new(vec![vec![1.5, -0.5]]), Err(Error::NotAProbability { row: 0, col: 1, .. })));
        assert!(matches!(Categorical::new(vec![vec![0.5, 0.4]]), Err(Error::RowSum { row: 0, .. })));
    }

    #[test]
    fn pseudocounts_touch_only_possible_symbols() {
        let mut family = Categorical::new(vec![vec![0.5, 0.5, 0.0]]).unwrap();
        let mut stats = family.new_stats();
        family.accumulate(&mut stats, 0, &[3.0]);
        let prior = CategoricalPrior::new(1.0).unwrap();
        assert!(!family.maximize(&stats, &prior).unwrap());
        assert_eq!(family.row(0), [0.8, 0.2, 0.0]);
        assert_eq!(family.n_free_parameters(), 1);
        assert!((family.log_prior(&prior) - (0.8_f64 * 0.2).ln()).abs() < 1e-15);
    }
}
