//! The mixture e-process and its boundaries.

use alloc::vec::Vec;

use crate::error::{Error, Result};

/// `E(n, s) = mean over q of (q / p0)^s ((1 - q) / (1 - p0))^(n - s)` with q on the grid `p0 2^i` below 1/2,
/// and 9/10. While each audit of an honest worker is a mismatch with probability at most p0 given the past,
/// `P(sup E >= 1 / a) <= a` (Ville).
///
/// ```
/// use hanzo_poai::EProcess;
///
/// let convicts = EProcess::new(1_000)?.convicts(3_000_000, 4)?; // p0 = 1e-6, level 1 / 3,000,000
/// assert!(!convicts.contains(1, 0), "no mismatch, no conviction");
/// assert!(!convicts.contains(1, 1), "one alone is too little");
/// assert!(convicts.contains(2, 2));
/// assert!(convicts.limit(3) > convicts.limit(2));
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct EProcess {
    /// `(ln(q / p0), ln((1 - q) / (1 - p0)))` by grid point.
    grid: Vec<(f64, f64)>,
}

impl EProcess {
    /// The process of a bound on false mismatches, in parts per billion.
    ///
    /// # Errors
    /// [`Error::InvalidProbability`] for 0 or above 0.1.
    pub fn new(p0_ppb: u32) -> Result<Self> {
        if p0_ppb == 0 || p0_ppb > 100_000_000 {
            return Err(Error::InvalidProbability);
        }
        let p0 = f64::from(p0_ppb) / 1e9;
        let point = |q: f64| (libm::log(q / p0), libm::log1p(-q) - libm::log1p(-p0));
        let doubled = (1..).map(|i| u64::from(p0_ppb) << i).take_while(|ppb| *ppb < 500_000_000);
        let grid = doubled.map(|ppb| point(ppb as f64 / 1e9)).chain([point(0.9)]).collect();
        Ok(Self { grid })
    }

    /// `ln E(n, s)` after `audits` with `mismatches`. `O(log(1 / p0))`.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for more mismatches than audits.
    pub fn ln_e(&self, audits: u64, mismatches: u64) -> Result<f64> {
        let clean = audits.checked_sub(mismatches).ok_or(Error::InvalidField("mismatches"))?;
        Ok(self.ln(clean as f64, mismatches as f64))
    }

    /// Number of grid points.
    pub fn grid_size(&self) -> usize {
        self.grid.len()
    }

    /// The boundary of conviction at level `1 / inverse_level`: after `s` mismatches a worker is convicted
    /// while audits are at most `N_c(s)`.
    ///
    /// # Errors
    /// [`Error::InvalidLevel`] for an inverse level below 2; [`Error::BatchSize`] for no row or more than 4,096.
    pub fn convicts(&self, inverse_level: u64, rows: u32) -> Result<BoundaryTable> {
        if inverse_level < 2 {
            return Err(Error::InvalidLevel);
        }
        self.boundary(libm::log(inverse_level as f64), rows)
    }

    /// The boundary of escalation, `E >= 1/5`.
    ///
    /// # Errors
    /// [`Error::BatchSize`] for no row or more than 4,096.
    pub fn escalates(&self, rows: u32) -> Result<BoundaryTable> {
        self.boundary(-libm::log(5.0), rows)
    }

    fn boundary(&self, ln_threshold: f64, rows: u32) -> Result<BoundaryTable> {
        if rows == 0 || rows > 4_096 {
            return Err(Error::BatchSize { got: rows.into(), max: 4_096 });
        }
        let rows = (1..=u64::from(rows)).map(|s| self.last_at_least(ln_threshold, s)).collect();
        Ok(BoundaryTable { rows })
    }

    /// The largest `n >= s` with `ln E(n, s) >= threshold`, or 0. E falls in n.
    fn last_at_least(&self, threshold: f64, s: u64) -> u64 {
        let holds = |clean: u64| self.ln(clean as f64, s as f64) >= threshold;
        if !holds(0) {
            return 0;
        }
        let (mut low, mut high) = (0u64, 1u64);
        while high < 1 << 52 && holds(high) {
            low = high;
            high <<= 1;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if holds(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        s + low
    }

    fn ln(&self, clean: f64, bad: f64) -> f64 {
        let exponents = || self.grid.iter().map(|(up, down)| bad * up + clean * down);
        let top = exponents().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = exponents().map(|exponent| libm::exp(exponent - top)).sum();
        top + libm::log(sum / self.grid.len() as f64)
    }
}

/// Most audits at which a number of mismatches still counts against a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundaryTable {
    rows: Vec<u64>,
}

impl BoundaryTable {
    pub(super) fn from_rows(rows: &[u64]) -> Self {
        Self { rows: rows.to_vec() }
    }

    /// The boundary for a number of mismatches: 0 for none; past the last row the last row, which is
    /// conservative. One look-up.
    pub fn limit(&self, mismatches: u64) -> u64 {
        let Some(row) = mismatches.checked_sub(1) else { return 0 };
        let row = usize::try_from(row).unwrap_or(usize::MAX).min(self.rows.len().saturating_sub(1));
        self.rows.get(row).copied().unwrap_or(0)
    }

    /// Whether the counts lie on the guilty side: `1 <= mismatches` and `audits <= limit`.
    pub fn contains(&self, audits: u64, mismatches: u64) -> bool {
        mismatches > 0 && audits <= self.limit(mismatches)
    }

    /// The boundaries for 1, 2, ... mismatches.
    pub fn rows(&self) -> &[u64] {
        &self.rows
    }
}
