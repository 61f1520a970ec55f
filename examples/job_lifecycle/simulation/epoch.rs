//! Attestation -> sampled re-execution -> dispute -> settlement block -> money -> memory and feedback.

use std::collections::VecDeque;

use hanzo::glue::slash;
use hanzo::hmm::market::{Outcome, Status};
use hanzo::metering::{Effect, Resources};
use hanzo::poai::{
    Admission, AdmissionContext, Attestation, Batch, Beacon, DeviceLimits, Epoch, Event, JobState, Millis, ModelHash,
    Output, PartyId, Probability, Provenance, QualityPolicy, RungId, Sampler, SignedBatch, Suite,
};
use hanzo::pqc::Signature;

use super::serve::subject;
use super::{Flight, START_S, Simulation, WINDOW_MS, unix_time};
use crate::Result;
use crate::audit::{Bench, CHAIN, Work, environment};
use crate::bank::BASE_UNITS_PER_USD;
use crate::clocks::Part;
use crate::market::QUALITY_PER_USD;
use crate::memory::Seen;
use crate::network::{LEVELS, PARAMETERS};
use crate::summary::Caught;

/// What a machine of the network can do at most, and what the model needs for a forward pass.
const DEVICE: DeviceLimits = DeviceLimits { peak_flops: 1_000_000_000_000, params: PARAMETERS as u128 };
/// What a job holds on its machine: two cores, 8 GiB, half a GPU.
const HELD: (u64, u64, u64) = (2_000, 8 << 30, 500);
/// The network's rung for bit-exact comparisons.
const EXACT: RungId = RungId::new(0);

/// Where an epoch stands in time.
#[derive(Debug, Clone, Copy)]
struct Close {
    epoch: Epoch,
    beacon: Beacon,
    /// When the audits are done.
    at: Millis,
}

impl Simulation {
    /// Takes the epoch's jobs from delivery to their end.
    pub(super) fn close_epoch(&mut self) -> Result<()> {
        let epoch = Epoch::new(self.epoch);
        let mut flights = std::mem::take(&mut self.flights);
        let last = flights.iter().map(|flight| flight.finished_ms).max().unwrap_or(0);
        self.settled_ms = self.settled_ms.max(last);
        let committed = Millis::new(self.settled_ms + 1);

        let attestations = self.attest(&mut flights, epoch)?;
        let close = self.clocks.time(Part::Poai, || -> Result<Close> {
            for flight in &mut flights {
                flight.job.apply(Event::Committed, committed)?;
            }
            let beacon = self.verifiers.beacon(epoch, self.chain.tip())?;
            Ok(Close { epoch, beacon, at: committed.saturating_add(1) })
        })?;
        self.audit(&mut flights, &attestations, &close)?;
        let settled = self.settle(&mut flights, &close)?;
        self.feed_back(&flights, settled)?;

        self.verifiers.end_epoch();
        self.workers.iter_mut().for_each(|worker| worker.leases.clear());
        Ok(())
    }

    /// Every worker attests its jobs in one signed batch, which the network admits attestation by attestation.
    fn attest(&mut self, flights: &mut [Flight], epoch: Epoch) -> Result<Vec<Attestation>> {
        let environment = environment().hash();
        let resources = Resources::new(HELD.0, HELD.1, HELD.2)?;
        let mut attestations = Vec::with_capacity(flights.len());
        let mut by_worker: Vec<Vec<usize>> = vec![Vec::new(); self.workers.len()];
        for (index, flight) in flights.iter_mut().enumerate() {
            let worker = &mut self.workers[flight.worker];
            let job = *flight.job.id();
            let bank = &self.bank;
            let window = self.clocks.time(Part::Metering, || {
                bank.meter(job.as_bytes(), resources, flight.started_ms, flight.finished_ms)
            })?;
            let held_ns = u128::from(window.to.as_nanos() - window.from.as_nanos()).max(1);
            let positions = flight.positions.len() as u32;
            let attestation = self.clocks.time(Part::Poai, || -> Result<Attestation> {
                let attestation = Attestation::builder()
                    .suite(Suite::ML_DSA_65)
                    .chain(CHAIN)
                    .epoch(epoch)
                    .worker(worker.party.id)
                    .job(job)
                    .input(*flight.job.spec().input())
                    .output(flight.output)
                    .model(ModelHash::new(self.custody.base()))
                    .environment(environment)
                    .seq(worker.seq)
                    .prev(worker.tip)
                    .started(Millis::new(flight.started_ms))
                    .duration_us((held_ns / 1_000) as u64)
                    .gpu_util_ppm((window.usage.gpu / held_ns * 1_000) as u32)
                    .mem_bytes((window.usage.memory / held_ns) as u64)
                    .flops(LEVELS[flight.level].flops(positions))
                    .tokens_out(positions)
                    .build()?;
                flight.job.apply(Event::Started(worker.party.id), Millis::new(flight.started_ms))?;
                flight.job.apply(Event::Attest(Box::new(attestation.clone())), Millis::new(flight.finished_ms))?;
                Ok(attestation)
            })?;
            worker.seq += 1;
            worker.tip = Some(attestation.hash());
            flight.window = Some(window);
            by_worker[flight.worker].push(index);
            attestations.push(attestation);
        }
        for (worker, indices) in by_worker.iter().enumerate().filter(|(_, indices)| !indices.is_empty()) {
            let batch: Vec<Attestation> = indices.iter().map(|&index| attestations[index].clone()).collect();
            self.admit(worker, &batch, indices, flights, epoch)?;
        }
        Ok(attestations)
    }

    /// Signs a worker's batch, and checks everything in it as the network does.
    fn admit(
        &mut self,
        worker: usize,
        batch: &[Attestation],
        indices: &[usize],
        flights: &[Flight],
        epoch: Epoch,
    ) -> Result<()> {
        let worker = &mut self.workers[worker];
        let batch_of = Batch::new(batch, worker.batch)?;
        let key = &worker.party.key;
        let wire = self.clocks.time(Part::Pqc, || batch_of.sign::<Signature>(key)?.encode())?;
        let signed = SignedBatch::<Signature>::decode(&wire)?;
        worker.batch = signed.body().hash();
        let (log, directory) = (&mut worker.log, &self.directory);
        // Nearly all of a check is the signature, so this is the time of the cryptography.
        self.clocks.time(Part::Pqc, || -> Result<()> {
            for (place, (attestation, &index)) in batch.iter().zip(indices).enumerate() {
                let proof = batch_of.proof(place as u32)?;
                let provenance = Provenance::Batch { batch: &signed, proof: &proof };
                let context = AdmissionContext {
                    directory,
                    log,
                    order: Some(&flights[index].order),
                    device: &DEVICE,
                    quote: None,
                    now: epoch,
                };
                let (admitted, _) = Admission::new(CHAIN).check(&attestation.encode(), &provenance, &context)?;
                log.append(admitted)?;
            }
            Ok(())
        })
    }

    /// Draws jobs by the beacon and follows what each draw leads to.
    fn audit(&mut self, flights: &mut [Flight], attestations: &[Attestation], close: &Close) -> Result<()> {
        let rate = Probability::from_ratio(u64::from(self.audit_ppm), 1_000_000)?;
        let sampler = Sampler::new(&close.beacon);
        for (flight, attestation) in flights.iter_mut().zip(attestations) {
            let worker = &self.workers[flight.worker];
            if worker.convicted {
                continue;
            }
            let rate = if worker.escalated { Probability::ALWAYS } else { rate };
            let drawn = sampler.draw(flight.job.id(), 0, rate).selected();
            let outputs = self.clocks.time(Part::Poai, || flight.job.apply(Event::Beacon { drawn }, close.at))?;
            self.summary.epoch(self.epoch).audited += u64::from(drawn);
            self.follow(flight, attestation, outputs, close)?;
        }
        Ok(())
    }

    /// Does what a job asks for, and what that leads to, until it asks for nothing more.
    fn follow(
        &mut self,
        flight: &mut Flight,
        attestation: &Attestation,
        outputs: Vec<Output>,
        close: &Close,
    ) -> Result<()> {
        let (job, worker) = (*flight.job.id(), attestation.worker());
        let positions = flight.positions.clone();
        let work = Work { attestation, positions: &positions, tenant: flight.tenant, level: flight.level };
        let mut judged: Vec<usize> = Vec::new();
        let mut queue: VecDeque<Output> = outputs.into();
        while let Some(output) = queue.pop_front() {
            self.queue_money(flight, &output)?;
            let mut bench = Bench {
                custody: &mut self.custody,
                base: &self.bases.full,
                directory: &self.directory,
                workspace: &mut self.workspace,
                clocks: &mut self.clocks,
                now: unix_time(close.at.get()),
            };
            let event = match output {
                Output::RequestAudit { slots, .. } => {
                    let drawn = self.verifiers.draw(&close.beacon, &job, &worker, slots)?;
                    judged.extend(&drawn);
                    Some(Event::Verdicts(self.verifiers.panel(&mut bench, &work, &drawn, close.epoch)?))
                }
                Output::OpenDispute { .. } => {
                    let next = judged.len() as u32;
                    let fresh = self.verifiers.draw(&close.beacon, &job, &worker, next..next + 3)?;
                    self.summary.disputes += 1;
                    let ended = self.verifiers.dispute(&mut bench, &work, &judged, &fresh, close.epoch, close.at)?;
                    Some(Event::Resolved(ended))
                }
                Output::CountAudit { outcome, .. } => {
                    // The e-process counts on; a bit-exact mismatch is proved by the dispute before it can convict.
                    let record = &mut self.workers[flight.worker].record;
                    record.advance(close.epoch)?;
                    record.observe(EXACT, outcome)?;
                    None
                }
                Output::Escalate(_) => {
                    self.workers[flight.worker].escalated = true;
                    None
                }
                Output::Offence(evidence) => {
                    let first = judged.first().ok_or("an offence that nobody judged")?;
                    let reporter = self.verifiers.parties()[*first].id;
                    let order = self.registry.submit(&evidence, reporter)?;
                    self.chain.submit([slash(&order)]);
                    self.convict(&order.party, close)?;
                    None
                }
                // Money, which is in the queue of the chain already.
                _ => None,
            };
            if let Some(event) = event {
                queue.extend(self.clocks.time(Part::Poai, || flight.job.apply(event, close.at))?);
            }
        }
        Ok(())
    }

    /// Takes a guilty worker out of service, and its machine off the list of those that get keys.
    fn convict(&mut self, party: &PartyId, close: &Close) -> Result<()> {
        let place = self.workers.iter().position(|worker| worker.party.id == *party).ok_or("an unknown offender")?;
        let worker = &mut self.workers[place];
        worker.convicted = true;
        let machine = &worker.party.machine;
        self.custody.revoke(machine)?;
        let refused = self.clocks.time(Part::Pqc, || self.custody.lease(machine, 0, unix_time(close.at.get())));
        if refused.is_ok() {
            return Err("a revoked machine was given a key".into());
        }
        self.summary.caught.push(Caught {
            worker: place,
            cheat: worker.cheat,
            epoch: self.epoch,
            at_ms: close.at.get(),
            bad_jobs: worker.bad_jobs(),
        });
        Ok(())
    }

    /// Ends every job, has the validators agree on what follows, and moves the money. How many jobs were paid for.
    fn settle(&mut self, flights: &mut [Flight], close: &Close) -> Result<u64> {
        let due = close.at.saturating_add(WINDOW_MS);
        let mut paid = 0;
        for flight in flights.iter_mut() {
            if self.workers[flight.worker].convicted && !flight.job.state().is_terminal() {
                let outputs = self.clocks.time(Part::Poai, || flight.job.apply(Event::WorkerConvicted, close.at))?;
                for output in &outputs {
                    self.queue_money(flight, output)?;
                }
            }
            // From attested to verified, and from there to settled.
            for _ in 0..2 {
                if flight.job.state().is_terminal() {
                    break;
                }
                for output in self.clocks.time(Part::Poai, || flight.job.apply(Event::Tick, due))? {
                    match output {
                        Output::UpdateQuality { result_q32, .. } => {
                            let quality = &mut self.workers[flight.worker].quality;
                            quality.update(&QualityPolicy::default(), result_q32)?;
                        }
                        money => self.queue_money(flight, &money)?,
                    }
                }
            }
            match flight.job.state() {
                JobState::Settled => paid += 1,
                JobState::Slashed | JobState::Expired => {}
                state => return Err(format!("a job is still {state:?} after its window").into()),
            }
        }
        let effects = self.clocks.time(Part::Snow, || self.chain.finalize())?;
        self.clocks
            .time(Part::Metering, || effects.iter().try_for_each(|effect| self.bank.apply(close.at.get(), effect)))?;
        Ok(paid)
    }

    /// Puts what an output means for the money into the queue of the settlement chain.
    fn queue_money(&mut self, flight: &mut Flight, output: &Output) -> Result<()> {
        let proposer = self.validators[self.chain.proposer(self.validators.len())];
        let worker = &mut self.workers[flight.worker];
        let effect =
            self.clocks.time(Part::Metering, || flight.escrow.effect(output, &self.bank.recipients(proposer)))?;
        self.chain.submit(effect);
        if let (Output::ReleaseEscrow { .. }, Some(window)) = (output, &flight.window) {
            let amount = self.bank.emission(window, &mut worker.carry)?;
            if amount > 0 {
                let mint = Effect::Mint { id: self.bank.id(), to: worker.account.get(), amount };
                self.chain.submit([mint]);
            }
        }
        Ok(())
    }

    /// What became of the jobs goes to the router, to the choice of workers, and into the library.
    fn feed_back(&mut self, flights: &[Flight], settled: u64) -> Result<()> {
        for flight in flights {
            let usd = flight.price as f64 / BASE_UNITS_PER_USD as f64;
            let paid = flight.job.state() == JobState::Settled;
            let outcome = if paid {
                Outcome::success(flight.score, flight.latency_ms, usd)
            } else {
                Outcome::failure(Status::ServerError, flight.latency_ms)
            };
            self.clocks.time(Part::Hmm, || self.market.learn(flight.decision, &outcome))?;
            let worker = &mut self.workers[flight.worker];
            worker.exposure -= flight.price;
            if paid {
                worker.node.successes += 1;
                let name = &self.tenants[flight.tenant].name;
                let fresh = || Seen::new(name, &subject(name, flight.tenant));
                let seen = self.seen.entry(flight.tenant).or_insert_with(fresh);
                seen.jobs[flight.level] += 1;
                seen.value[flight.level] += flight.score - QUALITY_PER_USD * usd;
            } else {
                worker.node.failures += 1;
            }
        }
        let at_s = START_S + self.settled_ms / 1_000;
        self.clocks.time(Part::Experience, || self.memory.record(at_s, "job_lifecycle", self.epoch, &self.seen))?;
        let row = self.summary.epoch(self.epoch);
        row.settled = settled;
        row.refunded = flights.len() as u64 - settled;
        row.ends_ms = self.settled_ms;
        Ok(())
    }
}
