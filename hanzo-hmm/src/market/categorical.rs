//! The fully discrete form of what is believed about the outcomes of each model.

use std::iter::repeat_n;

use super::aging::Discount;
use super::beliefs::Beliefs;
use super::dirichlet::dirichlet_novelty;
use super::entropy::{entropy, total};
use super::free_energy::{Assessment, Efe, LATENCY_BINS, Preferences};
use super::health::DEGRADED_QUALITY;
use super::likelihood::Responsibility;
use super::linear::dot;
use super::request::{Outcome, Status};
use super::service::latency_bin;
use super::snapshot::{Reader, Writer, bad};
use crate::kernel::{Arch, Level, Task};
use crate::{Error, Result};

/// Dirichlet counts of four modalities for every model, class of request and regime.
///
/// Quality has three outcomes, of value 0, 1/2 and 1 (a score between two of them counts for both, so that the mean is kept);
/// latency four, parts of the limit; money four, parts of the estimate; and the model answers or does not. Given regime, class and health the four
/// are independent. A degraded model is good or fair with a fixed part of its probability.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Counts {
    /// `[class][model][regime]`.
    rows: Vec<Row>,
    models: usize,
    classes: usize,
    regimes: usize,
    /// Prior counts of every model.
    priors: Vec<[f64; OUTCOMES]>,
    forgetting: (f64, Discount),
    centres: Option<Centres>,
}

/// One regime's counts and what follows from them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    counts: [f64; OUTCOMES],
    p: [f64; OUTCOMES],
    /// Probabilities of the qualities of a degraded model.
    degraded: [f64; QUALITIES],
    /// Of the quality when healthy and when degraded, and of everything else.
    entropy: [f64; 3],
    novelty: f64,
}

/// Sequential k-means (MacQueen, 1967): the first distinct requests are the centres, which then move to the mean of their own.
#[derive(Debug, Clone, PartialEq)]
struct Centres {
    dim: usize,
    most: usize,
    centres: Vec<f64>,
    norms: Vec<f64>,
    requests: Vec<f64>,
}

impl Counts {
    /// Numbers of classes and regimes, prior qualities and latencies of the models; `dim` features if classes are to be found in them, 0 if they
    /// are given.
    pub(crate) fn new(
        [classes, regimes]: [usize; 2],
        dim: usize,
        forgetting: (f64, Discount),
        models: impl Iterator<Item = (f64, f64)>,
        default_latency_ms: f64,
    ) -> Self {
        let priors: Vec<[f64; OUTCOMES]> = models.map(|(q, ms)| prior(q, ms, default_latency_ms)).collect();
        let rows = (0..classes).flat_map(|_| &priors).flat_map(|p| repeat_n(Row::of(*p), regimes)).collect();
        let centres = (dim > 0).then(|| Centres {
            dim,
            most: classes,
            centres: Vec::new(),
            norms: Vec::new(),
            requests: Vec::new(),
        });
        Self { rows, models: priors.len(), classes, regimes, priors, forgetting, centres }
    }

    /// Number of features that classes are found in; 0 where the caller gives them.
    pub(crate) fn dim(&self) -> usize {
        self.centres.as_ref().map_or(0, |c| c.dim)
    }

    /// Class of a request.
    ///
    /// # Errors
    /// `OutOfRange` for a given class that does not exist.
    pub(crate) fn classify(&self, x: &[f64], given: usize) -> Result<usize> {
        match &self.centres {
            Some(centres) => Ok(centres.nearest(x)),
            None if given < self.classes => Ok(given),
            None => Err(Error::OutOfRange { what: "class" }),
        }
    }

    /// Takes a request into the search for classes.
    pub(crate) fn observe(&mut self, x: &[f64]) {
        if let Some(centres) = &mut self.centres {
            centres.observe(x);
        }
    }

    /// Free energy and forecasts of a model.
    pub(crate) fn assess(&self, model: usize, class: usize, now: &Now<'_>) -> Assessment {
        let rows = self.rows_of(class, model);
        let (joint_entropy, q) = Level::best().run(Joint { rows, now });
        let w = now.preferences;
        let mut ambiguity = 0.0;
        let (mut novelty, mut quality, mut meets) = (0.0, 0.0, 0.0);
        for (row, &f) in rows.iter().zip(now.regime) {
            let [well, ill, rest] = row.entropy;
            ambiguity += f * (now.healthy * well + (1.0 - now.healthy) * ill + rest);
            novelty += f * row.novelty;
            let answers = f * row.p[ANSWER];
            for (k, value) in VALUES.into_iter().enumerate() {
                let p = answers * row.quality(k, now.healthy);
                quality += p * value;
                if value >= now.threshold {
                    meets += p;
                }
            }
        }
        let mut pragmatic = -(COST_BINS as f64).ln();
        for (k, p) in q.iter().enumerate() {
            pragmatic += p * match k {
                LATENCY.. if k < COST => w.log_latency[k - LATENCY],
                COST.. if k < ANSWER => -w.quality * w.usd * now.usd * OVERRUN[k - COST],
                ANSWER => w.log_answer[0],
                NO_ANSWER => w.log_answer[1],
                quality => now.log_quality[quality],
            };
        }
        // Both are divergences; rounding may carry them a hair below 0.
        let epistemic = (joint_entropy - ambiguity).max(0.0);
        let risk = (-pragmatic - joint_entropy).max(0.0);
        let novelty = w.novelty * novelty;
        let efe = Efe { total: risk + ambiguity - novelty, risk, ambiguity, epistemic, pragmatic, novelty };
        let meets = if now.threshold <= 0.0 { 1.0 } else { meets.clamp(0.0, 1.0) };
        Assessment { efe, quality: quality.clamp(0.0, 1.0), meets }
    }

    /// What an outcome says about regime and health, given the beliefs before it.
    pub(crate) fn judge(
        &self,
        model: usize,
        class: usize,
        seen: &Seen,
        regime: &[f64],
        healthy: f64,
    ) -> Responsibility {
        let mut by_regime = Beliefs::filled(self.regimes, 0.0);
        let mut posterior = Beliefs::of(regime);
        let mut healthy_mass = 0.0;
        for (i, row) in self.rows_of(class, model).iter().enumerate() {
            let mut rest = 1.0;
            for (k, part) in seen.0.iter().enumerate().skip(LATENCY).filter(|(_, part)| **part > 0.0) {
                rest *= row.p[k].powf(*part);
            }
            let (mut well, mut ill) = (rest, rest);
            let scored = &seen.0[..QUALITIES];
            if scored.iter().any(|s| *s > 0.0) {
                well *= dot(scored, &row.p[..QUALITIES]);
                ill *= dot(scored, &row.degraded);
            }
            by_regime[i] = healthy * well + (1.0 - healthy) * ill;
            posterior[i] *= by_regime[i];
            healthy_mass += regime[i] * healthy * well;
        }
        // Counts are positive, so every likelihood is.
        let sum: f64 = posterior.iter().sum();
        if sum > 0.0 {
            posterior.iter_mut().for_each(|q| *q /= sum);
            Responsibility { by_regime, regime: posterior, healthy: (healthy_mass / sum).clamp(0.0, 1.0) }
        } else {
            Responsibility { by_regime: Beliefs::filled(self.regimes, 1.0), regime: Beliefs::of(regime), healthy }
        }
    }

    /// Adds an outcome to the counts of the regimes held responsible; these alone age by it, or all do. What a model does while it is degraded says
    /// little about its quality.
    pub(crate) fn learn(&mut self, model: usize, class: usize, seen: &Seen, evidence: &Responsibility, weight: f64) {
        let prior = self.priors[model];
        let at = (class * self.models + model) * self.regimes;
        for (row, f) in self.rows[at..at + self.regimes].iter_mut().zip(&*evidence.regime) {
            let part = weight * f;
            let (factor, discount) = self.forgetting;
            let ages = discount == Discount::All && factor < 1.0;
            if part < LEAST_PART && !ages {
                continue;
            }
            let keep = factor.powf(if ages { weight } else { part });
            for (k, (count, prior)) in row.counts.iter_mut().zip(prior).enumerate() {
                let health = if k < QUALITIES { evidence.healthy } else { 1.0 };
                *count = prior + keep * (*count - prior) + part * health * seen.0[k];
            }
            *row = Row::of(row.counts);
        }
    }

    pub(crate) fn save(&self, w: &mut Writer) {
        self.rows.iter().for_each(|row| w.f64s(&row.counts));
        if let Some(c) = &self.centres {
            w.u64(c.norms.len() as u64);
            w.f64s(&c.centres);
            w.f64s(&c.requests);
        }
    }

    /// Takes over a saved state of the same size.
    pub(crate) fn load(&mut self, r: &mut Reader<'_>) -> Result<()> {
        for row in &mut self.rows {
            let mut counts = [0.0; OUTCOMES];
            r.amounts(&mut counts)?;
            if counts.iter().any(|c| !(LEAST_COUNT..=MOST_COUNT).contains(c)) {
                return bad("counts");
            }
            *row = Row::of(counts);
        }
        if let Some(c) = &mut self.centres {
            let n = r.index(c.most + 1)?;
            c.centres = vec![0.0; n * c.dim];
            r.f64s(&mut c.centres)?;
            super::linear::check_features(&c.centres)?;
            c.requests = vec![0.0; n];
            r.amounts(&mut c.requests)?;
            c.norms = c.centres.chunks_exact(c.dim).map(|c| dot(c, c)).collect();
        }
        Ok(())
    }

    fn rows_of(&self, class: usize, model: usize) -> &[Row] {
        let at = (class * self.models + model) * self.regimes;
        &self.rows[at..at + self.regimes]
    }
}

impl Row {
    fn of(counts: [f64; OUTCOMES]) -> Self {
        let mut p = counts;
        let mut novelty = 0.0;
        for range in MODALITIES {
            let sum: f64 = counts[range.clone()].iter().sum();
            p[range.clone()].iter_mut().for_each(|p| *p /= sum);
            // Counts are positive and finite.
            novelty += dirichlet_novelty(&counts[range]).unwrap_or(0.0);
        }
        let [_, fair, good] = [p[0], p[1], p[2]].map(|p| p * DEGRADED_QUALITY);
        let degraded = [1.0 - fair - good, fair, good];
        let entropy = [entropy(&p[..QUALITIES]), entropy(&degraded), entropy(&p[LATENCY..])];
        Self { counts, p, degraded, entropy, novelty }
    }

    fn quality(&self, k: usize, healthy: f64) -> f64 {
        healthy * self.p[k] + (1.0 - healthy) * self.degraded[k]
    }
}

/// What a decision is taken under.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now<'a> {
    pub(crate) regime: &'a [f64],
    pub(crate) healthy: f64,
    pub(crate) threshold: f64,
    pub(crate) usd: f64,
    pub(crate) preferences: &'a Preferences,
    /// `ln P~` of the three qualities.
    pub(crate) log_quality: &'a [f64; QUALITIES],
}

/// `ln P~` of the qualities: `z_q` a unit of value, and the weight of a met threshold.
pub(crate) fn log_quality(preferences: &Preferences, threshold: f64) -> [f64; QUALITIES] {
    let c = VALUES.map(|v| preferences.quality * v + if v >= threshold { preferences.threshold } else { 0.0 });
    // The best value is the last and has the largest preference.
    let normaliser = c.iter().map(|v| (v - c[QUALITIES - 1]).exp()).sum::<f64>().ln() + c[QUALITIES - 1];
    c.map(|v| v - normaliser)
}

/// `H[q(quality, latency, cost, answer)]` and the marginals of the four.
struct Joint<'a> {
    rows: &'a [Row],
    now: &'a Now<'a>,
}

impl Task for Joint<'_> {
    type Output = (f64, [f64; OUTCOMES]);

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) -> (f64, [f64; OUTCOMES]) {
        let Self { rows, now } = self;
        let mut joint = [0.0; QUALITIES * REST];
        let mut marginals = [0.0; OUTCOMES];
        for (row, &f) in rows.iter().zip(now.regime) {
            let mut rest = [0.0; REST];
            for (i, latency) in row.p[LATENCY..COST].iter().enumerate() {
                for (j, cost) in row.p[COST..ANSWER].iter().enumerate() {
                    rest[COST_BINS * i + j] = latency * cost * row.p[ANSWER];
                    rest[REST / 2 + COST_BINS * i + j] = latency * cost * row.p[NO_ANSWER];
                }
            }
            for (k, out) in joint.chunks_exact_mut(REST).enumerate() {
                let weight = f * (now.healthy * row.p[k] + (1.0 - now.healthy) * row.degraded[k]);
                marginals[k] += weight;
                for (o, p) in out.iter_mut().zip(&rest) {
                    *o += weight * p;
                }
            }
            for (m, p) in marginals.iter_mut().zip(&row.p).skip(LATENCY) {
                *m += f * p;
            }
        }
        (total(&joint), marginals)
    }
}

/// An outcome as parts of counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seen([f64; OUTCOMES]);

impl Seen {
    /// `usd` is what the request was expected to cost. Errors of the caller's own say nothing about the model.
    pub(crate) fn of(outcome: &Outcome, limit_ms: f64, usd: f64) -> Self {
        let mut seen = outcome.score.map_or(Self([0.0; OUTCOMES]), Self::score);
        match outcome.status {
            Status::Success => {
                seen.0[LATENCY + latency_bin(outcome.latency_ms as f64, limit_ms)] = 1.0;
                seen.0[ANSWER] = 1.0;
                if usd > 0.0 {
                    let ratio = outcome.usd / usd;
                    seen.0[COST + OVERRUN.iter().take(COST_BINS - 1).filter(|b| ratio > **b * SLACK).count()] = 1.0;
                }
            }
            Status::Timeout => {
                seen.0[LATENCY + LATENCY_BINS - 1] = 1.0;
                seen.0[NO_ANSWER] = 1.0;
            }
            status if status.counts_as_failure() => seen.0[NO_ANSWER] = 1.0,
            _ => {}
        }
        seen
    }

    /// A score and nothing else.
    pub(crate) fn score(score: f64) -> Self {
        let mut seen = [0.0; OUTCOMES];
        let upper = if score <= 0.5 { 1 } else { 2 };
        let part = 2.0 * (score - VALUES[upper - 1]);
        seen[upper] = part;
        seen[upper - 1] = 1.0 - part;
        Self(seen)
    }
}

impl Centres {
    fn nearest(&self, x: &[f64]) -> usize {
        let mut best = (0, f64::INFINITY);
        for (k, (c, norm)) in self.centres.chunks_exact(self.dim).zip(&self.norms).enumerate() {
            let v = norm - 2.0 * dot(c, x);
            if v < best.1 {
                best = (k, v);
            }
        }
        best.0
    }

    fn observe(&mut self, x: &[f64]) {
        if self.norms.len() < self.most {
            if self.centres.chunks_exact(self.dim).all(|c| c != x) {
                self.centres.extend(x);
                self.norms.push(dot(x, x));
                self.requests.push(1.0);
            }
            return;
        }
        let k = self.nearest(x);
        self.requests[k] += 1.0;
        let centre = &mut self.centres[k * self.dim..][..self.dim];
        for (c, v) in centre.iter_mut().zip(x) {
            *c += (v - *c) / self.requests[k];
        }
        self.norms[k] = dot(centre, centre);
    }
}

/// Two counts in the binomial shape of the quality, four in the bin of the latency and that of the estimate, twenty of answers.
fn prior(quality: f64, latency_ms: f64, limit_ms: f64) -> [f64; OUTCOMES] {
    let mut out = [0.25; OUTCOMES];
    let bad = 1.0 - quality;
    for (count, p) in out.iter_mut().zip([bad * bad, 2.0 * quality * bad, quality * quality]) {
        *count = (2.0 * p).max(LEAST_COUNT);
    }
    out[LATENCY + latency_bin(latency_ms, limit_ms)] = 4.0;
    out[COST + 1] = 4.0;
    (out[ANSWER], out[NO_ANSWER]) = (19.0, 1.0);
    out
}

/// Bad, fair and good.
pub(crate) const QUALITIES: usize = 3;
const VALUES: [f64; QUALITIES] = [0.0, 0.5, 1.0];
const COST_BINS: usize = 4;
/// Upper ends of the bins of money as parts of the estimate, the last one the value that stands for it.
const OVERRUN: [f64; COST_BINS] = [0.5, 1.0, 2.0, 4.0];
/// Estimates are rounded.
const SLACK: f64 = 1.000_001;
const LATENCY: usize = QUALITIES;
const COST: usize = LATENCY + LATENCY_BINS;
const ANSWER: usize = COST + COST_BINS;
const NO_ANSWER: usize = ANSWER + 1;
const OUTCOMES: usize = NO_ANSWER + 1;
const REST: usize = LATENCY_BINS * COST_BINS * 2;
const MODALITIES: [std::ops::Range<usize>; 4] = [0..LATENCY, LATENCY..COST, COST..ANSWER, ANSWER..OUTCOMES];
const LEAST_PART: f64 = 1e-12;
const LEAST_COUNT: f64 = 1e-3;
const MOST_COUNT: f64 = 1e15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{Config, EfeWorkspace, Gain, GenerativeModel, Policies};

    const REGIME: [f64; 4] = [0.1, 0.5, 0.15, 0.25];

    fn counts(classes: usize) -> Counts {
        Counts::new([classes, 4], 0, (1.0, Discount::Regime), [(0.5, 400.0), (0.8, 1_500.0)].into_iter(), 1_000.0)
    }

    fn flat(evidence: [f64; 4]) -> Responsibility {
        Responsibility { by_regime: Beliefs::filled(4, 1.0), regime: Beliefs::of(&evidence), healthy: 1.0 }
    }

    /// The general engine on the same model, with (regime, health) as its state.
    #[test]
    fn free_energy_equals_the_general_engine() {
        let mut c = counts(3);
        let mut rng = crate::market::SplitMix64::new(7);
        for _ in 0..300 {
            let mut f = REGIME.map(|q| q * rng.unit());
            let sum: f64 = f.iter().sum();
            f.iter_mut().for_each(|q| *q /= sum);
            let outcome = Outcome::success(rng.unit(), (3_000.0 * rng.unit()) as u64, 0.002 * rng.unit());
            let seen = if rng.unit() < 0.8 {
                Seen::of(&outcome, 1_000.0, 0.001)
            } else {
                Seen::of(&Outcome::failure(Status::Timeout, 1), 1_000.0, 0.001)
            };
            c.learn(rng.below(2), rng.below(3), &seen, &flat(f), 1.0);
        }
        let preferences = Config::default().preferences();
        for (model, class, healthy, threshold, usd) in
            [(0, 0, 1.0, 0.0, 0.0), (1, 2, 0.7, 0.4, 0.001), (0, 1, 0.0, 0.9, 0.01), (1, 1, 0.99, 1.0, 0.0005)]
        {
            let log_quality = log_quality(&preferences, threshold);
            let now =
                Now { regime: &REGIME, healthy, threshold, usd, preferences: &preferences, log_quality: &log_quality };
            let found = c.assess(model, class, &now);
            // States (regime, health), tables A[o, r, h].
            let rows = c.rows_of(class, model);
            let table = |range: std::ops::Range<usize>| -> Vec<f64> {
                range
                    .flat_map(|k| {
                        rows.iter().flat_map(move |r| [r.p[k], if k < QUALITIES { r.degraded[k] } else { r.p[k] }])
                    })
                    .collect()
            };
            let still = |n: usize| (0..n * n).map(|i| f64::from(u8::from(i % (n + 1) == 0))).collect::<Vec<f64>>();
            let money: Vec<f64> = OVERRUN.iter().map(|b| -preferences.quality * preferences.usd * usd * b).collect();
            let z = money.iter().map(|m| m.exp()).sum::<f64>().ln();
            let general = GenerativeModel::new(
                &[4, 2],
                MODALITIES.map(table).to_vec(),
                vec![still(4), still(2)],
                &[log_quality.to_vec(), preferences.log_latency.to_vec(), money, preferences.log_answer.to_vec()],
                vec![REGIME.to_vec(), vec![healthy, 1.0 - healthy]],
            )
            .unwrap();
            let policies = Policies::new(vec![0, 0], 2, 1).unwrap();
            let wanted = general.evaluate(&policies, Gain::Joint, &mut EfeWorkspace::default()).unwrap().efe[0];
            // Money has the normaliser ln 4 of a preference that is the same for every model.
            let shift = 4f64.ln() - z;
            assert!((found.efe.epistemic - wanted.epistemic).abs() < 1e-12);
            assert!((found.efe.ambiguity - wanted.ambiguity).abs() < 1e-12);
            assert!((found.efe.pragmatic - (wanted.pragmatic - shift)).abs() < 1e-12 * (1.0 + shift.abs()) + 1e-12);
            assert!((found.efe.risk - (wanted.risk + shift)).abs() < 1e-11, "{found:?} {wanted:?}");
            let identity = found.efe.risk + found.efe.ambiguity + found.efe.pragmatic + found.efe.epistemic;
            assert!(identity.abs() < 1e-12 && found.efe.novelty > 0.0);
            assert!((0.0..=1.0).contains(&found.quality) && (0.0..=1.0).contains(&found.meets));
        }
    }

    #[test]
    fn scores_keep_their_mean_and_the_prior_its_quality() {
        for score in [0.0, 0.2, 0.5, 0.7, 1.0] {
            let seen = Seen::score(score).0;
            assert!((dot(&seen[..3], &VALUES) - score).abs() < 1e-15);
            assert!((seen.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        }
        let c = counts(1);
        let preferences = Config::default().preferences();
        let log_quality = log_quality(&preferences, 0.0);
        let now = Now {
            regime: &REGIME,
            healthy: 1.0,
            threshold: 0.0,
            usd: 0.0,
            preferences: &preferences,
            log_quality: &log_quality,
        };
        assert!((c.assess(0, 0, &now).quality - 0.95 * 0.5).abs() < 1e-12);
        assert!((c.assess(1, 0, &now).quality - 0.95 * 0.8).abs() < 1e-12);
    }

    #[test]
    fn outcomes_fall_into_their_bins() {
        let bins = |o: Outcome| {
            let seen = Seen::of(&o, 1_000.0, 0.01).0;
            (0..OUTCOMES).filter(|&k| seen[k] == 1.0).collect::<Vec<_>>()
        };
        assert_eq!(bins(Outcome::success(1.0, 400, 0.01)), [2, LATENCY, COST + 1, ANSWER]);
        assert_eq!(bins(Outcome::success(0.0, 1_999, 0.004)), [0, LATENCY + 2, COST, ANSWER]);
        assert_eq!(bins(Outcome::success(0.5, 5_000, 0.05)), [1, LATENCY + 3, COST + 3, ANSWER]);
        assert_eq!(bins(Outcome::failure(Status::Timeout, 9)), [LATENCY + 3, NO_ANSWER]);
        assert_eq!(bins(Outcome::failure(Status::ServerError, 9)), [NO_ANSWER]);
        assert!(bins(Outcome::failure(Status::BadRequest, 9)).is_empty());
    }

    #[test]
    fn only_the_regime_held_responsible_learns_and_ages() {
        let mut c = counts(2);
        c.forgetting = (0.995, Discount::Regime);
        let before = c.clone();
        for _ in 0..5_000 {
            c.learn(0, 1, &Seen::score(1.0), &flat([0.0, 1.0, 0.0, 0.0]), 1.0);
        }
        let changed: Vec<usize> = (0..c.rows.len()).filter(|&i| c.rows[i] != before.rows[i]).collect();
        assert_eq!(changed, [2 * 4 + 1]);
        // 1 / (1 - 0.995) outcomes are remembered.
        assert!((c.rows[9].counts[2] - (before.rows[9].counts[2] + 200.0)).abs() < 0.1);
    }

    #[test]
    fn a_bad_outcome_speaks_for_the_regime_in_which_they_are_common() {
        let mut c = counts(1);
        for _ in 0..50 {
            c.learn(0, 0, &Seen::score(1.0), &flat([0.0, 1.0, 0.0, 0.0]), 1.0);
            c.learn(0, 0, &Seen::of(&Outcome::failure(Status::Timeout, 1), 1e3, 0.0), &flat([0.0, 0.0, 1.0, 0.0]), 1.0);
        }
        let timeout = Seen::of(&Outcome::failure(Status::Timeout, 1), 1e3, 0.0);
        let r = c.judge(0, 0, &timeout, &[0.25; 4], 1.0);
        assert!(r.regime[2] > 0.9 && (r.regime.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(r.healthy, 1.0);
        let doubtful = c.judge(0, 0, &Seen::score(0.0), &[0.0, 1.0, 0.0, 0.0], 0.9);
        assert!(doubtful.healthy < 0.5, "{doubtful:?}");
    }

    #[test]
    fn centres_part_what_lies_apart() {
        let mut c = Counts::new([2, 4], 2, (1.0, Discount::Regime), [(0.5, 1.0)].into_iter(), 1.0);
        assert_eq!(c.classify(&[1.0, 0.0], 99), Ok(0));
        let mut rng = crate::market::SplitMix64::new(3);
        for i in 0..400 {
            let side = if i % 2 == 0 { 3.0 } else { -3.0 };
            c.observe(&[side + rng.normal(), rng.normal()]);
        }
        assert_ne!(c.classify(&[3.0, 0.0], 0), c.classify(&[-3.0, 0.0], 0));
        assert_eq!(counts(2).classify(&[], 2), Err(Error::OutOfRange { what: "class" }));
    }
}
