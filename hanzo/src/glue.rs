//! Where two parts meet: newtypes and functions that turn what one part says into what another asks for.
//!
//! Each item is there when the features of both its parts are on.

#[cfg(all(feature = "experience", feature = "metering"))]
mod bonds;
#[cfg(all(feature = "bitdelta", feature = "hmm"))]
mod habit;
#[cfg(all(feature = "bitdelta", feature = "experience"))]
mod prior;
#[cfg(all(feature = "pqc", feature = "poai"))]
mod quote;
#[cfg(all(feature = "poai", feature = "metering"))]
mod replicated;
#[cfg(all(feature = "poai", feature = "metering"))]
mod settlement;

#[cfg(all(feature = "experience", feature = "metering"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "experience", feature = "metering"))))]
pub use bonds::{BondError, Bonds, account_of_name};
#[cfg(all(feature = "bitdelta", feature = "hmm"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "bitdelta", feature = "hmm"))))]
pub use habit::{HabitError, HabitShape, TenantHabits};
#[cfg(all(feature = "bitdelta", feature = "experience"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "bitdelta", feature = "experience"))))]
pub use prior::{PriorError, prior_of, push_prior};
#[cfg(all(feature = "pqc", feature = "poai"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "pqc", feature = "poai"))))]
pub use quote::EvidenceQuotes;
#[cfg(all(feature = "poai", feature = "metering"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "poai", feature = "metering"))))]
pub use replicated::ReplicatedEscrow;
#[cfg(all(feature = "poai", feature = "metering"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "poai", feature = "metering"))))]
pub use settlement::{JobEscrow, SettlementError, account_of, slash};
