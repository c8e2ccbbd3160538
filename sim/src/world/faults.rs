//! What goes wrong, and what connections make of it.

mod cuts;
mod disk;
mod lives;
mod pauses;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use shoal_core::event::{Input, TransferFailure, TransferId, UploadId};
use smallvec::SmallVec;

use super::{Event, World, pairs::Ended, setting::LinkSetting};
use crate::time::Nanos;

/// What is wrong with a world at a moment, beside what its members know of themselves.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// Processes that are stopped.
    pub(super) paused: u32,
    /// Nothing gets from the first node to the second, since when.
    cuts: BTreeMap<(u32, u32), Nanos>,
    /// What is on its way again and again until the way is free, or the connection is lost.
    pub(super) withheld: Vec<Withheld>,
    /// The first node's connection is one to an earlier life of the second: it swallows what it is given.
    pub(super) orphans: BTreeSet<(u32, u32)>,
    /// Which life of the second the first node has heard of, where it is not the first.
    lives: BTreeMap<(u32, u32), u64>,
}

/// Something that does not arrive for the moment.
#[derive(Debug)]
pub(super) struct Withheld {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) event: Event,
}

impl World {
    /// A node ends without a word. Its peers find out by their own means: connections end when nothing was heard for the
    /// idle timeout.
    pub fn kill(&mut self, node: u32) {
        if !std::mem::replace(&mut self.members[node as usize].is_up, false) {
            return;
        }
        self.end_pause(node);
        self.drop_fetches(node);
        self.forget_process(node);
        let silent = self.now + self.setting.paths.idle_timeout;
        let life = self.members[node as usize].life;
        for peer in self.connected_peers(node) {
            for (from, to) in [(node, peer), (peer, node)] {
                self.silence(from, to);
            }
            self.schedule.push(silent, Event::Orphaned { node: peer, peer: node, life });
        }
        self.troubles.withheld.retain(|withheld| withheld.from != node && withheld.to != node);
        self.troubles.orphans.retain(|(holder, _)| *holder != node);
        let member = &mut self.members[node as usize];
        member.uploads.clear();
        member.transfers.clear();
    }

    /// What is on its way in one direction stops. The sender still thinks that it sends.
    fn silence(&mut self, from: u32, to: u32) {
        let (pair, direction) = self.pair(from, to);
        let entry = self.direction(pair, direction);
        entry.queue.clear();
        if let Some(flow) = entry.flow.take() {
            self.network.stop(self.now, flow);
        }
    }

    /// A connection is lost, as `node` notices; so does its peer, if it lives and knows of it.
    pub(super) fn lost(&mut self, node: u32, peer: u32) {
        self.troubles.withheld.retain(|withheld| {
            (withheld.from, withheld.to) != (node, peer) && (withheld.from, withheld.to) != (peer, node)
        });
        if self.troubles.orphans.remove(&(node, peer)) {
            return self.lose(node, peer);
        }
        match self.disconnect(node, peer) {
            Ended::Nothing => {}
            Ended::Dial => self.lose(node, peer),
            Ended::Connection => {
                for (from, to) in [(node, peer), (peer, node)] {
                    self.silence(from, to);
                }
                self.lose(node, peer);
                self.lose(peer, node);
            }
        }
    }

    /// Transfers from the peer and uploads to it end, and messages may not have arrived.
    fn lose(&mut self, node: u32, peer: u32) {
        let member = &mut self.members[node as usize];
        let of_peer = member.transfers.iter().filter(|open| open.uploader == peer).map(|open| open.id);
        let transfers: SmallVec<[TransferId; 8]> = of_peer.collect();
        member.transfers.retain(|open| open.uploader != peer);
        let to_peer = member.uploads.iter().filter(|upload| upload.requester == peer).map(|upload| upload.id);
        let uploads: SmallVec<[UploadId; 8]> = to_peer.collect();
        member.uploads.retain(|upload| upload.requester != peer);
        for transfer in transfers {
            self.input(node, Input::PieceFailed { transfer, failure: TransferFailure::Unreachable });
        }
        for upload in uploads {
            self.input(node, Input::UploadEnded { upload });
        }
        let to = self.ids.id(peer);
        self.input(node, Input::ControlLost { to });
    }

    /// A node's link has other rates from now on.
    pub fn set_link(&mut self, node: u32, link: LinkSetting) {
        self.members[node as usize].link = link;
        let rate = if self.members[node as usize].paused.is_some() { 0.0 } else { self.setting.paths.goodput };
        let links = self.members[node as usize].links;
        self.network.set_rate(self.now, links.up, link.up * rate);
        self.network.set_rate(self.now, links.down, link.down * rate);
    }

    /// A node damages every piece that it serves from now on.
    pub fn corrupt(&mut self, node: u32) {
        self.members[node as usize].is_corrupt = true;
    }

    /// A node answers all messages and takes all requests from now on, and sends no piece.
    pub fn mute(&mut self, node: u32) {
        self.members[node as usize].is_mute = true;
    }

    /// So many packets are lost from now on, 0.0 to below 1.0.
    pub fn set_loss(&mut self, share: f64) {
        self.setting.paths.loss = share.clamp(0.0, 0.99);
    }

    /// Such a share of transfers hangs from now on, 0.0 to 1.0.
    pub fn set_hanging(&mut self, share: f64) {
        self.setting.costs.hanging = share.clamp(0.0, 1.0);
    }
}
