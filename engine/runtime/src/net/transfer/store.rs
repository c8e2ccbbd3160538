//! From bytes in memory to a stored piece that the core knows of; shared by downloads and leases.

use std::sync::Arc;

use shoal_core::event::Input;
use shoal_wire::{
    geometry::PieceIndex,
    ids::{PieceHash, PublicKey},
    transfer::Voucher,
};
use tokio::sync::mpsc;

use crate::{
    identity::{Identity, is_signed_by},
    memory::{PieceBytes, PieceMemory},
    metrics::Metrics,
    pool::Pool,
    spool::{
        Spool,
        blob::{Blob, Stored},
        prefix::PrefixRun,
    },
};

/// What vouches for gathered bytes.
pub(crate) enum Warrant {
    /// A voucher that came with them, and the key that it must be signed with.
    Given(Voucher, PublicKey),
    /// This node, which had them from the upstream.
    Own(Arc<Identity>),
}

/// What came of a gathered piece.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is stored; `true` where it was not before.
    Stored(bool),
    /// It does not match its voucher, or the voucher is not good.
    Corrupt,
    /// The blob was removed or began again meanwhile.
    Stale,
    /// The disk failed, and the log says how.
    Failed,
}

/// Verifies and stores pieces, and keeps the digests going.
pub(crate) struct Store {
    pub(crate) spool: Arc<Spool>,
    pub(crate) pool: Pool,
    pub(crate) memory: Arc<PieceMemory>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) inputs: mpsc::Sender<Input>,
}

impl Store {
    /// Verifies and writes a piece.
    pub(crate) async fn put(
        &self,
        blob: &Arc<Blob>,
        piece: PieceIndex,
        bytes: &PieceBytes,
        warrant: Warrant,
    ) -> Outcome {
        let Some(hash) = self.hash(blob, piece, bytes).await else { return Outcome::Failed };
        let (job_blob, job_bytes, spool) = (blob.clone(), bytes.clone(), self.spool.clone());
        let turn = blob.turn_to_write().await;
        let job = move || {
            let outcome = verify_and_write(&spool, &job_blob, piece, &job_bytes, hash, warrant);
            drop(turn);
            outcome
        };
        let outcome = self.pool.run(job).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a piece was not stored");
            Outcome::Failed
        });
        if matches!(outcome, Outcome::Corrupt) {
            self.metrics.pieces_corrupt.increment();
        }
        outcome
    }

    /// The hash of a piece, computed now where it was not while it came. `None` where that failed.
    async fn hash(&self, blob: &Arc<Blob>, piece: PieceIndex, bytes: &PieceBytes) -> Option<PieceHash> {
        if let Some(hash) = bytes.hash() {
            return Some(hash);
        }
        let (job_blob, job_bytes) = (blob.clone(), bytes.clone());
        let turn = blob.turn_to_hash().await;
        let job = move || {
            let hash = job_blob.hash_whole(piece, &job_bytes);
            drop(turn);
            hash
        };
        let hash = self.pool.run(job).await;
        hash.inspect_err(|error| tracing::error!(%error, "a piece was not hashed")).ok()
    }

    /// Tells the core of a stored piece, and then hashes on along the prefix.
    pub(crate) async fn tell(&self, blob: &Arc<Blob>, piece: PieceIndex, bytes: PieceBytes, event: Input) {
        // The node may be stopping, and then nobody is left to tell.
        let _ = self.inputs.send(event).await;
        self.hash_on(blob, piece, bytes).await;
    }

    /// Hashes on along the prefix of a blob that has a new piece.
    pub(crate) async fn hash_on(&self, blob: &Arc<Blob>, piece: PieceIndex, bytes: PieceBytes) {
        if !blob.announce(piece) {
            return;
        }
        // A piece that is hashed while the digest is under way would not find it.
        let turn = if blob.hashes_in_turn() { Some(blob.turn_to_hash().await) } else { None };
        let (spool, blob) = (self.spool.clone(), blob.clone());
        let job = move || {
            let run = blob.run_prefix(Some((piece, &bytes)));
            drop(turn);
            if matches!(run, Ok(PrefixRun::Verified)) {
                spool.evict();
            }
        };
        if let Err(error) = self.pool.run(job).await {
            tracing::error!(%error, "the digest of a blob was not computed");
        }
    }
}

fn verify_and_write(
    spool: &Spool,
    blob: &Blob,
    piece: PieceIndex,
    bytes: &PieceBytes,
    hash: PieceHash,
    warrant: Warrant,
) -> Outcome {
    let voucher = match warrant {
        Warrant::Own(identity) => identity.vouch(blob.digest(), piece, hash),
        Warrant::Given(voucher, key) => {
            if voucher.hash != hash || !is_signed_by(&voucher, &key, blob.digest(), piece) {
                return Outcome::Corrupt;
            }
            voucher
        }
    };
    match blob.store(piece, bytes, &voucher, &|| spool.relieve_disk()) {
        Ok(Stored::New) => Outcome::Stored(true),
        Ok(Stored::Duplicate) => Outcome::Stored(false),
        Ok(Stored::Stale) => Outcome::Stale,
        // The blob has logged it.
        Err(_) => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::{FutureExt, poll};
    use shoal_wire::ids::MemberId;

    use super::*;
    use crate::{
        tasks::Tasks,
        testing::{sha256, source},
    };

    #[tokio::test]
    async fn the_digest_does_not_run_while_a_piece_that_needs_it_is_hashed() {
        let directory = tempfile::tempdir().expect("a directory");
        let metrics = Arc::<Metrics>::default();
        let spool = Spool::open(directory.path(), 1 << 30, Arc::default(), metrics.clone(), None).expect("a spool");
        let (spool, tasks, memory) = (Arc::new(spool), Tasks::default(), Arc::<PieceMemory>::default());
        let reading = spool.read(sha256(b"large"), 4 << 30, Some(source())).expect("it can be read");
        let blob = spool.get(reading.blob().digest()).expect("it is there");
        if !blob.hashes_in_turn() {
            // This processor hashes in two passes, and pieces do not need the digest before them.
            return;
        }
        let (piece, pool) = (PieceIndex(0), Pool::new(tasks.tracker().clone()));
        let length = blob.geometry().len(piece);
        let mut gathering = memory.gather(length).now_or_never().expect("there is room").without_hash();
        let zeros = usize::try_from(length).expect("it fits into memory");
        gathering.copy_from(&vec![0; zeros]);
        let bytes = gathering.finish();
        let hash = PieceHash(*blake3::hash(&vec![0; zeros]).as_bytes());
        let voucher = Voucher { injector: MemberId([1; 16]), hash, signature: vec![3; 64] };
        assert_eq!(blob.store(piece, &bytes, &voucher, &|| false).expect("the disk works"), Stored::New);

        let store = Store { spool, pool, memory, metrics, inputs: mpsc::channel(1).0 };
        let turn = blob.turn_to_hash().await;
        let mut hashed = pin!(store.hash_on(&blob, piece, bytes));
        assert!(poll!(hashed.as_mut()).is_pending());
        assert!(tasks.tracker().is_empty(), "no job was begun");
        assert!(blob.hashes_whole(piece), "the digest needs it still");
        drop(turn);
        hashed.await;
        assert!(!blob.hashes_whole(piece), "the digest has come past it");
    }
}
