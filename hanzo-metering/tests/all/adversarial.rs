//! Every kind of bad input the crate names, and that it leaves no trace.

use hanzo_metering::*;

fn t(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn cores(millicores: u64) -> Resources {
    Resources::new(millicores, 0, 0).unwrap()
}

#[test]
fn units_out_of_range() {
    let limit = Resources::LIMIT;
    for bad in [(limit, 0, 0), (0, limit, 0), (0, 0, u64::MAX)] {
        assert_eq!(Resources::new(bad.0, bad.1, bad.2), Err(UnitError::ResourceRange));
    }
    assert_eq!(cores(limit - 1).checked_mul(2), Err(UnitError::ResourceRange));
    assert_eq!(Weights::new(0, 0, 0), Err(UnitError::ZeroWeights));
    let all = Usage { cpu: u128::MAX, memory: 1, gpu: 0 };
    assert_eq!(Tariff::hanzo(1).quanta(&all), Err(UnitError::Overflow));
    assert_eq!(all.checked_add(&all), Err(UnitError::Overflow));

    let mut carry = Carry::default();
    let q = Quanta::new(u128::MAX);
    let (rt, tee) = (RuntimeKind::Docker, TeeKind::None);
    assert_eq!(Tariff::hanzo(u128::MAX).price(q, rt, tee, &mut carry), Err(UnitError::Overflow));
    assert_eq!(Tariff::hanzo(1 << 100).price(q, rt, tee, &mut carry), Err(UnitError::Overflow));
    let negative = SignedQuanta::new(q, true);
    assert_eq!(Tariff::hanzo(1 << 100).price(negative, rt, tee, &mut carry), Err(UnitError::Overflow));
    assert_eq!(carry, Carry::default());
    let mut foreign = Carry::from_raw(u128::MAX);
    assert_eq!(Tariff::hanzo(1).price(Quanta::new(1), rt, tee, &mut foreign), Err(UnitError::CarryRange));
    assert_eq!(foreign.raw(), u128::MAX);
    // A product of multipliers past u32 is no multiplier.
    let wild =
        Tariff::hanzo(1).with_tee_bps([0, u32::MAX, u32::MAX]).with_tee(TeePolicy::RewardOnly, TeeStacking::Product);
    assert_eq!(wild.mint(Quanta::new(1), rt, TeeKind::CpuAndGpu, &mut carry), Err(UnitError::Overflow));
}

#[test]
fn tariff_bytes() {
    let good = Tariff::hanzo(5).to_bytes();
    for len in 0..good.len() {
        assert_eq!(Tariff::from_bytes(&good[..len]), Err(UnitError::Length { len, expected: 81 }));
    }
    let mut bad = good;
    bad[1] = 2;
    assert_eq!(Tariff::from_bytes(&bad), Err(UnitError::UnknownVersion { version: 2 }));
    for at in 42..45 {
        let mut bad = good;
        bad[at] = 9;
        assert_eq!(Tariff::from_bytes(&bad), Err(UnitError::UnknownKind { code: 9 }));
    }
    let mut bad = good;
    bad[2..14].fill(0);
    assert_eq!(Tariff::from_bytes(&bad), Err(UnitError::ZeroWeights));
}

#[test]
fn readings() {
    let ceiling = Some(cores(1_000));
    let config = MeterConfig { capacity: 3, retention_ns: 50, max_skew_ns: 5, ceiling, ..MeterConfig::default() };
    let mut meter = Meter::new(config, t(0));
    let read = |source: &'static [u8], id: &'static [u8], at, n| Reading {
        source,
        id,
        at: t(at),
        value: Value::Reserved(cores(n)),
    };
    assert_eq!(meter.record(t(10), read(b"s", b"1", 15, 1)), Ok(Recorded::New));
    assert_eq!(meter.record(t(10), read(b"s", b"2", 16, 1)), Err(MeterError::Future { at: t(16), limit: t(15) }));
    assert_eq!(meter.record(t(10), read(b"s", b"1", 15, 2)), Err(MeterError::Conflict));
    assert_eq!(meter.record(t(10), read(b"s", b"1", 14, 1)), Err(MeterError::Conflict));
    assert_eq!(meter.record(t(10), read(b"s", b"2", 9, 1_001)), Err(MeterError::AboveCeiling));
    // ("a-b", "c") is not ("a", "b-c").
    assert_eq!(meter.record(t(100), read(b"a-b", b"c", 60, 1)), Ok(Recorded::New));
    assert_eq!(meter.record(t(100), read(b"a", b"b-c", 60, 1)), Ok(Recorded::New));
    assert_eq!(meter.record(t(100), read(b"s", b"9", 70, 1)), Err(MeterError::Full { capacity: 3 }));
    meter.close(t(100)).unwrap();
    assert_eq!(meter.record(t(100), read(b"s", b"9", 49, 1)), Err(MeterError::TooLate { at: t(49), oldest: t(50) }));
    assert_eq!(meter.close(t(99)), Err(MeterError::WindowClosed { closed_to: t(100) }));
    assert_eq!(meter.closed_to(), t(100));
    // A reading whose time is over makes room, its value still holds.
    let window = meter.close(t(200)).unwrap();
    assert_eq!((window.usage.cpu, meter.len()), (100, 1));
}

fn wallet(id: u128, credit_limit: u128) -> NewAccount {
    NewAccount { flag: AccountFlag::DebitsLeCredits, credit_limit, ..NewAccount::new(AccountId::new(id), 1) }
}

fn tr(id: u128, debit: u128, credit: u128, amount: u128) -> Transfer {
    Transfer::new(TransferId::new(id), AccountId::new(debit), AccountId::new(credit), amount)
}

fn ledger() -> Ledger {
    let mut l = Ledger::new();
    l.open(t(1), NewAccount::new(AccountId::new(1), 1)).unwrap();
    for id in 2..6 {
        l.open(t(1), wallet(id, 0)).unwrap();
    }
    l.open(t(1), NewAccount::new(AccountId::new(9), 2)).unwrap();
    l
}

#[test]
fn accounts() {
    let mut l = ledger();
    assert_eq!(l.open(t(0), wallet(7, 0)), Err(LedgerError::ClockBackwards { now: t(0), ledger_time: t(1) }));
    assert_eq!(l.open(t(1), wallet(0, 0)), Err(LedgerError::ZeroId));
    assert_eq!(l.open(t(1), wallet(u128::MAX, 0)), Err(LedgerError::MaxId));
    assert_eq!(l.open(t(1), wallet(2, 0)).map(|o| o.status), Ok(Status::Existing));
    let conflict = |field| Err(LedgerError::IdConflict { field });
    assert_eq!(l.open(t(1), NewAccount { owner: [1; 32], ..wallet(2, 0) }), Err(LedgerError::OwnerMismatch));
    assert_eq!(l.open(t(1), NewAccount { ledger: 2, ..wallet(2, 0) }), conflict(Field::Ledger));
    assert_eq!(l.open(t(1), NewAccount { code: 2, ..wallet(2, 0) }), conflict(Field::Code));
    assert_eq!(l.open(t(1), wallet(2, 1)), conflict(Field::CreditLimit));
    assert_eq!(l.open(t(1), NewAccount { flag: AccountFlag::None, ..wallet(2, 0) }), conflict(Field::Flag));

    assert_eq!(l.close(t(1), AccountId::new(77)), Err(LedgerError::AccountNotFound));
    l.apply(t(1), &tr(1, 1, 2, 10)).unwrap();
    assert_eq!(l.close(t(1), AccountId::new(2)), Err(LedgerError::NotEmpty));
    l.apply(t(1), &Transfer::pending(TransferId::new(2), AccountId::new(2), AccountId::new(3), 10, 0)).unwrap();
    assert_eq!(l.close(t(1), AccountId::new(2)), Err(LedgerError::PendingRemain));
    l.apply(t(1), &Transfer::post(TransferId::new(3), TransferId::new(2), None)).unwrap();
    l.close(t(1), AccountId::new(2)).unwrap();
    assert_eq!(l.freeze(t(1), AccountId::new(2)), Err(LedgerError::AccountClosed));
    assert_eq!(l.apply(t(1), &tr(4, 1, 2, 1)), Err(LedgerError::CreditClosed));
    assert_eq!(l.apply(t(1), &tr(5, 2, 3, 1)), Err(LedgerError::DebitClosed));
    let mut other = Ledger::new();
    let far = l.handle(AccountId::new(9)).unwrap();
    assert_eq!(other.balance(far), None);
    other.open(t(0), wallet(3, 0)).unwrap();
    assert_eq!(other.pending(far).count(), 0);
}

#[test]
fn an_answer_given_is_not_turned() {
    let mut l = ledger();
    let poor = tr(1, 2, 3, 5);
    assert_eq!(l.apply(t(1), &poor), Err(LedgerError::ExceedsCredits { room: 0 }));
    l.apply(t(1), &tr(2, 1, 2, 100)).unwrap();
    assert_eq!(l.apply(t(1), &poor), Err(LedgerError::IdAlreadyFailed));
    // A malformed one uses nothing up.
    assert_eq!(l.apply(t(1), &tr(3, 2, 2, 5)), Err(LedgerError::SameAccount));
    assert_eq!(l.apply(t(1), &tr(3, 2, 3, 5)).map(|a| a.amount), Ok(5));
    assert_eq!(l.apply(t(1), &tr(3, 2, 3, 5).with_code(1)), Err(LedgerError::IdConflict { field: Field::Code }));
    assert_eq!(l.apply(t(1), &tr(4, 2, 9, 5)), Err(LedgerError::LedgerMismatch { debit: 1, credit: 2 }));
    // Balancing moves what there is, and nothing is not a movement.
    assert_eq!(l.apply(t(1), &tr(5, 2, 3, 1_000).balancing()).map(|a| a.amount), Ok(95));
    assert_eq!(l.apply(t(1), &tr(5, 2, 3, 1_000).balancing()).map(|a| a.status), Ok(Status::Existing));
    assert_eq!(l.apply(t(1), &tr(6, 2, 3, 1).balancing()), Err(LedgerError::ExceedsCredits { room: 0 }));
    let late = Transfer::pending(TransferId::new(7), AccountId::new(3), AccountId::new(2), 1, u64::MAX);
    assert_eq!(l.apply(t(1), &late), Err(LedgerError::TimeoutOverflow));
    assert_eq!(l.apply(t(1), &tr(8, 1, 3, u128::MAX - 50)), Err(LedgerError::Overflow));
    l.audit().unwrap();
}

#[test]
fn chains() {
    let mut l = ledger();
    let chain = |l: &mut Ledger, legs: &[Transfer]| l.apply_linked(t(1), legs).map_err(|e| (e.index, e.error));
    assert_eq!(chain(&mut l, &[]), Err((0, LedgerError::EmptyChain)));
    let long: Vec<Transfer> = (1..8_192).map(|i| tr(i, 1, 2, 1)).collect();
    assert_eq!(chain(&mut l, &long), Err((0, LedgerError::ChainTooLong { len: 8_191, max: 8_190 })));
    assert_eq!(chain(&mut l, &[tr(1, 1, 2, 5), tr(2, 2, 3, 6)]), Err((1, LedgerError::ExceedsCredits { room: 5 })));
    assert!(l.is_empty());
    assert_eq!(l.apply(t(1), &tr(1, 1, 2, 5)).map(|a| a.status), Ok(Status::New));
    assert_eq!(l.apply(t(1), &tr(2, 2, 3, 5)), Err(LedgerError::IdAlreadyFailed));
    assert_eq!(chain(&mut l, &[tr(1, 1, 2, 5), tr(3, 2, 3, 5)]), Err((0, LedgerError::PartlyExists)));
    assert_eq!(chain(&mut l, &[tr(3, 2, 3, 5), tr(3, 2, 3, 5)]), Err((1, LedgerError::PartlyExists)));
    assert_eq!(chain(&mut l, &long[9..]), Ok(Status::New));
    assert_eq!(chain(&mut l, &long[9..]), Ok(Status::Existing));
    l.audit().unwrap();
}

#[test]
fn holds() {
    let mut l = ledger();
    let p = TransferId::new(1);
    l.apply(t(1), &Transfer::pending(p, AccountId::new(1), AccountId::new(2), 9, 100)).unwrap();
    assert_eq!(l.release_hold(t(1), p), Err(LedgerError::NotHeld));
    l.hold(t(51), p).unwrap();
    assert_eq!(l.hold(t(51), p), Err(LedgerError::Held));
    assert_eq!(l.apply(t(500), &Transfer::void(TransferId::new(2), p)), Err(LedgerError::Held));
    l.release_hold(t(1_000), p).unwrap();
    assert_eq!(l.advance(t(1_049)), Ok(0));
    assert_eq!(l.advance(t(1_050)), Ok(1));
    assert_eq!(l.apply(t(1_050), &Transfer::post(TransferId::new(3), p, None)), Err(LedgerError::Expired));
    l.hold(t(1_050), TransferId::new(77)).unwrap_err();
    // So late that its remaining time passes the clock: it stays held.
    let q = TransferId::new(4);
    l.apply(t(1_050), &Transfer::pending(q, AccountId::new(1), AccountId::new(2), 9, 100)).unwrap();
    l.hold(t(1_050), q).unwrap();
    assert_eq!(l.release_hold(t(u64::MAX), q), Err(LedgerError::TimeoutOverflow));
    assert_eq!(l.transfer(q).and_then(|e| e.pending), Some(PendingState::Held));
    l.audit().unwrap();
}

fn treasury() -> (Treasury, [u128; 4]) {
    let mut treasury = Treasury::new(TreasuryConfig::new(1, [FeeSchedule::hanzo()])).unwrap();
    let wallets = [1, 2, 3, 4].map(|i| treasury.open_party(t(1), &[i; 32]).unwrap().get());
    treasury.apply(t(1), &Effect::Mint { id: 1, to: wallets[0], amount: 1_000 }).unwrap();
    (treasury, wallets)
}

fn recipients(w: &[u128; 4]) -> Vec<(Role, u128)> {
    vec![(Role::Operator, w[1]), (Role::Validator, w[2])]
}

#[test]
fn parties_whose_ids_collide() {
    let mut l = Treasury::new(TreasuryConfig::new(1, [])).unwrap();
    l.open_wallet(t(1), AccountId::of_party(&[1; 32]), [9; 32]).unwrap();
    assert_eq!(l.open_party(t(1), &[1; 32]), Err(LedgerError::OwnerMismatch.into()));
}

#[test]
fn no_effect_names_an_account_of_the_treasury() {
    let (mut treasury, w) = treasury();
    for account in (1..=5).map(AccountId::new) {
        let system = Err(TreasuryError::SystemAccount { account });
        let a = account.get();
        for effect in [
            Effect::Pay { id: 2, from: a, to: w[0], amount: 1 },
            Effect::Pay { id: 2, from: w[0], to: a, amount: 1 },
            Effect::Burn { id: 2, from: a, amount: 1 },
            Effect::Mint { id: 2, to: a, amount: 1 },
            Effect::Lock { id: 2, from: a, amount: 1, timeout_ns: 0 },
            Effect::Bond { id: 2, account: a, amount: 1 },
            Effect::Distribute { id: 2, from: w[0], shares: vec![(a, 1)], amount: 1 },
            Effect::Split { id: 2, from: w[0], schedule: 0, recipients: vec![(Role::Operator, a)], amount: 1 },
            Effect::Slash { account: a, epoch: 0, bps: 1, evidence: [0; 32], reporter: None, reward_bps: 0 },
        ] {
            assert_eq!(treasury.apply(t(1), &effect), system, "{effect:?}");
        }
        assert!(
            treasury.set_frozen(t(1), account, true).is_err() && treasury.open_wallet(t(1), account, [0; 32]).is_err()
        );
    }
    assert_eq!(treasury.audit().unwrap().wallets, 1_000);
}

#[test]
fn supply_cap() {
    let config = TreasuryConfig { max_supply: 100, ..TreasuryConfig::new(1, []) };
    let mut treasury = Treasury::new(config).unwrap();
    let a = treasury.open_party(t(1), &[1; 32]).unwrap().get();
    treasury.apply(t(1), &Effect::Mint { id: 1, to: a, amount: 90 }).unwrap();
    treasury.apply(t(1), &Effect::Burn { id: 2, from: a, amount: 90 }).unwrap();
    let over = treasury.apply(t(1), &Effect::Mint { id: 3, to: a, amount: 11 });
    assert_eq!(over, Err(LedgerError::ExceedsCredits { room: 10 }.into()));
    assert!(Treasury::new(TreasuryConfig { max_supply: 0, ..TreasuryConfig::new(1, []) }).is_err());
}

#[test]
fn escrows() {
    let (mut treasury, w) = treasury();
    let ten = |id, escrow| Effect::Settle { id, escrow, bps: 10_000, recipients: recipients(&w) };
    assert_eq!(treasury.apply(t(1), &ten(2, 99)), Err(TreasuryError::UnknownEscrow));
    assert_eq!(treasury.apply(t(1), &ten(2, 99)), Err(LedgerError::IdAlreadyFailed.into()));
    // A mint is not an escrow.
    assert_eq!(treasury.apply(t(1), &Effect::Refund { id: 3, escrow: 1 }), Err(TreasuryError::UnknownEscrow));
    for (id, escrow) in [(0, 9), (u128::MAX, 9)] {
        assert!(matches!(treasury.apply(t(1), &ten(id, escrow)), Err(TreasuryError::Ledger(_))));
    }

    treasury.apply(t(1), &Effect::Lock { id: 10, from: w[0], amount: 500, timeout_ns: 100 }).unwrap();
    let conflict = Effect::Lock { id: 10, from: w[0], amount: 501, timeout_ns: 100 };
    assert_eq!(treasury.apply(t(1), &conflict), Err(TreasuryError::IdConflict));
    let bad = |bps, recipients| Effect::Settle { id: 11, escrow: 10, bps, recipients };
    assert_eq!(treasury.apply(t(1), &bad(10_001, recipients(&w))), Err(TreasuryError::BadBps { bps: 10_001 }));
    let missing = FeeError::MissingRole { role: Role::Validator };
    assert_eq!(treasury.apply(t(1), &bad(1, recipients(&w)[..1].to_vec())), Err(missing.into()));
    let twice = [recipients(&w), recipients(&w)].concat();
    assert_eq!(treasury.apply(t(1), &bad(1, twice)), Err(FeeError::DuplicateRole { role: Role::Operator }.into()));
    let extra = [recipients(&w), vec![(Role::Worker, w[3])]].concat();
    assert_eq!(treasury.apply(t(1), &bad(1, extra)), Err(FeeError::UnknownRole { role: Role::Worker }.into()));

    // Disputed, its clock stands; a settlement that fails leaves it so, and the next one goes through.
    treasury.apply(t(51), &Effect::Dispute { id: 12, escrow: 10 }).unwrap();
    assert_eq!(treasury.apply(t(51), &Effect::Dispute { id: 13, escrow: 10 }), Err(TreasuryError::AlreadyDisputed));
    treasury.set_frozen(t(5_000), AccountId::new(w[1]), true).unwrap();
    assert_eq!(treasury.apply(t(5_000), &ten(14, 10)), Err(LedgerError::CreditFrozen.into()));
    assert_eq!(treasury.escrow(10), Some(EscrowState::Disputed));
    treasury.audit().unwrap();
    treasury.set_frozen(t(5_000), AccountId::new(w[1]), false).unwrap();
    assert_eq!(treasury.apply(t(5_000), &ten(14, 10)), Err(LedgerError::IdAlreadyFailed.into()));
    treasury.apply(t(5_000), &ten(15, 10)).unwrap();
    assert_eq!(treasury.escrow(10), Some(EscrowState::Settled));
    let done = TreasuryError::Terminal { state: EscrowState::Settled };
    assert_eq!(treasury.apply(t(5_000), &Effect::Refund { id: 16, escrow: 10 }), Err(done));

    // Nobody settles the next one: the client has the money back.
    treasury.apply(t(5_000), &Effect::Lock { id: 20, from: w[0], amount: 500, timeout_ns: 100 }).unwrap();
    assert_eq!(treasury.available(w[0]), 0);
    assert_eq!(treasury.advance(t(5_100)), Ok(1));
    assert_eq!(treasury.available(w[0]), 500);
    assert_eq!(treasury.escrow(20), Some(EscrowState::Expired));
    let done = TreasuryError::Terminal { state: EscrowState::Expired };
    assert_eq!(treasury.apply(t(5_100), &ten(21, 20)), Err(done));
    // bps 0 is a refund.
    treasury.apply(t(5_100), &Effect::Lock { id: 30, from: w[0], amount: 5, timeout_ns: 0 }).unwrap();
    treasury.apply(t(5_100), &Effect::Settle { id: 31, escrow: 30, bps: 0, recipients: vec![] }).unwrap();
    assert_eq!(treasury.escrow(30), Some(EscrowState::Refunded));
    treasury.audit().unwrap();
}

#[test]
fn bonds_and_stakes() {
    let (mut treasury, w) = treasury();
    let slash =
        |id, bps, n| Effect::SlashBond { id, bond: 2, bps, reporter: Some(w[3]), reward_bps: 5_000, evidence: [n; 32] };
    assert_eq!(treasury.apply(t(1), &Effect::ReturnBond { id: 9, bond: 2 }), Err(TreasuryError::UnknownBond));
    treasury.apply(t(1), &Effect::Bond { id: 2, account: w[0], amount: 3 }).unwrap();
    treasury.apply(t(1), &slash(3, 5_000, 1)).unwrap();
    assert_eq!(treasury.apply(t(1), &slash(4, 5_000, 1)), Err(TreasuryError::EvidenceUsed));
    assert_eq!(treasury.apply(t(1), &slash(4, 5_001, 2)), Err(StakeError::BpsOver { sum: 10_001 }.into()));
    assert_eq!(treasury.apply(t(1), &slash(4, 10_001, 2)), Err(StakeError::BadBps { bps: 10_001 }.into()));
    let draw = |id, amount| Effect::DrawBond { id, bond: 2, to: None, amount };
    assert_eq!(treasury.apply(t(1), &draw(5, 3)), Err(TreasuryError::InsufficientBond { left: 2 }));
    treasury.apply(t(1), &draw(6, 1)).unwrap();
    // Half of 3 twice is 3, of which 1 was drawn: 1 is taken and 1 is short.
    let receipt = treasury.apply(t(1), &slash(7, 5_000, 2)).unwrap();
    assert_eq!((receipt.short, treasury.bond_state(2).unwrap().left), (1, 0));
    treasury.apply(t(1), &Effect::ReturnBond { id: 8, bond: 2 }).unwrap();
    assert_eq!(treasury.apply(t(1), &draw(10, 1)), Err(TreasuryError::BondReturned));

    let worker = AccountId::new(w[0]);
    treasury.bond_stake(t(1), 20, worker, 100).unwrap();
    assert_eq!(treasury.bond_stake(t(1), 20, worker, 100), Ok(Status::Existing));
    assert_eq!(treasury.stakes().balance(worker).bonded, 100);
    assert_eq!(treasury.unbond_stake(t(1), 21, worker, 101), Err(StakeError::InsufficientStake { bonded: 100 }.into()));
    let slash = |epoch, bps, n, account| Effect::Slash {
        account,
        epoch,
        bps,
        evidence: [n; 32],
        reporter: Some(w[3]),
        reward_bps: 2_500,
    };
    assert_eq!(treasury.apply(t(1), &slash(1, 100, 9, w[0])), Err(StakeError::UnknownEpoch { epoch: 1 }.into()));
    treasury.begin_epoch(1).unwrap();
    assert_eq!(treasury.begin_epoch(1), Err(StakeError::EpochOrder { epoch: 1, current: 1 }.into()));
    let receipt = treasury.apply(t(1), &slash(1, 1_000, 9, w[0])).unwrap();
    assert_eq!(receipt.postings.iter().map(|p| p.amount).collect::<Vec<_>>(), [2, 8]);
    assert_eq!(treasury.apply(t(1), &slash(1, 1_000, 9, w[0])).unwrap().status, Status::Existing);
    assert_eq!(treasury.apply(t(1), &slash(1, 1_001, 9, w[0])), Err(StakeError::IdConflict.into()));
    assert_eq!(treasury.apply(t(1), &slash(1, 9_001, 8, w[0])), Err(StakeError::BpsOver { sum: 10_001 }.into()));
    // The reporter's account is frozen: neither money nor stake moves, and the slash can be tried again.
    treasury.set_frozen(t(1), AccountId::new(w[3]), true).unwrap();
    assert_eq!(treasury.apply(t(1), &slash(1, 1_000, 7, w[0])), Err(LedgerError::CreditFrozen.into()));
    assert_eq!(treasury.stakes().balance(worker).bonded, 90);
    treasury.set_frozen(t(1), AccountId::new(w[3]), false).unwrap();
    treasury.apply(t(1), &slash(1, 1_000, 7, w[0])).unwrap();
    // Unbonded once and withdrawn once, however often it is asked for.
    let week = 7 * 24 * 3_600 * 1_000_000_000;
    for _ in 0..2 {
        assert_eq!(treasury.unbond_stake(t(1), 22, worker, 30), Ok(t(week + 1)));
    }
    assert_eq!(treasury.unbond_stake(t(1), 22, worker, 31), Err(TreasuryError::IdConflict));
    assert_eq!(treasury.withdraw_stake(t(week), 23, worker), Ok(0));
    assert_eq!(treasury.withdraw_stake(t(week + 1), 23, worker), Ok(30));
    assert_eq!(treasury.withdraw_stake(t(week + 2), 23, worker), Ok(30));
    assert_eq!(treasury.withdraw_stake(t(week + 2), 22, worker), Ok(0));
    assert_eq!(treasury.withdraw_stake(t(week + 2), 20, worker), Err(TreasuryError::IdConflict));
    let none = Effect::Split { id: 24, from: w[0], schedule: 0, recipients: recipients(&w), amount: 0 };
    assert_eq!(treasury.apply(t(week + 2), &none), Err(LedgerError::ZeroAmount.into()));
    let none = Effect::Distribute { id: 25, from: w[0], shares: vec![(w[1], 1)], amount: 0 };
    assert_eq!(treasury.apply(t(week + 2), &none), Err(LedgerError::ZeroAmount.into()));
    for epoch in 2..70 {
        treasury.begin_epoch(epoch).unwrap();
    }
    let old = StakeError::EvidenceTooOld { epoch: 1, oldest: 6 };
    assert_eq!(treasury.apply(t(week + 2), &slash(1, 1, 6, w[0])), Err(old.into()));
    assert_eq!(treasury.audit().unwrap().staked, 50);

    assert_eq!(minimum_stake(StakePurpose::AciValidator, 1_000), Ok(100_000_000));
    let worker = |capacity_cu| minimum_stake(StakePurpose::AciWorker { capacity_cu, per_cu: 7 }, 1);
    assert_eq!((worker(10), worker(10_000)), (Ok(10_000), Ok(70_000)));
    assert_eq!(minimum_stake(StakePurpose::DsoBond, u128::MAX), Err(StakeError::Overflow));
}

#[test]
fn schedules_and_emission() {
    let share = |role, bps| Share { role, bps, disposition: Disposition::Pay };
    let short = FeeSchedule::new([share(Role::Worker, 9_999)]);
    assert_eq!(short, Err(FeeError::BadSchedule { sum: 9_999 }));
    assert_eq!(FeeSchedule::new([]), Err(FeeError::BadSchedule { sum: 0 }));
    let twice = FeeSchedule::new([share(Role::Worker, 5_000), share(Role::Worker, 5_000)]);
    assert_eq!(twice, Err(FeeError::DuplicateRole { role: Role::Worker }));
    assert_eq!(distribute(1, &[]), Err(FeeError::NoWeight));
    assert_eq!(distribute(1, &[u128::MAX, 1]), Err(FeeError::Overflow));
    assert_eq!(distribute(u128::MAX, &[u128::MAX, 0]), Ok(vec![u128::MAX, 0]));
    let mut fees = FeeAccrual::new(FeeSchedule::hanzo());
    assert!(fees.pay(u128::MAX, &[]).is_err());
    assert_eq!(fees.suspense(), 0);

    let mut emission = Emission::hanzo();
    emission.grant(&[5], 3).unwrap();
    assert_eq!(emission.grant(&[5], 2), Err(EmissionError::EpochOrder { epoch: 2, current: 3 }));
    assert_eq!(emission.grant(&[u128::MAX, 1], 3), Err(EmissionError::Overflow));
    assert_eq!(emission.grant(&[u128::MAX], 3), Err(EmissionError::Overflow));
    assert_eq!(emission.minted(), 5);
    assert_eq!(inference_reward(u128::MAX, 2, 0, 0), Err(EmissionError::Overflow));
    assert_eq!(realized_ppm(1, 0, 1), Err(EmissionError::NothingElapsed));
}

#[test]
fn jobs() {
    let capacity = Demand { resources: cores(4), slots: 2 };
    let config = SchedulerConfig { queue_limit: 2, ..SchedulerConfig::new(capacity) };
    let mut s = Scheduler::new(config.clone()).unwrap();
    assert_eq!(s.submit(JobSpec::new(1, 0, cores(5))), Err(ScheduleError::NeverFits));
    assert_eq!(s.submit(JobSpec { replicas: 3, ..JobSpec::new(1, 0, cores(1)) }), Err(ScheduleError::NeverFits));
    assert_eq!(s.submit(JobSpec { replicas: 0, ..JobSpec::new(1, 0, cores(1)) }), Err(ScheduleError::NoReplicas));
    let wide = JobSpec { replicas: u32::MAX, ..JobSpec::new(1, 0, cores(Resources::LIMIT - 1)) };
    assert_eq!(s.submit(wide), Err(UnitError::ResourceRange.into()));
    assert_eq!(s.submit(JobSpec::new(1, 0, cores(4))), Ok(Status::New));
    assert_eq!(s.submit(JobSpec::new(1, 0, cores(4))), Ok(Status::Existing));
    assert_eq!(s.submit(JobSpec::new(1, 0, cores(3))), Err(ScheduleError::IdConflict));
    assert_eq!(s.submit(JobSpec::new(2, 0, cores(4))), Ok(Status::New));
    assert_eq!(s.submit(JobSpec::new(3, 0, cores(4))), Err(ScheduleError::QueueFull { limit: 2 }));
    assert_eq!(s.forget(1), Err(ScheduleError::IllegalEvent { state: JobState::Queued }));
    let refused = |event, error| Action::Refused { event, error };
    let events = [
        Event::Deployed { job: 1 },
        Event::Finished { job: 8 },
        Event::Block { height: 5 },
        Event::Block { height: 4 },
    ];
    let actions = s.tick(t(9), &events).unwrap();
    assert_eq!(actions[0], refused(0, ScheduleError::IllegalEvent { state: JobState::Queued }));
    assert_eq!(actions[1], refused(1, ScheduleError::UnknownJob));
    assert_eq!(actions[2], refused(3, ScheduleError::HeightBackwards { height: 4, last: 5 }));
    assert!(matches!(&actions[3..], [Action::RecordIntent(i)] if i.spec.id == 1));
    assert_eq!(s.tick(t(8), &[]), Err(ScheduleError::ClockBackwards { now: t(8), last: t(9) }));
    // Bills are by boundary, however many blocks were missed, and never twice.
    let actions = s.tick(t(10), &[Event::Block { height: 345 }, Event::Block { height: 399 }]).unwrap();
    assert_eq!(actions, [Action::Bill { boundary: 300 }, Action::Mint { boundary: 300 }]);
    // A failed attempt comes again after 2 blocks; five of them and it is over.
    for attempt in 1..=5u32 {
        assert_eq!(s.tick(t(10), &[Event::IntentRecorded { job: 1 }]).unwrap(), [Action::Deploy { job: 1, attempt }]);
        s.tick(t(10), &[Event::Cancel { job: 2 }, Event::DeployFailed { job: 1, retry: true }]).unwrap();
        let height = 400 + 100 * u64::from(attempt);
        s.tick(t(10), &[Event::Block { height }]).unwrap();
    }
    assert_eq!((s.state(1), s.state(2)), (Some(JobState::Dead), Some(JobState::Done)));
    assert_eq!(s.cluster().free(), [4, 0, 0, 2]);
    s.forget(1).unwrap();
    assert_eq!(s.state(1), None);

    let mut pool = Pool::new(capacity);
    let one = Demand { resources: cores(3), slots: 1 };
    pool.take(&one).unwrap();
    assert_eq!(pool.take(&one), Err(ScheduleError::NoRoom));
    pool.give_back(&one).unwrap();
    assert_eq!(pool.give_back(&one), Err(ScheduleError::NotTaken));
    assert!(Scheduler::new(SchedulerConfig { interval_blocks: 0, ..config.clone() }).is_err());
    let outcome = JobRecord::Outcome { job: 1, attempt: 1, outcome: Outcome::Ended };
    assert_eq!(Scheduler::recover(config, [outcome]).map(|_| ()), Err(ScheduleError::OutcomeWithoutIntent));
}

/// An invoice names its tariff, and the tariff the basis; so a meter of another basis is not billed by it.
#[test]
fn a_meter_of_another_basis_is_refused() {
    let account = AccountId::new(9);
    let (runtime, tee) = (RuntimeKind::Docker, TeeKind::None);
    let meter = |basis| Meter::new(MeterConfig { basis, ..MeterConfig::default() }, t(0));
    let mut biller = Biller::new(100, 0).unwrap();
    let bases = [Basis::Reserved, Basis::Used, Basis::MaxOfBoth];
    for (n, (of_meter, of_tariff)) in (0..).zip(bases.into_iter().flat_map(|a| bases.map(|b| (a, b)))) {
        let tariff = Tariff::hanzo(1).with_basis(of_tariff);
        let deployment = Deployment { account, tariff, runtime, tee, meter: meter(of_meter) };
        let expected = if of_meter == of_tariff { Ok(()) } else { Err(BillingError::BasisMismatch) };
        assert_eq!(biller.add([n; 32], deployment), expected);
        assert_eq!(biller.contains(&[n; 32]), of_meter == of_tariff);
    }
}

/// A frame that no journal could read again is refused before anything changes.
#[test]
fn a_deployment_beyond_a_frame_is_refused() {
    let mut books =
        Journaled::new(Books::new(BooksConfig::new(TreasuryConfig::new(1, []))).unwrap(), MemoryStore::default());
    let account = books.open_party(t(0), &[1; 32]).unwrap();
    let stored = books.store().bytes().len();
    let deployment = |id: &[u8]| {
        let mut meter = Meter::new(MeterConfig::default(), t(0));
        let value = Value::Reserved(cores(1));
        meter.record(t(0), Reading { source: b"node", id, at: t(0), value }).unwrap();
        let (runtime, tee) = (RuntimeKind::Docker, TeeKind::None);
        Deployment { account, tariff: Tariff::hanzo(1), runtime, tee, meter }
    };
    let refused = books.add_deployment(t(0), [7; 32], account, deployment(&vec![0; Frame::MAX_BODY]));
    let Err(JournaledError::Refused(BooksError::DeploymentTooLong { len, max })) = refused else { panic!() };
    assert!(len > max && max == Frame::MAX_BODY);
    assert_eq!((books.store().bytes().len(), books.state().biller().len()), (stored, 0));
    books.add_deployment(t(0), [7; 32], account, deployment(&[0; 100])).unwrap();
}
