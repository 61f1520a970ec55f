//! A pair of small networks: a base, and what it became on another task.

use std::path::Path;

use hanzo::bitdelta::{MatRef, Workspace, dense_matvec_acc};
use indicatif::ProgressBar;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::Result;

/// Layers of weights `outputs x inputs` and biases, with rectifiers between them.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) sizes: Vec<usize>,
    pub(crate) weights: Vec<Vec<f32>>,
    pub(crate) biases: Vec<Vec<f32>>,
}

/// A base and a fine-tuned network, inputs of the new task to calibrate with, and a test of it.
pub(crate) struct Pair {
    pub(crate) base: Network,
    pub(crate) fine: Network,
    pub(crate) calibration: Vec<f32>,
    pub(crate) test: Vec<f32>,
    pub(crate) labels: Vec<usize>,
}

/// Gradients of a network's weights and biases.
pub(crate) struct Gradients {
    pub(crate) weights: Vec<Vec<f32>>,
    biases: Vec<Vec<f32>>,
}

impl Network {
    fn random(sizes: &[usize], rng: &mut Xoshiro256PlusPlus) -> Self {
        let mut layer = |pair: &[usize]| {
            let spread = (6.0 / pair[0] as f32).sqrt();
            (0..pair[0] * pair[1]).map(|_| spread * (2.0 * rng.random::<f32>() - 1.0)).collect()
        };
        let weights = sizes.windows(2).map(&mut layer).collect();
        Self { sizes: sizes.to_vec(), weights, biases: sizes[1..].iter().map(|&n| vec![0.0; n]).collect() }
    }

    pub(crate) fn layers(&self) -> usize {
        self.weights.len()
    }

    pub(crate) fn classes(&self) -> usize {
        self.sizes[self.layers()]
    }

    pub(crate) fn matrix<'a>(&self, data: &'a [f32], layer: usize) -> Result<MatRef<'a, f32>> {
        Ok(MatRef::new(data, self.sizes[layer + 1], self.sizes[layer])?)
    }

    /// Inputs of every layer, one sample after the other, and at the end the logits.
    pub(crate) fn run(&self, x: &[f32]) -> Result<Vec<Vec<f32>>> {
        let mut values = vec![x.to_vec()];
        let mut ws = Workspace::new();
        for layer in 0..self.layers() {
            let weights = self.matrix(&self.weights[layer], layer)?;
            let mut next = Vec::new();
            for x in values[layer].chunks_exact(self.sizes[layer]) {
                let mut y = self.biases[layer].clone();
                dense_matvec_acc(weights, x, &mut y, &mut ws)?;
                next.extend(y.into_iter().map(|y| if layer + 1 < self.layers() { y.max(0.0) } else { y }));
            }
            values.push(next);
        }
        Ok(values)
    }

    pub(crate) fn logits(&self, x: &[f32]) -> Result<Vec<f32>> {
        Ok(self.run(x)?.pop().unwrap_or_default())
    }

    /// From the gradient by the logits to that by weights and biases; `values` is what [`run`](Self::run) gave.
    pub(crate) fn gradients(&self, values: &[Vec<f32>], logits: Vec<f32>) -> Gradients {
        let zeros = |parts: &[Vec<f32>]| parts.iter().map(|part| vec![0.0; part.len()]).collect::<Vec<_>>();
        let mut gradients = Gradients { weights: zeros(&self.weights), biases: zeros(&self.biases) };
        let mut back = logits;
        for layer in (0..self.layers()).rev() {
            let (inputs, outputs) = (self.sizes[layer], self.sizes[layer + 1]);
            let mut before = vec![0.0_f32; values[layer].len()];
            let samples = back.chunks_exact(outputs).zip(values[layer].chunks_exact(inputs));
            for ((back, x), before) in samples.zip(before.chunks_exact_mut(inputs)) {
                for (o, &g) in back.iter().enumerate().filter(|(_, g)| **g != 0.0) {
                    gradients.biases[layer][o] += g;
                    let row = o * inputs..(o + 1) * inputs;
                    gradients.weights[layer][row.clone()].iter_mut().zip(x).for_each(|(d, x)| *d += g * x);
                    before.iter_mut().zip(&self.weights[layer][row]).for_each(|(b, w)| *b += g * w);
                }
                // The input of a layer is the output of a rectifier, except at the start.
                before.iter_mut().zip(x).filter(|(_, x)| **x <= 0.0).for_each(|(b, _)| *b = 0.0);
            }
            back = before;
        }
        gradients
    }

    /// Adam on the cross-entropy of labelled images.
    fn fit(&mut self, images: &[f32], labels: &[usize], epochs: usize, rng: &mut Xoshiro256PlusPlus) -> Result<()> {
        let (inputs, classes) = (self.sizes[0], self.classes());
        let parameters = |network: &Self| network.weights.iter().chain(&network.biases).map(Vec::len).sum::<usize>();
        let (mut first, mut second) = (vec![0.0_f32; parameters(self)], vec![0.0_f32; parameters(self)]);
        let mut order: Vec<usize> = (0..labels.len()).collect();
        let mut step = 0;
        for _ in 0..epochs {
            order.shuffle(rng);
            for batch in order.chunks(32) {
                step += 1;
                let x: Vec<f32> = batch.iter().flat_map(|&i| &images[i * inputs..][..inputs]).copied().collect();
                let values = self.run(&x)?;
                let mut back = Vec::new();
                for (logits, &i) in values[self.layers()].chunks_exact(classes).zip(batch) {
                    let odds = log_softmax(logits);
                    let part = |(class, log): (usize, &f64)| {
                        (log.exp() as f32 - f32::from(u8::from(class == labels[i]))) / batch.len() as f32
                    };
                    back.extend(odds.iter().enumerate().map(part));
                }
                let gradients = self.gradients(&values, back);
                let bias = [1.0 - 0.9_f32.powi(step), 1.0 - 0.999_f32.powi(step)];
                let gradients = gradients.weights.iter().chain(&gradients.biases).flatten();
                let own = self.weights.iter_mut().chain(&mut self.biases).flatten();
                for ((w, g), (m, v)) in own.zip(gradients).zip(first.iter_mut().zip(&mut second)) {
                    *m = 0.9 * *m + 0.1 * g;
                    *v = 0.999 * *v + 0.001 * g * g;
                    *w -= 1e-3 * (*m / bias[0]) / ((*v / bias[1]).sqrt() + 1e-8);
                }
            }
        }
        Ok(())
    }
}

impl Pair {
    /// Reads a pair from one file, whatever it holds.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::from_bytes(&read(path)?).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes)?;
        let tensor = |name: &str, dtype: Dtype| -> Result<TensorView<'_>> {
            let tensor = file.tensor(name)?;
            if tensor.dtype() == dtype { Ok(tensor) } else { Err(format!("{name} is not {dtype}").into()) }
        };
        let floats = |name: &str, fits: &dyn Fn(&[usize]) -> bool| -> Result<Vec<f32>> {
            let tensor = tensor(name, Dtype::F32)?;
            if !fits(tensor.shape()) {
                return Err(format!("{name} has shape {:?}, which does not fit the others", tensor.shape()).into());
            }
            Ok(tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
        };
        let mut sizes = Vec::new();
        while let Ok(weight) = file.tensor(&format!("base.{}.weight", sizes.len().saturating_sub(1))) {
            match *weight.shape() {
                [outputs, inputs] if sizes.is_empty() && inputs > 0 && outputs > 0 => sizes.extend([inputs, outputs]),
                [outputs, inputs] if sizes.last() == Some(&inputs) && outputs > 0 => sizes.push(outputs),
                ref shape => return Err(format!("a layer of shape {shape:?} does not fit the one before").into()),
            }
        }
        let [inputs, .., outputs] = sizes[..] else { return Err("there is no base.0.weight".into()) };
        let network = |which: &str| -> Result<Network> {
            let (mut weights, mut biases) = (Vec::new(), Vec::new());
            for (layer, size) in sizes.windows(2).enumerate() {
                weights.push(floats(&format!("{which}.{layer}.weight"), &|shape| shape == [size[1], size[0]])?);
                biases.push(floats(&format!("{which}.{layer}.bias"), &|shape| shape == [size[1]])?);
            }
            Ok(Network { sizes: sizes.clone(), weights, biases })
        };
        let rows = |shape: &[usize]| shape.len() == 2 && shape[0] > 0 && shape[1] == inputs;
        let test = floats("x_test", &rows)?;
        let labels: Vec<usize> = tensor("y_test", Dtype::U8)?.data().iter().map(|&label| usize::from(label)).collect();
        if labels.len() != test.len() / inputs || labels.iter().any(|label| *label >= outputs) {
            return Err(format!("y_test must have a label below {outputs} for each row of x_test").into());
        }
        Ok(Self {
            base: network("base")?,
            fine: network("fine")?,
            calibration: floats("x_calib", &rows)?,
            test,
            labels,
        })
    }

    /// Trains a base on images of ten classes, and goes on with the same images turned by a quarter.
    pub(crate) fn train(bar: &ProgressBar) -> Result<Self> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(20_260_101);
        let classes: Vec<Vec<f32>> = (0..10).map(|_| prototype(&mut rng)).collect();
        let mut set = |count: usize| -> (Vec<f32>, Vec<usize>) {
            let labels: Vec<usize> = (0..count).map(|_| rng.random_range(0..10)).collect();
            (labels.iter().flat_map(|&label| image(&classes[label], &mut rng)).collect(), labels)
        };
        let ((train, labels), (calibration, _), (test, test_labels)) = (set(1500), set(400), set(500));
        let turned = |images: &[f32]| images.chunks_exact(SIDE * SIDE).flat_map(turn).collect::<Vec<_>>();
        bar.set_length(EPOCHS[0] + EPOCHS[1]);
        let mut network = Network::random(&[SIDE * SIDE, 256, 256, 10], &mut rng);
        let mut run = |network: &mut Network, images: &[f32], epochs: u64| -> Result<()> {
            for _ in 0..epochs {
                network.fit(images, &labels, 1, &mut rng)?;
                bar.inc(1);
            }
            Ok(())
        };
        run(&mut network, &train, EPOCHS[0])?;
        let base = network.clone();
        run(&mut network, &turned(&train), EPOCHS[1])?;
        bar.finish_and_clear();
        let (calibration, test) = (turned(&calibration), turned(&test));
        Ok(Self { base, fine: network, calibration, test, labels: test_labels })
    }

    /// Writes the two networks as files of the same tensors.
    pub(crate) fn write(&self, base: &Path, fine: &Path) -> Result<()> {
        for (network, path) in [(&self.base, base), (&self.fine, fine)] {
            let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
            let mut tensors = Vec::new();
            for layer in 0..network.layers() {
                let (outputs, inputs) = (network.sizes[layer + 1], network.sizes[layer]);
                tensors.push((format!("{layer}.weight"), vec![outputs, inputs], bytes(&network.weights[layer])));
                tensors.push((format!("{layer}.bias"), vec![outputs], bytes(&network.biases[layer])));
            }
            let views = tensors
                .iter()
                .map(|(name, shape, data)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), data)?)));
            let views: Vec<_> = views.collect::<Result<_>>()?;
            std::fs::write(path, safetensors::serialize(views, None)?)?;
        }
        Ok(())
    }
}

/// The bytes of a file, or which one cannot be read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()).into())
}

/// A smooth image: a few soft spots.
fn prototype(rng: &mut Xoshiro256PlusPlus) -> Vec<f32> {
    let spots: Vec<[f32; 3]> = (0..4)
        .map(|_| [SIDE as f32 * rng.random::<f32>(), SIDE as f32 * rng.random::<f32>(), 0.5 + rng.random::<f32>()])
        .collect();
    let pixel = |i: usize| {
        let (row, col) = ((i / SIDE) as f32, (i % SIDE) as f32);
        spots.iter().map(|[y, x, s]| s * (-((row - y).powi(2) + (col - x).powi(2)) / 3.0).exp()).sum()
    };
    (0..SIDE * SIDE).map(pixel).collect()
}

/// The prototype, shifted by up to a pixel, dimmed, and with noise.
fn image(prototype: &[f32], rng: &mut Xoshiro256PlusPlus) -> Vec<f32> {
    let (down, right) = (rng.random_range(0..3), rng.random_range(0..3));
    let light = 0.6 + 0.8 * rng.random::<f32>();
    let pixel = |i: usize| {
        let (row, col) = ((i / SIDE + down).saturating_sub(1), (i % SIDE + right).saturating_sub(1));
        let value = if row < SIDE && col < SIDE { prototype[row * SIDE + col] } else { 0.0 };
        light * value + 1.5 * rng.random::<f32>()
    };
    (0..SIDE * SIDE).map(pixel).collect()
}

/// A quarter turn.
fn turn(image: &[f32]) -> Vec<f32> {
    (0..SIDE * SIDE).map(|i| image[(i % SIDE) * SIDE + SIDE - 1 - i / SIDE]).collect()
}

/// Logarithms of the probabilities that logits stand for.
pub(crate) fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = || logits.iter().map(|logit| f64::from(logit - largest));
    let norm = shifted().map(f64::exp).sum::<f64>().ln();
    shifted().map(|logit| logit - norm).collect()
}

/// Pixels of a side.
const SIDE: usize = 8;

/// Passes over the images for the base, and after the turn.
const EPOCHS: [u64; 2] = [20, 15];

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of one layer, 2 to 3, with one tensor as given.
    fn file(name: &str, dtype: Dtype, shape: &[usize], data: &[u8]) -> Vec<u8> {
        let zeros = [0; 24];
        let mut tensors = Vec::new();
        for network in ["base", "fine"] {
            tensors.push((format!("{network}.0.weight"), Dtype::F32, vec![3, 2], &zeros[..]));
            tensors.push((format!("{network}.0.bias"), Dtype::F32, vec![3], &zeros[..12]));
        }
        tensors.push(("x_calib".into(), Dtype::F32, vec![1, 2], &zeros[..8]));
        tensors.push(("x_test".into(), Dtype::F32, vec![1, 2], &zeros[..8]));
        tensors.push(("y_test".into(), Dtype::U8, vec![1], &[2]));
        tensors.retain(|tensor| tensor.0 != name);
        tensors.push((name.into(), dtype, shape.to_vec(), data));
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, data)| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
        safetensors::serialize(views, None).unwrap()
    }

    #[test]
    fn only_pairs_that_fit_are_read() {
        let pair = Pair::from_bytes(&file("y_test", Dtype::U8, &[1], &[1])).unwrap();
        assert_eq!((pair.labels, pair.fine.sizes), (vec![1], vec![2, 3]));
        let zeros = [0; 24];
        for bad in [
            file("y_test", Dtype::U8, &[1], &[3]),
            file("y_test", Dtype::U8, &[2], &[0, 0]),
            file("y_test", Dtype::F32, &[1], &zeros[..4]),
            file("x_test", Dtype::F32, &[0, 2], &[]),
            file("x_calib", Dtype::F32, &[1, 3], &zeros[..12]),
            file("fine.0.weight", Dtype::F32, &[2, 3], &zeros),
            file("fine.0.bias", Dtype::F16, &[3], &zeros[..6]),
            file("base.0.weight", Dtype::F32, &[3, 0], &[]),
            file("base.1.weight", Dtype::F32, &[1, 2], &zeros[..8]),
            b"no safetensors".to_vec(),
        ] {
            assert!(Pair::from_bytes(&bad).is_err());
        }
    }
}
