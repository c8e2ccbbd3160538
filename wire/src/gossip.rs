//! Membership's messages: gossip datagrams, and the few that need a reliable stream.
//!
//! Datagrams are kept within [`GOSSIP_PLAIN_BYTES`]. To fill one without encoding it twice, every part that goes into
//! a datagram knows the length of its own encoding; a property test compares those lengths with the codec.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    bounded::List,
    ids::MemberId,
    limits::{GOSSIP_PLAIN_BYTES, MEMBERS_PER_MESSAGE, UPDATES_PER_PACKET},
    member::{Life, MemberRecord, varint_len},
};

/// One gossip datagram, before it is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipPacket {
    /// Who sent it.
    pub from: MemberId,
    /// What it is for.
    pub body: GossipBody,
    /// News that ride along, the most urgent first.
    #[serde(with = "List::<UPDATES_PER_PACKET>")]
    pub updates: Vec<MemberUpdate>,
}

impl GossipPacket {
    /// Bytes of its encoding.
    pub fn encoded_len(&self) -> usize {
        let updates: usize = self.updates.iter().map(MemberUpdate::encoded_len).sum();
        Self::overhead(&self.body) + varint_len(self.updates.len() as u64) - 1 + updates
    }

    /// Bytes that are left for updates beside `body`, while there are at most 250 of them.
    pub fn room_beside(body: &GossipBody) -> usize {
        GOSSIP_PLAIN_BYTES.saturating_sub(Self::overhead(body))
    }

    fn overhead(body: &GossipBody) -> usize {
        let from = 16;
        let update_count = 1;
        from + body.encoded_len() + update_count
    }
}

/// What a gossip datagram is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GossipBody {
    /// Is `target` there? Answered with [`GossipBody::Ack`] by that member only.
    Ping {
        /// Returned in the answer.
        sequence: u32,
        /// Who is meant; another member that has the address now does not answer.
        target: MemberId,
    },
    /// The target of a ping is there.
    Ack {
        /// Of the ping or of the request.
        sequence: u32,
    },
    /// Ping `target` for me, and send me its ack; or a nack when it does not come in time.
    PingRequest {
        /// Returned in the answer.
        sequence: u32,
        /// Who is meant.
        target: MemberId,
    },
    /// The helper is there, but has no ack of the target so far.
    Nack {
        /// Of the request.
        sequence: u32,
    },
    /// Nothing but news.
    Gossip,
    /// News meant for the receiver. Not answered, but by a refutation.
    Tell,
    /// The sender introduces itself. Answered with [`GossipBody::JoinReply`].
    Join {
        /// Returned in the answer.
        sequence: u32,
        /// The sender's record.
        record: Arc<MemberRecord>,
    },
    /// The answer to [`GossipBody::Join`]: now either side has the other's key.
    JoinReply {
        /// Of the introduction.
        sequence: u32,
        /// The answerer's record.
        record: Arc<MemberRecord>,
    },
    /// Send me the records of these members, at most [`RECORDS_PER_REQUEST`].
    RecordRequest {
        /// Whose records.
        #[serde(with = "List::<RECORDS_PER_REQUEST>")]
        ids: Vec<MemberId>,
    },
}

/// Ids in one [`GossipBody::RecordRequest`].
pub const RECORDS_PER_REQUEST: usize = 32;

impl GossipBody {
    /// Bytes of its encoding.
    pub fn encoded_len(&self) -> usize {
        let variant = 1;
        variant
            + match self {
                Self::Ping { sequence, .. } | Self::PingRequest { sequence, .. } => sequence_len(*sequence) + 16,
                Self::Ack { sequence } | Self::Nack { sequence } => sequence_len(*sequence),
                Self::Gossip | Self::Tell => 0,
                Self::Join { sequence, record } | Self::JoinReply { sequence, record } => {
                    sequence_len(*sequence) + record.encoded_len()
                }
                Self::RecordRequest { ids } => varint_len(ids.len() as u64) + 16 * ids.len(),
            }
    }
}

fn sequence_len(sequence: u32) -> usize {
    varint_len(u64::from(sequence))
}

/// One piece of news about one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberUpdate {
    /// It is alive, and this is all about it. Sent when it is new, or has a new generation or a changed record.
    Record(Arc<MemberRecord>),
    /// It is alive, and its record is as before.
    Alive {
        /// Of whom.
        id: MemberId,
        /// Its word.
        life: Life,
    },
    /// It did not answer `accuser`.
    Suspect {
        /// Of whom.
        id: MemberId,
        /// The word that is doubted.
        life: Life,
        /// Who says so: independent accusers shorten the time that is left for a refutation.
        accuser: Accuser,
    },
    /// Nobody refuted the suspicion in time.
    Dead {
        /// Of whom.
        id: MemberId,
        /// The word that is overruled.
        life: Life,
    },
    /// It announced its departure.
    Left {
        /// Of whom.
        id: MemberId,
        /// Its last word.
        life: Life,
    },
}

impl MemberUpdate {
    /// The member that it is about, where it names it by id.
    pub fn named(&self) -> Option<MemberId> {
        match self {
            Self::Record(_) => None,
            Self::Alive { id, .. } | Self::Suspect { id, .. } | Self::Dead { id, .. } | Self::Left { id, .. } => {
                Some(*id)
            }
        }
    }

    /// Bytes of its encoding: 20 - 36 for news by id, 49 - 152 with the record.
    pub fn encoded_len(&self) -> usize {
        let variant = 1;
        variant
            + match self {
                Self::Record(record) => record.encoded_len(),
                Self::Alive { life, .. } | Self::Dead { life, .. } | Self::Left { life, .. } => 16 + life.encoded_len(),
                Self::Suspect { life, .. } => 16 + life.encoded_len() + 8,
            }
    }
}

/// Who accuses: the first half of its id, enough to tell accusers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Accuser(pub [u8; 8]);

impl From<MemberId> for Accuser {
    fn from(id: MemberId) -> Self {
        let mut half = [0; 8];
        half.copy_from_slice(&id.0[..8]);
        Self(half)
    }
}

/// Messages of membership that go over the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReliableMessage {
    /// Is the receiver there? Sent when datagrams alone would lead to a suspicion.
    Probe {
        /// Returned in the answer.
        sequence: u32,
        /// The receiver's word that the sender doubts, where it does.
        suspected: Option<Life>,
    },
    /// The answer to [`ReliableMessage::Probe`].
    ProbeAck {
        /// Of the probe.
        sequence: u32,
        /// The answerer's latest word; it refutes what was doubted.
        life: Life,
    },
    /// From a joiner: all members after this id, a page at a time.
    SnapshotRequest {
        /// The last id of the page before; absent for the first page.
        after: Option<MemberId>,
    },
    /// One page of members, ascending by id.
    SnapshotPage {
        /// The members.
        #[serde(with = "List::<MEMBERS_PER_MESSAGE>")]
        members: Vec<MemberState>,
        /// Where the next page begins; absent on the last.
        next: Option<MemberId>,
    },
    /// Too many joiners at once: ask one of these.
    SnapshotBusy {
        /// Some other members, at most [`BUSY_ALTERNATIVES`].
        #[serde(with = "List::<BUSY_ALTERNATIVES>")]
        others: Vec<Arc<MemberRecord>>,
    },
    /// Anti-entropy: a digest of each bucket of members that count as alive. Answered by
    /// [`ReliableMessage::SyncBuckets`] where a bucket differs, and not at all where none does.
    SyncDigests {
        /// [`SYNC_BUCKETS`] digests.
        #[serde(with = "List::<SYNC_BUCKETS>")]
        digests: Vec<u64>,
    },
    /// All that the sender knows in some buckets that differ. Answered by [`ReliableMessage::SyncNews`].
    SyncBuckets {
        /// Numbers of the buckets.
        #[serde(with = "List::<SYNC_BUCKETS>")]
        buckets: Vec<u8>,
        /// Their members, dead and departed ones included.
        #[serde(with = "List::<MEMBERS_PER_MESSAGE>")]
        members: Vec<MemberState>,
    },
    /// What the receiver does not know yet.
    SyncNews {
        /// The members.
        #[serde(with = "List::<MEMBERS_PER_MESSAGE>")]
        members: Vec<MemberState>,
    },
}

/// Members named in a [`ReliableMessage::SnapshotBusy`].
pub const BUSY_ALTERNATIVES: usize = 16;

/// Buckets of the anti-entropy digests: a member belongs to the bucket that its id's first byte names.
pub const SYNC_BUCKETS: usize = 256;

/// A member as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    /// Its record.
    pub record: Arc<MemberRecord>,
    /// How it stands.
    pub standing: Standing,
}

impl MemberState {
    /// Bytes of its encoding.
    pub fn encoded_len(&self) -> usize {
        let age = match self.standing {
            Standing::Alive | Standing::Suspect => 0,
            Standing::Dead { since_s } | Standing::Left { since_s } => varint_len(u64::from(since_s)),
        };
        self.record.encoded_len() + 1 + age
    }
}

/// How a member stands with the one who tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It answers, as far as is known.
    Alive,
    /// It did not answer somebody.
    Suspect,
    /// It is believed dead.
    Dead {
        /// For how many seconds: all forget it at about the same time.
        since_s: u32,
    },
    /// It announced its departure.
    Left {
        /// How many seconds ago.
        since_s: u32,
    },
}
