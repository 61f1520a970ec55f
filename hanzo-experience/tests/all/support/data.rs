//! The files of the data folder, which `HANZO_TEST_DATA` names, and their members.

#![allow(dead_code, reason = "each test file reads some kinds of members")]

use std::path::PathBuf;

use hanzo_experience::merkle::Hash;
use serde_json::Value;

/// The JSON file `name` of the data folder, or none where no folder is named.
pub(crate) fn data(name: &str) -> Option<Value> {
    let Some(folder) = std::env::var_os("HANZO_TEST_DATA") else {
        eprintln!("skipped: experience/{name}; set HANZO_TEST_DATA to the folder of the SDK's test data");
        return None;
    };
    let path = PathBuf::from(folder).join("experience").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(serde_json::from_slice(&bytes).expect("data file is JSON"))
}

pub(crate) fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("{member} is not a string"))
}

pub(crate) fn number(value: &Value, member: &str) -> u64 {
    value[member].as_u64().unwrap_or_else(|| panic!("{member} is not an integer"))
}

pub(crate) fn bytes(value: &Value, member: &str) -> Vec<u8> {
    hex::decode(text(value, member)).expect("hex")
}

pub(crate) fn hash(value: &Value, member: &str) -> Hash {
    text(value, member).parse().expect("hash in hex")
}

pub(crate) fn hashes(value: &Value, member: &str) -> Vec<Hash> {
    let hashes = list(value, member).iter().map(|hash| hash.as_str().expect("hash"));
    hashes.map(|hash| hash.parse().expect("hash in hex")).collect()
}
