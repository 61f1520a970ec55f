//! Every way of packing a pair, side by side.

use hanzo::bitdelta::fit::{Gram, SignOptions, closed_form, error_feedback};
use hanzo::bitdelta::{
    Adapter, DistillOptions, Entry, Granularity, MatRef, PackOptions, PackedDelta, Scales, SignZero, TeacherFn,
    distill, mean_squared_error,
};
use hanzo_examples::{program, say};

use crate::Result;
use crate::network::{Network, Pair, log_softmax};

/// Prints accuracy and divergence from the fine-tuned network for each method.
pub(crate) fn compare(pair: &Pair, steps: u32) -> Result<()> {
    let teacher = pair.fine.logits(&pair.test)?;
    let (_, accuracy) = score(pair, &teacher, &teacher);
    say!("fine-tuned network: accuracy {accuracy:.4}; base weights with its biases:");
    let base = Network { weights: pair.base.weights.clone(), ..pair.fine.clone() };
    let (kl, accuracy) = score(pair, &teacher, &base.logits(&pair.test)?);
    say!("{:<44} {:>5} {:>9.4} {:>9.5}", "none (base weights)", 0, accuracy, kl);
    say!("{:<44} {:>5} {:>9} {:>9} {:>9}", "method", "bits", "accuracy", "KL", "better by");

    let options = |granularity| PackOptions::new().granularity(granularity);
    let (tensor, row, rowcol) = (options(Granularity::Tensor), options(Granularity::Row), PackOptions::new());
    let inputs = pair.fine.run(&pair.calibration)?;
    let mut grams = Vec::new();
    for (layer, inputs) in inputs.iter().enumerate().take(pair.fine.layers()) {
        let size = pair.fine.sizes[layer];
        grams.push(Gram::from_inputs(MatRef::new(inputs, inputs.len() / size, size)?)?);
    }
    let pack = |options: &PackOptions| -> Result<Vec<PackedDelta>> {
        each_layer(pair, |_, delta| Ok(PackedDelta::from_delta(delta, options)?))
    };
    let fit = |packed: &[PackedDelta]| each_layer(pair, |l, delta| Ok(closed_form(&packed[l], delta, &grams[l])?));
    let signs = |options: &PackOptions, signs: SignOptions| {
        each_layer(pair, |l, delta| Ok(error_feedback(delta, &grams[l], options, &signs)?))
    };

    let mut table = Table { pair, teacher: &teacher, reference: None };
    table.line("scalar (published method, no distillation)", &pack(&tensor.sign_zero(SignZero::Positive))?)?;
    table.line("scale a row", &pack(&row)?)?;
    table.line("scale a column", &pack(&options(Granularity::Col))?)?;
    table.line("scale a block of 32", &pack(&options(Granularity::block(32)?))?)?;
    table.line("row x column scales (default)", &pack(&rowcol)?)?;
    table.line("2 planes, row", &pack(&row.planes(2))?)?;
    table.line("3 planes, row", &pack(&row.planes(3))?)?;
    table.line("4 planes, row", &pack(&row.planes(4))?)?;
    table.line("row, closed form", &fit(&pack(&row)?)?)?;
    table.line("row x column, closed form", &fit(&pack(&rowcol)?)?)?;
    table.line("row, error-feedback signs", &signs(&row, SignOptions::new())?)?;
    table.line("row x column, error-feedback signs", &signs(&rowcol, SignOptions::new())?)?;
    let rounds = signs(&rowcol, SignOptions::new().rounds(5))?;
    table.line("row x column, error-feedback signs, 5 rounds", &rounds)?;
    if steps > 0 {
        let scalar = pack(&tensor.sign_zero(SignZero::Positive))?;
        table.line("scalar, distilled (published method)", &distilled(pair, &scalar, steps)?)?;
        table.line("row, distilled", &distilled(pair, &pack(&row)?, steps)?)?;
        table.line("row x column, distilled", &distilled(pair, &pack(&rowcol)?, steps)?)?;
        let row_signs = signs(&row, SignOptions::new())?;
        table.line("row, error-feedback signs, distilled", &distilled(pair, &row_signs, steps)?)?;
        table.line("row x column, 5 rounds, distilled", &distilled(pair, &rounds, steps)?)?;
    }
    Ok(())
}

struct Table<'a> {
    pair: &'a Pair,
    teacher: &'a [f32],
    reference: Option<f64>,
}

impl Table<'_> {
    fn line(&mut self, name: &str, deltas: &[PackedDelta]) -> Result<()> {
        let (kl, accuracy) = score(self.pair, self.teacher, &student(self.pair, deltas).logits(&self.pair.test)?);
        let reference = *self.reference.get_or_insert(kl);
        let planes = deltas.iter().map(PackedDelta::planes).max().unwrap_or(0);
        say!("{name:<44} {planes:>5} {accuracy:>9.4} {kl:>9.5} {:>8.1}x", reference / kl);
        Ok(())
    }
}

/// Mean KL divergence (in nats) from the teacher's to the student's distribution, and accuracy.
fn score(pair: &Pair, teacher: &[f32], student: &[f32]) -> (f64, f64) {
    let classes = pair.fine.classes();
    let (mut kl, mut right) = (0.0, 0);
    for ((student, teacher), label) in
        student.chunks_exact(classes).zip(teacher.chunks_exact(classes)).zip(&pair.labels)
    {
        let (p, q) = (log_softmax(teacher), log_softmax(student));
        kl += p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
        let best = (0..classes).max_by(|&a, &b| student[a].total_cmp(&student[b]));
        right += usize::from(best == Some(*label));
    }
    let count = pair.labels.len().max(1) as f64;
    (kl / count, right as f64 / count)
}

fn each_layer(
    pair: &Pair,
    mut pack: impl FnMut(usize, MatRef<'_, f32>) -> Result<PackedDelta>,
) -> Result<Vec<PackedDelta>> {
    let delta = |l: usize| pair.fine.weights[l].iter().zip(&pair.base.weights[l]).map(|(fine, base)| fine - base);
    (0..pair.fine.layers()).map(|l| pack(l, pair.fine.matrix(&delta(l).collect::<Vec<_>>(), l)?)).collect()
}

/// The base with the deltas, and the biases of the fine-tuned network.
fn student(pair: &Pair, deltas: &[PackedDelta]) -> Network {
    let sum = |(base, delta): (&Vec<f32>, &PackedDelta)| {
        base.iter().zip(delta.to_dense()).map(|(w, d)| w + d).collect::<Vec<f32>>()
    };
    Network { weights: pair.base.weights.iter().zip(deltas).map(sum).collect(), ..pair.fine.clone() }
}

/// Scales that bring the logits on the calibration inputs near those of the fine-tuned network; every tenth input is held out.
fn distilled(pair: &Pair, deltas: &[PackedDelta], steps: u32) -> Result<Vec<PackedDelta>> {
    let width = pair.fine.sizes[0];
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (index, x) in pair.calibration.chunks_exact(width).enumerate() {
        if index % 10 == 9 { held_out.extend_from_slice(x) } else { train.extend_from_slice(x) }
    }
    let targets = [pair.fine.logits(&train)?, pair.fine.logits(&held_out)?];
    let name = |layer: usize| format!("{layer:04}");
    let entries = deltas.iter().enumerate();
    let adapter = entries.fold(Adapter::builder(), |b, (l, delta)| b.entry(&name(l), delta.clone())).build()?;
    let with = |scales: &Scales| -> hanzo::bitdelta::Result<Network> {
        let deltas: Vec<PackedDelta> =
            (0..deltas.len()).map(|l| scales.apply(&name(l), &deltas[l])).collect::<Result<_, _>>()?;
        Ok(student(pair, &deltas))
    };
    let failed = |_| hanzo::bitdelta::Error::Diverged { step: 0 };
    let bar = program::progress(u64::from(steps), "steps of distillation");
    let mut teacher = TeacherFn::new(
        |scales: &Scales, grad: &mut Scales| {
            bar.inc(1);
            let student = with(scales)?;
            let mut values = student.run(&train).map_err(failed)?;
            let mut back = vec![0.0; targets[0].len()];
            let loss = mean_squared_error(&values[student.layers()], &targets[0], &mut back)?;
            values.pop();
            let gradients = student.gradients(&values, back);
            for (layer, dense) in gradients.weights.iter().enumerate() {
                let dense = MatRef::new(dense, student.sizes[layer + 1], student.sizes[layer])?;
                let now = scales.apply(&name(layer), &deltas[layer])?;
                now.scale_gradient(dense, grad.get_mut(&name(layer))?)?;
            }
            Ok(loss)
        },
        |scales: &Scales| {
            let logits = with(scales)?.logits(&held_out).map_err(failed)?;
            mean_squared_error(&logits, &targets[1], &mut vec![0.0; logits.len()])
        },
    );
    let (adapter, _) = distill(&adapter, &mut teacher, &DistillOptions::new().steps(steps))?;
    bar.finish_and_clear();
    let packed = |l: usize| match adapter.get(&name(l))? {
        Entry::Packed(delta) => Ok(delta.clone()),
        _ => Err(format!("layer {l} is not packed").into()),
    };
    (0..deltas.len()).map(packed).collect()
}
