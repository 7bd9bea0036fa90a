//! Who made a node: the operator's kind, its name and the line of the user's program.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// The operator a node came from. Cheap to clone; prints as `map at src/main.rs:12`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Operator(Arc<Origin>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Origin {
    kind: String,
    name: Option<String>,
    file: String,
    line: u32,
}

impl Operator {
    /// The operator `kind`, called at `location`.
    #[must_use]
    pub fn new(kind: &str, location: &Location<'_>) -> Self {
        let file = location.file().to_owned();
        Self(Arc::new(Origin {
            kind: kind.to_owned(),
            name: None,
            file,
            line: location.line(),
        }))
    }

    /// The same operator under a name given by the user.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        let mut origin = Origin::clone(&self.0);
        origin.name = Some(name.to_owned());
        Self(Arc::new(origin))
    }

    /// What it does, for example `map`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.0.kind
    }

    /// The name given with `.named("…")`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// `file:line` of the call in the user's program.
    #[must_use]
    pub fn location(&self) -> String {
        format!("{}:{}", self.0.file, self.0.line)
    }

    /// Runs a function of the user. When it panics, the operator is noted, so that the task's
    /// failure can name it. Costs nothing when it does not panic.
    #[inline]
    pub fn call<R>(&self, f: impl FnOnce() -> R) -> R {
        let blame = Blame(self);
        let result = f();
        std::mem::forget(blame);
        result
    }

    /// As [`call`](Self::call), for a function that makes RDDs on the driver: one of their
    /// operators that cannot leave the process, where it must, is refused as soon as it is made.
    pub fn call_on_driver<R>(&self, f: impl FnOnce() -> R) -> R {
        /// Put back also when a panic unwinds.
        struct Leave(bool);
        impl Drop for Leave {
            fn drop(&mut self) {
                REFUSES_EARLY.set(self.0);
            }
        }
        let _leave = Leave(REFUSES_EARLY.replace(true));
        self.call(f)
    }

    /// Fails the running task with `error` of the user's function: unwinds to the task's edge.
    pub fn fail(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ! {
        let error = Error::new(ErrorKind::User, "function returned an error")
            .with("operator", self)
            .caused_by(error);
        std::panic::resume_unwind(Box::new(TaskAbort(error)))
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.name {
            Some(name) => write!(
                f,
                "{} \"{name}\" at {}:{}",
                self.0.kind, self.0.file, self.0.line
            ),
            None => write!(f, "{} at {}:{}", self.0.kind, self.0.file, self.0.line),
        }
    }
}

/// Dropped only while a panic unwinds through it.
struct Blame<'a>(&'a Operator);

impl Drop for Blame<'_> {
    fn drop(&mut self) {
        BLAMED.with_borrow_mut(|blamed| {
            blamed.get_or_insert_with(|| self.0.clone());
        });
    }
}

thread_local! {
    /// The innermost operator whose function panicked in the task now running on this thread.
    static BLAMED: std::cell::RefCell<Option<Operator>> = const { std::cell::RefCell::new(None) };

    /// Whether a function that makes RDDs for a stream is running on this thread.
    static REFUSES_EARLY: Cell<bool> = const { Cell::new(false) };
}

/// Whether an RDD that cannot leave the process is to be refused when it is made.
pub(crate) fn refuses_early() -> bool {
    REFUSES_EARLY.get()
}

/// The payload with which a task ends early: not a panic, and not printed as one.
struct TaskAbort(Error);

/// Ends the running task with `error`: unwinds to the task's edge.
pub(crate) fn abort_task(error: Error) -> ! {
    std::panic::resume_unwind(Box::new(TaskAbort(error)))
}

/// Runs `f` and turns a panic or an abort in it into an error that names the operator.
///
/// # Errors
/// Those of `f`; `User` when it panicked.
pub fn catch<R>(f: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    BLAMED.with_borrow_mut(|blamed| *blamed = None);
    let payload = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
        Ok(result) => return result,
        Err(payload) => payload,
    };
    let blamed = BLAMED.with_borrow_mut(Option::take);
    match payload.downcast::<TaskAbort>() {
        Ok(abort) => Err(abort.0),
        Err(payload) => {
            let message = payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "panic without a message".to_owned());
            let error = Error::new(ErrorKind::User, "function panicked");
            Err(match blamed {
                Some(operator) => error.with("operator", operator).caused_by(message),
                None => error.caused_by(message),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_blamed_on_the_innermost_operator() {
        let outer = Operator::new("map", Location::caller());
        let inner = Operator::new("filter", Location::caller()).named("odd");
        let error = catch(|| -> Result<(), Error> {
            outer.call(|| inner.call(|| panic!("no luck")));
            Ok(())
        })
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::User);
        assert_eq!(error.fact("operator"), Some(inner.to_string().as_str()));
        assert!(error.report().contains("no luck"));
    }

    #[test]
    fn a_returned_error_ends_the_task_without_a_panic() {
        let operator = Operator::new("try_map", Location::caller());
        let error = catch(|| -> Result<(), Error> { operator.fail("bad line") }).unwrap_err();
        assert!(error.report().contains("try_map at "));
        assert!(error.report().ends_with("bad line"));
    }
}
