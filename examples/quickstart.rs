//! Scores, mask, loss, gradients.
//!
//! ```text
//! cargo run --example quickstart
//! ```

use burn::tensor::{Device, Tensor};
use burn_multi_positive::LsePairLossConfig;

fn main() {
    let device = Device::default().autodiff();

    // Three queries against four documents, and which of these are relevant to which query.
    let scores = Tensor::<2>::from_floats(
        [
            [0.8, 0.2, 0.5, 0.1],
            [0.3, 0.1, 0.4, 0.6],
            [0.2, 0.7, 0.3, 0.4],
        ],
        &device,
    )
    .require_grad();
    let positives = Tensor::from_bool(
        [
            [true, true, false, false],
            [false, false, true, true],
            [false, true, false, false],
        ],
        &device,
    );

    let loss_fn = LsePairLossConfig::new().with_temperature(0.05).init();
    let loss = loss_fn.forward(scores.clone(), positives);
    let gradients = loss.backward();

    println!("loss {:.4}", loss.into_scalar::<f32>());
    println!("{}", scores.grad(&gradients).expect("scores require it"));
}
