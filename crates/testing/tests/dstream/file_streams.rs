//! Files that appear in folders.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidemill_core::{Error, ErrorKind, PartitionIter, Text};
use tidemill_streaming::{BoxError, FileFilter, FileReader, FileStreamOptions, PairDStream};

use crate::support::{
    Bench, Case, Live, Outcome, Program, case, collect, driver_case, local_case, take,
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-070 S-073
        driver_case("new_files_are_read_once", new_files),
        // S-074
        driver_case(
            "existing_files_of_the_window_are_read_when_asked",
            existing_files,
        ),
        // S-071
        local_case("a_file_as_old_as_the_stream_is_not_new", boundary),
        // S-072
        local_case("a_filter_replaces_the_one_of_hidden_files", filters),
        // S-075
        local_case("a_file_from_the_future_waits_for_its_batch", future),
        // S-076
        local_case("globs_name_folders_and_go_no_deeper", globs),
        // S-076
        local_case("a_renamed_folder_brings_its_fresh_files", renamed),
        // S-077
        local_case("a_missing_folder_is_an_empty_batch", missing_folder),
        // S-078
        local_case("the_window_is_what_the_options_say", window),
        local_case(
            "what_is_appended_is_not_read_and_what_is_made_anew_is",
            changed,
        ),
        local_case("files_changed_at_the_same_time_are_both_read", same_time),
        // S-079
        driver_case("a_batch_tells_its_files_and_no_count", told),
        // S-080
        case("fixed_records_of_files_are_read", binary_records),
        // S-080
        driver_case("a_file_of_another_length_fails_its_batch_alone", ragged),
        driver_case("a_file_that_is_gone_fails_its_batch_by_name", vanished),
        driver_case(
            "a_file_that_is_gone_is_passed_over_when_asked",
            vanished_ignored,
        ),
        case("a_reader_of_ones_own_reads_files", own_reader),
        driver_case("a_reader_that_fails_names_the_file", failing_reader),
        driver_case("names_and_kinds_of_files_may_be_anything", odd_files),
        driver_case("batches_read_what_the_rules_say", random_files),
        local_case("what_cannot_be_watched_is_refused_at_the_start", refused),
        case("words_of_files_are_counted_and_saved", word_count),
    ]
}

/// A folder that a stream watches.
struct Inbox(TempDir);

impl Inbox {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> String {
        self.0.path().display().to_string()
    }

    fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file that was last changed at `ms` on the stream's clock.
    fn put(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>, ms: u64) {
        put(&self.at(name), content, ms);
    }
}

fn put(path: &Path, content: impl AsRef<[u8]>, ms: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_millis(ms))
        .unwrap();
}

fn texts(program: &Program, folder: &str, options: FileStreamOptions) -> Receiver<Vec<String>> {
    let lines = program.ssc.text_file_stream_with(folder, options);
    collect(&lines.map(|line: Text| line.to_string()))
}

fn tick(live: &Live, rows: &Receiver<Vec<String>>) -> Vec<String> {
    assert_eq!(live.tick().num_failed, 0);
    take(rows)
}

fn new_or_all(bench: &Bench, new_files_only: bool) -> Vec<String> {
    let inbox = Inbox::new();
    inbox.put("0", "0\n", 10_000);
    let program = bench.program();
    program.clock.set(12_000);
    let options = FileStreamOptions {
        new_files_only,
        ..FileStreamOptions::default()
    };
    let rows = texts(&program, &inbox.path(), options);
    let live = program.start();
    let mut seen = Vec::new();
    for number in 1..=5_u64 {
        inbox.put(
            number.to_string(),
            format!("{number}\n"),
            12_000 + 1_000 * number,
        );
        let batch = tick(&live, &rows);
        assert!(batch.contains(&number.to_string()), "{number}: {batch:?}");
        seen.extend(batch);
    }
    assert_eq!(tick(&live, &rows), [""; 0]);
    seen
}

fn new_files(bench: &Bench) -> Outcome {
    assert_eq!(new_or_all(bench, true), ["1", "2", "3", "4", "5"]);
    Ok(())
}

fn existing_files(bench: &Bench) -> Outcome {
    assert_eq!(new_or_all(bench, false), ["0", "1", "2", "3", "4", "5"]);
    let inbox = Inbox::new();
    inbox.put("old", "old", 40_000);
    inbox.put("young", "young", 40_001);
    let program = bench.program();
    program.clock.set(99_000);
    let options = FileStreamOptions {
        new_files_only: false,
        ..FileStreamOptions::default()
    };
    let rows = texts(&program, &inbox.path(), options);
    assert_eq!(tick(&program.start(), &rows), ["young"]);
    Ok(())
}

fn boundary(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let program = bench.program();
    program.clock.set(5_000);
    let rows = texts(&program, &inbox.path(), FileStreamOptions::default());
    inbox.put("a", "a", 5_000);
    inbox.put("b", "b", 5_001);
    let live = program.start();
    assert_eq!(tick(&live, &rows), ["b"]);
    assert_eq!(tick(&live, &rows), [""; 0]);
    Ok(())
}

fn filters(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    for name in [".hidden", "_under", "plain", "plain.tmp"] {
        inbox.put(name, name, 500);
    }
    let program = bench.program();
    let by_default = texts(&program, &inbox.path(), FileStreamOptions::default());
    let options = FileStreamOptions {
        filter: FileFilter::new(|path| path.extension().is_none()),
        ..FileStreamOptions::default()
    };
    let filtered = texts(&program, &inbox.path(), options);
    let live = program.start();
    assert_eq!(tick(&live, &by_default), ["_under", "plain", "plain.tmp"]);
    assert_eq!(take(&filtered), [".hidden", "_under", "plain"]);
    Ok(())
}

fn future(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let program = bench.program();
    let rows = texts(&program, &inbox.path(), FileStreamOptions::default());
    inbox.put("a", "a", 2_001);
    let live = program.start();
    assert_eq!(tick(&live, &rows), [""; 0]);
    assert_eq!(tick(&live, &rows), [""; 0]);
    assert_eq!(tick(&live, &rows), ["a"]);
    Ok(())
}

fn globs(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let program = bench.program();
    let rows = texts(
        &program,
        &format!("{}/*/", inbox.path()),
        FileStreamOptions::default(),
    );
    inbox.put("at the top", "not read", 500);
    inbox.put("one/a", "a", 500);
    inbox.put("one/deeper/b", "not read", 500);
    inbox.put("two/c", "c", 500);
    let live = program.start();
    assert_eq!(tick(&live, &rows), ["a", "c"]);
    inbox.put("three/d", "d", 1_500);
    inbox.put("one/e", "e", 1_600);
    assert_eq!(tick(&live, &rows), ["d", "e"]);
    Ok(())
}

fn renamed(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let options = FileStreamOptions {
        min_remember: Duration::from_secs(2),
        ..FileStreamOptions::default()
    };
    let program = bench.program();
    let rows = texts(&program, &format!("{}/sub*", inbox.path()), options);
    inbox.put("elsewhere/stale", "stale", 500);
    let live = program.start();
    for _ in 0..4 {
        assert_eq!(tick(&live, &rows), [""; 0]);
    }
    inbox.put("elsewhere/fresh", "fresh", 4_500);
    fs::rename(inbox.at("elsewhere"), inbox.at("sub1")).unwrap();
    assert_eq!(tick(&live, &rows), ["fresh"]);
    assert_eq!(tick(&live, &rows), [""; 0]);
    Ok(())
}

fn missing_folder(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let program = bench.program();
    let rows = texts(
        &program,
        &format!("{}/later", inbox.path()),
        FileStreamOptions::default(),
    );
    let none = texts(
        &program,
        &format!("{}/n*/x", inbox.path()),
        FileStreamOptions::default(),
    );
    let live = program.start();
    assert_eq!(tick(&live, &rows), [""; 0]);
    inbox.put("later/a", "a", 1_500);
    assert_eq!(tick(&live, &rows), ["a"]);
    fs::remove_dir_all(inbox.at("later")).unwrap();
    assert_eq!(tick(&live, &rows), [""; 0]);
    inbox.put("later/b", "b", 3_500);
    assert_eq!(tick(&live, &rows), ["b"]);
    assert_eq!(none.try_iter().flatten().count(), 0);
    Ok(())
}

fn window(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let options = FileStreamOptions {
        min_remember: Duration::from_millis(2_500),
        ..FileStreamOptions::default()
    };
    let program = bench.program();
    let short = texts(&program, &inbox.path(), options);
    let default = texts(&program, &inbox.path(), FileStreamOptions::default());
    let live = program.start();
    for _ in 0..9 {
        live.tick();
        assert_eq!((take(&short), take(&default)), (vec![], vec![]));
    }
    // Rounded up to three batches: 7000 is left out at 10000, for the short one only.
    for (name, ms) in [("a", 6_000), ("b", 7_000), ("c", 7_001)] {
        inbox.put(name, name, ms);
    }
    live.tick();
    assert_eq!(take(&short), ["c"]);
    assert_eq!(take(&default), ["a", "b", "c"]);
    Ok(())
}

fn changed(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let options = FileStreamOptions {
        min_remember: Duration::from_secs(2),
        ..FileStreamOptions::default()
    };
    let program = bench.program();
    let rows = texts(&program, &inbox.path(), options);
    inbox.put("a", "first", 900);
    let live = program.start();
    assert_eq!(tick(&live, &rows), ["first"]);
    // 2000, 3000: still known.
    for ms in [1_900, 2_900] {
        inbox.put("a", "first\nappended", ms);
        assert_eq!(tick(&live, &rows), [""; 0]);
    }
    inbox.put("a", "anew", 3_900);
    assert_eq!(tick(&live, &rows), ["anew"]);
    Ok(())
}

fn same_time(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let program = bench.program();
    let rows = texts(&program, &inbox.path(), FileStreamOptions::default());
    inbox.put("b", "b", 1_000);
    inbox.put("a", "a", 1_000);
    inbox.put("c", "c", 999);
    let live = program.start();
    assert_eq!(tick(&live, &rows), ["c", "a", "b"]);
    // Came after the batch had looked, with the batch's own time.
    inbox.put("late", "late", 1_000);
    assert_eq!(tick(&live, &rows), ["late"]);
    Ok(())
}

fn told(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let program = bench.program();
    let rows = texts(&program, &inbox.path(), FileStreamOptions::default());
    inbox.put("b", "1\n2\n", 400);
    inbox.put("a", "3\n", 500);
    inbox.put("none", "", 600);
    let live = program.start();
    let batch = live.tick();
    assert_eq!(take(&rows).len(), 3);
    assert_eq!(batch.num_records(), 0);
    let expected = ["b", "a", "none"].map(|name| inbox.at(name).display().to_string());
    assert_eq!(batch.inputs[0].description, expected.join("\n"));
    assert_eq!(live.tick().inputs[0].description, "");
    Ok(())
}

fn binary_records(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let program = bench.program();
    let rows = collect(&program.ssc.binary_records_stream(&inbox.path(), 3));
    inbox.put("a", [1, 2, 3, 4, 5, 6], 500);
    inbox.put("b", [7, 8, 9], 600);
    let live = program.start();
    live.tick();
    assert_eq!(take(&rows), [[1, 2, 3], [4, 5, 6], [7, 8, 9]]);
    Ok(())
}

fn ragged(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let program = bench.program();
    let strict = collect(&program.ssc.binary_records_stream(&inbox.path(), 2));
    let options = FileStreamOptions {
        ignore_corrupt_files: true,
        ..FileStreamOptions::default()
    };
    let lenient = program
        .ssc
        .binary_records_stream_with(&inbox.path(), 2, options);
    let lenient = collect(&lenient);
    inbox.put("a", "abc", 500);
    inbox.put("b", "xy", 500);
    let live = program.start();
    assert_eq!(live.tick().num_failed, 1);
    let error = live.running.await_termination().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(
        error.fact("path"),
        Some(&*inbox.at("a").display().to_string())
    );
    assert_eq!(take(&lenient), [b"xy"]);
    inbox.put("c", "cd", 1_500);
    assert_eq!(live.tick().num_failed, 0);
    assert_eq!(take(&strict), [b"cd"]);
    Ok(())
}

/// The file `b` is removed between being chosen and being read.
fn removing(
    bench: &Bench,
    inbox: &Inbox,
    options: FileStreamOptions,
) -> (Live, Receiver<Vec<String>>) {
    let program = bench.program();
    let path = inbox.at("b");
    let lines = program.ssc.text_file_stream_with(&inbox.path(), options);
    let lines = lines.transform(move |rdd, _| {
        let _ = fs::remove_file(&path);
        Ok(rdd.clone())
    });
    let rows = collect(&lines.map(|line| line.to_string()));
    for name in ["a", "b", "c"] {
        inbox.put(name, name, 500);
    }
    (program.start(), rows)
}

fn vanished(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let (live, rows) = removing(bench, &inbox, FileStreamOptions::default());
    assert_eq!(live.tick().num_failed, 1);
    let error = live.running.await_termination().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        error.fact("path"),
        Some(&*inbox.at("b").display().to_string())
    );
    inbox.put("d", "d", 1_500);
    assert_eq!(tick(&live, &rows), ["d"]);
    Ok(())
}

fn vanished_ignored(bench: &Bench) -> Outcome {
    let options = FileStreamOptions {
        ignore_missing_files: true,
        ..FileStreamOptions::default()
    };
    let inbox = Inbox::new();
    let (live, rows) = removing(bench, &inbox, options);
    assert_eq!(tick(&live, &rows), ["a", "c"]);
    Ok(())
}

/// The length of each paragraph; refuses files that say so.
#[derive(Serialize, Deserialize)]
struct Paragraphs {
    separator: String,
}

impl FileReader for Paragraphs {
    type Item = usize;

    fn read(&self, path: &Path) -> Result<PartitionIter<usize>, BoxError> {
        let text = fs::read_to_string(path)?;
        if text.starts_with("refused") {
            return Err("no paragraphs in it".into());
        }
        let lengths: Vec<usize> = text.split(&self.separator).map(str::len).collect();
        Ok(Box::new(lengths.into_iter()))
    }
}

fn paragraphs(program: &Program, inbox: &Inbox) -> Receiver<Vec<usize>> {
    let reader = Paragraphs {
        separator: "\n\n".to_owned(),
    };
    let options = FileStreamOptions::default();
    collect(&program.ssc.file_stream(&inbox.path(), reader, options))
}

fn own_reader(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let program = bench.program();
    let rows = paragraphs(&program, &inbox);
    inbox.put("a", "one\n\nthree\nlines", 500);
    inbox.put("b", "", 500);
    inbox.put("c", "x", 500);
    let live = program.start();
    live.tick();
    assert_eq!(take(&rows), [3, 11, 1]);
    Ok(())
}

fn failing_reader(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let program = bench.program();
    let rows = paragraphs(&program, &inbox);
    inbox.put("a", "refused", 500);
    let live = program.start();
    assert_eq!(live.tick().num_failed, 1);
    let error = live.running.await_termination().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    assert!(error.report().contains("no paragraphs in it"), "{error:?}");
    assert_eq!(
        error.fact("path"),
        Some(&*inbox.at("a").display().to_string())
    );
    let operator = error.fact("operator").unwrap();
    assert!(operator.starts_with("file_stream at "), "{error}");
    assert!(rows.try_recv().is_err());
    Ok(())
}

fn odd_files(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    let elsewhere = Inbox::new();
    let program = bench.program();
    let rows = texts(&program, &inbox.path(), FileStreamOptions::default());
    inbox.put(OsStr::from_bytes(b"not \xFF utf-8"), "a", 100);
    inbox.put("two\nlines", "b", 200);
    inbox.put("packed.gz", gz(b"c"), 300);
    elsewhere.put("target", "d", 400);
    let link = |target: &Path, name: &str| {
        std::os::unix::fs::symlink(target, inbox.at(name)).unwrap();
    };
    link(&elsewhere.at("target"), "link");
    link(&elsewhere.at("nowhere"), "dangling");
    link(&inbox.at("circle"), "circle");
    link(elsewhere.0.path(), "folder");
    let live = program.start();
    let batch = live.tick();
    assert_eq!(take(&rows), ["a", "b", "c", "d"]);
    let description = &batch.inputs[0].description;
    assert_eq!(description.lines().count(), 4, "{description}");
    assert!(description.contains("two\\nlines"), "{description}");
    Ok(())
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Files appear, are changed and are removed at random; a model without folders says what each
/// batch reads.
fn random_files(bench: &Bench) -> Outcome {
    const WINDOW_MS: i64 = 3_000;
    let mut runner = TestRunner::new(Config {
        cases: if bench.is_local() { 40 } else { 8 },
        rng_seed: RngSeed::Fixed(31),
        failure_persistence: None,
        ..Config::default()
    });
    // Before which batch, which of a few names, changed how long before the batch (or after it).
    let puts = proptest::collection::vec((1_i64..9, 0_u8..6, -1_500_i64..5_000), 0..24);
    let ran = runner.run(&puts, |puts| {
        let inbox = Inbox::new();
        let options = FileStreamOptions {
            min_remember: Duration::from_millis(2_001),
            ..FileStreamOptions::default()
        };
        let program = bench.program();
        let rows = texts(&program, &inbox.path(), options);
        let live = program.start();
        let mut there: std::collections::BTreeMap<u8, (i64, String)> = Default::default();
        let mut chosen: Vec<(i64, u8)> = Vec::new();
        for batch in 1..=12_i64 {
            let time = 1_000 * batch;
            for (number, (_, name, ago)) in
                puts.iter().enumerate().filter(|(_, (at, ..))| *at == batch)
            {
                let ms = (time - ago).max(0);
                let content = format!("{name} {number}");
                inbox.put(name.to_string(), &content, u64::try_from(ms).unwrap());
                there.insert(*name, (ms, content));
            }
            chosen.retain(|(at, _)| *at >= time - WINDOW_MS);
            let known: HashSet<u8> = chosen.iter().map(|(_, name)| *name).collect();
            let mut due: Vec<_> = there
                .iter()
                .filter(|(name, (ms, _))| {
                    *ms > (time - WINDOW_MS).max(0) && *ms <= time && !known.contains(name)
                })
                .collect();
            due.sort_by_key(|(name, (ms, _))| (*ms, **name));
            chosen.extend(due.iter().map(|(name, _)| (time, **name)));
            let expected: Vec<String> = due.iter().map(|(_, (_, line))| line.clone()).collect();
            prop_assert_eq!(tick(&live, &rows), expected, "batch {}", batch);
        }
        Ok(())
    });
    ran.map_err(|e| Error::data("seed 31 finds a counterexample").caused_by(e.to_string()))
}

fn refused(bench: &Bench) -> Outcome {
    let inbox = Inbox::new();
    inbox.put("file", "", 1);
    let default = FileStreamOptions::default;
    let no_window = FileStreamOptions {
        min_remember: Duration::ZERO,
        ..default()
    };
    for (folder, options, record_bytes, text) in [
        (String::new(), default(), 1, "path is empty"),
        ("hdfs://host/a".to_owned(), default(), 1, "only local files"),
        (
            inbox.at("file").display().to_string(),
            default(),
            1,
            "not a folder",
        ),
        ("/tmp/[a".to_owned(), default(), 1, "not a valid glob"),
        (inbox.path(), no_window, 1, "min_remember"),
        (inbox.path(), default(), 0, "longer than 0 bytes"),
    ] {
        let program = bench.program();
        let ssc = &program.ssc;
        collect(&ssc.binary_records_stream_with(&folder, record_bytes, options));
        let error = program.try_start().err().unwrap();
        assert!(error.to_string().contains(text), "{error}");
        let operator = error.fact("operator").unwrap();
        assert!(operator.starts_with("binary_records_stream at "), "{error}");
    }
    Ok(())
}

fn word_count(bench: &Bench) -> Outcome {
    let (inbox, outbox) = (Inbox::new(), Inbox::new());
    let program = bench.program();
    let words = program
        .ssc
        .text_file_stream(&inbox.path())
        .flat_map(|line| line.words());
    let counts = words.map(|word| (word, 1_u64)).reduce_by_key(|a, b| a + b);
    counts.save_as_text_files(&outbox.at("counts").display().to_string(), "txt");
    inbox.put("a", "to be or\nnot to be", 300);
    inbox.put("b", "to see", 600);
    let live = program.start();
    assert_eq!(live.tick().num_failed, 0);
    let saved = live
        .ctx
        .text_file(&format!("{}/counts-1000.txt", outbox.path()));
    let mut saved: Vec<String> = saved.collect()?.into_iter().map(String::from).collect();
    saved.sort();
    assert_eq!(saved, ["(be,2)", "(not,1)", "(or,1)", "(see,1)", "(to,3)"]);
    Ok(())
}
