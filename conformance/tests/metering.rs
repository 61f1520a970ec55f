//! The generic cell rate algorithm of `hanzo-metering` beside `governor`, the crate that the field uses; and memory.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, FakeRelativeClock};
use governor::{Quota, RateLimiter};
use hanzo_metering::{AccountId, Gcra, IdMode, Ledger, NewAccount, QuotaError, Timestamp, Transfer, TransferId};

/// Cells of one key, with gaps that stand for quiet hours, steady use and bursts, from a small generator.
fn requests(seed: u64, count: usize, mean_gap_ns: u64) -> impl Iterator<Item = (u64, u32)> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    (0..count).map(move |_| {
        let gap = match next() % 8 {
            0 => 0,
            1 => 50 * mean_gap_ns,
            // Whole cells, so that requests fall on the very borders.
            2 | 3 => mean_gap_ns * (next() % 4),
            _ => next() % (2 * mean_gap_ns),
        };
        (gap, if next() % 4 == 0 { 1 + (next() % 120) as u32 } else { 1 })
    })
}

#[test]
fn gcra_decides_as_governor_does() {
    const SECOND: u64 = 1_000_000_000;
    let quota = |limit| NonZeroU32::new(limit).map(Quota::per_hour).unwrap_or_else(|| panic!("limits are not zero"));
    let mut denied = 0;
    // The free tier of 100 an hour, and others whose cells are whole nanoseconds in both.
    for (limit, burst) in [(100, 100), (100, 1), (100, 7), (3_600, 60), (60, 120)] {
        for seed in 0..20 {
            let clock = FakeRelativeClock::default();
            let allowed = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
            let governor = RateLimiter::direct_with_clock(quota(limit).allow_burst(allowed), clock.clone());
            let ours = Gcra::new(limit, 3_600 * SECOND, burst);
            let mut ours = ours.unwrap_or_else(|error| panic!("{limit} an hour: {error}"));
            let mut now = 0;
            for (gap, cost) in requests(seed, 2_000, 3_600 * SECOND / u64::from(limit)) {
                now += gap;
                clock.advance(Duration::from_nanos(gap));
                let cells = NonZeroU32::new(cost).unwrap_or(NonZeroU32::MIN);
                let theirs = match governor.check_n(cells) {
                    Err(_) => Err(QuotaError::NeverFits { cost, limit: burst }),
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(until)) => {
                        denied += 1;
                        let wait = until.wait_time_from(clock.now()).as_nanos() as u64;
                        Err(QuotaError::Denied { retry_at: Timestamp::from_nanos(now + wait) })
                    }
                };
                let got = ours.check(Timestamp::from_nanos(now), &(), cost);
                assert_eq!(got, theirs, "{limit} an hour, burst {burst}, seed {seed}, at {now}");
            }
        }
    }
    assert!(denied > 10_000, "{denied} requests were denied");
}

#[test]
fn a_burst_of_the_limit_grants_nearly_twice_the_limit_in_the_first_hour() {
    // What the sliding window is the default for.
    let clock = FakeRelativeClock::default();
    let quota = NonZeroU32::new(100).map(Quota::per_hour).unwrap_or_else(|| panic!("not zero"));
    let governor = RateLimiter::direct_with_clock(quota, clock.clone());
    let mut ours = Gcra::new(100, 3_600_000_000_000, 100).unwrap_or_else(|error| panic!("{error}"));
    let mut granted = [0, 0];
    for second in 0..3_600 {
        let now = Timestamp::from_nanos(second * 1_000_000_000);
        while governor.check().is_ok() {
            granted[0] += 1;
        }
        while ours.check(now, &(), 1).is_ok() {
            granted[1] += 1;
        }
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(granted, [199, 199]);
}

/// What a ledger of 100,000 transfers takes of memory: its records and the index of their ids, with what vectors and tables keep free.
#[test]
fn transfers_take_little_memory() {
    const N: u64 = 100_000;
    let now = Timestamp::from_nanos(1);
    for (mode, most) in [(IdMode::Sequenced, 160), (IdMode::Any, 200)] {
        let mut ledger = Ledger::with_ids(mode, 7);
        let accounts: Vec<AccountId> = (1..=1_000).map(AccountId::new).collect();
        for id in &accounts {
            ledger.open(now, NewAccount::new(*id, 1)).expect("a new account");
        }
        let info = allocation_counter::measure(|| {
            for n in 1..=N {
                let id = match mode {
                    IdMode::Sequenced => TransferId::sequenced(1, n),
                    IdMode::Any => TransferId::new(u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) + 1),
                };
                let [debit, credit] = [n % 1_000, (n * 7 + 1) % 1_000].map(|at| accounts[at as usize]);
                let credit = if credit == debit { accounts[(n as usize + 1) % 1_000] } else { credit };
                ledger.apply(now, &Transfer::new(id, debit, credit, 5)).expect("two accounts without limits");
            }
        });
        let each = info.bytes_current as u64 / N;
        println!("{mode:?}: {each} bytes a transfer, {most} at most");
        assert!(each <= most && each >= 90, "{mode:?}: {each} bytes a transfer");
    }
}
