//! The packed delta of one matrix.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::dtype::{Dtype, ScaleDtype};
use crate::element::Element;
use crate::error::{Error, Extent, Result};
use crate::kernel::Engine;
use crate::layout::{Grid, TILE_ROWS, Tile};
use crate::matrix::MatRef;
use crate::options::{Granularity, MAX_PLANES, PackOptions, SignZero, check_planes};
use crate::pack::{self, Difference, Packed};
use crate::report::{Fidelity, StorageReport};
use crate::tiles::{TileBuffer, Tiles};

/// The difference of two weight matrices as sign bits and a few scales: `D = a_0 s_0 + a_1 s_1 + ..`, where each `s` is a
/// matrix of ±1 and each `a` as coarse as its [`Granularity`].
///
/// Immutable; a clone shares the bits. The sums that make scales and products have a fixed order, so that packed bits,
/// scales and products are the same on every machine.
///
/// ```
/// use hanzo_bitdelta::{Granularity, MatRef, PackOptions, PackedDelta};
/// let base = [1.0_f32, 2.0, 3.0, 4.0];
/// let fine = [1.5_f32, 1.5, 3.25, 3.75];
/// let options = PackOptions::new().granularity(Granularity::Row);
/// let delta = PackedDelta::compress(MatRef::new(&base, 2, 2)?, MatRef::new(&fine, 2, 2)?, &options)?;
/// assert_eq!(delta.scales(), [0.5, 0.25]);
/// assert_eq!(delta.to_dense(), [0.5, -0.5, 0.25, -0.25]);
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct PackedDelta {
    spec: PackedSpec,
    shape: Vec<usize>,
    tiles: Tiles,
    scales: Arc<Vec<f32>>,
    /// The largest row, block or tensor scale of each plane; 1 where products have column scales only.
    largest: [f32; MAX_PLANES],
}

/// The description of a packed delta whose bits and scales already exist; checked where it is used.
///
/// ```
/// use hanzo_bitdelta::{Granularity, PackedDelta, PackedSpec};
/// let spec = PackedSpec::new(1, 3, Granularity::Tensor);
/// // Column j is bit j: -1, +1, -1, times 0.5.
/// let delta = PackedDelta::from_rowmajor64(&[0b010], &spec, &[0.5])?;
/// assert_eq!(delta.to_dense(), [-0.5, 0.5, -0.5]);
/// assert!(PackedDelta::from_rowmajor64(&[0b1010], &spec, &[0.5]).is_err()); // there is no column 3
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedSpec {
    /// Number of rows (outputs).
    pub rows: usize,
    /// Number of columns (inputs).
    pub cols: usize,
    /// Which entries share a scale.
    pub granularity: Granularity,
    /// Number of planes, 1 to 4.
    pub planes: usize,
    /// Sign that stands for a difference of zero.
    pub sign_zero: SignZero,
    /// Type in which scales are stored.
    pub scale_dtype: ScaleDtype,
    /// Element type of the matrices that were compared.
    pub source_dtype: Dtype,
}

impl PackedSpec {
    /// One plane of a `rows x cols` matrix of `f32`, with zero as -1 and `f32` scales.
    #[must_use]
    pub fn new(rows: usize, cols: usize, granularity: Granularity) -> Self {
        Self {
            rows,
            cols,
            granularity,
            planes: 1,
            sign_zero: SignZero::Negative,
            scale_dtype: ScaleDtype::F32,
            source_dtype: Dtype::F32,
        }
    }

    /// Checks the options and that all sizes fit; gives the number of scales of one plane.
    pub(crate) fn check(&self) -> Result<usize> {
        check_planes(self.planes)?;
        self.granularity.check()?;
        let weights = (self.rows as u64).saturating_mul(self.cols as u64);
        if weights > MAX_WEIGHTS {
            return Err(Error::TooLarge { what: "rows * cols", value: weights, limit: MAX_WEIGHTS });
        }
        for (what, side) in [("rows", self.rows), ("cols", self.cols)] {
            if side as u64 > MAX_WEIGHTS {
                return Err(Error::TooLarge { what, value: side as u64, limit: MAX_WEIGHTS });
            }
        }
        // Tiles take more room than weights; what the address space cannot hold is too large.
        let room = usize::try_from(weights).ok().and_then(|_| {
            let words = self.rows.checked_next_multiple_of(TILE_ROWS)?.checked_mul(self.cols.div_ceil(32))?;
            words.checked_mul(4 * self.planes)?;
            let scales = self.granularity.scales(self.rows, self.cols)?;
            scales.checked_mul(4 * self.planes)?;
            Some(scales)
        });
        room.ok_or(Error::TooLarge { what: "packed delta", value: u64::MAX, limit: usize::MAX as u64 })
    }

    pub(crate) fn grid(&self) -> Grid {
        Grid { rows: self.rows, cols: self.cols }
    }
}

impl PackedDelta {
    /// Packs `fine - base`, computed in `f32`. One pass over both; two or more planes or [`Granularity::RowCol`] (the
    /// default) keep the differences in memory (4 bytes a weight) and pass over them again.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the shapes differ; [`Error::NonFinite`] when an input or a difference is not
    /// finite; [`Error::Overflow`] when a sum of magnitudes is not; [`Error::InvalidOptions`]; [`Error::InvalidScale`]
    /// when a scale does not fit the stored type.
    pub fn compress<T: Element>(base: MatRef<'_, T>, fine: MatRef<'_, T>, options: &PackOptions) -> Result<Self> {
        Extent::check(&[base.rows(), base.cols()], &[fine.rows(), fine.cols()])?;
        Self::pack(&Difference { base, fine }, base.rows(), base.cols(), T::DTYPE, options)
    }

    /// Packs a difference that the caller has.
    ///
    /// # Errors
    /// As for [`compress`](Self::compress).
    pub fn from_delta<T: Element>(delta: MatRef<'_, T>, options: &PackOptions) -> Result<Self> {
        Self::pack(&delta, delta.rows(), delta.cols(), T::DTYPE, options)
    }

    /// Takes sign bits in [`Layout::RowMajor64`](crate::Layout::RowMajor64), plane by plane, and the scales, plane by plane.
    ///
    /// # Errors
    /// [`Error::InvalidOptions`] or [`Error::TooLarge`] for a bad `spec`; [`Error::ShapeMismatch`] for a wrong number of
    /// words or scales; [`Error::Malformed`] when a padding bit is set; [`Error::InvalidScale`] when a scale is negative,
    /// `-0.0`, not finite, or not a value of the stored type.
    pub fn from_rowmajor64(words: &[u64], spec: &PackedSpec, scales: &[f32]) -> Result<Self> {
        spec.check()?;
        let grid = spec.grid();
        let size = grid.rows * grid.wide_words();
        Extent::check(&[spec.planes * size], &[words.len()])?;
        let mut tiles = TileBuffer::zeros(spec.planes * grid.tiles());
        let planes = tiles.as_mut().chunks_exact_mut(grid.tiles().max(1));
        for (words, plane) in words.chunks_exact(size.max(1)).zip(planes) {
            grid.tiles_of_wide(words.iter().copied(), plane)?;
        }
        Self::from_parts(spec, vec![spec.rows, spec.cols], tiles.into(), scales)
    }

    /// Takes sign bits in [`Layout::Tiled16`](crate::Layout::Tiled16), plane by plane, and the scales, plane by plane.
    ///
    /// # Errors
    /// As for [`from_rowmajor64`](Self::from_rowmajor64).
    pub fn from_tiled16(words: &[u32], spec: &PackedSpec, scales: &[f32]) -> Result<Self> {
        spec.check()?;
        Extent::check(&[spec.planes * spec.grid().tiles() * TILE_ROWS], &[words.len()])?;
        let mut tiles = TileBuffer::zeros(words.len() / TILE_ROWS);
        tiles.as_mut().copy_from_slice(words.as_chunks().0);
        spec.grid().check_padding(tiles.as_slice())?;
        Self::from_parts(spec, vec![spec.rows, spec.cols], tiles.into(), scales)
    }

    /// Takes the mask and the coefficient of the published BitDelta code: `int32` words `[cols / 32][rows]`, the first
    /// input in the lowest bit, zero packed to +1.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when `cols` is not a multiple of 32 or the number of words is wrong;
    /// [`Error::InvalidScale`] when the coefficient is not a scale.
    pub fn from_reference_i32(
        words: &[i32],
        rows: usize,
        cols: usize,
        coefficient: f32,
        source_dtype: Dtype,
    ) -> Result<Self> {
        let granularity = Granularity::Tensor;
        let spec =
            PackedSpec { sign_zero: SignZero::Positive, source_dtype, ..PackedSpec::new(rows, cols, granularity) };
        spec.check()?;
        Extent::check(&[rows, cols.next_multiple_of(32)], &[rows, cols])?;
        Extent::check(&[rows * (cols / 32)], &[words.len()])?;
        let grid = spec.grid();
        let mut tiles = TileBuffer::zeros(grid.tiles());
        for (c, column) in words.chunks_exact(rows.max(1)).enumerate() {
            for (i, word) in column.iter().enumerate() {
                grid.set_word(tiles.as_mut(), i, c, word.cast_unsigned());
            }
        }
        Self::from_parts(&spec, vec![rows, cols], tiles.into(), &[coefficient])
    }

    /// One plane as the mask words of the published BitDelta code: `int32` words `[cols / 32][rows]`, the first input in
    /// the lowest bit. Read back by [`from_reference_i32`](Self::from_reference_i32), which takes one scale.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when `cols` is not a multiple of 32; [`Error::InvalidOptions`] when there is no such plane.
    ///
    /// ```
    /// use hanzo_bitdelta::{Dtype, Granularity, MatRef, PackOptions, PackedDelta, SignZero};
    /// let delta = [1.0_f32, -1.0].repeat(16);
    /// let options = PackOptions::new().granularity(Granularity::Tensor).sign_zero(SignZero::Positive);
    /// let packed = PackedDelta::from_delta(MatRef::new(&delta, 1, 32)?, &options)?;
    /// assert_eq!(packed.to_reference_i32(0)?, [0x5555_5555]);
    /// assert_eq!(PackedDelta::from_reference_i32(&[0x5555_5555], 1, 32, 1.0, Dtype::F32)?, packed);
    /// # Ok::<(), hanzo_bitdelta::Error>(())
    /// ```
    pub fn to_reference_i32(&self, plane: usize) -> Result<Vec<i32>> {
        let (rows, cols) = (self.rows(), self.cols());
        if plane >= self.planes() {
            return Err(Error::InvalidOptions { what: "plane (below planes())", value: plane as f64 });
        }
        Extent::check(&[rows, cols.next_multiple_of(32)], &[rows, cols])?;
        let (grid, tiles) = (self.grid(), self.plane(plane));
        let words = (0..grid.words()).flat_map(|c| (0..rows).map(move |i| grid.word(tiles, i, c).cast_signed()));
        Ok(words.collect())
    }

    /// The same signs with other scales, plane by plane; rounded where scales are stored in 16 bits.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for a wrong number; [`Error::InvalidScale`] when one is negative, `-0.0`, not finite, or
    /// out of the range of the stored type.
    pub fn with_scales(&self, scales: &[f32]) -> Result<Self> {
        Extent::check(&[self.scales.len()], &[scales.len()])?;
        let mut rounded = Vec::with_capacity(scales.len());
        for (index, &value) in scales.iter().enumerate() {
            let invalid = Error::InvalidScale { index, value };
            if !is_scale(value) {
                return Err(invalid);
            }
            rounded.push(self.spec.scale_dtype.round(value).ok_or(invalid)?);
        }
        let largest = largest_scales(&self.spec, &rounded);
        Ok(Self { scales: Arc::new(rounded), largest, ..self.clone() })
    }

    /// The same delta for a tensor of this shape, such as `[experts, outputs, inputs]`, all but the matrix rows and columns
    /// folded. Without it the shape is `[rows, cols]`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the product of the shape is not `rows * cols`; [`Error::TooLarge`] when it has more
    /// than 8 dimensions.
    pub fn with_shape(&self, shape: &[usize]) -> Result<Self> {
        check_rank(shape.len())?;
        let weights = shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
        if weights != Some(self.rows() * self.cols()) {
            return Err(Extent::mismatch(&[self.rows(), self.cols()], shape));
        }
        Ok(Self { shape: shape.to_vec(), ..self.clone() })
    }

    /// Number of rows (outputs).
    #[must_use]
    pub fn rows(&self) -> usize {
        self.spec.rows
    }

    /// Number of columns (inputs).
    #[must_use]
    pub fn cols(&self) -> usize {
        self.spec.cols
    }

    /// Number of planes, 1 to 4.
    #[must_use]
    pub fn planes(&self) -> usize {
        self.spec.planes
    }

    /// Which entries share a scale.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        self.spec.granularity
    }

    /// Everything but the shape, the bits and the scales.
    #[must_use]
    pub fn spec(&self) -> &PackedSpec {
        &self.spec
    }

    /// Shape of the tensor that the matrix was folded from.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether there are no weights.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spec.rows == 0 || self.spec.cols == 0
    }

    /// All scales, plane by plane: in a plane one, one a row, one a column, the rows' then the columns', or the blocks' row
    /// by row.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The sign bits in [`Layout::RowMajor64`](crate::Layout::RowMajor64), plane by plane.
    #[must_use]
    pub fn to_rowmajor64(&self) -> Vec<u64> {
        (0..self.planes()).flat_map(|plane| self.grid().to_wide(self.plane(plane))).collect()
    }

    /// The sign bits in [`Layout::Tiled16`](crate::Layout::Tiled16), plane by plane.
    #[must_use]
    pub fn to_tiled16(&self) -> Vec<u32> {
        self.tiles().as_flattened().to_vec()
    }

    /// Compares with the true delta, in `f64`.
    ///
    /// ```
    /// use hanzo_bitdelta::{Granularity, MatRef, PackOptions, PackedDelta};
    /// let delta = MatRef::new(&[1.0_f32, -3.0], 1, 2)?;
    /// let packed = PackedDelta::from_delta(delta, &PackOptions::new().granularity(Granularity::Tensor))?;
    /// let fidelity = packed.fidelity(delta)?; // 1, -3 as 2, -2
    /// assert_eq!((fidelity.delta_energy(), fidelity.residual_energy()), (10.0, 2.0));
    /// assert_eq!(fidelity.relative_energy(), 0.2);
    /// # Ok::<(), hanzo_bitdelta::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::NonFinite`] when `delta`, or [`Error::Overflow`] when the packed delta, is not
    /// finite.
    pub fn fidelity(&self, delta: MatRef<'_, f32>) -> Result<Fidelity> {
        Extent::check(&[self.rows(), self.cols()], &[delta.rows(), delta.cols()])?;
        let mut packed = vec![0.0; self.cols()];
        let mut sums = Fidelity { delta_energy: 0.0, residual_energy: 0.0, packed_energy: 0.0, dot: 0.0 };
        for i in self.row_indices() {
            self.row_into(i, &mut packed);
            for (col, (&d, &q)) in delta.row(i).iter().zip(&packed).enumerate() {
                if !d.is_finite() {
                    return Err(Error::NonFinite { tensor: "delta".to_string(), row: i, col });
                }
                let (d, q) = (f64::from(d), f64::from(q));
                sums.delta_energy += d * d;
                sums.residual_energy += (d - q) * (d - q);
                sums.packed_energy += q * q;
                sums.dot += d * q;
            }
        }
        if sums.packed_energy.is_finite() { Ok(sums) } else { Err(Error::Overflow { what: "scale product" }) }
    }

    /// Bytes of the packed form, beside those of the dense tensor in `source`.
    ///
    /// ```
    /// use hanzo_bitdelta::{Dtype, Granularity, MatRef, PackOptions, PackedDelta};
    /// let delta = vec![0.5_f32; 16 * 4096];
    /// let options = PackOptions::new().granularity(Granularity::Row);
    /// let packed = PackedDelta::from_delta(MatRef::new(&delta, 16, 4096)?, &options)?;
    /// assert_eq!((100.0 * packed.storage(Dtype::F32).ratio()).round(), 3175.0);
    /// assert_eq!((100.0 * packed.storage(Dtype::F16).ratio()).round(), 1588.0);
    /// # Ok::<(), hanzo_bitdelta::Error>(())
    /// ```
    #[must_use]
    pub fn storage(&self, source: Dtype) -> StorageReport {
        StorageReport {
            weights: self.rows() as u64 * self.cols() as u64,
            sign_bytes: 4 * (TILE_ROWS * self.tiles().len()) as u64,
            scale_bytes: (self.spec.scale_dtype.dtype().size() * self.scales.len()) as u64,
            source,
            transport_overhead_bp: 0,
        }
    }

    /// Packs from any source; the caller has checked that all rows are `cols` long.
    pub(crate) fn pack(
        source: &impl pack::Source,
        rows: usize,
        cols: usize,
        source_dtype: Dtype,
        options: &PackOptions,
    ) -> Result<Self> {
        let spec = PackedSpec {
            planes: options.planes,
            sign_zero: options.sign_zero,
            scale_dtype: options.scale_dtype,
            source_dtype,
            ..PackedSpec::new(rows, cols, options.granularity)
        };
        let scales = spec.check()?;
        let packed = if rows == 0 || cols == 0 {
            // No data stands behind the sides of an empty matrix: they may name more scales than memory holds.
            let (count, mut zeros) = (options.planes * scales, Vec::new());
            zeros.try_reserve_exact(count).map_err(|_| Error::TooLarge {
                what: "scales of an empty matrix",
                value: count as u64,
                limit: isize::MAX as u64 / 4,
            })?;
            zeros.resize(count, 0.0);
            Packed { tiles: TileBuffer::zeros(0), scales: zeros }
        } else {
            pack::pack(source, spec.grid(), options, Engine::best())?
        };
        Self::from_parts(&spec, vec![rows, cols], packed.tiles.into(), &packed.scales)
    }

    /// Puts checked parts together: the spec is valid, the padding of the tiles is 0 and their number is right.
    pub(crate) fn from_parts(spec: &PackedSpec, shape: Vec<usize>, tiles: Tiles, scales: &[f32]) -> Result<Self> {
        let expected = spec.check()? * spec.planes;
        Extent::check(&[expected], &[scales.len()])?;
        for (index, &value) in scales.iter().enumerate() {
            // A stored scale has to be a value of its type. (F16 subnormals are: only packing refuses to make them.)
            let stored = match spec.scale_dtype {
                ScaleDtype::F32 => true,
                ScaleDtype::F16 => crate::F16::from_f32(value).to_f32() == value,
                ScaleDtype::Bf16 => crate::Bf16::from_f32(value).to_f32() == value,
            };
            if !is_scale(value) || !stored {
                return Err(Error::InvalidScale { index, value });
            }
        }
        let largest = largest_scales(spec, scales);
        Ok(Self { spec: *spec, shape, tiles, scales: Arc::new(scales.to_vec()), largest })
    }

    /// Bytes of its own: tiles that lie in a file are the file's.
    pub(crate) fn memory_bytes(&self) -> usize {
        let tiles = if self.file_len().is_some() { 0 } else { size_of_val(self.tiles()) };
        tiles + 4 * self.scales.len()
    }

    /// Bytes of the file that the tiles lie in.
    pub(crate) fn file_len(&self) -> Option<usize> {
        self.tiles.file_len()
    }

    /// Whether the packed delta is zero everywhere.
    pub(crate) fn is_zero(&self) -> bool {
        self.scales.iter().all(|&scale| scale == 0.0)
    }

    pub(crate) fn grid(&self) -> Grid {
        self.spec.grid()
    }

    /// The rows that have elements.
    pub(crate) fn row_indices(&self) -> core::ops::Range<usize> {
        0..if self.is_empty() { 0 } else { self.rows() }
    }

    pub(crate) fn tiles(&self) -> &[Tile] {
        self.tiles.as_slice()
    }

    pub(crate) fn plane(&self, plane: usize) -> &[Tile] {
        let size = self.grid().tiles();
        &self.tiles()[plane * size..][..size]
    }

    pub(crate) fn plane_scales(&self, plane: usize) -> &[f32] {
        let size = self.scales.len() / self.spec.planes;
        &self.scales[plane * size..][..size]
    }

    /// The scales of the columns, where the granularity has them.
    pub(crate) fn column_scales(&self, plane: usize) -> Option<&[f32]> {
        let scales = self.plane_scales(plane);
        match self.granularity() {
            Granularity::Col => Some(scales),
            Granularity::RowCol => Some(&scales[self.rows()..]),
            _ => None,
        }
    }

    pub(crate) fn largest_scale(&self, plane: usize) -> f32 {
        self.largest[plane]
    }

    /// Blocks of a row; 1 where there are none.
    pub(crate) fn blocks(&self) -> usize {
        self.cols().div_ceil(self.granularity().block_cols(self.cols()))
    }
}

impl fmt::Debug for PackedDelta {
    /// Prints the description; bits and scales are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedDelta").field("spec", &self.spec).field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// Checks a number of dimensions.
pub(crate) fn check_rank(rank: usize) -> Result<()> {
    if rank <= MAX_RANK {
        return Ok(());
    }
    Err(Error::TooLarge { what: "rank", value: rank as u64, limit: MAX_RANK as u64 })
}

/// Whether a value may be a scale: finite and not negative, also not `-0.0`.
fn is_scale(value: f32) -> bool {
    value.is_finite() && value.is_sign_positive()
}

fn largest_scales(spec: &PackedSpec, scales: &[f32]) -> [f32; MAX_PLANES] {
    let mut largest = [1.0; MAX_PLANES];
    let size = scales.len() / spec.planes;
    for (plane, largest) in largest.iter_mut().enumerate().take(spec.planes) {
        let scales = &scales[plane * size..][..size];
        let outer = match spec.granularity {
            Granularity::Col => continue,
            Granularity::RowCol => &scales[..spec.rows],
            _ => scales,
        };
        *largest = outer.iter().fold(0.0_f32, |a, &b| a.max(b));
    }
    largest
}

const MAX_RANK: usize = 8;

/// Largest number of weights of a matrix.
pub(crate) const MAX_WEIGHTS: u64 = 1 << 40;
