//! Headers of piece streams, and a sending side that never ends by accident.

use std::ops::{Deref, DerefMut};

use quinn::{ConnectionError, ReadError, ReadExactError, RecvStream, SendStream, StoppedError};
use shoal_wire::{
    codec::{CodecError, Message},
    frame::{HEADER_PREFIX_BYTES, STREAM_OPENING, header_length},
    transfer::{PieceReply, PieceRequest},
    version::{self, VersionMismatch},
};
use thiserror::Error;

use crate::net::peers::code;

/// Why a header could not be read.
#[derive(Debug, Error)]
pub(crate) enum HeaderError {
    /// The stream or its connection broke: nobody misbehaved.
    #[error("the stream broke: {0}")]
    Broken(#[from] ReadError),
    /// The stream ended inside the header.
    #[error("the stream ended inside its header")]
    Short,
    #[error(transparent)]
    Version(#[from] VersionMismatch),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl From<ReadExactError> for HeaderError {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::Short,
            ReadExactError::ReadError(error) => Self::Broken(error),
        }
    }
}

/// Reads all that the asker sends.
pub(crate) async fn read_request(receive: &mut RecvStream) -> Result<PieceRequest, HeaderError> {
    let mut opening = [0; STREAM_OPENING.len()];
    receive.read_exact(&mut opening).await?;
    version::check(opening[0])?;
    read_message(receive).await
}

/// Reads what comes before the piece's bytes.
pub(crate) async fn read_reply(receive: &mut RecvStream) -> Result<PieceReply, HeaderError> {
    read_message(receive).await
}

async fn read_message<M: Message>(receive: &mut RecvStream) -> Result<M, HeaderError> {
    let mut prefix = [0; HEADER_PREFIX_BYTES];
    receive.read_exact(&mut prefix).await?;
    let mut body = vec![0; header_length(prefix)?];
    receive.read_exact(&mut body).await?;
    Ok(M::decode(&body)?)
}

/// A sending side that is reset when it is dropped before [`Sending::finish`]: a receiver never takes the end of a task
/// for the end of a piece.
pub(crate) struct Sending {
    stream: SendStream,
    finished: bool,
}

impl Sending {
    pub(crate) fn new(stream: SendStream) -> Self {
        Self { stream, finished: false }
    }

    /// Ends the stream where it stands.
    pub(crate) fn finish(mut self) {
        self.finished = true;
        // An error means that the peer does not listen any more.
        let _ = self.stream.finish();
    }

    /// Ends the stream where it stands, and waits until the peer has acknowledged all of it, which it returns, or listens
    /// no more. What was written is only on its way: on a slow link it stands in queues for longer than it took to write.
    pub(crate) async fn deliver(mut self) -> bool {
        self.finished = true;
        if self.stream.finish().is_err() {
            return false;
        }
        match self.stream.stopped().await {
            Ok(stopped) => stopped.is_none(),
            // The peer says so itself, and its acknowledgement was overtaken.
            Err(StoppedError::ConnectionLost(ConnectionError::ApplicationClosed(close))) => {
                close.error_code == code::IDLE
            }
            Err(_) => false,
        }
    }
}

impl Deref for Sending {
    type Target = SendStream;

    fn deref(&self) -> &SendStream {
        &self.stream
    }
}

impl DerefMut for Sending {
    fn deref_mut(&mut self) -> &mut SendStream {
        &mut self.stream
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.stream.reset(code::FAILED);
        }
    }
}
