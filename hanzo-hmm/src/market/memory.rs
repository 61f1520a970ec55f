//! The last outcomes, as they came.

use std::collections::VecDeque;
use std::sync::Arc;

use super::beliefs::Beliefs;
use super::snapshot::{Reader, Writer, bad};
use crate::Result;
use crate::kernel::{Arch, Level, Task};

/// A ring of outcomes: regressions are found again from it when the prototypes have moved, and neighbours of a request looked for in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Memory {
    past: VecDeque<Remembered>,
    most: usize,
    /// Outcomes among which neighbours are looked for.
    neighbours: usize,
    /// Outcomes remembered so far.
    count: u64,
}

/// An outcome; the features are shared with a refit that is under way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Remembered {
    pub(crate) features: Arc<[f32]>,
    pub(crate) regime: Beliefs,
    pub(crate) model: usize,
    pub(crate) score: f64,
    pub(crate) weight: f64,
    /// What its neighbours said of it beyond the regression.
    pub(crate) local: f64,
}

impl Memory {
    pub(crate) fn new(neighbours: usize) -> Self {
        Self { past: VecDeque::new(), most: LEAST_REMEMBERED.max(neighbours), neighbours, count: 0 }
    }

    pub(crate) fn push(&mut self, outcome: Remembered) {
        if self.past.len() >= self.most {
            self.past.pop_front();
        }
        self.count += 1;
        self.past.push_back(outcome);
    }

    /// Outcomes remembered so far, forgotten ones included.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Remembered> {
        self.past.iter()
    }

    /// Those that came after the first `count`, as far as they are still remembered.
    pub(crate) fn since(&self, count: u64) -> impl Iterator<Item = &Remembered> {
        let new = usize::try_from(self.count - count).unwrap_or(usize::MAX).min(self.past.len());
        self.past.range(self.past.len() - new..)
    }

    /// Weight of the neighbours of a request by model, `sum k(x, x_i) w_i`, and weighted sum of their scores, where
    /// `k(x, x_i) = exp(-|x - x_i|^2 / (2 s))` for the mean squared distance `s` of requests from their prototypes.
    pub(crate) fn neighbours(&self, x: &[f64], scale: f64, models: usize, out: &mut Vec<(f64, f64)>) {
        out.clear();
        out.resize(models, (0.0, 0.0));
        for past in self.past.range(self.past.len() - self.past.len().min(self.neighbours)..) {
            let near = past.weight * (-Level::best().run(Distance(x, &past.features)) / (WIDTH * scale)).exp();
            let (mass, sum) = &mut out[past.model];
            *mass += near;
            *sum += near * past.score;
        }
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        w.u64(self.past.len() as u64);
        for past in &self.past {
            w.floats(&past.features);
            w.f64s(&past.regime);
            w.u64(past.model as u64);
            w.f64s(&[past.score, past.weight, past.local]);
        }
    }

    /// Takes over saved outcomes of requests with `dim` features.
    pub(crate) fn load(&mut self, r: &mut Reader<'_>, [dim, models, regimes]: [usize; 3]) -> Result<()> {
        self.past.clear();
        for _ in 0..r.index(self.most + 1)? {
            let features = r.floats(dim)?;
            if features.len() != dim || features.iter().any(|v| v.abs() > 1e6) {
                return bad("memory");
            }
            let mut regime = Beliefs::filled(regimes, 0.0);
            r.distribution(&mut regime)?;
            let model = r.index(models)?;
            let (score, weight, local) = (r.amount()?, r.amount()?, r.f64()?);
            if score > 1.0 || weight > 1.0 || local.abs() > 1e6 {
                return bad("memory");
            }
            self.past.push_back(Remembered { features: features.into(), regime, model, score, weight, local });
        }
        Ok(())
    }
}

/// `|a - b|^2` in eight partial sums.
struct Distance<'a>(&'a [f64], &'a [f32]);

impl Task for Distance<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) -> f64 {
        let Self(a, b) = self;
        let mut lanes = [0.0; 8];
        let (a8, a_rest) = a.as_chunks::<8>();
        let (b8, b_rest) = b.as_chunks::<8>();
        for (x, y) in a8.iter().zip(b8) {
            for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
                let d = x - f64::from(*y);
                *lane += d * d;
            }
        }
        let tail: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| (x - f64::from(*y)).powi(2)).sum();
        ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7])) + tail
    }
}

/// Outcomes from which coefficients are found again.
const LEAST_REMEMBERED: usize = 8_192;
/// Most outcomes among which neighbours may be looked for.
pub(crate) const MOST_NEIGHBOURS: usize = 16_384;
const WIDTH: f64 = 0.5;
