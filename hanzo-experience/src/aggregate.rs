//! Aggregation of priors that a minority cannot move: weighted medians, trimmed means, Krum and Multi-Krum, in integers.
//!
//! A [`Prior`] holds one advantage for each element of a [`Schema`], as [`Fixed`] numbers; many submitters send theirs,
//! and an [`Aggregator`] makes one [`Aggregate`] of them: the same bits on every machine and for every order of the
//! submissions. A rule whose precondition fails is an error, never a plain mean.
//!
//! | rule | counts | withstands | precondition |
//! |---|---|---|---|
//! | [`WeightedMedian`] (the default choice) | weight | weight below one half | positive weight |
//! | [`WeightedTrimmedMean`] | weight | weight up to the trimmed share | trimmed shares leave weight |
//! | [`TrimmedMean`] | submitters | b submitters | n > 2b |
//! | [`Krum`], [`MultiKrum`] | submitters | f submitters | n >= 2f + 3, m <= n - 2f - 2, all dense |
//!
//! "Withstands" means for the median that each element of the result lies between the least and the greatest honest
//! value, if strictly less than half of the weight present at that element is adversarial. At exactly one half it need
//! not. Elements are judged one by one: the result need not be anyone's prior, and its Euclidean error grows with the
//! square root of the number of elements. Rules that count submitters fall to anyone who can make many of them.
//!
//! [`geometric_median`] works in floating point, for analysis, and is no `Aggregator`.
//!
//! ```
//! use hanzo_experience::aggregate::{Aggregator, Fixed, Prior, Weighted, WeightedMedian};
//!
//! let one = |x: f64| -> hanzo_experience::Result<Prior> { Prior::dense(7, vec![Fixed::from_f64(x)?]) };
//! let (a, b, liar) = (one(0.25)?, one(0.5)?, one(1e9)?);
//! let names = ["alice".parse()?, "bob".parse()?, "carol".parse()?];
//! let submissions = [
//!     Weighted { submitter: &names[0], prior: &a, weight: 30 },
//!     Weighted { submitter: &names[1], prior: &b, weight: 21 },
//!     Weighted { submitter: &names[2], prior: &liar, weight: 49 },
//! ];
//! let aggregate = WeightedMedian::default().aggregate(&submissions)?;
//! assert_eq!(aggregate.values(), [Some(Fixed::from_f64(0.5)?)]);
//! # Ok::<(), hanzo_experience::Error>(())
//! ```
//!
//! Sources: Yin, Chen, Ramchandran and Bartlett (ICML 2018) for medians and trimmed means; Blanchard, El Mhamdi,
//! Guerraoui and Stainer (NeurIPS 2017) for Krum; Weiszfeld (1937) and Vardi and Zhang (2000) for the geometric median.

mod column;
mod fixed;
mod geometric;
mod krum;
mod mean;
mod median;
mod prior;
mod schema;
mod submission;

pub use fixed::Fixed;
pub use geometric::{GeometricMedian, geometric_median};
pub use krum::{Krum, MultiKrum};
pub use mean::{TrimmedMean, WeightedTrimmedMean};
pub use median::{Tie, WeightedMedian};
pub use prior::Prior;
pub use schema::Schema;
pub use submission::{Aggregate, Aggregator, Limits, Weighted};
