//! One order computed by several workers.

use alloc::vec::Vec;

use super::{Event, Job, JobPolicy, JobState, Output};
use crate::error::{Error, Result};
use crate::hash::{ChainId, Hash, JobId, PartyId};
use crate::job_spec::JobSpec;
use crate::units::Millis;

/// A job of 3 to 15 replicas, an odd number. Each replica is a [`Job`] of its own with its own worker, escrow,
/// audits and disputes; here they are started together, compared, and judged by the majority. Replica `i` has
/// assignment `i`, and reassignments count on from the number of replicas.
///
/// An output wins when it matches at least `(k + 1) / 2` outputs, itself included, the lowest assignment first.
/// The majority opens disputes against the others and never slashes: colluders with a third of all workers hold
/// two of three replicas in a quarter of all jobs
/// ([`theory::replica_capture`](crate::theory::replica_capture)). Without a majority every replica is disputed.
/// A worker who is found wrong, convicted or absent is refunded and slashed alone.
///
/// ```
/// use hanzo_poai::{Acceptance, Assurance, ChainId, Event, JobPolicy, JobSpec, JobState, Millis, ModelHash, PartyId, ReplicatedJob};
///
/// let spec = JobSpec::builder(ModelHash::new([1; 32]), [2; 32])
///     .assurance(Assurance::Redundant).replicas(3).max_price(100).build()?;
/// let (chain, client) = (ChainId::new([3; 32]), PartyId::new([4; 32]));
/// let mut job = ReplicatedJob::new(JobPolicy::default(), &chain, &client, 0, spec, Millis::new(0))?;
/// for replica in 0..3u8 {
///     let acceptance = Acceptance {
///         worker: PartyId::new([10 + replica; 32]), price: 90, quote_expires: Millis::new(1_000), free_exposure: 500,
///         standby: vec![],
///     };
///     job.apply(replica.into(), Event::Accept(acceptance), Millis::new(10))?;
/// }
/// assert_eq!(job.apply(0, Event::EscrowHeld(90), Millis::new(20))?, []);
/// assert_eq!(job.apply(1, Event::EscrowHeld(90), Millis::new(20))?, []);
/// // Nobody starts before all are paid for.
/// assert_eq!(job.apply(2, Event::EscrowHeld(90), Millis::new(20))?.len(), 3);
/// assert_eq!(job.state(), JobState::Escrowed);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicatedJob {
    legs: Vec<Job>,
    /// Escrow is held but not all others' is.
    held: Vec<bool>,
    compared: bool,
    delivered: Option<Hash>,
}

impl ReplicatedJob {
    /// A job that looks for its workers.
    ///
    /// # Errors
    /// [`Error::UnsupportedAssurance`] for a spec of one replica, which [`Job`] runs; [`Error::InvalidField`]
    /// for an epoch of zero or no verifier.
    pub fn new(
        policy: JobPolicy,
        chain: &ChainId,
        client: &PartyId,
        client_nonce: u64,
        spec: JobSpec,
        now: Millis,
    ) -> Result<Self> {
        if spec.replicas() < 3 {
            return Err(Error::UnsupportedAssurance);
        }
        let legs = (0..u32::from(spec.replicas()))
            .map(|assignment| Job::leg(policy, chain, client, client_nonce, spec.clone(), now, assignment))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { held: alloc::vec![false; legs.len()], legs, compared: false, delivered: None })
    }

    /// Applies an event to one replica. Outputs carry the replica they are about.
    ///
    /// [`Event::Cancel`] and a match that runs out end all replicas that have not started;
    /// [`Event::EscrowHeld`] takes effect when the escrow of every replica is held.
    ///
    /// # Errors
    /// [`Error::NotAssigned`] for a replica there is none of; [`Error::Duplicate`] for a worker, or a stand-by,
    /// who has another replica; those of [`Job::apply`]. Nothing has then changed.
    pub fn apply(&mut self, replica: usize, event: Event, now: Millis) -> Result<Vec<(usize, Output)>> {
        let mut next = self.clone();
        let outputs = next.step(replica, event, now)?;
        *self = next;
        Ok(outputs)
    }

    /// Lets time pass for every replica.
    ///
    /// # Errors
    /// [`Error::ClockBackwards`].
    pub fn tick(&mut self, now: Millis) -> Result<Vec<(usize, Output)>> {
        let mut next = self.clone();
        let mut outputs = Vec::new();
        for replica in 0..next.legs.len() {
            if !next.legs.get(replica).is_none_or(|leg| leg.state().is_terminal()) {
                outputs.extend(next.step(replica, Event::Tick, now)?);
            }
        }
        *self = next;
        Ok(outputs)
    }

    /// Compares the outputs, once every replica has attested or ended. `matches` says whether two replicas
    /// agree under the job's comparator; for reproducible work, whether their output hashes are equal.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] while a replica is still at work, without any output, or a second time;
    /// [`Error::ClockBackwards`].
    pub fn compare(&mut self, matches: impl Fn(usize, usize) -> bool, now: Millis) -> Result<Vec<(usize, Output)>> {
        let illegal = Error::IllegalTransition { state: self.state().name(), event: "compare" };
        let at_work = |leg: &Job| matches!(leg.state(), JobState::Matching | JobState::Escrowed | JobState::Running);
        // Slashed or challenged away does not count: only what still stands has a vote.
        let votes: Vec<usize> = self.standing().collect();
        if self.compared || votes.is_empty() || self.legs.iter().any(at_work) {
            return Err(illegal);
        }
        let mut next = self.clone();
        next.compared = true;
        let majority = self.legs.len().div_ceil(2);
        let agree = |a: usize, b: usize| a == b || matches(a, b);
        let winner = votes.iter().copied().find(|a| votes.iter().filter(|b| agree(*a, **b)).count() >= majority);
        let odd: Vec<usize> = match winner {
            Some(winner) => votes.iter().copied().filter(|b| !agree(winner, *b)).collect(),
            None => votes,
        };
        let mut outputs = Vec::new();
        if let Some(output) = winner.and_then(|winner| next.legs.get(winner)).and_then(Job::output) {
            next.delivered = Some(output);
            outputs.extend(winner.map(|winner| (winner, Output::Deliver { output })));
        }
        for replica in odd {
            let Some(leg) = next.legs.get_mut(replica) else { continue };
            // A replica that is in dispute already stays there.
            if leg.state() != JobState::Disputed {
                outputs.extend(leg.apply(Event::ReplicasDisagree, now)?.into_iter().map(|output| (replica, output)));
            }
        }
        for leg in &mut next.legs {
            leg.held = false;
        }
        *self = next;
        Ok(outputs)
    }

    /// The state of the whole: the earliest any replica is in; at the end settled if any was paid, slashed if
    /// none was and some worker is guilty, expired otherwise.
    pub fn state(&self) -> JobState {
        use JobState::{Attested, Disputed, Escrowed, Expired, Matching, Running, Sampled, Settled, Slashed, Verified};
        let any = |state: JobState| self.legs.iter().any(|leg| leg.state() == state);
        [Matching, Escrowed, Running, Disputed, Sampled, Attested, Verified, Settled, Slashed]
            .into_iter()
            .find(|state| any(*state))
            .unwrap_or(Expired)
    }

    /// The job's id, the same for all replicas.
    pub fn id(&self) -> Option<&JobId> {
        self.legs.first().map(Job::id)
    }

    /// The replicas, by their first assignment.
    pub fn replicas(&self) -> &[Job] {
        &self.legs
    }

    /// The output a majority agreed on.
    pub const fn delivered(&self) -> Option<&Hash> {
        self.delivered.as_ref()
    }

    fn step(&mut self, replica: usize, event: Event, now: Millis) -> Result<Vec<(usize, Output)>> {
        let of = |outputs: Vec<Output>| outputs.into_iter().map(|output| (replica, output)).collect::<Vec<_>>();
        match &event {
            Event::Accept(acceptance) => {
                let mut offered = acceptance.standby.iter().chain([&acceptance.worker]);
                if offered.any(|party| self.has(replica, party)) {
                    return Err(Error::Duplicate("worker"));
                }
            }
            Event::EscrowHeld(amount) => return self.escrow_held(replica, *amount, now),
            Event::Cancel => {
                if !self.legs.iter().any(|leg| not_started(leg.state())) {
                    return Err(Error::IllegalTransition { state: self.state().name(), event: event.name() });
                }
                return self.cancel(now);
            }
            // Only the comparison may say so.
            Event::ReplicasDisagree => {
                return Err(Error::IllegalTransition { state: self.state().name(), event: event.name() });
            }
            _ => {}
        }
        let enough = self.standing().count() >= self.legs.len().div_ceil(2);
        let next_assignment = self.legs.iter().map(|leg| leg.next_assignment).max().unwrap_or(0);
        let leg = self.legs.get_mut(replica).ok_or(Error::NotAssigned)?;
        let (before, reassignments) = (leg.state(), leg.policy.reassignments);
        leg.next_assignment = next_assignment;
        if enough {
            // With a majority in, nobody starts over.
            leg.policy.reassignments = leg.reassigned;
        }
        let outputs = leg.apply(event, now);
        leg.policy.reassignments = reassignments;
        let mut outputs = of(outputs?);
        let gave_up = leg.state() == JobState::Expired && before == JobState::Matching;
        if gave_up {
            outputs.extend(self.cancel(now)?);
        }
        Ok(outputs)
    }

    fn escrow_held(&mut self, replica: usize, amount: u128, now: Millis) -> Result<Vec<(usize, Output)>> {
        let leg = self.legs.get(replica).ok_or(Error::NotAssigned)?;
        let waits = self.held.get(replica) == Some(&false) && leg.acceptance.is_some();
        if leg.state() != JobState::Matching || !waits {
            return Err(Error::IllegalTransition { state: leg.state().name(), event: "escrow held" });
        }
        if amount != leg.price() {
            return Err(Error::AmountMismatch { want: leg.price(), got: amount });
        }
        if now < leg.now {
            return Err(Error::ClockBackwards { last_ms: leg.now.get(), now_ms: now.get() });
        }
        if let Some(slot) = self.held.get_mut(replica) {
            *slot = true;
        }
        if self.held.contains(&false) {
            return Ok(Vec::new());
        }
        let mut outputs = Vec::new();
        for (replica, leg) in self.legs.iter_mut().enumerate() {
            let assigned = leg.apply(Event::EscrowHeld(leg.price()), now)?;
            outputs.extend(assigned.into_iter().map(|output| (replica, output)));
        }
        Ok(outputs)
    }

    /// Ends what has not started. Work that has is finished and paid.
    fn cancel(&mut self, now: Millis) -> Result<Vec<(usize, Output)>> {
        let mut outputs = Vec::new();
        for (replica, leg) in self.legs.iter_mut().enumerate().filter(|(_, leg)| not_started(leg.state())) {
            let ended = leg.apply(Event::Cancel, now)?;
            outputs.extend(ended.into_iter().map(|output| (replica, output)));
        }
        Ok(outputs)
    }

    /// Replicas whose attested output still stands.
    fn standing(&self) -> impl Iterator<Item = usize> + '_ {
        let stands = |leg: &Job| leg.output().is_some() && !leg.state().is_terminal();
        self.legs.iter().enumerate().filter(move |(_, leg)| stands(leg)).map(|(replica, _)| replica)
    }

    fn has(&self, except: usize, party: &PartyId) -> bool {
        let others = self.legs.iter().enumerate().filter(|(replica, _)| *replica != except);
        others
            .filter_map(|(_, leg)| leg.acceptance.as_ref())
            .any(|acceptance| acceptance.worker == *party || acceptance.standby.contains(party))
    }
}

const fn not_started(state: JobState) -> bool {
    matches!(state, JobState::Matching | JobState::Escrowed)
}
