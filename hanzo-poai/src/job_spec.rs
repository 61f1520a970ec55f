//! What a client asks for, and the ids that follow from it.

use crate::encoding::{Reader, Writer};
use crate::environment::DType;
use crate::error::{Error, Result};
use crate::hash::{ChainId, Hash, JobId, ModelHash, PartyId, Seed, SpecHash, tagged};

/// How a result is made trustworthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum Assurance {
    /// Paid after a window in which audits and challenges can hit.
    Optimistic = 0,
    /// Several workers compute the same job.
    Redundant = 1,
    /// A succinct proof comes with the output.
    Proof = 2,
}

/// How tokens are drawn from the logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum TokenSampler {
    /// The largest logit; temperature 0.
    Greedy = 0,
    /// Gumbel noise from the job's seed (`gumbel-v1`); temperature above 0.
    GumbelV1 = 1,
}

/// A job as the client orders it: 176 canonical bytes.
///
/// ```
/// use hanzo_poai::{ChainId, JobSpec, ModelHash, PartyId};
///
/// let spec = JobSpec::builder(ModelHash::new([1; 32]), [2; 32]).max_tokens(256).max_price(1_000).build()?;
/// let id = spec.job_id(&ChainId::new([3; 32]), &PartyId::new([4; 32]), 0);
/// assert_ne!(id, spec.job_id(&ChainId::new([3; 32]), &PartyId::new([4; 32]), 1));
/// assert_eq!(JobSpec::decode(&spec.encode())?, spec);
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    assurance: Assurance,
    replicas: u8,
    sampler: TokenSampler,
    dtype: DType,
    kernel_class: u16,
    temperature_q16: u32,
    top_k: u32,
    top_p_q32: u32,
    max_tokens: u32,
    sla_ms: u32,
    model: ModelHash,
    input: Hash,
    adapter: Option<Hash>,
    context: Option<Hash>,
    max_price: u128,
}

impl JobSpec {
    /// Length of the encoding.
    pub const LEN: usize = 176;

    /// A spec for `input` on `model`: optimistic, one replica, greedy, bf16, any kernel class,
    /// 1,024 tokens, an SLA of 60 seconds and a price of 0, until set otherwise.
    pub const fn builder(model: ModelHash, input: Hash) -> JobSpecBuilder {
        JobSpecBuilder {
            spec: Self {
                assurance: Assurance::Optimistic,
                replicas: 1,
                sampler: TokenSampler::Greedy,
                dtype: DType::Bf16,
                kernel_class: 0,
                temperature_q16: 0,
                top_k: 0,
                top_p_q32: u32::MAX,
                max_tokens: 1_024,
                sla_ms: 60_000,
                model,
                input,
                adapter: None,
                context: None,
                max_price: 0,
            },
        }
    }

    /// The 176 canonical bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        Writer::versioned(MAGIC)
            .u8(self.assurance as u8)
            .u8(self.replicas)
            .u8(self.sampler as u8)
            .u8(self.dtype as u8)
            .u16(self.kernel_class)
            .u32(self.temperature_q16)
            .u32(self.top_k)
            .u32(self.top_p_q32)
            .u32(self.max_tokens)
            .u32(self.sla_ms)
            .put(self.model.as_bytes())
            .put(&self.input)
            .optional(self.adapter)
            .optional(self.context)
            .u128(self.max_price)
            .finish()
    }

    /// Strict decoding of [`JobSpec::encode`].
    ///
    /// # Errors
    /// Whatever is wrong with the bytes, the cross-field rules of [`JobSpecBuilder::build`] included.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::versioned(bytes, Self::LEN, MAGIC)?;
        let unknown = |field, value: u8| Error::UnknownVariant { field, value: value.into() };
        let assurance = match reader.u8()? {
            0 => Assurance::Optimistic,
            1 => Assurance::Redundant,
            2 => Assurance::Proof,
            other => return Err(unknown("assurance", other)),
        };
        let replicas = reader.u8()?;
        let sampler = match reader.u8()? {
            0 => TokenSampler::Greedy,
            1 => TokenSampler::GumbelV1,
            other => return Err(unknown("sampler", other)),
        };
        Self {
            assurance,
            replicas,
            sampler,
            dtype: DType::from_code(reader.u8()?)?,
            kernel_class: reader.u16()?,
            temperature_q16: reader.u32()?,
            top_k: reader.u32()?,
            top_p_q32: reader.u32()?,
            max_tokens: reader.u32()?,
            sla_ms: reader.u32()?,
            model: reader.hash()?,
            input: reader.array()?,
            adapter: reader.optional()?,
            context: reader.optional()?,
            max_price: reader.u128()?,
        }
        .checked()
    }

    /// Hash of the encoding.
    pub fn hash(&self) -> SpecHash {
        tagged("job spec", &[&self.encode()]).into()
    }

    /// The id of the job: a client's nonce rises with every job, and no bit is the worker's to choose.
    pub fn job_id(&self, chain: &ChainId, client: &PartyId, client_nonce: u64) -> JobId {
        let nonce = client_nonce.to_be_bytes();
        let spec = self.hash();
        tagged("job", &[chain.as_bytes(), client.as_bytes(), &nonce, spec.as_bytes()]).into()
    }

    /// How the result is assured.
    pub const fn assurance(&self) -> Assurance {
        self.assurance
    }

    /// Workers that compute the job: 1, or odd 3 to 15.
    pub const fn replicas(&self) -> u8 {
        self.replicas
    }

    /// How tokens are drawn.
    pub const fn sampler(&self) -> TokenSampler {
        self.sampler
    }

    /// Element type.
    pub const fn dtype(&self) -> DType {
        self.dtype
    }

    /// Kernel class, 0 for any.
    pub const fn kernel_class(&self) -> u16 {
        self.kernel_class
    }

    /// Temperature, Q16.16.
    pub const fn temperature_q16(&self) -> u32 {
        self.temperature_q16
    }

    /// Top-k filter, 0 for off.
    pub const fn top_k(&self) -> u32 {
        self.top_k
    }

    /// Top-p filter, Q0.32, `u32::MAX` for off.
    pub const fn top_p_q32(&self) -> u32 {
        self.top_p_q32
    }

    /// Most tokens of the output.
    pub const fn max_tokens(&self) -> u32 {
        self.max_tokens
    }

    /// Service level: milliseconds to the result.
    pub const fn sla_ms(&self) -> u32 {
        self.sla_ms
    }

    /// The model.
    pub const fn model(&self) -> &ModelHash {
        &self.model
    }

    /// Hash of the input.
    pub const fn input(&self) -> &Hash {
        &self.input
    }

    /// Hash of the adapter, if one is used.
    pub const fn adapter(&self) -> Option<&Hash> {
        self.adapter.as_ref()
    }

    /// Version of the experience library, if one is used.
    pub const fn context(&self) -> Option<&Hash> {
        self.context.as_ref()
    }

    /// The most the client pays, in base units.
    pub const fn max_price(&self) -> u128 {
        self.max_price
    }

    fn checked(self) -> Result<Self> {
        let replicas_ok = match self.replicas {
            1 => true,
            3..=15 => self.replicas % 2 == 1 && self.assurance == Assurance::Redundant,
            _ => false,
        };
        let temperature_ok = (self.sampler == TokenSampler::Greedy) == (self.temperature_q16 == 0);
        let zero = Some([0; 32]);
        match () {
            () if !replicas_ok => Err(Error::InvalidField("replicas")),
            () if !temperature_ok => Err(Error::InvalidField("temperature")),
            () if self.max_tokens == 0 => Err(Error::InvalidField("max_tokens")),
            () if self.sla_ms == 0 => Err(Error::InvalidField("sla_ms")),
            () if self.adapter == zero => Err(Error::InvalidField("adapter")),
            () if self.context == zero => Err(Error::InvalidField("context")),
            () => Ok(self),
        }
    }
}

impl JobId {
    /// The sampling seed of the job.
    pub fn seed(&self) -> Seed {
        tagged("seed", &[self.as_bytes()]).into()
    }
}

/// Builds a [`JobSpec`]; made by [`JobSpec::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct JobSpecBuilder {
    spec: JobSpec,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {$(
        $(#[$doc])*
        pub const fn $name(mut self, $name: $type) -> Self {
            self.spec.$name = $name;
            self
        }
    )*};
}

impl JobSpecBuilder {
    setters! {
        /// How the result is assured.
        assurance: Assurance;
        /// Workers that compute the job: 1, or odd 3 to 15 with [`Assurance::Redundant`].
        replicas: u8;
        /// How tokens are drawn.
        sampler: TokenSampler;
        /// Element type.
        dtype: DType;
        /// Kernel class, 0 for any.
        kernel_class: u16;
        /// Temperature, Q16.16: 0 for greedy, above 0 for `gumbel-v1`.
        temperature_q16: u32;
        /// Top-k filter, 0 for off.
        top_k: u32;
        /// Top-p filter, Q0.32, `u32::MAX` for off.
        top_p_q32: u32;
        /// Most tokens of the output, at least 1.
        max_tokens: u32;
        /// Milliseconds to the result, at least 1.
        sla_ms: u32;
        /// Hash of the adapter, not zero.
        adapter: Option<Hash>;
        /// Version of the experience library, not zero.
        context: Option<Hash>;
        /// The most the client pays, in base units.
        max_price: u128;
    }

    /// Checks the fields together.
    ///
    /// # Errors
    /// [`Error::InvalidField`] that names the field out of range.
    pub fn build(self) -> Result<JobSpec> {
        self.spec.checked()
    }
}

const MAGIC: &[u8; 4] = b"PoAJ";
