//! What has crossed the links, as the shapers count it: frames with their headers, after segmentation. (Interfaces count a
//! packet that is segmented later with one header.)
//!
//! A socket of the kernel's rtnetlink in each namespace answers without a process being started; see rtnetlink(7).

use std::{io, sync::Mutex};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcMessage},
};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use super::{
    error::NetworkError,
    links::{HOST_SHAPER, port_shaper, zone_shapers},
    names::Names,
    namespace::inside,
    plan::{Host, NetworkPlan},
};

/// Most that the kernel puts into one part of an answer.
const PART_BYTES: usize = 64 * 1024;

/// What has crossed a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkTraffic {
    /// Bytes of frames away from the host or out of the zone.
    pub up_bytes: u64,
    /// Bytes of frames towards the host or into the zone.
    pub down_bytes: u64,
    /// Packets that found either queue full.
    pub dropped: u64,
}

/// What has crossed all links since the network was built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// In the order of the plan.
    pub nodes: Vec<LinkTraffic>,
    /// The registry.
    pub upstream: LinkTraffic,
    /// The pull-through cache, where there is that host.
    pub cache: Option<LinkTraffic>,
    /// Uplinks of zones, in the order of the plan.
    pub zones: Vec<LinkTraffic>,
    /// Frames that the relay could not keep or deliver; 0 without latency.
    pub relay_dropped_frames: u64,
}

/// Sockets in all namespaces: first that of the switches, then those of the hosts in the order of the plan.
#[derive(Default)]
pub(super) struct Counters {
    /// An answer belongs to the last request, so one asks at a time.
    sockets: Mutex<Vec<Socket>>,
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Counters")
    }
}

/// One shaper's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shaper {
    handle: u16,
    bytes: u64,
    dropped: u64,
}

impl Counters {
    /// Opens the sockets.
    pub(super) fn open(names: &Names, plan: &NetworkPlan) -> Result<Self, NetworkError> {
        let hosts = plan.hosts().map(|host| names.file(host));
        let files = [names.switch_file()].into_iter().chain(hosts);
        let sockets = files.map(|file| inside(&file, || Socket::new(NETLINK_ROUTE))).collect::<Result<_, _>>()?;
        Ok(Self { sockets: Mutex::new(sockets) })
    }

    /// Reads all counters.
    pub(super) fn read(&self, plan: &NetworkPlan) -> Result<Traffic, NetworkError> {
        let sockets = self.sockets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let error = || NetworkError::system("read the counters of the shapers");
        let Some((switch, hosts)) = sockets.split_first() else { return Ok(Traffic::default()) };
        let at_switch = shapers(switch).map_err(error())?;
        let mut traffic = Traffic::default();
        for (index, (host, socket)) in plan.hosts().zip(hosts).enumerate() {
            let up = find(&shapers(socket).map_err(error())?, HOST_SHAPER);
            let link = link_traffic(up, find(&at_switch, port_shaper(index)));
            match host {
                Host::Node(_) => traffic.nodes.push(link),
                Host::Upstream => traffic.upstream = link,
                Host::Cache => traffic.cache = Some(link),
            }
        }
        for zone in 0..plan.zone_uplinks.len() {
            let (leaving, entering) = zone_shapers(zone);
            traffic.zones.push(link_traffic(find(&at_switch, leaving), find(&at_switch, entering)));
        }
        Ok(traffic)
    }
}

fn link_traffic(up: Shaper, down: Shaper) -> LinkTraffic {
    LinkTraffic { up_bytes: up.bytes, down_bytes: down.bytes, dropped: up.dropped + down.dropped }
}

fn find(shapers: &[Shaper], handle: u16) -> Shaper {
    shapers.iter().find(|shaper| shaper.handle == handle).copied().unwrap_or_default()
}

/// Asks for all queueing disciplines of the socket's namespace.
fn shapers(socket: &Socket) -> io::Result<Vec<Shaper>> {
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()));
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut found = Vec::new();
    let mut part = Vec::with_capacity(PART_BYTES);
    loop {
        part.clear();
        socket.recv(&mut part, 0)?;
        if read_part(&part, &mut found)? {
            return Ok(found);
        }
    }
}

/// Reads one part of an answer. True where it was the last.
fn read_part(mut part: &[u8], found: &mut Vec<Shaper>) -> io::Result<bool> {
    while !part.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(part).map_err(io::Error::other)?;
        // Each message begins at a multiple of four bytes.
        let length = (message.header.length as usize).next_multiple_of(4).max(4);
        part = part.get(length..).unwrap_or_default();
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewQueueDiscipline(shaper)) => {
                found.extend(counted(&shaper));
            }
            _ => {}
        }
    }
    Ok(false)
}

fn counted(message: &TcMessage) -> Option<Shaper> {
    message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Stats(stats) => {
            Some(Shaper { handle: message.header.handle.major, bytes: stats.bytes, dropped: u64::from(stats.drops) })
        }
        _ => None,
    })
}
