//! Manifests of libraries for pinning services, and CIDs that others wrote.

use core::str::FromStr;
use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;
use multihash::Multihash;

use crate::merkle::Checkpoint;
use crate::{Cid, Error, Library, Result};

/// What a pinning service needs to keep a library: its checkpoint and the CIDs of its active contents.
///
/// The bytes are DAG-CBOR of the map `{"contents": [CID..], "checkpoint": text, "v": 1}`, contents in the order of
/// their ids.
///
/// ```
/// use hanzo_experience::{Draft, Library, LibraryConfig, Manifest, Mode, Operation, Stamp, Text};
///
/// let mut library = Library::new(LibraryConfig::new("example.com/library".parse()?))?;
/// let draft = Draft::new(Text::new("check the units")?, "physics".parse()?, "alice", 7);
/// library.apply(&Stamp::new(7, "alice"), Mode::Atomic, &[Operation::Add(draft)])?;
///
/// let manifest = Manifest::of(&library);
/// let bytes = manifest.to_dag_cbor()?;
/// let read = Manifest::from_dag_cbor(&bytes)?;
/// assert_eq!(read, manifest);
/// let (_, content) = library.iter().next().unwrap();
/// read.contents()[0].verify(&content.to_canonical())?;
/// # Ok::<(), hanzo_experience::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    checkpoint: Checkpoint,
    contents: Vec<Cid>,
}

impl Manifest {
    /// The manifest of a library as it is.
    pub fn of(library: &Library) -> Self {
        let contents = library.iter().map(|(_, content)| Cid::json(&content.to_canonical())).collect();
        Self { checkpoint: library.checkpoint(), contents }
    }

    /// The log when the manifest was made.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// CIDs of the active contents, by ascending id of the content.
    pub fn contents(&self) -> &[Cid] {
        &self.contents
    }

    /// The bytes.
    ///
    /// # Errors
    /// [`Error::TooManyBytes`] above one block of 1 MiB, about 27,000 contents.
    pub fn to_dag_cbor(&self) -> Result<Vec<u8>> {
        let link = |cid: &Cid| Ok(Ipld::Link(foreign(cid)?));
        let members = [
            ("checkpoint", Ipld::String(self.checkpoint.to_string())),
            ("contents", Ipld::List(self.contents.iter().map(link).collect::<Result<_>>()?)),
            ("v", Ipld::Integer(1)),
        ];
        let map: BTreeMap<String, Ipld> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let bytes = serde_ipld_dagcbor::to_vec(&Ipld::Map(map)).map_err(|_| Error::NotCanonical)?;
        within_block(&bytes)?;
        Ok(bytes)
    }

    /// The CID of the bytes, codec `dag-cbor`.
    ///
    /// # Errors
    /// Those of [`to_dag_cbor`](Self::to_dag_cbor).
    pub fn cid(&self) -> Result<Cid> {
        Ok(Cid::of(Cid::DAG_CBOR, &self.to_dag_cbor()?))
    }

    /// A manifest from its bytes and no others.
    ///
    /// # Errors
    /// [`Error::TooManyBytes`] above 1 MiB; [`Error::NotCanonical`] for anything that is not the DAG-CBOR of a manifest;
    /// [`Error::MalformedCheckpoint`]; [`Error::MalformedCid`].
    pub fn from_dag_cbor(bytes: &[u8]) -> Result<Self> {
        within_block(bytes)?;
        let Ok(Ipld::Map(mut members)) = serde_ipld_dagcbor::from_slice(bytes) else {
            return Err(Error::NotCanonical);
        };
        let (Some(Ipld::String(checkpoint)), Some(Ipld::List(links))) =
            (members.remove("checkpoint"), members.remove("contents"))
        else {
            return Err(Error::NotCanonical);
        };
        let own = |link: &Ipld| match link {
            Ipld::Link(cid) => own(cid),
            _ => Err(Error::NotCanonical),
        };
        let contents = links.iter().map(own).collect::<Result<_>>()?;
        let manifest = Self { checkpoint: checkpoint.parse()?, contents };
        // Also catches another version, surplus members and loose encodings.
        if manifest.to_dag_cbor()? == bytes { Ok(manifest) } else { Err(Error::NotCanonical) }
    }
}

/// A CIDv1 over SHA-256 in any base of multibase.
///
/// # Errors
/// [`Error::MalformedCid`] for anything else; CIDv0 too, whose bytes are a node of a file tree.
impl FromStr for Cid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        own(&text.parse().map_err(|_| Error::MalformedCid)?)
    }
}

fn own(cid: &cid::Cid) -> Result<Cid> {
    const SHA2_256: u64 = 0x12;
    let digest = <[u8; 32]>::try_from(cid.hash().digest());
    match digest {
        Ok(digest) if cid.version() == cid::Version::V1 && cid.hash().code() == SHA2_256 => {
            Ok(Cid::from_parts(cid.codec(), digest))
        }
        _ => Err(Error::MalformedCid),
    }
}

fn foreign(cid: &Cid) -> Result<cid::Cid> {
    const SHA2_256: u64 = 0x12;
    let hash = Multihash::wrap(SHA2_256, cid.digest()).map_err(|_| Error::MalformedCid)?;
    Ok(cid::Cid::new_v1(cid.codec(), hash))
}

fn within_block(bytes: &[u8]) -> Result<()> {
    let (got, max) = (bytes.len(), Cid::MAX_BLOCK);
    if got > max { Err(Error::TooManyBytes { got, max }) } else { Ok(()) }
}
