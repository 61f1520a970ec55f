//! From packed bits back to dense weights.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use crate::delta::PackedDelta;
use crate::dtype::Dtype;
use crate::element::Element;
use crate::error::{Error, Extent, Result};
use crate::kernel::{Engine, Isa, Op};
use crate::layout::{TILE_COLS, TILE_ROWS, Tile};
use crate::matrix::{MatMut, MatRef};
use crate::options::{Granularity, MAX_PLANES};

impl PackedDelta {
    /// The delta as a dense row-major matrix.
    #[must_use]
    pub fn to_dense(&self) -> Vec<f32> {
        let mut dense = vec![0.0; self.rows() * self.cols()];
        let planes = Planes::new(self);
        for (i, row) in dense.chunks_exact_mut(self.cols().max(1)).enumerate() {
            Engine::best().run(RowInto { planes: &planes, i, row });
        }
        dense
    }

    /// `out = base + D`, rounded to the element type once. One pass.
    ///
    /// ```
    /// use hanzo_bitdelta::{Granularity, MatMut, MatRef, PackOptions, PackedDelta};
    /// let delta = MatRef::new(&[0.5_f32, -0.5], 1, 2)?;
    /// let packed = PackedDelta::from_delta(delta, &PackOptions::new().granularity(Granularity::Tensor))?;
    /// let (base, mut fine) = ([1.0_f32, 2.0], [0.0; 2]);
    /// packed.materialize(MatRef::new(&base, 1, 2)?, MatMut::new(&mut fine, 1, 2)?)?;
    /// assert_eq!(fine, [1.5, 1.5]);
    /// # Ok::<(), hanzo_bitdelta::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::NonFinite`] when the base is not finite; [`Error::Overflow`] when a sum is not.
    /// After an `Err` the content of `out` is unspecified.
    pub fn materialize<T: Element>(&self, base: MatRef<'_, T>, out: MatMut<'_, T>) -> Result<()> {
        self.materialize_on(Engine::best(), base, out)
    }

    pub(crate) fn materialize_on<T: Element>(
        &self,
        engine: Engine,
        base: MatRef<'_, T>,
        mut out: MatMut<'_, T>,
    ) -> Result<()> {
        let size = [self.rows(), self.cols()];
        Extent::check(&size, &[base.rows(), base.cols()])?;
        Extent::check(&size, &[out.rows(), out.cols()])?;
        let planes = Planes::new(self);
        // What does not fit the caches anyway need not push out what is there.
        let stream = 4 * self.rows() * self.cols() >= STREAM_BYTES;
        for i in self.row_indices() {
            let base = base.row(i);
            if !engine.run(Sum { planes: &planes, i, base, out: out.row_mut(i), stream }) {
                return Err(sum_error(base, i));
            }
        }
        Ok(())
    }

    /// `w += D` in place, the values of [`materialize`](Self::materialize). Two passes: the first only proves that all
    /// results are finite.
    ///
    /// There is no inverse: adding and then subtracting a delta does not restore every weight. Keep the base.
    ///
    /// # Errors
    /// As for [`materialize`](Self::materialize), but `w` is untouched after an `Err`.
    pub fn apply_to<T: Element>(&self, w: MatMut<'_, T>) -> Result<()> {
        self.apply_on(Engine::best(), w)
    }

    pub(crate) fn apply_on<T: Element>(&self, engine: Engine, mut w: MatMut<'_, T>) -> Result<()> {
        Extent::check(&[self.rows(), self.cols()], &[w.rows(), w.cols()])?;
        let planes = Planes::new(self);
        // With room to spare the sums of a row are finite when its largest magnitude is small enough: no need to look at
        // the bits. Element scales are products of two f32 at most, so that f64 holds their sum with room for rounding.
        let room = largest::<T>() / 4.0;
        let delta: f64 = (0..self.planes()).map(|p| self.largest_element(p)).sum();
        let mut sums = Vec::new();
        for i in self.row_indices() {
            let row = &*w.row_mut(i);
            if delta <= room && f64::from(engine.run(Largest { row })) <= room {
                continue;
            }
            sums.resize(row.len(), T::default());
            if !engine.run(Sum { planes: &planes, i, base: row, out: &mut sums, stream: false }) {
                return Err(sum_error(row, i));
            }
        }
        for i in self.row_indices() {
            engine.run(Add { planes: &planes, i, row: w.row_mut(i) });
        }
        Ok(())
    }

    /// Row `i` of the dense delta: `d = a_0 s_0`, then `d = d + a_p s_p`.
    pub(crate) fn row_into(&self, i: usize, row: &mut [f32]) {
        Engine::best().run(RowInto { planes: &Planes::new(self), i, row });
    }

    /// A bound on the magnitude of the entries of a plane.
    fn largest_element(&self, plane: usize) -> f64 {
        let column = self.column_scales(plane).map_or(1.0, |scales| scales.iter().fold(0.0_f32, |a, &b| a.max(b)));
        f64::from(self.largest_scale(plane)) * f64::from(column)
    }
}

/// The tiles and scales of each plane, looked up once.
#[derive(Debug)]
pub(crate) struct Planes<'a> {
    planes: [(&'a [Tile], &'a [f32]); MAX_PLANES],
    count: usize,
    granularity: Granularity,
    rows: usize,
    cols: usize,
}

impl<'a> Planes<'a> {
    fn new(delta: &'a PackedDelta) -> Self {
        let mut planes: [(&[Tile], &[f32]); MAX_PLANES] = [(&[], &[]); MAX_PLANES];
        if !delta.is_empty() {
            for (p, plane) in planes.iter_mut().enumerate().take(delta.planes()) {
                *plane = (delta.plane(p), delta.plane_scales(p));
            }
        }
        let (count, granularity) = (delta.planes(), delta.granularity());
        Self { planes, count, granularity, rows: delta.rows(), cols: delta.cols() }
    }

    /// Hands `each` the entries of row `i` word by word.
    #[inline(always)]
    fn for_row(&self, i: usize, each: &mut impl Each) {
        let rows = RowPlane::of(self, i);
        let full = self.cols / TILE_COLS;
        for c in 0..full {
            each.word(c * TILE_COLS, TILE_COLS, &Self::values(&rows[..self.count], c, TILE_COLS));
        }
        // Apart from the rest, so that full words have a length that the compiler knows.
        let len = self.cols - full * TILE_COLS;
        if len > 0 {
            each.word(full * TILE_COLS, len, &Self::values(&rows[..self.count], full, len));
        }
    }

    #[inline(always)]
    fn values(rows: &[RowPlane<'_>], c: usize, len: usize) -> [f32; TILE_COLS] {
        let mut values = rows[0].signed(c, len);
        for plane in &rows[1..] {
            let next = plane.signed(c, len);
            for k in 0..TILE_COLS {
                values[k] += next[k];
            }
        }
        values
    }
}

/// What is done with the entries of a row. Not a closure: those are not sure to be compiled into the loop around them.
trait Each {
    /// Takes the entries of `len` columns from `start` on; `len` is 32 but at the end of a row. Has to be
    /// `#[inline(always)]`.
    fn word(&mut self, start: usize, len: usize, values: &[f32; TILE_COLS]);
}

/// One row of one plane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowPlane<'a> {
    band: &'a [Tile],
    r: usize,
    scale: RowScale<'a>,
}

#[derive(Debug, Clone, Copy)]
enum RowScale<'a> {
    One(f32),
    /// One for each run of so many words.
    Blocks(&'a [f32], usize),
    Columns(&'a [f32]),
    /// The row's scale times those of the columns.
    Product(f32, &'a [f32]),
}

impl<'a> RowPlane<'a> {
    #[inline(always)]
    fn of(planes: &Planes<'a>, i: usize) -> [Self; MAX_PLANES] {
        core::array::from_fn(|p| {
            if p >= planes.count {
                return Self { band: &[], r: 0, scale: RowScale::One(0.0) };
            }
            let (tiles, scales) = planes.planes[p];
            Self::new(i, tiles, scales, planes.rows, planes.cols, planes.granularity)
        })
    }

    #[inline(always)]
    pub(crate) fn new(
        i: usize,
        tiles: &'a [Tile],
        scales: &'a [f32],
        rows: usize,
        cols: usize,
        granularity: Granularity,
    ) -> Self {
        let words = cols.div_ceil(TILE_COLS);
        let block = granularity.block_cols(cols);
        let blocks = cols.div_ceil(block);
        let scale = match granularity {
            Granularity::Tensor => RowScale::One(scales[0]),
            Granularity::Row => RowScale::One(scales[i]),
            Granularity::Block(_) => RowScale::Blocks(&scales[i * blocks..][..blocks], block / TILE_COLS),
            Granularity::Col => RowScale::Columns(scales),
            Granularity::RowCol => RowScale::Product(scales[i], &scales[rows..]),
        };
        Self { band: &tiles[i / TILE_ROWS * words..][..words], r: i % TILE_ROWS, scale }
    }

    /// The signed scales of word `c`, which has `len` columns; what comes after them is unspecified.
    #[inline(always)]
    pub(crate) fn signed(&self, c: usize, len: usize) -> [f32; TILE_COLS] {
        let word = self.band[c][self.r];
        let mut values = match self.scale {
            RowScale::One(scale) => [scale; TILE_COLS],
            RowScale::Blocks(scales, words) => [scales[c / words]; TILE_COLS],
            RowScale::Columns(scales) => columns(scales, c, len),
            RowScale::Product(row, scales) => {
                let mut values = columns(scales, c, len);
                for value in &mut values {
                    *value *= row;
                }
                values
            }
        };
        for (k, value) in values.iter_mut().enumerate() {
            let sign = if word & 1 << k == 0 { 0x8000_0000 } else { 0 };
            *value = f32::from_bits(value.to_bits() ^ sign);
        }
        values
    }
}

/// The scales of word `c`, with zeros after the `len`-th.
#[inline(always)]
fn columns(scales: &[f32], c: usize, len: usize) -> [f32; TILE_COLS] {
    let own = &scales[c * TILE_COLS..];
    if let Some(chunk) = own.first_chunk() {
        return *chunk;
    }
    let mut padded = [0.0; TILE_COLS];
    padded[..len].copy_from_slice(&own[..len]);
    padded
}

/// Writes a row of the delta.
struct RowInto<'a, 'b> {
    planes: &'a Planes<'b>,
    i: usize,
    row: &'a mut [f32],
}

impl Op for RowInto<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self, _: Isa) {
        let planes = self.planes;
        planes.for_row(self.i, &mut self);
    }
}

impl Each for RowInto<'_, '_> {
    #[inline(always)]
    fn word(&mut self, start: usize, len: usize, values: &[f32; TILE_COLS]) {
        let row = &mut self.row[start..start + len];
        if len == TILE_COLS {
            row.copy_from_slice(values);
        } else {
            row.copy_from_slice(&values[..len]);
        }
    }
}

/// `out = base + d` for a row; false when a sum is not finite.
struct Sum<'a, 'b, T> {
    planes: &'a Planes<'b>,
    i: usize,
    base: &'a [T],
    out: &'a mut [T],
    /// Whether to keep `out` out of the caches.
    stream: bool,
}

impl<T: Element> Op for Sum<'_, '_, T> {
    type Output = bool;

    #[inline(always)]
    fn run(self, isa: Isa) -> bool {
        let mut words = SumWords { base: self.base, out: self.out, stream: self.stream, isa, bad: [0; TILE_COLS] };
        self.planes.for_row(self.i, &mut words);
        if self.stream {
            isa.end_stream();
        }
        let mut bad = 0;
        for lane in words.bad {
            bad |= lane;
        }
        bad == 0
    }
}

struct SumWords<'a, T> {
    base: &'a [T],
    out: &'a mut [T],
    stream: bool,
    isa: Isa,
    bad: [u32; TILE_COLS],
}

impl<T: Element> Each for SumWords<'_, T> {
    #[inline(always)]
    fn word(&mut self, start: usize, len: usize, values: &[f32; TILE_COLS]) {
        let (base, out) = (&self.base[start..start + len], &mut self.out[start..start + len]);
        let (Some(base), Some(out)) = (base.first_chunk::<TILE_COLS>(), out.first_chunk_mut::<TILE_COLS>()) else {
            for k in 0..len {
                out[k] = T::from_f32(base[k].to_f32() + values[k]);
                self.bad[k] |= bad_bit(out[k]);
            }
            return;
        };
        if let (Some(base), Some(out)) = (T::as_f32(base), T::as_f32_mut(out)) {
            if let (Some(base), Some(out)) = (base.first_chunk(), out.first_chunk_mut()) {
                for k in 0..TILE_COLS {
                    self.bad[k] |= bad_bit(base[k] + values[k]);
                }
                self.isa.add_word(base, values, out, self.stream);
            }
            return;
        }
        for k in 0..TILE_COLS {
            out[k] = T::from_f32(base[k].to_f32() + values[k]);
            self.bad[k] |= bad_bit(out[k]);
        }
    }
}

/// `row += d`.
struct Add<'a, 'b, T> {
    planes: &'a Planes<'b>,
    i: usize,
    row: &'a mut [T],
}

struct AddWords<'a, T> {
    row: &'a mut [T],
    isa: Isa,
}

impl<T: Element> Op for Add<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self, isa: Isa) {
        self.planes.for_row(self.i, &mut AddWords { row: self.row, isa });
    }
}

impl<T: Element> Each for AddWords<'_, T> {
    #[inline(always)]
    fn word(&mut self, start: usize, len: usize, values: &[f32; TILE_COLS]) {
        let row = &mut self.row[start..start + len];
        if let Some(row) = row.first_chunk_mut::<TILE_COLS>() {
            self.isa.ahead(row);
            for k in 0..TILE_COLS {
                row[k] = T::from_f32(row[k].to_f32() + values[k]);
            }
            return;
        }
        for k in 0..len {
            row[k] = T::from_f32(row[k].to_f32() + values[k]);
        }
    }
}

/// The largest magnitude of a row; infinite when one is not finite.
struct Largest<'a, T> {
    row: &'a [T],
}

impl<T: Element> Op for Largest<'_, T> {
    type Output = f32;

    #[inline(always)]
    fn run(self, isa: Isa) -> f32 {
        let (chunks, tail) = self.row.as_chunks::<TILE_COLS>();
        let mut lanes = [0_u32; TILE_COLS];
        for chunk in chunks {
            isa.ahead(chunk);
            for k in 0..TILE_COLS {
                lanes[k] = lanes[k].max(magnitude_bits(chunk[k]));
            }
        }
        let mut largest = 0;
        for lane in lanes {
            largest = lane.max(largest);
        }
        for &value in tail {
            largest = magnitude_bits(value).max(largest);
        }
        f32::from_bits(largest.min(0x7f80_0000))
    }
}

/// As integers, these are ordered as the magnitudes are, and NaN is above infinity.
#[inline(always)]
fn magnitude_bits<T: Element>(value: T) -> u32 {
    value.to_f32().to_bits() & 0x7fff_ffff
}

/// 1 for a value that is not finite: an integer, so that a loop over values needs no branch.
#[inline(always)]
fn bad_bit<T: Element>(value: T) -> u32 {
    u32::from(value.to_f32().to_bits() & 0x7f80_0000 == 0x7f80_0000)
}

/// The largest finite value of a type.
fn largest<T: Element>() -> f64 {
    if T::DTYPE == Dtype::F16 { 65504.0 } else { f64::from(f32::MAX) }
}

/// Outputs from this size on are written past the caches.
const STREAM_BYTES: usize = 16 << 20;

/// The error for a row of sums that are not all finite.
fn sum_error<T: Element>(base: &[T], row: usize) -> Error {
    match base.iter().position(|w| !w.to_f32().is_finite()) {
        Some(col) => Error::NonFinite { tensor: "base".to_string(), row, col },
        None => Error::Overflow { what: "sum" },
    }
}
