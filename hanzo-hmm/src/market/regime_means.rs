//! Means of the regimes, learned while requests are routed.

use super::regime::RegimeModel;
use super::snapshot::{Reader, Writer, bad};
use crate::learning::FIRST_UPDATE;
use crate::{Emission, GaussianDiag, GaussianDiagStats, Hmm, OnlineEm, Result};

/// Online EM of the means of a [`RegimeModel`]; its transitions and variances stay.
///
/// After `n` observations the averages of [`OnlineEm`], in which those of late weigh most, count as `n` times the regime's part of them, and each
/// mean as it was at the start counts as 20: a regime that has not been seen keeps its mean, and one that has not been seen for long goes back to
/// it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RegimeMeans {
    em: OnlineEm<GaussianDiag>,
    start: Vec<f64>,
}

impl RegimeMeans {
    pub(crate) fn new(model: &RegimeModel) -> Self {
        Self { em: OnlineEm::new(model.hmm().clone()), start: model.hmm().emission().means().to_vec() }
    }

    /// Takes in an observation; gives the model with the means of now once there are any.
    ///
    /// # Errors
    /// For an observation that is impossible in every regime; nothing is learned then.
    pub(crate) fn learn(&mut self, model: &RegimeModel, observation: &[f64]) -> Result<Option<RegimeModel>> {
        self.em.follow(Some(observation))?;
        self.adopt(model)
    }

    /// The model with the means of now; from here on its transitions are followed.
    pub(crate) fn adopt(&mut self, model: &RegimeModel) -> Result<Option<RegimeModel>> {
        let mut hmm: Hmm<GaussianDiag> = model.hmm().clone();
        let (steps, ..) = self.em.state();
        let learned = steps >= FIRST_UPDATE;
        if learned {
            let averages = self.em.averages();
            let [mass, mean, _] = averages.tables();
            let observations = steps as f64;
            let means = (mass.iter().zip(mean).zip(&self.start))
                .map(|((mass, mean), start)| {
                    let seen = observations * mass;
                    start + seen / (seen + STEADINESS) * (mean - start)
                })
                .collect();
            let emission = hmm.emission();
            *hmm.emission_mut() = GaussianDiag::from_tables(means, emission.variances().to_vec(), emission.dim())?;
        }
        let adopted = if learned { Some(model.with_hmm(hmm.clone())?) } else { None };
        self.em.set_model(hmm);
        Ok(adopted)
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        let (steps, log_likelihood, belief, moves, stats) = self.em.state();
        w.u64(steps);
        w.f64(log_likelihood);
        w.f64s(belief);
        w.f64s(moves);
        for table in stats.iter().flat_map(GaussianDiagStats::tables) {
            w.f64s(table);
        }
    }

    /// Takes over a saved state of the same size.
    pub(crate) fn load(&mut self, r: &mut Reader<'_>) -> Result<()> {
        let emission = self.em.model().emission();
        let (n, dim) = (emission.n_states(), emission.dim());
        let (steps, log_likelihood) = (r.u64()?, r.f64()?);
        let (mut belief, mut moves) = (vec![0.0; n], vec![0.0; n * n * n]);
        r.distribution(&mut belief)?;
        r.amounts(&mut moves)?;
        let mut stats = Vec::with_capacity(n);
        for _ in 0..n {
            let mut tables = [const { Vec::new() }; 3];
            for table in &mut tables {
                table.resize(n * dim, 0.0);
                r.f64s(table)?;
            }
            stats.push(GaussianDiagStats::from_tables(dim, tables));
        }
        if steps > MOST_STEPS || !stats.iter().all(|s| emission.fits(s)) {
            return bad("regime means");
        }
        self.em.resume(steps, log_likelihood, (belief, moves, stats));
        Ok(())
    }
}

/// Observations that a mean counts for as it was at the start.
const STEADINESS: f64 = 20.0;
/// More steps than anyone takes.
const MOST_STEPS: u64 = 1 << 53;
/// Regimes whose means may be learned: the cost of a step grows with their fourth power.
pub(crate) const MOST_LEARNED: usize = 16;
