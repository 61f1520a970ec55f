//! The signed claim of a worker about one job.

use alloc::vec::Vec;

use crate::encoding::{Reader, Writer};
use crate::error::{Error, Result};
use crate::hash::{AttestationHash, ChainId, Hash, JobId, ModelHash, PartyId, Tag, tagged};
use crate::signing::{Signable, SignedKind};
use crate::suite::Suite;
use crate::units::{Epoch, Millis};

macro_rules! attestation {
    (
        required { $($(#[$rdoc:meta])* $rname:ident: $rtype:ty;)* }
        optional { $($(#[$odoc:meta])* $oname:ident: $otype:ty;)* }
    ) => {
        /// What a worker claims to have done for one job: 480 canonical bytes, outside of which the
        /// signature stands.
        ///
        /// ```
        /// use hanzo_poai::{Attestation, ChainId, Epoch, JobId, ModelHash, PartyId, Suite};
        ///
        /// let claim = Attestation::builder()
        ///     .suite(Suite::ML_DSA_65).chain(ChainId::new([1; 32])).epoch(Epoch::new(7))
        ///     .worker(PartyId::new([2; 32])).job(JobId::new([3; 32])).model(ModelHash::new([4; 32]))
        ///     .input([5; 32]).output([6; 32]).environment([7; 32])
        ///     .duration_us(1_500_000).tokens_in(100).tokens_out(20)
        ///     .build()?;
        /// assert_eq!(Attestation::decode(&claim.encode())?, claim);
        /// # Ok::<(), hanzo_poai::Error>(())
        /// ```
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Attestation {
            $($rname: $rtype,)*
            $($oname: $otype,)*
        }

        /// Builds an [`Attestation`]; made by [`Attestation::builder`].
        #[derive(Debug, Clone, Default)]
        #[must_use]
        pub struct AttestationBuilder {
            $($rname: Option<$rtype>,)*
            $($oname: $otype,)*
        }

        impl Attestation {
            $($(#[$rdoc])* pub const fn $rname(&self) -> $rtype { self.$rname })*
            $($(#[$odoc])* pub const fn $oname(&self) -> $otype { self.$oname })*
        }

        impl AttestationBuilder {
            $($(#[$rdoc])* pub const fn $rname(mut self, $rname: $rtype) -> Self {
                self.$rname = Some($rname);
                self
            })*
            $($(#[$odoc])* pub const fn $oname(mut self, $oname: $otype) -> Self {
                self.$oname = $oname;
                self
            })*

            /// Checks the fields together.
            ///
            /// # Errors
            /// [`Error::MissingField`] for a field without a default that was not set;
            /// [`Error::InvalidField`] for a zero hash (zero means absent) and for a `prev` that is
            /// present at sequence number 0 or absent after it.
            pub fn build(self) -> Result<Attestation> {
                Attestation {
                    $($rname: self.$rname.ok_or(Error::MissingField(stringify!($rname)))?,)*
                    $($oname: self.$oname,)*
                }
                .checked()
            }
        }
    };
}

attestation! {
    required {
        /// Signature suite of the worker's key.
        suite: Suite;
        /// The network.
        chain: ChainId;
        /// Audit epoch of the work.
        epoch: Epoch;
        /// The worker.
        worker: PartyId;
        /// The job.
        job: JobId;
        /// Hash of the input.
        input: Hash;
        /// Hash of the output.
        output: Hash;
        /// The model.
        model: ModelHash;
        /// Hash of the [`Environment`](crate::Environment).
        environment: Hash;
    }
    optional {
        /// Position in the worker's chain, from 0 in steps of 1.
        seq: u64;
        /// Which assignment of the job this is: replicas first, reassignments after.
        assignment: u32;
        /// Commitment to the execution trace, if one is kept.
        trace: Option<Hash>;
        /// Commitment to numeric evidence, if some is kept.
        evidence: Option<Hash>;
        /// When the work started.
        started: Millis;
        /// Microseconds it took.
        duration_us: u64;
        /// Mean utilisation of the devices, parts per million.
        gpu_util_ppm: u32;
        /// Peak memory, bytes.
        mem_bytes: u64;
        /// Floating-point operations.
        flops: u128;
        /// Bytes over the network.
        net_bytes: u64;
        /// Energy, millijoules.
        energy_mj: u64;
        /// Tokens read.
        tokens_in: u32;
        /// Tokens written.
        tokens_out: u32;
        /// Hash of the [`TaskReport`](crate::TaskReport), if one is claimed.
        report: Option<Hash>;
        /// SHA-256 of a TEE quote, if there is one.
        quote: Option<Hash>;
        /// Hash of the attestation before; absent only at sequence number 0.
        prev: Option<AttestationHash>;
    }
}

impl Attestation {
    /// Length of the encoding.
    pub const LEN: usize = 480;

    /// An empty builder.
    pub fn builder() -> AttestationBuilder {
        AttestationBuilder::default()
    }

    /// The 480 canonical bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        Writer::versioned(MAGIC)
            .u16(self.suite.code())
            .put(self.chain.as_bytes())
            .u64(self.epoch.get())
            .u64(self.seq)
            .u32(self.assignment)
            .put(self.worker.as_bytes())
            .put(self.job.as_bytes())
            .put(&self.input)
            .put(&self.output)
            .put(self.model.as_bytes())
            .optional(self.trace)
            .put(&self.environment)
            .optional(self.evidence)
            .u64(self.started.get())
            .u64(self.duration_us)
            .u32(self.gpu_util_ppm)
            .u64(self.mem_bytes)
            .u128(self.flops)
            .u64(self.net_bytes)
            .u64(self.energy_mj)
            .u32(self.tokens_in)
            .u32(self.tokens_out)
            .optional(self.report)
            .optional(self.quote)
            .optional(self.prev)
            .finish()
    }

    /// Strict decoding of [`Attestation::encode`].
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::BadMagic`], [`Error::UnknownVersion`], [`Error::UnknownSuite`], or
    /// [`Error::InvalidField`] for a `prev` that does not fit the sequence number.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::versioned(bytes, Self::LEN, MAGIC)?;
        Self {
            suite: Suite::new(reader.u16()?)?,
            chain: reader.hash()?,
            epoch: Epoch::new(reader.u64()?),
            seq: reader.u64()?,
            assignment: reader.u32()?,
            worker: reader.hash()?,
            job: reader.hash()?,
            input: reader.array()?,
            output: reader.array()?,
            model: reader.hash()?,
            trace: reader.optional()?,
            environment: reader.array()?,
            evidence: reader.optional()?,
            started: Millis::new(reader.u64()?),
            duration_us: reader.u64()?,
            gpu_util_ppm: reader.u32()?,
            mem_bytes: reader.u64()?,
            flops: reader.u128()?,
            net_bytes: reader.u64()?,
            energy_mj: reader.u64()?,
            tokens_in: reader.u32()?,
            tokens_out: reader.u32()?,
            report: reader.optional()?,
            quote: reader.optional()?,
            prev: reader.optional()?,
        }
        .checked()
    }

    /// Hash of the encoding; the leaf of a batch.
    pub fn hash(&self) -> AttestationHash {
        self.hash_with(&Self::tag())
    }

    /// What a TEE quote over this attestation must carry: the hash with `quote` zeroed, then 32 zero bytes.
    pub fn report_data(&self) -> [u8; 64] {
        let unquoted = Self { quote: None, ..self.clone() };
        let mut data = [0; 64];
        data[..32].copy_from_slice(unquoted.hash().as_bytes());
        data
    }

    /// The hash state of a leaf, to be made once for many attestations.
    pub(crate) fn tag() -> Tag {
        Tag::new(LABEL)
    }

    pub(crate) fn hash_with(&self, tag: &Tag) -> AttestationHash {
        tag.hash(&[&self.encode()]).into()
    }

    /// Checks encoded bytes as [`Attestation::decode`] does, and that they follow in a batch: the same suite,
    /// chain, worker and epoch as `first`, this sequence number, and the hash of the one before. No field but
    /// these can be malformed.
    pub(crate) fn check_successor(body: &[u8; Self::LEN], first: &Self, seq: u64, before: Option<&Hash>) -> Result<()> {
        let mut reader = Reader::new(body);
        reader.header(MAGIC)?;
        let suite = Suite::new(reader.u16()?)?;
        let (chain, epoch, got): (ChainId, _, _) = (reader.hash()?, Epoch::new(reader.u64()?), reader.u64()?);
        let (_, worker): (_, PartyId) = (reader.u32()?, reader.hash()?);
        let prev: Option<Hash> = Reader::new(&body[PREV_AT..]).optional()?;
        if prev.is_none() != (got == 0) {
            return Err(Error::InvalidField("prev"));
        }
        if got != seq {
            return Err(Error::Sequence { want: seq, got });
        }
        if before.is_some() && prev.as_ref() != before {
            return Err(Error::PrevMismatch);
        }
        match () {
            () if suite != first.suite => Err(Error::InvalidField("suite")),
            () if chain != first.chain => Err(Error::InvalidField("chain")),
            () if worker != first.worker => Err(Error::InvalidField("worker")),
            () if epoch != first.epoch => Err(Error::InvalidField("epoch")),
            () => Ok(()),
        }
    }

    /// Hash of leaf bytes that may not be a valid attestation.
    pub(crate) fn hash_bytes(bytes: &[u8]) -> Hash {
        tagged(LABEL, &[bytes])
    }

    fn checked(self) -> Result<Self> {
        let zero = Some([0; 32]);
        let absent = [
            ("trace", self.trace),
            ("evidence", self.evidence),
            ("report", self.report),
            ("quote", self.quote),
            ("prev", self.prev.map(Into::into)),
        ];
        if let Some((name, _)) = absent.into_iter().find(|(_, value)| *value == zero) {
            return Err(Error::InvalidField(name));
        }
        if self.prev.is_none() != (self.seq == 0) {
            return Err(Error::InvalidField("prev"));
        }
        Ok(self)
    }
}

impl Signable for Attestation {
    const KIND: SignedKind = SignedKind::Attestation;

    fn signing_hash(&self) -> Hash {
        self.hash().into()
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.encode().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::decode(bytes)
    }
}

const MAGIC: &[u8; 4] = b"PoAI";
const LABEL: &str = "attestation";
/// Offset of `prev`.
const PREV_AT: usize = Attestation::LEN - 32;
