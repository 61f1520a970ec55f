//! Memory that operations reuse, and the choice of the kernel.

use std::num::NonZeroUsize;

use crate::inference::{FilterState, KBest};

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

/// How one long sequence is spread over threads. Results agree up to rounding, and never depend on how many threads there
/// are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// From both ends at once, for dense models: two threads, with the feature `rayon`.
    #[default]
    Ends,
    /// In chunks of this many steps, each on a thread of its own with the feature `rayon`: the associative scan of
    /// Hassan, Sarkka and Garcia-Fernandez (IEEE TSP 69:4875, 2021). It multiplies the work by `S + 1` and divides the
    /// time by the number of cores, so that it pays with more cores than states; a few chunks a core are enough.
    ///
    /// Best paths of every model; likelihoods, posteriors and training of dense models, whose transitions are all at
    /// least 2^-600. Others are computed as with [`Ends`](Self::Ends).
    Scan {
        /// Steps of a chunk.
        chunk: NonZeroUsize,
    },
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
    pub(crate) strategy: Strategy,
    /// Emissions of a block or of the whole sequence.
    pub(crate) weights: Weights,
    /// The same for the chain that comes from the end.
    pub(crate) late_weights: Weights,
    pub(crate) meeting: dense::Meeting,
    /// The chain from the end, where it has a thread of its own.
    #[cfg(feature = "rayon")]
    pub(crate) late_meeting: dense::Meeting,
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
    /// Best predecessors of every state at every step.
    pub(crate) before: Vec<u8>,
    /// Memory of the search for several paths.
    pub(crate) k_best: KBest,
    /// A filter for this number of states.
    pub(crate) filter: Option<FilterState>,
    /// A decoded path.
    pub(crate) path: Vec<usize>,
}

/// Makes a buffer `n` long. What it held may be lost: fresh memory that comes zeroed is not written twice.
pub(crate) fn resize<T: Copy + Default>(values: &mut Vec<T>, n: usize) {
    if values.capacity() < n {
        *values = vec![T::default(); n];
    } else {
        values.resize(n, T::default());
    }
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

    /// The same workspace that spreads sequences in this way.
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    ///
    /// use hanzo_hmm::{Categorical, Hmm, Initial, Strategy, Transitions, Workspace};
    ///
    /// let hmm = Hmm::new(
    ///     Initial::Free(vec![0.5, 0.5]),
    ///     Transitions::new(vec![vec![0.9, 0.1], vec![0.2, 0.8]])?,
    ///     Categorical::new(vec![vec![0.75, 0.25], vec![0.125, 0.875]])?,
    /// )?;
    /// let sequence: Vec<usize> = (0..10_000).map(|t| t / 30 % 2).collect();
    /// let chunk = NonZeroUsize::new(1_000).expect("not zero");
    /// let mut workspace = Workspace::new().with_strategy(Strategy::Scan { chunk });
    /// assert_eq!(workspace.strategy(), Strategy::Scan { chunk });
    /// let scanned = hmm.log_likelihood_with(&mut workspace, &sequence)?;
    /// let plain = hmm.log_likelihood(&sequence)?;
    /// assert!((scanned - plain).abs() < 1e-12 * plain.abs());
    /// # Ok::<(), hanzo_hmm::Error>(())
    /// ```
    #[must_use]
    pub fn with_strategy(self, strategy: Strategy) -> Self {
        Self { strategy, ..self }
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

    /// How it spreads sequences.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }
}
