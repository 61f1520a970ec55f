//! Priors of `hanzo-experience` as streams of 1-bit increments of `hanzo-bitdelta`, and back.

use hanzo_bitdelta::{ErrorFeedback, MatRef, OnlineDelta, PackOptions, PackedDelta};
use hanzo_experience::aggregate::{Fixed, Prior};

/// Puts a prior into the stream of what was not sent yet, and gives the next increment to send.
///
/// The elements fill the matrix of the stream row by row; absent ones add nothing. Each value is rounded to the nearest
/// `f32`; what an increment rounds away stays in the stream. So the increments of a stream, with its
/// [`residual`](ErrorFeedback::residual), add up to the priors put in, up to the rounding of `f32`.
///
/// ```
/// use hanzo::bitdelta::{ErrorFeedback, Granularity, OnlineDelta, PackOptions};
/// use hanzo::experience::aggregate::{Fixed, Prior};
/// use hanzo::glue::{prior_of, push_prior};
///
/// let options = PackOptions::new().granularity(Granularity::Row);
/// let (mut sent, mut received) = (ErrorFeedback::new(2, 2)?, OnlineDelta::new(2, 2)?);
/// let prior = Prior::new(7, 4, [(0, Fixed::from_f64(0.5)?), (1, Fixed::from_f64(-0.5)?), (3, Fixed::from_f64(0.25)?)])?;
/// received.absorb(&push_prior(&mut sent, &prior, &options)?)?;
///
/// let got = prior_of(7, &received)?;
/// assert_eq!(got.get(1), Some(Fixed::from_f64(-0.5)?));
/// // One bit cannot say zero: elements 2 and 3 share a scale, and the stream keeps what is missing.
/// assert_eq!(sent.residual()[2] + got.get(2).unwrap().to_f64() as f32, 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`PriorError::Elements`] for a prior with another number of elements than the stream; [`PriorError::Delta`] for those of
/// [`ErrorFeedback::push`]. Nothing changes then.
pub fn push_prior(stream: &mut ErrorFeedback, prior: &Prior, options: &PackOptions) -> Result<PackedDelta, PriorError> {
    let want = stream.residual().len();
    if usize::try_from(prior.dimension()) != Ok(want) {
        return Err(PriorError::Elements { got: prior.dimension(), want });
    }
    let mut values = alloc::vec![0.0_f32; want];
    for (index, value) in prior.iter() {
        if let Some(place) = usize::try_from(index).ok().and_then(|index| values.get_mut(index)) {
            *place = value.to_f64() as f32;
        }
    }
    let (rows, cols) = (stream.rows(), stream.cols());
    Ok(stream.push(MatRef::new(&values, rows, cols)?, options)?)
}

/// The sum of the increments received, as a prior of this schema with every element present: each value is the exact value
/// of the `f32`, rounded to the nearest [`Fixed`], ties to even. From there on aggregation is in integers.
///
/// # Errors
/// [`PriorError::Prior`] for a sum outside -2^31..2^31, and unless there are 1..=2^24 elements.
pub fn prior_of(schema: u64, received: &OnlineDelta) -> Result<Prior, PriorError> {
    let values = received.as_slice().iter().map(|value| Fixed::from_f64(f64::from(*value)));
    Ok(Prior::dense(schema, values.collect::<Result<_, _>>()?)?)
}

/// Why a prior and a stream of increments do not meet.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PriorError {
    /// The prior has another number of elements than the stream.
    #[error("{got} elements, not {want}")]
    Elements {
        /// Elements of the prior.
        got: u32,
        /// Elements of the stream.
        want: usize,
    },
    /// The stream refused.
    #[error(transparent)]
    Delta(#[from] hanzo_bitdelta::Error),
    /// The values make no prior.
    #[error(transparent)]
    Prior(#[from] hanzo_experience::Error),
}
