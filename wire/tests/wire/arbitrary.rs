//! Messages with any contents that the bounds allow.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use proptest::{collection::vec, option, prelude::*};
use shoal_wire::{
    control::{Announcement, ControlMessage, LeaseEnd, LeaseSpan, Load, NameAnswer, NameOutcome, UpstreamFailure},
    digest::Digest,
    geometry::{Geometry, PieceIndex},
    gossip::{
        BUSY_ALTERNATIVES, GossipBody, GossipPacket, MemberState, MemberUpdate, RECORDS_PER_REQUEST, ReliableMessage,
        SYNC_BUCKETS, Standing,
    },
    ids::{Generation, Incarnation, LeaseId, MemberId, PieceHash, PublicKey, QueryId},
    limits::{
        GATEWAYS_PER_ZONE, LEASES_PER_ANNOUNCEMENT, NAME_BYTES, PEERS_PER_ANSWER, PIECE_BYTES_MAX, PIECES_MAX,
        TAG_BYTES, ZONE_BYTES,
    },
    member::{Life, MemberRecord},
    name::{ContentKind, Descriptor, Name, Reference},
    piece_map::{PieceMap, PieceRuns},
    transfer::{PieceReply, PieceRequest, Urgency, Voucher},
};

pub(crate) fn control() -> impl Strategy<Value = ControlMessage> {
    use ControlMessage as M;
    prop_oneof![
        reliable().prop_map(M::Membership),
        (query(), name()).prop_map(|(query, name)| M::Resolve { query, name: Box::new(name) }),
        (query(), answer()).prop_map(|(query, answer)| M::Resolution { query, answer: Box::new(answer) }),
        (name(), outcome()).prop_map(|(name, outcome)| M::Publish { name: Box::new(name), outcome: Box::new(outcome) }),
        announcement().prop_map(|announcement| M::Announce(Box::new(announcement))),
        peers_named(),
        digest().prop_map(|digest| M::Withdraw { digest }),
        (digest(), lease(), span()).prop_filter_map("a lease has a piece", |(digest, lease, (first, end))| {
            (first < end).then(|| M::Lease { digest, lease, first: PieceIndex(first), count: end - first })
        }),
        (digest(), lease(), position()).prop_map(|(digest, lease, next)| M::LeaseProgress { digest, lease, next }),
        (digest(), lease(), position(), lease_end()).prop_map(|(digest, lease, next, end)| M::LeaseReturned {
            digest,
            lease,
            next,
            end
        }),
        (digest(), lease(), position()).prop_map(|(digest, lease, end)| M::LeaseCut { digest, lease, end }),
        (digest(), failure()).prop_map(|(digest, failure)| M::SwarmFailed { digest, failure }),
        (digest(), sized_map(), any::<bool>(), any::<bool>(), load())
            .prop_map(|(digest, (size, have), wants, reply, load)| M::Hello { digest, size, have, wants, reply, load }),
        (digest(), runs(), 0..=PIECES_MAX, load()).prop_map(|(digest, pieces, held, load)| M::Have {
            digest,
            pieces,
            held,
            load
        }),
        load().prop_map(|load| M::SlotFree { load }),
        digest().prop_map(|digest| M::Part { digest }),
    ]
}

pub(crate) fn gossip() -> impl Strategy<Value = GossipPacket> {
    (member(), gossip_body(), vec(update(), 0..8)).prop_map(|(from, body, updates)| GossipPacket {
        from,
        body,
        updates,
    })
}

pub(crate) fn request() -> impl Strategy<Value = PieceRequest> {
    (digest(), position(), prop_oneof![Just(Urgency::Bulk), Just(Urgency::OnDemand)], 0..=PIECES_MAX)
        .prop_map(|(digest, piece, urgency, held)| PieceRequest { digest, piece, urgency, held })
}

pub(crate) fn reply() -> impl Strategy<Value = PieceReply> {
    let voucher = (member(), any::<[u8; 32]>(), vec(any::<u8>(), 64)).prop_map(|(injector, hash, signature)| Voucher {
        injector,
        hash: PieceHash(hash),
        signature,
    });
    prop_oneof![voucher.prop_map(PieceReply::Sending), load().prop_map(PieceReply::Busy), Just(PieceReply::NotHeld)]
}

pub(crate) fn digest() -> impl Strategy<Value = Digest> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(Digest::Sha256),
        (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(high, low)| {
            let mut bytes = [0; 64];
            bytes[..32].copy_from_slice(&high);
            bytes[32..].copy_from_slice(&low);
            Digest::Sha512(bytes)
        }),
    ]
}

/// Any map of a given number of pieces: sparse, in long runs, dense or random.
pub(crate) fn map(pieces: u32) -> impl Strategy<Value = PieceMap> {
    let ranges = vec((0..=pieces, 0..=pieces), 0..8);
    let noise = vec(any::<u64>(), 0..16);
    (ranges, noise, any::<bool>()).prop_map(move |(ranges, noise, everywhere)| {
        let mut map = PieceMap::empty(pieces);
        for (start, end) in ranges {
            map.insert_range(start..end);
        }
        let words = if everywhere { pieces.div_ceil(64) } else { 1 };
        for (word, bits) in (0..words).zip(noise.iter().cycle()) {
            let set = (0..64).filter(|bit| bits >> bit & 1 == 1);
            set.for_each(|bit| _ = map.insert(PieceIndex(word * 64 + bit)));
        }
        map
    })
}

/// Numbers of pieces, with those about word boundaries and the largest as likely as all others.
pub(crate) fn piece_count() -> impl Strategy<Value = u32> {
    prop_oneof![1..200u32, 1..=PIECES_MAX, Just(64), Just(65), Just(PIECES_MAX)]
}

pub(crate) fn runs() -> impl Strategy<Value = PieceRuns> {
    piece_count().prop_flat_map(map).prop_filter_map("few enough runs", |map| {
        let runs = map.runs();
        (runs.ranges().count() <= shoal_wire::limits::PIECE_RUNS_MAX).then_some(runs)
    })
}

fn sized_map() -> impl Strategy<Value = (u64, PieceMap)> {
    let size = prop_oneof![0..1u64 << 32, 0..=u64::from(PIECES_MAX) * PIECE_BYTES_MAX];
    size.prop_flat_map(|size| (Just(size), map(Geometry::of(size).unwrap().pieces())))
}

fn peers_named() -> impl Strategy<Value = ControlMessage> {
    let (peers, gateways) = (vec(member(), 0..=PEERS_PER_ANSWER), vec(member(), 0..=GATEWAYS_PER_ZONE));
    (digest(), peers, gateways, any::<bool>(), any::<u32>()).prop_map(
        |(digest, peers, gateways, coordinates, refresh_ms)| ControlMessage::Peers {
            digest,
            peers,
            gateways,
            coordinates,
            refresh_ms,
        },
    )
}

fn announcement() -> impl Strategy<Value = Announcement> {
    let lease = (lease(), span()).prop_map(|(lease, (next, end))| LeaseSpan {
        lease,
        next: PieceIndex(next),
        end: PieceIndex(end),
    });
    let leases = vec(lease, 0..=LEASES_PER_ANNOUNCEMENT);
    let unreachable = vec(member(), 0..=PEERS_PER_ANSWER);
    (digest(), sized_map(), any::<[bool; 3]>(), leases, unreachable).prop_map(
        |(digest, (size, have), [wants, can_lease, takeover], leases, unreachable)| Announcement {
            digest,
            size,
            have,
            wants,
            can_lease,
            takeover,
            leases,
            unreachable,
        },
    )
}

fn name() -> impl Strategy<Value = Name> {
    let kind = prop_oneof![Just(ContentKind::Manifest), Just(ContentKind::Blob)];
    let reference = prop_oneof![text(TAG_BYTES).prop_map(Reference::Tag), digest().prop_map(Reference::Digest)];
    (text(NAME_BYTES), text(NAME_BYTES), kind, reference).prop_map(|(registry, repository, kind, reference)| Name {
        registry,
        repository,
        kind,
        reference,
    })
}

fn text(longest: usize) -> impl Strategy<Value = String> {
    vec(b' '..=b'~', 0..=longest).prop_map(|bytes| String::from_utf8(bytes).unwrap())
}

fn answer() -> impl Strategy<Value = NameAnswer> {
    prop_oneof![outcome().prop_map(NameAnswer::Outcome), Just(NameAnswer::AskUpstream), Just(NameAnswer::Pending)]
}

fn outcome() -> impl Strategy<Value = NameOutcome> {
    let found = (text(NAME_BYTES), digest(), any::<u64>())
        .prop_map(|(media_type, digest, size)| NameOutcome::Found(Descriptor { media_type, digest, size }));
    prop_oneof![found, failure().prop_map(NameOutcome::Failed)]
}

fn failure() -> impl Strategy<Value = UpstreamFailure> {
    prop_oneof![
        Just(UpstreamFailure::NotFound),
        Just(UpstreamFailure::Denied),
        any::<u16>().prop_map(|retry_after_s| UpstreamFailure::RateLimited { retry_after_s }),
        Just(UpstreamFailure::Unavailable),
        Just(UpstreamFailure::WrongContent),
        Just(UpstreamFailure::NoUpstream),
    ]
}

fn lease_end() -> impl Strategy<Value = LeaseEnd> {
    prop_oneof![
        Just(LeaseEnd::Done),
        failure().prop_map(LeaseEnd::Failed),
        Just(LeaseEnd::NoRanges),
        Just(LeaseEnd::Abandoned),
    ]
}

fn span() -> impl Strategy<Value = (u32, u32)> {
    (0..=PIECES_MAX, 0..=PIECES_MAX).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

fn position() -> impl Strategy<Value = PieceIndex> {
    (0..=PIECES_MAX).prop_map(PieceIndex)
}

fn load() -> impl Strategy<Value = Load> {
    any::<(u8, u8)>().prop_map(|(active, queued)| Load { active, queued })
}

fn member() -> impl Strategy<Value = MemberId> {
    any::<[u8; 16]>().prop_map(MemberId)
}

fn query() -> impl Strategy<Value = QueryId> {
    any::<u64>().prop_map(QueryId)
}

fn lease() -> impl Strategy<Value = LeaseId> {
    any::<u64>().prop_map(LeaseId)
}

fn gossip_body() -> impl Strategy<Value = GossipBody> {
    use GossipBody as B;
    prop_oneof![
        (any::<u32>(), member()).prop_map(|(sequence, target)| B::Ping { sequence, target }),
        any::<u32>().prop_map(|sequence| B::Ack { sequence }),
        (any::<u32>(), member()).prop_map(|(sequence, target)| B::PingRequest { sequence, target }),
        any::<u32>().prop_map(|sequence| B::Nack { sequence }),
        Just(B::Gossip),
        Just(B::Tell),
        (any::<u32>(), record()).prop_map(|(sequence, record)| B::Join { sequence, record }),
        (any::<u32>(), record()).prop_map(|(sequence, record)| B::JoinReply { sequence, record }),
        vec(member(), 0..=RECORDS_PER_REQUEST).prop_map(|ids| B::RecordRequest { ids }),
    ]
}

fn update() -> impl Strategy<Value = MemberUpdate> {
    use MemberUpdate as U;
    prop_oneof![
        record().prop_map(U::Record),
        (member(), life()).prop_map(|(id, life)| U::Alive { id, life }),
        (member(), life(), member()).prop_map(|(id, life, by)| U::Suspect { id, life, accuser: by.into() }),
        (member(), life()).prop_map(|(id, life)| U::Dead { id, life }),
        (member(), life()).prop_map(|(id, life)| U::Left { id, life }),
    ]
}

fn reliable() -> impl Strategy<Value = ReliableMessage> {
    use ReliableMessage as R;
    let digests = vec(any::<u64>(), 0..=SYNC_BUCKETS);
    let buckets = vec(any::<u8>(), 0..=SYNC_BUCKETS);
    prop_oneof![
        (any::<u32>(), option::of(life())).prop_map(|(sequence, suspected)| R::Probe { sequence, suspected }),
        (any::<u32>(), life()).prop_map(|(sequence, life)| R::ProbeAck { sequence, life }),
        option::of(member()).prop_map(|after| R::SnapshotRequest { after }),
        (states(), option::of(member())).prop_map(|(members, next)| R::SnapshotPage { members, next }),
        vec(record(), 0..=BUSY_ALTERNATIVES).prop_map(|others| R::SnapshotBusy { others }),
        digests.prop_map(|digests| R::SyncDigests { digests }),
        (buckets, states()).prop_map(|(buckets, members)| R::SyncBuckets { buckets, members }),
        states().prop_map(|members| R::SyncNews { members }),
    ]
}

fn states() -> impl Strategy<Value = Vec<MemberState>> {
    let standing = prop_oneof![
        Just(Standing::Alive),
        Just(Standing::Suspect),
        any::<u32>().prop_map(|since_s| Standing::Dead { since_s }),
        any::<u32>().prop_map(|since_s| Standing::Left { since_s }),
    ];
    vec((record(), standing).prop_map(|(record, standing)| MemberState { record, standing }), 0..20)
}

fn life() -> impl Strategy<Value = Life> {
    any::<(u64, u32)>().prop_map(|(generation, incarnation)| Life {
        generation: Generation(generation),
        incarnation: Incarnation(incarnation),
    })
}

fn record() -> impl Strategy<Value = Arc<MemberRecord>> {
    let address = (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from);
    (any::<[u8; 32]>(), life(), address, text(ZONE_BYTES), any::<u16>(), any::<u64>()).prop_map(
        |(key, Life { generation, incarnation }, address, zone, version, upload_bytes_per_s)| {
            let public_key = PublicKey(key);
            let record =
                MemberRecord { public_key, generation, incarnation, address, zone, version, upload_bytes_per_s };
            Arc::new(record)
        },
    )
}
