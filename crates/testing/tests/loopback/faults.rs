//! Messages that are lost, executors that die.

use std::process::Command;
use std::sync::Arc;

use tidemill_core::remote::{Reply, read_frame, write_frame};
use tidemill_core::storage::BlockId;
use tidemill_core::{Context, ErrorKind, PairRdd, StorageLevel};
use tidemill_testing::{Faults, Loopback};

fn context(loopback: &Arc<Loopback>) -> Context {
    Context::builder()
        .backend(loopback.clone())
        .build()
        .unwrap()
}

/// A job with a shuffle, checked.
fn sums(ctx: &Context) {
    let pairs = ctx
        .parallelize_into((0..100).map(|x| (x % 10, x)), 4)
        .unwrap();
    let mut sums = pairs.reduce_by_key(|a, b| a + b).collect().unwrap();
    sums.sort_unstable();
    let expected: Vec<(i32, i32)> = (0..10).map(|key| (key, 450 + key * 10)).collect();
    assert_eq!(sums, expected);
}

pub(crate) fn killed_child() {
    let loopback = Arc::new(Loopback::process(2, None).unwrap());
    let ctx = context(&loopback);
    sums(&ctx);
    let before = loopback.child_ids();
    assert_eq!(before.len(), 2);
    for id in &before {
        let killed = Command::new("kill").args(["-9", &id.to_string()]).status();
        assert!(killed.unwrap().success());
    }
    sums(&ctx);
    let after = loopback.child_ids();
    assert!(
        after.iter().all(|id| !before.contains(id)),
        "{before:?} {after:?}"
    );
}

pub(crate) fn seeded_kill() {
    let mut num_killed = 0;
    for kill_after in 1..12 {
        let faults = Faults {
            seed: 1,
            drop_per_mille: 0,
            kill_after: Some(kill_after),
        };
        let loopback = Arc::new(Loopback::process(1, Some(faults)).unwrap());
        sums(&context(&loopback));
        num_killed += loopback.num_killed();
    }
    assert_eq!(num_killed, 11);
}

pub(crate) fn lost_messages() {
    for seed in 0..3 {
        let faults = |drop_per_mille| {
            Some(Faults {
                seed,
                drop_per_mille,
                kill_after: None,
            })
        };
        for loopback in [
            Loopback::in_process(2, faults(300)).unwrap(),
            Loopback::process(2, faults(50)).unwrap(),
        ] {
            let loopback = Arc::new(loopback);
            let ctx = context(&loopback);
            // Until something was lost: with luck the first job meets nothing.
            let jobs = (0..50).take_while(|_| loopback.num_lost() == 0);
            jobs.for_each(|_| sums(&ctx));
            assert!(loopback.num_lost() > 0, "{loopback:?}");
        }
    }
}

pub(crate) fn suicide() {
    let loopback = Arc::new(Loopback::process(1, None).unwrap());
    let ctx = context(&loopback);
    let deadly = ctx
        .range(0..2)
        .map(|x| if x == 1 { std::process::abort() } else { x });
    let error = deadly.collect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.report().contains("executor died") || error.report().contains("peer is gone"));
    sums(&ctx);
}

pub(crate) fn damaged_message() {
    let mut whole = Vec::new();
    let id = BlockId::Rdd { rdd: 1, split: 2 };
    write_frame(
        &mut whole,
        &Reply::Store(id, vec![7; 20], 20, StorageLevel::MemoryOnly),
    )
    .unwrap();
    let mut seen = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        // An error, or a message about something else: never a crash, never memory without end.
        let _ = read_frame::<Reply>(&mut bytes.as_slice());
        let end = read_frame::<Reply>(&mut &whole[..at]);
        assert!(end.is_err() || at < 4 && end.unwrap().is_none());
        seen += 1;
    }
    assert!(seen > 20);
}
