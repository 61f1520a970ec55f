//! Checking, normalising and drawing from discrete distributions.

use rand_core::Rng;

use crate::{Error, Result};

/// Checks that `row` is a distribution. A sum off by rounding alone is left as it is, bit for bit; one off by at most
/// 1e-6 is normalised.
pub(crate) fn check_distribution(what: &'static str, row: usize, values: &mut [f64]) -> Result<()> {
    for (col, &value) in values.iter().enumerate() {
        if !(value.is_finite() && value >= 0.0) {
            return Err(Error::NotAProbability { what, row, col, value });
        }
    }
    let sum: f64 = values.iter().sum();
    let off = (sum - 1.0).abs();
    // A sum that overflows is far off, so the comparison below catches it.
    if off <= UNTOUCHED * values.len() as f64 {
        return Ok(());
    }
    if off <= RENORMALISED {
        for value in values {
            *value /= sum;
        }
        return Ok(());
    }
    Err(Error::RowSum { what, row, sum })
}

/// Checks that expected counts, masses or sums of squares are finite and not negative.
pub(crate) fn check_counts(what: &'static str, counts: &[f64]) -> Result<()> {
    if !counts.iter().all(|count| count.is_finite()) {
        return Err(Error::NotFinite { what });
    }
    if counts.iter().all(|count| *count >= 0.0) { Ok(()) } else { Err(Error::OutOfRange { what }) }
}

/// Joins equally long rows into one row-major table.
pub(crate) fn flatten(what: &'static str, rows: Vec<Vec<f64>>, width: usize) -> Result<Vec<f64>> {
    let mut flat = Vec::with_capacity(rows.len().saturating_mul(width));
    for row in rows {
        if row.len() != width {
            return Err(Error::DimensionMismatch { what, expected: width, found: row.len() });
        }
        flat.extend_from_slice(&row);
    }
    Ok(flat)
}

/// Overwrites the distribution `row` with the normalised expected `counts`, each non-zero entry of the old row raised
/// by `pseudocount`. Zeros stay zeros, and a row without mass keeps its values.
pub(crate) fn normalise_counts(row: &mut [f64], counts: &[f64], pseudocount: f64) {
    update_row(row, counts, pseudocount, false, None);
}

/// [`normalise_counts`] where the pseudocount may go `everywhere`, and where `frozen` entries keep their values: the
/// others share what these leave of 1.
pub(crate) fn update_row(row: &mut [f64], counts: &[f64], pseudocount: f64, everywhere: bool, frozen: Option<&[bool]>) {
    let free = |j: usize| frozen.is_none_or(|frozen| !frozen.get(j).copied().unwrap_or(false));
    let raised = |old: f64, count: f64| if old > 0.0 || everywhere { count + pseudocount } else { 0.0 };
    let entries = || row.iter().zip(counts).enumerate();
    let total: f64 = entries().filter(|(j, _)| free(*j)).map(|(_, (&old, &count))| raised(old, count)).sum();
    let kept: f64 = entries().filter(|(j, _)| !free(*j)).map(|(_, (&old, _))| old).sum();
    if !(total >= NO_MASS && total.is_finite()) {
        return;
    }
    let share = (1.0 - kept).max(0.0);
    for (j, (old, &count)) in row.iter_mut().zip(counts).enumerate() {
        if free(j) {
            *old = if frozen.is_none() { raised(*old, count) / total } else { raised(*old, count) / total * share };
        }
    }
}

/// Draws an index with probability proportional to `weights`, which are not negative.
///
/// 53 random bits against the cumulative sum; where rounding leaves none, the last index with a positive weight.
pub(crate) fn draw<R: Rng + ?Sized>(weights: &[f64], rng: &mut R) -> usize {
    let total: f64 = weights.iter().sum();
    let u = (rng.next_u64() >> 11) as f64 * 2f64.powi(-53) * total;
    let mut cumulative = 0.0;
    let mut last = 0;
    for (j, &weight) in weights.iter().enumerate() {
        if weight > 0.0 {
            cumulative += weight;
            last = j;
            if u < cumulative {
                return j;
            }
        }
    }
    last
}

/// Largest deviation of a row sum, an entry, that counts as rounding.
const UNTOUCHED: f64 = 1e-12;
/// Largest deviation of a row sum that is repaired.
const RENORMALISED: f64 = 1e-6;
/// An expected count below this is no mass: the quotient of two such numbers would have no digits left.
pub(crate) const NO_MASS: f64 = 1e-290;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::*;

    #[test]
    fn rounding_is_left_alone_and_small_errors_are_repaired() {
        let mut exact = [0.1; 10];
        check_distribution("row", 0, &mut exact).unwrap();
        assert_eq!(exact, [0.1; 10]);
        let mut near = [0.5, 0.5 + 1e-8];
        check_distribution("row", 0, &mut near).unwrap();
        assert!((near[0] + near[1] - 1.0).abs() < 1e-15);
        assert!(matches!(
            check_distribution("row", 3, &mut [0.5, 0.6]),
            Err(Error::RowSum { what: "row", row: 3, .. })
        ));
        assert!(matches!(check_distribution("row", 1, &mut [f64::MAX, f64::MAX]), Err(Error::RowSum { .. })));
    }

    #[test]
    fn counts_keep_zeros_and_empty_rows() {
        let mut row = [0.5, 0.5, 0.0];
        normalise_counts(&mut row, &[3.0, 1.0, 7.0], 0.0);
        assert_eq!(row, [0.75, 0.25, 0.0]);
        normalise_counts(&mut row, &[0.0; 3], 0.0);
        assert_eq!(row, [0.75, 0.25, 0.0]);
        normalise_counts(&mut row, &[0.0; 3], 2.0);
        assert_eq!(row, [0.5, 0.5, 0.0]);
    }

    #[test]
    fn frozen_entries_keep_their_values() {
        let mut row = [0.5, 0.3, 0.2, 0.0];
        update_row(&mut row, &[9.0, 1.0, 3.0, 5.0], 0.0, false, Some(&[true, false, false, false]));
        assert_eq!(row, [0.5, 0.125, 0.375, 0.0]);
        update_row(&mut row, &[9.0, 1.0, 3.0, 5.0], 1.0, true, Some(&[true, true, false, false]));
        assert!(row.iter().zip([0.5, 0.125, 0.15, 0.225]).all(|(a, b)| (a - b).abs() < 1e-15));
        let mut row = [1.0, 0.0];
        update_row(&mut row, &[9.0, 1.0], 0.0, true, Some(&[true, false]));
        assert_eq!(row, [1.0, 0.0]);
    }

    #[test]
    fn draws_follow_the_weights_and_never_a_zero() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut counts = [0_u32; 4];
        for _ in 0..20_000 {
            counts[draw(&[0.0, 3.0, 0.0, 1.0], &mut rng)] += 1;
        }
        assert_eq!((counts[0], counts[2]), (0, 0));
        assert!((f64::from(counts[1]) / 20_000.0 - 0.75).abs() < 4.0 * (0.75_f64 * 0.25 / 20_000.0).sqrt());
    }
}
