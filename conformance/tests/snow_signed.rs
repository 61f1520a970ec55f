//! Both tracks of consensus with ML-DSA signatures in the simulator: what is settled is signed, equivocation is proved with
//! signatures that anybody can check, and who signs with another key counts for nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use hanzo_pqc::{Signature, SignatureAlgorithm, SigningKey, VerifyingKey};
use hanzo_snow::simulate::{DualSimulation, DualSimulationBuilder, Fault, Faults, Latency};
use hanzo_snow::{EvidenceKind, Keys, NodeId};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

type MlDsa = Arc<Keys<SigningKey, VerifyingKey, Signature>>;

fn key(node: &NodeId) -> SigningKey {
    SigningKey::from_seed(SignatureAlgorithm::MlDsa44, node).expect("32 bytes")
}

/// Four nodes that know each other's keys; the last signs with another one, if it is an impostor.
fn network(builder: DualSimulationBuilder, impostor: bool) -> DualSimulation<MlDsa> {
    let names: Vec<NodeId> = (0..4).map(DualSimulationBuilder::name).collect();
    let builder = builder.latency(Latency::Uniform { min: 5 * MS, max: 40 * MS });
    let network = builder.build_with(|own| {
        let signer = if impostor && own == names[3] { key(&[7; 32]) } else { key(&own) };
        let directory = names.iter().map(|name| (*name, key(name).verifying_key().clone()));
        Arc::new(Keys::new(signer, directory))
    });
    network.expect("four validators")
}

#[test]
fn what_settles_under_faults_is_signed_and_twins_are_convicted() {
    let links = Faults { drop_per_mille: 20, duplicate_per_mille: 20, reorder_per_mille: 100, ..Faults::default() };
    let builder = DualSimulation::builder([1; 4]).links(links).twins([3]).submit_every(0, 50 * MS, 20, 32);
    let builder = builder.fault(SECOND, Fault::Crash(1)).fault(2 * SECOND, Fault::Restart(1));
    let mut network = network(builder, false);
    network.run_until(8 * SECOND).expect("no invariant is broken");
    let report = network.report();
    assert!(report.settled > 0);
    assert_eq!(network.certified_unsettled(), 0);
    let offenders: BTreeSet<u32> = report.evidence.iter().map(|(_, offender, _)| *offender).collect();
    assert!(offenders.iter().eq(&[3]), "{offenders:?}");
    assert!(report.evidence.iter().any(|(_, _, kind)| *kind == EvidenceKind::Vertices));
    for proof in &report.proofs {
        assert_eq!(proof.verify(network.committee(), network.verifier()), Ok(3));
    }
}

#[test]
fn who_signs_with_another_key_counts_for_nothing() {
    let builder = DualSimulation::builder([1; 4]).submit_every(0, 50 * MS, 20, 32);
    let mut network = network(builder, true);
    network.run_until(8 * SECOND).expect("no invariant is broken");
    let report = network.report();
    // A quarter was given to the impostor, whose vertices nobody acknowledges.
    assert_eq!(report.settled, 15);
    assert!(report.evidence.is_empty());
    let certificates = network.node(0).expect("it is up").fast_path().dag();
    let rounds = 1..=certificates.last_full_round();
    assert!(rounds.flat_map(|round| certificates.round(round)).all(|(author, _)| author != 3));
}
