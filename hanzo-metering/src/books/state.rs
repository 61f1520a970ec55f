//! What commands do to books, what becomes of that in the journal, and snapshots.

use super::*;
use crate::journal::ledger_advance;
use crate::{EscrowState, Intent, Outcome, TransferId, TreasuryError};

impl Books {
    /// Runs a command; a new one becomes a frame, with what follows from it, and so does one whose refusal used its id up.
    pub(super) fn run(&mut self, now: Timestamp, command: &Command, sink: &mut Sink) -> Result<Answer, BooksError> {
        ledger_advance(self.treasury.ledger_mut(), now, sink)?;
        let mut results = Sink::new();
        let before = self.treasury.uses();
        let result = self.dispatch(now, command, &mut results);
        let changed = match &result {
            Ok(Answer::Done(Status::Existing) | Answer::Recorded(Recorded::Duplicate)) => false,
            Ok(Answer::Receipt(receipt)) => receipt.status == Status::New,
            // The same boundary again has no results.
            Ok(Answer::Bills(_)) => !results.is_empty(),
            Ok(_) => true,
            Err(_) if self.treasury.uses() != before => {
                sink.push(FrameKind::Refused, |body| command.put(body));
                return result;
            }
            Err(_) => false,
        };
        if changed {
            sink.push(kind_of(command), |body| command.put(body));
            results.frames().for_each(|(kind, bytes)| sink.push(kind, |body| body.extend_from_slice(bytes)));
        }
        result
    }

    fn dispatch(&mut self, now: Timestamp, command: &Command, results: &mut Sink) -> Result<Answer, BooksError> {
        let treasury = &mut self.treasury;
        Ok(match *command {
            Command::OpenWallet { id, ref owner } => Answer::Done(treasury.open_wallet(now, id, *owner)?.status),
            Command::SetFrozen { account, frozen } => {
                treasury.set_frozen(now, account, frozen)?;
                Answer::Done(Status::New)
            }
            Command::Apply(ref effect) => Answer::Receipt(treasury.apply(now, effect)?),
            Command::BondStake { id, account, amount } => Answer::Done(treasury.bond_stake(now, id, account, amount)?),
            Command::UnbondStake { id, account, amount } => {
                Answer::At(treasury.unbond_stake(now, id, account, amount)?)
            }
            Command::WithdrawStake { id, account } => Answer::Amount(treasury.withdraw_stake(now, id, account)?),
            Command::BeginEpoch { epoch } => {
                treasury.begin_epoch(epoch)?;
                Answer::Done(Status::New)
            }
            Command::FinishFees { id, schedule } => Answer::Postings(treasury.finish_fees(now, id, schedule)?),
            Command::AddDeployment { ref id, operator, ref deployment } => {
                let known = |account| treasury.ledger().handle(account).is_some();
                if !known(operator) || !known(deployment.account) {
                    return Err(BooksError::UnknownWallet);
                }
                // A meter may come with any number of readings.
                let mut body = Vec::new();
                command.put(&mut body);
                if body.len() > Frame::MAX_BODY {
                    return Err(BooksError::DeploymentTooLong { len: body.len(), max: Frame::MAX_BODY });
                }
                self.biller.add(*id, deployment.clone())?;
                self.operators.insert(*id, operator);
                Answer::Done(Status::New)
            }
            Command::RemoveDeployment { ref id } => {
                self.biller.remove(id)?;
                self.operators.remove(id);
                Answer::Done(Status::New)
            }
            Command::Record { ref deployment, ref source, ref id, at, value } => {
                let len = source.len().max(id.len());
                if len > MAX_KEY {
                    return Err(BooksError::ReadingTooLong { len, max: MAX_KEY });
                }
                let reading = Reading { source, id, at, value };
                Answer::Recorded(self.biller.meter(deployment)?.record(now, reading)?)
            }
            Command::Bill { boundary } => Answer::Bills(self.bill(now, boundary, results)?),
            Command::Mint { epoch } => Answer::Minted(self.mint(now, epoch)?),
            Command::RecordIntent { ref intent, deposit } => Answer::Done(self.intent(now, intent, deposit)?),
            Command::RecordOutcome { job, attempt, outcome } => Answer::Done(self.outcome(now, job, attempt, outcome)?),
        })
    }

    fn bill(&mut self, now: Timestamp, boundary: u64, results: &mut Sink) -> Result<Vec<BilledInvoice>, BooksError> {
        let (status, invoices) = self.biller.bill_through(boundary, now)?;
        if status == Status::Existing {
            let paid = |i: &Invoice| self.paid.get(&i.id.get()).copied().unwrap_or(false);
            return Ok(invoices.into_iter().map(|i| BilledInvoice { paid: paid(&i), invoice: i }).collect());
        }
        self.paid.clear();
        // The window is closed even where nothing was running.
        results.push(FrameKind::Invoice, |body| (boundary, invoices.len() as u32).put(body));
        let mut bills = Vec::with_capacity(invoices.len());
        for invoice in invoices {
            let operator = self.operators.get(&invoice.deployment).copied();
            let paid = operator.is_some_and(|operator| self.pay(now, &invoice, operator).is_ok());
            if let (true, Some(operator)) = (paid, operator) {
                let earned = self.earned.entry(operator).or_default();
                *earned = earned.saturating_add(invoice.mint);
            }
            self.paid.insert(invoice.id.get(), paid);
            results.push(FrameKind::Invoice, |body| {
                invoice.put(body);
                paid.put(body);
            });
            bills.push(BilledInvoice { invoice, paid });
        }
        Ok(bills)
    }

    /// Pays an invoice by an effect of its id; one below 0 by the operator.
    fn pay(&mut self, now: Timestamp, invoice: &Invoice, operator: AccountId) -> Result<(), TreasuryError> {
        let (id, amount) = (invoice.id.get(), invoice.total.unsigned_abs());
        let (client, operator) = (invoice.account.get(), operator.get());
        let effect = match (invoice.total, &self.payout) {
            (0, _) => return Ok(()),
            // A client that hosts itself moves nothing.
            _ if client == operator => return Ok(()),
            (..0, _) => Effect::Pay { id, from: operator, to: client, amount },
            (_, Payout::Operator) => Effect::Pay { id, from: client, to: operator, amount },
            (_, Payout::Split { schedule, operator: role, others }) => {
                let mut recipients = others.clone();
                recipients.push((*role, operator));
                Effect::Split { id, from: client, schedule: *schedule, recipients, amount }
            }
        };
        self.treasury.apply(now, &effect).map(|_| ())
    }

    fn mint(&mut self, now: Timestamp, epoch: u64) -> Result<Vec<Minted>, BooksError> {
        let asks: Vec<(AccountId, u128)> =
            self.earned.iter().filter(|e| *e.1 > 0).map(|(&a, &e)| (a, e.unsigned_abs())).collect();
        let requests: Vec<u128> = asks.iter().map(|a| a.1).collect();
        let grants = self.emission.grant(&requests, epoch)?;
        let mut minted = Vec::with_capacity(grants.len());
        for (&(operator, _), amount) in asks.iter().zip(grants) {
            self.earned.remove(&operator);
            self.mints += 1;
            let id = TransferId::mint(operator, self.mints).get();
            // A supply that the treasury caps lower than the emission mints nothing more.
            let effect = Effect::Mint { id, to: operator.get(), amount };
            let amount = if amount > 0 && self.treasury.apply(now, &effect).is_ok() { amount } else { 0 };
            minted.push(Minted { operator, amount });
        }
        Ok(minted)
    }

    fn intent(&mut self, now: Timestamp, intent: &Intent, deposit: Option<Deposit>) -> Result<Status, BooksError> {
        let (job, attempt) = (intent.spec.id, intent.attempt);
        match self.jobs.get(&job) {
            Some(known) if known.intent == *intent => return Ok(Status::Existing),
            // Another attempt follows one that was voided.
            Some(Job { intent: last, outcome: Some(Outcome::Voided { retry_at: Some(_) }), .. })
                if last.attempt < attempt => {}
            Some(_) => return Err(BooksError::RecordConflict),
            None => {}
        }
        let mut escrow = None;
        if let Some(Deposit { account, amount, timeout_ns }) = deposit {
            let id = TransferId::deposit(job, attempt).get();
            self.treasury.apply(now, &Effect::Lock { id, from: account.get(), amount, timeout_ns })?;
            escrow = Some(id);
        }
        self.jobs.insert(job, Job { intent: intent.clone(), outcome: None, deposit: escrow });
        Ok(Status::New)
    }

    fn outcome(&mut self, now: Timestamp, job: u128, attempt: u32, outcome: Outcome) -> Result<Status, BooksError> {
        let known =
            self.jobs.get_mut(&job).filter(|j| j.intent.attempt == attempt).ok_or(BooksError::RecordConflict)?;
        match (known.outcome, outcome) {
            (Some(old), new) if old == new => return Ok(Status::Existing),
            (None, Outcome::Committed { .. } | Outcome::Voided { .. } | Outcome::Ended)
            | (Some(Outcome::Committed { .. }), Outcome::Ended) => {}
            _ => return Err(BooksError::RecordConflict),
        }
        known.outcome = Some(outcome);
        let over = !matches!(outcome, Outcome::Committed { .. });
        if let Some(escrow) = known.deposit.filter(|_| over) {
            known.deposit = None;
            // It may have run out, or been settled by an effect.
            if matches!(self.treasury.escrow(escrow), Some(EscrowState::Locked | EscrowState::Disputed)) {
                let id = TransferId::escrow_leg(escrow, u16::MAX).get();
                self.treasury.apply(now, &Effect::Refund { id, escrow })?;
            }
        }
        Ok(Status::New)
    }
}

impl Machine for Books {
    fn replay(&mut self, frames: &[Frame<'_>]) -> Result<(), JournalError> {
        let Some(first) = frames.first() else { return Ok(()) };
        let now = first.at;
        let mut sink = Sink::new();
        // Expiries come from time, results from the command; a commit has one command at most.
        let result = |kind| matches!(kind, FrameKind::Expired | FrameKind::Invoice);
        match frames.iter().find(|f| !result(f.kind)) {
            Some(frame) => {
                let command = Command::from_wire(frame.body).map_err(|_| JournalError::Corrupt { seq: frame.seq })?;
                // What it answers shows in its frames.
                let _ = self.run(now, &command, &mut sink);
            }
            None => {
                let diverged = |_| JournalError::Diverged { seq: first.seq };
                ledger_advance(self.treasury.ledger_mut(), now, &mut sink).map_err(diverged)?;
            }
        }
        sink.differs_from(frames).map_or(Ok(()), |seq| Err(JournalError::Diverged { seq }))
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.treasury.put_state(&mut out);
        self.biller.put_state(&mut out);
        self.emission.put_state(&mut out);
        self.operators.put(&mut out);
        self.paid.put(&mut out);
        self.earned.put(&mut out);
        self.jobs.put(&mut out);
        self.mints.put(&mut out);
        out
    }

    fn restore(mut self, bytes: &[u8]) -> Result<Self, JournalError> {
        let mut bytes = Bytes(bytes);
        self.take(&mut bytes).map_err(|_| JournalError::Corrupt { seq: 0 })?;
        bytes.finish()?;
        Ok(self)
    }
}

impl Books {
    fn take(&mut self, bytes: &mut Bytes<'_>) -> Result<(), WireError> {
        self.treasury = self.treasury.clone().take_state(bytes)?;
        self.biller.take_state(bytes)?;
        self.emission.take_state(bytes)?;
        self.operators = Wire::take(bytes)?;
        self.paid = Wire::take(bytes)?;
        self.earned = Wire::take(bytes)?;
        self.jobs = Wire::take(bytes)?;
        self.mints = Wire::take(bytes)?;
        Ok(())
    }
}

const fn kind_of(command: &Command) -> FrameKind {
    match command {
        Command::OpenWallet { .. } => FrameKind::Account,
        Command::SetFrozen { .. } => FrameKind::AccountState,
        Command::Apply(Effect::Slash { .. }) => FrameKind::Slash,
        Command::Apply(_) => FrameKind::Effect,
        Command::BondStake { .. }
        | Command::UnbondStake { .. }
        | Command::WithdrawStake { .. }
        | Command::BeginEpoch { .. } => FrameKind::Stake,
        Command::FinishFees { .. } => FrameKind::Fees,
        Command::AddDeployment { .. } | Command::RemoveDeployment { .. } => FrameKind::Deployment,
        Command::Record { .. } => FrameKind::Reading,
        Command::Bill { .. } => FrameKind::Window,
        Command::Mint { .. } => FrameKind::Mint,
        Command::RecordIntent { .. } => FrameKind::Intent,
        Command::RecordOutcome { .. } => FrameKind::Outcome,
    }
}

wire_struct!(Job { intent, outcome, deposit });

/// Most bytes of the source, and of the id, of a reading.
const MAX_KEY: usize = 256;
