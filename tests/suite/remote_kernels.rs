//! Kernels on devices of other processes: losses and gradients are those of Burn's CPU
//! backend, bit for bit where the same kernel computes them.

use crate::{
    device::turn_to_draw,
    server::{self, Server, bounded, connect, free_port, transport},
};
use burn::{
    backend::Flex,
    server::{IrohIdentity, RemoteServer},
    tensor::{DType, Device, Int, Tensor, TensorData},
};
use burn_multi_positive::{
    Bidirectional, CircleLossConfig, Embeddings, ExpectedRand1LhLossConfig, FalseNegatives,
    Forward, JointLhLossConfig, LsePairLossConfig, MarginRankingLossConfig, Matryoshka,
    MultiSimilarityLossConfig, Objective, PositiveThreshold, PowerMeanLossConfig,
    Rand1LhLossConfig, SigmoidLossConfig, SumMargLhLossConfig, Targets,
    remote::{KernelsError, serve_kernels, use_kernels},
    statistics::{Request, Statistic, Statistics},
};

/// Serves two devices of this machine, and says where.
fn serve(prepare: impl FnOnce(RemoteServer) -> RemoteServer) {
    server::as_server(|_| {
        let (transport, address) = transport(IrohIdentity::random(), free_port());
        server::say(&address);
        let server = prepare(RemoteServer::new([Device::flex(), Device::flex()]));
        server.serve(transport).unwrap();
    });
}

/// What a server process is: `server::start` starts this test once more, or one of the next.
#[test]
fn server_with_kernels() {
    serve(serve_kernels);
}

#[test]
fn server_without_kernels() {
    serve(|server| server);
}

#[test]
fn server_of_another_version() {
    serve(|server| {
        let name = "burn-multi-positive/kernels";
        serve_kernels(server).with_custom_op::<Flex, _>(name, |handles, message, _| {
            let version = Tensor::<1, Int>::from_data([1000i64], (&Device::flex(), DType::I64));
            let version = version.try_into_primitive::<Flex>().unwrap();
            handles.register_int_tensor::<Flex>(&message.outputs[0].id, version);
        })
    });
}

/// A server that serves kernels, and a device that uses them.
fn start() -> (Server, Device) {
    let server = server::start("remote_kernels::server_with_kernels", "");
    let device = connect(&server.said, 0).autodiff();
    use_kernels(&device).expect("kernels");
    (server, device)
}

const QUERIES: usize = 9;
const DOCUMENTS: usize = 37;

/// Numbers in [-1, 1) without order.
fn entries(count: usize, salt: usize) -> Vec<f32> {
    let entry = |i: usize| ((i * 377 + salt * 1013) % 641) as f32 / 320.5 - 1.0;
    (0..count).map(entry).collect()
}

fn matrix(dims: [usize; 2], salt: usize, device: &Device, dtype: DType) -> Tensor<2> {
    let data = TensorData::new(entries(dims[0] * dims[1], salt), dims);
    Tensor::<2>::from_data(data, (device, DType::F32)).cast(dtype)
}

fn scores(device: &Device, dtype: DType) -> Tensor<2> {
    matrix([QUERIES, DOCUMENTS], 1, device, dtype)
}

/// Every form of targets; a query has no positive.
fn forms(device: &Device) -> Vec<(&'static str, Targets)> {
    let device = &device.clone().without_autodiff();
    let some = |salt: usize, bound: f32| {
        matrix([QUERIES, DOCUMENTS], salt, device, DType::F32).greater_scalar(bound)
    };
    let positives = some(2, 0.8);
    let candidates = some(3, -0.5);
    let weights = matrix([QUERIES, DOCUMENTS], 4, device, DType::F32).abs();
    let query_weights = Tensor::<1>::from_data(
        TensorData::new(entries(QUERIES, 5), [QUERIES]),
        (device, DType::F32),
    );
    let labels = |count: usize| {
        let labels: Vec<i64> = (0..count as i64).map(|row| row % 8).collect();
        Tensor::<1, Int>::from_data(TensorData::new(labels, [count]), (device, DType::I64))
    };
    let documents: Vec<usize> = (0..DOCUMENTS).map(|d| d % 20).collect();
    let relevant = |q: usize| match q {
        4 => vec![],
        _ => vec![q, (q + 5) % 20],
    };
    let relevant: Vec<Vec<usize>> = (0..QUERIES).map(relevant).collect();
    let weighted = |ids: &Vec<usize>| ids.iter().map(|&id| (id, 0.25 + id as f32)).collect();
    let weighted: Vec<Vec<(usize, f32)>> = relevant.iter().map(weighted).collect();
    let ids = || Targets::from_ids(&relevant, &documents, device).unwrap();
    let guide = matrix([QUERIES, DOCUMENTS], 6, device, DType::F32);
    let rule = FalseNegatives::new(PositiveThreshold::Weakest);
    vec![
        ("mask", positives.clone().into()),
        (
            "mask with candidates and weights",
            Targets::new(positives)
                .with_candidates(candidates.clone())
                .with_weights(weights.clone())
                .with_query_weights(query_weights.abs()),
        ),
        (
            "labels",
            Targets::from_labels(labels(QUERIES), labels(DOCUMENTS)),
        ),
        ("ids", ids()),
        ("ids with candidates", ids().with_candidates(candidates)),
        (
            "ids with a guide",
            ids().without_false_negatives(guide, rule),
        ),
        (
            "ids with weights, twice",
            Targets::from_weighted_ids(&weighted, &documents, device)
                .unwrap()
                .with_weights(weights),
        ),
    ]
}

/// A name and a loss, with what each kernel can be told among them.
fn losses() -> Vec<(&'static str, Box<dyn Objective>)> {
    let absolute = FalseNegatives::new(PositiveThreshold::Strongest).with_margin(0.1);
    let relative = FalseNegatives::new(PositiveThreshold::Mean)
        .with_margin(0.05)
        .with_relative(true);
    vec![
        (
            "LSEPair",
            Box::new(LsePairLossConfig::new().with_temperature(0.05).init()),
        ),
        (
            "LSEPair, hard and less false negatives",
            Box::new(
                LsePairLossConfig::new()
                    .with_temperature(0.2)
                    .with_hardness(2.0)
                    .with_false_negatives(Some(absolute))
                    .init(),
            ),
        ),
        (
            "JointLH",
            Box::new(JointLhLossConfig::new().with_temperature(0.1).init()),
        ),
        (
            "SumMargLH less false negatives",
            Box::new(
                SumMargLhLossConfig::new()
                    .with_temperature(0.1)
                    .with_false_negatives(Some(relative))
                    .init(),
            ),
        ),
        (
            "Rand1LH",
            Box::new(Rand1LhLossConfig::new().with_temperature(0.1).init()),
        ),
        (
            "expected Rand1LH",
            Box::new(
                ExpectedRand1LhLossConfig::new()
                    .with_temperature(0.1)
                    .init(),
            ),
        ),
        (
            "power mean",
            Box::new(PowerMeanLossConfig::new().with_exponent(-0.5).init()),
        ),
        ("circle", Box::new(CircleLossConfig::new().init())),
        ("sigmoid", Box::new(SigmoidLossConfig::new().init())),
        ("ranking", Box::new(MarginRankingLossConfig::new().init())),
        (
            "multi-similarity",
            Box::new(MultiSimilarityLossConfig::new().init()),
        ),
    ]
}

fn bits(tensor: Tensor<2>) -> Vec<u64> {
    let data = tensor.into_data();
    data.iter::<f64>().map(f64::to_bits).collect()
}

/// A loss and its gradient, as bits.
fn step(
    device: &Device,
    dtype: DType,
    loss: &dyn Objective,
    targets: Targets,
) -> (Vec<u64>, Vec<u64>) {
    let scores = scores(device, dtype).detach().require_grad();
    // Rand1LH draws: the same everywhere.
    device.seed(6);
    let losses = loss.forward_no_reduction(scores.clone(), targets);
    let gradients = losses.clone().sum().backward();
    let gradient = scores.grad(&gradients).expect("a gradient");
    (bits(losses.unsqueeze()), bits(gradient))
}

#[test]
fn losses_and_gradients_are_those_of_the_cpu_backend() {
    let _turn = turn_to_draw();
    let (_server, remote) = start();
    bounded(move || {
        let local = Device::flex().autodiff();
        for (name, loss) in losses() {
            let forms = forms(&local).into_iter().zip(forms(&remote));
            for ((form, here), (_, there)) in forms {
                let want = step(&local, DType::F32, &loss, here);
                let got = step(&remote, DType::F32, &loss, there);
                assert_eq!(got.0, want.0, "{name}, {form}: losses");
                assert_eq!(got.1, want.1, "{name}, {form}: gradient");
                assert!(want.1.iter().any(|&bits| f64::from_bits(bits) != 0.0));
            }
        }
        // Autodiff that recomputes what it did not keep.
        let (_, loss) = losses().remove(1);
        let [want, got] = [local, remote.gradient_checkpointing()].map(|device| {
            let (_, targets) = forms(&device).remove(1);
            step(&device, DType::F32, &loss, targets)
        });
        assert_eq!(got, want, "gradient checkpointing");
    });
}

#[test]
fn scores_of_other_types_are_taken() {
    let _turn = turn_to_draw();
    let (_server, remote) = start();
    bounded(move || {
        let local = Device::flex().autodiff();
        for dtype in [DType::F64, DType::F16, DType::BF16] {
            let (name, loss) = losses().remove(1);
            let forms = forms(&local).into_iter().zip(forms(&remote));
            for ((form, here), (_, there)) in forms {
                let want = step(&local, dtype, &loss, here);
                let got = step(&remote, dtype, &loss, there);
                assert_eq!(got, want, "{name}, {form}, {dtype:?}");
            }
        }
    });
}

/// Loss and gradients of embeddings, one behind the other.
fn step_of_embeddings(
    device: &Device,
    loss: impl Fn(Embeddings) -> Tensor<1>,
    tile: Option<usize>,
) -> Vec<f64> {
    let queries = matrix([QUERIES, 16], 7, device, DType::F32);
    let documents = matrix([DOCUMENTS, 16], 8, device, DType::F32);
    // Scores below 1: at a temperature of 0.05 a sum in another order is another one by 1e-6.
    let leaves = [queries, documents].map(|x| x.mul_scalar(0.25).detach().require_grad());
    let [queries, documents] = leaves.clone();
    let embeddings = Embeddings::new(queries, documents);
    let embeddings = match tile {
        Some(tile) => embeddings.with_tile(tile),
        None => embeddings,
    };
    device.seed(6);
    let loss = loss(embeddings);
    let gradients = loss.backward();
    let loss = loss.into_data().iter::<f64>().collect();
    let gradients = leaves.map(|leaf| leaf.grad(&gradients).expect("a gradient").into_data());
    let [queries, documents] = gradients.map(|data| data.iter::<f64>().collect::<Vec<_>>());
    [loss, queries, documents].concat()
}

#[track_caller]
fn assert_near(what: &str, got: &[f64], want: &[f64]) {
    let largest = want.iter().fold(0.0, |a: f64, x| a.max(x.abs()));
    assert!(largest > 0.0, "{what}");
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        let distance = (got - want).abs();
        assert!(
            distance <= 1e-6 * largest,
            "{what}: got {got}, expected {want}, where the largest is {largest}"
        );
    }
}

#[test]
fn embeddings_are_worked_through_by_portions() {
    let _turn = turn_to_draw();
    let (_server, remote) = start();
    bounded(move || {
        let local = Device::flex().autodiff();
        for (name, loss) in losses() {
            let forms = forms(&local).into_iter().zip(forms(&remote));
            for ((form, here), (_, there)) in forms {
                let run = |device: &Device, targets: &Targets, tile| {
                    step_of_embeddings(device, |x| loss.forward(x, targets.clone()), tile)
                };
                let want = run(&local, &here, None);
                for tile in [None, Some(8)] {
                    let got = run(&remote, &there, tile);
                    assert_near(&format!("{name}, {form}, {tile:?}"), &got, &want);
                }
            }
        }
        // Both directions, and nested sizes.
        for index in [0, 3] {
            let ids = |device: &Device| forms(device).remove(index).1;
            let run = |device: &Device| {
                let both = Bidirectional::new(LsePairLossConfig::new().init());
                let loss = |x| both.forward(x, ids(device));
                let both = step_of_embeddings(device, loss, None);
                let nested = Matryoshka::new(LsePairLossConfig::new().init(), &[4, 16]);
                let loss = |x| nested.forward(x, ids(device));
                [both, step_of_embeddings(device, loss, None)]
            };
            for (got, want) in run(&remote).iter().zip(&run(&local)) {
                assert_near("both directions or nested sizes", got, want);
            }
        }
    });
}

/// Statistics of a batch in the form that the device takes, and composed.
fn both_forms(device: &Device) -> [Vec<u64>; 2] {
    let request = Request::new(0.1, &[Statistic::Negatives, Statistic::PositiveLosses]);
    let targets = forms(device).remove(0).1;
    let forms: [fn(Tensor<2>, &Targets, Request) -> Statistics; 2] =
        [Statistics::new, Statistics::composed];
    forms.map(|form| {
        let statistics = form(scores(device, DType::F32), &targets, request);
        bits(statistics.get(Statistic::PositiveLosses).unsqueeze())
    })
}

#[test]
fn only_a_device_that_uses_kernels_does_not_compose() {
    let (server, remote) = start();
    let other = connect(&server.said, 1);
    bounded(move || {
        let [kernels, composed] = both_forms(&Device::flex());
        // The two round differently, so that equality tells them apart.
        assert_ne!(kernels, composed);
        assert_eq!(both_forms(&remote)[0], kernels);
        let [taken, composed] = both_forms(&other);
        assert_eq!(taken, composed);
        use_kernels(&other).unwrap();
        assert_eq!(both_forms(&other)[0], kernels);
    });
}

#[test]
fn a_server_without_kernels_does_not_answer() {
    let server = server::start("remote_kernels::server_without_kernels", "");
    let [device, other] = [0, 1].map(|index| connect(&server.said, index));
    bounded(move || {
        let sum = |device: &Device| {
            let sum = Tensor::<1>::ones([3], (device, DType::F32)).sum();
            sum.try_into_data().map(|data| data.iter::<f32>().next())
        };
        assert_eq!(sum(&device).unwrap(), Some(3.0));
        let error = use_kernels(&device).unwrap_err();
        assert!(matches!(error, KernelsError::NoAnswer(_)), "{error}");
        let said = error.to_string();
        assert!(
            said.starts_with(
                "use_kernels: expected a server that serves kernels, which did not answer: "
            ),
            "{said}"
        );
        // The session is over, and no other.
        assert!(sum(&device).is_err());
        assert_eq!(sum(&other).unwrap(), Some(3.0));
        let [taken, composed] = both_forms(&other);
        assert_eq!(taken, composed);
    });
    drop(server);
}

#[test]
fn a_server_that_is_gone_does_not_answer() {
    let mut server = server::start("remote_kernels::server_with_kernels", "");
    let device = connect(&server.said, 0);
    server.kill();
    bounded(move || {
        let error = use_kernels(&device).unwrap_err();
        assert!(matches!(error, KernelsError::NoAnswer(_)), "{error}");
    });
}

#[test]
fn a_server_of_another_version_is_refused_and_composes() {
    let server = server::start("remote_kernels::server_of_another_version", "");
    let device = connect(&server.said, 0);
    bounded(move || {
        let error = use_kernels(&device).unwrap_err();
        assert!(
            matches!(error, KernelsError::Version { server: 1000, .. }),
            "{error}"
        );
        assert_eq!(
            error.to_string(),
            "use_kernels: expected a server whose kernels have version 1, got 1000"
        );
        let [taken, composed] = both_forms(&device);
        assert_eq!(taken, composed);
    });
    drop(server);
}

#[test]
fn a_device_of_this_machine_is_refused() {
    let device = Device::flex().autodiff();
    let error = use_kernels(&device).unwrap_err();
    assert_eq!(error, KernelsError::NotRemote);
    assert_eq!(
        error.to_string(),
        "use_kernels: expected a remote device, got one of this process"
    );
}
