//! What the cluster knows about each member.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, Incarnation, MemberId, PublicKey};

/// A member's own description of itself, told once and then referred to by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Key that its TLS certificate and its vouchers carry; its id follows from it.
    pub public_key: PublicKey,
    /// Which life of the process this is.
    pub generation: Generation,
    /// Its latest own word within that life.
    pub incarnation: Incarnation,
    /// Where its UDP port is reached, for gossip and for QUIC.
    pub address: SocketAddr,
    /// Failure and bandwidth domain, at most [`crate::limits::ZONE_BYTES`] bytes; empty where zones are not used.
    pub zone: String,
    /// Protocol version that it speaks.
    pub version: u16,
    /// Upload rate that it offers, in bytes per second; 0 where it has no limit.
    pub upload_bytes_per_s: u64,
}

impl MemberRecord {
    /// The member's id, derived from its key.
    pub fn id(&self) -> MemberId {
        MemberId::of(&self.public_key)
    }
}
