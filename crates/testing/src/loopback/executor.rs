//! One child process of the same executable: how it is started, let in, and ended.

use std::collections::HashSet;
use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidemill_core::remote::{
    EXECUTOR_VARIABLE, Hello, PROTOCOL_VERSION, Request, read_frame, write_frame,
};
use tidemill_core::storage::BlockId;
use tidemill_core::travel::BuildId;
use tidemill_core::{Error, Result};

/// Whoever connects has this long to say hello. Only a stranger ever needs it.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// A socket that one executor is let in by: the one that knows the secret.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
    secret: String,
    build_id: BuildId,
}

impl Door {
    /// Opens a door at `path`, in a folder that only this user can enter.
    ///
    /// # Errors
    /// `Unavailable` when the socket cannot be made.
    pub fn open(path: &Path, build_id: BuildId) -> Result<Self> {
        let unavailable = |e: std::io::Error| {
            Error::unavailable("socket for an executor cannot be made")
                .with("path", path.display())
                .caused_by(e)
        };
        Ok(Self {
            listener: UnixListener::bind(path).map_err(unavailable)?,
            path: path.to_owned(),
            secret: random_secret().map_err(unavailable)?,
            build_id,
        })
    }

    /// What the executor's environment has to say: `unix:PATH SECRET`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:{} {}", self.path.display(), self.secret)
    }

    /// Waits for one visitor, and lets it in or says why not.
    ///
    /// # Errors
    /// `Invalid` for a stranger, who was told the reason; `Unavailable` when the visitor left.
    pub fn admit(&self) -> Result<UnixStream> {
        let unavailable =
            |e: std::io::Error| Error::unavailable("executor does not connect").caused_by(e);
        let (mut visitor, _) = self.listener.accept().map_err(unavailable)?;
        visitor
            .set_read_timeout(Some(HELLO_TIMEOUT))
            .map_err(unavailable)?;
        welcome(&mut visitor, &self.secret, self.build_id)?;
        visitor.set_read_timeout(None).map_err(unavailable)?;
        Ok(visitor)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The driver's side of the handshake: reads the hello and answers it.
///
/// # Errors
/// `Invalid` for another protocol, secret or build, which the visitor is told too; `Unavailable`
/// or `Data` when there was no proper hello.
pub fn welcome(visitor: &mut UnixStream, secret: &str, build_id: BuildId) -> Result<()> {
    let hello: Hello =
        read_frame(visitor)?.ok_or_else(|| Error::unavailable("executor left without a hello"))?;
    let verdict = judge(&hello, secret, build_id);
    write_frame(visitor, &Request::Welcome(verdict.clone()))?;
    verdict
}

fn judge(hello: &Hello, secret: &str, build_id: BuildId) -> Result<()> {
    if hello.protocol != PROTOCOL_VERSION {
        return Err(Error::invalid("executor speaks another protocol")
            .with("its", hello.protocol)
            .with("ours", PROTOCOL_VERSION));
    }
    // Before the build: a stranger learns nothing about us.
    if hello.secret != secret {
        return Err(Error::invalid("executor does not know the secret"));
    }
    if hello.build_id != build_id {
        return Err(Error::invalid(
            "executor is another build: all processes run the same executable",
        )
        .with("its", hello.build_id)
        .with("ours", build_id));
    }
    Ok(())
}

/// 128 random bits, in hexadecimal.
fn random_secret() -> std::io::Result<String> {
    let mut bytes = [0_u8; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A child that was let in. Ended, and waited for, when dropped.
#[derive(Debug)]
pub(super) struct Executor {
    child: Child,
    stream: UnixStream,
    /// The broadcasts that it has fetched, and keeps.
    broadcasts: HashSet<BlockId>,
}

impl Executor {
    /// Starts a child of this executable and lets it in by a door at `socket`.
    pub(super) fn start(socket: &Path, build_id: BuildId) -> Result<Self> {
        let door = Door::open(socket, build_id)?;
        let failed = |e| Error::unavailable("executor cannot be started").caused_by(e);
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .env(EXECUTOR_VARIABLE, door.address())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let has_ended = Arc::new(AtomicBool::new(false));
        if let Some(stdout) = child.stdout.take() {
            watch(stdout, socket.to_owned(), Arc::clone(&has_ended));
        }
        loop {
            match door.admit() {
                Ok(stream) => {
                    return Ok(Self {
                        child,
                        stream,
                        broadcasts: HashSet::new(),
                    });
                }
                Err(error) if has_ended.load(Ordering::Acquire) => {
                    end(&mut child);
                    return Err(Error::unavailable("executor ended at once")
                        .with("hint", "`tidemill::init()` must come first in `main`")
                        .caused_by(error));
                }
                Err(error) => {
                    tracing::warn!(error = %error.report(), "stranger was turned away");
                }
            }
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub(super) fn broadcasts(&mut self) -> &mut HashSet<BlockId> {
        &mut self.broadcasts
    }

    /// Ends the child at once, as a crash would.
    pub(super) fn kill(&mut self) {
        end(&mut self.child);
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.kill();
    }
}

fn end(child: &mut Child) {
    // Fails only for a child that was ended and waited for before.
    let _ = child.kill();
    let _ = child.wait();
}

/// Passes on what a child prints, to where this program's messages go. When the child ends, knocks
/// at its door: whoever still waits there must not wait for ever.
fn watch(mut stdout: ChildStdout, door: PathBuf, has_ended: Arc<AtomicBool>) {
    let watching = std::thread::Builder::new().name("executor-output".to_owned());
    let result = watching.spawn(move || {
        let _ = std::io::copy(&mut stdout, &mut std::io::stderr());
        has_ended.store(true, Ordering::Release);
        // Nobody is there any more once the child was let in.
        let _ = UnixStream::connect(&door);
    });
    if let Err(error) = result {
        tracing::warn!(%error, "no thread for what an executor prints");
    }
}
