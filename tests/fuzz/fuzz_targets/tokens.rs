//! The way of a token.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::tokens::hold(input));
