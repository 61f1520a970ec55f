//! What nodes of a lock-step network can be, and how one poll moves them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{AnalysisError, exactly_drawn};
use crate::params::{MAX_CONDITIONS, Params};

/// The final classes: decided on 0 and on 1.
pub(super) const FINAL: [usize; 2] = [0, 1];

/// The classes a node can be in: decided, or a preference with its counters.
#[derive(Debug, Clone)]
pub(super) struct Classes {
    pub(super) colours: Vec<u8>,
    /// For each class, where each event leads; see [`Event`].
    next: Vec<[Vec<u32>; 2]>,
    failed: Vec<u32>,
    /// Votes that an event of each level needs: `alpha_preference`, then each `alpha_confidence`; `k + 1` at the end.
    pub(super) levels: Vec<u32>,
}

/// What a poll says to a node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// Nothing reached `alpha_preference`.
    Failed,
    /// A colour reached it, and this many conditions.
    Success { colour: usize, level: usize },
}

type Counters = [u32; MAX_CONDITIONS];

impl Classes {
    /// O(classes * conditions).
    pub(super) fn new(params: &Params) -> Result<Self, AnalysisError> {
        const MOST: usize = 1 << 17;
        let conditions = params.conditions();
        let mut levels: Vec<u32> = conditions.iter().map(|condition| condition.alpha_confidence.into()).collect();
        levels.insert(0, params.alpha_preference().into());
        levels.push(u32::from(params.k()) + 1);
        let zero: Counters = [0; MAX_CONDITIONS];
        let mut index: BTreeMap<(usize, Counters), u32> = BTreeMap::new();
        let mut found: Vec<(usize, Counters)> = Vec::new();
        let mut name = |colour: usize, counters: Counters, found: &mut Vec<(usize, Counters)>| {
            *index.entry((colour, counters)).or_insert_with(|| {
                found.push((colour, counters));
                (found.len() + FINAL.len() - 1) as u32
            })
        };
        name(0, zero, &mut found);
        name(1, zero, &mut found);
        let stay = |class: usize| [0, 1].map(|_| alloc::vec![class as u32; conditions.len() + 1]);
        let mut next: Vec<[Vec<u32>; 2]> = FINAL.iter().map(|&class| stay(class)).collect();
        let mut failed: Vec<u32> = FINAL.iter().map(|&class| class as u32).collect();
        let mut at = 0;
        while at < found.len() {
            if found.len() > MOST {
                return Err(AnalysisError::TooLarge { most: MOST });
            }
            let (preference, counters) = found[at];
            at += 1;
            failed.push(name(preference, zero, &mut found));
            next.push([0, 1].map(|colour| {
                (0..=conditions.len())
                    .map(|level| {
                        let mut counters = if colour == preference { counters } else { zero };
                        counters[level..].fill(0);
                        for (counter, condition) in counters.iter_mut().zip(conditions).take(level) {
                            *counter += 1;
                            if *counter >= condition.beta {
                                return FINAL[colour] as u32;
                            }
                        }
                        name(colour, counters, &mut found)
                    })
                    .collect()
            }));
        }
        let mut colours = alloc::vec![0, 1];
        colours.extend(found.iter().map(|&(colour, _)| colour as u8));
        Ok(Self { colours, next, failed, levels })
    }

    pub(super) const fn len(&self) -> usize {
        self.colours.len()
    }

    /// The class of a fresh node that prefers `colour`.
    pub(super) const fn fresh(colour: usize) -> usize {
        FINAL.len() + colour
    }

    pub(super) fn next(&self, class: usize, event: Event) -> usize {
        let next = match event {
            Event::Failed => self.failed[class],
            Event::Success { colour, level } => self.next[class][colour][level],
        };
        next as usize
    }
}

/// Probability of each successful event for nodes of one colour, for each colour that may win.
pub(super) type Successes = [Vec<f64>; 2];

/// Draws without replacement: `answers[c]` of `population` others answer colour `c`.
pub(super) fn successes(classes: &Classes, k: u16, population: u64, answers: [u64; 2]) -> Successes {
    answers.map(|support| {
        let mut sums = alloc::vec![0.0; classes.levels.len() - 1];
        let others = population - support;
        let first = u64::from(classes.levels[0]).max(u64::from(k).saturating_sub(others)) as u16;
        let last = u64::from(k).min(support) as u16;
        if first > last {
            return sums;
        }
        let mut term = exactly_drawn(k, first, population, support);
        let mut level = 0;
        for j in first..=last {
            while classes.levels[level + 1] <= u32::from(j) {
                level += 1;
            }
            sums[level] += term.value();
            if j < last {
                let ahead = (support - u64::from(j)) as f64 * f64::from(k - j);
                let behind = f64::from(j + 1) * (others - u64::from(k - j) + 1) as f64;
                term = term.times(ahead / behind);
            }
        }
        sums
    })
}
