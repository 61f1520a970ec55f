//! Fixed-length big-endian encodings: one reader, one writer.

use crate::error::{Error, Result};
use crate::hash::Hash;

/// Version of every encoding with a magic.
pub(crate) const VERSION: u16 = 1;

/// Fills a fixed-length encoding from the front.
pub(crate) struct Writer<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], at: 0 }
    }

    /// Starts with a magic and the version.
    pub(crate) fn versioned(magic: &[u8; 4]) -> Self {
        let mut writer = Self::new();
        writer.put(magic).u16(VERSION);
        writer
    }

    /// Appends bytes. Layouts are constants of this crate; the tests write each of them to its end.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.at + bytes.len();
        self.bytes[self.at..end].copy_from_slice(bytes);
        self.at = end;
        self
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.put(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn u128(&mut self, value: u128) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn optional<T: Into<Hash>>(&mut self, value: Option<T>) -> &mut Self {
        self.put(&value.map_or([0; 32], Into::into))
    }

    pub(crate) fn finish(&self) -> [u8; N] {
        debug_assert_eq!(self.at, N);
        self.bytes
    }
}

/// Takes an encoding apart from the front.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, total: bytes.len() }
    }

    /// A reader of exactly `want` bytes.
    pub(crate) const fn exact(bytes: &'a [u8], want: usize) -> Result<Self> {
        if bytes.len() != want {
            return Err(Error::Length { want: want as u64, got: bytes.len() as u64 });
        }
        Ok(Self::new(bytes))
    }

    /// A reader of exactly `want` bytes that start with `magic` and the version.
    pub(crate) fn versioned(bytes: &'a [u8], want: usize, magic: &[u8; 4]) -> Result<Self> {
        let mut reader = Self::exact(bytes, want)?;
        reader.header(magic)?;
        Ok(reader)
    }

    pub(crate) fn header(&mut self, magic: &[u8; 4]) -> Result<()> {
        if &self.array::<4>()? != magic {
            return Err(Error::BadMagic);
        }
        match self.u16()? {
            VERSION => Ok(()),
            other => Err(Error::UnknownVersion(other)),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.short(N))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn slice(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.short(len))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn u128(&mut self) -> Result<u128> {
        Ok(u128::from_be_bytes(self.array()?))
    }

    pub(crate) fn hash<T: From<Hash>>(&mut self) -> Result<T> {
        Ok(T::from(self.array()?))
    }

    /// A hash for which zero means absent.
    pub(crate) fn optional<T: From<Hash>>(&mut self) -> Result<Option<T>> {
        let bytes: Hash = self.array()?;
        Ok((bytes != [0; 32]).then(|| T::from(bytes)))
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// No byte may be left.
    pub(crate) const fn finish(self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Error::Length { want: (self.total - self.rest.len()) as u64, got: self.total as u64 })
    }

    const fn short(&self, need: usize) -> Error {
        let read = self.total - self.rest.len();
        Error::Length { want: (read as u64).saturating_add(need as u64), got: self.total as u64 }
    }
}
