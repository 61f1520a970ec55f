//! The life of a job: events in, outputs out. Nothing here moves money.

mod assurance;
mod event;
mod replicas;

use alloc::vec::Vec;

use crate::attestation::Attestation;
use crate::conviction::Outcome;
use crate::dispute::{Bond, Resolution, Resolved};
use crate::error::{Error, Result};
use crate::evidence::Evidence;
use crate::hash::{AttestationHash, ChainId, Hash, JobId, PartyId};
use crate::job_spec::{Assurance, JobSpec};
use crate::panel::{Panel, Tally};
use crate::quality::Quality;
use crate::task_report::{ScorePolicy, TaskMetrics, TaskReport};
use crate::units::{Epoch, Millis};

pub use assurance::{AssurancePolicy, ProvenOutput};
pub use event::{Acceptance, Event, JobPolicy, JobState, Output};
pub use replicas::ReplicatedJob;

/// One job of one worker at a time, from matching to its end.
///
/// Money: the price asked with [`Output::HoldEscrow`] leaves exactly once, by [`Output::ReleaseHold`],
/// [`Output::Refund`] or [`Output::ReleaseEscrow`], and it is paid only in [`JobState::Settled`].
///
/// ```
/// use hanzo_poai::{Acceptance, ChainId, Event, Job, JobPolicy, JobSpec, JobState, Millis, ModelHash, Output, PartyId};
///
/// let spec = JobSpec::builder(ModelHash::new([1; 32]), [2; 32]).max_price(100).build()?;
/// let (chain, client, worker) = (ChainId::new([3; 32]), PartyId::new([4; 32]), PartyId::new([5; 32]));
/// let mut job = Job::new(JobPolicy::default(), &chain, &client, 0, spec, Millis::new(0))?;
/// let acceptance = Acceptance {
///     worker, price: 90, quote_expires: Millis::new(1_000), free_exposure: 500, standby: vec![],
/// };
/// assert_eq!(job.apply(Event::Accept(acceptance), Millis::new(10))?, [Output::HoldEscrow(90)]);
/// job.apply(Event::EscrowHeld(90), Millis::new(20))?;
/// assert_eq!(job.state(), JobState::Escrowed);
/// assert_eq!(job.apply(Event::Cancel, Millis::new(30))?, [Output::Refund(90)]);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    policy: JobPolicy,
    chain: ChainId,
    id: JobId,
    spec: JobSpec,
    state: JobState,
    now: Millis,
    /// When the state's own clock started: matching, escrow, work, audit.
    since: Millis,
    acceptance: Option<Acceptance>,
    assignment: u32,
    /// Number of the next assignment, should there be one.
    next_assignment: u32,
    reassigned: u32,
    attestation: Option<AttestationHash>,
    claimed: Option<Claimed>,
    /// A succinct proof of the attested output was accepted.
    proven: bool,
    /// Replicas are not compared yet: nothing falls due.
    held: bool,
    settle_at: Option<Millis>,
    beacon_seen: bool,
    audit: Audit,
    bond: Option<Bond>,
}

/// What the attestation claims besides the output, for the task score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claimed {
    output: Hash,
    report: Option<Hash>,
    metrics: TaskMetrics,
}

/// The audit of a drawn job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Audit {
    next_slot: u32,
    rounds: u8,
    matches: u32,
    mismatches: u32,
    /// Verdicts are still awaited while the job is disputed.
    open: bool,
    counted: Option<Outcome>,
}

impl Job {
    /// A job that looks for a worker.
    ///
    /// # Errors
    /// [`Error::UnsupportedAssurance`] for a spec with replicas, which [`ReplicatedJob`] runs;
    /// [`Error::InvalidField`] for an epoch of zero or no verifier.
    pub fn new(
        policy: JobPolicy,
        chain: &ChainId,
        client: &PartyId,
        client_nonce: u64,
        spec: JobSpec,
        now: Millis,
    ) -> Result<Self> {
        if spec.replicas() != 1 {
            return Err(Error::UnsupportedAssurance);
        }
        Self::leg(policy, chain, client, client_nonce, spec, now, 0)
    }

    /// One replica of a job, or all of it.
    fn leg(
        policy: JobPolicy,
        chain: &ChainId,
        client: &PartyId,
        client_nonce: u64,
        spec: JobSpec,
        now: Millis,
        assignment: u32,
    ) -> Result<Self> {
        if policy.epoch_ms == 0 || policy.audit_slots == 0 {
            return Err(Error::InvalidField("policy"));
        }
        let spec_replicas = u32::from(spec.replicas());
        Ok(Self {
            policy,
            chain: *chain,
            id: spec.job_id(chain, client, client_nonce),
            spec,
            state: JobState::Matching,
            now,
            since: now,
            acceptance: None,
            assignment,
            next_assignment: spec_replicas,
            reassigned: 0,
            attestation: None,
            claimed: None,
            proven: false,
            held: spec_replicas > 1,
            settle_at: None,
            beacon_seen: false,
            audit: Audit::default(),
            bond: None,
        })
    }

    /// Applies an event.
    ///
    /// # Errors
    /// [`Error::ClockBackwards`], [`Error::IllegalTransition`] for an event the state does not take, or
    /// the error of the event's guard. The job is then unchanged.
    pub fn apply(&mut self, event: Event, now: Millis) -> Result<Vec<Output>> {
        if now < self.now {
            return Err(Error::ClockBackwards { last_ms: self.now.get(), now_ms: now.get() });
        }
        let mut next = self.clone();
        next.now = now;
        let outputs = next.step(event)?;
        *self = next;
        Ok(outputs)
    }

    /// The state.
    pub const fn state(&self) -> JobState {
        self.state
    }

    /// The job's id.
    pub const fn id(&self) -> &JobId {
        &self.id
    }

    /// Its spec.
    pub const fn spec(&self) -> &JobSpec {
        &self.spec
    }

    /// The worker that has the job, from acceptance on.
    pub fn worker(&self) -> Option<PartyId> {
        self.acceptance.as_ref().map(|acceptance| acceptance.worker)
    }

    /// Which assignment is current.
    pub const fn assignment(&self) -> u32 {
        self.assignment
    }

    /// When payment falls due, from the commitment on.
    pub const fn settle_at(&self) -> Option<Millis> {
        self.settle_at
    }

    /// The attested output.
    pub fn output(&self) -> Option<Hash> {
        self.claimed.map(|claimed| claimed.output)
    }

    /// The score of a task report, from the attested metrics: only for a job that was verified, and for the
    /// report its attestation carries the hash of.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] before the job is verified or after it was disputed away;
    /// [`Error::SpecMismatch`] for another report; [`Error::Overflow`].
    pub fn task_score_q32(&self, policy: &ScorePolicy, report: &TaskReport) -> Result<u128> {
        let (JobState::Verified | JobState::Settled, Some(claimed)) = (self.state, self.claimed) else {
            return Err(Error::IllegalTransition { state: self.state.name(), event: "task score" });
        };
        let ours =
            claimed.report == Some(report.hash()) && report.job == self.id && Some(report.worker) == self.worker();
        if !ours {
            return Err(Error::SpecMismatch("report"));
        }
        policy.score_q32(report, &claimed.metrics)
    }

    fn step(&mut self, event: Event) -> Result<Vec<Output>> {
        use JobState::{Attested, Disputed, Escrowed, Matching, Running, Sampled, Verified};
        match (self.state, event) {
            (Matching, Event::Accept(acceptance)) if self.acceptance.is_none() => self.accept(acceptance),
            (Matching, Event::EscrowHeld(amount)) if self.acceptance.is_some() => self.escrow_held(amount),
            (Matching, Event::Cancel) => Ok(self.expire_unmatched()),
            (Matching, Event::Tick) if self.past(self.policy.matching_ms) => Ok(self.expire_unmatched()),
            (Escrowed, Event::Cancel) => Ok(self.expire()),
            (Escrowed, Event::Tick) if self.past(self.policy.start_ms) => {
                let offence = self.timeout(self.policy.start_ms)?;
                Ok(self.expire().into_iter().chain([offence]).collect())
            }
            (Escrowed, Event::Started(worker)) => {
                if self.worker() != Some(worker) {
                    return Err(Error::NotAssigned);
                }
                self.enter(Running);
                Ok(Vec::new())
            }
            (Running, Event::Attest(attestation)) => self.attest(&attestation),
            (Running, Event::Tick) if self.past(self.longest_ms()) => {
                let offence = self.timeout(self.longest_ms())?;
                Ok([offence].into_iter().chain(self.reassign()).collect())
            }
            (Escrowed | Running, Event::WorkerConvicted) => Ok(self.reassign()),
            (Attested, Event::Committed) if self.settle_at.is_none() => {
                self.settle_at = Some(self.now.saturating_add(self.policy.window_ms));
                Ok(Vec::new())
            }
            (Attested, Event::Beacon { drawn }) if !self.beacon_seen => Ok(self.beacon(drawn)),
            (Attested | Sampled | Verified | Disputed, Event::Beacon { .. }) => {
                self.beacon_seen |= self.state != Attested;
                Ok(Vec::new())
            }
            (Sampled, Event::Verdicts(panel)) => {
                let tally = self.tally(&panel)?;
                Ok(self.verdicts(&tally).into_iter().chain(withheld(&panel)).collect())
            }
            (Sampled, Event::Tick) if self.past(self.policy.epoch_ms) => Ok(self.verdicts(&Tally::default())),
            (Disputed, Event::Verdicts(panel)) if self.audit.open => {
                let tally = self.tally(&panel)?;
                self.audit.open = false;
                self.take(&tally);
                Ok(self.count().into_iter().chain(withheld(&panel)).collect())
            }
            (Attested | Verified, Event::ProofAccepted(proven)) => self.proof_accepted(&proven),
            (Attested | Sampled | Verified, Event::Challenge(bond)) => self.challenge(bond),
            (Attested | Sampled | Verified, Event::ReplicasDisagree) if self.held => {
                self.audit.open = self.state == Sampled;
                Ok(self.open_dispute(None).into_iter().collect())
            }
            (Disputed, Event::Resolved(resolved)) => self.resolve(resolved),
            (Attested | Verified, Event::Tick) if self.proof_overdue() => self.expire_unproven(),
            (Attested, Event::Tick) if self.beacon_seen && self.due() => {
                self.enter(Verified);
                Ok(Vec::new())
            }
            (Verified, Event::Tick) if self.due() => Ok(self.settle()),
            (Attested | Sampled | Verified | Disputed, Event::WorkerConvicted) => {
                let bond = self.bond.take().map(Output::ReturnBond);
                Ok(self.end(JobState::Slashed, bond))
            }
            (state, Event::Tick) if !state.is_terminal() => Ok(Vec::new()),
            (state, event) => Err(Error::IllegalTransition { state: state.name(), event: event.name() }),
        }
    }

    fn accept(&mut self, acceptance: Acceptance) -> Result<Vec<Output>> {
        let Acceptance { price, quote_expires, free_exposure, .. } = acceptance;
        if price > self.spec.max_price() {
            return Err(Error::AboveLimit { amount: price, limit: self.spec.max_price() });
        }
        if price > free_exposure {
            return Err(Error::AboveLimit { amount: price, limit: free_exposure });
        }
        if self.now > quote_expires {
            return Err(Error::DeadlinePassed { deadline_ms: quote_expires.get(), now_ms: self.now.get() });
        }
        self.acceptance = Some(acceptance);
        Ok(alloc::vec![Output::HoldEscrow(price)])
    }

    fn escrow_held(&mut self, amount: u128) -> Result<Vec<Output>> {
        if amount != self.price() {
            return Err(Error::AmountMismatch { want: self.price(), got: amount });
        }
        self.enter(JobState::Escrowed);
        Ok(self.assign().into_iter().collect())
    }

    fn attest(&mut self, attestation: &Attestation) -> Result<Vec<Output>> {
        let deadline = self.since.saturating_add(self.longest_ms());
        if self.now > deadline {
            let (deadline_ms, now_ms) = (deadline.get(), self.now.get());
            return Err(Error::DeadlinePassed { deadline_ms, now_ms });
        }
        let bound = attestation.chain() == self.chain
            && attestation.job() == self.id
            && attestation.assignment() == self.assignment
            && Some(attestation.worker()) == self.worker();
        if !bound {
            return Err(Error::NotAssigned);
        }
        if attestation.input() != *self.spec.input() {
            return Err(Error::SpecMismatch("input"));
        }
        if attestation.model() != *self.spec.model() {
            return Err(Error::SpecMismatch("model"));
        }
        let late = self.past(self.spec.sla_ms().into());
        self.attestation = Some(attestation.hash());
        let metrics = TaskMetrics {
            flops: attestation.flops(),
            net_bytes: attestation.net_bytes(),
            energy_mj: attestation.energy_mj(),
        };
        self.claimed = Some(Claimed { output: attestation.output(), report: attestation.report(), metrics });
        self.enter(JobState::Attested);
        Ok(late.then_some(Output::Late).into_iter().collect())
    }

    /// A job not committed to before its beacon can never be drawn fairly: it ends here.
    fn beacon(&mut self, drawn: bool) -> Vec<Output> {
        if self.settle_at.is_none() {
            return self.expire();
        }
        self.beacon_seen = true;
        if !drawn {
            return Vec::new();
        }
        self.enter(JobState::Sampled);
        self.request_audit(self.policy.audit_slots).into_iter().collect()
    }

    fn verdicts(&mut self, tally: &Tally) -> Vec<Output> {
        self.take(tally);
        self.audit.rounds += 1;
        if tally.mismatches > 0 {
            let worker = self.worker();
            let extra = self.request_audit(self.policy.extra_slots);
            self.audit.open = extra.is_some();
            let counted = if self.audit.open { None } else { self.count() };
            let escalate = worker.map(Output::Escalate);
            let dispute = self.open_dispute(None);
            return counted.into_iter().chain(extra).chain(escalate).chain(dispute).collect();
        }
        if tally.matches > 0 {
            self.window_reopens();
            self.enter(JobState::Verified);
            return self.count().into_iter().collect();
        }
        if self.audit.rounds < 2 {
            self.enter(JobState::Sampled);
            return self.request_audit(self.policy.audit_slots).into_iter().collect();
        }
        self.enter(JobState::Attested);
        Vec::new()
    }

    /// A proof settles what audits and the window are for; what is not committed to is not paid all the same.
    fn proof_accepted(&mut self, proven: &ProvenOutput) -> Result<Vec<Output>> {
        let (state, event) = (self.state.name(), "proof accepted");
        if self.spec.assurance() != Assurance::Proof || self.settle_at.is_none() {
            return Err(Error::IllegalTransition { state, event });
        }
        if Some(*proven.attestation()) != self.attestation {
            return Err(Error::NotAssigned);
        }
        self.proven = true;
        self.settle_at = Some(self.now);
        self.enter(JobState::Verified);
        Ok(Vec::new())
    }

    /// Paid for with a proof that did not come.
    fn expire_unproven(&mut self) -> Result<Vec<Output>> {
        let deadline = self.settle_at.unwrap_or(self.now);
        let epoch = Epoch::at(self.now, self.policy.epoch_ms)?;
        let (worker, attestation) = self.worker().zip(self.attestation).ok_or(Error::NotAssigned)?;
        let offence = Evidence::proof_missing(worker, epoch, &attestation, deadline)?;
        Ok(self.end(JobState::Expired, [Output::Offence(offence)]))
    }

    fn proof_overdue(&self) -> bool {
        self.spec.assurance() == Assurance::Proof && !self.proven && self.beacon_seen && self.due()
    }

    fn challenge(&mut self, bond: Bond) -> Result<Vec<Output>> {
        let (state, event) = (self.state.name(), "challenge");
        let settle_at = self.settle_at.ok_or(Error::IllegalTransition { state, event })?;
        if self.now >= settle_at {
            let (deadline_ms, now_ms) = (settle_at.get(), self.now.get());
            return Err(Error::DeadlinePassed { deadline_ms, now_ms });
        }
        if bond.amount == 0 {
            return Err(Error::InvalidField("bond"));
        }
        // Verdicts of a drawn job still count: a challenge must not hide an audit.
        self.audit.open = self.state == JobState::Sampled;
        Ok(self.open_dispute(Some(bond)).into_iter().collect())
    }

    fn resolve(&mut self, resolved: Resolved) -> Result<Vec<Output>> {
        let Resolved { attestation, resolution, withheld } = resolved;
        if Some(attestation) != self.attestation {
            return Err(Error::NotAssigned);
        }
        if let Resolution::WorkerWrong(evidence) = &resolution
            && Some(*evidence.party()) != self.worker()
        {
            return Err(Error::NotAssigned);
        }
        let counted = if self.audit.open { self.count_resolved(&resolution) } else { None };
        self.audit.open = false;
        let bond = self.bond.take();
        let effects: Vec<Output> = match resolution {
            Resolution::WorkerRight => {
                self.window_reopens();
                self.enter(JobState::Verified);
                bond.map(Output::ForfeitBond).into_iter().collect()
            }
            Resolution::WorkerWrong(evidence) => {
                let back = bond.map(Output::ReturnBond);
                self.end(JobState::Slashed, back.into_iter().chain([Output::Offence(evidence)]))
            }
            Resolution::Undetermined => self.end(JobState::Expired, bond.map(Output::ReturnBond)),
        };
        let withheld = withheld.into_iter().map(Output::Offence);
        Ok(counted.into_iter().chain(effects).chain(withheld).collect())
    }

    fn settle(&mut self) -> Vec<Output> {
        let Some(worker) = self.worker() else { return Vec::new() };
        self.enter(JobState::Settled);
        let quality = self.audit.counted.map(|outcome| Output::UpdateQuality {
            worker,
            result_q32: if outcome == Outcome::Match { Quality::ONE } else { 0 },
        });
        let pay = Output::ReleaseEscrow { worker, amount: self.price() };
        [pay].into_iter().chain(quality).collect()
    }

    /// The tally of a closed panel over this job's attestation.
    fn tally(&self, panel: &Panel) -> Result<Tally> {
        if Some(*panel.attestation()) != self.attestation {
            return Err(Error::NotAssigned);
        }
        panel.tally().ok_or(Error::OutOfTurn)
    }

    /// Adds a tally to the audit of this job.
    fn take(&mut self, tally: &Tally) {
        self.audit.matches = self.audit.matches.saturating_add(tally.matches);
        self.audit.mismatches = self.audit.mismatches.saturating_add(tally.mismatches);
    }

    /// One outcome for a drawn job, the majority of its verdicts; none for a tie, and never a second one.
    fn count(&mut self) -> Option<Output> {
        let Audit { matches, mismatches, counted, .. } = self.audit;
        if counted.is_some() {
            return None;
        }
        let tally = Tally { matches, mismatches, ..Tally::default() };
        let (worker, outcome) = (self.worker()?, tally.majority()?);
        self.audit.counted = Some(outcome);
        Some(Output::CountAudit { worker, outcome })
    }

    /// The outcome of a drawn job whose dispute ends before its last verdicts are in: three fresh verifiers
    /// outweigh one, and without their word the verdicts so far count.
    fn count_resolved(&mut self, resolution: &Resolution) -> Option<Output> {
        match resolution {
            Resolution::WorkerRight => self.audit.matches = self.audit.matches.saturating_add(3),
            Resolution::WorkerWrong(_) => self.audit.mismatches = self.audit.mismatches.saturating_add(3),
            Resolution::Undetermined => {}
        }
        self.count()
    }

    fn request_audit(&mut self, count: u32) -> Option<Output> {
        let first = self.audit.next_slot;
        let slots = first..first.saturating_add(count);
        self.audit.next_slot = slots.end;
        let attestation = self.attestation?;
        (!slots.is_empty()).then_some(Output::RequestAudit { attestation, slots })
    }

    fn open_dispute(&mut self, bond: Option<Bond>) -> Option<Output> {
        self.enter(JobState::Disputed);
        self.bond = bond;
        self.attestation.map(|attestation| Output::OpenDispute { attestation, bond })
    }

    /// Gives the job to the next stand-by worker, or ends it.
    fn reassign(&mut self) -> Vec<Output> {
        let left = self.reassigned < self.policy.reassignments;
        match self.acceptance.as_mut() {
            Some(acceptance) if left && !acceptance.standby.is_empty() => {
                acceptance.worker = acceptance.standby.remove(0);
                self.reassigned += 1;
                self.assignment = self.next_assignment;
                self.next_assignment = self.next_assignment.saturating_add(1);
                self.enter(JobState::Running);
                self.assign().into_iter().collect()
            }
            _ => self.expire(),
        }
    }

    fn assign(&self) -> Option<Output> {
        self.worker().map(|worker| Output::Assign { worker, assignment: self.assignment })
    }

    fn expire_unmatched(&mut self) -> Vec<Output> {
        let hold = self.acceptance.as_ref().map(|held| Output::ReleaseHold(held.price));
        self.enter(JobState::Expired);
        hold.into_iter().collect()
    }

    fn expire(&mut self) -> Vec<Output> {
        self.end(JobState::Expired, None)
    }

    /// Ends with a refund and what else there is to do.
    fn end(&mut self, state: JobState, more: impl IntoIterator<Item = Output>) -> Vec<Output> {
        self.enter(state);
        [Output::Refund(self.price())].into_iter().chain(more).collect()
    }

    fn timeout(&self, allowed_ms: u64) -> Result<Output> {
        let deadline = self.since.saturating_add(allowed_ms);
        let epoch = Epoch::at(self.now, self.policy.epoch_ms)?;
        let worker = self.worker().ok_or(Error::NotAssigned)?;
        Evidence::timeout(worker, epoch, &self.id, self.assignment, deadline).map(Output::Offence)
    }

    /// An audit or dispute may have outlasted the window, but never shortens it.
    fn window_reopens(&mut self) {
        self.settle_at = self.settle_at.map(|settle_at| settle_at.max(self.now));
    }

    const fn enter(&mut self, state: JobState) {
        self.state = state;
        self.since = self.now;
    }

    fn past(&self, ms: u64) -> bool {
        self.now > self.since.saturating_add(ms)
    }

    fn due(&self) -> bool {
        !self.held && self.settle_at.is_some_and(|settle_at| self.now >= settle_at)
    }

    fn longest_ms(&self) -> u64 {
        2 * u64::from(self.spec.sla_ms())
    }

    fn price(&self) -> u128 {
        self.acceptance.as_ref().map_or(0, |acceptance| acceptance.price)
    }
}

fn withheld(panel: &Panel) -> impl Iterator<Item = Output> {
    Evidence::verdicts_withheld(panel).into_iter().map(Output::Offence)
}
