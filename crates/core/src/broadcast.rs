//! Broadcast variables: a value that every process fetches once.

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::RwLock;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec;
use crate::context::Context;
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::operator::{Operator, abort_task};
use crate::storage::{Block, BlockData, BlockId, BlockStore};
use crate::task::{TaskContext, is_in_task};

/// A value that is sent to each process once, however many tasks read it.
///
/// What travels with a function is its id; the value is fetched by the first task of a process
/// that reads it, and kept there. It goes with the last handle in the driver.
///
/// ```
/// use std::collections::HashMap;
/// use tidemill_core::Context;
///
/// let ctx = Context::local(2)?;
/// let names = ctx.broadcast(HashMap::from([(1, "one".to_owned()), (2, "two".to_owned())]))?;
/// let named = ctx.range(0..4).with(names.clone()).flat_map(|names, x| names.read().get(&x).cloned());
/// assert_eq!(named.collect()?, ["one", "two"]);
/// names.destroy()?;
/// assert!(named.collect().is_err_and(|error| error.to_string().contains("broadcast")));
/// # Ok::<(), tidemill_core::Error>(())
/// ```
pub struct Broadcast<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    id: u64,
    operator: Operator,
    place: Place<T>,
}

enum Place<T> {
    Driver {
        state: RwLock<State<T>>,
        blocks: Weak<dyn BlockStore>,
    },
    /// A task that came as bytes.
    Away {
        generation: u32,
        is_destroyed: bool,
        value: OnceLock<Arc<T>>,
    },
}

struct State<T> {
    /// `None` when it was destroyed.
    value: Option<Arc<T>>,
    generation: u32,
}

impl<T: Data> Broadcast<T> {
    /// The value.
    ///
    /// # Errors
    /// `Invalid` when it was destroyed, or is read outside of a task in a process that is not the
    /// driver; `Unavailable` when the driver does not answer.
    pub fn value(&self) -> Result<Arc<T>> {
        match &self.shared.place {
            Place::Driver { state, .. } => {
                let value = state.read().value.clone();
                value.ok_or_else(|| self.destroyed())
            }
            Place::Away {
                is_destroyed: true, ..
            } => Err(self.destroyed()),
            Place::Away {
                generation, value, ..
            } => match value.get() {
                Some(value) => Ok(Arc::clone(value)),
                None => {
                    let fetched = self.fetch(*generation)?;
                    Ok(Arc::clone(value.get_or_init(|| fetched)))
                }
            },
        }
    }

    /// The value, in a function of an operator. A value that is not there fails the task with the
    /// error of [`value`](Self::value).
    ///
    /// # Panics
    /// Outside of a task, when the value was destroyed.
    #[must_use]
    pub fn read(&self) -> Arc<T> {
        match self.value() {
            Ok(value) => value,
            Err(error) => abort_task(error.with("broadcast", &self.shared.operator)),
        }
    }

    /// Forgets the copies outside the driver. A later use fetches the value again.
    ///
    /// # Errors
    /// `Invalid` in a task, or when it was destroyed; `Unavailable` when the block store does not
    /// answer.
    pub fn unpersist(&self) -> Result<()> {
        let (state, blocks) = self.driver()?;
        let mut state = state.write();
        if state.value.is_none() {
            return Err(self.destroyed());
        }
        let Some(blocks) = blocks.upgrade() else {
            return Ok(());
        };
        // Copies of the old block are of no use to anybody who holds the new generation.
        let old = self.block_id(state.generation);
        if let Some(block) = blocks.get(old)? {
            blocks.put(self.block_id(state.generation + 1), block.undecoded())?;
            state.generation += 1;
            blocks.remove(&mut std::iter::once(old));
        }
        Ok(())
    }

    /// Forgets the value everywhere. Any later use is an error. Harmless when called again.
    ///
    /// # Errors
    /// `Invalid` in a task.
    pub fn destroy(&self) -> Result<()> {
        let (state, blocks) = self.driver()?;
        let mut state = state.write();
        state.value = None;
        if let Some(blocks) = blocks.upgrade() {
            blocks.remove(&mut std::iter::once(self.block_id(state.generation)));
        }
        Ok(())
    }

    fn driver(&self) -> Result<(&RwLock<State<T>>, &Weak<dyn BlockStore>)> {
        match &self.shared.place {
            Place::Driver { state, blocks } if !is_in_task() => Ok((state, blocks)),
            _ => Err(Error::invalid(
                "a broadcast can be unpersisted or destroyed in the driver only",
            )
            .with("id", self.shared.id)
            .with("broadcast", &self.shared.operator)),
        }
    }

    fn fetch(&self, generation: u32) -> Result<Arc<T>> {
        let task = TaskContext::current().ok_or_else(|| {
            Error::invalid("a broadcast is read outside of a task").with("id", self.shared.id)
        })?;
        let block = task.blocks().get(self.block_id(generation))?;
        // The task was sent before that happened: the next attempt knows better.
        let block = block.ok_or_else(|| {
            Error::unavailable("broadcast was unpersisted or destroyed meanwhile")
                .with("id", self.shared.id)
                .with("broadcast", &self.shared.operator)
        })?;
        Ok(Arc::clone(&block.read_once::<Whole<T>>()?.value))
    }
}

impl<T> Broadcast<T> {
    /// Counts up in a context.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    fn block_id(&self, generation: u32) -> BlockId {
        let id = self.shared.id;
        BlockId::Broadcast { id, generation }
    }

    fn destroyed(&self) -> Error {
        Error::invalid("attempted to use a broadcast after it was destroyed")
            .with("id", self.shared.id)
            .with("broadcast", &self.shared.operator)
    }
}

impl Context {
    /// Makes `value` readable in tasks, where it is sent once for each process.
    ///
    /// *Cost* the value is encoded once, now; it stays in the driver's memory until the last
    /// handle goes.
    ///
    /// # Errors
    /// `Invalid` when the value cannot be encoded.
    #[track_caller]
    pub fn broadcast<T: Data>(&self, value: T) -> Result<Broadcast<T>> {
        let operator = Operator::new("broadcast", Location::caller());
        let refused = |error: Error| error.with("operator", &operator);
        let size_bytes = codec::encode(&value).map_err(refused)?.len();
        let value = Arc::new(value);
        let id = self.next_broadcast();
        let block = Block::of(Whole {
            value: Arc::clone(&value),
            size_bytes,
        });
        let generation = 0;
        self.blocks()
            .put(BlockId::Broadcast { id, generation }, block)?;
        let value = Some(value);
        let shared = Arc::new(Shared {
            id,
            operator,
            place: Place::Driver {
                state: RwLock::new(State { value, generation }),
                blocks: Arc::downgrade(self.blocks()),
            },
        });
        Ok(Broadcast { shared })
    }
}

/// The last handle in the driver takes the block along.
impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let id = self.id;
        if let Place::Driver { state, blocks } = &self.place
            && let Some(blocks) = blocks.upgrade()
        {
            let generation = state.read().generation;
            blocks.remove(&mut std::iter::once(BlockId::Broadcast { id, generation }));
        }
    }
}

impl<T> Clone for Broadcast<T> {
    fn clone(&self) -> Self {
        let shared = Arc::clone(&self.shared);
        Self { shared }
    }
}

impl<T> fmt::Debug for Broadcast<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("id", &self.shared.id)
            .finish_non_exhaustive()
    }
}

/// What travels is the id, and what has become of the value.
#[derive(Serialize, Deserialize)]
struct Portrait {
    id: u64,
    operator: Operator,
    generation: u32,
    is_destroyed: bool,
}

impl<T> Serialize for Broadcast<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (generation, is_destroyed) = match &self.shared.place {
            Place::Driver { state, .. } => {
                let state = state.read();
                (state.generation, state.value.is_none())
            }
            Place::Away {
                generation,
                is_destroyed,
                ..
            } => (*generation, *is_destroyed),
        };
        Portrait {
            id: self.shared.id,
            operator: self.shared.operator.clone(),
            generation,
            is_destroyed,
        }
        .serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Broadcast<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let portrait = Portrait::deserialize(deserializer)?;
        let shared = Arc::new(Shared {
            id: portrait.id,
            operator: portrait.operator,
            place: Place::Away {
                generation: portrait.generation,
                is_destroyed: portrait.is_destroyed,
                value: OnceLock::new(),
            },
        });
        Ok(Self { shared })
    }
}

/// A block of one value.
#[derive(Serialize, Deserialize)]
#[serde(bound = "T: Data")]
struct Whole<T> {
    value: Arc<T>,
    #[serde(skip)]
    size_bytes: usize,
}

impl<T: Data> BlockData for Whole<T> {
    type Item = T;

    fn num_records(&self) -> u64 {
        1
    }

    fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    fn iterate(block: Arc<Self>) -> PartitionIter<T> {
        Box::new(std::iter::once(T::clone(&block.value)))
    }
}
