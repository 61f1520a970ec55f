//! Rows of states: arrays where their number is small and known, slices elsewhere.

use std::hint::black_box;

use super::arith::mul_add;
use super::dispatch::{Arch, Level, Task};
use super::scaled::multiply;

/// A number of states, known to the compiler or not.
pub(crate) trait Width: Copy {
    /// One value a state.
    type Row<'b>: AsRef<[f64]> + AsMut<[f64]>;
    /// A square matrix.
    type Matrix<'m>: Copy;
    /// Many rows.
    type Table<'m>: Copy;

    /// Number of states, which the compiler knows for the common ones.
    fn n(self) -> usize;

    /// A row that starts with the values in `memory`, which is its place where it is not an array.
    fn row(self, memory: &mut [f64]) -> Option<Self::Row<'_>>;

    /// The matrix in `values`, if that holds one.
    fn matrix(self, values: &[f64]) -> Option<Self::Matrix<'_>>;

    /// The rows in `values`.
    fn table(self, values: &[f64]) -> Self::Table<'_>;

    /// One row of a table.
    fn get<'m>(self, table: Self::Table<'m>, k: usize) -> Option<&'m [f64]>;

    /// `y = x M`. The order of the additions depends on the width alone.
    fn product<A: Arch>(self, x: &Self::Row<'_>, matrix: Self::Matrix<'_>, y: &mut Self::Row<'_>);

    /// `x = (x M) .* w`, one step of the forward recursion; `scratch` is memory.
    #[inline(always)]
    fn step_forward<A: Arch>(
        self,
        x: &mut Self::Row<'_>,
        matrix: Self::Matrix<'_>,
        weights: &[f64],
        scratch: &mut Self::Row<'_>,
    ) {
        self.product::<A>(x, matrix, scratch);
        multiply(x.as_mut(), scratch.as_ref(), weights);
    }

    /// `x = (x .* w) M`, one step of the backward recursion; `scratch` is memory.
    #[inline(always)]
    fn step_backward<A: Arch>(
        self,
        x: &mut Self::Row<'_>,
        weights: &[f64],
        matrix: Self::Matrix<'_>,
        scratch: &mut Self::Row<'_>,
    ) {
        multiply(scratch.as_mut(), x.as_ref(), weights);
        self.product::<A>(scratch, matrix, x);
    }

    /// The same on slices.
    fn apply<A: Arch>(self, x: &[f64], matrix: &[f64], y: &mut [f64]);

    /// `y_j = max_i (x_i + M_ij)`.
    fn max_product<A: Arch>(self, x: &Self::Row<'_>, matrix: Self::Matrix<'_>, y: &mut Self::Row<'_>);
}

/// `N` states.
#[derive(Clone, Copy)]
pub(crate) struct Fixed<const N: usize>;

/// A row that starts where a cache line does.
#[repr(align(64))]
struct OnLine<const N: usize>([f64; N]);

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
            // Wider rows are slices whose length is known all the same.
            32 => {
                let $w = Any(32);
                $body
            }
            64 => {
                let $w = Any(64);
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
    fn n(self) -> usize {
        N
    }

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
    fn product<A: Arch>(self, x: &[f64; N], matrix: &[[f64; N]; N], y: &mut [f64; N]) {
        if N > SMALL {
            // Through memory: from there a number reaches all lanes with one instruction, which takes several from a
            // register, and a row comes back as whole vectors and not in pieces. Copies, so that `x` and `y` may
            // stay in registers.
            let (copy, mut out) = (OnLine(*x), OnLine([0.0; N]));
            let OnLine(x) = black_box::<&OnLine<N>>(&copy);
            blocked::<A, true>(x, matrix.as_flattened(), &mut out.0, plus::<A>, |a, b| a + b);
            *y = black_box::<&OnLine<N>>(&out).0;
            return;
        }
        // Even and odd rows apart: two short chains of additions in place of a long one.
        let (mut even, mut odd) = ([0.0; N], [0.0; N]);
        for i in 0..N {
            let sum = if i % 2 == 0 { &mut even } else { &mut odd };
            for j in 0..N {
                sum[j] = if i < 2 { x[i] * matrix[i][j] } else { mul_add::<A>(x[i], matrix[i][j], sum[j]) };
            }
        }
        for j in 0..N {
            y[j] = if N > 1 { even[j] + odd[j] } else { even[j] };
        }
    }

    /// For a few states the weights go into the matrix, which does not wait for `x`.
    #[inline(always)]
    fn step_forward<A: Arch>(self, x: &mut [f64; N], matrix: &[[f64; N]; N], weights: &[f64], scratch: &mut [f64; N]) {
        let Some(weights) = weights.first_chunk::<N>().filter(|_| N <= FEW) else {
            self.product::<A>(x, matrix, scratch);
            return multiply(x, scratch, weights);
        };
        let mut own = *matrix;
        for row in &mut own {
            for (p, weight) in row.iter_mut().zip(weights) {
                *p *= weight;
            }
        }
        self.product::<A>(x, &own, scratch);
        *x = *scratch;
    }

    #[inline(always)]
    fn step_backward<A: Arch>(self, x: &mut [f64; N], weights: &[f64], matrix: &[[f64; N]; N], scratch: &mut [f64; N]) {
        let Some(weights) = weights.first_chunk::<N>().filter(|_| N <= FEW) else {
            multiply(scratch, x, weights);
            return self.product::<A>(scratch, matrix, x);
        };
        let mut own = *matrix;
        for (row, weight) in own.iter_mut().zip(weights) {
            for p in row {
                *p *= weight;
            }
        }
        self.product::<A>(x, &own, scratch);
        *x = *scratch;
    }

    #[inline(always)]
    fn apply<A: Arch>(self, x: &[f64], matrix: &[f64], y: &mut [f64]) {
        if let (Some(x), Some(matrix), Some(y)) = (x.first_chunk(), self.matrix(matrix), y.first_chunk_mut()) {
            self.product::<A>(x, matrix, y);
        }
    }

    #[inline(always)]
    fn max_product<A: Arch>(self, x: &[f64; N], matrix: &[[f64; N]; N], y: &mut [f64; N]) {
        if N > SMALL {
            let (copy, mut out) = (OnLine(*x), OnLine([f64::NEG_INFINITY; N]));
            let OnLine(x) = black_box::<&OnLine<N>>(&copy);
            blocked::<A, false>(x, matrix.as_flattened(), &mut out.0, max_plus, larger);
            *y = black_box::<&OnLine<N>>(&out).0;
            return;
        }
        let (mut even, mut odd) = ([f64::NEG_INFINITY; N], [f64::NEG_INFINITY; N]);
        for i in 0..N {
            let best = if i % 2 == 0 { &mut even } else { &mut odd };
            for j in 0..N {
                best[j] = max_plus(x[i], matrix[i][j], best[j]);
            }
        }
        for j in 0..N {
            y[j] = larger(even[j], odd[j]);
        }
    }
}

impl Width for Any {
    type Row<'b> = &'b mut [f64];
    type Matrix<'m> = &'m [f64];
    type Table<'m> = &'m [f64];

    #[inline(always)]
    fn n(self) -> usize {
        self.0
    }

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
        table.get(k * self.0..)?.get(..self.0)
    }

    #[inline(always)]
    fn product<A: Arch>(self, x: &&mut [f64], matrix: &[f64], y: &mut &mut [f64]) {
        let (Some(x), Some(y)) = (x.get(..self.0), y.get_mut(..self.0)) else { return };
        y.fill(0.0);
        blocked::<A, true>(x, matrix, y, plus::<A>, |a, b| a + b);
    }

    #[inline(always)]
    fn apply<A: Arch>(self, x: &[f64], matrix: &[f64], y: &mut [f64]) {
        y.fill(0.0);
        blocked::<A, true>(x, matrix, y, plus::<A>, |a, b| a + b);
    }

    #[inline(always)]
    fn max_product<A: Arch>(self, x: &&mut [f64], matrix: &[f64], y: &mut &mut [f64]) {
        let (Some(x), Some(y)) = (x.get(..self.0), y.get_mut(..self.0)) else { return };
        y.fill(f64::NEG_INFINITY);
        blocked::<A, false>(x, matrix, y, max_plus, larger);
    }
}

/// `y = x M` for a row-major square matrix of the size of both.
pub(crate) fn product(x: &[f64], matrix: &[f64], y: &mut [f64]) {
    Level::best().run(Product { x, matrix, y });
}

struct Product<'p> {
    x: &'p [f64],
    matrix: &'p [f64],
    y: &'p mut [f64],
}

impl Task for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arch>(self, _arch: A) {
        with_width!(self.y.len(), w => w.apply::<A>(self.x, self.matrix, self.y));
    }
}

#[inline(always)]
fn plus<A: Arch>(x: f64, m: f64, sum: f64) -> f64 {
    mul_add::<A>(x, m, sum)
}

/// Written so that it compiles to one maximum instruction, unlike `f64::max`.
#[inline(always)]
fn max_plus(x: f64, m: f64, best: f64) -> f64 {
    let candidate = x + m;
    if candidate > best { candidate } else { best }
}

/// The larger one, the first among equals. One maximum instruction, unlike `f64::max`.
#[inline(always)]
pub(super) fn larger(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}

/// A vector-matrix product of any kind, in blocks of columns whose sums stay in registers. `y` holds the neutral
/// element before. `SPLIT` is for sums: 32 columns in two ways stay in registers where 64 columns may not, while maxima
/// of two ways are not compiled to vectors.
#[inline(always)]
fn blocked<A: Arch, const SPLIT: bool>(
    x: &[f64],
    matrix: &[f64],
    y: &mut [f64],
    combine: impl Fn(f64, f64, f64) -> f64 + Copy,
    join: impl Fn(f64, f64) -> f64 + Copy,
) {
    let width = y.len();
    let mut start = 0;
    while A::BLOCK >= 64 && !SPLIT && width - start >= 64 {
        columns::<64, 1>(x, matrix, y, start, combine, join);
        start += 64;
    }
    while A::BLOCK >= 32 && width - start >= 32 {
        match (A::WAYS, SPLIT) {
            (4, true) => columns::<32, 2>(x, matrix, y, start, combine, join),
            _ => columns::<32, 1>(x, matrix, y, start, combine, join),
        }
        start += 32;
    }
    while width - start >= 16 {
        match A::WAYS {
            4 => columns::<16, 4>(x, matrix, y, start, combine, join),
            2 => columns::<16, 2>(x, matrix, y, start, combine, join),
            _ => columns::<16, 1>(x, matrix, y, start, combine, join),
        }
        start += 16;
    }
    while width - start >= 4 {
        columns::<4, 2>(x, matrix, y, start, combine, join);
        start += 4;
    }
    while start < width {
        columns::<1, 2>(x, matrix, y, start, combine, join);
        start += 1;
    }
}

/// The columns `start..start + B`; `y` holds the neutral element. Rows go to `W` sums in turn, which are joined at the
/// end: a sum has to wait for the one before it.
#[inline(always)]
fn columns<const B: usize, const W: usize>(
    x: &[f64],
    matrix: &[f64],
    y: &mut [f64],
    start: usize,
    combine: impl Fn(f64, f64, f64) -> f64 + Copy,
    join: impl Fn(f64, f64) -> f64 + Copy,
) {
    let width = y.len();
    let Some(out) = y.get_mut(start..).and_then(|y| y.first_chunk_mut::<B>()) else { return };
    let mut sums = [*out; W];
    let (groups, rest) = x.as_chunks::<W>();
    let mut rows = matrix.chunks_exact(width * W);
    for (x, rows) in groups.iter().zip(rows.by_ref()) {
        for k in 0..W {
            if let Some(row) = rows.get(k * width + start..).and_then(|row| row.first_chunk::<B>()) {
                for j in 0..B {
                    sums[k][j] = combine(x[k], row[j], sums[k][j]);
                }
            }
        }
    }
    for (x, row) in rest.iter().zip(rows.remainder().chunks_exact(width)) {
        if let Some(row) = row.get(start..).and_then(|row| row.first_chunk::<B>()) {
            for j in 0..B {
                sums[0][j] = combine(*x, row[j], sums[0][j]);
            }
        }
    }
    for j in 0..B {
        out[j] = match W {
            4 => join(join(sums[0][j], sums[W / 2][j]), join(sums[W / 4][j], sums[W - 1][j])),
            2 => join(sums[0][j], sums[W - 1][j]),
            _ => sums[0][j],
        };
    }
}

/// Up to this many states a product is unrolled as a whole.
const SMALL: usize = 8;
/// Up to this many states there is time to weigh the matrix at every step.
const FEW: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    struct Both<'p>(&'p [f64], &'p [f64]);

    impl Task for Both<'_> {
        type Output = (Vec<f64>, Vec<f64>);

        fn run<A: Arch>(self, _arch: A) -> Self::Output {
            with_width!(self.0.len(), w => products::<A, _>(w, self.0.len(), self.0, self.1))
        }
    }

    fn products<A: Arch, W: Width>(w: W, n: usize, x: &[f64], matrix: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mut memory, mut other) = (x.to_vec(), vec![0.0; n]);
        let x = w.row(&mut memory).unwrap();
        let mut y = w.row(&mut other).unwrap();
        let matrix = w.matrix(matrix).unwrap();
        w.product::<A>(&x, matrix, &mut y);
        let sums = y.as_ref().to_vec();
        w.max_product::<A>(&x, matrix, &mut y);
        (sums, y.as_ref().to_vec())
    }

    #[test]
    fn products_agree_with_the_definition_at_every_width() {
        for (n, level) in (1..=70).flat_map(|n| Level::all().into_iter().map(move |level| (n, level))) {
            let x: Vec<f64> = (0..n).map(|i| 1.0 + (i * 7 % 5) as f64).collect();
            let matrix: Vec<f64> = (0..n * n).map(|k| (k * 13 % 11) as f64 - 3.0).collect();
            let (sums, maxima) = level.run(Both(&x, &matrix));
            for j in 0..n {
                let sum: f64 = (0..n).map(|i| x[i] * matrix[i * n + j]).sum();
                let max = (0..n).map(|i| x[i] + matrix[i * n + j]).fold(f64::NEG_INFINITY, f64::max);
                assert_eq!((sums[j], maxima[j]), (sum, max), "n {n} column {j} {level:?}");
            }
        }
    }
}
