//! The step of a window that is reduced with the help of an inverse function.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::handle::State;
use super::step::{Batch, Overlay, Step};
use crate::codec::{Decoder, Encoder};
use crate::combine::Reduce;
use crate::data::{Data, Key, PartitionIter};
use crate::error::{Error, Result};
use crate::function::Function2;
use crate::operator::abort_task;
use crate::travel::Portable;

/// The reduced value of a batch that the window leaves behind, or that it now covers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[doc(hidden)]
pub enum Side<V> {
    Leaving(V),
    Entering(V),
}

/// The window before, without what leaves, with what enters.
#[derive(Debug)]
#[doc(hidden)]
pub struct InverseWindow<F, G, H> {
    pub reduce: Arc<Reduce<F>>,
    pub inverse: G,
    /// Which pairs stay.
    pub filter: H,
}

impl<F: Portable, G: Portable, H: Portable> Portable for InverseWindow<F, G, H> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.reduce.encode(encoder)?;
        self.inverse.encode(encoder)?;
        self.filter.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            reduce: Arc::new(Reduce::decode(decoder)?),
            inverse: G::decode(decoder)?,
            filter: H::decode(decoder)?,
        })
    }
}

/// No filter: every pair stays.
#[derive(Debug)]
#[doc(hidden)]
pub struct KeepAll;

impl Portable for KeepAll {
    fn encode(&self, _: &mut Encoder<'_>) -> Result<()> {
        Ok(())
    }

    fn decode(_: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self)
    }
}

impl<A, B> Function2<A, B> for KeepAll {
    type Output = bool;

    fn call(&self, _: A, _: B) -> bool {
        true
    }
}

/// What leaves and what enters, each reduced.
struct Both<V> {
    leaving: Option<V>,
    entering: Option<V>,
}

impl<F, G, H> InverseWindow<F, G, H> {
    fn next<V>(&self, before: Option<V>, both: Both<V>) -> V
    where
        F: Function2<V, V, Output = V>,
        G: Function2<V, V, Output = V>,
    {
        let Both { leaving, entering } = both;
        let Some(before) = before else {
            return entering.unwrap_or_else(|| {
                abort_task(Error::invalid(
                    "neither previous window has value for key, nor new values found: are you \
                     sure your key class hashes consistently?",
                ))
            });
        };
        let without = match leaving {
            Some(leaving) => self.inverse.call(before, leaving),
            None => before,
        };
        match entering {
            Some(entering) => self.reduce.0.call(without, entering),
            None => without,
        }
    }
}

impl<K, V, F, G, H> Step<K, Side<V>, V> for InverseWindow<F, G, H>
where
    K: Key,
    V: Data,
    F: Function2<V, V, Output = V>,
    G: Function2<V, V, Output = V>,
    H: for<'a, 'b> Function2<&'a K, &'b V, Output = bool>,
{
    type Output = ();

    fn run(
        &self,
        batch: &Batch<'_>,
        records: PartitionIter<(K, Side<V>)>,
        overlay: &mut Overlay<'_, K, V>,
    ) -> Result<Vec<()>> {
        let mut keys: HashMap<K, Both<V>, FixedState> =
            HashMap::with_hasher(FixedState::with_seed(batch.seed));
        for (key, side) in records {
            let both = keys.entry(key).or_insert(Both {
                leaving: None,
                entering: None,
            });
            let (reduced, value) = match side {
                Side::Leaving(value) => (&mut both.leaving, value),
                Side::Entering(value) => (&mut both.entering, value),
            };
            *reduced = Some(match reduced.take() {
                Some(before) => batch.operator.call(|| self.reduce.0.call(before, value)),
                None => value,
            });
        }
        let mut keys = keys.into_iter();
        loop {
            let found = overlay.find(&mut keys, |(key, _)| key)?;
            if found.is_empty() {
                return Ok(Vec::new());
            }
            for ((key, both), at) in found {
                overlay.with_state((key, at), false, |key, state: &mut State<V>| {
                    batch.operator.call(|| {
                        let value = self.next(state.get().cloned(), both);
                        if self.filter.call(key, &value) {
                            state.update(value);
                        } else {
                            state.remove();
                        }
                    });
                })?;
            }
        }
    }
}
