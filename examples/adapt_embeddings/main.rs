//! Learns an adapter of vectors that are there already, where to embed a corpus anew is too dear.
//!
//! ```text
//! cargo run --release --example adapt_embeddings                # on vectors that are made up
//! cargo run --release --example adapt_embeddings -- \
//!     --queries queries.npy --query-ids queries.txt \
//!     --documents documents.npy --document-ids documents.txt \
//!     --train qrels/train.tsv --test qrels/dev.tsv --out map.npy
//! ```
//!
//! The adapter is a square map of vectors, `x + x D`, where `D` is 0 at the start. By default
//! queries alone go through it: documents and their index stay as they are. `--adapt both` maps
//! documents as well, with the same `D`.
//!
//! - Vectors are one matrix, a row each: `.npy` (f16, f32 or f64, little-endian, in C order) or
//!   `.safetensors` with one tensor (bf16, too).
//! - Ids are a text file, a line each, in the order of the rows.
//! - Judgements are those of BEIR: query-id, corpus-id and score, with tabs between them. Without
//!   `--test` a fifth of the judged queries is held out. No held-out query is trained on.
//!
//! Retrieval is measured on the held-out queries before and after. `--out` writes the map `I + D`,
//! as `.npy`, or as `.safetensors` with the tensor `map`. Elsewhere one product applies it:
//!
//! ```text
//! queries @ numpy.load("map.npy")
//! ```
//!
//! Scores are cosines. An index of dot products ranks alike if its documents have length 1; the
//! length of a query does not matter. After `--adapt both` the documents have to be normalised
//! anew. With `--dot` scores are dot products of vectors as they are.
//!
//! The learning rate is for vectors of a trained encoder. On those that are made up, which are
//! turned by a wide angle, `--lr 1e-2` gains more.

mod adapter;
mod collection;
mod generated;
mod matrix;
#[cfg(test)]
mod scratch;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use adapter::{Adapter, Side, Training};
use burn::tensor::Device;
use clap::Parser;
use collection::{Collection, Files};
use matrix::Matrix;
use retrieval::Metrics;

/// Learn a map of vectors that are there already, from judged queries.
#[derive(Parser)]
struct Arguments {
    /// Vectors of queries, .npy or .safetensors [default: vectors that are made up]
    #[arg(
        long,
        value_name = "FILE",
        requires_all = ["query_ids", "documents", "document_ids", "train"]
    )]
    queries: Option<PathBuf>,
    /// Ids of the queries, a line each
    #[arg(long, value_name = "FILE", requires = "queries")]
    query_ids: Option<PathBuf>,
    /// Vectors of documents, .npy or .safetensors
    #[arg(long, value_name = "FILE", requires = "queries")]
    documents: Option<PathBuf>,
    /// Ids of the documents, a line each
    #[arg(long, value_name = "FILE", requires = "queries")]
    document_ids: Option<PathBuf>,
    /// Judgements to train on: lines of query-id, corpus-id and score, with tabs between them
    #[arg(long, value_name = "FILE", requires = "queries")]
    train: Option<PathBuf>,
    /// Judgements to measure with [default: a fifth of the train queries, not trained on]
    #[arg(long, value_name = "FILE", requires = "queries")]
    test: Option<PathBuf>,
    /// Write the map, as .npy or .safetensors
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    training: Training,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let training = &arguments.training;
    training.check()?;
    if let Some(path) = &arguments.out {
        Matrix::check_name(path)?;
    }
    let collection = arguments.collection()?;
    // Now rather than after the training.
    if let Some(path) = &arguments.out {
        let map = collection.queries.columns.pow(2) * size_of::<f32>();
        files::check_room(path, map as u64)?;
    }
    let (train, held_out) = (&collection.train.queries, &collection.held_out.queries);
    println!(
        "{} documents, {} train and {} held-out queries, {} dimensions",
        collection.documents.rows,
        train.len(),
        held_out.len(),
        collection.queries.columns
    );

    let device = Device::default().autodiff();
    let untrained = Adapter::new(collection.queries.columns, &device);
    let before = training.measure(&untrained, &collection, &device)?;
    let start = Instant::now();
    let adapter = training.train(&collection, &device)?;
    println!("trained in {:.1} seconds", start.elapsed().as_secs_f64());
    let after = training.measure(&adapter, &collection, &device)?;

    println!("\n         MRR@10  nDCG@10  Recall@100");
    for (name, metrics) in [("before", &before), ("after", &after)] {
        let mean = Metrics::mean(metrics);
        println!(
            "{name:6} {:8.4} {:8.4} {:11.4}",
            mean.mrr_10, mean.ndcg_10, mean.recall_100
        );
    }
    report_queries(&before, &after);
    if let Some(path) = &arguments.out {
        adapter.matrix().write(path)?;
        let whose = match training.adapt {
            Side::Queries => "queries",
            Side::Both => "queries and documents",
        };
        println!(
            "{}: multiply vectors of {whose} by it from the right",
            path.display()
        );
    }
    Ok(())
}

/// Whether a mean that rose is the work of many queries or of few.
fn report_queries(before: &[Metrics], after: &[Metrics]) {
    let count = |rose: fn(f64) -> bool| {
        let queries = before.iter().zip(after);
        let changes = queries.map(|(before, after)| after.ndcg_10 - before.ndcg_10);
        changes.filter(|change| rose(*change)).count()
    };
    let (higher, lower) = (count(|change| change > 0.0), count(|change| change < 0.0));
    println!(
        "nDCG@10 is higher for {higher} of {} queries, and lower for {lower}",
        before.len()
    );
    if Metrics::mean(after).ndcg_10 <= Metrics::mean(before).ndcg_10 {
        println!(
            "The adapter is no gain: keep the vectors as they are, or try fewer --epochs, \
             a higher --weight-decay or more judgements."
        );
    }
}

impl Arguments {
    fn collection(&self) -> Result<Collection, String> {
        let (Some(queries), Some(query_ids), Some(documents), Some(document_ids), Some(train)) = (
            &self.queries,
            &self.query_ids,
            &self.documents,
            &self.document_ids,
            &self.train,
        ) else {
            // The parser lets through all of them, or none.
            return Ok(generated::collection(generated::ANGLE).0);
        };
        let files = Files {
            queries,
            query_ids,
            documents,
            document_ids,
            train,
            held_out: self.test.as_deref(),
        };
        Collection::read(&files, self.training.seed)
    }
}
