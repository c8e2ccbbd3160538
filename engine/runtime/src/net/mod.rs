//! The network: one UDP port for sealed gossip and for QUIC.
//!
//! - `seal`: encryption of gossip datagrams with the cluster's secret;
//! - `socket`: the port, which takes gossip out of what quinn receives;
//! - `tls`: who is accepted as a peer; `endpoint`: QUIC's parameters; `path`: how large packets may be; `uplink`: how
//!   much all connections may have on their way;
//! - `peers`: connections and control streams; `links`: which there are; `link`: the task behind each;
//! - `transfer`: pieces.

pub(crate) mod endpoint;
pub(crate) mod link;
pub(crate) mod links;
pub(crate) mod path;
pub(crate) mod peers;
pub(crate) mod seal;
pub(crate) mod socket;
pub(crate) mod tls;
pub(crate) mod transfer;
pub(crate) mod uplink;

#[cfg(test)]
mod tests;
