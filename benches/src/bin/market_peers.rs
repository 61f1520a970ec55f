//! The peer table of the market maker in one run.
//!
//! ```sh
//! HANZO_TEST_DATA=DATA cargo run --release -p hanzo-benches --bin market_peers -- [PEERS.py FOLDER] [--lines FILE]
//! ```
//!
//! `DATA/market/efe_cases.json` holds the models whose free energies are computed. `PEERS.py` is a script that is called as
//! `python3 PEERS.py FOLDER` and prints one JSON object a line, `{"peer": .., "op": "efe_all_policies|pick_..", "case": .., "seconds": ..}`;
//! without it our times stand alone. `--lines` writes all times to a file that `ratios --peers` reads. Ours are the smallest means of several batches of one thread, taken before and after the peers.
//! Decisions have filters, explanations and learned outcomes; a peer's pick has no more than the pick.

use std::error::Error;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Instant;

use hanzo_benches::ratios::line;
use hanzo_hmm::market::{
    Classes, EfeWorkspace, Gain, GenerativeModel, Likelihood, Mid, ModelSpec, Outcome, Policies, QuoteDetails,
    QuoteRequest, Regime, RouteOptions, RoutingDecision,
};
use hanzo_hmm::{Config, MarketMaker, RoutingRequest};
use serde_json::Value;

/// Operation and case of the peers, and seconds.
type Row = (&'static str, String, f64);

fn main() -> Result<(), Box<dyn Error>> {
    let (mut arguments, mut lines) = (Vec::new(), None);
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--lines" => lines = Some(given.next().ok_or("--lines needs a file")?),
            _ => arguments.push(argument),
        }
    }
    let mut ours = measure()?;
    let mut peers: Vec<(String, String, String, f64)> = Vec::new();
    if let [script, folder, ..] = arguments.as_slice() {
        let output = Command::new("python3").args([script, folder]).stderr(Stdio::inherit()).output()?;
        for line in String::from_utf8(output.stdout)?.lines() {
            let v: Value = serde_json::from_str(line)?;
            let text = |key: &str| v[key].as_str().unwrap_or_default().to_owned();
            let seconds = v["seconds"].as_f64().unwrap_or(0.0);
            if seconds > 0.0 {
                peers.push((text("peer"), text("op"), text("case"), seconds));
            }
        }
        for (row, again) in ours.iter_mut().zip(measure()?) {
            row.2 = row.2.min(again.2);
        }
    }
    println!("{:<46}{:>12}  peers (times ours)", "ours", "microseconds");
    for (op, case, seconds) in &ours {
        let beside: Vec<String> = (peers.iter())
            .filter(|(_, o, c, _)| o.starts_with(op) && c == case)
            .map(|(peer, o, _, s)| {
                let pick = o.strip_prefix("pick_").map_or(String::new(), |p| format!(" {p}"));
                format!("{peer}{pick} {:.1} us ({:.0})", 1e6 * s, s / seconds)
            })
            .collect();
        println!("{:<46}{:>12.3}  {}", format!("{op} {case}"), 1e6 * seconds, beside.join(", "));
    }
    if let Some(file) = lines {
        // A pick is a peer of its own.
        let pick = |peer: &str, op: &str, case: &str, seconds| match op.strip_prefix("pick_") {
            Some(how) => line(&format!("{peer} {how}"), "pick", case, seconds),
            None => line(peer, op, case, seconds),
        };
        let ours = ours.iter().map(|(op, case, seconds)| line("hanzo", op.trim_end_matches('_'), case, *seconds));
        let theirs = peers.iter().map(|(peer, op, case, seconds)| pick(peer, op, case, *seconds));
        std::fs::write(file, ours.chain(theirs).collect::<String>())?;
    }
    Ok(())
}

fn measure() -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    free_energy(&mut rows)?;
    for n in [8, 20] {
        rows.push(("pick_", format!("deployments={n}"), decision(n)?));
    }
    trade(&mut rows)?;
    Ok(rows)
}

/// Smallest mean of seven batches.
fn best(n: u32, mut run: impl FnMut()) -> f64 {
    (0..8)
        .map(|_| {
            let start = Instant::now();
            (0..n).for_each(|_| run());
            start.elapsed().as_secs_f64() / f64::from(n)
        })
        .skip(1)
        .fold(f64::INFINITY, f64::min)
}

fn flat(v: &Value) -> Vec<f64> {
    match v {
        Value::Array(values) => values.iter().flat_map(flat).collect(),
        other => other.as_f64().into_iter().collect(),
    }
}

/// All policies of horizons 1, 2 and 3 of four regimes and eight models, by the plan that does not list them.
fn free_energy(rows: &mut Vec<Row>) -> Result<(), Box<dyn Error>> {
    let Some(root) = std::env::var_os("HANZO_TEST_DATA") else {
        eprintln!("no free energies: set HANZO_TEST_DATA to the folder of the SDK's test data");
        return Ok(());
    };
    let bytes = std::fs::read(std::path::PathBuf::from(root).join("market").join("efe_cases.json"))?;
    let cases: Value = serde_json::from_slice(&bytes)?;
    let case = cases["cases"].as_array().and_then(|c| c.iter().find(|c| c["name"] == "routing_4x8_h1"));
    let case = case.ok_or("no case routing_4x8_h1")?;
    let tables = |key: &str| -> Vec<Vec<f64>> { case[key].as_array().into_iter().flatten().map(flat).collect() };
    let beliefs = tables("D");
    let states: Vec<usize> = beliefs.iter().map(Vec::len).collect();
    let model = GenerativeModel::new(&states, tables("A"), tables("B"), &tables("C"), beliefs)?;
    let actions: Vec<Vec<usize>> = (0..8).map(|u| vec![0, u]).collect();
    let mut ws = EfeWorkspace::default();
    for steps in 1..=3 {
        // What is timed equals the list of all policies.
        let all = model.evaluate(&Policies::enumerate(&actions, steps)?, Gain::Joint, &mut ws)?;
        let plan = model.plan(&actions, steps, Gain::Joint, None, &mut ws)?;
        let least = all.efe.iter().map(|g| g.total).fold(f64::INFINITY, f64::min);
        if (plan.total - least).abs() > 1e-12 {
            return Err("the plan is not the best of all policies".into());
        }
        let seconds = best(2_000, || {
            let _ = black_box(model.plan(&actions, steps, Gain::Joint, None, &mut ws));
        });
        rows.push(("efe_all_policies", format!("routing_4x8_h{steps}"), seconds));
    }
    Ok(())
}

fn models(n: u32) -> Vec<ModelSpec> {
    (0..n)
        .map(|i| ModelSpec {
            quality: 0.5 + 0.4 * f64::from(i) / f64::from(n),
            ..ModelSpec::new(format!("model {i}"), 0.0001 * f64::from(i + 1))
        })
        .collect()
}

/// Four regimes, twelve classes, filters and explanation.
fn decision(n: u32) -> Result<f64, Box<dyn Error>> {
    let market = MarketMaker::builder(Config::default().max_decisions(1_024))
        .models(models(n))
        .likelihood(Likelihood::Categorical(Classes::Given(12)))
        .build()?;
    let mut request =
        RoutingRequest { input: "hi".into(), observations: vec![0.5, 0.1, 0.02, 0.1], ..RoutingRequest::default() };
    request.requirements.min_tokens_per_second = Some(20.0);
    let mut made = RoutingDecision::default();
    for t in 0..600 {
        let options = RouteOptions { class: t % 12, seed: Some(t as u64), ..RouteOptions::default() };
        market.route_into("tenant", &request, &options, &mut made)?;
        market.record_outcome(made.id, &Outcome::success((t % 5) as f64 / 4.0, 300, 0.0))?;
    }
    let mut t = 0;
    Ok(best(5_000, || {
        t += 1;
        let options = RouteOptions { class: t % 12, ..RouteOptions::default() };
        let _ = black_box(market.route_into("tenant", &request, &options, &mut made));
    }))
}

fn trade(rows: &mut Vec<Row>) -> Result<(), Box<dyn Error>> {
    let market = MarketMaker::builder(Config::default()).build()?;
    let ask = QuoteRequest { model: "Qwen3-32B".into(), units: 200, worker: 1 };
    let seconds = best(20_000, || {
        let _ = black_box(market.quote(black_box(&ask), 1));
    });
    rows.push(("quote", "market".into(), seconds));
    let mut pool = market.pool("Qwen3-32B")?;
    let mid = Mid::new(25_000.0, 10)?;
    let details = |nonce| QuoteDetails { id: nonce, nonce, worker: 1, eta_ms: 1, regime: Regime::Crisis };
    let seconds = best(50_000, || {
        let _ = black_box(pool.quote(black_box(200), &mid, &details(1), 1));
    });
    rows.push(("quote", "pool".into(), seconds));
    let mut nonce = 0;
    let both = best(20_000, || {
        nonce += 1;
        let now = nonce / 10;
        if let Ok(quote) = pool.quote(20, &mid, &details(nonce), now) {
            let _ = black_box(pool.swap(&quote, &mid, now, u128::MAX));
        }
    });
    rows.push(("swap", "pool".into(), (both - seconds).max(0.0)));
    Ok(())
}
