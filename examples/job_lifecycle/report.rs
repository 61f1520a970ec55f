//! The HTML report: one file, drawn charts, nothing fetched.

use hanzo::hmm::market::Regime;
use hanzo_examples::chart::{Band, Bar, Line, Lines, Stack, bars};
use hanzo_examples::page::Page;

use crate::bank::BASE_UNITS_PER_USD;
use crate::network::LEVELS;
use crate::summary::Summary;

/// The whole page.
pub(crate) fn html(summary: &Summary, table: &str) -> String {
    let mut page = Page::new(&format!("One job's whole life, {} times", summary.served())).text(&format!(
        "{} requests from {}, seed {}; {} workers of whom {} cheat, {} tenants, {} validators, audit rate {}.",
        summary.requests,
        summary.input,
        summary.seed,
        summary.workers,
        summary.cheaters,
        summary.tenants,
        summary.validators,
        f64::from(summary.audit_rate_ppm) / 1e6
    ));
    for (title, text, svg) in [
        (
            "Price and regime",
            "Published price over catalogue price, by level; behind it the regime of the market.",
            prices(summary),
        ),
        (
            "Routing",
            "Levels that the market chose, by epoch. Tenants differ in how much of their fine-tune one bit a weight keeps.",
            routing(summary),
        ),
        (
            "Detection",
            "Cheaters caught, and how many were expected to be: from the audit rate, how often they cheat, and an equal share of the jobs.",
            detection(summary),
        ),
        (
            "Value",
            "Score less what the dollars are worth, summed over all jobs: the market's choices beside every fixed one.",
            value(summary),
        ),
        ("Money", "Where the base units went, in dollars.", money(summary)),
    ] {
        page = page.heading(title).text(text).element(&svg);
    }
    page.with_figures(table)
}

fn minutes(ms: u64) -> f64 {
    ms as f64 / 60_000.0
}

fn prices(summary: &Summary) -> String {
    let moments = &summary.moments;
    let line = |level: usize| Line {
        name: LEVELS[level].name.to_owned(),
        points: moments.iter().map(|m| (minutes(m.at_ms), m.multipliers[level])).collect(),
        steps: false,
        dashed: false,
    };
    let mut bands: Vec<Band> = Vec::new();
    for pair in moments.windows(2) {
        let (from, to) = (minutes(pair[0].at_ms), minutes(pair[1].at_ms));
        match bands.last_mut() {
            Some(band) if band.kind == pair[0].regime => band.to = to,
            _ => bands.push(Band { from, to, kind: pair[0].regime }),
        }
    }
    Lines {
        x_label: "minutes".to_owned(),
        y_label: "price / catalogue price".to_owned(),
        lines: (0..LEVELS.len()).map(line).collect(),
        bands,
        band_names: Regime::ALL.iter().map(ToString::to_string).collect(),
    }
    .to_svg()
}

fn routing(summary: &Summary) -> String {
    Stack {
        x_label: "epoch".to_owned(),
        names: LEVELS.iter().map(|level| level.name.to_owned()).collect(),
        columns: summary.epochs.iter().map(|row| row.by_level.to_vec()).collect(),
    }
    .to_svg()
}

fn detection(summary: &Summary) -> String {
    let line = |name: &str, dashed: bool, of: fn(&crate::summary::EpochRow) -> f64| Line {
        name: name.to_owned(),
        points: std::iter::once((0.0, 0.0))
            .chain(summary.epochs.iter().enumerate().map(|(i, row)| ((i + 1) as f64, of(row))))
            .collect(),
        steps: !dashed,
        dashed,
    };
    Lines {
        x_label: "epochs".to_owned(),
        y_label: "cheaters".to_owned(),
        lines: vec![line("caught", false, |row| row.caught as f64), line("expected", true, |row| row.expected)],
        ..Lines::default()
    }
    .to_svg()
}

fn value(summary: &Summary) -> String {
    let bar = |name: String, policy: &crate::market::Policy| Bar {
        name,
        value: policy.value(),
        text: format!("{:.0}: score {:.0}, ${:.2}", policy.value(), policy.quality, policy.usd),
    };
    let fixed = LEVELS.iter().zip(&summary.fixed).map(|(level, policy)| bar(format!("always {}", level.name), policy));
    bars(&std::iter::once(bar("routed".to_owned(), &summary.routed)).chain(fixed).collect::<Vec<_>>())
}

fn money(summary: &Summary) -> String {
    let rows = [
        ("locked in escrow", summary.flows.locked),
        ("given back to clients", summary.flows.refunded),
        ("paid to workers", summary.fees.workers),
        ("paid to validators", summary.fees.validators),
        ("paid to verifiers", summary.fees.verifiers),
        ("paid to liquidity providers", summary.fees.liquidity_providers),
        ("burned of fees", summary.fees.burned),
        ("minted for metered work", summary.flows.emission),
    ];
    let bar = |(name, amount): (&str, u128)| {
        let usd = amount as f64 / BASE_UNITS_PER_USD as f64;
        Bar { name: name.to_owned(), value: usd, text: format!("${usd:.4}") }
    };
    bars(&rows.map(bar))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    #[test]
    fn an_empty_run_still_draws() {
        let mut summary = Summary::new(&Options::default(), 0);
        summary.input = "<script>".to_owned();
        let page = html(&summary, "a < b");
        assert!(page.contains("&lt;script&gt;") && page.contains("a &lt; b") && !page.contains("NaN"));
        assert_eq!(page.matches("<svg").count(), 5);
    }
}
