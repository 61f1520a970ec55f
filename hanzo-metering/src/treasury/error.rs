use super::EscrowState;
use crate::{AccountId, FeeError, LedgerError, StakeError};

/// Why an effect was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TreasuryError {
    /// The ledger refused a movement.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The amount could not be split.
    #[error(transparent)]
    Fee(#[from] FeeError),
    /// The stake could not be changed.
    #[error(transparent)]
    Stake(#[from] StakeError),
    /// The id is known with other content.
    #[error("id is known with other content")]
    IdConflict,
    /// An effect names an account of the treasury itself.
    #[error("{account:?} is an account of the treasury")]
    SystemAccount {
        /// The account.
        account: AccountId,
    },
    /// No lock has that id.
    #[error("unknown escrow")]
    UnknownEscrow,
    /// The escrow has ended.
    #[error("escrow is {state:?}")]
    Terminal {
        /// How it ended.
        state: EscrowState,
    },
    /// The escrow is disputed already.
    #[error("escrow is disputed already")]
    AlreadyDisputed,
    /// The escrow is not disputed, so there is no dispute to take back.
    #[error("escrow is not disputed")]
    NotDisputed,
    /// More than 10,000 basis points.
    #[error("{bps} basis points pass 10000")]
    BadBps {
        /// Basis points given.
        bps: u16,
    },
    /// No bond has that id.
    #[error("unknown bond")]
    UnknownBond,
    /// The bond was returned.
    #[error("bond was returned")]
    BondReturned,
    /// Less is left of the bond than was to be drawn.
    #[error("only {left} left of the bond")]
    InsufficientBond {
        /// Base units left.
        left: u128,
    },
    /// The bond was slashed for this evidence before.
    #[error("bond was slashed for this evidence before")]
    EvidenceUsed,
    /// Stored sums differ from those recomputed: a defect of this crate.
    #[error("audit found a difference")]
    AuditMismatch,
}

impl TreasuryError {
    /// Whether the same effect could be accepted later; such an error uses up the id of the effect.
    pub const fn depends_on_state(&self) -> bool {
        match self {
            Self::Ledger(error) => error.depends_on_state(),
            Self::UnknownEscrow | Self::UnknownBond => true,
            _ => false,
        }
    }
}
