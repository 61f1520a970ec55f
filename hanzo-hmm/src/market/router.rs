//! From scores to a choice: `q(u)` proportional to `E(u) exp(-gamma G(u))`, summed over the courses that begin with `u`.

use rand::rngs::Xoshiro256PlusPlus;
use rand_core::{Rng, SeedableRng};

use super::free_energy::Efe;
use super::planning::Ahead;

/// One eligible model, scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scored {
    /// Place in the catalogue.
    pub(crate) model: usize,
    pub(crate) efe: Efe,
    pub(crate) usd: f64,
    pub(crate) latency_ms: f64,
    pub(crate) quality: f64,
    pub(crate) meets: f64,
    /// `ln E` of the model.
    pub(crate) log_habit: f64,
    /// Nats for leaving the model of the session.
    pub(crate) switch: f64,
    /// What the rest of the horizon costs after it.
    pub(crate) ahead: Ahead,
    /// Free energy with habit, switch and the best course after it counted in, what the choice minimises; set by [`rank`].
    pub(crate) cost: f64,
    /// `q(u)`, set by [`rank`].
    pub(crate) probability: f64,
}

/// Sets the choice probabilities and puts the chosen model first, the others behind it from best to worst.
///
/// Without a seed the cheapest model within `tolerance` nats of the best is chosen, the first of the catalogue among equally
/// cheap ones; with a seed the model is drawn from the probabilities.
pub(crate) fn rank(scored: &mut [Scored], gamma: f64, tolerance: f64, seed: Option<u64>) {
    let (mut best, mut least) = (f64::INFINITY, f64::INFINITY);
    for s in scored.iter_mut() {
        let now = s.efe.total - s.log_habit / gamma + s.switch;
        s.cost = now + s.ahead.least;
        s.probability = now + s.ahead.free;
        best = best.min(s.cost);
        least = least.min(s.probability);
    }
    let mut total = 0.0;
    for s in scored.iter_mut() {
        s.probability = (-gamma * (s.probability - least)).exp();
        total += s.probability;
    }
    for s in scored.iter_mut() {
        s.probability = (s.probability / total).min(1.0);
    }
    let chosen = match seed {
        Some(seed) => draw(scored, seed),
        None => {
            let near = scored.iter().filter(|s| s.cost - best <= tolerance);
            near.min_by(|a, b| a.usd.total_cmp(&b.usd).then(a.model.cmp(&b.model))).map(|s| s.model)
        }
    };
    // No two are equal.
    scored.sort_unstable_by(|a, b| {
        let first = |s: &Scored| Some(s.model) != chosen;
        first(a).cmp(&first(b)).then(a.cost.total_cmp(&b.cost)).then(a.model.cmp(&b.model))
    });
}

/// The first model whose cumulative probability exceeds a uniform number of 53 bits.
fn draw(scored: &[Scored], seed: u64) -> Option<usize> {
    let u = (Xoshiro256PlusPlus::seed_from_u64(seed).next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let mut sum = 0.0;
    let hit = scored.iter().find(|s| {
        sum += s.probability;
        u < sum
    });
    // Rounding can leave the sum a hair below 1.
    hit.or_else(|| scored.iter().rev().find(|s| s.probability > 0.0)).map(|s| s.model)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(model: usize, total: f64, usd: f64) -> Scored {
        let efe = Efe { total, risk: total, ambiguity: 0.0, epistemic: 0.0, pragmatic: -total, novelty: 0.0 };
        Scored {
            model,
            efe,
            usd,
            latency_ms: 1.0,
            quality: 0.5,
            meets: 1.0,
            log_habit: 0.0,
            switch: 0.0,
            ahead: Ahead::default(),
            cost: 0.0,
            probability: 0.0,
        }
    }

    #[test]
    fn the_choice_probabilities_are_the_softmax() {
        let mut s = [scored(0, 1.0, 1.0), scored(1, 1.1, 1.0), scored(2, 0.9, 1.0)];
        s[1].log_habit = 2.0;
        rank(&mut s, 16.0, 0.0, None);
        let e = [f64::exp(-16.0), f64::exp(2.0 - 17.6), f64::exp(-14.4)];
        for s in &s {
            assert!((s.probability - e[s.model] / e.iter().sum::<f64>()).abs() < 1e-12);
        }
        assert_eq!(s.map(|s| s.model), [2, 1, 0]);
    }

    #[test]
    fn ties_go_to_the_cheapest_then_to_the_first() {
        let mut s = [scored(0, 1.0, 3.0), scored(1, 1.009, 2.0), scored(2, 1.008, 2.0), scored(3, 1.02, 1.0)];
        rank(&mut s, 16.0, 0.01, None);
        assert_eq!(s.map(|s| s.model), [1, 0, 2, 3]);
    }

    #[test]
    fn seeded_draws_follow_the_probabilities() {
        let mut hits = [0u32; 2];
        for seed in 0..4_000 {
            let mut s = [scored(0, 1.0, 1.0), scored(1, 1.05, 1.0)];
            rank(&mut s, 16.0, 0.01, Some(seed));
            hits[s[0].model] += 1;
        }
        let expected = 4_000.0 / (1.0 + f64::exp(-0.8));
        assert!((f64::from(hits[0]) - expected).abs() < 120.0, "{hits:?}");
    }

    #[test]
    fn far_apart_scores_do_not_overflow() {
        let mut s = [scored(0, -1e6, 1.0), scored(1, 1e6, 1.0)];
        rank(&mut s, 1e6, 0.0, Some(1));
        assert_eq!((s[0].model, s[0].probability, s[1].probability), (0, 1.0, 0.0));
    }
}
