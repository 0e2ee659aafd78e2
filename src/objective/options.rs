//! What every objective of this crate can be told, and how it shows what it was told.

use crate::FalseNegatives;

/// Panics, naming the field of `config`, unless the arithmetic can hold the options.
pub fn assert_options(
    config: &str,
    temperature: f64,
    hardness: f64,
    false_negatives: Option<FalseNegatives>,
) {
    assert!(
        temperature > 0.0 && temperature.is_finite(),
        "{config}: temperature must be positive and finite, got {temperature}"
    );
    // What kernels multiply by, and what they divide gradients by.
    let factors = [2.0 * std::f64::consts::LOG2_E, 1.0].map(|x| (x / temperature) as f32);
    assert!(
        factors.iter().all(|factor| factor.is_normal()),
        "{config}: temperature must have an inverse in f32, between 9e-39 and 8e37, got {temperature}"
    );
    assert!(
        hardness >= 0.0 && (hardness as f32).is_finite(),
        "{config}: hardness must be finite in f32 and not negative, got {hardness}"
    );
    let rate = 2.0 * std::f64::consts::LOG2_E * (1.0 / temperature + hardness);
    assert!(
        (rate as f32).is_finite(),
        "{config}: hardness and the inverse of temperature must be below 1e38 together, got \
         {hardness} and 1 / {temperature}"
    );
    if let Some(FalseNegatives { margin, .. }) = false_negatives {
        assert!(
            margin.is_finite(),
            "{config}: false_negatives.margin must be finite, got {margin}"
        );
    }
}

/// The getters of the options that all have, and a display of the fields that are named.
macro_rules! options {
    ($loss:ident: $($field:ident),+) => {
        impl $loss {
            /// The temperature, by which the scores are divided.
            pub fn temperature(&self) -> f64 {
                self.temperature
            }

            /// The hardness of the negatives.
            pub fn hardness(&self) -> f64 {
                self.hardness
            }

            /// The rule by which suspected false negatives are ignored, if there is one.
            pub fn false_negatives(&self) -> Option<crate::FalseNegatives> {
                self.false_negatives
            }
        }

        crate::objective::display!($loss: $($field),+);
    };
}
pub(super) use options;

/// A display of the fields that are named.
macro_rules! display {
    ($loss:ident: $($field:ident),+) => {
        impl burn::module::ModuleDisplay for $loss {
            fn custom_settings(&self) -> Option<burn::module::DisplaySettings> {
                burn::module::DisplaySettings::new()
                    .with_new_line_after_attribute(false)
                    .optional()
            }

            fn custom_content(
                &self,
                content: burn::module::Content,
            ) -> Option<burn::module::Content> {
                content
                    $(.add(stringify!($field), format!("{:?}", self.$field).as_str()))+
                    .optional()
            }
        }
    };
}
pub(super) use display;
