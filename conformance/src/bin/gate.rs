//! The checks of `.ci/run` that need to read cargo's own view of the workspace.
//!
//! - `gate features`: one line `CRATE FEATURE` for every feature of every published crate (`-` for none), for `cargo check`.
//! - `gate every`: cargo's arguments for every feature of the workspace that can be built here.
//! - `gate trees`: dependency budgets, no runtime, no C build and no sibling crate in a library's default tree, and equal
//!   version numbers in the root manifest and in each crate.
//! - `gate api`: which crates' types stand in public signatures, by rustdoc's JSON; a 0.x crate that is not on the list is an error.

use std::collections::BTreeSet;
use std::process::{Command, ExitCode};

#[path = "gate/api.rs"]
mod api;

use serde_json::Value;

/// Distinct normal crates in the default tree, the crate itself not counted.
const BUDGETS: &[(&str, usize)] = &[
    ("hanzo-hmm", 30),
    ("hanzo-bitdelta", 25),
    ("hanzo-pqc", 45),
    ("hanzo-metering", 20),
    ("hanzo-poai", 20),
    ("hanzo-experience", 30),
    ("hanzo-snow", 24),
];
const FACADE: (&str, usize) = ("hanzo", 100);
/// Crates that bring a runtime, a C toolchain or OpenSSL. `cc` alone is fine: with `pure`, blake3's build script never calls it.
const FORBIDDEN: &[&str] = &["tokio", "async-std", "smol", "cmake", "bindgen", "openssl"];

/// Features that compile C: they are checked where a C compiler is found. (The benches' feature of the name forwards to the crate's.)
const NEEDS_C: &[(&str, &str)] = &[("hanzo-pqc", "aws-lc")];

fn main() -> ExitCode {
    if let Some(code) = api::as_rustdoc() {
        return code;
    }
    let result = match std::env::args().nth(1).as_deref() {
        Some("features") => features(),
        Some("every") => every(),
        Some("trees") => trees(),
        Some("api") => api::check(),
        _ => Err("usage: gate features|every|trees|api".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("gate: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn features() -> Result<(), String> {
    for package in published()? {
        let name = text(&package, "name")?;
        println!("{name} -");
        let features = package["features"].as_object().ok_or("no feature table")?;
        let mut names: Vec<&String> = features.keys().collect();
        names.sort();
        for feature in names {
            if NEEDS_C.contains(&(name, feature)) && !c_compiler() {
                eprintln!("skipped: {name} {feature}, which needs a C compiler");
            } else {
                println!("{name} {feature}");
            }
        }
    }
    Ok(())
}

/// `--all-features`, or where no C compiler is found a list of the features of the published crates that do without.
fn every() -> Result<(), String> {
    println!("{}", every_feature()?);
    Ok(())
}

fn every_feature() -> Result<String, String> {
    if c_compiler() {
        return Ok("--all-features".to_owned());
    }
    let mut list = Vec::new();
    for package in published()? {
        let name = text(&package, "name")?;
        let features = package["features"].as_object().ok_or("no feature table")?;
        for feature in features.keys() {
            if NEEDS_C.contains(&(name, feature)) {
                eprintln!("skipped: {name} {feature}, which needs a C compiler");
            } else {
                list.push(format!("{name}/{feature}"));
            }
        }
    }
    Ok(format!("--features={}", list.join(",")))
}

/// The compiler that the build script of aws-lc-sys would call.
fn c_compiler() -> bool {
    let program = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn trees() -> Result<(), String> {
    for (name, budget) in BUDGETS {
        let tree = tree(&["-p", name, "-e", "normal"])?;
        within(name, &tree, *budget)?;
        if let Some(sibling) = tree.iter().find(|c| c.starts_with("hanzo-") && !c.starts_with(&format!("{name} "))) {
            return Err(format!("{name}: names the sibling {sibling}"));
        }
        clean(name, &crate::tree(&["-p", name, "-e", "normal,build"])?)?;
    }
    let (name, budget) = FACADE;
    let full = tree(&["-p", name, "-e", "normal", "--features", "full"])?;
    within("hanzo (full)", &full, budget)?;
    clean(name, &tree(&["-p", name, "-e", "normal,build", "--features", "full"])?)?;
    versions_agree()
}

fn within(name: &str, tree: &BTreeSet<String>, budget: usize) -> Result<(), String> {
    let others = tree.len() - 1;
    println!("{name}: {others} crates (budget {budget})");
    if others > budget { Err(format!("{name}: {others} crates, the budget is {budget}")) } else { Ok(()) }
}

fn clean(name: &str, tree: &BTreeSet<String>) -> Result<(), String> {
    for line in tree {
        let dependency = line.split(' ').next().unwrap_or_default();
        if FORBIDDEN.contains(&dependency) || dependency.ends_with("-sys") {
            return Err(format!("{name}: the default tree holds {line}"));
        }
    }
    Ok(())
}

/// A path dependency's version in the root manifest is what a published crate would ask for.
fn versions_agree() -> Result<(), String> {
    let packages = published()?;
    for package in &packages {
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let wanted = text(dependency, "name")?;
            if let Some(target) = packages.iter().find(|p| p["name"] == wanted) {
                let (asked, has) = (text(dependency, "req")?, text(target, "version")?);
                if asked.trim_start_matches('^') != has {
                    return Err(format!("{} asks for {wanted} {asked}, the workspace has {has}", package["name"]));
                }
            }
        }
    }
    Ok(())
}

/// `name version` of every distinct crate in a `cargo tree`.
fn tree(arguments: &[&str]) -> Result<BTreeSet<String>, String> {
    let listing = cargo(&[&["tree", "--locked", "--prefix", "none", "--no-dedupe"], arguments].concat())?;
    Ok(listing
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some(format!("{} {}", words.next()?, words.next()?))
        })
        .collect())
}

fn published() -> Result<Vec<Value>, String> {
    let metadata = cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1"])?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|e| e.to_string())?;
    let packages = metadata["packages"].as_array().ok_or("no packages")?;
    // `publish` is null for a package that may go anywhere and an empty list for one that stays here.
    Ok(packages.iter().filter(|p| p["publish"].is_null()).cloned().collect())
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value[key].as_str().ok_or_else(|| format!("metadata without `{key}`"))
}

fn cargo(arguments: &[&str]) -> Result<String, String> {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(program).args(arguments).output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    String::from_utf8(output.stdout).map_err(|e| e.to_string())
}
