//! Laws that hold for any input, against plain models where there is one.

use crate::support::model;

use crate::support::model::Id;
use hanzo_snow::checkpoint::{Checkpointer, InclusionProof, Leaf, node_hash, root};
use hanzo_snow::{
    AddError, BlockRef, Decision, Params, PollSet, Quorum, Snowflake, Snowman, StakeHeap, StakeTable, Tree, Uniform,
    ValidatorSampler, ValidatorSet, Variant, VoteBag,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rs_merkle::MerkleTree;

fn params() -> impl Strategy<Value = Params> {
    let alphas = (1_u16..=6).prop_flat_map(|k| (Just(k), k / 2 + 1..=k));
    let conditions = alphas.prop_flat_map(|(k, alpha)| (Just(k), Just(alpha), vec((alpha..=k, 1_u32..=4), 1..=3)));
    conditions.prop_map(|(k, alpha, mut conditions)| {
        conditions.sort_unstable();
        conditions.dedup_by_key(|condition| condition.0);
        let mut betas: Vec<u32> = conditions.iter().map(|condition| condition.1).collect();
        betas.sort_unstable_by(|a, b| b.cmp(a));
        let conditions: Vec<_> = conditions.iter().map(|condition| condition.0).zip(betas).collect();
        let builder = Params::builder().k(k).alpha_preference(alpha).conditions(conditions);
        builder.concurrent_repolls(1).build().expect("drawn to be valid")
    })
}

fn variant() -> impl Strategy<Value = Variant> {
    prop_oneof![Just(Variant::Snowflake), Just(Variant::Snowball)]
}

/// Up to `k` votes for some of `ids`: mostly for one of them, so that polls succeed at times.
fn bag(k: u16, ids: &[Id], main: &Index, others: &[(bool, Index)]) -> VoteBag<Id> {
    let mut votes = VoteBag::new();
    if !ids.is_empty() {
        for (follow, other) in others.iter().take(usize::from(k)) {
            votes.add(*if *follow { main } else { other }.get(ids), 1);
        }
    }
    votes
}

type PollPlan = (Index, Vec<(bool, Index)>);

fn poll_plan() -> impl Strategy<Value = PollPlan> {
    (any::<Index>(), vec((prop::bool::weighted(0.8), any::<Index>()), 0..=6))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tree_equals_the_plain_model(
        params in params(),
        variant in variant(),
        first in any::<Id>(),
        ops in vec((prop::option::weighted(0.3, any::<Id>()), poll_plan()), 1..60),
    ) {
        let mut tree = Tree::new(params, variant, first);
        let mut model = model::Tree::new(params, variant, first);
        let mut ids = vec![first];
        for (add, (main, others)) in ops {
            let was_final = tree.is_finalized();
            if let Some(id) = add {
                tree.add(id);
                model.add(id);
                ids.push(id);
            } else {
                let votes = bag(params.k(), &ids, &main, &others);
                let successful = if votes.is_empty() && others.len() % 2 == 0 {
                    tree.record_unsuccessful();
                    false
                } else {
                    tree.record_poll(&votes).unwrap()
                };
                let expected = model.record_poll(&votes.iter().collect::<Vec<_>>());
                // A final tree goes on counting at its last node; its answer no longer means anything.
                prop_assert!(was_final || successful == expected);
            }
            prop_assert_eq!(tree.preference(), model.preference());
            prop_assert_eq!(tree.is_finalized(), model.is_finalized());
        }
    }

    #[test]
    fn snowman_equals_the_plain_model(
        params in params(),
        variant in variant(),
        hash_seed in any::<u64>(),
        ops in vec((prop::option::weighted(0.4, (any::<Id>(), any::<Index>())), poll_plan()), 1..80),
    ) {
        let genesis = BlockRef { id: [0], parent: [0], height: 0 };
        let mut chain = Snowman::new(params, variant, genesis, hash_seed);
        let mut model = model::Chain::new(params, variant, [0]);
        let mut decisions = Vec::new();
        let mut blocks = vec![(genesis.id, 0)];
        for (add, (main, others)) in ops {
            if let Some((id, parent)) = add {
                let &(parent, height) = parent.get(&blocks);
                if blocks.iter().any(|block| block.0 == id) {
                    continue;
                }
                let added = chain.add(BlockRef { id, parent, height: height + 1 });
                if model.add(id, parent) {
                    prop_assert_eq!(added, Ok(()));
                    blocks.push((id, height + 1));
                } else {
                    // A parent that was added once and is not processing is decided, and known to be.
                    prop_assert_eq!(added, Err(AddError::Decided));
                }
            } else {
                let ids: Vec<Id> = blocks.iter().map(|block| block.0).collect();
                let votes = bag(params.k(), &ids, &main, &others);
                let successful = chain.record_poll(&votes, &mut decisions).unwrap();
                prop_assert!(model.record_poll(&votes).is_none_or(|expected| expected == successful));
            }
            // The same blocks decided in the same order.
            let decided: Vec<(bool, Id)> = decisions.iter().map(|decision| match *decision {
                Decision::Accepted { id, .. } => (true, id),
                Decision::Rejected { id, .. } => (false, id),
                _ => unreachable!("no confirmation depth"),
            }).collect();
            prop_assert_eq!(&decided, &model.decided);
            prop_assert_eq!(chain.last_accepted(), model.last_accepted);
            prop_assert_eq!(chain.processing_len(), model.blocks.len());
            let preferred = model.preferred();
            prop_assert_eq!(chain.preference(), preferred.last().copied().unwrap_or(model.last_accepted.0));
            let base = chain.last_accepted().1;
            for (&id, &(parent, height)) in &model.blocks {
                prop_assert!(chain.is_processing(&id));
                prop_assert_eq!(chain.is_preferred(&id), preferred.contains(&id));
                prop_assert_eq!(chain.parent(&id), Some(parent));
                let at_height = preferred.get((height - base - 1) as usize).copied();
                prop_assert_eq!(chain.preference_at(height), at_height);
            }
        }
        // Accepted heights go up by one.
        let heights = decisions.iter().filter_map(|decision| match decision {
            Decision::Accepted { height, .. } => Some(*height),
            _ => None,
        });
        prop_assert!(heights.eq(1..=chain.last_accepted().1));
    }

    #[test]
    fn counters_never_ascend_over_the_conditions(params in params(), polls in vec((0_u32..=6, 0_u8..2), 1..60)) {
        let mut instance = Snowflake::new(params, 0);
        for (count, choice) in polls {
            instance.record_poll(count.min(params.k().into()), choice);
            if !instance.is_finalized() {
                prop_assert!(instance.confidence().is_sorted_by(|a, b| a >= b));
            }
        }
    }

    #[test]
    fn polls_end_only_when_the_rest_cannot_matter(
        params in params(),
        adds in vec((any::<Id>(), any::<Index>()), 1..10),
        answers in vec(prop::option::weighted(0.9, (prop::bool::weighted(0.7), any::<Index>())), 6),
        rest in vec(prop::option::weighted(0.8, any::<Index>()), 6),
        follow_up in vec(poll_plan(), 0..6),
    ) {
        let genesis = BlockRef { id: [0], parent: [0], height: 0 };
        let mut chain = Snowman::new(params, Variant::Snowflake, genesis, 1);
        let mut blocks = vec![(genesis.id, 0)];
        for (id, parent) in adds {
            let &(parent, height) = parent.get(&blocks);
            if chain.add(BlockRef { id, parent, height: height + 1 }).is_ok() {
                blocks.push((id, height + 1));
            }
        }
        // An id that no block has, as well.
        let mut ids: Vec<Id> = blocks.iter().map(|block| block.0).collect();
        ids.extend((0..=255).map(|byte| [byte]).find(|id| !ids.contains(id)));

        let mut polls = PollSet::new(params);
        let poll = polls.open(0..params.k()).unwrap();
        let mut answered = 0;
        for (node, answer) in answers.iter().take(params.k().into()).enumerate() {
            if polls.is_finished(poll) == Some(true) {
                break;
            }
            let _taken = match answer {
                Some((main, vote)) => {
                    let vote = if *main { ids[ids.len() - 2] } else { *vote.get(&ids) };
                    polls.vote(poll, &(node as u16), vote, &chain)
                }
                None => polls.drop_voter(poll, &(node as u16), &chain),
            };
            answered += 1;
        }
        let result = polls.next_result().expect("every validator has answered").votes;
        let mut completed = result.clone();
        for vote in rest.iter().take(usize::from(params.k()) - answered).flatten() {
            completed.add(*vote.get(&ids), 1);
        }
        let mut other = chain.clone();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        prop_assert_eq!(
            chain.record_poll(&result, &mut ours).unwrap(),
            other.record_poll(&completed, &mut theirs).unwrap()
        );
        for (main, others) in follow_up {
            let votes = bag(params.k(), &ids, &main, &others);
            chain.record_poll(&votes, &mut ours).unwrap();
            other.record_poll(&votes, &mut theirs).unwrap();
            prop_assert_eq!(chain.preference(), other.preference());
        }
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn an_error_changes_nothing(parent in any::<Id>(), id in any::<Id>(), height in 0_u64..4) {
        let genesis = BlockRef { id: [0], parent: [0], height: 0 };
        let mut chain = Snowman::new(Params::for_small_set(4).unwrap(), Variant::Snowflake, genesis, 1);
        chain.add(BlockRef { id: [1], parent: [0], height: 1 }).unwrap();
        let before = format!("{chain:?}");
        if chain.add(BlockRef { id, parent, height }).is_err() {
            prop_assert_eq!(format!("{chain:?}"), before);
        }
    }

    #[test]
    fn samples_have_the_size_asked_for(
        stakes in vec(0_u64..6, 1..12),
        k in 0_u16..40,
        own in any::<Index>(),
        seed in any::<u64>(),
    ) {
        prop_assume!(stakes.iter().sum::<u64>() > 0);
        let set = ValidatorSet::new(stakes.iter().copied().enumerate()).unwrap();
        let own = own.index(stakes.len());
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut sample = vec![usize::MAX];
        for (own_left_out, heap, table) in [
            (None, StakeHeap::new(&set), StakeTable::new(&set)),
            (Some(own), StakeHeap::excluding(&set, &own).unwrap(), StakeTable::excluding(&set, &own).unwrap()),
        ] {
            let mut left = stakes.clone();
            if let Some(own) = own_left_out {
                left[own] = 0;
            }
            let enough = left.iter().sum::<u64>() >= u64::from(k);
            for which in [0, 1] {
                let before = (sample.clone(), rng.clone());
                let drawn = match which {
                    0 => heap.sample(k, &mut rng, &mut sample),
                    _ => table.sample(k, &mut rng, &mut sample),
                };
                prop_assert_eq!(drawn.is_ok(), enough);
                if enough {
                    prop_assert_eq!(sample.len(), usize::from(k));
                    let counts = |node| sample.iter().filter(|&&drawn| drawn == node).count() as u64;
                    prop_assert!(left.iter().enumerate().all(|(node, &stake)| counts(node) <= stake));
                } else {
                    prop_assert_eq!((sample.clone(), rng.clone()), before);
                }
            }
        }
        let uniform = Uniform::new(&set);
        let eligible = stakes.iter().filter(|&&stake| stake > 0).count();
        if uniform.sample(k, &mut rng, &mut sample).is_ok() {
            sample.sort_unstable();
            sample.dedup();
            prop_assert_eq!(sample.len(), usize::from(k));
        } else {
            prop_assert!(usize::from(k) > eligible);
        }
    }

    #[test]
    fn two_quorums_share_more_than_the_faulty(total in 1_u64..) {
        let quorum = Quorum::of(total.try_into().unwrap());
        let shared = 2 * u128::from(quorum.stake()) - u128::from(total);
        prop_assert!(shared > u128::from(quorum.max_faulty()));
        prop_assert!(3 * u128::from(quorum.max_faulty()) < u128::from(total));
    }

    #[test]
    fn inclusion_proofs_hold_for_their_leaf_alone(
        count in 1_u32..40,
        at in any::<Index>(),
        other in any::<Index>(),
        flip in (any::<Index>(), 0_usize..256),
    ) {
        let leaves: Vec<Leaf> = (0..count).map(|index| Leaf { round: 1, author: 0, index, tx: [7; 32] }).collect();
        let checkpoint = Checkpointer::new([1; 32], 2, 0).seal(5, &leaves).unwrap();
        let (at, other) = (at.index(leaves.len()), other.index(leaves.len()));
        let mut proof = InclusionProof::new(&checkpoint, &leaves, at as u64).unwrap();
        prop_assert_eq!(proof.verify(&checkpoint, &leaves[other]).is_ok(), at == other);
        let mut longer = proof.clone();
        longer.path.push([0; 32]);
        prop_assert!(longer.verify(&checkpoint, &leaves[at]).is_err());
        let mut moved = proof.clone();
        moved.index = other as u64;
        prop_assert_eq!(moved.verify(&checkpoint, &leaves[at]).is_ok(), at == other);
        if !proof.path.is_empty() {
            let sibling = flip.0.index(proof.path.len());
            proof.path[sibling][flip.1 / 8] ^= 1 << (flip.1 % 8);
            prop_assert!(proof.verify(&checkpoint, &leaves[at]).is_err());
            proof.path.pop();
            prop_assert!(proof.verify(&checkpoint, &leaves[at]).is_err());
        }
    }

    #[test]
    fn roots_equal_those_of_rs_merkle(count in 1_u8..70, seed in any::<[u8; 32]>()) {
        let leaves: Vec<[u8; 32]> = (0..count).map(|i| {
            let mut leaf = seed;
            leaf[0] ^= i;
            leaf
        }).collect();
        let oracle = MerkleTree::<Rfc>::from_leaves(&leaves);
        prop_assert_eq!(Some(root(&leaves)), oracle.root());
    }
}

/// Node hashing of RFC 9162 for the oracle.
#[derive(Clone)]
struct Rfc;

impl rs_merkle::Hasher for Rfc {
    type Hash = [u8; 32];

    fn hash(_: &[u8]) -> [u8; 32] {
        unreachable!("leaves are hashed already")
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        right.map_or(*left, |right| node_hash(left, right))
    }
}
