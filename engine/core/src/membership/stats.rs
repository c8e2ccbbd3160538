//! What membership counts, for metrics and for tests.

use super::member::Health;

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It answers, as far as is known.
    Alive,
    /// It is suspected, and still counts as alive.
    Suspect,
    /// It is believed dead, and is remembered.
    Dead,
    /// It departed, and is remembered.
    Left,
}

impl From<&Health> for State {
    fn from(health: &Health) -> Self {
        match health {
            Health::Alive => Self::Alive,
            Health::Suspect(_) => Self::Suspect,
            Health::Dead { .. } => Self::Dead,
            Health::Left { .. } => Self::Left,
        }
    }
}

/// Counters since the start, and gauges of the present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembershipStats {
    /// Gauge: members that count as alive, this node included.
    pub alive: usize,
    /// Gauge: dead and departed members that are remembered.
    pub remembered: usize,
    /// Gauge: news that wait for gossip.
    pub queued_updates: usize,
    /// Gauge: this node's local health; 0 is good.
    pub local_health: u32,
    /// Datagrams handed to the driver.
    pub packets_sent: u64,
    /// Datagrams taken from the driver.
    pub packets_received: u64,
    /// Probes begun.
    pub probes: u64,
    /// Probes that got no answer of any kind.
    pub probes_failed: u64,
    /// Probes that only the control stream answered: datagrams are lost between this node and others.
    pub probes_answered_reliably_only: u64,
    /// Suspicions that this node raised by its own probes.
    pub accusations: u64,
    /// Times that this node refuted a suspicion or its death.
    pub refutations: u64,
    /// Times that another seemed to use this node's identity, and this node raised its generation against it.
    pub identity_conflicts: u64,
    /// Times that two members that count as alive claimed one address, or one word of a member had two contents.
    pub record_conflicts: u64,
    /// Records that could not be used, and messages that contradict themselves.
    pub malformed: u64,
    /// Members that were refused because the table was full.
    pub members_refused: u64,
    /// News that were dropped because the queue was full.
    pub updates_dropped: u64,
    /// Pings for others that were refused because there were too many.
    pub relays_refused: u64,
    /// Pings that reached this node and were meant for another.
    pub pings_misdirected: u64,
    /// Snapshots begun for joiners.
    pub snapshots_served: u64,
    /// Joiners that were sent to other members.
    pub snapshots_refused: u64,
    /// Exchanges of digests that found a difference.
    pub syncs_with_differences: u64,
    /// Times that this node found that it had not run when it should have.
    pub stalls: u64,
}
