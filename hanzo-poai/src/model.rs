//! The files of a model and the one hash that names them.

use alloc::string::String;
use alloc::vec::Vec;

use crate::error::{Error, Result};
use crate::hash::{Hash, ModelHash, Tag, tagged};
use crate::merkle::Tree;

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelFile {
    /// Name, unique within the model.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub sha256: Hash,
}

/// The files of a model, sorted by name, with their Merkle root.
///
/// ```
/// use hanzo_poai::{ModelFile, ModelManifest};
///
/// let file = |name: &str, size, sha256| ModelFile { name: name.into(), size, sha256 };
/// let (config, weights) = (file("config.json", 644, [1; 32]), file("model.safetensors", 8_044_936, [2; 32]));
/// let manifest = ModelManifest::new(vec![weights.clone(), config.clone()])?;
/// assert_eq!(manifest.hash(), ModelManifest::new(vec![config, weights])?.hash());
/// # Ok::<(), hanzo_poai::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelManifest {
    files: Vec<ModelFile>,
    root: Hash,
    hash: ModelHash,
}

impl ModelManifest {
    /// A manifest of files given in any order.
    ///
    /// # Errors
    /// [`Error::BatchSize`] for no file or more than 2^32 - 1; [`Error::Duplicate`] for a repeated name;
    /// [`Error::Overflow`] for a name of 2^32 bytes or more.
    pub fn new(mut files: Vec<ModelFile>) -> Result<Self> {
        files.sort();
        if files.windows(2).any(|pair| matches!(pair, [a, b] if a.name == b.name)) {
            return Err(Error::Duplicate("file name"));
        }
        let leaf = Tag::new("model leaf");
        let leaves = files
            .iter()
            .map(|file| {
                let len = u32::try_from(file.name.len()).map_err(|_| Error::Overflow)?;
                let (len, size) = (len.to_be_bytes(), file.size.to_be_bytes());
                Ok(leaf.hash(&[&len, file.name.as_bytes(), &size, &file.sha256]))
            })
            .collect::<Result<Vec<_>>>()?;
        let count = leaves.len() as u32;
        let root = Tree::new("model node", leaves, u32::MAX.into())?.root();
        let hash = tagged("model", &[&count.to_be_bytes(), &root]).into();
        Ok(Self { files, root, hash })
    }

    /// The files in the order of their names.
    pub fn files(&self) -> &[ModelFile] {
        &self.files
    }

    /// Root of the tree over the files.
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// The hash that names the model; compute it once and keep it.
    pub const fn hash(&self) -> ModelHash {
        self.hash
    }
}
