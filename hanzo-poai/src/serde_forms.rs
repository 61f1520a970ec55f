//! `serde` forms, for configuration files, logs and reports. None of them is hashed or signed.
//!
//! Ids, hashes and everything with an encoding of its own are lower-case hex of that encoding in formats for people, its
//! bytes in others. Policies are maps of their fields; reading one goes through its constructor, so what it refuses is an
//! error here too, and so is a field that is not known.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU64;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, SerializeStruct as _, Serializer};
use signature::SignatureEncoding;

use crate::error::{Error, Result};
use crate::signing::{Signable, Signed};
use crate::{
    Attestation, AttestationHash, AuditBudget, BasisPoints, BatchHash, BatchHeader, BisectionPolicy, ChainId,
    ConvictionPolicy, DisputeId, DisputeMessage, DisputePolicy, EvidenceHash, EvidenceSet, Family, Fingerprint,
    InclusionProof, JobId, JobSpec, ModelHash, PartyId, Probability, Quality, QualityPolicy, Rung, RungId,
    SamplingPolicy, ScorePolicy, Screen, Seed, SlashPolicy, SpecHash, StateHash, StepFraud, Suite, TaskMetrics,
    Thresholds, TopK, TraceHash, Verdict,
};

/// Bytes as hex or as they are.
fn put<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    if to.is_human_readable() { to.collect_str(&Hex(bytes)) } else { to.serialize_bytes(bytes) }
}

fn take<'de, D: Deserializer<'de>, T>(from: D, parse: fn(&[u8]) -> Result<T>) -> Result<T, D::Error> {
    if from.is_human_readable() { from.deserialize_str(Text { parse }) } else { from.deserialize_bytes(Text { parse }) }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

struct Text<T> {
    parse: fn(&[u8]) -> Result<T>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lower-case hex, or bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
        match bytes {
            Some(bytes) if rest.is_empty() => (self.parse)(&bytes).map_err(E::custom),
            _ => Err(E::custom("not lower-case hex")),
        }
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<T, E> {
        (self.parse)(bytes).map_err(E::custom)
    }
}

fn array(bytes: &[u8]) -> Result<[u8; 32]> {
    bytes.try_into().map_err(|_| Error::Length { want: 32, got: bytes.len() as u64 })
}

/// For fields of plain digests.
pub(crate) mod hex32 {
    pub(crate) fn serialize<S: serde::Serializer>(hash: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        super::put(hash, to)
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        super::take(from, super::array)
    }
}

/// The hex or bytes of an encoding.
macro_rules! encoded {
    ($($type:ty: $bytes:expr, $parse:expr;)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let bytes: fn(&Self) -> _ = $bytes;
                put(bytes(self).as_ref(), to)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                take(from, $parse)
            }
        }
    )*};
}

macro_rules! hashes {
    ($($type:ident)*) => {
        encoded! { $($type: |hash| *hash.as_bytes(), |bytes| array(bytes).map($type::new);)* }
    };
}

hashes! {
    ChainId PartyId SpecHash JobId Seed ModelHash AttestationHash BatchHash StateHash TraceHash DisputeId EvidenceHash
}

encoded! {
    JobSpec: Self::encode, Self::decode;
    Attestation: Self::encode, Self::decode;
    BatchHeader: Self::encode, Self::decode;
    Verdict: Self::encode, Self::decode;
    InclusionProof: Self::encode, Self::decode;
    EvidenceSet: Self::encode, Self::decode;
    DisputeMessage: Self::encode, Self::decode;
    StepFraud: Self::encode, Self::decode;
    Fingerprint: Self::encode, Self::decode;
    TopK: Self::encode, Self::decode;
}

impl<T: Signable, S: SignatureEncoding> Serialize for Signed<T, S> {
    fn serialize<To: Serializer>(&self, to: To) -> Result<To::Ok, To::Error> {
        put(&self.encode().map_err(serde::ser::Error::custom)?, to)
    }
}

impl<'de, T: Signable, S: SignatureEncoding> Deserialize<'de> for Signed<T, S> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        take(from, Self::decode)
    }
}

/// `Deserialize` through a constructor; the form is the one that `derive(Serialize)` writes.
macro_rules! checked {
    ($($type:ident $name:literal { $($field:ident: $kind:ty),* $(,)? } => $make:expr;)*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(deny_unknown_fields, rename = $name)]
                struct Form { $($field: $kind),* }
                let make: fn(Form) -> Result<$type> = $make;
                make(Form::deserialize(from)?).map_err(de::Error::custom)
            }
        }
    )*};
}

checked! {
    Quality "Quality" { value_q32: u64, audits: u64 } => |form| Quality::new(form.value_q32, form.audits);
    QualityPolicy "QualityPolicy" { eta_q32: u64, threshold_q32: u64, grace: u64 } =>
        |form| QualityPolicy::new(form.eta_q32, form.threshold_q32, form.grace);
    AuditBudget "AuditBudget" { share: Probability, check_cost: Probability } => |form| AuditBudget::new(form.share, form.check_cost);
    Screen "Screen" { threshold_q32: u64, least_group: usize } => |form| Screen::new(form.threshold_q32, form.least_group);
    Thresholds "Thresholds" { flag: f64, mismatch: f64 } => |form| Thresholds::new(form.flag, form.mismatch);
    BisectionPolicy "BisectionPolicy" { arity: u32, side_ms: u64, turn_ms: u64 } =>
        |form| BisectionPolicy::new(form.arity, form.side_ms, form.turn_ms);
    DisputePolicy "DisputePolicy" { phase_ms: u64 } => |form| DisputePolicy::new(form.phase_ms);
    ScorePolicy "ScorePolicy" { gamma_q32: u64, beta_q32: u64, lambda_q32: u64, weights_q32: [u64; 3], units: TaskMetrics } => |form| {
        let policy = ScorePolicy::new(form.units)?;
        Ok(policy.weights(form.gamma_q32, form.beta_q32, form.lambda_q32, form.weights_q32))
    };
    SamplingPolicy "SamplingPolicy" { floor: Probability, kappa_q16: u32, reputation: Option<Reputation> } => |form| {
        let policy = SamplingPolicy::new(form.floor).kappa_q16(form.kappa_q16);
        Ok(match form.reputation {
            Some(Reputation { halving, least_q32 }) => policy.reputation(halving, least_q32),
            None => policy,
        })
    };
    SlashPolicy "SlashPolicy" { bps: BTreeMap<Family, BasisPoints>, reward: BasisPoints, free_timeouts: u32, contest_ms: u64 } => |form| {
        if form.bps.len() != Family::ALL.len() {
            return Err(Error::InvalidField("bps"));
        }
        let policy = form.bps.into_iter().fold(SlashPolicy::default(), |policy, (family, bps)| policy.with(family, bps));
        Ok(policy.reward(form.reward)?.free_timeouts(form.free_timeouts).contest_ms(form.contest_ms))
    };
    ConvictionPolicy "ConvictionPolicy" { rungs: Vec<Rung>, run_epochs: u64 } => |form| {
        // The constant tables where they are meant, so that no float is touched.
        let default = ConvictionPolicy::default();
        let meant = form.run_epochs == default.run_epochs() && rungs(&default).eq(&form.rungs);
        if meant { Ok(default) } else { ConvictionPolicy::new(&form.rungs, form.run_epochs) }
    };
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Reputation {
    halving: NonZeroU64,
    least_q32: u32,
}

impl Serialize for SlashPolicy {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut form = to.serialize_struct("SlashPolicy", 4)?;
        let bps: BTreeMap<Family, BasisPoints> =
            Family::ALL.iter().map(|family| (*family, self.bps(*family))).collect();
        form.serialize_field("bps", &bps)?;
        form.serialize_field("reward", &self.reward)?;
        form.serialize_field("free_timeouts", &self.free_timeouts)?;
        form.serialize_field("contest_ms", &self.contest_ms)?;
        form.end()
    }
}

impl Serialize for ConvictionPolicy {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut form = to.serialize_struct("ConvictionPolicy", 2)?;
        form.serialize_field("rungs", &rungs(self).collect::<Vec<_>>())?;
        form.serialize_field("run_epochs", &self.run_epochs())?;
        form.end()
    }
}

/// The rungs of a policy; there are at most 16.
fn rungs(policy: &ConvictionPolicy) -> impl Iterator<Item = &Rung> {
    (0..=u8::MAX).map_while(|index| policy.rung(RungId::new(index)))
}

impl<'de> Deserialize<'de> for BasisPoints {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(u16::deserialize(from)?).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Suite {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(u16::deserialize(from)?).map_err(de::Error::custom)
    }
}
