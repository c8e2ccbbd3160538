//! Who is met at an address: of several members that count as alive and claim it, one with the newest generation.

use std::net::{IpAddr, SocketAddr};

use super::digest::mix;
use crate::roster::{
    Handle, Roster,
    order::{Order, OrderKey},
};

/// The holders of addresses. A member takes four bytes, and some air.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(Order);

/// An address behind its hash, for addresses of a cluster lie close together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    hash: u64,
    address: SocketAddr,
}

impl OrderKey for Key {
    fn beginning(&self) -> u64 {
        self.hash
    }
}

impl Key {
    fn new(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) => u64::from(u32::from(ip)),
            IpAddr::V6(ip) => {
                let [high, low] = [64, 0].map(|shift| u128::from(ip) >> shift & u128::from(u64::MAX));
                mix(u64::try_from(high).unwrap_or(0)) ^ u64::try_from(low).unwrap_or(0)
            }
        };
        Self { hash: mix(mix(ip) ^ u64::from(address.port())), address }
    }

    fn of(roster: &Roster, member: Handle) -> Self {
        Self::new(roster.record(member).address)
    }
}

impl Addresses {
    /// Who is met at an address.
    pub(super) fn at(&self, roster: &Roster, address: SocketAddr) -> Option<Handle> {
        self.0.find(Key::new(address), |member| Key::of(roster, member))
    }

    /// Claims the address of a member's record for it, unless a newer generation has it. Returns whether another member
    /// had it.
    pub(super) fn claim(&mut self, roster: &Roster, member: Handle) -> bool {
        let record = roster.record(member);
        let holder = self.at(roster, record.address).filter(|&holder| holder != member);
        if let Some(holder) = holder {
            if roster.record(holder).generation > record.generation {
                return true;
            }
            self.release(roster, holder);
        }
        self.0.insert(member, Key::of(roster, member), |member| Key::of(roster, member));
        holder.is_some()
    }

    /// Takes the address of a member's record back from it, where it has it.
    pub(super) fn release(&mut self, roster: &Roster, member: Handle) {
        let key = Key::of(roster, member);
        if self.at(roster, key.address) == Some(member) {
            self.0.remove(key, |member| Key::of(roster, member));
        }
    }
}
