//! Products over a base model that is known to be the right one.

use alloc::string::{String, ToString};

use super::{Adapter, Entry};
use crate::delta::PackedDelta;
use crate::element::Element;
use crate::error::{Error, Extent, Result};
use crate::matrix::{MatMut, MatRef};
use crate::product::check_vector;
use crate::product::dense::dense_matvec_acc;
use crate::workspace::Workspace;

/// An adapter together with the caller's word that the base model at hand is the right one: products by name. Made by
/// [`Adapter::bind`].
///
/// ```
/// use hanzo_bitdelta::{Adapter, BaseDigest, Error, MatRef, PackOptions, PackedDelta, Workspace};
/// let base = BaseDigest::from_bytes([7; 32]);
/// let delta = PackedDelta::from_delta(MatRef::new(&[0.5_f32, 0.5], 1, 2)?, &PackOptions::new())?;
/// let adapter = Adapter::builder().base_digest(base).entry("w", delta).build()?;
/// assert!(matches!(adapter.bind(&BaseDigest::from_bytes([8; 32])), Err(Error::BaseMismatch { .. })));
///
/// let mut y = [0.0];
/// adapter.bind(&base)?.matvec_acc("w", &[1.0, 3.0], &mut y, &mut Workspace::new())?;
/// assert_eq!(y, [2.0]);
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BoundAdapter {
    adapter: Adapter,
}

impl BoundAdapter {
    pub(super) fn new(adapter: Adapter) -> Self {
        Self { adapter }
    }

    /// The adapter.
    #[must_use]
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// The entry of this name.
    ///
    /// # Errors
    /// As for [`Adapter::get`].
    pub fn get(&self, name: &str) -> Result<&Entry> {
        self.adapter.get(name)
    }

    /// `y += D x` for the delta of this name; see [`PackedDelta::matvec_acc`]. Nothing is added for a zero entry.
    ///
    /// # Errors
    /// Those of [`Adapter::get`] and [`PackedDelta::matvec_acc`]; [`Error::NotPacked`] for a raw tensor.
    pub fn matvec_acc(&self, name: &str, x: &[f32], y: &mut [f32], ws: &mut Workspace) -> Result<()> {
        match self.delta(name)? {
            Delta::Packed(delta) => delta.matvec_acc(x, y, ws),
            Delta::Zero([rows, cols]) => {
                Extent::check(&[cols], &[x.len()])?;
                Extent::check(&[rows], &[y.len()])?;
                check_vector(x)
            }
        }
    }

    /// `y += W x + D x` with the base tensor `W` of this name; see [`PackedDelta::fused_matvec_acc`].
    ///
    /// # Errors
    /// Those of [`Adapter::get`] and [`PackedDelta::fused_matvec_acc`]; [`Error::NotPacked`] for a raw tensor.
    pub fn fused_matvec_acc<T: Element>(
        &self,
        name: &str,
        base: MatRef<'_, T>,
        x: &[f32],
        y: &mut [f32],
        ws: &mut Workspace,
    ) -> Result<()> {
        match self.delta(name)? {
            Delta::Packed(delta) => delta.fused_matvec_acc(base, x, y, ws),
            Delta::Zero(size) => {
                Extent::check(&size, &[base.rows(), base.cols()])?;
                dense_matvec_acc(base, x, y, ws)
            }
        }
    }

    /// `out = base + D` for the tensor of this name; see [`PackedDelta::materialize`].
    ///
    /// # Errors
    /// Those of [`Adapter::get`] and [`PackedDelta::materialize`]; [`Error::NotPacked`] for a raw tensor.
    pub fn materialize<T: Element>(&self, name: &str, base: MatRef<'_, T>, mut out: MatMut<'_, T>) -> Result<()> {
        match self.delta(name)? {
            Delta::Packed(delta) => delta.materialize(base, out),
            Delta::Zero(size) => {
                Extent::check(&size, &[base.rows(), base.cols()])?;
                Extent::check(&size, &[out.rows(), out.cols()])?;
                let rows = if size[1] == 0 { 0 } else { size[0] };
                for row in 0..rows {
                    let values = base.row(row);
                    if let Some(col) = values.iter().position(|w| !w.to_f32().is_finite()) {
                        return Err(Error::NonFinite { tensor: "base".to_string(), row, col });
                    }
                    out.row_mut(row).copy_from_slice(values);
                }
                Ok(())
            }
        }
    }

    fn delta(&self, name: &str) -> Result<Delta<'_>> {
        match self.adapter.get(name)? {
            Entry::Packed(delta) => Ok(Delta::Packed(delta)),
            Entry::Zero(zero) => Ok(Delta::Zero(zero.size())),
            Entry::Raw(_) => Err(Error::NotPacked(String::from(name))),
        }
    }
}

/// What products by name work with.
enum Delta<'a> {
    Packed(&'a PackedDelta),
    Zero([usize; 2]),
}
