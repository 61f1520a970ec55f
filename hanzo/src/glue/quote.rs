//! Evidence that `hanzo-pqc` verifies, as the quotes of `hanzo-poai`'s attestations.

use hanzo_poai::{Measurements, QuoteError, QuoteVerifier};
use hanzo_pqc::attestation::{Binding, Claims, Evidence, EvidenceVerifier, UnixTime};

/// Verifies the quote of an attestation with an [`EvidenceVerifier`] as of a point in time.
///
/// The quote is one item of evidence ([`Evidence::to_bytes`]). It has to carry the attestation's 64 bytes as report
/// data (CPU) or their first 32 as SPDM nonce (GPU). The measurements are the 32 bytes that software evidence states.
/// Whether they are welcome is for the caller to say.
///
/// Hardware evidence is refused, also where `verifier` accepts it: which of its registers stand for the whole is not
/// agreed on. Judge it with the policies of `hanzo_pqc::attestation`, or with a [`QuoteVerifier`] of your own.
///
/// ```
/// use hanzo::glue::EvidenceQuotes;
/// use hanzo::poai::QuoteVerifier;
/// use hanzo::pqc::attestation::{Evidence, EvidenceKind, NoEvidence, UnixTime};
///
/// let quotes = EvidenceQuotes::new(NoEvidence, UnixTime::from_seconds(1_800_000_000));
/// let quote = Evidence::new(EvidenceKind::Tdx, b"report", b"")?.to_bytes();
/// assert!(quotes.verify(&quote, &[0; 64]).is_err());
/// # Ok::<(), hanzo::pqc::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceQuotes<V> {
    verifier: V,
    now: UnixTime,
}

impl<V> EvidenceQuotes<V> {
    /// Quotes that are good in the eyes of `verifier` at `now`.
    pub const fn new(verifier: V, now: UnixTime) -> Self {
        Self { verifier, now }
    }
}

impl<V: EvidenceVerifier> QuoteVerifier for EvidenceQuotes<V> {
    fn verify(&self, quote: &[u8], report_data: &[u8; 64]) -> Result<Measurements, QuoteError> {
        let evidence = Evidence::from_bytes(quote).map_err(|_| QuoteError)?;
        let gpu_nonce = *report_data.first_chunk().ok_or(QuoteError)?;
        let bound = Binding { report_data: *report_data, gpu_nonce };
        let claims = self.verifier.verify(&evidence, &bound, self.now).map_err(|_| QuoteError)?;
        // The broker compares these once more too, whatever the verifier says.
        if claims.kind() != evidence.kind() || !claims.carry(&bound) {
            return Err(QuoteError);
        }
        match claims {
            Claims::Software(software) => Ok(Measurements(software.measurement.to_vec())),
            _ => Err(QuoteError),
        }
    }
}
