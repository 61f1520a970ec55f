//! What it costs to make blocks durable: `RedbStore` beside writing the same bytes to a file and calling `fdatasync`, in turns.
//!
//! ```sh
//! cargo run --release -p hanzo-benches --bin snow_store -- [COMMITS [FOLDER]]
//! ```
//!
//! A block is a header of 800 bytes with the tip moved to it, in one append. The file is opened once and grows, as a log does; every
//! write is followed by `fdatasync` (`File::sync_data`). Both files are in one folder: choose one on the disk that counts.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use hanzo_snow::{Block, BlockRef, BlockStore as _, Record, RedbStore};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const HEADER: usize = 800;
const BATCH: u64 = 100_000;

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Writer {
    rng: ChaCha8Rng,
    parent: [u8; 32],
    height: u64,
}

impl Writer {
    /// The next block of a chain, of random bytes.
    fn block(&mut self) -> Block<[u8; 32]> {
        let mut bytes = vec![0; HEADER];
        self.rng.fill_bytes(&mut bytes);
        let mut id = [0; 32];
        id.copy_from_slice(&bytes[..32]);
        let header = BlockRef { id, parent: self.parent, height: self.height };
        (self.parent, self.height) = (id, self.height + 1);
        Block { header, bytes: bytes.into() }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let commits: usize = arguments.next().map_or(Ok(1_000), |count| count.parse())?;
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let scratch = Scratch(folder.join(format!("snow-store-{}", std::process::id())));
    std::fs::create_dir_all(&scratch.0)?;
    let mut writer = Writer { rng: ChaCha8Rng::seed_from_u64(1), parent: [0; 32], height: 1 };

    println!("{:<58} {:>10} {:>10}  ratio", "microseconds, median", "RedbStore", "fdatasync");
    for group in [1, 8] {
        let mut store = RedbStore::open(scratch.0.join(format!("{group}.redb")))?;
        let mut log = OpenOptions::new().create(true).append(true).open(scratch.0.join(format!("{group}.log")))?;
        let (mut ours, mut raw) = (Vec::new(), Vec::new());
        for turn in 0..commits + commits / 10 {
            let blocks: Vec<_> = (0..group).map(|_| writer.block()).collect();
            let mut records: Vec<_> = blocks.iter().cloned().map(Record::Block).collect();
            records.extend(blocks.last().map(|block| Record::Tip(block.header)));
            let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.bytes.iter().copied()).collect();
            // One goes first as often as the other: what the disk still does after one is in the time of the next.
            for is_store in [turn % 2 == 0, turn % 2 == 1] {
                let begin = Instant::now();
                if is_store {
                    store.append(&records)?;
                    store.sync()?;
                } else {
                    write_durably(&mut log, &bytes)?;
                }
                // The first tenth warms both files up.
                if turn >= commits / 10 {
                    if is_store { &mut ours } else { &mut raw }.push(begin.elapsed());
                }
            }
        }
        let median = |times: &mut Vec<std::time::Duration>| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() * 1e6
        };
        let (ours, raw) = (median(&mut ours), median(&mut raw));
        let name = format!("commit of {group} x {HEADER} bytes, durable, {commits} in turns");
        let goal = if group == 1 { " (goal 1.25)" } else { "" };
        println!("{name:<58} {ours:>10.1} {raw:>10.1}  {:.2}{goal}", ours / raw);
    }

    let mut store = RedbStore::open(scratch.0.join("batch.redb"))?;
    let blocks: Vec<_> = (0..BATCH).map(|_| writer.block()).collect();
    let ids: Vec<_> = blocks.iter().map(|block| block.header.id).collect();
    let mut records: Vec<_> = blocks.into_iter().map(Record::Block).collect();
    records.push(Record::Tip(BlockRef { id: writer.parent, parent: writer.parent, height: writer.height }));
    let begin = Instant::now();
    store.append(&records)?;
    store.sync()?;
    let each = begin.elapsed().as_secs_f64() * 1e6 / BATCH as f64;
    println!("{:<58} {each:>10.2}             (goal 30)", format!("one append of {BATCH} headers, a header"));

    let begin = Instant::now();
    let mut found = 0;
    for _ in 0..BATCH {
        let id = &ids[(writer.rng.next_u64() % BATCH) as usize];
        found += u64::from(store.get(id)?.is_some_and(|bytes| bytes.len() == HEADER));
    }
    let each = begin.elapsed().as_secs_f64() * 1e6 / BATCH as f64;
    println!("{:<58} {each:>10.2}             (goal 1.5)", "a random header of these, read");
    if found != BATCH {
        return Err(format!("{} headers are lost", BATCH - found).into());
    }
    Ok(())
}

fn write_durably(log: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    log.write_all(bytes)?;
    log.sync_data()
}
