//! How long a suspect has.

use std::time::Duration;

use shoal_core::{event::MemberEvent, membership::State};
use shoal_wire::gossip::{GossipBody, GossipPacket};

use super::{
    network::address,
    subject::{GENERATION, Subject, id, life, ms, packet, suspect},
};

/// Time until member 2 of a cluster of 12 is declared dead with this many confirmations.
fn time_to_death(confirmations: u16) -> Duration {
    let mut subject = Subject::knowing(11);
    let begin = subject.now;
    for accuser in 3..=3 + confirmations {
        subject.hear(1, suspect(2, life(GENERATION, 0), accuser));
    }
    loop {
        let at = subject.membership.next_timeout().unwrap();
        subject.now = at;
        subject.membership.handle_timeout(at);
        let done = subject.done();
        if done.events.contains(&MemberEvent::Dead(id(2))) {
            return at.since(begin);
        }
        for (_, GossipPacket { body, .. }) in done.packets {
            if let GossipBody::Ping { sequence, target } = body {
                subject.membership.handle_packet(at, address(1), packet(target, GossipBody::Ack { sequence }));
            }
        }
    }
}

#[test]
fn independent_accusers_shorten_a_suspicion() {
    // min = 3 x log10(12) x 1 s, in thousandths of the logarithm; max = 6 x min; 2 confirmations.
    let min = ms(3 * 1079);
    assert_eq!(time_to_death(0), min * 6);
    assert_eq!(time_to_death(1), ms(9210), "max - ln 2 / ln 3 x (max - min)");
    assert_eq!(time_to_death(2), min);
    assert_eq!(time_to_death(5), min);
}

#[test]
fn one_accuser_that_repeats_itself_shortens_nothing() {
    let mut subject = Subject::knowing(11);
    for _ in 0..50 {
        subject.hear(1, suspect(2, life(GENERATION, 0), 1));
    }
    subject.run_answered(ms(3 * 1079 * 6 - 1));
    assert_eq!(subject.state(2), Some(State::Suspect));
}
