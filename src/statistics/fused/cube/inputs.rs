//! The inputs of a launch, and how they are spread over the device.

use burn::backend::cubecl::dtype_to_storage_type;
use burn_cubecl::{kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{
    ir::{ElemType, HardwareProperties},
    prelude::{AddressType, VectorSize},
};

use super::{super::Options, kernels, kernels::RowsLaunch};

/// The units of a cube, at most.
const UNITS: usize = 256;

/// The cubes that keep a device busy.
pub const CUBES: usize = 1024;

/// The width of the planes below which the device is no GPU.
const GPU_PLANE: u32 = 16;

pub struct Inputs {
    pub scores: CubeTensor,
    pub positives: CubeTensor,
    pub candidates: Option<CubeTensor>,
    pub chosen: Option<CubeTensor>,
    pub options: Options,
    /// Rows and columns of the scores.
    pub shape: [usize; 2],
    /// How many entries of a row are read at a time.
    pub vector: VectorSize,
    /// The size of a cube, a power of two.
    pub units: usize,
    /// How many cubes share a row of the table, a power of two.
    pub segments: usize,
    /// How many vectors a unit reads at a time.
    pub ahead: usize,
}

impl Inputs {
    pub fn new(
        scores: CubeTensor,
        positives: CubeTensor,
        candidates: CubeTensor,
        chosen: CubeTensor,
        options: Options,
    ) -> Self {
        let shape = scores.meta.shape().dims();
        let mut inputs = Self {
            scores: with_contiguous_rows(scores),
            positives: with_contiguous_rows(positives),
            candidates: options
                .has_candidates
                .then(|| with_contiguous_rows(candidates)),
            chosen: options.choice.map(|_| into_contiguous(chosen)),
            options,
            shape,
            vector: 1,
            units: 1,
            segments: 1,
            ahead: 1,
        };
        inputs.vector = inputs.widest_vector();
        let hardware = &inputs.scores.client.properties().hardware;
        inputs.units = units(hardware, shape[0], inputs.vectors());
        inputs.segments = segments(hardware, shape[0], inputs.vectors(), inputs.units);
        inputs.ahead = if is_gpu(hardware) { 2 } else { 1 };
        inputs
    }

    /// The vectors of a row.
    pub fn vectors(&self) -> usize {
        self.shape[1] / self.vector
    }

    pub fn rows(&self) -> RowsLaunch {
        let step = |matrix: &CubeTensor| row_stride(matrix) / self.vector;
        RowsLaunch::new(
            self.shape[0],
            self.vectors(),
            step(&self.scores),
            step(&self.positives),
            self.candidates.as_ref().map_or(0, step),
        )
    }

    /// What the kernels index with.
    pub fn address(&self) -> AddressType {
        let matrices = self.matrices().map(CubeTensor::required_address_type);
        matrices.max().unwrap_or_default()
    }

    /// Of scores, positives, candidates and choices, those that are not there included.
    pub fn dtypes(&self) -> [ElemType; 4] {
        let or_any = |tensor: &Option<CubeTensor>| tensor.as_ref().unwrap_or(&self.positives).dtype;
        [
            self.scores.dtype,
            self.positives.dtype,
            or_any(&self.candidates),
            or_any(&self.chosen),
        ]
        .map(dtype_to_storage_type)
    }

    pub fn factor(&self) -> f32 {
        (2.0 / self.options.request.temperature) as f32
    }

    fn matrices(&self) -> impl Iterator<Item = &CubeTensor> {
        [&self.scores, &self.positives]
            .into_iter()
            .chain(&self.candidates)
    }

    /// As many entries as the device reads at once and the rows of every matrix are aligned to.
    fn widest_vector(&self) -> VectorSize {
        let properties = self.scores.client.properties();
        let aligned = |matrix: &CubeTensor, size: VectorSize| {
            let bytes = (size * matrix.dtype.size()) as u64;
            row_stride(matrix).is_multiple_of(size)
                && properties.memory.alignment.is_multiple_of(bytes)
        };
        let fits = |size: &VectorSize| {
            self.shape[1].is_multiple_of(*size)
                && self.matrices().all(|matrix| aligned(matrix, *size))
        };
        let entry = self.matrices().map(|matrix| matrix.dtype.size()).max();
        let sizes = properties.io_optimized_vector_sizes(entry.unwrap_or(1));
        sizes.filter(fits).max().unwrap_or(1)
    }
}

/// The size of a cube: a power of two. A unit that has few vectors spends its time on barriers.
fn units(hardware: &HardwareProperties, rows: usize, vectors: usize) -> usize {
    let (most, share) = match rows {
        // On a processor that stands in for a GPU, barriers between planes are slow.
        _ if !is_gpu(hardware) => (hardware.plane_size_max as usize, 2),
        _ if rows < CUBES / 2 => (UNITS, 2),
        _ => (UNITS, 8),
    };
    let least = hardware.plane_size_max as usize;
    let units = (vectors / share).max(least.min(vectors)).min(most);
    power_of_two(units.min(most_units(hardware)))
}

/// How many cubes a row takes to keep the device busy, while their units have a few vectors each.
fn segments(hardware: &HardwareProperties, rows: usize, vectors: usize, units: usize) -> usize {
    if !is_gpu(hardware) || rows == 0 {
        return 1;
    }
    let wanted = CUBES.div_ceil(rows).next_power_of_two();
    let worth = vectors / (4 * units);
    power_of_two(wanted.min(worth).min(UNITS).min(most_units(hardware)))
}

fn is_gpu(hardware: &HardwareProperties) -> bool {
    hardware.plane_size_max >= GPU_PLANE
}

/// The units that a cube can have.
fn most_units(hardware: &HardwareProperties) -> usize {
    let of_memory = hardware.max_shared_memory_size / kernels::SHARED_BYTES_PER_UNIT;
    of_memory.min(hardware.max_units_per_cube as usize)
}

/// The largest that is no larger, at least 1.
fn power_of_two(number: usize) -> usize {
    1 << number.max(1).ilog2()
}

/// The tensor itself, unless its rows have gaps; a row that is broadcast stays as it is.
fn with_contiguous_rows(tensor: CubeTensor) -> CubeTensor {
    let contiguous =
        !tensor.meta.is_tiled() && (tensor.meta.strides()[1] == 1 || tensor.meta.shape()[1] == 1);
    match contiguous {
        true => tensor,
        false => into_contiguous(tensor),
    }
}

fn row_stride(matrix: &CubeTensor) -> usize {
    match matrix.meta.shape()[0] {
        1 => 0,
        _ => matrix.meta.strides()[0],
    }
}
