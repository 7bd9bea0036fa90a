//! Holds tasks up until a test lets them go, in whatever process they run.

use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};

/// Where tasks knock.
pub(crate) struct Gate {
    _folder: tempfile::TempDir,
    listener: UnixListener,
    path: String,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.sock");
        Self {
            listener: UnixListener::bind(&path).unwrap(),
            path: path.display().to_string(),
            _folder: folder,
        }
    }

    /// What goes along with a function that calls [`pass`] or [`knock`].
    pub(crate) fn path(&self) -> String {
        self.path.clone()
    }

    /// Waits for the next task. It goes on when what is returned is dropped.
    pub(crate) fn next(&self) -> UnixStream {
        self.listener.accept().unwrap().0
    }
}

/// Tells the test that a task is here.
pub(crate) fn knock(path: &str) {
    drop(UnixStream::connect(path));
}

/// Tells the test that a task is here, and waits to be let go. A gate that is gone stands open.
pub(crate) fn pass(path: &str) {
    if let Ok(mut stream) = UnixStream::connect(path) {
        let _ = stream.read(&mut [0]);
    }
}
