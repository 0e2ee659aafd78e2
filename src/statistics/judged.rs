//! Targets as the operations of a backend take them.

use burn::backend::{
    Autodiff, Backend, ExtensionType,
    autodiff::checkpoint::strategy::CheckpointStrategy,
    tensor::{BoolTensor, FloatTensor, IntTensor},
};

#[cfg(feature = "cpu")]
use burn::backend::{DispatchKindConversion, DispatchTensor};
#[cfg(any(feature = "cpu", feature = "cubecl", feature = "remote"))]
use burn::{backend::Dispatch, tensor::DType};

use crate::targets::Lists;
#[cfg(any(feature = "cpu", feature = "cubecl", feature = "remote"))]
use crate::targets::{self, Targets};

/// The targets of a batch, as tensors of a backend.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "cubecl"))]
pub struct Judged<B: Backend> {
    #[extension_type]
    pub relevance: Relevance<B>,
    #[extension_type]
    pub candidates: Candidates<B>,
    #[extension_type]
    pub weights: Weights<B>,
    #[extension_type]
    pub ceilings: Ceilings<B>,
    #[extension_type]
    pub chosen: Chosen<B>,
}

/// Which documents are relevant to which query.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "cubecl"))]
pub enum Relevance<B: Backend> {
    /// Those whose entry is true, `[queries, documents]`.
    Mask(BoolTensor<B>),
    /// Those that have the label of the query.
    Labels {
        queries: IntTensor<B>,
        documents: IntTensor<B>,
    },
    /// Those that are listed.
    Lists(Lists),
}

/// Which documents are not ignored, beside those that lists name.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "cubecl"))]
pub enum Candidates<B: Backend> {
    All,
    /// Those whose entry is true, `[queries, documents]`.
    Mask(BoolTensor<B>),
}

/// How much each pair counts, beside what lists say.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "cubecl"))]
pub enum Weights<B: Backend> {
    All,
    /// As much as its entry says, `[queries, documents]`, in the type of the statistics.
    Matrix(FloatTensor<B>),
}

/// Which negatives are believed.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "cubecl"))]
pub enum Ceilings<B: Backend> {
    None,
    /// Those whose score is not above the query's ceiling, `[queries]`, in the type of the
    /// statistics.
    Each(FloatTensor<B>),
}

/// Which positives of a query stay.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "cubecl"))]
pub enum Chosen<B: Backend> {
    All,
    /// The one in this column, `[queries]`.
    Column(IntTensor<B>),
}

#[cfg(any(feature = "cpu", feature = "cubecl", feature = "remote"))]
impl Judged<Dispatch> {
    /// The targets with all their positives, chosen or not, and weights in `dtype`: with
    /// labels and lists as they are, where the kernels read `lists`, else with the masks and
    /// weights that these stand for.
    pub fn of_all_positives(targets: &Targets, lists: bool, dtype: DType) -> Self {
        let weights = match lists {
            true => targets.given_weights(),
            false => targets.weights(),
        };
        let (relevance, candidates) = match targets.relevance() {
            targets::Relevance::Labels { queries, documents } if lists => {
                let [queries, documents] = [queries, documents].map(|x| x.clone().into_dispatch());
                let relevance = Relevance::Labels { queries, documents };
                (relevance, targets.given_candidates())
            }
            targets::Relevance::Lists(listed) if lists => {
                let relevance = Relevance::Lists(listed.clone());
                (relevance, targets.given_candidates())
            }
            _ => {
                let relevance = Relevance::Mask(targets.relevant().into_dispatch());
                (relevance, targets.candidates())
            }
        };
        Self {
            relevance,
            candidates: match candidates {
                Some(mask) => Candidates::Mask(mask.into_dispatch()),
                None => Candidates::All,
            },
            weights: match weights {
                Some(weights) => Weights::Matrix(weights.cast(dtype).into_dispatch()),
                None => Weights::All,
            },
            ceilings: Ceilings::None,
            chosen: Chosen::All,
        }
    }

    /// Ignores negatives above the ceiling of their query.
    pub fn with_ceilings(self, ceilings: FloatTensor<Dispatch>) -> Self {
        Self {
            ceilings: Ceilings::Each(ceilings),
            ..self
        }
    }

    /// Keeps one positive of each query.
    pub fn with_chosen(self, columns: IntTensor<Dispatch>) -> Self {
        Self {
            chosen: Chosen::Column(columns),
            ..self
        }
    }
}

#[cfg(feature = "cpu")]
impl<B: Backend> Judged<B>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    /// The tensors of a backend that is known to be theirs.
    pub fn of_backend(judged: Judged<Dispatch>) -> Self {
        ExtensionType::map_from_dispatch(judged, |tensor| {
            <DispatchTensor as DispatchKindConversion<B>>::try_into_backend(tensor)
                .expect("the device has been looked at")
        })
    }
}

/// Bool and Int tensors are those of the inner backend already, weights and ceilings are constants.
impl<B: Backend, C: CheckpointStrategy> Judged<Autodiff<B, C>> {
    pub fn into_inner(self) -> Judged<B> {
        Judged {
            relevance: match self.relevance {
                Relevance::Mask(mask) => Relevance::Mask(mask),
                Relevance::Labels { queries, documents } => {
                    Relevance::Labels { queries, documents }
                }
                Relevance::Lists(lists) => Relevance::Lists(lists),
            },
            candidates: match self.candidates {
                Candidates::All => Candidates::All,
                Candidates::Mask(mask) => Candidates::Mask(mask),
            },
            weights: match self.weights {
                Weights::All => Weights::All,
                Weights::Matrix(weights) => Weights::Matrix(weights.into_primitive()),
            },
            ceilings: match self.ceilings {
                Ceilings::None => Ceilings::None,
                Ceilings::Each(ceilings) => Ceilings::Each(ceilings.into_primitive()),
            },
            chosen: match self.chosen {
                Chosen::All => Chosen::All,
                Chosen::Column(columns) => Chosen::Column(columns),
            },
        }
    }
}
