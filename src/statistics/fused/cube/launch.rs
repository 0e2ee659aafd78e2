//! The launches of the kernels.

use burn::tensor::{DType, Shape};
use burn_cubecl::{CubeBackend, ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor};
use cubecl::{
    calculate_cube_count_elemwise,
    prelude::{CubeCount, CubeDim},
};

use super::inputs::{CUBES, Inputs, Pairs, scale};
use crate::{
    kernels::{
        ceiling::FalseNegatives,
        cube::{self, WIDTH, summary_words},
        table::{Request, Statistic},
    },
    statistics::{judged::Judged, operations::ceilings_shape},
};

impl Inputs {
    /// The table; there are rows and columns.
    pub fn table(self, request: Request) -> CubeTensor {
        // The losses of single positives take a second look at a row, by those who know it whole.
        let looks_twice = request.wants(Statistic::PositiveLosses);
        match self.segments > 1 && !looks_twice {
            true => self.table_of_segments(request),
            false => self.table_of_rows(request),
        }
    }

    /// With a cube for each row.
    fn table_of_rows(self, request: Request) -> CubeTensor {
        let table = self.empty(Shape::new([self.shape[0], WIDTH]), DType::F32);
        // SAFETY: the kernel reads `vectors` vectors of each of the `count` rows of matrices that
        // have this shape, an entry of `ceilings` and of `chosen` for each row, and writes
        // the row of the table.
        #[allow(unsafe_code)]
        unsafe {
            cube::row_statistics::launch_unchecked(
                &table.client,
                self.cubes(1),
                CubeDim::new_1d(self.units as u32),
                self.address(),
                self.vector,
                self.launch(request.curve()),
                table.clone().into_tensor_arg(),
                scale(request),
                f32::NAN,
                self.units,
                self.ahead,
                self.asked(request),
                self.dtypes(),
            );
        }
        table
    }

    /// With several cubes for each row, whose parts are put together afterwards.
    fn table_of_segments(self, request: Request) -> CubeTensor {
        let segments = self.segments;
        let asked = self.asked(request);
        let table = self.empty(Shape::new([self.shape[0], WIDTH]), DType::F32);
        let parts = self.empty(
            Shape::new([self.shape[0] * segments, summary_words(asked)]),
            DType::U32,
        );
        // SAFETY: as in `table_of_rows`; each cube writes its row of `parts`, and those of a row are
        // read by the cube that writes the row of the table.
        #[allow(unsafe_code)]
        unsafe {
            cube::segment_statistics::launch_unchecked(
                &table.client,
                self.cubes(segments),
                CubeDim::new_1d(self.units as u32),
                self.address(),
                self.vector,
                self.launch(request.curve()),
                parts.clone().into_tensor_arg(),
                scale(request),
                self.units,
                segments,
                self.ahead,
                asked,
                self.dtypes(),
            );
            cube::join_segments::launch_unchecked(
                &table.client,
                self.cubes(1),
                CubeDim::new_1d(segments as u32),
                self.address(),
                self.vector,
                self.launch(request.curve()),
                parts.into_tensor_arg(),
                table.clone().into_tensor_arg(),
                scale(request),
                f32::NAN,
                segments,
                asked,
                self.dtypes(),
            );
        }
        table
    }

    /// The gradient of the scores, given a contiguous table and its contiguous gradient.
    pub fn gradient(self, table: CubeTensor, upstream: CubeTensor, request: Request) -> CubeTensor {
        let gradient = self.empty(Shape::new(self.shape), self.scores.dtype);
        let segments = CUBES
            .div_ceil(self.shape[0])
            .min(self.vectors() / self.units)
            .max(1);
        // SAFETY: as in `table`; the gradient has the shape of the scores and no gaps.
        #[allow(unsafe_code)]
        unsafe {
            cube::row_statistics_backward::launch_unchecked(
                &gradient.client,
                self.cubes(segments),
                CubeDim::new_1d(self.units as u32),
                self.address().max(gradient.required_address_type()),
                self.vector,
                self.launch(request.curve()),
                table.into_tensor_arg(),
                upstream.into_tensor_arg(),
                gradient.clone().into_tensor_arg(),
                segments,
                scale(request),
                self.ahead,
                self.chosen.is_some(),
                request.wants(Statistic::PositiveLosses),
                request.wants(Statistic::BinaryLosses),
                self.dtypes(),
            );
        }
        gradient
    }

    /// The ceilings of the negatives.
    pub fn ceilings(self, rule: FalseNegatives) -> CubeTensor {
        let ceilings = self.empty(ceilings_shape(self.scores.meta.shape()), DType::F32);
        // SAFETY: as in `table_of_rows`, and the kernel writes the entry of each row.
        #[allow(unsafe_code)]
        unsafe {
            cube::row_ceilings::launch_unchecked(
                &ceilings.client,
                self.cubes(1),
                CubeDim::new_1d(self.units as u32),
                self.address(),
                self.vector,
                self.launch(None),
                ceilings.clone().into_tensor_arg(),
                rule.margin as f32,
                f32::INFINITY,
                rule.threshold,
                rule.relative,
                self.units,
                self.dtypes(),
            );
        }
        ceilings
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
    let pairs = Pairs::new(judged.relevance, judged.candidates, judged.weights);
    let [count, documents] = pairs.shape();
    let columns = empty_device_contiguous_dtype(
        draws.client.clone(),
        draws.device.clone(),
        Shape::new([count]),
        DType::U32,
    );
    if count == 0 || documents == 0 {
        return columns;
    }
    let vector = pairs.widest_vector();
    let vectors = documents / vector;
    let units = pairs.units(vectors);
    let (dtypes, address) = (pairs.dtypes(), pairs.address());
    // SAFETY: the kernel reads `vectors` vectors of each of the `count` rows of the matrices, and
    // an entry of `draws` and of `columns` for each row.
    #[allow(unsafe_code)]
    unsafe {
        cube::drawn_columns::launch_unchecked(
            &columns.client,
            calculate_cube_count_elemwise(&columns.client, count, CubeDim::new_single()),
            CubeDim::new_1d(units as u32),
            address,
            vector,
            pairs.launch(vector),
            draws.into_tensor_arg(),
            columns.clone().into_tensor_arg(),
            units,
            dtypes,
        );
    }
    columns
}
