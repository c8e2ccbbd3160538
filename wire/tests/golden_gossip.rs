//! The bytes of membership's messages. A change here is a change of the protocol.

#![allow(clippy::unwrap_used)] // A panic is how a test fails.

use std::{net::SocketAddr, sync::Arc};

use proptest::{collection::vec, option, prelude::*};
use shoal_wire::{
    codec::{CodecError, Message},
    control::ControlMessage,
    gossip::{
        Accuser, BUSY_ALTERNATIVES, GossipBody, GossipPacket, MemberState, MemberUpdate, ReliableMessage, Standing,
    },
    ids::{Generation, Incarnation, MemberId, PublicKey},
    limits::{GOSSIP_DATAGRAM_BYTES, ZONE_BYTES},
    member::{Life, MemberRecord},
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

const SENDER: &str = "11111111111111111111111111111111";
const SUBJECT: &str = "22222222222222222222222222222222";

fn sender() -> MemberId {
    MemberId([0x11; 16])
}

fn subject() -> MemberId {
    MemberId([0x22; 16])
}

fn life() -> Life {
    Life { generation: Generation(1_700_000_000_000), incarnation: Incarnation(3) }
}

/// 253: a number of eight bytes follows.
const LIFE: &str = "fd0068e5cf8b01000003";

fn record() -> Arc<MemberRecord> {
    Arc::new(MemberRecord {
        public_key: PublicKey([0x33; 32]),
        generation: life().generation,
        incarnation: life().incarnation,
        address: "10.1.2.3:5001".parse().unwrap(),
        zone: "a1".to_owned(),
        version: 1,
        upload_bytes_per_s: 125_000_000,
    })
}

/// Key, life, address family, address, port, length of the zone, zone, version, upload rate.
fn record_hex() -> String {
    format!("{}{LIFE}000a010203fb891302613101fc40597307", "33".repeat(32))
}

fn assert_packet(body: GossipBody, updates: Vec<MemberUpdate>, expected: &str) {
    let packet = GossipPacket { from: sender(), body, updates };
    let bytes = packet.encode().unwrap();
    assert_eq!(hex(&bytes), format!("{SENDER}{expected}"), "{packet:?}");
    assert_eq!(GossipPacket::decode(&bytes).unwrap(), packet);
}

#[test]
fn packets_have_these_bytes() {
    let sequence = 70_000;
    // 252: a number of four bytes follows.
    let number = "fc70110100";
    let target = subject();
    let record_hex = record_hex();
    assert_packet(GossipBody::Ping { sequence, target }, vec![], &format!("00{number}{SUBJECT}00"));
    assert_packet(GossipBody::Ack { sequence }, vec![], &format!("01{number}00"));
    assert_packet(GossipBody::PingRequest { sequence, target }, vec![], &format!("02{number}{SUBJECT}00"));
    assert_packet(GossipBody::Nack { sequence }, vec![], &format!("03{number}00"));
    assert_packet(GossipBody::Gossip, vec![], "0400");
    assert_packet(GossipBody::Tell, vec![], "0500");
    assert_packet(GossipBody::Join { sequence, record: record() }, vec![], &format!("06{number}{record_hex}00"));
    assert_packet(GossipBody::JoinReply { sequence, record: record() }, vec![], &format!("07{number}{record_hex}00"));
    assert_packet(GossipBody::RecordRequest { ids: vec![target] }, vec![], &format!("0801{SUBJECT}00"));
}

#[test]
fn updates_have_these_bytes() {
    let (id, life) = (subject(), life());
    let record_hex = record_hex();
    let accuser = Accuser::from(sender());
    let one = |update, expected: &str| assert_packet(GossipBody::Gossip, vec![update], &format!("0401{expected}"));
    one(MemberUpdate::Record(record()), &format!("00{record_hex}"));
    one(MemberUpdate::Alive { id, life }, &format!("01{SUBJECT}{LIFE}"));
    one(MemberUpdate::Suspect { id, life, accuser }, &format!("02{SUBJECT}{LIFE}1111111111111111"));
    one(MemberUpdate::Dead { id, life }, &format!("03{SUBJECT}{LIFE}"));
    one(MemberUpdate::Left { id, life }, &format!("04{SUBJECT}{LIFE}"));
}

fn assert_reliable(message: ReliableMessage, expected: &str) {
    let message = ControlMessage::Membership(message);
    let bytes = message.encode().unwrap();
    assert_eq!(hex(&bytes), format!("00{expected}"), "{message:?}");
    assert_eq!(ControlMessage::decode(&bytes).unwrap(), message);
}

#[test]
fn reliable_messages_have_these_bytes() {
    let record_hex = record_hex();
    let (sequence, life) = (5, life());
    let states = [
        (Standing::Alive, "00"),
        (Standing::Suspect, "01"),
        (Standing::Dead { since_s: 60 }, "023c"),
        (Standing::Left { since_s: 300 }, "03fb2c01"),
    ];
    assert_reliable(ReliableMessage::Probe { sequence, suspected: None }, "000500");
    assert_reliable(ReliableMessage::Probe { sequence, suspected: Some(life) }, &format!("000501{LIFE}"));
    assert_reliable(ReliableMessage::ProbeAck { sequence, life }, &format!("0105{LIFE}"));
    assert_reliable(ReliableMessage::SnapshotRequest { after: None }, "0200");
    assert_reliable(ReliableMessage::SnapshotRequest { after: Some(subject()) }, &format!("0201{SUBJECT}"));
    for (standing, state_hex) in states {
        let members = vec![MemberState { record: record(), standing }];
        let page = ReliableMessage::SnapshotPage { members: members.clone(), next: Some(subject()) };
        assert_reliable(page, &format!("0301{record_hex}{state_hex}01{SUBJECT}"));
        let buckets = ReliableMessage::SyncBuckets { buckets: vec![0x33], members: members.clone() };
        assert_reliable(buckets, &format!("060133 01{record_hex}{state_hex}").replace(' ', ""));
        assert_reliable(ReliableMessage::SyncNews { members }, &format!("0701{record_hex}{state_hex}"));
    }
    assert_reliable(ReliableMessage::SnapshotBusy { others: vec![record()] }, &format!("0401{record_hex}"));
    assert_reliable(ReliableMessage::SyncDigests { digests: vec![1, 256] }, "050201fb0001");
}

#[test]
fn truncated_and_padded_packets_are_errors() {
    let updates = vec![MemberUpdate::Record(record()), MemberUpdate::Dead { id: subject(), life: life() }];
    let body = GossipBody::Join { sequence: 1, record: record() };
    let bytes = GossipPacket { from: sender(), body, updates }.encode().unwrap();
    for length in 0..bytes.len() {
        assert!(GossipPacket::decode(&bytes[..length]).is_err(), "{length} bytes of {}", bytes.len());
    }
    let padded = [bytes, vec![0]].concat();
    assert!(matches!(GossipPacket::decode(&padded), Err(CodecError::Trailing { extra: 1, .. })));
}

#[test]
fn a_packet_that_promises_more_than_it_holds_is_an_error() {
    // 4 billion updates, and none there.
    let bytes = [vec![0x11; 16], vec![4, 252, 0xff, 0xff, 0xff, 0xff]].concat();
    assert!(GossipPacket::decode(&bytes).is_err());
}

#[test]
fn a_packet_over_the_limit_is_not_encoded() {
    let updates = vec![MemberUpdate::Alive { id: subject(), life: life() }; 60];
    let packet = GossipPacket { from: sender(), body: GossipBody::Gossip, updates };
    assert!(packet.encoded_len() > GOSSIP_DATAGRAM_BYTES);
    assert!(matches!(packet.encode(), Err(CodecError::TooLong { .. })));
}

fn any_life() -> impl Strategy<Value = Life> {
    (any::<u64>(), any::<u8>(), any::<u32>()).prop_map(|(generation, shift, incarnation)| Life {
        generation: Generation(generation >> (shift % 64)),
        incarnation: Incarnation(incarnation >> (shift % 32)),
    })
}

fn any_record() -> impl Strategy<Value = Arc<MemberRecord>> {
    let zone = vec(proptest::char::range('a', 'z'), 0..=ZONE_BYTES);
    (any::<[u8; 32]>(), any_life(), any::<SocketAddr>(), zone, any::<u16>(), any::<u64>()).prop_map(
        |(key, life, address, zone, version, upload_bytes_per_s)| {
            Arc::new(MemberRecord {
                public_key: PublicKey(key),
                generation: life.generation,
                incarnation: life.incarnation,
                address: plain(address),
                zone: zone.into_iter().collect(),
                version,
                upload_bytes_per_s,
            })
        },
    )
}

/// Without flow label and scope, which do not travel.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

fn any_id() -> impl Strategy<Value = MemberId> {
    any::<[u8; 16]>().prop_map(MemberId)
}

fn any_update() -> impl Strategy<Value = MemberUpdate> {
    prop_oneof![
        any_record().prop_map(MemberUpdate::Record),
        (any_id(), any_life()).prop_map(|(id, life)| MemberUpdate::Alive { id, life }),
        (any_id(), any_life(), any_id()).prop_map(|(id, life, accuser)| MemberUpdate::Suspect {
            id,
            life,
            accuser: accuser.into()
        }),
        (any_id(), any_life()).prop_map(|(id, life)| MemberUpdate::Dead { id, life }),
        (any_id(), any_life()).prop_map(|(id, life)| MemberUpdate::Left { id, life }),
    ]
}

fn any_body() -> impl Strategy<Value = GossipBody> {
    let sequence = any::<u32>;
    prop_oneof![
        (sequence(), any_id()).prop_map(|(sequence, target)| GossipBody::Ping { sequence, target }),
        sequence().prop_map(|sequence| GossipBody::Ack { sequence }),
        (sequence(), any_id()).prop_map(|(sequence, target)| GossipBody::PingRequest { sequence, target }),
        sequence().prop_map(|sequence| GossipBody::Nack { sequence }),
        Just(GossipBody::Gossip),
        Just(GossipBody::Tell),
        (sequence(), any_record()).prop_map(|(sequence, record)| GossipBody::Join { sequence, record }),
        (sequence(), any_record()).prop_map(|(sequence, record)| GossipBody::JoinReply { sequence, record }),
        vec(any_id(), 0..32).prop_map(|ids| GossipBody::RecordRequest { ids }),
    ]
}

fn any_standing() -> impl Strategy<Value = Standing> {
    prop_oneof![
        Just(Standing::Alive),
        Just(Standing::Suspect),
        any::<u32>().prop_map(|since_s| Standing::Dead { since_s }),
        any::<u32>().prop_map(|since_s| Standing::Left { since_s }),
    ]
}

fn any_state() -> impl Strategy<Value = MemberState> {
    (any_record(), any_standing()).prop_map(|(record, standing)| MemberState { record, standing })
}

fn any_reliable() -> impl Strategy<Value = ReliableMessage> {
    let states = || vec(any_state(), 0..20);
    prop_oneof![
        (any::<u32>(), option::of(any_life()))
            .prop_map(|(sequence, suspected)| ReliableMessage::Probe { sequence, suspected }),
        (any::<u32>(), any_life()).prop_map(|(sequence, life)| ReliableMessage::ProbeAck { sequence, life }),
        option::of(any_id()).prop_map(|after| ReliableMessage::SnapshotRequest { after }),
        (states(), option::of(any_id())).prop_map(|(members, next)| ReliableMessage::SnapshotPage { members, next }),
        vec(any_record(), 0..=BUSY_ALTERNATIVES).prop_map(|others| ReliableMessage::SnapshotBusy { others }),
        vec(any::<u64>(), 256).prop_map(|digests| ReliableMessage::SyncDigests { digests }),
        (vec(any::<u8>(), 0..256), states())
            .prop_map(|(buckets, members)| ReliableMessage::SyncBuckets { buckets, members }),
        states().prop_map(|members| ReliableMessage::SyncNews { members }),
    ]
}

proptest! {
    #[test]
    fn packets_round_trip_and_know_their_length(body in any_body(), updates in vec(any_update(), 0..8)) {
        let packet = GossipPacket { from: sender(), body, updates };
        match packet.encode() {
            Ok(bytes) => {
                prop_assert_eq!(bytes.len(), packet.encoded_len());
                prop_assert_eq!(GossipPacket::decode(&bytes).unwrap(), packet);
            }
            Err(error) => {
                prop_assert!(packet.encoded_len() > GOSSIP_DATAGRAM_BYTES, "{}", error);
            }
        }
    }

    #[test]
    fn reliable_messages_round_trip(message in any_reliable()) {
        let message = ControlMessage::Membership(message);
        prop_assert_eq!(ControlMessage::decode(&message.encode().unwrap()).unwrap(), message);
    }

    #[test]
    fn states_know_their_length(state in any_state()) {
        let length = |members| {
            ControlMessage::Membership(ReliableMessage::SyncNews { members }).encode().unwrap().len()
        };
        prop_assert_eq!(length(vec![state.clone()]) - length(vec![]), state.encoded_len());
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..1500)) {
        let _ = GossipPacket::decode(&bytes);
    }
}
