//! Claims about consensus, answered by `hanzo-snow`.

use std::collections::HashMap;
use std::num::NonZeroU64;

use hanzo::snow::analysis::Report;
use hanzo::snow::{BlockRef, Params, Quorum, Snowman, Variant, VoteBag};
use hanzo_snow::simulate::{Byzantine, Latency, Network, Simulation};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::Result;
use crate::row::{Row, Setting, Verdict, at_least, at_most, equal, grouped, microseconds, near};

/// Nanoseconds of a millisecond.
const MS: u64 = 1_000_000;
/// Stake of each simulated node.
const STAKE: u64 = 1_000;
/// One-way delay on a LAN, half a round trip of 0.5 ms.
const LAN: Latency = Latency::Constant(MS / 4);

pub(crate) fn rows(setting: Setting) -> Result<Vec<Row>> {
    let lan_3 = finality(3, LAN, 0, setting)?;
    let lan_10 = finality(10, LAN, 0, setting)?;
    let wan_50 = finality(50, regions(50), 0, setting)?;
    Ok(vec![
        throughput(setting)?,
        topologies([lan_3, lan_10, wan_50]),
        rates([lan_3, lan_10, wan_50]),
        sub_second(lan_10, finality(50, regions(50), 5, setting)?),
        samples(setting)?,
        depth(setting)?,
        a_third_down(setting)?,
        a_fifth()?,
    ])
}

fn regions(nodes: usize) -> Latency {
    Latency::ten_regions(nodes)
}

/// Blocks a second through one chain: added, polled once and accepted; beside inserts into a hash map.
fn throughput(setting: Setting) -> Result<Row> {
    let blocks = setting.pick(20_000_usize, 4_000);
    let mut rng = ChaCha8Rng::seed_from_u64(setting.seed);
    let mut ids = vec![[0_u8; 32]; blocks + 1];
    ids.iter_mut().for_each(|id| rng.fill_bytes(id));
    let mut refused = 0;
    let mut per_second = |params: Params| {
        let us = microseconds(setting.pick(9, 3), 1, |_| {
            let genesis = BlockRef { id: ids[0], parent: ids[0], height: 0 };
            let mut chain = Snowman::new(params, Variant::Snowflake, genesis, setting.seed);
            let (mut votes, mut decisions) = (VoteBag::new(), Vec::with_capacity(blocks));
            for (at, pair) in ids.windows(2).enumerate() {
                let block = BlockRef { id: pair[1], parent: pair[0], height: at as u64 + 1 };
                refused += u32::from(chain.add(block).is_err());
                votes.clear();
                for _ in 0..params.k() {
                    votes.add(block.id, 1);
                }
                refused += u32::from(chain.record_poll(&votes, &mut decisions).is_err());
            }
            (chain, decisions)
        });
        blocks as f64 / us * 1e6
    };
    let (single, sampled) = (per_second(Params::SINGLE), per_second(Params::AVALANCHE));
    if refused > 0 {
        return Err(format!("{refused} blocks or polls were refused").into());
    }
    let inserts = blocks as f64 * 1e6
        / microseconds(setting.pick(9, 3), 1, |_| {
            // It grows as it goes, like the chain.
            let mut map = HashMap::new();
            for (at, id) in (0_u32..).zip(&ids[1..]) {
                map.insert(*id, at);
            }
            map
        });
    let [one, twenty, map] = [single, sampled, inserts].map(|rate| format!("{:.2} million", rate / 1e6));
    Ok(Row::new(
        "000 abstract, table 3",
        "9M+ blocks/second local consensus throughput (single node: 9,200,000, finality immediate)",
        format!(
            "blocks a second added, polled and accepted by one Snowman chain in memory: {one} with one vote a block, \
             {twenty} with polls of 20; std::collections::HashMap alone inserts {map} ids a second"
        ),
        Verdict::Corrected(format!(
            "{one} blocks/s on this machine with one vote a block, {twenty} with k = 20, headers in memory only; the \
             figure measures a hash map, not agreement"
        )),
    )
    .when(
        [at_least(single, 9e6)],
        Verdict::Under("one node that polls itself, headers in memory, nothing executed or stored".into()),
    )
    .timed())
}

/// What a network came to.
#[derive(Clone, Copy)]
struct Finality {
    /// Median seconds from building to acceptance, over all nodes; infinite where nothing was accepted.
    seconds: f64,
    /// Blocks that a node has undecided before it builds no more.
    undecided: u32,
}

fn params(nodes: usize) -> Result<Params> {
    Ok(if nodes < 20 { Params::for_small_set(nodes as u16)? } else { Params::AVALANCHE })
}

fn finality(nodes: usize, latency: Latency, silent: usize, setting: Setting) -> Result<Finality> {
    let params = params(nodes)?;
    let (blocks, interval) = (setting.pick(12, 3), 2_000 * MS);
    let mut network = Simulation::builder(vec![STAKE; nodes])
        .params(params)
        .include_self(nodes < 20)
        .latency(latency)
        .seed(setting.seed)
        .propose_every(interval, blocks);
    for node in nodes - silent..nodes {
        network = network.byzantine(node, Byzantine::Silent);
    }
    let mut network = network.build()?;
    network.run_until(blocks * interval + 30_000 * MS)?;
    let median = network.report().finality_quantile(500);
    Ok(Finality {
        seconds: median.map_or(f64::INFINITY, |nanos| nanos as f64 / 1e9),
        undecided: params.optimal_processing(),
    })
}

fn topologies(nets: [Finality; 3]) -> Row {
    let claimed = [2.1, 3.8, 8.2];
    let [three, ten, fifty] = nets.map(|net| net.seconds);
    let shown = format!("{:.1} ms, {:.1} ms and {fifty:.2} s", 1e3 * three, 1e3 * ten);
    Row::new(
        "000 table 3",
        "finality of 2.1 s with 3 nodes on a LAN, 3.8 s with 10, 8.2 s with 50 on a WAN",
        format!(
            "median finality in the simulated network (LAN: round trip 0.5 ms; WAN: ten regions, round trips a guess): \
             {shown}"
        ),
        Verdict::Corrected(format!(
            "{shown}: finality follows from the round trips of 20 polls, four at a time; no LAN makes seconds of them"
        )),
    )
    .when(nets.iter().zip(claimed).map(|(net, claimed)| near(net.seconds, claimed, claimed / 5.0)), Verdict::Holds)
}

fn rates(nets: [Finality; 3]) -> Row {
    let claimed = [(45_000.0, 2.1), (12_000.0, 3.8), (3_500.0, 8.2)];
    let bounds = nets.map(|net| f64::from(net.undecided) / net.seconds);
    let shown = bounds.map(grouped).join(", ");
    let waiting = claimed.map(|(rate, seconds)| grouped(rate * seconds)).join(", ");
    Row::new(
        "000 table 3",
        "45,000 blocks/s with 3 nodes, 12,000 with 10, 3,500 with 50 on a WAN",
        format!(
            "at these rates and the table's finality {waiting} blocks are undecided at a time (Little's law); at the \
             {} that a node lets wait and the simulated finality: {shown} blocks/s",
            nets[0].undecided
        ),
        Verdict::Corrected(format!(
            "at most {shown} blocks/s in these networks; what counts is transactions, and the table names no block size"
        )),
    )
    .when(bounds.iter().zip(claimed).map(|(bound, (rate, _))| at_least(*bound, rate)), Verdict::Holds)
}

fn sub_second(lan: Finality, wan: Finality) -> Row {
    Row::new(
        "004 3.1; 000 9.1.3",
        "repeated sub-sampled voting achieves sub-second confirmation with Byzantine fault tolerance",
        format!(
            "median finality {:.1} ms with 10 nodes on a LAN, {:.2} s with 50 over ten regions of which 5 are silent",
            1e3 * lan.seconds,
            wan.seconds
        ),
        Verdict::Corrected(format!("{:.2} s on a LAN", lan.seconds)),
    )
    .when([at_most(lan.seconds, 1.0), at_most(wan.seconds, 1.0)], Verdict::Holds)
    .when(
        [at_most(lan.seconds, 1.0)],
        Verdict::Under(format!("nodes within one region; over ten regions it takes {:.2} s", wan.seconds)),
    )
}

/// One block, decided by fifty nodes over links.
fn decide(setting: Setting) -> Result<(usize, f64)> {
    const NODES: usize = 50;
    let mut network = Network::builder(vec![STAKE; NODES]).params(Params::AVALANCHE).seed(setting.seed).build()?;
    let (parent, height) = network.last_accepted();
    network.propose(&[BlockRef { id: [1; 32], parent, height: height + 1 }])?;
    let run = network.run_over(&regions(NODES), 60_000 * MS)?;
    Ok((run.accepted.len(), run.polls as f64 / NODES as f64))
}

fn samples(setting: Setting) -> Result<Row> {
    let (_, polls) = decide(setting)?;
    let samples = polls * f64::from(Params::AVALANCHE.k());
    Ok(Row::new(
        "000 12.1.2",
        "Snow consensus requires k = 20 samples per decision",
        format!(
            "one uncontested block, 50 nodes: {polls:.1} polls of {} a node, {samples:.0} samples",
            Params::AVALANCHE.k()
        ),
        Verdict::Corrected(format!(
            "20 samples a poll and beta = 20 polls in a row: {samples:.0} samples a node and decision, shared by all \
             blocks above it"
        )),
    )
    .when([near(samples, 20.0, 0.5)], Verdict::Holds))
}

fn depth(setting: Setting) -> Result<Row> {
    let (accepted, polls) = decide(setting)?;
    Ok(Row::new(
        "000 6.1.1",
        "confidence threshold: 32 blocks for finality (k = 20, alpha = 15, beta = 20)",
        format!("blocks that all 50 nodes accepted with none on top: {accepted}, after {polls:.1} polls each"),
        Verdict::Holds,
    )
    .when(
        [at_least(accepted as f64, 1.0)],
        Verdict::Corrected(
            "no block on top is needed: beta = 20 successful polls in a row decide; a depth is a rule of wallets \
             (`confirmation_depth`), not of Snow"
                .into(),
        ),
    ))
}

fn a_third_down(setting: Setting) -> Result<Row> {
    const NODES: usize = 100;
    const DOWN: usize = 33;
    let seconds = setting.pick(60, 15);
    let mut network = Simulation::builder(vec![STAKE; NODES])
        .params(Params::AVALANCHE)
        .latency(regions(NODES))
        .seed(setting.seed)
        .propose_every(2_000 * MS, 3);
    for node in NODES - DOWN..NODES {
        network = network.byzantine(node, Byzantine::Silent);
    }
    let mut network = network.build()?;
    network.run_until(seconds * 1_000 * MS)?;
    let accepted = network.accepted_everywhere();
    let units = |nodes: usize| nodes as u64 * STAKE;
    let polls = Report::new(&Params::AVALANCHE, units(NODES), units(DOWN), 1)?.expected_polls;
    let polls = polls.map_or("more than can be counted".into(), grouped);
    let quorum = Quorum::of(NonZeroU64::new(NODES as u64).ok_or("no nodes")?);
    let (needed, slack) = (quorum.stake(), quorum.max_faulty() as i64 - DOWN as i64);
    Ok(Row::new(
        "003 8.5; 000 6.1.1",
        "with 33 of 100 validators offline the network continues (at 15 of 20 as 000 sets it)",
        format!(
            "Snow at 15 of 20, 33 of 100 silent: {accepted} of {} blocks accepted in {seconds} simulated seconds; polls \
             needed on average: {polls}",
            network.report().built
        ),
        Verdict::Corrected(format!(
            "Snow at 15 of 20 stalls (safely) with a third silent: {polls} polls a decision; a quorum of {needed} of {NODES}, \
             as 003's settlement has, can go on with {slack} to spare"
        )),
    )
    .when([at_least(accepted as f64, 1.0)], Verdict::Under("blocks come late".into())))
}

fn a_fifth() -> Result<Row> {
    // The safety that 000 takes from alpha = 15 of 20, as a bound over a million polls of each of a thousand nodes.
    let bound = |faulty: u64| -> Result<(bool, f64)> {
        let report = Report::new(&Params::AVALANCHE, 1_000, faulty, 1_000_000)?;
        let worst = report.safety.iter().find(|row| row.minority_percent == 10);
        let log = worst.and_then(|row| row.network.log10());
        Ok((report.consistency_proven, log.unwrap_or(f64::NEG_INFINITY)))
    };
    let ((proven, tenth), (third_proven, third)) = (bound(100)?, bound(330)?);
    Ok(Row::new(
        "000 6.1.1, 12.1.2",
        "alpha = 15 of 20 (75 %): the trade-off favours safety over speed",
        format!(
            "P[any of 1,000 nodes decides against 90 % of the honest ones within a million polls] is at most 10^{tenth:.1} \
             with 10 % faulty and 10^{third:.1} with 33 %; consistency is proven: {proven} and {third_proven}"
        ),
        Verdict::Corrected(format!("with a tenth faulty the bound is 10^{tenth:.1}")),
    )
    .when([at_most(tenth, -9.0), at_most(third, -9.0), equal(f64::from(third_proven), 1.0)], Verdict::Holds)
    .when(
        [at_most(tenth, -9.0), equal(f64::from(proven), 1.0)],
        Verdict::Under("less than a fifth of the stake is faulty, where a proof is known (arXiv:2404.14250)".into()),
    ))
}
