//! Runs of pieces from the upstream: fetched in ascending order, stored and shared one by one.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use shoal_core::event::{FetchFailure, HeldLease, Input};
use shoal_wire::{control::UpstreamFailure, digest::Digest, geometry::PieceIndex, transfer::Urgency};
use tokio::{sync::watch, time::timeout};

use crate::{
    identity::Identity,
    limit::Limiter,
    memory::{Gathering, PieceBytes},
    net::transfer::store::{Outcome, Store, Warrant},
    spool::{blob::Blob, sources::SOURCES_MAX},
    tasks::Tasks,
    upstream::{Upstream, UpstreamBody, UpstreamSource},
};

/// Time without a byte after which an upstream counts as failed.
const STALL: Duration = Duration::from_secs(10);
/// How long the body of an upstream that ignores ranges is kept for a fetch from its beginning.
const PARK: Duration = Duration::from_secs(5);
/// Bodies kept at once.
const PARKED_MAX: usize = 4;

type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, UpstreamFailure>> + Send>>;

/// A run of pieces that a home leased to this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) lease: HeldLease,
    pub(crate) digest: Digest,
    pub(crate) first: PieceIndex,
    pub(crate) count: u32,
}

/// All fetches from upstreams.
pub(crate) struct Leases {
    store: Arc<Store>,
    upstream: Arc<dyn Upstream>,
    identity: Arc<Identity>,
    limiter: Arc<Limiter>,
    tasks: Tasks,
    /// First piece past each run; lowered by cuts.
    ends: Mutex<HashMap<HeldLease, watch::Sender<u32>>>,
    parked: Mutex<Parked>,
}

/// Whole bodies that answered ranged requests, none of their bytes read.
#[derive(Default)]
struct Parked {
    serials: u64,
    bodies: HashMap<Digest, (u64, BodyStream)>,
}

/// A body, where it comes from, and what of its last chunk is not used yet.
struct Source {
    stream: BodyStream,
    /// `None` for a body that was kept.
    from: Option<UpstreamSource>,
    rest: Bytes,
}

impl Leases {
    pub(crate) fn new(
        store: Arc<Store>,
        upstream: Arc<dyn Upstream>,
        identity: Arc<Identity>,
        limiter: Arc<Limiter>,
        tasks: Tasks,
    ) -> Self {
        Self { store, upstream, identity, limiter, tasks, ends: Mutex::default(), parked: Mutex::default() }
    }

    /// Starts to fetch a run; its pieces and its end come as inputs. The core bounds their number.
    pub(crate) fn fetch(self: &Arc<Self>, run: Run) {
        let (end, cut) = watch::channel(run.first.0.saturating_add(run.count));
        crate::lock(&self.ends).insert(run.lease, end);
        let leases = self.clone();
        self.tasks.spawn(async move {
            let result = leases.run(&run, cut).await;
            crate::lock(&leases.ends).remove(&run.lease);
            if let Err(failure) = &result {
                leases.store.metrics.upstream_failures.increment();
                tracing::info!(digest = %run.digest, first = run.first.0, ?failure, "a fetch from the upstream ended early");
            }
            let ended = Input::LeaseEnded { lease: run.lease, digest: run.digest, result };
            let _ = leases.store.inputs.send(ended).await;
        });
    }

    /// Ends a run before `end`; at or behind its position it is aborted.
    pub(crate) fn cut(&self, lease: HeldLease, end: PieceIndex) {
        if let Some(ends) = crate::lock(&self.ends).get(&lease) {
            ends.send_if_modified(|current| {
                let lower = end.0 < *current;
                *current = end.0.min(*current);
                lower
            });
        }
    }

    async fn run(self: &Arc<Self>, run: &Run, mut cut: watch::Receiver<u32>) -> Result<(), FetchFailure> {
        let unavailable = FetchFailure::Upstream(UpstreamFailure::Unavailable);
        let blob = self.store.spool.get(&run.digest).ok_or(unavailable)?;
        let mut source = tokio::select! {
            opened = self.open(run, &blob) => opened?,
            () = until_cut(&mut cut, run.first.0) => return Ok(()),
        };
        let mut piece = run.first;
        while piece.0 < *cut.borrow() && blob.geometry().contains(piece) {
            let mut gathering = tokio::select! {
                gathering = self.store.memory.gather(blob.geometry().len(piece)) => gathering,
                () = until_cut(&mut cut, piece.0) => return Ok(()),
            };
            if blob.hashes_whole(piece) {
                gathering = gathering.without_hash();
            }
            let gathered = tokio::select! {
                gathered = self.gather(&mut source, &mut gathering) => gathered.map(Some),
                () = until_cut(&mut cut, piece.0) => Ok(None),
            };
            if let (Err(failure), Some(from)) = (&gathered, &source.from)
                && is_of_source(*failure)
            {
                blob.pass_over_source(from);
            }
            let Some(()) = gathered.map_err(FetchFailure::Upstream)? else {
                self.store.metrics.duplicate_received_bytes.add(gathering.filled());
                return Ok(());
            };
            self.keep(run, &blob, piece, gathering.finish()).await?;
            piece.0 += 1;
        }
        Ok(())
    }

    /// The body that begins with the run's first piece, from the first source that gives one.
    async fn open(self: &Arc<Self>, run: &Run, blob: &Blob) -> Result<Source, FetchFailure> {
        let last = PieceIndex(run.first.0 + (run.count.max(1) - 1));
        let range = blob.geometry().range(run.first).start..blob.geometry().range(last).end;
        let whole = range == (0..blob.geometry().size());
        if whole && let Some((_, stream)) = crate::lock(&self.parked).bodies.remove(&run.digest) {
            return Ok(Source { stream, from: None, rest: Bytes::new() });
        }
        let (mut tried, mut word) = (Vec::new(), UpstreamFailure::NoUpstream);
        while tried.len() < SOURCES_MAX
            && let Some(from) = blob.source().filter(|source| !tried.contains(source))
        {
            self.store.metrics.upstream_requests.increment();
            let answer = timeout(STALL, self.upstream.fetch(&from, &run.digest, range.clone())).await;
            match answer.unwrap_or(Err(UpstreamFailure::Unavailable)) {
                Ok(body) if body.whole && !whole => {
                    self.park(run.digest, body);
                    return Err(FetchFailure::NoRanges);
                }
                Ok(body) => return Ok(Source { stream: body.stream, from: Some(from), rest: Bytes::new() }),
                Err(failure) if is_of_source(failure) => {
                    tracing::debug!(digest = %run.digest, ?from, ?failure, "a source failed; the next one is asked");
                    blob.pass_over_source(&from);
                    word = more_hopeful(word, failure);
                    tried.push(from);
                }
                Err(failure) => return Err(FetchFailure::Upstream(failure)),
            }
        }
        Err(FetchFailure::Upstream(word))
    }

    /// Fills a piece with the next bytes of the body, at the pace of the download limit.
    async fn gather(&self, source: &mut Source, gathering: &mut Gathering) -> Result<(), UpstreamFailure> {
        while gathering.missing() > 0 {
            if source.rest.is_empty() {
                let next = timeout(STALL, source.stream.next()).await.map_err(|_| UpstreamFailure::Unavailable)?;
                source.rest = next.unwrap_or(Err(UpstreamFailure::Unavailable))?;
                let received = source.rest.len() as u64;
                self.store.metrics.upstream_received_bytes.add(received);
                self.limiter.take(received, Urgency::Bulk).await;
            }
            let copied = gathering.copy_from(&source.rest);
            source.rest.advance(copied);
        }
        Ok(())
    }

    async fn keep(
        &self,
        run: &Run,
        blob: &Arc<Blob>,
        piece: PieceIndex,
        bytes: PieceBytes,
    ) -> Result<(), FetchFailure> {
        match self.store.put(blob, piece, &bytes, Warrant::Own(self.identity.clone())).await {
            Outcome::Stored(new) => {
                if !new {
                    self.store.metrics.duplicate_received_bytes.add(bytes.len());
                }
                let stored = Input::LeasePiece { lease: run.lease, digest: run.digest, piece };
                self.store.tell(blob, piece, bytes, stored).await;
                Ok(())
            }
            // The upstream is not to blame, but this node cannot go on, and another can.
            Outcome::Stale | Outcome::Failed | Outcome::Corrupt => {
                Err(FetchFailure::Upstream(UpstreamFailure::Unavailable))
            }
        }
    }

    /// Keeps a whole body for a moment. Its bytes stay with the upstream until somebody reads them.
    fn park(self: &Arc<Self>, digest: Digest, body: UpstreamBody) {
        let serial = {
            let mut parked = crate::lock(&self.parked);
            if parked.bodies.len() >= PARKED_MAX {
                return;
            }
            parked.serials += 1;
            let serial = parked.serials;
            parked.bodies.insert(digest, (serial, body.stream));
            serial
        };
        let leases = self.clone();
        self.tasks.spawn(async move {
            tokio::time::sleep(PARK).await;
            let mut parked = crate::lock(&leases.parked);
            if parked.bodies.get(&digest).is_some_and(|(kept, _)| *kept == serial) {
                parked.bodies.remove(&digest);
            }
        });
    }
}

/// Whether another source may do better. One that has had enough for now is asked later, since others may be the same
/// registry.
fn is_of_source(failure: UpstreamFailure) -> bool {
    match failure {
        UpstreamFailure::Denied
        | UpstreamFailure::NotFound
        | UpstreamFailure::Unavailable
        | UpstreamFailure::NoUpstream => true,
        UpstreamFailure::RateLimited { .. } | UpstreamFailure::WrongContent => false,
    }
}

/// Of what two sources say, that which may change soonest: the home goes by it.
fn more_hopeful(one: UpstreamFailure, other: UpstreamFailure) -> UpstreamFailure {
    match (one, other) {
        (UpstreamFailure::NotFound | UpstreamFailure::NoUpstream, other)
        | (UpstreamFailure::Denied, other @ UpstreamFailure::Unavailable) => other,
        (one, _) => one,
    }
}

/// Waits until the run ends at or before `position`. Pends for ever where it never does.
async fn until_cut(cut: &mut watch::Receiver<u32>, position: u32) {
    if cut.wait_for(|end| *end <= position).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
