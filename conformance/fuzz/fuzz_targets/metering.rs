//! The readers of `hanzo-metering`; the first byte chooses one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hanzo_parsers::fuzz("metering", data));
