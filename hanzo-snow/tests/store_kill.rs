//! A process that is killed (SIGKILL) while it commits loses nothing that it has acknowledged, and leaves no append half done. A program
//! of its own: a process that is being started holds, for a moment, the locks of all files that are open in the one that starts it.
#![cfg(all(feature = "redb", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hanzo_snow::{Block, BlockRef, BlockStore, Entry, EntryKind, Record, RedbStore};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Names the file to the process that writes; without it that test does nothing.
const FILE: &str = "HANZO_SNOW_TEST_FILE";
/// Blocks and entries of one append.
const TOGETHER: u64 = 4;

fn id(number: u64) -> [u8; 32] {
    let mut id = [0xa5; 32];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    id
}

fn header(height: u64) -> BlockRef<[u8; 32]> {
    BlockRef { id: id(height), parent: id(height - 1), height }
}

/// Append `number` holds heights `TOGETHER * number + 1` and on: each with a block and an entry, the last as the tip, and the entries
/// of the append three before are forgotten.
fn append(number: u64) -> Vec<Record<[u8; 32]>> {
    let heights = TOGETHER * number + 1..=TOGETHER * (number + 1);
    let mut records = Vec::new();
    for height in heights.clone() {
        let bytes = vec![height as u8; 200 + (height % 7) as usize * 100];
        records.push(Record::Block(Block { header: header(height), bytes: bytes.into() }));
        let bytes = height.to_be_bytes().to_vec();
        let entry = Entry { kind: EntryKind::Ack, number: height, id: id(height), bytes: bytes.into() };
        records.push(Record::Entry(entry));
    }
    records.push(Record::Tip(header(*heights.end())));
    let below = heights.start().saturating_sub(3 * TOGETHER);
    records.push(Record::Forget { kind: EntryKind::Ack, below });
    records
}

/// Appends in a file, or nothing; panics where an append is there in part.
fn appends(path: &Path) -> u64 {
    let store = RedbStore::open(path).unwrap();
    let tip = store.tip().unwrap().map_or(0, |tip| tip.height);
    assert_eq!(tip % TOGETHER, 0, "half an append");
    let count = tip / TOGETHER;
    for height in 1..=tip {
        let bytes = store.get(&id(height)).unwrap().expect("a block is lost");
        assert_eq!(bytes, vec![height as u8; 200 + (height % 7) as usize * 100]);
    }
    assert_eq!(store.get(&id(tip + 1)).unwrap(), None, "half an append");
    // What the last append has not forgotten.
    let first = (TOGETHER * count + 1).saturating_sub(4 * TOGETHER).max(1);
    let kept: Vec<u64> = store.entries().unwrap().iter().map(|entry| entry.number).collect();
    assert_eq!(kept, (first..=tip).collect::<Vec<_>>(), "entries do not fit the tip");
    count
}

/// The process that is killed: appends one after the other and says which are durable.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let mut number = appends(&path);
    let mut store = RedbStore::open(&path).unwrap();
    let mut out = std::io::stdout();
    loop {
        store.append(&append(number)).unwrap();
        store.sync().unwrap();
        number += 1;
        // Past the test harness, which holds back what is printed.
        writeln!(out, "\nkept {number}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn killed_at_random_points_nothing_acknowledged_is_lost() {
    let path = std::env::temp_dir().join(format!("hanzo-snow-kill-{}.redb", std::process::id()));
    let mut rng = SmallRng::seed_from_u64(12);
    let (mut acknowledged, mut unheard, mut idle) = (0, 0, 0);
    for life in 0..20 {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program)
            .args(["--exact", "writer", "--nocapture", "--test-threads=1"])
            .env(FILE, &path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let (mut line, mut begun) = (String::new(), false);
        let before = acknowledged;
        // A line that is cut short was not said.
        while lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            if let Some(number) = line.trim_end().strip_prefix("kept ") {
                acknowledged = number.parse().unwrap();
                if !begun {
                    begun = true;
                    std::thread::sleep(Duration::from_micros(rng.next_u64() % 40_000));
                    child.kill().unwrap();
                }
            }
            line.clear();
        }
        let status = child.wait().unwrap();
        assert!(begun && !status.success(), "life {life}: {status}, the writer ended by itself");
        let kept = appends(&path);
        assert!(kept >= acknowledged, "life {life}: {acknowledged} appends acknowledged, {kept} there");
        assert!(kept <= acknowledged + 1, "life {life}: one append at a time");
        unheard += u64::from(kept > acknowledged);
        idle += u64::from(acknowledged == before + 1);
    }
    println!(
        "{acknowledged} appends over 20 lives, {unheard} durable and not acknowledged, {idle} lives of one append"
    );
    std::fs::remove_file(&path).unwrap();
    assert!(acknowledged >= 20);
}
