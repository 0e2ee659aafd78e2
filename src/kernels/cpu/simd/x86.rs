//! What the vectors of x86-64 have alike: a register, and an instruction for each operation.

/// The methods of [`Vector`](super::Vector) that are one instruction each, for a type with one
/// register; `SIZE` is its bytes.
// SAFETY: as where it is used.
macro_rules! arithmetic {
    (
        $t:ident, $splat:ident, $load:ident, $store:ident, $stream:ident,
        $add:ident, $sub:ident, $mul:ident, $div:ident, $mul_add:ident, $mul_sub:ident
    ) => {
        #[inline(always)]
        fn splat(x: $t) -> Self {
            Self(unsafe { $splat(x) })
        }

        #[inline(always)]
        fn load(from: &[$t]) -> Self {
            assert!(from.len() >= Self::LANES);
            Self(unsafe { $load(from.as_ptr()) })
        }

        #[inline(always)]
        fn store(self, to: &mut [$t]) {
            assert!(to.len() >= Self::LANES);
            unsafe { $store(to.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn stream(self, to: &mut [$t]) {
            assert!(to.len() >= Self::LANES);
            match to.as_ptr().addr() % SIZE {
                0 => unsafe { $stream(to.as_mut_ptr(), self.0) },
                _ => self.store(to),
            }
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(unsafe { $add(self.0, other.0) })
        }

        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Self(unsafe { $sub(self.0, other.0) })
        }

        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Self(unsafe { $mul(self.0, other.0) })
        }

        #[inline(always)]
        fn div(self, other: Self) -> Self {
            Self(unsafe { $div(self.0, other.0) })
        }

        #[inline(always)]
        fn mul_add(self, factor: Self, summand: Self) -> Self {
            Self(unsafe { $mul_add(self.0, factor.0, summand.0) })
        }

        #[inline(always)]
        fn mul_sub(self, factor: Self, subtrahend: Self) -> Self {
            Self(unsafe { $mul_sub(self.0, factor.0, subtrahend.0) })
        }
    };
}
pub(super) use arithmetic;
