//! Buffers that products reuse.

use alloc::vec::Vec;

use crate::error::{Error, Result};
use crate::kernel::{Backend, Scratch};

/// Buffers for products: after the first call of a size, no product with the same workspace allocates.
///
/// A workspace carries no state from one call to the next; use one a thread.
///
/// ```
/// use hanzo_bitdelta::{Backend, Workspace};
/// assert_eq!(Workspace::new().backend(), Backend::best());
/// ```
#[derive(Debug, Clone)]
pub struct Workspace {
    pub(crate) backend: Backend,
    pub(crate) scratch: Scratch,
    /// Inputs of the tokens in flight, scaled by column and padded.
    pub(crate) inputs: Vec<f32>,
    /// Unscaled sums of one block.
    pub(crate) totals: Vec<f32>,
    /// What will be added to the outputs, once all of it is known to be finite.
    pub(crate) results: Vec<f32>,
    /// The same for the base of a fused product.
    pub(crate) dense: Vec<f32>,
}

impl Workspace {
    /// Empty buffers for the fastest backend.
    #[must_use]
    pub fn new() -> Self {
        Self {
            backend: Backend::best(),
            scratch: Scratch::default(),
            inputs: Vec::new(),
            totals: Vec::new(),
            results: Vec::new(),
            dense: Vec::new(),
        }
    }

    /// Empty buffers for one backend.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not run here.
    pub fn with_backend(backend: Backend) -> Result<Self> {
        if !Backend::available().contains(&backend) {
            return Err(Error::Unavailable(backend));
        }
        Ok(Self { backend, ..Self::new() })
    }

    /// The backend that products with this workspace use.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}
