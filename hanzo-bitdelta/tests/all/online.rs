//! Deltas that grow, and streams of increments.

use hanzo_bitdelta::{
    Adapter, Error, ErrorFeedback, Granularity, MatRef, OnlineDelta, PackOptions, PriorReplica, PriorStream,
    ReadOptions,
};
use proptest::prelude::*;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

fn values(rng: &mut Xoshiro256PlusPlus, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random::<f32>() - 0.5).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_and_what_is_held_back_is_what_was_put_in(
        rows in 1_usize..20, cols in 1_usize..80, seed: u64, steps in 1_usize..30, choice in 0..4,
    ) {
        let granularity = [
            Granularity::Tensor, Granularity::Row, Granularity::RowCol, Granularity::block(32).unwrap(),
        ][choice as usize];
        let options = PackOptions::new().granularity(granularity);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (mut sender, mut receiver) = (ErrorFeedback::new(rows, cols).unwrap(), OnlineDelta::new(rows, cols).unwrap());
        let mut total = vec![0.0_f64; rows * cols];
        let mut magnitude = 0.0_f64;
        for _ in 0..steps {
            let g = values(&mut rng, rows * cols);
            total.iter_mut().zip(&g).for_each(|(total, g)| *total += f64::from(*g));
            receiver.absorb(&sender.push(MatRef::new(&g, rows, cols).unwrap(), &options).unwrap()).unwrap();
            let largest = |values: &[f32]| values.iter().fold(0.0_f64, |a, &b| a.max(f64::from(b.abs())));
            magnitude = magnitude.max(largest(receiver.as_slice())).max(largest(sender.residual()));
        }
        for ((total, sent), held) in total.iter().zip(receiver.as_slice()).zip(sender.residual()) {
            let found = f64::from(*sent) + f64::from(*held);
            let bound = 4.0 * steps as f64 * f64::from(f32::EPSILON) * (magnitude + 1.0);
            prop_assert!((total - found).abs() <= bound, "{} {}", total, found);
        }
    }
}

#[test]
fn updates_that_cannot_be_added_change_nothing() {
    let mut delta = OnlineDelta::new(1, 2).unwrap();
    delta.update(MatRef::new(&[1.0, 2.0], 1, 2).unwrap(), 0.5).unwrap();
    let before = delta.clone();
    let bad = [[f32::NAN, 0.0], [0.0, f32::INFINITY]];
    for (col, bad) in bad.iter().enumerate() {
        let error = delta.update(MatRef::new(bad, 1, 2).unwrap(), 1.0).unwrap_err();
        assert_eq!(error, Error::NonFinite { tensor: "update".into(), row: 0, col });
    }
    assert!(matches!(
        delta.update(MatRef::new(&[0.0, f32::MAX], 1, 2).unwrap(), 2.0).unwrap_err(),
        Error::Overflow { .. }
    ));
    assert!(delta.update(MatRef::new(&[0.0, 0.0], 1, 2).unwrap(), f32::NAN).is_err());
    assert!(delta.update(MatRef::new(&[0.0, 0.0], 2, 1).unwrap(), 1.0).is_err());
    for share in [-0.1, 1.1, f32::NAN] {
        assert!(matches!(delta.decay(share), Err(Error::InvalidOptions { .. })));
    }
    assert_eq!(delta, before);
    delta.decay(1.0).unwrap();
    assert_eq!(delta.as_slice(), [0.0, 0.0]);
    assert!(OnlineDelta::new(usize::MAX, 2).is_err());

    let mut stream = ErrorFeedback::new(1, 2).unwrap();
    let three = PackOptions::new().granularity(Granularity::block(32).unwrap()).planes(5);
    assert!(stream.push(MatRef::new(&[1.0, 1.0], 1, 2).unwrap(), &three).is_err());
    assert_eq!(stream.residual(), [0.0, 0.0]);
}

#[test]
fn priors_arrive_as_files() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    let mut stream = PriorStream::default();
    let mut replica = PriorReplica::default();
    let mut total = vec![0.0_f32; 8 * 768];
    for round in 0..20 {
        let delta = values(&mut rng, 8 * 768);
        total.iter_mut().zip(&delta).for_each(|(total, d)| *total += d);
        stream.add("a", MatRef::new(&delta, 8, 768).unwrap()).unwrap();
        if round == 3 {
            stream.add("b", MatRef::new(&delta[..64], 1, 64).unwrap()).unwrap();
        }
        let file = stream.emit().unwrap().to_bytes().unwrap();
        let update = Adapter::from_bytes(file.into(), ReadOptions::default()).unwrap();
        assert_eq!(update.len(), if round == 3 { 2 } else { 1 });
        replica.absorb(&update).unwrap();
    }
    let (got, held) = (replica.get("a").unwrap().as_slice(), stream.residual("a").unwrap());
    for ((total, got), held) in total.iter().zip(got).zip(held) {
        assert!((total - got - held).abs() < 1e-3);
    }
    assert!(stream.emit().unwrap().is_empty());
    assert!(stream.add("b", MatRef::new(&total[..32], 1, 32).unwrap()).is_err());
    assert_eq!(replica.names().collect::<Vec<_>>(), ["a", "b"]);
    assert!(replica.get("c").is_err());
}
