//! What a run has shown: the machine-readable result, and the table for people.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use hanzo::hmm::market::Regime;
use hanzo::poai::theory::{detection_exact_count, detection_iid};
use serde::Serialize;

use crate::Result;
use crate::bank::{BASE_UNITS_PER_USD, Balance, Fees, Flows};
use crate::clocks::Clocks;
use crate::market::{Policy, QUALITY_PER_USD};
use crate::network::LEVELS;
use crate::options::Options;
use crate::party::Cheat;
use crate::worker::{CHEAT_RATE, Worker};

/// Points of a drawn line.
const SERIES: usize = 400;

/// The market at one request.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Moment {
    /// When.
    pub(crate) at_ms: u64,
    /// Index of the regime.
    pub(crate) regime: usize,
    /// Price over catalogue price, by level.
    pub(crate) multipliers: [f64; LEVELS.len()],
}

/// One epoch.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct EpochRow {
    /// When its last job ended.
    pub(crate) ends_ms: u64,
    /// Jobs by level.
    pub(crate) by_level: [u64; LEVELS.len()],
    /// Jobs drawn for an audit.
    pub(crate) audited: u64,
    /// Jobs paid for.
    pub(crate) settled: u64,
    /// Jobs given back.
    pub(crate) refunded: u64,
    /// Bad answers delivered.
    pub(crate) bad: u64,
    /// Cheaters caught up to its end.
    pub(crate) caught: u64,
    /// Cheaters that were expected to be caught up to its end, see [`Summary::expected_caught`].
    pub(crate) expected: f64,
}

/// Between what a level's published price moved.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct PriceRange {
    /// The level.
    pub(crate) level: &'static str,
    /// Least dollars for 1,000 billed tokens.
    pub(crate) low_usd_per_1k: f64,
    /// Most dollars for 1,000 billed tokens.
    pub(crate) high_usd_per_1k: f64,
}

/// A worker found guilty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Caught {
    /// Which.
    pub(crate) worker: usize,
    /// What it did; none if it was honest, which must not happen.
    pub(crate) cheat: Option<Cheat>,
    /// In which epoch.
    pub(crate) epoch: u64,
    /// When.
    pub(crate) at_ms: u64,
    /// Bad answers it had delivered.
    pub(crate) bad_jobs: u64,
}

/// A cheater as it stands at the end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CheaterRow {
    /// Which worker.
    pub(crate) worker: usize,
    /// What it did.
    pub(crate) cheat: &'static str,
    /// Bad answers it delivered.
    pub(crate) bad_jobs: u64,
    /// Chance that audits at the asked rate find at least one of them.
    pub(crate) chance: f64,
    /// Epoch in which it was caught.
    pub(crate) caught_in_epoch: Option<u64>,
    /// Milliseconds of the trace at which it was.
    pub(crate) caught_at_ms: Option<u64>,
}

/// The result of a run. Same options and input, same bytes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    pub(crate) input: String,
    pub(crate) seed: u64,
    pub(crate) requests: usize,
    pub(crate) workers: usize,
    pub(crate) cheaters: usize,
    pub(crate) tenants: usize,
    pub(crate) validators: u16,
    pub(crate) audit_rate_ppm: u32,
    pub(crate) without_level: u64,
    pub(crate) without_worker: u64,
    pub(crate) regimes: BTreeMap<String, u64>,
    pub(crate) prices: Vec<PriceRange>,
    pub(crate) routed: Policy,
    pub(crate) fixed: [Policy; LEVELS.len()],
    /// The same for each tenant.
    pub(crate) fixed_by_tenant: Vec<[Policy; LEVELS.len()]>,
    pub(crate) delivered_quality: f64,
    pub(crate) settled: u64,
    pub(crate) refunded: u64,
    pub(crate) asked_positions: u64,
    pub(crate) computed_positions: u64,
    pub(crate) reexecuted_jobs: u64,
    pub(crate) reexecuted_positions: u64,
    pub(crate) disputes: u64,
    pub(crate) cheater_rows: Vec<CheaterRow>,
    /// How many cheaters were to be caught in the mean, from what is known before a run: a cheater has an equal share of the jobs,
    /// answers [`CHEAT_RATE`] of them badly, and each bad answer is audited at the asked rate.
    pub(crate) expected_caught: f64,
    pub(crate) cheaters_caught: usize,
    pub(crate) honest_convicted: usize,
    pub(crate) keys_released: u64,
    pub(crate) keys_refused: u64,
    pub(crate) fees: Fees,
    pub(crate) flows: Flows,
    pub(crate) balance: Balance,
    pub(crate) blocks: u64,
    pub(crate) rivals_rejected: u64,
    pub(crate) rounds: u64,
    pub(crate) tip: String,
    pub(crate) consensus_trace: String,
    pub(crate) lessons: usize,
    pub(crate) log_entries: u64,
    pub(crate) proofs_verified: u64,
    pub(crate) experience_root: String,
    pub(crate) epochs: Vec<EpochRow>,
    /// Every request while the run goes on, [`SERIES`] of them at its end.
    pub(crate) moments: Vec<Moment>,
    #[serde(skip)]
    pub(crate) caught: Vec<Caught>,
}

impl Summary {
    /// Nothing yet.
    pub(crate) fn new(options: &Options, requests: usize) -> Self {
        let input = match &options.trace {
            Some(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            None => "arrival model".to_owned(),
        };
        Self {
            input,
            seed: options.seed,
            requests,
            workers: options.workers,
            cheaters: options.cheaters,
            tenants: options.tenants,
            validators: options.validators,
            audit_rate_ppm: options.audit_ppm,
            without_level: 0,
            without_worker: 0,
            regimes: BTreeMap::new(),
            prices: Vec::new(),
            routed: Policy::default(),
            fixed: Default::default(),
            fixed_by_tenant: vec![Default::default(); options.tenants],
            delivered_quality: 0.0,
            settled: 0,
            refunded: 0,
            asked_positions: 0,
            computed_positions: 0,
            reexecuted_jobs: 0,
            reexecuted_positions: 0,
            disputes: 0,
            cheater_rows: Vec::new(),
            expected_caught: 0.0,
            cheaters_caught: 0,
            honest_convicted: 0,
            keys_released: 0,
            keys_refused: 0,
            fees: Fees::default(),
            flows: Flows::default(),
            balance: Balance { minted: 0, burned: 0, wallets: 0, staked: 0, carried: 0, open_escrows: 0 },
            blocks: 0,
            rivals_rejected: 0,
            rounds: 0,
            tip: String::new(),
            consensus_trace: String::new(),
            lessons: 0,
            log_entries: 0,
            proofs_verified: 0,
            experience_root: String::new(),
            epochs: Vec::new(),
            moments: Vec::new(),
            caught: Vec::new(),
        }
    }

    /// The row of an epoch; the first is epoch 1.
    pub(crate) fn epoch(&mut self, epoch: u64) -> &mut EpochRow {
        let index = epoch.saturating_sub(1) as usize;
        if index >= self.epochs.len() {
            self.epochs.resize(index + 1, EpochRow::default());
        }
        &mut self.epochs[index]
    }

    /// Adds up what the run left behind.
    pub(crate) fn finish(&mut self, workers: &[Worker], audit_ppm: u32) -> Result<()> {
        let rate = f64::from(audit_ppm) / 1e6;
        for moment in &self.moments {
            let name = Regime::from_index(moment.regime).map_or_else(|| "unknown".to_owned(), |r| r.to_string());
            *self.regimes.entry(name).or_default() += 1;
        }
        for (index, level) in LEVELS.iter().enumerate() {
            let prices = || self.moments.iter().map(|moment| level.usd_per_1k * moment.multipliers[index]);
            let (low, high) = (prices().fold(f64::INFINITY, f64::min), prices().fold(0.0, f64::max));
            self.prices.push(PriceRange { level: level.name, low_usd_per_1k: low, high_usd_per_1k: high });
        }
        if self.moments.len() > SERIES {
            let all = std::mem::take(&mut self.moments);
            self.moments = (0..SERIES).map(|i| all[i * (all.len() - 1) / (SERIES - 1)]).collect();
        }

        for (index, worker) in workers.iter().enumerate() {
            let caught = self.caught.iter().find(|caught| caught.worker == index).copied();
            let Some(cheat) = worker.cheat else {
                self.honest_convicted += usize::from(worker.convicted);
                continue;
            };
            for (&epoch, &bad) in &worker.bad {
                self.epoch(epoch).bad += bad;
            }
            self.cheater_rows.push(CheaterRow {
                worker: index,
                cheat: cheat.name(),
                bad_jobs: worker.bad_jobs(),
                chance: detection_exact_count(rate, worker.bad_jobs())?,
                caught_in_epoch: caught.map(|c| c.epoch),
                caught_at_ms: caught.map(|c| c.at_ms),
            });
        }
        self.cheaters_caught = self.caught.iter().filter(|caught| caught.cheat.is_some()).count();
        let (mut caught, mut jobs) = (0, 0);
        for (index, row) in self.epochs.iter_mut().enumerate() {
            caught += self.caught.iter().filter(|c| c.epoch == index as u64 + 1 && c.cheat.is_some()).count() as u64;
            jobs += row.settled + row.refunded;
            row.caught = caught;
            row.expected = self.cheaters as f64 * detection_iid(rate, CHEAT_RATE, jobs / self.workers as u64)?;
            self.expected_caught = row.expected;
            self.settled += row.settled;
            self.refunded += row.refunded;
        }
        Ok(())
    }

    /// Requests that a worker answered.
    pub(crate) fn served(&self) -> u64 {
        self.settled + self.refunded
    }

    /// The fixed level of the highest value in hindsight.
    pub(crate) fn best_fixed(&self) -> usize {
        let value = |level: &usize| self.fixed[*level].value();
        (0..LEVELS.len()).max_by(|a, b| value(a).total_cmp(&value(b))).unwrap_or(0)
    }

    /// The level of the highest value for each tenant, in hindsight: what knowing the tenants beforehand would be worth.
    pub(crate) fn best_by_tenant(&self) -> Policy {
        let best =
            |levels: &[Policy; LEVELS.len()]| levels.iter().copied().max_by(|a, b| a.value().total_cmp(&b.value()));
        let mut sum = Policy::default();
        for policy in self.fixed_by_tenant.iter().filter_map(best) {
            sum.add(policy.usd, policy.quality);
        }
        sum
    }

    /// Why the run must not be trusted, if there is a reason.
    pub(crate) fn defects(&self) -> Vec<String> {
        let mut defects = Vec::new();
        if !self.balance.holds() {
            defects.push("base units were lost or made".to_owned());
        }
        if self.flows.locked != self.flows.paid + self.flows.refunded || self.balance.open_escrows > 0 {
            defects.push("what left escrow is not what went in".to_owned());
        }
        if self.honest_convicted > 0 {
            defects.push(format!("{} honest workers were convicted", self.honest_convicted));
        }
        defects
    }

    /// The table for people.
    pub(crate) fn table(&self, clocks: &Clocks, total_s: f64) -> String {
        let mut table = Table::default();
        let served = self.served().max(1) as f64;
        let usd = |base_units: u128| format!("${:.4}", base_units as f64 / BASE_UNITS_PER_USD as f64);

        table.head("Requests");
        table.row("input", format!("{}, seed {}", self.input, self.seed));
        table.row(
            "requests",
            format!(
                "{} by {} tenants; {} served by {} workers, {} without a level, {} without a worker",
                self.requests,
                self.tenants,
                self.served(),
                self.workers,
                self.without_level,
                self.without_worker
            ),
        );
        table.row("outcome", format!("{} paid for, {} refunded", self.settled, self.refunded));

        table.head("Market");
        let regimes: Vec<String> = self.regimes.iter().map(|(name, n)| format!("{name} {n}")).collect();
        table.row("regimes seen", format!("{} (requests)", regimes.join(", ")));
        for PriceRange { level, low_usd_per_1k, high_usd_per_1k } in &self.prices {
            let range = format!("${low_usd_per_1k:.5} to ${high_usd_per_1k:.5} for 1,000 tokens");
            table.row(&format!("price of {level}"), range);
        }
        let policy = |p: &Policy| {
            format!("${:.4}, quality {:.3}, value {:.3} a job", p.usd, p.quality / served, p.value() / served)
        };
        let best = self.best_fixed();
        table.row("routed", policy(&self.routed));
        table.row(&format!("best fixed ({})", LEVELS[best].name), policy(&self.fixed[best]));
        table.row("best fixed for each tenant", policy(&self.best_by_tenant()));
        table.row(&format!("cheapest ({})", LEVELS[0].name), policy(&self.fixed[0]));
        let last = LEVELS.len() - 1;
        table.row(&format!("dearest ({})", LEVELS[last].name), policy(&self.fixed[last]));
        for (name, other) in [("best fixed", &self.fixed[best]), ("cheapest", &self.fixed[0])] {
            let saved = 100.0 * (other.usd - self.routed.usd) / other.usd.max(f64::MIN_POSITIVE);
            let gained = (self.routed.value() - other.value()) / served;
            let word = if saved < 0.0 { "more cost" } else { "cost saved" };
            table.row(&format!("against {name}"), format!("{:.1} % {word}, value {gained:+.3} a job", saved.abs()));
        }
        table.row("value", format!("score - {QUALITY_PER_USD} x dollars, honest answers, published prices"));

        table.head("Verification");
        table.row(
            "cheaters caught",
            format!(
                "{} of {}; {:.2} were expected, as a cheater cheats in {:.0} % of its jobs and {:.1} % are audited",
                self.cheaters_caught,
                self.cheaters,
                self.expected_caught,
                100.0 * CHEAT_RATE,
                f64::from(self.audit_rate_ppm) / 1e4
            ),
        );
        for row in &self.cheater_rows {
            let end = match (row.caught_in_epoch, row.caught_at_ms) {
                (Some(epoch), Some(ms)) => format!("caught in epoch {epoch}, minute {:.1}", ms as f64 / 60_000.0),
                _ => "at large".to_owned(),
            };
            let answers = if row.bad_jobs == 1 { "answer" } else { "answers" };
            table.row(
                &format!("  worker {} {}", row.worker, row.cheat),
                format!("{} bad {answers} (chance to be caught {:.2}), {end}", row.bad_jobs, row.chance),
            );
        }
        table.row("honest convicted", format!("{} (must be 0)", self.honest_convicted));
        table.row(
            "re-executed",
            format!(
                "{} executions for {} jobs ({:.1} %), {:.1} % of the forward passes; {} disputes",
                self.reexecuted_jobs,
                self.served(),
                100.0 * self.reexecuted_jobs as f64 / served,
                100.0 * self.reexecuted_positions as f64 / self.asked_positions.max(1) as f64,
                self.disputes
            ),
        );
        table.row("keys", format!("{} released, {} refused", self.keys_released, self.keys_refused));

        table.head("Money (base units)");
        let Flows { genesis, emission, locked, paid, refunded, slashed, rewards } = self.flows;
        table.row(
            "escrow",
            format!("{} in = {} paid + {} given back", grouped(locked), grouped(paid), grouped(refunded)),
        );
        for (name, amount) in [
            ("fees to workers", self.fees.workers),
            ("fees to validators", self.fees.validators),
            ("fees to verifiers", self.fees.verifiers),
            ("fees to liquidity providers", self.fees.liquidity_providers),
            ("fees burned", self.fees.burned),
        ] {
            table.row(name, format!("{} ({})", grouped(amount), usd(amount)));
        }
        table.row(
            "slashed",
            format!("{} ({}), of it {} to reporters", grouped(slashed), usd(slashed), grouped(rewards)),
        );
        let Balance { minted, burned, wallets, staked, carried, .. } = self.balance;
        table.row(
            "base units in",
            format!("{} = {} genesis + {} minted", grouped(minted), grouped(genesis), grouped(emission)),
        );
        table.row(
            "base units out",
            format!(
                "{} = {} in wallets + {} at stake + {} burned + {} carried",
                grouped(wallets + staked + burned + carried),
                grouped(wallets),
                grouped(staked),
                grouped(burned),
                grouped(carried)
            ),
        );
        table.row("conservation", if self.balance.holds() { "exact" } else { "VIOLATED" }.to_owned());

        table.head("Agreement and memory");
        table.row(
            "blocks final",
            format!(
                "{} by {} validators in {} rounds, {} rivals rejected",
                self.blocks, self.validators, self.rounds, self.rivals_rejected
            ),
        );
        table.row("last block", self.tip.clone());
        table.row(
            "experience",
            format!(
                "{} lessons, {} log entries, {} proofs verified",
                self.lessons, self.log_entries, self.proofs_verified
            ),
        );
        table.row("experience root", self.experience_root.clone());

        table.head("Time");
        let parts: Vec<(String, f64)> = clocks.seconds().map(|(part, s)| (part.name().to_owned(), s)).collect();
        let inside: f64 = parts.iter().map(|(_, seconds)| seconds).sum();
        for (name, seconds) in &parts {
            table.row(name, format!("{seconds:8.3} s"));
        }
        table.row("everything else", format!("{:8.3} s", (total_s - inside).max(0.0)));
        table.to_string()
    }
}

/// Names and values in two columns.
#[derive(Debug, Default)]
struct Table {
    rows: Vec<(Option<String>, String)>,
}

impl Table {
    fn head(&mut self, text: &str) {
        self.rows.push((None, text.to_owned()));
    }

    fn row(&mut self, name: &str, value: String) {
        self.rows.push((Some(name.to_owned()), value));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().filter_map(|(name, _)| name.as_ref().map(String::len)).max().unwrap_or(0);
        for (name, value) in &self.rows {
            match name {
                Some(name) => writeln!(f, "  {name:<width$}  {value}")?,
                None => writeln!(f, "{value}")?,
            }
        }
        Ok(())
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        let _ = out.write_char(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1_000, 1_234_567].map(grouped).each_ref().map(|s| s.as_str())
        );
    }

    #[test]
    fn a_run_that_loses_money_or_convicts_the_honest_says_so() {
        let mut summary = Summary::new(&Options::default(), 3);
        assert_eq!(summary.defects(), [""; 0]);
        summary.balance.minted = 1;
        summary.flows.locked = 1;
        summary.honest_convicted = 1;
        assert_eq!(summary.defects().len(), 3);
    }
}
