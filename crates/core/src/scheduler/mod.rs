//! Jobs: lineage cut into stages, stages into tasks, tasks run by a backend.

mod attempts;
mod backend;
mod dag;
mod job_state;
mod local;
mod monitor;
mod pools;
mod run;
mod service;
mod speculation;
pub(crate) mod stage;

pub use backend::{Backend, OnOutput};
pub use local::{TaskRunner, ThreadBackend};
pub use monitor::JobMonitor;
pub use pools::{Pool, SchedulingMode};
pub use run::{Task, decode_output, encode_output, run_task};
pub use service::{Service, ServiceContext, ServiceHandle};
pub use speculation::Speculation;
pub use stage::{JobPlan, JobRules, Stage, StageRoot, TaskOutput, TaskValue};

pub(crate) use dag::plan;
