//! Metering of one deployment: readings in any order to usage by windows, with corrections.

mod integrate;
mod readings;

use crate::wire::{Bytes, Wire, WireError, wire_enum, wire_struct};
use crate::{Resources, SignedUsage, Timestamp, UnitError, Usage};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use integrate::{Counter, Gauge};
use readings::{Kept, Readings, Vacant};

/// Which readings are billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Basis {
    /// What was reserved: the limits of the deployment.
    #[default]
    Reserved,
    /// What was used; GPUs as reserved.
    Used,
    /// The larger of both at every instant, resource by resource; GPUs as reserved.
    MaxOfBoth,
}

/// What a gauge counts as once its last reading is older than the longest gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapPolicy {
    /// As nothing.
    Zero,
    /// As the last reading.
    Hold,
}

/// Where used CPU time is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CpuSource {
    /// From the gauges of [`Value::Used`].
    #[default]
    Gauge,
    /// From the counter [`Value::CpuTime`].
    Counter,
}

/// How a [`Meter`] reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterConfig {
    /// Which readings are billed: the basis of the deployment's tariff.
    pub basis: Basis,
    /// Where used CPU time comes from.
    pub cpu_source: CpuSource,
    /// How long a gauge reading holds without another.
    pub max_gap_ns: u64,
    /// What comes after that, for reserved resources.
    pub reserved_gap: GapPolicy,
    /// What comes after that, for used resources.
    pub used_gap: GapPolicy,
    /// How far a reading may lie in the future.
    pub max_skew_ns: u64,
    /// How long after its window was closed a reading is still taken, as a correction.
    pub retention_ns: u64,
    /// Most readings kept.
    pub capacity: usize,
    /// Largest gauge value that is believed.
    pub ceiling: Option<Resources>,
}

impl Default for MeterConfig {
    /// Reserved basis; gaps of 300 s, reserved values holding and used ones falling to zero after them; skew 5 s; retention 24 h;
    /// 65,536 readings; no ceiling.
    fn default() -> Self {
        Self {
            basis: Basis::Reserved,
            cpu_source: CpuSource::Gauge,
            max_gap_ns: 300_000_000_000,
            reserved_gap: GapPolicy::Hold,
            used_gap: GapPolicy::Zero,
            max_skew_ns: 5_000_000_000,
            retention_ns: 86_400_000_000_000,
            capacity: 65_536,
            ceiling: None,
        }
    }
}

/// One reading. Source and id together identify it; they are never joined into one string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reading<'a> {
    /// Who read.
    pub source: &'a [u8],
    /// Which of his readings.
    pub id: &'a [u8],
    /// When it was read.
    pub at: Timestamp,
    /// What was read.
    pub value: Value,
}

/// What a reading says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Value {
    /// These resources are reserved from now on.
    Reserved(Resources),
    /// These resources are in use from now on.
    Used(Resources),
    /// CPU time since the counter began, in core-nanoseconds.
    CpuTime(u64),
}

/// How a reading was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recorded {
    /// Into the window that is open.
    New,
    /// Into a window that was closed; it shows in the corrections.
    Late,
    /// Not at all: it was known.
    Duplicate,
}

/// A closed window `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its begin.
    pub from: Timestamp,
    /// Its end, which belongs to the next window.
    pub to: Timestamp,
    /// What is billed.
    pub usage: Usage,
    /// Nanoseconds in which a reserved reading was older than the longest gap.
    pub reserved_gap_ns: u64,
    /// Nanoseconds in which a used reading was older than the longest gap.
    pub used_gap_ns: u64,
    /// How often the CPU counter began anew.
    pub resets: u64,
}

/// What late readings change in a window that was billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// Begin of the window.
    pub from: Timestamp,
    /// End of the window.
    pub to: Timestamp,
    /// New usage less billed usage.
    pub delta: SignedUsage,
}

/// The meter of one deployment.
///
/// The usage of all windows and corrections together is the integral of the readings sorted by (time, source, id),
/// in whatever order they came and wherever the windows were cut.
///
/// A gauge holds from its reading to the next; at one instant the greatest (source, id) counts; before the first it
/// is 0. A counter's step counts wholly in the window of the later reading; a smaller value than before is a counter
/// begun anew; the first reading is a step of 0.
///
/// ```
/// use hanzo_metering::{Meter, MeterConfig, Reading, Resources, Timestamp, Value};
/// # fn main() -> Result<(), hanzo_metering::Error> {
/// let t = Timestamp::from_nanos;
/// let mut meter = Meter::new(MeterConfig::default(), t(0));
/// let value = Value::Reserved(Resources::new(2_000, 1 << 30, 0)?);
/// meter.record(t(10), Reading { source: b"node", id: b"1", at: t(10), value })?;
/// assert_eq!(meter.close(t(100))?.usage.cpu, 2_000 * 90);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Meter {
    config: MeterConfig,
    start: Timestamp,
    closed_to: Timestamp,
    readings: Readings,
    reserved: Gauge,
    used: Gauge,
    cpu: Counter,
    /// Closed windows that a late reading may still change, oldest first.
    windows: VecDeque<Window>,
    /// Earliest late reading since the last corrections.
    touched: Option<Timestamp>,
}

impl Meter {
    /// A meter whose first window begins at `start`.
    pub fn new(config: MeterConfig, start: Timestamp) -> Self {
        Self {
            reserved: Gauge::new(config.reserved_gap, config.max_gap_ns),
            used: Gauge::new(config.used_gap, config.max_gap_ns),
            cpu: Counter::new(),
            config,
            start,
            closed_to: start,
            readings: Readings::new(),
            windows: VecDeque::new(),
            touched: None,
        }
    }

    /// Takes a reading: O(1) in order of time, O(sqrt n) in any other.
    ///
    /// # Errors
    /// In this order: `Future`, `Conflict`, `TooLate`, `AboveCeiling`, `Full`.
    pub fn record(&mut self, now: Timestamp, reading: Reading<'_>) -> Result<Recorded, MeterError> {
        let Reading { source, id, at, value } = reading;
        let limit = now.as_nanos().saturating_add(self.config.max_skew_ns);
        if at.as_nanos() > limit {
            return Err(MeterError::Future { at, limit: Timestamp::from_nanos(limit) });
        }
        let vacant = match self.readings.find(source, id) {
            Ok(known) if (known.at, known.value) == (at, value) => return Ok(Recorded::Duplicate),
            Ok(_) => return Err(MeterError::Conflict),
            Err(vacant) => vacant,
        };
        let oldest = self.oldest();
        if at < oldest {
            return Err(MeterError::TooLate { at, oldest });
        }
        if let (Some(ceiling), Value::Reserved(r) | Value::Used(r)) = (&self.config.ceiling, &value)
            && !r.within(ceiling)
        {
            return Err(MeterError::AboveCeiling);
        }
        if self.readings.len() >= self.config.capacity {
            return Err(MeterError::Full { capacity: self.config.capacity });
        }
        self.insert(vacant, at, value);
        if at < self.closed_to {
            self.touched = Some(self.touched.map_or(at, |t| t.min(at)));
            return Ok(Recorded::Late);
        }
        Ok(Recorded::New)
    }

    /// Closes the window `[closed_to, until)` and returns it. O(readings in it).
    ///
    /// # Errors
    /// `WindowClosed` where `until` is before the end of the last window.
    pub fn close(&mut self, until: Timestamp) -> Result<Window, MeterError> {
        let window = self.window_to(until)?;
        self.push(window);
        Ok(window)
    }

    /// What late readings since the last call change in closed windows, oldest first; the changed usage then counts as
    /// billed. O(readings and windows kept).
    ///
    /// # Errors
    /// `UnitError::Overflow`, only with sums past `i128`; nothing is then changed.
    pub fn corrections(&mut self) -> Result<Vec<Correction>, MeterError> {
        let changes = self.changes()?;
        self.accept(&changes);
        self.forget();
        Ok(changes.corrections)
    }

    /// Where the open window begins.
    pub const fn closed_to(&self) -> Timestamp {
        self.closed_to
    }

    /// How many readings are kept.
    pub fn len(&self) -> usize {
        self.readings.len()
    }

    /// Whether no reading is kept.
    pub fn is_empty(&self) -> bool {
        self.readings.len() == 0
    }

    /// How the meter reads.
    pub const fn config(&self) -> &MeterConfig {
        &self.config
    }

    /// The window that closing now would give.
    pub(crate) fn window_to(&self, until: Timestamp) -> Result<Window, MeterError> {
        if until < self.closed_to {
            return Err(MeterError::WindowClosed { closed_to: self.closed_to });
        }
        Ok(self.integrate(self.closed_to, until))
    }

    /// Closes the window that [`window_to`](Self::window_to) gave.
    pub(crate) fn push(&mut self, window: Window) {
        self.closed_to = window.to;
        self.windows.push_back(window);
        self.forget();
    }

    /// What late readings change, without taking it for billed yet.
    pub(crate) fn changes(&self) -> Result<Changes, MeterError> {
        let mut changes = Changes { corrections: Vec::new(), windows: Vec::new() };
        let Some(touched) = self.touched else { return Ok(changes) };
        for (i, old) in self.windows.iter().enumerate().filter(|(_, w)| w.to > touched) {
            let new = self.integrate(old.from, old.to);
            let delta = new.usage.signed_sub(&old.usage)?;
            if !delta.is_zero() {
                changes.corrections.push(Correction { from: old.from, to: old.to, delta });
            }
            changes.windows.push((i, new));
        }
        Ok(changes)
    }

    /// Takes changes for billed.
    pub(crate) fn accept(&mut self, changes: &Changes) {
        for &(i, new) in &changes.windows {
            if let Some(window) = self.windows.get_mut(i) {
                *window = new;
            }
        }
        self.touched = None;
    }

    fn insert(&mut self, vacant: Vacant<'_>, at: Timestamp, value: Value) {
        let place = self.readings.insert(vacant, at, value);
        match value {
            Value::Reserved(r) => self.reserved.insert(&self.readings, place, at, r),
            Value::Used(r) => self.used.insert(&self.readings, place, at, r),
            Value::CpuTime(t) => self.cpu.insert(&self.readings, place, at, t),
        }
    }

    /// The earliest time a reading is taken for.
    fn oldest(&self) -> Timestamp {
        let oldest = self.closed_to.as_nanos().saturating_sub(self.config.retention_ns);
        Timestamp::from_nanos(oldest).max(self.start)
    }

    fn integrate(&self, from: Timestamp, to: Timestamp) -> Window {
        let (reserved, reserved_gap_ns) = self.reserved.usage(from, to);
        let (used, used_gap_ns) = self.used.usage(from, to);
        let (mut usage, mut resets) = (reserved, 0);
        if self.config.basis != Basis::Reserved {
            let both = self.config.basis == Basis::MaxOfBoth;
            let gauges = if both { Gauge::usage_of_max(&self.reserved, &self.used, from, to) } else { used };
            usage.cpu = gauges.cpu;
            usage.memory = gauges.memory;
            if self.config.cpu_source == CpuSource::Counter {
                (usage.cpu, resets) = self.cpu.usage(from, to, both.then_some(&self.reserved));
            }
        } else if self.config.cpu_source == CpuSource::Counter {
            resets = self.cpu.usage(from, to, None).1;
        }
        Window { from, to, usage, reserved_gap_ns, used_gap_ns, resets }
    }

    /// Drops what no late reading can reach any more: windows that ended by then, readings before it but the last of
    /// each kind, whose value still holds. Windows waiting for their corrections keep what they need.
    fn forget(&mut self) {
        let mut oldest = self.oldest();
        if let Some(touched) = self.touched
            && let Some(window) = self.windows.iter().find(|w| w.to > touched)
        {
            oldest = oldest.min(window.from);
        }
        while self.windows.front().is_some_and(|w| w.to <= oldest) {
            self.windows.pop_front();
        }
        // A window that is kept in part is integrated again from its begin.
        let from = self.windows.front().map_or(oldest, |w| w.from.min(oldest));
        let readings = &mut self.readings;
        let mut forget = |place: u32| readings.remove(place);
        let counted_from = self.cpu.forget(from, &mut forget);
        let mut compared_from = from;
        if self.config.basis == Basis::MaxOfBoth && self.config.cpu_source == CpuSource::Counter {
            // The next counter reading is compared with the reserved value since the last one, the first since the start.
            compared_from = counted_from.filter(|&last| last < from).unwrap_or(self.start);
        }
        self.reserved.forget(compared_from, &mut forget);
        self.used.forget(from, &mut forget);
    }
}

/// Corrections, and the closed windows as they are with them.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) corrections: Vec<Correction>,
    windows: Vec<(usize, Window)>,
}

/// Why a reading or a window was refused; the meter is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum MeterError {
    /// The reading lies too far in the future.
    #[error("reading at {at:?} lies after {limit:?}")]
    Future {
        /// Time of the reading.
        at: Timestamp,
        /// Latest time that is taken now.
        limit: Timestamp,
    },
    /// The source and id are known with another time or value.
    #[error("reading is known with other content")]
    Conflict,
    /// The reading is for a window that can no longer be corrected.
    #[error("reading at {at:?} lies before {oldest:?}")]
    TooLate {
        /// Time of the reading.
        at: Timestamp,
        /// Earliest time that is taken.
        oldest: Timestamp,
    },
    /// The reading passes the ceiling.
    #[error("reading is above the ceiling")]
    AboveCeiling,
    /// As many readings are kept as may be.
    #[error("{capacity} readings are kept already")]
    Full {
        /// Most readings kept.
        capacity: usize,
    },
    /// The window was closed before.
    #[error("windows are closed to {closed_to:?}")]
    WindowClosed {
        /// End of the last window.
        closed_to: Timestamp,
    },
    /// A sum passes its type.
    #[error(transparent)]
    Unit(#[from] UnitError),
}

/// The configuration, the open window's begin, the closed windows, and the readings by time and key.
impl Wire for Meter {
    fn put(&self, out: &mut Vec<u8>) {
        self.config.put(out);
        (self.start, self.closed_to, self.touched).put(out);
        self.windows.put(out);
        let mut readings: Vec<&Kept> = self.readings.iter().collect();
        readings.sort_unstable_by_key(|kept| (kept.at, kept.key.parts()));
        (readings.len() as u32).put(out);
        for Kept { key, at, value } in readings {
            let (source, id) = key.parts();
            at.put(out);
            source.to_vec().put(out);
            id.to_vec().put(out);
            value.put(out);
        }
    }

    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        let config = MeterConfig::take(bytes)?;
        let (start, closed_to, touched) = Wire::take(bytes)?;
        let mut meter = Self { closed_to, touched, ..Self::new(config, start) };
        meter.windows = Wire::take(bytes)?;
        for _ in 0..u32::take(bytes)? {
            let at = Timestamp::take(bytes)?;
            let (source, id): (Vec<u8>, Vec<u8>) = Wire::take(bytes)?;
            let value = Value::take(bytes)?;
            let vacant = meter.readings.find(&source, &id).err().ok_or(WireError::Value)?;
            meter.insert(vacant, at, value);
        }
        Ok(meter)
    }
}

impl Wire for usize {
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u64).put(out);
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        Self::try_from(u64::take(bytes)?).map_err(|_| WireError::Value)
    }
}

wire_enum!(Basis { 0 => Reserved, 1 => Used, 2 => MaxOfBoth });
wire_enum!(GapPolicy { 0 => Zero, 1 => Hold });
wire_enum!(CpuSource { 0 => Gauge, 1 => Counter });
wire_enum!(Value { 0 => Reserved(resources), 1 => Used(resources), 2 => CpuTime(nanos) });
wire_struct!(Window { from, to, usage, reserved_gap_ns, used_gap_ns, resets });
wire_struct!(Correction { from, to, delta });
wire_struct!(MeterConfig {
    basis,
    cpu_source,
    max_gap_ns,
    reserved_gap,
    used_gap,
    max_skew_ns,
    retention_ns,
    capacity,
    ceiling
});
