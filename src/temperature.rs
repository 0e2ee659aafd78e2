//! A temperature that is learned.

use burn::{
    config::Config,
    module::{Content, DisplaySettings, Module, ModuleDisplay, Param},
    tensor::{Device, Tensor},
};

use crate::Scores;

/// Configuration of [`LearnableTemperature`].
#[derive(Config, Debug)]
pub struct LearnableTemperatureConfig {
    /// The temperature at the beginning. Default: 0.07, CLIP's.
    #[config(default = 0.07)]
    pub initial: f64,
    /// The temperature below which [`clamp`](LearnableTemperature::clamp) lets none fall.
    /// Default: 0.01, CLIP's.
    #[config(default = 0.01)]
    pub min: f64,
    /// The temperature above which [`clamp`](LearnableTemperature::clamp) lets none rise.
    /// Default: 1, CLIP's.
    #[config(default = 1.0)]
    pub max: f64,
}

impl LearnableTemperatureConfig {
    /// Initializes the temperature on a device.
    ///
    /// # Panics
    ///
    /// Unless `0 < min <= initial <= max`, all of them finite.
    pub fn init(&self, device: &Device) -> LearnableTemperature {
        let Self { initial, min, max } = *self;
        assert!(
            0.0 < min && min <= initial && initial <= max && max.is_finite(),
            "LearnableTemperatureConfig: expected 0 < min <= initial <= max, got min {min}, initial {initial} \
             and max {max}"
        );
        let log_scale = Tensor::from_floats([-initial.ln()], device);
        LearnableTemperature {
            log_scale: Param::from_tensor(log_scale),
            min,
            max,
        }
    }
}

/// A temperature that is learned with the encoders: its logarithm is a parameter of your model.
///
/// [`apply`](Self::apply) divides the scores by it, `exp(log_scale) * score`, and the loss
/// keeps its own temperature of 1. The gradient is the exact one, `sum of score times
/// gradient`, from matrices, tiles and shards alike. From embeddings only the queries of a
/// direction are multiplied.
///
/// Call [`clamp`](Self::clamp) after each step of the optimizer, as CLIP does: the gradient at
/// the bounds stays alive. Leave it out of weight decay, which would pull the temperature
/// towards 1: step it with an optimizer of its own, or one without decay.
///
/// Hardness, margins and [curves](crate::statistics::Curve) of a loss then apply to scores that
/// are divided already.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_multi_positive::{
///     Embeddings, LearnableTemperatureConfig, LsePairLossConfig, Targets,
/// };
///
/// let device = Device::default().autodiff();
/// let random = |rows: usize| Tensor::<2>::random([rows, 16], Distribution::Default, &device);
/// let temperature = LearnableTemperatureConfig::new().init(&device);
/// let targets = Targets::from_groups(&[1, 2, 1], 2, &device)?;
///
/// let scores = temperature.apply(Embeddings::new(random(3), random(6)));
/// let gradients = LsePairLossConfig::new().init().forward(scores, targets).backward();
/// assert!(temperature.log_scale().grad(&gradients).is_some());
/// // After the optimizer's step:
/// let temperature = temperature.clamp();
/// # Ok::<(), burn_multi_positive::TargetsError>(())
/// ```
#[doc(alias = "logit_scale")]
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct LearnableTemperature {
    log_scale: Param<Tensor<1>>,
    min: f64,
    max: f64,
}

impl LearnableTemperature {
    /// The scores, divided by the temperature.
    ///
    /// Half precision becomes f32, so that the product keeps its digits; gradients are of the
    /// type of the scores or embeddings.
    pub fn apply(&self, scores: impl Into<Scores>) -> Scores {
        scores.into().scaled(self.log_scale.val().exp())
    }

    /// The temperature, shape `[1]`.
    pub fn temperature(&self) -> Tensor<1> {
        self.log_scale.val().neg().exp()
    }

    /// The parameter: the logarithm of what scores are multiplied by, shape `[1]`.
    pub fn log_scale(&self) -> Tensor<1> {
        self.log_scale.val()
    }

    /// The temperature itself, or the nearest of its bounds.
    #[must_use]
    pub fn clamp(self) -> Self {
        let (low, high) = (-self.max.ln(), -self.min.ln());
        let log_scale = self.log_scale.map(|value| {
            let is_leaf = value.is_require_grad();
            let value = value.clamp(low, high).detach();
            match is_leaf {
                true => value.require_grad(),
                false => value,
            }
        });
        Self { log_scale, ..self }
    }
}

impl ModuleDisplay for LearnableTemperature {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        content
            .add("min", &self.min)
            .add("max", &self.max)
            .optional()
    }
}
