//! The market layer against exact vectors, and the pinned bytes of its wire format.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::cmp::Ordering;
use std::io::Read;
use std::path::PathBuf;

use hanzo_hmm::Error;
use hanzo_hmm::market::{
    ConstantProduct, Curve, Featuriser, HashedText, Integrator, Invariant, PhaseSpace, Pool, Potential, Quote,
    QuoteTerms, Regime, Reserves, Side, Suzuki4, TodaWells, Verlet, Yoshida4,
};
use serde_json::Value;

fn product(curve: &ConstantProduct, r: &Reserves) -> String {
    curve.invariant(r).to_string()
}

#[test]
fn cpmm_swaps_and_mints() {
    let Some(data) = json("cpmm_vectors.json") else { return };
    let curve = ConstantProduct::new(3, 1_000).unwrap();
    let swaps = data["swaps"].as_array().unwrap();
    assert_eq!(swaps.len(), 25);
    for swap in swaps {
        let reserves = Reserves::new(unsigned(&swap["reserve_in"]), unsigned(&swap["reserve_out"]));
        let dx = unsigned(&swap["amount_in"]);
        let out = curve.amount_out(&reserves, dx).unwrap();
        assert_eq!(out, unsigned(&swap["amount_out"]));
        assert_eq!(product(&curve, &reserves), text(&swap["k_before"]));
        let after = Reserves::new(reserves.input + dx, reserves.output - out);
        assert_eq!(product(&curve, &after), text(&swap["k_after"]));
        if let Some(wanted) = swap.get("amount_in_for_that_out") {
            assert_eq!(curve.amount_in(&reserves, out).unwrap(), unsigned(wanted));
        }
    }
    let mints = data["mint"].as_array().unwrap();
    assert_eq!(mints.len(), 4);
    for mint in mints {
        let mut pool = Pool::new([1; 32], curve, QuoteTerms::default()).unwrap();
        let shares = pool.mint(unsigned(&mint["a0"]), unsigned(&mint["a1"]));
        match text(&mint["first_liquidity"]).parse::<i128>() {
            Ok(minted) if minted <= 0 => assert_eq!(shares, Err(Error::InsufficientLiquidity)),
            _ => assert_eq!(shares.unwrap(), unsigned(&mint["first_liquidity"])),
        }
    }
}

#[test]
fn constant_product_swaps_up_to_128_bits() {
    let Some(data) = json("curve_vectors.json") else { return };
    let swaps = data["swaps"].as_array().unwrap();
    assert_eq!(swaps.len(), 225);
    let mut refused = 0;
    for swap in swaps {
        let curve = ConstantProduct::new(number(&swap["fee"]) as u32, number(&swap["fee_den"]) as u32).unwrap();
        let reserves = Reserves::new(unsigned(&swap["reserve_in"]), unsigned(&swap["reserve_out"]));
        let dx = unsigned(&swap["amount_in"]);
        assert_eq!(product(&curve, &reserves), text(&swap["k_before"]));
        let out = curve.amount_out(&reserves, dx);
        if swap["reserve_in_overflows_u128"] == Value::Bool(true) {
            assert_eq!(out, Err(Error::Overflow));
            refused += 1;
            continue;
        }
        let out = out.unwrap();
        assert_eq!(out, unsigned(&swap["amount_out"]));
        let after = Reserves::new(reserves.input + dx, reserves.output - out);
        assert_eq!(product(&curve, &after), text(&swap["k_after"]));
        if let Some(wanted) = swap.get("amount_in_for_that_out") {
            let asked = curve.amount_in(&reserves, out).unwrap();
            assert_eq!(asked, unsigned(wanted));
            assert!(asked >= unsigned(&swap["minimal_in"]));
        }
    }
    assert!(refused > 0);
}

#[test]
fn pool_lives_step_by_step() {
    let Some(data) = json("curve_vectors.json") else { return };
    let lives = data["pool_lives"].as_array().unwrap();
    assert_eq!(lives.len(), 3);
    for life in lives {
        let curve = ConstantProduct::new(number(&life["fee"]) as u32, number(&life["fee_den"]) as u32).unwrap();
        assert_eq!(number(&life["locked"]) as u128, Pool::<ConstantProduct>::LOCKED);
        let mut pool = Pool::new([1; 32], curve, QuoteTerms::default()).unwrap();
        for (version, step) in life["steps"].as_array().unwrap().iter().enumerate() {
            match step["op"].as_str().unwrap() {
                "mint" => {
                    let shares = pool.mint(unsigned(&step["a"]), unsigned(&step["b"])).unwrap();
                    assert_eq!(shares, unsigned(&step["minted"]));
                }
                "burn" => {
                    let out = pool.burn(unsigned(&step["shares"])).unwrap();
                    assert_eq!(out, (unsigned(&step["out_a"]), unsigned(&step["out_b"])));
                }
                swap => {
                    let side = if swap == "swap_a_for_b" { Side::Compute } else { Side::Money };
                    let receipt = pool.swap_exact_in(side, unsigned(&step["amount_in"]), 0).unwrap();
                    assert_eq!(receipt.got, unsigned(&step["amount_out"]));
                    assert_ne!(receipt.k_after.cmp(&receipt.k_before), Ordering::Less);
                }
            }
            let reserves = Reserves::new(unsigned(&step["reserve_a"]), unsigned(&step["reserve_b"]));
            assert_eq!(pool.reserves(Side::Compute), reserves);
            assert_eq!(pool.supply(), unsigned(&step["supply"]));
            assert_eq!(pool.version(), version as u64 + 1);
        }
    }
}

fn system(case: &Value) -> (TodaWells, PhaseSpace) {
    let p = &case["params"];
    let weights = p["W"].as_array().unwrap().iter().flat_map(numbers).collect();
    let wells = TodaWells::new(numbers(&p["k"]), numbers(&p["c"]))
        .unwrap()
        .asymmetry(number(&p["a"]))
        .unwrap()
        .scale(number(&p["s"]))
        .unwrap()
        .coupled(number(&p["cr"]), weights)
        .unwrap();
    let state = PhaseSpace::new(numbers(&case["x0"]), numbers(&case["p0"]), numbers(&p["m"])).unwrap();
    (wells, state)
}

fn assert_close(found: &[f64], wanted: &[f64], tolerance: f64, what: &str) {
    let size = wanted.iter().fold(0.0f64, |a, v| a.max(v.abs()));
    for (f, w) in found.iter().zip(wanted) {
        assert!((f - w).abs() <= tolerance * size, "{what}: {f} is not {w}");
    }
}

fn follow<I: Integrator, V: Potential>(integrator: I, wells: &V, state: &mut PhaseSpace, case: &Value) {
    let (h, damping) = (number(&case["h"]), number(&case["damping"]));
    let start = state.energy(wells).unwrap();
    assert!((start - number(&case["H0"])).abs() < 1e-12 * start.abs());
    let mut worst = 0.0f64;
    let mut points = case["trajectory"].as_array().unwrap().iter().peekable();
    for step in 1..=200u64 {
        integrator.advance(state, wells, h, 1, damping).unwrap();
        let energy = state.energy(wells).unwrap();
        worst = worst.max((energy - start).abs());
        if let Some(point) = points.next_if(|p| number(&p["step"]) as u64 == step) {
            let what = format!("{} step {step}", case["method"]);
            assert_close(state.positions(), &numbers(&point["x"]), 1e-12, &what);
            assert_close(state.momenta(), &numbers(&point["p"]), 1e-12, &what);
            assert!((energy - number(&point["H"])).abs() <= 1e-12 * (1.0 + energy.abs()), "{what}");
        }
    }
    assert!(points.next().is_none(), "every point of the trajectory was met");
    if !case["max_abs_dH"].is_null() {
        assert!((worst - number(&case["max_abs_dH"])).abs() < 1e-10, "{worst}");
    }
}

#[test]
fn discrete_maps_of_the_integrators() {
    let Some(data) = json("integrator_reference.json") else { return };
    let cases = data["discrete"].as_array().unwrap();
    assert_eq!(cases.len(), 21);
    for case in cases {
        let (wells, mut state) = system(case);
        match case["method"].as_str().unwrap() {
            "verlet" => follow(Verlet::default(), &wells, &mut state, case),
            "yoshida4" => follow(Yoshida4::default(), &wells, &mut state, case),
            "suzuki4" => follow(Suzuki4::default(), &wells, &mut state, case),
            other => panic!("unknown method {other}"),
        }
    }
}

/// Distance from the exact flow at the last point, with `n` steps a unit of time.
fn flow_error<I: Integrator>(integrator: &I, case: &Value, n: u64) -> f64 {
    let (wells, mut state) = system(case);
    let end = case["points"].as_array().unwrap().last().unwrap();
    let steps = number(&end["t"]) as u64 * n;
    integrator.advance(&mut state, &wells, 1.0 / n as f64, steps, number(&case["damping"])).unwrap();
    let exact = numbers(&end["x"]).into_iter().chain(numbers(&end["p"]));
    let found = state.positions().iter().chain(state.momenta());
    found.zip(exact).map(|(f, e)| (f - e) * (f - e)).sum::<f64>().sqrt()
}

#[test]
fn order_of_convergence_on_the_flows() {
    let Some(data) = json("integrator_reference.json") else { return };
    let cases = data["continuous"].as_array().unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        // The splitting of the damping is itself of order 2.
        let damped = number(&case["damping"]) > 0.0;
        order(&Verlet::default(), case, 2.0);
        if !damped {
            order(&Yoshida4::default(), case, 4.0);
            order(&Suzuki4::default(), case, 4.0);
        }
    }

    fn order<I: Integrator>(integrator: &I, case: &Value, wanted: f64) {
        let [coarse, middle, fine] = [20, 40, 80].map(|n| flow_error(integrator, case, n));
        for (a, b) in [(coarse, middle), (middle, fine)] {
            let found = (a / b).log2();
            assert!((found - wanted).abs() < 0.1, "order {found} is not {wanted}");
        }
        assert_eq!(f64::from(I::ORDER), wanted);
    }
}

#[test]
fn featuriser_values() {
    let Some(data) = json("protocol_checks.json") else { return };
    let featuriser = HashedText::new(64).unwrap();
    let mut x = vec![0.0; 72];
    featuriser.features_into("Hello, World! x=3", &mut x).unwrap();
    for (i, (found, wanted)) in x.iter().zip(numbers(&data["features_example"])).enumerate() {
        assert!((found - wanted).abs() < 1e-12, "feature {i}: {found} is not {wanted}");
    }
}

#[test]
fn featuriser_on_real_questions() {
    let Some(data) = json("protocol_checks.json") else { return };
    let Some(questions) = gzip_lines("llmrouter_questions.jsonl.gz") else { return };
    let featuriser = HashedText::new(64).unwrap();
    let lines: Vec<&str> = questions.lines().collect();
    assert_eq!(lines.len(), 6_108);
    for (wanted, row) in numbers(&data["feature_row_sums"]).iter().zip([0, 1, 100, 6_107]) {
        let question: Value = serde_json::from_str(lines[row]).unwrap();
        let mut x = vec![0.0; 72];
        featuriser.features_into(question["q"].as_str().unwrap(), &mut x).unwrap();
        let sum: f64 = x.iter().sum();
        assert!((sum - wanted).abs() < 1e-12, "{sum} is not {wanted}");
    }
}

#[test]
fn quote_bytes_are_pinned() {
    let quote = Quote {
        id: 1,
        pool_version: 2,
        model: [0xab; 32],
        worker: 3,
        units: 4,
        price: 5,
        worst_price: 6,
        fee: 7,
        eta_ms: 8,
        regime: Regime::Crisis,
        issued_at: 9,
        expires_at: 10,
        nonce: 11,
    };
    let bytes = quote.to_bytes();
    let mut wanted = b"hanzo-hmm/quote/v1".to_vec();
    wanted.extend([0, 0, 0, 0, 0, 0, 0, 1]);
    wanted.extend([0, 0, 0, 0, 0, 0, 0, 2]);
    wanted.extend([0xab; 32]);
    wanted.extend([0, 0, 0, 0, 0, 0, 0, 3]);
    for amount in [4, 5, 6, 7] {
        wanted.extend([0; 15]);
        wanted.push(amount);
    }
    wanted.extend([0, 0, 0, 0, 0, 0, 0, 8]);
    wanted.push(2);
    for word in [9, 10, 11] {
        wanted.extend([0; 7]);
        wanted.push(word);
    }
    assert_eq!(bytes, wanted);
    assert_eq!(bytes.len(), Quote::BYTES);
    assert_eq!(Quote::from_bytes(&bytes), Ok(quote));
    assert_eq!(Invariant::product(3, 5).to_string(), "15");
}

fn path(file: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("HANZO_TEST_DATA") else {
        eprintln!("skipped: market/{file}; set HANZO_TEST_DATA to the folder of the SDK's test data");
        return None;
    };
    Some(PathBuf::from(root).join("market").join(file))
}

/// A JSON file of the shared data, or `None` where there is none on this machine.
fn json(file: &str) -> Option<Value> {
    let bytes = std::fs::read(path(file)?).unwrap();
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// A gzipped text file of the shared data.
fn gzip_lines(file: &str) -> Option<String> {
    let bytes = std::fs::read(path(file)?).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    Some(text)
}

/// The digits of a number that may stand as text.
fn text(v: &Value) -> String {
    v.as_str().map_or_else(|| v.to_string(), str::to_owned)
}

fn unsigned(v: &Value) -> u128 {
    text(v).parse().unwrap()
}

fn number(v: &Value) -> f64 {
    text(v).parse().unwrap()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(number).collect()
}
