//! Cutting a lineage into stages. Iterative: a lineage of any length needs no more stack.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::stage::{Stage, StageRoot};
use crate::error::Result;
use crate::rdd::node::Dependency;
use crate::shuffle::{AnyShuffle, ShuffleTracker};
use crate::storage::{BlockId, BlockStore, StorageLevel};

/// The stages of a job that runs `root` on `splits`, parents first. Stages whose map outputs all
/// exist are left out, as is everything above a cached partition.
pub(crate) fn plan(
    root: Arc<dyn StageRoot>,
    splits: Vec<usize>,
    tracker: &ShuffleTracker,
    blocks: &dyn BlockStore,
) -> Result<Vec<Stage>> {
    // Discovery order: the result stage first, then what it needs, and so on.
    let mut found = vec![Stage {
        may_be_twinned: root.may_be_twinned(),
        root,
        splits,
        parents: Vec::new(),
        shuffle: None,
    }];
    let mut position: HashMap<u64, usize> = HashMap::new();
    let mut at = 0;
    while let Some(stage) = found.get(at) {
        let mut parents = Vec::new();
        let above = shuffles_above(stage, blocks)?;
        for shuffle in above.shuffles {
            let known = position.get(&shuffle.id()).copied();
            let parent = match known {
                Some(parent) => parent,
                None => {
                    let id = shuffle.id();
                    let num_maps = shuffle.num_maps()?;
                    let root = shuffle.root();
                    let splits = tracker.missing(id, num_maps);
                    if splits.is_empty() {
                        continue;
                    }
                    found.push(Stage {
                        may_be_twinned: root.may_be_twinned(),
                        root,
                        splits,
                        parents: Vec::new(),
                        shuffle: Some(id),
                    });
                    position.insert(id, found.len() - 1);
                    found.len() - 1
                }
            };
            parents.push(parent);
        }
        if let Some(stage) = found.get_mut(at) {
            stage.parents = parents;
            stage.may_be_twinned &= above.may_be_twinned;
        }
        at += 1;
    }
    Ok(parents_first(found))
}

/// What a walk up a stage's lineage finds.
struct Above {
    /// The shuffles that the stage's tasks read, each once, in the order they are met.
    shuffles: Vec<Arc<dyn AnyShuffle>>,
    /// Whether all nodes on the way allow twins.
    may_be_twinned: bool,
}

fn shuffles_above(stage: &Stage, blocks: &dyn BlockStore) -> Result<Above> {
    let mut may_be_twinned = true;
    let mut shuffles: Vec<Arc<dyn AnyShuffle>> = Vec::new();
    let mut seen_shuffles = HashSet::new();
    let mut seen = HashSet::new();
    let mut open = vec![stage.root.input()];
    while let Some(parent) = open.pop() {
        let node = &*parent.any();
        if !seen.insert(node.meta().id()) {
            continue;
        }
        node.prepare()?;
        node.meta().persistence().check(node.meta())?;
        if is_kept(node, blocks)? {
            continue;
        }
        may_be_twinned &= node.may_be_twinned();
        for dependency in node.dependencies() {
            match dependency {
                Dependency::Narrow(above, _) => open.push(above),
                Dependency::Shuffle(shuffle) => {
                    if seen_shuffles.insert(shuffle.id()) {
                        shuffles.push(shuffle);
                    }
                }
            }
        }
    }
    Ok(Above {
        shuffles,
        may_be_twinned,
    })
}

/// Whether all partitions of a cached node are in memory.
fn is_kept(node: &dyn crate::rdd::node::AnyRdd, blocks: &dyn BlockStore) -> Result<bool> {
    if node.meta().storage() == StorageLevel::None {
        return Ok(false);
    }
    let rdd = node.meta().id();
    for split in 0..node.num_partitions()? {
        if !blocks.contains(BlockId::Rdd { rdd, split })? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Re-orders stages so that parents precede children; the result stage, found first, ends last.
fn parents_first(found: Vec<Stage>) -> Vec<Stage> {
    let mut new_position: Vec<Option<usize>> = vec![None; found.len()];
    let mut order = Vec::with_capacity(found.len());
    // Depth first with an explicit stack; a stage is placed when its parents are.
    let mut open = vec![0];
    while let Some(&at) = open.last() {
        let placed = |stage: usize| new_position.get(stage).is_some_and(Option::is_some);
        let waiting = found
            .get(at)
            .map(|stage| {
                stage
                    .parents
                    .iter()
                    .copied()
                    .filter(|p| !placed(*p))
                    .collect::<Vec<_>>()
            })
            .unwrap_or_default();
        if waiting.is_empty() {
            open.pop();
            if !placed(at) {
                if let Some(slot) = new_position.get_mut(at) {
                    *slot = Some(order.len());
                }
                order.push(at);
            }
        } else {
            open.extend(waiting);
        }
    }
    let mut found: Vec<Option<Stage>> = found.into_iter().map(Some).collect();
    order
        .into_iter()
        .filter_map(|at| found.get_mut(at)?.take())
        .map(|mut stage| {
            for parent in &mut stage.parents {
                *parent = new_position
                    .get(*parent)
                    .copied()
                    .flatten()
                    .unwrap_or(*parent);
            }
            stage
        })
        .collect()
}
