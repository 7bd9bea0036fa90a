//! `cargo xtask conformance`: docs/conformance.md says of each behaviour of Spark what we do about it, and this
//! verb holds the page to its word.
//!
//! A row that claims a test is believed only when that test ran and passed in the last complete `cargo xtask test`
//! and its source names the item in a comment.

mod comments;
mod item;
mod rows;
mod verdict;

use crate::Outcome;
use crate::test::record;
use crate::workspace::{Workspace, read};
use rows::{Row, Status};

/// Compares the page with the items, the outcomes and the sources.
pub(crate) fn run(workspace: &Workspace) -> Outcome {
    let rows = rows::parse(&read(&workspace.root.join("docs/conformance.md"))?)?;
    let mut faults = verdict::coverage(&rows);
    let claims_tests = rows.iter().any(|row| !row.tests.is_empty());
    if claims_tests {
        faults.extend(verdict::outcomes(&rows, &record::load(workspace)?));
    }
    let remarks = comments::read(&workspace.sources()?)?;
    faults.extend(verdict::comments(&rows, &remarks));
    faults
        .iter()
        .for_each(|fault| println!("conformance: {fault}"));
    println!("{}", totals(&rows));
    Ok(faults.is_empty())
}

fn totals(rows: &[Row]) -> String {
    let count = |status| rows.iter().filter(|row| row.status == status).count();
    let (tested, differs) = (count(Status::Tested), count(Status::Differs));
    format!(
        "{} items: {tested} tested + {differs} differs = {}, {} later, {} not ours",
        rows.len(),
        tested + differs,
        count(Status::Later),
        count(Status::NotOurs),
    )
}
