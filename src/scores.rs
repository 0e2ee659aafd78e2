//! What is scored: a matrix, embeddings, or embeddings on several devices.

use std::ops::Range;

use burn::tensor::{DType, Device, Tensor, assert_shape};

use crate::{Targets, Tile, targets::assert_device};

/// The scores of a batch: a matrix, embeddings, or embeddings on several devices.
///
/// A matrix `[queries, documents]`, [`Embeddings`] and [`Shards`] convert into it, so every
/// `forward` of a loss takes any of them.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_multi_positive::{Embeddings, Scores};
///
/// let device = Device::default();
/// let queries = Tensor::<2>::zeros([3, 16], &device);
/// let documents = Tensor::<2>::zeros([6, 16], &device);
/// let embeddings = Embeddings::new(queries.clone(), documents.clone());
///
/// // The same scores: computed tile by tile, and as a matrix.
/// let tiles: Scores = embeddings.into();
/// let matrix: Scores = queries.matmul(documents.transpose()).into();
/// ```
#[derive(Clone, Debug)]
pub struct Scores {
    source: Source,
    /// What they are multiplied by, `[1]`.
    scale: Option<Tensor<1>>,
    /// What is added after that, `[1]`.
    bias: Option<Tensor<1>>,
}

// There is one for each batch: what its variants differ in size does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
enum Source {
    Matrix(Tensor<2>),
    Embeddings(Embeddings),
    Shards(Shards),
}

impl From<Source> for Scores {
    fn from(source: Source) -> Self {
        Self {
            source,
            scale: None,
            bias: None,
        }
    }
}

impl From<Tensor<2>> for Scores {
    fn from(scores: Tensor<2>) -> Self {
        Source::Matrix(scores).into()
    }
}

impl From<Embeddings> for Scores {
    fn from(embeddings: Embeddings) -> Self {
        Source::Embeddings(embeddings).into()
    }
}

impl From<Shards> for Scores {
    fn from(shards: Shards) -> Self {
        Source::Shards(shards).into()
    }
}

/// Embeddings whose dot products are the scores.
///
/// The scores are computed tile by tile and never held together: memory grows with queries and
/// documents, not with their product. [`Targets`] from labels, ids and groups need no matrix
/// either. A mask of your own is a matrix of the size of the scores.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_multi_positive::{Embeddings, LsePairLossConfig, Targets};
///
/// let device = Device::default();
/// let random = |rows: usize| Tensor::<2>::random([rows, 16], Distribution::Default, &device);
/// let targets = Targets::from_groups(&[1, 2, 1], 2, &device)?;
///
/// // At most 64 queries against 512 documents at a time.
/// let embeddings = Embeddings::new(random(3), random(6)).with_tile([64, 512]);
/// let losses = LsePairLossConfig::new().init().forward_no_reduction(embeddings, targets);
/// assert_eq!(losses.dims(), [3]);
/// # Ok::<(), burn_multi_positive::TargetsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Embeddings {
    pub(crate) queries: Tensor<2>,
    pub(crate) documents: Tensor<2>,
    pub(crate) tile: Option<Tile>,
}

impl Embeddings {
    /// Embeddings of queries and documents on one device.
    ///
    /// # Shapes
    ///
    /// - `queries`: `[queries, dimensions]`
    /// - `documents`: `[documents, dimensions]`
    ///
    /// # Panics
    ///
    /// If the embeddings differ in dimensions, type or device.
    pub fn new(queries: Tensor<2>, documents: Tensor<2>) -> Self {
        let [_, dimensions] = queries.dims();
        assert_shape!(documents, [_, dimensions]);
        assert_device("documents", &documents.device(), &queries.device());
        assert!(
            documents.dtype() == queries.dtype(),
            "documents: expected embeddings in {:?} as the queries have, got {:?}",
            queries.dtype(),
            documents.dtype()
        );
        Self {
            queries,
            documents,
            tile: None,
        }
    }

    /// Documents as queries.
    pub(crate) fn transpose(self) -> Self {
        Self {
            queries: self.documents,
            documents: self.queries,
            tile: self.tile.map(Tile::transpose),
        }
    }

    /// The first dimensions, normalized anew if wanted.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub(crate) fn leading(self, dimensions: usize, normalize: bool) -> Self {
        if [&self.queries, &self.documents]
            .map(|x| x.dims()[0])
            .contains(&0)
        {
            // A slice of nothing leaves the graph, and there is no score.
            self.assert_have(dimensions);
            return self;
        }
        Self {
            queries: leading(&self.queries, dimensions, normalize),
            documents: leading(&self.documents, dimensions, normalize),
            tile: self.tile,
        }
    }

    /// Panics unless there are so many dimensions.
    pub(crate) fn assert_have(&self, dimensions: usize) {
        assert_has(&self.queries, dimensions);
    }

    /// Sets the [`Tile`] of scores that is held at a time: a number for a square tile, or a
    /// pair of queries and documents. It is a bound on memory, and changes results by rounding
    /// only. By default the tile is chosen for the shapes and the device.
    ///
    /// # Panics
    ///
    /// If the tile is empty.
    #[must_use]
    pub fn with_tile(self, tile: impl Into<Tile>) -> Self {
        Self {
            tile: Some(tile.into().not_empty()),
            ..self
        }
    }
}

/// Embeddings on several devices: every query is scored against the documents of all devices.
///
/// The documents of all devices are copied to each device that has queries. This device
/// computes the losses of its own queries, tile by tile. Only these losses, one number per
/// query, are collected on the device of the first queries, and reduced there. Loss and
/// gradients are those of [`Embeddings`] on one device, up to rounding. The mean is over the
/// queries of all devices that have a positive, so do not multiply it by the number of
/// devices.
///
/// The copies (`Tensor::to_device`) are differentiable: the gradients of documents are copied
/// back to the device that embedded them, and are summed there. The devices may belong to
/// different backends.
///
/// The targets are those of the whole batch, as if the shards were concatenated in their
/// order, so there are no offsets to compute. The targets may be on any device. Shards may
/// differ in size, and may be empty. An empty shard gets no gradient. A device may have
/// several shards of a side, or none. Rand1LH draws on the device of the targets.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_multi_positive::{LsePairLossConfig, Shards, Targets};
///
/// // In your program: `Device::cuda(0)`, `Device::cuda(1)`.
/// let devices = [Device::default().autodiff(), Device::default().autodiff()];
/// let embeddings = |rows: usize| {
///     let shard = |device| Tensor::<2>::random([rows, 8], Distribution::Default, device);
///     devices.each_ref().map(|device| shard(device).require_grad())
/// };
/// let (queries, documents) = (embeddings(2), embeddings(4));
/// let targets = Targets::from_groups(&[1; 4], 2, &devices[0])?;
///
/// let loss_fn = LsePairLossConfig::new().with_temperature(0.05).init();
/// let shards = Shards::new(queries.to_vec(), documents.to_vec());
/// let gradients = loss_fn.forward(shards, targets).backward();
/// assert_eq!(documents[1].grad(&gradients).unwrap().dims(), [4, 8]);
/// # Ok::<(), burn_multi_positive::TargetsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Shards {
    queries: Vec<Tensor<2>>,
    documents: Vec<Tensor<2>>,
    tile: Option<Tile>,
}

impl Shards {
    /// The shards of the queries and those of the documents, each in the order of the batch.
    ///
    /// # Shapes
    ///
    /// - `queries`: each `[queries of the shard, dimensions]`
    /// - `documents`: each `[documents of the shard, dimensions]`
    ///
    /// # Panics
    ///
    /// If a side has no shards. Shards that differ in dimensions or type panic later, in
    /// `forward`.
    pub fn new(queries: Vec<Tensor<2>>, documents: Vec<Tensor<2>>) -> Self {
        for (side, shards) in [("queries", &queries), ("documents", &documents)] {
            assert!(!shards.is_empty(), "{side}: expected shards, got none");
        }
        Self {
            queries,
            documents,
            tile: None,
        }
    }

    /// Sets the [`Tile`] of scores that each device holds at a time, see
    /// [`Embeddings::with_tile`].
    ///
    /// # Panics
    ///
    /// If the tile is empty.
    #[must_use]
    pub fn with_tile(self, tile: impl Into<Tile>) -> Self {
        Self {
            tile: Some(tile.into().not_empty()),
            ..self
        }
    }

    /// Panics unless all shards have the dimensions and the type of the first queries.
    fn assert_alike(&self) {
        let form = |shard: &Tensor<2>| (shard.dims()[1], shard.dtype());
        let expected = form(&self.queries[0]);
        for (side, shards) in [("queries", &self.queries), ("documents", &self.documents)] {
            for (index, got) in shards.iter().map(form).enumerate() {
                assert!(
                    got == expected,
                    "{side}[{index}]: expected {} dimensions in {:?} as queries[0] has, got {} in {:?}",
                    expected.0,
                    expected.1,
                    got.0,
                    got.1
                );
            }
        }
    }

    fn dims(&self) -> [usize; 2] {
        [&self.queries, &self.documents]
            .map(|shards| shards.iter().map(|shard| shard.dims()[0]).sum())
    }

    /// The queries of each shard, against the documents of all.
    fn into_parts(mut self) -> Vec<Part> {
        if self.dims()[0] > 0 {
            self.queries.retain(|shard| shard.dims()[0] > 0);
        }
        let documents = &self.documents;
        let part = |queries: Tensor<2>| {
            let documents = gather(documents, &queries.device());
            let mut embeddings = Embeddings::new(queries, documents);
            embeddings.tile = self.tile;
            Part::Embeddings(embeddings)
        };
        self.queries.into_iter().map(part).collect()
    }
}

/// The rows of all shards, on one device.
fn gather(shards: &[Tensor<2>], device: &Device) -> Tensor<2> {
    let shards = shards.iter().map(|shard| shard.clone().to_device(device));
    Tensor::cat(shards.collect(), 0)
}

/// Scores of some queries, on one device.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Part {
    Matrix(Tensor<2>),
    Embeddings(Embeddings),
}

impl Part {
    pub fn queries(&self) -> usize {
        match self {
            Self::Matrix(scores) => scores.dims()[0],
            Self::Embeddings(embeddings) => embeddings.queries.dims()[0],
        }
    }

    pub fn device(&self) -> Device {
        match self {
            Self::Matrix(scores) => scores.device(),
            Self::Embeddings(embeddings) => embeddings.queries.device(),
        }
    }
}

impl Source {
    /// The number of queries and of documents.
    fn dims(&self) -> [usize; 2] {
        match self {
            Self::Matrix(scores) => scores.dims(),
            Self::Embeddings(Embeddings {
                queries, documents, ..
            }) => [queries.dims()[0], documents.dims()[0]],
            Self::Shards(shards) => shards.dims(),
        }
    }

    /// Another matrix, or other embeddings, queries and documents.
    fn map(
        self,
        of_scores: impl Fn(&Tensor<2>) -> Tensor<2>,
        of_queries: impl Fn(&Tensor<2>) -> Tensor<2>,
        of_documents: impl Fn(&Tensor<2>) -> Tensor<2>,
    ) -> Self {
        match self {
            Self::Matrix(scores) => Self::Matrix(of_scores(&scores)),
            Self::Embeddings(embeddings) => Self::Embeddings(Embeddings {
                queries: of_queries(&embeddings.queries),
                documents: of_documents(&embeddings.documents),
                ..embeddings
            }),
            Self::Shards(shards) => Self::Shards(Shards {
                queries: shards.queries.iter().map(of_queries).collect(),
                documents: shards.documents.iter().map(of_documents).collect(),
                ..shards
            }),
        }
    }

    /// The scores times a number, `[1]`; differentiable.
    fn scaled(self, scale: &Tensor<1>) -> Self {
        let by = |x: &Tensor<2>| scaled(x, scale);
        // Of half precision the product would lose digits, and documents have the type of
        // queries.
        self.map(by, by, widened)
    }

    /// The scores plus a number, `[1]`; differentiable.
    fn shifted(self, bias: &Tensor<1>) -> Self {
        let by = |x: &Tensor<2>| shifted(x, bias);
        if self.dims().contains(&0) {
            // There is no score: what is added to hangs on the graph, and does nothing.
            let each = |x: &Tensor<2>| by(x).cast(x.dtype());
            return self.map(by, each, each);
        }
        // A product has it from dimensions in which all queries are 1.
        let of_queries = |x: &Tensor<2>| {
            let x = widened(x);
            let ones = summands(bias, &x).into_iter();
            with_dimensions(&x, ones.map(|x| x.detach().ones_like()).collect())
        };
        let of_documents = |x: &Tensor<2>| {
            let x = widened(x);
            with_dimensions(&x, summands(bias, &x))
        };
        self.map(by, of_queries, of_documents)
    }
}

impl Scores {
    /// The scores times a number, `[1]`; differentiable.
    pub(crate) fn scaled(self, scale: Tensor<1>) -> Self {
        let scale_of_all = match self.scale {
            Some(already) => already.mul(scale.clone()),
            None => scale.clone(),
        };
        Self {
            scale: Some(scale_of_all),
            bias: self.bias.map(|bias| bias.mul(scale)),
            ..self
        }
    }

    /// The scores plus a number, `[1]`; differentiable.
    pub(crate) fn shifted(self, bias: Tensor<1>) -> Self {
        let bias = match self.bias {
            Some(already) => already.add(bias),
            None => bias,
        };
        Self {
            bias: Some(bias),
            ..self
        }
    }

    /// The scores of the documents over the queries.
    pub(crate) fn transpose(self) -> Self {
        let source = match self.source {
            Source::Matrix(scores) => Source::Matrix(scores.transpose()),
            Source::Embeddings(embeddings) => Source::Embeddings(embeddings.transpose()),
            Source::Shards(shards) => Source::Shards(Shards {
                queries: shards.documents,
                documents: shards.queries,
                tile: shards.tile.map(Tile::transpose),
            }),
        };
        Self { source, ..self }
    }

    /// The queries are documents as well, behind the others.
    ///
    /// # Panics
    ///
    /// If the scores are a matrix.
    pub(crate) fn with_same_side(self) -> Self {
        let source = match self.source {
            Source::Matrix(_) => panic!(
                "with_same_side: expected embeddings, which queries are scored against queries \
                 from, got a matrix of scores"
            ),
            Source::Embeddings(embeddings) => Source::Embeddings(Embeddings {
                documents: Tensor::cat(vec![embeddings.documents, embeddings.queries.clone()], 0),
                ..embeddings
            }),
            Source::Shards(shards) => Source::Shards(Shards {
                documents: [shards.documents, shards.queries.clone()].concat(),
                ..shards
            }),
        };
        Self { source, ..self }
    }

    /// The scores of the first dimensions of embeddings, which are normalized anew if wanted.
    ///
    /// # Panics
    ///
    /// If the scores are a matrix, or embeddings have fewer dimensions.
    pub(crate) fn leading(self, dimensions: usize, normalize: bool) -> Self {
        let leading = |x: &Tensor<2>| leading(x, dimensions, normalize);
        let source = match self.source {
            Source::Matrix(_) => {
                panic!("Matryoshka: expected embeddings, got a matrix of scores")
            }
            Source::Embeddings(embeddings) => {
                Source::Embeddings(embeddings.leading(dimensions, normalize))
            }
            // A slice of nothing leaves the graph, and there is no score.
            Source::Shards(shards) if shards.dims().contains(&0) => Source::Shards(shards),
            Source::Shards(shards) => Source::Shards(Shards {
                queries: shards.queries.iter().map(leading).collect(),
                documents: shards.documents.iter().map(leading).collect(),
                ..shards
            }),
        };
        Self { source, ..self }
    }

    /// The embeddings of queries and then documents, whose products have the scores among them,
    /// if these come from those of one device and nothing is added.
    pub(crate) fn both_sides(&self) -> Option<Embeddings> {
        let Self {
            source:
                Source::Embeddings(Embeddings {
                    queries,
                    documents,
                    tile,
                }),
            bias: None,
            ..
        } = self
        else {
            return None;
        };
        let both = Tensor::cat(vec![queries.clone(), documents.clone()], 0);
        let queries = match &self.scale {
            // Half of it on either side.
            Some(scale) => {
                let wide = widened(&both);
                let root = beside(scale, &wide).sqrt();
                wide.mul(root)
            }
            None => both,
        };
        Some(Embeddings {
            documents: queries.clone(),
            queries,
            tile: *tile,
        })
    }

    /// The embeddings, if the scores are the products of those of one device.
    pub(crate) fn unscaled_embeddings(&self) -> Option<Embeddings> {
        match self {
            Self {
                source: Source::Embeddings(embeddings),
                scale: None,
                bias: None,
            } => Some(embeddings.clone()),
            _ => None,
        }
    }

    /// Whether [both sides](Scores::both_sides) have the scores among their products.
    pub(crate) fn have_both_sides(&self) -> bool {
        self.are_embeddings() && self.bias.is_none()
    }

    /// Whether they come from the embeddings of one device.
    pub(crate) fn are_embeddings(&self) -> bool {
        matches!(self.source, Source::Embeddings(_))
    }

    /// The embeddings, if the scores come from those of one device.
    pub(crate) fn embeddings(self) -> Option<Embeddings> {
        if !self.are_embeddings() {
            return None;
        }
        match self.into_source() {
            Source::Embeddings(embeddings) => Some(embeddings),
            _ => None,
        }
    }

    fn into_source(self) -> Source {
        let source = match &self.scale {
            Some(scale) => self.source.scaled(scale),
            None => self.source,
        };
        match &self.bias {
            Some(bias) => source.shifted(bias),
            None => source,
        }
    }

    /// The device that losses are brought together on.
    pub(crate) fn device(&self) -> Device {
        match &self.source {
            Source::Matrix(scores) => scores.device(),
            Source::Embeddings(embeddings) => embeddings.queries.device(),
            Source::Shards(shards) => shards.queries[0].device(),
        }
    }

    /// The number of queries and of documents.
    pub(crate) fn dims(&self) -> [usize; 2] {
        self.source.dims()
    }

    /// Panics unless the targets are those of these scores.
    pub(crate) fn assert_fit(&self, targets: &Targets) {
        let counts = self.dims();
        match &self.source {
            // They may be on any device.
            Source::Shards(shards) => {
                shards.assert_alike();
                assert!(
                    targets.dims() == counts,
                    "targets: expected [queries, documents] = {counts:?} as the shards have, got {:?}",
                    targets.dims()
                );
            }
            _ => targets.assert_fit(counts, &self.device()),
        }
    }

    /// The scores in parts of one device each, with the queries that each has.
    pub(crate) fn into_parts(self) -> impl Iterator<Item = (Part, Range<usize>)> {
        let parts = match self.into_source() {
            Source::Matrix(scores) => vec![Part::Matrix(scores)],
            Source::Embeddings(embeddings) => vec![Part::Embeddings(embeddings)],
            Source::Shards(shards) => shards.into_parts(),
        };
        parts.into_iter().scan(0, |first, part| {
            let rows = *first..*first + part.queries();
            *first = rows.end;
            Some((part, rows))
        })
    }
}

/// A matrix in no less than f32.
fn widened(x: &Tensor<2>) -> Tensor<2> {
    match x.dtype() {
        DType::F64 => x.clone(),
        _ => x.clone().cast(DType::F32),
    }
}

/// A number on the device and in the type of a matrix, `[1, 1]`.
fn beside(number: &Tensor<1>, x: &Tensor<2>) -> Tensor<2> {
    let number = number.clone().to_device(&x.device());
    number.unsqueeze::<2>().cast(x.dtype())
}

/// A matrix times a number, in no less than f32.
fn scaled(x: &Tensor<2>, scale: &Tensor<1>) -> Tensor<2> {
    let x = widened(x);
    let scale = beside(scale, &x);
    // NaN and infinities stay what they are, and have no part in the slope of the number: times
    // the gradient 0 of a score that nobody reads they would make it NaN.
    let endless = x.clone().is_finite().bool_not();
    let finite = x.clone().mask_fill(endless.clone(), 0.0);
    finite.mul(scale).mask_where(endless, x)
}

/// A matrix plus a number, in no less than f32.
fn shifted(x: &Tensor<2>, bias: &Tensor<1>) -> Tensor<2> {
    let x = widened(x);
    let bias = beside(bias, &x);
    x.add(bias)
}

/// Two numbers whose sum a number is, in the type and on the device of embeddings: `[1, 1]` each.
/// The first has few digits, so that products which round what they multiply lose none of them.
fn summands(number: &Tensor<1>, embeddings: &Tensor<2>) -> Vec<Tensor<2>> {
    let number = beside(number, embeddings);
    let constant = number.clone().detach();
    // Dekker's splitting: eight digits of f32.
    let large = constant.clone().mul_scalar(65537.0);
    let first = large.clone() - (large - constant.clone());
    let second = constant.clone() - first.clone();
    // The gradient reaches the number once.
    vec![number + (first - constant), second]
}

/// Embeddings with more dimensions, each of one value for all rows.
fn with_dimensions(embeddings: &Tensor<2>, values: Vec<Tensor<2>>) -> Tensor<2> {
    let [rows, dimensions] = embeddings.dims();
    if rows == 0 {
        let options = (&embeddings.device(), embeddings.dtype());
        return Tensor::zeros([0, dimensions + values.len()], options);
    }
    let columns = values.into_iter().map(|value| value.expand([rows, 1]));
    let all = std::iter::once(embeddings.clone()).chain(columns);
    Tensor::cat(all.collect(), 1)
}

/// The first dimensions of embeddings, normalized anew if wanted.
fn leading(embeddings: &Tensor<2>, dimensions: usize, normalize: bool) -> Tensor<2> {
    assert_has(embeddings, dimensions);
    let [rows, _] = embeddings.dims();
    let leading = embeddings.clone().slice([0..rows, 0..dimensions]);
    match normalize && rows > 0 {
        true => normalized(leading),
        false => leading,
    }
}

fn assert_has(embeddings: &Tensor<2>, dimensions: usize) {
    let [_, all] = embeddings.dims();
    assert!(
        dimensions <= all,
        "Matryoshka: expected embeddings of at least {dimensions} dimensions, got {all}"
    );
}

/// Rows of length 1, in the type of the embeddings. Zeros stay zeros, and a row without a finite
/// length is NaN; neither gets a gradient.
pub(crate) fn normalized(embeddings: Tensor<2>) -> Tensor<2> {
    let (dims, dtype) = (embeddings.dims(), embeddings.dtype());
    let wide = widened(&embeddings);
    let squares = wide.clone().detach().square().sum_dim(1);
    let zero = squares.clone().equal_scalar(0.0).expand(dims);
    let endless = squares.is_finite().bool_not().expand(dims);
    // Constants in their place: at 0 the gradient is infinite, and 0 times NaN would become that
    // of an ignored document.
    let rows = wide.mask_fill(zero.clone().bool_or(endless.clone()), 1.0);
    let lengths = rows.clone().square().sum_dim(1).sqrt();
    let rows = rows.div(lengths).mask_fill(zero, 0.0);
    rows.mask_fill(endless, f32::NAN).cast(dtype)
}
