//! The one call of the `gemm` crate, which works on pointers; the twin is the product on packed bits.

/// `out[t * stride + r] = sum_k rows[r * cols + k] * tokens[t * cols + k]` for all rows and tokens.
///
/// # Panics
/// When a slice does not have the sizes that this says.
pub(crate) fn product(rows: &[f32], tokens: &[f32], cols: usize, out: &mut [f32], stride: usize) {
    let (m, n) = (rows.len() / cols, tokens.len() / cols);
    assert!(m * cols == rows.len() && n * cols == tokens.len() && m > 0 && n > 0 && m <= stride);
    assert!((n - 1) * stride + m <= out.len());
    // A slice is at most `isize::MAX` bytes long, and no stride is above the length of its slice.
    let (k, step) = (cols.cast_signed(), stride.cast_signed());
    // SAFETY: the assertions hold every index that the strides reach inside of its slice, and `out` is borrowed alone.
    #[expect(unsafe_code, reason = "the crate's interface is pointers")]
    unsafe {
        gemm::gemm(
            m,
            n,
            cols,
            out.as_mut_ptr(),
            step,
            1,
            false,
            rows.as_ptr(),
            1,
            k,
            tokens.as_ptr(),
            k,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
