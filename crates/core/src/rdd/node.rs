//! Nodes of a lineage: what an operator is to the engine.
//!
//! [`RddNode<T>`] computes partitions and is what an operator implements; [`AnyRdd`] is what the
//! scheduler sees of it; [`Parent<T>`] is how a node holds the node it reads from.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::operator::Operator;
use crate::partition::PartitionedBy;
use crate::rdd::checkpoint::CheckpointState;
use crate::rdd::persist::Storage;
use crate::shuffle::AnyShuffle;
use crate::storage::{Block, BlockData, BlockId, StorageLevel};
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// Steps of a lineage that are computed in one go. Longer ones are cut into pieces of this many
/// steps, each computed into memory, so that the depth of the stack is bounded.
const MAX_STEPS: u32 = 512;

/// What every node has.
#[derive(Debug)]
pub struct Meta {
    id: u64,
    operator: Operator,
    depth: u32,
    storage: Arc<Storage>,
}

/// [`Meta`] as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    id: u64,
    operator: Operator,
    depth: u32,
    storage: StorageLevel,
}

impl Meta {
    /// Of a node that reads from nodes of at most `depth` steps.
    pub(crate) fn new(id: u64, operator: Operator, depth: u32) -> Self {
        Self {
            id,
            operator,
            depth: depth.saturating_add(1),
            storage: Arc::default(),
        }
    }

    /// The RDD's id, counting up in a context.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Who made it.
    #[must_use]
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// How many narrow steps lie between here and the nearest source or shuffle.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Where its records are kept.
    #[must_use]
    pub fn storage(&self) -> StorageLevel {
        self.storage.level()
    }

    /// What `persist` and `unpersist` said of it.
    pub(crate) fn persistence(&self) -> &Storage {
        &self.storage
    }

    /// For the node that takes this one's place and reads from nothing.
    pub(crate) fn heir(&self) -> Self {
        Self {
            storage: Arc::clone(&self.storage),
            ..Self::new(self.id, self.operator.clone(), 0)
        }
    }

    pub(crate) fn header(&self) -> Header {
        let (id, depth, storage) = (self.id, self.depth, self.storage());
        Header {
            id,
            operator: self.operator.clone(),
            depth,
            storage,
        }
    }
}

impl Header {
    pub(crate) fn operator(&self) -> &Operator {
        &self.operator
    }
}

impl From<Header> for Meta {
    fn from(header: Header) -> Self {
        let Header {
            id,
            operator,
            depth,
            storage,
        } = header;
        Self {
            id,
            operator,
            depth,
            storage: Arc::new(Storage::at(storage)),
        }
    }
}

/// What the scheduler sees of a node, whatever its element type.
pub trait AnyRdd: Any + Send + Sync {
    /// Id, operator, storage level.
    fn meta(&self) -> &Meta;

    /// How many partitions it has.
    ///
    /// # Errors
    /// Those of finding out, for example `Invalid` when an input path does not exist.
    fn num_partitions(&self) -> Result<usize>;

    /// What it reads from.
    fn dependencies(&self) -> Vec<Dependency>;

    /// Whether two attempts at one partition may compute it side by side. A node that keeps state
    /// must say no.
    fn may_be_twinned(&self) -> bool {
        true
    }

    /// How its records are placed, when that is known.
    fn partitioner(&self) -> Option<PartitionedBy> {
        None
    }

    /// Called on the driver when a job that may read the node is planned: makes sure of what the
    /// tasks will read, where that is not in the lineage.
    ///
    /// # Errors
    /// Why the job cannot run.
    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    /// What names the node's type to another process.
    fn descriptor(&self) -> &'static Descriptor;

    /// Writes down what is needed to compute the partitions `splits`.
    ///
    /// # Errors
    /// `Invalid` when a closure or value cannot leave the process.
    fn encode(&self, splits: &[usize], encoder: &mut Encoder<'_>) -> Result<()>;
}

/// A node that computes records of type `T`: what an operator implements.
pub trait RddNode<T>: AnyRdd {
    /// The records of partition `split`. Lazy where it can be: a record flows through all narrow
    /// steps before the next is read.
    ///
    /// # Errors
    /// Those of opening the partition. Later failures unwind to the task's edge.
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<T>>;
}

/// Which partitions of the parent one partition of the child reads.
#[derive(Clone, Debug)]
pub enum Narrow {
    /// The one of the same number.
    OneToOne,
    /// Number `split - start`, when `split` is one of `len` from `start` on; else none.
    Range {
        /// The child's partition that reads the parent's first.
        start: usize,
        /// How many partitions the parent has.
        len: usize,
    },
    /// Those listed for it.
    Groups(Arc<[Vec<usize>]>),
}

impl Narrow {
    /// The parent's partitions that `split` reads.
    #[must_use]
    pub fn parents_of(&self, split: usize) -> Vec<usize> {
        match self {
            Self::OneToOne => vec![split],
            Self::Range { start, len } => split
                .checked_sub(*start)
                .filter(|at| at < len)
                .into_iter()
                .collect(),
            Self::Groups(groups) => groups.get(split).cloned().unwrap_or_default(),
        }
    }
}

/// One thing a node reads from.
#[derive(Clone)]
pub enum Dependency {
    /// Partitions of another node, in the same task.
    Narrow(Arc<dyn AnyParent>, Narrow),
    /// All partitions of another node, exchanged by key: a stage of its own.
    Shuffle(Arc<dyn AnyShuffle>),
}

impl fmt::Debug for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Narrow(parent, map) => {
                write!(f, "Narrow({}, {map:?})", parent.any().meta().operator())
            }
            Self::Shuffle(shuffle) => write!(f, "Shuffle({})", shuffle.id()),
        }
    }
}

/// A [`Parent`] of any type.
pub trait AnyParent: Send + Sync {
    /// The node.
    fn any(&self) -> Arc<dyn AnyRdd>;

    /// Computes a partition into memory, for this task to read later.
    ///
    /// # Errors
    /// Those of computing it.
    fn materialise(&self, split: usize, task: &TaskContext) -> Result<()>;
}

/// How a node holds the node it reads from.
///
/// Reading goes through the cache; dropping the last handle of a long lineage does not recurse.
pub struct Parent<T> {
    /// `None` only inside `drop`.
    slot: Option<Arc<Slot<T>>>,
}

/// The place of a node: a checkpoint puts another one there, for all who read it.
pub(crate) struct Slot<T> {
    node: RwLock<Arc<dyn RddNode<T>>>,
    operator: Operator,
    pub(crate) checkpoint: Mutex<CheckpointState>,
}

impl<T: 'static> Parent<T> {
    pub(crate) fn new(node: Arc<dyn RddNode<T>>) -> Self {
        let operator = node.meta().operator().clone();
        Self::at(Arc::new(Slot {
            node: RwLock::new(node),
            operator,
            checkpoint: Mutex::default(),
        }))
    }

    pub(crate) fn at(slot: Arc<Slot<T>>) -> Self {
        Self { slot: Some(slot) }
    }

    #[expect(clippy::expect_used, reason = "the slot is taken out in `drop` only")]
    pub(crate) fn slot(&self) -> &Arc<Slot<T>> {
        self.slot
            .as_ref()
            .expect("a parent has its slot until it is dropped")
    }

    pub(crate) fn node(&self) -> Arc<dyn RddNode<T>> {
        Arc::clone(&self.slot().node.read())
    }

    /// Puts `node` in the place of the one there is, which must have the same records.
    pub(crate) fn replace(&self, node: Arc<dyn RddNode<T>>) {
        let old = std::mem::replace(&mut *self.slot().node.write(), node);
        drop_flat(old as Arc<dyn AnyRdd>);
    }

    pub(crate) fn operator(&self) -> &Operator {
        &self.slot().operator
    }

    /// Number of narrow steps up to the parent.
    pub(crate) fn depth(&self) -> u32 {
        self.node().meta().depth()
    }

    /// How the parent's records are placed, for a node that leaves keys as they are. Asked once,
    /// when the node is made: asking through a long lineage would need as much stack.
    pub(crate) fn placement(&self, keeps_keys: bool) -> Option<PartitionedBy> {
        keeps_keys.then(|| self.node().partitioner()).flatten()
    }
}

impl<T: Data> Parent<T> {
    /// How many partitions a node has that reads the parent partition by partition. Walks up a
    /// long lineage of such nodes rather than recurse.
    pub(crate) fn num_partitions(&self) -> Result<usize> {
        if self.depth() <= MAX_STEPS {
            return self.node().num_partitions();
        }
        let mut at: Arc<dyn AnyParent> = Arc::new(self.clone());
        loop {
            match at.any().dependencies().pop() {
                Some(Dependency::Narrow(above, Narrow::OneToOne)) => at = above,
                _ => return at.any().num_partitions(),
            }
        }
    }

    /// The records of one partition: from memory when it is kept there, else computed (and kept
    /// when the RDD is cached).
    pub(crate) fn iterate(&self, split: usize, task: &TaskContext) -> Result<PartitionIter<T>> {
        let node = self.node();
        let meta = node.meta();
        if let Some(records) = task.ready(meta.id(), split) {
            return Ok(Vec::<T>::iterate(records));
        }
        let level = meta.storage();
        if level == StorageLevel::None {
            return node.compute(split, task);
        }
        let id = BlockId::Rdd {
            rdd: meta.id(),
            split,
        };
        if let Some(block) = task.blocks().get(id)? {
            return Ok(Vec::<T>::iterate(block.read()?));
        }
        let records: Arc<Vec<T>> = Arc::new(Arc::clone(&node).compute(split, task)?.collect());
        let block = Block::shared(Arc::clone(&records)).at(level);
        task.blocks().put(id, block)?;
        Ok(Vec::<T>::iterate(records))
    }

    /// The dependency of a node that reads its parent partition by partition.
    pub(crate) fn one_to_one(&self) -> Vec<Dependency> {
        vec![self.dependency(Narrow::OneToOne)]
    }

    pub(crate) fn dependency(&self, map: Narrow) -> Dependency {
        Dependency::Narrow(Arc::new(self.clone()), map)
    }

    pub(crate) fn decode(decoder: &Decoder<'_>, index: usize) -> Result<Self> {
        decoder.parent(index).map(Self::new)
    }
}

impl<T: Data> AnyParent for Parent<T> {
    fn any(&self) -> Arc<dyn AnyRdd> {
        self.node()
    }

    fn materialise(&self, split: usize, task: &TaskContext) -> Result<()> {
        let records = self.iterate(split, task)?.collect::<Vec<T>>();
        task.put_ready(self.node().meta().id(), split, records);
        Ok(())
    }
}

impl<T> Clone for Parent<T> {
    fn clone(&self) -> Self {
        Self {
            slot: self.slot.clone(),
        }
    }
}

impl<T: 'static> fmt::Debug for Parent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parent({})", self.operator())
    }
}

thread_local! {
    /// Nodes whose last handle is being dropped on this thread.
    static DROPPING: std::cell::RefCell<(bool, Vec<Arc<dyn Any + Send + Sync>>)> =
        const { std::cell::RefCell::new((false, Vec::new())) };
}

impl<T> Drop for Parent<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take().and_then(Arc::into_inner) {
            drop_flat(slot.node.into_inner() as Arc<dyn AnyRdd>);
        }
    }
}

/// Drops a node, and then the nodes that only it held, one after the other: a lineage of any
/// length needs one frame of stack.
fn drop_flat(node: Arc<dyn Any + Send + Sync>) {
    if Arc::strong_count(&node) > 1 {
        return;
    }
    let mut node = Some(node);
    let first = DROPPING.try_with(|dropping| {
        let mut dropping = dropping.borrow_mut();
        dropping.1.extend(node.take());
        !std::mem::replace(&mut dropping.0, true)
    });
    if first != Ok(true) {
        return;
    }
    /// Also when a value of the user panics while it is dropped.
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            DROPPING.with_borrow_mut(|dropping| dropping.0 = false);
        }
    }
    let _done = Done;
    let next = || DROPPING.with_borrow_mut(|dropping| dropping.1.pop());
    while let Some(node) = next() {
        drop(node);
    }
}

/// Computes ahead what a very long lineage needs, from its source on, so that computing `split`
/// of `top` itself needs a bounded stack.
pub(crate) fn compute_ahead(
    top: &Arc<dyn AnyParent>,
    split: usize,
    task: &TaskContext,
) -> Result<()> {
    if top.any().meta().depth() <= MAX_STEPS {
        return Ok(());
    }
    let mut cuts: Vec<(u32, Arc<dyn AnyParent>, usize)> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut open = vec![(Arc::clone(top), split)];
    while let Some((parent, split)) = open.pop() {
        let node = parent.any();
        let meta = node.meta();
        if !seen.insert((meta.id(), split)) {
            continue;
        }
        let kept = meta.storage() != StorageLevel::None
            && task.blocks().contains(BlockId::Rdd {
                rdd: meta.id(),
                split,
            })?;
        if kept {
            continue;
        }
        if meta.depth() % MAX_STEPS == 0 {
            cuts.push((meta.depth(), Arc::clone(&parent), split));
        }
        for dependency in node.dependencies() {
            if let Dependency::Narrow(above, map) = dependency {
                open.extend(
                    map.parents_of(split)
                        .into_iter()
                        .map(|at| (Arc::clone(&above), at)),
                );
            }
        }
    }
    cuts.sort_by_key(|(depth, _, split)| (*depth, *split));
    for (_, parent, split) in cuts {
        task.check()?;
        parent.materialise(split, task)?;
    }
    Ok(())
}

/// Packs a rebuilt node for the decoder of its children.
pub(crate) fn built<T: Data>(node: impl RddNode<T> + 'static) -> Built {
    let node: Arc<dyn RddNode<T>> = Arc::new(node);
    Box::new(node)
}

/// The error of a partition number that the RDD does not have.
pub(crate) fn no_such_partition(operator: &Operator, split: usize) -> Error {
    Error::invalid("no such partition")
        .with("operator", operator)
        .with("partition", split)
}
