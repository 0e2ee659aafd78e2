//! A bias that is learned.

use burn::{
    config::Config,
    module::{Content, DisplaySettings, Module, ModuleDisplay, Param},
    tensor::{Device, Tensor},
};

use crate::Scores;

/// Configuration of [`LearnableBias`].
#[derive(Config, Debug)]
pub struct LearnableBiasConfig {
    /// The initial bias, below 1e30 in magnitude. Default: -10, as in SigLIP.
    #[config(default = -10.0)]
    pub initial: f64,
}

impl LearnableBiasConfig {
    /// Initializes the bias on a device.
    ///
    /// # Panics
    ///
    /// If the initial bias is not finite, or if its magnitude is 1e30 or more, which is too
    /// large to be split in f32.
    pub fn init(&self, device: &Device) -> LearnableBias {
        assert!(
            self.initial.abs() < 1e30,
            "LearnableBiasConfig: initial must be finite and below 1e30, got {}",
            self.initial
        );
        LearnableBias {
            bias: Param::from_tensor(Tensor::from_floats([self.initial], device)),
        }
    }
}

/// A bias that is learned with the encoders: a number that is added to all scores.
///
/// It has an effect on losses that depend on the level of the scores, such as the
/// [`SigmoidLoss`](crate::SigmoidLoss). Set the bias of that loss itself to 0. Apply the
/// learned bias after a [`LearnableTemperature`](crate::LearnableTemperature). The gradient is
/// exact: the sum of the gradients of the scores.
///
/// Embeddings get two more dimensions for the bias, which are 1 for queries. Embeddings of
/// half precision become f32, in which a bias of -10 keeps its digits. Everything that a loss
/// does with scores, curves and margins included, then applies to the biased scores. Exclude
/// the bias from weight decay.
///
/// Source: SigLIP (arXiv 2303.15343).
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_multi_positive::{
///     Embeddings, LearnableBiasConfig, LearnableTemperatureConfig, SigmoidLossConfig, Targets,
/// };
///
/// let device = Device::default().autodiff();
/// let random = |rows: usize| Tensor::<2>::random([rows, 16], Distribution::Default, &device);
/// let temperature = LearnableTemperatureConfig::new().with_initial(0.1).init(&device);
/// let bias = LearnableBiasConfig::new().init(&device);
/// let targets = Targets::from_groups(&[1, 2, 1], 2, &device)?;
///
/// let scores = bias.apply(temperature.apply(Embeddings::new(random(3), random(6))));
/// let loss_fn = SigmoidLossConfig::new().with_temperature(1.0).with_bias(0.0).init();
/// let gradients = loss_fn.forward(scores, targets).backward();
/// assert!(bias.bias().grad(&gradients).is_some());
/// # Ok::<(), burn_multi_positive::TargetsError>(())
/// ```
#[doc(alias = "logit_bias")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct LearnableBias {
    bias: Param<Tensor<1>>,
}

impl LearnableBias {
    /// The scores, with the bias added.
    ///
    /// Scores and embeddings of half precision become f32. Gradients have the type of the
    /// scores or embeddings that were given.
    pub fn apply(&self, scores: impl Into<Scores>) -> Scores {
        scores.into().shifted(self.bias.val())
    }

    /// The parameter, shape `[1]`.
    pub fn bias(&self) -> Tensor<1> {
        self.bias.val()
    }
}

impl ModuleDisplay for LearnableBias {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content.add("bias", &self.bias).optional()
    }
}
