//! The order of one audit epoch: headers are committed, then the beacon is revealed, then jobs are drawn.

use alloc::collections::BTreeMap;

use crate::batch::BatchHeader;
use crate::beacon::Beacon;
use crate::error::{Error, Result};
use crate::hash::{BatchHash, ChainId, JobId};
use crate::sampling::{Draw, Probability, Sampler};
use crate::units::Epoch;

/// Keeps the order that makes draws fair: whoever commits after the beacon is known could choose what to
/// commit to.
///
/// ```
/// use hanzo_poai::{AuditEpoch, Beacon, ChainId, Epoch, Error, JobId, Probability};
///
/// let mut epoch = AuditEpoch::new(ChainId::new([1; 32]), Epoch::new(7));
/// let job = JobId::new([2; 32]);
/// assert_eq!(epoch.draw(&job, 0, Probability::ALWAYS), Err(Error::BeaconMissing { epoch: 7 }));
/// epoch.reveal(Beacon::new(Epoch::new(7), [3; 32]))?;
/// assert!(epoch.draw(&job, 0, Probability::ALWAYS)?.selected());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AuditEpoch {
    chain: ChainId,
    epoch: Epoch,
    headers: BTreeMap<BatchHash, BatchHeader>,
    drawn: Option<(Beacon, Sampler)>,
}

impl AuditEpoch {
    /// An epoch without headers and beacon.
    pub const fn new(chain: ChainId, epoch: Epoch) -> Self {
        Self { chain, epoch, headers: BTreeMap::new(), drawn: None }
    }

    /// Takes a header whose signature the caller has checked. A repeated one changes nothing.
    ///
    /// # Errors
    /// [`Error::LateCommitment`] once the beacon is revealed; [`Error::WrongChain`]; [`Error::Epoch`].
    pub fn commit(&mut self, header: BatchHeader) -> Result<BatchHash> {
        if self.drawn.is_some() {
            return Err(Error::LateCommitment { epoch: self.epoch.get() });
        }
        if *header.chain() != self.chain {
            return Err(Error::WrongChain);
        }
        self.same(header.epoch())?;
        let hash = header.hash();
        self.headers.insert(hash, header);
        Ok(hash)
    }

    /// Takes the beacon, which ends the commitments.
    ///
    /// # Errors
    /// [`Error::Epoch`] for another epoch's; [`Error::Duplicate`] for a second one.
    pub fn reveal(&mut self, beacon: Beacon) -> Result<()> {
        self.same(beacon.epoch())?;
        if self.drawn.is_some() {
            return Err(Error::Duplicate("beacon"));
        }
        self.drawn = Some((beacon, Sampler::new(&beacon)));
        Ok(())
    }

    /// Draws one assignment of a job.
    ///
    /// # Errors
    /// [`Error::BeaconMissing`] before the beacon.
    pub fn draw(&self, job: &JobId, assignment: u32, p: Probability) -> Result<Draw> {
        Ok(self.sampler()?.draw(job, assignment, p))
    }

    /// The sampler of the epoch.
    ///
    /// # Errors
    /// [`Error::BeaconMissing`] before the beacon.
    pub fn sampler(&self) -> Result<&Sampler> {
        self.drawn.as_ref().map(|(_, sampler)| sampler).ok_or(Error::BeaconMissing { epoch: self.epoch.get() })
    }

    /// The beacon.
    ///
    /// # Errors
    /// [`Error::BeaconMissing`] before it.
    pub fn beacon(&self) -> Result<&Beacon> {
        self.drawn.as_ref().map(|(beacon, _)| beacon).ok_or(Error::BeaconMissing { epoch: self.epoch.get() })
    }

    /// The header of a batch committed in time.
    pub fn header(&self, batch: &BatchHash) -> Option<&BatchHeader> {
        self.headers.get(batch)
    }

    /// All headers committed in time, by hash.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&BatchHash, &BatchHeader)> {
        self.headers.iter()
    }

    fn same(&self, epoch: Epoch) -> Result<()> {
        if epoch == self.epoch {
            return Ok(());
        }
        let now = self.epoch.get();
        Err(Error::Epoch { epoch: epoch.get(), earliest: now, latest: now })
    }
}
