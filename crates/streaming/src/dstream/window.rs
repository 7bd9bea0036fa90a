//! `Window`: how far back a windowed operator looks, and how often.

use std::fmt;
use std::time::Duration;

use tidemill_core::{Error, Operator, Result};

use crate::time::is_multiple;

/// The window of a windowed operator: the batches of the last `span`, anew every `slide`.
///
/// A window that ends at `T` covers the batches in `(T - span, T]`; the first ones, before the
/// stream is as old as the span, cover what there is. Both spans must be whole multiples of the
/// slide of the stream that is windowed. A slide longer than the span leaves batches out.
///
/// ```
/// use std::time::Duration;
/// use tidemill_streaming::Window;
///
/// let secs = Duration::from_secs;
/// let window = Window::of(secs(30)).every(secs(10));
/// assert_eq!((window.span(), window.slide()), (secs(30), Some(secs(10))));
/// // As often as the stream itself has batches:
/// assert_eq!(Window::of(secs(30)).slide(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Window {
    span: Duration,
    slide: Option<Duration>,
}

impl Window {
    /// The last `span`, as often as the windowed stream has batches.
    pub const fn of(span: Duration) -> Self {
        Self { span, slide: None }
    }

    /// The same span, once every `slide`.
    pub const fn every(self, slide: Duration) -> Self {
        Self {
            span: self.span,
            slide: Some(slide),
        }
    }

    /// How far back it looks.
    #[must_use]
    pub const fn span(self) -> Duration {
        self.span
    }

    /// How often it comes; `None`: as often as the windowed stream has batches.
    #[must_use]
    pub const fn slide(self) -> Option<Duration> {
        self.slide
    }

    /// How often it comes over a parent of this slide.
    pub(crate) fn slide_over(self, parent_slide: Duration) -> Duration {
        self.slide.unwrap_or(parent_slide)
    }

    /// Refuses spans that are not whole multiples of the slide of the stream that is windowed.
    pub(crate) fn validate(self, operator: &Operator, parent_slide: Duration) -> Result<()> {
        let spans = [
            ("window", self.span),
            ("slide", self.slide_over(parent_slide)),
        ];
        for (what, span) in spans {
            let (span, parent) = (InMs(span), InMs(parent_slide));
            let refuse = |text: String, hint: String| {
                Err(Error::invalid(text)
                    .with("operator", operator)
                    .with("hint", hint))
            };
            if span.0.is_zero() {
                let text = format!("the {what} duration of windowed DStream must be positive");
                return refuse(text, format!("for example {parent}, one batch"));
            }
            if !is_multiple(span.0, parent_slide) {
                let text = format!(
                    "the {what} duration of windowed DStream ({span}) must be a multiple of the \
                     slide duration of parent DStream ({parent})"
                );
                return refuse(text, format!("make it {}", nearest(span, parent)));
            }
        }
        Ok(())
    }
}

/// `30000 ms`, or `30000 ms every 10000 ms`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", InMs(self.span))?;
        match self.slide {
            Some(slide) => write!(f, " every {}", InMs(slide)),
            None => Ok(()),
        }
    }
}

/// A span as messages write it.
#[derive(Clone, Copy)]
struct InMs(Duration);

impl fmt::Display for InMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_nanos().is_multiple_of(1_000_000) {
            write!(f, "{} ms", self.0.as_millis())
        } else {
            write!(f, "{:?}", self.0)
        }
    }
}

/// The multiples of `unit` on either side of `span`.
fn nearest(span: InMs, unit: InMs) -> String {
    let below = span.0.as_nanos() / unit.0.as_nanos().max(1);
    let times = |n: u128| {
        let n = u32::try_from(n).ok()?;
        unit.0.checked_mul(n).map(|span| InMs(span).to_string())
    };
    match (below, times(below), times(below.saturating_add(1))) {
        (1.., Some(below), Some(above)) => format!("{below} or {above}"),
        (0, _, Some(above)) => above,
        _ => format!("a multiple of {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn refusal(window: Window) -> String {
        let operator = Operator::new("window", Location::caller());
        let error = window.validate(&operator, ms(1_000)).unwrap_err();
        error.to_string()
    }

    // S-101
    #[test]
    fn a_window_is_made_of_whole_batches() {
        let operator = Operator::new("window", Location::caller());
        let valid = [
            Window::of(ms(1_000)),
            Window::of(ms(3_000)).every(ms(2_000)),
            Window::of(ms(1_000)).every(ms(3_000)),
        ];
        for window in valid {
            window.validate(&operator, ms(1_000)).unwrap();
        }
        let text = refusal(Window::of(ms(1_500)));
        let expected = "the window duration of windowed DStream (1500 ms) must be a multiple of \
                        the slide duration of parent DStream (1000 ms)";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("make it 1000 ms or 2000 ms"), "{text}");
        let text = refusal(Window::of(ms(1_000)).every(ms(100)));
        let expected = "the slide duration of windowed DStream (100 ms) must be a multiple of";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("make it 1000 ms"), "{text}");
        let text = refusal(Window::of(Duration::from_micros(1_500)));
        assert!(text.contains("(1.5ms)"), "{text}");
    }

    #[test]
    fn a_window_of_no_length_is_refused() {
        for window in [
            Window::of(Duration::ZERO),
            Window::of(ms(1_000)).every(Duration::ZERO),
        ] {
            let text = refusal(window);
            assert!(text.contains("must be positive"), "{text}");
        }
    }

    #[test]
    fn a_window_beyond_all_time_has_a_message() {
        let text = refusal(Window::of(Duration::MAX));
        assert!(text.contains("must be a multiple"), "{text}");
    }

    #[test]
    fn a_window_prints_its_spans() {
        let window = Window::of(ms(30_000)).every(ms(10_000));
        assert_eq!(window.to_string(), "30000 ms every 10000 ms");
        assert_eq!(Window::of(ms(1)).to_string(), "1 ms");
    }
}
