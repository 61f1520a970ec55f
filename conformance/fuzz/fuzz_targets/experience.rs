//! The readers of `hanzo-experience`; the first byte chooses one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hanzo_parsers::fuzz("experience", data));
