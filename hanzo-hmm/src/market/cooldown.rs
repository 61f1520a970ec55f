//! Taking a failing model out of service for a while.

use super::quote::Millis;
use super::request::Status;
use super::snapshot::{Reader, Writer, bad};
use crate::Result;

/// How failures lead to a pause.
///
/// Timeouts, HTTP 5xx and 429 and lost connections count; an exhausted budget (402) pauses at once; the caller's own errors (400, 404, content
/// filter) never count. After the pause one request is let through as a probe: its success puts the model back in service, its failure starts a
/// pause twice as long. A probe without an outcome counts as lost after the pause that its failure would have begun.
///
/// Times are those of the decisions ([`RouteOptions::now`](super::RouteOptions::now)), and an outcome counts as come at the time of its decision
/// plus its latency. As long as none was given, which is the time 0, no model is taken out of service, as it could never come back: what is
/// learned of its health still speaks against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct CooldownPolicy {
    /// Countable failures within the window that start a pause, at least 1.
    pub failures: u32,
    /// The window in milliseconds.
    pub window_ms: u64,
    /// First pause in milliseconds; each further one without a success between is twice as long. A pause that a server asks for
    /// ([`Status::RateLimited`]) takes its place.
    pub base_ms: u64,
    /// Longest pause in milliseconds, also for what a server asks for after overload.
    pub max_ms: u64,
    /// Pause in milliseconds for an exhausted budget that names no reset.
    pub budget_ms: u64,
}

impl Default for CooldownPolicy {
    /// 3 failures in 60 s, 5 s doubling to at most 300 s, 1 h for budgets.
    fn default() -> Self {
        Self { failures: 3, window_ms: 60_000, base_ms: 5_000, max_ms: 300_000, budget_ms: 3_600_000 }
    }
}

/// Service state of a model, as the last decision or outcome left it: a pause whose end has passed shows as `Cooling` until the model is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceState {
    /// In service.
    Healthy,
    /// Out of service.
    Cooling {
        /// First millisecond at which one probe is let through.
        until: Millis,
    },
    /// One probe is on its way; nothing else is let through.
    HalfOpen {
        /// When the probe counts as lost and another one is let through.
        until: Millis,
    },
}

/// The state machine of one model: healthy, cooling, half open.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cooldown {
    state: ServiceState,
    /// Pauses since the last success.
    pauses: u32,
    recent_failures: Vec<Millis>,
}

impl Cooldown {
    pub(crate) fn new() -> Self {
        Self { state: ServiceState::Healthy, pauses: 0, recent_failures: Vec::new() }
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        let (kind, until) = match self.state {
            ServiceState::Healthy => (0, 0),
            ServiceState::Cooling { until } => (1, until),
            ServiceState::HalfOpen { until } => (2, until),
        };
        w.u64(kind);
        w.u64(until);
        w.u64(u64::from(self.pauses));
        w.u64(self.recent_failures.len() as u64);
        self.recent_failures.iter().for_each(|&at| w.u64(at));
    }

    pub(crate) fn load(r: &mut Reader<'_>) -> Result<Self> {
        let (kind, until) = (r.index(3)?, r.u64()?);
        let state = match kind {
            0 if until == 0 => ServiceState::Healthy,
            0 => return bad("cooldown"),
            1 => ServiceState::Cooling { until },
            _ => ServiceState::HalfOpen { until },
        };
        // The cast is exact below the bound.
        let pauses = r.index(1 << 32)? as u32;
        let recent_failures = (0..r.count(8)?).map(|_| r.u64()).collect::<Result<_>>()?;
        Ok(Self { state, pauses, recent_failures })
    }

    pub(crate) fn state(&self) -> ServiceState {
        self.state
    }

    /// When the model can be used again, if it cannot now.
    pub(crate) fn blocked_until(&self, now: Millis) -> Option<Millis> {
        match self.state {
            ServiceState::Cooling { until } | ServiceState::HalfOpen { until } if now < until => Some(until),
            _ => None,
        }
    }

    /// The model was chosen.
    pub(crate) fn chosen(&mut self, now: Millis, policy: &CooldownPolicy) {
        if self.state != ServiceState::Healthy {
            self.state = ServiceState::HalfOpen { until: now.saturating_add(self.pause(policy)) };
        }
    }

    /// An outcome of the model came in.
    pub(crate) fn outcome(&mut self, status: Status, now: Millis, policy: &CooldownPolicy) {
        match status {
            Status::Success => *self = Self::new(),
            Status::OutOfBudget { reset_ms } => {
                self.pauses = self.pauses.saturating_add(1);
                self.recent_failures.clear();
                self.cool(now.saturating_add(reset_ms.unwrap_or(policy.budget_ms)));
            }
            status if status.counts_as_failure() => {
                let retry_after = match status {
                    Status::RateLimited { retry_after_ms } => retry_after_ms,
                    _ => None,
                };
                let oldest = now.saturating_sub(policy.window_ms);
                self.recent_failures.retain(|&at| at >= oldest);
                self.recent_failures.push(now);
                let probe_failed = self.state != ServiceState::Healthy;
                if probe_failed || self.recent_failures.len() >= policy.failures as usize {
                    let pause = retry_after.unwrap_or_else(|| self.pause(policy)).min(policy.max_ms);
                    self.pauses = self.pauses.saturating_add(1);
                    self.recent_failures.clear();
                    self.cool(now.saturating_add(pause));
                }
            }
            _ => {}
        }
    }

    /// A pause never ends earlier because of a late failure.
    fn cool(&mut self, until: Millis) {
        let until = match self.state {
            ServiceState::Cooling { until: old } => until.max(old),
            _ => until,
        };
        self.state = ServiceState::Cooling { until };
    }

    fn pause(&self, policy: &CooldownPolicy) -> u64 {
        let doubled = policy.base_ms.saturating_mul(1u64.checked_shl(self.pauses).unwrap_or(u64::MAX));
        doubled.min(policy.max_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: CooldownPolicy =
        CooldownPolicy { failures: 3, window_ms: 60_000, base_ms: 5_000, max_ms: 300_000, budget_ms: 3_600_000 };

    fn fail(c: &mut Cooldown, at: Millis) {
        c.outcome(Status::Timeout, at, &POLICY);
    }

    #[test]
    fn three_failures_in_the_window_cool() {
        let mut c = Cooldown::new();
        fail(&mut c, 0);
        fail(&mut c, 50_000);
        fail(&mut c, 70_000); // the first one is out of the window
        assert_eq!(c.blocked_until(70_000), None);
        fail(&mut c, 80_000);
        assert_eq!(c.blocked_until(80_000), Some(85_000));
        assert_eq!(c.blocked_until(85_000), None);
    }

    #[test]
    fn one_probe_at_a_time_and_doubling_pauses() {
        let mut c = Cooldown::new();
        for at in 0..3 {
            fail(&mut c, at);
        }
        let mut now = 5_002;
        for pause in [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000] {
            assert_eq!(c.blocked_until(now), None);
            c.chosen(now, &POLICY);
            assert!(matches!(c.state(), ServiceState::HalfOpen { .. }));
            assert!(c.blocked_until(now + 1).is_some(), "a second probe is not let through");
            fail(&mut c, now + 1);
            assert_eq!(c.blocked_until(now + 1), Some(now + 1 + pause));
            now += 1 + pause;
        }
        c.chosen(now, &POLICY);
        c.outcome(Status::Success, now, &POLICY);
        assert_eq!(c, Cooldown::new());
    }

    #[test]
    fn a_lost_probe_does_not_block_for_ever() {
        let mut c = Cooldown::new();
        for at in 0..3 {
            fail(&mut c, at);
        }
        c.chosen(5_002, &POLICY);
        assert_eq!(c.blocked_until(15_001), Some(15_002));
        assert_eq!(c.blocked_until(15_002), None);
    }

    #[test]
    fn servers_may_name_their_own_pause() {
        let mut c = Cooldown::new();
        for at in 0..3 {
            c.outcome(Status::RateLimited { retry_after_ms: Some(20_000) }, at, &POLICY);
        }
        assert_eq!(c.blocked_until(2), Some(20_002));
        let mut c = Cooldown::new();
        c.outcome(Status::OutOfBudget { reset_ms: None }, 10, &POLICY);
        assert_eq!(c.blocked_until(10), Some(3_600_010));
    }

    #[test]
    fn the_callers_own_errors_never_cool() {
        let mut c = Cooldown::new();
        for at in 0..20 {
            c.outcome(Status::BadRequest, at, &POLICY);
            c.outcome(Status::NotFound, at, &POLICY);
            c.outcome(Status::ContentFiltered, at, &POLICY);
        }
        assert_eq!(c, Cooldown::new());
    }
}
