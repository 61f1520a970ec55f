//! Shared by the integration tests: the data folder, and the plainest possible implementation of the specified sums.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::PathBuf;

use hanzo_bitdelta::{Granularity, PackedDelta};

/// The data folder of this crate, or `None` with a line about what is skipped.
pub(crate) fn data(what: &str) -> Option<PathBuf> {
    let root = std::env::var_os("HANZO_TEST_DATA");
    if root.is_none() {
        eprintln!("skipped: {what}; set HANZO_TEST_DATA to the folder of the SDK's test data");
    }
    root.map(|root| PathBuf::from(root).join("bitdelta"))
}

pub(crate) fn json(folder: &std::path::Path, name: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn bytes(hex_text: &serde_json::Value) -> Vec<u8> {
    hex::decode(hex_text.as_str().unwrap()).unwrap()
}

pub(crate) fn f32s(hex_text: &serde_json::Value) -> Vec<f32> {
    bytes(hex_text).as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The sign of element `(i, j)` of a plane, as +1 or -1.
pub(crate) fn sign(delta: &PackedDelta, words: &[u64], plane: usize, i: usize, j: usize) -> f32 {
    let wide = delta.cols().div_ceil(64);
    if words[(plane * delta.rows() + i) * wide + j / 64] >> (j % 64) & 1 == 1 { 1.0 } else { -1.0 }
}

/// `y += D x` sign by sign, in the order that the crate documents.
pub(crate) fn naive_matvec(delta: &PackedDelta, x: &[f32], y: &mut [f32]) {
    let (rows, cols) = (delta.rows(), delta.cols());
    let words = delta.to_rowmajor64();
    let count = delta.scales().len() / delta.planes();
    let block = match delta.granularity() {
        Granularity::Block(g) => g.get() as usize,
        _ => cols.max(1),
    };
    let blocks = cols.div_ceil(block);
    for (i, y) in y.iter_mut().enumerate() {
        let mut z = 0.0_f32;
        for plane in 0..delta.planes() {
            let scales = &delta.scales()[plane * count..][..count];
            let input = |j: usize| match delta.granularity() {
                Granularity::Col => scales[j] * x[j],
                Granularity::RowCol => scales[rows + j] * x[j],
                _ => x[j],
            };
            for b in 0..blocks {
                let end = cols.min((b + 1) * block);
                let mut total = 0.0_f32;
                for segment in (b * block..end).step_by(1024) {
                    let mut sum = 0.0_f32;
                    for group in (segment..end.min(segment + 1024)).step_by(8) {
                        let term = |k: usize| {
                            let j = group + k;
                            if j < end { sign(delta, &words, plane, i, j) * input(j) } else { 0.0 }
                        };
                        let low = (term(0) + term(1)) + (term(2) + term(3));
                        let high = (term(4) + term(5)) + (term(6) + term(7));
                        sum += low + high;
                    }
                    total += sum;
                }
                z += match delta.granularity() {
                    Granularity::Tensor => scales[0] * total,
                    Granularity::Row | Granularity::RowCol => scales[i] * total,
                    Granularity::Col => total,
                    Granularity::Block(_) => scales[i * blocks + b] * total,
                };
            }
        }
        *y += z;
    }
}
