//! The rows of docs/conformance.md: `| S-001 | tested | crate::path::test_name | note |`.

use crate::conformance::item::Item;

/// What we do about an item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Status {
    /// As Spark does; a test shows it.
    Tested,
    /// Better than Spark; the note says why, a test shows it.
    Differs,
    /// Not yet; the note says with which part.
    Later,
    /// Never; the note says why.
    NotOurs,
}

/// One row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) item: Item,
    pub(super) status: Status,
    /// The paths of the tests, as the runner prints them behind the name of their program.
    pub(super) tests: Vec<String>,
}

/// Reads every row of the page; other lines are prose. An error lists all rows that break the form.
pub(super) fn parse(page: &str) -> Result<Vec<Row>, String> {
    let lines = page.lines().enumerate().filter(|(_, line)| is_row(line));
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for (at, line) in lines {
        match row(line) {
            Ok(row) => rows.push(row),
            Err(fault) => faults.push(format!("docs/conformance.md:{}: {fault}", at + 1)),
        }
    }
    if faults.is_empty() {
        Ok(rows)
    } else {
        Err(faults.join("\n"))
    }
}

/// A row's first cell begins with a capital letter and a dash; headings and rules do not.
fn is_row(line: &str) -> bool {
    let mut start = line
        .strip_prefix('|')
        .unwrap_or_default()
        .trim_start()
        .chars();
    start.next().is_some_and(|c| c.is_ascii_uppercase()) && start.next() == Some('-')
}

fn row(line: &str) -> Result<Row, String> {
    let cells = cells(line);
    let [item, status, tests, note] = cells.as_slice() else {
        return Err(format!("{} cells instead of 4", cells.len()));
    };
    let known = Item::parse(item).filter(|item| item.is_known());
    let item = known.ok_or(format!("unknown item `{item}`"))?;
    let status = match status.as_str() {
        "tested" => Status::Tested,
        "differs" => Status::Differs,
        "later" => Status::Later,
        "not ours" => Status::NotOurs,
        other => {
            return Err(format!(
                "{item}: status `{other}` is none of tested, differs, later, not ours"
            ));
        }
    };
    let tests: Vec<String> = tests
        .split([',', ' '])
        .map(|test| test.trim_matches('`'))
        .filter(|test| !matches!(*test, "" | "-" | "–"))
        .map(str::to_owned)
        .collect();
    let claims_test = matches!(status, Status::Tested | Status::Differs);
    if claims_test == tests.is_empty() {
        let need = if claims_test {
            "needs"
        } else {
            "must not name"
        };
        return Err(format!("{item}: this status {need} a test"));
    }
    if note.is_empty() && status != Status::Tested {
        return Err(format!(
            "{item}: this status needs a note that says why or when"
        ));
    }
    Ok(Row {
        item,
        status,
        tests,
    })
}

/// The cells between the outer bars; `\|` is a bar inside a cell.
fn cells(line: &str) -> Vec<String> {
    let hidden = line.trim().replace("\\|", "\0");
    let inner = hidden.strip_prefix('|').unwrap_or(&hidden);
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    inner
        .split('|')
        .map(|cell| cell.trim().replace('\0', "|"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_between_prose_and_headings() {
        let page = "# Title\n\n| Item | Status | Test | Note |\n|---|---|---|---|\n\
            | S-001 | tested | `ops::a` | a \\| b |\n\
            | C-002 | differs | tidemill_core::b::tests::c, ops::d | better |\n\
            | S-003 | later | – | B: windows |\n| C-004 | not ours | - | JVM |\n";
        let rows = parse(page).expect("four rows");
        let items: Vec<String> = rows.iter().map(|row| row.item.to_string()).collect();
        assert_eq!(items, ["S-001", "C-002", "S-003", "C-004"]);
        assert_eq!(rows[0].tests, ["ops::a"]);
        assert_eq!(rows[1].tests, ["tidemill_core::b::tests::c", "ops::d"]);
        assert!(rows[2].tests.is_empty() && rows[3].tests.is_empty());
        assert_eq!(rows[3].status, Status::NotOurs);
    }

    #[test]
    fn each_broken_row_is_named_with_its_line() {
        let cases = [
            ("| S-001 | tested | – | note |", "needs a test"),
            ("| S-001 | later | ops::a | note |", "must not name a test"),
            ("| S-001 | differs | ops::a | |", "needs a note"),
            ("| S-001 | done | ops::a | note |", "status `done`"),
            ("| S-999 | later | – | note |", "unknown item `S-999`"),
            ("| X-001 | later | – | note |", "unknown item `X-001`"),
            ("| S-001 | later | note |", "3 cells"),
        ];
        for (line, expected) in cases {
            let fault = parse(&format!("# Title\n{line}\n")).expect_err("a fault");
            assert!(fault.starts_with("docs/conformance.md:2: "), "{fault}");
            assert!(fault.contains(expected), "{fault}");
        }
    }
}
