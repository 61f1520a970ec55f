//! Content identifiers (CIDv1, multibase base32 lower case without padding), for the one shape the crate writes.

use sha2::{Digest, Sha256};

/// Version 1, codec `json` (0x0200 as varint 80 04), hash sha2-256 (12), 32 bytes (20).
const JSON_SHA2_256: [u8; 5] = [0x01, 0x80, 0x04, 0x12, 0x20];

/// The CID of `data` under codec `json`.
pub(crate) fn of_json(data: &[u8]) -> String {
    text(&JSON_SHA2_256, data)
}

fn text(prefix: &[u8], data: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let digest: [u8; 32] = Sha256::digest(data).into();
    let mut text = String::with_capacity(64);
    text.push('b');
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in prefix.iter().chain(&digest) {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(ALPHABET[(bits >> held) as usize & 31].into());
        }
    }
    if held > 0 {
        text.push(ALPHABET[(bits << (5 - held)) as usize & 31].into());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Strings of the tests of crate `cid` 0.11.3.
    #[test]
    fn agrees_with_published_cids() {
        assert_eq!(
            text(&[0x01, 0x55, 0x12, 0x20], b"hello world"),
            "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
        );
        assert_eq!(
            text(&[0x01, 0x71, 0x12, 0x20], &[0xa0]),
            "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"
        );
    }
}
