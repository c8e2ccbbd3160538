//! A scenario: the cluster, its links, what is pulled when, and the faults. Plain values; reading a file is in `file`
//! and `check`, writing one in `text`, what follows from the values in `plan` and `bound`.
//!
//! Rates count payload bytes: what a stream of full frames carries, not the frames' headers.

mod bound;
mod check;
mod duration;
mod error;
mod file;
mod plan;
mod shipped;
mod text;

use std::time::Duration;

pub use bound::Bounds;
pub use duration::{DurationError, parse_duration};
pub use error::ScenarioError;
pub use plan::{Start, Wave};
pub use shipped::{by_name, shipped};

/// Everything that a run needs to know. Made by parsing a file, so that all values are in their ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Name, as in `shoal-lab run NAME`: lower-case letters, digits and `-`, at most 63 bytes.
    pub name: String,
    /// One sentence for people.
    pub about: String,
    /// Number of nodes that pull, 1 to 100,000.
    pub nodes: u32,
    /// Link of each node, where `slow_nodes` says nothing else.
    pub link: Link,
    /// The registry.
    pub upstream: Upstream,
    /// Nodes in zones, or all behind one switch.
    pub zones: Option<Zones>,
    /// One-way delay between any two nodes, and to the upstream; 0 to 1 s.
    pub latency: Duration,
    /// What each node pulls.
    pub content: Content,
    /// When the nodes begin.
    pub arrival: Arrival,
    /// Share of the nodes, the first ones, that have the content before the clock starts; 0.0 to below 1.0. They do
    /// not count as pulls.
    pub warm_share: f64,
    /// Nodes with another link than the rest.
    pub slow_nodes: Option<SlowNodes>,
    /// What goes wrong, in the order of the file.
    pub faults: Vec<Fault>,
    /// Decides what is drawn: bytes of the content, order of staggered arrivals.
    pub seed: u64,
}

/// Rates of a link, in bytes per second, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Away from the node.
    pub up: u64,
    /// Towards the node.
    pub down: u64,
}

/// The registry and its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Bytes per second that it sends.
    pub rate: u64,
    /// Whether it serves ranges.
    pub ranges: bool,
}

/// Equal zones; node `i` of `N` (from 0) is in zone `i * count / N`. The upstream is outside all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zones {
    /// Number of zones, 1 to 1,000, not above the number of nodes.
    pub count: u32,
    /// What leaves and what enters each zone.
    pub uplink: Link,
}

/// What each node pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// One blob of so many bytes, by its digest.
    Blob(u64),
    /// An image: its layers' sizes in bytes, pulled three at a time after the manifest.
    Image(Vec<u64>),
}

impl Content {
    /// Bytes of all blobs.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Blob(bytes) => *bytes,
            Self::Image(layers) => layers.iter().sum(),
        }
    }
}

/// When the nodes begin to pull.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    /// All at once.
    Together,
    /// One after the other, evenly over so much time, in an order drawn from the seed.
    Staggered {
        /// From the first to the last.
        over: Duration,
    },
    /// So large a share at a time; the next begin when those before have finished.
    Rolling {
        /// 0.001 to 1.0; rounded up to whole nodes.
        share: f64,
    },
}

/// The last `count` nodes have another link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowNodes {
    /// At least 1, below the number of nodes.
    pub count: u32,
    /// Their link.
    pub link: Link,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// When: the share of all bytes that the pulling nodes have received together, 0.0 to 1.0.
    pub at: f64,
    /// What happens.
    pub what: FaultKind,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A node's process ends without a word (SIGKILL). It is not counted as a pull that failed.
    KillNode {
        /// Its number, from 0.
        node: u32,
    },
    /// The first home of the largest blob ends in the same way.
    KillHome,
    /// The upstream ends.
    KillUpstream,
    /// A node's link changes.
    SlowNode {
        /// Its number, from 0.
        node: u32,
        /// From now on.
        link: Link,
    },
    /// A node flips bits in the pieces it serves, from the start; `at` is 0.0.
    CorruptNode {
        /// Its number, from 0.
        node: u32,
    },
}

/// Values that replace those of a file before anything is checked, so that they meet the same rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Number of nodes.
    pub nodes: Option<u32>,
    /// Bytes of all blobs; the layers of an image keep their proportions.
    pub size: Option<u64>,
    /// An image of layers of so many bytes, in place of the content.
    pub layers: Option<Vec<u64>>,
    /// Link of each node, and what the file states as a multiple of it.
    pub link: Option<Link>,
    /// Bytes per second that the upstream sends.
    pub upstream: Option<u64>,
    /// One-way delay.
    pub latency: Option<Duration>,
    /// Share of the nodes that have the content already.
    pub warm_share: Option<f64>,
    /// The seed.
    pub seed: Option<u64>,
}

#[cfg(test)]
mod tests_support {
    use super::Scenario;

    pub(super) fn cold_start() -> Scenario {
        Scenario::parse(include_str!("../../scenarios/cold-start.toml"), "cold-start.toml").unwrap()
    }
}
