//! Products with packed bits, in one fixed order of operations: no fused multiply-add, no re-association.

use alloc::string::ToString;
use core::ops::Range;

use crate::delta::PackedDelta;
use crate::element::Element;
use crate::error::{Error, Extent, Result};
use crate::kernel::{Engine, Plane};
use crate::layout::{Grid, TILE_COLS, TILE_ROWS};
use crate::matrix::{MatMut, MatRef};
use crate::options::Granularity;
use crate::workspace::{Lane, Workspace};

pub(crate) mod batch;
pub(crate) mod dense;
#[cfg(feature = "gemm")]
mod gemm;

impl PackedDelta {
    /// `y += D x`, computed on the packed bits: `O(rows * cols)` a plane, by look-ups in tables of signed sums of 2 to 8 inputs.
    /// No allocation with a used workspace.
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

    /// `y += W x + D x`, with the bits of [`dense_matvec_acc`](crate::dense_matvec_acc) followed by [`matvec_acc`](Self::matvec_acc).
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
        dense::products(base, &[x], ws)?;
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
        // Where columns have scales, every plane has inputs of its own.
        let sets = if self.column_scales(0).is_some() { self.planes() } else { 1 };
        ws.inputs.resize(sets * tokens * padded_cols, 0.0);
        for (index, input) in ws.inputs.chunks_exact_mut(padded_cols).enumerate() {
            let (plane, x) = (index / tokens, x(index % tokens));
            match self.column_scales(plane) {
                Some(scales) => {
                    for ((input, &x), &scale) in input.iter_mut().zip(x).zip(scales) {
                        *input = scale * x;
                    }
                }
                None => input[..self.cols()].copy_from_slice(x),
            }
            input[self.cols()..].fill(0.0);
        }
        let parts = ws.parts(grid.bands(), tokens * grid.tiles() * self.planes());
        #[cfg(feature = "rayon")]
        if parts > 1 {
            self.add_parts(parts, tokens, results, ws);
            return;
        }
        debug_assert_eq!(parts, 1);
        self.add_bands(0..grid.bands(), tokens, &ws.inputs, ws.engine, &mut ws.lanes[0], results);
    }

    /// [`add_bands`](Self::add_bands) for all rows, on several threads.
    #[cfg(feature = "rayon")]
    fn add_parts(&self, parts: usize, tokens: usize, results: &mut [f32], ws: &mut Workspace) {
        use rayon::prelude::*;
        let (engine, inputs, count) = (ws.engine, &ws.inputs, self.grid().bands());
        let size = count.div_ceil(parts);
        // Rounding up may leave nothing for the last ones.
        let parts = count.div_ceil(size);
        let bands = |part: usize| count.min(part * size)..count.min((part + 1) * size);
        ws.lanes[..parts].par_iter_mut().enumerate().for_each(|(part, lane)| {
            let mut own = core::mem::take(&mut lane.results);
            own.clear();
            own.resize(tokens * bands(part).len() * TILE_ROWS, 0.0);
            self.add_bands(bands(part), tokens, inputs, engine, lane, &mut own);
            lane.results = own;
        });
        for (part, lane) in ws.lanes[..parts].iter().enumerate() {
            let (start, len) = (bands(part).start * TILE_ROWS, bands(part).len() * TILE_ROWS);
            let parts = lane.results.chunks_exact(len.max(1));
            for (results, own) in results.chunks_exact_mut(self.padded_rows()).zip(parts) {
                results[start..start + len].copy_from_slice(own);
            }
        }
    }

    /// Adds the products of the rows of some bands; `results` has so many rows a token.
    fn add_bands(
        &self,
        bands: Range<usize>,
        tokens: usize,
        inputs: &[f32],
        engine: Engine,
        lane: &mut Lane,
        results: &mut [f32],
    ) {
        let whole = self.grid();
        let first = bands.start * TILE_ROWS;
        let grid = Grid { rows: whole.rows.min(bands.end * TILE_ROWS) - first, cols: whole.cols };
        let (rows, words) = (bands.len() * TILE_ROWS, whole.words());
        let block_words = self.granularity().block_cols(self.cols()).div_ceil(TILE_COLS);
        let inputs_of_a_set = tokens * words * TILE_COLS;
        lane.totals.resize(tokens * rows, 0.0);
        for plane in 0..self.planes() {
            let tiles = &self.plane(plane)[bands.start * words..bands.end * words];
            let set = if inputs.len() > inputs_of_a_set { plane } else { 0 };
            let inputs = &inputs[set * inputs_of_a_set..][..inputs_of_a_set];
            let mut start = 0;
            for block in 0.. {
                let end = words.min(start + block_words);
                if start == end {
                    break;
                }
                let part = Plane { grid, tiles, words: start..end };
                engine.block_totals(&part, inputs, &mut lane.scratch, &mut lane.totals);
                for (results, totals) in results.chunks_exact_mut(rows).zip(lane.totals.chunks_exact(rows)) {
                    self.add_scaled(plane, block, first, &mut results[..grid.rows], totals);
                }
                start = end;
            }
        }
    }

    /// `results[i] += scale of row first + i in this block * totals[i]`.
    fn add_scaled(&self, plane: usize, block: usize, first: usize, results: &mut [f32], totals: &[f32]) {
        let pairs = results.iter_mut().zip(totals);
        let scales = self.plane_scales(plane);
        match self.granularity() {
            Granularity::Tensor => pairs.for_each(|(z, total)| *z += scales[0] * total),
            Granularity::Col => pairs.for_each(|(z, total)| *z += total),
            Granularity::Row | Granularity::RowCol => {
                pairs.zip(&scales[first..]).for_each(|((z, total), scale)| *z += scale * total);
            }
            Granularity::Block(_) => {
                let blocks = self.blocks();
                let scales = scales[first * blocks..].iter().skip(block).step_by(blocks);
                pairs.zip(scales).for_each(|((z, total), scale)| *z += scale * total);
            }
        }
    }
}

/// Adds 32 lanes in halves: `l` and `l + 16`, then 8, 4, 2, 1.
#[inline(always)]
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
