//! Time to contest a statistical conviction.

use crate::compare::Calibration;
use crate::conviction::{AuditEntry, Outcome, Rung, RungId};
use crate::dispute::{Resolution, Resolved};
use crate::error::{Error, Result};
use crate::slashing::SlashOrder;
use crate::units::Millis;

/// A slash order that waits. A proof stands at once; a conviction by statistics may be contested, as its premise, the
/// bound `p0` on false mismatches, may be wrong for the worker's kernel class. The worker is suspended meanwhile.
///
/// A contest that is won voids the order: drop it, take the charge back with
/// [`Registry::void`](crate::Registry::void), void the counters of the class with
/// [`Record::void`](crate::Record::void), and calibrate it again.
///
/// ```
/// use hanzo_poai::{
///     AttestationHash, AuditEntry, Calibration, Contest, ContestedOrder, ConvictionPolicy, Epoch, Evidence, Millis,
///     Outcome, PartyId, Registry, Rung, RungId, SlashPolicy,
/// };
///
/// let (policy, epoch) = (std::sync::Arc::new(ConvictionPolicy::default()), Epoch::new(7));
/// let (rung, outcome) = (RungId::new(0), Outcome::Mismatch);
/// let audits = [1, 2].map(|i| AuditEntry { attestation: AttestationHash::new([i; 32]), epoch, rung, outcome });
/// let evidence = Evidence::conviction(&policy, PartyId::new([7; 32]), epoch, &audits)?;
/// let order = Registry::new(SlashPolicy::default()).submit(&evidence, PartyId::new([8; 32]))?;
///
/// let waiting = ContestedOrder::new(order, Millis::new(0));
/// assert!(waiting.due(Millis::new(86_400_000)).is_none(), "for a day it can be contested");
/// let rung = Rung { p0_ppb: 20_000, inverse_level: 3_000_000 };
/// let measured = Calibration::from_counts(500, 1_000_000)?; // 500 false mismatches in 10^6: far above 2e-5
/// assert!(waiting.contest(&Contest::Calibration { rung: &rung, measured: &measured }, Millis::new(1)).is_ok());
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContestedOrder {
    order: SlashOrder,
    until: Millis,
}

/// Why a conviction does not stand.
#[derive(Debug, Clone, Copy)]
pub enum Contest<'a> {
    /// A dispute over an attestation that was counted as a mismatch found the worker right.
    Dispute {
        /// The dispute's end.
        resolved: &'a Resolved,
        /// The audits of the conviction.
        audits: &'a [AuditEntry],
    },
    /// A better calibration for the worker's class shows more false mismatches than the rung allows for.
    Calibration {
        /// The rung.
        rung: &'a Rung,
        /// The calibration.
        measured: &'a Calibration,
    },
}

impl ContestedOrder {
    /// An order as it came from the registry.
    pub const fn new(order: SlashOrder, now: Millis) -> Self {
        let until = now.saturating_add(order.contest_ms);
        Self { order, until }
    }

    /// The order.
    pub const fn order(&self) -> &SlashOrder {
        &self.order
    }

    /// When it falls due.
    pub const fn until(&self) -> Millis {
        self.until
    }

    /// The order, once it is to be applied: at once for a proof, after the window for a conviction.
    pub fn due(&self, now: Millis) -> Option<&SlashOrder> {
        (self.order.contest_ms == 0 || now > self.until).then_some(&self.order)
    }

    /// Whether a contest is won; the rung whose counters are void, where the ground names one.
    ///
    /// # Errors
    /// [`Error::DeadlinePassed`] after the window or for a proof, which has none; [`Error::NoOffence`] for a ground
    /// that does not hold: a dispute that did not find the worker right or was about no mismatch of this conviction,
    /// a calibration no worse than the rung.
    pub fn contest(&self, ground: &Contest<'_>, now: Millis) -> Result<Option<RungId>> {
        if self.order.contest_ms == 0 || now > self.until {
            return Err(Error::DeadlinePassed { deadline_ms: self.until.get(), now_ms: now.get() });
        }
        match ground {
            Contest::Dispute { resolved, audits } => {
                let counted = audits
                    .iter()
                    .find(|audit| audit.attestation == resolved.attestation && audit.outcome == Outcome::Mismatch);
                match (&resolved.resolution, counted) {
                    (Resolution::WorkerRight, Some(audit)) => Ok(Some(audit.rung)),
                    _ => Err(Error::NoOffence),
                }
            }
            Contest::Calibration { rung, measured } if measured.p0_ppb() > rung.p0_ppb => Ok(None),
            Contest::Calibration { .. } => Err(Error::NoOffence),
        }
    }
}
