//! What runs deployments: the trait that adapters implement, and a runtime for tests.

mod driver;
#[cfg(feature = "std")]
mod fake;

pub use driver::{Driver, DriverConfig, DriverError, JobTerms, StepReport};
#[cfg(feature = "std")]
pub use fake::{FakeError, FakeRuntime, Faults};

use crate::{Resources, RuntimeKind, Timestamp, Value};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::{Future, ready};
use core::pin::Pin;

/// Number of a deployment at a runtime: the id of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentId(u128);

impl DeploymentId {
    /// The deployment of this number.
    pub const fn new(id: u128) -> Self {
        Self(id)
    }

    /// Its number.
    pub const fn get(self) -> u128 {
        self.0
    }
}

/// What a runtime is asked to run.
///
/// ```
/// use hanzo_metering::{DeploymentConfig, DeploymentId, Resources, RuntimeKind};
/// # fn main() -> Result<(), hanzo_metering::Error> {
/// let resources = Resources::new(2_000, 4 << 30, 0)?;
/// let config = DeploymentConfig::new(DeploymentId::new(7), RuntimeKind::Docker, "app:1", resources).replicas(3);
/// assert_eq!(config.replicas, 3);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeploymentConfig {
    /// Its number; a second deployment of the same number is the first.
    pub id: DeploymentId,
    /// What it runs in.
    pub runtime: RuntimeKind,
    /// What it runs.
    pub image: String,
    /// How many of it.
    pub replicas: u32,
    /// What each replica gets.
    pub resources: Resources,
    /// Least privacy tier, 0 to 4, of the machine.
    pub privacy_tier: u8,
    /// By which costs are summed.
    pub namespace: Option<String>,
}

impl DeploymentConfig {
    /// One replica of an image, of no privacy tier and in no namespace.
    pub fn new(id: DeploymentId, runtime: RuntimeKind, image: impl Into<String>, resources: Resources) -> Self {
        Self { id, runtime, image: image.into(), replicas: 1, resources, privacy_tier: 0, namespace: None }
    }

    /// The same with so many replicas.
    pub const fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// The same on machines of this privacy tier or a higher one.
    pub const fn privacy_tier(mut self, tier: u8) -> Self {
        self.privacy_tier = tier;
        self
    }

    /// The same in a namespace.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = Some(name.into());
        self
    }
}

/// One reading of a deployment by its runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sample {
    /// When it was read.
    pub at: Timestamp,
    /// What was read, of all replicas together.
    pub value: Value,
}

/// A runtime of deployments (000, 5.1). The futures name no executor.
///
/// # Guarantees
/// `deploy` is idempotent by [`DeploymentConfig::id`]: while that deployment runs, deploying it again changes nothing and gives
/// `Ok`. After an error it may run or not; `probe` tells. `stop` of a deployment that does not run gives `Ok`. Samples of
/// `metrics` rise in time.
pub trait Runtime {
    /// Why a call failed.
    type Error;

    /// Starts a deployment.
    fn deploy(&self, config: &DeploymentConfig) -> impl Future<Output = Result<DeploymentId, Self::Error>> + Send;

    /// Stops one; gives when it had stopped, if that is known.
    fn stop(&self, id: DeploymentId) -> impl Future<Output = Result<Option<Timestamp>, Self::Error>> + Send;

    /// Changes how many replicas of it run; 0 keeps it without any.
    fn scale(&self, id: DeploymentId, replicas: u32) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Readings since the last call (`get_metrics` of the source document).
    fn metrics(&self, id: DeploymentId) -> impl Future<Output = Result<Vec<Sample>, Self::Error>> + Send;

    /// Since when it runs; `None` where it does not.
    fn probe(&self, id: DeploymentId) -> impl Future<Output = Result<Option<Timestamp>, Self::Error>> + Send;

    /// Whether trying again may help.
    fn is_transient(&self, error: &Self::Error) -> bool {
        let _ = error;
        true
    }
}

/// A [`Runtime`] whose calls block. Every one is a `Runtime` too, whose futures are ready at once.
///
/// # Guarantees
/// Those of `Runtime`.
#[expect(clippy::missing_errors_doc, reason = "each call fails with the runtime's own error")]
pub trait BlockingRuntime: Sync {
    /// Why a call failed.
    type Error: Send;

    /// As [`Runtime::deploy`].
    fn deploy(&self, config: &DeploymentConfig) -> Result<DeploymentId, Self::Error>;

    /// As [`Runtime::stop`].
    fn stop(&self, id: DeploymentId) -> Result<Option<Timestamp>, Self::Error>;

    /// As [`Runtime::scale`].
    fn scale(&self, id: DeploymentId, replicas: u32) -> Result<(), Self::Error>;

    /// As [`Runtime::metrics`].
    fn metrics(&self, id: DeploymentId) -> Result<Vec<Sample>, Self::Error>;

    /// As [`Runtime::probe`].
    fn probe(&self, id: DeploymentId) -> Result<Option<Timestamp>, Self::Error>;

    /// As [`Runtime::is_transient`].
    fn is_transient(&self, error: &Self::Error) -> bool {
        let _ = error;
        true
    }
}

impl<R: BlockingRuntime> Runtime for R {
    type Error = R::Error;

    fn deploy(&self, config: &DeploymentConfig) -> impl Future<Output = Result<DeploymentId, Self::Error>> + Send {
        ready(BlockingRuntime::deploy(self, config))
    }

    fn stop(&self, id: DeploymentId) -> impl Future<Output = Result<Option<Timestamp>, Self::Error>> + Send {
        ready(BlockingRuntime::stop(self, id))
    }

    fn scale(&self, id: DeploymentId, replicas: u32) -> impl Future<Output = Result<(), Self::Error>> + Send {
        ready(BlockingRuntime::scale(self, id, replicas))
    }

    fn metrics(&self, id: DeploymentId) -> impl Future<Output = Result<Vec<Sample>, Self::Error>> + Send {
        ready(BlockingRuntime::metrics(self, id))
    }

    fn probe(&self, id: DeploymentId) -> impl Future<Output = Result<Option<Timestamp>, Self::Error>> + Send {
        ready(BlockingRuntime::probe(self, id))
    }

    fn is_transient(&self, error: &Self::Error) -> bool {
        BlockingRuntime::is_transient(self, error)
    }
}

/// A boxed future of a [`DynRuntime`].
pub type Boxed<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// The object-safe form of [`Runtime`], which every runtime that can be shared has.
pub trait DynRuntime<E> {
    /// As [`Runtime::deploy`].
    fn deploy_boxed<'a>(&'a self, config: &'a DeploymentConfig) -> Boxed<'a, DeploymentId, E>;
    /// As [`Runtime::stop`].
    fn stop_boxed(&self, id: DeploymentId) -> Boxed<'_, Option<Timestamp>, E>;
    /// As [`Runtime::scale`].
    fn scale_boxed(&self, id: DeploymentId, replicas: u32) -> Boxed<'_, (), E>;
    /// As [`Runtime::metrics`].
    fn metrics_boxed(&self, id: DeploymentId) -> Boxed<'_, Vec<Sample>, E>;
    /// As [`Runtime::probe`].
    fn probe_boxed(&self, id: DeploymentId) -> Boxed<'_, Option<Timestamp>, E>;
    /// As [`Runtime::is_transient`].
    fn is_transient_dyn(&self, error: &E) -> bool;
}

impl<R: Runtime> DynRuntime<R::Error> for R {
    fn deploy_boxed<'a>(&'a self, config: &'a DeploymentConfig) -> Boxed<'a, DeploymentId, R::Error> {
        Box::pin(Runtime::deploy(self, config))
    }

    fn stop_boxed(&self, id: DeploymentId) -> Boxed<'_, Option<Timestamp>, R::Error> {
        Box::pin(Runtime::stop(self, id))
    }

    fn scale_boxed(&self, id: DeploymentId, replicas: u32) -> Boxed<'_, (), R::Error> {
        Box::pin(Runtime::scale(self, id, replicas))
    }

    fn metrics_boxed(&self, id: DeploymentId) -> Boxed<'_, Vec<Sample>, R::Error> {
        Box::pin(Runtime::metrics(self, id))
    }

    fn probe_boxed(&self, id: DeploymentId) -> Boxed<'_, Option<Timestamp>, R::Error> {
        Box::pin(Runtime::probe(self, id))
    }

    fn is_transient_dyn(&self, error: &R::Error) -> bool {
        Runtime::is_transient(self, error)
    }
}
