//! Encoding of all messages. This is the only file that names bincode, so that it can be replaced here alone.
//!
//! A message that encodes also decodes, to the same value: the bounds are checked on both sides. bincode's own limit
//! counts the memory that values take, up to 8 times their encoded bytes, so it stands 8 times above the limit on
//! encoded bytes, which is checked first. It does not bound what serde reserves for lists; `bounded` does.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::{
    control::ControlMessage,
    gossip::GossipPacket,
    limits::{CONTROL_FRAME_BYTES, GOSSIP_PLAIN_BYTES, TRANSFER_HEADER_BYTES},
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
    /// The bytes do not decode, or the fields contradict each other.
    #[error("a malformed {kind}: {reason}")]
    Malformed {
        /// Which message.
        kind: &'static str,
        /// What is wrong.
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
    /// [`CodecError::TooLong`] where the message exceeds its limit, [`CodecError::Malformed`] where a field does;
    /// a receiver would refuse it. Nothing is encoded in part.
    fn encode(&self) -> Result<Vec<u8>, CodecError>;

    /// Decodes a message that fills `bytes` exactly.
    ///
    /// # Errors
    /// Bytes that are too long, malformed, truncated or followed by more.
    fn decode(bytes: &[u8]) -> Result<Self, CodecError>;
}

fn malformed<M: Message>(reason: impl Into<String>) -> CodecError {
    CodecError::Malformed { kind: M::KIND, reason: reason.into() }
}

fn encode_within<M: Message>(message: &M) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(message, bincode::config::standard())
        .map_err(|error| malformed::<M>(error.to_string()))?;
    if bytes.len() > M::LIMIT {
        return Err(CodecError::TooLong { kind: M::KIND, limit: M::LIMIT });
    }
    Ok(bytes)
}

fn decode_within<M: Message, const MEMORY: usize>(bytes: &[u8]) -> Result<M, CodecError> {
    if bytes.len() > M::LIMIT {
        return Err(CodecError::TooLong { kind: M::KIND, limit: M::LIMIT });
    }
    let config: Configuration<LittleEndian, Varint, Limit<MEMORY>> = bincode::config::standard().with_limit::<MEMORY>();
    let (message, read) =
        bincode::serde::borrow_decode_from_slice(bytes, config).map_err(|error| malformed::<M>(error.to_string()))?;
    if read != bytes.len() {
        return Err(CodecError::Trailing { kind: M::KIND, extra: bytes.len() - read });
    }
    Ok(message)
}

macro_rules! message {
    ($type:ty, $kind:literal, $limit:expr $(, $check:path)?) => {
        impl Message for $type {
            const KIND: &'static str = $kind;
            const LIMIT: usize = $limit;

            fn encode(&self) -> Result<Vec<u8>, CodecError> {
                $($check(self).map_err(malformed::<Self>)?;)?
                encode_within(self)
            }

            fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
                let message = decode_within::<Self, { 8 * $limit }>(bytes)?;
                $($check(&message).map_err(malformed::<Self>)?;)?
                Ok(message)
            }
        }
    };
}

message!(ControlMessage, "control message", CONTROL_FRAME_BYTES, ControlMessage::check);
message!(GossipPacket, "gossip packet", GOSSIP_PLAIN_BYTES);
message!(PieceRequest, "piece request", TRANSFER_HEADER_BYTES);
message!(PieceReply, "piece reply", TRANSFER_HEADER_BYTES);
