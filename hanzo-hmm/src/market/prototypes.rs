//! Kinds of requests, found in the requests themselves.

use super::linear::dot;
use super::snapshot::{Reader, Writer, bad};
use super::splitmix::SplitMix64;
use crate::Result;
use crate::kernel::{Arch, Level, Task};

/// Centres of k-means over a sample of all requests seen, found afresh as requests come in.
///
/// No outcome is needed, so every request teaches, whichever model it went to. A request belongs to centre `k` with a share
/// proportional to `exp(-|x - c_k|^2 / (0.2 h))`, `h` the mean squared distance of the sample from its nearest centres.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prototypes {
    dim: usize,
    /// `k x dim`, none before the first fit.
    centres: Vec<f64>,
    norms: Vec<f64>,
    scale: f64,
    /// Every `stride`-th request, row by row.
    sample: Vec<f32>,
    stride: u64,
    requests: u64,
    next_fit: u64,
}

impl Prototypes {
    pub(crate) fn new(dim: usize) -> Self {
        Self {
            dim,
            centres: Vec::new(),
            norms: Vec::new(),
            scale: 1.0,
            sample: Vec::new(),
            stride: 1,
            requests: 0,
            next_fit: FIRST_FIT,
        }
    }

    /// Takes a request into the sample. When the centres are due to be found afresh, and are not `busy` being so, the sample as it was
    /// before it.
    pub(crate) fn observe(&mut self, x: &[f64], busy: bool) -> Option<Sample> {
        let due = self.requests >= self.next_fit && !busy;
        let sample = due.then(|| {
            self.next_fit += self.next_fit.min(REFIT.max(self.next_fit / 8));
            Sample { dim: self.dim, rows: self.sample.clone(), seed: self.requests }
        });
        if self.requests.is_multiple_of(self.stride) {
            self.sample.extend(x.iter().map(|&v| v as f32));
            if self.sample.len() >= MOST_SAMPLED * self.dim {
                for i in 1..MOST_SAMPLED / 2 {
                    self.sample.copy_within(2 * i * self.dim..(2 * i + 1) * self.dim, i * self.dim);
                }
                self.sample.truncate(MOST_SAMPLED / 2 * self.dim);
                self.stride *= 2;
            }
        }
        self.requests += 1;
        sample
    }

    /// Takes over new centres.
    pub(crate) fn install(&mut self, fit: Option<Fit>) {
        if let Some(Fit { centres, norms, scale }) = fit {
            (self.centres, self.norms, self.scale) = (centres, norms, scale);
        }
    }

    /// The centres alone.
    pub(crate) fn without_sample(&self) -> Self {
        Self { sample: Vec::new(), centres: self.centres.clone(), norms: self.norms.clone(), ..*self }
    }

    /// Mean squared distance of requests from their nearest centres; 1 before the first fit.
    pub(crate) fn scale(&self) -> f64 {
        self.scale
    }

    /// Shares of the centres in a request: they add up to 1, or are 0 before the first fit.
    pub(crate) fn shares(&self, x: &[f64], out: &mut [f64; MOST]) {
        out.fill(0.0);
        if self.norms.is_empty() {
            return;
        }
        let out = &mut out[..self.norms.len()];
        let mut least = f64::INFINITY;
        Level::best().run(Distances { centres: &self.centres, norms: &self.norms, x, out });
        for v in out.iter() {
            least = least.min(*v);
        }
        let mut total = 0.0;
        for v in out.iter_mut() {
            *v = ((least - *v) / (SOFTNESS * self.scale)).exp();
            total += *v;
        }
        for v in out {
            *v /= total;
        }
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        w.u64(self.norms.len() as u64);
        w.f64s(&self.centres);
        w.f64(self.scale);
        w.floats(&self.sample);
        [self.stride, self.requests, self.next_fit].iter().for_each(|&n| w.u64(n));
    }

    /// Takes over a saved state of the same size.
    pub(crate) fn load(&mut self, r: &mut Reader<'_>) -> Result<()> {
        let k = r.index(MOST + 1)?;
        self.centres = vec![0.0; k * self.dim];
        r.f64s(&mut self.centres)?;
        self.norms = self.centres.chunks_exact(self.dim).map(|c| dot(c, c)).collect();
        self.scale = r.amount()?;
        self.sample = r.floats(MOST_SAMPLED * self.dim)?;
        (self.stride, self.requests, self.next_fit) = (r.u64()?, r.u64()?, r.u64()?);
        let bounded = self.requests < u64::MAX / 4 && self.next_fit < u64::MAX / 4 && self.stride < u64::MAX / 4;
        let sized = self.sample.len().is_multiple_of(self.dim) && self.sample.len() < MOST_SAMPLED * self.dim;
        let sound = self.scale > 0.0 && self.norms.iter().all(|n| n.is_finite());
        if bounded && sized && sound && self.stride > 0 && self.next_fit > 0 { Ok(()) } else { bad("prototypes") }
    }
}

/// `|c|^2 - 2 c . x` for every centre: the squared distance up to `|x|^2`, which cancels.
struct Distances<'a> {
    centres: &'a [f64],
    norms: &'a [f64],
    x: &'a [f64],
    out: &'a mut [f64],
}

impl Task for Distances<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) {
        let Self { centres, norms, x, out } = self;
        for ((v, c), norm) in out.iter_mut().zip(centres.chunks_exact(x.len())).zip(norms) {
            *v = norm - 2.0 * dot(c, x);
        }
    }
}

/// Requests in which centres are to be found.
#[derive(Debug)]
pub(crate) struct Sample {
    dim: usize,
    rows: Vec<f32>,
    seed: u64,
}

/// Centres that were found.
#[derive(Debug, Clone)]
pub(crate) struct Fit {
    centres: Vec<f64>,
    norms: Vec<f64>,
    scale: f64,
}

impl Sample {
    /// k-means++ and a few rounds of Lloyd's algorithm, from a seed that depends on the number of requests only.
    pub(crate) fn fit(&self) -> Option<Fit> {
        let d = self.dim;
        let rows: Vec<f64> = self.rows.iter().map(|&v| f64::from(v)).collect();
        let rows: Vec<&[f64]> = rows.chunks_exact(d).collect();
        if rows.len() < 2 {
            return None;
        }
        let k = MOST.min((rows.len() / 4).max(2));
        let mut rng = SplitMix64::new(self.seed);
        let distance = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum() };
        let mut centres = rows[rng.below(rows.len())].to_vec();
        let mut near: Vec<f64> = rows.iter().map(|x| distance(x, &centres)).collect();
        for _ in 1..k {
            let mut left = rng.unit() * near.iter().sum::<f64>();
            let drawn = near.iter().position(|v| {
                left -= v;
                left < 0.0
            });
            let new = rows[drawn.unwrap_or(rows.len() - 1)];
            centres.extend(new);
            for (v, x) in near.iter_mut().zip(&rows) {
                *v = v.min(distance(x, new));
            }
        }
        let norms = |centres: &[f64]| -> Vec<f64> { centres.chunks_exact(d).map(|c| dot(c, c)).collect() };
        let mut scale = 1.0;
        for _ in 0..ROUNDS {
            let squares = norms(&centres);
            let (mut sums, mut counts, mut spread) = (vec![0.0; k * d], vec![0.0; k], 0.0);
            for x in &rows {
                let (mut nearest, mut least) = (0, f64::INFINITY);
                for (j, (c, square)) in centres.chunks_exact(d).zip(&squares).enumerate() {
                    let v = square - 2.0 * dot(c, x);
                    if v < least {
                        (nearest, least) = (j, v);
                    }
                }
                spread += (least + dot(x, x)).max(0.0);
                counts[nearest] += 1.0;
                for (sum, v) in sums[nearest * d..][..d].iter_mut().zip(*x) {
                    *sum += v;
                }
            }
            for (j, &count) in counts.iter().enumerate().filter(|(_, n)| **n > 0.0) {
                for (c, sum) in centres[j * d..][..d].iter_mut().zip(&sums[j * d..]) {
                    *c = sum / count;
                }
            }
            scale = (spread / rows.len() as f64).max(LEAST_SCALE);
        }
        Some(Fit { norms: norms(&centres), centres, scale })
    }
}

/// Most centres.
pub(crate) const MOST: usize = 32;
const FIRST_FIT: u64 = 32;
/// Requests between fits once there are many; later an eighth of all.
const REFIT: u64 = 400;
const MOST_SAMPLED: usize = 1_024;
const ROUNDS: usize = 4;
const SOFTNESS: f64 = 0.2;
const LEAST_SCALE: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::*;

    fn observe(p: &mut Prototypes, x: &[f64]) {
        if let Some(sample) = p.observe(x, false) {
            p.install(sample.fit());
        }
    }

    #[test]
    fn kinds_that_lie_apart_are_told_apart() {
        let mut p = Prototypes::new(2);
        let mut rng = SplitMix64::new(1);
        let mut shares = [0.0; MOST];
        p.shares(&[1.0, 0.0], &mut shares);
        assert_eq!(shares, [0.0; MOST]);
        for i in 0..200 {
            let side = if i % 2 == 0 { 5.0 } else { -5.0 };
            observe(&mut p, &[side + 0.1 * rng.normal(), 0.1 * rng.normal()]);
        }
        let mut other = [0.0; MOST];
        p.shares(&[5.0, 0.0], &mut shares);
        p.shares(&[-5.0, 0.0], &mut other);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(shares.iter().zip(&other).map(|(a, b)| a.min(*b)).sum::<f64>() < 1e-6, "nothing in common");
    }

    #[test]
    fn the_sample_stays_bounded_and_equal_requests_do_no_harm() {
        let mut p = Prototypes::new(1);
        for i in 0..5_000 {
            observe(&mut p, &[f64::from(i % 3)]);
        }
        assert!(p.sample.len() < MOST_SAMPLED && p.stride > 1);
        let mut same = Prototypes::new(3);
        for _ in 0..100 {
            observe(&mut same, &[0.0, 1.0, 0.0]);
        }
        let mut shares = [0.0; MOST];
        same.shares(&[1e6, 0.0, 0.0], &mut shares);
        assert!(shares.iter().all(|s| s.is_finite()));
    }
}
