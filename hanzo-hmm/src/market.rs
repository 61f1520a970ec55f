//! The market maker: prices, quotes and routing.

/// Why a model was not eligible.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {}
