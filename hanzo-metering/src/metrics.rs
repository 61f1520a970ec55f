//! Counts for operators, as OpenMetrics text.

use crate::{Books, Quanta, Scheduler, StepReport, Tariff, UnitError};
use alloc::string::String;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransferLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    resource: &'static str,
}

/// Counters and gauges under the prefix `hanzo_metering_`: what was transferred, billed, queued, used and denied.
///
/// No label names an account, so their number does not grow with the clients. Ratios are floats, for display only.
///
/// ```
/// use hanzo_metering::{Metrics, Transfer};
/// let mut metrics = Metrics::new();
/// metrics.transfer("pending", true);
/// metrics.quota_denied();
/// let text = metrics.render();
/// assert!(text.contains("hanzo_metering_transfers_total{kind=\"pending\",outcome=\"accepted\"} 1"));
/// assert!(text.ends_with("# EOF\n"));
/// ```
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    transfers: Family<TransferLabels, Counter>,
    pendings_open: Gauge,
    usage: Counter,
    invoices: Counter,
    queue_jobs: Gauge,
    queue_wait: Histogram,
    pool_used: Family<ResourceLabels, Gauge<f64, AtomicU64>>,
    quota_denied: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("hanzo_metering");
        // Seconds, from a millisecond to a day.
        let bounds = [0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 86_400.0];
        let metrics = Self {
            transfers: Family::default(),
            pendings_open: Gauge::default(),
            usage: Counter::default(),
            invoices: Counter::default(),
            queue_jobs: Gauge::default(),
            queue_wait: Histogram::new(bounds),
            pool_used: Family::default(),
            quota_denied: Counter::default(),
            registry: Registry::default(),
        };
        registry.register("transfers", "Transfers by kind and outcome", metrics.transfers.clone());
        registry.register("pendings_open", "Pending transfers that reserve something", metrics.pendings_open.clone());
        registry.register("usage_nano_cu_hours", "Billed usage in billionths of a CU-hour", metrics.usage.clone());
        registry.register("invoices", "Invoices made", metrics.invoices.clone());
        registry.register("queue_jobs", "Jobs that wait", metrics.queue_jobs.clone());
        registry.register("queue_wait_seconds", "How long jobs waited before they ran", metrics.queue_wait.clone());
        registry.register("pool_used_ratio", "Share of a resource that is taken", metrics.pool_used.clone());
        registry.register("quota_denied", "Requests that a quota denied", metrics.quota_denied.clone());
        Self { registry, ..metrics }
    }

    /// Counts a transfer of a kind (`transfer`, `pending`, `post`, `void`).
    pub fn transfer(&mut self, kind: &'static str, accepted: bool) {
        let outcome = if accepted { "accepted" } else { "refused" };
        self.transfers.get_or_create(&TransferLabels { kind, outcome }).inc();
    }

    /// Counts billed usage, in billionths of a CU-hour before the multipliers, each call rounded down.
    ///
    /// # Errors
    /// `Overflow` where one call has 2^64 billionths or more.
    pub fn usage(&mut self, tariff: &Tariff, quanta: Quanta) -> Result<(), UnitError> {
        let nano = tariff.weights().nano_cu_hours(quanta)?;
        self.usage.inc_by(u64::try_from(nano).map_err(|_| UnitError::Overflow)?);
        Ok(())
    }

    /// Counts the invoices of a step.
    pub fn step(&mut self, report: &StepReport) {
        self.invoices.inc_by(report.bills.len() as u64);
    }

    /// Reads the open pendings of books.
    pub fn books(&mut self, books: &Books) {
        let open = books.treasury().ledger().open_pendings();
        self.pendings_open.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Reads the queue and the pool of a scheduler.
    pub fn scheduler(&mut self, scheduler: &Scheduler) {
        self.queue_jobs.set(i64::try_from(scheduler.queued()).unwrap_or(i64::MAX));
        let (free, all) = (scheduler.cluster().free(), scheduler.cluster().capacity());
        for (i, resource) in ["cpu", "memory", "gpu", "slots"].into_iter().enumerate() {
            let used = if all[i] == 0 { 0.0 } else { 1.0 - free[i] as f64 / all[i] as f64 };
            self.pool_used.get_or_create(&ResourceLabels { resource }).set(used);
        }
    }

    /// Notes how long a job waited before it ran, in nanoseconds; exported in seconds.
    pub fn queue_wait(&mut self, nanos: u64) {
        self.queue_wait.observe(nanos as f64 / 1e9);
    }

    /// Counts a request that a quota denied.
    pub fn quota_denied(&mut self) {
        self.quota_denied.inc();
    }

    /// The OpenMetrics text, ending in `# EOF`.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing into a string does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
