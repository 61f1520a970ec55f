#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod analysis;
mod block;
pub mod checkpoint;
mod committee;
mod dual;
mod engine;
mod error;
mod evidence;
pub mod fastpath;
mod flat;
mod instance;
mod params;
mod poll;
mod quorum;
mod sampler;
pub mod settlement;
#[cfg(feature = "simulate")]
#[cfg_attr(docsrs, doc(cfg(feature = "simulate")))]
pub mod simulate;
mod slush;
mod snowball;
mod snowflake;
mod snowman;
mod store;
mod tree;
mod votes;
mod wire;

pub use rand_core;
pub use signature;

pub use block::{BlockId, BlockRef};
pub use committee::{Committee, Keys, MAX_VALIDATORS, MessageError, NodeId, Sign, SignatureError, Signers, VerifyAll};
pub use dual::{
    CheckpointBody, CheckpointPolicy, Close, CloseReport, DualConfig, DualInput, DualMessage, DualOutput, DualTrack,
    MAX_REPORTED, Payload, Settled, SettledRecord, settled_from_store,
};
pub use engine::{
    Engine, EngineConfig, EngineError, Failure, Input, Load, Outcome, Output, Reason, StallReport, Timestamp,
};
pub use error::{Error, Result};
pub use evidence::{Evidence, EvidenceKind};
pub use flat::Flat;
pub use params::{Condition, MAX_CONDITIONS, ParamError, Params, ParamsBuilder};
pub use poll::{Ancestry, Ignored, PollError, PollId, PollResult, PollSet};
pub use quorum::{Quorum, QuorumError};
pub use sampler::{
    SampleError, SetError, StakeHeap, StakeTable, StakeTree, Uniform, ValidatorSampler, ValidatorSet, sample_units,
};
pub use slush::Slush;
pub use snowball::Snowball;
pub use snowflake::{PollOutcome, Snowflake, Variant};
pub use snowman::{AddError, Decision, Snowman};
pub use store::{Block, BlockStore, Entry, EntryKind, MemoryStore, Record};
#[cfg(feature = "redb")]
#[cfg_attr(docsrs, doc(cfg(feature = "redb")))]
pub use store::{RedbStore, RedbStoreError};
pub use tree::Tree;
pub use votes::{TooManyVotes, VoteBag};
pub use wire::{MAX_SIGNATURE, Signature, WireError};
