//! hanzo-metering beside a plain double-entry ledger on `std::collections::HashMap`, and its exact arithmetic.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hanzo_metering::{
    AccountFlag, AccountId, Carry, FeeAccrual, FeeSchedule, Ledger, NewAccount, Quanta, Role, RuntimeKind, Tariff,
    TeeKind, Timestamp, Transfer, TransferId, TransferKind,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;

const ACCOUNTS: u64 = 10_000;
const N: usize = 65_536;
const NOW: Timestamp = Timestamp::from_nanos(1);

/// What a careful developer writes first: maps by id, limit check, idempotent ids, two phases, expiry, a journal.
#[derive(Clone, Default)]
struct StdLedger {
    accounts: HashMap<u128, StdAccount>,
    transfers: HashMap<u128, (Transfer, bool)>,
    expiry: BTreeMap<(u64, u128), ()>,
    journal: Vec<Transfer>,
}

#[derive(Clone, Copy, Default)]
struct StdAccount {
    debits_pending: u128,
    debits_posted: u128,
    credits_pending: u128,
    credits_posted: u128,
    limited: bool,
}

impl StdLedger {
    fn reserve(&mut self, debit: u128, credit: u128, amount: u128, pending: bool) -> Option<()> {
        let (d, c) = (self.accounts.get(&debit)?, self.accounts.get(&credit)?);
        let sum = d.debits_pending.checked_add(d.debits_posted)?.checked_add(amount)?;
        c.credits_pending.checked_add(c.credits_posted)?.checked_add(amount)?;
        if debit == credit || amount == 0 || (d.limited && sum > d.credits_posted) {
            return None;
        }
        let d = self.accounts.get_mut(&debit)?;
        *(if pending { &mut d.debits_pending } else { &mut d.debits_posted }) += amount;
        let c = self.accounts.get_mut(&credit)?;
        *(if pending { &mut c.credits_pending } else { &mut c.credits_posted }) += amount;
        Some(())
    }

    fn release(&mut self, pending: u128, post: bool) -> Option<()> {
        let (t, open) = self.transfers.get_mut(&pending)?;
        let TransferKind::Pending { debit, credit, amount, timeout_ns, .. } = t.kind else { return None };
        if !std::mem::take(open) {
            return None;
        }
        self.expiry.remove(&(NOW.as_nanos() + timeout_ns, pending));
        let d = self.accounts.get_mut(&debit.get())?;
        d.debits_pending -= amount;
        d.debits_posted += if post { amount } else { 0 };
        let c = self.accounts.get_mut(&credit.get())?;
        c.credits_pending -= amount;
        c.credits_posted += if post { amount } else { 0 };
        Some(())
    }

    fn apply(&mut self, t: &Transfer) -> Option<()> {
        let id = t.id.get();
        if let Some((old, _)) = self.transfers.get(&id) {
            return (old == t).then_some(());
        }
        let mut open = false;
        match t.kind {
            TransferKind::Transfer { debit, credit, amount, .. } => {
                self.reserve(debit.get(), credit.get(), amount, false)?;
            }
            TransferKind::Pending { debit, credit, amount, timeout_ns, .. } => {
                self.reserve(debit.get(), credit.get(), amount, true)?;
                self.expiry.insert((NOW.as_nanos() + timeout_ns, id), ());
                open = true;
            }
            TransferKind::Post { pending, .. } => self.release(pending.get(), true)?,
            TransferKind::Void { pending } => self.release(pending.get(), false)?,
        }
        self.transfers.insert(id, (*t, open));
        self.journal.push(*t);
        Some(())
    }
}

fn funding() -> impl Iterator<Item = Transfer> {
    (0..u128::from(ACCOUNTS))
        .map(|i| Transfer::new(TransferId::new((1 << 100) + i), AccountId::new(1), AccountId::new(1_000 + i), 1 << 60))
}

fn ours() -> Ledger {
    let mut ledger = Ledger::with_hash_seed(7);
    ledger.open(NOW, NewAccount::new(AccountId::new(1), 1)).unwrap();
    for t in funding() {
        let TransferKind::Transfer { credit, .. } = t.kind else { continue };
        let flag = AccountFlag::DebitsLeCredits;
        ledger.open(NOW, NewAccount { flag, ..NewAccount::new(credit, 1) }).unwrap();
        ledger.apply(NOW, &t).unwrap();
    }
    ledger
}

fn plain() -> StdLedger {
    let mut ledger = StdLedger::default();
    ledger.accounts.insert(1, StdAccount::default());
    for t in funding() {
        let TransferKind::Transfer { credit, .. } = t.kind else { continue };
        ledger.accounts.insert(credit.get(), StdAccount { limited: true, ..StdAccount::default() });
        ledger.apply(&t).unwrap();
    }
    ledger
}

fn pair(rng: &mut SmallRng) -> (AccountId, AccountId) {
    let a = rng.random_range(0..ACCOUNTS);
    let b = (a + rng.random_range(1..ACCOUNTS)) % ACCOUNTS;
    (AccountId::new(1_000 + u128::from(a)), AccountId::new(1_000 + u128::from(b)))
}

fn singles(rng: &mut SmallRng) -> Vec<Transfer> {
    let one = |_| {
        let (debit, credit) = pair(rng);
        Transfer::new(TransferId::new(rng.random()), debit, credit, rng.random_range(1..1_000))
    };
    (0..N).map(one).collect()
}

/// Blocks of 4,096 pendings, then 90 % posted and the rest voided.
fn two_phase(rng: &mut SmallRng) -> Vec<Transfer> {
    let mut all = Vec::with_capacity(N);
    for _ in 0..N / 8_192 {
        let block: Vec<Transfer> = (0..4_096)
            .map(|_| {
                let (debit, credit) = pair(rng);
                Transfer::pending(TransferId::new(rng.random()), debit, credit, 100, 1_000_000)
            })
            .collect();
        all.extend(&block);
        all.extend(block.iter().map(|p| {
            let id = TransferId::new(rng.random());
            if rng.random_range(0..10) > 0 { Transfer::post(id, p.id, None) } else { Transfer::void(id, p.id) }
        }));
    }
    all
}

fn ledger(c: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(7);
    let mut group = c.benchmark_group("metering::ledger");
    group.sample_size(10).throughput(Throughput::Elements(N as u64));
    let (singles, two_phase) = (singles(&mut rng), two_phase(&mut rng));
    let (ours, plain) = (ours(), plain());
    for (op, transfers) in [("transfer", &singles), ("two_phase", &two_phase)] {
        group.bench_function(format!("{op}/ledger=hanzo accounts={ACCOUNTS}"), |b| {
            let apply = |mut l: Ledger| {
                for t in transfers {
                    l.apply(NOW, t).unwrap();
                }
                l
            };
            b.iter_batched(|| ours.clone(), apply, BatchSize::LargeInput);
        });
        group.bench_function(format!("{op}/ledger=std accounts={ACCOUNTS}"), |b| {
            let apply = |mut l: StdLedger| {
                for t in transfers {
                    l.apply(t).unwrap();
                }
                l
            };
            b.iter_batched(|| plain.clone(), apply, BatchSize::LargeInput);
        });
    }
    group.bench_function(format!("linked6/ledger=hanzo accounts={ACCOUNTS}"), |b| {
        let apply = |mut l: Ledger| {
            for chain in singles.chunks(6) {
                l.apply_linked(NOW, chain).unwrap();
            }
            l
        };
        b.iter_batched(|| ours.clone(), apply, BatchSize::LargeInput);
    });
    let mut full = ours.clone();
    let mut full_plain = plain.clone();
    for t in &singles {
        full.apply(NOW, t).unwrap();
        full_plain.apply(t).unwrap();
    }
    group.bench_function(format!("replay/ledger=hanzo accounts={ACCOUNTS}"), |b| {
        b.iter(|| singles.iter().filter(|t| full.apply(NOW, t).is_ok()).count());
    });
    group.bench_function(format!("replay/ledger=std accounts={ACCOUNTS}"), |b| {
        b.iter(|| singles.iter().filter(|t| full_plain.apply(t).is_some()).count());
    });
    group.finish();
}

fn arithmetic(c: &mut Criterion) {
    let mut rng = SmallRng::seed_from_u64(9);
    let mut group = c.benchmark_group("metering::arithmetic");
    let tariff = Tariff::hanzo(1_250_000);
    // The product of quanta and multipliers stays in 128 bits, or passes them.
    for (path, bits) in [("128", 70), ("256", 100)] {
        let quanta: Vec<Quanta> = (0..1_024).map(|_| Quanta::new(rng.random::<u128>() >> (128 - bits))).collect();
        group.throughput(Throughput::Elements(quanta.len() as u64));
        group.bench_function(format!("price/bits={path}"), |b| {
            b.iter(|| {
                let mut carry = Carry::default();
                let price = |&q| tariff.price(q, RuntimeKind::Kubernetes, TeeKind::None, &mut carry).unwrap();
                black_box(&quanta).iter().map(price).sum::<i128>()
            });
        });
    }
    let amounts: Vec<u128> = (0..1_024).map(|_| u128::from(rng.random::<u64>())).collect();
    let roles = [Role::Worker, Role::Validator, Role::Verifier, Role::LiquidityProvider];
    let recipients: Vec<_> = roles.into_iter().zip((10..).map(AccountId::new)).collect();
    group.throughput(Throughput::Elements(amounts.len() as u64));
    group.bench_function("split/rule=carry shares=5", |b| {
        let mut fees = FeeAccrual::new(FeeSchedule::aci());
        b.iter(|| black_box(&amounts).iter().map(|&a| fees.pay(a, &recipients).unwrap()[0].1).sum::<u128>());
    });
    group.bench_function("split/rule=stateless shares=5", |b| {
        let fees = FeeSchedule::aci();
        b.iter(|| black_box(&amounts).iter().map(|&a| fees.split(a)[0]).sum::<u128>());
    });
    group.finish();
}

criterion_group!(benches, ledger, arithmetic);
criterion_main!(benches);
