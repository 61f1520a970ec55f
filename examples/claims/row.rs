//! A claim, what came out, and the verdict that follows from it.

use std::hint::black_box;
use std::time::Instant;

/// What can be said of a claim.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// It holds as it is written.
    Holds,
    /// It holds under these conditions.
    Under(String),
    /// It does not; this does.
    Corrected(String),
    /// Nothing here can tell, because of this.
    Untestable(String),
}

impl Verdict {
    /// Names of the four kinds.
    pub(crate) const KINDS: [&'static str; 4] =
        ["holds", "holds under conditions", "corrected", "cannot be tested here"];

    /// Place of its kind in [`KINDS`](Self::KINDS).
    pub(crate) const fn kind(&self) -> usize {
        match self {
            Self::Holds => 0,
            Self::Under(_) => 1,
            Self::Corrected(_) => 2,
            Self::Untestable(_) => 3,
        }
    }

    /// The verdict in words.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Holds => "holds".into(),
            Self::Under(conditions) => format!("holds under these conditions: {conditions}"),
            Self::Corrected(truth) => format!("corrected to: {truth}"),
            Self::Untestable(reason) => format!("cannot be tested here because {reason}"),
        }
    }
}

/// A computed figure beside a number of the claim.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Check {
    pub(crate) figure: f64,
    pub(crate) relation: Relation,
}

/// How the two must stand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Relation {
    /// The figure is no greater.
    AtMost(f64),
    /// The figure is no less.
    AtLeast(f64),
    /// The figure is the claimed one, give or take.
    Near { claimed: f64, within: f64 },
}

impl Check {
    pub(crate) fn holds(&self) -> bool {
        match self.relation {
            Relation::AtMost(most) => self.figure <= most,
            Relation::AtLeast(least) => self.figure >= least,
            Relation::Near { claimed, within } => (self.figure - claimed).abs() <= within,
        }
    }
}

/// `figure <= most`.
pub(crate) const fn at_most(figure: f64, most: f64) -> Check {
    Check { figure, relation: Relation::AtMost(most) }
}

/// `figure >= least`.
pub(crate) const fn at_least(figure: f64, least: f64) -> Check {
    Check { figure, relation: Relation::AtLeast(least) }
}

/// `figure` is `claimed`, give or take `within`: half a unit of the last digit that the claim prints.
pub(crate) const fn near(figure: f64, claimed: f64, within: f64) -> Check {
    Check { figure, relation: Relation::Near { claimed, within } }
}

/// `figure` is `claimed` exactly.
pub(crate) const fn equal(figure: f64, claimed: f64) -> Check {
    near(figure, claimed, 0.0)
}

/// A claim with the figures it is judged by.
///
/// The verdict is that of the first level whose checks all hold, or else the last word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// Document and section.
    pub(crate) source: &'static str,
    /// The claim, in its words or close to them.
    pub(crate) claim: &'static str,
    /// What was measured or computed.
    pub(crate) measured: String,
    /// Whether figures are timings, which differ from run to run.
    pub(crate) timed: bool,
    pub(crate) levels: Vec<(Vec<Check>, Verdict)>,
    pub(crate) otherwise: Verdict,
}

impl Row {
    /// A claim and its figures in words; until levels are added the verdict is `otherwise`.
    pub(crate) fn new(source: &'static str, claim: &'static str, measured: String, otherwise: Verdict) -> Self {
        Self { source, claim, measured, timed: false, levels: Vec::new(), otherwise }
    }

    /// The verdict where all these checks hold and those of no earlier level do.
    pub(crate) fn when(mut self, checks: impl IntoIterator<Item = Check>, verdict: Verdict) -> Self {
        self.levels.push((checks.into_iter().collect(), verdict));
        self
    }

    /// Marks the figures as timings of this machine.
    pub(crate) const fn timed(mut self) -> Self {
        self.timed = true;
        self
    }

    /// What follows from the figures.
    pub(crate) fn verdict(&self) -> &Verdict {
        let level = self.levels.iter().find(|(checks, _)| checks.iter().all(Check::holds));
        level.map_or(&self.otherwise, |(_, verdict)| verdict)
    }
}

/// The claims that one crate answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    /// Name of the crate.
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// How much to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Smaller settings.
    pub(crate) quick: bool,
    /// Root of all that is drawn.
    pub(crate) seed: u64,
}

impl Setting {
    /// One of two sizes.
    pub(crate) const fn pick<T: Copy>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// Microseconds of a call: the mean of a batch, and of those the least of `rounds`, as other work only adds to it.
pub(crate) fn microseconds<T>(rounds: u32, batch: u32, mut call: impl FnMut(u32) -> T) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        let start = Instant::now();
        for i in 0..batch {
            black_box(call(i));
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(batch));
    }
    best
}

/// A whole number with its thousands apart.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let count = digits.len();
    digits.chars().enumerate().fold(String::new(), |mut text, (i, digit)| {
        if i > 0 && (count - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_level_that_holds_speaks() {
        let row = Row::new("s", "c", String::new(), Verdict::Corrected("less".into()))
            .when([at_least(2.0, 3.0), at_most(1.0, 1.0)], Verdict::Holds)
            .when([near(2.0, 2.4, 0.5)], Verdict::Under("so".into()));
        assert_eq!(row.verdict().kind(), 1);
        let mut better = row.clone();
        better.levels[0].0[0].figure = 3.0;
        assert_eq!(*better.verdict(), Verdict::Holds);
        let mut worse = row;
        worse.levels[1].0[0].figure = f64::NAN;
        assert_eq!(worse.verdict().kind(), 2);
    }

    #[test]
    fn thousands() {
        assert_eq!([0.0, 999.0, 1e3, 1_234_567.0].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
