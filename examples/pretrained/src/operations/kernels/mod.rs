//! The arithmetic over slices of f32: vectorised for the instruction set that is found at
//! run time, and spread over threads.

pub mod attention;
pub mod exp;
pub mod gelu;
pub mod lanes;
pub mod norm;
