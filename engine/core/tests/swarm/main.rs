//! Whole swarms in virtual time, without sockets: real nodes on a made-up network.

mod cold_start;
mod failures;
mod names;
mod policies;
mod pull;
mod storms;
mod tuning;
mod world;
mod zones;
