//! What one node's view of a large cluster costs: bytes for each member, and the time of what is done often.
//!
//! `cargo run --release -p shoal-core --example member_table [members]`; 10,000 members unless told otherwise.

#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // It measures, so it reads the clock.

use std::{
    hint::black_box,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use peak_alloc::PeakAlloc;
use shoal_core::{
    config::CoreConfig,
    event::{Input, Output},
    membership::KnownMembers,
    node::Node,
    time::Time,
};
use shoal_wire::{
    control::ControlMessage,
    gossip::{GossipBody, GossipPacket, MemberState, ReliableMessage, Standing},
    ids::{Generation, Incarnation, MemberId, PublicKey, QueryId},
    member::MemberRecord,
    name::{ContentKind, Name, Reference},
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Members of one page of a snapshot.
const PAGE: usize = 700;
/// How often the short steps are timed.
const ROUNDS: u32 = 2000;

fn record(number: u32) -> Arc<MemberRecord> {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&number.to_le_bytes());
    Arc::new(MemberRecord {
        public_key: PublicKey(key),
        generation: Generation(1),
        incarnation: Incarnation(0),
        address: SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number), 5001)),
        zone: format!("zone-{}", number % 16),
        version: 1,
        upload_bytes_per_s: 0,
    })
}

fn drain(node: &mut Node) -> Vec<Output> {
    std::iter::from_fn(|| node.poll_output()).collect()
}

/// A node that has been introduced to `seed` and asked it for a snapshot.
fn joining(seed: &Arc<MemberRecord>, now: Time) -> Node {
    let mut node = Node::new(CoreConfig::default(), MemberRecord::clone(&record(0)), 1, now);
    node.handle(now, Input::Seeds(vec![seed.address]));
    let sequence = drain(&mut node).into_iter().find_map(|output| match output {
        Output::Gossip { packet: GossipPacket { body: GossipBody::Join { sequence, .. }, .. }, .. } => Some(sequence),
        _ => None,
    });
    let sequence = sequence.expect("it introduces itself");
    let body = GossipBody::JoinReply { sequence, record: Arc::clone(seed) };
    node.handle(
        now,
        Input::Gossip { from: seed.address, packet: GossipPacket { from: seed.id(), body, updates: vec![] } },
    );
    drain(&mut node);
    node
}

fn pages(records: &[Arc<MemberRecord>]) -> Vec<ControlMessage> {
    let mut states: Vec<_> =
        records.iter().map(|record| MemberState { record: Arc::clone(record), standing: Standing::Alive }).collect();
    states.sort_by_key(|state| state.record.id());
    let count = states.len().div_ceil(PAGE);
    states
        .chunks(PAGE)
        .enumerate()
        .map(|(index, members)| {
            let next = (index + 1 < count).then(|| members.last().expect("no chunk is empty").record.id());
            ControlMessage::Membership(ReliableMessage::SnapshotPage { members: members.to_vec(), next })
        })
        .collect()
}

/// Applies a snapshot; returns the mean time of the snapshot's members.
fn apply(node: &mut Node, now: Time, seed: MemberId, pages: Vec<ControlMessage>) -> Duration {
    let begin = Instant::now();
    for message in pages {
        node.handle(now, Input::Control { from: seed, message });
        drain(node);
    }
    begin.elapsed()
}

/// Lets the node probe `ROUNDS` members, which all answer. Returns the mean time of one probe and its ack.
fn probe(node: &mut Node, now: &mut Time) -> Duration {
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        *now = node.next_timeout().expect("it always probes").max(*now);
        node.handle(*now, Input::Timeout);
        for output in drain(node) {
            if let Output::Gossip { to, packet: GossipPacket { body: GossipBody::Ping { sequence, target }, .. } } =
                output
            {
                let body = GossipBody::Ack { sequence };
                node.handle(
                    *now,
                    Input::Gossip { from: to, packet: GossipPacket { from: target, body, updates: vec![] } },
                );
                drain(node);
            }
        }
    }
    begin.elapsed() / ROUNDS
}

/// Asks for names, which ranks the homes of each. Returns the mean time.
fn resolve(node: &mut Node, now: Time) -> Duration {
    let names: Vec<Name> = (0..ROUNDS)
        .map(|index| Name {
            registry: "registry.example".into(),
            repository: "library/thing".into(),
            kind: ContentKind::Manifest,
            reference: Reference::Tag(format!("v{index}")),
        })
        .collect();
    let begin = Instant::now();
    for (index, name) in names.into_iter().enumerate() {
        node.handle(now, Input::Resolve { query: QueryId(index as u64), name });
        black_box(drain(node));
    }
    begin.elapsed() / ROUNDS
}

/// One word by gossip about each of the members. Returns the mean time.
fn gossip(node: &mut Node, now: Time, records: &[Arc<MemberRecord>]) -> Duration {
    let begin = Instant::now();
    for record in records {
        let packet = GossipPacket {
            from: record.id(),
            body: GossipBody::Gossip,
            updates: vec![shoal_wire::gossip::MemberUpdate::Alive { id: record.id(), life: record.life() }],
        };
        node.handle(now, Input::Gossip { from: record.address, packet });
        black_box(drain(node));
    }
    begin.elapsed() / u32::try_from(records.len()).expect("few members")
}

/// Begins nodes that know each other, as a simulator does, and prints what each takes, at first and after some probes.
fn begin_together(records: &[Arc<MemberRecord>], now: Time) {
    let known = KnownMembers::new(records.iter().cloned());
    let before = ALLOCATOR.current_usage();
    let begin = Instant::now();
    let with_members = |record: &Arc<MemberRecord>| {
        Node::with_members(CoreConfig::default(), MemberRecord::clone(record), &known, 1, now)
    };
    let mut nodes: Vec<_> = records.iter().step_by(100).map(with_members).collect();
    let (took, count) = (begin.elapsed(), nodes.len());
    let each = |bytes: usize| bytes.saturating_sub(before) as f64 / 1e3 / count as f64;
    println!(
        "a node that begins with them: {:.0} kB, {:?}",
        each(ALLOCATOR.current_usage()),
        took / u32::try_from(count).expect("few nodes")
    );
    for node in &mut nodes {
        probe(node, &mut now.clone());
    }
    println!("the same after {ROUNDS} probes: {:.0} kB", each(ALLOCATOR.current_usage()));
}

fn main() {
    let count: u32 = std::env::args().nth(1).map_or(10_000, |text| text.parse().expect("a number of members"));
    let records: Vec<_> = (1..count).map(record).collect();
    let mut now = Time::from_micros(1_000_000);
    let pages = pages(&records);
    let mut node = joining(&records[0], now);
    let before = ALLOCATOR.current_usage();
    let freed_with_the_pages = count as usize * size_of::<MemberState>();
    let snapshot = apply(&mut node, now, records[0].id(), pages);
    let bytes = (ALLOCATOR.current_usage() + freed_with_the_pages).saturating_sub(before);
    assert_eq!(node.membership().alive_count(), count as usize);
    let each = bytes as f64 / f64::from(count);
    println!("a node that joined {count} members: {:.0} kB, {each:.1} bytes for each", bytes as f64 / 1e3);
    println!("a snapshot applied: {snapshot:?}, {:?} for each", snapshot / count);
    println!("a probe and its ack: {:?}", probe(&mut node, &mut now));
    println!("old news of each member: {:?}", gossip(&mut node, now, &records));
    println!("the homes of a name: {:?}", resolve(&mut node, now));
    drop(node);
    begin_together(&records, now);
}
