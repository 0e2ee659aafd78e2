//! Attention of the tokens of each text to one another, head by head.
//!
//! ```text
//! P = softmax(Q K^T / sqrt(size) + bias)                       O = P V
//! ```
//!
//! The scores of a head fit in a processor's cache, and are computed anew on the way
//! back: no tensor holds them.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    exp::exp,
    lanes::{fold, sum_pairs},
};

/// What is added to the score of padding.
const PADDING: f32 = -1e9;

/// The sizes of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub tokens: usize,
    pub heads: usize,
    /// Of one head.
    pub size: usize,
}

impl Sizes {
    fn hidden(self) -> usize {
        self.heads * self.size
    }

    /// Entries of one text.
    fn text(self) -> usize {
        self.tokens * self.hidden()
    }

    /// Entries of one head of a text.
    fn head(self) -> usize {
        self.tokens * self.size
    }
}

/// Queries, keys and values, each `[texts, tokens, heads, size]`, and 0 where a token is
/// not padding, `[texts, tokens]`.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    pub query: &'a [f32],
    pub key: &'a [f32],
    pub value: &'a [f32],
    pub padding: &'a [u8],
    pub sizes: Sizes,
}

/// What every token takes from the others, `[texts, tokens, heads, size]`.
pub fn forward(input: Input, out: &mut [f32]) {
    let sizes = input.sizes;
    let texts = out.par_chunks_mut(sizes.text()).enumerate();
    texts.for_each(|(text, out)| {
        let text = input.text(text);
        let mut heads = vec![0.0; sizes.text()];
        let each = heads.par_chunks_mut(sizes.head()).enumerate();
        each.for_each_init(Vec::new, |weights, (head, out)| {
            text.weights(head, weights);
            let weights = Matrix::square(weights, sizes.tokens);
            product(out, weights, text.head(text.value, head));
        });
        interleave(&heads, sizes, 0, 1, out);
    });
}

/// The gradients of queries, keys and values, one after the other, given that of the
/// result.
pub fn backward(input: Input, upstream: &[f32], out: &mut [f32]) {
    let sizes = input.sizes;
    let (query, rest) = out.split_at_mut(upstream.len());
    let (key, value) = rest.split_at_mut(upstream.len());
    let texts = query.par_chunks_mut(sizes.text());
    let texts = texts.zip(key.par_chunks_mut(sizes.text()));
    let texts = texts.zip(value.par_chunks_mut(sizes.text()));
    let texts = texts.zip(upstream.par_chunks(sizes.text()));
    texts
        .enumerate()
        .for_each(|(text, (((query, key), value), upstream))| {
            let text = input.text(text);
            let mut heads = vec![0.0; 3 * sizes.text()];
            let each = heads.par_chunks_mut(3 * sizes.head()).enumerate();
            each.for_each_init(Default::default, |scratch, (head, out)| {
                text.backward(head, upstream, scratch, out);
            });
            for (part, out) in [query, key, value].into_iter().enumerate() {
                interleave(&heads, sizes, part, 3, out);
            }
        });
}

/// From `[heads, parts, tokens, size]` to `[tokens, heads, size]` of one part.
fn interleave(heads: &[f32], sizes: Sizes, part: usize, parts: usize, out: &mut [f32]) {
    for head in 0..sizes.heads {
        let from = &heads[(head * parts + part) * sizes.head()..][..sizes.head()];
        let to = out.chunks_exact_mut(sizes.hidden());
        for (from, to) in from.chunks_exact(sizes.size).zip(to) {
            to[head * sizes.size..][..sizes.size].copy_from_slice(from);
        }
    }
}

impl<'a> Input<'a> {
    fn text(self, index: usize) -> Self {
        let part = |all: &'a [f32]| &all[index * self.sizes.text()..][..self.sizes.text()];
        let tokens = self.sizes.tokens;
        Self {
            query: part(self.query),
            key: part(self.key),
            value: part(self.value),
            padding: &self.padding[index * tokens..][..tokens],
            sizes: self.sizes,
        }
    }

    /// One head of `[tokens, heads, size]`.
    fn head<'b>(&self, all: &'b [f32], head: usize) -> Matrix<'b> {
        Matrix {
            data: &all[head * self.sizes.size..],
            shape: [self.sizes.tokens, self.sizes.size],
            strides: [self.sizes.hidden(), 1],
        }
    }

    fn scale(&self) -> f32 {
        1.0 / (self.sizes.size as f32).sqrt()
    }

    /// The weights that the tokens of one text give one another, `[tokens, tokens]`.
    fn weights(&self, head: usize, out: &mut Vec<f32>) {
        out.resize(self.sizes.tokens * self.sizes.tokens, 0.0);
        let key = self.head(self.key, head).transposed();
        product(out, self.head(self.query, head), key);
        Arch::new().dispatch(Softmax {
            scores: out,
            width: self.sizes.tokens,
            padding: self.padding,
            scale: self.scale(),
        });
    }

    fn backward(
        &self,
        head: usize,
        upstream: &[f32],
        [weights, slopes]: &mut [Vec<f32>; 2],
        out: &mut [f32],
    ) {
        let tokens = self.sizes.tokens;
        let (query, rest) = out.split_at_mut(self.sizes.head());
        let (key, value) = rest.split_at_mut(self.sizes.head());
        let upstream = self.head(upstream, head);
        self.weights(head, weights);
        product(
            value,
            Matrix::square(weights, tokens).transposed(),
            upstream,
        );
        slopes.resize(tokens * tokens, 0.0);
        product(slopes, upstream, self.head(self.value, head).transposed());
        Arch::new().dispatch(SoftmaxGradient {
            weights,
            gradient: slopes,
            width: tokens,
            scale: self.scale(),
        });
        let slopes = Matrix::square(slopes, tokens);
        product(query, slopes, self.head(self.key, head));
        product(key, slopes.transposed(), self.head(self.query, head));
    }
}

struct Softmax<'a> {
    scores: &'a mut [f32],
    width: usize,
    padding: &'a [u8],
    scale: f32,
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for row in self.scores.chunks_exact_mut(self.width) {
            for (score, padding) in row.iter_mut().zip(self.padding) {
                let bias = if *padding == 0 { 0.0 } else { PADDING };
                *score = score.mul_add(self.scale, bias);
            }
            let largest = fold(row, f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
            for score in row.iter_mut() {
                *score = exp(*score - largest);
            }
            let share = 1.0 / fold(row, 0.0, |a, b| a + b);
            row.iter_mut().for_each(|weight| *weight *= share);
        }
    }
}

/// From the gradient of the weights to that of the products of queries and keys, in its
/// place.
struct SoftmaxGradient<'a> {
    weights: &'a [f32],
    gradient: &'a mut [f32],
    width: usize,
    scale: f32,
}

impl WithSimd for SoftmaxGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let rows = self.gradient.chunks_exact_mut(self.width);
        for (gradient, weights) in rows.zip(self.weights.chunks_exact(self.width)) {
            let mean = sum_pairs(gradient, weights, |x, y| x * y);
            for (x, weight) in gradient.iter_mut().zip(weights) {
                *x = (*x - mean) * weight * self.scale;
            }
        }
    }
}

/// A matrix in a slice.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    data: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    fn square(data: &'a [f32], width: usize) -> Self {
        Self {
            data,
            shape: [width; 2],
            strides: [width, 1],
        }
    }

    fn transposed(mut self) -> Self {
        self.shape.reverse();
        self.strides.reverse();
        self
    }

    fn fits(&self) -> bool {
        let last = self.shape.iter().zip(self.strides);
        let last = last.map(|(count, stride)| (count - 1) * stride);
        last.sum::<usize>() < self.data.len()
    }
}

/// The product of two matrices that are not empty, row after row.
fn product(out: &mut [f32], left: Matrix, right: Matrix) {
    let [rows, inner] = left.shape;
    let [_, columns] = right.shape;
    assert!(right.shape[0] == inner && out.len() == rows * columns);
    assert!(left.fits() && right.fits());
    let [left_row, left_column] = left.strides.map(|stride| stride as isize);
    let [right_row, right_column] = right.strides.map(|stride| stride as isize);
    // SAFETY: the three matrices lie in their slices, as was asserted; `out` is borrowed
    // alone.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            columns as isize,
            false,
            left.data.as_ptr(),
            left_column,
            left_row,
            right.data.as_ptr(),
            right_column,
            right_row,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
