//! The inputs of a launch, and how they are spread over the device.

use std::iter;

use burn::backend::cubecl::dtype_to_storage_type;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{
    ir::{ElemType, HardwareProperties},
    prelude::{AddressType, ComptimeOptionArgs, CubePrimitive, Float, Int, Size, VectorSize},
};

use crate::{
    kernels::{
        cube::{
            self, Asked, BatchLaunch, BendLaunch, CurveLaunch, MatrixLaunch, PairsLaunch,
            ScaleLaunch,
        },
        curve::{Curve, Product},
        table::Request,
    },
    statistics::judged::{Candidates, Ceilings, Chosen, Judged, Relevance, Weights},
};

/// The units of a cube, at most.
const UNITS: usize = 256;

/// The cubes that keep a device busy.
pub const CUBES: usize = 1024;

/// The width of the planes below which the device is no GPU.
const GPU_PLANE: u32 = 16;

/// What is known of pairs: who is relevant, who is not ignored, and how much each counts.
pub struct Pairs {
    positives: CubeTensor,
    candidates: Option<CubeTensor>,
    weights: Option<CubeTensor>,
}

pub struct Inputs {
    pub scores: CubeTensor,
    pub pairs: Pairs,
    /// The largest score of each query's negatives that is believed.
    pub ceilings: Option<CubeTensor>,
    /// The column of the only positive of each query.
    pub chosen: Option<CubeTensor>,
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

impl Pairs {
    pub fn new(
        relevance: Relevance<CubeBackend>,
        candidates: Candidates<CubeBackend>,
        weights: Weights<CubeBackend>,
    ) -> Self {
        let Relevance::Mask(positives) = relevance else {
            unreachable!("this backend reads no lists");
        };
        Self {
            positives: with_contiguous_rows(positives),
            candidates: match candidates {
                Candidates::All => None,
                Candidates::Mask(mask) => Some(with_contiguous_rows(mask)),
            },
            weights: match weights {
                Weights::All => None,
                Weights::Matrix(weights) => Some(with_contiguous_rows(weights)),
            },
        }
    }

    /// Queries and documents.
    pub fn shape(&self) -> [usize; 2] {
        self.positives.meta.shape().dims()
    }

    fn all(&self) -> impl Iterator<Item = &CubeTensor> + Clone {
        let optional = [&self.candidates, &self.weights];
        iter::once(&self.positives).chain(optional.into_iter().flatten())
    }

    pub fn widest_vector(&self) -> VectorSize {
        widest_vector(self.shape()[1], self.all())
    }

    /// The size of a cube whose units share the vectors of a row.
    pub fn units(&self, vectors: usize) -> usize {
        let hardware = &self.positives.client.properties().hardware;
        units(hardware, self.shape()[0], vectors)
    }

    /// What the kernels index with.
    pub fn address(&self) -> AddressType {
        address(self.all())
    }

    /// As the kernels take them.
    pub fn launch<B: Int, C: Int, N: Size>(&self, vector: VectorSize) -> PairsLaunch<B, C, N> {
        let [rows, columns] = self.shape();
        PairsLaunch::new(
            rows,
            columns / vector,
            matrix(&self.positives, vector),
            optional_matrix(&self.candidates, vector),
            optional_matrix(&self.weights, vector),
        )
    }

    /// Of positives and candidates, those that are not there included.
    pub fn dtypes(&self) -> [ElemType; 2] {
        let candidates = self.candidates.as_ref().unwrap_or(&self.positives);
        [self.positives.dtype, candidates.dtype].map(dtype_to_storage_type)
    }
}

impl Inputs {
    pub fn new(scores: CubeTensor, judged: Judged<CubeBackend>) -> Self {
        let shape = scores.meta.shape().dims();
        let mut inputs = Self {
            scores: with_contiguous_rows(scores),
            pairs: Pairs::new(judged.relevance, judged.candidates, judged.weights),
            ceilings: match judged.ceilings {
                Ceilings::None => None,
                Ceilings::Each(ceilings) => Some(into_contiguous(ceilings)),
            },
            chosen: match judged.chosen {
                Chosen::All => None,
                Chosen::Column(columns) => Some(into_contiguous(columns)),
            },
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
    pub fn launch<F: Float, B: Int, C: Int, I: Int, N: Size>(
        &self,
        curve: Option<Curve>,
    ) -> BatchLaunch<F, B, C, I, N> {
        let [ceilings, chosen] = [&self.ceilings, &self.chosen].map(Clone::clone);
        BatchLaunch::new(
            matrix(&self.scores, self.vector),
            self.pairs.launch(self.vector),
            curve.map(launch_curve).into(),
            ceilings.map(CubeTensor::into_tensor_arg).into(),
            chosen.map(CubeTensor::into_tensor_arg).into(),
        )
    }

    /// What the kernels index with.
    pub fn address(&self) -> AddressType {
        address(self.matrices())
    }

    /// Of scores, positives, candidates and choices, those that are not there included.
    pub fn dtypes(&self) -> [ElemType; 4] {
        let [positives, candidates] = self.pairs.dtypes();
        let chosen = self.chosen.as_ref().unwrap_or(&self.pairs.positives);
        let [scores, chosen] = [self.scores.dtype, chosen.dtype].map(dtype_to_storage_type);
        [scores, positives, candidates, chosen]
    }

    pub fn asked(&self, request: Request) -> Asked {
        Asked::new(request, self.pairs.weights.is_some())
    }

    fn matrices(&self) -> impl Iterator<Item = &CubeTensor> + Clone {
        iter::once(&self.scores).chain(self.pairs.all())
    }
}

/// What scores are multiplied by, as the kernels take it.
pub fn scale(request: Request) -> ScaleLaunch {
    // With so small an exponent, the terms of a sum would lie below the numbers of f32.
    let exponent = match request.exponent() {
        exponent if exponent.abs() < 1e-20 => 0.0,
        exponent => exponent as f32,
    };
    ScaleLaunch::new(
        (2.0 / request.temperature()) as f32,
        (2.0 / request.negative_temperature()) as f32,
        exponent,
        request.hardness() as f32,
        request.bias() as f32,
    )
}

/// A curve, as the kernels take it.
fn launch_curve(curve: Curve) -> CurveLaunch {
    let bend = |product: Product| {
        BendLaunch::new(
            product.rate as f32,
            product.offset as f32,
            product.center as f32,
            if curve.paced { 0.0 } else { f32::MIN },
            if curve.paced {
                0.0
            } else {
                product.rate as f32
            },
        )
    };
    CurveLaunch::new(bend(curve.positive), bend(curve.negative))
}

/// A matrix of vectors, as the kernels take it.
fn matrix<T: CubePrimitive>(tensor: &CubeTensor, vector: VectorSize) -> MatrixLaunch<T> {
    MatrixLaunch::new(
        tensor.clone().into_tensor_arg(),
        row_stride(tensor) / vector,
    )
}

fn optional_matrix<T: CubePrimitive>(
    tensor: &Option<CubeTensor>,
    vector: VectorSize,
) -> ComptimeOptionArgs<cube::Matrix<T>> {
    let tensor = tensor.as_ref();
    tensor.map(|tensor| matrix(tensor, vector)).into()
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
