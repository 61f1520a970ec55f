//! Intel TDX and SGX: quotes under DCAP collateral, verified by `dcap-qvl`, behind this crate's own checks.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use dcap_qvl::quote::{Quote, Report};
use dcap_qvl::tcb_info::TcbStatus as DcapStatus;
use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{QuoteCollateralV3, QuotePolicy};
use x509_cert::der::DateTime;

use super::{
    AttestationError, Binding, Claims, Evidence, EvidenceKind, EvidenceVerifier, IntelPlatform, SgxClaims, TcbStatus,
    TdxClaims, UnixTime,
};

/// Verifies TDX quotes (versions 4 and 5) and SGX quotes (version 3) with their DCAP collateral, offline. Every other kind is
/// [`AttestationError::Unsupported`].
///
/// The endorsement is the collateral as JSON, in the form that `dcap-qvl` and its tools write; an empty one stands for the verifier's own
/// ([`Self::with_collateral`]). The quote's chain, CRLs and signatures are verified by `dcap-qvl` up to Intel's root key, which is built in; debug, profiled,
/// migratable and service-bound domains are refused.
///
/// **A quote that verifies may still be of an outdated platform**: its status and advisories are claims ([`IntelPlatform`]), and a policy allows up to date alone
/// unless it says otherwise. A revoked platform never verifies.
///
/// Source: Intel's DCAP specifications of quote generation and verification for SGX and TDX.
///
/// ```
/// use hanzo_pqc::attestation::{AttestationError, TdxVerifier, UnixTime};
///
/// let verifier = TdxVerifier::new().with_collateral(br#"{"tcb_info": ".."}"#);
/// let got = verifier.verify_quote(b"", b"", UnixTime::from_seconds(1_800_000_000));
/// assert_eq!(got, Err(AttestationError::Malformed { offset: 0 }));
/// ```
#[derive(Debug, Clone, Default)]
pub struct TdxVerifier {
    collateral: Box<[u8]>,
}

impl TdxVerifier {
    /// A verifier that needs collateral beside each quote.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the collateral for quotes that come without.
    #[must_use]
    pub fn with_collateral(mut self, json: &[u8]) -> Self {
        self.collateral = json.into();
        self
    }

    /// Verifies a quote of either kind without asking what it is bound to: for a recorded quote. The caller compares the report data.
    ///
    /// # Errors
    ///
    /// What is wrong with quote or collateral.
    pub fn verify_quote(&self, quote: &[u8], collateral: &[u8], now: UnixTime) -> Result<Claims, AttestationError> {
        let parsed = Quote::parse(quote).map_err(|_| AttestationError::Malformed { offset: 0 })?;
        check_form(&parsed.report)?;
        let collateral = if collateral.is_empty() { &self.collateral[..] } else { collateral };
        let collateral: QuoteCollateralV3 =
            serde_json::from_slice(collateral).map_err(|_| AttestationError::Endorsement)?;
        let issued = issue_date(&collateral.tcb_info)?.min(issue_date(&collateral.qe_identity)?);
        let seconds = now.as_seconds();
        let verified = QuoteVerifier::new_prod()
            .verify_with_policy(quote, collateral, seconds, &QuotePolicy::claims_only(seconds))
            .map_err(|error| reason(&format!("{error:#}")))?;
        let platform = IntelPlatform {
            status: status(verified.tcb.status)?,
            advisories: verified.tcb.advisory_ids.into_iter().map(Into::into).collect(),
            collateral_issued: UnixTime::from_seconds(issued),
        };
        if let Some(report) = verified.report.as_sgx() {
            return Ok(Claims::Sgx(Box::new(SgxClaims {
                report_data: report.report_data,
                platform,
                mr_enclave: report.mr_enclave,
                mr_signer: report.mr_signer,
                product_id: report.isv_prod_id,
                svn: report.isv_svn,
            })));
        }
        let report = verified.report.as_td10().ok_or(AttestationError::Malformed { offset: 0 })?;
        Ok(Claims::Tdx(Box::new(TdxClaims {
            report_data: report.report_data,
            platform,
            attributes: u64::from_le_bytes(report.td_attributes),
            mr_td: report.mr_td,
            rtmr: [report.rt_mr0, report.rt_mr1, report.rt_mr2, report.rt_mr3],
            mr_config_id: report.mr_config_id,
            mr_owner: report.mr_owner,
            mr_seam: report.mr_seam,
        })))
    }
}

impl EvidenceVerifier for TdxVerifier {
    fn verify(&self, evidence: &Evidence, bound: &Binding, now: UnixTime) -> Result<Claims, AttestationError> {
        if !matches!(evidence.kind(), EvidenceKind::Tdx | EvidenceKind::Sgx) {
            return Err(AttestationError::Unsupported { kind: evidence.kind() });
        }
        let claims = self.verify_quote(evidence.report(), evidence.endorsement(), now)?;
        if claims.kind() != evidence.kind() {
            return Err(AttestationError::KeyKindMismatch);
        }
        if claims.carry(bound) { Ok(claims) } else { Err(AttestationError::Binding) }
    }
}

/// Debug first, whatever the signatures say; then what could change the domain later.
fn check_form(report: &Report) -> Result<(), AttestationError> {
    let debug = match (report.as_sgx(), report.as_td10()) {
        (Some(enclave), _) => enclave.attributes[0] & SGX_DEBUG != 0,
        (None, Some(domain)) => domain.td_attributes[0] & TD_DEBUG != 0,
        (None, None) => false,
    };
    if debug {
        return Err(AttestationError::Debug);
    }
    if report.as_td15().is_some_and(|domain| domain.mr_service_td != [0; 48]) {
        return Err(AttestationError::ServiceDomain);
    }
    Ok(())
}

/// `issueDate` of one of Intel's signed statements, in Unix seconds.
fn issue_date(statement: &str) -> Result<u64, AttestationError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Statement {
        issue_date: String,
    }
    let statement: Statement = serde_json::from_str(statement).map_err(|_| AttestationError::Endorsement)?;
    let date: DateTime = statement.issue_date.parse().map_err(|_| AttestationError::Endorsement)?;
    Ok(date.unix_duration().as_secs())
}

const fn status(status: DcapStatus) -> Result<TcbStatus, AttestationError> {
    Ok(match status {
        DcapStatus::UpToDate => TcbStatus::UpToDate,
        DcapStatus::SWHardeningNeeded => TcbStatus::SwHardeningNeeded,
        DcapStatus::ConfigurationNeeded => TcbStatus::ConfigurationNeeded,
        DcapStatus::ConfigurationAndSWHardeningNeeded => TcbStatus::ConfigurationAndSwHardeningNeeded,
        DcapStatus::OutOfDate => TcbStatus::OutOfDate,
        DcapStatus::OutOfDateConfigurationNeeded => TcbStatus::OutOfDateConfigurationNeeded,
        DcapStatus::TDRelaunchAdvised => TcbStatus::TdRelaunchAdvised,
        DcapStatus::TDRelaunchAdvisedConfigurationNeeded => TcbStatus::TdRelaunchAdvisedConfigurationNeeded,
        DcapStatus::Revoked => return Err(AttestationError::Revoked),
    })
}

/// `dcap-qvl` says why in words only. Whatever they are, the quote is refused; this sorts the refusals for an operator.
fn reason(text: &str) -> AttestationError {
    const REASONS: [(&str, AttestationError); 12] = [
        ("Debug mode", AttestationError::Debug),
        ("SERVTD_EXT", AttestationError::ServiceDomain),
        ("service TD", AttestationError::ServiceDomain),
        ("migration", AttestationError::ServiceDomain),
        ("expired", AttestationError::CollateralExpired),
        ("Expired", AttestationError::CollateralExpired),
        ("in the future", AttestationError::CollateralExpired),
        ("NotValidYet", AttestationError::CollateralExpired),
        ("evoked", AttestationError::Revoked),
        ("TCB level", AttestationError::TcbMismatch),
        ("Fmspc mismatch", AttestationError::TcbMismatch),
        ("Signature is invalid", AttestationError::Signature),
    ];
    let found = REASONS.into_iter().find(|(words, _)| text.contains(words));
    found.map_or(AttestationError::Chain, |(_, error)| error)
}

const SGX_DEBUG: u8 = 1 << 1;
const TD_DEBUG: u8 = 1;
