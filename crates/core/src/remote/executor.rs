//! The executor's side: a process that runs the tasks another process sends.

use std::collections::HashMap;
use std::convert::Infallible;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use parking_lot::Mutex;

use super::frame::{read_frame, write_frame};
use super::lineage::decode_task;
use super::message::{Hello, PROTOCOL_VERSION, Reply, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::operator::catch;
use crate::scheduler::{encode_output, run_task};
use crate::storage::{Block, BlockId, BlockStore};
use crate::task::{CancelToken, TaskContext};
use crate::travel::{BuildId, Image};

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
    let Err(error) = run_executor(&address);
    tracing::error!(error = %error.report(), "executor ended");
    end(1)
}

fn run_executor(address: &str) -> Result<Infallible> {
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
    let driver = Arc::new(Driver::greet(stream, image.build_id(), secret)?);
    let blocks: Arc<dyn BlockStore> = driver.clone();
    loop {
        let task = match driver.receive()? {
            Request::Run(task) => task,
            Request::Forget(ids) => {
                let mut broadcasts = driver.broadcasts.lock();
                broadcasts.retain(|id, _| !ids.contains(id));
                continue;
            }
            _ => return Err(Error::data("driver sent an answer to no question")),
        };
        let result = catch(|| {
            let root = decode_task(&task, &image)?;
            let ctx = TaskContext::new(task.id, Arc::clone(&blocks), CancelToken::new(), task.seed);
            let output = run_task(&*root, &ctx)?;
            encode_output(&*root, &output)
        });
        let stream = &mut driver.connection.lock().stream;
        match write_frame(stream, &Reply::Done(result)) {
            // A result that cannot be sent is the task's failure, not the executor's.
            Err(error) if error.kind() == ErrorKind::Invalid => {
                write_frame(stream, &Reply::Done(Err(error)))?;
            }
            sent => sent?,
        }
    }
}

/// The driver, as the executor's block store. One task runs at a time, so a question is always
/// followed by its answer.
#[derive(Debug)]
struct Driver {
    connection: Mutex<Connection>,
    /// What many tasks read, fetched once.
    broadcasts: Mutex<HashMap<BlockId, Block>>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    inbox: Receiver<Request>,
}

impl Driver {
    /// Says hello and waits to be welcomed.
    fn greet(mut stream: UnixStream, build_id: BuildId, secret: &str) -> Result<Self> {
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            build_id,
            secret: secret.to_owned(),
        };
        write_frame(&mut stream, &hello)?;
        match read_frame(&mut stream)? {
            Some(Request::Welcome(welcome)) => welcome?,
            _ => return Err(Error::data("driver did not say welcome")),
        }
        let unavailable = |e| Error::unavailable("no thread for the connection").caused_by(e);
        let reader = stream.try_clone().map_err(unavailable)?;
        let (sender, inbox) = channel();
        std::thread::Builder::new()
            .name("driver".to_owned())
            .spawn(move || listen(reader, &sender))
            .map_err(unavailable)?;
        let connection = Mutex::new(Connection { stream, inbox });
        Ok(Self {
            connection,
            broadcasts: Mutex::default(),
        })
    }

    fn receive(&self) -> Result<Request> {
        receive(&self.connection.lock().inbox)
    }

    fn ask(&self, question: &Reply) -> Result<Request> {
        let mut connection = self.connection.lock();
        write_frame(&mut connection.stream, question)?;
        receive(&connection.inbox)
    }
}

fn receive(inbox: &Receiver<Request>) -> Result<Request> {
    inbox
        .recv()
        .map_err(|e| Error::unavailable("driver is gone").caused_by(e))
}

/// Takes in what the driver says. When the driver is gone the process ends at once, whatever its
/// task is doing: nobody waits for the result, and nobody else would end it.
fn listen(mut stream: UnixStream, inbox: &Sender<Request>) {
    let code = loop {
        match read_frame(&mut stream) {
            Ok(Some(request)) => {
                if inbox.send(request).is_err() {
                    return;
                }
            }
            Ok(None) => break 0,
            Err(error) => {
                tracing::error!(error = %error.report(), "executor lost its driver");
                break 1;
            }
        }
    };
    end(code);
}

#[expect(
    clippy::disallowed_methods,
    reason = "an executor must not fall through into `main`, nor outlive its driver"
)]
fn end(code: i32) -> ! {
    std::process::exit(code)
}

impl BlockStore for Driver {
    fn get(&self, id: BlockId) -> Result<Option<Block>> {
        if let Some(block) = self.broadcasts.lock().get(&id) {
            return Ok(Some(block.clone()));
        }
        match self.ask(&Reply::Fetch(id))? {
            Request::Block(found) => {
                let block = found.map(|(bytes, records)| Block::encoded(bytes, records));
                if let (BlockId::Broadcast { .. }, Some(block)) = (id, &block) {
                    self.broadcasts.lock().insert(id, block.clone());
                }
                Ok(block)
            }
            _ => Err(Error::data("driver gave another answer than a block")),
        }
    }

    fn put(&self, id: BlockId, block: Block) -> Result<bool> {
        let bytes = block.to_bytes()?.to_vec();
        match self.ask(&Reply::Store(id, bytes, block.num_records(), block.level()))? {
            Request::Stored(kept) => Ok(kept),
            _ => Err(Error::data("driver gave another answer than `stored`")),
        }
    }

    /// Only the driver forgets blocks.
    fn remove(&self, _: &mut dyn Iterator<Item = BlockId>) {}
}
