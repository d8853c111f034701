#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sessile_fuzz::data(input));
