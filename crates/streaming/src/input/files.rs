//! File streams: the files that appear in a folder.

use std::fmt;
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidemill_core::codec::{Decoder, Encoder};
use tidemill_core::files::{BinaryRecords, FileFormat, FileSplit, FoundFile, TextLines};
use tidemill_core::travel::Portable;
use tidemill_core::{Data, Error, ErrorKind, Operator, PartitionIter, Result, Text};

use super::file_input::FileInput;
use crate::context::StreamingContext;
use crate::dstream::{BoxError, DStream};

/// Which files of a folder a stream reads, by their path.
///
/// ```
/// use std::path::Path;
/// use tidemill_streaming::FileFilter;
///
/// let logs = FileFilter::new(|path| path.extension().is_some_and(|kind| kind == "log"));
/// assert!(logs.accepts(Path::new("/in/a.log")) && !logs.accepts(Path::new("/in/a.log.gz")));
/// ```
#[derive(Clone)]
pub struct FileFilter(Arc<dyn Fn(&Path) -> bool + Send + Sync>);

impl FileFilter {
    /// Files for whose path `f` holds. Takes the place of the default filter.
    pub fn new(f: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }

    /// Whether the file is read.
    #[must_use]
    pub fn accepts(&self, path: &Path) -> bool {
        (self.0)(path)
    }
}

impl Default for FileFilter {
    /// Names that do not begin with `.`.
    fn default() -> Self {
        Self::new(|path| {
            let name = path.file_name().unwrap_or_default();
            !name.as_encoded_bytes().starts_with(b".")
        })
    }
}

impl fmt::Debug for FileFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileFilter").finish_non_exhaustive()
    }
}

/// Which files a stream reads, and how.
///
/// ```
/// use tidemill_streaming::FileStreamOptions;
///
/// let options = FileStreamOptions { new_files_only: false, ..FileStreamOptions::default() };
/// assert_eq!(options.min_remember.as_secs(), 60);
/// ```
#[derive(Clone, Debug)]
pub struct FileStreamOptions {
    /// Whether files that were changed before the stream was defined are left alone. Default true;
    /// otherwise those of the last `min_remember` are in the first batch.
    pub new_files_only: bool,
    /// How long after its last change a file may be found, and how long it is known as read,
    /// rounded up to whole batches. Default 60 s.
    pub min_remember: Duration,
    /// Which files are read. Default: those whose name does not begin with `.`.
    pub filter: FileFilter,
    /// Whether a file that is gone when a task comes to read it is passed over with a warning.
    /// Default false: it fails the batch.
    pub ignore_missing_files: bool,
    /// Whether the rest of a file that cannot be read or is damaged is passed over with a warning.
    /// Default false: it fails the batch.
    pub ignore_corrupt_files: bool,
}

impl Default for FileStreamOptions {
    fn default() -> Self {
        Self {
            new_files_only: true,
            min_remember: Duration::from_secs(60),
            filter: FileFilter::default(),
            ignore_missing_files: false,
            ignore_corrupt_files: false,
        }
    }
}

/// Reads whole files, in tasks. The same file must give the same records each time.
///
/// ```
/// use std::path::Path;
/// use serde::{Deserialize, Serialize};
/// use tidemill_core::PartitionIter;
/// use tidemill_streaming::{BoxError, FileReader};
///
/// /// One record a file: how long it is.
/// #[derive(Serialize, Deserialize)]
/// struct Length;
///
/// impl FileReader for Length {
///     type Item = u64;
///
///     fn read(&self, path: &Path) -> Result<PartitionIter<u64>, BoxError> {
///         Ok(Box::new(std::iter::once(std::fs::metadata(path)?.len())))
///     }
/// }
/// assert_eq!(Length.read(Path::new("Cargo.toml"))?.count(), 1);
/// # Ok::<(), BoxError>(())
/// ```
pub trait FileReader: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The record type.
    type Item: Data;

    /// The records of one file, in order.
    ///
    /// # Errors
    /// Fails the task, unless the options pass over damaged files.
    fn read(&self, path: &Path) -> Result<PartitionIter<Self::Item>, BoxError>;
}

impl StreamingContext {
    /// The lines of files that appear in `folder`, each file in one batch. `folder` may be a glob
    /// of folders (`logs/2026-*`); folders inside them are not looked into, and need not exist yet.
    ///
    /// A file is in the first batch that finds it with a time of last change after the stream was
    /// defined, not later than the batch, and at most `min_remember` (60 s) before it. So files
    /// must appear whole: write them elsewhere on the same disk and rename them into the folder.
    /// What is appended while the file is known as read, for `min_remember`, is not read; a file
    /// changed after it was read is read once more, whole, when it is no longer known. A file
    /// renamed long after its last change is not found. The machine's clock and the files' must agree. Names that begin with `.` are
    /// passed over; `.gz` files are decompressed.
    ///
    /// *Shape* [`Text`], a partition a file (more for files over 32 MiB), in the order of the times
    /// of last change. *Cost* a look at each file of the folder a batch, on the driver; no
    /// receiver. *State* the files of the last `min_remember`. *Guarantee* replayable while the
    /// files are there and unchanged; a missing folder is an empty batch and one warning.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use tidemill_core::{Context, ManualClock};
    /// use tidemill_streaming::{Stop, StreamingContext};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = std::env::temp_dir().join(format!("tidemill-files-{}", std::process::id()));
    /// # let folder = folder.display().to_string();
    /// let clock = ManualClock::new(0);
    /// let ctx = Context::builder().clock(Arc::new(clock.clone())).build()?;
    /// let ssc = StreamingContext::new(&ctx, Duration::from_secs(1))?;
    /// let (sender, rows) = std::sync::mpsc::channel();
    /// ssc.text_file_stream(&folder)
    ///     .for_each_rdd(move |rdd, _| Ok(sender.send(rdd.collect()?)?));
    /// let running = ssc.start()?;
    ///
    /// std::fs::create_dir_all(&folder)?;
    /// std::fs::write(format!("{folder}/new"), "to be\nor not")?;
    /// let file = std::fs::File::open(format!("{folder}/new"))?;
    /// file.set_modified(UNIX_EPOCH + Duration::from_millis(700))?;
    /// clock.advance(Duration::from_secs(1));
    /// assert_eq!(rows.recv()?, ["to be", "or not"]);
    /// # std::fs::remove_dir_all(&folder)?;
    /// running.stop(Stop::now())?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn text_file_stream(&self, folder: &str) -> DStream<Text> {
        let operator = Operator::new("text_file_stream", Location::caller());
        self.files(
            operator,
            folder,
            Ok(TextLines),
            FileStreamOptions::default(),
        )
    }

    /// As [`text_file_stream`](Self::text_file_stream), with options.
    #[track_caller]
    pub fn text_file_stream_with(&self, folder: &str, options: FileStreamOptions) -> DStream<Text> {
        let operator = Operator::new("text_file_stream", Location::caller());
        self.files(operator, folder, Ok(TextLines), options)
    }

    /// The records of files that appear in `folder`, each record `record_bytes` long. A file whose
    /// length is not a multiple of it fails the batch, or is passed over with
    /// [`ignore_corrupt_files`](FileStreamOptions::ignore_corrupt_files). A length of 0 is refused
    /// at the start.
    ///
    /// *Shape* `Vec<u8>`; else as [`text_file_stream`](Self::text_file_stream).
    #[track_caller]
    pub fn binary_records_stream(&self, folder: &str, record_bytes: usize) -> DStream<Vec<u8>> {
        let operator = Operator::new("binary_records_stream", Location::caller());
        let format = BinaryRecords::new(record_bytes);
        self.files(operator, folder, format, FileStreamOptions::default())
    }

    /// As [`binary_records_stream`](Self::binary_records_stream), with options.
    #[track_caller]
    pub fn binary_records_stream_with(
        &self,
        folder: &str,
        record_bytes: usize,
        options: FileStreamOptions,
    ) -> DStream<Vec<u8>> {
        let operator = Operator::new("binary_records_stream", Location::caller());
        self.files(operator, folder, BinaryRecords::new(record_bytes), options)
    }

    /// What `reader` makes of files that appear in `folder`.
    ///
    /// *Shape* the reader's items, a partition a file that is not empty; else as
    /// [`text_file_stream`](Self::text_file_stream).
    #[track_caller]
    pub fn file_stream<R: FileReader>(
        &self,
        folder: &str,
        reader: R,
        options: FileStreamOptions,
    ) -> DStream<R::Item> {
        let operator = Operator::new("file_stream", Location::caller());
        self.files(operator, folder, Ok(ReadWhole(Arc::new(reader))), options)
    }

    fn files<F: FileFormat>(
        &self,
        operator: Operator,
        folder: &str,
        format: Result<F>,
        options: FileStreamOptions,
    ) -> DStream<F::Item> {
        let (ctx, slide) = (self.context().clone(), self.batch_duration());
        self.passive(operator, |id| {
            FileInput::new(id, ctx, slide, folder, format, options)
        })
    }
}

/// A reader of the user as a format.
struct ReadWhole<R>(Arc<R>);

impl<R: FileReader> Portable for ReadWhole<R> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&*self.0)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self(Arc::new(decoder.take()?)))
    }
}

impl<R: FileReader> FileFormat for ReadWhole<R> {
    type Item = R::Item;
    type Records = std::iter::Map<PartitionIter<R::Item>, fn(R::Item) -> Result<R::Item>>;

    fn cut(&self, file: &FoundFile, _: u64) -> Result<Vec<FileSplit>> {
        Ok(match file.size_bytes {
            0 => Vec::new(),
            _ => vec![FileSplit::whole(file)],
        })
    }

    fn open(&self, split: &FileSplit) -> Result<Self::Records> {
        let records = self.0.read(&split.path).map_err(|error| {
            let error = match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::new(ErrorKind::User, "file reader failed").caused_by(error),
            };
            error.with("path", split.path.display())
        })?;
        Ok(records.map(Ok))
    }
}
