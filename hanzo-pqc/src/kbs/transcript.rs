//! Hashes of one exchange, to which evidence and envelopes are bound.

use alloc::vec::Vec;

use sha2::{Digest, Sha256, Sha512};

use super::message::{Challenge, Request};
use crate::attestation::Binding;
use crate::wire::{put_lp16, put_lp32};

/// What request, challenge and recipient key of one session hash to:
/// B(label, H) = H(lp16(label) ‖ lp32(Request) ‖ lp32(Challenge) ‖ lp32(ek)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transcript {
    binding: Binding,
    context_digest: [u8; 32],
}

impl Transcript {
    /// Hashes a session; `encapsulation_key` is the recipient's encoded key.
    #[must_use]
    pub fn new(request: &Request, challenge: &Challenge, encapsulation_key: &[u8]) -> Self {
        let mut body = Vec::new();
        put_lp32(&mut body, &request.to_bytes());
        put_lp32(&mut body, &challenge.to_bytes());
        put_lp32(&mut body, encapsulation_key);
        Self {
            binding: Binding {
                report_data: bind::<Sha512>(b"hanzo-kbs/v1/report-data", &body).into(),
                gpu_nonce: bind::<Sha256>(b"hanzo-kbs/v1/gpu-nonce", &body).into(),
            },
            context_digest: bind::<Sha256>(b"hanzo-kbs/v1/context", &body).into(),
        }
    }

    /// What evidence must carry.
    #[must_use]
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The context digest in the headers of the session's envelopes and in its receipt.
    #[must_use]
    pub const fn context_digest(&self) -> &[u8; 32] {
        &self.context_digest
    }
}

fn bind<H: Digest>(label: &[u8], body: &[u8]) -> sha2::digest::Output<H> {
    let mut prefix = Vec::with_capacity(2 + label.len());
    put_lp16(&mut prefix, label);
    H::new().chain_update(prefix).chain_update(body).finalize()
}
