//! The executor's side: a process that runs the tasks another process sends.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::frame::{read_frame, write_frame};
use super::lineage::decode_task;
use super::message::{Hello, PROTOCOL_VERSION, Reply, Request};
use crate::error::{Error, Result};
use crate::scheduler::run_task;
use crate::storage::{Block, BlockId, BlockStore};
use crate::task::{CancelToken, TaskContext};
use crate::travel::Image;

/// The environment variable that asks a program to be an executor: `unix:PATH SECRET`.
pub const EXECUTOR_VARIABLE: &str = "TIDEMILL_EXECUTOR";

/// Makes the program an executor when it was started as one; else returns at once.
///
/// The first line of `main`. An executor never returns from it: it runs tasks until its driver
/// is gone, and then ends the process.
pub fn init() {
    let Ok(address) = std::env::var(EXECUTOR_VARIABLE) else {
        return;
    };
    let code = match run_executor(&address) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(error = %error.report(), "executor ended");
            1
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "an executor must not fall through into `main`"
    )]
    std::process::exit(code);
}

fn run_executor(address: &str) -> Result<()> {
    let (path, secret) = address
        .strip_prefix("unix:")
        .and_then(|rest| rest.rsplit_once(' '))
        .ok_or_else(|| Error::invalid("executor address is not of the form `unix:PATH SECRET`"))?;
    let image = Image::current()?;
    let stream = UnixStream::connect(Path::new(path)).map_err(|e| {
        Error::unavailable("driver does not answer")
            .with("path", path)
            .caused_by(e)
    })?;
    let driver = Arc::new(Driver {
        stream: Mutex::new(stream),
    });
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        build_id: image.build_id(),
        secret: secret.to_owned(),
    };
    write_frame(&mut *driver.stream.lock(), &hello)?;
    match driver.receive()? {
        Some(Request::Welcome(welcome)) => welcome?,
        _ => return Err(Error::data("driver did not say welcome")),
    }
    let blocks: Arc<dyn BlockStore> = driver.clone();
    while let Some(request) = driver.receive()? {
        let Request::Run(task) = request else {
            return Err(Error::data("driver sent an answer to no question"));
        };
        let result = decode_task(&task, &image).and_then(|root| {
            let ctx = TaskContext::new(task.id, Arc::clone(&blocks), CancelToken::new(), task.seed);
            let output = run_task(&*root, &ctx)?;
            root.encode_output(&*output)
        });
        write_frame(&mut *driver.stream.lock(), &Reply::Done(result))?;
    }
    Ok(())
}

/// The driver, as the executor's block store. One task runs at a time, so a question is always
/// followed by its answer.
#[derive(Debug)]
struct Driver {
    stream: Mutex<UnixStream>,
}

impl Driver {
    fn receive(&self) -> Result<Option<Request>> {
        read_frame(&mut *self.stream.lock())
    }

    fn ask(&self, question: &Reply) -> Result<Request> {
        let mut stream = self.stream.lock();
        write_frame(&mut *stream, question)?;
        read_frame(&mut *stream)?.ok_or_else(|| Error::unavailable("driver is gone"))
    }
}

impl BlockStore for Driver {
    fn get(&self, id: BlockId) -> Result<Option<Block>> {
        match self.ask(&Reply::Fetch(id))? {
            Request::Block(found) => {
                Ok(found.map(|(bytes, records)| Block::encoded(bytes, records)))
            }
            _ => Err(Error::data("driver gave another answer than a block")),
        }
    }

    fn put(&self, id: BlockId, block: Block) -> Result<bool> {
        let bytes = block.to_bytes()?.to_vec();
        match self.ask(&Reply::Store(id, bytes, block.num_records()))? {
            Request::Stored(kept) => Ok(kept),
            _ => Err(Error::data("driver gave another answer than `stored`")),
        }
    }

    /// Only the driver forgets blocks.
    fn remove(&self, _: &mut dyn Iterator<Item = BlockId>) {}
}
