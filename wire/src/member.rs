//! What the cluster knows about each member.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    bounded::{Text, is_plain_text},
    ids::{Generation, Incarnation, MemberId, PublicKey},
    limits::ZONE_BYTES,
};

/// A member's own description of itself, told once and then referred to by id.
///
/// Within one generation everything but the incarnation stays the same: a member with something new to say about
/// itself raises its generation, so that an update by id alone is always enough inside a generation.
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
    #[serde(with = "Text::<ZONE_BYTES>")]
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

    /// Which word of the member this record is.
    pub fn life(&self) -> Life {
        Life { generation: self.generation, incarnation: self.incarnation }
    }

    /// Whether the record can be used: a short enough zone, and an address that can be dialled.
    pub fn is_usable(&self) -> bool {
        let ip = self.address.ip();
        is_plain_text(&self.zone, ZONE_BYTES) && self.address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
    }

    /// Whether `other` describes the same member in the same way, whatever their generations and incarnations.
    pub fn describes_the_same(&self, other: &Self) -> bool {
        self.public_key == other.public_key
            && self.address == other.address
            && self.zone == other.zone
            && self.version == other.version
            && self.upload_bytes_per_s == other.upload_bytes_per_s
    }

    /// Bytes of its encoding.
    pub fn encoded_len(&self) -> usize {
        let ip = if self.address.is_ipv4() { 4 } else { 16 };
        let address = 1 + ip + varint_len(u64::from(self.address.port()));
        let zone = varint_len(self.zone.len() as u64) + self.zone.len();
        self.public_key.0.len()
            + self.life().encoded_len()
            + address
            + zone
            + varint_len(u64::from(self.version))
            + varint_len(self.upload_bytes_per_s)
    }
}

/// Which word of a member is meant. Later words win: a higher generation always, within it a higher incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Life {
    /// Which life of the process.
    pub generation: Generation,
    /// Which word within it.
    pub incarnation: Incarnation,
}

impl Life {
    /// Bytes of its encoding.
    pub fn encoded_len(&self) -> usize {
        varint_len(self.generation.0) + varint_len(u64::from(self.incarnation.0))
    }
}

/// Bytes of an unsigned number in the codec's variable-length form.
pub(crate) fn varint_len(value: u64) -> usize {
    match value {
        0..=250 => 1,
        251..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}
