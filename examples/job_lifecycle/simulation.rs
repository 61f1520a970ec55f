//! The market and everybody in it. [`serve`] takes a request up to the worker's computation, [`epoch`] takes a whole epoch's jobs from
//! there to money and memory.

mod epoch;
mod serve;

use std::collections::BTreeMap;
use std::sync::Arc;

use hanzo::bitdelta::{Adapter, BaseDigest, ReadOptions, Workspace};
use hanzo::glue::JobEscrow;
use hanzo::hmm::market::DecisionId;
use hanzo::metering::{AccountId, Window};
use hanzo::poai::{ConvictionPolicy, Job, PartyId, Registry, SlashPolicy, WorkOrder};
use hanzo::pqc::attestation::UnixTime;
use hanzo_examples::trace::Request;
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;

use crate::Result;
use crate::audit::Verifiers;
use crate::bank::{Bank, Class, WORKER_STAKE};
use crate::clocks::{Clocks, Part};
use crate::custody::Custody;
use crate::market::Market;
use crate::memory::{Memory, Seen};
use crate::network::{LEVELS, Positions, Weights, run, teach};
use crate::options::Options;
use crate::party::{Cheat, Directory, MEASUREMENT, Party, silent_party};
use crate::settlement::Chain;
use crate::summary::Summary;
use crate::worker::{Bases, Worker};

/// Verifiers: a panel of one, one of two and one of three never meet.
const VERIFIERS: usize = 12;
/// Epochs in a run, if there are requests enough.
const EPOCHS: usize = 20;
/// Most requests in an epoch, so that stakes cover what is not settled.
const EPOCH_LIMIT: usize = 1_000;
/// 2024-01-01, the second that milliseconds are counted from.
const START_S: u64 = 1_704_067_200;
/// Milliseconds from the commitment to an answer until it is paid for.
const WINDOW_MS: u64 = 1_000;
/// Positions on which a level's quality is measured before it is listed.
const CALIBRATION: u32 = 16;
/// Tokens of a prompt that cost as much as one of the answer.
const PROMPT_TOKENS_PER_UNIT: u32 = 10;

/// A client with a fine-tune of its own.
#[derive(Debug)]
struct Tenant {
    name: String,
    party: PartyId,
    account: AccountId,
    fine: Weights<f32>,
    /// Jobs ordered.
    jobs: u64,
}

/// A job on its way, from the quote to its end.
#[derive(Debug)]
struct Flight {
    job: Job,
    order: WorkOrder,
    escrow: JobEscrow,
    decision: DecisionId,
    tenant: usize,
    level: usize,
    worker: usize,
    positions: Positions,
    output: [u8; 32],
    score: f64,
    price: u128,
    started_ms: u64,
    finished_ms: u64,
    latency_ms: u64,
    /// What the meter read, once the work is attested.
    window: Option<Window>,
}

/// The market and everybody in it.
#[derive(Debug)]
pub(crate) struct Simulation {
    audit_ppm: u32,
    clocks: Clocks,
    market: Market,
    memory: Memory,
    custody: Custody,
    bank: Bank,
    chain: Chain,
    verifiers: Verifiers,
    verifier_accounts: Vec<AccountId>,
    validators: Vec<AccountId>,
    workers: Vec<Worker>,
    tenants: Vec<Tenant>,
    bases: Bases,
    directory: Directory,
    registry: Registry,
    rng: ChaCha20Rng,
    workspace: Workspace,
    flights: Vec<Flight>,
    seen: BTreeMap<usize, Seen>,
    epoch: u64,
    /// Latest moment at which an epoch was settled.
    settled_ms: u64,
    summary: Summary,
}

impl Simulation {
    /// Sets everything up: keys, adapters under seal, wallets, stakes.
    pub(crate) fn new(options: &Options, requests: &[Request]) -> Result<Self> {
        let mut clocks = Clocks::default();
        let mut rng = stream(options.seed, 0);
        let full = Weights::base(options.seed);
        let digest = full.digest()?;
        let bases = Bases { rounded: full.rounded(), full };

        let mut parties = |count| (0..count).map(|_| Party::new(MEASUREMENT, &mut rng)).collect::<Result<Vec<_>>>();
        let [machines, auditors] = [clocks.time(Part::Pqc, || parties(options.workers))?, parties(VERIFIERS)?];
        let mut directory = Directory::new();
        machines.iter().chain(&auditors).for_each(|party| party.enter(&mut directory));

        let mut bank = Bank::new(&silent_party("liquidity", 0), &silent_party("verifiers", 0))?;
        let funds = funds(requests);
        let (mut tenants, mut adapters) = (Vec::new(), Vec::new());
        for index in 0..options.tenants {
            let (name, party) = (format!("tenant-{index:03}"), silent_party("client", index));
            let fine = bases.full.fine_tune(index, options.seed.wrapping_add(1 + index as u64));
            let files = clocks.time(Part::Bitdelta, || {
                LEVELS.iter().map(|level| bases.full.adapter(digest, &fine, level)).collect::<Result<Vec<_>>>()
            })?;
            adapters.push((name.clone(), files));
            let account = bank.open(&party, Class::Client, funds, 0)?;
            tenants.push(Tenant { name, party, account, fine, jobs: 0 });
        }

        let enrolled = machines.iter().chain(&auditors).map(|party| party.machine.key_digest()).collect();
        let mut custody = Custody::new(digest, adapters.clone(), enrolled, stream(options.seed, 1))?;
        // What the machine of a stranger hears.
        let stranger = Party::new(MEASUREMENT, &mut rng)?;
        if custody.lease(&stranger.machine, 0, UnixTime::from_seconds(START_S)).is_ok() {
            return Err("the broker gave a key to a machine it does not know".into());
        }

        let quality = clocks.time(Part::Bitdelta, || listed_quality(&bases.full, digest, &tenants, &adapters))?;
        let policy = Arc::new(ConvictionPolicy::default());
        let mut cheats: Vec<Option<Cheat>> = (0..options.workers)
            .map(|index| (index < options.cheaters).then(|| Cheat::ALL[index % Cheat::ALL.len()]))
            .collect();
        cheats.shuffle(&mut rng);
        let mut workers = Vec::with_capacity(options.workers);
        for (party, cheat) in machines.into_iter().zip(cheats) {
            let account = bank.open(&party.id, Class::Worker, 0, WORKER_STAKE)?;
            let speed = 0.8 + 0.4 * rng.random::<f64>();
            workers.push(Worker::new(party, account, WORKER_STAKE, cheat, speed, &policy));
        }
        let verifier_accounts =
            auditors.iter().map(|party| bank.open(&party.id, Class::Verifier, 0, 0)).collect::<Result<_>>()?;
        let validators = (0..usize::from(options.validators))
            .map(|index| bank.open(&silent_party("validator", index), Class::Validator, 0, 0))
            .collect::<Result<_>>()?;
        let stakes = (0..u64::from(options.validators)).map(|index| 1_000 + 10 * (index % 7)).collect();

        Ok(Self {
            audit_ppm: options.audit_ppm,
            clocks,
            market: Market::new(quality)?,
            memory: Memory::new()?,
            custody,
            bank,
            chain: Chain::new(stakes, options.seed)?,
            verifiers: Verifiers::new(auditors, stream(options.seed, 2)),
            verifier_accounts,
            validators,
            workers,
            tenants,
            bases,
            directory,
            registry: Registry::new(SlashPolicy::default()),
            rng,
            workspace: Workspace::new(),
            flights: Vec::new(),
            seen: BTreeMap::new(),
            epoch: 0,
            settled_ms: 0,
            summary: Summary::new(options, requests.len()),
        })
    }

    /// Plays all requests; `progress` hears how many are done.
    ///
    /// # Errors
    /// Any error of a part: nothing in a correct run makes one.
    pub(crate) fn run(mut self, requests: &[Request], mut progress: impl FnMut(usize)) -> Result<(Summary, Clocks)> {
        let length = requests.len().div_ceil(EPOCHS).clamp(1, EPOCH_LIMIT);
        let mut done = 0;
        for group in requests.chunks(length) {
            // Stakes of epoch 0 are those before anything was staked.
            self.epoch += 1;
            self.bank.begin_epoch(self.epoch)?;
            for request in group {
                self.serve(request)?;
                done += 1;
                progress(done);
            }
            self.close_epoch()?;
        }
        self.finish()
    }

    fn finish(mut self) -> Result<(Summary, Clocks)> {
        let audits: Vec<_> = self.verifier_accounts.iter().copied().zip(self.verifiers.done.iter().copied()).collect();
        self.clocks.time(Part::Metering, || self.bank.finish(&audits))?;
        let balance = self.clocks.time(Part::Metering, || self.bank.balance())?;
        let mut summary = self.summary;
        summary.balance = balance;
        summary.fees = self.bank.fees;
        summary.flows = self.bank.flows;
        summary.keys_released = self.custody.releases;
        summary.keys_refused = self.custody.refusals;
        summary.blocks = self.chain.blocks;
        summary.rivals_rejected = self.chain.rejected;
        summary.rounds = self.chain.rounds;
        summary.tip = hex(&self.chain.tip());
        summary.consensus_trace = hex(&self.chain.trace());
        (summary.lessons, summary.log_entries) = self.memory.size();
        summary.experience_root = hex(&self.memory.root());
        summary.proofs_verified = self.memory.proofs;
        summary.reexecuted_jobs = self.verifiers.done.iter().sum();
        summary.reexecuted_positions = self.verifiers.positions;
        summary.finish(&self.workers, self.audit_ppm)?;
        Ok((summary, self.clocks))
    }
}

/// Mean agreement of each level with the tenants' own weights on a few calibration inputs: what the catalogue says of it.
fn listed_quality(
    base: &Weights<f32>,
    digest: BaseDigest,
    tenants: &[Tenant],
    adapters: &[(String, Vec<Vec<u8>>)],
) -> Result<[f64; LEVELS.len()]> {
    let (positions, mut workspace) = (Positions::of_seed(&[0; 32], CALIBRATION), Workspace::new());
    let mut quality = [0.0; LEVELS.len()];
    for (tenant, (_, files)) in tenants.iter().zip(adapters) {
        let teacher = teach(&tenant.fine, &positions, &mut workspace)?;
        for (quality, file) in quality.iter_mut().zip(files) {
            let adapter = Adapter::from_bytes(file.as_slice().into(), ReadOptions::new())?.bind(&digest)?;
            let answer = run(base, &adapter, &positions, &mut workspace)?;
            *quality += answer.agreement(&teacher) / tenants.len() as f64;
        }
    }
    Ok(quality)
}

/// What a client starts with: ten times what all requests together would cost at the dearest level.
fn funds(requests: &[Request]) -> u128 {
    let units: u128 = requests.iter().map(|request| u128::from(billed_units(request))).sum();
    (units + 1_000) * 10 * 32_000
}

/// Tokens of a request as they are billed: those of the answer, and a tenth of the prompt's.
fn billed_units(request: &Request) -> u64 {
    u64::from(request.tokens_out.max(1)) + u64::from(request.tokens_in / PROMPT_TOKENS_PER_UNIT)
}

fn unix_time(at_ms: u64) -> UnixTime {
    UnixTime::from_seconds(START_S + at_ms / 1_000)
}

/// One of the independent random streams of a seed.
fn stream(seed: u64, number: u64) -> ChaCha20Rng {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use hanzo_examples::arrivals::Arrivals;

    use super::*;

    fn play(change: impl Fn(&mut Options)) -> Summary {
        let mut options = Options { workers: 6, cheaters: 3, tenants: 3, validators: 4, ..Options::default() };
        change(&mut options);
        let requests = Arrivals::embedded().unwrap().generate(60, options.seed);
        let (summary, _) = Simulation::new(&options, &requests).unwrap().run(&requests, |_| ()).unwrap();
        assert_eq!(summary.defects(), [""; 0], "{options:?}");
        assert_eq!(summary.served() + summary.without_level + summary.without_worker, 60, "{options:?}");
        summary
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let bytes = |seed| serde_json::to_string(&play(|options| options.seed = seed)).unwrap();
        assert_eq!(bytes(3), bytes(3));
        assert_ne!(bytes(3), bytes(4));
    }

    #[test]
    fn who_is_always_audited_is_caught_by_the_first_bad_epoch() {
        let all = play(|options| options.audit_ppm = 1_000_000);
        for row in all.cheater_rows.iter().filter(|row| row.bad_jobs > 0) {
            assert!(row.caught_in_epoch.is_some(), "{row:?}");
        }
        assert!(all.cheaters_caught > 0 && all.flows.slashed > 0 && all.refunded > 0);
        assert!(all.reexecuted_jobs >= all.settled, "every job was computed again");
        let none = play(|options| options.audit_ppm = 0);
        assert_eq!((none.cheaters_caught, none.reexecuted_jobs, none.refunded, none.flows.slashed), (0, 0, 0, 0));
    }

    #[test]
    fn odd_markets_work() {
        let honest = play(|options| options.cheaters = 0);
        assert_eq!((honest.cheaters_caught, honest.disputes), (0, 0));
        let lone = play(|options| {
            (options.workers, options.cheaters, options.tenants, options.validators) = (1, 1, 1, 1);
            options.audit_ppm = 1_000_000;
        });
        // The only worker is caught, and what comes after finds nobody.
        assert!(lone.cheaters_caught == 1 && lone.without_worker > 0, "{lone:?}");
        play(|options| options.validators = 25);
    }
}
