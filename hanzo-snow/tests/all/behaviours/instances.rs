//! Single choices, flat and as trees, and networks of them.

use hanzo_snow::analysis::{expected_polls, poll_success};
use hanzo_snow::{Flat, Params, Snowball, Snowflake, Tree, Variant, VoteBag, sample_units};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{Id, bag, id, params, split_params};

/// More rounds than a run may take: with ten even colours a flat instance never sees its majority.
const NEVER: u32 = 600;

/// Lock-step rounds of nodes that answer with their preference: how many until all are final, and what they chose.
fn rounds_to_end<T>(
    nodes: &mut [T],
    k: u16,
    seed: u64,
    preference: impl Fn(&T) -> Id,
    poll: impl Fn(&mut T, &VoteBag<Id>),
    is_finalized: impl Fn(&T) -> bool,
) -> (u32, Vec<Id>) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut rounds = 0;
    let mut sample = Vec::new();
    while rounds < NEVER && !nodes.iter().all(&is_finalized) {
        rounds += 1;
        let answers: Vec<Id> = nodes.iter().map(&preference).collect();
        for (at, node) in nodes.iter_mut().enumerate() {
            // The others, in the order of the set.
            sample_units(answers.len() as u64 - 1, k, &mut rng, &mut sample).unwrap();
            let other = |unit: u64| unit as usize + usize::from(unit as usize >= at);
            poll(node, &sample.iter().map(|&unit| answers[other(unit)]).collect());
        }
    }
    let mut ends: Vec<Id> = nodes.iter().map(preference).collect();
    ends.sort_unstable();
    ends.dedup();
    (rounds, ends)
}

#[test]
fn b26_snowball_and_snowflake_converge_with_each_other() {
    for seed in 0..10 {
        let params = split_params(10, 6, &[(8, 12)]);
        let mut nodes: Vec<Flat<Id>> = (0..60)
            .map(|n| {
                let variant = if n % 2 == 0 { Variant::Snowball } else { Variant::Snowflake };
                Flat::new(params, variant, id(u8::from(n % 3 == 0)))
            })
            .collect();
        let poll = |node: &mut Flat<Id>, votes: &VoteBag<Id>| {
            node.record_poll(votes).unwrap();
        };
        let (rounds, ends) = rounds_to_end(&mut nodes, 10, seed, Flat::preference, poll, Flat::is_finalized);
        assert!(rounds < NEVER && ends.len() == 1, "seed {seed}");
    }
}

#[test]
fn b37_ten_colours_end_no_slower_in_a_tree_and_with_a_split_alpha() {
    let colours: Vec<Id> = (0..10).map(|n| [0x1b_u8.wrapping_mul(n + 1); 32]).collect();
    let runs = 3;
    let mut means = Vec::new();
    for (alpha_preference, tree) in [(15, false), (15, true), (11, false), (11, true)] {
        let params = split_params(20, alpha_preference, &[(15, 20)]);
        let mut total = 0;
        for seed in 0..runs {
            let first = |n: usize| colours[n % 10];
            let (rounds, ends) = if tree {
                let mut nodes: Vec<Tree<Id>> = (0..100)
                    .map(|n| {
                        let mut tree = Tree::new(params, Variant::Snowflake, first(n));
                        colours.iter().for_each(|&colour| tree.add(colour));
                        tree
                    })
                    .collect();
                let poll = |node: &mut Tree<Id>, votes: &VoteBag<Id>| {
                    node.record_poll(votes).unwrap();
                };
                rounds_to_end(&mut nodes, 20, seed, Tree::preference, poll, Tree::is_finalized)
            } else {
                let new = |n| Flat::new(params, Variant::Snowflake, first(n));
                let mut nodes: Vec<Flat<Id>> = (0..100).map(new).collect();
                let poll = |node: &mut Flat<Id>, votes: &VoteBag<Id>| {
                    node.record_poll(votes).unwrap();
                };
                rounds_to_end(&mut nodes, 20, seed, Flat::preference, poll, Flat::is_finalized)
            };
            assert_eq!((rounds < NEVER, ends.len() == 1), (tree, tree));
            total += rounds;
        }
        means.push(total);
    }
    let [flat_15, tree_15, flat_11, tree_11] = means[..] else { unreachable!() };
    assert!(tree_15 <= flat_15 && tree_11 <= flat_11, "{means:?} rounds in {runs} runs");
    assert!(tree_11 <= tree_15 && flat_11 <= flat_15, "{means:?} rounds in {runs} runs");
}

#[test]
fn b27_unary_finalizes_on_consecutive_successes_only() {
    let mut tree = Tree::new(params(1, 1, 2), Variant::Snowflake, id(1));
    for (votes, finalized) in [(1, false), (0, false), (1, false), (1, true)] {
        tree.record_poll(&bag(&[(1, votes)])).unwrap();
        assert_eq!(tree.is_finalized(), finalized);
    }
}

#[test]
fn b28_record_unsuccessful_is_an_empty_poll() {
    let mut polled = Tree::new(params(1, 1, 2), Variant::Snowball, id(1));
    polled.record_poll(&bag(&[(1, 1)])).unwrap();
    let mut told = polled.clone();
    assert!(!polled.record_poll(&VoteBag::new()).unwrap());
    told.record_unsuccessful();
    for tree in [&mut polled, &mut told] {
        tree.record_poll(&bag(&[(1, 1)])).unwrap();
        assert!(!tree.is_finalized());
        tree.record_poll(&bag(&[(1, 1)])).unwrap();
        assert!(tree.is_finalized());
    }
}

#[test]
fn b29_a_final_tree_ignores_ids_and_votes() {
    let mut tree = Tree::new(params(2, 2, 1), Variant::Snowflake, id(1));
    tree.record_poll(&bag(&[(1, 2)])).unwrap();
    tree.add(id(2));
    tree.record_poll(&bag(&[(2, 2)])).unwrap();
    assert!(tree.is_finalized());
    assert_eq!(tree.preference(), id(1));
}

#[test]
fn b30_snowball_keeps_its_preference_on_a_tie() {
    let mut instance = Snowball::new(params(1, 1, 9), 1);
    for (choice, preference) in [(1, 1), (2, 1), (2, 2), (1, 2), (1, 1)] {
        instance.record_poll(1, choice);
        assert_eq!(*instance.preference(), preference);
    }
}

#[test]
fn b31_adding_a_choice_twice_is_a_no_op() {
    let mut tree = Tree::new(params(1, 1, 3), Variant::Snowflake, id(1));
    tree.add(id(2));
    tree.record_poll(&bag(&[(2, 1)])).unwrap();
    let before = tree.clone();
    tree.add(id(1));
    tree.add(id(2));
    assert_eq!(tree, before);
}

#[test]
fn b32_ids_that_differ_in_the_last_bit_are_told_apart() {
    let (zeros, mut last) = ([0; 32], [0; 32]);
    last[31] = 0x80;
    let mut tree = Tree::new(params(1, 1, 2), Variant::Snowflake, zeros);
    tree.add(last);
    for _ in 0..2 {
        tree.record_poll(&[last].into_iter().collect()).unwrap();
    }
    assert!(tree.is_finalized());
    assert_eq!(tree.preference(), last);
}

#[test]
fn b33_an_id_against_a_decided_first_bit_has_no_effect() {
    let mut tree = Tree::new(params(2, 2, 1), Variant::Snowflake, id(1));
    tree.add(id(3));
    // Decides bit 0, leaves bit 1 open.
    assert!(tree.record_poll(&bag(&[(1, 1), (3, 1)])).unwrap());
    let before = tree.clone();
    tree.add(id(4));
    assert_eq!(tree, before);
    assert!(!tree.record_poll(&bag(&[(4, 2)])).unwrap());
    assert_eq!(tree.preference(), id(1));
}

#[test]
fn b34_resets_reach_children_and_siblings_at_their_next_poll() {
    // 1 = 01, 3 = 11: shared bit 0, then a split on bit 1; beta 2.
    let mut tree = Tree::new(params(2, 2, 2), Variant::Snowflake, id(1));
    tree.add(id(3));
    tree.record_poll(&bag(&[(3, 2)])).unwrap();
    tree.record_poll(&VoteBag::new()).unwrap();
    // The shared bit starts again, and so must the branch.
    tree.record_poll(&bag(&[(3, 2)])).unwrap();
    assert!(!tree.is_finalized());
    tree.record_poll(&bag(&[(3, 2)])).unwrap();
    assert!(tree.is_finalized());

    // A poll for one branch clears the other.
    let mut tree = Tree::new(params(2, 2, 3), Variant::Snowflake, id(1));
    tree.add(id(2));
    for n in [2, 2, 1, 2, 2] {
        tree.record_poll(&bag(&[(n, 2)])).unwrap();
        assert!(!tree.is_finalized());
    }
    tree.record_poll(&bag(&[(2, 2)])).unwrap();
    assert!(tree.is_finalized());
}

#[test]
fn b35_each_condition_alone_ends_in_its_beta() {
    let params = split_params(10, 6, &[(6, 5), (8, 3), (10, 1)]);
    for (count, beta) in [(6, 5), (7, 5), (8, 3), (9, 3), (10, 1)] {
        let mut instance = Snowflake::new(params, 0);
        for polls in 1..=beta {
            instance.record_poll(count, 0);
            assert_eq!(instance.is_finalized(), polls == beta, "{count} votes, poll {polls}");
        }
    }
    let mut instance = Snowflake::new(params, 0);
    instance.record_poll(8, 0);
    instance.record_poll(9, 0);
    instance.record_poll(7, 0);
    assert_eq!(instance.confidence(), [3, 0, 0]);
}

#[test]
fn b36_preference_only_polls_flip_and_clear() {
    let mut instance = Snowflake::new(split_params(20, 11, &[(15, 20)]), 0);
    instance.record_poll(15, 0);
    instance.record_poll(11, 1);
    assert_eq!((*instance.preference(), instance.confidence()), (1, &[0][..]));
    instance.record_poll(15, 1);
    instance.record_poll(14, 1);
    assert_eq!((*instance.preference(), instance.confidence()), (1, &[0][..]));
}

#[test]
fn error_driven_betas_follow_their_rule() {
    let log = |alpha| poll_success(20, alpha, 0.5).unwrap().log10().unwrap();
    for condition in Params::error_driven().conditions() {
        let beta = (20.0 * log(15) / log(condition.alpha_confidence)).ceil();
        assert_eq!(f64::from(condition.beta), beta, "alpha {}", condition.alpha_confidence);
    }
}

#[test]
fn the_documented_polls_under_silence_are_right() {
    for (silent, polls) in [(0.10, 22.6), (0.15, 45.0), (0.20, 394.0), (0.25, 40_600.0), (0.33, 2.4e10)] {
        let q = poll_success(20, 15, 1.0 - silent).unwrap();
        let expected = expected_polls(&q, 20).unwrap().unwrap();
        assert!((expected / polls - 1.0).abs() < 0.02, "{silent} silent: {expected}");
    }
}

#[test]
fn flat_polls_the_mode_and_the_smallest_at_a_tie() {
    let mut instance = Flat::new(params(4, 3, 2), Variant::Snowflake, 9);
    instance.record_poll(&[5, 5, 5, 2].into_iter().collect()).unwrap();
    assert_eq!(instance.preference(), 5);
    instance.record_poll(&[5, 5, 2, 2].into_iter().collect()).unwrap();
    instance.record_poll(&[5, 5, 5].into_iter().collect()).unwrap();
    assert!(!instance.is_finalized());
    assert_eq!([7, 7, 3, 3].into_iter().collect::<VoteBag<u8>>().mode(), Some((3, 2)));
}
