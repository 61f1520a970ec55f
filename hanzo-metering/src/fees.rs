//! Splitting amounts by fee schedules and by weights, exactly.

mod accrual;

pub use accrual::FeeAccrual;

use crate::wide::{BPS, mul_div};
use crate::wire::wire_enum;
use alloc::vec::Vec;

/// Who a share of a fee goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Who runs the deployment.
    Operator,
    /// Who validates blocks.
    Validator,
    /// Who did the work.
    Worker,
    /// Who checked the work.
    Verifier,
    /// Who provides liquidity.
    LiquidityProvider,
    /// A node that lends GPUs.
    GpuNode,
    /// Who contributed what was used.
    Contributor,
    /// The treasury of the network.
    Treasury,
    /// Any other, by number.
    Other(u16),
}

/// Where a share of a fee ends up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// In the account given for the role.
    Pay,
    /// Out of the supply.
    Burn,
}

/// One share of a fee schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    /// Whose share.
    pub role: Role,
    /// How large, in basis points.
    pub bps: u16,
    /// Where it ends up.
    pub disposition: Disposition,
}

/// Shares that sum to 10,000 basis points, each role once.
///
/// ```
/// use hanzo_metering::FeeSchedule;
/// // 8000, 800, 500, 400 and 300 bp of 19 base units, leftovers to the largest remainders.
/// assert_eq!(FeeSchedule::aci().split(19), [15, 1, 1, 1, 1]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FeeSchedule {
    shares: Vec<Share>,
}

impl FeeSchedule {
    /// A schedule of these shares, in this order.
    ///
    /// # Errors
    /// `BadSchedule` unless the shares sum to 10,000; `DuplicateRole`.
    pub fn new(shares: impl IntoIterator<Item = Share>) -> Result<Self, FeeError> {
        let shares: Vec<Share> = shares.into_iter().collect();
        for (i, share) in shares.iter().enumerate() {
            if shares[..i].iter().any(|s| s.role == share.role) {
                return Err(FeeError::DuplicateRole { role: share.role });
            }
        }
        // Roles are unique, so there are few enough shares for the sum.
        let sum: u64 = shares.iter().map(|s| u64::from(s.bps)).sum();
        if u128::from(sum) != BPS {
            return Err(FeeError::BadSchedule { sum });
        }
        Ok(Self { shares })
    }

    /// The Hanzo network (000, equation 13): operator 9,000, validator 1,000.
    pub fn hanzo() -> Self {
        Self::of(&[(Role::Operator, 9_000), (Role::Validator, 1_000)])
    }

    /// The AI chain (003, table 5): worker 8,000, validators 800, verifiers 500, liquidity providers 400, and
    /// the treasury's 300, which are burned.
    pub fn aci() -> Self {
        Self::of(&[
            (Role::Worker, 8_000),
            (Role::Validator, 800),
            (Role::Verifier, 500),
            (Role::LiquidityProvider, 400),
            (Role::Treasury, 300),
        ])
        .burning(4)
    }

    /// The Zoo network (004, 10.3): GPU nodes 4,000, contributors 4,000, treasury 1,000, and 1,000 burned.
    pub fn zoo() -> Self {
        Self::of(&[
            (Role::GpuNode, 4_000),
            (Role::Contributor, 4_000),
            (Role::Treasury, 1_000),
            (Role::Other(0), 1_000),
        ])
        .burning(3)
    }

    /// The shares in order.
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// Splits one amount with no memory: floors, then one base unit each to the largest remainders, ties to the
    /// lower index. The parts sum to `amount`. For many small payments use [`FeeAccrual`], which gains nobody anything.
    pub fn split(&self, amount: u128) -> Vec<u128> {
        let weights: Vec<u128> = self.shares.iter().map(|s| u128::from(s.bps)).collect();
        // The weights sum to 10,000, so there is a weight.
        largest_remainder(amount, &weights, BPS)
    }

    fn of(shares: &[(Role, u16)]) -> Self {
        let shares = shares.iter().map(|&(role, bps)| Share { role, bps, disposition: Disposition::Pay }).collect();
        Self { shares }
    }

    fn burning(mut self, index: usize) -> Self {
        self.shares[index].disposition = Disposition::Burn;
        self
    }
}

/// Splits `amount` by weights with no memory: `floor(amount w / W)`, then one base unit each to the largest
/// remainders, ties to the lower index. The parts sum to `amount`; products are exact to 256 bits. O(n log n).
///
/// # Errors
/// `NoWeight` where the weights sum to 0, `Overflow` where they pass `u128`.
///
/// ```
/// use hanzo_metering::distribute;
/// assert_eq!(distribute(100, &[1, 1, 1])?, [34, 33, 33]);
/// # Ok::<(), hanzo_metering::FeeError>(())
/// ```
pub fn distribute(amount: u128, weights: &[u128]) -> Result<Vec<u128>, FeeError> {
    let mut sum: u128 = 0;
    for &w in weights {
        sum = sum.checked_add(w).ok_or(FeeError::Overflow)?;
    }
    if sum == 0 {
        return Err(FeeError::NoWeight);
    }
    Ok(largest_remainder(amount, weights, sum))
}

/// `weights` sum to `sum`, which is not 0: so no quotient passes `amount`, and floors fall short of it by less than
/// there are weights.
fn largest_remainder(amount: u128, weights: &[u128], sum: u128) -> Vec<u128> {
    let (mut parts, mut remainders) = (Vec::with_capacity(weights.len()), Vec::with_capacity(weights.len()));
    let mut left = amount;
    for (i, &w) in weights.iter().enumerate() {
        let (part, rest) = mul_div(amount, w, sum).unwrap_or((0, 0));
        left -= part;
        parts.push(part);
        remainders.push((rest, i));
    }
    remainders.sort_unstable_by_key(|&(rest, i)| (core::cmp::Reverse(rest), i));
    for &(_, i) in &remainders {
        if left == 0 {
            break;
        }
        parts[i] += 1;
        left -= 1;
    }
    parts
}

/// Why a fee could not be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FeeError {
    /// The shares of a schedule do not sum to 10,000.
    #[error("shares sum to {sum} basis points, not 10000")]
    BadSchedule {
        /// What they sum to.
        sum: u64,
    },
    /// A role stands twice.
    #[error("role {role:?} stands twice")]
    DuplicateRole {
        /// The role.
        role: Role,
    },
    /// No account was given for a role of the schedule.
    #[error("no recipient for role {role:?}")]
    MissingRole {
        /// The role.
        role: Role,
    },
    /// An account was given for a role that the schedule does not pay.
    #[error("schedule does not pay role {role:?}")]
    UnknownRole {
        /// The role.
        role: Role,
    },
    /// There is no schedule of that number.
    #[error("no schedule {schedule}")]
    UnknownSchedule {
        /// The number.
        schedule: u32,
    },
    /// The weights sum to 0.
    #[error("weights sum to zero")]
    NoWeight,
    /// A sum passes `u128`.
    #[error("amount overflows")]
    Overflow,
}

wire_enum!(Role {
    0 => Operator, 1 => Validator, 2 => Worker, 3 => Verifier, 4 => LiquidityProvider, 5 => GpuNode, 6 => Contributor,
    7 => Treasury, 8 => Other(number),
});
