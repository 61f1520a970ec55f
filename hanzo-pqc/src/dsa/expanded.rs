//! The long form of a signing key: ρ 32 ‖ K 32 ‖ tr 64 ‖ s1 ‖ s2 ‖ t0 (FIPS 204 algorithm 24).

use super::SignatureAlgorithm;

/// Whether every coefficient of s1 and s2 is in -η..=η: each is packed as η minus it, and the packing has room for more
/// (FIPS 204 algorithm 25, where such a key is to be refused). `bytes` has the algorithm's length.
///
/// No branch and no index depends on a coefficient.
pub(super) fn in_range(algorithm: SignatureAlgorithm, bytes: &[u8]) -> bool {
    // Bytes of one polynomial: 256 coefficients of 3 bits (η = 2) or 4 (η = 4).
    let (polynomials, len) = match algorithm {
        SignatureAlgorithm::MlDsa44 => (4 + 4, 96),
        SignatureAlgorithm::MlDsa65 => (5 + 6, 128),
        SignatureAlgorithm::MlDsa87 => (7 + 8, 96),
    };
    let packed = bytes.get(HEAD..HEAD + polynomials * len).unwrap_or_default();
    let mut wrong = 0;
    if len == 96 {
        for three in packed.chunks_exact(3) {
            let bits = u32::from(three[0]) | u32::from(three[1]) << 8 | u32::from(three[2]) << 16;
            // 5, 6 and 7 carry into bit 3.
            wrong |= (0..8).fold(0, |sum, i| sum | ((bits >> (3 * i) & 7) + 3) >> 3);
        }
    } else {
        for byte in packed {
            // 9 to 15 carry into bit 4.
            wrong |= (u32::from(byte & 15) + 7) >> 4 | (u32::from(byte >> 4) + 7) >> 4;
        }
    }
    wrong == 0
}

/// ρ, K and tr.
const HEAD: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn each_coefficient_counts() {
        for (algorithm, bits, eta) in [
            (SignatureAlgorithm::MlDsa44, 3, 2_usize),
            (SignatureAlgorithm::MlDsa65, 4, 4),
            (SignatureAlgorithm::MlDsa87, 3, 2),
        ] {
            let t0 = match algorithm {
                SignatureAlgorithm::MlDsa44 => 4 * 416,
                SignatureAlgorithm::MlDsa65 => 6 * 416,
                SignatureAlgorithm::MlDsa87 => 8 * 416,
            };
            let len = algorithm.expanded_key_len();
            let count = (len - HEAD - t0) * 8 / bits;
            let with = |at: usize, value: usize| {
                let mut bytes = vec![0; len];
                for i in 0..bits {
                    let bit = at * bits + i;
                    bytes[HEAD + bit / 8] |= ((value >> i & 1) as u8) << (bit % 8);
                }
                // What is around them is not theirs.
                bytes[..HEAD].fill(0xFF);
                bytes[len - t0..].fill(0xFF);
                bytes
            };
            for at in [0, 1, 2, 7, 8, 255, 256, count / 2, count - 2, count - 1] {
                for value in 0..1 << bits {
                    assert_eq!(in_range(algorithm, &with(at, value)), value <= 2 * eta, "{algorithm} {at} {value}");
                }
            }
        }
    }
}
