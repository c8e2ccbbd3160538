//! Links with rates, and what is on its way over them.
//!
//! Two models. In order: a link serves what is sent over it first come, first served, which is quick to compute and has
//! the throughput of fair sharing. Fair: everything on its way at once shares each link, at max-min fair rates
//! (progressive filling; Bertsekas and Gallager, "Data Networks", section 6.5.2), as TCP and QUIC do roughly.

use std::{collections::BTreeMap, time::Duration};

use shoal_core::time::Time;

/// How links are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    InOrder,
    Fair,
}

/// Number of something on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlowId(u64);

/// Something on its way over several links.
#[derive(Debug)]
struct Flow<T> {
    links: Vec<usize>,
    left: f64,
    rate: f64,
    cargo: T,
}

/// All links of the world.
#[derive(Debug)]
pub(crate) struct Network<T> {
    sharing: Sharing,
    /// Bytes per second of each link.
    rates: Vec<f64>,
    free_at: Vec<Time>,
    flows: BTreeMap<FlowId, Flow<T>>,
    started: u64,
    /// The flows have moved up to this time.
    moved_to: Time,
    is_stale: bool,
    /// Bytes that each link has carried.
    pub(crate) carried: Vec<f64>,
}

/// What was sent either arrives at a time that is known, or is on its way.
pub(crate) enum Sent<T> {
    ArrivesAt(Time, T),
    OnItsWay(FlowId),
}

impl<T> Network<T> {
    pub(crate) fn new(sharing: Sharing, rates: Vec<f64>) -> Self {
        Self {
            sharing,
            free_at: vec![Time::ZERO; rates.len()],
            carried: vec![0.0; rates.len()],
            rates,
            flows: BTreeMap::new(),
            started: 0,
            moved_to: Time::ZERO,
            is_stale: false,
        }
    }

    /// Sends `bytes` over `links` from `now` on.
    pub(crate) fn send(&mut self, now: Time, links: Vec<usize>, bytes: f64, cargo: T) -> Sent<T> {
        for &link in &links {
            self.carried[link] += bytes;
        }
        if self.sharing == Sharing::InOrder {
            let mut arrives_at = now;
            for link in links {
                let time = Duration::from_secs_f64(bytes / self.rates[link]);
                self.free_at[link] = self.free_at[link].max(now) + time;
                arrives_at = arrives_at.max(self.free_at[link]);
            }
            return Sent::ArrivesAt(arrives_at, cargo);
        }
        self.move_to(now);
        self.started += 1;
        let id = FlowId(self.started);
        self.flows.insert(id, Flow { links, left: bytes, rate: 0.0, cargo });
        self.is_stale = true;
        Sent::OnItsWay(id)
    }

    /// Ends what is on its way and matches.
    pub(crate) fn stop(&mut self, now: Time, matches: impl Fn(FlowId, &T) -> bool) {
        self.move_to(now);
        let before = self.flows.len();
        for (_, flow) in self.flows.extract_if(.., |&id, flow| matches(id, &flow.cargo)) {
            for link in flow.links {
                self.carried[link] -= flow.left;
            }
        }
        self.is_stale |= self.flows.len() != before;
    }

    /// A link has another rate from `now` on.
    pub(crate) fn set_rate(&mut self, now: Time, link: usize, rate: f64) {
        self.move_to(now);
        self.rates[link] = rate;
        self.is_stale = true;
    }

    /// When the next of what is on its way arrives.
    pub(crate) fn next_arrival(&mut self) -> Option<Time> {
        if std::mem::take(&mut self.is_stale) {
            self.share();
        }
        let moving = self.flows.values().filter(|flow| flow.rate > 0.0);
        // Time may have moved on a little past the last byte, for what happened in the microsecond that is rounded up.
        let seconds = moving.map(|flow| flow.left.max(0.0) / flow.rate).min_by(f64::total_cmp)?;
        // Rounded up, so that it has arrived by then.
        Some(self.moved_to + Duration::from_secs_f64(seconds) + Duration::from_micros(1))
    }

    /// What has arrived by `now`.
    pub(crate) fn take_arrived(&mut self, now: Time) -> Vec<T> {
        self.move_to(now);
        let arrived: Vec<_> =
            self.flows.extract_if(.., |_, flow| flow.left <= 0.5).map(|(_, flow)| flow.cargo).collect();
        self.is_stale |= !arrived.is_empty();
        arrived
    }

    fn move_to(&mut self, now: Time) {
        if now <= self.moved_to {
            return;
        }
        if std::mem::take(&mut self.is_stale) {
            self.share();
        }
        let elapsed = now.since(self.moved_to).as_secs_f64();
        for flow in self.flows.values_mut() {
            flow.left -= flow.rate * elapsed;
        }
        self.moved_to = now;
    }

    /// Max-min fair rates: the link with the least for each of its flows sets their rates, then the next.
    fn share(&mut self) {
        let mut room = self.rates.clone();
        let mut crossing = vec![0u32; room.len()];
        let mut open: Vec<_> = self.flows.values_mut().collect();
        for flow in &open {
            flow.links.iter().for_each(|&link| crossing[link] += 1);
        }
        while !open.is_empty() {
            let shares = room.iter().zip(&crossing).filter(|(_, count)| **count > 0);
            let Some(least) = shares.map(|(room, &count)| room / f64::from(count)).min_by(f64::total_cmp) else {
                return;
            };
            let level = least * (1.0 + 1e-9);
            let is_full: Vec<_> = room
                .iter()
                .zip(&crossing)
                .map(|(room, &count)| count > 0 && room / f64::from(count) <= level)
                .collect();
            open.retain_mut(|flow| {
                let is_set = flow.links.iter().any(|&link| is_full[link]);
                if is_set {
                    flow.rate = least;
                    for &link in &flow.links {
                        room[link] = (room[link] - least).max(0.0);
                        crossing[link] -= 1;
                    }
                }
                !is_set
            });
        }
    }
}

#[test]
fn rates_are_max_min_fair() {
    // Links of 10 and 4; two flows over the first alone, one over both, one over the second alone.
    let mut network = Network::new(Sharing::Fair, vec![10.0, 4.0]);
    for links in [vec![0], vec![0], vec![0, 1], vec![1]] {
        network.send(Time::ZERO, links, 100.0, ());
    }
    network.share();
    let rates: Vec<_> = network.flows.values().map(|flow| flow.rate).collect();
    assert_eq!(rates, [4.0, 4.0, 2.0, 2.0]);
}
