//! The canonical bytes of a treasury, for snapshots.

use super::Treasury;
use crate::wire::{Bytes, Wire, WireError, put_hash_map};
use alloc::vec::Vec;

impl Treasury {
    /// The ledger, then effects, bonds, unbondings by rising id, carries by schedule, stakes.
    pub(crate) fn put_state(&self, out: &mut Vec<u8>) {
        self.ledger.put_state(out);
        put_hash_map(&self.effects, out);
        put_hash_map(&self.bonds, out);
        put_hash_map(&self.unbondings, out);
        self.fees.iter().for_each(|fees| fees.put_state(out));
        self.stakes.put_state(out);
    }

    /// Fills a new treasury of the same configuration, and audits it.
    pub(crate) fn take_state(mut self, bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        let mut empty = self.ledger.clone();
        empty.clear();
        self.ledger = empty.take_state(bytes)?;
        take_hash_map(&mut self.effects, bytes)?;
        take_hash_map(&mut self.bonds, bytes)?;
        take_hash_map(&mut self.unbondings, bytes)?;
        for fees in &mut self.fees {
            fees.take_state(bytes)?;
        }
        self.stakes.take_state(bytes)?;
        self.audit().map_err(|_| WireError::Value)?;
        Ok(self)
    }
}

fn take_hash_map<V: Wire, S: core::hash::BuildHasher>(
    map: &mut hashbrown::HashMap<u128, V, S>,
    bytes: &mut Bytes<'_>,
) -> Result<(), WireError> {
    map.clear();
    for _ in 0..u32::take(bytes)? {
        let key = u128::take(bytes)?;
        if map.insert(key, V::take(bytes)?).is_some() {
            return Err(WireError::Value);
        }
    }
    Ok(())
}
