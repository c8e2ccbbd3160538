//! Encoding of all messages. This is the only file that names bincode, so that it can be replaced here alone.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::{
    control::ControlMessage,
    gossip::GossipPacket,
    limits::{CONTROL_FRAME_BYTES, GOSSIP_DATAGRAM_BYTES, TRANSFER_HEADER_BYTES},
    transfer::{PieceReply, PieceRequest},
};

/// Why bytes are not a message, or a message cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The encoded form would exceed, or exceeds, its limit.
    #[error("a {kind} of more than {limit} bytes is not allowed")]
    TooLong {
        /// Which message.
        kind: &'static str,
        /// Its limit in bytes.
        limit: usize,
    },
    /// The bytes do not decode.
    #[error("a malformed {kind}: {reason}")]
    Malformed {
        /// Which message.
        kind: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// A message, and then more bytes.
    #[error("a {kind} with {extra} bytes after its end")]
    Trailing {
        /// Which message.
        kind: &'static str,
        /// How many bytes too many.
        extra: usize,
    },
}

/// A message with an encoding and a limit on its size.
pub trait Message: Serialize + DeserializeOwned {
    /// What errors call it.
    const KIND: &'static str;
    /// Largest encoded size in bytes.
    const LIMIT: usize;

    /// Encodes the message.
    ///
    /// # Errors
    /// [`CodecError::TooLong`] where the message exceeds its limit; nothing is sent in part.
    fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let bytes = bincode::serde::encode_to_vec(self, bincode::config::standard())
            .map_err(|error| CodecError::Malformed { kind: Self::KIND, reason: error.to_string() })?;
        if bytes.len() > Self::LIMIT {
            return Err(CodecError::TooLong { kind: Self::KIND, limit: Self::LIMIT });
        }
        Ok(bytes)
    }

    /// Decodes a message that fills `bytes` exactly.
    ///
    /// # Errors
    /// Bytes that are too long, malformed, truncated or followed by more.
    fn decode(bytes: &[u8]) -> Result<Self, CodecError>;
}

fn decode_within<M: Message, const LIMIT: usize>(bytes: &[u8]) -> Result<M, CodecError> {
    if bytes.len() > LIMIT {
        return Err(CodecError::TooLong { kind: M::KIND, limit: LIMIT });
    }
    let config: Configuration<LittleEndian, Varint, Limit<LIMIT>> = bincode::config::standard().with_limit::<LIMIT>();
    let (message, read) = bincode::serde::decode_from_slice(bytes, config)
        .map_err(|error| CodecError::Malformed { kind: M::KIND, reason: error.to_string() })?;
    if read != bytes.len() {
        return Err(CodecError::Trailing { kind: M::KIND, extra: bytes.len() - read });
    }
    Ok(message)
}

macro_rules! message {
    ($type:ty, $kind:literal, $limit:expr) => {
        impl Message for $type {
            const KIND: &'static str = $kind;
            const LIMIT: usize = $limit;

            fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
                decode_within::<Self, { $limit }>(bytes)
            }
        }
    };
}

message!(ControlMessage, "control message", CONTROL_FRAME_BYTES);
message!(GossipPacket, "gossip packet", GOSSIP_DATAGRAM_BYTES);
message!(PieceRequest, "piece request", TRANSFER_HEADER_BYTES);
message!(PieceReply, "piece reply", TRANSFER_HEADER_BYTES);
