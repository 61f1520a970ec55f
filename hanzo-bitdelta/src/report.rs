//! How good a packed delta is, and how large.

use crate::dtype::Dtype;

/// How close a packed delta is to the delta it stands for; made by [`PackedDelta::fidelity`](crate::PackedDelta::fidelity).
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Fidelity {
    pub(crate) delta_energy: f64,
    pub(crate) residual_energy: f64,
    pub(crate) packed_energy: f64,
    pub(crate) dot: f64,
}

impl Fidelity {
    /// Sum of squares of the true delta.
    #[must_use]
    pub fn delta_energy(&self) -> f64 {
        self.delta_energy
    }

    /// Sum of squares of what the packed delta misses.
    #[must_use]
    pub fn residual_energy(&self) -> f64 {
        self.residual_energy
    }

    /// Missed share of the energy, the square of the relative error; 0 for an exact delta, also of all zeros.
    #[must_use]
    pub fn relative_energy(&self) -> f64 {
        if self.residual_energy == 0.0 { 0.0 } else { self.residual_energy / self.delta_energy }
    }

    /// Frobenius norm of the residual over that of the delta; infinite when only the delta is all zeros.
    #[cfg(feature = "std")]
    #[cfg_attr(docsrs, doc(cfg(feature = "std")))]
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        self.relative_energy().sqrt()
    }

    /// Cosine of the angle between the delta and the packed one; 1 when both are all zeros, 0 when one is.
    #[cfg(feature = "std")]
    #[cfg_attr(docsrs, doc(cfg(feature = "std")))]
    #[must_use]
    pub fn cosine(&self) -> f64 {
        let norms = self.delta_energy.sqrt() * self.packed_energy.sqrt();
        if norms > 0.0 {
            self.dot / norms
        } else if self.residual_energy == 0.0 {
            1.0
        } else {
            0.0
        }
    }
}

/// Bytes of a packed delta beside those of the dense tensor; made by
/// [`PackedDelta::storage`](crate::PackedDelta::storage).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StorageReport {
    pub(crate) weights: u64,
    pub(crate) sign_bytes: u64,
    pub(crate) scale_bytes: u64,
    pub(crate) source: Dtype,
    pub(crate) transport_overhead_bp: u32,
}

impl StorageReport {
    /// Bytes of the signs, with the padding of partial tiles.
    #[must_use]
    pub fn sign_bytes(&self) -> u64 {
        self.sign_bytes
    }

    /// Bytes of the scales.
    #[must_use]
    pub fn scale_bytes(&self) -> u64 {
        self.scale_bytes
    }

    /// Bytes of the dense tensor in its source type.
    #[must_use]
    pub fn source_bytes(&self) -> u64 {
        self.weights.saturating_mul(self.source.size() as u64)
    }

    /// Bytes of signs and scales, with the transport overhead, rounded up.
    #[must_use]
    pub fn packed_bytes(&self) -> u64 {
        let stored = u128::from(self.sign_bytes) + u128::from(self.scale_bytes);
        with_overhead(stored, self.transport_overhead_bp)
    }

    /// Bits stored a weight; 0 for an empty tensor.
    #[must_use]
    pub fn bits_per_weight(&self) -> f64 {
        if self.weights == 0 { 0.0 } else { 8.0 * self.packed_bytes() as f64 / self.weights as f64 }
    }

    /// How many times smaller than the source the packed form is; 0 for an empty tensor.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        match self.packed_bytes() {
            0 => 0.0,
            packed => self.source_bytes() as f64 / packed as f64,
        }
    }

    /// Counts an overhead of so many basis points (hundredths of a percent) for transport, such as 1200 for +12 %.
    #[must_use]
    pub fn with_transport_overhead_bp(mut self, basis_points: u32) -> Self {
        self.transport_overhead_bp = basis_points;
        self
    }
}

/// Bytes of many tensors beside those of the dense ones.
///
/// ```
/// use hanzo_bitdelta::StorageAccount;
/// // 2.4 GB of full-precision priors that take 82 MB, then with 12 % for transport.
/// let account = StorageAccount::new().with_bytes(2_400_000_000, 82_000_000);
/// assert_eq!((100.0 * account.ratio()).round(), 2927.0);
/// assert_eq!((10.0 * account.with_transport_overhead_bp(1200).ratio()).round(), 261.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StorageAccount {
    source_bytes: u64,
    stored_bytes: u64,
    transport_overhead_bp: u32,
}

impl StorageAccount {
    /// Nothing stored.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a packed tensor; an overhead for transport in its report is left out.
    #[must_use]
    pub fn with(self, report: &StorageReport) -> Self {
        self.with_bytes(report.source_bytes(), report.sign_bytes.saturating_add(report.scale_bytes))
    }

    /// Adds a tensor that is stored as it is.
    #[must_use]
    pub fn with_raw(self, bytes: u64) -> Self {
        self.with_bytes(bytes, bytes)
    }

    /// Adds a tensor of which nothing is stored.
    #[must_use]
    pub fn with_zero(self, source_bytes: u64) -> Self {
        self.with_bytes(source_bytes, 0)
    }

    /// Adds so many bytes at the source and so many stored.
    #[must_use]
    pub fn with_bytes(mut self, source_bytes: u64, stored_bytes: u64) -> Self {
        self.source_bytes = self.source_bytes.saturating_add(source_bytes);
        self.stored_bytes = self.stored_bytes.saturating_add(stored_bytes);
        self
    }

    /// Counts an overhead of so many basis points (hundredths of a percent) for transport, such as 1200 for +12 %.
    #[must_use]
    pub fn with_transport_overhead_bp(mut self, basis_points: u32) -> Self {
        self.transport_overhead_bp = basis_points;
        self
    }

    /// Bytes of the dense tensors in their source types.
    #[must_use]
    pub fn source_bytes(&self) -> u64 {
        self.source_bytes
    }

    /// Bytes stored, with the transport overhead, rounded up.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        with_overhead(u128::from(self.stored_bytes), self.transport_overhead_bp)
    }

    /// How many times smaller than the source the stored form is; 0 when nothing is stored.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        match self.stored_bytes() {
            0 => 0.0,
            stored => self.source_bytes as f64 / stored as f64,
        }
    }
}

fn with_overhead(bytes: u128, basis_points: u32) -> u64 {
    let total = (bytes * (10_000 + u128::from(basis_points))).div_ceil(10_000);
    u64::try_from(total).unwrap_or(u64::MAX)
}
