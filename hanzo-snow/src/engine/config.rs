//! Settings of an engine.

use core::time::Duration;

use crate::params::Params;
use crate::snowflake::Variant;

/// Who a node is and how it decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig<N> {
    pub(super) own: N,
    pub(super) params: Params,
    pub(super) variant: Variant,
    pub(super) include_self: bool,
    pub(super) gossip_period: Duration,
}

impl<N> EngineConfig<N> {
    /// The node `own` with these parameters: Snowflake, the own stake not sampled, gossip every 10 s.
    ///
    /// For [`Params::SINGLE`] and [`Params::for_small_set`] turn [`include_self`](Self::include_self) on.
    #[must_use]
    pub const fn new(own: N, params: Params) -> Self {
        let gossip_period = Duration::from_secs(10);
        Self { own, params, variant: Variant::Snowflake, include_self: false, gossip_period }
    }

    /// Which member of the family decides; [`Variant::Snowflake`] unless set.
    #[must_use]
    pub const fn variant(mut self, variant: Variant) -> Self {
        self.variant = variant;
        self
    }

    /// Whether the own stake is sampled with the rest; not unless set. The node answers itself at once.
    #[must_use]
    pub const fn include_self(mut self, include: bool) -> Self {
        self.include_self = include;
        self
    }

    /// How often the accepted tip is told around; a time below a millisecond is taken as one.
    #[must_use]
    pub fn gossip_period(mut self, period: Duration) -> Self {
        self.gossip_period = period.max(Duration::from_millis(1));
        self
    }
}
