//! Where the wall-clock time goes, by crate. It never enters the machine-readable result.

use std::time::{Duration, Instant};

/// A crate of the SDK, or what is none of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Regimes, prices, quotes, routing.
    Hmm,
    /// Adapters and the workers' computation.
    Bitdelta,
    /// Key release and signatures.
    Pqc,
    /// Meters and money.
    Metering,
    /// Attestations, draws, verdicts.
    Poai,
    /// Agreement on settlement blocks.
    Snow,
    /// Experience log and retrieval.
    Experience,
}

impl Part {
    /// All parts, in the order of a job's path.
    pub(crate) const ALL: [Self; 7] =
        [Self::Hmm, Self::Pqc, Self::Bitdelta, Self::Metering, Self::Poai, Self::Snow, Self::Experience];

    /// The crate's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hmm => "hanzo-hmm",
            Self::Bitdelta => "hanzo-bitdelta",
            Self::Pqc => "hanzo-pqc",
            Self::Metering => "hanzo-metering",
            Self::Poai => "hanzo-poai",
            Self::Snow => "hanzo-snow",
            Self::Experience => "hanzo-experience",
        }
    }
}

/// One stopwatch a crate.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    spent: [Duration; Part::ALL.len()],
}

impl Clocks {
    /// Runs `work` on the stopwatch of `part`.
    pub(crate) fn time<T>(&mut self, part: Part, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let value = work();
        self.spent[part as usize] += started.elapsed();
        value
    }

    /// Seconds of each crate, in the order of [`Part::ALL`].
    pub(crate) fn seconds(&self) -> impl Iterator<Item = (Part, f64)> + '_ {
        Part::ALL.into_iter().map(|part| (part, self.spent[part as usize].as_secs_f64()))
    }
}
