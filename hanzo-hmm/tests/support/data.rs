//! Shared test data: reading and comparing.
#![allow(dead_code, reason = "each test file uses its part")]

use serde_json::Value;

/// A JSON file of the data folder that `HANZO_TEST_DATA` names; `None`, with a line on stderr, when it is not set.
pub(crate) fn load(path: &str) -> Option<Value> {
    let Some(folder) = std::env::var_os("HANZO_TEST_DATA") else {
        eprintln!("skipped: {path}; set HANZO_TEST_DATA to the folder of the SDK's test data");
        return None;
    };
    let file = std::path::Path::new(&folder).join(path);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Some(serde_json::from_str(&text).unwrap())
}

/// A number, or one written as a string of many digits.
pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("not a number: {value}"))
}

/// All numbers of an array, whatever its depth.
pub(crate) fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(flat).collect(),
        other => vec![number(other)],
    }
}

pub(crate) fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

pub(crate) fn matrix(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(flat).collect()
}

pub(crate) fn usizes(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
}

/// Largest absolute difference.
pub(crate) fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

pub(crate) fn relative(a: f64, b: f64) -> f64 {
    (a - b).abs() / b.abs()
}

/// Relative above 1, absolute below: trained likelihoods may reach 1, whose log is rounding alone.
pub(crate) fn mixed(a: f64, b: f64) -> f64 {
    (a - b).abs() / b.abs().max(1.0)
}
