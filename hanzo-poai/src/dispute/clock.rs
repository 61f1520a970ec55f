//! A chess clock: each side has its own time, and a little more at the start of each of its turns.

use crate::dispute_message::Side;
use crate::error::{Error, Result};
use crate::units::Millis;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    left_ms: [u64; 2],
    least_ms: u64,
    turn: Side,
    since: Millis,
    now: Millis,
}

impl Clock {
    /// The worker is on turn first.
    pub(super) const fn start(side_ms: u64, least_ms: u64, now: Millis) -> Self {
        Self { left_ms: [side_ms; 2], least_ms, turn: Side::Worker, since: now, now }
    }

    pub(super) const fn turn(&self) -> Side {
        self.turn
    }

    /// Last millisecond of the side on turn.
    pub(super) fn deadline(&self) -> Millis {
        self.since.saturating_add(self.available(self.turn))
    }

    /// The clock at `now`, with the same side on turn.
    pub(super) fn at(self, now: Millis) -> Result<Self> {
        if now < self.now {
            return Err(Error::ClockBackwards { last_ms: self.now.get(), now_ms: now.get() });
        }
        Ok(Self { now, ..self })
    }

    /// The clock at `now`, which has to be in time for `side` to act.
    pub(super) fn act(self, side: Side, now: Millis) -> Result<Self> {
        let clock = self.at(now)?;
        if side != self.turn {
            return Err(Error::OutOfTurn);
        }
        let deadline = self.deadline();
        if now > deadline {
            return Err(Error::DeadlinePassed { deadline_ms: deadline.get(), now_ms: now.get() });
        }
        Ok(clock)
    }

    /// Stops the clock of the side on turn and starts the other's.
    pub(super) fn pass(self, to: Side) -> Self {
        let used = self.now.get().saturating_sub(self.since.get());
        let left = self.available(self.turn).saturating_sub(used);
        let left_ms = match self.turn {
            Side::Worker => [left, self.left_ms[1]],
            Side::Challenger => [self.left_ms[0], left],
        };
        Self { left_ms, turn: to, since: self.now, ..self }
    }

    fn available(&self, side: Side) -> u64 {
        let left = match side {
            Side::Worker => self.left_ms[0],
            Side::Challenger => self.left_ms[1],
        };
        left.max(self.least_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_spends_its_own_time() {
        let clock = Clock::start(100, 10, Millis::new(0));
        assert_eq!(clock.deadline(), Millis::new(100));
        assert_eq!(clock.act(Side::Challenger, Millis::new(1)), Err(Error::OutOfTurn));
        let clock = clock.act(Side::Worker, Millis::new(95)).unwrap().pass(Side::Challenger);
        assert_eq!((clock.turn(), clock.deadline()), (Side::Challenger, Millis::new(195)));
        let clock = clock.act(Side::Challenger, Millis::new(100)).unwrap().pass(Side::Worker);
        // Five are left, and ten are always given.
        assert_eq!(clock.deadline(), Millis::new(110));
        let late = Err(Error::DeadlinePassed { deadline_ms: 110, now_ms: 111 });
        assert_eq!(clock.act(Side::Worker, Millis::new(111)), late);
        assert_eq!(clock.at(Millis::new(99)), Err(Error::ClockBackwards { last_ms: 100, now_ms: 99 }));
        let clock = clock.act(Side::Worker, Millis::new(110)).unwrap().pass(Side::Challenger);
        assert_eq!(clock.deadline(), Millis::new(205));
    }
}
