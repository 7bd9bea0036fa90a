//! RDDs as files.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use tempfile::TempDir;
use tidemill_core::scheduler::{Backend, JobPlan, OnOutput, Service, ServiceHandle};
use tidemill_core::storage::BlockStore;
use tidemill_core::travel::Image;
use tidemill_core::{Compression, Context, Error, ErrorKind, SaveOptions, Text};

use crate::support::{Bench, Case, Outcome, Tally, case, count_in};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-170
        case("a_save_writes_a_file_a_partition", parts),
        // C-171
        case("an_output_that_exists_is_refused_before_any_task", existing),
        // C-171
        case("an_output_may_be_overwritten", overwritten),
        // C-172
        case("a_failed_save_leaves_nothing", failed),
        // C-172
        case("a_failed_save_leaves_an_earlier_output_alone", failed_over),
        // C-173
        case("packed_parts_read_back", packed),
        // C-175
        case("no_partitions_are_saved_as_success", no_partitions),
        // C-176
        case("attempts_that_failed_leave_one_file", retried),
        // C-176 C-223
        case("tasks_that_ran_twice_leave_one_file", twice),
        case("saved_text_reads_back_as_the_same_lines", random_text),
        case("object_files_read_back", objects),
        case("a_damaged_object_file_is_refused", damaged_objects),
        case("object_files_of_another_type_are_refused", other_type),
        case(
            "where_nothing_can_be_written_is_refused_with_its_path",
            bad_outputs,
        ),
        case("a_record_that_cannot_be_shown_fails_the_save", unshowable),
    ]
}

/// A folder that does not exist, in one that does.
fn out() -> (TempDir, String) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("out").display().to_string();
    (root, path)
}

/// Names and contents, in order of the names.
fn files(path: &str) -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths
        .iter()
        .map(|path| (name(path), std::fs::read_to_string(path).unwrap()))
        .collect()
}

fn expect(path: &str, expected: &[(&str, &str)]) {
    let expected: Vec<(String, String)> = expected
        .iter()
        .map(|(name, content)| ((*name).to_owned(), (*content).to_owned()))
        .collect();
    assert_eq!(files(path), expected);
}

const OVERWRITE: SaveOptions = SaveOptions {
    compression: Compression::None,
    overwrite: true,
    sync: false,
};

fn parts(bench: &Bench) -> Outcome {
    let (_root, path) = out();
    let words = [("to", 2), ("", 0), ("be", 1)].map(|(word, n)| (word.to_owned(), n));
    let rdd = bench.ctx().parallelize_into(words, 3)?;
    rdd.filter(|(word, _)| !word.is_empty())
        .save_as_text_file(&path)?;
    let expected = [
        ("_SUCCESS", ""),
        ("part-00000", "(to,2)\n"),
        ("part-00001", ""),
        ("part-00002", "(be,1)\n"),
    ];
    expect(&path, &expected);
    Ok(())
}

fn existing(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let tally = Tally::new();
    let counted = ctx.range(0..4).with(tally.path()).map(|path, x| {
        count_in(path);
        x
    });
    let (root, path) = out();
    std::fs::write(&path, "a file").unwrap();
    // An empty folder is refused too: nobody knows what it is for.
    let empty = root.path().join("empty").display().to_string();
    std::fs::create_dir(&empty).unwrap();
    for path in [&path, &empty] {
        let error = counted.save_as_text_file(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("already exists"), "{error}");
        assert_eq!(error.fact("path"), Some(&**path));
        let operator = error.fact("operator").unwrap();
        assert!(operator.starts_with("save_as_text_file at "), "{error}");
    }
    assert_eq!(tally.count(), 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    Ok(())
}

fn overwritten(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let (_root, path) = out();
    ctx.parallelize_into(0..3, 3)?.save_as_text_file(&path)?;
    std::fs::write(format!("{path}/mine"), "kept").unwrap();
    let fewer = ctx.parallelize_into([7, 8], 1)?;
    fewer.save_as_text_file_with(&path, OVERWRITE)?;
    // The same again changes nothing.
    for _ in 0..2 {
        let expected = [("_SUCCESS", ""), ("mine", "kept"), ("part-00000", "7\n8\n")];
        expect(&path, &expected);
        fewer.save_as_text_file_with(&path, OVERWRITE)?;
    }
    Ok(())
}

fn failed(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let (root, path) = out();
    let numbers = ctx.parallelize_into(0..100, 4)?;
    let failing = numbers.try_map(|x| if x == 99 { Err("no more") } else { Ok(x) });
    for _ in 0..2 {
        let error = failing.save_as_text_file(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::User);
        assert!(error.report().ends_with("no more"), "{error:?}");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
    numbers.save_as_text_file(&path)?;
    assert_eq!(ctx.text_file(&path).count()?, 100);
    Ok(())
}

fn failed_over(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let (_root, path) = out();
    let numbers = ctx.parallelize_into([1, 2], 2)?;
    numbers.save_as_text_file(&path)?;
    let before = files(&path);
    let failing = numbers.map(|x| {
        if x == 2 {
            panic!("not this one")
        } else {
            10 * x
        }
    });
    let error = failing
        .save_as_text_file_with(&path, OVERWRITE)
        .unwrap_err();
    assert!(error.report().contains("not this one"), "{error:?}");
    assert_eq!(files(&path), before);
    Ok(())
}

fn packed(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let (_root, path) = out();
    let options = SaveOptions {
        compression: Compression::Gzip,
        ..SaveOptions::default()
    };
    let rdd = ctx.parallelize_into(0..5_000, 2)?;
    rdd.save_as_text_file_with(&path, options)?;
    let mut text = String::new();
    let first = std::fs::File::open(format!("{path}/part-00000.gz")).unwrap();
    let mut unpacked = flate2::read::GzDecoder::new(first);
    unpacked.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("0\n1\n2\n") && text.ends_with("\n2499\n"));
    let back = ctx.text_file(&path);
    assert_eq!(back.num_partitions()?, 2);
    let numbers = back.map(|line| line.parse::<i32>().unwrap_or(-1));
    assert_eq!(numbers.collect()?, (0..5_000).collect::<Vec<_>>());
    let objects = format!("{path}-objects");
    rdd.save_as_object_file_with(&objects, options)?;
    assert!(Path::new(&format!("{objects}/part-00001.gz")).exists());
    assert_eq!(ctx.object_file::<i32>(&objects).collect()?, rdd.collect()?);
    Ok(())
}

fn no_partitions(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let (_root, path) = out();
    ctx.empty_rdd::<i32>().save_as_text_file(&path)?;
    expect(&path, &[("_SUCCESS", "")]);
    assert_eq!(ctx.text_file(&path).count()?, 0);
    Ok(())
}

fn retried(bench: &Bench) -> Outcome {
    let ctx = bench.retrying("local[2,3]");
    let (_root, path) = out();
    let tally = Tally::new();
    // The first attempts fail in the middle of their files.
    let failing = ctx
        .parallelize_into(0..6, 2)?
        .with(tally.path())
        .map(|path, x| {
            assert!(x != 4 || count_in(path) >= 2, "not yet");
            x
        });
    failing.save_as_text_file(&path)?;
    let expected = [
        ("_SUCCESS", ""),
        ("part-00000", "0\n1\n2\n"),
        ("part-00001", "3\n4\n5\n"),
    ];
    expect(&path, &expected);
    assert!(tally.count() >= 3);
    Ok(())
}

/// Runs each job twice, and believes the second run: every task has a twin that went as far.
#[derive(Debug)]
struct Twice(Arc<dyn Backend>);

impl Backend for Twice {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn num_slots(&self) -> usize {
        self.0.num_slots()
    }

    fn blocks(&self) -> &Arc<dyn BlockStore> {
        self.0.blocks()
    }

    fn image(&self) -> Option<&Image> {
        self.0.image()
    }

    fn run(&self, plan: &Arc<JobPlan>, on_output: OnOutput<'_>) -> Result<(), Error> {
        self.0.run(plan, &mut |_, _, _| {})?;
        self.0.run(plan, on_output)
    }

    fn start_service(&self, service: Arc<dyn Service>) -> Result<ServiceHandle, Error> {
        self.0.start_service(service)
    }

    fn stop(&self) {
        self.0.stop();
    }
}

fn twice(bench: &Bench) -> Outcome {
    let backend = Arc::new(Twice(bench.backend().backend(2)?));
    let ctx = Context::builder().backend(backend).build()?;
    let (_root, path) = out();
    let tally = Tally::new();
    // Twins write different things, so that a mixture would show.
    let rdd = ctx
        .parallelize_into(0..4, 2)?
        .with(tally.path())
        .map(|path, _| {
            if count_in(path) < 4 {
                "first"
            } else {
                "second"
            }
            .to_owned()
        });
    rdd.save_as_text_file(&path)?;
    let found = files(&path);
    let names: Vec<&str> = found.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["_SUCCESS", "part-00000", "part-00001"]);
    for (_, content) in &found[1..] {
        assert_eq!(content, "second\nsecond\n");
    }
    Ok(())
}

fn random_text(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let mut runner = TestRunner::new(Config {
        cases: if bench.is_local() { 40 } else { 6 },
        rng_seed: RngSeed::Fixed(29),
        failure_persistence: None,
        ..Config::default()
    });
    let records = proptest::collection::vec(("[a-zé ]{0,40}", any::<i16>()), 0..60);
    let ran = runner.run(&(records, 1_usize..6), |(records, num_partitions)| {
        let (_root, path) = out();
        let rdd = ctx
            .parallelize_into(records.clone(), num_partitions)
            .unwrap();
        rdd.save_as_text_file_with(&path, OVERWRITE).unwrap();
        let expected: Vec<Text> = records
            .iter()
            .map(|(a, b)| format!("({a},{b})").into())
            .collect();
        prop_assert_eq!(ctx.text_file(&path).collect().unwrap(), expected);
        rdd.save_as_object_file_with(&path, OVERWRITE).unwrap();
        let back = ctx.object_file::<(String, i16)>(&path);
        prop_assert_eq!(back.num_partitions().unwrap(), num_partitions);
        prop_assert_eq!(back.collect().unwrap(), records);
        Ok(())
    });
    ran.map_err(|e| Error::data("seed 29 finds a counterexample").caused_by(e.to_string()))
}

fn objects(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let (_root, path) = out();
    let records: Vec<(u64, Option<String>)> = (0..30_000)
        .map(|n| (n, (n % 3 == 0).then(|| format!("record {n}"))))
        .collect();
    ctx.parallelize_into(records.clone(), 3)?
        .save_as_object_file(&path)?;
    let back = ctx.object_file::<(u64, Option<String>)>(&path);
    assert_eq!(back.num_partitions()?, 3);
    assert_eq!(back.collect()?, records);
    // Records without bytes, and partitions without records.
    let units = format!("{path}-units");
    ctx.parallelize_into(vec![(); 5], 8)?
        .save_as_object_file(&units)?;
    assert_eq!(ctx.object_file::<()>(&units).count()?, 5);
    assert_eq!(
        ctx.object_file::<()>(&format!("{units},{units}")).count()?,
        10
    );
    Ok(())
}

fn damaged_objects(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let (_root, path) = out();
    let rdd = ctx.parallelize_into((0..20).map(|x| format!("record {x}")), 1)?;
    rdd.save_as_object_file(&path)?;
    let part = format!("{path}/part-00000");
    let whole = std::fs::read(&part).unwrap();
    let step = if bench.is_local() { 1 } else { 29 };
    let flipped = (0..whole.len()).step_by(step).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    });
    let torn = (0..whole.len())
        .step_by(step)
        .map(|len| whole[..len].to_vec());
    let longer = [[&whole[..], b"more"].concat()];
    let mut num_refused = 0;
    for bytes in flipped.chain(torn).chain(longer) {
        std::fs::write(&part, bytes).unwrap();
        let error = ctx.object_file::<String>(&path).collect().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
        assert_eq!(error.fact("path"), Some(&*part));
        num_refused += 1;
    }
    assert!(num_refused > 10);
    Ok(())
}

fn other_type(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let (root, path) = out();
    let rdd = ctx.parallelize_into(["text"].map(String::from), 1)?;
    rdd.save_as_object_file(&path)?;
    let error = ctx.object_file::<(u8, u8)>(&path).collect().unwrap_err();
    assert!(error.to_string().contains("another type"), "{error}");
    rdd.save_as_text_file_with(&path, OVERWRITE)?;
    let error = ctx.object_file::<String>(&path).collect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let later = root.path().join("later");
    std::fs::write(&later, b"TIDEOBJ\x02").unwrap();
    let later = later.display().to_string();
    let error = ctx.object_file::<String>(&later).collect().unwrap_err();
    assert_eq!(error.fact("version"), Some("2"));
    Ok(())
}

fn bad_outputs(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.range(0..4);
    let (_root, file) = out();
    std::fs::write(&file, "").unwrap();
    for (path, kind, text) in [
        (String::new(), ErrorKind::Invalid, "path is empty"),
        (
            "s3://bucket/key".to_owned(),
            ErrorKind::Unsupported,
            "only local files",
        ),
        ("/".to_owned(), ErrorKind::Invalid, "already exists"),
        (
            format!("{file}/below"),
            ErrorKind::Unavailable,
            "cannot be made",
        ),
        (
            format!("{file}/below/that"),
            ErrorKind::Unavailable,
            "cannot be made",
        ),
        ("nul\0".to_owned(), ErrorKind::Unavailable, "cannot be made"),
    ] {
        let error = rdd.save_as_text_file(&path).unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.to_string().contains("saving.rs:"), "{error}");
    }
    // A missing input is known before anything is made.
    let (root, path) = out();
    let error = ctx
        .text_file("/no/such/file")
        .save_as_text_file(&path)
        .unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    // Folders above are made, and a relative path is seen from the program's folder.
    let up = std::env::current_dir().unwrap().components().count();
    let deep = format!("{}{path}/a/b", "../".repeat(up));
    rdd.save_as_text_file(&deep)?;
    assert_eq!(ctx.text_file(&format!("file://{path}/a/b")).count()?, 4);
    Ok(())
}

#[derive(Clone, serde::Deserialize)]
struct Secret;

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        if serializer.is_human_readable() {
            return Err(S::Error::custom("not to be seen"));
        }
        serializer.serialize_unit()
    }
}

fn unshowable(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let (root, path) = out();
    let secrets = ctx.parallelize([Secret]);
    let error = secrets.save_as_text_file(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    assert!(error.report().contains("not to be seen"), "{error:?}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    Ok(())
}
