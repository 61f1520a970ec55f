#![cfg_attr(all(feature = "poai", feature = "metering"), doc = include_str!("../README.md"))]
// The README's example needs two parts; without them it would be a doctest that cannot build.
#![cfg_attr(
    not(all(feature = "poai", feature = "metering")),
    doc = "The Hanzo SDK under one name: one feature a crate, and the glue between them in [`glue`]."
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod glue;

#[cfg(feature = "bitdelta")]
#[cfg_attr(docsrs, doc(cfg(feature = "bitdelta")))]
pub use hanzo_bitdelta as bitdelta;
#[cfg(feature = "experience")]
#[cfg_attr(docsrs, doc(cfg(feature = "experience")))]
pub use hanzo_experience as experience;
#[cfg(feature = "hmm")]
#[cfg_attr(docsrs, doc(cfg(feature = "hmm")))]
pub use hanzo_hmm as hmm;
#[cfg(feature = "metering")]
#[cfg_attr(docsrs, doc(cfg(feature = "metering")))]
pub use hanzo_metering as metering;
#[cfg(feature = "poai")]
#[cfg_attr(docsrs, doc(cfg(feature = "poai")))]
pub use hanzo_poai as poai;
#[cfg(feature = "pqc")]
#[cfg_attr(docsrs, doc(cfg(feature = "pqc")))]
pub use hanzo_pqc as pqc;
#[cfg(feature = "snow")]
#[cfg_attr(docsrs, doc(cfg(feature = "snow")))]
pub use hanzo_snow as snow;
