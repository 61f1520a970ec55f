//! Tariffs.

use hanzo_metering::Tariff;

use crate::{Parser, canonical};

pub(crate) const PARSERS: &[Parser] = &[Parser { name: "metering/tariff", samples: tariffs, read: tariff, memory: 64 }];

fn tariffs() -> Vec<Vec<u8>> {
    vec![Tariff::hanzo(1_250_000).to_bytes().to_vec()]
}

fn tariff(bytes: &[u8]) -> bool {
    canonical(bytes, Tariff::from_bytes(bytes), |tariff| tariff.to_bytes().to_vec())
}
