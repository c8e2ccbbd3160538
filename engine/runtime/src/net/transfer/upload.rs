//! Pieces to peers.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use quinn::{RecvStream, SendStream};
use shoal_core::event::{Input, Refusal, UploadId};
use shoal_wire::{
    digest::Digest,
    frame::encode_reply,
    geometry::PieceIndex,
    ids::{MemberId, PieceHash},
    transfer::{PieceReply, PieceRequest, Urgency, Voucher},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    source::PieceSource,
    stream::{HeaderError, Sending, read_request},
};
use crate::{
    identity::Identity,
    limit::Limiter,
    memory::{CHUNK_BYTES, PieceMemory},
    metrics::Metrics,
    net::{peers::code, uplink::Uplink},
    pool::Pool,
    spool::{Spool, blob::Blob},
};

/// Time for a request to arrive once its stream is open.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Time in which a peer must take some bytes of what it asked for, our own limit's waits not counted: one that reads
/// nothing would hold its slot for ever. Short in tests, one of which waits for it.
const STALL_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// This node's own vouchers for pieces of complete blobs that are kept: 136 bytes each.
const VOUCHERS_MAX: usize = 16_384;

/// What the core says to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    Serve,
    Refuse(Refusal),
}

/// All requests of peers.
pub(crate) struct Uploads {
    pub(crate) spool: Arc<Spool>,
    pub(crate) pool: Pool,
    pub(crate) memory: Arc<PieceMemory>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) limiter: Limiter,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) uplink: Arc<Uplink>,
    pub(crate) state: UploadState,
}

/// What changes about uploads.
#[derive(Default)]
pub(crate) struct UploadState {
    ids: AtomicU64,
    waiting: Mutex<HashMap<UploadId, oneshot::Sender<Verdict>>>,
    vouchers: Mutex<VoucherCache>,
}

#[derive(Default)]
struct VoucherCache {
    vouchers: HashMap<(Digest, PieceIndex), Voucher>,
    order: VecDeque<(Digest, PieceIndex)>,
}

/// Why an upload ended before its end.
enum SendFailure {
    /// The peer cancelled it, or its connection broke.
    Peer,
    /// The peer does not read.
    Stalled,
    /// The piece is not there any more.
    NotHeld,
    /// The disk failed.
    Disk(io::Error),
}

impl Uploads {
    /// Passes the core's verdict on; one about an upload that has ended is of no consequence.
    pub(crate) fn decide(&self, upload: UploadId, verdict: Verdict) {
        if let Some(waiting) = crate::lock(&self.state.waiting).remove(&upload) {
            let _ = waiting.send(verdict);
        }
    }

    /// Answers one request of `from`. QUIC bounds how many each peer may have open.
    pub(crate) async fn answer(self: Arc<Self>, from: MemberId, send: SendStream, mut receive: RecvStream) {
        let mut sending = Sending::new(send);
        let request = match timeout(REQUEST_TIMEOUT, read_request(&mut receive)).await {
            Ok(Ok(request)) => request,
            Ok(Err(HeaderError::Broken(_))) | Err(_) => return,
            Ok(Err(error)) => {
                self.metrics.control_malformed.increment();
                tracing::warn!(peer = %from, %error, "a piece request is refused");
                let _ = sending.reset(code::MALFORMED);
                let _ = receive.stop(code::MALFORMED);
                return;
            }
        };
        drop(receive);
        let upload = UploadId(self.state.ids.fetch_add(1, Relaxed));
        let (decide, decided) = oneshot::channel();
        crate::lock(&self.state.waiting).insert(upload, decide);
        let PieceRequest { digest, piece, urgency, held } = request;
        let asked = Input::PieceRequested { upload, from, digest, piece, urgency, held };
        if self.inputs.send(asked).await.is_err() {
            return;
        }
        let verdict = tokio::select! {
            verdict = decided => verdict.ok(),
            _ = sending.stopped() => None,
        };
        crate::lock(&self.state.waiting).remove(&upload);
        match verdict {
            Some(Verdict::Refuse(refusal)) => self.refuse(sending, refusal).await,
            Some(Verdict::Serve) => {
                self.serve(from, sending, request).await;
                let _ = self.inputs.send(Input::UploadEnded { upload }).await;
            }
            None => {
                let _ = self.inputs.send(Input::UploadEnded { upload }).await;
            }
        }
    }

    async fn refuse(&self, sending: Sending, refusal: Refusal) {
        let reply = match refusal {
            Refusal::Busy(load) => {
                self.metrics.uploads_refused_busy.increment();
                PieceReply::Busy(load)
            }
            Refusal::NotHeld => PieceReply::NotHeld,
        };
        self.reply_only(sending, &reply).await;
    }

    async fn reply_only(&self, mut sending: Sending, reply: &PieceReply) {
        let Ok(header) = encode_reply(reply) else { return };
        if matches!(timeout(STALL_TIMEOUT, sending.write_all(&header)).await, Ok(Ok(()))) {
            sending.finish();
        }
    }

    async fn serve(&self, to: MemberId, mut sending: Sending, request: PieceRequest) {
        let _active = self.metrics.uploads_active.hold();
        let _receiver = self.uplink.send_to(to);
        match self.send_piece(&mut sending, request).await {
            // The slot is free when the piece has arrived. Were it free when the piece is written, which takes no time,
            // any number of pieces would share the link, and all of them arrive late.
            Ok(()) => drop(timeout(STALL_TIMEOUT, sending.deliver()).await),
            Err(SendFailure::NotHeld) => self.reply_only(sending, &PieceReply::NotHeld).await,
            Err(SendFailure::Peer) => {}
            Err(SendFailure::Stalled) => {
                tracing::info!(peer = %to, digest = %request.digest, piece = request.piece.0,
                    "a peer does not read the piece that it asked for; given up");
            }
            Err(SendFailure::Disk(error)) => {
                tracing::warn!(peer = %to, digest = %request.digest, piece = request.piece.0, %error,
                    "a piece could not be read from the spool");
            }
        }
    }

    async fn send_piece(&self, sending: &mut Sending, request: PieceRequest) -> Result<(), SendFailure> {
        let blob = self.spool.get(&request.digest).ok_or(SendFailure::NotHeld)?;
        if !blob.has(request.piece) {
            return Err(SendFailure::NotHeld);
        }
        self.spool.touch(&blob);
        blob.note_asked();
        let mut source = PieceSource::new(blob.clone(), request.piece, self.memory.clone(), self.pool.clone());
        let prepared = async {
            let voucher = self.voucher(&blob, request.piece).await?;
            source.next().await.map(|first| (voucher, first))
        };
        let (voucher, mut chunk) = match prepared.await {
            Ok(prepared) => prepared,
            // It was evicted between the look into the index and the opening of its file, or it is lost.
            Err(_) if !blob.has(request.piece) => return Err(SendFailure::NotHeld),
            Err(error) => return Err(SendFailure::Disk(error)),
        };
        let header =
            encode_reply(&PieceReply::Sending(voucher)).map_err(|error| SendFailure::Disk(io::Error::other(error)))?;
        write(sending, header.into()).await?;
        while !chunk.is_empty() {
            self.send_paced(sending, chunk, request.urgency).await?;
            chunk = source.next().await.map_err(SendFailure::Disk)?;
        }
        Ok(())
    }

    async fn send_paced(
        &self,
        sending: &mut Sending,
        mut chunk: bytes::Bytes,
        urgency: Urgency,
    ) -> Result<(), SendFailure> {
        while !chunk.is_empty() {
            let part = chunk.split_to(chunk.len().min(self.limiter.quantum()));
            let length = part.len() as u64;
            self.limiter.take(length, urgency).await;
            write(sending, part).await?;
            self.metrics.peer_sent_bytes.add(length);
        }
        Ok(())
    }

    /// The voucher of a piece: the one that came with it, or this node's own.
    async fn voucher(&self, blob: &Arc<Blob>, piece: PieceIndex) -> io::Result<Voucher> {
        if let Some(voucher) = self.known_voucher(blob, piece) {
            return Ok(voucher);
        }
        let (job_blob, identity, memory) = (blob.clone(), self.identity.clone(), self.memory.clone());
        let job = move || {
            let hash = job_blob.hash(piece).map_or_else(|| hash_of(&memory, &job_blob, piece), Ok);
            let hash = hash.inspect_err(|error| job_blob.lose_for(error))?;
            Ok(identity.vouch(job_blob.digest(), piece, hash))
        };
        let voucher = self.pool.run(job).await.and_then(|vouched: io::Result<_>| vouched)?;
        crate::lock(&self.state.vouchers).insert((*blob.digest(), piece), &voucher);
        Ok(voucher)
    }

    /// For a piece of an unfinished blob, whoever brought it in vouches; for a complete blob, this node does.
    fn known_voucher(&self, blob: &Blob, piece: PieceIndex) -> Option<Voucher> {
        blob.voucher(piece).or_else(|| crate::lock(&self.state.vouchers).get(&(*blob.digest(), piece)))
    }
}

impl VoucherCache {
    fn get(&self, key: &(Digest, PieceIndex)) -> Option<Voucher> {
        self.vouchers.get(key).cloned()
    }

    fn insert(&mut self, key: (Digest, PieceIndex), voucher: &Voucher) {
        if self.vouchers.insert(key, voucher.clone()).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > VOUCHERS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.vouchers.remove(&oldest);
        }
    }
}

/// Writes all of `bytes`, as long as the peer takes some of them again and again.
async fn write(sending: &mut Sending, bytes: bytes::Bytes) -> Result<(), SendFailure> {
    let mut left = [bytes];
    while !left[0].is_empty() {
        let written = timeout(STALL_TIMEOUT, sending.write_chunks(&mut left)).await;
        written.map_err(|_| SendFailure::Stalled)?.map_err(|_| SendFailure::Peer)?;
    }
    Ok(())
}

fn hash_of(memory: &Arc<PieceMemory>, blob: &Blob, piece: PieceIndex) -> io::Result<PieceHash> {
    let (file, mut range) = (blob.file()?, blob.geometry().range(piece));
    let mut hasher = blake3::Hasher::new();
    while range.start < range.end {
        let bytes = memory.read_at(&file, range.start, (range.end - range.start).min(CHUNK_BYTES as u64))?;
        hasher.update(&bytes);
        range.start += bytes.len() as u64;
    }
    Ok(PieceHash(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_voucher_cache_forgets_the_oldest() {
        let mut cache = VoucherCache::default();
        let voucher = Voucher { injector: MemberId([0; 16]), hash: PieceHash([0; 32]), signature: vec![0; 64] };
        let key = |piece| (Digest::Sha256([0; 32]), PieceIndex(piece));
        let most = u32::try_from(VOUCHERS_MAX).expect("a small number");
        for piece in 0..=most {
            cache.insert(key(piece), &voucher);
        }
        assert_eq!(cache.vouchers.len(), VOUCHERS_MAX);
        assert!(cache.get(&key(0)).is_none());
        assert!(cache.get(&key(most)).is_some());
    }
}
