//! What a node needs to know before it starts.

use std::{net::SocketAddr, num::NonZeroU64, path::PathBuf};

use shoal_core::config::CoreConfig;

/// The one secret that a cluster needs: who knows it is a member. 32 random bytes, shown to users as 64 hex digits.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret(pub [u8; 32]);

impl std::fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterSecret(hidden)")
    }
}

/// Configuration of an [`crate::Engine`].
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Directory for the node's key and the spool; created where it is missing.
    pub data_dir: PathBuf,
    /// UDP address of gossip and QUIC. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address that other members are told; the listen address where it is `None` and not a wildcard.
    pub advertise: Option<SocketAddr>,
    /// The cluster's secret.
    pub secret: ClusterSecret,
    /// Members to join through, `host:port`; names are resolved again at each try.
    pub seeds: Vec<String>,
    /// Zone of this node; empty where zones are not used.
    pub zone: String,
    /// Limit of piece bytes sent to peers, in bytes per second; `None` for no limit.
    pub upload_bytes_per_s: Option<u64>,
    /// Limit of piece and upstream bytes received, in bytes per second; `None` for no limit.
    pub download_bytes_per_s: Option<u64>,
    /// What the link of each node carries, in bytes per second, where that is known: finished pulls are then compared
    /// with the least time possible.
    pub link_bytes_per_s: Option<NonZeroU64>,
    /// Bytes of complete blobs that the spool keeps; the least recently used ones go first.
    pub spool_bytes: u64,
    /// Parameters of the core.
    pub core: CoreConfig,
}
