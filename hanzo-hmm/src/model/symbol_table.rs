//! Emission tables of families with finitely many symbols, in the forms the kernels read.

use crate::kernel::Aligned;
use crate::kernel::arith::{exponent, pow2};
use crate::{Error, Result};

/// The emission probabilities of finitely many symbols, one row of states a symbol, ready for the kernels.
///
/// A family with finitely many symbols gives it from [`Emission::table`](crate::Emission::table), and inference then looks
/// its rows up. Each row is kept twice: as logs, and divided by the power of two of its maximum, which is exact. One
/// more row of ones stands for a missing observation. The probabilities of a state need not add up to 1.
///
/// ```
/// use hanzo_hmm::SymbolTable;
///
/// // Two states, three symbols.
/// let table = SymbolTable::new(&[0.5, 0.25, 0.25, 0.0, 0.5, 0.5], 2, 3)?;
/// assert_eq!((table.n_states(), table.n_symbols()), (2, 3));
/// assert_eq!(table.log_row(1)?, [0.25_f64.ln(), 0.5_f64.ln()]);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SymbolTable {
    n_states: usize,
    scaled: Aligned,
    exponents: Vec<i32>,
    logs: Aligned,
}

impl SymbolTable {
    /// The table of `probabilities`, a row-major `n_states x n_symbols` matrix of finite numbers that are not negative.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyModel`] without states or symbols, [`Error::DimensionMismatch`] for a wrong length,
    /// [`Error::NotAProbability`] for an entry that is negative or not finite.
    pub fn new(probabilities: &[f64], n_states: usize, n_symbols: usize) -> Result<Self> {
        if n_states == 0 || n_symbols == 0 {
            return Err(Error::EmptyModel);
        }
        let what = "emission table";
        if Some(probabilities.len()) != n_states.checked_mul(n_symbols) {
            return Err(Error::DimensionMismatch {
                what,
                expected: n_states.saturating_mul(n_symbols),
                found: probabilities.len(),
            });
        }
        if let Some(at) = probabilities.iter().position(|p| !(p.is_finite() && *p >= 0.0)) {
            let (row, col) = (at / n_symbols, at % n_symbols);
            return Err(Error::NotAProbability { what, row, col, value: probabilities[at] });
        }
        let mut table = Self {
            n_states,
            // The last row, of a missing step, stays as it is here.
            scaled: Aligned::new((n_symbols + 1) * n_states, 1.0),
            exponents: Vec::with_capacity(n_symbols + 1),
            logs: Aligned::new((n_symbols + 1) * n_states, 0.0),
        };
        for symbol in 0..n_symbols {
            let column = probabilities.iter().skip(symbol).step_by(n_symbols).copied();
            let largest = column.clone().fold(0.0, f64::max);
            // A column of zeros stays as it is; so does the scale of subnormal columns beyond 2^1022.
            let shift = if largest > 0.0 { exponent(largest) } else { 0 };
            table.exponents.push(shift);
            let row = symbol * n_states..(symbol + 1) * n_states;
            let places = table.logs[row.clone()].iter_mut().zip(&mut table.scaled[row]);
            for ((log, scaled), p) in places.zip(column) {
                (*log, *scaled) = (p.ln(), p * pow2(-shift));
            }
        }
        table.exponents.push(0);
        Ok(table)
    }

    /// Number of symbols, without the row of ones.
    #[must_use]
    pub fn n_symbols(&self) -> usize {
        self.exponents.len() - 1
    }

    /// Number of states.
    #[must_use]
    pub fn n_states(&self) -> usize {
        self.n_states
    }

    /// Log-probabilities of `symbol` in every state.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObservation`] (position 0) when the symbol is out of range.
    pub fn log_row(&self, symbol: usize) -> Result<&[f64]> {
        if symbol >= self.n_symbols() {
            return Err(Error::UnknownObservation { position: 0 });
        }
        Ok(&self.logs[symbol * self.n_states..][..self.n_states])
    }

    /// Rows of weights: probabilities over `2^exponent` of the row; the last row is a missing step.
    pub(crate) fn scaled(&self) -> &[f64] {
        &self.scaled
    }

    pub(crate) fn exponents(&self) -> &[i32] {
        &self.exponents
    }

    /// Rows of log-probabilities; the last row is a missing step.
    pub(crate) fn logs(&self) -> &[f64] {
        &self.logs
    }
}
