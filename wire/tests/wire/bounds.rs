//! At each bound a message is taken, one past it it is refused: by the encoder, and by the decoder from bytes that no
//! encoder of ours would write.

use shoal_wire::{
    codec::{CodecError, Message},
    control::{Announcement, ControlMessage, LeaseSpan, Load, NameAnswer, NameOutcome},
    geometry::PieceIndex,
    gossip::{BUSY_ALTERNATIVES, GossipPacket, RECORDS_PER_REQUEST, SYNC_BUCKETS},
    ids::{LeaseId, MemberId, PieceHash, QueryId},
    limits::{
        GATEWAYS_PER_ZONE, LEASES_PER_ANNOUNCEMENT, MEMBERS_PER_MESSAGE, NAME_BYTES, PEERS_PER_ANSWER, PIECE_RUNS_MAX,
        PIECES_MAX, SIGNATURE_BYTES, TAG_BYTES, UPDATES_PER_PACKET, ZONE_BYTES,
    },
    name::{Descriptor, Name, Reference},
    piece_map::{PieceMap, PieceRuns},
    transfer::{PieceReply, PieceRequest, Urgency, Voucher},
};

use crate::samples;

/// An unsigned number in the codec's variable-length form.
fn number(value: usize) -> Vec<u8> {
    match value {
        0..=250 => vec![u8::try_from(value).unwrap()],
        251..=0xffff => [&[251], &u16::try_from(value).unwrap().to_le_bytes()[..]].concat(),
        _ => [&[252], &u32::try_from(value).unwrap().to_le_bytes()[..]].concat(),
    }
}

/// `count` elements of `element` behind their number.
fn list(count: usize, element: &[u8]) -> Vec<u8> {
    [number(count), element.repeat(count)].concat()
}

fn digest() -> Vec<u8> {
    [vec![0], vec![0x25; 32]].concat()
}

fn resolve(registry: usize, repository: usize, tag: usize) -> Vec<u8> {
    [vec![1, 0], list(registry, b"r"), list(repository, b"p"), vec![0, 0], list(tag, b"t")].concat()
}

fn found(media_type: usize) -> Vec<u8> {
    [vec![2, 0, 0, 0], list(media_type, b"m"), digest(), vec![7]].concat()
}

fn announce(leases: usize, unreachable: usize) -> Vec<u8> {
    let no_pieces_of_one = vec![0, 1, 0];
    let flags = vec![1, 1, 0];
    let span = [1, 2, 3];
    [vec![4], digest(), vec![9], no_pieces_of_one, flags, list(leases, &span), list(unreachable, &[7; 16])].concat()
}

fn peers(count: usize, gateways: usize) -> Vec<u8> {
    [vec![5], digest(), list(count, &[7; 16]), list(gateways, &[7; 16]), vec![1, 0]].concat()
}

fn lease(first: usize, count: usize) -> Vec<u8> {
    [vec![7], digest(), vec![1], number(first), number(count)].concat()
}

fn progress(next: usize) -> Vec<u8> {
    [vec![8], digest(), vec![1], number(next)].concat()
}

fn have(lengths: &[usize]) -> Vec<u8> {
    have_of(lengths, 1)
}

/// A Have of a sender that has so many pieces in all.
fn have_of(lengths: &[usize], held: usize) -> Vec<u8> {
    let lengths: Vec<u8> = [lengths.len()].iter().chain(lengths).flat_map(|&length| number(length)).collect();
    [vec![13], digest(), lengths, number(held), vec![4, 1]].concat()
}

/// A Hello of a blob of one piece, 256 KiB, with this encoded map.
fn hello(map: &[u8]) -> Vec<u8> {
    [vec![12], digest(), vec![252, 0, 0, 4, 0], map.to_vec(), vec![1, 0, 4, 1]].concat()
}

fn reply(signature: usize) -> Vec<u8> {
    [vec![0; 1 + 16 + 32], list(signature, &[9])].concat()
}

fn request(piece: usize, held: usize) -> Vec<u8> {
    [digest(), number(piece), vec![0], number(held)].concat()
}

fn gossip(body: &[u8], updates: &[u8]) -> Vec<u8> {
    [&[7; 16], body, updates].concat()
}

/// The introduction of a member whose zone has this length.
fn join(zone: usize) -> Vec<u8> {
    let (key, life, address) = ([7; 32], [1, 0], [0, 192, 0, 2, 1, 9]);
    let record = [&key[..], &life, &address, &list(zone, b"z"), &[1, 0]].concat();
    gossip(&[&[6, 1][..], &record].concat(), &[0])
}

fn reliable(variant: u8, rest: &[u8]) -> Vec<u8> {
    [&[0, variant], rest].concat()
}

#[track_caller]
fn taken<M: Message + std::fmt::Debug>(bytes: &[u8]) {
    let message = M::decode(bytes).expect("within its bounds");
    assert_eq!(message.encode().unwrap(), bytes);
}

#[track_caller]
fn refused<M: Message + std::fmt::Debug>(bytes: &[u8], reason: &str) {
    match M::decode(bytes) {
        Err(CodecError::Malformed { reason: why, .. }) => assert!(why.contains(reason), "another reason: {why}"),
        other => panic!("not refused as malformed: {other:?}"),
    }
}

#[test]
fn texts() {
    taken::<ControlMessage>(&resolve(NAME_BYTES, NAME_BYTES, TAG_BYTES));
    refused::<ControlMessage>(&resolve(NAME_BYTES + 1, 1, 1), "at most 255 bytes");
    refused::<ControlMessage>(&resolve(1, NAME_BYTES + 1, 1), "at most 255 bytes");
    refused::<ControlMessage>(&resolve(1, 1, TAG_BYTES + 1), "at most 128 bytes");
    taken::<ControlMessage>(&found(NAME_BYTES));
    refused::<ControlMessage>(&found(NAME_BYTES + 1), "at most 255 bytes");
}

#[test]
fn texts_are_printable_ascii() {
    let good = resolve(3, 1, 1);
    taken::<ControlMessage>(&good);
    for bad in ["a\nb", "a\0b", "\x7f~ ", "\u{e4}b"] {
        let mut bytes = good.clone();
        bytes[3..6].copy_from_slice(bad.as_bytes());
        refused::<ControlMessage>(&bytes, "printable ASCII");
    }
    let mut not_utf8 = good;
    not_utf8[3] = 0xff;
    refused::<ControlMessage>(&not_utf8, "");
}

#[test]
fn lists() {
    taken::<ControlMessage>(&peers(PEERS_PER_ANSWER, GATEWAYS_PER_ZONE));
    refused::<ControlMessage>(&peers(PEERS_PER_ANSWER + 1, 0), "at most 16 elements");
    refused::<ControlMessage>(&peers(0, GATEWAYS_PER_ZONE + 1), "at most 16 elements");
    taken::<ControlMessage>(&announce(LEASES_PER_ANNOUNCEMENT, PEERS_PER_ANSWER));
    refused::<ControlMessage>(&announce(LEASES_PER_ANNOUNCEMENT + 1, 0), "at most 64 elements");
    refused::<ControlMessage>(&announce(0, PEERS_PER_ANSWER + 1), "at most 16 elements");
}

#[test]
fn lists_of_membership() {
    let record_request = |count| gossip(&[&[8][..], &list(count, &[7; 16])].concat(), &[0]);
    taken::<GossipPacket>(&record_request(RECORDS_PER_REQUEST));
    refused::<GossipPacket>(&record_request(RECORDS_PER_REQUEST + 1), "at most 32 elements");
    refused::<GossipPacket>(&gossip(&[4], &number(UPDATES_PER_PACKET + 1)), "at most 250 elements");
    taken::<ControlMessage>(&reliable(5, &list(SYNC_BUCKETS, &[0])));
    refused::<ControlMessage>(&reliable(5, &list(SYNC_BUCKETS + 1, &[0])), "at most 256 elements");
    refused::<ControlMessage>(&reliable(6, &list(SYNC_BUCKETS + 1, &[0])), "at most 256 elements");
    for page in [3, 7] {
        refused::<ControlMessage>(&reliable(page, &number(MEMBERS_PER_MESSAGE + 1)), "at most 2048 elements");
    }
    refused::<ControlMessage>(&reliable(4, &number(BUSY_ALTERNATIVES + 1)), "at most 16 elements");
}

#[test]
fn zones() {
    taken::<GossipPacket>(&join(ZONE_BYTES));
    refused::<GossipPacket>(&join(ZONE_BYTES + 1), "at most 63 bytes");
}

#[test]
fn names_of_users_are_checked_as_the_encoder_does() {
    let sendable = |registry: &str, repository: &str, tag: &str| {
        let reference = Reference::Tag(tag.to_owned());
        let name =
            Name { registry: registry.to_owned(), repository: repository.to_owned(), reference, ..samples::tag() };
        let encodes = ControlMessage::Resolve { query: QueryId(1), name: Box::new(name.clone()) }.encode().is_ok();
        assert_eq!(name.is_sendable(), encodes, "{name}");
        encodes
    };
    assert!(sendable("", "a", &"t".repeat(TAG_BYTES)) && sendable(&"r".repeat(NAME_BYTES), "a", "b"));
    assert!(!sendable("r", "a", &"t".repeat(TAG_BYTES + 1)) && !sendable(&"r".repeat(NAME_BYTES + 1), "a", "b"));
    assert!(!sendable("r", "a\n", "b") && !sendable("r", "a", "\u{e4}"));
}

#[test]
fn signatures_have_their_length() {
    taken::<PieceReply>(&reply(SIGNATURE_BYTES));
    refused::<PieceReply>(&reply(SIGNATURE_BYTES - 1), "exactly 64 bytes");
    refused::<PieceReply>(&reply(SIGNATURE_BYTES + 1), "at most 64 elements");
    refused::<PieceReply>(&reply(0), "exactly 64 bytes");
}

#[test]
fn positions_and_leases_stay_within_the_largest_blob() {
    let most = PIECES_MAX as usize;
    taken::<PieceRequest>(&request(most, most));
    for above in [most + 1, u32::MAX as usize] {
        refused::<PieceRequest>(&request(above, 0), "from 0 to 65536");
        refused::<PieceRequest>(&request(0, above), "from 0 to 65536");
        refused::<ControlMessage>(&have_of(&[0, 1], above), "from 0 to 65536");
    }
    taken::<ControlMessage>(&have_of(&[0, 1], most));
    taken::<ControlMessage>(&progress(most));
    refused::<ControlMessage>(&progress(most + 1), "from 0 to 65536");
    taken::<ControlMessage>(&lease(0, most));
    taken::<ControlMessage>(&lease(most - 1, 1));
    refused::<ControlMessage>(&lease(most, 1), "past the largest blob");
    refused::<ControlMessage>(&lease(1, most), "past the largest blob");
    refused::<ControlMessage>(&lease(0, 0), "from 1 to 65536");
    refused::<ControlMessage>(&lease(u32::MAX as usize, u32::MAX as usize), "from 0 to 65536");
}

#[test]
fn leases_do_not_run_backwards() {
    let mut bytes = announce(1, 0);
    taken::<ControlMessage>(&bytes);
    let end = bytes.len() - 2;
    assert_eq!(bytes[end - 2..], [1, 2, 3, 0], "lease, next, end, no unreachable peer");
    bytes[end] = 1;
    refused::<ControlMessage>(&bytes, "ends before its next piece");
}

#[test]
fn runs() {
    let most = 2 * PIECE_RUNS_MAX;
    taken::<ControlMessage>(&have(&vec![1; most]));
    refused::<ControlMessage>(&have(&vec![1; most + 2]), "at most 8192 elements");
    taken::<ControlMessage>(&have(&[0, PIECES_MAX as usize]));
    taken::<ControlMessage>(&have(&[]));
    let unfit = "piece runs that are";
    refused::<ControlMessage>(&have(&[1, PIECES_MAX as usize]), unfit);
    refused::<ControlMessage>(&have(&[1]), unfit);
    refused::<ControlMessage>(&have(&[1, 0]), unfit);
    refused::<ControlMessage>(&have(&[1, 1, 0, 1]), unfit);
    let overflow = u32::MAX as usize;
    refused::<ControlMessage>(&have(&[overflow, overflow, 1, 1]), unfit);
}

#[test]
fn maps_fit_their_blob() {
    taken::<ControlMessage>(&hello(&[0, 1, 2, 0, 1]));
    refused::<ControlMessage>(&hello(&[0, 1, 2, 0, 2]), "do not fit its size");
    refused::<ControlMessage>(&hello(&[0, 1, 2, 1, 1]), "do not fit its size");
    refused::<ControlMessage>(&hello(&[0, 2, 2, 0, 1]), "a blob of another size");
    refused::<ControlMessage>(&hello(&[0, 0, 0]), "a blob of another size");
    let in_words = ControlMessage::decode(&hello(&[1, 1, 1, 1])).unwrap();
    assert_eq!(in_words.encode().unwrap(), hello(&[0, 1, 2, 0, 1]), "either form is read, the shorter one written");
    refused::<ControlMessage>(&hello(&[1, 1, 1, 2]), "do not fit its size");
    refused::<ControlMessage>(&hello(&[1, 1, 2, 1, 0]), "do not fit its size");
    refused::<ControlMessage>(&hello(&[1, 1, 0]), "do not fit its size");
    let above = number(PIECES_MAX as usize + 1);
    refused::<ControlMessage>(&hello(&[&[0], above.as_slice(), &[0]].concat()), "do not fit its size");
    let words = [vec![1], above, list(1025, &[0])].concat();
    refused::<ControlMessage>(&hello(&words), "at most 1024 elements");
}

#[test]
fn the_largest_messages_fit_their_limits() {
    let alternating = (0..PIECES_MAX).step_by(2).map(PieceIndex);
    let mut have = PieceMap::empty(PIECES_MAX);
    alternating.for_each(|piece| _ = have.insert(piece));
    let lease = LeaseSpan { lease: LeaseId(u64::MAX), next: PieceIndex(PIECES_MAX), end: PieceIndex(PIECES_MAX) };
    let announcement = ControlMessage::Announce(Box::new(Announcement {
        digest: samples::sha256(),
        size: 1 << 40,
        have,
        wants: true,
        can_lease: true,
        takeover: true,
        leases: vec![lease; LEASES_PER_ANNOUNCEMENT],
        unreachable: vec![MemberId([1; 16]); PEERS_PER_ANSWER],
    }));
    let bytes = announcement.encode().unwrap();
    assert!(bytes.len() < 16 * 1024, "{} bytes", bytes.len());
    assert_eq!(ControlMessage::decode(&bytes).unwrap(), announcement);
}

#[test]
fn what_a_receiver_would_refuse_is_not_encoded() {
    let refused = |message: ControlMessage| {
        let error = message.encode().unwrap_err();
        assert!(matches!(error, CodecError::Malformed { kind: "control message", .. }), "{error}");
    };
    let query = QueryId(1);
    let long_registry = Name { registry: "r".repeat(NAME_BYTES + 1), ..samples::tag() };
    let long_tag = Name { reference: Reference::Tag("t".repeat(TAG_BYTES + 1)), ..samples::tag() };
    let two_lines = Name { repository: "a\r\nb".to_owned(), ..samples::tag() };
    for name in [long_registry, long_tag, two_lines] {
        refused(ControlMessage::Resolve { query, name: Box::new(name) });
    }
    let long_type = Descriptor { media_type: "m".repeat(NAME_BYTES + 1), ..samples::descriptor() };
    let answer = Box::new(NameAnswer::Outcome(NameOutcome::Found(long_type)));
    refused(ControlMessage::Resolution { query, answer });

    let digest = samples::sha256();
    let peers = vec![samples::member(1); PEERS_PER_ANSWER + 1];
    refused(ControlMessage::Peers { digest, peers, gateways: Vec::new(), coordinates: true, refresh_ms: 1 });
    let gateways = vec![samples::member(1); GATEWAYS_PER_ZONE + 1];
    refused(ControlMessage::Peers { digest, peers: Vec::new(), gateways, coordinates: true, refresh_ms: 1 });
    for (first, count) in [(0, 0), (PIECES_MAX, 1), (u32::MAX, u32::MAX), (0, PIECES_MAX + 1)] {
        refused(ControlMessage::Lease { digest, lease: LeaseId(1), first: PieceIndex(first), count });
    }
    let every_other = (0..4 * 4096).step_by(2).map(PieceIndex);
    let pieces = PieceRuns::from_ascending(every_other);
    refused(ControlMessage::Have { digest, pieces, held: 1, load: Load::default() });
    let pieces = PieceRuns::from_ascending([PieceIndex(0)]);
    refused(ControlMessage::Have { digest, pieces, held: PIECES_MAX + 1, load: Load::default() });
    let (have, load) = (PieceMap::empty(2), Load::default());
    refused(ControlMessage::Hello { digest, size: 1, have, wants: true, reply: false, load });

    for (piece, held) in [(PIECES_MAX + 1, 0), (0, PIECES_MAX + 1)] {
        let request = PieceRequest { digest, piece: PieceIndex(piece), urgency: Urgency::Bulk, held };
        assert!(request.encode().is_err());
    }
    for length in [0, SIGNATURE_BYTES - 1, SIGNATURE_BYTES + 1] {
        let signature = vec![0; length];
        let voucher = Voucher { injector: samples::member(1), hash: PieceHash([0; 32]), signature };
        assert!(PieceReply::Sending(voucher).encode().is_err(), "a signature of {length} bytes");
    }
}
