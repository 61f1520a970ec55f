use crate::wide::mul_div;
use crate::wire::{Bytes, Wire, WireError, wire_enum, wire_struct};
use alloc::vec::Vec;

/// What a deployment has or asks for, as a rate: thousandths of a core, bytes of memory, thousandths of a GPU,
/// each below 2^56.
///
/// ```
/// use hanzo_metering::Resources;
/// # fn main() -> Result<(), hanzo_metering::UnitError> {
/// let r = Resources::new(2_000, 4 << 30, 0)?; // 2 cores, 4 GiB
/// assert_eq!(r.checked_mul(3)?.millicores(), 6_000);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Resources {
    millicores: u64,
    bytes: u64,
    milli_gpus: u64,
}

impl Resources {
    /// First value that is too large for a resource.
    pub const LIMIT: u64 = 1 << 56;

    /// Thousandths of a core, bytes of memory, thousandths of a GPU.
    ///
    /// # Errors
    /// `ResourceRange` where a value is [`Self::LIMIT`] or more.
    pub const fn new(millicores: u64, bytes: u64, milli_gpus: u64) -> Result<Self, UnitError> {
        if millicores >= Self::LIMIT || bytes >= Self::LIMIT || milli_gpus >= Self::LIMIT {
            return Err(UnitError::ResourceRange);
        }
        Ok(Self { millicores, bytes, milli_gpus })
    }

    /// Thousandths of a core.
    pub const fn millicores(&self) -> u64 {
        self.millicores
    }

    /// Bytes of memory.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Thousandths of a GPU.
    pub const fn milli_gpus(&self) -> u64 {
        self.milli_gpus
    }

    /// `replicas` times as much.
    ///
    /// # Errors
    /// `ResourceRange`.
    pub const fn checked_mul(&self, replicas: u32) -> Result<Self, UnitError> {
        // Below 2^88: cannot wrap in u128.
        let (c, b, g) = (
            self.millicores as u128 * replicas as u128,
            self.bytes as u128 * replicas as u128,
            self.milli_gpus as u128 * replicas as u128,
        );
        if c >= Self::LIMIT as u128 || b >= Self::LIMIT as u128 || g >= Self::LIMIT as u128 {
            return Err(UnitError::ResourceRange);
        }
        Ok(Self { millicores: c as u64, bytes: b as u64, milli_gpus: g as u64 })
    }

    /// The larger of both, resource by resource.
    pub fn max(&self, other: &Self) -> Self {
        Self {
            millicores: self.millicores.max(other.millicores),
            bytes: self.bytes.max(other.bytes),
            milli_gpus: self.milli_gpus.max(other.milli_gpus),
        }
    }

    /// Whether no resource is larger than in `other`.
    pub const fn within(&self, other: &Self) -> bool {
        self.millicores <= other.millicores && self.bytes <= other.bytes && self.milli_gpus <= other.milli_gpus
    }

    /// The usage of holding these resources for `nanos` nanoseconds. Below 2^120 each, so exact.
    pub const fn over(&self, nanos: u64) -> Usage {
        Usage {
            cpu: self.millicores as u128 * nanos as u128,
            memory: self.bytes as u128 * nanos as u128,
            gpu: self.milli_gpus as u128 * nanos as u128,
        }
    }
}

/// Resources integrated over time.
///
/// ```
/// use hanzo_metering::{Resources, Weights};
/// # fn main() -> Result<(), hanzo_metering::UnitError> {
/// let hour = Resources::new(2_000, 4 << 30, 0)?.over(3_600_000_000_000);
/// assert_eq!(hour.cpu, 7_200_000_000_000_000);
/// // Two cores and 4 GiB are 2 x 10 + 4 x 5 = 40 CU, for an hour.
/// let weights = Weights::default();
/// assert_eq!(weights.nano_cu_hours(weights.quanta(&hour)?)?, 40_000_000_000);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Usage {
    /// Millicore-nanoseconds.
    pub cpu: u128,
    /// Byte-nanoseconds.
    pub memory: u128,
    /// Milli-GPU-nanoseconds.
    pub gpu: u128,
}

impl Usage {
    /// The sum.
    ///
    /// # Errors
    /// `Overflow`.
    pub fn checked_add(&self, other: &Self) -> Result<Self, UnitError> {
        let add = |a: u128, b| a.checked_add(b).ok_or(UnitError::Overflow);
        Ok(Self {
            cpu: add(self.cpu, other.cpu)?,
            memory: add(self.memory, other.memory)?,
            gpu: add(self.gpu, other.gpu)?,
        })
    }

    /// `self - earlier`, resource by resource, with sign.
    ///
    /// # Errors
    /// `Overflow` where a difference passes `i128`.
    pub fn signed_sub(&self, earlier: &Self) -> Result<SignedUsage, UnitError> {
        let sub = |a: u128, b: u128| {
            i128::try_from(a.abs_diff(b)).map(|d| if a < b { -d } else { d }).map_err(|_| UnitError::Overflow)
        };
        Ok(SignedUsage {
            cpu: sub(self.cpu, earlier.cpu)?,
            memory: sub(self.memory, earlier.memory)?,
            gpu: sub(self.gpu, earlier.gpu)?,
        })
    }
}

/// A difference of two usages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SignedUsage {
    /// Millicore-nanoseconds.
    pub cpu: i128,
    /// Byte-nanoseconds.
    pub memory: i128,
    /// Milli-GPU-nanoseconds.
    pub gpu: i128,
}

impl SignedUsage {
    /// Whether nothing differs.
    pub const fn is_zero(&self) -> bool {
        self.cpu == 0 && self.memory == 0 && self.gpu == 0
    }
}

/// A quantity of compute in the exact unit of one set of [`Weights`]; quanta of other weights must not be mixed with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quanta(u128);

impl Quanta {
    /// This many quanta.
    pub const fn new(quanta: u128) -> Self {
        Self(quanta)
    }

    /// The number of quanta.
    pub const fn get(self) -> u128 {
        self.0
    }

    /// The sum, or `None` past `u128`.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

/// Quanta with a sign: a correction may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SignedQuanta {
    magnitude: u128,
    negative: bool,
}

impl SignedQuanta {
    /// `magnitude`, or its opposite; zero has no sign.
    pub const fn new(magnitude: Quanta, negative: bool) -> Self {
        Self { magnitude: magnitude.0, negative: negative && magnitude.0 != 0 }
    }

    /// The absolute value.
    pub const fn magnitude(self) -> Quanta {
        Quanta(self.magnitude)
    }

    /// Whether it is below zero.
    pub const fn is_negative(self) -> bool {
        self.negative
    }
}

impl From<Quanta> for SignedQuanta {
    fn from(quanta: Quanta) -> Self {
        Self::new(quanta, false)
    }
}

/// Compute units of a core, a GiB and a GPU, in thousandths (000, equation 11), and the integer constants that follow.
///
/// With `a_cpu = w_cpu 2^30`, `a_memory = 1000 w_memory`, `a_gpu = w_gpu 2^30` and `D = 10^6 2^30`, all divided by
/// their greatest common divisor, quanta are `a_cpu cpu + a_memory memory + a_gpu gpu`, and `D` times the nanoseconds
/// of an hour of them make one CU-hour. Nothing is rounded, so usages of any windows add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Weights {
    milli_cu: [u32; 3],
    constants: [u128; 3],
    per_cu: u128,
}

impl Weights {
    /// Thousandths of a CU per core, per GiB and per GPU.
    ///
    /// # Errors
    /// `ZeroWeights` where all are 0.
    pub fn new(core: u32, gib: u32, gpu: u32) -> Result<Self, UnitError> {
        if core == 0 && gib == 0 && gpu == 0 {
            return Err(UnitError::ZeroWeights);
        }
        Ok(Self::reduced([core, gib, gpu]))
    }

    /// The weights of a formula such as `cpu*10 + mem_gb*5 + gpu*100` (000, B.3): a sum of names, each at most once and each
    /// times a decimal number of compute units, in any order; a resource that is not named weighs nothing.
    ///
    /// # Errors
    /// `BadFormula` where it is anything else; `NotExact` where a number has more than three decimals or passes 32 bits of
    /// thousandths; `ZeroWeights`.
    ///
    /// ```
    /// use hanzo_metering::Weights;
    /// assert_eq!(Weights::from_formula("mem_gb*5+gpu*100 + cpu * 10.000"), Ok(Weights::default()));
    /// assert!(Weights::from_formula("cpu*10 + mem_gb*5 + gp").is_err());
    /// ```
    pub fn from_formula(formula: &str) -> Result<Self, UnitError> {
        let mut weights = [None; 3];
        for term in formula.split('+') {
            let (name, factor) = term.split_once('*').ok_or(UnitError::BadFormula)?;
            let at = ["cpu", "mem_gb", "gpu"].iter().position(|n| *n == name.trim()).ok_or(UnitError::BadFormula)?;
            // As many decimals as any number may have tell one that is not exact from one that is no number.
            let factor = factor.trim();
            decimal(factor, 20).ok_or(UnitError::BadFormula)?;
            let milli = decimal(factor, 3).and_then(|n| u32::try_from(n).ok()).ok_or(UnitError::NotExact)?;
            if weights[at].replace(milli).is_some() {
                return Err(UnitError::BadFormula);
            }
        }
        let [core, gib, gpu] = weights.map(|w| w.unwrap_or(0));
        Self::new(core, gib, gpu)
    }

    /// The constants `(a_cpu, a_memory, a_gpu, D)` in lowest terms.
    pub const fn constants(&self) -> (u128, u128, u128, u128) {
        (self.constants[0], self.constants[1], self.constants[2], self.per_cu)
    }

    /// Thousandths of a CU per core, GiB and GPU, as given.
    pub const fn milli_cu(&self) -> [u32; 3] {
        self.milli_cu
    }

    /// The quanta of a usage.
    ///
    /// # Errors
    /// `Overflow` past `u128`.
    pub fn quanta(&self, usage: &Usage) -> Result<Quanta, UnitError> {
        self.weigh([usage.cpu, usage.memory, usage.gpu]).map(Quanta)
    }

    /// The quanta of a difference of usages.
    ///
    /// # Errors
    /// `Overflow` where the positive or the negative part passes `u128`.
    pub fn signed_quanta(&self, usage: &SignedUsage) -> Result<SignedQuanta, UnitError> {
        let parts = [usage.cpu, usage.memory, usage.gpu];
        let plus = self.weigh(parts.map(|p| if p > 0 { p.unsigned_abs() } else { 0 }))?;
        let minus = self.weigh(parts.map(|p| if p < 0 { p.unsigned_abs() } else { 0 }))?;
        Ok(SignedQuanta::new(Quanta(plus.abs_diff(minus)), plus < minus))
    }

    /// Billionths of a CU-hour, rounded down: for display, never to be summed.
    ///
    /// # Errors
    /// `Overflow` past `u128`.
    pub fn nano_cu_hours(&self, quanta: Quanta) -> Result<u128, UnitError> {
        Ok(mul_div(quanta.0, NANO, self.per_cu_hour()).ok_or(UnitError::Overflow)?.0)
    }

    /// Billionths of a CU that these resources are, as a rate, rounded down: for display.
    ///
    /// # Errors
    /// `Overflow`.
    pub fn nano_cu(&self, rate: &Resources) -> Result<u128, UnitError> {
        let quanta = self.quanta(&rate.over(1))?;
        Ok(mul_div(quanta.0, NANO, self.per_cu).ok_or(UnitError::Overflow)?.0)
    }

    /// Quanta in a CU-hour: below 2^92.
    pub(crate) const fn per_cu_hour(&self) -> u128 {
        self.per_cu * HOUR_NS
    }

    fn weigh(&self, parts: [u128; 3]) -> Result<u128, UnitError> {
        let mut sum: u128 = 0;
        for (a, part) in self.constants.iter().zip(parts) {
            sum = a.checked_mul(part).and_then(|p| sum.checked_add(p)).ok_or(UnitError::Overflow)?;
        }
        Ok(sum)
    }

    fn reduced(milli_cu: [u32; 3]) -> Self {
        let [c, m, g] = milli_cu.map(u128::from);
        let (c, m, g, d) = (c * GIB, m * 1_000, g * GIB, 1_000_000 * GIB);
        let common = [c, m, g].into_iter().fold(d, gcd);
        Self { milli_cu, constants: [c / common, m / common, g / common], per_cu: d / common }
    }
}

impl Default for Weights {
    /// 10 CU a core, 5 a GiB, 100 a GPU.
    fn default() -> Self {
        Self::reduced([10_000, 5_000, 100_000])
    }
}

/// What a deployment runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RuntimeKind {
    /// A container.
    Docker,
    /// A pod.
    Kubernetes,
    /// A WebAssembly module.
    Wasm,
    /// A micro virtual machine.
    Firecracker,
}

/// Which trusted execution environments a deployment is attested in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum TeeKind {
    /// None.
    #[default]
    None,
    /// One of the processor.
    Cpu,
    /// Confidential computing of the GPU.
    GpuConfidential,
    /// Both; the tariff says how their multipliers combine.
    CpuAndGpu,
}

/// Why a quantity could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// A resource is 2^56 or more.
    #[error("resource is 2^56 or more")]
    ResourceRange,
    /// All weights are 0.
    #[error("all weights are zero")]
    ZeroWeights,
    /// A formula that is no sum of names times numbers.
    #[error("formula is not a sum of cpu, mem_gb and gpu times decimal numbers")]
    BadFormula,
    /// A number that cannot be kept exactly.
    #[error("number is not exact in its unit")]
    NotExact,
    /// A product, sum or quotient passes its type.
    #[error("amount overflows")]
    Overflow,
    /// A carry is not below the denominator of the tariff it is used with.
    #[error("carry does not belong to this tariff")]
    CarryRange,
    /// Bytes of another length than the encoding has.
    #[error("{len} bytes, not {expected}")]
    Length {
        /// Bytes given.
        len: usize,
        /// Bytes of the encoding.
        expected: usize,
    },
    /// An encoding of a version this crate does not know.
    #[error("unknown version {version}")]
    UnknownVersion {
        /// The version found.
        version: u16,
    },
    /// A code in an encoding that stands for nothing.
    #[error("unknown code {code}")]
    UnknownKind {
        /// The code found.
        code: u8,
    },
}

/// A decimal number without sign, in units of `10^-places`; `None` where it has more places or passes 128 bits.
pub(crate) fn decimal(text: &str, places: usize) -> Option<u128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let dots = text.bytes().filter(|&b| b == b'.').count();
    if digits == 0 || dots > 1 || digits + dots != text.len() || part.len() > places {
        return None;
    }
    let zeros = core::iter::repeat_n(b'0', places - part.len());
    let number = |sum: u128, digit: u8| sum.checked_mul(10)?.checked_add(u128::from(digit - b'0'));
    whole.bytes().chain(part.bytes()).chain(zeros).try_fold(0, number)
}

const fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

const GIB: u128 = 1 << 30;
const NANO: u128 = 1_000_000_000;
/// Nanoseconds of an hour.
pub(crate) const HOUR_NS: u128 = 3_600_000_000_000;

impl Wire for Resources {
    fn put(&self, out: &mut Vec<u8>) {
        (self.millicores, self.bytes, self.milli_gpus).put(out);
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        let (millicores, memory, milli_gpus) = Wire::take(bytes)?;
        Self::new(millicores, memory, milli_gpus).map_err(|_| WireError::Value)
    }
}

impl Wire for SignedQuanta {
    fn put(&self, out: &mut Vec<u8>) {
        (self.magnitude, self.negative).put(out);
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        let (magnitude, negative) = Wire::take(bytes)?;
        Ok(Self::new(Quanta(magnitude), negative))
    }
}

wire_struct!(Usage { cpu, memory, gpu });
wire_struct!(SignedUsage { cpu, memory, gpu });
wire_enum!(RuntimeKind { 0 => Docker, 1 => Kubernetes, 2 => Wasm, 3 => Firecracker });
wire_enum!(TeeKind { 0 => None, 1 => Cpu, 2 => GpuConfidential, 3 => CpuAndGpu });
