//! An example that runs as a child process.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long one line of output may take. Only a program that hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What runs an example, all but its arguments.
pub(crate) fn command(example: &str) -> Command {
    // Cargo puts examples beside the folder of the tests, and builds them before the tests run:
    // all of them, or none where it is told to run this test alone.
    let own = std::env::current_exe().unwrap();
    let built = own.parent().and_then(|deps| deps.parent()).unwrap();
    let example: PathBuf = built.join("examples").join(example);
    assert!(
        example.exists(),
        "{} is not built: cargo build --examples",
        example.display()
    );
    Command::new(example)
}

/// What an example says that ends before anything runs.
pub(crate) fn output(example: &str, arguments: &[&str]) -> Output {
    command(example).args(arguments).output().unwrap()
}

/// An example that runs. Dropped, it is killed if it still does.
pub(crate) struct Program {
    name: String,
    child: Child,
    lines: Receiver<String>,
    /// What it has printed so far.
    printed: Vec<String>,
}

impl Program {
    pub(crate) fn start(example: &str, arguments: &[&str]) -> Self {
        let mut child = command(example)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let warnings = sender.clone();
        std::thread::spawn(move || {
            BufReader::new(out)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        std::thread::spawn(move || {
            BufReader::new(err)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| warnings.send(format!("stderr: {line}")))
        });
        Self {
            name: example.to_owned(),
            child,
            lines,
            printed: Vec::new(),
        }
    }

    /// A stream that goes on until what it has printed is enough; never for more than half a
    /// minute, so that a wrong result ends the test too.
    pub(crate) fn stream(example: &str, arguments: &[&str]) -> Self {
        let bounded = ["--batch-ms", "50", "--max-batches", "600"];
        Self::start(example, &[arguments, &bounded].concat())
    }

    /// One more line; `None` when the program has closed both its outputs.
    fn next(&mut self) -> Option<()> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => self.printed.push(line),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => panic!("{} hangs:\n{}", self.name, self.text()),
        }
        Some(())
    }

    fn text(&self) -> String {
        self.printed.join("\n")
    }

    /// Waits until what was printed is enough; what it printed.
    pub(crate) fn until(&mut self, is_enough: impl Fn(&[String]) -> bool) -> &[String] {
        while !is_enough(&self.printed) {
            let more = self.next();
            assert!(
                more.is_some(),
                "{} ended without what was expected:\n{}",
                self.name,
                self.text()
            );
        }
        &self.printed
    }

    /// Types into it.
    pub(crate) fn say(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(text.as_bytes()).unwrap();
    }

    /// Ends its input and waits until it has ended by itself, well; what it printed.
    pub(crate) fn end(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        while self.next().is_some() {}
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{} {status}:\n{}", self.name, self.text());
        std::mem::take(&mut self.printed)
    }

    /// Asks it to stop, as Ctrl-C does, once what was printed is enough; what it printed.
    pub(crate) fn stop_when(mut self, is_enough: impl Fn(&[String]) -> bool) -> Vec<String> {
        self.until(is_enough);
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.end()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended, unless the test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The batches that `print` has shown, each with its records.
pub(crate) fn batches(printed: &[String]) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    for line in printed {
        if line.starts_with("Time: ") {
            batches.push(Vec::new());
        } else if line.starts_with('(')
            && let Some(batch) = batches.last_mut()
        {
            batch.push(line.clone());
        }
    }
    batches
}

/// A record such as `(tide,3)`.
pub(crate) fn pair(record: &str) -> (String, i64) {
    let inner = record.strip_prefix('(').and_then(|r| r.strip_suffix(')'));
    let (key, value) = inner.and_then(|inner| inner.rsplit_once(',')).unwrap();
    (key.to_owned(), value.parse().unwrap())
}

/// The sum of each key over all batches that `print` has shown.
pub(crate) fn sums(printed: &[String]) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for (key, value) in batches(printed).concat().iter().map(|record| pair(record)) {
        *sums.entry(key).or_default() += value;
    }
    sums
}

/// The records that `save_as_text_files` has written for all batches.
pub(crate) fn saved(folder: &Path) -> BTreeMap<String, i64> {
    let mut saved = BTreeMap::new();
    for batch in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        for part in fs::read_dir(batch.path()).unwrap().map(Result::unwrap) {
            if part.file_name().to_string_lossy().starts_with("part-") {
                let text = fs::read_to_string(part.path()).unwrap();
                for (key, value) in text.lines().map(pair) {
                    *saved.entry(key).or_default() += value;
                }
            }
        }
    }
    saved
}

/// Counts as a map.
pub(crate) fn counts<const N: usize>(expected: [(&str, i64); N]) -> BTreeMap<String, i64> {
    expected.map(|(key, value)| (key.to_owned(), value)).into()
}

/// The port of a server that says `text` to the first who comes, and waits until they leave.
pub(crate) fn say(text: &'static str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.write_all(text.as_bytes()).unwrap();
        let _ = client.read(&mut [0]);
    });
    port.to_string()
}
