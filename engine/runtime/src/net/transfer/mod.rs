//! Pieces between peers: one QUIC stream for each, a request header one way, a reply header and the bytes the other.

pub(crate) mod download;
mod source;
pub(crate) mod store;
pub(crate) mod stream;
pub(crate) mod upload;
