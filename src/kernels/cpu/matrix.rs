//! Matrices over slices.

use std::ops::Range;

/// A matrix whose rows are contiguous, and may overlap.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    stride: usize,
    shape: [usize; 2],
}

impl<'a, T> Matrix<'a, T> {
    /// Row `i` is `data[i * stride ..][.. columns]`.
    pub fn new(data: &'a [T], stride: usize, shape: [usize; 2]) -> Self {
        Self {
            data,
            stride,
            shape,
        }
    }

    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    pub fn data(&self) -> &'a [T] {
        self.data
    }

    pub fn stride(&self) -> usize {
        self.stride
    }

    pub fn row(&self, row: usize) -> &'a [T] {
        &self.data[row * self.stride..][..self.shape[1]]
    }

    /// Some of the columns.
    pub fn columns(&self, columns: Range<usize>) -> Self {
        Self {
            data: &self.data[columns.start..],
            stride: self.stride,
            shape: [self.shape[0], columns.len()],
        }
    }

    /// Some of the rows.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        Self {
            data: &self.data[rows.start * self.stride..],
            stride: self.stride,
            shape: [rows.len(), self.shape[1]],
        }
    }
}
