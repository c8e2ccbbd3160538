//! Every parameter of the core, with its default and how to choose it.

use std::time::Duration;

/// Parameters of a node. The defaults suit a LAN; their evidence is in `docs/tuning.md`.
#[derive(Clone, Debug, Default)]
pub struct CoreConfig {
    /// Membership.
    pub membership: MembershipConfig,
}

/// Parameters of SWIM and Lifeguard. Names follow the papers.
#[derive(Clone, Debug)]
pub struct MembershipConfig {
    /// Time between two probes (protocol period). Shorter finds failures sooner and costs a packet each.
    pub probe_interval: Duration,
}

impl Default for MembershipConfig {
    fn default() -> Self {
        Self { probe_interval: Duration::from_secs(1) }
    }
}
