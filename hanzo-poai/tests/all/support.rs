//! What several of the tests share.

pub(crate) mod common;
