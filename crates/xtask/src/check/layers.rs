//! The arrows between our crates, compared with the one table that allows them.
//!
//! A new arrow is a design note first and a row here second.

use serde_json::Value;

/// The crates that exist at least: a check that sees fewer has not looked.
const EXPECTED: [&str; 6] = ["core", "streaming", "tidemill", "testing", "bench", "xtask"];

/// What each crate may depend on among ours, by the name of its folder.
const ALLOWED: [(&str, &[&str]); 15] = [
    ("core", &[]),
    ("streaming", &["core"]),
    ("graph", &["core"]),
    ("connectors", &["core", "streaming"]),
    ("sql", &["core", "streaming"]),
    ("ml", &["core", "streaming"]),
    ("ui", &["core", "streaming"]),
    ("cluster", &["core", "sql"]),
    ("testing", &["core", "streaming"]),
    (
        "tidemill",
        &[
            "core",
            "streaming",
            "graph",
            "connectors",
            "sql",
            "ml",
            "ui",
            "cluster",
            "testing",
        ],
    ),
    ("cli", &["tidemill"]),
    ("python", &["tidemill", "cli"]),
    ("bench", &["tidemill", "testing"]),
    ("book", &["tidemill"]),
    ("xtask", &[]),
];

/// What any crate's tests and examples may use beyond its row, as long as the arrow does not lead back to the crate.
const FOR_TESTS: [&str; 2] = ["testing", "tidemill"];

#[derive(Debug, PartialEq)]
struct Edge {
    from: String,
    to: String,
    is_dev: bool,
}

/// Compares the workspace's edges with the table; a remark says how many were seen.
pub(super) fn check(metadata: &Value) -> Result<Vec<String>, Vec<String>> {
    let (crates, edges) = parse(metadata);
    let mut faults: Vec<String> = EXPECTED
        .iter()
        .filter(|name| !crates.iter().any(|seen| seen == *name))
        .map(|name| format!("crate `{name}` was not seen in cargo metadata"))
        .collect();
    for name in &crates {
        if row(name).is_none() {
            faults.push(format!(
                "crate `{name}` has no row in the table of allowed arrows"
            ));
        }
    }
    if !edges.iter().any(|edge| !edge.is_dev) {
        faults.push(String::from(
            "no arrow between our crates was seen: the check is blind",
        ));
    }
    faults.extend(edges.iter().filter_map(|edge| fault(edge, &edges)));
    if faults.is_empty() {
        return Ok(vec![format!(
            "{} crates, {} arrows, all allowed",
            crates.len(),
            edges.len()
        )]);
    }
    Err(faults)
}

fn row(name: &str) -> Option<&'static [&'static str]> {
    ALLOWED
        .iter()
        .find(|(from, _)| *from == name)
        .map(|(_, to)| *to)
}

fn fault(edge: &Edge, edges: &[Edge]) -> Option<String> {
    let Edge { from, to, is_dev } = edge;
    let is_in_row = row(from).is_some_and(|allowed| allowed.contains(&to.as_str()));
    if !is_dev {
        return (!is_in_row).then(|| format!("`{from}` must not depend on `{to}`"));
    }
    if !is_in_row && !FOR_TESTS.contains(&to.as_str()) {
        return Some(format!("the tests of `{from}` must not depend on `{to}`"));
    }
    leads_to(to, from, edges).then(|| {
        format!(
            "the tests of `{from}` depend on `{to}`, which depends on `{from}`: its unit tests would link a second \
             copy of it; move these tests to crates/testing/tests"
        )
    })
}

/// Whether normal arrows lead from one crate to another.
fn leads_to(start: &str, goal: &str, edges: &[Edge]) -> bool {
    let mut seen = vec![start];
    let mut at = 0;
    while let Some(name) = seen.get(at).copied() {
        at += 1;
        if name == goal {
            return true;
        }
        for edge in edges
            .iter()
            .filter(|edge| !edge.is_dev && edge.from == name)
        {
            if !seen.contains(&edge.to.as_str()) {
                seen.push(&edge.to);
            }
        }
    }
    false
}

/// The names of our crates and the arrows among them; build dependencies count as normal ones.
fn parse(metadata: &Value) -> (Vec<String>, Vec<Edge>) {
    let packages = list(metadata, "packages");
    let names: Vec<&str> = packages
        .iter()
        .filter_map(|package| text(package, "name"))
        .collect();
    let mut edges = Vec::new();
    for package in packages {
        let Some(from) = text(package, "name") else {
            continue;
        };
        for dependency in list(package, "dependencies") {
            let Some(to) = text(dependency, "name").filter(|name| names.contains(name)) else {
                continue;
            };
            let is_dev = text(dependency, "kind") == Some("dev");
            let edge = Edge {
                from: folder(from),
                to: folder(to),
                is_dev,
            };
            if !edges.contains(&edge) {
                edges.push(edge);
            }
        }
    }
    (names.into_iter().map(folder).collect(), edges)
}

/// Package `tidemill-core` lives in folder `core`; the façade keeps its name.
fn folder(package: &str) -> String {
    package
        .strip_prefix("tidemill-")
        .unwrap_or(package)
        .to_owned()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The six crates with their usual arrows, and one arrow more.
    fn metadata(from: &str, to: &str, kind: Option<&str>) -> Value {
        let usual = [
            ("tidemill-core", vec![]),
            ("tidemill-streaming", vec!["tidemill-core"]),
            (
                "tidemill",
                vec!["tidemill-core", "tidemill-streaming", "tidemill-testing"],
            ),
            (
                "tidemill-testing",
                vec!["tidemill-core", "tidemill-streaming"],
            ),
            ("tidemill-bench", vec!["tidemill"]),
            ("tidemill-xtask", vec!["serde_json"]),
        ];
        let packages: Vec<Value> = usual
            .into_iter()
            .map(|(name, to_names)| {
                let mut dependencies: Vec<Value> = to_names
                    .iter()
                    .map(|name| json!({"name": name, "kind": null}))
                    .collect();
                if name == from {
                    dependencies.push(json!({"name": to, "kind": kind}));
                }
                json!({"name": name, "dependencies": dependencies})
            })
            .collect();
        json!({ "packages": packages })
    }

    fn faults(from: &str, to: &str, kind: Option<&str>) -> String {
        check(&metadata(from, to, kind))
            .expect_err("a fault")
            .join("\n")
    }

    #[test]
    fn the_usual_arrows_pass_and_are_counted() {
        let remarks = check(&metadata("", "", None)).expect("no fault");
        assert_eq!(remarks, ["6 crates, 7 arrows, all allowed"]);
    }

    #[test]
    fn an_arrow_upwards_is_refused() {
        let faults = faults("tidemill-core", "tidemill-streaming", None);
        assert_eq!(faults, "`core` must not depend on `streaming`");
    }

    #[test]
    fn a_build_dependency_counts_as_a_normal_one() {
        let faults = faults("tidemill-bench", "tidemill-core", Some("build"));
        assert_eq!(faults, "`bench` must not depend on `core`");
    }

    #[test]
    fn a_test_dependency_that_leads_back_is_refused() {
        let faults = faults("tidemill-streaming", "tidemill-testing", Some("dev"));
        assert!(faults.contains("second copy"), "{faults}");
    }

    #[test]
    fn a_test_dependency_that_does_not_lead_back_passes() {
        assert!(check(&metadata("tidemill-bench", "tidemill-testing", Some("dev"))).is_ok());
    }

    #[test]
    fn a_crate_without_a_row_and_a_missing_crate_are_faults() {
        let metadata = json!({"packages": [{"name": "tidemill-surprise", "dependencies": []}]});
        let faults = check(&metadata).expect_err("faults").join("\n");
        assert!(faults.contains("`surprise` has no row"), "{faults}");
        assert!(faults.contains("`core` was not seen"), "{faults}");
        assert!(faults.contains("the check is blind"), "{faults}");
    }
}
