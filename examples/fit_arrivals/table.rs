//! What is printed.

use std::io::{self, Write};

use hanzo::hmm::{self, GaussianDiag, Hmm, Rows};
use hanzo_examples::arrivals::stationary;
use hanzo_examples::trace::Trace;

use crate::Failure;
use crate::fit::{FLOOR, Fit};

/// A line a fit, the chosen one marked.
pub(crate) fn fits(out: &mut impl Write, fits: &[Fit], chosen: usize, requests: usize) -> io::Result<()> {
    writeln!(out, "states   ln P per request          BIC   iterations   at the floor")?;
    for (i, fit) in fits.iter().enumerate() {
        let mark = if i == chosen { "  <- lowest BIC" } else { "" };
        let more = if fit.converged { ' ' } else { '+' };
        writeln!(
            out,
            "{:>6} {:>18.4} {:>12.0} {:>11}{more} {:>14}{mark}",
            fit.model.n_states(),
            fit.log_likelihood / requests as f64,
            fit.bic,
            fit.iterations,
            fit.floored,
        )?;
    }
    if fits.iter().any(|fit| !fit.converged) {
        writeln!(out, "+ stopped before it converged")?;
    }
    if fits.iter().any(|fit| fit.floored > 0) {
        let percent = 100.0 * FLOOR.sqrt();
        writeln!(out, "At the floor: states with a feature that is narrower than {percent:.0} %, kept that wide.")?;
    }
    if fits.len() > 1 && chosen + 1 == fits.len() {
        writeln!(out, "BIC still falls at the last number tried: it is the best of these, not a least value.")?;
    }
    Ok(())
}

/// A line a state: long-run share, means of the requests that the model assigns to it, and how long it lasts.
pub(crate) fn regimes(
    out: &mut impl Write,
    model: &Hmm<GaussianDiag>,
    traces: &[Trace],
    sequences: &[Rows<'_>],
) -> Result<(), Failure> {
    let rows = regime_means(model, traces, sequences)?;
    writeln!(out, "state   share   mean gap ms   mean tokens in   mean tokens out   mean dwell, requests")?;
    for (i, (share, [gap, tokens_in, tokens_out])) in stationary(model).into_iter().zip(rows).enumerate() {
        let dwell = 1.0 / (1.0 - model.transitions().row(i)[i]);
        writeln!(out, "{i:>5} {share:>7.3} {gap:>13.1} {tokens_in:>16.0} {tokens_out:>17.0} {dwell:>22.2}")?;
    }
    Ok(())
}

/// Gap, tokens in and out of each state: averages over the traces, each request weighted with the state's posterior.
fn regime_means(model: &Hmm<GaussianDiag>, traces: &[Trace], sequences: &[Rows<'_>]) -> hmm::Result<Vec<[f64; 3]>> {
    let mut sums = vec![[0.0; 3]; model.n_states()];
    let mut masses = vec![[0.0; 3]; model.n_states()];
    for (trace, sequence) in traces.iter().zip(sequences) {
        let posterior = model.posterior(sequence)?;
        let mut previous = None;
        for (t, request) in trace.requests().iter().enumerate() {
            let gap = previous.map(|at_ms| (request.at_ms - at_ms) as f64);
            previous = Some(request.at_ms);
            let values = [gap, Some(request.tokens_in.into()), Some(request.tokens_out.into())];
            for (i, (sum, mass)) in sums.iter_mut().zip(&mut masses).enumerate() {
                let weight = posterior.gamma[(i, t)];
                for (d, value) in values.iter().enumerate() {
                    if let Some(value) = value {
                        sum[d] += weight * value;
                        mass[d] += weight;
                    }
                }
            }
        }
    }
    let mean = |(sum, mass): (&[f64; 3], &[f64; 3])| std::array::from_fn(|d| sum[d] / mass[d].max(f64::MIN_POSITIVE));
    Ok(sums.iter().zip(&masses).map(mean).collect())
}
