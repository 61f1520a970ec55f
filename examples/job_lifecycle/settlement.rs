//! The settlement chain: what was decided becomes money only after the validators agree on the block that says so.

use hanzo::metering::{Effect, Role};
use hanzo::snow::BlockRef;
use hanzo::snow::simulate::{Event, Network};
use sha2::{Digest as _, Sha256};

use crate::Result;

/// Effects that wait for a block, and the network that agrees on blocks.
#[derive(Debug)]
pub(crate) struct Chain {
    network: Network,
    waiting: Vec<Effect>,
    /// Blocks that every validator accepted.
    pub(crate) blocks: u64,
    /// Blocks that lost against another of their height.
    pub(crate) rejected: u64,
    /// Rounds of polls in all.
    pub(crate) rounds: u64,
}

/// Rounds within which a block must become final.
const MAX_ROUNDS: u32 = 10_000;

impl Chain {
    /// A chain of validators with these stakes.
    pub(crate) fn new(stakes: Vec<u64>, seed: u64) -> Result<Self> {
        let network = Network::builder(stakes).seed(seed).build()?;
        Ok(Self { network, waiting: Vec::new(), blocks: 0, rejected: 0, rounds: 0 })
    }

    /// Puts effects into the queue, in order.
    pub(crate) fn submit(&mut self, effects: impl IntoIterator<Item = Effect>) {
        self.waiting.extend(effects);
    }

    /// The last block that every validator accepted.
    pub(crate) fn tip(&self) -> [u8; 32] {
        self.network.last_accepted().0
    }

    /// Which validator's turn it is to propose, of `validators`.
    pub(crate) fn proposer(&self, validators: usize) -> usize {
        (self.network.last_accepted().1 as usize + 1) % validators.max(1)
    }

    /// Makes blocks until nothing waits, and returns the effects in the order in which they became final.
    ///
    /// At every third height a second validator proposes a block of its own, which holds only the first half of the queue: the network
    /// must choose, and what the winner leaves out comes in the next block.
    pub(crate) fn finalize(&mut self) -> Result<Vec<Effect>> {
        let mut done = Vec::with_capacity(self.waiting.len());
        while !self.waiting.is_empty() {
            let (parent, height) = self.network.last_accepted();
            let height = height + 1;
            let whole = self.waiting.len();
            let half = whole.div_ceil(2);
            let candidates = if height.is_multiple_of(3) && half < whole { vec![whole, half] } else { vec![whole] };
            let block = |&length: &usize| -> Result<BlockRef<[u8; 32]>> {
                Ok(BlockRef { id: block_id(&parent, height, &self.waiting[..length])?, parent, height })
            };
            let blocks = candidates.iter().map(block).collect::<Result<Vec<_>>>()?;
            self.network.propose(&blocks)?;
            let finality = self.network.run_to_finality(MAX_ROUNDS)?;
            self.rounds += u64::from(finality.rounds);
            for event in self.network.drain_events() {
                if matches!(event, Event::AcceptedByAll { .. }) {
                    self.blocks += 1;
                }
            }
            self.rejected += blocks.len() as u64 - 1;
            let winner = self.network.last_accepted().0;
            let length =
                blocks.iter().zip(&candidates).find(|(block, _)| block.id == winner).map(|(_, &length)| length);
            done.extend(self.waiting.drain(..length.ok_or("the network accepted a block that was not proposed")?));
        }
        Ok(done)
    }

    /// SHA-256 over all events of the network.
    pub(crate) fn trace(&self) -> [u8; 32] {
        self.network.trace_hash()
    }
}

fn block_id(parent: &[u8; 32], height: u64, effects: &[Effect]) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    hash.update(b"job_lifecycle/block/v1");
    hash.update(parent);
    hash.update(height.to_be_bytes());
    for effect in effects {
        let body = encode(effect)?;
        hash.update((body.len() as u64).to_be_bytes());
        hash.update(body);
    }
    Ok(hash.finalize().into())
}

/// One byte for the kind, then the fields big-endian; lists with their length first. Other kinds do not go through blocks here.
fn encode(effect: &Effect) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(128);
    let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
    match effect {
        Effect::Mint { id, to, amount } => {
            put(b"M");
            [id, to, amount].into_iter().for_each(|n| put(&n.to_be_bytes()));
        }
        Effect::Settle { id, escrow, bps, recipients } => {
            put(b"P");
            [id, escrow].into_iter().for_each(|n| put(&n.to_be_bytes()));
            put(&bps.to_be_bytes());
            put(&(recipients.len() as u64).to_be_bytes());
            for (role, account) in recipients {
                put(&role_code(*role).to_be_bytes());
                put(&account.to_be_bytes());
            }
        }
        Effect::Refund { id, escrow } => {
            put(b"R");
            [id, escrow].into_iter().for_each(|n| put(&n.to_be_bytes()));
        }
        Effect::Dispute { id, escrow } => {
            put(b"D");
            [id, escrow].into_iter().for_each(|n| put(&n.to_be_bytes()));
        }
        Effect::Slash { account, epoch, bps, evidence, reporter, reward_bps } => {
            put(b"S");
            put(&account.to_be_bytes());
            put(&epoch.to_be_bytes());
            put(&bps.to_be_bytes());
            put(evidence);
            put(&[u8::from(reporter.is_some())]);
            put(&reporter.unwrap_or(0).to_be_bytes());
            put(&reward_bps.to_be_bytes());
        }
        other => return Err(format!("no block holds {other:?}").into()),
    }
    Ok(out)
}

fn role_code(role: Role) -> u32 {
    match role {
        Role::Worker => 1,
        Role::Validator => 2,
        Role::Verifier => 3,
        Role::LiquidityProvider => 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effects(from: u128, count: u128) -> Vec<Effect> {
        (from..from + count).map(|id| Effect::Mint { id, to: 9, amount: id }).collect()
    }

    #[test]
    fn everything_submitted_becomes_final_once_and_in_order() {
        for validators in [1, 2, 10, 25] {
            let mut chain = Chain::new(vec![1_000; validators], 3).unwrap();
            for round in 0..7 {
                let batch = effects(round * 10 + 1, 5);
                chain.submit(batch.clone());
                assert_eq!(chain.finalize().unwrap(), batch);
            }
            assert!(chain.blocks >= 7 && chain.rejected >= 2, "{chain:?}");
            assert_eq!(chain.finalize().unwrap(), []);
        }
    }

    #[test]
    fn a_block_is_bound_to_its_place_and_content() {
        let id = |parent, height, effects: &[Effect]| block_id(&[parent; 32], height, effects).unwrap();
        let first = id(0, 1, &effects(1, 2));
        assert_ne!(id(1, 1, &effects(1, 2)), first);
        assert_ne!(id(0, 2, &effects(1, 2)), first);
        assert_ne!(id(0, 1, &effects(1, 3)), first);
        assert_ne!(id(0, 1, &effects(2, 2)), first);
        assert!(block_id(&[0; 32], 1, &[Effect::Burn { id: 1, from: 9, amount: 1 }]).is_err());
    }
}
