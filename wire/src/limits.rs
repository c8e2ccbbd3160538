//! Every maximum of the protocol in one place.

/// Largest control frame, in bytes, length prefix excluded.
pub const CONTROL_FRAME_BYTES: usize = 64 * 1024;

/// Largest sealed gossip datagram, in bytes: fits an Ethernet frame with IPv6 and UDP headers.
pub const GOSSIP_DATAGRAM_BYTES: usize = 1400;

/// Largest gossip packet before it is sealed, in bytes; the rest is for version, key number, nonce and tag.
pub const GOSSIP_PLAIN_BYTES: usize = 1300;

/// News in one gossip packet: more than fit its bytes, and few enough for a count of one byte.
pub const UPDATES_PER_PACKET: usize = 250;

/// Members in one message of a snapshot or of a state exchange: more than fit a control frame.
pub const MEMBERS_PER_MESSAGE: usize = 2048;

/// Largest request or reply header of a piece stream, in bytes.
pub const TRANSFER_HEADER_BYTES: usize = 1024;

/// Smallest piece, in bytes.
pub const PIECE_BYTES_MIN: u64 = 256 * 1024;

/// Largest piece, in bytes.
pub const PIECE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Pieces of the largest blob. With [`PIECE_BYTES_MAX`] a blob may have 1 TiB; a piece map has at most 8 KiB.
pub const PIECES_MAX: u32 = 65_536;

/// Peers named in one answer of a home.
pub const PEERS_PER_ANSWER: usize = 16;

/// Gateways of one zone for one blob.
pub const GATEWAYS_PER_ZONE: usize = 16;

/// Leases named in one announcement.
pub const LEASES_PER_ANNOUNCEMENT: usize = 64;

/// Runs in one [`crate::piece_map::PieceRuns`]. A set of more runs is sent as a [`crate::piece_map::PieceMap`].
pub const PIECE_RUNS_MAX: usize = 4096;

/// Bytes of an Ed25519 signature (RFC 8032).
pub const SIGNATURE_BYTES: usize = 64;

/// Bytes of a registry's or repository's name and of a media type.
pub const NAME_BYTES: usize = 255;

/// Bytes of a tag (OCI distribution spec, section "Pulling manifests").
pub const TAG_BYTES: usize = 128;

/// Bytes of a zone's name.
pub const ZONE_BYTES: usize = 63;
