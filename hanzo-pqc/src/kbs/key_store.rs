//! Where a broker keeps data keys and the policies that guard them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Bound;

use rand_core::CryptoRng;

use super::error::KbsError;
use super::key_record::{KeyRecord, MAX_VERSIONS, State, Version, version_digest};
use super::policy::Policy;
use crate::attestation::UnixTime;
use crate::envelope::{Dek, Envelope, EnvelopeHeader, KeyId, VaultKey};
use crate::error::Error;
use crate::tier::PrivacyTier;

/// Holds data keys and one policy for each.
///
/// # Guarantees
///
/// Both answers are the newest ones: the broker asks at release, so a change of policy or key binds challenges that were issued before it. Keys at rest
/// are wrapped.
pub trait KeyStore {
    /// The policy of a key; `None` denies.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`], [`KbsError::KeyRevoked`].
    fn policy(&self, key: &KeyId) -> Result<Option<Policy>, KbsError>;

    /// The data key, unwrapped; asked for only after its policy allowed it.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`], [`KbsError::KeyRevoked`], or [`KbsError::Crypto`] where the stored form does not open.
    fn data_key(&self, key: &KeyId, now: UnixTime) -> Result<Option<Dek>, KbsError>;
}

/// Names and bytes in order: what a [`VaultKeyStore`] stands on. The bytes hold wrapped keys and policies, and no secret.
///
/// # Guarantees
///
/// `put` and `remove` are atomic, and are on disk when they return where the table is durable. `get` and `after` give what the last of them left.
pub trait KeyTable {
    /// The bytes under a name.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`].
    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, KbsError>;

    /// Sets the bytes under a name.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`]; the table is then as before.
    fn put(&mut self, name: &[u8], bytes: &[u8]) -> Result<(), KbsError>;

    /// Forgets a name; whether it was there.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`]; the table is then as before.
    fn remove(&mut self, name: &[u8]) -> Result<bool, KbsError>;

    /// The first name after this one (of all, for `None`), in the order of bytes.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`].
    fn after(&self, name: Option<&[u8]>) -> Result<Option<Vec<u8>>, KbsError>;
}

/// A [`KeyTable`] in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryTable(BTreeMap<Box<[u8]>, Vec<u8>>);

impl KeyTable for MemoryTable {
    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, KbsError> {
        Ok(self.0.get(name).cloned())
    }

    fn put(&mut self, name: &[u8], bytes: &[u8]) -> Result<(), KbsError> {
        self.0.insert(name.into(), bytes.to_vec());
        Ok(())
    }

    fn remove(&mut self, name: &[u8]) -> Result<bool, KbsError> {
        Ok(self.0.remove(name).is_some())
    }

    fn after(&self, name: Option<&[u8]>) -> Result<Option<Vec<u8>>, KbsError> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        let mut names = self.0.range::<[u8], _>((from, Bound::Unbounded));
        Ok(names.next().map(|(name, _)| name.to_vec()))
    }
}

/// Data keys in memory, wrapped under a vault key; no data key lies open between calls.
pub type MemoryKeyStore = VaultKeyStore<MemoryTable>;

/// Data keys with versions, wrapped under a vault key, in a table that never sees one open.
///
/// A name has one active version, which is what a request of the name gets. [`Self::rotate`] makes a new one and retires the former, which is released until its
/// end to requests that name it: version 3 of `tenant-7/model` is `tenant-7/model@3`. One policy guards all versions. Revocation is final: the envelope is
/// forgotten, and the name of a revoked key is never taken again.
///
/// ```
/// use hanzo_pqc::attestation::UnixTime;
/// use hanzo_pqc::kbs::{KeyStore, MemoryKeyStore, Policy};
/// use hanzo_pqc::{Dek, KeyId, VaultKey};
/// # use hanzo_pqc::rand_core::SeedableRng;
/// # let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
///
/// let mut store = MemoryKeyStore::new(VaultKey::generate(&mut rng));
/// let name = KeyId::new("tenant-7/model")?;
/// let (first, second) = (Dek::generate(&mut rng), Dek::generate(&mut rng));
/// store.put(name.clone(), &first, Policy::default(), &mut rng)?;
/// let (now, end) = (UnixTime::from_seconds(1_800_000_000), UnixTime::from_seconds(1_800_086_400));
/// assert_eq!(store.rotate(&name, &second, end, &mut rng)?, 2);
/// assert!(store.data_key(&name, now)?.unwrap().ct_eq(&second));
/// let former = KeyId::new("tenant-7/model@1")?;
/// assert!(store.data_key(&former, now)?.unwrap().ct_eq(&first));
/// assert!(store.data_key(&former, end)?.is_none());
/// store.revoke(&name)?;
/// assert!(store.data_key(&name, now).is_err());
/// # Ok::<(), hanzo_pqc::kbs::KbsError>(())
/// ```
pub struct VaultKeyStore<T> {
    vault: VaultKey,
    /// While keys are wrapped anew, those that are not yet open under this one.
    former: Option<VaultKey>,
    /// The last name that was wrapped anew.
    rewrapped: Option<Vec<u8>>,
    table: T,
}

impl MemoryKeyStore {
    /// An empty store in memory.
    #[must_use]
    pub const fn new(vault: VaultKey) -> Self {
        Self::open(MemoryTable(BTreeMap::new()), vault)
    }
}

impl<T> VaultKeyStore<T> {
    /// The longest name, in bytes: a version's number still fits behind it.
    pub const MAX_NAME_LEN: usize = 244;

    /// A store over a table whose keys are wrapped under this vault key. Nothing is read yet: a wrong vault key shows at
    /// [`KeyStore::data_key`], as [`Error::Decrypt`].
    #[must_use]
    pub const fn open(table: T, vault: VaultKey) -> Self {
        Self { vault, former: None, rewrapped: None, table }
    }

    /// The table, for a backup.
    #[must_use]
    pub const fn table(&self) -> &T {
        &self.table
    }
}

impl<T: KeyTable> VaultKeyStore<T> {
    /// Wraps and stores a data key under its policy. What the name held before is forgotten; its version numbers are not used again.
    ///
    /// # Errors
    ///
    /// As [`Envelope::seal_vault`]; [`KbsError::KeyRevoked`] for a name that was revoked, [`KbsError::ReservedKeyId`] for one that ends in `@` and digits or is
    /// longer than [`Self::MAX_NAME_LEN`], [`KbsError::StoreUnavailable`].
    pub fn put<R: CryptoRng + ?Sized>(
        &mut self,
        key: KeyId,
        dek: &Dek,
        policy: Policy,
        rng: &mut R,
    ) -> Result<(), KbsError> {
        let number = self.next_number(&key)?;
        let wrapped = self.wrap(&key, number, dek, rng)?;
        self.replace(&key, number, wrapped, policy)
    }

    /// Stores a data key that is wrapped already, under the name in its header. It is opened once to check it.
    ///
    /// # Errors
    ///
    /// [`Error::Decrypt`] where it is not an envelope of this vault; otherwise as [`Self::put`].
    pub fn put_wrapped(&mut self, wrapped: Envelope, policy: Policy) -> Result<(), KbsError> {
        wrapped.open_vault(&self.vault)?;
        let key = wrapped.header().key_id().clone();
        let number = self.next_number(&key)?;
        self.replace(&key, number, wrapped, policy)
    }

    /// Replaces the policy of a key, for all its versions.
    ///
    /// # Errors
    ///
    /// [`KbsError::KeyNotFound`], [`KbsError::KeyRevoked`], [`KbsError::StoreUnavailable`].
    pub fn set_policy(&mut self, key: &KeyId, policy: Policy) -> Result<(), KbsError> {
        self.change(key, |record| {
            record.policy = policy;
            Ok(())
        })
    }

    /// Makes a new active version and gives its number. The former active one is released by its number alone, until `former_until`.
    ///
    /// # Errors
    ///
    /// As [`Self::set_policy`] and [`Envelope::seal_vault`]; [`KbsError::ReservedKeyId`] for a name with a version in it;
    /// [`Error::TooLong`] above 1024 versions.
    pub fn rotate<R: CryptoRng + ?Sized>(
        &mut self,
        key: &KeyId,
        dek: &Dek,
        former_until: UnixTime,
        rng: &mut R,
    ) -> Result<u32, KbsError> {
        let number = self.next_number(key)?;
        let wrapped = self.wrap(key, number, dek, rng)?;
        self.change(key, |record| {
            if record.versions.len() >= MAX_VERSIONS {
                return Err(Error::TooLong { what: "versions of a key", limit: MAX_VERSIONS }.into());
            }
            for version in &mut record.versions {
                if let State::Active(wrapped) = &version.state {
                    version.state = State::Retired { until: former_until, wrapped: wrapped.clone() };
                }
            }
            record.versions.push(Version { number, state: State::Active(wrapped) });
            record.last = number;
            Ok(number)
        })
    }

    /// Revokes a key with all its versions, for good: its wrapped forms are forgotten and its name is never taken again.
    ///
    /// # Errors
    ///
    /// [`KbsError::KeyNotFound`], [`KbsError::StoreUnavailable`]; [`KbsError::KeyRevoked`] where it was revoked before.
    pub fn revoke(&mut self, key: &KeyId) -> Result<(), KbsError> {
        self.change(key, |record| {
            record.revoked = true;
            record.policy = Policy::default();
            record.versions.iter_mut().for_each(|version| version.state = State::Revoked);
            Ok(())
        })
    }

    /// Revokes one version, for good.
    ///
    /// # Errors
    ///
    /// As [`Self::revoke`]; [`KbsError::KeyNotFound`] without such a version too.
    pub fn revoke_version(&mut self, key: &KeyId, number: u32) -> Result<(), KbsError> {
        self.change(key, |record| {
            let version = record.versions.iter_mut().find(|version| version.number == number);
            version.ok_or_else(|| not_found(key))?.state = State::Revoked;
            Ok(())
        })
    }

    /// Forgets a key, its versions and its policy without a trace; whether there was one. See [`Self::revoke`] for keys whose name must stay taken.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`].
    pub fn remove(&mut self, key: &KeyId) -> Result<bool, KbsError> {
        self.table.remove(key.as_bytes())
    }

    /// The stored form of a key's active version, for a backup.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`].
    pub fn wrapped(&self, key: &KeyId) -> Result<Option<Envelope>, KbsError> {
        Ok(self.record(key)?.and_then(|record| record.active().cloned()))
    }

    /// Takes a new vault key. Both are read from now on; [`Self::rewrap`] moves the keys over.
    ///
    /// After an interruption, open the store with the former vault key and call this again: what was moved stays readable.
    ///
    /// # Errors
    ///
    /// [`KbsError::Busy`] while an earlier change is not finished; the new key comes back with it.
    pub fn rotate_vault(&mut self, new: VaultKey) -> Result<(), (KbsError, VaultKey)> {
        if self.former.is_some() {
            return Err((KbsError::Busy, new));
        }
        self.former = Some(core::mem::replace(&mut self.vault, new));
        self.rewrapped = None;
        Ok(())
    }

    /// Wraps the versions of at most `keys` keys under the new vault key, each key in one step of the table, and says whether none is left: then the former vault
    /// key is forgotten.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`], [`KbsError::Crypto`] for an envelope that neither vault key opens; what was moved stays moved.
    pub fn rewrap<R: CryptoRng + ?Sized>(&mut self, keys: usize, rng: &mut R) -> Result<bool, KbsError> {
        let Some(former) = &self.former else {
            return Ok(true);
        };
        for _ in 0..keys {
            let Some(name) = self.table.after(self.rewrapped.as_deref())? else {
                break;
            };
            let Some(bytes) = self.table.get(&name)? else {
                self.rewrapped = Some(name);
                continue;
            };
            let mut record = KeyRecord::from_bytes(&bytes).map_err(|_| KbsError::StoreUnavailable)?;
            for version in &mut record.versions {
                if let State::Active(wrapped) | State::Retired { wrapped, .. } = &mut version.state
                    && wrapped.open_vault(&self.vault).is_err()
                {
                    let dek = wrapped.open_vault(former)?;
                    *wrapped = Envelope::seal_vault(wrapped.header().clone(), &self.vault, &dek, rng)?;
                }
            }
            self.table.put(&name, &record.to_bytes())?;
            self.rewrapped = Some(name);
        }
        let done = self.table.after(self.rewrapped.as_deref())?.is_none();
        if done {
            self.former = None;
        }
        Ok(done)
    }

    fn wrap<R: CryptoRng + ?Sized>(
        &self,
        key: &KeyId,
        number: u32,
        dek: &Dek,
        rng: &mut R,
    ) -> Result<Envelope, KbsError> {
        let header =
            EnvelopeHeader::vault(PrivacyTier::AtRest, key.clone()).with_context_digest(version_digest(number));
        Ok(Envelope::seal_vault(header, &self.vault, dek, rng)?)
    }

    /// The number that the next version of a name gets.
    fn next_number(&self, key: &KeyId) -> Result<u32, KbsError> {
        if key.as_bytes().len() > Self::MAX_NAME_LEN || split(key).1.is_some() {
            return Err(KbsError::ReservedKeyId { key: key.clone() });
        }
        match self.record(key)? {
            Some(record) if record.revoked => Err(KbsError::KeyRevoked { key: key.clone() }),
            Some(record) => record
                .last
                .checked_add(1)
                .ok_or(Error::TooLong { what: "versions of a key", limit: MAX_VERSIONS }.into()),
            None => Ok(1),
        }
    }

    fn replace(&mut self, key: &KeyId, number: u32, wrapped: Envelope, policy: Policy) -> Result<(), KbsError> {
        let versions = alloc::vec![Version { number, state: State::Active(wrapped) }];
        let record = KeyRecord { revoked: false, last: number, policy, versions };
        self.table.put(key.as_bytes(), &record.to_bytes())
    }

    fn change<U>(
        &mut self,
        key: &KeyId,
        change: impl FnOnce(&mut KeyRecord) -> Result<U, KbsError>,
    ) -> Result<U, KbsError> {
        let mut record = self.record(key)?.ok_or_else(|| not_found(key))?;
        if record.revoked {
            return Err(KbsError::KeyRevoked { key: key.clone() });
        }
        let answer = change(&mut record)?;
        self.table.put(key.as_bytes(), &record.to_bytes())?;
        Ok(answer)
    }

    fn record(&self, key: &KeyId) -> Result<Option<KeyRecord>, KbsError> {
        let bytes = self.table.get(key.as_bytes())?;
        bytes.map(|bytes| KeyRecord::from_bytes(&bytes).map_err(|_| KbsError::StoreUnavailable)).transpose()
    }

    /// The record that a requested name speaks of, and the version in the name.
    fn resolve(&self, key: &KeyId) -> Result<Option<(KeyRecord, KeyId, Option<u32>)>, KbsError> {
        let (name, number) = split(key);
        let name = KeyId::new(name).map_err(|_| not_found(key))?;
        let Some(record) = self.record(&name)? else {
            return Ok(None);
        };
        if record.revoked {
            return Err(KbsError::KeyRevoked { key: key.clone() });
        }
        Ok(Some((record, name, number)))
    }
}

impl<T: KeyTable> KeyStore for VaultKeyStore<T> {
    fn policy(&self, key: &KeyId) -> Result<Option<Policy>, KbsError> {
        Ok(self.resolve(key)?.map(|(record, ..)| record.policy))
    }

    fn data_key(&self, key: &KeyId, now: UnixTime) -> Result<Option<Dek>, KbsError> {
        let Some((record, name, number)) = self.resolve(key)? else {
            return Ok(None);
        };
        let version = match number {
            None => record.versions.iter().rev().find(|version| matches!(version.state, State::Active(_))),
            Some(number) => record.version(number),
        };
        let Some(version) = version else {
            return Ok(None);
        };
        let wrapped = match &version.state {
            State::Active(wrapped) => wrapped,
            State::Retired { until, wrapped } if now < *until => wrapped,
            State::Retired { .. } => return Ok(None),
            State::Revoked => return Err(KbsError::KeyRevoked { key: key.clone() }),
        };
        // The header is authenticated: a key stored under another's name or number does not pass for it. A key that came wrapped has no number inside.
        let header = wrapped.header();
        let bound = *header.context_digest();
        if *header.key_id() != name || (bound != [0; 32] && bound != version_digest(version.number)) {
            return Err(Error::Decrypt.into());
        }
        let opened = wrapped.open_vault(&self.vault);
        let opened = match (&opened, &self.former) {
            (Err(_), Some(former)) => wrapped.open_vault(former),
            _ => opened,
        };
        Ok(Some(opened?))
    }
}

impl<T> fmt::Debug for VaultKeyStore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultKeyStore").field("vault", &self.vault).finish_non_exhaustive()
    }
}

/// A name and, behind its last `@`, a version: digits without a leading zero. Anything else is all name.
fn split(key: &KeyId) -> (&[u8], Option<u32>) {
    let bytes = key.as_bytes();
    let parts = bytes.iter().rposition(|byte| *byte == b'@').map(|at| (&bytes[..at], &bytes[at + 1..]));
    let number = |digits: &[u8]| {
        let plain = digits.iter().all(u8::is_ascii_digit) && digits.first().is_some_and(|digit| *digit != b'0');
        if plain { core::str::from_utf8(digits).ok()?.parse().ok() } else { None }
    };
    match parts {
        Some((name, digits)) if !name.is_empty() => match number(digits) {
            Some(number) => (name, Some(number)),
            None => (bytes, None),
        },
        _ => (bytes, None),
    }
}

fn not_found(key: &KeyId) -> KbsError {
    KbsError::KeyNotFound { key: key.clone() }
}
