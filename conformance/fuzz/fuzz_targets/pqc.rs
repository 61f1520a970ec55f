//! The readers of `hanzo-pqc`; the first byte chooses one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hanzo_parsers::fuzz("pqc", data));
