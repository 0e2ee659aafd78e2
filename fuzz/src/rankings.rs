//! Rankings and their measures, by sorting and counting.

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

use arbitrary::{Arbitrary, Result, Unstructured};
use burn_multi_positive::evaluation::{Measure, RankedList, Ranker};

#[derive(Arbitrary, Debug)]
struct Input {
    documents: Vec<(u8, u16)>,
    judged: Vec<(u8, i32)>,
    depth: u8,
    k: u8,
}

/// Ranks documents, of which some have the id or the score of others.
pub fn run(data: &[u8]) {
    let _ = check(data);
}

fn check(data: &[u8]) -> Result<()> {
    let input = Input::arbitrary(&mut Unstructured::new(data))?;
    let ids: Vec<String> = input
        .documents
        .iter()
        .map(|(id, _)| id.to_string())
        .collect();
    // All kinds of numbers in 16 bits.
    let scores = input.documents.iter();
    let scores: Vec<f32> = scores
        .map(|(_, bits)| f32::from_bits(u32::from(*bits) << 16))
        .collect();
    let depth = usize::from(input.depth);
    let ranking = Ranker::new(&ids).rank(&scores, depth);
    assert_eq!(ranking, sorted(&ids, &scores, depth));

    let ranked: Vec<&str> = ranking.iter().map(|place| ids[*place].as_str()).collect();
    let judged = input.judged.iter();
    let judged: Vec<(String, i32)> = judged.map(|(id, grade)| (id.to_string(), *grade)).collect();
    let list = RankedList::new(
        ranked.iter().copied(),
        judged.iter().map(|(id, grade)| (id.as_str(), *grade)),
    );
    let grades: HashMap<&str, i32> = judged
        .iter()
        .map(|(id, grade)| (id.as_str(), *grade))
        .collect();
    let k = usize::from(input.k);
    for measure in [
        Measure::Mrr(k),
        Measure::Ndcg(k),
        Measure::Recall(k),
        Measure::Precision(k),
    ] {
        let (got, want) = (measure.of(&list), measured(measure, &ranked, &grades));
        assert!(
            (got - want).abs() <= 1e-12,
            "{measure}: got {got}, expected {want}"
        );
        assert!((0.0..=1.0 + 1e-12).contains(&got), "{measure}: {got}");
    }
    Ok(())
}

/// NaN below all, equal scores by the greater id, the first of an id.
fn sorted(ids: &[String], scores: &[f32], depth: usize) -> Vec<usize> {
    let mut seen = HashSet::new();
    let mut order: Vec<usize> = (0..ids.len())
        .filter(|place| seen.insert(&ids[*place]))
        .collect();
    order.sort_by(|a, b| {
        let of = |place: &usize| scores[*place];
        let by_score = match (of(a).is_nan(), of(b).is_nan()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => of(b).partial_cmp(&of(a)).expect("numbers"),
        };
        by_score.then_with(|| ids[*b].cmp(&ids[*a]))
    });
    order.truncate(depth);
    order
}

fn measured(measure: Measure, ranked: &[&str], grades: &HashMap<&str, i32>) -> f64 {
    let k = measure.depth();
    let gain = |id: &&str| f64::from(grades.get(id).copied().unwrap_or(0).max(0));
    let gains: Vec<f64> = ranked.iter().take(k).map(gain).collect();
    let mut ideal: Vec<f64> = grades.keys().map(gain).filter(|gain| *gain > 0.0).collect();
    ideal.sort_by(|a, b| b.total_cmp(a));
    let found = gains.iter().filter(|gain| **gain > 0.0).count() as f64;
    let over = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
    let dcg = |gains: &[f64]| -> f64 {
        let ranks = gains.iter().enumerate();
        ranks
            .map(|(rank, gain)| gain / (rank as f64 + 2.0).log2())
            .sum()
    };
    match measure {
        Measure::Mrr(_) => {
            let first = gains.iter().position(|gain| *gain > 0.0);
            first.map_or(0.0, |place| 1.0 / (place as f64 + 1.0))
        }
        Measure::Ndcg(_) => over(dcg(&gains), dcg(&ideal[..k.min(ideal.len())])),
        Measure::Recall(_) => over(found, ideal.len() as f64),
        Measure::Precision(_) => over(found, k as f64),
        other => panic!("a measure that is not known here: {other}"),
    }
}
