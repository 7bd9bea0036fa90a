//! The step of `map_with_state`.

use std::time::Duration;

use super::handle::State;
use super::step::{Batch, Overlay, Step};
use crate::codec::{Decoder, Encoder};
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::travel::Portable;

/// What the user's function does with one record and its key's state.
#[doc(hidden)]
pub trait MapState<K, V, S>: Portable {
    /// What a record maps to.
    type Output: Data;

    fn map(
        &self,
        time_ms: i64,
        key: &K,
        value: Option<V>,
        state: &mut State<S>,
    ) -> Option<Self::Output>;
}

/// Calls a function once for each record, and once for each key whose time is out.
#[derive(Debug)]
#[doc(hidden)]
pub struct MapWithState<M> {
    pub function: M,
    pub timeout: Option<Duration>,
}

impl<M: Portable> Portable for MapWithState<M> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&self.timeout)?;
        self.function.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            timeout: decoder.take()?,
            function: M::decode(decoder)?,
        })
    }
}

impl<K: Key, V: Data, S: Data, M: MapState<K, V, S>> Step<K, V, S> for MapWithState<M> {
    type Output = M::Output;

    fn run(
        &self,
        batch: &Batch<'_>,
        mut records: PartitionIter<(K, V)>,
        overlay: &mut Overlay<'_, K, S>,
    ) -> Result<Vec<M::Output>> {
        let (function, time_ms) = (&self.function, batch.time_ms);
        let mut mapped = Vec::new();
        loop {
            let found = overlay.find(&mut records, |(key, _)| key)?;
            if found.is_empty() {
                break;
            }
            for ((key, value), at) in found {
                let output =
                    overlay.with_state((key, at), self.timeout.is_some(), |key, state| {
                        let call = || function.map(time_ms, key, Some(value), state);
                        batch.operator.call(call)
                    })?;
                mapped.extend(output);
            }
        }
        // After the records: a key that has one does not expire.
        if let Some(timeout) = self.timeout {
            let timeout_ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
            for (key, state) in overlay.expire(time_ms.saturating_sub(timeout_ms))? {
                let mut state = State::timing_out(state);
                let call = || function.map(time_ms, &key, None, &mut state);
                mapped.extend(batch.operator.call(call));
            }
        }
        Ok(mapped)
    }
}
