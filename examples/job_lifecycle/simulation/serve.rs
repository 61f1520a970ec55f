//! Request -> regime, route and quote -> escrow -> key release -> computation.

use hanzo::glue::JobEscrow;
use hanzo::hmm::market::{Node, NodeSelector as _, Outcome, Performance, Status};
use hanzo::poai::{Acceptance, DType, Event, Job, JobPolicy, JobSpec, Millis, ModelHash, WorkOrder};
use hanzo_examples::trace::Request;
use rand::RngExt as _;
use rand_chacha::ChaCha20Rng;
use sha2::{Digest as _, Sha256};

use super::{Flight, Simulation, WINDOW_MS, billed_units, unix_time};
use crate::Result;
use crate::audit::CHAIN;
use crate::bank::WORKER_STAKE;
use crate::clocks::Part;
use crate::market::{Ask, Fleet};
use crate::network::{Answer, LEVELS, Positions, run, teach};
use crate::summary::Moment;
use crate::worker::Worker;

/// A worker whose queue is longer takes no job.
const LONGEST_WAIT_MS: u64 = 30_000;
/// Tokens of a prompt that a machine reads in a second.
const PROMPT_TOKENS_PER_SECOND: f64 = 8_000.0;

impl Simulation {
    /// Takes one request up to the delivery of its answer.
    pub(super) fn serve(&mut self, request: &Request) -> Result<()> {
        let (at_ms, units) = (request.at_ms, billed_units(request));
        let tenant = self.rng.random_range(0..self.tenants.len());
        let name = self.tenants[tenant].name.clone();
        let text = describe(&name, tenant, request);
        let lesson = self.clocks.time(Part::Experience, || self.memory.recall(&text))?;

        let fleet = fleet(&self.workers, at_ms);
        let decision = self.clocks.time(Part::Hmm, || {
            self.market.advance(&fleet, at_ms)?;
            self.market.route(&Ask {
                tenant: &name,
                text: &text,
                lessons: lesson.iter().map(|lesson| lesson.text.clone()).collect(),
                recommended: lesson.as_ref().and_then(|lesson| lesson.level),
                units,
                at_ms,
            })
        })?;
        let (regime, multipliers) = (self.market.regime(), self.market.multipliers());
        self.summary.moments.push(Moment { at_ms, regime: regime.index(), multipliers });
        let Some(decision) = decision else {
            self.summary.without_level += 1;
            return Ok(());
        };
        let level = LEVELS.iter().position(|l| l.name == decision.model).ok_or("the market chose an unknown level")?;
        let chosen = self.clocks.time(Part::Hmm, || pick_worker(&self.workers, at_ms, &mut self.rng))?;
        // Nobody is free, or nobody's stake covers the price.
        let busy = Outcome::failure(Status::RateLimited { retry_after_ms: None }, 0);
        let Some(worker) = chosen else {
            self.summary.without_worker += 1;
            return self.market.learn(decision.id, &busy);
        };
        let prices = self.market.prices();
        let quote = self.clocks.time(Part::Hmm, || self.market.quote(level, units, worker, at_ms))?;
        let free_exposure = WORKER_STAKE.saturating_sub(self.workers[worker].exposure);
        if quote.price > free_exposure {
            self.summary.without_worker += 1;
            return self.market.learn(decision.id, &busy);
        }
        self.clocks.time(Part::Hmm, || self.market.take(&quote))?;

        // The job, and its price in escrow.
        let count = Positions::count(request.tokens_in, request.tokens_out);
        let machine_ms = duration_ms(request, level);
        let mut spec = JobSpec::builder(ModelHash::new(self.custody.base()), Sha256::digest(&text).into())
            .dtype(DType::F32)
            .kernel_class(1)
            .max_tokens(count)
            // Workers differ by a quarter in speed and may have a queue.
            .sla_ms(u32::try_from(2 * machine_ms + LONGEST_WAIT_MS).unwrap_or(u32::MAX))
            .adapter(Some(self.custody.adapter_id(tenant, level)))
            .max_price(quote.worst_price);
        if lesson.is_some() {
            spec = spec.context(Some(self.memory.root()));
        }
        let spec = spec.build()?;
        let client = &mut self.tenants[tenant];
        let (nonce, now) = (client.jobs, Millis::new(at_ms));
        client.jobs += 1;
        let worker_id = self.workers[worker].party.id;
        let order = WorkOrder::new(&CHAIN, &client.party, nonce, spec.clone(), worker_id, 0);
        let policy = JobPolicy { window_ms: WINDOW_MS, ..JobPolicy::default() };
        let mut job = Job::new(policy, &CHAIN, &client.party, nonce, spec, now)?;
        let mut escrow = JobEscrow::new(job.id(), client.account);
        let acceptance = Acceptance {
            worker: worker_id,
            price: quote.price,
            quote_expires: Millis::new(quote.expires_at),
            free_exposure,
            standby: Vec::new(),
        };
        let outputs = self.clocks.time(Part::Poai, || job.apply(Event::Accept(acceptance), now))?;
        self.clocks.time(Part::Metering, || -> Result<()> {
            for output in &outputs {
                if let Some(effect) = escrow.effect(output, &[])? {
                    self.bank.apply(at_ms, &effect)?;
                }
            }
            Ok(())
        })?;
        self.clocks.time(Part::Poai, || job.apply(Event::EscrowHeld(quote.price), now))?;

        // The worker fetches the tenant's key, opens the adapter and computes.
        let positions = Positions::of_seed(job.id().seed().as_bytes(), count);
        let Self { workers, custody, bases, workspace, rng, clocks, .. } = self;
        let machine = &mut workers[worker];
        let lease = match machine.leases.remove(&tenant) {
            Some(lease) => lease,
            None => clocks.time(Part::Pqc, || custody.lease(&machine.party.machine, tenant, unix_time(at_ms)))?,
        };
        let (delivery, honest) = clocks.time(Part::Bitdelta, || -> Result<_> {
            let adapter = custody.adapter(&lease, tenant, level)?;
            let delivery = machine.work(bases, adapter, (tenant, level), &positions, workspace, rng)?;
            // The client judges by its own weights. The other levels are computed only to know what they would have been worth.
            let teacher = teach(&self.tenants[tenant].fine, &positions, workspace)?;
            let mut honest = [0.0; LEVELS.len()];
            for (other, score) in honest.iter_mut().enumerate() {
                let answer: Answer = run(&bases.full, custody.adapter(&lease, tenant, other)?, &positions, workspace)?;
                *score = answer.agreement(&teacher);
            }
            Ok(((delivery.answer.agreement(&teacher), delivery), honest))
        })?;
        let (score, delivery) = delivery;
        machine.leases.insert(tenant, lease);
        if !delivery.honest {
            *machine.bad.entry(self.epoch).or_default() += 1;
        }

        let started_ms = machine.busy_until.max(at_ms);
        let finished_ms = started_ms + (machine_ms as f64 / machine.speed).ceil() as u64;
        let latency_ms = finished_ms - at_ms;
        machine.busy_until = finished_ms;
        machine.serving = level;
        machine.exposure += quote.price;
        machine.node.latency_ms += 0.1 * (latency_ms as f64 - machine.node.latency_ms);
        self.market.observe_latency(latency_ms);

        let usd = |level: usize| units as f64 / 1_000.0 * prices[level];
        let summary = &mut self.summary;
        for (other, policy) in summary.fixed.iter_mut().enumerate() {
            policy.add(usd(other), honest[other]);
            summary.fixed_by_tenant[tenant][other].add(usd(other), honest[other]);
        }
        summary.routed.add(usd(level), honest[level]);
        summary.delivered_quality += score;
        summary.computed_positions += delivery.computed as u64;
        summary.asked_positions += positions.len() as u64;
        summary.epoch(self.epoch).by_level[level] += 1;
        self.flights.push(Flight {
            job,
            order,
            escrow,
            decision: decision.id,
            tenant,
            level,
            worker,
            positions,
            output: delivery.answer.digest,
            score,
            price: quote.price,
            started_ms,
            finished_ms,
            latency_ms,
            window: None,
        });
        Ok(())
    }
}

/// What tenants ask about; a tenant beyond the last takes the first again, under its own name.
const TOPICS: [&str; 8] = [
    "review the indemnity clauses of this supply contract",
    "refactor a python service and explain each change",
    "summarise the discharge letter for the general practitioner",
    "translate product pages from german and keep the markup",
    "answer a customer about a late parcel politely",
    "draft exam questions on linear algebra with solutions",
    "extract invoice lines into json without inventing any",
    "plan a museum visit for children with short walks",
];

/// The text of a request. Traces carry token counts and no text, so it is made of the tenant's topic and of the two sizes in words.
fn describe(tenant: &str, topic: usize, request: &Request) -> String {
    let size = |tokens: u32, small: u32, large: u32| match tokens {
        t if t < small => "short",
        t if t < large => "medium",
        _ => "long",
    };
    let (prompt, answer) = (size(request.tokens_in, 500, 3_000), size(request.tokens_out, 50, 300));
    format!("{}; a {answer} answer to a {prompt} prompt", subject(tenant, topic))
}

/// The part of a tenant's texts that never changes.
pub(super) fn subject(tenant: &str, topic: usize) -> String {
    format!("{tenant}: {}", TOPICS[topic % TOPICS.len()])
}

/// Milliseconds a machine of speed 1 works on a request.
fn duration_ms(request: &Request, level: usize) -> u64 {
    let seconds = f64::from(request.tokens_in) / PROMPT_TOKENS_PER_SECOND
        + f64::from(request.tokens_out) / LEVELS[level].tokens_per_second;
    (seconds * 1_000.0).ceil().max(1.0) as u64
}

fn fleet(workers: &[Worker], at_ms: u64) -> Fleet {
    let mut fleet = Fleet::default();
    for worker in workers.iter().filter(|worker| !worker.convicted) {
        fleet.machines += 1;
        if worker.busy_until > at_ms {
            fleet.busy[worker.serving] += 1;
        }
    }
    fleet
}

/// A worker with stake to cover the job and no long queue: an idle one if there is one, the better of two drawn at random.
fn pick_worker(workers: &[Worker], at_ms: u64, rng: &mut ChaCha20Rng) -> Result<Option<usize>> {
    let free = |wait_ms: u64| -> Vec<usize> {
        let fits = |w: &Worker| !w.convicted && w.busy_until <= at_ms + wait_ms && w.exposure < WORKER_STAKE / 2;
        (0..workers.len()).filter(|&i| fits(&workers[i])).collect()
    };
    let mut candidates = free(0);
    if candidates.is_empty() {
        candidates = free(LONGEST_WAIT_MS);
    }
    if candidates.is_empty() {
        return Ok(None);
    }
    let nodes: Vec<Node> = candidates.iter().map(|&i| workers[i].node).collect();
    let picked = Performance::new(10_000.0)?.two_choices().select(&nodes, 1, rng)?;
    Ok(candidates.into_iter().find(|&i| Some(&workers[i].node.id) == picked.first()))
}
