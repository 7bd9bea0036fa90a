//! Files as input.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use flate2::write::GzEncoder;
use tempfile::TempDir;
use tidemill_core::{Context, ErrorKind, FileOptions, PairRdd, Rdd, Text};

use crate::support::{Bench, Case, Outcome, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-036
        case(
            "files_come_from_lists_globs_and_folders",
            lists_globs_folders,
        ),
        // C-037
        case("a_missing_path_fails_the_action", missing_path),
        // C-033
        case("a_file_has_as_many_partitions_as_asked", partitions),
        case("many_splits_lose_and_double_no_line", many_splits),
        // C-039
        case("files_without_bytes_have_no_partitions", empty_files),
        // C-041
        case("a_folder_in_a_folder_is_refused", nested_folder),
        case("a_path_that_appears_late_is_not_an_empty_result", late_path),
        // C-042
        case("a_deleted_file_fails_the_next_action", deleted_file),
        // C-041
        case("folders_in_folders_are_read_when_asked", recursive),
        // C-040
        case("a_gz_file_is_one_partition", gzip),
        // C-043
        case("an_rdd_of_files_is_named_after_its_path", named),
        // C-045
        case("whole_files_come_with_their_uri", whole_files),
        // C-046
        case("records_of_a_fixed_length_are_cut", fixed_records),
        // C-046
        case("a_file_of_another_length_is_refused", ragged_records),
        // C-049
        case("missing_files_are_passed_over_when_asked", missing_files),
        // C-049
        case("damaged_files_are_passed_over_when_asked", damaged_files),
        case("names_may_be_anything", odd_names),
        case("what_cannot_be_read_is_refused_with_its_path", bad_inputs),
    ]
}

const DEFAULT: FileOptions = FileOptions {
    min_partitions: None,
    recursive: false,
    ignore_missing_files: false,
    ignore_corrupt_files: false,
};

fn recursive(bench: &Bench) -> Outcome {
    let folder = folder(&[("b", "b"), ("d", "d")]);
    std::fs::create_dir_all(folder.path().join("c/c")).unwrap();
    std::fs::create_dir(folder.path().join("_temporary")).unwrap();
    std::fs::write(folder.path().join("c/c/e"), "e").unwrap();
    std::fs::write(folder.path().join("_temporary/f"), "f").unwrap();
    let options = FileOptions {
        recursive: true,
        ..DEFAULT
    };
    let root = folder.path().display().to_string();
    let rdd = bench.ctx().text_file_with(&root, options);
    assert_eq!(strings(&rdd), ["b", "d", "e"]);
    Ok(())
}

fn packed(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

fn gzip(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let folder = folder(&[]);
    let lines: String = (0..5_000).map(|line| format!("line {line}\n")).collect();
    let path = folder.path().join("a.gz");
    // Two members one after the other, as concatenated files have them.
    let content = [packed(&lines), packed("last")].concat();
    std::fs::write(&path, content).unwrap();
    std::fs::write(folder.path().join("empty.gz"), packed("")).unwrap();
    let rdd = ctx.text_file_into(&path.display().to_string(), 8);
    assert_eq!(rdd.num_partitions()?, 1);
    let expected: Vec<&str> = lines.lines().chain(["last"]).collect();
    assert_eq!(strings(&rdd), expected);
    let all = ctx.whole_text_files(&folder.path().display().to_string());
    let all: Vec<Text> = all.collect()?.into_iter().map(|(_, text)| text).collect();
    assert_eq!(all, [Text::from(lines + "last"), Text::new()]);
    Ok(())
}

fn named(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.text_file("/some/path,/other/*");
    assert_eq!(rdd.operator().name(), Some("/some/path,/other/*"));
    assert_eq!(ctx.binary_files("a").operator().name(), Some("a"));
    Ok(())
}

fn whole_files(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let folder = folder(&[
        ("a", "one\ntwo"),
        ("b", ""),
        ("c", "three"),
        ("d", "\u{e9}"),
    ]);
    let root = folder.path().display().to_string();
    let expected = [
        ("a", "one\ntwo"),
        ("b", ""),
        ("c", "three"),
        ("d", "\u{e9}"),
    ]
    .map(|(name, text)| (Text::from(format!("file:{root}/{name}")), Text::from(text)));
    let texts = ctx.whole_text_files(&root);
    assert_eq!(texts.num_partitions()?, 2);
    assert_eq!(texts.collect()?, expected);
    let bytes = expected.map(|(uri, text)| (uri, text.as_bytes().to_vec()));
    assert_eq!(ctx.binary_files(&root).collect()?, bytes);
    // What a record says where it is from can be read again.
    let first = texts.first()?.0;
    assert_eq!(lines(&ctx, &first), ["one", "two"]);
    let options = FileOptions {
        min_partitions: Some(4),
        ..DEFAULT
    };
    assert!(ctx.binary_files_with(&root, options).num_partitions()? >= 3);
    Ok(())
}

fn fixed_records(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let folder = folder(&[]);
    let bytes: Vec<u8> = (0..=255).cycle().take(4 * 500).collect();
    let path = folder.path().join("a");
    std::fs::write(&path, &bytes).unwrap();
    let expected: Vec<Vec<u8>> = bytes.chunks(4).map(<[u8]>::to_vec).collect();
    for num_partitions in [1, 3, 70] {
        let options = FileOptions {
            min_partitions: Some(num_partitions),
            ..DEFAULT
        };
        let rdd = ctx.binary_records_with(&path.display().to_string(), 4, options)?;
        assert!(rdd.num_partitions()? >= num_partitions.min(60));
        assert_eq!(rdd.collect()?, expected);
    }
    Ok(())
}

fn ragged_records(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let folder = folder(&[("a", "12345678"), ("b", "123456789")]);
    let root = folder.path().display().to_string();
    let error = ctx.binary_records(&root, 4)?.count().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(error.fact("path"), Some(&*format!("{root}/b")));
    assert_eq!(error.fact("file_bytes"), Some("9"));
    let error = ctx.binary_records(&root, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    Ok(())
}

fn missing_files(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let folder = folder(&[("a", "one"), ("b", "two")]);
    let root = folder.path().display().to_string();
    let options = FileOptions {
        ignore_missing_files: true,
        ..DEFAULT
    };
    let list = format!("{root}/no,{root}/b,{root}/*.no");
    let rdd = ctx.text_file_with(&list, options);
    assert_eq!(strings(&rdd), ["two"]);
    // Found by the first action, gone before the second.
    let strict = ctx.text_file(&root);
    assert_eq!(strict.count()?, 2);
    let lenient = ctx.text_file_with(&root, options);
    assert_eq!(lenient.count()?, 2);
    std::fs::remove_file(folder.path().join("b")).unwrap();
    assert_eq!(strings(&lenient), ["one"]);
    let error = strict.count().unwrap_err();
    assert_eq!(error.fact("path"), Some(&*format!("{root}/b")));
    assert!(error.report().contains("text_file"), "{error:?}");
    Ok(())
}

fn damaged_files(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let folder = folder(&[("a", "one"), ("c.gz", "not packed at all"), ("d", "four")]);
    let long: String = (0..20_000).map(|line| format!("{line}\n")).collect();
    let torn = packed(&long);
    std::fs::write(folder.path().join("b.gz"), &torn[..torn.len() / 2]).unwrap();
    let root = folder.path().display().to_string();
    for name in ["b.gz", "c.gz"] {
        let error = ctx
            .text_file(&format!("{root}/{name}"))
            .count()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
        assert_eq!(error.fact("path"), Some(&*format!("{root}/{name}")));
    }
    let options = FileOptions {
        ignore_corrupt_files: true,
        ..DEFAULT
    };
    let kept = strings(&ctx.text_file_with(&root, options));
    assert_eq!((&*kept[0], &*kept[kept.len() - 1]), ("one", "four"));
    // What was read of the torn file is there, in order and without a hole.
    let torn = &kept[1..kept.len() - 1];
    let expected: Vec<&str> = long.lines().take(torn.len()).collect();
    assert_eq!(torn, expected);
    let ragged = ctx.binary_records_with(&format!("{root}/a,{root}/d"), 4, options)?;
    assert_eq!(ragged.collect()?, [b"four"]);
    Ok(())
}

fn odd_names(bench: &Bench) -> Outcome {
    let folder = folder(&[("two\nlines", "a"), ("with space", "c"), ("\u{fc}", "d")]);
    let name: &Path = OsStr::from_bytes(b"v\xFF").as_ref();
    std::fs::write(folder.path().join(name), "b").unwrap();
    let root = folder.path().display().to_string();
    assert_eq!(lines(&bench.ctx(), &root), ["a", "b", "c", "d"]);
    Ok(())
}

fn bad_inputs(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let folder = folder(&[("a", "one"), ("b.bz2", "packed")]);
    let root = folder.path().display().to_string();
    std::os::unix::fs::symlink("circle", folder.path().join("circle")).unwrap();
    for (path, kind, text) in [
        (
            "hdfs://host/a".to_owned(),
            ErrorKind::Unsupported,
            "only local files",
        ),
        (format!("{root}/b.bz2"), ErrorKind::Unsupported, "only .gz"),
        (format!("{root}/[a"), ErrorKind::Invalid, "not a valid glob"),
        (format!("{root}/a/b"), ErrorKind::Invalid, "does not exist"),
        (
            format!("{root}/circle"),
            ErrorKind::Unavailable,
            "cannot be read",
        ),
    ] {
        let error = ctx.text_file(&path).count().unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.fact("path"), Some(&*path));
        assert!(error.to_string().contains("files.rs:"), "{error}");
    }
    // A relative path is seen from the program's folder, wherever its tasks run.
    let up = std::env::current_dir().unwrap().components().count();
    let relative = format!("{}{}/a", "../".repeat(up), &root);
    assert_eq!(lines(&ctx, &relative), ["one"]);
    assert_eq!(ctx.text_file("").count()?, 0);
    // What is wrong is not missing.
    let options = FileOptions {
        ignore_missing_files: true,
        ..DEFAULT
    };
    let rdd = ctx.text_file_with(&format!("{root}/[a"), options);
    assert_eq!(rdd.count().unwrap_err().kind(), ErrorKind::Invalid);
    Ok(())
}

/// Both sides of a shuffle settle the number of map tasks when it is defined.
fn late_path(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let folder = folder(&[]);
    let path = folder.path().join("late.txt");
    let pairs = ctx
        .text_file(&path.display().to_string())
        .map(|line| (line, 1));
    let (counts, joined) = (pairs.reduce_by_key(|a, b| a + b), pairs.join(&pairs));
    std::fs::write(&path, "a\na\n").unwrap();
    for error in [counts.count().unwrap_err(), joined.count().unwrap_err()] {
        assert!(
            error.to_string().contains("Input path does not exist"),
            "{error}"
        );
    }
    assert_eq!(
        pairs.reduce_by_key(|a, b| a + b).collect().unwrap(),
        [("a".into(), 2)]
    );
    Ok(())
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn lines(ctx: &Context, path: &str) -> Vec<String> {
    strings(&ctx.text_file(path))
}

fn strings(rdd: &Rdd<Text>) -> Vec<String> {
    let lines = rdd.collect().unwrap();
    lines.into_iter().map(|line| line.to_string()).collect()
}

fn lists_globs_folders(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let folder = folder(&[
        ("a.txt", "a1\r\na2\n"),
        ("b.txt", "b1"),
        ("c.log", "c1\n\nc3\n"),
        ("_SUCCESS", "not read"),
        (".hidden", "not read"),
    ]);
    let root = folder.path().display().to_string();
    assert_eq!(lines(&ctx, &format!("{root}/a.txt")), ["a1", "a2"]);
    assert_eq!(lines(&ctx, &format!("file://{root}/b.txt")), ["b1"]);
    let list = format!("{root}/b.txt,{root}/a.txt");
    assert_eq!(lines(&ctx, &list), ["b1", "a1", "a2"]);
    assert_eq!(lines(&ctx, &format!("{root}/*.txt")), ["a1", "a2", "b1"]);
    let either = format!("{root}/{{b,c}}.*");
    // A comma inside braces belongs to the glob.
    assert_eq!(lines(&ctx, &either), ["b1", "c1", "", "c3"]);
    assert_eq!(
        lines(&ctx, &format!("{root}/[bc].???")),
        ["b1", "c1", "", "c3"]
    );
    assert_eq!(lines(&ctx, &root), ["a1", "a2", "b1", "c1", "", "c3"]);
    Ok(())
}

fn missing_path(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for path in ["/no/such/file", "/no/such/*.txt", "/no such folder/"] {
        let rdd = ctx.text_file(path);
        let error = rdd.map(|line| line.len()).count().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error.report().contains("Input path does not exist"),
            "{error}"
        );
        assert!(error.report().contains("text_file"), "{error}");
    }
    Ok(())
}

fn partitions(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let content: String = (0..100).map(|line| format!("line {line}\n")).collect();
    let folder = folder(&[("a", &content)]);
    let path = folder.path().join("a").display().to_string();
    assert_eq!(ctx.text_file(&path).num_partitions()?, 2);
    assert_eq!(ctx.text_file_into(&path, 1).num_partitions()?, 1);
    assert!(ctx.text_file_into(&path, 10).num_partitions()? >= 10);
    Ok(())
}

fn many_splits(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let content: String = (0..60)
        .map(|line| format!("{line}{}\n", "é".repeat(line % 7)))
        .collect();
    let expected: Vec<&str> = content.lines().collect();
    let folder = folder(&[("a", &content)]);
    let path = folder.path().join("a").display().to_string();
    for splits in [1, 2, 7, 40] {
        assert_eq!(
            strings(&ctx.text_file_into(&path, splits)),
            expected,
            "{splits} splits"
        );
    }
    Ok(())
}

fn empty_files(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let folder = folder(&[("a", ""), ("b", ""), ("c", "one")]);
    let root = folder.path().display().to_string();
    assert_eq!(
        ctx.text_file(&format!("{root}/a,{root}/b"))
            .num_partitions()?,
        0
    );
    assert_eq!(ctx.text_file(&format!("{root}/a")).count()?, 0);
    assert_eq!(lines(&ctx, &root), ["one"]);
    Ok(())
}

fn nested_folder(bench: &Bench) -> Outcome {
    let folder = folder(&[("a", "one")]);
    std::fs::create_dir(folder.path().join("inner")).unwrap();
    let rdd = bench.ctx().text_file(&folder.path().display().to_string());
    let error = rdd.count().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.fact("path").unwrap().ends_with("inner"), "{error}");
    Ok(())
}

fn deleted_file(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let folder = folder(&[("a", "one\ntwo")]);
    let path = folder.path().join("a");
    let rdd = ctx.text_file_into(&path.display().to_string(), 1);
    assert_eq!(rdd.count()?, 2);
    std::fs::remove_file(&path).unwrap();
    let error = rdd.count().unwrap_err();
    assert_eq!(error.fact("path"), Some(&*path.display().to_string()));
    assert_eq!(ctx.range(0..3).count()?, 3);
    Ok(())
}
