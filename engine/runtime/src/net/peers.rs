//! Connections to other members: at most one link to each, dialled on demand or adopted when the other side dials.
//!
//! Whoever has a message or a transfer for a member gets its link, which begins to dial where there is none. Nobody
//! waits for a peer but the task that serves it: the pump only puts messages into bounded queues.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use quinn::{Connection, ConnectionError, Incoming, ReadError, RecvStream, TransportErrorCode, VarInt};
use shoal_core::event::{Input, MemberEvent};
use shoal_wire::{
    control::ControlMessage,
    frame::{FrameDecoder, STREAM_OPENING},
    ids::MemberId,
    version::{self, VersionMismatch},
};
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{self, Throttle},
    metrics::Metrics,
    net::{
        endpoint::Quic,
        link,
        links::{HeldConnection, Line, Link, LinkState, Links},
        tls,
        transfer::{stream::Sending, upload::Uploads},
    },
    table::PeerTable,
    tasks::Tasks,
};

/// Connections that other members opened, at once.
const INBOUND_MAX: usize = 2048;
/// Handshakes that others began and that are not finished, at once.
const HANDSHAKES_MAX: usize = 128;
/// Free handshakes at or below which addresses must prove themselves first (RFC 9000, section 8.1.2), so that forged
/// ones cannot shut members out. Costs a round trip, and so is not asked of everybody.
const HANDSHAKES_UNVALIDATED_MIN: usize = HANDSHAKES_MAX / 2;
/// Control messages that wait for one member.
const OUTBOUND_MAX: usize = 1024;
/// Time for a handshake and the first byte of both control streams.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// Application error codes of this protocol's connections and streams.
pub(crate) mod code {
    use quinn::VarInt;

    /// The node stops, or the link ends before all of it was delivered.
    pub(crate) const CLOSED: VarInt = VarInt::from_u32(0);
    /// The peer did not read its control messages.
    pub(crate) const OVERFLOW: VarInt = VarInt::from_u32(1);
    /// The peer sent what cannot be understood.
    pub(crate) const MALFORMED: VarInt = VarInt::from_u32(2);
    /// The peer speaks another version.
    pub(crate) const VERSION: VarInt = VarInt::from_u32(3);
    /// A stream cannot be completed by its sender.
    pub(crate) const FAILED: VarInt = VarInt::from_u32(4);
    /// The link made room for another. Each side has all messages of the other, and nothing is under way.
    pub(crate) const IDLE: VarInt = VarInt::from_u32(5);
}

/// A connection whose two control streams are open.
pub(crate) struct Established {
    pub(crate) line: Line,
    /// This node's control stream, its version already sent. Its end says that the link ends; a surplus connection's is
    /// reset instead.
    pub(crate) control: Sending,
}

/// Why a connection did not come up.
#[derive(Debug, Error)]
pub(crate) enum DialError {
    #[error("the member's address is not known")]
    Unknown,
    #[error("{0}")]
    Connect(#[from] quinn::ConnectError),
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    #[error("the control stream broke: {0}")]
    Stream(String),
    #[error(transparent)]
    Version(#[from] VersionMismatch),
    #[error("no answer in time")]
    Timeout,
}

impl DialError {
    /// Whether the other side is there and only has no room for now.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Self::Connection(ConnectionError::ConnectionClosed(close))
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED)
    }
}

/// All connections of a node.
pub(crate) struct Peers {
    quic: Quic,
    pub(crate) table: Arc<PeerTable>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) inputs: mpsc::Sender<Input>,
    uploads: Arc<Uploads>,
    tasks: Tasks,
    links: Mutex<Links>,
    handshakes: Arc<Semaphore>,
    inbound: Arc<Semaphore>,
    log: Throttle,
}

impl Peers {
    /// Connections over `quic`; starts to accept them.
    pub(crate) fn start(
        quic: Quic,
        table: Arc<PeerTable>,
        metrics: Arc<Metrics>,
        inputs: mpsc::Sender<Input>,
        uploads: Arc<Uploads>,
        tasks: Tasks,
    ) -> Arc<Self> {
        let peers = Arc::new(Self {
            quic,
            table,
            metrics,
            inputs,
            uploads,
            tasks,
            links: Mutex::default(),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            inbound: Arc::new(Semaphore::new(INBOUND_MAX)),
            log: Throttle::new(Duration::from_secs(5)),
        });
        peers.tasks.spawn(peers.clone().accept());
        peers
    }

    /// Queues a control message. Where it cannot be delivered, [`Input::ControlLost`] follows.
    pub(crate) fn send(self: &Arc<Self>, to: MemberId, message: ControlMessage) {
        let mut links = crate::lock(&self.links);
        let link = self.link(&mut links, to);
        match link.outbound.try_send(message) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => link.end.cancel(),
            Err(mpsc::error::TrySendError::Closed(message)) => {
                links.by_member.remove(&to);
                let fresh = self.link(&mut links, to).outbound.try_send(message);
                debug_assert!(fresh.is_ok(), "a new link has room");
            }
        }
    }

    /// The connection to a member, for a transfer; dials where there is none. `None` where the member is not reached.
    pub(crate) async fn connection(self: &Arc<Self>, to: MemberId) -> Option<HeldConnection> {
        for _ in 0..2 {
            let (serial, mut state) = {
                let mut links = crate::lock(&self.links);
                let link = self.link(&mut links, to);
                (link.serial, link.state.clone())
            };
            let settled = state.wait_for(|state| !matches!(state, LinkState::Dialling)).await.ok()?.clone();
            let LinkState::Up(line) = settled else { return None };
            match line.hold() {
                Some(connection) => return Some(connection),
                // It has just been lost, and its link has not noticed yet, or it has just made room.
                None => self.forget(to, serial),
            }
        }
        None
    }

    /// Takes a change of membership: closes links that lead nowhere any more.
    pub(crate) fn apply(&self, event: &MemberEvent, before: Option<&shoal_wire::member::MemberRecord>) {
        let closed = match event {
            MemberEvent::Up(record) => before
                .filter(|before| before.generation != record.generation || before.address != record.address)
                .map(shoal_wire::member::MemberRecord::id),
            MemberEvent::Suspected(_) => None,
            MemberEvent::Dead(id) | MemberEvent::Left(id) | MemberEvent::Forgotten(id) => Some(*id),
        };
        if let Some(link) = closed.and_then(|id| crate::lock(&self.links).by_member.remove(&id)) {
            link.end.cancel();
        }
    }

    /// Closes all connections and accepts no more. Idempotent.
    pub(crate) fn close(&self) {
        self.quic.endpoint.set_server_config(None);
        self.quic.endpoint.close(code::CLOSED, b"the node stops");
    }

    /// Waits until the peers know that the connections are closed.
    pub(crate) async fn closed(&self) {
        self.quic.endpoint.wait_idle().await;
    }

    /// The link to `to`, a new one where there is none.
    fn link<'a>(self: &Arc<Self>, links: &'a mut Links, to: MemberId) -> &'a mut Link {
        if !links.by_member.contains_key(&to) {
            self.start_link(links, to, None);
        }
        let link = links.by_member.get_mut(&to).expect("started above");
        link.used = clock::now();
        link
    }

    /// Gives the link to `id` a connection that the peer opened. One that has a connection already keeps it; this one
    /// is served all the same.
    fn offer(self: &Arc<Self>, links: &mut Links, id: MemberId, established: Established) {
        match links.by_member.get(&id) {
            Some(link) => drop(link.offers.try_send(established)),
            None => self.start_link(links, id, Some(established)),
        }
    }

    fn start_link(self: &Arc<Self>, links: &mut Links, id: MemberId, first: Option<Established>) {
        links.make_room();
        let (serial, running) = links.next();
        let (outbound, messages) = mpsc::channel(OUTBOUND_MAX);
        let (offers, offered) = mpsc::channel(1);
        let (states, state) = watch::channel(LinkState::Dialling);
        let end = CancellationToken::new();
        if let Some(established) = first {
            // The channel is new and has room; the link looks into it before it dials.
            let _ = offers.try_send(established);
        }
        let ends = link::Ends { id, serial, messages, offered, states, end: end.clone(), _running: running };
        self.tasks.spawn(link::run(self.clone(), ends));
        links.by_member.insert(id, Link { serial, outbound, offers, state, end, used: clock::now() });
    }

    /// Connections of either direction that are open.
    #[cfg(test)]
    pub(crate) fn connections(&self) -> usize {
        self.quic.endpoint.open_connections()
    }

    /// Links that there are, those about to end not counted.
    #[cfg(test)]
    pub(crate) fn links(&self) -> usize {
        crate::lock(&self.links).by_member.len()
    }

    /// Allows fewer links than usual.
    #[cfg(test)]
    pub(crate) fn limit_links(&self, most: usize) {
        crate::lock(&self.links).limit(most);
    }

    /// Takes one of `parts` equal parts of the handshakes that may be under way.
    #[cfg(test)]
    pub(crate) fn occupy_handshakes(&self, parts: usize) -> OwnedSemaphorePermit {
        let part = u32::try_from(HANDSHAKES_MAX / parts).expect("a small number");
        self.handshakes.clone().try_acquire_many_owned(part).expect("no handshake is under way")
    }

    /// Marks the link to a member that sent something as used.
    fn touch(&self, id: MemberId) {
        if let Some(link) = crate::lock(&self.links).by_member.get_mut(&id) {
            link.used = clock::now();
        }
    }

    /// Removes a link that ended, unless another has taken its place.
    pub(crate) fn forget(&self, id: MemberId, serial: u64) {
        let mut links = crate::lock(&self.links);
        if links.by_member.get(&id).is_some_and(|link| link.serial == serial) {
            links.by_member.remove(&id);
        }
    }

    /// Removes a link that its peer ends. A connection that the peer opened meanwhile takes its place.
    pub(super) fn hand_over(self: &Arc<Self>, id: MemberId, serial: u64, offered: &mut mpsc::Receiver<Established>) {
        let mut links = crate::lock(&self.links);
        if links.by_member.get(&id).is_none_or(|link| link.serial != serial) {
            return;
        }
        links.by_member.remove(&id);
        if let Ok(established) = offered.try_recv()
            && established.line.connection.close_reason().is_none()
        {
            self.start_link(&mut links, id, Some(established));
        }
    }

    /// Dials `id` once.
    pub(crate) async fn dial(self: &Arc<Self>, id: MemberId) -> Result<Established, DialError> {
        let record = self.table.record(id).ok_or(DialError::Unknown)?;
        let connecting = self.quic.dial(record.address, &tls::server_name(id))?;
        let handshake = async { establish(connecting.await?).await };
        let (established, control) = timeout(HANDSHAKE_TIMEOUT, handshake).await.map_err(|_| DialError::Timeout)??;
        self.serve(id, established.line.clone(), control, None);
        Ok(established)
    }

    async fn accept(self: Arc<Self>) {
        while let Some(incoming) = self.quic.endpoint.accept().await {
            if self.handshakes.available_permits() <= HANDSHAKES_UNVALIDATED_MIN && incoming.may_retry() {
                // It cannot fail, since it may be done.
                let _ = incoming.retry();
                continue;
            }
            let (Ok(handshake), Ok(place)) =
                (self.handshakes.clone().try_acquire_owned(), self.inbound.clone().try_acquire_owned())
            else {
                self.metrics.handshakes_refused.increment();
                incoming.refuse();
                continue;
            };
            let peers = self.clone();
            self.tasks.spawn(async move {
                let from = incoming.remote_address();
                let welcome = peers.welcome(incoming, place);
                match timeout(HANDSHAKE_TIMEOUT, welcome).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => peers.log_failure(&from, &error),
                    Err(_) => peers.log_failure(&from, &DialError::Timeout),
                }
                drop(handshake);
            });
        }
    }

    async fn welcome(self: &Arc<Self>, incoming: Incoming, place: OwnedSemaphorePermit) -> Result<(), DialError> {
        let connection = self.quic.accept(incoming)?.await?;
        let id = peer_id(&connection).ok_or_else(|| DialError::Stream("no certificate".to_owned()))?;
        let (established, control) = establish(connection).await?;
        self.serve(id, established.line.clone(), control, Some(place));
        self.offer(&mut crate::lock(&self.links), id, established);
        Ok(())
    }

    fn log_failure(&self, peer: &dyn std::fmt::Display, error: &DialError) {
        if self.log.ready() {
            tracing::info!(%peer, %error, "a connection was not made");
        }
    }

    /// Reads what the peer sends on `line` until it ends.
    fn serve(self: &Arc<Self>, id: MemberId, line: Line, control: RecvStream, place: Option<OwnedSemaphorePermit>) {
        self.tasks.spawn(self.clone().read_control(id, line.clone(), control));
        let (uploads, tasks) = (self.uploads.clone(), self.tasks.clone());
        self.tasks.spawn(async move {
            while let Ok((send, receive)) = line.connection.accept_bi().await {
                let (transfer, answer) = (line.transfers.token(), uploads.clone().answer(id, send, receive));
                tasks.spawn(async move {
                    answer.await;
                    drop(transfer);
                });
            }
            drop(place);
        });
    }

    /// Passes control messages on until the stream or the node ends. A peer that sends faster than the core takes is
    /// held back by QUIC's flow control.
    async fn read_control(self: Arc<Self>, from: MemberId, line: Line, mut control: RecvStream) {
        let mut decoder = FrameDecoder::new();
        // The version was read by `establish`.
        let opened = decoder.next(&mut &STREAM_OPENING[..]);
        debug_assert!(matches!(opened, Ok(None)), "a version alone is no message");
        loop {
            let chunk = match control.read_chunk(usize::MAX, true).await {
                Ok(Some(chunk)) => chunk,
                // The peer uses another connection for its messages, and may use this one for the rest.
                Err(ReadError::Reset(_)) => return,
                Ok(None) | Err(_) => return line.finished.cancel(),
            };
            self.touch(from);
            let mut bytes = &chunk.bytes[..];
            loop {
                match decoder.next(&mut bytes) {
                    Ok(Some(message)) => {
                        if self.inputs.send(Input::Control { from, message }).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        self.metrics.control_malformed.increment();
                        tracing::warn!(peer = %from, %error, "closing a connection for what it sent");
                        return line.connection.close(code::MALFORMED, error.to_string().as_bytes());
                    }
                }
            }
        }
    }
}

/// Opens this node's control stream and waits for the peer's. Only then is it certain that the peer accepted us.
pub(super) async fn establish(connection: Connection) -> Result<(Established, RecvStream), DialError> {
    let broken = |error: &dyn std::fmt::Display| DialError::Stream(error.to_string());
    let mut control = Sending::new(connection.open_uni().await?);
    control.write_all(&STREAM_OPENING).await.map_err(|error| broken(&error))?;
    let mut theirs = connection.accept_uni().await?;
    let mut opening = [0; STREAM_OPENING.len()];
    theirs.read_exact(&mut opening).await.map_err(|error| broken(&error))?;
    if let Err(mismatch) = version::check(opening[0]) {
        connection.close(code::VERSION, mismatch.to_string().as_bytes());
        return Err(mismatch.into());
    }
    Ok((Established { line: Line::new(connection), control }, theirs))
}

/// The member that `connection` was authenticated as.
fn peer_id(connection: &Connection) -> Option<MemberId> {
    let chain = connection.peer_identity()?.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().ok()?;
    tls::key_of(chain.first()?).as_ref().map(MemberId::of)
}

/// Closes with a code that says why.
pub(crate) fn close(connection: &Connection, code: VarInt, reason: &str) {
    connection.close(code, reason.as_bytes());
}
