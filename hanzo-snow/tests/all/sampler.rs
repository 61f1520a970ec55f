//! Samplers follow the law of stake.

use hanzo_snow::{
    SampleError, SetError, StakeHeap, StakeTable, StakeTree, Uniform, ValidatorSampler, ValidatorSet, sample_units,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

/// Chi-square statistic of how often each node was drawn, against shares of the stake.
fn chi_square<S: ValidatorSampler<Node = usize>>(sampler: &S, shares: &[f64], k: u16, polls: u32, seed: u64) -> f64 {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut counts = vec![0_u32; shares.len()];
    let mut sample = Vec::new();
    for _ in 0..polls {
        sampler.sample(k, &mut rng, &mut sample).unwrap();
        sample.iter().for_each(|&node| counts[node] += 1);
    }
    let drawn = f64::from(polls) * f64::from(k);
    let terms = counts.iter().zip(shares).filter(|(_, share)| **share > 0.0).map(|(&count, share)| {
        let expected = drawn * share;
        (f64::from(count) - expected).powi(2) / expected
    });
    assert!(counts.iter().zip(shares).all(|(&count, &share)| share > 0.0 || count == 0), "zero stake was drawn");
    terms.sum()
}

fn shares(stakes: &[u64]) -> Vec<f64> {
    let total: u64 = stakes.iter().sum();
    stakes.iter().map(|&stake| stake as f64 / total as f64).collect()
}

/// 99.9 % point of chi-square with 9 degrees of freedom; draws without replacement vary less.
const LIMIT_9: f64 = 27.88;

#[test]
fn table_and_heap_draw_in_proportion_to_stake() {
    let stakes: Vec<u64> = vec![1_000, 50, 700, 0, 3, 250, 90, 4_000, 10, 1, 333];
    let set = ValidatorSet::new(stakes.iter().copied().enumerate()).unwrap();
    let all = shares(&stakes);
    // 10 of 6,437 units takes the guide table, 3,000 the unit draws.
    for (k, polls) in [(10, 20_000), (3_000, 60)] {
        let table = chi_square(&StakeTable::new(&set), &all, k, polls, 11);
        let heap = chi_square(&StakeHeap::new(&set), &all, k, polls, 12);
        assert!(table < LIMIT_9 && heap < LIMIT_9, "k {k}: {table} {heap}");
    }
    for own in [0, 7] {
        let mut stakes = stakes.clone();
        stakes[own] = 0;
        let rest = shares(&stakes);
        let table = chi_square(&StakeTable::excluding(&set, &own).unwrap(), &rest, 10, 20_000, 13);
        let heap = chi_square(&StakeHeap::excluding(&set, &own).unwrap(), &rest, 10, 20_000, 14);
        assert!(table < LIMIT_9 && heap < LIMIT_9, "without {own}: {table} {heap}");
    }
}

#[test]
fn pairs_are_drawn_without_replacement() {
    // Two units of stakes 20 and 20: both of one node with probability 19/39, not 1/2.
    let set = ValidatorSet::new([(0, 20), (1, 20)]).unwrap();
    let table = StakeTable::new(&set);
    let mut rng = SmallRng::seed_from_u64(5);
    let mut sample = Vec::new();
    let mut same = 0;
    let polls = 40_000;
    for _ in 0..polls {
        table.sample(2, &mut rng, &mut sample).unwrap();
        same += u32::from(sample[0] == sample[1]);
    }
    let expected = 19.0 / 39.0;
    let share = f64::from(same) / f64::from(polls);
    assert!((share - expected).abs() < 4.5 * (0.25 / f64::from(polls)).sqrt(), "{share} against {expected}");
}

#[test]
fn uniform_gives_every_validator_the_same_chance() {
    let set = ValidatorSet::new((0..11).map(|node| (node, if node == 4 { 0 } else { 1 + 100 * node as u64 }))).unwrap();
    let mut shares = vec![0.1; 11];
    shares[4] = 0.0;
    assert!(chi_square(&Uniform::new(&set), &shares, 3, 20_000, 6) < LIMIT_9);
    assert_eq!(chi_square(&Uniform::new(&set), &shares, 10, 10, 6), 0.0, "everyone once");
    let mut sample = Vec::new();
    Uniform::new(&set).excluding(&2).unwrap().sample(9, &mut SmallRng::seed_from_u64(1), &mut sample).unwrap();
    assert!(!sample.contains(&2));
}

#[test]
fn b49_units_are_a_permutation_when_all_are_drawn() {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut out = vec![1];
    assert_eq!(sample_units(0, 0, &mut rng, &mut out), Ok(()));
    assert!(out.is_empty());
    assert_eq!(sample_units(0, 1, &mut rng, &mut out), Err(SampleError::SampleTooLarge { total_stake: 0, k: 1 }));
    sample_units(500, 500, &mut rng, &mut out).unwrap();
    assert!(!out.is_sorted());
    out.sort_unstable();
    assert!(out.iter().copied().eq(0..500));
    sample_units(u64::MAX, 1_000, &mut rng, &mut out).unwrap();
    out.sort_unstable();
    out.dedup();
    assert_eq!(out.len(), 1_000);
}

#[test]
fn b50_every_unit_is_listed_once_when_all_are_drawn() {
    let set = ValidatorSet::new([('a', 3), ('b', 0), ('c', 4)]).unwrap();
    let mut rng = SmallRng::seed_from_u64(2);
    let mut out = Vec::new();
    for sampler in [0, 1, 2] {
        match sampler {
            0 => StakeHeap::new(&set).sample(7, &mut rng, &mut out).unwrap(),
            1 => StakeTree::new(&set).sample(7, &mut rng, &mut out).unwrap(),
            _ => StakeTable::new(&set).sample(7, &mut rng, &mut out).unwrap(),
        }
        out.sort_unstable();
        assert_eq!(out, ['a', 'a', 'a', 'c', 'c', 'c', 'c']);
    }
}

#[test]
fn large_samples_repeat_no_unit() {
    let set = ValidatorSet::new((0..4).map(|node| (node, 200_u64))).unwrap();
    let table = StakeTable::new(&set);
    let mut rng = SmallRng::seed_from_u64(3);
    let mut out = Vec::new();
    for _ in 0..50 {
        // 200 of 800 is the largest sample the table serves.
        table.sample(200, &mut rng, &mut out).unwrap();
        assert_eq!(out.len(), 200);
        assert!((0..4).all(|node| out.iter().filter(|&&drawn| drawn == node).count() <= 200));
    }
}

#[test]
fn a_tree_follows_its_updates() {
    let set = ValidatorSet::new([(0, 500), (1, 20), (2, 0), (3, 90)]).unwrap();
    let mut tree = StakeTree::new(&set);
    let mut stakes: Vec<u64> = vec![500, 20, 0, 90, 0, 0, 0, 0, 0, 0, 0];
    // Up, down, away, back again, and newcomers in places that were left.
    for (node, stake) in
        [(0, 100), (1, 0), (4, 70), (5, 300), (3, 0), (1, 33), (6, 8), (7, 1), (8, 250), (9, 60), (10, 5)]
    {
        assert_eq!(tree.set_stake(node, stake).unwrap(), stakes[node]);
        stakes[node] = stake;
        assert_eq!((tree.total_stake(), tree.stake(&node)), (stakes.iter().sum(), stake));
        let count = stakes.iter().filter(|&&stake| stake > 0).count();
        // All units: exact counts.
        let mut all = Vec::new();
        tree.sample(stakes.iter().sum::<u64>() as u16, &mut SmallRng::seed_from_u64(1), &mut all).unwrap();
        let counts = |node| all.iter().filter(|&&drawn| drawn == node).count() as u64;
        assert!((0..11).all(|node| counts(node) == stakes[node]), "{count} validators");
    }
    assert!(chi_square(&tree, &shares(&stakes), 10, 20_000, 21) < LIMIT_9);

    let mut without = StakeTree::excluding(&set, &0).unwrap();
    for (node, &stake) in stakes.iter().enumerate() {
        without.set_stake(node, stake).unwrap();
    }
    let mut rest = stakes.clone();
    rest[0] = 0;
    assert!(chi_square(&without, &shares(&rest), 10, 20_000, 22) < LIMIT_9);

    assert_eq!(tree.set_stake(1, u64::MAX), Err(SetError::StakeOverflow));
    assert_eq!((tree.stake(&1), StakeTree::excluding(&set, &9).unwrap_err()), (33, SetError::UnknownValidator));
    for node in 0..11 {
        tree.set_stake(node, 0).unwrap();
    }
    let none = tree.sample(1, &mut SmallRng::seed_from_u64(1), &mut Vec::new());
    assert_eq!(none, Err(SampleError::SampleTooLarge { total_stake: 0, k: 1 }));
}

#[test]
fn a_tree_takes_stakes_up_to_the_largest_sum() {
    let set = ValidatorSet::new([(0, u64::MAX - 5), (1, 5)]).unwrap();
    let mut tree = StakeTree::new(&set);
    tree.set_stake(1, 3).unwrap();
    tree.set_stake(2, 2).unwrap();
    assert_eq!(tree.total_stake(), u64::MAX);
    assert_eq!(tree.set_stake(3, 1), Err(SetError::StakeOverflow));
    let mut sample = Vec::new();
    StakeTree::excluding(&set, &0).unwrap().sample(5, &mut SmallRng::seed_from_u64(4), &mut sample).unwrap();
    assert_eq!(sample, [1; 5]);
}
