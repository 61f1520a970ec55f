//! Reports of machines and what endorses them. Real ones are in the test data; without it the readers see random and made-up bytes only.

use std::path::PathBuf;
use std::sync::LazyLock;

use hanzo_pqc::attestation::{
    AttestationError, Binding, Evidence, EvidenceKind, EvidenceVerifier, NvidiaVerifier, SnpVerifier, SoftwareAttester,
    SoftwareVerifier, TdxVerifier, UnixTime,
};
use hanzo_pqc::rand_core::SeedableRng;
use hanzo_pqc::{SignatureAlgorithm, SigningKey};
use rand_chacha::ChaCha12Rng;

use crate::Parser;

/// Parsed certificates and big numbers; a short input makes few.
const MEMORY: usize = 1 << 8;
const NOW: UnixTime = UnixTime::from_seconds(1_738_368_000);

/// A file under `pqc/attest` of the test data; empty, with a line that says so, where there is none.
fn file(name: &str) -> Vec<u8> {
    let Some(root) = std::env::var_os("HANZO_TEST_DATA") else {
        eprintln!("skipped: pqc/attest/{name}; set HANZO_TEST_DATA to the folder of the SDK's test data");
        return Vec::new();
    };
    std::fs::read(PathBuf::from(root).join("pqc/attest").join(name)).expect("a file of the test data")
}

fn samples(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| file(name)).filter(|bytes| !bytes.is_empty()).collect()
}

fn hex_samples(names: &[&str]) -> Vec<Vec<u8>> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("hex is text");
    samples(names).into_iter().map(|bytes| hex::decode(text(bytes).trim()).expect("hex")).collect()
}

/// The counterpart of a report or an endorsement; each read asks for the same one.
static VCEK: LazyLock<Vec<u8>> = LazyLock::new(|| file("snp/milan_v3.vcek.der"));
static REPORT: LazyLock<Vec<u8>> = LazyLock::new(|| file("snp/milan_v3.report.bin"));
static CHAIN: LazyLock<Vec<u8>> = LazyLock::new(|| file("nvidia/hopper_a.chain.pem"));
static GPU: LazyLock<Vec<u8>> =
    LazyLock::new(|| hex_samples(&["nvidia/hopper_a.report.hex"]).pop().unwrap_or_default());
static QUOTE: LazyLock<Vec<u8>> = LazyLock::new(|| file("tdx/tdx_quote_5.dat"));

/// Whether the bytes are what the samples are; where no sample is there, everything is refused.
fn accepted<T>(answer: Result<T, AttestationError>) -> bool {
    answer.is_ok()
}

pub(super) const SNP: Parser = Parser {
    name: "pqc/snp_report",
    samples: || samples(&["snp/milan_v3.report.bin"]),
    read: |bytes| accepted(SnpVerifier::new().verify_report(bytes, &VCEK, NOW)),
    memory: MEMORY,
};

pub(super) const SNP_CERTIFICATE: Parser = Parser {
    name: "pqc/snp_certificate",
    samples: || samples(&["snp/milan_v3.vcek.der"]),
    read: |bytes| accepted(SnpVerifier::new().verify_report(&REPORT, bytes, NOW)),
    memory: MEMORY,
};

pub(super) const NVIDIA: Parser = Parser {
    name: "pqc/nvidia_report",
    samples: || hex_samples(&["nvidia/hopper_a.report.hex"]),
    read: |bytes| accepted(NvidiaVerifier::new().verify_report(bytes, &CHAIN, NOW)),
    memory: MEMORY,
};

pub(super) const NVIDIA_CHAIN: Parser = Parser {
    name: "pqc/nvidia_chain",
    samples: || samples(&["nvidia/hopper_a.chain.pem"]),
    read: |bytes| accepted(NvidiaVerifier::new().verify_report(&GPU, bytes, NOW)),
    memory: MEMORY,
};

/// A quote of good form is refused for its missing collateral, or for what it says of its domain; this counts as read.
pub(super) const TDX: Parser = Parser {
    name: "pqc/tdx_quote",
    samples: || samples(&["tdx/tdx_quote_5.dat", "tdx/tdx_quote_4.dat"]),
    read: |bytes| {
        let answer = TdxVerifier::new().verify_quote(bytes, b"", NOW);
        assert!(answer.is_err(), "a quote without collateral is accepted");
        matches!(answer, Err(AttestationError::Endorsement | AttestationError::Debug | AttestationError::ServiceDomain))
    },
    memory: MEMORY,
};

/// Nothing that is made up here endorses the quote.
pub(super) const TDX_COLLATERAL: Parser = Parser {
    name: "pqc/tdx_collateral",
    samples: Vec::new,
    read: |bytes| accepted(TdxVerifier::new().verify_quote(&QUOTE, bytes, NOW)),
    memory: MEMORY,
};

const BOUND: Binding = Binding { report_data: [8; 64], gpu_nonce: [9; 32] };

/// Evidence::to_bytes of a software statement.
pub(super) const SOFTWARE: Parser = Parser {
    name: "pqc/software_evidence",
    samples: || {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let key = SigningKey::from_seed(SignatureAlgorithm::MlDsa65, &[7; 32]).expect("a seed");
        let attester = SoftwareAttester::new(key, [4; 32]).expect("strong enough");
        vec![attester.attest(&BOUND, &mut rng).expect("a key").to_bytes()]
    },
    read: |bytes| {
        let Ok(evidence) = Evidence::from_bytes(bytes) else { return false };
        evidence.kind() == EvidenceKind::Software && accepted(SoftwareVerifier.verify(&evidence, &BOUND, NOW))
    },
    memory: 1 << 10,
};
