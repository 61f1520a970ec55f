//! What happens when in a simulated network.

use alloc::collections::{BTreeMap, BinaryHeap};
use core::cmp::Reverse;

/// Events in the order of their moments; those of one moment in the order in which they were entered.
#[derive(Debug)]
pub(super) struct Agenda<E> {
    now: u64,
    order: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, E>,
    entered: u64,
}

impl<E> Agenda<E> {
    pub(super) const fn new() -> Self {
        Self { now: 0, order: BinaryHeap::new(), events: BTreeMap::new(), entered: 0 }
    }

    /// Nanoseconds since the start.
    pub(super) const fn now(&self) -> u64 {
        self.now
    }

    /// Enters an event; one in the past happens now.
    pub(super) fn enter(&mut self, at: u64, event: E) {
        self.order.push(Reverse((at.max(self.now), self.entered)));
        self.events.insert(self.entered, event);
        self.entered += 1;
    }

    /// Enters an event some nanoseconds from now.
    pub(super) fn enter_in(&mut self, nanos: u64, event: E) {
        self.enter(self.now.saturating_add(nanos), event);
    }

    /// Goes to the next event up to a moment; where there is none, to that moment.
    pub(super) fn next(&mut self, until: u64) -> Option<E> {
        let Some(&Reverse((at, number))) = self.order.peek().filter(|Reverse((at, _))| *at <= until) else {
            self.now = self.now.max(until);
            return None;
        };
        self.order.pop();
        self.now = at;
        self.events.remove(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_their_moments() {
        let mut agenda = Agenda::new();
        for (at, event) in [(5, 'c'), (2, 'a'), (5, 'd'), (2, 'b'), (9, 'e')] {
            agenda.enter(at, event);
        }
        let mut seen = Vec::new();
        while let Some(event) = agenda.next(5) {
            seen.push((agenda.now(), event));
        }
        assert_eq!(seen, [(2, 'a'), (2, 'b'), (5, 'c'), (5, 'd')]);
        assert_eq!((agenda.next(7), agenda.now()), (None, 7));
        // What would have been before is now, and time does not go back.
        agenda.enter(1, 'f');
        agenda.enter_in(u64::MAX, 'g');
        assert_eq!((agenda.next(3), agenda.now()), (None, 7));
        assert_eq!((agenda.next(8), agenda.now()), (Some('f'), 7));
        assert_eq!((agenda.next(10), agenda.now()), (Some('e'), 9));
        assert_eq!((agenda.next(u64::MAX), agenda.now()), (Some('g'), u64::MAX));
    }
}
