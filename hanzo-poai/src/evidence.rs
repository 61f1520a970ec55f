//! Proofs of an offence. A value is made only by a constructor that checks it.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use signature::Verifier;

use crate::admission::{DeviceLimits, Provenance, WorkOrder};
use crate::attestation::Attestation;
use crate::batch::SignedBatch;
use crate::beacon::BeaconOutcome;
use crate::canary::Canary;
use crate::compare::ComparatorKind;
use crate::conviction::{AuditEntry, ConvictionPolicy, Outcome, Record, Standing};
use crate::dispute::{StepExecutor, StepFraud};
use crate::environment::Environment;
use crate::equivocation::Equivocation;
use crate::error::{Error, Result};
use crate::hash::{AttestationHash, DisputeId, EvidenceHash, Hash, JobId, PartyId, sha256, tagged};
use crate::job_spec::JobSpec;
use crate::merkle::InclusionProof;
use crate::panel::Panel;
use crate::proof_system::ProofSystem;
use crate::quality::{Quality, QualityPolicy};
use crate::signing::{KeyDirectory, Signed};
use crate::slashing::Family;
use crate::suite::Suite;
use crate::units::{Epoch, Millis};
use crate::verdict::{Decision, Verdict};

/// Kind of evidence, with its code in the evidence hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
#[non_exhaustive]
pub enum EvidenceKind {
    /// One wrong step of a committed trace.
    StepFraud = 1,
    /// Three unanimous re-executions of reproducible work.
    ExactFraud = 2,
    /// A succinct proof of another output.
    RefutedByProof = 3,
    /// A list of audits that crosses the boundary.
    Conviction = 4,
    /// Two signed bodies at one place.
    Equivocation = 5,
    /// A signed batch that holds a bad body.
    InvalidAttestation = 6,
    /// An accepted job that was not delivered.
    Timeout = 7,
    /// Bytes of a proof from outside this crate.
    Outside = 8,
    /// A quality score below its threshold.
    LowQuality = 9,
    /// A verdict that a known answer contradicts.
    CanaryMiss = 10,
    /// A beacon contribution that was not revealed.
    BeaconWithheld = 11,
    /// A verdict that was not revealed.
    VerdictWithheld = 12,
    /// A worker who was silent in a dispute, or gave it up.
    DisputeDefault = 13,
    /// A job ordered with a succinct proof and attested without one.
    ProofMissing = 14,
}

/// Proof that a party committed an offence in an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    kind: EvidenceKind,
    family: Family,
    party: PartyId,
    epoch: Epoch,
    body: Vec<u8>,
}

impl Evidence {
    /// Two different bodies at one place of a worker's chain, both signed.
    ///
    /// # Errors
    /// Those of [`Provenance::verify`].
    pub fn equivocation<S, V, D>(
        pair: &Equivocation,
        first: &Provenance<'_, S>,
        second: &Provenance<'_, S>,
        directory: &D,
    ) -> Result<Self>
    where
        V: Verifier<S>,
        D: KeyDirectory<V>,
    {
        let (a, b) = (pair.first(), pair.second());
        first.verify(a, directory)?;
        second.verify(b, directory)?;
        let body = [a.encode(), b.encode()].concat();
        let epoch = a.epoch().min(b.epoch());
        Self::new(EvidenceKind::Equivocation, Family::Equivocation, a.worker(), epoch, body)
    }

    /// A batch that its worker signed and that holds `leaf`, which is no attestation, or differs from the
    /// spec of the job it names, or claims what is not possible. The body carries the order and the limits
    /// it was held against; whoever takes the evidence compares the limits with those the worker registered.
    ///
    /// # Errors
    /// [`Error::NoOffence`] when the leaf passes; the errors of signature and proof.
    pub fn invalid_attestation<S, V, D>(
        batch: &SignedBatch<S>,
        proof: &InclusionProof,
        leaf: &[u8],
        order: Option<(&WorkOrder, &DeviceLimits)>,
        directory: &D,
    ) -> Result<Self>
    where
        V: Verifier<S>,
        D: KeyDirectory<V>,
    {
        let header = batch.body();
        let key = directory.verifier(header.worker(), header.suite()).ok_or(Error::UnknownKey)?;
        batch.verify(key)?;
        let hash = Attestation::hash_bytes(leaf);
        let seq = header.verify_inclusion(&hash.into(), proof)?;
        if leaf_is_valid(leaf, header, seq, order)? {
            return Err(Error::NoOffence);
        }
        let mut body = [&header.encode()[..], &proof.encode(), leaf].concat();
        if let Some((order, device)) = order {
            body.extend_from_slice(order.client().as_bytes());
            body.extend_from_slice(&order.client_nonce().to_be_bytes());
            body.extend_from_slice(&order.spec().encode());
            body.extend_from_slice(&device.peak_flops.to_be_bytes());
            body.extend_from_slice(&device.params.to_be_bytes());
        }
        let (party, epoch) = (*header.worker(), header.epoch());
        let family = Family::InvalidAttestation;
        Self::new(EvidenceKind::InvalidAttestation, family, party, epoch, body)
    }

    /// A wrong step of the trace that a signed attestation commits to. Runs that one operation.
    ///
    /// # Errors
    /// Those of [`Provenance::verify`] and of [`StepFraud::verify`].
    pub fn step_fraud<S, V, D>(
        fraud: &StepFraud,
        provenance: &Provenance<'_, S>,
        directory: &D,
        spec: &JobSpec,
        executor: &impl StepExecutor,
    ) -> Result<Self>
    where
        V: Verifier<S>,
        D: KeyDirectory<V>,
    {
        provenance.verify(&fraud.attestation, directory)?;
        fraud.verify(spec, executor)?;
        Self::of_step_fraud(fraud)
    }

    /// A succinct proof that the model gives another output than a signed attestation of reproducible work
    /// claims.
    ///
    /// # Errors
    /// Those of [`Provenance::verify`]; [`Error::InvalidField`] for an environment that is another or not
    /// reproducible; [`Error::NoOffence`] for the attested output or a proof that does not verify.
    pub fn refuted_by_proof<S, V, D>(
        attestation: &Attestation,
        provenance: &Provenance<'_, S>,
        directory: &D,
        environment: &Environment,
        output: &Hash,
        proof: &[u8],
        system: &impl ProofSystem,
    ) -> Result<Self>
    where
        V: Verifier<S>,
        D: KeyDirectory<V>,
    {
        provenance.verify(attestation, directory)?;
        if environment.hash() != attestation.environment() || !environment.is_reproducible() {
            return Err(Error::InvalidField("environment"));
        }
        let model = attestation.model();
        if *output == attestation.output() || !system.verify(&model, &attestation.input(), output, proof)? {
            return Err(Error::NoOffence);
        }
        let body = [&attestation.encode()[..], output, &sha256(proof)].concat();
        let (party, epoch) = (attestation.worker(), attestation.epoch());
        Self::new(EvidenceKind::RefutedByProof, Family::WrongOutput, party, epoch, body)
    }

    /// A worker's audits, in order, that cross the boundary of conviction with the last one. `start` is
    /// the epoch the worker's record opened in. The caller has checked each outcome against the revealed
    /// verdicts of its job.
    ///
    /// # Errors
    /// [`Error::NoOffence`] when they do not; [`Error::Duplicate`] for an attestation counted twice;
    /// [`Error::Epoch`] for epochs that go back; [`Error::UnknownVariant`] for an unknown rung.
    pub fn conviction(
        policy: &Arc<ConvictionPolicy>,
        worker: PartyId,
        start: Epoch,
        audits: &[AuditEntry],
    ) -> Result<Self> {
        let mut record = Record::new(Arc::clone(policy), start);
        let mut seen = BTreeSet::new();
        let mut body = worker.as_bytes().to_vec();
        body.extend_from_slice(&start.get().to_be_bytes());
        for audit in audits {
            if !seen.insert(audit.attestation) {
                return Err(Error::Duplicate("audit"));
            }
            record.advance(audit.epoch)?;
            record.observe(audit.rung, audit.outcome)?;
            body.extend_from_slice(audit.attestation.as_bytes());
            body.extend_from_slice(&audit.epoch.get().to_be_bytes());
            body.push(audit.rung.get());
            body.push(u8::from(audit.outcome == Outcome::Mismatch));
        }
        let epoch = audits.last().ok_or(Error::NoOffence)?.epoch;
        if record.standing() != Standing::Convicted {
            return Err(Error::NoOffence);
        }
        Self::new(EvidenceKind::Conviction, Family::WrongOutput, worker, epoch, body)
    }

    /// An offence against consensus, or a sybil ruling by a quorum, proved by bytes that `accepts` verifies
    /// for that party. The bytes are kept as their SHA-256.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for another family; [`Error::NoOffence`] when the proof is refused.
    pub fn outside(
        family: Family,
        party: PartyId,
        epoch: Epoch,
        proof: &[u8],
        accepts: impl Fn(&PartyId, Epoch, &[u8]) -> bool,
    ) -> Result<Self> {
        if !matches!(family, Family::Consensus | Family::Sybil) {
            return Err(Error::InvalidField("family"));
        }
        if !accepts(&party, epoch, proof) {
            return Err(Error::NoOffence);
        }
        let mut body = about(&party, epoch);
        body.push(family as u8);
        body.extend_from_slice(&sha256(proof));
        Self::new(EvidenceKind::Outside, family, party, epoch, body)
    }

    /// A quality score that stands below its threshold in an epoch. One an epoch.
    ///
    /// # Errors
    /// [`Error::NoOffence`] when it does not.
    pub fn low_quality(worker: PartyId, epoch: Epoch, quality: &Quality, policy: &QualityPolicy) -> Result<Self> {
        if !quality.is_low(policy) {
            return Err(Error::NoOffence);
        }
        let mut body = about(&worker, epoch);
        body.extend_from_slice(&quality.value_q32().to_be_bytes());
        body.extend_from_slice(&quality.audits().to_be_bytes());
        Self::new(EvidenceKind::LowQuality, Family::Quality, worker, epoch, body)
    }

    /// A signed verdict on a canary that its opening contradicts. `published` is the canary's commitment
    /// from before the verdicts.
    ///
    /// # Errors
    /// [`Error::BadReveal`] for another opening or attestation; [`Error::NoOffence`] for a right or
    /// undecided verdict; the errors of key and signature.
    pub fn canary_miss<S, V, D>(
        canary: &Canary,
        published: &Hash,
        attestation: &Attestation,
        verdict: &Signed<Verdict, S>,
        suite: Suite,
        directory: &D,
    ) -> Result<Self>
    where
        V: Verifier<S>,
        D: KeyDirectory<V>,
    {
        let said = verdict.body();
        let key = directory.verifier(&said.verifier, suite).ok_or(Error::UnknownKey)?;
        verdict.verify(key)?;
        let bound = canary.commitment() == *published
            && attestation.job() == canary.job
            && attestation.chain() == canary.chain
            && said.attestation == attestation.hash();
        if !bound {
            return Err(Error::BadReveal);
        }
        let right = if attestation.output() == canary.expected { Decision::Match } else { Decision::Mismatch };
        match said.decision {
            Decision::Match | Decision::Mismatch if said.decision != right => {}
            _ => return Err(Error::NoOffence),
        }
        let body = [&published[..], &attestation.encode(), &said.encode()].concat();
        Self::new(EvidenceKind::CanaryMiss, Family::Verdict, said.verifier, said.epoch, body)
    }

    /// Everybody who committed to a share of the beacon and withheld it.
    pub fn beacon_withheld(outcome: &BeaconOutcome) -> Vec<Self> {
        let withheld = outcome.withheld().iter();
        withheld
            .filter_map(|contribution| {
                let (party, epoch) = (contribution.party, contribution.epoch);
                let mut body = about(&party, epoch);
                body.extend_from_slice(contribution.chain.as_bytes());
                body.extend_from_slice(&contribution.commitment);
                Self::new(EvidenceKind::BeaconWithheld, Family::Beacon, party, epoch, body).ok()
            })
            .collect()
    }

    /// Every member of a closed panel who did not reveal a verdict.
    pub fn verdicts_withheld(panel: &Panel) -> Vec<Self> {
        let silent = panel.tally().map(|tally| tally.silent).unwrap_or_default();
        silent
            .into_iter()
            .filter_map(|party| {
                let epoch = panel.epoch();
                let mut body = about(&party, epoch);
                body.extend_from_slice(panel.attestation().as_bytes());
                let family = Family::VerdictWithheld;
                Self::new(EvidenceKind::VerdictWithheld, family, party, epoch, body).ok()
            })
            .collect()
    }

    /// Kind of the evidence.
    pub const fn kind(&self) -> EvidenceKind {
        self.kind
    }

    /// Family of the offence.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Who committed it.
    pub const fn party(&self) -> &PartyId {
        &self.party
    }

    /// The epoch of the offence.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Canonical body, without signatures: a second signature over the same bytes is no new evidence.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Hash of kind and body.
    pub fn hash(&self) -> EvidenceHash {
        let kind = (self.kind as u16).to_be_bytes();
        let len = (self.body.len() as u32).to_be_bytes();
        tagged("evidence", &[&kind, &len, &self.body]).into()
    }

    /// Three unanimous mismatches under the exact comparator; made by a resolved dispute.
    pub(crate) fn exact_fraud(attestation: &Attestation, dispute: &DisputeId, panel: &Panel) -> Result<Self> {
        let unanimous = panel
            .verdicts()
            .all(|verdict| verdict.decision == Decision::Mismatch && verdict.comparator == ComparatorKind::Exact);
        if !unanimous || panel.verdicts().count() < 3 {
            return Err(Error::NoOffence);
        }
        let mut body = attestation.encode().to_vec();
        body.extend_from_slice(dispute.as_bytes());
        body.extend(panel.verdicts().flat_map(Verdict::encode));
        let (party, epoch) = (attestation.worker(), attestation.epoch());
        Self::new(EvidenceKind::ExactFraud, Family::WrongOutput, party, epoch, body)
    }

    /// A step fraud whose attestation is known to be signed.
    pub(crate) fn of_step_fraud(fraud: &StepFraud) -> Result<Self> {
        let (party, epoch) = (fraud.attestation.worker(), fraud.attestation.epoch());
        Self::new(EvidenceKind::StepFraud, Family::WrongOutput, party, epoch, fraud.encode())
    }

    /// Silence in a dispute costs what fraud costs, or silence would be the exit.
    pub(crate) fn dispute_default(attestation: &Attestation, epoch: Epoch, dispute: &DisputeId) -> Result<Self> {
        let body = [&attestation.encode()[..], dispute.as_bytes()].concat();
        Self::new(EvidenceKind::DisputeDefault, Family::WrongOutput, attestation.worker(), epoch, body)
    }

    /// A proof that was ordered and did not come; made by a job.
    pub(crate) fn proof_missing(
        worker: PartyId,
        epoch: Epoch,
        attestation: &AttestationHash,
        deadline: Millis,
    ) -> Result<Self> {
        let mut body = about(&worker, epoch);
        body.extend_from_slice(attestation.as_bytes());
        body.extend_from_slice(&deadline.get().to_be_bytes());
        Self::new(EvidenceKind::ProofMissing, Family::InvalidAttestation, worker, epoch, body)
    }

    /// A worker that accepted an assignment and did not deliver by the deadline; made by a job.
    pub(crate) fn timeout(
        worker: PartyId,
        epoch: Epoch,
        job: &JobId,
        assignment: u32,
        deadline: Millis,
    ) -> Result<Self> {
        let mut body = about(&worker, epoch);
        body.extend_from_slice(job.as_bytes());
        body.extend_from_slice(&assignment.to_be_bytes());
        body.extend_from_slice(&deadline.get().to_be_bytes());
        Self::new(EvidenceKind::Timeout, Family::Timeout, worker, epoch, body)
    }

    fn new(kind: EvidenceKind, family: Family, party: PartyId, epoch: Epoch, body: Vec<u8>) -> Result<Self> {
        u32::try_from(body.len()).map_err(|_| Error::Overflow)?;
        Ok(Self { kind, family, party, epoch, body })
    }
}

/// Whether batch leaf bytes are an attestation that belongs there and, where the order of its job is known,
/// keeps to it.
fn leaf_is_valid(
    leaf: &[u8],
    header: &crate::batch::BatchHeader,
    seq: u64,
    order: Option<(&WorkOrder, &DeviceLimits)>,
) -> Result<bool> {
    let Ok(att) = Attestation::decode(leaf) else { return Ok(false) };
    let belongs = att.suite() == header.suite()
        && att.chain() == *header.chain()
        && att.worker() == *header.worker()
        && att.epoch() == header.epoch()
        && att.seq() == seq;
    let Some((order, device)) = order else { return Ok(belongs) };
    if att.job() != *order.job() {
        return Err(Error::NotAssigned);
    }
    let keeps = order.check_spec(&att).and_then(|()| device.check_plausible(&att, order.spec()));
    Ok(belongs && keeps.is_ok())
}

fn about(party: &PartyId, epoch: Epoch) -> Vec<u8> {
    let mut body = party.as_bytes().to_vec();
    body.extend_from_slice(&epoch.get().to_be_bytes());
    body
}
