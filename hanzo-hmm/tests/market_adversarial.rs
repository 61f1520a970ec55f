//! Bad input and hostile callers: typed errors, state untouched, never a panic.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use hanzo_hmm::Error;
use hanzo_hmm::market::{
    CooldownPolicy, DecisionId, Featuriser, Load, ModelSpec, Outcome, QuoteRequest, RejectionReason, RouteOptions,
    ServiceState, Status, default_catalogue,
};
use hanzo_hmm::{Config, MarketMaker, PerformanceRequirements, RoutingRequest, UserPreferences};

fn market() -> MarketMaker {
    MarketMaker::builder(Config::default().buckets(16)).build().unwrap()
}

fn plain() -> (RoutingRequest, RouteOptions) {
    (RoutingRequest { input: "hello".into(), ..RoutingRequest::default() }, RouteOptions::default())
}

fn refuse(config: Config, field: &'static str) {
    assert_eq!(MarketMaker::builder(config).build().err(), Some(Error::InvalidConfig { field }), "{field}");
}

#[test]
fn bad_configurations() {
    let c = Config::default;
    for bad in [0, 253, usize::MAX] {
        refuse(c().num_regimes(bad), "num_regimes");
    }
    for bad in [-0.1, 1.1, f64::NAN] {
        refuse(c().transition_threshold(bad), "transition_threshold");
        refuse(c().tenant_cap(bad.min(0.0)), "tenant_cap");
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        refuse(c().energy_scale(bad), "energy_scale");
        refuse(c().gamma(bad), "gamma");
    }
    // Habits over such a gamma would leave the finite numbers.
    refuse(c().gamma(1e-308), "gamma");
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        refuse(c().efe_precision(bad), "efe_precision");
        refuse(c().quality_weight(bad), "quality_weight");
        refuse(c().threshold_weight(bad), "threshold_weight");
        refuse(c().latency_weight(bad), "latency_weight");
        refuse(c().usd_weight(bad), "usd_weight");
        refuse(c().novelty_weight(bad), "novelty_weight");
        refuse(c().preference_bonus(bad), "preference_bonus");
        refuse(c().switch_cost(bad), "switch_cost");
    }
    refuse(c().quantization_bits(2), "quantization_bits");
    refuse(c().vector_dim(0), "vector_dim");
    refuse(c().adapter_cache_size(0), "adapter_cache_size");
    refuse(c().buckets(100), "buckets");
    refuse(c().buckets(1 << 13), "features");
    refuse(c().default_latency_ms(0), "default_latency_ms");
    refuse(c().max_decisions(0), "max_decisions");
    refuse(c().max_tenants(0), "max_tenants");
    refuse(c().cooldown(CooldownPolicy { failures: 0, ..CooldownPolicy::default() }), "cooldown");
    refuse(c().fee_bps(10_000), "fee_bps");
    refuse(c().quote_life_ms(0), "quote_life_ms");
    refuse(c().slippage_bps(10_001), "slippage_bps");
    refuse(c().base_units_per_usd(0), "base_units_per_usd");
    refuse(c().pool_tokens(0), "pool_tokens");
    refuse(c().pool_tokens(1).base_units_per_usd(1), "pool_tokens");
    refuse(c().models(vec![]), "models");

    let with = |change: &dyn Fn(&mut ModelSpec)| {
        let mut models = default_catalogue(hanzo_hmm::market::Precision::Fp16);
        change(&mut models[1]);
        c().models(models)
    };
    refuse(with(&|m| m.id = "Qwen3-4B".into()), "models.id");
    refuse(with(&|m| m.id = String::new()), "models.id");
    refuse(with(&|m| m.key = [0; 32]), "models.key");
    refuse(c().models(vec![ModelSpec::new("x".repeat(33), 1.0)]), "models.key");
    for bad in [-1e-9, f64::NAN, f64::INFINITY] {
        refuse(with(&|m| m.input_usd_per_1k = bad), "models.usd_per_1k");
        refuse(with(&|m| m.output_usd_per_1k = bad), "models.usd_per_1k");
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        refuse(with(&|m| m.memory_gb = bad), "models.memory_gb");
        refuse(with(&|m| m.tokens_per_second = bad), "models.tokens_per_second");
        refuse(with(&|m| m.latency_ms = bad), "models.latency_ms");
    }
    refuse(with(&|m| m.quality = 1.01), "models.quality");
    refuse(with(&|m| m.quality = f64::NAN), "models.quality");
    refuse(with(&|m| m.context_tokens = 0), "models.context_tokens");
}

#[test]
fn bad_requests_change_nothing() {
    let market = market();
    let untouched = MarketMaker::builder(Config::default().buckets(16)).build().unwrap();
    let mismatch = |what, expected, found| Error::DimensionMismatch { what, expected, found };
    let check = |error: Error, change: &dyn Fn(&mut RoutingRequest, &mut RouteOptions)| {
        let (mut r, mut o) = plain();
        change(&mut r, &mut o);
        assert_eq!(market.route("t", &r, &o), Err(error));
    };
    for bad in [f64::NAN, f64::INFINITY] {
        check(Error::NotFinite { what: "observation" }, &|r, _| r.observations = vec![0.1, bad, 0.0, 0.0]);
        check(Error::NotFinite { what: "feature" }, &|_, o| o.features = Some(vec![bad; 24]));
        check(Error::NotFinite { what: "quality threshold" }, &|r, _| r.preferences.quality_threshold = bad);
        check(Error::NotFinite { what: "cost per token" }, &|r, _| r.preferences.max_cost_per_token = Some(bad));
        check(Error::NotFinite { what: "tokens per second" }, &|r, _| r.requirements.min_tokens_per_second = Some(bad));
        check(Error::NotFinite { what: "memory" }, &|r, _| r.requirements.max_memory_gb = Some(bad));
        check(Error::NotFinite { what: "cost" }, &|_, o| o.max_cost_usd = Some(bad));
        check(Error::NotFinite { what: "expected output tokens" }, &|_, o| o.expected_output_tokens = bad);
    }
    check(mismatch("observations", 4, 5), &|r, _| r.observations = vec![0.1; 5]);
    check(mismatch("features", 24, 23), &|_, o| o.features = Some(vec![0.1; 23]));
    check(mismatch("embedding", 0, 3), &|_, o| o.embedding = Some(vec![0.1; 3]));
    check(Error::OutOfRange { what: "feature" }, &|_, o| o.features = Some(vec![1e7; 24]));
    check(Error::OutOfRange { what: "quality threshold" }, &|r, _| r.preferences.quality_threshold = 1.5);
    check(Error::OutOfRange { what: "horizon" }, &|_, o| o.horizon = 0);
    check(Error::OutOfRange { what: "expected output tokens" }, &|_, o| o.expected_output_tokens = 1e300);
    assert_eq!(market.route(&"x".repeat(257), &plain().0, &plain().1), Err(Error::TenantLimit));
    let before = |m: &MarketMaker| {
        let d = m.route("t", &plain().0, &plain().1).unwrap();
        (d, m.service(), m.regime())
    };
    assert_eq!(before(&market), before(&untouched));
}

#[test]
fn nothing_eligible_names_every_filter() {
    let market = market();
    let (mut r, mut o) = plain();
    r.context = vec!["x".repeat(400_000)];
    r.preferences = UserPreferences {
        max_latency_ms: Some(0),
        max_cost_per_token: Some(0.0),
        preferred_models: vec!["no such model".into()],
        quality_threshold: 1.0,
    };
    r.requirements = PerformanceRequirements {
        min_tokens_per_second: Some(1e6),
        max_memory_gb: Some(0.5),
        requires_function_calling: true,
        requires_vision: true,
    };
    o.max_cost_usd = Some(0.0);
    o.denied_models = vec!["Qwen3-4B".into()];
    let Err(Error::NoEligibleModel { rejections }) = market.route("t", &r, &o) else { panic!() };
    let first: Vec<_> = rejections.iter().filter(|j| j.model == "Qwen3-4B").map(|j| j.reason).collect();
    use RejectionReason as R;
    assert_eq!(
        first,
        [
            R::Denied,
            R::Vision,
            R::ContextLength,
            R::Memory,
            R::TokensPerSecond,
            R::CostPerToken,
            R::CostPerRequest,
            R::Latency
        ]
    );
    assert!(rejections.iter().any(|j| j.reason == R::TokensPerSecond && (j.limit, j.actual) == (1e6, 120.0)));
    assert_eq!(market.service().iter().map(|s| s.decisions).sum::<u64>(), 0);
}

#[test]
fn a_hard_quality_threshold_is_a_filter() {
    let (mut r, o) = plain();
    r.preferences.quality_threshold = 0.99;
    let soft = market().route("t", &r, &o).unwrap();
    assert!(!soft.meets_quality);
    let hard = MarketMaker::builder(Config::default().buckets(16).hard_quality(true)).build().unwrap();
    let Err(Error::NoEligibleModel { rejections }) = hard.route("t", &r, &o) else { panic!() };
    assert!(rejections.iter().all(|j| j.reason == RejectionReason::Quality && j.actual < 0.5));
    r.preferences.quality_threshold = 0.6;
    let d = hard.route("t", &r, &o).unwrap();
    assert!(d.meets_quality && !d.rejected.is_empty());
}

#[test]
fn outcomes_count_once_and_are_checked() {
    let market = market();
    let d = market.route("t", &plain().0, &plain().1).unwrap();
    let fresh = market.service();
    let good = Outcome::success(0.5, 10, 0.0);
    for (bad, error) in [
        (Outcome { score: Some(1.5), ..good }, Error::OutOfRange { what: "score" }),
        (Outcome { score: Some(-0.1), ..good }, Error::OutOfRange { what: "score" }),
        (Outcome { score: Some(f64::NAN), ..good }, Error::NotFinite { what: "score" }),
        (Outcome { usd: f64::NAN, ..good }, Error::NotFinite { what: "outcome usd" }),
        (Outcome { usd: -1.0, ..good }, Error::OutOfRange { what: "outcome usd" }),
        (Outcome { usd: 1e300, ..good }, Error::OutOfRange { what: "outcome usd" }),
    ] {
        assert_eq!(market.record_outcome(d.id, &bad), Err(error));
        assert_eq!(market.service(), fresh);
    }
    for id in [1, 7, u64::MAX] {
        assert_eq!(market.record_outcome(DecisionId::from(id), &good), Err(Error::UnknownDecision { id }));
    }
    market.record_outcome(d.id, &Outcome { latency_ms: u64::MAX, ..good }).unwrap();
    assert_eq!(market.record_outcome(d.id, &good), Err(Error::DuplicateOutcome { id: 0 }));
}

#[test]
fn old_decisions_are_forgotten() {
    let market = MarketMaker::builder(Config::default().buckets(16).max_decisions(10)).build().unwrap();
    let ids: Vec<_> = (0..25).map(|_| market.route("t", &plain().0, &plain().1).unwrap().id).collect();
    let good = Outcome::success(0.5, 10, 0.0);
    assert_eq!(market.record_outcome(ids[14], &good), Err(Error::UnknownDecision { id: 14 }));
    market.record_outcome(ids[15], &good).unwrap();
}

#[test]
fn tenants_are_bounded() {
    let market = MarketMaker::builder(Config::default().buckets(16).max_tenants(2)).build().unwrap();
    let (r, o) = plain();
    for tenant in ["a", "b", "a"] {
        market.route(tenant, &r, &o).unwrap();
    }
    assert_eq!(market.route("c", &r, &o), Err(Error::TenantLimit));
    market.route("b", &r, &o).unwrap();
}

#[test]
fn the_clock_never_runs_backwards() {
    let market = market();
    let (r, mut o) = plain();
    o.now = Some(1_000);
    market.route("t", &r, &o).unwrap();
    o.now = Some(999);
    assert_eq!(market.route("t", &r, &o), Err(Error::ClockBackwards { seen: 1_000, now: 999 }));
    o.now = None;
    market.route("t", &r, &o).unwrap();
}

#[test]
fn quotes_expire_spend_once_and_respect_limits() {
    let market = market();
    let ask = QuoteRequest { model: "Qwen3-14B".into(), units: 5_000, worker: 9 };
    let q = market.quote(&ask, 10_000).unwrap();
    assert_eq!((q.worker, q.issued_at, q.expires_at, q.units), (9, 10_000, 12_000, 5_000));
    assert_eq!(market.swap(&q, 12_000, u128::MAX), Err(Error::QuoteExpired { expires_at: 12_000 }));
    assert_eq!(market.swap(&q, 9_999, u128::MAX), Err(Error::ClockBackwards { seen: 10_000, now: 9_999 }));
    assert_eq!(
        market.swap(&q, 11_000, q.price - 1),
        Err(Error::SlippageExceeded { limit: q.price - 1, actual: q.price })
    );
    let mut foreign = q.clone();
    foreign.model = [1; 32];
    assert_eq!(market.swap(&foreign, 11_000, u128::MAX), Err(Error::OutOfRange { what: "model" }));
    let pool = market.pool("Qwen3-14B").unwrap();
    let receipt = market.swap(&q, 11_000, q.price).unwrap();
    assert_eq!((receipt.paid, receipt.got), (q.price, 5_000));
    assert!(receipt.k_after >= receipt.k_before && pool != market.pool("Qwen3-14B").unwrap());
    assert_eq!(market.swap(&q, 11_000, u128::MAX), Err(Error::QuoteReplayed));
    assert_eq!(market.quote(&ask, 10_999), Err(Error::ClockBackwards { seen: 11_000, now: 10_999 }));

    let units = |units| market.quote(&QuoteRequest { units, ..ask.clone() }, 11_000);
    assert_eq!(units(0), Err(Error::ZeroAmount));
    assert_eq!(units(u128::MAX), Err(Error::InsufficientLiquidity));
    let nobody = QuoteRequest { model: "nobody".into(), ..ask.clone() };
    assert_eq!(market.quote(&nobody, 11_000), Err(Error::OutOfRange { what: "model" }));
}

#[test]
fn a_stale_quote_holds_within_its_slippage_only() {
    let market = market();
    let ask = |units| QuoteRequest { model: "Qwen3-4B".into(), units, worker: 0 };
    let small = market.quote(&ask(1_000), 0).unwrap();
    let other = market.quote(&ask(1_000_000), 0).unwrap();
    market.swap(&other, 0, u128::MAX).unwrap(); // moves the price by 0.2 %
    let receipt = market.swap(&small, 0, u128::MAX).unwrap();
    assert!(receipt.paid > small.price && receipt.paid <= small.worst_price);

    let late = market.quote(&ask(1_000), 0).unwrap();
    let large = market.quote(&ask(100_000_000), 0).unwrap();
    market.swap(&large, 0, u128::MAX).unwrap(); // by more than 20 %
    let Err(Error::SlippageExceeded { limit, actual }) = market.swap(&late, 0, u128::MAX) else { panic!() };
    assert!(limit == late.worst_price && actual > limit);
}

#[test]
fn one_quote_executes_once_among_threads() {
    let market = market();
    let q = market.quote(&QuoteRequest { model: "Qwen3-7B".into(), units: 100, worker: 0 }, 0).unwrap();
    let done: usize = std::thread::scope(|s| {
        let threads: Vec<_> = (0..8).map(|_| s.spawn(|| market.swap(&q, 1, u128::MAX).is_ok())).collect();
        threads.into_iter().map(|t| usize::from(t.join().unwrap())).sum()
    });
    assert_eq!(done, 1);
}

#[test]
fn threads_route_learn_and_tick_together() {
    let market = market();
    std::thread::scope(|s| {
        for t in 0..4 {
            let market = &market;
            s.spawn(move || {
                for i in 0..50 {
                    let (r, o) = plain();
                    let d = market.route(&format!("tenant {t}"), &r, &o).unwrap();
                    market.record_outcome(d.id, &Outcome::success(0.5, 100, 0.0)).unwrap();
                    if i % 10 == t {
                        market.tick(0.1, &[]).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(market.service().iter().map(|s| s.outcomes).sum::<u64>(), 200);
}

/// Two models under equal loads have equal prices in every state; readers see no other.
#[test]
fn readers_never_see_half_a_tick() {
    let models = vec![ModelSpec::new("a", 0.001), ModelSpec::new("b", 0.001)];
    let market = MarketMaker::builder(Config::default().buckets(16).models(models)).build().unwrap();
    let done = AtomicUsize::new(0);
    std::thread::scope(|s| {
        let (market, done) = (&market, &done);
        s.spawn(move || {
            // A load without a period, so that no price comes twice.
            let mut phase = 0.0f64;
            while done.load(Ordering::Relaxed) < 2 {
                phase += 0.37;
                market.tick(0.2, &[Load::new(0.5 + 0.4 * phase.sin()); 2]).unwrap();
            }
        });
        for _ in 0..2 {
            s.spawn(move || {
                let mut different = BTreeSet::new();
                while different.len() < 50 {
                    let p = market.prices();
                    assert_eq!(p[0].to_bits(), p[1].to_bits());
                    different.insert(p[0].to_bits());
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
}

#[test]
fn bad_ticks_leave_the_prices() {
    let market = market();
    market.tick(1.0, &[Load::new(0.9); 6]).unwrap();
    let prices = market.prices();
    assert!(prices.iter().all(|p| p.is_finite() && *p > 0.0));
    assert_eq!(market.tick(f64::NAN, &[]), Err(Error::NotFinite { what: "dt" }));
    assert_eq!(market.tick(-1.0, &[]), Err(Error::OutOfRange { what: "dt" }));
    assert!(matches!(market.tick(1e12, &[]), Err(Error::StepTooLarge { h, max }) if h == 1e12 && max < h));
    assert_eq!(
        market.tick(1.0, &[Load::new(0.5)]),
        Err(Error::DimensionMismatch { what: "loads", expected: 6, found: 1 })
    );
    assert_eq!(market.tick(1.0, &[Load::new(1.5); 6]), Err(Error::OutOfRange { what: "utilisation" }));
    assert_eq!(market.prices(), prices);
}

#[test]
fn failing_models_cool_down_and_come_back() {
    let models = vec![ModelSpec::new("only", 0.001)];
    let market = MarketMaker::builder(Config::default().buckets(16).models(models)).build().unwrap();
    let at = |now| RouteOptions { now: Some(now), ..RouteOptions::default() };
    let r = plain().0;
    for now in [0, 1_000, 2_000] {
        let d = market.route("t", &r, &at(now)).unwrap();
        market.record_outcome(d.id, &Outcome::failure(Status::ServerError, 5)).unwrap();
    }
    let Err(Error::NoEligibleModel { rejections }) = market.route("t", &r, &at(3_000)) else { panic!() };
    assert_eq!((rejections[0].reason, rejections[0].actual), (RejectionReason::Cooldown, 7_005.0));
    let probe = market.route("t", &r, &at(7_005)).unwrap();
    assert!(market.route("t", &r, &at(7_006)).is_err(), "one probe at a time");
    market.record_outcome(probe.id, &Outcome::success(0.5, 20, 0.0)).unwrap();
    assert_eq!(market.service()[0].state, ServiceState::Healthy);
    market.route("t", &r, &at(7_007)).unwrap();
}

/// Nobody says what time it is: a pause would never end. What is left is what was learned: the other one is preferred.
#[test]
fn without_a_clock_failing_models_stay_in_service() {
    let models = vec![ModelSpec::new("failing", 0.001), ModelSpec::new("other", 0.001)];
    let market = MarketMaker::builder(Config::default().buckets(16).models(models)).build().unwrap();
    let r = plain().0;
    let only = RouteOptions { denied_models: vec!["other".into()], ..RouteOptions::default() };
    for _ in 0..5 {
        let d = market.route("t", &r, &only).unwrap();
        market.record_outcome(d.id, &Outcome::failure(Status::ServerError, 5)).unwrap();
    }
    let mut failing = 0;
    for _ in 0..30 {
        let d = market.route("t", &r, &RouteOptions::default()).unwrap();
        assert!(d.rejected.is_empty());
        failing += u32::from(d.model == "failing");
        let outcome = match d.model.as_str() {
            "failing" => Outcome::failure(Status::ServerError, 5),
            _ => Outcome::success(0.7, 20, 0.0),
        };
        market.record_outcome(d.id, &outcome).unwrap();
    }
    assert!(failing < 10, "{failing}");
}

#[test]
fn a_flood_from_one_tenant_is_capped() {
    let models = vec![ModelSpec::new("bad", 0.001), ModelSpec::new("other", 0.001)];
    let run = |cap: f64| {
        let config = Config::default().buckets(16).models(models.clone()).tenant_cap(cap);
        let market = MarketMaker::builder(config).build().unwrap();
        // Without observations the lies are put down to a regime of their own, in which only the liar seems to live: that is a protection, too, but
        // not the one that is tested here.
        let r = RoutingRequest { observations: vec![0.5, 0.0, 0.02, 0.0], ..plain().0 };
        let only_bad = RouteOptions { denied_models: vec!["other".into()], ..RouteOptions::default() };
        let teach = |tenant: &str, score| {
            let d = market.route(tenant, &r, &only_bad).unwrap();
            market.record_outcome(d.id, &Outcome::success(score, 100, 0.0)).unwrap();
            d.expected_quality
        };
        for i in 0..200 {
            teach(&format!("honest {}", i % 40), 0.2);
        }
        let before = teach("honest 0", 0.2);
        for _ in 0..2_000 {
            teach("liar", 1.0);
        }
        teach("honest 1", 0.2) - before
    };
    let (capped, open) = (run(0.05), run(1.0));
    println!("flood: {open:.3} without a cap, {capped:.3} with it");
    assert!(open > 0.6, "without a cap the lie is believed: {open}");
    assert!(capped < 0.1, "with a cap it is not: {capped}");
}

/// The cap must not silence honest tenants who are few and teach in turn.
#[test]
fn few_tenants_go_on_teaching() {
    for tenants in [1, 2, 3, 8] {
        let config = Config::default().buckets(16).models(vec![ModelSpec::new("only", 0.001)]);
        let market = MarketMaker::builder(config).build().unwrap();
        let (r, o) = plain();
        let mut expected = 0.0;
        for i in 0..400 {
            let d = market.route(&format!("tenant {}", i % tenants), &r, &o).unwrap();
            market.record_outcome(d.id, &Outcome::success(0.95, 100, 0.0)).unwrap();
            expected = d.expected_quality;
        }
        assert!(expected > 0.9, "{tenants} tenants, 400 outcomes of 0.95: {expected}");
    }
}

/// A model that has become better: who forgets believes what came last, who does not the mean of all. Refits of the kinds keep the ages.
#[test]
fn old_outcomes_are_forgotten_where_that_is_asked_for() {
    let run = |forgetting: f64| {
        let models = vec![ModelSpec::new("only", 0.001)];
        let config = Config::default().num_regimes(1).buckets(16).models(models).tenant_cap(1.0).forgetting(forgetting);
        let market = MarketMaker::builder(config).build().unwrap();
        let (r, o) = plain();
        let mut rng = hanzo_hmm::market::SplitMix64::new(5);
        let mut expected = 0.0;
        for t in 0..1_100 {
            let good = rng.unit() < if t < 700 { 0.3 } else { 0.9 };
            let d = market.route("tenant", &r, &o).unwrap();
            market.record_outcome(d.id, &Outcome::success(f64::from(good), 100, 0.0)).unwrap();
            expected = d.expected_quality;
        }
        expected
    };
    let (keeps, forgets) = (run(1.0), run(0.995));
    println!("0.3, then 0.9: {keeps:.3} without forgetting, {forgets:.3} with it");
    assert!(keeps < 0.65 && forgets > 0.75, "{keeps} {forgets}");
}

#[test]
fn adapters_steer_and_are_checked() {
    let request = plain().0;
    let free = market().route("t", &request, &plain().1).unwrap();
    let favourite = "DeepSeek-V3";
    let adapter = |tenant: &str, _: &[f64], class: usize, log_habit: &mut [f64]| {
        if (tenant, class) == ("t", 3) {
            log_habit[5] += 10_000.0;
        }
        if tenant == "broken" {
            log_habit[0] = f64::NAN;
        }
    };
    let market = MarketMaker::builder(Config::default().buckets(16)).adapter(adapter).build().unwrap();
    assert_ne!(free.model, favourite);
    let class = RouteOptions { class: 3, ..RouteOptions::default() };
    assert_eq!(market.route("t", &request, &class).unwrap().model, favourite);
    assert_eq!(market.route("u", &request, &class).unwrap().model, free.model);
    assert_eq!(market.route("broken", &request, &class), Err(Error::NotFinite { what: "habit" }));
}

/// Finite, but their sums over a horizon are not.
#[test]
fn habits_out_of_range_are_refused() {
    let adapter = |_: &str, _: &[f64], _: usize, log_habit: &mut [f64]| log_habit.fill(f64::MAX);
    let market = MarketMaker::builder(Config::default().buckets(16)).adapter(adapter).build().unwrap();
    let (request, options) = plain();
    let options = RouteOptions { horizon: 64, ..options };
    assert_eq!(market.route("t", &request, &options), Err(Error::OutOfRange { what: "habit" }));
}

/// A featuriser that breaks its word about its length gets an error, not a panic under the lock.
#[test]
fn a_featuriser_that_shrinks_is_refused() {
    struct Shrinking(AtomicUsize);
    impl Featuriser for Shrinking {
        fn dim(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }

        fn features_into(&self, _: &str, out: &mut [f64]) -> Result<(), Error> {
            let (expected, found) = (self.dim(), out.len());
            out.fill(0.5);
            if found == expected { Ok(()) } else { Err(Error::DimensionMismatch { what: "features", expected, found }) }
        }

        fn bias(&self) -> Option<usize> {
            self.0.store(2, Ordering::SeqCst);
            Some(5)
        }
    }
    let config = Config::default();
    let market = MarketMaker::builder(config).featuriser(Shrinking(AtomicUsize::new(6))).build().unwrap();
    let (request, options) = plain();
    let wanted = Error::DimensionMismatch { what: "features", expected: 2, found: 6 };
    assert_eq!(market.route("t", &request, &options), Err(wanted));
}

#[test]
fn preferred_models_get_their_bonus() {
    let market = market();
    let (mut r, o) = plain();
    let free = market.route("a", &r, &o).unwrap();
    let second = free.fallbacks[0].clone();
    r.preferences.preferred_models = vec![second.model.clone()];
    let d = market.route("b", &r, &o).unwrap();
    let found = d.fallbacks.iter().map(|c| (&c.model, c.probability)).chain([(&d.model, d.probability)]);
    let preferred = found.filter(|(m, _)| **m == second.model).map(|(_, p)| p).sum::<f64>();
    assert!(preferred > second.probability);
}

#[test]
fn a_session_stays_with_its_model_unless_another_is_better_by_more_than_the_switch() {
    let models = vec![
        ModelSpec { quality: 0.60, ..ModelSpec::new("a", 0.001) },
        ModelSpec { quality: 0.62, ..ModelSpec::new("b", 0.001) },
    ];
    let route = |cost: f64, last: Option<&str>| {
        let market = MarketMaker::builder(Config::default().models(models.clone()).switch_cost(cost)).build().unwrap();
        let options = RouteOptions { session_model: last.map(str::to_owned), ..RouteOptions::default() };
        let d = market.route("t", &RoutingRequest::default(), &options).unwrap();
        (d.model.clone(), d.fallbacks[0].efe.total - d.efe.total)
    };
    let (best, lead) = route(1.0, None);
    assert_eq!(best, "b");
    assert!(lead > 0.01);
    assert_eq!(route(1.1 * lead, Some("a")).0, "a");
    assert_eq!(route(0.5 * lead, Some("a")).0, "b");
    assert_eq!(route(1.1 * lead, Some("unknown")).0, "b");
}

#[test]
fn embeddings_are_used_when_configured() {
    let config = Config::default().buckets(16).embeddings(true).vector_dim(3);
    let market = MarketMaker::builder(config).build().unwrap();
    let with = |e: Vec<f64>| RouteOptions { embedding: Some(e), ..RouteOptions::default() };
    let r = plain().0;
    let a = market.route("t", &r, &with(vec![1e300, -1e300, 0.0])).unwrap();
    let without = market.route("t", &r, &RouteOptions::default()).unwrap();
    assert!(a.efe.novelty > without.efe.novelty, "an embedding is something new to learn about");
    market.route("t", &r, &with(vec![0.0; 3])).unwrap();
    assert_eq!(market.route("t", &r, &with(vec![f64::NAN; 3])), Err(Error::NotFinite { what: "embedding" }));
    assert_eq!(
        market.route("t", &r, &with(vec![1.0; 4])),
        Err(Error::DimensionMismatch { what: "embedding", expected: 3, found: 4 })
    );
}

#[test]
fn a_thousand_models() {
    let models: Vec<_> = (0..1_024)
        .map(|i| ModelSpec { quality: f64::from(i % 100) / 100.0, ..ModelSpec::new(format!("m{i}"), 0.001) })
        .collect();
    let market = MarketMaker::builder(Config::default().buckets(16).models(models)).build().unwrap();
    let d = market.route("t", &plain().0, &plain().1).unwrap();
    assert_eq!(d.fallbacks.len(), 8);
    assert_eq!(d.model, "m99");
    market.tick(0.1, &[]).unwrap();
}

#[test]
fn text_of_any_kind_is_routed() {
    let market = market();
    for input in ["", "\0\u{7f}", "\u{1f980}\u{301}", &"é".repeat(5_000), &"?".repeat(10_000)] {
        let r = RoutingRequest { input: input.into(), ..RoutingRequest::default() };
        let d = market.route("", &r, &RouteOptions::default()).unwrap();
        assert!(d.efe.total.is_finite() && d.expected_quality.is_finite());
    }
}

#[cfg(feature = "serde")]
mod serde {
    use hanzo_hmm::market::{Quote, RouteAnswer, RouteCall, RoutingDecision};

    use super::*;

    #[test]
    fn the_published_call_and_answer() {
        let call = r#"{
            "user_id": "user_123",
            "input": "Explain quantum computing",
            "context": ["Previous messages..."],
            "preferences": {"max_cost_usd": 0.01, "min_quality": 0.8}
        }"#;
        let (tenant, request, options) = serde_json::from_str::<RouteCall>(call).unwrap().into_parts();
        assert_eq!((tenant.as_str(), request.context.len()), ("user_123", 1));
        assert_eq!((request.preferences.quality_threshold, options.max_cost_usd), (0.8, Some(0.01)));
        let decision = market().route(&tenant, &request, &options).unwrap();
        let answer: serde_json::Value = serde_json::to_value(RouteAnswer::from(&decision)).unwrap();
        let keys: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
        let mut wanted = ["model", "regime", "efe", "estimated_cost_usd", "expected_quality"];
        wanted.sort_unstable();
        assert_eq!(keys.len(), 5);
        assert!(wanted.iter().all(|k| keys.contains(k)));
        assert_eq!((&answer["model"], &answer["regime"]), (&decision.model.clone().into(), &"Exploration".into()));
        assert_eq!(answer["efe"], decision.efe.total);
        assert!(serde_json::from_str::<RouteCall>(r#"{"user_id": "u"}"#).is_err(), "a call needs its input");
    }

    #[test]
    fn the_published_keys_are_read_and_unknown_ones_refused() {
        let published = r#"{"num_regimes": 4, "transition_threshold": 0.15, "energy_scale": 1.0, "quantization_bits": 1,
            "efe_precision": 0.01, "db_path": "./hllm_storage.db", "vector_dim": 768, "adapter_cache_size": 100}"#;
        assert_eq!(serde_json::from_str::<Config>(published).unwrap(), Config::default());
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
        for bad in [r#"{"num_regime": 4}"#, r#"{"quantization_bits": 2}"#, r#"{"gamma": -1}"#, r#"{"models": []}"#] {
            assert!(serde_json::from_str::<Config>(bad).is_err(), "{bad}");
        }
        let config = Config::default().gamma(20.0).fee_bps(5);
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn what_goes_in_and_out_survives_json() {
        fn trip<T: ::serde::Serialize + ::serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
            let text = serde_json::to_string(value).unwrap();
            assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value);
        }
        let market = market();
        let (mut r, o) = plain();
        r.requirements.max_memory_gb = Some(40.0);
        let d: RoutingDecision = market.route("t", &r, &o).unwrap();
        assert!(!d.rejected.is_empty());
        let q: Quote = market.quote(&QuoteRequest { model: d.model.clone(), units: 7, worker: 1 }, 0).unwrap();
        trip(&r);
        trip(&o);
        trip(&q);
        trip(&Quote { units: u128::MAX, price: u128::MAX - 1, ..q });
        trip(&Outcome::failure(Status::RateLimited { retry_after_ms: Some(5) }, 1));
        let text = serde_json::to_string(&d).unwrap();
        let back: RoutingDecision = serde_json::from_str(&text).unwrap();
        assert_eq!((back.id, back.model, back.regime, back.rejected), (d.id, d.model, d.regime, d.rejected));
    }
}
