//! `pipe`, `named`, `to_debug_string`.

use tidemill_core::{ErrorKind, JobGroup, PairRdd, PipeCommand, Text};

use crate::support::{Bench, Case, Outcome, Tally, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-108
        case("pipe_through_cat_changes_nothing", through_cat),
        // C-109
        case("pipe_fails_with_its_program", failing_program),
        case("pipe_ends_its_program_with_the_task", ends_with_task),
        case("pipe_takes_words_arguments_and_environment", arguments),
        // C-085
        case("an_rdd_has_an_id_and_may_have_a_name", names),
        // C-199
        case("debug_string_shows_partitions_and_shuffles", debug_string),
    ]
}

fn through_cat(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let texts = ["one", "", "zwei\u{308}", "日本", "", "a b\tc"].map(Text::from);
    for partitions in [1, 4, 9] {
        let piped = ctx.parallelize_into(texts.clone(), partitions)?.pipe("cat");
        assert_eq!(piped.collect()?, texts);
        assert_eq!(piped.num_partitions()?, partitions);
    }
    // More than fits into a pipe, in both directions at once.
    let numbers = ctx.range_into(0..60_000, 2)?;
    let piped = numbers.map(|x| format!("{x:0>60}")).pipe("cat");
    let back = piped.try_map(|line| line.parse::<i64>());
    assert_eq!(back.collect()?, (0..60_000).collect::<Vec<_>>());
    Ok(())
}

fn failing_program(bench: &Bench) -> Outcome {
    let numbers = bench.ctx().range_into(0..3, 1)?;
    let line = line!() + 1;
    let failing = numbers.pipe(PipeCommand::new("sh").args(["-c", "cat; exit 3"]));
    let error = failing.collect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User, "{error:?}");
    assert_eq!(
        error.fact("operator"),
        Some(&*format!("pipe at {}:{line}", file!()))
    );
    assert!(error.fact("status").unwrap().ends_with('3'), "{error:?}");
    assert_eq!(error.fact("command"), Some("sh -c cat; exit 3"));
    let missing = numbers
        .pipe("no-such-program-anywhere")
        .count()
        .unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Invalid, "{missing:?}");
    assert!(
        missing.report().contains("cannot be started"),
        "{missing:?}"
    );
    Ok(())
}

/// A program that says its own process id, starts another one and then waits for ever.
const PATIENT: &str =
    "sleep 1000 & echo $$ >> $FILE; echo $! >> $FILE; echo ready; cat; sleep 1000";
/// A program that says its own process id and then reads until its input ends.
const READER: &str = "echo $$ >> $FILE; echo ready; exec cat > /dev/null";

fn ends_with_task(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let file = Tally::new();
    // A process that runs a cancelled task is killed: its program then only has no more input.
    let (script, ids_each, last) = if bench.backend().name().contains("process") {
        (READER, 1, i64::MAX)
    } else {
        (PATIENT, 2, 3)
    };
    let command = || {
        PipeCommand::new("sh")
            .args(["-c", script])
            .env("FILE", file.path())
    };
    let numbers = ctx.range_into(0..last, 1)?;
    // A task that wants no more lines.
    assert_eq!(numbers.pipe(command()).take(1)?, ["ready"]);
    // A task that is cancelled while its program is busy.
    let (group, started) = (JobGroup::new(), ids(&file).len());
    let error = std::thread::scope(|scope| {
        let counted = scope.spawn(|| group.run(|| numbers.pipe(command()).count()));
        while ids(&file).len() < started + ids_each {
            std::thread::yield_now();
        }
        group.cancel();
        counted.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    for id in ids(&file) {
        while is_alive(&id) {
            std::thread::yield_now();
        }
    }
    Ok(())
}

/// The whole lines of the file.
fn ids(file: &Tally) -> Vec<String> {
    let text = std::fs::read_to_string(file.path()).unwrap_or_default();
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    whole.map(|line| line.trim().to_owned()).collect()
}

/// Whether there is such a process that has not ended.
fn is_alive(id: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = status
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

fn arguments(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let words = ctx.parallelize_into(["b", "a", "c"].map(String::from), 1)?;
    assert_eq!(words.pipe("sort -r").collect()?, ["c", "b", "a"]);
    // The program decides how much it reads.
    let many = ctx.range_into(0..100_000, 1)?;
    assert_eq!(many.pipe("head -n 2").collect()?, ["0", "1"]);
    let shell = |script: &str| PipeCommand::new("sh").args(["-c", script]);
    let said = words.pipe(shell("echo \"$A\"").env("A", "b  c"));
    assert_eq!(said.collect()?, ["b  c"]);
    let bare = words.pipe(
        PipeCommand::new("/usr/bin/env")
            .clear_env()
            .env("ONLY", "1"),
    );
    assert_eq!(bare.collect()?, ["ONLY=1"]);
    // No line end at the end; bytes that are no text; empty partitions have a program, too.
    let odd = words.pipe(shell("printf 'x\\377\\ny'"));
    assert_eq!(odd.collect()?, ["x\u{fffd}", "y"]);
    let hollow = ctx.parallelize_into(Vec::<i64>::new(), 2)?;
    assert_eq!(hollow.pipe("echo here").count()?, 2);
    Ok(())
}

fn names(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let line = line!() + 1;
    let numbers = ctx.range_into(0..4, 2)?;
    let doubled = numbers.map(|x| x * 2);
    assert!(doubled.id() > numbers.id() && doubled.name().is_none());
    assert_eq!(
        format!("{numbers:?}"),
        format!("Rdd[{}] range at {}:{line}", numbers.id(), file!())
    );
    let named = doubled.named("twice");
    assert!(named.id() > doubled.id());
    assert_eq!(
        (named.name(), named.collect()?),
        (Some("twice"), vec![0, 2, 4, 6])
    );
    let failing = numbers.map(|x| (x, x)).named("pairs").map_values(|x| 1 / x);
    let error = failing.named("quotients").count().unwrap_err();
    assert!(
        error
            .fact("operator")
            .unwrap()
            .starts_with("map_values at ")
    );
    // A name keeps the placement.
    let placed = numbers
        .map(|x| (x, x))
        .partition_by(tidemill_core::HashPartitioner::new(3));
    assert_eq!(placed.named("placed").partitioner(), placed.partitioner());
    Ok(())
}

fn debug_string(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let pairs = ctx
        .range_into(0..10, 5)?
        .map(|x| (x % 3, x))
        .named("pairs")
        .cache();
    let sums = pairs.reduce_by_key_with(tidemill_core::HashPartitioner::new(2), |a, b| a + b);
    let joined = sums.join(&pairs).map(|pair| pair);
    let text = joined.to_debug_string();
    let starts = [
        "(2) Rdd[",    // the map
        " |  Rdd[",    // the join's pairs
        " |  Rdd[",    // the join's groups
        " |  Rdd[",    // the sums, which are placed already
        " +-(5) Rdd[", // the pairs, kept in memory
        "     |  Rdd[",
        "     |  Rdd[",
        " +-(5) Rdd[", // the pairs again
    ];
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), starts.len(), "{text}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{start:?} in {text}");
    }
    assert_eq!(text.matches("+-").count(), 2);
    assert_eq!(text.matches("map \"pairs\" at ").count(), 2);
    assert!(
        lines[4].contains("[MemoryOnly]") && lines[7].ends_with("(as above)"),
        "{text}"
    );
    // A lineage of any length.
    let mut long = ctx.range_into(0..2, 1)?;
    for _ in 0..20_000 {
        long = long.map(|x| x + 1);
    }
    assert_eq!(long.to_debug_string().lines().count(), 20_001);
    Ok(())
}
