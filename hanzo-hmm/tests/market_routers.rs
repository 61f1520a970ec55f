//! The baseline routers and the evaluation protocol against an independent implementation.
#![cfg(feature = "evaluate")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Read;
use std::path::PathBuf;

use hanzo_hmm::Error;
use hanzo_hmm::market::{
    Cheapest, Context, EfeRouter, EpsilonGreedy, Featuriser, Feedback, Fixed, HashedText, Knn, LinThompson, LinUcb,
    Logged, OutcomeTable, Random, Router, Run, Scenario, SplitMix64, Thompson, Trial, Ucb1, arena_score,
    average_improvement, off_policy_value, paired_difference,
};
use serde_json::Value;

fn file(name: &str) -> Option<Vec<u8>> {
    let Some(root) = std::env::var_os("HANZO_TEST_DATA") else {
        eprintln!("skipped: market/{name}; set HANZO_TEST_DATA to the folder of the SDK's test data");
        return None;
    };
    Some(std::fs::read(PathBuf::from(root).join("market").join(name)).unwrap())
}

fn number(v: &Value) -> f64 {
    v.as_str().map_or_else(|| v.as_f64().unwrap(), |s| s.parse().unwrap())
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(number).collect()
}

fn table() -> Option<OutcomeTable> {
    table_with(64)
}

/// The real outcomes with this many buckets.
fn table_with(buckets: usize) -> Option<OutcomeTable> {
    let prices: Value = serde_json::from_slice(&file("llmrouter_9models_prices.json")?).unwrap();
    let mut questions = String::new();
    flate2::read::GzDecoder::new(&file("llmrouter_questions.jsonl.gz")?[..]).read_to_string(&mut questions).unwrap();
    let csv = String::from_utf8(file("llmrouter_9models_scores.csv")?).unwrap();
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let models: Vec<usize> = (0..header.len()).filter(|&c| prices.get(header[c]).is_some()).collect();
    let chars = header.iter().position(|h| *h == "chars").unwrap();
    let featuriser = HashedText::new(buckets).unwrap();
    let (mut scores, mut usd, mut features) = (Vec::new(), Vec::new(), Vec::new());
    for (line, question) in lines.zip(questions.lines()) {
        let cells: Vec<&str> = line.split(',').collect();
        let length: f64 = cells[chars].parse().unwrap();
        for &c in &models {
            let price = |key: &str| prices[header[c]][key].as_f64().unwrap();
            scores.push(cells[c].parse().unwrap());
            usd.push((0.25 * length * price("input_usd_per_mtok") + 200.0 * price("output_usd_per_mtok")) * 1e-6);
        }
        let question: Value = serde_json::from_str(question).unwrap();
        let mut x = vec![0.0; featuriser.dim()];
        featuriser.features_into(question["q"].as_str().unwrap(), &mut x).unwrap();
        features.extend(x);
    }
    Some(OutcomeTable::new(models.len(), featuriser.dim(), scores, usd, features).unwrap())
}

/// Mean utility and quality that the independent implementation printed.
fn published(scenario: &str, router: &str) -> Option<(f64, f64, usize)> {
    let text = String::from_utf8(file("baseline_results.jsonl")?).unwrap();
    text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).find_map(|v| {
        (v["op"] == scenario && v["case"] == router)
            .then(|| (number(&v["utility"]), number(&v["quality"]), v["seeds"].as_u64().unwrap() as usize))
    })
}

type Make = fn(u64) -> Box<dyn Router>;

fn play(table: &OutcomeTable, scenario: Scenario, seeds: usize, make: impl Fn(u64) -> Box<dyn Router>) -> Vec<Run> {
    (0..seeds as u64)
        .map(|seed| Trial { scenario, seed, lambda: 200.0 }.run(table, make(seed).as_mut()).unwrap())
        .collect()
}

fn mean(runs: &[Run], of: impl Fn(&Run) -> f64) -> f64 {
    runs.iter().map(of).sum::<f64>() / runs.len() as f64
}

#[test]
fn random_numbers_and_orders() {
    let Some(bytes) = file("protocol_checks.json") else { return };
    let checks: Value = serde_json::from_slice(&bytes).unwrap();
    let mut rng = SplitMix64::new(0);
    for wanted in checks["splitmix64_seed0_first4"].as_array().unwrap() {
        assert_eq!(rng.next_u64().to_string(), wanted.as_str().unwrap());
    }
    let sequence = |draw: fn(&mut SplitMix64) -> f64| {
        let mut rng = SplitMix64::new(1);
        (0..3).map(|_| draw(&mut rng)).collect::<Vec<f64>>()
    };
    for (key, found) in [
        ("unit_seed1_first3", sequence(SplitMix64::unit)),
        ("normal_seed1_first3", sequence(SplitMix64::normal)),
        ("gamma_2_5_seed1_first3", sequence(|rng| rng.gamma(2.5))),
    ] {
        for (f, w) in found.iter().zip(numbers(&checks[key])) {
            assert!((f - w).abs() < 1e-12, "{key}: {f} is not {w}");
        }
    }
    for (seed, order) in checks["orders"].as_object().unwrap() {
        let found = SplitMix64::new(seed.parse().unwrap()).permutation(6_108);
        let head: Vec<f64> = found[..8].iter().map(|&i| i as f64).collect();
        assert_eq!(head, numbers(&order["first8"]));
    }
}

#[test]
fn the_table_is_the_published_one() {
    let (Some(table), Some(bytes)) = (table(), file("protocol_checks.json")) else { return };
    let checks: Value = serde_json::from_slice(&bytes).unwrap();
    let (scores, usd): (Vec<f64>, Vec<f64>) = table.means().into_iter().unzip();
    for (found, key) in [(scores, "mean_score"), (usd, "mean_usd")] {
        for (f, w) in found.iter().zip(numbers(&checks[key])) {
            assert!((f - w).abs() < 1e-12, "{key}");
        }
    }
}

#[test]
fn baselines_agree_with_the_independent_implementation() {
    let Some(table) = table() else { return };
    let cases: [(Scenario, &str, Make); 13] = [
        (Scenario::Cold, "cheapest", |_| Box::new(Cheapest)),
        (Scenario::Cold, "random", |k| Box::new(Random::new(k + (1 << 32)))),
        (Scenario::Cold, "eps_greedy", |k| Box::new(EpsilonGreedy::new(0.02, k + (2 << 32)))),
        (Scenario::Cold, "ucb1", |_| Box::new(Ucb1::new(0.2))),
        (Scenario::Warm, "eps_greedy", |k| Box::new(EpsilonGreedy::new(0.02, k + (2 << 32)))),
        (Scenario::Warm, "ucb1", |_| Box::new(Ucb1::new(0.2))),
        (Scenario::Outage, "ucb1", |_| Box::new(Ucb1::new(0.2))),
        (Scenario::Telemetry, "eps_greedy", |k| Box::new(EpsilonGreedy::new(0.02, k + (2 << 32)))),
        (Scenario::Feedback, "ucb1", |_| Box::new(Ucb1::new(0.2))),
        (Scenario::Feedback, "eps_greedy", |k| Box::new(EpsilonGreedy::new(0.02, k + (2 << 32)))),
        (Scenario::Cold, "thompson", |k| Box::new(Thompson::new(1.0, k + (3 << 32)))),
        (Scenario::File, "lin_ucb", |_| Box::new(LinUcb::new(0.02, 1.0))),
        (Scenario::File, "ucb1", |_| Box::new(Ucb1::new(0.2))),
    ];
    for (scenario, name, make) in cases {
        let (utility, quality, seeds) = published(scenario.name(), name).unwrap();
        let runs = play(&table, scenario, seeds, make);
        let found = mean(&runs, |r| r.utility);
        assert!((found - utility).abs() < 1e-9, "{} {name}: {found} is not {utility}", scenario.name());
        assert!((mean(&runs, |r| r.quality) - quality).abs() < 1e-9);
    }
}

#[test]
fn references_in_hindsight_agree() {
    let Some(table) = table() else { return };
    for scenario in Scenario::ALL {
        let seeds = if scenario == Scenario::File { 1 } else { 20 };
        let runs = play(&table, scenario, seeds, |_| Box::new(Cheapest));
        for (name, found) in [
            ("best_fixed", Some(mean(&runs, |r| r.best_fixed))),
            ("oracle", Some(mean(&runs, |r| r.oracle))),
            ("regime_fixed", runs[0].regime_fixed.map(|_| mean(&runs, |r| r.regime_fixed.unwrap()))),
        ] {
            let wanted = published(scenario.name(), name).map(|p| p.0);
            match (found, wanted) {
                (Some(f), Some(w)) => assert!((f - w).abs() < 1e-9, "{} {name}: {f} is not {w}", scenario.name()),
                (None, None) => {}
                other => panic!("{} {name}: {other:?}", scenario.name()),
            }
        }
    }
}

/// Three shuffled passes after 600 examples: the default router is ahead of the tuned linear bound on the same features, and of the best
/// single model in hindsight.
#[test]
fn the_default_router_is_ahead_when_warm() {
    let Some(table) = table_with(256) else { return };
    let ours = play(&table, Scenario::Warm, 3, |_| Box::new(EfeRouter::new().bias(256)));
    let bound = play(&table, Scenario::Warm, 3, |_| Box::new(LinUcb::new(0.2, 5.0)));
    let (a, b) = (mean(&ours, |r| r.utility), mean(&bound, |r| r.utility));
    assert!(a > b, "{a} {b}");
    let fixed = mean(&ours, |r| r.best_fixed);
    assert!(a > fixed, "{a} {fixed}");
    assert!(ours[0].regret_curve.len() == 50 && ours[0].counted == 5_508);
    let last = ours[0].regret_curve[49] / 5_508.0;
    assert!((last - (ours[0].best_fixed - ours[0].utility)).abs() < 1e-9, "the curve ends at the whole regret");
}

/// Two arms, one of them good for each half of the requests.
fn learns(mut router: impl Router) -> f64 {
    let mut right = 0.0;
    let mut rng = SplitMix64::new(5);
    for t in 0..2_000 {
        let side = if rng.unit() < 0.5 { 1.0 } else { -1.0 };
        let x = [1.0, side];
        let choice = router.choose(&Context { features: &x, observations: &[], costs: &[0.0, 0.0] });
        let good = (choice.arm == 0) == (side > 0.0);
        let score = f64::from(rng.unit() < if good { 0.8 } else { 0.3 });
        router.update(&Feedback { arm: choice.arm, features: &x, observations: &[], score });
        if t >= 1_000 && good {
            right += 1e-3;
        }
    }
    right
}

#[test]
fn contextual_routers_learn_what_a_request_needs() {
    assert!(learns(LinUcb::new(0.2, 1.0)) > 0.9);
    assert!(learns(LinThompson::new(0.2, 1.0, 1)) > 0.9);
    assert!(learns(Knn::new(0.02, 1)) > 0.9);
    assert!(learns(EfeRouter::new().bias(0)) > 0.9);
    assert!(learns(Ucb1::new(0.2)) < 0.7, "without the features half is the best there is");
}

/// The memory is a ring: what is older than it holds is forgotten, and features of another length start it afresh.
#[test]
fn the_neighbours_are_a_bounded_memory() {
    let tell = |router: &mut Knn, features: &[f64], scores: [f64; 2], times: usize| {
        for _ in 0..times {
            for (arm, score) in scores.into_iter().enumerate() {
                router.update(&Feedback { arm, features, observations: &[], score });
            }
        }
    };
    let ask = |router: &mut Knn, features: &[f64]| {
        router.choose(&Context { features, observations: &[], costs: &[0.0, 0.0] }).arm
    };
    let mut router = Knn::new(0.0, 1).remember(40);
    tell(&mut router, &[1.0], [0.9, 0.2], 500);
    assert_eq!((router.remembered(), ask(&mut router, &[1.0])), (40, 0));
    // Twenty outcomes each, and the means of the arms still speak for the first.
    tell(&mut router, &[1.0], [0.1, 0.9], 20);
    assert_eq!((router.remembered(), ask(&mut router, &[1.0])), (40, 1));
    tell(&mut router, &[1.0, 0.0], [0.9, 0.2], 3);
    assert_eq!((router.remembered(), ask(&mut router, &[1.0, 0.0])), (6, 0));
    assert_eq!(Knn::new(0.0, 1).remember(0).remembered(), 0);
}

/// Told that the second arm is the better one, the router begins there; it still finds out if that is wrong.
#[test]
fn priors_come_first_and_outcomes_last() {
    let context = Context { features: &[1.0], observations: &[], costs: &[0.0, 0.0] };
    let mut router = EfeRouter::new().bias(0).priors(&[0.4, 0.7]);
    assert_eq!(router.choose(&context).arm, 1);
    for _ in 0..200 {
        let arm = router.choose(&context).arm;
        router.update(&Feedback { arm, features: &[1.0], observations: &[], score: [0.5, 0.1][arm] });
    }
    assert_eq!(router.choose(&context).arm, 0);
}

#[test]
fn a_propensity_is_the_frequency_of_the_choice() {
    let mut router = EpsilonGreedy::new(0.3, 9);
    let context = Context { features: &[], observations: &[], costs: &[0.0, 0.0, 0.0] };
    for arm in 0..3 {
        router.update(&Feedback { arm, features: &[], observations: &[], score: arm as f64 / 4.0 });
    }
    let mut hits = [0.0; 3];
    let mut said = [0.0; 3];
    for _ in 0..20_000 {
        let choice = router.choose(&context);
        hits[choice.arm] += 1.0 / 20_000.0;
        said[choice.arm] = choice.probability.unwrap();
    }
    for (hit, said) in hits.iter().zip(said) {
        assert!((hit - said).abs() < 0.02, "{hit} {said}");
    }
}

#[test]
fn off_policy_estimates_cover_the_truth() {
    // Arm 1 pays 0.7 in the mean, arm 0 pays 0.4; logged by a coin that prefers arm 0; judged: always arm 1.
    let mut rng = SplitMix64::new(3);
    let mut log = Vec::new();
    let mut robust = Vec::new();
    for _ in 0..4_000 {
        let arm = usize::from(rng.unit() < 0.25);
        let reward = f64::from(rng.unit() < [0.4, 0.7][arm]);
        let (propensity, target) = ([0.75, 0.25][arm], arm as f64);
        let plain = Logged { propensity, target, reward, predicted: 0.0, predicted_target: 0.0 };
        log.push(plain);
        robust.push(Logged { predicted: [0.45, 0.65][arm], predicted_target: 0.65, ..plain });
    }
    let (ips, ips_error) = off_policy_value(&log).unwrap();
    let (dr, dr_error) = off_policy_value(&robust).unwrap();
    assert!((ips - 0.7).abs() < 2.0 * ips_error && (dr - 0.7).abs() < 2.0 * dr_error);
    assert!(dr_error < 0.7 * ips_error, "the prediction takes variance out");
    assert_eq!(off_policy_value(&[]), Err(Error::NoData));
    let bad = Logged { propensity: 0.0, ..log[0] };
    assert_eq!(off_policy_value(&[bad]), Err(Error::OutOfRange { what: "propensity" }));
}

#[test]
fn scores_of_a_router_on_all_costs() {
    // Three points of a hull and one inside; flat to the right.
    let area = average_improvement(&[(1.0, 0.2), (2.0, 0.6), (4.0, 0.8), (3.0, 0.5)], 1.0, 5.0);
    assert!((area - (0.4 + 1.4 + 0.8) / 4.0).abs() < 1e-12);
    assert_eq!(average_improvement(&[], 0.0, 1.0), 0.0);
    assert_eq!(arena_score(0.0, 1e-4), 0.0);
    assert_eq!(arena_score(0.9, 1.0), 0.0);
    assert_eq!(paired_difference(&[], &[]), (0.0, 0.0));
}

#[test]
fn bad_tables_are_refused() {
    assert!(OutcomeTable::new(0, 0, vec![], vec![], vec![]).is_err());
    assert!(OutcomeTable::new(2, 1, vec![0.5; 3], vec![0.0; 3], vec![0.0; 2]).is_err());
    assert!(OutcomeTable::new(1, 0, vec![1.5], vec![0.0], vec![]).is_err());
    assert!(OutcomeTable::new(1, 0, vec![f64::NAN], vec![0.0], vec![]).is_err());
    let table = OutcomeTable::new(1, 0, vec![0.5; 10], vec![0.0; 10], vec![]).unwrap();
    let trial = |scenario| Trial { scenario, seed: 0, lambda: 1.0 };
    assert!(trial(Scenario::Warm).run(&table, &mut Cheapest).is_err(), "too short");
    let run = trial(Scenario::Cold).run(&table, &mut Fixed(7)).unwrap();
    assert_eq!(run.utility, 0.5);
}

fn every_router() -> Vec<(&'static str, Box<dyn Router>)> {
    vec![
        ("random", Box::new(Random::new(1))),
        ("cheapest", Box::new(Cheapest)),
        ("fixed", Box::new(Fixed(3))),
        ("epsilon-greedy", Box::new(EpsilonGreedy::new(0.1, 1))),
        ("ucb1", Box::new(Ucb1::new(0.2))),
        ("thompson", Box::new(Thompson::new(1.0, 1))),
        ("lin-ucb", Box::new(LinUcb::new(0.1, 1.0))),
        ("lin-thompson", Box::new(LinThompson::new(0.1, 1.0, 1))),
        ("knn", Box::new(Knn::new(0.1, 1))),
        ("efe", Box::new(EfeRouter::new())),
    ]
}

/// No arms, feedback for arms that nobody has, and scores that are none: no panic, no memory without end, no probability that is none.
#[test]
fn routers_survive_what_they_are_not_made_for() {
    for (name, mut router) in every_router() {
        let offer = |costs| Context { features: &[1.0, 0.5], observations: &[], costs };
        for (arm, score) in [(0, 0.7), (usize::MAX, 0.5), (1 << 40, 0.5), (1, f64::INFINITY), (0, f64::NAN), (1, -1.0)]
        {
            router.update(&Feedback { arm, features: &[1.0, 0.5], observations: &[], score });
            for costs in [&[][..], &[0.1, 0.2]] {
                let choice = router.choose(&offer(costs));
                assert!(choice.arm < costs.len().max(1) || costs.is_empty(), "{name}");
                assert!(choice.probability.is_none_or(|p| (0.0..=1.0).contains(&p)), "{name} {choice:?}");
            }
        }
    }
}

#[test]
fn figures_of_anything_are_numbers() {
    for (quality, usd) in
        [(f64::NAN, 1e-3), (0.5, -1.0), (0.5, f64::NAN), (f64::INFINITY, 0.0), (-1.0, 1e9), (0.5, 0.0)]
    {
        assert!((0.0..=1.0).contains(&arena_score(quality, usd)), "{quality} {usd}");
    }
    let hull = [(0.0, 0.1), (f64::NAN, 0.9), (1.0, f64::INFINITY), (1.0, 0.5)];
    for (low, high) in [(f64::NAN, 1.0), (0.0, f64::INFINITY), (0.0, f64::NAN)] {
        assert_eq!(average_improvement(&hull, low, high), 0.0);
    }
    assert!((average_improvement(&hull, -1.0, 1.0) - 0.15).abs() < 1e-12, "nothing to the left of the first point");
    let log = Logged { propensity: 0.5, target: 1.5, reward: 1.0, predicted: 0.0, predicted_target: 0.0 };
    assert_eq!(off_policy_value(&[log]), Err(Error::OutOfRange { what: "target" }));
    let table = |dim| OutcomeTable::new(1, dim, vec![0.5; 2], vec![0.1; 2], vec![]);
    assert_eq!(table(usize::MAX), Err(Error::InvalidConfig { field: "table" }));
    let play = |lambda| Trial { scenario: Scenario::File, seed: 0, lambda }.run(&table(0).unwrap(), &mut Cheapest);
    assert_eq!(play(f64::NAN).map(|_| ()), Err(Error::NotFinite { what: "lambda" }));
    assert!(play(1e3).is_ok());
}
