//! Products of matrices, by the `gemm` crate.

use super::{matrix::Matrix, real::Real};

/// A factor: its entry at `(row, column)` is `data[row * strides[0] + column *
/// strides[1]]`.
#[derive(Clone, Copy)]
pub struct Factor<'a, R> {
    data: &'a [R],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a, R> From<Matrix<'a, R>> for Factor<'a, R> {
    fn from(matrix: Matrix<'a, R>) -> Self {
        Self {
            data: matrix.data(),
            shape: matrix.shape(),
            strides: [matrix.stride(), 1],
        }
    }
}

impl<R: Copy> Factor<'_, R> {
    pub fn get(&self, row: usize, column: usize) -> R {
        self.data[row * self.strides[0] + column * self.strides[1]]
    }

    pub fn transpose(self) -> Self {
        Self {
            data: self.data,
            shape: [self.shape[1], self.shape[0]],
            strides: [self.strides[1], self.strides[0]],
        }
    }

    fn assert_within_data(&self) {
        let last = |axis: usize| (self.shape[axis] - 1) * self.strides[axis];
        assert!(last(0) + last(1) < self.data.len());
    }
}

/// Calls `run` with a factor that has the same entries. Where its rows lie a multiple of
/// a page apart they are copied to lie otherwise: all of a column would fall into the
/// same few lines of a cache.
pub fn spread<R: Real, T>(rows: Matrix<R>, run: impl FnOnce(Factor<R>) -> T) -> T {
    let [count, width] = rows.shape();
    let is_apart = !(rows.stride() * size_of::<R>()).is_multiple_of(PAGE);
    if is_apart || count < FEW || width == 0 {
        return run(rows.into());
    }
    let stride = width + PAD;
    R::with_buffer(|buffer| {
        buffer.resize(buffer.len().max(count * stride), R::default());
        for (row, out) in buffer.chunks_exact_mut(stride).take(count).enumerate() {
            out[..width].copy_from_slice(rows.row(row));
        }
        run(Matrix::new(&buffer[..count * stride], stride, [count, width]).into())
    })
}

/// Bytes.
const PAGE: usize = 4096;

/// Rows that do not stand in each other's way.
const FEW: usize = 16;

/// Entries between rows that are spread: a cache line of f32 at least.
const PAD: usize = 16;

/// Writes `lhs rhs` to `out`, rows one after the other, or adds it. On this thread alone.
pub fn product<R: Real>(lhs: Factor<R>, rhs: Factor<R>, out: &mut [R], add: bool) {
    let [rows, inner] = lhs.shape;
    let columns = rhs.shape[1];
    assert_eq!(rhs.shape[0], inner);
    assert_eq!(out.len(), rows * columns);
    if out.is_empty() || inner == 0 {
        return if !add {
            out.fill(R::default())
        };
    }
    lhs.assert_within_data();
    rhs.assert_within_data();
    let one = R::from_f64(1.0);
    // SAFETY: the last entries of the factors and of `out` lie within their slices,
    // strides are not negative, and nothing else refers to `out`.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            columns as isize,
            add,
            lhs.data.as_ptr(),
            lhs.strides[1] as isize,
            lhs.strides[0] as isize,
            rhs.data.as_ptr(),
            rhs.strides[1] as isize,
            rhs.strides[0] as isize,
            one,
            one,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_may_be_transposed_and_have_gaps() {
        // [[1, 2, 3], [4, 5, 6]] with a gap after each row.
        let a = [1.0f32, 2.0, 3.0, -9.0, 4.0, 5.0, 6.0];
        let a = Factor::from(Matrix::new(&a, 4, [2, 3]));
        let mut out = [0.5f32; 4];
        product(a, a.transpose(), &mut out, false);
        assert_eq!(out, [14.0, 32.0, 32.0, 77.0]);
        product(a, a.transpose(), &mut out, true);
        assert_eq!(out, [28.0, 64.0, 64.0, 154.0]);
        let mut out = [0.0f32; 9];
        product(a.transpose(), a, &mut out, false);
        assert_eq!(out, [17.0, 22.0, 27.0, 22.0, 29.0, 36.0, 27.0, 36.0, 45.0]);
    }

    #[test]
    fn rows_that_are_spread_are_the_same_rows() {
        for width in [1, 1024, 1040] {
            for stride in [1024, 1040, 2048] {
                if cfg!(miri) && width + stride > 2048 {
                    continue;
                }
                let stride = stride.max(width);
                let data: Vec<f32> = (0..FEW * stride).map(|i| (i % 1009) as f32).collect();
                let rows = Matrix::new(&data, stride, [FEW, width]);
                spread(rows, |factor| {
                    let is_spread = factor.strides[0] != stride;
                    assert_eq!(is_spread, stride % 1024 == 0);
                    for row in 0..FEW {
                        for column in (0..width).step_by(if cfg!(miri) { 97 } else { 1 }) {
                            assert_eq!(factor.get(row, column), rows.row(row)[column]);
                        }
                    }
                });
            }
        }
        let few = Matrix::new(&[1.0f32; 2048], 1024, [2, 1024]);
        spread(few, |factor| assert_eq!(factor.strides[0], 1024));
    }

    #[test]
    fn a_product_over_nothing_is_zero() {
        let nothing = Factor::from(Matrix::new(&[0.0f64; 0], 0, [2, 0]));
        let mut out = [0.5f64; 4];
        product(nothing, nothing.transpose(), &mut out, true);
        assert_eq!(out, [0.5; 4]);
        product(nothing, nothing.transpose(), &mut out, false);
        assert_eq!(out, [0.0; 4]);
    }
}
