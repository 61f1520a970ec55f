//! Who works and who checks: honest parties and named cheats, and what they publish.

use hanzo::poai::{
    Attestation, AttestationHash, Batch, BatchHash, Canary, ChainId, Claim, Comparator as _, Contribution, DType,
    Decision, DisputeBody, DisputeMessage, Epoch, EvidenceItem, EvidenceSet, Hash, JobId, JobSpec, Kl, Logits, Millis,
    Observation, PartyId, Side, Signed, StateHash, Suite, TopK, Trace, Verdict, dispute_id, split_points,
};
use hanzo::pqc::{Signature, SignatureAlgorithm, SigningKey};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::judge::{Admitted, Book, EXAMINER, Opening};
use crate::model::{Machine, Model, Steps, TOKENS, VOCABULARY, environment};
use crate::public::{
    Hex, Member, Policy, Public, PublicBatch, PublicCanary, PublicContribution, PublicDispute, PublicPanel, PublicSeat,
    signed,
};

/// What a worker does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// Nothing.
    Honest,
    /// Spoils a position in one job of ten, without computing it.
    Lazy,
    /// Computes four jobs of ten with weights in four bits.
    Downgrades,
    /// Claims more operations than its machine can do, once in an epoch.
    Boasts,
    /// Signs a second answer to one job of each epoch.
    TwoFaced,
    /// Honest for half of all epochs, then spoils every second job.
    Sleeper,
    /// Plants answers that are known to be wrong.
    Examiner,
}

/// What a verifier does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Diligence {
    /// Executes again.
    Honest,
    /// Says match without looking.
    Stamps,
    /// Commits and does not reveal, to verdicts and beacon alike.
    Mute,
}

/// The parties by name.
pub(crate) const WORKERS: [(&str, Conduct, DType); 9] = [
    ("ada", Conduct::Honest, DType::Integer),
    ("bea", Conduct::Honest, DType::Bf16),
    ("cleo", Conduct::Honest, DType::Bf16),
    ("lazy", Conduct::Lazy, DType::Integer),
    ("downgrader", Conduct::Downgrades, DType::Bf16),
    ("boaster", Conduct::Boasts, DType::Integer),
    ("two-faced", Conduct::TwoFaced, DType::Integer),
    ("sleeper", Conduct::Sleeper, DType::Integer),
    (EXAMINER, Conduct::Examiner, DType::Integer),
];

/// The verifiers by name; all of them also share in the beacon.
pub(crate) const VERIFIERS: [(&str, Diligence); 7] = [
    ("vera", Diligence::Honest),
    ("viktor", Diligence::Honest),
    ("vilma", Diligence::Honest),
    ("vito", Diligence::Honest),
    ("volker", Diligence::Honest),
    ("rubber-stamp", Diligence::Stamps),
    ("mute", Diligence::Mute),
];

/// Everybody with their secrets.
pub(crate) struct Fleet {
    policy: Policy,
    rng: ChaCha20Rng,
    workers: Vec<Worker>,
    verifiers: Vec<SigningKey>,
    nonce: u64,
}

struct Worker {
    key: SigningKey,
    id: PartyId,
    conduct: Conduct,
    dtype: DType,
    seq: u64,
    prev: Option<AttestationHash>,
    prev_batch: BatchHash,
}

/// A job as done, with what stays with the worker.
struct Done {
    attestation: Attestation,
    spec: JobSpec,
    nonce: u64,
    /// Running hashes of whole-number work.
    sums: Vec<Hash>,
    evidence: Option<Vec<u8>>,
}

impl Fleet {
    /// A fleet from a seed, and its policy. KL thresholds: twice and six times the worst honest score of 400 answers.
    pub(crate) fn new(seed: u64, epochs: u64) -> Result<(Self, Policy)> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let model = Model::new();
        let mut key = || SigningKey::generate(SignatureAlgorithm::MlDsa65, &mut rng);
        let member = |name: &str, key: &SigningKey, dtype: DType| {
            let id = Sha256::digest(key.verifying_key().as_bytes());
            let owner = Sha256::digest(format!("owner of {name}"));
            let key = key.verifying_key().as_bytes().into();
            Member { name: name.into(), id: id.into(), owner: owner.into(), key, dtype: dtype as u8 }
        };
        let keys: Vec<SigningKey> = WORKERS.iter().map(|_| key()).collect();
        let verifiers: Vec<SigningKey> = VERIFIERS.iter().map(|_| key()).collect();
        let worst = worst_honest(&model)?;
        let q32 = |value: f64| (value * 4_294_967_296.0) as u64;
        let policy = Policy {
            chain: [0xc4; 32].into(),
            client: [0xc1; 32].into(),
            model: model.hash().into(),
            epochs,
            price: 1_000,
            stake: 1_000_000,
            floor_ppm: 50_000,
            budget_ppm: 100_000,
            flag_q32: q32(2.0 * worst),
            mismatch_q32: q32(6.0 * worst),
            workers: WORKERS.iter().zip(&keys).map(|((name, _, dtype), key)| member(name, key, *dtype)).collect(),
            verifiers: VERIFIERS
                .iter()
                .zip(&verifiers)
                .map(|((name, _), key)| member(name, key, DType::Integer))
                .collect(),
        };
        let workers = keys
            .into_iter()
            .zip(WORKERS)
            .zip(&policy.workers)
            .map(|((key, (_, conduct, dtype)), member)| {
                let id = member.id()?;
                Ok(Worker { key, id, conduct, dtype, seq: 0, prev: None, prev_batch: BatchHash::new([0; 32]) })
            })
            .collect::<Result<_>>()?;
        Ok((Self { policy: policy.clone(), rng, workers, verifiers, nonce: 0 }, policy))
    }

    /// Plays one epoch and returns all that was published.
    pub(crate) fn epoch(&mut self, book: &Book, epoch: u64, jobs: u64) -> Result<Public> {
        let mut public = Public {
            epoch,
            canaries: Vec::new(),
            batches: Vec::new(),
            strays: Vec::new(),
            contributions: Vec::new(),
            panels: Vec::new(),
            disputes: Vec::new(),
            openings: Vec::new(),
        };
        let mut done: Vec<Done> = Vec::new();
        for at in 0..self.workers.len() {
            if book.works(&self.workers[at].id) {
                done.extend(self.work(book.model(), at, epoch, jobs, &mut public)?);
            }
        }
        let (chain, number) = (ChainId::new([0xc4; 32]), Epoch::new(epoch));
        for (member, (_, diligence)) in self.policy.verifiers.clone().iter().zip(VERIFIERS) {
            let opening = self.secret();
            let party = member.id()?;
            let said = Contribution::new(chain, number, party, &opening);
            let opening = (diligence != Diligence::Mute).then(|| opening.into());
            public.contributions.push(PublicContribution {
                party: party.as_bytes().into(),
                commitment: said.commitment.into(),
                opening,
            });
        }
        // What everybody can work out by now; only then are verifiers asked.
        let opening = book.clone().open(&public)?;
        for at in &opening.drawn {
            self.check(book, &opening, &opening.admitted[*at], &done, &mut public)?;
        }
        Ok(public)
    }

    fn work(&mut self, model: &Model, at: usize, epoch: u64, jobs: u64, public: &mut Public) -> Result<Vec<Done>> {
        let (chain, client) = (self.policy.chain.hash()?.into(), self.policy.client.hash()?.into());
        let (conduct, dtype, first_nonce) = (self.workers[at].conduct, self.workers[at].dtype, self.nonce);
        let jobs = if conduct == Conduct::Examiner { 4 } else { jobs };
        let mut done = Vec::new();
        for index in 0..jobs {
            let input = Sha256::digest([epoch.to_be_bytes(), (at as u64).to_be_bytes(), index.to_be_bytes()].concat());
            let spec = JobSpec::builder(model.hash().into(), input.into())
                .dtype(dtype)
                .max_tokens(TOKENS as u32)
                .max_price(self.policy.price.into())
                .build()?;
            let job = spec.job_id(&chain, &client, self.nonce);
            let cheats = match conduct {
                Conduct::Lazy => self.rng.random_ratio(1, 10),
                Conduct::Sleeper => 2 * epoch >= self.policy.epochs && self.rng.random_ratio(1, 2),
                Conduct::Downgrades => self.rng.random_ratio(4, 10),
                Conduct::Examiner => index % 2 == 1,
                Conduct::Boasts => index == 1,
                Conduct::Honest | Conduct::TwoFaced => false,
            };
            let mut work = self.execute(model, at, spec, job, epoch, cheats)?;
            work.nonce = self.nonce;
            self.nonce += 1;
            if conduct == Conduct::Examiner {
                let steps = Steps { model, input: *work.spec.input() };
                let expected = *steps.run(None).last().ok_or("no output")?;
                let canary = Canary { chain, epoch: Epoch::new(epoch), job, expected, salt: self.secret() };
                public.canaries.push(canary.commitment().into());
                let job = job.as_bytes().into();
                public.openings.push(PublicCanary { job, expected: expected.into(), salt: canary.salt.into() });
            }
            let worker = &mut self.workers[at];
            worker.seq += 1;
            worker.prev = Some(work.attestation.hash());
            done.push(work);
        }
        let claims: Vec<Attestation> = done.iter().map(|work| work.attestation.clone()).collect();
        let worker = &mut self.workers[at];
        let batch = Batch::new(&claims, worker.prev_batch)?.sign::<Signature>(&worker.key)?;
        worker.prev_batch = batch.body().hash();
        public.batches.push(PublicBatch {
            header: signed(&batch)?,
            attestations: Hex(claims.iter().flat_map(Attestation::encode).collect()),
            specs: Hex(done.iter().flat_map(|work| work.spec.encode()).collect()),
            first_nonce,
        });
        if conduct == Conduct::TwoFaced && epoch > 0 {
            let twin = &claims[0];
            let other =
                self.attest(at, *twin.hash().as_bytes(), twin.job(), epoch, done[0].spec.input(), None, None)?;
            let other = other.seq(twin.seq()).prev(twin.prev()).build()?;
            let stray = Signed::<_, Signature>::sign(other, &self.workers[at].key)?;
            public.strays.push(signed(&stray)?);
        }
        Ok(done)
    }

    fn execute(
        &mut self,
        model: &Model,
        at: usize,
        spec: JobSpec,
        job: JobId,
        epoch: u64,
        cheats: bool,
    ) -> Result<Done> {
        let input = *spec.input();
        let boasts = self.workers[at].conduct == Conduct::Boasts && cheats;
        if spec.dtype() == DType::Integer {
            let wrong = (cheats && !boasts).then(|| self.rng.random_range(0..TOKENS as u64));
            let steps = Steps { model, input };
            let sums = steps.run(wrong);
            let trace = trace(&steps, &sums)?;
            let output = *sums.last().ok_or("no output")?;
            let mut claim = self.attest(at, output, job, epoch, &input, Some(trace.hash().into()), None)?;
            if boasts {
                claim = claim.flops(1 << 60);
            }
            return Ok(Done { attestation: claim.build()?, spec, nonce: 0, sums, evidence: None });
        }
        // Every machine adds up in its own way.
        let machine = if cheats { Machine::FourBits } else { Machine::Blocks([16, 12, 24][at % 3]) };
        let logits = model.bfloat(&input, machine);
        let rows = Logits::new(&logits, VOCABULARY)?;
        let top = TopK::from_logits(&rows, 16)?;
        let evidence = EvidenceSet::new(vec![(EvidenceItem::TopK, top.encode())])?;
        let tokens: Vec<u8> =
            top.rows().filter_map(|row| row.first()).flat_map(|(token, _)| token.to_be_bytes()).collect();
        let output = Sha256::digest(tokens).into();
        let claim = self.attest(at, output, job, epoch, &input, None, Some(evidence.hash()))?;
        Ok(Done { attestation: claim.build()?, spec, nonce: 0, sums: Vec::new(), evidence: Some(evidence.encode()) })
    }

    #[expect(clippy::too_many_arguments, reason = "the fields that differ between claims")]
    fn attest(
        &mut self,
        at: usize,
        output: Hash,
        job: JobId,
        epoch: u64,
        input: &Hash,
        trace: Option<Hash>,
        evidence: Option<Hash>,
    ) -> Result<hanzo::poai::AttestationBuilder> {
        let worker = &self.workers[at];
        let duration_us = 2_000 + self.rng.random_range(0..100);
        Ok(Attestation::builder()
            .suite(Suite::ML_DSA_65)
            .chain(self.policy.chain.hash()?.into())
            .epoch(Epoch::new(epoch))
            .seq(worker.seq)
            .prev(worker.prev)
            .worker(worker.id)
            .job(job)
            .input(*input)
            .output(output)
            .model(self.policy.model.hash()?.into())
            .environment(environment(worker.dtype).hash())
            .trace(trace)
            .evidence(evidence)
            .started(Millis::new(epoch * 3_600_000))
            .duration_us(duration_us)
            .gpu_util_ppm(800_000)
            .flops(2 * 5_376 * TOKENS as u128)
            .tokens_out(TOKENS as u32))
    }

    /// The panels of a drawn job, and the dispute that a mismatch leads to.
    fn check(
        &mut self,
        book: &Book,
        opening: &Opening,
        work: &Admitted,
        done: &[Done],
        public: &mut Public,
    ) -> Result<()> {
        let own = done.iter().find(|own| own.attestation == work.attestation).ok_or("a job nobody did")?;
        let (mut mismatches, mut matches, mut again, mut challenger) = (0, 0, false, None);
        for slots in [0..1, 1..3] {
            if slots.start == 1 && !again {
                break;
            }
            let mut seats = Vec::new();
            for id in book.seats(&opening.beacon, work, slots)? {
                let place = self.policy.verifiers.iter().position(|member| member.id.0 == id.as_bytes());
                let place = place.ok_or("an unknown verifier")?;
                let mut verdict = book.verdict(work, own.evidence.as_deref(), id)?;
                let diligence = VERIFIERS[place].1;
                if diligence == Diligence::Stamps {
                    verdict.decision = Decision::Match;
                    verdict.score_q32 = 0;
                }
                let salt = self.secret();
                let commitment = verdict.commit(&salt).into();
                let mute = diligence == Diligence::Mute;
                again |= mute || verdict.decision == Decision::Mismatch;
                if !mute && verdict.decision == Decision::Mismatch {
                    mismatches += 1;
                    challenger = challenger.or(Some(id));
                } else if !mute {
                    matches += 1;
                }
                let said = Signed::<Verdict, Signature>::sign(verdict, &self.verifiers[place])?;
                let reveal = if mute { None } else { Some((signed(&said)?, salt.into())) };
                seats.push(PublicSeat { verifier: id.as_bytes().into(), commitment, reveal });
            }
            let attestation = work.attestation.hash().as_bytes().into();
            public.panels.push(PublicPanel { attestation, evidence: own.evidence.clone().map(Hex), seats });
        }
        let planted = public.openings.iter().any(|canary| canary.job.0 == work.attestation.job().as_bytes());
        if mismatches > matches && work.spec.dtype() == DType::Integer && !planted {
            let challenger = challenger.ok_or("a mismatch by nobody")?;
            public.disputes.push(dispute(book.model(), own, challenger)?);
        }
        Ok(())
    }

    fn secret(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }
}

/// The messages of a bisection between a worker with a wrong trace and a verifier with the right one.
fn dispute(model: &Model, own: &Done, challenger: PartyId) -> Result<PublicDispute> {
    let att = &own.attestation;
    let steps = Steps { model, input: *own.spec.input() };
    let right = steps.run(None);
    let (ours, theirs) = (trace(&steps, &right)?, trace(&steps, &own.sums)?);
    let id = dispute_id(&att.hash(), &challenger, 0);
    let open = |trace: &Trace, at| trace.open(at);
    let mut said: Vec<DisputeMessage> = Vec::new();
    let body = DisputeBody::Open {
        attestation: att.hash(),
        challenger,
        claim: Claim::Trace,
        n_ops: TOKENS as u64,
        final_state: open(&ours, TOKENS as u64)?.state,
        nonce: 0,
    };
    said.push(DisputeMessage::new(Side::Challenger, id, 0, body)?);
    let (mut lo, mut hi, mut round) = (0, TOKENS as u64, 0);
    while hi - lo > 1 {
        let mut at = split_points(lo, hi, 16)?;
        if round == 0 {
            at.insert(0, lo);
            at.push(hi);
        }
        let points = at.iter().map(|at| open(&theirs, *at)).collect::<hanzo::poai::Result<Vec<_>>>()?;
        said.push(DisputeMessage::new(Side::Worker, id, round, DisputeBody::Respond { lo, hi, points })?);
        let ends: Vec<u64> = [lo].into_iter().chain(at).chain([hi]).collect();
        let state = |trace: &Trace, at: u64| -> Result<StateHash> { Ok(open(trace, at)?.state) };
        for pair in ends.windows(2).filter(|pair| pair[0] < pair[1]) {
            if state(&ours, pair[0])? == state(&theirs, pair[0])? && state(&ours, pair[1])? != state(&theirs, pair[1])?
            {
                (lo, hi) = (pair[0], pair[1]);
                break;
            }
        }
        said.push(DisputeMessage::new(Side::Challenger, id, round, DisputeBody::Choose { lo, hi })?);
        round += 1;
    }
    let operands = own.sums[lo as usize].to_vec();
    said.push(DisputeMessage::new(Side::Worker, id, round, DisputeBody::Prove { op: lo, operands })?);
    let start = (att.epoch().get() + 1) * 3_600_000;
    let messages = (0u64..).zip(said).map(|(at, message)| (start + 1_000 * at, message.encode().into())).collect();
    Ok(PublicDispute { attestation: att.hash().as_bytes().into(), messages })
}

fn trace(steps: &Steps<'_>, sums: &[Hash]) -> Result<Trace> {
    Ok(Trace::new((0u64..).zip(sums).map(|(at, sum)| steps.state(at, sum)).collect())?)
}

/// The largest score of honest answers on the machines of the fleet.
fn worst_honest(model: &Model) -> Result<f64> {
    let mut worst = 0.0f64;
    for index in 0u64..134 {
        let input = Sha256::digest(index.to_be_bytes()).into();
        let again = model.bfloat(&input, Machine::Blocks(48));
        let reference = Observation::Logits(Logits::new(&again, VOCABULARY)?);
        for block in [12, 16, 24] {
            let logits = model.bfloat(&input, Machine::Blocks(block));
            let top = TopK::from_logits(&Logits::new(&logits, VOCABULARY)?, 16)?;
            worst = worst.max(Kl::new().compare(&reference, &Observation::TopK(&top))?.value());
        }
    }
    Ok(worst)
}
