//! False negatives as another model sees them.

use std::ops::Range;

use burn::tensor::{Bool, DType, Tensor};

#[cfg(feature = "cpu")]
use crate::statistics::false_negatives;
use crate::{
    FalseNegatives, Scores, Targets, Tile, device::Processor, scores::Part,
    statistics::mask_of_false_negatives, targets::Lists,
};

impl Targets {
    /// Ignores suspected false negatives by the scores of another model, the guide. A negative
    /// is ignored if the guide scores it above a bound. The [rule](FalseNegatives) computes
    /// this bound from the guide's scores of the query's positives.
    ///
    /// The guide's scores are a matrix, [`Embeddings`](crate::Embeddings) or
    /// [`Shards`](crate::Shards). The embeddings may have other dimensions than yours. The
    /// scores are constants. They are read in this call and not kept. Embeddings are
    /// multiplied for some queries at a time. On Burn's CPU backends targets that are lists
    /// (from ids or groups) get lists of the ignored documents, 8 bytes for each. Otherwise
    /// the ignored pairs become a mask of candidates.
    ///
    /// The bound is computed from the positives that the targets have at the time of the call,
    /// so set candidates, weights and choices first. A pair is ignored in
    /// [both directions](Self::transpose).
    ///
    /// The filter of a loss itself, such as
    /// [`LsePairLossConfig::with_false_negatives`](crate::LsePairLossConfig), decides by the
    /// scores that are trained. Both filters may be used together.
    ///
    /// # Shapes
    ///
    /// - `guide`: `[queries, documents]`, as the targets
    ///
    /// # Panics
    ///
    /// - If the guide's scores have another shape than the targets.
    /// - If a matrix or embeddings are on another device than the targets.
    /// - If shards differ from each other in dimensions or type.
    /// - If the margin is not finite.
    ///
    /// # Source
    ///
    /// GISTEmbed (arXiv 2402.16829), for one positive.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_multi_positive::{FalseNegatives, LsePairLossConfig, PositiveThreshold, Targets};
    ///
    /// let device = Device::default();
    /// let positives = Tensor::from_bool([[true, false, false]], &device);
    /// // The guide finds the second document more relevant than the positive.
    /// let guide = Tensor::<2>::from_floats([[0.7, 0.8, 0.1]], &device);
    /// let rule = FalseNegatives::new(PositiveThreshold::Weakest);
    /// let targets = Targets::new(positives).without_false_negatives(guide, rule);
    ///
    /// let scores = Tensor::<2>::from_floats([[1.0, 9.0, 1.0]], &device);
    /// let loss = LsePairLossConfig::new().init().forward(scores, targets);
    /// assert!((loss.into_scalar::<f32>() - 2f32.ln()).abs() < 1e-6);
    /// ```
    #[doc(alias = "GIST")]
    #[must_use]
    pub fn without_false_negatives(self, guide: impl Into<Scores>, rule: FalseNegatives) -> Self {
        rule.assert_finite("without_false_negatives");
        let guide = guide.into();
        let [got, expected] = [guide.dims(), self.dims()];
        assert!(
            got == expected,
            "without_false_negatives: expected a guide of [queries, documents] = {expected:?} as \
             the targets have, got {got:?}"
        );
        guide.assert_fit(&self);
        let [queries, documents] = self.dims();
        if queries == 0 || documents == 0 {
            return self;
        }
        let device = self.device();
        if !Processor::of(&device).reads_lists() {
            let masks = guide.into_parts().flat_map(|(part, rows)| {
                let targets = self.queries(rows);
                let masks = masks(&part, &targets, rule).collect::<Vec<_>>();
                masks
                    .into_iter()
                    .map(|mask| Tensor::from_data(mask.into_data(), &device))
            });
            let suspects = Tensor::cat(masks.collect(), 0);
            return self.with_candidates(suspects.bool_not());
        }
        let lists = guide.into_parts().flat_map(|(part, rows)| {
            let targets = self.queries(rows);
            listed(&part, &targets, rule)
                .unwrap_or_else(|| masks(&part, &targets, rule).flat_map(columns).collect())
        });
        let suspects = lists.collect();
        match self.lists() {
            Some(lists) => {
                let lists = lists.with_ignored(suspects);
                self.with_lists(lists)
            }
            None => {
                let mask = Lists::mask_of(&suspects, self.dims(), &device);
                self.with_candidates(mask.bool_not())
            }
        }
    }
}

/// The negatives of a part that are not believed, as lists, if it lies where these come from.
fn listed(part: &Part, targets: &Targets, rule: FalseNegatives) -> Option<Vec<Vec<usize>>> {
    #[cfg(feature = "cpu")]
    {
        let targets = targets.clone().to_device(&part.device());
        false_negatives::listed(part, &targets, rule)
    }
    #[cfg(not(feature = "cpu"))]
    {
        let _ = (part, targets, rule);
        None
    }
}

/// The same as masks, some queries at a time.
fn masks(
    part: &Part,
    targets: &Targets,
    rule: FalseNegatives,
) -> impl Iterator<Item = Tensor<2, Bool>> {
    let [_, documents] = targets.dims();
    portions(part, documents).map(move |rows| {
        let targets = targets.queries(rows.clone()).to_device(&part.device());
        mask_of_false_negatives(scores(part, rows), &targets, rule)
    })
}

/// For each row of a mask the columns that are true.
fn columns(mask: Tensor<2, Bool>) -> Vec<Vec<usize>> {
    let [_, width] = mask.dims();
    let entries: Vec<bool> = mask.into_data().iter().collect();
    let row = |row: &[bool]| {
        let columns = row.iter().enumerate().filter(|(_, entry)| **entry);
        let mut columns: Vec<_> = columns.map(|(column, _)| column).collect();
        columns.shrink_to_fit();
        columns
    };
    entries.chunks_exact(width).map(row).collect()
}

/// The queries of a part, some at a time: as many as a tile has scores for.
fn portions(part: &Part, documents: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let queries = part.queries();
    let given = match part {
        Part::Matrix(_) => None,
        Part::Embeddings(embeddings) => embeddings.tile,
    };
    // The rule is a composition of operations, each with an output of its own.
    let tile = given.unwrap_or_else(|| Tile::of(Processor::Other, [queries, documents]));
    let step = (tile.queries.saturating_mul(tile.documents) / documents).max(1);
    let portion = move |start| start..queries.min(start + step);
    (0..queries).step_by(step).map(portion)
}

/// The scores of some queries, without autodiff.
fn scores(part: &Part, rows: Range<usize>) -> Tensor<2> {
    let some = |x: &Tensor<2>| {
        let x = x.clone().without_autodiff();
        x.narrow(0, rows.start, rows.len())
    };
    match part {
        Part::Matrix(scores) => some(scores),
        Part::Embeddings(embeddings) => {
            let documents = embeddings.documents.clone().without_autodiff();
            let [queries, documents] = [some(&embeddings.queries), documents].map(|x| {
                let processor = Processor::of(&x.device());
                match processor.has_fast_products(x.dtype()) {
                    true => x,
                    false => x.cast(DType::F32),
                }
            });
            queries.matmul(documents.transpose())
        }
    }
}
