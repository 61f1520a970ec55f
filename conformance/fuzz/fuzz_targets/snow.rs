//! The readers of `hanzo-snow`; the first byte chooses one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hanzo_parsers::fuzz("snow", data));
