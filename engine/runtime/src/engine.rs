//! The handle to a running node.

use std::{
    net::SocketAddr,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use shoal_core::{event::Input, node::Node};
use shoal_wire::{
    control::{NameOutcome, UpstreamFailure},
    digest::Digest,
    ids::{MemberId, QueryId},
    name::{Descriptor, Name},
};
use thiserror::Error;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    config::EngineConfig,
    identity::random_u64,
    memory::PieceMemory,
    metrics::Metrics,
    moderation::Moderation,
    net::{peers::Peers, uplink::Uplink},
    pool::Pool,
    pump::{Pump, QUERIES_MAX, Queries},
    reader::BlobReader,
    seeds::Seeds,
    spool::Spool,
    stack::{Opened, Stack},
    table::PeerTable,
    tasks::Tasks,
    upstream::{Upstream, UpstreamSource},
};

/// Time that a stopping node gives its peers, its tasks and its port, each.
const STOP_PATIENCE: Duration = Duration::from_millis(700);

/// A running node. Clones are handles to the same node. It stops when the last of them is dropped, but only
/// [`Engine::shutdown`] announces the departure.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    table: Arc<PeerTable>,
    listen: SocketAddr,
    spool: Arc<Spool>,
    pool: Pool,
    memory: Arc<PieceMemory>,
    metrics: Arc<Metrics>,
    uplink: Arc<Uplink>,
    seeds: Arc<Seeds>,
    inputs: mpsc::Sender<Input>,
    queries: Arc<Queries>,
    query_ids: AtomicU64,
    tasks: Tasks,
    leave: CancellationToken,
    stopping: AtomicBool,
    /// What ends last; whoever stops the node takes it.
    rest: Mutex<Option<Rest>>,
}

struct Rest {
    peers: Arc<Peers>,
    pump_ended: oneshot::Receiver<()>,
    port_closed: oneshot::Receiver<()>,
}

/// A blob, or a part of it, that a reader wants.
#[derive(Clone, Debug)]
pub struct BlobRequest {
    /// Of the blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where this node may fetch it, if anywhere. Without one the blob can only come from peers.
    pub source: Option<UpstreamSource>,
    /// Bytes to read; the whole blob where it is `None`. Lies within the blob.
    pub range: Option<Range<u64>>,
    /// Whether the reader takes what it gets for a part of the blob alone, and checks what it needs itself. Then a part
    /// that does not begin with the blob gets the last piece as soon as that is there, verified as any piece is, and not
    /// only once the digest of the whole blob holds.
    pub excerpt: bool,
}

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The UDP port is taken or not allowed.
    #[error(
        "cannot listen on UDP {address}: {source}. Choose another address with --swarm-listen, or stop what uses it"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}: {source}. Make it writable, or choose another with --data-dir")]
    DataDir {
        /// The path that failed.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Anything else, said in full.
    #[error("{0}")]
    Other(String),
}

/// Why a name was not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// The upstream's word, through whichever node asked it.
    #[error("the upstream answered: {0:?}")]
    Upstream(UpstreamFailure),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Why a blob cannot be read, or not further.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlobError {
    /// Neither peers nor an upstream deliver it. A reader may close cleanly and continue elsewhere.
    #[error("neither a peer nor an upstream delivers the blob: {0:?}")]
    Unavailable(UpstreamFailure),
    /// Bytes that were already read do not belong to the blob. A reader must reset its connection, never close cleanly.
    #[error("the blob's bytes do not have its digest; what was read before must be discarded")]
    Corrupt,
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The store failed.
    #[error("the spool failed: {0}")]
    Store(String),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineStatus {
    /// Its id.
    pub id: MemberId,
    /// UDP address that it listens on, with the port that it got.
    pub listen: SocketAddr,
    /// Members that count as alive, this one included, ordered by id.
    pub members: Vec<(MemberId, SocketAddr)>,
    /// Seeds that have not answered yet.
    pub seeds_unreached: Vec<String>,
}

/// Counters and gauges of the engine at one moment. Names are those of the metrics page, without the prefix `shoal_`;
/// each comes with its help text.
#[derive(Clone, Debug, Default)]
pub struct MetricsSnapshot {
    /// Counters: name, help, value.
    pub counters: Vec<(&'static str, &'static str, u64)>,
    /// Gauges: name, help, value.
    pub gauges: Vec<(&'static str, &'static str, i64)>,
}

impl Engine {
    /// Starts a node: opens its port and its spool, and begins to join. Complete blobs of an earlier life are served
    /// once they are verified again.
    pub async fn start(config: EngineConfig, upstream: Arc<dyn Upstream>) -> Result<Self, StartError> {
        let Opened { stack, events, port_closed } = Stack::open(&config, upstream.clone()).await?;
        let clock = Clock::start();
        let own = stack.table.own().clone();
        tracing::info!(id = %own.id(), address = %own.address, generation = own.generation.0, "the node starts");
        let seeds = Arc::new(Seeds::new(own.address, &config.seeds));
        let node = Node::new(config.core, own, random_u64()?, clock.now());
        stack.metrics.members_alive.set(1);
        let (ended, pump_ended) = oneshot::channel();
        let rest = Rest { peers: stack.peers.clone(), pump_ended, port_closed };
        let inner = Arc::new(Inner::new(&stack, seeds.clone(), rest));
        let tasks = stack.tasks.clone();
        tasks.spawn(seeds.clone().run(stack.table.clone(), stack.inputs.clone()));
        tasks.spawn(stack.spool.clone().check_all(stack.pool.clone()));
        let pump = Pump { node, clock, stack, events, queries: inner.queries.clone(), upstream, seeds };
        let leave = inner.leave.clone();
        tasks.spawn(async move {
            pump.run(leave).await;
            drop(ended);
        });
        Ok(Self { inner })
    }

    /// Has the thread that calls [`Moderation::before_park`] rest while pieces trickle in. Without this it never does. A
    /// `moderation` stays with the first engine that it is given to.
    pub fn moderate(&self, moderation: &Moderation) {
        let inner = &self.inner;
        moderation.follow(inner.metrics.clone(), inner.uplink.clone(), inner.pool.clone());
    }

    /// Finds out what a name stands for: from what this node knows, from the cluster, or from an upstream.
    pub async fn resolve(&self, name: Name) -> Result<Descriptor, ResolveError> {
        let inner = &self.inner;
        let query = QueryId(inner.query_ids.fetch_add(1, Relaxed));
        let (answer, answered) = oneshot::channel();
        {
            let mut queries = crate::lock(&inner.queries);
            if inner.stopping.load(Relaxed) {
                return Err(ResolveError::Stopping);
            }
            if queries.len() >= QUERIES_MAX {
                return Err(ResolveError::Upstream(UpstreamFailure::Unavailable));
            }
            queries.insert(query, answer);
        }
        let _open = OpenQuery { queries: &inner.queries, query };
        inner.inputs.send(Input::Resolve { query, name }).await.map_err(|_| ResolveError::Stopping)?;
        match answered.await {
            Ok(NameOutcome::Found(descriptor)) => Ok(descriptor),
            Ok(NameOutcome::Failed(failure)) => Err(ResolveError::Upstream(failure)),
            Err(_) => Err(ResolveError::Stopping),
        }
    }

    /// Opens a blob for reading. Returns at once; waiting happens in the reader.
    pub async fn open(&self, request: BlobRequest) -> Result<BlobReader, BlobError> {
        let BlobRequest { digest, size, source, range, excerpt } = request;
        if let Some(range) = &range
            && (range.start > range.end || range.end > size)
        {
            let Range { start, end } = range;
            return Err(BlobError::Invalid(format!("bytes {start} to {end} do not lie within {size} bytes")));
        }
        let spool = self.inner.spool.clone();
        let opened = self.inner.pool.run(move || spool.read(digest, size, source)).await;
        let reading = opened.map_err(|error| BlobError::Store(error.to_string()))??;
        if self.inner.stopping.load(Relaxed) {
            return Err(BlobError::Stopping);
        }
        Ok(BlobReader::new(reading, self.inner.pool.clone(), self.inner.memory.clone(), range, excerpt))
    }

    /// Size of a blob that this node holds complete and verified.
    pub fn held(&self, digest: &Digest) -> Option<u64> {
        self.inner.spool.held(digest)
    }

    /// What the node says about itself.
    pub fn status(&self) -> EngineStatus {
        let inner = &self.inner;
        EngineStatus {
            id: inner.table.own_id(),
            listen: inner.listen,
            members: inner.table.alive().iter().map(|record| (record.id(), record.address)).collect(),
            seeds_unreached: inner.seeds.unreached(),
        }
    }

    /// Counters and gauges.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.inner.metrics.snapshot()
    }

    /// Announces the departure, ends all tasks in order and closes the port; takes at most about 3 s. Idempotent: a
    /// second call waits for the first.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.stopping.store(true, Relaxed);
        let mut rest = inner.rest.lock().await;
        let Some(Rest { peers, pump_ended, port_closed }) = rest.take() else { return };
        inner.spool.stop();
        crate::lock(&inner.queries).clear();
        inner.leave.cancel();
        let in_time = |what: &'static str, ended: bool| {
            if !ended {
                tracing::warn!(what, "did not end in time; the node stops all the same");
            }
        };
        in_time("the announcement of the departure", timeout(STOP_PATIENCE, pump_ended).await.is_ok());
        peers.close();
        in_time("a connection", timeout(STOP_PATIENCE, peers.closed()).await.is_ok());
        drop(peers);
        inner.tasks.stop();
        in_time("a task", timeout(STOP_PATIENCE, inner.tasks.join()).await.is_ok());
        in_time("the port", timeout(STOP_PATIENCE, port_closed).await.is_ok());
        tracing::info!("the node has stopped");
    }
}

impl Inner {
    fn new(stack: &Stack, seeds: Arc<Seeds>, rest: Rest) -> Self {
        Self {
            table: stack.table.clone(),
            listen: stack.socket.address(),
            spool: stack.spool.clone(),
            pool: stack.pool.clone(),
            memory: stack.memory.clone(),
            metrics: stack.metrics.clone(),
            uplink: stack.uploads.uplink.clone(),
            seeds,
            inputs: stack.inputs.clone(),
            queries: Arc::default(),
            query_ids: AtomicU64::new(0),
            tasks: stack.tasks.clone(),
            leave: CancellationToken::new(),
            stopping: AtomicBool::new(false),
            rest: Mutex::new(Some(rest)),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.spool.stop();
        self.tasks.stop();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("id", &self.inner.table.own_id())
            .field("listen", &self.inner.listen)
            .finish_non_exhaustive()
    }
}

/// A question that is forgotten when its asker goes.
struct OpenQuery<'a> {
    queries: &'a Queries,
    query: QueryId,
}

impl Drop for OpenQuery<'_> {
    fn drop(&mut self) {
        crate::lock(self.queries).remove(&self.query);
    }
}
