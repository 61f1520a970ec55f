//! Long random histories of the ledger and the treasury, with duplicates, retries and time steps, against plain oracles.

use hanzo_metering::*;
use num_bigint::BigInt;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

fn t(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// What a careful reader of the rules would write first: maps, big integers, everything looked up anew.
#[derive(Default)]
struct Oracle {
    /// Debits pending, debits posted, credits pending, credits posted.
    accounts: BTreeMap<u128, (AccountFlag, u128, [BigInt; 4])>,
    transfers: BTreeMap<u128, Transfer>,
    /// Debit, credit, amount, deadline, state.
    pendings: BTreeMap<u128, (u128, u128, u128, Option<u64>, &'static str)>,
    failed: BTreeSet<u128>,
}

impl Oracle {
    fn room(&self, account: u128, debit: bool) -> Option<BigInt> {
        let (flag, limit, b) = &self.accounts[&account];
        match (flag, debit) {
            (AccountFlag::DebitsLeCredits, true) => Some(&b[3] + *limit - &b[0] - &b[1]),
            (AccountFlag::CreditsLeDebits, false) => Some(&b[1] + *limit - &b[2] - &b[3]),
            _ => None,
        }
    }

    fn add(&mut self, debit: u128, credit: u128, pending: bool, amount: BigInt) {
        let at = usize::from(!pending);
        self.accounts.get_mut(&debit).unwrap().2[at] += &amount;
        self.accounts.get_mut(&credit).unwrap().2[2 + at] += amount;
    }

    fn expire(&mut self, now: u64) {
        let due: Vec<u128> = self
            .pendings
            .iter()
            .filter(|(_, p)| p.4 == "open" && p.3.is_some_and(|d| d <= now))
            .map(|(&id, _)| id)
            .collect();
        for id in due {
            self.settle(id, "Expired");
        }
    }

    fn settle(&mut self, id: u128, state: &'static str) {
        let p = self.pendings.get_mut(&id).unwrap();
        p.4 = state;
        let (d, c, amount, ..) = *p;
        self.add(d, c, true, -BigInt::from(amount));
    }

    fn apply(&mut self, now: u64, t: &Transfer) -> &'static str {
        self.expire(now);
        let id = t.id.get();
        if let Some(old) = self.transfers.get(&id) {
            return if old == t { "existing" } else { "IdConflict" };
        }
        if self.failed.contains(&id) {
            return "IdAlreadyFailed";
        }
        let answer = self.attempt(now, t);
        match answer {
            "ok" => {
                self.transfers.insert(id, *t);
            }
            "PendingNotFound" | "ExceedsCredits" | "ExceedsDebits" | "DebitNotFound" | "CreditNotFound" => {
                self.failed.insert(id);
            }
            _ => {}
        }
        answer
    }

    fn attempt(&mut self, now: u64, t: &Transfer) -> &'static str {
        let (debit, credit, mut amount, balancing, timeout) = match t.kind {
            TransferKind::Transfer { debit, credit, amount, balancing } => (debit, credit, amount, balancing, None),
            TransferKind::Pending { debit, credit, amount, balancing, timeout_ns } => {
                (debit, credit, amount, balancing, Some(timeout_ns))
            }
            TransferKind::Post { pending, amount } => return self.finish(pending.get(), Some(amount)),
            TransferKind::Void { pending } => return self.finish(pending.get(), None),
        };
        let (debit, credit) = (debit.get(), credit.get());
        if !self.accounts.contains_key(&debit) {
            return "DebitNotFound";
        }
        if !self.accounts.contains_key(&credit) {
            return "CreditNotFound";
        }
        if balancing && let Some(room) = self.room(debit, true) {
            if room <= BigInt::ZERO {
                return "ExceedsCredits";
            }
            amount = u128::try_from(room.min(amount.into())).unwrap();
        }
        if self.room(debit, true).is_some_and(|room| BigInt::from(amount) > room) {
            return "ExceedsCredits";
        }
        if self.room(credit, false).is_some_and(|room| BigInt::from(amount) > room) {
            return "ExceedsDebits";
        }
        self.add(debit, credit, timeout.is_some(), amount.into());
        if let Some(timeout) = timeout {
            let deadline = (timeout > 0).then(|| now + timeout);
            self.pendings.insert(t.id.get(), (debit, credit, amount, deadline, "open"));
        }
        "ok"
    }

    fn finish(&mut self, pending: u128, post: Option<Option<u128>>) -> &'static str {
        if !self.transfers.contains_key(&pending) {
            return "PendingNotFound";
        }
        let Some(&(debit, credit, reserved, _, state)) = self.pendings.get(&pending) else { return "NotPending" };
        if state != "open" {
            return state;
        }
        let Some(amount) = post else {
            self.settle(pending, "AlreadyVoided");
            return "ok";
        };
        let amount = amount.unwrap_or(reserved);
        if amount > reserved {
            return "ExceedsPending";
        }
        self.settle(pending, "AlreadyPosted");
        self.add(debit, credit, false, amount.into());
        "ok"
    }
}

const ACCOUNTS: u128 = 8;

fn start() -> (Ledger, Oracle) {
    let (mut ledger, mut oracle) = (Ledger::new(), Oracle::default());
    for id in 1..=ACCOUNTS {
        let flag = match id {
            1 => AccountFlag::None,
            2 | 3 => AccountFlag::CreditsLeDebits,
            _ => AccountFlag::DebitsLeCredits,
        };
        let credit_limit = if id % 2 == 0 { 0 } else { 500 };
        ledger.open(t(0), NewAccount { flag, credit_limit, ..NewAccount::new(AccountId::new(id), 1) }).unwrap();
        oracle.accounts.insert(id, (flag, credit_limit, Default::default()));
    }
    (ledger, oracle)
}

fn random_transfer(rng: &mut SmallRng, next: &mut u128) -> Transfer {
    // Now and then an id that was used, or one that is still to come.
    let id = match rng.random_range(0..20) {
        0 => rng.random_range(1..=*next + 2),
        _ => *next,
    };
    *next += 1;
    let unknown = u128::from(rng.random_range(0..30) == 0);
    let debit = rng.random_range(1..=ACCOUNTS + unknown);
    let credit = if rng.random() { 1 + debit % ACCOUNTS } else { 1 + (debit + 2) % ACCOUNTS };
    let (debit, credit) = (AccountId::new(debit), AccountId::new(credit));
    let amount = rng.random_range(1..300);
    let recent = TransferId::new((*next).saturating_sub(rng.random_range(1..12)).max(1));
    let id = TransferId::new(id);
    let transfer = match rng.random_range(0..10) {
        0..4 => Transfer::new(id, debit, credit, amount),
        4..7 => Transfer::pending(id, debit, credit, amount, rng.random_range(0..40)),
        7..9 => Transfer::post(id, recent, rng.random::<bool>().then_some(amount)),
        _ => Transfer::void(id, recent),
    };
    if rng.random_range(0..8) == 0 { transfer.balancing() } else { transfer }
}

fn compare(ledger: &Ledger, oracle: &Oracle) {
    let mut sides = [BigInt::ZERO, BigInt::ZERO];
    for (id, (flag, _, want)) in &oracle.accounts {
        let b = ledger.balance_of(AccountId::new(*id)).unwrap();
        let got = [b.debits_pending, b.debits_posted, b.credits_pending, b.credits_posted].map(BigInt::from);
        assert_eq!(&got, want, "account {id}");
        sides[0] += &got[0] + &got[1];
        sides[1] += &got[2] + &got[3];
        assert!(oracle.room(*id, *flag == AccountFlag::DebitsLeCredits).is_none_or(|room| room >= BigInt::ZERO));
    }
    assert_eq!(sides[0], sides[1]);
}

fn name(e: &impl std::fmt::Debug) -> String {
    format!("{e:?}").split([' ', '{', '(']).next().unwrap().to_owned()
}

#[test]
fn thirty_thousand_transfers_agree_with_the_oracle() {
    let mut rng = SmallRng::seed_from_u64(1);
    let (mut ledger, mut oracle) = start();
    let (mut now, mut next, mut sent) = (0, 1, Vec::new());
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for step in 0..30_000 {
        now += rng.random_range(0..4) / 3 * rng.random_range(0..20);
        let transfer = match sent.len() {
            // A retry, perhaps long after.
            n if n > 0 && rng.random_range(0..10) == 0 => sent[rng.random_range(0..n)],
            _ => random_transfer(&mut rng, &mut next),
        };
        sent.push(transfer);
        let got = match ledger.apply(t(now), &transfer) {
            Ok(Applied { status: Status::New, .. }) => "ok".to_owned(),
            Ok(_) => "existing".to_owned(),
            Err(e) => name(&e),
        };
        assert_eq!(got, oracle.apply(now, &transfer), "step {step}: {transfer:?}");
        *seen.entry(got).or_default() += 1;
        compare(&ledger, &oracle);
        if step % 1_000 == 0 {
            ledger.audit().unwrap();
        }
    }
    let audit = ledger.audit().unwrap();
    assert_eq!(audit.transfers, oracle.transfers.len());
    assert_eq!(audit.open_pendings, oracle.pendings.values().filter(|p| p.4 == "open").count());
    for answer in ["ok", "existing", "Expired", "AlreadyPosted", "ExceedsCredits", "ExceedsDebits", "IdAlreadyFailed"] {
        assert!(seen.get(answer).is_some_and(|&n| n > 50), "{answer}: {seen:?}");
    }
}

#[test]
fn chains_are_all_or_nothing_and_equal_to_their_legs() {
    let mut rng = SmallRng::seed_from_u64(2);
    let (mut ledger, _) = start();
    let (mut now, mut next) = (0, 1);
    let (mut whole, mut none) = (0, 0);
    for _ in 0..6_000 {
        now += rng.random_range(0..6);
        ledger.advance(t(now)).unwrap();
        let legs: Vec<Transfer> = (0..rng.random_range(1..6)).map(|_| random_transfer(&mut rng, &mut next)).collect();
        let before = ledger.clone();
        let state = |l: &Ledger| {
            let all: Vec<_> = l.accounts().map(|(h, _, b)| (h, b, l.pending(h).collect::<Vec<_>>())).collect();
            (all, l.transfers().collect::<Vec<_>>())
        };
        match ledger.apply_linked(t(now), &legs) {
            Ok(Status::New) => {
                let mut single = before;
                for leg in &legs {
                    assert_eq!(single.apply(t(now), leg).map(|a| a.status), Ok(Status::New));
                }
                assert!(state(&single).0 == state(&ledger).0);
                assert_eq!(ledger.apply_linked(t(now), &legs), Ok(Status::Existing));
                whole += 1;
            }
            Ok(Status::Existing) => {}
            Err(_) => {
                none += 1;
                if none % 16 == 0 {
                    assert!(state(&before) == state(&ledger));
                } else {
                    assert_eq!(before.len(), ledger.len());
                }
            }
        }
        if next % 1_000 < 4 {
            ledger.audit().unwrap();
        }
    }
    ledger.audit().unwrap();
    // Pendings that were undone and done again still expire once.
    ledger.advance(t(u64::MAX)).unwrap();
    let audit = ledger.audit().unwrap();
    let never = ledger.accounts().flat_map(|(h, ..)| ledger.pending(h)).all(|p| p.expires.is_none());
    assert!(never && whole > 1_000 && none > 1_000, "{whole} {none} {audit:?}");
}

#[test]
fn batch_equals_sequence() {
    let mut rng = SmallRng::seed_from_u64(3);
    let (mut one, _) = start();
    let (mut many, _) = start();
    let (mut now, mut next, mut out) = (0, 1, Vec::new());
    for _ in 0..200 {
        now += 9;
        let batch: Vec<Transfer> = (0..40).map(|_| random_transfer(&mut rng, &mut next)).collect();
        out.clear();
        many.apply_batch(t(now), &batch, &mut out).unwrap();
        let single: Vec<_> = batch.iter().map(|b| one.apply(t(now), b)).collect();
        assert_eq!(out, single);
    }
    assert!(one.transfers().eq(many.transfers()));
}

#[test]
fn twenty_thousand_effects_lose_and_make_nothing() {
    let mut rng = SmallRng::seed_from_u64(4);
    let schedules = [FeeSchedule::aci(), FeeSchedule::zoo()];
    let config = TreasuryConfig { unbonding_ns: 50, escrow_timeout_ns: 60, ..TreasuryConfig::new(1, schedules) };
    let mut treasury = Treasury::new(config).unwrap();
    let mut now = 1;
    let parties: Vec<u128> = (1..=10).map(|i| treasury.open_party(t(now), &[i; 32]).unwrap().get()).collect();
    let (mut minted, mut burned) = (BigInt::ZERO, BigInt::ZERO);
    let (mut sent, mut epoch): (Vec<Effect>, u64) = (Vec::new(), 0);
    let mut receipts: BTreeMap<usize, Receipt> = BTreeMap::new();
    let mut applied: BTreeMap<String, u32> = BTreeMap::new();
    for step in 0..20_000u128 {
        now += rng.random_range(0..3);
        let id = step + 10;
        let party = |rng: &mut SmallRng| parties[rng.random_range(0..parties.len())];
        let before = id.saturating_sub(rng.random_range(1..40));
        let amount = rng.random_range(0..2_000);
        let bps = rng.random_range(0..10_001);
        let reporter = rng.random::<bool>().then(|| party(&mut rng));
        let evidence = [rng.random_range(0..255); 32];
        let from = party(&mut rng);
        let effect = match rng.random_range(0..22) {
            0 => Effect::Mint { id, to: from, amount },
            1 => Effect::Burn { id, from, amount: amount / 4 },
            2 => Effect::Pay { id, from, to: party(&mut rng), amount },
            3..6 => Effect::Lock { id, from, amount, timeout_ns: rng.random_range(0..100) },
            6..9 => {
                let roles = [Role::Worker, Role::Validator, Role::Verifier, Role::LiquidityProvider];
                let recipients = roles.iter().map(|&r| (r, party(&mut rng))).collect();
                Effect::Settle { id, escrow: before, bps, recipients }
            }
            9 => Effect::Refund { id, escrow: before },
            10 => Effect::Dispute { id, escrow: before },
            11 => {
                let recipients =
                    [Role::GpuNode, Role::Contributor, Role::Treasury].map(|r| (r, party(&mut rng))).to_vec();
                Effect::Split { id, from, schedule: 1, recipients, amount: amount / 50 }
            }
            12 => {
                let shares = (0..rng.random_range(1..9)).map(|_| (party(&mut rng), rng.random_range(0..5))).collect();
                Effect::Distribute { id, from, shares, amount: amount / 10 }
            }
            13 => Effect::Bond { id, account: from, amount: amount / 8 },
            14 => Effect::ReturnBond { id, bond: before },
            15 => Effect::DrawBond { id, bond: before, to: reporter, amount: amount / 40 },
            16 => Effect::SlashBond { id, bond: before, bps, reporter, reward_bps: 3_000, evidence },
            17 => Effect::Slash {
                account: from,
                epoch: epoch - epoch.min(2),
                bps: bps / 8,
                evidence,
                reporter,
                reward_bps: 2_500,
            },
            18 => {
                treasury.bond_stake(t(now), id, AccountId::new(from), amount / 4).ok();
                continue;
            }
            19 => {
                treasury.unbond_stake(t(now), id, AccountId::new(from), amount / 8).ok();
                treasury.withdraw_stake(t(now), id, AccountId::new(from)).ok();
                continue;
            }
            20 => {
                epoch += 1;
                treasury.begin_epoch(epoch).unwrap();
                treasury.set_frozen(t(now), AccountId::new(from), rng.random_range(0..4) == 0).unwrap();
                continue;
            }
            _ if sent.is_empty() => continue,
            _ => {
                // A retry changes nothing and says the same.
                let i = rng.random_range(0..sent.len());
                let len = treasury.ledger().len();
                match (receipts.get(&i), treasury.apply(t(now), &sent[i])) {
                    (Some(old), Ok(new)) => {
                        assert_eq!(new.status, Status::Existing);
                        assert_eq!(Receipt { status: Status::New, ..new }, *old);
                        assert_eq!(treasury.ledger().len(), len);
                    }
                    // A refused slash may succeed later, when its epoch has begun; nothing else may.
                    (None, Ok(new)) => {
                        assert!(matches!(sent[i], Effect::Slash { .. }), "{:?}", sent[i]);
                        receipts.insert(i, Receipt { status: Status::New, ..new.clone() });
                        if new.status == Status::New {
                            burn_and_mint(&sent[i], &new, &mut minted, &mut burned);
                        }
                    }
                    (Some(_), Err(e)) => panic!("{e}: {:?}", sent[i]),
                    (None, Err(_)) => {}
                }
                continue;
            }
        };
        let total_before = treasury.ledger().len();
        match treasury.apply(t(now), &effect) {
            Ok(receipt) if receipt.status == Status::New => {
                burn_and_mint(&effect, &receipt, &mut minted, &mut burned);
                *applied.entry(name(&effect)).or_default() += 1;
                receipts.insert(sent.len(), receipt);
            }
            Ok(receipt) => {
                receipts.insert(sent.len(), Receipt { status: Status::New, ..receipt });
            }
            Err(_) => assert_eq!(treasury.ledger().len(), total_before),
        }
        sent.push(effect);
        let sum: BigInt = treasury
            .ledger()
            .accounts()
            .skip(2)
            .map(|(_, _, b)| BigInt::from(b.credits_posted) - b.debits_posted)
            .sum();
        assert_eq!(sum, &minted - &burned, "step {step}");
        if step % 500 == 0 {
            treasury.audit().unwrap();
        }
    }
    let audit = treasury.audit().unwrap();
    assert_eq!((BigInt::from(audit.minted), BigInt::from(audit.burned)), (minted, burned));
    for schedule in 0..2 {
        treasury.finish_fees(t(now), u128::MAX - 1 - u128::from(schedule), schedule).ok();
    }
    treasury.audit().unwrap();
    assert_eq!(applied.len(), 14, "{applied:?}");
    assert!(applied.values().all(|&n| n > 20), "{applied:?}");
}

/// Account 1 is debited for what is minted, account 2 credited with what is burned.
fn burn_and_mint(effect: &Effect, receipt: &Receipt, minted: &mut BigInt, burned: &mut BigInt) {
    for p in &receipt.postings {
        if p.debit == AccountId::new(1) {
            assert!(matches!(effect, Effect::Mint { .. }));
            *minted += p.amount;
        }
        if p.credit == AccountId::new(2) {
            *burned += p.amount;
        }
    }
}
