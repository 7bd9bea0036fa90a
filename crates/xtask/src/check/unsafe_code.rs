//! `unsafe` occurs in one file only: the module of functions that travel.

use crate::strip::{code_only, has_word};
use crate::workspace::Source;

/// The file whose soundness argument covers all of it.
const ALLOWED: &str = "crates/core/src/travel.rs";

/// Finds the keyword in code; comments and literals do not count.
pub(super) fn check(sources: &[Source]) -> Result<Vec<String>, Vec<String>> {
    let found: Vec<&str> = sources
        .iter()
        .filter(|source| has_word(&code_only(&source.text), "unsafe"))
        .map(|source| source.path.as_str())
        .collect();
    let mut faults: Vec<String> = found
        .iter()
        .filter(|path| **path != ALLOWED)
        .map(|path| format!("{path} says `unsafe`; only {ALLOWED} may"))
        .collect();
    if !found.contains(&ALLOWED) {
        faults.push(format!(
            "{ALLOWED} was not seen to say `unsafe` among {} files: moved, or the check is blind",
            sources.len()
        ));
    }
    if faults.is_empty() {
        return Ok(vec![format!(
            "{} files, `unsafe` in {ALLOWED} only",
            sources.len()
        )]);
    }
    Err(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_one_file_may_and_another_may_not() {
        let travel = || source(ALLOWED, "fn f() { unsafe { g() } }");
        let talk = || {
            source(
                "crates/core/src/lib.rs",
                "// unsafe\nconst A: &str = \"unsafe\";",
            )
        };
        assert!(check(&[travel(), talk()]).is_ok());
        let other = source("crates/core/src/text.rs", "unsafe impl Send for A {}");
        let faults = check(&[travel(), talk(), other]).expect_err("a fault");
        assert_eq!(faults.len(), 1, "{faults:?}");
    }

    #[test]
    fn seeing_no_unsafe_at_all_is_a_fault() {
        assert!(check(&[]).is_err());
        assert!(check(&[source(ALLOWED, "fn f() {}")]).is_err());
    }
}
