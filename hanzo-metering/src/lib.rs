#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "rust_decimal")]
mod amount;
mod books;
mod cluster;
#[cfg(feature = "serde")]
mod config;
mod emission;
mod error;
mod fees;
#[cfg(feature = "focus")]
mod focus;
mod gas;
mod ids;
mod inference;
mod invoice;
mod journal;
mod ledger;
mod meter;
#[cfg(feature = "metrics")]
mod metrics;
mod quota;
mod resources;
mod runtime;
mod scheduler;
mod stake;
mod tariff;
mod time;
mod treasury;
mod units;
mod wide;
mod wire;

#[cfg(feature = "rust_decimal")]
#[cfg_attr(docsrs, doc(cfg(feature = "rust_decimal")))]
pub use amount::{amount_of, decimal_of};
pub use books::{Answer, BilledInvoice, Books, BooksConfig, BooksError, Command, Deposit, Minted, Payout};
pub use cluster::{Cluster, ClusterPlan, NodeId, NodeSpec, Selection, Start, select_by_stake};
#[cfg(feature = "serde")]
pub use config::{
    Decimal, DockerSection, KubernetesSection, MeteringSection, RuntimeConfig, RuntimeSection, WasmSection,
};
pub use emission::{Emission, EmissionError, inference_reward, realized_ppm};
pub use error::{Error, Result};
pub use fees::{Disposition, FeeAccrual, FeeError, FeeSchedule, Role, Share, distribute};
#[cfg(feature = "focus")]
pub use focus::{Currency, FocusConfig, FocusCredit, FocusDeployment, FocusVersion, write_focus};
pub use gas::{GasError, GasSchedule, MilliGas, Operation};
pub use ids::{AccountId, TransferId};
pub use inference::{InferenceCredits, Model};
pub use invoice::{Biller, BillingError, Deployment, Invoice, Line, LineKind};
pub use journal::{
    ChainCallError, Frame, FrameKind, Journal, JournalError, JournalStore, Journaled, JournaledError, LedgerCallError,
    Machine, MemoryStore, RecoverError, Recovered, recover,
};
#[cfg(feature = "redb")]
pub use journal::{RedbError, RedbStore};
pub use ledger::{
    AccountFlag, AccountHandle, AccountState, Applied, Audit, Balance, Entry, Field, IdMode, Ledger, LedgerError,
    LedgerTotals, LinkedError, NewAccount, Opened, Pending, PendingState, Transfer, TransferKind,
};
pub use meter::{
    Basis, Correction, CpuSource, GapPolicy, Meter, MeterConfig, MeterError, Reading, Recorded, Value, Window,
};
#[cfg(feature = "metrics")]
pub use metrics::Metrics;
pub use quota::{Gcra, QuotaError, SlidingWindow};
pub use resources::{Demand, Pool};
pub use runtime::{
    BlockingRuntime, Boxed, DeploymentConfig, DeploymentId, Driver, DriverConfig, DriverError, DynRuntime, JobTerms,
    Runtime, Sample, StepReport,
};
#[cfg(feature = "std")]
pub use runtime::{FakeError, FakeRuntime, Faults};
pub use scheduler::{
    Action, Event, Intent, JobRecord, JobSpec, JobState, Outcome, Plan, PlanRules, Planner, QueuedJob, RunningJob,
    ScheduleError, Scheduler, SchedulerConfig, StopReason,
};
pub use stake::{SlashOrder, Slashed, StakeBalance, StakeError, StakePurpose, Stakes, minimum_stake};
pub use tariff::{Carry, Tariff, TeePolicy, TeeStacking};
pub use time::{Status, Timestamp};
pub use treasury::{
    BondState, Effect, EscrowState, Posting, Receipt, Treasury, TreasuryAudit, TreasuryConfig, TreasuryError,
};
pub use units::{Quanta, Resources, RuntimeKind, SignedQuanta, SignedUsage, TeeKind, UnitError, Usage, Weights};
