//! How messages follow each other on a stream. Pure functions over bytes; who reads and writes them is the caller's.
//!
//! - A control stream is one version byte, then frames: a length (u32, big-endian) and a [`ControlMessage`].
//! - A piece stream is one version byte and a header with the [`PieceRequest`] one way, and a header with the
//!   [`PieceReply`] and raw bytes the other way. A header is a length (u16, big-endian) and the message.
//!
//! Each length is compared with its limit before anything is reserved for it. A reader that waits for exact numbers of
//! bytes uses [`version::check`], then [`frame_length`] or [`header_length`], then [`Message::decode`]; one that gets
//! bytes as they come uses [`FrameDecoder`].

use thiserror::Error;

use shoal_wire::{
    codec::{CodecError, Message},
    control::ControlMessage,
    limits::{CONTROL_FRAME_BYTES, TRANSFER_HEADER_BYTES},
    transfer::{PieceReply, PieceRequest},
    version::{self, PROTOCOL_VERSION, VersionMismatch},
};

/// What the opener of a stream sends first: the version.
pub const STREAM_OPENING: [u8; 1] = [PROTOCOL_VERSION];

/// Bytes of the length before a control frame.
pub const FRAME_PREFIX_BYTES: usize = 4;

/// Bytes of the length before a header of a piece stream.
pub const HEADER_PREFIX_BYTES: usize = 2;

/// Why a control stream cannot be read further.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The peer speaks another version.
    #[error(transparent)]
    Version(#[from] VersionMismatch),
    /// A frame is too long or malformed.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Length in bytes of the control frame that follows `prefix`.
///
/// # Errors
/// [`CodecError::TooLong`] above [`CONTROL_FRAME_BYTES`].
pub fn frame_length(prefix: [u8; FRAME_PREFIX_BYTES]) -> Result<usize, CodecError> {
    match usize::try_from(u32::from_be_bytes(prefix)) {
        Ok(length) if length <= CONTROL_FRAME_BYTES => Ok(length),
        _ => Err(too_long::<ControlMessage>()),
    }
}

/// Length in bytes of the header that follows `prefix` on a piece stream.
///
/// # Errors
/// [`CodecError::TooLong`] above [`TRANSFER_HEADER_BYTES`].
pub fn header_length(prefix: [u8; HEADER_PREFIX_BYTES]) -> Result<usize, CodecError> {
    let length = usize::from(u16::from_be_bytes(prefix));
    if length > TRANSFER_HEADER_BYTES {
        return Err(CodecError::TooLong { kind: "piece stream header", limit: TRANSFER_HEADER_BYTES });
    }
    Ok(length)
}

/// A control message as a frame, its length included. The version byte comes once before the first frame.
///
/// # Errors
/// Those of [`Message::encode`].
pub fn encode_frame(message: &ControlMessage) -> Result<Vec<u8>, CodecError> {
    let body = message.encode()?;
    let length = u32::try_from(body.len()).map_err(|_| too_long::<ControlMessage>())?;
    Ok([&length.to_be_bytes(), body.as_slice()].concat())
}

/// All that the asker sends on a piece stream: version, length and request.
///
/// # Errors
/// Those of [`Message::encode`].
pub fn encode_request(request: &PieceRequest) -> Result<Vec<u8>, CodecError> {
    Ok([&STREAM_OPENING, header(request)?.as_slice()].concat())
}

/// What the asked sends before the piece's bytes: length and reply.
///
/// # Errors
/// Those of [`Message::encode`].
pub fn encode_reply(reply: &PieceReply) -> Result<Vec<u8>, CodecError> {
    header(reply)
}

fn header<M: Message>(message: &M) -> Result<Vec<u8>, CodecError> {
    let body = message.encode()?;
    let length = u16::try_from(body.len()).map_err(|_| too_long::<M>())?;
    Ok([&length.to_be_bytes(), body.as_slice()].concat())
}

fn too_long<M: Message>() -> CodecError {
    CodecError::TooLong { kind: M::KIND, limit: M::LIMIT }
}

/// Takes the bytes of a control stream in any portions and yields its messages.
///
/// It keeps at most one frame, and no more memory than twice the bytes that have come for it. After an error the stream
/// is of no use, and every further call gives the same error.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    state: State,
    gathered: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Version,
    Prefix,
    Body(usize),
    Failed(FrameError),
}

impl FrameDecoder {
    /// A decoder at the start of a stream, before the version byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front of `input` up to the end of one message and returns that message, or takes all of
    /// them and returns `None` when more are needed. Call it until it returns `None`.
    ///
    /// # Errors
    /// Another version, a frame above its limit, or one that does not decode.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<ControlMessage>, FrameError> {
        self.advance(input).inspect_err(|error| {
            self.state = State::Failed(error.clone());
            self.gathered = Vec::new();
        })
    }

    /// Whether the stream may end here: between two frames.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Prefix) && self.gathered.is_empty()
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<ControlMessage>, FrameError> {
        loop {
            let wanted = match &self.state {
                State::Version => STREAM_OPENING.len(),
                State::Prefix => FRAME_PREFIX_BYTES,
                State::Body(length) => *length,
                State::Failed(error) => return Err(error.clone()),
            };
            if !self.gather(input, wanted) {
                return Ok(None);
            }
            if let Some(message) = self.complete()? {
                return Ok(Some(message));
            }
        }
    }

    /// Moves bytes until `wanted` are gathered; says whether they are.
    fn gather(&mut self, input: &mut &[u8], wanted: usize) -> bool {
        let missing = wanted - self.gathered.len();
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.gathered.extend_from_slice(taken);
        *input = rest;
        self.gathered.len() == wanted
    }

    /// Interprets what is gathered for the present state and goes to the next.
    fn complete(&mut self) -> Result<Option<ControlMessage>, FrameError> {
        let message = match (&self.state, self.gathered.as_slice()) {
            (State::Version, &[theirs]) => {
                version::check(theirs)?;
                self.state = State::Prefix;
                None
            }
            (State::Prefix, &[a, b, c, d]) => {
                self.state = State::Body(frame_length([a, b, c, d])?);
                None
            }
            (_, body) => {
                let message = ControlMessage::decode(body)?;
                self.state = State::Prefix;
                Some(message)
            }
        };
        self.gathered.clear();
        Ok(message)
    }
}
