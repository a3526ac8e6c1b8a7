//! Fuzzes client messages and other texts from outside.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| properties::texts::check_text(&String::from_utf8_lossy(text)));
