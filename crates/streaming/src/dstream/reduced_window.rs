//! `reduce_by_key_and_window`: the combined values of a window, at a cost that does not depend on
//! its length.
//!
//! Time is cut into *panes*, the greatest spans of which both the window and its slide are made,
//! and panes into *blocks* of half a window each. A window of `n` panes then reads three partial
//! results, whatever `n` is: how the block two back ends (a *suffix*), the whole block before this
//! one, and how this one begins (a *prefix*):
//!
//! ```text
//!   block     A           B           C
//!   panes   | a b c d e | f g h i j | k l m . . |     the window ends with m
//!                  [d e] [f g h i j] [k l m]
//! ```
//!
//! A prefix is the one before it and a pane; a suffix is a pane and the suffix after it. The
//! suffixes of a block are needed when the next but one begins, so one of them is made with each
//! pane in between. This is the scheme of van Herk (1992) and of Gil and Werman (1993), which cuts
//! blocks of a whole window and makes all suffixes at once, when a block is full; with half blocks
//! no batch is dearer than another. All partial results are RDDs that keep the batches in their
//! lineage: one that is dropped is made again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::codec::Encoder;
use tidemill_core::combine::Reduce;
use tidemill_core::function::{Function2, Plain};
use tidemill_core::travel::{Image, Portable};
use tidemill_core::{Data, Key, Operator, Partitioner, Rdd, Result, StorageLevel};

use super::DStream;
use super::node::{AnyStream, Batch, StreamNode};
use super::window::Window;
use crate::time::Time;

/// Windows of fewer panes are combined of their panes: three partial results are no fewer.
const FEW_PANES: u64 = 4;

/// How panes and windows are combined.
struct Merge<K, V, M, P> {
    combine: Arc<Reduce<M>>,
    partitioner: Arc<P>,
    types: std::marker::PhantomData<fn() -> (K, V)>,
}

impl<K, V, M, P> Clone for Merge<K, V, M, P> {
    fn clone(&self) -> Self {
        Self {
            combine: Arc::clone(&self.combine),
            partitioner: Arc::clone(&self.partitioner),
            types: std::marker::PhantomData,
        }
    }
}

impl<K, V, M, P> Merge<K, V, M, P>
where
    K: Key,
    V: Data,
    M: Function2<V, V, Output = V>,
    P: Partitioner<K>,
{
    /// The pairs of all parts, which are placed alike, combined by key: earlier parts first.
    fn merge(
        &self,
        stream: &DStream<(K, V)>,
        operator: &Operator,
        parts: &[Rdd<(K, V)>],
    ) -> Result<Rdd<(K, V)>> {
        let all = stream.shared().ctx.union_as(operator.clone(), parts)?;
        let (combine, partitioner) = (Arc::clone(&self.combine), Arc::clone(&self.partitioner));
        Ok(all.combine_placed(operator.clone(), combine, partitioner))
    }
}

/// The combined batches of one pane, where a pane is several.
struct Panes<K: 'static, V: 'static, M, P> {
    batches: DStream<(K, V)>,
    span: Duration,
    merge: Merge<K, V, M, P>,
}

impl<K, V, M, P> StreamNode<(K, V)> for Panes<K, V, M, P>
where
    K: Key,
    V: Data,
    M: Function2<V, V, Output = V>,
    P: Partitioner<K>,
{
    fn compute(
        &self,
        operator: &Operator,
        time: Time,
        batch: &Batch,
    ) -> Result<Option<Rdd<(K, V)>>> {
        let begin = time - self.span;
        let rdds = self.batches.stream().rdds_within(batch, begin, time)?;
        if rdds.is_empty() {
            return Ok(None);
        }
        self.merge.merge(&self.batches, operator, &rdds).map(Some)
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        vec![self.batches.any()]
    }

    fn reads_back(&self) -> Duration {
        self.span
    }
}

/// A result over some panes of a block.
#[derive(Clone)]
struct Partial<K: 'static, V: 'static> {
    rdd: Rdd<(K, V)>,
    /// Whether it was combined here, and not the RDD of a pane as it is.
    is_own: bool,
}

/// Partial results by the pane they end or begin with.
type Partials<K, V> = BTreeMap<u64, Partial<K, V>>;

/// Windows of combined pairs.
struct ReducedWindow<K: 'static, V: 'static, M, P> {
    panes: DStream<(K, V)>,
    window: Window,
    /// The slide of the stream that the user windowed.
    parent_slide: Duration,
    /// Panes of a window.
    num_panes: u64,
    merge: Merge<K, V, M, P>,
    /// From the beginning of a block to a pane.
    prefixes: Mutex<Partials<K, V>>,
    /// From a pane to the end of its block.
    suffixes: Mutex<Partials<K, V>>,
}

impl<K, V, M, P> ReducedWindow<K, V, M, P>
where
    K: Key,
    V: Data,
    M: Function2<V, V, Output = V>,
    P: Partitioner<K>,
{
    /// Panes of a block.
    fn block(&self) -> u64 {
        (self.num_panes / 2).max(1)
    }

    /// How many panes have ended at `time`. The first is number 0.
    fn panes_until(&self, time: Time) -> Result<u64> {
        let since = time.since(self.panes.stream().zero()?).as_nanos();
        let panes = since / self.panes.slide_duration().as_nanos().max(1);
        Ok(u64::try_from(panes).unwrap_or(u64::MAX))
    }

    fn pane(&self, batch: &Batch, pane: u64) -> Result<Option<Rdd<(K, V)>>> {
        let span = self.panes.slide_duration();
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let after = Duration::from_millis(millis.saturating_mul(pane.saturating_add(1)));
        let stream = self.panes.stream();
        stream.rdd_of(batch, stream.zero()? + after)
    }

    /// The parts of the window that ends with `pane`, in order of time.
    fn parts(&self, operator: &Operator, batch: &Batch, pane: u64) -> Result<Vec<Rdd<(K, V)>>> {
        if self.num_panes < FEW_PANES {
            return (pane.saturating_sub(self.num_panes - 1)..=pane)
                .filter_map(|pane| self.pane(batch, pane).transpose())
                .collect();
        }
        let block = self.block();
        let begin = pane / block * block;
        let place = pane - begin;
        let mut parts = Vec::new();
        // What the window needs beyond the two youngest blocks: at most one block.
        let rest = self.num_panes - block - place - 1;
        if begin >= 2 * block && rest > 0 {
            parts.push(self.suffix(operator, batch, begin - block - rest)?);
        }
        if begin > 0 {
            parts.push(self.prefix(operator, batch, begin - 1)?);
        }
        parts.push(self.prefix(operator, batch, pane)?);
        if begin > 0 && place + 1 < self.num_panes - block {
            let ahead = self.suffix(operator, batch, begin - 1 - place)?;
            parts.push(ahead.map(|rdd| made_ahead(operator, &rdd)));
        }
        Ok(parts.into_iter().flatten().collect())
    }

    /// All panes of a block up to and with `pane`; `None` when they have nothing.
    fn prefix(&self, operator: &Operator, batch: &Batch, pane: u64) -> Result<Option<Rdd<(K, V)>>> {
        let begin = pane / self.block() * self.block();
        let known = self
            .prefixes
            .lock()
            .range(begin..=pane)
            .next_back()
            .map(found);
        let (next, mut sum) = known.map_or((begin, None), |(at, rdd)| (at + 1, Some(rdd)));
        for at in next..=pane {
            if let Some(rdd) = self.pane(batch, at)? {
                let parts: Vec<_> = sum.into_iter().chain([rdd]).collect();
                sum = Some(self.keep(&self.prefixes, at, operator, &parts)?);
            }
        }
        Ok(sum)
    }

    /// All panes of a block from `pane` on; `None` when they have nothing.
    fn suffix(&self, operator: &Operator, batch: &Batch, pane: u64) -> Result<Option<Rdd<(K, V)>>> {
        let end = pane / self.block() * self.block() + self.block();
        let known = self.suffixes.lock().range(pane..end).next().map(found);
        let (end, mut sum) = known.map_or((end, None), |(at, rdd)| (at, Some(rdd)));
        for at in (pane..end).rev() {
            if let Some(rdd) = self.pane(batch, at)? {
                let parts: Vec<_> = [rdd].into_iter().chain(sum).collect();
                sum = Some(self.keep(&self.suffixes, at, operator, &parts)?);
            }
        }
        Ok(sum)
    }

    /// Combines and keeps a partial result. Of two threads that make it, both get the first one's.
    fn keep(
        &self,
        partials: &Mutex<Partials<K, V>>,
        at: u64,
        operator: &Operator,
        parts: &[Rdd<(K, V)>],
    ) -> Result<Rdd<(K, V)>> {
        let partial = match parts {
            [pane] => Partial {
                rdd: pane.clone(),
                is_own: false,
            },
            _ => Partial {
                rdd: self.merge.merge(&self.panes, operator, parts)?,
                is_own: true,
            },
        };
        let kept = partials.lock().entry(at).or_insert(partial).clone();
        if kept.is_own {
            let _ = kept.rdd.persist(StorageLevel::MemoryOnly);
        }
        Ok(kept.rdd)
    }

    /// Takes out what no window that ends with `oldest` or later reads.
    fn outdated(&self, oldest: u64) -> Vec<Partial<K, V>> {
        let begin = oldest / self.block() * self.block();
        let is_last_of_block = |pane: u64| (pane + 1).is_multiple_of(self.block());
        let wanted =
            |pane: u64| pane + 1 >= oldest || (is_last_of_block(pane) && pane + 1 >= begin);
        let mut outdated = Vec::new();
        let mut prefixes = self.prefixes.lock();
        outdated.extend(prefixes.extract_if(.., |pane, _| !wanted(*pane)));
        drop(prefixes);
        let mut suffixes = self.suffixes.lock();
        outdated.extend(
            suffixes.extract_if(.., |pane, _| pane.saturating_add(self.num_panes) <= oldest),
        );
        outdated.into_iter().map(|(_, partial)| partial).collect()
    }
}

fn found<K: 'static, V: 'static>((at, partial): (&u64, &Partial<K, V>)) -> (u64, Rdd<(K, V)>) {
    (*at, partial.rdd.clone())
}

/// Computed and kept with this batch, for a later one; adds nothing to this one.
fn made_ahead<K: Key, V: Data>(operator: &Operator, rdd: &Rdd<(K, V)>) -> Rdd<(K, V)> {
    rdd.filter_with(operator.clone(), Arc::new(Plain(|_: &(K, V)| false)))
}

impl<K, V, M, P> StreamNode<(K, V)> for ReducedWindow<K, V, M, P>
where
    K: Key,
    V: Data,
    M: Function2<V, V, Output = V>,
    P: Partitioner<K>,
{
    fn compute(
        &self,
        operator: &Operator,
        time: Time,
        batch: &Batch,
    ) -> Result<Option<Rdd<(K, V)>>> {
        let last = self.panes_until(time)?.saturating_sub(1);
        let parts = self.parts(operator, batch, last)?;
        self.merge.merge(&self.panes, operator, &parts).map(Some)
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        vec![self.panes.any()]
    }

    fn reads_back(&self) -> Duration {
        self.window.span()
    }

    fn check(&self, operator: &Operator, image: &Image) -> Result<()> {
        let mut encoder = Encoder::new(operator, image);
        self.merge.combine.encode(&mut encoder)
    }

    fn validate(&self, operator: &Operator) -> Result<()> {
        self.window.validate(operator, self.parent_slide)
    }

    fn forget(&self, time: Time, unpersist: bool) {
        // Not started: nothing was made.
        let Ok(oldest) = self.panes_until(time) else {
            return;
        };
        let outdated = self.outdated(oldest);
        for partial in outdated
            .iter()
            .filter(|partial| unpersist && partial.is_own)
        {
            partial.rdd.unpersist();
        }
    }
}

impl<K: Key, V: Data> DStream<(K, V)> {
    /// Combines each batch, then the batches of each pane, then the panes of each window.
    pub(crate) fn reduce_window_as<M, P>(
        &self,
        operator: Operator,
        window: Window,
        combine: Reduce<M>,
        partitioner: Arc<P>,
    ) -> Self
    where
        M: Function2<V, V, Output = V>,
        P: Partitioner<K>,
    {
        let merge = Merge {
            combine: Arc::new(combine),
            partitioner: Arc::clone(&partitioner),
            types: std::marker::PhantomData,
        };
        let reduced = self.per_batch_shared(
            operator.clone(),
            Arc::clone(&merge.combine),
            move |rdd, operator, combine| {
                rdd.combine_placed(operator, combine, Arc::clone(&partitioner))
            },
        );
        let parent_slide = self.slide_duration();
        let slide = window.slide_over(parent_slide);
        let pane = common_span(window.span(), slide);
        let panes = if pane == parent_slide {
            reduced
        } else {
            let node = Panes {
                batches: reduced,
                span: pane,
                merge: merge.clone(),
            };
            Self::new(self.shared(), operator.clone(), pane, node)
        };
        // Each is read when it comes, and again for the suffixes.
        panes.stream().keep_by_default();
        let num_panes = window.span().as_nanos() / pane.as_nanos().max(1);
        let node = ReducedWindow {
            panes,
            window,
            parent_slide,
            num_panes: u64::try_from(num_panes).unwrap_or(u64::MAX).max(1),
            merge,
            prefixes: Mutex::default(),
            suffixes: Mutex::default(),
        };
        Self::new(self.shared(), operator, slide, node)
    }
}

/// The greatest span of which both are whole multiples.
fn common_span(a: Duration, b: Duration) -> Duration {
    let (mut a, mut b) = (a.as_nanos(), b.as_nanos());
    while b > 0 {
        (a, b) = (b, a % b);
    }
    const NANOS_PER_SEC: u128 = 1_000_000_000;
    // No greater than either, and so no greater than a `Duration` can be.
    let secs = u64::try_from(a / NANOS_PER_SEC).unwrap_or(u64::MAX);
    Duration::new(secs, (a % NANOS_PER_SEC) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pane_is_the_greatest_common_span() {
        let ms = Duration::from_millis;
        assert_eq!(common_span(ms(6_000), ms(4_000)), ms(2_000));
        assert_eq!(common_span(ms(5_000), ms(1_000)), ms(1_000));
        assert_eq!(common_span(ms(1_000), ms(3_000)), ms(1_000));
        assert_eq!(common_span(Duration::ZERO, ms(7)), ms(7));
        assert_eq!(common_span(Duration::MAX, Duration::MAX), Duration::MAX);
    }
}
