//! What contributors earn: exact integers, as [`Effect`]s; the money is the ledger's.
//!
//! All divisions round down, except that [`largest_remainder`] hands out every unit of its pool.

use std::collections::BTreeMap;

use crate::effect::Effects;
use crate::quality::ln_q32;
use crate::wide::div_rem;
use crate::{Account, Effect, Error, Result};

/// a * b / divisor, rounded down, with all 256 bits of the product.
///
/// ```
/// use hanzo_experience::rewards::mul_div;
///
/// let sextillion = 10_u128.pow(27);
/// assert_eq!(mul_div(sextillion, sextillion, sextillion), Ok(sextillion));
/// ```
///
/// # Errors
/// [`Error::Overflow`] for a divisor of 0 or a quotient beyond 128 bits.
pub fn mul_div(a: u128, b: u128, divisor: u128) -> Result<u128> {
    div_rem(a, b, divisor).map(|(quotient, _)| quotient)
}

/// Divides a pool by weights so that nothing is left: shares pool w / W rounded down, and the units left over, one each,
/// to the greatest remainders (ties to the first).
///
/// ```
/// use hanzo_experience::rewards::largest_remainder;
///
/// assert_eq!(largest_remainder(10, &[1, 1, 1])?, [4, 3, 3]);
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
///
/// # Errors
/// [`Error::NoWeight`] if the weights sum to 0; [`Error::Overflow`] if to more than 128 bits.
pub fn largest_remainder(pool: u128, weights: &[u128]) -> Result<Vec<u128>> {
    let total = weights.iter().try_fold(0_u128, |sum, weight| sum.checked_add(*weight)).ok_or(Error::Overflow)?;
    if total == 0 {
        return Err(Error::NoWeight);
    }
    let parts: Vec<(u128, u128)> = weights.iter().map(|weight| div_rem(pool, *weight, total)).collect::<Result<_>>()?;
    let mut shares: Vec<u128> = parts.iter().map(|(share, _)| *share).collect();
    let left = pool - shares.iter().sum::<u128>();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|index| core::cmp::Reverse(parts[*index].1));
    // Fewer units are left than there are weights.
    for index in order.into_iter().take(left as usize) {
        shares[index] += 1;
    }
    Ok(shares)
}

/// Reward of an experience: beta a, where a = v^2 ln(1 + usage) and v is the share of votes for it (0 without votes).
///
/// # Errors
/// [`Error::Overflow`] beyond 128 bits.
pub fn experience_reward(up: u32, down: u32, usage: u64, beta: u128) -> Result<u128> {
    let votes = u64::from(up) + u64::from(down);
    let v = if votes == 0 { 0 } else { u128::from(up) * MILLION / u128::from(votes) };
    let ln = ln_q32(usage.saturating_add(1));
    let a = v * v * u128::from(ln) / (MILLION * MILLION);
    mul_div(beta, a, 1 << 32)
}

/// Reward of a data set: alpha |D| max(0, Q), with Q in parts per million.
///
/// # Errors
/// [`Error::Overflow`] beyond 128 bits.
pub fn data_reward(alpha: u128, size: u64, quality_ppm: i64) -> Result<u128> {
    let quality = u128::try_from(quality_ppm).unwrap_or(0);
    mul_div(alpha, u128::from(size) * quality, MILLION)
}

/// How gains and costs make reputation, in parts per million each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reputation {
    /// Weight of information gained.
    pub gamma_ppm: u32,
    /// Weight of utility gained.
    pub beta_ppm: u32,
    /// Weight of cost.
    pub lambda_ppm: u32,
}

/// 1,000,000, 500,000 and 100,000.
impl Default for Reputation {
    fn default() -> Self {
        Self { gamma_ppm: 1_000_000, beta_ppm: 500_000, lambda_ppm: 100_000 }
    }
}

impl Reputation {
    /// (gamma dI + beta dU - lambda cost) / 10^6, rounded down once. May be negative; what is minted for it is
    /// [`emission`](Self::emission).
    pub fn score(&self, information: i64, utility: i64, cost: i64) -> i128 {
        let term = |weight: u32, value: i64| i128::from(weight) * i128::from(value);
        let sum = term(self.gamma_ppm, information) + term(self.beta_ppm, utility) - term(self.lambda_ppm, cost);
        sum.div_euclid(1_000_000)
    }

    /// The score, or 0 where it is negative.
    pub fn emission(&self, information: i64, utility: i64, cost: i64) -> u128 {
        u128::try_from(self.score(information, utility, cost)).unwrap_or(0)
    }
}

/// Bytes that one peer fetched from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Who served.
    pub from: Account,
    /// Who fetched.
    pub by: Account,
    /// Bytes.
    pub size: u64,
    /// Quality of what was fetched, 0..=1000.
    pub quality: u16,
}

/// Divides a pool among those who served others, by the sum of quality times size; own fetches do not count. Nobody
/// served: all goes to the treasury.
///
/// The effects are payments under `key`, in the order of accounts; they sum to the pool.
///
/// # Errors
/// [`Error::OutOfRange`] for a quality above 1000; [`Error::Overflow`] for sums beyond 128 bits.
pub fn rebates(pool: u128, fetches: &[Fetch], treasury: &Account, key: &str) -> Result<Vec<Effect>> {
    let mut weights: BTreeMap<&Account, u128> = BTreeMap::new();
    for fetch in fetches {
        if fetch.quality > 1_000 {
            return Err(Error::OutOfRange { field: "quality" });
        }
        if fetch.from != fetch.by {
            let weight = weights.entry(&fetch.from).or_default();
            let more = u128::from(fetch.size) * u128::from(fetch.quality);
            *weight = weight.checked_add(more).ok_or(Error::Overflow)?;
        }
    }
    divide(pool, &weights, treasury, key)
}

/// Divides a pool among contributors by usage: `top_share_bps` of it (rounded down) among the `top_n` most used (ties to
/// the lower account), the rest among all. Nothing was used: all goes to the treasury.
///
/// The effects are payments under `key`, in the order of accounts; they sum to the pool.
///
/// # Errors
/// [`Error::OutOfRange`] for a share above 10,000; [`Error::Overflow`] for sums beyond 128 bits.
pub fn contributor_pool(
    pool: u128,
    usage: &BTreeMap<Account, u64>,
    top_share_bps: u16,
    top_n: usize,
    treasury: &Account,
    key: &str,
) -> Result<Vec<Effect>> {
    if top_share_bps > 10_000 {
        return Err(Error::OutOfRange { field: "top_share_bps" });
    }
    let all: BTreeMap<&Account, u128> = usage.iter().map(|(account, uses)| (account, u128::from(*uses))).collect();
    let mut order: Vec<(&Account, u128)> = all.iter().map(|(account, uses)| (*account, *uses)).collect();
    order.sort_by_key(|(_, uses)| core::cmp::Reverse(*uses));
    order.truncate(top_n);
    let top: BTreeMap<&Account, u128> = order.into_iter().collect();
    let top_pool = if top.values().all(|uses| *uses == 0) { 0 } else { mul_div(pool, top_share_bps.into(), 10_000)? };

    let mut shares: BTreeMap<&Account, u128> = BTreeMap::new();
    for (pool, weights) in [(top_pool, &top), (pool - top_pool, &all)] {
        for (account, share) in split(pool, weights, treasury)? {
            *shares.entry(account).or_default() += share;
        }
    }
    Ok(pay(shares, key))
}

/// The default share of the most used contributors: 25 % of the pool, so 10 % of fees where the pool is 40 % of them.
pub const DEFAULT_TOP_SHARE_BPS: u16 = 2_500;
/// The default number of the most used contributors.
pub const DEFAULT_TOP_N: usize = 10;

/// Mints for an account, unless the amount is 0.
pub fn mint(account: &Account, amount: u128, key: &str) -> Option<Effect> {
    Effects::new(key.to_owned()).mint(account, amount).finish().pop()
}

fn divide(pool: u128, weights: &BTreeMap<&Account, u128>, treasury: &Account, key: &str) -> Result<Vec<Effect>> {
    Ok(pay(split(pool, weights, treasury)?.into_iter().collect(), key))
}

fn split<'a>(
    pool: u128,
    weights: &BTreeMap<&'a Account, u128>,
    treasury: &'a Account,
) -> Result<Vec<(&'a Account, u128)>> {
    let list: Vec<u128> = weights.values().copied().collect();
    match largest_remainder(pool, &list) {
        Ok(shares) => Ok(weights.keys().copied().zip(shares).collect()),
        Err(Error::NoWeight) => Ok(vec![(treasury, pool)]),
        Err(error) => Err(error),
    }
}

fn pay(shares: BTreeMap<&Account, u128>, key: &str) -> Vec<Effect> {
    let effects = Effects::new(key.to_owned());
    shares.into_iter().fold(effects, |effects, (account, share)| effects.pay(account, share)).finish()
}

const MILLION: u128 = 1_000_000;
