//! The unary and binary instances a tree is made of.

use crate::params::Thresholds;
use crate::snowflake::{Confidence, SnowflakeState, Variant};

/// Counts successive polls for the only choice so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Unary {
    pub(crate) confidence: Confidence,
    strength: u32,
}

impl Unary {
    pub(crate) const fn new() -> Self {
        Self { confidence: Confidence::new(), strength: 0 }
    }

    /// Counts a poll of at least `alpha_preference` votes; the caller has checked that.
    pub(crate) fn record(&mut self, thresholds: &Thresholds, count: u32) {
        self.strength = self.strength.saturating_add(1);
        self.confidence.record(thresholds, count);
    }

    /// The binary instance that goes on from here when a second choice appears.
    pub(crate) fn extend(&self, bit: bool) -> Binary {
        let mut strengths = [0; 2];
        strengths[usize::from(bit)] = self.strength;
        Binary {
            snowflake: SnowflakeState { confidence: self.confidence.clone(), preference: bit },
            strongest: bit,
            strengths,
        }
    }
}

/// Decides one bit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Binary {
    pub(crate) snowflake: SnowflakeState<bool>,
    /// Snowball's preference: moves only to the strictly stronger side.
    strongest: bool,
    strengths: [u32; 2],
}

impl Binary {
    /// Counts a poll of at least `alpha_preference` votes; the caller has checked that.
    pub(crate) fn record(&mut self, thresholds: &Thresholds, count: u32, bit: bool) {
        let side = usize::from(bit);
        self.strengths[side] = self.strengths[side].saturating_add(1);
        if self.strengths[side] > self.strengths[1 - side] {
            self.strongest = bit;
        }
        self.snowflake.record_poll(thresholds, count, bit);
    }

    pub(crate) const fn is_finalized(&self) -> bool {
        self.snowflake.confidence.is_finalized()
    }

    pub(crate) const fn preference(&self, variant: Variant) -> bool {
        match variant {
            Variant::Snowball if !self.is_finalized() => self.strongest,
            Variant::Snowball | Variant::Snowflake => self.snowflake.preference,
        }
    }
}
