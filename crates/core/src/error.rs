//! One error type: a coarse kind that says what to do, a message, facts, and the cause.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The result of every fallible call of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The program is wrong: change it.
    Invalid,
    /// Something outside is away for the moment: try again.
    Unavailable,
    /// Stored or received data is damaged.
    Data,
    /// A function given by the user failed or panicked.
    User,
    /// The context, stream or peer has been stopped.
    Closed,
    /// The job was cancelled.
    Cancelled,
    /// The combination is not supported, here or yet.
    Unsupported,
    /// A bug of Tidemill.
    Internal,
}

/// An error of the engine. Cheap to clone, so that a failure can be reported to every waiter.
#[derive(Clone)]
pub struct Error {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(String, String)>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` is lower case without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            inner: Arc::new(Inner {
                kind,
                message,
                context: Vec::new(),
                source: None,
            }),
        }
    }

    /// The program is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// A bug of Tidemill.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Stored or received data is damaged.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// Something outside is away for the moment.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Adds a fact, printed as ` key=value` after the message.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        Arc::make_mut(&mut self.inner)
            .context
            .push((key.into(), value.to_string()));
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Arc::make_mut(&mut self.inner).source = Some(Arc::from(source.into()));
        self
    }

    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The message without facts and cause.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The facts, in the order they were added.
    pub fn context(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inner
            .context
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// The value of one fact.
    #[must_use]
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.context().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// Whether the same call may succeed later without a change to the program.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }

    /// The message, facts and all causes in one line.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        for (key, value) in &self.inner.context {
            write!(f, " {key}={value}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind(), self.report())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .source
            .as_ref()
            .map(|s| s.as_ref() as &(dyn StdError + 'static))
    }
}

/// How an error crosses a process boundary: the cause becomes text.
#[derive(Serialize, Deserialize)]
struct Portrait {
    kind: ErrorKind,
    message: String,
    context: Vec<(String, String)>,
    source: Option<String>,
}

impl Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Portrait {
            kind: self.kind(),
            message: self.inner.message.clone(),
            context: self.inner.context.clone(),
            source: self.source().map(ToString::to_string),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let portrait = Portrait::deserialize(deserializer)?;
        let error = Self {
            inner: Arc::new(Inner {
                kind: portrait.kind,
                message: portrait.message,
                context: portrait.context,
                source: None,
            }),
        };
        Ok(match portrait.source {
            Some(text) => error.caused_by(text),
            None => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_follow_the_message_and_causes_follow_the_facts() {
        let error = Error::data("record is torn")
            .with("file", "a.log")
            .caused_by("short read");
        assert_eq!(error.to_string(), "record is torn file=a.log");
        assert_eq!(error.report(), "record is torn file=a.log: short read");
        assert_eq!(error.fact("file"), Some("a.log"));
    }

    #[test]
    fn an_error_survives_the_trip_to_another_process() {
        let error = Error::invalid("no").with("line", 3).caused_by("because");
        let bytes = postcard::to_allocvec(&error).unwrap();
        let back: Error = postcard::from_bytes(&bytes).unwrap();
        assert_eq!((back.kind(), back.report()), (error.kind(), error.report()));
    }
}
