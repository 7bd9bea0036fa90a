//! What a person must hear even when the program has set up no logging.

use std::io::Write;

use tidemill_core::Error;

/// Writes one line to standard error, unless the program listens to log events: then it has heard.
pub(crate) fn tell(what: &str, error: &Error) {
    if !tracing::dispatcher::has_been_set() {
        // A closed terminal is no reason to fail.
        let _ = writeln!(std::io::stderr(), "tidemill: {what}: {}", error.report());
    }
}
