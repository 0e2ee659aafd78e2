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
    /// The initial temperature, from `min` to `max`. Default: 0.07, as in CLIP.
    #[config(default = 0.07)]
    pub initial: f64,
    /// The lower bound of [`clamp`](LearnableTemperature::clamp), above 0. Default: 0.01, as
    /// in CLIP.
    #[config(default = 0.01)]
    pub min: f64,
    /// The upper bound of [`clamp`](LearnableTemperature::clamp), finite. Default: 1, as in
    /// CLIP.
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

/// A temperature that is learned with the encoders. The parameter of your model is
/// `log_scale`, the logarithm of the inverse temperature.
///
/// [`apply`](Self::apply) divides the scores by the temperature: it computes
/// `exp(log_scale) * score`. Leave the temperature of the loss itself at 1. The gradient is
/// exact, `sum of score times gradient`, for matrices, tiles and shards. For embeddings, the
/// embeddings of the queries are multiplied instead of the scores.
///
/// Call [`clamp`](Self::clamp) after each step of the optimizer, as CLIP does. The gradient
/// then does not vanish at the bounds. Exclude the parameter from weight decay, which would
/// pull the temperature towards 1: update it by an optimizer of its own, or by one without
/// weight decay.
///
/// The hardness, the margins and the [curves](crate::statistics::Curve) of a loss then apply
/// to the scores after the division.
///
/// Source: CLIP (arXiv 2103.00020).
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
    /// Scores and embeddings of half precision become f32, so that the product keeps its
    /// digits. Gradients have the type of the scores or embeddings that were given.
    pub fn apply(&self, scores: impl Into<Scores>) -> Scores {
        scores.into().scaled(self.log_scale.val().exp())
    }

    /// The temperature, shape `[1]`.
    pub fn temperature(&self) -> Tensor<1> {
        self.log_scale.val().neg().exp()
    }

    /// The parameter, shape `[1]`: the logarithm of the inverse temperature.
    pub fn log_scale(&self) -> Tensor<1> {
        self.log_scale.val()
    }

    /// The temperature, clamped to the bounds `min` and `max` of its configuration.
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
