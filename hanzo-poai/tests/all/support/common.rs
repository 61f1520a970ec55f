//! Shared by the tests: data files, hex, and parties with ML-DSA-65 keys.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use hanzo_poai::{
    Attestation, AttestationBuilder, ChainId, DType, Environment, Epoch, JobId, JobSpec, Millis, ModelHash, PartyId,
    Suite,
};
use ml_dsa::{B32, MlDsa65, Signature, SigningKey, VerifyingKey};
use serde_json::Value;

pub(crate) type Sig = Signature<MlDsa65>;
pub(crate) type Directory = BTreeMap<(PartyId, Suite), VerifyingKey<MlDsa65>>;

/// A file of the shared data; `None`, with a line that says so, where the folder is not set.
pub(crate) fn data(file: &str) -> Option<String> {
    let Ok(folder) = std::env::var("HANZO_TEST_DATA") else {
        eprintln!("skipped: {file}; set HANZO_TEST_DATA to the folder of the SDK's test data");
        return None;
    };
    let path = PathBuf::from(folder).join("poai").join(file);
    Some(std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

pub(crate) fn json(file: &str) -> Option<Value> {
    data(file).map(|text| serde_json::from_str(&text).unwrap())
}

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

pub(crate) fn hash<T: From<[u8; 32]>>(value: &Value) -> T {
    T::from(<[u8; 32]>::try_from(bytes(value)).unwrap())
}

/// A hash for which zero means absent.
pub(crate) fn absent<T: From<[u8; 32]>>(value: &Value) -> Option<T> {
    let raw: [u8; 32] = bytes(value).try_into().unwrap();
    (raw != [0; 32]).then(|| T::from(raw))
}

/// A number, or a decimal string where it may pass 2^53.
pub(crate) fn number<T: std::str::FromStr>(value: &Value) -> T
where
    T::Err: std::fmt::Debug,
{
    match value {
        Value::String(text) => text.parse().unwrap(),
        other => other.to_string().parse().unwrap(),
    }
}

pub(crate) fn party(name: u8) -> PartyId {
    PartyId::new([name; 32])
}

pub(crate) const CHAIN: ChainId = ChainId::new([0xc4; 32]);
pub(crate) const MODEL: ModelHash = ModelHash::new([0x30; 32]);
pub(crate) const INPUT: [u8; 32] = [0x11; 32];
pub(crate) const EPOCH: Epoch = Epoch::new(9);

pub(crate) fn key(name: u8) -> SigningKey<MlDsa65> {
    SigningKey::from_seed(&B32::from([name; 32]))
}

pub(crate) fn directory(names: impl IntoIterator<Item = u8>) -> Directory {
    use ml_dsa::signature::Keypair as _;
    names.into_iter().map(|name| ((party(name), Suite::ML_DSA_65), key(name).verifying_key())).collect()
}

pub(crate) fn spec() -> JobSpec {
    JobSpec::builder(MODEL, INPUT).dtype(DType::Integer).max_tokens(64).sla_ms(10_000).max_price(1_000).build().unwrap()
}

pub(crate) fn reproducible() -> Environment {
    Environment {
        dtype: DType::Integer,
        batch_invariant: true,
        fixed_reduction_order: true,
        kernel_class: 1,
        tensor_parallel: 1,
        device_class: 2,
        runtime: [0x77; 32],
    }
}

/// A plausible attestation of `spec()` with sequence number 0.
pub(crate) fn claim(worker: u8, job: JobId) -> AttestationBuilder {
    Attestation::builder()
        .suite(Suite::ML_DSA_65)
        .chain(CHAIN)
        .epoch(EPOCH)
        .worker(party(worker))
        .job(job)
        .input(INPUT)
        .output([0x22; 32])
        .model(MODEL)
        .environment(reproducible().hash())
        .started(Millis::new(5))
        .duration_us(2_000_000)
        .gpu_util_ppm(500_000)
        .flops(1_000_000_000)
        .tokens_in(10)
        .tokens_out(20)
}

/// A chain of `count` attestations of different jobs.
pub(crate) fn chain(worker: u8, count: usize) -> Vec<Attestation> {
    let mut done: Vec<Attestation> = Vec::new();
    for seq in 0..count as u64 {
        let job = spec().job_id(&CHAIN, &party(1), seq);
        let next = claim(worker, job).seq(seq).prev(done.last().map(Attestation::hash));
        done.push(next.build().unwrap());
    }
    done
}
