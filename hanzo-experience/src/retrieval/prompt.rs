use sha2::{Digest, Sha256};

use super::Hit;
use crate::merkle::Hash;
use crate::{Error, Library, Result};

/// Scores texts against a query a second time, more slowly and better than cosine: a cross-encoder, or a model.
pub trait Reranker {
    /// Why scoring failed.
    type Error;

    /// One finite score a text, greater is better.
    ///
    /// # Errors
    /// Whatever the scorer reports.
    fn scores(&self, query: &str, texts: &[&str]) -> Result<Vec<f32>, Self::Error>;
}

/// Failure of a [`Reranker`], or of what it returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RerankError<E> {
    /// The reranker failed.
    #[error("reranker failed")]
    Reranker(E),
    /// Its scores were refused.
    #[error(transparent)]
    Refused(#[from] Error),
}

impl Library {
    /// The first `k` of `hits` by the scores of a reranker (ties keep their order); retrieve several times `k` first, for
    /// example four. Their new scores are those of the reranker.
    ///
    /// # Errors
    /// [`Error::UnknownId`] for a hit that is not active; the reranker's error; [`Error::DimensionMismatch`] for another
    /// number of scores than texts; [`Error::NonFinite`].
    pub fn rerank<R: Reranker>(
        &self,
        reranker: &R,
        query: &str,
        hits: &[Hit],
        k: usize,
    ) -> Result<Vec<Hit>, RerankError<R::Error>> {
        let texts = texts_of(self, hits)?;
        let scores = reranker.scores(query, &texts).map_err(RerankError::Reranker)?;
        if scores.len() != texts.len() {
            return Err(Error::DimensionMismatch { got: scores.len(), want: texts.len() }.into());
        }
        if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
            return Err(Error::NonFinite { index }.into());
        }
        let mut ranked: Vec<Hit> = hits.iter().zip(scores).map(|(hit, score)| Hit { score, ..*hit }).collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked.truncate(k);
        Ok(ranked)
    }
}

/// Hits whose texts fit a budget of tokens, walked in order; one that does not fit is skipped, and a later one may.
///
/// ```
/// use hanzo_experience::{Library, LibraryConfig, within_budget};
///
/// let library = Library::new(LibraryConfig::new("example.com/library".parse()?))?;
/// let words = |text: &str| text.split_whitespace().count();
/// assert_eq!(within_budget(&library, &[], 100, words)?, []);
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
///
/// # Errors
/// [`Error::UnknownId`] for a hit that is not active.
pub fn within_budget(
    library: &Library,
    hits: &[Hit],
    tokens: usize,
    count: impl Fn(&str) -> usize,
) -> Result<Vec<Hit>> {
    let mut left = tokens;
    let mut fitting = Vec::new();
    for (hit, text) in hits.iter().zip(texts_of(library, hits)?) {
        if let Some(rest) = left.checked_sub(count(text)) {
            left = rest;
            fitting.push(*hit);
        }
    }
    Ok(fitting)
}

/// A prompt: the texts of the hits as lines `[G0]. text`, `[G1]. text`, .. between [fences](fence), an empty line, and
/// the query between fences. Nothing is counted as used; see [`Library::record_use`].
///
/// # Errors
/// [`Error::UnknownId`] for a hit that is not active.
pub fn render(library: &Library, query: &str, hits: &[Hit]) -> Result<String> {
    let texts = texts_of(library, hits)?;
    let lines: Vec<String> = texts.iter().enumerate().map(|(index, text)| format!("[G{index}]. {text}")).collect();
    Ok(format!("{}\n\n{}", fence(&lines.join("\n")), fence(query)))
}

/// Text between two lines `--- ` and the first 16 hex digits of its SHA-256. Text cannot hold its own digest but by
/// breaking SHA-256, so it cannot close its fence and pose as what follows.
///
/// ```
/// assert_eq!(
///     hanzo_experience::fence("check the units"),
///     "--- f8ab33694d7c7417\ncheck the units\n--- f8ab33694d7c7417"
/// );
/// ```
pub fn fence(text: &str) -> String {
    let digest = Hash::from_bytes(Sha256::digest(text).into()).to_string();
    let line = format!("--- {}", &digest[..16]);
    format!("{line}\n{text}\n{line}")
}

fn texts_of<'a>(library: &'a Library, hits: &[Hit]) -> Result<Vec<&'a str>> {
    let text = |hit: &Hit| library.get(&hit.id).map(|content| content.text().as_str());
    hits.iter().map(|hit| text(hit).ok_or(Error::UnknownId { id: hit.id })).collect()
}
