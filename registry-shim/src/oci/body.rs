//! The body of a blob's answer: the engine's bytes as they come, and an honest end where they stop.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use shoal_runtime::BlobError;
use thiserror::Error;

use super::source::BlobStream;
use crate::http::fate::ConnectionFate;

/// Bytes of a blob on their way to a client that was promised exactly so many.
///
/// Where the stream stops before, the body fails, and the connection ends as its fate was told: cleanly if the bytes so
/// far are right, by a reset if they are not.
pub struct BlobBody {
    first: Option<Bytes>,
    stream: BlobStream,
    remaining: u64,
    fate: Arc<ConnectionFate>,
    stopped: Option<BodyStopped>,
}

/// Why a body ended before its promised length. The client sees only the connection's end; this is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BodyStopped {
    /// The rest cannot be had now.
    #[error("the blob cannot be finished; the connection ends cleanly")]
    Unfinished,
    /// What was sent is wrong.
    #[error("bytes that were sent are wrong; the connection is reset")]
    Wrong,
}

impl BlobBody {
    /// A body of `length` bytes: `first`, which was read already, and then those of `stream`.
    pub fn new(first: Option<Bytes>, stream: BlobStream, length: u64, fate: Arc<ConnectionFate>) -> Self {
        Self { first, stream, remaining: length, fate, stopped: None }
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, BodyStopped>> {
        let item = match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => ready!(self.stream.as_mut().poll_next(context)),
        };
        Poll::Ready(match item {
            Some(Ok(bytes)) => match self.remaining.checked_sub(bytes.len() as u64) {
                Some(remaining) => {
                    self.remaining = remaining;
                    Ok(bytes)
                }
                // More bytes than the blob has: whatever they are, they are not the blob.
                None => Err(BodyStopped::Wrong),
            },
            Some(Err(BlobError::Corrupt)) => Err(BodyStopped::Wrong),
            Some(Err(error)) => {
                tracing::info!(%error, unsent_bytes = self.remaining, "a blob stops in the middle");
                Err(BodyStopped::Unfinished)
            }
            None => Err(BodyStopped::Unfinished),
        })
    }

    fn poll_stop(
        &self,
        stopped: BodyStopped,
        context: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyStopped>>> {
        match stopped {
            BodyStopped::Wrong => self.fate.reset(),
            BodyStopped::Unfinished => ready!(self.fate.poll_drained(context)),
        }
        Poll::Ready(Some(Err(stopped)))
    }
}

impl Body for BlobBody {
    type Data = Bytes;
    type Error = BodyStopped;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyStopped>>> {
        let body = self.get_mut();
        if let Some(stopped) = body.stopped {
            return body.poll_stop(stopped, context);
        }
        if body.remaining == 0 {
            return Poll::Ready(None);
        }
        match ready!(body.poll_bytes(context)) {
            Ok(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Err(stopped) => {
                body.stopped = Some(stopped);
                body.poll_stop(stopped, context)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0 && self.stopped.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
