//! What fine-tuning a transformer asks of an optimizer: decay of the weights only, a
//! limit to the gradient's norm, and a learning rate that warms up and decays.

use burn::{
    module::{Module, ModuleVisitor, Param, ParamGroup},
    optim::{AdamWConfig, GradientsParams, ModuleOptimizer},
    tensor::Tensor,
};

/// AdamW with the settings of PyTorch, and decay of matrices only: not of biases, nor of
/// what scales and shifts a normalisation.
///
/// ```text
/// m = 0.9 m + 0.1 g                       v = 0.999 v + 0.001 g^2
/// w = (1 - rate decay) w - rate m / (1 - 0.9^t) / (sqrt(v / (1 - 0.999^t)) + 1e-8)
/// ```
pub fn adam_w<M: Module>(model: &M, weight_decay: f32) -> ModuleOptimizer {
    let config = AdamWConfig::new().with_epsilon(1e-8);
    // By their paths: a model that is read from a checkpoint has other ids.
    let vectors = ParamGroup::from_paths(Vectors::of(model));
    let without_decay = config.clone().with_weight_decay(0.0).build();
    let optimizer = ModuleOptimizer::from(config.with_weight_decay(weight_decay).build());
    optimizer.with_group(vectors, without_decay, None)
}

#[derive(Default)]
struct Vectors {
    path: Vec<String>,
    found: Vec<String>,
}

impl Vectors {
    fn of<M: Module>(model: &M) -> Vec<String> {
        let mut vectors = Self::default();
        model.visit(&mut vectors);
        vectors.found
    }
}

impl ModuleVisitor for Vectors {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
        if D == 1 {
            self.found.push(self.path.join("."));
        }
    }
}

/// Scales all gradients of a model by one factor, so that their norm together is at most
/// `max_norm`: as PyTorch's `clip_grad_norm_`, and unlike the clipping of Burn's
/// optimizers, which takes each parameter by itself. Nothing is read back from the
/// device.
///
/// ```text
/// g = g min(1, max_norm / (sqrt(sum of all g^2) + 1e-6))
/// ```
pub fn clip_gradients<M: Module>(
    model: &M,
    gradients: GradientsParams,
    max_norm: f64,
) -> GradientsParams {
    let mut squares = Squares {
        gradients: &gradients,
        sum: None,
    };
    model.visit(&mut squares);
    let Some(sum) = squares.sum else {
        return gradients;
    };
    let factor = (sum.sqrt() + 1e-6).recip() * max_norm;
    let mut scale = Scale {
        factor: factor.clamp_max(1.0),
        gradients,
    };
    model.visit(&mut scale);
    scale.gradients
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let square = gradient.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale {
    factor: Tensor<1>,
    gradients: GradientsParams,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let factor = self.factor.clone().reshape([1; D]);
            self.gradients.register(param.id, gradient * factor);
        }
    }
}

/// A learning rate that rises from 0 and falls to 0, both linearly.
///
/// ```
/// use pretrained::Schedule;
///
/// let schedule = Schedule { peak: 2.0, warmup: 2, total: 6 };
/// let rates: Vec<f64> = (0..6).map(|step| schedule.rate(step)).collect();
/// assert_eq!(rates, [1.0, 2.0, 2.0, 1.5, 1.0, 0.5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The largest rate.
    pub peak: f64,
    /// Steps until the peak.
    pub warmup: usize,
    /// Steps of the training; the rate is 0 from there on.
    pub total: usize,
}

impl Schedule {
    /// The rate of a step, the first being 0.
    pub fn rate(&self, step: usize) -> f64 {
        let share = match step < self.warmup {
            true => (step + 1) as f64 / self.warmup as f64,
            false => {
                let left = self.total.saturating_sub(step) as f64;
                left / (self.total.saturating_sub(self.warmup)).max(1) as f64
            }
        };
        self.peak * share
    }
}

#[cfg(test)]
mod tests {
    use burn::{nn::LinearConfig, tensor::Device};

    use super::*;

    #[test]
    fn the_rate_rises_to_its_peak_and_falls_to_zero() {
        let schedule = Schedule {
            peak: 2.0,
            warmup: 4,
            total: 12,
        };
        let rates: Vec<f64> = (0..14).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert_eq!(rates[8], 1.0);
        assert_eq!(rates[11..], [0.25, 0.0, 0.0]);
    }

    #[test]
    fn without_warmup_the_first_step_has_the_peak() {
        let schedule = Schedule {
            peak: 2.0,
            warmup: 0,
            total: 2,
        };
        assert_eq!([0, 1].map(|step| schedule.rate(step)), [2.0, 1.0]);
    }

    fn gradients(model: &burn::nn::Linear, factor: f64) -> GradientsParams {
        let device = model.weight.val().device();
        let output = model.forward(Tensor::<2>::ones([1, 3], &device));
        GradientsParams::from_grads((output * factor).sum().backward(), model)
    }

    fn norm(model: &burn::nn::Linear, gradients: &GradientsParams) -> f64 {
        let mut squares = Squares {
            gradients,
            sum: None,
        };
        model.visit(&mut squares);
        squares.sum.unwrap().sqrt().into_scalar()
    }

    #[test]
    fn the_norm_of_all_gradients_together_is_limited() {
        let model = LinearConfig::new(3, 2).init(&Device::default().autodiff());
        // Six weights and two biases, each with the gradient 10.
        let clipped = clip_gradients(&model, gradients(&model, 10.0), 1.0);
        assert!((norm(&model, &clipped) - 1.0).abs() < 1e-5);
        let weight: f64 = clipped
            .get::<2>(model.weight.id)
            .unwrap()
            .max()
            .into_scalar();
        assert!((weight - 8f64.sqrt().recip()).abs() < 1e-5);
    }

    #[test]
    fn a_small_gradient_is_left_as_it_is() {
        let model = LinearConfig::new(3, 2).init(&Device::default().autodiff());
        let clipped = clip_gradients(&model, gradients(&model, 0.01), 1.0);
        assert!((norm(&model, &clipped) - 0.01 * 8f64.sqrt()).abs() < 1e-8);
    }

    #[test]
    fn biases_do_not_decay() {
        let model = LinearConfig::new(3, 2).init(&Device::default().autodiff());
        let mut optimizer = adam_w(&model, 0.5);
        let zeros = {
            let mut zeros = GradientsParams::new();
            let device = Device::default();
            zeros.register(model.weight.id, Tensor::<2>::zeros([3, 2], &device));
            zeros.register(
                model.bias.as_ref().unwrap().id,
                Tensor::<1>::zeros([2], &device),
            );
            zeros
        };
        let before = model.clone();
        let after = optimizer.step(0.1, model, zeros);
        let weights: f64 = (after.weight.val() / before.weight.val())
            .mean()
            .into_scalar();
        assert!((weights - 0.95).abs() < 1e-6);
        let biases = after.bias.unwrap().val() - before.bias.unwrap().val();
        assert_eq!(biases.abs().max().into_scalar::<f64>(), 0.0);
    }
}
