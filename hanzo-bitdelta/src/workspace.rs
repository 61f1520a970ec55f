//! Buffers that products reuse.

use alloc::vec;
use alloc::vec::Vec;

use crate::error::Result;
use crate::kernel::{Backend, Engine, Scratch};

/// Buffers for products: after the first call of a size, no product of one matrix with the same workspace allocates
/// (`matmul_dense_acc` of the feature `gemm` excepted, which unpacks a panel at each call).
///
/// A workspace carries no state from one call to the next; use one a thread.
///
/// ```
/// use hanzo_bitdelta::{Backend, Workspace};
/// assert_eq!(Workspace::new().backend(), Backend::best());
/// ```
#[derive(Debug, Clone)]
pub struct Workspace {
    pub(crate) engine: Engine,
    /// Inputs of the tokens in flight, scaled by column and padded.
    pub(crate) inputs: Vec<f32>,
    /// What will be added to the outputs, once all of it is known to be finite.
    pub(crate) results: Vec<f32>,
    /// The same for the base of a fused product.
    pub(crate) dense: Vec<f32>,
    /// One for each part that the rows are split into.
    pub(crate) lanes: Vec<Lane>,
}

/// Buffers of one thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lane {
    pub(crate) scratch: Scratch,
    /// Unscaled sums of one block.
    pub(crate) totals: Vec<f32>,
    /// Results of the thread's rows, where there are several threads.
    #[cfg_attr(not(feature = "rayon"), expect(dead_code, reason = "without rayon there is one thread"))]
    pub(crate) results: Vec<f32>,
}

impl Workspace {
    /// Empty buffers for the fastest backend.
    #[must_use]
    pub fn new() -> Self {
        Self {
            engine: Engine::best(),
            inputs: Vec::new(),
            results: Vec::new(),
            dense: Vec::new(),
            lanes: vec![Lane::default()],
        }
    }

    /// Empty buffers for one backend.
    ///
    /// # Errors
    /// [`Unavailable`](crate::Error::Unavailable) when it does not run here.
    pub fn with_backend(backend: Backend) -> Result<Self> {
        Ok(Self { engine: Engine::new(backend)?, ..Self::new() })
    }

    /// Splits the rows of large products over so many threads of the current rayon pool (0 counts as 1, which is the
    /// default). Results do not depend on it.
    ///
    /// ```
    /// use hanzo_bitdelta::{MatRef, Workspace, dense_matvec_acc};
    /// let (w, x) = (vec![0.5_f32; 1024 * 1024], vec![1.0; 1024]);
    /// let mut y = vec![0.0; 1024];
    /// dense_matvec_acc(MatRef::new(&w, 1024, 1024)?, &x, &mut y, &mut Workspace::new().threads(2))?;
    /// assert_eq!(y, [512.0; 1024]);
    /// # Ok::<(), hanzo_bitdelta::Error>(())
    /// ```
    #[cfg(feature = "rayon")]
    #[cfg_attr(docsrs, doc(cfg(feature = "rayon")))]
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.lanes.resize_with(threads.max(1), Lane::default);
        self
    }

    /// The backend that products with this workspace use.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.engine.backend()
    }

    /// Into how many parts to split so many items of work, which together read so many cache lines or so.
    pub(crate) fn parts(&self, items: usize, work: usize) -> usize {
        self.lanes.len().min(items).min(work / MIN_WORK).max(1)
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

/// Work that is worth waking a thread for.
const MIN_WORK: usize = 4096;
