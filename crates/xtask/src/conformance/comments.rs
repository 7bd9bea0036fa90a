//! Which items a test names: `// S-104, S-105` above the test, or among the first lines inside it.
//!
//! A remark begins with its first item, so that prose about an item is no claim. Comments in the body of a `#[test]`
//! function count for that function, wherever they stand; elsewhere, as in a table of trials, they count for the
//! lines that follow them.

use crate::conformance::item::Item;
use crate::workspace::Source;

/// The items that one test names.
#[derive(Debug)]
pub(super) struct Remark {
    /// File and line of the first comment.
    pub(super) place: String,
    /// The items, in the order written.
    pub(super) items: Vec<Item>,
    /// The code that tells which test it is: the function's line, or what follows the comment.
    pub(super) code: String,
}

/// How many lines after a comment may hold the test's name: a call, its opening, its first argument.
const NAME_LINES: usize = 3;

/// This program tests none of the items, but its own tests are full of such comments in strings.
const OURS: &str = "crates/xtask/";

/// Finds the remarks of all sources; an error names those with an unknown item.
pub(super) fn read(sources: &[Source]) -> Result<Vec<Remark>, String> {
    let others = sources
        .iter()
        .filter(|source| !source.path.starts_with(OURS));
    let remarks: Vec<Remark> = others.flat_map(remarks).collect();
    let unknown: Vec<String> = remarks
        .iter()
        .flat_map(|remark| remark.items.iter().map(move |item| (remark, item)))
        .filter(|(_, item)| !item.is_known())
        .map(|(remark, item)| format!("{}: unknown item {item}", remark.place))
        .collect();
    if unknown.is_empty() {
        Ok(remarks)
    } else {
        Err(unknown.join("\n"))
    }
}

fn remarks(source: &Source) -> Vec<Remark> {
    let lines: Vec<(usize, &str)> = source
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .collect();
    let mut scan = Scan::default();
    for (at, (number, line)) in lines.iter().copied().enumerate() {
        scan.leave_function(line);
        let text = line.trim_start();
        if text.starts_with("//") || text.starts_with("#[") {
            scan.note(number + 1, text);
        } else {
            scan.enter_function(line);
            scan.attribute(
                lines
                    .iter()
                    .skip(at)
                    .take(NAME_LINES)
                    .map(|(_, line)| *line),
            );
        }
    }
    for remark in &mut scan.remarks {
        remark.place = format!("{}:{}", source.path, remark.place);
    }
    scan.remarks
}

/// A pass over the lines of one file.
#[derive(Default)]
struct Scan<'a> {
    remarks: Vec<Remark>,
    /// The `#[test]` function that the lines belong to.
    function: Option<Function<'a>>,
    /// What comments have named since the last line of code.
    items: Vec<Item>,
    /// The line of the first of them.
    first_line: usize,
    /// Whether an attribute since the last line of code says `#[test]`.
    is_test: bool,
}

struct Function<'a> {
    line: &'a str,
    /// Where in `remarks` its items are, once it has any.
    remark: Option<usize>,
}

impl<'a> Scan<'a> {
    /// Formatted code indents a body, so a function ends at the first line that is not indented deeper.
    fn leave_function(&mut self, line: &str) {
        let has_left = self
            .function
            .as_ref()
            .is_some_and(|function| indent(line) <= indent(function.line));
        if has_left {
            self.attribute(std::iter::empty());
            self.function = None;
        }
    }

    /// Takes a comment or an attribute.
    fn note(&mut self, number: usize, text: &str) {
        self.is_test |= text == "#[test]";
        if self.items.is_empty() {
            self.first_line = number;
        }
        self.items.extend(named_items(text));
    }

    fn enter_function(&mut self, line: &'a str) {
        if self.is_test && is_function(line) {
            self.function = Some(Function { line, remark: None });
        }
        self.is_test = false;
    }

    /// Gives the items named so far to the test they belong to.
    fn attribute<'b>(&mut self, following: impl Iterator<Item = &'b str>) {
        if self.items.is_empty() {
            return;
        }
        let items = std::mem::take(&mut self.items);
        let earlier = self.function.as_ref().and_then(|function| function.remark);
        if let Some(remark) = earlier.and_then(|at| self.remarks.get_mut(at)) {
            remark.items.extend(items);
            return;
        }
        let code = match &mut self.function {
            Some(function) => {
                function.remark = Some(self.remarks.len());
                function.line.to_owned()
            }
            None => following.collect::<Vec<_>>().join("\n"),
        };
        self.remarks.push(Remark {
            place: self.first_line.to_string(),
            items,
            code,
        });
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The items of a comment that begins with one.
fn named_items(line: &str) -> Vec<Item> {
    let Some(comment) = line.strip_prefix("// ") else {
        return Vec::new();
    };
    let mut words = comment.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let Some(first) = words.next().and_then(Item::parse) else {
        return Vec::new();
    };
    std::iter::once(first)
        .chain(words.filter_map(Item::parse))
        .collect()
}

fn is_function(line: &str) -> bool {
    let words = line.split('(').next().unwrap_or_default();
    words.split_whitespace().any(|word| word == "fn") && line.contains('(')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(text: &str) -> Result<Vec<String>, String> {
        let source = Source {
            path: String::from("a.rs"),
            text: text.to_owned(),
        };
        let show = |remark: &Remark| {
            let items: Vec<String> = remark.items.iter().map(Item::to_string).collect();
            format!("{} {}", remark.place, items.join(" "))
        };
        read(&[source]).map(|remarks| remarks.iter().map(show).collect())
    }

    #[test]
    fn comments_around_the_head_and_in_the_body_count_for_one_test() {
        let text = "// S-001: prints\n#[test]\n// S-002\nfn a() {\n    // S-003, C-004\n    b();\n    // S-005\n}\n\
                    #[test]\nfn c() {}\n\n// S-006\n#[test]\nfn d() {}\n";
        let expected = ["a.rs:1 S-001 S-002 S-003 C-004 S-005", "a.rs:12 S-006"];
        assert_eq!(read_one(text).expect("remarks"), expected);
    }

    #[test]
    fn each_comment_of_a_table_counts_for_the_trial_below_it() {
        let text = "fn main() {\n    vec![\n        // S-001\n        trial(\"a\", a),\n        // S-002\n        trial(\n            \"b\",\n        ),\n    ]\n}\n";
        assert_eq!(
            read_one(text).expect("remarks"),
            ["a.rs:3 S-001", "a.rs:5 S-002"]
        );
    }

    #[test]
    fn a_table_after_a_test_function_is_not_part_of_it() {
        let text = "#[test]\nfn a() {\n    b();\n}\n\nfn main() {\n    // S-001\n    trial(a);\n    // S-002\n\n    trial(b);\n}\n";
        assert_eq!(
            read_one(text).expect("remarks"),
            ["a.rs:7 S-001", "a.rs:9 S-002"]
        );
    }

    #[test]
    fn prose_and_documentation_are_no_claims() {
        let text = "/// S-001 in documentation\n// as S-002 says\n// S-1 and S-0031\nfn a() {}\n";
        assert_eq!(read_one(text).expect("no remarks"), Vec::<String>::new());
    }

    #[test]
    fn an_unknown_item_is_refused_with_its_place() {
        let fault = read_one("fn x() {}\n// S-001 S-900\nfn a() {}\n").expect_err("a fault");
        assert_eq!(fault, "a.rs:2: unknown item S-900");
    }
}
