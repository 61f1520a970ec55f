//! Deterrence as a certificate: which inequalities make cheating a loss, checked in integers.

use core::fmt;

use crate::plan::div_q64;
use crate::sampling::Probability;
use crate::units::BasisPoints;

/// The economic parameters of a network, in base units and milliseconds.
///
/// ```
/// use hanzo_poai::{EconomicConfig, Inequality};
///
/// // A job of 1,000,000 base units against a stake of 84,128 jobs: a rate of 0.0012 % deters.
/// let config = EconomicConfig::new(1_000_000, 84_128_000_000);
/// let certificate = config.certify()?;
/// assert_eq!(certificate.compute_share_ppb, 11_887);
///
/// // At the paper's 0.3 % the stake has to cover 332.3 times the gain.
/// let thin = EconomicConfig { stake: 332_000_000, ..config };
/// let violation = thin.certify().unwrap_err();
/// assert_eq!(violation.inequality, Inequality::Deterrence);
/// assert_eq!((violation.left, violation.right), (1_000_000, 998_996));
/// # Ok::<(), hanzo_poai::Violation>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct EconomicConfig {
    /// The most a worker gains by cheating on one job.
    pub gain: u128,
    /// What it loses when caught.
    pub stake: u128,
    /// Least rate at which a job of that gain is audited.
    pub rate: Probability,
    /// Floor of the audit plan.
    pub floor: Probability,
    /// Audit rate the budget pays for.
    pub alpha: Probability,
    /// Cost of one check over the cost of one job.
    pub check_cost: Probability,
    /// Probability that an honest verifier finds a bad job.
    pub power: Probability,
    /// Share of the verifiers that collude with the worker.
    pub colluding: Probability,
    /// Verifiers of one audit.
    pub verifiers: u32,
    /// Probability that a true finding survives appeal.
    pub upheld: Probability,
    /// Jobs paid before the end of their window; 0 with escrow.
    pub unescrowed_jobs: u64,
    /// Value a worker may hold without any stake behind it. Exposure beyond it is linear in stake.
    pub exposure_base: u128,
    /// Optimistic window.
    pub window_ms: u64,
    /// Longest dispute.
    pub dispute_ms: u64,
    /// Audit epoch.
    pub epoch_ms: u64,
    /// Epochs an attestation may be late.
    pub epoch_lag: u64,
    /// Time to contest a statistical conviction.
    pub contest_ms: u64,
    /// Time a stake stays after it is given notice.
    pub unbonding_ms: u64,
    /// The reporter's share of what is slashed.
    pub reward: BasisPoints,
    /// Bond of a challenger.
    pub challenger_bond: u128,
}

impl EconomicConfig {
    /// The defaults for a gain and a stake: 0.3 % of jobs audited in full by one verifier, nobody colludes,
    /// every finding stands, all payment in escrow; windows, dispute and contest as the other defaults of
    /// this crate, and 28.2 hours of unbonding.
    pub const fn new(gain: u128, stake: u128) -> Self {
        let alpha = Probability::from_threshold(55_340_232_221_128_654);
        Self {
            gain,
            stake,
            rate: alpha,
            floor: Probability::from_threshold(alpha.threshold().div_ceil(2)),
            alpha,
            check_cost: Probability::ALWAYS,
            power: Probability::ALWAYS,
            colluding: Probability::NEVER,
            verifiers: 1,
            upheld: Probability::ALWAYS,
            unescrowed_jobs: 0,
            exposure_base: 0,
            window_ms: 3_600_000,
            dispute_ms: 4_320_000,
            epoch_ms: 3_600_000,
            epoch_lag: 1,
            contest_ms: 86_400_000,
            unbonding_ms: 101_520_000,
            reward: BasisPoints::capped(5_000),
            challenger_bond: 1,
        }
    }

    /// The rate at which a bad job is found and stays found, Q0.64, rounded down:
    /// `rate power (1 - colluding^verifiers) upheld`.
    pub fn effective_rate(&self) -> Probability {
        from_q64(times(self.rate.as_q64(), self.found()))
    }

    /// Checks every inequality, in the order of [`Inequality`].
    ///
    /// With payment in escrow to the end of the window, cheating on `n` jobs of gain `g` pays only if
    /// `n g (1-p)^n > S (1 - (1-p)^n)`. `(1-p)^-n - 1` is convex in `n` and 0 at 0, so `g (1-p) <= S p` (one
    /// job) implies all `n`. Jobs paid earlier need `n g <= S (1 - (1-p)^n)` besides.
    ///
    /// # Errors
    /// The first inequality that does not hold, with its sides.
    pub fn certify(&self) -> Result<Certificate, Violation> {
        let p = self.effective_rate().as_q64();
        let deterred = scaled(self.stake, p, ONE - p);
        let unescrowed = u128::from(self.unescrowed_jobs).saturating_mul(self.gain);
        let lost = scaled(self.stake, ONE - power_up(ONE - p, self.unescrowed_jobs), ONE);
        let lag_ms = u128::from(self.epoch_ms) * u128::from(self.epoch_lag);
        let settled_ms = [self.window_ms, self.dispute_ms, self.epoch_ms, self.contest_ms]
            .into_iter()
            .fold(lag_ms, |sum, ms| sum.saturating_add(ms.into()));
        let checks = [
            (Inequality::Deterrence, self.gain, deterred),
            (Inequality::Unescrowed, unescrowed, lost),
            (Inequality::Unbonding, settled_ms, self.unbonding_ms.into()),
            (Inequality::Reward, self.reward.get().into(), 9_999),
            (Inequality::ChallengerBond, 1, self.challenger_bond),
            (Inequality::Floor, self.alpha.as_q64(), 2 * self.floor.as_q64()),
            (Inequality::LinearExposure, self.exposure_base, 0),
        ];
        if let Some((inequality, left, right)) = checks.into_iter().find(|(_, left, right)| left > right) {
            return Err(Violation { inequality, left, right });
        }
        let least_rate = self.least_rate();
        let share = times(least_rate.as_q64(), self.check_cost.as_q64());
        Ok(Certificate {
            checks,
            effective_rate: self.effective_rate(),
            least_rate,
            // Rounded up; at most 10^9.
            compute_share_ppb: (share * 1_000_000_000).div_ceil(ONE) as u32,
        })
    }

    /// What becomes of one audited bad job, Q0.64.
    fn found(&self) -> u128 {
        let honest = ONE - power_up(self.colluding.as_q64(), self.verifiers.into());
        times(times(self.power.as_q64(), honest), self.upheld.as_q64())
    }

    /// The least audit rate at which one job does not pay, rounded up.
    fn least_rate(&self) -> Probability {
        let sum = self.gain.saturating_add(self.stake);
        if self.gain == 0 || sum == 0 {
            return Probability::NEVER;
        }
        let up = |(quotient, rest): (u128, u128)| (quotient + u128::from(rest != 0)).min(ONE);
        let needed = up(div_q64(self.gain, sum));
        let found = self.found();
        if needed >= found { Probability::ALWAYS } else { from_q64(up(div_q64(needed, found))) }
    }
}

/// What [`EconomicConfig::certify`] checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Inequality {
    /// Gain of one job <= stake p / (1 - p).
    Deterrence,
    /// Gain of the jobs paid early <= stake (1 - (1 - p)^n).
    Unescrowed,
    /// Window, dispute, audit epoch, lag and contest <= unbonding.
    Unbonding,
    /// Reward of a reporter <= 9,999 basis points.
    Reward,
    /// 1 <= bond of a challenger.
    ChallengerBond,
    /// Audit rate of the budget <= twice the floor, both Q0.64: else discounts are farmed.
    Floor,
    /// Exposure without stake <= 0: else splitting a stake gains exposure.
    LinearExposure,
}

impl fmt::Display for Inequality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deterrence => "gain of one job <= stake p / (1 - p)",
            Self::Unescrowed => "gain of jobs paid early <= stake (1 - (1 - p)^n)",
            Self::Unbonding => "window + dispute + audit epoch + lag + contest <= unbonding (ms)",
            Self::Reward => "reward of a reporter <= 9,999 bp",
            Self::ChallengerBond => "1 <= bond of a challenger",
            Self::Floor => "audit rate <= 2 floor (Q0.64)",
            Self::LinearExposure => "exposure without stake <= 0",
        })
    }
}

/// The inequality that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[error("{inequality} does not hold: {left} > {right}")]
pub struct Violation {
    /// Which one.
    pub inequality: Inequality,
    /// Its left side.
    pub left: u128,
    /// Its right side, rounded down.
    pub right: u128,
}

/// All inequalities of a configuration, each of which holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Certificate {
    /// The inequalities with their left and right sides.
    pub checks: [(Inequality, u128, u128); 7],
    /// Rate at which a bad job is found and stays found.
    pub effective_rate: Probability,
    /// Least audit rate that deters this gain at this stake.
    pub least_rate: Probability,
    /// Share of all compute that this least rate costs, parts per billion, rounded up.
    pub compute_share_ppb: u32,
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (inequality, left, right) in &self.checks {
            writeln!(f, "{inequality}: {left} <= {right}")?;
        }
        write!(f, "deterrence costs {} ppb of compute", self.compute_share_ppb)
    }
}

const ONE: u128 = 1 << 64;

const fn from_q64(p: u128) -> Probability {
    Probability::from_threshold(if p >= ONE { u64::MAX } else { p as u64 })
}

/// `floor(a b / 2^64)` for a, b at most 2^64.
const fn times(a: u128, b: u128) -> u128 {
    if a == ONE {
        return b;
    }
    (a * b) >> 64
}

/// `base^n` in Q0.64, rounded up at every step, so never too small.
fn power_up(base: u128, n: u64) -> u128 {
    let up = |a: u128, b: u128| if a == ONE { b } else { (a * b).div_ceil(ONE) };
    let (mut result, mut square, mut left) = (ONE, base, n);
    while left > 0 {
        if left & 1 == 1 {
            result = up(result, square);
        }
        square = up(square, square);
        left >>= 1;
    }
    result
}

/// `floor(a n / d)` for n, d at most 2^64, saturating; the largest number for d = 0.
fn scaled(a: u128, n: u128, d: u128) -> u128 {
    let low = (a & (ONE - 1)) * n;
    let high = (a >> 64) * n + (low >> 64);
    let (Some(top), Some(rest)) = (high.checked_div(d), high.checked_rem(d)) else { return u128::MAX };
    let bottom = if rest == 0 { (low & (ONE - 1)) / d } else { long_div(rest, low & (ONE - 1), d) };
    if top >= ONE { u128::MAX } else { (top << 64) | bottom }
}

/// `floor((rest 2^64 + low) / d)` for rest < d <= 2^64.
const fn long_div(rest: u128, low: u128, d: u128) -> u128 {
    // rest < 2^64, so the shift keeps every bit.
    ((rest << 64) | low) / d
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Probability = Probability::from_threshold(55_340_232_221_128_654);

    #[test]
    fn certificates_hold_for_every_number_of_jobs() {
        // The convexity argument, checked: when one job does not pay, no number of jobs does.
        for (gain, stake) in [(1_000_000u128, 332_333_334u128), (7, 2_400), (1, 333)] {
            let config = EconomicConfig::new(gain, stake);
            assert!(config.certify().is_ok());
            let p = config.effective_rate().as_q64() as f64 / ONE as f64;
            for n in 1..5_000 {
                let kept = libm::pow(1.0 - p, f64::from(n));
                assert!(f64::from(n) * gain as f64 * kept <= stake as f64 * (1.0 - kept) * (1.0 + 1e-12));
            }
        }
    }

    #[test]
    fn each_inequality_is_named() {
        let good = EconomicConfig::new(1_000, 1_000_000);
        let broken = [
            (Inequality::Deterrence, EconomicConfig { colluding: Probability::ALWAYS, ..good.clone() }),
            (Inequality::Unescrowed, EconomicConfig { unescrowed_jobs: 10_000, ..good.clone() }),
            (Inequality::Unbonding, EconomicConfig { unbonding_ms: 101_519_999, ..good.clone() }),
            (Inequality::Reward, EconomicConfig { reward: BasisPoints::ALL, ..good.clone() }),
            (Inequality::ChallengerBond, EconomicConfig { challenger_bond: 0, ..good.clone() }),
            (Inequality::Floor, EconomicConfig { floor: Probability::NEVER, ..good.clone() }),
            (Inequality::LinearExposure, EconomicConfig { exposure_base: 1, ..good.clone() }),
        ];
        for (inequality, config) in broken {
            let violation = config.certify().unwrap_err();
            assert_eq!(violation.inequality, inequality);
            assert!(violation.left > violation.right);
        }
        assert!(good.certify().is_ok());
    }

    #[test]
    fn collusion_and_appeal_lower_the_rate() {
        let half = Probability::from_threshold(1 << 63);
        let config = EconomicConfig {
            colluding: half,
            verifiers: 3,
            power: half,
            upheld: half,
            ..EconomicConfig::new(1, 1_000_000)
        };
        // 0.003 * 1/2 * 7/8 * 1/2
        let want = P.threshold() / 32 * 7;
        assert!(config.effective_rate().threshold().abs_diff(want) < 64);
        // A single unescrowed job is covered where cheating once does not pay even after it is paid.
        let paid = EconomicConfig { unescrowed_jobs: 1, gain: 2_999, ..EconomicConfig::new(0, 1_000_000) };
        assert!(paid.certify().is_ok());
        assert!(EconomicConfig { gain: 3_000, ..paid }.certify().is_err());
    }

    #[test]
    fn wide_arithmetic() {
        assert_eq!(scaled(u128::MAX, ONE, ONE), u128::MAX);
        assert_eq!(scaled(u128::MAX, 1, ONE), u128::MAX >> 64);
        assert_eq!(scaled(u128::MAX, ONE, 1), u128::MAX);
        assert_eq!(scaled(10, 3, 4), 7);
        assert_eq!(scaled(1, 1, 0), u128::MAX);
        assert_eq!(scaled((1 << 100) + 7, 3 << 60, 1 << 60), 3 * ((1 << 100) + 7));
        assert_eq!(power_up(ONE, 5), ONE);
        assert_eq!(power_up(0, 3), 0);
        assert_eq!(power_up(1 << 63, 3), 1 << 61);
        assert_eq!(power_up(7, 0), ONE);
    }
}
