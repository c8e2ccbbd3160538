//! Whole swarms in virtual time, without sockets: real nodes on a made-up network.

mod beginning;
mod careful;
mod cold_start;
mod failures;
mod following;
mod holders;
mod image;
mod names;
mod outcomes;
mod pull;
mod puller;
mod questions;
mod readers;
mod storms;
mod telling;
mod tuning;
mod world;
mod zones;
