//! Batches as folders of files.

use tempfile::TempDir;
use tidemill_core::{Compression, ErrorKind, SaveOptions, StorageLevel};
use tidemill_streaming::PairDStream;

use crate::support::{BATCH, Bench, Case, Outcome, case, driver_case, local_case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-133
        case("each_batch_has_a_folder_of_text", text),
        case("each_batch_has_a_folder_of_objects", objects),
        // S-137
        driver_case("an_output_folder_that_exists_is_replaced", existing),
        driver_case("a_batch_that_is_not_saved_leaves_nothing", failing),
        // S-133
        local_case("outputs_without_prefix_or_suffix_have_the_time", bare_names),
        driver_case("what_is_saved_stays_cached_for_others", stays_cached),
        local_case(
            "where_batches_cannot_be_saved_is_refused_at_the_start",
            refused,
        ),
    ]
}

fn names(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn read(folder: &TempDir, name: &str) -> String {
    std::fs::read_to_string(folder.path().join(name)).unwrap()
}

fn prefix(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn text(bench: &Bench) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let program = bench.program();
    let words = vec![vec!["to", "be", "to"], vec![], vec!["or"]];
    let words = words
        .into_iter()
        .map(|batch| batch.into_iter().map(String::from).collect());
    let words = program.queue(words.collect());
    let counts = words.map(|word| (word, 1)).reduce_by_key(|a, b| a + b);
    let packed = SaveOptions {
        compression: Compression::Gzip,
        ..SaveOptions::default()
    };
    words.save_as_text_files(&prefix(&folder, "words"), "txt");
    counts.save_as_text_files_with(&prefix(&folder, "counts"), "", packed);
    let live = program.start();
    (0..3).for_each(|_| assert_eq!(live.tick().num_failed, 0));
    let expected = [
        "counts-1000",
        "counts-2000",
        "counts-3000",
        "words-1000.txt",
        "words-2000.txt",
        "words-3000.txt",
    ];
    assert_eq!(names(&folder), expected);
    assert_eq!(read(&folder, "words-1000.txt/part-00000"), "to\nbe\nto\n");
    assert_eq!(read(&folder, "words-2000.txt/part-00000"), "");
    assert_eq!(read(&folder, "words-2000.txt/_SUCCESS"), "");
    let counts = live.ctx.text_file(&prefix(&folder, "counts-1000"));
    let mut counts: Vec<String> = counts.collect()?.into_iter().map(String::from).collect();
    counts.sort();
    assert_eq!(counts, ["(be,1)", "(to,2)"]);
    Ok(())
}

fn objects(bench: &Bench) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let program = bench.program();
    let batches = vec![vec![(1, Some(2.5))], vec![], vec![(3, None), (4, None)]];
    let stream = program.queue(batches.clone());
    stream.save_as_object_files(&prefix(&folder, "batch"), "");
    let live = program.start();
    for (batch, time) in batches.into_iter().zip([1_000, 2_000, 3_000]) {
        live.tick();
        let path = prefix(&folder, &format!("batch-{time}"));
        let back = live.ctx.object_file::<(i32, Option<f64>)>(&path);
        assert_eq!(back.collect()?, batch);
    }
    Ok(())
}

fn existing(bench: &Bench) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let earlier = folder.path().join("out-1000");
    std::fs::create_dir_all(earlier.join("_temporary")).unwrap();
    for name in ["part-00000", "part-00007", "mine"] {
        std::fs::write(earlier.join(name), "earlier").unwrap();
    }
    // The second program repeats the batch of the first.
    for _ in 0..2 {
        let program = bench.program();
        let stream = program.queue(vec![vec![1, 2]]);
        stream.save_as_text_files(&prefix(&folder, "out"), "");
        assert_eq!(program.start().tick().num_failed, 0);
        let mut found: Vec<String> = std::fs::read_dir(&earlier)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, ["_SUCCESS", "mine", "part-00000"]);
        assert_eq!(read(&folder, "out-1000/part-00000"), "1\n2\n");
    }
    Ok(())
}

fn failing(bench: &Bench) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let program = bench.program();
    let stream = program.queue(vec![vec![1], vec![2], vec![3]]);
    let stream = stream.map(|x| if x == 2 { panic!("not this one") } else { x });
    stream.save_as_text_files(&prefix(&folder, "out"), "");
    let live = program.start();
    let failed: Vec<usize> = (0..3).map(|_| live.tick().num_failed).collect();
    assert_eq!(failed, [0, 1, 0]);
    assert_eq!(names(&folder), ["out-1000", "out-3000"]);
    let error = live.running.await_termination().unwrap_err();
    assert!(error.report().contains("not this one"), "{error:?}");
    let output = error.fact("output").unwrap();
    assert!(output.starts_with("save_as_text_files at "), "{error}");
    Ok(())
}

/// The stream remembers its batches for longer than the save needs them.
fn stays_cached(bench: &Bench) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let program = bench.program();
    let rdd = program.ctx.parallelize_into([1, 2], 1)?.cache();
    let stream = program.queue(vec![vec![0]]);
    let cached = rdd.clone();
    let stream = stream.transform(move |_, _| Ok(cached.clone()));
    program.ssc.remember(20 * BATCH)?;
    stream.save_as_text_files(&prefix(&folder, "out"), "");
    let live = program.start();
    for time in 1..=5 {
        live.tick();
        let saved = read(&folder, &format!("out-{time}000/part-00000"));
        assert_eq!(saved, "1\n2\n");
    }
    assert_ne!(rdd.storage_level(), StorageLevel::None);
    Ok(())
}

fn bare_names(bench: &Bench) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let program = bench.program();
    let stream = program.queue(vec![vec![1]]);
    // A prefix that ends in a slash is a folder and no more.
    stream.save_as_text_files(&format!("{}/", prefix(&folder, "deep/er")), "txt");
    program.start().tick();
    assert_eq!(read(&folder, "deep/er/-1000.txt/part-00000"), "1\n");
    Ok(())
}

fn refused(bench: &Bench) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for (prefix, kind) in [
        (prefix(&folder, "file/below/it"), ErrorKind::Invalid),
        ("hdfs://host/out".to_owned(), ErrorKind::Unsupported),
    ] {
        let program = bench.program();
        let stream = program.queue(vec![vec![1]]);
        stream.save_as_object_files(&prefix, "");
        let error = program.try_start().err().unwrap();
        assert_eq!(error.kind(), kind, "{error:?}");
        let operator = error.fact("operator").unwrap();
        assert!(operator.starts_with("save_as_object_files at "), "{error}");
    }
    Ok(())
}
