//! Accumulators: what tasks add up on the side.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec;
use crate::context::Context;
use crate::data::Data;
use crate::error::{Error, Result};
use crate::operator::catch;
use crate::task::{TaskContext, is_in_task};

/// How the value of an accumulator grows. Implement it for accumulators of your own; the order in
/// which tasks are merged is not fixed.
pub trait Accumulate: Data {
    /// What is added.
    type Item;

    /// Takes in one item.
    fn add(&mut self, item: Self::Item);

    /// Takes in what another task has added up, starting from the same zero.
    fn merge(&mut self, other: Self);
}

/// A value that tasks add to and the driver reads.
///
/// Functions get it through `with`. A task adds to a value of its own, which begins as the zero
/// and is merged into the driver's when the task has succeeded:
///
/// - what was added in the function of an *action* counts exactly once for each partition, however
///   often tasks are tried again;
/// - what was added in a *transformation* counts once for each successful task that evaluates it:
///   not at all without an action, again for each further action, again for a map task that is run
///   again because its output was lost, and not where a cached partition or an existing map output
///   makes the evaluation needless;
/// - a failed attempt contributes nothing.
///
/// ```
/// use tidemill_core::Context;
///
/// let ctx = Context::local(2)?;
/// let odd = ctx.long_accumulator("odd numbers");
/// ctx.range(0..10).with(odd.clone()).for_each(|odd, x| {
///     if x % 2 == 1 {
///         odd.add(x);
///     }
/// })?;
/// let sum = odd.value()?;
/// assert_eq!((sum.sum, sum.count, sum.mean()), (25, 5, 5.0));
/// # Ok::<(), tidemill_core::Error>(())
/// ```
pub struct Accumulator<A> {
    shared: Arc<Shared<A>>,
}

struct Shared<A> {
    id: u64,
    name: String,
    zero: A,
    /// The driver's value; a task in another process has none.
    value: Option<Mutex<A>>,
}

/// Adds up whole numbers.
pub type LongAccumulator = Accumulator<LongSum>;

/// Adds up floating point numbers.
pub type DoubleAccumulator = Accumulator<DoubleSum>;

/// Collects items, in no fixed order.
pub type CollectionAccumulator<T> = Accumulator<Vec<T>>;

impl<A: Accumulate> Accumulator<A> {
    /// Adds `item`: in a task to the task's own value, else to the driver's.
    pub fn add(&self, item: A::Item) {
        if let Some(task) = TaskContext::current() {
            let zero = || self.shared.zero.clone();
            task.update(self.shared.id, zero, |value: &mut A| value.add(item));
        } else if let Some(value) = &self.shared.value {
            value.lock().add(item);
        } else {
            tracing::warn!(accumulator = %self.shared.name, "added outside of any task: lost");
        }
    }

    /// What was added so far.
    ///
    /// # Errors
    /// `Invalid` in a task: only the driver knows the value.
    pub fn value(&self) -> Result<A> {
        Ok(self.driver_value("read")?.lock().clone())
    }

    /// Sets the value. What running tasks have added still comes on top.
    ///
    /// # Errors
    /// `Invalid` in a task.
    pub fn set(&self, value: A) -> Result<()> {
        *self.driver_value("set")?.lock() = value;
        Ok(())
    }

    /// Sets the value to the zero it began with.
    ///
    /// # Errors
    /// `Invalid` in a task.
    pub fn reset(&self) -> Result<()> {
        self.set(self.shared.zero.clone())
    }

    fn driver_value(&self, what: &str) -> Result<&Mutex<A>> {
        let value = self.shared.value.as_ref().filter(|_| !is_in_task());
        value.ok_or_else(|| {
            let message = format!("an accumulator can be {what} in the driver only");
            Error::invalid(message).with("accumulator", &self.shared.name)
        })
    }
}

impl<A> Accumulator<A> {
    /// Counts up in a context.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }
}

impl<A> Clone for Accumulator<A> {
    fn clone(&self) -> Self {
        let shared = Arc::clone(&self.shared);
        Self { shared }
    }
}

impl<A> fmt::Debug for Accumulator<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accumulator")
            .field("id", &self.shared.id)
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}

/// What travels is the name and the zero.
impl<A: Serialize> Serialize for Accumulator<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.shared.id, &self.shared.name, &self.shared.zero).serialize(serializer)
    }
}

impl<'de, A: DeserializeOwned> Deserialize<'de> for Accumulator<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (id, name, zero) = Deserialize::deserialize(deserializer)?;
        let shared = Arc::new(Shared {
            id,
            name,
            zero,
            value: None,
        });
        Ok(Self { shared })
    }
}

/// The sum, number and mean of whole numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongSum {
    /// The sum; wraps around at the ends of the type.
    pub sum: i64,
    /// How many numbers were added.
    pub count: u64,
}

impl LongSum {
    /// The mean; not a number when nothing was added.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.count as f64
    }
}

impl Accumulate for LongSum {
    type Item = i64;

    fn add(&mut self, item: i64) {
        self.sum = self.sum.wrapping_add(item);
        self.count += 1;
    }

    fn merge(&mut self, other: Self) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.count += other.count;
    }
}

/// The sum, number and mean of floating point numbers. Tasks are merged in no fixed order, so the
/// last bits of the sum may differ from run to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DoubleSum {
    /// The sum.
    pub sum: f64,
    /// How many numbers were added.
    pub count: u64,
}

impl DoubleSum {
    /// The mean; not a number when nothing was added.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

impl Accumulate for DoubleSum {
    type Item = f64;

    fn add(&mut self, item: f64) {
        self.sum += item;
        self.count += 1;
    }

    fn merge(&mut self, other: Self) {
        self.sum += other.sum;
        self.count += other.count;
    }
}

impl<T: Data> Accumulate for Vec<T> {
    type Item = T;

    fn add(&mut self, item: T) {
        self.push(item);
    }

    fn merge(&mut self, other: Self) {
        self.extend(other);
    }
}

impl Context {
    /// A new accumulator that begins with `zero`, in the driver and in each task. The zero should
    /// change nothing when it is merged.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use tidemill_core::{Accumulate, Context};
    ///
    /// #[derive(Clone, Serialize, Deserialize)]
    /// struct Longest(String);
    ///
    /// impl Accumulate for Longest {
    ///     type Item = String;
    ///     fn add(&mut self, word: String) {
    ///         if word.len() > self.0.len() {
    ///             self.0 = word;
    ///         }
    ///     }
    ///     fn merge(&mut self, other: Self) {
    ///         self.add(other.0);
    ///     }
    /// }
    ///
    /// let ctx = Context::local(2)?;
    /// let longest = ctx.accumulator("longest word", Longest(String::new()));
    /// let words = ctx.parallelize(["to", "tide", "or"].map(String::from));
    /// words.with(longest.clone()).for_each(|longest, word| longest.add(word))?;
    /// assert_eq!(longest.value()?.0, "tide");
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    pub fn accumulator<A: Accumulate>(&self, name: &str, zero: A) -> Accumulator<A> {
        let shared = self.accumulators().register(|id| Shared {
            id,
            name: name.to_owned(),
            value: Some(Mutex::new(zero.clone())),
            zero,
        });
        Accumulator { shared }
    }

    /// A new accumulator of whole numbers.
    #[must_use]
    pub fn long_accumulator(&self, name: &str) -> LongAccumulator {
        self.accumulator(name, LongSum::default())
    }

    /// A new accumulator of floating point numbers.
    #[must_use]
    pub fn double_accumulator(&self, name: &str) -> DoubleAccumulator {
        self.accumulator(name, DoubleSum::default())
    }

    /// A new accumulator that collects items.
    #[must_use]
    pub fn collection_accumulator<T: Data>(&self, name: &str) -> CollectionAccumulator<T> {
        self.accumulator(name, Vec::new())
    }
}

/// The accumulators of a context that somebody still holds.
#[derive(Default)]
pub(crate) struct Accumulators {
    state: Mutex<(u64, HashMap<u64, Weak<dyn Merge>>)>,
}

/// An accumulator of any type.
trait Merge: Send + Sync {
    fn merge(&self, update: Update) -> Result<()>;
}

impl<A: Accumulate> Merge for Shared<A> {
    fn merge(&self, update: Update) -> Result<()> {
        let Some(value) = &self.value else {
            return Ok(());
        };
        let other = update.into_value::<A>()?;
        catch(|| {
            value.lock().merge(other);
            Ok(())
        })
        .map_err(|error| error.with("accumulator", &self.name))
    }
}

impl Accumulators {
    fn register<A: Accumulate>(&self, make: impl FnOnce(u64) -> Shared<A>) -> Arc<Shared<A>> {
        let (next, all) = &mut *self.state.lock();
        all.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::new(make(*next));
        let weak: Weak<Shared<A>> = Arc::downgrade(&shared);
        all.insert(*next, weak);
        *next += 1;
        shared
    }

    /// Merges what a task has added. Where that fails the task has still succeeded.
    pub(crate) fn apply(&self, updates: Updates) {
        for (id, update) in updates.0 {
            let shared = self.state.lock().1.get(&id).and_then(Weak::upgrade);
            if let Some(Err(error)) = shared.map(|shared| shared.merge(update)) {
                tracing::error!(error = %error.report(), "accumulator was not updated");
            }
        }
    }
}

impl fmt::Debug for Accumulators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accumulators")
            .field("num_held", &self.state.lock().1.len())
            .finish()
    }
}

/// What one task has added to accumulators.
#[derive(Debug, Default)]
pub struct Updates(Vec<(u64, Update)>);

enum Update {
    Value {
        value: Box<dyn Any + Send>,
        encode: fn(&(dyn Any + Send)) -> Result<Vec<u8>>,
    },
    Encoded(Vec<u8>),
}

impl Update {
    fn into_value<A: Data>(self) -> Result<A> {
        match self {
            Self::Encoded(bytes) => codec::decode(&bytes),
            Self::Value { value, .. } => match value.downcast() {
                Ok(value) => Ok(*value),
                Err(_) => Err(Error::internal("update of another type")),
            },
        }
    }
}

impl fmt::Debug for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Update")
    }
}

impl Updates {
    /// The value for accumulator `id`, to be changed and [`put`](Self::put) back.
    pub(crate) fn take<A: Data>(&mut self, id: u64) -> Option<Box<A>> {
        let at = self.0.iter().position(|(other, _)| *other == id)?;
        match self.0.swap_remove(at).1 {
            Update::Value { value, .. } => value.downcast().ok(),
            Update::Encoded(_) => None,
        }
    }

    pub(crate) fn put<A: Data>(&mut self, id: u64, value: Box<A>) {
        let encode = encode_as::<A>;
        self.0.push((id, Update::Value { value, encode }));
    }

    /// Appends the updates to `bytes`.
    pub(crate) fn encode_to(&self, bytes: &mut Vec<u8>) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut encoded = Vec::with_capacity(self.0.len());
        for (id, update) in &self.0 {
            encoded.push(match update {
                Update::Value { value, encode } => (*id, encode(&**value)?),
                Update::Encoded(bytes) => (*id, bytes.clone()),
            });
        }
        bytes.extend(codec::encode(&encoded)?);
        Ok(())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let encoded: Vec<(u64, Vec<u8>)> = codec::decode(bytes)?;
        let updates = encoded.into_iter();
        Ok(Self(
            updates
                .map(|(id, bytes)| (id, Update::Encoded(bytes)))
                .collect(),
        ))
    }
}

fn encode_as<A: Data>(value: &(dyn Any + Send)) -> Result<Vec<u8>> {
    let value = value.downcast_ref::<A>();
    codec::encode(value.ok_or_else(|| Error::internal("update of another type"))?)
}
