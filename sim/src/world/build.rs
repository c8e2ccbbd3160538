//! What a world is made from: members, their engines, links and addresses.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
};

use shoal_core::{membership::KnownMembers, node::Node, rng::Stream};
use shoal_wire::{
    ids::{Generation, Incarnation, PublicKey},
    member::MemberRecord,
    version::PROTOCOL_VERSION,
};

use super::{
    member::{Counters, Member, NodeLinks},
    setting::Setting,
};
use crate::{network::Network, time::Nanos};

/// Address of the first node; the others follow.
pub(super) const FIRST_ADDRESS: u32 = 0x0a00_0001;
const PORT: u16 = 5001;

pub(super) fn count(setting: &Setting) -> u32 {
    u32::try_from(setting.nodes.len()).expect("scenarios bound the number of nodes")
}

/// The engines of all nodes. Those that know each other share what they know.
pub(super) fn engines(setting: &Setting, records: Vec<MemberRecord>, know_each_other: bool) -> Vec<Node> {
    let known = know_each_other.then(|| KnownMembers::new(records.iter().cloned().map(Arc::new)));
    let start = Nanos::ZERO.to_core();
    let engine = |(number, own): (u32, MemberRecord)| {
        let seed = Stream::new(setting.seed, &format!("node {number}")).bits();
        match &known {
            Some(known) => Node::with_members(setting.core.clone(), own, known, seed, start),
            None => Node::new(setting.core.clone(), own, seed, start),
        }
    };
    (0..).zip(records).map(engine).collect()
}

pub(super) fn member(setting: &Setting, network: &mut Network, number: u32, node: Node) -> Member {
    let of_node = setting.nodes[number as usize];
    let goodput = setting.paths.goodput;
    let links = NodeLinks {
        up: network.add_link(of_node.link.up * goodput),
        down: network.add_link(of_node.link.down * goodput),
        cpu: setting.costs.cpu_bytes_per_s.map(|rate| network.add_link(rate)),
        disk: setting.costs.disk_bytes_per_s.map(|rate| network.add_link(rate)),
    };
    Member {
        node,
        is_up: true,
        is_corrupt: false,
        is_mute: false,
        is_disk_full: false,
        paused: None,
        held_back: Vec::new(),
        life: 0,
        denied: None,
        link: of_node.link,
        written: Vec::new(),
        zone: of_node.zone,
        links,
        random: Stream::new(setting.seed, &format!("paths of node {number}")),
        wake_at: Nanos::NEVER,
        wake_planned: Nanos::NEVER,
        is_watched: false,
        knows_upstream: false,
        pairs: Vec::new(),
        transfers: Vec::new(),
        uploads: Vec::new(),
        fetches: Vec::new(),
        stored: Vec::new(),
        counters: Counters::default(),
    }
}

pub(super) fn address(node: u32) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::from(FIRST_ADDRESS + node), PORT))
}

pub(super) fn record(setting: &Setting, node: u32) -> MemberRecord {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&setting.seed.to_be_bytes());
    key[8..12].copy_from_slice(&node.to_be_bytes());
    let zone = setting.nodes[node as usize].zone;
    MemberRecord {
        public_key: PublicKey(key),
        generation: Generation(1),
        incarnation: Incarnation(0),
        address: address(node),
        zone: if setting.zones.is_empty() { String::new() } else { format!("zone-{zone}") },
        version: u16::from(PROTOCOL_VERSION),
        upload_bytes_per_s: 0,
    }
}
