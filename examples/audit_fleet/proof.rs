//! Evidence as a file of its own: everything a stranger needs to make it again, and the hash that comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanzo::poai::{
    Attestation, AuditEntry, Canary, ConvictionPolicy, DeviceLimits, Epoch, Equivocation, Evidence, InclusionProof,
    JobId, JobSpec, Outcome, PartyId, Provenance, RungId, Signed, SignedBatch, StepFraud, Suite, Verdict, WorkOrder,
};
use hanzo::pqc::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::model::{Model, Steps};
use crate::public::{Hex, Policy};

pub(crate) type Directory = BTreeMap<(PartyId, Suite), VerifyingKey>;

/// What a worker's machine can do at most, as registered.
pub(crate) const DEVICE: DeviceLimits = DeviceLimits { peak_flops: 1_000_000_000_000, params: 5_376 };

/// Evidence that stands alone. Withheld shares and verdicts are absences, which the files of the epoch show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Proof {
    /// Two signed bodies.
    Equivocation { batch: Hex, inclusion: Hex, attestation: Hex, stray: Hex },
    /// A signed batch with an impossible body.
    Invalid { batch: Hex, inclusion: Hex, attestation: Hex, nonce: u64, spec: Hex },
    /// A wrong step of a committed trace.
    Step { batch: Hex, inclusion: Hex, fraud: Hex, spec: Hex },
    /// Audits that cross the boundary.
    Conviction { worker: Hex, start: u64, audits: Vec<Audit> },
    /// A verdict against a known answer.
    Canary { published: Hex, job: Hex, epoch: u64, expected: Hex, salt: Hex, attestation: Hex, verdict: Hex },
}

/// One counted audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Audit {
    pub(crate) attestation: Hex,
    pub(crate) epoch: u64,
    pub(crate) rung: u8,
    pub(crate) mismatch: bool,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProofFile {
    pub(crate) party: Hex,
    pub(crate) epoch: u64,
    pub(crate) hash: Hex,
    pub(crate) proof: Proof,
}

/// Keys of everybody in a policy.
pub(crate) fn directory(policy: &Policy) -> Result<Directory> {
    policy
        .workers
        .iter()
        .chain(&policy.verifiers)
        .map(|member| Ok(((member.id()?, Suite::ML_DSA_65), member.key()?)))
        .collect()
}

impl Proof {
    /// Makes the evidence again, with every check.
    pub(crate) fn verify(&self, policy: &Policy, keys: &Directory, model: &Model) -> Result<Evidence> {
        let batch_of = |batch: &Hex| SignedBatch::<Signature>::decode(&batch.0);
        Ok(match self {
            Self::Equivocation { batch, inclusion, attestation, stray } => {
                let (batch, inclusion) = (batch_of(batch)?, InclusionProof::decode(&inclusion.0)?);
                let stray = Signed::<Attestation, Signature>::decode(&stray.0)?;
                let pair = Equivocation::new(Attestation::decode(&attestation.0)?, stray.body().clone())?;
                let in_batch = Provenance::Batch { batch: &batch, proof: &inclusion };
                let alone = Provenance::Signature(stray.signature());
                let (first, second) =
                    if pair.first() == stray.body() { (&alone, &in_batch) } else { (&in_batch, &alone) };
                Evidence::equivocation(&pair, first, second, keys)?
            }
            Self::Invalid { batch, inclusion, attestation, nonce, spec } => {
                let batch = batch_of(batch)?;
                let (chain, client) = (policy.chain.hash()?.into(), policy.client.hash()?.into());
                let spec = JobSpec::decode(&spec.0)?;
                let order = WorkOrder::new(&chain, &client, *nonce, spec, *batch.body().worker(), 0);
                let inclusion = InclusionProof::decode(&inclusion.0)?;
                Evidence::invalid_attestation(&batch, &inclusion, &attestation.0, Some((&order, &DEVICE)), keys)?
            }
            Self::Step { batch, inclusion, fraud, spec } => {
                let (batch, inclusion) = (batch_of(batch)?, InclusionProof::decode(&inclusion.0)?);
                let spec = JobSpec::decode(&spec.0)?;
                let steps = Steps { model, input: *spec.input() };
                let provenance = Provenance::Batch { batch: &batch, proof: &inclusion };
                Evidence::step_fraud(&StepFraud::decode(&fraud.0)?, &provenance, keys, &spec, &steps)?
            }
            Self::Conviction { worker, start, audits } => {
                let entries = audits
                    .iter()
                    .map(|audit| {
                        Ok(AuditEntry {
                            attestation: audit.attestation.hash()?.into(),
                            epoch: Epoch::new(audit.epoch),
                            rung: RungId::new(audit.rung),
                            outcome: if audit.mismatch { Outcome::Mismatch } else { Outcome::Match },
                        })
                    })
                    .collect::<Result<Vec<_>>>()?;
                let rules = Arc::new(ConvictionPolicy::default());
                Evidence::conviction(&rules, worker.hash()?.into(), Epoch::new(*start), &entries)?
            }
            Self::Canary { published, job, epoch, expected, salt, attestation, verdict } => {
                let canary = Canary {
                    chain: policy.chain.hash()?.into(),
                    epoch: Epoch::new(*epoch),
                    job: JobId::new(job.hash()?),
                    expected: expected.hash()?,
                    salt: salt.hash()?,
                };
                let verdict = Signed::<Verdict, Signature>::decode(&verdict.0)?;
                let attestation = Attestation::decode(&attestation.0)?;
                Evidence::canary_miss(&canary, &published.hash()?, &attestation, &verdict, Suite::ML_DSA_65, keys)?
            }
        })
    }

    /// The file, once the evidence verifies.
    pub(crate) fn file(self, policy: &Policy, keys: &Directory, model: &Model) -> Result<(Evidence, ProofFile)> {
        let evidence = self.verify(policy, keys, model)?;
        let file = ProofFile {
            party: evidence.party().as_bytes().into(),
            epoch: evidence.epoch().get(),
            hash: evidence.hash().as_bytes().into(),
            proof: self,
        };
        Ok((evidence, file))
    }
}

impl ProofFile {
    /// Whether the file proves what it says.
    pub(crate) fn check(&self, policy: &Policy, keys: &Directory, model: &Model) -> Result<Evidence> {
        let evidence = self.proof.verify(policy, keys, model)?;
        let same = self.party.0 == evidence.party().as_bytes()
            && self.epoch == evidence.epoch().get()
            && self.hash.0 == evidence.hash().as_bytes();
        if same { Ok(evidence) } else { Err("evidence of something else".into()) }
    }
}
