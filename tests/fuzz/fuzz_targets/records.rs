//! Fuzzes the processing of records.
#![no_main]

libfuzzer_sys::fuzz_target!(|value: &[u8]| properties::records::check_record(value));
