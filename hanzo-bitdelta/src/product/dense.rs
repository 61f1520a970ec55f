//! Products with the dense base.

use alloc::string::ToString;

use super::{LANES, add, check_sums, check_vector, halving_sum};
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
/// [`Error::ShapeMismatch`] when the lengths do not fit; [`Error::NonFinite`] for an input that is not finite;
/// [`Error::Overflow`] when a result would be. `y` is untouched then.
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
        match isa {
            // As many inputs at a time as there are registers for their lanes.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => self.products::<4>(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => self.products::<2>(),
            Isa::Portable => self.products::<1>(),
        }
    }
}

impl<T: Element> Rows<'_, '_, T> {
    #[inline(always)]
    fn products<const N: usize>(self) {
        let Self { w, xs, first, len, out } = self;
        let (groups, rest) = xs.as_chunks::<N>();
        for i in 0..len {
            let row = w.row(first + i);
            for (g, xs) in groups.iter().enumerate() {
                for (k, sum) in dots(row, xs).into_iter().enumerate() {
                    out[(g * N + k) * len + i] = sum;
                }
            }
            for (k, x) in rest.iter().enumerate() {
                let [sum] = dots(row, &[*x]);
                out[(groups.len() * N + k) * len + i] = sum;
            }
        }
    }
}

#[inline(always)]
fn dots<T: Element, const N: usize>(w: &[T], xs: &[&[f32]; N]) -> [f32; N] {
    let (w_chunks, w_tail) = w.as_chunks::<LANES>();
    let x_chunks: [&[[f32; LANES]]; N] = core::array::from_fn(|n| &xs[n].as_chunks::<LANES>().0[..w_chunks.len()]);
    let mut lanes = [[0.0_f32; LANES]; N];
    for (c, w) in w_chunks.iter().enumerate() {
        for (lanes, x) in lanes.iter_mut().zip(&x_chunks) {
            let x = &x[c];
            for l in 0..LANES {
                lanes[l] += w[l].to_f32() * x[l];
            }
        }
    }
    if w_tail.is_empty() {
        return core::array::from_fn(|n| halving_sum(&lanes[n]));
    }
    // A copy, so that the lanes above stay in registers.
    let mut last = lanes;
    for (last, x) in last.iter_mut().zip(xs) {
        for ((lane, w), x) in last.iter_mut().zip(w_tail).zip(&x[w.len() - w_tail.len()..]) {
            *lane += w.to_f32() * x;
        }
    }
    core::array::from_fn(|n| halving_sum(&last[n]))
}
