//! Parameters of the exchange of pieces.

use std::time::Duration;

/// Parameters of a node as a member of swarms.
#[derive(Clone, Debug)]
pub struct SwarmConfig {
    /// Pieces sent at once. Admission matters more than piece policy: few at once finish early and can be passed on. Up to
    /// three times as many where requests are long on their way against the time that a piece takes.
    pub upload_slots: usize,
    /// The same where there is plenty to be had ([`plenty_pieces`]), so that no link waits for the upstream.
    ///
    /// [`plenty_pieces`]: Self::plenty_pieces
    pub upload_slots_plenty: usize,
    /// The same for a blob of which this node has only the first pieces, which nearly everybody lacks: the fewer are sent
    /// at once, the sooner there is a second source.
    pub upload_slots_young: usize,
    /// Requests that wait for a slot; further ones are refused. One that waits at a busy peer could be served by another;
    /// what a reader waits for has a place more.
    pub upload_backlog: usize,
    /// Who waits gives its place to a member that has fewer pieces of the same blob, by more than so many. In a large swarm the
    /// last are those that were refused often: without it 1,000 nodes take 6 % longer.
    pub yield_pieces: u32,
    /// Refused members that are told when a slot frees.
    pub refused_max: usize,
    /// Pieces requested at once from all peers, those that follow others not counted. More than the uploaders' slots only
    /// makes queues. Up to three times as many where requests are long on their way against the time that a piece takes.
    pub requests_max: usize,
    /// The same where there is plenty to be had ([`plenty_pieces`]): the more flows a link has, the less it matters that
    /// one of them stands still for the way of a request.
    ///
    /// [`plenty_pieces`]: Self::plenty_pieces
    pub requests_plenty: usize,
    /// So many more at a node that is behind its neighbours: it has no flow to spare.
    pub requests_behind: usize,
    /// Pieces of a blob requested at once by a node to which none of them has come; one more for each that has, but for who comes
    /// late to a swarm. While it is not known how fast its link is, the first pieces, which readers wait for, must not share it
    /// with many.
    pub requests_young: usize,
    /// A node that gets pieces much more slowly than others requests no more than should come within this time.
    pub requests_slow_time: Duration,
    /// A node is behind that has fewer pieces than its neighbours that want pieces have in the mean, by more than so many.
    pub behind_pieces: u32,
    /// Requests whose place a lease takes at its holder where the swarm waits for the upstream: what that sends comes in over
    /// the same link, and gets less of it the more peers send at the same time.
    pub lease_requests: usize,
    /// The swarm waits for the upstream where a node could ask its neighbours for so many pieces at most. With more there is
    /// plenty to be had, and a lease takes the place of one request.
    pub plenty_pieces: u32,
    /// With more than so many the next piece is asked for of a peer before its last has come. With fewer, what is asked for
    /// early is asked for of the wrong peer: more links stand still than where requests wait for pieces.
    pub follow_pieces: u32,
    /// Bytes of a blob that are asked for ahead of the first of its readers where nobody else wants the blob, at least three
    /// pieces: the one that is read, and two that come meanwhile. What is further ahead would leave the memory of recent
    /// pieces before its reader comes, and be read from the disk. Half of that memory, because pieces that are on their way
    /// take some of it.
    pub reader_ahead_bytes: u64,
    /// Neighbours that a node looks for in each swarm.
    pub neighbours: usize,
    /// Neighbours in other zones that it looks for besides, where its zone has gateways.
    pub neighbours_far: usize,
    /// Pieces requested at once from other zones, of all that are.
    pub requests_far_max: usize,
    /// Time that a zone's gateway has to bring in a piece before the next one may; also eight times what a piece takes.
    pub gateway_patience_min: Duration,
    /// The longest that it has, whatever pieces took of late: one that hung says little about the next.
    pub gateway_patience_max: Duration,
    /// Neighbours that it accepts in each swarm.
    pub neighbours_max: usize,
    /// Pieces after the contiguous prefix among which the rarest is chosen.
    pub window_pieces: u32,
    /// Time between two deltas of a have-map.
    pub have_interval: Duration,
    /// A neighbour that has all pieces that are new here is told of them nonetheless once so much time has passed since it was
    /// told anything: it learns how busy this node is and how much it has. Zero tells everybody everything.
    pub news_interval: Duration,
    /// Time after which a have-map is exchanged whole again, in case that a delta was lost.
    pub hello_interval: Duration,
    /// Time after which an unanswered greeting is repeated.
    pub hello_retry: Duration,
    /// A transfer without a byte for this long is given up; also four times what the piece should take.
    pub stall_min: Duration,
    /// The same while no transfer has been measured.
    pub stall_unknown: Duration,
    /// How long a peer that stalled rests; doubled each time.
    pub rest_min: Duration,
    /// Longest rest.
    pub rest_max: Duration,
    /// How long a peer that said BUSY is left alone, unless it says that a slot is free: what a piece takes, but at least
    /// this.
    pub busy_retry_min: Duration,
    /// Longest that such a peer is left alone, and for how long while no transfer has been measured.
    pub busy_retry_max: Duration,
    /// A request is repeated elsewhere when it is older than this.
    pub hedge_min: Duration,
    /// Time that a home has to answer an announcement, in a cluster of up to a thousand members; in proportion more in a
    /// larger one, where all may announce themselves at once.
    pub announce_timeout: Duration,
    /// How often a holder tells the home that its leases are alive, besides its announcements: those of a large swarm are
    /// further apart than a home waits. Well below [`lease_silence`].
    ///
    /// [`lease_silence`]: super::InjectionConfig::lease_silence
    pub lease_keepalive: Duration,
    /// How often a better home than the acting one is tried.
    pub better_home_interval: Duration,
    /// How often the homes that do not coordinate are told.
    pub followers_interval: Duration,
}

impl Default for SwarmConfig {
    fn default() -> Self {
        Self {
            upload_slots: 5,
            upload_slots_plenty: 8,
            upload_slots_young: 2,
            upload_backlog: 1,
            yield_pieces: 2,
            refused_max: 256,
            requests_max: 6,
            requests_plenty: 8,
            requests_behind: 4,
            requests_young: 2,
            requests_slow_time: Duration::from_secs(2),
            behind_pieces: 2,
            lease_requests: 3,
            plenty_pieces: 8,
            follow_pieces: 24,
            reader_ahead_bytes: 32 * 1024 * 1024,
            neighbours: 16,
            neighbours_far: 12,
            requests_far_max: 2,
            gateway_patience_min: Duration::from_secs(1),
            gateway_patience_max: Duration::from_secs(10),
            neighbours_max: 40,
            window_pieces: 32,
            have_interval: Duration::from_millis(20),
            news_interval: Duration::from_millis(500),
            hello_interval: Duration::from_secs(5),
            hello_retry: Duration::from_secs(1),
            stall_min: Duration::from_secs(2),
            stall_unknown: Duration::from_secs(5),
            rest_min: Duration::from_secs(5),
            rest_max: Duration::from_secs(60),
            busy_retry_min: Duration::from_millis(20),
            busy_retry_max: Duration::from_millis(250),
            hedge_min: Duration::from_millis(100),
            announce_timeout: Duration::from_millis(500),
            lease_keepalive: Duration::from_millis(500),
            better_home_interval: Duration::from_secs(2),
            followers_interval: Duration::from_secs(5),
        }
    }
}

/// How many times as many pieces are requested or sent at once where requests are long on their way, at most.
pub(crate) const STRETCH_MAX: usize = 3;

/// Longest time that a home has to answer an announcement, however large the cluster is.
const ANNOUNCE_PATIENCE_MAX: Duration = Duration::from_secs(10);

impl SwarmConfig {
    /// Time that a home has to answer an announcement in a cluster of `members`.
    pub(crate) fn announce_patience(&self, members: usize) -> Duration {
        let thousands = u32::try_from(members.div_ceil(1000).max(1)).unwrap_or(u32::MAX);
        self.announce_timeout.saturating_mul(thousands).min(ANNOUNCE_PATIENCE_MAX)
    }

    /// Time that a gateway has to bring in a piece that takes `expected`: a transfer that hung, or a link that is slower than
    /// it was, must not have the zone wait for minutes.
    pub(crate) fn gateway_patience(&self, expected: Duration) -> Duration {
        expected.saturating_mul(8).min(self.gateway_patience_max).max(self.gateway_patience_min)
    }

    /// Most pieces that are ever requested at once, a repeated one not counted: each may be followed by another.
    pub fn requests_limit(&self) -> usize {
        2 * (self.requests_max.max(self.requests_plenty) * STRETCH_MAX + self.requests_behind)
    }

    /// Slots that a node ever has at once.
    pub fn slots_limit(&self) -> usize {
        self.upload_slots.max(self.upload_slots_plenty) * STRETCH_MAX
    }

    /// Most pieces that are ever sent at once: each slot's may be followed by another.
    pub fn uploads_limit(&self) -> usize {
        2 * self.slots_limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_has_a_few_times_what_a_piece_takes_and_never_long() {
        let config = SwarmConfig::default();
        let patience = |expected| config.gateway_patience(Duration::from_millis(expected));
        assert_eq!(patience(0), config.gateway_patience_min, "nothing is known");
        assert_eq!(patience(200), Duration::from_millis(1600));
        assert_eq!(patience(44_000), config.gateway_patience_max, "pieces that hung have been measured");
        assert_eq!(config.gateway_patience(Duration::MAX), config.gateway_patience_max);
    }
}
