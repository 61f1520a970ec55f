//! Reading and writing of the byte formats: big-endian numbers, lp16 and lp32 prefixes.

use alloc::vec::Vec;

use crate::error::{Error, Result};

/// Reads one format from front to back; every failure names the format and the place.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, offset: 0 }
    }

    /// The error for what stands at the reader's place.
    pub(crate) const fn malformed(&self) -> Error {
        Error::Malformed { what: self.what, offset: self.offset }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let part = rest.get(..len).ok_or(self.malformed())?;
        self.offset += len;
        Ok(part)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let error = self.malformed();
        self.take(N)?.try_into().map_err(|_| error)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    #[cfg(feature = "kbs")]
    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A u16 length and that many bytes.
    pub(crate) fn lp16(&mut self) -> Result<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// A u32 length, at most `limit`, and that many bytes.
    pub(crate) fn lp32(&mut self, what: &'static str, limit: usize) -> Result<&'a [u8]> {
        let error = self.malformed();
        let len = usize::try_from(self.u32()?).map_err(|_| error)?;
        if len > limit {
            return Err(Error::TooLong { what, limit });
        }
        self.take(len)
    }

    /// Consumes bytes that have one legal value.
    pub(crate) fn expect(&mut self, constant: &[u8]) -> Result<()> {
        let error = self.malformed();
        if self.take(constant.len())? == constant { Ok(()) } else { Err(error) }
    }

    /// A number of entries within `min..=max`.
    #[cfg(feature = "kbs")]
    pub(crate) fn count(&mut self, min: u8, max: u8) -> Result<usize> {
        let error = self.malformed();
        let count = self.u8()?;
        if (min..=max).contains(&count) { Ok(usize::from(count)) } else { Err(error) }
    }

    #[cfg(feature = "kbs")]
    pub(crate) const fn is_empty(&self) -> bool {
        self.offset >= self.bytes.len()
    }

    /// Refuses trailing bytes.
    pub(crate) const fn finish(self) -> Result<()> {
        if self.offset == self.bytes.len() { Ok(()) } else { Err(self.malformed()) }
    }
}

/// Appends lp16(bytes). Callers pass key ids (255 bytes at most), policy names (64) and labels.
pub(crate) fn put_lp16(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(bytes.len() <= usize::from(u16::MAX));
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends lp32(bytes). Callers pass parts of messages, none over 1 MiB.
pub(crate) fn put_lp32(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(bytes.len() <= u32::MAX as usize);
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// SHA-256(lp16(label) ‖ parts): the digest of one kind of thing, apart from every other kind.
#[cfg(feature = "kbs")]
pub(crate) fn digest(label: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    hash.update((label.len() as u16).to_be_bytes());
    hash.update(label);
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
