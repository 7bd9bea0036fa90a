//! The same RDD in every batch.

use tidemill_streaming::PairDStream;

use crate::support::{Bench, Case, Outcome, case, collect, driver_case, take};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-087
        case("a_constant_stream_has_the_same_records_each_batch", same),
        driver_case("a_cached_constant_stays_cached", cached),
        driver_case("a_constant_joins_a_stream", joined),
    ]
}

fn same(bench: &Bench) -> Outcome {
    let program = bench.program();
    let rdd = program.ctx.parallelize_into([3, 1, 2], 3)?;
    let rows = collect(&program.ssc.constant_stream(&rdd).map(|x| 10 * x).glom());
    let live = program.start();
    for _ in 0..3 {
        live.tick();
        assert_eq!(take(&rows), [[30], [10], [20]]);
    }
    Ok(())
}

fn cached(bench: &Bench) -> Outcome {
    let program = bench.program();
    let rdd = program.ctx.parallelize([1, 2]).cache();
    let rows = collect(&program.ssc.constant_stream(&rdd));
    let live = program.start();
    for _ in 0..4 {
        live.tick();
        assert_eq!(take(&rows), [1, 2]);
    }
    // Batches were forgotten by now, what the program caches was not.
    assert_eq!(rdd.storage_level(), tidemill_core::StorageLevel::MemoryOnly);
    Ok(())
}

fn joined(bench: &Bench) -> Outcome {
    let program = bench.program();
    let names = program
        .ctx
        .parallelize([(1, "one"), (2, "two")].map(|(n, s)| (n, s.to_owned())));
    let numbers = program.queue(vec![vec![(1, 1.0)], vec![(2, 2.0), (3, 3.0)]]);
    let rows = collect(&numbers.join(&program.ssc.constant_stream(&names)));
    let live = program.start();
    live.tick();
    live.tick();
    assert_eq!(take(&rows), [(1, (1.0, "one".to_owned()))]);
    assert_eq!(take(&rows), [(2, (2.0, "two".to_owned()))]);
    Ok(())
}
