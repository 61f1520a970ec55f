//! Differential privacy for embeddings and counts: calibrated noise, and an accountant that no release gets around.
//!
//! A mechanism is (epsilon, delta)-private if no outcome is more than exp(epsilon) times as likely, up to delta, with a
//! record than without it ([`Adjacency::AddRemove`]) or with another in its place ([`Adjacency::ReplaceOne`]). Every
//! release asks an [`Accountant`] first: over the budget nothing is drawn and nothing comes out.
//!
//! What this does not do: **texts are not protected**, only the numbers that pass through here. And privacy has its
//! price: at epsilon = 1, delta = 10^-5 and norm 1 the noise has a standard deviation of 3.73 in every coordinate, which
//! leaves nothing of one embedding of 768 dimensions. Sums and means over many records keep their use.
//!
//! Noise is drawn from discrete distributions on a lattice, in integers, so that the low bits of floating-point numbers
//! tell nothing (Mironov 2012). Randomness is the caller's and must be cryptographic; whoever can predict it can take
//! the noise away.
//!
//! ```
//! use hanzo_experience::privacy::{Accountant, Adjacency, GaussianMechanism};
//! use rand_chacha::ChaCha20Rng;
//! use rand_chacha::rand_core::SeedableRng;
//!
//! let mechanism = GaussianMechanism::new(8.0, 1e-5, 1.0, Adjacency::ReplaceOne, 4)?;
//! let mut budget = Accountant::basic(16.0, 2e-5)?;
//! let mut rng = ChaCha20Rng::seed_from_u64(7); // From the operating system, outside of examples.
//! let noisy = mechanism.release(&mut budget, &[0.5, 0.5, 0.5, 0.5], &mut rng)?;
//! assert_eq!(noisy.len(), 4);
//! assert!(mechanism.release(&mut budget, &noisy, &mut rng).is_ok());
//! assert!(mechanism.release(&mut budget, &noisy, &mut rng).is_err());
//! # Ok::<(), hanzo_experience::Error>(())
//! ```
//!
//! Sources: Balle and Wang (ICML 2018) for the calibration; Canonne, Kamath and Steinke (NeurIPS 2020) for the discrete
//! distributions; Bun and Steinke (TCC 2016) for concentrated privacy.

mod accountant;
mod mechanism;
mod sampler;

pub use accountant::{Accountant, Loss};
pub use mechanism::{Adjacency, DiscreteGaussian, DiscreteLaplace, GaussianMechanism, gaussian_sigma};
