//! Both tracks under the simulator: seeded schedules of faults, and the same schedules against a broken protocol; and directed tests
//! of what such schedules have found.

use hanzo_snow::fastpath::{ConflictKey, FastConfig, FastInput, FastMessage, FastOutput, FastPath, Tx};
use hanzo_snow::settlement::{
    Block, Input, LeaderRule, Memory, Message, Output, Proposal, QuorumCertificate, Replica, ReplicaConfig, Root,
    Timeout, TimeoutCertificate,
};
use hanzo_snow::simulate::{
    DualSimulation, DualSimulationBuilder, Fault, Latency, SimulateError, SimulatedKeys, Weakness,
};
use hanzo_snow::{Committee, Error, EvidenceKind, Signature, Signers, Timestamp, ValidatorSet};

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
    let mut builder =
        network(&stakes).seed(seed).weakness(weakness).random_faults(seed, n / 2, 6 * SECOND).config(|config| {
            let config =
                config.settlement(|replica| replica.base_timeout(std::time::Duration::from_millis(400)).window(8));
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

/// `HANZO_SCHEDULES=100000 cargo test --release -p hanzo-snow --features simulate --test all schedules -- --nocapture` for the long run;
/// `HANZO_FIRST_SCHEDULE` to begin elsewhere.
#[test]
fn seeded_schedules_neither_contradict_nor_lose_nor_stop() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default);
    let (first, count) = (number("HANZO_FIRST_SCHEDULE", 0), number("HANZO_SCHEDULES", 60));
    let failed = |seed| schedule(seed, Weakness::None).err().map(|error| format!("schedule {seed}: {error}"));
    let failures: Vec<String> = (first..first + count).filter_map(failed).take(8).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    println!("{count} schedules from {first} on");
}

#[test]
fn nodes_that_forget_their_votes_are_caught() {
    let errors: Vec<String> = (0..40).filter_map(|seed| schedule(seed, Weakness::NoPersistence).err()).collect();
    // Not only because they stop: agreement itself breaks.
    let contradictions = errors.iter().filter(|error| !error.contains("progress")).count();
    assert!(errors.len() >= 3 && contradictions >= 1, "{errors:#?}");
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
        assert_eq!(proof.verify(network.committee(), &network.verifier()), Ok(proof.offender()));
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
    network.run_until(20 * SECOND)?;
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
    let builder = network(&[1; 4]).submit_every(0, 20 * MS, 600, 32).fault(4 * SECOND, Fault::RestartEmpty(2));
    let mut network = builder.build()?;
    network.run_until(30 * SECOND)?;
    let node = network.node(2).expect("it is up");
    assert_eq!(node.replica().vote_state().safety.last_voted(), 0);
    assert!(node.replica().committed().height + 5 > network.node(0).expect("it is up").replica().committed().height);
    assert_eq!(network.certified_unsettled(), 0);
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
