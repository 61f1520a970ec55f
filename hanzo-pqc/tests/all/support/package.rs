//! Files inside the package of a dependency, where the registry's copy of it lies: nothing of it is repeated here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::path::PathBuf;
use std::process::Command;

/// The folder of a package in the dependency tree of the crate under test; a missing package fails the test.
pub(crate) fn folder(name: &str, features: &[&str]) -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--locked", "--features", &features.join(",")]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let found = packages.iter().find(|package| package["name"] == name);
    let manifest = found.unwrap_or_else(|| panic!("{name} is not in the tree"))["manifest_path"].as_str().unwrap();
    PathBuf::from(manifest).with_file_name("")
}
