//! The market as two opcodes of a virtual machine.

use std::collections::BTreeMap;

use super::market_maker::{MarketMaker, QuoteRequest};
use super::pool::Receipt;
use super::quote::{Millis, Quote};
use crate::{Error, Result};

/// `HMM_QUOTE(modelHash, len) -> (price, worker)` and `HMM_SWAP(quoteId, maxPrice)` over a [`MarketMaker`], with the quotes that are open between
/// them.
///
/// Thin: no gas, no encoding, no accounts. An open quote is forgotten when it is executed, and after it has expired when the next one is asked for;
/// 2^20 at most are open at once.
///
/// ```
/// use hanzo_hmm::market::Opcodes;
/// use hanzo_hmm::{Config, MarketMaker};
///
/// let market = MarketMaker::builder(Config::default()).build()?;
/// let key = market.models()[0].key;
/// let mut vm = Opcodes::new(&market);
/// let quote = vm.hmm_quote(&key, 200, 7, 1_000)?; // 200 tokens, by worker 7
/// assert_eq!(quote.worker, 7);
/// let receipt = vm.hmm_swap(quote.id, quote.price, 1_010)?;
/// assert_eq!((receipt.got, receipt.paid), (200, quote.price));
/// assert!(vm.hmm_swap(quote.id, quote.price, 1_011).is_err()); // once
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug)]
pub struct Opcodes<'a> {
    market: &'a MarketMaker,
    open: BTreeMap<u64, Quote>,
    /// (expiry, number) of the open quotes.
    expiries: BTreeMap<(Millis, u64), ()>,
    next: u64,
}

/// What `HMM_QUOTE` leaves on the stack, and the number that `HMM_SWAP` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpcodeQuote {
    /// Number of the quote, over all models.
    pub id: u64,
    /// Price of all units, in base units of money.
    pub price: u128,
    /// The party that would do the work.
    pub worker: u64,
}

impl<'a> Opcodes<'a> {
    /// Opcodes over a market.
    pub fn new(market: &'a MarketMaker) -> Self {
        Self { market, open: BTreeMap::new(), expiries: BTreeMap::new(), next: 0 }
    }

    /// Quotes `input_len` units (output tokens) of the model with this key, to be done by `worker` (of a [`NodeSelector`](super::NodeSelector), say).
    ///
    /// # Errors
    /// `OutOfRange` for an unknown model or too many open quotes, and those of [`MarketMaker::quote`].
    pub fn hmm_quote(
        &mut self,
        model_hash: &[u8; 32],
        input_len: u64,
        worker: u64,
        now: Millis,
    ) -> Result<OpcodeQuote> {
        self.forget(now);
        if self.open.len() >= MAX_OPEN {
            return Err(Error::OutOfRange { what: "open quotes" });
        }
        let model = self.market.models().iter().find(|m| m.key == *model_hash);
        let model = model.ok_or(Error::OutOfRange { what: "model" })?.id.clone();
        let quote = self.market.quote(&QuoteRequest { model, units: u128::from(input_len), worker }, now)?;
        let id = self.next;
        self.next += 1;
        let price = quote.price;
        self.expiries.insert((quote.expires_at, id), ());
        self.open.insert(id, quote);
        Ok(OpcodeQuote { id, price, worker })
    }

    /// Executes a quote for at most `max_price`. A swap that fails leaves the quote open.
    ///
    /// # Errors
    /// `OutOfRange` for a quote that is not open, and those of [`MarketMaker::swap`].
    pub fn hmm_swap(&mut self, quote_id: u64, max_price: u128, now: Millis) -> Result<Receipt> {
        let quote = self.open.get(&quote_id).ok_or(Error::OutOfRange { what: "quote id" })?;
        let receipt = self.market.swap(quote, now, max_price)?;
        self.expiries.remove(&(quote.expires_at, quote_id));
        self.open.remove(&quote_id);
        Ok(receipt)
    }

    fn forget(&mut self, now: Millis) {
        while let Some(((expiry, id), ())) = self.expiries.first_key_value() {
            if *expiry > now {
                break;
            }
            self.open.remove(id);
            self.expiries.pop_first();
        }
    }
}

const MAX_OPEN: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn quotes_are_forgotten_when_they_expire_and_kept_when_a_swap_fails() {
        let market = MarketMaker::builder(Config::default()).build().unwrap();
        let key = market.models()[2].key;
        let mut vm = Opcodes::new(&market);
        let first = vm.hmm_quote(&key, 100, 1, 0).unwrap();
        let second = vm.hmm_quote(&market.models()[0].key, 100, 2, 1_000).unwrap();
        assert_eq!((first.id, second.id), (0, 1));
        assert!(matches!(vm.hmm_swap(0, first.price - 1, 10), Err(Error::SlippageExceeded { .. })));
        assert_eq!(vm.hmm_swap(0, first.price, 2_000), Err(Error::QuoteExpired { expires_at: 2_000 }));
        vm.hmm_quote(&key, 1, 3, 2_000).unwrap();
        assert_eq!(vm.hmm_swap(0, first.price, 2_000), Err(Error::OutOfRange { what: "quote id" }));
        vm.hmm_swap(1, second.price, 2_000).unwrap();
        assert_eq!((vm.open.len(), vm.expiries.len()), (1, 1));
        assert_eq!(vm.hmm_quote(&[9; 32], 1, 3, 2_000), Err(Error::OutOfRange { what: "model" }));
        assert_eq!(vm.hmm_quote(&key, 0, 3, 2_000), Err(Error::ZeroAmount));
    }
}
