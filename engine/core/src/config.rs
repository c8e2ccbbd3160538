//! Every parameter of the core, with its default and how to choose it.

mod directory;
mod injection;
mod swarm;

use std::time::Duration;

pub use self::{directory::DirectoryConfig, injection::InjectionConfig, swarm::SwarmConfig};

/// Parameters of a node. The defaults suit a LAN; their evidence is in `docs/tuning.md`.
#[derive(Clone, Debug, Default)]
pub struct CoreConfig {
    /// Membership.
    pub membership: MembershipConfig,
    /// Names and homes.
    pub directory: DirectoryConfig,
    /// Leases of upstream runs.
    pub injection: InjectionConfig,
    /// Exchange of pieces.
    pub swarm: SwarmConfig,
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
