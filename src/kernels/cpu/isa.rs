//! One source, compiled once for each instruction set and chosen at run time.

#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Portable, Simd};

/// Code over the vectors of the instruction set in force; its loops over slices the
/// compiler vectorises for it.
///
/// `run` and all that it calls in its loops must be `#[inline(always)]`, or that code is
/// compiled for the lowest common denominator. Kernels are small, a loop or two each: in
/// a large one the compiler keeps sums and constants in memory.
pub trait Kernel {
    type Output;

    fn run<S: Simd>(self) -> Self::Output;
}

/// An instruction set that the processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// What every processor of the architecture has: SSE2, NEON, ...
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The instruction sets of this processor, the best one last.
    fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let has_avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        [
            Some(Level::Baseline),
            #[cfg(target_arch = "x86_64")]
            has_avx2.then_some(Level::Avx2),
            #[cfg(target_arch = "x86_64")]
            (has_avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl"))
            .then_some(Level::Avx512),
        ]
        .into_iter()
        .flatten()
        .map(Self)
    }

    /// The best instruction set of this processor.
    pub fn best() -> Self {
        Self::available()
            .last()
            .expect("every processor has its baseline")
    }

    #[cfg(test)]
    pub fn all() -> Vec<Self> {
        Self::available().collect()
    }

    #[allow(unsafe_code)]
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Baseline => kernel.run::<Portable>(),
            // SAFETY: `available` is the only source of values, and has asked the
            // processor.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512(kernel) },
        }
    }

    /// Runs a loop over slices, vectorised by the compiler.
    #[inline]
    pub fn vectorize<T>(self, run: impl FnOnce() -> T) -> T {
        self.run(Loop(run))
    }
}

struct Loop<F>(F);

impl<T, F: FnOnce() -> T> Kernel for Loop<F> {
    type Output = T;

    #[inline(always)]
    fn run<S: Simd>(self) -> T {
        (self.0)()
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}
