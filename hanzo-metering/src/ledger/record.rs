use super::{Entry, Field, Pending, PendingState, Transfer, TransferKind};
use crate::{AccountId, Timestamp, TransferId};

/// What a stored transfer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Transfer,
    Pending,
    Post,
    Void,
}

/// A transfer that was applied. The journal is a vector of these; it is also the undo log of a linked chain.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: u128,
    /// Amount asked for; 0 in a post of everything and in a void.
    pub(super) requested: u128,
    /// Amount moved, reserved or released.
    pub(super) applied: u128,
    pub(super) created: u64,
    /// Timeout asked for.
    pub(super) timeout: u64,
    /// Of a pending with a timeout: its deadline while open, the time left while held.
    pub(super) clock: u64,
    pub(super) debit: u32,
    pub(super) credit: u32,
    /// Post, void: index of the pending. Open pending: its place in the list of open ones.
    pub(super) link: u32,
    pub(super) code: u16,
    pub(super) kind: Kind,
    pub(super) state: PendingState,
    pub(super) balancing: bool,
}

impl Record {
    /// The first field in which `t` differs from this record; `id_of` gives account ids and `pending_id` the id behind `link`.
    pub(super) fn difference(
        &self,
        t: &Transfer,
        id_of: impl Fn(u32) -> AccountId,
        pending_id: TransferId,
    ) -> Option<Field> {
        let accounts = |debit, credit, amount, balancing| {
            if id_of(self.debit) != debit {
                Some(Field::Debit)
            } else if id_of(self.credit) != credit {
                Some(Field::Credit)
            } else if self.requested != amount {
                Some(Field::Amount)
            } else if self.balancing != balancing {
                Some(Field::Balancing)
            } else {
                None
            }
        };
        let field = match (self.kind, t.kind) {
            (Kind::Transfer, TransferKind::Transfer { debit, credit, amount, balancing }) => {
                accounts(debit, credit, amount, balancing)
            }
            (Kind::Pending, TransferKind::Pending { debit, credit, amount, balancing, timeout_ns }) => {
                accounts(debit, credit, amount, balancing).or((self.timeout != timeout_ns).then_some(Field::Timeout))
            }
            (Kind::Post, TransferKind::Post { pending, amount }) => {
                if pending_id != pending {
                    Some(Field::Pending)
                } else {
                    (self.requested != amount.unwrap_or(0)).then_some(Field::Amount)
                }
            }
            (Kind::Void, TransferKind::Void { pending }) => (pending_id != pending).then_some(Field::Pending),
            _ => Some(Field::Kind),
        };
        field.or((self.code != t.code).then_some(Field::Code))
    }

    pub(super) fn entry(&self, id_of: impl Fn(u32) -> AccountId, pending_id: TransferId) -> Entry {
        let (debit, credit) = (id_of(self.debit), id_of(self.credit));
        let (amount, balancing) = (self.requested, self.balancing);
        let kind = match self.kind {
            Kind::Transfer => TransferKind::Transfer { debit, credit, amount, balancing },
            Kind::Pending => TransferKind::Pending { debit, credit, amount, balancing, timeout_ns: self.timeout },
            Kind::Post => TransferKind::Post { pending: pending_id, amount: (amount > 0).then_some(amount) },
            Kind::Void => TransferKind::Void { pending: pending_id },
        };
        Entry {
            transfer: Transfer { id: TransferId::new(self.id), kind, code: self.code },
            amount: self.applied,
            created: Timestamp::from_nanos(self.created),
            pending: (self.kind == Kind::Pending).then_some(self.state),
        }
    }

    pub(super) fn pending(&self, id_of: impl Fn(u32) -> AccountId) -> Pending {
        let held = self.state == PendingState::Held;
        Pending {
            id: TransferId::new(self.id),
            debit: id_of(self.debit),
            credit: id_of(self.credit),
            amount: self.applied,
            expires: (self.timeout > 0 && !held).then_some(Timestamp::from_nanos(self.clock)),
            held,
        }
    }
}
