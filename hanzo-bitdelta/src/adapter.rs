//! A fine-tune as named entries over a base model.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

#[cfg(not(feature = "std"))]
use core::cell::OnceCell as Once;
#[cfg(feature = "std")]
use std::sync::OnceLock as Once;

use self::bound::BoundAdapter;
use self::builder::AdapterBuilder;
use crate::delta::PackedDelta;
use crate::digest::{AdapterId, BaseDigest, check_len};
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::format::wire::Wire;
use crate::format::{Header, Kind, Part, ReadOptions, Verify, payload, read};
use crate::layout::Layout;
#[cfg(feature = "std")]
use crate::tiles::AlignedBytes;
use crate::tiles::FileBytes;

pub(crate) mod bound;
pub(crate) mod builder;
pub(crate) mod selection;

/// One tensor of an adapter.
///
/// ```
/// use hanzo_bitdelta::{Adapter, Dtype, Entry, RawTensor, ZeroTensor};
/// let adapter = Adapter::builder()
///     .entry("norm", RawTensor::new(Dtype::U8, &[3], vec![1, 2, 3])?)
///     .entry("head", ZeroTensor::new(Dtype::F32, &[2, 2])?)
///     .build()?;
/// assert_eq!(adapter.names().collect::<Vec<_>>(), ["head", "norm"]);
/// assert!(matches!(adapter.get("norm")?, Entry::Raw(tensor) if tensor.data() == [1, 2, 3]));
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// The packed difference to the base tensor.
    Packed(PackedDelta),
    /// The fine-tuned tensor itself: it replaces the base tensor.
    Raw(RawTensor),
    /// The fine-tuned tensor is the base tensor.
    Zero(ZeroTensor),
}

impl From<PackedDelta> for Entry {
    fn from(delta: PackedDelta) -> Self {
        Self::Packed(delta)
    }
}

impl From<RawTensor> for Entry {
    fn from(tensor: RawTensor) -> Self {
        Self::Raw(tensor)
    }
}

impl From<ZeroTensor> for Entry {
    fn from(tensor: ZeroTensor) -> Self {
        Self::Zero(tensor)
    }
}

/// A tensor stored as it is: little-endian row-major bytes.
#[derive(Clone, PartialEq)]
pub struct RawTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl RawTensor {
    /// A tensor of these bytes.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when `data` is not as long as the shape and the type say; [`Error::TooLarge`] when the
    /// shape has more than 8 dimensions.
    pub fn new(dtype: Dtype, shape: &[usize], data: Vec<u8>) -> Result<Self> {
        crate::delta::check_rank(shape.len())?;
        check_len(dtype, shape, &data)?;
        Ok(Self { dtype, shape: shape.to_vec(), data })
    }

    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Shape.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Little-endian row-major bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

impl fmt::Debug for RawTensor {
    /// Prints type and shape; the bytes are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawTensor").field("dtype", &self.dtype).field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// A tensor that the fine-tune left as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZeroTensor {
    source_dtype: Dtype,
    shape: Vec<usize>,
}

impl ZeroTensor {
    /// A tensor of this type and shape.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the shape has more than 8 dimensions or more than 2^40 elements.
    pub fn new(source_dtype: Dtype, shape: &[usize]) -> Result<Self> {
        crate::delta::check_rank(shape.len())?;
        let weights = shape.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim as u64));
        let value = weights.unwrap_or(u64::MAX);
        let limit = crate::delta::MAX_WEIGHTS;
        if value > limit {
            return Err(Error::TooLarge { what: "number of weights", value, limit });
        }
        Ok(Self { source_dtype, shape: shape.to_vec() })
    }

    /// Element type of the base tensor.
    #[must_use]
    pub fn source_dtype(&self) -> Dtype {
        self.source_dtype
    }

    /// Shape.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Rows and columns of the tensor as a matrix: all dimensions but the last are rows.
    fn size(&self) -> [usize; 2] {
        selection::fold(&self.shape)
    }
}

/// A fine-tune: packed differences, replaced tensors and a note of the unchanged ones, each under its name, for one base
/// model. Immutable; a clone shares everything.
///
/// Two adapters are equal when their canonical headers are, that is when they hold the same bytes under the same names
/// for the same base. Without the feature `std` an adapter cannot be shared between threads.
///
/// ```
/// use hanzo_bitdelta::{Adapter, Dtype, Entry, ReadOptions, Selection, TensorView, base_digest};
/// let weights = |step: f32| -> Vec<u8> { (0..32 * 32).flat_map(|i| (i as f32 * step).to_le_bytes()).collect() };
/// let (base, fine) = (weights(0.5), weights(0.75));
/// let base = [TensorView::new("w", Dtype::F32, &[32, 32], &base)?];
/// let fine = [TensorView::new("w", Dtype::F32, &[32, 32], &fine)?];
/// let adapter = Adapter::builder().compress(&base, &fine, &Selection::default())?.build()?;
///
/// let file = adapter.to_bytes()?;
/// let read = Adapter::from_bytes(file.into(), ReadOptions::default())?;
/// assert_eq!(read.id(), adapter.id());
/// let bound = read.bind(&base_digest(&base)?)?;
/// assert!(matches!(bound.get("w")?, Entry::Packed(_)));
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Clone)]
pub struct Adapter {
    inner: Arc<Inner>,
}

struct Inner {
    header: Header,
    /// The canonical header, without trailing spaces.
    text: Vec<u8>,
    id: AdapterId,
    /// One a record.
    slots: Vec<Slot>,
}

/// An entry, or the bytes that it will be made of when it is first used.
struct Slot {
    entry: Once<Result<Entry>>,
    source: Option<Source>,
}

struct Source {
    file: FileBytes,
    parts: Vec<Range<usize>>,
    verify: bool,
}

impl Adapter {
    /// Starts a new adapter.
    pub fn builder() -> AdapterBuilder {
        AdapterBuilder::default()
    }

    /// Reads an adapter file.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; else as for [`from_bytes`](Self::from_bytes).
    #[cfg(feature = "std")]
    #[cfg_attr(docsrs, doc(cfg(feature = "std")))]
    pub fn open(path: impl AsRef<std::path::Path>, options: ReadOptions) -> Result<Self> {
        let bytes = AlignedBytes::read(path.as_ref()).map_err(|error| Error::Io { kind: error.kind() })?;
        Self::from_file(&FileBytes::Buffer(Arc::new(bytes)), options)
    }

    /// Maps an adapter file into memory: pages are read when they are first looked at, and the sign bits of a file in
    /// [`Layout::Tiled16`] are used in place. Opening takes as long as reading the header does.
    ///
    /// # Safety
    /// Nobody may write to the file or shorten it while the adapter, a clone of it or one of its deltas is alive: products
    /// would be wrong, or the process would get a signal. [`open`](Self::open) has no such condition.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    ///
    /// ```
    /// use hanzo_bitdelta::{Adapter, MatRef, PackOptions, PackedDelta, ReadOptions};
    /// let delta = PackedDelta::from_delta(MatRef::new(&[0.5_f32; 64], 2, 32)?, &PackOptions::new())?;
    /// let adapter = Adapter::builder().entry("w", delta).build()?;
    /// let path = std::env::temp_dir().join(format!("bitdelta-map-{}.safetensors", std::process::id()));
    /// std::fs::write(&path, adapter.to_bytes()?).unwrap();
    /// // SAFETY: nobody else knows the file.
    /// let mapped = unsafe { Adapter::map(&path, ReadOptions::default())? };
    /// assert_eq!(mapped.get("w")?, adapter.get("w")?);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), hanzo_bitdelta::Error>(())
    /// ```
    #[cfg(feature = "mmap")]
    #[cfg_attr(docsrs, doc(cfg(feature = "mmap")))]
    #[expect(unsafe_code, reason = "hands the condition of the map on to the caller")]
    pub unsafe fn map(path: impl AsRef<std::path::Path>, options: ReadOptions) -> Result<Self> {
        // SAFETY: the condition is the caller's.
        let map = unsafe { crate::map::Map::open(path.as_ref()) };
        let map = map.map_err(|error| Error::Io { kind: error.kind() })?;
        Self::from_file(&FileBytes::Map(Arc::new(map)), options)
    }

    /// Bytes that the adapter holds: those of its file, and of decoded tensors that do not lie in it.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let inner = &self.inner;
        // A file is one: the slots that still need it name it, or the deltas that lie in it.
        let named = inner.slots.iter().filter_map(|slot| Some(slot.source.as_ref()?.file.as_slice().len()));
        let used = inner.slots.iter().filter_map(|slot| match slot.entry.get()?.as_ref().ok()? {
            Entry::Packed(delta) => delta.file_len(),
            _ => None,
        });
        let file = named.chain(used).max().unwrap_or(0);
        let decoded = inner.slots.iter().filter_map(|slot| slot.entry.get()?.as_ref().ok()).map(|entry| match entry {
            Entry::Packed(delta) => delta.memory_bytes(),
            Entry::Raw(tensor) => tensor.data.len(),
            Entry::Zero(_) => 0,
        });
        inner.text.len() + file + decoded.sum::<usize>()
    }

    /// Reads the bytes of an adapter file. With [`Verify::Lazy`] and [`Verify::Trusted`] only the header is looked at, and
    /// the bytes are kept for later.
    ///
    /// # Errors
    /// The first of these checks that fails: [`Error::Malformed`] or [`Error::TooLarge`] for the frame, the JSON, or the
    /// format; [`Error::UnsupportedVersion`]; [`Error::NonCanonical`]; [`Error::TooLarge`] for a limit;
    /// [`Error::Malformed`] for a field, [`Error::DuplicateTensor`] for a name; [`Error::MissingTensor`] and
    /// [`Error::Malformed`] for the stored tensors; with [`Verify::Eager`] also those of [`verify`](Self::verify).
    pub fn from_bytes(bytes: Arc<[u8]>, options: ReadOptions) -> Result<Self> {
        Self::from_file(&FileBytes::Shared(bytes), options)
    }

    fn from_file(bytes: &FileBytes, options: ReadOptions) -> Result<Self> {
        let file = read::read(bytes.as_slice(), options.allow_noncanonical)?;
        let verify = options.verify != Verify::Trusted;
        let slots = file
            .parts
            .into_iter()
            .map(|parts| Slot { entry: Once::new(), source: Some(Source { file: bytes.clone(), parts, verify }) });
        let slots = slots.collect();
        let mut adapter = match file.text {
            Some(text) => Self::with_text(file.header, text, slots)?,
            None => Self::assemble(file.header, slots)?,
        };
        if options.verify == Verify::Eager {
            adapter.verify()?;
            // Everything is decoded: let go of the file.
            if let Some(inner) = Arc::get_mut(&mut adapter.inner) {
                inner.slots.iter_mut().for_each(|slot| slot.source = None);
            }
        }
        Ok(adapter)
    }

    /// The canonical bytes of the file. Reading them gives an equal adapter.
    ///
    /// # Errors
    /// As for [`verify`](Self::verify), for tensors that were not used yet.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let header = read::pad(self.inner.text.clone());
        let stored = self.inner.header.stored()?;
        let mut out = Vec::new();
        out.extend_from_slice(&(header.len() as u64).to_le_bytes());
        out.extend_from_slice(&header);
        for stored in &stored {
            match (self.entry(stored.record)?, stored.part) {
                (Entry::Packed(delta), Part::Sign) => {
                    out.append(&mut payload::sign_bytes(delta, self.inner.header.layout));
                }
                (Entry::Packed(delta), _) => out.append(&mut payload::scale_bytes(delta)),
                (Entry::Raw(tensor), _) => out.extend_from_slice(&tensor.data),
                (Entry::Zero(_), _) => {}
            }
        }
        Ok(out)
    }

    /// The same adapter, to be stored in another layout. Its id differs.
    ///
    /// # Errors
    /// As for [`verify`](Self::verify); [`Error::TooLarge`] when the header would be.
    pub fn with_layout(&self, layout: Layout) -> Result<Self> {
        let header = &self.inner.header;
        let mut builder = self.same_description().layout(layout);
        for (index, record) in header.records.iter().enumerate() {
            builder = builder.entry(&record.name, self.entry(index)?.clone());
        }
        builder.build()
    }

    /// The same adapter with every packed delta replaced; everything else stays as it is.
    ///
    /// # Errors
    /// Those of `replace`, and as for [`verify`](Self::verify); [`Error::TooLarge`] when the header would be.
    pub fn map_packed(&self, mut replace: impl FnMut(&str, &PackedDelta) -> Result<PackedDelta>) -> Result<Self> {
        let header = &self.inner.header;
        let mut builder = self.same_description().layout(header.layout);
        for (index, record) in header.records.iter().enumerate() {
            let entry = match self.entry(index)? {
                Entry::Packed(delta) => replace(&record.name, delta)?.with_shape(delta.shape())?.into(),
                other => other.clone(),
            };
            builder = builder.entry(&record.name, entry);
        }
        builder.build()
    }

    fn same_description(&self) -> AdapterBuilder {
        let header = &self.inner.header;
        let builder = Self::builder().base_id(&header.base_id).producer(&header.producer);
        match header.base_digest {
            Some(digest) => builder.base_digest(digest),
            None => builder,
        }
    }

    /// Checks digests (unless the adapter was read with [`Verify::Trusted`]), padding bits and scales of all tensors.
    ///
    /// # Errors
    /// [`Error::Checksum`], for the first tensor that has one wrong; else [`Error::Malformed`] or [`Error::InvalidScale`].
    pub fn verify(&self) -> Result<()> {
        let (header, slots) = (&self.inner.header, &self.inner.slots);
        for (index, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.entry.get().is_none()) {
            slot.check_digests(header, index)?;
        }
        (0..slots.len()).try_for_each(|index| self.entry(index).map(|_| ()))
    }

    /// BLAKE3 digest of the canonical header, and through it of all tensors.
    #[must_use]
    pub fn id(&self) -> AdapterId {
        self.inner.id
    }

    /// The base model the adapter belongs to, if it says so.
    #[must_use]
    pub fn base_digest(&self) -> Option<BaseDigest> {
        self.inner.header.base_digest
    }

    /// Free text that names the base model.
    #[must_use]
    pub fn base_id(&self) -> &str {
        &self.inner.header.base_id
    }

    /// Free text that names the program that wrote the adapter.
    #[must_use]
    pub fn producer(&self) -> &str {
        &self.inner.header.producer
    }

    /// Layout of the signs in the file.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.inner.header.layout
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.slots.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.slots.is_empty()
    }

    /// Names of the entries, in byte order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.inner.header.records.iter().map(|record| record.name.as_str())
    }

    /// The entry of this name, checked and decoded if this is its first use.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] when there is none; [`Error::Checksum`], [`Error::Malformed`] or [`Error::InvalidScale`]
    /// when its bytes are wrong, at every call.
    pub fn get(&self, name: &str) -> Result<&Entry> {
        let index = self.inner.header.records.binary_search_by(|record| record.name.as_str().cmp(name));
        self.entry(index.map_err(|_| Error::MissingTensor(name.to_string()))?)
    }

    /// The adapter for use with the base model of this digest.
    ///
    /// # Errors
    /// [`Error::BaseMismatch`] when it belongs to another; [`Error::Unbound`] when it names none.
    pub fn bind(&self, base: &BaseDigest) -> Result<BoundAdapter> {
        let expected = self.base_digest().ok_or(Error::Unbound)?;
        if expected != *base {
            return Err(Error::BaseMismatch { expected, found: *base });
        }
        Ok(self.bind_unchecked())
    }

    /// The adapter for use with a base model that the caller answers for. Over another base its products are well defined,
    /// and meaningless.
    #[must_use]
    pub fn bind_unchecked(&self) -> BoundAdapter {
        BoundAdapter::new(self.clone())
    }

    fn entry(&self, index: usize) -> Result<&Entry> {
        let header = &self.inner.header;
        let slot = &self.inner.slots[index];
        slot.entry.get_or_init(|| slot.decode(header, index)).as_ref().map_err(Clone::clone)
    }

    /// Puts a valid header and its entries together.
    fn assemble(header: Header, slots: Vec<Slot>) -> Result<Self> {
        let text = Wire::new(&header, &header.stored()?).render().into_bytes();
        Self::with_text(header, text, slots)
    }

    /// [`assemble`](Self::assemble) with the header's canonical form.
    fn with_text(header: Header, text: Vec<u8>, slots: Vec<Slot>) -> Result<Self> {
        crate::format::check_limit("header", read::pad(text.clone()).len(), crate::format::MAX_HEADER)?;
        let id = AdapterId::of_header(&text);
        #[cfg_attr(
            not(feature = "std"),
            expect(clippy::arc_with_non_send_sync, reason = "without std there is no cell that threads can share")
        )]
        Ok(Self { inner: Arc::new(Inner { header, text, id, slots }) })
    }
}

impl PartialEq for Adapter {
    fn eq(&self, other: &Self) -> bool {
        self.inner.text == other.inner.text
    }
}

impl fmt::Debug for Adapter {
    /// Prints id, base and names; contents are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter")
            .field("id", &self.id().to_string())
            .field("base_digest", &self.base_digest().map(|digest| digest.to_string()))
            .field("names", &self.names().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Slot {
    /// A slot whose entry needs no decoding.
    fn ready(entry: Entry) -> Self {
        let slot = Self { entry: Once::new(), source: None };
        slot.entry.get_or_init(|| Ok(entry));
        slot
    }

    fn decode(&self, header: &Header, index: usize) -> Result<Entry> {
        self.check_digests(header, index)?;
        let record = &header.records[index];
        let missing = || Error::MissingTensor(record.name.clone());
        let source = self.source.as_ref().ok_or_else(missing)?;
        let part = |part: usize| source.parts.get(part).ok_or_else(missing);
        Ok(match &record.kind {
            Kind::Packed { spec, .. } => {
                let parts = [part(0)?, part(1)?];
                Entry::Packed(payload::decode(spec, &record.shape, header.layout, &source.file, parts)?)
            }
            Kind::Raw { dtype, .. } => {
                let bytes = source.file.as_slice().get(part(0)?.clone()).ok_or_else(missing)?;
                Entry::Raw(RawTensor::new(*dtype, &record.shape, bytes.to_vec())?)
            }
            Kind::Zero { source_dtype } => Entry::Zero(ZeroTensor::new(*source_dtype, &record.shape)?),
        })
    }

    fn check_digests(&self, header: &Header, index: usize) -> Result<()> {
        let Some(source) = self.source.as_ref().filter(|source| source.verify) else {
            return Ok(());
        };
        let record = &header.records[index];
        let digests: &[([u8; 32], &str)] = &match record.kind {
            Kind::Packed { sign, scale, .. } => vec![(sign, ".sign"), (scale, ".scale")],
            Kind::Raw { data, .. } => vec![(data, "")],
            Kind::Zero { .. } => vec![],
        };
        for (range, (digest, suffix)) in source.parts.iter().zip(digests) {
            let bytes = source.file.as_slice().get(range.clone()).unwrap_or_default();
            if blake3::hash(bytes).as_bytes() != digest {
                return Err(Error::Checksum { tensor: alloc::format!("{}{suffix}", record.name) });
            }
        }
        Ok(())
    }
}
