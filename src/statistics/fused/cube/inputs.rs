//! The inputs of a launch, and how it is spread over the device.

use burn::{
    backend::cubecl::dtype_to_storage_type,
    tensor::{DType, Shape},
};
use burn_cubecl::{kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{
    calculate_cube_count_elemwise,
    client::Client,
    ir::ElemType,
    prelude::{
        AddressType, ComptimeOptionArgs, CubeCount, CubeDim, LaunchArg, TensorArg, VectorSize,
    },
};

use super::{
    super::{Chosen, Options},
    empty_like,
    kernels::{self, RowsLaunch},
};
use crate::statistics::table::Statistic;

/// The units of a cube, at most.
const UNITS: usize = 256;

/// The cubes that keep a device busy.
const CUBES: usize = 1024;

pub struct Inputs {
    pub scores: CubeTensor,
    positives: CubeTensor,
    candidates: Option<CubeTensor>,
    chosen: Option<CubeTensor>,
    options: Options,
    /// Rows and columns of the scores.
    pub shape: [usize; 2],
    vector: VectorSize,
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
        let scores = with_contiguous_rows(scores);
        let positives = with_contiguous_rows(positives);
        let candidates = options
            .has_candidates
            .then(|| with_contiguous_rows(candidates));
        let chosen = options.choice.map(|_| into_contiguous(chosen));
        let matrices = [Some(&scores), Some(&positives), candidates.as_ref()];
        let vector = vector_size(matrices.into_iter().flatten(), shape);
        Self {
            scores,
            positives,
            candidates,
            chosen,
            options,
            shape,
            vector,
        }
    }

    /// Writes the table.
    pub fn forward(mut self, table: CubeTensor) {
        if let Some(Chosen::Draw) = self.options.choice {
            self.chosen = Some(self.drawn_columns());
        }
        let units = self.units();
        let (client, address, rows) = (self.client(), self.address(), self.rows());
        let dtypes = self.dtypes();
        // SAFETY: the kernel reads `vectors` vectors of each of the `count` rows of matrices that
        // have this shape, an entry of `chosen` for each row, and writes the row of the table.
        #[allow(unsafe_code)]
        unsafe {
            kernels::row_statistics::launch_unchecked(
                &client,
                cubes(&client, self.shape[0]),
                CubeDim::new_1d(units as u32),
                address,
                self.vector,
                self.scores.into_tensor_arg(),
                self.positives.into_tensor_arg(),
                optional(self.candidates),
                optional(self.chosen),
                table.into_tensor_arg(),
                rows,
                factor(self.options),
                f32::NAN,
                units,
                self.options.request.wants(Statistic::Negatives),
                dtypes,
            );
        }
    }

    /// The columns of the drawn positives.
    fn drawn_columns(&self) -> CubeTensor {
        let units = self.units();
        let columns = empty_like(&self.scores, Shape::new([self.shape[0]]), DType::U32);
        let draws = self.chosen.clone().expect("a choice comes with numbers");
        let [_, positives, candidates, draws_dtype] = self.dtypes();
        // SAFETY: as in `forward`, with an entry of `columns` for each row.
        #[allow(unsafe_code)]
        unsafe {
            kernels::drawn_columns::launch_unchecked(
                &self.scores.client,
                cubes(&self.scores.client, self.shape[0]),
                CubeDim::new_1d(units as u32),
                self.address(),
                self.vector,
                self.positives.clone().into_tensor_arg(),
                optional(self.candidates.clone()),
                draws.into_tensor_arg(),
                columns.clone().into_tensor_arg(),
                self.rows(),
                units,
                [positives, candidates, draws_dtype],
            );
        }
        columns
    }

    /// Writes the gradient of the scores.
    pub fn backward(self, table: CubeTensor, upstream: CubeTensor, gradient: CubeTensor) {
        let units = self.units();
        let segments = CUBES
            .div_ceil(self.shape[0])
            .min(self.shape[1] / self.vector / units)
            .max(1);
        let (client, address, rows) = (self.client(), self.address(), self.rows());
        let [scores, positives, candidates, _] = self.dtypes();
        // SAFETY: as in `forward`; the gradient has the shape of the scores and is contiguous.
        #[allow(unsafe_code)]
        unsafe {
            kernels::row_statistics_backward::launch_unchecked(
                &client,
                cubes(&client, self.shape[0] * segments),
                CubeDim::new_1d(units as u32),
                address.max(gradient.required_address_type()),
                self.vector,
                self.scores.into_tensor_arg(),
                self.positives.into_tensor_arg(),
                optional(self.candidates),
                table.into_tensor_arg(),
                upstream.into_tensor_arg(),
                gradient.into_tensor_arg(),
                rows,
                segments,
                factor(self.options),
                self.options.choice.is_some(),
                [scores, positives, candidates],
            );
        }
    }

    /// The size of a cube: a power of two, and each unit has a few vectors of the row.
    fn units(&self) -> usize {
        let most = self.client().properties().hardware.max_units_per_cube as usize;
        let vectors = self.shape[1] / self.vector;
        let units = UNITS.min(most).min(vectors.div_ceil(2).next_power_of_two());
        1 << units.ilog2()
    }

    fn rows(&self) -> RowsLaunch {
        let step = |tensor: &CubeTensor| row_stride(tensor) / self.vector;
        RowsLaunch::new(
            self.shape[0],
            self.shape[1] / self.vector,
            step(&self.scores),
            step(&self.positives),
            self.candidates.as_ref().map_or(0, step),
        )
    }

    /// Of scores, positives, candidates and choices, those that are not there included.
    fn dtypes(&self) -> [ElemType; 4] {
        let of = |tensor: &Option<CubeTensor>, absent: &CubeTensor| {
            tensor.as_ref().unwrap_or(absent).dtype
        };
        [
            self.scores.dtype,
            self.positives.dtype,
            of(&self.candidates, &self.positives),
            of(&self.chosen, &self.positives),
        ]
        .map(dtype_to_storage_type)
    }

    fn client(&self) -> Client {
        self.scores.client.clone()
    }

    fn address(&self) -> AddressType {
        let scores = self.scores.required_address_type();
        scores.max(self.positives.required_address_type())
    }
}

fn factor(options: Options) -> f32 {
    (2.0 / options.request.temperature) as f32
}

fn optional<T>(tensor: Option<CubeTensor>) -> ComptimeOptionArgs<T>
where
    T: LaunchArg<RuntimeArg = TensorArg>,
{
    tensor.map(CubeTensor::into_tensor_arg).into()
}

/// At least `count` cubes, in as many dimensions as it takes.
fn cubes(client: &Client, count: usize) -> CubeCount {
    calculate_cube_count_elemwise(client, count, CubeDim::new_single())
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

fn row_stride(tensor: &CubeTensor) -> usize {
    match tensor.meta.shape()[0] {
        1 => 0,
        _ => tensor.meta.strides()[0],
    }
}

/// How many entries of every matrix can be read at a time.
fn vector_size<'a>(
    matrices: impl Iterator<Item = &'a CubeTensor> + Clone,
    shape: [usize; 2],
) -> VectorSize {
    let fits = |size: usize| {
        shape[1].is_multiple_of(size)
            && matrices.clone().all(|matrix| {
                let bytes = (size * matrix.dtype.size()) as u64;
                row_stride(matrix).is_multiple_of(size)
                    && matrix
                        .client
                        .properties()
                        .memory
                        .alignment
                        .is_multiple_of(bytes)
            })
    };
    let widest = matrices.clone().max_by_key(|matrix| matrix.dtype.size());
    let widest = widest.expect("there are scores");
    widest
        .client
        .io_optimized_vector_sizes(widest.dtype.size())
        .filter(|&size| fits(size))
        .max()
        .unwrap_or(1)
}
