//! The broker behind the server: two paths, messages in JSON, and for the operator the reason of each refusal.

use std::io;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hanzo::pqc::attestation::{AttestationError, Binding, Claims, Evidence, UnixTime};
use hanzo::pqc::kbs::{
    Broker, EvidenceMessage, KbsConfig, KbsError, KeyRateLimit, MemoryChallengeStore, MemoryKeyStore, Policy, Refusal,
    Request,
};
use hanzo::pqc::rand_core::SeedableRng;
use hanzo::pqc::{Dek, KeyId, SignatureAlgorithm, SigningKey, VaultKey, VerifyingKey};
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};

use crate::http::Server;

/// A verifier of the caller's choice.
pub(crate) type Verify = Box<dyn Fn(&Evidence, &Binding, UnixTime) -> Result<Claims, AttestationError> + Send>;

/// A running broker with one data key, and what is known of it outside.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) pinned: VerifyingKey,
    pub(crate) dek: Dek,
    /// The broker's clock, in Unix seconds.
    clock: Arc<AtomicU64>,
    /// Why the last request was refused.
    reason: Arc<Mutex<Option<String>>>,
}

impl Running {
    /// Starts a broker that guards `key` with `policy`.
    pub(crate) fn start(now: UnixTime, verify: Verify, key: KeyId, policy: Policy, seed: u64) -> Result<Self, Failed> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let signer = SigningKey::generate(SignatureAlgorithm::MlDsa87, &mut rng);
        let pinned = signer.verifying_key().clone();
        let dek = Dek::generate(&mut rng);
        let mut keys = MemoryKeyStore::new(VaultKey::generate(&mut rng));
        keys.put(key, &dek, policy, &mut rng)?;
        let config = KbsConfig::new().software_evidence(true).tee_io_enabled(true);
        let limit = KeyRateLimit::new(NonZeroU32::new(8).unwrap_or(NonZeroU32::MIN), NonZeroU64::MIN);
        let broker = Broker::new(config, signer, verify, keys, MemoryChallengeStore::new())?.with_admission(limit);
        let (clock, reason) = (Arc::new(AtomicU64::new(now.as_seconds())), Arc::new(Mutex::new(None)));
        let mut service = Service { broker, rng, clock: Arc::clone(&clock), reason: Arc::clone(&reason) };
        let server = Server::start(move |path, body| service.answer(path, body))?;
        Ok(Self { server, pinned, dek, clock, reason })
    }

    pub(crate) fn now(&self) -> UnixTime {
        UnixTime::from_seconds(self.clock.load(Ordering::SeqCst))
    }

    /// Sets the broker's clock forward.
    pub(crate) fn wait(&self, seconds: u64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Takes the operator's reason.
    pub(crate) fn reason(&self) -> String {
        let reason = self.reason.lock().ok().and_then(|mut reason| reason.take());
        reason.unwrap_or_else(|| "none".into())
    }
}

/// What can fail when a broker starts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    Broker(#[from] KbsError),
    #[error("no server on the loopback interface: {0}")]
    Server(#[from] io::Error),
}

struct Service {
    broker: Broker<Verify, MemoryKeyStore>,
    rng: ChaCha20Rng,
    clock: Arc<AtomicU64>,
    reason: Arc<Mutex<Option<String>>>,
}

impl Service {
    fn answer(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let now = UnixTime::from_seconds(self.clock.load(Ordering::SeqCst));
        let answer = match path {
            "/v1/challenge" => field::<Request>(body, "request").map(|request| {
                let challenge = self.broker.challenge(now, &request, &mut self.rng);
                challenge.map(|challenge| json!({ "challenge": challenge }))
            }),
            "/v1/release" => field::<EvidenceMessage>(body, "evidence").map(|message| {
                let release = self.broker.release(now, &message, &mut self.rng);
                release.map(|release| json!({ "release": release }))
            }),
            _ => return (404, json!({ "error": "no such path" })),
        };
        match answer {
            None => (400, json!({ "error": "not a message of this path" })),
            Some(Ok(answer)) => (200, answer),
            Some(Err(error)) => {
                let refusal = error.refusal();
                if let Ok(mut reason) = self.reason.lock() {
                    *reason = Some(error.to_string());
                }
                let status = if refusal == Refusal::Busy { 429 } else { 403 };
                (status, json!({ "refusal": refusal.to_string() }))
            }
        }
    }
}

/// A message in its JSON form: the canonical bytes in base64.
fn field<T: serde::de::DeserializeOwned>(body: &Value, name: &str) -> Option<T> {
    serde_json::from_value(body.get(name)?.clone()).ok()
}
