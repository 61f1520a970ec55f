//! Every backend beside the portable one, bit for bit.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::{Backend, Engine, Plane, Scratch};
use crate::layout::{Grid, TILE_COLS, TILE_ROWS, Tile};
use crate::pack::{self, Difference};
use crate::{Bf16, Element, F16, Granularity, MatMut, MatRef, PackOptions, PackedDelta, SignZero};

fn others() -> impl Iterator<Item = Engine> {
    Backend::available().iter().map(|&backend| Engine::new(backend).unwrap())
}

/// Zeros of both signs, subnormals, and magnitudes over many orders.
fn values(rng: &mut Xoshiro256PlusPlus, count: usize) -> Vec<f32> {
    let value = |rng: &mut Xoshiro256PlusPlus| match rng.random_range(0..8) {
        0 => 0.0,
        1 => f32::from_bits(rng.random_range(1..0x0080_0000)),
        2 => 1e6 * rng.random::<f32>(),
        _ => rng.random::<f32>(),
    };
    (0..count).map(|_| if rng.random() { value(rng) } else { -value(rng) }).collect()
}

fn bits<T: Element>(values: &[T]) -> Vec<u32> {
    values.iter().map(|value| value.to_f32().to_bits()).collect()
}

fn granularity(choice: u32) -> Granularity {
    match choice {
        0 => Granularity::Tensor,
        1 => Granularity::Row,
        2 => Granularity::Col,
        3 => Granularity::RowCol,
        g => Granularity::block(32 * (g - 3)).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn totals_do_not_depend_on_the_backend(
        rows in 1_usize..=200, cols in 1_usize..=3000, seed: u64, tokens in 1_usize..4, cut: (u16, u16),
    ) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let grid = Grid { rows, cols };
        let tiles: Vec<Tile> = (0..grid.tiles()).map(|_| rng.random()).collect();
        let mut inputs = values(&mut rng, tokens * grid.words() * TILE_COLS);
        for input in inputs.chunks_exact_mut(grid.words() * TILE_COLS) {
            input[cols..].fill(0.0);
        }
        let (a, b) = (usize::from(cut.0) % grid.words(), usize::from(cut.1) % grid.words());
        let plane = Plane { grid, tiles: &tiles, words: a.min(b)..a.max(b) + 1 };
        let mut scratch = Scratch::default();
        let mut expected = vec![f32::NAN; tokens * grid.bands() * TILE_ROWS];
        Engine(Backend::Portable).block_totals(&plane, &inputs, &mut scratch, &mut expected);
        for engine in others() {
            let mut found = vec![f32::NAN; expected.len()];
            engine.block_totals(&plane, &inputs, &mut scratch, &mut found);
            prop_assert_eq!(bits(&found), bits(&expected), "{:?}", engine);
        }
    }

    #[test]
    fn packing_does_not_depend_on_the_backend(
        rows in 1_usize..=70, cols in 1_usize..=2500, seed: u64, choice in 0_u32..8, planes in 1_usize..=2, positive: bool,
    ) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let zero = if positive { SignZero::Positive } else { SignZero::Negative };
        let options = PackOptions::new().granularity(granularity(choice)).planes(planes).sign_zero(zero);
        let (base, fine) = (values(&mut rng, rows * cols), values(&mut rng, rows * cols));
        pack_everywhere(&base, &fine, rows, cols, &options)?;
        let half = |values: &[f32]| values.iter().map(|&v| F16::from_f32(v.clamp(-3e4, 3e4))).collect::<Vec<_>>();
        pack_everywhere(&half(&base), &half(&fine), rows, cols, &options)?;
        let brain = |values: &[f32]| values.iter().map(|&v| Bf16::from_f32(v)).collect::<Vec<_>>();
        pack_everywhere(&brain(&base), &brain(&fine), rows, cols, &options)?;
    }

    #[test]
    fn applying_does_not_depend_on_the_backend(
        rows in 1_usize..=40, cols in 1_usize..=300, seed: u64, choice in 0_u32..8, planes in 1_usize..=3,
    ) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let options = PackOptions::new().granularity(granularity(choice)).planes(planes);
        let delta = values(&mut rng, rows * cols);
        let packed = PackedDelta::from_delta(MatRef::new(&delta, rows, cols).unwrap(), &options).unwrap();
        let base = values(&mut rng, rows * cols);
        apply_everywhere(&packed, &base)?;
        // Deltas of a million are too large for f16: both ways have to say so.
        apply_everywhere(&packed, &base.iter().map(|&v| F16::from_f32(v.clamp(-6e4, 6e4))).collect::<Vec<_>>())?;
        apply_everywhere(&packed, &base.iter().map(|&v| Bf16::from_f32(v)).collect::<Vec<_>>())?;
    }
}

fn pack_everywhere<T: Element>(
    base: &[T],
    fine: &[T],
    rows: usize,
    cols: usize,
    options: &PackOptions,
) -> Result<(), TestCaseError> {
    let matrix = |data| MatRef::new(data, rows, cols).unwrap();
    let difference = Difference { base: matrix(base), fine: matrix(fine) };
    let grid = Grid { rows, cols };
    let expected = pack::pack(&difference, grid, options, Engine(Backend::Portable)).unwrap();
    for engine in others() {
        let found = pack::pack(&difference, grid, options, engine).unwrap();
        prop_assert_eq!(found.tiles.as_slice(), expected.tiles.as_slice(), "{:?}", engine);
        prop_assert_eq!(bits(&found.scales), bits(&expected.scales), "{:?}", engine);
    }
    Ok(())
}

fn apply_everywhere<T: Element>(packed: &PackedDelta, base: &[T]) -> Result<(), TestCaseError> {
    let (rows, cols) = (packed.rows(), packed.cols());
    let matrix = MatRef::new(base, rows, cols).unwrap();
    let mut expected = vec![T::default(); base.len()];
    let outcome =
        packed.materialize_on(Engine(Backend::Portable), matrix, MatMut::new(&mut expected, rows, cols).unwrap());
    for engine in others() {
        let (mut out, mut own) = (vec![T::default(); base.len()], base.to_vec());
        let done = packed.materialize_on(engine, matrix, MatMut::new(&mut out, rows, cols).unwrap());
        prop_assert_eq!(&done, &outcome, "{:?}", engine);
        prop_assert_eq!(&packed.apply_on(engine, MatMut::new(&mut own, rows, cols).unwrap()), &outcome, "{:?}", engine);
        if outcome.is_ok() {
            prop_assert_eq!(bits(&out), bits(&expected), "{:?}", engine);
            prop_assert_eq!(bits(&own), bits(&expected), "{:?}", engine);
        } else {
            prop_assert_eq!(bits(&own), bits(base), "{:?}", engine);
        }
    }
    Ok(())
}
