//! The HTTP server of a node: connections, the endpoint, and the pages for operators.

pub mod fate;
pub mod server;
pub mod socket;
