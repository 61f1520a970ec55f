use crate::meter::Basis;
use crate::units::HOUR_NS;
use crate::wide::{mul_add_div, mul_div};
use crate::wire::{Bytes, Wire, WireError};
use crate::{Quanta, Resources, RuntimeKind, SignedQuanta, SignedUsage, TeeKind, UnitError, Usage, Weights};
use alloc::vec::Vec;

/// Whether confidential computing changes the price as well as the reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TeePolicy {
    /// The reward only: the client pays no more.
    #[default]
    RewardOnly,
    /// Both.
    PriceAndReward,
}

/// How the multipliers of two trusted execution environments combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TeeStacking {
    /// The larger counts.
    #[default]
    Max,
    /// Their product counts, rounded down to a basis point.
    Product,
}

/// What is billed and minted for compute: weights, multipliers, price and mint rate, in one canonical encoding.
///
/// Prices and mint rates are base units of the asset per CU-hour.
///
/// ```
/// use hanzo_metering::{Carry, Resources, RuntimeKind, Tariff, TeeKind};
/// # fn main() -> Result<(), hanzo_metering::UnitError> {
/// let tariff = Tariff::hanzo(1_250_000); // 0.00125 with 9 decimals
/// let two_cores_4_gib = Resources::new(2_000, 4 << 30, 0)?;
/// assert_eq!(tariff.estimate(&two_cores_4_gib, 3, RuntimeKind::Docker, TeeKind::None)?, 150_000_000);
///
/// let mut carry = Carry::default();
/// let quanta = tariff.quanta(&two_cores_4_gib.over(3_600_000_000_000))?;
/// assert_eq!(tariff.price(quanta, RuntimeKind::Wasm, TeeKind::None, &mut carry)?, 25_000_000);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tariff {
    weights: Weights,
    runtime_bps: [u32; 4],
    tee_bps: [u32; 3],
    policy: TeePolicy,
    stacking: TeeStacking,
    basis: Basis,
    price: u128,
    mint: u128,
    asset: u32,
}

impl Tariff {
    /// Bytes of the canonical encoding.
    pub const ENCODED_LEN: usize = 81;

    /// The defaults of the Hanzo network at `price` base units per CU-hour: 10, 5 and 100 CU a core, GiB and GPU;
    /// Docker 1, Kubernetes 1.1, WASM 0.5, Firecracker 1.15; TEE bonus 1.5 (CPU) and 2 (GPU) on the reward only;
    /// 10 tokens of 9 decimals minted per CU-hour; asset 1.
    pub fn hanzo(price: u128) -> Self {
        Self {
            weights: Weights::default(),
            runtime_bps: [10_000, 11_000, 5_000, 11_500],
            tee_bps: [10_000, 15_000, 20_000],
            policy: TeePolicy::RewardOnly,
            stacking: TeeStacking::Max,
            basis: Basis::Reserved,
            price,
            mint: 10_000_000_000,
            asset: 1,
        }
    }

    /// The same with other weights.
    pub const fn with_weights(mut self, weights: Weights) -> Self {
        self.weights = weights;
        self
    }

    /// The same with other runtime multipliers in basis points: Docker, Kubernetes, WASM, Firecracker.
    pub const fn with_runtime_bps(mut self, bps: [u32; 4]) -> Self {
        self.runtime_bps = bps;
        self
    }

    /// The same with other TEE multipliers in basis points: none, CPU, GPU.
    pub const fn with_tee_bps(mut self, bps: [u32; 3]) -> Self {
        self.tee_bps = bps;
        self
    }

    /// The same with another TEE policy and stacking.
    pub const fn with_tee(mut self, policy: TeePolicy, stacking: TeeStacking) -> Self {
        self.policy = policy;
        self.stacking = stacking;
        self
    }

    /// The same with another basis of the usage, which has to be that of the meters: see [`MeterConfig::basis`](crate::MeterConfig::basis).
    pub const fn with_basis(mut self, basis: Basis) -> Self {
        self.basis = basis;
        self
    }

    /// The same minting `mint` base units per CU-hour.
    pub const fn with_mint(mut self, mint: u128) -> Self {
        self.mint = mint;
        self
    }

    /// The same in another asset.
    pub const fn with_asset(mut self, asset: u32) -> Self {
        self.asset = asset;
        self
    }

    /// The weights.
    pub const fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Which readings of the meter are billed; a [`Biller`](crate::Biller) takes no deployment whose meter has another basis.
    pub const fn basis(&self) -> Basis {
        self.basis
    }

    /// Base units per CU-hour.
    pub const fn price_per_cu_hour(&self) -> u128 {
        self.price
    }

    /// Base units minted per CU-hour.
    pub const fn mint_per_cu_hour(&self) -> u128 {
        self.mint
    }

    /// The asset billed in: the `ledger` of its accounts.
    pub const fn asset(&self) -> u32 {
        self.asset
    }

    /// The denominator `B` of the billing number: quanta of a CU-hour times 10^8. Below 2^120.
    pub const fn denominator(&self) -> u128 {
        self.weights.per_cu_hour() * BPS_SQUARED
    }

    /// Quanta of a usage.
    ///
    /// # Errors
    /// `Overflow`.
    pub fn quanta(&self, usage: &Usage) -> Result<Quanta, UnitError> {
        self.weights.quanta(usage)
    }

    /// Quanta of a correction.
    ///
    /// # Errors
    /// `Overflow`.
    pub fn signed_quanta(&self, usage: &SignedUsage) -> Result<SignedQuanta, UnitError> {
        self.weights.signed_quanta(usage)
    }

    /// The price of some quanta in base units: `floor((c + N) / B)` with `N = quanta x multipliers x price`, leaving
    /// `(c + N) mod B` in `carry`. A stream of prices with one carry adds up to `floor(sum N / B)`, however it was cut.
    ///
    /// A carry belongs to one deployment and one tariff; it starts at 0. On an error it is unchanged.
    ///
    /// # Errors
    /// `Overflow`, `CarryRange`.
    pub fn price(
        &self,
        quanta: impl Into<SignedQuanta>,
        runtime: RuntimeKind,
        tee: TeeKind,
        carry: &mut Carry,
    ) -> Result<i128, UnitError> {
        self.amount(quanta.into(), runtime, self.price_tee_bps(tee)?, self.price, carry)
    }

    /// The base units minted for some quanta, in the same way, with a carry of its own.
    ///
    /// # Errors
    /// `Overflow`, `CarryRange`.
    pub fn mint(
        &self,
        quanta: impl Into<SignedQuanta>,
        runtime: RuntimeKind,
        tee: TeeKind,
        carry: &mut Carry,
    ) -> Result<i128, UnitError> {
        self.amount(quanta.into(), runtime, self.tee_multiplier(tee)?, self.mint, carry)
    }

    /// The price of one hour of `replicas` times these resources, rounded down.
    ///
    /// # Errors
    /// `ResourceRange`, `Overflow`.
    pub fn estimate(
        &self,
        resources: &Resources,
        replicas: u32,
        runtime: RuntimeKind,
        tee: TeeKind,
    ) -> Result<u128, UnitError> {
        let usage = resources.checked_mul(replicas)?.over(HOUR_NS as u64);
        let amount = self.price(self.quanta(&usage)?, runtime, tee, &mut Carry::default())?;
        // Quanta are not negative, so neither is their price.
        Ok(amount.unsigned_abs())
    }

    /// Billionths of a CU-hour after the multipliers of the price, rounded down: for display.
    ///
    /// # Errors
    /// `Overflow`.
    pub fn billable_nano(&self, quanta: Quanta, runtime: RuntimeKind, tee: TeeKind) -> Result<u128, UnitError> {
        self.nano(quanta, runtime, self.price_tee_bps(tee)?)
    }

    /// Billionths of a CU-hour after the multipliers of the reward, rounded down: for display.
    ///
    /// # Errors
    /// `Overflow`.
    pub fn reward_nano(&self, quanta: Quanta, runtime: RuntimeKind, tee: TeeKind) -> Result<u128, UnitError> {
        self.nano(quanta, runtime, self.tee_multiplier(tee)?)
    }

    /// The canonical encoding, all numbers big-endian: version `u16` = 1; 3 weights, 4 runtime and 3 TEE multipliers
    /// `u32`; policy, stacking, basis `u8`; price and mint `u128`; asset `u32`.
    pub fn to_bytes(&self) -> [u8; Self::ENCODED_LEN] {
        let mut out = [0; Self::ENCODED_LEN];
        out[..2].copy_from_slice(&VERSION.to_be_bytes());
        let numbers = self.weights.milli_cu().into_iter().chain(self.runtime_bps).chain(self.tee_bps);
        for (chunk, n) in out[2..42].chunks_exact_mut(4).zip(numbers) {
            chunk.copy_from_slice(&n.to_be_bytes());
        }
        out[42] = self.policy as u8;
        out[43] = self.stacking as u8;
        out[44] = self.basis as u8;
        out[45..61].copy_from_slice(&self.price.to_be_bytes());
        out[61..77].copy_from_slice(&self.mint.to_be_bytes());
        out[77..].copy_from_slice(&self.asset.to_be_bytes());
        out
    }

    /// Reads the canonical encoding.
    ///
    /// # Errors
    /// `Length`, `UnknownVersion`, `UnknownKind`, `ZeroWeights`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, UnitError> {
        let bytes: &[u8; Self::ENCODED_LEN] =
            bytes.try_into().map_err(|_| UnitError::Length { len: bytes.len(), expected: Self::ENCODED_LEN })?;
        let version = u16::from_be_bytes([bytes[0], bytes[1]]);
        if version != VERSION {
            return Err(UnitError::UnknownVersion { version });
        }
        let mut n = [0; 10];
        for (n, chunk) in n.iter_mut().zip(bytes[2..42].chunks_exact(4)) {
            *n = chunk.iter().fold(0, |n, &b| n << 8 | u32::from(b));
        }
        let wide = |at: usize| bytes[at..at + 16].iter().fold(0, |n, &b| n << 8 | u128::from(b));
        Ok(Self {
            weights: Weights::new(n[0], n[1], n[2])?,
            runtime_bps: [n[3], n[4], n[5], n[6]],
            tee_bps: [n[7], n[8], n[9]],
            policy: match bytes[42] {
                0 => TeePolicy::RewardOnly,
                1 => TeePolicy::PriceAndReward,
                code => return Err(UnitError::UnknownKind { code }),
            },
            stacking: match bytes[43] {
                0 => TeeStacking::Max,
                1 => TeeStacking::Product,
                code => return Err(UnitError::UnknownKind { code }),
            },
            basis: match bytes[44] {
                0 => Basis::Reserved,
                1 => Basis::Used,
                2 => Basis::MaxOfBoth,
                code => return Err(UnitError::UnknownKind { code }),
            },
            price: wide(45),
            mint: wide(61),
            asset: bytes[77..].iter().fold(0, |n, &b| n << 8 | u32::from(b)),
        })
    }

    /// `BLAKE3.derive_key("hanzo-metering v1 tariff", encoding)`.
    pub fn hash(&self) -> [u8; 32] {
        blake3::derive_key("hanzo-metering v1 tariff", &self.to_bytes())
    }

    fn amount(
        &self,
        quanta: SignedQuanta,
        runtime: RuntimeKind,
        tee_bps: u128,
        rate: u128,
        carry: &mut Carry,
    ) -> Result<i128, UnitError> {
        let b = self.denominator();
        if carry.0 >= b {
            return Err(UnitError::CarryRange);
        }
        let multiplier = (self.runtime_multiplier(runtime) * tee_bps).checked_mul(rate).ok_or(UnitError::Overflow)?;
        let magnitude = quanta.magnitude().get();
        let (amount, rest) = if quanta.is_negative() {
            // floor((c - N) / B) from the floor of N / B: Euclidean, so the carry stays in [0, B).
            let (q, r) = mul_div(magnitude, multiplier, b).ok_or(UnitError::Overflow)?;
            if r <= carry.0 {
                (signed(q, true)?, carry.0 - r)
            } else {
                (signed(q.checked_add(1).ok_or(UnitError::Overflow)?, true)?, b - (r - carry.0))
            }
        } else {
            let (q, r) = mul_add_div(magnitude, multiplier, carry.0, b).ok_or(UnitError::Overflow)?;
            (signed(q, false)?, r)
        };
        carry.0 = rest;
        Ok(amount)
    }

    fn nano(&self, quanta: Quanta, runtime: RuntimeKind, tee_bps: u128) -> Result<u128, UnitError> {
        let multiplier =
            (self.runtime_multiplier(runtime) * tee_bps).checked_mul(1_000_000_000).ok_or(UnitError::Overflow)?;
        Ok(mul_div(quanta.get(), multiplier, self.denominator()).ok_or(UnitError::Overflow)?.0)
    }

    fn price_tee_bps(&self, tee: TeeKind) -> Result<u128, UnitError> {
        match self.policy {
            TeePolicy::RewardOnly => Ok(10_000),
            TeePolicy::PriceAndReward => self.tee_multiplier(tee),
        }
    }

    /// Below 2^32, as `amount` and `nano` multiply two of these.
    fn runtime_multiplier(&self, runtime: RuntimeKind) -> u128 {
        let [docker, kubernetes, wasm, firecracker] = self.runtime_bps;
        u128::from(match runtime {
            RuntimeKind::Docker => docker,
            RuntimeKind::Kubernetes => kubernetes,
            RuntimeKind::Wasm => wasm,
            RuntimeKind::Firecracker => firecracker,
        })
    }

    fn tee_multiplier(&self, tee: TeeKind) -> Result<u128, UnitError> {
        let [none, cpu, gpu] = self.tee_bps.map(u128::from);
        Ok(match (tee, self.stacking) {
            (TeeKind::None, _) => none,
            (TeeKind::Cpu, _) => cpu,
            (TeeKind::GpuConfidential, _) => gpu,
            (TeeKind::CpuAndGpu, TeeStacking::Max) => cpu.max(gpu),
            (TeeKind::CpuAndGpu, TeeStacking::Product) => {
                let product = cpu * gpu / 10_000;
                if product > u128::from(u32::MAX) {
                    return Err(UnitError::Overflow);
                }
                product
            }
        })
    }
}

/// What a stream of amounts has left over below one base unit, in units of 1 / [`Tariff::denominator`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Carry(u128);

impl Carry {
    /// A carry read back from storage; it is checked against the tariff where it is used.
    pub const fn from_raw(raw: u128) -> Self {
        Self(raw)
    }

    /// The numerator.
    pub const fn raw(self) -> u128 {
        self.0
    }
}

fn signed(magnitude: u128, negative: bool) -> Result<i128, UnitError> {
    let n = i128::try_from(magnitude).map_err(|_| UnitError::Overflow)?;
    Ok(if negative { -n } else { n })
}

const VERSION: u16 = 1;
const BPS_SQUARED: u128 = 100_000_000;

impl Wire for Carry {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        Ok(Self(u128::take(bytes)?))
    }
}

impl Wire for Tariff {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }
    fn take(bytes: &mut Bytes<'_>) -> Result<Self, WireError> {
        Self::from_bytes(bytes.slice(Self::ENCODED_LEN)?).map_err(|_| WireError::Value)
    }
}
