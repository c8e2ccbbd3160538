//! Membership's messages: gossip datagrams, and the few that need a reliable stream.

use serde::{Deserialize, Serialize};

/// One gossip datagram, before it is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipPacket {}

/// Messages of membership that go over the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReliableMessage {}
