//! One source, compiled once for each instruction set and chosen at run time.

/// Code whose loops the compiler vectorises for the instruction set in force.
///
/// `run` and all that it calls in its loops must be `#[inline(always)]`, or that code is compiled
/// for the lowest common denominator.
pub trait Kernel {
    type Output;

    fn run<const FMA: bool>(self) -> Self::Output;
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
        [
            Some(Level::Baseline),
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))
                .then_some(Level::Avx2),
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
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
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            // The baseline of 64-bit Arm has the fused instruction.
            Level::Baseline if cfg!(target_arch = "aarch64") => kernel.run::<true>(),
            Level::Baseline => kernel.run::<false>(),
            // SAFETY: `available` is the only source of values, and has asked the processor.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512(kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<true>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<true>()
}
