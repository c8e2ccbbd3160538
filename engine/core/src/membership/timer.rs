//! Everything that membership waits for.

use shoal_wire::ids::MemberId;

/// What a time stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Judge the probe that runs, and begin the next.
    Probe,
    /// The direct ping was not answered: ask helpers.
    Indirect,
    /// The relayed ping with this number was not answered: nack.
    Relay(u32),
    /// Send gossip.
    Gossip,
    /// The suspect has not refuted.
    Suspicion(MemberId),
    /// The oldest of those who are gone is to be forgotten.
    Forget,
    /// Exchange digests.
    Sync,
    /// See whether members still come and go, and exchange digests if not.
    Calm,
    /// Try to reach a dead member.
    Reconnect,
    /// A seed is due.
    Seeds,
    /// The snapshot's page did not come, or a retry is due.
    Snapshot,
    /// Defend this node's identity.
    Reclaim,
}
