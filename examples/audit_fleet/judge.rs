//! What follows from public bytes: draws, outcomes, convictions, slash orders. The fleet uses it to go on, and an auditor
//! who trusts nobody to come to the same bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanzo::poai::{
    Admission, AdmissionContext, Attestation, AuditBudget, AuditEpoch, AuditPlan, Batch, Beacon, BisectionPolicy, Bond,
    Canary, Candidate, Commitments, Comparator, ComparatorKind, Contribution, ConvictionPolicy, DType, Decision,
    DisputeBody, DisputeMessage, Epoch, Error, Evidence, EvidenceItem, EvidenceSet, Exact, Exposure, Hash, JobSpec, Kl,
    Logits, Millis, Observation, Outcome, Panel, PartyId, Probability, Provenance, Record, Registry, Resolution,
    RungId, SamplingPolicy, Screen, Signed, SignedBatch, SlashPolicy, Standing, StepFraud, Suite, Tally, Thresholds,
    TopK, TraceDispute, Verdict, WorkOrder, WorkerLog, assign_verifiers,
};
use hanzo::pqc::Signature;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::model::{Machine, Model, Steps, VOCABULARY};
use crate::proof::{Audit, DEVICE, Directory, Proof, ProofFile, directory};
use crate::public::{Hex, Policy, Public, PublicBatch};

/// A worker whose jobs are all audited, and some of whose answers are known to be wrong.
pub(crate) const EXAMINER: &str = "examiner";

/// All that earlier epochs left behind.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    policy: Policy,
    keys: Directory,
    model: Arc<Model>,
    workers: BTreeMap<PartyId, Standings>,
    registry: Registry,
}

#[derive(Debug, Clone)]
struct Standings {
    log: WorkerLog,
    record: Record,
    audits: Vec<Audit>,
    clean: u64,
    suspended: bool,
}

/// An attestation that passed, and what was ordered.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    pub(crate) attestation: Attestation,
    pub(crate) spec: JobSpec,
    batch: usize,
    place: u32,
}

/// An epoch up to its draws.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) beacon: Beacon,
    pub(crate) admitted: Vec<Admitted>,
    /// Indices of the admitted that are drawn.
    pub(crate) drawn: Vec<usize>,
    draws: Vec<DrawRow>,
    evidence: Vec<Evidence>,
    proofs: Vec<Proof>,
}

/// What an epoch comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ruling {
    pub(crate) epoch: u64,
    pub(crate) beacon: Hex,
    pub(crate) draws: Vec<DrawRow>,
    pub(crate) outcomes: Vec<OutcomeRow>,
    /// Verdicts that executing again contradicts: verifier and attestation.
    pub(crate) contradicted: Vec<(String, Hex)>,
    pub(crate) standings: Vec<(String, String)>,
    pub(crate) orders: Vec<OrderRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrawRow {
    pub(crate) attestation: Hex,
    /// Probability and drawn number, both of 2^64.
    pub(crate) threshold: u64,
    pub(crate) u: u64,
    pub(crate) selected: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutcomeRow {
    pub(crate) attestation: Hex,
    pub(crate) worker: String,
    pub(crate) outcome: String,
    pub(crate) verdicts: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderRow {
    pub(crate) party: String,
    pub(crate) family: String,
    pub(crate) kind: String,
    pub(crate) bps: u16,
    pub(crate) contest_ms: u64,
    pub(crate) evidence: Hex,
}

impl Book {
    /// Nothing has happened yet.
    pub(crate) fn new(policy: Policy) -> Result<Self> {
        let (keys, model) = (directory(&policy)?, Arc::new(Model::new()));
        if policy.model.hash()? != model.hash() {
            return Err("the policy names another model".into());
        }
        let chain = policy.chain.hash()?.into();
        let rules = Arc::new(ConvictionPolicy::default());
        let workers = policy
            .workers
            .iter()
            .map(|member| {
                let id = member.id()?;
                let standings = Standings {
                    log: WorkerLog::new(chain, id),
                    record: Record::new(Arc::clone(&rules), Epoch::new(0)),
                    audits: Vec::new(),
                    clean: 0,
                    suspended: false,
                };
                Ok((id, standings))
            })
            .collect::<Result<_>>()?;
        Ok(Self { policy, keys, model, workers, registry: Registry::new(SlashPolicy::default()) })
    }

    /// Whether a worker still gets jobs.
    pub(crate) fn works(&self, worker: &PartyId) -> bool {
        self.workers.get(worker).is_some_and(|worker| !worker.suspended)
    }

    pub(crate) fn keys(&self) -> &Directory {
        &self.keys
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// Reads commitments, batches and beacon, and draws.
    pub(crate) fn open(&mut self, public: &Public) -> Result<Opening> {
        let (chain, epoch) = (self.policy.chain.hash()?.into(), Epoch::new(public.epoch));
        let mut order = AuditEpoch::new(chain, epoch);
        let (mut admitted, mut proofs, mut finality) = (Vec::new(), Vec::new(), Sha256::new());
        for (at, batch) in public.batches.iter().enumerate() {
            let signed = SignedBatch::<Signature>::decode(&batch.header.0)?;
            signed.body().verify_wire(&batch.attestations.0)?;
            finality.update(order.commit(signed.body().clone())?.as_bytes());
            self.admit(at, batch, &signed, epoch, &mut admitted, &mut proofs)?;
        }
        for canary in &public.canaries {
            finality.update(&canary.0);
        }
        let mut commitments = Commitments::new(chain, epoch);
        for said in &public.contributions {
            let (party, commitment) = (said.party.hash()?.into(), said.commitment.hash()?);
            commitments.commit(Contribution { chain, epoch, party, commitment })?;
        }
        let mut round = commitments.close(finality.finalize().into(), None, 3)?;
        for said in &public.contributions {
            if let Some(opening) = &said.opening {
                round.reveal(&said.party.hash()?.into(), &opening.hash()?)?;
            }
        }
        let mixed = round.finish()?;
        let evidence = Evidence::beacon_withheld(&mixed);
        order.reveal(*mixed.beacon())?;
        for stray in &public.strays {
            proofs.extend(self.stray(public, &admitted, stray)?);
        }

        let rates = self.rates(&admitted)?;
        let (mut draws, mut drawn) = (Vec::new(), Vec::new());
        for (at, (work, p)) in admitted.iter().zip(&rates).enumerate() {
            let draw = order.draw(&work.attestation.job(), work.attestation.assignment(), *p)?;
            if draw.selected() {
                drawn.push(at);
            }
            draws.push(DrawRow {
                attestation: work.attestation.hash().as_bytes().into(),
                threshold: p.threshold(),
                u: draw.u(),
                selected: draw.selected(),
            });
        }
        Ok(Opening { beacon: *mixed.beacon(), admitted, drawn, draws, evidence, proofs })
    }

    /// The verifiers of these slots.
    pub(crate) fn seats(
        &self,
        beacon: &Beacon,
        work: &Admitted,
        slots: std::ops::Range<usize>,
    ) -> Result<Vec<PartyId>> {
        let candidates = self
            .policy
            .verifiers
            .iter()
            .map(|member| Ok(Candidate { id: member.id()?, owner: member.owner.hash()?.into(), weight: 1 }))
            .collect::<Result<Vec<_>>>()?;
        let worker = self.member(&work.attestation.worker())?;
        let owner = worker.owner.hash()?.into();
        let job = work.attestation.job();
        let all = assign_verifiers(beacon, &job, 0, &owner, &candidates, slots.end as u32)?;
        Ok(all.into_iter().skip(slots.start).collect())
    }

    /// The verdict that executing again gives.
    pub(crate) fn verdict(&self, work: &Admitted, evidence: Option<&[u8]>, verifier: PartyId) -> Result<Verdict> {
        let (att, spec) = (&work.attestation, &work.spec);
        let verdict = |decision, comparator, score_q32, transcript| Verdict {
            decision,
            comparator,
            verifier,
            attestation: att.hash(),
            epoch: att.epoch(),
            score_q32,
            transcript,
        };
        if spec.dtype() == DType::Integer {
            let steps = Steps { model: &self.model, input: *spec.input() };
            let right = *steps.run(None).last().ok_or("no output")?;
            let compared = Exact.compare(&Observation::Digest(right), &Observation::Digest(att.output()));
            let judged = Thresholds::new(0.0, 0.0)?.judge(compared)?;
            return Ok(verdict(judged.decision, ComparatorKind::Exact, judged.score_q32, right));
        }
        let kind = ComparatorKind::Kl;
        let Some(evidence) = evidence else { return Ok(verdict(Decision::Unavailable, kind, 0, [0; 32])) };
        let again = self.model.bfloat(spec.input(), Machine::Blocks(48));
        let transcript = Sha256::digest(again.iter().flat_map(|x| x.to_be_bytes()).collect::<Vec<u8>>()).into();
        let claimed = EvidenceSet::decode(evidence).ok().filter(|set| Some(set.hash()) == att.evidence());
        let top = claimed.as_ref().and_then(|set| set.get(EvidenceItem::TopK)).and_then(|body| TopK::decode(body).ok());
        let compared = match &top {
            // Not what was committed to, or not a list: as far off as can be.
            None => Err(Error::NonFinite),
            Some(top) => {
                let reference = Observation::Logits(Logits::new(&again, VOCABULARY)?);
                Kl::new().compare(&reference, &Observation::TopK(top))
            }
        };
        let q32 = |value: u64| value as f64 / 4_294_967_296.0;
        let judged = Thresholds::new(q32(self.policy.flag_q32), q32(self.policy.mismatch_q32))?.judge(compared)?;
        Ok(verdict(judged.decision, kind, judged.score_q32, transcript))
    }

    /// Rules on an epoch, and gives the evidence that stands alone.
    pub(crate) fn judge(&mut self, public: &Public) -> Result<(Ruling, Vec<ProofFile>)> {
        let opening = self.open(public)?;
        let mut evidence = opening.evidence.clone();
        let mut proofs = opening.proofs.clone();
        let (mut outcomes, mut contradicted) = (Vec::new(), Vec::new());
        let mut panels = public.panels.iter();
        let mut disputes = public.disputes.iter();
        let canaries = self.canaries(public)?;
        let mut said_by_job = BTreeMap::new();
        for work in opening.drawn.iter().map(|at| &opening.admitted[*at]) {
            let mut tally = Tally::default();
            for slots in [0..1, 1..3] {
                if slots.start == 1 && tally.mismatches == 0 && tally.silent.is_empty() {
                    break;
                }
                let said = panels.next().ok_or("a panel is missing")?;
                if said.attestation.0 != work.attestation.hash().as_bytes() {
                    return Err("a panel about another attestation".into());
                }
                let seats = self.seats(&opening.beacon, work, slots)?;
                let mut panel = Panel::new(work.attestation.hash(), work.attestation.epoch(), &seats)?;
                for seat in &said.seats {
                    panel.commit(&seat.verifier.hash()?.into(), seat.commitment.hash()?)?;
                }
                for seat in &said.seats {
                    let Some((verdict, salt)) = &seat.reveal else { continue };
                    let signed = Signed::<Verdict, Signature>::decode(&verdict.0)?;
                    let verifier = signed.body().verifier;
                    signed.verify(self.keys.get(&(verifier, Suite::ML_DSA_65)).ok_or("an unknown verifier")?)?;
                    let right = self.verdict(work, said.evidence.as_ref().map(|e| e.0.as_slice()), verifier)?;
                    if right != *signed.body() {
                        let name = self.name(&verifier)?;
                        contradicted.push((name, work.attestation.hash().as_bytes().into()));
                    }
                    said_by_job.entry(work.attestation.job()).or_insert_with(Vec::new).push(verdict.clone());
                    panel.reveal(signed.into_body(), &salt.hash()?)?;
                }
                panel.end_phase();
                evidence.extend(Evidence::verdicts_withheld(&panel));
                let more = panel.tally().ok_or("an open panel")?;
                tally.matches += more.matches;
                tally.mismatches += more.mismatches;
                tally.undecided += more.undecided;
                tally.silent.extend(more.silent);
            }
            let outcome = tally.majority();
            outcomes.push(OutcomeRow {
                attestation: work.attestation.hash().as_bytes().into(),
                worker: self.name(&work.attestation.worker())?,
                outcome: format!("{outcome:?}"),
                verdicts: u64::from(tally.matches + tally.mismatches + tally.undecided),
            });
            if let Some((canary, published)) = canaries.get(&work.attestation.job()) {
                // Known answers test the verifiers, not the worker who planted them.
                for verdict in said_by_job.get(&canary.job).into_iter().flatten() {
                    let signed = Signed::<Verdict, Signature>::decode(&verdict.0)?;
                    let right =
                        if work.attestation.output() == canary.expected { Decision::Match } else { Decision::Mismatch };
                    if signed.body().decision != right {
                        proofs.push(Proof::Canary {
                            published: published.clone(),
                            job: canary.job.as_bytes().into(),
                            epoch: canary.epoch.get(),
                            expected: canary.expected.into(),
                            salt: canary.salt.into(),
                            attestation: work.attestation.encode().into(),
                            verdict: verdict.clone(),
                        });
                    }
                }
                continue;
            }
            let Some(outcome) = outcome else { continue };
            proofs.extend(self.count(work, outcome, public.epoch)?);
            if outcome == Outcome::Mismatch && work.spec.dtype() == DType::Integer {
                let dispute = disputes.next().ok_or("a dispute is missing")?;
                match self.dispute(work, dispute)? {
                    Resolution::WorkerWrong(found) if found.kind() == hanzo::poai::EvidenceKind::StepFraud => {
                        let (batch, inclusion) = place(public, work)?;
                        let fraud = StepFraud::decode(found.body())?.encode().into();
                        proofs.push(Proof::Step { batch, inclusion, fraud, spec: work.spec.encode().into() });
                    }
                    Resolution::WorkerWrong(found) => evidence.push(found),
                    Resolution::WorkerRight | Resolution::Undetermined => {}
                }
            }
        }
        if panels.next().is_some() || disputes.next().is_some() {
            return Err("a panel or a dispute that nobody asked for".into());
        }

        let mut files = Vec::new();
        for proof in proofs {
            let (found, file) = proof.file(&self.policy, &self.keys, &self.model)?;
            evidence.push(found);
            files.push(file);
        }
        let mut orders = Vec::new();
        for found in evidence {
            // The same fault may be found twice: it is charged once.
            let Ok(order) = self.registry.submit(&found, self.policy.client.hash()?.into()) else { continue };
            if order.bps.get() >= 5_000
                && let Some(worker) = self.workers.get_mut(&order.party)
            {
                worker.suspended = true;
            }
            orders.push(OrderRow {
                party: self.name(&order.party)?,
                family: format!("{:?}", order.family),
                kind: format!("{:?}", found.kind()),
                bps: order.bps.get(),
                contest_ms: order.contest_ms,
                evidence: order.evidence.as_bytes().into(),
            });
        }
        let standings = self
            .policy
            .workers
            .iter()
            .map(|member| {
                let worker = self.workers.get(&member.id()?).ok_or("an unknown worker")?;
                let standing =
                    if worker.suspended { "Suspended".into() } else { format!("{:?}", worker.record.standing()) };
                Ok((member.name.clone(), standing))
            })
            .collect::<Result<_>>()?;
        let beacon = opening.beacon.value().into();
        let Opening { draws, .. } = opening;
        Ok((Ruling { epoch: public.epoch, beacon, draws, outcomes, contradicted, standings, orders }, files))
    }

    fn admit(
        &mut self,
        at: usize,
        batch: &PublicBatch,
        signed: &SignedBatch<Signature>,
        epoch: Epoch,
        admitted: &mut Vec<Admitted>,
        proofs: &mut Vec<Proof>,
    ) -> Result<()> {
        let (chain, client) = (self.policy.chain.hash()?.into(), self.policy.client.hash()?.into());
        let id = *signed.body().worker();
        let tree = Batch::from_wire(&batch.attestations.0, *signed.body().prev_batch())?;
        let bodies = batch.attestations.0.chunks(Attestation::LEN).zip(batch.specs.0.chunks(JobSpec::LEN));
        for ((body, spec), place) in bodies.zip(0u32..) {
            let spec = JobSpec::decode(spec)?;
            let nonce = batch.first_nonce + u64::from(place);
            let order = WorkOrder::new(&chain, &client, nonce, spec.clone(), id, 0);
            let inclusion = tree.proof(place)?;
            let worker = self.workers.get_mut(&id).ok_or("an unknown worker")?;
            let context = AdmissionContext {
                directory: &self.keys,
                log: &worker.log,
                order: Some(&order),
                device: &DEVICE,
                quote: None,
                now: epoch,
            };
            let provenance = Provenance::Batch { batch: signed, proof: &inclusion };
            match Admission::new(chain).check(body, &provenance, &context) {
                Ok((attestation, _)) => {
                    worker.log.append(attestation.clone())?;
                    admitted.push(Admitted { attestation, spec, batch: at, place });
                }
                Err(Error::Implausible { .. } | Error::SpecMismatch(_)) => {
                    worker.log.append(Attestation::decode(body)?)?;
                    proofs.push(Proof::Invalid {
                        batch: batch.header.clone(),
                        inclusion: inclusion.encode().into(),
                        attestation: body.into(),
                        nonce,
                        spec: spec.encode().into(),
                    });
                }
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }

    /// A stray body beside the one in the log.
    fn stray(&self, public: &Public, admitted: &[Admitted], stray: &Hex) -> Result<Option<Proof>> {
        let signed = Signed::<Attestation, Signature>::decode(&stray.0)?;
        let body = signed.body();
        let twin = admitted
            .iter()
            .find(|work| work.attestation.worker() == body.worker() && work.attestation.seq() == body.seq());
        let Some(twin) = twin.filter(|twin| twin.attestation != *body) else { return Ok(None) };
        let (batch, inclusion) = place(public, twin)?;
        let attestation = twin.attestation.encode().into();
        Ok(Some(Proof::Equivocation { batch, inclusion, attestation, stray: stray.clone() }))
    }

    /// Audit rates: by value and reputation inside the budget, flagged jobs first; escalated workers and the examiner
    /// always.
    fn rates(&self, admitted: &[Admitted]) -> Result<Vec<Probability>> {
        let attestations: Vec<Attestation> = admitted.iter().map(|work| work.attestation.clone()).collect();
        let flags = Screen::default().flags(&attestations);
        let exposures = attestations
            .iter()
            .zip(flags)
            .map(|(att, screen)| {
                let clean = self.workers.get(&att.worker()).map_or(0, |worker| worker.clean);
                let (gain, stake) = (self.policy.price.into(), self.policy.stake.into());
                Ok(Exposure { attestation: att.hash(), gain, stake, cost: 1_000, screen, clean })
            })
            .collect::<Result<Vec<_>>>()?;
        let halving = std::num::NonZeroU64::new(30).ok_or("no halving")?;
        let floor = Probability::from_ratio(self.policy.floor_ppm, 1_000_000)?;
        // Strength 100: at these prices deterrence alone asks for little.
        let rules = SamplingPolicy::new(floor).kappa_q16(100 << 16).reputation(halving, 1 << 31);
        let budget =
            AuditBudget::new(Probability::from_ratio(self.policy.budget_ppm, 1_000_000)?, Probability::ALWAYS)?;
        let (plan_budget, _) = budget.split(1_000 * attestations.len() as u64);
        let plan = AuditPlan::new(&rules, &exposures, plan_budget)?;
        attestations
            .iter()
            .zip(plan.probabilities())
            .map(|(att, p)| {
                let standing = self.workers.get(&att.worker()).map(|worker| worker.record.standing());
                let p = if standing == Some(Standing::Escalated) { (*p).max(budget.escalated_rate()) } else { *p };
                Ok(if self.member(&att.worker())?.name == EXAMINER { Probability::ALWAYS } else { p })
            })
            .collect()
    }

    /// Counts an outcome on the worker's record.
    fn count(&mut self, work: &Admitted, outcome: Outcome, epoch: u64) -> Result<Option<Proof>> {
        let id = work.attestation.worker();
        let worker = self.workers.get_mut(&id).ok_or("an unknown worker")?;
        let rung = u8::from(work.spec.dtype() != DType::Integer);
        let before = worker.record.standing();
        worker.record.advance(Epoch::new(epoch))?;
        let standing = worker.record.observe(RungId::new(rung), outcome)?;
        worker.clean += u64::from(outcome == Outcome::Match);
        let mismatch = outcome == Outcome::Mismatch;
        worker.audits.push(Audit { attestation: work.attestation.hash().as_bytes().into(), epoch, rung, mismatch });
        let convicted = before != Standing::Convicted && standing == Standing::Convicted;
        let audits = worker.audits.clone();
        Ok(convicted.then(|| Proof::Conviction { worker: id.as_bytes().into(), start: 0, audits }))
    }

    /// Plays a dispute over.
    fn dispute(&self, work: &Admitted, dispute: &crate::public::PublicDispute) -> Result<Resolution> {
        let steps = Steps { model: &self.model, input: *work.spec.input() };
        let decode = |(at, message): &(u64, Hex)| -> Result<_> { Ok((*at, DisputeMessage::decode(&message.0)?)) };
        let mut messages = dispute.messages.iter().map(decode);
        let (at, first) = messages.next().ok_or("an empty dispute")??;
        let DisputeBody::Open { challenger, .. } = first.body() else {
            return Err("a dispute without an opening".into());
        };
        let bond = Bond { challenger: *challenger, amount: 2 * u128::from(self.policy.price) };
        let policy = BisectionPolicy::default();
        let mut open =
            TraceDispute::open(&policy, &first, &work.attestation, &work.spec, &steps, &bond, Millis::new(at))?;
        for message in messages {
            let (at, message) = message?;
            open.apply(&message, &steps, Millis::new(at))?;
        }
        if open.outcome().is_none() {
            // Nobody said more: the side on turn is out of time.
            open.tick(Millis::new(u64::MAX))?;
        }
        Ok(open.outcome().ok_or("an open dispute")?.resolution.clone())
    }

    /// Known answers whose openings match what was published before, by job.
    fn canaries(&self, public: &Public) -> Result<BTreeMap<hanzo::poai::JobId, (Canary, Hex)>> {
        let mut known = BTreeMap::new();
        for opening in &public.openings {
            let canary = Canary {
                chain: self.policy.chain.hash()?.into(),
                epoch: Epoch::new(public.epoch),
                job: opening.job.hash()?.into(),
                expected: opening.expected.hash()?,
                salt: opening.salt.hash()?,
            };
            let commitment: Hash = canary.commitment();
            let published =
                public.canaries.iter().find(|said| said.0 == commitment).ok_or("a canary nobody committed to")?;
            known.insert(canary.job, (canary, published.clone()));
        }
        Ok(known)
    }

    fn member(&self, id: &PartyId) -> Result<&crate::public::Member> {
        let everybody = self.policy.workers.iter().chain(&self.policy.verifiers);
        Ok(everybody.into_iter().find(|member| member.id.0 == id.as_bytes()).ok_or("an unknown party")?)
    }

    fn name(&self, id: &PartyId) -> Result<String> {
        Ok(self.member(id)?.name.clone())
    }
}

/// The signed header an attestation stands under, and its proof.
fn place(public: &Public, work: &Admitted) -> Result<(Hex, Hex)> {
    let batch = public.batches.get(work.batch).ok_or("no such batch")?;
    let signed = SignedBatch::<Signature>::decode(&batch.header.0)?;
    let tree = Batch::from_wire(&batch.attestations.0, *signed.body().prev_batch())?;
    Ok((batch.header.clone(), tree.proof(work.place)?.encode().into()))
}
