use crate::{Error, Result};

/// The point with the least weighted sum of distances to given points, in floating point.
#[derive(Debug, Clone, PartialEq)]
pub struct GeometricMedian {
    /// The point.
    pub point: Vec<f64>,
    /// Steps taken.
    pub steps: usize,
    /// Whether the last step was not longer than the tolerance.
    pub converged: bool,
}

/// The geometric median by Weiszfeld's steps, in the form of Vardi and Zhang (2000) that also leaves a data point.
///
/// For analysis: its bits depend on the order of the points and on the machine's square roots and divisions, so parties
/// that must agree use [`WeightedMedian`](super::WeightedMedian). It withstands weight below one half, and unlike a
/// median element by element it turns with the coordinates. Starts at the weighted mean; O(n d) a step.
///
/// ```
/// use hanzo_experience::aggregate::geometric_median;
///
/// let points: [&[f64]; 4] = [&[0.0, 0.0], &[1.0, 0.0], &[0.0, 1.0], &[1e6, 1e6]];
/// let median = geometric_median(&points, &[1.0, 1.0, 1.0, 1.0], 1e-9, 1_000)?;
/// assert!(median.converged && median.point.iter().all(|x| x.abs() < 1.0));
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
///
/// # Errors
/// [`Error::TooFew`] for no point; [`Error::DimensionMismatch`] for points of different lengths or another number of
/// weights; [`Error::NonFinite`]; [`Error::OutOfRange`] for a negative weight, or a tolerance that is not positive;
/// [`Error::NoWeight`].
pub fn geometric_median(
    points: &[&[f64]],
    weights: &[f64],
    tolerance: f64,
    max_steps: usize,
) -> Result<GeometricMedian> {
    let total = check(points, weights, tolerance)?;
    let dimension = points[0].len();
    let mut point = vec![0.0; dimension];
    for (other, weight) in points.iter().zip(weights) {
        add(&mut point, other, weight / total);
    }
    for step in 1..=max_steps {
        // Pull of the other points, its step, and the weight that is right here.
        let (mut sum, mut inverse, mut here) = (vec![0.0; dimension], 0.0, 0.0);
        for (other, weight) in points.iter().zip(weights) {
            let distance = distance(other, &point);
            if distance > 0.0 {
                add(&mut sum, other, weight / distance);
                inverse += weight / distance;
            } else {
                here += weight;
            }
        }
        if inverse == 0.0 {
            return Ok(GeometricMedian { point, steps: step, converged: true });
        }
        let pull = sum.iter().zip(&point).map(|(sum, x)| (sum - x * inverse).powi(2)).sum::<f64>().sqrt();
        // At a data point that outweighs the pull of the others, it stays.
        let stay = if here == 0.0 {
            0.0
        } else if here >= pull {
            1.0
        } else {
            here / pull
        };
        let next: Vec<f64> = sum.iter().zip(&point).map(|(sum, x)| (1.0 - stay) * sum / inverse + stay * x).collect();
        let moved = distance(&next, &point);
        point = next;
        if moved <= tolerance {
            return Ok(GeometricMedian { point, steps: step, converged: true });
        }
    }
    Ok(GeometricMedian { point, steps: max_steps, converged: false })
}

/// Checks the input; the sum of the weights.
fn check(points: &[&[f64]], weights: &[f64], tolerance: f64) -> Result<f64> {
    let first = points.first().ok_or(Error::TooFew { need: 1, got: 0 })?;
    for (got, want) in points.iter().map(|point| (point.len(), first.len())).chain([(weights.len(), points.len())]) {
        if got != want {
            return Err(Error::DimensionMismatch { got, want });
        }
    }
    let numbers = || points.iter().flat_map(|point| point.iter()).chain(weights);
    if let Some(index) = numbers().position(|x| !x.is_finite()) {
        return Err(Error::NonFinite { index });
    }
    if weights.iter().any(|weight| *weight < 0.0) {
        return Err(Error::OutOfRange { field: "weights" });
    }
    if tolerance.is_nan() || tolerance <= 0.0 {
        return Err(Error::OutOfRange { field: "tolerance" });
    }
    let total: f64 = weights.iter().sum();
    if total > 0.0 && total.is_finite() { Ok(total) } else { Err(Error::NoWeight) }
}

fn add(sum: &mut [f64], point: &[f64], factor: f64) {
    for (sum, x) in sum.iter_mut().zip(point) {
        *sum += x * factor;
    }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}
