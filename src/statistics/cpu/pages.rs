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
    if let Some(bytes) = linux::allocate(shape.num_elements() * size_of::<E>()) {
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

    static FREED: Mutex<Option<MmapMut>> = Mutex::new(None);

    /// `None` below the size of a huge page, or where there is no memory to map.
    pub fn allocate(len: usize) -> Option<Bytes> {
        if len < HUGE_PAGE {
            return None;
        }
        let rounded = len.next_multiple_of(HUGE_PAGE);
        let map = take_freed(rounded + HUGE_PAGE).or_else(|| map(rounded))?;
        let start = map.as_ptr().align_offset(HUGE_PAGE);
        let map = Some(map);
        // SAFETY: the mapping has `len` bytes from `start` on, and the system zeroed them
        // once.
        #[allow(unsafe_code)]
        Some(unsafe { Bytes::from_controller(Box::new(HugePages { map, start, len }), len) })
    }

    fn map(rounded: usize) -> Option<MmapMut> {
        let map = MmapMut::map_anon(rounded + HUGE_PAGE).ok()?;
        let start = map.as_ptr().align_offset(HUGE_PAGE);
        // Only advice: without huge pages the memory is as good, and slower.
        let _ = map.advise_range(Advice::HugePage, start, rounded);
        Some(map)
    }

    fn take_freed(len: usize) -> Option<MmapMut> {
        let mut freed = FREED.lock().unwrap_or_else(PoisonError::into_inner);
        // One of another size goes before its successor comes, so that the two never add
        // up.
        freed.take().filter(|map| map.len() == len)
    }

    struct HugePages {
        /// `None` while it is dropped.
        map: Option<MmapMut>,
        start: usize,
        len: usize,
    }

    impl Drop for HugePages {
        fn drop(&mut self) {
            let map = self.map.take().filter(|map| map.len() <= KEPT + HUGE_PAGE);
            if let Some(map) = map {
                // SAFETY: nobody refers to it, and the next one writes before it reads.
                // Only advice, as above.
                #[allow(unsafe_code)]
                let _ = unsafe { map.unchecked_advise(UncheckedAdvice::Free) };
                let mut freed = FREED.lock().unwrap_or_else(PoisonError::into_inner);
                let before = freed.replace(map);
                drop(freed);
                drop(before);
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
            assert!(allocate(HUGE_PAGE - 1).is_none());
        }

        #[test]
        fn an_output_of_1_gib_is_kept_and_one_of_more_is_not() {
            let kept = || FREED.lock().unwrap().as_ref().map(|map| map.len());
            drop(allocate(KEPT));
            assert_eq!(kept(), Some(KEPT + HUGE_PAGE));
            drop(allocate(KEPT + 1));
            assert_ne!(kept(), Some(KEPT + 2 * HUGE_PAGE));
        }

        #[test]
        fn outputs_are_copied() {
            let mut bytes = allocate(HUGE_PAGE).unwrap();
            bytes.fill(7);
            assert_eq!(bytes.clone(), bytes);
        }

        #[test]
        fn outputs_are_aligned_writable_and_of_their_length() {
            for len in [HUGE_PAGE, HUGE_PAGE + 5, 3 * HUGE_PAGE] {
                // The second time perhaps from what the first one freed.
                for round in 0..2 {
                    let mut bytes = allocate(len).unwrap();
                    assert_eq!(bytes.len(), len);
                    assert_eq!(bytes.as_ptr().align_offset(HUGE_PAGE), 0);
                    bytes.fill(round + 1);
                    assert!(bytes.iter().all(|&byte| byte == round + 1));
                }
            }
        }
    }
}
