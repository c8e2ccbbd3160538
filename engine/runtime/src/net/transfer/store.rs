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
        let (spool, blob) = (self.spool.clone(), blob.clone());
        let job = move || {
            let run = blob.run_prefix(Some((piece, &bytes)));
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
