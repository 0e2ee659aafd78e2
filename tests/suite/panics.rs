//! Misuse panics with a message that says which argument, what was expected and what came.

use crate::{
    batch::{Batch, Criterion},
    device::{device, supports},
    oracle::{DEFAULTS, Objective},
};
use burn::{
    nn::loss::Reduction,
    tensor::{Bool, DType, Int, Tensor},
};
use burn_multi_positive::{
    CircleLossConfig, Embeddings, FalseNegatives, FocalInfoNceLossConfig, JointLhLossConfig,
    LearnableTemperatureConfig, LsePairLossConfig, MarginRankingLossConfig,
    MultiSimilarityLossConfig, PositiveThreshold, Rand1LhLossConfig, Shards, SigmoidLossConfig,
    SumMargLhLossConfig, Targets,
    statistics::{Curve, Product, Request, Statistic, Statistics},
};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn scores(dims: [usize; 2]) -> Tensor<2> {
    Tensor::zeros(dims, &device())
}

fn mask(dims: [usize; 2]) -> Tensor<2, Bool> {
    Tensor::full(dims, true, &device())
}

/// `call` panics with a message that contains `expected`.
#[track_caller]
fn assert_panics<T>(expected: &str, call: impl FnOnce() -> T) {
    let panic = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(_) => panic!("no panic in place of: {expected}"),
        Err(panic) => panic,
    };
    let message = match panic.downcast_ref::<String>() {
        Some(message) => message.as_str(),
        None => panic.downcast_ref::<&str>().expect("a message"),
    };
    assert!(
        message.contains(expected),
        "expected: {expected}\ngot: {message}"
    );
}

#[test]
#[should_panic(
    expected = "assert_shape!(positives, [queries, documents]): axis 1 expected 3, got 2 (dims [4, 2])"
)]
fn a_mask_of_another_width_panics() {
    LsePairLossConfig::new()
        .init()
        .forward(scores([4, 3]), mask([4, 2]));
}

#[test]
#[should_panic(
    expected = "assert_shape!(positives, [queries, documents]): axis 0 expected 4, got 5 (dims [5, 3])"
)]
fn a_mask_of_another_height_panics() {
    LsePairLossConfig::new()
        .init()
        .forward(scores([4, 3]), mask([5, 3]));
}

#[test]
#[should_panic(
    expected = "assert_shape!(candidates, [queries, documents]): axis 1 expected 3, got 2 (dims [4, 2])"
)]
fn candidates_of_another_shape_panic() {
    let _ = Targets::new(mask([4, 3])).with_candidates(mask([4, 2]));
}

#[test]
#[should_panic(expected = "assert_shape!(chosen, [queries]): axis 0 expected 4, got 3 (dims [3])")]
fn a_chosen_column_too_few_panics() {
    let chosen = Tensor::<1, Int>::from_ints([0, 1, 2], &device());
    Rand1LhLossConfig::new()
        .init()
        .forward_chosen(scores([4, 3]), mask([4, 3]), chosen);
}

#[test]
#[should_panic(
    expected = "assert_shape!(documents, [_, dimensions]): axis 1 expected 8, got 7 (dims [3, 7])"
)]
fn embeddings_of_differing_width_panic() {
    let [queries, documents] = [scores([4, 8]), scores([3, 7])];
    LsePairLossConfig::new()
        .init()
        .forward_embeddings(queries, documents, mask([4, 3]));
}

#[test]
fn embeddings_of_differing_type_panic() {
    let others = [DType::F64, DType::F16, DType::BF16];
    let Some(other) = others.into_iter().find(|dtype| supports(*dtype)) else {
        return;
    };
    for objective in DEFAULTS {
        let documents = Tensor::<2>::zeros([3, 8], (&device(), other));
        let expected =
            format!("documents: expected embeddings in F32 as the queries have, got {other:?}");
        assert_panics(&expected, || {
            Criterion::from(&objective).embeddings(scores([4, 8]), documents, mask([4, 3]))
        });
    }
}

#[test]
#[should_panic(
    expected = "tile: expected at least one query and one document, got Tile { queries: 0, documents: 0 }"
)]
fn an_empty_tile_panics() {
    let _ = Embeddings::new(scores([4, 8]), scores([3, 8])).with_tile(0);
}

#[test]
fn a_tile_without_queries_or_without_documents_panics_in_every_loss() {
    for (tile, shown) in [
        ([0, 5], "Tile { queries: 0, documents: 5 }"),
        ([5, 0], "Tile { queries: 5, documents: 0 }"),
    ] {
        for objective in DEFAULTS {
            let loss = Criterion::from(&objective);
            assert_panics(shown, || {
                loss.tiled(scores([4, 8]), scores([3, 8]), mask([4, 3]), tile)
            });
        }
    }
}

#[test]
fn every_method_of_every_loss_checks_the_targets_of_embeddings() {
    let labels = |count: usize| Tensor::<1, Int>::zeros([count], &device());
    let [of_mask, of_labels] = [
        "assert_shape!(positives, [queries, documents]): axis 1 expected 3, got 4",
        "targets: expected [queries, documents] = [2, 3] as the scores have, got [2, 4]",
    ];
    for (targets, expected) in [
        (Targets::new(mask([2, 4])), of_mask),
        (Targets::from_labels(labels(2), labels(4)), of_labels),
    ] {
        let (queries, documents) = (|| scores([2, 5]), || scores([3, 5]));
        let targets = || targets.clone();
        for objective in DEFAULTS {
            let loss = Criterion::from(&objective);
            assert_panics(expected, || {
                loss.embeddings(queries(), documents(), targets())
            });
            assert_panics(expected, || {
                loss.tiled(queries(), documents(), targets(), 2)
            });
            assert_panics(expected, || {
                loss.reduced_embeddings(queries(), documents(), targets(), Reduction::Sum)
            });
            assert_panics(expected, || {
                loss.embeddings_rows(queries(), documents(), targets(), None)
            });
        }
    }
    let rand1 = Rand1LhLossConfig::new().init();
    let expected = "assert_shape!(chosen, [queries]): axis 0 expected 2, got 3 (dims [3])";
    assert_panics(expected, || {
        let embeddings = Embeddings::new(scores([2, 5]), scores([3, 5]));
        rand1.forward_chosen(embeddings, mask([2, 3]), labels(3))
    });
}

#[test]
fn every_method_of_every_loss_checks_the_shape() {
    for objective in DEFAULTS {
        let loss = Criterion::from(&objective);
        let expected = "assert_shape!(positives, [queries, documents]): axis 1 expected 3, got 4";
        let (scores, mask) = (|| scores([2, 3]), || mask([2, 4]));
        assert_panics(expected, || loss.mean(scores(), mask()));
        assert_panics(expected, || loss.rows(scores(), mask()));
        assert_panics(expected, || loss.reduced(scores(), mask(), Reduction::Sum));
        let documents = Tensor::zeros([3, 5], &device());
        let queries = Tensor::zeros([2, 5], &device());
        assert_panics(expected, || loss.embeddings(queries, documents, mask()));
    }
    let rand1 = Rand1LhLossConfig::new().init();
    let chosen = Tensor::<1, Int>::from_ints([0, 1], &device());
    let expected = "assert_shape!(positives, [queries, documents]): axis 1 expected 3, got 4";
    assert_panics(expected, || {
        rand1.forward_chosen(scores([2, 3]), mask([2, 4]), chosen)
    });
}

#[test]
fn targets_without_a_mask_check_the_shape_as_well() {
    let label = |count: usize| Tensor::<1, Int>::zeros([count], &device());
    let ids = Targets::from_ids(&[vec![1], vec![2]], &[1, 2, 3, 4], &device()).unwrap();
    let groups = Targets::from_groups(&[1, 1], 2, &device()).unwrap();
    for targets in [ids, groups, Targets::from_labels(label(2), label(4))] {
        for objective in DEFAULTS {
            let loss = Criterion::from(&objective);
            assert_panics(
                "targets: expected [queries, documents] = [2, 3] as the scores have, got [2, 4]",
                || loss.rows(scores([2, 3]), targets.clone()),
            );
        }
        assert_panics(
            "assert_shape!(candidates, [queries, documents]): axis 1 expected 4, got 3",
            || targets.with_candidates(mask([2, 3])),
        );
    }
}

/// A panic may be caught: what was not part of the bad call still works.
#[test]
fn a_loss_outlives_a_bad_call() {
    let batch = Batch::new(&[(&[1.0, 0.0], &[0])]);
    let loss = Criterion::from(&DEFAULTS[0]);
    assert_panics("assert_shape!(positives", || {
        loss.mean(scores([2, 3]), mask([2, 4]))
    });
    loss.mean(
        batch.scores(&device(), DType::F32),
        batch.targets(&device()),
    );
}

#[test]
#[should_panic(expected = "LsePairLossConfig: temperature must be positive and finite, got 0")]
fn a_temperature_of_zero_panics() {
    LsePairLossConfig::new().with_temperature(0.0).init();
}

#[test]
fn a_temperature_that_is_not_positive_and_finite_panics_in_every_init() {
    let names = [
        "LsePairLossConfig",
        "JointLhLossConfig",
        "SumMargLhLossConfig",
        "Rand1LhLossConfig",
    ];
    for (objective, name) in DEFAULTS.into_iter().zip(names) {
        for (temperature, shown) in [
            (0.0, "0"),
            (-0.05, "-0.05"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            let expected = format!("{name}: temperature must be positive and finite, got {shown}");
            assert_panics(&expected, || {
                Criterion::from(&objective.temperature(temperature))
            });
        }
    }
}

#[test]
fn a_margin_that_is_not_finite_panics_in_init() {
    for (margin, shown) in [
        (f64::NAN, "NaN"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
    ] {
        let expected = format!("LsePairLossConfig: margin must be finite, got {shown}");
        let objective: Objective = DEFAULTS[0].margin(margin);
        assert_panics(&expected, || Criterion::from(&objective));
    }
    LsePairLossConfig::new().with_margin(-3.0).init();
}

#[test]
fn the_other_configs_have_a_temperature_and_no_more_than_they_need() {
    JointLhLossConfig::new()
        .with_temperature(0.5)
        .with_normalize_by_positives(true)
        .init();
    SumMargLhLossConfig::new().with_temperature(0.5).init();
    Rand1LhLossConfig::new().with_temperature(0.5).init();
}

/// Two devices in one program: only where a second one is compiled in.
#[cfg(all(feature = "flex", feature = "ndarray"))]
mod devices {
    use super::*;
    use burn::tensor::Device;

    /// One that is not under test.
    #[allow(deprecated)]
    fn other() -> Device {
        match device() == Device::ndarray() {
            true => Device::flex(),
            false => Device::ndarray(),
        }
    }

    fn expected(who: &str, expected: Device, got: Device) -> String {
        format!("{who}: expected a tensor on {expected:?}, got one on {got:?}")
    }

    #[test]
    fn a_mask_on_another_device_panics() {
        let elsewhere = Tensor::<2, Bool>::full([2, 3], true, &other());
        for objective in DEFAULTS {
            let loss = Criterion::from(&objective);
            let expected = expected("targets", device(), other());
            assert_panics(&expected, || loss.rows(scores([2, 3]), elsewhere.clone()));
            assert_panics(&expected, || {
                loss.rows(scores([2, 3]).autodiff(), elsewhere.clone())
            });
        }
    }

    #[test]
    fn candidates_on_another_device_panic() {
        let elsewhere = Tensor::<2, Bool>::full([2, 3], true, &other());
        let expected = expected("candidates", device(), other());
        assert_panics(&expected, || {
            Targets::new(mask([2, 3])).with_candidates(elsewhere)
        });
    }

    #[test]
    fn labels_on_two_devices_panic() {
        let label = |device: &Device| Tensor::<1, Int>::zeros([2], device);
        let expected = expected("documents", device(), other());
        assert_panics(&expected, || {
            Targets::from_labels(label(&device()), label(&other()))
        });
    }

    #[test]
    fn a_choice_on_another_device_panics() {
        let chosen = Tensor::<1, Int>::zeros([2], &other());
        let rand1 = Rand1LhLossConfig::new().init();
        let expected = expected("chosen", device(), other());
        assert_panics(&expected, || {
            rand1.forward_chosen(scores([2, 3]), mask([2, 3]), chosen)
        });
    }

    #[test]
    fn targets_on_another_device_than_the_embeddings_panic() {
        let elsewhere = Tensor::<2, Bool>::full([2, 3], true, &other());
        let expected = expected("targets", device(), other());
        for objective in DEFAULTS {
            let loss = Criterion::from(&objective);
            assert_panics(&expected, || {
                loss.tiled(
                    scores([2, 5]).autodiff(),
                    scores([3, 5]),
                    elsewhere.clone(),
                    2,
                )
            });
        }
    }

    #[test]
    fn documents_on_another_device_than_the_queries_panic() {
        let documents = Tensor::<2>::zeros([3, 5], &other());
        let loss = LsePairLossConfig::new().init();
        let expected = expected("documents", device(), other());
        assert_panics(&expected, || {
            loss.forward_embeddings(scores([2, 5]), documents, mask([2, 3]))
        });
    }
}

#[test]
#[should_panic(expected = "transpose: expected targets without chosen positives")]
fn a_choice_cannot_be_transposed() {
    let chosen = Tensor::<1, Int>::from_ints([0, 1], &device());
    let _ = Targets::new(mask([2, 3])).with_chosen(chosen).transpose();
}

#[test]
fn a_request_takes_no_number_that_kernels_cannot_hold() {
    for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_panics(
            &format!("Request::new: expected a positive, finite temperature, got {temperature}"),
            || Request::new(temperature, &[Statistic::Negatives]),
        );
    }
    let request = || Request::new(0.05, &[Statistic::Negatives]);
    for exponent in [f64::NAN, f64::INFINITY] {
        assert_panics(
            &format!("with_exponent: expected a finite exponent, got {exponent}"),
            || request().with_exponent(exponent),
        );
    }
    for hardness in [-1.0, 1e39, f64::NAN, f64::INFINITY] {
        assert_panics(
            &format!(
                "with_hardness: expected a number that is finite in f32 and not negative, got {hardness}"
            ),
            || request().with_hardness(hardness),
        );
    }
    for bias in [1e39, f64::NAN, f64::NEG_INFINITY] {
        assert_panics(
            &format!("with_bias: expected a bias that is finite in f32, got {bias}"),
            || request().with_bias(bias),
        );
    }
    let rule = FalseNegatives::new(PositiveThreshold::Mean).with_margin(f64::NAN);
    assert_panics(
        "with_false_negatives: expected a finite margin, got NaN",
        || request().with_false_negatives(Some(rule)),
    );
    let product = |rate: f64| Product {
        rate,
        offset: 1.0,
        center: 0.5,
    };
    for rate in [1e39, f64::NAN] {
        assert_panics(
            &format!(
                "Curve: expected numbers that are finite in f32, got rate {rate}, offset 1 and center 0.5"
            ),
            || Curve::new(product(0.0), product(rate)),
        );
    }
    let circle =
        "Curve: expected numbers that are finite in f32, got rate -1, offset NaN and center NaN";
    assert_panics(circle, || Curve::circle(f64::NAN));
    let focal =
        "Curve: expected numbers that are finite in f32, got rate 1, offset inf and center 0";
    assert_panics(focal, || Curve::focal(f64::INFINITY));
}

/// A number that is finite, but not in f32, is told so.
#[test]
fn numbers_beyond_f32_are_refused_by_name() {
    const LARGE: f64 = 1e39;
    assert_panics(
        &format!("LsePairLossConfig: hardness must be finite in f32 and not negative, got {LARGE}"),
        || LsePairLossConfig::new().with_hardness(LARGE).init(),
    );
    assert_panics(
        &format!("CircleLossConfig: margin must be finite in f32, got {LARGE}"),
        || CircleLossConfig::new().with_margin(LARGE).init(),
    );
    assert_panics(
        &format!("FocalInfoNceLossConfig: margin must be finite in f32, got {LARGE}"),
        || FocalInfoNceLossConfig::new().with_margin(LARGE).init(),
    );
    assert_panics(
        &format!("MarginRankingLossConfig: margin must be finite in f32, got {LARGE}"),
        || MarginRankingLossConfig::new().with_margin(LARGE).init(),
    );
    assert_panics(
        &format!("SigmoidLossConfig: bias must be finite in f32, got {LARGE}"),
        || SigmoidLossConfig::new().with_bias(LARGE).init(),
    );
    assert_panics(
        &format!("MultiSimilarityLossConfig: base must be finite in f32, got {LARGE}"),
        || MultiSimilarityLossConfig::new().with_base(LARGE).init(),
    );
    for value in [1e-39, LARGE] {
        assert_panics(
            &format!(
                "MultiSimilarityLossConfig: alpha must be positive and finite, between 1.2e-38 and \
                 3.4e38, got {value}"
            ),
            || MultiSimilarityLossConfig::new().with_alpha(value).init(),
        );
    }
}

#[test]
fn bounds_of_a_temperature_that_hold_no_number_panic() {
    for (min, initial, max) in [
        (0.0, 0.1, 1.0),
        (-1.0, 0.1, 1.0),
        (0.2, 0.1, 1.0),
        (0.01, f64::NAN, 1.0),
        (f64::NAN, 0.1, 1.0),
        (0.01, 0.1, f64::INFINITY),
        (0.01, 0.1, f64::NAN),
    ] {
        let expected = format!(
            "LearnableTemperatureConfig: expected 0 < min <= initial <= max, got min {min}, initial \
             {initial} and max {max}"
        );
        let config = LearnableTemperatureConfig { initial, min, max };
        assert_panics(&expected, || config.init(&device()));
    }
}

#[test]
fn a_teachers_temperature_is_positive_and_finite() {
    for temperature in [0.0, -2.0, f64::NAN, f64::INFINITY] {
        let expected =
            format!("from_teacher: expected a positive, finite temperature, got {temperature}");
        assert_panics(&expected, || {
            Targets::from_teacher(scores([1, 2]), temperature)
        });
        let expected = format!(
            "from_teacher_groups: expected a positive, finite temperature, got {temperature}"
        );
        assert_panics(&expected, || {
            Targets::from_teacher_groups(&[vec![1.0]], 2, temperature, &device())
        });
    }
}

#[test]
fn statistics_check_the_targets_in_every_form() {
    let request = || Request::new(1.0, &[Statistic::Negatives]);
    let targets = || Targets::new(mask([2, 4]));
    let expected = "assert_shape!(positives, [queries, documents]): axis 1 expected 3, got 4";
    assert_panics(expected, || {
        Statistics::new(scores([2, 3]), &targets(), request())
    });
    assert_panics(expected, || {
        Statistics::composed(scores([2, 3]), &targets(), request())
    });
    let embeddings = || Embeddings::new(scores([2, 5]), scores([3, 5]));
    assert_panics(expected, || {
        Statistics::from_embeddings(embeddings(), &targets(), request())
    });
}

#[test]
fn shards_that_do_not_fit_each_other_panic() {
    let loss = LsePairLossConfig::new().init();
    let forward = |queries: Vec<Tensor<2>>, documents: Vec<Tensor<2>>| {
        let count = |shards: &[Tensor<2>]| shards.iter().map(|shard| shard.dims()[0]).sum();
        let positives = mask([count(&queries), count(&documents)]);
        loss.forward(Shards::new(queries, documents), positives)
    };
    assert_panics("queries: expected shards, got none", || {
        forward(Vec::new(), vec![scores([2, 3])])
    });
    assert_panics(
        "queries[1]: expected 3 dimensions in F32 as queries[0] has, got 4 in F32",
        || forward(vec![scores([2, 3]), scores([1, 4])], vec![scores([2, 3])]),
    );
    assert_panics(
        "documents[1]: expected 3 dimensions in F32 as queries[0] has, got 2 in F32",
        || forward(vec![scores([2, 3])], vec![scores([2, 3]), scores([5, 2])]),
    );
    if supports(DType::F64) {
        let wide = Tensor::zeros([5, 3], (&device(), DType::F64));
        assert_panics(
            "documents[1]: expected 3 dimensions in F32 as queries[0] has, got 3 in F64",
            || forward(vec![scores([2, 3])], vec![scores([2, 3]), wide]),
        );
    }
}

/// Half of the range of a tile that bounds nothing.
#[test]
fn a_tile_may_be_as_large_as_numbers_are() {
    use burn_multi_positive::{Bidirectional, Forward, Matryoshka};

    let device = device().autodiff();
    let loss = LsePairLossConfig::new().init();
    for tile in [[usize::MAX; 2], [usize::MAX, 1], [1, usize::MAX]] {
        let embeddings = || {
            let side = |rows: usize| Tensor::<2>::ones([rows, 5], &device).require_grad();
            Embeddings::new(side(2), side(3)).with_tile(tile)
        };
        let same_side = Bidirectional::new(loss.clone()).with_same_side(true);
        for forward in [
            loss.forward(embeddings(), mask([2, 3])),
            Bidirectional::new(loss.clone()).forward(embeddings(), mask([2, 3])),
            same_side.forward(embeddings(), mask([2, 3])),
            Matryoshka::new(loss.clone(), &[5, 2]).forward(embeddings(), mask([2, 3])),
            Matryoshka::new(same_side, &[5, 2]).forward(embeddings(), mask([2, 3])),
        ] {
            let _ = forward.backward();
        }
    }
}
