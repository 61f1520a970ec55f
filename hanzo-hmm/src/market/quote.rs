//! Quotes: what was offered, to whom, at which price, and until when; with their canonical bytes.

use super::curve::scale_q64_ceil;
use super::regime::Regime;
use crate::{Error, Result};

/// A number of milliseconds on the caller's clock.
pub type Millis = u64;

/// A binding offer of `units` of a model for `price`.
///
/// `worker` is the caller's index of a party; the crate gives it no meaning. Hashing and signing the
/// [bytes](Self::to_bytes) are the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Quote {
    /// Number of the quote in its pool.
    pub id: u64,
    /// Version of the pool the price was computed on.
    pub pool_version: u64,
    /// Key of the model.
    pub model: [u8; 32],
    /// The caller's index of the party that would do the work.
    pub worker: u64,
    /// Units of compute offered.
    pub units: u128,
    /// Price for all units, in base units of money.
    pub price: u128,
    /// Highest price at which the quote may still be executed after the pool has moved.
    pub worst_price: u128,
    /// Part of `price` that is the pool's fee.
    pub fee: u128,
    /// Expected duration of the work in milliseconds.
    pub eta_ms: u64,
    /// Regime of the market when the quote was issued.
    pub regime: Regime,
    /// When the quote was issued.
    pub issued_at: Millis,
    /// First millisecond at which the quote no longer holds.
    pub expires_at: Millis,
    /// Number that can be spent once in the pool of this model.
    pub nonce: u64,
}

impl Quote {
    /// Length of the canonical encoding.
    pub const BYTES: usize = Self::DOMAIN.len() + 153;

    /// First bytes of the canonical encoding.
    pub const DOMAIN: &'static [u8] = b"hanzo-hmm/quote/v1";

    /// The canonical encoding: [`DOMAIN`](Self::DOMAIN), then the fields in the order of the struct,
    /// big-endian and of fixed width, the regime as one byte: a named one by its [index](Regime::index), a numbered
    /// one, of a place below [`Regime::MOST`], by its place and four.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.extend_from_slice(Self::DOMAIN);
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&self.pool_version.to_be_bytes());
        out.extend_from_slice(&self.model);
        out.extend_from_slice(&self.worker.to_be_bytes());
        for amount in [self.units, self.price, self.worst_price, self.fee] {
            out.extend_from_slice(&amount.to_be_bytes());
        }
        out.extend_from_slice(&self.eta_ms.to_be_bytes());
        out.push(self.regime.code());
        for word in [self.issued_at, self.expires_at, self.nonce] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out
    }

    /// Reads the canonical encoding back; exactly the bytes of [`to_bytes`](Self::to_bytes) are accepted.
    ///
    /// # Errors
    /// `DimensionMismatch` for another length, `OutOfRange` for another domain.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() != Self::BYTES {
            return Err(Error::DimensionMismatch { what: "quote bytes", expected: Self::BYTES, found: bytes.len() });
        }
        let mut rest = Reader(bytes);
        if rest.take::<{ Self::DOMAIN.len() }>()? != Self::DOMAIN {
            return Err(Error::OutOfRange { what: "quote domain" });
        }
        Ok(Self {
            id: rest.u64()?,
            pool_version: rest.u64()?,
            model: rest.take()?,
            worker: rest.u64()?,
            units: rest.u128()?,
            price: rest.u128()?,
            worst_price: rest.u128()?,
            fee: rest.u128()?,
            eta_ms: rest.u64()?,
            regime: Regime::from_code(rest.take::<1>()?[0]),
            issued_at: rest.u64()?,
            expires_at: rest.u64()?,
            nonce: rest.u64()?,
        })
    }
}

/// A middle price per unit and the band below it in which the curve may undercut it.
///
/// The price is a float from the price dynamics; it becomes a Q64.64 integer by taking the float apart,
/// so that the same float gives the same integer everywhere.
///
/// ```
/// use hanzo_hmm::market::Mid;
///
/// let mid = Mid::new(2.5, 100)?; // one per cent
/// assert_eq!(mid.floor_price(1_000)?, 2_475);
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mid {
    q64: u128,
    band_bps: u32,
}

impl Mid {
    /// `price` in base units of money per unit of compute; `band_bps` in basis points.
    ///
    /// Digits of `price` below 2^-64 are cut off.
    ///
    /// # Errors
    /// `NotFinite`; `OutOfRange` for a negative price or a band above 10,000; `Overflow` for a price of 2^56 or more.
    pub fn new(price: f64, band_bps: u32) -> Result<Self> {
        if !price.is_finite() {
            return Err(Error::NotFinite { what: "price" });
        }
        if price < 0.0 {
            return Err(Error::OutOfRange { what: "price" });
        }
        if band_bps > BASIS_POINTS {
            return Err(Error::OutOfRange { what: "band" });
        }
        Ok(Self { q64: q64(price)?, band_bps })
    }

    /// `ceil(mid * units * (1 - band))`.
    ///
    /// # Errors
    /// `Overflow` for a result of 2^120 or more.
    pub fn floor_price(&self, units: u128) -> Result<u128> {
        let price = scale_q64_ceil(self.q64, units, BASIS_POINTS - self.band_bps, BASIS_POINTS)?;
        below_price_limit(price)
    }
}

/// `price` if it is below 2^120, the limit of every price.
pub(crate) fn below_price_limit(price: u128) -> Result<u128> {
    if price < 1 << PRICE_BITS { Ok(price) } else { Err(Error::Overflow) }
}

/// The Q64.64 integer of a finite float `>= 0`, from its bits.
fn q64(price: f64) -> Result<u128> {
    let bits = price.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    let fraction = u128::from(bits & ((1 << 52) - 1));
    let (mantissa, exponent) = if exponent == 0 { (fraction, -1074) } else { (fraction | (1 << 52), exponent - 1075) };
    let shift = exponent + 64;
    if shift >= 0 {
        // The mantissa has 53 bits, so a shift above 67 cannot stay below 2^120.
        if mantissa != 0 && shift > PRICE_BITS - 53 {
            return Err(Error::Overflow);
        }
        below_price_limit(mantissa << shift.min(PRICE_BITS - 53))
    } else {
        Ok(if shift <= -64 { 0 } else { mantissa >> -shift })
    }
}

/// Takes fixed-width fields off the front of a byte string.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(Error::DimensionMismatch {
            what: "quote bytes",
            expected: N,
            found: self.0.len(),
        })?;
        self.0 = tail;
        Ok(*head)
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    fn u128(&mut self) -> Result<u128> {
        Ok(u128::from_be_bytes(self.take()?))
    }
}

pub(crate) const BASIS_POINTS: u32 = 10_000;
const PRICE_BITS: i32 = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_decompose_exactly() {
        assert_eq!(q64(0.0).unwrap(), 0);
        assert_eq!(q64(1.0).unwrap(), 1 << 64);
        assert_eq!(q64(0.1).unwrap(), 0x1999_9999_9999_9a00);
        assert_eq!(q64(f64::from_bits(1)).unwrap(), 0);
        assert_eq!(q64(2f64.powi(-64)).unwrap(), 1);
        assert_eq!(q64(2f64.powi(-65)).unwrap(), 0);
        assert_eq!(q64(2f64.powi(55)).unwrap(), 1 << 119);
        assert_eq!(q64(2f64.powi(56)), Err(Error::Overflow));
        assert_eq!(q64(f64::MAX), Err(Error::Overflow));
    }

    #[test]
    fn floor_price_rounds_up_and_is_bounded() {
        let mid = Mid::new(0.5, 0).unwrap();
        assert_eq!(mid.floor_price(3).unwrap(), 2);
        assert_eq!(Mid::new(0.5, 10_000).unwrap().floor_price(1_000).unwrap(), 0);
        assert_eq!(Mid::new(1.0, 0).unwrap().floor_price(1 << 120), Err(Error::Overflow));
        assert_eq!(Mid::new(1.0, 0).unwrap().floor_price((1 << 120) - 1), Ok((1 << 120) - 1));
    }

    #[test]
    fn bad_mids_are_refused() {
        assert_eq!(Mid::new(f64::NAN, 0), Err(Error::NotFinite { what: "price" }));
        assert_eq!(Mid::new(-1.0, 0), Err(Error::OutOfRange { what: "price" }));
        assert_eq!(Mid::new(1.0, 10_001), Err(Error::OutOfRange { what: "band" }));
    }
}
