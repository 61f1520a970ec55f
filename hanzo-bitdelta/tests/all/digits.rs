//! The digits network of the SDK's test data: what each method of packing keeps of a fine-tune.

use crate::common::{data, json};
use hanzo_bitdelta::fit::{Gram, ScaleAccumulator, SignOptions, closed_form, error_feedback, keep_if_better};
use hanzo_bitdelta::{
    Adapter, DistillOptions, Entry, Granularity, MatRef, PackOptions, PackedDelta, Result, Scales, TeacherFn,
    Workspace, dense_matvec_acc, distill, mean_squared_error,
};

const SIZES: [usize; 4] = [64, 512, 512, 10];

struct Network {
    base: Vec<Vec<f32>>,
    fine: Vec<Vec<f32>>,
    bias: Vec<Vec<f32>>,
    calibration: Vec<f32>,
    test: Vec<f32>,
    teacher: Vec<f32>,
    labels: Vec<usize>,
}

impl Network {
    fn read(folder: &std::path::Path) -> Self {
        let file = std::fs::read(folder.join("digits_mlp.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&file).unwrap();
        let tensor = |name: &str| -> Vec<f32> {
            file.tensor(name).unwrap().data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        };
        let layers = |what: &str| (0..3).map(|l| tensor(&what.replace('#', &l.to_string()))).collect();
        Self {
            base: layers("base.#.weight"),
            fine: layers("fine.#.weight"),
            bias: layers("fine.#.bias"),
            calibration: tensor("x_calib"),
            test: tensor("x_test"),
            teacher: tensor("fine_logits"),
            labels: file.tensor("y_test").unwrap().data().iter().map(|&label| usize::from(label)).collect(),
        }
    }

    fn delta(&self, layer: usize) -> Vec<f32> {
        self.fine[layer].iter().zip(&self.base[layer]).map(|(fine, base)| fine - base).collect()
    }

    /// Inputs of every layer, and at the end the logits, for dense weights.
    fn run(&self, weights: &[Vec<f32>], x: &[f32]) -> Vec<Vec<f32>> {
        let mut values = vec![x.to_vec()];
        let mut ws = Workspace::new();
        for (layer, weights) in weights.iter().enumerate() {
            let (inputs, outputs) = (SIZES[layer], SIZES[layer + 1]);
            let weights = MatRef::new(weights, outputs, inputs).unwrap();
            let mut next = Vec::new();
            for x in values[layer].chunks_exact(inputs) {
                let mut y = self.bias[layer].clone();
                dense_matvec_acc(weights, x, &mut y, &mut ws).unwrap();
                next.extend(y.into_iter().map(|y| if layer < 2 { y.max(0.0) } else { y }));
            }
            values.push(next);
        }
        values
    }

    fn student(&self, deltas: &[PackedDelta]) -> Vec<Vec<f32>> {
        let sum =
            |(base, delta): (&Vec<f32>, &PackedDelta)| base.iter().zip(delta.to_dense()).map(|(w, d)| w + d).collect();
        self.base.iter().zip(deltas).map(sum).collect()
    }

    /// KL divergence from the teacher's to the student's distribution on the test rows, and accuracy.
    fn score(&self, deltas: &[PackedDelta]) -> (f64, f64) {
        let logits = self.run(&self.student(deltas), &self.test).pop().unwrap();
        let (mut kl, mut right) = (0.0, 0);
        for ((student, teacher), label) in logits.chunks_exact(10).zip(self.teacher.chunks_exact(10)).zip(&self.labels)
        {
            let (p, q) = (log_softmax(teacher), log_softmax(student));
            kl += p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
            let best = (0..10).max_by(|&a, &b| student[a].total_cmp(&student[b])).unwrap();
            right += usize::from(best == *label);
        }
        (kl / self.labels.len() as f64, right as f64 / self.labels.len() as f64)
    }

    fn pack(&self, options: &PackOptions) -> Vec<PackedDelta> {
        (0..3).map(|l| PackedDelta::from_delta(matrix(&self.delta(l), l), options).unwrap()).collect()
    }

    fn distill(&self, deltas: &[PackedDelta], train: &[f32], held_out: &[f32], steps: u32) -> Vec<PackedDelta> {
        let builder =
            deltas.iter().enumerate().fold(Adapter::builder(), |b, (l, d)| b.entry(&l.to_string(), d.clone()));
        let adapter = builder.build().unwrap();
        let targets = [train, held_out].map(|x| self.run(&self.fine, x).pop().unwrap());
        let apply = |scales: &Scales| -> Result<Vec<PackedDelta>> {
            (0..3).map(|l| scales.apply(&l.to_string(), &deltas[l])).collect()
        };
        let mut teacher = TeacherFn::new(
            |scales: &Scales, grad: &mut Scales| {
                let student = self.student(&apply(scales)?);
                let values = self.run(&student, train);
                let mut back = vec![0.0; values[3].len()];
                let loss = mean_squared_error(&values[3], &targets[0], &mut back)?;
                for layer in (0..3).rev() {
                    let (inputs, outputs) = (SIZES[layer], SIZES[layer + 1]);
                    let mut dense = vec![0.0_f32; outputs * inputs];
                    let mut before = vec![0.0_f32; values[layer].len()];
                    let samples = back.chunks_exact(outputs).zip(values[layer].chunks_exact(inputs));
                    for ((back, x), before) in samples.zip(before.chunks_exact_mut(inputs)) {
                        for (o, &g) in back.iter().enumerate().filter(|(_, g)| **g != 0.0) {
                            dense[o * inputs..][..inputs].iter_mut().zip(x).for_each(|(d, x)| *d += g * x);
                            before.iter_mut().zip(&student[layer][o * inputs..]).for_each(|(b, w)| *b += g * w);
                        }
                        // Inputs of a layer are outputs of a rectifier, except at the start.
                        before.iter_mut().zip(x).filter(|(_, x)| **x <= 0.0).for_each(|(b, _)| *b = 0.0);
                    }
                    let now = scales.apply(&layer.to_string(), &deltas[layer])?;
                    now.scale_gradient(matrix(&dense, layer), grad.get_mut(&layer.to_string())?)?;
                    back = before;
                }
                Ok(loss)
            },
            |scales: &Scales| {
                let logits = self.run(&self.student(&apply(scales)?), held_out).pop().unwrap();
                mean_squared_error(&logits, &targets[1], &mut vec![0.0; logits.len()])
            },
        );
        let (better, report) =
            distill(&adapter, &mut teacher, &DistillOptions::new().steps(steps).held_out_every(20)).unwrap();
        assert!(report.held_out() <= report.held_out_before());
        let packed = |l: usize| match better.get(&l.to_string()).unwrap() {
            Entry::Packed(delta) => delta.clone(),
            _ => panic!("not packed"),
        };
        (0..3).map(packed).collect()
    }
}

fn matrix(data: &[f32], layer: usize) -> MatRef<'_, f32> {
    MatRef::new(data, SIZES[layer + 1], SIZES[layer]).unwrap()
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = || logits.iter().map(|logit| f64::from(logit - largest));
    let norm = shifted().map(f64::exp).sum::<f64>().ln();
    shifted().map(|logit| logit - norm).collect()
}

#[test]
fn calibrated_fits_and_distillation_keep_what_they_should() {
    let Some(folder) = data("the digits network") else { return };
    let network = Network::read(&folder);
    let expected = json(&folder, "digits_expected.json");
    let row = PackOptions::new().granularity(Granularity::Row);
    let inputs = network.run(&network.fine, &network.calibration);
    let grams: Vec<Gram> =
        (0..3).map(|l| Gram::from_inputs(MatRef::new(&inputs[l], 400, SIZES[l]).unwrap()).unwrap()).collect();
    let fit = |packed: &[PackedDelta]| -> Vec<PackedDelta> {
        (0..3).map(|l| closed_form(&packed[l], matrix(&network.delta(l), l), &grams[l]).unwrap()).collect()
    };
    let feedback = |options: &PackOptions, signs: &SignOptions| -> Vec<PackedDelta> {
        (0..3).map(|l| error_feedback(matrix(&network.delta(l), l), &grams[l], options, signs).unwrap()).collect()
    };
    let check = |name: &str, deltas: &[PackedDelta], low: f64, high: f64, accuracy: f64| {
        let (kl, acc) = network.score(deltas);
        let (want_kl, want_acc) = (expected[name]["kl"].as_f64().unwrap(), expected[name]["acc"].as_f64().unwrap());
        println!("{name}: KL {kl:.4} ({want_kl:.4}), accuracy {acc:.4} ({want_acc:.4})");
        assert!(kl >= want_kl * low && kl <= want_kl * high, "{name}: KL {kl}, expected {want_kl}");
        assert!((acc - want_acc).abs() <= accuracy, "{name}: accuracy {acc}, expected {want_acc}");
        kl
    };
    let tensor = network.pack(&PackOptions::new().granularity(Granularity::Tensor));
    let means = network.pack(&row);
    let scalar_kl = check("tensor", &tensor, 0.99, 1.01, 0.003);
    let row_kl = check("row", &means, 0.99, 1.01, 0.003);
    let rowcol = network.pack(&PackOptions::new());
    let rowcol_kl = check("rowcol", &rowcol, 0.99, 1.01, 0.003);
    let fitted_tensor = fit(&tensor);
    check("tensor_gram", &fitted_tensor, 0.95, 1.05, 0.01);
    check("row_gram", &fit(&means), 0.95, 1.05, 0.01);

    // A tensor scale fitted layer by layer makes the model worse, and is not kept.
    let loss = |deltas: &[PackedDelta]| network.score(deltas).0;
    let whole = |replaced: &PackedDelta| {
        let mut deltas = tensor.clone();
        deltas[2] = replaced.clone();
        Ok(loss(&deltas))
    };
    let mut fitted_last = tensor.clone();
    fitted_last[2] = fitted_tensor[2].clone();
    let (kept, _) = keep_if_better(&tensor[2], fitted_tensor[2].clone(), whole).unwrap();
    let mut kept_last = tensor.clone();
    kept_last[2] = kept;
    assert!(loss(&kept_last) <= loss(&tensor).min(loss(&fitted_last)));

    // Sequential: every layer sees what the student makes of the layers before.
    let mut sequential = means.clone();
    for layer in 0..3 {
        let student = network.run(&network.student(&sequential), &network.calibration);
        let mut sums = ScaleAccumulator::new(&means[layer]).unwrap();
        let mut ws = Workspace::new();
        let sizes = (SIZES[layer], SIZES[layer + 1]);
        for (x, x_teacher) in student[layer].chunks_exact(sizes.0).zip(inputs[layer].chunks_exact(sizes.0)) {
            let (mut target, mut base) = (vec![0.0; sizes.1], vec![0.0; sizes.1]);
            dense_matvec_acc(matrix(&network.fine[layer], layer), x_teacher, &mut target, &mut ws).unwrap();
            dense_matvec_acc(matrix(&network.base[layer], layer), x, &mut base, &mut ws).unwrap();
            target.iter_mut().zip(&base).for_each(|(t, b)| *t -= b);
            sums.push(x, &target, &mut ws).unwrap();
        }
        sequential[layer] = sums.finish().unwrap();
    }
    check("row_gram_sequential", &sequential, 0.95, 1.05, 0.01);

    let calibrated = feedback(&row, &SignOptions::new());
    let feedback_kl = check("error_feedback_row_gram", &calibrated, 0.0, 1.2, 0.02);
    assert!(scalar_kl / feedback_kl >= 15.0, "{}", scalar_kl / feedback_kl);
    assert!(scalar_kl > row_kl && row_kl > rowcol_kl && rowcol_kl > feedback_kl);
    // Row and column scales, and signs and scales in turn, without any gradient.
    let rounds = feedback(&PackOptions::new(), &SignOptions::new().rounds(3));
    let (rounds_kl, accuracy) = network.score(&rounds);
    println!("error feedback, rowcol, 3 rounds: KL {rounds_kl:.4}, accuracy {accuracy:.4}");
    assert!(scalar_kl / rounds_kl >= 100.0, "{}", scalar_kl / rounds_kl);

    let x = &network.calibration;
    let adam_kl = check("row_adam200", &network.distill(&means, x, x, 200), 0.0, 1.5, 0.012);
    let both_kl = check("error_feedback_row_adam200", &network.distill(&calibrated, x, x, 200), 0.0, 1.5, 0.012);
    assert!(feedback_kl > adam_kl && adam_kl > both_kl);
}
