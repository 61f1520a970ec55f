//! Verifiers of one attestation: all commit, then all reveal.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::conviction::Outcome;
use crate::error::{Error, Result};
use crate::hash::{AttestationHash, Hash, PartyId};
use crate::units::Epoch;
use crate::verdict::{Decision, Verdict};

/// Phase of a [`Panel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PanelPhase {
    /// Commitments are taken.
    Commit,
    /// Verdicts are revealed.
    Reveal,
    /// The tally stands.
    Closed,
}

/// The verifiers drawn for one attestation. No verdict is seen before all are committed to, so none can be
/// copied.
///
/// ```
/// use hanzo_poai::{AttestationHash, ComparatorKind, Decision, Epoch, Outcome, Panel, PartyId, Verdict};
///
/// let (attestation, epoch) = (AttestationHash::new([1; 32]), Epoch::new(7));
/// let verdict = |verifier: PartyId, decision| Verdict {
///     decision, verifier, attestation, epoch,
///     comparator: ComparatorKind::Exact, score_q32: 0, transcript: [0; 32],
/// };
/// let verdicts = [(1, Decision::Mismatch), (2, Decision::Mismatch), (3, Decision::Match)]
///     .map(|(i, decision)| verdict(PartyId::new([i; 32]), decision));
/// let salt = [9; 32]; // secret, and fresh for each verifier
///
/// let mut panel = Panel::new(attestation, epoch, &verdicts.each_ref().map(|v| v.verifier))?;
/// for v in &verdicts {
///     panel.commit(&v.verifier, v.commit(&salt))?;
/// }
/// for v in verdicts {
///     panel.reveal(v, &salt)?;
/// }
/// assert_eq!(panel.tally().unwrap().majority(), Some(Outcome::Mismatch));
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panel {
    attestation: AttestationHash,
    epoch: Epoch,
    seats: BTreeMap<PartyId, Seat>,
    phase: PanelPhase,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Seat {
    commitment: Option<Hash>,
    verdict: Option<Verdict>,
}

impl Panel {
    /// A panel of the assigned verifiers.
    ///
    /// # Errors
    /// [`Error::BatchSize`] for no verifier, [`Error::Duplicate`] for a repeated one.
    pub fn new(attestation: AttestationHash, epoch: Epoch, verifiers: &[PartyId]) -> Result<Self> {
        if verifiers.is_empty() {
            return Err(Error::BatchSize { got: 0, max: u64::MAX });
        }
        let seats: BTreeMap<_, _> = verifiers.iter().map(|v| (*v, Seat::default())).collect();
        if seats.len() != verifiers.len() {
            return Err(Error::Duplicate("verifier"));
        }
        Ok(Self { attestation, epoch, seats, phase: PanelPhase::Commit })
    }

    /// Takes a commitment whose sender the caller has authenticated. The last one opens the reveals.
    ///
    /// # Errors
    /// [`Error::OutOfTurn`] for a party without a seat or outside the phase, [`Error::Duplicate`] for a
    /// second commitment.
    pub fn commit(&mut self, verifier: &PartyId, commitment: Hash) -> Result<()> {
        if self.phase != PanelPhase::Commit {
            return Err(Error::OutOfTurn);
        }
        let seat = self.seats.get_mut(verifier).ok_or(Error::OutOfTurn)?;
        if seat.commitment.is_some() {
            return Err(Error::Duplicate("commitment"));
        }
        seat.commitment = Some(commitment);
        if self.seats.values().all(|seat| seat.commitment.is_some()) {
            self.phase = PanelPhase::Reveal;
        }
        Ok(())
    }

    /// Takes a verdict whose signature the caller has checked. The last one closes the panel.
    ///
    /// # Errors
    /// [`Error::OutOfTurn`] for a party without a seat or outside the phase, [`Error::BadReveal`] for a
    /// verdict of another attestation or epoch or one that was not committed to, [`Error::Duplicate`] for
    /// a second one.
    pub fn reveal(&mut self, verdict: Verdict, salt: &[u8; 32]) -> Result<()> {
        if self.phase != PanelPhase::Reveal {
            return Err(Error::OutOfTurn);
        }
        let seat = self.seats.get_mut(&verdict.verifier).ok_or(Error::OutOfTurn)?;
        if seat.verdict.is_some() {
            return Err(Error::Duplicate("verdict"));
        }
        let bound = verdict.attestation == self.attestation && verdict.epoch == self.epoch;
        if !bound || seat.commitment != Some(verdict.commit(salt)) {
            return Err(Error::BadReveal);
        }
        seat.verdict = Some(verdict);
        let waiting = |seat: &Seat| seat.commitment.is_some() && seat.verdict.is_none();
        if !self.seats.values().any(waiting) {
            self.phase = PanelPhase::Closed;
        }
        Ok(())
    }

    /// Ends the phase at its deadline: from commitments to reveals, from reveals to closed. Without any
    /// commitment the panel closes at once.
    pub fn end_phase(&mut self) {
        let committed = self.seats.values().any(|seat| seat.commitment.is_some());
        self.phase = match self.phase {
            PanelPhase::Commit if committed => PanelPhase::Reveal,
            _ => PanelPhase::Closed,
        };
    }

    /// The phase.
    pub const fn phase(&self) -> PanelPhase {
        self.phase
    }

    /// The attestation.
    pub const fn attestation(&self) -> &AttestationHash {
        &self.attestation
    }

    /// Audit epoch of the verdicts.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The verifiers, in ascending order.
    pub fn verifiers(&self) -> impl Iterator<Item = &PartyId> {
        self.seats.keys()
    }

    /// Verdicts revealed, in ascending order of the verifier.
    pub fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.seats.values().filter_map(|seat| seat.verdict.as_ref())
    }

    /// The tally of a closed panel; `None` before.
    pub fn tally(&self) -> Option<Tally> {
        if self.phase != PanelPhase::Closed {
            return None;
        }
        let mut tally = Tally::default();
        for (party, seat) in &self.seats {
            match seat.verdict.as_ref().map(|verdict| verdict.decision) {
                Some(Decision::Match) => tally.matches += 1,
                Some(Decision::Mismatch) => tally.mismatches += 1,
                Some(Decision::Undetermined | Decision::Unavailable) => tally.undecided += 1,
                None => tally.silent.push(*party),
            }
        }
        Some(tally)
    }
}

/// Verdicts of a panel, counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Verdicts that the claim stands.
    pub matches: u32,
    /// Verdicts that it is wrong.
    pub mismatches: u32,
    /// Verdicts that could not decide.
    pub undecided: u32,
    /// Verifiers who did not reveal.
    pub silent: Vec<PartyId>,
}

impl Tally {
    /// The majority of the decisive verdicts; `None` for a tie or none.
    pub const fn majority(&self) -> Option<Outcome> {
        if self.matches > self.mismatches {
            Some(Outcome::Match)
        } else if self.mismatches > self.matches {
            Some(Outcome::Mismatch)
        } else {
            None
        }
    }
}
