//! What verified evidence proves, by kind.

use alloc::boxed::Box;

use subtle::ConstantTimeEq;

use super::{Binding, EvidenceKind, UnixTime};

/// What verified evidence proves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claims {
    /// Of [`EvidenceKind::Tdx`].
    Tdx(Box<TdxClaims>),
    /// Of [`EvidenceKind::Sgx`].
    Sgx(Box<SgxClaims>),
    /// Of [`EvidenceKind::Snp`].
    Snp(Box<SnpClaims>),
    /// Of [`EvidenceKind::NvidiaGpu`].
    NvidiaGpu(Box<NvidiaClaims>),
    /// Of [`EvidenceKind::Software`].
    Software(SoftwareClaims),
}

impl Claims {
    /// The kind of evidence these claims come from.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        match self {
            Self::Tdx(_) => EvidenceKind::Tdx,
            Self::Sgx(_) => EvidenceKind::Sgx,
            Self::Snp(_) => EvidenceKind::Snp,
            Self::NvidiaGpu(_) => EvidenceKind::NvidiaGpu,
            Self::Software(_) => EvidenceKind::Software,
        }
    }

    /// Whether the evidence carried what `bound` asks for; constant time.
    #[must_use]
    pub fn carry(&self, bound: &Binding) -> bool {
        let cpu = |data: &[u8; 64]| data.ct_eq(&bound.report_data).into();
        match self {
            Self::Tdx(claims) => cpu(&claims.report_data),
            Self::Sgx(claims) => cpu(&claims.report_data),
            Self::Snp(claims) => cpu(&claims.report_data),
            Self::NvidiaGpu(claims) => claims.nonce.ct_eq(&bound.gpu_nonce).into(),
            Self::Software(claims) => cpu(&claims.report_data),
        }
    }
}

/// What a software statement proves: that the holder of a key named this measurement for this session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftwareClaims {
    /// The report data inside the statement.
    pub report_data: [u8; 64],
    /// The measurement that the key's holder states.
    pub measurement: [u8; 32],
    /// SHA-256 of the verifying key.
    pub key_digest: [u8; 32],
}

/// AMD's processors with SEV-SNP whose keys are built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum SnpProduct {
    /// 1: EPYC of the third generation.
    Milan = 1,
    /// 2: EPYC of the fourth generation.
    Genoa = 2,
    /// 3: EPYC of the fifth generation.
    Turin = 3,
}

impl SnpProduct {
    /// Every product, by ascending code.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// The code in policies.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The product with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|product| product.code() == code)
    }

    /// AMD's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }
}

/// The security versions of the parts below a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SnpTcb {
    /// The firmware management controller; zero but on Turin.
    pub fmc: u8,
    /// The boot loader of the security processor.
    pub bootloader: u8,
    /// The operating system of the security processor.
    pub tee: u8,
    /// The SNP firmware.
    pub snp: u8,
    /// The microcode.
    pub microcode: u8,
}

impl SnpTcb {
    /// Whether every part is at least the one of `minimum`.
    #[must_use]
    pub const fn is_at_least(&self, minimum: &Self) -> bool {
        self.fmc >= minimum.fmc
            && self.bootloader >= minimum.bootloader
            && self.tee >= minimum.tee
            && self.snp >= minimum.snp
            && self.microcode >= minimum.microcode
    }
}

/// Who signed an SNP report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnpSigner {
    /// The chip's own key.
    Vcek,
    /// A key that AMD gave to a cloud provider.
    Vlek {
        /// The provider, as its certificate names it.
        csp_id: Box<str>,
    },
}

/// What an SEV-SNP report proves (SEV-SNP firmware ABI, table of ATTESTATION_REPORT).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpClaims {
    /// What the guest asked the firmware to sign.
    pub report_data: [u8; 64],
    /// The version of the report, 2 to 5.
    pub version: u32,
    /// The product whose issuer signed the certificate.
    pub product: SnpProduct,
    /// Whose key signed the report.
    pub signer: SnpSigner,
    /// The security version that the guest's owner gave it.
    pub guest_svn: u32,
    /// The guest policy: bit 16 SMT, 18 migration agent, 19 debug (always zero here), 20 single socket, 22 AES-256-XTS, 24 ciphertext hiding.
    pub policy: u64,
    /// The family that the guest's owner gave it.
    pub family_id: [u8; 16],
    /// The image that the guest's owner gave it.
    pub image_id: [u8; 16],
    /// The privilege level that asked for the report.
    pub vmpl: u32,
    /// What is running below: bit 0 SMT, 1 TSME, 2 ECC, 3 RAPL off, 4 ciphertext hiding, 5 alias check.
    pub platform_info: u64,
    /// The measurement of the guest at launch.
    pub measurement: [u8; 48],
    /// What the host gave at launch.
    pub host_data: [u8; 32],
    /// SHA-384 of the key that signed the guest's identity block; zero without one.
    pub id_key_digest: [u8; 48],
    /// SHA-384 of the key that signed the identity key; zero without one.
    pub author_key_digest: [u8; 48],
    /// The guest's name for the time it lives.
    pub report_id: [u8; 32],
    /// The name of its migration agent.
    pub report_id_ma: [u8; 32],
    /// The TCB that runs.
    pub current_tcb: SnpTcb,
    /// The TCB that the signing key stands for; policies judge this one.
    pub reported_tcb: SnpTcb,
    /// The TCB below which the firmware cannot go back.
    pub committed_tcb: SnpTcb,
    /// The TCB at the guest's launch.
    pub launch_tcb: SnpTcb,
    /// The chip; `None` where the owner of the machine masks it.
    pub chip_id: Option<[u8; 64]>,
    /// The firmware that runs: major, minor, build.
    pub current_firmware: [u8; 3],
    /// The firmware below which the machine cannot go back: major, minor, build.
    pub committed_firmware: [u8; 3],
    /// The mitigations at launch and now; `None` before version 5 of the report.
    pub mitigations: Option<[u64; 2]>,
}

/// Architectures of NVIDIA GPUs whose reports can be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GpuArchitecture {
    /// GH100: H100, H200.
    Hopper,
}

/// A switch of which a GPU report may say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GpuSwitch {
    /// On.
    On,
    /// Off.
    Off,
    /// Not in the report, or neither of the two values.
    #[default]
    Unknown,
}

/// What an NVIDIA GPU report proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvidiaClaims {
    /// The nonce of the SPDM request.
    pub nonce: [u8; 32],
    /// The architecture, from the names in the chain.
    pub architecture: GpuArchitecture,
    /// The driver's version, as `550.90.07`.
    pub driver_version: Box<str>,
    /// The VBIOS version, as `96.00.9f.00.01`.
    pub vbios_version: Box<str>,
    /// The measurements; that of index i (1 to 64) is at i - 1.
    pub measurements: Box<[[u8; 48]]>,
    /// The firmware identity, the same in report and leaf certificate.
    pub fwid: [u8; 48],
    /// The serial number of the leaf certificate, big-endian without leading zero.
    pub leaf_serial: Box<[u8]>,
    /// The video decoder 0, whose measurement (index 36) counts only where it is on.
    pub nvdec0: GpuSwitch,
    /// Protected PCIe.
    pub protected_pcie: GpuSwitch,
    /// The feature flag: 0 single GPU (SPT), 1 several (MPT), 2 protected PCIe; 0 where the report has none.
    pub feature_flag: u16,
    /// Whether TEE-I/O is proven. The built-in verifier never says so: no published format names the byte.
    pub tee_io: bool,
    /// Every opaque field as it stands in the report: type and bytes.
    pub opaque: Box<[(u16, Box<[u8]>)]>,
    /// How many bytes stand after the report, unsigned and unread.
    pub trailing: usize,
}

/// What Intel's collateral says of a platform's TCB. The codes are those of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum TcbStatus {
    /// 0.
    UpToDate = 0,
    /// 1: the software must guard against something itself.
    SwHardeningNeeded = 1,
    /// 2: the platform's configuration may leave something open.
    ConfigurationNeeded = 2,
    /// 3: both.
    ConfigurationAndSwHardeningNeeded = 3,
    /// 4.
    OutOfDate = 4,
    /// 5: out of date, and the configuration may leave something open.
    OutOfDateConfigurationNeeded = 5,
    /// 6: up to date now, but launched before it was.
    TdRelaunchAdvised = 6,
    /// 7: the same, and the configuration may leave something open.
    TdRelaunchAdvisedConfigurationNeeded = 7,
}

impl TcbStatus {
    /// Every status, by ascending code.
    pub const ALL: [Self; 8] = [
        Self::UpToDate,
        Self::SwHardeningNeeded,
        Self::ConfigurationNeeded,
        Self::ConfigurationAndSwHardeningNeeded,
        Self::OutOfDate,
        Self::OutOfDateConfigurationNeeded,
        Self::TdRelaunchAdvised,
        Self::TdRelaunchAdvisedConfigurationNeeded,
    ];

    /// The code in policies.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Intel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::SwHardeningNeeded => "SWHardeningNeeded",
            Self::ConfigurationNeeded => "ConfigurationNeeded",
            Self::ConfigurationAndSwHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            Self::OutOfDate => "OutOfDate",
            Self::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            Self::TdRelaunchAdvised => "TDRelaunchAdvised",
            Self::TdRelaunchAdvisedConfigurationNeeded => "TDRelaunchAdvisedConfigurationNeeded",
        }
    }

    /// The status with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }
}

/// What DCAP collateral says of the platform below a quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntelPlatform {
    /// The status, of platform and quoting enclave together.
    pub status: TcbStatus,
    /// The advisories that apply.
    pub advisories: Box<[Box<str>]>,
    /// When the oldest of the two signed statements of the collateral (TCB info, identity of the quoting enclave) was issued.
    pub collateral_issued: UnixTime,
}

/// What a TDX quote proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TdxClaims {
    /// What the domain asked to be signed.
    pub report_data: [u8; 64],
    /// The platform.
    pub platform: IntelPlatform,
    /// TD_ATTRIBUTES; bit 0, debug, is always zero here.
    pub attributes: u64,
    /// MRTD: the domain at launch.
    pub mr_td: [u8; 48],
    /// RTMR0 to RTMR3: what was measured since.
    pub rtmr: [[u8; 48]; 4],
    /// MRCONFIGID.
    pub mr_config_id: [u8; 48],
    /// MROWNER.
    pub mr_owner: [u8; 48],
    /// MRSEAM: the TDX module.
    pub mr_seam: [u8; 48],
}

/// What an SGX quote proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SgxClaims {
    /// What the enclave asked to be signed.
    pub report_data: [u8; 64],
    /// The platform.
    pub platform: IntelPlatform,
    /// MRENCLAVE.
    pub mr_enclave: [u8; 32],
    /// MRSIGNER.
    pub mr_signer: [u8; 32],
    /// ISVPRODID.
    pub product_id: u16,
    /// ISVSVN.
    pub svn: u16,
}
