//! The ratios that matter, each measured in turns with what it is compared with: minimum and median of the runs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use hanzo_bitdelta::{
    Adapter, AdapterCache, AdapterKey, Backend, BaseDigest, Bf16, CacheConfig, Element, Job, MatMut, MatRef,
    MemoryStore, PackOptions, PackedDelta, ReadOptions, Verify, Workspace, batched_matvec_acc, dense_matvec_acc,
    fused_batched_matvec_acc,
};

use super::{row, values};

/// Seconds of each run, sorted.
struct Times(Vec<f64>);

impl Times {
    fn min(&self) -> f64 {
        self.0[0]
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }
}

/// Runs all of them in turns, so that a busy moment hits all.
fn measure<const N: usize>(runs: usize, mut each: [&mut dyn FnMut(); N]) -> [Times; N] {
    let mut times: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(runs));
    for round in 0..=runs {
        for (run, times) in each.iter_mut().zip(&mut times) {
            let started = Instant::now();
            run();
            // The first round warms up.
            if round > 0 {
                times.push(started.elapsed().as_secs_f64());
            }
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        Times(times)
    })
}

fn line(name: &str, times: &Times, reference: Option<(&str, f64, &Times)>) {
    let (min, median) = (times.min() * 1e3, times.median() * 1e3);
    match reference {
        Some((what, count, reference)) => println!(
            "{name:<46} {min:>10.4} {median:>10.4} {:>8.2} {:>8.2} x {what}",
            count * reference.min() / times.min(),
            count * reference.median() / times.median(),
        ),
        None => println!("{name:<46} {min:>10.4} {median:>10.4}"),
    }
}

/// Prints the table; `quick` runs everything once on small matrices.
pub(crate) fn print(quick: bool) {
    let (n, runs) = if quick { (256, 1) } else { (4096, 31) };
    println!(
        "{:<46} {:>10} {:>10} {:>8} {:>8}",
        format!("{n} x {n}, f32, one thread"),
        "min ms",
        "med. ms",
        "min",
        "median"
    );
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        products(n, runs);
        tenants(n, runs);
        packing(n, runs);
    });
    threads(n, runs);
    files(n, runs);
    cache(runs);
}

fn products(n: usize, runs: usize) {
    let (weights, x) = (values(1, n * n), values(2, n));
    let dense = MatRef::new(&weights, n, n).unwrap();
    let delta = PackedDelta::from_delta(dense, &row()).unwrap();
    let mut y = vec![0.0; n];
    for &backend in Backend::available() {
        let (mut ws, mut other) = (Workspace::with_backend(backend).unwrap(), Workspace::new());
        let mut z = vec![0.0; n];
        let [reference, one] = measure(
            runs,
            [&mut || dense_matvec_acc(dense, black_box(&x), &mut z, &mut other).unwrap(), &mut || {
                (0..8).for_each(|_| delta.matvec_acc(black_box(&x), &mut y, &mut ws).unwrap())
            }],
        );
        let one = Times(one.0.iter().map(|t| t / 8.0).collect());
        if backend == Backend::Portable {
            line("dense matvec", &reference, None);
        }
        line(&format!("matvec {backend:?}"), &one, Some(("dense", 1.0, &reference)));
    }
    let many: Vec<PackedDelta> = (0..48)
        .map(|seed| PackedDelta::from_delta(MatRef::new(&values(seed, n * n), n, n).unwrap(), &row()).unwrap())
        .collect();
    let half: Vec<Bf16> = weights.iter().map(|&w| Bf16::from_f32(w)).collect();
    let half = MatRef::new(&half, n, n).unwrap();
    let (mut ws, mut ws2, mut ws3, mut ws4) = (Workspace::new(), Workspace::new(), Workspace::new(), Workspace::new());
    let (mut a, mut b, mut c) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    let [reference, turns, fused, brain] = measure(
        runs,
        [
            &mut || dense_matvec_acc(dense, black_box(&x), &mut y, &mut ws).unwrap(),
            &mut || many.iter().for_each(|delta| delta.matvec_acc(black_box(&x), &mut a, &mut ws2).unwrap()),
            &mut || delta.fused_matvec_acc(dense, black_box(&x), &mut b, &mut ws3).unwrap(),
            &mut || dense_matvec_acc(half, black_box(&x), &mut c, &mut ws4).unwrap(),
        ],
    );
    let turns = Times(turns.0.iter().map(|t| t / 48.0).collect());
    line("matvec, 48 adapters in turn", &turns, Some(("dense", 1.0, &reference)));
    line("fused base + delta", &fused, Some(("dense", 1.0, &reference)));
    line("dense matvec, bf16 weights", &brain, Some(("dense", 1.0, &reference)));
    peers(n, runs, &weights, &x);
}

/// Dense products of other crates.
fn peers(n: usize, runs: usize, weights: &[f32], x: &[f32]) {
    let dense = MatRef::new(weights, n, n).unwrap();
    let (mut a, mut b, mut ws) = (vec![0.0; n], vec![0.0_f32; n], Workspace::new());
    let stride = isize::try_from(n).unwrap();
    let mut multiply = || {
        let (w, x, y) = (black_box(weights), black_box(x), &mut b);
        // SAFETY: the strides stay inside of an n x n matrix and two vectors of n.
        #[allow(unsafe_code, reason = "the peer's interface is pointers")]
        unsafe {
            matrixmultiply::sgemm(n, n, 1, 1.0, w.as_ptr(), stride, 1, x.as_ptr(), 1, 1, 0.0, y.as_mut_ptr(), 1, 1);
        }
    };
    let [ours, theirs] =
        measure(runs, [&mut || dense_matvec_acc(dense, black_box(x), &mut a, &mut ws).unwrap(), &mut multiply]);
    line("matrixmultiply, dense matvec", &theirs, Some(("dense", 1.0, &ours)));
}

fn tenants(n: usize, runs: usize) {
    let base = values(1, n * n);
    let base = MatRef::new(&base, n, n).unwrap();
    let deltas: Vec<PackedDelta> = (0..16)
        .map(|seed| PackedDelta::from_delta(MatRef::new(&values(seed, n * n), n, n).unwrap(), &row()).unwrap())
        .collect();
    let x = values(3, 16 * n);
    let (mut a, mut b, mut c, mut y) = (vec![0.0; 16 * n], vec![0.0; 16 * n], vec![0.0; 16 * n], vec![0.0; n]);
    let mut ws: [Workspace; 4] = std::array::from_fn(|_| Workspace::new());
    let [w0, w1, w2, w3] = &mut ws;
    fn jobs<'a>(deltas: &'a [PackedDelta], x: &'a [f32], y: &'a mut [f32], count: usize) -> Vec<Job<'a>> {
        let n = x.len() / 16;
        let pairs = x.chunks_exact(n).zip(y.chunks_exact_mut(n)).take(count);
        pairs.zip(deltas).map(|((x, y), delta)| Job { delta, x, y }).collect()
    }
    let [dense, deltas_only, eight, sixteen] = measure(
        runs.div_ceil(2),
        [
            &mut || dense_matvec_acc(base, black_box(&x[..n]), &mut y, w0).unwrap(),
            &mut || batched_matvec_acc(&mut jobs(&deltas, &x, &mut a, 16), w1).unwrap(),
            &mut || fused_batched_matvec_acc(base, &mut jobs(&deltas, &x, &mut b, 8), w2).unwrap(),
            &mut || fused_batched_matvec_acc(base, &mut jobs(&deltas, &x, &mut c, 16), w3).unwrap(),
        ],
    );
    line("16 tenants, deltas only", &deltas_only, Some(("dense", 1.0, &dense)));
    line("8 tenants, one read of the base", &eight, Some(("8 dense", 8.0, &dense)));
    line("16 tenants, one read of the base", &sixteen, Some(("16 dense", 16.0, &dense)));
}

fn packing(n: usize, runs: usize) {
    let runs = runs.div_ceil(2);
    let (base, fine) = (values(1, n * n), values(2, n * n));
    let (w, f) = (MatRef::new(&base, n, n).unwrap(), MatRef::new(&fine, n, n).unwrap());
    let mut read_sum = || {
        let mut lanes = [0.0_f32; 32];
        for chunk in black_box(&base).as_chunks::<32>().0 {
            lanes.iter_mut().zip(chunk).for_each(|(lane, w)| *lane += w.abs());
        }
        black_box(lanes);
    };
    let [read, one, two, default] = measure(
        runs,
        [
            &mut read_sum,
            &mut || drop(black_box(PackedDelta::from_delta(black_box(w), &row()).unwrap())),
            &mut || drop(black_box(PackedDelta::compress(black_box(w), f, &row()).unwrap())),
            &mut || drop(black_box(PackedDelta::compress(black_box(w), f, &PackOptions::new()).unwrap())),
        ],
    );
    line("read and sum", &read, None);
    line("pack, row scales", &one, Some(("read-sum", 1.0, &read)));
    line("compress (base, fine), row scales", &two, Some(("2 read-sum", 2.0, &read)));
    line("compress (base, fine), row x column", &default, Some(("2 read-sum", 2.0, &read)));

    let mut copy = vec![0.0_f32; n * n];
    for (name, options) in [("row", row()), ("row x column", PackOptions::new())] {
        let delta = PackedDelta::from_delta(w, &options).unwrap();
        let (mut out, mut own) = (vec![0.0_f32; n * n], base.clone());
        let [memcpy, materialize, apply] = measure(
            runs,
            [
                &mut || black_box(&mut copy).copy_from_slice(black_box(&base)),
                &mut || delta.materialize(black_box(w), MatMut::new(&mut out, n, n).unwrap()).unwrap(),
                &mut || delta.apply_to(MatMut::new(black_box(&mut own), n, n).unwrap()).unwrap(),
            ],
        );
        line(&format!("memcpy (beside {name})"), &memcpy, None);
        line(&format!("materialize, {name}"), &materialize, Some(("memcpy", 1.0, &memcpy)));
        line(&format!("apply_to, {name}"), &apply, Some(("memcpy", 1.0, &memcpy)));
    }
}

fn threads(n: usize, runs: usize) {
    let (rows, cols) = (n, 4 * n);
    let (delta, x) = (values(1, rows * cols), values(2, cols));
    let delta = MatRef::new(&delta, rows, cols).unwrap();
    let packed = PackedDelta::from_delta(delta, &row()).unwrap();
    let (mut a, mut b) = (vec![0.0; rows], vec![0.0; rows]);
    let (mut one, mut two) = (Workspace::new(), Workspace::new().threads(2));
    let pools = [1, 2].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    let [single, double, pack1, pack2] = measure(
        runs.div_ceil(2),
        [
            &mut || packed.matvec_acc(black_box(&x), &mut a, &mut one).unwrap(),
            &mut || pools[1].install(|| packed.matvec_acc(black_box(&x), &mut b, &mut two).unwrap()),
            &mut || pools[0].install(|| drop(black_box(PackedDelta::from_delta(delta, &row()).unwrap()))),
            &mut || pools[1].install(|| drop(black_box(PackedDelta::from_delta(delta, &row()).unwrap()))),
        ],
    );
    line(&format!("matvec {rows} x {cols}, 2 threads"), &double, Some(("1 thread", 1.0, &single)));
    line(&format!("pack {rows} x {cols}, 2 threads"), &pack2, Some(("1 thread", 1.0, &pack1)));
}

/// 39 tensors: 82 MB at 4096 x 4096.
fn files(n: usize, runs: usize) {
    let delta = PackedDelta::from_delta(MatRef::new(&values(1, n * n), n, n).unwrap(), &row()).unwrap();
    let names: Vec<String> = (0..39).map(|layer| format!("layers.{layer}.weight")).collect();
    let adapter = names.iter().fold(Adapter::builder(), |b, name| b.entry(name, delta.clone())).build().unwrap();
    let bytes = adapter.to_bytes().unwrap();
    let path = std::env::temp_dir().join(format!("hanzo-bench-{}.safetensors", std::process::id()));
    std::fs::write(&path, &bytes).unwrap();
    let (x, mut y, mut ws) = (values(2, n), vec![0.0; n], Workspace::new());
    #[allow(unsafe_code, reason = "nobody else knows the file")]
    // SAFETY: nobody else knows the file.
    let map = |verify| unsafe { Adapter::map(&path, ReadOptions::new().verify(verify)).unwrap() };
    let mut first = |verify| map(verify).bind_unchecked().matvec_acc(&names[20], &x, &mut y, &mut ws).unwrap();
    let [open] = measure(runs, [&mut || drop(black_box(map(Verify::Lazy)))]);
    let [lazy] = measure(runs, [&mut || first(Verify::Lazy)]);
    let [trusted] = measure(runs, [&mut || first(Verify::Trusted)]);
    let [read] = measure(runs.div_ceil(8), [&mut || drop(Adapter::open(&path, ReadOptions::new()).unwrap())]);
    std::fs::remove_file(&path).unwrap();
    println!("adapter of {} bytes, 39 tensors", bytes.len());
    line("map and parse", &open, None);
    line("map to first output, digest checked", &lazy, None);
    line("map to first output, digest on trust", &trusted, None);
    line("open (reads all)", &read, None);
}

fn cache(runs: usize) {
    let base = BaseDigest::from_bytes([1; 32]);
    let keys: Vec<AdapterKey> = (0..64).map(|i| AdapterKey::new(base, &format!("tenant-{i}"), 0)).collect();
    let store = MemoryStore::new();
    let adapter = Adapter::builder().base_digest(base).build().unwrap();
    keys.iter().for_each(|key| store.put(key.clone(), adapter.clone()));
    let cache = AdapterCache::new(Arc::new(store), CacheConfig::default());
    let [hits] = measure(
        runs,
        [&mut || (0..100).for_each(|_| keys.iter().for_each(|key| drop(black_box(cache.get(key).unwrap()))))],
    );
    let each = Times(hits.0.iter().map(|t| t / 6400.0).collect());
    println!("cache hit: {:.0} ns (median {:.0})", each.min() * 1e9, each.median() * 1e9);
}
