//! A child's standard output and standard error, each through a pipe of its own, passed on line by line.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// How long a pipe may stay open and silent after the child has ended.
const LINGER: Duration = Duration::from_secs(5);

/// How often a silent child is looked at.
const TICK: Duration = Duration::from_millis(250);

/// How a child ended.
pub(super) struct ChildEnding {
    /// Its exit status was zero.
    pub(super) success: bool,
    /// A process it started outlived it and holds a pipe.
    pub(super) left_running: bool,
}

/// A whole line, its end included, and where it was written.
pub(super) enum Line {
    Output(Vec<u8>),
    Error(Vec<u8>),
}

/// Runs a command, prints each line unchanged to where it was written, as it comes, and shows it to `see`.
pub(super) fn stream(
    command: &mut Command,
    mut see: impl FnMut(&Line),
) -> Result<ChildEnding, String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let (sender, lines) = mpsc::channel();
    if let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) {
        let error_sender = sender.clone();
        thread::spawn(move || read_lines(output, &sender, Line::Output));
        thread::spawn(move || read_lines(errors, &error_sender, Line::Error));
    }
    let left_running = pass_on(&lines, &mut child, &mut see).map_err(|error| error.to_string())?;
    let status = child.wait().map_err(|error| error.to_string())?;
    Ok(ChildEnding {
        success: status.success(),
        left_running,
    })
}

fn read_lines(pipe: impl Read, sender: &Sender<Line>, wrap: fn(Vec<u8>) -> Line) {
    let mut pipe = BufReader::new(pipe);
    loop {
        let mut line = Vec::new();
        match pipe.read_until(b'\n', &mut line) {
            Ok(1..) if sender.send(wrap(line)).is_ok() => {}
            _ => return,
        }
    }
}

/// Returns whether the child's end had to be taken for the pipes'.
fn pass_on(
    lines: &Receiver<Line>,
    child: &mut Child,
    see: &mut impl FnMut(&Line),
) -> io::Result<bool> {
    let mut silence = Duration::ZERO;
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                silence = Duration::ZERO;
                print(&line)?;
                see(&line);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
            Err(RecvTimeoutError::Timeout) if child.try_wait()?.is_some() => {
                silence += TICK;
                if silence >= LINGER {
                    return Ok(true);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn print(line: &Line) -> io::Result<()> {
    match line {
        Line::Output(bytes) => {
            let mut output = io::stdout().lock();
            output.write_all(bytes)?;
            output.flush()
        }
        Line::Error(bytes) => io::stderr().lock().write_all(bytes),
    }
}
