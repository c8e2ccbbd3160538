//! Runs of scenarios in the simulated world, and what they leave.

mod outcome;

pub use outcome::{ControlOutcome, End, FaultOutcome, NodeOutcome, Outcome, Row, UpstreamOutcome, ZoneOutcome};
