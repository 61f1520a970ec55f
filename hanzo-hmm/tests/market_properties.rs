//! Laws of the market layer.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use hanzo_hmm::market::{
    BayesianLinear, ConstantProduct, Curve, Efe, Integrator, Load, ModelSpec, Node, NodeSelector, Outcome, Performance,
    PhaseSpace, Pool, QuoteTerms, Reserves, RoundRobin, RouteOptions, RoutingDecision, Side, StakeWeighted, Suzuki4,
    TodaWells, Verlet, Yoshida4,
};
use hanzo_hmm::rand_core::{Rng, SeedableRng};
use hanzo_hmm::{Config, MarketMaker, RoutingRequest, UserPreferences};
use num_bigint::BigUint;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rand::rngs::Xoshiro256PlusPlus;

fn config() -> ProptestConfig {
    ProptestConfig { cases: 256, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() }
}

fn fees() -> impl Strategy<Value = (u32, u32)> {
    prop_oneof![Just((3, 1_000)), Just((0, 1_000)), Just((30, 10_000)), Just((999, 1_000)), Just((1, 1_000_000))]
}

fn amount() -> impl Strategy<Value = u128> {
    (1u32..=120, any::<u128>()).prop_map(|(bits, v)| (v >> (128 - bits)).max(1))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn swaps_equal_big_integer_arithmetic_and_never_lower_k((f, d) in fees(), x in amount(), y in amount(), dx in amount()) {
        let curve = ConstantProduct::new(f, d).unwrap();
        let r = Reserves::new(x, y);
        let out = curve.amount_out(&r, dx).unwrap();
        let big = |v: u128| BigUint::from(v);
        let paid = big(dx) * (d - f);
        prop_assert_eq!(big(out), &paid * big(y) / (big(x) * d + &paid));
        let after = Reserves::new(x + dx, y - out);
        prop_assert!(curve.invariant(&after) >= curve.invariant(&r));
        if out > 0 && out < y {
            let asked = curve.amount_in(&r, out).unwrap();
            prop_assert_eq!(big(asked), big(x) * big(out) * d / (big(y - out) * (d - f)) + 1u32);
            prop_assert!(curve.amount_out(&r, asked).unwrap() >= out);
        }
    }

    #[test]
    fn a_round_trip_never_profits((f, d) in fees(), x in amount(), y in amount(), dx in amount()) {
        let curve = ConstantProduct::new(f, d).unwrap();
        let r = Reserves::new(x, y);
        let got = curve.amount_out(&r, dx).unwrap();
        if got > 0 {
            let back = Reserves::new(y - got, x + dx);
            if back.input > 0 {
                prop_assert!(curve.amount_out(&back, got).unwrap() <= dx);
            }
        }
    }

    #[test]
    fn splitting_a_trade_gains_at_most_the_rounding(x in amount(), y in amount(), a in amount(), b in amount()) {
        // Without a fee the curve is path independent, so only floors can differ; with one, splitting is a little worse.
        let curve = ConstantProduct::new(0, 1).unwrap();
        let r = Reserves::new(x, y);
        let whole = curve.amount_out(&r, a + b).unwrap();
        let first = curve.amount_out(&r, a).unwrap();
        let rest = Reserves::new(x + a, y - first);
        if rest.output > 0 {
            prop_assert!(first + curve.amount_out(&rest, b).unwrap() <= whole + 1);
        }
    }

    #[test]
    fn mint_then_burn_never_takes_out_more(a in amount(), b in amount(), c in amount(), e in amount()) {
        let mut pool = Pool::new([1; 32], ConstantProduct::default(), QuoteTerms::default()).unwrap();
        if pool.mint(a, b).is_ok() {
            let before = pool.reserves(Side::Compute);
            if let Ok(shares) = pool.mint(c, e) {
                let (out_c, out_e) = pool.burn(shares).unwrap();
                prop_assert!(out_c <= c && out_e <= e);
                let after = pool.reserves(Side::Compute);
                prop_assert!(after.input >= before.input && after.output >= before.output);
            }
        }
    }

    #[test]
    fn undamped_integrators_run_backwards(k in 0.1f64..3.0, a in 0.0f64..2.0, x in -0.8f64..0.8, p in -0.8f64..0.8) {
        fn there_and_back<I: Integrator>(i: I, wells: &TodaWells, s: &PhaseSpace) -> Result<(), TestCaseError> {
            let mut there = s.clone();
            i.advance(&mut there, wells, 0.02, 100, 0.0).unwrap();
            let mut back = there.reversed();
            i.advance(&mut back, wells, 0.02, 100, 0.0).unwrap();
            let back = back.reversed();
            for (u, v) in back.positions().iter().chain(back.momenta()).zip(s.positions().iter().chain(s.momenta())) {
                prop_assert!((u - v).abs() < 1e-10);
            }
            Ok(())
        }
        let wells = TodaWells::new(vec![k, 1.0], vec![0.1, 0.0]).unwrap()
            .asymmetry(a).unwrap().coupled(0.3, vec![0.0, 0.5, 0.5, 0.0]).unwrap();
        let s = PhaseSpace::new(vec![x, -x], vec![p, 0.2], vec![1.0, 0.7]).unwrap();
        there_and_back(Verlet::default(), &wells, &s)?;
        there_and_back(Yoshida4::default(), &wells, &s)?;
        there_and_back(Suzuki4::default(), &wells, &s)?;
    }

    #[test]
    fn a_damped_step_shrinks_phase_space_exactly(x in -0.5f64..0.5, p in -0.5f64..0.5, damping in 0.0f64..3.0) {
        let wells = TodaWells::new(vec![1.3], vec![0.1]).unwrap();
        let h = 0.05;
        let end = |x: f64, p: f64| {
            let mut s = PhaseSpace::new(vec![x], vec![p], vec![0.8]).unwrap();
            Suzuki4::default().advance(&mut s, &wells, h, 1, damping).unwrap();
            (s.positions()[0], s.momenta()[0])
        };
        let e = 1e-5;
        let ((xr, pr), (xl, pl)) = (end(x + e, p), end(x - e, p));
        let ((xu, pu), (xd, pd)) = (end(x, p + e), end(x, p - e));
        let det = ((xr - xl) * (pu - pd) - (xu - xd) * (pr - pl)) / (4.0 * e * e);
        prop_assert!((det - (-damping * h).exp()).abs() < 1e-8);
    }

    #[test]
    fn selectors_return_distinct_nodes(stakes in prop::collection::vec(0u128..1_000, 1..12), k in 0usize..12, seed: u64) {
        let nodes: Vec<Node> = stakes.iter().enumerate().map(|(i, &s)| Node::new([i as u8; 32], s)).collect();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let staked = stakes.iter().filter(|&&s| s > 0).count();
        let check = |ids: Vec<[u8; 32]>| {
            let mut distinct = ids.clone();
            distinct.sort();
            distinct.dedup();
            distinct.len() == k && ids.len() == k
        };
        match StakeWeighted.select(&nodes, k, &mut rng) {
            Ok(ids) => {
                prop_assert!(ids.iter().all(|id| stakes[usize::from(id[0])] > 0));
                prop_assert!(check(ids));
            }
            Err(_) => prop_assert!(k > staked || k > nodes.len()),
        }
        for ids in [
            RoundRobin::default().select(&nodes, k, &mut rng),
            Performance::default().select(&nodes, k, &mut rng),
            Performance::default().two_choices().select(&nodes, k, &mut rng),
        ] {
            prop_assert_eq!(ids.is_ok(), k <= nodes.len());
            prop_assert!(ids.map_or(true, check));
        }
    }

    #[test]
    fn one_at_a_time_equals_the_batch_solution(rows in prop::collection::vec((-1.0f64..1.0, 0.1f64..2.0), 1..40)) {
        // y = 0.3 + 0.2 x without outliers, prior precision 2: (X'WX + 2) b = X'Wy
        let mut model = BayesianLinear::new(&[2.0, 2.0]).unwrap();
        let (mut a, mut b, mut c, mut u, mut v) = (2.0, 0.0, 2.0, 0.0, 0.0);
        for &(x, w) in &rows {
            let y = 0.3 + 0.2 * x;
            model.update(&[1.0, x], y, w).unwrap();
            a += w;
            b += w * x;
            c += w * x * x;
            u += w * y;
            v += w * x * y;
        }
        let det = a * c - b * b;
        prop_assert!((model.coefficients()[0] - (c * u - b * v) / det).abs() < 1e-10);
        prop_assert!((model.coefficients()[1] - (a * v - b * u) / det).abs() < 1e-10);
        let z = [0.7, -0.4];
        let leverage = (z[0] * z[0] * c - 2.0 * z[0] * z[1] * b + z[1] * z[1] * a) / det;
        prop_assert!((model.leverage(&z).unwrap() - leverage).abs() < 1e-10);
    }
}

#[test]
fn all_eight_bit_reserves_agree_with_plain_arithmetic() {
    let curve = ConstantProduct::new(3, 1_000).unwrap();
    for x in 1..=255u64 {
        for y in 1..=255u64 {
            let r = Reserves::new(x.into(), y.into());
            for dx in [1, 2, 3, 7, 19, 64, 130, 255] {
                let out = dx * 997 * y / (x * 1_000 + dx * 997);
                assert_eq!(curve.amount_out(&r, dx.into()), Ok(out.into()));
                assert!((x + dx) * (y - out) >= x * y);
            }
            for dy in [1, y / 3, y / 2, y - 1] {
                if (1..y).contains(&dy) {
                    let asked = x * dy * 1_000 / ((y - dy) * 997) + 1;
                    assert_eq!(curve.amount_in(&r, dy.into()), Ok(asked.into()));
                    assert!((x + asked) * (y - dy) >= x * y);
                }
            }
        }
    }
}

/// The bound of a harmonic well, `(h omega)^2 / 4` of the energy, holds for all times.
#[test]
#[ignore = "ten million steps: cargo test --release -p hanzo-hmm --test market_properties -- --ignored"]
fn verlet_stays_in_its_energy_bound_slow_() {
    let wells = TodaWells::new(vec![1.0], vec![0.0]).unwrap().asymmetry(0.0).unwrap();
    let mut s = PhaseSpace::new(vec![1.0], vec![0.0], vec![1.0]).unwrap();
    let start = s.energy(&wells).unwrap();
    for _ in 0..10_000_000 {
        Verlet::default().step(&mut s, &wells, 0.1).unwrap();
        assert!((s.energy(&wells).unwrap() / start - 1.0).abs() < 2.6e-3);
    }
}

fn catalogue() -> Vec<ModelSpec> {
    ["small", "middle", "large", "huge"]
        .into_iter()
        .enumerate()
        .map(|(i, id)| ModelSpec {
            quality: 0.5 + 0.1 * i as f64,
            latency_ms: 200.0 * (i + 1) as f64,
            ..ModelSpec::new(id, 0.001 * f64::from(1 << i))
        })
        .collect()
}

fn market(models: Vec<ModelSpec>) -> MarketMaker {
    MarketMaker::builder(Config::default().models(models).buckets(16)).build().unwrap()
}

fn request(i: u64) -> RoutingRequest {
    RoutingRequest {
        input: format!("request {} of topic {}", i, i % 7),
        preferences: UserPreferences { quality_threshold: 0.1 * (i % 9) as f64, ..UserPreferences::default() },
        observations: if i.is_multiple_of(3) { vec![] } else { vec![0.1 * (i % 10) as f64, 0.2, 0.05, 0.3] },
        ..RoutingRequest::default()
    }
}

/// A market with some history.
fn taught(models: Vec<ModelSpec>, n: u64) -> (MarketMaker, Vec<RoutingDecision>) {
    let market = market(models);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(n);
    let mut decisions = Vec::new();
    for i in 0..n {
        let options = RouteOptions { seed: Some(i), now: Some(i * 100), ..RouteOptions::default() };
        let d = market.route(["a", "b", "c"][(i % 3) as usize], &request(i), &options).unwrap();
        let score = (rng.next_u64() % 101) as f64 / 100.0;
        market.record_outcome(d.id, &Outcome::success(score, 300, d.estimated_cost_usd)).unwrap();
        if i % 10 == 0 {
            market.tick(0.5, &[Load::new(0.9), Load::new(0.5), Load::new(0.4), Load::new(0.1)]).unwrap();
        }
        decisions.push(d);
    }
    (market, decisions)
}

#[test]
fn free_energy_identities_and_probabilities() {
    let (_, decisions) = taught(catalogue(), 60);
    let check = |efe: &Efe| {
        let size = 1.0 + efe.risk + efe.ambiguity;
        assert!((efe.risk + efe.ambiguity + efe.pragmatic + efe.epistemic).abs() < 1e-12 * size, "{efe:?}");
        assert!((efe.total - (-(efe.pragmatic + efe.epistemic) - efe.novelty)).abs() < 1e-12 * size, "{efe:?}");
        assert!(efe.total + efe.novelty >= 0.0 && efe.risk >= 0.0 && efe.ambiguity >= 0.0);
        assert!(efe.epistemic >= 0.0 && efe.novelty >= 0.0 && efe.pragmatic <= 0.0);
    };
    for d in &decisions {
        check(&d.efe);
        d.fallbacks.iter().for_each(|c| check(&c.efe));
        let sum: f64 = d.probability + d.fallbacks.iter().map(|c| c.probability).sum::<f64>();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        assert!((0.0..=1.0).contains(&d.expected_quality));
        assert!((d.regime_posterior.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(d.fallbacks.windows(2).all(|w| w[0].probability >= w[1].probability));
    }
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    let (a, b) = (taught(catalogue(), 80), taught(catalogue(), 80));
    assert_eq!(a.1, b.1);
    assert_eq!(a.0.prices(), b.0.prices());
    assert_eq!(a.0.service(), b.0.service());
}

#[test]
fn the_order_of_the_catalogue_does_not_matter() {
    let mut reversed = catalogue();
    reversed.reverse();
    let (a, b) = (market(catalogue()), market(reversed));
    for i in 0..40 {
        let (x, y) = (
            a.route("t", &request(i), &RouteOptions::default()).unwrap(),
            b.route("t", &request(i), &RouteOptions::default()).unwrap(),
        );
        assert_eq!((&x.model, &x.efe, x.fallbacks.len()), (&y.model, &y.efe, y.fallbacks.len()));
        for (u, v) in x.fallbacks.iter().zip(&y.fallbacks) {
            assert_eq!((&u.model, &u.efe), (&v.model, &v.efe));
            assert!((u.probability - v.probability).abs() < 1e-12);
        }
        for (m, d) in [(&a, &x), (&b, &y)] {
            m.record_outcome(d.id, &Outcome::success(0.6, 200, 0.0)).unwrap();
        }
    }
}

#[test]
fn a_dearer_model_is_never_more_likely() {
    let probability_of = |factor: f64| {
        let mut models = catalogue();
        models[2].input_usd_per_1k *= factor;
        models[2].output_usd_per_1k *= factor;
        let d = market(models).route("t", &request(8), &RouteOptions::default()).unwrap();
        let all = d.fallbacks.iter().map(|c| (&c.model, c.probability)).chain([(&d.model, d.probability)]);
        all.filter(|(model, _)| *model == "large").map(|(_, p)| p).sum::<f64>()
    };
    let p: Vec<f64> = [0.1, 0.5, 1.0, 1.3, 2.0, 10.0].map(probability_of).to_vec();
    assert!(p.windows(2).all(|w| w[0] >= w[1]), "{p:?}");
    assert!(p[0] > p[5]);
}

#[test]
fn a_filtered_model_is_never_chosen() {
    let market = market(catalogue());
    for i in 0..30 {
        let options = RouteOptions { denied_models: vec!["small".into()], seed: Some(i), ..RouteOptions::default() };
        let mut r = request(i);
        r.preferences.max_latency_ms = Some(700);
        r.preferences.quality_threshold = 0.0;
        let d = market.route("t", &r, &options).unwrap();
        assert!(["middle", "large"].contains(&d.model.as_str()));
        assert_eq!(d.fallbacks.len(), 1);
        assert_eq!(d.rejected.len(), 2);
    }
}

#[test]
fn late_outcomes_in_any_order_are_learned_alike_by_the_service_record() {
    let learn = |order: &[usize]| {
        let market = market(catalogue());
        let ids: Vec<_> =
            (0..6).map(|i| market.route("t", &request(i), &RouteOptions::default()).unwrap().id).collect();
        for &i in order {
            market.record_outcome(ids[i], &Outcome::success(0.5, 100 * i as u64, 0.25)).unwrap();
        }
        market.service().iter().map(|s| (s.availability, s.expected_latency_ms, s.spent_usd)).collect::<Vec<_>>()
    };
    assert_eq!(learn(&[0, 1, 2, 3, 4, 5]), learn(&[5, 3, 1, 0, 2, 4]));
}

/// Three models with fixed chances of a good answer, unknown to the router. Over five seeds the mean utility of 400
/// requests has to beat the worst fixed model clearly and to stay near the best: at most a third of the distance between
/// them may be spent on finding out. (There is no published figure for this world. The requests are of five kinds, so fifteen qualities are to be found
/// out in 400 requests; a router that knows nothing of kinds finds three and spends a quarter.)
#[test]
fn a_toy_world_is_learned() {
    const WORLD: [(&str, f64, f64); 3] = [("a", 0.45, 0.0005), ("b", 0.70, 0.001), ("c", 0.90, 0.002)];
    let utility = |quality: f64, usd_per_1k: f64| quality - 200.0 * 0.2 * usd_per_1k;
    let fixed = WORLD.map(|(_, quality, usd)| utility(quality, usd));
    let (worst, best) = (fixed[0], fixed[2]);
    assert!(best - worst > 0.3);
    let mut sum = 0.0;
    for seed in 0..5 {
        let models = WORLD.iter().map(|(id, _, usd)| ModelSpec { input_usd_per_1k: 0.0, ..ModelSpec::new(*id, *usd) });
        let market = market(models.collect());
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        for i in 0..400 {
            let r = RoutingRequest { input: format!("topic {}", i % 5), ..RoutingRequest::default() };
            let d = market.route("t", &r, &RouteOptions::default()).unwrap();
            let (_, quality, usd) = WORLD.into_iter().find(|w| w.0 == d.model).unwrap();
            assert!((d.estimated_cost_usd - 0.2 * usd).abs() < 1e-12);
            let good = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64 <= quality;
            market.record_outcome(d.id, &Outcome::success(f64::from(good), 300, d.estimated_cost_usd)).unwrap();
            sum += utility(quality, usd);
        }
    }
    let mean = sum / 2_000.0;
    println!("toy world: mean utility {mean:.4}, best fixed {best:.4}, worst fixed {worst:.4}");
    assert!(mean > worst + 0.1 && mean > best - (best - worst) / 3.0, "{mean} of {fixed:?}");
}
