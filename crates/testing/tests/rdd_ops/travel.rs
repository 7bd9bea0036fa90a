//! Functions that travel, and those that do not.

use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_core::codec;
use tidemill_core::remote::{EncodedTask, decode_task, encode_task};
use tidemill_core::scheduler::{Backend, JobPlan, OnOutput, Service, ServiceHandle, run_task};
use tidemill_core::storage::BlockStore;
use tidemill_core::travel::Image;
use tidemill_core::{
    CancelToken, Context, Error, ErrorKind, HashPartitioner, PairRdd, Result, TaskContext, TaskId,
};

use crate::support::{Bench, Case, Outcome, Tally, case, count_in};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-209
        case(
            "a_closure_that_captures_stays_in_the_process",
            capturing_closure,
        ),
        case(
            "every_operator_refuses_a_capture_with_its_line",
            every_operator,
        ),
        case(
            "a_function_pointer_is_refused_with_a_hint",
            function_pointer,
        ),
        case("items_and_constructors_travel", items_travel),
        case("a_mutated_task_is_refused_before_it_runs", mutated_task),
    ]
}

/// Passes on locally, and is refused naming the operator and its line elsewhere.
fn assert_stays<R>(bench: &Bench, result: Result<R>, operator: &str) -> Option<R> {
    match result {
        Ok(value) if bench.is_local() => Some(value),
        Ok(_) => panic!("{operator} let a capture leave the process"),
        Err(error) => {
            assert!(!bench.is_local(), "{error:?}");
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
            let named = error
                .fact("operator")
                .is_some_and(|name| name.starts_with(operator));
            assert!(
                named && error.message().contains(".with(data)"),
                "{error:?}"
            );
            None
        }
    }
}

fn capturing_closure(bench: &Bench) -> Outcome {
    let rdd = bench.ctx().range(0..10);
    let least = i64::try_from(std::env::args().len()).unwrap() + 5;
    let line = line!() + 1;
    let large = rdd.filter(move |x| *x >= least);
    let found = assert_stays(
        bench,
        large.count(),
        &format!("filter at {}:{line}", file!()),
    );
    let travelling = rdd.with(least).filter(|least, x| x >= least).count()?;
    assert_eq!(found.unwrap_or(travelling), travelling);
    Ok(())
}

fn every_operator(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.range(0..6);
    let pairs = rdd.map(|x| (x % 2, x));
    let one = i64::try_from(std::env::args().len()).unwrap().min(1);
    let attempts = [
        ("map", rdd.map(move |x| x + one).count()),
        ("flat_map", rdd.flat_map(move |x| 0..x + one).count()),
        (
            "map_partitions",
            rdd.map_partitions(move |r| r.map(move |x| x + one)).count(),
        ),
        (
            "try_map",
            rdd.try_map(move |x| Ok::<_, Error>(x + one)).count(),
        ),
        ("map_values", pairs.map_values(move |x| x + one).count()),
        (
            "flat_map_values",
            pairs.flat_map_values(move |x| 0..x + one).count(),
        ),
        (
            "reduce_by_key",
            pairs.reduce_by_key(move |a, b| a + b + one).count(),
        ),
        (
            "fold_by_key",
            pairs.fold_by_key(0, move |a, b| a + b + one).count(),
        ),
        ("key_by", rdd.key_by(move |x| x + one).count()),
        ("reduce", rdd.reduce(move |a, b| a + b + one).map(|_| 0)),
        ("fold", rdd.fold(0, move |a, b| a + b + one).map(|_| 0)),
        (
            "for_each",
            rdd.for_each(move |x| assert!(x + one >= 0)).map(|()| 0),
        ),
        (
            "sort_by",
            rdd.sort_by(move |x| x + one, true).and_then(|s| s.count()),
        ),
    ];
    for (operator, result) in attempts {
        assert_stays(bench, result, &format!("{operator} at {}:", file!()));
    }
    // Refused each time, and the context is none the worse for it.
    assert_eq!(rdd.count()?, 6);
    Ok(())
}

fn plus_one(x: i64) -> i64 {
    x + 1
}

fn function_pointer(bench: &Bench) -> Outcome {
    let rdd = bench.ctx().range(0..3);
    let pointer: fn(i64) -> i64 = plus_one;
    let line = line!() + 1;
    match rdd.map(pointer).collect() {
        Ok(records) => assert!(bench.is_local() && records == [1, 2, 3]),
        Err(error) => {
            assert!(!bench.is_local());
            assert!(
                error.message().contains("pass the function itself"),
                "{error:?}"
            );
            let expected = format!("map at {}:{line}", file!());
            assert_eq!(error.fact("operator"), Some(&*expected));
        }
    }
    // The item itself has a type of its own, without any bytes.
    assert_eq!(rdd.map(plus_one).collect()?, [1, 2, 3]);
    Ok(())
}

fn items_travel(bench: &Bench) -> Outcome {
    let rdd = bench.ctx().range(0..3);
    assert_eq!(rdd.map(Some).collect()?, [Some(0), Some(1), Some(2)]);
    assert_eq!(rdd.map(i64::unsigned_abs).collect()?, [0, 1, 2]);
    let nested = rdd.map(|x| [plus_one, |x| x * 10].map(|f: fn(i64) -> i64| f(x)));
    assert_eq!(nested.collect()?, [[1, 0], [2, 10], [3, 20]]);
    let table = std::collections::BTreeMap::from([(0, "zero".to_owned()), (2, "two".to_owned())]);
    let named = rdd.with(table).flat_map(|table, x| table.get(&x).cloned());
    assert_eq!(named.collect()?, ["zero", "two"]);
    Ok(())
}

/// Keeps the plan of a job, and runs it nowhere.
#[derive(Debug)]
struct Keeper {
    inner: Arc<dyn Backend>,
    plan: Mutex<Option<Arc<JobPlan>>>,
}

impl Backend for Keeper {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn num_slots(&self) -> usize {
        self.inner.num_slots()
    }

    fn blocks(&self) -> &Arc<dyn BlockStore> {
        self.inner.blocks()
    }

    fn run(&self, plan: &Arc<JobPlan>, _: OnOutput<'_>) -> Result<()> {
        *self.plan.lock() = Some(Arc::clone(plan));
        Err(Error::new(ErrorKind::Cancelled, "kept"))
    }

    fn start_service(&self, service: Arc<dyn Service>) -> Result<ServiceHandle> {
        self.inner.start_service(service)
    }

    fn stop(&self) {
        self.inner.stop();
    }
}

fn mutated_task(bench: &Bench) -> Outcome {
    let (keeper, tally) = (
        Arc::new(Keeper {
            inner: bench.backend().backend(1)?,
            plan: Mutex::default(),
        }),
        Tally::new(),
    );
    let ctx = Context::builder().backend(keeper.clone()).build()?;
    let rdd = ctx
        .parallelize_into((0..6).map(|x| (x, x)), 1)?
        .with(tally.path())
        .map(|path, pair| {
            count_in(path);
            pair
        });
    rdd.partition_by(HashPartitioner::new(3))
        .count()
        .unwrap_err();
    let plan = keeper.plan.lock().take().unwrap();
    let (image, id) = (
        Image::current()?,
        TaskId {
            job: 0,
            stage: 0,
            split: 0,
            attempt: 0,
        },
    );
    let whole = codec::encode(&encode_task(&*plan.stages[0].root, id, 7, &image)?)?;
    let run = |bytes: &[u8]| {
        let root = decode_task(&codec::decode::<EncodedTask>(bytes)?, &image)?;
        let blocks = Arc::clone(ctx.blocks());
        run_task(&*root, &TaskContext::new(id, blocks, CancelToken::new(), 7)).map(drop)
    };
    let mut refused = 0;
    for at in 0..whole.len() {
        for flip in [0x01, 0x40, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            assert_eq!(
                run(&bytes).unwrap_err().kind(),
                ErrorKind::Data,
                "byte {at}"
            );
            refused += 1;
        }
        assert_eq!(run(&whole[..at]).unwrap_err().kind(), ErrorKind::Data);
    }
    assert!(refused >= 400, "{refused} mutations");
    assert_eq!(tally.count(), 0, "nothing of a damaged task ran");
    run(&whole)?;
    assert_eq!(tally.count(), 6);
    Ok(())
}
