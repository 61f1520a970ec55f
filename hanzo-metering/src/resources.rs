use crate::{Resources, ScheduleError};
use core::cmp::Ordering;

/// Resources and slots: what a job asks of a [`Pool`] in all, what one replica asks of a node, or what a pool or node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Demand {
    /// The resources.
    pub resources: Resources,
    /// Replicas there is a place for; a job takes one each.
    pub slots: u32,
}

impl Demand {
    /// `replicas` times these resources, and as many slots.
    ///
    /// # Errors
    /// `NoReplicas`; `ResourceRange`, as [`Resources::checked_mul`].
    pub fn replicated(resources: &Resources, replicas: u32) -> Result<Self, ScheduleError> {
        if replicas == 0 {
            return Err(ScheduleError::NoReplicas);
        }
        Ok(Self { resources: resources.checked_mul(replicas)?, slots: replicas })
    }

    /// Whether nothing of it passes `other`.
    pub const fn within(&self, other: &Self) -> bool {
        self.resources.within(&other.resources) && self.slots <= other.slots
    }

    pub(crate) fn vector(&self) -> [u64; 4] {
        let r = &self.resources;
        [r.millicores(), r.bytes(), r.milli_gpus(), u64::from(self.slots)]
    }
}

/// What a node has, and how much of it is taken.
///
/// ```
/// use hanzo_metering::{Demand, Pool, Resources};
/// # fn main() -> Result<(), hanzo_metering::Error> {
/// let mut pool = Pool::new(Demand { resources: Resources::new(8_000, 16 << 30, 0)?, slots: 100 });
/// let job = Demand::replicated(&Resources::new(2_000, 4 << 30, 0)?, 3)?;
/// pool.take(&job)?;
/// assert!(!pool.fits(&job));
/// pool.give_back(&job)?;
/// assert!(pool.fits(&job));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    capacity: Demand,
    used: [u64; 4],
}

impl Pool {
    /// An empty pool.
    pub const fn new(capacity: Demand) -> Self {
        Self { capacity, used: [0; 4] }
    }

    /// What it has in all.
    pub const fn capacity(&self) -> &Demand {
        &self.capacity
    }

    /// Whether there is room now.
    pub fn fits(&self, demand: &Demand) -> bool {
        fits(&demand.vector(), &self.free())
    }

    /// Takes room.
    ///
    /// # Errors
    /// `NoRoom`.
    pub fn take(&mut self, demand: &Demand) -> Result<(), ScheduleError> {
        if !self.fits(demand) {
            return Err(ScheduleError::NoRoom);
        }
        // Fits, so no sum passes the capacity.
        self.used = zip(self.used, demand.vector(), |u, d| u + d);
        Ok(())
    }

    /// Gives room back.
    ///
    /// # Errors
    /// `NotTaken` where less is taken than is given back.
    pub fn give_back(&mut self, demand: &Demand) -> Result<(), ScheduleError> {
        let d = demand.vector();
        if !fits(&d, &self.used) {
            return Err(ScheduleError::NotTaken);
        }
        self.used = zip(self.used, d, |u, d| u - d);
        Ok(())
    }

    /// What is free: millicores, bytes, milli-GPUs, slots.
    pub fn free(&self) -> [u64; 4] {
        zip(self.capacity.vector(), self.used, |c, u| c - u)
    }
}

/// The largest fraction that a tenant has of any of the three resources, over its weight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    /// Below 2^56.
    used: u64,
    /// At least 1, below 2^56.
    capacity: u64,
    /// At least 1.
    weight: u16,
}

impl Share {
    pub(crate) fn dominant(used: &[u64; 4], capacity: &[u64; 4], weight: u16) -> Self {
        let mut largest = Self { used: 0, capacity: 1, weight: weight.max(1) };
        for (&used, &capacity) in used.iter().zip(capacity).take(3).filter(|&(_, &capacity)| capacity > 0) {
            let share = Self { used: used.min(Resources::LIMIT - 1), capacity, ..largest };
            if share.compare(&largest) == Ordering::Greater {
                largest = share;
            }
        }
        largest
    }

    /// By cross-multiplication: 56 + 56 + 16 bits.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let side = |used: u64, capacity: u64, weight: u16| u128::from(used) * u128::from(capacity) * u128::from(weight);
        side(self.used, other.capacity, other.weight).cmp(&side(other.used, self.capacity, self.weight))
    }
}

pub(crate) fn fits(demand: &[u64; 4], free: &[u64; 4]) -> bool {
    demand.iter().zip(free).all(|(d, f)| d <= f)
}

pub(crate) fn zip(a: [u64; 4], b: [u64; 4], f: impl Fn(u64, u64) -> u64) -> [u64; 4] {
    core::array::from_fn(|i| f(a[i], b[i]))
}
