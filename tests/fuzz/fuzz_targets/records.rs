//! From a record to a notification.
#![no_main]

libfuzzer_sys::fuzz_target!(|value: &[u8]| properties::records::hold(value));
