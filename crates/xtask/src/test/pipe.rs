//! A child's standard output and error through one pipe, line by line and in the order they were written.

use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// How long the pipe may stay open and silent after the child has ended.
const LINGER: Duration = Duration::from_secs(5);

/// How often a silent child is looked at.
const TICK: Duration = Duration::from_millis(250);

/// How a child ended.
pub(super) struct ChildEnding {
    /// Its exit status was zero.
    pub(super) success: bool,
    /// A process it started outlived it and holds the pipe.
    pub(super) left_running: bool,
}

/// Runs a command, prints each line unchanged as it comes, and shows it to `see` as text.
pub(super) fn stream(
    mut command: Command,
    mut see: impl FnMut(&str),
) -> Result<ChildEnding, String> {
    let (mut child, reader) = spawn(&mut command).map_err(|error| error.to_string())?;
    // The command holds the pipe's writing ends: without this the reader would never see the end.
    drop(command);
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || read_lines(reader, &sender));
    let left_running = pass_on(&lines, &mut child, &mut see).map_err(|error| error.to_string())?;
    let status = child.wait().map_err(|error| error.to_string())?;
    Ok(ChildEnding {
        success: status.success(),
        left_running,
    })
}

fn spawn(command: &mut Command) -> io::Result<(Child, PipeReader)> {
    let (reader, writer) = io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    Ok((command.spawn()?, reader))
}

fn read_lines(reader: PipeReader, sender: &Sender<Vec<u8>>) {
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        match reader.read_until(b'\n', &mut line) {
            Ok(1..) if sender.send(line).is_ok() => {}
            _ => return,
        }
    }
}

/// Returns whether the child's end had to be taken for the pipe's.
fn pass_on(
    lines: &Receiver<Vec<u8>>,
    child: &mut Child,
    see: &mut impl FnMut(&str),
) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let mut silence = Duration::ZERO;
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                silence = Duration::ZERO;
                out.write_all(&line)?;
                out.flush()?;
                see(String::from_utf8_lossy(&line).trim_end());
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
