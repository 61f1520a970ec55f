//! A ledger under a journal: the frames of each call, and their replay.

use super::{Frame, FrameKind, JournalError, JournalStore, Journaled, LedgerCallError, Machine, Sink};
use crate::wire::{Bytes, Wire, WireError};
use crate::{
    AccountId, AccountState, Applied, Entry, Ledger, LedgerError, LinkedError, NewAccount, Opened, Status, Timestamp,
    Transfer, TransferId, TransferKind,
};
use alloc::vec::Vec;

use super::JournaledError;

/// A chain on a journaled ledger was refused.
pub type ChainCallError<E> = JournaledError<LinkedError, E>;

impl<S: JournalStore> Journaled<Ledger, S> {
    /// As [`Ledger::open`].
    ///
    /// # Errors
    /// `Refused` with the ledger's error; those of the store.
    pub fn open(&mut self, now: Timestamp, account: NewAccount) -> Result<Opened, LedgerCallError<S::Error>> {
        self.run(now, |ledger, sink| {
            advance(ledger, now, sink)?;
            open(ledger, now, account, sink)
        })
    }

    /// As [`Ledger::apply`].
    ///
    /// # Errors
    /// `Refused` with the ledger's error; those of the store.
    pub fn apply(&mut self, now: Timestamp, transfer: &Transfer) -> Result<Applied, LedgerCallError<S::Error>> {
        self.run(now, |ledger, sink| {
            advance(ledger, now, sink)?;
            apply(ledger, now, transfer, sink)
        })
    }

    /// As [`Ledger::apply_batch`], in one commit.
    ///
    /// # Errors
    /// `Refused` with `ClockBackwards`; those of the store.
    pub fn apply_batch(
        &mut self,
        now: Timestamp,
        transfers: &[Transfer],
        out: &mut Vec<Result<Applied, LedgerError>>,
    ) -> Result<(), LedgerCallError<S::Error>> {
        self.run(now, |ledger, sink| {
            advance(ledger, now, sink)?;
            sink.reserve(transfers.len(), 108);
            out.extend(transfers.iter().map(|t| apply(ledger, now, t, sink)));
            Ok(())
        })
    }

    /// As [`Ledger::apply_linked`].
    ///
    /// # Errors
    /// `Refused` with the ledger's error; those of the store.
    pub fn apply_linked(&mut self, now: Timestamp, legs: &[Transfer]) -> Result<Status, ChainCallError<S::Error>> {
        self.run(now, |ledger, sink| {
            advance(ledger, now, sink).map_err(|error| LinkedError { index: 0, error })?;
            linked(ledger, now, legs, sink)
        })
    }

    /// As [`Ledger::hold`].
    ///
    /// # Errors
    /// `Refused` with the ledger's error; those of the store.
    pub fn hold(&mut self, now: Timestamp, pending: TransferId) -> Result<(), LedgerCallError<S::Error>> {
        self.run(now, |ledger, sink| {
            advance(ledger, now, sink)?;
            ledger.hold(now, pending)?;
            sink.push(FrameKind::Hold, |body| pending.put(body));
            Ok(())
        })
    }

    /// As [`Ledger::release_hold`].
    ///
    /// # Errors
    /// `Refused` with the ledger's error; those of the store.
    pub fn release_hold(&mut self, now: Timestamp, pending: TransferId) -> Result<(), LedgerCallError<S::Error>> {
        self.run(now, |ledger, sink| {
            advance(ledger, now, sink)?;
            ledger.release_hold(now, pending)?;
            sink.push(FrameKind::Release, |body| pending.put(body));
            Ok(())
        })
    }

    /// As [`Ledger::freeze`], [`Ledger::unfreeze`] and [`Ledger::close`], by the state the account is to have.
    ///
    /// # Errors
    /// `Refused` with the ledger's error; those of the store.
    pub fn set_state(
        &mut self,
        now: Timestamp,
        account: AccountId,
        state: AccountState,
    ) -> Result<(), LedgerCallError<S::Error>> {
        self.run(now, |ledger, sink| {
            advance(ledger, now, sink)?;
            set_state(ledger, now, account, state, sink)
        })
    }

    /// As [`Ledger::advance`].
    ///
    /// # Errors
    /// `Refused` with `ClockBackwards`; those of the store.
    pub fn advance(&mut self, now: Timestamp) -> Result<(), LedgerCallError<S::Error>> {
        self.run(now, |ledger, sink| advance(ledger, now, sink))
    }
}

impl Machine for Ledger {
    fn replay(&mut self, frames: &[Frame<'_>]) -> Result<(), JournalError> {
        let (mut sink, mut chain) = (Sink::new(), Vec::new());
        for frame in frames {
            let (now, diverged) = (frame.at, JournalError::Diverged { seq: frame.seq });
            advance(self, now, &mut sink).map_err(|_| diverged)?;
            let corrupt = |_: WireError| JournalError::Corrupt { seq: frame.seq };
            // Whether it can be applied shows below, where the frames are compared.
            match frame.kind {
                // They come from time alone.
                FrameKind::Expired => {}
                FrameKind::Account => {
                    let account = NewAccount::from_wire(frame.body).map_err(corrupt)?;
                    open(self, now, account, &mut sink).map_err(|_| diverged)?;
                }
                FrameKind::Transfer => {
                    let (transfer, linked_on) = transfer_of(frame.body).map_err(corrupt)?;
                    chain.push(transfer);
                    if linked_on {
                        continue;
                    }
                    if let [one] = chain[..] {
                        apply(self, now, &one, &mut sink).map_err(|_| diverged)?;
                    } else {
                        linked(self, now, &chain, &mut sink).map_err(|_| diverged)?;
                    }
                    chain.clear();
                }
                FrameKind::Refused => {
                    let id = TransferId::from_wire(frame.body).map_err(corrupt)?;
                    if !self.refuse(id) {
                        return Err(JournalError::Diverged { seq: frame.seq });
                    }
                    sink.push(FrameKind::Refused, |body| id.put(body));
                }
                FrameKind::Hold | FrameKind::Release => {
                    let id = TransferId::from_wire(frame.body).map_err(corrupt)?;
                    let hold = frame.kind == FrameKind::Hold;
                    let done = if hold { self.hold(now, id) } else { self.release_hold(now, id) };
                    done.map_err(|_| diverged)?;
                    sink.push(frame.kind, |body| id.put(body));
                }
                FrameKind::AccountState => {
                    let (account, state) = Wire::from_wire(frame.body).map_err(corrupt)?;
                    set_state(self, now, account, state, &mut sink).map_err(|_| diverged)?;
                }
                kind => return Err(JournalError::UnknownKind { kind: kind as u8 }),
            }
        }
        sink.differs_from(frames).map_or(Ok(()), |seq| Err(JournalError::Diverged { seq }))
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put_state(&mut out);
        out
    }

    fn restore(self, bytes: &[u8]) -> Result<Self, JournalError> {
        let mut bytes = Bytes(bytes);
        let ledger = self.take_state(&mut bytes).map_err(|_| JournalError::Corrupt { seq: 0 })?;
        bytes.finish()?;
        Ok(ledger)
    }
}

pub(crate) fn advance(ledger: &mut Ledger, now: Timestamp, sink: &mut Sink) -> Result<(), LedgerError> {
    ledger.expire(now, |pending| sink.push(FrameKind::Expired, |body| pending.put(body)))
}

fn open(ledger: &mut Ledger, now: Timestamp, account: NewAccount, sink: &mut Sink) -> Result<Opened, LedgerError> {
    let opened = ledger.open(now, account)?;
    if opened.status == Status::New {
        sink.push(FrameKind::Account, |body| account.put(body));
    }
    Ok(opened)
}

fn apply(ledger: &mut Ledger, now: Timestamp, t: &Transfer, sink: &mut Sink) -> Result<Applied, LedgerError> {
    let result = ledger.apply(now, t);
    match result {
        Ok(applied) if applied.status == Status::New => {
            ledger.latest(1).for_each(|entry| push_transfer(&entry, false, sink));
        }
        Err(error) if error.depends_on_state() => sink.push(FrameKind::Refused, |body| t.id.put(body)),
        _ => {}
    }
    result
}

fn linked(ledger: &mut Ledger, now: Timestamp, legs: &[Transfer], sink: &mut Sink) -> Result<Status, LinkedError> {
    let result = ledger.apply_linked(now, legs);
    match result {
        Ok(Status::New) => {
            for (i, entry) in ledger.latest(legs.len()).enumerate() {
                push_transfer(&entry, i + 1 < legs.len(), sink);
            }
        }
        Err(LinkedError { index, error }) if error.depends_on_state() => {
            sink.push(FrameKind::Refused, |body| legs[index].id.put(body));
        }
        _ => {}
    }
    result
}

fn set_state(
    ledger: &mut Ledger,
    now: Timestamp,
    account: AccountId,
    state: AccountState,
    sink: &mut Sink,
) -> Result<(), LedgerError> {
    match state {
        AccountState::Active => ledger.unfreeze(now, account)?,
        AccountState::Frozen => ledger.freeze(now, account)?,
        AccountState::Closed => ledger.close(now, account)?,
    }
    sink.push(FrameKind::AccountState, |body| (account, state).put(body));
    Ok(())
}

/// 108 bytes: id, debit, credit, requested, applied, pending 16 each, timeout 8, kind 1, flags 1 (1 balancing, 2 linked to the next
/// leg), code 2. A post of everything has requested 0; a post or void names no accounts.
fn push_transfer(&Entry { transfer, amount: applied, .. }: &Entry, linked_on: bool, sink: &mut Sink) {
    let none = AccountId::new(0);
    let (kind, debit, credit, requested, pending, timeout, balancing) = match transfer.kind {
        TransferKind::Transfer { debit, credit, amount, balancing } => (0u8, debit, credit, amount, 0, 0, balancing),
        TransferKind::Pending { debit, credit, amount, balancing, timeout_ns } => {
            (1, debit, credit, amount, 0, timeout_ns, balancing)
        }
        TransferKind::Post { pending, amount } => (2, none, none, amount.unwrap_or(0), pending.get(), 0, false),
        TransferKind::Void { pending } => (3, none, none, 0, pending.get(), 0, false),
    };
    let mut bytes = [0; 108];
    let numbers = [transfer.id.get(), debit.get(), credit.get(), requested, applied, pending];
    for (place, number) in bytes.as_chunks_mut().0.iter_mut().zip(numbers) {
        *place = number.to_be_bytes();
    }
    bytes[96..104].copy_from_slice(&timeout.to_be_bytes());
    bytes[104..106].copy_from_slice(&[kind, u8::from(balancing) | u8::from(linked_on) << 1]);
    bytes[106..].copy_from_slice(&transfer.code.to_be_bytes());
    sink.push(FrameKind::Transfer, |body| body.extend_from_slice(&bytes));
}

/// The transfer of a body, and whether it is linked to the next.
fn transfer_of(body: &[u8]) -> Result<(Transfer, bool), WireError> {
    let mut bytes = Bytes(body);
    let (id, debit, credit): (TransferId, AccountId, AccountId) = Wire::take(&mut bytes)?;
    let (amount, _applied, pending): (u128, u128, u128) = Wire::take(&mut bytes)?;
    let timeout_ns = u64::take(&mut bytes)?;
    let (kind, flags, code): (u8, u8, u16) = Wire::take(&mut bytes)?;
    bytes.finish()?;
    let (balancing, pending) = (flags & 1 != 0, TransferId::new(pending));
    let kind = match kind {
        0 => TransferKind::Transfer { debit, credit, amount, balancing },
        1 => TransferKind::Pending { debit, credit, amount, balancing, timeout_ns },
        2 => TransferKind::Post { pending, amount: (amount > 0).then_some(amount) },
        3 => TransferKind::Void { pending },
        _ => return Err(WireError::Value),
    };
    Ok((Transfer { id, kind, code }, flags & 2 != 0))
}
