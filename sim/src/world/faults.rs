//! What goes wrong, and what connections make of it.

use shoal_core::event::{Input, TransferFailure, TransferId, UploadId};
use smallvec::SmallVec;

use super::{Event, World, setting::LinkSetting};

impl World {
    /// A node ends without a word. Its peers find out by their own means: connections end when nothing was heard for the
    /// idle timeout.
    pub fn kill(&mut self, node: u32) {
        if !std::mem::replace(&mut self.members[node as usize].is_up, false) {
            return;
        }
        self.drop_fetches(node);
        let silent = self.now + self.setting.paths.idle_timeout;
        for peer in self.connected_peers(node) {
            for (from, to) in [(node, peer), (peer, node)] {
                self.silence(from, to);
            }
            self.schedule.push(silent, Event::Lost { node: peer, peer: node });
        }
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

    /// A connection is lost, as `node` notices; so does its peer, if it lives.
    pub(super) fn lost(&mut self, node: u32, peer: u32) {
        if !self.disconnect(node, peer) {
            return;
        }
        for (from, to) in [(node, peer), (peer, node)] {
            self.silence(from, to);
        }
        self.lose(node, peer);
        self.lose(peer, node);
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
        let (links, goodput) = (self.members[node as usize].links, self.setting.paths.goodput);
        self.network.set_rate(self.now, links.up, link.up * goodput);
        self.network.set_rate(self.now, links.down, link.down * goodput);
    }

    /// A node damages every piece that it serves from now on.
    pub fn corrupt(&mut self, node: u32) {
        self.members[node as usize].is_corrupt = true;
    }
}
