//! Open polls.

use hanzo_snow::PollSet;

use super::{Id, bag, id, split_params};

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
