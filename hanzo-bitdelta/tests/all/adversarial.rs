//! Bad input gives the documented error and leaves its arguments as they were.

use crate::common::bits;
use hanzo_bitdelta::{
    Adapter, BaseDigest, Dtype, Element, Entry, Error, F16, Granularity, Job, Layout, MatMut, MatRef, PackOptions,
    PackedDelta, PackedSpec, PlaneFit, RawTensor, ReadOptions, ScaleDtype, Selection, TensorView, Treatment, Verify,
    Workspace, ZeroTensor, base_digest, batched_matvec_acc, dense_matvec_acc,
};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

fn row() -> PackOptions {
    PackOptions::new().granularity(Granularity::Row)
}

fn pack(delta: &[f32], rows: usize, cols: usize, options: &PackOptions) -> hanzo_bitdelta::Result<PackedDelta> {
    PackedDelta::from_delta(MatRef::new(delta, rows, cols)?, options)
}

fn non_finite(tensor: &str, row: usize, col: usize) -> Error {
    Error::NonFinite { tensor: tensor.to_string(), row, col }
}

#[test]
fn values_that_are_not_finite_are_located() {
    let good = vec![1.0_f32; 3 * 70];
    for bad_value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bad = good.clone();
        bad[70 + 65] = bad_value;
        for granularity in [Granularity::Tensor, Granularity::Row, Granularity::Col, Granularity::RowCol] {
            let options = PackOptions::new().granularity(granularity).planes(2);
            let compress = |base: &[f32], fine: &[f32]| {
                let matrix = |data| MatRef::new(data, 3, 70);
                PackedDelta::compress(matrix(base)?, matrix(fine)?, &options)
            };
            assert_eq!(compress(&bad, &good), Err(non_finite("base", 1, 65)));
            assert_eq!(compress(&good, &bad), Err(non_finite("fine", 1, 65)));
            assert_eq!(pack(&bad, 3, 70, &options), Err(non_finite("delta", 1, 65)));
        }
    }
    let (low, high) = ([-f32::MAX; 2], [f32::MAX; 2]);
    let difference = PackedDelta::compress(MatRef::new(&low, 1, 2).unwrap(), MatRef::new(&high, 1, 2).unwrap(), &row());
    assert_eq!(difference, Err(non_finite("difference", 0, 0)));
}

#[test]
fn shapes_have_to_agree() {
    let data = vec![0.5_f32; 64];
    let mismatch = |result: hanzo_bitdelta::Result<()>| assert!(matches!(result, Err(Error::ShapeMismatch { .. })));
    let (a, b) = (MatRef::new(&data, 8, 8).unwrap(), MatRef::new(&data, 4, 16).unwrap());
    mismatch(PackedDelta::compress(a, b, &row()).map(|_| ()));
    mismatch(MatRef::new(&data, 8, 9).map(|_| ()));
    let packed = pack(&data, 8, 8, &row()).unwrap();
    let mut ws = Workspace::new();
    let (mut y, mut out) = (vec![1.0; 8], vec![2.0_f32; 64]);
    mismatch(packed.matvec_acc(&data[..7], &mut y, &mut ws));
    mismatch(packed.matvec_acc(&data[..8], &mut y[..7], &mut ws));
    mismatch(packed.fused_matvec_acc(b, &data[..8], &mut y, &mut ws));
    mismatch(packed.fused_matvec_acc(a, &data[..9], &mut y, &mut ws));
    mismatch(packed.matmul_acc(b, MatMut::new(&mut out, 4, 8).unwrap(), &mut ws));
    mismatch(packed.matmul_acc(a, MatMut::new(&mut out, 7, 8).unwrap(), &mut ws));
    mismatch(dense_matvec_acc(a, &data[..7], &mut y, &mut ws));
    mismatch(dense_matvec_acc(a, &data[..8], &mut y[..5], &mut ws));
    mismatch(packed.materialize(a, MatMut::new(&mut out, 4, 16).unwrap()));
    mismatch(packed.apply_to(MatMut::new(&mut out, 4, 16).unwrap()));
    mismatch(packed.fidelity(b).map(|_| ()));
    mismatch(packed.with_scales(&[1.0; 7]).map(|_| ()));
    mismatch(packed.with_shape(&[2, 3, 8]).map(|_| ()));
    mismatch(PackedDelta::from_rowmajor64(&[0; 7], packed.spec(), packed.scales()).map(|_| ()));
    mismatch(PackedDelta::from_tiled16(&[0; 17], packed.spec(), packed.scales()).map(|_| ()));
    mismatch(PackedDelta::from_reference_i32(&[0; 8], 8, 31, 1.0, Dtype::F32).map(|_| ()));
    mismatch(PackedDelta::from_reference_i32(&[0; 9], 8, 32, 1.0, Dtype::F32).map(|_| ()));
    mismatch(TensorView::new("w", Dtype::F32, &[3], &[0; 11]).map(|_| ()));
    mismatch(RawTensor::new(Dtype::F32, &[usize::MAX, 2], vec![]).map(|_| ()));
    assert_eq!((y, out), (vec![1.0; 8], vec![2.0; 64]));
}

#[test]
fn empty_matrices_pack_to_nothing() {
    let mut ws = Workspace::new();
    for (rows, cols) in [(0, 0), (0, 5), (5, 0)] {
        for granularity in [
            Granularity::Tensor,
            Granularity::Row,
            Granularity::Col,
            Granularity::RowCol,
            Granularity::block(32).unwrap(),
        ] {
            let packed = pack(&[], rows, cols, &PackOptions::new().granularity(granularity).planes(3)).unwrap();
            let mut y = vec![-0.0; rows];
            packed.matvec_acc(&vec![1.0; cols], &mut y, &mut ws).unwrap();
            let base = MatRef::new(&[0.0_f32; 0], rows, cols).unwrap();
            packed.fused_matvec_acc(base, &vec![1.0; cols], &mut y, &mut ws).unwrap();
            dense_matvec_acc(base, &vec![1.0; cols], &mut y, &mut ws).unwrap();
            assert_eq!(bits(&y), bits(&vec![-0.0; rows]));
            packed.materialize(base, MatMut::new(&mut [], rows, cols).unwrap()).unwrap();
            assert_eq!(packed.fidelity(base).unwrap().relative_energy(), 0.0);
            assert_eq!(packed.storage(Dtype::F32).sign_bytes(), 0);
            let file = Adapter::builder().entry("w", packed).build().unwrap().to_bytes().unwrap();
            assert!(Adapter::from_bytes(file.into(), ReadOptions::new().verify(Verify::Eager)).is_ok());
        }
    }
    // Sides without data behind them.
    let huge = MatRef::new(&[0.0_f32; 0], usize::MAX, 0).unwrap();
    assert!(matches!(PackedDelta::from_delta(huge, &row()), Err(Error::TooLarge { .. })));
    let spec = PackedSpec::new(1 << 30, 1 << 30, Granularity::Tensor);
    assert!(matches!(PackedDelta::from_tiled16(&[], &spec, &[1.0]), Err(Error::TooLarge { .. })));
}

#[test]
fn options_out_of_range_are_refused() {
    for planes in [0, 5, usize::MAX] {
        let packed = pack(&[1.0], 1, 1, &row().planes(planes));
        assert!(matches!(packed, Err(Error::InvalidOptions { .. })), "{planes}");
    }
    for columns in [0, 1, 33] {
        assert!(matches!(Granularity::block(columns), Err(Error::InvalidOptions { .. })));
    }
    let uneven = Granularity::Block(33.try_into().unwrap());
    assert!(matches!(pack(&[1.0], 1, 1, &row().granularity(uneven)), Err(Error::InvalidOptions { .. })));
    // A block wider than the row is the row.
    let wide = pack(&[1.0, -3.0], 1, 2, &row().granularity(Granularity::block(1 << 31).unwrap())).unwrap();
    assert_eq!(wide.scales(), [2.0]);
}

#[test]
fn scales_have_to_fit_their_type() {
    let halves = row().scale_dtype(ScaleDtype::F16);
    assert_eq!(pack(&[7e4], 1, 1, &halves), Err(Error::InvalidScale { index: 0, value: 7e4 }));
    assert_eq!(pack(&[6e-5], 1, 1, &halves), Err(Error::InvalidScale { index: 0, value: 6e-5 }));
    assert_eq!(pack(&[1.0 / 3.0], 1, 1, &halves).unwrap().scales(), [F16::from_f32(1.0 / 3.0).to_f32()]);
    let packed = pack(&[1.0], 1, 1, &row()).unwrap();
    for bad in [f32::NAN, f32::INFINITY, -1.0, -0.0] {
        assert!(matches!(packed.with_scales(&[bad]), Err(Error::InvalidScale { index: 0, .. })));
        let imported = PackedDelta::from_reference_i32(&[0], 1, 32, bad, Dtype::F16);
        assert!(matches!(imported, Err(Error::InvalidScale { .. })));
    }
    let spec = PackedSpec { scale_dtype: ScaleDtype::Bf16, ..PackedSpec::new(1, 1, Granularity::Row) };
    assert!(matches!(PackedDelta::from_tiled16(&[0; 16], &spec, &[0.1]), Err(Error::InvalidScale { .. })));
    let padding = PackedDelta::from_rowmajor64(&[2], packed.spec(), &[1.0]);
    assert!(matches!(padding, Err(Error::Malformed { .. })));
}

#[test]
fn products_that_could_overflow_change_nothing() {
    let packed = pack(&[1.0; 4], 2, 2, &row()).unwrap();
    let mut ws = Workspace::new();
    let mut y = [1.0, 2.0];
    let overflow =
        |result: hanzo_bitdelta::Result<()>| assert!(matches!(result, Err(Error::Overflow { .. })), "{result:?}");
    overflow(packed.matvec_acc(&[f32::MAX / 4.0, 1e38], &mut y, &mut ws));
    overflow(packed.with_scales(&[1.0, 1e10]).unwrap().matvec_acc(&[1e30, 0.0], &mut y, &mut ws));
    for granularity in [Granularity::Col, Granularity::RowCol] {
        let large = pack(&[1e20; 4], 2, 2, &PackOptions::new().granularity(granularity)).unwrap();
        overflow(large.matvec_acc(&[1e20, 0.0], &mut y, &mut ws));
    }
    overflow(dense_matvec_acc(MatRef::new(&[1e20_f32; 4], 2, 2).unwrap(), &[1e20, 0.0], &mut y, &mut ws));
    assert_eq!(packed.matvec_acc(&[0.0, f32::NAN], &mut y, &mut ws), Err(non_finite("x", 0, 1)));
    let nan_base = [1.0, 1.0, 1.0, f32::NAN];
    let nan_base = MatRef::new(&nan_base, 2, 2).unwrap();
    assert_eq!(packed.fused_matvec_acc(nan_base, &[1.0; 2], &mut y, &mut ws), Err(non_finite("base", 1, 1)));
    // The second row would overflow: the first is not written either.
    let mut edge = [1.0, f32::MAX];
    overflow(packed.matvec_acc(&[8e37, 0.0], &mut edge, &mut ws));
    assert_eq!(edge, [1.0, f32::MAX]);
    let mut jobs_y = ([1.0, 2.0], [3.0, f32::INFINITY]);
    let mut jobs = [
        Job { delta: &packed, x: &[1.0, 1.0], y: &mut jobs_y.0 },
        Job { delta: &packed, x: &[1.0, 1.0], y: &mut jobs_y.1 },
    ];
    assert_eq!(batched_matvec_acc(&mut jobs, &mut ws), Err(non_finite("y", 0, 1)));
    assert_eq!((y, jobs_y), ([1.0, 2.0], ([1.0, 2.0], [3.0, f32::INFINITY])));
    let x = [1.0, 1.0, f32::NAN, 1.0];
    let tokens = packed.matmul_acc(MatRef::new(&x, 2, 2).unwrap(), MatMut::new(&mut [0.0; 4], 2, 2).unwrap(), &mut ws);
    assert_eq!(tokens, Err(non_finite("x", 1, 0)));
}

#[test]
fn an_application_that_overflows_changes_nothing() {
    let packed = pack(&[1.0, 1.0, 1e38, 1e38], 2, 2, &row()).unwrap();
    let mut w = [1.0, 2.0, 3.0, f32::MAX];
    assert_eq!(packed.apply_to(MatMut::new(&mut w, 2, 2).unwrap()), Err(Error::Overflow { what: "sum" }));
    assert_eq!(w, [1.0, 2.0, 3.0, f32::MAX]);
    w[3] = f32::NAN;
    assert_eq!(packed.apply_to(MatMut::new(&mut w, 2, 2).unwrap()), Err(non_finite("base", 1, 1)));
    assert_eq!(w[..3], [1.0, 2.0, 3.0]);
    let halves = [F16::from_f32(6.5e4); 4];
    let large = pack(&[600.0; 4], 2, 2, &row()).unwrap();
    let mut out = halves;
    let base = MatRef::new(&halves, 2, 2).unwrap();
    assert!(matches!(large.materialize(base, MatMut::new(&mut out, 2, 2).unwrap()), Err(Error::Overflow { .. })));
}

#[test]
fn models_have_to_match() {
    let data = vec![0_u8; 4 * 32 * 32];
    let tensor = |name, shape: &'static [usize]| TensorView::new(name, Dtype::F32, shape, &data).unwrap();
    let (a, b) = (tensor("a", &[32, 32]), tensor("b", &[32, 32]));
    let compress = |base: &[TensorView<'_>], fine: &[TensorView<'_>], selection: &Selection| {
        Adapter::builder().compress(base, fine, selection).and_then(|builder| builder.build())
    };
    let all = Selection::default();
    assert_eq!(compress(&[a, b], &[a], &all), Err(Error::MissingTensor("b".to_string())));
    assert_eq!(compress(&[a], &[a, b], &all), Err(Error::MissingTensor("b".to_string())));
    assert_eq!(compress(&[a, a], &[a], &all), Err(Error::DuplicateTensor("a".to_string())));
    let lenient =
        Selection::new(|name, _| if name == "b" { Treatment::Skip } else { Treatment::Pack(PackOptions::new()) });
    let adapter = compress(&[a, b], &[a], &lenient).unwrap();
    assert!(matches!(adapter.get("a"), Ok(Entry::Zero(_))));
    assert_eq!(adapter.base_digest(), Some(base_digest(&[a]).unwrap()));
    assert_eq!(adapter.get("b"), Err(Error::MissingTensor("b".to_string())));
    let folded = tensor("a", &[16, 2, 32]);
    assert!(matches!(compress(&[a], &[folded], &all), Err(Error::ShapeMismatch { .. })));
    let other = TensorView::new("a", Dtype::I32, &[32, 32], &data).unwrap();
    assert!(matches!(compress(&[a], &[other], &all), Err(Error::ShapeMismatch { .. })));
    let mut broken = data.clone();
    broken[4 * 33..4 * 34].copy_from_slice(&f32::NAN.to_le_bytes());
    let broken = TensorView::new("a", Dtype::F32, &[32, 32], &broken).unwrap();
    assert_eq!(compress(&[a], &[broken], &all), Err(non_finite("a", 1, 1)));
    assert!(matches!(base_digest(&[a, b, a]), Err(Error::DuplicateTensor(_))));
}

#[test]
fn entries_must_not_collide() {
    let packed = pack(&[1.0; 4], 2, 2, &row()).unwrap();
    let raw = |len| RawTensor::new(Dtype::U8, &[len], vec![0; len]).unwrap();
    let duplicate = |result: hanzo_bitdelta::Result<Adapter>, name: &str| {
        assert_eq!(result, Err(Error::DuplicateTensor(name.to_string())));
    };
    duplicate(Adapter::builder().entry("a", packed.clone()).entry("a.sign", raw(1)).build(), "a.sign");
    duplicate(Adapter::builder().entry("a.scale", raw(1)).entry("a", packed.clone()).build(), "a.scale");
    duplicate(Adapter::builder().entry("a", packed.clone()).entry("a", raw(1)).build(), "a");
    duplicate(Adapter::builder().entry("__metadata__", raw(1)).build(), "__metadata__");
    let too_large = |result| assert!(matches!(result, Err(Error::TooLarge { .. })));
    too_large(Adapter::builder().base_id(&"x".repeat(257)).build());
    too_large(Adapter::builder().producer(&"x".repeat(129)).build());
    too_large(Adapter::builder().entry(&"x".repeat(1025), raw(1)).build());
    assert!(matches!(packed.with_shape(&[1; 9]), Err(Error::TooLarge { .. })));
    assert!(matches!(ZeroTensor::new(Dtype::F32, &[1 << 30, 1 << 30]), Err(Error::TooLarge { .. })));
}

fn small_adapter(layout: Layout) -> Adapter {
    let delta: Vec<f32> = (0..3 * 40).map(|i| if i % 3 == 0 { 0.5 } else { -0.25 }).collect();
    Adapter::builder()
        .base_digest(BaseDigest::from_bytes([7; 32]))
        .layout(layout)
        .entry("w", pack(&delta, 3, 40, &PackOptions::new().planes(2).plane_fit(PlaneFit::Greedy)).unwrap())
        .entry("raw", RawTensor::new(Dtype::F16, &[3], vec![1; 6]).unwrap())
        .entry("same", ZeroTensor::new(Dtype::F32, &[2, 5]).unwrap())
        .build()
        .unwrap()
}

#[test]
fn only_the_right_base_binds() {
    let adapter = small_adapter(Layout::Tiled16);
    let (right, wrong) = (BaseDigest::from_bytes([7; 32]), BaseDigest::from_bytes([8; 32]));
    assert_eq!(adapter.bind(&wrong), Err(Error::BaseMismatch { expected: right, found: wrong }));
    assert_eq!(Adapter::builder().build().unwrap().bind(&right), Err(Error::Unbound));
    let bound = adapter.bind(&right).unwrap();
    let mut ws = Workspace::new();
    let (mut y, base) = (vec![1.0; 2], [0.5_f32; 10]);
    let base = MatRef::new(&base, 2, 5).unwrap();
    bound.matvec_acc("same", &[1.0; 5], &mut y, &mut ws).unwrap();
    assert_eq!(y, [1.0; 2]);
    bound.fused_matvec_acc("same", base, &[1.0; 5], &mut y, &mut ws).unwrap();
    assert_eq!(y, [3.5; 2]);
    let mut out = vec![0.0_f32; 10];
    bound.materialize("same", base, MatMut::new(&mut out, 2, 5).unwrap()).unwrap();
    assert_eq!(out, [0.5; 10]);
    assert!(matches!(bound.matvec_acc("same", &[1.0; 4], &mut y, &mut ws), Err(Error::ShapeMismatch { .. })));
    assert_eq!(bound.matvec_acc("raw", &[1.0; 5], &mut y, &mut ws), Err(Error::NotPacked("raw".to_string())));
    assert_eq!(bound.matvec_acc("none", &[], &mut [], &mut ws), Err(Error::MissingTensor("none".to_string())));
    let (mut named, mut direct) = (vec![0.0; 3], vec![0.0; 3]);
    bound.matvec_acc("w", &[1.0; 40], &mut named, &mut ws).unwrap();
    let Ok(Entry::Packed(delta)) = bound.get("w") else { panic!("not packed") };
    delta.matvec_acc(&[1.0; 40], &mut direct, &mut ws).unwrap();
    assert_eq!(bits(&named), bits(&direct));
}

#[test]
fn a_tensor_that_fails_lazily_fails_for_ever_and_alone() {
    let mut file = small_adapter(Layout::Tiled16).to_bytes().unwrap();
    // The raw tensor's six bytes are the last.
    let last = file.len() - 1;
    file[last] ^= 1;
    let eager = Adapter::from_bytes(file.clone().into(), ReadOptions::new().verify(Verify::Eager));
    assert_eq!(eager, Err(Error::Checksum { tensor: "raw".to_string() }));
    let lazy = Adapter::from_bytes(file.clone().into(), ReadOptions::new()).unwrap();
    for _ in 0..2 {
        assert_eq!(lazy.get("raw"), Err(Error::Checksum { tensor: "raw".to_string() }));
        assert!(lazy.get("w").is_ok());
    }
    assert!(lazy.to_bytes().is_err());
    let trusted = Adapter::from_bytes(file.into(), ReadOptions::new().verify(Verify::Trusted)).unwrap();
    assert!(matches!(trusted.get("raw"), Ok(Entry::Raw(raw)) if raw.data()[5] == 0));
}

#[test]
fn no_change_of_a_byte_or_cut_of_a_file_panics_or_goes_unnoticed() {
    for layout in [Layout::Tiled16, Layout::RowMajor64] {
        let adapter = small_adapter(layout);
        let file = adapter.to_bytes().unwrap();
        let eager = ReadOptions::new().verify(Verify::Eager);
        for at in 0..file.len() {
            assert!(Adapter::from_bytes(file[..at].into(), eager).is_err(), "cut at {at}");
        }
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= rng.random_range(1..=255_u8);
            // Free text may change; then the id does. All else is an error.
            if let Ok(read) = Adapter::from_bytes(changed.clone().into(), eager) {
                assert_ne!(read.id(), adapter.id(), "byte {at}");
            }
            let lenient = eager.allow_noncanonical(true);
            if let Ok(read) = Adapter::from_bytes(changed.into(), lenient) {
                let again = Adapter::from_bytes(read.to_bytes().unwrap().into(), eager).unwrap();
                assert_eq!(again, read, "byte {at}");
            }
        }
    }
}

#[test]
fn a_file_that_another_tool_rewrote_is_read_on_request() {
    let adapter = small_adapter(Layout::Tiled16);
    let file = adapter.to_bytes().unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&file).unwrap();
    let metadata = metadata.metadata().clone();
    let rewritten = safetensors::serialize(tensors.iter(), metadata).unwrap();
    assert_ne!(rewritten, file);
    let strict = Adapter::from_bytes(rewritten.clone().into(), ReadOptions::new());
    assert!(matches!(strict, Err(Error::NonCanonical { .. })));
    let read = Adapter::from_bytes(rewritten.into(), ReadOptions::new().allow_noncanonical(true)).unwrap();
    assert_eq!(read.id(), adapter.id());
    assert_eq!(read.to_bytes().unwrap(), file);
}

#[test]
fn deep_or_wide_headers_end_in_an_error() {
    for body in ["{\"a\":".to_string() + &"[".repeat(100_000), "{".to_string() + &"\"a\":0,".repeat(100_000)] {
        let mut file = (body.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(body.as_bytes());
        assert!(matches!(Adapter::from_bytes(file.into(), ReadOptions::new()), Err(Error::Malformed { .. })));
    }
}

#[test]
fn a_missing_file_is_an_io_error() {
    let kind = std::io::ErrorKind::NotFound;
    assert_eq!(Adapter::open("/nonexistent/adapter.safetensors", ReadOptions::new()), Err(Error::Io { kind }));
}

#[cfg(feature = "mmap")]
#[test]
fn a_mapped_file_is_checked_as_a_read_one_is() {
    let path = std::env::temp_dir().join(format!("hanzo-bitdelta-mapped-{}.safetensors", std::process::id()));
    for layout in [Layout::Tiled16, Layout::RowMajor64] {
        let bytes = small_adapter(layout).to_bytes().unwrap();
        let outcome = |bytes: &[u8], verify| {
            std::fs::write(&path, bytes).unwrap();
            let options = ReadOptions::new().verify(verify);
            let read = Adapter::open(&path, options).and_then(|adapter| adapter.verify().map(|()| adapter.to_bytes()));
            #[allow(unsafe_code, reason = "nobody else knows the file")]
            // SAFETY: the file changes only after the adapter is gone.
            let map = unsafe { Adapter::map(&path, options) };
            let map = map.and_then(|adapter| adapter.verify().map(|()| adapter.to_bytes()));
            assert_eq!(map, read);
            map
        };
        for verify in [Verify::Eager, Verify::Lazy, Verify::Trusted] {
            assert_eq!(outcome(&bytes, verify), Ok(Ok(bytes.clone())));
            for cut in [0, 7, 8, 100, bytes.len() - 1] {
                assert!(outcome(&bytes[..cut], verify).is_err());
            }
        }
        let mut flipped = bytes.clone();
        let data = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        flipped[data] ^= 1;
        assert!(matches!(outcome(&flipped, Verify::Lazy), Err(Error::Checksum { .. })));
    }
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn fits_refuse_what_they_cannot_use() {
    use hanzo_bitdelta::fit::{Gram, ScaleAccumulator, SignOptions, closed_form, error_feedback};
    let delta = [1.0_f32, -2.0, 3.0, 4.0];
    let delta = MatRef::new(&delta, 2, 2).unwrap();
    let packed = PackedDelta::from_delta(delta, &row()).unwrap();
    let no_samples = Error::InvalidOptions { what: "calibration samples", value: 0.0 };
    assert_eq!(Gram::from_inputs(MatRef::new(&[], 0, 2).unwrap()).unwrap_err(), no_samples);
    assert_eq!(closed_form(&packed, delta, &Gram::new(2).unwrap()).unwrap_err(), no_samples);
    assert!(matches!(Gram::new(usize::MAX), Err(Error::TooLarge { .. })));
    let mut gram = Gram::new(2).unwrap();
    assert_eq!(gram.push(MatRef::new(&[1.0, f32::NAN], 1, 2).unwrap()), Err(non_finite("inputs", 0, 1)));
    assert!(gram.push(MatRef::new(&[1.0], 1, 1).unwrap()).is_err());
    assert_eq!(gram.samples(), 0);
    gram.push(MatRef::new(&[1.0, 1.0], 1, 2).unwrap()).unwrap();
    let signs = |damping| error_feedback(delta, &gram, &row(), &SignOptions::new().damping(damping));
    assert_eq!(signs(0.0).unwrap_err(), Error::NotPositiveDefinite);
    for damping in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(matches!(signs(damping), Err(Error::InvalidOptions { .. })));
    }
    assert!(signs(0.05).is_ok());
    let two = row().planes(2);
    let error = error_feedback(delta, &gram, &two, &SignOptions::new()).unwrap_err();
    assert_eq!(error.to_string(), "invalid option: planes under error feedback (1) is 2");
    assert!(ScaleAccumulator::new(&PackedDelta::from_delta(delta, &two).unwrap()).is_err());
    let mut sums = ScaleAccumulator::new(&packed).unwrap();
    assert_eq!(sums.finish().unwrap_err(), no_samples);
    assert!(sums.push(&[1.0, f32::NAN], &[0.0, 0.0], &mut Workspace::new()).is_err());
    assert!(sums.push(&[1.0, 1.0], &[0.0], &mut Workspace::new()).is_err());
    assert_eq!(sums.samples(), 0);
}

#[test]
fn a_loss_that_leaves_the_numbers_ends_the_distillation() {
    use hanzo_bitdelta::{DistillOptions, Scales, TeacherFn, distill};
    let delta = [1.0_f32, -2.0];
    let delta = PackedDelta::from_delta(MatRef::new(&delta, 1, 2).unwrap(), &row()).unwrap();
    let adapter = Adapter::builder().entry("w", delta).build().unwrap();
    let run = |bad_step: u32, options: &DistillOptions| {
        let mut step = 0;
        let mut teacher = TeacherFn::new(
            |_: &Scales, _: &mut Scales| {
                step += 1;
                Ok(if step > bad_step { f64::NAN } else { 1.0 })
            },
            |_: &Scales| Ok(1.0),
        );
        distill(&adapter, &mut teacher, options).map(|(adapter, _)| adapter)
    };
    assert_eq!(run(3, &DistillOptions::new()).unwrap_err(), Error::Diverged { step: 3 });
    assert_eq!(run(0, &DistillOptions::new().steps(0)).unwrap(), adapter);
    assert_eq!(run(9, &DistillOptions::new().steps(9)).unwrap(), adapter);
    for rate in [0.0, -1.0, f64::NAN] {
        assert!(matches!(run(9, &DistillOptions::new().learning_rate(rate)), Err(Error::InvalidOptions { .. })));
    }
    let mut scales = Scales::of(&adapter).unwrap();
    assert!(scales.get("v").is_err() && scales.get_mut("v").is_err());
    assert_eq!(scales.names().collect::<Vec<_>>(), ["w"]);
}
