//! The little linear algebra that the fits need, in `f64`.

use alloc::vec;
use alloc::vec::Vec;

/// Sum of products, in eight lanes.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_chunks, a_tail) = a.as_chunks::<8>();
    let (b_chunks, b_tail) = b.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for l in 0..8 {
            lanes[l] += a[l] * b[l];
        }
    }
    let tail: f64 = a_tail.iter().zip(b_tail).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + tail
}

/// The lower triangular `L` with `A = L L^T`, in place of the lower triangle of the `n x n` matrix `a`. False when `A` is not
/// positive definite.
pub(super) fn cholesky(a: &mut [f64], n: usize) -> bool {
    for i in 0..n {
        let (above, row) = a.split_at_mut(i * n);
        let row = &mut row[..n];
        for j in 0..i {
            let other = &above[j * n..][..=j];
            row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
        }
        let pivot = row[i] - dot(&row[..i], &row[..i]);
        if !(pivot > 0.0 && pivot.is_finite()) {
            return false;
        }
        row[i] = pivot.sqrt();
    }
    true
}

/// Solves `A x = b` for a positive definite `n x n` matrix, which is overwritten; `None` when it is not.
pub(super) fn solve(a: &mut [f64], b: &[f64]) -> Option<Vec<f64>> {
    let n = b.len();
    if !cholesky(a, n) {
        return None;
    }
    let mut x = b.to_vec();
    for i in 0..n {
        let row = &a[i * n..][..=i];
        x[i] = (x[i] - dot(&row[..i], &x[..i])) / row[i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| a[k * n + i] * x[k]).sum();
        x[i] = (x[i] - known) / a[i * n + i];
    }
    Some(x)
}

/// The upper triangular `U` with `A^-1 = U^T U`, for a symmetric `n x n` matrix; `None` when it is not positive definite.
///
/// With the order of rows and columns reversed, `A = R R^T` for an upper triangular `R` is a Cholesky factorisation; `U` is
/// the inverse of `R`.
pub(super) fn inverse_factor(a: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut reversed: Vec<f64> = a.iter().rev().copied().collect();
    if !cholesky(&mut reversed, n) {
        return None;
    }
    // Row `j` of the inverse of a lower triangular matrix from the rows before it; reversed again it is a row of `U`.
    let mut inverse = vec![0.0; n * n];
    for i in 0..n {
        let (before, row) = inverse.split_at_mut(i * n);
        let row = &mut row[..=i];
        let factor = &reversed[i * n..][..=i];
        for (k, weight) in factor[..i].iter().enumerate() {
            let other = &before[k * n..][..=k];
            row.iter_mut().zip(other).for_each(|(sum, x)| *sum -= weight * x);
        }
        row[i] = 1.0;
        row.iter_mut().for_each(|x| *x /= factor[i]);
    }
    inverse.reverse();
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A positive definite matrix.
    fn matrix(n: usize) -> Vec<f64> {
        let x: Vec<f64> = (0..2 * n * n).map(|i| (i as f64 * 1.7).sin()).collect();
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                a[i * n + j] =
                    (0..2 * n).map(|t| x[t * n + i] * x[t * n + j]).sum::<f64>() + f64::from(u8::from(i == j));
            }
        }
        a
    }

    #[test]
    fn the_inverse_factor_inverts() {
        let n = 13;
        let a = matrix(n);
        let u = inverse_factor(&a, n).expect("positive definite");
        for i in 0..n {
            for j in 0..n {
                assert!(j >= i || u[i * n + j] == 0.0);
                // (U^T U) A = 1
                let entry: f64 =
                    (0..n).map(|k| (0..n).map(|l| u[l * n + i] * u[l * n + k]).sum::<f64>() * a[k * n + j]).sum();
                assert!((entry - f64::from(u8::from(i == j))).abs() < 1e-8, "{i} {j} {entry}");
            }
        }
        let b: Vec<f64> = (0..n).map(|i| i as f64).collect();
        let x = solve(&mut a.clone(), &b).expect("positive definite");
        for (i, b) in b.iter().enumerate() {
            assert!((dot(&a[i * n..][..n], &x) - b).abs() < 1e-8);
        }
        assert!(inverse_factor(&[1.0, 2.0, 2.0, 1.0], 2).is_none());
    }
}
