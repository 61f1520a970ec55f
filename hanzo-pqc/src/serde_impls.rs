//! `serde` for public types: names for algorithms, numbers for tiers, canonical bytes for everything that has them.
//!
//! Bytes are standard base64 in formats for people and bytes in the others. What is read is checked as by the type's own
//! constructor. No secret is here.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64ct::{Base64, Encoding};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::backend::{DsaBackend, KemBackend};
#[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
use crate::composite::{CompositeAlgorithm, CompositeSignature, CompositeVerifyingKey};
use crate::dsa::{Signature, SignatureAlgorithm, VerifyingKey};
use crate::hybrid::{Ciphertext, EncapsulationKey};
use crate::kem::KemAlgorithm;
use crate::suite::HybridSuite;
use crate::tier::PrivacyTier;

/// No public type of this crate is larger: the broker's messages are at most 1 MiB.
const MAX_LEN: usize = 1 << 20;

macro_rules! by_name {
    ($($(#[$attribute:meta])* $type:ident),*) => {$(
        $(#[$attribute])*
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        $(#[$attribute])*
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::from_name(&String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    )*};
}

by_name!(
    KemAlgorithm,
    SignatureAlgorithm,
    HybridSuite,
    #[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
    CompositeAlgorithm
);

impl Serialize for PrivacyTier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.code())
    }
}

impl<'de> Deserialize<'de> for PrivacyTier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(u8::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A key or ciphertext of an algorithm that its bytes do not tell.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tagged<A> {
    algorithm: A,
    bytes: Bytes,
}

macro_rules! tagged {
    ($($(#[$attribute:meta])* [$($generics:tt)*] $type:ty, $algorithm:ident, $from:ident;)*) => {$(
        $(#[$attribute])*
        impl<$($generics)*> Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Tagged { algorithm: self.$algorithm(), bytes: Bytes(self.as_bytes().to_vec()) }.serialize(serializer)
            }
        }

        $(#[$attribute])*
        impl<'de, $($generics)*> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let Tagged { algorithm, bytes } = Tagged::deserialize(deserializer)?;
                Self::$from(algorithm, &bytes.0).map_err(D::Error::custom)
            }
        }
    )*};
}

tagged! {
    [B: KemBackend] EncapsulationKey<B>, suite, from_bytes_in;
    [] Ciphertext, suite, from_bytes;
    [B: DsaBackend] VerifyingKey<B>, algorithm, from_bytes_in;
    #[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
    [] CompositeVerifyingKey, algorithm, from_bytes;
}

/// Types whose canonical bytes say everything.
macro_rules! by_bytes {
    ($($(#[$attribute:meta])* $type:ty, $to:ident, $from:ident;)*) => {$(
        $(#[$attribute])*
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Bytes(self.$to().to_vec()).serialize(serializer)
            }
        }

        $(#[$attribute])*
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::$from(&Bytes::deserialize(deserializer)?.0).map_err(D::Error::custom)
            }
        }
    )*};
}

by_bytes! {
    Signature, as_bytes, from_bytes;
    #[cfg(any(feature = "composite", feature = "unstable-slh-dsa"))]
    CompositeSignature, as_bytes, from_bytes;
    #[cfg(feature = "hybrid")]
    crate::envelope::Envelope, to_bytes, from_bytes;
    #[cfg(feature = "hybrid")]
    crate::envelope::KeyId, as_bytes, new;
    #[cfg(feature = "kbs")]
    crate::attestation::Evidence, to_bytes, from_bytes;
    #[cfg(feature = "kbs")]
    crate::kbs::Request, to_bytes, from_bytes;
    #[cfg(feature = "kbs")]
    crate::kbs::Challenge, to_bytes, from_bytes;
    #[cfg(feature = "kbs")]
    crate::kbs::EvidenceMessage, to_bytes, from_bytes;
    #[cfg(feature = "kbs")]
    crate::kbs::Release, to_bytes, from_bytes;
    #[cfg(feature = "kbs")]
    crate::kbs::Receipt, to_bytes, from_bytes;
    #[cfg(feature = "kbs")]
    crate::kbs::Policy, to_bytes, from_bytes;
}

/// Bytes of bounded length: base64 where people read, bytes elsewhere.
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&Base64::encode_string(&self.0))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(BytesVisitor)
        } else {
            deserializer.deserialize_bytes(BytesVisitor)
        }
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX_LEN} bytes, in base64 where the format is text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
        if text.len() > MAX_LEN.div_ceil(3) * 4 {
            return Err(E::invalid_length(text.len(), &self));
        }
        Base64::decode_vec(text).map(Bytes).map_err(|_| E::custom("not standard base64 with padding"))
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        if bytes.len() > MAX_LEN {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        Ok(Bytes(bytes.to_vec()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Bytes, A::Error> {
        let mut out = Vec::new();
        while let Some(byte) = sequence.next_element()? {
            if out.len() == MAX_LEN {
                return Err(A::Error::custom(format!("more than {MAX_LEN} bytes")));
            }
            out.push(byte);
        }
        Ok(Bytes(out))
    }
}
