//! Reading what a process uses, from the kernel's own counts under `/proc`.

use std::error::Error;
use std::path::PathBuf;

/// What the kernel counts of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Nanoseconds on a processor since it began.
    pub(crate) cpu_ns: u64,
    /// Bytes of memory it holds now.
    pub(crate) memory: u64,
}

/// Reads the counts of a process.
pub(crate) fn counts(pid: u32) -> Result<Counts, Box<dyn Error>> {
    let file = |name: &str| {
        let path = PathBuf::from(format!("/proc/{pid}/{name}"));
        std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let cpu_ns = match file("schedstat") {
        Ok(text) => on_cpu(&text)?,
        // Kernels without scheduler statistics count in ticks.
        Err(_) => ticks(&file("stat")?)? * NS_PER_TICK,
    };
    Ok(Counts { cpu_ns, memory: resident(&file("status")?)? })
}

/// `/proc/PID/schedstat`: nanoseconds on a processor, waiting, time slices. Workers have one busy thread, the first.
fn on_cpu(text: &str) -> Result<u64, String> {
    text.split_whitespace().next().and_then(|n| n.parse().ok()).ok_or_else(|| format!("unreadable schedstat {text:?}"))
}

/// `/proc/PID/stat`: user and system time are the 14th and 15th field; the second is a name in brackets that may hold spaces.
fn ticks(text: &str) -> Result<u64, String> {
    let after = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = after.split_whitespace().skip(11).map(str::parse::<u64>);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok(user + system),
        _ => Err(format!("unreadable stat {text:?}")),
    }
}

/// `VmRSS:     1234 kB` of `/proc/PID/status`.
fn resident(text: &str) -> Result<u64, String> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in status")?;
    let kib = line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| format!("unreadable VmRSS {line:?}"))
}

/// The kernel shows ticks of a hundredth of a second on every platform.
const NS_PER_TICK: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        assert_eq!(on_cpu("123456 7 8\n"), Ok(123_456));
        let stat = "42 (a (b) c) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(ticks(stat), Ok(300));
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\n"), Ok(2_097_152));
        for bad in ["", "x", "42 (a) R 1 2"] {
            assert!(on_cpu(bad).is_err() || bad.starts_with("42"));
            assert!(ticks(bad).is_err() && resident(bad).is_err());
        }
    }

    #[test]
    fn this_process_uses_something() {
        if !std::path::Path::new("/proc/self/status").exists() {
            eprintln!("skipped: there is no /proc here");
            return;
        }
        let first = counts(std::process::id()).unwrap();
        assert!(first.memory > 100_000);
    }
}
