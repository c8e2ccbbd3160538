//! Membership: its rules message by message, and whole clusters in virtual time.

#![allow(clippy::unwrap_used)] // A panic is how a test fails.

mod beliefs;
mod bounds;
mod cluster;
mod defence;
mod joins;
mod network;
mod probes;
mod repair;
mod subject;
mod suspicion;
