use super::{BlockingRuntime, DeploymentConfig, DeploymentId, Sample};
use crate::{Resources, Timestamp, Value};
use alloc::vec::Vec;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often each thing goes wrong, in basis points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Faults {
    /// A deployment is not made.
    pub deploy_fails: u16,
    /// A call was carried out, but its answer is lost.
    pub reply_lost: u16,
    /// Another call is not carried out.
    pub call_fails: u16,
}

/// Why a [`FakeRuntime`] did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FakeError {
    /// It did nothing.
    #[error("call failed")]
    Failed,
    /// It may have done it.
    #[error("no answer")]
    NoAnswer,
    /// The deployment does not run.
    #[error("deployment does not run")]
    NotRunning,
}

/// A runtime that runs nothing: it keeps to the rules of [`Runtime`](super::Runtime), fails as it is told, and remembers what would have
/// run when. Seeded, so a run can be repeated.
///
/// ```
/// use hanzo_metering::{BlockingRuntime, DeploymentConfig, DeploymentId, FakeRuntime, Faults};
/// use hanzo_metering::{Resources, RuntimeKind, Timestamp};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (id, resources) = (DeploymentId::new(7), Resources::new(2_000, 4 << 30, 0)?);
/// let runtime = FakeRuntime::new(1, Faults::default());
/// BlockingRuntime::deploy(&runtime, &DeploymentConfig::new(id, RuntimeKind::Docker, "app:1", resources))?;
/// runtime.set_now(Timestamp::from_nanos(50));
/// BlockingRuntime::stop(&runtime, id)?;
/// assert_eq!(runtime.history(), [(id, resources, Timestamp::ZERO, Timestamp::from_nanos(50))]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct FakeRuntime {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    faults: Faults,
    random: u64,
    running: BTreeMap<DeploymentId, Live>,
    /// Deployment, what it had, from when to when.
    history: Vec<(DeploymentId, Resources, Timestamp, Timestamp)>,
}

#[derive(Debug)]
struct Live {
    config: DeploymentConfig,
    began: Timestamp,
    since: Timestamp,
    unread: Vec<Sample>,
}

impl FakeRuntime {
    /// One that does what it is asked, by a generator of this seed.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let (running, history) = (BTreeMap::new(), Vec::new());
        Self { state: Mutex::new(State { now: Timestamp::ZERO, faults, random: seed, running, history }) }
    }

    /// Moves its clock on.
    pub fn set_now(&self, now: Timestamp) {
        self.lock().now = now;
    }

    /// Changes how it fails.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// What ran, from when to when, and what runs now, until now: deployment, all replicas together, begin and end.
    pub fn history(&self) -> Vec<(DeploymentId, Resources, Timestamp, Timestamp)> {
        let state = self.lock();
        let open = state.running.iter().map(|(&id, live)| (id, live.resources(), live.since, state.now));
        state.history.iter().copied().chain(open).collect()
    }

    /// Ends a deployment by itself.
    pub fn exit(&self, id: DeploymentId) {
        let mut state = self.lock();
        state.end(id);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlockingRuntime for FakeRuntime {
    type Error = FakeError;

    fn deploy(&self, config: &DeploymentConfig) -> Result<DeploymentId, FakeError> {
        let mut state = self.lock();
        let fails = state.faults.deploy_fails;
        state.may_fail(fails)?;
        let now = state.now;
        state.running.entry(config.id).or_insert_with(|| {
            let mut live = Live { config: config.clone(), began: now, since: now, unread: Vec::new() };
            live.sample(now);
            live
        });
        state.may_be_lost()?;
        Ok(config.id)
    }

    fn stop(&self, id: DeploymentId) -> Result<Option<Timestamp>, FakeError> {
        let mut state = self.lock();
        let fails = state.faults.call_fails;
        state.may_fail(fails)?;
        state.end(id);
        state.may_be_lost()?;
        Ok(state.history.iter().rev().find(|h| h.0 == id).map(|h| h.3))
    }

    fn scale(&self, id: DeploymentId, replicas: u32) -> Result<(), FakeError> {
        let mut state = self.lock();
        let fails = state.faults.call_fails;
        state.may_fail(fails)?;
        let now = state.now;
        let live = state.running.get_mut(&id).ok_or(FakeError::NotRunning)?;
        let before = (id, live.resources(), live.since, now);
        live.config.replicas = replicas;
        live.since = now;
        live.sample(now);
        state.history.push(before);
        state.may_be_lost()
    }

    fn metrics(&self, id: DeploymentId) -> Result<Vec<Sample>, FakeError> {
        let mut state = self.lock();
        let fails = state.faults.call_fails;
        state.may_fail(fails)?;
        let now = state.now;
        let live = state.running.get_mut(&id).ok_or(FakeError::NotRunning)?;
        live.sample(now);
        let samples = core::mem::take(&mut live.unread);
        Ok(samples)
    }

    fn probe(&self, id: DeploymentId) -> Result<Option<Timestamp>, FakeError> {
        let mut state = self.lock();
        let fails = state.faults.call_fails;
        state.may_fail(fails)?;
        Ok(state.running.get(&id).map(|live| live.began))
    }
}

impl State {
    fn end(&mut self, id: DeploymentId) {
        if let Some(live) = self.running.remove(&id) {
            self.history.push((id, live.resources(), live.since, self.now));
        }
    }

    fn may_fail(&mut self, bps: u16) -> Result<(), FakeError> {
        if self.roll() < bps { Err(FakeError::Failed) } else { Ok(()) }
    }

    fn may_be_lost(&mut self) -> Result<(), FakeError> {
        if self.roll() < self.faults.reply_lost { Err(FakeError::NoAnswer) } else { Ok(()) }
    }

    /// SplitMix64, below 10,000.
    fn roll(&mut self) -> u16 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % 10_000) as u16
    }
}

impl Live {
    fn resources(&self) -> Resources {
        self.config.resources.checked_mul(self.config.replicas).unwrap_or_default()
    }

    fn sample(&mut self, at: Timestamp) {
        self.unread.push(Sample { at, value: Value::Reserved(self.resources()) });
    }
}
