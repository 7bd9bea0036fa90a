//! `pipe`: records through another program, line by line.

use std::fmt::{Display, Write as _};
use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt;
use std::panic::Location;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Rdd;
use super::node::{AnyRdd, Dependency, Meta, Parent, RddNode, built};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::{Error, ErrorKind, Result};
use crate::operator::{Operator, abort_task};
use crate::task::TaskContext;
use crate::text::Text;
use crate::travel::Descriptor;

/// Bytes handed to the program at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks on their way to the program.
const MAX_CHUNKS: usize = 4;
/// Messages on their way from the program.
const MAX_EVENTS: usize = 16;
/// How soon a task that waits for the program notices that it was cancelled.
const CANCEL_CHECK: Duration = Duration::from_millis(20);

/// A program and what it is started with. Inherits the environment unless told otherwise.
///
/// ```
/// use tidemill_core::{Context, PipeCommand};
///
/// let ctx = Context::local(2)?;
/// let greeting = PipeCommand::new("sh").args(["-c", "cat; echo $NAME"]).env("NAME", "tide");
/// let lines = ctx.parallelize_into([1, 2], 1)?.pipe(greeting).collect()?;
/// assert_eq!(lines, ["1", "2", "tide"]);
/// # Ok::<(), tidemill_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct PipeCommand {
    program: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    clear_env: bool,
}

impl PipeCommand {
    /// A program without arguments, by path or by its name on the `PATH`. No shell is asked.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            clear_env: false,
        }
    }

    /// Adds arguments, each as it is.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the program's environment.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts the program with no other variables than those set by [`env`](Self::env).
    pub fn clear_env(mut self) -> Self {
        self.clear_env = true;
        self
    }

    fn start(&self) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        if self.clear_env {
            command.env_clear();
        }
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A group of its own, so that what it starts is ended with it.
            .process_group(0)
            .spawn()
    }
}

/// The words of a command line, cut at white space. For anything more, [`PipeCommand::args`].
impl From<&str> for PipeCommand {
    fn from(line: &str) -> Self {
        let mut words = line.split_whitespace();
        Self::new(words.next().unwrap_or_default()).args(words)
    }
}

impl Display for PipeCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.program)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

/// Sends the records of each partition through a program of its own.
struct Pipe<T> {
    meta: Meta,
    parent: Parent<T>,
    command: PipeCommand,
}

impl<T: Data + Display> Pipe<T> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        Ok(built::<Text>(Self {
            command: decoder.take()?,
            meta: decoder.meta(),
            parent: Parent::decode(decoder, 0)?,
        }))
    }
}

impl<T: Data + Display> AnyRdd for Pipe<T> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        self.parent.num_partitions()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        self.parent.one_to_one()
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&self.command)
    }
}

impl<T: Data + Display> RddNode<Text> for Pipe<T> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<Text>> {
        let records = self.parent.iterate(split, task)?;
        let mut running = Running::start(&self.command, self.meta.operator())?;
        let (task, mut lines) = (task.clone(), Vec::new().into_iter());
        let mut input = Some(records);
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                if let Some(line) = lines.next() {
                    return Some(line);
                }
                running.feed(&mut input, self.meta.operator());
                match running.wait(&task) {
                    Ok(Some(more)) => lines = more.into_iter(),
                    Ok(None) => return None,
                    Err(error) => abort_task(
                        error
                            .with("operator", self.meta.operator())
                            .with("command", &self.command),
                    ),
                }
            }
        })))
    }
}

/// What the threads beside the task have to tell it.
enum Event {
    /// The program has taken a chunk.
    Room,
    /// The program has written.
    Lines(Vec<Text>),
    /// The program has ended.
    End(std::io::Result<ExitStatus>),
}

/// A program that runs. It is ended with this value, and so is what it has started.
struct Running {
    group: Option<rustix::process::Pid>,
    input: Option<Sender<String>>,
    /// How many chunks may still be sent.
    room: usize,
    events: Receiver<Event>,
    has_ended: bool,
}

impl Running {
    fn start(command: &PipeCommand, operator: &Operator) -> Result<Self> {
        let failed = |what: &str, error: std::io::Error| {
            Error::invalid(what)
                .with("operator", operator)
                .with("command", command)
                .caused_by(error)
        };
        let mut child = command
            .start()
            .map_err(|e| failed("program cannot be started", e))?;
        let group = i32::try_from(child.id()).ok();
        let group = group.and_then(rustix::process::Pid::from_raw);
        let (input, chunks) = channel();
        let (to_task, events) = sync_channel(MAX_EVENTS);
        let running = Self {
            group,
            input: Some(input),
            room: MAX_CHUNKS,
            events,
            has_ended: false,
        };
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let taken = to_task.clone();
        let threads = [
            spawn(move || {
                if let Some(stdin) = stdin {
                    write_all(stdin, &chunks, &taken);
                }
            }),
            spawn(move || {
                if let Some(stdout) = stdout {
                    read_all(stdout, &to_task);
                }
                // Nobody listens any more when the task has ended before the program.
                let _ = to_task.send(Event::End(child.wait()));
            }),
        ];
        for thread in threads {
            thread.map_err(|e| failed("no thread for the program's input and output", e))?;
        }
        Ok(running)
    }

    /// Sends records while there is room for them; closes the program's input after the last.
    fn feed<T: Display>(&mut self, records: &mut Option<PartitionIter<T>>, operator: &Operator) {
        while self.room > 0
            && let Some(left) = records
        {
            let mut chunk = String::new();
            while chunk.len() < CHUNK_BYTES
                && let Some(record) = left.next()
            {
                operator.call(|| {
                    // A string takes whatever is written.
                    let _ = writeln!(chunk, "{record}");
                });
            }
            // A program that reads no more has its reasons: `head`, for example.
            let sent = !chunk.is_empty()
                && self
                    .input
                    .as_ref()
                    .is_some_and(|input| input.send(chunk).is_ok());
            if sent {
                self.room -= 1;
            } else {
                *records = None;
                self.input = None;
            }
        }
    }

    /// The next lines; none of them when there is only room for more records; `None` at the end.
    fn wait(&mut self, task: &TaskContext) -> Result<Option<Vec<Text>>> {
        match self.events.recv_timeout(CANCEL_CHECK) {
            Ok(Event::Room) => self.room += 1,
            Ok(Event::Lines(lines)) => return Ok(Some(lines)),
            Ok(Event::End(status)) => {
                self.has_ended = true;
                return ended(status).map(|()| None);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if self.has_ended => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::internal("a thread of the program's pipe panicked"));
            }
        }
        task.check()?;
        Ok(Some(Vec::new()))
    }
}

fn ended(status: std::io::Result<ExitStatus>) -> Result<()> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::new(ErrorKind::User, "program failed").with("status", status)),
        Err(e) => Err(Error::unavailable("program's end was not seen").caused_by(e)),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Some(group), false) = (self.group, self.has_ended) {
            // It may have ended by itself meanwhile.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

fn spawn(f: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("pipe".to_owned()).spawn(f);
    thread.map(drop)
}

/// Until there are no more chunks, or the program reads no more.
fn write_all(mut stdin: ChildStdin, chunks: &Receiver<String>, taken: &SyncSender<Event>) {
    for chunk in chunks {
        if stdin.write_all(chunk.as_bytes()).is_err() || taken.send(Event::Room).is_err() {
            return;
        }
    }
}

/// Until the program closes its output. A line without an end at the end is one, too.
fn read_all(mut stdout: ChildStdout, lines: &SyncSender<Event>) {
    let mut bytes = vec![0; CHUNK_BYTES];
    let mut begun: Vec<u8> = Vec::new();
    while let Ok(len @ 1..) = stdout.read(&mut bytes) {
        let Some(read) = bytes.get(..len) else { break };
        let mut whole = Vec::new();
        for line in read.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(line);
            if begun.pop_if(|byte| *byte == b'\n').is_some() {
                whole.push(text_of(&begun));
                begun.clear();
            }
        }
        if !whole.is_empty() && lines.send(Event::Lines(whole)).is_err() {
            return;
        }
    }
    if !begun.is_empty() {
        // Nobody listens any more when the task has ended before the program.
        let _ = lines.send(Event::Lines(vec![text_of(&begun)]));
    }
}

fn text_of(bytes: &[u8]) -> Text {
    Text::from(&*String::from_utf8_lossy(bytes))
}

impl<T: Data + Display> Rdd<T> {
    /// The lines that a program writes when it is given the records, one a line. Each partition
    /// has a process of its own, empty partitions too.
    ///
    /// What the program writes to its standard error goes to that of the task's process. A status
    /// other than 0 fails the task. The program, and what it has started, is killed when the task
    /// is cancelled or wants no more lines. Where the task's whole process is killed, nobody is
    /// left to do so: the program then comes to the end of its input, and should end there.
    ///
    /// *Shape* [`Text`], as many partitions; bytes that are no UTF-8 become `\u{fffd}`. *Cost*
    /// narrow; one process and two threads a partition. *State* none.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let lines = ctx.parallelize_into([10, 9, 100], 1)?.pipe("sort -n").collect()?;
    /// assert_eq!(lines, ["9", "10", "100"]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn pipe(&self, command: impl Into<PipeCommand>) -> Rdd<Text> {
        let operator = Operator::new("pipe", Location::caller());
        self.ctx.rdd(Pipe {
            meta: self.child(operator),
            parent: self.node.clone(),
            command: command.into(),
        })
    }
}
