use crate::{Error, ExperienceId, Result};

/// One attempt at a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// What the model did: its answer, or all of its steps.
    pub trajectory: String,
    /// How good it was, 0..=1; for all attempts of a group, or for none.
    pub reward: Option<f64>,
    /// The experiences that it was given.
    pub used: Vec<ExperienceId>,
}

impl Rollout {
    /// An attempt without reward.
    pub fn new(trajectory: impl Into<String>) -> Self {
        Self { trajectory: trajectory.into(), reward: None, used: Vec::new() }
    }

    /// Sets the reward.
    pub fn reward(mut self, reward: f64) -> Self {
        self.reward = Some(reward);
        self
    }

    /// Names the experiences that it was given.
    pub fn used(mut self, used: impl IntoIterator<Item = ExperienceId>) -> Self {
        self.used = used.into_iter().collect();
        self
    }
}

/// A question and attempts at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The question.
    pub question: String,
    /// The right answer, if it is known and may be shown to the model that draws lessons.
    pub truth: Option<String>,
    /// The attempts.
    pub rollouts: Vec<Rollout>,
}

impl Group {
    /// A group without a known answer.
    pub fn new(question: impl Into<String>, rollouts: impl IntoIterator<Item = Rollout>) -> Self {
        Self { question: question.into(), truth: None, rollouts: rollouts.into_iter().collect() }
    }

    /// Sets the right answer.
    pub fn truth(mut self, truth: impl Into<String>) -> Self {
        self.truth = Some(truth.into());
        self
    }

    /// The rewards, if the attempts have them.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if some attempts have one and some not; those of [`group_advantages`].
    pub(super) fn rewards(&self) -> Result<Option<Vec<f64>>> {
        let rewards: Vec<f64> = self.rollouts.iter().filter_map(|rollout| rollout.reward).collect();
        check(&rewards)?;
        match rewards.len() {
            0 => Ok(None),
            given if given == self.rollouts.len() => Ok(Some(rewards)),
            _ => Err(Error::OutOfRange { field: "reward" }),
        }
    }
}

/// Advantages of a group, (R - mean) / sd with the population standard deviation; none if all rewards are equal, where
/// the formula is 0 / 0 and nothing can be learned.
///
/// ```
/// use hanzo_experience::grpo::group_advantages;
///
/// assert_eq!(group_advantages(&[1.0, 0.0])?, Some(vec![1.0, -1.0]));
/// assert_eq!(group_advantages(&[0.5, 0.5, 0.5])?, None);
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
///
/// # Errors
/// [`Error::OutOfRange`] for a reward outside 0..=1 or NaN.
pub fn group_advantages(rewards: &[f64]) -> Result<Option<Vec<f64>>> {
    check(rewards)?;
    if all_equal(rewards) {
        return Ok(None);
    }
    let n = rewards.len() as f64;
    let mean = rewards.iter().sum::<f64>() / n;
    let sd = (rewards.iter().map(|reward| (reward - mean).powi(2)).sum::<f64>() / n).sqrt();
    // Rewards that differ by less than their rounding can have a deviation of zero.
    Ok((sd > 0.0).then(|| rewards.iter().map(|reward| (reward - mean) / sd).collect()))
}

pub(super) fn all_equal(rewards: &[f64]) -> bool {
    rewards.windows(2).all(|pair| pair[0] == pair[1])
}

fn check(rewards: &[f64]) -> Result<()> {
    if rewards.iter().all(|reward| (0.0..=1.0).contains(reward)) {
        Ok(())
    } else {
        Err(Error::OutOfRange { field: "reward" })
    }
}
