//! One positive for each query, the others ignored.

use std::ops::Range;

use burn::tensor::{Bool, Device, Distribution, Int, Tensor, assert_shape};

use super::{Targets, assert_device};

/// Which of its positives is the only one of a query.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    /// Its column.
    Columns(Tensor<1, Int>),
    /// Its place among the positives, as a share of [`DRAWS`]: see [`drawn`].
    Draws(Tensor<1, Int>),
}

/// Draws are numbers below this, which f32 holds exactly.
pub(crate) const DRAWS: f32 = (1 << 24) as f32;

/// The place of the drawn positive among `count`.
#[cfg(feature = "flex")]
pub(crate) fn drawn(draw: i64, count: usize) -> usize {
    // Rounding may lift the product to the count itself.
    ((draw as f32 / DRAWS * count as f32) as usize).min(count.saturating_sub(1))
}

impl Choice {
    #[cfg(any(feature = "flex", feature = "cubecl"))]
    pub fn tensor(&self) -> &Tensor<1, Int> {
        match self {
            Self::Columns(tensor) | Self::Draws(tensor) => tensor,
        }
    }

    pub fn to_device(&self, device: &Device) -> Self {
        match self {
            Self::Columns(columns) => Self::Columns(columns.clone().to_device(device)),
            Self::Draws(draws) => Self::Draws(draws.clone().to_device(device)),
        }
    }

    /// The choices of some of the queries.
    pub fn narrow(&self, queries: Range<usize>) -> Self {
        let narrow = |tensor: &Tensor<1, Int>| tensor.clone().slice([queries.clone()]);
        match self {
            Self::Columns(tensor) => Self::Columns(narrow(tensor)),
            Self::Draws(tensor) => Self::Draws(narrow(tensor)),
        }
    }

    /// The chosen column of each query, given the mask of its positives.
    pub fn columns(&self, positives: &Tensor<2, Bool>) -> Tensor<1, Int> {
        match self {
            Self::Columns(columns) => columns.clone(),
            Self::Draws(draws) => column_of_draw(draws.clone(), positives.clone()),
        }
    }
}

impl Targets {
    /// Keeps one positive of each query, every one equally likely.
    pub(crate) fn with_draw(self) -> Self {
        let [queries, _] = self.dims();
        let numbers = Distribution::Uniform(0.0, f64::from(DRAWS));
        let draws = Tensor::<1>::random([queries], numbers, &self.device());
        Self {
            choice: Some(Choice::Draws(draws.int())),
            ..self
        }
    }

    /// Keeps the positive that stands in the chosen column.
    pub(crate) fn with_chosen(self, chosen: Tensor<1, Int>) -> Self {
        let [queries, _] = self.dims();
        assert_shape!(chosen, [queries]);
        assert_device("chosen", &chosen.device(), &self.device());
        Self {
            choice: Some(Choice::Columns(chosen.without_autodiff())),
            ..self
        }
    }

    pub(crate) fn choice(&self) -> Option<&Choice> {
        self.choice.as_ref()
    }
}

fn column_of_draw(draws: Tensor<1, Int>, positives: Tensor<2, Bool>) -> Tensor<1, Int> {
    let dims @ [_, documents] = positives.dims();
    // How many positives stand at or before each column: the last entry counts them all.
    let rank = positives.int().cumsum(1);
    let count = rank.clone().narrow(1, documents - 1, 1);
    let share = draws.float().div_scalar(DRAWS).unsqueeze_dim::<2>(1);
    // Rounding may lift the product to the count itself.
    let drawn = share.mul(count.clone().float()).int();
    let drawn = drawn.min_pair(count.sub_scalar(1).clamp_min(0));
    // The columns before the drawn positive are those of a rank up to `drawn`.
    rank.lower_equal(drawn.expand(dims))
        .int()
        .sum_dim(1)
        .squeeze_dim(1)
}
