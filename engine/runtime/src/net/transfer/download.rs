//! Pieces from peers.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use quinn::RecvStream;
use shoal_core::event::{Input, TransferFailure, TransferId};
use shoal_wire::{
    digest::Digest,
    frame::encode_request,
    geometry::PieceIndex,
    ids::{MemberId, PublicKey},
    transfer::{PieceReply, PieceRequest, Urgency, Voucher},
};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use super::{
    store::{Outcome, Store, Warrant},
    stream::{HeaderError, read_reply},
};
use crate::{
    clock,
    limit::Limiter,
    memory::{Gathering, PieceBytes},
    net::peers::Peers,
    spool::blob::Blob,
    table::PeerTable,
    tasks::Tasks,
};

/// Interval of [`Input::PieceProgress`].
const PROGRESS: Duration = Duration::from_millis(250);
/// How long a voucher's key is waited for: gossip may bring it a moment later than the piece.
const KEY_PATIENCE: Duration = Duration::from_secs(2);

/// A piece that the core asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) transfer: TransferId,
    pub(crate) from: MemberId,
    pub(crate) digest: Digest,
    pub(crate) piece: PieceIndex,
    pub(crate) urgency: Urgency,
    /// Pieces of the blob that this node has.
    pub(crate) held: u32,
}

/// All transfers from peers.
pub(crate) struct Downloads {
    store: Arc<Store>,
    table: Arc<PeerTable>,
    limiter: Arc<Limiter>,
    tasks: Tasks,
    active: Mutex<HashMap<TransferId, CancellationToken>>,
}

/// A piece and what vouches for it.
struct Gathered {
    voucher: Voucher,
    key: PublicKey,
}

impl Downloads {
    pub(crate) fn new(store: Arc<Store>, table: Arc<PeerTable>, limiter: Arc<Limiter>, tasks: Tasks) -> Self {
        Self { store, table, limiter, tasks, active: Mutex::default() }
    }

    /// Starts a transfer; its result comes as an input, unless it is cancelled before. The core bounds their number.
    pub(crate) fn start(self: &Arc<Self>, peers: &Arc<Peers>, request: Request) {
        let cancelled = CancellationToken::new();
        crate::lock(&self.active).insert(request.transfer, cancelled.clone());
        self.tasks.spawn(self.clone().run(peers.clone(), request, cancelled));
    }

    /// Gives a transfer up; its stream is reset and no result comes.
    pub(crate) fn cancel(&self, transfer: TransferId) {
        if let Some(cancelled) = crate::lock(&self.active).remove(&transfer) {
            cancelled.cancel();
        }
    }

    async fn run(self: Arc<Self>, peers: Arc<Peers>, request: Request, cancelled: CancellationToken) {
        let metrics = self.store.metrics.clone();
        let _active = metrics.downloads_active.hold();
        let result = match self.store.spool.get(&request.digest) {
            Some(blob) if blob.geometry().contains(request.piece) => {
                self.transfer(&peers, &request, &blob, &cancelled).await
            }
            _ => Err(TransferFailure::Store),
        };
        let wanted = crate::lock(&self.active).remove(&request.transfer).is_some();
        if let (Err(failure), true) = (result, wanted) {
            let failed = Input::PieceFailed { transfer: request.transfer, failure };
            let _ = self.store.inputs.send(failed).await;
        }
    }

    async fn transfer(
        &self,
        peers: &Arc<Peers>,
        request: &Request,
        blob: &Arc<Blob>,
        cancelled: &CancellationToken,
    ) -> Result<(), TransferFailure> {
        let length = blob.geometry().len(request.piece);
        let reserved = cancelled.run_until_cancelled(self.reserve(request.transfer, length)).await;
        let Some(mut gathering) = reserved else { return Ok(()) };
        if blob.hashes_whole(request.piece) {
            gathering = gathering.without_hash();
        }
        let fetched = cancelled.run_until_cancelled(self.fetch(peers, request, &mut gathering)).await;
        let gathered = match fetched {
            Some(Ok(gathered)) => gathered,
            Some(Err(failure)) => return Err(failure),
            None => {
                self.store.metrics.duplicate_received_bytes.add(gathering.filled());
                return Ok(());
            }
        };
        self.keep(request, blob, gathered, gathering.finish()).await
    }

    /// Waits for memory. Meanwhile nothing comes, which is not the peer's fault: it was asked for nothing yet.
    async fn reserve(&self, transfer: TransferId, length: u64) -> Gathering {
        let mut told = clock::now();
        let mut gathering = pin!(self.store.memory.gather(length));
        loop {
            tokio::select! {
                gathering = &mut gathering => return gathering,
                () = tokio::time::sleep(PROGRESS) => self.report_progress(transfer, &mut told),
            }
        }
    }

    /// Asks the peer, and gathers the piece's bytes.
    async fn fetch(
        &self,
        peers: &Arc<Peers>,
        request: &Request,
        gathering: &mut Gathering,
    ) -> Result<Gathered, TransferFailure> {
        let connection = peers.connection(request.from).await.ok_or(TransferFailure::Unreachable)?;
        let (mut send, mut receive) = connection.open_bi().await.map_err(|_| TransferFailure::Unreachable)?;
        let Request { digest, piece, urgency, held, .. } = *request;
        let header = PieceRequest { digest, piece, urgency, held };
        let header = encode_request(&header).map_err(|_| TransferFailure::Store)?;
        send.write_all(&header).await.map_err(|_| TransferFailure::Unreachable)?;
        // An error here shows when the reply is read.
        let _ = send.finish();
        let voucher = match read_reply(&mut receive).await {
            Ok(PieceReply::Sending(voucher)) => voucher,
            Ok(PieceReply::Busy(load)) => return Err(TransferFailure::Busy(load)),
            Ok(PieceReply::NotHeld) => return Err(TransferFailure::NotHeld),
            Err(HeaderError::Broken(_)) => return Err(TransferFailure::Unreachable),
            Err(error) => return Err(self.corrupt(request, &error)),
        };
        // An injector whom gossip does not bring is nobody's fault that could be proven; the piece is of no use.
        let key = self.table.key_within(voucher.injector, KEY_PATIENCE).await.ok_or(TransferFailure::NotHeld)?;
        self.gather(&mut receive, request, gathering).await?;
        Ok(Gathered { voucher, key })
    }

    async fn gather(
        &self,
        receive: &mut RecvStream,
        request: &Request,
        gathering: &mut Gathering,
    ) -> Result<(), TransferFailure> {
        let quantum = self.limiter.quantum();
        let mut told = clock::now();
        while gathering.missing() > 0 {
            let mut allowed = quantum;
            while gathering.missing() > 0 && allowed > 0 {
                match receive.read_buf(&mut gathering.room(allowed)).await {
                    Ok(0) => return Err(self.corrupt(request, &"it is too short")),
                    Ok(read) => {
                        gathering.advance();
                        self.store.metrics.peer_received_bytes.add(read as u64);
                        allowed -= read;
                    }
                    // A stream that breaks is nobody's proven fault: its sender may have stopped or lost the piece.
                    Err(_) => return Err(TransferFailure::Unreachable),
                }
                self.report_progress(request.transfer, &mut told);
            }
            self.limiter.take((quantum - allowed) as u64, request.urgency).await;
        }
        match receive.read(&mut [0]).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(self.corrupt(request, &"it is too long")),
            Err(_) => Err(TransferFailure::Unreachable),
        }
    }

    fn report_progress(&self, transfer: TransferId, told: &mut tokio::time::Instant) {
        let now = clock::now();
        if now.duration_since(*told) >= PROGRESS {
            *told = now;
            // Where the pump is behind, the next report does as well.
            let _ = self.store.inputs.try_send(Input::PieceProgress { transfer });
        }
    }

    async fn keep(
        &self,
        request: &Request,
        blob: &Arc<Blob>,
        gathered: Gathered,
        bytes: PieceBytes,
    ) -> Result<(), TransferFailure> {
        let injector = gathered.voucher.injector;
        let warrant = Warrant::Given(gathered.voucher, gathered.key);
        match self.store.put(blob, request.piece, &bytes, warrant).await {
            Outcome::Stored(new) => {
                if !new {
                    self.store.metrics.duplicate_received_bytes.add(bytes.len());
                }
                if crate::lock(&self.active).remove(&request.transfer).is_some() {
                    let stored = Input::PieceStored { transfer: request.transfer, injector };
                    self.store.tell(blob, request.piece, bytes, stored).await;
                } else {
                    self.store.hash_on(blob, request.piece, bytes).await;
                }
                Ok(())
            }
            Outcome::Corrupt => {
                tracing::warn!(peer = %request.from, digest = %request.digest, piece = request.piece.0, %injector,
                    "a piece does not match its voucher");
                Err(TransferFailure::Corrupt)
            }
            Outcome::Stale | Outcome::Failed => Err(TransferFailure::Store),
        }
    }

    fn corrupt(&self, request: &Request, reason: &dyn std::fmt::Display) -> TransferFailure {
        self.store.metrics.pieces_corrupt.increment();
        tracing::warn!(peer = %request.from, digest = %request.digest, piece = request.piece.0, %reason,
            "a peer sent a malformed piece");
        TransferFailure::Corrupt
    }
}
