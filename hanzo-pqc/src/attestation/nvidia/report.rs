//! The SPDM exchange: a request of 37 bytes, then the response with measurements, opaque fields and signature.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use p384::ecdsa::Signature;

use super::{AttestationError, GpuSwitch};

pub(super) const MAX_TRAILING: usize = 16;
const REQUEST_LEN: usize = 37;
const SIGNATURE_LEN: usize = 96;
const MEASUREMENTS: u8 = 64;

/// A report of good form; nothing of it is verified.
pub(super) struct Report<'a> {
    pub(super) signed: &'a [u8],
    pub(super) nonce: &'a [u8; 32],
    pub(super) measurements: Vec<&'a [u8; 48]>,
    pub(super) opaque: Vec<(u16, &'a [u8])>,
    pub(super) trailing: usize,
    signature: &'a [u8; SIGNATURE_LEN],
}

impl<'a> Report<'a> {
    /// Reads front to back. All lengths come from the fields, and each must end where what follows begins.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, AttestationError> {
        let mut reader = Bytes { bytes, at: 0 };
        reader.expect(&[0x11, 0xE0])?;
        // Whether a signature is asked for; then: all measurements.
        let offset = reader.at;
        if reader.array::<1>()?[0] & 1 == 0 {
            return Err(AttestationError::Malformed { offset });
        }
        reader.expect(&[0xFF])?;
        let nonce = reader.array()?;
        reader.take(REQUEST_LEN - 36)?;

        reader.expect(&[0x11, 0x60])?;
        reader.take(2)?;
        reader.expect(&[MEASUREMENTS])?;
        let record_len = reader.u24()?;
        let record = reader.take(record_len)?;
        let measurements = read_record(record, reader.at - record_len)?;
        reader.array::<32>()?;
        let opaque_len = reader.u16()?;
        let opaque = reader.take(opaque_len.into())?;
        let opaque = read_opaque(opaque, reader.at - usize::from(opaque_len))?;
        let signed = &bytes[..reader.at];
        let signature = reader.array()?;
        let trailing = bytes.len() - reader.at;
        if trailing > MAX_TRAILING {
            return Err(AttestationError::Malformed { offset: reader.at });
        }
        Ok(Self { signed, nonce, measurements, opaque, trailing, signature })
    }

    /// r ‖ s, big-endian.
    pub(super) fn signature(&self) -> Result<Signature, AttestationError> {
        Signature::from_slice(self.signature).map_err(|_| AttestationError::Signature)
    }
}

/// 64 blocks in the order of their indices: index ‖ specification 1 ‖ u16le 51 ‖ type 1 ‖ u16le 48 ‖ value.
fn read_record(record: &[u8], base: usize) -> Result<Vec<&[u8; 48]>, AttestationError> {
    let mut reader = Bytes { bytes: record, at: 0 };
    let mut values = Vec::with_capacity(MEASUREMENTS.into());
    for index in 1..=MEASUREMENTS {
        reader.expect(&[index, 1, 51, 0, 1, 48, 0]).map_err(|error| moved(error, base))?;
        values.push(reader.array().map_err(|error| moved(error, base))?);
    }
    if reader.at != record.len() {
        return Err(AttestationError::Malformed { offset: base + reader.at });
    }
    Ok(values)
}

/// (u16le type ‖ u16le size ‖ data)*, no type twice.
fn read_opaque(bytes: &[u8], base: usize) -> Result<Vec<(u16, &[u8])>, AttestationError> {
    let mut reader = Bytes { bytes, at: 0 };
    let mut fields: Vec<(u16, &[u8])> = Vec::new();
    while reader.at < bytes.len() {
        let offset = base + reader.at;
        let mut field = || {
            let kind = reader.u16()?;
            let len = reader.u16()?;
            Ok((kind, reader.take(len.into())?))
        };
        let (kind, value) = field().map_err(|error| moved(error, base))?;
        // 65,535 bytes hold 16,383 empty fields at most; real reports have 16, and 64 are enough for every type that is named.
        if fields.len() == MAX_FIELDS || fields.iter().any(|(known, _)| *known == kind) {
            return Err(AttestationError::Malformed { offset });
        }
        fields.push((kind, value));
    }
    Ok(fields)
}

const MAX_FIELDS: usize = 64;

/// The opaque fields that have meaning here.
pub(super) struct Opaque {
    pub(super) driver_version: Box<str>,
    pub(super) vbios_version: Box<str>,
    pub(super) fwid: [u8; 48],
    pub(super) nvdec0: GpuSwitch,
    pub(super) protected_pcie: GpuSwitch,
    pub(super) feature_flag: u16,
}

impl Opaque {
    pub(super) fn of(report: &Report<'_>) -> Result<Self, AttestationError> {
        let malformed = AttestationError::Malformed { offset: report.signed.len() };
        let find = |wanted: u16| report.opaque.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
        let switch = |kind| match find(kind) {
            Some([0xAA]) => GpuSwitch::On,
            Some([0x55]) => GpuSwitch::Off,
            _ => GpuSwitch::Unknown,
        };
        let fwid = find(20).and_then(|value| value.try_into().ok()).ok_or(malformed)?;
        let feature_flag = match find(36) {
            None => 0,
            Some(value) => u16::from_le_bytes(value.try_into().map_err(|_| malformed)?),
        };
        Ok(Self {
            driver_version: find(3).and_then(text).ok_or(malformed)?,
            vbios_version: find(6).and_then(vbios).ok_or(malformed)?,
            fwid,
            nvdec0: switch(11),
            protected_pcie: switch(21),
            feature_flag,
        })
    }
}

/// Printable ASCII up to a NUL, after which only NULs stand.
fn text(value: &[u8]) -> Option<Box<str>> {
    let end = value.iter().position(|byte| *byte == 0)?;
    let (text, rest) = value.split_at(end);
    let good = !text.is_empty() && text.iter().all(u8::is_ascii_graphic) && rest.iter().all(|byte| *byte == 0);
    if good { core::str::from_utf8(text).ok().map(Into::into) } else { None }
}

/// b3.b2.b1.b0.b4 in hex: the revision is little-endian, the OEM's part follows.
fn vbios(value: &[u8]) -> Option<Box<str>> {
    match value {
        [b0, b1, b2, b3, b4, ..] => Some(format!("{b3:02x}.{b2:02x}.{b1:02x}.{b0:02x}.{b4:02x}").into()),
        _ => None,
    }
}

fn moved(error: AttestationError, base: usize) -> AttestationError {
    match error {
        AttestationError::Malformed { offset } => AttestationError::Malformed { offset: base + offset },
        error => error,
    }
}

/// Reads little-endian fields; nothing is allocated.
struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], AttestationError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let part = rest.get(..len).ok_or(AttestationError::Malformed { offset: self.at })?;
        self.at += len;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], AttestationError> {
        let offset = self.at;
        self.take(N)?.try_into().map_err(|_| AttestationError::Malformed { offset })
    }

    fn u16(&mut self) -> Result<u16, AttestationError> {
        self.array().map(|bytes| u16::from_le_bytes(*bytes))
    }

    fn u24(&mut self) -> Result<usize, AttestationError> {
        self.array().map(|&[a, b, c]| usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16)
    }

    fn expect(&mut self, constant: &[u8]) -> Result<(), AttestationError> {
        let offset = self.at;
        if self.take(constant.len())? == constant { Ok(()) } else { Err(AttestationError::Malformed { offset }) }
    }
}
