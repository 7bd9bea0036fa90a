//! `text_file`.

use tempfile::TempDir;
use tidemill_core::{Context, ErrorKind, PairRdd, Rdd, Text};

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
    ]
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
