//! Real endpoints on loopback; the tests play the core.

mod handshake;
mod hostile;
mod packets;
mod pieces;
