//! Which job's tasks go first: FIFO, and pools that share.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use parking_lot::Mutex;
use tidemill_core::{Context, JobEvent, JobScope, Pool, Rdd, SchedulingMode};

use crate::gate::{Gate, pass};
use crate::support::{Bench, Case, Outcome, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-217
        case("a_later_job_waits_for_an_older_one", fifo),
        // C-217
        case("a_pool_does_not_wait_for_the_tasks_of_another", fair),
        // C-218
        case("a_pool_is_chosen_by_thread", pools_by_thread),
    ]
}

/// A context of one slot, and the jobs whose tasks start in it.
fn one_slot(
    bench: &Bench,
    mode: SchedulingMode,
) -> Result<(Context, Receiver<u64>), tidemill_core::Error> {
    let (started, starts) = channel();
    let started = Mutex::new(started);
    let builder = bench.backend().builder(1)?;
    let ctx = builder
        .scheduling_mode(mode)
        .pool(Pool::new("long"))
        .listener(Arc::new(move |event: &JobEvent| {
            if let JobEvent::TaskStarted { task, .. } = event {
                let _ = started.lock().send(task.job);
            }
        }))
        .build()?;
    Ok((ctx, starts))
}

/// Tasks that wait at the gate one after the other.
fn held_up(ctx: &Context, gate: &Gate, num_tasks: i32) -> Rdd<i32> {
    let numbers = ctx
        .parallelize_into(0..num_tasks, num_tasks as usize)
        .unwrap();
    numbers.with(gate.path()).map(|path, x| {
        pass(path);
        x
    })
}

const NUM_TASKS: i32 = 100;

/// Runs a job of many tasks in the pool `long` and then one of a single task in the pool `short`;
/// returns how many tasks of the long one had started when the short one's did.
fn overtaken(bench: &Bench, mode: SchedulingMode) -> Result<usize, tidemill_core::Error> {
    let (ctx, starts) = one_slot(bench, mode)?;
    let gate = Gate::new();
    let (long, short) = (
        held_up(&ctx, &gate, NUM_TASKS),
        ctx.parallelize_into(0..1, 1)?,
    );
    let status = ctx.status();
    std::thread::scope(|threads| {
        let long = threads.spawn(|| JobScope::current().in_pool("long").run(|| long.count()));
        let mut held = gate.next();
        let short = threads.spawn(|| JobScope::current().in_pool("short").run(|| short.count()));
        // The second job is known before its task is queued, a few instructions later; the first
        // job has many tasks left to notice it by.
        while status.active_stages().len() < 2 {
            std::thread::yield_now();
        }
        for _ in 1..NUM_TASKS {
            drop(held);
            held = gate.next();
        }
        drop((held, gate));
        long.join().unwrap()?;
        short.join().unwrap()
    })?;
    ctx.flush_listeners();
    let order: Vec<u64> = starts.try_iter().collect();
    Ok(order.iter().position(|job| *job == 1).unwrap())
}

fn fifo(bench: &Bench) -> Outcome {
    assert!(overtaken(bench, SchedulingMode::Fifo)? >= NUM_TASKS as usize);
    Ok(())
}

fn fair(bench: &Bench) -> Outcome {
    assert!(overtaken(bench, SchedulingMode::Fair)? < NUM_TASKS as usize);
    Ok(())
}

fn pools_by_thread(bench: &Bench) -> Outcome {
    let builder = bench.backend().builder(2)?;
    let ctx = builder.scheduling_mode(SchedulingMode::Fair).build()?;
    let gate = Gate::new();
    let count = |gate: &Gate, pool: &'static str| {
        let held = held_up(&ctx, gate, 1);
        move || JobScope::current().in_pool(pool).run(|| held.count())
    };
    std::thread::scope(|threads| {
        let a = threads.spawn(count(&gate, "a"));
        let first = gate.next();
        let b = threads.spawn(count(&gate, "b"));
        // Both are at the gate at once: the jobs run side by side.
        let second = gate.next();
        let status = ctx.status();
        let pool = |id| status.job(id).and_then(|job| job.pool);
        assert_eq!(
            (pool(0).as_deref(), pool(1).as_deref()),
            (Some("a"), Some("b"))
        );
        drop((first, second, gate));
        assert_eq!((a.join().unwrap()?, b.join().unwrap()?), (1, 1));
        Ok::<_, tidemill_core::Error>(())
    })?;
    // A thread that chose none is in the default pool.
    ctx.range(0..1).count()?;
    assert_eq!(
        ctx.status().job(2).unwrap().pool.as_deref(),
        Some(Pool::DEFAULT)
    );
    let plain = bench.ctx();
    plain.range(0..1).count()?;
    assert_eq!(plain.status().job(0).unwrap().pool, None);
    Ok(())
}
