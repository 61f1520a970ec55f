use core::fmt;

/// Identifier of a ledger account; neither 0 nor `u128::MAX` can be opened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(u128);

/// Identifier of a transfer; a second transfer of the same id is never applied twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(u128);

impl AccountId {
    /// The account of this number.
    pub const fn new(id: u128) -> Self {
        Self(id)
    }

    /// The account of a 32-byte party: the first 16 bytes, big-endian, of
    /// `BLAKE3.derive_key("hanzo-metering v1 account", party)`.
    ///
    /// 128 bits can in principle collide, so accounts store the whole party as their owner and opening
    /// the same id for another party is refused.
    ///
    /// ```
    /// use hanzo_metering::AccountId;
    /// assert_ne!(AccountId::of_party(&[1; 32]), AccountId::of_party(&[2; 32]));
    /// ```
    pub fn of_party(party: &[u8; 32]) -> Self {
        Self(derive("hanzo-metering v1 account", &[party]))
    }

    /// The number of this account.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl TransferId {
    /// The transfer of this number.
    pub const fn new(id: u128) -> Self {
        Self(id)
    }

    /// The id of number `seq` of a source, for a ledger with [`IdMode::Sequenced`](crate::IdMode::Sequenced).
    pub const fn sequenced(source: u64, seq: u64) -> Self {
        Self((source as u128) << 64 | seq as u128)
    }

    /// The id of one leg of an escrow or of another effect with several legs:
    /// `BLAKE3.derive_key("hanzo-metering v1 escrow leg", escrow (16 bytes), leg (2 bytes))`, first 16 bytes, big-endian.
    pub fn escrow_leg(escrow: u128, leg: u16) -> Self {
        Self(derive("hanzo-metering v1 escrow leg", &[&escrow.to_be_bytes(), &leg.to_be_bytes()]))
    }

    /// The id of the escrow of one replica of a job: job (32 bytes), replica (4), under
    /// `"hanzo-metering v1 replica escrow"`.
    pub fn replica_escrow(job: &[u8; 32], replica: u32) -> Self {
        Self(derive("hanzo-metering v1 replica escrow", &[job, &replica.to_be_bytes()]))
    }

    /// The id of one leg of a slash, from its evidence (32 bytes) and the leg (2 bytes), under the context
    /// `"hanzo-metering v1 slash leg"`.
    pub fn slash_leg(evidence: &[u8; 32], leg: u16) -> Self {
        Self(derive("hanzo-metering v1 slash leg", &[evidence, &leg.to_be_bytes()]))
    }

    /// The id of the deposit of an attempt at a job: job (16 bytes), attempt (4), under `"hanzo-metering v1 job deposit"`.
    pub fn deposit(job: u128, attempt: u32) -> Self {
        Self(derive("hanzo-metering v1 job deposit", &[&job.to_be_bytes(), &attempt.to_be_bytes()]))
    }

    /// The id of mint number `n` of [`Books`](crate::Books): operator (16 bytes), number (8), under
    /// `"hanzo-metering v1 mint"`.
    pub fn mint(operator: AccountId, n: u64) -> Self {
        Self(derive("hanzo-metering v1 mint", &[&operator.0.to_be_bytes(), &n.to_be_bytes()]))
    }

    /// The id of an invoice, which is the id of the transfer that pays it: account (16 bytes), deployment (32), hash of
    /// the tariff (32), first and last height (8 each), under the context `"hanzo-metering v1 invoice id"`.
    pub fn invoice(account: AccountId, deployment: &[u8; 32], tariff: &[u8; 32], from: u64, to: u64) -> Self {
        let account = account.0.to_be_bytes();
        let (from, to) = (from.to_be_bytes(), to.to_be_bytes());
        Self(derive("hanzo-metering v1 invoice id", &[&account, deployment, tariff, &from, &to]))
    }

    /// The number of this transfer.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl From<u128> for AccountId {
    fn from(id: u128) -> Self {
        Self(id)
    }
}

impl From<u128> for TransferId {
    fn from(id: u128) -> Self {
        Self(id)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountId({:#x})", self.0)
    }
}

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransferId({:#x})", self.0)
    }
}

/// First 16 bytes of a BLAKE3 `derive_key` over the concatenated parts, each of fixed length.
fn derive(context: &str, parts: &[&[u8]]) -> u128 {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_be_bytes(first)
}
