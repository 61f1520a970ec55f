//! Who checks the work: the beacon that nobody can steer, verifiers drawn by it who compute the job again, and the dispute that
//! turns a mismatch into evidence.

use std::collections::BTreeMap;
use std::ops::Range;

use hanzo::bitdelta::Workspace;
use hanzo::poai::{
    Attestation, Beacon, Candidate, ChainId, Claim, Commitments, Comparator as _, Contribution, DType,
    DefaultComparator, DisputeBody, DisputeMessage, DisputePolicy, Environment, Epoch, JobId, Millis, Observation,
    OutputDispute, Panel, PartyId, Resolved, Side, Signed, StateHash, Suite, Verdict, assign_verifiers, dispute_id,
};
use hanzo::pqc::Signature;
use hanzo::pqc::attestation::UnixTime;
use rand_chacha::ChaCha20Rng;
use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::clocks::{Clocks, Part};
use crate::custody::{Custody, Lease};
use crate::network::{Answer, Positions, Weights, run};
use crate::party::{Directory, MEASUREMENT, Party, secret};

/// The network.
pub(crate) const CHAIN: ChainId = ChainId::new(*b"job_lifecycle example, chain 1\0\0");
/// Milliseconds for each phase of a dispute.
const PHASE_MS: u64 = 100;

/// How every machine computes: in one fixed order, so that an honest answer is the same to the bit.
pub(crate) fn environment() -> Environment {
    Environment {
        dtype: DType::F32,
        batch_invariant: true,
        fixed_reduction_order: true,
        kernel_class: 1,
        tensor_parallel: 1,
        device_class: 1,
        runtime: MEASUREMENT,
    }
}

/// A claim to be checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work<'a> {
    /// What the worker signed.
    pub(crate) attestation: &'a Attestation,
    /// The job's input.
    pub(crate) positions: &'a Positions,
    /// Whose adapter.
    pub(crate) tenant: usize,
    /// At which level.
    pub(crate) level: usize,
}

/// What re-execution needs of the rest of the house.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    /// Gives verifiers the tenant's key, as it does workers.
    pub(crate) custody: &'a mut Custody,
    /// The base network.
    pub(crate) base: &'a Weights<f32>,
    /// Keys to check verdicts with.
    pub(crate) directory: &'a Directory,
    /// Scratch memory.
    pub(crate) workspace: &'a mut Workspace,
    /// Stopwatches.
    pub(crate) clocks: &'a mut Clocks,
    /// The time.
    pub(crate) now: UnixTime,
}

/// The verifiers.
#[derive(Debug)]
pub(crate) struct Verifiers {
    parties: Vec<Party>,
    candidates: Vec<Candidate>,
    leases: Vec<BTreeMap<usize, Lease>>,
    rng: ChaCha20Rng,
    /// Jobs that each has computed again.
    pub(crate) done: Vec<u64>,
    /// Forward passes computed again.
    pub(crate) positions: u64,
}

impl Verifiers {
    /// Verifiers of equal weight.
    pub(crate) fn new(parties: Vec<Party>, rng: ChaCha20Rng) -> Self {
        let candidates = parties.iter().map(|p| Candidate { id: p.id, owner: p.id, weight: 1 }).collect();
        let (leases, done) = (parties.iter().map(|_| BTreeMap::new()).collect(), vec![0; parties.len()]);
        Self { parties, candidates, leases, rng, done, positions: 0 }
    }

    /// Who they are.
    pub(crate) fn parties(&self) -> &[Party] {
        &self.parties
    }

    /// The randomness of an epoch: every verifier commits to a secret, a final block closes the commitments, then all are revealed.
    pub(crate) fn beacon(&mut self, epoch: Epoch, finality: [u8; 32]) -> Result<Beacon> {
        let secrets: Vec<[u8; 32]> = self.parties.iter().map(|_| secret(&mut self.rng)).collect();
        let mut commitments = Commitments::new(CHAIN, epoch);
        for (party, opening) in self.parties.iter().zip(&secrets) {
            commitments.commit(Contribution::new(CHAIN, epoch, party.id, opening))?;
        }
        let mut round = commitments.close(finality, None, self.parties.len() as u32)?;
        for (party, opening) in self.parties.iter().zip(&secrets) {
            round.reveal(&party.id, opening)?;
        }
        Ok(*round.finish()?.beacon())
    }

    /// The verifiers at these slots of a job's draw.
    pub(crate) fn draw(&self, beacon: &Beacon, job: &JobId, worker: &PartyId, slots: Range<u32>) -> Result<Vec<usize>> {
        let drawn = assign_verifiers(beacon, job, 0, worker, &self.candidates, slots.end)?;
        let place = |id: &PartyId| self.parties.iter().position(|party| party.id == *id);
        drawn
            .iter()
            .skip(slots.start as usize)
            .map(|id| place(id).ok_or_else(|| "an unknown verifier".into()))
            .collect()
    }

    /// A panel of these verifiers on a claim: each computes, commits, reveals. Also whether any found a mismatch, and who.
    pub(crate) fn panel(
        &mut self,
        bench: &mut Bench<'_>,
        work: &Work<'_>,
        who: &[usize],
        epoch: Epoch,
    ) -> Result<Panel> {
        let ids: Vec<PartyId> = who.iter().map(|&v| self.parties[v].id).collect();
        let mut panel = Panel::new(work.attestation.hash(), epoch, &ids)?;
        let verdicts = self.verdicts(bench, work, who, epoch)?;
        for (verdict, salt) in &verdicts {
            panel.commit(&verdict.verifier, verdict.commit(salt))?;
        }
        for (verdict, salt) in verdicts {
            panel.reveal(verdict, &salt)?;
        }
        Ok(panel)
    }

    /// An output-only dispute, brought by verifier `challenger` before three others.
    pub(crate) fn dispute(
        &mut self,
        bench: &mut Bench<'_>,
        work: &Work<'_>,
        judged: &[usize],
        fresh: &[usize],
        epoch: Epoch,
        at: Millis,
    ) -> Result<Resolved> {
        let attestation = work.attestation.hash();
        let challenger = self.parties[*judged.first().ok_or("a dispute without a verdict")?].id;
        let id = dispute_id(&attestation, &challenger, 0);
        let body = DisputeBody::Open {
            attestation,
            challenger,
            claim: Claim::OutputOnly,
            n_ops: 0,
            final_state: StateHash::new([0; 32]),
            nonce: 0,
        };
        let message = DisputeMessage::new(Side::Challenger, id, 0, body)?;
        let ids = |places: &[usize]| places.iter().map(|&v| self.parties[v].id).collect::<Vec<_>>();
        let (judges, excluded) = (ids(fresh), ids(judged));
        let panel = Panel::new(attestation, epoch, &judges)?;
        let policy = DisputePolicy::new(PHASE_MS)?;
        let mut dispute =
            OutputDispute::open(&policy, &message, work.attestation, &environment(), panel, &excluded, at)?;
        let verdicts = self.verdicts(bench, work, fresh, epoch)?;
        for (verdict, salt) in &verdicts {
            dispute.commit(&verdict.verifier, verdict.commit(salt), at)?;
        }
        let mut resolved = None;
        for (verdict, salt) in verdicts {
            resolved = dispute.reveal(verdict, &salt, at)?;
        }
        resolved.ok_or_else(|| "a dispute did not end with its last verdict".into())
    }

    /// Forgets keys and adapters; they are fetched again in the next epoch.
    pub(crate) fn end_epoch(&mut self) {
        self.leases.iter_mut().for_each(BTreeMap::clear);
    }

    /// Signed verdicts, with the salts of their commitments.
    fn verdicts(
        &mut self,
        bench: &mut Bench<'_>,
        work: &Work<'_>,
        who: &[usize],
        epoch: Epoch,
    ) -> Result<Vec<(Verdict, [u8; 32])>> {
        let mut verdicts = Vec::with_capacity(who.len());
        for &verifier in who {
            let again = self.compute(bench, work, verifier)?;
            let salt = secret(&mut self.rng);
            let party = &self.parties[verifier];
            let verdict = bench.clocks.time(Part::Poai, || judge(work.attestation, &again, party.id, epoch))?;
            let directory = bench.directory;
            let verdict = bench.clocks.time(Part::Pqc, || -> Result<Verdict> {
                let signed = Signed::<_, Signature>::sign(verdict, &party.key)?;
                let key = directory.get(&(party.id, Suite::ML_DSA_65)).ok_or("a verifier without a key")?;
                signed.verify(key)?;
                Ok(signed.into_body())
            })?;
            verdicts.push((verdict, salt));
        }
        Ok(verdicts)
    }

    fn compute(&mut self, bench: &mut Bench<'_>, work: &Work<'_>, verifier: usize) -> Result<Answer> {
        let Bench { custody, base, workspace, clocks, now, .. } = bench;
        if !self.leases[verifier].contains_key(&work.tenant) {
            let machine = &self.parties[verifier].machine;
            let lease = clocks.time(Part::Pqc, || custody.lease(machine, work.tenant, *now))?;
            self.leases[verifier].insert(work.tenant, lease);
        }
        let lease = &self.leases[verifier][&work.tenant];
        let answer = clocks.time(Part::Bitdelta, || {
            let adapter = custody.adapter(lease, work.tenant, work.level)?;
            run(base, adapter, work.positions, workspace)
        })?;
        self.done[verifier] += 1;
        self.positions += work.positions.len() as u64;
        Ok(answer)
    }
}

/// Compares what was claimed with what came out again.
fn judge(attestation: &Attestation, again: &Answer, verifier: PartyId, epoch: Epoch) -> Result<Verdict> {
    let comparator = DefaultComparator::new(&environment())?;
    let (again_is, claimed) = (Observation::Digest(again.digest), Observation::Digest(attestation.output()));
    let compared = comparator.compare(&again_is, &claimed);
    let judgement = comparator.thresholds().judge(compared)?;
    Ok(Verdict {
        decision: judgement.decision,
        comparator: comparator.kind(),
        verifier,
        attestation: attestation.hash(),
        epoch,
        score_q32: judgement.score_q32,
        transcript: Sha256::digest(again.classes.iter().flat_map(|c| c.to_le_bytes()).collect::<Vec<u8>>()).into(),
    })
}
