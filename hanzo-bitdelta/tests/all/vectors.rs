//! Shared vectors of the SDK's test data: the published implementation's masks, canonical packings, golden files.

use crate::common::{bits, bytes, data, f32s, json, naive_matvec};
use hanzo_bitdelta::{
    Adapter, Bf16, Dtype, Element, Entry, F16, Granularity, MatMut, MatRef, PackOptions, PackedDelta, PackedSpec,
    PlaneFit, RawTensor, ReadOptions, SignZero, TensorView, Verify, Workspace, ZeroTensor, base_digest,
};
use serde_json::Value;

#[test]
fn reference_masks_import_and_pack_to_the_same_bits() {
    let Some(folder) = data("masks of the published implementation") else { return };
    let cases = json(&folder, "reference_pack_vectors.json");
    let cases = cases.as_array().unwrap();
    for case in cases {
        let (rows, cols) = (size(case, "out"), size(case, "inp"));
        let floats = |key: &str| -> Vec<f32> {
            case[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
        };
        let mask: Vec<i32> = case["mask_int32_K32xN"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| i32::try_from(word.as_i64().unwrap()).unwrap())
            .collect();
        let coefficient = case["coeff"].as_f64().unwrap();
        let imported = PackedDelta::from_reference_i32(&mask, rows, cols, coefficient as f32, Dtype::F32).unwrap();
        let (base, fine) = (floats("base"), floats("fine"));
        let options = PackOptions::new().granularity(Granularity::Tensor).sign_zero(SignZero::Positive);
        let packed = PackedDelta::compress(
            MatRef::new(&base, rows, cols).unwrap(),
            MatRef::new(&fine, rows, cols).unwrap(),
            &options,
        )
        .unwrap();
        assert_eq!(packed.to_tiled16(), imported.to_tiled16(), "{}", case["kind"]);
        let scale = f64::from(packed.scales()[0]);
        assert!((scale - coefficient).abs() <= 2e-6 * coefficient, "{scale} {coefficient}");
        let mut y = vec![0.0; rows];
        imported.matvec_acc(&floats("x"), &mut y, &mut Workspace::new()).unwrap();
        let sum: f64 = floats("x").iter().map(|x| f64::from(x.abs())).sum();
        for (y, expected) in y.iter().zip(case["delta_matvec_f64"].as_array().unwrap()) {
            assert!((f64::from(*y) - expected.as_f64().unwrap()).abs() <= 1e-5 * coefficient * sum);
        }
    }
    assert_eq!(cases.len(), 4);
}

#[test]
fn canonical_packings_are_bit_exact() {
    let Some(folder) = data("canonical packings") else { return };
    let file = json(&folder, "canonical_vectors.json");
    let cases = file["cases"].as_array().unwrap();
    let mut fits = 0;
    for case in cases {
        let halves = |key: &str| -> Vec<u16> {
            bytes(&case[key]).as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect()
        };
        fits += match case["dtype"].as_str().unwrap() {
            "F32" => canonical(case, &f32s(&case["base_hex"]), &f32s(&case["fine_hex"])),
            "F16" => {
                let matrix = |key: &str| halves(key).into_iter().map(F16::from_bits).collect::<Vec<_>>();
                canonical(case, &matrix("base_hex"), &matrix("fine_hex"))
            }
            "BF16" => {
                let matrix = |key: &str| halves(key).into_iter().map(Bf16::from_bits).collect::<Vec<_>>();
                canonical(case, &matrix("base_hex"), &matrix("fine_hex"))
            }
            other => panic!("dtype {other}"),
        };
    }
    assert_eq!((cases.len(), fits), (17, 136));
}

fn canonical<T: Element>(case: &Value, base: &[T], fine: &[T]) -> usize {
    let name = case["name"].as_str().unwrap();
    let (rows, cols) = (size(case, "rows"), size(case, "cols"));
    let (base, fine) = (MatRef::new(base, rows, cols).unwrap(), MatRef::new(fine, rows, cols).unwrap());
    let x = f32s(&case["x_hex"]);
    for (sign_zero, key) in [(SignZero::Negative, "rowmajor64_neg_hex"), (SignZero::Positive, "rowmajor64_pos_hex")] {
        let options = PackOptions::new().granularity(Granularity::Tensor).sign_zero(sign_zero);
        let packed = PackedDelta::compress(base, fine, &options).unwrap();
        let expected = bytes(&case[key]);
        let expected: Vec<u64> = expected.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        assert_eq!(packed.to_rowmajor64(), expected, "{name} {key}");
        let spec = PackedSpec { sign_zero, source_dtype: T::DTYPE, ..PackedSpec::new(rows, cols, Granularity::Tensor) };
        assert_eq!(PackedDelta::from_rowmajor64(&expected, &spec, packed.scales()).unwrap(), packed);
    }
    let fits = case["fits"].as_array().unwrap();
    for fit in fits {
        let label = format!("{name} {} {} {}", fit["granularity"], fit["block"], fit["planes"]);
        let options =
            PackOptions::new().granularity(granularity(fit)).planes(size(fit, "planes")).plane_fit(PlaneFit::Greedy);
        let packed = PackedDelta::compress(base, fine, &options).unwrap();
        let expected: Vec<f32> = fit["scales_hex"].as_array().unwrap().iter().flat_map(f32s).collect();
        let exact = fit["exact"].as_bool().unwrap();
        if exact {
            assert_eq!(bits(packed.scales()), bits(&expected), "{label}");
        } else {
            assert_eq!(packed.scales().len(), expected.len(), "{label}");
            for (ours, theirs) in packed.scales().iter().zip(&expected) {
                assert!(ours.to_bits().abs_diff(theirs.to_bits()) <= 2, "{label}: {ours} {theirs}");
            }
        }
        let words: Vec<u8> = packed.to_tiled16().into_iter().flat_map(u32::to_le_bytes).collect();
        match fit.get("tiled16_hex") {
            Some(planes) => {
                assert_eq!(words, planes.as_array().unwrap().iter().flat_map(bytes).collect::<Vec<_>>(), "{label}");
            }
            None => assert_eq!(words, bytes(&case["tiled16_neg_hex"]), "{label}"),
        }
        // With the stated scales the product has the stated bits; with ours it is the naive one.
        let stated = packed.with_scales(&expected).unwrap();
        for (delta, expected) in [(&stated, Some(f32s(&fit["matvec_hex"]))), (&packed, None)] {
            let mut y = f32s(&case["y0_hex"]);
            let mut naive = y.clone();
            delta.matvec_acc(&x, &mut y, &mut Workspace::new()).unwrap();
            naive_matvec(delta, &x, &mut naive);
            assert_eq!(bits(&y), bits(&naive), "{label}");
            if let Some(expected) = expected {
                assert_eq!(bits(&y), bits(&expected), "{label}");
            }
        }
        if let Some(hash) = fit.get("applied_blake3") {
            let mut out = vec![T::default(); rows * cols];
            packed.materialize(base, MatMut::new(&mut out, rows, cols).unwrap()).unwrap();
            let applied: Vec<u8> = out.iter().flat_map(|w| w.to_f32().to_le_bytes()).collect();
            assert_eq!(blake3::hash(&applied).to_hex().as_str(), hash.as_str().unwrap(), "{label}");
        }
    }
    fits.len()
}

#[test]
fn golden_files_are_read_and_written_byte_for_byte() {
    let Some(folder) = data("golden files") else { return };
    let golden = json(&folder, "golden.json");
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = golden["base_tensors"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, tensor)| (name.clone(), shape(&tensor["shape"]), bytes(&tensor["data_hex"])))
        .collect();
    let views: Vec<TensorView<'_>> =
        tensors.iter().map(|(name, shape, data)| TensorView::new(name, Dtype::F32, shape, data).unwrap()).collect();
    let base = base_digest(&views).unwrap();
    assert_eq!(base.to_string(), golden["base_digest"].as_str().unwrap());

    let files = golden["files"].as_array().unwrap();
    for file in files {
        let path = folder.join(file["file"].as_str().unwrap());
        let stored = std::fs::read(&path).unwrap();
        assert_eq!(stored.len(), size(file, "bytes"));
        for verify in [Verify::Eager, Verify::Lazy, Verify::Trusted] {
            let adapter = Adapter::open(&path, ReadOptions::new().verify(verify)).unwrap();
            assert_eq!(adapter.id().to_string(), file["adapter_id"].as_str().unwrap());
            assert_eq!(adapter.to_bytes().unwrap(), stored);
            let other = Adapter::open(folder.join(files[0]["file"].as_str().unwrap()), ReadOptions::new()).unwrap();
            assert_eq!(other.with_layout(adapter.layout()).unwrap(), adapter);
            assert!(adapter.bind(&base).is_ok());
            check_matrices(&adapter, &golden["matrices"]);
            assert_eq!(rebuilt(&adapter).to_bytes().unwrap(), stored);
        }
    }
    assert_eq!(files.len(), 2);
}

fn check_matrices(adapter: &Adapter, matrices: &Value) {
    let matrices = matrices.as_object().unwrap();
    for (name, expected) in matrices {
        let Entry::Packed(delta) = adapter.get(name).unwrap() else { panic!("{name} is not packed") };
        assert_eq!((delta.rows(), delta.cols()), (size(expected, "rows"), size(expected, "cols")));
        assert_eq!(delta.granularity(), granularity(expected));
        assert_eq!(delta.planes(), size(expected, "planes"));
        let positive = delta.spec().sign_zero == SignZero::Positive;
        assert_eq!(positive, expected["sign_zero"] == "pos");
        assert_eq!(bits(&delta.to_dense()), bits(&f32s(&expected["dense_hex"])), "{name}");
    }
    assert_eq!(matrices.len(), 5);
}

/// The same adapter, put together from its matrices by hand.
fn rebuilt(adapter: &Adapter) -> Adapter {
    let mut builder = Adapter::builder()
        .base_digest(adapter.base_digest().unwrap())
        .base_id("example/base")
        .producer("golden")
        .layout(adapter.layout());
    for name in adapter.names() {
        let entry: Entry = match adapter.get(name).unwrap() {
            Entry::Packed(delta) => {
                let copy = PackedDelta::from_tiled16(&delta.to_tiled16(), delta.spec(), delta.scales()).unwrap();
                copy.with_shape(delta.shape()).unwrap().into()
            }
            Entry::Raw(raw) => RawTensor::new(raw.dtype(), raw.shape(), raw.data().to_vec()).unwrap().into(),
            Entry::Zero(zero) => ZeroTensor::new(zero.source_dtype(), zero.shape()).unwrap().into(),
        };
        builder = builder.entry(name, entry);
    }
    builder.build().unwrap()
}

#[test]
fn bad_files_give_the_named_error() {
    let Some(folder) = data("bad files") else { return };
    let cases = json(&folder, "bad_files.json");
    let cases = cases.as_array().unwrap();
    for case in cases {
        use base64ct::Encoding;
        let file = base64ct::Base64::decode_vec(case["bytes_base64"].as_str().unwrap()).unwrap();
        let eager = Adapter::from_bytes(file.clone().into(), ReadOptions::new().verify(Verify::Eager));
        let found = eager.as_ref().err().map(|error| format!("{error:?}"));
        let found = found.as_ref().map(|text| text.split([' ', '(']).next().unwrap());
        assert_eq!(found, case["error"].as_str(), "{}", case["name"]);
        // Lazily the same error comes out, at the latest when everything is looked at.
        let lazy = Adapter::from_bytes(file.into(), ReadOptions::new());
        let late = lazy.and_then(|adapter| adapter.verify());
        assert_eq!(late.err().map(|error| format!("{error:?}")), eager.err().map(|error| format!("{error:?}")));
    }
    assert_eq!(cases.len(), 35);
}

#[test]
fn the_digits_network_keeps_what_it_should() {
    let Some(folder) = data("digits network") else { return };
    let file = std::fs::read(folder.join("digits_mlp.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&file).unwrap();
    let expected = json(&folder, "digits_expected.json");
    let tensor = |name: &str| -> Vec<f32> {
        file.tensor(name).unwrap().data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let teacher = tensor("fine_logits");
    let labels: Vec<usize> = file.tensor("y_test").unwrap().data().iter().map(|&label| usize::from(label)).collect();
    let block = |columns| Granularity::block(columns).unwrap();
    let (tensor_wise, row) = (Granularity::Tensor, Granularity::Row);
    let methods = [
        ("tensor", tensor_wise, 1, PlaneFit::Greedy),
        ("row", row, 1, PlaneFit::Greedy),
        ("col", Granularity::Col, 1, PlaneFit::Greedy),
        ("rowcol", Granularity::RowCol, 1, PlaneFit::Greedy),
        ("block128", block(128), 1, PlaneFit::Greedy),
        ("block32", block(32), 1, PlaneFit::Greedy),
        ("tensor_2planes_greedy", tensor_wise, 2, PlaneFit::Greedy),
        ("row_2planes_greedy", row, 2, PlaneFit::Greedy),
        ("tensor_3planes_greedy", tensor_wise, 3, PlaneFit::Greedy),
        ("row_3planes_greedy", row, 3, PlaneFit::Greedy),
        ("tensor_4planes_greedy", tensor_wise, 4, PlaneFit::Greedy),
        ("row_4planes_greedy", row, 4, PlaneFit::Greedy),
        ("tensor_2planes_ls", tensor_wise, 2, PlaneFit::LeastSquares),
        ("tensor_3planes_ls", tensor_wise, 3, PlaneFit::LeastSquares),
        ("row_2planes_ls", row, 2, PlaneFit::LeastSquares),
    ];
    for (method, granularity, planes, fit) in methods {
        let options = PackOptions::new().granularity(granularity).planes(planes).plane_fit(fit);
        let mut hidden: Vec<f64> = tensor("x_test").iter().map(|&x| f64::from(x)).collect();
        let mut inputs = 64;
        for layer in 0..3 {
            let (base, fine) = (tensor(&format!("base.{layer}.weight")), tensor(&format!("fine.{layer}.weight")));
            let outputs = base.len() / inputs;
            let matrix = |data| MatRef::new(data, outputs, inputs).unwrap();
            let delta = PackedDelta::compress(matrix(&base), matrix(&fine), &options).unwrap();
            let difference: Vec<f32> = fine.iter().zip(&base).map(|(fine, base)| fine - base).collect();
            let fidelity = delta.fidelity(matrix(&difference)).unwrap();
            let expected = expected[method]["rel_err"][layer].as_f64().unwrap();
            let tolerance = if fit == PlaneFit::Greedy { 1e-4 } else { 0.02 };
            assert!((fidelity.relative_error() / expected - 1.0).abs() < tolerance, "{method} {layer}");
            let least_squares = fit == PlaneFit::LeastSquares || planes == 1 && granularity != Granularity::RowCol;
            let identity = fidelity.relative_error().powi(2) + fidelity.cosine().powi(2);
            assert!(!least_squares || (identity - 1.0).abs() < 1e-5, "{method} {layer}: {identity}");
            let weights: Vec<f64> =
                base.iter().zip(delta.to_dense()).map(|(&w, d)| f64::from(w) + f64::from(d)).collect();
            let bias = tensor(&format!("fine.{layer}.bias"));
            let rows = hidden.chunks_exact(inputs).flat_map(|x| {
                weights.chunks_exact(inputs).zip(&bias).map(move |(w, &b)| {
                    let sum = w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + f64::from(b);
                    if layer < 2 { sum.max(0.0) } else { sum }
                })
            });
            hidden = rows.collect();
            inputs = outputs;
        }
        let (mut kl, mut right) = (0.0, 0);
        for ((student, teacher), label) in hidden.chunks_exact(10).zip(teacher.chunks_exact(10)).zip(&labels) {
            let teacher: Vec<f64> = teacher.iter().map(|&logit| f64::from(logit)).collect();
            let (p, q) = (log_softmax(&teacher), log_softmax(student));
            kl += p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
            let best = (0..10).max_by(|&a, &b| student[a].total_cmp(&student[b])).unwrap();
            right += usize::from(best == *label);
        }
        let (kl, accuracy) = (kl / labels.len() as f64, right as f64 / labels.len() as f64);
        let (kl_tolerance, accuracy_tolerance) = if fit == PlaneFit::Greedy { (0.01, 0.003) } else { (0.05, 0.01) };
        assert!((kl / expected[method]["kl"].as_f64().unwrap() - 1.0).abs() < kl_tolerance, "{method}: KL {kl}");
        assert!(
            (accuracy - expected[method]["acc"].as_f64().unwrap()).abs() <= accuracy_tolerance,
            "{method}: {accuracy}"
        );
    }
}

fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let norm = logits.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln() + largest;
    logits.iter().map(|logit| logit - norm).collect()
}

fn granularity(value: &Value) -> Granularity {
    match value["granularity"].as_str().unwrap() {
        "tensor" => Granularity::Tensor,
        "row" => Granularity::Row,
        "col" => Granularity::Col,
        "rowcol" => Granularity::RowCol,
        "block" => Granularity::block(u32::try_from(size(value, "block")).unwrap()).unwrap(),
        other => panic!("granularity {other}"),
    }
}

fn size(value: &Value, key: &str) -> usize {
    usize::try_from(value[key].as_u64().unwrap()).unwrap()
}

fn shape(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|dim| usize::try_from(dim.as_u64().unwrap()).unwrap()).collect()
}
