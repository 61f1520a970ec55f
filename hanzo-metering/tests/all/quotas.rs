//! Quotas against the plain rules they stand for.

use hanzo_metering::{Gcra, QuotaError, SlidingWindow, Timestamp};
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;

fn t(ns: u64) -> Timestamp {
    Timestamp::from_nanos(ns)
}

/// The sliding window as it is defined, over all that was ever admitted.
fn defined(admitted: &[(u64, u32)], at: u64, cost: u32, limit: u32, window: u64) -> Option<u64> {
    let fits = |now: u64| {
        let used: u64 = admitted.iter().filter(|e| e.0 <= now && e.0 + window > now).map(|e| u64::from(e.1)).sum();
        used + u64::from(cost) <= u64::from(limit)
    };
    if fits(at) {
        return None;
    }
    admitted.iter().map(|e| e.0 + window).filter(|&r| r > at).find(|&r| fits(r))
}

proptest! {
    #[test]
    fn a_window_admits_its_limit_in_every_interval(
        limit in 1u32..20,
        window in 1u64..200,
        steps in prop::collection::vec((0u64..60, 0u32..8, 0u8..3), 1..300),
    ) {
        let mut quota = SlidingWindow::new(limit, window).unwrap();
        let (mut now, mut admitted) = (1_000, HashMap::<u8, Vec<(u64, u32)>>::new());
        for (gap, cost, key) in steps {
            now += gap;
            let known = admitted.entry(key).or_default();
            let got = quota.check(t(now), &key, cost);
            if cost > limit {
                prop_assert_eq!(got, Err(QuotaError::NeverFits { cost, limit }));
                continue;
            }
            match defined(known, now, cost, limit, window) {
                Some(retry) if cost > 0 => prop_assert_eq!(got, Err(QuotaError::Denied { retry_at: t(retry) })),
                _ => {
                    prop_assert_eq!(got, Ok(()));
                    known.push((now, cost));
                }
            }
            let used: u32 = known.iter().filter(|e| e.0 + window > now).map(|e| e.1).sum();
            prop_assert_eq!(quota.left(t(now), &key), limit - used);
        }
        for entries in admitted.values() {
            for &(end, _) in entries {
                let used: u32 = entries.iter().filter(|e| e.0 <= end && e.0 + window > end).map(|e| e.1).sum();
                prop_assert!(used <= limit);
            }
        }
    }

    #[test]
    fn a_denied_cell_is_admitted_at_its_retry_time_and_not_before(
        limit in 1u32..1_000,
        period in 1u64..100_000,
        burst in 1u32..10,
        gaps in prop::collection::vec((0u64..5_000, 1u32..4), 1..200),
    ) {
        let mut quota = Gcra::new(limit, period, burst).unwrap();
        let mut now = 7;
        for (gap, cost) in gaps {
            now += gap;
            match quota.check(t(now), &(), cost) {
                Err(QuotaError::Denied { retry_at }) => {
                    prop_assert!(retry_at > t(now));
                    prop_assert!(quota.clone().check(t(retry_at.as_nanos() - 1), &(), cost).is_err());
                    prop_assert_eq!(quota.clone().check(retry_at, &(), cost), Ok(()));
                }
                Err(QuotaError::NeverFits { .. }) => prop_assert!(cost > burst),
                other => prop_assert_eq!(other, Ok(())),
            }
        }
    }
}

#[test]
fn a_hundred_an_hour_is_a_hundred_and_gcra_is_not() {
    let second = 1_000_000_000;
    let mut window = SlidingWindow::per_hour(100).unwrap();
    let mut gcra = Gcra::new(100, 3_600 * second, 100).unwrap();
    let (mut by_window, mut by_gcra) = (0, 0);
    for s in 0..3_600 {
        by_window += u32::from(window.check(t(s * second), &"k", 1).is_ok());
        by_gcra += u32::from(gcra.check(t(s * second), &"k", 1).is_ok());
    }
    assert_eq!((by_window, by_gcra), (100, 199));
}

#[test]
fn idle_keys_make_room_and_busy_ones_do_not() {
    let mut window = SlidingWindow::new(2, 100).unwrap().with_keys(3, 5).unwrap();
    for (at, key) in [(0, 1), (10, 2), (20, 3), (30, 1)] {
        window.check(t(at), &key, 1).unwrap();
    }
    // Key 2 is idle from 110 on, key 3 from 120, key 1 from 130.
    assert_eq!(window.check(t(109), &4, 1), Err(QuotaError::TooManyKeys { max_keys: 3 }));
    window.check(t(110), &4, 1).unwrap();
    assert_eq!(window.check(t(119), &5, 1), Err(QuotaError::TooManyKeys { max_keys: 3 }));
    window.check(t(120), &5, 1).unwrap();
    assert_eq!(window.len(), 3);
    assert_eq!(window.left(t(120), &1), 1);

    let mut gcra = Gcra::new(1, 100, 1).unwrap().with_keys(2, 5).unwrap();
    gcra.check(t(0), &1, 1).unwrap();
    gcra.check(t(50), &2, 1).unwrap();
    assert_eq!(gcra.check(t(99), &3, 1), Err(QuotaError::TooManyKeys { max_keys: 2 }));
    gcra.check(t(100), &3, 1).unwrap();
    assert_eq!(gcra.len(), 2);
}

/// Dropping a key that is idle must never change an answer: keys in plenty, with and without room for all.
#[test]
fn room_for_few_keys_gives_the_answers_of_room_for_all() {
    let mut rng = SmallRng::seed_from_u64(3);
    let mut few = SlidingWindow::new(3, 500).unwrap().with_keys(40, 1).unwrap();
    let mut all = SlidingWindow::new(3, 500).unwrap();
    let mut few_gcra = Gcra::new(3, 500, 2).unwrap().with_keys(40, 1).unwrap();
    let mut all_gcra = Gcra::new(3, 500, 2).unwrap();
    let mut now = 0;
    let mut denied = 0;
    for _ in 0..50_000 {
        now += rng.random_range(0..60);
        // A few keys come all the time, most once.
        let key = if rng.random_range(0..3) == 0 { rng.random_range(0..5u32) } else { rng.random() };
        let answer = few.check(t(now), &key, 1);
        assert_eq!(answer, all.check(t(now), &key, 1));
        denied += u32::from(answer.is_err());
        assert_eq!(few_gcra.check(t(now), &key, 1), all_gcra.check(t(now), &key, 1));
    }
    assert!(denied > 1_000 && few.len() <= 40 && few_gcra.len() <= 40);
}

#[test]
fn keys_may_have_limits_of_their_own() {
    let mut window = SlidingWindow::new(1, 100).unwrap();
    window.set_limit("big", 3).unwrap();
    assert_eq!(window.check(t(0), &"big", 3), Ok(()));
    assert_eq!(window.check(t(0), &"small", 3), Err(QuotaError::NeverFits { cost: 3, limit: 1 }));
    // A limit that falls below what is admitted: nothing more fits until enough has left.
    window.set_limit("big", 1).unwrap();
    assert_eq!(window.check(t(50), &"big", 1), Err(QuotaError::Denied { retry_at: t(100) }));

    let mut gcra = Gcra::new(1, 100, 1).unwrap();
    gcra.check(t(0), &"k", 1).unwrap();
    gcra.set_limit("k", 4).unwrap();
    // What was used at the old rate is carried over; from then on four times as fast.
    assert_eq!(gcra.check(t(99), &"k", 1), Err(QuotaError::Denied { retry_at: t(100) }));
    gcra.check(t(100), &"k", 1).unwrap();
    assert_eq!(gcra.check(t(124), &"k", 1), Err(QuotaError::Denied { retry_at: t(125) }));
}

#[test]
fn bad_input_is_refused() {
    for limit in [0, 65_536] {
        assert_eq!(SlidingWindow::<u8>::new(limit, 1).err(), Some(QuotaError::BadLimit));
        let mut window = SlidingWindow::new(1, 1).unwrap();
        assert_eq!(window.set_limit(1, limit), Err(QuotaError::BadLimit));
    }
    assert_eq!(SlidingWindow::<u8>::new(1, 0).err(), Some(QuotaError::BadLimit));
    assert_eq!(SlidingWindow::<u8>::new(1, 1).unwrap().with_keys(0, 0).err(), Some(QuotaError::BadLimit));
    for (limit, period, burst) in [(0, 1, 1), (1, 0, 1), (1, 1, 0)] {
        assert_eq!(Gcra::<u8>::new(limit, period, burst).err(), Some(QuotaError::BadLimit));
    }
    let mut window = SlidingWindow::new(1, 1).unwrap();
    window.check(t(9), &1, 1).unwrap();
    assert_eq!(window.check(t(8), &1, 1), Err(QuotaError::ClockBackwards { now: t(8), last: t(9) }));
    // The end of the clock.
    let mut gcra = Gcra::new(u32::MAX, u64::MAX, u32::MAX).unwrap();
    let end = t(u64::MAX);
    gcra.check(end, &1, u32::MAX).unwrap();
    assert_eq!(gcra.check(end, &1, 1), Err(QuotaError::Denied { retry_at: end }));
    let mut window = SlidingWindow::new(1, u64::MAX).unwrap();
    window.check(end, &1, 1).unwrap();
    assert_eq!(window.check(end, &1, 1), Err(QuotaError::Denied { retry_at: end }));
}
