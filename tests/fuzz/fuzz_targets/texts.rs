//! Messages of clients, and every other text that may come from outside.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| properties::texts::hold(&String::from_utf8_lossy(text)));
