//! Every parameter of the core, with its default and how to choose it.

mod directory;
mod injection;
mod swarm;

use std::time::Duration;

pub(crate) use self::swarm::STRETCH_MAX;
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
///
/// All nodes of a cluster should use the same values: a node that suspects faster than others are able to refute
/// disturbs them all. At the defaults the crash of one of 200 nodes is known to all in about 10 s.
#[derive(Clone, Debug)]
pub struct MembershipConfig {
    /// Time between two probes (protocol period). Shorter finds failures sooner and costs a packet each. At least
    /// twice `probe_timeout`.
    pub probe_interval: Duration,
    /// How long a direct ping may take before others are asked to try. Well above the slowest round trip of the
    /// cluster, and well below `probe_interval`, for the indirect probe needs the rest of the interval.
    pub probe_timeout: Duration,
    /// Members that are asked to ping one that did not answer (SWIM's k). Each costs four packets; more help only
    /// where single paths fail.
    pub indirect_probes: usize,
    /// Shortest time from suspicion to death, in units of log10(members) probe intervals (Lifeguard's alpha). Smaller
    /// finds crashes sooner and leaves a slow member less time to refute; 4 is usual, the reliable probe
    /// makes 3 safe.
    pub suspicion_mult: f64,
    /// Longest time from suspicion to death, as a multiple of the shortest (Lifeguard's beta): what a suspicion that
    /// nobody else confirms gets.
    pub suspicion_max_mult: f64,
    /// Independent confirmations that bring a suspicion's time down to the shortest (Lifeguard's K). More protect
    /// better from accusers that are themselves sick, and delay the detection by about a probe interval each.
    pub suspicion_confirmations: usize,
    /// Local health is a number from 0 to one below this; probe interval and timeout are multiplied by one more than
    /// it. So a node in the worst of health probes this many times more slowly.
    pub awareness_max: u32,
    /// Time between two rounds of gossip while there is news. Shorter spreads faster and costs packets.
    pub gossip_interval: Duration,
    /// Members that each round of gossip reaches. 3 reach 10,000 members in 2 s.
    pub gossip_fanout: usize,
    /// Packets of one round while the news do not fit into fewer; at least `gossip_fanout`. Bounds the bandwidth of
    /// gossip: 16 packets a round are at most 112 kB/s.
    pub gossip_packets_max: usize,
    /// Each piece of news is sent this often times ceil(log10(members + 1)). 3 reach all of 100,000 members at 5 %
    /// loss; the exchange of digests repairs the rest.
    pub retransmit_mult: u32,
    /// Each piece of news is sent at least this often. A piece that each member sends R times misses a given member
    /// with probability exp(-R): 12 leave one in 160,000, where the formula alone would leave one in 400 at up to 99
    /// members, and a refutation that misses a member there lets it declare a death.
    pub retransmit_min: u32,
    /// Time between two exchanges of digests with a random member, at up to 32 members; grows with their logarithm. Where
    /// it is above 30 s there is another one a few seconds after members came or went.
    pub sync_interval: Duration,
    /// Time between two attempts to reach a dead member, made with probability dead / alive each. Shorter heals a
    /// partition sooner.
    pub reconnect_interval: Duration,
    /// Time between two introductions to a seed that is not known to be alive. Heals partitions for which all the
    /// other side's members have been forgotten.
    pub seed_interval: Duration,
    /// First wait before a seed that did not answer is tried again; doubles up to `seed_retry_max`.
    pub seed_retry_min: Duration,
    /// Longest wait before a seed that did not answer is tried again.
    pub seed_retry_max: Duration,
    /// How long a snapshot's page may take before another member is asked.
    pub snapshot_timeout: Duration,
    /// How long dead and departed members are remembered. Their keys verify pieces that they vouched for: at least as
    /// long as the longest pull.
    pub remember: Duration,
    /// A node whose timer fires later than this was stalled: it gives others as much more time, and takes the delay
    /// as a sign of its own bad health. Well above the jitter of the driver's timers.
    pub stall_threshold: Duration,
    /// Members that count as alive; more are refused. Each takes about 50 bytes, and its record 130.
    pub members_max: usize,
    /// Dead and departed members that are remembered; the oldest go first.
    pub remembered_max: usize,
    /// News that wait for gossip; those sent most often go first.
    pub queue_max: usize,
    /// Indirect pings that this node is making for others; more are refused with a nack.
    pub relays_max: usize,
    /// Seed addresses; more are ignored.
    pub seeds_max: usize,
    /// Snapshots that are being served at once; further joiners are sent to other members.
    pub snapshots_max: usize,
}

impl Default for MembershipConfig {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_probes: 3,
            suspicion_mult: 3.0,
            suspicion_max_mult: 6.0,
            suspicion_confirmations: 2,
            awareness_max: 8,
            gossip_interval: Duration::from_millis(200),
            gossip_fanout: 3,
            gossip_packets_max: 16,
            retransmit_mult: 3,
            retransmit_min: 12,
            sync_interval: Duration::from_secs(30),
            reconnect_interval: Duration::from_secs(30),
            seed_interval: Duration::from_mins(1),
            seed_retry_min: Duration::from_secs(1),
            seed_retry_max: Duration::from_secs(30),
            snapshot_timeout: Duration::from_secs(5),
            remember: Duration::from_hours(1),
            stall_threshold: Duration::from_millis(500),
            members_max: 100_000,
            remembered_max: 10_000,
            queue_max: 4096,
            relays_max: 256,
            seeds_max: 64,
            snapshots_max: 32,
        }
    }
}
