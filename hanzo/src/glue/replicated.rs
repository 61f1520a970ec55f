//! The money of a job that several workers compute.

use alloc::vec::Vec;

use hanzo_metering::{AccountId, Effect, Role};
use hanzo_poai::{Bond, Job, Output, ReplicatedJob};

use super::{JobEscrow, SettlementError};

/// The escrows of a [`ReplicatedJob`], one a replica, as [`JobEscrow`] is that of a [`Job`]. Their ids are
/// [`TransferId::replica_escrow`](hanzo_metering::TransferId::replica_escrow) of the job and the replica, so that each
/// replica is locked, paid, refunded and disputed apart.
///
/// ```
/// use hanzo::glue::{ReplicatedEscrow, account_of};
/// use hanzo::metering::{Effect, FeeSchedule, Timestamp, Treasury, TreasuryConfig};
/// use hanzo::poai::{Acceptance, Assurance, ChainId, Event, JobPolicy, JobSpec, Millis, ModelHash, PartyId, ReplicatedJob};
///
/// let client = PartyId::new([4; 32]);
/// let now = Timestamp::from_nanos(1);
/// let mut treasury = Treasury::new(TreasuryConfig::new(1, [FeeSchedule::aci()]))?;
/// let wallet = treasury.open_party(now, client.as_bytes())?;
/// treasury.apply(now, &Effect::Mint { id: 1, to: wallet.get(), amount: 300 })?;
///
/// let spec = JobSpec::builder(ModelHash::new([1; 32]), [2; 32])
///     .assurance(Assurance::Redundant).replicas(3).max_price(100).build()?;
/// let mut job = ReplicatedJob::new(JobPolicy::default(), &ChainId::new([3; 32]), &client, 0, spec, Millis::new(0))?;
/// let mut escrow = ReplicatedEscrow::new(&job, account_of(&client));
/// for replica in 0..3u8 {
///     let acceptance = Acceptance {
///         worker: PartyId::new([10 + replica; 32]), price: 90, quote_expires: Millis::new(1_000), free_exposure: 500,
///         standby: vec![],
///     };
///     for output in job.apply(replica.into(), Event::Accept(acceptance), Millis::new(10))? {
///         if let Some(lock) = escrow.effect(&output, &[])? {
///             treasury.apply(now, &lock)?;
///         }
///     }
/// }
/// assert_eq!(treasury.available(wallet), 30);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicatedEscrow {
    legs: Vec<JobEscrow>,
}

impl ReplicatedEscrow {
    /// The escrows of a job, to be paid out of the client's account: [`JobEscrow::of_replica`] for each.
    pub fn new(job: &ReplicatedJob, client: AccountId) -> Self {
        let leg = |(replica, leg): (u32, &Job)| JobEscrow::of_replica(leg.id(), replica, client);
        Self { legs: (0..).zip(job.replicas()).map(leg).collect() }
    }

    /// The same with locks of this many nanoseconds: [`JobEscrow::with_timeout_ns`].
    #[must_use]
    pub fn with_timeout_ns(self, timeout_ns: u64) -> Self {
        Self { legs: self.legs.into_iter().map(|leg| leg.with_timeout_ns(timeout_ns)).collect() }
    }

    /// The same with the workers paid in another role: [`JobEscrow::with_worker_role`].
    #[must_use]
    pub fn with_worker_role(self, role: Role) -> Self {
        Self { legs: self.legs.into_iter().map(|leg| leg.with_worker_role(role)).collect() }
    }

    /// The escrows, by replica.
    pub fn replicas(&self) -> &[JobEscrow] {
        &self.legs
    }

    /// The effect that holds the bond of one who challenges a replica: [`JobEscrow::open_bond`].
    ///
    /// # Errors
    /// [`SettlementError::UnknownReplica`]; those of [`JobEscrow::open_bond`].
    pub fn open_bond(&mut self, replica: usize, bond: Bond) -> Result<Effect, SettlementError> {
        self.leg(replica)?.open_bond(bond)
    }

    /// The effect that an output of the job asks for, if it moves money: [`JobEscrow::effect`] of its replica.
    ///
    /// # Errors
    /// [`SettlementError::UnknownReplica`]; those of [`JobEscrow::effect`].
    pub fn effect(
        &mut self,
        (replica, output): &(usize, Output),
        recipients: &[(Role, AccountId)],
    ) -> Result<Option<Effect>, SettlementError> {
        self.leg(*replica)?.effect(output, recipients)
    }

    /// Takes note that the treasury refused the lock of a replica, or its last bond: [`JobEscrow::refused`]. With one
    /// lock missing the job cannot start: cancel it, which gives the others back.
    pub fn refused(&mut self, effect: &Effect) {
        self.legs.iter_mut().for_each(|leg| leg.refused(effect));
    }

    fn leg(&mut self, replica: usize) -> Result<&mut JobEscrow, SettlementError> {
        self.legs.get_mut(replica).ok_or(SettlementError::UnknownReplica { replica })
    }
}
