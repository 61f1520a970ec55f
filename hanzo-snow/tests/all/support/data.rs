//! Where the shared test data lies, and how its ids and traces are read.
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use hanzo_snow::{Params, Variant, VoteBag};
use serde_json::Value;

pub(crate) type Id = [u8; 32];

/// The lines of a data file, or `None` (with a line on stderr) where no data folder is named.
pub(crate) fn lines(name: &str) -> Option<Vec<Value>> {
    let text = text(name)?;
    Some(text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect())
}

pub(crate) fn text(name: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("HANZO_TEST_DATA") else {
        eprintln!("skipped: snow/{name}; set HANZO_TEST_DATA to the folder of the SDK's test data");
        return None;
    };
    let path = PathBuf::from(folder).join("snow").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    if name.ends_with(".gz") {
        GzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip of UTF-8");
    } else {
        text = String::from_utf8(bytes).expect("UTF-8");
    }
    Some(text)
}

pub(crate) fn id(value: &Value) -> Id {
    hash(value.as_str().expect("an id is text"))
}

pub(crate) fn hash(text: &str) -> Id {
    hex::decode(text).expect("hex").try_into().expect("32 bytes")
}

pub(crate) fn number<T: TryFrom<u64>>(value: &Value) -> T {
    let number = match value {
        Value::String(text) => text.parse().expect("a decimal number"),
        other => other.as_u64().expect("a number"),
    };
    T::try_from(number).ok().expect("in range")
}

pub(crate) fn votes(value: &Value) -> VoteBag<Id> {
    value.as_object().expect("votes").iter().map(|(id, count)| (hash(id), number(count))).collect()
}

/// Parameters of a trace: one condition or a list of them.
pub(crate) fn params(case: &Value) -> Params {
    let list = |field: &str| match &case[field] {
        Value::Array(items) => items.clone(),
        one => vec![one.clone()],
    };
    // Traces of polls are about thresholds alone and name no beta.
    let beta = |b: Value| if b.is_null() { 1 } else { number(&b) };
    let conditions = list("alpha_confidence").iter().zip(list("beta")).map(|(a, b)| (number(a), beta(b))).collect();
    thresholds(number(&case["k"]), number(&case["alpha_preference"]), conditions)
}

pub(crate) fn thresholds(k: u16, alpha_preference: u16, conditions: Vec<(u16, u32)>) -> Params {
    Params::builder()
        .k(k)
        .alpha_preference(alpha_preference)
        .conditions(conditions)
        .concurrent_repolls(1)
        .build()
        .expect("valid parameters")
}

pub(crate) fn variant(case: &Value) -> Variant {
    match case["variant"].as_str() {
        Some("snowball") => Variant::Snowball,
        Some("snowflake") => Variant::Snowflake,
        other => panic!("variant {other:?}"),
    }
}
