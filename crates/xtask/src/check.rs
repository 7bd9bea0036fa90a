//! `cargo xtask check`: everything that judges the sources without running them.

mod layers;
mod sizes;
mod unsafe_code;

use std::process::{Command, Stdio};

use crate::Outcome;
use crate::workspace::Workspace;

/// Runs every check, also after one has failed, and sums up at the end.
pub(crate) fn run(workspace: &Workspace) -> Outcome {
    let sources = workspace.sources()?;
    let mut report = Report::default();
    report.command("fmt", workspace.cargo().args(["fmt", "--all", "--check"]));
    report.command(
        "clippy",
        workspace.cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    );
    report.command(
        "rustdoc",
        workspace
            .cargo()
            .args(["doc", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    );
    report.step("layers", layers::check(&workspace.metadata));
    report.step("unsafe", unsafe_code::check(&sources));
    report.step("sizes", Ok(sizes::warnings(&sources)));
    licences(workspace, &mut report);
    Ok(report.finish())
}

/// Licences and duplicates through cargo-deny. Advisories need the network and change by the day: not a gate.
fn licences(workspace: &Workspace, report: &mut Report) {
    let is_installed = workspace
        .cargo()
        .args(["deny", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if is_installed {
        let words = ["deny", "check", "licenses", "bans", "sources"];
        report.command("licences", workspace.cargo().args(words));
    } else {
        report.skip(
            "licences",
            "cargo-deny is not installed (`cargo install cargo-deny` gets it)",
        );
    }
}

/// What was done and how it ended.
#[derive(Default)]
struct Report {
    passed: usize,
    skipped: Vec<&'static str>,
    failed: Vec<&'static str>,
}

impl Report {
    /// Runs a program that prints for itself.
    fn command(&mut self, name: &'static str, command: &mut Command) {
        println!("== {name}");
        match command.status() {
            Ok(status) if status.success() => self.passed += 1,
            Ok(status) => self.fail(name, &[format!("ended with {status}")]),
            Err(error) => self.fail(name, &[format!("cannot be run: {error}")]),
        }
    }

    /// Takes the result of a check of ours: remarks, or what is wrong.
    fn step(&mut self, name: &'static str, result: Result<Vec<String>, Vec<String>>) {
        println!("== {name}");
        match result {
            Ok(remarks) => {
                self.passed += 1;
                remarks.iter().for_each(|remark| println!("   {remark}"));
            }
            Err(faults) => self.fail(name, &faults),
        }
    }

    fn skip(&mut self, name: &'static str, reason: &str) {
        println!("== {name}\n   skipped: {reason}");
        self.skipped.push(name);
    }

    fn fail(&mut self, name: &'static str, faults: &[String]) {
        faults
            .iter()
            .for_each(|fault| println!("   {name}: {fault}"));
        self.failed.push(name);
    }

    fn finish(self) -> bool {
        let list = |label: &str, names: &[&str]| match names {
            [] => format!("0 {label}"),
            names => format!("{} {label} ({})", names.len(), names.join(", ")),
        };
        let (skipped, failed) = (list("skipped", &self.skipped), list("failed", &self.failed));
        println!("check: {} passed, {skipped}, {failed}", self.passed);
        self.failed.is_empty()
    }
}
