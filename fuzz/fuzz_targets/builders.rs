#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| burn_multi_positive_fuzz::builders::run(data));
