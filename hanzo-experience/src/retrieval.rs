mod cache;
mod embed;
mod index;
mod prompt;
mod search;

pub use cache::RetrievalCache;
pub use embed::{EmbedError, Embedder, FnEmbedder, embedding_digest};
pub(crate) use index::dot;
pub use index::{Index, VectorIndex};
pub use prompt::{RerankError, Reranker, fence, render, within_budget};
pub use search::{Hit, Search};
