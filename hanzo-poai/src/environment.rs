//! The numeric environment an output was made in.

use crate::encoding::{Reader, Writer};
use crate::error::{Error, Result};
use crate::hash::{Hash, tagged};

/// Element type of the computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum DType {
    /// Integers.
    Integer = 0,
    /// IEEE double.
    F64 = 1,
    /// IEEE single.
    F32 = 2,
    /// TensorFloat-32.
    Tf32 = 3,
    /// IEEE half.
    F16 = 4,
    /// bfloat16.
    Bf16 = 5,
    /// 8-bit floats.
    F8 = 6,
}

impl DType {
    pub(crate) fn from_code(code: u8) -> Result<Self> {
        Ok(match code {
            0 => Self::Integer,
            1 => Self::F64,
            2 => Self::F32,
            3 => Self::Tf32,
            4 => Self::F16,
            5 => Self::Bf16,
            6 => Self::F8,
            other => {
                return Err(Error::UnknownVariant { field: "dtype", value: other.into() });
            }
        })
    }
}

/// What a worker states about the machine and the numerics of a run (40 bytes on the wire).
///
/// ```
/// use hanzo_poai::{DType, Environment};
///
/// let environment = Environment {
///     dtype: DType::Bf16, batch_invariant: false, fixed_reduction_order: true,
///     kernel_class: 1, tensor_parallel: 2, device_class: 3, runtime: [4; 32],
/// };
/// assert_eq!(Environment::decode(&environment.encode())?, environment);
/// assert!(!environment.is_reproducible(), "bf16 sums depend on the batch");
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Environment {
    /// Element type.
    pub dtype: DType,
    /// Results do not depend on the batch a request ran in.
    pub batch_invariant: bool,
    /// Sums run in one fixed order.
    pub fixed_reduction_order: bool,
    /// Kernel class, a code of the network.
    pub kernel_class: u16,
    /// Devices the model is split over.
    pub tensor_parallel: u16,
    /// Device class, a code of the network.
    pub device_class: u16,
    /// Hash of the runtime.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_forms::hex32"))]
    pub runtime: Hash,
}

impl Environment {
    /// Length of the encoding.
    pub const LEN: usize = 40;

    /// The 40 canonical bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let flags = u8::from(self.batch_invariant) | u8::from(self.fixed_reduction_order) << 1;
        Writer::new()
            .u8(self.dtype as u8)
            .u8(flags)
            .u16(self.kernel_class)
            .u16(self.tensor_parallel)
            .u16(self.device_class)
            .put(&self.runtime)
            .finish()
    }

    /// Strict decoding of [`Environment::encode`].
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::UnknownVariant`], or [`Error::Reserved`] for an unknown flag.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::exact(bytes, Self::LEN)?;
        let dtype = DType::from_code(reader.u8()?)?;
        let flags = reader.u8()?;
        if flags > 3 {
            return Err(Error::Reserved);
        }
        Ok(Self {
            dtype,
            batch_invariant: flags & 1 != 0,
            fixed_reduction_order: flags & 2 != 0,
            kernel_class: reader.u16()?,
            tensor_parallel: reader.u16()?,
            device_class: reader.u16()?,
            runtime: reader.array()?,
        })
    }

    /// The hash an attestation carries.
    pub fn hash(&self) -> Hash {
        tagged("environment", &[&self.encode()])
    }

    /// Whether a re-execution must give the same bytes: integers, or both determinism flags.
    pub const fn is_reproducible(&self) -> bool {
        matches!(self.dtype, DType::Integer) || (self.batch_invariant && self.fixed_reduction_order)
    }
}
