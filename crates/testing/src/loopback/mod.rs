//! `loopback`: every task, block and result leaves its types behind and comes back as bytes.
//!
//! Two modes: *in-process*, where tasks are encoded and decoded on the slot's own thread, and
//! *process*, where each slot drives a child process of the same executable over a Unix socket,
//! with the handshake that any executor goes through. Both can lose messages, and their executors
//! can die, as [`Faults`] says.

mod blocks;
mod executor;
mod faults;
mod in_process;
mod process;

use std::fmt;
use std::sync::{Arc, OnceLock};

use tidemill_core::scheduler::{
    Backend, JobPlan, OnOutput, Service, ServiceHandle, StageRoot, Task, ThreadBackend,
};
use tidemill_core::storage::{BlockStore, MemoryStore};
use tidemill_core::travel::Image;
use tidemill_core::{Error, Result};

pub use executor::{Door, welcome};
pub use faults::Faults;

use blocks::EncodedBlocks;
use faults::Fates;
use in_process::InProcess;
use process::Children;

/// A backend whose tasks cross a border, real or pretended.
///
/// Cached partitions share `max_cache_bytes`, 64 MiB unless told otherwise.
pub struct Loopback {
    threads: ThreadBackend,
    blocks: Arc<dyn BlockStore>,
    fates: Arc<Fates>,
    children: Option<Arc<Children>>,
}

/// Memory for cached partitions.
const MAX_CACHE_BYTES: usize = 64 << 20;

impl Loopback {
    /// Encodes and decodes every task on the slot's own thread.
    ///
    /// # Errors
    /// `Unsupported` where the executable's memory cannot be read, `Unavailable` without threads.
    pub fn in_process(num_slots: usize, faults: Option<Faults>) -> Result<Self> {
        Self::in_process_with(num_slots, faults, MAX_CACHE_BYTES)
    }

    /// As [`in_process`](Self::in_process), keeping up to `max_cache_bytes` of cached partitions.
    ///
    /// # Errors
    /// As [`in_process`](Self::in_process).
    pub fn in_process_with(
        num_slots: usize,
        faults: Option<Faults>,
        max_cache_bytes: usize,
    ) -> Result<Self> {
        let blocks = encoded_blocks(max_cache_bytes);
        let fates = Arc::new(Fates::new(faults));
        let runner = InProcess::new(Arc::clone(&blocks), Arc::clone(&fates))?;
        let name = format!("loopback[{num_slots}]");
        let threads = ThreadBackend::new(&name, num_slots, Arc::clone(&blocks), Arc::new(runner))?;
        Ok(Self {
            threads,
            blocks,
            fates,
            children: None,
        })
    }

    /// Sends every task to one of `num_slots` children of this executable, which must call
    /// `tidemill::init()` first in `main`. A child is started when its slot gets its first task.
    ///
    /// # Errors
    /// As [`in_process`](Self::in_process); `Invalid` in a process that was itself started as an
    /// executor and went past `init()`.
    pub fn process(num_slots: usize, faults: Option<Faults>) -> Result<Self> {
        Self::process_with(num_slots, faults, MAX_CACHE_BYTES)
    }

    /// As [`process`](Self::process), keeping up to `max_cache_bytes` of cached partitions.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub fn process_with(
        num_slots: usize,
        faults: Option<Faults>,
        max_cache_bytes: usize,
    ) -> Result<Self> {
        let blocks = encoded_blocks(max_cache_bytes);
        let fates = Arc::new(Fates::new(faults));
        let children = Children::new(num_slots, Arc::clone(&blocks), Arc::clone(&fates))?;
        let children = Arc::new(children);
        let name = format!("loopback-process[{num_slots}]");
        let runner = Arc::clone(&children);
        let threads = ThreadBackend::new(&name, num_slots, Arc::clone(&blocks), runner)?;
        Ok(Self {
            threads,
            blocks,
            fates,
            children: Some(children),
        })
    }

    /// How many messages were lost so far.
    #[must_use]
    pub fn num_lost(&self) -> u64 {
        self.fates.num_lost()
    }

    /// How many executors were killed so far.
    #[must_use]
    pub fn num_killed(&self) -> u64 {
        self.fates.num_killed()
    }

    /// Process ids of the children that are alive now; none in in-process mode.
    #[must_use]
    pub fn child_ids(&self) -> Vec<u32> {
        self.children
            .as_ref()
            .map(|children| children.ids())
            .unwrap_or_default()
    }
}

/// The running executable. A suite makes hundreds of backends, and reading the file for each would
/// be most of its time; the file of a running program does not change.
fn image() -> Result<Image> {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    if let Some(image) = IMAGE.get() {
        return Ok(image.clone());
    }
    let image = Image::current()?;
    Ok(IMAGE.get_or_init(|| image).clone())
}

fn encoded_blocks(max_cache_bytes: usize) -> Arc<dyn BlockStore> {
    Arc::new(EncodedBlocks::new(MemoryStore::new(max_cache_bytes)))
}

fn root_of(task: &Task) -> Result<&dyn StageRoot> {
    let stage = task.plan.stages.get(task.id.stage);
    let stage =
        stage.ok_or_else(|| Error::internal("task of a stage that its plan does not have"))?;
    Ok(&*stage.root)
}

impl Backend for Loopback {
    fn name(&self) -> &str {
        self.threads.name()
    }

    fn num_slots(&self) -> usize {
        self.threads.num_slots()
    }

    fn blocks(&self) -> &Arc<dyn BlockStore> {
        &self.blocks
    }

    fn image(&self) -> Option<&Image> {
        self.threads.image()
    }

    fn run(&self, plan: &Arc<JobPlan>, on_output: OnOutput<'_>) -> Result<()> {
        let result = self.threads.run(plan, on_output);
        result.map_err(|error| match self.fates.faults() {
            Some(faults) => error.with("faults", faults),
            None => error,
        })
    }

    fn start_service(&self, service: Arc<dyn Service>) -> Result<ServiceHandle> {
        self.threads.start_service(service)
    }

    fn stop(&self) {
        self.threads.stop();
        if let Some(children) = &self.children {
            children.end();
        }
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loopback")
            .field("name", &self.name())
            .field("faults", &self.fates.faults())
            .finish_non_exhaustive()
    }
}
