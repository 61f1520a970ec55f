//! Both tracks under the simulator: seeded schedules of faults, and the same schedules against a broken protocol; and directed tests
//! of what such schedules have found.

use hanzo_snow::fastpath::{ConflictKey, FastConfig, FastInput, FastMessage, FastOutput, FastPath, Tx};
use hanzo_snow::settlement::{
    Block, Input, LeaderRule, Memory, Message, Output, Proposal, QuorumCertificate, Replica, ReplicaConfig, Root,
    Timeout, TimeoutCertificate, chain_from_store,
};
use hanzo_snow::simulate::{
    DualSimulation, DualSimulationBuilder, Fault, FaultSchedule, Latency, SimulateError, SimulatedKeys, Weakness,
};
use hanzo_snow::{
    BlockStore, CheckpointPolicy, Close, Committee, DualConfig, DualInput, DualMessage, DualOutput, DualTrack,
    EntryKind, Error, EvidenceKind, MemoryStore, Payload, Record, Signature, Signers, Timestamp, ValidatorSet,
};

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
/// rounds' pace and the rivals' times; the tests below are of the faults themselves.
#[test]
fn schedules_that_once_failed() {
    for number in [924, 1047, 1417, 1665, 1960, 2078, 157_283] {
        assert_eq!(FaultSchedule::new(number).run().err(), None, "{number}");
    }
    let changing = FaultSchedule::new(305_632).changing_validators(true);
    assert_eq!(changing.run().err(), None, "a restart between the first vertex kept and the first vote");
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

type Failure = Box<dyn std::error::Error>;

fn committee(n: u8) -> Result<Committee, Failure> {
    let validators = ValidatorSet::new((0..n).map(|node| ([node; 32], 1)))?;
    Ok(Committee::new([9; 32], 0, validators)?)
}

fn replica(own: u8, n: u8) -> Result<Replica<SimulatedKeys>, Failure> {
    let config = ReplicaConfig::new([own; 32]).leaders(LeaderRule::RoundRobin);
    let (memory, start) = (Memory::Fresh(Root::default()), Timestamp::from_nanos(0));
    Ok(Replica::new(config, committee(n)?, SimulatedKeys::Unsigned, memory, start)?)
}

/// What a replica sends if all it keeps is durable at once and all payloads are valid.
fn sent(replica: &mut Replica<SimulatedKeys>, now: Timestamp) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(output) = replica.poll_output() {
        match output {
            Output::Persist { token, .. } => drop(replica.handle(now, Input::Persisted(token))),
            Output::Validate { block } => drop(replica.handle(now, Input::Validated { block, ok: true })),
            Output::Send { message, .. } | Output::Broadcast { message, .. } => messages.push(message),
            _ => {}
        }
    }
    messages
}

fn unsigned() -> Signature {
    Signature::from([])
}

/// A chain from genesis whose views are every fourth from `first` on, so that nothing is committed, with the certificate of its end.
fn branch(committee: &Committee, first: u64, length: u64) -> (Vec<Block>, QuorumCertificate) {
    let mut justify = QuorumCertificate::root([0; 32]);
    let signers = || Signers::new(0..3);
    let mut blocks = Vec::new();
    for height in 1..=length {
        let view = first + 4 * (height - 1);
        let entry = TimeoutCertificate {
            view: view - 1,
            signers: signers(),
            high_views: vec![justify.view; 3].into(),
            signatures: vec![unsigned(); 3].into(),
        };
        let block = Block {
            view,
            height,
            proposer: (view % 4) as u32,
            justify,
            entry: Some(entry),
            payload: [].into(),
            next: None,
        };
        let signatures = vec![unsigned(); 3].into();
        justify = QuorumCertificate { view, block: block.id(committee), signers: signers(), signatures };
        blocks.push(block);
    }
    (blocks, justify)
}

fn take(replica: &mut Replica<SimulatedKeys>, message: Message) -> Result<(), Failure> {
    let now = Timestamp::from_nanos(0);
    replica.handle(now, Input::Message { from: [0; 32], epoch: 0, message })?;
    sent(replica, now);
    Ok(())
}

/// A timeout of the next view, which tells of a certificate.
fn tell(certificate: &QuorumCertificate) -> Message {
    let (view, high) = (certificate.view + 1, certificate.clone());
    Message::Timeout(Timeout { view, high, entry: None, vote: None, voter: 0, signature: unsigned() })
}

/// Schedule 1665: two validators held a certified block, the others a later one of the same height, and as no block came
/// on top of either without both, the two asked for ever for blocks above their own.
#[test]
fn a_later_certified_block_of_no_greater_height_is_fetched() -> Result<(), Failure> {
    let committee = committee(4)?;
    // As high, lower, and further than one answer reaches.
    for (own, other) in [(1, 1), (3, 1), (40, 40)] {
        let (mut behind, mut peer) = (replica(1, 4)?, replica(3, 4)?);
        let ((blocks, lower), (others, higher)) = (branch(&committee, 4, own), branch(&committee, 4 * own + 2, other));
        for block in blocks {
            take(&mut behind, Message::Proposal(Proposal { block, signature: unsigned() }))?;
        }
        take(&mut behind, tell(&lower))?;
        for block in others {
            take(&mut peer, Message::Proposal(Proposal { block, signature: unsigned() }))?;
        }
        take(&mut peer, tell(&higher))?;
        behind.handle(Timestamp::from_nanos(0), Input::Message { from: [0; 32], epoch: 0, message: tell(&higher) })?;
        let mut now = Timestamp::from_nanos(0);
        for _ in 0..20 {
            let mut asked = sent(&mut behind, now);
            // As long as there are answers, and then what comes with time.
            while let Some(message) = asked.pop().filter(|_| behind.block(&higher.block).is_none()) {
                if !matches!(message, Message::Request { .. }) {
                    continue;
                }
                peer.handle(now, Input::Message { from: [1; 32], epoch: 0, message })?;
                for answer in sent(&mut peer, now) {
                    if matches!(answer, Message::Chain { .. }) {
                        behind.handle(now, Input::Message { from: [3; 32], epoch: 0, message: answer })?;
                    }
                }
                asked.extend(sent(&mut behind, now));
            }
            now = behind.poll_timeout().expect("it waits for its view to end");
            behind.handle(now, Input::Tick)?;
        }
        assert!(behind.block(&higher.block).is_some(), "heights {own} and {other}");
    }
    Ok(())
}

/// Schedule 1960: the clock jumped while the record of a timeout was being written, and the timeout was sent again before it
/// had been sent at all.
#[test]
fn a_timeout_is_not_repeated_before_it_is_durable() -> Result<(), Failure> {
    let mut replica = replica(0, 4)?;
    let timeouts = |replica: &mut Replica<SimulatedKeys>| {
        let (mut tokens, mut timeouts) = (Vec::new(), 0);
        while let Some(output) = replica.poll_output() {
            match output {
                Output::Persist { token, .. } => tokens.push(token),
                Output::Broadcast { message: Message::Timeout(_), .. } => timeouts += 1,
                _ => {}
            }
        }
        (tokens, timeouts)
    };
    let mut now = Timestamp::from_nanos(10 * SECOND);
    replica.handle(now, Input::Tick)?;
    let (tokens, early) = timeouts(&mut replica);
    assert_eq!((tokens.len(), early), (1, 0));
    for _ in 0..3 {
        now = Timestamp::from_nanos(now.as_nanos() + 10 * SECOND);
        replica.handle(now, Input::Tick)?;
        assert_eq!(timeouts(&mut replica), (Vec::new(), 0));
    }
    replica.handle(now, Input::Persisted(tokens[0]))?;
    assert_eq!(timeouts(&mut replica).1, 1);
    replica.handle(Timestamp::from_nanos(now.as_nanos() + 10 * SECOND), Input::Tick)?;
    assert_eq!(timeouts(&mut replica).1, 1, "sent again");
    Ok(())
}

#[test]
fn an_own_certificate_is_not_repeated_before_it_is_durable() -> Result<(), Failure> {
    let start = Timestamp::from_nanos(0);
    let mut node = FastPath::new(FastConfig::new([0; 32]), committee(1)?, SimulatedKeys::Unsigned, 1, start);
    let certificates = |node: &mut FastPath<SimulatedKeys>| {
        let (mut last, mut certificates) = (None, 0);
        while let Some(output) = node.poll_output() {
            match output {
                FastOutput::Persist { token, .. } => last = Some(token),
                FastOutput::Broadcast(FastMessage::Certificate(_)) => certificates += 1,
                _ => {}
            }
        }
        (last, certificates)
    };
    node.handle(start, FastInput::Submit(Tx::new([ConflictKey::new(b"one", 1)], [1]).expect("one key")))?;
    let (acknowledged, _) = certificates(&mut node);
    node.handle(start, FastInput::Persisted(acknowledged.expect("its own acknowledgement")))?;
    let (certified, early) = certificates(&mut node);
    assert_eq!((node.dag().len(), early), (1, 0));
    let later = Timestamp::from_nanos(10 * SECOND);
    node.handle(later, FastInput::Tick)?;
    assert_eq!(certificates(&mut node).1, 0);
    node.handle(later, FastInput::Persisted(certified.expect("its certificate")))?;
    assert_eq!(certificates(&mut node).1, 1);
    Ok(())
}

/// Schedule 1047: the end of an epoch was kept under the number of the next, and a node two epochs behind was never served.
#[test]
fn a_node_several_epochs_behind_catches_up_from_a_store() -> Result<(), Failure> {
    let mut now = Timestamp::from_nanos(0);
    let (mut alone, mut store) = (replica(0, 1)?, MemoryStore::<[u8; 32]>::default());
    alone.handle(now, Input::Pending(true))?;
    while alone.committee().epoch() < 4 {
        while let Some(output) = alone.poll_output().filter(|_| alone.committee().epoch() < 4) {
            match output {
                Output::Persist { token, entries } => {
                    store.append(&entries.into_iter().map(Record::Entry).collect::<Vec<_>>())?;
                    alone.handle(now, Input::Persisted(token))?;
                }
                Output::Build { view, .. } => {
                    let next = Some([([0; 32], 1)].into());
                    alone.handle(now, Input::Payload { view, payload: [1].into(), next })?;
                }
                _ => {}
            }
        }
        now = alone.poll_timeout().expect("it waits for its view to end");
        alone.handle(now, Input::Tick)?;
    }
    let mut follower = Replica::new(
        ReplicaConfig::new([7; 32]).leaders(LeaderRule::RoundRobin),
        committee(1)?,
        SimulatedKeys::Unsigned,
        Memory::Fresh(Root::default()),
        now,
    )?;
    for _ in 0..20 {
        // A message of a later epoch says that something is missing.
        let message = tell(&QuorumCertificate::root([0; 32]));
        let _ = follower.handle(now, Input::Message { from: [0; 32], epoch: 3, message });
        for message in sent(&mut follower, now) {
            let Message::Request { after } = message else { continue };
            let epoch = follower.committee().epoch();
            if let Some(message) = chain_from_store(&store.entries()?, epoch, after) {
                follower.handle(now, Input::Message { from: [0; 32], epoch, message })?;
            }
        }
        now = follower.poll_timeout().expect("it waits for its view to end");
    }
    assert_eq!(follower.committee().epoch(), 3);
    Ok(())
}

/// Schedule 1417: a later branch left out the block whose certificate had committed a payload, so that some had
/// committed it and the others could not, and refused every payload on top.
#[test]
fn payloads_wait_until_the_chain_shows_what_is_committed() -> Result<(), Failure> {
    let committee = committee(4)?;
    let certificate = |view, block: &Block| QuorumCertificate {
        view,
        block: block.id(&committee),
        signers: Signers::new(0..3),
        signatures: vec![unsigned(); 3].into(),
    };
    let block = |view: u64, height, justify: QuorumCertificate, payload: &[u8]| {
        let entry = (justify.view + 1 < view).then(|| TimeoutCertificate {
            view: view - 1,
            signers: Signers::new(0..3),
            high_views: vec![justify.view; 3].into(),
            signatures: vec![unsigned(); 3].into(),
        });
        Block { view, height, proposer: (view % 4) as u32, justify, entry, payload: payload.into(), next: None }
    };
    let propose = |block: &Block| Message::Proposal(Proposal { block: block.clone(), signature: unsigned() });
    let busy = block(1, 1, QuorumCertificate::root([0; 32]), &[1]);
    let left_out = block(2, 2, certificate(1, &busy), &[]);
    let other = block(4, 2, certificate(1, &busy), &[]);
    let next = block(5, 3, certificate(4, &other), &[]);
    let (mut knows, mut does_not) = (replica(3, 4)?, replica(3, 4)?);
    for message in [propose(&busy), propose(&left_out), tell(&certificate(2, &left_out)), propose(&other)] {
        take(&mut knows, message)?;
    }
    for message in [propose(&busy), propose(&other)] {
        take(&mut does_not, message)?;
    }
    for node in [&mut knows, &mut does_not] {
        take(node, tell(&certificate(4, &other)))?;
    }
    assert_eq!((knows.committed().height, does_not.committed().height), (1, 0));
    assert!(!knows.shows_commits(&other.id(&committee)));
    for node in [&mut knows, &mut does_not] {
        take(node, propose(&next))?;
        take(node, tell(&certificate(5, &next)))?;
    }
    assert_eq!((knows.committed().height, does_not.committed().height), (2, 2));
    assert!(knows.shows_commits(&next.id(&committee)) && does_not.shows_commits(&next.id(&committee)));
    Ok(())
}

/// Schedule 2078: between a commit and its record being durable, payloads were made and checked as if it had not been, and a
/// checkpoint came after the close of its epoch had begun.
#[test]
fn payloads_wait_until_commits_are_carried_out() -> Result<(), Failure> {
    let mut now = Timestamp::from_nanos(0);
    let (config, memory) = (DualConfig::new([0; 32]), Memory::Fresh(Root::default()));
    let committee = committee(1)?;
    let mut node = DualTrack::new(config, committee.clone(), SimulatedKeys::Unsigned, memory, 1, now)?;
    node.handle(now, DualInput::Next([([0; 32], 2)].into()))?;
    let mut opened = 0;
    for _ in 0..100 {
        for _ in 0..100 {
            let Some(output) = node.poll_output() else { break };
            match output {
                DualOutput::Persist { token, .. } => node.handle(now, DualInput::Persisted(token))?,
                DualOutput::Broadcast { epoch: 0, message: DualMessage::Settlement(Message::Proposal(proposal)) }
                    if !proposal.block.payload.is_empty() =>
                {
                    let payload = Payload::decode(&proposal.block.payload, &committee)?;
                    opened += u32::from(matches!(payload.close, Some(Close::Open { .. })));
                }
                _ => {}
            }
        }
        now = node.poll_timeout();
        node.handle(now, DualInput::Tick)?;
    }
    assert_eq!((node.committee().epoch(), opened), (1, 1));
    Ok(())
}

/// A checkpoint whose record became durable just before a crash is told of before that, or again.
#[test]
fn no_crash_leaves_a_checkpoint_untold() -> Result<(), Failure> {
    let mut now = Timestamp::from_nanos(0);
    let (committee, mut store) = (committee(1)?, MemoryStore::<[u8; 32]>::default());
    let (mut told, mut crashes) = (Vec::new(), 0);
    while crashes < 5 {
        let config = DualConfig::new([0; 32]).checkpoints(CheckpointPolicy::every(2));
        let entries = store.entries()?;
        let memory = if entries.is_empty() { Memory::Fresh(Root::default()) } else { Memory::Stored(entries) };
        let mut node = DualTrack::new(config, committee.clone(), SimulatedKeys::Unsigned, memory, 1, now)?;
        'up: loop {
            while let Some(output) = node.poll_output() {
                match output {
                    DualOutput::Persist { token, records } => {
                        let settles = |record: &Record<_>| matches!(record, Record::Entry(entry) if entry.kind == EntryKind::Checkpoint);
                        store.append(&records)?;
                        if records.iter().any(settles) {
                            break 'up;
                        }
                        node.handle(now, DualInput::Persisted(token))?;
                    }
                    DualOutput::Settled(settled) => told.push(settled.checkpoint.sequence),
                    _ => {}
                }
            }
            now = node.poll_timeout();
            node.handle(now, DualInput::Tick)?;
        }
        crashes += 1;
        let kept = store.entries()?.iter().filter(|entry| entry.kind == EntryKind::Checkpoint).count() as u64;
        assert!((0..kept).all(|sequence| told.contains(&sequence)), "{told:?} of {kept}");
    }
    Ok(())
}

/// The end of three epochs was committed and none carried out, as certificates were missing; then the node began again and carried out
/// the last only.
#[test]
fn a_node_that_begins_again_epochs_behind_carries_out_each() -> Result<(), Failure> {
    let mut now = Timestamp::from_nanos(0);
    let (committee, mut store) = (committee(1)?, MemoryStore::<[u8; 32]>::default());
    let start = |memory, now| {
        DualTrack::new(DualConfig::new([0; 32]), committee.clone(), SimulatedKeys::Unsigned, memory, 1, now)
    };
    let mut node = start(Memory::Fresh(Root::default()), now)?;
    while node.committee().epoch() < 3 {
        node.handle(now, DualInput::Next([([0; 32], node.committee().epoch() + 2)].into()))?;
        while let Some(output) = node.poll_output() {
            if let DualOutput::Persist { token, records } = output {
                // All but what says that something was carried out.
                let kept = records
                    .into_iter()
                    .filter(|record| matches!(record, Record::Entry(entry) if entry.kind != EntryKind::Checkpoint));
                store.append(&kept.collect::<Vec<_>>())?;
                node.handle(now, DualInput::Persisted(token))?;
            }
        }
        now = node.poll_timeout();
        node.handle(now, DualInput::Tick)?;
    }
    let mut again = start(Memory::Stored(store.entries()?), now)?;
    let told: Vec<(&str, u64)> = std::iter::from_fn(|| again.poll_output())
        .filter_map(|output| match output {
            DualOutput::Epoch(committee) => Some(("epoch", committee.epoch())),
            DualOutput::Settled(settled) => Some(("settled", settled.checkpoint.epoch)),
            _ => None,
        })
        .collect();
    let each = (0..3).flat_map(|epoch| [("settled", epoch), ("epoch", epoch + 1)]);
    assert_eq!(told, each.collect::<Vec<_>>());
    assert_eq!(again.executed(), again.replica().committed().height);
    Ok(())
}
