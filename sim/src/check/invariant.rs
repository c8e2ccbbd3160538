//! What must hold, and what is said where it does not.

use std::fmt;

use crate::world::BreachKind;

/// A rule of the swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// A node serves only pieces that it has verified and stored.
    Unverified,
    /// A node says that it has a piece only where it has it.
    Maps,
    /// Tables, queues, slots, requests and leases keep to their bounds.
    Bounds,
    /// What is sent can be encoded and makes sense; nodes do not talk for ever about nothing.
    Messages,
    /// A lease that a node holds is one that it works on, and all leases end.
    Leases,
    /// The upstream sends each blob about once, and as often again as faults explain.
    UpstreamCopies,
    /// Nobody is told that a blob cannot be had, long after everything has healed.
    Failures,
    /// Everybody who lives gets what it pulls, within a bound after everything has healed.
    Finish,
    /// All who live count each other as alive, and nobody else.
    Membership,
    /// Nothing is left open once all is done: no transfer, no upload, no fetch, no lease.
    Quiet,
    /// The engine does not panic.
    Panic,
}

impl Invariant {
    /// Its name at the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unverified => "unverified",
            Self::Maps => "maps",
            Self::Bounds => "bounds",
            Self::Messages => "messages",
            Self::Leases => "leases",
            Self::UpstreamCopies => "upstream-copies",
            Self::Failures => "failures",
            Self::Finish => "finish",
            Self::Membership => "membership",
            Self::Quiet => "quiet",
            Self::Panic => "panic",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<BreachKind> for Invariant {
    fn from(kind: BreachKind) -> Self {
        match kind {
            BreachKind::Unverified => Self::Unverified,
            BreachKind::Maps => Self::Maps,
            BreachKind::Bounds => Self::Bounds,
            BreachKind::Messages => Self::Messages,
        }
    }
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When it was noticed, in virtual seconds since the first pull may begin.
    pub at_s: f64,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.3} s: {}", self.invariant, self.at_s, self.what)
    }
}
