//! A dispute about an output without a trace: three fresh verifiers re-execute.

use super::{Resolution, Resolved};
use crate::attestation::Attestation;
use crate::dispute_message::{Claim, DisputeBody, DisputeMessage, Side};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::evidence::Evidence;
use crate::hash::{DisputeId, Hash, PartyId};
use crate::panel::{Panel, PanelPhase, Tally};
use crate::units::Millis;
use crate::verdict::Verdict;

/// Clock of an output-only dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DisputePolicy {
    phase_ms: u64,
}

impl DisputePolicy {
    /// Milliseconds for the commitments, and again for the reveals. The longest dispute takes twice that.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for 0.
    pub const fn new(phase_ms: u64) -> Result<Self> {
        if phase_ms == 0 {
            return Err(Error::InvalidField("phase_ms"));
        }
        Ok(Self { phase_ms })
    }
}

impl Default for DisputePolicy {
    /// 30 minutes a phase.
    fn default() -> Self {
        Self { phase_ms: 1_800_000 }
    }
}

/// An open dispute over an attestation without a trace.
///
/// Verdicts come in through [`OutputDispute::commit`] and [`OutputDispute::reveal`]; time through
/// [`OutputDispute::tick`]. Unanimous matches: the worker is right. Unanimous mismatches under the exact
/// comparator in a reproducible environment: the worker is wrong. Anything else decides nothing, and nobody
/// loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputDispute {
    id: DisputeId,
    attestation: Attestation,
    reproducible: bool,
    panel: Panel,
    phase_ms: u64,
    deadline: Millis,
    now: Millis,
}

impl OutputDispute {
    /// Opens a dispute before a new panel of three, drawn from the beacon. None of them may stand in
    /// `excluded`, the verifiers who already judged this attestation, nor be the worker or the challenger.
    /// Bonds are kept by the job.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for a message that does not open an output-only dispute of this attestation,
    /// an attestation with a trace, an environment it does not name, or a panel that is not of three, not new
    /// or about another attestation; [`Error::Duplicate`] for a verifier who is not fresh.
    pub fn open(
        policy: &DisputePolicy,
        message: &DisputeMessage,
        attestation: &Attestation,
        environment: &Environment,
        panel: Panel,
        excluded: &[PartyId],
        now: Millis,
    ) -> Result<Self> {
        let DisputeBody::Open { attestation: hash, challenger, claim, .. } = message.body() else {
            return Err(Error::InvalidField("kind"));
        };
        let worker = attestation.worker();
        match () {
            () if message.side() != Side::Challenger => Err(Error::InvalidField("side")),
            () if *claim != Claim::OutputOnly => Err(Error::InvalidField("claim")),
            () if *hash != attestation.hash() => Err(Error::InvalidField("attestation")),
            () if attestation.trace().is_some() => Err(Error::InvalidField("trace")),
            () if environment.hash() != attestation.environment() => Err(Error::InvalidField("environment")),
            () => Ok(()),
        }?;
        let stale = |v: &PartyId| *v == worker || v == challenger || excluded.contains(v);
        if panel.verifiers().any(stale) {
            return Err(Error::Duplicate("verifier"));
        }
        let fit = panel.verifiers().count() == 3 && panel.phase() == PanelPhase::Commit;
        if !fit || *panel.attestation() != *hash {
            return Err(Error::InvalidField("panel"));
        }
        Ok(Self {
            id: *message.dispute(),
            attestation: attestation.clone(),
            reproducible: environment.is_reproducible(),
            panel,
            phase_ms: policy.phase_ms,
            deadline: now.saturating_add(policy.phase_ms),
            now,
        })
    }

    /// Takes a verifier's commitment.
    ///
    /// # Errors
    /// [`Error::ClockBackwards`], [`Error::DeadlinePassed`], and those of [`Panel::commit`].
    pub fn commit(&mut self, verifier: &PartyId, commitment: Hash, now: Millis) -> Result<()> {
        self.in_time(now)?;
        self.panel.commit(verifier, commitment)?;
        self.now = now;
        if self.panel.phase() == PanelPhase::Reveal {
            self.deadline = now.saturating_add(self.phase_ms);
        }
        Ok(())
    }

    /// Takes a verdict whose signature the caller has checked; the last one resolves the dispute.
    ///
    /// # Errors
    /// [`Error::ClockBackwards`], [`Error::DeadlinePassed`], and those of [`Panel::reveal`].
    pub fn reveal(&mut self, verdict: Verdict, salt: &[u8; 32], now: Millis) -> Result<Option<Resolved>> {
        self.in_time(now)?;
        self.panel.reveal(verdict, salt)?;
        self.now = now;
        self.resolved()
    }

    /// Lets time pass: a phase ends after its deadline, whoever has not spoken.
    ///
    /// # Errors
    /// [`Error::ClockBackwards`].
    pub fn tick(&mut self, now: Millis) -> Result<Option<Resolved>> {
        self.forward(now)?;
        self.now = now;
        while now > self.deadline && self.panel.phase() != PanelPhase::Closed {
            self.panel.end_phase();
            self.deadline = self.deadline.saturating_add(self.phase_ms);
        }
        self.resolved()
    }

    /// The dispute's id.
    pub const fn id(&self) -> &DisputeId {
        &self.id
    }

    /// The verifiers' panel.
    pub const fn panel(&self) -> &Panel {
        &self.panel
    }

    /// When the phase ends.
    pub const fn deadline(&self) -> Millis {
        self.deadline
    }

    /// The outcome, once the panel is closed.
    ///
    /// # Errors
    /// None that a dispute made by [`OutputDispute::open`] can meet.
    pub fn resolved(&self) -> Result<Option<Resolved>> {
        let Some(tally) = self.panel.tally() else { return Ok(None) };
        let resolution = match tally {
            Tally { matches: 3, .. } => Resolution::WorkerRight,
            Tally { mismatches: 3, .. } if self.reproducible => {
                match Evidence::exact_fraud(&self.attestation, &self.id, &self.panel) {
                    Ok(evidence) => Resolution::WorkerWrong(evidence),
                    // Unanimous, but not under the exact comparator.
                    Err(Error::NoOffence) => Resolution::Undetermined,
                    Err(other) => return Err(other),
                }
            }
            _ => Resolution::Undetermined,
        };
        let withheld = Evidence::verdicts_withheld(&self.panel);
        Ok(Some(Resolved { attestation: *self.panel.attestation(), resolution, withheld }))
    }

    fn in_time(&self, now: Millis) -> Result<()> {
        self.forward(now)?;
        if now > self.deadline {
            return Err(Error::DeadlinePassed { deadline_ms: self.deadline.get(), now_ms: now.get() });
        }
        Ok(())
    }

    fn forward(&self, now: Millis) -> Result<()> {
        if now < self.now {
            return Err(Error::ClockBackwards { last_ms: self.now.get(), now_ms: now.get() });
        }
        Ok(())
    }
}
