//! The operations against the same composed of Burn's own, in f64 and f32.

use burn::tensor::{
    Bool, DType, Device, Distribution, Tensor, TensorData,
    activation::{gelu as burn_gelu, gelu_approximate, softmax},
};

use super::*;

type Inputs = Vec<Tensor<2>>;

fn autodiff() -> Device {
    Device::flex().autodiff()
}

/// Entries of both signs, and the same in every run.
fn numbers(shape: [usize; 2], seed: usize, device: &Device) -> Tensor<2> {
    let entry = |index: usize| ((index * 7919 + seed * 104_729) as f32 * 0.37).sin() * 3.0;
    let entries: Vec<f32> = (0..shape[0] * shape[1]).map(entry).collect();
    Tensor::from_data(TensorData::new(entries, shape), device)
}

/// The result, and the gradients of a sum of its entries, each with a weight of its own.
fn run(inputs: &[Tensor<2>], operation: &dyn Fn(Inputs) -> Tensor<2>) -> Vec<Vec<f32>> {
    let leaves: Inputs = inputs
        .iter()
        .map(|input| input.clone().require_grad())
        .collect();
    let out = operation(leaves.clone());
    let weights = numbers(out.dims(), 9, &out.device());
    let gradients = (out.clone() * weights).sum().backward();
    let of_leaves = leaves.iter().map(|leaf| leaf.grad(&gradients).unwrap());
    let all = std::iter::once(out.without_autodiff()).chain(of_leaves);
    all.map(|tensor| tensor.into_data().try_to_vec().unwrap())
        .collect()
}

/// The largest difference of results and gradients, each of its largest entry.
fn difference(left: &[Vec<f32>], right: &[Vec<f32>]) -> f32 {
    let pairs = left.iter().zip(right).map(|(left, right)| {
        assert_eq!(left.len(), right.len());
        let size = right.iter().fold(1e-6f32, |size, x| size.max(x.abs()));
        let errors = left.iter().zip(right).map(|(x, y)| (x - y).abs() / size);
        // Not `max`, which would lose a NaN.
        errors.fold(
            0.0,
            |largest, error| if error <= largest { largest } else { error },
        )
    });
    pairs.fold(
        0.0,
        |largest, error| if error <= largest { largest } else { error },
    )
}

fn wide(tensor: Tensor<2>) -> Tensor<2> {
    tensor.cast(DType::F64)
}

fn narrow(tensor: Tensor<2>) -> Tensor<2> {
    tensor.cast(DType::F32)
}

fn composed_attention(
    inputs: Inputs,
    padding: &Tensor<2, Bool>,
    heads: usize,
    to: DType,
) -> Tensor<2> {
    let [texts, tokens] = padding.dims();
    let [rows, hidden] = inputs[0].dims();
    let size = hidden / heads;
    let split = |part: &Tensor<2>| -> Tensor<4> {
        let part = part.clone().cast(to);
        part.reshape([texts, tokens, heads, size]).swap_dims(1, 2)
    };
    let [query, key, value] = [0, 1, 2].map(|part| split(&inputs[part]));
    let bias = padding
        .clone()
        .unsqueeze_dims::<4>(&[1, 2])
        .float()
        .cast(to)
        * -1e9;
    let scores = query.matmul(key.transpose()) / (size as f64).sqrt() + bias;
    let context = softmax(scores, 3).matmul(value);
    narrow(context.swap_dims(1, 2).reshape([rows, hidden]))
}

/// The last tokens of every second text are padding.
fn padding([texts, tokens]: [usize; 2], count: usize) -> Tensor<2, Bool> {
    let entry = |index: usize| (index / tokens) % 2 == 1 && index % tokens + count >= tokens;
    let entries: Vec<bool> = (0..texts * tokens).map(entry).collect();
    Tensor::from_data(TensorData::new(entries, [texts, tokens]), &Device::flex())
}

fn composed_norm(inputs: Inputs) -> Tensor<2> {
    let mut inputs = inputs.into_iter().map(wide);
    let mut next = || inputs.next().unwrap();
    let sum = next() + next();
    let centered = sum.clone() - sum.mean_dim(1);
    let variance = centered.clone().square().mean_dim(1);
    narrow(centered / (variance + 1e-12).sqrt() * next() + next())
}

fn fused_norm(inputs: Inputs) -> Tensor<2> {
    let [left, right, gamma, beta] = inputs.try_into().unwrap();
    let [_, width] = gamma.dims();
    let affine = [gamma, beta].map(|row| row.reshape([width]));
    add_and_norm([left, right], affine, 1e-12)
}

#[test]
fn gelu_is_that_of_burn() {
    for shape in [[1, 1], [3, 17], [5, 64], [130, 300]] {
        let inputs = [numbers(shape, 1, &autodiff())];
        let exact = run(&inputs, &|x| narrow(burn_gelu(wide(x[0].clone()))));
        let fused = run(&inputs, &|x| gelu(x[0].clone(), Form::Exact));
        assert!(difference(&fused, &exact) < 3e-7, "{shape:?}");
        let approximate = run(&inputs, &|x| narrow(gelu_approximate(wide(x[0].clone()))));
        let fused = run(&inputs, &|x| gelu(x[0].clone(), Form::Tanh));
        assert!(difference(&fused, &approximate) < 6e-7, "{shape:?}");
    }
}

#[test]
fn attention_is_the_composed_one() {
    for (texts, tokens, heads, size) in [
        (1, 1, 1, 1),
        (2, 3, 2, 5),
        (3, 17, 4, 8),
        (2, 64, 1, 32),
        (4, 131, 3, 16),
    ] {
        let shape = [texts * tokens, heads * size];
        let inputs = [1, 2, 3].map(|seed| numbers(shape, seed, &autodiff()) * 0.5);
        for count in [0, tokens / 2] {
            let padding = padding([texts, tokens], count);
            let exact = run(&inputs, &|x| {
                composed_attention(x, &padding, heads, DType::F64)
            });
            let fused = run(&inputs, &|x| {
                attention(x.try_into().unwrap(), padding.clone(), heads)
            });
            let largest = difference(&fused, &exact);
            assert!(
                largest < 1e-5,
                "{texts} {tokens} {heads} {size}: {largest:e}"
            );
        }
    }
}

#[test]
fn in_a_text_of_padding_alone_all_attend_to_all() {
    let inputs = [1, 2, 3].map(|seed| numbers([10, 6], seed, &autodiff()));
    let padding = padding([2, 5], 5);
    let composed = run(&inputs, &|x| composed_attention(x, &padding, 2, DType::F32));
    let fused = run(&inputs, &|x| {
        attention(x.try_into().unwrap(), padding.clone(), 2)
    });
    assert!(difference(&fused, &composed) < 3e-6);
}

#[test]
fn large_gaps_of_scores_are_no_problem_and_a_nan_stays_in_its_text() {
    let shape = [8, 4];
    let inputs = [1, 2, 3].map(|seed| numbers(shape, seed, &autodiff()) * 1e6);
    let padding = padding([2, 4], 1);
    let fused = |x: Inputs| attention(x.try_into().unwrap(), padding.clone(), 2);
    let composed = |x: Inputs| composed_attention(x, &padding, 2, DType::F32);
    assert!(difference(&run(&inputs, &fused), &run(&inputs, &composed)) < 1e-6);

    let mut query = vec![0.5f32; 32];
    for damaged in [f32::NAN, f32::INFINITY] {
        query[3] = damaged;
        let query = Tensor::from_data(TensorData::new(query.clone(), shape), &autodiff());
        let [_, key, value] = inputs.clone();
        let results = run(&[query, key, value], &fused);
        // The second head of the first token.
        let bad: Vec<usize> = (0..32)
            .filter(|index| results[0][*index].is_nan())
            .collect();
        assert_eq!(bad, [2, 3], "{damaged}");
    }
}

#[test]
fn the_norm_is_the_composed_one() {
    for [rows, width] in [[1, 5], [3, 17], [31, 64], [100, 384], [70, 130]] {
        let device = autodiff();
        let inputs = [
            numbers([rows, width], 1, &device),
            numbers([rows, width], 2, &device) + 5.0,
            numbers([1, width], 3, &device),
            numbers([1, width], 4, &device),
        ];
        let (exact, fused) = (run(&inputs, &composed_norm), run(&inputs, &fused_norm));
        let largest = difference(&fused, &exact);
        assert!(largest < 5e-6, "{rows} {width}: {largest:e}");
    }
}

#[test]
fn views_are_read_and_left_as_they_are() {
    let device = autodiff();
    let whole = numbers([12, 20], 1, &device);
    // Transposed, a part of the rows, a part of the columns, and one row for all.
    let views = [
        numbers([8, 6], 2, &device).transpose(),
        whole.clone().narrow(0, 3, 6).narrow(1, 0, 8),
        whole.clone().narrow(1, 4, 8).narrow(0, 0, 6),
        whole.clone().narrow(0, 3, 1).narrow(1, 3, 8).expand([6, 8]),
    ];
    let before = whole.clone().into_data();
    let padding = padding([2, 3], 1);
    for view in views {
        let copy = Tensor::from_data(view.clone().into_data(), &device);
        let operations: [&dyn Fn(Inputs) -> Tensor<2>; 3] = [
            &|x| gelu(x[0].clone(), Form::Exact),
            &|x| {
                attention(
                    [x[0].clone(), x[0].clone(), x[0].clone()],
                    padding.clone(),
                    2,
                )
            },
            &|x| {
                let row = || x[0].clone().narrow(0, 0, 1);
                fused_norm(vec![x[0].clone(), x[0].clone(), row(), row()])
            },
        ];
        for operation in operations {
            for device in [Device::flex(), autodiff()] {
                let on = |tensor: &Tensor<2>| match device.is_autodiff() {
                    true => tensor.clone(),
                    false => tensor.clone().without_autodiff(),
                };
                let of_view = operation(vec![on(&view)]).into_data();
                assert_eq!(of_view, operation(vec![on(&copy)]).into_data());
            }
        }
        assert_eq!(whole.clone().into_data(), before);
    }
}

#[test]
fn with_checkpoints_and_without_a_graph_results_are_the_same() {
    let padding = padding([2, 5], 2);
    let network = |inputs: Inputs| {
        let [query, key, value, gamma, beta] = inputs.try_into().unwrap();
        let context = attention([query.clone(), key, value], padding.clone(), 2);
        let inner = gelu(context, Form::Exact);
        fused_norm(vec![inner, query, gamma, beta])
    };
    let inputs = |device: &Device| -> Inputs {
        let rows = (1..4).map(|seed| numbers([10, 6], seed, device));
        let affine = (4..6).map(|seed| numbers([1, 6], seed, device));
        rows.chain(affine).collect()
    };
    let plain = run(&inputs(&autodiff()), &network);
    let checkpointed = Device::flex().autodiff().gradient_checkpointing();
    assert_eq!(run(&inputs(&checkpointed), &network), plain);
    // A second pass before the first goes back.
    let twice = run(&inputs(&autodiff()), &|x| {
        let other = network(x.clone());
        network(x) + other * 0.0
    });
    assert_eq!(difference(&twice, &plain), 0.0);
    // Without gradients.
    for device in [Device::flex(), autodiff()] {
        let out = network(inputs(&device)).into_data();
        assert_eq!(out.try_to_vec::<f32>().unwrap(), plain[0]);
    }
}

#[test]
fn other_devices_types_and_empty_tensors_are_not_served() {
    let tensor = Tensor::<2>::random([2, 3], Distribution::Default, &autodiff());
    assert!(serve(&tensor));
    assert!(serve(&tensor.clone().without_autodiff()));
    assert!(!serve(&tensor.clone().cast(DType::BF16)));
    assert!(!serve(&tensor.clone().cast(DType::F64)));
    assert!(!serve(&Tensor::zeros([0, 3], &autodiff())));
}
