//! The workloads, one file each. `measure` of each runs limit and engine by turns.

pub(crate) mod core_grep;
pub(crate) mod core_wordcount;
pub(crate) mod files;
pub(crate) mod interval;
pub(crate) mod skew;
pub(crate) mod soak;
pub(crate) mod sort;
pub(crate) mod startup;
pub(crate) mod state;
pub(crate) mod task_launch;
pub(crate) mod wal;
pub(crate) mod window;
pub(crate) mod wordcount;
pub(crate) mod wordcount_tcp;

use std::fmt::Debug;
use std::sync::Arc;

use tidemill::core::storage::{Block, BlockId};
use tidemill::core::{Clock, Context, Master, SystemClock, TextBlock};

use crate::Size;
use crate::generator::Generator;
use crate::report::Round;
use crate::stopwatch::timed;

/// A workload's result, or why there is none.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Every ratio is that of two slots to two threads.
const NUM_SLOTS: usize = 2;

/// Lets the limit and the engine take turns; fails when they disagree.
fn interleave<R: PartialEq + Debug>(
    num_rounds: u32,
    mut limit: impl FnMut() -> R,
    mut engine: impl FnMut() -> Outcome<R>,
) -> Outcome<Vec<Round>> {
    // Not counted: pages are touched for the first time, tables grow.
    let mut rounds = Vec::new();
    for round in 0..=num_rounds {
        let (expected, limit) = timed(&mut limit);
        let (found, engine) = timed(&mut engine);
        let found = found?;
        if found != expected {
            return Err(format!("wrong result: {found:?}, the limit has {expected:?}").into());
        }
        if round > 0 {
            rounds.push(Round { engine, limit });
        }
    }
    Ok(rounds)
}

/// Generated text, stored in a context the way a receiver stores it.
struct Stored {
    ctx: Context,
    /// The blocks of each batch.
    batches: Vec<Vec<BlockId>>,
    blocks: Vec<Arc<TextBlock>>,
}

impl Stored {
    fn new(size: Size, with_hits: bool) -> Outcome<Self> {
        Self::on_clock(size, with_hits, Arc::new(SystemClock::new()))
    }

    fn on_clock(size: Size, with_hits: bool, clock: Arc<dyn Clock>) -> Outcome<Self> {
        let master = Master::local(NUM_SLOTS);
        let ctx = Context::builder().master(master).clock(clock).build()?;
        let num_bytes = size.block_megabytes as usize * 1_000_000;
        let texts = Generator::new().blocks(u64::from(size.blocks), num_bytes, with_hits);
        let (mut ids, mut blocks) = (Vec::new(), Vec::new());
        for (number, (text, num_lines)) in (0..).zip(texts) {
            let block = Arc::new(TextBlock::new(text, num_lines));
            let id = BlockId::Input { stream: 0, number };
            ctx.blocks().put(id, Block::shared(Arc::clone(&block)))?;
            ids.push(id);
            blocks.push(block);
        }
        let batches = ids
            .chunks(size.blocks_per_batch as usize)
            .map(<[BlockId]>::to_vec)
            .collect();
        Ok(Self {
            ctx,
            batches,
            blocks,
        })
    }

    /// The bytes of each block, without the line end of its last line: to a plain loop over
    /// lines that would be the beginning of another, empty one.
    fn bytes(&self) -> Vec<&[u8]> {
        self.blocks
            .iter()
            .map(|block| block.text().trim_end_matches('\n').as_bytes())
            .collect()
    }
}
