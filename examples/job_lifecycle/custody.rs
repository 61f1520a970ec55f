//! Who may use a tenant's adapters: they are sealed, and the broker gives the key only to an attested, enrolled machine.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit as _, Nonce};
use hanzo::bitdelta::{Adapter, BaseDigest, BoundAdapter, ReadOptions};
use hanzo::pqc::attestation::{SoftwareAttester, SoftwareVerifier, UnixTime};
use hanzo::pqc::kbs::{Broker, KbsConfig, KbsError, MemoryChallengeStore, MemoryKeyStore, Policy, Recipient, Request};
use hanzo::pqc::{Dek, KeyId, PrivacyTier, SignatureAlgorithm, SigningKey, VaultKey, VerifyingKey};
use rand_chacha::ChaCha20Rng;

use crate::Result;
use crate::network::LEVELS;
use crate::party::MEASUREMENT;

/// Software evidence proves the holder of a key, not the machine: good for tier 1 and no higher.
const TIER: PrivacyTier = PrivacyTier::AtRest;

/// The key broker and the sealed adapters.
#[derive(Debug)]
pub(crate) struct Custody {
    broker: Broker<SoftwareVerifier, MemoryKeyStore>,
    broker_key: VerifyingKey,
    tenants: Vec<Tenant>,
    enrolled: BTreeSet<[u8; 32]>,
    base: BaseDigest,
    rng: ChaCha20Rng,
    /// Keys released.
    pub(crate) releases: u64,
    /// Keys refused.
    pub(crate) refusals: u64,
}

#[derive(Debug)]
struct Tenant {
    key: KeyId,
    /// One a level.
    sealed: Vec<Vec<u8>>,
    /// Their adapters' ids, which are public.
    ids: Vec<[u8; 32]>,
}

/// A tenant's key in the hands of a machine, and the adapters it has opened with it. Wiped when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    key: Dek,
    opened: [OnceCell<BoundAdapter>; LEVELS.len()],
}

impl Custody {
    /// Seals every tenant's adapters (one a level) under a key of its own, and stores the keys with a policy that names the
    /// enrolled machines.
    pub(crate) fn new(
        base: BaseDigest,
        adapters: Vec<(String, Vec<Vec<u8>>)>,
        enrolled: BTreeSet<[u8; 32]>,
        mut rng: ChaCha20Rng,
    ) -> Result<Self> {
        let mut keys = MemoryKeyStore::new(VaultKey::generate(&mut rng));
        let mut tenants = Vec::with_capacity(adapters.len());
        for (name, files) in adapters {
            let (key, dek) = (KeyId::new(&name)?, Dek::generate(&mut rng));
            let seal = |(level, file): (usize, &Vec<u8>)| {
                let payload = Payload { msg: file, aad: name.as_bytes() };
                cipher(&dek)?.encrypt(&nonce(level), payload).map_err(|_| "an adapter could not be sealed".into())
            };
            let sealed = files.iter().enumerate().map(seal).collect::<Result<_>>()?;
            let id =
                |file: &Vec<u8>| Ok(*Adapter::from_bytes(file.as_slice().into(), ReadOptions::new())?.id().as_bytes());
            let ids = files.iter().map(id).collect::<Result<_>>()?;
            keys.put(key.clone(), &dek, policy(&enrolled)?, &mut rng)?;
            tenants.push(Tenant { key, sealed, ids });
        }
        let signer = SigningKey::generate(SignatureAlgorithm::MlDsa65, &mut rng);
        let broker_key = signer.verifying_key().clone();
        let config = KbsConfig::new().software_evidence(true);
        let broker = Broker::new(config, signer, SoftwareVerifier, keys, MemoryChallengeStore::new())?;
        Ok(Self { broker, broker_key, tenants, enrolled, base, rng, releases: 0, refusals: 0 })
    }

    /// Asks the broker for a tenant's key: request, challenge, evidence bound to both, release, receipt checked.
    ///
    /// # Errors
    /// What the broker or the recipient refused.
    pub(crate) fn lease(
        &mut self,
        machine: &SoftwareAttester,
        tenant: usize,
        now: UnixTime,
    ) -> std::result::Result<Lease, KbsError> {
        let lease = self.negotiate(machine, tenant, now);
        match &lease {
            Ok(_) => self.releases += 1,
            Err(_) => self.refusals += 1,
        }
        lease
    }

    fn negotiate(
        &mut self,
        machine: &SoftwareAttester,
        tenant: usize,
        now: UnixTime,
    ) -> std::result::Result<Lease, KbsError> {
        let rng = &mut self.rng;
        let wanted = self.tenants[tenant].key.clone();
        let recipient =
            Recipient::new(Request::new(TIER, &[TIER.suite()], vec![wanted.clone()])?, self.broker_key.clone())?;
        let challenge = self.broker.challenge(now, recipient.request(), rng)?;
        let mut session = recipient.on_challenge(now, &challenge, rng)?;
        let evidence = machine.attest(session.binding(), rng)?;
        let message = session.evidence(vec![evidence])?;
        let release = self.broker.release(now, &message, rng)?;
        let keys = session.open(&release)?;
        let key = keys.into_iter().find(|(id, _)| *id == wanted).map(|(_, key)| key);
        let key = key.ok_or(KbsError::KeyNotFound { key: wanted })?;
        Ok(Lease { key, opened: Default::default() })
    }

    /// Opens an adapter with the key of a lease, the first time, and checks that it belongs to this base network.
    pub(crate) fn adapter<'a>(&self, lease: &'a Lease, tenant: usize, level: usize) -> Result<&'a BoundAdapter> {
        if let Some(adapter) = lease.opened[level].get() {
            return Ok(adapter);
        }
        let Tenant { key, sealed, .. } = &self.tenants[tenant];
        let payload = Payload { msg: &sealed[level], aad: key.as_bytes() };
        let file = cipher(&lease.key)?.decrypt(&nonce(level), payload).map_err(|_| "an adapter does not open")?;
        let adapter = Adapter::from_bytes(file.into(), ReadOptions::new())?.bind(&self.base)?;
        Ok(lease.opened[level].get_or_init(|| adapter))
    }

    /// Id of a tenant's adapter at a level.
    pub(crate) fn adapter_id(&self, tenant: usize, level: usize) -> [u8; 32] {
        self.tenants[tenant].ids[level]
    }

    /// Digest of the base network.
    pub(crate) fn base(&self) -> [u8; 32] {
        *self.base.as_bytes()
    }

    /// Takes a machine off every policy: keys it has not fetched yet are out of its reach.
    pub(crate) fn revoke(&mut self, machine: &SoftwareAttester) -> Result<()> {
        self.enrolled.remove(&machine.key_digest());
        let policy = policy(&self.enrolled)?;
        for tenant in &self.tenants {
            self.broker.keys_mut().set_policy(&tenant.key, policy.clone())?;
        }
        Ok(())
    }
}

fn policy(enrolled: &BTreeSet<[u8; 32]>) -> Result<Policy> {
    Ok(Policy::builder()
        .tiers([TIER])
        .suites([TIER.suite()])
        .software_keys(enrolled.iter().copied())
        .software_measurements([MEASUREMENT])
        .build()?)
}

fn cipher(key: &Dek) -> Result<ChaCha20Poly1305> {
    let key = Key::try_from(key.expose_bytes()).map_err(|_| "a data key is not of 32 bytes")?;
    Ok(ChaCha20Poly1305::new(&key))
}

/// Each key seals one file a level, so the level is a nonce that never repeats.
fn nonce(level: usize) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&(level as u64).to_le_bytes());
    bytes.into()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::network::Weights;
    use crate::party::Party;

    #[test]
    fn only_an_enrolled_machine_with_the_right_runtime_opens_an_adapter() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let base = Weights::base(1);
        let digest = base.digest().unwrap();
        let files = LEVELS.iter().map(|level| base.adapter(digest, &base.fine_tune(0, 2), level).unwrap()).collect();
        let [good, other] = [(); 2].map(|()| Party::new(MEASUREMENT, &mut rng).unwrap());
        let patched = Party::new([9; 32], &mut rng).unwrap();
        let enrolled = [&good, &patched].map(|party| party.machine.key_digest()).into();
        let mut custody = Custody::new(digest, vec![("tenant-0".to_owned(), files)], enrolled, rng).unwrap();
        let now = UnixTime::from_seconds(10);

        let lease = custody.lease(&good.machine, 0, now).unwrap();
        custody.adapter(&lease, 0, 3).unwrap();
        for refused in [&other, &patched] {
            assert!(matches!(custody.lease(&refused.machine, 0, now), Err(KbsError::PolicyDenied { .. })));
        }
        custody.revoke(&good.machine).unwrap();
        assert!(matches!(custody.lease(&good.machine, 0, now), Err(KbsError::PolicyDenied { .. })));
        assert_eq!((custody.releases, custody.refusals), (1, 3));
        // A key of another tenant opens nothing.
        let stranger = Lease { key: Dek::new(&[7; 32]).unwrap(), opened: Default::default() };
        assert!(custody.adapter(&stranger, 0, 0).is_err());
    }
}
