//! Announcements: what this node has of a blob, told to the blob's homes.

use std::collections::BTreeSet;

use shoal_wire::{
    control::{Announcement, ControlMessage},
    digest::Digest,
    ids::MemberId,
    limits::PEERS_PER_ANSWER,
};

use super::{Surroundings, Swarm, Timer, neighbour::Neighbour};
use crate::time::Time;

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
            around.outbox.send(recipient.home, ControlMessage::Announce(Box::new(announcement)));
        }
    }

    /// A home other than the acting one asks whether this node is there.
    pub(super) fn announce_to(&mut self, around: &mut Surroundings<'_>, digest: &Digest, home: MemberId) {
        let Some(blob) = self.blobs.get_mut(digest) else { return };
        if !blob.announcer.may_answer(around.now, home, &self.config) {
            return;
        }
        if let Some(announcement) = self.announcement(around, digest) {
            around.outbox.send(home, ControlMessage::Announce(Box::new(announcement)));
        }
    }

    fn announcement(&mut self, around: &Surroundings<'_>, digest: &Digest) -> Option<Announcement> {
        let unreachable = self.complaints(around.now, digest)?;
        let blob = self.blobs.get(digest)?;
        let wants = blob.is_wanted();
        Some(Announcement {
            digest: *digest,
            size: blob.geometry.size(),
            have: blob.have.clone(),
            wants,
            can_lease: blob.can_lease && wants,
            takeover: false,
            leases: self.holding.spans(digest),
            unreachable,
        })
    }

    /// Members from which this node gets nothing. Where there are more than one announcement names, others are named each
    /// time: a piece that only one of them has would otherwise never be brought in again.
    fn complaints(&mut self, now: Time, digest: &Digest) -> Option<Vec<MemberId>> {
        let blob = self.blobs.get(digest)?;
        let lately = self.config.hello_interval;
        let parted = blob.parted.iter().filter(|&&(_, at)| now.since(at) < lately).map(|&(peer, _)| peer);
        let silent = blob.neighbours.keys().copied().filter(|&id| self.peers.fails(now, id, lately));
        // What they have is of no use here, so that it must come from the upstream again.
        let is_unproven =
            |neighbour: &Neighbour| !blob.is_source(neighbour) && neighbour.have.intersects_missing(&blob.have);
        let unproven = blob.neighbours.iter().filter(|(_, neighbour)| is_unproven(neighbour)).map(|(&id, _)| id);
        let members: BTreeSet<_> = parted.chain(silent).chain(unproven).collect();
        let members: Vec<_> = members.into_iter().collect();
        if members.len() <= PEERS_PER_ANSWER {
            return Some(members);
        }
        Some(self.random.sample(&members, PEERS_PER_ANSWER))
    }
}
