//! Measures of rankings, as `trec_eval` computes them.
//!
//! [`Ranker`] orders documents by their scores. [`Measure`] computes a number from a
//! [`RankedList`]:
//!
//! ```
//! use burn_multi_positive::evaluation::{Measure, RankedList, Ranker};
//!
//! let documents = ["d1", "d2", "d3", "d4"];
//! let scores = [0.3_f32, 0.9, 0.5, 0.5];
//! // d4 before d3: of equal scores, the greater id comes first.
//! assert_eq!(Ranker::new(&documents).rank(&scores, 1000), [1, 3, 2, 0]);
//!
//! // What was judged: d3 is relevant, d1 highly, d2 is not. Nobody judged d4.
//! let list = RankedList::new(["d2", "d4", "d3", "d1"], [("d3", 1), ("d1", 2), ("d2", 0)]);
//! assert_eq!(Measure::Mrr(10).of(&list), 1.0 / 3.0);
//! assert_eq!(Measure::Recall(3).of(&list), 0.5);
//! assert_eq!(Measure::Precision(4).of(&list), 0.5);
//! ```
//!
//! With the feature `train`, the module `train` has these measures as metrics of Burn's
//! training loop.

mod measure;
mod ranking;

pub use measure::Measure;
pub use ranking::{RankedList, Ranker};
