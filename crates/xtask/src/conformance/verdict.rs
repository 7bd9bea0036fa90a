//! What is wrong with the page, given the items, the outcomes and the sources.

use crate::conformance::comments::Remark;
use crate::conformance::item::Item;
use crate::conformance::rows::Row;
use crate::strip::has_word;
use crate::test::record::{Ending, TestRun};

/// More items than this in one test and it shows none of them well.
const MAX_ITEMS: usize = 4;

/// Every item has exactly one row.
pub(super) fn coverage(rows: &[Row]) -> Vec<String> {
    Item::all()
        .filter_map(
            |item| match rows.iter().filter(|row| row.item == item).count() {
                0 => Some(format!("{item} has no row")),
                1 => None,
                several => Some(format!("{item} has {several} rows")),
            },
        )
        .collect()
}

/// Every test that a row names ran and passed, in one program only, and with each of its kinds.
pub(super) fn outcomes(rows: &[Row], runs: &[TestRun]) -> Vec<String> {
    claims(rows)
        .filter_map(|(item, test)| {
            let named: Vec<&TestRun> = runs.iter().filter(|run| run.path() == test).collect();
            let fault = match named.as_slice() {
                [] => "did not run in the last test run",
                named if named.iter().any(|run| run.ending == Ending::Failed) => "failed",
                named if named.iter().any(|run| run.ending != Ending::Passed) => "was skipped",
                named if has_twin(named) => "is the name of several tests; rename one",
                _ => return None,
            };
            Some(format!("{item}: `{test}` {fault}"))
        })
        .collect()
}

/// Every test that a row names names the item too, and no test names too many.
pub(super) fn comments(rows: &[Row], remarks: &[Remark]) -> Vec<String> {
    let crowded = remarks
        .iter()
        .filter(|remark| remark.items.len() > MAX_ITEMS)
        .map(|remark| {
            let count = remark.items.len();
            format!(
                "{}: a test names {count} items, more than {MAX_ITEMS}",
                remark.place
            )
        });
    let silent = claims(rows).filter(|(item, test)| {
        let name = test.rsplit("::").next().unwrap_or(test);
        let names_both =
            |remark: &Remark| remark.items.contains(item) && has_word(&remark.code, name);
        !remarks.iter().any(names_both)
    });
    crowded
        .chain(silent.map(|(item, test)| format!("{item}: `{test}` has no comment `// {item}`")))
        .collect()
}

fn claims(rows: &[Row]) -> impl Iterator<Item = (Item, &str)> {
    rows.iter()
        .flat_map(|row| row.tests.iter().map(|test| (row.item, test.as_str())))
}

/// A suite may run a test once for each kind; the same kind twice is two tests.
fn has_twin(runs: &[&TestRun]) -> bool {
    let mut kinds: Vec<&str> = runs.iter().map(|run| run.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a == b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::comments;
    use crate::conformance::rows;
    use crate::workspace::Source;

    fn page(lines: &str) -> Vec<Row> {
        rows::parse(lines).expect("rows")
    }

    fn on(kind: &str, run: TestRun) -> TestRun {
        TestRun {
            kind: kind.to_owned(),
            ..run
        }
    }

    #[test]
    fn an_item_without_a_row_or_with_two_is_a_fault() {
        let mut lines: Vec<String> = Item::all()
            .map(|item| format!("| {item} | later | – | B |"))
            .collect();
        assert_eq!(coverage(&page(&lines.join("\n"))), Vec::<String>::new());
        lines.swap_remove(0);
        lines.push(String::from("| C-308 | later | – | again |"));
        let faults = coverage(&page(&lines.join("\n")));
        assert_eq!(faults, ["S-001 has no row", "C-308 has 2 rows"]);
    }

    #[test]
    fn a_claimed_test_must_have_run_and_passed_everywhere() {
        let rows = page(
            "| S-001 | tested | ops::good | |\n| S-002 | tested | ops::absent | |\n\
             | S-003 | tested | ops::bad | |\n| S-004 | differs | ops::skipped | better |\n\
             | S-005 | tested | ops::twin | |",
        );
        let runs = [
            on("local", TestRun::passed("ops", "good")),
            on("loopback", TestRun::passed("ops", "good")),
            on("local", TestRun::passed("ops", "bad")),
            on("loopback", TestRun::failed("ops", "bad")),
            TestRun::new("ops", "skipped", Ending::Ignored(String::from("why"))),
            TestRun::passed("ops", "twin"),
            TestRun::passed("ops", "twin"),
        ];
        assert_eq!(
            outcomes(&rows, &runs),
            [
                "S-002: `ops::absent` did not run in the last test run",
                "S-003: `ops::bad` failed",
                "S-004: `ops::skipped` was skipped",
                "S-005: `ops::twin` is the name of several tests; rename one",
            ]
        );
    }

    #[test]
    fn a_claimed_test_must_name_its_item_and_not_too_many() {
        let rows = page(
            "| S-001 | tested | ops::keeps_order | |\n| S-002 | tested | ops::keeps | |\n\
             | C-001 | tested | ops::in_a_table | |",
        );
        let text = "// S-001, S-002\n#[test]\nfn keeps_order() {}\n\
                    // C-001\ntrial(\n    \"in_a_table\", f);\n\
                    // C-002 C-003 C-004 C-005 C-006\nfn crowded() {}\n";
        let source = Source {
            path: String::from("ops.rs"),
            text: text.to_owned(),
        };
        let remarks = comments::read(&[source]).expect("remarks");
        assert_eq!(
            super::comments(&rows, &remarks),
            [
                "ops.rs:7: a test names 5 items, more than 4",
                "S-002: `ops::keeps` has no comment `// S-002`",
            ]
        );
    }
}
