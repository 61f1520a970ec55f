//! Packed deltas of `hanzo-bitdelta`, as what a tenant's history adds to the choices of `hanzo-hmm`.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use hanzo_bitdelta::{Granularity, PackedDelta};
use hanzo_hmm::market::TenantAdapter;

/// Sizes of a habit table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HabitShape {
    /// Regimes, as many as the [`MarketMaker`](hanzo_hmm::MarketMaker) has: [`Regime::COUNT`](hanzo_hmm::market::Regime::COUNT) by default.
    pub regimes: usize,
    /// Classes of requests.
    pub classes: usize,
    /// Models of the catalogue.
    pub models: usize,
}

impl HabitShape {
    /// Row of the table for a regime and a class: `regime * classes + class`.
    const fn row(&self, regime: usize, class: usize) -> usize {
        regime * self.classes + class
    }
}

/// Habits of tenants in one bit a cell: for each a [`PackedDelta`] with one row a (regime, class), in the order
/// `regime * classes + class`, and one column a model.
///
/// `adjust` adds `sum over r of posterior[r] * table[r, class]` to the log habits. Nothing is added for a tenant
/// without a table, a class beyond the table, a posterior or catalogue of another length, or a sum that would not be
/// finite.
///
/// ```
/// use hanzo::bitdelta::{Granularity, MatRef, PackOptions, PackedDelta};
/// use hanzo::glue::{HabitShape, TenantHabits};
/// use hanzo::hmm::market::TenantAdapter;
///
/// // Two regimes, one class, three models: in the second regime this tenant prefers the last model.
/// let mut habits = TenantHabits::new(HabitShape { regimes: 2, classes: 1, models: 3 });
/// let table = MatRef::new(&[0.0_f32, 0.0, 0.0, -0.5, -0.5, 0.5], 2, 3)?;
/// let options = PackOptions::new().granularity(Granularity::Row);
/// habits.insert("tenant-42", &PackedDelta::from_delta(table, &options)?)?;
///
/// let mut log_habit = [0.0; 3];
/// habits.adjust("tenant-42", &[0.5, 0.5], 0, &mut log_habit);
/// assert_eq!(log_habit, [-0.25, -0.25, 0.25]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TenantHabits {
    shape: HabitShape,
    tables: BTreeMap<String, Table>,
}

/// A packed delta as it is read here: by rows. 8 bytes for 64 cells, 4 a row; with several planes so many times that.
#[derive(Debug, Clone, PartialEq)]
struct Table {
    planes: Vec<Plane>,
}

#[derive(Debug, Clone, PartialEq)]
struct Plane {
    /// `RowMajor64`.
    words: Vec<u64>,
    /// One a row.
    scales: Vec<f32>,
}

impl TenantHabits {
    /// No tenant has habits yet.
    pub const fn new(shape: HabitShape) -> Self {
        Self { shape, tables: BTreeMap::new() }
    }

    /// The sizes of every table.
    pub const fn shape(&self) -> HabitShape {
        self.shape
    }

    /// Gives a tenant this table, in place of the one it may have. O(cells / 64).
    ///
    /// # Errors
    /// [`HabitError::Rows`] or [`HabitError::Columns`] for a delta of another shape; [`HabitError::Granularity`] unless
    /// it has one scale a row; [`HabitError::NotFinite`] where the planes of a row add up beyond `f32`.
    pub fn insert(&mut self, tenant: impl Into<String>, delta: &PackedDelta) -> Result<(), HabitError> {
        let HabitShape { regimes, classes, models } = self.shape;
        // A shape too large to multiply fits no delta.
        if regimes.checked_mul(classes) != Some(delta.rows()) {
            return Err(HabitError::Rows { regimes, classes, got: delta.rows() });
        }
        if delta.cols() != models {
            return Err(HabitError::Columns { want: models, got: delta.cols() });
        }
        if delta.granularity() != Granularity::Row {
            return Err(HabitError::Granularity { got: delta.granularity() });
        }
        let table = Table::new(delta);
        // No sum of signed scales is larger than the sum of the scales, and rounding keeps that order.
        match (0..delta.rows()).find(|&row| !table.largest(row).is_finite()) {
            Some(row) => Err(HabitError::NotFinite { row }),
            None => {
                self.tables.insert(tenant.into(), table);
                Ok(())
            }
        }
    }

    /// Takes a tenant's table away; whether there was one.
    pub fn remove(&mut self, tenant: &str) -> bool {
        self.tables.remove(tenant).is_some()
    }
}

impl TenantAdapter for TenantHabits {
    fn adjust(&self, tenant: &str, regime: &[f64], class: usize, log_habit: &mut [f64]) {
        let HabitShape { regimes, classes, models } = self.shape;
        let Some(table) = self.tables.get(tenant) else { return };
        if class >= classes || regime.len() != regimes || log_habit.len() != models {
            return;
        }
        let habit = |(model, log_habit): (usize, &f64)| {
            let terms = regime.iter().enumerate();
            let sum: f64 = terms.map(|(r, p)| p * f64::from(table.cell(self.shape.row(r, class), model, models))).sum();
            log_habit + sum
        };
        let adjusted: Vec<f64> = log_habit.iter().enumerate().map(habit).collect();
        if adjusted.iter().all(|habit| habit.is_finite()) {
            log_habit.copy_from_slice(&adjusted);
        }
    }
}

impl Table {
    fn new(delta: &PackedDelta) -> Self {
        let words = delta.to_rowmajor64();
        let size = words.len() / delta.planes();
        let plane = |plane: usize| Plane {
            words: words.iter().skip(plane * size).take(size).copied().collect(),
            scales: delta.scales().iter().skip(plane * delta.rows()).take(delta.rows()).copied().collect(),
        };
        Self { planes: (0..delta.planes()).map(plane).collect() }
    }

    /// A cell of a table with `cols` columns: the value [`PackedDelta::to_dense`] has there.
    fn cell(&self, row: usize, col: usize, cols: usize) -> f32 {
        let signed = |plane: &Plane| {
            let word = plane.words.get(row * cols.div_ceil(64) + col / 64).copied().unwrap_or(0);
            let scale = plane.scales.get(row).copied().unwrap_or(0.0);
            if word >> (col % 64) & 1 == 1 { scale } else { -scale }
        };
        self.planes.iter().map(signed).reduce(|sum, term| sum + term).unwrap_or(0.0)
    }

    /// The largest magnitude a cell of a row can have.
    fn largest(&self, row: usize) -> f32 {
        self.planes.iter().filter_map(|plane| plane.scales.get(row)).sum()
    }
}

/// Why a packed delta is no habit table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HabitError {
    /// The number of rows is not regimes times classes.
    #[error("{got} rows, not {regimes} regimes times {classes} classes")]
    Rows {
        /// Regimes of the shape.
        regimes: usize,
        /// Classes of the shape.
        classes: usize,
        /// Rows of the delta.
        got: usize,
    },
    /// The number of columns is not that of the models.
    #[error("{got} columns, not {want}")]
    Columns {
        /// Models of the shape.
        want: usize,
        /// Columns of the delta.
        got: usize,
    },
    /// The delta does not have one scale a row.
    #[error("scales are shared by {got:?}, not by row")]
    Granularity {
        /// Granularity of the delta.
        got: Granularity,
    },
    /// The planes of a row add up to more than `f32` holds.
    #[error("row {row} is not finite")]
    NotFinite {
        /// The row.
        row: usize,
    },
}
