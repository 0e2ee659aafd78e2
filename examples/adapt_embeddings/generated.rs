//! Vectors made up, for a run without files.

use rand::{Rng, SeedableRng, rngs::StdRng};
use retrieval::Query;

use crate::{
    collection::{Collection, Judgements, named},
    matrix::Matrix,
};

const DIMENSIONS: usize = 32;
const TOPICS: usize = 180;
/// Topics that no train query is about.
const HELD_OUT_TOPICS: usize = 30;
const DOCUMENTS_PER_TOPIC: usize = 6;
const QUERIES_PER_TOPIC: usize = 5;
/// By how much queries are turned away from their documents, in radians.
pub const ANGLE: f32 = 1.0;
/// The distance of a text from its topic.
const NOISE: f32 = 0.6;

/// Documents lie around topics. Queries do, too, but are rotated after that. An adapter is to undo
/// the rotation, which comes with the collection: queries were multiplied by it from the right.
pub fn collection(angle: f32) -> (Collection, Matrix) {
    let mut rng = StdRng::seed_from_u64(1);
    let mut queries = Vec::new();
    let mut documents = Vec::new();
    let mut names = Vec::new();
    let mut train = Judgements::default();
    let mut held_out = Judgements::default();
    for topic in 0..TOPICS {
        let center = draw(&mut rng, 1.0);
        let mut near = || {
            let away = draw(&mut rng, NOISE);
            let sum = center.iter().zip(away).map(|(x, y)| x + y);
            sum.collect::<Vec<f32>>()
        };
        let first = names.len();
        for _ in 0..DOCUMENTS_PER_TOPIC {
            names.push(named(format!("d{}", names.len())));
            documents.extend(near());
        }
        let judgements = match topic < TOPICS - HELD_OUT_TOPICS {
            true => &mut train,
            false => &mut held_out,
        };
        for _ in 0..QUERIES_PER_TOPIC {
            let row = queries.len() / DIMENSIONS;
            judgements.rows.push(row);
            judgements.queries.push(Query {
                id: format!("q{row}"),
                text: String::new(),
                judgements: (first..names.len()).map(|document| (document, 1)).collect(),
            });
            queries.extend(rotate(near(), angle));
        }
    }
    let identity = (0..DIMENSIONS * DIMENSIONS).map(|i| f32::from(i % (DIMENSIONS + 1) == 0));
    let identity: Vec<f32> = identity.collect();
    let rotation = identity
        .chunks(DIMENSIONS)
        .flat_map(|x| rotate(x.to_vec(), angle));
    let rotation = matrix(rotation.collect());
    let collection = Collection {
        queries: matrix(queries),
        documents: matrix(documents),
        names,
        train,
        held_out,
    };
    (collection, rotation)
}

/// A vector of length `length` on average.
fn draw(rng: &mut StdRng, length: f32) -> Vec<f32> {
    let largest = length * (3.0 / DIMENSIONS as f32).sqrt();
    let numbers = (0..DIMENSIONS).map(|_| rng.random_range(-largest..largest));
    numbers.collect()
}

/// In the plane of each two dimensions.
fn rotate(mut vector: Vec<f32>, angle: f32) -> Vec<f32> {
    let (sin, cos) = angle.sin_cos();
    for pair in vector.chunks_exact_mut(2) {
        let [x, y] = [pair[0], pair[1]];
        pair[0] = cos * x - sin * y;
        pair[1] = sin * x + cos * y;
    }
    vector
}

fn matrix(values: Vec<f32>) -> Matrix {
    Matrix {
        rows: values.len() / DIMENSIONS,
        columns: DIMENSIONS,
        values,
    }
}
