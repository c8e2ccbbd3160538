//! Pings that this node makes for others: SWIM's ping-req, with Lifeguard's nack.

use std::{collections::BTreeMap, net::SocketAddr};

use shoal_wire::{gossip::GossipBody, ids::MemberId};

use super::{Membership, timer::Timer};
use crate::time::Time;

/// The nack is sent after this part of the probe's timeout, so that it arrives before the requester judges.
const NACK_AFTER: f64 = 0.8;

/// Relayed pings that wait for an ack, by their number.
#[derive(Clone, Debug, Default)]
pub(super) struct Relays(BTreeMap<u32, Relay>);

#[derive(Clone, Copy, Debug)]
struct Relay {
    requester: SocketAddr,
    /// The requester's number.
    sequence: u32,
    target: MemberId,
}

impl Membership {
    /// Pings `target` for the member at `requester`; where that is not possible, says so at once.
    pub(super) fn relay_ping(&mut self, now: Time, requester: SocketAddr, sequence: u32, target: MemberId) {
        let full = self.relays.0.len() >= self.config.relays_max;
        if full || self.members.alive(target).is_none() || target == self.own_id {
            self.stats.relays_refused += u64::from(full);
            self.send_body(requester, GossipBody::Nack { sequence });
            return;
        }
        let number = self.prober.next_sequence();
        self.relays.0.insert(number, Relay { requester, sequence, target });
        self.set_timer(Timer::Relay(number), now, self.config.probe_timeout.mul_f64(NACK_AFTER));
        self.send_ping(target, number);
    }

    /// Passes an ack on, where it belongs to a relayed ping.
    pub(super) fn forward_ack(&mut self, from: MemberId, number: u32) -> bool {
        let Some(relay) = self.relays.0.get(&number).copied() else { return false };
        if relay.target == from {
            self.relays.0.remove(&number);
            self.timers.cancel(Timer::Relay(number));
            self.send_body(relay.requester, GossipBody::Ack { sequence: relay.sequence });
        }
        true
    }

    /// The target did not answer in time.
    pub(super) fn relay_expired(&mut self, number: u32) {
        if let Some(relay) = self.relays.0.remove(&number) {
            self.send_body(relay.requester, GossipBody::Nack { sequence: relay.sequence });
        }
    }
}
