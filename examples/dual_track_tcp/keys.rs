//! Who the validators are and what they sign with.

use std::sync::Arc;

use hanzo::pqc::{Signature, SignatureAlgorithm, SigningKey, VerifyingKey};
use hanzo::snow::{Committee, Keys, NodeId, SetError, ValidatorSet};
use sha2::{Digest, Sha256};

use crate::Failure;

/// What a validator signs with, and the verifying keys of all.
pub(crate) type Authority = Arc<Keys<SigningKey, VerifyingKey, Signature>>;

/// The validators of a trial.
pub(crate) struct Members {
    /// Their ids: the hash of the verifying key.
    pub(crate) ids: Vec<NodeId>,
    /// All of them, with equal stake.
    pub(crate) committee: Committee,
    /// The keys of one.
    pub(crate) authority: Authority,
}

impl Members {
    /// The members as the one at `position` knows them. All keys follow from the seed, so that processes need not exchange them: a
    /// validator that is worth attacking draws its own and tells the others the verifying key.
    ///
    /// # Errors
    ///
    /// Whatever refuses a key or the stakes.
    pub(crate) fn new(nodes: usize, seed: u64, position: usize) -> Result<Self, Failure> {
        let key = |at: usize| {
            let label = format!("dual_track_tcp/{seed}/{at}");
            SigningKey::from_seed(SignatureAlgorithm::MlDsa65, &Sha256::digest(label))
        };
        let mut directory = Vec::with_capacity(nodes);
        for at in 0..nodes {
            let verifying = key(at)?.verifying_key().clone();
            let id: NodeId = Sha256::digest(verifying.as_bytes()).into();
            directory.push((id, verifying));
        }
        let ids: Vec<NodeId> = directory.iter().map(|(id, _)| *id).collect();
        let committee = committee(&ids)?;
        Ok(Self { ids, committee, authority: Arc::new(Keys::new(key(position)?, directory)) })
    }
}

fn committee(ids: &[NodeId]) -> Result<Committee, SetError> {
    let chain = Sha256::digest(b"dual_track_tcp").into();
    Committee::new(chain, 0, ValidatorSet::new(ids.iter().map(|id| (*id, 1)))?)
}
