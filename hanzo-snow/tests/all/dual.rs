//! Both tracks under the simulator: seeded schedules of faults, and the same schedules against a broken protocol.

use hanzo_snow::fastpath::{ConflictKey, Tx};
use hanzo_snow::simulate::{
    DualSimulation, DualSimulationBuilder, Fault, FaultSchedule, Latency, SimulateError, Weakness,
};
use hanzo_snow::{DualConfig, Error, EvidenceKind};

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
fn a_run_ends_when_all_is_settled() -> Result<(), Error> {
    let mut network = network(&[1; 4]).submit_every(0, 10 * MS, 20, 64).build()?;
    network.run_until(200 * MS)?;
    assert!(!network.run_until_settled(201 * MS)?);
    assert_eq!(network.now(), 201 * MS);
    assert!(network.run_until_settled(60 * SECOND)?);
    assert!(network.report().settled == 20 && network.now() < 10 * SECOND, "{}", network.now());
    // Nothing is left to do.
    let now = network.now();
    assert!(network.run_until_settled(60 * SECOND)?);
    assert_eq!(network.now(), now);
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

/// `HANZO_SCHEDULES=100000 cargo test --release -p hanzo-snow --features simulate seeded -- --nocapture` for a long run,
/// `HANZO_FIRST_SCHEDULE` to begin elsewhere.
#[test]
fn seeded_schedules_neither_contradict_nor_lose_nor_stop() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default);
    let (first, count): (u64, u64) = (number("HANZO_FIRST_SCHEDULE", 0), number("HANZO_SCHEDULES", 40));
    for changes in [false, true] {
        let schedules = (first..first + count).map(|number| FaultSchedule::new(number).changing_validators(changes));
        let failed = schedules.filter_map(|schedule| Some((schedule, schedule.run().err()?)));
        let failures: Vec<_> = failed.take(8).collect();
        assert!(failures.is_empty(), "{failures:#?}");
        println!("{count} schedules from {first} on, validators changing: {changes}");
    }
}

/// Numbers under which earlier versions had stopped for good or broken an invariant. What a number stands for has changed since, with the
/// rounds' pace and the rivals' times; `directed` has tests of the faults themselves.
#[test]
fn schedules_that_once_failed() {
    for number in [924, 1047, 1417, 1665, 1960, 2078, 157_283] {
        assert_eq!(FaultSchedule::new(number).run().err(), None, "{number}");
    }
    assert_eq!(FaultSchedule::new(305_632).changing_validators(true).run().err(), None);
}

/// Not only because they stop: agreement itself breaks.
#[test]
fn nodes_that_forget_their_votes_are_caught() {
    let mut schedules = (0..200).map(|number| FaultSchedule::new(number).weakness(Weakness::NoPersistence));
    let contradicts = |error| !matches!(error, SimulateError::NoProgress { .. });
    assert!(schedules.any(|schedule| schedule.run().is_err_and(contradicts)));
}

/// 99 validators, 32 of them twice, parted so that each half has 65 or more votes.
fn parted(weakness: Weakness) -> Result<DualSimulation, Error> {
    let groups = (0..131).map(|node| usize::from((34..67).contains(&node) || node >= 99)).collect();
    let builder = network(&[1; 99]).weakness(weakness).twins(67..99).fault(0, Fault::Partition(groups));
    let order = |which| Tx::new([ConflictKey::new(b"one", 1)], [which]).expect("one key");
    Ok(builder.submit(0, 0, order(0)).submit(0, 40, order(1)).build()?)
}

#[test]
fn two_f_plus_one_of_99_is_no_quorum() -> Result<(), Error> {
    let mut sound = parted(Weakness::None)?;
    sound.run_until(4 * SECOND)?;
    assert_eq!(sound.committed_everywhere(), 0, "neither side has 67");
    let mut broken = parted(Weakness::Quorum(65))?;
    let found = broken.run_until(4 * SECOND);
    assert!(matches!(found, Err(SimulateError::Settlement { .. } | SimulateError::Conflict { .. })), "{found:?}");
    Ok(())
}

#[test]
fn colluders_are_all_found_out() -> Result<(), Error> {
    let builder = network(&[1; 10]).keyed(true).twins(0..3).submit_every(0, 20 * MS, 100, 32);
    let mut network = builder.build()?;
    network.run_until(5 * SECOND)?;
    let report = network.report();
    let found: std::collections::BTreeSet<u32> = report.evidence.iter().map(|(_, offender, _)| *offender).collect();
    assert!(found.iter().eq(&[0, 1, 2]), "{found:?}");
    for proof in &report.proofs {
        assert_eq!(proof.verify(network.committee(), network.verifier()), Ok(proof.offender()));
    }
    assert!(report.evidence.iter().any(|(_, _, kind)| *kind == EvidenceKind::Vertices));
    assert_eq!(network.certified_unsettled(), 0);
    Ok(())
}

#[test]
fn a_third_may_be_down_and_the_next_one_stops_everything_safely() -> Result<(), Error> {
    let mut builder = network(&[1; 10]).submit_every(0, 20 * MS, 500, 32);
    for node in 0..3 {
        builder = builder.fault(0, Fault::Crash(node));
    }
    builder = builder.fault(10 * SECOND, Fault::Crash(3)).fault(20 * SECOND, Fault::Restart(3));
    let mut network = builder.build()?;
    network.run_until(10 * SECOND)?;
    let live = network.committed_everywhere();
    assert!(live >= 5, "{live}");
    network.run_until(11 * SECOND)?;
    let stopped = network.committed_everywhere();
    // Just before the one that begins again, which may have kept one block less.
    network.run_until(20 * SECOND - 1)?;
    assert_eq!(network.committed_everywhere(), stopped);
    network.run_until(40 * SECOND)?;
    assert!(network.committed_everywhere() > stopped + 5);
    assert!(network.report().stalls > 0);
    assert_eq!(network.certified_unsettled(), 0);
    Ok(())
}

#[test]
fn keys_locked_by_rivals_are_released_with_the_epoch() -> Result<(), Error> {
    let rival = |which| Tx::new([ConflictKey::new(b"slot", 7)], [which]).expect("one key");
    let builder =
        network(&[1; 4]).submit(0, 0, rival(0)).submit(0, 1, rival(1)).config(|config| config.min_epoch_blocks(4));
    let mut network = builder.build()?;
    network.run_until(60 * SECOND)?;
    assert!(network.report().epochs >= 1);
    assert_eq!(network.certified_unsettled(), 0);
    Ok(())
}

#[test]
fn a_node_without_its_store_follows_and_does_not_vote() -> Result<(), Error> {
    // It begins again a second time, from what it has kept since: which says that it does not know what it voted.
    for again in [false, true] {
        // What it had in hand stays locked at the others; the epoch would be closed for that, and with the next it votes again.
        let mut builder = network(&[1; 4]).config(|config| config.unlock_after(std::time::Duration::from_secs(3_600)));
        builder = builder.submit_every(0, 20 * MS, 600, 32).fault(4 * SECOND, Fault::RestartEmpty(2));
        if again {
            builder = builder.fault(8 * SECOND, Fault::Restart(2));
        }
        let mut network = builder.build()?;
        network.run_until(30 * SECOND)?;
        let node = network.node(2).expect("it is up");
        assert_eq!(node.committee().epoch(), 0);
        assert!(node.replica().follows());
        assert_eq!(node.replica().vote_state().safety.last_voted(), 0);
        let others = network.node(0).expect("it is up");
        assert!(node.replica().committed().height + 5 > others.replica().committed().height);
        // Nor does it acknowledge, whose locks are forgotten too.
        let late = others.fast_path().dag().last_full_round();
        let signers = |id| others.fast_path().dag().get(&id).expect("of a round held").0.signers.clone();
        assert!(others.fast_path().dag().round(late).all(|(_, id)| !signers(id).contains(2)));
        assert_eq!(network.certified_unsettled(), 0);
    }
    Ok(())
}

/// Longer away than the others keep certificates, under a load that makes checkpoints all the time: it has to take them settled, and faster
/// than they are made.
#[test]
fn a_node_that_was_away_for_long_catches_up_under_load() -> Result<(), Error> {
    let builder = network(&[1; 4]).submit_every(0, 50 * MS, 1_400, 32);
    let builder = builder.fault(5 * SECOND, Fault::Crash(1)).fault(45 * SECOND, Fault::Restart(1));
    let mut network = builder.build()?;
    network.run_until(45 * SECOND)?;
    let missed = network.node(0).expect("it is up").replica().committed().height - network.executed_everywhere();
    network.run_until(60 * SECOND)?;
    let left = network.node(0).expect("it is up").replica().committed().height - network.executed_everywhere();
    assert!(missed > 50 && left < 10, "{missed} blocks behind, {left} after 15 s");
    Ok(())
}

#[test]
fn validators_change_at_the_end_of_an_epoch() -> Result<(), Error> {
    // Node 4 joins, node 1 leaves, node 2 gets more.
    let builder = network(&[10, 10, 10, 10, 0]).validators(2 * SECOND, [10, 0, 20, 10, 10]).keyed(true);
    let mut network = builder.submit_every(0, 20 * MS, 400, 32).build()?;
    network.run_until(30 * SECOND)?;
    let report = network.report();
    assert_eq!(report.epochs, 1);
    for node in (0..5).map(|node| network.node(node).expect("it is up")) {
        let committee = node.committee();
        assert_eq!((committee.epoch(), committee.validators().stakes()), (1, &[10, 20, 10, 10][..]));
        assert!(!node.replica().follows());
    }
    // Those who are no validators keep what they are given, and node 4 has become one.
    let left_out = (0..400_u64).filter(|i| i % 5 == 1 && i * 20 * MS > 2 * SECOND).count() as u64;
    assert!((390 - left_out..=410 - left_out).contains(&report.settled), "{}", report.settled);
    assert_eq!(network.certified_unsettled(), 0);
    Ok(())
}

/// Also while an epoch is about to end for another reason, such as keys locked by rivals.
#[test]
fn validators_asked_for_at_any_moment_come() -> Result<(), Error> {
    for at in (1_000..2_600).step_by(80) {
        let rival = |which| Tx::new([ConflictKey::new(b"slot", 7)], [which]).expect("one key");
        let builder = network(&[10; 4])
            .submit(0, 0, rival(0))
            .submit(0, 1, rival(1))
            .config(|config| config.unlock_after(std::time::Duration::from_secs(1)).min_epoch_blocks(2));
        let mut network = builder.validators(at * MS, [10, 10, 20, 10]).build()?;
        network.run_until(20 * SECOND)?;
        for node in (0..4).map(|node| network.node(node).expect("it is up")) {
            assert_eq!(node.committee().validators().stakes(), [10, 10, 20, 10], "asked for at {at} ms");
        }
    }
    Ok(())
}

/// Away for longer than the others keep certificates: what it then asks for in vain must not keep it from asking for what is there.
#[test]
fn a_node_that_was_away_takes_part_again() -> Result<(), Error> {
    for persist in [MS / 2, 2 * MS, 8 * MS] {
        let mut network = DualSimulation::builder([1; 4])
            .latency(Latency::Uniform { min: MS / 30, max: MS / 3 })
            .persist_cost(persist)
            .submit_every(0, 20 * MS, 300, 64)
            .fault(1_700 * MS, Fault::Crash(3))
            .fault(4_700 * MS, Fault::Restart(3))
            .build()?;
        network.run_until(20 * SECOND)?;
        let node = network.node(0).expect("it is up");
        assert_eq!(node.committee().epoch(), 0, "what it had locked has settled: nothing is stuck");
        let dag = node.fast_path().dag();
        let rounds = (dag.last_full_round() - 4)..dag.last_full_round();
        assert!(rounds.clone().all(|round| dag.has(round, 3)), "it has no vertices in {rounds:?}");
        assert_eq!(network.certified_unsettled(), 0);
        let report = network.report();
        // But for what it had just been given and had put into no vertex.
        assert!(report.settled + 2 >= report.submitted, "{} of {}", report.settled, report.submitted);
    }
    Ok(())
}

/// However many keys are used: with no more room for locks the epoch ends, and the next one begins with none.
#[test]
fn an_epoch_without_room_for_locks_ends() -> Result<(), Error> {
    let config = |config: DualConfig| config.min_epoch_blocks(2).fast_path(|fast| fast.max_locks(50));
    let mut network = network(&[1; 4]).config(config).submit_every(0, 20 * MS, 200, 64).build()?;
    network.run_until(60 * SECOND)?;
    assert_eq!(network.report().settled, 200);
    assert_eq!(network.certified_unsettled(), 0);
    assert!(network.node(0).expect("it is up").committee().epoch() >= 3, "of 50 locks each, for 200 keys");
    Ok(())
}

/// Rivals that have locked a key against each other come again in rounds of their own.
#[test]
fn of_many_rivals_one_settles_soon() -> Result<(), Error> {
    let mut epochs = 0;
    for seed in 0..12 {
        let config = |config: DualConfig| config.min_epoch_blocks(2).unlock_after(std::time::Duration::from_secs(1));
        let rival = |which| Tx::new([ConflictKey::new(b"slot", 7)], [which]).expect("one key");
        let mut builder = network(&[1; 10]).seed(seed).config(config);
        for node in 0..5 {
            builder = builder.submit(0, node, rival(node as u8));
        }
        let mut network = builder.build()?;
        let settled = |network: &DualSimulation| network.report().settled;
        while settled(&network) == 0 && network.now() < 60 * SECOND {
            network.run_until(network.now() + SECOND)?;
        }
        assert!(settled(&network) >= 1, "seed {seed}");
        epochs += network.report().epochs;
    }
    assert!(epochs <= 24, "two each would do: {epochs}");
    Ok(())
}

/// One of ten validators is so far away that a round of the others is over before its vertex has a certificate, and that nobody but itself
/// builds on what it certifies. It must take part all the same, and no epoch has to end for it.
#[test]
fn a_validator_far_from_the_others_takes_part() -> Result<(), Error> {
    let mut network =
        DualSimulation::builder([1; 10]).latency(Latency::ten_regions(10)).submit_every(0, 10 * MS, 500, 64).build()?;
    network.run_until(12 * SECOND)?;
    let report = network.report();
    assert_eq!((report.settled, report.epochs), (500, 0));
    // Without more patience its transactions need several rounds, 1.7 s.
    let slow = report.formed_quantile(990);
    assert!(slow.is_some_and(|time| time < SECOND), "{slow:?}");
    Ok(())
}
