//! The addresses that this node joins through.
//!
//! A seed that does not answer is tried for ever, at growing intervals, and so is one that turns out to be this node: its
//! address may stand for all members, and lead to another one the next time. One that has answered is left alone while a
//! member that is alive has its address, and is tried now and then otherwise: it may be on the other side of a
//! partition, or be a name that stands for any member.

use std::{net::SocketAddr, time::Duration};

use crate::time::Time;

/// The list of seeds.
#[derive(Clone, Debug, Default)]
pub(super) struct Seeds(Vec<Seed>);

/// One address.
#[derive(Clone, Debug)]
pub(super) struct Seed {
    /// Where it is.
    pub(super) address: SocketAddr,
    contact: Contact,
    next_try: Time,
    backoff: Duration,
    /// Number of the introduction that waits for an answer.
    asked: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contact {
    Unanswered,
    Answered,
    /// It was this node itself.
    Own,
}

impl Seeds {
    /// Takes the addresses of `seeds`, at most `max`, and keeps what is known of those that were there.
    pub(super) fn replace(&mut self, now: Time, seeds: Vec<SocketAddr>, max: usize, backoff: Duration) {
        let mut before = std::mem::take(&mut self.0);
        for address in seeds {
            if self.0.len() >= max || self.0.iter().any(|seed| seed.address == address) {
                continue;
            }
            let known = before.iter().position(|seed| seed.address == address).map(|index| before.swap_remove(index));
            let new = || Seed { address, contact: Contact::Unanswered, next_try: now, backoff, asked: None };
            self.0.push(known.unwrap_or_else(new));
        }
    }

    /// Addresses that did not answer the last time, or never.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().filter(|seed| seed.contact == Contact::Unanswered).map(|seed| seed.address)
    }

    /// When the next one is due.
    pub(super) fn next_try(&self) -> Option<Time> {
        self.0.iter().map(|seed| seed.next_try).min()
    }

    /// Those that are due.
    pub(super) fn due(&mut self, now: Time) -> impl Iterator<Item = &mut Seed> {
        self.0.iter_mut().filter(move |seed| seed.next_try <= now)
    }

    /// The seed that introduction `sequence` went to, or that has this address, answered.
    pub(super) fn answered(&mut self, sequence: u32, from: SocketAddr, next_try: Time, backoff: Duration) {
        for seed in self.0.iter_mut().filter(|seed| seed.asked == Some(sequence) || seed.address == from) {
            seed.contact = Contact::Answered;
            seed.asked = None;
            seed.next_try = next_try;
            seed.backoff = backoff;
        }
    }

    /// Introduction `sequence` came back to this node. Returns whether it was one of its own.
    pub(super) fn is_own(&mut self, sequence: u32) -> bool {
        let seed = self.0.iter_mut().find(|seed| seed.asked == Some(sequence));
        seed.map(|seed| seed.contact = Contact::Own).is_some()
    }
}

impl Seed {
    /// Notes that the seed was asked, and when to do so again.
    pub(super) fn ask(&mut self, sequence: u32, next_try: Time, backoff: Duration) {
        if self.asked.is_some() && self.contact == Contact::Answered {
            self.contact = Contact::Unanswered;
        }
        self.asked = Some(sequence);
        self.next_try = next_try;
        self.backoff = backoff;
    }

    /// Notes that there is no need to ask it before `next_try`.
    pub(super) fn rest(&mut self, next_try: Time) {
        self.asked = None;
        self.contact = Contact::Answered;
        self.next_try = next_try;
    }

    /// How long to wait after the next try.
    pub(super) fn backoff(&self) -> Duration {
        self.backoff
    }
}
