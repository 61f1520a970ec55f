//! A key broker behind HTTP on the loopback interface: keys for machines that prove what they are, and the refusals, as a transcript.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use hanzo::pqc::attestation::{AttestationError, EvidenceKind};
use hanzo::pqc::kbs::{KbsError, Policy};
use hanzo::pqc::{KeyId, PrivacyTier};
use hanzo_examples::program;
use lexopt::prelude::*;
use samples::Samples;
use scene::{Scene, Told};

mod broker;
mod http;
mod samples;
mod scene;

const HELP: &str = "\
Starts a key broker behind a small HTTP server on the loopback interface and lets recipients ask it for a key: first with software
evidence at tier 1, then with recorded reports of real machines (AMD SEV-SNP, NVIDIA H100) at tiers 2 to 4. Prints what each
recipient is told and, beside it, the reason that stays with the operator.

Usage: cargo run --release --example key_broker -- [OPTIONS]

Options:
  --data DIR   the SDK's test data, with the reports of real machines [default: $HANZO_TEST_DATA]
  --seed N     same seed, same messages [default: 1]
  --help       print this
";

struct Options {
    data: Option<PathBuf>,
    seed: u64,
}

fn options(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let data = std::env::var_os("HANZO_TEST_DATA").filter(|data| !data.is_empty()).map(Into::into);
    let mut options = Options { data, seed: 1 };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("data") => options.data = Some(parser.value()?.into()),
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

fn main() -> ExitCode {
    program::main("key_broker", HELP, options, |options| run(options, &mut program::Output))
}

/// Why there is no transcript, in one line.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Samples(#[from] samples::Missing),
    #[error("a sample does not verify: {0}")]
    Sample(#[from] AttestationError),
    #[error(transparent)]
    Broker(#[from] broker::Failed),
    #[error("recipient: {0}")]
    Recipient(#[from] KbsError),
    #[error("recipient: {0}")]
    Crypto(#[from] hanzo::pqc::Error),
    #[error("{what}: expected {expected}, told {told}")]
    Unexpected { what: String, expected: String, told: String },
    #[error("input or output: {0}")]
    Io(#[from] io::Error),
}

fn run(options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    let samples = options.data.as_deref().map(Samples::load).transpose()?;
    software(options.seed, out)?;
    match samples {
        Some(samples) => {
            genuine(&samples, options.seed, out)?;
            recorded(&samples, options.seed, out)
        }
        None => Ok(writeln!(
            out,
            "\nskipped: reports of real machines; --data or HANZO_TEST_DATA names the SDK's test data"
        )?),
    }
}

fn key() -> Result<KeyId, Failure> {
    Ok(KeyId::new("tenant-7/model")?)
}

/// Tier 1, where a software key may stand for a machine.
fn software(seed: u64, out: &mut impl Write) -> Result<(), Failure> {
    let tier = PrivacyTier::AtRest;
    let attester = scene::attester(seed, [0x11; 32])?;
    let impostor = scene::attester(seed, [0x12; 32])?;
    let policy = Policy::builder()
        .tiers([tier])
        .suites([tier.suite()])
        .software_keys([attester.key_digest()])
        .software_measurements([*attester.measurement()])
        .build()?;
    let verify = |evidence: &_, bound: &_, now| {
        hanzo::pqc::attestation::EvidenceVerifier::verify(
            &hanzo::pqc::attestation::SoftwareVerifier,
            evidence,
            bound,
            now,
        )
    };
    let now = hanzo::pqc::attestation::UnixTime::from_seconds(1_800_000_000);
    let broker = broker::Running::start(now, Box::new(verify), key()?, policy, seed)?;
    let mut scene = Scene::new(broker, key()?, seed, out);
    scene.title("software evidence, tier 1")?;

    let mut session = scene.session(tier)?;
    let message = session.software(&attester)?;
    scene.release("the enrolled key and measurement", &message, Some(session), Told::Key)?;
    scene.release("the same message again", &message, None, Told::Refused("challenge used before"))?;

    let mut session = scene.session(tier)?;
    let message = session.software(&impostor)?;
    scene.release("another measurement", &message, None, Told::Refused("denied"))?;

    let (mut session, mut other) = (scene.session(tier)?, scene.session(tier)?);
    let evidence = session.software_item(&attester)?;
    scene.release("evidence of another session", &other.message(vec![evidence])?, None, Told::Refused("denied"))?;
    let good = session.software(&attester)?;
    let stolen = scene::with_another_key(&good, tier, seed)?;
    scene.release("another recipient's key beside good evidence", &stolen, None, Told::Refused("denied"))?;

    let mut session = scene.session(tier)?;
    let message = session.software(&attester)?;
    scene.wait(61);
    scene.release("61 seconds after the challenge", &message, None, Told::Refused("challenge expired"))?;
    scene.wait(60);
    scene.release(
        "a minute later, when the session is forgotten",
        &message,
        None,
        Told::Refused("challenge used before"),
    )?;
    let stray = scene::with_another_session(&message)?;
    scene.release("a session that never was", &stray, None, Told::Refused("challenge unknown"))?;
    scene.text("no JSON", "/v1/release", "evidence", 400)?;
    scene.text("JSON of another form", "/v1/release", "{\"evidence\":\"AAAA\"}", 400)?;
    scene.rate(tier)?;
    Ok(())
}

fn policy(samples: &Samples) -> Result<hanzo::pqc::kbs::PolicyBuilder, Failure> {
    let (snp, gpu) = (samples.snp_claims()?, samples.gpu_claims()?);
    let tiers = [PrivacyTier::CpuTee, PrivacyTier::GpuCc, PrivacyTier::GpuTeeIo];
    let base = Policy::builder()
        .name("tenant-7: one guest, one driver")
        .tiers(tiers)
        .suites(tiers.map(PrivacyTier::suite))
        .snp_measurements([snp.measurement])
        .snp_minimum_tcb(snp.product, snp.reported_tcb)
        .snp_vlek_providers(["CN=cc-us-east-2.amazonaws.com"])
        .gpu_driver_versions([&gpu.driver_version])
        .gpu_vbios_versions([&gpu.vbios_version]);
    let measured = (1..).zip(gpu.measurements.iter()).filter(|(_, value)| **value != [0; 48]);
    Ok(measured.fold(base, |policy, (index, value)| policy.gpu_measurement(index, [*value])))
}

/// Recorded reports against a broker as it is run: they verify, and are of another session.
fn genuine(samples: &Samples, seed: u64, out: &mut impl Write) -> Result<(), Failure> {
    let broker = broker::Running::start(samples::NOW, samples::genuine(), key()?, policy(samples)?.build()?, seed)?;
    let mut scene = Scene::new(broker, key()?, seed, out);
    scene.title("reports of real machines, recorded for other sessions")?;
    let (cpu, gpu) = (samples.milan.evidence(EvidenceKind::Snp)?, samples.hopper.evidence(EvidenceKind::NvidiaGpu)?);
    let message = scene.session(PrivacyTier::CpuTee)?.message(vec![cpu.clone()])?;
    scene.release("tier 2: the SEV-SNP report of a Milan", &message, None, Told::Refused("denied"))?;
    let message = scene.session(PrivacyTier::GpuCc)?.message(vec![cpu, gpu])?;
    scene.release("tier 3: the same and an H100's", &message, None, Told::Refused("denied"))?;
    Ok(())
}

/// The same, by a broker that takes their binding for granted: everything else is verified as ever.
fn recorded(samples: &Samples, seed: u64, out: &mut impl Write) -> Result<(), Failure> {
    let broker = broker::Running::start(samples::NOW, samples::recorded(), key()?, policy(samples)?.build()?, seed)?;
    let mut scene = Scene::new(broker, key()?, seed, out);
    scene.title("the same reports, played as if they had been made for these sessions")?;
    let (snp, gpu) = (samples.snp_claims()?, samples.gpu_claims()?);
    scene.note(&format!(
        "SEV-SNP {}, report version {}, TCB {:?}",
        snp.product.name(),
        snp.version,
        snp.reported_tcb
    ))?;
    scene.note(&format!("{:?}, driver {}, VBIOS {}", gpu.architecture, gpu.driver_version, gpu.vbios_version))?;
    use PrivacyTier::{CpuTee, GpuCc, GpuTeeIo};
    let kind = EvidenceKind::Snp;
    let (cpu, gpu) = (samples.milan.evidence(kind)?, samples.hopper.evidence(EvidenceKind::NvidiaGpu)?);

    let mut session = scene.session(CpuTee)?;
    let message = session.message(vec![cpu.clone()])?;
    scene.release("tier 2: the Milan's report", &message, Some(session), Told::Key)?;
    let mut session = scene.session(GpuCc)?;
    let message = session.message(vec![cpu.clone(), gpu.clone()])?;
    scene.release("tier 3: both reports under one nonce", &message, Some(session), Told::Key)?;

    let rows = [
        ("tier 3 without the GPU", GpuCc, vec![cpu.clone()]),
        (
            "tier 2 with one bit of the measurement changed",
            CpuTee,
            vec![samples.milan.flipped(0x90, 1).evidence(kind)?],
        ),
        ("tier 2 with the debug bit set", CpuTee, vec![samples.milan.flipped(0x0A, 8).evidence(kind)?]),
        ("tier 2 with a reserved byte not zero", CpuTee, vec![samples.milan.flipped(0x18C, 1).evidence(kind)?]),
        ("tier 2: a report of another guest", CpuTee, vec![samples.vlek.evidence(kind)?]),
        ("tier 3 with one bit of the GPU's nonce changed", GpuCc, {
            vec![cpu.clone(), samples.hopper.flipped(5, 1).evidence(EvidenceKind::NvidiaGpu)?]
        }),
        ("tier 4: no report proves TEE-I/O", GpuTeeIo, vec![cpu, gpu]),
    ];
    for (what, tier, items) in rows {
        scene.wait(2);
        let message = scene.session(tier)?.message(items)?;
        scene.release(what, &message, None, Told::Refused("denied"))?;
    }
    scene.wait(366 * 86_400);
    let message = scene.session(CpuTee)?.message(vec![samples.vlek.evidence(kind)?])?;
    scene.release(
        "tier 2, a year later: the cloud provider's key has ended",
        &message,
        None,
        Told::Refused("denied"),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transcript_is_the_same_twice_and_ends_well() {
        let once = || {
            let mut out = Vec::new();
            let options = options(lexopt::Parser::from_args(["--seed", "3"])).unwrap().unwrap();
            run(&options, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = once();
        assert!(text.contains("key opened") && text.contains("challenge used before"), "{text}");
        assert_eq!(text, once());
    }

    #[test]
    fn options_that_are_none() {
        let parse = |arguments: &[&str]| options(lexopt::Parser::from_args(arguments));
        assert!(parse(&["--nonsense"]).is_err() && parse(&["--seed", "x"]).is_err());
        let missing = parse(&["--data", "missing"]).unwrap().unwrap();
        let failure = run(&missing, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(failure.lines().count(), 1, "{failure}");
        assert!(parse(&["--help"]).unwrap().is_none());
    }
}
