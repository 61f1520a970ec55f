//! Rows of states: arrays where their number is small and known, slices elsewhere.

use super::arith::mul_add;

/// A number of states, known to the compiler or not.
pub(crate) trait Width: Copy {
    /// One value a state.
    type Row<'b>: AsRef<[f64]> + AsMut<[f64]>;
    /// A square matrix.
    type Matrix<'m>: Copy;
    /// Many rows.
    type Table<'m>: Copy;

    /// A row that starts with the values in `memory`, which is its place where it is not an array.
    fn row(self, memory: &mut [f64]) -> Option<Self::Row<'_>>;

    /// The matrix in `values`, if that holds one.
    fn matrix(self, values: &[f64]) -> Option<Self::Matrix<'_>>;

    /// The rows in `values`.
    fn table(self, values: &[f64]) -> Self::Table<'_>;

    /// One row of a table.
    fn get<'m>(self, table: Self::Table<'m>, k: usize) -> Option<&'m [f64]>;

    /// `y = x M`. The order of the additions depends on the width alone.
    fn product(self, x: &Self::Row<'_>, matrix: Self::Matrix<'_>, y: &mut Self::Row<'_>);

    /// The same on slices.
    fn apply(self, x: &[f64], matrix: &[f64], y: &mut [f64]);

    /// `y_j = max_i (x_i + M_ij)`.
    fn max_product(self, x: &Self::Row<'_>, matrix: Self::Matrix<'_>, y: &mut Self::Row<'_>);
}

/// `N` states.
#[derive(Clone, Copy)]
pub(crate) struct Fixed<const N: usize>;

/// Any number of states.
#[derive(Clone, Copy)]
pub(crate) struct Any(pub(crate) usize);

/// Runs an expression with the best width for `n` states: `with_width!(n, w => f(w, ..))`.
macro_rules! with_width {
    ($n:expr, $w:ident => $body:expr) => {{
        use $crate::kernel::width::{Any, Fixed};
        match $n {
            1 => {
                let $w = Fixed::<1>;
                $body
            }
            2 => {
                let $w = Fixed::<2>;
                $body
            }
            3 => {
                let $w = Fixed::<3>;
                $body
            }
            4 => {
                let $w = Fixed::<4>;
                $body
            }
            5 => {
                let $w = Fixed::<5>;
                $body
            }
            6 => {
                let $w = Fixed::<6>;
                $body
            }
            7 => {
                let $w = Fixed::<7>;
                $body
            }
            8 => {
                let $w = Fixed::<8>;
                $body
            }
            16 => {
                let $w = Fixed::<16>;
                $body
            }
            n => {
                let $w = Any(n);
                $body
            }
        }
    }};
}
pub(crate) use with_width;

impl<const N: usize> Width for Fixed<N> {
    type Row<'b> = [f64; N];
    type Matrix<'m> = &'m [[f64; N]; N];
    type Table<'m> = &'m [[f64; N]];

    #[inline(always)]
    fn row(self, memory: &mut [f64]) -> Option<[f64; N]> {
        memory.first_chunk().copied()
    }

    #[inline(always)]
    fn matrix(self, values: &[f64]) -> Option<&[[f64; N]; N]> {
        values.as_chunks().0.first_chunk()
    }

    #[inline(always)]
    fn table(self, values: &[f64]) -> &[[f64; N]] {
        values.as_chunks().0
    }

    #[inline(always)]
    fn get<'m>(self, table: Self::Table<'m>, k: usize) -> Option<&'m [f64]> {
        table.get(k).map(<[f64; N]>::as_slice)
    }

    #[inline(always)]
    fn product(self, x: &[f64; N], matrix: &[[f64; N]; N], y: &mut [f64; N]) {
        if N > SMALL {
            *y = [0.0; N];
            return blocked(x, matrix.as_flattened(), y, plus);
        }
        // Even and odd rows apart: two short chains of additions in place of a long one.
        let (mut even, mut odd) = ([0.0; N], [0.0; N]);
        for i in 0..N {
            let sum = if i % 2 == 0 { &mut even } else { &mut odd };
            for j in 0..N {
                sum[j] = if i < 2 { x[i] * matrix[i][j] } else { mul_add(x[i], matrix[i][j], sum[j]) };
            }
        }
        for j in 0..N {
            y[j] = if N > 1 { even[j] + odd[j] } else { even[j] };
        }
    }

    #[inline(always)]
    fn apply(self, x: &[f64], matrix: &[f64], y: &mut [f64]) {
        if let (Some(x), Some(matrix), Some(y)) = (x.first_chunk(), self.matrix(matrix), y.first_chunk_mut()) {
            self.product(x, matrix, y);
        }
    }

    #[inline(always)]
    fn max_product(self, x: &[f64; N], matrix: &[[f64; N]; N], y: &mut [f64; N]) {
        if N > SMALL {
            *y = [f64::NEG_INFINITY; N];
            return blocked(x, matrix.as_flattened(), y, max_plus);
        }
        let mut best = [f64::NEG_INFINITY; N];
        for i in 0..N {
            for j in 0..N {
                best[j] = max_plus(x[i], matrix[i][j], best[j]);
            }
        }
        *y = best;
    }
}

impl Width for Any {
    type Row<'b> = &'b mut [f64];
    type Matrix<'m> = &'m [f64];
    type Table<'m> = &'m [f64];

    #[inline(always)]
    fn row(self, memory: &mut [f64]) -> Option<&mut [f64]> {
        memory.get_mut(..self.0)
    }

    #[inline(always)]
    fn matrix(self, values: &[f64]) -> Option<&[f64]> {
        (values.len() == self.0 * self.0).then_some(values)
    }

    #[inline(always)]
    fn table(self, values: &[f64]) -> &[f64] {
        values
    }

    #[inline(always)]
    fn get<'m>(self, table: Self::Table<'m>, k: usize) -> Option<&'m [f64]> {
        table.get(k * self.0..(k + 1) * self.0)
    }

    #[inline(always)]
    fn product(self, x: &&mut [f64], matrix: &[f64], y: &mut &mut [f64]) {
        y.fill(0.0);
        blocked(x, matrix, y, plus);
    }

    #[inline(always)]
    fn apply(self, x: &[f64], matrix: &[f64], y: &mut [f64]) {
        y.fill(0.0);
        blocked(x, matrix, y, plus);
    }

    #[inline(always)]
    fn max_product(self, x: &&mut [f64], matrix: &[f64], y: &mut &mut [f64]) {
        y.fill(f64::NEG_INFINITY);
        blocked(x, matrix, y, max_plus);
    }
}

/// `y = x M` for a row-major square matrix of the size of both.
pub(crate) fn product(x: &[f64], matrix: &[f64], y: &mut [f64]) {
    with_width!(y.len(), w => w.apply(x, matrix, y));
}

#[inline(always)]
fn plus(x: f64, m: f64, sum: f64) -> f64 {
    mul_add(x, m, sum)
}

/// Written so that it compiles to one maximum instruction, unlike `f64::max`.
#[inline(always)]
fn max_plus(x: f64, m: f64, best: f64) -> f64 {
    let candidate = x + m;
    if candidate > best { candidate } else { best }
}

/// A vector-matrix product of any kind, in blocks of columns whose sums stay in registers. `y` holds the neutral
/// element before.
#[inline(always)]
fn blocked(x: &[f64], matrix: &[f64], y: &mut [f64], combine: impl Fn(f64, f64, f64) -> f64 + Copy) {
    let width = y.len();
    let mut start = 0;
    while width - start >= BLOCK {
        columns::<BLOCK>(x, matrix, y, start, combine);
        start += BLOCK;
    }
    while width - start >= 4 {
        columns::<4>(x, matrix, y, start, combine);
        start += 4;
    }
    while start < width {
        columns::<1>(x, matrix, y, start, combine);
        start += 1;
    }
}

/// The columns `start..start + B`; sums start from what `y` holds.
#[inline(always)]
fn columns<const B: usize>(
    x: &[f64],
    matrix: &[f64],
    y: &mut [f64],
    start: usize,
    combine: impl Fn(f64, f64, f64) -> f64 + Copy,
) {
    let width = y.len();
    let Some(out) = y.get_mut(start..).and_then(|y| y.first_chunk_mut::<B>()) else { return };
    let mut sums = *out;
    for (&x, row) in x.iter().zip(matrix.chunks_exact(width)) {
        if let Some(row) = row.get(start..).and_then(|row| row.first_chunk::<B>()) {
            for (sum, m) in sums.iter_mut().zip(row) {
                *sum = combine(x, *m, *sum);
            }
        }
    }
    *out = sums;
}

/// Up to this many states a product is unrolled as a whole.
const SMALL: usize = 8;
/// Columns of a block: eight registers of two numbers.
const BLOCK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn run<W: Width>(w: W, n: usize, x: &[f64], matrix: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mut memory, mut other) = (x.to_vec(), vec![0.0; n]);
        let x = w.row(&mut memory).unwrap();
        let mut y = w.row(&mut other).unwrap();
        let matrix = w.matrix(matrix).unwrap();
        w.product(&x, matrix, &mut y);
        let sums = y.as_ref().to_vec();
        w.max_product(&x, matrix, &mut y);
        (sums, y.as_ref().to_vec())
    }

    #[test]
    fn products_agree_with_the_definition_at_every_width() {
        for n in 1..=37 {
            let x: Vec<f64> = (0..n).map(|i| 1.0 + (i * 7 % 5) as f64).collect();
            let matrix: Vec<f64> = (0..n * n).map(|k| (k * 13 % 11) as f64 - 3.0).collect();
            let (sums, maxima) = with_width!(n, w => run(w, n, &x, &matrix));
            for j in 0..n {
                let sum: f64 = (0..n).map(|i| x[i] * matrix[i * n + j]).sum();
                let max = (0..n).map(|i| x[i] + matrix[i * n + j]).fold(f64::NEG_INFINITY, f64::max);
                assert_eq!((sums[j], maxima[j]), (sum, max), "n {n} column {j}");
            }
        }
    }
}
