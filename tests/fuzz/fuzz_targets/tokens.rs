//! Fuzzes authentication.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::tokens::check_token(input));
