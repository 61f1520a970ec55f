//! The invoice as text, the FOCUS files, and a page with the usage drawn.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hanzo::metering::TeeKind;
use hanzo::metering::{Basis, Invoice, JournalStore as _, LineKind};
use hanzo_examples::chart::{Bar, Line, Lines, bars};
use hanzo_examples::page::Page;
use hanzo_metering::{FocusConfig, FocusDeployment, FocusVersion, write_focus};

use crate::{Day, Result, TOKEN, Tenant, id_of};

/// Base units as tokens, all nine decimals.
fn tokens(amount: i128) -> String {
    let (sign, n) = (if amount < 0 { "-" } else { "" }, amount.unsigned_abs());
    format!("{sign}{}.{:09}", n / TOKEN, n % TOKEN)
}

fn name(basis: Basis) -> &'static str {
    match basis {
        Basis::Reserved => "reserved",
        Basis::Used => "used",
        Basis::MaxOfBoth => "the larger of reserved and used",
    }
}

fn of<'a>(day: &'a Day, tenant: &'a Tenant) -> impl Iterator<Item = &'a Invoice> {
    day.invoices.iter().filter(|i| i.deployment == id_of(tenant.work))
}

/// The invoices, line by line, and what became of the money.
pub(crate) fn table(day: &Day) -> Result<String> {
    let mut out = String::new();
    let w = &mut out;
    writeln!(
        w,
        "{:.1} s metered, billed as {}, {} base units per CU-hour\n",
        day.seconds,
        name(day.tariff.basis()),
        day.tariff.price_per_cu_hour()
    )?;
    writeln!(
        w,
        "{:<10} {:>13} {:>12} {:>12} {:>15} {:>17}",
        "deployment", "blocks", "core-seconds", "GiB-seconds", "CU-hours", "tokens"
    )?;
    for tenant in &day.tenants {
        for invoice in of(day, tenant) {
            for line in &invoice.lines {
                let (kind, cpu, memory) = match line.kind {
                    LineKind::Usage(window) => ("", window.usage.cpu as f64, window.usage.memory as f64),
                    LineKind::Correction(c) => ("late", c.delta.cpu as f64, c.delta.memory as f64),
                    _ => ("", 0.0, 0.0),
                };
                let cu = day.tariff.weights().nano_cu_hours(line.quanta.magnitude())?;
                writeln!(
                    w,
                    "{:<10} {:>13} {:>12.3} {:>12.3} {:>15} {:>17} {kind}",
                    tenant.work.name(),
                    format!("{} to {}", invoice.from_height, invoice.to_height),
                    cpu / 1e12,
                    memory / (1u64 << 30) as f64 / 1e9,
                    tokens(cu as i128),
                    tokens(line.amount),
                )?;
            }
        }
    }
    writeln!(w)?;
    let mut all = 0;
    for tenant in &day.tenants {
        let total: i128 = of(day, tenant).map(|i| i.total).sum();
        all += total;
        let runtime = format!("{:?}", tenant.runtime).to_lowercase();
        let a_day = (total as f64 / TOKEN as f64) * 86_400.0 / day.seconds;
        writeln!(
            w,
            "{:<10} {runtime:<12} {:>17} tokens; a day like this: {a_day:.6}",
            tenant.work.name(),
            tokens(total)
        )?;
    }
    let treasury = day.books.state().treasury();
    let audit = treasury.audit()?;
    let minted = day.books.state().emission().minted();
    let paid = |account| i128::try_from(treasury.available(account));
    writeln!(w, "{:<10} {:<12} {:>17} tokens", "in all", "", tokens(all))?;
    writeln!(
        w,
        "\noperator   paid {} and minted {}",
        tokens(paid(day.operator)? - minted as i128),
        tokens(minted as i128)
    )?;
    writeln!(w, "validators paid {}", tokens(paid(day.validators)?))?;
    writeln!(
        w,
        "audit      {} base units minted = {} in wallets + {} suspense + {} burned; {} transfers, {} bytes of journal",
        audit.minted,
        audit.wallets,
        audit.suspense,
        audit.burned,
        audit.transfers,
        day.books.store().bytes().len()
    )?;
    Ok(out)
}

/// Writes everything into a folder.
pub(crate) fn write(folder: &Path, day: &Day, currency: &str) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    // A base unit is a billionth of a token, and a token is one of the currency.
    let mut config = FocusConfig::new(currency, (1, 1))?;
    for tenant in &day.tenants {
        config.accounts.insert(tenant.wallet, format!("Tenant of {}", tenant.work.name()));
        let mut deployment = FocusDeployment::new(day.tariff, tenant.runtime, TeeKind::None);
        deployment.name = Some(tenant.work.name().into());
        deployment.namespace = Some("examples".into());
        config.deployments.insert(id_of(tenant.work), deployment);
    }
    let mut files = Vec::new();
    for (version, name) in [(FocusVersion::V1_0, "focus_1_0.csv"), (FocusVersion::V1_2, "focus_1_2.csv")] {
        let mut bytes = Vec::new();
        write_focus(&mut bytes, version, &config, &day.invoices, &[])?;
        files.push((name, bytes));
    }
    files.push(("journal.bin", day.books.store().read_from(0)?));
    files.push(("bill.html", page(day)?.into_bytes()));
    let mut written = Vec::new();
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::write(&path, bytes)?;
        written.push(path);
    }
    Ok(written)
}

fn page(day: &Day) -> Result<String> {
    let line = |tenant: &Tenant, points| Line { name: tenant.work.name().into(), points, steps: false, dashed: false };
    let cores = |t: &Tenant| {
        let rate = |w: &[(f64, u64, u64)]| (w[1].0, (w[1].1 - w[0].1) as f64 / 1e9 / (w[1].0 - w[0].0).max(1e-9));
        // Over five readings, so that the clock's grain does not show.
        let smooth: Vec<_> = t.readings.iter().step_by(5).copied().collect();
        line(t, smooth.windows(2).map(rate).collect())
    };
    let memory = |t: &Tenant| line(t, t.readings.iter().map(|r| (r.0, r.2 as f64 / f64::from(1 << 20))).collect());
    let cost = |t: &Tenant| {
        let mut sum = 0;
        let mut points = vec![(0.0, 0.0)];
        for invoice in of(day, t) {
            sum += invoice.total;
            let at = invoice.to_height as f64 / crate::BLOCKS as f64 * day.seconds;
            points.push((at, sum as f64 / TOKEN as f64 * 1e3));
        }
        Line { steps: true, ..line(t, points) }
    };
    let chart = |y: &str, lines: Vec<Line>| {
        let lines = Lines { x_label: "seconds".into(), y_label: y.into(), lines, ..Lines::default() };
        lines.to_svg()
    };
    let t = &day.tenants;
    let totals: Vec<Bar> = t
        .iter()
        .map(|t| {
            let total: i128 = of(day, t).map(|i| i.total).sum();
            Bar { name: t.work.name().into(), value: total.max(0) as f64, text: format!("{} tokens", tokens(total)) }
        })
        .collect();
    let limits = t.first().map_or(0, |t| t.reserved.bytes() >> 20);
    Ok(Page::new("What this machine used, and what it costs")
        .text(&format!(
            "{:.1} s, read from the kernel's counts; each deployment has a limit of 1 core and {limits} MiB.",
            day.seconds
        ))
        .chart("Processor", &chart("cores", t.iter().map(cores).collect()))
        .chart("Memory", &chart("MiB", t.iter().map(memory).collect()))
        .chart("Billed so far", &chart("thousandths of a token", t.iter().map(cost).collect()))
        .chart("In all", &bars(&totals))
        .with_figures(&table(day)?))
}
