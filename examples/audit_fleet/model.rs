//! The work of the fleet: a small network over 64 tokens, in whole numbers or in bfloat16.

use hanzo::poai::{DType, Environment, Hash, JobSpec, StateHash, StepExecutor, StepResult};
use sha2::{Digest as _, Sha256};

/// Tokens of an answer.
pub(crate) const TOKENS: usize = 32;
/// Tokens to choose from.
pub(crate) const VOCABULARY: usize = 64;
const WIDTH: usize = 48;

/// Two layers of weights, the same for everybody.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    first: Vec<f32>,
    second: Vec<f32>,
}

/// In which order a machine adds up, or what it saves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// Adds in blocks of so many; every machine has its own.
    Blocks(usize),
    /// Weights in four bits.
    FourBits,
}

impl Model {
    pub(crate) fn new() -> Self {
        let mut state = 0x0123_4567_89ab_cdefu64;
        let mut next = |scale: f32| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / 8_388_608.0 - 1.0) * scale
        };
        let first = (0..WIDTH * WIDTH).map(|_| next(0.25)).collect();
        let second = (0..VOCABULARY * WIDTH).map(|_| next(0.45)).collect();
        Self { first, second }
    }

    /// What names the weights.
    pub(crate) fn hash(&self) -> Hash {
        let mut hasher = Sha256::new();
        self.first.iter().chain(&self.second).for_each(|weight| hasher.update(weight.to_be_bytes()));
        hasher.finalize().into()
    }

    /// Logits of one position in whole numbers: the same bits on every machine.
    pub(crate) fn whole(&self, input: &Hash, position: u64) -> Vec<i32> {
        let x: Vec<i32> = features(input, position).iter().map(|x| (x * 64.0) as i32).collect();
        let row = |weights: &[f32], x: &[i32]| -> i32 {
            weights.iter().zip(x).map(|(weight, x)| (weight * 256.0) as i32 * x).sum::<i32>() >> 8
        };
        let hidden: Vec<i32> = self.first.chunks(WIDTH).map(|weights| row(weights, &x).max(0)).collect();
        self.second.chunks(WIDTH).map(|weights| row(weights, &hidden)).collect()
    }

    /// Logits of all positions in bfloat16, row by row.
    pub(crate) fn bfloat(&self, input: &Hash, machine: Machine) -> Vec<f32> {
        let (weights, block): (Box<dyn Fn(f32) -> f32>, usize) = match machine {
            Machine::Blocks(block) => (Box::new(round), block),
            Machine::FourBits => (Box::new(|weight| round((weight * 16.0).round() / 16.0)), WIDTH),
        };
        let row = |row: &[f32], x: &[f32]| -> f32 {
            let parts = row.chunks(block).zip(x.chunks(block));
            parts.fold(0.0, |sum, (row, x)| {
                round(sum + row.iter().zip(x).map(|(weight, x)| weights(*weight) * x).sum::<f32>())
            })
        };
        (0..TOKENS as u64)
            .flat_map(|position| {
                let x = features(input, position);
                let hidden: Vec<f32> = self.first.chunks(WIDTH).map(|weights| row(weights, &x).max(0.0)).collect();
                self.second.chunks(WIDTH).map(|weights| row(weights, &hidden)).collect::<Vec<_>>()
            })
            .collect()
    }
}

/// Where an answer came from, as attested.
pub(crate) fn environment(dtype: DType) -> Environment {
    let whole = dtype == DType::Integer;
    Environment {
        dtype,
        batch_invariant: whole,
        fixed_reduction_order: whole,
        kernel_class: 1,
        tensor_parallel: 1,
        device_class: 1,
        runtime: [7; 32],
    }
}

/// The trace of whole-number work: after each position the hash of all logits so far.
#[derive(Debug)]
pub(crate) struct Steps<'a> {
    pub(crate) model: &'a Model,
    pub(crate) input: Hash,
}

impl Steps<'_> {
    /// The running hashes: `TOKENS + 1` of them, the last of which is the output. `wrong` spoils one position.
    pub(crate) fn run(&self, wrong: Option<u64>) -> Vec<Hash> {
        let mut sums = vec![[0; 32]];
        for position in 0..TOKENS as u64 {
            let mut next = self.next(position, &sums[position as usize]);
            if wrong == Some(position) {
                next[0] ^= 1;
            }
            sums.push(next);
        }
        sums
    }

    /// The state of the trace after so many positions.
    pub(crate) fn state(&self, position: u64, sum: &Hash) -> StateHash {
        let mut hasher = Sha256::new();
        hasher.update(position.to_be_bytes());
        hasher.update(self.input);
        hasher.update(sum);
        StateHash::new(hasher.finalize().into())
    }

    fn next(&self, position: u64, sum: &Hash) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(sum);
        self.model.whole(&self.input, position).iter().for_each(|logit| hasher.update(logit.to_be_bytes()));
        hasher.finalize().into()
    }
}

impl StepExecutor for Steps<'_> {
    fn ops(&self, _: &JobSpec) -> u64 {
        TOKENS as u64
    }

    fn initial(&self, _: &JobSpec) -> StateHash {
        self.state(0, &[0; 32])
    }

    fn binds_output(&self, state: &StateHash, output: &Hash) -> bool {
        self.state(TOKENS as u64, output) == *state
    }

    fn step(&self, op: u64, before: &StateHash, operands: &[u8], after: &StateHash) -> StepResult {
        let Ok(sum) = Hash::try_from(operands) else { return StepResult::Differs };
        let right = self.state(op, &sum) == *before && self.state(op + 1, &self.next(op, &sum)) == *after;
        if right { StepResult::Equal } else { StepResult::Differs }
    }
}

/// The input of a position, from the hash that names it.
fn features(input: &Hash, position: u64) -> Vec<f32> {
    let mut out = Vec::with_capacity(WIDTH);
    for block in 0u8..2 {
        let mut hasher = Sha256::new();
        hasher.update(input);
        hasher.update(position.to_be_bytes());
        hasher.update([block]);
        out.extend(hasher.finalize().iter().map(|byte| f32::from(*byte as i8) / 128.0));
    }
    out.truncate(WIDTH);
    out
}

/// To bfloat16, to nearest even.
fn round(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_bind_and_step() {
        let model = Model::new();
        let steps = Steps { model: &model, input: [3; 32] };
        let (right, wrong) = (steps.run(None), steps.run(Some(9)));
        let spec = JobSpec::builder(model.hash().into(), [3; 32]).build().unwrap();
        assert_eq!(steps.state(0, &right[0]), steps.initial(&spec));
        assert!(steps.binds_output(&steps.state(32, &right[32]), &right[32]));
        for (sums, op, want) in
            [(&right, 9, StepResult::Equal), (&wrong, 9, StepResult::Differs), (&wrong, 10, StepResult::Equal)]
        {
            let [before, after] = [op, op + 1].map(|at| steps.state(at, &sums[at as usize]));
            assert_eq!(steps.step(op, &before, &sums[op as usize], &after), want);
        }
        assert_eq!(steps.step(0, &steps.state(0, &right[0]), b"?", &steps.state(1, &right[1])), StepResult::Differs);
    }
}
