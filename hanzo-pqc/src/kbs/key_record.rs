//! One data key at rest: its policy and its versions, each wrapped.

use alloc::vec::Vec;

use super::policy::Policy;
use crate::attestation::UnixTime;
use crate::envelope::Envelope;
use crate::error::Result;
use crate::wire::{Reader, digest, put_lp32};

/// What a store keeps under a key's name; no secret stands open in it.
///
/// Bytes: `HKKR` 01 ‖ u8 revoked ‖ u32 last version ‖ lp32(policy) ‖ u16 n ‖ n × (u32 version ‖ u8 state ‖ u64 end ‖ lp32(envelope)), versions ascending;
/// state 0 active, 1 retired, 2 revoked (whose envelope is empty).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRecord {
    /// A tombstone: the name is never used again.
    pub(super) revoked: bool,
    pub(super) last: u32,
    pub(super) policy: Policy,
    pub(super) versions: Vec<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) number: u32,
    pub(super) state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Released under the bare name and under its number.
    Active(Envelope),
    /// Released under its number alone, and before `until`.
    Retired { until: UnixTime, wrapped: Envelope },
    /// Never released again; the envelope is gone.
    Revoked,
}

impl KeyRecord {
    pub(super) fn version(&self, number: u32) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    pub(super) fn active(&self) -> Option<&Envelope> {
        self.versions.iter().rev().find_map(|version| match &version.state {
            State::Active(wrapped) => Some(wrapped),
            _ => None,
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(self.revoked.into());
        out.extend_from_slice(&self.last.to_be_bytes());
        put_lp32(&mut out, &self.policy.to_bytes());
        // At most MAX_VERSIONS, which the store checks.
        out.extend_from_slice(&(self.versions.len() as u16).to_be_bytes());
        for version in &self.versions {
            out.extend_from_slice(&version.number.to_be_bytes());
            let (state, until, wrapped) = match &version.state {
                State::Active(wrapped) => (0, 0, wrapped.to_bytes()),
                State::Retired { until, wrapped } => (1, until.as_seconds(), wrapped.to_bytes()),
                State::Revoked => (2, 0, Vec::new()),
            };
            out.push(state);
            out.extend_from_slice(&u64::to_be_bytes(until));
            put_lp32(&mut out, &wrapped);
        }
        out
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("key record", bytes);
        reader.expect(MAGIC)?;
        let revoked = reader.count(0, 1)? == 1;
        let last = reader.u32()?;
        let policy = Policy::from_bytes(reader.lp32("policy", 1024 * 1024)?)?;
        let count = reader.u16()?;
        let mut versions: Vec<Version> = Vec::new();
        for _ in 0..count {
            let place = reader.malformed();
            let number = reader.u32()?;
            let state = reader.u8()?;
            let until = reader.u64()?;
            let wrapped = reader.lp32("envelope", 16 * 1024)?;
            let state = match (state, until, wrapped) {
                (0, 0, wrapped) => State::Active(Envelope::from_bytes(wrapped)?),
                (1, until, wrapped) => {
                    State::Retired { until: UnixTime::from_seconds(until), wrapped: Envelope::from_bytes(wrapped)? }
                }
                (2, 0, []) => State::Revoked,
                _ => return Err(place),
            };
            if number > last || versions.last().is_some_and(|before| before.number >= number) {
                return Err(place);
            }
            versions.push(Version { number, state });
        }
        reader.finish()?;
        Ok(Self { revoked, last, policy, versions })
    }
}

/// What a version's envelope is bound to beside its name, so that versions cannot be exchanged in a store.
pub(super) fn version_digest(number: u32) -> [u8; 32] {
    digest(b"hanzo-kbs/v1/key-version", &[&number.to_be_bytes()])
}

const MAGIC: &[u8] = b"HKKR\x01";
pub(super) const MAX_VERSIONS: usize = 1024;
