//! Placement and plans over several nodes.

use hanzo_metering::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn t(ns: u64) -> Timestamp {
    Timestamp::from_nanos(ns)
}

fn demand(cores: u64, gib: u64, slots: u32) -> Demand {
    Demand { resources: Resources::new(cores * 1_000, gib << 30, 0).unwrap(), slots }
}

fn node(id: u32, cores: u64) -> NodeSpec {
    NodeSpec::new(NodeId::new(id), demand(cores, 2 * cores, 10))
}

fn cluster(nodes: &[(u32, u64)], selection: Selection) -> Cluster {
    Cluster::new(nodes.iter().map(|&(id, cores)| node(id, cores)), selection).unwrap()
}

fn queued(id: u128, cores: u64, replicas: u32, limit: Option<u64>) -> QueuedJob {
    let (seq, tenant, priority) = (id as u64, id % 4, 128);
    let (submitted, max_duration_ns) = (t(0), limit);
    QueuedJob { id, seq, tenant, priority, submitted, demand: demand(cores, cores, 1), replicas, max_duration_ns }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_starts_fits_and_the_head_is_not_delayed(
        nodes in prop::collection::vec(1u64..12, 1..6),
        running in prop::collection::vec((1u64..6, 1u32..4, prop::option::of(1u64..300)), 0..12),
        waiting in prop::collection::vec((1u64..9, 1u32..5, prop::option::of(1u64..300)), 1..25),
        kind in 0u8..4,
    ) {
        let selection = match kind {
            0 => Selection::BestFit,
            1 => Selection::LeastAllocated,
            2 => Selection::RoundRobin,
            _ => Selection::StakeWeighted { seed: [7; 32] },
        };
        let specs: Vec<(u32, u64)> = (0..).zip(nodes).collect();
        let mut cluster = cluster(&specs, selection);
        let now = t(1_000);
        let mut ends = BTreeMap::new();
        for (id, (cores, replicas, limit)) in (1_000u128..).zip(running) {
            if let Some(place) = cluster.place(id, &demand(cores, cores, 1), replicas) {
                cluster.start(id, id % 4, demand(cores, cores, 1), place).unwrap();
                ends.extend(limit.map(|l| (id, t(1_000 + l))));
            }
        }
        let queue: Vec<QueuedJob> =
            (1u128..).zip(waiting).map(|(id, (cores, replicas, limit))| queued(id, cores, replicas, limit)).collect();
        let weights = BTreeMap::new();
        let rules = PlanRules { max_wait_ns: u64::MAX, weights: &weights };
        let plan = cluster.plan(now, &rules, |id| ends.get(&id).copied(), &queue);
        let mut shuffled = queue.clone();
        shuffled.reverse();
        prop_assert_eq!(&cluster.plan(now, &rules, |id| ends.get(&id).copied(), &shuffled), &plan);
        for start in &plan.started {
            let job = &queue[start.id as usize - 1];
            prop_assert_eq!(start.placement.iter().map(|p| p.1).sum::<u32>(), job.replicas);
            // `start` refuses what a node has no room for.
            cluster.start(job.id, job.tenant, job.demand, start.placement.clone()).unwrap();
            ends.extend(job.max_duration_ns.map(|l| (job.id, t(1_000 + l))));
        }
        let Some(head) = plan.head else {
            prop_assert_eq!(plan.started.len(), queue.len());
            return Ok(());
        };
        let head = &queue[head as usize - 1];
        prop_assert!(cluster.place(head.id, &head.demand, head.replicas).is_none());
        if let Some(shadow) = plan.shadow {
            // All that must have ended by then has; and the head fits.
            for (&id, &end) in ends.iter().filter(|e| *e.1 <= shadow) {
                prop_assert!(end >= now);
                cluster.finish(id).unwrap();
            }
            prop_assert!(cluster.place(head.id, &head.demand, head.replicas).is_some());
        }
    }

    #[test]
    fn one_node_is_the_planner(
        waiting in prop::collection::vec((1u64..9, prop::option::of(1u64..300), 0u8..3, 0u128..4), 1..30),
        running in prop::collection::vec((1u64..4, prop::option::of(1u64..300)), 0..5),
    ) {
        let capacity = demand(8, 16, 10);
        let mut cluster = Cluster::new([NodeSpec::new(NodeId::new(3), capacity)], Selection::LowestLatency).unwrap();
        let mut jobs = Vec::new();
        for (id, (cores, limit)) in (100u128..).zip(running) {
            if cluster.start(id, 1, demand(cores, cores, 1), vec![(NodeId::new(3), 1)]).is_ok() {
                jobs.push(RunningJob { id, tenant: 1, demand: demand(cores, cores, 1), end: limit.map(|l| t(50 + l)) });
            }
        }
        let queue: Vec<QueuedJob> = (1u128..)
            .zip(waiting)
            .map(|(id, (cores, limit, priority, tenant))| {
                QueuedJob { priority, tenant, ..queued(id, cores, 1, limit) }
            })
            .collect();
        let planner = Planner { capacity, max_wait_ns: 1_000, weights: BTreeMap::new() };
        let rules = PlanRules { max_wait_ns: 1_000, weights: &planner.weights };
        let end = |id: u128| jobs.iter().find(|j| j.id == id).and_then(|j| j.end);
        let (one, many) = (planner.plan(t(60), &jobs, &queue), cluster.plan(t(60), &rules, end, &queue));
        prop_assert_eq!(one.started, many.started.iter().map(|s| s.id).collect::<Vec<_>>());
        prop_assert_eq!((one.head, one.shadow), (many.head, many.shadow));
    }
}

#[test]
fn replicas_start_all_or_none() {
    let mut c = cluster(&[(1, 4), (2, 4), (3, 1)], Selection::BestFit);
    assert_eq!(c.place(1, &demand(3, 1, 1), 3), None);
    assert_eq!(c.free(), cluster(&[(1, 4), (2, 4), (3, 1)], Selection::BestFit).free());
    let place = c.place(1, &demand(2, 1, 1), 4).unwrap();
    assert_eq!(place, [(NodeId::new(1), 2), (NodeId::new(2), 2)]);
    c.start(1, 9, demand(2, 1, 1), place.clone()).unwrap();
    assert_eq!(c.placement(1), Some(place));
    assert_eq!(c.nodes().map(|n| n.1[0]).collect::<Vec<_>>(), [0, 0, 1_000]);
    c.finish(1).unwrap();
    assert_eq!(c.free()[0], 9_000);
    assert!(c.could_fit(&demand(4, 1, 1), 2) && !c.could_fit(&demand(4, 1, 1), 3));
}

#[test]
fn nodes_are_selected_as_asked() {
    let one = demand(1, 1, 1);
    let pick = |c: &Cluster, job| c.place(job, &one, 1).unwrap()[0].0.get();
    let mut c = cluster(&[(1, 8), (2, 8), (3, 8)], Selection::RoundRobin);
    let order: Vec<u32> = (1..=6)
        .map(|job| {
            let place = c.place(job, &one, 1).unwrap();
            c.start(job, 1, one, place.clone()).unwrap();
            place[0].0.get()
        })
        .collect();
    assert_eq!(order, [1, 2, 3, 1, 2, 3]);

    let mut c = cluster(&[(1, 8), (2, 8), (3, 8)], Selection::LowestLatency);
    for (node, nanos) in [(1, 800), (2, 100), (3, 400), (2, 8_100)] {
        c.observe_latency(NodeId::new(node), nanos).unwrap();
    }
    // Node 2 is now at (7 x 100 + 8,100) / 8 = 1,100.
    assert_eq!(pick(&c, 1), 3);
    assert_eq!(c.observe_latency(NodeId::new(9), 1), Err(ScheduleError::UnknownNode { node: NodeId::new(9) }));

    let stakes = [10u128, 30, 60];
    let nodes = (0..3).map(|i| NodeSpec { stake: stakes[i as usize], ..node(i, 1_000) });
    let c = Cluster::new(nodes, Selection::StakeWeighted { seed: [3; 32] }).unwrap();
    let mut drawn = [0u32; 3];
    for job in 0..10_000 {
        drawn[pick(&c, job) as usize] += 1;
    }
    for (count, stake) in drawn.iter().zip(stakes) {
        // Three standard deviations of a binomial are below 150.
        assert!(count.abs_diff(stake as u32 * 100) < 150, "{drawn:?}");
    }
    // The least left over, the most left over.
    let (mut best, mut least) =
        (cluster(&[(1, 8), (2, 4)], Selection::BestFit), cluster(&[(1, 8), (2, 4)], Selection::LeastAllocated));
    for c in [&mut best, &mut least] {
        c.start(50, 1, demand(2, 1, 1), vec![(NodeId::new(1), 1)]).unwrap();
    }
    // Left over for one core and one GiB: 5/8 + 14/16 on node 1, 3/4 + 7/8 on node 2.
    assert_eq!((pick(&best, 1), pick(&least, 1)), (1, 2));
}

#[test]
fn bad_input_is_refused() {
    let twice = [node(1, 4), node(1, 5)];
    assert_eq!(Cluster::new(twice, Selection::BestFit).err(), Some(ScheduleError::KnownNode { node: NodeId::new(1) }));
    let huge = Demand { resources: Resources::new(Resources::LIMIT - 1, 0, 0).unwrap(), slots: 1 };
    let nodes = [1, 2].map(|id| NodeSpec::new(NodeId::new(id), huge));
    assert_eq!(Cluster::new(nodes, Selection::BestFit).err(), Some(UnitError::ResourceRange.into()));
    let mut c = cluster(&[(1, 4)], Selection::BestFit);
    let at = |id, n| vec![(NodeId::new(id), n)];
    assert_eq!(c.start(1, 1, demand(1, 1, 1), at(2, 1)), Err(ScheduleError::UnknownNode { node: NodeId::new(2) }));
    assert_eq!(c.start(1, 1, demand(1, 1, 1), at(1, 0)), Err(ScheduleError::NoReplicas));
    assert_eq!(c.start(1, 1, demand(1, 1, 1), vec![]), Err(ScheduleError::NoReplicas));
    assert_eq!(c.start(1, 1, demand(1, 1, 1), at(1, u32::MAX)), Err(ScheduleError::NoRoom));
    let both = vec![(NodeId::new(1), 1), (NodeId::new(1), 1)];
    assert_eq!(c.start(1, 1, demand(1, 1, 1), both), Err(ScheduleError::NoReplicas));
    c.start(1, 1, demand(1, 1, 1), at(1, 1)).unwrap();
    assert_eq!(c.start(1, 1, demand(1, 1, 1), at(1, 1)), Err(ScheduleError::IdConflict));
    assert_eq!(c.finish(2), Err(ScheduleError::UnknownJob));
    let empty = Cluster::new([], Selection::BestFit).unwrap();
    assert_eq!(empty.place(1, &demand(1, 1, 1), 1), None);
    assert!(!empty.could_fit(&demand(1, 1, 1), 1));
}
