//! Schedules of faults, each drawn from a number.

use core::time::Duration;

use alloc::vec::Vec;

use super::{DualReport, DualSimulation, DualSimulationBuilder, Weakness};
use crate::dual::DualConfig;
use crate::fastpath::{ConflictKey, Tx};
use crate::simulate::SimulateError;
use crate::simulate::links::Latency;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// When faults end.
const WHOLE: u64 = 6 * SECOND;

/// A network of both tracks under a schedule of faults that a number stands for.
///
/// Four to seven validators of stake 10 to 12, links of 5 to 40 ms that lose, duplicate and reorder; until 6 s crashes and
/// restarts from the store of up to half of the validators, partitions, slow nodes and clocks that jump ahead
/// ([`random_faults`]); in every odd one a validator with a twin, and in every other pair rounds as fast as the links.
/// 24 transactions, and to every other a rival on the same key at another validator, at once or one to three seconds later.
/// From 6 s on the network is whole, but for what links go on losing: from then on every node has to commit and carry out
/// further blocks, and all that was certified has to settle.
///
/// ```
/// use hanzo_snow::simulate::FaultSchedule;
///
/// let report = FaultSchedule::new(7).run()?;
/// assert!(report.settled > 0);
/// # Ok::<(), hanzo_snow::simulate::SimulateError>(())
/// ```
///
/// [`random_faults`]: DualSimulationBuilder::random_faults
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultSchedule {
    number: u64,
    weakness: Weakness,
    changes: bool,
}

impl FaultSchedule {
    /// The schedule of a number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self { number, weakness: Weakness::None, changes: false }
    }

    /// Breaks the protocol.
    #[must_use]
    pub const fn weakness(mut self, weakness: Weakness) -> Self {
        self.weakness = weakness;
        self
    }

    /// Changes the validators twice while the faults last: first one joins, another leaves and the stakes of the others change, then
    /// the one that left comes back. One node more than without.
    #[must_use]
    pub const fn changing_validators(mut self, changes: bool) -> Self {
        self.changes = changes;
        self
    }

    /// Whether one of the validators has a twin.
    #[must_use]
    pub const fn has_twin(&self) -> bool {
        self.number % 2 == 1
    }

    /// The network, at its beginning.
    ///
    /// # Errors
    /// None that is known: the settings fit.
    pub fn build(&self) -> Result<DualSimulation, SimulateError> {
        let seed = self.number;
        let validators = 4 + (seed % 4) as usize;
        let nodes = validators + usize::from(self.changes);
        let stake = |i: usize| 10 + (seed / 4 + i as u64) % 3;
        let stakes = |left_out: usize, shift: usize| -> Vec<u64> {
            (0..nodes).map(|node| if node == left_out { 0 } else { stake(node + shift) }).collect()
        };
        // Without changes there is no node of that position, and all take part.
        let mut builder = DualSimulation::builder(stakes(validators, 0))
            .latency(Latency::Uniform { min: 5 * MS, max: 40 * MS })
            .seed(seed)
            .weakness(self.weakness)
            .random_faults(seed, validators / 2, WHOLE)
            .config(if (seed / 2).is_multiple_of(2) { settings } else { unpaced });
        if self.has_twin() {
            builder = builder.twins([(seed / 2) as usize % validators]);
        }
        if self.changes {
            let leaves = (seed / 8) as usize % validators;
            builder = builder.validators(SECOND + seed % 1_500 * MS, stakes(leaves, 1));
            builder = builder.validators(3 * SECOND + seed % 2_500 * MS, stakes(nodes, 2));
        }
        for key in 0..24 {
            let (at, node) = (key * 250 * MS, (key as usize) % validators);
            builder = submit(builder, at, node, key, 0);
            match key % 4 {
                0 => builder = submit(builder, at + seed % 20 * MS, (node + 1) % validators, key, 1),
                // By then some may have begun again.
                2 => builder = submit(builder, at + SECOND + seed % 2_000 * MS, (node + 1) % validators, key, 1),
                _ => {}
            }
        }
        builder.build()
    }

    /// Plays it: until all is as it should be, at most 200 s.
    ///
    /// # Errors
    /// What [`DualSimulation::run_until`] finds, and [`SimulateError::NoProgress`] where nodes stop committing or something
    /// certified never settles.
    pub fn run(&self) -> Result<DualReport, SimulateError> {
        let mut network = self.build()?;
        network.run_until(2 * WHOLE)?;
        let height = network.committed_everywhere();
        for end in [25, 50, 100, 200] {
            network.run_until(end * SECOND)?;
            if network.executed_everywhere() > height + 5 && network.certified_unsettled() == 0 {
                return Ok(network.report().clone());
            }
        }
        Err(SimulateError::NoProgress {
            height: network.executed_everywhere(),
            unsettled: network.certified_unsettled(),
            epoch: network.report().epochs,
        })
    }
}

fn settings(config: DualConfig) -> DualConfig {
    let config = config.settlement(|replica| replica.base_timeout(Duration::from_millis(400)).window(8));
    config.unlock_after(Duration::from_secs(3)).min_epoch_blocks(4)
}

/// Rounds as fast as the links.
fn unpaced(config: DualConfig) -> DualConfig {
    settings(config).fast_path(|fast| fast.round_interval(Duration::ZERO))
}

/// Eight bytes with a key of their own, which a rival of other bytes shares.
fn submit(builder: DualSimulationBuilder, at: u64, node: usize, key: u64, which: u8) -> DualSimulationBuilder {
    match Tx::new([ConflictKey::new(b"match", key)], [which; 8]) {
        Ok(tx) => builder.submit(at, node, tx),
        Err(_) => builder,
    }
}
