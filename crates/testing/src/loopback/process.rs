//! Tasks in child processes of the same executable.

use std::collections::HashSet;
use std::io::{ErrorKind as IoErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;
use tidemill_core::remote::{
    EXECUTOR_VARIABLE, EncodedTask, Reply, Request, encode_task, read_frame, write_frame,
};
use tidemill_core::scheduler::{Task, TaskOutput, TaskRunner, decode_output};
use tidemill_core::storage::{Block, BlockId, BlockStore};
use tidemill_core::travel::Image;
use tidemill_core::{CancelToken, Error, ErrorKind, Result};

use super::executor::Executor;
use super::faults::{Fate, Fates};
use super::{image, root_of};

/// How often a wait for a busy child looks whether its job was cancelled.
const CANCEL_INTERVAL: Duration = Duration::from_millis(20);

/// The children, one for each slot.
#[derive(Debug)]
pub(super) struct Children {
    slots: Vec<Mutex<Option<Executor>>>,
    blocks: Arc<dyn BlockStore>,
    fates: Arc<Fates>,
    image: Image,
    /// Where the sockets are: a folder that only this user can enter.
    folder: TempDir,
    num_started: AtomicU64,
}

impl Children {
    pub(super) fn new(
        num_slots: usize,
        blocks: Arc<dyn BlockStore>,
        fates: Arc<Fates>,
    ) -> Result<Self> {
        if std::env::var_os(EXECUTOR_VARIABLE).is_some() {
            return Err(Error::invalid(
                "an executor went past `tidemill::init()`: it must come first in `main`",
            ));
        }
        let folder = tempfile::Builder::new()
            .prefix("tidemill-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|e| Error::unavailable("no folder for sockets").caused_by(e))?;
        Ok(Self {
            slots: (0..num_slots).map(|_| Mutex::default()).collect(),
            blocks,
            fates,
            image: image()?,
            folder,
            num_started: AtomicU64::new(0),
        })
    }

    pub(super) fn ids(&self) -> Vec<u32> {
        self.slots
            .iter()
            .filter_map(|slot| slot.lock().as_ref().map(Executor::id))
            .collect()
    }

    /// Ends all children and waits for them.
    pub(super) fn end(&self) {
        for slot in &self.slots {
            drop(slot.lock().take());
        }
    }

    fn start(&self) -> Result<Executor> {
        let number = self.num_started.fetch_add(1, Ordering::Relaxed);
        let socket = self.folder.path().join(format!("{number}.sock"));
        let executor = Executor::start(&socket, self.image.build_id())?;
        let timeout = executor.stream().set_read_timeout(Some(CANCEL_INTERVAL));
        timeout.map_err(|e| Error::unavailable("executor's socket cannot be used").caused_by(e))?;
        Ok(executor)
    }

    /// Sends the task and serves the child's questions until it is done. An error leaves the
    /// child in the middle of something: it is of no more use.
    fn converse(
        &self,
        executor: &mut Executor,
        task: EncodedTask,
        cancel: &CancelToken,
    ) -> Result<Result<Vec<u8>>> {
        self.forget_broadcasts(executor)?;
        self.send(executor, &Request::Run(Box::new(task)))?;
        loop {
            let answer = match self.receive(executor, cancel)? {
                Reply::Done(result) => return Ok(result),
                Reply::Fetch(id) => {
                    if let BlockId::Broadcast { .. } = id {
                        executor.broadcasts().insert(id);
                    }
                    Request::Block(match self.blocks.get(id)? {
                        Some(block) => Some((block.to_bytes()?.to_vec(), block.num_records())),
                        None => None,
                    })
                }
                Reply::Store(id, bytes, num_records, level) => {
                    let block = Block::encoded(bytes, num_records).at(level);
                    Request::Stored(self.blocks.put(id, block)?)
                }
            };
            self.send(executor, &answer)?;
        }
    }

    /// Tells a child which of the broadcasts it keeps are gone here.
    fn forget_broadcasts(&self, executor: &mut Executor) -> Result<()> {
        let mut gone = Vec::new();
        let kept: HashSet<BlockId> = std::mem::take(executor.broadcasts());
        for id in kept {
            if self.blocks.contains(id)? {
                executor.broadcasts().insert(id);
            } else {
                gone.push(id);
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.send(executor, &Request::Forget(gone))
    }

    fn send(&self, executor: &mut Executor, request: &Request) -> Result<()> {
        loop {
            match self.fates.next() {
                Fate::Arrives => break,
                Fate::Lost => self.fates.wait_in_vain(),
                Fate::ExecutorDies => {
                    executor.kill();
                    break;
                }
            }
        }
        write_frame(&mut executor.stream(), request)
    }

    fn receive(&self, executor: &mut Executor, cancel: &CancelToken) -> Result<Reply> {
        let mut stream = Patient {
            stream: executor.stream(),
            cancel,
        };
        let reply: Option<Reply> = read_frame(&mut stream).map_err(|error| {
            if cancel.is_cancelled() {
                Error::new(ErrorKind::Cancelled, "job was cancelled")
            } else {
                error
            }
        })?;
        let reply = reply.ok_or_else(|| Error::unavailable("executor died"))?;
        match self.fates.next() {
            Fate::Arrives => Ok(reply),
            Fate::Lost => {
                self.fates.wait_in_vain();
                Err(Error::unavailable("executor was not heard of in time"))
            }
            Fate::ExecutorDies => {
                executor.kill();
                Err(Error::unavailable("executor died"))
            }
        }
    }
}

impl TaskRunner for Children {
    fn image(&self) -> Option<&Image> {
        Some(&self.image)
    }

    fn run(&self, slot: usize, task: &Task) -> Result<TaskOutput> {
        let root = root_of(task)?;
        let encoded = encode_task(root, task.id, task.plan.seed, &self.image)?;
        let seat = self
            .slots
            .get(slot)
            .ok_or_else(|| Error::internal("task in a slot that does not exist"))?;
        let mut seat = seat.lock();
        let executor = match &mut *seat {
            Some(executor) => executor,
            empty => empty.insert(self.start()?),
        };
        match self.converse(executor, encoded, task.cancel()) {
            Ok(result) => decode_output(root, &result?),
            Err(error) => {
                *seat = None;
                Err(error.with("slot", slot))
            }
        }
    }
}

/// A stream that is read until there is something, unless the job is cancelled meanwhile.
struct Patient<'a> {
    stream: &'a UnixStream,
    cancel: &'a CancelToken,
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Err(e) if e.kind() == IoErrorKind::WouldBlock && !self.cancel.is_cancelled() => {}
                result => return result,
            }
        }
    }
}
