//! `socket_stream`: records of any kind from a TCP server, through a converter.

use std::io::{BufReader, Read};
use std::sync::Arc;

use tidemill_core::{Data, Error, Result};

use super::channel::{BlockBuffer, Channel};
use super::socket::Endpoint;
use super::user::Records;
use super::{BlockReceiver, Report};
use crate::dstream::BoxError;
use crate::input::InputEnv;

/// Reads records off a connection until it ends, handing each on.
type Convert<T> =
    dyn Fn(&mut dyn Read, &mut dyn FnMut(T)) -> std::result::Result<(), BoxError> + Send + Sync;

/// Receives what a function of the user makes of the bytes.
pub(crate) struct SocketItems<T> {
    pub(crate) endpoint: Endpoint,
    pub(crate) convert: Box<Convert<T>>,
}

impl<T: Data> BlockReceiver for SocketItems<T> {
    fn validate(&self) -> Result<()> {
        self.endpoint.validate()
    }

    type Block = Vec<T>;
    type Buffer = Records<T>;

    fn name(&self) -> String {
        "SocketReceiver".to_owned()
    }

    fn buffer(&self) -> Records<T> {
        Records::new()
    }

    fn run(
        &self,
        channel: &Arc<Channel<Records<T>>>,
        env: &InputEnv,
        report: &dyn Report,
    ) -> Result<()> {
        self.endpoint.run(
            &**env.ctx.clock(),
            channel.stopped(),
            report,
            &mut |connection| {
                let mut reader =
                    BufReader::with_capacity(self.endpoint.options.read_bytes.max(1), connection);
                (self.convert)(&mut reader, &mut |record| {
                    let stored = channel.append(|buffer| buffer.push(record));
                    if let Err(error) = stored.and_then(|()| channel.take_failure()) {
                        report.trouble(&error);
                    }
                })
                .map_err(|e| Error::unavailable("error receiving data").caused_by(e))
            },
        );
        channel.append(BlockBuffer::end)
    }
}
