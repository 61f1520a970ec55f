//! From bytes to a checked header. The order of the checks is part of the format: nothing is allocated for a size that the
//! file claims before the file is known to be that long.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::Range;

use super::wire::{self, Wire, WireEntry, WireKind, WirePacked, malformed, sign_zero_word};
use super::{Header, Kind, MAX_ENTRIES, MAX_HEADER, MAX_NAME, Part, Record, check_limit};
use crate::delta::{MAX_WEIGHTS, PackedSpec, check_rank};
use crate::digest::{parse_base, parse_hex};
use crate::dtype::{Dtype, ScaleDtype};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::options::{Granularity, MAX_PLANES, SignZero};

/// A file whose header and sizes are checked, and whose tensors are not.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) header: Header,
    /// The canonical header, without trailing spaces, if the file has it.
    pub(crate) text: Option<Vec<u8>>,
    /// Byte ranges in the file of the parts of each record, in the order sign, scale or data.
    pub(crate) parts: Vec<Vec<Range<usize>>>,
}

/// Checks everything but the content of the tensors.
pub(crate) fn read(file: &[u8], allow_noncanonical: bool) -> Result<File> {
    let (length, rest) = file.split_first_chunk::<8>().ok_or(malformed("the file is shorter than 8 bytes"))?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER as u64 {
        return Err(Error::TooLarge { what: "header", value: length, limit: MAX_HEADER as u64 });
    }
    // At most 16 MiB: fits.
    let (text, data) = rest.split_at_checked(length as usize).ok_or(malformed("the header is longer than the file"))?;
    if text.first() != Some(&b'{') {
        return Err(malformed("the header does not start with a brace"));
    }
    let text = core::str::from_utf8(text).map_err(|_| malformed("the header is not UTF-8"))?;
    let wire = wire::parse(text)?;
    let mut bare = None;
    if !allow_noncanonical {
        let own = wire.render().into_bytes();
        let len = own.len();
        let mut canonical = pad(own);
        if canonical != text.as_bytes() {
            let same = canonical.iter().zip(text.as_bytes()).take_while(|(a, b)| a == b).count();
            return Err(Error::NonCanonical { at: 8 + same });
        }
        canonical.truncate(len);
        bare = Some(canonical);
    }
    check_limits(&wire)?;
    let header = header(&wire)?;
    header.check()?;
    let parts = locate(&header, &wire, data.len(), !allow_noncanonical)?;
    let start = file.len() - data.len();
    let shift = |part: Range<usize>| start + part.start..start + part.end;
    let parts = parts.into_iter().map(|parts| parts.into_iter().map(shift).collect()).collect();
    Ok(File { header, text: bare, parts })
}

/// Appends the spaces that put the data on a multiple of 64 bytes.
pub(crate) fn pad(mut header: Vec<u8>) -> Vec<u8> {
    header.resize((8 + header.len()).next_multiple_of(64) - 8, b' ');
    header
}

/// Finds the stored tensors of every record: all there, none left over, as the manifest says, side by side from 0 to the end.
fn locate(header: &Header, wire: &Wire, size: usize, canonical: bool) -> Result<Vec<Vec<Range<usize>>>> {
    let expected = header.stored()?;
    let mut found = Vec::with_capacity(expected.len());
    for stored in &expected {
        let tensor = wire.tensors.get(&stored.name);
        found.push((stored, tensor.ok_or_else(|| Error::MissingTensor(stored.name.clone()))?));
    }
    if wire.tensors.len() != found.len() {
        return Err(malformed("a tensor belongs to no entry"));
    }
    for (stored, tensor) in &found {
        if Dtype::from_word(&tensor.dtype) != Some(stored.dtype) {
            return Err(malformed("a tensor has another dtype than its entry says"));
        }
        if tensor.shape != stored.shape {
            return Err(malformed("a tensor has another shape than its entry says"));
        }
    }
    if !canonical {
        found.sort_by_key(|(_, tensor)| tensor.offsets);
    }
    let mut offset = 0;
    for (stored, tensor) in &found {
        let end = tensor.offsets[0].checked_add(stored.end - stored.start);
        if tensor.offsets[0] != offset || end != Some(tensor.offsets[1]) {
            return Err(malformed("the offsets of a tensor are wrong"));
        }
        offset = tensor.offsets[1];
    }
    if offset != size as u64 {
        return Err(malformed("the data is not as long as its tensors"));
    }
    let mut parts = alloc::vec![Vec::new(); header.records.len()];
    for part in [Part::Sign, Part::Scale, Part::Data] {
        for (stored, tensor) in found.iter().filter(|(stored, _)| stored.part == part) {
            // Offsets are within the data, which is in memory: they fit.
            parts[stored.record].push(tensor.offsets[0] as usize..tensor.offsets[1] as usize);
        }
    }
    Ok(parts)
}

/// The limits, before any field is looked at.
fn check_limits(wire: &Wire) -> Result<()> {
    check_limit("number of entries", wire.manifest.len(), MAX_ENTRIES)?;
    for entry in &wire.manifest {
        check_limit("length of a name", entry.name.len(), MAX_NAME)?;
        check_rank(entry.shape.len())?;
        check_weights(&entry.shape)?;
        if let WireKind::Packed(packed) = &entry.kind {
            check_weights(&[packed.rows, packed.cols])?;
        }
    }
    Ok(())
}

fn check_weights(shape: &[u64]) -> Result<()> {
    let weights = shape.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim));
    for &value in shape.iter().chain(&[weights.unwrap_or(u64::MAX)]) {
        if value > MAX_WEIGHTS || usize::try_from(value).is_err() {
            return Err(Error::TooLarge { what: "number of weights", value, limit: MAX_WEIGHTS });
        }
    }
    Ok(())
}

/// The meaning of the fields.
fn header(wire: &Wire) -> Result<Header> {
    let mut records: Vec<Record> = wire.manifest.iter().map(record).collect::<Result<_>>()?;
    records.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Header {
        base_digest: parse_base(&wire.base_digest).ok_or(malformed("the base digest is no digest"))?,
        base_id: wire.base_id.clone(),
        layout: Layout::from_word(&wire.layout).ok_or(malformed("the layout is unknown"))?,
        producer: wire.producer.clone(),
        records,
    })
}

fn record(entry: &WireEntry) -> Result<Record> {
    let digest = |text: &str| parse_hex(text).ok_or(malformed("a digest is not 64 lower-case digits"));
    let dtype = |word: &str| Dtype::from_word(word).ok_or(malformed("a dtype is unknown"));
    let kind = match &entry.kind {
        WireKind::Packed(packed) => {
            let spec = spec(packed)?;
            if entry.shape.iter().product::<u64>() != packed.rows * packed.cols {
                return Err(malformed("rows and cols do not match the shape"));
            }
            Kind::Packed { spec, sign: digest(&packed.sign)?, scale: digest(&packed.scale)? }
        }
        WireKind::Raw { dtype: word, data } => Kind::Raw { dtype: dtype(word)?, data: digest(data)? },
        WireKind::Zero { source_dtype } => Kind::Zero { source_dtype: dtype(source_dtype)? },
    };
    // Each dimension is within the limit on weights, which fits.
    let shape = entry.shape.iter().map(|&dim| dim as usize).collect();
    Ok(Record { name: entry.name.to_string(), shape, kind })
}

fn spec(packed: &WirePacked) -> Result<PackedSpec> {
    let granularity = match (packed.granularity.as_str(), packed.block) {
        ("tensor", 0) => Granularity::Tensor,
        ("row", 0) => Granularity::Row,
        ("col", 0) => Granularity::Col,
        ("rowcol", 0) => Granularity::RowCol,
        ("block", block) => {
            let granularity = u32::try_from(block).ok().and_then(|block| Granularity::block(block).ok());
            granularity.ok_or(malformed("a block is not a positive multiple of 32"))?
        }
        ("tensor" | "row" | "col" | "rowcol", _) => return Err(malformed("only block granularity has a block")),
        _ => return Err(malformed("a granularity is unknown")),
    };
    let planes = usize::try_from(packed.planes).ok().filter(|planes| (1..=MAX_PLANES).contains(planes));
    let sign_zero =
        [SignZero::Negative, SignZero::Positive].into_iter().find(|&sign| sign_zero_word(sign) == packed.sign_zero);
    let spec = PackedSpec {
        // Both sides are within the limit on weights, which fits.
        rows: packed.rows as usize,
        cols: packed.cols as usize,
        granularity,
        planes: planes.ok_or(malformed("planes is not 1 to 4"))?,
        sign_zero: sign_zero.ok_or(malformed("a sign rule is unknown"))?,
        scale_dtype: Dtype::from_word(&packed.scale_dtype)
            .and_then(ScaleDtype::from_dtype)
            .ok_or(malformed("a scale dtype is unknown"))?,
        source_dtype: Dtype::from_word(&packed.source_dtype).ok_or(malformed("a dtype is unknown"))?,
    };
    spec.check()?;
    Ok(spec)
}
