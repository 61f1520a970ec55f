//! Products with packed bits, in one fixed order of operations: no fused multiply-add, no re-association.

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::delta::PackedDelta;
use crate::element::Element;
use crate::error::{Error, Extent, Result};
use crate::kernel::Plane;
use crate::layout::{TILE_COLS, TILE_ROWS};
use crate::matrix::{MatMut, MatRef};
use crate::options::Granularity;
use crate::workspace::Workspace;

/// One product of a batch: `y += delta x`.
#[derive(Debug)]
pub struct Job<'a> {
    /// The delta; jobs that share one share the reads of its bits.
    pub delta: &'a PackedDelta,
    /// Input, one value a column.
    pub x: &'a [f32],
    /// Output, one value a row.
    pub y: &'a mut [f32],
}

impl PackedDelta {
    /// `y += D x`, computed on the packed bits: `rows * cols / 8` table look-ups a plane, no allocation with a used
    /// workspace.
    ///
    /// Each row sums `±x` in groups of 8 columns and segments of 1024, multiplies by the scale, and adds to `y` last, all
    /// in `f32` with ordinary rounding. The bits of the result are the same for every backend and machine.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when `x` is not `cols` or `y` not `rows` long; [`Error::NonFinite`] for an input or
    /// an output value that is not finite; [`Error::Overflow`] when the sum of `|x|`, also times the largest scale, is
    /// above `f32::MAX / 4`, or a result overflows. `y` is untouched then.
    ///
    /// ```
    /// use hanzo_bitdelta::{Granularity, MatRef, PackOptions, PackedDelta, Workspace};
    /// let delta = MatRef::new(&[0.5_f32, -0.5, 0.5, 0.5], 2, 2)?;
    /// let packed = PackedDelta::from_delta(delta, &PackOptions::new().granularity(Granularity::Tensor))?;
    /// let mut y = [10.0, 20.0];
    /// packed.matvec_acc(&[1.0, 2.0], &mut y, &mut Workspace::new())?;
    /// assert_eq!(y, [9.5, 21.5]);
    /// # Ok::<(), hanzo_bitdelta::Error>(())
    /// ```
    pub fn matvec_acc(&self, x: &[f32], y: &mut [f32], ws: &mut Workspace) -> Result<()> {
        let x = MatRef::new(x, 1, x.len())?;
        let len = y.len();
        self.matmul_acc(x, MatMut::new(y, 1, len)?, ws)
    }

    /// [`matvec_acc`](Self::matvec_acc) for each row of `x` (a token) into the same row of `y`, bit for bit: a token's
    /// result does not depend on the others.
    ///
    /// # Errors
    /// As for [`matvec_acc`](Self::matvec_acc); `x` has to be `tokens x cols`, `y` `tokens x rows`.
    pub fn matmul_acc(&self, x: MatRef<'_, f32>, mut y: MatMut<'_, f32>, ws: &mut Workspace) -> Result<()> {
        let tokens = x.rows();
        Extent::check(&[tokens, self.cols()], &[tokens, x.cols()])?;
        Extent::check(&[tokens, self.rows()], &[y.rows(), y.cols()])?;
        for t in 0..tokens {
            self.check_input(x.row(t), t)?;
        }
        if self.is_empty() {
            return Ok(());
        }
        let stride = self.padded_rows();
        ws.results.clear();
        ws.results.resize(tokens * stride, 0.0);
        self.add_products(tokens, |t| x.row(t), ws);
        for (t, results) in ws.results.chunks_exact(stride).enumerate() {
            check_sums(y.as_ref().row(t), &[results], t)?;
        }
        for (t, results) in ws.results.chunks_exact(stride).enumerate() {
            add(y.row_mut(t), results);
        }
        Ok(())
    }

    /// `y += W x + D x`, with the bits of [`dense_matvec_acc`] followed by [`matvec_acc`](Self::matvec_acc).
    ///
    /// # Errors
    /// Those of the two calls; `y` is untouched then.
    pub fn fused_matvec_acc<T: Element>(
        &self,
        base: MatRef<'_, T>,
        x: &[f32],
        y: &mut [f32],
        ws: &mut Workspace,
    ) -> Result<()> {
        Extent::check(&[self.rows(), self.cols()], &[base.rows(), base.cols()])?;
        Extent::check(&[self.cols()], &[x.len()])?;
        Extent::check(&[self.rows()], &[y.len()])?;
        self.check_input(x, 0)?;
        if self.is_empty() {
            return Ok(());
        }
        dense_products(base, x, &mut ws.dense)?;
        ws.results.clear();
        ws.results.resize(self.padded_rows(), 0.0);
        self.add_products(1, |_| x, ws);
        check_sums(y, &[&ws.dense, &ws.results], 0)?;
        add(y, &ws.dense);
        add(y, &ws.results);
        Ok(())
    }

    /// Proves that no partial sum of a product with `x` leaves the range of `f32`.
    fn check_input(&self, x: &[f32], token: usize) -> Result<()> {
        let sum = sum_abs(x, None);
        if !sum.is_finite() {
            return Err(locate("x", x, token));
        }
        let overflow = Err(Error::Overflow { what: "product" });
        let mut bound = 0.0;
        for plane in 0..self.planes() {
            let scaled = match self.column_scales(plane) {
                scales @ Some(_) => sum_abs(x, scales),
                None => sum,
            };
            bound += scaled * f64::from(self.largest_scale(plane));
            if !(scaled <= LIMIT && bound <= LIMIT) {
                return overflow;
            }
        }
        Ok(())
    }

    fn padded_rows(&self) -> usize {
        self.grid().bands() * TILE_ROWS
    }

    /// Adds to `ws.results`, `padded_rows` a token, the products with inputs that [`check_input`](Self::check_input) let pass.
    fn add_products<'x>(&self, tokens: usize, x: impl Fn(usize) -> &'x [f32], ws: &mut Workspace) {
        let rows = self.padded_rows();
        let mut results = core::mem::take(&mut ws.results);
        for (chunk, results) in results.chunks_mut(TOKENS * rows).enumerate() {
            let first = chunk * TOKENS;
            self.add_chunk(tokens.min(first + TOKENS) - first, |t| x(first + t), results, ws);
        }
        ws.results = results;
    }

    /// [`add_products`](Self::add_products) for a few tokens.
    fn add_chunk<'x>(&self, tokens: usize, x: impl Fn(usize) -> &'x [f32], results: &mut [f32], ws: &mut Workspace) {
        let grid = self.grid();
        let padded_cols = grid.words() * TILE_COLS;
        let block_words = self.granularity().block_cols(self.cols()).div_ceil(TILE_COLS);
        ws.inputs.clear();
        ws.inputs.resize(tokens * padded_cols, 0.0);
        ws.totals.clear();
        ws.totals.resize(tokens * self.padded_rows(), 0.0);
        for plane in 0..self.planes() {
            for (t, input) in ws.inputs.chunks_exact_mut(padded_cols).enumerate() {
                match self.column_scales(plane) {
                    Some(scales) => {
                        for ((input, &x), &scale) in input.iter_mut().zip(x(t)).zip(scales) {
                            *input = scale * x;
                        }
                    }
                    None => input[..self.cols()].copy_from_slice(x(t)),
                }
            }
            let mut start = 0;
            for block in 0.. {
                let end = grid.words().min(start + block_words);
                if start == end {
                    break;
                }
                let part = Plane { grid, tiles: self.plane(plane), words: start..end };
                ws.backend.block_totals(&part, &ws.inputs, &mut ws.scratch, &mut ws.totals);
                let totals = ws.totals.chunks_exact(self.padded_rows());
                for (results, totals) in results.chunks_exact_mut(self.padded_rows()).zip(totals) {
                    self.add_scaled(plane, block, results, totals);
                }
                start = end;
            }
        }
    }

    /// `results[i] += scale of row i in this block * totals[i]`.
    fn add_scaled(&self, plane: usize, block: usize, results: &mut [f32], totals: &[f32]) {
        let pairs = results.iter_mut().zip(totals).take(self.rows());
        let scales = self.plane_scales(plane);
        match self.granularity() {
            Granularity::Tensor => pairs.for_each(|(z, total)| *z += scales[0] * total),
            Granularity::Col => pairs.for_each(|(z, total)| *z += total),
            Granularity::Row | Granularity::RowCol => {
                pairs.zip(scales).for_each(|((z, total), scale)| *z += scale * total);
            }
            Granularity::Block(_) => {
                let blocks = self.blocks();
                let scales = scales.iter().skip(block).step_by(blocks);
                pairs.zip(scales).for_each(|((z, total), scale)| *z += scale * total);
            }
        }
    }
}

/// `y += D x` for every job. Jobs on the same delta (the same object) share the reads of its bits. Every result has
/// the bits of [`PackedDelta::matvec_acc`] for that job alone.
///
/// # Errors
/// As for [`PackedDelta::matvec_acc`], for the first job at fault; then every `y` is untouched.
pub fn batched_matvec_acc(jobs: &mut [Job<'_>], ws: &mut Workspace) -> Result<()> {
    for job in jobs.iter() {
        Extent::check(&[job.delta.cols()], &[job.x.len()])?;
        Extent::check(&[job.delta.rows()], &[job.y.len()])?;
        job.delta.check_input(job.x, 0)?;
    }
    // Jobs by delta, in the order of each delta's first job.
    let mut groups: Vec<(&PackedDelta, Vec<usize>)> = Vec::new();
    for (index, job) in jobs.iter().enumerate().filter(|(_, job)| !job.delta.is_empty()) {
        match groups.iter_mut().find(|(delta, _)| core::ptr::eq(*delta, job.delta)) {
            Some((_, members)) => members.push(index),
            None => groups.push((job.delta, alloc::vec![index])),
        }
    }
    let mut results: Vec<Vec<f32>> = Vec::with_capacity(groups.len());
    for (delta, members) in &groups {
        ws.results.clear();
        ws.results.resize(members.len() * delta.padded_rows(), 0.0);
        delta.add_products(members.len(), |t| jobs[members[t]].x, ws);
        for (&index, sums) in members.iter().zip(ws.results.chunks_exact(delta.padded_rows())) {
            check_sums(jobs[index].y, &[sums], 0)?;
        }
        results.push(ws.results.clone());
    }
    for ((delta, members), results) in groups.iter().zip(&results) {
        for (&index, sums) in members.iter().zip(results.chunks_exact(delta.padded_rows())) {
            add(jobs[index].y, sums);
        }
    }
    Ok(())
}

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
    dense_products(w, x, &mut ws.dense)?;
    check_sums(y, &[&ws.dense], 0)?;
    add(y, &ws.dense);
    Ok(())
}

/// The products of all rows with a finite `x`.
fn dense_products<T: Element>(w: MatRef<'_, T>, x: &[f32], out: &mut Vec<f32>) -> Result<()> {
    out.clear();
    out.extend((0..w.rows()).map(|i| dot(w.row(i), x)));
    if out.iter().all(|sum| sum.is_finite()) {
        return Ok(());
    }
    for i in 0..w.rows() {
        if let Some(col) = w.row(i).iter().position(|w| !w.to_f32().is_finite()) {
            return Err(Error::NonFinite { tensor: "base".to_string(), row: i, col });
        }
    }
    Err(Error::Overflow { what: "product" })
}

#[inline]
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

/// Adds 32 lanes in halves: `l` and `l + 16`, then 8, 4, 2, 1.
#[inline]
pub(crate) fn halving_sum(lanes: &[f32; LANES]) -> f32 {
    let a: [f32; 16] = core::array::from_fn(|l| lanes[l] + lanes[l + 16]);
    let b: [f32; 8] = core::array::from_fn(|l| a[l] + a[l + 8]);
    let c: [f32; 4] = core::array::from_fn(|l| b[l] + b[l + 4]);
    (c[0] + c[2]) + (c[1] + c[3])
}

/// Sum of `|x|`, or of `|scale x|`. Only compared with limits, so that its order does not show in results.
fn sum_abs(x: &[f32], scales: Option<&[f32]>) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let mut add = |values: [f32; 8]| {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += f64::from(value.abs());
        }
    };
    let (chunks, tail) = x.as_chunks::<8>();
    let mut last = [0.0; 8];
    last[..tail.len()].copy_from_slice(tail);
    match scales {
        None => {
            chunks.iter().for_each(|x| add(*x));
            add(last);
        }
        Some(scales) => {
            let (scale_chunks, scale_tail) = scales.as_chunks::<8>();
            for (x, scale) in chunks.iter().zip(scale_chunks) {
                add(core::array::from_fn(|l| scale[l] * x[l]));
            }
            last.iter_mut().zip(scale_tail).for_each(|(x, scale)| *x *= scale);
            add(last);
        }
    }
    lanes.iter().sum()
}

/// Checks that an input is finite.
pub(crate) fn check_vector(x: &[f32]) -> Result<()> {
    if sum_abs(x, None).is_finite() { Ok(()) } else { Err(locate("x", x, 0)) }
}

/// Proves that adding all of `terms` to `y`, one after the other, stays finite.
fn check_sums(y: &[f32], terms: &[&[f32]], token: usize) -> Result<()> {
    for (i, &start) in y.iter().enumerate() {
        let mut sum = start;
        for term in terms {
            sum += term[i];
        }
        if !sum.is_finite() {
            return Err(if start.is_finite() { Error::Overflow { what: "sum" } } else { locate("y", y, token) });
        }
    }
    Ok(())
}

fn add(y: &mut [f32], terms: &[f32]) {
    for (y, term) in y.iter_mut().zip(terms) {
        *y += term;
    }
}

/// The error for a vector that is known to hold a value that is not finite.
fn locate(tensor: &str, values: &[f32], row: usize) -> Error {
    let col = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
    Error::NonFinite { tensor: tensor.to_string(), row, col }
}

pub(crate) const LANES: usize = 32;

/// Tokens whose inputs and sums are in flight at a time; bounds the buffers.
const TOKENS: usize = 8;

/// Largest bound on the magnitude of a partial sum.
const LIMIT: f64 = f32::MAX as f64 / 4.0;
