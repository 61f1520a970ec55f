//! What `hanzo-poai` decides, as effects that `hanzo-metering` applies.

use alloc::vec::Vec;

use hanzo_metering::{AccountId, Effect, Role, TransferId};
use hanzo_poai::{AttestationHash, BasisPoints, Bond, JobId, Output, PartyId, SlashOrder};

/// The account of a party: [`AccountId::of_party`] of its 32 bytes.
///
/// ```
/// use hanzo::{glue::account_of, metering::AccountId, poai::PartyId};
/// assert_eq!(account_of(&PartyId::new([7; 32])), AccountId::of_party(&[7; 32]));
/// ```
pub fn account_of(party: &PartyId) -> AccountId {
    AccountId::of_party(party.as_bytes())
}

/// The effect of a slash order, field by field. Orders for 0 basis points give one too: the treasury records their
/// evidence.
///
/// An effect has no time to wait: hold it back for [`SlashOrder::contest_ms`] where that is not 0.
///
/// ```
/// use hanzo::glue::{account_of, slash};
/// use hanzo::metering::Effect;
/// use hanzo::poai::{Epoch, Evidence, Family, PartyId, Registry, SlashPolicy};
///
/// let (node, reporter) = (PartyId::new([7; 32]), PartyId::new([8; 32]));
/// let evidence = Evidence::outside(Family::Consensus, node, Epoch::new(3), b"two votes", |_, _, _| true)?;
/// let order = Registry::new(SlashPolicy::default()).submit(&evidence, reporter)?;
/// let Effect::Slash { account, epoch: 3, bps: 10_000, reward_bps: 5_000, .. } = slash(&order) else { panic!() };
/// assert_eq!(account, account_of(&node).get());
/// # Ok::<(), hanzo::poai::Error>(())
/// ```
pub fn slash(order: &SlashOrder) -> Effect {
    Effect::Slash {
        account: account_of(&order.party).get(),
        epoch: order.epoch.get(),
        bps: order.bps.get(),
        evidence: *order.evidence.as_bytes(),
        reporter: Some(account_of(&order.reporter).get()),
        reward_bps: order.reward_bps.get(),
    }
}

/// The money of one job: turns what a [`Job`](hanzo_poai::Job) asks for into the effects that do it.
///
/// | output | effect |
/// |---|---|
/// | `HoldEscrow` | `Lock` of the client's wallet |
/// | `ReleaseEscrow` | `Settle` of 10,000 bp: the worker and the recipients given, by fee schedule 0 |
/// | `ReleaseHold`, `Refund` | `Refund` |
/// | `OpenDispute` | `Dispute`: the escrow's clock stands still from the first dispute to the end of the job |
/// | `ReturnBond` | `ReturnBond` |
/// | `ForfeitBond` | `SlashBond` of 10,000 bp with the attestation as evidence; nobody is rewarded, all of it is burned |
/// | others | none: they move no money (an `Offence` does through the registry and [`slash`]) |
///
/// A price of 0 has no escrow, and its outputs give no effect.
///
/// # Ids
///
/// The escrow's id is the first 16 bytes of the job id, read big-endian. The other effects are
/// [`TransferId::escrow_leg`]s of it, numbered down from 65,535: settle, refund, dispute, then open, return and forfeit
/// of each bond in turn. The treasury numbers its own legs up from 0, one for each share of the schedule, and does not
/// get that far. So the same outputs in the same order give the same effects, which a treasury applies once.
///
/// Job ids are SHA-256 hashes, and finding two that share 16 bytes takes a client 2^64 hashes. The second lock is then
/// an `IdConflict`; if even price and timeout are the same, its receipt says `Existing`: start a new job on `New` only.
///
/// # Refusals
///
/// A lock or bond may lack cover. The treasury then uses its id up, so tell the escrow with [`refused`](Self::refused):
/// what would have given the money back gives no effect, and a next bond has ids of its own. A refused lock ends the
/// job; the client needs another.
///
/// ```
/// use hanzo::glue::{JobEscrow, account_of};
/// use hanzo::metering::{Effect, FeeSchedule, Timestamp, Treasury, TreasuryConfig};
/// use hanzo::poai::{Acceptance, ChainId, Event, Job, JobPolicy, JobSpec, Millis, ModelHash, PartyId};
///
/// let (client, worker) = (PartyId::new([4; 32]), PartyId::new([5; 32]));
/// let now = Timestamp::from_nanos(1);
/// let mut treasury = Treasury::new(TreasuryConfig::new(1, [FeeSchedule::aci()]))?;
/// let wallet = treasury.open_party(now, client.as_bytes())?;
/// treasury.apply(now, &Effect::Mint { id: 1, to: wallet.get(), amount: 100 })?;
///
/// let spec = JobSpec::builder(ModelHash::new([1; 32]), [2; 32]).max_price(100).build()?;
/// let mut job = Job::new(JobPolicy::default(), &ChainId::new([3; 32]), &client, 0, spec, Millis::new(0))?;
/// let mut escrow = JobEscrow::new(job.id(), account_of(&client));
/// let acceptance =
///     Acceptance { worker, price: 90, quote_expires: Millis::new(1_000), free_exposure: 500, standby: vec![] };
/// let mut outputs = job.apply(Event::Accept(acceptance), Millis::new(10))?;
/// for effect in outputs.iter().filter_map(|output| escrow.effect(output, &[]).transpose()) {
///     treasury.apply(now, &effect?)?;
/// }
/// assert_eq!(treasury.available(wallet), 10);
///
/// job.apply(Event::EscrowHeld(90), Millis::new(20))?;
/// outputs = job.apply(Event::Cancel, Millis::new(30))?;
/// for effect in outputs.iter().filter_map(|output| escrow.effect(output, &[]).transpose()) {
///     treasury.apply(now, &effect?)?;
/// }
/// assert_eq!(treasury.available(wallet), 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEscrow {
    id: u128,
    client: AccountId,
    timeout_ns: u64,
    worker_role: Role,
    /// Asked for with `HoldEscrow`.
    price: Option<u128>,
    lock_refused: bool,
    /// Bonds opened so far, those refused included.
    bonds: u16,
    open: Option<OpenBond>,
}

/// The bond of the challenge that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OpenBond {
    bond: Bond,
    number: u16,
    /// What the dispute it opened is about.
    disputed: Option<AttestationHash>,
}

impl JobEscrow {
    /// The most bonds on one job, whose challenges come one after the other.
    pub const MAX_BONDS: u16 = 1_000;

    /// The escrow of a job, to be paid out of the client's account. Locks last as long as the treasury's default, and
    /// the worker is paid as [`Role::Worker`].
    pub fn new(job: &JobId, client: AccountId) -> Self {
        Self::of(job.as_bytes().first_chunk().map_or(0, |head| u128::from_be_bytes(*head)), client)
    }

    /// The escrow of one replica of a job, whose id differs from those of the others:
    /// [`TransferId::replica_escrow`]. [`ReplicatedEscrow`](crate::glue::ReplicatedEscrow) keeps those of all.
    pub fn of_replica(job: &JobId, replica: u32, client: AccountId) -> Self {
        Self::of(TransferId::replica_escrow(job.as_bytes(), replica).get(), client)
    }

    const fn of(id: u128, client: AccountId) -> Self {
        Self {
            id,
            client,
            timeout_ns: 0,
            worker_role: Role::Worker,
            price: None,
            lock_refused: false,
            bonds: 0,
            open: None,
        }
    }

    /// The same with locks of this many nanoseconds (0: the treasury's default). They have to outlast the job and the
    /// time to contest it; a lock that has run out can no longer pay the worker.
    #[must_use]
    pub const fn with_timeout_ns(mut self, timeout_ns: u64) -> Self {
        self.timeout_ns = timeout_ns;
        self
    }

    /// The same with the worker paid in another role, such as [`Role::Operator`] or [`Role::GpuNode`].
    #[must_use]
    pub const fn with_worker_role(mut self, role: Role) -> Self {
        self.worker_role = role;
        self
    }

    /// Id of the escrow, and of the effect that locks it.
    pub const fn id(&self) -> u128 {
        self.id
    }

    /// The effect that holds a challenger's bond. Once the treasury has it, send
    /// [`Event::Challenge`](hanzo_poai::Event::Challenge); if the job refuses the challenge, give the bond back with
    /// the effect of [`Output::ReturnBond`].
    ///
    /// # Errors
    /// [`SettlementError::BondOpen`] while another is open: a job has one dispute at a time;
    /// [`SettlementError::TooManyBonds`].
    pub fn open_bond(&mut self, bond: Bond) -> Result<Effect, SettlementError> {
        if self.open.is_some() {
            return Err(SettlementError::BondOpen);
        }
        if self.bonds >= Self::MAX_BONDS {
            return Err(SettlementError::TooManyBonds { max: Self::MAX_BONDS });
        }
        let number = self.bonds;
        self.bonds += 1;
        self.open = Some(OpenBond { bond, number, disputed: None });
        let id = self.bond_leg(number, BOND);
        Ok(Effect::Bond { id, account: account_of(&bond.challenger).get(), amount: bond.amount })
    }

    /// The effect that an output of the job asks for, if it moves money. `recipients` are the others that share in the
    /// price (read for [`Output::ReleaseEscrow`] only): one account for each paid role of the treasury's fee schedule
    /// 0, the worker's excepted.
    ///
    /// Give it every output of the job once and in order. The effect itself may be applied as often as need be.
    ///
    /// # Errors
    /// [`SettlementError::NoEscrow`], [`SettlementError::Amount`], [`SettlementError::UnknownBond`] for an output that
    /// does not belong to this escrow as it stands; [`SettlementError::UnknownOutput`]. The escrow is then unchanged.
    pub fn effect(
        &mut self,
        output: &Output,
        recipients: &[(Role, AccountId)],
    ) -> Result<Option<Effect>, SettlementError> {
        match *output {
            Output::HoldEscrow(price) => self.hold(price),
            Output::ReleaseHold(amount) | Output::Refund(amount) => {
                let refund = Effect::Refund { id: self.leg(REFUND), escrow: self.id };
                Ok(self.is_held(amount)?.then_some(refund))
            }
            Output::ReleaseEscrow { worker, amount } => {
                let worker = (self.worker_role, account_of(&worker));
                let recipients: Vec<(Role, u128)> =
                    [&worker].into_iter().chain(recipients).map(|&(role, account)| (role, account.get())).collect();
                let (id, bps) = (self.leg(SETTLE), BasisPoints::ALL.get());
                Ok(self.is_held(amount)?.then_some(Effect::Settle { id, escrow: self.id, bps, recipients }))
            }
            Output::OpenDispute { attestation, bond } => self.dispute(attestation, bond),
            Output::ReturnBond(bond) => {
                let OpenBond { number, .. } = self.opened(bond)?;
                self.open = None;
                let (id, bond) = (self.bond_leg(number, RETURN), self.bond_leg(number, BOND));
                Ok(Some(Effect::ReturnBond { id, bond }))
            }
            Output::ForfeitBond(bond) => {
                let OpenBond { number, disputed, .. } = self.opened(bond)?;
                let evidence = disputed.ok_or(SettlementError::UnknownBond)?.into();
                self.open = None;
                let (id, bond) = (self.bond_leg(number, FORFEIT), self.bond_leg(number, BOND));
                let bps = BasisPoints::ALL.get();
                Ok(Some(Effect::SlashBond { id, bond, bps, reporter: None, reward_bps: 0, evidence }))
            }
            Output::Assign { .. }
            | Output::Late
            | Output::Offence(_)
            | Output::RequestAudit { .. }
            | Output::CountAudit { .. }
            | Output::Deliver { .. }
            | Output::Escalate(_)
            | Output::UpdateQuality { .. } => Ok(None),
            // What a later version asks for may be money.
            _ => Err(SettlementError::UnknownOutput),
        }
    }

    /// Takes note that the treasury refused the lock, or the bond that was opened last. Other effects change nothing
    /// here.
    pub fn refused(&mut self, effect: &Effect) {
        match *effect {
            Effect::Lock { id, .. } if id == self.id => self.lock_refused = true,
            Effect::Bond { id, .. } if self.open.is_some_and(|open| self.bond_leg(open.number, BOND) == id) => {
                self.open = None;
            }
            _ => {}
        }
    }

    fn hold(&mut self, price: u128) -> Result<Option<Effect>, SettlementError> {
        match self.price {
            Some(want) if want != price => return Err(SettlementError::Amount { want, got: price }),
            _ => self.price = Some(price),
        }
        let (from, timeout_ns) = (self.client.get(), self.timeout_ns);
        let lock = Effect::Lock { id: self.id, from, amount: price, timeout_ns };
        Ok(self.is_held(price)?.then_some(lock))
    }

    fn dispute(&mut self, attestation: AttestationHash, bond: Option<Bond>) -> Result<Option<Effect>, SettlementError> {
        let held = self.is_held(self.price.ok_or(SettlementError::NoEscrow)?)?;
        if let Some(bond) = bond {
            let open = self.opened(bond)?;
            self.open = Some(OpenBond { disputed: Some(attestation), ..open });
        }
        // One id for all disputes of a job: after the first the clock stands, and a treasury applies an id once.
        Ok(held.then_some(Effect::Dispute { id: self.leg(DISPUTE), escrow: self.id }))
    }

    /// Whether the treasury holds something, which has to be `amount`.
    fn is_held(&self, amount: u128) -> Result<bool, SettlementError> {
        let want = self.price.ok_or(SettlementError::NoEscrow)?;
        if amount != want {
            return Err(SettlementError::Amount { want, got: amount });
        }
        Ok(want > 0 && !self.lock_refused)
    }

    fn opened(&self, bond: Bond) -> Result<OpenBond, SettlementError> {
        self.open.filter(|open| open.bond == bond).ok_or(SettlementError::UnknownBond)
    }

    fn leg(&self, number: u16) -> u128 {
        TransferId::escrow_leg(self.id, u16::MAX - number).get()
    }

    /// Bonds are numbered below [`Self::MAX_BONDS`], so the product stays far from the end of the range.
    fn bond_leg(&self, number: u16, step: u16) -> u128 {
        self.leg(BONDS + 3 * number + step)
    }
}

/// Why an output has no effect on an escrow as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettlementError {
    /// No price was asked for with [`Output::HoldEscrow`] yet.
    #[error("no escrow was asked for")]
    NoEscrow,
    /// The output names another amount than the price.
    #[error("amount {got}, not the price of {want}")]
    Amount {
        /// The price that was asked for.
        want: u128,
        /// The amount of the output.
        got: u128,
    },
    /// The job has no such replica.
    #[error("no replica {replica}")]
    UnknownReplica {
        /// The replica asked for.
        replica: usize,
    },
    /// Another bond is open.
    #[error("another bond is open")]
    BondOpen,
    /// The bond is not the open one, or no dispute was opened with it.
    #[error("not the bond of an open dispute")]
    UnknownBond,
    /// The job has had all the bonds that can be numbered.
    #[error("more than {max} bonds on one job")]
    TooManyBonds {
        /// Most bonds allowed.
        max: u16,
    },
    /// An output of a later version of `hanzo-poai`, which might move money.
    #[error("output of an unknown kind")]
    UnknownOutput,
}

/// Legs of the escrow, counted down from `u16::MAX`.
const SETTLE: u16 = 0;
const REFUND: u16 = 1;
const DISPUTE: u16 = 2;
/// First leg of the first bond; each bond has three.
const BONDS: u16 = 3;
const BOND: u16 = 0;
const RETURN: u16 = 1;
const FORFEIT: u16 = 2;
