//! Honest workers who err exactly at the bound, looked at when an epoch ends.

use alloc::vec::Vec;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng as _;

use super::{Estimate, Fleet, binomial, unit};
use crate::conviction::EProcess;
use crate::error::{Error, Result};

/// How far the e-processes of honest workers rose.
#[derive(Debug, Clone, PartialEq)]
pub struct NullStreams {
    /// For each threshold asked about, the share of streams that ever reached it at the end of an epoch.
    pub crossed: Vec<Estimate>,
    /// The largest `log10 E` seen at the end of an epoch.
    pub max_log10: f64,
    /// Audits in all.
    pub audits: u64,
    /// Mismatches in all.
    pub mismatches: u64,
}

/// Streams of audits at rate `alpha` in which each is a mismatch with probability `mismatch`, against the
/// e-process of the bound `p0_ppb`. Also for cheaters: with a mismatch rate above the bound it counts how many
/// cross. A stream is followed to its end.
///
/// # Errors
/// [`Error::InvalidProbability`] for a rate outside [0, 1] or a bad bound; [`Error::InvalidLevel`] for a
/// threshold that is not above 0.
pub fn null_streams(
    seed: u64,
    fleet: Fleet,
    alpha: f64,
    mismatch: f64,
    p0_ppb: u32,
    thresholds: &[f64],
) -> Result<NullStreams> {
    let (alpha, mismatch) = (unit(alpha)?, unit(mismatch)?);
    if thresholds.iter().any(|threshold| !(*threshold > 0.0 && threshold.is_finite())) {
        return Err(Error::InvalidLevel);
    }
    let process = EProcess::new(p0_ppb)?;
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut hits = alloc::vec![0u64; thresholds.len()];
    let mut out = NullStreams { crossed: Vec::new(), max_log10: f64::NEG_INFINITY, audits: 0, mismatches: 0 };
    for _ in 0..fleet.workers {
        let (mut audits, mut mismatches, mut top) = (0u64, 0u64, f64::NEG_INFINITY);
        for _ in 0..fleet.epochs {
            let drawn = binomial(&mut rng, fleet.jobs, alpha);
            let more = binomial(&mut rng, drawn, mismatch);
            audits += drawn;
            mismatches += more;
            // E falls in clean audits, so only an epoch with a mismatch can bring a new maximum.
            if more > 0 {
                top = top.max(process.ln_e(audits, mismatches)?);
            }
        }
        for (hits, threshold) in hits.iter_mut().zip(thresholds) {
            *hits += u64::from(top >= libm::log(*threshold));
        }
        out.max_log10 = out.max_log10.max(top / core::f64::consts::LN_10);
        out.audits += audits;
        out.mismatches += mismatches;
    }
    out.crossed = hits.into_iter().map(|hits| Estimate { hits, trials: fleet.workers }).collect();
    Ok(out)
}
