//! A bill for this very machine: real work, metered by the kernel's counts, billed by block, paid from a ledger under a
//! journal, printed as an invoice and written as FOCUS files and a picture. `--help` lists the options.

mod machine;
mod options;
mod report;
mod work;

use std::error::Error;
use std::process::{Child, ExitCode};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hanzo::metering::{
    AccountId, Books, BooksConfig, CpuSource, Deployment, Effect, FeeSchedule, Invoice, Journaled, MemoryStore, Meter,
    MeterConfig, Payout, Reading, Resources, Role, RuntimeKind, Tariff, TeeKind, Timestamp, TreasuryConfig, Value,
};

use hanzo_examples::{program, say};
use options::{HELP, Mode, Options};
use work::Work;

/// Blocks between two bills, as the Hanzo network has it.
const BILLING_BLOCKS: u64 = 100;
/// Bills in the time that is metered.
const BILLS: u64 = 6;
/// Blocks in that time.
const BLOCKS: u64 = BILLING_BLOCKS * BILLS;
/// Base units in a token.
const TOKEN: u128 = 1_000_000_000;

/// A deployment and what was read of it.
pub(crate) struct Tenant {
    pub(crate) work: Work,
    pub(crate) runtime: RuntimeKind,
    pub(crate) reserved: Resources,
    pub(crate) wallet: AccountId,
    child: Child,
    /// Seconds since the begin, nanoseconds on a processor, bytes of memory.
    pub(crate) readings: Vec<(f64, u64, u64)>,
}

/// Everything that is shown.
pub(crate) struct Day {
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) invoices: Vec<Invoice>,
    pub(crate) tariff: Tariff,
    pub(crate) books: Journaled<Books, MemoryStore>,
    pub(crate) operator: AccountId,
    pub(crate) validators: AccountId,
    pub(crate) seconds: f64,
}

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    program::main("bill_a_day", HELP, options::parse, act)
}

fn act(mode: &Mode) -> Result<()> {
    match mode {
        Mode::Worker(work) => work.run(),
        Mode::Bill(options) => run(options),
    }
}

fn run(options: &Options) -> Result<()> {
    // Says so before any work is begun.
    machine::counts(std::process::id()).map_err(|e| format!("this machine cannot be metered: {e}"))?;
    let day = live(options)?;
    program::show(&report::table(&day)?);
    if let Some(folder) = &options.report {
        for file in report::write(folder, &day, &options.currency)? {
            say!("wrote {}", file.display());
        }
    }
    Ok(())
}

/// Works, meters and bills.
fn live(options: &Options) -> Result<Day> {
    let began = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let (clock, origin) = (Instant::now(), u64::try_from(began.as_nanos())?);
    let at = |elapsed: std::time::Duration| Timestamp::from_nanos(origin + elapsed.as_nanos() as u64);
    let start = at(clock.elapsed());

    let mut treasury = TreasuryConfig::new(1, [FeeSchedule::hanzo()]);
    treasury.hash_seed = origin;
    let validators = AccountId::of_party(&[101; 32]);
    let others = vec![(Role::Validator, validators.get())];
    let payout = Payout::Split { schedule: 0, operator: Role::Operator, others };
    let config = BooksConfig { interval_blocks: BILLING_BLOCKS, payout, ..BooksConfig::new(treasury) };
    let mut books = Journaled::new(Books::new(config)?, MemoryStore::default());
    let operator = books.open_party(start, &[100; 32])?;
    books.open_party(start, &[101; 32])?;
    let tariff = Tariff::hanzo(options.price).with_basis(options.basis);
    let meter = MeterConfig { basis: options.basis, cpu_source: CpuSource::Counter, ..MeterConfig::default() };

    let mut tenants = Vec::new();
    for (n, work) in Work::ALL.into_iter().enumerate() {
        let party = [n as u8 + 1; 32];
        let wallet = books.open_party(start, &party)?;
        books.apply(start, &Effect::Mint { id: 1_000 + n as u128, to: wallet.get(), amount: 1_000 * TOKEN })?;
        let runtime = [RuntimeKind::Docker, RuntimeKind::Kubernetes, RuntimeKind::Firecracker][n];
        let meter = Meter::new(meter.clone(), start);
        let deployment = Deployment { account: wallet, tariff, runtime, tee: TeeKind::None, meter };
        books.add_deployment(start, id_of(work), operator, deployment)?;
        let reserved = Resources::new(1_000, 256 << 20, 0)?;
        let value = Value::Reserved(reserved);
        books.record(start, id_of(work), Reading { source: b"limits", id: b"1", at: start, value })?;
        let child = work.spawn()?;
        tenants.push(Tenant { work, runtime, reserved, wallet, child, readings: Vec::new() });
    }

    // As many blocks as make the bills, and the last one at the end.
    let block = options.length / BLOCKS as u32;
    let (mut invoices, mut height, mut number) = (Vec::new(), 0, 0u64);
    while height < BLOCKS {
        std::thread::sleep(options.interval.min(options.length.saturating_sub(clock.elapsed())));
        number += 1;
        for tenant in &mut tenants {
            let counts = machine::counts(tenant.child.id())?;
            let (elapsed, id) = (clock.elapsed(), number.to_be_bytes());
            let (now, deployment) = (at(elapsed), id_of(tenant.work));
            let reading = |source, value| Reading { source, id: &id, at: now, value };
            books.record(now, deployment, reading(b"cpu", Value::CpuTime(counts.cpu_ns)))?;
            let memory = Resources::new(0, counts.memory, 0)?;
            books.record(now, deployment, reading(b"memory", Value::Used(memory)))?;
            tenant.readings.push((elapsed.as_secs_f64(), counts.cpu_ns, counts.memory));
        }
        let elapsed = clock.elapsed();
        height = (elapsed.as_nanos() / block.as_nanos()).min(u128::from(BLOCKS)) as u64;
        if let Some(boundary) = books.state().biller().due(height) {
            let now = at(elapsed);
            for billed in books.bill(now, boundary)? {
                if !billed.paid {
                    return Err("a tenant cannot pay; there is too little in a wallet for this price".into());
                }
                invoices.push(billed.invoice);
            }
            books.mint(now, 0)?;
        }
    }
    let seconds = clock.elapsed().as_secs_f64();
    for tenant in &mut tenants {
        // It ends with its standard input.
        drop(tenant.child.stdin.take());
        tenant.child.wait()?;
    }
    Ok(Day { tenants, invoices, tariff, books, operator, validators, seconds })
}

/// The deployment of a piece of work.
pub(crate) fn id_of(work: Work) -> [u8; 32] {
    let mut id = [0; 32];
    id[..work.name().len()].copy_from_slice(work.name().as_bytes());
    id
}
