//! Where training starts.

use hanzo::hmm::{self, GaussianDiag, Hmm, Initial, Transitions};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Complete observations and what makes their coordinates comparable.
#[derive(Debug)]
pub(crate) struct Starts {
    rows: Vec<[f64; 3]>,
    /// The rows, each coordinate shifted and scaled to mean 0 and variance 1.
    standard: Vec<[f64; 3]>,
    /// Smallest variance of a start.
    floor: f64,
    seed: u64,
}

impl Starts {
    /// Starts from `data`, three numbers a row; rows with a missing one are left out.
    pub(crate) fn new(data: &[f64], floor: f64, seed: u64) -> Self {
        let rows = data.as_chunks::<3>().0.iter().filter(|row| row.iter().all(|x| x.is_finite()));
        let rows: Vec<[f64; 3]> = rows.copied().collect();
        let (mean, variance) = moments(rows.iter());
        let scaled = |row: &[f64; 3]| std::array::from_fn(|d| (row[d] - mean[d]) / variance[d].max(floor).sqrt());
        Self { standard: rows.iter().map(scaled).collect(), rows, floor, seed }
    }

    /// Number of complete observations.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Start number `start`: the moments of `states` groups of rows, and a chain that stays with probability 0.9.
    ///
    /// The groups are equal slices along a direction (starts 0 to 2: the coordinates, then every other start a random
    /// one), or the rows nearest to centres that k-means++ picks (Arthur, Vassilvitskii, SODA 2007). Slices find broad
    /// regimes, centres find narrow ones; which wins differs from one number of states to the next.
    pub(crate) fn model(&self, states: usize, start: usize) -> hmm::Result<Hmm<GaussianDiag>> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(start as u64 + 1);
        let groups = match start {
            0..=2 => self.slices(states, std::array::from_fn(|d| f64::from(u8::from(d == start)))),
            _ if start.is_multiple_of(2) => {
                self.slices(states, std::array::from_fn(|_| StandardNormal.sample(&mut rng)))
            }
            _ => self.nearest(&self.centres(states, &mut rng)),
        };
        let mut parts = vec![Vec::new(); states];
        for (row, group) in self.rows.iter().zip(groups) {
            parts[group].push(row);
        }
        let mut means = Vec::with_capacity(states);
        let mut variances = Vec::with_capacity(states);
        for part in parts {
            // A centre that was drawn twice has no rows of its own.
            let (mean, variance) = if part.is_empty() { moments(self.rows.iter()) } else { moments(part.into_iter()) };
            means.push(mean.to_vec());
            variances.push(variance.map(|v| v.max(self.floor)).to_vec());
        }
        let chain = |i: usize, j: usize| match states {
            1 => 1.0,
            _ if i == j => STAY,
            _ => (1.0 - STAY) / (states - 1) as f64,
        };
        Hmm::new(
            Initial::Free(vec![1.0 / states as f64; states]),
            Transitions::new((0..states).map(|i| (0..states).map(|j| chain(i, j)).collect()).collect())?,
            GaussianDiag::new(means, variances)?,
        )
    }

    /// The group of each row: `states` slices of equal size along `direction`.
    fn slices(&self, states: usize, direction: [f64; 3]) -> Vec<usize> {
        let along = |row: &[f64; 3]| -> f64 { row.iter().zip(direction).map(|(x, w)| x * w).sum() };
        let mut order: Vec<(f64, usize)> = self.standard.iter().map(along).zip(0..).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut groups = vec![0; order.len()];
        for (rank, (_, row)) in order.iter().enumerate() {
            groups[*row] = rank * states / order.len();
        }
        groups
    }

    /// Rows drawn one after the other, each with probability proportional to its squared distance from those before.
    fn centres(&self, states: usize, rng: &mut ChaCha8Rng) -> Vec<[f64; 3]> {
        let mut centres: Vec<[f64; 3]> = Vec::with_capacity(states);
        let mut weights = vec![1.0; self.standard.len()];
        while centres.len() < states {
            let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
            let drawn = weights.iter().position(|weight| {
                left -= weight;
                left < 0.0
            });
            let centre = self.standard[drawn.unwrap_or(weights.len() - 1)];
            for (weight, row) in weights.iter_mut().zip(&self.standard) {
                let distance = squared_distance(row, &centre);
                *weight = if centres.is_empty() { distance } else { weight.min(distance) };
            }
            centres.push(centre);
        }
        centres
    }

    /// The nearest centre of each row.
    fn nearest(&self, centres: &[[f64; 3]]) -> Vec<usize> {
        let group = |row: &[f64; 3]| {
            let distances = centres.iter().map(|centre| squared_distance(row, centre)).zip(0..);
            distances.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |(_, group)| group)
        };
        self.standard.iter().map(group).collect()
    }
}

/// Mean and variance of each coordinate.
fn moments<'a>(rows: impl ExactSizeIterator<Item = &'a [f64; 3]> + Clone) -> ([f64; 3], [f64; 3]) {
    let n = rows.len() as f64;
    let mean: [f64; 3] = std::array::from_fn(|d| rows.clone().map(|row| row[d]).sum::<f64>() / n);
    let variance = std::array::from_fn(|d| rows.clone().map(|row| (row[d] - mean[d]).powi(2)).sum::<f64>() / n);
    (mean, variance)
}

fn squared_distance(a: &[f64; 3], b: &[f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Probability to stay in a state, at the start.
const STAY: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_is_a_model_and_repeats_itself() {
        // Two far groups; the first row has no gap.
        let mut data = vec![f64::NAN, 1.0, 1.0];
        for i in 0..50 {
            let far = f64::from(i % 2) * 10.0;
            data.extend([far + f64::from(i) * 0.01, far, far - f64::from(i) * 0.02]);
        }
        let starts = Starts::new(&data, 1e-4, 5);
        assert_eq!(starts.len(), 50);
        for start in 0..8 {
            let model = starts.model(2, start).unwrap();
            assert_eq!(model, starts.model(2, start).unwrap());
            assert_eq!(model.transitions().row(0), [STAY, 1.0 - STAY]);
            assert!(model.emission().variances().iter().all(|v| *v >= 1e-4));
        }
        // Slices along the second coordinate are the two groups.
        assert!((starts.model(2, 1).unwrap().emission().means()[4] - 10.0).abs() < 1e-12);
        assert_eq!(starts.model(1, 3).unwrap().n_states(), 1);
    }

    #[test]
    fn equal_rows_still_give_models() {
        let starts = Starts::new(&[1.0, 2.0, 3.0].repeat(20), 1e-4, 5);
        for start in 0..6 {
            assert_eq!(starts.model(3, start).unwrap().n_states(), 3);
        }
    }
}
