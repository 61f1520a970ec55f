//! Products with the dense base.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::{LANES, add, check_sums, check_vector, halving_sum};
use crate::dtype::Dtype;
use crate::element::Element;
use crate::error::{Error, Extent, Result};
use crate::kernel::{Isa, Op};
use crate::matrix::MatRef;
use crate::workspace::Workspace;

/// `y += W x` for a dense matrix: the product of the base model.
///
/// Column `j` of a row is added to lane `j mod 32`, in ascending order; the lanes are then added in halves (16, 8, 4, 2,
/// 1), and the sum to `y`.
///
/// # Errors
/// [`Error::ShapeMismatch`] when the lengths do not fit; [`Error::NonFinite`] for a weight, an input or an output value that
/// is not finite; [`Error::Overflow`] when a result would not be. `y` is untouched then.
pub fn dense_matvec_acc<T: Element>(w: MatRef<'_, T>, x: &[f32], y: &mut [f32], ws: &mut Workspace) -> Result<()> {
    Extent::check(&[w.cols()], &[x.len()])?;
    Extent::check(&[w.rows()], &[y.len()])?;
    check_vector(x)?;
    if w.cols() == 0 {
        return Ok(());
    }
    products(w, &[x], ws)?;
    check_sums(y, &[&ws.dense], 0)?;
    add(y, &ws.dense);
    Ok(())
}

/// Sets `ws.dense`, a row of results for each `x`, to the products of all rows with finite inputs, none of which is empty.
pub(super) fn products<T: Element>(w: MatRef<'_, T>, xs: &[&[f32]], ws: &mut Workspace) -> Result<()> {
    let rows = w.rows();
    ws.dense.clear();
    ws.dense.resize(rows * xs.len(), 0.0);
    let parts = ws.parts(rows, rows * w.cols() / 64 * xs.len());
    #[cfg(feature = "rayon")]
    if parts > 1 {
        use rayon::prelude::*;
        let size = rows.div_ceil(parts);
        // Rounding up may leave nothing for the last ones.
        let parts = rows.div_ceil(size);
        let engine = ws.engine;
        ws.lanes[..parts].par_iter_mut().enumerate().for_each(|(part, lane)| {
            let first = rows.min(part * size);
            let len = size.min(rows - first);
            lane.results.clear();
            lane.results.resize(len * xs.len(), 0.0);
            engine.run(Rows { w, xs, first, out: &mut lane.results, len });
        });
        for (part, lane) in ws.lanes[..parts].iter().enumerate() {
            let first = rows.min(part * size);
            let len = size.min(rows - first);
            for (out, own) in ws.dense.chunks_exact_mut(rows).zip(lane.results.chunks_exact(len.max(1))) {
                out[first..first + len].copy_from_slice(own);
            }
        }
        return check(w, &ws.dense);
    }
    debug_assert_eq!(parts, 1);
    ws.engine.run(Rows { w, xs, first: 0, out: &mut ws.dense, len: rows });
    check(w, &ws.dense)
}

fn check<T: Element>(w: MatRef<'_, T>, sums: &[f32]) -> Result<()> {
    if sums.iter().all(|sum| sum.is_finite()) {
        return Ok(());
    }
    for i in 0..w.rows() {
        if let Some(col) = w.row(i).iter().position(|w| !w.to_f32().is_finite()) {
            return Err(Error::NonFinite { tensor: "base".to_string(), row: i, col });
        }
    }
    Err(Error::Overflow { what: "product" })
}

/// `out[t * len + i] = w.row(first + i) * xs[t]`.
struct Rows<'a, 'x, T> {
    w: MatRef<'a, T>,
    xs: &'a [&'x [f32]],
    first: usize,
    len: usize,
    out: &'a mut [f32],
}

impl<T: Element> Op for Rows<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self, isa: Isa) {
        match (isa, self.xs) {
            (_, &[x]) if T::DTYPE != Dtype::F32 => {
                for i in 0..self.len {
                    self.out[i] = dot(self.w.row(self.first + i), x);
                }
            }
            // As many rows and inputs at a time as there are registers for their lanes.
            (_, [_]) => self.products::<1, 1>(isa),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512(_), _) => self.products::<4, 4>(isa),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2(_), _) => self.products::<1, 2>(isa),
            (Isa::Portable, _) => self.products::<1, 1>(isa),
        }
    }
}

impl<T: Element> Rows<'_, '_, T> {
    #[inline(always)]
    fn products<const R: usize, const N: usize>(self, isa: Isa) {
        let Self { w, xs, first, len, out } = self;
        let (groups, rest) = xs.as_chunks::<N>();
        // Rows as f32, where they are not that already.
        let mut wide = vec![0.0_f32; if T::DTYPE == Dtype::F32 { 0 } else { R * w.cols() }];
        let (mut lanes, mut single) = (Vec::new(), Vec::new());
        let mut i = 0;
        while i < len {
            let count = if len - i >= R { R } else { 1 };
            let mut rows: [&[f32]; R] = [&[]; R];
            let mut parts = wide.chunks_exact_mut(w.cols());
            for (r, slot) in rows.iter_mut().enumerate().take(count) {
                let row = w.row(first + i + r);
                *slot = match (T::as_f32(row), parts.next()) {
                    (None, Some(part)) => {
                        for (wide, value) in part.iter_mut().zip(row) {
                            *wide = value.to_f32();
                        }
                        part
                    }
                    (floats, _) => floats.unwrap_or_default(),
                };
            }
            if count == R {
                tiled(isa, rows, groups, i, len, out, &mut lanes);
            } else {
                for (r, row) in rows.iter().enumerate().take(count) {
                    tiled(isa, [*row], groups, i + r, len, out, &mut single);
                }
            }
            let (pairs, last) = rest.as_chunks::<2>();
            for (r, row) in rows.iter().enumerate().take(count) {
                for (k, pair) in pairs.iter().enumerate() {
                    block(isa, [*row], *pair, (groups.len() * N + 2 * k, i + r), len, out);
                }
                for x in last {
                    block(isa, [*row], [*x], (xs.len() - 1, i + r), len, out);
                }
            }
            i += count;
        }
    }
}

/// `out[(g * N + n) * stride + i + r] = rows[r] * groups[g][n]`. With several groups, a run of columns at a time: that of
/// all inputs stays in the first-level cache while the rows, which come from further away, are read once.
#[inline(always)]
fn tiled<const R: usize, const N: usize>(
    isa: Isa,
    rows: [&[f32]; R],
    groups: &[[&[f32]; N]],
    i: usize,
    stride: usize,
    out: &mut [f32],
    lanes: &mut Vec<[[[f32; LANES]; N]; R]>,
) {
    if let [xs] = groups {
        return block(isa, rows, *xs, (0, i), stride, out);
    }
    lanes.clear();
    lanes.resize(groups.len(), [[[0.0; LANES]; N]; R]);
    let chunks = rows[0].len() / LANES;
    for start in (0..chunks).step_by(RUN) {
        let columns = LANES * start..LANES * chunks.min(start + RUN);
        for (xs, lanes) in groups.iter().zip(&mut *lanes) {
            isa.dots(parts(&rows, &columns), parts(xs, &columns), lanes);
        }
    }
    for (g, (xs, lanes)) in groups.iter().zip(lanes).enumerate() {
        finish(&rows, xs, lanes, (g * N, i), stride, out);
    }
}

/// The whole words of these columns of each vector.
#[inline(always)]
fn parts<'a, const K: usize>(vectors: &[&'a [f32]; K], columns: &Range<usize>) -> [&'a [[f32; LANES]]; K] {
    let mut parts: [&[[f32; LANES]]; K] = [&[]; K];
    for (part, vector) in parts.iter_mut().zip(vectors) {
        *part = vector[columns.clone()].as_chunks().0;
    }
    parts
}

/// `out[(t + n) * stride + i + r] = rows[r] * xs[n]`, from the lanes of the whole words.
#[inline(always)]
fn finish<const R: usize, const N: usize>(
    rows: &[&[f32]; R],
    xs: &[&[f32]; N],
    lanes: &mut [[[f32; LANES]; N]; R],
    (t, i): (usize, usize),
    stride: usize,
    out: &mut [f32],
) {
    let tail = rows[0].len() / LANES * LANES;
    for (r, (lanes, row)) in lanes.iter_mut().zip(rows).enumerate() {
        for (n, (lanes, x)) in lanes.iter_mut().zip(xs).enumerate() {
            for (lane, (w, x)) in lanes.iter_mut().zip(row[tail..].iter().zip(&x[tail..])) {
                *lane += w * x;
            }
            out[(t + n) * stride + i + r] = halving_sum(lanes);
        }
    }
}

/// `out[(t + n) * stride + i + r] = rows[r] * xs[n]`.
#[inline(always)]
fn block<const R: usize, const N: usize>(
    isa: Isa,
    rows: [&[f32]; R],
    xs: [&[f32]; N],
    at: (usize, usize),
    stride: usize,
    out: &mut [f32],
) {
    let mut lanes = [[[0.0; LANES]; N]; R];
    let columns = 0..rows[0].len() / LANES * LANES;
    isa.dots(parts(&rows, &columns), parts(&xs, &columns), &mut lanes);
    finish(&rows, &xs, &mut lanes, at, stride, out);
}

/// The product of one row that is not `f32`.
#[inline(always)]
fn dot<T: Element>(w: &[T], x: &[f32]) -> f32 {
    let (w_chunks, w_tail) = w.as_chunks::<LANES>();
    let (x_chunks, x_tail) = x.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for (w, x) in w_chunks.iter().zip(x_chunks) {
        for l in 0..LANES {
            lanes[l] += w[l].to_f32() * x[l];
        }
    }
    if w_tail.is_empty() {
        return halving_sum(&lanes);
    }
    // A copy, so that the lanes above stay in registers.
    let mut last = lanes;
    for ((lane, w), x) in last.iter_mut().zip(w_tail).zip(x_tail) {
        *lane += w.to_f32() * x;
    }
    halving_sum(&last)
}

/// Words of columns that are multiplied at a time when there are many inputs: those of 16 inputs take 32 KiB.
const RUN: usize = 16;
