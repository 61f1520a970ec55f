//! The weighted-product and YieldSpace curves: published figures, exact bounds, and the laws of a curve.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::PathBuf;

use hanzo_hmm::Error;
use hanzo_hmm::market::{ConstantProduct, ContextPool, Curve, Lmsr, LmsrCurve, Reserves, WeightedProduct, YieldSpace};
use num_bigint::BigUint;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::Value;

fn vectors() -> Option<Value> {
    let Some(root) = std::env::var_os("HANZO_TEST_DATA") else {
        eprintln!("skipped: market/curve_vectors.json; set HANZO_TEST_DATA to the folder of the SDK's test data");
        return None;
    };
    let bytes = std::fs::read(PathBuf::from(root).join("market/curve_vectors.json")).unwrap();
    Some(serde_json::from_slice(&bytes).unwrap())
}

fn amount(v: &Value) -> u128 {
    v.as_str().unwrap().parse().unwrap()
}

fn small(v: &Value) -> u32 {
    v.as_u64().unwrap() as u32
}

/// Not above the exact floor, and short of it by at most `max(1, 2^-60 y)`.
fn within(found: u128, floor: u128, reserve: u128) {
    assert!(found <= floor, "{found} is above {floor}");
    assert!(floor - found <= (reserve >> 60).max(1), "{found} is too far below {floor}");
}

#[test]
fn weighted_swaps_stay_within_the_bound() {
    let Some(data) = vectors() else { return };
    let cases = data["weighted_product"].as_array().unwrap();
    assert!(cases.len() >= 18);
    for c in cases {
        let (wx, wy) = (small(&c["weight_in"]), small(&c["weight_out"]));
        let curve = WeightedProduct::new(wx, wy, small(&c["fee"]), small(&c["fee_den"])).unwrap();
        let r = Reserves::new(amount(&c["reserve_in"]), amount(&c["reserve_out"]));
        let out = curve.amount_out(&r, amount(&c["amount_in"])).unwrap();
        within(out, amount(&c["floor_amount_out"]), r.output);
        let asked = curve.amount_in(&r, out).unwrap();
        assert!(curve.amount_out(&r, asked).unwrap() >= out);
        assert!(asked <= amount(&c["amount_in"]) + (amount(&c["amount_in"]) >> 40).max(2));
    }
}

#[test]
fn yield_space_swaps_stay_within_the_bound() {
    let Some(data) = vectors() else { return };
    let cases = data["yieldspace"].as_array().unwrap();
    assert_eq!(cases.len(), 10);
    for c in cases {
        let t: f64 = c["t"].as_str().unwrap().parse().unwrap();
        let curve = YieldSpace::new((t * 100.0).round() as u32, 100, 0, 1).unwrap();
        let r = Reserves::new(amount(&c["reserve_in"]), amount(&c["reserve_out"]));
        let out = curve.amount_out(&r, amount(&c["amount_in"])).unwrap();
        within(out, amount(&c["floor_amount_out"]), r.output);
        let asked = curve.amount_in(&r, out).unwrap();
        assert!(curve.amount_out(&r, asked).unwrap() >= out);
        assert!(asked <= amount(&c["amount_in"]) + (amount(&c["amount_in"]) >> 40).max(2));
    }
}

fn integers(v: &Value) -> Vec<i64> {
    v.as_array().unwrap().iter().map(|q| q.as_i64().unwrap()).collect()
}

#[test]
fn lmsr_costs_and_prices() {
    let Some(data) = vectors() else { return };
    let cases = data["lmsr"].as_array().unwrap();
    assert!(cases.len() >= 12);
    for c in cases {
        let mut market = Lmsr::new(c["b"].as_u64().unwrap(), integers(&c["q"])).unwrap();
        let (outcome, delta) = (small(&c["outcome"]) as usize, c["delta"].as_i64().unwrap());
        let wanted: f64 = c["cost"].as_str().unwrap().parse().unwrap();
        let found = market.cost(outcome, delta).unwrap();
        assert!((found - wanted).abs() <= 1e-12 * wanted.abs().max(1.0), "{found} is not {wanted}");
        for (p, w) in market.prices().iter().zip(c["prices_before"].as_array().unwrap()) {
            let w: f64 = w.as_str().unwrap().parse().unwrap();
            assert!((p - w).abs() <= 1e-12);
        }
        let paid = market.buy(outcome, delta.unsigned_abs(), u128::MAX).unwrap();
        assert!(paid as f64 >= wanted && (paid as f64) < wanted + 1.0 + 1e-9);
        assert!(market.sell(outcome, delta.unsigned_abs(), 0).unwrap() <= paid);
    }
}

#[test]
fn the_published_lmsr_example() {
    let market = Lmsr::new(5, vec![-10, 4]).unwrap();
    let potential = |q: [f64; 2]| 5.0 * q.iter().map(|q| (q / 5.0).exp()).sum::<f64>().ln();
    assert!((potential([-10.0, 4.0]) - 4.295).abs() < 5e-4 && (potential([-5.0, 4.0]) - 4.765).abs() < 5e-4);
    assert!((market.cost(0, 5).unwrap() - (potential([-5.0, 4.0]) - potential([-10.0, 4.0]))).abs() < 1e-12);
}

#[test]
fn lmsr_never_loses_more_than_its_bound() {
    let mut state = 9u64;
    let mut next = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for _ in 0..50 {
        let n = 2 + next(6) as usize;
        let mut market = Lmsr::new(1 + next(300), vec![0; n]).unwrap();
        let mut cash = 0i128;
        for _ in 0..60 {
            let (outcome, shares) = (next(n as u64) as usize, 1 + next(400));
            if next(3) == 0 {
                cash -= market.sell(outcome, shares, 0).unwrap() as i128;
            } else {
                cash += market.buy(outcome, shares, u128::MAX).unwrap() as i128;
            }
            let owed = market.sold().iter().copied().max().unwrap();
            assert!(cash as f64 - owed as f64 >= -market.loss_bound() - 1e-9);
        }
    }
    let mut market = Lmsr::new(10, vec![0, 0]).unwrap();
    assert_eq!(market.buy(0, 0, 9), Err(Error::ZeroAmount));
    assert_eq!(market.buy(2, 1, 9), Err(Error::OutOfRange { what: "outcome" }));
    assert_eq!(market.buy(0, u64::MAX, 9), Err(Error::Overflow));
    assert!(Lmsr::new(0, vec![0, 0]).is_err() && Lmsr::new(1, vec![0]).is_err());
}

#[test]
fn kappa_changes_with_liquidity_and_fees_only() {
    let mut free = ContextPool::new(ConstantProduct::new(0, 1).unwrap()).unwrap();
    let mut paid = ContextPool::new(ConstantProduct::default()).unwrap();
    for pool in [&mut free, &mut paid] {
        pool.mint(1 << 60, 1 << 50).unwrap();
    }
    let (h, kappa) = (free.hamiltonian(), paid.kappa());
    for i in 1..200u128 {
        for pool in [&mut free, &mut paid] {
            let bought = pool.buy_context(i << 45, u128::MAX).unwrap();
            let sold = pool.sell_context(i << 45, 0).unwrap();
            assert!(sold.got <= bought.paid);
        }
    }
    assert!((free.hamiltonian() - h).abs() < 1e-9, "the trade is the flow of h");
    assert!(paid.kappa() > kappa);
}

/// `x^wx y^wy` as a big integer.
fn product(x: u128, y: u128, wx: u32, wy: u32) -> BigUint {
    BigUint::from(x).pow(wx) * BigUint::from(y).pow(wy)
}

/// The exact floor of a weighted swap without fee: the largest `o` with `K' >= K`, by bisection.
fn exact_out(r: &Reserves, dx: u128, wx: u32, wy: u32) -> u128 {
    let k = product(r.input, r.output, wx, wy);
    let (mut low, mut high) = (0, r.output);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if product(r.input + dx, r.output - middle, wx, wy) >= k { low = middle } else { high = middle - 1 }
    }
    low
}

/// What every curve guarantees, at one point; `false` where the trade is refused.
fn laws(curve: &impl Curve, back: &impl Curve, r: Reserves, dx: u128) -> bool {
    let Ok(out) = curve.amount_out(&r, dx) else { return false };
    assert!(out <= r.output);
    let after = Reserves::new(r.input + dx, r.output - out);
    assert!(curve.invariant(&after) >= curve.invariant(&r), "{r:?} {dx} {out}");
    if out > 0 && out < r.output {
        let asked = curve.amount_in(&r, out).unwrap();
        assert!(curve.amount_out(&r, asked).unwrap() >= out);
        if let Ok(returned) = back.amount_out(&after.flipped(), out) {
            assert!(returned <= dx, "a round trip brought {returned} for {dx}");
        }
    }
    // In two parts, the trade buys no more, but for a unit of rounding.
    if dx > 1 {
        let half = dx / 2;
        let first = curve.amount_out(&r, half).unwrap();
        let rest = Reserves::new(r.input + half, r.output - first);
        if rest.output > 0
            && let Ok(second) = curve.amount_out(&rest, dx - half)
        {
            assert!(first + second <= out + 1, "{first} + {second} for {out}");
        }
    }
    true
}

#[test]
fn small_reserves_exhaustively() {
    let mut trades = 0u32;
    for (wx, wy) in [(1, 2), (3, 1), (2, 3)] {
        let curve = WeightedProduct::new(wx, wy, 0, 1).unwrap();
        let pool = (1u128..=24).chain([63, 128, 255]);
        for x in pool.clone() {
            for y in pool.clone() {
                for dx in [1u128, 2, 3, 7, 30, 254] {
                    let r = Reserves::new(x, y);
                    let out = curve.amount_out(&r, dx).unwrap();
                    let exact = exact_out(&r, dx, wx, wy);
                    assert!(out <= exact && exact - out <= 1, "{r:?} {dx}");
                    assert!(laws(&curve, &curve.flipped(), r, dx));
                    trades += 1;
                }
            }
        }
    }
    assert_eq!(trades, 3 * 27 * 27 * 6);
}

#[test]
fn the_invariant_is_the_exact_mean() {
    let curve = WeightedProduct::new(3, 2, 0, 1).unwrap();
    for (x, y) in [(8, 27), (1, 1), (1_000_003, 77), (u128::MAX, 1), (u128::MAX, u128::MAX), (5, u128::MAX - 9)] {
        let mean: BigUint = curve.invariant(&Reserves::new(x, y)).to_string().parse().unwrap();
        assert_eq!(mean, product(x, y, 3, 2).nth_root(5), "{x} {y}");
    }
}

#[test]
fn ends_of_the_family_are_the_sum_and_the_product() {
    let r = Reserves::new(1_000_000, 3_000_000);
    let (sum, product) = (YieldSpace::new(0, 7, 0, 1).unwrap(), YieldSpace::new(7, 7, 3, 1_000).unwrap());
    assert_eq!(sum.amount_out(&r, 12_345), Ok(12_345));
    assert_eq!(sum.amount_out(&r, 3_000_001), Err(Error::InsufficientLiquidity));
    let plain = ConstantProduct::new(3, 1_000).unwrap();
    assert_eq!(product.amount_out(&r, 12_345), plain.amount_out(&r, 12_345));
    assert_eq!(WeightedProduct::new(5, 5, 3, 1_000).unwrap().amount_out(&r, 99), plain.amount_out(&r, 99));
}

/// Shares against shares cost the market maker's money nothing, and one share more would.
#[test]
fn the_lmsr_curve_is_a_trade_of_the_lmsr() {
    let mut state = 5u64;
    let mut next = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let mut trades = 0;
    for _ in 0..2_000 {
        let b = 1 + next(1 << 20);
        let (x, y, dx) = (1 + next(20 * b), 1 + next(20 * b), 1 + next(20 * b));
        let r = Reserves::new(x.into(), y.into());
        let Ok(out) = LmsrCurve::new(b, 0, 1).unwrap().amount_out(&r, dx.into()) else { continue };
        let (x, y, dx, out) = (x as i64, y as i64, dx as i64, out as i64);
        let paid = Lmsr::new(b, vec![-x, -y]).unwrap().cost(0, -dx).unwrap();
        let then = Lmsr::new(b, vec![-x - dx, -y]).unwrap();
        assert!(paid + then.cost(1, out).unwrap() <= 1e-6, "{b} {x} {y} {dx} {out}");
        assert!(paid + then.cost(1, out + 1).unwrap() >= -1e-6, "{b} {x} {y} {dx} {out}");
        trades += 1;
    }
    assert!(trades > 500, "{trades}");
}

#[test]
fn the_lmsr_curve_far_from_even() {
    let curve = LmsrCurve::new(10, 0, 1).unwrap();
    // As many as there are, but no more.
    let r = Reserves::new(1_000, 1 << 100);
    assert_eq!(curve.amount_in(&r, (1 << 100) - 1_000), Ok((1 << 100) - 1_000));
    assert_eq!(curve.amount_in(&r, (1 << 100) - 999), Err(Error::InsufficientLiquidity));
    let out = curve.amount_out(&r, 1).unwrap();
    assert!((1 << 100) - 1_030 < out && out < (1 << 100) - 1_000, "a share is worth nearly all of the others");
    assert_eq!(curve.amount_out(&r.flipped(), 1 << 40), Ok(0));
    assert_eq!(curve.amount_out(&Reserves::new(9, 3), 5), Ok(1)); // 1.955
    assert_eq!(curve.amount_out(&Reserves::new(9, 3), 500), Err(Error::InsufficientLiquidity));
    // Small ones, all of them: no trade pays.
    for b in [1, 2, 7, 40] {
        for fee in [0, 3] {
            let curve = LmsrCurve::new(b, fee, 1_000).unwrap();
            for x in 1..=12 {
                for y in 1..=12 {
                    for dx in [1, 2, 3, 9, 40] {
                        laws(&curve, &curve, Reserves::new(x, y), dx);
                    }
                }
            }
        }
    }
}

#[test]
fn bad_curves_and_trades_are_refused() {
    for (wx, wy) in [(0, 1), (1, 0), (31, 2), (u32::MAX, 1)] {
        assert_eq!(WeightedProduct::new(wx, wy, 0, 1), Err(Error::InvalidConfig { field: "weights" }));
    }
    assert!(WeightedProduct::new(1, 2, 5, 5).is_err() && YieldSpace::new(1, 2, 5, 5).is_err());
    assert_eq!(YieldSpace::new(2, 1, 0, 1), Err(Error::InvalidConfig { field: "time" }));
    assert_eq!(YieldSpace::new(0, 0, 0, 1), Err(Error::InvalidConfig { field: "time" }));
    for depth in [0, (1 << 53) + 1] {
        assert_eq!(LmsrCurve::new(depth, 0, 1), Err(Error::InvalidConfig { field: "depth" }));
    }
    assert!(LmsrCurve::new(1, 5, 5).is_err());
    let (w, s) = (WeightedProduct::new(1, 2, 0, 1).unwrap(), YieldSpace::new(1, 2, 0, 1).unwrap());
    let l = LmsrCurve::new(9, 0, 1).unwrap();
    let r = Reserves::new(10, 10);
    for curve in [&w as &dyn Curve, &s, &l] {
        assert_eq!(curve.amount_out(&r, 0), Err(Error::ZeroAmount));
        assert_eq!(curve.amount_in(&r, 10), Err(Error::InsufficientLiquidity));
        assert_eq!(curve.amount_out(&Reserves::new(0, 1), 1), Err(Error::InsufficientLiquidity));
        assert_eq!(curve.amount_out(&Reserves::new(u128::MAX, 5), 1), Err(Error::Overflow));
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 256, failure_persistence: None, rng_seed: RngSeed::Fixed(11), ..ProptestConfig::default() }
}

fn wide() -> impl Strategy<Value = u128> {
    (1u32..=120, any::<u128>()).prop_map(|(bits, v)| (v >> (128 - bits)).max(1))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn weighted_laws_up_to_120_bits(x in wide(), y in wide(), dx in wide(), wx in 1u32..=16, wy in 1u32..=16, fee in 0u32..100) {
        let curve = WeightedProduct::new(wx, wy, fee, 10_000).unwrap();
        laws(&curve, &curve.flipped(), Reserves::new(x, y), dx);
        if fee == 0 && wx != wy {
            let r = Reserves::new(x, y);
            within(curve.amount_out(&r, dx).unwrap(), exact_out(&r, dx, wx, wy), y);
        }
    }

    #[test]
    fn weighted_swaps_are_near_the_exact_floor(x in wide(), y in wide(), dx in wide(), wx in 1u32..=16, wy in 1u32..=16) {
        let curve = WeightedProduct::new(wx, wy, 0, 1).unwrap();
        let r = Reserves::new(x, y);
        let out = curve.amount_out(&r, dx).unwrap();
        within(out, exact_out(&r, dx, wx, wy), y);
        prop_assert!(product(x + dx, y - out, wx, wy) >= product(x, y, wx, wy));
    }

    #[test]
    fn lmsr_laws_up_to_120_bits(x in wide(), y in wide(), dx in wide(), bits in 0u32..=53, fee in 0u32..100) {
        let curve = LmsrCurve::new(1 << bits, fee, 10_000).unwrap();
        laws(&curve, &curve, Reserves::new(x, y), dx);
    }

    /// Reserves and payments of the size of the depth, where prices move.
    #[test]
    fn lmsr_laws_near_even(depth in 1u64..=1 << 53, base in wide(), parts in prop::array::uniform3(0u32..20_000), fee in 0u32..100) {
        let curve = LmsrCurve::new(depth, fee, 10_000).unwrap();
        let [x, y, dx] = parts.map(|part| u128::from(depth) * u128::from(part) / 100);
        laws(&curve, &curve, Reserves::new(base + x, base + y), dx.max(1));
    }

    #[test]
    fn yield_space_laws_up_to_120_bits(x in wide(), y in wide(), dx in wide(), time in 0u32..=12, fee in 0u32..100) {
        let curve = YieldSpace::new(time, 12, fee, 10_000).unwrap();
        laws(&curve, &curve, Reserves::new(x, y), dx);
    }
}
