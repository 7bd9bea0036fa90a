//! `save_as_text_files` and `save_as_object_files`: a folder for each batch.

use std::panic::Location;
use std::path::Path;

use tidemill_core::files::local_path;
use tidemill_core::{Data, Error, Operator, Rdd, Result, SaveOptions};

use super::DStream;
use super::for_each::{Checks, Output};
use crate::time::Time;

/// The name of a batch's folder: `prefix-TIME.suffix`, the time in milliseconds, without what is
/// empty.
///
/// ```
/// use tidemill_streaming::{Time, rdd_to_file_name};
///
/// let time = Time::from_ms(12_345_678_910);
/// assert_eq!(rdd_to_file_name("spark", "", time), "spark-12345678910");
/// assert_eq!(rdd_to_file_name("spark", "tmp", time), "spark-12345678910.tmp");
/// ```
#[must_use]
pub fn rdd_to_file_name(prefix: &str, suffix: &str, time: Time) -> String {
    let mut name = String::new();
    if !prefix.is_empty() {
        name = format!("{prefix}-");
    }
    name.push_str(&time.as_ms().to_string());
    if !suffix.is_empty() {
        name.push('.');
        name.push_str(suffix);
    }
    name
}

#[expect(
    clippy::must_use_candidate,
    reason = "the output is registered already: the handle is for whom wants it"
)]
impl<T: Data> DStream<T> {
    /// Writes each batch as text into a folder of its own, `prefix-TIME.suffix`: a line a record,
    /// `part-00000`, … and `_SUCCESS`, as
    /// [`Rdd::save_as_text_file`](tidemill_core::Rdd::save_as_text_file) does. Empty batches have a
    /// folder too. The prefix is a path; missing folders above are made at the start.
    ///
    /// *Cost* one job a batch. *Guarantee* each batch's output is whole when its `_SUCCESS` is
    /// there. A batch that is repeated after a failure replaces the parts of its own folder one by
    /// one with what is the same, and never adds to them: at least once becomes once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidemill_core::Context;
    /// use tidemill_streaming::{QueueMode, RddQueue, Stop, StreamingContext};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = std::env::temp_dir().join(format!("tidemill-save-{}", std::process::id()));
    /// # let folder = folder.display().to_string();
    /// let ctx = Context::local(2)?;
    /// let ssc = StreamingContext::new(&ctx, Duration::from_millis(20))?;
    /// let queue = RddQueue::new();
    /// queue.push(ctx.parallelize([1, 2, 3]));
    /// let numbers = ssc.queue_stream(&queue, QueueMode::OneAtATime);
    /// numbers.save_as_text_files(&format!("{folder}/numbers"), "txt");
    /// // A batch's outputs come in order: when the second one runs, the first is done.
    /// let (sender, times) = std::sync::mpsc::channel();
    /// numbers.for_each_rdd(move |_, time| Ok(sender.send(time)?));
    ///
    /// let running = ssc.start()?;
    /// let name = format!("{folder}/numbers-{}.txt", times.recv()?.as_ms());
    /// assert_eq!(ctx.text_file(&name).collect()?, ["1", "2", "3"]);
    /// running.stop(Stop::now())?;
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn save_as_text_files(&self, prefix: &str, suffix: &str) -> Output {
        self.save_as_text_files_with(prefix, suffix, SaveOptions::default())
    }

    /// As [`save_as_text_files`](Self::save_as_text_files), with options. A batch's own folder is
    /// always overwritten.
    #[track_caller]
    pub fn save_as_text_files_with(
        &self,
        prefix: &str,
        suffix: &str,
        options: SaveOptions,
    ) -> Output {
        let operator = Operator::new("save_as_text_files", Location::caller());
        self.save(operator, prefix, suffix, options, Rdd::save_text_as)
    }

    /// Writes each batch in Tidemill's own format into a folder of its own, for
    /// [`Context::object_file`](tidemill_core::Context::object_file) to read.
    ///
    /// *Cost*, *Guarantee* and names as [`save_as_text_files`](Self::save_as_text_files).
    #[track_caller]
    pub fn save_as_object_files(&self, prefix: &str, suffix: &str) -> Output {
        self.save_as_object_files_with(prefix, suffix, SaveOptions::default())
    }

    /// As [`save_as_object_files`](Self::save_as_object_files), with options. A batch's own folder
    /// is always overwritten.
    #[track_caller]
    pub fn save_as_object_files_with(
        &self,
        prefix: &str,
        suffix: &str,
        options: SaveOptions,
    ) -> Output {
        let operator = Operator::new("save_as_object_files", Location::caller());
        self.save(operator, prefix, suffix, options, Rdd::save_objects_as)
    }

    fn save(
        &self,
        operator: Operator,
        prefix: &str,
        suffix: &str,
        options: SaveOptions,
        save: fn(&Rdd<T>, &Operator, &str, SaveOptions) -> Result<()>,
    ) -> Output {
        let (prefix, suffix) = (prefix.to_owned(), suffix.to_owned());
        let name = rdd_to_file_name(&prefix, &suffix, Time::from_ms(0));
        let options = SaveOptions {
            overwrite: true,
            ..options
        };
        let checks = Checks {
            start: Some(Box::new(move |operator| make_folder_above(&name, operator))),
            ..Checks::default()
        };
        let action = move |rdd: &Rdd<T>, time, operator: &Operator| {
            let name = rdd_to_file_name(&prefix, &suffix, time);
            Ok(save(rdd, operator, &name, options)?)
        };
        self.register(operator, action, checks)
    }
}

/// Makes the folder that the batches' folders will be in; `name` is that of one of them.
fn make_folder_above(name: &str, operator: &Operator) -> Result<()> {
    let path = local_path(name).map_err(|e| e.with("operator", operator))?;
    let above = match Path::new(path).parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(above).map_err(|e| {
        Error::invalid("folder of the output cannot be made")
            .with("path", above.display())
            .with("operator", operator)
            .caused_by(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // S-133, S-135
    #[test]
    fn folders_are_named_after_prefix_time_and_suffix() {
        let time = Time::from_ms(12_345_678_910);
        for (prefix, suffix, name) in [
            ("spark", "", "spark-12345678910"),
            ("spark", "tmp", "spark-12345678910.tmp"),
            ("", "tmp", "12345678910.tmp"),
            ("", "", "12345678910"),
            ("/a/b/", "", "/a/b/-12345678910"),
        ] {
            assert_eq!(rdd_to_file_name(prefix, suffix, time), name);
        }
    }
}
