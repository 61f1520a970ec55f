//! What several of the tests share.

pub(crate) mod data;
pub(crate) mod model;
pub(crate) mod unsigned;
