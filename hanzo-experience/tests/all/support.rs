//! What several of the tests share.

pub(crate) mod data;
pub(crate) mod history;
pub(crate) mod lessons;
