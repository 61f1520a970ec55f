//! Contests of statistical convictions.

use std::sync::Arc;

use crate::support::common::{EPOCH, party};
use hanzo_poai::*;

const DAY: u64 = 86_400_000;

fn convicted() -> (Registry, SlashOrder, Vec<AuditEntry>, Record) {
    let policy = Arc::new(ConvictionPolicy::default());
    let mut record = Record::new(Arc::clone(&policy), EPOCH);
    let mut all = Vec::new();
    for i in 0u8.. {
        all.push(AuditEntry {
            attestation: AttestationHash::new([i; 32]),
            epoch: EPOCH,
            rung: RungId::new(1),
            outcome: Outcome::Mismatch,
        });
        if record.observe(RungId::new(1), Outcome::Mismatch).unwrap() == Standing::Convicted {
            break;
        }
    }
    let evidence = Evidence::conviction(&policy, party(7), EPOCH, &all).unwrap();
    let mut registry = Registry::new(SlashPolicy::default());
    let order = registry.submit(&evidence, party(8)).unwrap();
    assert_eq!((order.bps, order.contest_ms), (BasisPoints::ALL, DAY));
    (registry, order, all, record)
}

fn resolved(attestation: AttestationHash, resolution: Resolution) -> Resolved {
    Resolved { attestation, resolution, withheld: vec![] }
}

#[test]
fn a_won_dispute_voids_the_conviction() {
    let (mut registry, order, audits, mut record) = convicted();
    let waiting = ContestedOrder::new(order.clone(), Millis::new(5));
    assert_eq!(waiting.until(), Millis::new(5 + DAY));
    let won = resolved(audits[1].attestation, Resolution::WorkerRight);
    let ground = Contest::Dispute { resolved: &won, audits: &audits };
    assert_eq!(waiting.contest(&ground, Millis::new(5 + DAY)), Ok(Some(RungId::new(1))));
    let late = Err(Error::DeadlinePassed { deadline_ms: 5 + DAY, now_ms: 6 + DAY });
    assert_eq!(waiting.contest(&ground, Millis::new(6 + DAY)), late);

    assert_eq!(registry.void(&party(7), EPOCH, &order.evidence), Ok(BasisPoints::ALL));
    assert_eq!(registry.total(&party(7), EPOCH), BasisPoints::ZERO);
    assert_eq!(registry.void(&party(7), EPOCH, &order.evidence), Err(Error::NoOffence));
    assert_eq!(registry.void(&party(9), EPOCH, &order.evidence), Err(Error::NoOffence));
    let again = Evidence::conviction(&Arc::new(ConvictionPolicy::default()), party(7), EPOCH, &audits).unwrap();
    assert_eq!(registry.submit(&again, party(8)), Err(Error::DuplicateEvidence));
    assert_eq!(record.standing(), Standing::Convicted);
    record.void(RungId::new(1)).unwrap();
    assert_eq!((record.standing(), record.counts(RungId::new(1))), (Standing::Clear, Some((0, 0))));
    assert!(record.void(RungId::new(9)).is_err());
}

#[test]
fn other_grounds_do_not_hold() {
    let (_, order, audits, _) = convicted();
    let waiting = ContestedOrder::new(order.clone(), Millis::new(0));
    let ground = |resolved: &Resolved| waiting.contest(&Contest::Dispute { resolved, audits: &audits }, Millis::new(1));
    let elsewhere = resolved(AttestationHash::new([99; 32]), Resolution::WorkerRight);
    assert_eq!(ground(&elsewhere), Err(Error::NoOffence));
    let undecided = resolved(audits[0].attestation, Resolution::Undetermined);
    assert_eq!(ground(&undecided), Err(Error::NoOffence));
    let rung = Rung { p0_ppb: 200_000, inverse_level: 3_000_000 };
    let calibrated = |hits, trials| {
        let measured = Calibration::from_counts(hits, trials).unwrap();
        waiting.contest(&Contest::Calibration { rung: &rung, measured: &measured }, Millis::new(1))
    };
    assert_eq!(calibrated(0, 1_000_000), Err(Error::NoOffence));
    assert_eq!(calibrated(500, 1_000_000), Ok(None));
    // Due after the window, and at once for a proof.
    assert_eq!(waiting.due(Millis::new(DAY)), None);
    assert_eq!(waiting.due(Millis::new(DAY + 1)), Some(&order));
    let proof = SlashOrder { contest_ms: 0, ..order };
    let at_once = ContestedOrder::new(proof.clone(), Millis::new(0));
    let measured = Calibration::from_counts(500, 1_000_000).unwrap();
    let none = at_once.contest(&Contest::Calibration { rung: &rung, measured: &measured }, Millis::new(0));
    assert!(matches!(none, Err(Error::DeadlinePassed { .. })));
    assert_eq!(at_once.due(Millis::new(0)), Some(&proof));
}
