//! Where a broker keeps data keys and the policies that guard them.

use alloc::collections::BTreeMap;
use core::fmt;

use rand_core::CryptoRng;

use super::error::KbsError;
use super::policy::Policy;
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
    /// [`KbsError::StoreUnavailable`].
    fn policy(&self, key: &KeyId) -> Result<Option<Policy>, KbsError>;

    /// The data key, unwrapped; asked for only after its policy allowed it.
    ///
    /// # Errors
    ///
    /// [`KbsError::StoreUnavailable`], or [`KbsError::Crypto`] where the stored form does not open.
    fn data_key(&self, key: &KeyId) -> Result<Option<Dek>, KbsError>;
}

/// Data keys in memory, wrapped under a vault key; no data key lies open between calls.
pub struct MemoryKeyStore {
    vault: VaultKey,
    entries: BTreeMap<KeyId, Entry>,
}

struct Entry {
    policy: Policy,
    wrapped: Envelope,
}

impl MemoryKeyStore {
    /// An empty store.
    #[must_use]
    pub const fn new(vault: VaultKey) -> Self {
        Self { vault, entries: BTreeMap::new() }
    }

    /// Wraps and stores a data key under its policy; replaces what the name held before.
    ///
    /// # Errors
    ///
    /// As [`Envelope::seal_vault`].
    pub fn put<R: CryptoRng + ?Sized>(
        &mut self,
        key: KeyId,
        dek: &Dek,
        policy: Policy,
        rng: &mut R,
    ) -> Result<(), KbsError> {
        let header = EnvelopeHeader::vault(PrivacyTier::AtRest, key.clone());
        let wrapped = Envelope::seal_vault(header, &self.vault, dek, rng)?;
        self.entries.insert(key, Entry { policy, wrapped });
        Ok(())
    }

    /// Stores a data key that is wrapped already, under the name in its header. It is opened once to check it.
    ///
    /// # Errors
    ///
    /// [`Error::Decrypt`] where it is not an envelope of this vault.
    pub fn put_wrapped(&mut self, wrapped: Envelope, policy: Policy) -> Result<(), KbsError> {
        wrapped.open_vault(&self.vault)?;
        let key = wrapped.header().key_id().clone();
        self.entries.insert(key, Entry { policy, wrapped });
        Ok(())
    }

    /// Replaces the policy of a key.
    ///
    /// # Errors
    ///
    /// [`KbsError::KeyNotFound`].
    pub fn set_policy(&mut self, key: &KeyId, policy: Policy) -> Result<(), KbsError> {
        let entry = self.entries.get_mut(key).ok_or_else(|| KbsError::KeyNotFound { key: key.clone() })?;
        entry.policy = policy;
        Ok(())
    }

    /// Forgets a key and its policy; whether there was one.
    pub fn remove(&mut self, key: &KeyId) -> bool {
        self.entries.remove(key).is_some()
    }

    /// The stored form of a key, for a backup.
    #[must_use]
    pub fn wrapped(&self, key: &KeyId) -> Option<&Envelope> {
        self.entries.get(key).map(|entry| &entry.wrapped)
    }
}

impl KeyStore for MemoryKeyStore {
    fn policy(&self, key: &KeyId) -> Result<Option<Policy>, KbsError> {
        Ok(self.entries.get(key).map(|entry| entry.policy.clone()))
    }

    fn data_key(&self, key: &KeyId) -> Result<Option<Dek>, KbsError> {
        let Some(entry) = self.entries.get(key) else {
            return Ok(None);
        };
        // The header is authenticated: a key stored under another's name does not pass for it.
        if entry.wrapped.header().key_id() != key {
            return Err(Error::Decrypt.into());
        }
        Ok(Some(entry.wrapped.open_vault(&self.vault)?))
    }
}

impl fmt::Debug for MemoryKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKeyStore").field("vault", &self.vault).field("keys", &self.entries.len()).finish()
    }
}
