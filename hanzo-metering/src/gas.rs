use crate::wide::mul_div;

/// Thousandths of a unit of gas, in which a multiplication of a matrix product costs 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MilliGas(u64);

impl MilliGas {
    /// This many thousandths.
    pub const fn new(milligas: u64) -> Self {
        Self(milligas)
    }

    /// The number of thousandths.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum.
    ///
    /// # Errors
    /// `Overflow`.
    pub const fn checked_add(self, other: Self) -> Result<Self, GasError> {
        match self.0.checked_add(other.0) {
            Some(sum) => Ok(Self(sum)),
            None => Err(GasError::Overflow),
        }
    }

    /// What it costs at `price` base units per unit of gas: `ceil(milligas x price / 1000)`.
    ///
    /// # Errors
    /// `Overflow`.
    ///
    /// ```
    /// use hanzo_metering::MilliGas;
    /// assert_eq!(MilliGas::new(1_001).charge(5), Ok(6)); // 5.005, rounded up
    /// ```
    pub fn charge(self, price: u128) -> Result<u128, GasError> {
        let (whole, rest) = mul_div(u128::from(self.0), price, MILLI).ok_or(GasError::Overflow)?;
        whole.checked_add(u128::from(rest > 0)).ok_or(GasError::Overflow)
    }
}

/// Operations of the AI chain whose gas was measured (003, table 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Submission of a job.
    JobSubmission,
    /// Settlement of a job.
    Settlement,
    /// Resolution of a dispute.
    DisputeResolution,
    /// A swap with the market maker.
    HmmSwap,
    /// A change of stake.
    Stake,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::JobSubmission, Self::Settlement, Self::DisputeResolution, Self::HmmSwap, Self::Stake];

    /// The cost of table 9: 42,000, 28,000, 120,000, 35,000 and 21,000 gas, 49,200 on average.
    pub const fn gas(self) -> MilliGas {
        MilliGas(match self {
            Self::JobSubmission => 42_000_000,
            Self::Settlement => 28_000_000,
            Self::DisputeResolution => 120_000_000,
            Self::HmmSwap => 35_000_000,
            Self::Stake => 21_000_000,
        })
    }
}

/// What an operation costs by its size: `base + size_cost x size` milligas (003, 5.3).
///
/// ```
/// use hanzo_metering::{GasSchedule, MilliGas};
/// assert_eq!(GasSchedule::MATMUL.matmul(256, 256, 256), Ok(MilliGas::new(16_877_216)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GasSchedule {
    /// Milligas of the operation itself.
    pub base: u64,
    /// Milligas of each unit of its size.
    pub size_cost: u64,
}

impl GasSchedule {
    /// Matrix products (003, equation 3): 100 gas and 0.001 a multiplication, in milligas 100,000 + m n k.
    pub const MATMUL: Self = Self { base: 100_000, size_cost: 1 };

    /// The cost of an operation of this size.
    ///
    /// # Errors
    /// `Overflow`.
    pub const fn of_size(&self, size: u64) -> Result<MilliGas, GasError> {
        match self.size_cost.checked_mul(size) {
            Some(cost) => MilliGas(self.base).checked_add(MilliGas(cost)),
            None => Err(GasError::Overflow),
        }
    }

    /// The cost of the product of an m x k and a k x n matrix, whose size is `m n k`.
    ///
    /// # Errors
    /// `Overflow`.
    pub fn matmul(&self, m: u64, n: u64, k: u64) -> Result<MilliGas, GasError> {
        let size = m.checked_mul(n).and_then(|mn| mn.checked_mul(k)).ok_or(GasError::Overflow)?;
        self.of_size(size)
    }
}

/// Why a cost could not be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum GasError {
    /// It passes its type.
    #[error("gas overflows")]
    Overflow,
}

const MILLI: u128 = 1_000;
