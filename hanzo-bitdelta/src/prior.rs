//! Priors that agents share as streams of 1-bit increments.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use core::num::NonZeroU32;

use crate::adapter::{Adapter, Entry, RawTensor};
use crate::error::{Error, Result};
use crate::matrix::MatRef;
use crate::online::{ErrorFeedback, OnlineDelta};
use crate::options::{Granularity, PackOptions};
use crate::report::StorageAccount;

/// The sending side of shared priors: named matrices ("buckets") of embeddings, log-odds or statistics, each a stream of
/// 1-bit increments with error feedback.
///
/// [`emit`](Self::emit) gives one adapter file with an increment for every bucket that changed; [`PriorReplica`] is the
/// receiving side. By default each run of 384 values of a row has a scale: 29.5 times smaller than `f32`.
///
/// ```
/// use hanzo_bitdelta::{MatRef, PriorReplica, PriorStream};
/// let deltas: Vec<f32> = (0..64 * 768).map(|i| (i as f32 * 0.37).sin()).collect();
/// let mut stream = PriorStream::default();
/// stream.add("code/rust", MatRef::new(&deltas, 64, 768)?)?;
///
/// let update = stream.emit()?;
/// let account = update.storage()?;
/// assert!((account.ratio() - 29.5).abs() < 0.1);
/// assert!((account.with_transport_overhead_bp(1200).ratio() - 26.4).abs() < 0.1);
///
/// let mut replica = PriorReplica::default();
/// replica.absorb(&update)?;
/// assert_eq!(replica.get("code/rust")?.rows(), 64);
/// # Ok::<(), hanzo_bitdelta::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PriorStream {
    options: PackOptions,
    buckets: BTreeMap<String, Bucket>,
}

#[derive(Debug, Clone, PartialEq)]
struct Bucket {
    feedback: ErrorFeedback,
    changed: bool,
}

impl PriorStream {
    /// A stream whose increments are packed with these options.
    #[must_use]
    pub fn new(options: PackOptions) -> Self {
        Self { options, buckets: BTreeMap::new() }
    }

    /// Adds what was learned to a bucket; the first time sets the bucket's shape.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the bucket has another shape; those of [`ErrorFeedback::add`]. Nothing changes then.
    pub fn add(&mut self, bucket: &str, delta: MatRef<'_, f32>) -> Result<()> {
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.feedback.add(delta)?;
            bucket.changed = true;
            return Ok(());
        }
        let mut feedback = ErrorFeedback::new(delta.rows(), delta.cols())?;
        feedback.add(delta)?;
        self.buckets.insert(bucket.to_string(), Bucket { feedback, changed: true });
        Ok(())
    }

    /// What a bucket holds back, row-major; `None` when there is no such bucket.
    #[must_use]
    pub fn residual(&self, bucket: &str) -> Option<&[f32]> {
        self.buckets.get(bucket).map(|bucket| bucket.feedback.residual())
    }

    /// The increments of all buckets that changed since the last call, as an adapter without a base: canonical bytes, a
    /// digest a tensor, an id. Copies all buckets, so that an error changes nothing.
    ///
    /// # Errors
    /// Those of [`ErrorFeedback::emit`] and [`build`](crate::AdapterBuilder::build). Nothing changes then.
    pub fn emit(&mut self) -> Result<Adapter> {
        let mut next = self.buckets.clone();
        let mut builder = Adapter::builder().producer("hanzo-bitdelta prior");
        for (name, bucket) in next.iter_mut().filter(|(_, bucket)| bucket.changed) {
            builder = builder.entry(name, bucket.feedback.emit(&self.options)?);
            bucket.changed = false;
        }
        let adapter = builder.build()?;
        self.buckets = next;
        Ok(adapter)
    }
}

impl Default for PriorStream {
    /// One plane, a scale for each 384 values of a row, `f32` scales.
    fn default() -> Self {
        let granularity = NonZeroU32::new(BUCKET).map_or(Granularity::Row, Granularity::Block);
        Self::new(PackOptions::new().granularity(granularity))
    }
}

/// The receiving side of a [`PriorStream`]: the sum of all increments, by bucket.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PriorReplica {
    buckets: BTreeMap<String, OnlineDelta>,
}

impl PriorReplica {
    /// Adds the increments of an update. The caller sees to it that each update of a stream is added once. Copies all
    /// buckets, so that an error changes nothing.
    ///
    /// # Errors
    /// [`Error::NotPacked`] for a raw tensor; [`Error::ShapeMismatch`] when a bucket has another shape; those of
    /// [`Adapter::get`] and [`OnlineDelta::absorb`]. Nothing changes then.
    pub fn absorb(&mut self, update: &Adapter) -> Result<()> {
        let mut next = self.buckets.clone();
        for name in update.names() {
            match update.get(name)? {
                Entry::Packed(delta) => match next.get_mut(name) {
                    Some(bucket) => bucket.absorb(delta)?,
                    None => {
                        next.insert(name.to_string(), OnlineDelta::from_packed(delta)?);
                    }
                },
                Entry::Zero(_) => {}
                Entry::Raw(_) => return Err(Error::NotPacked(name.to_string())),
            }
        }
        self.buckets = next;
        Ok(())
    }

    /// The sum of a bucket.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] when there is no such bucket.
    pub fn get(&self, bucket: &str) -> Result<&OnlineDelta> {
        self.buckets.get(bucket).ok_or_else(|| Error::MissingTensor(bucket.to_string()))
    }

    /// Names of the buckets, in byte order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.buckets.keys().map(String::as_str)
    }
}

impl Adapter {
    /// Bytes of all tensors beside those of the dense ones: signs, scales and raw tensors, without the header.
    ///
    /// # Errors
    /// As for [`verify`](Self::verify).
    pub fn storage(&self) -> Result<StorageAccount> {
        let mut account = StorageAccount::new();
        for name in self.names() {
            account = match self.get(name)? {
                Entry::Packed(delta) => account.with(&delta.storage(delta.spec().source_dtype)),
                Entry::Raw(tensor) => account.with_raw(raw_bytes(tensor)),
                Entry::Zero(zero) => {
                    let weights = zero.shape().iter().map(|&dim| dim as u64).product::<u64>();
                    account.with_zero(weights.saturating_mul(zero.source_dtype().size() as u64))
                }
            };
        }
        Ok(account)
    }
}

fn raw_bytes(tensor: &RawTensor) -> u64 {
    tensor.data().len() as u64
}

/// Values of a row that share a scale.
const BUCKET: u32 = 384;
