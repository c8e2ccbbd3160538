//! How long a suspect has to refute (Lifeguard's LHA-Suspicion, "dogpile").
//!
//! A suspicion begins with a long time that shrinks with each member that independently confirms it. So a single sick
//! accuser does little harm, and a real crash, which many notice, is settled fast.

use std::time::Duration;

use shoal_wire::gossip::Accuser;
use smallvec::SmallVec;

use crate::{config::MembershipConfig, time::Time};

/// One suspicion that runs.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    began: Time,
    limits: Limits,
    /// The first accuser, then those who confirmed; at most one more than `limits.confirmations`.
    accusers: SmallVec<[Accuser; 4]>,
}

/// Between what times a suspicion ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Time with all confirmations.
    pub(super) min: Duration,
    /// Time without any.
    pub(super) max: Duration,
    /// Confirmations that bring it to `min`.
    pub(super) confirmations: usize,
}

impl Limits {
    /// The limits in a cluster of `members`. Where there are too few others to confirm, the time is `min` at once.
    pub(super) fn new(config: &MembershipConfig, members: usize) -> Self {
        let min = timeout(config.suspicion_mult, members, config.probe_interval);
        let enough = members.saturating_sub(2) >= config.suspicion_confirmations;
        Self {
            min,
            max: min.mul_f64(config.suspicion_max_mult),
            confirmations: if enough { config.suspicion_confirmations } else { 0 },
        }
    }

    /// The time that a suspicion with this many confirmations gets, to the millisecond as memberlist has it.
    fn after(&self, confirmations: usize) -> Duration {
        if self.confirmations == 0 {
            return self.min;
        }
        let progress = ((confirmations + 1) as f64).ln() / ((self.confirmations + 1) as f64).ln();
        let span = self.max.saturating_sub(self.min).as_secs_f64();
        let ms = ((self.max.as_secs_f64() - progress * span) * 1000.0).floor().max(0.0);
        Duration::from_secs_f64(ms / 1000.0).max(self.min)
    }
}

/// The shortest time of a suspicion: `mult` times log10 of the number of members, at least 1, probe intervals.
pub(super) fn timeout(mult: f64, members: usize, interval: Duration) -> Duration {
    let scale = (members.max(1) as f64).log10().max(1.0);
    // Thousandths, as memberlist has it: results do not depend on the last bits of a logarithm.
    interval.mul_f64(mult * (scale * 1000.0).floor() / 1000.0)
}

impl Suspicion {
    /// A suspicion that `accuser` raised.
    pub(super) fn new(began: Time, accuser: Accuser, limits: Limits) -> Self {
        Self { began, limits, accusers: SmallVec::from_slice(&[accuser]) }
    }

    /// Takes a confirmation; true where it was new and counts.
    pub(super) fn confirm(&mut self, accuser: Accuser) -> bool {
        let counts = self.accusers.len() <= self.limits.confirmations && !self.accusers.contains(&accuser);
        if counts {
            self.accusers.push(accuser);
        }
        counts
    }

    /// The latest accuser that counted.
    pub(super) fn accuser(&self) -> Accuser {
        self.accusers[self.accusers.len() - 1]
    }

    /// When it ends in death.
    pub(super) fn deadline(&self) -> Time {
        self.began + self.limits.after(self.accusers.len() - 1)
    }

    /// Gives the suspect this much more time, because this node itself stood still for as long.
    pub(super) fn postpone(&mut self, by: Duration) {
        self.began = self.began + by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accuser(number: u8) -> Accuser {
        Accuser([number; 8])
    }

    /// The published tables of timers were measured, and are rounded: a millisecond either way is the same.
    fn assert_due(suspicion: &Suspicion, after_ms: u64, case: &str) {
        let after = suspicion.deadline().since(Time::ZERO);
        assert!(
            after.abs_diff(Duration::from_millis(after_ms)) <= Duration::from_millis(1),
            "{case}: due after {after:?}"
        );
    }

    fn limits(confirmations: usize, min_ms: u64, max_ms: u64) -> Limits {
        Limits { min: Duration::from_millis(min_ms), max: Duration::from_millis(max_ms), confirmations }
    }

    /// memberlist's published vector (`TestSuspicion_remainingSuspicionTime`): confirmations, those wanted, seconds
    /// elapsed, milliseconds that remain.
    #[test]
    fn remaining_time_follows_the_published_table() {
        let table = [
            (0, 3, 0, 30_000),
            (1, 3, 2, 14_000),
            (2, 3, 3, 4_810),
            (3, 3, 4, -2_000),
            (4, 3, 5, -3_000),
            (5, 3, 10, -8_000),
        ];
        for (confirmations, wanted, elapsed_s, remaining_ms) in table {
            let total = limits(wanted, 2_000, 30_000).after(confirmations);
            assert_eq!(
                total.as_millis().cast_signed() - elapsed_s * 1000,
                remaining_ms,
                "{confirmations} of {wanted} after {elapsed_s} s"
            );
        }
    }

    /// memberlist's published vector (`TestSuspicion_Timer`).
    #[test]
    fn confirmations_shorten_the_timer_and_duplicates_do_not() {
        let steps: [(&[u8], u64); 6] = [
            (&[], 2_000),
            (&[1], 1_250),
            (&[1, 1, 1, 1], 1_250),
            (&[1, 2], 810),
            (&[1, 2, 3], 500),
            (&[1, 2, 3, 4], 500),
        ];
        for (confirmers, after_ms) in steps {
            let mut suspicion = Suspicion::new(Time::ZERO, accuser(0), limits(3, 500, 2_000));
            for &confirmer in confirmers {
                suspicion.confirm(accuser(confirmer));
            }
            assert_due(&suspicion, after_ms, &format!("{confirmers:?}"));
        }
    }

    #[test]
    fn the_accuser_cannot_confirm_itself_and_late_confirmations_do_not_count() {
        let mut suspicion = Suspicion::new(Time::ZERO, accuser(0), limits(1, 500, 2_000));
        assert!(!suspicion.confirm(accuser(0)));
        assert!(suspicion.confirm(accuser(1)));
        assert!(!suspicion.confirm(accuser(2)));
        assert_eq!(suspicion.accuser(), accuser(1));
    }

    /// memberlist's published vector (`TestSuspicion_Timer_ZeroK`).
    #[test]
    fn without_confirmations_to_wait_for_the_time_is_the_shortest() {
        let mut suspicion = Suspicion::new(Time::ZERO, accuser(0), limits(0, 25, 30_000));
        assert_eq!(suspicion.deadline(), Time::ZERO + Duration::from_millis(25));
        assert!(!suspicion.confirm(accuser(1)));
    }

    /// memberlist's published vector (`TestSuspicion_Timer_Immediate`): a confirmation may end it at once.
    #[test]
    fn a_confirmation_can_put_the_deadline_into_the_past() {
        let now = Time::ZERO + Duration::from_millis(200);
        let mut suspicion = Suspicion::new(Time::ZERO, accuser(0), limits(1, 100, 30_000));
        assert!(suspicion.deadline() > now);
        suspicion.confirm(accuser(1));
        assert!(suspicion.deadline() < now);
    }

    /// memberlist's published vector (`TestSuspicionTimeout`): a third of the time at multiplier 3.
    #[test]
    fn the_shortest_time_follows_the_published_table() {
        let table = [(5, 1_000), (10, 1_000), (50, 1_698), (100, 2_000), (500, 2_698), (1_000, 3_000)];
        for (members, third_ms) in table {
            let time = timeout(3.0, members, Duration::from_secs(1)) / 3;
            assert_eq!(time.as_millis(), third_ms, "{members} members");
        }
    }

    /// memberlist's published vector (`TestMemberlist_ProbeNode_Suspect_Dogpile`): multiplier 5, maximum 2, probes
    /// every 100 ms, three confirmations.
    #[test]
    fn dogpile_follows_the_published_table() {
        let config = MembershipConfig {
            probe_interval: Duration::from_millis(100),
            suspicion_mult: 5.0,
            suspicion_max_mult: 2.0,
            suspicion_confirmations: 3,
            ..MembershipConfig::default()
        };
        let table = [
            (2, 0, 500),
            (3, 0, 500),
            (4, 0, 500),
            (5, 0, 1_000),
            (6, 0, 1_000),
            (6, 1, 750),
            (6, 2, 604),
            (6, 3, 500),
            (6, 4, 500),
        ];
        for (members, confirmations, after_ms) in table {
            let mut suspicion = Suspicion::new(Time::ZERO, accuser(0), Limits::new(&config, members));
            for number in 1..=confirmations {
                suspicion.confirm(accuser(number));
            }
            assert_due(&suspicion, after_ms, &format!("{members} members, {confirmations} confirmations"));
        }
    }
}
