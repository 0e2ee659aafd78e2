//! The launches of the kernels.

use burn::tensor::{DType, Shape};
use burn_cubecl::{CubeBackend, ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor};
use cubecl::{
    calculate_cube_count_elemwise,
    prelude::{ComptimeOptionArgs, CubeCount, CubeDim, LaunchArg, TensorArg},
};

use super::inputs::{CUBES, Inputs, Masks};
use crate::{
    kernels::{
        cube::{self, SUMMARY_WORDS, WIDTH},
        table::Statistic,
    },
    statistics::judged::Judged,
};

impl Inputs {
    /// The table; there are rows and columns.
    pub fn table(self) -> CubeTensor {
        // The losses of single positives take a second look at a row, by those who know it whole.
        let looks_twice = self.request.wants(Statistic::PositiveLosses);
        match self.segments > 1 && !looks_twice {
            true => self.table_of_segments(),
            false => self.table_of_rows(),
        }
    }

    /// With a cube for each row.
    fn table_of_rows(self) -> CubeTensor {
        let table = self.empty(Shape::new([self.shape[0], WIDTH]), DType::F32);
        let (address, rows, dtypes) = (self.address(), self.rows(), self.dtypes());
        let scale = self.scale();
        // SAFETY: the kernel reads `vectors` vectors of each of the `count` rows of matrices that
        // have this shape, an entry of `chosen` for each row, and writes the row of the table.
        #[allow(unsafe_code)]
        unsafe {
            cube::row_statistics::launch_unchecked(
                &table.client,
                self.cubes(1),
                CubeDim::new_1d(self.units as u32),
                address,
                self.vector,
                self.scores.into_tensor_arg(),
                self.masks.positives.into_tensor_arg(),
                optional(self.masks.candidates),
                optional(self.chosen),
                table.clone().into_tensor_arg(),
                rows,
                scale,
                f32::NAN,
                self.units,
                self.ahead,
                self.request.computes(Statistic::Negatives),
                self.request.wants(Statistic::PositiveLosses),
                dtypes,
            );
        }
        table
    }

    /// With several cubes for each row, whose parts are put together afterwards.
    fn table_of_segments(self) -> CubeTensor {
        let segments = self.segments;
        let table = self.empty(Shape::new([self.shape[0], WIDTH]), DType::F32);
        let parts = self.empty(
            Shape::new([self.shape[0] * segments, SUMMARY_WORDS]),
            DType::U32,
        );
        let (address, rows, dtypes) = (self.address(), self.rows(), self.dtypes());
        let [of_scores, of_positives, of_candidates, _] = dtypes;
        let scale = self.scale();
        let sum = self.request.computes(Statistic::Negatives);
        // SAFETY: as in `table_of_rows`; each cube writes its row of `parts`, and those of a row are
        // read by the cube that writes the row of the table.
        #[allow(unsafe_code)]
        unsafe {
            cube::segment_statistics::launch_unchecked(
                &table.client,
                self.cubes(segments),
                CubeDim::new_1d(self.units as u32),
                address,
                self.vector,
                self.scores.clone().into_tensor_arg(),
                self.masks.positives.clone().into_tensor_arg(),
                optional(self.masks.candidates.clone()),
                optional(self.chosen.clone()),
                parts.clone().into_tensor_arg(),
                self.rows(),
                self.scale(),
                self.units,
                segments,
                self.ahead,
                sum,
                dtypes,
            );
            cube::join_segments::launch_unchecked(
                &table.client,
                self.cubes(1),
                CubeDim::new_1d(segments as u32),
                address,
                self.vector,
                self.scores.into_tensor_arg(),
                self.masks.positives.into_tensor_arg(),
                optional(self.masks.candidates),
                parts.into_tensor_arg(),
                table.clone().into_tensor_arg(),
                rows,
                scale,
                f32::NAN,
                segments,
                sum,
                [of_scores, of_positives, of_candidates],
            );
        }
        table
    }

    /// The gradient of the scores, given a contiguous table and its contiguous gradient.
    pub fn gradient(self, table: CubeTensor, upstream: CubeTensor) -> CubeTensor {
        let gradient = self.empty(Shape::new(self.shape), self.scores.dtype);
        let segments = CUBES
            .div_ceil(self.shape[0])
            .min(self.vectors() / self.units)
            .max(1);
        let (address, rows, scale) = (self.address(), self.rows(), self.scale());
        let [of_scores, of_positives, of_candidates, _] = self.dtypes();
        // SAFETY: as in `table`; the gradient has the shape of the scores and no gaps.
        #[allow(unsafe_code)]
        unsafe {
            cube::row_statistics_backward::launch_unchecked(
                &gradient.client,
                self.cubes(segments),
                CubeDim::new_1d(self.units as u32),
                address.max(gradient.required_address_type()),
                self.vector,
                self.scores.into_tensor_arg(),
                self.masks.positives.into_tensor_arg(),
                optional(self.masks.candidates),
                table.into_tensor_arg(),
                upstream.into_tensor_arg(),
                gradient.clone().into_tensor_arg(),
                rows,
                segments,
                scale,
                self.ahead,
                self.chosen.is_some(),
                self.request.wants(Statistic::PositiveLosses),
                [of_scores, of_positives, of_candidates],
            );
        }
        gradient
    }

    /// At least `segments` cubes a row, in as many dimensions as it takes.
    fn cubes(&self, segments: usize) -> CubeCount {
        let count = self.shape[0] * segments;
        calculate_cube_count_elemwise(&self.scores.client, count, CubeDim::new_single())
    }

    /// A contiguous tensor of unknown values.
    fn empty(&self, shape: Shape, dtype: DType) -> CubeTensor {
        let (client, device) = (self.scores.client.clone(), self.scores.device.clone());
        empty_device_contiguous_dtype(client, device, shape, dtype)
    }
}

/// The columns of the drawn positives, given contiguous draws.
pub fn drawn_columns(draws: CubeTensor, judged: Judged<CubeBackend>) -> CubeTensor {
    let (masks, _) = Masks::new(judged);
    let [count, documents] = masks.positives.meta.shape().dims();
    let columns = empty_device_contiguous_dtype(
        draws.client.clone(),
        draws.device.clone(),
        Shape::new([count]),
        DType::U32,
    );
    if count == 0 || documents == 0 {
        return columns;
    }
    let vector = masks.widest_vector();
    let vectors = documents / vector;
    let units = masks.units(vectors);
    let (dtypes, address, rows) = (masks.dtypes(), masks.address(), masks.rows(vector));
    // SAFETY: the kernel reads `vectors` vectors of each of the `count` rows of the masks, and an entry of
    // `draws` and of `columns` for each row.
    #[allow(unsafe_code)]
    unsafe {
        cube::drawn_columns::launch_unchecked(
            &columns.client,
            calculate_cube_count_elemwise(&columns.client, count, CubeDim::new_single()),
            CubeDim::new_1d(units as u32),
            address,
            vector,
            masks.positives.into_tensor_arg(),
            optional(masks.candidates),
            draws.into_tensor_arg(),
            columns.clone().into_tensor_arg(),
            rows,
            units,
            dtypes,
        );
    }
    columns
}

fn optional<T>(tensor: Option<CubeTensor>) -> ComptimeOptionArgs<T>
where
    T: LaunchArg<RuntimeArg = TensorArg>,
{
    tensor.map(CubeTensor::into_tensor_arg).into()
}
