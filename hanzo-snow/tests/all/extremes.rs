//! Settings and numbers at the ends of their ranges: no panic, no run without end, no memory that was not asked for.

use std::time::Duration;

use hanzo_snow::analysis::{AnalysisError, Answers, LumpedChain, LumpedRuns, poll_success, run_within};
use hanzo_snow::fastpath::{Ack, Certificate};
use hanzo_snow::settlement::{
    Input, Memory, Message, Output, QuorumCertificate, Replica, ReplicaConfig, ReplicaError, Root, Timeout,
};
use hanzo_snow::{
    Committee, DualConfig, DualInput, DualTrack, MAX_VALIDATORS, MessageError, Params, Signature, Timestamp,
    ValidatorSet,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::support::unsigned::Unsigned;

fn committee() -> Committee {
    Committee::new([9; 32], 0, ValidatorSet::new((0..4).map(|n| ([n; 32], 1))).unwrap()).unwrap()
}

#[test]
fn the_largest_sample_is_followed_like_any_other() {
    let params = Params::builder().k(u16::MAX).alpha_preference(40_000).conditions([(u16::MAX, 1)]);
    let params = params.concurrent_repolls(1).build().unwrap();
    let chain = LumpedChain::new(&params, 70_000, 0, Answers::Silent).unwrap();
    let end = LumpedRuns::new(&chain).sample(0, 3, &mut SmallRng::seed_from_u64(1)).unwrap();
    assert_eq!((end.rounds, end.decided), (1, [70_000, 0]));
    assert_eq!(chain.forecast(0, 3).unwrap().decided, [1.0, 0.0]);
}

#[test]
fn exact_chains_of_many_classes_are_refused_before_they_fill_the_memory() {
    let params = Params::builder().k(12).alpha_preference(7).conditions([(9, 60), (10, 50), (11, 40)]);
    let chain = LumpedChain::new(&params.build().unwrap(), 24, 0, Answers::Silent).unwrap();
    let Err(AnalysisError::TooLarge { most }) = chain.exact(12, 1_000, 1e-9) else { panic!("not refused") };
    assert!(most < 1 << 12, "{most} states of that many classes are too much");
}

#[test]
fn long_windows_are_summed_like_short_ones() {
    // Where every second poll or so succeeds, P[no three in a row in t polls] by the transfer of the run's length.
    let q = poll_success(1, 1, 0.5).unwrap();
    let mut open = [1.0, 0.0, 0.0];
    for trials in 0..200 {
        let expected = 1.0 - open.iter().sum::<f64>();
        assert!((run_within(&q, 3, trials).unwrap() - expected).abs() < 1e-12, "{trials} polls");
        open = [open.iter().sum::<f64>() / 2.0, open[0] / 2.0, open[1] / 2.0];
    }
}

#[test]
fn no_more_transactions_are_certified_than_are_acknowledged() {
    let committee = committee();
    let acks: Vec<Ack> = (0..3)
        .map(|acker| {
            let (vertex, bitmap) = ([7; 32], [0b101].into());
            Ack { vertex, round: 1, bitmap, acker, signature: Signature::from([]) }
        })
        .collect();
    let certificate = Certificate::new(0, acks.iter()).unwrap();
    for count in [3, 8, 9, usize::MAX] {
        assert_eq!(certificate.certified(&committee, count), [0, 2], "{count}");
    }
    assert_eq!(certificate.certified(&committee, 2), [0]);
}

#[test]
fn a_replica_with_all_the_time_there_is_gives_up_with_the_others() {
    let config = ReplicaConfig::new([0; 32]).base_timeout(Duration::MAX);
    let now = Timestamp::from_nanos(0);
    let mut replica = Replica::new(config, committee(), Unsigned, Memory::Fresh(Root::default()), now).unwrap();
    for voter in 1..4 {
        let high = QuorumCertificate::root([0; 32]);
        let timeout = Timeout { view: 1, high, entry: None, vote: None, voter, signature: Signature::from([]) };
        let message = Message::Timeout(timeout);
        // The last one comes after the view has been left.
        let _ = replica.handle(now, Input::Message { from: [voter as u8; 32], epoch: 0, message });
        while let Some(output) = replica.poll_output() {
            if let Output::Persist { token, .. } = output {
                replica.handle(now, Input::Persisted(token)).unwrap();
            }
        }
    }
    assert_eq!((replica.view(), replica.is_poisoned()), (2, false));
}

#[test]
fn next_validators_that_make_no_committee_are_refused() {
    let now = Timestamp::from_nanos(0);
    let memory = Memory::Fresh(Root::default());
    let mut node = DualTrack::new(DualConfig::new([0; 32]), committee(), Unsigned, memory, 1, now).unwrap();
    let many = (0..=MAX_VALIDATORS as u32).map(|n| {
        let mut name = [0; 32];
        name[..4].copy_from_slice(&n.to_be_bytes());
        (name, 1)
    });
    let refused = MessageError::Malformed { field: "next validators" };
    for next in [vec![], vec![([1; 32], 0)], vec![([1; 32], 1), ([1; 32], 2)], many.collect()] {
        assert_eq!(node.handle(now, DualInput::Next(next.into())), Err(ReplicaError::Message(refused)));
    }
    assert_eq!(node.handle(now, DualInput::Next([([1; 32], 1)].into())), Ok(()));
}

#[cfg(feature = "simulate")]
mod simulated {
    use std::time::Duration;

    use hanzo_snow::fastpath::MAX_TX_BYTES;
    use hanzo_snow::simulate::{DualSimulation, Fault, Latency, Network, SimulateError};
    use hanzo_snow::{BlockRef, Error};

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_split_network_over_links_without_latency_ends() {
        let mut network = Network::builder([1; 4]).build().unwrap();
        let block = |id| BlockRef { id: [id; 32], parent: [0; 32], height: 1 };
        network.propose_split(&[block(1), block(2)], |node| node % 2).unwrap();
        let end = network.run_over(&Latency::Constant(0), 1_000);
        assert!(matches!(end, Err(SimulateError::NotFinal { undecided: 4, .. })), "{end:?}");
    }

    #[test]
    fn transactions_too_large_are_left_out() -> Result<(), Error> {
        for (bytes, submitted) in [(MAX_TX_BYTES, 2), (MAX_TX_BYTES + 1, 0), (usize::MAX, 0)] {
            let mut network = DualSimulation::builder([1; 4]).submit_every(0, 1, 2, bytes).build()?;
            network.run_until(SECOND / 10)?;
            assert_eq!(network.report().submitted, submitted, "{bytes} bytes");
        }
        Ok(())
    }

    #[test]
    fn faults_are_drawn_for_any_number_of_nodes_and_any_time() -> Result<(), Error> {
        for (down, until) in [(usize::MAX, SECOND), (1, u64::MAX), (0, 0), (4, 3)] {
            for seed in 0..8 {
                DualSimulation::builder([1; 4]).random_faults(seed, down, until).build()?;
            }
        }
        Ok(())
    }

    #[test]
    fn clocks_and_timeouts_at_their_limits_stop_nobody_else() -> Result<(), Error> {
        let builder = DualSimulation::builder([1; 4]).latency(Latency::Constant(5_000_000));
        let builder = builder.config(|config| config.fast_path(|fast| fast.round_timeout(Duration::MAX)));
        let builder = builder.fault(0, Fault::Slow(3, 30_000)).fault(SECOND, Fault::ClockJump(3, i64::MIN));
        let mut network = builder.submit_every(0, 10_000_000, 100, 32).build()?;
        network.run_until(4 * SECOND)?;
        assert!(network.report().settled > 0);
        Ok(())
    }
}
