//! What a person must hear even when the program has set up no logging.

use std::io::Write;

use tidemill_core::Error;

/// Writes one line to standard error, unless the program listens to log events: then it has heard.
pub(crate) fn tell(what: &str, error: &Error) {
    if !tracing::dispatcher::has_been_set() {
        // Written in one piece: standard error is not buffered, and other programs' lines may share
        // it. A closed terminal is no reason to fail.
        let line = format!("tidemill: {what}: {}\n", error.report());
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
