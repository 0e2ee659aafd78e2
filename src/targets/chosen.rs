//! One positive for each query, the others ignored.

use std::ops::Range;

use burn::tensor::{DType, Device, Distribution, Int, IntDType, Tensor, assert_shape};

use super::{Targets, assert_device};
use crate::kernels::draw::DRAWS;

/// Which of its positives is the only one of a query.
#[derive(Clone, Debug)]
pub(crate) enum Chosen {
    /// The one in this column.
    Columns(Tensor<1, Int>),
    /// The one that a [draw](crate::kernels::draw) names.
    Draws(Tensor<1>),
}

impl Chosen {
    pub fn to_device(&self, device: &Device) -> Self {
        match self {
            Self::Columns(columns) => Self::Columns(columns.clone().to_device(device)),
            Self::Draws(draws) => Self::Draws(draws.clone().to_device(device)),
        }
    }

    /// Those of some of the queries.
    pub fn queries(&self, range: Range<usize>) -> Self {
        match self {
            Self::Columns(columns) => Self::Columns(columns.clone().slice([range])),
            Self::Draws(draws) => Self::Draws(draws.clone().slice([range])),
        }
    }
}

impl Targets {
    /// Keeps one positive of each query, the one in the chosen column. The other positives of
    /// the query leave its candidate set, for every objective.
    ///
    /// The entry of a query without a positive is not read. If a column is out of range, or
    /// not a positive candidate of its query, the loss of that query is NaN. If this is called
    /// twice, the last choice counts.
    ///
    /// # Shapes
    ///
    /// - `columns`: `[queries]`, the column of each query's positive
    ///
    /// # Panics
    ///
    /// If there are not as many columns as queries, or if they are on another device than the
    /// targets.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_multi_positive::{LsePairLossConfig, Targets};
    ///
    /// let device = Device::default();
    /// let scores = Tensor::<2>::from_floats([[3.0, 1.0, 1.0]], &device);
    /// let positives = Tensor::from_bool([[true, true, false]], &device);
    /// let targets = Targets::new(positives).with_chosen(Tensor::from_ints([1], &device));
    ///
    /// let loss = LsePairLossConfig::new().init().forward(scores, targets);
    /// assert!((loss.into_scalar::<f32>() - 2f32.ln()).abs() < 1e-6);
    /// ```
    #[must_use]
    pub fn with_chosen(self, columns: Tensor<1, Int>) -> Self {
        let [queries, _] = self.dims();
        let chosen = columns;
        assert_shape!(chosen, [queries]);
        assert_device("chosen", &chosen.device(), &self.device());
        let chosen = chosen.without_autodiff();
        // A short type may not hold the number of a column that it is compared with, and
        // Burn's fusion panics as it counts in a type without a sign.
        let chosen = match chosen.dtype() {
            DType::I32 | DType::I64 => chosen,
            DType::U64 => chosen.cast(IntDType::I64),
            _ => chosen.cast(IntDType::I32),
        };
        Self {
            chosen: Some(Chosen::Columns(chosen)),
            ..self
        }
    }

    /// Keeps one positive of each query, every one equally likely; a choice that was made stays.
    pub(crate) fn with_draw(self) -> Self {
        if self.chosen.is_some() {
            return self;
        }
        let [queries, _] = self.dims();
        let numbers = Distribution::Uniform(0.0, f64::from(DRAWS));
        let draws = Tensor::random([queries], numbers, (&self.device(), DType::F32));
        Self {
            chosen: Some(Chosen::Draws(draws)),
            ..self
        }
    }

    pub(crate) fn chosen(&self) -> Option<&Chosen> {
        self.chosen.as_ref()
    }
}
