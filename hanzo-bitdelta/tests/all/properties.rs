//! Laws that hold for every input.

use crate::common::{bits, naive_matvec, sign};
use hanzo_bitdelta::{
    Adapter, Backend, Bf16, Dtype, Element, Entry, F16, Granularity, Job, Layout, MatMut, MatRef, PackOptions,
    PackedDelta, PlaneFit, RawTensor, ReadOptions, ScaleDtype, SignZero, Verify, Workspace, ZeroTensor,
    batched_matvec_acc, dense_matvec_acc, fused_batched_matvec_acc,
};
use proptest::prelude::*;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Values with zeros of both signs, subnormals, and magnitudes over many orders.
fn special(rng: &mut Xoshiro256PlusPlus) -> f32 {
    let sign = if rng.random::<bool>() { 1.0 } else { -1.0 };
    sign * match rng.random_range(0..10) {
        0 | 1 => 0.0,
        2 => f32::from_bits(rng.random_range(1..0x0080_0000)),
        3 => f32::MIN_POSITIVE * rng.random::<f32>(),
        4 => 1e6 * rng.random::<f32>(),
        _ => rng.random::<f32>(),
    }
}

fn values(rng: &mut Xoshiro256PlusPlus, count: usize) -> Vec<f32> {
    (0..count).map(|_| special(rng)).collect()
}

fn granularity() -> impl Strategy<Value = Granularity> {
    prop_oneof![
        Just(Granularity::Tensor),
        Just(Granularity::Row),
        Just(Granularity::Col),
        Just(Granularity::RowCol),
        (1_u32..5).prop_map(|g| Granularity::block(32 * g).unwrap()),
    ]
}

fn options() -> impl Strategy<Value = PackOptions> {
    let fit = prop_oneof![Just(PlaneFit::Greedy), Just(PlaneFit::LeastSquares)];
    let zero = prop_oneof![Just(SignZero::Negative), Just(SignZero::Positive)];
    (granularity(), 1_usize..=4, fit, zero).prop_map(|(granularity, planes, fit, zero)| {
        PackOptions::new().granularity(granularity).planes(planes).plane_fit(fit).sign_zero(zero)
    })
}

fn pack(delta: &[f32], rows: usize, cols: usize, options: &PackOptions) -> PackedDelta {
    PackedDelta::from_delta(MatRef::new(delta, rows, cols).unwrap(), options).unwrap()
}

#[cfg(feature = "rayon")]
#[test]
fn more_threads_than_there_is_work_for_change_nothing() {
    // 13 bands in 8 parts of 2: the last part is empty.
    let (rows, cols) = (200, 12_000);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    let packed = pack(&values(&mut rng, rows * cols), rows, cols, &PackOptions::new());
    let x = values(&mut rng, cols);
    let run = |threads: usize| {
        let mut y = vec![0.0; rows];
        packed.matvec_acc(&x, &mut y, &mut Workspace::new().threads(threads)).unwrap();
        bits(&y)
    };
    assert!([2, 3, 5, 8, 12, 13, 100].into_iter().all(|threads| run(threads) == run(1)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn signs_follow_the_rule_and_layouts_invert(
        rows in 1_usize..40, cols in 1_usize..200, seed: u64, options in options(),
    ) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let delta = values(&mut rng, rows * cols);
        let options = options.plane_fit(PlaneFit::Greedy);
        let packed = pack(&delta, rows, cols, &options);
        let words = packed.to_rowmajor64();
        let positive = packed.spec().sign_zero == SignZero::Positive;
        for (index, &d) in delta.iter().enumerate() {
            let expected = if d > 0.0 || d == 0.0 && positive { 1.0 } else { -1.0 };
            prop_assert_eq!(sign(&packed, &words, 0, index / cols, index % cols), expected);
        }
        let from_wide = PackedDelta::from_rowmajor64(&words, packed.spec(), packed.scales()).unwrap();
        prop_assert_eq!(&from_wide, &packed);
        let from_tiles = PackedDelta::from_tiled16(&packed.to_tiled16(), packed.spec(), packed.scales()).unwrap();
        prop_assert_eq!(&from_tiles, &packed);
        prop_assert_eq!(from_tiles.to_rowmajor64(), words);
    }

    #[test]
    fn products_are_the_naive_ones_bit_for_bit(
        rows in 1_usize..=70, cols in 1_usize..=300, seed: u64, options in options(), tokens in 1_usize..12,
    ) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let packed = pack(&values(&mut rng, rows * cols), rows, cols, &options);
        let x = values(&mut rng, tokens * cols);
        let start = values(&mut rng, tokens * rows);
        let mut naive = start.clone();
        for (x, y) in x.chunks_exact(cols).zip(naive.chunks_exact_mut(rows)) {
            naive_matvec(&packed, x, y);
        }
        // One workspace for all: it carries nothing over.
        let mut ws = Workspace::new();
        let mut single = start.clone();
        for (x, y) in x.chunks_exact(cols).zip(single.chunks_exact_mut(rows)) {
            packed.matvec_acc(x, y, &mut ws).unwrap();
        }
        prop_assert_eq!(bits(&single), bits(&naive));
        let mut many = start.clone();
        let (x_all, y_all) = (MatRef::new(&x, tokens, cols).unwrap(), MatMut::new(&mut many, tokens, rows).unwrap());
        packed.matmul_acc(x_all, y_all, &mut ws).unwrap();
        prop_assert_eq!(bits(&many), bits(&naive));
    }

    #[test]
    fn every_backend_and_thread_count_gives_the_same_bits(
        rows in 1_usize..=200, cols in 1_usize..=3000, seed: u64, options in options(), tokens in 1_usize..8,
    ) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let options = options.plane_fit(PlaneFit::Greedy);
        let packed = pack(&values(&mut rng, rows * cols), rows, cols, &options);
        let (weights, x) = (values(&mut rng, rows * cols), values(&mut rng, tokens * cols));
        let start = values(&mut rng, tokens * rows);
        let base = MatRef::new(&weights, rows, cols).unwrap();
        // In a file the tiles lie anywhere: here at 16 bytes past a cache line, or wherever the vector puts them.
        let file = Adapter::builder().entry("w", packed.clone()).build().unwrap().to_bytes().unwrap();
        let adapter = Adapter::from_bytes(file.into(), ReadOptions::new()).unwrap();
        let Entry::Packed(in_file) = adapter.get("w").unwrap() else { panic!("not packed") };
        let run = |delta: &PackedDelta, mut ws: Workspace| {
            let (mut many, mut fused) = (start.clone(), start[..rows].to_vec());
            let y = MatMut::new(&mut many, tokens, rows).unwrap();
            delta.matmul_acc(MatRef::new(&x, tokens, cols).unwrap(), y, &mut ws).unwrap();
            delta.fused_matvec_acc(base, &x[..cols], &mut fused, &mut ws).unwrap();
            let mut together = start.clone();
            let pairs = x.chunks_exact(cols).zip(together.chunks_exact_mut(rows));
            let mut jobs: Vec<Job<'_>> = pairs.map(|(x, y)| Job { delta, x, y }).collect();
            fused_batched_matvec_acc(base, &mut jobs, &mut ws).unwrap();
            assert_eq!(bits(&together[..rows]), bits(&fused));
            // Every token of the batch is the token alone.
            for (t, x) in x.chunks_exact(cols).enumerate().skip(1) {
                let mut alone = start[t * rows..][..rows].to_vec();
                delta.fused_matvec_acc(base, x, &mut alone, &mut ws).unwrap();
                assert_eq!(bits(&together[t * rows..][..rows]), bits(&alone));
            }
            (bits(&many), bits(&fused), bits(&together))
        };
        let expected = run(&packed, Workspace::with_backend(Backend::Portable).unwrap());
        for &backend in Backend::available() {
            let ws = Workspace::with_backend(backend).unwrap();
            prop_assert_eq!(&run(&packed, ws.clone()), &expected, "{:?}", backend);
            prop_assert_eq!(&run(in_file, ws.clone()), &expected, "{:?}", backend);
            #[cfg(feature = "rayon")]
            for threads in [2, 3, 8] {
                prop_assert_eq!(&run(&packed, ws.clone().threads(threads)), &expected, "{:?} {}", backend, threads);
            }
        }
    }

    #[test]
    fn a_batch_is_its_jobs_one_by_one(seed: u64, first in options(), second in options(), count in 1_usize..20) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let sizes = [(33, 70), (16, 64), (0, 3)];
        let deltas: Vec<PackedDelta> = sizes.iter().zip([first, second, first])
            .map(|(&(rows, cols), options)| pack(&values(&mut rng, rows * cols), rows, cols, &options)).collect();
        let picks: Vec<&PackedDelta> = (0..count).map(|_| &deltas[rng.random_range(0..3)]).collect();
        let xs: Vec<Vec<f32>> = picks.iter().map(|delta| values(&mut rng, delta.cols())).collect();
        let mut alone: Vec<Vec<f32>> = picks.iter().map(|delta| values(&mut rng, delta.rows())).collect();
        let mut together = alone.clone();
        let mut ws = Workspace::new();
        for ((delta, x), y) in picks.iter().zip(&xs).zip(&mut alone) {
            delta.matvec_acc(x, y, &mut ws).unwrap();
        }
        let mut jobs: Vec<Job<'_>> = picks.iter().zip(&xs).zip(&mut together)
            .map(|((&delta, x), y)| Job { delta, x, y }).collect();
        batched_matvec_acc(&mut jobs, &mut ws).unwrap();
        for (alone, together) in alone.iter().zip(&together) {
            prop_assert_eq!(bits(alone), bits(together));
        }
    }

    #[test]
    fn fused_is_dense_then_packed(rows in 1_usize..40, cols in 1_usize..200, seed: u64, options in options()) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let packed = pack(&values(&mut rng, rows * cols), rows, cols, &options);
        let x = values(&mut rng, cols);
        let start = values(&mut rng, rows);
        let weights = values(&mut rng, rows * cols);
        fused(&packed, &weights, &x, &start)?;
        fused(&packed, &weights.iter().map(|&w| F16::from_f32(w.clamp(-6e4, 6e4))).collect::<Vec<_>>(), &x, &start)?;
        fused(&packed, &weights.iter().map(|&w| Bf16::from_f32(w)).collect::<Vec<_>>(), &x, &start)?;
    }

    #[test]
    fn materialize_and_apply_add_plane_by_plane(
        rows in 1_usize..40, cols in 1_usize..150, seed: u64, options in options(),
    ) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let packed = pack(&values(&mut rng, rows * cols), rows, cols, &options);
        let base = values(&mut rng, rows * cols);
        let words = packed.to_rowmajor64();
        let count = packed.scales().len() / packed.planes();
        let mut expected = base.clone();
        for (index, w) in expected.iter_mut().enumerate() {
            let (i, j) = (index / cols, index % cols);
            let mut d = 0.0;
            for p in 0..packed.planes() {
                let scales = &packed.scales()[p * count..][..count];
                let scale = match packed.granularity() {
                    Granularity::Tensor => scales[0],
                    Granularity::Row => scales[i],
                    Granularity::Col => scales[j],
                    Granularity::RowCol => scales[i] * scales[rows + j],
                    Granularity::Block(g) => scales[i * cols.div_ceil(g.get() as usize) + j / g.get() as usize],
                };
                let term = scale * sign(&packed, &words, p, i, j);
                d = if p == 0 { term } else { d + term };
            }
            *w += d;
        }
        let mut out = vec![0.0; rows * cols];
        let matrix = MatRef::new(&base, rows, cols).unwrap();
        packed.materialize(matrix, MatMut::new(&mut out, rows, cols).unwrap()).unwrap();
        prop_assert_eq!(bits(&out), bits(&expected));
        // In place, with rows that lie apart.
        let stride = cols + 3;
        let mut wide = vec![7.0; rows * stride];
        for (row, base) in wide.chunks_exact_mut(stride).zip(base.chunks_exact(cols)) {
            row[..cols].copy_from_slice(base);
        }
        packed.apply_to(MatMut::with_stride(&mut wide, rows, cols, stride).unwrap()).unwrap();
        for (row, expected) in wide.chunks_exact(stride).zip(expected.chunks_exact(cols)) {
            prop_assert_eq!(bits(&row[..cols]), bits(expected));
            prop_assert_eq!(&row[cols..], &[7.0; 3]);
        }
    }

    #[test]
    fn more_planes_never_leave_more_over(rows in 1_usize..30, cols in 1_usize..120, seed: u64, granularity in granularity()) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let delta: Vec<f32> = (0..rows * cols).map(|_| rng.random::<f32>() - 0.5).collect();
        let residual = |options: &PackOptions| {
            let matrix = MatRef::new(&delta, rows, cols).unwrap();
            pack(&delta, rows, cols, options).fidelity(matrix).unwrap().residual_energy()
        };
        let greedy = PackOptions::new().granularity(granularity).plane_fit(PlaneFit::Greedy);
        let joint = greedy.plane_fit(PlaneFit::LeastSquares);
        let mut before = f64::INFINITY;
        for planes in 1..=4 {
            let left = residual(&greedy.planes(planes));
            prop_assert!(left <= before * (1.0 + 1e-5) + 1e-12, "{} planes: {} after {}", planes, left, before);
            prop_assert!(residual(&joint.planes(planes)) <= left * (1.0 + 1e-5) + 1e-12);
            before = left;
        }
        let single = |granularity| residual(&PackOptions::new().granularity(granularity));
        prop_assert!(single(Granularity::RowCol) <= single(Granularity::Row) * (1.0 + 1e-5) + 1e-12);
    }

    #[test]
    fn a_written_adapter_reads_back(seed: u64, first in options(), second in options(), wide: bool) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (rows, cols) = (rng.random_range(0..40), rng.random_range(0..150));
        let a = pack(&values(&mut rng, rows * cols), rows, cols, &first);
        let halves: Vec<f32> = (0..20 * 33).map(|_| 1.0 + rng.random::<f32>()).collect();
        let scale_dtype = if wide { ScaleDtype::F16 } else { ScaleDtype::Bf16 };
        let b = pack(&halves, 20, 33, &second.planes(1).scale_dtype(scale_dtype));
        let raw: Vec<u8> = (0..rng.random_range(0..50)).map(|_| rng.random()).collect();
        let adapter = Adapter::builder()
            .layout(if wide { Layout::RowMajor64 } else { Layout::Tiled16 })
            .base_id("модель \"7\"\u{1}")
            .entry("b/β\n", b.with_shape(&[4, 5, 33]).unwrap())
            .entry("raw", RawTensor::new(Dtype::U8, &[raw.len()], raw).unwrap())
            .entry("same", ZeroTensor::new(Dtype::F16, &[3, 4]).unwrap())
            .entry("a", a)
            .build()
            .unwrap();
        let file = adapter.to_bytes().unwrap();
        for verify in [Verify::Eager, Verify::Lazy] {
            let read = Adapter::from_bytes(file.clone().into(), ReadOptions::new().verify(verify)).unwrap();
            prop_assert_eq!(read.id(), adapter.id());
            for name in adapter.names() {
                prop_assert_eq!(read.get(name).unwrap(), adapter.get(name).unwrap());
            }
            prop_assert_eq!(read.to_bytes().unwrap(), file.clone());
        }
        // The safetensors crate sees the same tensors.
        let oracle = safetensors::SafeTensors::deserialize(&file).unwrap();
        let Entry::Packed(b) = adapter.get("b/β\n").unwrap() else { panic!("not packed") };
        let view = oracle.tensor("b/β\n.sign").unwrap();
        let words: Vec<u8> = match adapter.layout() {
            Layout::Tiled16 => b.to_tiled16().into_iter().flat_map(u32::to_le_bytes).collect(),
            Layout::RowMajor64 => b.to_rowmajor64().into_iter().flat_map(u64::to_le_bytes).collect(),
        };
        prop_assert_eq!(view.data(), words);
        prop_assert_eq!(oracle.len(), 5);
    }
}

fn fused<T: Element>(packed: &PackedDelta, weights: &[T], x: &[f32], start: &[f32]) -> Result<(), TestCaseError> {
    let base = MatRef::new(weights, packed.rows(), packed.cols()).unwrap();
    let mut ws = Workspace::new();
    let (mut one, mut two, mut naive) = (start.to_vec(), start.to_vec(), start.to_vec());
    packed.fused_matvec_acc(base, x, &mut one, &mut ws).unwrap();
    dense_matvec_acc(base, x, &mut two, &mut ws).unwrap();
    packed.matvec_acc(x, &mut two, &mut ws).unwrap();
    for (i, y) in naive.iter_mut().enumerate() {
        let mut lanes = [0.0_f32; 32];
        for (j, (w, x)) in base.row(i).iter().zip(x).enumerate() {
            lanes[j % 32] += w.to_f32() * x;
        }
        for half in [16, 8, 4, 2, 1] {
            for l in 0..half {
                lanes[l] += lanes[l + half];
            }
        }
        *y += lanes[0];
    }
    naive_matvec(packed, x, &mut naive);
    prop_assert_eq!(bits(&one), bits(&two));
    prop_assert_eq!(bits(&one), bits(&naive));
    Ok(())
}

#[test]
fn large_products_cross_segments_and_windows() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    for (rows, cols) in [(3, 1024), (17, 1025), (5, 2500), (40, 3000)] {
        for granularity in [Granularity::Tensor, Granularity::RowCol, Granularity::block(1056).unwrap()] {
            let options = PackOptions::new().granularity(granularity).planes(2).plane_fit(PlaneFit::Greedy);
            let packed = pack(&values(&mut rng, rows * cols), rows, cols, &options);
            let x = values(&mut rng, cols);
            let (mut y, mut naive) = (vec![0.5; rows], vec![0.5; rows]);
            packed.matvec_acc(&x, &mut y, &mut Workspace::new()).unwrap();
            naive_matvec(&packed, &x, &mut naive);
            assert_eq!(bits(&y), bits(&naive), "{rows}x{cols} {granularity:?}");
        }
    }
}

#[test]
fn the_error_of_a_product_is_within_its_bound() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(11);
    let (rows, cols) = (8, 4096);
    let delta: Vec<f32> = (0..rows * cols).map(|_| rng.random::<f32>() - 0.5).collect();
    let packed = pack(&delta, rows, cols, &PackOptions::new().granularity(Granularity::Row));
    let x: Vec<f32> = (0..cols).map(|_| rng.random::<f32>() - 0.5).collect();
    let mut y = vec![0.0; rows];
    packed.matvec_acc(&x, &mut y, &mut Workspace::new()).unwrap();
    for (y, row) in y.iter().zip(packed.to_dense().chunks_exact(cols)) {
        let products = || row.iter().zip(&x).map(|(d, x)| f64::from(*d) * f64::from(*x));
        let (exact, sum) = (products().sum::<f64>(), products().map(f64::abs).sum::<f64>());
        assert!((f64::from(*y) - exact).abs() <= 8.5e-6 * sum + 2f64.powi(-23) * f64::from(y.abs()));
    }
}

#[test]
fn gaussian_deltas_lose_the_known_share_of_their_energy() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(13);
    // Sums of twelve uniforms are normal enough.
    let delta: Vec<f32> = (0..256 * 256).map(|_| (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0).collect();
    let matrix = MatRef::new(&delta, 256, 256).unwrap();
    let packed = pack(&delta, 256, 256, &PackOptions::new().granularity(Granularity::Tensor));
    let fidelity = packed.fidelity(matrix).unwrap();
    assert!((fidelity.relative_error() - 0.603).abs() < 0.01);
    assert!((fidelity.relative_energy() + fidelity.cosine().powi(2) - 1.0).abs() < 1e-6);
}

/// Large batches go through the base in runs of columns, several inputs at a time.
#[test]
fn a_large_batch_is_its_jobs_one_by_one() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(29);
    for (rows, cols, count) in [(7, 1100, 13), (64, 513, 8), (5, 2049, 12), (33, 31, 9), (4, 512, 16)] {
        let packed = pack(&values(&mut rng, rows * cols), rows, cols, &PackOptions::new());
        let (weights, x) = (values(&mut rng, rows * cols), values(&mut rng, count * cols));
        let base = MatRef::new(&weights, rows, cols).unwrap();
        let start = values(&mut rng, count * rows);
        let mut portable = Workspace::with_backend(Backend::Portable).unwrap();
        let mut alone = start.clone();
        for (x, y) in x.chunks_exact(cols).zip(alone.chunks_exact_mut(rows)) {
            packed.fused_matvec_acc(base, x, y, &mut portable).unwrap();
        }
        for &backend in Backend::available() {
            let mut together = start.clone();
            let pairs = x.chunks_exact(cols).zip(together.chunks_exact_mut(rows));
            let mut jobs: Vec<Job<'_>> = pairs.map(|(x, y)| Job { delta: &packed, x, y }).collect();
            fused_batched_matvec_acc(base, &mut jobs, &mut Workspace::with_backend(backend).unwrap()).unwrap();
            assert_eq!(bits(&together), bits(&alone), "{rows} x {cols}, {count} jobs, {backend:?}");
        }
    }
}
