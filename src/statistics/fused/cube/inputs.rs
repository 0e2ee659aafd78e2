//! The inputs of a launch, and how they are spread over the device.

use std::iter;

use burn::backend::cubecl::dtype_to_storage_type;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{
    ir::{ElemType, HardwareProperties},
    prelude::{AddressType, CubePrimitive, Float, Int, Size, VectorSize},
};

use crate::{
    kernels::{
        cube::{self, BatchLaunch, MatrixLaunch, PairsLaunch, ScaleLaunch},
        table::Request,
    },
    statistics::judged::{Candidates, Chosen, Judged, Relevance},
};

/// The units of a cube, at most.
const UNITS: usize = 256;

/// The cubes that keep a device busy.
pub const CUBES: usize = 1024;

/// The width of the planes below which the device is no GPU.
const GPU_PLANE: u32 = 16;

/// Masks of what is relevant and of what is not ignored.
pub struct Masks {
    pub positives: CubeTensor,
    pub candidates: Option<CubeTensor>,
}

pub struct Inputs {
    pub scores: CubeTensor,
    pub masks: Masks,
    /// The column of the only positive of each query.
    pub chosen: Option<CubeTensor>,
    pub request: Request,
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

impl Masks {
    /// The masks, and the column of the only positive of each query.
    pub fn new(judged: Judged<CubeBackend>) -> (Self, Option<CubeTensor>) {
        let Relevance::Mask(positives) = judged.relevance else {
            unreachable!("this backend reads no lists");
        };
        let masks = Self {
            positives: with_contiguous_rows(positives),
            candidates: match judged.candidates {
                Candidates::All => None,
                Candidates::Mask(mask) => Some(with_contiguous_rows(mask)),
            },
        };
        let chosen = match judged.chosen {
            Chosen::All => None,
            Chosen::Column(columns) => Some(into_contiguous(columns)),
        };
        (masks, chosen)
    }

    fn all(&self) -> impl Iterator<Item = &CubeTensor> + Clone {
        iter::once(&self.positives).chain(&self.candidates)
    }

    pub fn widest_vector(&self) -> VectorSize {
        widest_vector(self.positives.meta.shape()[1], self.all())
    }

    /// The size of a cube whose units share the vectors of a row.
    pub fn units(&self, vectors: usize) -> usize {
        let hardware = &self.positives.client.properties().hardware;
        units(hardware, self.positives.meta.shape()[0], vectors)
    }

    /// What the kernels index with.
    pub fn address(&self) -> AddressType {
        address(self.all())
    }

    /// As the kernels take them.
    pub fn launch<B: Int, C: Int, N: Size>(&self, vector: VectorSize) -> PairsLaunch<B, C, N> {
        let [rows, columns] = self.positives.meta.shape().dims();
        let candidates = self.candidates.as_ref();
        PairsLaunch::new(
            rows,
            columns / vector,
            matrix(&self.positives, vector),
            candidates.map(|mask| matrix(mask, vector)).into(),
        )
    }

    /// Of positives and candidates, those that are not there included.
    pub fn dtypes(&self) -> [ElemType; 2] {
        let candidates = self.candidates.as_ref().unwrap_or(&self.positives);
        [self.positives.dtype, candidates.dtype].map(dtype_to_storage_type)
    }
}

impl Inputs {
    pub fn new(scores: CubeTensor, judged: Judged<CubeBackend>, request: Request) -> Self {
        let shape = scores.meta.shape().dims();
        let (masks, chosen) = Masks::new(judged);
        let mut inputs = Self {
            scores: with_contiguous_rows(scores),
            masks,
            chosen,
            request,
            shape,
            vector: 1,
            units: 1,
            segments: 1,
            ahead: 1,
        };
        inputs.vector = widest_vector(shape[1], inputs.matrices());
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

    /// As the kernels take them.
    pub fn launch<F: Float, B: Int, C: Int, I: Int, N: Size>(&self) -> BatchLaunch<F, B, C, I, N> {
        let chosen = self.chosen.clone();
        BatchLaunch::new(
            matrix(&self.scores, self.vector),
            self.masks.launch(self.vector),
            chosen.map(CubeTensor::into_tensor_arg).into(),
        )
    }

    /// What the kernels index with.
    pub fn address(&self) -> AddressType {
        address(self.matrices())
    }

    /// Of scores, positives, candidates and choices, those that are not there included.
    pub fn dtypes(&self) -> [ElemType; 4] {
        let [positives, candidates] = self.masks.dtypes();
        let chosen = self.chosen.as_ref().unwrap_or(&self.masks.positives);
        let [scores, chosen] = [self.scores.dtype, chosen.dtype].map(dtype_to_storage_type);
        [scores, positives, candidates, chosen]
    }

    pub fn scale(&self) -> ScaleLaunch {
        ScaleLaunch::new(
            (2.0 / self.request.temperature()) as f32,
            (2.0 / self.request.negative_temperature()) as f32,
            self.request.exponent() as f32,
            self.request.hardness() as f32,
        )
    }

    fn matrices(&self) -> impl Iterator<Item = &CubeTensor> + Clone {
        iter::once(&self.scores).chain(self.masks.all())
    }
}

/// A matrix of vectors, as the kernels take it.
fn matrix<T: CubePrimitive>(tensor: &CubeTensor, vector: VectorSize) -> MatrixLaunch<T> {
    MatrixLaunch::new(
        tensor.clone().into_tensor_arg(),
        row_stride(tensor) / vector,
    )
}

fn address<'a>(matrices: impl Iterator<Item = &'a CubeTensor>) -> AddressType {
    let matrices = matrices.map(CubeTensor::required_address_type);
    matrices.max().unwrap_or_default()
}

/// As many entries as the device reads at once and the rows of every matrix are aligned to.
fn widest_vector<'a>(
    columns: usize,
    matrices: impl Iterator<Item = &'a CubeTensor> + Clone,
) -> VectorSize {
    let Some(properties) = matrices
        .clone()
        .next()
        .map(|matrix| matrix.client.properties())
    else {
        return 1;
    };
    let aligned = |matrix: &CubeTensor, size: VectorSize| {
        let bytes = (size * matrix.dtype.size()) as u64;
        row_stride(matrix).is_multiple_of(size) && properties.memory.alignment.is_multiple_of(bytes)
    };
    let fits = |size: &VectorSize| {
        columns.is_multiple_of(*size) && matrices.clone().all(|matrix| aligned(matrix, *size))
    };
    let entry = matrices.clone().map(|matrix| matrix.dtype.size()).max();
    let sizes = properties.io_optimized_vector_sizes(entry.unwrap_or(1));
    sizes.filter(fits).max().unwrap_or(1)
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
    let of_memory = hardware.max_shared_memory_size / cube::SHARED_BYTES_PER_UNIT;
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
