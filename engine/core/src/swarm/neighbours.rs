//! Exchange of have-maps with the other nodes of a blob's swarm.

use std::time::Duration;

use shoal_wire::{
    control::{ControlMessage, Load},
    digest::Digest,
    ids::MemberId,
    limits::PEERS_PER_ANSWER,
    piece_map::{PieceMap, PieceRuns},
};

use super::{
    Surroundings, Swarm, Timer,
    blob::{Blob, Stage},
    neighbour::Neighbour,
};
use crate::time::Time;

/// Greetings without an answer after which a neighbour is given up.
const UNANSWERED_MAX: u32 = 5;

/// Neighbours that have nothing for this node and are given up for others, with one answer of a home.
const REPLACED_MAX: usize = 4;

/// What a home answers.
pub(crate) struct Answer {
    pub(crate) peers: Vec<MemberId>,
    pub(crate) gateways: Vec<MemberId>,
    pub(crate) coordinates: bool,
    pub(crate) refresh: Duration,
}

/// What a greeting says.
pub(crate) struct Greeting {
    pub(crate) size: u64,
    pub(crate) have: PieceMap,
    pub(crate) wants: bool,
    pub(crate) reply: bool,
    pub(crate) load: Load,
}

impl Swarm {
    /// A home answered an announcement.
    pub(crate) fn peers_named(
        &mut self,
        around: &mut Surroundings<'_>,
        from: MemberId,
        digest: &Digest,
        answer: Answer,
    ) {
        let Answer { peers, gateways, coordinates, refresh } = answer;
        let Some(blob) = self.blobs.get_mut(digest) else {
            return around.outbox.send(from, ControlMessage::Withdraw { digest: *digest });
        };
        let wants = blob.is_wanted();
        if let Some(next) = blob.announcer.handle_answer(around.now, from, coordinates, refresh, wants) {
            self.timers.set(Timer::Announce(*digest), next);
        }
        let is_acting = blob.announcer.acting() == from;
        if refresh.is_zero() && !is_acting {
            return self.announce_to(around, digest, from);
        }
        if wants {
            if is_acting && !refresh.is_zero() {
                blob.crossing.set_gateways(gateways, around.outbox.own());
            }
            self.meet(around, digest, &peers);
        }
    }

    /// Greets peers that are not neighbours yet, as long as there is room. Where nothing is to be had from those that are, there
    /// is room for more, and at last in place of others: what this node lacks may be with a single one that came late.
    fn meet(&mut self, around: &mut Surroundings<'_>, digest: &Digest, peers: &[MemberId]) {
        let load = self.uploads.load();
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        let is_stuck = blob.is_stuck(around.now, self.config.hello_interval);
        let mut to_replace = if is_stuck { REPLACED_MAX } else { 0 };
        for &peer in peers {
            let is_new = peer != around.outbox.own() && !blob.neighbours.contains_key(&peer);
            let is_near = around.members.is_near(peer);
            let is_exclusive = blob.crossing.is_exclusive();
            let room = match (is_exclusive, is_near) {
                _ if is_stuck => self.config.neighbours_max,
                (true, false) => self.config.neighbours_far,
                _ => self.config.neighbours,
            };
            let counts = |neighbour: &Neighbour| !is_exclusive || neighbour.is_near == is_near;
            let known = blob.neighbours.values().filter(|neighbour| counts(neighbour)).count();
            if !is_new || !around.members.contains(peer) {
                continue;
            }
            if known >= room {
                if to_replace == 0 || !blob.forget_a_neighbour(counts) {
                    continue;
                }
                to_replace -= 1;
            }
            blob.neighbours.insert(peer, Neighbour::new(blob.geometry.pieces(), is_near));
            greet(blob, around, peer, load);
        }
    }

    /// Repeats greetings: those that nobody answered soon, the others now and then, because a delta may be lost.
    pub(super) fn greet_neighbours(&mut self, around: &mut Surroundings<'_>, digest: &Digest) {
        let load = self.uploads.load();
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        let due: Vec<_> = blob
            .neighbours
            .iter()
            .filter(|(_, neighbour)| {
                let interval =
                    if neighbour.unanswered > 0 { self.config.hello_retry } else { self.config.hello_interval };
                neighbour.greeted_at.is_none_or(|at| around.now.since(at) >= interval)
            })
            .map(|(&id, neighbour)| (id, neighbour.unanswered))
            .collect();
        for (id, unanswered) in due {
            if unanswered >= UNANSWERED_MAX {
                self.peers.get_mut(id).rest(around.now, &self.config);
                blob.remove_neighbour(id);
            } else {
                greet(blob, around, id, load);
            }
        }
    }

    /// A node of the swarm says what it has.
    pub(crate) fn greeted(
        &mut self,
        around: &mut Surroundings<'_>,
        from: MemberId,
        digest: &Digest,
        greeting: Greeting,
    ) {
        let Some(blob) = self.blobs.get_mut(digest) else {
            return around.outbox.send(from, ControlMessage::Part { digest: *digest });
        };
        if greeting.size != blob.geometry.size() || greeting.have.pieces() != blob.geometry.pieces() {
            return;
        }
        let mut peer = self.peers.get_mut(from);
        peer.note_word(around.now);
        peer.note_load(greeting.load);
        drop(peer);
        let has_room = blob.neighbours.len() < self.config.neighbours_max || blob.neighbours.contains_key(&from);
        let is_useful = blob.stage != Stage::Held && has_room;
        if is_useful {
            let is_near = around.members.is_near(from);
            blob.set_neighbour(around.now, from, greeting.have, greeting.wants, is_near);
        }
        if !greeting.reply {
            around.outbox.send(from, blob.hello(true, self.uploads.load()));
            if let Some(neighbour) = blob.neighbours.get_mut(&from) {
                neighbour.greeted_at = Some(around.now);
            }
        }
        self.make_requests(around);
    }

    /// A neighbour got pieces.
    pub(crate) fn neighbour_has(
        &mut self,
        around: &mut Surroundings<'_>,
        from: MemberId,
        digest: &Digest,
        pieces: &PieceRuns,
        held: u32,
        load: Load,
    ) {
        self.peers.note_load(from, load);
        if let Some(blob) = self.blobs.get_mut(digest) {
            let news = blob.extend_neighbour(around.now, from, pieces, held);
            // Such news are most of all messages, and few let a request be made.
            if self.may_request_news(around.now, news) {
                self.make_requests(around);
            }
        }
    }

    /// A neighbour left the blob's swarm.
    pub(crate) fn neighbour_parted(&mut self, around: &mut Surroundings<'_>, from: MemberId, digest: &Digest) {
        for transfer in self.transfers.matching(|transfer| transfer.from == from && transfer.digest == *digest) {
            self.cancel(around, transfer);
        }
        if let Some(blob) = self.blobs.get_mut(digest) {
            blob.remove_neighbour(from);
            blob.parted.retain(|&(peer, _)| peer != from);
            blob.parted.truncate(PEERS_PER_ANSWER - 1);
            blob.parted.insert(0, (from, around.now));
            self.make_requests(around);
        }
    }

    /// A peer has room again.
    pub(crate) fn slot_free(&mut self, around: &mut Surroundings<'_>, from: MemberId, load: Load) {
        if around.members.contains(from) {
            self.peers.get_mut(from).note_free(around.now, load);
        }
        self.make_requests(around);
    }

    /// A member was not reached: what was sent to it may be lost.
    pub(crate) fn unreachable(&mut self, around: &mut Surroundings<'_>, member: MemberId) {
        // A connection ends after its member has died, too, and nothing would forget that one again.
        if around.members.contains(member) {
            self.peers.get_mut(member).rest(around.now, &self.config);
        }
        for (digest, blob) in &mut self.blobs {
            if let Some(neighbour) = blob.neighbours.get_mut(&member) {
                neighbour.greeted_at = None;
                neighbour.unanswered += 1;
            }
            if blob.is_wanted() && blob.announcer.handle_lost(member) {
                self.timers.set(Timer::Announce(*digest), around.now);
            }
        }
        self.lose_transfers_from(around, member);
        self.make_requests(around);
    }

    /// Plans to tell neighbours of a new piece: at once where the last time was a while ago, else with others.
    pub(super) fn plan_telling(&mut self, now: Time, digest: &Digest) {
        let Some(blob) = self.blobs.get(digest) else { return };
        let due = (blob.told_at + self.config.have_interval).max(now);
        self.timers.set_earlier(Timer::Tell(*digest), due);
    }

    /// Tells the neighbours that want pieces which ones are new here: those that lack one, and the others now and then. About
    /// half of all news would be of what the other has already.
    pub(super) fn tell_neighbours(&mut self, around: &mut Surroundings<'_>, digest: &Digest) {
        let load = self.uploads.load();
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        blob.told_at = around.now;
        let pieces = blob.take_untold();
        if pieces.is_empty() {
            return;
        }
        let (is_full, held) = (blob.have.is_full(), blob.have.count());
        // That all are here is a short map, and all that was not told before is in it.
        let hello = is_full.then(|| blob.hello(true, load));
        // In a zone with gateways, that a gateway has news is the sign that it is at work.
        let interval = if blob.crossing.is_exclusive() { Duration::ZERO } else { self.config.news_interval };
        for (&id, neighbour) in blob.neighbours.iter_mut().filter(|(_, neighbour)| neighbour.wants) {
            if let Some(hello) = &hello {
                around.outbox.send(id, hello.clone());
                continue;
            }
            let is_due = around.now.since(neighbour.told_at) >= interval;
            if is_due || pieces.iter().any(|piece| !neighbour.have.has(piece)) {
                neighbour.told_at = around.now;
                around.outbox.send(id, ControlMessage::Have { digest: *digest, pieces: pieces.clone(), held, load });
            }
        }
    }
}

fn greet(blob: &mut Blob, around: &mut Surroundings<'_>, peer: MemberId, load: Load) {
    let hello = blob.hello(false, load);
    if let Some(neighbour) = blob.neighbours.get_mut(&peer) {
        neighbour.greeted_at = Some(around.now);
        neighbour.unanswered += 1;
    }
    around.outbox.send(peer, hello);
}
