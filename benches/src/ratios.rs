//! One table of ratios from what criterion and the peers' scripts measured.
//!
//! A benchmark's id is words parted by `/` and spaces. The word `impl=NAME` says whose work was timed: no such word, or a name that starts with `hanzo`, is
//! ours. A peer stands beside each of ours whose words include all of its own, so that `ledger/transfer/accounts=10 impl=std` stands beside
//! `ledger/transfer/accounts=10` and beside `ledger/transfer/ids=sequenced accounts=10`. Where a benchmark says how many elements it works on, or a line
//! how many operations, the time is that of one, unless the peer beside it says no such number.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use serde_json::Value;

/// One timed thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    id: String,
    words: BTreeSet<String>,
    /// `None` for ours without a name.
    by: Option<String>,
    /// Of one element, where they are counted.
    seconds: f64,
    elements: Option<f64>,
}

impl Timing {
    /// From an id and a time in seconds; `None` where the time is not a positive number.
    #[must_use]
    pub fn new(id: &str, seconds: f64) -> Option<Self> {
        if !(seconds.is_finite() && seconds > 0.0) {
            return None;
        }
        let (mut by, mut words, mut shown) = (None, BTreeSet::new(), String::new());
        for word in id.split_inclusive(['/', ' ']) {
            let bare = word.trim_end_matches(['/', ' ']);
            if let Some(name) = bare.strip_prefix("impl=") {
                by = Some(name.to_owned());
            } else if !bare.is_empty() {
                words.insert(bare.to_owned());
                shown.push_str(word);
            }
        }
        Some(Self { id: shown.trim_end_matches(['/', ' ']).to_owned(), words, by, seconds, elements: None })
    }

    /// The time of one of these elements or operations, from that of all.
    #[must_use]
    pub fn of(self, elements: f64) -> Option<Self> {
        let seconds = self.seconds / elements;
        (seconds.is_finite() && seconds > 0.0).then_some(Self { seconds, elements: Some(elements), ..self })
    }

    /// Of one element, or of all where the peer counts none.
    fn beside(&self, peer: &Self) -> f64 {
        match (self.elements, peer.elements) {
            (Some(elements), None) => self.seconds * elements,
            _ => self.seconds,
        }
    }

    fn ours(&self) -> bool {
        self.by.as_deref().is_none_or(|name| name.starts_with("hanzo"))
    }

    fn name(&self) -> String {
        match self.by.as_deref().and_then(|name| name.strip_prefix("hanzo-")) {
            Some(variant) => format!("{} ({variant})", self.id),
            None => self.id.clone(),
        }
    }
}

/// A line that [`lines`] reads: who did what, with the words of its shape parted by commas, and in how many seconds.
#[must_use]
pub fn line(peer: &str, op: &str, case: &str, seconds: f64) -> String {
    serde_json::json!({ "peer": peer, "op": op, "case": case, "seconds": seconds }).to_string() + "\n"
}

/// Ids of peers that stand beside none of ours, so that nobody sees what was timed.
#[must_use]
pub fn strays(timings: &[Timing]) -> Vec<String> {
    let beside = |peer: &Timing| timings.iter().any(|ours| ours.ours() && peer.words.is_subset(&ours.words));
    let alone = timings.iter().filter(|timing| !timing.ours() && !beside(timing));
    alone.map(|timing| format!("{} impl={}", timing.id, timing.by.as_deref().unwrap_or_default())).collect()
}

/// The ids of what `cargo bench -- --list` prints, each with a time of one second: enough to see what stands beside what.
#[must_use]
pub fn listed(text: &str) -> Vec<Timing> {
    let ids = text.lines().filter_map(|line| line.strip_suffix(": benchmark"));
    ids.filter_map(|id| Timing::new(id, 1.0)).collect()
}

/// One of ours beside one peer.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratio {
    /// What was timed, with its shape.
    pub what: String,
    /// Our time in seconds.
    pub ours: f64,
    /// The peer.
    pub peer: String,
    /// Its time in seconds.
    pub theirs: f64,
}

impl Ratio {
    /// How many times as fast as the peer ours is.
    #[must_use]
    pub fn speedup(&self) -> f64 {
        self.theirs / self.ours
    }
}

/// Every pair, in the order of the ids. Of a peer that was timed twice beside one of ours the first time counts.
#[must_use]
pub fn pairs(timings: &[Timing]) -> Vec<Ratio> {
    let mut found: Vec<Ratio> = Vec::new();
    for ours in timings.iter().filter(|timing| timing.ours()) {
        for peer in timings.iter().filter(|timing| !timing.ours() && timing.words.is_subset(&ours.words)) {
            let name = peer.by.clone().unwrap_or_default();
            found.push(Ratio { what: ours.name(), ours: ours.beside(peer), peer: name, theirs: peer.seconds });
        }
    }
    found.sort_by(|a, b| (&a.what, &a.peer).cmp(&(&b.what, &b.peer)));
    found.dedup_by(|later, first| (&later.what, &later.peer) == (&first.what, &first.peer));
    found
}

/// The medians below a folder of criterion's.
///
/// # Errors
///
/// A folder or file that cannot be read.
pub fn criterion(folder: &Path) -> io::Result<Vec<Timing>> {
    let mut timings = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.file_name().is_some_and(|name| name == "new") && path.join("benchmark.json").is_file() {
            let read = |name: &str| -> io::Result<Value> { Ok(serde_json::from_slice(&fs::read(path.join(name))?)?) };
            let (about, estimates) = (read("benchmark.json")?, read("estimates.json")?);
            let nanoseconds = estimates["median"]["point_estimate"].as_f64().unwrap_or(f64::NAN);
            let timing = Timing::new(about["full_id"].as_str().unwrap_or_default(), nanoseconds * 1e-9);
            let elements = about["throughput"]["Elements"].as_f64();
            timings.extend(timing.and_then(|timing| elements.map_or(Some(timing.clone()), |n| timing.of(n))));
        } else {
            timings.extend(criterion(&path)?);
        }
    }
    Ok(timings)
}

/// Lines `{"peer": NAME, "op": OP, "case": WORDS, "seconds": S}`, as the peers' scripts print them; the words of a case are parted by commas, `4096x1024` is
/// `rows=4096 cols=1024`, `ml-kem-768` is `suite=ML-KEM-768`, `f32` goes without saying, and with `"ops": N` the seconds are those of N operations. A line without a time (`null`, or a `"value"` in its place) says
/// something else, and is left out.
///
/// # Errors
///
/// The number of the first line that is not of this form.
pub fn lines(text: &str) -> Result<Vec<Timing>, usize> {
    let mut timings = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value: Value = serde_json::from_str(line).map_err(|_| number + 1)?;
        let word = |key: &str| value[key].as_str().ok_or(number + 1);
        let (op, case) = (word("op")?, word("case")?.replace([',', '/'], " "));
        let case: Vec<String> = case.split(' ').map(shape).collect();
        let op = RENAMED.iter().find(|(theirs, _)| *theirs == op).map_or(op, |(_, ours)| ours);
        let id = format!("{op}/{} impl={}", case.join(" "), word("peer")?.replace(['/', ' '], "-"));
        let timing = value["seconds"].as_f64().and_then(|seconds| Timing::new(&id, seconds));
        let operations = value["ops"].as_f64();
        timings.extend(timing.and_then(|timing| operations.map_or(Some(timing.clone()), |n| timing.of(n))));
    }
    Ok(timings)
}

/// What scripts call otherwise than the benchmarks do.
const RENAMED: [(&str, &str); 7] = [
    // One scale for all.
    ("pack", "pack/granularity=tensor"),
    ("apply", "materialize"),
    ("unpack_matvec", "matvec/bitdelta::matvec"),
    ("dense_gemv", "matvec/bitdelta::matvec"),
    ("encaps", "kem::encapsulate"),
    ("decaps", "kem::decapsulate"),
    ("sign-hedged", "dsa::sign"),
];

/// Shapes and parameter sets as the ids of the benchmarks have them; other words as they are.
fn shape(word: &str) -> String {
    match word {
        "f32" => return String::new(),
        kem if kem.starts_with("ml-kem-") => return format!("suite={}", kem.to_uppercase()),
        dsa if dsa.starts_with("ml-dsa-") => return format!("algorithm={}", dsa.to_uppercase()),
        _ => {}
    }
    let sides = word.split_once('x').and_then(|(rows, cols)| Some((rows.parse().ok()?, cols.parse().ok()?)));
    sides.map_or_else(|| word.to_owned(), |(rows, cols): (u64, u64)| format!("rows={rows} cols={cols}"))
}

/// The table as Markdown, each ratio with a bar on a logarithmic scale of two steps per doubling.
#[must_use]
pub fn markdown(ratios: &[Ratio]) -> String {
    let mut out = "| what | ours | peer | its time | times as fast | |\n|---|---:|---|---:|---:|---|\n".to_owned();
    for ratio in ratios {
        let speedup = ratio.speedup();
        let steps = (2.0 * speedup.log2().abs()).round().min(16.0) as usize;
        let bar = if speedup >= 1.0 { "█".repeat(steps) } else { "░".repeat(steps) };
        let (what, ours, theirs) = (&ratio.what, duration(ratio.ours), duration(ratio.theirs));
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| `{what}` | {ours} | {} | {theirs} | {speedup:.2} | {bar} |", ratio.peer);
    }
    out
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1e-9 => format!("{:.1} ps", s * 1e12),
        s if s < 1e-6 => format!("{:.1} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.2} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(id: &str, seconds: f64) -> Timing {
        Timing::new(id, seconds).expect("a positive time")
    }

    #[test]
    fn peers_stand_beside_what_has_all_their_words() {
        let all = [
            timing("ledger/transfer/n=10", 1.0),
            timing("ledger/transfer/ids=sequenced n=10", 0.5),
            timing("ledger/transfer/n=10 impl=std", 4.0),
            timing("ledger/transfer/n=20", 1.0),
            timing("kem/level=3 impl=hanzo-aws-lc", 1.0),
            timing("kem/level=3 impl=aws-lc-rs", 1.0),
        ];
        let found = pairs(&all);
        let brief: Vec<_> = found.iter().map(|r| (r.what.as_str(), r.peer.as_str(), r.speedup())).collect();
        let expected = [
            ("kem/level=3 (aws-lc)", "aws-lc-rs", 1.0),
            ("ledger/transfer/ids=sequenced n=10", "std", 8.0),
            ("ledger/transfer/n=10", "std", 4.0),
        ];
        assert_eq!(brief, expected);
    }

    #[test]
    fn peers_beside_nobody_are_named() {
        let list = "kem/n=3: benchmark\nkem/n=3 impl=ml-kem: benchmark\nkem/n=4 impl=ml-kem: benchmark\n\n2 tests, 0 benchmarks\n";
        let all = listed(list);
        assert_eq!((all.len(), pairs(&all).len()), (3, 1));
        assert_eq!(strays(&all), ["kem/n=4 impl=ml-kem"]);
    }

    #[test]
    fn times_are_those_of_one_operation() {
        let text = "{\"peer\": \"std\", \"op\": \"transfer\", \"case\": \"accounts=10\", \"seconds\": 3.0, \"ops\": 1000}\n\
                    {\"peer\": \"numpy\", \"op\": \"apply\", \"case\": \"64x32\", \"seconds\": 0.5}\n\
                    {\"peer\": \"std\", \"op\": \"accepts\", \"case\": \"forged\", \"value\": true}\n";
        let mut all = lines(text).expect("three lines");
        all.extend([
            timing("ledger/transfer/accounts=10", 0.001),
            timing("materialize/rows=64 cols=32 granularity=row", 0.25),
        ]);
        let brief: Vec<_> = pairs(&all).iter().map(|r| (r.peer.clone(), r.speedup())).collect();
        assert_eq!(brief, [("std".to_owned(), 3.0), ("numpy".to_owned(), 2.0)]);
    }

    #[test]
    fn a_whole_product_does_not_stand_beside_one_weight() {
        let ours = timing("matvec/bitdelta::matvec/rows=64 cols=32", 2e-6).of(2048.0).expect("a positive time");
        let dense = timing("matvec/rows=64 cols=32 impl=dense", 8e-6).of(2048.0).expect("a positive time");
        let mut all = vec![ours, dense];
        all.extend(lines(&line("numpy", "dense_gemv", "64x32", 10e-6)).expect("a line"));
        let brief: Vec<_> = pairs(&all).iter().map(|r| (r.peer.clone(), r.ours, r.speedup().round())).collect();
        assert_eq!(brief, [("dense".to_owned(), 2e-6 / 2048.0, 4.0), ("numpy".to_owned(), 2e-6, 5.0)]);
    }

    #[test]
    fn a_peer_that_is_timed_twice_has_one_row() {
        let mut all = vec![
            timing("kem::decapsulate/suite=ML-KEM-768", 1.0),
            timing("kem::decapsulate/suite=ML-KEM-768 impl=libcrux", 0.5),
        ];
        all.extend(lines(&line("libcrux", "decaps", "ml-kem-768", 0.25)).expect("a line"));
        let found = pairs(&all);
        assert_eq!((found.len(), found[0].theirs), (1, 0.5));
    }

    #[test]
    fn criterion_s_files_are_read() {
        let folder = std::env::temp_dir().join(format!("hanzo-ratios-{}", std::process::id()));
        let put = |id: &str, throughput: &str, median: f64| {
            let new = folder.join(id.replace(['/', ' '], "_")).join("new");
            fs::create_dir_all(&new).expect("a folder");
            let about = format!("{{\"full_id\": \"{id}\", \"throughput\": {throughput}}}");
            fs::write(new.join("benchmark.json"), about).expect("a file");
            let estimates = format!("{{\"median\": {{\"point_estimate\": {median}}}}}");
            fs::write(new.join("estimates.json"), estimates).expect("a file");
        };
        put("a/n=1", "{\"Elements\": 10}", 500.0);
        put("a/n=1 impl=b", "{\"Elements\": 10}", 1_000.0);
        put("c/n=1", "null", 7.0);
        let found = criterion(&folder).map(|timings| pairs(&timings));
        fs::remove_dir_all(&folder).expect("a folder");
        let found = found.expect("three results");
        assert_eq!(found.len(), 1);
        assert!((found[0].ours - 50e-9).abs() < 1e-15 && (found[0].speedup() - 2.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn times_that_are_none_are_left_out() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Timing::new("a", seconds), None);
        }
        let read = lines("{\"peer\": \"p\", \"op\": \"skipped\", \"case\": \"no wheel\", \"seconds\": null}\n\n");
        assert_eq!(read, Ok(vec![]));
        assert_eq!(lines("{\"peer\": 1}"), Err(1));
        assert_eq!(lines("\nnothing"), Err(2));
    }

    #[test]
    fn a_time_keeps_its_digits() {
        let shown = [3.04e-11, 1.54e-9, 2.5e-6, 0.25, 90.0].map(duration);
        assert_eq!(shown, ["30.4 ps", "1.5 ns", "2.50 µs", "250.00 ms", "90.00 s"]);
    }

    #[test]
    fn lines_of_scripts_pair_with_ours() {
        let text = line("hmmlearn", "viterbi", "S=4,M=16", 0.03) + &line("hanzo", "viterbi", "S=4,M=16", 0.002);
        let found = pairs(&lines(&text).expect("two lines"));
        assert_eq!(found.len(), 1);
        assert!((found[0].speedup() - 15.0).abs() < 1e-9);
        assert!(
            markdown(&found).ends_with("| `viterbi/S=4 M=16` | 2.00 ms | hmmlearn | 30.00 ms | 15.00 | ████████ |\n")
        );
    }
}
