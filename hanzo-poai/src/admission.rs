//! Level 1: the checks an attestation passes before anything is re-executed.

use alloc::boxed::Box;
use alloc::vec::Vec;

use signature::Verifier;

use crate::attestation::Attestation;
use crate::batch::SignedBatch;
use crate::equivocation::Equivocation;
use crate::error::{Error, Result};
use crate::hash::{AttestationHash, ChainId, JobId, PartyId, sha256};
use crate::job_spec::JobSpec;
use crate::merkle::InclusionProof;
use crate::signing::{KeyDirectory, SignedKind, verify_hash};
use crate::units::Epoch;

/// What a network asks of every attestation.
///
/// ```
/// use hanzo_poai::signature::Keypair as _;
/// use hanzo_poai::{
///     Admission, AdmissionContext, Attestation, ChainId, DeviceLimits, Epoch, JobSpec, ModelHash, PartyId, Provenance,
///     Signed, Suite, WorkOrder, WorkerLog,
/// };
/// use ml_dsa::{MlDsa65, SigningKey};
/// use std::collections::BTreeMap;
///
/// let (chain, client, worker) = (ChainId::new([1; 32]), PartyId::new([2; 32]), PartyId::new([3; 32]));
/// let spec = JobSpec::builder(ModelHash::new([4; 32]), [5; 32]).max_tokens(100).build()?;
/// let order = WorkOrder::new(&chain, &client, 0, spec, worker, 0);
/// let key = SigningKey::<MlDsa65>::from_seed(&[7; 32].into());
///
/// let claim = Attestation::builder()
///     .suite(Suite::ML_DSA_65).chain(chain).epoch(Epoch::new(7)).worker(worker)
///     .job(*order.job()).model(*order.spec().model()).input(*order.spec().input())
///     .output([6; 32]).environment([7; 32])
///     .duration_us(1_000_000).flops(40_000_000_000).tokens_in(20).tokens_out(20)
///     .build()?;
/// let signed = Signed::sign(claim.clone(), &key)?;
///
/// let mut log = WorkerLog::new(chain, worker);
/// let context = AdmissionContext {
///     directory: &BTreeMap::from([((worker, Suite::ML_DSA_65), key.verifying_key())]),
///     log: &log,
///     order: Some(&order),
///     device: &DeviceLimits { peak_flops: 10_000_000_000_000, params: 1_000_000_000 },
///     quote: None,
///     now: Epoch::new(7),
/// };
/// let signature = Provenance::Signature(signed.signature());
/// let (admitted, _) = Admission::new(chain).check(&claim.encode(), &signature, &context)?;
/// log.append(admitted)?;
/// assert_eq!(log.next_seq(), 1);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    chain: ChainId,
    epoch_lag: u64,
    require_quote: bool,
}

impl Admission {
    /// The rules of a chain: an attestation may be one epoch late, and no quote is asked for.
    pub const fn new(chain: ChainId) -> Self {
        Self { chain, epoch_lag: 1, require_quote: false }
    }

    /// Epochs an attestation may be late.
    #[must_use]
    pub const fn epoch_lag(self, epoch_lag: u64) -> Self {
        Self { epoch_lag, ..self }
    }

    /// Whether a TEE quote is asked for.
    #[must_use]
    pub const fn require_quote(self, require_quote: bool) -> Self {
        Self { require_quote, ..self }
    }

    /// Runs every check on an encoded attestation, in this order: decode; chain and epoch; key and
    /// signature (its own, or its batch's with inclusion proof); sequence number and `prev`; job and
    /// assignment; input and model; quote; plausibility. A bad signature is no offence, as anybody can
    /// send one in another's name: drop the message.
    ///
    /// # Errors
    /// That of the first check that fails.
    pub fn check<S, V, D>(
        &self,
        bytes: &[u8],
        provenance: &Provenance<'_, S>,
        context: &AdmissionContext<'_, D>,
    ) -> Result<(Attestation, Option<Measurements>)>
    where
        V: Verifier<S>,
        D: KeyDirectory<V>,
    {
        let att = Attestation::decode(bytes)?;
        if att.chain() != self.chain {
            return Err(Error::WrongChain);
        }
        let latest = context.now.get();
        let earliest = latest.saturating_sub(self.epoch_lag);
        let epoch = att.epoch().get();
        if epoch < earliest || epoch > latest {
            return Err(Error::Epoch { epoch, earliest, latest });
        }
        provenance.verify(&att, context.directory)?;
        context.log.check(&att)?;
        let order = context.order.ok_or(Error::NotAssigned)?;
        order.check_assigned(&att)?;
        order.check_spec(&att)?;
        let measurements = match (self.require_quote, context.quote) {
            (false, _) => None,
            (true, None) => return Err(Error::BadQuote),
            (true, Some((quote, verifier))) => {
                if att.quote() != Some(sha256(quote)) {
                    return Err(Error::BadQuote);
                }
                let checked = verifier.verify(quote, &att.report_data());
                Some(checked.map_err(|_| Error::BadQuote)?)
            }
        };
        context.device.check_plausible(&att, order.spec())?;
        Ok((att, measurements))
    }
}

/// What the checks of one attestation need to know.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionContext<'a, D> {
    /// Keys of the workers.
    pub directory: &'a D,
    /// The worker's chain so far.
    pub log: &'a WorkerLog,
    /// The job as it was assigned; `None` when it is not known.
    pub order: Option<&'a WorkOrder>,
    /// The worker's machine and the model's size.
    pub device: &'a DeviceLimits,
    /// The quote and who verifies it, where one is asked for.
    pub quote: Option<(&'a [u8], &'a dyn QuoteVerifier)>,
    /// The epoch now.
    pub now: Epoch,
}

/// How an attestation is signed.
#[derive(Debug, Clone, Copy)]
pub enum Provenance<'a, S> {
    /// By a signature over itself.
    Signature(&'a S),
    /// By the signature of a batch it stands in.
    Batch {
        /// The signed header.
        batch: &'a SignedBatch<S>,
        /// Its place in the batch.
        proof: &'a InclusionProof,
    },
}

impl<S> Provenance<'_, S> {
    /// Checks that the attestation's worker signed it.
    ///
    /// # Errors
    /// [`Error::UnknownKey`], [`Error::BadSignature`], [`Error::BadProof`], or [`Error::InvalidField`]
    /// where header and attestation differ.
    pub fn verify<V, D>(&self, att: &Attestation, directory: &D) -> Result<()>
    where
        V: Verifier<S>,
        D: KeyDirectory<V>,
    {
        let key = directory.verifier(&att.worker(), att.suite()).ok_or(Error::UnknownKey)?;
        match self {
            Self::Signature(signature) => verify_hash(SignedKind::Attestation, att.hash().as_bytes(), *signature, key),
            Self::Batch { batch, proof } => {
                let header = batch.body();
                let same = [
                    ("suite", header.suite() == att.suite()),
                    ("chain", *header.chain() == att.chain()),
                    ("worker", *header.worker() == att.worker()),
                    ("epoch", header.epoch() == att.epoch()),
                ];
                if let Some((field, _)) = same.into_iter().find(|(_, same)| !same) {
                    return Err(Error::InvalidField(field));
                }
                batch.verify(key)?;
                if header.verify_inclusion(&att.hash(), proof)? != att.seq() {
                    return Err(Error::BadProof);
                }
                Ok(())
            }
        }
    }
}

/// A job as it was given to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkOrder {
    job: JobId,
    client: PartyId,
    client_nonce: u64,
    spec: JobSpec,
    worker: PartyId,
    assignment: u32,
}

impl WorkOrder {
    /// The assignment of a client's job to a worker; the job id follows from chain, client, nonce and spec.
    pub fn new(
        chain: &ChainId,
        client: &PartyId,
        client_nonce: u64,
        spec: JobSpec,
        worker: PartyId,
        assignment: u32,
    ) -> Self {
        let job = spec.job_id(chain, client, client_nonce);
        Self { job, client: *client, client_nonce, spec, worker, assignment }
    }

    /// The job.
    pub const fn job(&self) -> &JobId {
        &self.job
    }

    /// Who ordered it.
    pub const fn client(&self) -> &PartyId {
        &self.client
    }

    /// The client's nonce of the job.
    pub const fn client_nonce(&self) -> u64 {
        self.client_nonce
    }

    /// Its spec.
    pub const fn spec(&self) -> &JobSpec {
        &self.spec
    }

    /// The worker.
    pub const fn worker(&self) -> &PartyId {
        &self.worker
    }

    /// Which assignment this is.
    pub const fn assignment(&self) -> u32 {
        self.assignment
    }

    fn check_assigned(&self, att: &Attestation) -> Result<()> {
        let want = (self.job, self.worker, self.assignment);
        if (att.job(), att.worker(), att.assignment()) == want { Ok(()) } else { Err(Error::NotAssigned) }
    }

    pub(crate) fn check_spec(&self, att: &Attestation) -> Result<()> {
        if att.input() != *self.spec.input() {
            return Err(Error::SpecMismatch("input"));
        }
        if att.model() != *self.spec.model() {
            return Err(Error::SpecMismatch("model"));
        }
        Ok(())
    }
}

/// What a machine can do and what the model needs at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct DeviceLimits {
    /// Peak floating-point operations a second.
    pub peak_flops: u128,
    /// Parameters that take part in each token (the active ones, for a mixture of experts).
    pub params: u128,
}

impl DeviceLimits {
    /// Duration at least 1 us; utilisation at most 10^6 ppm; operations at most 1.05 times the peak and at
    /// least one a parameter and token; no more tokens than the spec allows.
    pub(crate) fn check_plausible(&self, att: &Attestation, spec: &JobSpec) -> Result<()> {
        let at_least = |check, value: u128, limit: u128| {
            if value >= limit { Ok(()) } else { Err(Error::Implausible { check, value, limit }) }
        };
        let at_most = |check, value: u128, limit: u128| {
            if value <= limit { Ok(()) } else { Err(Error::Implausible { check, value, limit }) }
        };
        at_least("duration_us", att.duration_us().into(), 1)?;
        at_most("gpu_util_ppm", att.gpu_util_ppm().into(), 1_000_000)?;
        // flops <= peak * us / 10^6 * 21/20, multiplied out; an integer is at most x iff at most floor(x)
        let capacity = self.peak_flops.checked_mul(att.duration_us().into());
        let capacity = capacity.and_then(|c| c.checked_mul(21)).ok_or(Error::Overflow)?;
        at_most("peak flops", att.flops(), capacity / 20_000_000)?;
        let tokens = u128::from(att.tokens_in()) + u128::from(att.tokens_out());
        let needed = self.params.checked_mul(tokens).ok_or(Error::Overflow)?;
        at_least("flops", att.flops(), needed)?;
        at_most("tokens_out", att.tokens_out().into(), spec.max_tokens().into())
    }
}

/// The attestations of one worker on one chain, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerLog {
    chain: ChainId,
    worker: PartyId,
    first_seq: u64,
    tip: Option<AttestationHash>,
    attestations: Vec<Attestation>,
}

impl WorkerLog {
    /// The log of a worker who has attested nothing.
    pub const fn new(chain: ChainId, worker: PartyId) -> Self {
        Self { chain, worker, first_seq: 0, tip: None, attestations: Vec::new() }
    }

    /// Checks the place of an attestation: the next sequence number and the hash of the one before.
    ///
    /// # Errors
    /// [`Error::NotAssigned`] for another worker or chain; [`Error::Equivocation`] for a different body at
    /// a place that is taken; [`Error::Sequence`] for a gap or a replay; [`Error::PrevMismatch`].
    pub fn check(&self, att: &Attestation) -> Result<()> {
        if att.worker() != self.worker || att.chain() != self.chain {
            return Err(Error::NotAssigned);
        }
        let want = self.next_seq();
        if let Some(earlier) = self.get(att.seq())
            && let Ok(pair) = Equivocation::new(earlier.clone(), att.clone())
        {
            return Err(Error::Equivocation(Box::new(pair)));
        }
        if att.seq() != want {
            return Err(Error::Sequence { want, got: att.seq() });
        }
        if att.prev() != self.tip {
            return Err(Error::PrevMismatch);
        }
        Ok(())
    }

    /// Appends an attestation that was checked.
    ///
    /// # Errors
    /// Those of [`WorkerLog::check`]; [`Error::Overflow`] at sequence number 2^64 - 1.
    pub fn append(&mut self, att: Attestation) -> Result<()> {
        self.check(&att)?;
        att.seq().checked_add(1).ok_or(Error::Overflow)?;
        self.tip = Some(att.hash());
        self.attestations.push(att);
        Ok(())
    }

    /// Forgets bodies before a sequence number. A second body at such a place is then a plain
    /// [`Error::Sequence`].
    pub fn prune_before(&mut self, seq: u64) {
        let kept = self.attestations.len() as u64;
        let drop = seq.saturating_sub(self.first_seq).min(kept);
        self.attestations.drain(..drop as usize);
        self.first_seq += drop;
    }

    /// The next sequence number.
    pub fn next_seq(&self) -> u64 {
        self.first_seq + self.attestations.len() as u64
    }

    /// Hash of the last attestation: the `prev` of the next.
    pub const fn tip(&self) -> Option<AttestationHash> {
        self.tip
    }

    /// The body at a sequence number, if it is kept.
    pub fn get(&self, seq: u64) -> Option<&Attestation> {
        let at = usize::try_from(seq.checked_sub(self.first_seq)?).ok()?;
        self.attestations.get(at)
    }
}

/// What a verified quote says was measured, in the bytes of its own format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurements(pub Vec<u8>);

/// A quote does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("quote does not verify")]
pub struct QuoteError;

/// Verifies TEE quotes, whose formats this crate does not parse. Closures implement this trait.
///
/// # Guarantees
/// An implementor returns measurements only for an authentic, current quote that carries `report_data`.
pub trait QuoteVerifier {
    /// Verifies a quote.
    ///
    /// # Errors
    /// [`QuoteError`] for a quote that is not authentic or carries other data.
    fn verify(&self, quote: &[u8], report_data: &[u8; 64]) -> core::result::Result<Measurements, QuoteError>;
}

impl<F> QuoteVerifier for F
where
    F: Fn(&[u8], &[u8; 64]) -> core::result::Result<Measurements, QuoteError>,
{
    fn verify(&self, quote: &[u8], report_data: &[u8; 64]) -> core::result::Result<Measurements, QuoteError> {
        self(quote, report_data)
    }
}

impl core::fmt::Debug for dyn QuoteVerifier + '_ {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("QuoteVerifier")
    }
}
