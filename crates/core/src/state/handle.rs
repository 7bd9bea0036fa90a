//! `State`: what the user's function sees of one key.

use std::fmt;

use crate::error::Error;
use crate::operator::abort_task;

/// The state of one key, in the hands of the function of `map_with_state`.
///
/// Misuse (an update after a removal, any change of a state that is timing out) fails the batch
/// with an error of kind `Invalid`. Prints as its value, or as `<state not set>`.
///
/// ```
/// use tidemill_core::state::State;
///
/// let mut state = State::of(Some(3));
/// assert_eq!((state.exists(), state.get()), (true, Some(&3)));
/// state.update(4);
/// assert_eq!(state.to_string(), "4");
/// state.remove();
/// assert_eq!((state.exists(), state.to_string()), (false, "<state not set>".to_owned()));
/// ```
#[derive(Debug)]
pub struct State<S> {
    value: Option<S>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    AsFound,
    Updated,
    Removed,
    TimingOut,
}

/// What the function has done to it.
#[derive(Debug, PartialEq)]
pub(super) enum Left<S> {
    AsFound(Option<S>),
    Updated(Option<S>),
    Removed,
}

impl<S> State<S> {
    /// A state as the function finds it: for tests of such functions.
    #[must_use]
    pub fn of(value: Option<S>) -> Self {
        Self {
            value,
            phase: Phase::AsFound,
        }
    }

    /// A state that is timing out: for tests of such functions.
    #[must_use]
    pub fn timing_out(value: S) -> Self {
        Self {
            value: Some(value),
            phase: Phase::TimingOut,
        }
    }

    pub(super) fn leave(self) -> Left<S> {
        match self.phase {
            Phase::AsFound => Left::AsFound(self.value),
            Phase::Updated => Left::Updated(self.value),
            Phase::Removed | Phase::TimingOut => Left::Removed,
        }
    }

    /// Whether there is one.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.value.is_some()
    }

    /// The state, if there is one.
    #[must_use]
    pub fn get(&self) -> Option<&S> {
        self.value.as_ref()
    }

    /// The state. Fails the batch when there is none.
    #[must_use]
    pub fn value(&self) -> &S {
        match &self.value {
            Some(value) => value,
            None => misuse("state is not set"),
        }
    }

    /// Replaces the state. Fails the batch after `remove`, and when the state is timing out.
    pub fn update(&mut self, value: S) {
        match self.phase {
            Phase::Removed => misuse("cannot update the state after it has been removed"),
            Phase::TimingOut => misuse("cannot update the state that is timing out"),
            Phase::AsFound | Phase::Updated => {}
        }
        self.value = Some(value);
        self.phase = Phase::Updated;
    }

    /// Removes the state; one that was never set too. Fails the batch the second time, and when
    /// the state is timing out.
    pub fn remove(&mut self) {
        match self.phase {
            Phase::Removed => misuse("cannot remove the state that has already been removed"),
            Phase::TimingOut => misuse("cannot remove the state that is timing out"),
            Phase::AsFound | Phase::Updated => {}
        }
        self.value = None;
        self.phase = Phase::Removed;
    }

    /// Whether nobody has touched the key for the time-out, and it goes after this call.
    #[must_use]
    pub fn is_timing_out(&self) -> bool {
        self.phase == Phase::TimingOut
    }
}

/// Ends the task that runs the function: the batch fails with this error.
fn misuse(what: &str) -> ! {
    abort_task(Error::invalid(what))
}

impl<S: fmt::Display> fmt::Display for State<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => value.fmt(f),
            None => f.write_str("<state not set>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::operator::catch;

    fn error_of(mut state: State<i32>, misuse: impl Fn(&mut State<i32>)) -> String {
        let error = catch(|| {
            misuse(&mut state);
            Ok(())
        });
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.message().to_owned()
    }

    // S-118
    #[test]
    fn misuse_is_told_in_the_known_words() {
        let found = || State::of(Some(1));
        let cases: [(String, &str); 7] = [
            (
                error_of(found(), |state| {
                    state.remove();
                    state.update(2);
                }),
                "cannot update the state after it has been removed",
            ),
            (
                error_of(State::timing_out(1), |state| state.update(2)),
                "cannot update the state that is timing out",
            ),
            (
                error_of(State::timing_out(1), State::remove),
                "cannot remove the state that is timing out",
            ),
            (
                error_of(found(), |state| {
                    state.remove();
                    state.remove();
                }),
                "cannot remove the state that has already been removed",
            ),
            (
                error_of(State::of(None), |state| {
                    state.remove();
                    state.remove();
                }),
                "cannot remove the state that has already been removed",
            ),
            (
                error_of(State::of(None), |state| {
                    let _ = state.value();
                }),
                "state is not set",
            ),
            (
                error_of(found(), |state| {
                    state.remove();
                    let _ = state.value();
                }),
                "state is not set",
            ),
        ];
        for (got, expected) in cases {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn what_was_done_is_left() {
        let mut state = State::of(None);
        state.update(1);
        state.remove();
        assert_eq!(state.leave(), Left::Removed);
        let mut state = State::of(Some(1));
        state.update(2);
        assert!(!state.is_timing_out());
        assert_eq!(state.leave(), Left::Updated(Some(2)));
        assert_eq!(State::of(Some(1)).leave(), Left::AsFound(Some(1)));
        assert_eq!(State::timing_out(1).leave(), Left::Removed);
    }
}
