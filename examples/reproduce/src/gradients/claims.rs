//! The paper's claims about the objectives, put to the library's own values and gradients.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::row::{Gradient, Row, lse, softmax, softplus};
use crate::objective::Objective;

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The library agrees with the formulas.
    Library,
    /// As the paper has it.
    Paper,
    /// A conclusion of the paper from experiments, read as a statement about gradients.
    Reading,
    /// What follows from the formulas.
    Derived,
    /// What is true in place of a claim that fails.
    Corrected,
}

pub struct Claim {
    pub source: Source,
    pub text: String,
    /// The numbers that decide.
    pub evidence: String,
    pub holds: bool,
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let source = match self.source {
            Source::Library => "library",
            Source::Paper => "paper",
            Source::Reading => "reading",
            Source::Derived => "derived",
            Source::Corrected => "corrected",
        };
        let verdict = if self.holds { "holds" } else { "fails" };
        write!(
            f,
            "{source:9}  {} ({}): {verdict}",
            self.text, self.evidence
        )
    }
}

/// What rounding in f64 may do to sums of a few exponentials.
const ROUNDING: f64 = 1e-11;

pub fn claims() -> Vec<Claim> {
    let rows = rows();
    let mut claims: Vec<Claim> = Objective::analysed()
        .map(|objective| closed_form(objective, &rows))
        .collect();
    claims.extend([
        one_positive(),
        shift(&rows),
        // Who feeds whom.
        strong_get_more(&rows),
        weak_get_more(&rows),
        weak_beside_strong(),
        // Who pushes a positive down.
        joint_pushes_down(&rows),
        never_pushed_down(&rows),
        joint_floor(&rows),
        joint_evens_out(),
        // Bounds.
        pull_equals_push(&rows),
        push_at_most_one(&rows),
        joint_push_grows(),
        push_in_proportion(&rows),
        // Values.
        order(&rows),
        order_of_means(&rows),
        family(&rows),
        separated(&rows),
        not_separated(),
        // Rand1LH and LSEPair.
        rand1_is_lse_pair(&rows),
        rand1_is_the_mean(&rows),
        rand1_below(&rows),
        rand1_leans_less(&rows),
        worked_example(),
        // Along a sweep.
        sweep_of_lse_pair(),
        sweep_of_joint(),
        sweep_of_sum_marg(),
        // A false positive far below.
        robust_to_a_false_positive(),
        false_positive_corrected(),
        false_positive_of_sum_marg_is_left(),
    ]);
    claims
}

/// 300 queries with 1 to 8 positives and 1 to 12 negatives.
fn rows() -> Vec<Row> {
    let mut rng = StdRng::seed_from_u64(0);
    let mut scores = |most: usize| -> Vec<f64> {
        let count = rng.random_range(1..=most);
        (0..count).map(|_| rng.random_range(-6.0..6.0)).collect()
    };
    (0..300)
        .map(|_| Row {
            positives: scores(8),
            negatives: scores(12),
        })
        .collect()
}

const MAIN: [Objective; 6] = Objective::MAIN;

fn claim(source: Source, text: &str, evidence: String, holds: bool) -> Claim {
    Claim {
        source,
        text: text.into(),
        evidence,
        holds,
    }
}

/// A claim that a number, the largest over all rows, is 0 or less.
fn never_above_zero(
    source: Source,
    text: &str,
    rows: &[Row],
    excess: impl Fn(&Row) -> f64,
) -> Claim {
    let most = rows.iter().map(excess).fold(f64::NEG_INFINITY, f64::max);
    let evidence = format!("largest excess {most:.1e} over {} queries", rows.len());
    claim(source, text, evidence, most <= ROUNDING)
}

fn closed_form(objective: Objective, rows: &[Row]) -> Claim {
    let text = format!(
        "{}: value and gradients are the closed form",
        objective.name()
    );
    never_above_zero(Source::Library, &text, rows, |row| {
        row.library(objective).distance(&row.closed(objective))
    })
}

fn one_positive() -> Claim {
    let row = Row::new(&[0.3], &[1.1, -0.4, 0.2]);
    let info_nce = row.closed(Objective::Single);
    never_above_zero(
        Source::Paper,
        "with one positive all objectives are InfoNCE",
        &[row],
        |row| {
            let distances = MAIN.map(|objective| row.library(objective).distance(&info_nce));
            distances.into_iter().fold(0.0, f64::max)
        },
    )
}

fn shift(rows: &[Row]) -> Claim {
    never_above_zero(
        Source::Library,
        "the gradients of a query sum to 0: only differences of scores count",
        rows,
        |row| {
            let sums = MAIN.map(|objective| row.library(objective).all().sum::<f64>().abs());
            sums.into_iter().fold(0.0, f64::max)
        },
    )
}

/// How far the division of the pull is from these shares.
fn misdivided(gradient: &Gradient, shares: &[f64]) -> f64 {
    let pull = gradient.pull();
    let pairs = gradient.positives.iter().zip(shares);
    pairs
        .map(|(g, share)| (-g - pull * share).abs())
        .fold(0.0, f64::max)
}

fn strong_get_more(rows: &[Row]) -> Claim {
    never_above_zero(
        Source::Paper,
        "SumMargLH feeds the strong positives, in proportion to e^s: rich get richer",
        rows,
        |row| misdivided(&row.library(Objective::SumMargLh), &softmax(&row.positives)),
    )
}

fn weak_get_more(rows: &[Row]) -> Claim {
    never_above_zero(
        Source::Paper,
        "LSEPair feeds the weak positives, in proportion to e^-s",
        rows,
        |row| {
            let weak: Vec<f64> = row.positives.iter().map(|s| -s).collect();
            misdivided(&row.library(Objective::LsePair), &softmax(&weak))
        },
    )
}

/// The share of the pull that the last positive gets.
fn share_of_last(row: &Row, objective: Objective) -> f64 {
    let gradient = row.library(objective);
    let pulls: Vec<f64> = gradient.positives.iter().map(|g| (-g).max(0.0)).collect();
    pulls[pulls.len() - 1] / pulls.iter().sum::<f64>()
}

fn weak_beside_strong() -> Claim {
    let row = &super::strong_and_weak().row;
    let [sum_marg, rand1, lse_pair] =
        [Objective::SumMargLh, Objective::Rand1Lh, Objective::LsePair]
            .map(|objective| share_of_last(row, objective));
    claim(
        Source::Paper,
        "beside a strong positive, SumMargLH starves the weak one and LSEPair feeds it",
        format!(
            "share of the pull: SumMargLH {sum_marg:.3}, Rand1LH {rand1:.3}, LSEPair {lse_pair:.3}"
        ),
        sum_marg < 0.1 && lse_pair > 0.9 && sum_marg < rand1 && rand1 < lse_pair,
    )
}

fn joint_pushes_down(rows: &[Row]) -> Claim {
    let (mut pushed, mut wrong) = (0, 0);
    for row in rows {
        let all = lse(&[row.positives.as_slice(), &row.negatives].concat());
        let count = row.positives.len() as f64;
        let gradient = row.library(Objective::JointLhNormalized);
        for (score, gradient) in row.positives.iter().zip(gradient.positives) {
            let holds_more = (score - all).exp() > 1.0 / count;
            pushed += usize::from(gradient > 0.0);
            wrong += usize::from((gradient > 0.0) != holds_more);
        }
    }
    claim(
        Source::Paper,
        "JointLH pushes a positive down exactly when that holds more than 1/m of the likelihood",
        format!("{pushed} pushed down, {wrong} exceptions"),
        pushed > 0 && wrong == 0,
    )
}

fn never_pushed_down(rows: &[Row]) -> Claim {
    never_above_zero(
        Source::Paper,
        "SumMargLH, Rand1LH and LSEPair never push a positive down",
        rows,
        |row| {
            let objectives = [Objective::SumMargLh, Objective::Rand1Lh, Objective::LsePair];
            let gradients = objectives.map(|objective| row.library(objective).positives);
            gradients
                .concat()
                .into_iter()
                .fold(f64::NEG_INFINITY, f64::max)
        },
    )
}

fn joint_floor(rows: &[Row]) -> Claim {
    never_above_zero(
        Source::Paper,
        "JointLH / m is never below log m, JointLH never below m log m",
        rows,
        |row| {
            let count = row.positives.len() as f64;
            let normalized = count.ln() - row.library(Objective::JointLhNormalized).loss;
            normalized.max(count * count.ln() - row.library(Objective::JointLh).loss)
        },
    )
}

fn joint_evens_out() -> Claim {
    // Far above all negatives, where SumMargLH and LSEPair have nothing left to do.
    let row = Row::new(&[30.0, 28.0, 30.0], &[0.0]);
    let joint = row.library(Objective::JointLhNormalized).positives;
    let others = [Objective::SumMargLh, Objective::LsePair]
        .map(|objective| row.library(objective).push())
        .into_iter()
        .fold(0.0, f64::max);
    claim(
        Source::Paper,
        "JointLH equalises positives even where all are far above the negatives; \
         SumMargLH and LSEPair rest there",
        format!(
            "scores 30, 28, 30: JointLH / m {:+.3}, {:+.3}, {:+.3}, the others below {others:.0e}",
            joint[0], joint[1], joint[2]
        ),
        joint[0] > 0.1 && joint[1] < -0.1 && joint[2] > 0.1 && others < 1e-10,
    )
}

fn pull_equals_push(rows: &[Row]) -> Claim {
    never_above_zero(
        Source::Paper,
        "LSEPair's total pull equals its total push, sigma(u) <= 1",
        rows,
        |row| {
            let weak: Vec<f64> = row.positives.iter().map(|s| -s).collect();
            let u = lse(&row.negatives) + lse(&weak);
            let force = 1.0 / (1.0 + (-u).exp());
            let gradient = row.library(Objective::LsePair);
            let errors = [gradient.pull() - force, gradient.push() - force];
            errors
                .map(f64::abs)
                .into_iter()
                .fold(gradient.push() - 1.0, f64::max)
        },
    )
}

fn push_at_most_one(rows: &[Row]) -> Claim {
    never_above_zero(
        Source::Derived,
        "the bound is not LSEPair's own: the push of Rand1LH, SumMargLH and \
         JointLH / m is at most 1 too",
        rows,
        |row| {
            let objectives = [
                Objective::Rand1Lh,
                Objective::SumMargLh,
                Objective::JointLhNormalized,
            ];
            let pushes = objectives.map(|objective| row.library(objective).push() - 1.0);
            pushes.into_iter().fold(f64::NEG_INFINITY, f64::max)
        },
    )
}

fn joint_push_grows() -> Claim {
    let pushes = [1, 2, 4, 8].map(|count| {
        let row = Row::new(&vec![0.0; count], &[6.0; 4]);
        row.library(Objective::JointLh).push()
    });
    claim(
        Source::Derived,
        "JointLH as a sum weighs a query in proportion to its number of positives",
        format!(
            "push with 1, 2, 4, 8 weak positives: {:.2}, {:.2}, {:.2}, {:.2}",
            pushes[0], pushes[1], pushes[2], pushes[3]
        ),
        (1..4).all(|place| (pushes[place] / pushes[place - 1] - 2.0).abs() < 0.02),
    )
}

fn push_in_proportion(rows: &[Row]) -> Claim {
    never_above_zero(
        Source::Derived,
        "SumMargLH, JointLH and LSEPair push the hard negatives most, in proportion to e^s",
        rows,
        |row| {
            let shares = softmax(&row.negatives);
            let objectives = [Objective::SumMargLh, Objective::JointLh, Objective::LsePair];
            let errors = objectives.map(|objective| {
                let gradient = row.library(objective);
                let push = gradient.push();
                let pairs = gradient.negatives.iter().zip(&shares);
                pairs
                    .map(|(g, share)| (g - push * share).abs())
                    .fold(0.0, f64::max)
            });
            errors.into_iter().fold(0.0, f64::max)
        },
    )
}

/// InfoNCE of each positive.
fn info_nce(row: &Row) -> Vec<f64> {
    let negatives = lse(&row.negatives);
    row.positives
        .iter()
        .map(|s| softplus(negatives - s))
        .collect()
}

fn largest_step_down(values: &[f64]) -> f64 {
    let steps = values.windows(2).map(|pair| pair[0] - pair[1]);
    steps.fold(f64::NEG_INFINITY, f64::max)
}

fn order(rows: &[Row]) -> Claim {
    never_above_zero(
        Source::Derived,
        "SumMargLH <= strongest <= weakest = largest InfoNCE <= LSEPair <= sum of InfoNCE",
        rows,
        |row| {
            let each = info_nce(row);
            let largest = each.iter().copied().fold(0.0, f64::max);
            let weakest = row.library(Objective::LsePairWeakest).loss;
            let values = [
                row.library(Objective::SumMargLh).loss,
                row.library(Objective::LsePairStrongest).loss,
                weakest,
                row.library(Objective::LsePair).loss,
                each.iter().sum(),
            ];
            largest_step_down(&values).max((weakest - largest).abs())
        },
    )
}

fn order_of_means(rows: &[Row]) -> Claim {
    never_above_zero(
        Source::Derived,
        "mean of InfoNCE = E[Rand1LH] <= JointLH / m",
        rows,
        |row| {
            let each = info_nce(row);
            let mean = each.iter().sum::<f64>() / each.len() as f64;
            let rand1 = row.library(Objective::Rand1Lh).loss;
            let joint = row.library(Objective::JointLhNormalized).loss;
            (mean - rand1).abs().max(rand1 - joint)
        },
    )
}

fn family(rows: &[Row]) -> Claim {
    let member = |row: &Row, b: f64| {
        let scaled: Vec<f64> = row.positives.iter().map(|s| b * s).collect();
        softplus(lse(&row.negatives) - lse(&scaled) / b)
    };
    let members = [
        (1.0, Objective::SumMargLh),
        (-1.0, Objective::LsePair),
        (1e13, Objective::LsePairStrongest),
        (-1e13, Objective::LsePairWeakest),
    ];
    never_above_zero(
        Source::Derived,
        "one family softplus(lse_N - lse(b s_P) / b): b = 1 SumMargLH, -1 LSEPair, large the selectors",
        rows,
        |row| {
            let errors =
                members.map(|(b, objective)| (member(row, b) - row.library(objective).loss).abs());
            errors.into_iter().fold(0.0, f64::max)
        },
    )
}

fn below_a_negative(row: &Row) -> bool {
    let weakest = row.positives.iter().copied().fold(f64::INFINITY, f64::min);
    let hardest = row
        .negatives
        .iter()
        .copied()
        .fold(f64::NEG_INFINITY, f64::max);
    weakest <= hardest
}

fn separated(rows: &[Row]) -> Claim {
    // Shifted up, so that many queries are solved.
    let shifted: Vec<Row> = rows
        .iter()
        .map(|row| Row {
            positives: row.positives.iter().map(|s| s + 9.0).collect(),
            negatives: row.negatives.clone(),
        })
        .collect();
    let solved = |row: &&Row| row.library(Objective::LsePair).loss < 2.0_f64.ln();
    let solved: Vec<&Row> = shifted.iter().filter(solved).collect();
    let wrong = solved.iter().filter(|row| below_a_negative(row)).count();
    claim(
        Source::Derived,
        "an LSEPair below log 2 means that every positive is above every negative",
        format!("{} such queries, {wrong} exceptions", solved.len()),
        !solved.is_empty() && wrong == 0,
    )
}

fn not_separated() -> Claim {
    let row = &super::false_positive().row;
    let loss = row.library(Objective::SumMargLh).loss;
    claim(
        Source::Derived,
        "a small SumMargLH does not: one strong positive suffices",
        format!("SumMargLH {loss:.3} with a positive below every negative"),
        loss < 2.0_f64.ln() && below_a_negative(row),
    )
}

fn rand1_is_lse_pair(rows: &[Row]) -> Claim {
    never_above_zero(
        Source::Paper,
        "Rand1LH is a stochastic approximation of LSEPair: its expected gradient is LSEPair's",
        rows,
        |row| {
            let rand1 = row.library(Objective::Rand1Lh);
            let lse_pair = row.library(Objective::LsePair);
            let pairs = rand1.all().zip(lse_pair.all());
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
        },
    )
}

fn rand1_is_the_mean(rows: &[Row]) -> Claim {
    never_above_zero(
        Source::Corrected,
        "Rand1LH's expected gradient is that of the mean of InfoNCE: -(1 - P_p) / m on each positive",
        rows,
        |row| {
            let count = row.positives.len() as f64;
            let each = info_nce(row);
            let gradient = row.library(Objective::Rand1Lh).positives;
            // 1 - P_p is 1 - e^-l_p.
            let pairs = gradient.into_iter().zip(each);
            pairs
                .map(|(g, l)| (g - (-l).exp_m1() / count).abs())
                .fold(0.0, f64::max)
        },
    )
}

fn rand1_below(rows: &[Row]) -> Claim {
    never_above_zero(
        Source::Corrected,
        "E[Rand1LH] <= LSEPair: a biased approximation, from below",
        rows,
        |row| row.library(Objective::Rand1Lh).loss - row.library(Objective::LsePair).loss,
    )
}

fn rand1_leans_less(rows: &[Row]) -> Claim {
    never_above_zero(
        Source::Corrected,
        "Rand1LH leans to the weak positive as well, never more than LSEPair: \
         pull ratio between 1 and e^(difference)",
        rows,
        |row| {
            let gradient = row.library(Objective::Rand1Lh).positives;
            let mut excess = f64::NEG_INFINITY;
            for (strong, g_strong) in row.positives.iter().zip(&gradient) {
                for (weak, g_weak) in row.positives.iter().zip(&gradient) {
                    if strong > weak {
                        let ratio = (g_weak / g_strong).ln();
                        excess = excess.max(-ratio).max(ratio - (strong - weak));
                    }
                }
            }
            excess
        },
    )
}

fn worked_example() -> Claim {
    let row = Row::new(&[2.0_f64.ln(), 0.0], &[0.0]);
    let want = [
        (Objective::Rand1Lh, [-1.0 / 6.0, -1.0 / 4.0]),
        (Objective::LsePair, [-1.0 / 5.0, -2.0 / 5.0]),
        (Objective::SumMargLh, [-1.0 / 6.0, -1.0 / 12.0]),
        (Objective::JointLhNormalized, [0.0, -1.0 / 4.0]),
    ];
    never_above_zero(
        Source::Corrected,
        "with e^s = 2 and 1 on the positives, 1 on a negative: Rand1LH -1/6, -1/4; \
         LSEPair -1/5, -2/5; SumMargLH -1/6, -1/12; JointLH / m 0, -1/4",
        &[row],
        |row| {
            let errors = want.map(|(objective, want)| {
                let got = row.library(objective).positives;
                got.iter()
                    .zip(want)
                    .map(|(got, want)| (got - want).abs())
                    .fold(0.0, f64::max)
            });
            errors.into_iter().fold(0.0, f64::max)
        },
    )
}

/// The pull on the swept positive along the sweep.
fn swept(objective: Objective) -> Vec<f64> {
    let sweep = super::sweep();
    sweep
        .map(|(_, row)| -row.library(objective).positives[0])
        .collect()
}

fn sweep_of_lse_pair() -> Claim {
    let pulls = swept(Objective::LsePair);
    let reversed: Vec<f64> = pulls.iter().rev().copied().collect();
    claim(
        Source::Derived,
        "LSEPair's pull on a positive falls as its score rises, and is largest far below",
        format!("from {:.3} to {:.3}", pulls[0], pulls[pulls.len() - 1]),
        largest_step_down(&reversed) <= ROUNDING && pulls[0] > 0.95,
    )
}

fn sweep_of_joint() -> Claim {
    let pulls = swept(Objective::JointLhNormalized);
    let turns = pulls
        .windows(2)
        .filter(|pair| (pair[0] > 0.0) != (pair[1] > 0.0))
        .count();
    claim(
        Source::Derived,
        "JointLH's pull on a positive turns into a push once as its score rises",
        format!(
            "from {:.3} to {:.3}, {turns} turn",
            pulls[0],
            pulls[pulls.len() - 1]
        ),
        turns == 1 && pulls[0] > 0.0,
    )
}

fn sweep_of_sum_marg() -> Claim {
    let pulls = swept(Objective::SumMargLh);
    let top = pulls.iter().copied().fold(0.0, f64::max);
    let (first, last) = (pulls[0], pulls[pulls.len() - 1]);
    claim(
        Source::Derived,
        "SumMargLH's pull on a positive first rises with its score, then falls",
        format!("{first:.3}, at most {top:.3}, {last:.3}"),
        first < 0.1 * top && last < 0.1 * top,
    )
}

fn false_positive_shares() -> Vec<(Objective, f64)> {
    let row = &super::false_positive().row;
    let objectives = [
        Objective::SumMargLh,
        Objective::Rand1Lh,
        Objective::JointLhNormalized,
        Objective::LsePair,
    ];
    let shares = objectives.map(|objective| (objective, share_of_last(row, objective)));
    shares.to_vec()
}

fn shown(shares: &[(Objective, f64)]) -> String {
    let shown = shares
        .iter()
        .map(|(objective, share)| format!("{} {share:.3}", objective.name()));
    shown.collect::<Vec<_>>().join(", ")
}

fn robust_to_a_false_positive() -> Claim {
    let shares = false_positive_shares();
    let lse_pair = shares[3].1;
    claim(
        Source::Reading,
        "LSEPair is the most robust, read of gradients: a false positive far below gets the least of its pull",
        format!("share of the pull: {}", shown(&shares)),
        shares[..3].iter().all(|(_, share)| lse_pair < *share),
    )
}

fn false_positive_corrected() -> Claim {
    let shares = false_positive_shares();
    claim(
        Source::Corrected,
        "a false positive far below gets nearly all of LSEPair's pull, and next to nothing of SumMargLH's",
        format!("share of the pull: {}", shown(&shares)),
        shares[0].1 < 0.01
            && shares[3].1 > 0.99
            && shares[1..3]
                .iter()
                .all(|(_, share)| shares[0].1 < *share && *share < shares[3].1),
    )
}

fn false_positive_of_sum_marg_is_left() -> Claim {
    let with = &super::false_positive().row;
    let mut without = with.clone();
    without.positives.pop();
    let changes = [Objective::SumMargLh, Objective::LsePair].map(|objective| {
        let (with, without) = (with.library(objective), without.library(objective));
        let pairs = without.positives.iter().zip(&with.positives);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    });
    claim(
        Source::Corrected,
        "such a label leaves SumMargLH's gradients on the true positives as they were, and takes LSEPair's away",
        format!(
            "largest change: SumMargLH {:.4}, LSEPair {:.4}",
            changes[0], changes[1]
        ),
        changes[0] < 0.001 && changes[1] > 0.05,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_claims_fail_as_stated_and_nothing_else_does() {
        let claims = claims();
        let failing: Vec<&str> = claims
            .iter()
            .filter(|claim| !claim.holds)
            .map(|claim| claim.text.as_str())
            .collect();
        let [first, second] = failing.as_slice() else {
            panic!("{failing:#?}");
        };
        assert!(first.starts_with("Rand1LH is a stochastic approximation of LSEPair"));
        assert!(second.starts_with("LSEPair is the most robust, read of gradients"));
    }

    #[test]
    fn a_line_ends_in_its_verdict() {
        for (holds, end) in [(true, ": holds"), (false, ": fails")] {
            let line = claim(Source::Paper, "it is so", "1 of 1".into(), holds).to_string();
            assert_eq!(line, format!("paper      it is so (1 of 1){end}"));
        }
    }
}
