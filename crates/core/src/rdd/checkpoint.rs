//! `checkpoint`: records in files, or in kept blocks, in the place of a lineage.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Rdd;
use super::node::{AnyParent, AnyRdd, Dependency, Meta, Parent, RddNode, Slot, built};
use crate::codec::{self, Built, Decoder, Encoder};
use crate::context::Context;
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::function::{Function, Plain};
use crate::operator::abort_task;
use crate::partition::PartitionedBy;
use crate::storage::{
    BlockId, PieceReader, StorageLevel, make_unique_folder, write_head, write_piece,
};
use crate::task::TaskContext;
use crate::travel::{Descriptor, Portable};

/// Records of one piece of a checkpoint file.
const RECORDS_PER_PIECE: usize = 1024;

/// What has become of `checkpoint` on an RDD.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum CheckpointState {
    #[default]
    NotWanted,
    Wanted,
    WantedLocally,
    /// In the files of a folder.
    Written(PathBuf),
    /// In kept blocks.
    Kept,
}

impl Context {
    /// Makes a folder of its own under `folder` for the files of
    /// [`Rdd::checkpoint`], and returns it. All executors must be able to write there. The files
    /// stay when the program ends; they are of no use to another run.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// # let folder = std::env::temp_dir().join("tidemill-doctest-checkpoints");
    /// assert_eq!(ctx.checkpoint_dir(), None);
    /// let made = ctx.set_checkpoint_dir(&folder)?;
    /// assert!(made.starts_with(&folder) && made != folder);
    ///
    /// let squares = ctx.range(0..4).map(|x| x * x);
    /// squares.checkpoint()?;
    /// assert_eq!((squares.collect()?, squares.is_checkpointed()), (vec![0, 1, 4, 9], true));
    /// # std::fs::remove_dir_all(folder).ok();
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Unavailable` when the folder cannot be made.
    pub fn set_checkpoint_dir(&self, folder: impl AsRef<Path>) -> Result<PathBuf> {
        let made = make_unique_folder(folder.as_ref(), "checkpoint-")?;
        *self.checkpoints().folder.lock() = Some(made.clone());
        Ok(made)
    }

    /// The folder that [`set_checkpoint_dir`](Self::set_checkpoint_dir) made last.
    #[must_use]
    pub fn checkpoint_dir(&self) -> Option<PathBuf> {
        self.checkpoints().folder.lock().clone()
    }

    /// After a job: writes the checkpoints that are wanted in the lineage of `top`.
    pub(crate) fn write_checkpoints(&self, top: Arc<dyn AnyParent>) -> Result<()> {
        let mut wanted = self.checkpoints().take_wanted_above(top);
        while !wanted.is_empty() {
            // Ancestors first: what is made from them then begins at their files.
            let next = wanted.remove(0);
            if let Err(error) = next.write(self) {
                wanted.insert(0, next);
                self.checkpoints().wanted.lock().extend(wanted);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl<T: Data> Rdd<T> {
    /// Has the records written to files after the next job that reads this RDD, and read from
    /// there ever after: the lineage above is let go.
    ///
    /// *Cost* one more job, which computes the records again unless they are kept: persist first.
    /// *State* `rdd-<id>/part-00000` and so on in the context's checkpoint folder, with a digest
    /// over each piece; a damaged file fails the job that reads it. Other marked RDDs above are
    /// written too, ancestors first. A checkpoint that cannot be written is the error of the
    /// action, and is tried again after the next one.
    ///
    /// It may also be asked for when jobs have run already. Has no effect on an RDD that is
    /// checkpointed, or will be.
    ///
    /// # Errors
    /// `Invalid` when [`Context::set_checkpoint_dir`] was not called.
    pub fn checkpoint(&self) -> Result<()> {
        if self.ctx.checkpoint_dir().is_none() {
            return Err(Error::invalid("checkpoint directory has not been set")
                .with("operator", self.operator())
                .with("hint", "call Context::set_checkpoint_dir first"));
        }
        self.want(CheckpointState::Wanted, &[CheckpointState::NotWanted]);
        Ok(())
    }

    /// Has the records kept, at a level with a disk, after the next job that reads this RDD, and
    /// lets go of the lineage above: fast, but what is lost of the kept blocks cannot be computed
    /// again. Takes the place of a [`checkpoint`](Self::checkpoint) that was not written yet.
    #[must_use = "returns the same RDD"]
    pub fn local_checkpoint(&self) -> Self {
        self.persist_on_disk();
        let over = [CheckpointState::NotWanted, CheckpointState::Wanted];
        self.want(CheckpointState::WantedLocally, &over);
        self.clone()
    }

    fn want(&self, new: CheckpointState, over: &[CheckpointState]) {
        let mut state = self.node.slot().checkpoint.lock();
        if !over.contains(&state) {
            return;
        }
        let is_new = *state == CheckpointState::NotWanted;
        *state = new;
        drop(state);
        if is_new {
            let rdd = self.id();
            let slot = Arc::downgrade(self.node.slot());
            let wanted = Arc::new(WantedOf { rdd, slot });
            self.ctx.checkpoints().wanted.lock().push(wanted);
        }
    }

    /// Whether its lineage was cut by [`checkpoint`](Self::checkpoint) or
    /// [`local_checkpoint`](Self::local_checkpoint).
    #[must_use]
    pub fn is_checkpointed(&self) -> bool {
        matches!(
            &*self.node.slot().checkpoint.lock(),
            CheckpointState::Written(_) | CheckpointState::Kept
        )
    }

    /// The folder of its checkpoint, once it is written.
    #[must_use]
    pub fn checkpoint_file(&self) -> Option<PathBuf> {
        match &*self.node.slot().checkpoint.lock() {
            CheckpointState::Written(folder) => Some(folder.clone()),
            _ => None,
        }
    }

    /// Forgets the map outputs of all shuffles above, up to RDDs that are kept. A job that needs
    /// them makes them again.
    pub fn clean_shuffle_dependencies(&self) {
        let mut open: Vec<Arc<dyn AnyParent>> = vec![Arc::new(self.node.clone())];
        let mut seen = HashSet::from([self.id()]);
        while let Some(parent) = open.pop() {
            for dependency in parent.any().dependencies() {
                let above = match dependency {
                    Dependency::Narrow(above, _) => above,
                    Dependency::Shuffle(shuffle) => {
                        shuffle.clean();
                        shuffle.root().input()
                    }
                };
                let node = above.any();
                let is_kept = node.meta().storage() != StorageLevel::None;
                if !is_kept && seen.insert(node.meta().id()) {
                    open.push(above);
                }
            }
        }
    }

    fn write_files(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|e| {
            Error::unavailable("checkpoint folder cannot be made")
                .with("path", folder.display())
                .caused_by(e)
        })?;
        let operator = self.operator().named("checkpoint");
        let write = WritePart {
            folder: folder.to_owned(),
        };
        self.ctx
            .run_action(operator, self, &Arc::new(write), &self.all_splits()?)?;
        Ok(())
    }

    /// Sees to it that all partitions are kept at a level with a disk.
    fn keep_all(&self) -> Result<()> {
        let (rdd, level, blocks) = (self.id(), self.storage_level(), self.ctx.blocks());
        let mut missing = Vec::new();
        for split in self.all_splits()? {
            match blocks.get(BlockId::Rdd { rdd, split })? {
                None => missing.push(split),
                // Kept before the level had a disk.
                Some(block) if block.level() != level => {
                    blocks.put(BlockId::Rdd { rdd, split }, block.at(level))?;
                }
                Some(_) => {}
            }
        }
        let count = Arc::new(Plain(|records: PartitionIter<T>| records.count() as u64));
        let operator = self.operator().named("local_checkpoint");
        self.ctx.run_action(operator, self, &count, &missing)?;
        for split in self.all_splits()? {
            if !blocks.contains(BlockId::Rdd { rdd, split })? {
                return Err(Error::unavailable("partition cannot be kept")
                    .with("operator", self.operator())
                    .with("block", BlockId::Rdd { rdd, split }));
            }
        }
        Ok(())
    }
}

/// The checkpoint folder of a context, and the RDDs that are to be checkpointed.
#[derive(Default)]
pub(crate) struct Checkpoints {
    folder: Mutex<Option<PathBuf>>,
    wanted: Mutex<Vec<Arc<dyn Wanted>>>,
}

impl fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoints")
            .field("folder", &self.folder.lock())
            .field("num_wanted", &self.wanted.lock().len())
            .finish()
    }
}

impl Checkpoints {
    /// What is wanted of the lineage of `top`, ancestors first. It is no longer wanted by others.
    fn take_wanted_above(&self, top: Arc<dyn AnyParent>) -> Vec<Arc<dyn Wanted>> {
        if self.wanted.lock().is_empty() {
            return Vec::new();
        }
        let lineage = lineage_of(top);
        let mut wanted = self.wanted.lock();
        let is_needed = |w: &mut Arc<dyn Wanted>| lineage.contains(&w.rdd());
        let mut taken: Vec<_> = wanted.extract_if(.., is_needed).collect();
        wanted.retain(|wanted| !wanted.is_gone());
        // Ids count up: whatever an RDD is made from was there before it.
        taken.sort_by_key(|wanted| wanted.rdd());
        taken
    }
}

/// The ids of all nodes that `top` is made from, and its own.
fn lineage_of(top: Arc<dyn AnyParent>) -> HashSet<u64> {
    let mut seen = HashSet::new();
    let mut open = vec![top];
    while let Some(parent) = open.pop() {
        let node = parent.any();
        if !seen.insert(node.meta().id()) {
            continue;
        }
        for dependency in node.dependencies() {
            open.push(match dependency {
                Dependency::Narrow(above, _) => above,
                Dependency::Shuffle(shuffle) => shuffle.root().input(),
            });
        }
    }
    seen
}

/// An RDD of any type that is to be checkpointed.
trait Wanted: Send + Sync {
    fn rdd(&self) -> u64;

    /// Whether nobody holds the RDD any more.
    fn is_gone(&self) -> bool;

    fn write(&self, ctx: &Context) -> Result<()>;
}

struct WantedOf<T> {
    rdd: u64,
    slot: Weak<Slot<T>>,
}

impl<T: Data> Wanted for WantedOf<T> {
    fn rdd(&self) -> u64 {
        self.rdd
    }

    fn is_gone(&self) -> bool {
        self.slot.strong_count() == 0
    }

    fn write(&self, ctx: &Context) -> Result<()> {
        let Some(slot) = self.slot.upgrade() else {
            return Ok(());
        };
        let rdd = Rdd::new(ctx.clone(), Parent::at(slot));
        let is_local = *rdd.node.slot().checkpoint.lock() == CheckpointState::WantedLocally;
        let (folder, state) = if is_local {
            rdd.keep_all()?;
            (None, CheckpointState::Kept)
        } else {
            let folder = ctx.checkpoint_dir().unwrap_or_default();
            let folder = folder.join(format!("rdd-{}", self.rdd));
            rdd.write_files(&folder)?;
            (Some(folder.clone()), CheckpointState::Written(folder))
        };
        let node = rdd.node.node();
        let checkpointed = Checkpointed {
            meta: node.meta().heir(),
            folder,
            num_partitions: rdd.num_partitions()?,
            partitioner: node.partitioner(),
            types: std::marker::PhantomData::<fn() -> T>,
        };
        drop(node);
        rdd.node.replace(Arc::new(checkpointed));
        *rdd.node.slot().checkpoint.lock() = state;
        Ok(())
    }
}

/// Records that were computed once and for all.
struct Checkpointed<T> {
    meta: Meta,
    /// Where the files are; `None` when the records are in kept blocks.
    folder: Option<PathBuf>,
    num_partitions: usize,
    partitioner: Option<PartitionedBy>,
    types: std::marker::PhantomData<fn() -> T>,
}

impl<T: Data> Checkpointed<T> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let (folder, num_partitions) = decoder.take()?;
        Ok(built(Self {
            meta: decoder.meta(),
            folder,
            num_partitions,
            partitioner: None,
            types: std::marker::PhantomData,
        }))
    }
}

impl<T: Data> AnyRdd for Checkpointed<T> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        Ok(self.num_partitions)
    }

    fn dependencies(&self) -> Vec<Dependency> {
        Vec::new()
    }

    fn partitioner(&self) -> Option<PartitionedBy> {
        self.partitioner.clone()
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&(&self.folder, self.num_partitions))
    }
}

impl<T: Data> RddNode<T> for Checkpointed<T> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<T>> {
        let rdd = self.meta.id();
        let Some(folder) = &self.folder else {
            return Err(Error::data("block of a local checkpoint was not found")
                .with("block", BlockId::Rdd { rdd, split })
                .with("operator", self.meta.operator())
                .with("hint", "what must survive a loss needs Rdd::checkpoint"));
        };
        let part = Part::open(folder.join(part_name(split)))
            .map_err(|error| error.with("operator", self.meta.operator()))?;
        Ok(Box::new(task.interruptible(part)))
    }
}

fn part_name(split: usize) -> String {
    format!("part-{split:05}")
}

/// Writes one partition to a file. Gives the number of its records.
struct WritePart {
    folder: PathBuf,
}

impl Portable for WritePart {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&self.folder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        let folder = decoder.take()?;
        Ok(Self { folder })
    }
}

impl<T: Data> Function<PartitionIter<T>> for WritePart {
    type Output = u64;

    fn call(&self, records: PartitionIter<T>) -> u64 {
        let Some(task) = TaskContext::current() else {
            abort_task(Error::internal("a part is written outside of a task"));
        };
        // Attempts of one task may overlap: each has a file of its own.
        let (id, name) = (task.id(), part_name(task.id().split));
        let unfinished = format!(".{name}-{}-{}", id.job, id.attempt);
        let unfinished = self.folder.join(unfinished);
        match write_part(records, &unfinished, &self.folder.join(name)) {
            Ok(num_records) => num_records,
            Err(error) => {
                let _ = std::fs::remove_file(&unfinished);
                abort_task(error)
            }
        }
    }
}

fn write_part<T: Data>(
    mut records: PartitionIter<T>,
    unfinished: &Path,
    finished: &Path,
) -> Result<u64> {
    let failed = |e: std::io::Error| {
        Error::unavailable("checkpoint cannot be written")
            .with("path", unfinished.display())
            .caused_by(e)
    };
    let mut file = BufWriter::new(File::create(unfinished).map_err(failed)?);
    write_head(&mut file).map_err(failed)?;
    let mut num_records = 0;
    loop {
        let piece: Vec<T> = records.by_ref().take(RECORDS_PER_PIECE).collect();
        if piece.is_empty() {
            break;
        }
        num_records += piece.len() as u64;
        let bytes = codec::encode(&piece)?;
        write_piece(&mut file, piece.len() as u64, &bytes).map_err(failed)?;
    }
    // An empty piece with the number of all records says that the file is whole.
    write_piece(&mut file, num_records, &[]).map_err(failed)?;
    file.flush().map_err(failed)?;
    std::fs::rename(unfinished, finished).map_err(failed)?;
    Ok(num_records)
}

/// The records of a file. A damaged file fails the task.
struct Part<T> {
    path: PathBuf,
    pieces: PieceReader<BufReader<File>>,
    piece: std::vec::IntoIter<T>,
    num_read: u64,
    is_whole: bool,
}

impl<T: Data> Part<T> {
    fn open(path: PathBuf) -> Result<Self> {
        let open = || {
            let file = File::open(&path)
                .map_err(|e| Error::data("checkpoint file cannot be opened").caused_by(e))?;
            let num_bytes = file.metadata().map_or(0, |file| file.len());
            PieceReader::open(BufReader::new(file), num_bytes)
        };
        let pieces = open().map_err(|error| error.with("path", path.display()))?;
        Ok(Self {
            path,
            pieces,
            piece: Vec::new().into_iter(),
            num_read: 0,
            is_whole: false,
        })
    }

    fn next_piece(&mut self) -> Result<()> {
        let cut_short = || Error::data("checkpoint file is cut short");
        let (num_records, bytes) = self.pieces.next()?.ok_or_else(cut_short)?;
        if bytes.is_empty() {
            self.is_whole = true;
            return (num_records == self.num_read)
                .then_some(())
                .ok_or_else(cut_short);
        }
        self.piece = codec::decode::<Vec<T>>(&bytes)?.into_iter();
        self.num_read += num_records;
        Ok(())
    }
}

impl<T: Data> Iterator for Part<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Some(record) = self.piece.next() {
                return Some(record);
            }
            if self.is_whole {
                return None;
            }
            if let Err(error) = self.next_piece() {
                abort_task(error.with("path", self.path.display()));
            }
        }
    }
}
