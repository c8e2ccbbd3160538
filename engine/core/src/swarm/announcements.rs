//! Announcements: what this node has of a blob, told to the blob's homes.

use shoal_wire::{
    control::{Announcement, ControlMessage},
    digest::Digest,
    ids::MemberId,
    limits::PEERS_PER_ANSWER,
};

use super::{Surroundings, Swarm, Timer};

impl Swarm {
    /// Tells the homes what this node has, and greets neighbours that are due.
    pub(super) fn announce(&mut self, around: &mut Surroundings<'_>, digest: &Digest) {
        self.greet_neighbours(around, digest);
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        let wants = blob.is_wanted();
        let (recipients, next) = blob.announcer.announce(around.now, wants, around.members.count(), &self.config);
        self.timers.set(Timer::Announce(*digest), next);
        let Some(announcement) = self.announcement(around, digest) else { return };
        for recipient in recipients {
            let announcement = Announcement { takeover: recipient.takeover, ..announcement.clone() };
            around.outbox.send(recipient.home, ControlMessage::Announce(announcement));
        }
    }

    /// A home other than the acting one asks whether this node is there.
    pub(super) fn announce_to(&self, around: &mut Surroundings<'_>, digest: &Digest, home: MemberId) {
        if let Some(announcement) = self.announcement(around, digest) {
            around.outbox.send(home, ControlMessage::Announce(announcement));
        }
    }

    fn announcement(&self, around: &Surroundings<'_>, digest: &Digest) -> Option<Announcement> {
        let blob = self.blobs.get(digest)?;
        let wants = blob.is_wanted();
        let lately = self.config.hello_interval;
        let parted = blob.parted.iter().filter(|&&(_, at)| around.now.since(at) < lately).map(|&(peer, _)| peer);
        let silent = blob.neighbours.keys().copied();
        let silent = silent.filter(|&id| self.peers.failed_within(around.now, id, lately));
        // What they have is of no use here, so that it must come from the upstream again.
        let unproven = blob.neighbours.iter().filter(|(_, neighbour)| !blob.is_source(neighbour)).map(|(&id, _)| id);
        Some(Announcement {
            digest: *digest,
            size: blob.geometry.size(),
            have: blob.have.clone(),
            wants,
            can_lease: blob.can_lease && wants,
            takeover: false,
            leases: self.holding.spans(digest),
            unreachable: parted.chain(silent).chain(unproven).take(PEERS_PER_ANSWER).collect(),
        })
    }
}
