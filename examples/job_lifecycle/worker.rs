//! A machine that serves requests, honestly or not, and what is known about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanzo::bitdelta::{Bf16, BoundAdapter, Workspace};
use hanzo::hmm::market::Node;
use hanzo::metering::{AccountId, Carry};
use hanzo::poai::{AttestationHash, BatchHash, ConvictionPolicy, Epoch, Quality, Record, WorkerLog};
use rand::RngExt as _;
use rand_chacha::ChaCha20Rng;

use crate::Result;
use crate::audit::CHAIN;
use crate::custody::Lease;
use crate::network::{Answer, Positions, Weights, run};
use crate::party::{Cheat, Party};

/// How often a cheater cheats.
pub(crate) const CHEAT_RATE: f64 = 0.4;

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Keys.
    pub(crate) party: Party,
    /// Wallet.
    pub(crate) account: AccountId,
    /// What it does when it cheats; only the program that plays the market looks.
    pub(crate) cheat: Option<Cheat>,
    /// Speed against the level's.
    pub(crate) speed: f64,
    /// When its last job ends, in milliseconds.
    pub(crate) busy_until: u64,
    /// Level of that job.
    pub(crate) serving: usize,
    /// What the selection of workers knows.
    pub(crate) node: Node,
    /// Prices of its jobs that are not settled, in base units.
    pub(crate) exposure: u128,
    /// Keys of this epoch, by tenant.
    pub(crate) leases: BTreeMap<usize, Lease>,
    /// The network's copy of its chain of attestations.
    pub(crate) log: WorkerLog,
    /// Its own end of that chain.
    pub(crate) tip: Option<AttestationHash>,
    /// Attestations made.
    pub(crate) seq: u64,
    /// Hash of its last batch.
    pub(crate) batch: BatchHash,
    /// Audits and what they said.
    pub(crate) record: Record,
    /// Moving average of them.
    pub(crate) quality: Quality,
    /// Remainder of what was minted for it.
    pub(crate) carry: Carry,
    /// Whether audits are to look at every job of it.
    pub(crate) escalated: bool,
    /// Whether it has been found guilty.
    pub(crate) convicted: bool,
    /// Bad answers delivered, by epoch.
    pub(crate) bad: BTreeMap<u64, u64>,
    /// Earlier answers, for a worker that replays them.
    remembered: BTreeMap<(usize, usize), Answer>,
}

/// A finished computation.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// What is handed out.
    pub(crate) answer: Answer,
    /// Whether it is what the job asked for.
    pub(crate) honest: bool,
    /// Forward passes that were really computed.
    pub(crate) computed: usize,
}

/// The networks a worker may compute with.
#[derive(Debug)]
pub(crate) struct Bases {
    /// As it should be.
    pub(crate) full: Weights<f32>,
    /// Rounded, for those who save.
    pub(crate) rounded: Weights<Bf16>,
}

impl Worker {
    /// A worker with nothing behind it.
    pub(crate) fn new(
        party: Party,
        account: AccountId,
        stake: u128,
        cheat: Option<Cheat>,
        speed: f64,
        policy: &Arc<ConvictionPolicy>,
    ) -> Self {
        let (node, log) = (Node::new(*party.id.as_bytes(), stake), WorkerLog::new(CHAIN, party.id));
        Self {
            party,
            account,
            cheat,
            speed,
            busy_until: 0,
            serving: 0,
            node,
            exposure: 0,
            leases: BTreeMap::new(),
            log,
            tip: None,
            seq: 0,
            batch: BatchHash::new([0; 32]),
            record: Record::new(Arc::clone(policy), Epoch::new(0)),
            quality: Quality::default(),
            carry: Carry::default(),
            escalated: false,
            convicted: false,
            bad: BTreeMap::new(),
            remembered: BTreeMap::new(),
        }
    }

    /// Computes a job, or does what a cheater does instead. The cheat of a job whose shortcut changes nothing (no earlier answer to
    /// replay, a single position) is honest work.
    pub(crate) fn work(
        &mut self,
        bases: &Bases,
        adapter: &BoundAdapter,
        (tenant, level): (usize, usize),
        positions: &Positions,
        workspace: &mut Workspace,
        rng: &mut ChaCha20Rng,
    ) -> Result<Delivery> {
        let cheat = self.cheat.filter(|_| rng.random_bool(CHEAT_RATE));
        let (answer, honest, computed) = match cheat {
            Some(Cheat::SkipWork) if positions.len() > 1 => {
                let first = run(&bases.full, adapter, &positions.first(1), workspace)?;
                let classes = vec![first.classes[0]; positions.len()];
                (Answer { classes, ..first }, false, 1)
            }
            Some(Cheat::Replay) if self.remembered.contains_key(&(tenant, level)) => {
                (self.remembered[&(tenant, level)].clone(), false, 0)
            }
            Some(Cheat::LowPrecision) => (run(&bases.rounded, adapter, positions, workspace)?, false, positions.len()),
            _ => (run(&bases.full, adapter, positions, workspace)?, true, positions.len()),
        };
        if honest && self.cheat == Some(Cheat::Replay) {
            self.remembered.insert((tenant, level), answer.clone());
        }
        Ok(Delivery { answer, honest, computed })
    }

    /// Bad answers delivered so far.
    pub(crate) fn bad_jobs(&self) -> u64 {
        self.bad.values().sum()
    }
}
