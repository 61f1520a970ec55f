//! The one error type of the crate.

use crate::ExperienceId;
use crate::merkle::Hash;

/// Why an input was refused. Nothing is changed by a call that returns one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is the empty string.
    #[error("text is empty")]
    EmptyText,
    /// A string is longer than its bound.
    #[error("{got} bytes, at most {max} are allowed")]
    TooManyBytes {
        /// Bytes given.
        got: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A character that this member may not hold.
    #[error("character {ch:?} is not allowed here")]
    ForbiddenChar {
        /// The first such character.
        ch: char,
    },
    /// The text is not its words joined by single spaces.
    #[error("text is not its words joined by single spaces")]
    NotNormalized,
    /// The text has more words than its bound.
    #[error("{got} words, at most {max} are allowed")]
    TooManyWords {
        /// Words given.
        got: usize,
        /// Words allowed.
        max: usize,
    },
    /// A value lies outside the range of its member.
    #[error("{field} is out of range")]
    OutOfRange {
        /// Name of the member or argument.
        field: &'static str,
    },
    /// The bytes are not JSON of the expected shape.
    #[error("malformed JSON at line {line}, column {column}")]
    MalformedJson {
        /// Line, from 1; 0 if unknown.
        line: usize,
        /// Column, from 1; 0 if unknown.
        column: usize,
    },
    /// A JSON object names a member twice.
    #[error("member {member} is given twice")]
    DuplicateMember {
        /// The member.
        member: &'static str,
    },
    /// A JSON object has a member that its type does not know.
    #[error("unknown member {member:?}")]
    UnknownMember {
        /// The member as given.
        member: String,
    },
    /// A JSON object lacks a member.
    #[error("member {member} is missing")]
    MissingMember {
        /// The first missing member.
        member: &'static str,
    },
    /// A number is not an integer of 0..=2^53-1 written with digits only.
    #[error("{member} is not an integer of 0..=2^53-1")]
    NotAnInteger {
        /// The member.
        member: &'static str,
    },
    /// The bytes parse, but are not the canonical bytes of what they mean.
    #[error("bytes are not canonical")]
    NotCanonical,
    /// Not `exp_` and 64 lower-case hex digits, or not 64 lower-case hex digits.
    #[error("malformed identifier or hash text")]
    MalformedId,
    /// Not the text of a CIDv1 over SHA-256.
    #[error("malformed CID, or not a CIDv1 over SHA-256")]
    MalformedCid,

    /// A leaf index is not below the tree size.
    #[error("index {index} is not below size {size}")]
    IndexOutOfRange {
        /// Index given.
        index: u64,
        /// Size of the tree.
        size: u64,
    },
    /// A proof has surplus or missing hashes, or is not a whole number of hashes.
    #[error("proof holds {got}, expected {want}")]
    ProofLength {
        /// Hashes given (bytes, where a byte string is no multiple of 32).
        got: u64,
        /// Hashes (bytes) expected.
        want: u64,
    },
    /// The proof does not lead to the root.
    #[error("proof does not lead to the root")]
    RootMismatch,
    /// A consistency proof was asked from, or checked against, the empty tree.
    #[error("consistency with an empty tree proves nothing")]
    EmptyOldTree,
    /// The old size is greater than the new one.
    #[error("old size {old} is greater than new size {new}")]
    SizeOrder {
        /// Old size.
        old: u64,
        /// New size.
        new: u64,
    },
    /// Indices or ids do not ascend strictly, or the neighbours in an absence proof are not adjacent or do not enclose
    /// the id.
    #[error("indices do not ascend, or neighbours do not enclose the id")]
    IndexOrder,

    /// A checkpoint body is malformed.
    #[error("malformed checkpoint at line {line}")]
    MalformedCheckpoint {
        /// Line, from 1.
        line: usize,
    },
    /// The checkpoint is of another log.
    #[error("checkpoint is of another log")]
    WrongOrigin,
    /// Two checkpoints of one log have one size and different roots: the log lied.
    #[error("log shows two different roots at size {size}")]
    Fork {
        /// The size.
        size: u64,
    },
    /// The signature lines of a note are malformed.
    #[error("malformed note at line {line}")]
    MalformedNote {
        /// Line, from 1.
        line: usize,
    },
    /// A note has no signature of this name and key id.
    #[error("no signature with key id {key_id:08x}")]
    UnknownSigner {
        /// The key id looked for.
        key_id: u32,
    },
    /// A signature does not verify.
    #[error("signature with key id {key_id:08x} does not verify")]
    BadSignature {
        /// The key id.
        key_id: u32,
    },
    /// The signer refused to sign.
    #[error("signer failed")]
    SigningFailed,

    /// A vector has another dimension than the index.
    #[error("vector has {got} dimensions, expected {want}")]
    DimensionMismatch {
        /// Dimensions given.
        got: usize,
        /// Dimensions expected.
        want: usize,
    },
    /// A number is NaN or infinite.
    #[error("component {index} is not finite")]
    NonFinite {
        /// Index of the first such component.
        index: usize,
    },
    /// A vector has norm zero.
    #[error("vector has norm zero")]
    ZeroNorm,
    /// A vector comes from another encoder, or the library keeps no vectors.
    #[error("vector is of another encoder")]
    EncoderMismatch,

    /// No active experience has this id.
    #[error("unknown id {id}")]
    UnknownId {
        /// The id.
        id: ExperienceId,
    },
    /// Absence was asked of an id that is present.
    #[error("id {id} is present")]
    KnownId {
        /// The id.
        id: ExperienceId,
    },
    /// No version of the library had this state root.
    #[error("unknown state {root}")]
    UnknownState {
        /// The state root.
        root: Hash,
    },
    /// A merge names fewer than two distinct ids.
    #[error("merge of {got} distinct ids, at least 2 are needed")]
    MergeTooSmall {
        /// Distinct ids given.
        got: usize,
    },
    /// A merge without draft spans two domains.
    #[error("merge spans more than one domain")]
    DomainMismatch,
    /// The verifier refused the signature of a vote.
    #[error("vote of {voter} on {id} is not the voter's")]
    BadVote {
        /// The experience.
        id: ExperienceId,
        /// Who is said to have voted.
        voter: String,
    },
    /// A snapshot is malformed, or not of one piece.
    #[error("malformed snapshot at line {line}")]
    MalformedSnapshot {
        /// Line, from 1.
        line: usize,
    },
    /// A snapshot holds only the end of its log; a library needs all of it.
    #[error("the log begins at entry {first}")]
    PartialLog {
        /// Index of the first entry.
        first: u64,
    },
    /// A frame is malformed, or not what the session waits for.
    #[error("malformed frame")]
    MalformedFrame,

    /// No proposal has this number.
    #[error("unknown proposal {number}")]
    UnknownProposal {
        /// The number.
        number: u64,
    },
    /// No entry of the registry has this number.
    #[error("unknown entry {number}")]
    UnknownEntry {
        /// The number.
        number: u64,
    },
    /// The proposal or entry is in a state that does not allow this, for example slashed already.
    #[error("not possible when {state}")]
    WrongState {
        /// The state it is in.
        state: &'static str,
    },
    /// A vote or verdict came before its time or after it.
    #[error("the time for this is not now")]
    VotingClosed,
    /// Something that must wait came early.
    #[error("not before {until}")]
    TooEarly {
        /// Unix seconds.
        until: u64,
    },
    /// Someone votes on, or challenges, what is their own.
    #[error("not on one's own")]
    SelfVote,
    /// The account has no voting power in the proposal's snapshot.
    #[error("no voting power")]
    NoVotingPower,
    /// The sum of all voting power is greater than the supply.
    #[error("voting power exceeds the supply")]
    PowerExceedsSupply,
    /// The library is not in the state that operations are meant for.
    #[error("the library is in another state")]
    StaleBase,
    /// A bond is lower than asked.
    #[error("bond of {got}, at least {want} is needed")]
    InsufficientBond {
        /// Base units given.
        got: u128,
        /// Base units needed.
        want: u128,
    },
    /// Only the submitter may do this.
    #[error("not the submitter")]
    NotSubmitter,
    /// The quality does not allow this.
    #[error("quality {quality} does not allow this")]
    QualityBound {
        /// Quality, 0..=1000.
        quality: u16,
    },
    /// The same state under the same schema is registered already.
    #[error("registered already as entry {number}")]
    AlreadyLive {
        /// Number of that entry.
        number: u64,
    },
    /// This evidence was judged before, and did not hold.
    #[error("evidence was refused before")]
    EvidenceRefused,
    /// Entries are of different schemas.
    #[error("entries of different schemas")]
    SchemaMismatch,
    /// There is no weight to divide by.
    #[error("no weight")]
    NoWeight,
    /// Fewer submissions than the rule needs.
    #[error("{got} submissions, at least {need} are needed")]
    TooFew {
        /// Submissions needed.
        need: usize,
        /// Submissions given.
        got: usize,
    },
    /// A submitter has two submissions in one aggregate or round.
    #[error("a submitter is there twice")]
    DuplicateSubmitter,
    /// The rule needs priors with every element present.
    #[error("a prior lacks elements")]
    NotDense,
    /// The bytes are not those of a prior.
    #[error("malformed prior")]
    MalformedPrior,
    /// A reply holds no JSON list.
    #[error("the reply holds no JSON list")]
    NoJson,
    /// A prompt template lacks a place that it must have.
    #[error("the template lacks {{{place}}}")]
    MissingPlace {
        /// Name of the place.
        place: &'static str,
    },
    /// The bytes are not those of a transcript.
    #[error("malformed transcript at line {line}")]
    MalformedTranscript {
        /// Line, from 1.
        line: usize,
    },
    /// A weight of an expert is negative, infinite or NaN.
    #[error("weight {index} is not a finite number of at least 0")]
    NegativeAlpha {
        /// Index of the factor.
        index: usize,
    },
    /// No token is left possible.
    #[error("no token is left possible")]
    AllVetoed,
    /// The budget of privacy does not allow this release.
    #[error("the privacy budget is exhausted")]
    BudgetExhausted,

    /// A counter or amount would leave its range.
    #[error("out of the range of its number")]
    Overflow,
}

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;
