//! A task as bytes: the lineage it needs, root last, and nothing of the rest of the program.

use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::codec::{self, Decoder, Encoder};
use crate::error::{Error, Result};
use crate::rdd::node::{AnyParent, Dependency, Header};
use crate::scheduler::StageRoot;
use crate::task::TaskId;
use crate::travel::{DescriptorName, Image, stable_hash};

/// One task, ready to be sent to another process of the same executable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EncodedTask {
    /// Which attempt at what.
    pub id: TaskId,
    /// The run's seed.
    pub seed: u64,
    /// The encoded nodes: parents before children, the stage's root last.
    lineage: Vec<u8>,
    /// Over all of the above: a damaged task is refused before any of it is believed.
    digest: u64,
}

impl EncodedTask {
    fn seal(id: TaskId, seed: u64, nodes: &[EncodedNode]) -> Result<Self> {
        let lineage = codec::encode(nodes)?;
        let digest = stable_hash(&(id, seed, &lineage));
        Ok(Self {
            id,
            seed,
            lineage,
            digest,
        })
    }

    fn open(&self) -> Result<Vec<EncodedNode>> {
        if stable_hash(&(self.id, self.seed, &self.lineage)) != self.digest {
            return Err(Error::data("task was damaged on its way").with("task", self.id));
        }
        codec::decode(&self.lineage)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct EncodedNode {
    descriptor: DescriptorName,
    header: Header,
    /// Positions of the narrow parents, in the order of the node's dependencies.
    parents: Vec<usize>,
    payload: Vec<u8>,
}

/// Writes down one task.
///
/// # Errors
/// `Invalid` when a closure or value of the lineage cannot leave the process; names the operator
/// and its line.
pub fn encode_task(
    root: &dyn StageRoot,
    id: TaskId,
    seed: u64,
    image: &Image,
) -> Result<EncodedTask> {
    let input = root.input();
    let found = collect(&input, id.split);
    let mut position = HashMap::new();
    let mut nodes = Vec::with_capacity(found.len() + 1);
    for (parent, splits) in found {
        let node = parent.any();
        let parents = narrow_parents(node.dependencies())
            .map(|(above, _)| position_of(&position, above.any().meta().id()))
            .collect::<Result<_>>()?;
        let mut encoder = Encoder::new(node.meta().operator(), image);
        node.encode(&splits.into_iter().collect::<Vec<_>>(), &mut encoder)?;
        let payload = encoder.finish();
        position.insert(node.meta().id(), nodes.len());
        let descriptor = image.name_of(node.descriptor());
        nodes.push(EncodedNode {
            descriptor,
            header: node.meta().header(),
            parents,
            payload,
        });
    }
    let parents = vec![position_of(&position, input.any().meta().id())?];
    let mut encoder = Encoder::new(root.meta().operator(), image);
    root.encode(&mut encoder)?;
    let descriptor = image.name_of(root.descriptor());
    let header = root.meta().header();
    nodes.push(EncodedNode {
        descriptor,
        header,
        parents,
        payload: encoder.finish(),
    });
    EncodedTask::seal(id, seed, &nodes)
}

fn position_of(position: &HashMap<u64, usize>, id: u64) -> Result<usize> {
    position
        .get(&id)
        .copied()
        .ok_or_else(|| Error::internal("lineage is not in order"))
}

fn narrow_parents(
    dependencies: Vec<Dependency>,
) -> impl Iterator<Item = (Arc<dyn AnyParent>, crate::rdd::node::Narrow)> {
    dependencies
        .into_iter()
        .filter_map(|dependency| match dependency {
            Dependency::Narrow(above, map) => Some((above, map)),
            Dependency::Shuffle(_) => None,
        })
}

/// The nodes of a task's lineage, parents first, each with the partitions that the task reads.
/// Iterative; a node is placed when all its parents are.
fn collect(input: &Arc<dyn AnyParent>, split: usize) -> Vec<(Arc<dyn AnyParent>, BTreeSet<usize>)> {
    // First the order, then the partitions: children before parents, so that all readers of a
    // node have spoken before its own parents are asked.
    let mut order: Vec<Arc<dyn AnyParent>> = Vec::new();
    let mut state: HashMap<u64, bool> = HashMap::new();
    let mut open = vec![(Arc::clone(input), false)];
    while let Some((parent, parents_placed)) = open.pop() {
        let id = parent.any().meta().id();
        if parents_placed {
            if state.insert(id, true) != Some(true) {
                order.push(parent);
            }
            continue;
        }
        if state.contains_key(&id) {
            continue;
        }
        state.insert(id, false);
        let above: Vec<_> = narrow_parents(parent.any().dependencies())
            .map(|(above, _)| above)
            .collect();
        open.push((parent, true));
        open.extend(above.into_iter().map(|above| (above, false)));
    }
    let mut splits: HashMap<u64, BTreeSet<usize>> = HashMap::new();
    splits
        .entry(input.any().meta().id())
        .or_default()
        .insert(split);
    for parent in order.iter().rev() {
        let wanted = splits
            .get(&parent.any().meta().id())
            .cloned()
            .unwrap_or_default();
        for (above, map) in narrow_parents(parent.any().dependencies()) {
            let above = splits.entry(above.any().meta().id()).or_default();
            above.extend(wanted.iter().flat_map(|split| map.parents_of(*split)));
        }
    }
    order
        .into_iter()
        .map(|parent| {
            let wanted = splits.remove(&parent.any().meta().id()).unwrap_or_default();
            (parent, wanted)
        })
        .collect()
}

/// Rebuilds a task's lineage.
///
/// # Errors
/// `Data` when the task was damaged, or a descriptor or a payload is not what this executable
/// wrote.
pub fn decode_task(task: &EncodedTask, image: &Image) -> Result<Arc<dyn StageRoot>> {
    let nodes = task.open()?;
    let mut built: Vec<Arc<dyn Any + Send + Sync>> = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let descriptor = image.resolve(node.descriptor)?;
        let parents = node
            .parents
            .iter()
            .map(|at| built.get(*at).cloned())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::data("task lineage is not in order"))?;
        let mut decoder = Decoder::new(&node.payload, node.header.clone(), parents, image);
        built.push(Arc::from(descriptor.build(&mut decoder)?));
    }
    built
        .last()
        .and_then(|root| root.downcast_ref::<Arc<dyn StageRoot>>())
        .cloned()
        .ok_or_else(|| Error::data("task has no root"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::data::PartitionIter;
    use crate::function::Plain;
    use crate::operator::Operator;
    use crate::rdd::action::ActionRoot;
    use crate::scheduler::run_task;
    use crate::task::{CancelToken, TaskContext};

    /// What damage cannot do, a peer of another build could: a task with a right digest whose
    /// lineage says anything at all.
    #[test]
    fn a_forged_lineage_gives_an_error_or_a_result() {
        let ctx = Context::local(1).unwrap();
        let image = Image::current().unwrap();
        let rdd = ctx.parallelize(1..4).map(|x| x + 1).filter(|x| x % 2 == 0);
        let operator = Operator::new("count", std::panic::Location::caller());
        let meta = ctx.meta(operator, rdd.parent().depth());
        let count = Arc::new(Plain(|records: PartitionIter<i32>| records.count() as u64));
        let root = ActionRoot::new(meta, rdd.parent().clone(), count);
        let id = TaskId {
            job: 0,
            stage: 0,
            split: 0,
            attempt: 0,
        };
        let run = |task: &EncodedTask| -> Result<u64> {
            let root = decode_task(task, &image)?;
            let (cancel, blocks) = (CancelToken::new(), Arc::clone(ctx.blocks()));
            let output = run_task(&*root, &TaskContext::new(id, blocks, cancel, 0))?;
            Ok(*output.value.downcast::<u64>().unwrap())
        };
        let whole = encode_task(&root, id, 0, &image).unwrap();
        assert_eq!(run(&whole).unwrap(), 2);
        let (mut refused, mut ran) = (0, 0);
        for at in 0..whole.lineage.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut lineage = whole.lineage.clone();
                lineage[at] ^= flip;
                let Ok(nodes) = codec::decode::<Vec<EncodedNode>>(&lineage) else {
                    refused += 1;
                    continue;
                };
                match run(&EncodedTask::seal(id, 0, &nodes).unwrap()) {
                    Ok(_) => ran += 1,
                    Err(_) => refused += 1,
                }
            }
        }
        // Every byte of four descriptors is refused; names, lines and numbers may change.
        assert!(refused > 4 * 8, "{refused} refused, {ran} ran");
        assert!(ran > 0);
    }
}
