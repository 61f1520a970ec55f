//! The bytes of a market maker's state, and of a table of signs.
//!
//! ASCII `hanzo-hmm/market/v1` (`hanzo-hmm/signs/v1`), the fields in the order of the parts that write them, big endian, lengths as 64-bit numbers, floats by their bits,
//! then FNV-1a 64 of everything before it. Whoever can forge the sum can forge the state: sign snapshots that travel.

use super::features::{FNV_OFFSET, fnv};
use crate::{Error, Result};

/// Collects the bytes of a snapshot.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// Of a snapshot that begins with `header`.
    pub(crate) fn new(header: &[u8]) -> Self {
        Self(header.to_vec())
    }

    pub(crate) fn u64(&mut self, v: u64) {
        self.0.extend(v.to_be_bytes());
    }

    pub(crate) fn u128(&mut self, v: u128) {
        self.0.extend(v.to_be_bytes());
    }

    pub(crate) fn f64(&mut self, v: f64) {
        self.u64(v.to_bits());
    }

    pub(crate) fn f64s(&mut self, values: &[f64]) {
        for &v in values {
            self.f64(v);
        }
    }

    /// Single-precision numbers with their count.
    pub(crate) fn floats(&mut self, values: &[f32]) {
        self.u64(values.len() as u64);
        for v in values {
            self.0.extend(v.to_be_bytes());
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.0.extend(bytes);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let sum = self.0.iter().copied().fold(FNV_OFFSET, fnv);
        self.u64(sum);
        self.0
    }
}

/// Takes a snapshot apart; every method fails with `BadSnapshot`.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Checks header and sum.
    pub(crate) fn new(header: &[u8], bytes: &'a [u8]) -> Result<Self> {
        let Some((body, sum)) = bytes.split_last_chunk::<8>() else { return bad("length") };
        if body.iter().copied().fold(FNV_OFFSET, fnv) != u64::from_be_bytes(*sum) {
            return bad("checksum");
        }
        body.strip_prefix(header).map(Self).ok_or(Error::BadSnapshot { what: "version" })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((head, rest)) = self.0.split_first_chunk::<N>() else { return bad("length") };
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn u128(&mut self) -> Result<u128> {
        self.take().map(u128::from_be_bytes)
    }

    /// A number of things that each take at least `size` bytes from here on.
    pub(crate) fn count(&mut self, size: usize) -> Result<usize> {
        let n = usize::try_from(self.u64()?).map_err(|_| Error::BadSnapshot { what: "count" })?;
        if n > self.0.len() / size.max(1) { bad("count") } else { Ok(n) }
    }

    pub(crate) fn index(&mut self, below: usize) -> Result<usize> {
        usize::try_from(self.u64()?).ok().filter(|&i| i < below).ok_or(Error::BadSnapshot { what: "index" })
    }

    pub(crate) fn f64(&mut self) -> Result<f64> {
        let v = f64::from_bits(self.u64()?);
        if v.is_finite() { Ok(v) } else { bad("number") }
    }

    /// A finite number that is not negative.
    pub(crate) fn amount(&mut self) -> Result<f64> {
        let v = self.f64()?;
        if v >= 0.0 { Ok(v) } else { bad("amount") }
    }

    pub(crate) fn f64s(&mut self, out: &mut [f64]) -> Result<()> {
        for v in out {
            *v = self.f64()?;
        }
        Ok(())
    }

    pub(crate) fn amounts(&mut self, out: &mut [f64]) -> Result<()> {
        for v in out {
            *v = self.amount()?;
        }
        Ok(())
    }

    /// Probabilities that add up to 1.
    pub(crate) fn distribution(&mut self, out: &mut [f64]) -> Result<()> {
        self.amounts(out)?;
        if (out.iter().sum::<f64>() - 1.0).abs() > 1e-9 { bad("distribution") } else { Ok(()) }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let n = self.count(1)?;
        let (head, rest) = self.0.split_at(n);
        self.0 = rest;
        Ok(head)
    }

    /// At most so many finite single-precision numbers.
    pub(crate) fn floats(&mut self, most: usize) -> Result<Vec<f32>> {
        let n = self.count(size_of::<f32>())?;
        if n > most {
            return bad("count");
        }
        let values: Vec<f32> = (0..n).map(|_| self.take().map(f32::from_be_bytes)).collect::<Result<_>>()?;
        if values.iter().all(|v| v.is_finite()) { Ok(values) } else { bad("number") }
    }

    pub(crate) fn flag(&mut self) -> Result<bool> {
        Ok(self.index(2)? == 1)
    }

    pub(crate) fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { bad("length") }
    }
}

pub(crate) fn bad<T>(what: &'static str) -> Result<T> {
    Err(Error::BadSnapshot { what })
}

/// What the snapshot of a market maker begins with.
pub(crate) const MARKET: &[u8] = b"hanzo-hmm/market/v1";

/// What the snapshot of a [`SignTable`](super::SignTable) begins with.
pub(crate) const SIGN_TABLE: &[u8] = b"hanzo-hmm/signs/v1";
