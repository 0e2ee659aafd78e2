//! Devices of other processes, over Burn's remote backend: losses, gradients and weights
//! are those of one device, and training that lost a server goes on after its last
//! checkpoint.

use crate::{
    batch::Criterion,
    close::{Tolerance, assert_all_close, assert_close},
    device::{device, turn_to_draw},
    devices::{assert_those_of_one_device, forms},
    folder::Folder,
    oracle::DEFAULTS,
    server::{self, Server, bounded, connect, free_port, transport},
};
use burn::{
    module::{Module, ModuleVisitor, Param},
    nn::{Linear, LinearConfig, loss::Reduction},
    optim::{AdamConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer},
    server::{IrohIdentity, RemoteServer},
    tensor::{DType, Device, Distribution, Tensor, activation::tanh},
};
use burn_multi_positive::{
    Bidirectional, Forward, LsePairLossConfig, Shards, Targets,
    remote::{serve_kernels, use_kernels},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

/// What a server process is: `server::start` starts this test once more, with the file of its key.
#[test]
fn server() {
    server::as_server(|key| {
        let identity = IrohIdentity::load_or_create(key).unwrap();
        // The same port for the same key, which is unlikely to be another's.
        let place = Path::new(key).with_extension("port");
        let port = std::fs::read_to_string(&place);
        let port = port.map_or_else(|_| free_port(), |port| port.parse().unwrap());
        std::fs::write(place, port.to_string()).unwrap();
        let (transport, address) = transport(identity, port);
        server::say(&address);
        let server = serve_kernels(RemoteServer::new([Device::flex()]));
        server.serve(transport).unwrap();
    });
}

/// A server with a key of its own, and its device.
fn start(folder: &Folder, name: &str) -> (Server, Device) {
    let key = folder.0.join(name);
    let server = server::start("remote::server", key.to_str().expect("a path"));
    let device = connect(&server.said, 0).autodiff();
    (server, device)
}

#[test]
fn losses_and_gradients_are_those_of_one_device() {
    let _turn = turn_to_draw();
    let folder = Folder::new("remote-losses");
    let (_one, first) = start(&folder, "one");
    let (_other, second) = start(&folder, "other");
    bounded(move || {
        let devices = [first, second];
        let cuts: [(&[usize], &[usize]); 4] = [
            (&[5, 4], &[7, 7]),
            (&[1, 8], &[3, 2, 9]),
            (&[5, 0, 4], &[14, 0]),
            (&[0, 9], &[0, 7, 0, 7]),
        ];
        let check = |way: &str| {
            for (index, objective) in DEFAULTS.iter().enumerate() {
                for (place, (form, targets)) in forms().into_iter().enumerate() {
                    let cuts = cuts[(index + place) % cuts.len()];
                    let what = format!("{way} {objective:?} {form} {cuts:?}");
                    let criterion = Criterion::from(objective);
                    assert_those_of_one_device(&what, &devices, cuts, |scores| {
                        // Rand1LH draws: the same for both.
                        device().seed(6);
                        criterion.scores_in_turn(scores, targets.clone(), Reduction::Mean)
                    });
                }
            }
            // Masks, and ids that occur on both devices.
            let both = Bidirectional::new(LsePairLossConfig::new().init());
            for (form, targets) in forms() {
                let what = format!("{way} both directions, {form}");
                assert_those_of_one_device(&what, &devices, cuts[1], |scores| {
                    both.forward(scores, targets.clone())
                });
            }
        };
        check("composed");
        for device in &devices {
            use_kernels(device).unwrap();
        }
        check("kernels");
    });
}

const QUERIES: usize = 12;
const GROUP: usize = 3;
const FEATURES: usize = 16;

/// An encoder for queries and documents alike.
#[derive(Module, Debug)]
struct Encoder {
    input: Linear,
    output: Linear,
}

impl Encoder {
    fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        self.output.forward(tanh(self.input.forward(features)))
    }
}

fn weights(encoder: &Encoder) -> Vec<f64> {
    struct Weights(Vec<f64>);
    impl ModuleVisitor for Weights {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f64>());
        }
    }
    let mut weights = Weights(Vec::new());
    encoder.visit(&mut weights);
    weights.0
}

/// A model in training on some devices.
struct Training {
    devices: Vec<Device>,
    encoder: Encoder,
    optimizer: ModuleOptimizer,
    /// How many steps it has taken.
    step: usize,
}

impl Training {
    /// From the same weights each time. They are drawn where they are first used, and a
    /// server has random numbers of its own: so they are used here.
    fn new(devices: &[Device]) -> Self {
        let here = device().autodiff();
        here.seed(3);
        let encoder = Encoder {
            input: LinearConfig::new(FEATURES, 24).init(&here),
            output: LinearConfig::new(24, 8).init(&here),
        };
        weights(&encoder);
        Self {
            devices: devices.to_vec(),
            encoder: encoder.fork(&devices[0]),
            optimizer: AdamConfig::new().init(),
            step: 0,
        }
    }

    /// What the next step learns from.
    fn loss(&self) -> (Tensor<1>, Vec<Encoder>) {
        let Self { devices, .. } = self;
        let replicas = devices.iter().map(|x| self.encoder.clone().fork(x));
        let replicas: Vec<Encoder> = replicas.collect();
        let here = device();
        here.seed(100 + self.step as u64);
        let embed = |rows: usize| {
            let features = Tensor::<2>::random([rows, FEATURES], Distribution::Default, &here);
            let parts = features.chunk(devices.len(), 0).into_iter();
            let parts = parts.zip(devices).zip(&replicas);
            let parts =
                parts.map(|((part, device), replica)| replica.forward(part.to_device(device)));
            parts.collect::<Vec<_>>()
        };
        let shards = Shards::new(embed(QUERIES), embed(QUERIES * GROUP));
        let targets = Targets::from_groups(&[2; QUERIES], GROUP, &devices[0]).unwrap();
        let loss_fn = LsePairLossConfig::new().with_temperature(0.5).init();
        (loss_fn.forward(shards, targets), replicas)
    }

    fn learn(&mut self, loss: &Tensor<1>, replicas: &[Encoder]) {
        let mut gradients = loss.backward();
        let mut sum = GradientsAccumulator::new();
        for replica in replicas {
            let part = GradientsParams::from_module(&mut gradients, replica);
            sum.accumulate(&self.encoder, part.to_device(&self.devices[0], replica));
        }
        let encoder = self.encoder.clone();
        self.encoder = self.optimizer.step(1e-2, encoder, sum.grads());
        self.step += 1;
    }

    /// One step, and its loss.
    fn step(&mut self) -> f64 {
        let (loss, replicas) = self.loss();
        self.learn(&loss, &replicas);
        f64::from(loss.into_scalar::<f32>())
    }

    fn weights(&self) -> Vec<f64> {
        weights(&self.encoder)
    }

    fn save(&self, folder: &Path) {
        let saved = self.encoder.clone().save_file(folder.join("model.bpk"));
        saved.unwrap();
        self.optimizer.save(folder.join("optimizer.bpk")).unwrap();
    }

    /// Goes on after a step that was saved.
    fn load(devices: &[Device], folder: &Path, step: usize) -> Self {
        let new = Self::new(&[device().autodiff()]);
        let encoder = new.encoder.try_load_file(folder.join("model.bpk"));
        let optimizer = new.optimizer.load(folder.join("optimizer.bpk"));
        Self {
            devices: devices.to_vec(),
            encoder: encoder.unwrap().fork(&devices[0]),
            optimizer: optimizer.unwrap(),
            step,
        }
    }
}

#[test]
fn steps_are_those_of_one_device() {
    let _turn = turn_to_draw();
    let folder = Folder::new("remote-steps");
    let (_one, first) = start(&folder, "one");
    let (_other, second) = start(&folder, "other");
    bounded(move || {
        let mut alone = Training::new(&[device().autodiff()]);
        let mut remote = Training::new(&[first, second]);
        let before = alone.weights();
        assert!(remote.weights() == before, "the weights of the start");
        for _ in 0..3 {
            let (got, want) = (remote.step(), alone.step());
            let tolerance = Tolerance::units(DType::F32, 256.0);
            assert_close(format!("step {}", alone.step), got, want, tolerance);
            let tolerance = tolerance.absolute(1e-5);
            assert_all_close("weights", &remote.weights(), &alone.weights(), tolerance);
        }
        // So that agreement says something.
        let moved = alone.weights().into_iter().zip(before);
        assert!(moved.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) > 1e-2);
    });
}

/// A server that is killed before it has done its part of a step: every read fails,
/// nothing before it does, and what was saved is enough for new servers.
#[test]
fn training_that_lost_a_server_goes_on_after_its_last_checkpoint() {
    const STEPS: usize = 6;
    const SAVED: usize = 2;
    let _turn = turn_to_draw();
    bounded(|| {
        let folder = Folder::new("remote-checkpoint");
        let place = &folder.0;
        let (_one, first) = start(&folder, "one");
        let (mut other, second) = start(&folder, "other");
        let mut training = Training::new(&[first.clone(), second.clone()]);
        let mut losses: Vec<f64> = (0..SAVED).map(|_| training.step()).collect();
        training.save(place);
        training.step();
        other.kill();
        // No operation says that the server is gone: a step is told to the servers and
        // not waited for.
        let (loss, replicas) = training.loss();
        training.learn(&loss, &replicas);
        let error = loss.try_into_scalar::<f32>().unwrap_err();
        let error = format!("{error:?}");
        assert!(
            error.contains("Failed to read tensor: RecvError(())"),
            "{error}"
        );
        let weights = catch_unwind(AssertUnwindSafe(|| training.weights())).unwrap_err();
        let message = weights.downcast_ref::<String>().expect("a message");
        assert!(
            message.contains("use `try_into_data` instead to catch the error at runtime")
                && message.contains("Failed to read tensor: RecvError(())"),
            "{message}"
        );
        // The one that was killed, and the one that waited for it.
        for device in [&first, &second] {
            let error = format!("{:?}", device.sync().unwrap_err());
            assert!(
                error.contains("Remote response channel closed before sync completed"),
                "{error}"
            );
        }
        assert!(catch_unwind(|| first.supports_dtype(DType::F32)).is_err());
        drop(training);

        // A session that is over stays so in this process, though there is a server again.
        let (_again, second) = start(&folder, "other");
        assert!(second.sync().is_err());

        let (_third, first) = start(&folder, "third");
        let (_fourth, second) = start(&folder, "fourth");
        let mut training = Training::load(&[first, second], place, SAVED);
        losses.extend((SAVED..STEPS).map(|_| training.step()));

        let (_fifth, first) = start(&folder, "fifth");
        let (_sixth, second) = start(&folder, "sixth");
        let mut unbroken = Training::new(&[first, second]);
        let want: Vec<f64> = (0..STEPS).map(|_| unbroken.step()).collect();
        assert_eq!(losses, want);
        assert!(
            training.weights() == unbroken.weights(),
            "the weights of the end"
        );
    });
}
