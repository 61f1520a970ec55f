//! The model that workers run: a small shared base network, one fine-tune of it a tenant, and 1-bit deltas between them.
//!
//! A forward pass is real arithmetic: `y = (W2 + D2) relu((W1 + D1) x)`, with `D` the packed delta of the tenant. The fine-tuned
//! weights themselves are the teacher that answers are scored against; no worker sees them.

use std::sync::Arc;

use hanzo::bitdelta::{
    Adapter, BaseDigest, Bf16, BoundAdapter, Dtype, Element, Granularity, MatRef, PackOptions, PackedDelta, TensorView,
    Workspace, base_digest, dense_matvec_acc,
};
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};
use sha2::{Digest as _, Sha256};

use crate::Result;

/// Length of an input vector.
pub(crate) const INPUTS: usize = 256;
const HIDDEN: usize = 512;
/// Number of classes, the toy's vocabulary.
pub(crate) const OUTPUTS: usize = 64;
/// Weights of the base network.
pub(crate) const PARAMETERS: u64 = (HIDDEN * (INPUTS + OUTPUTS)) as u64;
const UP: &str = "up.weight";
const DOWN: &str = "down.weight";

/// How faithfully a tenant's fine-tune is served, and for how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level {
    /// Its name in the market.
    pub(crate) name: &'static str,
    /// Dollars for 1,000 billed tokens.
    pub(crate) usd_per_1k: f64,
    /// Speed that a worker of speed 1 reaches.
    pub(crate) tokens_per_second: f64,
    granularity: Granularity,
    planes: usize,
}

/// What is on offer, cheapest first.
pub(crate) const LEVELS: [Level; 4] = [
    Level { name: "tensor-1", usd_per_1k: 0.004, tokens_per_second: 90.0, granularity: Granularity::Tensor, planes: 1 },
    Level { name: "rowcol-1", usd_per_1k: 0.008, tokens_per_second: 80.0, granularity: Granularity::RowCol, planes: 1 },
    Level { name: "rowcol-2", usd_per_1k: 0.016, tokens_per_second: 65.0, granularity: Granularity::RowCol, planes: 2 },
    Level { name: "rowcol-4", usd_per_1k: 0.032, tokens_per_second: 45.0, granularity: Granularity::RowCol, planes: 4 },
];

impl Level {
    /// Floating-point operations of `positions` forward passes.
    pub(crate) fn flops(&self, positions: u32) -> u128 {
        let products = 1 + self.planes as u128;
        2 * u128::from(PARAMETERS) * products * u128::from(positions)
    }
}

/// Two weight matrices.
#[derive(Debug)]
pub(crate) struct Weights<T> {
    up: Vec<T>,
    down: Vec<T>,
}

impl<T: Element> Weights<T> {
    fn up(&self) -> Result<MatRef<'_, T>> {
        Ok(MatRef::new(&self.up, HIDDEN, INPUTS)?)
    }

    fn down(&self) -> Result<MatRef<'_, T>> {
        Ok(MatRef::new(&self.down, OUTPUTS, HIDDEN)?)
    }
}

impl Weights<f32> {
    /// The shared base network.
    pub(crate) fn base(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut layer = |rows: usize, cols: usize| -> Vec<f32> {
            let scale = (1.0 / cols as f32).sqrt();
            (0..rows * cols).map(|_| scale * normal(&mut rng)).collect()
        };
        Self { up: layer(HIDDEN, INPUTS), down: layer(OUTPUTS, HIDDEN) }
    }

    /// A tenant's fine-tune. The change is about a third of the base's size; its shape goes round with `tenant`: entries of
    /// nearly equal size (one scale is enough), rows and columns of very different size (which need scales of their own), or
    /// entries of every size (which need more planes).
    pub(crate) fn fine_tune(&self, tenant: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut tune = |base: &[f32], rows: usize, cols: usize| -> Vec<f32> {
            let scale = 0.6 * (1.0 / cols as f32).sqrt();
            let size = |rng: &mut ChaCha8Rng| (0.9 * normal(rng)).exp();
            let by_row: Vec<f32> = (0..rows).map(|_| size(&mut rng)).collect();
            let by_col: Vec<f32> = (0..cols).map(|_| size(&mut rng)).collect();
            let mut change = |i: usize| match tenant % 3 {
                0 => scale * (0.8 + 0.4 * rng.random::<f32>()) * sign(&mut rng),
                1 => 0.5 * scale * by_row[i / cols] * by_col[i % cols] * sign(&mut rng),
                _ => scale * normal(&mut rng) * (0.6 * normal(&mut rng)).exp(),
            };
            base.iter().enumerate().map(|(i, w)| w + change(i)).collect()
        };
        Self { up: tune(&self.up, HIDDEN, INPUTS), down: tune(&self.down, OUTPUTS, HIDDEN) }
    }

    /// The same in a narrower type.
    pub(crate) fn rounded(&self) -> Weights<Bf16> {
        let round = |values: &[f32]| values.iter().map(|&w| Bf16::from_f32(w)).collect();
        Weights { up: round(&self.up), down: round(&self.down) }
    }

    /// What an adapter for these weights must name.
    pub(crate) fn digest(&self) -> Result<BaseDigest> {
        let bytes = |values: &[f32]| values.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
        let (up, down) = (bytes(&self.up), bytes(&self.down));
        let tensors = [
            TensorView::new(UP, Dtype::F32, &[HIDDEN, INPUTS], &up)?,
            TensorView::new(DOWN, Dtype::F32, &[OUTPUTS, HIDDEN], &down)?,
        ];
        Ok(base_digest(&tensors)?)
    }

    /// Packs the difference to `fine` at a level, as the bytes of an adapter file.
    pub(crate) fn adapter(&self, digest: BaseDigest, fine: &Self, level: &Level) -> Result<Vec<u8>> {
        let options = PackOptions::new().granularity(level.granularity).planes(level.planes);
        let up = PackedDelta::compress(self.up()?, fine.up()?, &options)?;
        let down = PackedDelta::compress(self.down()?, fine.down()?, &options)?;
        Ok(Adapter::builder().base_digest(digest).entry(UP, up).entry(DOWN, down).build()?.to_bytes()?)
    }
}

/// Input vectors of a job, which follow from its seed; one a position. A clone shares them.
#[derive(Debug, Clone)]
pub(crate) struct Positions(Arc<[[f32; INPUTS]]>);

impl Positions {
    /// As many positions as the tokens of a request call for: one for the prompt and each 2,048 tokens of it, one for each
    /// started 32 tokens of the answer, 128 at most.
    pub(crate) fn count(tokens_in: u32, tokens_out: u32) -> u32 {
        (1 + tokens_in / 2_048 + tokens_out.div_ceil(32)).min(128)
    }

    /// The vectors of a job.
    pub(crate) fn of_seed(seed: &[u8; 32], count: u32) -> Self {
        let mut rng = ChaCha8Rng::from_seed(*seed);
        Self((0..count).map(|_| std::array::from_fn(|_| normal(&mut rng))).collect())
    }

    /// The first `count` of them.
    pub(crate) fn first(&self, count: usize) -> Self {
        Self(self.0[..count.min(self.0.len())].into())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What came out of a run: the likeliest class at every position, and a digest of every bit of every score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Classes by position.
    pub(crate) classes: Vec<u16>,
    /// SHA-256 of the scores, 4 bytes each, little-endian, position by position.
    pub(crate) digest: [u8; 32],
}

impl Answer {
    /// Share of the positions at which this answer names the teacher's class; a missing position is wrong.
    pub(crate) fn agreement(&self, teacher: &Self) -> f64 {
        let same = self.classes.iter().zip(&teacher.classes).filter(|(a, b)| a == b).count();
        same as f64 / teacher.classes.len().max(1) as f64
    }
}

/// Runs the base with an adapter over all positions.
pub(crate) fn run<T: Element>(
    base: &Weights<T>,
    adapter: &BoundAdapter,
    positions: &Positions,
    workspace: &mut Workspace,
) -> Result<Answer> {
    let (up, down) = (base.up()?, base.down()?);
    answer(positions, workspace, |x, hidden, scores, ws| {
        adapter.fused_matvec_acc(UP, up, x, hidden, ws)?;
        relu(hidden);
        Ok(adapter.fused_matvec_acc(DOWN, down, hidden, scores, ws)?)
    })
}

/// Runs the fine-tuned weights themselves.
pub(crate) fn teach(fine: &Weights<f32>, positions: &Positions, workspace: &mut Workspace) -> Result<Answer> {
    let (up, down) = (fine.up()?, fine.down()?);
    answer(positions, workspace, |x, hidden, scores, ws| {
        dense_matvec_acc(up, x, hidden, ws)?;
        relu(hidden);
        Ok(dense_matvec_acc(down, hidden, scores, ws)?)
    })
}

fn answer(
    positions: &Positions,
    workspace: &mut Workspace,
    mut forward: impl FnMut(&[f32], &mut [f32], &mut [f32], &mut Workspace) -> Result<()>,
) -> Result<Answer> {
    let (mut hidden, mut scores) = (vec![0.0; HIDDEN], vec![0.0; OUTPUTS]);
    let (mut digest, mut classes) = (Sha256::new(), Vec::with_capacity(positions.0.len()));
    for x in positions.0.iter() {
        hidden.fill(0.0);
        scores.fill(0.0);
        forward(x, &mut hidden, &mut scores, workspace)?;
        for score in &scores {
            digest.update(score.to_le_bytes());
        }
        classes.push(likeliest(&scores));
    }
    Ok(Answer { classes, digest: digest.finalize().into() })
}

fn relu(values: &mut [f32]) {
    for v in values {
        *v = v.max(0.0);
    }
}

/// Index of the largest score, the first of equals.
fn likeliest(scores: &[f32]) -> u16 {
    let mut best = 0;
    for (i, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = i;
        }
    }
    best as u16
}

fn normal(rng: &mut ChaCha8Rng) -> f32 {
    StandardNormal.sample(rng)
}

fn sign(rng: &mut ChaCha8Rng) -> f32 {
    if rng.random::<bool>() { 1.0 } else { -1.0 }
}

#[cfg(test)]
mod tests {
    use hanzo::bitdelta::ReadOptions;

    use super::*;

    fn agreement(tenant: usize, level: &Level) -> f64 {
        let base = Weights::base(1);
        let fine = base.fine_tune(tenant, 2);
        let digest = base.digest().unwrap();
        let bytes = base.adapter(digest, &fine, level).unwrap();
        let adapter = Adapter::from_bytes(bytes.into(), ReadOptions::new()).unwrap().bind(&digest).unwrap();
        let positions = Positions::of_seed(&[3; 32], 100);
        let mut ws = Workspace::new();
        let teacher = teach(&fine, &positions, &mut ws).unwrap();
        run(&base, &adapter, &positions, &mut ws).unwrap().agreement(&teacher)
    }

    #[test]
    fn tenants_need_different_levels() {
        let table: Vec<[f64; 4]> = (0..3).map(|tenant| LEVELS.map(|level| agreement(tenant, &level))).collect();
        assert!(table[0][0] > 0.8, "{table:?}");
        assert!(table[1][0] < 0.6 && table[1][1] > 0.8, "{table:?}");
        assert!(table[2][1] < table[2][3] - 0.2, "{table:?}");
    }

    #[test]
    fn lower_precision_shows_in_the_digest() {
        let base = Weights::base(1);
        let fine = base.fine_tune(0, 2);
        let digest = base.digest().unwrap();
        let bytes = base.adapter(digest, &fine, &LEVELS[1]).unwrap();
        let adapter = Adapter::from_bytes(bytes.into(), ReadOptions::new()).unwrap().bind(&digest).unwrap();
        let positions = Positions::of_seed(&[3; 32], 4);
        let mut ws = Workspace::new();
        let full = run(&base, &adapter, &positions, &mut ws).unwrap();
        assert_eq!(run(&base, &adapter, &positions, &mut ws).unwrap(), full);
        assert_ne!(run(&base.rounded(), &adapter, &positions, &mut ws).unwrap().digest, full.digest);
    }

    #[test]
    fn positions_grow_with_tokens_up_to_a_limit() {
        assert_eq!(Positions::count(0, 1), 2);
        assert_eq!(Positions::count(4_096, 320), 13);
        assert_eq!(Positions::count(u32::MAX, u32::MAX), 128);
    }
}
