//! Putting an adapter together.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::selection::{Selection, Treatment, fold};
use super::{Adapter, Entry, RawTensor, Slot, ZeroTensor};
use crate::delta::PackedDelta;
use crate::digest::{BaseDigest, TensorView, base_digest};
use crate::dtype::Dtype;
use crate::element::{Bf16, Element, F16};
use crate::error::{Error, Extent, Result};
use crate::format::{Header, Kind, Record, payload};
use crate::layout::Layout;
use crate::options::PackOptions;
use crate::pack::Source;

/// Collects the entries and the description of an [`Adapter`].
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct AdapterBuilder {
    base_digest: Option<BaseDigest>,
    base_id: String,
    producer: String,
    layout: Layout,
    entries: Vec<(String, Entry)>,
}

impl AdapterBuilder {
    /// Sets the base model; without one the adapter is unbound.
    pub fn base_digest(mut self, digest: BaseDigest) -> Self {
        self.base_digest = Some(digest);
        self
    }

    /// Sets free text that names the base model, at most 256 bytes.
    pub fn base_id(mut self, text: &str) -> Self {
        self.base_id = text.to_string();
        self
    }

    /// Sets free text that names the writing program, at most 128 bytes.
    pub fn producer(mut self, text: &str) -> Self {
        self.producer = text.to_string();
        self
    }

    /// Sets the layout of the signs in the file.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Adds an entry.
    pub fn entry(mut self, name: &str, entry: impl Into<Entry>) -> Self {
        self.entries.push((name.to_string(), entry.into()));
        self
    }

    /// Adds entries for a whole model as `selection` says, and sets the base digest to that of the tensors that were packed.
    /// Dimensions before the last are rows. A packed difference of all zeros becomes a [`Zero`](Entry::Zero) entry. Only
    /// F32, F16 and BF16 tensors are packed; others are stored raw.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] for a tensor that only one of the two models has, unless it is skipped;
    /// [`Error::DuplicateTensor`]; [`Error::ShapeMismatch`] when shapes or types differ; those of
    /// [`PackedDelta::compress`], where [`Error::NonFinite`] carries the tensor's name.
    pub fn compress(mut self, base: &[TensorView<'_>], fine: &[TensorView<'_>], selection: &Selection) -> Result<Self> {
        let mut pairs: BTreeMap<&str, [Option<&TensorView<'_>>; 2]> = BTreeMap::new();
        for (side, tensors) in [base, fine].into_iter().enumerate() {
            for tensor in tensors {
                if pairs.entry(tensor.name()).or_default()[side].replace(tensor).is_some() {
                    return Err(Error::DuplicateTensor(tensor.name().to_string()));
                }
            }
        }
        let mut packed = Vec::new();
        for (name, pair) in pairs {
            let (base, fine) = match pair {
                [Some(base), Some(fine)] => (base, fine),
                [Some(lone), None] | [None, Some(lone)] => match selection.treatment(name, lone.shape()) {
                    Treatment::Skip => continue,
                    _ => return Err(Error::MissingTensor(name.to_string())),
                },
                [None, None] => continue,
            };
            let entry = match selection.treatment(name, fine.shape()) {
                Treatment::Skip => continue,
                treatment => {
                    let extent = |t: &TensorView<'_>| Extent { dtype: Some(t.dtype()), dims: t.shape().to_vec() };
                    if (base.dtype(), base.shape()) != (fine.dtype(), fine.shape()) {
                        return Err(Error::ShapeMismatch { expected: extent(base), found: extent(fine) });
                    }
                    match treatment {
                        Treatment::Pack(options) if is_packable(fine.dtype()) => {
                            packed.push(*base);
                            pack(base, fine, &options)?
                        }
                        _ => Entry::Raw(RawTensor::new(fine.dtype(), fine.shape(), fine.data().to_vec())?),
                    }
                }
            };
            self = self.entry(name, entry);
        }
        self.base_digest = Some(base_digest(&packed)?);
        Ok(self)
    }

    /// The adapter. Hashes all its bytes.
    ///
    /// # Errors
    /// [`Error::DuplicateTensor`] when two entries share a name, or one is stored under the name of another (raw `a.sign`
    /// beside packed `a`); [`Error::TooLarge`] when a name is above 1024 bytes, there are more than 65536 entries, or a
    /// text or the header is above its limit.
    pub fn build(mut self) -> Result<Adapter> {
        self.entries.sort_by(|a, b| a.0.cmp(&b.0));
        let records = self.entries.iter().map(|(name, entry)| record(name, entry, self.layout)).collect();
        let header = Header {
            base_digest: self.base_digest,
            base_id: self.base_id,
            layout: self.layout,
            producer: self.producer,
            records,
        };
        header.check()?;
        Adapter::assemble(header, self.entries.into_iter().map(|(_, entry)| Slot::ready(entry)).collect())
    }
}

fn record(name: &str, entry: &Entry, layout: Layout) -> Record {
    let hash = |bytes: &[u8]| *blake3::hash(bytes).as_bytes();
    let (shape, kind) = match entry {
        Entry::Packed(delta) => {
            let sign = hash(&payload::sign_bytes(delta, layout));
            let scale = hash(&payload::scale_bytes(delta));
            (delta.shape(), Kind::Packed { spec: *delta.spec(), sign, scale })
        }
        Entry::Raw(tensor) => (tensor.shape(), Kind::Raw { dtype: tensor.dtype(), data: hash(tensor.data()) }),
        Entry::Zero(zero) => (zero.shape(), Kind::Zero { source_dtype: zero.source_dtype() }),
    };
    Record { name: name.to_string(), shape: shape.to_vec(), kind }
}

fn pack(base: &TensorView<'_>, fine: &TensorView<'_>, options: &PackOptions) -> Result<Entry> {
    let (dtype, shape) = (fine.dtype(), fine.shape());
    let [rows, cols] = fold(shape);
    let source = Bytes { name: fine.name(), dtype, base: base.data(), fine: fine.data(), cols };
    let delta = PackedDelta::pack(&source, rows, cols, dtype, options)?;
    if delta.is_zero() {
        return Ok(Entry::Zero(ZeroTensor::new(dtype, shape)?));
    }
    Ok(Entry::Packed(delta.with_shape(shape)?))
}

/// Differences of two tensors given as bytes, which need not be aligned.
struct Bytes<'a> {
    name: &'a str,
    dtype: Dtype,
    base: &'a [u8],
    fine: &'a [u8],
    cols: usize,
}

impl Bytes<'_> {
    #[inline(always)]
    fn widened<const N: usize>(&self, i: usize, out: &mut [f32], widen: impl Fn([u8; N]) -> f32) {
        let row = |bytes: &[u8]| -> core::ops::Range<usize> {
            let start = (i * self.cols * N).min(bytes.len());
            start..bytes.len().min(start + self.cols * N)
        };
        let base = self.base[row(self.base)].as_chunks::<N>().0;
        let fine = self.fine[row(self.fine)].as_chunks::<N>().0;
        for ((d, &fine), &base) in out.iter_mut().zip(fine).zip(base) {
            *d = widen(fine) - widen(base);
        }
    }
}

impl Source for Bytes<'_> {
    #[inline(always)]
    fn row<'a>(&'a self, i: usize, out: &'a mut [f32]) -> &'a [f32] {
        match self.dtype {
            Dtype::F16 => self.widened(i, out, |b| F16::from_bits(u16::from_le_bytes(b)).to_f32()),
            Dtype::Bf16 => self.widened(i, out, |b| Bf16::from_bits(u16::from_le_bytes(b)).to_f32()),
            _ => self.widened(i, out, f32::from_le_bytes),
        }
        out
    }

    fn culprit(&self, _: usize, _: usize) -> &str {
        self.name
    }
}

fn is_packable(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16)
}
