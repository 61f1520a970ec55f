//! The adapter file, version 1: a safetensors file with a canonical header, a digest of every tensor, and the digest of the
//! base model.

use crate::delta::PackedSpec;
use crate::digest::BaseDigest;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::layout::{Grid, Layout, TILE_ROWS};
use crate::options::Granularity;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

pub(crate) mod payload;
pub(crate) mod read;
pub(crate) mod wire;

/// When the digests, padding bits and scales of a file are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Verify {
    /// All at once, before the adapter is handed out.
    Eager,
    /// Each tensor once, when it is first used. A tensor that fails does so for ever.
    #[default]
    Lazy,
    /// As lazy, but digests are taken on trust: only padding bits and scales are checked.
    Trusted,
}

/// How to read an adapter; the default is canonical files, verified lazily.
///
/// ```
/// use hanzo_bitdelta::{Adapter, Dtype, Error, RawTensor, ReadOptions, Verify};
/// let adapter = Adapter::builder().entry("w", RawTensor::new(Dtype::U8, &[1], vec![1])?).build()?;
/// let mut file = adapter.to_bytes()?;
/// *file.last_mut().unwrap() ^= 1;
/// // Eagerly, the wrong byte shows at once; lazily, when the tensor is used.
/// let eager = Adapter::from_bytes(file.clone().into(), ReadOptions::new().verify(Verify::Eager));
/// assert!(matches!(eager, Err(Error::Checksum { .. })));
/// let lazy = Adapter::from_bytes(file.into(), ReadOptions::new())?;
/// assert!(matches!(lazy.get("w"), Err(Error::Checksum { .. })));
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ReadOptions {
    pub(crate) verify: Verify,
    pub(crate) allow_noncanonical: bool,
}

impl ReadOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets when tensors are checked.
    #[must_use]
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// Accepts a header that another tool rewrote: other key order, white space, tensor order, alignment or extra keys.
    /// Duplicate keys go unnoticed then; all other checks stay.
    #[must_use]
    pub fn allow_noncanonical(mut self, allow: bool) -> Self {
        self.allow_noncanonical = allow;
        self
    }
}

/// A header whose every field is valid.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) base_digest: Option<BaseDigest>,
    pub(crate) base_id: String,
    pub(crate) layout: Layout,
    pub(crate) producer: String,
    /// Sorted by name, no two names or stored names alike.
    pub(crate) records: Vec<Record>,
}

/// One entry of the manifest.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: Kind,
}

/// What an entry holds.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Packed { spec: PackedSpec, sign: [u8; 32], scale: [u8; 32] },
    Raw { dtype: Dtype, data: [u8; 32] },
    Zero { source_dtype: Dtype },
}

/// Which bytes of an entry a stored tensor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Sign,
    Scale,
    Data,
}

/// A tensor of the file that the manifest calls for.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
    /// Offsets of its bytes in the data of a canonical file.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Index of its record, and what it holds of it.
    pub(crate) record: usize,
    pub(crate) part: Part,
}

impl Header {
    /// The stored tensors in canonical order with canonical offsets.
    pub(crate) fn stored(&self) -> Result<Vec<Stored>> {
        let mut stored = Vec::new();
        for (index, record) in self.records.iter().enumerate() {
            let mut push = |name: String, dtype: Dtype, shape: Vec<u64>, part| {
                stored.push(Stored { name, dtype, shape, start: 0, end: 0, record: index, part });
            };
            match &record.kind {
                Kind::Packed { spec, .. } => {
                    let (dtype, shape) = sign_shape(spec, self.layout);
                    push(format!("{}.sign", record.name), dtype, shape, Part::Sign);
                    let shape = vec![spec.planes as u64, spec.check()? as u64];
                    push(format!("{}.scale", record.name), spec.scale_dtype.dtype(), shape, Part::Scale);
                }
                Kind::Raw { dtype, .. } => {
                    let shape = record.shape.iter().map(|&dim| dim as u64).collect();
                    push(record.name.clone(), *dtype, shape, Part::Data);
                }
                Kind::Zero { .. } => {}
            }
        }
        stored.sort_by(|a, b| b.class().cmp(&a.class()).then_with(|| a.name.cmp(&b.name)));
        let mut offset = 0_u64;
        for tensor in &mut stored {
            tensor.start = offset;
            let size = tensor.shape.iter().try_fold(tensor.dtype.size() as u64, |size, &dim| size.checked_mul(dim));
            let end = size.and_then(|size| offset.checked_add(size)).ok_or(Error::TooLarge {
                what: "data",
                value: u64::MAX,
                limit: u64::MAX - 1,
            })?;
            tensor.end = end;
            offset = end;
        }
        Ok(stored)
    }

    /// Checks what the types of the fields do not say: lengths, and that no two stored tensors share a name.
    pub(crate) fn check(&self) -> Result<()> {
        check_limit("number of entries", self.records.len(), MAX_ENTRIES)?;
        check_limit("length of base_id", self.base_id.len(), MAX_BASE_ID)?;
        check_limit("length of producer", self.producer.len(), MAX_PRODUCER)?;
        let mut names = BTreeSet::from([wire::METADATA.to_string()]);
        let mut entries = BTreeSet::new();
        for record in &self.records {
            check_limit("length of a name", record.name.len(), MAX_NAME)?;
            let stored: &[String] = &match record.kind {
                Kind::Packed { .. } => vec![format!("{}.sign", record.name), format!("{}.scale", record.name)],
                Kind::Raw { .. } => vec![record.name.clone()],
                Kind::Zero { .. } => vec![],
            };
            let twice = !entries.insert(&record.name);
            if let Some(name) = stored.iter().find(|name| !names.insert((*name).clone())) {
                return Err(Error::DuplicateTensor(name.clone()));
            }
            if twice {
                return Err(Error::DuplicateTensor(record.name.clone()));
            }
        }
        Ok(())
    }
}

impl Stored {
    /// Alignment class: signs are first, so that tiles lie on cache lines.
    fn class(&self) -> usize {
        if self.part == Part::Sign { 64 } else { self.dtype.size() }
    }
}

/// Type and shape of the sign tensor.
fn sign_shape(spec: &PackedSpec, layout: Layout) -> (Dtype, Vec<u64>) {
    let grid = Grid { rows: spec.rows, cols: spec.cols };
    let planes = spec.planes as u64;
    match layout {
        Layout::Tiled16 => (Dtype::U32, vec![planes, grid.bands() as u64, grid.words() as u64, TILE_ROWS as u64]),
        Layout::RowMajor64 => (Dtype::U64, vec![planes, spec.rows as u64, grid.wide_words() as u64]),
    }
}

/// The word of a granularity, and the block it states.
pub(crate) fn granularity_word(granularity: Granularity) -> (&'static str, u64) {
    match granularity {
        Granularity::Tensor => ("tensor", 0),
        Granularity::Row => ("row", 0),
        Granularity::Col => ("col", 0),
        Granularity::RowCol => ("rowcol", 0),
        Granularity::Block(g) => ("block", u64::from(g.get())),
    }
}

pub(crate) fn check_limit(what: &'static str, value: usize, limit: usize) -> Result<()> {
    if value <= limit {
        return Ok(());
    }
    Err(Error::TooLarge { what, value: value as u64, limit: limit as u64 })
}

/// Largest header in bytes.
pub(crate) const MAX_HEADER: usize = 16 << 20;
const MAX_ENTRIES: usize = 65_536;
const MAX_NAME: usize = 1024;
const MAX_BASE_ID: usize = 256;
const MAX_PRODUCER: usize = 128;
