//! What happens in a check, all of it: a cluster, its pulls, and its faults. A plan is a value: it can be compared, written
//! to a file, and made smaller.

use serde::{Deserialize, Serialize};
use shoal_wire::{control::UpstreamFailure, geometry::Geometry};
use thiserror::Error;

/// Most nodes of a plan, and most of what else it lists.
const NODES_MAX: usize = 1000;
const LIST_MAX: usize = 10_000;
/// Latest time in a plan, an hour.
const TIME_MS_MAX: u64 = 3_600_000;

/// A check. Times are milliseconds of virtual time since the cluster has formed, rates are bytes per second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What it is about, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Decides everything that is drawn while it runs.
    pub seed: u64,
    /// One way between any two hosts, in microseconds.
    pub latency_us: u64,
    /// Added to it, between nothing and this.
    pub jitter_us: u64,
    /// Packets that are lost, of a thousand.
    pub loss_permille: u32,
    /// Whether the first blob is asked for by a tag, and not by its digest.
    pub by_tag: bool,
    /// Rate of each zone's uplink, in both directions; none where all nodes are behind one switch.
    pub zone_uplinks: Vec<u64>,
    /// Sizes of the blobs, in bytes.
    pub blobs: Vec<u64>,
    /// The registry.
    pub upstream: UpstreamPlan,
    /// The nodes.
    pub nodes: Vec<NodePlan>,
    /// Who reads what.
    #[serde(default)]
    pub pulls: Vec<Pull>,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// The registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamPlan {
    /// What it sends in all.
    pub bytes_per_s: u64,
    /// Whether it serves ranges.
    pub ranges: bool,
    /// Connections that it sends on at once, where it limits them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<u32>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePlan {
    /// Rate away from it.
    pub up: u64,
    /// Rate towards it.
    pub down: u64,
    /// Number of its zone; of no meaning without zones.
    pub zone: u32,
    /// When it begins; 0 where it is there from the start.
    pub starts_ms: u64,
    /// Whether it has all blobs from the start.
    pub is_warm: bool,
}

/// A reader, which tries again until it has all of its blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pull {
    /// When it begins.
    pub at_ms: u64,
    /// Where.
    pub node: u32,
    /// Which blob.
    pub blob: u32,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When.
    pub at_ms: u64,
    /// For how long; 0 is until everything heals, and for ever where it is a crash or a departure.
    pub for_ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum FaultKind {
    /// A process ends without a word, and begins again afterwards.
    Crash {
        /// Whose.
        node: u32,
        /// Whether it finds its complete blobs again.
        keeps_spool: bool,
    },
    /// A process says good-bye and ends, and begins again afterwards.
    Leave {
        /// Whose.
        node: u32,
        /// Whether it finds its complete blobs again.
        keeps_spool: bool,
    },
    /// A process stops, and goes on afterwards without knowing.
    Pause {
        /// Whose.
        node: u32,
    },
    /// Nothing gets from some nodes to the others.
    Partition {
        /// The ones.
        group: Vec<u32>,
        /// In which direction.
        way: Way,
    },
    /// A node's link is slower.
    Slow {
        /// Whose.
        node: u32,
        /// So many times.
        divisor: u32,
    },
    /// A node damages what it serves from its disk, for ever.
    Corrupt {
        /// Which.
        node: u32,
    },
    /// A node answers all messages and takes all requests, and sends no piece, for ever.
    Mute {
        /// Which.
        node: u32,
    },
    /// More packets are lost everywhere.
    Loss {
        /// Of a thousand.
        permille: u32,
    },
    /// Transfers hang.
    Hang {
        /// Of a thousand.
        permille: u32,
    },
    /// Nothing can be written at a node.
    DiskFull {
        /// Where.
        node: u32,
    },
    /// A node drops a blob that it holds.
    Evict {
        /// Where.
        node: u32,
        /// Which.
        blob: u32,
    },
    /// A reader goes away, and comes back afterwards.
    StopReading {
        /// Where.
        node: u32,
        /// Which blob.
        blob: u32,
    },
    /// The upstream refuses connections.
    UpstreamDown,
    /// The upstream answers with an error.
    UpstreamRefuses {
        /// Which.
        refusal: Refusal,
    },
    /// The upstream takes requests and sends nothing.
    UpstreamStalls,
    /// The upstream sends bytes that are not the blob's.
    UpstreamLies,
    /// The upstream ignores ranges.
    UpstreamIgnoresRanges,
    /// The upstream does not let one node.
    Denied {
        /// Which.
        node: u32,
    },
}

/// Directions of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Both.
    Both,
    /// Away from the group.
    Out,
    /// Towards the group.
    In,
}

/// Errors of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// 401 or 403.
    Denied,
    /// 404.
    NotFound,
    /// 429, to be tried again after a second.
    RateLimited,
    /// 5xx.
    Unavailable,
}

impl From<Refusal> for UpstreamFailure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied => Self::Denied,
            Refusal::NotFound => Self::NotFound,
            Refusal::RateLimited => Self::RateLimited { retry_after_s: 1 },
            Refusal::Unavailable => Self::Unavailable,
        }
    }
}

/// Why a text is not a plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Not TOML, or keys or values that a plan does not have.
    #[error("{0}")]
    Form(String),
    /// A value that cannot be.
    #[error("{0}")]
    Value(String),
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// The text is none, or something in it cannot be.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let plan: Self = toml::from_str(text).map_err(|error| PlanError::Form(error.to_string()))?;
        plan.validate()?;
        Ok(plan)
    }

    /// The plan as a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a plan has no values that TOML cannot write: numbers are below 2^63")
    }

    fn validate(&self) -> Result<(), PlanError> {
        let wrong = |what: String| Err(PlanError::Value(what));
        let (nodes, blobs) = (self.nodes.len(), self.blobs.len());
        if !(1..=NODES_MAX).contains(&nodes) {
            return wrong(format!("{nodes} nodes; 1 to {NODES_MAX} are allowed"));
        }
        if blobs > LIST_MAX || self.pulls.len() > LIST_MAX || self.faults.len() > LIST_MAX {
            return wrong(format!("more than {LIST_MAX} blobs, pulls or faults"));
        }
        if let Some(size) = self.blobs.iter().find(|size| Geometry::of(**size).is_err()) {
            return wrong(format!("a blob of {size} bytes is too large"));
        }
        let rates = self.nodes.iter().flat_map(|node| [node.up, node.down]).chain(self.zone_uplinks.iter().copied());
        if rates.chain([self.upstream.bytes_per_s]).any(|rate| rate == 0) {
            return wrong("a rate of 0; the least is 1 byte per second".into());
        }
        let zones = self.zone_uplinks.len();
        if self.nodes.iter().any(|node| zones > 0 && node.zone as usize >= zones) {
            return wrong(format!("a node in a zone that is not there; there are {zones}"));
        }
        let times = self.faults.iter().flat_map(|fault| [fault.at_ms, fault.for_ms]);
        let times = times.chain(self.pulls.iter().map(|pull| pull.at_ms));
        if times.chain(self.nodes.iter().map(|node| node.starts_ms)).any(|at| at > TIME_MS_MAX) {
            return wrong(format!("a time beyond {TIME_MS_MAX} ms"));
        }
        if self.latency_us > 10_000_000 || self.jitter_us > 10_000_000 || self.loss_permille > 900 {
            return wrong("latency and jitter are at most 10 s, losses at most 900 of 1000".into());
        }
        let named = self.pulls.iter().map(|pull| (Some(pull.node), Some(pull.blob)));
        let named = named.chain(self.faults.iter().flat_map(|fault| fault.what.names()));
        for (node, blob) in named {
            if node.is_some_and(|node| node as usize >= nodes) || blob.is_some_and(|blob| blob as usize >= blobs) {
                return wrong(format!("there are {nodes} nodes and {blobs} blobs, numbered from 0"));
            }
        }
        Ok(())
    }
}

impl Fault {
    /// Whether a process ends for ever.
    pub(super) fn is_final(&self) -> bool {
        self.for_ms == 0 && matches!(self.what, FaultKind::Crash { .. } | FaultKind::Leave { .. })
    }
}

impl FaultKind {
    /// Nodes and blobs that it names.
    pub(super) fn names(&self) -> Vec<(Option<u32>, Option<u32>)> {
        match self {
            Self::Crash { node, .. }
            | Self::Leave { node, .. }
            | Self::Pause { node }
            | Self::Slow { node, .. }
            | Self::Corrupt { node }
            | Self::Mute { node }
            | Self::DiskFull { node }
            | Self::Denied { node } => vec![(Some(*node), None)],
            Self::Evict { node, blob } | Self::StopReading { node, blob } => vec![(Some(*node), Some(*blob))],
            Self::Partition { group, .. } => group.iter().map(|node| (Some(*node), None)).collect(),
            Self::Loss { .. }
            | Self::Hang { .. }
            | Self::UpstreamDown
            | Self::UpstreamRefuses { .. }
            | Self::UpstreamStalls
            | Self::UpstreamLies
            | Self::UpstreamIgnoresRanges => Vec::new(),
        }
    }
}
