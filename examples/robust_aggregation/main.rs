//! Honest priors and attacks, aggregated by every rule; `--help` lists the options.
//!
//! Each rule is told the true number of attackers (or their share of the weight), as its theory assumes. Errors are root
//! mean square distances to the honest mean, in standard deviations of one honest submitter.

mod attacks;
mod options;

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hanzo::experience::Account;
use hanzo::experience::aggregate::{
    Aggregator, Fixed, Krum, MultiKrum, Prior, TrimmedMean, Weighted, WeightedMedian, WeightedTrimmedMean,
    geometric_median,
};
use hanzo_examples::chart::{Line, Lines};
use hanzo_examples::page::{self, Page};
use hanzo_examples::{program, say};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use attacks::{Attack, Crowd};
use options::{HELP, Options};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// The rules, with what their theory promises: the share below which the error stays bounded.
const RULES: [(&str, &str); 7] = [
    ("mean", "0"),
    ("median", "< 50 % of the weight"),
    ("trimmed", "< 50 % of the submitters"),
    ("w. trimmed", "< 50 % of the weight"),
    ("Krum", "n >= 2f + 3"),
    ("Multi-Krum", "n >= 2f + 3"),
    ("geometric", "< 50 % of the weight"),
];

/// An error beyond which a rule counts as broken, in standard deviations.
const BROKEN: f64 = 3.0;

/// Weight of each honest submitter.
const WEIGHT: u128 = 1_000_000;

/// All rules under one attack.
struct Played {
    attack: Attack,
    /// Share of the weight that attackers have, in per cent, with the error of each rule; none where it refuses.
    rows: Vec<(f64, Vec<Option<f64>>)>,
    /// The error of a mean that follows from what attackers send.
    predicted: Vec<f64>,
    /// Elements of medians outside the honest hull.
    outside: f64,
}

fn main() -> ExitCode {
    program::main("robust_aggregation", HELP, options::parse, run)
}

fn run(options: &Options) -> Result<()> {
    let played = play_all(options)?;
    let text = summary(&played, options)?;
    program::show(&text);
    if let Some(folder) = &options.report {
        let file = write_report(folder, &played, &text)?;
        say!("\nwrote {}", file.display());
    }
    Ok(())
}

fn play_all(options: &Options) -> Result<Vec<Played>> {
    Attack::ALL.into_iter().map(|attack| play(attack, options)).collect()
}

/// Shares from nobody to half, and just below half.
fn shares(submitters: usize) -> Vec<(usize, u128)> {
    let half = submitters / 2;
    let mut shares: Vec<(usize, u128)> = (0..=10).map(|tenth| (half * tenth / 10, WEIGHT)).collect();
    shares.dedup();
    // As many attackers as honest submitters, with 499 of 1000 parts of the weight.
    shares.insert(shares.len() - 1, (half, WEIGHT * 499 / 501));
    shares
}

fn play(attack: Attack, options: &Options) -> Result<Played> {
    let mut played = Played { attack, rows: Vec::new(), predicted: Vec::new(), outside: 0.0 };
    for (attackers, weight) in shares(options.submitters) {
        let honest = options.submitters - attackers;
        let (bad, good) = (weight * attackers as u128, WEIGHT * honest as u128);
        let share = bad as f64 / (bad + good) as f64;
        let mut errors = vec![Some(0.0); RULES.len()];
        let mut predicted = 0.0;
        for trial in 0..options.trials {
            let mut rng = ChaCha20Rng::seed_from_u64(options.seed);
            rng.set_stream(trial);
            let crowd = Crowd::draw(honest, options.dimension, &mut rng);
            let identities = attack.identities(attackers, options.submitters);
            let lies: Vec<Vec<f64>> = (0..identities).map(|_| attack.prior(&crowd, attackers, &mut rng)).collect();
            let each = if identities == 0 { 0 } else { bad / identities as u128 };
            let rows = crowd.rows.iter().map(|row| (row, WEIGHT)).chain(lies.iter().map(|row| (row, each)));
            let rows: Vec<(&Vec<f64>, u128)> = rows.collect();
            let results = aggregates(&rows, attackers, share)?;
            for (sum, result) in errors.iter_mut().zip(&results) {
                let error = result.as_ref().map(|point| crowd.error(point) / options.trials as f64);
                *sum = sum.zip(error).map(|(sum, error)| sum + error);
            }
            if let Some(median) = &results[1]
                && share < 0.4995
            {
                played.outside += 1.0 - crowd.inside(median);
            }
            predicted += crowd.error(&mean(&rows)) / options.trials as f64;
        }
        played.rows.push((100.0 * share, errors));
        played.predicted.push(predicted);
    }
    Ok(played)
}

/// What the mean of all submitters is, from its formula.
fn mean(rows: &[(&Vec<f64>, u128)]) -> Vec<f64> {
    let n = rows.len() as f64;
    (0..rows[0].0.len()).map(|j| rows.iter().map(|(row, _)| row[j]).sum::<f64>() / n).collect()
}

/// The result of each rule, in the order of [`RULES`]; none where its precondition fails.
fn aggregates(rows: &[(&Vec<f64>, u128)], attackers: usize, share: f64) -> Result<Vec<Option<Vec<f64>>>> {
    let names: Vec<Account> =
        (0..rows.len()).map(|index| format!("node-{index:04}").parse()).collect::<Result<_, _>>()?;
    let prior = |row: &Vec<f64>| Prior::dense(1, row.iter().map(|x| Fixed::from_f64(*x)).collect::<Result<_, _>>()?);
    let priors: Vec<Prior> = rows.iter().map(|(row, _)| prior(row)).collect::<Result<_, _>>()?;
    let parts = names.iter().zip(&priors).zip(rows);
    let submissions: Vec<Weighted<'_>> =
        parts.map(|((submitter, prior), (_, weight))| Weighted { submitter, prior, weight: *weight }).collect();
    let trim = ((share * 10_000.0).ceil() as u16).min(4_999);
    let chosen = rows.len().saturating_sub(2 * attackers + 2).max(1);
    let rules: [Box<dyn Aggregator>; 6] = [
        Box::new(TrimmedMean::new(0)),
        Box::new(WeightedMedian::default()),
        Box::new(TrimmedMean::new(attackers)),
        Box::new(WeightedTrimmedMean::new(trim)?),
        Box::new(Krum::new(attackers)),
        Box::new(MultiKrum::new(attackers, chosen)?),
    ];
    let mut results: Vec<Option<Vec<f64>>> = Vec::new();
    for rule in rules {
        let result = rule.aggregate(&submissions).ok();
        // The order of submissions must not show.
        let mut backwards = submissions.clone();
        backwards.reverse();
        if result != rule.aggregate(&backwards).ok() {
            return Err("an aggregate depends on the order of submissions".into());
        }
        results.push(
            result.map(|aggregate| {
                aggregate.values().iter().map(|value| value.map_or(f64::NAN, Fixed::to_f64)).collect()
            }),
        );
    }
    let points: Vec<&[f64]> = rows.iter().map(|(row, _)| row.as_slice()).collect();
    let weights: Vec<f64> = rows.iter().map(|(_, weight)| *weight as f64).collect();
    results.push(Some(geometric_median(&points, &weights, 1e-6, 500)?.point));
    Ok(results)
}

fn cell(error: Option<f64>) -> String {
    match error {
        None => "refuses".into(),
        Some(error) if error >= 1e3 => format!("{error:.0}"),
        Some(error) => format!("{error:.2}"),
    }
}

fn summary(played: &[Played], options: &Options) -> Result<String> {
    let Options { submitters, dimension, trials, seed, .. } = options;
    let mut text = format!("{submitters} submitters, {dimension} elements, {trials} trials, seed {seed}\n");
    text.push_str("error in standard deviations of one honest submitter\n");
    for one in played {
        write!(text, "\n{:14}", one.attack.name())?;
        RULES.iter().try_for_each(|(name, _)| write!(text, "{name:>12}"))?;
        writeln!(text, "{:>14}", "mean, theory")?;
        for ((share, errors), predicted) in one.rows.iter().zip(&one.predicted) {
            write!(text, "{share:>10.1} %  ")?;
            errors.iter().try_for_each(|error| write!(text, "{:>12}", cell(*error)))?;
            writeln!(text, "{:>14}", cell(Some(*predicted)))?;
        }
    }
    writeln!(text, "\ngreatest share with an error below {BROKEN} (50.0: never broken here)")?;
    write!(text, "{:12}", "rule")?;
    played.iter().try_for_each(|one| write!(text, "{:>14}", one.attack.name()))?;
    writeln!(text, "  theory")?;
    for (index, (name, theory)) in RULES.iter().enumerate() {
        write!(text, "{name:12}")?;
        for one in played {
            let fine = |error: &Option<f64>| error.is_some_and(|error| error < BROKEN);
            let held = one.rows.iter().take_while(|(_, errors)| fine(&errors[index])).last();
            let refuses = one.rows.iter().find(|(_, errors)| !fine(&errors[index]));
            let mark = if refuses.is_some_and(|(_, errors)| errors[index].is_none()) { " r" } else { "  " };
            write!(text, "{:>12}{mark}", held.map_or("none".into(), |(share, _)| format!("{share:.1}")))?;
        }
        writeln!(text, "  {theory}")?;
    }
    text.push_str("r: beyond that share the rule refuses, because its precondition fails\n");
    let outside: f64 = played.iter().map(|one| one.outside).sum();
    writeln!(text, "elements of medians outside the honest hull below one half of the weight: {outside}")?;
    text.push_str(
        "\nbeside published figures: for the mean under ALIE and sign flips theory and measurement agree above. Baruch et al.\n\
         (2019) hide within honest scatter, so that no rule here is broken by ALIE, but each is pulled: that bias is the price\n\
         they name. Table 1 of the DSO paper (18.8 % of issues solved, 17.9 % with a fifth of the nodes random, 18.7 % with\n\
         a median) is about a task that is not run here; the same fifth of random nodes moves the mean and the median by the\n\
         errors above at 20 %.\n",
    );
    Ok(text)
}

fn write_report(folder: &Path, played: &[Played], text: &str) -> Result<PathBuf, String> {
    let mut page = Page::new("Robust aggregation");
    for one in played {
        let line = |(index, (name, _)): (usize, &(&str, &str))| {
            // Cut at the top, where only "broken" is left to say.
            let point = |(share, errors): &(f64, Vec<Option<f64>>)| Some((*share, errors[index]?.min(2.0 * BROKEN)));
            Line {
                name: (*name).into(),
                points: one.rows.iter().filter_map(point).collect(),
                steps: false,
                dashed: false,
            }
        };
        let mut lines: Vec<Line> = RULES.iter().enumerate().map(line).collect();
        let level = [(0.0, BROKEN), (50.0, BROKEN)].to_vec();
        lines.push(Line { name: "broken".into(), points: level, steps: false, dashed: true });
        let (x_label, y_label) = ("attackers' share of the weight (%)".into(), "error (sd), cut at 6".into());
        let svg = Lines { x_label, y_label, lines, ..Lines::default() }.to_svg();
        page = page.chart(one.attack.name(), &svg);
    }
    page::write(folder, "aggregation.html", &page.with_figures(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_hold_as_theory_says() {
        let arguments = ["--submitters", "20", "--dimension", "8", "--trials", "2"];
        let options = options::parse(lexopt::Parser::from_args(arguments)).unwrap().unwrap();
        let played = play_all(&options).unwrap();
        for one in &played {
            assert_eq!(one.outside, 0.0, "{:?}", one.attack);
            for ((share, errors), predicted) in one.rows.iter().zip(&one.predicted) {
                // The mean is what its formula says; the median holds below one half.
                assert!((errors[0].unwrap() - predicted).abs() < 1e-6 * predicted.max(1.0));
                assert!(*share > 49.95 || errors[1].unwrap() < BROKEN, "{:?} {share} {errors:?}", one.attack);
                assert!(*share > 40.0 || one.attack == Attack::Sybil || errors[4].is_some_and(|error| error < BROKEN));
            }
            // A tenth of the attackers breaks the mean, and identities without weight break what counts heads.
            let fifth = &one.rows[3].1;
            match one.attack {
                Attack::SignFlip | Attack::Random => assert!(fifth[0].unwrap() > BROKEN),
                Attack::Sybil => assert!([0, 2, 4].iter().all(|rule| fifth[*rule].unwrap() > BROKEN), "{fifth:?}"),
                Attack::LittleIsEnough | Attack::InnerProduct => {}
            }
        }
        assert_eq!(summary(&played, &options).unwrap(), summary(&play_all(&options).unwrap(), &options).unwrap());
    }
}
