//! Prices and regimes under the load of real request traces (Azure LLM inference 2023, Mooncake conversations).
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Read;
use std::path::PathBuf;

use hanzo_hmm::market::{Load, ModelSpec, Regime, RouteOptions};
use hanzo_hmm::{Config, MarketMaker, RoutingRequest};

/// Tokens (input and output) of every minute of a trace; `None` where the data is not on this machine.
fn minutes(name: &str) -> Option<Vec<f64>> {
    let Some(root) = std::env::var_os("HANZO_TEST_DATA") else {
        eprintln!("skipped: market/{name}; set HANZO_TEST_DATA to the folder of the SDK's test data");
        return None;
    };
    let bytes = std::fs::read(PathBuf::from(root).join("market").join(name)).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    let mut out = Vec::new();
    let mut start = None;
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let seconds = match cells[0].parse::<f64>() {
            Ok(ms) => ms / 1_000.0,
            // 2023-11-16 18:15:46.6805900
            Err(_) => {
                let (date, time) = cells[0].split_once(' ').unwrap();
                let day: f64 = date.rsplit('-').next().unwrap().parse().unwrap();
                let parts: Vec<f64> = time.split(':').map(|p| p.parse().unwrap()).collect();
                ((day * 24.0 + parts[0]) * 60.0 + parts[1]) * 60.0 + parts[2]
            }
        };
        let minute = ((seconds - *start.get_or_insert(seconds)) / 60.0) as usize;
        out.resize(out.len().max(minute + 1), 0.0);
        out[minute] += cells[1].parse::<f64>().unwrap() + cells[2].parse::<f64>().unwrap();
    }
    Some(out)
}

/// What a market went through.
struct Replay {
    /// Price over the catalogue price at the end of every minute.
    prices: Vec<f64>,
    regimes: Vec<Regime>,
    /// Over all second halves of a minute, in which the load stands still: the largest range of log prices over the band of the moment.
    swing: f64,
    /// Largest imbalance of the energy ledger over `1 + |work|`.
    ledger: f64,
}

/// A trace on a fleet that is fully used in its busiest minute, with so many ticks of a market second for every minute of it.
fn replay(tokens: &[f64], seconds: u32) -> Replay {
    let most = tokens.iter().copied().fold(0.0, f64::max);
    let models = vec![ModelSpec::new("small", 0.001), ModelSpec::new("large", 0.004)];
    let market = MarketMaker::builder(Config::default().buckets(16)).models(models).build().unwrap();
    let start = market.prices();
    let mut out = Replay { prices: Vec::new(), regimes: Vec::new(), swing: 0.0, ledger: 0.0 };
    let mut mean = tokens[0] / most;
    for u in tokens.iter().map(|t| t / most) {
        // Load, latency and pressure as a queue would show them; errors where the fleet is full.
        mean += 0.2 * (u - mean);
        let observations =
            vec![u, (2.0 * (u - 0.5)).max(0.0), if u > 0.9 { 0.2 } else { 0.02 }, 2.0 * (u - mean).abs()];
        let request = RoutingRequest { input: "load".into(), observations, ..RoutingRequest::default() };
        market.route("trace", &request, &RouteOptions::default()).unwrap();
        let (regime, posterior) = market.regime();
        // As the regimes' constants have it, in parts of the price.
        let band = 1e-4 * posterior.iter().zip([30.0, 10.0, 200.0, 60.0]).map(|(q, b)| q * b).sum::<f64>();
        let mut calm: Vec<f64> = Vec::new();
        for second in 0..seconds {
            let report = market.tick(1.0, &[Load::new(u); 2]).unwrap();
            out.ledger = out.ledger.max(report.imbalance.abs() / (1.0 + report.work.abs()));
            let ratios: Vec<f64> = market.prices().iter().zip(&start).map(|(p, s)| p / s).collect();
            assert!(ratios.iter().all(|p| p.is_finite() && *p > 0.0));
            // Equal loads and equal constants: the models move together.
            assert!((ratios[0] / ratios[1] - 1.0).abs() < 1e-9);
            if second >= seconds / 2 {
                calm.push(ratios[0].ln());
            }
        }
        let (low, high) = calm.iter().fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(*x), h.max(*x)));
        out.swing = out.swing.max((high - low) / band);
        out.prices.push(high.exp());
        out.regimes.push(regime);
    }
    out
}

/// At the speed of the trace a price rests in the second half of every minute; at ten times that speed it stays finite and positive, and the ledger
/// balances.
#[test]
fn prices_follow_real_load_without_swinging() {
    for name in ["azure_llm_2023_conv.csv.gz", "azure_llm_2023_code.csv.gz", "mooncake_conversation.csv.gz"] {
        let Some(tokens) = minutes(name) else { return };
        let hours = tokens.len() as f64 / 60.0;
        for (speed, seconds) in [(1, 60), (10, 6)] {
            let r = replay(&tokens, seconds);
            let switches = r.regimes.windows(2).filter(|w| w[0] != w[1]).count();
            let (low, high) = r.prices.iter().fold((f64::MAX, 0.0f64), |(l, h), p| (l.min(*p), h.max(*p)));
            println!(
                "{name} x{speed}: {hours:.2} hours, price {low:.3} to {high:.3}, {:.1} changes of regime an hour, ledger {:.1e}",
                switches as f64 / hours,
                r.ledger,
            );
            if speed == 1 {
                println!("  largest move in a calm half minute: {:.3} bands", r.swing);
            }
            // Steps are as long as the bound h omega <= 1 allows, where the error of the integrator is (h omega)^2 / 4.
            assert!(r.ledger < 0.25, "{name}: energy ledger off by {}", r.ledger);
            assert!(high > 1.5 * low, "{name}: prices follow the load: {low} to {high}");
            assert!(
                speed > 1 || r.swing <= 1.0,
                "{name}: prices swing by {} bands while the load stands still",
                r.swing
            );
        }
    }
}
