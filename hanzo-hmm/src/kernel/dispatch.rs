//! The same safe code compiled for several instruction sets, one of which is picked at run time.
//!
//! A [`Task`] is plain Rust that the compiler vectorises. [`Level::run`] calls it through a function that has the
//! instruction set switched on; the portable twin is the same code without. Levels differ only in that products and
//! sums are fused or rounded apart, and so in the last bits of a result.
#![expect(unsafe_code, reason = "calling code for an instruction set that the processor was found to have")]

use std::sync::OnceLock;

/// What a kernel may use.
pub(crate) trait Arch: Copy {
    /// Whether a product and a sum are one instruction.
    const FUSED: bool;
    /// Columns of a matrix product whose sums are kept in registers.
    const BLOCK: usize;
    /// Independent sums of a product with sixteen columns: a sum has to wait for the one before.
    const WAYS: usize;
}

/// What every processor of the build's target has.
#[derive(Clone, Copy)]
pub(crate) struct Baseline;

impl Arch for Baseline {
    const FUSED: bool = cfg!(target_feature = "fma");
    const BLOCK: usize = 16;
    const WAYS: usize = 1;
}

/// AVX2 and FMA: sixteen registers of four numbers.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

impl Arch for Avx2 {
    const FUSED: bool = true;
    const BLOCK: usize = 32;
    const WAYS: usize = 2;
}

/// AVX-512: thirty-two registers of eight numbers.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

impl Arch for Avx512 {
    const FUSED: bool = true;
    const BLOCK: usize = 64;
    const WAYS: usize = 4;
}

/// A computation that can be compiled for several instruction sets. `run` has to be inlined.
pub(crate) trait Task {
    type Output;

    fn run<A: Arch>(self, arch: A) -> Self::Output;
}

/// An instruction set that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The best one of this processor.
    #[inline]
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(Self::detect)
    }

    #[cfg(target_arch = "x86_64")]
    fn detect() -> Self {
        let wide = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        let fused = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        match (fused, wide) {
            (true, true) => Self::Avx512,
            (true, false) => Self::Avx2,
            _ => Self::Portable,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn detect() -> Self {
        Self::Portable
    }

    /// All that this processor has, for tests.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let all = [
            Self::Portable,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512,
        ];
        all.into_iter().filter(|level| *level <= Self::best()).collect()
    }

    /// Runs a task with this instruction set.
    #[inline]
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        match self {
            Self::Portable => task.run(Baseline),
            // SAFETY: this level is only made by `detect`, which found AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { with_avx2(task) },
            // SAFETY: this level is only made by `detect`, which found AVX-512 F, DQ and VL, AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { with_avx512(task) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<T: Task>(task: T) -> T::Output {
    task.run(Avx2)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx2,fma")]
fn with_avx512<T: Task>(task: T) -> T::Output {
    task.run(Avx512)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dot<'a>(&'a [f64], &'a [f64]);

    impl Task for Dot<'_> {
        type Output = (f64, bool);

        fn run<A: Arch>(self, _arch: A) -> (f64, bool) {
            (self.0.iter().zip(self.1).map(|(a, b)| a * b).sum(), A::FUSED)
        }
    }

    #[test]
    fn every_level_runs() {
        let (a, b) = ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]);
        for level in Level::all() {
            assert_eq!(level.run(Dot(&a, &b)).0, 32.0);
        }
        assert!(Level::all().contains(&Level::Portable) && Level::all().contains(&Level::best()));
    }
}
