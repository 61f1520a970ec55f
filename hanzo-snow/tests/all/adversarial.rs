//! Bad input gives a typed error or is ignored, and never changes state.

use hanzo_snow::analysis::{self, AnalysisError};
use hanzo_snow::checkpoint::{CheckpointError, Checkpointer, InclusionProof, Leaf};
use hanzo_snow::fastpath::TxError;
use hanzo_snow::settlement::ReplicaError;
use hanzo_snow::{
    AddError, BlockId, BlockRef, Decision, Error, Flat, MessageError, ParamError, Params, PollError, PollId, PollSet,
    QuorumError, SampleError, SetError, SignatureError, Snowman, StakeHeap, StakeTable, TooManyVotes, Tree,
    ValidatorSampler, ValidatorSet, Variant, VoteBag, WireError,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

fn genesis() -> BlockRef<[u8; 1]> {
    BlockRef { id: [0], parent: [0], height: 10 }
}

#[test]
fn parameters() {
    let base = || Params::builder();
    let cases = [
        (base().k(0), ParamError::Zero { field: "k" }),
        (base().alpha_preference(10), ParamError::AlphaPreference { alpha_preference: 10, k: 20 }),
        (base().alpha_preference(0), ParamError::AlphaPreference { alpha_preference: 0, k: 20 }),
        (base().conditions([]), ParamError::ConditionCount { count: 0 }),
        (base().conditions((11..20).map(|a| (a, 20))), ParamError::ConditionCount { count: 9 }),
        (
            base().conditions([(14, 20)]),
            ParamError::AlphaConfidence { index: 0, alpha_confidence: 14, least: 15, k: 20 },
        ),
        (
            base().conditions([(21, 20)]),
            ParamError::AlphaConfidence { index: 0, alpha_confidence: 21, least: 15, k: 20 },
        ),
        (
            base().conditions([(16, 20), (16, 10)]),
            ParamError::AlphaConfidence { index: 1, alpha_confidence: 16, least: 17, k: 20 },
        ),
        (base().conditions([(15, 0)]), ParamError::Beta { index: 0, beta: 0, most: u32::MAX }),
        (base().conditions([(15, 5), (16, 6)]), ParamError::Beta { index: 1, beta: 6, most: 5 }),
        (base().concurrent_repolls(0), ParamError::Zero { field: "concurrent_repolls" }),
        (base().concurrent_repolls(21), ParamError::ConcurrentRepolls { concurrent_repolls: 21, beta: 20 }),
        (base().optimal_processing(0), ParamError::Zero { field: "optimal_processing" }),
        (base().max_outstanding(0), ParamError::Zero { field: "max_outstanding" }),
        (base().max_item_time(core::time::Duration::ZERO), ParamError::Zero { field: "max_item_time" }),
        (base().query_timeout(core::time::Duration::ZERO), ParamError::Zero { field: "query_timeout" }),
    ];
    for (builder, error) in cases {
        assert_eq!(builder.build(), Err(error));
    }
    for n in [0, 1, 20, u16::MAX] {
        assert_eq!(Params::for_small_set(n), Err(ParamError::SmallSet { n }));
    }
    let most = Params::builder().k(u16::MAX).alpha_preference(u16::MAX).conditions([(u16::MAX, u32::MAX)]);
    assert!(most.build().is_ok());
}

#[test]
fn validator_sets() {
    assert_eq!(ValidatorSet::<u8>::new([]), Err(SetError::EmptySet));
    assert_eq!(ValidatorSet::new([(1, 0), (2, 0)]), Err(SetError::EmptySet));
    assert_eq!(ValidatorSet::from_stakes([(1, 5)], 6), Err(SetError::EmptySet));
    assert_eq!(ValidatorSet::new([(1, u64::MAX), (2, 1)]), Err(SetError::StakeOverflow));
    assert_eq!(ValidatorSet::new([(1, 5), (2, 5), (1, 5)]), Err(SetError::DuplicateValidator { first: 0, second: 2 }));
    let set = ValidatorSet::new([(1, u64::MAX)]).unwrap();
    assert_eq!(StakeHeap::excluding(&set, &2).unwrap_err(), SetError::UnknownValidator);
}

#[test]
fn samples_larger_than_the_stake() {
    let set = ValidatorSet::new([(1, 10), (2, 9)]).unwrap();
    let mut rng = SmallRng::seed_from_u64(1);
    let mut out = vec![7];
    let too_large = |total_stake| Err(SampleError::SampleTooLarge { total_stake, k: 20 });
    assert_eq!(StakeHeap::new(&set).sample(20, &mut rng, &mut out), too_large(19));
    assert_eq!(StakeTable::new(&set).sample(20, &mut rng, &mut out), too_large(19));
    assert_eq!(StakeTable::excluding(&set, &1).unwrap().sample(20, &mut rng, &mut out), too_large(9));
    assert_eq!((out, rng), (vec![7], SmallRng::seed_from_u64(1)));
}

#[test]
fn a_dominant_own_stake_does_not_stall_the_sampler() {
    let set = ValidatorSet::new([(1, u64::MAX - 20), (2, 20)]).unwrap();
    let mut out = Vec::new();
    let mut rng = SmallRng::seed_from_u64(1);
    StakeTable::excluding(&set, &1).unwrap().sample(20, &mut rng, &mut out).unwrap();
    assert_eq!(out, [2; 20]);
    StakeHeap::excluding(&set, &1).unwrap().sample(20, &mut rng, &mut out).unwrap();
    assert_eq!(out, [2; 20]);
}

#[test]
fn blocks() {
    let mut chain = Snowman::new(Params::SINGLE, Variant::Snowflake, genesis(), 1);
    let block = |id: u8, parent: u8, height| BlockRef { id: [id], parent: [parent], height };
    chain.add(block(1, 0, 11)).unwrap();
    chain.add(block(2, 1, 12)).unwrap();
    let before = format!("{chain:?}");
    for (refused, error) in [
        (block(1, 0, 11), AddError::Duplicate),
        (block(0, 0, 10), AddError::Decided),
        (block(0, 1, 12), AddError::Decided),
        (block(9, 8, 13), AddError::UnknownParent),
        (block(9, 9, 13), AddError::UnknownParent),
        (block(9, 8, 11), AddError::Decided),
        (block(9, 8, 3), AddError::Decided),
        (block(9, 8, 0), AddError::Decided),
        (block(9, 1, 11), AddError::WrongHeight { expected: 12 }),
        (block(9, 1, u64::MAX), AddError::WrongHeight { expected: 12 }),
    ] {
        assert_eq!(chain.check(&refused), Err(error), "{refused:?}");
        assert_eq!(chain.add(refused), Err(error), "{refused:?}");
    }
    assert_eq!(format!("{chain:?}"), before);

    let end = BlockRef { id: [0], parent: [0], height: u64::MAX };
    let mut chain = Snowman::new(Params::SINGLE, Variant::Snowflake, end, 1);
    let wrong = Err(AddError::WrongHeight { expected: u64::MAX });
    assert_eq!(chain.add(block(1, 0, u64::MAX)), wrong);
    assert_eq!(chain.add(block(1, 0, 0)), wrong);
}

#[test]
fn a_known_block_is_judged_by_its_memory_not_its_claim() {
    let mut chain = Snowman::new(Params::SINGLE, Variant::Snowflake, genesis(), 1);
    let block = |id: u8, parent: u8, height| BlockRef { id: [id], parent: [parent], height };
    for known in [block(1, 0, 11), block(2, 0, 11), block(3, 2, 12)] {
        chain.add(known).unwrap();
    }
    let mut decisions: Vec<Decision<[u8; 1]>> = Vec::new();
    chain.record_poll(&[[1]].into_iter().collect(), &mut decisions).unwrap();
    assert_eq!(decisions.len(), 3);
    assert_eq!(chain.add(block(3, 2, 12)), Err(AddError::Decided), "rejected above the accepted height");
    assert_eq!(chain.add(block(4, 3, 13)), Err(AddError::Decided), "its child");
    assert_eq!(chain.add(block(5, 1, 12)), Ok(()));
}

#[test]
fn more_votes_than_the_sample() {
    let params = Params::for_small_set(4).unwrap();
    let votes: VoteBag<[u8; 1]> = [([1], 3), ([2], 2)].into_iter().collect();
    let error = TooManyVotes { votes: 5, k: 4 };

    let mut chain = Snowman::new(params, Variant::Snowflake, genesis(), 1);
    chain.add(BlockRef { id: [1], parent: [0], height: 11 }).unwrap();
    let before = format!("{chain:?}");
    let mut decisions: Vec<Decision<[u8; 1]>> = Vec::new();
    assert_eq!(chain.record_poll(&votes, &mut decisions), Err(error));
    assert_eq!((format!("{chain:?}"), decisions.len()), (before, 0));

    let mut tree = Tree::new(params, Variant::Snowball, [1]);
    let before = tree.clone();
    assert_eq!(tree.record_poll(&votes), Err(error));
    assert_eq!(tree, before);
    assert_eq!(Flat::new(params, Variant::Snowball, [1]).record_poll(&votes), Err(error));

    let mut endless = VoteBag::new();
    endless.add([1], u32::MAX);
    endless.add([1], u32::MAX);
    endless.add([2], 1);
    assert_eq!(endless.total(), u32::MAX);
    assert!(tree.record_poll(&endless).is_err());
}

#[test]
fn answers_of_strangers_late_repeated_and_to_unknown_polls() {
    let params = Params::for_small_set(2).unwrap();
    let flat = |_: &[u8; 1]| None;
    let mut polls = PollSet::new(params);
    assert_eq!(polls.open(["a"]), Err(PollError::SampleSize { size: 1, k: 2 }));
    assert_eq!(polls.open(["a"; 9]), Err(PollError::SampleSize { size: 3, k: 2 }));
    let poll = polls.open(["a", "b"]).unwrap();
    assert_eq!(poll.to_u64(), 0, "a refused poll takes no id");
    polls.vote(PollId::from_u64(77), &"a", [1], &flat);
    polls.vote(poll, &"c", [1], &flat);
    polls.drop_voter(poll, &"c", &flat);
    polls.vote(poll, &"a", [1], &flat);
    polls.vote(poll, &"a", [1], &flat);
    polls.drop_voter(poll, &"b", &flat);
    polls.vote(poll, &"b", [1], &flat);
    let ignored = polls.ignored();
    assert_eq!((ignored.unknown_poll, ignored.unsampled, ignored.late), (1, 2, 2));
    assert_eq!(polls.next_result().unwrap().votes.total(), 1);

    let few = Params::builder().max_outstanding(1).build().unwrap();
    let mut polls: PollSet<[u8; 1], usize> = PollSet::new(few);
    polls.open(0..20).unwrap();
    assert_eq!(polls.open(0..20), Err(PollError::Busy { open: 1 }));
}

#[test]
fn quorums() {
    let set = ValidatorSet::new((0..4).map(|node| (node, 25_u64))).unwrap();
    assert_eq!(set.check_quorum(&[0, 1, 2]), Ok(75));
    assert_eq!(set.check_quorum(&[0, 1, 0]), Err(QuorumError::DuplicateSigner { index: 2 }));
    assert_eq!(set.check_quorum(&[0, 9]), Err(QuorumError::UnknownSigner { index: 1 }));
    assert_eq!(set.check_quorum(&[0, 3]), Err(QuorumError::TooLittleStake { stake: 50, quorum: 67 }));
    assert_eq!(set.check_quorum([]), Err(QuorumError::TooLittleStake { stake: 0, quorum: 67 }));
}

#[test]
fn checkpoints() {
    let leaf = |round, index| Leaf { round, author: 0, index, tx: [1; 32] };
    let mut checkpointer = Checkpointer::new([1; 32], 1, 10);
    let before = checkpointer.clone();
    assert_eq!(checkpointer.seal(9, &[]), Err(CheckpointError::Rounds { first: 10, last: 9 }));
    assert!(checkpointer.seal(u64::MAX, &[]).is_err());
    assert_eq!(
        checkpointer.seal(19, &[leaf(20, 0)]),
        Err(CheckpointError::LeafRound { index: 0, round: 20, last: 19 })
    );
    assert_eq!(checkpointer.seal(19, &[leaf(3, 1), leaf(3, 1)]), Err(CheckpointError::LeafOrder { index: 1 }));
    assert_eq!(checkpointer, before);

    let leaves = [leaf(3, 1), leaf(3, 2), leaf(4, 0)];
    let checkpoint = checkpointer.seal(19, &leaves).unwrap();
    assert_eq!(InclusionProof::new(&checkpoint, &leaves[..2], 0), Err(CheckpointError::Leaves));
    assert_eq!(InclusionProof::new(&checkpoint, &leaves, 3), Err(CheckpointError::Index { index: 3, count: 3 }));
    let beyond = InclusionProof { index: u64::MAX, path: vec![] };
    assert!(beyond.verify(&checkpoint, &leaves[0]).is_err());
    let long = InclusionProof { index: 0, path: vec![[0; 32]; 100] };
    assert_eq!(long.verify(&checkpoint, &leaves[0]), Err(CheckpointError::PathLength { length: 100 }));
}

#[test]
fn figures() {
    for p in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
        assert!(matches!(analysis::poll_success(20, 15, p), Err(AnalysisError::Share { .. })));
    }
    for (k, alpha) in [(20, 0), (20, 21), (0, 0)] {
        assert_eq!(analysis::poll_success(k, alpha, 0.5), Err(AnalysisError::Alpha { alpha, k }));
    }
    assert!(analysis::poll_success_exact(20, 15, 19, 10).is_err());
    assert!(analysis::poll_success_exact(20, 15, 30, 31).is_err());
    for p in [0.0, f64::MIN_POSITIVE / 4.0, 1e-300, 0.5, 1.0 - f64::EPSILON, 1.0] {
        for (k, alpha) in [(1, 1), (20, 11), (20, 20), (u16::MAX, 40_000), (u16::MAX, 1), (u16::MAX, u16::MAX)] {
            let q = analysis::poll_success(k, alpha, p).unwrap();
            assert!((0.0..=1.0).contains(&q.value()) && (0.0..=1.0).contains(&q.complement()), "{k} {alpha} {p}");
            assert!((q.value() + q.complement() - 1.0).abs() < 1e-9, "{k} {alpha} {p}: {q:?}");
            assert!(q.log10().is_none_or(|log| log <= 0.0), "{k} {alpha} {p}: {q:?}");
            assert!(analysis::expected_polls(&q, 20).unwrap().is_none_or(|polls| polls >= 20.0 - 1e-9));
            let within = analysis::run_within(&q, 20, 100).unwrap();
            assert!((0.0..=1.0).contains(&within));
            let bound = analysis::union_bound(&analysis::window_failure(&q, 20), 1_000, u64::MAX);
            assert!((0.0..=1.0).contains(&bound.value()));
        }
    }
    let none = analysis::poll_success(20, 15, 0.0).unwrap();
    assert_eq!((none.log10(), analysis::expected_polls(&none, 20)), (None, Ok(None)));
    let sure = analysis::poll_success(20, 15, 1.0).unwrap();
    assert_eq!((sure.log10(), analysis::expected_polls(&sure, 20)), (Some(0.0), Ok(Some(20.0))));
    assert_eq!(analysis::expected_polls(&sure, 0), Err(AnalysisError::Beta));
    assert_eq!(analysis::run_within(&sure, 0, 5), Err(AnalysisError::Beta));
    assert!(analysis::run_within(&sure, 5, u32::MAX).is_err());
    assert_eq!(analysis::run_within(&sure, 5, 4), Ok(0.0));
    let whole = analysis::poll_success_exact(20, 15, u64::MAX, u64::MAX).unwrap();
    assert_eq!(whole.value(), 1.0);
}

/// An id whose `bit` and `first_difference` disagree with equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Lying(u8);

impl BlockId for Lying {
    const BITS: u32 = 4;

    fn bit(&self, i: u32) -> bool {
        i.is_multiple_of(2)
    }

    fn first_difference(&self, other: &Self, from: u32, _: u32) -> Option<u32> {
        (self.0 != other.0).then_some(from + 1)
    }
}

#[test]
fn an_id_type_that_breaks_its_contract_decides_nothing_wrong_in_memory() {
    let genesis = BlockRef { id: Lying(0), parent: Lying(0), height: 0 };
    let mut chain = Snowman::new(Params::for_small_set(2).unwrap(), Variant::Snowflake, genesis, 1);
    let mut decisions: Vec<Decision<Lying>> = Vec::new();
    for n in 1..40 {
        let _ = chain.add(BlockRef { id: Lying(n), parent: Lying(n / 3), height: 1 + u64::from(n / 3 > 0) });
        chain.record_poll(&[Lying(n), Lying(n)].into_iter().collect(), &mut decisions).unwrap();
    }
}

#[test]
fn narrow_errors_convert_into_the_wide_one() {
    fn wide(error: impl Into<Error>) -> String {
        error.into().to_string()
    }
    assert_eq!(wide(ParamError::SmallSet { n: 1 }), "1 validators are no small set of 2 to 19");
    assert_eq!(wide(AddError::WrongHeight { expected: 3 }), "height is not 3, the parent's plus one");
    assert_eq!(wide(TooManyVotes { votes: 5, k: 4 }), "5 votes in a poll of 4");
    assert_eq!(wide(SampleError::SampleTooLarge { total_stake: 3, k: 9 }), "sample of 9 from 3 units of stake");
    assert_eq!(wide(MessageError::Busy), "busy");
    assert_eq!(wide(WireError::Malformed { field: "end" }), "malformed end");
    assert_eq!(wide(SignatureError), "signature refused");
    assert_eq!(wide(TxError::Keys { count: 0 }), "0 keys are none, too many, or not all different");
    assert_eq!(wide(ReplicaError::Poisoned), "poisoned");
}
