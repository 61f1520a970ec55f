//! Whose types a crate's users meet. rustdoc writes that as JSON only with its unstable options, which a stable compiler allows with `RUSTC_BOOTSTRAP`; that must
//! not reach the build scripts of dependencies, so this program stands in for rustdoc and sets it for rustdoc alone.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, ExitCode};

use serde_json::Value;

use crate::{cargo, every_feature, published, text, tree};

/// Crates whose types may stand in public signatures though their version starts with 0, or which hold traits of the language's own kind. Each crate re-exports
/// those it uses.
const ALLOWED: &[&str] = &["alloc", "core", "std", "digest", "kem", "rand_core", "serde", "serde_core", "signature"];
/// The same for one crate alone, with the reason.
const ALLOWED_IN: &[(&str, &str, &str)] = &[
    ("hanzo-pqc", "crypto_common", "the traits of `kem` 0.3 are partly its"),
    ("hanzo-pqc", "hybrid_array", "sizes in the traits of `kem` 0.3"),
];

const STAND_IN: &str = "HANZO_GATE_RUSTDOC";

/// Runs rustdoc in the place of this program, where cargo was told to call it so.
pub(crate) fn as_rustdoc() -> Option<ExitCode> {
    let rustdoc = std::env::var_os(STAND_IN)?;
    let status = Command::new(rustdoc).args(std::env::args_os().skip(1)).env("RUSTC_BOOTSTRAP", "1").status();
    Some(if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn check() -> Result<(), String> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1"])?)
            .map_err(|e| e.to_string())?;
    let docs = format!("{}/doc", text(&metadata, "target_directory")?);
    let myself = std::env::current_exe().map_err(|e| e.to_string())?;
    let every = every_feature()?;
    // All in one call, the selection and features of the step that writes the documentation, so that what that has built is used again.
    let output = Command::new("cargo")
        .args(["doc", "--locked", "--quiet", "--no-deps", "--lib", "--workspace", "--exclude", "hanzo-benches", &every])
        .env(STAND_IN, std::env::var_os("RUSTDOC").unwrap_or_else(|| "rustdoc".into()))
        .env("RUSTDOC", &myself)
        .env("RUSTDOCFLAGS", "-Zunstable-options --output-format json")
        .output()
        .map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(format!("rustdoc: {}", String::from_utf8_lossy(&output.stderr)));
    }
    for package in published()? {
        let name = text(&package, "name")?;
        let features = own_features(&every, name);
        let file = format!("{docs}/{}.json", name.replace('-', "_"));
        let json = std::fs::read(&file).map_err(|e| format!("{file}: {e}"))?;
        let json: Value = serde_json::from_slice(&json).map_err(|e| format!("{file}: {e}"))?;
        let zero = zero_versions(name, &features)?;
        let Some(foreign) = foreign(&json) else {
            println!("skipped: {name}, because this rustdoc's JSON has a form that the check does not know");
            continue;
        };
        judge(name, &zero, &foreign)?;
    }
    Ok(())
}

/// The features of `every` that belong to one package.
fn own_features(every: &str, name: &str) -> String {
    let Some(list) = every.strip_prefix("--features=") else { return every.to_owned() };
    let mine = list.split(',').filter_map(|feature| feature.strip_prefix(name)?.strip_prefix('/'));
    format!("--features={}", mine.collect::<Vec<_>>().join(","))
}

/// The crates in the tree of a package whose only version starts with 0, by the name that code gives them.
fn zero_versions(name: &str, features: &str) -> Result<BTreeSet<String>, String> {
    let tree = tree(&["-p", name, "-e", "normal", features])?;
    let split = |line: &String| {
        line.split_once(" v").map(|(name, version)| (name.replace('-', "_"), version.starts_with("0.")))
    };
    let stable: BTreeSet<String> =
        tree.iter().filter_map(split).filter(|(_, zero)| !zero).map(|(name, _)| name).collect();
    Ok(tree.iter().filter_map(split).map(|(name, _)| name).filter(|name| !stable.contains(name)).collect())
}

fn judge(name: &str, zero: &BTreeSet<String>, foreign: &BTreeMap<String, BTreeSet<String>>) -> Result<(), String> {
    let list: Vec<&str> = foreign.keys().map(String::as_str).collect();
    println!("{name}: {}", if list.is_empty() { "its own types only".to_owned() } else { list.join(", ") });
    for (dependency, items) in foreign {
        let allowed = !zero.contains(dependency)
            || ALLOWED.contains(&dependency.as_str())
            || dependency.starts_with("hanzo_")
            || ALLOWED_IN.iter().any(|(user, used, _)| *user == name && used == dependency);
        if !allowed {
            let where_ = items.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            return Err(format!("{name}: types of {dependency} 0.x are public: {where_}"));
        }
    }
    Ok(())
}

/// The other crates whose items public ones name, each with the items that do; `None` for a form of JSON that is not as expected.
fn foreign(json: &Value) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let (paths, crates) = (json["paths"].as_object()?, json["external_crates"].as_object()?);
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for item in json["index"].as_object()?.values() {
        let implementation = &item["inner"]["impl"];
        let given = !implementation["blanket_impl"].is_null() || implementation["is_synthetic"] == true;
        if item["crate_id"] != 0 || given {
            continue;
        }
        let mut used = BTreeSet::new();
        references(&item["inner"], &mut used);
        for id in used {
            let Some(path) = paths.get(&id.to_string()) else { continue };
            let home = path["crate_id"].as_u64()?;
            if home != 0 {
                let name = crates.get(&home.to_string())?["name"].as_str()?;
                let by = item["name"].as_str().map_or_else(|| implementation["for"].to_string(), str::to_owned);
                found.entry(name.to_owned()).or_default().insert(by.chars().take(80).collect());
            }
        }
    }
    found.retain(|name, _| !matches!(name.as_str(), "alloc" | "core" | "std"));
    Some(found)
}

/// The ids of the types and traits that a signature names.
fn references(value: &Value, used: &mut BTreeSet<u64>) {
    match value {
        Value::Object(map) => {
            if let (Some(id), true) = (map.get("id").and_then(Value::as_u64), map.contains_key("path")) {
                used.insert(id);
            }
            map.values().for_each(|value| references(value, used));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, used)),
        _ => {}
    }
}
