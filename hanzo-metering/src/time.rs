use alloc::vec::Vec;

/// A point in time in nanoseconds since an epoch the caller chooses (the SDK uses the Unix epoch).
///
/// The crate reads no clock: every call that needs the time takes one of these.
///
/// ```
/// use hanzo_metering::Timestamp;
/// let t = Timestamp::from_nanos(1_500);
/// assert_eq!(t.checked_add(500), Some(Timestamp::from_nanos(2_000)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The zero of the clock.
    pub const ZERO: Self = Self(0);

    /// The point `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// `self + nanos`, or `None` past `u64::MAX`.
    pub const fn checked_add(self, nanos: u64) -> Option<Self> {
        match self.0.checked_add(nanos) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// Nanoseconds from `earlier` to `self`, 0 where `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Whether a call did something new or found that it had been done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// The call changed the state.
    New,
    /// The same call had been applied before; nothing changed.
    Existing,
}

crate::wire::wire_enum!(Status { 0 => New, 1 => Existing });

impl crate::wire::Wire for Timestamp {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(bytes: &mut crate::wire::Bytes<'_>) -> Result<Self, crate::wire::WireError> {
        Ok(Self(u64::take(bytes)?))
    }
}
