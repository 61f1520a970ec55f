//! Claims about 1-bit deltas, answered by `hanzo-bitdelta`.

use std::sync::Arc;

use hanzo::bitdelta::{
    Adapter, AdapterCache, AdapterKey, BaseDigest, CacheConfig, Dtype, Granularity, MatRef, MemoryStore, PackOptions,
    PackedDelta, PriorStream, ReadOptions, ScaleDtype, StorageAccount,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rand_distr::{Distribution as _, StandardNormal};

use crate::Result;
use crate::row::{Row, Setting, Verdict, at_least, at_most, equal, microseconds, near};

/// Columns of a weight matrix of a model of the sources' size, and rows that suffice for ratios.
const COLUMNS: usize = 4_096;
const ROWS: usize = 64;

pub(crate) fn rows(setting: Setting) -> Result<Vec<Row>> {
    let delta = gaussian(setting.seed, ROWS * COLUMNS);
    Ok(vec![
        thirty_two(&delta)?,
        minimal_loss(&delta)?,
        mean_is_best(&delta)?,
        priors(&delta)?,
        gigabytes(),
        cache_of_100()?,
        retrieval(setting)?,
    ])
}

fn gaussian(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
}

fn packed(delta: &[f32], options: &PackOptions) -> Result<PackedDelta> {
    Ok(PackedDelta::from_delta(MatRef::new(delta, delta.len() / COLUMNS, COLUMNS)?, options)?)
}

fn thirty_two(delta: &[f32]) -> Result<Row> {
    let by_row = packed(delta, &PackOptions::new().granularity(Granularity::Row))?;
    let block = |columns| -> Result<PackedDelta> {
        packed(delta, &PackOptions::new().granularity(Granularity::block(columns)?).scale_dtype(ScaleDtype::F16))
    };
    let forms = [by_row, block(256)?, block(128)?];
    let ratios = |source| forms.each_ref().map(|form| form.storage(source).ratio());
    let (wide, narrow) = (ratios(Dtype::F32), ratios(Dtype::F16));
    let shown = |ratios: [f64; 3]| ratios.map(|ratio| format!("{ratio:.2}")).join(", ");
    Ok(Row::new(
        "000 3.2, eq. 8",
        "1-bit adapters achieve 32x compression",
        format!(
            "{COLUMNS} columns, signs and scales (f32 a row, f16 per 256, f16 per 128): {} times smaller than f32, {} times \
             smaller than f16",
            shown(wide),
            shown(narrow)
        ),
        Verdict::Corrected(format!(
            "{} from f32, {} from the 16-bit weights that models have: the limits are 32 and 16, before any scale",
            shown(wide),
            shown(narrow)
        )),
    )
    .when([at_least(wide[0], 32.0), at_least(narrow[0], 32.0)], Verdict::Holds)
    .when([at_least(wide[0], 32.0)], Verdict::Under("against f32".into())))
}

fn minimal_loss(delta: &[f32]) -> Result<Row> {
    let lost = |planes| -> Result<f64> {
        let options = PackOptions::new().granularity(Granularity::Row).planes(planes);
        Ok(packed(delta, &options)?.fidelity(MatRef::new(delta, ROWS, COLUMNS)?)?.relative_energy())
    };
    let (one, two) = (lost(1)?, lost(2)?);
    Ok(Row::new(
        "000 3.2; 002 5",
        "with minimal quality loss, negligible loss in downstream utility",
        format!(
            "a Gaussian delta loses {:.1} % of its energy at 1 bit and {:.1} % at 2 bits (theory of 1 bit: 1 - 2/pi = {:.1} %)",
            100.0 * one,
            100.0 * two,
            100.0 * (1.0 - core::f64::consts::FRAC_2_PI)
        ),
        Verdict::Holds,
    )
    .when(
        [at_least(one, 0.01)],
        Verdict::Untestable(
            "the sources name neither a model nor a measure, and the weights alone do not tell: what is lost of them is not \
             small, and what a model loses is to be measured (`compress_adapter` does, per tensor and packing)"
                .into(),
        ),
    ))
}

fn mean_is_best(delta: &[f32]) -> Result<Row> {
    let tensor = packed(delta, &PackOptions::new().granularity(Granularity::Tensor))?;
    let alpha = tensor.scales()[0];
    let mean = delta.iter().map(|d| f64::from(d.abs())).sum::<f64>() / delta.len() as f64;
    let energy = |factor: f32| -> Result<f64> {
        Ok(tensor.with_scales(&[alpha * factor])?.fidelity(MatRef::new(delta, ROWS, COLUMNS)?)?.relative_energy())
    };
    let (best, less, more) = (energy(1.0)?, energy(0.99)?, energy(1.01)?);
    Ok(Row::new(
        "002 eq. 2; 000 eq. 8",
        "alpha is the mean of the absolute values (000: learned)",
        format!(
            "alpha {alpha:.6}, mean |delta| {mean:.6}; energy lost {best:.6}, with alpha 1 % less {less:.6}, 1 % more {more:.6}"
        ),
        Verdict::Corrected("another alpha loses less".into()),
    )
    .when(
        [near(f64::from(alpha), mean, 1e-6), at_least(less, best), at_least(more, best)],
        Verdict::Under(
            "as the scale closest in the squares of the weights; one fitted to outputs is another (`fit`, `distill`)".into(),
        ),
    ))
}

/// Length of an embedding in the sources.
const VECTOR: usize = 768;

fn priors(delta: &[f32]) -> Result<Row> {
    let mut stream = PriorStream::default();
    // Whole tiles of 16 rows, so that no padding counts.
    let rows = delta.len() / VECTOR / 16 * 16;
    stream.add("bucket", MatRef::new(&delta[..rows * VECTOR], rows, VECTOR)?)?;
    let account = stream.emit()?.storage()?;
    let one = PackOptions::new().granularity(Granularity::Tensor);
    let tensor = packed(delta, &one)?.storage(Dtype::F32).ratio();
    let ratio = account.ratio();
    Ok(Row::new(
        "002 abstract, 5",
        "1-bit quantization of priors saves 29.5x storage (one scale a matrix, eq. 2)",
        format!(
            "one f32 scale per 384 values of f32: {ratio:.2} times smaller; one scale a matrix as in eq. 2: {tensor:.2}"
        ),
        Verdict::Corrected(format!("{ratio:.2}")),
    )
    .when([near(tensor, 29.5, 0.05)], Verdict::Holds)
    .when(
        [near(ratio, 29.5, 0.05)],
        Verdict::Under("against f32, payload only, and a scale per 384 values, which the source does not say".into()),
    ))
}

fn gigabytes() -> Row {
    let account = StorageAccount::new().with_bytes(2_400_000_000, 82_000_000);
    let (payload, carried) = (account.ratio(), account.with_transport_overhead_bp(1_200).ratio());
    Row::new(
        "002 10.2",
        "2.4 GB to 82 MB is 29.3x; with 12 % of IPFS overhead about 26x",
        format!("{payload:.2} and {carried:.2} by the crate's account of storage"),
        Verdict::Corrected(format!("{payload:.2} and {carried:.2}")),
    )
    .when(
        [near(payload, 29.3, 0.05), near(carried, 26.0, 0.5)],
        Verdict::Under("against f32; half of it from f16".into()),
    )
}

/// A base model of no weights: adapters are kept by the model they belong to.
const BASE: BaseDigest = BaseDigest::from_bytes([0; 32]);

/// An adapter of one matrix.
fn adapter(rows: usize, seed: u64) -> Result<Adapter> {
    let delta = packed(&gaussian(seed, rows * COLUMNS), &PackOptions::new())?;
    Ok(Adapter::builder().base_digest(BASE).entry("w", delta).build()?)
}

fn key(number: usize) -> AdapterKey {
    AdapterKey::new(BASE, &format!("user-{number}"), 0)
}

fn cache_of_100() -> Result<Row> {
    const USERS: usize = 150;
    let store = MemoryStore::new();
    let one = adapter(1, 0)?;
    (0..USERS).for_each(|user| store.put(key(user), one.clone()));
    let cache = AdapterCache::new(store, CacheConfig::default());
    for user in 0..USERS {
        cache.get(&key(user))?;
    }
    let held = (0..USERS).filter(|user| cache.peek(&key(*user)).is_some()).count();
    Ok(Row::new(
        "000 3.3, B.1",
        "LRU cache for hot adapters (default: 100 entries)",
        format!("{USERS} adapters used one after the other: {held} held by a cache of default settings"),
        Verdict::Corrected(format!("{held} are held")),
    )
    .when(
        [equal(held as f64, 100.0)],
        Verdict::Under("bounded and by recency; a scan of cold adapters does not evict hot ones".into()),
    )
    .when(
        [at_most(held as f64, 100.0), at_least(held as f64, 90.0)],
        Verdict::Corrected(format!(
            "at most 100: {held} of these, each of which counts as its share of 512 MiB, rounded up; not strictly the last used"
        )),
    ))
}

fn retrieval(setting: Setting) -> Result<Row> {
    let rows = setting.pick(2_048, 256);
    let adapter = adapter(rows, setting.seed)?;
    let bytes: Arc<[u8]> = adapter.to_bytes()?.into();
    let store = MemoryStore::new();
    store.put(key(0), adapter);
    let cache = AdapterCache::new(store, CacheConfig::default());
    cache.get(&key(0))?;
    Adapter::from_bytes(bytes.clone(), ReadOptions::default())?.verify()?;
    let rounds = setting.pick(15, 5);
    let resident = microseconds(rounds, 1_000, |_| cache.get(&key(0)));
    let cold = microseconds(rounds, 1, |_| {
        let read = Adapter::from_bytes(bytes.clone(), ReadOptions::default());
        read.is_ok_and(|adapter| adapter.verify().is_ok())
    });
    let mega = bytes.len() as f64 / 1e6;
    let rate = bytes.len() as f64 / cold;
    Ok(Row::new(
        "000 table 6",
        "adapter retrieval 0.3 ms",
        format!("from the cache {resident:.2} us; {mega:.1} MB checked from its bytes {cold:.0} us ({rate:.0} MB/s)"),
        Verdict::Corrected(format!("{resident:.0} us from the cache on this machine")),
    )
    .when(
        [at_most(resident, 300.0)],
        Verdict::Under(format!(
            "the adapter is in the cache; the 82 MB of 002 read and checked would take {:.0} ms at that rate",
            82e6 / rate / 1e3
        )),
    )
    .timed())
}
