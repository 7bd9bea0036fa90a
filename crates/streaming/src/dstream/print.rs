//! `print`: the first records of each batch, for people.

use std::panic::Location;

use tidemill_core::{Data, Error, ErrorKind, Operator};

use super::DStream;
use super::for_each::Output;
use crate::display::render_into;

/// Records that `print` shows of each batch.
const DEFAULT_PRINTED: usize = 10;

#[expect(
    clippy::must_use_candidate,
    reason = "the output is registered already: the handle is for whom wants it"
)]
impl<T: Data> DStream<T> {
    /// Prints the first ten records of each batch to standard output (or to where
    /// [`StreamingContext::print_to`](crate::StreamingContext::print_to) says), framed as Apache
    /// Spark Streaming does.
    ///
    /// *Cost* one job a batch, over as few partitions as have ten records.
    #[track_caller]
    pub fn print(&self) -> Output {
        self.print_as(Operator::new("print", Location::caller()), DEFAULT_PRINTED)
    }

    /// As [`print`](Self::print), the first `num` records.
    #[track_caller]
    pub fn print_first(&self, num: usize) -> Output {
        self.print_as(Operator::new("print", Location::caller()), num)
    }

    fn print_as(&self, operator: Operator, num: usize) -> Output {
        let printer = self.shared.printer();
        self.output(operator, move |rdd, time, operator| {
            let mut frame = frame_head(time);
            let records = rdd.take_as(operator, num.saturating_add(1))?;
            for record in records.iter().take(num) {
                render_into(record, &mut frame);
                frame.push('\n');
            }
            if records.len() > num {
                frame.push_str("...\n");
            }
            frame.push('\n');
            let mut out = printer.lock();
            let written = out.write_all(frame.as_bytes()).and_then(|()| out.flush());
            written.map_err(|error| {
                let kind = match error.kind() {
                    std::io::ErrorKind::BrokenPipe => ErrorKind::Closed,
                    _ => ErrorKind::Unavailable,
                };
                Error::new(kind, "nobody takes what is printed")
                    .caused_by(error)
                    .into()
            })
        })
    }
}

fn frame_head(time: crate::time::Time) -> String {
    let rule = "-".repeat(43);
    format!("{rule}\nTime: {time}\n{rule}\n")
}
