//! Networks that are named in what has been published about them, with links to go with them.

use alloc::vec::Vec;

use super::dual::{DualSimulation, DualSimulationBuilder};
use super::links::Latency;
use super::simulation::{Simulation, SimulationBuilder};
use crate::params::Params;

/// Typical round trips between ten regions of public clouds, in milliseconds; 1 within a region. A guess, not a measurement.
///
/// In order: us-east, us-west, sa-east, eu-west, eu-central, me-central, ap-south, ap-southeast, ap-northeast, au-southeast.
pub const REGIONS_RTT_MS: [[u64; 10]; 10] = [
    [1, 65, 115, 70, 90, 170, 195, 215, 150, 200],
    [65, 1, 175, 125, 145, 225, 220, 165, 100, 140],
    [115, 175, 1, 180, 200, 270, 300, 325, 255, 310],
    [70, 125, 180, 1, 25, 110, 120, 175, 210, 260],
    [90, 145, 200, 25, 1, 105, 125, 160, 225, 250],
    [170, 225, 270, 110, 105, 1, 40, 95, 160, 180],
    [195, 220, 300, 120, 125, 40, 1, 60, 125, 150],
    [215, 165, 325, 175, 160, 95, 60, 1, 70, 95],
    [150, 100, 255, 210, 225, 160, 125, 70, 1, 105],
    [200, 140, 310, 260, 250, 180, 150, 95, 105, 1],
];

/// Stake of each node of a chain: well above 1, as polls draw units of it.
const STAKE: u64 = 1_000;

impl Latency {
    /// The ten regions of [`REGIONS_RTT_MS`], the nodes dealt out in turn, with up to a tenth of jitter.
    #[must_use]
    pub fn ten_regions(nodes: usize) -> Self {
        let matrix: Vec<Vec<u64>> = REGIONS_RTT_MS.iter().map(|row| row.to_vec()).collect();
        Self::regions(nodes, &matrix, 100)
    }
}

/// A network with its links, ready to be changed further.
///
/// ```
/// use hanzo_snow::simulate::Scenario;
///
/// let mut network = Scenario::Lan3.simulation().propose(0, 0).build()?;
/// network.run_until(100_000_000)?;
/// assert_eq!(network.accepted_everywhere(), 1);
/// # Ok::<(), hanzo_snow::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scenario {
    /// Three nodes on a LAN, 0.5 ms there and back. Twenty polls in a row take 10 to 15 ms, four at a time a quarter of that.
    Lan3,
    /// Ten nodes on the same LAN.
    Lan10,
    /// Fifty nodes over ten regions. Twenty polls, four at a time, take about a second.
    Wan50,
    /// A hundred validators over ten regions. A certificate is at its author after 170 ms at the median and known held everywhere
    /// after about 400 ms: the round trip to two thirds of the stake is the floor.
    Aci100,
    /// A hundred validators within one region, 1 to 4 ms there and back.
    Aci100Near,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Lan3, Self::Lan10, Self::Wan50, Self::Aci100, Self::Aci100Near];

    /// Its name: `lan_3`, `lan_10`, `wan_50`, `aci_100` or `aci_100_near`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan3 => "lan_3",
            Self::Lan10 => "lan_10",
            Self::Wan50 => "wan_50",
            Self::Aci100 => "aci_100",
            Self::Aci100Near => "aci_100_near",
        }
    }

    /// How many nodes it has.
    #[must_use]
    pub const fn nodes(self) -> usize {
        match self {
            Self::Lan3 => 3,
            Self::Lan10 => 10,
            Self::Wan50 => 50,
            Self::Aci100 | Self::Aci100Near => 100,
        }
    }

    /// Its links.
    #[must_use]
    pub fn latency(self) -> Latency {
        match self {
            Self::Lan3 | Self::Lan10 => Latency::Constant(250_000),
            Self::Wan50 | Self::Aci100 => Latency::ten_regions(self.nodes()),
            Self::Aci100Near => Latency::Uniform { min: 500_000, max: 2_000_000 },
        }
    }

    /// Snow engines with equal stakes: with [`Params::for_small_set`] and their own stake in the sample below 20 nodes, with
    /// [`Params::AVALANCHE`] without it otherwise.
    #[must_use]
    pub fn simulation(self) -> SimulationBuilder {
        let nodes = self.nodes();
        let small = Params::for_small_set(nodes as u16).ok();
        Simulation::builder(alloc::vec![STAKE; nodes])
            .include_self(small.is_some())
            .params(small.unwrap_or(Params::AVALANCHE))
            .latency(self.latency())
    }

    /// Validators of both tracks with equal stakes.
    #[must_use]
    pub fn dual(self) -> DualSimulationBuilder {
        DualSimulation::builder(alloc::vec![1; self.nodes()]).latency(self.latency())
    }
}
