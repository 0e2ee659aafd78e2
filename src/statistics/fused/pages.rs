//! Zeroed tensors in huge pages.
//!
//! The first touch of a page costs far more than the arithmetic on the scores that it holds, and
//! large outputs come in fresh pages each time. With pages of 2 MiB there are few first touches.

use burn::{
    backend::flex::FlexTensor,
    tensor::{DType, Shape},
};

/// Zeros, in huge pages where these exist and the tensor fills at least one.
pub(super) fn zeros(shape: Shape, dtype: DType) -> FlexTensor {
    #[cfg(target_os = "linux")]
    if let Some(bytes) = linux::zeros(shape.num_elements() * dtype.size()) {
        let layout = burn::backend::flex::Layout::contiguous(shape);
        return FlexTensor::new(bytes, layout, dtype);
    }
    FlexTensor::zeros(shape, dtype)
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{mem::MaybeUninit, slice};

    use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};
    use memmap2::{Advice, MmapMut};

    const HUGE_PAGE: usize = 2 << 20;

    /// `None` below the size of a huge page, or where there is no memory to map.
    pub fn zeros(len: usize) -> Option<Bytes> {
        if len < HUGE_PAGE {
            return None;
        }
        let rounded = len.next_multiple_of(HUGE_PAGE);
        let map = MmapMut::map_anon(rounded + HUGE_PAGE).ok()?;
        let start = map.as_ptr().align_offset(HUGE_PAGE);
        // Only advice: without huge pages the memory is as good, and slower.
        let _ = map.advise_range(Advice::HugePage, start, rounded);
        let pages = Box::new(HugePages { map, start, len });
        // SAFETY: the mapping has `len` bytes from `start` on, and the system zeroed them.
        #[allow(unsafe_code)]
        Some(unsafe { Bytes::from_controller(pages, len) })
    }

    struct HugePages {
        map: MmapMut,
        start: usize,
        len: usize,
    }

    impl AllocationController for HugePages {
        fn alloc_align(&self) -> usize {
            HUGE_PAGE
        }

        fn property(&self) -> AllocationProperty {
            AllocationProperty::Native
        }

        #[allow(unsafe_code)]
        unsafe fn memory_mut(
            &mut self,
            _: AccessPolicy,
        ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
            let bytes = &mut self.map[self.start..][..self.len];
            // SAFETY: the same bytes; the caller promises to write initialized ones only.
            Ok(unsafe { slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) })
        }

        #[allow(unsafe_code)]
        fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
            let bytes = &self.map[self.start..][..self.len];
            // SAFETY: the same bytes, seen as possibly uninitialized.
            Ok(unsafe { slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) })
        }
    }
}
