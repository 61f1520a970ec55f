//! What came out: a table and a page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hanzo_examples::chart::{Bar, Line, Lines, bars};
use hanzo_examples::page::Page;

use crate::Done;
use crate::fleet::{VERIFIERS, WORKERS};
use crate::public::Policy;

/// What was found against each party.
struct Row {
    name: &'static str,
    conduct: String,
    audited: u64,
    mismatches: u64,
    bps: u32,
    first: Option<(u64, String)>,
}

fn rows(done: &[Done]) -> Vec<Row> {
    let workers = WORKERS.iter().map(|(name, conduct, _)| (*name, format!("{conduct:?}")));
    let verifiers = VERIFIERS.iter().map(|(name, diligence)| (*name, format!("{diligence:?}")));
    workers
        .chain(verifiers)
        .map(|(name, conduct)| {
            let mut row = Row { name, conduct, audited: 0, mismatches: 0, bps: 0, first: None };
            // The most of any epoch: orders of one epoch add up, and each epoch's is of the stake at its start.
            let mut by_epoch: BTreeMap<u64, u32> = BTreeMap::new();
            for Done { ruling, .. } in done {
                let own = ruling.outcomes.iter().filter(|outcome| outcome.worker == name);
                row.audited += own.clone().count() as u64;
                row.mismatches += own.filter(|outcome| outcome.outcome.contains("Mismatch")).count() as u64;
                for order in ruling.orders.iter().filter(|order| order.party == name && order.bps > 0) {
                    *by_epoch.entry(ruling.epoch).or_default() += u32::from(order.bps);
                    row.first.get_or_insert((ruling.epoch, order.kind.clone()));
                }
            }
            row.bps = by_epoch.values().copied().max().unwrap_or(0);
            row
        })
        .collect()
}

/// The table.
pub(crate) fn summary(policy: &Policy, done: &[Done]) -> String {
    let mut out = String::new();
    let jobs: usize = done.iter().map(|done| done.ruling.draws.len()).sum();
    let audits: usize = done.iter().map(|done| done.ruling.outcomes.len()).sum();
    let proofs: usize = done.iter().map(|done| done.proofs.len()).sum();
    let _ = writeln!(
        out,
        "{} epochs, {jobs} jobs, {audits} audited ({:.1} %), {proofs} pieces of evidence that stand alone\n",
        policy.epochs,
        100.0 * audits as f64 / jobs.max(1) as f64
    );
    let _ =
        writeln!(out, "{:<13} {:<11} {:>7} {:>10}  {:>6}  found", "party", "conduct", "audited", "mismatches", "bps");
    for row in rows(done) {
        let found = row.first.map_or_else(String::new, |(epoch, kind)| format!("epoch {epoch}, {kind}"));
        let Row { name, conduct, audited, mismatches, bps, .. } = row;
        let _ = writeln!(out, "{name:<13} {conduct:<11} {audited:>7} {mismatches:>10}  {bps:>6}  {found}");
    }
    out
}

/// The page.
pub(crate) fn html(policy: &Policy, done: &[Done]) -> String {
    let epochs = || done.iter().map(|done| done.ruling.epoch as f64);
    let share =
        done.iter().map(|done| 100.0 * done.ruling.outcomes.len() as f64 / done.ruling.draws.len().max(1) as f64);
    let mismatch = done.iter().map(|done| {
        let all = &done.ruling.outcomes;
        let bad = all.iter().filter(|outcome| outcome.outcome.contains("Mismatch")).count();
        100.0 * bad as f64 / all.len().max(1) as f64
    });
    let line = |name: &str, values: Vec<f64>| Line {
        name: name.into(),
        points: epochs().zip(values).collect(),
        steps: false,
        dashed: false,
    };
    let chart = Lines {
        x_label: "epoch".into(),
        y_label: "%".into(),
        lines: vec![line("jobs audited", share.collect()), line("audits that mismatch", mismatch.collect())],
        ..Lines::default()
    };
    let slashed: Vec<Bar> = rows(done)
        .iter()
        .map(|row| Bar {
            name: format!("{} ({})", row.name, row.conduct),
            value: f64::from(row.bps),
            text: row
                .first
                .as_ref()
                .map_or_else(|| "nothing".into(), |(epoch, kind)| format!("{} bp, epoch {epoch}, {kind}", row.bps)),
        })
        .collect();
    Page::new("audit_fleet")
        .text(&format!("{} epochs of a fleet with named cheats.", policy.epochs))
        .chart("Audits by epoch", &chart.to_svg())
        .chart("Slashed, basis points of one epoch's stake", &bars(&slashed))
        .with_figures(&summary(policy, done))
}
