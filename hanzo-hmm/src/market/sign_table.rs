//! Tenants' habits at one bit a cell.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::adapter::TenantAdapter;
use super::regime::Regime;
use super::shelf::Shelf;
use super::snapshot::{self, Reader, Writer, bad};
use crate::{Error, Result};

/// What each tenant has come to prefer, as a sign and a size: one bit a (regime, class, model) and one `f32` a (regime, class).
///
/// A row's size is the mean of the absolute log habits it stands for, which is the least-squares choice for fixed signs; 0 means "no
/// change", as for a tenant never seen. The tenants used last are held in full precision and learn there; a
/// tenant that has to leave them is packed, and unpacked when it learns again. No tenant is ever forgotten: a packed one takes
/// [`packed_bytes`](Self::packed_bytes) (312 with 4 regimes, 12 classes and 20 models), its name and some 30 bytes.
///
/// As an adapter of a market maker it learns from every recorded score: the tenant's habit for the chosen model moves a
/// fiftieth of the way to 20 nats times how much better the answer was than expected (guesses; [`learning`](Self::learning) sets them). Give it the
/// numbers of regimes and models of the market maker: a table of another number of models changes nothing there, and regimes or classes that it
/// does not have get no habits. It is not part of a market maker's snapshot: take its [own](Self::snapshot).
///
/// ```
/// use hanzo_hmm::market::{SignTable, TenantAdapter};
///
/// let table = SignTable::new(2, 3, 100)?;
/// table.learn("tenant-42", 1, 0, &[0.4, -0.2, -0.2])?;
/// let mut habit = [0.0; 3];
/// table.adjust("tenant-42", &[0.0, 1.0, 0.0, 0.0], 0, &mut habit);
/// assert!(habit[0] > 0.0 && habit[1] < 0.0);
/// table.adjust("someone else", &[0.0, 1.0, 0.0, 0.0], 0, &mut habit); // changes nothing
/// assert!((habit[0] - 0.4).abs() < 1e-6);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug)]
pub struct SignTable {
    regimes: usize,
    classes: usize,
    models: usize,
    cached: usize,
    rate: f64,
    nats: f64,
    tenants: Mutex<Tenants>,
}

#[derive(Debug)]
struct Tenants {
    open: HashMap<String, (u64, Vec<f32>)>,
    packed: Shelf,
    clock: u64,
}

impl SignTable {
    /// A table for the four named regimes, `classes` classes of requests and `models` models that keeps the last `cached` tenants in full precision.
    ///
    /// # Errors
    /// `InvalidConfig` for a count of 0 or more than 2^20 cells a tenant.
    pub fn new(classes: usize, models: usize, cached: usize) -> Result<Self> {
        Self::with_regimes(Regime::COUNT, classes, models, cached)
    }

    /// The same for another number of regimes.
    ///
    /// # Errors
    /// `InvalidConfig` for a count of 0 or more than 2^20 cells a tenant.
    pub fn with_regimes(regimes: usize, classes: usize, models: usize, cached: usize) -> Result<Self> {
        let cells = classes.checked_mul(models).and_then(|n| n.checked_mul(regimes));
        if cached == 0 || !cells.is_some_and(|n| (1..=1 << 20).contains(&n)) {
            return Err(Error::InvalidConfig { field: "sign_table" });
        }
        let rows = regimes * classes;
        let packed = Shelf::new((rows * models).div_ceil(8) + rows * size_of::<f32>());
        let tenants = Tenants { open: HashMap::new(), packed, clock: 0 };
        Ok(Self { regimes, classes, models, cached, rate: RATE, nats: NATS, tenants: Mutex::new(tenants) })
    }

    /// How recorded scores change habits: `rate` in [0, 1] of the way to `nats` in [0, 1000] a unit of surprise, held in [-8, 8]. A rate of 0 leaves
    /// habits to [`learn`](Self::learn) alone.
    ///
    /// # Errors
    /// `InvalidConfig` for numbers outside these ranges.
    ///
    /// ```
    /// use hanzo_hmm::market::{SignTable, TenantAdapter};
    ///
    /// let table = SignTable::new(1, 2, 100)?.learning(0.1, 20.0)?;
    /// for _ in 0..50 {
    ///     table.learn_outcome("tenant-42", &[1.0, 0.0, 0.0, 0.0], 0, 1, 0.2); // model 1 serves this tenant better than others
    /// }
    /// let mut habit = [0.0; 2];
    /// table.adjust("tenant-42", &[1.0, 0.0, 0.0, 0.0], 0, &mut habit);
    /// assert!(habit[0] == 0.0 && (habit[1] - 4.0).abs() < 0.1);
    /// # Ok::<(), hanzo_hmm::Error>(())
    /// ```
    pub fn learning(self, rate: f64, nats: f64) -> Result<Self> {
        if !((0.0..=1.0).contains(&rate) && (0.0..=1_000.0).contains(&nats)) {
            return Err(Error::InvalidConfig { field: "sign_table" });
        }
        Ok(Self { rate, nats, ..self })
    }

    /// Adds to the log habits of a tenant in one regime (its [place](Regime::index)) and class, one entry a model. Each habit stays in [-8, 8].
    ///
    /// # Errors
    /// `OutOfRange` for an unknown regime or class, `DimensionMismatch`, `NotFinite`, `TenantLimit` for a name over 256 bytes.
    pub fn learn(&self, tenant: &str, regime: usize, class: usize, change: &[f64]) -> Result<()> {
        if regime >= self.regimes || class >= self.classes {
            return Err(Error::OutOfRange { what: "regime or class" });
        }
        super::hamiltonian::same_length("habit", self.models, change)?;
        super::hamiltonian::all_finite("habit", change)?;
        if tenant.len() > MAX_TENANT_BYTES {
            return Err(Error::TenantLimit);
        }
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let row = (regime * self.classes + class) * self.models;
        let table = self.open(&mut tenants, tenant);
        for (cell, d) in table[row..row + self.models].iter_mut().zip(change) {
            *cell = (f64::from(*cell) + d).clamp(-LARGEST, LARGEST) as f32;
        }
        Ok(())
    }

    /// All that the table is and has learned, as bytes; the same calls before give the same bytes. Take it when you take the market maker's.
    ///
    /// ```
    /// use hanzo_hmm::market::SignTable;
    ///
    /// let table = SignTable::new(1, 2, 100)?;
    /// table.learn("tenant-42", 1, 0, &[0.4, -0.2])?;
    /// let again = SignTable::restore(&table.snapshot())?;
    /// assert_eq!(again.snapshot(), table.snapshot());
    /// # Ok::<(), hanzo_hmm::Error>(())
    /// ```
    pub fn snapshot(&self) -> Vec<u8> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let mut w = Writer::new(snapshot::SIGN_TABLE);
        [self.regimes, self.classes, self.models, self.cached].iter().for_each(|&n| w.u64(n as u64));
        w.f64s(&[self.rate, self.nats]);
        let mut open: Vec<_> = tenants.open.iter().collect();
        open.sort_unstable_by_key(|(_, (used, _))| *used);
        w.u64(open.len() as u64);
        for (name, (_, table)) in open {
            w.bytes(name.as_bytes());
            w.floats(table);
        }
        let mut packed: Vec<_> = tenants.packed.iter().filter(|(name, _)| !tenants.open.contains_key(*name)).collect();
        packed.sort_unstable();
        w.u64(packed.len() as u64);
        for (name, table) in packed {
            w.bytes(name.as_bytes());
            w.bytes(table);
        }
        w.finish()
    }

    /// The table of a [`snapshot`](Self::snapshot). Takes memory in proportion to the bytes.
    ///
    /// # Errors
    /// `BadSnapshot` for bytes that no snapshot has.
    pub fn restore(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(snapshot::SIGN_TABLE, bytes)?;
        let mut size = || r.index(usize::MAX);
        let (regimes, classes, models, cached) = (size()?, size()?, size()?, size()?);
        let (rate, nats) = (r.f64()?, r.f64()?);
        let table = Self::with_regimes(regimes, classes, models, cached).and_then(|table| table.learning(rate, nats));
        let mut table = table.or_else(|_| bad("sign table"))?;
        let cells = regimes * classes * models;
        let (rows, length) = (regimes * classes, table.packed_bytes());
        let tenants = table.tenants.get_mut().unwrap_or_else(PoisonError::into_inner);
        tenants.clock = r.count(16)? as u64;
        for used in 1..=tenants.clock {
            let (name, values) = (name(&mut r)?, r.floats(cells)?);
            if values.len() != cells || values.iter().any(|v| f64::from(v.abs()) > LARGEST) {
                return bad("habits");
            }
            if tenants.open.insert(name.to_owned(), (used, values)).is_some() {
                return bad("tenant");
            }
        }
        if tenants.open.len() > cached {
            return bad("tenants");
        }
        let mut last = None;
        for _ in 0..r.count(16)? {
            let (name, packed) = (name(&mut r)?, r.bytes()?);
            if tenants.open.contains_key(name) || last.replace(name).is_some_and(|last| last >= name) {
                return bad("tenant");
            }
            let sizes = packed.as_chunks::<4>().0.iter().take(rows).map(|bytes| f32::from_le_bytes(*bytes));
            let unused = packed.last().is_some_and(|last| !cells.is_multiple_of(8) && last >> (cells % 8) != 0);
            if packed.len() != length || unused || !sizes.map(f64::from).all(|size| (0.0..=LARGEST).contains(&size)) {
                return bad("habits");
            }
            tenants.packed.place(name).copy_from_slice(packed);
        }
        r.finish()?;
        Ok(table)
    }

    /// Tenants known, and how many of them are packed.
    pub fn tenants(&self) -> (usize, usize) {
        let t = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let away = t.packed.len() - t.open.keys().filter(|name| t.packed.get(name).is_some()).count();
        (t.open.len() + away, away)
    }

    /// Bytes of tables that a packed tenant takes, its name and the map's own not counted.
    pub fn packed_bytes(&self) -> usize {
        let rows = self.regimes * self.classes;
        (rows * self.models).div_ceil(8) + rows * size_of::<f32>()
    }

    /// The full-precision table of a tenant, which is unpacked or made for it; the tenant used longest ago makes room.
    fn open<'a>(&self, tenants: &'a mut Tenants, tenant: &str) -> &'a mut [f32] {
        tenants.clock += 1;
        let now = tenants.clock;
        if !tenants.open.contains_key(tenant) {
            if tenants.open.len() >= self.cached {
                let oldest = tenants.open.iter().min_by_key(|(_, (used, _))| *used).map(|(name, _)| name.clone());
                if let Some((name, (_, table))) = oldest.and_then(|name| tenants.open.remove_entry(&name)) {
                    self.pack(&table, tenants.packed.place(&name));
                }
            }
            let table = match tenants.packed.get(tenant) {
                Some(packed) => self.unpack(packed),
                None => vec![0.0; self.regimes * self.classes * self.models],
            };
            tenants.open.insert(tenant.to_owned(), (now, table));
        }
        let entry = tenants.open.entry(tenant.to_owned()).or_default();
        entry.0 = now;
        &mut entry.1
    }

    /// Writes the mean size of every row, then one bit a cell.
    fn pack(&self, table: &[f32], out: &mut [u8]) {
        let (sizes, signs) = out.split_at_mut(table.len() / self.models * size_of::<f32>());
        for (bytes, row) in sizes.as_chunks_mut::<4>().0.iter_mut().zip(table.chunks_exact(self.models)) {
            *bytes = (row.iter().map(|v| v.abs()).sum::<f32>() / self.models as f32).to_le_bytes();
        }
        signs.fill(0);
        for (i, v) in table.iter().enumerate() {
            signs[i / 8] |= u8::from(*v > 0.0) << (i % 8);
        }
    }

    fn unpack(&self, packed: &[u8]) -> Vec<f32> {
        (0..self.regimes * self.classes * self.models).map(|cell| self.value(packed, cell)).collect()
    }

    fn value(&self, packed: &[u8], cell: usize) -> f32 {
        let (sizes, signs) = packed.split_at(self.regimes * self.classes * size_of::<f32>());
        let size = f32::from_le_bytes(sizes.as_chunks::<4>().0[cell / self.models]);
        if signs[cell / 8] >> (cell % 8) & 1 == 1 { size } else { -size }
    }
}

impl TenantAdapter for SignTable {
    /// The tenant's rows of this class, weighted by the regime posterior. An unknown class or tenant changes nothing.
    fn adjust(&self, tenant: &str, regime: &[f64], class: usize, log_habit: &mut [f64]) {
        if class >= self.classes || log_habit.len() != self.models {
            return;
        }
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let read: &dyn Fn(usize) -> f32 = match (tenants.open.get(tenant), tenants.packed.get(tenant)) {
            (Some((_, table)), _) => &|i| table[i],
            (None, Some(packed)) => &|i| self.value(packed, i),
            (None, None) => return,
        };
        for (r, &q) in regime.iter().enumerate().take(self.regimes).filter(|(_, q)| **q > 0.0) {
            let row = (r * self.classes + class) * self.models;
            for (u, habit) in log_habit.iter_mut().enumerate() {
                *habit += q * f64::from(read(row + u));
            }
        }
    }

    /// Rows learn as far as their regime is likely.
    fn learn_outcome(&self, tenant: &str, regime: &[f64], class: usize, model: usize, surprise: f64) {
        let known = class < self.classes && model < self.models && tenant.len() <= MAX_TENANT_BYTES;
        if !known || self.rate == 0.0 || !surprise.is_finite() {
            return;
        }
        let wanted = (self.nats * surprise).clamp(-LARGEST, LARGEST);
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let table = self.open(&mut tenants, tenant);
        for (r, q) in regime.iter().enumerate().take(self.regimes) {
            let cell = &mut table[(r * self.classes + class) * self.models + model];
            let old = f64::from(*cell);
            *cell = (old + self.rate * q.clamp(0.0, 1.0) * (wanted - old)) as f32;
        }
    }
}

/// A tenant's name.
fn name<'a>(r: &mut Reader<'a>) -> Result<&'a str> {
    let name = std::str::from_utf8(r.bytes()?).ok().filter(|name| name.len() <= MAX_TENANT_BYTES);
    name.map_or_else(|| bad("tenant"), Ok)
}

const LARGEST: f64 = 8.0;
const RATE: f64 = 0.02;
const NATS: f64 = 20.0;
const MAX_TENANT_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_row_is_the_least_squares_fit_of_its_signs() {
        let table = SignTable::new(1, 4, 1).unwrap();
        table.learn("a", 0, 0, &[0.5, -0.1, 0.3, -0.3]).unwrap();
        table.learn("b", 0, 0, &[1.0, 1.0, 1.0, 1.0]).unwrap(); // packs a
        assert_eq!(table.tenants(), (2, 1));
        let mut habit = [0.0; 4];
        table.adjust("a", &[1.0, 0.0, 0.0, 0.0], 0, &mut habit);
        for (found, wanted) in habit.iter().zip([0.3, -0.3, 0.3, -0.3]) {
            assert!((found - wanted).abs() < 1e-6);
        }
        // Another regime has not changed.
        let mut other = [0.0; 4];
        table.adjust("a", &[0.0, 1.0, 0.0, 0.0], 0, &mut other);
        assert_eq!(other, [0.0; 4]);
    }

    #[test]
    fn two_regimes_or_five_keep_apart() {
        for regimes in [2, 5] {
            let table = SignTable::with_regimes(regimes, 2, 3, 1).unwrap();
            assert_eq!(table.packed_bytes(), (regimes * 6).div_ceil(8) + regimes * 8);
            let last = regimes - 1;
            table.learn("a", last, 1, &[0.4, -0.4, 0.4]).unwrap();
            assert!(table.learn("a", regimes, 1, &[0.4; 3]).is_err());
            table.learn("b", 0, 0, &[1.0; 3]).unwrap(); // packs a
            for (r, wanted) in [(0, 0.0), (last, 0.4)] {
                let mut posterior = vec![0.0; regimes];
                posterior[r] = 1.0;
                let mut habit = [0.0; 3];
                table.adjust("a", &posterior, 1, &mut habit);
                assert!((habit[0] - wanted).abs() < 1e-6 && (habit[1] + wanted).abs() < 1e-6);
            }
        }
        assert!(SignTable::with_regimes(0, 1, 1, 1).is_err());
    }

    #[test]
    fn the_stated_size_of_a_tenant() {
        assert_eq!(SignTable::new(12, 20, 100).unwrap().packed_bytes(), 312);
    }

    #[test]
    fn outcomes_move_the_rows_of_likely_regimes() {
        let table = SignTable::with_regimes(2, 2, 3, 10).unwrap().learning(0.5, 10.0).unwrap();
        table.learn_outcome("a", &[1.0, 0.0], 1, 2, 0.4);
        table.learn_outcome("a", &[0.5, 0.5], 1, 2, -1.0);
        let habit = |regime: &[f64; 2]| {
            let mut habit = [0.0; 3];
            table.adjust("a", regime, 1, &mut habit);
            habit
        };
        // 0 -> 2 -> 2 + 0.25 (-8 - 2), and 0 -> 0.25 * -8.
        assert_eq!((habit(&[1.0, 0.0]), habit(&[0.0, 1.0])), ([0.0, 0.0, -0.5], [0.0, 0.0, -2.0]));
        table.learn_outcome("b", &[1.0, 0.0], 2, 0, 1.0);
        table.learn_outcome("b", &[1.0, 0.0], 0, 3, 1.0);
        table.learn_outcome("b", &[1.0, 0.0], 0, 0, f64::NAN);
        assert_eq!(table.tenants(), (1, 0), "nothing was learned of b");
        for (rate, nats) in [(-0.1, 1.0), (1.1, 1.0), (0.5, f64::NAN), (0.5, 1e4)] {
            assert!(SignTable::new(1, 1, 1).unwrap().learning(rate, nats).is_err());
        }
    }

    #[test]
    fn a_restored_table_goes_on_as_if_nothing_had_been() {
        let table = SignTable::with_regimes(3, 2, 5, 2).unwrap().learning(0.1, 10.0).unwrap();
        let teach = |table: &SignTable, from: u32, to: u32| {
            for i in from..to {
                let name = format!("tenant {}", i * i % 7);
                table.learn_outcome(&name, &[0.2, 0.5, 0.3], 1, i as usize % 5, f64::from(i % 3) - 1.0);
            }
        };
        teach(&table, 0, 40);
        let again = SignTable::restore(&table.snapshot()).unwrap();
        assert_eq!(again.tenants(), table.tenants());
        assert_eq!(again.tenants().1, 2, "some are packed");
        for table in [&table, &again] {
            teach(table, 40, 80);
        }
        assert_eq!(again.snapshot(), table.snapshot());
    }

    #[test]
    fn bytes_of_no_table_are_refused() {
        let table = SignTable::with_regimes(1, 1, 3, 1).unwrap();
        table.learn("a", 0, 0, &[1.0, 2.0, 3.0]).unwrap();
        table.learn("b", 0, 0, &[1.0; 3]).unwrap();
        let good = table.snapshot();
        for cut in 0..good.len() {
            assert!(SignTable::restore(&good[..cut]).is_err(), "{cut}");
        }
        // With the sum put right, so that the fields themselves are looked at.
        let with = |at: usize, byte: u8| {
            let mut body = good[..good.len() - 8].to_vec();
            body[at] = byte;
            SignTable::restore(&Writer::new(&body).finish())
        };
        let body = snapshot::SIGN_TABLE.len();
        assert!(with(body + 7, 1).is_ok());
        let end = good.len() - 8;
        // No regimes, a rate of NaN, a name that is there twice, one sign too many, a size above 8.
        for (at, byte) in [(body + 7, 0), (body + 32, 0x7f), (end - 14, b'b'), (end - 1, 8), (end - 2, 0x7f)] {
            assert!(matches!(with(at, byte), Err(Error::BadSnapshot { .. })), "{at}: {:?}", with(at, byte));
        }
    }

    #[test]
    fn bad_arguments_change_nothing() {
        let table = SignTable::new(2, 3, 1).unwrap();
        assert!(table.learn("a", 4, 0, &[0.0; 3]).is_err());
        assert!(table.learn("a", 0, 2, &[0.0; 3]).is_err());
        assert!(table.learn("a", 0, 0, &[0.0; 2]).is_err());
        assert!(table.learn("a", 0, 0, &[f64::NAN; 3]).is_err());
        assert!(table.learn(&"x".repeat(257), 0, 0, &[0.0; 3]).is_err());
        assert_eq!(table.tenants(), (0, 0));
        for _ in 0..100 {
            table.learn("a", 0, 0, &[1e9, -1e9, 0.0]).unwrap();
        }
        let mut habit = [0.0; 3];
        table.adjust("a", &[1.0], 0, &mut habit);
        assert_eq!(habit, [8.0, -8.0, 0.0]);
        assert!(SignTable::new(0, 1, 1).is_err() && SignTable::new(1, 1, 0).is_err());
    }
}
