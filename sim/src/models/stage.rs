//! What all models have in common: the scenario's links, transfers over them, and a calendar.
//!
//! A channel carries what one host sends another one after the other, as a connection does: one fluid flow while anything
//! waits in it. Equal calls give equal results; events of one moment come in the order in which they were asked for.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use smallvec::SmallVec;

use crate::{
    network::{FlowId, LINKS_MAX, LinkId, Network},
    run::Options,
    scenario::Scenario,
    time::Nanos,
};

/// Who sends or receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Host {
    /// The registry.
    Upstream,
    /// The one host that a system has besides the nodes, with a link like a node's, outside all zones.
    Outside,
    /// A node.
    Node(u32),
}

/// From whom to whom, and a number that tells channels of one pair apart.
pub(super) type Channel = (Host, Host, u32);

/// Links and calendar of a model whose events are `E`.
#[derive(Debug)]
pub(super) struct Stage<E> {
    pub(super) now: Nanos,
    network: Network,
    upstream: LinkId,
    outside: NodeLinks,
    nodes: Vec<NodeLinks>,
    zones: Vec<NodeLinks>,
    zone_of: Vec<u32>,
    calendar: BTreeMap<(Nanos, u64), E>,
    asked: u64,
    channels: BTreeMap<Channel, Queue<E>>,
    flows: BTreeMap<FlowId, Channel>,
    /// Channels in which nothing waits any more, at this moment.
    idle: Vec<Channel>,
    /// There and back between any two hosts.
    pub(super) round_trip: Duration,
    /// Bytes that the upstream was asked for.
    pub(super) upstream_bytes: u64,
    /// Requests that it answered.
    pub(super) upstream_requests: u64,
    finished: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct NodeLinks {
    up: LinkId,
    down: LinkId,
}

#[derive(Debug)]
struct Queue<E> {
    flow: FlowId,
    /// The first is under way.
    waiting: VecDeque<(u64, E)>,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Step<E> {
    /// Something that was asked for.
    Event(E),
    /// The time up to which the model was to run.
    Alarm,
    /// Nothing, ever.
    Nothing,
}

impl<E> Stage<E> {
    /// The links of a scenario's cluster, with nothing on them. `tolerance` is the relative error of rates.
    pub(super) fn new(scenario: &Scenario, tolerance: f64) -> Self {
        let mut network = Network::new(tolerance);
        let mut both = |link: crate::scenario::Link| NodeLinks {
            up: network.add_link(link.up as f64),
            down: network.add_link(link.down as f64),
        };
        let nodes = (0..scenario.nodes).map(|node| both(scenario.link_of(node))).collect();
        let zones =
            scenario.zones.map_or_else(Vec::new, |zones| (0..zones.count).map(|_| both(zones.uplink)).collect());
        let outside = both(scenario.link);
        Self {
            now: Nanos::ZERO,
            upstream: network.add_link(scenario.upstream.rate as f64),
            network,
            outside,
            nodes,
            zones,
            zone_of: (0..scenario.nodes).map(|node| scenario.zone_of(node)).collect(),
            calendar: BTreeMap::new(),
            asked: 0,
            channels: BTreeMap::new(),
            flows: BTreeMap::new(),
            idle: Vec::new(),
            round_trip: (Options::default().paths.latency + scenario.latency) * 2,
            upstream_bytes: 0,
            upstream_requests: 0,
            finished: Vec::new(),
        }
    }

    /// `event` comes after so long.
    pub(super) fn after(&mut self, time: Duration, event: E) {
        self.calendar.insert((self.now + time, self.asked), event);
        self.asked += 1;
    }

    /// Sends bytes, behind what waits in the channel; `event` comes when they have arrived.
    pub(super) fn send(&mut self, channel: Channel, bytes: u64, event: E) {
        if channel.0 == Host::Upstream {
            self.upstream_bytes += bytes;
        }
        if let Some(queue) = self.channels.get_mut(&channel) {
            if queue.waiting.is_empty() {
                self.network.extend(self.now, queue.flow, bytes as f64);
            }
            queue.waiting.push_back((bytes, event));
            return;
        }
        let path = self.path(channel.0, channel.1);
        let flow = self.network.start(self.now, &path, bytes as f64, f64::INFINITY);
        self.flows.insert(flow, channel);
        self.channels.insert(channel, Queue { flow, waiting: VecDeque::from([(bytes, event)]) });
    }

    /// Forgets what waits in a channel and has not begun to flow, where `is_unwanted`.
    pub(super) fn forget(&mut self, channel: Channel, is_unwanted: impl Fn(&E) -> bool) {
        if let Some(queue) = self.channels.get_mut(&channel) {
            let first = queue.waiting.pop_front();
            queue.waiting.retain(|(_, event)| !is_unwanted(event));
            queue.waiting.extend(first);
            queue.waiting.rotate_right(1.min(queue.waiting.len()));
        }
    }

    /// A node has a blob.
    pub(super) fn finish(&mut self, node: u32, blob: u32) {
        self.finished.push((node, blob));
    }

    /// What nodes have had since the last call.
    pub(super) fn take_finished(&mut self) -> Vec<(u32, u32)> {
        std::mem::take(&mut self.finished)
    }

    /// Moves time to what comes next, but not beyond `until`.
    pub(super) fn step(&mut self, until: Option<Nanos>) -> Step<E> {
        self.end_idle_flows();
        let timer = self.calendar.first_key_value().map(|((at, _), _)| *at);
        let arrival = self.network.next_completion();
        let Some(at) = [timer, arrival, until].into_iter().flatten().min() else { return Step::Nothing };
        self.now = self.now.max(at);
        if timer == Some(at) {
            let (_, event) = self.calendar.pop_first().expect("its first is due");
            return Step::Event(event);
        }
        if arrival == Some(at)
            && let Some(event) = self.arrived()
        {
            return Step::Event(event);
        }
        Step::Alarm
    }

    /// Takes the first of a channel whose bytes have arrived.
    fn arrived(&mut self) -> Option<E> {
        let flow = self.network.pop_completed(self.now)?;
        let channel = *self.flows.get(&flow)?;
        let queue = self.channels.get_mut(&channel)?;
        let (_, event) = queue.waiting.pop_front()?;
        match queue.waiting.front() {
            Some((bytes, _)) => self.network.extend(self.now, flow, *bytes as f64),
            // Whoever hears of it may send more at once.
            None => self.idle.push(channel),
        }
        Some(event)
    }

    fn end_idle_flows(&mut self) {
        for channel in std::mem::take(&mut self.idle) {
            if self.channels.get(&channel).is_some_and(|queue| queue.waiting.is_empty())
                && let Some(queue) = self.channels.remove(&channel)
            {
                self.network.stop(self.now, queue.flow);
                self.flows.remove(&queue.flow);
            }
        }
    }

    fn path(&self, from: Host, to: Host) -> SmallVec<[LinkId; LINKS_MAX]> {
        let mut path = SmallVec::new();
        let (source, target) = (self.zone(from), self.zone(to));
        path.push(match from {
            Host::Upstream => self.upstream,
            Host::Outside => self.outside.up,
            Host::Node(node) => self.nodes[node as usize].up,
        });
        if source != target {
            path.extend(source.map(|zone| self.zones[zone].up));
            path.extend(target.map(|zone| self.zones[zone].down));
        }
        match to {
            Host::Upstream => {}
            Host::Outside => path.push(self.outside.down),
            Host::Node(node) => path.push(self.nodes[node as usize].down),
        }
        path
    }

    /// The zone of a host; none where it is in none.
    pub(super) fn zone(&self, host: Host) -> Option<usize> {
        match host {
            Host::Node(node) if !self.zones.is_empty() => Some(self.zone_of[node as usize] as usize),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Link, Overrides, by_name};

    fn stage(name: &str) -> Stage<&'static str> {
        let overrides = Overrides { nodes: Some(4), link: Some(Link { up: 1000, down: 1000 }), ..Overrides::default() };
        Stage::new(&Scenario::parse_with(by_name(name).unwrap(), name, &overrides).unwrap(), 0.0)
    }

    /// All events with their seconds, rounded to hundredths.
    fn play(stage: &mut Stage<&'static str>) -> Vec<(String, &'static str)> {
        let mut events = Vec::new();
        while let Step::Event(event) = stage.step(None) {
            events.push((format!("{:.2}", stage.now.seconds()), event));
        }
        events
    }

    fn was(at: &str, event: &'static str) -> (String, &'static str) {
        (at.to_owned(), event)
    }

    #[test]
    fn a_channel_sends_in_order_and_channels_share_links() {
        let mut stage = stage("cold-start");
        let channel = (Host::Node(0), Host::Node(1), 0);
        stage.send(channel, 1000, "first");
        stage.send(channel, 500, "dropped");
        stage.send(channel, 1000, "second");
        stage.send((Host::Node(0), Host::Node(2), 0), 1500, "other");
        stage.after(Duration::from_millis(500), "timer");
        stage.forget(channel, |event| *event == "dropped");
        // At 500 B/s each until 3 s, when 500 of "second" are left, then alone.
        let wanted = [was("0.50", "timer"), was("2.00", "first"), was("3.00", "other"), was("3.50", "second")];
        assert_eq!(play(&mut stage), wanted);
        stage.send(channel, 1000, "again");
        assert_eq!(play(&mut stage), [was("4.50", "again")]);
    }

    #[test]
    fn what_crosses_zones_crosses_their_uplinks() {
        let mut stage = stage("zones");
        let uplink = stage.network.rate_of_link(stage.zones[0].up);
        stage.network.set_rate(Nanos::ZERO, stage.zones[0].up, uplink / 1e3);
        stage.send((Host::Node(0), Host::Node(3), 0), 1000, "across");
        stage.send((Host::Upstream, Host::Node(1), 0), 1000, "in");
        let Step::Event(first) = stage.step(None) else { panic!("both arrive") };
        assert_eq!((first, stage.upstream_bytes), ("in", 1000));
        let Step::Event(_) = stage.step(None) else { panic!("both arrive") };
        assert!(stage.now.seconds() > 100.0, "{:?}", stage.now);
        assert_eq!((stage.zone(Host::Node(3)), stage.zone(Host::Outside)), (Some(3), None));
    }

    #[test]
    fn time_does_not_pass_an_alarm() {
        let mut stage = stage("cold-start");
        stage.after(Duration::from_secs(5), "timer");
        assert!(matches!(stage.step(Some(Nanos(7))), Step::Alarm) && stage.now == Nanos(7));
        assert_eq!(play(&mut stage).len(), 1);
        assert!(matches!(stage.step(None), Step::Nothing));
    }
}
