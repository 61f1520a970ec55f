//! The headline claims of the papers, each beside what the crates measure or compute, and the verdict that follows.
//!
//! No result is written down here: numbers of the claims are, and everything they are compared with is computed at run time, by
//! the crates or from what they give. `--help` lists the options.

mod bitdelta;
mod experience;
mod hmm;
mod learning;
mod metering;
mod options;
mod page;
mod poai;
mod pqc;
mod row;
mod snow;
mod tracks;

use std::error::Error;
use std::process::ExitCode;

use hanzo_examples::{program, say};
use options::{HELP, Options};
use row::{Group, Setting};

/// Why there is no table.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    program::main("claims", HELP, options::parse, run)
}

fn run(options: &Options) -> Result<()> {
    // A page that cannot be written is known before the experiments, not after.
    let written = |error| format!("cannot write {}: {error}", options.html.as_deref().unwrap_or("".as_ref()).display());
    let folder = options.html.as_deref().and_then(std::path::Path::parent).filter(|f| !f.as_os_str().is_empty());
    if let Some(folder) = folder {
        std::fs::metadata(folder).map_err(written)?;
    }
    let groups = groups(Setting { quick: options.quick, seed: options.seed })?;
    program::show(&page::text(&groups));
    if let Some(file) = &options.html {
        std::fs::write(file, page::html(&groups)).map_err(written)?;
        say!("\nwrote {}", file.display());
    }
    Ok(())
}

/// Every claim, by the crate that answers it.
fn groups(setting: Setting) -> Result<Vec<Group>> {
    Ok(vec![
        Group { name: "hanzo-snow: agreement by sampling", rows: snow::rows(setting)? },
        Group { name: "hanzo-snow: certified at once, settled later", rows: tracks::rows(setting)? },
        Group { name: "hanzo-pqc", rows: pqc::rows(setting)? },
        Group { name: "hanzo-hmm", rows: hmm::rows(setting)? },
        Group { name: "hanzo-bitdelta", rows: bitdelta::rows(setting)? },
        Group { name: "hanzo-metering", rows: metering::rows(setting)? },
        Group { name: "hanzo-poai", rows: poai::rows(setting)? },
        Group { name: "hanzo-experience: the ledger", rows: experience::rows(setting)? },
        Group { name: "hanzo-experience: learning and sharing", rows: learning::rows(setting)? },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Check, Relation, Row};

    const QUICK: Setting = Setting { quick: true, seed: 1 };

    /// The check with a figure on the edge of holding, or one that does not hold.
    fn with(check: &Check, holds: bool) -> Check {
        let figure = match check.relation {
            Relation::AtMost(most) => most + if holds { 0.0 } else { 1.0 + most.abs() },
            Relation::AtLeast(least) => least - if holds { 0.0 } else { 1.0 + least.abs() },
            Relation::Near { claimed, within } => claimed + if holds { 0.0 } else { 1.0 + within },
        };
        Check { figure, ..*check }
    }

    fn verdicts_follow(row: &Row) {
        assert!(!row.levels.is_empty(), "{}: nothing decides", row.claim);
        for (at, (checks, verdict)) in row.levels.iter().enumerate() {
            assert!(!checks.is_empty(), "{}: a level that always holds", row.claim);
            let mut other = row.clone();
            for (level, (checks, _)) in other.levels.iter_mut().enumerate() {
                checks.iter_mut().for_each(|check| *check = with(check, level == at));
            }
            assert_eq!(other.verdict(), verdict, "{}", row.claim);
            for (broken, check) in checks.iter().enumerate() {
                let mut worse = other.clone();
                worse.levels[at].0[broken] = with(check, false);
                assert_eq!(
                    *worse.verdict(),
                    row.otherwise,
                    "{}: check {broken} of level {at} decides nothing",
                    row.claim
                );
                assert_ne!(worse.verdict(), verdict, "{}", row.claim);
            }
        }
    }

    #[test]
    fn every_verdict_follows_from_figures_that_the_seed_decides() {
        let groups = groups(QUICK).unwrap();
        assert!(groups.iter().map(|group| group.rows.len()).sum::<usize>() >= 45);
        groups.iter().flat_map(|group| &group.rows).for_each(verdicts_follow);

        let again = super::groups(QUICK).unwrap();
        let other = super::groups(Setting { seed: 2, ..QUICK }).unwrap();
        let steady = |groups: &[Group]| -> Vec<Row> {
            groups.iter().flat_map(|group| &group.rows).filter(|row| !row.timed).cloned().collect()
        };
        assert_eq!(steady(&groups), steady(&again));
        assert_ne!(steady(&groups), steady(&other));
        // What is drawn differs from seed to seed, what follows from it does not.
        let kinds = |rows: Vec<Row>| rows.iter().map(|row| row.verdict().kind()).collect::<Vec<_>>();
        assert_eq!(kinds(steady(&groups)), kinds(steady(&other)));
    }

    #[test]
    fn a_page_that_cannot_be_written_is_one_line() {
        let options = Options { quick: true, seed: 1, html: Some("no/such/folder/page.html".into()) };
        let error = run(&options).unwrap_err().to_string();
        assert!(error.starts_with("cannot write no/such/folder/page.html") && error.lines().count() == 1, "{error}");
    }
}
