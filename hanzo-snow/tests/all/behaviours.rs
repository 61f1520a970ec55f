//! What the production implementation is known to do, case by case.

use hanzo_snow::analysis::{expected_polls, poll_success};
use hanzo_snow::{
    AddError, BlockRef, Decision, Flat, Params, PollSet, Snowball, Snowflake, Snowman, Tree, Variant, VoteBag,
    sample_units,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

type Id = [u8; 32];

fn id(n: u8) -> Id {
    let mut id = [0; 32];
    id[0] = n;
    id
}

fn params(k: u16, alpha: u16, beta: u32) -> Params {
    split_params(k, alpha, &[(alpha, beta)])
}

fn split_params(k: u16, alpha_preference: u16, conditions: &[(u16, u32)]) -> Params {
    let builder = Params::builder().k(k).alpha_preference(alpha_preference);
    builder.conditions(conditions.iter().copied()).concurrent_repolls(1).build().unwrap()
}

fn bag(votes: &[(u8, u32)]) -> VoteBag<Id> {
    votes.iter().map(|&(n, count)| (id(n), count)).collect()
}

/// A chain on genesis 0 and what it has decided, as "A1 R2".
struct Chain {
    snowman: Snowman<Id>,
    decisions: Vec<Decision<Id>>,
}

impl Chain {
    fn new(params: Params) -> Self {
        Self::of(params, Variant::Snowflake)
    }

    fn of(params: Params, variant: Variant) -> Self {
        let genesis = BlockRef { id: id(0), parent: id(0), height: 0 };
        Self { snowman: Snowman::new(params, variant, genesis, 42), decisions: Vec::new() }
    }

    fn with(mut self, blocks: &[(u8, u8, u64)]) -> Self {
        for &(n, parent, height) in blocks {
            self.add(n, parent, height).unwrap();
        }
        self
    }

    fn add(&mut self, n: u8, parent: u8, height: u64) -> Result<(), AddError> {
        self.snowman.add(BlockRef { id: id(n), parent: id(parent), height })
    }

    fn poll(&mut self, votes: &[(u8, u32)]) -> bool {
        self.snowman.record_poll(&bag(votes), &mut self.decisions).unwrap()
    }

    fn decided(&self) -> String {
        let words = self.decisions.iter().map(|decision| match decision {
            Decision::Accepted { id, .. } => format!("A{}", id[0]),
            Decision::Rejected { id, .. } => format!("R{}", id[0]),
            Decision::Confirmed { id, .. } => format!("C{}", id[0]),
            other => panic!("{other:?}"),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn preference(&self) -> u8 {
        self.snowman.preference()[0]
    }
}

#[test]
fn b01_fresh_chain_prefers_genesis() {
    let chain = Chain::new(params(1, 1, 1));
    assert_eq!((chain.preference(), chain.snowman.processing_len()), (0, 0));
}

#[test]
fn b02_a_poll_at_beta_1_ends_processing() {
    let mut chain = Chain::new(params(1, 1, 1)).with(&[(1, 0, 1)]);
    assert_eq!(chain.snowman.processing_len(), 1);
    assert!(chain.poll(&[(1, 1)]));
    assert_eq!((chain.snowman.processing_len(), chain.decided().as_str()), (0, "A1"));
}

#[test]
fn b03_a_block_on_the_tip_is_preferred() {
    let chain = Chain::new(params(1, 1, 1)).with(&[(1, 0, 1), (2, 1, 2)]);
    assert_eq!(chain.preference(), 2);
    let at = |height| chain.snowman.preference_at(height);
    assert_eq!([at(0), at(1), at(2), at(3)], [Some(id(0)), Some(id(1)), Some(id(2)), None]);
}

#[test]
fn b04_a_sibling_is_not() {
    let chain = Chain::new(params(1, 1, 1)).with(&[(1, 0, 1), (2, 0, 1)]);
    assert_eq!(chain.preference(), 1);
    assert!(!chain.snowman.is_preferred(&id(2)));
}

#[test]
fn b05_an_unknown_parent_is_an_error() {
    assert_eq!(Chain::new(params(1, 1, 1)).add(2, 1, 2), Err(AddError::UnknownParent));
}

#[test]
fn b06_genesis_is_preferred_and_not_processing() {
    let chain = Chain::new(params(1, 1, 1));
    assert!(chain.snowman.is_preferred(&id(0)) && !chain.snowman.is_processing(&id(0)));
}

#[test]
fn b07_unknown_and_rejected_blocks_are_neither() {
    let mut chain = Chain::new(params(1, 1, 1)).with(&[(1, 0, 1), (2, 0, 1)]);
    chain.poll(&[(1, 1)]);
    for n in [2, 9] {
        assert!(!chain.snowman.is_preferred(&id(n)) && !chain.snowman.is_processing(&id(n)));
    }
}

#[test]
fn b08_beta_2_takes_two_polls() {
    let mut chain = Chain::new(params(1, 1, 2)).with(&[(1, 0, 1)]);
    chain.poll(&[(1, 1)]);
    assert_eq!(chain.decided(), "");
    chain.poll(&[(1, 1)]);
    assert_eq!(chain.decided(), "A1");
}

#[test]
fn b09_accepting_rejects_the_sibling_in_the_same_poll() {
    let mut chain = Chain::new(params(1, 1, 1)).with(&[(1, 0, 1), (2, 0, 1)]);
    chain.poll(&[(2, 1)]);
    assert_eq!((chain.decided().as_str(), chain.preference()), ("A2 R1", 2));
}

#[test]
fn b10_split_votes_decide_the_shared_prefix_only() {
    // 1 = 0001, 3 = 0011: bit 0 is shared, bit 1 is not.
    let mut chain = Chain::new(params(2, 2, 1)).with(&[(1, 0, 1), (3, 0, 1)]);
    assert!(chain.poll(&[(1, 1), (3, 1)]));
    for _ in 0..3 {
        assert!(!chain.poll(&[(1, 1), (3, 1)]));
        assert_eq!((chain.decided().as_str(), chain.preference()), ("", 1));
    }
    chain.poll(&[(3, 2)]);
    assert_eq!(chain.decided(), "A3 R1");
}

#[test]
fn b11_voting_with_nothing_processing_is_harmless() {
    let mut chain = Chain::new(params(1, 1, 1));
    assert!(!chain.poll(&[(0, 1)]));
    assert!(!chain.poll(&[(7, 1)]));
    assert_eq!(chain.preference(), 0);
}

#[test]
fn b12_descendants_of_a_rejected_sibling_go_depth_first() {
    let mut chain =
        Chain::new(params(1, 1, 1)).with(&[(9, 0, 1), (4, 0, 1), (2, 0, 1), (7, 2, 2), (5, 2, 2), (6, 5, 3)]);
    chain.poll(&[(9, 1)]);
    assert_eq!(chain.decided(), "A9 R2 R5 R6 R7 R4");
    assert_eq!(chain.snowman.processing_len(), 0);
    assert_eq!(chain.add(8, 6, 4), Err(AddError::Decided));
}

#[test]
fn b13_an_empty_poll_resets_confidence_below_and_keeps_the_preference() {
    let mut chain = Chain::new(params(1, 1, 2)).with(&[(1, 0, 1), (2, 1, 2)]);
    chain.poll(&[(2, 1)]);
    assert!(!chain.poll(&[]));
    assert_eq!(chain.preference(), 2);
    chain.poll(&[(2, 1)]);
    assert_eq!(chain.decided(), "");
    chain.poll(&[(2, 1)]);
    assert_eq!(chain.decided(), "A1 A2");
}

#[test]
fn b14_beta_must_be_earned_again() {
    let mut chain = Chain::new(params(1, 1, 2)).with(&[(1, 0, 1), (2, 0, 1)]);
    for n in [1, 2, 1, 2, 1] {
        chain.poll(&[(n, 1)]);
        assert_eq!((chain.decided().as_str(), chain.preference()), ("", n));
    }
    chain.poll(&[(1, 1)]);
    assert_eq!(chain.decided(), "A1 R2");
}

#[test]
fn b15_votes_for_unknown_ids_reset() {
    let mut chain = Chain::new(params(1, 1, 2)).with(&[(1, 0, 1)]);
    chain.poll(&[(1, 1)]);
    assert!(!chain.poll(&[(77, 1)]));
    chain.poll(&[(1, 1)]);
    assert_eq!(chain.decided(), "");
}

#[test]
fn b16_votes_for_children_count_for_their_ancestors() {
    // 0 -> {1 -> {2, 3}}: one vote on each of three blocks.
    let mut chain = Chain::new(params(3, 3, 1)).with(&[(1, 0, 1), (2, 1, 2), (3, 1, 2)]);
    chain.poll(&[(1, 1), (2, 1), (3, 1)]);
    assert_eq!(chain.decided(), "A1");
}

#[test]
fn b17_votes_for_a_grandchild_accept_the_path() {
    let mut chain = Chain::new(params(3, 3, 1)).with(&[(1, 0, 1), (2, 1, 2), (3, 2, 3)]);
    chain.poll(&[(3, 3)]);
    assert_eq!(chain.decided(), "A1 A2 A3");
}

#[test]
fn b18_an_id_against_a_decided_bit_never_wins() {
    // After the split poll bit 0 is decided as 1; 4 has bit 0 = 0.
    let mut chain = Chain::new(params(2, 2, 1)).with(&[(1, 0, 1), (3, 0, 1)]);
    chain.poll(&[(1, 1), (3, 1)]);
    chain.add(4, 0, 1).unwrap();
    chain.add(8, 4, 2).unwrap();
    // 8 wins among the children of 4, which helps neither.
    chain.poll(&[(8, 2)]);
    assert_eq!((chain.decided().as_str(), chain.snowman.processing_len(), chain.preference()), ("", 4, 1));
    chain.poll(&[(1, 2)]);
    assert_eq!(chain.decided(), "A1 R3 R4 R8");
}

#[test]
fn b19_votes_on_another_branch_flip_to_its_leaf() {
    for (variant, polls_back) in [(Variant::Snowflake, 1), (Variant::Snowball, 2)] {
        let mut chain = Chain::of(params(1, 1, 5), variant).with(&[(1, 0, 1), (2, 1, 2), (4, 0, 1), (8, 4, 2)]);
        chain.poll(&[(8, 1)]);
        assert_eq!(chain.preference(), 8);
        for poll in 1..=polls_back {
            chain.poll(&[(2, 1)]);
            assert_eq!(chain.preference(), if poll == polls_back { 2 } else { 8 }, "{variant:?} poll {poll}");
        }
    }
}

#[test]
fn b20_last_accepted_moves_only_after_beta() {
    let mut chain = Chain::new(params(1, 1, 3)).with(&[(1, 0, 1)]);
    for polls in 0..3 {
        assert_eq!(chain.snowman.last_accepted(), (id(0), 0), "after {polls} polls");
        chain.poll(&[(1, 1)]);
    }
    assert_eq!(chain.snowman.last_accepted(), (id(1), 1));
}

#[test]
fn b22_adding_a_decided_block_is_an_error() {
    let mut chain = Chain::new(params(1, 1, 1)).with(&[(1, 0, 1), (2, 0, 1)]);
    chain.poll(&[(1, 1)]);
    for n in [0, 1, 2] {
        assert_eq!(chain.add(n, 0, 1), Err(AddError::Decided), "block {n}");
    }
    assert_eq!(chain.add(3, 2, 2), Err(AddError::Decided));
}

#[test]
fn b23_defaults_decide_in_20_polls_of_15() {
    let mut chain = Chain::new(Params::default()).with(&[(1, 0, 1)]);
    for _ in 0..19 {
        chain.poll(&[(1, 15)]);
    }
    assert_eq!(chain.decided(), "");
    let mut short = Chain { snowman: chain.snowman.clone(), decisions: Vec::new() };
    short.poll(&[(1, 14)]);
    assert_eq!(short.decided(), "");
    chain.poll(&[(1, 15)]);
    assert_eq!(chain.decided(), "A1");
}

#[test]
fn b24_votes_on_parent_and_child_accept_once() {
    let mut chain = Chain::new(params(3, 2, 1)).with(&[(1, 0, 1), (2, 1, 2)]);
    chain.poll(&[(1, 1), (2, 2)]);
    assert_eq!(chain.decided(), "A1 A2");
}

#[test]
fn confirmations_follow_at_their_depth_and_never_for_genesis() {
    let params = Params::builder().k(1).alpha_preference(1).conditions([(1, 1)]).concurrent_repolls(1);
    let mut chain = Chain::new(params.confirmation_depth(2).build().unwrap());
    for n in 1..=5 {
        chain.add(n, n - 1, n.into()).unwrap();
        chain.poll(&[(n, 1)]);
    }
    assert_eq!(chain.decided(), "A1 A2 A3 C1 A4 C2 A5 C3");
}

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

fn polls(k: u16, alpha_preference: u16, alpha_confidence: u16) -> PollSet<Id, u8> {
    PollSet::new(split_params(k, alpha_preference, &[(alpha_confidence, 1)]))
}

const FLAT: fn(&Id) -> Option<Id> = |_| None;

#[test]
fn b39_a_second_vote_is_ignored() {
    let mut set = polls(2, 2, 2);
    let poll = set.open([1, 2]).unwrap();
    set.vote(poll, &1, id(1), &FLAT);
    set.vote(poll, &1, id(2), &FLAT);
    set.drop_voter(poll, &1, &FLAT);
    assert_eq!((set.is_finished(poll), set.ignored().late), (Some(false), 2));
    set.vote(poll, &2, id(1), &FLAT);
    assert_eq!(set.next_result().unwrap().votes, bag(&[(1, 2)]));
}

#[test]
fn b40_results_leave_in_request_order() {
    let mut set = polls(1, 1, 1);
    let ids: Vec<_> = (0..4).map(|_| set.open([7]).unwrap()).collect();
    for at in [2, 3, 1] {
        set.vote(ids[at], &7, id(1), &FLAT);
        assert!(set.next_result().is_none());
    }
    set.drop_voter(ids[0], &7, &FLAT);
    for (at, total) in [(0, 0), (1, 1), (2, 1), (3, 1)] {
        let result = set.next_result().unwrap();
        assert_eq!((result.poll, result.votes.total()), (ids[at], total));
    }
    assert!(set.next_result().is_none() && set.is_empty());
}

#[test]
fn b41_request_ids_never_return() {
    let mut set = polls(1, 1, 1);
    let first = set.open([1]).unwrap();
    set.vote(first, &1, id(1), &FLAT);
    set.next_result().unwrap();
    let second = set.open([1]).unwrap();
    assert!(second > first);
    set.vote(first, &1, id(1), &FLAT);
    assert_eq!((set.ignored().unknown_poll, set.is_finished(second)), (1, Some(false)));
}

#[test]
fn b42_ends_when_alpha_is_out_of_reach() {
    let mut set = polls(3, 2, 2);
    let poll = set.open([1, 2, 3]).unwrap();
    set.drop_voter(poll, &1, &FLAT);
    assert_eq!(set.is_finished(poll), Some(false));
    set.drop_voter(poll, &2, &FLAT);
    assert_eq!(set.is_finished(poll), Some(true));
}

#[test]
fn b43_ends_at_alpha_preference_where_confidence_is_out_of_reach() {
    let mut set = polls(5, 3, 5);
    let poll = set.open([1, 2, 3, 4, 5]).unwrap();
    set.drop_voter(poll, &1, &FLAT);
    for (voter, finished) in [(2, false), (3, false), (4, true)] {
        set.vote(poll, &voter, id(1), &FLAT);
        assert_eq!(set.is_finished(poll), Some(finished), "alpha_preference reached, 5 out of reach");
    }
}

#[test]
fn b44_ends_at_alpha_confidence() {
    let mut set = polls(5, 3, 4);
    let poll = set.open([1, 2, 3, 4, 5]).unwrap();
    for (voter, finished) in [(1, false), (2, false), (3, false), (4, true)] {
        set.vote(poll, &voter, id(1), &FLAT);
        assert_eq!(set.is_finished(poll), Some(finished));
    }
}

#[test]
fn b45_children_of_one_ancestor_keep_the_poll_open() {
    // Four children of 9: together they may carry 9 across alpha 4.
    let parent = |block: &Id| (1..=4).contains(&block[0]).then_some(id(9));
    let mut set = polls(5, 4, 4);
    let poll = set.open([1, 2, 3, 4, 5]).unwrap();
    for voter in 1..=3 {
        set.vote(poll, &voter, id(voter), &parent);
        assert_eq!(set.is_finished(poll), Some(false));
    }
}

#[test]
fn b46_a_validator_sampled_twice_weighs_two() {
    let mut set = polls(3, 2, 2);
    let poll = set.open([1, 1, 2]).unwrap();
    set.vote(poll, &1, id(1), &FLAT);
    assert_eq!(set.next_result().unwrap().votes, bag(&[(1, 2)]));
}

#[test]
fn b47_an_undecided_shared_prefix_keeps_the_poll_open() {
    // 1 and 3 share bit 0; 4 does not. With one answer out, "bit 0 is 1" may still reach 3.
    let parent = |block: &Id| (block[0] > 0).then_some(id(0));
    let mut set = polls(4, 3, 3);
    let poll = set.open([1, 2, 3, 4]).unwrap();
    set.vote(poll, &1, id(1), &parent);
    set.vote(poll, &2, id(3), &parent);
    set.vote(poll, &3, id(4), &parent);
    assert_eq!(set.is_finished(poll), Some(false));
}

#[test]
fn b48_a_chain_of_votes_stays_open_while_an_ancestor_may_cross() {
    let parent = |block: &Id| block[0].checked_sub(1).map(id);
    let mut set = polls(4, 3, 4);
    let poll = set.open([1, 2, 3, 4]).unwrap();
    for (voter, finished) in [(1, false), (2, false), (3, false), (4, true)] {
        set.vote(poll, &voter, id(voter), &parent);
        assert_eq!(set.is_finished(poll), Some(finished), "vote {voter}");
    }
}
