//! The peer table of hanzo-hmm in one run.
//!
//! ```sh
//! cargo run --release -p hanzo-benches --bin hmm_peers -- [PEERS.py VENV] [--lines FILE] [--cases PREFIX ...] [--threads] [--large]
//! ```
//!
//! For each shape it times ours, then the peers, then ours again, and prints the smaller times and their ratios.
//! `PEERS.py` is a script that is called as `python3 PEERS.py VENV --cases CASE` and prints one JSON object a line,
//! `{"peer": "hmmlearn-scaling", "op": "loglik|viterbi|posterior|em1", "case": "categorical,S=4,M=16,T=100000",
//! "seconds": ..}`, in CPU time; without it only the crate `bio` stands beside ours. Times are CPU time of one thread,
//! the smallest of several runs. Models are dense random ones, symbols uniform, vectors N(0, 4), counts near 8.
//!
//! `em1` is a fit of one iteration, `em_next` an iteration of a longer fit, which finds its memory warm.
//!
//! `--lines` writes the same times, ours too, to a file that `ratios --peers` reads. `--threads` times a sequence of ten million steps on one and on two threads. `--large` trains 64 states on ten million steps instead and prints the time and the peak memory.

use std::error::Error;
use std::hint::black_box;
use std::process::Command;

use bio::stats::hmm as bio_hmm;
use hanzo_benches::bio_model::{BioModel, distribution, rows};
use hanzo_benches::cpu::thread_time;
use hanzo_benches::fma_peak::multiply_adds_per_nanosecond;
use hanzo_benches::ratios::line;
use hanzo_hmm::{
    BaumWelch, Categorical, Emission, GaussianDiag, GaussianFull, Hmm, Initial, Memory, Observations, Path, Poisson,
    Posterior, Rows, Transitions, Workspace,
};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

type Random = Xoshiro256PlusPlus;

/// Family, states, symbols or coordinates, steps.
const CASES: [(&str, usize, usize, usize); 6] = [
    ("categorical", 4, 16, 100_000),
    ("categorical", 16, 64, 100_000),
    ("categorical", 64, 256, 20_000),
    ("gaussian_diag", 4, 4, 100_000),
    ("gaussian_full", 4, 4, 100_000),
    ("poisson", 4, 1, 100_000),
];
const OPERATIONS: [&str; 5] = ["loglik", "viterbi", "posterior", "em1", "em_next"];
/// Times in seconds, where there are any.
type Column = [Option<f64>; 5];

fn main() -> Result<(), Box<dyn Error>> {
    let (mut paths, mut prefixes, mut large, mut threads, mut in_cases) = (Vec::new(), Vec::new(), false, false, false);
    let (mut arguments, mut lines) = (std::env::args().skip(1), None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--lines" => lines = Some(arguments.next().ok_or("--lines needs a file")?),
            "--large" => large = true,
            "--threads" => threads = true,
            "--cases" => in_cases = true,
            _ if in_cases => prefixes.push(argument),
            _ => paths.push(argument),
        }
    }
    if threads {
        return two_threads();
    }
    // Everything else on one thread.
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()?
        .install(|| alone(&paths, &prefixes, large, lines.as_deref()))
        .map_err(Into::into)
}

fn alone(paths: &[String], prefixes: &[String], large: bool, lines: Option<&str>) -> Result<(), String> {
    let result = if large { train_large() } else { table(paths, prefixes, lines) };
    result.map_err(|error| error.to_string())
}

fn table(paths: &[String], prefixes: &[String], lines: Option<&str>) -> Result<(), Box<dyn Error>> {
    let script = match paths {
        [] => None,
        [script, venv] => Some((script.as_str(), venv.as_str())),
        _ => return Err("either no path, or those of the script and of its virtual environment".into()),
    };
    let peak = multiply_adds_per_nanosecond(thread_seconds);
    println!("peak: {peak:.1} multiply-adds a nanosecond; times in ms of CPU time, one thread");
    println!(
        "{:<34} {:<10} {:>8} {:>8} {:>6} | {:>8} {:>6} | {:>8} {:>6} | {:>8} {:>6}",
        "case", "op", "ours", "ns/step", "peak", "scaling", "ratio", "log", "ratio", "bio", "ratio"
    );
    let mut written = String::new();
    for (family, s, m, t) in CASES {
        let name = format!("{family},S={s},{}={m},T={t}", if family == "categorical" { "M" } else { "D" });
        if prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())) {
            written += &case(&name, (family, s, m, t), script, peak)?;
        }
    }
    filter();
    if let Some(file) = lines {
        std::fs::write(file, written)?;
    }
    Ok(())
}

/// One shape: ours, the peers, ours again. Prints the table's rows and returns the lines.
fn case(
    name: &str,
    (family, s, m, t): (&str, usize, usize, usize),
    script: Option<(&str, &str)>,
    peak: f64,
) -> Result<String, Box<dyn Error>> {
    let rng = &mut Random::seed_from_u64(1);
    let (initial, moves) = (distribution(rng, s), rows(rng, s, s));
    let chain = (Initial::Free(initial.clone()), Transitions::new(moves.clone())?);
    let mut bio: Column = [None; 5];
    let peers = || -> Result<_, Box<dyn Error>> { script.map_or(Ok([[None; 5]; 2]), |script| hmmlearn(script, name)) };
    let (ours, theirs) = match family {
        "categorical" => {
            let symbols = rows(rng, s, m);
            let model = BioModel::new(&initial, &moves, &symbols);
            let hmm = Hmm::new(chain.0, chain.1, Categorical::new(symbols)?)?;
            let data: Vec<usize> = (0..t).map(|_| rng.random_range(0..m)).collect();
            around(&hmm, &data, || {
                bio = beside_bio(&model, &data);
                peers()
            })?
        }
        "poisson" => {
            let rates = (0..s).map(|_| (0..m).map(|_| rng.random_range(1.0..20.0)).collect()).collect();
            let hmm = Hmm::new(chain.0, chain.1, Poisson::new(rates)?)?;
            let eight = Hmm::new(
                Initial::Free(vec![1.0]),
                Transitions::new(vec![vec![1.0]])?,
                Poisson::new(vec![vec![8.0; m]])?,
            )?;
            let data: Vec<u64> = eight.sample(rng, t).into_iter().flat_map(|(_, x)| x).collect();
            around(&hmm, Rows::new(&data, m)?, peers)?
        }
        _ => {
            let normal = GaussianDiag::new(vec![vec![0.0; m]], vec![vec![4.0; m]])?;
            let normal = Hmm::new(Initial::Free(vec![1.0]), Transitions::new(vec![vec![1.0]])?, normal)?;
            let data: Vec<f64> = normal.sample(rng, t).into_iter().flat_map(|(_, x)| x).collect();
            let means: Vec<Vec<f64>> = normal.sample(rng, s).into_iter().map(|(_, x)| x).collect();
            let data = Rows::new(&data, m)?;
            if family == "gaussian_diag" {
                around(&Hmm::new(chain.0, chain.1, GaussianDiag::new(means, vec![vec![1.0; m]; s])?)?, data, peers)?
            } else {
                let identity = (0..m).map(|i| (0..m).map(|j| f64::from(u8::from(i == j))).collect()).collect();
                around(&Hmm::new(chain.0, chain.1, GaussianFull::new(means, vec![identity; s])?)?, data, peers)?
            }
        }
    };
    let [scaling, log] = theirs;
    // Products of the recursion, of both recursions, of those and of the outer products.
    let products = [1.0, 1.0, 2.0, 3.0, 3.0].map(|k| k * (t * s * s) as f64);
    for (op, what) in OPERATIONS.iter().enumerate() {
        let own = ours[op];
        let column = |peer: Option<f64>| match peer {
            Some(peer) => format!("{:>8.2} {:>6.1}", peer * 1e3, peer / own),
            None => format!("{:>8} {:>6}", "-", "-"),
        };
        println!(
            "{name:<34} {what:<10} {:>8.3} {:>8.2} {:>5.0}% | {} | {} | {}",
            own * 1e3,
            own * 1e9 / t as f64,
            products[op] / (own * 1e9) / peak * 100.0,
            column(scaling[op]),
            column(log[op]),
            column(bio[op]),
        );
    }
    let columns = [("hanzo", ours.map(Some)), ("hmmlearn-scaling", scaling), ("hmmlearn-log", log), ("bio", bio)];
    let times = columns.iter().flat_map(|(who, times)| OPERATIONS.iter().zip(times).map(move |time| (who, time)));
    Ok(times.filter_map(|(who, (what, time))| Some(line(who, what, name, (*time)?))).collect())
}

/// Times ours before and after `peers`.
fn around<'a, E, Q, P>(
    hmm: &Hmm<E>,
    data: Q,
    mut peers: impl FnMut() -> Result<P, Box<dyn Error>>,
) -> Result<([f64; 5], P), Box<dyn Error>>
where
    E: Emission + Clone,
    Q: Observations<E::Obs<'a>> + Copy,
{
    let before = ours(hmm, data)?;
    let theirs = peers()?;
    let after = ours(hmm, data)?;
    let mut best = before;
    best.iter_mut().zip(after).for_each(|(best, after)| *best = best.min(after));
    Ok((best, theirs))
}

fn ours<'a, E, Q>(hmm: &Hmm<E>, data: Q) -> Result<[f64; 5], Box<dyn Error>>
where
    E: Emission + Clone,
    Q: Observations<E::Obs<'a>> + Copy,
{
    let (mut workspace, mut path, mut posterior) = (Workspace::new(), Path::default(), Posterior::default());
    // Once before the clock: the data have to be possible.
    hmm.posterior_with(&mut workspace, data, &mut posterior)?;
    let training = BaumWelch::new().max_iters(1);
    let long = BaumWelch::new().max_iters(11).total_tolerance(0.0);
    let first = smallest(|| training.fit(&mut hmm.clone(), &[data]).is_ok());
    let eleven = smallest(|| long.fit(&mut hmm.clone(), &[data]).is_ok());
    Ok([
        smallest(|| hmm.log_likelihood_with(&mut workspace, data).is_ok()),
        smallest(|| hmm.viterbi_with(&mut workspace, data, &mut path).is_ok()),
        smallest(|| hmm.posterior_with(&mut workspace, data, &mut posterior).is_ok()),
        first,
        (eleven - first) / 10.0,
    ])
}

/// The smallest time of many runs that take half a second together.
fn smallest<T>(mut run: impl FnMut() -> T) -> f64 {
    let (mut best, mut total, mut runs) = (f64::INFINITY, 0.0, 0);
    while total < 0.5 || runs < 3 {
        let start = thread_seconds();
        black_box(run());
        let time = thread_seconds() - start;
        best = best.min(time);
        total += time;
        runs += 1;
    }
    best
}

/// CPU time of this thread.
fn thread_seconds() -> f64 {
    thread_time().as_secs_f64()
}

/// `bio` has no posterior; its training keeps a `T x S^2` table and is timed on a tenth of the steps.
fn beside_bio(model: &BioModel, data: &[usize]) -> Column {
    let once = |run: &mut dyn FnMut()| {
        let start = thread_seconds();
        run();
        thread_seconds() - start
    };
    [
        Some(once(&mut || drop(black_box(bio_hmm::forward(model, data))))),
        Some(once(&mut || drop(black_box(bio_hmm::viterbi(model, data))))),
        None,
        Some(10.0 * once(&mut || drop(black_box(bio_hmm::baum_welch(model, &data[..data.len() / 10]))))),
        None,
    ]
}

/// Times of hmmlearn's `scaling` and `log` kernels.
fn hmmlearn((script, venv): (&str, &str), case: &str) -> Result<[Column; 2], Box<dyn Error>> {
    let output = Command::new("python3").args([script, venv, "--cases", case]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let mut times = [[None; 5]; 2];
    for line in String::from_utf8(output.stdout)?.lines() {
        let row: serde_json::Value = serde_json::from_str(line)?;
        let peer = ["hmmlearn-scaling", "hmmlearn-log"].iter().position(|peer| row["peer"] == *peer);
        let op = OPERATIONS.iter().position(|op| row["op"] == *op);
        if let (Some(peer), Some(op)) = (peer, op) {
            times[peer][op] = row["seconds"].as_f64();
        }
    }
    Ok(times)
}

/// One observation at a time.
fn filter() {
    let rng = &mut Random::seed_from_u64(2);
    let (s, d, t) = (4, 4, 10_000);
    let means: Vec<Vec<f64>> = (0..s).map(|_| (0..d).map(|_| rng.random_range(-3.0..3.0)).collect()).collect();
    let parts = (Initial::Free(distribution(rng, s)), Transitions::new(rows(rng, s, s)));
    let gaussian = GaussianDiag::new(means, vec![vec![1.0; d]; s]);
    let (Ok(transitions), Ok(gaussian)) = (parts.1, gaussian) else { return };
    let Ok(hmm) = Hmm::new(parts.0, transitions, gaussian) else { return };
    let data: Vec<f64> = hmm.sample(rng, t).into_iter().flat_map(|(_, x)| x).collect();
    let mut state = hmm.filter();
    let time = smallest(|| {
        for row in data.chunks_exact(d) {
            let _ = black_box(hmm.update(&mut state, Some(row)));
        }
    });
    println!("filter, gaussian_diag S={s} D={d}: {:.1} ns an observation", time * 1e9 / t as f64);
}

/// A long sequence on one and on two threads, in time on the wall.
fn two_threads() -> Result<(), Box<dyn Error>> {
    let (s, m, t) = (16, 64, 10_000_000);
    let rng = &mut Random::seed_from_u64(4);
    let (initial, moves) = (Initial::Free(distribution(rng, s)), Transitions::new(rows(rng, s, s))?);
    let hmm = Hmm::new(initial, moves, Categorical::new(rows(rng, s, m))?)?;
    let data: Vec<usize> = (0..t).map(|_| rng.random_range(0..m)).collect();
    let wall = |threads: usize, run: &(dyn Fn() + Sync)| -> Result<f64, Box<dyn Error>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = std::time::Instant::now();
            pool.install(run);
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok(best)
    };
    let likelihood = || drop(black_box(hmm.log_likelihood(&data)));
    let short = &data[..t / 10];
    let posterior = || drop(black_box(hmm.posterior(short)));
    for (name, steps, run) in [("loglik", t, &likelihood as &(dyn Fn() + Sync)), ("posterior", t / 10, &posterior)] {
        let (one, two) = (wall(1, run)?, wall(2, run)?);
        println!(
            "{name} S={s} T={steps}: {:.1} ms on one thread, {:.1} on two, {:.2} times",
            one * 1e3,
            two * 1e3,
            one / two
        );
    }
    Ok(())
}

/// Training that would take 15 GB in three lattices.
fn train_large() -> Result<(), Box<dyn Error>> {
    let (s, m, t) = (64, 256, 10_000_000);
    let rng = &mut Random::seed_from_u64(3);
    let (initial, moves) = (Initial::Free(distribution(rng, s)), Transitions::new(rows(rng, s, s))?);
    let mut hmm = Hmm::new(initial, moves, Categorical::new(rows(rng, s, m))?)?;
    let data: Vec<usize> = (0..t).map(|_| rng.random_range(0..m)).collect();
    let start = thread_seconds();
    let fit = BaumWelch::new().max_iters(1).memory(Memory::SquareRoot).fit(&mut hmm, &[data.as_slice()])?;
    let time = thread_seconds() - start;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: unknown");
    println!("S={s} M={m} T={t}: one EM iteration {time:.2} s, ln P = {}", fit.log_likelihoods[0]);
    println!("peak memory, {} MB of observations included: {peak}", t * size_of::<usize>() / 1_000_000);
    Ok(())
}
