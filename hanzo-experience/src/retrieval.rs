mod cache;
mod embed;
mod index;
mod kernel;
mod prompt;
mod search;

pub use cache::RetrievalCache;
pub use embed::{EmbedError, Embedder, FnEmbedder, embedding_digest};
pub use index::{Index, VectorIndex};
pub(crate) use kernel::dot;
pub use prompt::{RerankError, Reranker, fence, render, within_budget};
pub use search::{Hit, Search};
