//! The two rules on which agreement rests.

/// What a replica must remember so as not to contradict itself.
///
/// ```
/// use hanzo_snow::settlement::Safety;
///
/// let mut safety = Safety::default();
/// assert!(safety.may_vote(1, 0, None));
/// safety.voted(1);
/// assert!(!safety.may_vote(1, 0, None), "one vote a view");
/// safety.timed_out(2);
/// assert!(!safety.may_vote(2, 1, None), "none after giving the view up");
/// assert!(!safety.may_vote(4, 1, Some((3, 2))), "not below what a quorum has seen");
/// assert!(safety.may_vote(4, 2, Some((3, 2))));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Safety {
    last_voted: u64,
    last_timeout: u64,
}

impl Safety {
    /// After the given last vote and timeout.
    #[must_use]
    pub const fn new(last_voted: u64, last_timeout: u64) -> Self {
        Self { last_voted, last_timeout }
    }

    /// View of the last vote; 0 for none.
    #[must_use]
    pub const fn last_voted(&self) -> u64 {
        self.last_voted
    }

    /// View of the last timeout; 0 for none.
    #[must_use]
    pub const fn last_timeout(&self) -> u64 {
        self.last_timeout
    }

    /// Whether a vote may be given in `view` for a block that stands on a certificate of view `justify`. `timeout` is the
    /// view of the block's timeout certificate and the highest certificate in that.
    #[must_use]
    pub fn may_vote(&self, view: u64, justify: u64, timeout: Option<(u64, u64)>) -> bool {
        let follows = justify.checked_add(1) == Some(view);
        let recovers = timeout.is_some_and(|(timeout, high)| timeout.checked_add(1) == Some(view) && justify >= high);
        view > self.last_voted && view > self.last_timeout && (follows || recovers)
    }

    /// Remembers a vote.
    pub fn voted(&mut self, view: u64) {
        self.last_voted = self.last_voted.max(view);
    }

    /// Remembers a timeout.
    pub fn timed_out(&mut self, view: u64) {
        self.last_timeout = self.last_timeout.max(view);
    }
}
