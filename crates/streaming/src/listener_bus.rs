//! Between the engine, which never waits, and the listeners, which may be slow.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tidemill_core::{Clock, Error, ErrorKind, Operator, Result, Waiter, catch};

use crate::listener::{StreamEvent, StreamListener};
use crate::notice;
use crate::scheduler::mark_own_thread;

/// Events that may wait to be heard.
const CAPACITY: usize = 10_000;

/// A listener and the line that added it.
pub(crate) type Listener = (Operator, Arc<dyn StreamListener>);

/// Carries events from the engine to the listeners.
#[derive(Clone)]
pub(crate) struct ListenerBus(Arc<Sender>);

/// The engine's end of the queue, which closes it.
struct Sender(Arc<Queue>);

/// The thread that listeners run on.
pub(crate) struct ListenerThread {
    queue: Arc<Queue>,
    ended: Waiter,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    events: VecDeque<StreamEvent>,
    /// Events that were dropped since the last that was taken in.
    missing: u64,
    /// The listener that hears an event now.
    hearing: Option<Operator>,
    /// Who was hearing when events were first dropped: it is warned of once.
    slow: Option<Option<Operator>>,
    has_told: bool,
    is_closed: bool,
}

impl Queue {
    fn post(&self, event: StreamEvent) {
        let mut state = self.state.lock();
        if state.is_closed {
            return;
        }
        // Once it was full it takes in nothing until half is heard: one long gap, not many.
        let limit = match state.missing {
            0 => CAPACITY,
            _ => CAPACITY / 2,
        };
        if state.events.len() < limit {
            let gap = state.end_gap();
            state.events.push_back(event);
            self.news.notify_one();
            drop(state);
            gap.tell();
            return;
        }
        state.missing += 1;
        if state.slow.is_none() {
            let slow = state.hearing.clone();
            state.slow = Some(slow.clone());
            drop(state);
            warn_of_slow(slow);
        }
    }

    fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let gap = state.end_gap();
        self.news.notify_all();
        drop(state);
        gap.tell();
    }

    /// Whoever hears an event now is the last to do so. Names the listener.
    fn abandon(&self) -> Option<Operator> {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.events.clear();
        state.hearing.clone()
    }

    /// The next event; `None` after the last.
    fn next(&self) -> Option<StreamEvent> {
        let mut state = self.state.lock();
        loop {
            if let Some(event) = state.events.pop_front() {
                return Some(event);
            }
            if state.is_closed {
                return None;
            }
            self.news.wait(&mut state);
        }
    }

    fn hear(&self, event: &StreamEvent, listeners: &[Listener]) {
        for (operator, listener) in listeners {
            self.state.lock().hearing = Some(operator.clone());
            let heard = catch(|| {
                listener.on_event(event);
                Ok(())
            });
            if let Err(error) = heard {
                tracing::error!(listener = %operator, error = %error.report(), "stream listener failed");
            }
        }
        self.state.lock().hearing = None;
    }
}

/// So many events were dropped one after the other, and whether that is news.
struct Gap(u64, bool);

impl State {
    /// Puts the gap where it is, between the events before and after it.
    fn end_gap(&mut self) -> Gap {
        let missing = std::mem::take(&mut self.missing);
        if missing > 0 {
            self.events.push_back(StreamEvent::EventsDropped(missing));
        }
        Gap(
            missing,
            missing > 0 && !std::mem::replace(&mut self.has_told, true),
        )
    }
}

impl Gap {
    fn tell(&self) {
        let Self(dropped, is_news) = self;
        if *is_news {
            notice::over(
                "stream listeners",
                &format!("events were dropped dropped={dropped}"),
            );
        } else if *dropped > 0 {
            tracing::debug!(dropped, "events were dropped");
        }
    }
}

fn warn_of_slow(listener: Option<Operator>) {
    let mut error = Error::new(ErrorKind::Unavailable, "too slow, events are being dropped");
    if let Some(listener) = listener {
        error = error.with("listener", listener);
    }
    let error = error.with("waiting", CAPACITY).with(
        "hint",
        "what takes time belongs on a thread of the listener's own",
    );
    notice::warn("stream listeners", &error);
}

impl ListenerBus {
    pub(crate) fn start(listeners: Vec<Listener>) -> Result<(Self, ListenerThread)> {
        let (queue, ended) = (Arc::new(Queue::default()), Waiter::new());
        let (own, end) = (Arc::clone(&queue), ended.clone());
        let thread = std::thread::Builder::new()
            .name("stream-listeners".to_owned())
            .spawn(move || {
                mark_own_thread();
                while let Some(event) = own.next() {
                    own.hear(&event, &listeners);
                }
                // What a listener holds is dropped here, and may panic.
                let _ = catch(|| {
                    drop(listeners);
                    Ok(())
                });
                end.wake();
            })
            .map_err(|e| Error::unavailable("no thread for listeners").caused_by(e))?;
        let thread = ListenerThread {
            queue: Arc::clone(&queue),
            ended,
            thread: Mutex::new(Some(thread)),
        };
        Ok((Self(Arc::new(Sender(queue))), thread))
    }

    /// Never waits for a listener.
    pub(crate) fn post(&self, event: StreamEvent) {
        self.0.0.post(event);
    }

    /// Nothing is heard after this but what was posted before.
    pub(crate) fn close(&self) {
        self.0.0.close();
    }
}

impl ListenerThread {
    /// Waits until all events have been heard, not beyond the deadline; the bus must be closed. A
    /// listener that has not by then hears nothing more.
    pub(crate) fn join_until(&self, clock: &dyn Clock, deadline_ms: i64) {
        if clock.wait_until(deadline_ms, &self.ended) {
            let mut error = Error::unavailable("a listener has not heard all, and is left behind");
            if let Some(listener) = self.queue.abandon() {
                error = error.with("listener", listener);
            }
            notice::warn("stream stopped", &error);
            // Nobody else waits for it either.
            drop(self.thread.lock().take());
            self.ended.wake();
        } else if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::time::Time;

    /// A bus whose listener waits for the gate before each event.
    fn gated() -> (
        ListenerBus,
        ListenerThread,
        std::sync::mpsc::Sender<()>,
        Receiver<i64>,
    ) {
        let (gate, permits) = channel();
        let (sender, heard) = channel();
        let permits = Mutex::new(permits);
        let listener = move |event: &StreamEvent| {
            let number = match event {
                StreamEvent::Started(time) => time.as_ms(),
                StreamEvent::EventsDropped(number) => -i64::try_from(*number).unwrap(),
                other => panic!("{other:?}"),
            };
            sender.send(number).unwrap();
            let _ = permits.lock().recv();
        };
        let operator = Operator::new("listener", Location::caller());
        let (bus, thread) = ListenerBus::start(vec![(operator, Arc::new(listener))]).unwrap();
        (bus, thread, gate, heard)
    }

    fn post(bus: &ListenerBus, numbers: std::ops::Range<i64>) {
        numbers.for_each(|n| bus.post(StreamEvent::Started(Time::from_ms(n))));
    }

    #[test]
    fn events_beyond_the_capacity_are_dropped_and_the_gap_is_in_its_place() {
        const FULL: i64 = CAPACITY as i64;
        let (bus, thread, gate, heard) = gated();
        post(&bus, 0..1);
        assert_eq!(heard.recv(), Ok(0));
        post(&bus, 1..FULL + 8);
        // One more is heard, and nothing is taken in before half are.
        gate.send(()).unwrap();
        assert_eq!(heard.recv(), Ok(1));
        post(&bus, FULL + 8..FULL + 10);
        for n in 2..FULL / 2 + 2 {
            gate.send(()).unwrap();
            assert_eq!(heard.recv(), Ok(n));
        }
        post(&bus, FULL + 10..FULL + 12);
        bus.close();
        post(&bus, FULL + 12..FULL + 14);
        drop(gate);
        let rest: Vec<i64> = heard.into_iter().collect();
        let expected = (FULL / 2 + 2..=FULL).chain([-9, FULL + 10, FULL + 11]);
        assert_eq!(rest, expected.collect::<Vec<_>>());
        thread.join_until(&tidemill_core::ManualClock::new(0), 0);
    }

    #[test]
    fn a_listener_left_behind_hears_nothing_more() {
        let (bus, thread, gate, heard) = gated();
        post(&bus, 0..3);
        assert_eq!(heard.recv(), Ok(0));
        bus.close();
        thread.join_until(&tidemill_core::ManualClock::new(5), 5);
        drop(gate);
        assert!(heard.recv().is_err());
    }
}
