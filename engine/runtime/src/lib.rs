//! The swarm on real sockets and disks.
//!
//! [`Engine`] is what the shim uses: it asks for a name or a blob and gets verified bytes. Everything below it, the
//! sockets, the spool, the hashing and the pure core, is private to this crate.

pub mod config;
pub mod engine;
pub mod upstream;

pub use config::{ClusterSecret, EngineConfig};
pub use engine::{BlobError, BlobReader, BlobRequest, Engine, EngineStatus, MetricsSnapshot, ResolveError, StartError};
pub use shoal_core::config::CoreConfig;
pub use shoal_wire::{
    control::UpstreamFailure,
    digest::{Digest, DigestError},
    ids::MemberId,
    name::{ContentKind, Descriptor, Name, Reference},
};
pub use upstream::{Upstream, UpstreamBody, UpstreamSource};
