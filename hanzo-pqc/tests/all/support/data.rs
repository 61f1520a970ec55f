//! Vector files, and a generator that plays back chosen bytes.
#![allow(dead_code, reason = "shared by several test programs, none of which uses all of it")]

use std::convert::Infallible;
use std::{env, fs, path::PathBuf};

use hanzo_pqc::rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;

/// A file under `pqc` of the test data; `None`, with a line that says so, where no test data is set.
pub(crate) fn load(name: &str) -> Option<Value> {
    let Some(root) = env::var_os("HANZO_TEST_DATA") else {
        eprintln!("skipped: pqc/{name}; set HANZO_TEST_DATA to the folder of the SDK's test data");
        return None;
    };
    let path = PathBuf::from(root).join("pqc").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Some(serde_json::from_str(&text).unwrap())
}

pub(crate) fn cases(file: &Value) -> &Vec<Value> {
    file["cases"].as_array().unwrap()
}

pub(crate) fn bytes(case: &Value, key: &str) -> Vec<u8> {
    hex::decode(case[key].as_str().unwrap_or_else(|| panic!("no {key}"))).unwrap()
}

pub(crate) fn array<const N: usize>(case: &Value, key: &str) -> [u8; N] {
    bytes(case, key).try_into().unwrap()
}

pub(crate) fn number(case: &Value, key: &str) -> u64 {
    case[key].as_u64().unwrap_or_else(|| panic!("no {key}"))
}

/// Plays back bytes; drawing more than there are fails the test.
pub(crate) struct Script(Vec<u8>);

impl Script {
    pub(crate) fn new(parts: &[&[u8]]) -> Self {
        Self(parts.concat())
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut word = [0; 4];
        self.try_fill_bytes(&mut word)?;
        Ok(u32::from_le_bytes(word))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut word = [0; 8];
        self.try_fill_bytes(&mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        assert!(dst.len() <= self.0.len(), "script is too short");
        dst.copy_from_slice(&self.0[..dst.len()]);
        self.0.drain(..dst.len());
        Ok(())
    }
}

impl TryCryptoRng for Script {}
