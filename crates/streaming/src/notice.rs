//! What a person must hear even when the program has set up no logging.

use std::io::Write;

use tidemill_core::Error;

/// A warning: what, and the error that says it.
pub(crate) fn warn(what: &str, error: &Error) {
    tracing::warn!("{what}: {}", error.report());
    tell(what, &error.report());
}

/// The end of what was warned of. As loud as the warning, or whoever heard that would not hear this.
pub(crate) fn over(what: &str, news: &str) {
    tracing::warn!("{what}: {news}");
    tell(what, news);
}

/// Writes one line to standard error, unless the program listens to log events: then it has heard.
pub(crate) fn tell(what: &str, text: &str) {
    if !tracing::dispatcher::has_been_set() {
        // Written in one piece: standard error is not buffered, and other programs' lines may share
        // it. A closed terminal is no reason to fail.
        let line = format!("tidemill: {what}: {text}\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
