//! Claims about units, fees, gas and the scheduler, answered by `hanzo-metering`.

use std::collections::BTreeMap;

use hanzo::metering::{
    AccountId, Carry, Demand, FeeAccrual, FeeSchedule, GasSchedule, Operation, Planner, Pool, QueuedJob, Resources,
    Role, RunningJob, RuntimeKind, Tariff, TeeKind, Timestamp, inference_reward,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::Result;
use crate::row::{Row, Setting, Verdict, at_least, at_most, equal, grouped, near};

const HOUR: u64 = 3_600_000_000_000;
/// Base units of a token.
const TOKEN: f64 = 1e9;

pub(crate) fn rows(setting: Setting) -> Result<Vec<Row>> {
    Ok(vec![
        compute_units()?,
        multipliers()?,
        mining()?,
        estimate()?,
        fees("000 eq. 13", "validator reward = compute cost x 0.10", FeeSchedule::hanzo(), &[9_000, 1_000], setting)?,
        fees(
            "003 table 5",
            "fees: 80 % worker, 8 % validators, 5 % verifiers, 4 % liquidity, 3 % treasury (burn)",
            FeeSchedule::aci(),
            &[8_000, 800, 500, 400, 300],
            setting,
        )?,
        fees(
            "004 10.3",
            "10% of fees burned, 40% to GPU nodes, 40% to contributors, 10% to treasury",
            FeeSchedule::zoo(),
            &[4_000, 4_000, 1_000, 1_000],
            setting,
        )?,
        gas_savings(),
        matmul()?,
        stake_bonus()?,
        scheduler(setting)?,
    ])
}

fn nano(number: u128) -> f64 {
    number as f64 / 1e9
}

fn compute_units() -> Result<Row> {
    let tariff = Tariff::hanzo(0);
    let units = |millicores, gib: u64, gpus| -> Result<f64> {
        Ok(nano(tariff.weights().nano_cu(&Resources::new(millicores, gib << 30, gpus)?)?))
    };
    let (small, large) = (units(2_000, 4, 0)?, units(8_000, 64, 1_000)?);
    Ok(Row::new(
        "000 eq. 11",
        "compute units = CPU x 10 + memory GB x 5 + GPU x 100",
        format!("2 cores and 4 GiB: {small} CU (40 by hand); 8 cores, 64 GiB, 1 GPU: {large} CU (500 by hand)"),
        Verdict::Corrected(format!("{small} and {large} CU")),
    )
    .when(
        [equal(small, 2.0 * 10.0 + 4.0 * 5.0), equal(large, 8.0 * 10.0 + 64.0 * 5.0 + 100.0)],
        Verdict::Under("GB is 2^30 bytes, and the unit is a rate: a bill counts CU-hours".into()),
    ))
}

fn multipliers() -> Result<Row> {
    let tariff = Tariff::hanzo(0);
    let quanta = tariff.quanta(&Resources::new(10_000, 0, 0)?.over(HOUR))?;
    let base = nano(tariff.billable_nano(quanta, RuntimeKind::Docker, TeeKind::None)?);
    let kinds = [RuntimeKind::Docker, RuntimeKind::Kubernetes, RuntimeKind::Wasm, RuntimeKind::Firecracker];
    let mut runtimes = [0.0; 4];
    for (ratio, kind) in runtimes.iter_mut().zip(kinds) {
        *ratio = nano(tariff.billable_nano(quanta, kind, TeeKind::None)?) / base;
    }
    let (mut price, mut reward) = ([0.0; 2], [0.0; 2]);
    for (i, tee) in [TeeKind::Cpu, TeeKind::GpuConfidential].into_iter().enumerate() {
        price[i] = nano(tariff.billable_nano(quanta, RuntimeKind::Docker, tee)?) / base;
        reward[i] = nano(tariff.reward_nano(quanta, RuntimeKind::Docker, tee)?) / base;
    }
    let table = || runtimes.into_iter().zip([1.0, 1.1, 0.5, 1.15]).map(|(ratio, claimed)| near(ratio, claimed, 1e-9));
    let bonus = |ratios: [f64; 2]| [near(ratios[0], 1.5, 1e-9), near(ratios[1], 2.0, 1e-9)];
    Ok(Row::new(
        "000 5.3",
        "multipliers: Docker 1.0, Kubernetes 1.1, WASM 0.5, Firecracker 1.15; TEE bonus 1.5 (CPU), 2.0 (GPU)",
        format!("price by runtime {runtimes:?}; with a TEE the reward is times {reward:?}, the price times {price:?}"),
        Verdict::Corrected(format!("{runtimes:?}, {reward:?}")),
    )
    .when(table().chain(bonus(reward)).chain(bonus(price)), Verdict::Holds)
    .when(
        table().chain(bonus(reward)),
        Verdict::Under("the TEE's is a bonus, so on the reward only; a tariff can put it on the price too".into()),
    ))
}

fn mining() -> Result<Row> {
    let tariff = Tariff::hanzo(0);
    let resources = Resources::new(2_000, 4 << 30, 0)?;
    let units = nano(tariff.weights().nano_cu(&resources)?);
    let mint = |hours: u64| -> Result<f64> {
        let quanta = tariff.quanta(&resources.over(hours * HOUR))?;
        let minted = tariff.mint(quanta, RuntimeKind::Docker, TeeKind::None, &mut Carry::default())?;
        Ok(minted as f64 / TOKEN)
    };
    let (one, day) = (mint(1)?, mint(24)?);
    Ok(Row::new(
        "000 eq. 12, B.3",
        "tokens per hour = compute units x 10",
        format!("{units} CU mint {one} tokens in one hour and {day} in 24"),
        Verdict::Corrected(format!("{one} an hour")),
    )
    .when(
        [equal(one, units * 10.0), equal(day, 24.0 * one)],
        Verdict::Under("10 tokens of 9 decimals per CU-hour, in base units, with no cap on the supply".into()),
    ))
}

fn estimate() -> Result<Row> {
    let resources = Resources::new(2_000, 4 << 30, 0)?;
    let units = nano(Tariff::hanzo(0).weights().nano_cu(&resources.checked_mul(3)?)?);
    // The price that the example implies, in base units per CU-hour.
    let price = (0.15 * TOKEN / units).round();
    let cost = Tariff::hanzo(price as u128).estimate(&resources, 3, RuntimeKind::Docker, TeeKind::None)?;
    let cost = cost as f64 / TOKEN;
    Ok(Row::new(
        "000 A.3",
        "3 replicas of 2 CPUs and 4 GB cost 0.15 per hour",
        format!("{units} CU; at {} per CU-hour the crate bills {cost} for an hour", price / TOKEN),
        Verdict::Corrected(format!("{cost}")),
    )
    .when(
        [equal(cost, 0.15)],
        Verdict::Under(format!("a CU-hour costs {}, a price that the source does not name", price / TOKEN)),
    ))
}

/// Every unit of every amount goes somewhere, and the shares are those claimed.
fn fees(
    source: &'static str,
    claim: &'static str,
    schedule: FeeSchedule,
    claimed: &[u16],
    setting: Setting,
) -> Result<Row> {
    let mut rng = ChaCha8Rng::seed_from_u64(setting.seed);
    let mut lost = 0_u64;
    let amounts = setting.pick(100_000_u64, 10_000);
    for amount in (1..=u128::from(amounts)).chain((0..amounts).map(|_| u128::from(rng.next_u64()) << 32)) {
        lost += u64::from(schedule.split(amount).iter().sum::<u128>() != amount);
    }
    // Many payments of one unit, each too small to divide.
    let roles: Vec<Role> = schedule.shares().iter().map(|share| share.role).collect();
    let recipients: Vec<(Role, AccountId)> = schedule
        .shares()
        .iter()
        .filter(|share| share.disposition == hanzo::metering::Disposition::Pay)
        .zip(1..)
        .map(|(share, id)| (share.role, AccountId::new(id)))
        .collect();
    let mut accrual = FeeAccrual::new(schedule.clone());
    let mut paid = vec![0_u128; roles.len()];
    for _ in 0..10_000 {
        for (total, (_, part)) in paid.iter_mut().zip(accrual.pay(1, &recipients)?) {
            *total += part;
        }
    }
    let bps: Vec<u16> = schedule.shares().iter().map(|share| share.bps).collect();
    let checks = bps.iter().zip(claimed).map(|(bps, claimed)| equal(f64::from(*bps), f64::from(*claimed)));
    let streams = paid.iter().zip(claimed).map(|(paid, claimed)| equal(*paid as f64, f64::from(*claimed)));
    Ok(Row::new(
        source,
        claim,
        format!(
            "{} amounts split: {lost} lost or made a unit; 10,000 payments of one unit gave {paid:?} (basis points {bps:?})",
            grouped(2.0 * amounts as f64)
        ),
        Verdict::Corrected(format!("{bps:?} basis points")),
    )
    .when(
        checks.chain(streams).chain([equal(lost as f64, 0.0), equal(bps.len() as f64, claimed.len() as f64)]),
        Verdict::Holds,
    ))
}

fn gas_savings() -> Row {
    // The table's other column, in thousands.
    let layer_2 = [147.0, 89.0, 412.0, 118.0, 67.0];
    let ours = Operation::ALL.map(|operation| operation.gas().get() as f64 / 1e6);
    let mean = |column: &[f64]| column.iter().sum::<f64>() / column.len() as f64;
    let (average, other) = (mean(&ours), mean(&layer_2));
    let of_means = 100.0 * (1.0 - average / other);
    let of_rows = mean(&ours.iter().zip(layer_2).map(|(ours, other)| 100.0 * (1.0 - ours / other)).collect::<Vec<_>>());
    Row::new(
        "003 abstract, table 9",
        "73% lower gas costs than an equivalent Ethereum L2 (average 49K against 167K)",
        format!(
            "means of the table's own rows: {average:.1}K and {other:.1}K, which is {of_means:.2} % less; mean of the five \
             savings {of_rows:.2} %"
        ),
        Verdict::Corrected(format!(
            "{of_means:.1} % from the table's ten numbers; what they are measured on, the source does not say"
        )),
    )
    .when([near(of_means, 73.0, 0.5)], Verdict::Holds)
}

fn matmul() -> Result<Row> {
    let size = 1_024_u64;
    let gas = GasSchedule::MATMUL.matmul(size, size, size)?.get() as f64 / 1e3;
    let formula = 100.0 + 0.001 * (size as f64).powi(3);
    let least = GasSchedule::MATMUL.matmul(1, 1, 1)?.get();
    let overflow = GasSchedule::MATMUL.matmul(u64::MAX, 2, 1).is_err();
    Ok(Row::new(
        "003 eq. 3",
        "Gas(MATMUL) = 100 + 0.001 m n k",
        format!(
            "m = n = k = {size}: {gas:.3} gas, by the formula {formula:.3}; m = n = k = 1: {least} milligas; an overflow is \
             refused: {overflow}"
        ),
        Verdict::Corrected(format!("{gas:.3} gas")),
    )
    .when(
        [near(gas, formula, 1e-6), equal(f64::from(overflow), 1.0)],
        Verdict::Under("gas is counted in thousandths, as 0.001 is no number of consensus".into()),
    ))
}

fn stake_bonus() -> Result<Row> {
    let (gamma, queries, stake, total) = (1_000_000, 1_000, 10_000, 100_000);
    let (small, large) =
        (inference_reward(gamma, queries, stake, total)?, inference_reward(gamma, queries, 2 * stake, total)?);
    // Two identities, each with half of the stake and half of the queries.
    let halves = 2 * inference_reward(gamma, queries / 2, stake, total)?;
    let (gain, split) = (large as f64 / small as f64, halves as f64 / large as f64);
    Ok(Row::new(
        "004 10.2.3",
        "KEEPER for inference = gamma x queries x (1 + stake / total): higher stake = more earnings",
        format!(
            "twice the stake (10 to 20 % of all) earns {gain:.4} times as much a query; split over two identities it earns \
             {split:.4} of that"
        ),
        Verdict::Corrected(format!("{gain:.4} times")),
    )
    .when([at_least(gain, 1.0 + 1e-9), at_most(split, 1.0)], Verdict::Holds))
}

/// A job that needs the whole node, in a stream of small ones that leave no room: cycles until it starts.
fn scheduler(setting: Setting) -> Result<Row> {
    const LENGTH: u64 = 6;
    let cycles = setting.pick(2_000, 400);
    let second = |cycle: u64| Timestamp::from_nanos(cycle * 1_000_000_000);
    let demand = |cores: u64| -> Result<Demand> { Ok(Demand::replicated(&Resources::new(cores * 1_000, 0, 0)?, 1)?) };
    let (small, large) = (demand(1)?, demand(8)?);
    let capacity = Demand { resources: large.resources, slots: 100 };

    // Algorithm 3: whatever fits now is started, the rest waits for the next cycle.
    let mut pool = Pool::new(capacity);
    let mut ends: Vec<u64> = Vec::new();
    let (mut waiting, mut first_fit) = (0_u64, None);
    for cycle in 0..cycles {
        let before = ends.len();
        ends.retain(|end| *end > cycle);
        for _ in ends.len()..before {
            pool.give_back(&small)?;
        }
        waiting += 2;
        // The queue is taken in order; of the first cycle on, the large job stands behind jobs that run.
        if cycle > LENGTH && first_fit.is_none() && pool.fits(&large) {
            first_fit = Some(cycle);
        }
        while waiting > 0 && pool.fits(&small) {
            pool.take(&small)?;
            ends.push(cycle + LENGTH);
            waiting -= 1;
        }
    }

    let planner = Planner { capacity, max_wait_ns: 60_000_000_000, weights: BTreeMap::new() };
    let mut running: Vec<RunningJob> = Vec::new();
    let mut queue: Vec<QueuedJob> = Vec::new();
    let mut planned = None;
    let mut next = 1_u128;
    for cycle in 0..cycles {
        running.retain(|job| job.end.is_some_and(|end| end > second(cycle)));
        let submit = |id: u128, demand: Demand| QueuedJob {
            id,
            seq: id as u64,
            tenant: 0,
            priority: 0,
            submitted: second(cycle),
            demand,
            replicas: 1,
            max_duration_ns: Some(LENGTH * 1_000_000_000),
        };
        if cycle == LENGTH {
            queue.push(submit(0, large));
        }
        for id in [next, next + 1] {
            queue.push(submit(id, small));
        }
        next += 2;
        let plan = planner.plan(second(cycle), &running, &queue);
        for id in plan.started {
            let Some(at) = queue.iter().position(|job| job.id == id) else { continue };
            let job = queue.remove(at);
            if id == 0 {
                planned = Some(cycle - LENGTH);
            }
            running.push(RunningJob { id, tenant: 0, demand: job.demand, end: Some(second(cycle + LENGTH)) });
        }
    }
    let shown =
        |start: Option<u64>| start.map_or_else(|| format!("not within {cycles}"), |cycle| format!("after {cycle}"));
    let wait = planned.map_or(f64::INFINITY, |cycle| cycle as f64);
    Ok(Row::new(
        "000 algorithm 3",
        "each cycle: allocate if the resource pool can, else enqueue for the next cycle",
        format!(
            "a job of 8 of 8 cores in a stream of small ones: algorithm 3 starts it {} cycles, the crate's planner {}",
            shown(first_fit),
            shown(planned)
        ),
        Verdict::Corrected("the planner starves it as well".into()),
    )
    .when([at_most(first_fit.map_or(f64::INFINITY, |cycle| cycle as f64), 60.0)], Verdict::Holds)
    .when(
        [at_most(wait, 60.0)],
        Verdict::Corrected(
            "as written, a large job waits for as long as small ones come; room has to be kept for the job at the head \
             (backfill), as the planner does"
                .into(),
        ),
    ))
}
