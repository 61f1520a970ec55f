//! Small dense matrices: Cholesky factors, triangular inverses, Gauss-Jordan inversion.

/// The lower Cholesky factor of the symmetric row-major matrix `a`, or `None` when a pivot is below its floor
/// (`floors[d]`, not negative) or the matrix is not positive definite.
pub(crate) fn cholesky(a: &[f64], floors: &[f64]) -> Option<Vec<f64>> {
    let n = floors.len();
    let mut l = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
            let rest = a[i * n + j] - dot;
            if i == j {
                if !(rest.is_finite() && rest >= floors[i].max(f64::MIN_POSITIVE)) {
                    return None;
                }
                l[i * n + i] = rest.sqrt();
            } else {
                l[i * n + j] = rest / l[j * n + j];
            }
        }
    }
    l.iter().all(|x| x.is_finite()).then_some(l)
}

/// The inverse of a lower triangular matrix, or `None` when it leaves the finite numbers.
pub(crate) fn invert_lower(l: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut w = vec![0.0; n * n];
    for j in 0..n {
        w[j * n + j] = l[j * n + j].recip();
        for i in j + 1..n {
            let dot: f64 = (j..i).map(|k| l[i * n + k] * w[k * n + j]).sum();
            w[i * n + j] = -dot / l[i * n + i];
        }
    }
    w.iter().all(|x| x.is_finite()).then_some(w)
}

/// The inverse of a square matrix by Gauss-Jordan elimination with partial pivoting, or `None` when it is singular.
pub(crate) fn invert(mut a: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    let mut inverse = vec![0.0; n * n];
    (0..n).for_each(|i| inverse[i * n + i] = 1.0);
    for column in 0..n {
        let pivot = (column..n).max_by(|&i, &j| a[i * n + column].abs().total_cmp(&a[j * n + column].abs()))?;
        let scale = a[pivot * n + column].recip();
        if !scale.is_finite() {
            return None;
        }
        for k in 0..n {
            a.swap(pivot * n + k, column * n + k);
            inverse.swap(pivot * n + k, column * n + k);
        }
        for k in 0..n {
            a[column * n + k] *= scale;
            inverse[column * n + k] *= scale;
        }
        for i in (0..n).filter(|i| *i != column) {
            let factor = a[i * n + column];
            if factor != 0.0 {
                for k in 0..n {
                    a[i * n + k] -= factor * a[column * n + k];
                    inverse[i * n + k] -= factor * inverse[column * n + k];
                }
            }
        }
    }
    inverse.iter().all(|x| x.is_finite()).then_some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
        (0..n * n).map(|k| (0..n).map(|m| a[k / n * n + m] * b[m * n + k % n]).sum()).collect()
    }

    #[test]
    fn factors_and_inverses_multiply_back() {
        let a = [4.0, 2.0, -1.0, 2.0, 5.0, 0.5, -1.0, 0.5, 3.0];
        let l = cholesky(&a, &[0.0; 3]).unwrap();
        let transposed: Vec<f64> = (0..9).map(|k| l[k % 3 * 3 + k / 3]).collect();
        let near = |x: &[f64], y: &[f64]| x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-14);
        assert!(near(&times(&l, &transposed, 3), &a));
        let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        assert!(near(&times(&l, &invert_lower(&l, 3).unwrap(), 3), &identity));
        let b = vec![0.0, 2.0, 1.0, 1.0, 0.0, 3.0, 2.0, 1.0, 0.0];
        assert!(near(&times(&b, &invert(b.clone(), 3).unwrap(), 3), &identity));
    }

    #[test]
    fn refuses_what_has_no_factor() {
        assert_eq!(cholesky(&[1.0, 2.0, 2.0, 1.0], &[0.0; 2]), None);
        assert_eq!(cholesky(&[1.0, 0.0, 0.0, 1e-9], &[0.0, 1e-6]), None);
        assert_eq!(cholesky(&[f64::NAN], &[0.0]), None);
        assert_eq!(invert(vec![1.0, 1.0, 1.0, 1.0], 2), None);
    }
}
