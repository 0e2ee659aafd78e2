//! Outputs in huge pages.
//!
//! The first touch of a page costs far more than the arithmetic on the scores that it
//! holds, and large outputs come in fresh pages each time. With pages of 2 MiB there are
//! few first touches, and one output that was freed is kept for the next one, up to 1
//! GiB. It counts as memory of the process until the system takes it back, as it may where
//! memory is short.

use burn::tensor::{Element, Shape, TensorData};

/// Data of any content, in huge pages where these exist and it fills at least one.
pub fn any_content<E: Element + Default>(shape: Shape) -> TensorData {
    #[cfg(target_os = "linux")]
    if let Some(bytes) = linux::FREED.allocate(shape.num_elements() * size_of::<E>()) {
        return TensorData::from_bytes(bytes, shape, E::dtype());
    }
    TensorData::new(vec![E::default(); shape.num_elements()], shape)
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        mem::MaybeUninit,
        slice,
        sync::{Mutex, PoisonError},
    };

    use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};
    use memmap2::{Advice, MmapMut, UncheckedAdvice};

    const HUGE_PAGE: usize = 2 << 20;

    /// The largest output whose mapping is kept.
    const KEPT: usize = 1 << 30;

    /// The mapping that was freed last, for the next output of its size.
    pub struct Freed(Mutex<Option<MmapMut>>);

    pub static FREED: Freed = Freed::new();

    impl Freed {
        const fn new() -> Self {
            Self(Mutex::new(None))
        }

        /// `None` below the size of a huge page, or where there is no memory to map.
        pub fn allocate(&'static self, len: usize) -> Option<Bytes> {
            if len < HUGE_PAGE {
                return None;
            }
            let rounded = len.next_multiple_of(HUGE_PAGE);
            let map = self.take(rounded + HUGE_PAGE).or_else(|| map(rounded))?;
            let pages = HugePages {
                start: map.as_ptr().align_offset(HUGE_PAGE),
                map: Some(map),
                len,
                freed: self,
            };
            // SAFETY: the mapping has `len` bytes from `start` on, and the system zeroed them
            // once.
            #[allow(unsafe_code)]
            Some(unsafe { Bytes::from_controller(Box::new(pages), len) })
        }

        fn take(&self, len: usize) -> Option<MmapMut> {
            let mut freed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // One of another size goes before its successor comes, so that the two never add
            // up.
            freed.take().filter(|map| map.len() == len)
        }

        fn keep(&self, map: MmapMut) {
            let mut freed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let before = freed.replace(map);
            drop(freed);
            drop(before);
        }
    }

    fn map(rounded: usize) -> Option<MmapMut> {
        let map = MmapMut::map_anon(rounded + HUGE_PAGE).ok()?;
        let start = map.as_ptr().align_offset(HUGE_PAGE);
        // Only advice: without huge pages the memory is as good, and slower.
        let _ = map.advise_range(Advice::HugePage, start, rounded);
        Some(map)
    }

    struct HugePages {
        /// `None` while it is dropped.
        map: Option<MmapMut>,
        start: usize,
        len: usize,
        /// Where it goes.
        freed: &'static Freed,
    }

    impl Drop for HugePages {
        fn drop(&mut self) {
            let map = self.map.take().filter(|map| map.len() <= KEPT + HUGE_PAGE);
            if let Some(map) = map {
                // SAFETY: nobody refers to it, and the next one writes before it reads.
                // Only advice, as above.
                #[allow(unsafe_code)]
                let _ = unsafe { map.unchecked_advise(UncheckedAdvice::Free) };
                self.freed.keep(map);
            }
        }
    }

    impl AllocationController for HugePages {
        /// What a copy is allocated with: `Bytes` allows no more than this.
        fn alloc_align(&self) -> usize {
            align_of::<u128>()
        }

        fn property(&self) -> AllocationProperty {
            AllocationProperty::Other
        }

        #[allow(unsafe_code)]
        unsafe fn memory_mut(
            &mut self,
            _: AccessPolicy,
        ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
            let map = self.map.as_mut().expect("it is not dropped");
            let bytes = &mut map[self.start..][..self.len];
            // SAFETY: the same bytes; the caller promises to write initialized ones only.
            Ok(unsafe { slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) })
        }

        #[allow(unsafe_code)]
        fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
            let map = self.map.as_ref().expect("it is not dropped");
            let bytes = &map[self.start..][..self.len];
            // SAFETY: the same bytes, seen as possibly uninitialized.
            Ok(unsafe { slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) })
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn small_outputs_are_left_to_the_allocator() {
            assert!(FREED.allocate(HUGE_PAGE - 1).is_none());
        }

        #[test]
        fn an_output_of_1_gib_is_kept_and_one_of_more_is_not() {
            // No other test's.
            static OWN: Freed = Freed::new();
            let kept = || OWN.0.lock().unwrap().as_ref().map(|map| map.len());
            drop(OWN.allocate(KEPT));
            assert_eq!(kept(), Some(KEPT + HUGE_PAGE));
            drop(OWN.allocate(KEPT + 1));
            assert_eq!(kept(), None);
        }

        #[test]
        fn outputs_are_copied() {
            let mut bytes = FREED.allocate(HUGE_PAGE).unwrap();
            bytes.fill(7);
            assert_eq!(bytes.clone(), bytes);
        }

        #[test]
        fn outputs_are_aligned_writable_and_of_their_length() {
            for len in [HUGE_PAGE, HUGE_PAGE + 5, 3 * HUGE_PAGE] {
                // The second time perhaps from what the first one freed.
                for round in 0..2 {
                    let mut bytes = FREED.allocate(len).unwrap();
                    assert_eq!(bytes.len(), len);
                    assert_eq!(bytes.as_ptr().align_offset(HUGE_PAGE), 0);
                    bytes.fill(round + 1);
                    assert!(bytes.iter().all(|&byte| byte == round + 1));
                }
            }
        }
    }
}
