//! One message of each kind and variant. The golden vectors, and the tests that damage valid encodings, start here.

use shoal_wire::{
    codec::{CodecError, Message},
    control::{Announcement, ControlMessage, LeaseEnd, LeaseSpan, Load, NameAnswer, NameOutcome, UpstreamFailure},
    digest::Digest,
    geometry::PieceIndex,
    ids::{LeaseId, MemberId, PieceHash, QueryId},
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
    [names(), leases(), announcements(), neighbours(), transfers()].into_iter().flatten().collect()
}

fn names() -> Vec<Sample> {
    use ControlMessage::{Publish, Resolution, Resolve};
    let query = QueryId(300);
    let answer = |answer| Resolution { query, answer };
    let publish = |outcome| Publish { name: tag(), outcome };
    vec![
        sample("resolve a tag", &Resolve { query, name: tag() }),
        sample("resolve a digest", &Resolve { query, name: blob() }),
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
        coordinates: true,
        refresh_ms: 5_000,
    };
    vec![
        sample("announce", &ControlMessage::Announce(announcement)),
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
        sample("have", &ControlMessage::Have { digest: sha256(), pieces: runs, load }),
        sample("slot free", &ControlMessage::SlotFree { load }),
        sample("part", &ControlMessage::Part { digest: sha256() }),
    ]
}

fn transfers() -> Vec<Sample> {
    let request = |urgency| PieceRequest { digest: sha256(), piece: PieceIndex(65_535), urgency };
    let voucher = Voucher { injector: member(0xa1), hash: PieceHash([0xcc; 32]), signature: vec![0xdd; 64] };
    vec![
        sample("request bulk", &request(Urgency::Bulk)),
        sample("request on demand", &request(Urgency::OnDemand)),
        sample("reply sending", &PieceReply::Sending(voucher)),
        sample("reply busy", &PieceReply::Busy(Load { active: 4, queued: 1 })),
        sample("reply not held", &PieceReply::NotHeld),
    ]
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
