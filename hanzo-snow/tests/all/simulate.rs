//! The in-process network: agreement over many seeds, exact figures of small networks, bad settings.

use crate::support::data::{lines, number, params};
use hanzo_snow::simulate::{Event, Finality, FlatEnd, FlatNetwork, Network, SimulateError, Strategy};
use hanzo_snow::{AddError, BlockRef, Params, SampleError, SetError, Variant};
use serde_json::Value;

fn id(n: u8) -> [u8; 32] {
    [n; 32]
}

/// Proposes `siblings` competing blocks on the tip.
fn compete(network: &mut Network, siblings: u8) -> Vec<[u8; 32]> {
    let (parent, height) = network.last_accepted();
    let blocks: Vec<_> = (0..siblings)
        .map(|n| {
            let mut id = [n ^ 0x5a; 32];
            id[..8].copy_from_slice(&height.to_be_bytes());
            BlockRef { id, parent, height: height + 1 }
        })
        .collect();
    network.propose(&blocks).unwrap();
    blocks.iter().map(|block| block.id).collect()
}

#[test]
fn b25_ten_validators_agree_at_every_height_over_many_seeds() {
    for seed in 0..60 {
        let mut network = Network::builder([1_000; 10]).seed(seed).build().unwrap();
        assert_eq!(*network.params(), Params::for_small_set(10).unwrap());
        for height in 1..=5 {
            let proposed = compete(&mut network, 1 + (seed % 3) as u8);
            let finality = network.run_to_finality(5_000).unwrap();
            let [(accepted, at)] = finality.accepted[..] else { panic!("{finality:?}") };
            assert!(proposed.contains(&accepted) && at == height);
            assert!(finality.rounds >= 20, "beta 20 takes 20 polls");
            for node in 0..10 {
                assert_eq!(network.chain(node).unwrap().last_accepted(), (accepted, height), "seed {seed}");
            }
        }
    }
}

#[test]
fn both_variants_end_and_agree() {
    for variant in [Variant::Snowflake, Variant::Snowball] {
        for params in [Params::AVALANCHE, Params::error_driven()] {
            let mut network = Network::builder([2_000; 60]).params(params).variant(variant).seed(3).build().unwrap();
            compete(&mut network, 4);
            assert_eq!(network.run_to_finality(2_000).unwrap().accepted.len(), 1);
        }
    }
}

#[test]
fn one_validator_decides_in_one_round() {
    let mut network = Network::builder([1]).build().unwrap();
    assert_eq!(*network.params(), Params::SINGLE);
    for height in 1..=3 {
        compete(&mut network, 2);
        let finality = network.run_to_finality(1).unwrap();
        assert_eq!((finality.rounds, finality.accepted.len(), finality.accepted[0].1), (1, 1, height));
    }
}

#[test]
fn every_small_set_decides_between_rivals() {
    for n in 2..20 {
        let mut network = Network::builder(vec![1_000; n]).seed(n as u64).build().unwrap();
        for _ in 0..3 {
            compete(&mut network, 2);
            assert_eq!(network.run_to_finality(20_000).unwrap().accepted.len(), 1, "n {n}");
        }
    }
}

#[test]
fn b38_the_majority_wins_against_ten_minority_voters() {
    let split = |node| usize::from(node >= 55);
    let blocks = |network: &Network| {
        let (parent, height) = network.last_accepted();
        [1, 2].map(|n| BlockRef { id: id(n), parent, height: height + 1 })
    };
    for seed in 0..5 {
        let mut network = Network::builder([1_000; 100])
            .byzantine(90..100, Strategy::VoteMinority)
            .params(Params::fast())
            .seed(seed)
            .build()
            .unwrap();
        network.propose_split(&blocks(&network), split).unwrap();
        assert_eq!(network.run_to_finality(5_000).unwrap().accepted, [(id(1), 1)]);
    }
}

#[test]
fn ten_colours_end_no_slower_with_the_smaller_preference_threshold() {
    let rounds = |params: Params| {
        let run = |seed| {
            let mut network = Network::builder([1_000; 100]).params(params).seed(seed).build().unwrap();
            compete(&mut network, 10);
            network.run_to_finality(20_000).unwrap().rounds
        };
        (0..5).map(run).sum::<u32>()
    };
    assert!(rounds(Params::fast()) <= rounds(Params::AVALANCHE));
}

#[test]
fn silent_third_stalls_and_silent_tenth_does_not() {
    let run = |silent: usize| {
        let mut network =
            Network::builder([1_000; 100]).byzantine(100 - silent..100, Strategy::Silent).seed(9).build().unwrap();
        compete(&mut network, 1);
        (network.run_to_finality(2_000), network)
    };
    let (ended, _) = run(10);
    assert_eq!(ended.unwrap().accepted.len(), 1);
    let (ended, network) = run(33);
    assert_eq!(ended, Err(SimulateError::NotFinal { rounds: 2_000, undecided: 67 }));
    assert_eq!((network.round(), network.byzantine_stake()), (2_000, 33_000));
    assert_eq!(network.last_accepted().1, 0);
}

#[test]
fn a_chain_of_blocks_is_decided_together_and_in_order() {
    let mut network = Network::builder([1_000; 30]).seed(1).build().unwrap();
    for height in 1..=4 {
        network.propose(&[BlockRef { id: id(height), parent: id(height - 1), height: height.into() }]).unwrap();
    }
    let finality = network.run_to_finality(100).unwrap();
    let chain: Vec<_> = (1..=4).map(|n| (id(n), u64::from(n))).collect();
    assert_eq!(finality, Finality { rounds: finality.rounds, accepted: chain });
    let all: Vec<_> = network.drain_events().collect();
    let by_all = all.iter().filter(|event| matches!(event, Event::AcceptedByAll { .. })).count();
    let by_one = all.iter().filter(|event| matches!(event, Event::Accepted { .. })).count();
    assert_eq!((by_all, by_one, all.len()), (4, 120, 124));
    assert_eq!(network.run_to_finality(0).unwrap(), Finality { rounds: 0, accepted: vec![] });
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut network = Network::builder((1..=25).map(|stake| 100 * stake))
            .byzantine([3, 7], Strategy::VoteMinority)
            .seed(seed)
            .build()
            .unwrap();
        for _ in 0..3 {
            compete(&mut network, 3);
            network.run_to_finality(20_000).unwrap();
        }
        (network.trace_hash(), network.drain_events().collect::<Vec<_>>())
    };
    assert_eq!(trace(5), trace(5));
    assert_ne!(trace(5).0, trace(6).0);
    // Integers and a named generator only: the same on every platform.
    let pinned = "aee47a1c08eb2ca0106a1c15bb75dc0d5ab75f2adff52a344207fd9318c515b4";
    assert_eq!(hex::encode(trace(5).0), pinned);
}

#[test]
fn weak_settings_split_the_network() {
    let weak = Params::builder().alpha_preference(11).conditions([(12, 1)]).concurrent_repolls(1).build().unwrap();
    let mut network = Network::builder([1_000; 200])
        .params(weak)
        .byzantine(160..200, Strategy::VoteMinority)
        .seed(1)
        .build()
        .unwrap();
    compete(&mut network, 2);
    let broken = network.run_to_finality(1_000).unwrap_err();
    let SimulateError::Disagreement { height: 1, first, second } = broken else { panic!("{broken}") };
    assert_ne!(network.chain(first).unwrap().last_accepted(), network.chain(second).unwrap().last_accepted());
    assert_eq!(network.step(), Err(broken), "for good");
}

#[test]
fn bad_settings_and_proposals() {
    let build = |stakes: &[u64]| Network::builder(stakes.iter().copied()).build().map(|_| ());
    assert_eq!(build(&[]), Err(SetError::EmptySet.into()));
    assert_eq!(build(&[0, 0]), Err(SetError::EmptySet.into()));
    assert_eq!(build(&[u64::MAX, 1]), Err(SetError::StakeOverflow.into()));
    assert_eq!(build(&[1; 20]), Err(SampleError::SampleTooLarge { total_stake: 19, k: 20 }.into()));
    let byzantine = |nodes: &[usize]| {
        Network::builder([9; 3]).byzantine(nodes.iter().copied(), Strategy::Silent).build().map(|_| ())
    };
    assert_eq!(byzantine(&[3]), Err(SimulateError::UnknownNode { node: 3, nodes: 3 }));
    assert_eq!(byzantine(&[1, 1]), Err(SimulateError::UnknownNode { node: 1, nodes: 3 }));
    assert_eq!(byzantine(&[0, 1, 2]), Err(SimulateError::NoHonestNode));

    let mut network = Network::builder([9; 3]).build().unwrap();
    let block = |n: u8, parent: u8, height| BlockRef { id: id(n), parent: id(parent), height };
    for (blocks, error) in [
        (vec![block(1, 9, 3)], AddError::UnknownParent),
        (vec![block(1, 0, 2)], AddError::WrongHeight { expected: 1 }),
        (vec![block(0, 0, 0)], AddError::Decided),
        (vec![block(1, 0, 1), block(1, 0, 1)], AddError::Duplicate),
        (vec![block(1, 0, 1), block(2, 1, 2)], AddError::UnknownParent),
    ] {
        assert_eq!(network.propose(&blocks), Err(error.into()));
        assert_eq!(network.propose_split(&blocks, |_| 9), Err(error.into()));
        assert_eq!(network.chain(0).unwrap().processing_len(), 0);
    }
    network.propose(&[]).unwrap();
    assert_eq!(network.run_to_finality(0).unwrap().rounds, 0);
}

/// Small networks against their exact transition probabilities.
#[test]
fn ends_are_distributed_as_computed_exactly() {
    let Some(cases) = lines("network_exact.jsonl") else { return };
    assert_eq!(cases.len(), 9);
    for case in &cases {
        let n: usize = number(&case["n"]);
        let byzantine: usize = number(&case["byzantine"]);
        let ones: usize = number(&case["initial_ones"]);
        let runs = 1_500;
        for flat in [false, true] {
            compare(case, n, byzantine, ones, runs, flat);
        }
    }
}

/// Runs of one case, as chains or flat, against what was computed.
fn compare(case: &Value, n: usize, byzantine: usize, ones: usize, runs: u64, flat: bool) {
    // All zero, all one, disagreement, stuck.
    let mut ends = [0_u32; 4];
    let mut rounds = 0_u64;
    for seed in 0..runs {
        let (end, round) = if flat {
            flat_end(case, n, byzantine, ones, seed)
        } else {
            let mut network = Network::builder(vec![1; n])
                .params(params(case))
                .include_self(false)
                .byzantine(n - byzantine..n, Strategy::VoteMinority)
                .seed(seed)
                .build()
                .unwrap();
            // Colours that differ in the first bit, so that the tree decides one bit.
            let blocks = [0, 1].map(|colour| BlockRef { id: id(0x40 + colour), parent: id(0), height: 1 });
            network.propose_split(&blocks, |node| usize::from(node < ones)).unwrap();
            let end = match network.run_to_finality(400) {
                Ok(finality) if finality.accepted[0].0 == blocks[0].id => 0,
                Ok(_) => 1,
                Err(SimulateError::Disagreement { .. }) => 2,
                Err(_) => 3,
            };
            (end, network.round())
        };
        ends[end] += 1;
        if end < 2 {
            rounds += round;
        }
    }
    let exact = ["p_all_zero", "p_all_one", "p_disagree"].map(|end| case[end].as_f64().unwrap());
    for (end, p) in exact.into_iter().enumerate() {
        let share = f64::from(ends[end]) / runs as f64;
        let sigma = (p * (1.0 - p) / runs as f64).sqrt();
        // Plus what may still be undecided after 400 rounds.
        let slack = 4.5 * sigma + 1.0 / runs as f64 + f64::from(ends[3]) / runs as f64;
        let what = format!("n {n} byzantine {byzantine} end {end}, flat {flat}");
        assert!((share - p).abs() <= slack, "{what}: {share} against {p}");
    }
    if exact[2] == 0.0 {
        let mean = rounds as f64 / runs as f64;
        let expected = case["expected_rounds"].as_f64().unwrap();
        assert!((mean - expected).abs() < 0.1 * expected, "n {n}, flat {flat}: {mean} rounds against {expected}");
    }
}

/// Where a network of single choices ends, and when.
fn flat_end(case: &Value, n: usize, byzantine: usize, ones: usize, seed: u64) -> (usize, u64) {
    let colours = (0..n - byzantine).map(|node| u8::from(node < ones));
    // The faulty are there before the sample is checked against the others.
    let network = FlatNetwork::new(params(case), Variant::Snowflake, colours, seed).unwrap();
    let mut network = network.with_faulty(byzantine, Strategy::VoteMinority).unwrap();
    let end = network.run_to_finality(400);
    let place = match (&end.decided[..], end.undecided) {
        (decided, _) if decided.len() > 1 => 2,
        (&[(colour, _)], 0) => usize::from(colour),
        _ => 3,
    };
    (place, u64::from(end.rounds))
}

#[test]
fn ten_thousand_flat_nodes_end_in_the_rounds_that_are_known() {
    let mut total = 0;
    for seed in 0..5 {
        let colours = (0..10_000).map(|node| (node % 2) as u8);
        let mut network = FlatNetwork::new(Params::fast(), Variant::Snowflake, colours, seed).unwrap();
        let end = network.run_to_finality(1_000);
        assert!(matches!(end.decided[..], [(_, 10_000)]) && end.undecided == 0, "{end:?}");
        total += end.rounds;
    }
    // 27 by simulation of the production implementation's authors.
    assert!((23..=31).contains(&(total / 5)), "{total} rounds in 5 runs");
}

#[test]
fn flat_networks_repeat_refuse_and_split_when_they_should() {
    let run = |seed| {
        let colours = (0..300_u32).map(|node| 7 * (node % 3) as u8);
        FlatNetwork::new(Params::fast(), Variant::Snowball, colours, seed).unwrap().run_to_finality(5_000)
    };
    assert_eq!(run(3), run(3));
    assert!(run(3) != run(4) || run(3) != run(5));
    assert!([0, 7, 14].contains(&run(3).decided[0].0));
    let new = |nodes: usize| FlatNetwork::new(Params::AVALANCHE, Variant::Snowflake, vec![1; nodes], 0);
    assert_eq!(new(0).unwrap_err(), SimulateError::NoHonestNode);
    assert_eq!(new(20).unwrap_err(), SampleError::SampleTooLarge { total_stake: 19, k: 20 }.into());
    assert!(matches!(new(30).unwrap().with_faulty(usize::MAX, Strategy::Silent), Err(SimulateError::Set(_))));
    // A third silent: 15 of 20 stalls.
    let mut stalled = new(670).unwrap().with_faulty(330, Strategy::Silent).unwrap();
    assert_eq!(stalled.run_to_finality(200), FlatEnd { rounds: 200, decided: vec![], undecided: 670, polls: 134_000 });
    // A majority of half and one success: some decide otherwise.
    let weak = Params::builder().alpha_preference(11).conditions([(12, 1)]).concurrent_repolls(1).build().unwrap();
    let colours = (0..800).map(|node| (node % 2) as u8);
    let network = FlatNetwork::new(weak, Variant::Snowflake, colours, 1).unwrap();
    assert!(network.with_faulty(200, Strategy::VoteMinority).unwrap().run_to_finality(1_000).disagrees());
}
