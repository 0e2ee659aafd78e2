//! Matrices in files: `.npy` of NumPy, and `.safetensors`.

use std::{collections::HashMap, fs, path::Path};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// The name of the tensor in a `.safetensors` file that [`Matrix::write`] makes.
const NAME: &str = "map";

/// Rows of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Row after row.
    pub values: Vec<f32>,
    pub rows: usize,
    pub columns: usize,
}

/// The formats that are read and written.
#[derive(Clone, Copy)]
enum Format {
    Npy,
    Safetensors,
}

/// How a number is stored.
#[derive(Clone, Copy)]
enum Float {
    F16,
    Bf16,
    F32,
    F64,
}

impl Matrix {
    /// Reads a file of floats. They are rounded to f32.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds anything but one matrix of floats with a row or more.
    /// The error names the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let format = format(path)?;
        let bytes = fs::read(path).map_err(|error| error.to_string());
        let matrix = bytes.and_then(|bytes| match format {
            Format::Npy => from_npy(&bytes),
            Format::Safetensors => from_safetensors(&bytes),
        });
        matrix.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Writes a file of f32, whole or not at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written. The error names it.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let bytes = match format(path)? {
            Format::Npy => Ok(self.to_npy()),
            Format::Safetensors => self.to_safetensors(),
        };
        let written = bytes.and_then(|b| files::write(path, b).map_err(|error| error.to_string()));
        written.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Whether [`read`](Matrix::read) and [`write`](Matrix::write) know the format of this file.
    pub fn check_name(path: &Path) -> Result<(), String> {
        format(path).map(|_| ())
    }

    fn new(shape: &[usize], float: Float, bytes: &[u8]) -> Result<Self, String> {
        let &[rows, columns] = shape else {
            return Err(format!(
                "expected the shape [rows, dimensions], got {shape:?}"
            ));
        };
        let expected = rows.checked_mul(columns);
        let expected = expected.and_then(|numbers| numbers.checked_mul(float.bytes()));
        if expected != Some(bytes.len()) {
            return Err(format!(
                "expected {rows} rows of {columns} numbers of {} bytes, got {} bytes",
                float.bytes(),
                bytes.len()
            ));
        }
        if rows == 0 || columns == 0 {
            return Err(format!("expected a vector or more, got {shape:?}"));
        }
        Ok(Self {
            values: float.read(bytes),
            rows,
            columns,
        })
    }

    fn to_npy(&self) -> Vec<u8> {
        let header = format!(
            "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}",
            self.rows, self.columns
        );
        // The numbers begin at a multiple of 64, after a line feed.
        let length = (MAGIC.len() + 4 + header.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((length as u16).to_le_bytes());
        bytes.extend(format!("{header:<width$}\n", width = length - 1).as_bytes());
        bytes.extend(self.bytes());
        bytes
    }

    fn to_safetensors(&self) -> Result<Vec<u8>, String> {
        let bytes = self.bytes();
        let view = TensorView::new(Dtype::F32, vec![self.rows, self.columns], &bytes);
        let metadata = [("format", "pt")].map(|(key, value)| (key.into(), value.into()));
        view.and_then(|view| safetensors::serialize([(NAME, view)], Some(HashMap::from(metadata))))
            .map_err(|error| error.to_string())
    }

    fn bytes(&self) -> Vec<u8> {
        let values = self.values.iter();
        values.flat_map(|value| value.to_le_bytes()).collect()
    }
}

impl Float {
    fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    fn read(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F16 => read(bytes, |number| f16::from_le_bytes(number).to_f32()),
            Self::Bf16 => read(bytes, |number| bf16::from_le_bytes(number).to_f32()),
            Self::F32 => read(bytes, f32::from_le_bytes),
            Self::F64 => read(bytes, |number| f64::from_le_bytes(number) as f32),
        }
    }
}

fn read<const BYTES: usize>(bytes: &[u8], number: impl Fn([u8; BYTES]) -> f32) -> Vec<f32> {
    let numbers = bytes.chunks_exact(BYTES);
    numbers
        .map(|bytes| number(bytes.try_into().expect("as many bytes")))
        .collect()
}

fn format(path: &Path) -> Result<Format, String> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => Ok(Format::Npy),
        Some("safetensors") => Ok(Format::Safetensors),
        _ => Err(format!(
            "{}: expected a name that ends in .npy or .safetensors",
            path.display()
        )),
    }
}

// ---------------------------------------------------------------------------------------
// .npy: numpy.org/doc/stable/reference/generated/numpy.lib.format.html
// ---------------------------------------------------------------------------------------

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The magic bytes, the version, the length of the header, the header, the numbers.
fn from_npy(bytes: &[u8]) -> Result<Matrix, String> {
    let cut = || "the file ends before its numbers".to_string();
    let rest = bytes.strip_prefix(MAGIC);
    let rest = rest.ok_or("no .npy file: it begins with other bytes")?;
    let (version, rest) = rest.split_at_checked(2).ok_or_else(cut)?;
    let (length, rest) = match version[0] {
        1 => {
            let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        other => return Err(format!("version {other} of .npy is not known")),
    };
    let (header, numbers) = rest.split_at_checked(length).ok_or_else(cut)?;
    let header = String::from_utf8_lossy(header);
    let unknown = || format!("the header cannot be read: {}", header.trim_end());

    let descr = entry(&header, "descr").ok_or_else(unknown)?;
    let float = match descr.split(['\'', '"']).nth(1) {
        Some("<f2") => Float::F16,
        Some("<f4") => Float::F32,
        Some("<f8") => Float::F64,
        other => {
            return Err(format!(
                "expected floats, little-endian ('<f2', '<f4' or '<f8'), got '{}': \
                 write array.astype('<f4')",
                other.unwrap_or("a structure")
            ));
        }
    };
    match entry(&header, "fortran_order").ok_or_else(unknown)? {
        order if order.starts_with("False") => {}
        order if order.starts_with("True") => {
            return Err(
                "the numbers lie column after column (Fortran order): write \
                        numpy.ascontiguousarray(array)"
                    .into(),
            );
        }
        _ => return Err(unknown()),
    }
    let shape = entry(&header, "shape").and_then(|shape| shape.strip_prefix('('));
    let (shape, _) = shape.and_then(|s| s.split_once(')')).ok_or_else(unknown)?;
    let sizes = shape.split(',').map(str::trim).filter(|s| !s.is_empty());
    let shape: Result<Vec<usize>, _> = sizes.map(str::parse).collect();
    Matrix::new(&shape.map_err(|_| unknown())?, float, numbers)
}

/// What follows a key of the header, which is a dictionary of Python.
fn entry<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, after) = header.split_once(&format!("'{key}'"))?;
    Some(after.trim_start().strip_prefix(':')?.trim_start())
}

// ---------------------------------------------------------------------------------------
// .safetensors
// ---------------------------------------------------------------------------------------

fn from_safetensors(bytes: &[u8]) -> Result<Matrix, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensors = tensors.tensors();
    let [(name, tensor)] = tensors.as_slice() else {
        let mut names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        return Err(format!(
            "expected one tensor, got {} ({})",
            names.len(),
            names.join(", ")
        ));
    };
    let float = match tensor.dtype() {
        Dtype::F16 => Float::F16,
        Dtype::BF16 => Float::Bf16,
        Dtype::F32 => Float::F32,
        Dtype::F64 => Float::F64,
        other => return Err(format!("tensor {name:?}: expected floats, got {other:?}")),
    };
    let matrix = Matrix::new(tensor.shape(), float, tensor.data());
    matrix.map_err(|error| format!("tensor {name:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Folder;

    fn matrix() -> Matrix {
        Matrix {
            values: vec![1.0, -0.5, 0.25, 3.0, 0.0, -2.0],
            rows: 2,
            columns: 3,
        }
    }

    /// As NumPy writes a file, of version 1, 2 or 3.
    fn npy(version: u8, header: &str, numbers: &[u8]) -> Vec<u8> {
        let mut bytes = [MAGIC.as_slice(), &[version, 0]].concat();
        let length = header.len() as u32;
        match version {
            1 => bytes.extend((length as u16).to_le_bytes()),
            _ => bytes.extend(length.to_le_bytes()),
        }
        [&bytes, header.as_bytes(), numbers].concat()
    }

    fn header(descr: &str, fortran_order: &str, shape: &str) -> String {
        format!("{{'descr': {descr}, 'fortran_order': {fortran_order}, 'shape': {shape}, }}  \n")
    }

    /// The numbers of [`matrix`] with so many bytes each.
    fn numbers(float: Float) -> Vec<u8> {
        let values = matrix().values.into_iter();
        match float {
            Float::F16 => values
                .flat_map(|x| f16::from_f32(x).to_le_bytes())
                .collect(),
            Float::Bf16 => values
                .flat_map(|x| bf16::from_f32(x).to_le_bytes())
                .collect(),
            Float::F32 => values.flat_map(f32::to_le_bytes).collect(),
            Float::F64 => values.flat_map(|x| f64::from(x).to_le_bytes()).collect(),
        }
    }

    fn safetensors(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
        let tensors = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (
                *name,
                TensorView::new(*dtype, shape.to_vec(), bytes).unwrap(),
            )
        });
        safetensors::serialize(tensors, None).unwrap()
    }

    #[track_caller]
    fn assert_error(matrix: Result<Matrix, String>, expected: &str) {
        assert_eq!(matrix.unwrap_err(), expected);
    }

    #[test]
    fn what_is_written_is_read_in_both_formats() {
        let folder = Folder::new("written");
        for name in ["map.npy", "map.safetensors"] {
            let path = folder.path(name);
            matrix().write(&path).unwrap();
            assert_eq!(Matrix::read(&path), Ok(matrix()), "{name}");
        }
    }

    #[test]
    fn written_npy_has_its_numbers_at_a_multiple_of_64() {
        let bytes = matrix().to_npy();
        let header = u16::from_le_bytes([bytes[8], bytes[9]]);
        assert_eq!(header, 118);
        assert_eq!(bytes[127], b'\n');
        assert_eq!(bytes[128..], numbers(Float::F32));
    }

    #[test]
    fn npy_of_every_float_and_version_is_read() {
        for (descr, float) in [
            ("'<f2'", Float::F16),
            ("'<f4'", Float::F32),
            ("'<f8'", Float::F64),
        ] {
            for version in 1..=3 {
                let bytes = npy(version, &header(descr, "False", "(2, 3)"), &numbers(float));
                assert_eq!(from_npy(&bytes), Ok(matrix()), "{descr}, {version}");
            }
        }
    }

    #[test]
    fn safetensors_of_every_float_are_read() {
        for (dtype, float) in [
            (Dtype::F16, Float::F16),
            (Dtype::BF16, Float::Bf16),
            (Dtype::F32, Float::F32),
            (Dtype::F64, Float::F64),
        ] {
            let bytes = safetensors(&[("embeddings", dtype, &[2, 3], &numbers(float))]);
            assert_eq!(from_safetensors(&bytes), Ok(matrix()), "{dtype:?}");
        }
    }

    #[test]
    fn a_file_is_named_and_so_is_a_format_that_is_not_known() {
        let folder = Folder::new("named");
        let path = folder.path("none.npy");
        let error = Matrix::read(&path).unwrap_err();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert_error(
            Matrix::read(Path::new("vectors.npz")),
            "vectors.npz: expected a name that ends in .npy or .safetensors",
        );
    }

    #[test]
    fn another_shape_is_an_error() {
        let of_shape = |shape| npy(1, &header("'<f4'", "False", shape), &numbers(Float::F32));
        assert_error(
            from_npy(&of_shape("(6,)")),
            "expected the shape [rows, dimensions], got [6]",
        );
        assert_error(
            from_npy(&of_shape("(1, 2, 3)")),
            "expected the shape [rows, dimensions], got [1, 2, 3]",
        );
        assert_error(
            from_npy(&of_shape("(2, 4)")),
            "expected 2 rows of 4 numbers of 4 bytes, got 24 bytes",
        );
        let huge = format!("({0}, {0})", usize::MAX);
        assert!(from_npy(&of_shape(&huge)).is_err());
        let empty = npy(1, &header("'<f4'", "False", "(0, 3)"), &[]);
        assert_error(from_npy(&empty), "expected a vector or more, got [0, 3]");

        let bytes = safetensors(&[("embeddings", Dtype::F32, &[6], &numbers(Float::F32))]);
        assert_error(
            from_safetensors(&bytes),
            "tensor \"embeddings\": expected the shape [rows, dimensions], got [6]",
        );
    }

    #[test]
    fn other_numbers_are_errors() {
        for (descr, told) in [("'>f4'", ">f4"), ("'<i8'", "<i8"), ("'|u1'", "|u1")] {
            let bytes = npy(1, &header(descr, "False", "(2, 3)"), &numbers(Float::F32));
            assert_error(
                from_npy(&bytes),
                &format!(
                    "expected floats, little-endian ('<f2', '<f4' or '<f8'), got '{told}': \
                     write array.astype('<f4')"
                ),
            );
        }
        let bytes = safetensors(&[("ids", Dtype::I64, &[3, 1], &numbers(Float::F32))]);
        assert_error(
            from_safetensors(&bytes),
            "tensor \"ids\": expected floats, got I64",
        );
    }

    #[test]
    fn columns_one_after_another_are_an_error() {
        let bytes = npy(1, &header("'<f4'", "True", "(2, 3)"), &numbers(Float::F32));
        let error = from_npy(&bytes).unwrap_err();
        assert!(error.contains("Fortran order"), "{error}");
    }

    #[test]
    fn several_tensors_are_an_error_that_names_them() {
        let numbers = numbers(Float::F32);
        let bytes = safetensors(&[
            ("queries", Dtype::F32, &[2, 3], &numbers),
            ("documents", Dtype::F32, &[2, 3], &numbers),
        ]);
        assert_error(
            from_safetensors(&bytes),
            "expected one tensor, got 2 (documents, queries)",
        );
    }

    #[test]
    fn damage_is_an_error_wherever_it_is() {
        let whole = matrix().to_npy();
        for end in 0..whole.len() {
            assert!(from_npy(&whole[..end]).is_err(), "{end}");
        }
        let whole = matrix().to_safetensors().unwrap();
        for end in 0..whole.len() {
            assert!(from_safetensors(&whole[..end]).is_err(), "{end}");
        }
        for header in [
            "",
            "{}",
            "{'descr': '<f4', 'shape': (2, 3)}",
            "{'descr' '<f4'}",
        ] {
            let error = from_npy(&npy(1, header, &numbers(Float::F32))).unwrap_err();
            assert!(error.starts_with("the header cannot be read"), "{error}");
        }
        let bytes = npy(4, "", &[]);
        assert_error(from_npy(&bytes), "version 4 of .npy is not known");
    }
}
