//! Chains.

use hanzo_snow::{AddError, BlockRef, Decision, Params, Snowman, Variant};

use super::{Id, bag, id, params};

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
