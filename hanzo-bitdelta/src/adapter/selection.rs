//! Which tensors of a model are packed.

use alloc::boxed::Box;
use core::fmt;

use crate::options::{Granularity, PackOptions, SignZero};

/// What to do with a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Pack the difference.
    Pack(PackOptions),
    /// Store the fine-tuned tensor as it is.
    Raw,
    /// Leave the tensor out of the adapter.
    Skip,
}

/// A rule that treats a tensor by its name and shape.
///
/// ```
/// use hanzo_bitdelta::{PackOptions, Selection, Treatment};
/// let rule = Selection::new(|name, _| if name == "head" { Treatment::Skip } else { Treatment::Raw });
/// assert_eq!(rule.treatment("head", &[8, 8]), Treatment::Skip);
/// assert_eq!(Selection::default().treatment("w", &[32, 64]), Treatment::Pack(PackOptions::default()));
/// assert_eq!(Selection::default().treatment("norm", &[64]), Treatment::Raw);
/// ```
pub struct Selection {
    rule: Box<Rule>,
}

type Rule = dyn Fn(&str, &[usize]) -> Treatment + Send + Sync;

impl Selection {
    /// A rule of the caller's own.
    pub fn new(rule: impl Fn(&str, &[usize]) -> Treatment + Send + Sync + 'static) -> Self {
        Self { rule: Box::new(rule) }
    }

    /// Packs, with these options, tensors of two or more dimensions that have at least 32 rows and 32 columns; the rest is
    /// stored raw. Dimensions before the last are rows.
    #[must_use]
    pub fn matrices(options: PackOptions) -> Self {
        Self::new(move |_, shape| {
            let [rows, cols] = fold(shape);
            if shape.len() >= 2 && rows >= 32 && cols >= 32 { Treatment::Pack(options) } else { Treatment::Raw }
        })
    }

    /// The rule of the published BitDelta code: the projections of attention and MLP blocks get one scale each and pack zero
    /// to +1; the rest is stored raw.
    #[must_use]
    pub fn paper() -> Self {
        let options = PackOptions::new().granularity(Granularity::Tensor).sign_zero(SignZero::Positive);
        Self::new(move |name, shape| {
            let block = name.contains("mlp") || name.contains("self_attn");
            if shape.len() == 2 && block && name.contains("proj") { Treatment::Pack(options) } else { Treatment::Raw }
        })
    }

    /// What the rule says for a tensor.
    #[must_use]
    pub fn treatment(&self, name: &str, shape: &[usize]) -> Treatment {
        (self.rule)(name, shape)
    }
}

impl Default for Selection {
    /// [`matrices`](Self::matrices) with the default options.
    fn default() -> Self {
        Self::matrices(PackOptions::default())
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selection").finish_non_exhaustive()
    }
}

/// Rows and columns of a tensor as a matrix: all dimensions but the last are rows.
pub(super) fn fold(shape: &[usize]) -> [usize; 2] {
    match shape.split_last() {
        Some((&cols, rows)) => [rows.iter().fold(1, |product: usize, &dim| product.saturating_mul(dim)), cols],
        None => [1, 1],
    }
}
