//! Files a reader cannot hold in their head: a warning, never a failure.

use crate::workspace::Source;

/// The hard limit of the house style, tests left out.
const MAX_LINES: usize = 600;

/// One line for each file over the limit, the longest first.
pub(super) fn warnings(sources: &[Source]) -> Vec<String> {
    let mut long: Vec<(usize, &str)> = sources
        .iter()
        .filter(|source| !source.path.contains("/tests/"))
        .map(|source| (lines_without_tests(&source.text), source.path.as_str()))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .collect();
    long.sort_unstable_by(|a, b| b.cmp(a));
    long.iter()
        .map(|(lines, path)| format!("warning: {path} has {lines} lines, more than {MAX_LINES}"))
        .collect()
}

/// The lines before the module of unit tests, which the house style puts last.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .position(|pair| matches!(pair, ["#[cfg(test)]", next] if next.starts_with("mod ")))
        .unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_tests_and_test_files_do_not_count() {
        let code = "fn f() {}\n".repeat(MAX_LINES);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        let source = |path: &str, text: String| Source {
            path: path.to_owned(),
            text,
        };
        assert_eq!(lines_without_tests(&format!("{code}{tests}")), MAX_LINES);
        let fitting = source("crates/a/src/b.rs", format!("{code}{tests}"));
        let long = source("crates/a/src/c.rs", format!("{code}// one more\n"));
        let suite = source("crates/a/tests/d.rs", code.repeat(2));
        let warnings = warnings(&[fitting, long, suite]);
        assert_eq!(
            warnings,
            ["warning: crates/a/src/c.rs has 601 lines, more than 600"]
        );
    }
}
