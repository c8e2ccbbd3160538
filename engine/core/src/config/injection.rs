//! Parameters of injection.

use std::time::Duration;

use shoal_wire::control::UpstreamFailure;

/// Parameters of leases, used by the coordinating home of a blob.
#[derive(Clone, Debug)]
pub struct InjectionConfig {
    /// Blobs that a home keeps records of.
    pub blobs_max: usize,
    /// Members that a home keeps for one blob, each with its map of pieces: some hundred bytes, and up to 8 KiB for the
    /// largest blobs. Further ones are introduced to these, and named to nobody.
    pub participants_max: usize,
    /// Leases at work in the whole cluster when a blob starts. One starves the upstream's link, dozens make all pieces
    /// arrive late and together (docs/tuning.md).
    pub leases_start: u32,
    /// Most leases at work for one blob.
    pub leases_max: u32,
    /// The swarm waits for the upstream where wanters lack so few of the pieces that are about, in the mean: what is on its
    /// way to them and what they have not heard of. There the limit returns to what the upstream has shown it can send.
    pub hungry_pieces: u32,
    /// Bytes of a holder's first lease. Small, so that the first pieces are shared early.
    pub run_bytes_start: u64,
    /// Bytes of the largest lease.
    pub run_bytes_max: u64,
    /// Time that a lease should take at its holder's rate. Longer means fewer requests at the upstream.
    pub run_time: Duration,
    /// How long the lease of the first piece may keep others from starting.
    pub opening_max: Duration,
    /// How often a coordinating home looks at its leases.
    pub tick: Duration,
    /// Time between two announcements of a wanter in a small swarm; larger swarms announce less often.
    pub refresh: Duration,
    /// Time between two announcements of a holder.
    pub refresh_held: Duration,
    /// How long a home that takes over listens before it gives out leases.
    pub collect: Duration,
    /// The same where only membership has changed lately, so that another home may have been first a moment ago.
    pub collect_unsettled: Duration,
    /// The same at a node that was told whom to join and has met nobody yet.
    pub collect_joining: Duration,
    /// A lease that its holder does not mention for this long after it was given is lost; for as long as a piece may take
    /// where that is longer.
    pub lease_lost_after: Duration,
    /// A lease whose holder is not heard of for this long is taken back; for as long as a piece may take where that is longer.
    pub lease_silence: Duration,
    /// A lease without a new piece is taken back after eight times what a piece takes, but not before this.
    pub lease_stalled_min: Duration,
    /// The same while no rate is known.
    pub lease_stalled_unknown: Duration,
    /// A lease without a new piece is late after four times what a piece takes, but not before this; late leases do not
    /// count against the limit.
    pub late_min: Duration,
    /// How long a holder whose lease was taken back gets no new one.
    pub slow_bar: Duration,
    /// An idle wanter helps a lease that needs longer than this.
    pub help_after: Duration,
    /// First and longest pause after an upstream failed.
    pub backoff_min: Duration,
    /// Longest pause after an upstream failed.
    pub backoff_max: Duration,
    /// The blob fails after this long without a piece from a failing upstream. Below the 10 s in which a client wants an
    /// answer.
    pub give_up_after: Duration,
    /// The same once there are pieces.
    pub give_up_started: Duration,
    /// The blob fails after this long in which pieces are missing that nobody may fetch.
    pub stuck_patience: Duration,
    /// Time that a member has to answer when somebody could not reach it.
    pub question_patience: Duration,
    /// Time for which a wanter says that it gets nothing from a member, although the member answers, after which others
    /// fetch again what that one has. Longer than one stalled transfer is held against a peer.
    pub dispute_patience: Duration,
    /// How long "not found" stands for a whole blob.
    pub not_found_freshness: Duration,
}

impl Default for InjectionConfig {
    fn default() -> Self {
        Self {
            blobs_max: 16_384,
            participants_max: 131_072,
            leases_start: 4,
            leases_max: 16,
            hungry_pieces: 128,
            run_bytes_start: 1024 * 1024,
            run_bytes_max: 64 * 1024 * 1024,
            run_time: Duration::from_secs(1),
            opening_max: Duration::from_millis(250),
            tick: Duration::from_millis(250),
            refresh: Duration::from_millis(500),
            refresh_held: Duration::from_secs(30),
            collect: Duration::from_millis(500),
            collect_unsettled: Duration::from_millis(100),
            collect_joining: Duration::from_secs(2),
            lease_lost_after: Duration::from_secs(1),
            lease_silence: Duration::from_secs(2),
            lease_stalled_min: Duration::from_secs(3),
            lease_stalled_unknown: Duration::from_secs(10),
            late_min: Duration::from_millis(500),
            slow_bar: Duration::from_secs(5),
            help_after: Duration::from_millis(500),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(8),
            give_up_after: Duration::from_secs(8),
            give_up_started: Duration::from_secs(30),
            stuck_patience: Duration::from_secs(1),
            question_patience: Duration::from_secs(1),
            dispute_patience: Duration::from_secs(6),
            not_found_freshness: Duration::from_secs(10),
        }
    }
}

impl InjectionConfig {
    /// When a member should announce again: wanters often, but in all about 128 times a second at one home.
    pub(crate) fn refresh_for(&self, wanters: usize, wants: bool) -> Duration {
        if !wants {
            return self.refresh_held;
        }
        let crowd = u32::try_from(wanters.div_ceil(64).max(1)).unwrap_or(u32::MAX);
        self.refresh.saturating_mul(crowd).min(Duration::from_secs(10))
    }

    /// How long a failure is final for whoever comes next.
    pub(crate) fn failure_freshness(&self, failure: UpstreamFailure) -> Duration {
        match failure {
            UpstreamFailure::NotFound => self.not_found_freshness,
            _ => self.backoff_min,
        }
    }
}
