//! Many tokens at once through a dense matrix product.

use alloc::vec;

use super::{Workspace, add, check_sums};
use crate::delta::PackedDelta;
use crate::error::{Extent, Result};
use crate::kernel::gemm::product;
use crate::layout::TILE_ROWS;
use crate::matrix::{MatMut, MatRef};

impl PackedDelta {
    /// [`matmul_acc`](Self::matmul_acc) for many tokens: unpacks a panel of rows at a time and multiplies it with all tokens by
    /// the `gemm` crate. Pays from some tens of tokens on.
    ///
    /// The result of a token is close to, but not bit for bit, that of `matmul_acc`: it depends on the machine and on the number
    /// of tokens (fused multiply-adds in an order of the library's choice). Where parties have to agree, use `matmul_acc`.
    ///
    /// # Errors
    /// As for [`matmul_acc`](Self::matmul_acc); `y` is untouched then.
    ///
    /// ```
    /// use hanzo_bitdelta::{MatMut, MatRef, PackOptions, PackedDelta, Workspace};
    /// let delta = PackedDelta::from_delta(MatRef::new(&[0.5_f32; 6], 2, 3)?, &PackOptions::new())?;
    /// let (x, mut y) = ([1.0; 12], [0.0; 8]);
    /// delta.matmul_dense_acc(MatRef::new(&x, 4, 3)?, MatMut::new(&mut y, 4, 2)?, &mut Workspace::new())?;
    /// assert!(y.iter().all(|y| (y - 1.5).abs() < 1e-6));
    /// # Ok::<(), hanzo_bitdelta::Error>(())
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "gemm")))]
    pub fn matmul_dense_acc(&self, x: MatRef<'_, f32>, mut y: MatMut<'_, f32>, ws: &mut Workspace) -> Result<()> {
        let (tokens, rows, cols) = (x.rows(), self.rows(), self.cols());
        Extent::check(&[tokens, cols], &[tokens, x.cols()])?;
        Extent::check(&[tokens, rows], &[y.rows(), y.cols()])?;
        for t in 0..tokens {
            self.check_input(x.row(t), t)?;
        }
        if self.is_empty() || tokens == 0 {
            return Ok(());
        }
        ws.inputs.clear();
        (0..tokens).for_each(|t| ws.inputs.extend_from_slice(x.row(t)));
        ws.results.clear();
        ws.results.resize(tokens * rows, 0.0);
        let mut panel = vec![0.0_f32; PANEL.min(rows) * cols];
        for first in (0..rows).step_by(PANEL) {
            let count = PANEL.min(rows - first);
            for (r, row) in panel.chunks_exact_mut(cols).take(count).enumerate() {
                self.row_into(first + r, row);
            }
            product(&panel[..count * cols], &ws.inputs, cols, &mut ws.results[first..], rows);
        }
        for (t, sums) in ws.results.chunks_exact(rows).enumerate() {
            check_sums(y.as_ref().row(t), &[sums], t)?;
        }
        for (t, sums) in ws.results.chunks_exact(rows).enumerate() {
            add(y.row_mut(t), sums);
        }
        Ok(())
    }
}

/// Rows that are unpacked at a time.
const PANEL: usize = 16 * TILE_ROWS;
