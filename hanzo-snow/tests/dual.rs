//! Both tracks under the simulator: seeded schedules of faults, and the same schedules against a broken protocol.

#![cfg(feature = "simulate")]

use hanzo_snow::Error;
use hanzo_snow::fastpath::{ConflictKey, Tx};
use hanzo_snow::simulate::{DualSimulation, DualSimulationBuilder, Fault, Latency, SimulateError, Weakness};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

fn network(stakes: &[u64]) -> DualSimulationBuilder {
    DualSimulation::builder(stakes.iter().copied()).latency(Latency::Uniform { min: 5 * MS, max: 40 * MS })
}

#[test]
fn a_quiet_network_settles_everything() -> Result<(), Error> {
    let mut network = network(&[1; 4]).submit_every(0, 20 * MS, 200, 64).build()?;
    network.run_until(12 * SECOND)?;
    let report = network.report();
    assert_eq!((report.submitted, report.settled, report.stalls), (200, 200, 0));
    assert_eq!(network.certified_unsettled(), 0);
    assert!(report.evidence.is_empty());
    Ok(())
}

#[test]
fn equal_seeds_give_equal_traces() -> Result<(), Error> {
    let trace = |seed| {
        let builder = network(&[1; 4]).seed(seed).submit_every(0, 50 * MS, 20, 64).random_faults(seed, 1, 3 * SECOND);
        let mut network = builder.build()?;
        network.run_until(5 * SECOND)?;
        Ok::<_, Error>(network.trace_hash())
    };
    assert_eq!(trace(3)?, trace(3)?);
    assert_ne!(trace(3)?, trace(4)?);
    Ok(())
}

/// One schedule: loss, delay, reordering, duplication, partitions, crashes and restarts until 6 s, in every other one a
/// validator with a twin; then the network is whole, but for what links go on losing.
fn schedule(seed: u64, weakness: Weakness) -> Result<(), String> {
    let n = 4 + (seed % 4) as usize;
    let stakes: Vec<u64> = (0..n as u64).map(|i| 10 + (seed / 4 + i) % 3).collect();
    let tx = |key: u64, which: u8| Tx::new([ConflictKey::new(b"match", key)], [which; 8]).expect("one key");
    let mut builder = network(&stakes).seed(seed).weakness(weakness).random_faults(seed, n / 2, 6 * SECOND).config(|config| {
        let config = config.settlement(|replica| replica.base_timeout(std::time::Duration::from_millis(400)).window(8));
        config.unlock_after(std::time::Duration::from_secs(3)).min_epoch_blocks(4)
    });
    if seed % 2 == 1 {
        builder = builder.twins([(seed / 2) as usize % n]);
    }
    for key in 0..24 {
        let (at, node) = (key * 250 * MS, (key as usize) % n);
        builder = builder.submit(at, node, tx(key, 0));
        if key % 4 == 0 {
            builder = builder.submit(at + seed % 20 * MS, (node + 1) % n, tx(key, 1));
        }
    }
    let mut network = builder.build().map_err(|error| error.to_string())?;
    network.run_until(12 * SECOND).map_err(|error| error.to_string())?;
    let height = network.committed_everywhere();
    for end in [25, 50, 100, 200] {
        network.run_until(end * SECOND).map_err(|error| error.to_string())?;
        if network.committed_everywhere() > height + 5 && network.certified_unsettled() == 0 {
            return Ok(());
        }
    }
    let (report, now) = (network.report(), network.committed_everywhere());
    Err(format!(
        "no progress: height {height} to {now}, {} certified and not settled, {} of {} settled, epoch {}",
        network.certified_unsettled(),
        report.settled,
        report.submitted,
        report.epochs
    ))
}

/// `HANZO_SCHEDULES=100000 cargo test --release -p hanzo-snow --features simulate --test dual schedules -- --nocapture` for the long run;
/// `HANZO_FIRST_SCHEDULE` to begin elsewhere.
#[test]
fn seeded_schedules_neither_contradict_nor_lose_nor_stop() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default);
    let (first, count) = (number("HANZO_FIRST_SCHEDULE", 0), number("HANZO_SCHEDULES", 60));
    for seed in first..first + count {
        if let Err(error) = schedule(seed, Weakness::None) {
            panic!("schedule {seed}: {error}");
        }
    }
    println!("{count} schedules from {first} on");
}
