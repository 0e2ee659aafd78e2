//! Draws: which of its positives is the only one of a query, by lot.

/// Draws are numbers below this, which f32 holds exactly.
pub const DRAWS: f32 = (1 << 24) as f32;

/// The place of the drawn positive among `count`.
#[cfg(feature = "cpu")]
pub fn place(draw: f32, count: usize) -> usize {
    // Rounding may lift the product to the count itself.
    ((draw.floor() / DRAWS * count as f32) as usize).min(count.saturating_sub(1))
}
