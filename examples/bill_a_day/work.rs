//! The work that is billed: child processes of this program, each a tenant's deployment.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

/// What a deployment does all day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Hashes, without a pause.
    Hash,
    /// Multiplies matrices, for a second out of three.
    Matrices,
    /// Keeps a cache, which grows, and hardly computes.
    Cache,
}

impl Work {
    pub(crate) const ALL: [Self; 3] = [Self::Hash, Self::Matrices, Self::Cache];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Matrices => "matrices",
            Self::Cache => "cache",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|work| work.name() == name)
    }

    /// Starts this program again to do nothing else. It ends with its standard input.
    pub(crate) fn spawn(self) -> std::io::Result<Child> {
        Command::new(std::env::current_exe()?)
            .args(["--worker", self.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }

    /// Works until standard input ends.
    pub(crate) fn run(self) -> ! {
        std::thread::spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
        match self {
            Self::Hash => loop {
                let mut digest = Sha256::digest(b"work");
                for _ in 0..100_000 {
                    digest = Sha256::digest(digest);
                }
                std::hint::black_box(digest);
            },
            Self::Matrices => loop {
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_secs(1) {
                    std::hint::black_box(product(160));
                }
                std::thread::sleep(Duration::from_secs(2));
            },
            Self::Cache => {
                let mut cache: Vec<Vec<u8>> = Vec::new();
                loop {
                    if cache.len() < 24 {
                        // Written, so that it is really there.
                        cache.push(vec![cache.len() as u8 + 1; 8 << 20]);
                    }
                    std::thread::sleep(Duration::from_millis(700));
                }
            }
        }
    }
}

/// The sum of the product of two n x n matrices.
fn product(n: usize) -> f64 {
    let matrix = |seed: usize| (0..n * n).map(|i| ((i * seed) % 17) as f64).collect::<Vec<f64>>();
    let (a, b) = (matrix(3), matrix(5));
    let mut sum = 0.0;
    for i in 0..n {
        for j in 0..n {
            sum += (0..n).map(|k| a[i * n + k] * b[k * n + j]).sum::<f64>();
        }
    }
    sum
}
