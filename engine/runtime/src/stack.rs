//! Everything around the core, put together: what a node has besides the state machine that drives it.

use std::{net::SocketAddr, sync::Arc};

use shoal_core::event::Input;
use shoal_wire::{ids::Incarnation, limits::ZONE_BYTES, member::MemberRecord, version::PROTOCOL_VERSION};
use tokio::sync::{mpsc, oneshot};

use crate::{
    config::EngineConfig,
    engine::StartError,
    identity::Identity,
    lease::Leases,
    limit::Limiter,
    memory::PieceMemory,
    metrics::Metrics,
    net::{
        endpoint,
        peers::Peers,
        seal::KeyRing,
        socket::{Bound, GossipDatagram, SharedSocket},
        transfer::{
            download::Downloads,
            store::Store,
            upload::{UploadState, Uploads},
        },
        uplink::Uplink,
    },
    pool::Pool,
    spool::Spool,
    table::PeerTable,
    tasks::Tasks,
    upstream::Upstream,
};

/// Inputs that wait for the pump. Senders wait when it is full, which holds peers and transfers back.
const INPUTS_MAX: usize = 1024;

/// The parts of a node.
pub(crate) struct Stack {
    pub(crate) tasks: Tasks,
    pub(crate) pool: Pool,
    pub(crate) memory: Arc<PieceMemory>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) table: Arc<PeerTable>,
    pub(crate) ring: KeyRing,
    pub(crate) socket: Arc<SharedSocket>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) downloads: Arc<Downloads>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) inputs: mpsc::Sender<Input>,
}

/// What comes out of the parts, for the pump.
pub(crate) struct Events {
    pub(crate) inputs: mpsc::Receiver<Input>,
    pub(crate) gossip: mpsc::Receiver<GossipDatagram>,
}

/// A stack that has just been opened.
pub(crate) struct Opened {
    pub(crate) stack: Stack,
    pub(crate) events: Events,
    /// Ends once the port is closed.
    pub(crate) port_closed: oneshot::Receiver<()>,
}

impl Stack {
    /// Opens the data directory and the port.
    ///
    /// # Errors
    /// Those of [`StartError`], each with what to do about it.
    pub(crate) async fn open(config: &EngineConfig, upstream: Arc<dyn Upstream>) -> Result<Opened, StartError> {
        let tasks = Tasks::default();
        let pool = Pool::new(tasks.tracker().clone());
        let metrics = Arc::<Metrics>::default();
        let memory = Arc::<PieceMemory>::default();
        let (directory, limit, link) = (config.data_dir.clone(), config.spool_bytes, config.link_bytes_per_s);
        let (pieces, counters) = (memory.clone(), metrics.clone());
        let opened = pool.run(move || {
            let identity = Identity::open(&directory)?;
            Ok((identity, Spool::open(&directory, limit, pieces, counters, link)?))
        });
        let (identity, spool) = opened.await.map_err(|error| StartError::Other(error.to_string()))??;
        let (identity, spool) = (Arc::new(identity), Arc::new(spool));
        let listen = |source| StartError::Listen { address: config.listen, source };
        let Bound { socket, gossip, closed } = SharedSocket::bind(config.listen, metrics.clone()).map_err(listen)?;
        let table = Arc::new(PeerTable::new(own_record(config, &identity, socket.address())?));
        let uplink = Arc::<Uplink>::default();
        let quic = endpoint::open(&identity, &table, &metrics, socket.clone(), &uplink)?;
        let (inputs, received) = mpsc::channel(INPUTS_MAX);
        let uploads = Arc::new(Uploads {
            spool: spool.clone(),
            pool: pool.clone(),
            memory: memory.clone(),
            identity: identity.clone(),
            limiter: Limiter::new(config.upload_bytes_per_s),
            metrics: metrics.clone(),
            inputs: inputs.clone(),
            uplink,
            state: UploadState::default(),
        });
        let peers = Peers::start(quic, table.clone(), metrics.clone(), inputs.clone(), uploads.clone(), tasks.clone());
        let store = Arc::new(Store {
            spool: spool.clone(),
            pool: pool.clone(),
            memory: memory.clone(),
            metrics: metrics.clone(),
            inputs: inputs.clone(),
        });
        let limiter = Arc::new(Limiter::new(config.download_bytes_per_s));
        let downloads = Arc::new(Downloads::new(store.clone(), table.clone(), limiter.clone(), tasks.clone()));
        let leases = Arc::new(Leases::new(store.clone(), upstream, identity, limiter, tasks.clone()));
        let ring = KeyRing::new(&config.secret, &[]);
        let stack = Self {
            tasks,
            pool,
            memory,
            metrics,
            table,
            ring,
            socket,
            spool,
            peers,
            uploads,
            downloads,
            leases,
            inputs,
        };
        Ok(Opened { stack, events: Events { inputs: received, gossip }, port_closed: closed })
    }
}

/// What this node tells others about itself.
fn own_record(config: &EngineConfig, identity: &Identity, bound: SocketAddr) -> Result<MemberRecord, StartError> {
    let mut address = config.advertise.unwrap_or(bound);
    if address.ip().is_unspecified() {
        return Err(StartError::Other(format!(
            "other members cannot reach this node at {address}. Say with --advertise under which address they can"
        )));
    }
    if address.port() == 0 {
        address.set_port(bound.port());
    }
    if config.zone.len() > ZONE_BYTES {
        return Err(StartError::Other(format!(
            "the zone's name has more than {ZONE_BYTES} bytes; choose a shorter one"
        )));
    }
    Ok(MemberRecord {
        public_key: identity.public_key(),
        generation: identity.generation(),
        incarnation: Incarnation::default(),
        address,
        zone: config.zone.clone(),
        version: u16::from(PROTOCOL_VERSION),
        upload_bytes_per_s: config.upload_bytes_per_s.unwrap_or(0),
    })
}
