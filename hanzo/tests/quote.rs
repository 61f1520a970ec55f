//! Quotes of attestations with software evidence, alone and through the admission of a signed attestation.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;

use hanzo::glue::EvidenceQuotes;
use hanzo::poai::{
    Admission, AdmissionContext, Attestation, ChainId, DType, DeviceLimits, Epoch, Error, JobSpec, Measurements,
    Millis, ModelHash, PartyId, Provenance, QuoteError, QuoteVerifier, Signed, Suite, WorkOrder, WorkerLog,
};
use hanzo::pqc::attestation::{
    AttestationError, Binding, Claims, Evidence, EvidenceKind, EvidenceVerifier, SoftwareAttester, SoftwareVerifier,
    UnixTime,
};
use hanzo::pqc::{Signature, SignatureAlgorithm, SigningKey};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const MEASUREMENT: [u8; 32] = [0x44; 32];

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(SignatureAlgorithm::MlDsa65, &[seed; 32]).unwrap()
}

fn evidence(report_data: &[u8; 64]) -> Evidence {
    let bound = Binding { report_data: *report_data, gpu_nonce: *report_data.first_chunk().unwrap() };
    let attester = SoftwareAttester::new(key(5), MEASUREMENT).unwrap();
    attester.attest(&bound, &mut ChaCha12Rng::seed_from_u64(1)).unwrap()
}

#[test]
fn only_the_whole_quote_for_its_own_data_is_good() {
    let quotes = EvidenceQuotes::new(SoftwareVerifier, NOW);
    let data: [u8; 64] = core::array::from_fn(|i| i as u8);
    let quote = evidence(&data).to_bytes();
    assert_eq!(quotes.verify(&quote, &data), Ok(Measurements(MEASUREMENT.to_vec())));

    let mut other = data;
    other[63] ^= 1;
    assert_eq!(quotes.verify(&quote, &other), Err(QuoteError), "other data");
    for at in (0..quote.len()).step_by(61) {
        let mut flipped = quote.clone();
        flipped[at] ^= 1;
        assert_eq!(quotes.verify(&flipped, &data), Err(QuoteError), "byte {at}");
        assert_eq!(quotes.verify(&quote[..at], &data), Err(QuoteError), "cut at {at}");
    }
    assert_eq!(quotes.verify(&[&quote[..], &[0]].concat(), &data), Err(QuoteError), "trailing byte");
    assert_eq!(quotes.verify(&[quote.clone(), quote].concat(), &data), Err(QuoteError), "two items");
    let tdx = Evidence::new(EvidenceKind::Tdx, b"report", b"").unwrap().to_bytes();
    assert_eq!(quotes.verify(&tdx, &data), Err(QuoteError), "kind the verifier does not know");
}

#[test]
fn the_verifier_sees_the_binding_and_the_time_and_is_not_believed_blindly() {
    let data: [u8; 64] = core::array::from_fn(|i| i as u8);
    let quote = evidence(&data).to_bytes();
    let looks = |evidence: &Evidence, bound: &Binding, now: UnixTime| {
        assert_eq!((bound.report_data, &bound.gpu_nonce[..], now), (data, &data[..32], NOW));
        SoftwareVerifier.verify(evidence, bound, now)
    };
    assert!(EvidenceQuotes::new(looks, NOW).verify(&quote, &data).is_ok());

    // Claims over other data, or of another kind than the evidence.
    let claims = SoftwareVerifier.verify(&evidence(&data), &Binding { report_data: data, gpu_nonce: [0; 32] }, NOW);
    let careless = move |_: &Evidence, _: &Binding, _: UnixTime| -> Result<Claims, AttestationError> { claims.clone() };
    let quotes = EvidenceQuotes::new(careless, NOW);
    assert!(quotes.verify(&quote, &data).is_ok());
    assert_eq!(quotes.verify(&quote, &[9; 64]), Err(QuoteError));
    let tdx = Evidence::new(EvidenceKind::Tdx, b"report", b"").unwrap().to_bytes();
    assert_eq!(quotes.verify(&tdx, &data), Err(QuoteError));
}

/// The report data of an attestation do not depend on its quote, so the worker can ask its machine before it signs.
#[test]
fn an_attestation_is_admitted_with_its_quote() {
    let (chain, client, worker) = (ChainId::new([1; 32]), PartyId::new([2; 32]), PartyId::new([3; 32]));
    let (model, input) = (ModelHash::new([4; 32]), [5; 32]);
    let spec = JobSpec::builder(model, input).dtype(DType::Integer).max_tokens(64).build().unwrap();
    let order = WorkOrder::new(&chain, &client, 0, spec, worker, 0);
    let attestation = |quote: Option<[u8; 32]>| {
        Attestation::builder()
            .suite(Suite::ML_DSA_65)
            .chain(chain)
            .epoch(Epoch::new(9))
            .worker(worker)
            .job(*order.job())
            .input(input)
            .output([6; 32])
            .model(model)
            .environment([7; 32])
            .started(Millis::new(5))
            .duration_us(2_000_000)
            .flops(1_000_000_000)
            .tokens_in(10)
            .tokens_out(20)
            .quote(quote)
            .build()
            .unwrap()
    };
    let quote = evidence(&attestation(None).report_data()).to_bytes();
    let attested = attestation(Some(Sha256::digest(&quote).into()));
    let signed = Signed::<_, Signature>::sign(attested.clone(), &key(8)).unwrap();

    let directory = BTreeMap::from([((worker, Suite::ML_DSA_65), key(8).verifying_key().clone())]);
    let log = WorkerLog::new(chain, worker);
    let device = DeviceLimits { peak_flops: 1_000_000_000_000, params: 1_000_000 };
    let admission = Admission::new(chain).require_quote(true);
    let check = |quote: &[u8]| {
        let quotes = EvidenceQuotes::new(SoftwareVerifier, NOW);
        let context = AdmissionContext {
            directory: &directory,
            log: &log,
            order: Some(&order),
            device: &device,
            quote: Some((quote, &quotes)),
            now: Epoch::new(9),
        };
        let provenance = Provenance::Signature(signed.signature());
        admission.check(&attested.encode(), &provenance, &context).map(|(_, measured)| measured)
    };
    assert_eq!(check(&quote), Ok(Some(Measurements(MEASUREMENT.to_vec()))));
    assert_eq!(check(&evidence(&[0; 64]).to_bytes()), Err(Error::BadQuote));
}
