//! `to_debug_string`: the lineage as text.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

use super::Rdd;
use super::node::{AnyParent, Dependency};
use crate::data::Data;
use crate::storage::StorageLevel;

/// How a line hangs on the one above it.
#[derive(Clone, Copy, PartialEq)]
enum Link {
    First,
    Narrow,
    Shuffle,
}

impl<T: Data> Rdd<T> {
    /// What the RDD is made of, from itself up to its sources: one line an RDD, with the number of
    /// partitions where a stage begins. ` +-` stands before an RDD that is read through a shuffle,
    /// ` | ` before one that is read in the same task.
    ///
    /// ```
    /// # use tidemill_core::PairRdd;
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let pairs = ctx.parallelize_into([('a', 1), ('b', 2)], 2)?;
    /// let text = pairs.reduce_by_key(|a, b| a + b).to_debug_string();
    /// let mut lines = text.lines();
    /// assert!(lines.next().is_some_and(|line| line.starts_with("(2) Rdd[")));
    /// assert!(lines.next().is_some_and(|line| line.starts_with(" +-(2) Rdd[")));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[must_use]
    pub fn to_debug_string(&self) -> String {
        let mut text = String::new();
        let mut seen = HashSet::new();
        let top: Arc<dyn AnyParent> = Arc::new(self.node.clone());
        // With an explicit stack: a lineage may be longer than the machine's.
        let mut open = vec![(top, String::new(), Link::First)];
        while let Some((parent, indent, link)) = open.pop() {
            let first_time = seen.insert(parent.any().meta().id());
            describe(&mut text, &*parent, &indent, link, first_time);
            if !first_time {
                continue;
            }
            let indent = match link {
                Link::Shuffle => indent + "    ",
                Link::First | Link::Narrow => indent,
            };
            for dependency in parent.any().dependencies().into_iter().rev() {
                open.push(match dependency {
                    Dependency::Narrow(above, _) => (above, indent.clone(), Link::Narrow),
                    Dependency::Shuffle(shuffle) => {
                        (shuffle.root().input(), indent.clone(), Link::Shuffle)
                    }
                });
            }
        }
        text
    }
}

fn describe(text: &mut String, parent: &dyn AnyParent, indent: &str, link: Link, whole: bool) {
    let node = parent.any();
    let meta = node.meta();
    // Asked where a stage begins only: in a long lineage the answer is far away.
    let partitions = || match node.num_partitions() {
        Ok(n) => format!("({n})"),
        Err(_) => "(?)".to_owned(),
    };
    let mark = match link {
        Link::First => partitions(),
        Link::Narrow => " | ".to_owned(),
        Link::Shuffle => format!(" +-{}", partitions()),
    };
    let level = meta.storage();
    let kept = if level == StorageLevel::None {
        String::new()
    } else {
        format!(" [{level:?}]")
    };
    let rest = if whole { "" } else { " (as above)" };
    let (id, operator) = (meta.id(), meta.operator());
    // A string takes whatever is written.
    let _ = writeln!(text, "{indent}{mark} Rdd[{id}] {operator}{kept}{rest}");
}
