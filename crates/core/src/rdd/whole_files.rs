//! `whole_text_files` and `binary_files`: one record a file.

use std::io::Read;
use std::panic::Location;

use super::Rdd;
use super::file_source::{FileFormat, FileSplit};
use super::text_file::{damaged, open_decoded};
use crate::codec::{Decoder, Encoder};
use crate::context::Context;
use crate::error::Result;
use crate::files::{FileOptions, FoundFile, unreadable};
use crate::operator::Operator;
use crate::text::Text;
use crate::travel::Portable;

impl Context {
    /// Each file as one record: its URI (`file:/folder/name`) and its text. Paths as in
    /// [`text_file`](Self::text_file); files that end in `.gz` are decompressed.
    ///
    /// *Shape* `(Text, Text)`, in the order of the files, empty ones too; small files share a
    /// partition. *Cost* a file is in memory in one piece. *State* none. Malformed UTF-8 is
    /// replaced, in names too.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let files = ctx.whole_text_files("Cargo.toml").collect()?;
    /// assert!(files.iter().all(|(uri, text)| uri.ends_with("Cargo.toml") && text.contains("[package]")));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn whole_text_files(&self, path: &str) -> Rdd<(Text, Text)> {
        let operator = Operator::new("whole_text_files", Location::caller()).named(path);
        self.files(operator, path, WholeText, FileOptions::default())
    }

    /// As [`whole_text_files`](Self::whole_text_files), with options.
    #[track_caller]
    pub fn whole_text_files_with(&self, path: &str, options: FileOptions) -> Rdd<(Text, Text)> {
        let operator = Operator::new("whole_text_files", Location::caller()).named(path);
        self.files(operator, path, WholeText, options)
    }

    /// Each file as one record: its URI and its bytes as they are. Paths as in
    /// [`text_file`](Self::text_file).
    ///
    /// *Shape* `(Text, Vec<u8>)`, in the order of the files, empty ones too; small files share a
    /// partition. *Cost* a file is in memory in one piece. *State* none.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let sizes = ctx.binary_files("Cargo.toml").map(|(_, bytes)| bytes.len()).collect()?;
    /// assert!(sizes.iter().all(|size| *size > 0));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn binary_files(&self, path: &str) -> Rdd<(Text, Vec<u8>)> {
        let operator = Operator::new("binary_files", Location::caller()).named(path);
        self.files(operator, path, WholeBytes, FileOptions::default())
    }

    /// As [`binary_files`](Self::binary_files), with options.
    #[track_caller]
    pub fn binary_files_with(&self, path: &str, options: FileOptions) -> Rdd<(Text, Vec<u8>)> {
        let operator = Operator::new("binary_files", Location::caller()).named(path);
        self.files(operator, path, WholeBytes, options)
    }
}

fn uri(split: &FileSplit) -> Text {
    Text::from(format!("file:{}", split.path.display()))
}

struct WholeText;

impl Portable for WholeText {
    fn encode(&self, _: &mut Encoder<'_>) -> Result<()> {
        Ok(())
    }

    fn decode(_: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self)
    }
}

impl FileFormat for WholeText {
    type Item = (Text, Text);
    type Records = std::iter::Once<Result<Self::Item>>;

    const SHARES_PARTITIONS: bool = true;

    fn cut(&self, file: &FoundFile, _: u64) -> Result<Vec<FileSplit>> {
        Ok(vec![FileSplit::whole(file)])
    }

    fn open(&self, split: &FileSplit) -> Result<Self::Records> {
        let mut bytes = Vec::new();
        let mut reader = open_decoded(&split.path)?;
        reader
            .read_to_end(&mut bytes)
            .map_err(|e| damaged(&split.path, e))?;
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        Ok(std::iter::once(Ok((uri(split), Text::from(text)))))
    }
}

struct WholeBytes;

impl Portable for WholeBytes {
    fn encode(&self, _: &mut Encoder<'_>) -> Result<()> {
        Ok(())
    }

    fn decode(_: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self)
    }
}

impl FileFormat for WholeBytes {
    type Item = (Text, Vec<u8>);
    type Records = std::iter::Once<Result<Self::Item>>;

    const SHARES_PARTITIONS: bool = true;

    fn cut(&self, file: &FoundFile, _: u64) -> Result<Vec<FileSplit>> {
        Ok(vec![FileSplit::whole(file)])
    }

    fn open(&self, split: &FileSplit) -> Result<Self::Records> {
        let bytes = std::fs::read(&split.path).map_err(|e| unreadable(&split.path, e))?;
        Ok(std::iter::once(Ok((uri(split), bytes))))
    }
}
