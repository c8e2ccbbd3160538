//! The protocol's version, and the refusal of any other.

use thiserror::Error;

/// Version that this code speaks. It leads every datagram, control stream and piece stream.
pub const PROTOCOL_VERSION: u8 = 1;

/// The other side speaks a version that this code does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the peer speaks protocol version {theirs}, this node speaks version {ours}: upgrade the older of the two")]
pub struct VersionMismatch {
    /// The version of this code.
    pub ours: u8,
    /// The version that was received.
    pub theirs: u8,
}

/// Accepts the version byte of a peer, or refuses it by naming both versions.
pub fn check(theirs: u8) -> Result<(), VersionMismatch> {
    if theirs == PROTOCOL_VERSION { Ok(()) } else { Err(VersionMismatch { ours: PROTOCOL_VERSION, theirs }) }
}

/// In a datagram's first byte, set by QUIC (RFC 9000, section 17, the fixed bit) and clear in a gossip datagram, whose
/// first byte is the version.
pub const QUIC_FIXED_BIT: u8 = 0x40;

const _: () = assert!(PROTOCOL_VERSION & QUIC_FIXED_BIT == 0, "a version byte must not look like QUIC");

/// Whether a datagram that begins with `first` belongs to QUIC; otherwise it claims to be gossip.
pub fn is_quic(first: u8) -> bool {
    first & QUIC_FIXED_BIT != 0
}
