//! Models of how other systems move images, in the cluster of a scenario.
//!
//! Each is a small simulation of a policy, written from what its project publishes, over the same links at the same fair
//! rates as a simulated run. None runs its project's code, and what they leave out (the cost of processes and disks, lost
//! messages, time-outs, failures) is in the models' favour. They say how far a policy gets, not how fast a product is.
//! Faults of a scenario are left out, as in [`crate::baseline`]. Equal scenarios give equal outcomes.

mod bits;
mod dragonfly;
mod drive;
mod kraken;
mod spegel;
mod stage;
#[cfg(test)]
mod tests;

use crate::{baseline::BaselineOutcome, scenario::Scenario};

/// A system whose policy is modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Whole blobs from one complete peer.
    Spegel,
    /// A tracker, an origin that stores first, and a swarm that knows of new peers every three seconds.
    Kraken,
    /// A central scheduler, a seed peer, and up to four parents for each peer.
    Dragonfly,
}

impl Model {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Spegel, Self::Kraken, Self::Dragonfly];

    /// The name of the system that is modelled.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spegel => "spegel",
            Self::Kraken => "kraken",
            Self::Dragonfly => "dragonfly",
        }
    }

    /// Runs the scenario's pulls under this policy. Takes a few seconds of computing for thousands of nodes.
    pub fn run(self, scenario: &Scenario) -> BaselineOutcome {
        match self {
            Self::Spegel => drive::drive(scenario, spegel::Spegel::new(scenario)),
            Self::Kraken => drive::drive(scenario, kraken::Kraken::new(scenario)),
            Self::Dragonfly => drive::drive(scenario, dragonfly::Dragonfly::new(scenario)),
        }
    }
}
