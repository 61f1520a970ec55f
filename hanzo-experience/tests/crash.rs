//! What a store acknowledged is there after its process was killed, and nothing half-written is served. A program of its own: a process that
//! is being started holds, for a moment, the locks of all files that are open in the one that starts it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "all/support/history.rs"]
#[allow(dead_code, reason = "other programs use the rest")]
mod history;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hanzo_experience::store::{Durable, FileStore, Store};

use history::{Folder, config, history, step};

/// The process that the kill tests start: applies steps without end and says which are acknowledged.
fn write_until_killed<S: Store>(store: S)
where
    S::Error: std::fmt::Debug,
{
    let mut durable = Durable::open(config(), store).unwrap();
    let done = durable.library().entries().last().map_or(0, |entry| entry.at() - 1_000 + 1);
    for n in done.. {
        durable.update(|library| step(library, n)).unwrap();
        println!("acknowledged {n}");
    }
}

#[test]
#[ignore = "started by the kill tests"]
fn child() {
    let Some(path) = std::env::var_os("HANZO_EXPERIENCE_CHILD") else { return };
    match std::env::var("HANZO_EXPERIENCE_STORE").as_deref() {
        #[cfg(feature = "redb")]
        Ok("redb") => write_until_killed(hanzo_experience::store::RedbStore::open(path).unwrap()),
        _ => write_until_killed(FileStore::open(path).unwrap()),
    }
}

/// Kills a writing process at several moments; after each, the store holds every acknowledged step and at most one more.
fn survives_kills<S: Store>(kind: &str, path: &Path, open: impl Fn() -> S)
where
    S::Error: std::fmt::Debug,
{
    let (mut acknowledged, mut found) = (None, None);
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--ignored", "--nocapture"])
            .env("HANZO_EXPERIENCE_CHILD", path)
            .env("HANZO_EXPERIENCE_STORE", kind)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            let numbers = output.lines().map_while(Result::ok);
            let numbers = numbers.filter_map(|line| line.rsplit_once("acknowledged ")?.1.trim().parse::<u64>().ok());
            numbers.last()
        });
        std::thread::sleep(Duration::from_micros(60_000 + round * 7_919 % 23_000));
        child.kill().unwrap();
        child.wait().unwrap();
        // What was found after the last kill is not written again.
        acknowledged = reader.join().unwrap().or(acknowledged).max(found);

        let durable = Durable::open(config(), open()).unwrap();
        let library = durable.library();
        let kept = library.entries().last().map(|entry| entry.at() - 1_000);
        assert!(kept >= acknowledged, "{kind}: {acknowledged:?} was acknowledged, {kept:?} is kept");
        assert!(kept <= Some(acknowledged.map_or(0, |n| n + 1)), "{kept:?} after {acknowledged:?}");
        assert_eq!(*library, history(kept.map_or(0, |n| n + 1)), "{kind}");
        found = kept;
    }
    println!("{kind}: 12 kills, {} steps kept", acknowledged.map_or(0, |n| n + 1));
    assert!(acknowledged.is_some(), "{kind}: nothing was ever acknowledged");
}

/// One test, since a process that another thread is about to start would share the locks of this one for a moment.
#[test]
fn what_was_acknowledged_survives_kills() {
    let folder = Folder::new("kill");
    let path = folder.file("library.hxs");
    survives_kills("file", &path, || FileStore::open(&path).unwrap());
    #[cfg(feature = "redb")]
    {
        let path = folder.file("library.redb");
        survives_kills("redb", &path, || hanzo_experience::store::RedbStore::open(&path).unwrap());
    }
}
