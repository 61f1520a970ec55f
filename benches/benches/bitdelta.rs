//! `hanzo-bitdelta` beside a dense product and `memcpy`.
//!
//! `cargo bench -p hanzo-benches --bench bitdelta -- ratios` prints only the table of ratios, in a few seconds.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench: a failed step ends it")]

#[path = "bitdelta/ratios.rs"]
mod ratios;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use hanzo_bitdelta::fit::{Gram, SignOptions, closed_form, error_feedback};
use hanzo_bitdelta::{
    Adapter, Backend, Granularity, Job, MatMut, MatRef, PackOptions, PackedDelta, ReadOptions, Verify, Workspace,
    batched_matvec_acc, dense_matvec_acc,
};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..count).map(|_| rng.random::<f32>() - 0.5).collect()
}

fn matvec(c: &mut Criterion) {
    let mut group = c.benchmark_group("matvec");
    for (rows, cols) in [(4096, 4096), (11008, 4096), (4096, 11008), (768, 768), (1000, 1001)] {
        let weights = values(1, rows * cols);
        let dense = MatRef::new(&weights, rows, cols).unwrap();
        let (x, mut y, mut ws) = (values(2, cols), vec![0.0; rows], Workspace::new());
        group.throughput(Throughput::Elements((rows * cols) as u64));
        group.bench_function(format!("rows={rows} cols={cols} impl=dense"), |b| {
            b.iter(|| dense_matvec_acc(dense, black_box(&x), &mut y, &mut ws));
        });
        for (name, granularity) in [("tensor", Granularity::Tensor), ("rowcol", Granularity::RowCol)] {
            let delta = PackedDelta::from_delta(dense, &PackOptions::new().granularity(granularity)).unwrap();
            group.bench_function(format!("bitdelta::matvec/rows={rows} cols={cols} granularity={name}"), |b| {
                b.iter(|| delta.matvec_acc(black_box(&x), &mut y, &mut ws));
            });
            group.bench_function(format!("bitdelta::fused_matvec/rows={rows} cols={cols} granularity={name}"), |b| {
                b.iter(|| delta.fused_matvec_acc(dense, black_box(&x), &mut y, &mut ws));
            });
        }
        let delta = PackedDelta::from_delta(dense, &row()).unwrap();
        for &backend in Backend::available() {
            let mut ws = Workspace::with_backend(backend).unwrap();
            group.bench_function(format!("bitdelta::matvec/rows={rows} cols={cols} backend={backend:?}"), |b| {
                b.iter(|| delta.matvec_acc(black_box(&x), &mut y, &mut ws));
            });
        }
    }
    group.finish();
}

fn matmul(c: &mut Criterion) {
    let (rows, cols) = (1024, 4096);
    let mut group = c.benchmark_group("matmul");
    group.sample_size(20);
    let delta = PackedDelta::from_delta(MatRef::new(&values(1, rows * cols), rows, cols).unwrap(), &row()).unwrap();
    let mut ws = Workspace::new();
    for tokens in [1, 4, 16, 64] {
        let (x, mut y) = (values(3, tokens * cols), vec![0.0; tokens * rows]);
        let x = MatRef::new(&x, tokens, cols).unwrap();
        group.throughput(Throughput::Elements((tokens * rows * cols) as u64));
        group.bench_function(format!("bitdelta::matmul/rows={rows} cols={cols} tokens={tokens}"), |b| {
            b.iter(|| delta.matmul_acc(black_box(x), MatMut::new(&mut y, tokens, rows)?, &mut ws));
        });
        group.bench_function(format!("bitdelta::matmul_dense/rows={rows} cols={cols} tokens={tokens}"), |b| {
            b.iter(|| delta.matmul_dense_acc(black_box(x), MatMut::new(&mut y, tokens, rows)?, &mut ws));
        });
    }
    group.finish();
}

fn batched(c: &mut Criterion) {
    let (rows, cols) = (1024, 4096);
    let mut group = c.benchmark_group("batched");
    let delta = PackedDelta::from_delta(MatRef::new(&values(1, rows * cols), rows, cols).unwrap(), &row()).unwrap();
    let mut ws = Workspace::new();
    for tokens in [1, 8, 16] {
        let (x, mut y) = (values(3, tokens * cols), vec![0.0; tokens * rows]);
        group.bench_function(format!("bitdelta::batched_matvec/rows={rows} cols={cols} jobs={tokens}"), |b| {
            b.iter(|| {
                let pairs = x.chunks_exact(cols).zip(y.chunks_exact_mut(rows));
                let mut jobs: Vec<Job<'_>> = pairs.map(|(x, y)| Job { delta: &delta, x, y }).collect();
                batched_matvec_acc(black_box(&mut jobs), &mut ws)
            });
        });
    }
    group.finish();
}

fn pack(c: &mut Criterion) {
    let (rows, cols) = (4096, 4096);
    let mut group = c.benchmark_group("pack");
    group.sample_size(10);
    let (base, fine) = (values(1, rows * cols), values(2, rows * cols));
    let (base, fine) = (MatRef::new(&base, rows, cols).unwrap(), MatRef::new(&fine, rows, cols).unwrap());
    group.throughput(Throughput::Bytes(4 * (rows * cols) as u64));
    group.bench_function(format!("rows={rows} cols={cols} impl=read-and-sum"), |b| {
        b.iter(|| {
            let mut lanes = [0.0_f32; 32];
            for i in 0..rows {
                for chunk in black_box(base).row(i).chunks_exact(32) {
                    lanes.iter_mut().zip(chunk).for_each(|(lane, w)| *lane += w.abs());
                }
            }
            lanes
        });
    });
    for (name, granularity) in [
        ("tensor", Granularity::Tensor),
        ("row", Granularity::Row),
        ("col", Granularity::Col),
        ("rowcol", Granularity::RowCol),
    ] {
        let options = PackOptions::new().granularity(granularity);
        group.bench_function(format!("bitdelta::from_delta/rows={rows} cols={cols} granularity={name}"), |b| {
            b.iter(|| PackedDelta::from_delta(black_box(base), &options));
        });
    }
    group.bench_function(format!("bitdelta::compress/rows={rows} cols={cols} granularity=row"), |b| {
        b.iter(|| PackedDelta::compress(black_box(base), fine, &row()));
    });
    group.finish();
}

fn materialize(c: &mut Criterion) {
    let (rows, cols) = (4096, 4096);
    let mut group = c.benchmark_group("materialize");
    group.sample_size(20);
    let weights = values(1, rows * cols);
    let base = MatRef::new(&weights, rows, cols).unwrap();
    let mut out = vec![0.0_f32; rows * cols];
    group.throughput(Throughput::Bytes(4 * (rows * cols) as u64));
    group.bench_function(format!("rows={rows} cols={cols} impl=memcpy"), |b| {
        b.iter(|| black_box(&mut out).copy_from_slice(black_box(&weights)));
    });
    for (name, granularity) in [("row", Granularity::Row), ("rowcol", Granularity::RowCol)] {
        let delta = PackedDelta::from_delta(base, &PackOptions::new().granularity(granularity)).unwrap();
        group.bench_function(format!("bitdelta::materialize/rows={rows} cols={cols} granularity={name}"), |b| {
            b.iter(|| delta.materialize(black_box(base), MatMut::new(&mut out, rows, cols)?));
        });
    }
    group.finish();
}

fn open(c: &mut Criterion) {
    let mut group = c.benchmark_group("open");
    group.sample_size(20);
    let matrix = values(1, 1024 * 1024);
    let delta = PackedDelta::from_delta(MatRef::new(&matrix, 1024, 1024).unwrap(), &row()).unwrap();
    let mut builder = Adapter::builder();
    for layer in 0..39 {
        builder = builder.entry(&format!("layers.{layer}.weight"), delta.clone());
    }
    let file: std::sync::Arc<[u8]> = builder.build().unwrap().to_bytes().unwrap().into();
    group.throughput(Throughput::Bytes(file.len() as u64));
    for (name, verify) in [("lazy", Verify::Lazy), ("eager", Verify::Eager)] {
        let options = ReadOptions::new().verify(verify);
        group.bench_function(format!("bitdelta::from_bytes/tensors=39 bytes={} verify={name}", file.len()), |b| {
            b.iter_batched(|| file.clone(), |file| Adapter::from_bytes(file, options), BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn row() -> PackOptions {
    PackOptions::new().granularity(Granularity::Row)
}

fn fits(c: &mut Criterion) {
    let (rows, cols) = (256, 256);
    let mut group = c.benchmark_group("fit");
    group.sample_size(10);
    let (delta, inputs) = (values(1, rows * cols), values(2, 512 * cols));
    let (delta, inputs) = (MatRef::new(&delta, rows, cols).unwrap(), MatRef::new(&inputs, 512, cols).unwrap());
    let gram = Gram::from_inputs(inputs).unwrap();
    let packed = PackedDelta::from_delta(delta, &row()).unwrap();
    group.bench_function(format!("bitdelta::gram/samples=512 cols={cols}"), |b| {
        b.iter(|| Gram::from_inputs(black_box(inputs)));
    });
    group.bench_function(format!("bitdelta::closed_form/rows={rows} cols={cols}"), |b| {
        b.iter(|| closed_form(&packed, black_box(delta), &gram));
    });
    group.bench_function(format!("bitdelta::error_feedback/rows={rows} cols={cols}"), |b| {
        b.iter(|| error_feedback(black_box(delta), &gram, &row(), &SignOptions::new()));
    });
    group.finish();
}

criterion_group!(benches, matvec, matmul, batched, pack, materialize, fits, open);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--test");
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    if !arguments.iter().any(|argument| argument == "--list") && filter.is_none_or(|filter| filter == "ratios") {
        ratios::print(quick);
    }
    if filter.is_none_or(|filter| filter != "ratios") {
        benches();
        Criterion::default().configure_from_args().final_summary();
    }
}
