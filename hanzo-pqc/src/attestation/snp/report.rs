//! The report's 1,184 bytes, field by field.

use p384::ecdsa::Signature;

use super::AttestationError;
use crate::attestation::{SnpClaims, SnpProduct, SnpSigner, SnpTcb};

pub(super) const LEN: usize = 0x4A0;
const SIGNED_LEN: usize = 0x2A0;

/// A report of good form; nothing of it is verified.
pub(super) struct Report<'a> {
    pub(super) signed: &'a [u8],
    pub(super) signed_by_vlek: bool,
    /// What the processor's family and model say, from version 3 on.
    pub(super) product: Option<SnpProduct>,
    /// With TCBs read as before Turin, and without a signer.
    pub(super) claims: SnpClaims,
    raw: &'a [u8; LEN],
}

impl<'a> Report<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, AttestationError> {
        let raw: &[u8; LEN] =
            bytes.try_into().map_err(|_| AttestationError::Malformed { offset: bytes.len().min(LEN) })?;
        let version = u32_at(raw, 0);
        if !(2..=5).contains(&version) {
            return Err(AttestationError::Malformed { offset: 0 });
        }
        if u32_at(raw, 0x34) != 1 {
            return Err(AttestationError::Malformed { offset: 0x34 });
        }
        for &(from, to, since) in RESERVED {
            if version < since
                && let Some(offset) = (from..to).find(|&at| raw[at] != 0)
            {
                return Err(AttestationError::ReservedNonZero { offset });
            }
        }
        let policy = u64_at(raw, 8);
        if policy & MUST_BE_ONE == 0 {
            return Err(AttestationError::Malformed { offset: 0x0A });
        }
        let key_flags = u32_at(raw, 0x48);
        if key_flags >> 5 != 0 {
            return Err(AttestationError::ReservedNonZero { offset: 0x48 });
        }
        let signed_by_vlek = match key_flags >> 2 & 7 {
            0 => false,
            1 => true,
            _ => return Err(AttestationError::KeyKindMismatch),
        };
        let product = if version == 2 { None } else { Some(product(raw)?) };
        let masked = key_flags & 2 != 0 || signed_by_vlek && array::<64>(raw, 0x1A0) == [0; 64];
        let claims = SnpClaims {
            report_data: array(raw, 0x50),
            version,
            product: SnpProduct::Milan,
            signer: SnpSigner::Vcek,
            guest_svn: u32_at(raw, 4),
            policy,
            family_id: array(raw, 0x10),
            image_id: array(raw, 0x20),
            vmpl: u32_at(raw, 0x30),
            platform_info: u64_at(raw, 0x40),
            measurement: array(raw, 0x90),
            host_data: array(raw, 0xC0),
            id_key_digest: array(raw, 0xE0),
            author_key_digest: array(raw, 0x110),
            report_id: array(raw, 0x140),
            report_id_ma: array(raw, 0x160),
            current_tcb: SnpTcb::default(),
            reported_tcb: SnpTcb::default(),
            committed_tcb: SnpTcb::default(),
            launch_tcb: SnpTcb::default(),
            chip_id: (!masked).then(|| array(raw, 0x1A0)),
            current_firmware: [raw[0x1EA], raw[0x1E9], raw[0x1E8]],
            committed_firmware: [raw[0x1EE], raw[0x1ED], raw[0x1EC]],
            mitigations: (version >= 5).then(|| [u64_at(raw, 0x1F8), u64_at(raw, 0x200)]),
        };
        Ok(Self { signed: &raw[..SIGNED_LEN], signed_by_vlek, product, claims, raw })
    }

    /// R and S, 72 bytes each, little-endian, of which P-384 needs 48; the rest was checked to be zero.
    pub(super) fn signature(&self) -> Result<Signature, AttestationError> {
        let scalar = |at: usize| core::array::from_fn::<u8, 48, _>(|i| self.raw[at + 47 - i]);
        Signature::from_scalars(scalar(0x2A0), scalar(0x2E8)).map_err(|_| AttestationError::Signature)
    }

    /// The claims, once the certificate has said what the product is and so how a TCB is laid out.
    pub(super) fn claims_for(&self, product: SnpProduct) -> SnpClaims {
        let tcb = |at: usize| tcb(array(self.raw, at), product);
        SnpClaims {
            product,
            current_tcb: tcb(0x38),
            reported_tcb: tcb(0x180),
            committed_tcb: tcb(0x1E0),
            launch_tcb: tcb(0x1F0),
            ..self.claims.clone()
        }
    }
}

const fn tcb(bytes: [u8; 8], product: SnpProduct) -> SnpTcb {
    match product {
        SnpProduct::Turin => {
            SnpTcb { fmc: bytes[0], bootloader: bytes[1], tee: bytes[2], snp: bytes[3], microcode: bytes[7] }
        }
        SnpProduct::Milan | SnpProduct::Genoa => {
            SnpTcb { fmc: 0, bootloader: bytes[0], tee: bytes[1], snp: bytes[6], microcode: bytes[7] }
        }
    }
}

/// CPUID family and model, combined as the report has them.
const fn product(raw: &[u8; LEN]) -> Result<SnpProduct, AttestationError> {
    match (raw[0x188], raw[0x189]) {
        (0x19, 0x00..=0x0F) => Ok(SnpProduct::Milan),
        (0x19, 0x10..=0x1F | 0xA0..=0xAF) => Ok(SnpProduct::Genoa),
        (0x1A, 0x00..=0x11) => Ok(SnpProduct::Turin),
        _ => Err(AttestationError::ProductMismatch),
    }
}

fn array<const N: usize>(raw: &[u8; LEN], at: usize) -> [u8; N] {
    core::array::from_fn(|i| raw[at + i])
}

fn u32_at(raw: &[u8; LEN], at: usize) -> u32 {
    u32::from_le_bytes(array(raw, at))
}

fn u64_at(raw: &[u8; LEN], at: usize) -> u64 {
    u64::from_le_bytes(array(raw, at))
}

/// Bit 17 of the guest policy.
const MUST_BE_ONE: u64 = 1 << 17;

/// Where zero must stand: from, to (exclusive), and the version of the report from which something else may; `u32::MAX` is never.
const RESERVED: &[(usize, usize, u32)] = &[
    (0x4C, 0x50, u32::MAX),
    (0x188, 0x18B, 3),
    (0x18B, 0x1A0, u32::MAX),
    (0x1EB, 0x1EC, u32::MAX),
    (0x1EF, 0x1F0, u32::MAX),
    (0x1F8, 0x208, 5),
    (0x208, 0x2A0, u32::MAX),
    (0x2A0 + 48, 0x2E8, u32::MAX),
    (0x2E8 + 48, LEN, u32::MAX),
];
