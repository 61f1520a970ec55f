//! What a network compares with until it calibrates its own.

use super::{Comparator, ElementWise, Exact, GumbelSampler, Kl, Margin, Observation, Score, Thresholds};
use crate::compare::ComparatorKind;
use crate::environment::{DType, Environment};
use crate::error::{Error, Result};
use crate::hash::Seed;
use crate::job_spec::JobSpec;

/// The comparator a network uses for an environment until it calibrates its own, with its thresholds.
///
/// | environment | comparator | flag | mismatch |
/// |---|---|---|---|
/// | integers, or both determinism flags | exact | 0 | 0 |
/// | f64 | element-wise, atol = rtol = 1e-9 | 1 | 1 |
/// | f32 | element-wise, atol = 1e-4; or KL | 1; 1e-9 | 1; 1e-9 |
/// | f16, tf32 | KL | 3e-6 | 1e-5 |
/// | bf16 | KL | 3e-4 | 1e-3 |
/// | bf16, tokens only | margin | 1.5e-3 | 4e-3 |
/// | f8 | none: calibrate | - | - |
///
/// These are starting values from one small model. Calibrate for each model, element type and kernel class.
/// Int8 weights under bf16 cannot be told from honest bf16: their KL ranges coincide.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DefaultComparator {
    /// Integers, or both determinism flags.
    Exact(Exact),
    /// f64 with atol = rtol = 1e-9; f32 with atol = 1e-4.
    ElementWise(ElementWise),
    /// KL of logits, with the thresholds of the element type.
    Kl(Kl, Thresholds),
    /// Margin of the tokens, with the thresholds of the element type.
    Margin(Margin, Thresholds),
}

impl DefaultComparator {
    /// The default for an environment.
    ///
    /// # Errors
    /// [`Error::Uncalibrated`] for f8, which needs a calibrated comparator.
    pub const fn new(environment: &Environment) -> Result<Self> {
        if environment.is_reproducible() {
            return Ok(Self::Exact(Exact));
        }
        match environment.dtype {
            DType::F64 => Ok(Self::ElementWise(ElementWise { atol: 1e-9, rtol: 1e-9 })),
            DType::F32 => Ok(Self::ElementWise(ElementWise { atol: 1e-4, rtol: 0.0 })),
            _ => Self::logits(environment),
        }
    }

    /// The default where logits, or the top of them, are the evidence.
    ///
    /// # Errors
    /// [`Error::Uncalibrated`] for integers, f64 and f8.
    pub const fn logits(environment: &Environment) -> Result<Self> {
        let thresholds = match environment.dtype {
            DType::F32 => Thresholds { flag: 1e-9, mismatch: 1e-9 },
            DType::F16 | DType::Tf32 => Thresholds { flag: 3e-6, mismatch: 1e-5 },
            DType::Bf16 => Thresholds { flag: 3e-4, mismatch: 1e-3 },
            other => return Err(Error::Uncalibrated(other)),
        };
        Ok(Self::Kl(Kl::new(), thresholds))
    }

    /// The default where only the tokens are known.
    ///
    /// # Errors
    /// [`Error::Uncalibrated`] for anything but bf16.
    pub fn tokens(environment: &Environment, spec: &JobSpec, seed: &Seed) -> Result<Self> {
        match environment.dtype {
            DType::Bf16 => {
                let thresholds = Thresholds { flag: 1.5e-3, mismatch: 4e-3 };
                Ok(Self::Margin(Margin::new(GumbelSampler::new(spec, seed)), thresholds))
            }
            other => Err(Error::Uncalibrated(other)),
        }
    }

    /// Its code in a verdict.
    pub const fn kind(&self) -> ComparatorKind {
        match self {
            Self::Exact(_) => ComparatorKind::Exact,
            Self::ElementWise(_) => ComparatorKind::ElementWise,
            Self::Kl(..) => ComparatorKind::Kl,
            Self::Margin(..) => ComparatorKind::Margin,
        }
    }

    /// Its thresholds.
    pub const fn thresholds(&self) -> Thresholds {
        match self {
            Self::Exact(_) => Thresholds { flag: 0.0, mismatch: 0.0 },
            Self::ElementWise(_) => Thresholds { flag: 1.0, mismatch: 1.0 },
            Self::Kl(_, thresholds) | Self::Margin(_, thresholds) => *thresholds,
        }
    }
}

impl Comparator for DefaultComparator {
    fn compare(&self, reference: &Observation<'_>, claimed: &Observation<'_>) -> Result<Score> {
        match self {
            Self::Exact(exact) => exact.compare(reference, claimed),
            Self::ElementWise(near) => near.compare(reference, claimed),
            Self::Kl(kl, _) => kl.compare(reference, claimed),
            Self::Margin(margin, _) => margin.compare(reference, claimed),
        }
    }
}
