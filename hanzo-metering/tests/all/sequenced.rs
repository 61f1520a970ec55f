//! A ledger of sequenced ids gives the answers of one of arbitrary ids; and what came with it.

use hanzo_metering::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

fn t(ns: u64) -> Timestamp {
    Timestamp::from_nanos(ns)
}

fn ledger(mode: IdMode) -> Ledger {
    let mut ledger = Ledger::with_ids(mode, 9);
    for id in 1..=6 {
        let flag = if id == 1 { AccountFlag::None } else { AccountFlag::DebitsLeCredits };
        ledger.open(t(0), NewAccount { flag, ..NewAccount::new(AccountId::new(id), 1) }).unwrap();
    }
    ledger
}

#[test]
fn sequenced_ids_give_the_answers_of_arbitrary_ones() {
    let mut rng = SmallRng::seed_from_u64(20);
    let (mut any, mut seq) = (ledger(IdMode::Any), ledger(IdMode::Sequenced));
    assert_eq!(seq.id_mode(), IdMode::Sequenced);
    // What the next number of each source is, by the answers so far.
    let mut next = [1u64; 4];
    let mut now = 0;
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..60_000 {
        now += rng.random_range(0..3);
        let legs: Vec<Transfer> = {
            let source = rng.random_range(0..4usize);
            let count = if rng.random_range(0..4) == 0 { rng.random_range(2..5) } else { 1 };
            let first = if rng.random_range(0..5) == 0 { rng.random_range(1..=next[source]) } else { next[source] };
            let leg = |i: u64| {
                let id = TransferId::sequenced(source as u64, first + i);
                let account = |rng: &mut SmallRng| AccountId::new(rng.random_range(1..8));
                let pending = {
                    let source = rng.random_range(0..4usize);
                    let high = next[source];
                    TransferId::sequenced(source as u64, rng.random_range(high.saturating_sub(40).max(1)..=high))
                };
                let (a, b, amount) = (account(&mut rng), account(&mut rng), rng.random_range(0..60));
                match rng.random_range(0..6) {
                    0..3 => Transfer::new(id, a, b, amount),
                    3 => Transfer::pending(id, a, b, amount, rng.random_range(0..50)),
                    4 => Transfer::post(id, pending, (amount > 20).then_some(amount / 2)),
                    _ => Transfer::void(id, pending),
                }
            };
            (0..count).map(leg).collect()
        };
        let show = if let [one] = legs[..] {
            let (a, b) = (any.apply(t(now), &one), seq.apply(t(now), &one));
            assert_eq!(a, b, "{one:?}");
            format!("{a:?}")
        } else {
            let (a, b) = (any.apply_linked(t(now), &legs), seq.apply_linked(t(now), &legs));
            assert_eq!(a, b, "{legs:?}");
            format!("{:?}", a.map_err(|e| e.error))
        };
        *seen.entry(show.split(['{', '(']).nth(1).unwrap_or(&show).trim().to_owned()).or_default() += 1;
        for leg in &legs {
            let (source, n) = ((leg.id.get() >> 64) as usize, leg.id.get() as u64);
            // Known now, by a transfer or as refused: then the source has come so far.
            let used = any.transfer(leg.id).is_some() || any.is_refused(leg.id);
            if used && n >= next[source] {
                next[source] = n + 1;
            }
        }
    }
    assert!(seen.len() > 12, "{seen:?}");
    assert_eq!(any.audit().unwrap(), seq.audit().unwrap());
    assert!(any.transfers().eq(seq.transfers()));
}

#[test]
fn gaps_and_sources_are_checked_and_use_nothing_up() {
    let mut ledger = ledger(IdMode::Sequenced);
    let (a, b) = (AccountId::new(1), AccountId::new(2));
    let with = |id| Transfer::new(id, a, b, 1);
    assert_eq!(ledger.apply(t(1), &with(TransferId::new(5 << 64))), Err(LedgerError::SequenceGap { expected: 1 }));
    assert_eq!(ledger.apply(t(1), &with(TransferId::sequenced(5, 2))), Err(LedgerError::SequenceGap { expected: 1 }));
    assert_eq!(ledger.apply(t(1), &with(TransferId::sequenced(1 << 63, 1))), Err(LedgerError::SourceRange));
    // Format errors come first.
    assert_eq!(ledger.apply(t(1), &Transfer::new(TransferId::sequenced(5, 9), a, a, 1)), Err(LedgerError::SameAccount));
    ledger.apply(t(1), &with(TransferId::sequenced(5, 1))).unwrap();
    assert_eq!(ledger.apply(t(1), &with(TransferId::sequenced(5, 3))), Err(LedgerError::SequenceGap { expected: 2 }));
    // A refusal that depends on the state uses the number up, and the source goes on.
    let beyond = Transfer::new(TransferId::sequenced(5, 2), b, a, 100);
    assert_eq!(ledger.apply(t(1), &beyond), Err(LedgerError::ExceedsCredits { room: 1 }));
    assert_eq!(ledger.apply(t(1), &beyond), Err(LedgerError::IdAlreadyFailed));
    ledger.apply(t(1), &with(TransferId::sequenced(5, 3))).unwrap();
    // Of a refused chain only the culprit's number is; the one before it can still be used.
    let chain = [with(TransferId::sequenced(5, 4)), Transfer::new(TransferId::sequenced(5, 5), b, a, 100)];
    let refused = LinkedError { index: 1, error: LedgerError::ExceedsCredits { room: 3 } };
    assert_eq!(ledger.apply_linked(t(1), &chain), Err(refused));
    ledger.apply(t(1), &with(TransferId::sequenced(5, 6))).unwrap();
    ledger.apply(t(1), &with(TransferId::sequenced(5, 4))).unwrap();
    assert_eq!(ledger.apply(t(1), &chain[1]), Err(LedgerError::IdAlreadyFailed));
    assert_eq!(ledger.audit().unwrap().transfers, 4);
}

#[test]
fn a_dispute_can_be_taken_back() {
    let mut treasury = Treasury::new(TreasuryConfig::new(1, [FeeSchedule::hanzo()]).covering(1)).unwrap();
    let client = treasury.open_party(t(1), &[1; 32]).unwrap().get();
    treasury.apply(t(1), &Effect::Mint { id: 1, to: client, amount: 100 }).unwrap();
    treasury.apply(t(1), &Effect::Lock { id: 2, from: client, amount: 60, timeout_ns: 10 }).unwrap();
    let resume = |id| Effect::Resume { id, escrow: 2 };
    assert_eq!(treasury.apply(t(2), &resume(3)), Err(TreasuryError::NotDisputed));
    treasury.apply(t(5), &Effect::Dispute { id: 4, escrow: 2 }).unwrap();
    treasury.apply(t(1_000), &resume(5)).unwrap();
    assert_eq!(treasury.apply(t(1_001), &resume(5)).unwrap().status, Status::Existing);
    assert_eq!(treasury.escrow(2), Some(EscrowState::Locked));
    // 6 of its 10 ns were left.
    treasury.advance(t(1_005)).unwrap();
    assert_eq!(treasury.available(client), 40);
    treasury.advance(t(1_006)).unwrap();
    assert_eq!((treasury.escrow(2), treasury.available(client)), (Some(EscrowState::Expired), 100));
    assert_eq!(treasury.apply(t(1_007), &resume(6)), Err(TreasuryError::Terminal { state: EscrowState::Expired }));
    treasury.audit().unwrap();
}

#[test]
fn a_refused_lock_has_used_its_id_up() {
    let mut treasury = Treasury::new(TreasuryConfig::new(1, [FeeSchedule::hanzo()])).unwrap();
    let client = treasury.open_party(t(1), &[1; 32]).unwrap().get();
    let lock = |id| Effect::Lock { id, from: client, amount: 60, timeout_ns: 0 };
    assert!(treasury.apply(t(1), &lock(2)).is_err());
    treasury.apply(t(1), &Effect::Mint { id: 1, to: client, amount: 100 }).unwrap();
    assert_eq!(treasury.apply(t(1), &lock(2)), Err(LedgerError::IdAlreadyFailed.into()));
    assert_eq!(treasury.available(client), 100);
    treasury.apply(t(1), &lock(3)).unwrap();
}

#[test]
fn credits_are_earned_by_the_hour_however_it_is_cut_and_cannot_be_passed_on() {
    let mut rng = SmallRng::seed_from_u64(4);
    let ann = AccountId::new(9);
    let mut credits = InferenceCredits::new(2).unwrap();
    credits.open(t(0), ann, [7; 32]).unwrap();
    let (mut time, mut earned) = (0u128, 0);
    for id in 1..2_000 {
        let nanos = rng.random_range(0..20_000_000_000);
        time += u128::from(nanos);
        let got = credits.contribute(t(id), TransferId::new(u128::from(id)), ann, nanos).unwrap();
        assert_eq!(credits.contribute(t(id), TransferId::new(u128::from(id)), ann, nanos), Ok(got));
        earned += got;
        assert_eq!(earned, time * 1_000 / 3_600_000_000_000);
    }
    assert_eq!(credits.balance(ann), earned);
    let now = t(3_000);
    let id = |n| TransferId::new(n);
    assert_eq!(credits.contribute(now, id(5), ann, 1), Err(LedgerError::IdConflict { field: Field::Amount }));
    assert_eq!(credits.spend(now, id(5), ann, 1), Err(LedgerError::IdConflict { field: Field::Kind }));
    assert_eq!(credits.contribute(now, id(9_000), AccountId::new(77), 1), Err(LedgerError::CreditNotFound));
    assert_eq!(credits.spend(now, id(9_001), AccountId::new(1), 1), Err(LedgerError::DebitNotFound));
    let queries = u64::try_from(earned).unwrap();
    credits.spend(now, id(9_002), ann, queries - 1).unwrap();
    assert_eq!(credits.spend(now, id(9_003), ann, 2), Err(LedgerError::ExceedsCredits { room: 1 }));
    assert_eq!(credits.balance(ann), 1);
    credits.ledger().audit().unwrap();
}

#[test]
fn fees_and_gas_are_those_of_the_tables() {
    let fees: Vec<u128> = Model::ALL.iter().map(|m| m.fee()).collect();
    assert_eq!(fees, [10_000_000, 20_000_000, 50_000_000, 100_000_000, 500_000_000]);
    for model in Model::ALL {
        assert_eq!(Model::from_name(model.name()), Some(model));
        assert_eq!(model.fee_of(u64::MAX), Ok(model.fee() * u128::from(u64::MAX)));
    }
    assert_eq!(Model::from_name("Qwen3-1B"), None);
    assert_eq!(GasSchedule::MATMUL.matmul(4_096, 4_096, 4_096), Ok(MilliGas::new(68_719_576_736)));
    assert_eq!(GasSchedule::MATMUL.matmul(u64::MAX, 2, 1), Err(GasError::Overflow));
    assert_eq!(GasSchedule::MATMUL.matmul(u64::MAX, 1, 1), Err(GasError::Overflow));
    assert_eq!(GasSchedule { base: 0, size_cost: 2 }.of_size(u64::MAX), Err(GasError::Overflow));
    assert_eq!(MilliGas::new(u64::MAX).charge(u128::MAX), Err(GasError::Overflow));
    assert_eq!(MilliGas::new(1).charge(1), Ok(1));
    assert_eq!(MilliGas::new(0).charge(u128::MAX), Ok(0));
}
