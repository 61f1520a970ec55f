//! Who checks: a stake-weighted draw without replacement.

use alloc::vec::Vec;

use crate::beacon::Beacon;
use crate::error::{Error, Result};
use crate::hash::{JobId, PartyId, Tag};

/// A party that may be drawn as a verifier.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Candidate {
    /// The party.
    pub id: PartyId,
    /// Who owns it; nobody checks a worker of the same owner.
    pub owner: PartyId,
    /// Weight of the draw, usually the stake; 0 is never drawn.
    pub weight: u64,
}

/// Draws `count` different verifiers for one assignment of a job, none of them of `worker_owner`. The
/// result does not depend on the order of `candidates`, and a smaller `count` gives a prefix: verifiers
/// are added by asking for more and taking the tail. `O(n (log n + count))`.
///
/// # Errors
/// [`Error::NoEligibleVerifier`] when fewer than `count` are eligible, [`Error::Duplicate`] for a repeated
/// id, [`Error::Overflow`] when the weights sum past 2^64.
///
/// ```
/// use hanzo_poai::{assign_verifiers, Beacon, Candidate, Epoch, JobId, PartyId};
///
/// let party = |i: u8| PartyId::new([i; 32]);
/// let candidates: Vec<Candidate> =
///     (1..=5).map(|i| Candidate { id: party(i), owner: party(100 + i), weight: 1_000 }).collect();
/// let beacon = Beacon::new(Epoch::new(7), [5; 32]);
/// let draw = |count| assign_verifiers(&beacon, &JobId::new([3; 32]), 0, &party(101), &candidates, count);
///
/// let three = draw(3)?;
/// assert!(!three.contains(&party(1)), "has the worker's owner");
/// assert_eq!(draw(4)?[..3], three);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
pub fn assign_verifiers(
    beacon: &Beacon,
    job: &JobId,
    assignment: u32,
    worker_owner: &PartyId,
    candidates: &[Candidate],
    count: u32,
) -> Result<Vec<PartyId>> {
    let mut all: Vec<&Candidate> = candidates.iter().collect();
    all.sort_unstable_by_key(|candidate| candidate.id);
    if all.windows(2).any(|pair| matches!(pair, [a, b] if a.id == b.id)) {
        return Err(Error::Duplicate("verifier"));
    }
    let mut pool = all;
    pool.retain(|candidate| candidate.weight > 0 && candidate.owner != *worker_owner);
    if (pool.len() as u64) < count.into() {
        return Err(Error::NoEligibleVerifier { need: count.into(), eligible: pool.len() as u64 });
    }
    let mut total =
        pool.iter().try_fold(0u64, |sum, candidate| sum.checked_add(candidate.weight)).ok_or(Error::Overflow)?;

    let key = Tag::keyed(&Tag::new("assign").hash(&[beacon.value()]));
    let at = assignment.to_be_bytes();
    (0..count)
        .map(|slot| {
            let hash = key.hash(&[job.as_bytes(), &at, &slot.to_be_bytes()]);
            let x = hash.first_chunk().map_or(0, |head| u128::from_be_bytes(*head));
            let mut left = mul_high(x, total);
            let index = pool
                .iter()
                .position(|candidate| match left.checked_sub(candidate.weight) {
                    Some(rest) => {
                        left = rest;
                        false
                    }
                    None => true,
                })
                .ok_or(Error::Overflow)?;
            let chosen = pool.remove(index);
            total -= chosen.weight;
            Ok(chosen.id)
        })
        .collect()
}

/// `floor(x w / 2^128)`.
const fn mul_high(x: u128, w: u64) -> u64 {
    let w = w as u128;
    let low = (x & u64::MAX as u128) * w;
    (((x >> 64) * w + (low >> 64)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mul_high_edges() {
        assert_eq!(mul_high(u128::MAX, u64::MAX), u64::MAX - 1);
        assert_eq!(mul_high(1 << 127, 9), 4);
        assert_eq!(mul_high(0, u64::MAX), 0);
    }
}
