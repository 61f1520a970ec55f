//! Recipients, what they are told, and a line for each.

use std::io::Write;

use hanzo::pqc::attestation::{Evidence, SoftwareAttester};
use hanzo::pqc::kbs::{Challenge, Challenged, EvidenceMessage, Recipient, Release, Request, SessionId};
use hanzo::pqc::rand_core::SeedableRng;
use hanzo::pqc::{DecapsulationKey, KeyId, PrivacyTier, SignatureAlgorithm, SigningKey};
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};

use crate::Failure;
use crate::broker::Running;
use crate::http;

/// What a recipient should be told.
#[derive(Clone, Copy)]
pub(crate) enum Told {
    /// A release whose receipt verifies and whose envelope opens to the key.
    Key,
    /// This, and no more.
    Refused(&'static str),
}

/// A broker and those who ask it.
pub(crate) struct Scene<'a, W> {
    broker: Running,
    key: KeyId,
    rng: ChaCha20Rng,
    out: &'a mut W,
}

/// A recipient that holds a challenge.
pub(crate) struct Session {
    challenged: Challenged,
    rng: ChaCha20Rng,
}

impl Session {
    pub(crate) fn message(&mut self, items: Vec<Evidence>) -> Result<EvidenceMessage, Failure> {
        Ok(self.challenged.evidence(items)?)
    }

    pub(crate) fn software_item(&mut self, attester: &SoftwareAttester) -> Result<Evidence, Failure> {
        Ok(attester.attest(self.challenged.binding(), &mut self.rng)?)
    }

    pub(crate) fn software(&mut self, attester: &SoftwareAttester) -> Result<EvidenceMessage, Failure> {
        let item = self.software_item(attester)?;
        self.message(vec![item])
    }
}

impl<'a, W: Write> Scene<'a, W> {
    pub(crate) fn new(broker: Running, key: KeyId, seed: u64, out: &'a mut W) -> Self {
        Self { broker, key, rng: ChaCha20Rng::seed_from_u64(seed ^ 1 << 63), out }
    }

    pub(crate) fn title(&mut self, title: &str) -> Result<(), Failure> {
        Ok(writeln!(self.out, "\n== {title}")?)
    }

    pub(crate) fn note(&mut self, note: &str) -> Result<(), Failure> {
        Ok(writeln!(self.out, "   {note}")?)
    }

    /// Sets the broker's clock forward.
    pub(crate) fn wait(&self, seconds: u64) {
        self.broker.wait(seconds);
    }

    fn recipient(&self, tier: PrivacyTier) -> Result<Recipient, Failure> {
        let request = Request::new(tier, &[tier.suite()], vec![self.key.clone()])?;
        Ok(Recipient::new(request, self.broker.pinned.clone())?)
    }

    fn post(&self, path: &str, body: &Value) -> Result<(u16, Value), Failure> {
        Ok(http::post(self.broker.server.address, path, &body.to_string())?)
    }

    /// Asks for a challenge and takes it up.
    pub(crate) fn session(&mut self, tier: PrivacyTier) -> Result<Session, Failure> {
        let recipient = self.recipient(tier)?;
        let (status, body) = self.post("/v1/challenge", &json!({ "request": recipient.request() }))?;
        let challenge: Challenge =
            serde_json::from_value(body["challenge"].clone()).map_err(|_| Failure::Unexpected {
                what: "challenge".into(),
                expected: "a challenge".into(),
                told: format!("{status} {body}"),
            })?;
        let challenged = recipient.on_challenge(self.broker.now(), &challenge, &mut self.rng)?;
        Ok(Session { challenged, rng: self.rng.clone() })
    }

    /// Sends evidence, and prints what comes back, which must be what is expected. The session opens the release.
    pub(crate) fn release(
        &mut self,
        what: &str,
        message: &EvidenceMessage,
        session: Option<Session>,
        expected: Told,
    ) -> Result<(), Failure> {
        let (status, body) = self.post("/v1/release", &json!({ "evidence": message }))?;
        let (told, good) = match (expected, session, serde_json::from_value::<Release>(body["release"].clone())) {
            (Told::Key, Some(session), Ok(release)) => {
                let opened = session.challenged.open(&release)?;
                let good = opened.len() == 1 && opened[0].1.ct_eq(&self.broker.dek);
                (format!("receipt verified, key opened: {} bytes of release", release.to_bytes().len()), good)
            }
            (Told::Refused(refusal), _, Err(_)) => {
                let told = body["refusal"].as_str().unwrap_or("no refusal");
                (format!("{told:<22} | {}", self.broker.reason()), told == refusal)
            }
            (_, _, answer) => (format!("{status} {}", if answer.is_ok() { "release" } else { "refusal" }), false),
        };
        writeln!(self.out, "{status} {what:<58} {told}")?;
        if good {
            return Ok(());
        }
        let expected = match expected {
            Told::Key => "the key".into(),
            Told::Refused(refusal) => refusal.to_string(),
        };
        Err(Failure::Unexpected { what: what.into(), expected, told })
    }

    /// Sends a text that is no message.
    pub(crate) fn text(&mut self, what: &str, path: &str, text: &str, expected: u16) -> Result<(), Failure> {
        let (status, body) = http::post(self.broker.server.address, path, text)?;
        let told = body["error"].as_str().unwrap_or("no error").to_string();
        writeln!(self.out, "{status} {what:<58} {told}")?;
        if status == expected {
            return Ok(());
        }
        Err(Failure::Unexpected { what: what.into(), expected: expected.to_string(), told })
    }

    /// Asks for challenges until the rate of the key is used up.
    pub(crate) fn rate(&mut self, tier: PrivacyTier) -> Result<(), Failure> {
        let request = json!({ "request": self.recipient(tier)?.request() });
        for asked in 1..=100 {
            let (status, body) = self.post("/v1/challenge", &request)?;
            if status == 429 {
                let what = format!("challenge {asked} within one second");
                let told = body["refusal"].as_str().unwrap_or("no refusal");
                return Ok(writeln!(self.out, "{status} {what:<58} {told:<22} | {}", self.broker.reason())?);
            }
        }
        let (what, expected, told) = ("rate".into(), "busy".into(), "a hundred challenges".into());
        Err(Failure::Unexpected { what, expected, told })
    }
}

/// A software key that states this measurement.
pub(crate) fn attester(seed: u64, measurement: [u8; 32]) -> Result<SoftwareAttester, Failure> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 1 << 62);
    Ok(SoftwareAttester::new(SigningKey::generate(SignatureAlgorithm::MlDsa65, &mut rng), measurement)?)
}

/// The same evidence for a key it does not speak of.
pub(crate) fn with_another_key(
    message: &EvidenceMessage,
    tier: PrivacyTier,
    seed: u64,
) -> Result<EvidenceMessage, Failure> {
    let thief = DecapsulationKey::generate(tier.suite(), &mut ChaCha20Rng::seed_from_u64(seed ^ 1 << 61));
    let key = thief.encapsulation_key().as_bytes();
    Ok(EvidenceMessage::new(message.session(), key, message.items().to_vec())?)
}

/// The same message for a session that no broker opened.
pub(crate) fn with_another_session(message: &EvidenceMessage) -> Result<EvidenceMessage, Failure> {
    let session = SessionId::from_bytes([0xEE; 16]);
    Ok(EvidenceMessage::new(session, message.encapsulation_key(), message.items().to_vec())?)
}
