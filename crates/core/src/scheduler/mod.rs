//! Jobs: lineage cut into stages, stages into tasks, tasks run by a backend.

mod backend;
mod dag;
mod local;
mod run;
mod service;
pub(crate) mod stage;

pub use backend::{Backend, OnOutput};
pub use local::{TaskRunner, ThreadBackend};
pub use run::{Task, decode_output, encode_output, run_task};
pub use service::{Service, ServiceContext, ServiceHandle};
pub use stage::{JobPlan, Stage, StageRoot, TaskOutput, TaskValue};

pub(crate) use dag::plan;
