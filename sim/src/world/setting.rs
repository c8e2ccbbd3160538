//! What a simulated world is like. Rates are bytes of payload per second.

use std::time::Duration;

use shoal_core::config::CoreConfig;

/// Everything that a world is made from.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The nodes, in order of their numbers.
    pub nodes: Vec<NodeSetting>,
    /// Uplinks of the zones; empty where all nodes are behind one switch.
    pub zones: Vec<LinkSetting>,
    /// The registry.
    pub upstream: UpstreamSetting,
    /// What lies between nodes besides their links.
    pub paths: PathSetting,
    /// What nodes do with bytes besides moving them.
    pub costs: CostSetting,
    /// Parameters of each node's engine.
    pub core: CoreConfig,
    /// Relative error of rates, 0.0 to 0.1, see [`crate::network::Network::new`].
    pub tolerance: f64,
    /// Decides everything that is drawn.
    pub seed: u64,
}

impl Setting {
    /// Equal nodes behind one switch, with an upstream that sends as fast as one of them.
    pub fn equal(nodes: u32, bytes_per_s: f64, seed: u64) -> Self {
        let link = LinkSetting { up: bytes_per_s, down: bytes_per_s };
        Self {
            nodes: (0..nodes).map(|_| NodeSetting { link, zone: 0 }).collect(),
            zones: Vec::new(),
            upstream: UpstreamSetting { bytes_per_s, ..UpstreamSetting::default() },
            paths: PathSetting::default(),
            costs: CostSetting::default(),
            core: CoreConfig::default(),
            tolerance: 0.01,
            seed,
        }
    }
}

/// Rates of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkSetting {
    /// Away from the node or zone.
    pub up: f64,
    /// Towards it.
    pub down: f64,
}

/// One node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeSetting {
    /// Its link.
    pub link: LinkSetting,
    /// Number of its zone; of no meaning without zones.
    pub zone: u32,
}

/// The registry, outside all zones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpstreamSetting {
    /// What it sends in all.
    pub bytes_per_s: f64,
    /// What it sends on one connection at most, if it limits that.
    pub connection_bytes_per_s: Option<f64>,
    /// Connections that it sends on at once; others wait for their turn.
    pub connections_max: Option<u32>,
    /// Whether it serves ranges.
    pub ranges: bool,
    /// From a request to the first byte of its answer, round trip aside.
    pub answer_time: Duration,
}

impl Default for UpstreamSetting {
    fn default() -> Self {
        Self {
            bytes_per_s: 12.5e6,
            connection_bytes_per_s: None,
            connections_max: None,
            ranges: true,
            answer_time: Duration::from_millis(2),
        }
    }
}

/// Latency, queues and losses of all paths, and what transport makes of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathSetting {
    /// One way.
    pub latency: Duration,
    /// Added to it, between nothing and this, drawn for each message.
    pub jitter: Duration,
    /// What a message waits at each full link at most; what it does wait is drawn, and changes several times a second.
    pub queue: Duration,
    /// Bytes that wait at a full link at most, if that is less: fast ports have small buffers.
    pub queue_bytes: f64,
    /// Share of packets that are lost, 0.0 to below 1.0: gossip is gone, control messages come a round trip later.
    pub loss: f64,
    /// Share of each link's rate that payload gets, above 0.0 to 1.0.
    pub goodput: f64,
    /// Round trips until a new connection carries messages.
    pub handshake_round_trips: u32,
    /// Bytes that a new connection sends in its first round trip; twice as many in each further one.
    pub initial_window: f64,
    /// A connection that sent nothing for this long begins again with half of its window.
    pub idle_window: Duration,
    /// Time without a word from a host after which a connection to it is lost.
    pub idle_timeout: Duration,
    /// Time after which an attempt to connect to a host that is gone fails.
    pub dial_timeout: Duration,
}

impl Default for PathSetting {
    /// A LAN with shapers that hold 50 ms, ports that hold 1 MiB, and the transport's own times as the runtime has them.
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(150),
            jitter: Duration::from_micros(100),
            queue: Duration::from_millis(50),
            queue_bytes: 1_048_576.0,
            loss: 0.0,
            goodput: 1.0,
            handshake_round_trips: 1,
            initial_window: 14_720.0,
            idle_window: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(3),
        }
    }
}

/// Processor and disk of each node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostSetting {
    /// From a piece's last byte to its being stored, whatever its size.
    pub verify_time: Duration,
    /// Bytes per second that are verified and written.
    pub verify_bytes_per_s: f64,
    /// Bytes per second of the digest of the whole, which runs along the prefix.
    pub digest_bytes_per_s: f64,
    /// Bytes of recently stored pieces that a node serves from memory, where a damaged disk does not reach them, until the
    /// blob is complete.
    pub memory_bytes: u64,
    /// Bytes per second that a node's processor moves, in and out together, if that is to count.
    pub cpu_bytes_per_s: Option<f64>,
    /// Bytes per second that a node's disk takes, if that is to count.
    pub disk_bytes_per_s: Option<f64>,
    /// Share of transfers whose bytes never come, 0.0 to 1.0: a peer that hangs.
    pub hanging: f64,
}

impl Default for CostSetting {
    fn default() -> Self {
        Self {
            verify_time: Duration::from_micros(200),
            verify_bytes_per_s: 1e9,
            digest_bytes_per_s: 2e9,
            memory_bytes: 80 << 20,
            cpu_bytes_per_s: None,
            disk_bytes_per_s: None,
            hanging: 0.0,
        }
    }
}
