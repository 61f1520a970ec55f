//! Memory that operations reuse, and the choice of the kernel.

use super::dispatch::Level;
use super::weights::Weights;
use super::{dense, log, scaled};

/// How the forward and backward recursions are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Kernel {
    /// Scaled probabilities, with the log kernel where they would lose a state.
    #[default]
    Auto,
    /// The same without vector instructions that the build does not ask for: the twin that tests compare with, and
    /// results that do not depend on the processor.
    Portable,
    /// Log-probabilities throughout: slower, and the reference that tests compare with.
    Log,
}

/// Memory for the `_with` forms of the operations: it grows to the longest sequence seen and is then reused.
///
/// ```
/// use hanzo_hmm::{Categorical, Hmm, Initial, Kernel, Transitions, Workspace};
///
/// let hmm = Hmm::new(
///     Initial::Free(vec![1.0, 0.0]),
///     Transitions::new(vec![vec![0.5, 0.5], vec![0.0, 1.0]])?,
///     Categorical::new(vec![vec![0.75, 0.25], vec![0.125, 0.875]])?,
/// )?;
/// let (mut auto, mut log) = (Workspace::new(), Workspace::with_kernel(Kernel::Log));
/// for sequence in [vec![0, 0, 1], vec![1, 1, 1, 0]] {
///     let (a, b) = (hmm.log_likelihood_with(&mut auto, &sequence)?, hmm.log_likelihood_with(&mut log, &sequence)?);
///     assert!((a - b).abs() < 1e-14);
/// }
/// # Ok::<(), hanzo_hmm::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    pub(crate) kernel: Kernel,
    /// Emissions of a block or of the whole sequence.
    pub(crate) weights: Weights,
    /// The same for the chain that comes from the end.
    pub(crate) late_weights: Weights,
    pub(crate) meeting: dense::Meeting,
    pub(crate) halves: dense::Halves,
    /// Recursion states between two blocks.
    pub(crate) carry: scaled::Carry,
    pub(crate) log_carry: log::Carry,
    pub(crate) back: scaled::Back,
    /// Forward values, then posteriors (`T x S`); Viterbi scores.
    pub(crate) lattice: Vec<f64>,
    /// Log-domain backward values (`T x S`).
    pub(crate) backward: Vec<f64>,
    /// Binary exponents of the forward values.
    pub(crate) exponents: Vec<i64>,
    /// A decoded path.
    pub(crate) path: Vec<usize>,
}

impl Workspace {
    /// An empty workspace that picks the kernel by itself.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty workspace that uses `kernel`.
    #[must_use]
    pub fn with_kernel(kernel: Kernel) -> Self {
        Self { kernel, ..Self::default() }
    }

    /// The instructions it may use.
    pub(crate) fn level(&self) -> Level {
        if self.kernel == Kernel::Portable { Level::Portable } else { Level::best() }
    }

    /// Posteriors of the last sequence.
    pub(crate) fn gamma(&self) -> &[f64] {
        &self.lattice
    }

    /// The kernel it uses.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }
}
