//! What single examples can be told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tidemill::prelude::*;

use super::lines;

/// A whole number from 1 on.
pub(super) fn at_least_one(text: &str) -> std::result::Result<u64, &'static str> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("it must be a whole number, at least 1"),
    }
}

/// Nothing.
#[derive(Debug, Args)]
pub(crate) struct NoArgs {}

/// Where lines come from.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server of lines to connect to. Without one, lines of the example's own are taken; one
    /// to type into: cargo run --release --example text_server 9999
    #[arg(requires = "port")]
    host: Option<String>,
    /// Its port.
    #[arg(value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    port: Option<u16>,
}

impl Server {
    /// Host and port of the server; when none was named, of one of our own that says sentences.
    ///
    /// # Errors
    /// `Unavailable` when no port is free.
    pub(crate) fn address(&self, ssc: &StreamingContext) -> Result<(String, u16)> {
        self.address_or(ssc, lines::sentence)
    }

    fn address_or(&self, ssc: &StreamingContext, line: lines::Line) -> Result<(String, u16)> {
        match (&self.host, self.port) {
            (Some(host), Some(port)) => Ok((host.clone(), port)),
            _ => lines::serve(Arc::clone(ssc.context().clock()), line),
        }
    }
}

/// Where lines come from, and a folder for the results.
#[derive(Debug, Args)]
pub(crate) struct Save {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Write each batch's counts to a folder `counts-TIME.txt` in this folder.
    #[arg(long)]
    save: Option<PathBuf>,
}

impl Save {
    /// Writes each batch's counts, if that was asked for.
    pub(crate) fn save(&self, counts: &DStream<(Text, u64)>) {
        if let Some(folder) = &self.save {
            counts.save_as_text_files(&format!("{}/counts", folder.display()), "txt");
        }
    }
}

/// Where lines come from, and a file for the results.
#[derive(Debug, Args)]
pub(crate) struct Output {
    #[command(flatten)]
    pub(crate) server: Server,
    /// The file that each batch's counts are appended to.
    #[arg(long, default_value_os_t = std::env::temp_dir().join("tidemill-counts.txt"))]
    pub(crate) output: PathBuf,
}

/// Where files come from and go to.
#[derive(Debug, Args)]
pub(crate) struct Folders {
    /// The folder that files are renamed into.
    pub(crate) inbox: String,
    /// The folder for the counts: `counts-TIME.txt` in it, a folder a batch.
    pub(crate) outbox: String,
}

/// Where clicks come from, and when a session is over.
#[derive(Debug, Args)]
pub(crate) struct Sessions {
    #[command(flatten)]
    server: Server,
    /// A session has ended when its user has not clicked for so long, in milliseconds.
    #[arg(long, default_value_t = 3_000, value_parser = at_least_one, allow_negative_numbers = true)]
    gap_ms: u64,
}

impl Sessions {
    /// As [`Server::address`]; a server of our own says clicks.
    ///
    /// # Errors
    /// `Unavailable` when no port is free.
    pub(crate) fn address(&self, ssc: &StreamingContext) -> Result<(String, u16)> {
        self.server.address_or(ssc, lines::click)
    }

    /// How long nobody clicks in a session that has ended.
    #[must_use]
    pub(crate) fn gap(&self) -> Duration {
        Duration::from_millis(self.gap_ms)
    }
}
