//! Membership: its rules message by message, and whole clusters in virtual time.

#![allow(clippy::unwrap_used)] // A panic is how a test fails.

mod beliefs;
mod bounds;
mod cluster;
mod crowd;
mod defence;
mod joins;
mod known;
mod network;
mod probes;
mod repair;
mod scale;
mod subject;
mod suspicion;
