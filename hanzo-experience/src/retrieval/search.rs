use crate::retrieval::dot;
use crate::{Error, ExperienceId, Result};

/// What to look for.
///
/// ```
/// use hanzo_experience::Search;
///
/// // Ten lessons, none with a cosine below 0.3, seven parts near and three parts unlike each other.
/// let search = Search::new(10).min_similarity(0.3).diversity(0.7);
/// # let _ = search;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    pub(crate) k: usize,
    pub(crate) min_similarity: Option<f32>,
    pub(crate) diversity: Option<f32>,
    pub(crate) quality_weight: f32,
}

impl Search {
    /// The `k` nearest; all if there are fewer.
    pub fn new(k: usize) -> Self {
        Self { k, min_similarity: None, diversity: None, quality_weight: 0.0 }
    }

    /// Only hits of at least this cosine. Default: no floor.
    pub fn min_similarity(mut self, cosine: f32) -> Self {
        self.min_similarity = Some(cosine);
        self
    }

    /// Chooses by maximal marginal relevance (Carbonell and Goldstein 1998) among the 4k nearest: one by one, that of
    /// greatest `lambda` score - (1 - `lambda`) (greatest cosine to one chosen before). `lambda` of 0..=1, where 1 is the
    /// same as the default, the nearest.
    pub fn diversity(mut self, lambda: f32) -> Self {
        self.diversity = Some(lambda);
        self
    }

    /// Scores by (1 - `weight`) cosine + `weight` quality, with quality of 0..=1, `weight` of 0..=1. Default 0. Only in
    /// libraries: an index knows no quality.
    pub fn quality_weight(mut self, weight: f32) -> Self {
        self.quality_weight = weight;
        self
    }

    /// # Errors
    /// [`Error::OutOfRange`].
    pub(crate) fn check(&self) -> Result<()> {
        if self.min_similarity.is_some_and(|floor| !floor.is_finite()) {
            return Err(Error::OutOfRange { field: "min_similarity" });
        }
        if self.diversity.is_some_and(|lambda| !(0.0..=1.0).contains(&lambda)) {
            return Err(Error::OutOfRange { field: "diversity" });
        }
        if !(0.0..=1.0).contains(&self.quality_weight) {
            return Err(Error::OutOfRange { field: "quality_weight" });
        }
        Ok(())
    }

    /// How many of the nearest are needed to choose from.
    pub(crate) fn pool(&self) -> usize {
        if self.diversity.is_some() { self.k.saturating_mul(4) } else { self.k }
    }

    /// The `k` chosen of hits in their order.
    pub(crate) fn choose<'a>(&self, mut hits: Vec<Hit>, row: impl Fn(&ExperienceId) -> Option<&'a [f32]>) -> Vec<Hit> {
        hits.truncate(self.pool());
        let Some(lambda) = self.diversity else { return hits };
        let mut chosen: Vec<Hit> = Vec::with_capacity(self.k.min(hits.len()));
        // Greatest cosine of each candidate to one that is chosen.
        let mut nearest = vec![f32::NEG_INFINITY; hits.len()];
        while chosen.len() < self.k && !hits.is_empty() {
            let gain = |place: usize| {
                let known = if chosen.is_empty() { 0.0 } else { nearest[place] };
                lambda * hits[place].score - (1.0 - lambda) * known
            };
            // Ties to the first, which is the nearer one.
            let best = (0..hits.len()).reduce(|best, place| if gain(place) > gain(best) { place } else { best });
            let Some(best) = best else { break };
            let hit = hits.remove(best);
            nearest.remove(best);
            if let Some(new) = row(&hit.id) {
                for (near, other) in nearest.iter_mut().zip(&hits) {
                    *near = near.max(row(&other.id).map_or(0.0, |row| dot(new, row)));
                }
            }
            chosen.push(hit);
        }
        chosen
    }
}

/// An experience found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its id.
    pub id: ExperienceId,
    /// Cosine to the query; with a [quality weight](Search::quality_weight), the weighted mean of cosine and quality.
    pub score: f32,
}

impl Hit {
    /// Score descending, then id ascending.
    pub(crate) fn order(a: &Self, b: &Self) -> core::cmp::Ordering {
        b.score.total_cmp(&a.score).then(a.id.cmp(&b.id))
    }
}
