//! The simulator's clock: nanoseconds, so that rates of many gigabits and microseconds of latency keep their order.

use std::{
    fmt,
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

use shoal_core::time::Time;

/// Nanoseconds since the start of the simulated world.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The start.
    pub const ZERO: Self = Self(0);
    /// Later than anything that happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// So many microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros * 1000)
    }

    /// What nodes are told that the time is: whole microseconds, rounded down.
    pub const fn to_core(self) -> Time {
        Time::from_micros(self.0 / 1000)
    }

    /// When a node that asked to be woken at `time` is woken: then its clock shows that time.
    pub const fn of_wake(time: Time) -> Self {
        Self(time.as_micros().saturating_mul(1000))
    }

    /// `seconds` later, rounded up; never where that is beyond reach. Negative numbers count as none.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the conversion saturates at the ends")]
    #[must_use]
    pub fn after(self, seconds: f64) -> Self {
        Self(self.0.saturating_add((seconds * 1e9).ceil() as u64))
    }

    /// Seconds since `earlier`; 0.0 where `earlier` is later.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 * 1e-9
    }

    /// Seconds since the start.
    pub fn seconds(self) -> f64 {
        self.seconds_since(Self::ZERO)
    }
}

impl Add<Duration> for Nanos {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Add for Nanos {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Nanos {
    type Output = Self;

    /// Zero where `other` is later.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Self {
        Self::ZERO + duration
    }
}

impl fmt::Debug for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_woken_sees_the_time_that_it_asked_for() {
        for micros in [0, 1, 7, 1_000_003] {
            let asked = Time::from_micros(micros);
            assert_eq!(Nanos::of_wake(asked).to_core(), asked);
            assert!(Nanos(Nanos::of_wake(asked).0.saturating_sub(1)).to_core() <= asked);
        }
        assert_eq!(Nanos(1999).to_core(), Time::from_micros(1), "rounded down");
        assert_eq!(Nanos::of_wake(Time::MAX), Nanos::NEVER);
    }

    #[test]
    fn seconds_are_rounded_up_and_saturate() {
        assert_eq!(Nanos(5).after(1.5), Nanos(1_500_000_005));
        assert_eq!(Nanos(5).after(0.1e-9), Nanos(6));
        assert_eq!(Nanos(5).after(-1.0), Nanos(5));
        assert_eq!(Nanos(5).after(f64::INFINITY), Nanos::NEVER);
        assert!((Nanos(2_500_000_000).seconds() - 2.5).abs() < 1e-12);
    }
}
