//! Faults that seeded schedules have found, each by itself: one replica or node, led into it by hand.

use hanzo_snow::fastpath::{ConflictKey, FastConfig, FastInput, FastMessage, FastOutput, FastPath, Tx};
use hanzo_snow::settlement::{
    Block, Input, LeaderRule, Memory, Message, Output, Proposal, QuorumCertificate, Replica, ReplicaConfig, Root,
    Timeout, TimeoutCertificate, chain_from_store,
};
use hanzo_snow::simulate::SimulatedKeys;
use hanzo_snow::{
    BlockStore, CheckpointPolicy, Close, Committee, DualConfig, DualInput, DualMessage, DualOutput, DualTrack,
    EntryKind, MemoryStore, Payload, Record, Signature, Signers, Timestamp, ValidatorSet,
};

const SECOND: u64 = 1_000_000_000;

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

/// Schedule 305632: a crash after the first vertex was kept and before the first vote. What the fast path had kept was taken for a sign that
/// the committee was kept too, and after one more restart the end of that epoch could not be told.
#[test]
fn the_first_committee_is_kept_also_after_a_crash_before_the_first_vote() -> Result<(), Failure> {
    let mut now = Timestamp::from_nanos(0);
    let (committee, mut store) = (committee(1)?, MemoryStore::<[u8; 32]>::default());
    let kinds = |store: &MemoryStore<[u8; 32]>| -> Result<Vec<EntryKind>, Failure> {
        Ok(store.entries()?.iter().map(|entry| entry.kind).collect())
    };
    let (mut crashed, mut node) = (false, None);
    while !kinds(&store)?.contains(&EntryKind::VoteState) {
        let entries = store.entries()?;
        let memory = if entries.is_empty() { Memory::Fresh(Root::default()) } else { Memory::Stored(entries) };
        let begin = || {
            let config = DualConfig::new([0; 32]);
            DualTrack::new(config, committee.clone(), SimulatedKeys::Unsigned, memory, 1, now)
        };
        let track = match &mut node {
            Some(track) => track,
            None => node.insert(begin()?),
        };
        let mut vertex_kept = false;
        while let Some(output) = track.poll_output() {
            if let DualOutput::Persist { token, records } = output {
                let of_votes =
                    |record: &Record<_>| matches!(record, Record::Entry(entry) if entry.kind == EntryKind::VoteState);
                if !crashed && records.iter().any(of_votes) {
                    continue;
                }
                store.append(&records)?;
                vertex_kept |= !crashed;
                track.handle(now, DualInput::Persisted(token))?;
            }
        }
        if vertex_kept {
            (crashed, node) = (true, None);
            continue;
        }
        now = track.poll_timeout();
        track.handle(now, DualInput::Tick)?;
    }
    assert!(crashed, "something was kept before the first vote");
    assert!(kinds(&store)?.contains(&EntryKind::Committee), "the committee comes with the first vote");
    Ok(())
}
