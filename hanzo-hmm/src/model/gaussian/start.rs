//! Starting points: k-means++ (Arthur and Vassilvitskii 2007) and a few of Lloyd's iterations.

use rand_core::Rng;

use super::super::{Observations, draw};

/// Groups of the training data.
pub(crate) struct Clusters {
    /// Centres, `K x D`.
    pub(crate) centers: Vec<f64>,
    /// Variance of every coordinate within each group, never 0, `K x D`.
    pub(crate) variances: Vec<f64>,
}

/// `k` groups of the complete observations (of at most some thousands of them), or `None` when there is none.
pub(crate) fn clusters<'a, Q, R>(sequences: &[Q], dim: usize, k: usize, rng: &mut R) -> Option<Clusters>
where
    Q: Observations<&'a [f64]>,
    R: Rng + ?Sized,
{
    let total: usize = sequences.iter().map(Observations::len).sum();
    let stride = total.div_ceil(SAMPLE).max(1);
    let steps = sequences.iter().flat_map(|s| (0..s.len()).filter_map(|t| s.get(t)));
    let complete = |o: &&[f64]| o.len() == dim && o.iter().all(|x| x.is_finite());
    let points: Vec<&[f64]> = steps.filter(complete).step_by(stride).collect();
    if points.is_empty() {
        return None;
    }
    let spread = spread(&points, dim);
    let distance = |a: &[f64], b: &[f64]| -> f64 {
        let square = |((a, b), s): ((&f64, &f64), &f64)| (a - b) * (a - b) / s;
        a.iter().zip(b).zip(&spread).map(square).sum()
    };
    let mut centers: Vec<f64> = points[draw(&vec![1.0; points.len()], rng)].to_vec();
    let mut nearest: Vec<f64> = points.iter().map(|p| distance(p, &centers)).collect();
    while centers.len() < k * dim {
        // Where all points are taken, the next centre repeats one.
        let next = points[draw(&nearest, rng)];
        for (nearest, point) in nearest.iter_mut().zip(&points) {
            *nearest = nearest.min(distance(point, next));
        }
        centers.extend_from_slice(next);
    }
    let mut variances = Vec::new();
    for _ in 0..ROUNDS {
        let (mut counts, mut sums, mut squares) = (vec![0.0; k], vec![0.0; k * dim], vec![0.0; k * dim]);
        for point in &points {
            let best = centers.chunks_exact(dim).map(|c| distance(point, c)).enumerate();
            let (own, _) = best.fold((0, f64::INFINITY), |best, next| if next.1 < best.1 { next } else { best });
            counts[own] += 1.0;
            for (d, x) in point.iter().enumerate() {
                let from = x - centers[own * dim + d];
                sums[own * dim + d] += from;
                squares[own * dim + d] += from * from;
            }
        }
        variances.clear();
        for (at, center) in centers.iter_mut().enumerate() {
            let (count, spread) = (counts[at / dim], spread[at % dim]);
            let mean = if count > 0.0 { sums[at] / count } else { 0.0 };
            let variance = if count > 0.0 { squares[at] / count - mean * mean } else { spread };
            *center += mean;
            variances.push(variance.max(SMALLEST * spread).max(f64::MIN_POSITIVE));
        }
    }
    let finite = centers.iter().chain(&variances).all(|x| x.is_finite());
    finite.then_some(Clusters { centers, variances })
}

/// Variance of every coordinate, 1 where it is 0.
fn spread(points: &[&[f64]], dim: usize) -> Vec<f64> {
    let n = points.len() as f64;
    (0..dim)
        .map(|d| {
            let mean = points.iter().map(|p| p[d] / n).sum::<f64>();
            let variance = points.iter().map(|p| (p[d] - mean) * (p[d] - mean) / n).sum::<f64>();
            if variance > 0.0 && variance.is_finite() { variance } else { 1.0 }
        })
        .collect()
}

/// At most about this many points are grouped.
const SAMPLE: usize = 4096;
const ROUNDS: usize = 5;
/// Smallest variance within a group, over that of all points.
const SMALLEST: f64 = 1e-3;
