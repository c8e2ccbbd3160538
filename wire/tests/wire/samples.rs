//! One message of each kind and variant. The golden vectors, and the tests that damage valid encodings, start here.

use std::{net::SocketAddr, sync::Arc};

use shoal_wire::{
    codec::{CodecError, Message},
    control::{Announcement, ControlMessage, LeaseEnd, LeaseSpan, Load, NameAnswer, NameOutcome, UpstreamFailure},
    digest::Digest,
    geometry::PieceIndex,
    gossip::{Accuser, GossipBody, GossipPacket, MemberState, MemberUpdate, ReliableMessage, Standing},
    ids::{Generation, Incarnation, LeaseId, MemberId, PieceHash, PublicKey, QueryId},
    member::{Life, MemberRecord},
    name::{ContentKind, Descriptor, Name, Reference},
    piece_map::{PieceMap, PieceRuns},
    transfer::{PieceReply, PieceRequest, Urgency, Voucher},
};

/// An encoded message, and how to decode and encode one of its type again.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) recode: fn(&[u8]) -> Result<Vec<u8>, CodecError>,
}

fn sample<M: Message + PartialEq + std::fmt::Debug>(name: &'static str, message: &M) -> Sample {
    let bytes = message.encode().expect("samples are within the bounds");
    assert_eq!(&M::decode(&bytes).expect("what encodes also decodes"), message, "{name}");
    Sample { name, bytes, recode: |bytes| M::decode(bytes)?.encode() }
}

pub(crate) fn all() -> Vec<Sample> {
    [names(), leases(), announcements(), neighbours(), transfers(), gossip(), reliable()]
        .into_iter()
        .flatten()
        .collect()
}

fn names() -> Vec<Sample> {
    use ControlMessage::{Publish, Resolution, Resolve};
    let query = QueryId(300);
    let answer = |answer| Resolution { query, answer: Box::new(answer) };
    let publish = |outcome| Publish { name: Box::new(tag()), outcome: Box::new(outcome) };
    vec![
        sample("resolve a tag", &Resolve { query, name: Box::new(tag()) }),
        sample("resolve a digest", &Resolve { query, name: Box::new(blob()) }),
        sample("resolution found", &answer(NameAnswer::Outcome(NameOutcome::Found(descriptor())))),
        sample("resolution failed", &answer(NameAnswer::Outcome(NameOutcome::Failed(UpstreamFailure::NotFound)))),
        sample("resolution ask upstream", &answer(NameAnswer::AskUpstream)),
        sample("resolution pending", &answer(NameAnswer::Pending)),
        sample("publish found", &publish(NameOutcome::Found(descriptor()))),
        sample("publish not found", &publish(NameOutcome::Failed(UpstreamFailure::NotFound))),
    ]
}

fn leases() -> Vec<Sample> {
    let lease = LeaseId(70_000);
    let next = PieceIndex(260);
    let returned = |end| ControlMessage::LeaseReturned { digest: sha256(), lease, next, end };
    let failed = |failure| returned(LeaseEnd::Failed(failure));
    vec![
        sample("lease", &ControlMessage::Lease { digest: sha256(), lease, first: PieceIndex(250), count: 251 }),
        sample("lease progress", &ControlMessage::LeaseProgress { digest: sha256(), lease, next }),
        sample("lease returned done", &returned(LeaseEnd::Done)),
        sample("lease returned not found", &failed(UpstreamFailure::NotFound)),
        sample("lease returned denied", &failed(UpstreamFailure::Denied)),
        sample("lease returned rate limited", &failed(UpstreamFailure::RateLimited { retry_after_s: 30 })),
        sample("lease returned unavailable", &failed(UpstreamFailure::Unavailable)),
        sample("lease returned wrong content", &failed(UpstreamFailure::WrongContent)),
        sample("lease returned no upstream", &failed(UpstreamFailure::NoUpstream)),
        sample("lease returned no ranges", &returned(LeaseEnd::NoRanges)),
        sample("lease returned abandoned", &returned(LeaseEnd::Abandoned)),
        sample("lease cut", &ControlMessage::LeaseCut { digest: sha256(), lease, end: next }),
        sample("swarm failed", &ControlMessage::SwarmFailed { digest: sha256(), failure: UpstreamFailure::Denied }),
    ]
}

fn announcements() -> Vec<Sample> {
    let announcement = Announcement {
        digest: sha256(),
        size: 100 << 20,
        have: some_of(400),
        wants: true,
        can_lease: true,
        takeover: false,
        leases: vec![LeaseSpan { lease: LeaseId(9), next: PieceIndex(17), end: PieceIndex(32) }],
        unreachable: vec![member(0xa1)],
    };
    let peers = ControlMessage::Peers {
        digest: sha256(),
        peers: vec![member(0xa1), member(0xb2)],
        gateways: vec![member(0xb2)],
        coordinates: true,
        refresh_ms: 5_000,
    };
    vec![
        sample("announce", &ControlMessage::Announce(Box::new(announcement))),
        sample("peers", &peers),
        sample("withdraw", &ControlMessage::Withdraw { digest: sha512() }),
    ]
}

fn neighbours() -> Vec<Sample> {
    let load = Load { active: 4, queued: 1 };
    let hello = |size, have| ControlMessage::Hello { digest: sha256(), size, have, wants: true, reply: false, load };
    let every_other = |pieces| {
        let mut map = PieceMap::empty(pieces);
        (0..pieces).step_by(2).for_each(|piece| assert!(map.insert(PieceIndex(piece))));
        map
    };
    let runs = PieceRuns::from_ascending([3, 4, 5, 300].map(PieceIndex));
    vec![
        sample("hello with an empty map", &hello(0, PieceMap::empty(1))),
        sample("hello with a full map", &hello(100 << 20, PieceMap::full(400))),
        sample("hello with runs", &hello(100 << 20, some_of(400))),
        sample("hello with words", &hello(32 << 20, every_other(128))),
        sample("have", &ControlMessage::Have { digest: sha256(), pieces: runs, held: 260, load }),
        sample("slot free", &ControlMessage::SlotFree { load }),
        sample("part", &ControlMessage::Part { digest: sha256() }),
    ]
}

fn transfers() -> Vec<Sample> {
    let request = |urgency| PieceRequest { digest: sha256(), piece: PieceIndex(65_535), urgency, held: 7 };
    let voucher = Voucher { injector: member(0xa1), hash: PieceHash([0xcc; 32]), signature: vec![0xdd; 64] };
    vec![
        sample("request bulk", &request(Urgency::Bulk)),
        sample("request on demand", &request(Urgency::OnDemand)),
        sample("reply sending", &PieceReply::Sending(voucher)),
        sample("reply busy", &PieceReply::Busy(Load { active: 4, queued: 1 })),
        sample("reply not held", &PieceReply::NotHeld),
    ]
}

fn gossip() -> Vec<Sample> {
    let (target, record) = (member(0xb2), Arc::new(record()));
    let sequence = 70_000;
    let alone = |body| GossipPacket { from: member(0xa1), body, updates: Vec::new() };
    let id = member(0xb2);
    let updates = vec![
        MemberUpdate::Record(Arc::clone(&record)),
        MemberUpdate::Alive { id, life: life() },
        MemberUpdate::Suspect { id, life: life(), accuser: Accuser::from(member(0xa1)) },
        MemberUpdate::Dead { id, life: life() },
        MemberUpdate::Left { id, life: life() },
    ];
    let news = GossipPacket { updates, ..alone(GossipBody::Gossip) };
    vec![
        sample("gossip ping", &alone(GossipBody::Ping { sequence, target })),
        sample("gossip ack", &alone(GossipBody::Ack { sequence })),
        sample("gossip ping request", &alone(GossipBody::PingRequest { sequence, target })),
        sample("gossip nack", &alone(GossipBody::Nack { sequence })),
        sample("gossip with news of each kind", &news),
        sample("gossip tell", &alone(GossipBody::Tell)),
        sample("gossip join", &alone(GossipBody::Join { sequence, record: Arc::clone(&record) })),
        sample("gossip join reply", &alone(GossipBody::JoinReply { sequence, record })),
        sample("gossip record request", &alone(GossipBody::RecordRequest { ids: vec![target, id] })),
    ]
}

fn reliable() -> Vec<Sample> {
    use ReliableMessage as R;
    let sample = |name, message| sample(name, &ControlMessage::Membership(message));
    let record = Arc::new(record());
    let standings =
        [Standing::Alive, Standing::Suspect, Standing::Dead { since_s: 7 }, Standing::Left { since_s: 300 }];
    let members = standings.map(|standing| MemberState { record: Arc::clone(&record), standing }).to_vec();
    let next = Some(member(0xb2));
    vec![
        sample("probe", R::Probe { sequence: 5, suspected: None }),
        sample("probe of a suspect", R::Probe { sequence: 5, suspected: Some(life()) }),
        sample("probe ack", R::ProbeAck { sequence: 5, life: life() }),
        sample("snapshot request", R::SnapshotRequest { after: None }),
        sample("snapshot request further", R::SnapshotRequest { after: next }),
        sample("snapshot page", R::SnapshotPage { members: members.clone(), next }),
        sample("snapshot busy", R::SnapshotBusy { others: vec![record] }),
        sample("sync digests", R::SyncDigests { digests: vec![0, u64::MAX] }),
        sample("sync buckets", R::SyncBuckets { buckets: vec![0, 255], members: members.clone() }),
        sample("sync news", R::SyncNews { members }),
    ]
}

fn life() -> Life {
    Life { generation: Generation(1_700_000_000_000), incarnation: Incarnation(3) }
}

fn record() -> MemberRecord {
    MemberRecord {
        public_key: PublicKey([0x4b; 32]),
        generation: life().generation,
        incarnation: life().incarnation,
        address: SocketAddr::from(([192, 0, 2, 1], 5001)),
        zone: "eu-1".to_owned(),
        version: 1,
        upload_bytes_per_s: 125_000_000,
    }
}

pub(crate) fn sha256() -> Digest {
    Digest::Sha256([0x25; 32])
}

fn sha512() -> Digest {
    let mut bytes = [0x51; 64];
    bytes[63] = 0x52;
    Digest::Sha512(bytes)
}

pub(crate) fn member(byte: u8) -> MemberId {
    MemberId([byte; 16])
}

pub(crate) fn tag() -> Name {
    Name {
        registry: "docker.io".to_owned(),
        repository: "library/alpine".to_owned(),
        kind: ContentKind::Manifest,
        reference: Reference::Tag("3.20".to_owned()),
    }
}

fn blob() -> Name {
    Name {
        registry: "localhost:5000".to_owned(),
        repository: "app".to_owned(),
        kind: ContentKind::Blob,
        reference: Reference::Digest(sha512()),
    }
}

pub(crate) fn descriptor() -> Descriptor {
    Descriptor { media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(), digest: sha256(), size: 1_472 }
}

fn some_of(pieces: u32) -> PieceMap {
    let mut map = PieceMap::empty(pieces);
    map.insert_range(0..17);
    map.insert_range(300..301);
    map
}
