//! The SDK's computed vectors: exact integers made by an independent program.

use hanzo_metering::*;
use serde_json::Value as Json;
use std::path::PathBuf;

/// A file of the SDK's test data, or `None` with a line on stderr where the data is not at hand.
fn data(name: &str) -> Option<Json> {
    let Some(root) = std::env::var_os("HANZO_TEST_DATA") else {
        eprintln!("skipped: metering/computed/{name}; set HANZO_TEST_DATA to the folder of the SDK's test data");
        return None;
    };
    let path = PathBuf::from(root).join("metering/computed").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Some(serde_json::from_str(&text).unwrap())
}

fn list(v: &Json) -> &Vec<Json> {
    v.as_array().unwrap()
}

/// A number, given as such or as a decimal string.
fn num<T: std::str::FromStr>(v: &Json) -> T
where
    T::Err: std::fmt::Debug,
{
    match v {
        Json::String(s) => s.parse().unwrap(),
        other => other.to_string().parse().unwrap(),
    }
}

fn nums<T: std::str::FromStr>(v: &Json) -> Vec<T>
where
    T::Err: std::fmt::Debug,
{
    list(v).iter().map(num).collect()
}

fn text(v: &Json) -> &str {
    v.as_str().unwrap()
}

fn id(v: &Json) -> TransferId {
    TransferId::new(num(v))
}

fn bytes32(v: &Json) -> [u8; 32] {
    hex::decode(text(v)).unwrap().try_into().unwrap()
}

fn t(v: &Json) -> Timestamp {
    Timestamp::from_nanos(num(v))
}

/// The name of an error's variant.
fn name(e: &impl std::fmt::Debug) -> String {
    format!("{e:?}").split([' ', '{', '(']).next().unwrap().to_owned()
}

fn weights(v: &Json) -> Weights {
    let w: Vec<u32> = nums(v);
    Weights::new(w[0], w[1], w[2]).unwrap()
}

fn usage(v: &Json) -> Usage {
    let u: Vec<u128> = nums(v);
    Usage { cpu: u[0], memory: u[1], gpu: u[2] }
}

fn runtime(v: &Json) -> RuntimeKind {
    match text(v) {
        "docker" => RuntimeKind::Docker,
        "kubernetes" => RuntimeKind::Kubernetes,
        "wasm" => RuntimeKind::Wasm,
        "firecracker" => RuntimeKind::Firecracker,
        other => panic!("{other}"),
    }
}

fn tee(v: &Json) -> TeeKind {
    match text(v) {
        "none" => TeeKind::None,
        "cpu" => TeeKind::Cpu,
        "gpu_confidential" => TeeKind::GpuConfidential,
        other => panic!("{other}"),
    }
}

fn policy(v: &Json) -> TeePolicy {
    match text(v) {
        "reward_only" => TeePolicy::RewardOnly,
        "price_and_reward" => TeePolicy::PriceAndReward,
        other => panic!("{other}"),
    }
}

#[test]
fn units() {
    let Some(file) = data("units.json") else { return };
    for c in list(&file["cases"]) {
        let name = text(&c["name"]);
        let w = weights(&c["weights_milli_cu"]);
        let (a, b, g, d) = w.constants();
        assert_eq!(vec![a, b, g, d], nums::<u128>(&c["constants"]), "{name}");
        let tariff = Tariff::hanzo(num(&c["price_per_cu_hour"]))
            .with_weights(w)
            .with_mint(num(&c["mint_per_cu_hour"]))
            .with_tee(policy(&c["tee_policy"]), TeeStacking::Max);
        let rate = Resources::new(num(&c["millicores"]), num(&c["bytes"]), num(&c["milli_gpus"])).unwrap();
        let used = rate.over(num(&c["duration_ns"]));
        assert_eq!(used, usage(&c["usage"]), "{name}");
        let (rt, tee) = (runtime(&c["runtime"]), tee(&c["tee"]));
        let q = tariff.quanta(&used).unwrap();
        assert_eq!(q.get(), num::<u128>(&c["quanta"]), "{name}");
        assert_eq!(tariff.denominator(), num::<u128>(&c["denominator"]), "{name}");
        assert_eq!(w.nano_cu(&rate).unwrap(), num::<u128>(&c["rate_nano_cu"]), "{name}");
        assert_eq!(w.nano_cu_hours(q).unwrap(), num::<u128>(&c["cu_hours_nano"]), "{name}");
        assert_eq!(tariff.billable_nano(q, rt, tee).unwrap(), num::<u128>(&c["billable_nano"]), "{name}");
        assert_eq!(tariff.reward_nano(q, rt, tee).unwrap(), num::<u128>(&c["reward_cu_hours_nano"]), "{name}");
        let (mut carry, mut mint_carry) = (Carry::default(), Carry::default());
        assert_eq!(tariff.price(q, rt, tee, &mut carry).unwrap(), num::<i128>(&c["amount"]), "{name}");
        assert_eq!(carry.raw(), num::<u128>(&c["carry"]), "{name}");
        assert_eq!(tariff.mint(q, rt, tee, &mut mint_carry).unwrap(), num::<i128>(&c["minted"]), "{name}");
        assert_eq!(mint_carry.raw(), num::<u128>(&c["mint_carry"]), "{name}");
    }
    assert_eq!(list(&file["cases"]).len(), 34);
}

#[test]
fn tariff_encodings_and_ids() {
    let Some(file) = data("ids.json") else { return };
    for c in list(&file["cases"]) {
        let j = &c["tariff"];
        let array = |v: &Json| nums::<u32>(v);
        let policy = [TeePolicy::RewardOnly, TeePolicy::PriceAndReward][num::<usize>(&j["policy"])];
        let stacking = [TeeStacking::Max, TeeStacking::Product][num::<usize>(&j["stacking"])];
        let tariff = Tariff::hanzo(num(&j["price_per_cu_hour"]))
            .with_weights(weights(&j["weights_milli_cu"]))
            .with_runtime_bps(array(&j["runtime_bps"]).try_into().unwrap())
            .with_tee_bps(array(&j["tee_bps"]).try_into().unwrap())
            .with_tee(policy, stacking)
            .with_basis([Basis::Reserved, Basis::Used, Basis::MaxOfBoth][num::<usize>(&j["basis"])])
            .with_mint(num(&j["mint_per_cu_hour"]))
            .with_asset(num(&j["asset"]));
        assert_eq!(hex::encode(tariff.to_bytes()), text(&c["encoding"]));
        assert_eq!(Tariff::from_bytes(&tariff.to_bytes()), Ok(tariff));
        assert_eq!(hex::encode(tariff.hash()), text(&c["tariff_hash"]));
        let account = AccountId::of_party(&bytes32(&c["party"]));
        assert_eq!(format!("{:032x}", account.get()), text(&c["account_id"]));
        let leg = TransferId::escrow_leg(num(&c["escrow"]), num(&c["leg"]));
        assert_eq!(format!("{:032x}", leg.get()), text(&c["leg_id"]));
    }
}

#[test]
fn meters() {
    let Some(file) = data("meters.json") else { return };
    let mut checked = 0;
    for (i, c) in list(&file["cases"]).iter().enumerate() {
        let gap = if text(&c["policy"]) == "zero" { GapPolicy::Zero } else { GapPolicy::Hold };
        let counter = text(&c["kind"]) == "counter";
        let config = MeterConfig {
            basis: if counter { Basis::Used } else { Basis::Reserved },
            cpu_source: if counter { CpuSource::Counter } else { CpuSource::Gauge },
            max_gap_ns: num(&c["max_gap_ns"]),
            max_skew_ns: num(&c["max_skew_ns"]),
            reserved_gap: gap,
            ..MeterConfig::default()
        };
        let mut meter = Meter::new(config.clone(), Timestamp::ZERO);
        let (mut total, mut accepted) = ([0i128; 3], Vec::new());
        let mut add = |cpu: i128, memory: i128, gpu: i128| {
            total[0] += cpu;
            total[1] += memory;
            total[2] += gpu;
        };
        for (at, op) in list(&c["ops"]).iter().enumerate() {
            match text(&op["op"]) {
                "record" => {
                    let v: Vec<u64> = nums(&op["value"]);
                    let value = match v[..] {
                        [core_ns] => Value::CpuTime(core_ns),
                        [c, b, g] => Value::Reserved(Resources::new(c, b, g).unwrap()),
                        _ => panic!(),
                    };
                    let (source, id) = (text(&op["source"]).as_bytes(), text(&op["id"]).as_bytes());
                    let reading = Reading { source, id, at: t(&op["at"]), value };
                    let got = match meter.record(t(&op["now"]), reading) {
                        Ok(Recorded::New) => "recorded",
                        Ok(Recorded::Late) => "late",
                        Ok(Recorded::Duplicate) => "duplicate",
                        Err(MeterError::Conflict) => "conflict",
                        Err(MeterError::Future { .. }) => "future",
                        Err(MeterError::TooLate { .. }) => "too_late",
                        Err(e) => panic!("{e}"),
                    };
                    assert_eq!(got, text(&op["expect"]), "case {i} op {at}");
                    if matches!(got, "recorded" | "late") {
                        accepted.push(reading);
                    }
                }
                "close" => {
                    let w = meter.close(t(&op["until"])).unwrap();
                    assert_eq!(w.usage, usage(&op["usage"]), "case {i} op {at}");
                    if counter {
                        assert_eq!(w.resets, num::<u64>(&op["resets"]), "case {i} op {at}");
                    } else {
                        assert_eq!(w.reserved_gap_ns, num::<u64>(&op["gap_ns"]), "case {i} op {at}");
                    }
                    add(w.usage.cpu as i128, w.usage.memory as i128, w.usage.gpu as i128);
                }
                "adjust" => {
                    let got = meter.corrections().unwrap();
                    let want = list(&op["expect"]);
                    assert_eq!(got.len(), want.len(), "case {i}");
                    for (g, w) in got.iter().zip(want) {
                        assert_eq!(vec![g.from.as_nanos(), g.to.as_nanos()], nums::<u64>(&w["window"]));
                        assert_eq!(vec![g.delta.cpu, g.delta.memory, g.delta.gpu], nums::<i128>(&w["delta"]));
                        add(g.delta.cpu, g.delta.memory, g.delta.gpu);
                    }
                }
                other => panic!("{other}"),
            }
            checked += 1;
        }
        assert_eq!(total.to_vec(), nums::<i128>(&c["total"]), "case {i}");
        // Sorted, in one window: the same total.
        let end = meter.closed_to();
        accepted.sort_by_key(|r| r.at);
        let mut sorted = Meter::new(config, Timestamp::ZERO);
        for r in accepted {
            sorted.record(r.at, r).unwrap();
        }
        let whole = sorted.close(end).unwrap().usage;
        assert_eq!(whole, usage(&c["total"]), "case {i}");
    }
    assert_eq!(checked, 377);
}

#[test]
fn ledger() {
    let Some(file) = data("ledger.json") else { return };
    let mut checked = 0;
    for (i, c) in list(&file["cases"]).iter().enumerate() {
        let mut ledger = Ledger::new();
        let mut now = Timestamp::ZERO;
        for (at, op) in list(&c["ops"]).iter().enumerate() {
            if op.get("now").is_some() {
                now = t(&op["now"]);
            }
            let got = match text(&op["op"]) {
                "open" => {
                    let flag = match text(&op["flags"]) {
                        "none" => AccountFlag::None,
                        "debits_le_credits" => AccountFlag::DebitsLeCredits,
                        "credits_le_debits" => AccountFlag::CreditsLeDebits,
                        other => panic!("{other}"),
                    };
                    let new = NewAccount::new(AccountId::new(num(&op["id"])), num(&op["ledger"]));
                    let limit = num(&op["credit_limit"]);
                    show(ledger.open(now, NewAccount { flag, credit_limit: limit, ..new }).map(|o| o.status))
                }
                "apply" => show(ledger.apply(now, &transfer(&op["transfer"])).map(|a| a.status)),
                "linked" => {
                    let legs: Vec<Transfer> = list(&op["transfers"]).iter().map(transfer).collect();
                    match ledger.apply_linked(now, &legs) {
                        Ok(status) => show::<LedgerError>(Ok(status)),
                        Err(LinkedError { index, error }) => format!("{index}:{}", name(&error)),
                    }
                }
                "advance" => show(ledger.advance(now).map(|_| Status::New)),
                "hold" => show(ledger.hold(now, id(&op["pending"])).map(|()| Status::New)),
                "unhold" => show(ledger.release_hold(now, id(&op["pending"])).map(|()| Status::New)),
                "freeze" => {
                    let account = AccountId::new(num(&op["account"]));
                    let on = op["on"].as_bool().unwrap();
                    let done = if on { ledger.freeze(now, account) } else { ledger.unfreeze(now, account) };
                    show(done.map(|()| Status::New))
                }
                "balances" => {
                    for (account, want) in op["expect"].as_object().unwrap() {
                        let b = ledger.balance_of(AccountId::new(account.parse().unwrap())).unwrap();
                        let got = vec![b.debits_pending, b.debits_posted, b.credits_pending, b.credits_posted];
                        assert_eq!(got, nums::<u128>(want), "case {i} op {at} account {account}");
                    }
                    ledger.audit().unwrap();
                    checked += 1;
                    continue;
                }
                other => panic!("{other}"),
            };
            assert_eq!(got, text(&op["expect"]), "case {i} op {at}: {op}");
            checked += 1;
        }
    }
    eprintln!("ledger.json: {checked} operations");
    assert!(checked > 900);
}

fn show<E: std::fmt::Debug>(result: Result<Status, E>) -> String {
    match result {
        Ok(Status::New) => "ok".into(),
        Ok(Status::Existing) => "existing".into(),
        Err(e) => name(&e),
    }
}

fn transfer(v: &Json) -> Transfer {
    let account = |key: &str| AccountId::new(num(&v[key]));
    match text(&v["kind"]) {
        "transfer" => Transfer::new(id(&v["id"]), account("debit"), account("credit"), num(&v["amount"])),
        "pending" => {
            Transfer::pending(id(&v["id"]), account("debit"), account("credit"), num(&v["amount"]), num(&v["timeout"]))
        }
        "post" => {
            let amount = (!v["amount"].is_null()).then(|| num(&v["amount"]));
            Transfer::post(id(&v["id"]), id(&v["pending"]), amount)
        }
        "void" => Transfer::void(id(&v["id"]), id(&v["pending"])),
        other => panic!("{other}"),
    }
}

fn schedule(name: &str, weights: &[u16]) -> FeeSchedule {
    match name {
        "hanzo" => FeeSchedule::hanzo(),
        "aci" => FeeSchedule::aci(),
        "zoo" => FeeSchedule::zoo(),
        _ => {
            let share =
                |(i, &bps): (usize, &u16)| Share { role: Role::Other(i as u16), bps, disposition: Disposition::Pay };
            FeeSchedule::new(weights.iter().enumerate().map(share)).unwrap()
        }
    }
}

#[test]
fn invoices() {
    let Some(file) = data("invoices.json") else { return };
    let mut lines = 0;
    for c in list(&file["cases"]) {
        let tariff = Tariff::hanzo(num(&c["price_per_cu_hour"])).with_tee(policy(&c["tee_policy"]), TeeStacking::Max);
        assert_eq!(tariff.denominator(), num::<u128>(&c["denominator"]));
        let (rt, tee) = (runtime(&c["runtime"]), tee(&c["tee"]));
        let (account, deployment) = (AccountId::new(num(&c["account"])), bytes32(&c["deployment"]));
        let (mut carry, mut all) = (Carry::default(), 0);
        for w in list(&c["windows"]) {
            let (from, to) = (num(&w["from_height"]), num(&w["to_height"]));
            let id = TransferId::invoice(account, &deployment, &bytes32(&c["tariff"]), from, to);
            assert_eq!(format!("{:032x}", id.get()), text(&w["id"]));
            let q = tariff.quanta(&usage(&w["usage"])).unwrap();
            assert_eq!(q.get(), num::<u128>(&w["lines"][0]["quanta"]));
            let mut total = 0;
            for line in list(&w["lines"]) {
                let q: i128 = num(&line["quanta"]);
                let q = SignedQuanta::new(Quanta::new(q.unsigned_abs()), q < 0);
                let amount = tariff.price(q, rt, tee, &mut carry).unwrap();
                assert_eq!(amount, num::<i128>(&line["amount"]));
                assert_eq!(carry.raw(), num::<u128>(&line["carry_after"]));
                total += amount;
                lines += 1;
            }
            assert_eq!(total, num::<i128>(&w["total"]));
            all += total;
        }
        assert_eq!(all, num::<i128>(&c["total"]));
    }
    assert_eq!(lines, 80);
}

#[test]
fn splits() {
    let Some(file) = data("splits.json") else { return };
    for c in list(&file["stateless"]) {
        let (amount, want) = (num(&c["amount"]), nums::<u128>(&c["shares"]));
        let got = match text(&c["schedule"]) {
            "distribute" => distribute(amount, &nums::<u128>(&c["weights"])).unwrap(),
            name => schedule(name, &nums::<u16>(&c["weights"])).split(amount),
        };
        assert_eq!(got, want, "{c}");
    }
    let mut steps = 0;
    for c in list(&file["carry"]) {
        let weights: Vec<u16> = nums(&c["weights"]);
        let schedule = schedule(text(&c["schedule"]), &weights);
        assert_eq!(schedule.shares().iter().map(|s| s.bps).collect::<Vec<_>>(), weights);
        let paid_roles = schedule.shares().iter().enumerate().filter(|(_, s)| s.disposition == Disposition::Pay);
        let recipients: Vec<_> = paid_roles.map(|(i, s)| (s.role, AccountId::new(100 + i as u128))).collect();
        let account = |i: usize| recipients.iter().map(|r| r.1).find(|a| a.get() == 100 + i as u128);
        let mut accrual = FeeAccrual::new(schedule);
        for step in list(&c["steps"]) {
            let paid = accrual.pay(num(&step["amount"]), &recipients).unwrap();
            assert_eq!(paid.iter().map(|p| p.1).collect::<Vec<_>>(), nums::<u128>(&step["paid"]), "{c}");
            let carries: Vec<u16> = (0..weights.len()).map(|i| accrual.carry(i, account(i))).collect();
            assert_eq!(carries, nums::<u16>(&step["carry"]));
            assert_eq!(accrual.suspense(), num::<u128>(&step["suspense"]));
            steps += 1;
        }
        let mut last = vec![0u128; weights.len()];
        for (to, amount) in accrual.finish() {
            let at = (0..weights.len()).find(|&i| account(i) == to).unwrap();
            last[at] += amount;
        }
        assert_eq!(last, nums::<u128>(&c["finish"]), "{c}");
        assert_eq!(accrual.suspense(), 0);
    }
    assert_eq!((list(&file["stateless"]).len(), steps), (47, 180));
}

#[test]
fn stakes() {
    let Some(file) = data("stakes.json") else { return };
    let (who, reporter) = (AccountId::new(7), AccountId::new(8));
    let mut checked = 0;
    for (i, c) in list(&file["cases"]).iter().enumerate() {
        let mut stakes = Stakes::new(num(&c["delay"]));
        let (mut burned, mut rewarded) = (0u128, 0u128);
        for (at, op) in list(&c["ops"]).iter().enumerate() {
            let now = t(&op["now"]);
            let context = format!("case {i} op {at}: {op}");
            match text(&op["op"]) {
                "bond" => stakes.bond(who, num(&op["amount"])).unwrap(),
                "unbond" => {
                    let got = stakes.unbond(now, who, num(&op["amount"]));
                    assert_eq!(got.map_or_else(|e| name(&e), |_| "ok".into()), text(&op["expect"]), "{context}");
                }
                "withdraw" => assert_eq!(stakes.withdraw(now, who), num::<u128>(&op["expect"]), "{context}"),
                "begin_epoch" => {
                    let epoch = num(&op["epoch"]);
                    stakes.begin_epoch(epoch).unwrap();
                    assert_eq!(stakes.base(who, epoch).unwrap(), num::<u128>(&op["base"]), "{context}");
                }
                "slash" => {
                    let order = SlashOrder {
                        account: who,
                        epoch: num(&op["epoch"]),
                        bps: num(&op["bps"]),
                        evidence: bytes32(&op["evidence"]),
                        reporter: Some(reporter),
                        reward_bps: num(&op["reward_bps"]),
                    };
                    match stakes.slash(&order) {
                        Ok((Status::New, s)) => {
                            let want = &op["expect"];
                            let want = ["slashed", "reward", "burned", "short"].map(|k| num::<u128>(&want[k]));
                            assert_eq!([s.taken, s.reward, s.burned, s.short], want, "{context}");
                            burned += s.burned;
                            rewarded += s.reward;
                        }
                        Ok((Status::Existing, _)) => assert_eq!("existing", text(&op["expect"]), "{context}"),
                        Err(e) => assert_eq!(name(&e), text(&op["expect"]), "{context}"),
                    }
                }
                other => panic!("{other}"),
            }
            let b = stakes.balance(who);
            assert_eq!((b.bonded, b.unbonding), (num(&op["bonded"]), num(&op["unbonding"])), "{context}");
            checked += 1;
        }
        assert_eq!((burned, rewarded), (num(&c["burned"]), num(&c["rewarded"])), "case {i}");
    }
    assert_eq!(checked, 225);
}

#[test]
fn emission() {
    let Some(file) = data("emission.json") else { return };
    for c in list(&file["caps"]) {
        let cap = |key: &str| (!c[key].is_null()).then(|| num::<u128>(&c[key]));
        let mut emission = Emission::new(cap("epoch_cap"), cap("max_supply"));
        for (epoch, e) in (1..).zip(list(&c["epochs"])) {
            let requests: Vec<u128> = nums(&e["requests"]);
            assert_eq!(emission.grant(&requests, epoch).unwrap(), nums::<u128>(&e["grants"]));
        }
        assert_eq!(emission.minted(), num::<u128>(&c["minted"]));
    }
    for c in list(&file["keeper_inference"]) {
        let got = inference_reward(num(&c["gamma"]), num(&c["queries"]), num(&c["stake"]), num(&c["total_stake"]));
        assert_eq!(got.unwrap(), num::<u128>(&c["amount"]));
    }
}

#[test]
fn plans() {
    let Some(file) = data("scheduler.json") else { return };
    let demand = |v: &Json| {
        let v: Vec<u64> = nums(v);
        Demand { resources: Resources::new(v[0], v[1], v[2]).unwrap(), slots: v[3] as u32 }
    };
    for (i, c) in list(&file["plan"]).iter().enumerate() {
        let planner =
            Planner { capacity: demand(&c["capacity"]), max_wait_ns: num(&c["max_wait"]), weights: Default::default() };
        let running: Vec<RunningJob> = list(&c["running"])
            .iter()
            .map(|j| RunningJob {
                id: num(&j["id"]),
                tenant: num(&j["tenant"]),
                demand: demand(&j["req"]),
                end: (!j["end"].is_null()).then(|| t(&j["end"])),
            })
            .collect();
        let mut queued: Vec<QueuedJob> = list(&c["queue"])
            .iter()
            .map(|j| QueuedJob {
                id: num(&j["id"]),
                seq: num(&j["seq"]),
                tenant: num(&j["tenant"]),
                priority: num(&j["priority"]),
                submitted: t(&j["submitted"]),
                demand: demand(&j["req"]),
                replicas: 1,
                max_duration_ns: (!j["max_duration"].is_null()).then(|| num(&j["max_duration"])),
            })
            .collect();
        let plan = planner.plan(t(&c["now"]), &running, &queued);
        let optional = |v: &Json| (!v.is_null()).then(|| num::<u64>(v));
        assert_eq!(plan.started, nums::<u128>(&c["started"]), "case {i}");
        assert_eq!(plan.head, optional(&c["head"]).map(u128::from), "case {i}");
        assert_eq!(plan.shadow.map(Timestamp::as_nanos), optional(&c["shadow"]), "case {i}");
        queued.reverse();
        assert_eq!(planner.plan(t(&c["now"]), &running, &queued), plan, "case {i} in another order");
    }
    assert_eq!(list(&file["plan"]).len(), 12);
}

#[test]
fn quotas() {
    let Some(file) = data("quotas.json") else { return };
    let mut checked = 0;
    for (i, c) in list(&file["cases"]).iter().enumerate() {
        let (limit, window) = (num(&c["limit"]), num(&c["window_ns"]));
        let mut sliding = SlidingWindow::new(limit, window).unwrap();
        let mut gcra = Gcra::new(limit, window, num(&c["burst"])).unwrap();
        for (at, d) in list(&c["decisions"]).iter().enumerate() {
            let (now, cost) = (t(&d[0]), num(&d[1]));
            let show = |answer: Result<(), QuotaError>| match answer {
                Ok(()) => "admit".into(),
                Err(QuotaError::NeverFits { .. }) => "never_fits".into(),
                Err(QuotaError::Denied { retry_at }) => retry_at.as_nanos().to_string(),
                Err(e) => panic!("{e}"),
            };
            assert_eq!(show(sliding.check(now, &i, cost)), text(&d[2]), "case {i} request {at}: window");
            assert_eq!(show(gcra.check(now, &i, cost)), text(&d[3]), "case {i} request {at}: gcra");
            checked += 1;
        }
    }
    assert_eq!(checked, 1_200);
}

#[test]
fn gas() {
    let Some(file) = data("gas.json") else { return };
    for c in list(&file["matmul"]) {
        let gas = GasSchedule::MATMUL.matmul(num(&c["m"]), num(&c["n"]), num(&c["k"])).unwrap();
        assert_eq!(gas.get(), num::<u64>(&c["milligas"]));
    }
    for c in list(&file["charge"]) {
        let charge = MilliGas::new(num(&c["milligas"])).charge(num(&c["price_per_gas"])).unwrap();
        assert_eq!(charge, num::<u128>(&c["charge"]));
    }
    let table = &file["operations_milligas"];
    let names = ["job_submission", "settlement", "dispute_resolution", "hmm_swap", "stake"];
    for (operation, name) in Operation::ALL.into_iter().zip(names) {
        assert_eq!(operation.gas().get(), num::<u64>(&table[name]));
    }
    let mean: u64 = Operation::ALL.iter().map(|o| o.gas().get()).sum::<u64>() / 5_000;
    assert_eq!(mean, num::<u64>(&file["mean_gas"][0]));
}

#[test]
fn journal_frames_and_hashes() {
    let Some(file) = data("ids.json") else { return };
    let frames: Vec<Vec<u8>> = list(&file["journal"]["frames"]).iter().map(|f| hex::decode(text(f)).unwrap()).collect();
    let bytes = frames.concat();
    // Read, replayed and written again: the same bytes.
    let (live, torn) = Journaled::recover(Ledger::new(), MemoryStore::from_bytes(bytes.clone(), None)).unwrap();
    assert_eq!((torn, hex::encode(live.hash())), (0, text(&file["journal"]["last_hash"]).to_owned()));
    assert_eq!(live.state().balance_of(AccountId::new(12)).unwrap().credits_posted, 500);
    let mut journal = Journal::new();
    let mut written = Vec::new();
    let mut open = Vec::new();
    for frame in &frames {
        let (frame, len) = Frame::decode(frame).unwrap();
        assert_eq!(len, Frame::HEADER + frame.body.len());
        if frame.kind == FrameKind::Commit {
            written.extend(journal.write(open.drain(..), frame.at));
        } else {
            open.push((frame.kind, frame.at, frame.body));
        }
    }
    assert_eq!(written, bytes);
}

#[test]
fn placement() {
    let Some(file) = data("scheduler.json") else { return };
    for (i, c) in list(&file["placement"]).iter().enumerate() {
        let resources = |v: &Json| {
            let v: Vec<u64> = nums(v);
            Resources::new(v[0], v[1], v[2]).unwrap()
        };
        let nodes: Vec<NodeSpec> = list(&c["nodes"])
            .iter()
            .map(|n| {
                let capacity = Demand { resources: resources(&n["capacity"]), slots: 9 };
                NodeSpec::new(NodeId::new(num(&n["id"])), capacity)
            })
            .collect();
        let request = Demand { resources: resources(&c["request"]), slots: 1 };
        let optional = |v: &Json| (!v.is_null()).then(|| num::<u32>(v));
        for (selection, want) in [(Selection::BestFit, "best_fit"), (Selection::LeastAllocated, "least_allocated")] {
            let mut cluster = Cluster::new(nodes.clone(), selection).unwrap();
            // What is not free is taken by another job of each node.
            for (n, spec) in list(&c["nodes"]).iter().zip(&nodes) {
                let (has, free): (Vec<u64>, Vec<u64>) = (nums(&n["capacity"]), nums(&n["free"]));
                let taken = Resources::new(has[0] - free[0], has[1] - free[1], has[2] - free[2]).unwrap();
                let demand = Demand { resources: taken, slots: 1 };
                cluster.start(spec.id.get().into(), 1, demand, vec![(spec.id, 1)]).unwrap();
            }
            let got = cluster.place(1_000, &request, 1).map(|p| p[0].0.get());
            assert_eq!(got, optional(&c[want]), "case {i}: {want}");
        }
        let draw = hex::decode(text(&c["draw"])).unwrap().try_into().unwrap();
        // The draw is among the nodes that have room.
        let fits = |n: &&Json| {
            let (free, asked): (Vec<u64>, Vec<u64>) = (nums(&n["free"]), nums(&c["request"]));
            asked.iter().zip(&free).all(|(a, f)| a <= f)
        };
        let fitting: Vec<u32> = list(&c["nodes"]).iter().filter(fits).map(|n| num(&n["id"])).collect();
        let stake = |id: &u32| num::<u128>(&c["stakes"][nodes.iter().position(|n| n.id.get() == *id).unwrap()]);
        let by_stake = select_by_stake(fitting.iter().map(stake), draw).map(|at| fitting[at]);
        assert_eq!(by_stake, optional(&c["stake_weighted"]), "case {i}: stake");
    }
    assert_eq!(list(&file["placement"]).len(), 10);
}
